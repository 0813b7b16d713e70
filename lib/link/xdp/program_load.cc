// SPDX-License-Identifier: MIT
// Takes the XDP program from the library's own bytes into the kernel: maps sized, variant chosen, verifier
// passed. Attaches nothing. What can go wrong here is privilege, a kernel that lacks something, or memory;
// each has its sentence. Nothing is left open after a failure.
#include "program_parts.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef BPF_F_XDP_DEV_BOUND_ONLY
#define BPF_F_XDP_DEV_BOUND_ONLY (1U << 6) // Linux 6.3
#endif

namespace wx {

const char *program_missing_capabilities(bool netlink) {
    __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2] = {};
    if (syscall(SYS_capget, &head, data) != 0) return "";
    const uint64_t have = data[0].effective | static_cast<uint64_t>(data[1].effective) << 32;
    const auto has = [have](unsigned bit) { return (have >> bit & 1) != 0; };
    // bpf(2) takes the older, wider capability for both of them; netlink does not.
    const bool bpf = has(CAP_BPF) || has(CAP_SYS_ADMIN);
    const bool admin = has(CAP_NET_ADMIN) || (has(CAP_SYS_ADMIN) && !netlink);
    return bpf && admin ? "" : bpf ? "CAP_NET_ADMIN" : admin ? "CAP_BPF" : "CAP_NET_ADMIN and CAP_BPF";
}

bool program_interface_exists(uint32_t ifindex, uint32_t *mtu) {
    ifreq request = {};
    *mtu = 0;
    if (ifindex == 0 || if_indextoname(ifindex, request.ifr_name) == nullptr) return false;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && ioctl(fd, SIOCGIFMTU, &request) == 0) *mtu = static_cast<uint32_t>(request.ifr_mtu);
    if (fd >= 0) close(fd);
    return true;
}

ErrorText &program_sentence(ErrorText *error, int code, int cause, const XdpProgramOptions &options) {
    return error->begin(code, cause).add("xdp: ").add(ByteView(options.interface)).add(": ");
}

int program_refused(ErrorText *error, int cause, const XdpProgramOptions &options, const char *what) {
    const char *missing = program_missing_capabilities(options.dispatcher);
    program_sentence(error, WSXDP_E_PERMISSION, cause, options).add(what).add(" was refused: ");
    if (*missing != 0) {
        error->add("this process lacks ")
            .add(missing)
            .add(". transport=xdp needs CAP_NET_ADMIN, CAP_BPF and "
                 "CAP_NET_RAW while it opens: run as root, or give "
                 "them to the program with setcap");
    } else {
        error->errno_name(cause).add(", although CAP_NET_ADMIN and CAP_BPF are there: a security module or "
                                     "kernel lockdown forbids it, or, before Linux 5.11, RLIMIT_MEMLOCK");
    }
    return WSXDP_E_PERMISSION;
}

static int load_failed(const XdpProgramOptions &options, int cause, const ProgramWords &words,
                       ErrorText *error) {
    if (cause == EPERM || cause == EACCES) {
        // EACCES is also the verifier's; then it has said why.
        if (cause == EPERM || words.log_size == 0)
            return program_refused(error, cause, options, "loading the XDP program");
    }
    if (cause == ENOMEM || cause == EMFILE || cause == ENFILE) {
        const int code = cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_DESCRIPTORS;
        program_sentence(error, code, cause, options)
            .add("loading the XDP program: ")
            .errno_name(cause)
            .add(", with room for ")
            .number(options.tuples)
            .add(" connections per IP version");
        return code;
    }
    program_sentence(error, WSXDP_E_XDP_PROGRAM, cause, options)
        .add("the kernel does not take the XDP program");
    if (options.nic_timestamps) error->add(" with NIC timestamps (Linux 6.3 or newer)");
    error->add(": ").errno_name(cause);
    if (!words.said().empty()) error->add("; ").add(words.said());
    error->add(options.nic_timestamps ? ". Without NIC timestamps it may work"
                                      : ". Linux 5.18 or newer is needed");
    return WSXDP_E_XDP_PROGRAM;
}

static bool size_map(bpf_object *object, const char *name, uint32_t entries) {
    bpf_map *map = bpf_object__find_map_by_name(object, name);
    return map != nullptr && bpf_map__set_max_entries(map, entries) == 0;
}

int program_open_object(XdpProgram *p, const XdpProgramOptions &options, const ProgramWords &words,
                        ErrorText *error) {
    uint32_t mtu = 0;
    if (!program_interface_exists(options.ifindex, &mtu)) {
        program_sentence(error, WSXDP_E_XDP_INTERFACE, ENODEV, options)
            .add("there is no interface with index ")
            .number(options.ifindex)
            .add(" in this network namespace; `ip link` lists those there are");
        return WSXDP_E_XDP_INTERFACE;
    }
    if (options.queues == 0 || options.tuples == 0) {
        program_sentence(error, WSXDP_E_INVALID, 0, options).add("the XDP program needs a queue and a tuple");
        return WSXDP_E_INVALID;
    }
    const ByteView image = xdp_program_image(options.nic_timestamps);
    bpf_object_open_opts opts = {};
    opts.sz = sizeof opts;
    opts.object_name = "wsxdp";
    p->object = bpf_object__open_mem(image.data, image.size, &opts);
    if (p->object == nullptr) return load_failed(options, errno, words, error);
    bpf_program *program = bpf_object__find_program_by_name(p->object, "wsxdp_filter");
    if (program == nullptr || !size_map(p->object, "sockets", options.queues) ||
        !size_map(p->object, "tuples4", options.tuples) || !size_map(p->object, "tuples6", options.tuples)) {
        program_sentence(error, WSXDP_E_INTERNAL, 0, options).add("the XDP program lacks a part of its own");
        return WSXDP_E_INTERNAL;
    }
    p->ifindex = options.ifindex;
    p->tuples = options.tuples;
    p->attach = options.attach;
    p->nic_timestamps = options.nic_timestamps;
    if (options.nic_timestamps) {
        bpf_program__set_ifindex(program, options.ifindex);
        bpf_program__set_flags(program, BPF_F_XDP_DEV_BOUND_ONLY);
    }
    return WSXDP_OK;
}

int program_take_descriptors(XdpProgram *p) {
    p->sockets_fd = bpf_object__find_map_fd_by_name(p->object, "sockets");
    p->tuples4_fd = bpf_object__find_map_fd_by_name(p->object, "tuples4");
    p->tuples6_fd = bpf_object__find_map_fd_by_name(p->object, "tuples6");
    p->counters_fd = bpf_object__find_map_fd_by_name(p->object, "counters");
    p->awaited_fd = bpf_object__find_map_fd_by_name(p->object, "awaited");
    return p->sockets_fd >= 0 && p->tuples4_fd >= 0 && p->tuples6_fd >= 0 && p->counters_fd >= 0 &&
                   p->awaited_fd >= 0
               ? WSXDP_OK
               : WSXDP_E_INTERNAL;
}

static int load(XdpProgram *p, const XdpProgramOptions &options, const ProgramWords &words,
                ErrorText *error) {
    const int status = program_open_object(p, options, words, error);
    if (status != WSXDP_OK) return status;
    const int cause = -bpf_object__load(p->object);
    if (cause != 0) return load_failed(options, cause, words, error);
    p->program_fd = bpf_program__fd(bpf_object__find_program_by_name(p->object, "wsxdp_filter"));
    if (p->program_fd < 0 || program_take_descriptors(p) != WSXDP_OK) {
        program_sentence(error, WSXDP_E_INTERNAL, 0, options).add("the loaded XDP program lacks a part");
        return WSXDP_E_INTERNAL;
    }
    return WSXDP_OK;
}

int xdp_program_load(XdpProgram *p, const XdpProgramOptions &options, ErrorText *error) {
    *p = XdpProgram();
    int status = WSXDP_OK;
    {
        ProgramWords words;
        status = load(p, options, words, error);
    }
    if (status != WSXDP_OK) xdp_program_close(p);
    return status;
}

} // namespace wx
