// SPDX-License-Identifier: MIT
// Messages from other threads: all arrive, each thread's in its own order; full queues say so; a connection
// that is gone says so; and wake-ups are never lost, be they from a thread or from a signal handler.
#include "pair.h"
#include <atomic>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <thread>

TEST(four_threads_send_ten_thousand_messages_each) {
    constexpr int threads = 4, messages = 10000;
    Pair pair;
    std::vector<wsxdp_sender *> senders(threads, nullptr);
    std::vector<std::thread> running;
    for (int i = 0; i < threads; i++)
        assert_int_equal(
            wsxdp_sender_open(pair.client.handle, 0, i % 2 ? 4096 : 0, &senders[static_cast<size_t>(i)]),
            WSXDP_OK);
    std::atomic<int> wrong{0};
    for (int i = 0; i < threads; i++) {
        running.emplace_back([&, i] {
            for (int k = 0; k < messages; k++) {
                std::string text = std::to_string(i) + " " + std::to_string(k);
                int status;
                while ((status = wsxdp_sender_send(senders[static_cast<size_t>(i)], WSXDP_TEXT, text.data(),
                                                   text.size(), 0)) == WSXDP_E_AGAIN)
                    std::this_thread::yield();
                wrong += status != WSXDP_OK;
            }
        });
    }
    int next[threads] = {0}, arrived = 0;
    int64_t end = now_ms() + 60000;
    wsxdp_event event;
    while (arrived < threads * messages && now_ms() < end) {
        wsxdp_poll(pair.client.handle, &event, 1, 1000000);
        pair.peer.pull();
        for (WireFrame frame; pair.peer.next(&frame); arrived++) {
            int who = frame.payload[0] - '0';
            assert_in_range(who, 0, threads - 1);
            assert_string_equal(frame.payload.c_str() + 2, std::to_string(next[who]++).c_str());
        }
    }
    for (std::thread &thread : running) thread.join();
    for (wsxdp_sender *sender : senders) wsxdp_sender_free(sender);
    assert_int_equal(arrived, threads * messages);
    assert_int_equal(wrong, 0);
}

TEST(a_message_wakes_a_sleeping_owner) {
    for (const char *wait : {"sleep", "adaptive"}) {
        Pair pair(OptionList{{"wait", wait}});
        wsxdp_sender *sender = nullptr;
        assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 0, &sender), WSXDP_OK);
        std::thread other([&] {
            for (int i = 0; i < 10; i++) {
                usleep(5000);
                wsxdp_sender_send(sender, WSXDP_BINARY, &i, sizeof i, 0);
            }
        });
        int got = 0;
        for (int64_t end = now_ms() + 5000; got < 10 && now_ms() < end;) {
            pair.client.poll(8);
            pair.peer.pull();
            for (WireFrame frame; pair.peer.next(&frame);) got++;
        }
        other.join();
        wsxdp_sender_free(sender);
        assert_int_equal(got, 10);
    }
}

TEST(a_sender_refuses_what_it_must) {
    Pair pair;
    wsxdp_sender *sender = nullptr;
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 4096, &sender), WSXDP_OK);
    auto push = [&](uint32_t opcode, const std::string &data, uint32_t flags) {
        return wsxdp_sender_send(sender, opcode, data.data(), data.size(), flags);
    };
    assert_int_equal(push(WSXDP_TEXT, "\xff", 0), WSXDP_E_SEND_UTF8);
    assert_int_equal(push(WSXDP_CONTINUATION, "x", 0), WSXDP_E_INVALID);
    assert_int_equal(push(8, "x", 0), WSXDP_E_INVALID);
    assert_int_equal(push(WSXDP_TEXT, "x", WSXDP_SEND_NOT_FINAL), WSXDP_E_FLAGS);
    assert_int_equal(push(WSXDP_TEXT, "x", WSXDP_SEND_MORE), WSXDP_E_FLAGS);
    assert_int_equal(push(WSXDP_TEXT, "x", 0x10), WSXDP_E_FLAGS);
    assert_int_equal(push(WSXDP_PING, text_of(126), 0), WSXDP_E_TOO_BIG);
    assert_int_equal(push(WSXDP_BINARY, text_of(4096), 0), WSXDP_E_TOO_BIG);
    assert_int_equal(wsxdp_sender_send(sender, WSXDP_TEXT, nullptr, 1, 0), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_sender_send(nullptr, WSXDP_TEXT, "x", 1, 0), WSXDP_E_INVALID);
    assert_int_equal(push(WSXDP_PING, "ping", 0), WSXDP_OK);
    assert_int_equal(push(WSXDP_BINARY, text_of(4000), 0), WSXDP_OK);
    assert_int_equal(push(WSXDP_BINARY, text_of(4000), 0), WSXDP_E_AGAIN);
    pair.turn();
    assert_string_equal(pair.frame(9).payload.c_str(), "ping");
    assert_int_equal(pair.frame(2).payload.size(), 4000);
    assert_int_equal(push(WSXDP_BINARY, text_of(4000), 0), WSXDP_OK);
    assert_int_equal(pair.frame(2).payload.size(), 4000);
    wsxdp_sender_free(sender);
    wsxdp_sender_free(nullptr);
}

TEST(messages_wait_for_the_connection_to_open) {
    TestServer server;
    Session client(server.url());
    wsxdp_sender *sender = nullptr;
    assert_int_equal(wsxdp_sender_open(client.handle, 0, 0, &sender), WSXDP_OK);
    for (int i = 0; i < 10; i++)
        assert_int_equal(wsxdp_sender_send(sender, WSXDP_TEXT, std::to_string(i).data(), 1, 0), WSXDP_OK);
    TestPeer peer;
    std::string head;
    Pair::keep_on([&] {
        client.poll(0);
        if (peer.fd < 0) server.accept(&peer);
        return peer.pull() && peer.head(&head);
    });
    peer.send(TestPeer::answer(head));
    for (int i = 0; i < 10; i++) {
        WireFrame frame;
        Pair::keep_on([&] {
            client.poll(0);
            peer.pull();
            return peer.next(&frame);
        });
        assert_string_equal(frame.payload.c_str(), std::to_string(i).c_str());
    }
    wsxdp_sender_free(sender);
}

TEST(a_full_outbox_keeps_a_senders_messages_in_order) {
    Pair pair({{"outbox.bytes", "16KiB"}, {"socket.send_buffer_bytes", "4096"}}, "", 4096);
    wsxdp_sender *sender = nullptr;
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 65536, &sender), WSXDP_OK);
    int queued = 0, arrived = 0, full = 0;
    while (arrived < 500) {
        std::string text = std::to_string(queued) + " " + text_of(1000);
        if (queued < 500) {
            int status = wsxdp_sender_send(sender, WSXDP_TEXT, text.data(), text.size(), 0);
            queued += status == WSXDP_OK;
            full += status == WSXDP_E_AGAIN;
        }
        if (queued % 100 == 0 || full) pair.turn();
        for (WireFrame frame; pair.peer.next(&frame);)
            assert_true(frame.payload == std::to_string(arrived++) + " " + text_of(1000));
    }
    assert_true(full > 0);
    assert_int_equal(pair.client.count(WSXDP_EVENT_WRITABLE), 0); // the owner was never refused
    assert_int_equal(pair.client.stats().sends_refused, 0);
    wsxdp_sender_free(sender);
}

TEST(a_senders_ping_passes_the_owners_fragments_and_its_messages_wait) {
    Pair pair;
    wsxdp_sender *sender = nullptr;
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 0, &sender), WSXDP_OK);
    assert_int_equal(wsxdp_send(pair.client.handle, 0, WSXDP_TEXT, "a", 1, WSXDP_SEND_NOT_FINAL), WSXDP_OK);
    assert_int_equal(wsxdp_sender_send(sender, WSXDP_PING, "p", 1, 0), WSXDP_OK);
    assert_int_equal(wsxdp_sender_send(sender, WSXDP_TEXT, "whole", 5, 0), WSXDP_OK);
    pair.frame(1);
    pair.frame(9);
    pair.turns(5);
    WireFrame frame;
    assert_false(pair.peer.next(&frame));
    assert_int_equal(wsxdp_send(pair.client.handle, 0, WSXDP_CONTINUATION, "b", 1, 0), WSXDP_OK);
    pair.frame(0);
    assert_string_equal(pair.frame(1).payload.c_str(), "whole");
    wsxdp_sender_free(sender);
}

TEST(free_sends_what_is_still_queued) {
    Pair pair;
    wsxdp_sender *sender = nullptr;
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 0, &sender), WSXDP_OK);
    for (int i = 0; i < 10; i++) assert_int_equal(wsxdp_sender_send(sender, WSXDP_TEXT, "x", 1, 0), WSXDP_OK);
    wsxdp_sender_free(sender);
    for (int i = 0; i < 10; i++) pair.frame(1);
}

TEST(a_sender_of_a_connection_that_is_gone_is_closed) {
    Pair pair;
    wsxdp_sender *sender = nullptr;
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 0, &sender), WSXDP_OK);
    pair.peer.reset();
    pair.event(WSXDP_EVENT_ERROR);
    pair.event(WSXDP_EVENT_CLOSE);
    pair.turns(3);
    assert_int_equal(wsxdp_sender_send(sender, WSXDP_TEXT, "x", 1, 0), WSXDP_E_CLOSED);
    wsxdp_sender *another = nullptr;
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 0, &another), WSXDP_E_STALE);
    assert_null(another);
    wsxdp_sender_free(sender);
}

TEST(senders_max_is_a_limit) {
    Pair pair(OptionList{{"senders.max", "2"}});
    wsxdp_sender *senders[3] = {nullptr, nullptr, nullptr};
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 0, &senders[0]), WSXDP_OK);
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 0, &senders[1]), WSXDP_OK);
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 0, &senders[2]), WSXDP_E_SENDERS);
    assert_null(senders[2]);
    wsxdp_sender_free(senders[0]);
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, 0, &senders[2]), WSXDP_OK);
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, size_t{2} << 30, &senders[0]), WSXDP_E_SENDERS);
    wsxdp_sender_free(senders[1]);
    assert_int_equal(wsxdp_sender_open(pair.client.handle, 0, size_t{2} << 30, &senders[0]), WSXDP_E_INVALID);
    wsxdp_sender_free(senders[2]);
}

// ---- wake-ups ----

TEST(wakeup_is_sticky_and_one_event) {
    Pair pair;
    for (int i = 0; i < 3; i++) assert_int_equal(wsxdp_wakeup(pair.client.handle), WSXDP_OK);
    Seen seen = pair.event(WSXDP_EVENT_WAKEUP);
    assert_int_equal(seen.conn, 0);
    assert_true(pair.quiet());
}

TEST(wakeup_from_a_thread_ends_a_wait) {
    for (const char *wait : {"sleep", "adaptive", "spin"}) {
        Pair pair(OptionList{{"wait", wait}});
        for (int i = 0; i < 50; i++) {
            std::thread other([&] {
                if (i % 2) usleep(static_cast<useconds_t>(i * 20));
                wsxdp_wakeup(pair.client.handle);
            });
            wsxdp_event event;
            int64_t start = now_ms();
            assert_int_equal(wsxdp_poll(pair.client.handle, &event, 1, 5000000000), 1);
            assert_int_equal(event.kind, WSXDP_EVENT_WAKEUP);
            other.join();
            on_time(start, 0, 2000);
        }
    }
}

// Many wakers at once leave nothing behind: the next wait sleeps its whole time, without using the processor.
TEST(a_storm_of_wakeups_leaves_no_residue) {
    Pair pair(OptionList{{"wait", "sleep"}});
    std::atomic<bool> stop{false};
    std::vector<std::thread> wakers;
    for (int i = 0; i < 3; i++)
        wakers.emplace_back([&] {
            while (!stop) wsxdp_wakeup(pair.client.handle);
        });
    wsxdp_event event;
    for (int i = 0; i < 3000; i++) assert_int_equal(wsxdp_poll(pair.client.handle, &event, 1, 5000000000), 1);
    stop = true;
    for (std::thread &waker : wakers) waker.join();
    while (wsxdp_poll(pair.client.handle, &event, 1, 0) != 0) {
    }
    timespec before, after;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    assert_int_equal(wsxdp_poll(pair.client.handle, &event, 1, 200000000), 0);
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    int64_t used = (after.tv_sec - before.tv_sec) * 1000000000LL + after.tv_nsec - before.tv_nsec;
    assert_true(used < 50000000);
}

static wsxdp *signalled;
static void on_signal(int) { wsxdp_wakeup(signalled); }

TEST(wakeup_from_a_signal_handler_ends_a_wait) {
    Pair pair(OptionList{{"wait", "sleep"}});
    signalled = pair.client.handle;
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = on_signal;
    action.sa_flags = SA_RESTART;
    sigaction(SIGALRM, &action, &old);
    itimerval at = {{0, 0}, {0, 20000}};
    int64_t slowest = 0;
    for (int i = 0; i < 5; i++) {
        int64_t start = now_ms();
        setitimer(ITIMER_REAL, &at, nullptr);
        wsxdp_event event;
        assert_int_equal(wsxdp_poll(pair.client.handle, &event, 1, 5000000000), 1);
        assert_int_equal(event.kind, WSXDP_EVENT_WAKEUP);
        const int64_t took = now_ms() - start;
        assert_true(took >= 19);
        slowest = took > slowest ? took : slowest;
    }
    sigaction(SIGALRM, &old, nullptr);
    took_ms(slowest, 19, 1500);
}

static void nothing(int) {}
TEST(a_signal_without_wakeup_does_not_end_a_wait) {
    Pair pair(OptionList{{"wait", "sleep"}});
    struct sigaction action, old;
    memset(&action, 0, sizeof action);
    action.sa_handler = nothing;
    sigaction(SIGALRM, &action, &old);
    itimerval every = {{0, 10000}, {0, 10000}}, off = {{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &every, nullptr);
    int64_t start = now_ms();
    wsxdp_event event;
    assert_int_equal(wsxdp_poll(pair.client.handle, &event, 1, 150000000), 0);
    const int64_t took = now_ms() - start;
    setitimer(ITIMER_REAL, &off, nullptr);
    sigaction(SIGALRM, &old, nullptr);
    took_ms(took, 149, 600);
}

TESTS("senders")
