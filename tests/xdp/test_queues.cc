// SPDX-License-Identifier: MIT
// Interfaces with several receive queues. A connection either has a socket wherever its packets may arrive,
// and opens, or is refused at once with the code for that; a hundred of them behave as one does. What must
// not happen is a connection whose answers go to a queue that nobody looks at: it would hang.
#include "beside.h"
#include <map>

using namespace netns;

static VethOptions with_queues(unsigned queues) {
    VethOptions options;
    options.queues = queues;
    return options;
}

// How many of the packets that the driver gave to XDP came by that queue.
static uint64_t packets_by(World &world, unsigned queue) {
    const std::string name = "rx_queue_" + std::to_string(queue) + "_xdp_packets: ";
    const std::string all = world.veth.here.run("ethtool -S xdp0");
    const size_t at = all.find(name);
    if (at == std::string::npos) fail_msg("no %s in %s", name.c_str(), all.c_str());
    return strtoull(all.c_str() + at + name.size(), nullptr, 10);
}

static std::string counter(Session &session, const std::string &name, uint32_t conn) {
    char all[4096];
    const int size = wsxdp_info(session.handle, conn, "xdp.counters", all, sizeof all);
    assert_in_range(size, 1, sizeof all - 1);
    const std::string counters = " " + std::string(all) + " ";
    const size_t at = counters.find(" " + name + "=");
    if (at == std::string::npos) fail_msg("no %s in %s", name.c_str(), all);
    const size_t from = at + name.size() + 2;
    return counters.substr(from, counters.find(' ', from) - from);
}

constexpr int connects = 100;

static void all_open(unsigned queues, const char *mode, const char *queue, const char *sockets, bool spread) {
    World world(with_queues(queues));
    auto server = world.serve(echo_messages);
    const std::string url = World::url(*server);
    Session session(url,
                    World::options({{"xdp.mode", mode}, {"xdp.queue", queue}, {"connections.max", "128"}}));
    if (session.status != 0) fail_msg("open: %s", session.text.c_str());
    const uint32_t first = session.need(WSXDP_EVENT_OPEN).conn;
    assert_string_equal(session.info("xdp.queues").c_str(), sockets);
    std::vector<uint32_t> all = {first};
    for (int i = 1; i < connects; i++) {
        uint32_t conn = 0;
        assert_int_equal(wsxdp_connect(session.handle, url.c_str(), nullptr, &conn), 0);
        all.push_back(conn);
    }
    for (int i = 1; i < connects; i++) session.need(WSXDP_EVENT_OPEN, 20000);
    for (uint32_t conn : all) check_echo(session, "by connection " + std::to_string(conn), conn);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
    assert_string_equal(counter(session, "filter_no_socket", first).c_str(), "0");
    // A queue without frames drops what comes, for ever.
    assert_string_equal(counter(session, "kernel_dropped", first).c_str(), "0");
    if (!spread) return;
    for (unsigned i = 0; i < queues; i++)
        if (packets_by(world, i) == 0) fail_msg("nothing came by queue %u: this has proved nothing", i);
}
TEST(every_queue_has_a_socket_in_driver_mode) {
    need();
    all_open(2, "driver", "-1", "2", true);
    all_open(4, "driver", "-1", "4", true);
    all_open(16, "driver", "-1", "16", false);
}
TEST(every_queue_has_a_socket_in_generic_mode) {
    need();
    all_open(2, "generic", "-1", "2", false);
}
TEST(the_only_queue_by_its_number) {
    need();
    all_open(1, "driver", "0", "1", false);
    all_open(1, "generic", "0", "1", false);
}
TEST(every_queue_is_the_default_and_the_best_mode_is_found) {
    need();
    all_open(2, "auto", "-1", "2", false);
}

// Eight streams, and frames for a small part of what their windows allow: much is lost, and what was kept
// behind a loss must not keep away what it waits for, nor one queue's frames be all of them.
static void few_frames(unsigned queues, const char *mode) {
    constexpr int streams = 8, messages = 40;
    World world(with_queues(queues));
    auto server = world.serve([](scripted::Wire &wire) {
        wire.upgrade();
        for (int i = 0; i < messages; i++) wire.write(scripted::frame(2, std::string(8192, 'a' + i % 26)));
        wire.wait_end();
    });
    const std::string url = World::url(*server);
    Session session(url, World::options({{"xdp.mode", mode}, {"xdp.frames", "512"}}));
    uint32_t conn = 0;
    for (int i = 1; i < streams; i++)
        assert_int_equal(wsxdp_connect(session.handle, url.c_str(), nullptr, &conn), 0);
    std::map<uint32_t, int> got;
    for (int i = 0; i < streams * messages; i++) {
        const Seen &seen = session.need(WSXDP_EVENT_MESSAGE, 10000);
        if (seen.data != std::string(8192, 'a' + got[seen.conn]++ % 26))
            fail_msg("message %d is not right", i);
    }
    assert_int_equal(got.size(), streams);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}
TEST(frames_come_back_to_every_queue) {
    need();
    few_frames(1, "driver");
    few_frames(1, "generic");
    few_frames(2, "driver");
    few_frames(4, "driver");
    few_frames(2, "generic");
}

// Each by itself, and all of them soon: none waits for what does not come.
static void all_refused(unsigned queues, const char *mode, const char *queue, const char *part) {
    World world(with_queues(queues));
    auto server = world.serve(answer_or_echo);
    const std::string url = World::url(*server);
    const int64_t start = now_ms();
    Session session(url,
                    World::options({{"xdp.mode", mode}, {"xdp.queue", queue}, {"connections.max", "128"}}));
    if (session.status != 0) fail_msg("open: %s", session.text.c_str());
    session.need(WSXDP_EVENT_CLOSE);
    for (int i = 1; i < connects; i++) {
        uint32_t conn = 0;
        assert_int_equal(wsxdp_connect(session.handle, url.c_str(), nullptr, &conn), 0);
        session.need(WSXDP_EVENT_CLOSE, 8000, conn);
    }
    for (const Seen &seen : session.events) {
        if (seen.error != WSXDP_E_XDP_QUEUES || !contains(seen.data, part) || !contains(seen.data, "xdp0"))
            fail_msg("%d '%s'", seen.error, seen.data.c_str());
    }
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), connects);
    assert_int_equal(session.count(WSXDP_EVENT_OPEN), 0);
    on_time(start, 0, 8000);
    assert_int_equal(present().id, 0);
    assert_true(kernel_asks(there4, server->port));
}
TEST(one_of_several_queues_needs_a_hash_that_is_known) {
    need();
    // veth's queues are picked by the sender, and not by a hash of the ports.
    all_refused(2, "driver", "0", "xdp.queue=-1");
    all_refused(2, "driver", "1", "ethtool -L xdp0 combined 1");
    all_refused(2, "generic", "0", "2 queues, we have a socket on 0");
    all_refused(4, "auto", "3", "4 queues, we have a socket on 3");
}
TEST(a_queue_that_does_not_exist) {
    need();
    all_refused(1, "driver", "1", "there is no queue 1 for us");
    all_refused(2, "generic", "2", "there is no queue 2 for us");
    all_refused(2, "auto", "63", "receives on 2 queues");
}

// The queues are counted when the interface is opened, not when the handle is.
TEST(the_queues_of_the_moment) {
    need();
    World world(with_queues(2));
    auto server = world.serve(echo_messages);
    const OptionList only_one = World::options({{"xdp.queue", "0"}});
    expect_failure(World::url(*server), only_one, WSXDP_E_XDP_QUEUES, "xdp.queue=-1");
    world.veth.here.run("ethtool -L xdp0 rx 1 tx 1");
    Session session(World::url(*server), only_one);
    session.need(WSXDP_EVENT_OPEN);
    check_echo(session, "by the only queue");
    assert_string_equal(session.info("xdp.queues").c_str(), "1");
}

TESTS_BESIDE("queues", 4)
