// SPDX-License-Identifier: MIT
// The poller: what is in the set, who is woken, when the timer comes, and that whatever woke it does not do
// so for ever. "Comes to rest" means: a wait without cause ends by its timeout.
#include "../../lib/link/poller.h"
#include "../base/check.h"
#include <atomic>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>

using namespace wx;

namespace {

struct Fixture {
    Poller poller;
    ErrorText error;
    int ends[2];
    size_t descriptors = open_descriptors();
    Fixture() {
        assert_int_equal(poller_open(&poller, &error), WSXDP_OK);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends), 0);
    }
    ~Fixture() {
        poller_close(&poller);
        for (int end : ends)
            if (end >= 0) close(end);
        if (open_descriptors() != descriptors) fail_msg("descriptors left behind");
    }
    int wait(PollerEvent *out, Nanos timeout = 0) {
        return poller_wait(&poller, out, Poller::batch, timeout);
    }
    bool readable_from_outside() {
        pollfd at = {poller.epoll_fd, POLLIN, 0};
        return poll(&at, 1, 0) == 1;
    }
    void at_rest() {
        PollerEvent events[4];
        Nanos start = monotonic_ns();
        assert_int_equal(wait(events, 5 * ns_per_ms), 0);
        assert_true(monotonic_ns() - start >= 5 * ns_per_ms);
        assert_false(readable_from_outside());
    }
};

void test_interests(void **) {
    Fixture f;
    PollerEvent events[4];
    assert_int_equal(poller_add(&f.poller, f.ends[0], 7, true, false), WSXDP_OK);
    f.at_rest();
    assert_int_equal(write(f.ends[1], "x", 1), 1);
    for (int i = 0; i < 2; i++) { // level-triggered: comes again
        assert_int_equal(f.wait(events), 1);
        assert_true(events[0].tag == 7 && events[0].readable && !events[0].writable && !events[0].broken);
    }
    poller_change(&f.poller, f.ends[0], 8, true, true);
    assert_int_equal(f.wait(events), 1);
    assert_true(events[0].tag == 8 && events[0].readable && events[0].writable);
    poller_change(&f.poller, f.ends[0], 9, false, true);
    assert_int_equal(f.wait(events), 1);
    assert_true(events[0].tag == 9 && !events[0].readable && events[0].writable);
    poller_remove(&f.poller, f.ends[0]);
    f.at_rest();
    poller_remove(&f.poller, f.ends[0]); // twice does no harm
    assert_int_equal(poller_add(&f.poller, -1, 7, true, false), WSXDP_E_SYSTEM);
}

void test_neither_interest(void **) {
    Fixture f;
    PollerEvent events[4];
    assert_int_equal(poller_add(&f.poller, f.ends[0], 7, true, true), WSXDP_OK);
    poller_change(&f.poller, f.ends[0], 7, false, false);
    poller_change(&f.poller, f.ends[0], 7, false, false);
    close(f.ends[1]); // a hang-up would be reported over and over
    f.ends[1] = -1;
    f.at_rest();
    poller_change(&f.poller, f.ends[0], 7, true, false); // back in the set
    assert_int_equal(f.wait(events), 1);
    assert_true(events[0].tag == 7 && events[0].readable && events[0].broken);
}

void test_signals(void **) {
    Fixture f;
    PollerEvent events[4];
    for (int i = 0; i < 5; i++) poller_signal(&f.poller);
    assert_true(f.readable_from_outside());
    assert_int_equal(f.wait(events, 10 * ns_per_s), 0); // returns at once, own events are not counted
    poller_clear(&f.poller);
    f.at_rest(); // five were one
    poller_clear(&f.poller);
    poller_signal(&f.poller);
    assert_true(f.readable_from_outside());
    poller_clear(&f.poller);
    f.at_rest();
}

// A waker that was interrupted between its flag and its write: the clear in between must not forget the
// write.
void test_signal_on_its_way(void **) {
    Fixture f;
    f.poller.signalled = 1;
    poller_clear(&f.poller);
    assert_int_equal(f.poller.signalled, 1);
    uint64_t one = 1;
    assert_int_equal(write(f.poller.event_fd, &one, sizeof one), 8);
    assert_true(f.readable_from_outside());
    poller_clear(&f.poller);
    f.at_rest();
}

void test_foreign_signals(void **) {
    Fixture f;
    uint64_t signal = Poller::foreign_signal;
    poller_expect(&f.poller);
    poller_expect(&f.poller);
    poller_clear(&f.poller);
    assert_int_equal(write(f.poller.event_fd, &signal, sizeof signal), 8);
    assert_true(f.readable_from_outside());
    poller_clear(&f.poller);
    f.at_rest();
    assert_int_equal(f.poller.foreign_due, 1);
    poller_signal(&f.poller);
    assert_int_equal(write(f.poller.event_fd, &signal, sizeof signal), 8);
    poller_clear(&f.poller);
    f.at_rest();
    assert_int_equal(f.poller.foreign_due, 0);
    assert_int_equal(f.poller.signalled, 0);
    // Only the foreign one was there: ours, under way, is not forgotten.
    poller_expect(&f.poller);
    f.poller.signalled = 1;
    assert_int_equal(write(f.poller.event_fd, &signal, sizeof signal), 8);
    poller_clear(&f.poller);
    assert_int_equal(f.poller.signalled, 1);
}

void test_timer(void **) {
    Fixture f;
    PollerEvent events[4];
    Nanos start = monotonic_ns();
    poller_arm(&f.poller, start + 20 * ns_per_ms);
    assert_false(f.readable_from_outside());
    assert_int_equal(f.wait(events, 5 * ns_per_s), 0);
    assert_in_range(monotonic_ns() - start, 20 * ns_per_ms, 500 * ns_per_ms);
    f.at_rest(); // although nobody armed it anew
    for (Nanos past : {Nanos{0}, Nanos{1}, start}) {
        poller_arm(&f.poller, past);
        assert_true(f.readable_from_outside());
        poller_arm(&f.poller, never);
        f.at_rest();
    }
    poller_arm(&f.poller, start);
    assert_int_equal(f.wait(events), 0);
    poller_arm(&f.poller, start); // the same again: counts again
    assert_true(f.readable_from_outside());
    poller_arm(&f.poller, monotonic_ns() + ns_per_s); // moved away
    f.at_rest();
}

void test_timeouts(void **) {
    Fixture f;
    PollerEvent events[4];
    for (Nanos span : {Nanos{0}, Nanos{1}, 100 * ns_per_ms / 1000, 7 * ns_per_ms, 30 * ns_per_ms}) {
        Nanos start = monotonic_ns();
        assert_int_equal(f.wait(events, span), 0);
        assert_in_range(monotonic_ns() - start, span, span + 300 * ns_per_ms);
    }
    // Capped, and the rest comes next.
    int more[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, more), 0);
    for (int fd : {f.ends[0], more[0], more[1]})
        assert_int_equal(poller_add(&f.poller, fd, 1, false, true), WSXDP_OK);
    assert_int_equal(poller_wait(&f.poller, events, 2, 0), 2);
    assert_int_equal(poller_wait(&f.poller, events, 4, 0), 3);
    close(more[0]);
    close(more[1]);
}

std::atomic<int> handled{0};

void test_interrupted(void **) {
    Fixture f;
    PollerEvent events[4];
    struct sigaction action = {}, old;
    action.sa_handler = [](int) { handled++; };
    assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
    pthread_t waiter = pthread_self();
    std::atomic<bool> returned{false};
    std::thread sender([&] {
        while (!returned) {
            usleep(2000);
            pthread_kill(waiter, SIGUSR1);
        }
    });
    int result = f.wait(events, -1);
    returned = true;
    sender.join();
    sigaction(SIGUSR1, &old, nullptr);
    assert_int_equal(result, 0);
    assert_true(handled > 0);
}

void test_open_fails(void **) {
    rlimit old;
    getrlimit(RLIMIT_NOFILE, &old);
    size_t before = open_descriptors();
    int first = dup(2);
    close(first);
    for (unsigned allowed = 0; allowed < 3; allowed++) {
        rlimit now = {static_cast<rlim_t>(first) + allowed, old.rlim_max};
        setrlimit(RLIMIT_NOFILE, &now);
        Poller poller;
        ErrorText error;
        int status = poller_open(&poller, &error);
        setrlimit(RLIMIT_NOFILE, &old);
        check_error(status, error, WSXDP_E_DESCRIPTORS, "ulimit -n");
        assert_int_equal(open_descriptors(), before);
    }
    Poller broken;
    PollerEvent events[1];
    assert_int_equal(poller_wait(&broken, events, 1, 0), WSXDP_E_SYSTEM);
}

// Wakers as in the engine: work first, then the signal. Each is seen, and at the end all is quiet.
void test_wakers(void **) {
    Fixture f;
    constexpr int each = 20000, wakers = 3;
    std::atomic<int> work{0}, running{wakers};
    std::thread threads[wakers];
    for (std::thread &thread : threads)
        thread = std::thread([&] {
            for (int i = 0; i < each; i++) {
                work++;
                poller_signal(&f.poller);
                if (i % 64 == 0) std::this_thread::yield();
            }
            running--;
        });
    int done = 0;
    PollerEvent events[4];
    while (done < each * wakers) {
        Nanos start = monotonic_ns();
        assert_int_equal(f.wait(events, 20 * ns_per_s), 0);
        if (monotonic_ns() - start > 10 * ns_per_s)
            fail_msg("slept over a signal: %d of %d", done, each * wakers);
        poller_clear(&f.poller);
        done = work;
    }
    for (std::thread &thread : threads) thread.join();
    poller_clear(&f.poller);
    f.at_rest();
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_interests),       cmocka_unit_test(test_neither_interest),
        cmocka_unit_test(test_signals),         cmocka_unit_test(test_signal_on_its_way),
        cmocka_unit_test(test_foreign_signals), cmocka_unit_test(test_timer),
        cmocka_unit_test(test_timeouts),        cmocka_unit_test(test_interrupted),
        cmocka_unit_test(test_open_fails),      cmocka_unit_test(test_wakers),
    };
    return cmocka_run_group_tests_name("link: poller", tests, nullptr, nullptr);
}
