// SPDX-License-Identifier: MIT
// Nothing is left of connections and handles that are gone: no frame, tuple, port, link, descriptor, no
// memory. endurance_runner does the same ten thousand times. And a table of TIME-WAIT that is full.
#include "../../lib/link/xdp/host.h"
#include "cycles.h"
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <sys/resource.h>

using namespace netns;

TEST(nothing_is_left_of_connections_and_handles) {
    need();
    Cycles cycles;
    const CycleResult result = cycles.run(memory_is_judged ? 315 : 105);
    print_message("%llu cycles on %llu handles in %.1f s, %zu descriptors, %zu then %zu KiB\n",
                  static_cast<unsigned long long>(result.cycles),
                  static_cast<unsigned long long>(result.handles), result.seconds, result.descriptors,
                  result.resident_early, result.resident_late);
}

// ---- a table of TIME-WAIT that is full

constexpr unsigned at_once = 64;

// Closes as soon as it is open and leaves the end of TCP to the client, unless the path is /echo.
static void close_or_echo(scripted::Wire &wire) {
    wire.upgrade();
    const bool echo = contains(wire.head, "GET /echo");
    for (scripted::Frame f; echo && (f = wire.read_frame()).opcode > 0 && f.opcode != 8;)
        wire.write(scripted::frame(f.opcode, f.payload));
    wire.write(scripted::close_frame(1000));
    if (!echo) wire.wait_end();
}

// A server that has a process of its own, and so descriptors of its own.
struct Apart {
    static constexpr int port = 4000; // there are no others in its namespace
    int ready[2];
    std::unique_ptr<Child> child;
    explicit Apart(const Namespace &where) {
        assert_int_equal(pipe(ready), 0);
        child = std::make_unique<Child>(where, [this] {
            scripted::Server server(close_or_echo, nullptr, there4, port);
            if (write(ready[1], "", 1) != 1) return 1;
            for (;;) pause();
        });
        char byte;
        assert_int_equal(read(ready[0], &byte, 1), 1);
    }
    ~Apart() { close(ready[0]), close(ready[1]); }
    static std::string url(const char *path) {
        return std::string("ws://") + there4 + ":" + std::to_string(port) + path;
    }
};

// Connections whose FIN is the first, many at a time: each leaves a tuple for xdp.time_wait_ns.
struct Waiting {
    World world;
    Apart apart{world.veth.there};
    Session session;
    uint64_t seen_most = 0;

    static OptionList options(const char *time_wait) {
        return World::options({{"close.timeout_ns", "4ms"}, {"xdp.time_wait_ns", time_wait}});
    }
    explicit Waiting(const char *time_wait = "1h")
        : session(static_cast<const char *>(nullptr), options(time_wait)) {
        if (session.status != 0) fail_msg("open: %d %s", session.status, session.text.c_str());
    }
    uint32_t connect(const char *path) {
        uint32_t conn = 0;
        assert_int_equal(wsxdp_connect(session.handle, Apart::url(path).c_str(), nullptr, &conn), 0);
        return conn;
    }
    void end(unsigned count) {
        for (unsigned i = 0; i < count; i++) connect("/");
        for (unsigned i = 0; i < count; i++) {
            const Seen &close = session.need(WSXDP_EVENT_CLOSE, 20000);
            if (close.error != 0) session.print();
            assert_int_equal(close.error, 0);
        }
        assert_int_equal(session.count(WSXDP_EVENT_OPEN), count);
        session.events.clear();
        session.looked = 0;
        const uint64_t now = Counters(session)["time_wait"];
        if (now > seen_most) seen_most = now;
    }
};

// The oldest makes room: descriptors and tuples stay within the table, and every connection opens.
TEST(a_full_table_gives_back_the_oldest) {
    need();
    constexpr uint64_t table = wx::XdpHostOptions().time_wait;
    Waiting waiting;
    waiting.end(1);
    const size_t first = open_descriptors();
    for (unsigned ended = 1; ended < table + 4 * at_once; ended += at_once) waiting.end(at_once);
    need_balance(waiting.session, table * 3 / 4);
    // Of TIME-WAIT's own table three quarters are used, and what it drops is given back at the next look.
    assert_in_range(waiting.seen_most, table * 3 / 4, table);
    assert_int_equal(bpf_entries(), table * 3 / 4);
    assert_true(open_descriptors() <= first + table);
    // An echo goes on as ever.
    const uint32_t conn = waiting.connect("/echo");
    waiting.session.need(WSXDP_EVENT_OPEN, 8000, conn);
    assert_int_equal(waiting.session.send("still", WSXDP_TEXT, conn), 0);
    assert_string_equal(waiting.session.need(WSXDP_EVENT_MESSAGE, 8000, conn).data.c_str(), "still");
}

// Sends the FIN of the server's first connection again, as if our acknowledgement had been lost: the newest
// of them, since TCP drops one whose timestamp is older than what it has seen (RFC 7323, section 5).
struct RepeatedFin {
    static constexpr size_t port_at = sizeof(ether_header) + sizeof(iphdr);
    int fd = -1;
    std::string frame;
    explicit RepeatedFin(const Namespace &where) {
        Inside there(where);
        sockaddr_ll address = {};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL); // those that leave as well
        address.sll_ifindex = static_cast<int>(if_nametoindex("peer0"));
        fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        assert_int_equal(bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
    }
    ~RepeatedFin() { close(fd); }
    bool record() {
        char bytes[2048];
        for (ssize_t n; (n = recv(fd, bytes, sizeof bytes, 0)) > 0;) {
            tcphdr tcp;
            if (static_cast<size_t>(n) < port_at + sizeof tcp) continue;
            memcpy(&tcp, bytes + port_at, sizeof tcp);
            if (!tcp.fin || ntohs(tcp.source) != Apart::port) continue;
            if (!frame.empty() && memcmp(&frame[port_at], bytes + port_at, 2 * sizeof tcp.source)) continue;
            frame.assign(bytes, static_cast<size_t>(n));
        }
        return !frame.empty();
    }
    void send() {
        record();
        assert_int_equal(::send(fd, frame.data(), frame.size(), 0), frame.size());
    }
};

// Its TIME-WAIT begins again with each FIN that is repeated. Those of connections that ended after it are
// over when they are over. (The time is what one look at them may be late on a busy machine.)
TEST(a_repeated_fin_holds_no_other) {
    need();
    Waiting waiting("2s");
    RepeatedFin fin(waiting.world.veth.there);
    waiting.end(1);
    Session &session = waiting.session;
    while (!fin.record()) session.poll(10);
    fin.send();
    waiting.end(8);
    for (int i = 0; i < 100 && Counters(session)["tuples"] != 1; i++) {
        fin.send();
        session.poll(50);
    }
    assert_int_equal(Counters(session)["time_wait"], 1);
    need_balance(session, 0);
}

struct DescriptorLimit {
    rlimit before;
    explicit DescriptorLimit(size_t limit) {
        getrlimit(RLIMIT_NOFILE, &before);
        const rlimit now = {limit, before.rlim_max};
        setrlimit(RLIMIT_NOFILE, &now);
    }
    ~DescriptorLimit() { setrlimit(RLIMIT_NOFILE, &before); }
};

// A process has fewer descriptors than the table has places: connections that are over do not keep new ones
// from opening. Those that live do, and that is said.
TEST(descriptors_of_time_wait_are_given_to_new_connections) {
    need();
    Waiting waiting;
    waiting.end(1);
    DescriptorLimit limit(open_descriptors() + 40);
    for (int i = 0; i < 60; i++) waiting.end(2);
    assert_in_range(waiting.seen_most, 20, 50);
    Session &session = waiting.session;
    size_t opened = 0;
    for (; session.count(WSXDP_EVENT_CLOSE) == 0 && opened < 60; opened++) {
        waiting.connect("/echo");
        while (session.count(WSXDP_EVENT_OPEN) == opened && session.count(WSXDP_EVENT_CLOSE) == 0)
            session.poll(1000);
    }
    const Seen &error = session.need(WSXDP_EVENT_ERROR);
    assert_int_equal(error.error, WSXDP_E_DESCRIPTORS);
    assert_true(contains(error.data, "ulimit -n"));
    assert_in_range(opened, 20, 50);
    assert_int_equal(Counters(session)["time_wait"], 0);
}

TESTS_BESIDE("cycles", 4)
