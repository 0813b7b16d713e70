// SPDX-License-Identifier: MIT
// Opening and closing an AF_XDP socket: the socket, its Umem, four rings mapped by hand, bind. All of it is
// cold; xsk_rings.cc is what runs per step. Every refusal of the kernel that an operator can do something
// about has a code and a sentence of its own. Nothing is retried here: waiting is the caller's business.
#include "xsk.h"
#include "../../base/alloc.h"
#include <errno.h>
#include <linux/if_xdp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

namespace wx {

// Absent from older headers.
#ifndef SO_PREFER_BUSY_POLL
#define SO_PREFER_BUSY_POLL 69 // Linux 5.11
#endif
#ifndef SO_BUSY_POLL_BUDGET
#define SO_BUSY_POLL_BUDGET 70
#endif
// The kernel's own number for "this operation is not supported", which leaks out of some drivers.
constexpr int enotsupp = 524;

static_assert(sizeof(XskDescriptor) == sizeof(xdp_desc), "slots of receive and send");
static_assert(sizeof(XskKernelCounters) == sizeof(xdp_statistics), "copied as they are");

static ErrorText &begin(ErrorText *error, const XskOptions &options, int code, int cause) {
    return error->begin(code, cause)
        .add("AF_XDP socket on ")
        .add(options.interface)
        .add(" queue ")
        .number(options.queue)
        .add(": ");
}
static int failed(ErrorText *error, const XskOptions &options, int code, const char *what, int cause) {
    begin(error, options, code, cause).add(what).add(" failed: ").errno_name(cause);
    return code;
}

static bool slots_usable(uint32_t slots) {
    return slots != 0 && (slots & (slots - 1)) == 0 && slots <= xsk_slots_max;
}
static int check_options(const Umem *umem, const XskOptions &options, const Xsk *first, ErrorText *error) {
    const char *wrong = nullptr;
    int code = WSXDP_E_INVALID;
    if (!slots_usable(options.fill_slots) || !slots_usable(options.receive_slots) ||
        !slots_usable(options.send_slots) || !slots_usable(options.completion_slots))
        wrong = "the slots of a ring must be a power of two, at most 32768";
    else if (first != nullptr && (first->umem != umem || first->fd < 0))
        wrong = "the socket to share memory with is closed or has other memory";
    else if (first != nullptr && first->mode != options.mode)
        wrong = "sockets that share memory must all use zero-copy, or none";
    else if (options.mode == XskMode::zero_copy && options.generic) {
        code = WSXDP_E_XDP_MODE;
        wrong = "zero-copy needs the XDP program in the driver, and it is attached in generic mode";
    }
    if (wrong == nullptr) return WSXDP_OK;
    begin(error, options, code, 0).add(wrong);
    return code;
}

static int make_socket(Xsk *x, const XskOptions &options, ErrorText *error) {
    x->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (x->fd >= 0) return WSXDP_OK;
    const int cause = errno;
    switch (cause) {
    case EPERM:
    case EACCES:
        failed(error, options, WSXDP_E_PERMISSION, "creating it", cause);
        error->add("; it needs CAP_NET_RAW: run as root, or grant it (setcap cap_net_raw+ep PROGRAM)");
        return WSXDP_E_PERMISSION;
    case EMFILE:
    case ENFILE:
        failed(error, options, WSXDP_E_DESCRIPTORS, "creating it", cause);
        error->add("; raise the limit of open files (ulimit -n)");
        return WSXDP_E_DESCRIPTORS;
    case EAFNOSUPPORT:
        failed(error, options, WSXDP_E_SYSTEM, "creating it", cause);
        error->add("; this kernel has no AF_XDP (CONFIG_XDP_SOCKETS), or a sandbox forbids it");
        return WSXDP_E_SYSTEM;
    default:
        return failed(error, options, cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_SYSTEM, "creating it",
                      cause);
    }
}

// The kernel counts the pages of all AF_XDP memory of a user against the limit, but not those of who has
// CAP_IPC_LOCK. Too many are ENOBUFS; ENOMEM is said by kernels and drivers for other shortages, too.
static int memlock_failed(const Umem *umem, const XskOptions &options, int cause, uint64_t limit,
                          ErrorText *error) {
    begin(error, options, WSXDP_E_XDP_MEMLOCK, cause).add("registering ");
    error->number(static_cast<int64_t>(umem->bytes)).add(" bytes of frames failed: ").errno_name(cause);
    error->add("; RLIMIT_MEMLOCK is ").number(static_cast<int64_t>(limit));
    error->add(" bytes, for all AF_XDP memory of this user: raise it (ulimit -l ");
    error->number(static_cast<int64_t>(umem->bytes / 1024));
    error->add(" or more, or LimitMEMLOCK= of the service), grant CAP_IPC_LOCK, or lower xdp.frames");
    return WSXDP_E_XDP_MEMLOCK;
}
static int register_memory(Xsk *x, const XskOptions &options, ErrorText *error) {
    xdp_umem_reg request;
    memset(&request, 0, sizeof request);
    request.addr = reinterpret_cast<uint64_t>(x->umem->base);
    request.len = x->umem->bytes;
    request.chunk_size = x->umem->frame_bytes;
    if (setsockopt(x->fd, SOL_XDP, XDP_UMEM_REG, &request, sizeof request) == 0) return WSXDP_OK;
    const int cause = errno;
    rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    const bool low = limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur < x->umem->bytes;
    if (cause == ENOBUFS || (cause == ENOMEM && low))
        return memlock_failed(x->umem, options, cause, limit.rlim_cur, error);
    return failed(error, options, cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_SYSTEM,
                  "registering the memory of the frames", cause);
}

static int make_ring(Xsk *x, XskRing *ring, int option, uint32_t slots) {
    if (setsockopt(x->fd, SOL_XDP, option, &slots, sizeof slots) != 0) return errno;
    ring->mask = slots - 1;
    return 0;
}
static int map_ring(Xsk *x, XskRing *ring, const xdp_ring_offset &at, uint64_t page_offset,
                    size_t slot_bytes) {
    const size_t bytes = at.desc + (ring->mask + size_t{1}) * slot_bytes;
    void *map = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, x->fd,
                     static_cast<off_t>(page_offset));
    if (map == MAP_FAILED) return errno;
    uint8_t *base = static_cast<uint8_t *>(map);
    ring->map = map;
    ring->map_bytes = bytes;
    ring->producer = reinterpret_cast<uint32_t *>(base + at.producer);
    ring->consumer = reinterpret_cast<uint32_t *>(base + at.consumer);
    ring->flags = reinterpret_cast<uint32_t *>(base + at.flags);
    ring->slots = base + at.desc;
    return 0;
}
static int make_rings(Xsk *x, const XskOptions &options, ErrorText *error) {
    const char *step = "sizing the rings";
    int cause = 0;
    if ((cause = make_ring(x, &x->fill, XDP_UMEM_FILL_RING, options.fill_slots)) == 0 &&
        (cause = make_ring(x, &x->completion, XDP_UMEM_COMPLETION_RING, options.completion_slots)) == 0 &&
        (cause = make_ring(x, &x->receive, XDP_RX_RING, options.receive_slots)) == 0)
        cause = make_ring(x, &x->send, XDP_TX_RING, options.send_slots);
    xdp_mmap_offsets at;
    memset(&at, 0, sizeof at);
    socklen_t size = sizeof at;
    if (cause == 0) {
        step = "asking for the rings' layout";
        if (getsockopt(x->fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &size) != 0)
            cause = errno;
        else if (size != sizeof at)
            cause = EPROTO; // before Linux 5.4, where rings have no flags
    }
    if (cause == 0) {
        step = "mapping the rings";
        if ((cause = map_ring(x, &x->fill, at.fr, XDP_UMEM_PGOFF_FILL_RING, sizeof(uint64_t))) == 0 &&
            (cause = map_ring(x, &x->completion, at.cr, XDP_UMEM_PGOFF_COMPLETION_RING, sizeof(uint64_t))) ==
                0 &&
            (cause = map_ring(x, &x->receive, at.rx, XDP_PGOFF_RX_RING, sizeof(XskDescriptor))) == 0)
            cause = map_ring(x, &x->send, at.tx, XDP_PGOFF_TX_RING, sizeof(XskDescriptor));
    }
    if (cause == 0) return WSXDP_OK;
    failed(error, options, cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_SYSTEM, step, cause);
    if (cause == EPROTO) error->add("; AF_XDP of Linux 5.4 or newer is needed");
    return error->code;
}

static int set_busy_poll(Xsk *x, const XskOptions &options, ErrorText *error) {
    if (!options.busy_poll) return WSXDP_OK;
    const struct {
        int option;
        int value;
        const char *name;
    } rows[] = {{SO_PREFER_BUSY_POLL, 1, "SO_PREFER_BUSY_POLL"},
                {SO_BUSY_POLL, static_cast<int>(options.busy_poll_us), "SO_BUSY_POLL"},
                {SO_BUSY_POLL_BUDGET, static_cast<int>(options.busy_poll_budget), "SO_BUSY_POLL_BUDGET"}};
    for (const auto &row : rows) {
        if (setsockopt(x->fd, SOL_SOCKET, row.option, &row.value, sizeof row.value) == 0) continue;
        const int cause = errno;
        const int code = cause == EPERM    ? WSXDP_E_PERMISSION
                         : cause == EINVAL ? WSXDP_E_INVALID
                                           : WSXDP_E_SYSTEM;
        failed(error, options, code, row.name, cause);
        if (cause == EPERM)
            error->add("; busy polling needs CAP_NET_ADMIN: grant it, or switch busy polling off");
        else if (cause == ENOPROTOOPT)
            error->add("; the kernel is older than 5.11 or has no busy polling: switch it off");
        return code;
    }
    x->busy_poll = true;
    return WSXDP_OK;
}

static int bind_failed(const XskOptions &options, int cause, ErrorText *error) {
    const bool zero_copy = options.mode == XskMode::zero_copy;
    int code = WSXDP_E_SYSTEM;
    const char *advice = "";
    switch (cause) {
    case EBUSY:
        code = WSXDP_E_AGAIN;
        advice = "; the queue has an AF_XDP socket (ss -a --xdp shows it), perhaps one just closed, which "
                 "takes some milliseconds: try again, or use another queue";
        break;
    case ENODEV:
        code = WSXDP_E_XDP_INTERFACE;
        advice = "; there is no such interface (ip link)";
        break;
    case ENETDOWN:
        code = WSXDP_E_XDP_LINK_DOWN;
        advice = "; bring the interface up (ip link set IF up)";
        break;
    case EPERM:
    case EACCES:
        code = WSXDP_E_PERMISSION;
        advice = "; CAP_NET_RAW is needed, and no security module in the way";
        break;
    case ENOBUFS:
    case ENOMEM:
        code = WSXDP_E_MEMORY;
        advice = "; use smaller rings or fewer frames";
        break;
    case EINVAL:
        // In zero-copy mode also a driver that does not take rings or frames of this size.
        code = zero_copy ? WSXDP_E_XDP_MODE : WSXDP_E_XDP_QUEUES;
        advice = zero_copy ? "; the driver takes no zero-copy with frames or rings of this size, or the "
                             "interface has no such queue (ethtool -l IF): use copy mode to tell"
                           : "; the interface has no such queue: ethtool -l IF shows how many there are";
        break;
    case EOPNOTSUPP:
    case enotsupp:
    case ENOSYS:
        code = WSXDP_E_XDP_MODE;
        advice = zero_copy ? "; the driver has no zero-copy: use copy mode"
                           : "; the driver cannot carry AF_XDP: use generic mode";
        break;
    default:
        if (zero_copy) {
            code = WSXDP_E_XDP_MODE;
            advice = "; zero-copy is not to be had now: use copy mode";
        }
    }
    failed(error, options, code, zero_copy ? "binding with zero-copy" : "binding in copy mode", cause);
    error->add(advice);
    return code;
}
static int bind_queue(Xsk *x, const XskOptions &options, const Xsk *first, ErrorText *error) {
    sockaddr_xdp address;
    memset(&address, 0, sizeof address);
    address.sxdp_family = AF_XDP;
    address.sxdp_ifindex = options.ifindex;
    address.sxdp_queue_id = options.queue;
    // Who shares takes over the mode and the wakeups of whom it shares with, and may not name them.
    address.sxdp_flags =
        first != nullptr
            ? XDP_SHARED_UMEM
            : static_cast<uint16_t>(XDP_USE_NEED_WAKEUP |
                                    (options.mode == XskMode::zero_copy ? XDP_ZEROCOPY : XDP_COPY));
    if (first != nullptr) address.sxdp_shared_umem_fd = static_cast<uint32_t>(first->fd);
    if (bind(x->fd, reinterpret_cast<sockaddr *>(&address), sizeof address) == 0) return WSXDP_OK;
    return bind_failed(options, errno, error);
}

// The same socket once more: the memory of one that is closed goes on counting against RLIMIT_MEMLOCK for a
// while, and closing takes some 20 ms.
static int bind_or_copy(Xsk *x, const XskOptions &options, const Xsk *first, ErrorText *error) {
    int code = bind_queue(x, options, first, error);
    if (code != WSXDP_E_XDP_MODE || !options.or_copy) return code;
    const ErrorText why = *error;
    XskOptions copy = options;
    copy.mode = x->mode = XskMode::copy;
    code = bind_queue(x, copy, first, error);
    if (code == WSXDP_OK || code == WSXDP_E_XDP_MODE) *error = why;
    return code;
}

int xsk_open(Xsk *x, Umem *umem, const XskOptions &options, const Xsk *first, ErrorText *error) {
    *x = Xsk();
    int code = check_options(umem, options, first, error);
    if (code != WSXDP_OK) return code;
    x->umem = umem;
    x->mode = options.mode;
    x->queue = options.queue;
    x->lent = static_cast<uint16_t *>(allocate(umem->frame_count * sizeof(uint16_t)));
    if (x->lent == nullptr) {
        begin(error, options, WSXDP_E_MEMORY, 0).add("out of memory");
        code = WSXDP_E_MEMORY;
    } else if ((code = make_socket(x, options, error)) == WSXDP_OK &&
               (first != nullptr || (code = register_memory(x, options, error)) == WSXDP_OK) &&
               (code = make_rings(x, options, error)) == WSXDP_OK &&
               (code = set_busy_poll(x, options, error)) == WSXDP_OK) {
        code = bind_or_copy(x, options, first, error);
    }
    if (code != WSXDP_OK) xsk_close(x);
    return code;
}

static void unmap_ring(XskRing *ring) {
    if (ring->map != nullptr) munmap(ring->map, ring->map_bytes);
    *ring = XskRing();
}
static void forget_lent(Xsk *x) {
    deallocate(x->lent);
    x->lent = nullptr;
}
void xsk_stop(Xsk *x) {
    // The maps first: each of them keeps the socket alive.
    unmap_ring(&x->fill);
    unmap_ring(&x->receive);
    unmap_ring(&x->send);
    unmap_ring(&x->completion);
    if (x->fd >= 0) close(x->fd);
    x->fd = -1;
    if (x->lent == nullptr) return;
    const FramePool &receiving = x->umem->pools[static_cast<unsigned>(Pool::receive)];
    for (uint32_t id = receiving.first; id < receiving.first + receiving.count && x->in_fill != 0; id++) {
        if (x->lent[id] != xsk_filled) continue;
        x->lent[id] = 0;
        x->in_fill--;
        umem_put(x->umem, id);
    }
    if (x->in_send == 0) forget_lent(x);
}
uint32_t xsk_stranded(Xsk *x, FrameId *out, uint32_t cap) {
    if (x->fd >= 0 || x->lent == nullptr) return 0;
    uint32_t count = 0;
    while (count < cap && x->in_send != 0 && x->stranded_at < x->umem->frame_count) {
        if (x->lent[x->stranded_at] == 0) {
            x->stranded_at++;
            continue;
        }
        x->lent[x->stranded_at]--;
        x->in_send--;
        out[count++] = x->stranded_at;
    }
    if (x->in_send == 0) forget_lent(x);
    return count;
}
void xsk_close(Xsk *x) {
    xsk_stop(x);
    FrameId id = no_frame, before = no_frame;
    while (xsk_stranded(x, &id, 1) != 0) {
        if (id != before) umem_put(x->umem, id);
        before = id;
    }
    forget_lent(x);
    *x = Xsk();
}

int xsk_statistics(const Xsk *x, XskKernelCounters *out) {
    socklen_t size = sizeof *out;
    memset(out, 0, sizeof *out); // kernels before 5.9 fill in the first three
    return getsockopt(x->fd, SOL_XDP, XDP_STATISTICS, out, &size) == 0 ? WSXDP_OK : WSXDP_E_SYSTEM;
}

} // namespace wx
