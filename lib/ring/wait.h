// SPDX-License-Identifier: MIT
// What a stage does between two steps: go on, pause, give the core away, or sleep. It decides by times that
// it is given and reads no clock; who calls the stage carries out what it says.
#pragma once
#include "../base/clock.h"
#include "../base/cpu.h"
#include <atomic>

namespace wx {

enum class WaitMode : uint8_t {
    spin,     // never leaves the core: for a core of its own
    yield,    // spins, then lets others run between any two steps
    adaptive, // spins, then sleeps on the stage's bell
};

// As long as lying down and being woken takes on a machine that is not tuned: who spins as long as a sleep
// would have cost never pays more than twice what the better of both would have been.
constexpr Nanos wait_spin_default = 50000;

struct WaitPlan {
    WaitMode mode = WaitMode::adaptive;
    Nanos spin_ns = wait_spin_default; // without work for so long, before yielding or sleeping
};

// One writer, the stage; others may look. In the region, on cache lines of its own.
struct alignas(cache_line_pair) WaitCounters {
    std::atomic<uint64_t> loops;  // steps
    std::atomic<uint64_t> busy;   // steps that moved something
    std::atomic<uint64_t> sleeps; // times that the stage lay down
    std::atomic<uint64_t> wakes;  // times that somebody woke it
    std::atomic<uint64_t> rings;  // times that it woke others: system calls
    uint8_t pad[cache_line_pair - 5 * sizeof(std::atomic<uint64_t>)];
};
static_assert(sizeof(WaitCounters) == cache_line_pair, "counters share no cache line with another stage's");

inline void wait_count(std::atomic<uint64_t> &counter) { // one writer: no locked instruction
    counter.store(counter.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
}

enum class WaitNext : uint8_t { step, relax, yield, sleep };

struct Waiter {
    WaitPlan plan;
    WaitCounters *counters = nullptr;
    Nanos moved_at = 0; // when something moved last

    void open(const WaitPlan &chosen, WaitCounters *own_counters, Nanos now) {
        plan = chosen;
        counters = own_counters;
        moved_at = now;
    }
    // After each step: what to do before the next. `due` is when the stage has to run next without input.
    WaitNext after(bool moved, Nanos now, Nanos due) {
        wait_count(counters->loops);
        if (moved) {
            wait_count(counters->busy);
            moved_at = now;
            return WaitNext::step;
        }
        if (plan.mode == WaitMode::spin || now - moved_at < plan.spin_ns) return WaitNext::relax;
        if (plan.mode == WaitMode::yield) return WaitNext::yield;
        return due > now ? WaitNext::sleep : WaitNext::relax;
    }
};

} // namespace wx
