// SPDX-License-Identifier: MIT
// The poller, by epoll and by poll(2): what is in the set, who is woken, when the timer comes, and that
// whatever woke it does not do so for ever. "Comes to rest" means: a wait without cause ends by its timeout.
// And the choice between the two where the system refuses epoll.
// link: -Wl,--wrap=epoll_create1
#include "../../lib/base/alloc.h"
#include "../../lib/link/poller.h"
#include "../base/check.h"
#include <atomic>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <string>
#include <sys/resource.h>
#include <sys/socket.h>
#include <thread>
#include <unistd.h>
#include <utility>
#include <vector>

using namespace wx;

static int refuse_epoll_with = 0; // errno; 0: do not
extern "C" int __real_epoll_create1(int flags);
extern "C" int __wrap_epoll_create1(int flags) {
    if (refuse_epoll_with == 0) return __real_epoll_create1(flags);
    errno = refuse_epoll_with;
    return -1;
}

namespace {

PollerKind kind_of(void **state) { return *static_cast<const PollerKind *>(*state); }

struct Fixture {
    Poller poller;
    ErrorText error;
    int ends[2];
    size_t descriptors = open_descriptors();
    explicit Fixture(void **state) {
        assert_int_equal(poller_open(&poller, kind_of(state), &error), WSXDP_OK);
        assert_int_equal(poller.epoll_fd >= 0, kind_of(state) == PollerKind::epoll);
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
    // With epoll that is what a host sees; with poll(2), what the next wait will.
    bool readable_from_outside() {
        pollfd at = {poller.epoll_fd >= 0 ? poller.epoll_fd : poller.event_fd, POLLIN, 0};
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

void test_interests(void **state) {
    Fixture f(state);
    PollerEvent events[4];
    assert_int_equal(poller_add(&f.poller, f.ends[0], 7, true, false), 0);
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
    assert_int_equal(poller_add(&f.poller, -1, 7, true, false), EBADF);
}

void test_neither_interest(void **state) {
    Fixture f(state);
    PollerEvent events[4];
    assert_int_equal(poller_add(&f.poller, f.ends[0], 7, true, true), 0);
    poller_change(&f.poller, f.ends[0], 7, false, false);
    poller_change(&f.poller, f.ends[0], 7, false, false);
    close(f.ends[1]); // a hang-up would be reported over and over
    f.ends[1] = -1;
    f.at_rest();
    poller_change(&f.poller, f.ends[0], 7, true, false); // back in the set
    assert_int_equal(f.wait(events), 1);
    assert_true(events[0].tag == 7 && events[0].readable && events[0].broken);
}

void test_signals(void **state) {
    Fixture f(state);
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
void test_signal_on_its_way(void **state) {
    Fixture f(state);
    f.poller.signalled = 1;
    poller_clear(&f.poller);
    assert_int_equal(f.poller.signalled, 1);
    uint64_t one = 1;
    assert_int_equal(write(f.poller.event_fd, &one, sizeof one), 8);
    assert_true(f.readable_from_outside());
    poller_clear(&f.poller);
    f.at_rest();
}

void test_foreign_signals(void **state) {
    Fixture f(state);
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

void test_timer(void **state) {
    Fixture f(state);
    PollerEvent events[4];
    Nanos start = monotonic_ns();
    poller_arm(&f.poller, start + 20 * ns_per_ms);
    if (f.poller.epoll_fd < 0) { // nobody can wait for it outside, and inside the timeout says it
        poller_arm(&f.poller, 1);
        f.at_rest();
        return;
    }
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

void test_timeouts(void **state) {
    Fixture f(state);
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
        assert_int_equal(poller_add(&f.poller, fd, 1, false, true), 0);
    assert_int_equal(poller_wait(&f.poller, events, 2, 0), 2);
    assert_int_equal(poller_wait(&f.poller, events, 4, 0), 3);
    close(more[0]);
    close(more[1]);
}

std::atomic<int> handled{0};

void test_interrupted(void **state) {
    Fixture f(state);
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

void test_open_fails(void **state) {
    rlimit old;
    getrlimit(RLIMIT_NOFILE, &old);
    size_t before = open_descriptors();
    int first = dup(2);
    close(first);
    for (unsigned allowed = 0; allowed < (kind_of(state) == PollerKind::poll ? 1 : 3); allowed++) {
        rlimit now = {static_cast<rlim_t>(first) + allowed, old.rlim_max};
        setrlimit(RLIMIT_NOFILE, &now);
        Poller poller;
        ErrorText error;
        int status = poller_open(&poller, kind_of(state), &error);
        setrlimit(RLIMIT_NOFILE, &old);
        check_error(status, error, WSXDP_E_DESCRIPTORS, "ulimit -n");
        assert_int_equal(open_descriptors(), before);
    }
    Poller broken;
    broken.kind = kind_of(state);
    PollerEvent events[1];
    assert_int_equal(poller_wait(&broken, events, 1, 0), WSXDP_E_SYSTEM);
}

// Wakers as in the engine: work first, then the signal. Each is seen, and at the end all is quiet.
void test_wakers(void **state) {
    Fixture f(state);
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

// Descriptors come and go, with numbers far apart, and each event carries its own tag.
void test_many(void **state) {
    Fixture f(state);
    constexpr int pairs = 200;
    int ends[pairs][2];
    for (int i = 0; i < pairs; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends[i]), 0);
        assert_int_equal(poller_add(&f.poller, ends[i][0], static_cast<uint64_t>(i), true, false), 0);
    }
    assert_int_equal(poller_add(&f.poller, ends[7][0], 7, true, false), EEXIST);
    for (int i = 0; i < pairs; i += 3) poller_remove(&f.poller, ends[i][0]);
    for (int i = 1; i < pairs; i += 3) poller_change(&f.poller, ends[i][0], 0, false, false);
    for (int i = 1; i < pairs; i += 6)
        assert_int_equal(poller_change(&f.poller, ends[i][0], static_cast<uint64_t>(1000 + i), true, false),
                         0);
    for (auto &pair : ends) assert_int_equal(write(pair[1], "x", 1), 1);
    bool seen[pairs] = {};
    PollerEvent events[Poller::batch];
    // In small batches: what is left out of one comes in another, though nothing is read.
    for (int round = 0; round < pairs; round++) {
        int count = poller_wait(&f.poller, events, 5, 0);
        assert_int_equal(count, 5);
        for (int i = 0; i < count; i++) {
            uint64_t number = events[i].tag % 1000;
            assert_true(number % 3 == 2 || (number % 6 == 1 && events[i].tag == 1000 + number));
            assert_true(events[i].readable && !events[i].writable);
            seen[number] = true;
        }
    }
    for (int i = 0; i < pairs; i++) assert_int_equal(seen[i], i % 3 == 2 || i % 6 == 1);
    for (auto &pair : ends) poller_remove(&f.poller, pair[0]);
    f.at_rest();
    for (auto &pair : ends)
        for (int end : pair) close(end);
}

// Each refusal of an epoll instance leads to poll(2), unless epoll was asked for by name.
void test_choice(void **) {
    size_t before = open_descriptors();
    for (int cause : {ENOSYS, EPERM, EMFILE, ENOMEM}) {
        refuse_epoll_with = cause;
        Poller automatic, named;
        ErrorText error;
        assert_int_equal(poller_open(&automatic, PollerKind::automatic, &error), WSXDP_OK);
        assert_string_equal(poller_name(&automatic), "poll");
        poller_close(&automatic);
        int status = poller_open(&named, PollerKind::epoll, &error);
        refuse_epoll_with = 0;
        int code = cause == EMFILE ? WSXDP_E_DESCRIPTORS : cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_SYSTEM;
        check_error(status, error, code, "poller=auto takes poll(2)");
        assert_int_equal(error.system_errno, cause);
    }
    Poller poller;
    ErrorText error;
    assert_int_equal(poller_open(&poller, PollerKind::automatic, &error), WSXDP_OK);
    assert_string_equal(poller_name(&poller), "epoll");
    poller_close(&poller);
    assert_int_equal(open_descriptors(), before);
}

// Without memory for a longer list the descriptor is refused, and those in it are still watched.
void test_list_out_of_memory(void **state) {
    Fixture f(state);
    if (kind_of(state) != PollerKind::poll) return; // the kernel's list; see test_watching.cc
    int refused = 0;
    int copies[64];
    for (int &copy : copies) copy = dup(f.ends[0]);
    for (int copy : copies) {
        allocation_fail_after(0);
        int cause = poller_add(&f.poller, copy, 5, true, false);
        allocation_fail_after(-1);
        assert_true(cause == 0 || cause == ENOMEM);
        refused += cause != 0;
        if (cause != 0)
            check_error(poller_explain(&f.poller, cause, &f.error), f.error, WSXDP_E_MEMORY, "list");
    }
    assert_in_range(refused, 1, 63);
    assert_int_equal(write(f.ends[1], "x", 1), 1);
    PollerEvent events[64];
    assert_int_equal(poller_wait(&f.poller, events, 64, 0), 64 - refused);
    for (int copy : copies) close(copy);
}

const PollerKind both[] = {PollerKind::epoll, PollerKind::poll};

} // namespace

int main() {
    const std::pair<const char *, CMUnitTestFunction> cases[] = {
        {"interests", test_interests},
        {"neither interest", test_neither_interest},
        {"signals", test_signals},
        {"signal on its way", test_signal_on_its_way},
        {"foreign signals", test_foreign_signals},
        {"timer", test_timer},
        {"timeouts", test_timeouts},
        {"interrupted", test_interrupted},
        {"open fails", test_open_fails},
        {"wakers", test_wakers},
        {"many", test_many},
        {"list out of memory", test_list_out_of_memory},
    };
    std::vector<std::string> names;
    std::vector<CMUnitTest> tests = {cmocka_unit_test(test_choice)};
    names.reserve(2 * sizeof cases / sizeof *cases);
    for (const PollerKind &kind : both)
        for (auto &row : cases) {
            names.push_back(std::string(kind == PollerKind::poll ? "poll: " : "epoll: ") + row.first);
            tests.push_back(
                {names.back().c_str(), row.second, nullptr, nullptr, const_cast<PollerKind *>(&kind)});
        }
    return _cmocka_run_group_tests("link: poller", tests.data(), tests.size(), nullptr, nullptr);
}
