// SPDX-License-Identifier: MIT
// What tests/pipeline/test_chaos.cc does in seconds, for as many rounds as one likes: `chaos ROUNDS`, or
// with every word and value in turn, so many times each: `words TIMES`. The stages are in one process, with
// `apart` behind that in two, with `xdp` in three, over AF_XDP. Ends with a table of what befell which
// process how often, how many connections that cost, and what did harm, which makes the exit status 1.
// WSXDP_SEED draws other rounds.
#include "chaos.h"
#include <inttypes.h>

// What cmocka's tests take no argument for.
static uint64_t wanted;
static chaos::Way way = chaos::folded;

static void tell(const chaos::Chaos &all) {
    printf("%-32s %8s %12s %8s\n", "trouble", "rounds", "reconnected", "harmed");
    for (const auto &row : all.tallies)
        printf("%-32s %8" PRIu64 " %12" PRIu64 " %8" PRIu64 "\n", row.first.c_str(), row.second.rounds,
               row.second.reconnected, row.second.harmed);
    printf("%" PRIu64 " rounds, %" PRIu64 " messages received, %" PRIu64 " sent, %zu times harm\n",
           all.rounds, all.client.delivered, all.server.arrived, all.problems.size());
    assert_int_equal(all.problems.size(), 0);
}

static void mixed(void **) {
    chaos::Chaos all(chaos::seed_of_run(), way);
    for (uint64_t i = 0; i < wanted; i++) all.round(chaos::mixed(i));
    all.end();
    tell(all);
}

static void words(void **) {
    chaos::Chaos all(chaos::seed_of_run(), way);
    for (uint64_t i = 0; i < wanted * all.words() * chaos::values * 4; i++) {
        const size_t word = i / (chaos::values * 4) % all.words();
        const auto trouble = i & 1 ? chaos::Trouble::near_value : chaos::Trouble::any_value;
        if (i & 1 && all.word(word).capacity == 0) continue;
        all.round({trouble, static_cast<int>(word), static_cast<int>(i / 4 % chaos::values), (i & 2) != 0});
    }
    all.end();
    tell(all);
}

int main(int argc, char **argv) {
    static const CMUnitTest kinds[] = {cmocka_unit_test(mixed), cmocka_unit_test(words)};
    const bool some = argc == 3 || argc == 4, each = some && strcmp(argv[1], "words") == 0;
    wanted = some && (each || strcmp(argv[1], "chaos") == 0) ? strtoull(argv[2], nullptr, 10) : 0;
    if (argc == 4 && strcmp(argv[3], "apart") == 0)
        way = chaos::apart;
    else if (argc == 4 && strcmp(argv[3], "xdp") == 0)
        way = chaos::over_xdp;
    else if (argc == 4)
        wanted = 0;
    if (wanted == 0) {
        fprintf(stderr, "usage: %s chaos ROUNDS | words TIMES [apart | xdp]\n", argv[0]);
        return 2;
    }
    const CMUnitTest tests[] = {kinds[each]};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
