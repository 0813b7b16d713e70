// SPDX-License-Identifier: MIT
// How a stage with nothing to do sleeps, and how those who give it work wake it: one word in the shared
// region, written by the sleeper when it lies down and cleared by whoever wakes it first. Any number of
// stages ring one bell. Giving room back in a ring that was full is work like any other: who releases rings,
// too.
//
// The sleeper announces itself, looks at every input once more, then sleeps. A ringer publishes, then looks
// for the announcement. Each stores one word and then loads the other's, and processors let a load pass an
// earlier store: both could look too early, and the sleeper would sleep on what it never saw. Somebody has to
// forbid that, and it is the sleeper, who has time: membarrier(2) makes every running thread of the process
// (PRIVATE_EXPEDITED), or of all processes that registered for it (GLOBAL_EXPEDITED), pass "through a state
// where all memory accesses to user-space addresses match program order" before the call returns; threads
// that do not run are in such a state already. So at the sleeper's second look a store published earlier is
// seen, and whoever publishes later sees the announcement. A ringer whose consumer is awake pays one load of
// a line that nobody writes, once for a batch. The price is an interrupt, of a microsecond or so, for the
// running threads named above whenever a stage lies down; it is less than the system call that wakes it
// again.
//
// Where the kernel has no membarrier (before 4.16, or behind a filter of system calls) the ringer pays a full
// fence for each batch instead. Which of both holds stands in the word, so that both sides go by the same:
// memory that was never written says fence.
//
// Nothing in the word is trusted. A value that cannot be costs a useless wake-up; an announcement that got
// lost, because a neighbour wrote over it or died between clearing it and waking, costs bell_sleep_max.
#pragma once
#include "../base/clock.h"
#include "../base/cpu.h"
#include "wait.h"
#include <atomic>

namespace wx {

// The longest sleep, whatever the deadline. What a broken neighbour can cost in delay, and how old the
// sign of life of a healthy stage can be; ten looks a second are not to be seen among a core's work.
constexpr Nanos bell_sleep_max = 100 * ns_per_ms;

constexpr uint32_t bell_asleep = 1; // the sleeper has announced itself
constexpr uint32_t bell_orders = 2; // the sleeper issues membarrier: ringers need no fence

struct alignas(cache_line_pair) BellWords {
    std::atomic<uint32_t> word; // read by ringers, written when somebody lies down or is woken
    uint8_t pad[cache_line_pair - sizeof(std::atomic<uint32_t>)];
};
static_assert(sizeof(BellWords) == cache_line_pair, "a bell is alone on its cache lines");
static_assert(sizeof(std::atomic<uint32_t>) == 4 && std::atomic<uint32_t>::is_always_lock_free,
              "the kernel compares these four bytes");

// Where the ringers of a bell are.
enum class BellReach : uint8_t { process, machine };
// Who orders a ringer's store before its look.
enum class BellOrder : uint8_t { ringer_fences, process_barrier, machine_barrier };
// What this kernel offers; registers the process. The same answer until reboot, says membarrier(2). Cold.
BellOrder bell_order(BellReach reach);

enum class BellWake : uint8_t {
    found,   // the second look found something: there was no sleep
    rung,    // somebody woke us
    timeout, // the deadline or bell_sleep_max
    other,   // a signal, or nothing at all: look around as after any other wake-up
};

// The sleeping side. Order of calls: announce(), look at all inputs, then cancel() or sleep().
struct BellSleeper {
    BellWords *words = nullptr;
    WaitCounters *counters = nullptr; // of the stage that sleeps
    BellOrder order = BellOrder::ringer_fences;

    // `chosen` is bell_order() of where the ringers are.
    void open(BellWords *bell, BellOrder chosen, WaitCounters *own_counters);
    uint32_t awake() const { return order == BellOrder::ringer_fences ? 0 : bell_orders; }
    // After this, every input that is still found empty rings when something comes into it. false: this time
    // it cannot be promised; cancel() and come back.
    bool announce();
    void cancel() { words->word.store(awake(), std::memory_order_relaxed); }
    // After a sleep on something else that a ringer's descriptor ended, or anything else.
    void rise() {
        if (words->word.load(std::memory_order_relaxed) != (awake() | bell_asleep))
            wait_count(counters->wakes);
        cancel();
    }
    // Until rung or `deadline`; both times are CLOCK_MONOTONIC.
    BellWake sleep(Nanos now, Nanos deadline);

    // All of the above. `look` says whether any input holds something, by the shared words.
    template <class Look> BellWake wait(Nanos now, Nanos deadline, const Look &look) {
        if (announce() && !look()) return sleep(now, deadline);
        cancel();
        return BellWake::found;
    }
};

// The waking side: one for each stage that gives work to the sleeper.
struct BellRinger {
    BellWords *words = nullptr;
    int fd = -1; // an eventfd that the sleeper waits on among others; -1: it waits on the word itself
    WaitCounters *counters = nullptr; // of the stage that rings
    bool fences = true;

    // `reach` is the sleeper's. A process that cannot be reached by others' membarriers fences for itself.
    void open(BellWords *bell, BellReach reach, WaitCounters *own_counters);
    // After a batch was published. true: there was a sleeper and a system call woke it.
    bool ring() {
        // For the compiler only: the published position before the look. The processor's part is the
        // sleeper's membarrier, which pairs with this.
        std::atomic_signal_fence(std::memory_order_seq_cst);
        if (!fences && words->word.load(std::memory_order_relaxed) == bell_orders) return false;
        // Pairs with the fence in BellSleeper::announce: the published position before the look.
        std::atomic_thread_fence(std::memory_order_seq_cst);
        if ((words->word.load(std::memory_order_relaxed) & ~bell_orders) == 0) return false;
        return wake();
    }
    bool wake();
};

} // namespace wx
