// SPDX-License-Identifier: MIT
// A session whose handle waits with poll(2): it opens, talks in both directions through full buffers,
// is woken by other threads and by name lookups, comes back after a loss, and serves more connections
// than are read directly. It has no descriptor and says so. And a system without epoll gets it unasked.
// link: -Wl,--wrap=epoll_create1
#include "pair.h"

#include <errno.h>
#include <thread>

static bool no_epoll = false;
extern "C" {
int __real_epoll_create1(int flags);
int __wrap_epoll_create1(int flags);
int __wrap_epoll_create1(int flags) {
    if (!no_epoll) return __real_epoll_create1(flags);
    errno = EPERM;
    return -1;
}
}

static const OptionList by_poll = {{"poller", "poll"}};

static OptionList by_poll_and(OptionList options) {
    options.insert(options.begin(), by_poll.begin(), by_poll.end());
    return options;
}

// Runs `act` in another thread after a moment in which the client has gone to sleep.
struct Later {
    std::thread thread;
    template <class Act>
    explicit Later(Act act)
        : thread([act] {
              usleep(30000);
              act();
          }) {}
    ~Later() { thread.join(); }
};

TEST(messages_wake_a_sleeper) {
    for (const char *wait : {"sleep", "adaptive", "spin"}) {
        Pair pair(by_poll_and({{"wait", wait}}));
        assert_string_equal(pair.client.info("poller").c_str(), "poll");
        for (int i = 0; i < 3; i++) {
            Later later([&pair] { pair.peer.send(wire_frame(1, "hello")); });
            int64_t start = now_ms();
            assert_int_equal(pair.client.poll(20000), 1);
            on_time(start, 0, 10000);
            pair.message("hello", WSXDP_FLAG_TEXT);
        }
        assert_int_equal(pair.client.send("back"), WSXDP_OK);
        assert_string_equal(pair.frame(1).payload.c_str(), "back");
    }
}

TEST(there_is_no_descriptor) {
    Pair pair(by_poll);
    assert_int_equal(wsxdp_fd(pair.client.handle), WSXDP_E_UNSUPPORTED);
    assert_true(wsxdp_deadline(pair.client.handle) > 0); // says when, all the same
    pair.peer.send(wire_frame(2, "still here"));
    pair.message("still here", WSXDP_FLAG_BINARY);
}

TEST(other_threads_wake_it) {
    Pair pair(by_poll);
    wsxdp *handle = pair.client.handle;
    {
        Later later([handle] { wsxdp_wakeup(handle); });
        assert_int_equal(pair.client.poll(20000), 1);
        pair.event(WSXDP_EVENT_WAKEUP);
    }
    wsxdp_sender *sender = nullptr;
    assert_int_equal(wsxdp_sender_open(handle, 0, 4096, &sender), WSXDP_OK);
    {
        Later later([sender] { wsxdp_sender_send(sender, WSXDP_TEXT, "from afar", 9, 0); });
        int64_t start = now_ms();
        WireFrame frame;
        while (!pair.peer.next(&frame) && now_ms() - start < 10000) {
            pair.client.poll(100);
            pair.peer.pull();
        }
        assert_string_equal(frame.payload.c_str(), "from afar");
    }
    wsxdp_sender_free(sender);
}

// A name: the lookup's thread wakes through its own copy of the eventfd.
TEST(lookups_wake_it) {
    TestServer server;
    Session client("ws://localhost:" + std::to_string(server.port) + "/",
                   by_poll_and({{"reconnect", "no"}, {"connect.family", "ipv4"}, {"wait", "sleep"}}));
    TestPeer peer;
    for (int64_t end = now_ms() + 5000; !server.accept(&peer) && now_ms() < end;) client.poll(1000);
    assert_true(peer.fd >= 0);
    std::string head;
    for (int64_t end = now_ms() + 5000; !peer.head(&head) && now_ms() < end; peer.pull()) client.poll(1);
    peer.send(TestPeer::answer(head));
    client.need(WSXDP_EVENT_OPEN);
}

// More than the socket takes: writability is waited for. More than the inbox takes: the socket leaves the
// list and comes back.
TEST(full_buffers_both_ways) {
    Pair pair(by_poll_and({{"inbox.bytes", "64KiB"}, {"outbox.bytes", "4MiB"}}), "", 4096, 0);
    std::string large = text_of(3000000, 5);
    assert_int_equal(pair.client.send(large), WSXDP_OK);
    assert_true(pair.frame(1).payload == large);
    std::string part = text_of(20000, 6);
    wsxdp_event held[3];
    for (int i = 0; i < 6; i++) pair.peer.send(wire_frame(1, part));
    Pair::keep_on([&] { return wsxdp_poll(pair.client.handle, held, 1, 0) == 1; });
    assert_int_equal(wsxdp_hold(pair.client.handle, &held[0]), WSXDP_OK);
    size_t messages = 1;
    Pair::keep_on([&] {
        int got = wsxdp_poll(pair.client.handle, &held[1], 1, 0);
        if (got == 1 && held[1].kind == WSXDP_EVENT_MESSAGE) messages++;
        return pair.client.stats().stalls != 0;
    });
    assert_true(messages < 6);
    assert_int_equal(wsxdp_unhold(pair.client.handle, &held[0]), WSXDP_OK);
    Pair::keep_on([&] {
        int got = wsxdp_poll(pair.client.handle, &held[1], 1, 1000000);
        if (got == 1 && held[1].kind == WSXDP_EVENT_MESSAGE) messages++;
        return messages == 6;
    });
}

TEST(it_comes_back_after_a_loss) {
    Pair pair(by_poll_and({{"reconnect", "yes"}, {"reconnect.delay_min_ns", "1ms"}}));
    for (int i = 0; i < 5; i++) {
        pair.peer.reset();
        pair.until([&] { return pair.client.count(WSXDP_EVENT_RECONNECTING) > static_cast<size_t>(i); });
        pair.taken = pair.client.events.size();
        pair.peer = TestPeer();
        pair.meet();
        pair.peer.send(wire_frame(1, "again"));
        pair.message("again", WSXDP_FLAG_TEXT);
    }
}

// More than are read without asking: what the list reports is all that is known.
TEST(many_in_turn) {
    constexpr int count = 40;
    TestServer server;
    Session client(nullptr, by_poll_and({{"reconnect", "no"}, {"wait", "sleep"}, {"inbox.bytes", "64KiB"}}));
    std::vector<TestPeer> peers(count);
    std::vector<uint32_t> ids(count);
    for (int i = 0; i < count; i++) {
        assert_int_equal(wsxdp_connect(client.handle, server.url().c_str(), nullptr, &ids[i]), WSXDP_OK);
        Pair::keep_on([&] { return client.poll(0), server.accept(&peers[i]); });
        std::string head;
        Pair::keep_on([&] { return client.poll(0), peers[i].pull(), peers[i].head(&head); });
        peers[i].send(TestPeer::answer(head));
        assert_int_equal(client.need(WSXDP_EVENT_OPEN).conn, ids[i]);
    }
    for (int round = 0; round < 3; round++)
        for (int i = count - 1; i >= 0; i--) {
            peers[i].send(wire_frame(1, std::to_string(i)));
            const Seen &seen = client.need(WSXDP_EVENT_MESSAGE);
            assert_int_equal(seen.conn, ids[i]);
            assert_string_equal(seen.data.c_str(), std::to_string(i).c_str());
        }
    peers[7].reset();
    assert_int_equal(client.need(WSXDP_EVENT_CLOSE).conn, ids[7]);
}

SAME_PROCESS_TEST(a_system_without_epoll) {
    TestServer server;
    no_epoll = true;
    Session named(server.url(), {{"reconnect", "no"}, {"poller", "epoll"}});
    assert_int_equal(named.status, WSXDP_E_SYSTEM);
    assert_true(contains(named.text, "Operation not permitted") && contains(named.text, "poller=auto"));
    Pair pair;
    no_epoll = false;
    assert_string_equal(pair.client.info("poller").c_str(), "poll");
    pair.peer.send(wire_frame(1, "works"));
    pair.message("works", WSXDP_FLAG_TEXT);
    Pair usual;
    assert_string_equal(usual.client.info("poller").c_str(), "epoll");
}

TESTS("polling")
