// SPDX-License-Identifier: MIT
// link: -Wl,--wrap=posix_spawn
// A helper that ends before the library has looked at it, in a program that takes every exit status: its
// process id is nobody's by then, or another's. What happened is said, and nobody else is harmed.
#include "../support/processes.h"
#include "pair.h"
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

static bool waits_for_the_end = false;
static pid_t instead = 0; // a process that has the id by now

extern "C" int __real_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
                                  const posix_spawnattr_t *attributes, char *const *arguments,
                                  char *const *environment);
extern "C" int __wrap_posix_spawn(pid_t *pid, const char *path, const posix_spawn_file_actions_t *files,
                                  const posix_spawnattr_t *attributes, char *const *arguments,
                                  char *const *environment) {
    const int cause = __real_posix_spawn(pid, path, files, attributes, arguments, environment);
    while (waits_for_the_end && cause == 0 && kill(*pid, 0) == 0) usleep(1000);
    if (instead != 0) *pid = instead;
    return cause;
}

static void expect_refusal() {
    waits_for_the_end = true;
    signal(SIGCHLD, SIG_IGN);
    Session session("echo:", {{"placement", "processes: transport+ws"}, {"stage.path", "/bin/false"}});
    signal(SIGCHLD, SIG_DFL);
    waits_for_the_end = false;
    assert_int_equal(session.status, WSXDP_E_STAGE_START);
    const bool says = contains(session.text, "/bin/false") && contains(session.text, "took its exit status");
    if (!says) fail_msg("'%s'", session.text.c_str());
}

TEST(one_that_is_gone_already) { expect_refusal(); }

// A grandchild of ours stands for any process of the machine that got the id meanwhile.
TEST(one_whose_id_is_another_process_by_now) {
    int tell[2];
    assert_int_equal(pipe(tell), 0);
    const pid_t child = fork();
    if (child == 0) {
        const pid_t stranger = fork();
        if (stranger == 0) {
            pause();
            _exit(0);
        }
        _exit(write(tell[1], &stranger, sizeof stranger) != sizeof stranger);
    }
    pid_t stranger = 0;
    assert_int_equal(read(tell[0], &stranger, sizeof stranger), sizeof stranger);
    waitpid(child, nullptr, 0);
    close(tell[0]);
    close(tell[1]);
    instead = stranger;
    waits_for_the_end = true;
    signal(SIGCHLD, SIG_IGN);
    const int64_t began = now_ms();
    int status;
    {
        Session session("echo:", {{"placement", "processes: transport+ws"}, {"stage.path", "/bin/false"}});
        status = session.status;
    }
    signal(SIGCHLD, SIG_DFL);
    waits_for_the_end = false;
    instead = 0;
    usleep(20000);
    const std::string stat = read_file("/proc/" + std::to_string(stranger) + "/stat");
    const bool lives = contains(stat, ") S");
    kill(stranger, SIGKILL);
    assert_int_equal(status, WSXDP_E_STAGE_START);
    assert_true(lives);
    assert_true(now_ms() - began < 4000);
}

TESTS("spawning")
