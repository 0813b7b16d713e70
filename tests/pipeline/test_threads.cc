// SPDX-License-Identifier: MIT
// One owner at a time: a second thread inside is told so and harms nothing; a handle that moves from thread
// to thread works; handles do not know of each other.
#include "pair.h"
#include <atomic>
#include <signal.h>
#include <thread>

TEST(a_second_thread_is_told_so) {
    Pair pair(OptionList{{"wait", "sleep"}});
    wsxdp *handle = pair.client.handle;
    std::thread owner([&] {
        wsxdp_event event;
        int taken;
        // Refused as well if it came while the other looked whether it is inside.
        while ((taken = wsxdp_poll(handle, &event, 1, 10000000000)) == WSXDP_E_THREAD) {
        }
        assert_int_equal(taken, 1);
        assert_int_equal(event.kind, WSXDP_EVENT_WAKEUP);
    });
    for (int64_t end = now_ms() + 10000; wsxdp_release(handle) != WSXDP_E_THREAD && now_ms() < end;)
        usleep(10000);
    refused_by_every_call(handle, WSXDP_E_THREAD);
    assert_int_equal(wsxdp_wakeup(handle), WSXDP_OK);
    owner.join();
    pair.peer.send(wire_frame(1, "unharmed"));
    pair.message("unharmed", WSXDP_FLAG_TEXT);
}

TEST(two_threads_that_fight_lose_nothing) {
    Pair pair;
    std::atomic<int> sent{0}, refused{0};
    auto fight = [&] {
        for (int i = 0; i < 5000;) {
            int status = wsxdp_send(pair.client.handle, 0, WSXDP_TEXT, "message", 7, 0);
            if (status == WSXDP_OK) sent++, i++;
            if (status == WSXDP_E_THREAD) refused++;
            if (status == WSXDP_E_AGAIN) usleep(100);
        }
    };
    std::thread one(fight), two(fight);
    int arrived = 0;
    for (int64_t end = now_ms() + 20000; arrived < 10000 && now_ms() < end;) {
        wsxdp_event event;
        int status = wsxdp_poll(pair.client.handle, &event, 1, 0);
        assert_true(status >= 0 || status == WSXDP_E_THREAD);
        pair.peer.pull();
        for (WireFrame frame; pair.peer.next(&frame); arrived++)
            assert_string_equal(frame.payload.c_str(), "message");
    }
    one.join();
    two.join();
    assert_int_equal(sent, 10000);
    assert_int_equal(arrived, 10000);
}

TEST(a_handle_moves_between_threads) {
    Pair pair;
    for (int i = 0; i < 50; i++) {
        std::thread([&] {
            std::string text = std::to_string(i);
            assert_int_equal(pair.client.send(text), WSXDP_OK);
            pair.peer.send(wire_frame(1, pair.frame(1).payload));
            assert_string_equal(pair.event(WSXDP_EVENT_MESSAGE).data.c_str(), text.c_str());
        }).join();
    }
}

TEST(handles_in_many_threads_do_not_meet) {
    std::atomic<int> failed{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.emplace_back([&, i] {
            for (int round = 0; round < 5; round++) {
                Session client("echo:");
                std::string text = text_of(1000, static_cast<unsigned>(i));
                const Seen *open = client.wait(WSXDP_EVENT_OPEN);
                if (!open || client.send(text) != WSXDP_OK) failed++;
                const Seen *back = client.wait(WSXDP_EVENT_MESSAGE);
                if (!back || back->data != text) failed++;
            }
        });
    }
    for (std::thread &thread : threads) thread.join();
    assert_int_equal(failed, 0);
}

TEST(the_callers_signal_mask_and_handlers_stay) {
    sigset_t before, after;
    struct sigaction pipe_before, pipe_after;
    pthread_sigmask(SIG_SETMASK, nullptr, &before);
    sigaction(SIGPIPE, nullptr, &pipe_before);
    {
        Pair pair;
        pair.peer.reset();
        for (int i = 0; i < 10; i++) pair.client.send("into the void"); // would raise SIGPIPE
        pair.event(WSXDP_EVENT_ERROR);
        pair.event(WSXDP_EVENT_CLOSE);
    }
    pthread_sigmask(SIG_SETMASK, nullptr, &after);
    sigaction(SIGPIPE, nullptr, &pipe_after);
    for (int i = 1; i < 65; i++) assert_int_equal(sigismember(&before, i), sigismember(&after, i));
    assert_true(pipe_before.sa_handler == pipe_after.sa_handler);
}

TESTS("threads")
