// SPDX-License-Identifier: MIT
// The doctor on what takes or saves time whatever the interface: memory, cores, clocks; and on what the other
// transports, sockets and io_uring, would have. Reads files that anybody may read and tries what leaves no
// trace. Worst case: in a container or a virtual machine much of it is not shown, and is said to be unknown.
#include "doctor_parts.h"

#include "format.h"

#include "../../lib/link/xdp/host.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <linux/io_uring.h>
#include <linux/net_tstamp.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace wx;

namespace {

// A receive buffer below this is the limit of a single connection at some 100 Mbit/s and 100 ms.
constexpr int64_t receive_buffer_min = 1 << 20;

void examine_hugepages(const Patient &patient, Report &report) {
    const ProcessFacts &p = patient.process;
    uint64_t needed =
        uint64_t{UmemOptions().frames} * frame_bytes_for(patient.has_interface ? patient.link.mtu : 1500);
    const char *reason = "frames in huge pages (xdp.hugepages) save page walks; ordinary ones do";
    if (p.hugepage_bytes == 0) {
        report.add("machine.hugepages", Verdict::unknown, "huge pages are not known", reason);
        return;
    }
    uint64_t pages = (needed + p.hugepage_bytes - 1) / p.hugepage_bytes;
    bool fit = needed % p.hugepage_bytes == 0;
    bool enough = fit && p.hugepages_free >= pages;
    report.add("machine.hugepages", enough ? Verdict::ok : Verdict::warn,
               grouped(p.hugepages_free) + " huge pages of " + grouped(p.hugepage_bytes / 1024) +
                   " KiB are free" +
                   (fit ? ", " + std::to_string(pages) + " would be used" : ", larger than what is needed"),
               reason, enough || !fit ? "" : "sysctl -w vm.nr_hugepages=" + std::to_string(pages));
}

void examine_governor(Report &report) {
    std::error_code error;
    std::string slow, governor;
    size_t cores = 0;
    for (const auto &entry : std::filesystem::directory_iterator("/sys/devices/system/cpu", error)) {
        if (!read_line(entry.path().string() + "/cpufreq/scaling_governor", &governor) || governor.empty())
            continue;
        cores++;
        if (governor != "performance") slow = governor;
    }
    const char *reason = "a core that must speed up first is late for the packet that wakes it";
    if (cores == 0)
        report.add("machine.governor", Verdict::unknown, "the frequency governor of the cores cannot be read",
                   std::string(reason) + "; a virtual machine's host has it");
    else
        report.add("machine.governor", slow.empty() ? Verdict::ok : Verdict::warn,
                   "the frequency governor is " + (slow.empty() ? "performance" : slow), reason,
                   slow.empty() ? "" : "cpupower frequency-set -g performance");
}

bool is_running(const std::string &name) {
    std::error_code error;
    std::string comm;
    for (const auto &entry : std::filesystem::directory_iterator("/proc", error)) {
        std::string pid = entry.path().filename().string();
        if (pid.find_first_not_of("0123456789") != std::string::npos) continue;
        if (read_line(entry.path().string() + "/comm", &comm) && comm == name) return true;
    }
    return false;
}

void examine_cores(const Patient &patient, Report &report) {
    std::string isolated = patient.process.isolated;
    report.add("machine.isolated_cores", isolated.empty() ? Verdict::warn : Verdict::ok,
               isolated.empty() ? "no core is isolated" : "isolated cores: " + isolated,
               "a thread that spins (wait=spin) wants a core to itself",
               isolated.empty() ? "kernel parameter isolcpus=N, then taskset -c N PROGRAM" : "");
    bool balances = is_running("irqbalance");
    report.add("machine.irqbalance", balances ? Verdict::warn : Verdict::ok,
               balances ? "irqbalance is running" : "irqbalance is not seen to run",
               "it moves the NIC's interrupts from core to core",
               balances ? "systemctl stop irqbalance, or exclude the core (IRQBALANCE_BANNED_CPULIST)" : "");
}

// -1: not readable.
int64_t sysctl(const char *path) {
    int64_t value = -1;
    return read_number(std::string("/proc/sys/") + path, &value) ? value : -1;
}

void examine_busy_poll(Report &report) {
    int64_t read = sysctl("net/core/busy_read"), poll = sysctl("net/core/busy_poll");
    const char *reason =
        "socket.busy_poll_us asks the driver instead of waiting for its interrupt; more than "
        "net.core.busy_read needs CAP_NET_ADMIN";
    if (read < 0 || poll < 0)
        report.add("sockets.busy_poll", Verdict::unknown,
                   "net.core.busy_read and net.core.busy_poll cannot be read",
                   std::string(reason) + "; they are shown in the first network namespace alone");
    else
        report.add("sockets.busy_poll", Verdict::ok,
                   "net.core.busy_read " + std::to_string(read) + " us, net.core.busy_poll " +
                       std::to_string(poll) + " us",
                   reason, read == 0 ? "sysctl -w net.core.busy_read=50" : "");
}

void examine_receive_buffer(Report &report) {
    std::string line;
    int64_t least = 0, usual = 0, most = 0;
    bool known = read_line("/proc/sys/net/ipv4/tcp_rmem", &line) &&
                 sscanf(line.c_str(), "%ld %ld %ld", &least, &usual, &most) == 3;
    const char *reason = "more than this a connection of the kernel's TCP never has on the way to us";
    if (!known)
        report.add("sockets.receive_buffer", Verdict::unknown, "net.ipv4.tcp_rmem cannot be read", reason);
    else
        report.add("sockets.receive_buffer", most >= receive_buffer_min ? Verdict::ok : Verdict::warn,
                   "receive buffers grow up to " + grouped(uint64_t(most)) + " bytes (net.ipv4.tcp_rmem)",
                   reason,
                   most >= receive_buffer_min ? "" : "sysctl -w net.ipv4.tcp_rmem='4096 131072 6291456'");
}

void examine_ring(Report &report) {
    int64_t disabled = sysctl("kernel/io_uring_disabled");
    io_uring_params parameters = {};
    long fd = syscall(SYS_io_uring_setup, 1, &parameters);
    int cause = errno;
    if (fd >= 0) close(int(fd));
    std::string setting = disabled < 0 ? "" : " (kernel.io_uring_disabled " + std::to_string(disabled) + ")";
    const char *reason = "transport=uring would need it";
    if (fd >= 0)
        report.add("io_uring.setup", Verdict::ok, "a ring can be made" + setting, reason);
    else if (disabled > 0)
        report.add("io_uring.setup", Verdict::warn, "the system forbids rings" + setting, reason,
                   "sysctl -w kernel.io_uring_disabled=0");
    else
        report.add("io_uring.setup", Verdict::warn,
                   std::string("a ring cannot be made: ") + strerror(cause) + setting,
                   cause == ENOSYS  ? "the kernel has no io_uring"
                   : cause == EPERM ? "a filter of system calls (that of a container, usually) forbids it"
                                    : reason);
}

} // namespace

void examine_machine(const Patient &patient, Report &report) {
    examine_hugepages(patient, report);
    examine_cores(patient, report);
    examine_governor(report);
}

void examine_sockets(Report &report) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
    bool stamps = fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags) == 0;
    std::string cause = strerror(errno);
    if (fd >= 0) close(fd);
    report.add("sockets.timestamps", stamps ? Verdict::ok : Verdict::warn,
               stamps ? "the kernel stamps received packets (SO_TIMESTAMPING)"
                      : "no SO_TIMESTAMPING: " + cause,
               "timestamps=software on transport=socket");
    examine_busy_poll(report);
    examine_receive_buffer(report);
}

void examine_io_uring(const Patient &patient, Report &report) {
    examine_ring(report);
    bool multishot = kernel_at_least(patient.process, 6, 0);
    report.add("io_uring.multishot", multishot ? Verdict::ok : Verdict::warn,
               multishot ? "multishot receive (since 6.0)" : "multishot receive: not before Linux 6.0",
               "one request for all packets of a connection", multishot ? "" : "use Linux 6.0 or newer");
    report.add("io_uring.transport", Verdict::warn, "this build has no io_uring transport yet",
               "transport=uring is refused, whatever the kernel offers", "use transport=socket");
}
