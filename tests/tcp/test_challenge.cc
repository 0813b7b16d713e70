// SPDX-License-Identifier: MIT
// Challenge acknowledgements: so many in a second for everybody, how many exactly is drawn anew each second,
// and not two within half a second on one connection.
#include "../../lib/tcp/challenge.h"
#include "../base/check.h"
#include <cstdlib>
#include <set>

using namespace wx;

namespace {

uint64_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

struct Fixture {
    FixedRandom random;
    ChallengeBudget budget;
    Fixture() { fixed_random_open(&random, seed()); }
    bool take(Nanos *last, Nanos now) { return challenge_take(&budget, &random, last, now); }
    // A new connection each time, as an attacker with many ports would.
    uint32_t take_all(Nanos now) {
        uint32_t taken = 0;
        for (;; taken++) {
            Nanos last = 0;
            if (!take(&last, now)) return taken;
            assert_true(last == now);
        }
    }
};

void test_budget_per_second(void **) {
    Fixture f;
    std::set<uint32_t> counts;
    uint64_t sum = 0;
    for (int second = 1; second <= 200; second++) {
        uint32_t taken = f.take_all(second * ns_per_s);
        assert_in_range(taken, 500, 1499);
        assert_int_equal(f.take_all(second * ns_per_s + ns_per_s - 1), 0); // none more before it is over
        counts.insert(taken);
        sum += taken;
    }
    assert_true(counts.size() > 150); // an attacker who counts learns nothing
    assert_in_range(sum / 200, 900, 1100);
    assert_int_equal(f.budget.refused, 400);
}

void test_distance_on_one_connection(void **) {
    Fixture f;
    Nanos last = 0, now = 7 * ns_per_s;
    assert_true(f.take(&last, now));
    assert_false(f.take(&last, now + 1));
    assert_false(f.take(&last, now + challenge_distance - 1));
    assert_true(last == now); // a refusal does not push the next one away
    assert_int_equal(f.budget.refused, 2);
    Nanos other = 0;
    assert_true(f.take(&other, now + 1));
    assert_true(f.take(&last, now + challenge_distance));
    assert_true(last == now + challenge_distance);
}

void test_refused_by_distance_costs_nothing(void **) {
    Fixture f;
    f.budget.per_second = 10;
    Nanos last = 0, now = ns_per_s;
    assert_true(f.take(&last, now));
    uint32_t left = f.budget.left;
    for (int i = 0; i < 100; i++) assert_false(f.take(&last, now + i));
    assert_int_equal(f.budget.left, left);
}

void test_refused_by_budget_leaves_the_connection(void **) {
    Fixture f;
    f.take_all(ns_per_s);
    Nanos last = 0;
    assert_false(f.take(&last, ns_per_s));
    assert_true(last == 0);
    assert_true(f.take(&last, 2 * ns_per_s));
}

void test_nothing_saved_up(void **) {
    Fixture f;
    assert_in_range(f.take_all(ns_per_s), 500, 1499);
    assert_in_range(f.take_all(1000 * ns_per_s), 500, 1499); // not more after a long silence
}

void test_none(void **) {
    Fixture f;
    f.budget.per_second = 0;
    assert_int_equal(f.take_all(ns_per_s), 0);
    assert_int_equal(f.take_all(9 * ns_per_s), 0);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_budget_per_second),
        cmocka_unit_test(test_distance_on_one_connection),
        cmocka_unit_test(test_refused_by_distance_costs_nothing),
        cmocka_unit_test(test_refused_by_budget_leaves_the_connection),
        cmocka_unit_test(test_nothing_saved_up),
        cmocka_unit_test(test_none),
    };
    return cmocka_run_group_tests_name("tcp: challenge", tests, nullptr, nullptr);
}
