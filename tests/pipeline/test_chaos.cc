// SPDX-License-Identifier: MIT
// The process of a handle is killed, stopped, or finds a shared word overwritten, while messages flow both
// ways: no message is wrong, doubled or out of order within the life of a connection, a death is told with
// its cause, messages flow again within seconds, and nothing is left at the end. `make endurance` does the
// same for longer.
#include "chaos.h"
#include <thread>

using chaos::Chaos;
using chaos::Plan;
using chaos::Trouble;

static void finish(Chaos *all) {
    all->end();
    assert_int_equal(all->problems.size(), 0);
}

static void rounds_of(Trouble trouble, int rounds, const chaos::Way &way = chaos::folded) {
    if (way.xdp) netns::need();
    Chaos all(chaos::seed_of_run(), way);
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

static const SharedWord &word_of(const RegionView &region, const std::string &name) {
    for (const SharedWord &word : region.words)
        if (word.name == name) return word;
    fail_msg("no word %s", name.c_str());
    return region.words[0];
}

// Each process in turn lies down, and its word says that it is awake: nobody wakes it.
TEST(asleep_and_nobody_knows) {
    Session session("echo:", {{"placement", chaos::apart.placement}});
    session.need(WSXDP_EVENT_OPEN);
    RegionView region;
    assert_true(region.open(chaos::apart.helpers, false));
    for (int i = 0; i < 6; i++) {
        const SharedWord &bell = word_of(region, i % 2 == 0 ? "bell" : "place 1: bell");
        session.poll(20); // time to lie down
        bell.write(region.base, bell.read(region.base) & ~uint64_t{wx::bell_asleep});
        const int64_t began = now_ms();
        assert_int_equal(session.send("up"), 0);
        session.need(WSXDP_EVENT_MESSAGE);
        on_time(began, 0, 500); // bell_sleep_max, and what a busy machine adds
    }
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}

// The same of who polls.
TEST(the_caller_is_asleep_and_nobody_knows) {
    Pair pair(OptionList{{"placement", chaos::apart.placement}, {"stage.silence_ns", "0"}});
    RegionView region;
    assert_true(region.open(chaos::apart.helpers, false));
    for (int i = 0; i < 3; i++) {
        std::thread other([&] {
            usleep(30000); // by then it has lain down
            for (const char *name : {"app_bell", "place 1: app_bell"}) {
                const SharedWord &bell = word_of(region, name);
                bell.write(region.base, bell.read(region.base) & ~uint64_t{wx::bell_asleep});
            }
            pair.peer.send(wire_frame(1, "up"));
        });
        const int64_t began = now_ms();
        const int count = pair.client.poll(5000);
        other.join();
        assert_int_equal(count, 1);
        on_time(began, 0, 600);
    }
}

// The nic finds itself asked to open what is open.
TEST(asked_for_what_nobody_asked) {
    netns::need();
    Chaos all(chaos::seed_of_run(), chaos::over_xdp);
    int state = 0;
    while (all.word(static_cast<size_t>(state)).name != "nic.request.state") state++;
    for (int i = 0; i < 4; i++) all.round({Trouble::any_value, state, chaos::values - 1, i % 2 == 0});
    assert_int_equal(all.client.opens, 1 + 4);
    finish(&all);
}

// A process for each stage: any of them.
TEST(one_of_two_killed) { rounds_of(Trouble::kill, 8, chaos::apart); }
TEST(one_of_two_stopped) { rounds_of(Trouble::stop, 6, chaos::apart); }
TEST(one_of_two_stopped_for_two_seconds) { rounds_of(Trouble::long_stop, 1, chaos::apart); }
TEST(a_word_between_two_that_cannot_be) { rounds_of(Trouble::any_value, 13, chaos::apart); }
TEST(a_position_between_two_that_could_be) { rounds_of(Trouble::near_value, 13, chaos::apart); }
TEST(one_of_three_killed) { rounds_of(Trouble::kill, 6, chaos::over_xdp); }
TEST(one_of_three_stopped) { rounds_of(Trouble::stop, 6, chaos::over_xdp); }
TEST(one_of_three_stopped_for_two_seconds) { rounds_of(Trouble::long_stop, 1, chaos::over_xdp); }
TEST(a_word_between_three_that_cannot_be) { rounds_of(Trouble::any_value, 13, chaos::over_xdp); }
TEST(a_position_between_three_that_could_be) { rounds_of(Trouble::near_value, 13, chaos::over_xdp); }

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
