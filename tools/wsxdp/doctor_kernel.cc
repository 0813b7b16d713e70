// SPDX-License-Identifier: MIT
// The doctor on this build, the kernel and this process. What can be tried without a trace is tried: a socket
// is made, the XDP program is loaded, the memory registered, and all of it closed again; nothing is attached
// or bound. What cannot be tried without the privilege is judged by the kernel's number and says so.
#include "doctor_parts.h"

#include "format.h"

#include "../../lib/link/xdp/host.h"
#include "../../lib/link/xdp/program.h"
#include "../../lib/link/xdp/umem.h"

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <linux/capability.h>
#include <linux/if_xdp.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace wx;

namespace {

// Closes what a trial has opened.
struct Descriptor {
    int fd;
    explicit Descriptor(int value) : fd(value) {}
    ~Descriptor() {
        if (fd >= 0) close(fd);
    }
    Descriptor(const Descriptor &) = delete;
    Descriptor &operator=(const Descriptor &) = delete;
};

std::string kib(uint64_t bytes) { return bytes == UINT64_MAX ? "unlimited" : grouped(bytes / 1024) + " KiB"; }

void examine_build(Patient &patient, Report &report) {
    patient.program = !xdp_program_image(false).empty();
    if (patient.program)
        report.add("build.xdp", Verdict::ok, "this build has transport=xdp", "the XDP program is in it");
    else
        report.add("build.xdp", Verdict::fail, "this build has no transport=xdp (XDP=none)",
                   "it was built without libbpf, libxdp or a clang that makes BPF programs",
                   "apt install libbpf-dev libxdp-dev clang llvm && make XDP=libbpf");
}

void examine_socket(Patient &patient, Report &report) {
    Descriptor trial(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
    int cause = errno;
    const char *reason = "frames come and go through sockets of this family (Linux 4.18, CONFIG_XDP_SOCKETS)";
    patient.af_xdp = trial.fd >= 0;
    if (patient.af_xdp)
        report.add("kernel.af_xdp", Verdict::ok, "an AF_XDP socket can be made", reason);
    else if (cause == EPERM || cause == EACCES)
        report.add("kernel.af_xdp", Verdict::unknown, "an AF_XDP socket cannot be made by this process",
                   std::string("to try it takes CAP_NET_RAW; ") + reason);
    else
        report.add("kernel.af_xdp", Verdict::fail,
                   std::string("the kernel makes no AF_XDP socket: ") + strerror(cause), reason,
                   "use a kernel with CONFIG_XDP_SOCKETS=y");
    // Kernels before 5.4 tell of rings without flags, and of a smaller struct.
    xdp_mmap_offsets offsets;
    socklen_t size = sizeof offsets;
    bool tried = patient.af_xdp && getsockopt(trial.fd, SOL_XDP, XDP_MMAP_OFFSETS, &offsets, &size) == 0;
    bool wakes = tried ? size == sizeof offsets : kernel_at_least(patient.process, 5, 4);
    report.add("kernel.need_wakeup", wakes ? Verdict::ok : Verdict::fail,
               wakes ? "rings say when the kernel needs a wake-up" : "no need_wakeup",
               "without it (Linux 5.4) sending and refilling would be a system call each",
               wakes ? "" : "use Linux 5.4 or newer");
}

void examine_program(Patient &patient, Report &report) {
    if (!patient.program) return;
    XdpProgram program;
    XdpProgramOptions options;
    ErrorText error;
    options.ifindex = patient.has_interface ? patient.link.index : 1; // loopback: loading is not attaching
    options.interface = patient.has_interface ? patient.link.name : "lo";
    options.queues = std::max(patient.nic.receive_queues, 1u);
    int status = xdp_program_load(&program, options, &error);
    xdp_program_close(&program);
    const char *reason = "it gives our connections' packets to AF_XDP and all others to the kernel";
    if (status >= 0) {
        report.add("kernel.bpf", Verdict::ok, "bpf() is available and the kernel takes the XDP program",
                   reason);
        return;
    }
    bool lacks = !patient.process.net_admin || !(patient.process.bpf || patient.process.sys_admin);
    if (status == WSXDP_E_PERMISSION && lacks)
        report.add("kernel.bpf", Verdict::unknown, "the XDP program cannot be loaded by this process",
                   "to try it takes CAP_BPF and CAP_NET_ADMIN");
    else
        report.add("kernel.bpf", Verdict::fail, error.text, reason);
}

struct Feature {
    const char *id, *what, *reason;
    unsigned major, minor;
    Verdict otherwise;
};

void examine_features(const Patient &patient, Report &report) {
    static const Feature features[] = {
        {"kernel.bpf_link", "bpf_link for XDP",
         "the program leaves the interface with its process, however that ends", 5, 9, Verdict::fail},
        {"kernel.shared_umem", "memory shared by sockets on several queues",
         "an interface with more than one queue gets a socket on each", 5, 10, Verdict::warn},
        {"kernel.device_bound", "XDP programs bound to a device",
         "timestamps=hardware reads the NIC's stamp in the XDP program", 6, 3, Verdict::warn},
    };
    for (const Feature &feature : features) {
        std::string since = std::to_string(feature.major) + "." + std::to_string(feature.minor);
        bool there = kernel_at_least(patient.process, feature.major, feature.minor);
        report.add(feature.id, there ? Verdict::ok : feature.otherwise,
                   std::string(feature.what) + (there ? " (since " : ": not before Linux ") + since +
                       (there ? ")" : ""),
                   feature.reason, there ? "" : "use Linux " + since + " or newer");
    }
}

void examine_settings(const Patient &patient, Report &report) {
    const ProcessFacts &p = patient.process;
    const char *jit_reason = "an interpreted XDP program costs every packet of the interface time";
    if (p.jit == Known::unknown)
        report.add("kernel.jit", Verdict::unknown, "net.core.bpf_jit_enable cannot be read",
                   std::string(jit_reason) + "; to read it takes root, in the first network namespace");
    else
        report.add("kernel.jit", p.jit == Known::yes ? Verdict::ok : Verdict::warn,
                   p.jit == Known::yes ? "BPF programs are compiled" : "BPF programs are interpreted",
                   jit_reason, p.jit == Known::yes ? "" : "sysctl -w net.core.bpf_jit_enable=1");
    report.add("kernel.btf", p.kernel_btf ? Verdict::ok : Verdict::warn,
               p.kernel_btf ? "the kernel has type information (BTF)" : "no /sys/kernel/btf/vmlinux",
               "xdp.dispatcher and timestamps=hardware need it, nothing else does",
               p.kernel_btf ? "" : "use a kernel with CONFIG_DEBUG_INFO_BTF=y");
    report.add("kernel.bpffs", p.bpffs ? Verdict::ok : Verdict::warn,
               p.bpffs ? "a BPF file system is on /sys/fs/bpf" : "no BPF file system on /sys/fs/bpf",
               "xdp.dispatcher keeps its programs there, nothing else needs it",
               p.bpffs ? "" : "mount -t bpf bpf /sys/fs/bpf");
}

bool no_new_privileges() { return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1; }

// setcap gives nothing that the bounding set (of a container, of a service) does not hold.
std::string capability_remedy(unsigned bit) {
    if (prctl(PR_CAPBSET_READ, bit, 0, 0, 0) == 0)
        return "give it to the container or service: docker run --cap-add, CapabilityBoundingSet= of systemd";
    if (no_new_privileges()) return "run it without no_new_privs (NoNewPrivileges= of systemd), or as root";
    return "setcap cap_net_admin,cap_net_raw,cap_bpf+ep PROGRAM, or run it as root";
}

void examine_capabilities(const Patient &patient, Report &report) {
    const ProcessFacts &p = patient.process;
    const struct {
        const char *id, *name, *reason;
        unsigned bit;
        bool has;
    } rows[] = {
        {"process.cap_net_raw", "CAP_NET_RAW", "AF_XDP sockets", CAP_NET_RAW, p.net_raw},
        {"process.cap_net_admin", "CAP_NET_ADMIN", "attaching the XDP program, and busy polling",
         CAP_NET_ADMIN, p.net_admin},
        {"process.cap_bpf", "CAP_BPF", "loading the XDP program and its maps", CAP_BPF, p.bpf || p.sys_admin},
    };
    for (const auto &row : rows)
        report.add(row.id, row.has ? Verdict::ok : Verdict::fail,
                   std::string(row.name) + (row.has ? " is there" : " is missing"),
                   std::string("needed while transport=xdp opens, for ") + row.reason,
                   row.has ? "" : capability_remedy(row.bit));
}

// Registers frames as transport=xdp will, and gives them back. 0, or errno.
int try_memory(uint32_t frame_bytes) {
    Umem umem;
    UmemOptions options;
    ErrorText error;
    options.frame_bytes = frame_bytes;
    options.hugepages = false; // they would be charged alike
    if (umem_open(&umem, options, &error) < 0) return error.system_errno != 0 ? error.system_errno : ENOMEM;
    int cause = 0;
    {
        Descriptor trial(socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0));
        xdp_umem_reg request = {};
        request.addr = reinterpret_cast<uintptr_t>(umem.base);
        request.len = umem.bytes;
        request.chunk_size = umem.frame_bytes;
        if (trial.fd < 0 || setsockopt(trial.fd, SOL_XDP, XDP_UMEM_REG, &request, sizeof request) != 0)
            cause = errno;
    }
    umem_close(&umem);
    return cause;
}

// Both ways out that need no more than this user's rights come first.
std::string memlock_remedy(const ProcessFacts &p, uint64_t needed, uint32_t frame_bytes) {
    constexpr uint64_t frames_min = 512; // of xdp.frames
    uint64_t frames = frames_min;
    std::string size = std::to_string(needed / 1024);
    if (p.memlock_hard >= needed) return "ulimit -l " + size;
    while (frames * 2 * frame_bytes <= p.memlock_soft) frames *= 2;
    std::string raise = "LimitMEMLOCK=" + std::to_string(needed) + " of the service, memlock " + size +
                        " in /etc/security/limits.conf, or setcap also cap_ipc_lock";
    return frames * frame_bytes > p.memlock_soft ? raise
                                                 : raise + "; or xdp.frames=" + std::to_string(frames);
}

void examine_memlock(const Patient &patient, Report &report) {
    const ProcessFacts &p = patient.process;
    uint32_t frame_bytes = frame_bytes_for(patient.has_interface ? patient.link.mtu : 1500);
    uint64_t needed = uint64_t{UmemOptions().frames} * frame_bytes;
    std::string limits =
        "the limit of locked memory is " + kib(p.memlock_soft) + " (hard " + kib(p.memlock_hard) + ")";
    std::string reason = "xdp.frames of " + grouped(UmemOptions().frames) + " take " + kib(needed) +
                         ", charged to RLIMIT_MEMLOCK (also where BPF memory is charged to the cgroup, since "
                         "5.11), together with all AF_XDP memory of this user";
    int cause = patient.af_xdp ? try_memory(frame_bytes) : 0;
    bool scarce = cause == ENOBUFS || cause == ENOMEM;
    if (cause != 0 && !(scarce && p.memlock_soft < needed) && cause != ENOBUFS)
        report.add("process.memlock", Verdict::fail,
                   "the kernel does not take " + kib(needed) + " for frames: " + strerror(cause), reason,
                   "lower xdp.frames, or raise the limits of memory (cgroup) and file size (ulimit -f)");
    else if (cause == 0 && p.ipc_lock)
        report.add("process.memlock", Verdict::ok, limits + "; CAP_IPC_LOCK lifts it", reason);
    else if (cause == 0 && (patient.af_xdp || p.memlock_soft >= needed))
        report.add("process.memlock", Verdict::ok, limits, reason);
    else
        report.add("process.memlock", Verdict::fail, limits + (cause != 0 ? ", and that is not enough" : ""),
                   reason, memlock_remedy(p, needed, frame_bytes));
}

} // namespace

bool kernel_at_least(const ProcessFacts &facts, unsigned major, unsigned minor) {
    unsigned have = 0, have_minor = 0;
    if (sscanf(facts.kernel, "%u.%u", &have, &have_minor) != 2) return false;
    return have > major || (have == major && have_minor >= minor);
}

bool read_line(const std::string &path, std::string *out) {
    std::ifstream file(path);
    out->clear();
    return bool(std::getline(file, *out)) || file.eof();
}

bool read_number(const std::string &path, int64_t *out) {
    std::ifstream file(path);
    return bool(file >> *out);
}

void examine_kernel(Patient &patient, Report &report) {
    examine_build(patient, report);
    bool enough = kernel_at_least(patient.process, 5, 11);
    report.add("kernel.version", enough ? Verdict::ok : Verdict::warn,
               std::string("Linux ") + patient.process.kernel,
               enough ? "transport=xdp is made for 5.11 and newer"
                      : "transport=xdp is made for 5.11 and newer; a distribution may have added what is "
                        "needed to an older one",
               enough ? "" : "use Linux 5.11 or newer");
    examine_socket(patient, report);
    examine_program(patient, report);
    examine_features(patient, report);
    examine_settings(patient, report);
}

void examine_process(const Patient &patient, Report &report) {
    examine_capabilities(patient, report);
    examine_memlock(patient, report);
}
