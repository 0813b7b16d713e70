// SPDX-License-Identifier: MIT
// The descriptor of wsxdp_fd in the caller's own epoll: whoever waits on it, level-triggered, and polls with
// timeout 0 when it is readable misses nothing: no message, no leftover, no timer, no wake-up; and it is not
// readable for nothing.
#include "pair.h"
#include <sys/epoll.h>
#include <thread>

struct OwnLoop {
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    int fd;
    explicit OwnLoop(wsxdp *handle) : fd(wsxdp_fd(handle)) {
        epoll_event event;
        memset(&event, 0, sizeof event);
        event.events = EPOLLIN;
        assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event), 0);
    }
    ~OwnLoop() { close(epoll); }
    OwnLoop(const OwnLoop &) = delete;
    OwnLoop &operator=(const OwnLoop &) = delete;
    bool wait(int ms) {
        epoll_event event;
        return TEMP_FAILURE_RETRY(epoll_wait(epoll, &event, 1, ms)) == 1;
    }
};

TEST(the_descriptor_stays_the_same) {
    Pair pair;
    int fd = wsxdp_fd(pair.client.handle);
    assert_true(fd >= 0);
    pair.turns(5);
    assert_int_equal(wsxdp_fd(pair.client.handle), fd);
    assert_int_equal(wsxdp_fd(nullptr), WSXDP_E_INVALID);
}

TEST(connecting_works_by_the_descriptor_alone) {
    TestServer server;
    Session client(server.url());
    OwnLoop loop(client.handle);
    TestPeer peer;
    std::string head;
    bool answered = false;
    for (int64_t end = now_ms() + 5000; client.count(WSXDP_EVENT_OPEN) == 0;) {
        if (now_ms() >= end) fail_msg("not open");
        if (loop.wait(2)) client.poll(0);
        if (peer.fd < 0) server.accept(&peer);
        peer.pull();
        if (answered || !peer.head(&head)) continue;
        peer.send(TestPeer::answer(head));
        answered = true;
    }
}

TEST(ping_pong_never_hangs) {
    for (const char *wait : {"sleep", "adaptive", "spin"}) {
        Pair pair(OptionList{{"wait", wait}, {"ping.interval_ns", "0"}}); // what comes is a message
        OwnLoop loop(pair.client.handle);
        // Threads that spin on fewer processors than they are have a time slice for each message.
        const int messages = sockets_apart() && strcmp(wait, "spin") == 0 ? 100 : 2000;
        for (int i = 0; i < messages; i++) {
            std::string text = std::to_string(i);
            assert_int_equal(pair.client.send(text), WSXDP_OK);
            WireFrame frame;
            Pair::keep_on([&] {
                pair.peer.pull();
                return pair.peer.next(&frame);
            });
            pair.peer.send(wire_frame(1, frame.payload));
            for (size_t before = pair.client.events.size(); pair.client.events.size() == before;) {
                if (!loop.wait(3000)) fail_msg("not readable although message %d waits, wait=%s", i, wait);
                pair.client.poll(0);
            }
            assert_true(pair.client.events.back().data == text);
        }
    }
}

TEST(events_left_over_keep_it_readable) {
    Pair pair;
    OwnLoop loop(pair.client.handle);
    std::string bytes;
    for (int i = 0; i < 100; i++) bytes += wire_frame(1, std::to_string(i)) + wire_frame(9, "");
    pair.peer.send(bytes);
    wsxdp_event event;
    for (int i = 0; i < 200; i++) {
        if (!loop.wait(3000)) fail_msg("not readable after %d events", i);
        if (wsxdp_poll(pair.client.handle, &event, 1, 0) == 0) i--;
    }
    while (loop.wait(0)) assert_int_equal(wsxdp_poll(pair.client.handle, &event, 1, 0), 0);
}

TEST(an_idle_handle_is_not_readable) {
    Pair pair;
    OwnLoop loop(pair.client.handle);
    pair.peer.send(wire_frame(1, "m"));
    assert_true(loop.wait(3000));
    pair.message("m", WSXDP_FLAG_TEXT);
    for (int i = 0; i < 3 && loop.wait(0); i++) pair.client.poll(0);
    assert_false(loop.wait(100));
}

TEST(keepalive_fires_although_only_the_descriptor_is_waited_on) {
    Pair pair(OptionList{{"ping.interval_ns", "40ms"}, {"ping.timeout_ns", "100ms"}});
    OwnLoop loop(pair.client.handle);
    int wakes = 0;
    while (pair.client.count(WSXDP_EVENT_CLOSE) == 0) {
        if (!loop.wait(3000)) fail_msg("no timer");
        wakes++;
        pair.client.poll(0);
    }
    on_time(pair.begun, 140, 1500);
    assert_int_equal(pair.client.events.back().error, WSXDP_E_PING_TIMEOUT);
    assert_true(wakes < 50);
}

TEST(idle_timeout_fires_although_only_the_descriptor_is_waited_on) {
    Pair pair(OptionList{{"ping.interval_ns", "0"}, {"idle.timeout_ns", "100ms"}});
    OwnLoop loop(pair.client.handle);
    while (pair.client.count(WSXDP_EVENT_CLOSE) == 0) {
        if (!loop.wait(3000)) fail_msg("no timer");
        pair.client.poll(0);
    }
    assert_int_equal(pair.client.events.back().error, WSXDP_E_DEAD);
}

INLINE_TEST(the_deadline_is_when_the_next_timer_is) {
    Pair pair(OptionList{{"ping.interval_ns", "500ms"}, {"idle.timeout_ns", "0"}});
    assert_in_range(wsxdp_deadline(pair.client.handle) / 1000000, pair.begun + 499, now_ms() + 500);
    assert_int_equal(wsxdp_deadline(nullptr), WSXDP_E_INVALID);
}

TEST(close_and_abort_make_it_readable) {
    for (bool abort : {false, true}) {
        Pair pair;
        OwnLoop loop(pair.client.handle);
        assert_int_equal(abort ? wsxdp_abort(pair.client.handle, 0)
                               : wsxdp_close(pair.client.handle, 0, 1000, "", 0),
                         WSXDP_OK);
        bool answered = false;
        while (pair.client.count(WSXDP_EVENT_CLOSE) == 0) {
            if (!loop.wait(3000)) fail_msg("not readable");
            pair.client.poll(0);
            WireFrame frame;
            pair.peer.pull();
            if (!answered && pair.peer.next(&frame)) {
                pair.peer.send(wire_close(1000));
                pair.peer.finish();
                answered = true;
            }
        }
    }
}

TEST(connect_makes_it_readable) {
    Pair pair;
    OwnLoop loop(pair.client.handle);
    while (loop.wait(0)) pair.client.poll(0);
    scripted::RefusingPort refusing;
    uint32_t id = 0;
    std::string url = "ws://127.0.0.1:" + std::to_string(refusing.port);
    assert_int_equal(wsxdp_connect(pair.client.handle, url.c_str(), nullptr, &id), WSXDP_OK);
    while (pair.client.count(WSXDP_EVENT_CLOSE) == 0) {
        if (!loop.wait(3000)) fail_msg("not readable");
        pair.client.poll(0);
    }
}

INLINE_TEST(wakeup_and_senders_make_it_readable) {
    Pair pair;
    OwnLoop loop(pair.client.handle);
    wsxdp_sender *sender = nullptr;
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 0, &sender), WSXDP_OK);
    for (int i = 0; i < 300; i++) {
        while (loop.wait(0)) pair.client.poll(0);
        std::thread other([&] {
            if (i % 2)
                wsxdp_wakeup(pair.client.handle);
            else
                wsxdp_sender_send(sender, WSXDP_TEXT, "x", 1, 0);
        });
        size_t before = pair.client.events.size();
        WireFrame frame;
        for (bool done = false; !done;) {
            if (!loop.wait(3000)) fail_msg("not readable");
            pair.client.poll(0);
            pair.peer.pull();
            done = i % 2 ? pair.client.events.size() > before : pair.peer.next(&frame);
        }
        other.join();
    }
    wsxdp_sender_free(sender);
}

// Nothing but the message itself is left to do after OPEN, or after the last fragment of the owner.
TEST(a_senders_message_that_waited_leaves_by_the_descriptor_alone) {
    TestServer server;
    Session client(server.url());
    OwnLoop loop(client.handle);
    wsxdp_sender *sender = nullptr;
    assert_int_equal(wsxdp_sender_open(client.handle, 0, 0, &sender), WSXDP_OK);
    assert_int_equal(wsxdp_sender_send(sender, WSXDP_TEXT, "early", 5, 0), WSXDP_OK);
    TestPeer peer;
    std::string head;
    auto frame = [&](const char *payload) {
        WireFrame got;
        Pair::keep_on([&] {
            if (loop.wait(1)) client.poll(0);
            if (peer.fd < 0) server.accept(&peer);
            peer.pull();
            if (head.empty() && peer.head(&head)) peer.send(TestPeer::answer(head));
            return !head.empty() && peer.next(&got);
        });
        assert_string_equal(got.payload.c_str(), payload);
    };
    frame("early");
    assert_int_equal(wsxdp_send(client.handle, 0, WSXDP_TEXT, "a", 1, WSXDP_SEND_NOT_FINAL), WSXDP_OK);
    frame("a");
    assert_int_equal(wsxdp_sender_send(sender, WSXDP_TEXT, "waits", 5, 0), WSXDP_OK);
    while (loop.wait(20)) client.poll(0);
    assert_int_equal(wsxdp_send(client.handle, 0, WSXDP_CONTINUATION, "b", 1, 0), WSXDP_OK);
    frame("b");
    frame("waits");
    wsxdp_sender_free(sender);
}

TEST(writable_arrives_by_the_descriptor_alone) {
    Pair pair({{"socket.send_buffer_bytes", "4096"}}, "", 4096);
    OwnLoop loop(pair.client.handle);
    while (pair.client.send(text_of(10000)) == WSXDP_OK) {
    }
    const bool beside = !test_placement().empty(); // then it is readable only when there is something to tell
    for (int64_t end = now_ms() + 20000; pair.client.count(WSXDP_EVENT_WRITABLE) == 0;) {
        pair.peer.pull();
        const bool readable = loop.wait(beside ? 1 : 3000);
        if (beside ? now_ms() >= end : !readable) fail_msg("not readable");
        if (readable) pair.client.poll(0);
    }
}

TEST(corked_messages_leave_by_the_descriptor_alone) {
    Pair pair;
    OwnLoop loop(pair.client.handle);
    while (loop.wait(0)) pair.client.poll(0);
    assert_int_equal(wsxdp_send(pair.client.handle, 0, WSXDP_TEXT, "x", 1, WSXDP_SEND_MORE), WSXDP_OK);
    assert_true(loop.wait(3000));
    pair.client.poll(0);
    pair.frame(1);
}

// What was given back must be noticed although the socket has been taken out of the set.
TEST(a_stalled_connection_goes_on_by_the_descriptor_alone) {
    Pair pair(OptionList{{"inbox.bytes", "64KiB"}});
    OwnLoop loop(pair.client.handle);
    std::string bytes;
    for (int i = 0; i < 500; i++) bytes += wire_frame(2, text_of(1000));
    wsxdp_event event;
    for (int taken = 0; taken < 500;) {
        if (!bytes.empty()) bytes.erase(0, pair.peer.push(bytes));
        if (!loop.wait(3000)) fail_msg("not readable after %d", taken);
        taken += wsxdp_poll(pair.client.handle, &event, 1, 0);
    }
}
TEST(an_unhold_is_noticed_by_the_descriptor_alone) {
    Pair pair(OptionList{{"inbox.bytes", "64KiB"}});
    OwnLoop loop(pair.client.handle);
    pair.peer.send(wire_frame(2, text_of(30000)));
    wsxdp_event held, event;
    Pair::keep_on([&] { return loop.wait(10) && wsxdp_poll(pair.client.handle, &held, 1, 0) == 1; });
    assert_int_equal(wsxdp_hold(pair.client.handle, &held), WSXDP_OK);
    pair.peer.send(wire_frame(2, text_of(39000)));
    for (int i = 0; i < 10 && loop.wait(20); i++)
        assert_int_equal(wsxdp_poll(pair.client.handle, &event, 1, 0), 0);
    assert_int_equal(wsxdp_unhold(pair.client.handle, &held), WSXDP_OK);
    bool arrived = false;
    while (!arrived) {
        if (!loop.wait(3000)) fail_msg("not readable after unhold");
        arrived = wsxdp_poll(pair.client.handle, &event, 1, 0) == 1;
    }
    assert_int_equal(event.len, 39000);
}
TEST(a_release_is_noticed_by_the_descriptor_alone) {
    Pair pair(OptionList{{"inbox.bytes", "64KiB"}});
    OwnLoop loop(pair.client.handle);
    pair.peer.send(wire_frame(2, text_of(30000)) + wire_frame(2, text_of(39000)));
    wsxdp_event event;
    for (int taken = 0; taken < 2;) {
        if (!loop.wait(3000)) fail_msg("not readable");
        taken += wsxdp_poll(pair.client.handle, &event, 1, 0);
        wsxdp_release(pair.client.handle);
    }
}
TEST(echo_works_by_the_descriptor_alone) {
    Session client("echo:");
    OwnLoop loop(client.handle);
    auto until = [&](uint32_t kind, size_t count) {
        while (client.count(kind) < count) {
            if (!loop.wait(3000)) fail_msg("not readable");
            client.poll(0);
        }
    };
    until(WSXDP_EVENT_OPEN, 1);
    for (size_t i = 1; i <= 100; i++) {
        assert_int_equal(client.send("hello"), WSXDP_OK);
        until(WSXDP_EVENT_MESSAGE, i);
    }
}

// ---- timeouts ----

TEST(poll_waits_as_long_as_it_was_told) {
    for (const char *wait : {"sleep", "adaptive", "spin"}) {
        Pair pair(OptionList{{"wait", wait}});
        for (int ms : {1, 5, 50}) {
            int64_t start = now_ms();
            assert_int_equal(pair.client.poll(ms), 0);
            on_time(start, ms - 1, ms + 200);
        }
        int64_t start = now_ms();
        for (int i = 0; i < 1000; i++) pair.client.poll(0);
        on_time(start, 0, 1000);
    }
}
TEST(poll_without_a_timeout_waits_for_an_event) {
    Pair pair;
    std::thread other([&] {
        usleep(50000);
        pair.peer.send(wire_frame(1, "late"));
    });
    wsxdp_event event;
    assert_int_equal(wsxdp_poll(pair.client.handle, &event, 1, -1), 1);
    assert_int_equal(event.kind, WSXDP_EVENT_MESSAGE);
    other.join();
}

TESTS("waiting")
