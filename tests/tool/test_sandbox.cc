// SPDX-License-Identifier: MIT
// link: -lseccomp
// The sandbox of wsxdp-stage from inside: a process that has entered it tries what an attacker would try, and
// what stages do. Each try is a child process, which tells by its exit status what errno it got, or is
// killed. With the filter compiled out (sanitizers) only the capabilities are looked at.
#include "../../tools/wsxdp-stage/sandbox.cc"
#include "../pipeline/helpers.h"
#include <functional>
#include <linux/bpf.h>
#include <net/if.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

using namespace wx;

namespace {

Options *made(const OptionList &list) {
    Options *options = options_new();
    for (const auto &entry : list)
        assert_int_equal(options_set(options, entry.first.c_str(), ByteView(entry.second.c_str())), 0);
    return options;
}

const OptionList sockets = {}, xdp = {{"transport", "xdp"}};

} // namespace

// ---- capabilities ----

TEST(capabilities_are_those_that_an_option_needs) {
    const uint64_t three = bit(CAP_NET_ADMIN) | bit(CAP_NET_RAW) | bit(CAP_BPF) | bit(CAP_IPC_LOCK);
    const struct {
        OptionList options;
        uint64_t kept;
    } rows[] = {
        {sockets, 0},
        {{{"transport", "socket"}}, 0},
        {{{"socket.busy_poll_us", "50"}}, bit(CAP_NET_ADMIN)},
        {{{"socket.interface", "eth0"}}, bit(CAP_NET_RAW)},
        {{{"xdp.dispatcher", "yes"}}, 0},
        {xdp, three},
        {{{"transport", "xdp"}, {"xdp.dispatcher", "yes"}}, three | bit(CAP_SYS_ADMIN) | bit(CAP_PERFMON)}};
    for (const auto &row : rows) {
        Options *options = made(row.options);
        assert_int_equal(sandbox_capabilities(*options), row.kept);
        options_free(options);
    }
}

TEST(the_wider_capability_stays_where_the_narrow_one_is_missing) {
    const auto left = [](uint64_t given) {
        const pid_t child = fork();
        if (child == 0) {
            __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
            __user_cap_data_struct data[2] = {};
            for (int half = 0; half < 2; half++)
                data[half].effective = data[half].permitted = static_cast<uint32_t>(given >> (32 * half));
            ErrorText error;
            if (syscall(SYS_capset, &head, data) != 0) _exit(1);
            if (drop_capabilities(bit(CAP_NET_ADMIN) | bit(CAP_BPF), &error) < 0) _exit(2);
            if (syscall(SYS_capget, &head, data) != 0) _exit(3);
            const uint64_t now = data[0].permitted | uint64_t{data[1].permitted} << 32;
            const uint64_t effective = data[0].effective | uint64_t{data[1].effective} << 32;
            const bool wide = (now & bit(CAP_SYS_ADMIN)) != 0, narrow = (now & bit(CAP_BPF)) != 0;
            const bool rest = (now & ~(bit(CAP_SYS_ADMIN) | bit(CAP_BPF))) != bit(CAP_NET_ADMIN);
            _exit(effective != now || rest ? 4 : 10 + wide + 2 * narrow);
        }
        int status = 0;
        waitpid(child, &status, 0);
        return WEXITSTATUS(status);
    };
    const uint64_t others = bit(CAP_NET_ADMIN) | bit(CAP_SYS_ADMIN) | bit(CAP_CHOWN);
    assert_int_equal(left(others), 11);
    assert_int_equal(left(others | bit(CAP_BPF)), 12);
    assert_int_equal(left(bit(CAP_NET_ADMIN) | bit(CAP_BPF)), 12); // no CAP_SETPCAP: the bounding set stays
}

TEST(a_helper_for_sockets_has_no_capability) {
    for (const char *wanted : {"0", "50"}) {
        Session session("echo:", {{"placement", "processes: transport+ws"}, {"socket.busy_poll_us", wanted}});
        session.need(WSXDP_EVENT_OPEN);
        const pid_t pid = helper();
        const char *kept = *wanted == '0' ? "0000000000000000" : "0000000000001000"; // CAP_NET_ADMIN
        assert_string_equal(line_of(pid, "CapPrm:\t").c_str(), kept);
        assert_string_equal(line_of(pid, "CapEff:\t").c_str(), kept);
        for (const char *set : {"CapInh:\t", "CapBnd:\t", "CapAmb:\t"})
            assert_string_equal(line_of(pid, set).c_str(), "0000000000000000");
        assert_string_equal(line_of(pid, "NoNewPrivs:\t").c_str(), "1");
        assert_string_equal(line_of(pid, "Seccomp:\t").c_str(), WSXDP_STAGE_FILTER ? "2" : "0");
    }
}

// ---- system calls ----

#if WSXDP_STAGE_FILTER

constexpr int not_entered = 250;

// 0 or errno of `what` in a sandbox made for these options; 1000 and the signal when it was killed.
static int tried(const OptionList &list, const std::function<int()> &what) {
    Options *options = made(list);
    const pid_t child = fork();
    if (child == 0) {
        const rlimit none = {0, 0}; // no core files of those who are killed
        setrlimit(RLIMIT_CORE, &none);
        ErrorText error;
        if (sandbox_enter(*options, &error) < 0) _exit(not_entered);
        _exit(what());
    }
    options_free(options);
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? 1000 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int answer(long result) { return result < 0 ? errno : 0; }

static long call(long number, long a = 0, long b = 0, long c = 0, long d = 0) {
    return syscall(number, a, b, c, d, 0, 0);
}
static long address_of(const void *what) { return reinterpret_cast<long>(what); }

// Without the sandbox none of these does harm.
TEST(what_no_stage_does_kills) {
    static char name[] = "/bin/true";
    static char *const arguments[] = {name, nullptr};
    const struct {
        const char *what;
        std::function<long()> run;
    } rows[] = {
        {"execve", [] { return execve(name, arguments, arguments + 1); }},
        {"execveat", [] { return call(SYS_execveat, AT_FDCWD, address_of(name), address_of(arguments)); }},
        {"fork", [] { return fork(); }},
        {"vfork", [] { return call(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD); }},
        {"ptrace", [] { return ptrace(PTRACE_TRACEME, 0, nullptr, nullptr); }},
        {"process_vm_readv", [] { return call(SYS_process_vm_readv, getppid()); }},
        {"process_vm_writev", [] { return call(SYS_process_vm_writev, getppid()); }},
        {"pidfd_getfd", [] { return call(SYS_pidfd_getfd, -1, 0); }},
        {"mount", [] { return call(SYS_mount); }},
        {"umount2", [] { return call(SYS_umount2); }},
        {"chroot", [] { return call(SYS_chroot); }},
        {"unshare", [] { return call(SYS_unshare, 0); }},
        {"setns", [] { return call(SYS_setns, -1); }},
        {"init_module", [] { return call(SYS_init_module); }},
        {"finit_module", [] { return call(SYS_finit_module, -1); }},
        {"delete_module", [] { return call(SYS_delete_module); }},
        {"setuid", [] { return call(SYS_setuid, getuid()); }},
        {"setresuid", [] { return call(SYS_setresuid, -1, -1, -1); }},
        {"setgroups", [] { return call(SYS_setgroups, 0, 1); }},
    };
    for (const auto &row : rows)
        for (const OptionList &options : {sockets, xdp}) {
            const int got = tried(options, [&] { return answer(row.run()); });
            if (got != 1000 + SIGSYS) fail_msg("%s: %d", row.what, got);
        }
}

TEST(what_is_not_in_the_list_is_refused) {
    static const char file[] = "/tmp/wsxdp-test-never-made";
    struct Row {
        const char *what;
        std::function<long()> run;
        bool also_xdp; // refused there, too
    };
    const std::vector<Row> rows = {
        {"write", [] { return open("/dev/null", O_WRONLY); }, true},
        {"read and write", [] { return open("/dev/null", O_RDWR); }, true},
        {"create", [] { return open(file, O_RDONLY | O_CREAT, 0600); }, true},
        {"truncate", [] { return open("/dev/null", O_RDONLY | O_TRUNC); }, true},
        {"without a name", [] { return open("/tmp", O_WRONLY | O_TMPFILE, 0600); }, true},
        {"append", [] { return open(file, O_WRONLY | O_CREAT | O_APPEND, 0600); }, true},
        {"unlink", [] { return unlink(file); }, true},
        {"mkdir", [] { return mkdir("/", 0700); }, true},
        {"rename", [] { return rename(file, file); }, true},
        {"chmod", [] { return chmod(file, 0600); }, true},
        {"packets", [] { return socket(AF_PACKET, SOCK_RAW, 0); }, true},
        {"raw IP", [] { return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP); }, true},
        {"sock_diag", [] { return socket(AF_NETLINK, SOCK_RAW, 4); }, true},
        {"generic netlink", [] { return socket(AF_NETLINK, SOCK_RAW, 16); }, false},
        {"AF_XDP", [] { return socket(AF_XDP, SOCK_RAW, 0); }, false},
        {"vsock", [] { return socket(AF_VSOCK, SOCK_STREAM, 0); }, true},
        {"kill", [] { return kill(getppid(), 0); }, true},
        {"tgkill", [] { return call(SYS_tgkill, getppid(), getppid(), 0); }, true},
        {"io_uring", [] { return call(SYS_io_uring_setup, 1); }, true},
        {"perf_event_open", [] { return call(SYS_perf_event_open); }, true},
        {"keyctl", [] { return call(SYS_keyctl, 0, -3); }, true},
        {"setrlimit",
         [] {
             const rlimit limit = {1000, 1000};
             return setrlimit(RLIMIT_CPU, &limit);
         },
         true},
        {"prctl", [] { return prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); }, true},
        {"listen", [] { return listen(socket(AF_INET, SOCK_STREAM, 0), 1); }, true},
        {"a terminal's input", [] { return ioctl(0, TIOCSTI, "x"); }, true},
        {"an interface's flags",
         [] {
             ifreq request = {};
             strcpy(request.ifr_name, "lo");
             return ioctl(socket(AF_INET, SOCK_DGRAM, 0), SIOCSIFFLAGS, &request);
         },
         true},
        {"memory to write and run",
         [] {
             void *got =
                 mmap(nullptr, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
             return got == MAP_FAILED ? -1L : 0L;
         },
         true},
        {"bpf",
         [] {
             bpf_attr attributes = {};
             attributes.map_type = BPF_MAP_TYPE_ARRAY;
             attributes.key_size = attributes.value_size = 4;
             attributes.max_entries = 1;
             return call(SYS_bpf, BPF_MAP_CREATE, address_of(&attributes), sizeof attributes);
         },
         false},
    };
    for (const Row &row : rows) {
        const auto run = [&] { return answer(row.run()); };
        const int by_sockets = tried(sockets, run), by_xdp = tried(xdp, run);
        if (by_sockets != EPERM) fail_msg("%s: %d", row.what, by_sockets);
        if (by_xdp != (row.also_xdp ? EPERM : 0)) fail_msg("%s with xdp: %d", row.what, by_xdp);
    }
    assert_int_equal(tried(sockets, [] { return answer(call(SYS_clone3)); }), ENOSYS);
}

// ---- what must go on working ----

TEST(files_open_for_writing_only_where_an_option_says_so) {
    char path[] = "/tmp/wsxdp-test-XXXXXX";
    close(mkstemp(path));
    const OptionList keylog = {{"tls.keylog_file", path}};
    const OptionList tuned = {{"transport", "xdp"}, {"xdp.napi_defer_hard_irqs", "2"}};
    constexpr int appending = O_WRONLY | O_APPEND | O_CREAT;
    const auto opens = [&](int flags) { return [&path, flags] { return answer(open(path, flags, 0600)); }; };
    assert_int_equal(tried(sockets, opens(O_RDONLY | O_CLOEXEC)), 0);
    assert_int_equal(tried(keylog, opens(appending | O_CLOEXEC | O_NOCTTY)), 0);
    assert_int_equal(tried(keylog, opens(appending | O_TRUNC)), EPERM);
    assert_int_equal(tried(keylog, opens(O_WRONLY)), EPERM);
    assert_int_equal(tried(tuned, opens(O_WRONLY | O_CLOEXEC)), 0);
    assert_int_equal(tried(tuned, opens(appending)), EPERM);
    unlink(path);
}

static void *nothing(void *) { return nullptr; }

TEST(threads_names_and_the_end_of_a_stage_work) {
    const auto thread = [] {
        pthread_t id;
        const int cause = pthread_create(&id, nullptr, nothing, nullptr);
        return cause != 0 ? cause : pthread_join(id, nullptr);
    };
    const auto name = [] {
        addrinfo hints = {}, *list = nullptr;
        hints.ai_flags = AI_ADDRCONFIG;
        return getaddrinfo("localhost", "80", &hints, &list) == 0 && list != nullptr ? 0 : 1;
    };
    const auto aborts = []() -> int { abort(); };
    for (const OptionList &options : {sockets, xdp}) {
        assert_int_equal(tried(options, thread), 0);
        assert_int_equal(tried(options, name), 0);
        assert_int_equal(tried(options, aborts), 1000 + SIGABRT);
    }
}

// A step that is refused is told and not passed over: here the first one of a second time.
TEST(what_cannot_be_entered_is_told) {
    Options *options = made(sockets);
    const pid_t child = fork();
    if (child == 0) {
        ErrorText error;
        if (sandbox_enter(*options, &error) < 0) _exit(not_entered);
        const int status = sandbox_enter(*options, &error);
        _exit(status == WSXDP_E_SYSTEM && contains(error.text, "wsxdp-stage: ") ? 0 : 1);
    }
    options_free(options);
    int status = 0;
    waitpid(child, &status, 0);
    assert_int_equal(status, 0);
}

#endif

TESTS("sandbox")
