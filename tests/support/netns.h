// SPDX-License-Identifier: MIT
// Network namespaces without a name, joined by veth pairs, for tests of what crosses a link. They go away
// with the last descriptor and process in them, however the test ends. Set up by iproute2, since every test's
// setup is then a line that a reader can type.
#pragma once
#include <functional>
#include <string>
#include <sys/types.h>

namespace netns {

// What is missing for namespaces and veth; empty: nothing. To be called before there is a second thread.
const std::string &unavailable();
// Skips the running test, with the reason, where they cannot be had.
void need();

struct Namespace {
    Namespace();
    ~Namespace();
    Namespace(const Namespace &) = delete;
    Namespace &operator=(const Namespace &) = delete;
    void enter() const; // the calling thread is in it from now on
    // A shell command inside; fails the test with its output unless it ends with 0. Returns the output.
    std::string run(const std::string &command) const;
    bool try_run(const std::string &command, std::string *output = nullptr) const;
    std::string path() const; // for `ip link set dev X netns PATH`
    int fd = -1;
};

struct VethOptions {
    unsigned queues = 1; // of both ends, both directions
    unsigned mtu = 1500;
    bool peer_offload = false; // checksums of what the peer sends left to a NIC that is not there
    bool vlan_offload = false; // tags carried beside the packet and not in it
};

// Two hosts, `here` with xdp0 and 10.77.0.1/24, fd77::1/64; `there` with peer0 and .2, ::2. Both are up, and
// IPv6 addresses usable at once. `here` has no default route.
struct Veth {
    explicit Veth(const VethOptions &options = VethOptions());
    Namespace here;
    Namespace there;
};
constexpr const char *here4 = "10.77.0.1", *there4 = "10.77.0.2", *here6 = "fd77::1", *there6 = "fd77::2";

// A thread's namespace for as long as this lives; then the one it had.
struct Inside {
    explicit Inside(const Namespace &where);
    ~Inside();
    Inside(const Inside &) = delete;
    Inside &operator=(const Inside &) = delete;
    int before = -1;
};

// A child process in the namespace that runs `body` and ends with what it returns. It is killed, by pid, and
// waited for when this goes away.
struct Child {
    Child(const Namespace &where, const std::function<int()> &body);
    ~Child();
    Child(const Child &) = delete;
    Child &operator=(const Child &) = delete;
    int wait(); // its exit status, or 128 + signal
    void kill(int signal) const;
    pid_t pid = -1;
};

} // namespace netns
