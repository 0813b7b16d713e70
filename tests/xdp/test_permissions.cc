// SPDX-License-Identifier: MIT
// transport=xdp with fewer rights than root's: each capability taken away by itself and what is said then,
// the three that are enough (also for an ordinary user), the limit of locked memory, a sandbox that forbids
// bpf(2), and everything dropped once the handle is open. Each case is a child process, since what is dropped
// is gone for ever.
#include "beside.h"
#include <functional>
#include <grp.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/resource.h>

using namespace netns;

static constexpr uint64_t bit(unsigned capability) { return uint64_t{1} << capability; }
constexpr uint64_t every_capability = ~uint64_t{0};
constexpr uint64_t needed = bit(CAP_NET_RAW) | bit(CAP_NET_ADMIN) | bit(CAP_BPF);

// Memory for frames that fits into the limit below, so that a case is about nothing else.
constexpr int64_t locked_bytes = 8 << 20;
static const OptionList small = {{"xdp.frames", "1024"}};

static bool limit_locked(int64_t bytes) {
    const rlimit limit = {static_cast<rlim_t>(bytes), static_cast<rlim_t>(bytes)};
    return setrlimit(RLIMIT_MEMLOCK, &limit) == 0;
}

struct Place {
    World world;
    std::unique_ptr<scripted::Server> server = world.serve(answer_or_echo);
    std::string url = World::url(*server);

    // What a child tells of the URL after it has made itself smaller.
    std::string told(const std::function<bool()> &prepare, const OptionList &options) {
        return told_by_child(world.veth.here, [&] {
            if (!prepare()) return std::string("not prepared: ") + strerror(errno);
            return told_by_session(url, World::options(options));
        });
    }
    std::string told_without(uint64_t capabilities, const OptionList &options = small) {
        return told([&] { return limit_locked(locked_bytes) && drop_capabilities(capabilities); }, options);
    }
    // The account of locked memory is the user's, and the kernel takes pages off it only some time after
    // their process has ended.
    void opens(const std::function<bool()> &prepare, const OptionList &options) {
        std::string said;
        eventually([&] {
            said = told(prepare, options);
            return !contains(said, "RLIMIT_MEMLOCK");
        });
        check_told_open(said);
    }
    void opens_without(uint64_t capabilities, const OptionList &options = small) {
        opens([&] { return limit_locked(locked_bytes) && drop_capabilities(capabilities); }, options);
    }
    ~Place() {
        // Whoever was refused has left nothing, and nor has who was not.
        const bool gone = eventually([] { return present().id == 0; });
        if (!gone || !kernel_asks(there4, server->port))
            print_message("something was left behind\n"), abort();
    }
};

static const std::string permission = std::to_string(WSXDP_E_PERMISSION);

// Refused by open already, naming exactly these; with fallback=socket a NOTICE says the same.
static void check_needed(uint64_t without, const std::string &names) {
    Place place;
    const std::string sentence = "transport=xdp needs " + names + "; ";
    check_told(place.told_without(without), {{"refused " + permission, sentence, "setcap"}});
    OptionList fallback = small;
    fallback.push_back({"fallback", "socket"});
    check_told_fallback(place.told_without(without, fallback), WSXDP_E_PERMISSION, {sentence});
}
TEST(without_cap_net_raw) {
    need();
    check_needed(bit(CAP_NET_RAW), "CAP_NET_RAW");
}
TEST(without_cap_net_admin) {
    need();
    check_needed(bit(CAP_NET_ADMIN), "CAP_NET_ADMIN");
}
TEST(without_cap_bpf) {
    need();
    // The older, wider one stands for it.
    check_needed(bit(CAP_BPF) | bit(CAP_SYS_ADMIN), "CAP_BPF");
    Place place;
    place.opens_without(bit(CAP_BPF));
}
TEST(without_any) {
    need();
    check_needed(every_capability, "CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF");
    check_needed(bit(CAP_NET_RAW) | bit(CAP_BPF) | bit(CAP_SYS_ADMIN), "CAP_NET_RAW, CAP_BPF");
}

TEST(what_is_not_needed) {
    need();
    Place place;
    for (unsigned capability : {CAP_SYS_ADMIN, CAP_IPC_LOCK, CAP_SYS_RESOURCE, CAP_PERFMON, CAP_SYS_NICE,
                                CAP_NET_BIND_SERVICE, CAP_DAC_OVERRIDE})
        place.opens_without(bit(capability));
    place.opens_without(every_capability & ~needed);
    for (const char *mode : {"driver", "generic"})
        place.opens_without(every_capability & ~needed, {{"xdp.mode", mode}, small[0]});
}

// As a program with file capabilities is run.
static bool become_user() {
    constexpr uid_t nobody = 65534;
    if (!limit_locked(locked_bytes) || prctl(PR_SET_KEEPCAPS, 1) != 0 || setgroups(0, nullptr) != 0)
        return false;
    if (setresgid(nobody, nobody, nobody) != 0 || setresuid(nobody, nobody, nobody) != 0) return false;
    // The permitted ones are kept, and become effective again here.
    __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    data[0].effective = data[0].permitted = static_cast<uint32_t>(needed);
    data[1].effective = data[1].permitted = static_cast<uint32_t>(needed >> 32);
    return syscall(SYS_capset, &head, data) == 0;
}
TEST(an_ordinary_user_with_the_three) {
    need();
    Place place;
    place.opens(become_user, small);
    check_told(place.told([] { return become_user() && drop_capabilities(bit(CAP_NET_RAW)); }, small),
               {{"refused " + permission, "transport=xdp needs CAP_NET_RAW; "}});
    // A limit that does not do for the frames of the default.
    const std::string refused = place.told(become_user, {});
    check_told(refused, {{"error " + std::to_string(WSXDP_E_XDP_MEMLOCK), "registering 16777216 bytes",
                          "RLIMIT_MEMLOCK is 8388608 bytes", "ulimit -l 16384"}});
}

// ---- locked memory

TEST(locked_memory_that_is_too_little) {
    need();
    Place place;
    const auto with = [](int64_t bytes, uint64_t without) {
        return [=] { return limit_locked(bytes) && drop_capabilities(without); };
    };
    const std::vector<std::string> sentence = {"registering 2097152 bytes", "RLIMIT_MEMLOCK is 1048576 bytes",
                                               "ulimit -l 2048", "CAP_IPC_LOCK", "lower xdp.frames"};
    std::vector<std::string> error = sentence;
    error.insert(error.begin(), "error " + std::to_string(WSXDP_E_XDP_MEMLOCK));
    for (const char *mode : {"auto", "driver", "generic"}) {
        const OptionList options = {small[0], {"xdp.mode", mode}};
        check_told(place.told(with(1 << 20, bit(CAP_IPC_LOCK)), options), {error});
    }
    check_told_fallback(place.told(with(1 << 20, bit(CAP_IPC_LOCK)), {small[0], {"fallback", "socket"}}),
                        WSXDP_E_XDP_MEMLOCK, sentence);
    // Who has the capability has no limit; fewer frames need less.
    place.opens(with(0, 0), small);
    place.opens(with(0, bit(CAP_SYS_RESOURCE)), small);
    place.opens(with(1 << 20, bit(CAP_IPC_LOCK)), {{"xdp.frames", "512"}});
    place.opens(with(2 << 20, bit(CAP_IPC_LOCK)), small);
}

// ---- a sandbox

// bpf(2) with this command fails so.
static bool forbid_bpf(uint32_t command, int cause) {
    sock_filter body[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[0])), // little-endian: the low half
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, command, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<uint32_t>(cause)),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog program = {sizeof body / sizeof body[0], body};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}
static void check_forbidden(uint32_t command, int cause, int code, const std::vector<std::string> &parts) {
    Place place;
    const auto prepare = [=] { return forbid_bpf(command, cause); };
    std::vector<std::string> error = parts;
    error.insert(error.begin(), "error " + std::to_string(code));
    check_told(place.told(prepare, small), {error});
    check_told_fallback(place.told(prepare, {small[0], {"fallback", "socket"}}), code, parts);
}
TEST(a_sandbox_that_forbids_loading) {
    need();
    check_forbidden(BPF_PROG_LOAD, EPERM, WSXDP_E_PERMISSION,
                    {"loading the XDP program was refused", "although CAP_NET_ADMIN and CAP_BPF are there",
                     "security module"});
    check_forbidden(BPF_MAP_CREATE, EPERM, WSXDP_E_PERMISSION, {"loading the XDP program was refused"});
}
TEST(a_sandbox_that_forbids_attaching) {
    need();
    check_forbidden(BPF_LINK_CREATE, EPERM, WSXDP_E_PERMISSION,
                    {"attaching the XDP program was refused", "security module"});
}
TEST(a_kernel_that_does_not_take_the_program) {
    need();
    check_forbidden(BPF_PROG_LOAD, EINVAL, WSXDP_E_XDP_PROGRAM,
                    {"the kernel does not take the XDP program", "Linux 5.18 or newer"});
    check_forbidden(BPF_LINK_CREATE, ENOTBLK, WSXDP_E_XDP_PROGRAM, {"the XDP program cannot be attached"});
}

// ---- after it is open

// Told step by step, so that the step that fails is seen.
static std::string goes_on_without_any(const std::string &url, const std::string &other) {
    Session session(url, World::options(small));
    std::string told;
    if (session.wait(WSXDP_EVENT_OPEN) == nullptr) return "no first";
    if (!drop_capabilities(every_capability)) return "not dropped";
    session.send("with none");
    const Seen *echo = session.wait(WSXDP_EVENT_MESSAGE);
    told += echo != nullptr && echo->data == "with none" ? "echo\n" : "no echo\n";
    for (const std::string &next : {url, other}) {
        uint32_t conn = 0;
        if (wsxdp_connect(session.handle, next.c_str(), nullptr, &conn) != 0) return told + "no connect";
        if (session.wait(WSXDP_EVENT_OPEN, 5000, conn) == nullptr) {
            for (const Seen &seen : session.events) told += seen.data + "\n";
            return told + "not open";
        }
        told += session.info("transport", conn) + "\n";
        wsxdp_close(session.handle, conn, 1000, "", 0);
        const Seen *close = session.wait(WSXDP_EVENT_CLOSE, 5000, conn);
        told += close != nullptr && (close->flags & WSXDP_FLAG_CLEAN) != 0 ? "clean\n" : "not clean\n";
    }
    return told;
}
TEST(everything_is_dropped_after_open) {
    need();
    Place place;
    // A neighbour that the kernel has to ask for, which we may not tell it to any more.
    place.world.veth.there.run("ip addr add 10.77.0.9/24 dev peer0");
    auto other = place.world.serve(answer_or_echo, nullptr, "10.77.0.9");
    const std::string told = told_by_child(place.world.veth.here, [&] {
        return goes_on_without_any(place.url, World::url(*other, "10.77.0.9"));
    });
    check_told(told, {{"echo"}, {"xdp"}, {"clean"}, {"xdp"}, {"clean"}});
}

TESTS("permissions")
