// SPDX-License-Identifier: MIT
// The process of a handle is killed, stopped, or finds a shared word overwritten, while messages flow both
// ways: no message is wrong, doubled or out of order within the life of a connection, a death is told with
// its cause, messages flow again within seconds, and nothing is left at the end. `make endurance` does the
// same for longer.
#include "chaos.h"

using chaos::Chaos;
using chaos::Trouble;

static void rounds_of(Trouble trouble, int rounds) {
    Chaos all(chaos::seed_of_run());
    for (int i = 0; i < rounds; i++) all.round(trouble);
    all.end();
    assert_int_equal(all.problems.size(), 0);
}

TEST(killed) { rounds_of(Trouble::kill, 8); }
TEST(stopped) { rounds_of(Trouble::stop, 5); }
TEST(stopped_for_two_seconds) { rounds_of(Trouble::long_stop, 1); }
TEST(a_word_that_cannot_be) { rounds_of(Trouble::any_value, 13); }
TEST(a_position_that_could_be) { rounds_of(Trouble::near_value, 13); }

TESTS("chaos")
