// SPDX-License-Identifier: MIT
// The registration of tests: TEST(name) { ... } is all that a test needs, TESTS(group) is main.
//
// An upper bound of time says what this code does and not how busy the machine is: a case that exceeds one by
// on_time (or throws Late itself) is run again, and fails when it is late every time. Lower bounds, codes and
// counts that no pause of the machine explains fail at once.
#pragma once
#include "check.h"
#include <atomic>
#include <chrono>
#include <errno.h>
#include <new>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

inline int64_t now_ms() {
    using namespace std::chrono;
    return duration_cast<milliseconds>(steady_clock::now().time_since_epoch()).count();
}

struct Late {
    int64_t seen, wanted;
};
// Milliseconds: never less than `least` and, where the machine let us, not more than `most`.
inline void took_ms(int64_t took, int64_t least, int64_t most) {
    if (took < least) fail_msg("after %d ms and not %d", static_cast<int>(took), static_cast<int>(least));
    if (took > most) throw Late{took, most};
}
inline void on_time(int64_t begin, int64_t least, int64_t most) { took_ms(now_ms() - begin, least, most); }
template <CMUnitTestFunction run> void punctual(void **state) {
    Late late = {};
    for (int tries = 0; tries < 5; tries++) {
        try {
            return run(state);
        } catch (const Late &one) {
            late = one;
        }
        print_message("late: %lld and not %lld; again\n", static_cast<long long>(late.seen),
                      static_cast<long long>(late.wanted));
    }
    fail_msg("late every time: %d and not %d", static_cast<int>(late.seen), static_cast<int>(late.wanted));
}

inline std::vector<CMUnitTest> &registered_tests() {
    static std::vector<CMUnitTest> tests;
    return tests;
}
struct Registration {
    Registration(const char *name, CMUnitTestFunction run) {
        CMUnitTest test = {name, run, nullptr, nullptr, nullptr};
        registered_tests().push_back(test);
    }
};
#define TEST(name)                                                                                           \
    static void name(void **);                                                                               \
    static Registration registration_##name(#name, punctual<name>);                                          \
    static void name(void **)
// Every case in turn, or `beside` at a time in processes of their own: for cases that mostly wait, and share
// nothing. What a process prints comes when it has ended, so that cases stay apart.
inline int run_registered(const char *group, unsigned beside = 1) {
    std::vector<CMUnitTest> &tests = registered_tests();
    if (beside <= 1) return _cmocka_run_group_tests(group, tests.data(), tests.size(), nullptr, nullptr);
    void *shared =
        mmap(nullptr, sizeof(std::atomic<size_t>), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) return 1;
    std::atomic<size_t> *next = new (shared) std::atomic<size_t>(0);
    struct Process {
        pid_t pid;
        FILE *said;
    };
    std::vector<Process> processes;
    const pid_t parent = getpid();
    fflush(nullptr);
    for (unsigned i = 0; i < beside; i++) {
        FILE *said = tmpfile();
        const pid_t pid = said ? fork() : -1;
        if (pid < 0) return 1;
        processes.push_back({pid, said});
        if (pid > 0) continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent || dup2(fileno(said), 1) < 0 || dup2(fileno(said), 2) < 0) _exit(1);
        int failed = 0;
        for (size_t at = 0; (at = next->fetch_add(1)) < tests.size();) {
            const int64_t begin = now_ms();
            failed += _cmocka_run_group_tests(group, &tests[at], 1, nullptr, nullptr) != 0;
            printf("    %s: %d ms\n", tests[at].name, static_cast<int>(now_ms() - begin));
        }
        exit(failed != 0);
    }
    int failed = 0;
    for (const Process &process : processes) {
        int status = 0;
        while (waitpid(process.pid, &status, 0) < 0 && errno == EINTR) {
        }
        failed += status != 0;
        rewind(process.said);
        char text[4096];
        for (size_t got = 0; (got = fread(text, 1, sizeof text, process.said)) > 0;)
            fwrite(text, 1, got, stdout);
        if (WIFSIGNALED(status)) printf("a process of cases was ended by signal %d\n", WTERMSIG(status));
        fclose(process.said);
    }
    return failed != 0;
}
#define TESTS(group)                                                                                         \
    int main() { return run_registered(group); }
#define TESTS_BESIDE(group, count)                                                                           \
    int main() { return run_registered(group, count); }
