// SPDX-License-Identifier: MIT
// The interpreter of tests/tcp/script.h. Time begins at an odd large number, so that nothing works only
// because it begins at 0; sequence numbers and timestamps in scripts are relative to where each side began.
#include "../tcp/script.h"
#include <algorithm>
#include <dirent.h>
#include <fstream>
#include <functional>
#include <sstream>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

using namespace wx;

namespace script {

constexpr Nanos start_of_time = 1000 * ns_per_s; // a whole number of timestamp ticks
constexpr uint32_t peer_ts_default = 100000;

// ---- reading ----

std::vector<Case> read_cases(const std::string &folder) {
    std::vector<std::string> files;
    DIR *dir = opendir(folder.c_str());
    if (!dir) throw Failure("cannot open " + folder + ": run from the project's root");
    while (dirent *entry = readdir(dir)) {
        std::string name = entry->d_name;
        if (name.size() > 4 && name.substr(name.size() - 4) == ".txt") files.push_back(name);
    }
    closedir(dir);
    std::sort(files.begin(), files.end());
    std::vector<Case> cases;
    std::set<std::string> seen;
    for (const std::string &file : files) {
        std::ifstream in(folder + "/" + file);
        std::string text;
        bool inside = false;
        for (int number = 1; std::getline(in, text); number++) {
            text = text.substr(0, text.find('#'));
            std::istringstream stream(text);
            Line line{number, {}};
            for (std::string word; stream >> word;) line.words.push_back(word);
            if (line.words.empty()) continue;
            if (line.words[0] == "case") {
                if (line.words.size() != 2 || !seen.insert(file + line.words[1]).second)
                    throw Failure(file + ":" + std::to_string(number) + ": `case` wants one new name");
                cases.push_back(Case{file.substr(0, file.size() - 4), line.words[1], {}});
                inside = true;
            } else if (!inside) {
                throw Failure(file + ":" + std::to_string(number) + ": before the first `case`");
            } else {
                cases.back().lines.push_back(line);
            }
        }
    }
    return cases;
}

// ---- values ----

static int64_t number_of(const std::string &word) {
    char *end = nullptr;
    int64_t value = strtoll(word.c_str(), &end, 0);
    if (word.empty() || *end) throw Failure("not a number: " + word);
    return value;
}

static Nanos time_of(const std::string &word) {
    char *end = nullptr;
    double value = strtod(word.c_str(), &end);
    std::string unit = end;
    double scale = unit == "ns" ? 1 : unit == "us" ? 1e3 : unit == "ms" ? 1e6 : unit == "s" ? 1e9 : 0;
    if (scale == 0) throw Failure("not a time (ns, us, ms, s): " + word);
    return static_cast<Nanos>(value * scale + (value < 0 ? -0.5 : 0.5));
}

static std::string time_text(Nanos at) {
    char text[40];
    snprintf(text, sizeof text, "%.6f ms", static_cast<double>(at) / 1e6);
    return text;
}

static uint8_t pattern(bool ours, uint64_t offset) {
    return static_cast<uint8_t>((offset * 31 + (offset >> 8)) ^ (ours ? 0 : 0x5A));
}

static const std::map<std::string, uint64_t TcpStats::*> counters = {
#define COUNTER(name)                                                                                        \
    { #name, &TcpStats::name }
    COUNTER(segments_in),     COUNTER(segments_out),
    COUNTER(bytes_in),        COUNTER(bytes_out),
    COUNTER(retransmitted),   COUNTER(retransmitted_bytes),
    COUNTER(timeouts),        COUNTER(tail_probes),
    COUNTER(recoveries),      COUNTER(undone),
    COUNTER(acks_out),        COUNTER(duplicate_acks_in),
    COUNTER(dsacks_in),       COUNTER(dsacks_out),
    COUNTER(duplicates_in),   COUNTER(out_of_order_in),
    COUNTER(dropped_no_room), COUNTER(window_probes),
    COUNTER(keepalives),      COUNTER(zero_windows),
    COUNTER(challenges),      COUNTER(challenges_refused),
    COUNTER(paws_dropped),    COUNTER(no_timestamp_dropped),
    COUNTER(unacceptable),    COUNTER(bad_acks),
    COUNTER(bad_resets),      COUNTER(icmp_used),
    COUNTER(icmp_ignored),    COUNTER(reneged),
    COUNTER(mtu_changes),     COUNTER(sink_full),
    COUNTER(max_held_bytes),
#undef COUNTER
};

static const std::map<std::string, uint32_t> notices = {
    {"connected", tcp_connected},         {"readable", tcp_readable},     {"writable", tcp_writable},
    {"peer_finished", tcp_peer_finished}, {"ended", tcp_ended},           {"peer_stalled", tcp_peer_stalled},
    {"peer_resumed", tcp_peer_resumed},   {"soft_error", tcp_soft_error}, {"mtu_changed", tcp_mtu_changed},
};
static const std::vector<std::string> end_names = {"none",      "closed",      "aborted",     "reset",
                                                   "refused",   "unreachable", "syn_timeout", "user_timeout",
                                                   "keepalive", "fin_timeout"};
static const std::vector<std::string> icmp_names = {
    "network_unreachable", "host_unreachable", "protocol_unreachable", "port_unreachable", "prohibited",
    "packet_too_big",      "time_exceeded",    "parameter_problem",    "source_quench"};

template <class T> static size_t index_of(const T &names, const std::string &word) {
    auto at = std::find(names.begin(), names.end(), word);
    if (at == names.end()) throw Failure("no such name: " + word);
    return static_cast<size_t>(at - names.begin());
}

// ---- segments as words ----

struct Segment { // as written: numbers relative
    std::string flags;
    int64_t seq = 0, size = 0, by = 0, ack = -1, window = -1, urgent = 0;
    bool has_ack = false, no_push = false;
    bool has_ts = false, no_ts = false, ts_auto = true;
    int64_t ts_value = 0, ts_echo = 0;
    int mss = -1, scale = -1;
    bool sack_ok = false, any_options = false;
    std::vector<std::pair<int64_t, int64_t>> sacks;
};

static const char flag_letters[] = "FSRP.UEW";

static uint8_t flag_bits(const std::string &letters) {
    uint8_t bits = 0;
    for (char letter : letters) {
        const char *at = strchr(flag_letters, letter);
        if (!at) throw Failure("flags are letters of FSRP.UEW or 0: " + letters);
        bits |= static_cast<uint8_t>(1 << (at - flag_letters));
    }
    return bits;
}

static std::string flag_text(uint8_t bits) {
    std::string text;
    for (char letter : std::string("SFRP.UEW"))
        if (bits & (1 << (strchr(flag_letters, letter) - flag_letters))) text += letter;
    return text.empty() ? "0" : text;
}

static std::pair<int64_t, int64_t> range_of(const std::string &word) {
    size_t colon = word.find(':');
    if (colon == std::string::npos) throw Failure("not a range a:b: " + word);
    return {number_of(word.substr(0, colon)), number_of(word.substr(colon + 1))};
}

struct Words {
    const std::vector<std::string> &list;
    size_t at;
    bool more() const { return at < list.size(); }
    std::string next(const char *what) {
        if (!more()) throw Failure(std::string("missing: ") + what);
        return list[at++];
    }
    bool take(const char *word) {
        if (!more() || list[at] != word) return false;
        at++;
        return true;
    }
};

// FLAGS seq[:end] [by N] [ack N] [win N] [urg N] [mss N] [ws N] [sackok] [ts V E | nots] [sack a:b ...]
static Segment parse_segment(Words *words) {
    Segment s;
    s.flags = words->next("flags");
    s.no_push = s.flags.find('p') != std::string::npos;
    s.flags.erase(std::remove(s.flags.begin(), s.flags.end(), 'p'), s.flags.end());
    std::string seq = words->next("sequence number");
    if (seq.find(':') != std::string::npos) {
        auto range = range_of(seq);
        s.seq = range.first;
        s.size = range.second - range.first;
    } else {
        s.seq = number_of(seq);
    }
    while (words->more()) {
        if (words->take("ack")) {
            s.ack = number_of(words->next("ack"));
            s.has_ack = true;
        } else if (words->take("by")) {
            s.by = number_of(words->next("size of a segment"));
            if (s.by <= 0 || s.size == 0) throw Failure("`by N` cuts a range into segments of N bytes");
        } else if (words->take("win")) {
            s.window = number_of(words->next("window"));
        } else if (words->take("urg")) {
            s.urgent = number_of(words->next("urgent pointer"));
        } else if (words->take("mss")) {
            s.mss = static_cast<int>(number_of(words->next("mss")));
            s.any_options = true;
        } else if (words->take("ws")) {
            s.scale = static_cast<int>(number_of(words->next("scale")));
            s.any_options = true;
        } else if (words->take("sackok")) {
            s.sack_ok = s.any_options = true;
        } else if (words->take("nots")) {
            s.no_ts = true;
            s.ts_auto = false;
        } else if (words->take("ts")) {
            s.has_ts = true;
            s.ts_auto = false;
            s.ts_value = number_of(words->next("ts value"));
            s.ts_echo = number_of(words->next("ts echo"));
        } else if (words->take("sack")) {
            while (words->more() && words->list[words->at].find(':') != std::string::npos)
                s.sacks.push_back(range_of(words->next("block")));
        } else {
            throw Failure("not part of a segment: " + words->list[words->at]);
        }
    }
    return s;
}

// ---- the run ----

struct Sent { // a packet of ours
    Nanos at;
    TcpSegment segment;
    std::vector<uint8_t> bytes;
    bool again = false;
};

struct Run;
struct RunSink : TcpSink {
    Run *run;
};

struct Run {
    FixedRandom random;
    TcpHost host;
    TcpConfig config;
    TcpConnection c;
    std::vector<uint8_t> storage;
    std::vector<uint8_t> time_wait_memory;
    RunSink sink;
    Nanos now = start_of_time;
    std::deque<Sent> sent;
    int64_t sink_room = INT64_MAX; // packets
    bool held = false, trace = getenv("TRACE") != nullptr;
    uint32_t peer_isn = 5000, peer_ts = peer_ts_default;
    bool has_iss = false;
    uint32_t iss = 0;
    uint8_t ip = 4;
    Nanos round_trip = 10 * ns_per_ms;
    uint16_t window = 65535;
    uint64_t written = 0, read = 0;
    std::map<FrameId, std::vector<uint8_t>> receive_frames, send_frames;
    FrameId next_frame = 1;
    uint64_t released_send = 0;
    bool opened = false;

    Run();
    ~Run() { sent.clear(); }
    void open();
    void make_tuple(TcpTuple *tuple) const;
    void output();
    void advance(Nanos by);
    void step(const Line &line);
    void command(Words *words);
    bool setting(Words *words);
    bool user_call(const std::string &word, Words *words);
    bool look(const std::string &word, Words *words);
    void inject(const Segment &s);
    void expect(const Segment &s);
    void segments(const Segment &whole, bool ours);
    void expect_options(const Segment &s, const Sent &packet);
    void icmp(Words *words);
    void established(Words *words);
    void take_bytes(uint64_t count);
    void finish();
    std::string text(const Sent &packet) const;
    uint32_t our_ts(int64_t relative) const { // ms since the script's start
        return static_cast<uint32_t>(start_of_time / ns_per_ms) + c.ts_offset +
               static_cast<uint32_t>(relative);
    }
};

static void release_frame(std::map<FrameId, std::vector<uint8_t>> *frames, FrameId id) {
    if (frames->erase(id) != 1)
        throw Failure("frame " + std::to_string(id) + " was released twice or never kept");
}

static bool take_packet(TcpSink *sink, const TcpPacket &packet) {
    Run *run = static_cast<RunSink *>(sink)->run;
    if (run->sink_room <= 0) return false;
    run->sink_room--;
    Sent sent;
    sent.at = run->now;
    sent.again = packet.again;
    sent.bytes.assign(packet.headers.data, packet.headers.data + packet.headers.size);
    for (unsigned i = 0; packet.payload && i < packet.payload->count; i++) {
        ByteView piece = packet.payload->pieces[i];
        sent.bytes.insert(sent.bytes.end(), piece.data, piece.data + piece.size);
    }
    Frame frame;
    Wire read = packet_read(ByteView(sent.bytes.data(), sent.bytes.size()), ChecksumPolicy::verify, &frame);
    if (read != Wire::ok || frame.kind != FrameKind::tcp)
        throw Failure(std::string("a packet was sent that is not well formed: ") + wire_text(read));
    sent.segment = frame.tcp;
    run->sent.push_back(std::move(sent));
    Sent &kept = run->sent.back(); // the payload view moved with the bytes
    kept.segment.payload =
        ByteView(kept.bytes.data() + kept.bytes.size() - frame.tcp.payload.size, frame.tcp.payload.size);
    if (run->trace)
        printf("%14s  > %s\n", time_text(run->now - start_of_time).c_str(), run->text(kept).c_str());
    return true;
}

Run::Run() {
    fixed_random_open(&random, 42);
    host.random = &random;
    random.fill(&random, host.secret.key, sizeof host.secret.key);
    time_wait_memory.resize(time_wait_bytes(16) + 64);
    void *aligned = reinterpret_cast<void *>((reinterpret_cast<uintptr_t>(time_wait_memory.data()) + 63) &
                                             ~uintptr_t{63});
    time_wait_open(&host.time_wait, aligned, 16);
    host.release_receive = FrameRelease{
        [](void *self, FrameId id) { release_frame(&static_cast<Run *>(self)->receive_frames, id); }, this};
    host.release_send = FrameRelease{[](void *self, FrameId id) {
                                         release_frame(&static_cast<Run *>(self)->send_frames, id);
                                         static_cast<Run *>(self)->released_send++;
                                     },
                                     this};
    sink.send = take_packet;
    sink.run = this;
}

void Run::make_tuple(TcpTuple *tuple) const {
    uint8_t us[16] = {0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    uint8_t them[16] = {0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};
    tuple->local = ip == 6 ? ip_address(us, 6) : ip4_address(192, 0, 2, 1);
    tuple->remote = ip == 6 ? ip_address(them, 6) : ip4_address(192, 0, 2, 2);
    tuple->local_port = 40000;
    tuple->remote_port = 443;
}

void Run::open() {
    if (const char *problem = tcp_config_problem(config)) throw Failure(problem);
    storage.assign(tcp_storage_bytes(config) + 64, 0xEE);
    uint8_t *aligned =
        reinterpret_cast<uint8_t *>((reinterpret_cast<uintptr_t>(storage.data()) + 63) & ~uintptr_t{63});
    if (tcp_open(&c, &host, config, ByteSpan(aligned, tcp_storage_bytes(config))) != 0)
        throw Failure("tcp_open failed");
    opened = true;
}

void Run::output() {
    if (!held) tcp_output(&c, &sink, now);
}

void Run::advance(Nanos by) {
    Nanos target = now + by;
    for (int steps = 0; opened && tcp_deadline(&c) <= target; steps++) {
        if (steps > 100000) throw Failure("timers do not come to rest");
        if (tcp_deadline(&c) > now) now = tcp_deadline(&c);
        tcp_on_timer(&c, now);
        tcp_output(&c, &sink, now);
    }
    now = target;
}

std::string Run::text(const Sent &packet) const {
    const TcpSegment &s = packet.segment;
    std::ostringstream out;
    out << flag_text(s.flags) << ' ' << static_cast<int32_t>(s.seq - c.iss);
    if (s.payload.size)
        out << ':' << static_cast<int32_t>(s.seq - c.iss) + static_cast<int64_t>(s.payload.size);
    if (s.flags & tcp_ack) out << " ack " << static_cast<int32_t>(s.ack - peer_isn);
    out << " win " << s.window;
    if (s.options.has_mss) out << " mss " << s.options.mss;
    if (s.options.has_scale) out << " ws " << int(s.options.scale);
    if (s.options.sack_permitted) out << " sackok";
    if (s.options.has_timestamps)
        out << " ts " << static_cast<int32_t>(s.options.ts_value - our_ts(0)) << ' '
            << static_cast<int32_t>(s.options.ts_echo - (s.options.ts_echo ? peer_ts : 0));
    if (s.options.sack_count) out << " sack";
    for (unsigned i = 0; i < s.options.sack_count; i++)
        out << ' ' << static_cast<int32_t>(s.options.sacks[i].begin - peer_isn) << ':'
            << static_cast<int32_t>(s.options.sacks[i].end - peer_isn);
    return out.str();
}

void Run::inject(const Segment &s) {
    TcpTuple tuple;
    make_tuple(&tuple);
    TcpSegment t;
    t.flags = s.flags == "0" ? 0 : flag_bits(s.flags);
    t.seq = peer_isn + static_cast<uint32_t>(s.seq);
    if (s.has_ack) {
        t.ack = c.iss + static_cast<uint32_t>(s.ack);
        t.flags |= tcp_ack;
    }
    if ((t.flags & tcp_ack) && !s.has_ack) throw Failure("a segment with `.` wants `ack N`");
    t.window = static_cast<uint16_t>(s.window >= 0 ? s.window : window);
    t.urgent = static_cast<uint16_t>(s.urgent);
    if (s.mss >= 0) {
        t.options.has_mss = true;
        t.options.mss = static_cast<uint16_t>(s.mss);
    }
    if (s.scale >= 0) {
        t.options.has_scale = true;
        t.options.scale = static_cast<uint8_t>(s.scale);
    }
    t.options.sack_permitted = s.sack_ok;
    if (s.has_ts || (s.ts_auto && c.timestamps)) {
        t.options.has_timestamps = true;
        t.options.ts_value =
            peer_ts + static_cast<uint32_t>(s.has_ts ? s.ts_value : (now - start_of_time) / ns_per_ms);
        int64_t sent_ms = (now - round_trip - start_of_time) / ns_per_ms;
        t.options.ts_echo = our_ts(s.has_ts ? s.ts_echo : sent_ms > 0 ? sent_ms : 0);
        if (s.has_ts && s.ts_echo < 0) t.options.ts_echo = 0;
    }
    for (auto &block : s.sacks) {
        uint32_t base = c.iss;
        t.options.sacks[t.options.sack_count++] =
            SackBlock{base + static_cast<uint32_t>(block.first), base + static_cast<uint32_t>(block.second)};
    }
    // The payload lies in a frame of its own; a frame that is not kept is gone at once, which a sanitizer
    // sees.
    FrameId id = next_frame++;
    std::vector<uint8_t> &bytes = receive_frames[id];
    int64_t first = s.seq - 1 + ((t.flags & tcp_syn) != 0); // a SYN comes before the data
    for (int64_t i = 0; i < s.size; i++) bytes.push_back(pattern(false, static_cast<uint64_t>(first + i)));
    t.payload = ByteView(bytes.data(), bytes.size());
    bool kept = false;
    constexpr uint8_t kind = tcp_syn | tcp_ack | tcp_rst;
    if (c.state == TcpState::listen && (t.flags & kind) == tcp_syn) {
        tcp_on_syn(&c, tuple, t, now);
        if (has_iss) throw Failure("`set iss` is for connect");
    } else if (c.state == TcpState::closed || c.state == TcpState::listen) {
        TcpSegment answer;
        if (tcp_reply(t, &answer)) {
            Sent reply;
            reply.at = now;
            reply.segment = answer;
            sent.push_back(reply);
        }
    } else {
        kept = tcp_on_segment(&c, t, id, now);
    }
    if (!kept && receive_frames.erase(id) != 1) throw Failure("a frame was released that had not been kept");
    output();
}

void Run::expect_options(const Segment &s, const Sent &packet) {
    const TcpOptions &o = packet.segment.options;
    auto differ = [&](const char *what) {
        throw Failure(std::string("the ") + what + " differs; sent was: " + text(packet));
    };
    if (s.mss >= 0 ? !o.has_mss || o.mss != s.mss : s.any_options && o.has_mss) differ("mss");
    if (s.scale >= 0 ? !o.has_scale || o.scale != s.scale : s.any_options && o.has_scale)
        differ("window scale");
    if (!(packet.segment.flags & tcp_syn) && (o.has_mss || o.has_scale || o.sack_permitted))
        differ("absence of what belongs to a SYN");
    if (s.any_options && s.sack_ok != o.sack_permitted) differ("SACK permission");
    if (s.no_ts && o.has_timestamps) differ("absence of a timestamp");
    if (s.has_ts && (!o.has_timestamps || o.ts_value != our_ts(s.ts_value) ||
                     o.ts_echo != (s.ts_echo < 0 ? 0 : peer_ts + static_cast<uint32_t>(s.ts_echo))))
        differ("timestamp");
    if (o.sack_count != s.sacks.size()) differ("number of SACK blocks");
    for (size_t i = 0; i < s.sacks.size(); i++)
        if (o.sacks[i].begin != peer_isn + static_cast<uint32_t>(s.sacks[i].first) ||
            o.sacks[i].end != peer_isn + static_cast<uint32_t>(s.sacks[i].second))
            differ("list of SACK blocks");
}

void Run::expect(const Segment &s) {
    if (sent.empty()) throw Failure("nothing was sent");
    Sent packet = sent.front();
    sent.pop_front();
    const TcpSegment &t = packet.segment;
    auto differ = [&](const std::string &what) {
        throw Failure("the " + what + " differs; sent was: " + text(packet));
    };
    if (packet.at != now)
        differ("time: wanted at " + time_text(now - start_of_time) + ", sent at " +
               time_text(packet.at - start_of_time));
    uint8_t flags = s.flags == "0" ? 0 : flag_bits(s.flags);
    if ((t.flags & ~tcp_psh) != (flags & ~tcp_psh)) differ("set of flags");
    // PSH is looked at only where a script writes it, or writes that there is none.
    if ((flags & tcp_psh) && !(t.flags & tcp_psh)) differ("PSH");
    if (s.no_push && (t.flags & tcp_psh)) differ("absence of PSH");
    if (t.seq != c.iss + static_cast<uint32_t>(s.seq)) differ("sequence number");
    if (static_cast<int64_t>(t.payload.size) != s.size) differ("size");
    if (s.has_ack && t.ack != peer_isn + static_cast<uint32_t>(s.ack)) differ("acknowledgement");
    if (s.window >= 0 && t.window != s.window) differ("window");
    expect_options(s, packet);
    const uint8_t *payload = packet.bytes.data() + packet.bytes.size() - t.payload.size;
    for (int64_t i = 0; i < s.size; i++)
        if (payload[i] != pattern(true, static_cast<uint64_t>(s.seq - 1 + i))) differ("payload");
}

// icmp KIND seq N [mtu N] [size N]
void Run::icmp(Words *words) {
    IcmpError error;
    error.kind = static_cast<IcmpKind>(index_of(icmp_names, words->next("kind")));
    error.quoted_size = 1500;
    while (words->more()) {
        if (words->take("seq"))
            error.seq = c.iss + static_cast<uint32_t>(number_of(words->next("seq")));
        else if (words->take("mtu"))
            error.mtu = static_cast<uint32_t>(number_of(words->next("mtu")));
        else if (words->take("size"))
            error.quoted_size = static_cast<uint32_t>(number_of(words->next("size")));
        else
            throw Failure("not part of icmp: " + words->next("word"));
    }
    tcp_on_icmp(&c, error, now);
    output();
}

// established [mss N] [ws N] [nots] [nosack] [win N] [rtt T]
void Run::established(Words *words) {
    Segment answer;
    answer.flags = "S.";
    answer.ack = 1;
    answer.has_ack = true;
    answer.mss = 1460;
    answer.scale = 7;
    answer.sack_ok = answer.has_ts = true;
    answer.ts_auto = false;
    while (words->more()) {
        if (words->take("mss"))
            answer.mss = static_cast<int>(number_of(words->next("mss")));
        else if (words->take("ws"))
            answer.scale = static_cast<int>(number_of(words->next("scale")));
        else if (words->take("nows"))
            answer.scale = -1;
        else if (words->take("nots"))
            answer.has_ts = false;
        else if (words->take("nosack"))
            answer.sack_ok = false;
        else if (words->take("win"))
            window = static_cast<uint16_t>(number_of(words->next("window")));
        else if (words->take("rtt"))
            round_trip = time_of(words->next("round trip"));
        else
            throw Failure("not part of established: " + words->next("word"));
    }
    std::vector<std::string> connect = {"connect"};
    Words calls{connect, 0};
    command(&calls);
    if (sent.size() != 1 || sent.front().segment.flags != tcp_syn) throw Failure("no SYN was sent");
    sent.clear();
    advance(round_trip);
    answer.ts_value = round_trip / ns_per_ms;
    answer.ts_echo = 0;
    inject(answer);
    if (c.state != TcpState::established) throw Failure("the handshake did not succeed");
    if (sent.size() != 1 || sent.front().segment.flags != tcp_ack)
        throw Failure("the SYN-ACK was not acknowledged alone");
    sent.clear();
    tcp_take_notices(&c);
}

void Run::take_bytes(uint64_t count) {
    while (count > 0) {
        TcpView view;
        if (tcp_views(&c, &view, 1) == 0)
            throw Failure("less to read than wanted: missing " + std::to_string(count));
        uint32_t size = view.size < count ? view.size : static_cast<uint32_t>(count);
        for (uint32_t i = 0; i < size; i++)
            if (view.data[i] != pattern(false, read + i))
                throw Failure("a byte read is not the one that was sent");
        read += size;
        count -= size;
        tcp_consume(&c, size);
    }
}

// set KEY VALUE
bool Run::setting(Words *words) {
    if (opened) throw Failure("`set` comes before the connection is opened");
    std::string key = words->next("key"), value = words->next("value");
    bool yes = value == "yes";
    static const std::map<std::string, uint32_t TcpConfig::*> numbers = {
        {"mtu", &TcpConfig::mtu},
        {"mss_max", &TcpConfig::mss_max},
        {"receive_bytes", &TcpConfig::receive_bytes},
        {"receive_pieces", &TcpConfig::receive_pieces},
        {"held_pieces", &TcpConfig::held_pieces},
        {"held_bytes", &TcpConfig::held_bytes},
        {"send_bytes", &TcpConfig::send_bytes},
        {"send_chunks", &TcpConfig::send_chunks},
        {"send_segments", &TcpConfig::send_segments},
        {"ack_segments", &TcpConfig::ack_segments},
        {"initial_segments", &TcpConfig::initial_segments},
        {"syn_tries", &TcpConfig::syn_tries},
        {"keepalive_tries", &TcpConfig::keepalive_tries}};
    static const std::map<std::string, Nanos TcpConfig::*> times = {
        {"ack_delay", &TcpConfig::ack_delay},
        {"user_timeout", &TcpConfig::user_timeout},
        {"keepalive_idle", &TcpConfig::keepalive_idle},
        {"keepalive_interval", &TcpConfig::keepalive_interval},
        {"time_wait", &TcpConfig::time_wait},
        {"fin_wait_2", &TcpConfig::fin_wait_2},
        {"peer_ack_delay", &TcpConfig::peer_ack_delay}};
    static const std::map<std::string, bool TcpConfig::*> switches = {
        {"timestamps", &TcpConfig::timestamps},
        {"sack", &TcpConfig::sack},
        {"window_scaling", &TcpConfig::window_scaling},
        {"nagle", &TcpConfig::nagle}};
    if (numbers.count(key))
        config.*numbers.at(key) = static_cast<uint32_t>(number_of(value));
    else if (times.count(key))
        config.*times.at(key) = time_of(value);
    else if (switches.count(key))
        config.*switches.at(key) = yes;
    else if (key == "rto_min")
        config.rtt.min = time_of(value);
    else if (key == "rto_max")
        config.rtt.max = time_of(value);
    else if (key == "rto_initial")
        config.rtt.initial = time_of(value);
    else if (key == "congestion")
        config.congestion = static_cast<CongestionKind>(
            index_of(std::vector<std::string>{"none", "newreno", "cubic"}, value));
    else if (key == "iss")
        has_iss = true, iss = static_cast<uint32_t>(number_of(value));
    else if (key == "peer_isn")
        peer_isn = static_cast<uint32_t>(number_of(value));
    else if (key == "peer_ts")
        peer_ts = static_cast<uint32_t>(number_of(value));
    else if (key == "ip")
        ip = static_cast<uint8_t>(number_of(value));
    else if (key == "challenges")
        host.challenges.per_second = static_cast<uint32_t>(number_of(value));
    else
        throw Failure("no such setting: " + key);
    return true;
}

bool Run::user_call(const std::string &word, Words *words) {
    if (word == "connect") {
        open();
        TcpTuple tuple;
        make_tuple(&tuple);
        tcp_connect(&c, tuple, now);
        if (has_iss) {
            c.iss = c.send_una = c.send_next = c.recovery_end = iss;
            c.tx.begin = c.tx.end = iss + 1;
        }
    } else if (word == "listen") {
        open();
        tcp_listen(&c);
    } else if (word == "write" || word == "refused") { // write N [nopush]; refused N
        uint32_t size = static_cast<uint32_t>(number_of(words->next("size")));
        FrameId id = next_frame++;
        std::vector<uint8_t> &bytes = send_frames[id];
        for (uint32_t i = 0; i < size; i++) bytes.push_back(pattern(true, written + i));
        TcpChunk chunk;
        chunk.data = bytes.data();
        chunk.size = size;
        chunk.push = !words->take("nopush");
        chunk.frame = id;
        chunk.has_sum = id % 2; // both ways
        if (chunk.has_sum) chunk.sum = checksum_sum(bytes.data(), size);
        bool taken = tcp_write(&c, chunk);
        if (taken != (word == "write"))
            throw Failure(taken ? "the write was taken" : "the write was refused");
        if (taken)
            written += size;
        else
            send_frames.erase(id);
    } else if (word == "read") {
        take_bytes(static_cast<uint64_t>(number_of(words->next("size"))));
    } else if (word == "finish") {
        tcp_finish(&c);
    } else if (word == "close") {
        tcp_close(&c);
    } else if (word == "abort") {
        tcp_abort(&c);
    } else if (word == "retire") {
        tcp_retire(&c, now);
    } else if (word == "mtu") {
        tcp_set_mtu(&c, static_cast<uint32_t>(number_of(words->next("mtu"))));
    } else {
        return false;
    }
    output();
    return true;
}

static void same(const char *what, int64_t wanted, int64_t seen) {
    if (wanted != seen)
        throw Failure(std::string(what) + " is " + std::to_string(seen) + ", wanted " +
                      std::to_string(wanted));
}

bool Run::look(const std::string &word, Words *words) {
    auto number = [&] { return number_of(words->next("number")); };
    if (word == "state") {
        std::string wanted = words->next("state");
        if (wanted != tcp_state_text(c.state))
            throw Failure("the state is " + std::string(tcp_state_text(c.state)));
    } else if (word == "end") {
        std::string wanted = words->next("end");
        if (index_of(end_names, wanted) != static_cast<size_t>(c.end))
            throw Failure("the end is " + end_names[static_cast<size_t>(c.end)]);
    } else if (word == "notice" || word == "no-notice") {
        uint32_t seen = c.notices;
        while (words->more()) {
            std::string name = words->next("name");
            if (!notices.count(name)) throw Failure("no such notice: " + name);
            if (((seen & notices.at(name)) != 0) != (word == "notice"))
                throw Failure((word == "notice" ? "not noticed: " : "noticed: ") + name);
            if (word == "notice") c.notices &= ~notices.at(name);
        }
    } else if (word == "counter") {
        std::string name = words->next("counter");
        if (!counters.count(name)) throw Failure("no such counter: " + name);
        same(name.c_str(), number(), static_cast<int64_t>(c.stats.*counters.at(name)));
    } else if (word == "readable")
        same("readable", number(), reassembly_unread(&c.rx));
    else if (word == "room")
        same("room", number(), tcp_room(&c));
    else if (word == "cwnd")
        same("cwnd", number(), c.congestion.window);
    else if (word == "ssthresh")
        same("ssthresh", number(), c.congestion.threshold);
    else if (word == "flight")
        same("flight", number(), tcp_in_flight(&c));
    else if (word == "outstanding")
        same("outstanding", number(), tcp_outstanding(&c));
    else if (word == "peer-window")
        same("peer window", number(), c.send_window);
    else if (word == "mss")
        same("mss", number(), c.mss);
    else if (word == "released")
        same("released", number(), static_cast<int64_t>(released_send));
    else if (word == "frames")
        same("frames", number(), static_cast<int64_t>(receive_frames.size() + send_frames.size()));
    else if (word == "time-waits")
        same("time-waits", number(), host.time_wait.count);
    else if (word == "rto")
        same("rto in ns", time_of(words->next("time")), rtt_timeout(&c.rtt));
    else if (word == "srtt")
        same("srtt in ns", time_of(words->next("time")), c.rtt.smoothed);
    else if (word == "deadline") {
        std::string wanted = words->next("time");
        Nanos seen = tcp_deadline(&c);
        if (wanted == "none" ? seen != never : seen == never || seen - now != time_of(wanted))
            throw Failure("the deadline is " + (seen == never ? std::string("none") : time_text(seen - now)));
    } else
        return false;
    return true;
}

// `by N`: one line for a run of segments.
void Run::segments(const Segment &whole, bool ours) {
    Segment part = whole;
    int64_t end = whole.seq + whole.size;
    do {
        if (whole.by != 0) part.size = std::min(whole.by, end - part.seq);
        if (ours)
            expect(part);
        else
            inject(part);
        part.seq += part.size;
    } while (whole.by != 0 && part.seq < end);
}

void Run::command(Words *words) {
    std::string word = words->next("command");
    if (word == "<" || word == ">") return segments(parse_segment(words), word == ">");
    if (word == "set") {
        setting(words);
    } else if (word == "established") {
        return established(words);
    } else if (word == "icmp") {
        return icmp(words);
    } else if (word == "sink") {
        std::string room = words->next("full, free or number of packets");
        sink_room = room == "full" ? 0 : room == "free" ? INT64_MAX : number_of(room);
        output();
    } else if (word == "hold") { // what follows is one batch: nothing is sent until `go`
        held = true;
    } else if (word == "go") {
        held = false;
        output();
    } else if (word == "quiet") {
        if (!sent.empty()) throw Failure("was sent: " + text(sent.front()));
    } else if (!user_call(word, words) && !look(word, words)) {
        throw Failure("no such command: " + word);
    }
    if (words->more()) throw Failure("too much: " + words->next("word"));
}

void Run::step(const Line &line) {
    Words words{line.words, 0};
    if (line.words[0][0] == '+') {
        // What was sent and not expected is found before time goes on.
        if (!sent.empty()) throw Failure("was sent and not expected: " + text(sent.front()));
        advance(time_of(words.next("time").substr(1)));
        if (!words.more()) {
            if (!sent.empty()) throw Failure("was sent and not expected: " + text(sent.front()));
            return;
        }
    }
    if (trace) {
        std::string shown;
        for (size_t i = words.at; i < line.words.size(); i++) shown += line.words[i] + " ";
        printf("%14s    %s\n", time_text(now - start_of_time).c_str(), shown.c_str());
    }
    command(&words);
}

// However it went: nothing is kept once the connection is over and what it had received is consumed.
void Run::finish() {
    if (!sent.empty()) throw Failure("was sent and not expected: " + text(sent.front()));
    sink_room = INT64_MAX;
    held = false;
    tcp_abort(&c);
    if (c.state == TcpState::time_wait) tcp_retire(&c, now);
    tcp_output(&c, &sink, now);
    tcp_consume(&c, reassembly_unread(&c.rx));
    if (c.state != TcpState::closed)
        throw Failure("after tcp_abort the state is " + std::string(tcp_state_text(c.state)));
    if (tcp_deadline(&c) != never) throw Failure("after the end a timer is left");
    if (!receive_frames.empty() || !send_frames.empty()) throw Failure("frames are kept after the end");
}

void run_case(const Case &test) {
    Run run;
    size_t begin = 0; // of what is repeated
    int64_t left = 0;
    for (size_t i = 0; i < test.lines.size(); i++) {
        const Line &line = test.lines[i];
        try {
            if (line.words[0] == "repeat") {
                if (left != 0 || line.words.size() != 2) throw Failure("`repeat N`, not within another");
                begin = i;
                left = number_of(line.words[1]);
            } else if (line.words[0] == "again") {
                if (left == 0) throw Failure("`again` without `repeat`");
                if (--left > 0) i = begin;
            } else {
                run.step(line);
            }
        } catch (const Failure &failure) {
            throw Failure("tests/tcp/cases/" + test.file + ".txt:" + std::to_string(line.number) + ": " +
                          failure.what());
        }
    }
    try {
        run.finish();
    } catch (const Failure &failure) {
        throw Failure("tests/tcp/cases/" + test.file + ".txt, end of " + test.name + ": " + failure.what());
    }
}

} // namespace script
