// SPDX-License-Identifier: MIT
// The host keeps what is its own while AF_XDP connections live beside it: its TCP connections to the same
// server and port, its services, UDP and ICMP; and nobody else gets a source port of ours, for as long as the
// network may still know it.
#include "beside.h"

using namespace netns;

// ---- TCP of the kernel beside ours

static void take_turns(const char *here, const char *there) {
    need();
    World world;
    auto server = world.serve(answer_or_echo, nullptr, there);
    const std::string url = World::url(*server, there);
    assert_true(kernel_asks(there, server->port));
    KernelSocket lasting(there); // open before, during and after
    assert_int_equal(lasting.connect_to(there, server->port), 0);
    assert_true(lasting.ask());
    {
        // A service of this host's own, asked by the other one.
        scripted::Server own(answer_or_echo, nullptr, here);
        Session session(url, World::options());
        session.need(WSXDP_EVENT_OPEN);
        std::vector<uint32_t> ours;
        for (int i = 0; i < 50; i++) {
            uint32_t conn = 0;
            assert_int_equal(wsxdp_connect(session.handle, url.c_str(), nullptr, &conn), 0);
            session.need(WSXDP_EVENT_OPEN, 8000, conn);
            ours.push_back(conn);
            assert_true(kernel_asks(there, server->port));
            check_echo(session, "turn " + std::to_string(i), conn);
            assert_true(lasting.ask());
            if (i % 10 == 0) {
                Inside other(world.veth.there);
                assert_true(kernel_asks(here, own.port));
            }
        }
        for (uint32_t conn : ours) check_echo(session, "still there", conn);
        assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
    }
    assert_true(lasting.ask());
    assert_true(kernel_asks(there, server->port));
}
TEST(kernel_and_ours_take_turns_over_ipv4) { take_turns(here4, there4); }
TEST(kernel_and_ours_take_turns_over_ipv6) { take_turns(here6, there6); }

// Opening, streams and each way to end, with requests of the kernel's all the time.
TEST(requests_of_the_kernel_all_the_while) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    const std::string url = World::url(*server);
    Traffic traffic(server->port);
    for (int i = 0; i < 12; i++) {
        Session session(url, World::options({{"xdp.mode", i % 2 == 0 ? "driver" : "generic"}}));
        session.need(WSXDP_EVENT_OPEN);
        for (int k = 0; k < 100; k++)
            check_echo(session, std::string(100 + 150 * static_cast<size_t>(k), 'k'));
        if (i % 3 == 0) wsxdp_close(session.handle, 0, 1000, "", 0);
        if (i % 3 == 1) wsxdp_abort(session.handle, 0);
        if (i % 3 != 2) session.need(WSXDP_EVENT_CLOSE); // else the handle is freed as it is
    }
    const int asked = traffic.asked;
    assert_true(eventually([&] { return traffic.asked > asked + 20; }));
    traffic.end();
    assert_int_equal(traffic.failed, 0);
    assert_in_range(traffic.asked, 200, INT32_MAX);
}

// ---- the source port

static int try_bind(const char *address, int port, int option) {
    KernelSocket socket(address);
    const int yes = 1;
    if (option != 0) setsockopt(socket.fd, SOL_SOCKET, option, &yes, sizeof yes);
    return socket.bind_to(address, port);
}
static void check_port_held(const char *here, const char *any, int port) {
    for (const char *address : {here, any})
        for (int option : {0, SO_REUSEADDR, SO_REUSEPORT})
            assert_int_equal(try_bind(address, port, option), EADDRINUSE);
}

static void port_is_held(const char *here, const char *there, const char *any) {
    need();
    World world;
    auto server = world.serve(answer_or_echo, nullptr, there);
    Session session(World::url(*server, there), World::options());
    session.need(WSXDP_EVENT_OPEN);
    const int port = local_port(session);
    assert_in_range(port, 32768, 60999);
    check_port_held(here, any, port);
    const std::string other =
        told_by_child(world.veth.here, [&] { return std::to_string(try_bind(here, port, SO_REUSEADDR)); });
    assert_string_equal(other.c_str(), std::to_string(EADDRINUSE).c_str());
    check_echo(session, "undisturbed");
    wsxdp_free(session.handle);
    session.handle = nullptr;
    assert_int_equal(try_bind(here, port, 0), 0);
}
TEST(a_port_of_ours_is_nobody_elses_over_ipv4) { port_is_held(here4, there4, "0.0.0.0"); }
TEST(a_port_of_ours_is_nobody_elses_over_ipv6) { port_is_held(here6, there6, "::"); }

// We end TCP first, since the server waits for that, and so have the TIME-WAIT.
static void close_first(Session &session, const std::atomic<int> &ended) {
    wsxdp_close(session.handle, 0, 1000, "", 0);
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE).error, 0);
    for (int64_t until = now_ms() + 8000; ended == 0 && now_ms() < until;) session.poll(2);
    assert_int_equal(ended, 1);
}
static void wait_for_our_end(scripted::Wire &wire) {
    wire.upgrade();
    wire.read_frame();
    wire.write(scripted::close_frame(1000));
    wire.wait_end();
}

TEST(a_port_in_time_wait_is_still_ours) {
    need();
    World world;
    std::atomic<int> ended{0};
    const scripted::Script script = [&](scripted::Wire &wire) { wait_for_our_end(wire), ended++; };
    auto server = world.serve(script);
    Session session(World::url(*server), World::options({{"close.timeout_ns", "300ms"}}));
    session.need(WSXDP_EVENT_OPEN);
    const int port = local_port(session);
    close_first(session, ended);
    for (int i = 0; i < 50; i++) session.poll(2); // the server's FIN, and whatever would come of it
    check_port_held(here4, "0.0.0.0", port);
    wsxdp_free(session.handle);
    session.handle = nullptr;
    assert_int_equal(try_bind(here4, port, 0), 0);
}

TEST(a_port_is_given_back_after_time_wait) {
    need();
    World world;
    std::atomic<int> ended{0};
    const scripted::Script script = [&](scripted::Wire &wire) { wait_for_our_end(wire), ended++; };
    auto server = world.serve(script);
    Session session(World::url(*server),
                    World::options({{"close.timeout_ns", "300ms"}, {"xdp.time_wait_ns", "100ms"}}));
    session.need(WSXDP_EVENT_OPEN);
    const int port = local_port(session);
    close_first(session, ended);
    int cause = EADDRINUSE;
    for (int64_t until = now_ms() + 8000; cause != 0 && now_ms() < until;) {
        session.poll(10);
        cause = try_bind(here4, port, 0);
    }
    assert_int_equal(cause, 0);
    assert_int_not_equal(present().id, 0);
}

TEST(the_kernel_may_have_our_port_at_another_address) {
    need();
    World world;
    world.veth.here.run("ip addr add 10.77.0.3/24 dev xdp0");
    auto server = world.serve(answer_or_echo);
    auto second = world.serve(answer_or_echo);
    Session session(World::url(*server), World::options());
    session.need(WSXDP_EVENT_OPEN);
    const int port = local_port(session);
    for (const scripted::Server *target : {server.get(), second.get()}) {
        KernelSocket other(there4);
        const int yes = 1;
        setsockopt(other.fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        assert_int_equal(other.bind_to("10.77.0.3", port), 0);
        assert_int_equal(other.connect_to(there4, target->port), 0);
        assert_true(other.ask());
        check_echo(session, "beside it");
        const linger now = {1, 0};
        setsockopt(other.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    // At the same address to another server, it is refused before it can do harm.
    KernelSocket refused(there4);
    assert_int_equal(refused.bind_to(here4, port), EADDRINUSE);
    check_echo(session, "and after it");
}

// ---- what is no TCP

static bool datagram_goes_round(const Namespace &there, const char *here_address, const char *there_address,
                                int here_port, int there_port) {
    KernelSocket ours(here_address, SOCK_DGRAM);
    if (ours.bind_to(here_address, here_port) != 0) return false;
    if (ours.connect_to(there_address, there_port) != 0) return false;
    Inside inside(there);
    KernelSocket theirs(here_address, SOCK_DGRAM);
    if (theirs.bind_to(there_address, there_port) != 0) return false;
    if (theirs.connect_to(here_address, here_port) != 0) return false;
    char buffer[64];
    return send(ours.fd, "there", 5, 0) == 5 && recv(theirs.fd, buffer, sizeof buffer, 0) == 5 &&
           send(theirs.fd, "and here", 8, 0) == 8 && recv(ours.fd, buffer, sizeof buffer, 0) == 8;
}

// An echo request (RFC 792, RFC 4443), and the kernel's answer to it.
static bool ping(const char *to) {
    const bool six = strchr(to, ':') != nullptr;
    KernelSocket socket(to, SOCK_RAW, six ? static_cast<int>(IPPROTO_ICMPV6) : IPPROTO_ICMP);
    if (socket.connect_to(to, 0) != 0) return false;
    uint8_t request[8] = {static_cast<uint8_t>(six ? 128 : 8), 0, 0, 0, 0x12, 0x34, 0, 1};
    if (!six) {
        const uint32_t sum = 0x0800 + 0x1234 + 0x0001;
        request[2] = static_cast<uint8_t>(~sum >> 8);
        request[3] = static_cast<uint8_t>(~sum);
    }
    if (send(socket.fd, request, sizeof request, 0) != sizeof request) return false;
    for (;;) {
        uint8_t packet[256];
        const ssize_t got = recv(socket.fd, packet, sizeof packet, 0);
        if (got < 0) return false;
        const uint8_t *icmp = six ? packet : packet + (packet[0] & 15) * 4; // raw IPv4 brings its header
        if (icmp[0] == (six ? 129 : 0) && memcmp(icmp + 4, request + 4, 4) == 0) return true;
    }
}

static void others_pass(const char *here, const char *there) {
    need();
    World world;
    auto server = world.serve(answer_or_echo, nullptr, there);
    Session session(World::url(*server, there), World::options());
    session.need(WSXDP_EVENT_OPEN);
    for (int i = 0; i < 5; i++) {
        // The numbers of our tuple, in UDP.
        assert_true(datagram_goes_round(world.veth.there, here, there, local_port(session), server->port));
        assert_true(ping(there));
        {
            Inside other(world.veth.there);
            assert_true(ping(here));
        }
        check_echo(session, "meanwhile");
    }
    // The kernel goes on resolving neighbours for both of us.
    // It gives up after ten rounds when whoever uses an entry has it made again as often.
    (void)world.veth.here.try_run("ip neigh flush dev xdp0", nullptr);
    assert_true(ping(there));
    check_echo(session, "with the neighbour found again");
}
TEST(udp_and_icmp_pass_over_ipv4) { others_pass(here4, there4); }
TEST(udp_and_icmp_pass_over_ipv6) { others_pass(here6, there6); }

TESTS("sharing")
