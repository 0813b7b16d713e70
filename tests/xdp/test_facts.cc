// SPDX-License-Identifier: MIT
// wsxdp_info with transport=xdp: of a connection, and of the handle, whose counters outlive its connections.
#include "world.h"

using namespace netns;

static std::string fact(wsxdp *handle, uint32_t conn, const char *what) {
    char text[4096] = "";
    int size = wsxdp_info(handle, conn, what, text, sizeof text);
    if (size < 0) fail_msg("%s: %d", what, size);
    assert_int_equal(size, strlen(text));
    return text;
}

TEST(of_a_connection_and_of_the_handle) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    Session session(World::url(*server), World::options());
    assert_string_equal(fact(session.handle, WSXDP_ALL, "xdp.counters").c_str(), ""); // nothing is open yet
    session.need(WSXDP_EVENT_OPEN);
    for (uint32_t conn : {0u, WSXDP_ALL}) {
        assert_string_equal(fact(session.handle, conn, "xdp.interface").c_str(), "xdp0");
        assert_string_equal(fact(session.handle, conn, "xdp.queues").c_str(), "1");
        assert_true(contains(fact(session.handle, conn, "xdp.counters"), "filter_tcp="));
        assert_true(contains(fact(session.handle, conn, "xdp.ladder"), "zero-copy: "));
        assert_string_equal(fact(session.handle, conn, "poller").c_str(), "epoll");
    }
    wsxdp_close(session.handle, 0, 1000, "", 0);
    session.need(WSXDP_EVENT_CLOSE);
    session.poll(0); // releases the event, and with it the connection
    assert_true(contains(fact(session.handle, WSXDP_ALL, "xdp.counters"), "kicks="));
}

TEST(no_other_fact) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    Session session(World::url(*server), World::options());
    session.need(WSXDP_EVENT_OPEN);
    char text[300];
    const std::pair<uint32_t, const char *> asked[] = {
        {0, "xdp.speed"}, {WSXDP_ALL, "xdp.speed"}, {WSXDP_ALL, "peer"}, {0, "xdp."}};
    for (const auto &each : asked) {
        assert_int_equal(wsxdp_info(session.handle, each.first, each.second, text, sizeof text),
                         WSXDP_E_INVALID);
        wsxdp_last_error(session.handle, text, sizeof text);
        assert_true(contains(text, each.second));
    }
}

TESTS("facts")
