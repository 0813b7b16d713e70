// SPDX-License-Identifier: MIT
// An interface that is not to be had: somebody else's XDP program is on it, another handle has it, the mode
// or the interface asked for does not exist, the route leads elsewhere. Each gets its code and a sentence,
// and the host goes on as if we had never asked. And one that has just been given back, which must be had
// again.
#include "beside.h"
#include <bpf/libbpf.h>
#include <linux/if_link.h>

using namespace netns;

// Once, and so that the host's own traffic does not notice.
static std::string refused(World &world, const scripted::Server &server, const OptionList &options, int code,
                           const char *part) {
    const std::string said = expect_failure(World::url(server), World::options(options), code, part);
    assert_true(kernel_asks(there4, server.port));
    assert_true(world.veth.here.try_run("ip link show xdp0"));
    return said;
}

// ---- another program

static void foreign_program_is_named(uint32_t flags, bool by_link, const char *mode_text) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    const int ifindex = static_cast<int>(if_nametoindex("xdp0"));
    const int program = foreign_program();
    int link = -1;
    if (by_link) {
        bpf_link_create_opts opts = {};
        opts.sz = sizeof opts;
        opts.flags = flags;
        link = bpf_link_create(program, ifindex, BPF_XDP, &opts);
        assert_true(link >= 0);
    } else {
        assert_int_equal(bpf_xdp_attach(ifindex, program, flags, nullptr), 0);
    }
    const wx::XdpPresent before = present();
    for (const char *mode : {"auto", "driver", "generic"}) {
        const std::string said =
            refused(world, *server, {{"xdp.mode", mode}}, WSXDP_E_XDP_OCCUPIED, "foreign_prog");
        if (!contains(said, "id " + std::to_string(before.id)) || !contains(said, mode_text))
            fail_msg("%s", said.c_str());
        assert_int_equal(present().id, before.id);
        assert_int_equal(present().generic, before.generic);
    }
    if (by_link)
        close(link);
    else
        assert_int_equal(bpf_xdp_attach(ifindex, -1, flags, nullptr), 0);
    close(program);
    Session session(World::url(*server), World::options());
    session.need(WSXDP_EVENT_OPEN);
    check_echo(session, "free again");
}
TEST(a_driver_mode_program_is_named) { foreign_program_is_named(XDP_FLAGS_DRV_MODE, false, "driver mode"); }
TEST(a_generic_mode_program_is_named) { foreign_program_is_named(XDP_FLAGS_SKB_MODE, false, "generic mode"); }
TEST(a_driver_mode_link_is_named) { foreign_program_is_named(XDP_FLAGS_DRV_MODE, true, "driver mode"); }
TEST(a_generic_mode_link_is_named) { foreign_program_is_named(XDP_FLAGS_SKB_MODE, true, "generic mode"); }

// ---- ourselves

static void second_handle(const OptionList &first, const OptionList &second) {
    World world;
    auto server = world.serve(answer_or_echo);
    Session session(World::url(*server), World::options(first));
    session.need(WSXDP_EVENT_OPEN);
    refused(world, *server, second, WSXDP_E_XDP_OCCUPIED, "wsxdp_filter");
    check_echo(session, "undisturbed");
}
TEST(a_second_handle_is_refused) {
    need();
    second_handle({}, {});
    second_handle({{"xdp.mode", "generic"}}, {{"xdp.mode", "generic"}});
    second_handle({{"xdp.mode", "driver"}}, {{"xdp.mode", "generic"}});
}

TEST(a_second_connection_of_the_handle_is_welcome) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    const std::string url = World::url(*server);
    Session session(url, World::options());
    uint32_t conn = 0; // at once: the first has not opened the interface yet
    assert_int_equal(wsxdp_connect(session.handle, url.c_str(), nullptr, &conn), 0);
    session.need(WSXDP_EVENT_OPEN);
    session.need(WSXDP_EVENT_OPEN);
    check_echo(session, "second", conn);
    check_echo(session, "first");
}

// The neighbour's address is found while some of them have asked for it and some have not: who asked first
// was not told, and went on when its time was over (3 s).
TEST(connections_made_at_once_wait_for_one_neighbor) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    const std::string url = World::url(*server);
    for (int i = 0; i < 20; i++) {
        world.veth.here.run("ip neigh flush dev xdp0");
        Session session(url, World::options());
        uint32_t conn = 0;
        for (int k = 1; k < 8; k++)
            assert_int_equal(wsxdp_connect(session.handle, url.c_str(), nullptr, &conn), 0);
        for (int k = 0; k < 8; k++) took_ms(session.need(WSXDP_EVENT_OPEN).value / 1000000, 0, 900);
    }
}

// The kernel gives a queue back some 16 ms after its socket is closed.
static void again_and_again(const OptionList &options) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    for (int i = 0; i < 50; i++) {
        Session session(World::url(*server), World::options(options));
        session.need(WSXDP_EVENT_OPEN);
        check_echo(session, std::to_string(i));
    }
    assert_int_equal(present().id, 0);
}
TEST(given_back_and_taken_again_sleeping) { again_and_again({{"wait", "sleep"}}); }
TEST(given_back_and_taken_again_spinning) { again_and_again({{"wait", "spin"}, {"xdp.mode", "generic"}}); }

// A queue that another process keeps is waited for as long as one that is being given back may take.
TEST(a_queue_with_a_foreign_socket_is_refused) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    {
        ForeignSocket foreign;
        const int64_t start = now_ms();
        refused(world, *server, {{"xdp.mode", "driver"}}, WSXDP_E_XDP_OCCUPIED, "xdp0 queue 0");
        on_time(start, 900, 4000);
        const std::string said =
            refused(world, *server, {{"xdp.mode", "generic"}}, WSXDP_E_XDP_OCCUPIED, "another process");
        if (!contains(said, "xdp.queue")) fail_msg("%s", said.c_str());
        assert_int_equal(present().id, 0);
    }
    std::unique_ptr<ForeignSocket> brief = std::make_unique<ForeignSocket>();
    const int64_t start = now_ms();
    Session session(World::url(*server), World::options());
    for (const int64_t until = now_ms() + 300; now_ms() < until;) session.poll(10);
    brief.reset();
    on_time(start, 299, 800); // it is waited for a little longer
    session.need(WSXDP_EVENT_OPEN);
    check_echo(session, "after it was given up");
}

// A host behind an interface of its own, `second`.
struct Third {
    Namespace host;
    explicit Third(const World &world) {
        world.veth.here.run("ip link add second type veth peer name peer1 netns " + host.path() +
                            " && ip link set second up && ip addr add 10.78.0.1/24 dev second");
        host.run("ip link set peer1 up && ip addr add 10.78.0.2/24 dev peer1 && ethtool -K peer1 tx off");
    }
};

// Whoever waits for a queue and is not wanted any more leaves nothing to the next, on another interface.
TEST(a_connection_that_is_given_up_while_a_queue_is_awaited) {
    need();
    World world;
    Third third(world);
    auto server = world.serve(answer_or_echo);
    std::unique_ptr<scripted::Server> other;
    {
        Inside inside(third.host);
        other = std::make_unique<scripted::Server>(answer_or_echo, nullptr, "10.78.0.2");
    }
    ForeignSocket holds_the_queue;
    Session session(World::url(*server), World::options());
    for (int i = 0; i < 10; i++) session.poll(5); // begins, and asks again and again
    if (session.count(WSXDP_EVENT_ERROR) != 0)
        throw Late{1, 0}; // ten looks took longer than a queue is awaited
    // Between the tries packets go to the kernel. Who runs the stages elsewhere may be in the middle of one,
    // or begin the next one right after this look.
    uint32_t id = present().id;
    for (int i = 0; i < 1000 && id != 0; i++) {
        session.poll(1);
        id = present().id;
    }
    assert_int_equal(id, 0);
    wsxdp_abort(session.handle, 0);
    session.need(WSXDP_EVENT_CLOSE);
    uint32_t conn = 0;
    const std::string url = World::url(*other, "10.78.0.2");
    assert_int_equal(wsxdp_connect(session.handle, url.c_str(), nullptr, &conn), 0);
    session.need(WSXDP_EVENT_OPEN, 8000, conn);
    assert_string_equal(session.info("xdp.interface", conn).c_str(), "second");
    check_echo(session, "on the second", conn);
}

// Two connections at once, to hosts behind different interfaces: a handle has one.
TEST(one_handle_is_on_one_interface) {
    need();
    World world;
    Third third(world);
    auto server = world.serve(answer_or_echo);
    const std::string other = "ws://10.78.0.2:" + std::to_string(server->port) + "/";
    Session session(World::url(*server), World::options());
    uint32_t conn = 0; // at once: which interface it will be is not decided yet
    assert_int_equal(wsxdp_connect(session.handle, other.c_str(), nullptr, &conn), 0);
    const Seen opened = session.need(WSXDP_EVENT_OPEN);
    assert_int_not_equal(opened.conn, conn);
    for (int i = 0; i < 2; i++) { // the second time the interface is taken already
        if (i == 1) assert_int_equal(wsxdp_connect(session.handle, other.c_str(), nullptr, &conn), 0);
        Seen error; // the first may be told before the other's OPEN
        for (int64_t until = now_ms() + 8000; error.kind == 0 && now_ms() < until; session.poll(5))
            for (const Seen &seen : session.events)
                if (seen.kind == WSXDP_EVENT_ERROR && seen.conn == conn) error = seen;
        assert_int_equal(error.error, WSXDP_E_XDP_INTERFACE);
        if (!contains(error.data, "through second") || !contains(error.data, "on xdp0"))
            fail_msg("%s", error.data.c_str());
    }
    check_echo(session, "undisturbed", opened.conn);
}

// ---- modes

TEST(veth_has_no_zero_copy_and_the_ladder_says_so) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    refused(world, *server, {{"xdp.mode", "zero-copy"}}, WSXDP_E_XDP_MODE, "zero-copy");
    assert_int_equal(present().id, 0);
    Session session(World::url(*server), World::options());
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.info("mode").c_str(), "driver");
    const std::string ladder = session.info("xdp.ladder");
    if (!contains(ladder, "zero-copy: ") || !contains(ladder, "xdp0")) fail_msg("%s", ladder.c_str());
    wsxdp_free(session.handle);
    session.handle = nullptr;
    Session generic(World::url(*server), World::options({{"xdp.mode", "generic"}}));
    generic.need(WSXDP_EVENT_OPEN);
    assert_true(present().generic);
    assert_string_equal(generic.info("xdp.ladder").c_str(), "");
}

// ---- interfaces

static void open_refused(const OptionList &options, int code, const char *part) {
    Session session("ws://10.77.0.2:1/", World::options(options));
    if (session.status != code || !contains(session.text, part))
        fail_msg("%d: %s", session.status, session.text.c_str());
    assert_null(session.handle);
}

TEST(an_interface_that_does_not_exist_or_is_none) {
    need();
    World world;
    open_refused({{"xdp.interface", "nothing0"}}, WSXDP_E_XDP_INTERFACE, "nothing0");
    open_refused({{"xdp.interface", "a-name-that-is-far-too-long"}}, WSXDP_E_XDP_INTERFACE, "a-name-that");
    open_refused({{"xdp.interface", "lo"}}, WSXDP_E_XDP_INTERFACE, "loopback");
}

TEST(a_target_on_this_host) {
    need();
    World world;
    const OptionList none = World::options();
    expect_failure("ws://127.0.0.1:9/", none, WSXDP_E_XDP_INTERFACE, "transport=socket");
    expect_failure("ws://[::1]:9/", none, WSXDP_E_XDP_INTERFACE, "transport=socket");
    expect_failure("ws://10.77.0.1:9/", none, WSXDP_E_XDP_INTERFACE, "transport=socket");
    expect_failure("ws://[fd77::1]:9/", none, WSXDP_E_XDP_INTERFACE, "transport=socket");
    expect_failure("ws://127.0.0.1:9/", World::options({{"xdp.interface", "xdp0"}}), WSXDP_E_XDP_INTERFACE,
                   "transport=socket");
    world.veth.here.run("ip route add 10.99.0.0/24 dev lo");
    expect_failure("ws://10.99.0.1:9/", none, WSXDP_E_XDP_INTERFACE, "loopback");
    assert_int_equal(present().id, 0);
}

TEST(an_interface_that_the_route_does_not_take) {
    need();
    World world;
    world.veth.here.run("ip link add other0 type veth peer name other1 && ip link set other0 up && "
                        "ip link set other1 up && ip addr add 10.78.0.1/24 dev other0");
    auto server = world.serve(answer_or_echo);
    const std::string said =
        refused(world, *server, {{"xdp.interface", "other0"}}, WSXDP_E_XDP_INTERFACE, "other0");
    if (!contains(said, "xdp0")) fail_msg("%s", said.c_str());
}

TEST(an_interface_that_is_down) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    world.veth.here.run("ip link set xdp0 down");
    const std::string url = World::url(*server);
    expect_failure(url, World::options({{"xdp.interface", "xdp0"}}), WSXDP_E_XDP_LINK_DOWN, "xdp0");
    // With no name given there is but the missing route to tell.
    expect_failure(url, World::options(), WSXDP_E_UNREACHABLE, there4);
    world.veth.here.run("ip link set xdp0 up");
    world.veth.there.run("ip link set peer0 down"); // no carrier
    expect_failure(url, World::options(), WSXDP_E_XDP_LINK_DOWN, "xdp0");
    world.veth.there.run("ip link set peer0 up");
    Session session(url, World::options());
    session.need(WSXDP_EVENT_OPEN);
    check_echo(session, "up again");
}

// ---- what needs no interface

TEST(echo_and_unix_sockets_need_no_interface) {
    need();
    World world;
    Session echo("echo:", World::options());
    assert_int_equal(echo.status, 0);
    echo.need(WSXDP_EVENT_OPEN);
    assert_string_equal(echo.info("transport").c_str(), "echo");
    check_echo(echo, "came back");
    char folder[] = "/tmp/wsxdp-XXXXXX";
    assert_non_null(mkdtemp(folder));
    {
        const std::string path = std::string(folder) + "/socket";
        scripted::Server server(answer_or_echo, path);
        Session local("ws+unix://" + path + ":/", World::options());
        assert_int_equal(local.status, 0);
        local.need(WSXDP_EVENT_OPEN);
        assert_string_equal(local.info("transport").c_str(), "socket");
        check_echo(local, "by a file");
    }
    rmdir(folder);
    assert_int_equal(present().id, 0);
}

TESTS_BESIDE("occupied", 4)
