// SPDX-License-Identifier: MIT
// The kernel refuses to watch a socket (ENOSPC at fs.epoll.max_user_watches, ENOMEM), at each place
// where one enters the epoll set or changes in it: the attempt or the connection ends at once with a
// sentence that says what to do, instead of waiting for something that nobody would report.
// link: -Wl,--wrap=epoll_ctl
#include "pair.h"

#include <atomic>
#include <errno.h>
#include <sys/epoll.h>

static std::atomic<int> refuse_operation{0}; // EPOLL_CTL_ADD or EPOLL_CTL_MOD
static std::atomic<int> refuse_with{0};
static std::atomic<int> refuse_after{0}; // so many of them succeed before
static std::atomic<int> refuse_count{0}; // and so many fail

extern "C" {
int __real_epoll_ctl(int epoll, int operation, int fd, epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event *event) {
    if (operation != refuse_operation || refuse_count == 0 || refuse_after-- > 0)
        return __real_epoll_ctl(epoll, operation, fd, event);
    refuse_count--;
    errno = refuse_with;
    return -1;
}
}

static void refuse(int operation, int cause, int after = 0, int count = 1) {
    refuse_operation = operation;
    refuse_with = cause;
    refuse_after = after;
    refuse_count = count;
}

static void ended_by(Session *client, int code, const char *name, const char *advice) {
    const Seen &error = client->need(WSXDP_EVENT_ERROR, 3000);
    assert_int_equal(error.error, code);
    if (!contains(error.data, name) || !contains(error.data, advice) || !contains(error.data, "epoll_ctl"))
        fail_msg("%s", error.data.c_str());
    assert_int_equal(refuse_count, 0);
}

static Session &without_url() {
    static Session client(nullptr, {{"reconnect", "no"}});
    return client;
}

// The first ADD is that of the race, the second that of the connection that won it.
TEST(while_connecting) {
    for (int after : {0, 1}) {
        TestServer server;
        Session &client = without_url();
        refuse(EPOLL_CTL_ADD, ENOSPC, after);
        uint32_t id = 0;
        assert_int_equal(wsxdp_connect(client.handle, server.url().c_str(), nullptr, &id), WSXDP_OK);
        ended_by(&client, WSXDP_E_SYSTEM, "No space left", "fs.epoll.max_user_watches");
        assert_int_equal(client.need(WSXDP_EVENT_CLOSE).error, WSXDP_E_SYSTEM);
    }
}

TEST(while_connecting_without_memory) {
    TestServer server;
    Session &client = without_url();
    refuse(EPOLL_CTL_ADD, ENOMEM);
    uint32_t id = 0;
    assert_int_equal(wsxdp_connect(client.handle, server.url().c_str(), nullptr, &id), WSXDP_OK);
    ended_by(&client, WSXDP_E_MEMORY, "Cannot allocate memory", "fewer connections");
    assert_int_equal(client.need(WSXDP_EVENT_CLOSE).error, WSXDP_E_MEMORY);
}

// The next address may fare better, and so may the next attempt.
INLINE_TEST(the_next_attempt_succeeds) {
    TestServer server;
    refuse(EPOLL_CTL_ADD, ENOSPC, 2); // the poller's own descriptors come first
    Session client(server.url(), {{"reconnect.delay_min_ns", "1ms"}});
    ended_by(&client, WSXDP_E_SYSTEM, "No space left", "fs.epoll.max_user_watches");
    client.need(WSXDP_EVENT_RECONNECTING);
    TestPeer peer;
    std::string head;
    // The server may also see the attempt that was given up.
    Pair::keep_on([&] {
        client.poll(0);
        if (peer.fd < 0 || (peer.pull() == 0 && peer.ended)) server.accept(&peer);
        return peer.head(&head);
    });
    peer.send(TestPeer::answer(head));
    client.need(WSXDP_EVENT_OPEN);
}

// Stalled, out of the set; room comes back, and the way back into the set is barred.
TEST(after_a_stall) {
    for (bool many : {false, true}) {
        OptionList options = {{"inbox.bytes", "64KiB"}, {"idle.timeout_ns", "60s"}, {"reconnect", "yes"}};
        if (many) options.push_back({"wait", "sleep"});
        Pair pair(options);
        wsxdp_event held, other;
        std::string part = text_of(20000, 6);
        // What rx holds has to be full, too.
        const int parts = sockets_apart() ? 60 : 6;
        for (int i = 0; i < parts; i++) pair.peer.send(wire_frame(1, part));
        Pair::keep_on([&] { return wsxdp_poll(pair.client.handle, &held, 1, 0) == 1; });
        assert_int_equal(wsxdp_hold(pair.client.handle, &held), WSXDP_OK);
        Pair::keep_on([&] {
            wsxdp_poll(pair.client.handle, &other, 1, 0);
            return pair.client.stats().stalls != 0;
        });
        if (sockets_apart()) usleep(100000); // rx goes on until it is
        refuse(EPOLL_CTL_ADD, ENOSPC);
        assert_int_equal(wsxdp_unhold(pair.client.handle, &held), WSXDP_OK);
        ended_by(&pair.client, WSXDP_E_SYSTEM, "No space left", "poller=poll");
        pair.client.need(WSXDP_EVENT_RECONNECTING);
    }
}

// A full socket: the interest in writing is refused.
TEST(while_sending) {
    Pair pair(OptionList{{"outbox.bytes", "8MiB"}}, "", 4096, 0);
    refuse(EPOLL_CTL_MOD, ENOMEM);
    assert_int_equal(pair.client.send(text_of(6000000, 1)), WSXDP_OK);
    ended_by(&pair.client, WSXDP_E_MEMORY, "Cannot allocate memory", "free memory");
    assert_int_equal(pair.client.need(WSXDP_EVENT_CLOSE).error, WSXDP_E_MEMORY);
}

TESTS("watching")
