// SPDX-License-Identifier: MIT
// What tests/pipeline/test_chaos.cc does in seconds, for as many rounds as one likes: `chaos ROUNDS`. Ends
// with a table of what befell the process how often, how many connections that cost, and what did harm, which
// makes the exit status 1. WSXDP_SEED draws other rounds.
#include "chaos.h"
#include <inttypes.h>

static uint64_t wanted; // what cmocka's tests take no argument for

static void run(void **) {
    chaos::Chaos all(chaos::seed_of_run());
    for (uint64_t i = 0; i < wanted; i++) all.round(chaos::mixed(i));
    all.end();
    printf("%-32s %8s %12s %8s\n", "trouble", "rounds", "reconnected", "harmed");
    for (const auto &row : all.tallies)
        printf("%-32s %8" PRIu64 " %12" PRIu64 " %8" PRIu64 "\n", row.first.c_str(), row.second.rounds,
               row.second.reconnected, row.second.harmed);
    printf("%" PRIu64 " rounds, %" PRIu64 " messages received, %" PRIu64 " sent, %zu times harm\n",
           all.rounds, all.client.delivered, all.server.arrived, all.problems.size());
    assert_int_equal(all.problems.size(), 0);
}

int main(int argc, char **argv) {
    wanted = argc == 3 && strcmp(argv[1], "chaos") == 0 ? strtoull(argv[2], nullptr, 10) : 0;
    if (wanted == 0) {
        fprintf(stderr, "usage: %s chaos ROUNDS\n", argv[0]);
        return 2;
    }
    const CMUnitTest tests[] = {cmocka_unit_test(run)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
