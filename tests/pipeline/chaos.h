// SPDX-License-Identifier: MIT
// A handle whose stages run in processes of their own, over sockets or over AF_XDP, a server that numbers its
// messages anew for each connection, and what can befall one of the processes meanwhile: a signal, or a
// shared word that is not what it should be. Every message is compared whole with what it must be, both ways.
// What was wrong is collected and not asserted at once, so that a long run tells how often each trouble did
// harm; after harm the handle is made anew.
#pragma once
#include "region_view.h"
// The library's headers come first: they know nothing of the test's.
#include "../xdp/world.h"
#include "pair.h"
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <signal.h>
#include <sys/wait.h>

namespace chaos {

constexpr int64_t recovery_ms = 5000;   // "within seconds"
constexpr uint64_t flow_messages = 200; // three laps of the rings

// What message `number` of a stream is: header and text, both from the two numbers alone.
inline std::string message(uint32_t stream, uint32_t number) {
    const uint32_t mixed = (stream * 2654435761u) ^ (number * 40503u);
    const size_t size = number % 31 == 7 ? 5000 + mixed % 12000 : mixed % 500;
    char head[48];
    snprintf(head, sizeof head, "%u/%u/%zu:", stream, number, size);
    return head + text_of(size, mixed | 1);
}

// One direction of one connection: each message must be the next one.
struct Stream {
    uint32_t name = 0; // 0: told by the first message
    uint32_t next = 0;

    // "" or what is wrong. Names grow: that of a new stream is above `newest`.
    std::string take(const std::string &data, uint32_t *newest) {
        unsigned stream = 0, number = 0;
        if (sscanf(data.c_str(), "%u/%u/", &stream, &number) != 2) return "no message: " + data.substr(0, 40);
        if (name == 0 && stream <= *newest) return "a message of an earlier connection";
        if (name == 0) name = *newest = stream;
        const std::string which = std::to_string(number) + " in place of " + std::to_string(next);
        if (stream != name) return "of another connection: " + which;
        if (number != next) return (number < next ? "again or late: " : "too early: ") + which;
        next++;
        return data == message(name, number) ? "" : "wrong bytes in " + std::to_string(number);
    }
    // Where harm was foreseen.
    void resume_after(const std::string &data) {
        unsigned stream = 0, number = 0;
        if (sscanf(data.c_str(), "%u/%u/", &stream, &number) == 2 && stream == name) next = number + 1;
    }
};

// A connection as the server has it.
struct Line {
    TestPeer peer;
    uint32_t name = 0; // once it is open
    std::string out;
    bool broken = false; // told nonsense, and given up
    uint32_t sent = 0;
    Stream in;
};

struct Server {
    TestServer listener;
    std::deque<Line> lines;
    uint32_t opened = 0, newest = 0; // newest: stream of the client
    uint64_t arrived = 0;
    std::string wrong;

    explicit Server(const char *address) : listener(0, 1 << 16, 128, address) {}
    bool turn() {
        bool moved = false;
        TestPeer peer;
        while (listener.accept(&peer)) {
            lines.emplace_back();
            lines.back().peer = std::move(peer);
        }
        for (size_t i = 0; i < lines.size();) {
            moved |= serve(&lines[i]);
            if (lines[i].peer.ended)
                lines.erase(lines.begin() + static_cast<long>(i));
            else
                i++;
        }
        return moved;
    }

private:
    bool serve(Line *line) {
        bool moved = line->peer.pull() != 0;
        std::string head;
        if (line->name == 0 && line->peer.head(&head)) {
            line->name = ++opened;
            line->out = TestPeer::answer(head);
        }
        WireFrame frame;
        while (line->name != 0 && !line->broken && line->peer.next(&frame)) take(line, frame);
        // No message is so long: a server would refuse it as well.
        if (line->name != 0 && line->peer.in.size() > 1 && (line->peer.in[1] & 0x7F) == 0x7F)
            refuse(line, "a length of 64 bits");
        while (line->name != 0 && !line->broken && line->out.size() < 8192)
            line->out += wire_frame(2, message(line->name, line->sent++));
        const size_t pushed = line->peer.push(line->out);
        line->out.erase(0, pushed);
        return moved || pushed != 0;
    }
    void take(Line *line, const WireFrame &frame) {
        if (frame.opcode == 9) line->out += wire_frame(10, frame.payload);
        if (frame.opcode == 8) line->peer.finish();
        if (frame.opcode >= 8 && frame.opcode <= 10) return;
        arrived++;
        const std::string what = frame.opcode == 2 ? line->in.take(frame.payload, &newest)
                                                   : "opcode " + std::to_string(frame.opcode);
        if (!what.empty()) refuse(line, what);
    }
    // As any server that is told nonsense.
    void refuse(Line *line, const std::string &what) {
        if (line->broken) return;
        line->broken = true;
        line->peer.reset();
        line->peer.ended = true;
        if (wrong.empty()) wrong = "at the server: " + what;
    }
};

// Which processes there are.
struct Way {
    const char *placement;
    size_t helpers;
    bool xdp;
};
constexpr Way folded = {"processes: transport+ws", 1, false};
constexpr Way apart = {"processes: transport ws", 2, false};
constexpr Way over_xdp = {"processes: nic transport ws", 3, true};

struct Client {
    std::unique_ptr<Session> session;
    bool open = false;
    uint32_t opens = 0, newest = 0, sent = 0;
    uint64_t delivered = 0;
    Stream in;
    std::string wrong;
    bool lenient = false; // about what messages say
    std::string error;    // the last one told
    int code = 0;         // its code

    void begin(const std::string &url, const Way &way) {
        open = false;
        wrong.clear();
        session.reset(new Session(url, {{"placement", way.placement},
                                        {"transport", way.xdp ? "xdp" : "socket"},
                                        {"inbox.bytes", "65536"},
                                        {"outbox.bytes", "65536"},
                                        {"metadata.slots", "64"},
                                        {"events.slots", "64"},
                                        {"reconnect.delay_min_ns", "1ms"}}));
        if (session->status != 0) fail_msg("open: %s", session->text.c_str());
    }
    bool turn(int64_t timeout_ns) {
        wsxdp_event batch[32];
        const int count = wsxdp_poll(session->handle, batch, 32, timeout_ns);
        if (count < 0 && wrong.empty()) wrong = "poll says " + std::to_string(count);
        for (int i = 0; i < count; i++) take(batch[i]);
        for (int i = 0; i < 4 && open; i++) {
            const std::string data = message(opens, sent);
            if (session->send(data, WSXDP_BINARY) != 0) break;
            sent++;
        }
        return count > 0;
    }

private:
    void say(const std::string &what) {
        if (wrong.empty()) wrong = what;
    }
    void take(const wsxdp_event &e) {
        const std::string data(reinterpret_cast<const char *>(e.data), e.len);
        if (e.kind == WSXDP_EVENT_OPEN) {
            if (open) say("OPEN twice");
            open = true;
            opens++;
            sent = 0;
            in = Stream();
        } else if (e.kind == WSXDP_EVENT_RECONNECTING || e.kind == WSXDP_EVENT_CLOSE) {
            if (e.kind == WSXDP_EVENT_CLOSE) say("CLOSE: " + data);
            open = false;
        } else if (e.kind == WSXDP_EVENT_ERROR) {
            error = data;
            code = e.error;
        } else if (e.kind == WSXDP_EVENT_MESSAGE) {
            const std::string what = open ? in.take(data, &newest) : "a message while it is not open";
            if (!what.empty() && !(open && lenient)) say("at the client: " + what);
            if (!what.empty()) in.resume_after(data);
            delivered++;
        } else if (e.kind != WSXDP_EVENT_WRITABLE && e.kind != WSXDP_EVENT_PING &&
                   e.kind != WSXDP_EVENT_PONG) {
            say("event " + std::to_string(e.kind));
        }
    }
};

enum class Trouble { kill, stop, long_stop, any_value, near_value };

// word, value: which of them, -1 for any. frozen: the helper is stopped meanwhile, so that what is written
// stays until the caller has seen it.
struct Plan {
    Trouble trouble;
    int word = -1;
    int value = -1;
    bool frozen = false;
};
constexpr int values = 5;

struct Tally {
    uint64_t rounds = 0, reconnected = 0, harmed = 0;
};

class Chaos {
public:
    std::vector<std::string> problems;
    std::map<std::string, Tally> tallies; // by trouble
    std::unique_ptr<World> world;         // of a way over AF_XDP
    Server server;
    Client client;
    uint64_t rounds = 0;

    size_t words() const { return region.words.size(); }
    const SharedWord &word(size_t index) const { return region.words[index]; }
    explicit Chaos(unsigned random_seed, const Way &which = folded)
        : world(which.xdp ? new World : nullptr), server(serve(world.get())), seed(random_seed),
          random(random_seed), way(which) {
        descriptors = open_descriptors();
        begin();
    }

    void round(const Plan &plan) {
        const std::string before = flows() ? "" : "nothing flows before";
        const uint32_t opens = client.opens;
        client.error.clear();
        client.code = 0;
        tolerant = client.lenient = false;
        std::string what = "nothing", harm = before;
        if (harm.empty()) {
            what = befall(plan);
            const bool flowing = flows() && flows();
            harm = client.wrong.empty() ? server.wrong : client.wrong;
            if (harm.empty() && !flowing) harm = "nothing flows";
            if (harm.empty()) harm = judge(plan.trouble, opens);
        }
        rounds++;
        Tally &tally = tallies[what.substr(0, what.find(" ="))];
        tally.rounds++;
        tally.reconnected += client.opens != opens;
        if (harm.empty()) return;
        tally.harmed++;
        if (!client.error.empty()) harm += "; told: " + client.error;
        problems.push_back("round " + std::to_string(rounds) + ", " + what + ": " + harm);
        begin();
    }

    // When the handle is free nothing is left.
    void end() {
        client.session.reset();
        region.close();
        server.lines.clear();
        if (open_descriptors() != descriptors) problems.push_back("descriptors are left");
        if (contains(read_file("/proc/self/maps"), "memfd:wsxdp"))
            problems.push_back("shared memory is left");
        if (waitpid(-1, nullptr, WNOHANG) != -1) problems.push_back("a process is left");
        for (const std::string &problem : problems) print_message("%s\n", problem.c_str());
        if (!problems.empty()) print_message("again: WSXDP_SEED=%u\n", seed);
    }

private:
    unsigned seed;
    std::mt19937 random;
    Way way;
    RegionView region;
    size_t descriptors = 0;
    bool tolerant = false; // of what arrives at the server
    std::string victim;    // role of whom a signal was sent to

    static Server serve(const World *in) {
        if (in == nullptr) return Server("127.0.0.1");
        netns::Inside there(in->veth.there);
        return Server(netns::there4);
    }
    static std::string role_of(pid_t pid) { // as its command line has it
        const std::string line = read_file("/proc/" + std::to_string(pid) + "/cmdline");
        const size_t at = line.find('\0') + 1;
        return at != 0 && at < line.size() ? line.substr(at, line.find('\0', at) - at) : "?";
    }

    uint64_t draw(uint64_t below) { return random() % below; }

    void begin() {
        region.close();
        client.begin(server.listener.url(), way);
        server.wrong.clear();
        if (!region.open(way.helpers, way.xdp)) fail_msg("the region is not to be found");
    }
    bool unharmed() const { return client.wrong.empty() && server.wrong.empty(); }
    void turn() {
        const bool moved = server.turn();
        if (tolerant) server.wrong.clear();
        client.turn(moved ? 0 : 1000000);
    }
    void turns_for(int64_t ms) {
        for (const int64_t end = now_ms() + ms; now_ms() < end && unharmed();) turn();
    }
    // Both ways, in one connection.
    bool flows() {
        const int64_t end = now_ms() + recovery_ms;
        uint32_t opens = client.opens;
        uint64_t delivered = client.delivered, arrived = server.arrived;
        while (now_ms() < end && unharmed()) {
            turn();
            if (opens != client.opens) {
                opens = client.opens;
                delivered = client.delivered;
                arrived = server.arrived;
            }
            if (client.delivered - delivered >= flow_messages && server.arrived - arrived >= flow_messages)
                return true;
        }
        return false;
    }

    std::string befall(const Plan &plan) {
        for (uint64_t i = draw(20); i != 0; i--) turn();
        const Trouble trouble = plan.trouble;
        const std::vector<pid_t> helpers = helpers_of(getpid());
        if (helpers.size() != way.helpers)
            return client.wrong = "not as many helpers as there were", "nothing";
        if (trouble == Trouble::any_value || trouble == Trouble::near_value) {
            for (const pid_t pid : helpers)
                if (plan.frozen) ::kill(pid, SIGSTOP);
            const std::string what = overwrite(plan);
            for (int i = 0; plan.frozen && i < 20; i++) turn();
            for (const pid_t pid : helpers)
                if (plan.frozen) ::kill(pid, SIGCONT);
            return what;
        }
        const pid_t one = helpers[draw(helpers.size())];
        victim = role_of(one);
        if (trouble == Trouble::kill) {
            ::kill(one, SIGKILL);
            return "SIGKILL " + victim;
        }
        ::kill(one, SIGSTOP);
        turns_for(trouble == Trouble::stop ? 200 : 2000);
        ::kill(one, SIGCONT);
        return "SIGSTOP " + victim;
    }
    std::string overwrite(const Plan &plan) {
        const bool near = plan.trouble == Trouble::near_value;
        const SharedWord *word = nullptr;
        while (word == nullptr || (near && plan.word < 0 && word->capacity == 0))
            word = &region.words[plan.word >= 0 ? static_cast<size_t>(plan.word) : draw(region.words.size())];
        const uint64_t was = word->read(region.base), wide = word->capacity;
        const uint64_t nearby[values] = {was + 1, was - 1, was + wide, was - wide, was + draw(wide + 1)};
        const uint64_t far[values] = {static_cast<uint64_t>(random()) << 32 | random(), 0, ~0ULL, draw(256),
                                      1};
        const uint64_t at = plan.value >= 0 ? static_cast<uint64_t>(plan.value) : draw(values);
        const uint64_t value = near ? nearby[at] : far[at];
        // Who may write the outbox and the inbox may put there what it likes; that it is over soon is all
        // that can be asked for when it takes bytes for sent or free that are not.
        tolerant = word->name.rfind("outbox", 0) == 0;
        client.lenient = word->name == "inbox.head";
        word->write(region.base, value);
        char text[160];
        snprintf(text, sizeof text, "%s%s = %llx for %llx", word->name.c_str(),
                 word->callers ? " (caller's)" : "", static_cast<unsigned long long>(value),
                 static_cast<unsigned long long>(was));
        return text;
    }

    // It flows again, and nothing wrong was seen: was it told as it should be?
    std::string judge(Trouble trouble, uint32_t opens) const {
        const bool again = client.opens != opens;
        if (trouble == Trouble::kill) {
            if (!again) return "no OPEN after the death";
            if (client.code != WSXDP_E_STAGE_DIED) return "the death was not told";
            const bool told =
                contains(client.error, "SIGKILL") && contains(client.error, "of " + victim + ":");
            return told ? "" : "the cause was not told";
        }
        if (trouble == Trouble::stop || trouble == Trouble::long_stop)
            return again ? "a pause cost the connection" : "";
        return again && client.error.empty() ? "connected again without a word of why" : "";
    }
};

// A fifth each.
inline Plan mixed(uint64_t number) {
    static const Trouble order[] = {Trouble::kill, Trouble::near_value, Trouble::any_value, Trouble::stop,
                                    Trouble::near_value};
    return {number % 50 == 3 ? Trouble::long_stop : order[number % 5], -1, -1, number % 10 >= 5};
}

inline unsigned seed_of_run() {
    const char *text = getenv("WSXDP_SEED");
    return text != nullptr ? static_cast<unsigned>(atoi(text)) : 1;
}

} // namespace chaos
