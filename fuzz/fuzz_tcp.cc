// SPDX-License-Identifier: MIT
// A TCP connection against a peer, a network and an owner that the input plays: it is a program of operations
// after some bytes of configuration. Numbers are chosen near those that matter (window edges, segment
// boundaries, SACKed and held ranges), since a fuzzer does not hit them in 2^32. What the peer "sends" is a
// function of the sequence number, and so is what we write: whatever is delivered or sent can be compared,
// however often and in whatever pieces it came. After each operation the rules of
// tests/support/tcp_invariants must hold, every packet that leaves must read back through the verifying wire
// layer, and memory must be held exactly as long as it is referred to. Limits are small, so that they are
// reached.
#include "../tests/support/tcp_invariants.h"
#include <map>
#include <memory>
#include <stdio.h>
#include <stdlib.h>
#include <vector>

namespace {

using namespace wx;

constexpr unsigned operations_max = 500; // an input that takes longer finds no more
constexpr uint32_t segment_max = 2000;
constexpr uint32_t chunk_max = 20000;
constexpr size_t pattern_period = 1 << 20; // divides 2^32, so that it is a function of the sequence number
constexpr Nanos start = 1000 * ns_per_s;
constexpr uint16_t peer_port = 443;

const bool traced = getenv("TRACE") != nullptr;
#define TRACE(...)                                                                                           \
    if (traced) fprintf(stderr, __VA_ARGS__)

void must(bool condition, const char *sentence) {
    if (condition) return;
    fprintf(stderr, "%s\n", sentence);
    abort();
}
void must_keep(const char *broken) { must(broken == nullptr, broken); }

struct Pattern {
    std::vector<uint8_t> bytes;
    Pattern() : bytes(pattern_period + 65536) {
        for (size_t i = 0; i < bytes.size(); i++)
            bytes[i] = static_cast<uint8_t>(((i % pattern_period) * 0x9E3779B97F4A7C15u) >> 40);
    }
    const uint8_t *at(uint32_t seq) const { return bytes.data() + seq % pattern_period; }
};
const Pattern pattern;

// Memory that the connection refers to: each frame alone in a heap block, gone when it is released.
struct Frames {
    std::map<FrameId, std::unique_ptr<uint8_t[]>> live;
    FrameId last = 0;
    uint8_t *make(size_t size, FrameId *frame) {
        *frame = ++last;
        return (live[*frame] = std::unique_ptr<uint8_t[]>(new uint8_t[size])).get();
    }
    void take_back(FrameId frame) { must(live.erase(frame) == 1, "a frame is released that is not held"); }
    FrameRelease release() {
        return {[](void *self, FrameId frame) { static_cast<Frames *>(self)->take_back(frame); }, this};
    }
};

// The input, read to its end; then zeros.
struct Input {
    const uint8_t *at, *end;
    bool over() const { return at == end; }
    uint8_t u8() { return at != end ? *at++ : 0; }
    uint32_t u16() {
        uint32_t high = u8();
        return high << 8 | u8();
    }
    uint32_t u32() {
        uint32_t high = u16();
        return high << 16 | u16();
    }
    uint32_t below(uint32_t bound) { return bound > 256 ? u16() % bound : u8() % bound; }
    bool flag() { return u8() & 1; }
    template <typename T, size_t n> T one_of(const T (&choices)[n]) { return choices[u8() % n]; }
};

struct World;
struct Sink : TcpSink {
    World *world = nullptr;
    uint32_t room = UINT32_MAX; // packets that it takes until it is full
    bool refused = false;
};

struct World {
    Input in;
    TcpHost host;
    FixedRandom random;
    Frames received, sent;
    std::vector<uint8_t> storage, time_waits;
    TcpConfig config;
    TcpConnection c;
    TcpTuple tuple;
    Sink sink;
    Nanos now = start;
    // -- the peer
    uint32_t irs = 0;
    uint32_t peer_ts = 0; // at time 0
    uint32_t last_ts = 0; // ours, as it came last
    uint16_t window = 65535;
    TcpOptions syn_options;
    bool whole_packets = false;
    bool batch = false; // nothing is sent and no timer looked at until it is over
    // -- what must not come too often
    Nanos answered[2] = {-start, -start}; // the last two answers to what was not acceptable
};

// ---- what leaves ----

bool on_packet(TcpSink *base, const TcpPacket &packet) {
    Sink *sink = static_cast<Sink *>(base);
    World *w = sink->world;
    if (sink->room == 0) {
        sink->refused = true;
        return false;
    }
    if (sink->room != UINT32_MAX) sink->room--;
    std::vector<uint8_t> bytes(packet.headers.data, packet.headers.data + packet.headers.size);
    const SendPieces *pieces = packet.payload;
    for (unsigned i = 0; pieces && i < pieces->count; i++)
        bytes.insert(bytes.end(), pieces->pieces[i].data, pieces->pieces[i].data + pieces->pieces[i].size);
    Frame frame;
    const Wire result = packet_read(ByteView(bytes.data(), bytes.size()), ChecksumPolicy::verify, &frame);
    must(result == Wire::ok, "a packet leaves that the verifying reader refuses");
    must(frame.ip.header_size + frame.ip.payload.size == bytes.size(), "a packet states another length");
    const TcpSegment &s = frame.tcp;
    TRACE("    > flags %02x seq %u ack %u window %u size %zu\n", s.flags, s.seq - w->c.iss, s.ack - w->irs,
          s.window, s.payload.size);
    must_keep(tcp_invariants::broken_packet(w->c, frame, bytes.size(), w->now));
    must(memcmp(s.payload.data, pattern.at(s.seq), s.payload.size) == 0,
         "other bytes than were written leave");
    if (s.options.has_timestamps) w->last_ts = s.options.ts_value;
    return true;
}

// ---- rules after each operation ----

void check(World *w) {
    const TcpConnection &c = w->c;
    must_keep(tcp_invariants::broken_state(c));
    must(w->received.live.size() == c.rx.ready_tail - c.rx.ready_head + c.rx.held_count,
         "received frames are kept other than those that can be read or are held");
    must(w->sent.live.size() == c.tx.tail - c.tx.head, "chunks are kept other than those not acknowledged");
}

void step(World *w) {
    check(w);
    if (w->batch) return;
    w->sink.refused = false;
    if (tcp_deadline(&w->c) <= w->now) tcp_on_timer(&w->c, w->now);
    tcp_output(&w->c, &w->sink, w->now);
    check(w);
    if (!w->sink.refused) must_keep(tcp_invariants::broken_timers(w->c, w->now));
}

void consume(World *w, uint32_t bytes) {
    TcpView views[4];
    bytes = bytes < reassembly_unread(&w->c.rx) ? bytes : reassembly_unread(&w->c.rx);
    while (bytes != 0) {
        const uint32_t count = tcp_views(&w->c, views, 4);
        uint32_t seq = w->c.rx.read;
        must(count != 0, "bytes can be read, and there is no view of them");
        for (uint32_t i = 0; i < count; seq += views[i++].size)
            must(memcmp(views[i].data, pattern.at(seq), views[i].size) == 0,
                 "other bytes arrive than were sent");
        const uint32_t most = seq - w->c.rx.read, now = bytes < most ? bytes : most;
        tcp_consume(&w->c, now);
        bytes -= now;
    }
}

// ---- the configuration ----

void configure(World *w) {
    Input &in = w->in;
    TcpConfig &t = w->config;
    const uint8_t bits = in.u8();
    t.timestamps = bits & 1;
    t.sack = bits & 2;
    t.window_scaling = bits & 4;
    t.nagle = bits & 8;
    if (bits & 16) t.keepalive_idle = ns_per_s, t.keepalive_interval = ns_per_s, t.keepalive_tries = 2;
    if (bits & 32) t.user_timeout = 3 * ns_per_s, t.time_wait = t.fin_wait_2 = 2 * ns_per_s, t.syn_tries = 2;
    if (bits & 64) t.rtt.min = t.rtt.initial = 5 * ns_per_ms, t.rtt.max = 80 * ns_per_ms;
    w->whole_packets = bits & 128;
    t.congestion = static_cast<CongestionKind>(in.below(3));
    t.initial_segments = in.one_of<uint32_t>({10, 1, 2, 100});
    t.receive_bytes = in.one_of<uint32_t>({65536, 1024, 4096, 65535, 1 << 20, 1 << 30});
    t.receive_pieces = in.one_of<uint32_t>({64, 1, 2, 8});
    t.held_pieces = in.one_of<uint32_t>({16, 1, 2, 5});
    t.held_bytes = in.one_of<uint32_t>({1 << 19, 100, 3000, 0});
    t.send_bytes = in.one_of<uint32_t>({65536, 1024, 1 << 20});
    t.send_chunks = in.one_of<uint32_t>({64, 1, 2, 8});
    t.send_segments = in.one_of<uint32_t>({64, 1, 2, 8});
    t.mtu = in.one_of<uint32_t>({1500, 576, 1280, 9000, 65535});
    t.mss_max = in.one_of<uint32_t>({65535, 64, 100, 536});
    t.ack_segments = in.one_of<uint32_t>({8, 1, 2});
    t.ack_delay = in.one_of<Nanos>({100000, 0, 40 * ns_per_ms});
    must(tcp_config_problem(t) == nullptr, "the configuration is refused");
}

void configure_peer(World *w) {
    Input &in = w->in;
    TcpOptions &o = w->syn_options;
    const uint8_t bits = in.u8();
    o.has_mss = bits & 1;
    o.has_scale = bits & 2;
    o.sack_permitted = bits & 4;
    o.has_timestamps = bits & 8;
    o.mss = in.one_of<uint16_t>({1460, 0, 1, 64, 100, 536, 8960, 65535});
    o.scale = in.one_of<uint8_t>({0, 1, 7, tcp_scale_max});
    w->irs = bits & 16 ? 0u - in.u8() * 16u : in.u16() << 16;
    w->peer_ts = bits & 32 ? 0u - static_cast<uint32_t>(w->now / tcp_timestamp_tick) - in.u8() * 16u : 12345;
    const bool six = bits & 64;
    uint8_t address[16] = {0x20, 0x01, 0x0d, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    w->tuple.local = six ? ip_address(address, 6) : ip4_address(192, 0, 2, 1);
    address[15] = 77;
    w->tuple.remote = six ? ip_address(address, 6) : ip4_address(198, 51, 100, 7);
    w->tuple.local_port = 40000;
    w->tuple.remote_port = peer_port;
    if (bits & 128) { // the ISS is a clock as well: when it comes to its end
        const uint32_t left = 0u - isn_make(w->host.secret, w->tuple, w->now) - in.u8() * 16u;
        w->now += left * 4000ll;
    }
}

void open_world(World *w) {
    fixed_random_open(&w->random, 1);
    w->host.random = &w->random;
    memset(w->host.secret.key, 7, sizeof w->host.secret.key);
    w->time_waits.resize(time_wait_bytes(4));
    time_wait_open(&w->host.time_wait, w->time_waits.data(), 4);
    w->host.release_receive = w->received.release();
    w->host.release_send = w->sent.release();
    configure(w);
    configure_peer(w);
    w->sink.send = on_packet;
    w->sink.world = w;
    w->storage.resize(tcp_storage_bytes(w->config));
}

// ---- segments ----

TcpSegment blank(World *w) {
    TcpSegment s;
    s.source_port = w->tuple.remote_port;
    s.destination_port = w->tuple.local_port;
    s.seq = tcp_receive_next(&w->c);
    s.ack = w->c.send_next;
    s.flags = tcp_ack;
    s.window = w->window;
    s.options.has_timestamps = w->c.timestamps;
    s.options.ts_value = w->peer_ts + static_cast<uint32_t>(w->now / tcp_timestamp_tick);
    s.options.ts_echo = w->last_ts;
    return s;
}

// The same as bytes, read back by who verifies. false: no header takes these options.
bool through_wire(World *w, const TcpSegment &s, uint32_t size, FrameId *frame, TcpSegment *out) {
    IpTemplate ip;
    ip.source = w->tuple.remote;
    ip.destination = w->tuple.local;
    uint8_t tcp[tcp_header_max], head[ip6_header_size];
    const size_t tcp_size = tcp_write_header(ByteSpan(tcp, sizeof tcp), s);
    if (tcp_size == 0) return false;
    const size_t ip_size = ip_write(ByteSpan(head, sizeof head), ip, tcp_size + size);
    uint8_t *packet = w->received.make(ip_size + tcp_size + size, frame);
    const ChecksumSum sum = checksum_copy(packet + ip_size + tcp_size, pattern.at(s.seq), size);
    const ChecksumSum pseudo = checksum_pseudo(ip.source.bytes, ip.destination.bytes, ip.source.size(),
                                               ip_tcp, static_cast<uint32_t>(tcp_size + size));
    tcp_finish(tcp, tcp_size, pseudo, sum);
    memcpy(packet, head, ip_size);
    memcpy(packet + ip_size, tcp, tcp_size);
    Frame read;
    const ByteView whole(packet, ip_size + tcp_size + size);
    must(packet_read(whole, ChecksumPolicy::verify, &read) == Wire::ok && read.kind == FrameKind::tcp,
         "a packet with right checksums is refused");
    *out = read.tcp;
    return true;
}

// Answers to segments that take no sequence space and are not acceptable are bounded, as two connections that
// disagree would else answer each other for ever: in half a second one challenge and one of the other kind.
void count_answer(World *w, const TcpSegment &s, const TcpStats &before, bool owed) {
    const TcpStats &after = w->c.stats;
    const bool challenged =
        after.challenges + after.challenges_refused != before.challenges + before.challenges_refused;
    if ((s.flags & tcp_rst) && !challenged) must(owed || !w->c.acks.at_once, "a reset is answered unasked");
    const bool empty = s.length() == 0 || (s.flags & tcp_syn) || challenged;
    const bool refused = challenged || after.unacceptable != before.unacceptable;
    if (!empty || !refused || owed || !w->c.acks.at_once) return;
    must(w->now - w->answered[0] >= tcp_unacceptable_distance,
         "answers to what is not acceptable come too often");
    w->answered[0] = w->answered[1];
    w->answered[1] = w->now;
}

// Segments that must change nothing of an established connection: SYN (RFC 5961 section 4), a reset that is
// not exactly where one is due (section 3), what acknowledges the future (RFC 9293 section 3.10.7.4), and
// what is older than the last timestamp (RFC 7323 section 5).
bool must_change_nothing(const TcpConnection &c, const TcpSegment &s, Nanos now) {
    if (!tcp_synchronized(&c) || c.state == TcpState::time_wait) return false;
    if (s.flags & tcp_rst) return s.seq != tcp_receive_next(&c);
    if ((s.flags & tcp_syn) || !(s.flags & tcp_ack) || seq_after(s.ack, c.send_next)) return true;
    if (!c.timestamps) return false;
    return !s.options.has_timestamps ||
           (seq_before(s.options.ts_value, c.ts_recent) && now - c.ts_recent_at < tcp_ts_recent_valid);
}
void must_be_equal(const TcpConnection &a, const TcpConnection &b) {
    must(a.state == b.state && a.send_una == b.send_una && a.send_window == b.send_window &&
             a.rx.next == b.rx.next && a.rx.held_bytes == b.rx.held_bytes && a.fin_known == b.fin_known &&
             a.ts_recent == b.ts_recent && a.sent.sacked_bytes == b.sent.sacked_bytes,
         "what had to be refused has changed the connection");
}

// The connection is over: what its host answers instead.
void answer_outside(World *w, const TcpSegment &s) {
    TcpSegment answer;
    time_wait_expire(&w->host.time_wait, w->now);
    TimeWait *entry = time_wait_find(&w->host.time_wait, w->tuple);
    const uint32_t ts = static_cast<uint32_t>(w->now / tcp_timestamp_tick);
    const bool answered =
        entry ? time_wait_on_segment(&w->host.time_wait, entry, s, w->now, w->config.time_wait, ts, &answer)
              : tcp_reply(s, &answer);
    if (!answered) return;
    must(!(s.flags & tcp_rst), "a reset is answered");
    must(answer.flags == tcp_ack ? entry != nullptr : entry == nullptr && (answer.flags & tcp_rst),
         "an answer of the wrong kind from outside a connection");
    uint8_t packet[ip6_header_size + tcp_header_max];
    const size_t size = tcp_write_packet(ByteSpan(packet, sizeof packet), w->tuple, answer);
    Frame frame;
    must(packet_read(ByteView(packet, size), ChecksumPolicy::verify, &frame) == Wire::ok,
         "an answer leaves that the verifying reader refuses");
    must(frame.tcp.seq == answer.seq && frame.tcp.ack == answer.ack && frame.tcp.flags == answer.flags &&
             frame.tcp.source_port == w->tuple.local_port && frame.tcp.destination_port == peer_port,
         "an answer leaves that was not given");
}

// s.payload is made here, `size` bytes of what the peer has at s.seq.
void arrive(World *w, TcpSegment s, uint32_t size) {
    FrameId frame = no_frame;
    const uint32_t first = s.seq + ((s.flags & tcp_syn) != 0);
    if ((s.flags & tcp_syn) || !w->whole_packets || !through_wire(w, s, size, &frame, &s)) {
        uint8_t *payload = w->received.make(size, &frame);
        memcpy(payload, pattern.at(first), size);
        s.payload = ByteView(payload, size);
    }
    TRACE("  < flags %02x seq %u ack %u window %u size %zu sacks %u\n", s.flags, s.seq - w->irs,
          s.ack - w->c.iss, s.window, s.payload.size, s.options.sack_count);
    TcpConnection &c = w->c;
    const bool owed_reset = c.send_reset, owed = c.acks.at_once;
    const TcpConnection before = c;
    bool kept = false;
    if (c.state == TcpState::listen) {
        w->irs = s.seq;
        tcp_on_syn(&c, w->tuple, s, w->now);
    } else {
        if (c.state == TcpState::syn_sent) w->irs = s.seq;
        kept = tcp_on_segment(&c, s, frame, w->now);
        must(before.state == TcpState::syn_sent || seq_until(before.advertised, c.advertised),
             "the advertised edge moves left");
    }
    if (!kept) w->received.take_back(frame);
    if (s.flags & tcp_rst) must(owed_reset || !c.send_reset, "a reset is answered with a reset");
    if (must_change_nothing(before, s, w->now)) must_be_equal(before, c);
    count_answer(w, s, before.stats, owed);
    if (c.state == TcpState::closed) answer_outside(w, s);
}

uint32_t small_or_any(Input &in) { return in.flag() ? in.u8() : in.u32(); }

// A boundary of what was sent and is not acknowledged.
uint32_t sent_boundary(World *w) {
    const uint32_t count = scoreboard_count(&w->c.sent), at = w->in.u8();
    if (count == 0) return w->c.send_una;
    const SentSegment *segment = scoreboard_at(&w->c.sent, at % count);
    return at & 128 ? segment->end : segment->seq;
}

uint32_t choose_seq(World *w) {
    Input &in = w->in;
    const TcpConnection &c = w->c;
    const uint32_t next = tcp_receive_next(&c);
    switch (in.below(9)) {
    case 0:
        return next;
    case 1:
        return next - in.u8();
    case 2:
        return next - in.u16();
    case 3:
        return next + in.u16();
    case 4:
        return c.advertised + in.u8() - 128;
    case 5:
        return c.rx.held_count ? c.rx.held[in.u8() % c.rx.held_count].seq + in.u8() - 128 : next + in.u8();
    case 6:
        return c.fin_known ? c.fin_received + in.u8() - 128 : next + in.u8();
    case 7:
        return w->irs + in.u8() - 2;
    default:
        return in.u32();
    }
}

uint32_t choose_ack(World *w) {
    Input &in = w->in;
    const TcpConnection &c = w->c;
    switch (in.below(8)) {
    case 0:
        return c.send_una;
    case 1:
        return c.send_next;
    case 2:
        return sent_boundary(w);
    case 3:
        return sent_boundary(w) + in.u8();
    case 4:
        return c.send_una - c.max_window + in.u8() - 128;
    case 5:
        return c.send_next + 1 + in.u8();
    case 6:
        return c.iss + in.u8() - 1;
    default:
        return in.u32();
    }
}

SackBlock choose_block(World *w) {
    Input &in = w->in;
    const TcpConnection &c = w->c;
    switch (in.below(6)) {
    case 0:
    case 1: { // in order, so that most mean something
        const uint32_t a = sent_boundary(w), b = sent_boundary(w);
        return {seq_min(a, b), seq_max(a, b)};
    }
    case 2:
        return {sent_boundary(w) + in.u8(), sent_boundary(w) + in.u8()};
    case 3:
        return {c.send_una - in.u8(), c.send_una + in.u8() - 64}; // a DSACK, or one that overlaps
    case 4:
        return {c.send_next - in.u8(), c.send_next + in.u8() - 64};
    default:
        return {in.u32(), in.u32()};
    }
}

void choose_sacks(World *w, TcpOptions *o) {
    const unsigned most = o->has_timestamps ? tcp_sack_max - 1 : tcp_sack_max;
    o->sack_count = static_cast<uint8_t>(w->in.below(most + 1));
    for (unsigned i = 0; i < o->sack_count; i++) o->sacks[i] = choose_block(w);
}

uint32_t choose_size(World *w) {
    switch (w->in.below(4)) {
    case 0:
        return 0;
    case 1:
        return w->in.u8();
    case 2:
        return tcp_segment_payload(&w->c) < segment_max ? tcp_segment_payload(&w->c) : segment_max;
    default:
        return w->in.u16() % (segment_max + 1);
    }
}

void free_segment(World *w) {
    Input &in = w->in;
    const uint8_t bits = in.u8();
    TcpSegment s = blank(w);
    s.seq = choose_seq(w);
    s.ack = choose_ack(w);
    if (bits & 1) s.flags = in.u8();
    if (bits & 2) s.window = static_cast<uint16_t>(in.u16());
    if (bits & 4) s.options.has_timestamps = !s.options.has_timestamps;
    if (bits & 8) s.options.ts_value = w->c.ts_recent + in.u8() - 128;
    if (bits & 16) s.options.ts_echo = w->last_ts + in.u8() - 128;
    if (bits & 32) choose_sacks(w, &s.options);
    if (bits & 64) s.urgent = 1;
    if (s.flags & tcp_syn) {
        const bool timestamps = s.options.has_timestamps;
        if (bits & 128) s.options = w->syn_options;
        s.options.has_timestamps = timestamps;
        s.options.ts_value = w->peer_ts + static_cast<uint32_t>(w->now / tcp_timestamp_tick);
    }
    arrive(w, s, choose_size(w));
}

// What a well-behaved peer answers to a SYN, or opens with.
void answer_handshake(World *w) {
    TcpSegment s = blank(w);
    if (w->c.state == TcpState::syn_received) { // ours has arrived
        arrive(w, s, 0);
        return;
    }
    if (w->c.state != TcpState::listen && w->c.state != TcpState::syn_sent) return;
    s.seq = w->irs;
    s.options = w->syn_options;
    s.options.ts_value = w->peer_ts + static_cast<uint32_t>(w->now / tcp_timestamp_tick);
    s.options.ts_echo = w->last_ts;
    s.flags = w->c.state == TcpState::listen ? tcp_syn : tcp_syn | tcp_ack;
    arrive(w, s, 0);
}

void peer_data(World *w) {
    TcpSegment s = blank(w);
    if (w->in.flag()) s.ack = w->c.send_una;
    arrive(w, s, choose_size(w));
}

void peer_ack(World *w) {
    TcpSegment s = blank(w);
    s.ack = w->in.flag() ? sent_boundary(w) : w->c.send_next;
    arrive(w, s, 0);
}

void peer_sack(World *w) {
    TcpSegment s = blank(w);
    s.ack = w->c.send_una;
    choose_sacks(w, &s.options);
    arrive(w, s, 0);
}

void peer_gap(World *w) {
    TcpSegment s = blank(w);
    s.seq += w->in.u16() % 8192;
    if (w->in.flag()) s.flags |= tcp_fin;
    arrive(w, s, choose_size(w));
}

void peer_fin(World *w) {
    TcpSegment s = blank(w);
    s.flags |= tcp_fin;
    if (w->in.flag()) s.ack = w->c.send_una;
    arrive(w, s, w->in.u8());
}

void peer_reset(World *w) {
    TcpSegment s = blank(w);
    const uint8_t kind = w->in.u8();
    s.flags = kind & 1 ? tcp_rst : tcp_rst | tcp_ack;
    if (kind & 2) s.seq = choose_seq(w);
    if (kind & 4) s.ack = choose_ack(w);
    arrive(w, s, kind & 8 ? 1 : 0);
}

// ---- the owner ----

void write(World *w) {
    Input &in = w->in;
    static const uint32_t sizes[] = {1, 10, 100, 1000, 1460, 3000, chunk_max};
    const uint32_t size = in.flag() ? in.one_of(sizes) : 1 + in.u16() % chunk_max;
    TcpChunk chunk;
    FrameId frame;
    uint8_t *data = w->sent.make(size, &frame);
    memcpy(data, pattern.at(w->c.tx.end), size);
    const uint8_t bits = in.u8();
    chunk.data = data;
    chunk.size = size;
    chunk.frame = frame;
    chunk.push = bits & 1;
    chunk.has_sum = bits & 2;
    if (chunk.has_sum) chunk.sum = checksum_sum(data, size);
    const bool fits = size <= tcp_room(&w->c), taken = tcp_write(&w->c, chunk);
    TRACE("  write %u: %d\n", size, taken);
    must(taken || !fits, "a chunk is refused that tcp_room said would fit");
    if (!taken) w->sent.take_back(frame);
}

// The object is used for another connection, on the next port.
void open_connection(World *w, bool passive) {
    if (w->c.state != TcpState::closed) return;
    w->c.send_reset = false;
    consume(w, UINT32_MAX);
    must(w->received.live.empty() && w->sent.live.empty(),
         "a connection that is over and was read keeps memory");
    must(tcp_open(&w->c, &w->host, w->config, ByteSpan(w->storage.data(), w->storage.size())) == 0,
         "tcp_open refuses");
    w->tuple.local_port++;
    w->answered[0] = w->answered[1] = -start;
    if (passive) {
        tcp_listen(&w->c);
    } else {
        must(tcp_connect(&w->c, w->tuple, w->now), "tcp_connect refuses");
    }
}

void owner(World *w) {
    const uint8_t kind = w->in.u8();
    TRACE("  owner %u in %s\n", kind % 16, tcp_state_text(w->c.state));
    switch (kind % 16) {
    case 0:
    case 1:
    case 2:
        tcp_finish(&w->c);
        break;
    case 3:
    case 4:
        tcp_close(&w->c);
        break;
    case 5:
        tcp_abort(&w->c);
        break;
    case 6:
    case 7:
        tcp_retire(&w->c, w->now);
        break;
    case 8:
    case 9:
        tcp_set_mtu(&w->c, w->in.one_of<uint32_t>({1500, 0, 576, 1280, 9000, 70000}));
        break;
    case 10:
        open_connection(w, false);
        break;
    case 11:
        open_connection(w, true);
        break;
    case 12:
    case 13:
        w->window = static_cast<uint16_t>(w->in.flag() ? w->in.u16() : w->in.u8());
        break;
    case 14:
        w->sink.room = w->in.flag() ? UINT32_MAX : w->in.below(4);
        break;
    default:
        w->batch = !w->batch;
        break;
    }
}

void icmp(World *w) {
    Input &in = w->in;
    IcmpError error;
    error.kind = static_cast<IcmpKind>(in.below(9));
    error.mtu = in.one_of<uint32_t>({0, 68, 552, 1000, 1280, 1400, 65535});
    error.quoted_size = in.one_of<uint32_t>({0, 576, 1280, 1500, 9000, 65535});
    error.seq = in.flag() ? sent_boundary(w) : choose_ack(w);
    const TcpState before = w->c.state;
    tcp_on_icmp(&w->c, error, w->now);
    must(before < TcpState::established || w->c.state == before, "ICMP ends an established connection");
}

void pass_time(World *w) {
    const uint8_t kind = w->in.u8();
    Nanos to = w->now;
    switch (kind % 5) {
    case 0:
        to += (1 + w->in.u8()) * 50000ll;
        break;
    case 1:
        to += (1 + w->in.u8()) * 20 * ns_per_ms;
        break;
    case 2:
        to += (1 + w->in.u8()) * ns_per_s;
        break;
    default: {
        const Nanos deadline = tcp_deadline(&w->c);
        if (deadline != never && deadline > to) to = deadline;
    }
    }
    w->now = to;
    TRACE("  at %.6f in %s\n", static_cast<double>(w->now) / ns_per_s, tcp_state_text(w->c.state));
}

void operate(World *w) {
    switch (w->in.below(16)) {
    case 0:
        return free_segment(w);
    case 1:
        return peer_data(w);
    case 2:
        return peer_ack(w);
    case 3:
        return peer_sack(w);
    case 4:
        return peer_gap(w);
    case 5:
        return peer_fin(w);
    case 6:
        return peer_reset(w);
    case 7:
        return answer_handshake(w);
    case 8:
        return write(w);
    case 9:
        return consume(w, small_or_any(w->in));
    case 10:
        return owner(w);
    case 11:
        return icmp(w);
    case 12:
        return pass_time(w);
    case 13:
        return pass_time(w);
    case 14:
        return write(w);
    default:
        return free_segment(w);
    }
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const std::unique_ptr<World> w(new World());
    w->in = {data, data + size};
    open_world(w.get());
    const uint8_t opening = w->in.u8();
    open_connection(w.get(), opening & 1);
    step(w.get());
    if (opening & 2) { // most inputs begin with a connection that stands
        answer_handshake(w.get());
        step(w.get());
        answer_handshake(w.get());
        step(w.get());
    }
    for (unsigned i = 0; i < operations_max && !w->in.over(); i++) {
        operate(w.get());
        step(w.get());
    }
    w->batch = false;
    w->sink.room = UINT32_MAX;
    step(w.get());
    tcp_abort(&w->c);
    step(w.get());
    consume(w.get(), UINT32_MAX);
    check(w.get());
    must(w->received.live.empty() && w->sent.live.empty(),
         "a connection that was aborted and read keeps memory");
    return 0;
}
