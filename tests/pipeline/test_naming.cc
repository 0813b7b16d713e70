// SPDX-License-Identifier: MIT
// Names of handles: which are none, a lock that lives as long as its process, leftovers, and what the region
// tells without being asked. Names have this process's number in them.
#include "../../lib/pipeline/naming.h"
#include "../../lib/pipeline/published.h"
#include "../../lib/ring/region.h"
#include "helpers.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

using namespace wx;

static std::string own_name(const char *what) { return "unit-" + std::to_string(getpid()) + "." + what; }

static int directory() {
    int fd = -1;
    ErrorText error;
    if (name_directory(true, &fd, &error) < 0) fail_msg("%s", error.text);
    return fd;
}

static NameState look(const std::string &name) {
    int fd = directory();
    NameRecord record;
    const NameState state = name_look(fd, name.c_str(), &record);
    close(fd);
    return state;
}

TEST(names) {
    ErrorText error;
    const std::string longest(64, 'x');
    for (const char *good : {"a", "A-b_c.9", "9", "-", "_", longest.c_str()})
        assert_int_equal(name_check(ByteView(good), &error), WSXDP_OK);
    const std::string longer(65, 'x');
    for (const char *bad : {"", ".", "..", ".a", "a/b", "../a", "a b", "a\n", "\xc3\xa9", longer.c_str()})
        assert_int_equal(name_check(ByteView(bad), &error), WSXDP_E_INVALID);
    assert_int_equal(name_check(ByteView("a\0b", 3), &error), WSXDP_E_INVALID);
}

TEST(a_process_is_known_by_its_start) {
    assert_int_not_equal(process_started(getpid()), 0);
    assert_int_equal(process_started(getpid()), process_started(getpid()));
    assert_int_equal(process_started(0), 0);
    assert_int_equal(process_started(-1), 0);
    pid_t child = fork();
    if (child == 0) _exit(0);
    siginfo_t info;
    assert_int_equal(waitid(P_PID, child, &info, WEXITED | WNOWAIT), 0);
    assert_int_equal(process_started(child), 0); // it waits for its parent
    waitpid(child, nullptr, 0);
    assert_int_equal(process_started(child), 0);
}

TEST(a_name_is_claimed_and_released) {
    const std::string name = own_name("claim");
    ErrorText error;
    int lock = -1, second = -1;
    assert_int_equal(name_claim(name.c_str(), 7, &lock, &error), WSXDP_OK);
    assert_int_equal(look(name), NameState::alive);
    assert_int_equal(name_claim(name.c_str(), 8, &second, &error), WSXDP_E_INVALID);
    assert_int_equal(second, -1);
    assert_true(contains(error.text, "taken by process " + std::to_string(getpid())));
    int fd = directory();
    assert_false(name_sweep(fd, name.c_str()));
    NameRecord record;
    assert_int_equal(name_look(fd, name.c_str(), &record), NameState::alive);
    assert_int_equal(record.pid, getpid());
    assert_int_equal(record.region, 7);
    assert_int_equal(record.version, region_version);
    name_release(name.c_str(), lock);
    assert_int_equal(look(name), NameState::absent);
    assert_true(name_sweep(fd, name.c_str()));
    close(fd);
}

TEST(what_a_killed_process_leaves_is_replaced) {
    const std::string name = own_name("killed");
    pid_t child = fork();
    if (child == 0) {
        ErrorText error;
        int lock = -1;
        _exit(name_claim(name.c_str(), 7, &lock, &error) == WSXDP_OK ? 0 : 1);
    }
    int status = 1;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(look(name), NameState::stale);
    ErrorText error;
    int lock = -1;
    assert_int_equal(name_claim(name.c_str(), 7, &lock, &error), WSXDP_OK);
    assert_int_equal(look(name), NameState::alive);
    name_release(name.c_str(), lock);
    assert_int_equal(look(name), NameState::absent);
}

// The locks of a parent are its child's, too, and outlive it.
TEST(a_lock_that_a_child_kept_is_nobodys) {
    const std::string name = own_name("forked");
    int gate[2], done[2];
    assert_int_equal(pipe(gate), 0);
    assert_int_equal(pipe(done), 0);
    pid_t parent = fork();
    if (parent == 0) {
        ErrorText error;
        int lock = -1;
        const bool good = name_claim(name.c_str(), 7, &lock, &error) == WSXDP_OK;
        if (good && fork() == 0) {
            close(gate[1]);
            char byte;
            (void)!read(gate[0], &byte, 1); // until the test is through
            (void)!write(done[1], "x", 1);
            _exit(0);
        }
        _exit(good ? 0 : 1);
    }
    int status = 1;
    waitpid(parent, &status, 0);
    assert_int_equal(status, 0);
    assert_int_equal(look(name), NameState::stale);
    int fd = directory();
    assert_true(name_sweep(fd, name.c_str()));
    close(fd);
    close(gate[1]);
    close(done[1]);
    char byte;
    assert_int_equal(read(done[0], &byte, 1), 1);
    close(gate[0]);
    close(done[0]);
}

// Somebody removed it, and another has it by now.
TEST(only_the_own_file_is_removed) {
    const std::string name = own_name("swapped");
    ErrorText error;
    int first = -1, second = -1, fd = directory();
    assert_int_equal(name_claim(name.c_str(), 7, &first, &error), WSXDP_OK);
    assert_int_equal(unlinkat(fd, name.c_str(), 0), 0);
    assert_int_equal(name_claim(name.c_str(), 8, &second, &error), WSXDP_OK);
    name_release(name.c_str(), first);
    assert_int_equal(look(name), NameState::alive);
    name_release(name.c_str(), second);
    close(fd);
}

TEST(what_is_no_record_is_stale) {
    const std::string name = own_name("garbage");
    int fd = directory();
    for (const char *text :
         {"", "short", "much longer than any record of ours would be, and no magic number"}) {
        int file = openat(fd, name.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
        assert_int_equal(write(file, text, strlen(text)), strlen(text));
        close(file);
        assert_int_equal(look(name), NameState::stale);
        assert_true(name_sweep(fd, name.c_str()));
    }
    assert_int_equal(symlinkat("/etc/passwd", fd, name.c_str()), 0);
    assert_int_equal(look(name), NameState::stale);
    assert_true(name_sweep(fd, name.c_str()));
    assert_int_equal(access("/etc/passwd", F_OK), 0);
    close(fd);
}

TEST(a_handle_has_its_name_until_it_is_freed) {
    const std::string name = own_name("handle");
    {
        Session session("echo:", {{"name", name}});
        assert_int_equal(session.status, 0);
        assert_int_equal(look(name), NameState::alive);
        Session other("echo:", {{"name", name}});
        assert_int_equal(other.status, WSXDP_E_INVALID);
        assert_int_equal(look(name), NameState::alive); // the loser removes nothing
        session.need(WSXDP_EVENT_OPEN);
    }
    assert_int_equal(look(name), NameState::absent);
}

TEST(turns) {
    PublishTurn turn;
    assert_int_equal(turn.until(never), 0); // nothing was told yet
    assert_true(turn.begin(5));
    turn.next = 0;
    turn.end(5);
    assert_false(turn.begin(6));
    assert_int_equal(turn.until(never), never); // nothing moved: nobody is woken
    turn.changed = true;
    assert_int_equal(turn.until(never), 5 + publish_interval);
    assert_int_equal(turn.until(7), 7);
    assert_true(turn.begin(5 + publish_interval));
    turn.next = 16; // there are more
    turn.end(5 + publish_interval);
    assert_int_equal(turn.until(never), 5 + publish_interval + publish_pause);
}

TESTS("naming")
