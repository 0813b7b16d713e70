// SPDX-License-Identifier: MIT
// nic, transport and ws in processes of their own: the nic alone keeps the rights that AF_XDP needs and has
// its sockets, whichever of the three is killed is named and the connection comes back, and the peer hears of
// the end.
#include "../../tools/wsxdp-stage/sandbox.h"
#include "../pipeline/helpers.h"
#include "beside.h"
#include "ledger.h"
#include <dirent.h>
#include <linux/capability.h>
#include <signal.h>

using namespace netns;

namespace {

constexpr uint64_t bit(unsigned capability) { return uint64_t{1} << capability; }
constexpr uint64_t nic_keeps = bit(CAP_NET_RAW) | bit(CAP_NET_ADMIN) | bit(CAP_BPF) | bit(CAP_IPC_LOCK);

OptionList apart(const OptionList &more = {}) {
    OptionList all = {
        {"transport", "xdp"}, {"placement", "processes: nic transport ws"}, {"xdp.frames", "2048"}};
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

// The helper whose command line ends in this role.
pid_t helper_of(const std::string &role) {
    for (pid_t pid : helpers_of(getpid())) {
        std::string line = read_file("/proc/" + std::to_string(pid) + "/cmdline");
        while (!line.empty() && line.back() == 0) line.pop_back();
        if (line.substr(line.rfind('\0') + 1) == role) return pid;
    }
    fail_msg("no process of %s", role.c_str());
    return -1;
}

uint64_t set_of(pid_t pid, const char *name) { return strtoull(line_of(pid, name).c_str(), nullptr, 16); }

// BPF maps that it has a descriptor of.
size_t maps_of(pid_t pid) {
    const std::string path = "/proc/" + std::to_string(pid) + "/fd";
    DIR *dir = opendir(path.c_str());
    assert_non_null(dir);
    size_t count = 0;
    while (const dirent *entry = readdir(dir)) {
        char target[256] = "";
        const ssize_t size = readlink((path + "/" + entry->d_name).c_str(), target, sizeof target - 1);
        count += size > 0 && strcmp(target, "anon_inode:bpf-map") == 0;
    }
    closedir(dir);
    return count;
}

void echo(Session &session, const std::string &text) {
    assert_int_equal(session.send(text), 0);
    assert_true(session.need(WSXDP_EVENT_MESSAGE).data == text);
}

} // namespace

TEST(the_nic_alone_keeps_what_xdp_needs) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    Session session(World::url(*server), apart({{"reconnect", "no"}}));
    if (session.status != 0) fail_msg("open: %d %s", session.status, session.text.c_str());
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.info("transport").c_str(), "xdp");
    const uint64_t ours = set_of(getpid(), "CapPrm:\t");
    const pid_t nic = helper_of("nic"), transport = helper_of("transport"), ws = helper_of("ws");
    assert_int_equal(set_of(nic, "CapPrm:\t"), nic_keeps & ours);
    for (pid_t pid : {nic, transport, ws}) {
        if (pid != nic) assert_int_equal(set_of(pid, "CapPrm:\t"), 0);
        for (const char *set : {"CapInh:\t", "CapBnd:\t", "CapAmb:\t"}) assert_int_equal(set_of(pid, set), 0);
        assert_string_equal(line_of(pid, "NoNewPrivs:\t").c_str(), "1");
        assert_string_equal(line_of(pid, "Seccomp:\t").c_str(), WSXDP_STAGE_FILTER ? "2" : "0");
    }
    // The tuples of both versions and the counters; the map of sockets is the nic's alone.
    assert_int_equal(maps_of(transport), 3);
    assert_true(maps_of(nic) >= 4);
    assert_int_equal(maps_of(ws), 0);
    for (int i = 0; i < 50; i++) echo(session, "message " + std::to_string(i));
    wsxdp_close(session.handle, 0, 1000, "", 0);
    assert_true(session.need(WSXDP_EVENT_CLOSE).flags & WSXDP_FLAG_CLEAN);
    need_balance(session, Counters(session)["time_wait"]);
}

TEST(whoever_dies_is_named_and_the_connection_comes_back) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    Session session(World::url(*server), apart());
    if (session.status != 0) fail_msg("open: %d %s", session.status, session.text.c_str());
    session.need(WSXDP_EVENT_OPEN);
    for (const char *role : {"nic", "transport", "nic", "ws"}) {
        echo(session, std::string("before the end of ") + role);
        const std::vector<pid_t> before = helpers_of(getpid());
        assert_int_equal(kill(helper_of(role), SIGKILL), 0);
        const Seen error = session.need(WSXDP_EVENT_ERROR);
        assert_int_equal(error.error, WSXDP_E_STAGE_DIED);
        if (!contains(error.data, std::string("the process of ") + role + ":") ||
            !contains(error.data, "SIGKILL"))
            fail_msg("%s: %s", role, error.data.c_str());
        const Seen open = session.need(WSXDP_EVENT_OPEN, 10000);
        assert_true(open.flags & WSXDP_FLAG_RECONNECTED);
        for (pid_t pid : before) assert_int_equal(kill(pid, 0), -1); // all three are others
        assert_int_equal(helpers_of(getpid()).size(), 3);
        for (int i = 0; i < 20; i++) echo(session, std::string(1000, 'a') + role);
    }
}

TEST(a_nic_that_may_not_is_told) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    // What the interface does not have is found by the transport, what it refuses by the nic.
    expect_failure(World::url(*server), apart({{"xdp.queue", "5"}}), WSXDP_E_XDP_QUEUES, "xdp.queue");
    expect_failure(World::url(*server), apart({{"xdp.mode", "zero-copy"}}), WSXDP_E_XDP_MODE, "zero-copy");
}

TEST(the_peer_hears_of_the_end) {
    need();
    World world;
    std::atomic<int> ended{0};
    auto server = world.serve([&](scripted::Wire &wire) {
        wire.upgrade();
        (void)wire.read_frame();
        ended = 1;
    });
    {
        Session session(World::url(*server), apart({{"reconnect", "no"}}));
        if (session.status != 0) fail_msg("open: %d %s", session.status, session.text.c_str());
        session.need(WSXDP_EVENT_OPEN);
        // Freed as it is: the transport resets, and the nic stays until that has left.
    }
    for (int64_t end = now_ms() + 2000; !ended && now_ms() < end;) usleep(1000);
    assert_true(ended);
    assert_int_equal(helpers_of(getpid()).size(), 0);
}

TESTS("nic process")
