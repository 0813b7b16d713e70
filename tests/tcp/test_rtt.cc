// SPDX-License-Identifier: MIT
// RFC 6298 by its sections: the first sample, smoothing in the order the RFC wants, bounds, back-off, a lost
// SYN; and the least round trip against an exact sliding minimum.
#include "../../lib/tcp/rtt.h"
#include "../base/check.h"
#include <algorithm>
#include <cstdlib>
#include <deque>
#include <random>

using namespace wx;

namespace {

constexpr Nanos ms = ns_per_ms;

RttEstimator fresh(RttLimits limits = RttLimits()) {
    RttEstimator r;
    rtt_open(&r, limits);
    return r;
}

void test_initial_timeout(void **) { // section 2.1
    RttEstimator r = fresh();
    assert_int_equal(rtt_timeout(&r), ns_per_s);
    assert_int_equal(rtt_min(&r), 0);
    RttLimits limits;
    limits.initial = 250 * ms;
    r = fresh(limits);
    assert_int_equal(rtt_timeout(&r), 250 * ms);
}

void test_first_sample(void **) { // section 2.2
    RttEstimator r = fresh();
    rtt_sample(&r, 100 * ms, ns_per_s);
    assert_int_equal(r.smoothed, 100 * ms);
    assert_int_equal(r.variation, 50 * ms);
    assert_int_equal(r.latest, 100 * ms);
    assert_int_equal(rtt_timeout(&r), 300 * ms);
    assert_int_equal(rtt_min(&r), 100 * ms);
}

void test_later_samples(void **) { // section 2.3: the variation by the old average
    RttEstimator r = fresh();
    rtt_sample(&r, 100 * ms, ns_per_s);
    rtt_sample(&r, 180 * ms, ns_per_s + 1);
    assert_int_equal(r.variation, 50 * ms * 3 / 4 + 80 * ms / 4); // 57.5 ms
    assert_int_equal(r.smoothed, 110 * ms);
    assert_int_equal(rtt_timeout(&r), 340 * ms);
    rtt_sample(&r, 30 * ms, ns_per_s + 2);
    assert_int_equal(r.variation, 63125 * ms / 1000);
    assert_int_equal(r.smoothed, 100 * ms);
    assert_int_equal(rtt_timeout(&r), 352500 * ms / 1000);
    assert_int_equal(rtt_min(&r), 30 * ms);
}

void test_granularity(void **) { // section 2.3: max(G, K * RTTVAR)
    RttLimits limits;
    limits.min = 0;
    RttEstimator r = fresh(limits);
    for (int i = 0; i < 200; i++) rtt_sample(&r, 20 * ms, ns_per_s + i);
    assert_true(r.variation < ms / 4);
    assert_int_equal(rtt_timeout(&r), 21 * ms);
}

void test_bounds(void **) { // sections 2.4 and 2.5
    RttEstimator r = fresh();
    rtt_sample(&r, 50000, ns_per_s);
    assert_int_equal(rtt_timeout(&r), 200 * ms);
    r = fresh();
    rtt_sample(&r, 100 * ns_per_s, ns_per_s);
    assert_int_equal(rtt_timeout(&r), 60 * ns_per_s);
    r = fresh();
    rtt_sample(&r, 0, ns_per_s); // a clock too coarse: 0 stays "no sample"
    rtt_sample(&r, -5, ns_per_s);
    assert_int_equal(r.smoothed, 1);
    assert_int_equal(rtt_min(&r), 1);
}

void test_back_off(void **) { // section 5.5
    RttEstimator r = fresh();
    rtt_sample(&r, 100 * ms, ns_per_s);
    Nanos wanted = 300 * ms;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rtt_timeout(&r), std::min(wanted, 60 * ns_per_s));
        rtt_back_off(&r);
        wanted = std::min(wanted * 2, 120 * ns_per_s);
    }
    assert_int_equal(r.backoff, 8); // 300 ms * 2^8 is over 60 s
    rtt_end_back_off(&r);
    assert_int_equal(rtt_timeout(&r), 300 * ms);
    rtt_back_off(&r);
    rtt_sample(&r, 100 * ms, ns_per_s + 1); // a new measurement collapses it
    assert_int_equal(r.backoff, 0);
    assert_int_equal(rtt_timeout(&r), 250 * ms);
}

void test_back_off_without_maximum(void **) {
    RttLimits limits;
    limits.max = never;
    RttEstimator r = fresh(limits);
    Nanos before = 0;
    for (int i = 0; i < 100; i++) {
        assert_true(rtt_timeout(&r) > before || rtt_timeout(&r) == never);
        before = rtt_timeout(&r);
        rtt_back_off(&r);
    }
    assert_int_equal(before, never);
}

void test_lost_syn(void **) { // section 5.7
    RttEstimator r = fresh();
    rtt_back_off(&r);
    rtt_syn_was_lost(&r);
    assert_int_equal(rtt_timeout(&r), 3 * ns_per_s);
    rtt_back_off(&r);
    assert_int_equal(rtt_timeout(&r), 6 * ns_per_s);
    RttLimits limits;
    limits.initial = 5 * ns_per_s; // not less than 3 s: stays
    r = fresh(limits);
    rtt_syn_was_lost(&r);
    assert_int_equal(rtt_timeout(&r), 5 * ns_per_s);
    r = fresh();
    rtt_sample(&r, 100 * ms, ns_per_s); // a timestamp measured the handshake
    rtt_syn_was_lost(&r);
    assert_int_equal(rtt_timeout(&r), 300 * ms);
}

void test_least_moves_on(void **) {
    RttEstimator r = fresh();
    Nanos now = ns_per_s;
    rtt_sample(&r, 10 * ms, now);
    for (int i = 1; i <= 100; i++) {
        rtt_sample(&r, 20 * ms, now + i * 100 * ms); // up to the window's last moment
        assert_int_equal(rtt_min(&r), 10 * ms);
    }
    rtt_sample(&r, 20 * ms, now + 10 * ns_per_s + 1);
    assert_int_equal(rtt_min(&r), 20 * ms);
    rtt_sample(&r, 30 * ms, now + 100 * ns_per_s); // nothing else left after silence
    assert_int_equal(rtt_min(&r), 30 * ms);
    rtt_sample(&r, 5 * ms, now + 100 * ns_per_s + 1);
    assert_int_equal(rtt_min(&r), 5 * ms);
}

// Always a sample from within the window; and, when samples come all the time, not above the least of its
// newer half.
void test_least_against_model(void **) {
    const char *text = getenv("WSXDP_SEED");
    const unsigned seed = text ? static_cast<unsigned>(strtoul(text, nullptr, 10)) : 1;
    std::mt19937 random(seed);
    for (int round = 0; round < 50; round++) {
        RttEstimator r = fresh();
        const Nanos window = r.limits.min_window;
        std::deque<std::pair<Nanos, Nanos>> samples;
        Nanos now = ns_per_s;
        for (int i = 0; i < 2000; i++) {
            now += random() % (window / 50);
            if (random() % 200 == 0) now += window / 3 + random() % window;
            const Nanos rtt = 1 + random() % 1000;
            rtt_sample(&r, rtt, now);
            samples.push_back({now, rtt});
            while (now - samples.front().first > window) samples.pop_front();
            bool present = false;
            Nanos newer = never;
            for (auto &[at, value] : samples) {
                present |= value == rtt_min(&r);
                if (now - at < window / 3 * 2) newer = std::min(newer, value);
            }
            if (!present || rtt_min(&r) > newer)
                fail_msg("seed %u: round %d, sample %d: least %lld, least of the newer two thirds %lld, "
                         "present %d",
                         seed, round, i, static_cast<long long>(rtt_min(&r)), static_cast<long long>(newer),
                         present);
        }
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_initial_timeout),
        cmocka_unit_test(test_first_sample),
        cmocka_unit_test(test_later_samples),
        cmocka_unit_test(test_granularity),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_back_off),
        cmocka_unit_test(test_back_off_without_maximum),
        cmocka_unit_test(test_lost_syn),
        cmocka_unit_test(test_least_moves_on),
        cmocka_unit_test(test_least_against_model),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
