// SPDX-License-Identifier: MIT
// Ticks and their calibration. With an invariant time-stamp counter a tick is one unprivileged instruction;
// without, it is CLOCK_MONOTONIC in nanoseconds. Never trusts the counter's nominal rate: it is measured
// against CLOCK_MONOTONIC over 2 ms at first use, which is good to about 20 ppm, then over spans that double
// up to a second, at whose ends the bases are read again, so the error of a time stamp stays below a
// microsecond.
#include "clock.h"
#include "cpu.h"
#include <atomic>
#include <time.h>

namespace wx {

static Nanos read_clock(clockid_t which) {
    timespec at;
    clock_gettime(which, &at);
    return at.tv_sec * ns_per_s + at.tv_nsec;
}

Nanos monotonic_ns() { return read_clock(CLOCK_MONOTONIC); }

static Tick monotonic_ticks(const Clock *) { return static_cast<Tick>(monotonic_ns()); }
static Tick fake_ticks(const Clock *self) { return self->fake_now; }

static Tick cycle_ticks(const Clock *) { return cycle_count(); }

static bool has_cycles() {
#if defined(__x86_64__)
    return cpu_features().invariant_tsc;
#else
    return true;
#endif
}

// A reading of two clocks at the same moment: the tightest of some tries, so that a preemption between the
// two does not become an offset.
static void read_pair(Tick (*ticks)(const Clock *), clockid_t which, Tick *tick, Nanos *at) {
    Tick best = ~Tick{0};
    for (int i = 0; i < 5; i++) {
        Tick before = ticks(nullptr);
        Nanos now = read_clock(which);
        Tick after = ticks(nullptr);
        if (after - before >= best) continue;
        best = after - before;
        *tick = before + best / 2;
        *at = now;
    }
}

static uint64_t measure_rate(Tick (*ticks)(const Clock *)) {
    constexpr Nanos span = 2 * ns_per_ms;
    Tick first_tick = 0, last_tick = 0;
    Nanos first = 0, last = 0;
    read_pair(ticks, CLOCK_MONOTONIC, &first_tick, &first);
    while (monotonic_ns() - first < span) cpu_relax();
    read_pair(ticks, CLOCK_MONOTONIC, &last_tick, &last);
    unsigned __int128 elapsed = static_cast<unsigned __int128>(last - first) << 32;
    return static_cast<uint64_t>(elapsed / (last_tick - first_tick));
}

void system_clock_open(Clock *clock) {
    static std::atomic<uint64_t> rate{0}; // same for all processors; two first users measure twice, harmless
    *clock = Clock();
    clock->read_ticks = monotonic_ticks;
    clock->ns_per_tick_q32 = uint64_t{1} << 32;
#if defined(__x86_64__) || defined(__aarch64__)
    if (has_cycles()) {
        clock->read_ticks = cycle_ticks;
        clock->cycles = true;
        if (rate.load(std::memory_order_relaxed) == 0)
            rate.store(measure_rate(cycle_ticks), std::memory_order_relaxed);
        clock->ns_per_tick_q32 = rate.load(std::memory_order_relaxed);
    }
#endif
    clock_resync(clock);
}

static Tick ticks_of(const Clock *clock, Nanos span) {
    return static_cast<Tick>((static_cast<unsigned __int128>(span) << 32) / clock->ns_per_tick_q32);
}

// Slewing moves CLOCK_MONOTONIC by 500 ppm at most. What differs by more was no measurement but a suspended
// or migrated machine, where one of the two clocks went on without the other: the old rate is the better one.
static void refine_rate(Clock *clock, Tick ticks, Nanos elapsed) {
    if (elapsed <= 0) return;
    uint64_t rate = static_cast<uint64_t>((static_cast<unsigned __int128>(elapsed) << 32) / ticks);
    uint64_t old = clock->ns_per_tick_q32;
    uint64_t difference = rate > old ? rate - old : old - rate;
    if (difference <= old / 512) clock->ns_per_tick_q32 = rate;
}

void clock_resync(Clock *clock) {
    if (clock->read_ticks == fake_ticks) return;
    Tick tick = 0, real_tick = 0;
    Nanos realtime = 0;
    Tick old_base = clock->tick_base;
    Tick planned = clock->resync_at - old_base;
    Nanos old_monotonic = clock->monotonic_base;
    read_pair(clock->read_ticks, CLOCK_MONOTONIC, &tick, &clock->monotonic_base);
    read_pair(clock->read_ticks, CLOCK_REALTIME, &real_tick, &realtime);
    clock->tick_base = tick;
    clock->realtime_base = realtime - clock->span_ns(real_tick - tick);
    // Refine the rate over the longer span: the first measurement was short. The spans double up to a second,
    // so that each is measured well enough for the next.
    if (old_base != 0 && tick > old_base && tick - old_base >= planned &&
        clock->read_ticks != monotonic_ticks)
        refine_rate(clock, tick - old_base, clock->monotonic_base - old_monotonic);
    Tick first = ticks_of(clock, 8 * ns_per_ms), second = ticks_of(clock, ns_per_s);
    clock->resync_at = tick + (old_base == 0 ? first : planned < second / 2 ? 2 * planned : second);
}

void fake_clock_open(Clock *clock, Nanos start) {
    *clock = Clock();
    clock->read_ticks = fake_ticks;
    clock->ns_per_tick_q32 = uint64_t{1} << 32;
    clock->fake_now = static_cast<Tick>(start);
    clock->resync_at = ~Tick{0};
}

} // namespace wx
