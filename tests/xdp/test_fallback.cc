// SPDX-License-Identifier: MIT
// fallback=socket: for each reason why transport=xdp cannot be had, the same refusal without the option as a
// failure and with it as a NOTICE, after which the URL opens over the kernel's sockets. Nothing falls back
// silently, and nothing that is not the interface's fault falls back at all.
#include "beside.h"
#include <algorithm>
#include <bpf/libbpf.h>
#include <linux/if_link.h>

using namespace netns;

// The obstacle is there. Without the option: `code` and `part`, once, and no connection.
static void both_ways(World &world, const scripted::Server &server, OptionList options, int code,
                      const std::string &part) {
    const std::string url = World::url(server);
    const uint32_t before = present().id;
    expect_failure(url, World::options(options), code, part);
    options.push_back({"fallback", "socket"});
    check_told_fallback(told_by_session(url, World::options(options)), code, {part});
    assert_int_equal(present().id, before);
    assert_true(world.veth.here.try_run("ip link show xdp0"));
}

TEST(from_an_interface_that_is_occupied) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    const int ifindex = static_cast<int>(if_nametoindex("xdp0"));
    const int program = foreign_program();
    assert_int_equal(bpf_xdp_attach(ifindex, program, XDP_FLAGS_DRV_MODE, nullptr), 0);
    both_ways(world, *server, {}, WSXDP_E_XDP_OCCUPIED,
              "foreign_prog, id " + std::to_string(present().id) + ", driver mode");
    assert_int_equal(bpf_xdp_attach(ifindex, -1, XDP_FLAGS_DRV_MODE, nullptr), 0);
    close(program);
    ForeignSocket foreign;
    both_ways(world, *server, {}, WSXDP_E_XDP_OCCUPIED, "another process has an AF_XDP socket");
}

TEST(from_a_mode_that_is_not_to_be_had) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    both_ways(world, *server, {{"xdp.mode", "zero-copy"}}, WSXDP_E_XDP_MODE, "binding with zero-copy");
}

TEST(from_a_queue_that_does_not_get_all) {
    need();
    VethOptions two;
    two.queues = 2;
    World world(two);
    auto server = world.serve(echo_messages);
    both_ways(world, *server, {{"xdp.queue", "1"}}, WSXDP_E_XDP_QUEUES, "xdp.queue=-1");
    both_ways(world, *server, {{"xdp.queue", "2"}}, WSXDP_E_XDP_QUEUES, "no queue 2 for us");
}

TEST(from_another_interface) {
    need();
    World world;
    world.veth.here.run("ip link add other0 type veth peer name other1 && ip link set other0 up && "
                        "ip link set other1 up && ip addr add 10.78.0.1/24 dev other0");
    auto server = world.serve(echo_messages);
    both_ways(world, *server, {{"xdp.interface", "other0"}}, WSXDP_E_XDP_INTERFACE, "on other0");
    world.veth.here.run("ip link set other0 down");
    both_ways(world, *server, {{"xdp.interface", "other0"}}, WSXDP_E_XDP_LINK_DOWN, "other0 is down");
}

// What open refuses without the option is left to each connection with it.
TEST(from_an_interface_that_is_none) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    for (const char *name : {"nothing0", "lo"}) {
        OptionList options = World::options({{"xdp.interface", name}});
        const std::string refused = told_by_session(World::url(*server), options);
        check_told(refused, {{"refused " + std::to_string(WSXDP_E_XDP_INTERFACE), name}});
        options.push_back({"fallback", "socket"});
        check_told_fallback(told_by_session(World::url(*server), options), WSXDP_E_XDP_INTERFACE, {name});
    }
}

TEST(to_a_server_on_this_host) {
    need();
    World world;
    const OptionList options = World::options({{"fallback", "socket"}});
    for (const char *address : {"127.0.0.1", "::1", here4, here6}) {
        scripted::Server server(echo_messages, nullptr, address);
        check_told_fallback(told_by_session(World::url(server, address), options), WSXDP_E_XDP_INTERFACE,
                            {"transport=socket"});
    }
    assert_int_equal(present().id, 0);
}

// ---- source ports

constexpr int first_port = 32768, last_port = 60999;

// Takes all of ours but those; half of them, for the limit of open files that a process may have.
static int hold_ports(int from, int to, const std::vector<int> &free, int ready) {
    for (int port = from; port <= to; port++) {
        if (std::find(free.begin(), free.end(), port) != free.end()) continue;
        const int fd = socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_storage at;
        const socklen_t size = scripted::address_of(here4, port, &at);
        if (fd < 0 || bind(fd, reinterpret_cast<sockaddr *>(&at), size) != 0) return 1;
    }
    if (write(ready, "r", 1) != 1) return 1;
    for (;;) pause();
}
static int local_port_of_next(Session &session) {
    const uint32_t conn = session.need(WSXDP_EVENT_OPEN).conn;
    return local_port(session, conn);
}
TEST(from_source_ports_that_are_all_taken) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    const std::string url = World::url(*server);
    // The kernel's own connections have others.
    world.veth.here.run("echo 20000 29999 > /proc/sys/net/ipv4/ip_local_port_range");
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    const int middle = (first_port + last_port) / 2;
    const std::vector<int> free = {first_port, 45678, last_port};
    {
        Child low(world.veth.here, [&] { return hold_ports(first_port, middle, free, pipes[1]); });
        Child high(world.veth.here, [&] { return hold_ports(middle + 1, last_port, free, pipes[1]); });
        char ready[2];
        for (char &one : ready) {
            pollfd wait = {pipes[0], POLLIN, 0};
            assert_int_equal(poll(&wait, 1, 20000), 1);
            assert_int_equal(read(pipes[0], &one, 1), 1);
        }
        Session session(url, World::options());
        std::vector<int> ours = {local_port_of_next(session)};
        for (int i = 1; i < 3; i++) {
            uint32_t conn = 0;
            assert_int_equal(wsxdp_connect(session.handle, url.c_str(), nullptr, &conn), 0);
            ours.push_back(local_port_of_next(session));
        }
        std::sort(ours.begin(), ours.end());
        assert_true(ours == free);
        uint32_t conn = 0;
        assert_int_equal(wsxdp_connect(session.handle, url.c_str(), nullptr, &conn), 0);
        const Seen error = session.need(WSXDP_EVENT_ERROR, 8000, conn);
        assert_int_equal(error.error, WSXDP_E_XDP_PORTS);
        if (!contains(error.data, "between 32768 and 60999")) fail_msg("%s", error.data.c_str());
        const OptionList options = {{"fallback", "socket"}};
        Config fallback(options);
        assert_int_equal(wsxdp_connect(session.handle, url.c_str(), fallback.config, &conn), 0);
        const Seen notice = session.need(WSXDP_EVENT_NOTICE, 8000, conn);
        assert_int_equal(notice.error, WSXDP_E_XDP_PORTS);
        session.need(WSXDP_EVENT_OPEN, 8000, conn);
        assert_string_equal(session.info("transport", conn).c_str(), "socket");
        check_echo(session, "beside the others", conn);
    }
    close(pipes[0]);
    close(pipes[1]);
}

// ---- when it is over

TEST(each_attempt_begins_with_the_interface) {
    need();
    World world;
    auto server = world.serve([&](scripted::Wire &wire) {
        wire.upgrade();
        wire.read_frame();
        wire.reset();
    });
    const int ifindex = static_cast<int>(if_nametoindex("xdp0"));
    const int program = foreign_program();
    assert_int_equal(bpf_xdp_attach(ifindex, program, XDP_FLAGS_DRV_MODE, nullptr), 0);
    Session session(World::url(*server), {{"transport", "xdp"},
                                          {"fallback", "socket"},
                                          {"reconnect", "yes"},
                                          {"reconnect.delay_min_ns", "1ms"},
                                          {"reconnect.delay_max_ns", "5ms"}});
    for (const char *transport : {"socket", "socket", "xdp", "xdp"}) {
        if (std::string(transport) == "socket") {
            const Seen &notice = session.need(WSXDP_EVENT_NOTICE);
            assert_int_equal(notice.error, WSXDP_E_XDP_OCCUPIED);
        }
        session.need(WSXDP_EVENT_OPEN);
        assert_string_equal(session.info("transport").c_str(), transport);
        if (session.count(WSXDP_EVENT_OPEN) == 2)
            assert_int_equal(bpf_xdp_attach(ifindex, -1, XDP_FLAGS_DRV_MODE, nullptr), 0);
        assert_int_equal(session.send("reset, please"), 0);
        session.need(WSXDP_EVENT_RECONNECTING);
    }
    assert_int_equal(session.count(WSXDP_EVENT_NOTICE), 2);
    close(program);
}

TEST(a_server_that_refuses_is_no_reason) {
    need();
    World world;
    int port = 0;
    {
        auto server = world.serve(echo_messages);
        port = server->port;
    }
    const std::string told = told_by_session("ws://10.77.0.2:" + std::to_string(port) + "/",
                                             World::options({{"fallback", "socket"}}));
    check_told(told, {{"error " + std::to_string(WSXDP_E_REFUSED)}});
}

TESTS("fallback")
