// SPDX-License-Identifier: MIT
// Time as a value that is passed in. Stages take `Tick`s (CPU cycles, or nanoseconds where there is no
// usable counter) because a tick costs a few nanoseconds to read; they become CLOCK_REALTIME nanoseconds
// only when an event is handed out. Deadlines are CLOCK_MONOTONIC nanoseconds.
#pragma once
#include <stdint.h>

namespace wx {

using Tick = uint64_t;
using Nanos = int64_t;
constexpr Nanos never = INT64_MAX;
constexpr Nanos ns_per_s = 1000000000;
constexpr Nanos ns_per_ms = 1000000;

#if defined(__x86_64__)
inline Tick cycle_count() { return __builtin_ia32_rdtsc(); }
#elif defined(__aarch64__)
inline Tick cycle_count() {
    Tick value;
    __asm__ volatile("mrs %0, cntvct_el0" : "=r"(value));
    return value;
}
#else
inline Tick cycle_count() { return 0; } // never asked: there is no such clock
#endif

// A clock that was handed in: the system's, or a fake one that a test moves by hand.
struct Clock {
    Tick (*read_ticks)(const Clock *self) = nullptr;
    // ticks -> ns: ns = (ticks - tick_base) * ns_per_tick_q32 >> 32, added to either base.
    Tick tick_base = 0;
    uint64_t ns_per_tick_q32 = 0;
    Nanos monotonic_base = 0;
    Nanos realtime_base = 0;
    Tick resync_at = 0; // when the bases are to be read again: drift and steps of the real-time clock
    Tick fake_now = 0;
    bool cycles = false; // read_ticks is cycle_count(): spares the call

    Tick ticks() const { return cycles ? cycle_count() : read_ticks(this); }
    Nanos span_ns(Tick ticks) const {
        return static_cast<Nanos>((static_cast<unsigned __int128>(ticks) * ns_per_tick_q32) >> 32);
    }
    // Signed: a tick from before the base (taken just before a resync) must not become a huge number.
    Nanos since_base(Tick at) const {
        __int128 ticks_since = static_cast<int64_t>(at - tick_base);
        return static_cast<Nanos>((ticks_since * static_cast<int64_t>(ns_per_tick_q32)) >> 32);
    }
    Nanos monotonic(Tick at) const { return monotonic_base + since_base(at); }
    Nanos realtime(Tick at) const { return at ? realtime_base + since_base(at) : 0; }
};

// Calibrates once per process (about 2 ms at the first call), later calls copy.
void system_clock_open(Clock *clock);
void clock_resync(Clock *clock);                 // cold, about once a second
void fake_clock_open(Clock *clock, Nanos start); // ticks are nanoseconds
Nanos monotonic_ns();                            // for code outside stages

} // namespace wx
