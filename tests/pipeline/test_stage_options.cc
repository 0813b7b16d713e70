// SPDX-License-Identifier: MIT
// How places wait, with which priority they run, and what becomes of a handle whose process died or stands
// still.
#include "helpers.h"
#include "pair.h"
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>

static const char *const each_kind[] = {"threads: transport+ws", "threads", "processes: transport+ws",
                                        "processes"};

static void echo(Session &session, const std::string &text) {
    assert_int_equal(session.send(text), 0);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), text.c_str());
}

// ---- waiting ----

static std::string after_name(pid_t pid) { // of /proc/PID/stat
    const std::string stat = read_file("/proc/" + std::to_string(pid) + "/stat");
    return stat.substr(stat.rfind(')') + 2);
}

static int64_t cpu_ms(pid_t pid) {
    unsigned long user = 0, system = 0;
    assert_int_equal(sscanf(after_name(pid).c_str(), "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                            &user, &system),
                     2);
    return static_cast<int64_t>(user + system) * 1000 / sysconf(_SC_CLK_TCK);
}

struct Stages { // by role
    pid_t transport = 0, ws = 0;
    Stages() {
        for (const pid_t pid : helpers_of(getpid())) {
            const std::string line = read_file("/proc/" + std::to_string(pid) + "/cmdline");
            (contains(line, "transport") ? transport : ws) = pid;
        }
        assert_true(transport != 0 && ws != 0);
    }
};

TEST(each_way_to_wait_carries_messages) {
    for (const char *way : {"spin", "adaptive", "sleep", "yield"}) {
        Session inline_session("echo:", {{"wait", way}, {"wait.spin_ns", "20us"}});
        inline_session.need(WSXDP_EVENT_OPEN);
        for (const char *kind : each_kind) {
            Session session("echo:", {{"placement", kind}, {"wait", way}, {"wait.spin_ns", "20us"}});
            session.need(WSXDP_EVENT_OPEN);
            for (int i = 0; i < 20; i++) echo(session, std::to_string(i));
        }
        for (int i = 0; i < 20; i++) echo(inline_session, std::to_string(i));
    }
}

// transport spins, or gives way and spins, while ws and the caller sleep.
static void waits_alone(const char *way) {
    Session session("echo:", {{"placement", std::string("processes: transport/") + way + " ws/sleep"}});
    session.need(WSXDP_EVENT_OPEN);
    echo(session, "before");
    const Stages stages;
    const int64_t slept = cpu_ms(stages.ws);
    for (int i = 0; i < 20; i++) { // with or without a processor: it wants one
        usleep(10000);
        assert_int_equal(after_name(stages.transport)[0], 'R');
    }
    assert_in_range(cpu_ms(stages.ws) - slept, 0, 30); // the kernel counts in hundredths
    assert_int_equal(after_name(stages.ws)[0], 'S');
    echo(session, "after");
}
TEST(a_place_spins_alone) { waits_alone("spin"); }
TEST(a_place_yields_alone) { waits_alone("yield"); }

TEST(all_sleep_when_nothing_is_to_be_done) {
    Session session("echo:", {{"placement", "processes"}});
    session.need(WSXDP_EVENT_OPEN);
    echo(session, "before");
    const Stages stages;
    const int64_t before = cpu_ms(stages.transport) + cpu_ms(stages.ws);
    usleep(1500000);
    assert_in_range(cpu_ms(stages.transport) + cpu_ms(stages.ws) - before, 0, 20);
    echo(session, "after");
}

TEST(a_way_to_wait_that_is_none_is_named) {
    static const struct {
        const char *text, *says;
    } rows[] = {{"threads: transport/fast ws", "'transport/fast' has no way to wait"},
                {"threads: transport/ ws", "'transport/' has no way to wait"},
                {"threads: transport/spin/spin ws", "has no way to wait"},
                {"threads: transport@/spin ws", "no number after @"},
                {"threads: /spin ws", "names no stage"}};
    for (const auto &row : rows) {
        Session session("echo:", {{"placement", row.text}});
        assert_int_equal(session.status, WSXDP_E_INVALID);
        if (!contains(session.text, row.says)) fail_msg("%s: %s", row.text, session.text.c_str());
    }
    Session both("echo:", {{"placement", "threads: transport@0/sleep ws@0/adaptive"}});
    both.need(WSXDP_EVENT_OPEN);
}

// ---- priority ----

static int priority_of(pid_t pid) {
    sched_param is = {};
    if (sched_getscheduler(pid) != SCHED_FIFO || sched_getparam(pid, &is) != 0) return 0;
    return is.sched_priority;
}

TEST(stages_run_with_the_priority_that_is_asked_for) {
    for (const char *kind : each_kind) {
        Session session("echo:", {{"placement", kind}, {"stage.fifo", "7"}});
        session.need(WSXDP_EVENT_OPEN);
        size_t with = 0;
        for (const pid_t pid : helpers_of(getpid())) with += priority_of(pid) == 7;
        DIR *threads = opendir("/proc/self/task");
        while (const dirent *entry = readdir(threads))
            if (entry->d_name[0] != '.') with += priority_of(atoi(entry->d_name)) == 7;
        closedir(threads);
        assert_int_equal(with, contains(kind, "+") ? 1 : 2);
        assert_int_equal(priority_of(0), 0); // the caller's own is the caller's affair
        echo(session, "at once");
        assert_int_equal(session.count(WSXDP_EVENT_NOTICE), 0);
    }
}

// Each case has a process of its own, and this one may do nothing out of the ordinary any more.
TEST(a_priority_that_is_refused_is_a_notice) {
    const rlimit none = {0, 0};
    setrlimit(RLIMIT_RTPRIO, &none);
    __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    const __user_cap_data_struct nothing[2] = {};
    assert_int_equal(syscall(SYS_capset, &head, nothing), 0);
    Session session("echo:", {{"placement", "threads"}, {"stage.fifo", "7"}});
    const Seen notice = session.need(WSXDP_EVENT_NOTICE);
    for (const char *part : {"stage.fifo=7", "not permitted", "cap_sys_nice"})
        if (!contains(notice.data, part)) fail_msg("%s", notice.data.c_str());
    session.need(WSXDP_EVENT_OPEN);
    echo(session, "all the same");
}

// ---- silence and death ----

static const OptionList impatient = {{"placement", "processes"}, {"stage.silence_ns", "300ms"}};

TEST(a_process_that_stands_still_is_replaced) {
    for (const bool ws : {false, true}) {
        Session session("echo:", impatient);
        session.need(WSXDP_EVENT_OPEN);
        echo(session, "before");
        const Stages stages;
        kill(ws ? stages.ws : stages.transport, SIGSTOP);
        const int64_t stopped = now_ms();
        const Seen error = session.need(WSXDP_EVENT_ERROR);
        assert_int_equal(error.error, WSXDP_E_STAGE_DIED);
        for (const char *part : {ws ? "process of ws" : "process of transport", "300 ms", "stage.silence_ns"})
            if (!contains(error.data, part)) fail_msg("%s", error.data.c_str());
        assert_true(now_ms() - stopped >= 290);
        session.need(WSXDP_EVENT_RECONNECTING);
        session.need(WSXDP_EVENT_OPEN);
        echo(session, "after");
        assert_int_equal(helpers_of(getpid()).size(), 2);
    }
}

// Asleep is not silent, nor is one whose caller did not look for long; nor any with 0.
TEST(who_sleeps_is_not_silent) {
    Session session("echo:", impatient);
    session.need(WSXDP_EVENT_OPEN);
    const Stages stages;
    for (const int64_t until = now_ms() + 1000; now_ms() < until;) session.poll(until - now_ms());
    usleep(1000000);
    echo(session, "still");
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
    assert_int_equal(Stages().ws, stages.ws);
}

TEST(a_stop_is_borne_when_silence_is_no_matter) {
    Session session("echo:", {{"placement", "processes"}, {"stage.silence_ns", "0"}});
    session.need(WSXDP_EVENT_OPEN);
    const Stages stages;
    kill(stages.ws, SIGSTOP);
    for (const int64_t until = now_ms() + 500; now_ms() < until;) session.poll(until - now_ms());
    kill(stages.ws, SIGCONT);
    echo(session, "late");
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}

TEST(without_restart_the_handle_ends_with_its_process) {
    for (const char *kind : {"processes", "processes: transport+ws"}) {
        Session session("echo:", {{"placement", kind}, {"stage.restart", "no"}});
        session.need(WSXDP_EVENT_OPEN);
        kill(helpers_of(getpid())[0], SIGKILL);
        assert_int_equal(session.need(WSXDP_EVENT_ERROR).error, WSXDP_E_STAGE_DIED);
        assert_int_equal(session.need(WSXDP_EVENT_CLOSE).error, WSXDP_E_STAGE_DIED);
        assert_int_equal(session.count(WSXDP_EVENT_RECONNECTING), 0);
        assert_int_equal(helpers_of(getpid()).size(), 0);
        uint32_t conn = 0;
        assert_int_equal(wsxdp_connect(session.handle, "echo:", nullptr, &conn), WSXDP_E_STAGE_DIED);
        char said[512] = "";
        wsxdp_last_error(session.handle, said, sizeof said);
        for (const char *part : {"SIGKILL", "stage.restart=no"})
            if (!contains(said, part)) fail_msg("%s", said);
        assert_int_equal(session.poll(20), 0);
    }
}

TESTS_BESIDE("stage options", 4)
