// SPDX-License-Identifier: MIT
// Beside other XDP programs, by libxdp's dispatcher: a program of its own that calls ours and the others' one
// after the other. It is attached by netlink and pinned in the BPF file system, so it does not go away with a
// process that is killed: until somebody detaches it (xdp-loader unload, or the next one that opens and
// closes), packets of the dead connections are still matched, and, as their sockets are gone, passed to the
// kernel.
#include "program_parts.h"
#include <bpf/libbpf.h>
#include <errno.h>
#include <sys/vfs.h>
#include <xdp/libxdp.h>

namespace wx {

static xdp_attach_mode mode_of(XdpAttach attach) {
    return attach == XdpAttach::driver ? XDP_MODE_NATIVE : XDP_MODE_SKB;
}

static bool bpffs_mounted() {
    constexpr long bpffs_magic = 0xcafe4a11; // BPF_FS_MAGIC of <linux/magic.h>
    struct statfs there = {};
    return statfs("/sys/fs/bpf", &there) == 0 && static_cast<long>(there.f_type) == bpffs_magic;
}

static int shared_failed(const XdpProgramOptions &options, int cause, const ProgramWords &words,
                         ErrorText *error) {
    if (cause == EBUSY || cause == EEXIST || cause == EPERM || cause == EACCES || cause == ENODEV)
        return program_attach_failed(options, cause, words, error);
    program_sentence(error, WSXDP_E_XDP_PROGRAM, cause, options)
        .add("libxdp cannot attach the XDP program to its dispatcher: ")
        .errno_name(cause);
    if (!words.said().empty()) error->add(", ").add(words.said());
    error->add(". Use xdp.dispatcher=no where no other program is on the interface");
    return WSXDP_E_XDP_PROGRAM;
}

// libxdp attaches alone, and by netlink, where it cannot have a dispatcher: neither what was asked for, nor
// something that goes away with us.
static bool attached_alone(const XdpProgramOptions &options) {
    xdp_multiprog *there = xdp_multiprog__get_from_ifindex(static_cast<int>(options.ifindex));
    if (libxdp_get_error(there) != 0) return false;
    const bool alone = xdp_multiprog__is_legacy(there);
    xdp_multiprog__close(there);
    return alone;
}

int program_attach_shared(XdpProgram *p, const XdpProgramOptions &options, ErrorText *error) {
    ProgramWords words;
    const int status = program_open_object(p, options, words, error);
    if (status != WSXDP_OK) return status;
    if (*program_missing_capabilities(true) != 0)
        return program_refused(error, EPERM, options, "loading the XDP program");
    if (!bpffs_mounted()) {
        program_sentence(error, WSXDP_E_XDP_PROGRAM, ENOENT, options)
            .add("the dispatcher needs the BPF file system at /sys/fs/bpf, and it is not mounted: "
                 "mount -t bpf bpf /sys/fs/bpf, or use xdp.dispatcher=no");
        return WSXDP_E_XDP_PROGRAM;
    }
    xdp_program *shared = xdp_program__from_bpf_obj(p->object, "xdp");
    const long refused = libxdp_get_error(shared);
    if (refused != 0) return shared_failed(options, static_cast<int>(-refused), words, error);
    const int cause =
        -xdp_program__attach(shared, static_cast<int>(options.ifindex), mode_of(options.attach), 0);
    if (cause != 0) {
        xdp_program__close(shared);
        return shared_failed(options, cause, words, error);
    }
    p->shared = shared;
    if (attached_alone(options)) return shared_failed(options, EOPNOTSUPP, words, error);
    p->program_fd = xdp_program__fd(shared);
    return program_take_descriptors(p) == WSXDP_OK ? WSXDP_OK : shared_failed(options, EINVAL, words, error);
}

void program_detach_shared(XdpProgram *p) {
    if (p->shared == nullptr) return;
    xdp_program__detach(p->shared, static_cast<int>(p->ifindex), mode_of(p->attach), 0);
    xdp_program__close(p->shared);
    p->shared = nullptr;
}

} // namespace wx
