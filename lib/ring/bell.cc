// SPDX-License-Identifier: MIT
// The rare half of the bell: lying down, waking, and finding out what the kernel offers. The futex calls are
// the shared kind, since the two sides may be processes. Never retries a system call: whatever ends a sleep,
// the stage looks around, which is right after a signal and after a word that somebody wrote over as well.
// The worst case accepted is a kernel without futexes: a stage that would sleep then spins.
#include "bell.h"
#include <errno.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

namespace wx {

static long membarrier(int command) { return syscall(SYS_membarrier, command, 0, 0); }

static long futex(std::atomic<uint32_t> *word, int operation, uint32_t value, const timespec *until) {
    return syscall(SYS_futex, reinterpret_cast<uint32_t *>(word), operation, value, until, nullptr,
                   FUTEX_BITSET_MATCH_ANY);
}

BellOrder bell_order(BellReach reach) {
    bool machine = reach == BellReach::machine;
    int command = machine ? MEMBARRIER_CMD_GLOBAL_EXPEDITED : MEMBARRIER_CMD_PRIVATE_EXPEDITED;
    int enlist =
        machine ? MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED : MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
    long offered = membarrier(MEMBARRIER_CMD_QUERY);
    if (offered < 0 || (offered & command) == 0 || membarrier(enlist) != 0) return BellOrder::ringer_fences;
    // Tried once: a filter of system calls may let one command pass and not the other.
    if (membarrier(command) != 0) return BellOrder::ringer_fences;
    return machine ? BellOrder::machine_barrier : BellOrder::process_barrier;
}

void BellSleeper::open(BellWords *bell, BellOrder chosen, WaitCounters *own_counters) {
    words = bell;
    order = chosen;
    counters = own_counters;
    cancel();
}

bool BellSleeper::announce() {
    words->word.store(awake() | bell_asleep, std::memory_order_relaxed);
    // The announcement before the second look. Pairs with the fence in BellRinger::ring.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (order == BellOrder::ringer_fences) return true;
    // Pairs with BellRinger::ring without a fence: when this returns, each running ringer has either its
    // published position in sight of our second look, or our announcement in sight of its look.
    if (membarrier(order == BellOrder::machine_barrier ? MEMBARRIER_CMD_GLOBAL_EXPEDITED
                                                       : MEMBARRIER_CMD_PRIVATE_EXPEDITED) == 0)
        return true;
    // Only a filter of system calls that came later does that. From now on the word tells ringers to fence;
    // one that has just rung without is why this time nobody sleeps.
    order = BellOrder::ringer_fences;
    return false;
}

BellWake BellSleeper::sleep(Nanos now, Nanos deadline) {
    if (deadline <= now) {
        cancel();
        return BellWake::timeout;
    }
    if (deadline - now > bell_sleep_max) deadline = now + bell_sleep_max;
    wait_count(counters->sleeps);
    uint32_t announced = awake() | bell_asleep;
    timespec until = {static_cast<time_t>(deadline / ns_per_s), static_cast<long>(deadline % ns_per_s)};
    // Absolute and CLOCK_MONOTONIC, as this one operation has it. Returns at once if somebody rang already.
    long result = futex(&words->word, FUTEX_WAIT_BITSET, announced, &until);
    bool timed_out = result != 0 && errno == ETIMEDOUT;
    bool rung = words->word.load(std::memory_order_relaxed) != announced;
    cancel();
    if (rung) wait_count(counters->wakes);
    return rung ? BellWake::rung : timed_out ? BellWake::timeout : BellWake::other;
}

void BellRinger::open(BellWords *bell, BellReach reach, WaitCounters *own_counters) {
    words = bell;
    counters = own_counters;
    fd = -1;
    // Within one process it is the sleeper who must be able to, and its word says whether it is.
    fences = reach == BellReach::machine && bell_order(reach) == BellOrder::ringer_fences;
}

bool BellRinger::wake() {
    // One of many ringers wakes. Takes out whatever else a broken neighbour left in the word, so that the
    // next ring is cheap again.
    if ((words->word.fetch_and(bell_orders, std::memory_order_seq_cst) & ~bell_orders) == 0) return false;
    wait_count(counters->rings);
    if (fd >= 0) {
        const uint64_t one = 1;
        return write(fd, &one, sizeof one) > 0 || errno == EAGAIN; // a full counter is readable already
    }
    (void)futex(&words->word, FUTEX_WAKE, 1, nullptr);
    return true;
}

} // namespace wx
