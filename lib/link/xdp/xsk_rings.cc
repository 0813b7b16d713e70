// SPDX-License-Identifier: MIT
// What runs per step: frames to and from the four rings of an AF_XDP socket, one acquiring load and one
// releasing store for each batch, and the two system calls that wake the kernel. Never allocates or waits.
// What a ring says is checked against the Umem and against what was put in; the worst case, a kernel or
// driver that answers nonsense, costs the descriptor and a count.
#include "xsk.h"
#include <errno.h>
#include <linux/if_xdp.h>
#include <sys/socket.h>

namespace wx {

static_assert(xsk_need_wakeup == XDP_RING_NEED_WAKEUP, "the kernel's flag");

// How often a refused kick is tried again at once: the kernel's reasons (a full qdisc, no memory for an skb)
// outlast any number of tries, while an interrupted call is over at the next.
constexpr unsigned kick_tries = 3;

static void wake_receiver(Xsk *x) {
    // Relaxed: the flag orders nothing. One that is set between two refills is seen by the next; a driver
    // that had seen our frames would not have set it.
    if (!x->busy_poll && (__atomic_load_n(x->fill.flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP) == 0)
        return;
    // What it answers is of no use: a link that is down shows at the kick, and its watcher tells.
    xsk_poll(x);
}

void xsk_poll(Xsk *x) {
    x->counters.fill_kicks++;
    (void)recv(x->fd, nullptr, 0, MSG_DONTWAIT);
}

void xsk_refill(Xsk *x, uint32_t keep) {
    XskRing &r = x->fill;
    Umem *umem = x->umem;
    const uint32_t available = umem->pools[static_cast<unsigned>(Pool::receive)].free_count;
    uint32_t count = available > keep ? available - keep : 0;
    if (count != 0) {
        // Acquire, against the kernel's release of its consumer index: it has read the slots that we write.
        r.theirs = __atomic_load_n(r.consumer, __ATOMIC_ACQUIRE);
        const uint32_t room = r.mask + 1 - (r.ours - r.theirs);
        if (count > room) count = room;
    }
    if (count != 0) {
        uint64_t *slots = static_cast<uint64_t *>(r.slots);
        uint32_t at = r.ours;
        for (uint32_t i = 0; i < count; i++) {
            const FrameId id = umem_take(umem, Pool::receive);
            x->lent[id] = xsk_filled;
            slots[at++ & r.mask] = id << umem->frame_shift;
        }
        r.ours = at;
        x->in_fill += count;
        // Release: the slots, before the index that lets the kernel read them.
        __atomic_store_n(r.producer, at, __ATOMIC_RELEASE);
    }
    if (x->in_fill == 0) x->counters.fill_starved++;
    wake_receiver(x);
}

// Whether the kernel may say this of a frame that it had to receive into. Afterwards it has the frame no
// more.
static bool accept_received(Xsk *x, const XskDescriptor &descriptor) {
    const Umem *umem = x->umem;
    const FrameId id = umem_frame_of(umem, descriptor.address);
    if (id == no_frame || x->lent[id] != xsk_filled) return false;
    x->lent[id] = 0;
    x->in_fill--;
    const uint64_t offset = descriptor.address & (umem->frame_bytes - 1);
    // An option is a packet in several descriptors, which we have not asked for.
    if (descriptor.size != 0 && offset + descriptor.size <= umem->frame_bytes && descriptor.options == 0)
        return true;
    umem_put(x->umem, id);
    return false;
}

uint32_t xsk_receive(Xsk *x, XskDescriptor *out, uint32_t cap) {
    XskRing &r = x->receive;
    // Acquire, against the kernel's release of its producer index: slots and frames are written before it.
    uint32_t left = __atomic_load_n(r.producer, __ATOMIC_ACQUIRE) - r.ours;
    if (left == 0) return 0;
    if (left > cap) left = cap;
    const XskDescriptor *slots = static_cast<const XskDescriptor *>(r.slots);
    uint32_t count = 0, at = r.ours;
    for (; left != 0; left--) {
        out[count] = slots[at++ & r.mask];
        if (__builtin_expect(accept_received(x, out[count]), 1))
            count++;
        else
            x->counters.bad_descriptors++;
    }
    r.ours = at;
    x->counters.received += count;
    // Release: our reading of the slots, before the index that lets the kernel write them anew.
    __atomic_store_n(r.consumer, at, __ATOMIC_RELEASE);
    return count;
}

uint32_t xsk_reclaim(Xsk *x, FrameId *out, uint32_t cap) {
    XskRing &r = x->completion;
    if (x->in_send == 0 || r.producer == nullptr) return 0;
    // Acquire, against the kernel's release of its producer index: it has written the slots, and read the
    // frames, before it.
    uint32_t left = __atomic_load_n(r.producer, __ATOMIC_ACQUIRE) - r.ours;
    if (left == 0) return 0;
    if (left > cap) left = cap;
    const uint64_t *slots = static_cast<const uint64_t *>(r.slots);
    uint32_t count = 0, at = r.ours;
    for (; left != 0; left--) {
        const FrameId id = umem_frame_of(x->umem, slots[at++ & r.mask]);
        if (__builtin_expect(id == no_frame || x->lent[id] == 0 || x->lent[id] == xsk_filled, 0)) {
            x->counters.bad_descriptors++;
            continue;
        }
        x->lent[id]--;
        out[count++] = id;
    }
    r.ours = at;
    x->in_send -= count;
    x->counters.completed += count;
    // Release: our reading of the slots, before the index that lets the kernel write them anew.
    __atomic_store_n(r.consumer, at, __ATOMIC_RELEASE);
    return count;
}

// 0: the kernel has been told; 1: it is busy; < 0.
static int kick_once(Xsk *x, int *cause) {
    x->counters.kicks++;
    if (send(x->fd, nullptr, 0, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 0;
    *cause = errno;
    switch (*cause) {
    case EAGAIN:  // more than one call's share, or no room: in the completion ring, in the qdisc
    case EBUSY:   // the frame was dropped below, and is completed
    case ENOBUFS: // no memory for an skb
    case ENOMEM:
    case EINTR:
        x->counters.kick_retries++;
        return 1;
    case ENETDOWN:
    case ENXIO:
    case ENODEV:
    case EBADF:
        return WSXDP_E_XDP_LINK_DOWN;
    default:
        return WSXDP_E_SYSTEM;
    }
}

int xsk_kick(Xsk *x, int *cause) {
    XskRing &r = x->send;
    // Acquire: as in xsk_room.
    r.theirs = __atomic_load_n(r.consumer, __ATOMIC_ACQUIRE);
    if (r.ours == r.theirs) return 0;
    // Release: slots and frames, before the index that lets the kernel read them.
    __atomic_store_n(r.producer, r.ours, __ATOMIC_RELEASE);
    if (x->mode == XskMode::zero_copy && !x->busy_poll) {
        // Our store of the index, before our load of the flag: a driver that goes to sleep sets the flag,
        // then looks at the index once more. Without the fence both could miss each other.
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if ((__atomic_load_n(r.flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP) == 0) return 0;
    }
    // Every turn either moves the kernel's index or uses up a try, so there is an end. EBUSY is a try in any
    // case: without a carrier every call ends with it after one frame.
    for (unsigned tries = 0; tries < kick_tries;) {
        const int status = kick_once(x, cause);
        if (status <= 0) return status;
        const uint32_t before = r.theirs;
        r.theirs = __atomic_load_n(r.consumer, __ATOMIC_ACQUIRE);
        if (r.theirs == r.ours) return 0;
        if (r.theirs == before || *cause == EBUSY) tries++;
    }
    return 1;
}

} // namespace wx
