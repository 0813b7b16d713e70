// SPDX-License-Identifier: MIT
// The process of a handle is killed, stopped, or finds a shared word overwritten, while messages flow both
// ways: no message is wrong, doubled or out of order within the life of a connection, a death is told with
// its cause, messages flow again within seconds, and nothing is left at the end. `make endurance` does the
// same for longer.
#include "chaos.h"

using chaos::Chaos;
using chaos::Plan;
using chaos::Trouble;

static void finish(Chaos *all) {
    all->end();
    assert_int_equal(all->problems.size(), 0);
}

static void rounds_of(Trouble trouble, int rounds) {
    Chaos all(chaos::seed_of_run());
    for (int i = 0; i < rounds; i++) all.round({trouble, -1, -1, false});
    finish(&all);
}

TEST(killed) { rounds_of(Trouble::kill, 8); }
TEST(stopped) { rounds_of(Trouble::stop, 5); }
TEST(stopped_for_two_seconds) { rounds_of(Trouble::long_stop, 1); }
// A process that does not run cannot be asked to end.
TEST(freed_while_it_is_stopped) {
    Session session("echo:", {{"placement", "processes: transport+ws"}});
    session.need(WSXDP_EVENT_OPEN);
    const pid_t pid = helpers_of(getpid()).at(0);
    kill(pid, SIGSTOP);
    const int64_t began = now_ms();
    wsxdp_free(session.handle);
    session.handle = nullptr;
    assert_true(now_ms() - began < 2000);
    assert_int_equal(kill(pid, 0), -1);
}

TEST(a_word_that_cannot_be) { rounds_of(Trouble::any_value, 13); }
TEST(a_position_that_could_be) { rounds_of(Trouble::near_value, 13); }

// Each word once, with the process stopped until the caller has seen it.
static void every_word(bool callers, Trouble trouble) {
    Chaos all(chaos::seed_of_run());
    for (size_t i = 0; i < all.words(); i++) {
        if (all.word(i).callers != callers) continue;
        if (trouble == Trouble::near_value && all.word(i).capacity == 0) continue;
        all.round({trouble, static_cast<int>(i), trouble == Trouble::near_value ? 0 : -1, true});
    }
    finish(&all);
}

TEST(every_position_of_the_helper_one_too_far) { every_word(false, Trouble::near_value); }
TEST(every_position_of_the_caller_one_too_far) { every_word(true, Trouble::near_value); }
TEST(every_word_of_the_helper) { every_word(false, Trouble::any_value); }
TEST(every_word_of_the_caller) { every_word(true, Trouble::any_value); }

TESTS("chaos")
