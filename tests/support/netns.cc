// SPDX-License-Identifier: MIT
// Namespaces by unshare and setns of the calling thread; everything in them by `ip` and `ethtool`. A
// namespace is held by one descriptor, so a test that is killed leaves nothing behind.
#include "netns.h"
#include "../base/check.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace netns {

namespace {

int own_namespace() {
    const std::string path = "/proc/self/task/" + std::to_string(syscall(SYS_gettid)) + "/ns/net";
    return open(path.c_str(), O_RDONLY | O_CLOEXEC);
}

std::string find_out() {
    if (geteuid() != 0) return "network namespaces with veth need root";
    const int before = own_namespace();
    if (unshare(CLONE_NEWNET) != 0) return std::string("no network namespace: ") + strerror(errno);
    const bool veth = system("ip link add netnsa type veth peer name netnsb 2>/dev/null") == 0;
    if (setns(before, CLONE_NEWNET) != 0) return std::string("setns: ") + strerror(errno);
    close(before);
    return veth ? "" : "the kernel or iproute2 makes no veth";
}

} // namespace

const std::string &unavailable() {
    static const std::string reason = find_out();
    return reason;
}

void need() {
    if (unavailable().empty()) return;
    print_message("SKIPPED: %s\n", unavailable().c_str());
    skip();
}

Namespace::Namespace() {
    const int before = own_namespace();
    if (unshare(CLONE_NEWNET) != 0) fail_msg("unshare: %s", strerror(errno));
    fd = own_namespace();
    if (fd < 0 || setns(before, CLONE_NEWNET) != 0) fail_msg("setns: %s", strerror(errno));
    close(before);
    run("ip link set lo up");
}
Namespace::~Namespace() { close(fd); }
void Namespace::enter() const {
    if (setns(fd, CLONE_NEWNET) != 0) fail_msg("setns: %s", strerror(errno));
}
std::string Namespace::path() const {
    return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(fd);
}

bool Namespace::try_run(const std::string &command, std::string *output) const {
    Inside inside(*this);
    FILE *pipe = popen(("exec 2>&1; " + command).c_str(), "re");
    if (pipe == nullptr) fail_msg("popen: %s", strerror(errno));
    std::string text;
    char buffer[4096];
    for (ssize_t got = 0; (got = TEMP_FAILURE_RETRY(read(fileno(pipe), buffer, sizeof buffer))) > 0;)
        text.append(buffer, static_cast<size_t>(got));
    const int status = pclose(pipe);
    if (output != nullptr) *output = text;
    return status == 0;
}
std::string Namespace::run(const std::string &command) const {
    std::string output;
    if (!try_run(command, &output)) fail_msg("%s: %s", command.c_str(), output.c_str());
    return output;
}

Veth::Veth(const VethOptions &options) {
    const std::string queues =
        " numtxqueues " + std::to_string(options.queues) + " numrxqueues " + std::to_string(options.queues);
    here.run("ip link add xdp0" + queues + " type veth peer name peer0" + queues + " netns " + there.path());
    const struct {
        const Namespace *side;
        const char *device, *address4, *address6;
        bool offload;
    } sides[] = {{&here, "xdp0", here4, here6, true},
                 {&there, "peer0", there4, there6, options.peer_offload}};
    for (const auto &s : sides) {
        const std::string device = s.device;
        // Link-local addresses are usable at once, too: neighbours are asked from them.
        std::string line = "echo 0 > /proc/sys/net/ipv6/conf/" + device + "/accept_dad && ip link set " +
                           device + " mtu " + std::to_string(options.mtu) + " up" + " && ip addr add " +
                           s.address4 + "/24 dev " + device + " && ip addr add " + s.address6 + "/64 dev " +
                           device + " nodad";
        if (!s.offload) line += " && ethtool -K " + device + " tx off >/dev/null";
        if (!options.vlan_offload) line += " && ethtool -K " + device + " txvlan off rxvlan off >/dev/null";
        s.side->run(line);
    }
}

Inside::Inside(const Namespace &where) : before(own_namespace()) { where.enter(); }
Inside::~Inside() {
    if (setns(before, CLONE_NEWNET) != 0) fail_msg("setns: %s", strerror(errno));
    close(before);
}

Child::Child(const Namespace &where, const std::function<int()> &body) {
    fflush(nullptr);
    const pid_t parent = getpid();
    pid = fork();
    if (pid < 0) fail_msg("fork: %s", strerror(errno));
    if (pid != 0) return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) _exit(1);
    where.enter();
    _exit(body());
}
Child::~Child() {
    if (pid <= 0) return;
    kill(SIGKILL);
    wait();
}
int Child::wait() {
    int status = 0;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    pid = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
void Child::kill(int signal) const { ::kill(pid, signal); }

} // namespace netns
