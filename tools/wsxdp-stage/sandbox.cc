// SPDX-License-Identifier: MIT
// The sandbox of a stage's process. It speaks with the network, so it is the part of us that an attacker
// would take over; what he has then is what is left here. Capabilities are dropped but for those that the
// transport needs, and system calls filtered by a list of what stages, the resolver, OpenSSL and libbpf do.
// What is not in the list fails with EPERM, so that a library takes its other way; what none of them ever
// does (another program, another process, another user, somebody else's memory, mounts, modules) ends the
// process, which is then a death like any other to the caller. Paths are not looked at: what the user may
// read can be read.
#include "sandbox.h"
#include "../../lib/pipeline/stages.h"
#include <errno.h>
#include <fcntl.h>
#include <initializer_list>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>
#if WSXDP_STAGE_FILTER
#include <linux/netlink.h>
#include <linux/sockios.h>
#include <sched.h>
#include <seccomp.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#endif

namespace wx {

static int refuse(ErrorText *error, const char *what, int cause) {
    error->begin(WSXDP_E_SYSTEM, cause).add("wsxdp-stage: ").add(what).add(": ").errno_name(cause);
    return WSXDP_E_SYSTEM;
}

static bool is_xdp(const Options &o) { return o.integer(Option::transport) == transport_xdp; }
static bool is_set(const Options &o, Option text) { return o.text(text)[0] != 0; }

// ---- capabilities ----

static constexpr uint64_t bit(unsigned capability) { return uint64_t{1} << capability; }

uint64_t sandbox_capabilities(const Options &o, SandboxRole role) {
    uint64_t keep = 0;
    if (role == SandboxRole::frames) return keep;
    if (o.integer(Option::socket_busy_poll_us) > 0) keep |= bit(CAP_NET_ADMIN);
    if (is_set(o, Option::socket_interface)) keep |= bit(CAP_NET_RAW); // before Linux 5.7
    if (!is_xdp(o) || role != SandboxRole::whole) return keep;
    // The interface is chosen, and the program loaded, by the first connection, and again after it went away.
    keep |= bit(CAP_NET_ADMIN) | bit(CAP_NET_RAW) | bit(CAP_BPF);
    keep |= bit(CAP_IPC_LOCK); // frames beyond RLIMIT_MEMLOCK
    // libxdp asks for programs and maps by their ids, and its dispatcher loads extensions of a program.
    if (o.flag(Option::xdp_dispatcher)) keep |= bit(CAP_SYS_ADMIN) | bit(CAP_PERFMON);
    return keep;
}

// Before Linux 5.19 entries of a map that one has the descriptor of could be forbidden to who lacks CAP_BPF
// (kernel.unprivileged_bpf_disabled). Tried on no map at all, as who has no capability.
static bool maps_need_capability() {
    __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct before[2] = {}, none[2] = {};
    if (syscall(SYS_capget, &head, before) != 0) return true;
    for (int half = 0; half < 2; half++) none[half].permitted = before[half].permitted;
    if (syscall(SYS_capset, &head, none) != 0) return true;
    bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = UINT32_MAX;
    const long status = syscall(SYS_bpf, BPF_MAP_UPDATE_ELEM, &attributes, sizeof attributes);
    const bool refused = status < 0 && errno == EPERM;
    return syscall(SYS_capset, &head, before) != 0 || refused;
}

static int drop_capabilities(uint64_t keep, ErrorText *error) {
    __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct now[2] = {}, then[2] = {};
    if (syscall(SYS_capget, &head, now) != 0) return refuse(error, "capget", errno);
    const uint64_t had = now[0].permitted | uint64_t{now[1].permitted} << 32;
    // The older, wider one stands for CAP_BPF where that is not given.
    if ((keep & ~had & bit(CAP_BPF)) != 0) keep |= bit(CAP_SYS_ADMIN);
    // What another program started from here could have. Emptying the bounding set takes CAP_SETPCAP, and is
    // of no consequence without.
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    for (unsigned long i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
        if (prctl(PR_CAPBSET_DROP, i, 0, 0, 0) != 0) break;
    keep &= had;
    for (int half = 0; half < 2; half++)
        then[half].effective = then[half].permitted = static_cast<uint32_t>(keep >> (32 * half));
    if (syscall(SYS_capset, &head, then) != 0) return refuse(error, "dropping capabilities", errno);
    return WSXDP_OK;
}

// ---- system calls ----

#if WSXDP_STAGE_FILTER

// libseccomp knows calls by numbers of its own where a machine has none; they are passed over then.
static const int always[] = {
    // memory
    SCMP_SYS(brk), SCMP_SYS(munmap), SCMP_SYS(mremap), SCMP_SYS(madvise), SCMP_SYS(memfd_create),
    SCMP_SYS(ftruncate), SCMP_SYS(fallocate), SCMP_SYS(mlock), SCMP_SYS(munlock),
    // descriptors and files
    SCMP_SYS(read), SCMP_SYS(readv), SCMP_SYS(pread64), SCMP_SYS(write), SCMP_SYS(writev), SCMP_SYS(pwrite64),
    SCMP_SYS(close), SCMP_SYS(close_range), SCMP_SYS(dup), SCMP_SYS(dup3), SCMP_SYS(fcntl), SCMP_SYS(lseek),
    SCMP_SYS(fstat), SCMP_SYS(stat), SCMP_SYS(lstat), SCMP_SYS(newfstatat), SCMP_SYS(statx), SCMP_SYS(statfs),
    SCMP_SYS(fstatfs), SCMP_SYS(access), SCMP_SYS(faccessat), SCMP_SYS(faccessat2), SCMP_SYS(readlink),
    SCMP_SYS(readlinkat), SCMP_SYS(getcwd), SCMP_SYS(getdents64), SCMP_SYS(fadvise64),
    // waiting
    SCMP_SYS(poll), SCMP_SYS(ppoll), SCMP_SYS(select), SCMP_SYS(pselect6), SCMP_SYS(epoll_create1),
    SCMP_SYS(epoll_ctl), SCMP_SYS(epoll_wait), SCMP_SYS(epoll_pwait), SCMP_SYS(epoll_pwait2),
    SCMP_SYS(eventfd2), SCMP_SYS(timerfd_create), SCMP_SYS(timerfd_settime), SCMP_SYS(timerfd_gettime),
    SCMP_SYS(futex), SCMP_SYS(membarrier), SCMP_SYS(sched_yield), SCMP_SYS(nanosleep),
    SCMP_SYS(clock_nanosleep), SCMP_SYS(restart_syscall),
    // sockets; which families is below
    SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(shutdown), SCMP_SYS(getsockname), SCMP_SYS(getpeername),
    SCMP_SYS(getsockopt), SCMP_SYS(setsockopt), SCMP_SYS(sendto), SCMP_SYS(sendmsg), SCMP_SYS(sendmmsg),
    SCMP_SYS(recvfrom), SCMP_SYS(recvmsg), SCMP_SYS(recvmmsg),
    // time, randomness, what one is and runs on
    SCMP_SYS(clock_gettime), SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday), SCMP_SYS(time),
    SCMP_SYS(getrandom), SCMP_SYS(getpid), SCMP_SYS(getppid), SCMP_SYS(gettid), SCMP_SYS(getuid),
    SCMP_SYS(geteuid), SCMP_SYS(getgid), SCMP_SYS(getegid), SCMP_SYS(getresuid), SCMP_SYS(getresgid),
    SCMP_SYS(capget), SCMP_SYS(uname), SCMP_SYS(sysinfo), SCMP_SYS(getcpu), SCMP_SYS(sched_getaffinity),
    SCMP_SYS(getrusage),
    // threads, signals, the end
    SCMP_SYS(set_robust_list), SCMP_SYS(rseq), SCMP_SYS(set_tid_address), SCMP_SYS(rt_sigaction),
    SCMP_SYS(rt_sigprocmask), SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack), SCMP_SYS(exit),
    SCMP_SYS(exit_group)};

// libxdp keeps its dispatcher's programs and a lock in the BPF file system.
static const int dispatchers[] = {SCMP_SYS(flock),  SCMP_SYS(mkdir),    SCMP_SYS(mkdirat),
                                  SCMP_SYS(unlink), SCMP_SYS(unlinkat), SCMP_SYS(rmdir)};

// The name of a program that was killed (option name) is removed by the first of its helpers to see it.
static const int removing[] = {SCMP_SYS(flock), SCMP_SYS(unlinkat)};

// What would be a way out, and no honest stage does.
static const int never_called[] = {SCMP_SYS(execve),
                                   SCMP_SYS(execveat),
                                   SCMP_SYS(fork),
                                   SCMP_SYS(vfork),
                                   SCMP_SYS(ptrace),
                                   SCMP_SYS(process_vm_readv),
                                   SCMP_SYS(process_vm_writev),
                                   SCMP_SYS(process_madvise),
                                   SCMP_SYS(kcmp),
                                   SCMP_SYS(pidfd_getfd),
                                   SCMP_SYS(mount),
                                   SCMP_SYS(umount2),
                                   SCMP_SYS(pivot_root),
                                   SCMP_SYS(chroot),
                                   SCMP_SYS(move_mount),
                                   SCMP_SYS(open_tree),
                                   SCMP_SYS(fsopen),
                                   SCMP_SYS(fsconfig),
                                   SCMP_SYS(fsmount),
                                   SCMP_SYS(fspick),
                                   SCMP_SYS(mount_setattr),
                                   SCMP_SYS(unshare),
                                   SCMP_SYS(setns),
                                   SCMP_SYS(init_module),
                                   SCMP_SYS(finit_module),
                                   SCMP_SYS(delete_module),
                                   SCMP_SYS(kexec_load),
                                   SCMP_SYS(kexec_file_load),
                                   SCMP_SYS(reboot),
                                   SCMP_SYS(swapon),
                                   SCMP_SYS(swapoff),
                                   SCMP_SYS(setuid),
                                   SCMP_SYS(setgid),
                                   SCMP_SYS(setreuid),
                                   SCMP_SYS(setregid),
                                   SCMP_SYS(setresuid),
                                   SCMP_SYS(setresgid),
                                   SCMP_SYS(setfsuid),
                                   SCMP_SYS(setfsgid),
                                   SCMP_SYS(setgroups),
                                   SCMP_SYS(userfaultfd),
                                   SCMP_SYS(open_by_handle_at)};

// Rules, and the first errno of one that was not taken.
struct Rules {
    scmp_filter_ctx context;
    int cause = 0;

    void add(uint32_t action, int call, std::initializer_list<scmp_arg_cmp> arguments = {}) {
        if (cause != 0) return;
        cause = -seccomp_rule_add_array(context, action, call, static_cast<unsigned>(arguments.size()),
                                        arguments.begin());
    }
    void allow(int call, std::initializer_list<scmp_arg_cmp> arguments = {}) {
        add(SCMP_ACT_ALLOW, call, arguments);
    }
    template <size_t count> void each(uint32_t action, const int (&calls)[count]) {
        for (int call : calls) add(action, call);
    }
};

static scmp_arg_cmp same(unsigned argument, uint64_t value) {
    return scmp_arg_cmp{argument, SCMP_CMP_MASKED_EQ, UINT32_MAX, value & UINT32_MAX}; // ints are 32 bits
}
static scmp_arg_cmp bits(unsigned argument, uint64_t mask, uint64_t value) {
    return scmp_arg_cmp{argument, SCMP_CMP_MASKED_EQ, mask, value};
}

static void allow_threads(Rules *r) {
    r->allow(SCMP_SYS(clone), {bits(0, CLONE_THREAD, CLONE_THREAD)});
    r->add(SCMP_ACT_KILL_PROCESS, SCMP_SYS(clone), {bits(0, CLONE_THREAD, 0)});
    // Its flags are in memory, where a filter does not see them; glibc takes clone then.
    r->add(SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3));
    // abort(), of OpenSSL or of glibc's own checks.
    r->allow(SCMP_SYS(tgkill), {same(0, static_cast<uint64_t>(getpid()))});
    r->allow(SCMP_SYS(prlimit64), {scmp_arg_cmp{2, SCMP_CMP_EQ, 0, 0}}); // only asks
    r->allow(SCMP_SYS(getrlimit));
    for (uint64_t what : {PR_SET_NAME, PR_GET_NAME, PR_CAPBSET_READ})
        r->allow(SCMP_SYS(prctl), {same(0, what)});
}

// Never memory that is written and run. NSS modules are mapped to be run.
static void allow_memory(Rules *r) {
    for (int call : {SCMP_SYS(mmap), SCMP_SYS(mprotect)}) {
        r->allow(call, {bits(2, PROT_EXEC, 0)});
        r->allow(call, {bits(2, PROT_EXEC | PROT_WRITE, PROT_EXEC)});
    }
}

static void allow_open(Rules *r, const Options &o) {
    constexpr uint64_t making = O_ACCMODE | O_CREAT | O_TRUNC | (O_TMPFILE & ~O_DIRECTORY);
    auto allow = [r](uint64_t mask, uint64_t flags) {
        r->allow(SCMP_SYS(open), {bits(1, mask, flags)});
        r->allow(SCMP_SYS(openat), {bits(2, mask, flags)});
    };
    allow(making, O_RDONLY);
    if (is_set(o, Option::tls_keylog_file)) allow(making | O_APPEND, O_WRONLY | O_CREAT | O_APPEND);
    // /sys/class/net/NAME/..., before Linux 6.13
    const bool tunes =
        o.integer(Option::xdp_napi_defer_hard_irqs) > 0 || o.integer(Option::xdp_gro_flush_timeout_ns) > 0;
    if (is_xdp(o) && tunes) allow(making, O_WRONLY);
}

static void allow_sockets(Rules *r, const Options &o, SandboxRole role) {
    constexpr uint64_t kind = 0xF;                  // without SOCK_NONBLOCK, SOCK_CLOEXEC
    r->allow(SCMP_SYS(socket), {same(0, AF_UNIX)}); // ws+unix, nscd, resolved
    for (uint64_t family : {AF_INET, AF_INET6})
        for (uint64_t type : {SOCK_STREAM, SOCK_DGRAM})
            r->allow(SCMP_SYS(socket), {same(0, family), bits(1, kind, type)});
    // Which addresses the machine has is what getaddrinfo asks.
    r->allow(SCMP_SYS(socket), {same(0, AF_NETLINK), same(2, NETLINK_ROUTE)});
    for (uint64_t what : {FIONREAD, FIONBIO, TCGETS, SIOCGIFINDEX, SIOCGIFNAME})
        r->allow(SCMP_SYS(ioctl), {same(1, what)});
    if (!is_xdp(o) || role == SandboxRole::frames) return;
    r->allow(SCMP_SYS(socket), {same(0, AF_NETLINK), same(2, NETLINK_GENERIC)});
    if (role == SandboxRole::whole) r->allow(SCMP_SYS(socket), {same(0, AF_XDP)});
    for (uint64_t what : {SIOCGIFMTU, SIOCETHTOOL}) r->allow(SCMP_SYS(ioctl), {same(1, what)});
    r->allow(SCMP_SYS(bpf));
    if (o.flag(Option::xdp_dispatcher) && role == SandboxRole::whole) r->each(SCMP_ACT_ALLOW, dispatchers);
}

static int filter_calls(const Options &o, SandboxRole role, ErrorText *error) {
    Rules rules;
    rules.context = seccomp_init(SCMP_ACT_ERRNO(EPERM));
    if (rules.context == nullptr) return refuse(error, "seccomp_init", ENOMEM);
    rules.cause = -seccomp_attr_set(rules.context, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    // A search tree instead of a list. Without the second, kernels before 5.16 turn off speculation past
    // stores, which makes all of the process slower; nobody else's code runs in it.
    (void)seccomp_attr_set(rules.context, SCMP_FLTATR_CTL_OPTIMIZE, 2);
    (void)seccomp_attr_set(rules.context, SCMP_FLTATR_CTL_SSB, 1);
    rules.each(SCMP_ACT_ALLOW, always);
    rules.each(SCMP_ACT_KILL_PROCESS, never_called);
    allow_threads(&rules);
    allow_memory(&rules);
    allow_open(&rules, o);
    allow_sockets(&rules, o, role);
    if (is_set(o, Option::name)) rules.each(SCMP_ACT_ALLOW, removing);
    if (rules.cause == 0) rules.cause = -seccomp_load(rules.context);
    seccomp_release(rules.context);
    if (rules.cause == 0) return WSXDP_OK;
    const int status = refuse(error, "the filter of system calls was not taken", rules.cause);
    error->add("; it needs a kernel with CONFIG_SECCOMP_FILTER, or use placement=threads");
    return status;
}

#else

static int filter_calls(const Options &, SandboxRole, ErrorText *) { return WSXDP_OK; }

#endif

int sandbox_enter(const Options &options, ErrorText *error, SandboxRole role) {
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return refuse(error, "PR_SET_NO_NEW_PRIVS", errno);
    uint64_t keep = sandbox_capabilities(options, role);
    if (is_xdp(options) && role == SandboxRole::transport && maps_need_capability()) keep |= bit(CAP_BPF);
    int status = drop_capabilities(keep, error);
    return status < 0 ? status : filter_calls(options, role, error);
}

} // namespace wx
