// SPDX-License-Identifier: MIT
// Transport and ws in a process of their own: how it starts and how it is refused, what it inherits, what is
// left when either side ends, and that its death costs a connection its life and nothing else.
#include "helpers.h"
#include "pair.h"
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>

static const OptionList in_process = {{"placement", "processes: transport+ws"}};

static OptionList with(OptionList more) {
    more.insert(more.begin(), in_process.begin(), in_process.end());
    return more;
}

// ---- starting ----

TEST(it_begins_as_a_fresh_process_does) {
    struct sigaction ignored = {}, before;
    ignored.sa_handler = SIG_IGN;
    sigaction(SIGHUP, &ignored, &before);
    sigset_t blocked, mask;
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGUSR1);
    sigprocmask(SIG_BLOCK, &blocked, &mask);
    const int stray = dup(0); // not close-on-exec
    {
        Session session("echo:", in_process);
        session.need(WSXDP_EVENT_OPEN);
        const pid_t pid = helper();
        assert_int_equal(strtoull(line_of(pid, "SigIgn:\t").c_str(), nullptr, 16) & 1u << (SIGHUP - 1), 0);
        assert_int_equal(strtoull(line_of(pid, "SigBlk:\t").c_str(), nullptr, 16), 0);
        assert_string_equal(line_of(pid, "NoNewPrivs:\t").c_str(), "1");
        struct stat ours, theirs;
        fstat(0, &ours);
        for (int fd = 0; fd < 64; fd++) {
            const std::string path = "/proc/" + std::to_string(pid) + "/fd/" + std::to_string(fd);
            if (fd < 3) {
                assert_int_equal(stat(path.c_str(), &theirs), 0);
                assert_true(S_ISCHR(theirs.st_mode)); // /dev/null
            } else if (stat(path.c_str(), &theirs) == 0 && !S_ISCHR(ours.st_mode)) {
                assert_false(theirs.st_dev == ours.st_dev && theirs.st_ino == ours.st_ino);
            }
        }
    }
    close(stray);
    sigprocmask(SIG_SETMASK, &mask, nullptr);
    sigaction(SIGHUP, &before, nullptr);
    assert_int_equal(helpers_of(getpid()).size(), 0);
}

TEST(a_helper_that_cannot_be_started_is_named) {
    static const struct {
        const char *path;
        int code;
        const char *says;
    } rows[] = {{"/nonexistent/wsxdp-stage", WSXDP_E_STAGE_START, "make install"},
                {"/etc/passwd", WSXDP_E_STAGE_START, "stage.path"},
                {"/bin/true", WSXDP_E_STAGE_START, "exit status 0"},
                {"/bin/false", WSXDP_E_STAGE_START, "exit status 1"},
                {"/bin/cat", WSXDP_E_STAGE_START, "did not answer"}};
    for (const auto &row : rows) {
        Session session("echo:", with({{"stage.path", row.path}}));
        assert_int_equal(session.status, row.code);
        if (!contains(session.text, row.says) || !contains(session.text, row.path))
            fail_msg("%s: '%s'", row.path, session.text.c_str());
    }
}

// A program that neither answers nor ends.
TEST(a_helper_that_does_not_answer_runs_into_the_timeout) {
    char path[] = "/tmp/wsxdp-test-XXXXXX";
    const int fd = mkstemp(path);
    const char script[] = "#!/bin/sh\nexec sleep 60\n";
    assert_int_equal(write(fd, script, sizeof script - 1), sizeof script - 1);
    fchmod(fd, 0700);
    close(fd);
    const int64_t began = now_ms();
    {
        Session session("echo:", with({{"stage.path", path}, {"stage.start_timeout_ns", "50ms"}}));
        assert_int_equal(session.status, WSXDP_E_STAGE_START);
        assert_true(contains(session.text, "50 ms"));
    }
    unlink(path);
    assert_true(now_ms() - began >= 50);
    assert_int_equal(waitpid(-1, nullptr, WNOHANG), -1); // it was ended, and reaped
}

TEST(what_the_stages_refuse_is_refused_at_open) {
    Session session("echo:", with({{"transport", "xdp"}, {"xdp.interface", "nosuch0"}}));
    assert_true(session.status < 0);
    assert_false(session.text.empty());
    assert_int_equal(helpers_of(getpid()).size(), 0);
}

TEST(a_processor_that_cannot_be_had_is_a_notice) {
    Session session("echo:", {{"placement", "processes: transport+ws@1000"}});
    assert_true(contains(session.need(WSXDP_EVENT_NOTICE).data, "processor 1000 cannot be used"));
    session.need(WSXDP_EVENT_OPEN);
}

// ---- its death ----

static void kill_and_wait(pid_t pid, int signal) {
    assert_int_equal(kill(pid, signal), 0);
    for (int64_t end = now_ms() + 5000; now_ms() < end; usleep(1000)) {
        const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
        if (stat.empty() || contains(stat, ") Z")) return;
    }
    fail_msg("process %d did not end", pid);
}

TEST(what_was_published_comes_before_the_news_of_its_death) {
    Session session("echo:", in_process);
    session.need(WSXDP_EVENT_OPEN);
    const pid_t pid = helper();
    for (int i = 0; i < 20; i++) assert_int_equal(session.send("m" + std::to_string(i)), 0);
    for (int64_t end = now_ms() + 5000; session.stats().messages_received < 20;) assert_true(now_ms() < end);
    kill_and_wait(pid, SIGKILL);
    const Seen error = session.need(WSXDP_EVENT_ERROR);
    assert_int_equal(session.count(WSXDP_EVENT_MESSAGE), 20);
    assert_int_equal(error.error, WSXDP_E_STAGE_DIED);
    assert_true(contains(error.data, "transport+ws"));
    assert_true(contains(error.data, "SIGKILL"));
    const Seen again = session.need(WSXDP_EVENT_RECONNECTING);
    assert_int_equal(again.attempt, 1);
    assert_int_equal(again.error, WSXDP_E_STAGE_DIED);
    const Seen open = session.need(WSXDP_EVENT_OPEN);
    assert_true(open.flags & WSXDP_FLAG_RECONNECTED);
    assert_int_equal(session.send("after"), 0);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "after");
    assert_int_not_equal(helper(), pid);
}

TEST(each_way_to_die_is_told) {
    static const struct {
        int signal;
        const char *says;
    } rows[] = {{SIGTERM, "SIGTERM"}, {SIGSEGV, "SIGSEGV"}, {SIGINT, "SIGINT"}};
    for (const auto &row : rows) {
        Session session("echo:", with({{"reconnect", "no"}}));
        session.need(WSXDP_EVENT_OPEN);
        kill_and_wait(helper(), row.signal);
        assert_true(contains(session.need(WSXDP_EVENT_ERROR).data, row.says) || sanitized);
        const Seen &close = session.need(WSXDP_EVENT_CLOSE);
        assert_int_equal(close.error, WSXDP_E_STAGE_DIED);
        assert_int_equal(close.code, 1006);
        assert_int_equal(session.send("x"), WSXDP_E_CLOSED);
    }
}

TEST(a_connection_made_while_there_is_no_process_waits_for_the_next) {
    Session session(static_cast<const char *>(nullptr), in_process);
    kill_and_wait(helper(), SIGKILL);
    uint32_t id = 0;
    assert_int_equal(wsxdp_connect(session.handle, "echo:", nullptr, &id), 0);
    // It may hear of the death, as it was handed to the dead; it opens in any case.
    session.need(WSXDP_EVENT_OPEN, 5000, id);
    assert_int_equal(session.send("x", WSXDP_TEXT, id), 0);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "x");
}

TEST(held_messages_stay_as_they_are) {
    Session session("echo:", in_process);
    session.need(WSXDP_EVENT_OPEN);
    const std::string first = text_of(5000), second = text_of(5000, 7);
    assert_int_equal(session.send(first), 0);
    wsxdp_event held;
    memset(&held, 0, sizeof held);
    while (held.kind != WSXDP_EVENT_MESSAGE)
        assert_true(wsxdp_poll(session.handle, &held, 1, 5000000000) == 1);
    assert_int_equal(wsxdp_hold(session.handle, &held), 0);
    kill_and_wait(helper(), SIGKILL);
    session.need(WSXDP_EVENT_OPEN);
    for (int i = 0; i < 500; i++) { // most of the inbox
        assert_int_equal(session.send(second), 0);
        assert_true(session.need(WSXDP_EVENT_MESSAGE).data == second);
        session.events.clear();
        session.looked = 0;
    }
    assert_int_equal(held.len, first.size());
    assert_memory_equal(held.data, first.data(), first.size());
    assert_int_equal(wsxdp_unhold(session.handle, &held), 0);
}

TEST(again_and_again) {
    Session session("echo:", in_process);
    for (int i = 0; i < 20; i++) {
        session.need(WSXDP_EVENT_OPEN);
        assert_int_equal(session.send("round " + std::to_string(i)), 0);
        assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(),
                            ("round " + std::to_string(i)).c_str());
        kill_and_wait(helper(), SIGKILL);
    }
    session.need(WSXDP_EVENT_OPEN);
}

TEST(a_close_while_it_is_dead_ends_the_connection) {
    Session session("echo:", in_process);
    session.need(WSXDP_EVENT_OPEN);
    kill_and_wait(helper(), SIGKILL);
    session.need(WSXDP_EVENT_RECONNECTING);
    assert_int_equal(wsxdp_close(session.handle, 0, 1000, "", 0), 0);
    session.need(WSXDP_EVENT_CLOSE);
}

// ---- the end of the program that has the handle ----

TEST(nothing_outlives_a_killed_program) {
    int tell[2];
    assert_int_equal(pipe(tell), 0);
    const pid_t child = fork();
    if (child == 0) {
        Session session("echo:", in_process);
        session.need(WSXDP_EVENT_OPEN);
        const pid_t pid = helper();
        const pid_t grandchild = fork(); // which has a copy of every descriptor
        if (grandchild == 0) {
            pause();
            _exit(0);
        }
        if (write(tell[1], &pid, sizeof pid) < 0 || write(tell[1], &grandchild, sizeof grandchild) < 0)
            _exit(1);
        pause();
        _exit(0);
    }
    pid_t pid = 0, grandchild = 0;
    assert_int_equal(read(tell[0], &pid, sizeof pid), sizeof pid);
    assert_int_equal(read(tell[0], &grandchild, sizeof grandchild), sizeof grandchild);
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
    bool gone = false;
    for (int64_t end = now_ms() + 5000; !gone && now_ms() < end; usleep(1000))
        gone = !contains(read_file("/proc/" + std::to_string(pid) + "/cmdline"), "wsxdp-stage");
    kill(grandchild, SIGKILL);
    close(tell[0]);
    close(tell[1]);
    assert_true(gone);
}

TESTS("process")
