// SPDX-License-Identifier: MIT
// transport=xdp in a process of its own: what the helper keeps of root's rights, that a program without any
// needs none when the helper's file has capabilities, what is said when it has not, and libxdp's dispatcher
// from inside of the sandbox. Each case with an ordinary user is a child process, for who became one stays
// it.
#include "../../tools/wsxdp-stage/sandbox.h"
#include "../pipeline/helpers.h"
#include "beside.h"
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/xattr.h>

using namespace netns;

static constexpr uint64_t bit(unsigned capability) { return uint64_t{1} << capability; }
constexpr uint64_t needed = bit(CAP_NET_RAW) | bit(CAP_NET_ADMIN) | bit(CAP_BPF);
static const OptionList in_process = {{"placement", "processes: transport+ws"}, {"xdp.frames", "1024"}};

static OptionList with(OptionList more) {
    more.insert(more.begin(), in_process.begin(), in_process.end());
    return World::options(more);
}
static uint64_t set_of(pid_t pid, const char *name) {
    return strtoull(line_of(pid, name).c_str(), nullptr, 16);
}

TEST(the_helper_keeps_what_xdp_needs) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    Session session(World::url(*server), with({}));
    if (session.status != 0) fail_msg("open: %d %s", session.status, session.text.c_str());
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.info("transport").c_str(), "xdp");
    const pid_t pid = helper();
    const uint64_t ours = set_of(getpid(), "CapPrm:\t"), kept = needed | bit(CAP_IPC_LOCK);
    assert_int_equal(set_of(pid, "CapPrm:\t"), kept & ours);
    assert_int_equal(set_of(pid, "CapEff:\t"), kept & ours);
    for (const char *set : {"CapInh:\t", "CapBnd:\t", "CapAmb:\t"}) assert_int_equal(set_of(pid, set), 0);
    assert_string_equal(line_of(pid, "NoNewPrivs:\t").c_str(), "1");
    assert_string_equal(line_of(pid, "Seccomp:\t").c_str(), WSXDP_STAGE_FILTER ? "2" : "0");
}

// ---- a program without any right ----

// A copy of the helper that everybody may run, with these capabilities in its file.
struct Copy {
    char directory[32] = "/tmp/wsxdp-test-XXXXXX";
    std::string path;

    explicit Copy(uint64_t capabilities) {
        assert_non_null(mkdtemp(directory));
        chmod(directory, 0755);
        path = std::string(directory) + "/wsxdp-stage";
        const std::string program = read_file(stage_program());
        const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0755);
        assert_int_equal(write(fd, program.data(), program.size()), program.size());
        close(fd);
        // As setcap writes it: permitted, and effective from the start.
        const uint32_t permitted[2] = {static_cast<uint32_t>(capabilities),
                                       static_cast<uint32_t>(capabilities >> 32)};
        vfs_cap_data data = {};
        data.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE;
        for (int half = 0; half < 2; half++) data.data[half].permitted = permitted[half];
        if (capabilities != 0 &&
            setxattr(path.c_str(), "security.capability", &data, XATTR_CAPS_SZ_2, 0) != 0)
            fail_msg("security.capability on %s: %s", path.c_str(), strerror(errno));
    }
    ~Copy() {
        unlink(path.c_str());
        rmdir(directory);
    }
    Copy(const Copy &) = delete;
    Copy &operator=(const Copy &) = delete;
};

// A number that no other test uses, since locked memory is accounted to the user; then without any
// capability.
static bool become_nobody() {
    constexpr uid_t nobody = 61977;
    const rlimit locked = {8 << 20, 8 << 20};
    return setrlimit(RLIMIT_MEMLOCK, &locked) == 0 && setgroups(0, nullptr) == 0 &&
           setresgid(nobody, nobody, nobody) == 0 && setresuid(nobody, nobody, nobody) == 0 &&
           drop_capabilities(~uint64_t{0});
}

static std::string told_by_nobody(const World &world, const std::string &url, const Copy &copy,
                                  const OptionList &more = {}) {
    OptionList options = with(more);
    options.push_back({"stage.path", copy.path});
    return told_by_child(world.veth.here, [&] {
        if (!become_nobody()) return std::string("not prepared: ") + strerror(errno);
        if (set_of(getpid(), "CapPrm:\t") != 0) return std::string("still has capabilities");
        return told_by_session(url, options);
    });
}

TEST(a_program_without_any_right_has_the_helper_do_it) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    const Copy copy(needed);
    for (const char *mode : {"driver", "generic"}) {
        std::string told;
        eventually(
            [&] { // the kernel takes locked pages off the account some time after their process has ended
                told = told_by_nobody(world, World::url(*server), copy, {{"xdp.mode", mode}});
                return !contains(told, "RLIMIT_MEMLOCK");
            });
        check_told_open(told);
    }
    assert_true(eventually([] { return present().id == 0; }));
}

TEST(without_file_capabilities_it_is_told_what_to_do) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    const std::string refused = "refused " + std::to_string(WSXDP_E_PERMISSION);
    const Copy none(0);
    check_told(told_by_nobody(world, World::url(*server), none),
               {{refused, "transport=xdp needs CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF; ",
                 "setcap cap_net_admin,cap_net_raw,cap_bpf+ep PROGRAM", "PROGRAM is " + none.path}});
    const Copy some(bit(CAP_NET_RAW) | bit(CAP_NET_ADMIN));
    check_told(told_by_nobody(world, World::url(*server), some),
               {{refused, "transport=xdp needs CAP_BPF; ", "PROGRAM is " + some.path}});
}

// ---- the dispatcher ----

// In a child with mounts of its own. Where the kernel refuses the dispatcher to everybody, it is to be
// refused from inside of the sandbox for the same reason.
TEST(the_dispatcher_is_as_outside_of_the_sandbox) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    const auto told = [&](const char *placement) {
        return told_by_child(world.veth.here, [&] {
            if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
                return std::string("not prepared");
            while (umount2("/sys/fs/bpf", MNT_DETACH) == 0) {
            }
            if (mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr) != 0) return std::string("not mounted");
            OptionList options = with({{"xdp.dispatcher", "yes"}});
            options.push_back({"placement", placement});
            return told_by_session(World::url(*server), options);
        });
    };
    const std::string outside = told("inline"), inside = told("processes: transport+ws");
    if (!contains(inside, "open by xdp")) assert_true(contains(inside, "libxdp cannot attach"));
    assert_string_equal(inside.c_str(), outside.c_str());
}

TESTS("helper")
