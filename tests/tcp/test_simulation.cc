// SPDX-License-Identifier: MIT
// The simulation as a test: SEEDS runs (10,000, or 500 under sanitizers, which are slower by that much),
// beginning with WSXDP_SEED; that together they reach what they are for; and that each rule notices what
// breaks it.
#include "../base/check.h"
#include "simulation.h"
#include <stdlib.h>

using namespace simulation;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SEEDS_TEXT "500"
#else
#define SEEDS_TEXT "10000"
#endif

static uint64_t number_from(const char *name, const char *otherwise) {
    const char *text = getenv(name);
    return strtoull(text != nullptr && *text != 0 ? text : otherwise, nullptr, 10);
}

static uint64_t sum(const Totals &totals, const char *name) {
    uint64_t all = 0;
    for (const Row &row : totals.rows)
        for (size_t i = 0; i < stat_count; i++)
            if (strcmp(stat_name(i), name) == 0) all += row.stats[i];
    return all;
}

static void every_rule_is_kept(void **) {
    const uint64_t first = number_from("WSXDP_SEED", "1"), seeds = number_from("SEEDS", SEEDS_TEXT);
    Simulator simulator;
    Totals totals;
    for (uint64_t i = 0; i < seeds; i++)
        if (!simulator.run(first + i, Options(), &totals)) fail_msg("%s", simulator.failure.c_str());
    if (seeds < 500) return; // too few to expect everything of them
    static const char *const reached[] = {
        "timeouts",        "tail_probes",  "recoveries",      "undone",        "dsacks_in",  "dsacks_out",
        "out_of_order_in", "zero_windows", "dropped_no_room", "window_probes", "keepalives", "paws_dropped",
        "unacceptable",    "challenges",   "icmp_used",       "mtu_changes",   "sink_full",
    };
    for (const char *name : reached)
        if (sum(totals, name) == 0)
            fail_msg("in %llu seeds no %s", static_cast<unsigned long long>(seeds), name);
    uint64_t ends[end_count] = {};
    for (const Row &row : totals.rows) {
        if (row.runs == 0) fail_msg("a kind of network was not drawn");
        for (size_t i = 0; i < end_count; i++) ends[i] += row.ends[i];
    }
    assert_true(ends[static_cast<size_t>(wx::TcpEnd::closed)] > seeds);
    assert_true(ends[static_cast<size_t>(wx::TcpEnd::aborted)] > 0);
    assert_true(ends[static_cast<size_t>(wx::TcpEnd::reset)] > 0);
}

static void the_same_seed_is_the_same_run(void **) {
    Simulator one, two;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        Totals first, second, again;
        Options none;
        one.run(seed, none, &first);
        two.run(seed + 1000, none, &second); // another history
        two.run(seed, none, &again);
        for (size_t i = 0; i <= kind_count; i++) {
            assert_memory_equal(first.rows[i].stats, again.rows[i].stats, sizeof first.rows[i].stats);
            assert_int_equal(first.rows[i].events, again.rows[i].events);
        }
    }
}

// Every fault finds its occasion in some of these seeds, and none of them is a failure without it.
static void must_notice(Sabotage sabotage, const char *rule) {
    Simulator simulator;
    Options options;
    options.sabotage = sabotage;
    unsigned noticed = 0;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        Totals totals;
        if (simulator.run(seed, options, &totals)) continue;
        noticed += strstr(simulator.failure.c_str(), rule) != nullptr;
        if (!strstr(simulator.failure.c_str(), "make sim SEED=")) fail_msg("%s", simulator.failure.c_str());
    }
    if (noticed == 0) fail_msg("nothing says \"%s\"; last: %s", rule, simulator.failure.c_str());
}

static void notices_changed_bytes(void **) { must_notice(Sabotage::change_received, "receives other bytes"); }
static void notices_a_wrong_count(void **) { must_notice(Sabotage::lose_count, "the scoreboard of"); }
static void notices_a_moved_edge(void **) { must_notice(Sabotage::move_edge, "edge of its window left"); }
static void notices_a_false_ack(void **) { must_notice(Sabotage::lie_in_ack, "where it holds or has read"); }
static void notices_a_false_sack(void **) { must_notice(Sabotage::lie_in_sack, "says in a SACK block"); }
static void notices_a_kept_frame(void **) { must_notice(Sabotage::keep_frame, "frames out, but"); }
static void notices_a_double_release(void **) {
    must_notice(Sabotage::release_twice, "released a frame twice");
}
static void notices_a_stopped_timer(void **) { must_notice(Sabotage::stop_timer, "without a timer"); }
static void notices_an_ignored_window(void **) { must_notice(Sabotage::ignore_window, "beyond the window"); }
static void notices_silence(void **) { must_notice(Sabotage::silence, "on a healed network"); }

int main() {
    const CMUnitTest tests[] = {
        {"every rule is kept (" SEEDS_TEXT " seeds, or SEEDS)", every_rule_is_kept, nullptr, nullptr,
         nullptr},
        cmocka_unit_test(the_same_seed_is_the_same_run),
        cmocka_unit_test(notices_changed_bytes),
        cmocka_unit_test(notices_a_wrong_count),
        cmocka_unit_test(notices_a_moved_edge),
        cmocka_unit_test(notices_a_false_ack),
        cmocka_unit_test(notices_a_false_sack),
        cmocka_unit_test(notices_a_kept_frame),
        cmocka_unit_test(notices_a_double_release),
        cmocka_unit_test(notices_a_stopped_timer),
        cmocka_unit_test(notices_an_ignored_window),
        cmocka_unit_test(notices_silence),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
