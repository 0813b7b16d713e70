// SPDX-License-Identifier: MIT
// Ticks against the kernel's clocks, bases read again without a jump, the clock that a test moves by hand,
// and machines that were suspended. Bounds are wide enough for a loaded virtual machine: the best of many
// readings counts where a preemption could come between two.
#include "../../lib/base/clock.h"
#include "../../lib/base/cpu.h"
#include "check.h"
#include <time.h>

using namespace wx;

namespace {

Nanos kernel_ns(clockid_t which) {
    timespec at;
    clock_gettime(which, &at);
    return at.tv_sec * ns_per_s + at.tv_nsec;
}

// How far the clock is off: 0 when the reading lies between two of the kernel's; the best of 20.
Nanos error_of(const Clock &clock, clockid_t which) {
    Nanos best = INT64_MAX;
    for (int i = 0; i < 20; i++) {
        Nanos before = kernel_ns(which);
        Tick at = clock.ticks();
        Nanos after = kernel_ns(which);
        Nanos mine = which == CLOCK_REALTIME ? clock.realtime(at) : clock.monotonic(at);
        Nanos off = mine < before ? before - mine : mine > after ? mine - after : 0;
        if (off < best) best = off;
    }
    return best;
}

void wait_until(Nanos when) {
    while (monotonic_ns() < when) cpu_relax();
}

void test_agrees_without_resync(void **) {
    Clock clock;
    system_clock_open(&clock);
    Nanos start = monotonic_ns();
    for (int i = 0; i <= 10; i++) {
        wait_until(start + i * 20 * ns_per_ms);
        assert_in_range(error_of(clock, CLOCK_MONOTONIC), 0, 20000);
        assert_in_range(error_of(clock, CLOCK_REALTIME), 0, 20000);
    }
}

void test_resync(void **) {
    Clock clock;
    system_clock_open(&clock);
    Nanos last = 0, end = monotonic_ns() + 150 * ns_per_ms;
    int resyncs = 0;
    while (last < end) {
        Tick now = clock.ticks();
        if (now >= clock.resync_at) {
            clock_resync(&clock);
            resyncs++;
            assert_true(clock.resync_at > now);
        }
        Nanos at = clock.monotonic(now);
        assert_true(at > last - 20000); // monotone but for the error of the first 8 ms
        last = at;
    }
    assert_in_range(resyncs, 2, 6); // after 8, 24, 56, 120 ms
    assert_in_range(error_of(clock, CLOCK_MONOTONIC), 0, 5000);
    // A tick from before the base is a little earlier, not 500 years later.
    Tick before = clock.tick_base - 1000;
    assert_in_range(clock.monotonic(clock.tick_base) - clock.monotonic(before), 0, 1000000);
    assert_int_equal(clock.realtime(0), 0); // unknown stays unknown
}

// Suspended: the counter went on for an hour, CLOCK_MONOTONIC did not. The rate must survive.
void test_counter_jumps(void **) {
    if (!cpu_features().invariant_tsc) return; // ticks are CLOCK_MONOTONIC itself
    Clock clock;
    system_clock_open(&clock);
    uint64_t rate = clock.ns_per_tick_q32;
    Tick hour = static_cast<Tick>((static_cast<unsigned __int128>(3600 * ns_per_s) << 32) / rate);
    for (Tick back : {hour, ~hour}) { // and one that was set back: bases in the future
        clock.tick_base -= back;
        clock.resync_at -= back;
        clock_resync(&clock);
        uint64_t difference =
            clock.ns_per_tick_q32 > rate ? clock.ns_per_tick_q32 - rate : rate - clock.ns_per_tick_q32;
        assert_true(difference <= rate / 512);
        assert_in_range(error_of(clock, CLOCK_MONOTONIC), 0, 20000);
        assert_true(clock.resync_at - clock.tick_base <= hour / 3600 + 1);
    }
}

void test_fake(void **) {
    Clock clock;
    fake_clock_open(&clock, 5 * ns_per_s);
    assert_int_equal(clock.ticks(), 5 * ns_per_s);
    clock.fake_now += 1234;
    assert_int_equal(clock.ticks(), 5 * ns_per_s + 1234);
    assert_int_equal(clock.monotonic(clock.ticks()), 5 * ns_per_s + 1234);
    assert_int_equal(clock.span_ns(77), 77);
    clock_resync(&clock); // must not take the system's time
    assert_int_equal(clock.monotonic(clock.ticks()), 5 * ns_per_s + 1234);
    assert_true(clock.ticks() < clock.resync_at);
}

void test_cpu(void **) {
    const CpuFeatures &features = cpu_features();
    assert_ptr_equal(&features, &cpu_features());
#if defined(__x86_64__)
    __builtin_cpu_init();
    assert_int_equal(features.avx2, __builtin_cpu_supports("avx2") != 0);
#else
    assert_false(features.avx2);
#endif
    cpu_relax();
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_agrees_without_resync),
        cmocka_unit_test(test_resync),
        cmocka_unit_test(test_counter_jumps),
        cmocka_unit_test(test_fake),
        cmocka_unit_test(test_cpu),
    };
    return cmocka_run_group_tests_name("base: clock", tests, nullptr, nullptr);
}
