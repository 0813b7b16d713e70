// SPDX-License-Identifier: MIT
// link: -Wl,--wrap=syscall
// The bell and the waiter: what ends a sleep and when, words that somebody wrote over, kernels and filters
// without membarrier, and stages in threads and in processes that work, doze and wake each other at random
// times. A wake-up is lost if a sleep ends by its timeout although a ringer was done ringing before. Every
// system call of the bell goes through syscall(), which is counted here and made to fail.
#include "../../lib/ring/bell.h"
#include "../../lib/ring/spsc.h"
#include "../base/registry.h"
#include <algorithm>
#include <errno.h>
#include <functional>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <memory>
#include <pthread.h>
#include <random>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using namespace wx;

// Of the whole program; a test that uses them sets them back.
static std::atomic<uint64_t> system_calls{0};
static std::atomic<int> failing_membarrier{-1}; // a command
static thread_local bool futex_timed_out;       // this thread's last

extern "C" long __real_syscall(long number, ...);
extern "C" long __wrap_syscall(long number, ...) {
    va_list list;
    va_start(list, number);
    long a[6];
    for (long &argument : a) argument = va_arg(list, long);
    va_end(list);
    system_calls++;
    if (number == SYS_membarrier && a[0] == failing_membarrier) {
        errno = EPERM;
        return -1;
    }
    long result = __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
    if (number == SYS_futex) futex_timed_out = result != 0 && errno == ETIMEDOUT;
    return result;
}

namespace {

constexpr BellOrder orders[] = {BellOrder::ringer_fences, BellOrder::process_barrier,
                                BellOrder::machine_barrier};
constexpr Nanos hang = 10 * ns_per_s; // a machine that is busy with other things is not a hang

BellReach reach_of(BellOrder order) {
    return order == BellOrder::machine_barrier ? BellReach::machine : BellReach::process;
}

uint32_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? static_cast<uint32_t>(strtoul(text, nullptr, 10)) : 1;
}

bool nothing() { return false; }

// A sleeper and a ringer of one bell.
struct Pair {
    BellWords words;
    WaitCounters sleeping, ringing;
    BellSleeper sleeper;
    BellRinger ringer;

    explicit Pair(BellOrder order) {
        memset(static_cast<void *>(this), 0, sizeof *this);
        if (order != BellOrder::ringer_fences) assert_int_equal(bell_order(reach_of(order)), order);
        sleeper.open(&words, order, &sleeping);
        ringer.open(&words, reach_of(order), &ringing);
    }
    // What the sleep says, and that it lasted from `least` to long before `hang`.
    void check_wait(BellWake wanted, Nanos deadline, Nanos least) {
        Nanos began = monotonic_ns();
        BellWake wake = sleeper.wait(began, deadline, nothing);
        Nanos lasted = monotonic_ns() - began;
        assert_int_equal(wake, wanted);
        assert_in_range(lasted, least, hang);
        assert_int_equal(words.word, sleeper.awake());
    }
};

// ---- what the kernel offers ----

TEST(order_of_this_kernel) {
    assert_int_equal(bell_order(BellReach::process), BellOrder::process_barrier);
    assert_int_equal(bell_order(BellReach::machine), BellOrder::machine_barrier);
}

TEST(order_where_membarrier_fails) {
    const int commands[][3] = {
        {MEMBARRIER_CMD_QUERY, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, MEMBARRIER_CMD_PRIVATE_EXPEDITED},
        {MEMBARRIER_CMD_QUERY, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, MEMBARRIER_CMD_GLOBAL_EXPEDITED}};
    for (BellReach reach : {BellReach::process, BellReach::machine})
        for (int command : commands[static_cast<int>(reach)]) {
            failing_membarrier = command;
            BellOrder order = bell_order(reach);
            BellWords words = {};
            BellRinger ringer;
            ringer.open(&words, reach, nullptr);
            failing_membarrier = -1;
            assert_int_equal(order, BellOrder::ringer_fences);
            // In another process nobody can do it for the ringer.
            assert_int_equal(ringer.fences, reach == BellReach::machine);
        }
}

// A filter that comes after the bell was opened: once there is no sleep, then the ringers fence.
TEST(membarrier_fails_later) {
    Pair pair(BellOrder::process_barrier);
    pair.check_wait(BellWake::timeout, monotonic_ns() + ns_per_ms, ns_per_ms / 2);
    assert_int_equal(pair.words.word, bell_orders);
    failing_membarrier = MEMBARRIER_CMD_PRIVATE_EXPEDITED;
    pair.check_wait(BellWake::found, never, 0);
    assert_int_equal(pair.words.word, 0);
    assert_int_equal(pair.sleeping.sleeps, 1);
    assert_false(pair.ringer.ring());
    pair.check_wait(BellWake::timeout, monotonic_ns() + ns_per_ms, ns_per_ms / 2);
    failing_membarrier = -1;
    assert_int_equal(pair.sleeping.sleeps, 2);
}

// ---- one sleep ----

TEST(memory_never_written_says_fence) {
    BellWords words = {};
    BellRinger ringer;
    WaitCounters counters = {};
    ringer.open(&words, BellReach::process, &counters);
    assert_false(ringer.ring());
    assert_int_equal(words.word, 0); // neither is the look behind the fence taken for an announcement
}

TEST(rung_before_asleep) {
    for (BellOrder order : orders) {
        Pair pair(order);
        for (int i = 0; i < 3; i++) {
            assert_true(pair.sleeper.announce());
            assert_true(pair.ringer.ring());
            assert_false(pair.ringer.ring()); // one of many wakes
            assert_int_equal(pair.sleeper.sleep(monotonic_ns(), never), BellWake::rung);
            assert_false(pair.ringer.ring());
        }
        assert_int_equal(pair.sleeping.sleeps, 3);
        assert_int_equal(pair.sleeping.wakes, 3);
        assert_int_equal(pair.ringing.rings, 3);
    }
}

TEST(found_at_the_second_look) {
    for (BellOrder order : orders) {
        Pair pair(order);
        uint64_t before = system_calls;
        bool announced = false;
        BellWake wake = pair.sleeper.wait(0, never, [&] {
            announced = pair.words.word == (pair.sleeper.awake() | bell_asleep);
            return true;
        });
        assert_true(announced && wake == BellWake::found);
        assert_int_equal(pair.words.word, pair.sleeper.awake());
        assert_int_equal(pair.sleeping.sleeps, 0);
        assert_int_equal(system_calls - before, order == BellOrder::ringer_fences ? 0 : 1);
        assert_false(pair.ringer.ring());
    }
}

TEST(deadlines) {
    for (BellOrder order : orders) {
        Pair pair(order);
        for (Nanos ms : {1, 20, 60})
            pair.check_wait(BellWake::timeout, monotonic_ns() + ms * ns_per_ms,
                            ms * ns_per_ms - ns_per_ms / 2);
        assert_int_equal(pair.sleeping.sleeps, 3);
        uint64_t before = system_calls;
        for (Nanos past : {Nanos{INT64_MIN}, Nanos{0}, monotonic_ns()})
            pair.check_wait(BellWake::timeout, past, 0);
        assert_int_equal(system_calls - before, order == BellOrder::ringer_fences ? 0 : 3);
        assert_int_equal(pair.sleeping.sleeps, 3); // no sleep at all
        // However far the deadline is.
        pair.check_wait(BellWake::timeout, never, bell_sleep_max);
        pair.check_wait(BellWake::timeout, monotonic_ns() + bell_sleep_max + 1, bell_sleep_max);
        assert_int_equal(pair.sleeping.wakes, 0);
    }
}

// Does `disturb` every 2 ms in a thread of its own until the sleep has ended.
BellWake disturbed(Pair *pair, const std::function<void(pthread_t)> &disturb) {
    std::atomic<bool> over{false};
    pthread_t self = pthread_self();
    std::thread other([&] {
        while (!over) {
            usleep(2000);
            if (!over) disturb(self);
        }
    });
    BellWake wake = pair->sleeper.wait(monotonic_ns(), never, nothing);
    over = true;
    other.join();
    return wake;
}

TEST(signals_end_a_sleep) {
    struct sigaction action = {}, before;
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, &before);
    Pair pair(BellOrder::process_barrier);
    BellWake wake = disturbed(&pair, [](pthread_t sleeper) { pthread_kill(sleeper, SIGUSR1); });
    sigaction(SIGUSR1, &before, nullptr);
    assert_int_equal(wake, BellWake::other);
    assert_int_equal(pair.sleeping.wakes, 0);
}

TEST(wakes_for_no_reason) {
    Pair pair(BellOrder::process_barrier);
    BellWake wake = disturbed(&pair, [&](pthread_t) {
        __real_syscall(SYS_futex, reinterpret_cast<uint32_t *>(&pair.words.word), FUTEX_WAKE, 1, nullptr,
                       nullptr, 0);
    });
    assert_int_equal(wake, BellWake::other);
    assert_int_equal(pair.sleeping.wakes, 0);
    assert_int_equal(pair.sleeping.sleeps, 1);
}

// ---- words that somebody wrote over ----

constexpr uint32_t odd_words[] = {0, 1, 2, 3, 4, 5, 6, 7, 0x80000000, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF};

TEST(odd_words_while_awake) {
    for (BellOrder order : orders)
        for (uint32_t odd : odd_words) {
            Pair pair(order);
            pair.words.word = odd;
            bool woke = pair.ringer.ring();
            assert_int_equal(woke, (odd & ~bell_orders) != 0); // a useless wake-up at worst
            assert_int_equal(pair.words.word, odd & bell_orders);
            assert_false(pair.ringer.ring()); // and only one
            // The sleeper puts its own word back and is woken as ever.
            assert_true(pair.sleeper.announce());
            assert_true(pair.ringer.ring());
            assert_int_equal(pair.sleeper.sleep(monotonic_ns(), never), BellWake::rung);
            assert_int_equal(pair.words.word, pair.sleeper.awake());
        }
}

TEST(odd_words_between_announcement_and_sleep) {
    for (BellOrder order : orders)
        for (uint32_t odd : odd_words) {
            Pair pair(order);
            assert_true(pair.sleeper.announce());
            if (pair.words.word == odd) continue;
            pair.words.word = odd;
            assert_int_equal(pair.sleeper.sleep(monotonic_ns(), never), BellWake::rung);
            assert_int_equal(pair.words.word, pair.sleeper.awake());
        }
}

// Said to be awake, it is not woken, and comes back by itself.
TEST(odd_words_while_asleep) {
    for (uint32_t odd : {uint32_t{0}, bell_orders, uint32_t{0xFFFFFFFF}}) {
        Pair pair(BellOrder::process_barrier);
        Nanos began = monotonic_ns();
        BellWake wake = disturbed(&pair, [&](pthread_t) {
            pair.words.word = odd;
            if (odd != 0xFFFFFFFF) assert_false(pair.ringer.ring());
        });
        Nanos lasted = monotonic_ns() - began;
        assert_int_equal(wake, BellWake::rung); // somebody touched the word
        assert_in_range(lasted, bell_sleep_max, hang);
        assert_int_equal(pair.words.word, bell_orders);
    }
}

// ---- what waiting and ringing cost ----

TEST(asleep_costs_nothing) {
    Pair pair(BellOrder::process_barrier);
    rusage before, after;
    Nanos began = monotonic_ns();
    getrusage(RUSAGE_THREAD, &before);
    uint64_t loops = 0;
    for (; monotonic_ns() - began < ns_per_s; loops++) pair.sleeper.wait(monotonic_ns(), never, nothing);
    getrusage(RUSAGE_THREAD, &after);
    Nanos used = 0;
    for (const timeval rusage::*part : {&rusage::ru_utime, &rusage::ru_stime})
        used += ((after.*part).tv_sec - (before.*part).tv_sec) * ns_per_s +
                ((after.*part).tv_usec - (before.*part).tv_usec) * 1000;
    print_message("asleep for a second: %.3f ms of CPU, %llu sleeps\n", static_cast<double>(used) / 1e6,
                  static_cast<unsigned long long>(loops));
    assert_in_range(loops, 1, ns_per_s / bell_sleep_max + 1);
    if (used > ns_per_s / 100) throw Late{used, ns_per_s / 100}; // a busy machine charges its own work, too
}

struct Slot {
    uint64_t number;
    uint64_t check;
};
uint64_t mix(uint64_t value) { return (value ^ value >> 31) * 0x9E3779B97F4A7C15ull; }

TEST(awake_costs_no_system_call) {
    for (BellOrder order : orders) {
        constexpr uint64_t count = 100000, capacity = 256;
        Pair pair(order);
        RingWords words = {};
        std::vector<Slot> slots(capacity);
        std::thread consumer([&] {
            RingConsumer<Slot> ring;
            ring.open(&words, slots.data(), capacity);
            for (uint64_t i = 0; i < count; ring.release())
                for (; ring.front(); i++) ring.pop();
        });
        RingProducer<Slot> ring;
        ring.open(&words, slots.data(), capacity);
        uint64_t before = system_calls, rung = 0;
        for (uint64_t i = 0; i < count;) {
            i += ring.push({i, 0});
            rung += pair.ringer.ring();
        }
        uint64_t made = system_calls - before;
        consumer.join();
        assert_int_equal(rung, 0);
        assert_int_equal(pair.ringing.rings, 0);
        assert_int_equal(made, 0);
    }
}

// ---- many stages ----

constexpr uint64_t lane_slots = 64, lanes_max = 4;

// One producer's ring, and when it was done ringing for each slot.
struct Lane {
    RingWords words;
    WaitCounters counters;
    std::atomic<Nanos> rung_at[lane_slots];
    Slot slots[lane_slots];
};
struct Shared {
    BellWords bell;
    WaitCounters counters;
    Lane lanes[lanes_max];
};

// Pauses of all lengths: none, about as long as lying down takes, and so long that everybody sleeps.
void doze(std::mt19937 &random) {
    switch (random() % 8) {
    case 0:
        usleep(random() % 400);
        break;
    case 1:
        sched_yield();
        break;
    case 2:
    case 3:
    case 4: {
        Nanos until = monotonic_ns() + static_cast<Nanos>(random() % 20000);
        while (monotonic_ns() < until) cpu_relax();
        break;
    }
    default:
        break;
    }
}

// Returns what went wrong: nothing.
int run_producer(Shared *shared, uint64_t index, BellReach reach, uint64_t count) {
    Lane &lane = shared->lanes[index];
    RingProducer<Slot> ring;
    BellRinger ringer;
    ring.open(&lane.words, lane.slots, lane_slots);
    ringer.open(&shared->bell, reach, &lane.counters);
    std::mt19937 random(seed() * 97 + static_cast<uint32_t>(index));
    for (uint64_t i = 0; i < count;) {
        uint64_t first = i;
        for (uint64_t batch = 1 + random() % 4; batch && i < count; batch--, i++) {
            Slot *slot = ring.claim();
            if (slot == nullptr) break;
            *slot = {i, mix(i)};
            lane.rung_at[i % lane_slots].store(0, std::memory_order_relaxed);
        }
        ring.publish();
        ringer.ring();
        Nanos now = monotonic_ns();
        for (uint64_t j = first; j < i; j++) lane.rung_at[j % lane_slots].store(now);
        first == i ? sched_yield() : (doze(random), 0);
    }
    return ring.corrupt;
}

struct Outcome {
    uint64_t wrong = 0, lost = 0, late = 0;
    Nanos lasted = 0;
};

// A slot that waits, of which its ringer was done before the sleep's deadline.
bool overslept(Shared *shared, RingConsumer<Slot> *rings, uint64_t lanes, Nanos deadline) {
    for (uint64_t i = 0; i < lanes; i++) {
        if (rings[i].look() == 0) continue;
        Nanos rung = shared->lanes[i].rung_at[rings[i].head % lane_slots];
        if (rung != 0 && rung < deadline) return true;
    }
    return false;
}

Outcome run_consumer(Shared *shared, uint64_t lanes, BellSleeper *bell, uint64_t count) {
    RingConsumer<Slot> rings[lanes_max];
    for (uint64_t i = 0; i < lanes; i++)
        rings[i].open(&shared->lanes[i].words, shared->lanes[i].slots, lane_slots);
    std::mt19937 random(seed());
    Waiter waiter;
    Outcome outcome;
    Nanos began = monotonic_ns();
    waiter.open({WaitMode::adaptive, 5000}, &shared->counters, began);
    for (uint64_t taken = 0; taken < lanes * count;) {
        bool moved = false;
        for (uint64_t i = 0; i < lanes; i++) {
            for (Slot *slot; (slot = rings[i].front()); rings[i].pop(), taken++, moved = true)
                outcome.wrong += slot->number != rings[i].head || slot->check != mix(slot->number);
            rings[i].release();
        }
        Nanos now = monotonic_ns();
        Nanos due = random() % 4 ? never : now + static_cast<Nanos>(random() % 500000);
        if (waiter.after(moved, now, due) != WaitNext::sleep) continue;
        futex_timed_out = false;
        BellWake wake = bell->wait(now, due, [&] {
            for (uint64_t i = 0; i < lanes; i++)
                if (rings[i].look()) return true;
            return false;
        });
        Nanos deadline = due - now > bell_sleep_max ? now + bell_sleep_max : due;
        if (wake == BellWake::found || !futex_timed_out || !overslept(shared, rings, lanes, deadline))
            continue;
        // The word was cleared: some ringer is about to wake us, and lost its core just before.
        (wake == BellWake::rung ? outcome.late : outcome.lost)++;
    }
    outcome.lasted = monotonic_ns() - began;
    for (uint64_t i = 0; i < lanes; i++) outcome.wrong += rings[i].corrupt || rings[i].look() != 0;
    return outcome;
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
constexpr uint64_t lane_count = 5000;
#else
constexpr uint64_t lane_count = 20000;
#endif

void check_outcome(const char *what, BellOrder order, const Shared &shared, const Outcome &outcome) {
    const WaitCounters &own = shared.counters;
    uint64_t rings = 0;
    for (const Lane &lane : shared.lanes) rings += lane.counters.rings;
    print_message("%s, order %d: %.2f s, %llu loops, %llu busy, %llu sleeps, %llu woken, %llu rings\n", what,
                  static_cast<int>(order), static_cast<double>(outcome.lasted) / 1e9,
                  static_cast<unsigned long long>(own.loops), static_cast<unsigned long long>(own.busy),
                  static_cast<unsigned long long>(own.sleeps), static_cast<unsigned long long>(own.wakes),
                  static_cast<unsigned long long>(rings));
    if (outcome.wrong || outcome.lost)
        fail_msg("seed %u: %llu slots wrong, %llu wake-ups lost", seed(),
                 static_cast<unsigned long long>(outcome.wrong),
                 static_cast<unsigned long long>(outcome.lost));
    assert_true(outcome.late <= own.sleeps / 10);
    assert_true(own.sleeps > 100 && own.wakes > 50 && own.busy > 100 && own.loops > own.busy);
    // Who was woken was rung for; a ring may meet a sleeper that just got up by itself.
    assert_true(own.wakes <= own.sleeps && own.wakes <= rings);
}

TEST(threads_lose_no_wake_up) {
    for (BellOrder order : orders) {
        auto shared = std::make_unique<Shared>();
        memset(static_cast<void *>(shared.get()), 0, sizeof(Shared));
        BellSleeper bell;
        assert_true(order == BellOrder::ringer_fences || bell_order(reach_of(order)) == order);
        bell.open(&shared->bell, order, &shared->counters);
        std::vector<std::thread> producers;
        for (uint64_t i = 0; i < lanes_max; i++)
            producers.emplace_back([&, i] { run_producer(shared.get(), i, reach_of(order), lane_count); });
        Outcome outcome = run_consumer(shared.get(), lanes_max, &bell, lane_count);
        for (std::thread &producer : producers) producer.join();
        check_outcome("threads", order, *shared, outcome);
    }
}

struct Mapped {
    int fd = memfd_create("test", MFD_CLOEXEC);
    Shared *shared = nullptr;
    Mapped() {
        assert_true(fd >= 0 && ftruncate(fd, sizeof(Shared)) == 0);
        shared = map();
        assert_non_null(shared);
    }
    ~Mapped() {
        munmap(shared, sizeof(Shared));
        close(fd);
    }
    Shared *map() const {
        void *place = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        return place == MAP_FAILED ? nullptr : static_cast<Shared *>(place);
    }
};

// Each producer is a process with a map of its own, at another address. One of them cannot be reached by
// membarrier and fences for itself.
TEST(processes_lose_no_wake_up) {
    for (BellOrder order : {BellOrder::ringer_fences, BellOrder::machine_barrier}) {
        Mapped mapped;
        BellSleeper bell;
        assert_true(order == BellOrder::ringer_fences || bell_order(BellReach::machine) == order);
        bell.open(&mapped.shared->bell, order, &mapped.shared->counters);
        std::vector<pid_t> children;
        for (uint64_t i = 0; i < lanes_max; i++) {
            pid_t child = fork();
            assert_true(child >= 0);
            if (child == 0) {
                Shared *own = mapped.map(); // while the parent's is still there: another address
                if (i == 0) failing_membarrier = MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED;
                _exit(own == nullptr || own == mapped.shared
                          ? 2
                          : run_producer(own, i, BellReach::machine, lane_count));
            }
            children.push_back(child);
        }
        Outcome outcome = run_consumer(mapped.shared, lanes_max, &bell, lane_count);
        int bad = 0;
        for (pid_t child : children) {
            int status = 0;
            bad += waitpid(child, &status, 0) != child || status != 0;
        }
        assert_int_equal(bad, 0);
        check_outcome("processes", order, *mapped.shared, outcome);
    }
}

// Two stages that sleep between any two steps: each slot and each bit of room is waited for.
void bounce(RingWords *in, Slot *in_slot, RingWords *out, Slot *out_slot, BellSleeper *bell,
            BellRinger *ringer, uint64_t count, bool begins, uint64_t *slow) {
    RingConsumer<Slot> from;
    RingProducer<Slot> to;
    from.open(in, in_slot, 1);
    to.open(out, out_slot, 1);
    for (uint64_t i = 0; i < count; i++) {
        if (i || !begins) {
            while (!from.front()) {
                Nanos now = monotonic_ns();
                BellWake wake = bell->wait(now, never, [&] { return from.look() != 0; });
                *slow += wake == BellWake::timeout && from.look() == 0; // the other had 100 ms to answer
            }
            from.pop();
            from.release();
        }
        to.push({i, 0});
        ringer->ring();
    }
}

TEST(two_stages_wake_each_other) {
    for (BellOrder order : orders) {
        constexpr uint64_t count = 3000;
        Pair a(order), b(order);
        RingWords words[2] = {};
        Slot slots[2] = {};
        uint64_t slow[2] = {};
        BellRinger to_a, to_b;
        to_a.open(&a.words, reach_of(order), &b.ringing);
        to_b.open(&b.words, reach_of(order), &a.ringing);
        std::thread other([&] {
            bounce(&words[0], &slots[0], &words[1], &slots[1], &b.sleeper, &to_a, count, false, &slow[1]);
        });
        bounce(&words[1], &slots[1], &words[0], &slots[0], &a.sleeper, &to_b, count, true, &slow[0]);
        other.join();
        assert_int_equal(words[1].tail, count);
        const uint64_t fewer = std::min(a.sleeping.sleeps.load(), b.sleeping.sleeps.load());
        if (fewer <= count / 10) throw Late{static_cast<int64_t>(fewer), static_cast<int64_t>(count / 10)};
        print_message("two stages, order %d: %llu and %llu sleeps, %llu and %llu long ones\n",
                      static_cast<int>(order), static_cast<unsigned long long>(a.sleeping.sleeps),
                      static_cast<unsigned long long>(b.sleeping.sleeps),
                      static_cast<unsigned long long>(slow[0]), static_cast<unsigned long long>(slow[1]));
    }
}

// The ringer publishes and rings at every moment of the sleeper's lying down, in rounds that both begin
// together: nobody else would wake the sleeper, so a wake-up that is lost is seen.
struct Rounds {
    struct alignas(cache_line_pair) Line {
        std::atomic<uint64_t> value{0};
    };
    Line sleeper_at, ringer_at, position, others[16];

    static void meet(Line &own, Line &other, uint64_t round) {
        own.value.store(round);
        for (int spins = 0; other.value.load() < round; spins++)
            spins > 1000 ? (void)sched_yield() : cpu_relax();
    }
    // Up to some microseconds, mostly short.
    static void pause(std::mt19937 &random) {
        uint32_t most = 32u << random() % 7;
        for (uint32_t i = random() % most; i-- > 0;) cpu_relax();
    }
    // Lines that the other side has: a store to one takes long, and those behind it wait for it.
    void delay_stores(uint64_t value) {
        for (Line &line : others) line.value.store(value, std::memory_order_relaxed);
    }
};

TEST(every_moment_of_lying_down) {
    for (BellOrder order : orders) {
        constexpr uint64_t count = 30000;
        Pair pair(order);
        auto shared = std::make_unique<Rounds>();
        std::atomic<Nanos> rung_at{0};
        std::thread ringer([&] {
            std::mt19937 random(seed() + 1);
            for (uint64_t round = 1; round <= count; round++) {
                Rounds::meet(shared->ringer_at, shared->sleeper_at, round);
                Rounds::pause(random);
                shared->delay_stores(round);
                shared->position.value.store(round, std::memory_order_release);
                pair.ringer.ring();
                rung_at = monotonic_ns();
            }
        });
        std::mt19937 random(seed());
        uint64_t lost = 0, found = 0;
        for (uint64_t round = 1; round <= count; round++) {
            auto look = [&] { return shared->position.value.load(std::memory_order_acquire) == round; };
            for (Rounds::Line &line : shared->others) line.value.store(0, std::memory_order_relaxed);
            Rounds::meet(shared->sleeper_at, shared->ringer_at, round);
            if (random() % 2) Rounds::pause(random); // mostly before the ringer is
            while (!look()) {
                if (lost > 10) continue; // known to be bad: no more sleeps of the longest kind
                Nanos now = monotonic_ns();
                futex_timed_out = false;
                BellWake wake = pair.sleeper.wait(now, never, look);
                found += wake == BellWake::found;
                if (wake == BellWake::found || !futex_timed_out || !look()) continue;
                lost += rung_at > now && rung_at < now + bell_sleep_max;
            }
        }
        ringer.join();
        print_message("order %d: %llu rounds, %llu sleeps, %llu found at the second look, %llu rings\n",
                      static_cast<int>(order), static_cast<unsigned long long>(count),
                      static_cast<unsigned long long>(pair.sleeping.sleeps),
                      static_cast<unsigned long long>(found),
                      static_cast<unsigned long long>(pair.ringing.rings));
        assert_int_equal(lost, 0);
        // Fewer and nothing was looked for: the two threads were never on processors at the same time.
        const uint64_t looks = pair.sleeping.sleeps + found;
        if (looks <= count / 100) throw Late{static_cast<int64_t>(looks), static_cast<int64_t>(count / 100)};
    }
}

// ---- the waiter ----

TEST(what_a_waiter_says) {
    struct Row {
        WaitMode mode;
        bool moved;
        Nanos idle, due_in;
        WaitNext next;
    };
    constexpr Nanos far = 1000 * ns_per_s;
    const Row rows[] = {
        {WaitMode::spin, true, 0, far, WaitNext::step},
        {WaitMode::spin, false, 0, far, WaitNext::relax},
        {WaitMode::spin, false, 3600 * ns_per_s, far, WaitNext::relax},
        {WaitMode::yield, true, far, far, WaitNext::step},
        {WaitMode::yield, false, 999, far, WaitNext::relax},
        {WaitMode::yield, false, 1000, far, WaitNext::yield},
        {WaitMode::yield, false, far, -1, WaitNext::yield},
        {WaitMode::adaptive, true, far, far, WaitNext::step},
        {WaitMode::adaptive, false, -5, far, WaitNext::relax}, // the clock was set by its calibration
        {WaitMode::adaptive, false, 999, far, WaitNext::relax},
        {WaitMode::adaptive, false, 1000, far, WaitNext::sleep},
        {WaitMode::adaptive, false, 1000, 1, WaitNext::sleep},
        {WaitMode::adaptive, false, 1000, 0, WaitNext::relax}, // due: there is a step to take
        {WaitMode::adaptive, false, far, -far, WaitNext::relax},
    };
    constexpr Nanos start = 5 * far;
    for (const Row &row : rows) {
        WaitCounters counters = {};
        Waiter waiter;
        waiter.open({row.mode, 1000}, &counters, start);
        Nanos now = start + row.idle;
        assert_int_equal(waiter.after(row.moved, now, now + row.due_in), row.next);
        assert_int_equal(counters.loops, 1);
        assert_int_equal(counters.busy, row.moved);
        // Whatever moved something spins anew.
        assert_int_equal(waiter.after(true, now, never), WaitNext::step);
        assert_int_equal(waiter.after(false, now + 999, never), WaitNext::relax);
        assert_int_equal(waiter.after(false, now + 1000, never) == WaitNext::relax,
                         row.mode == WaitMode::spin);
        assert_int_equal(counters.loops, 4);
        assert_int_equal(counters.busy, 1 + row.moved);
    }
}

} // namespace

TESTS("ring: bell")
