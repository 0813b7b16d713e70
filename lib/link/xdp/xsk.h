// SPDX-License-Identifier: MIT
// One AF_XDP socket on one queue of an interface, with its four rings set up by hand (libxdp 1.3 has no way
// to say what we need). Knows frames and descriptors, nothing of what is in them. Several sockets may share a
// Umem, each on a queue of its own; frames are whoever's takes them.
//
// Seen with Linux 6.18 on veth: closing takes 11 to 27 ms, and the queue is free some 20 ms later; a
// program in generic mode sees queue 0 for packets of every queue; the end of the memory lock limit shows as
// ENOBUFS when the Umem is registered, counted for the user and not the process, and not at all with
// CAP_IPC_LOCK.
//
// The order of a step: xsk_refill, xsk_receive, (process), xsk_reclaim when TX frames are wanted, xsk_send
// for each frame, xsk_kick once. A socket that is closed or stopped (fd -1) has no rings: of these only
// xsk_has_input and xsk_reclaim may be called, and give nothing.
#pragma once
#include "umem.h"

namespace wx {

// The kernel wants a power of two. This many are 2 ms of the smallest frames at 10 Gbit/s; what comes faster
// than that for longer is not cured by a longer ring. Uses of one frame are counted in 16 bits, which it
// fits.
constexpr uint32_t xsk_slots_max = 32768;
// XDP_RING_NEED_WAKEUP of <linux/if_xdp.h>, for what is inline here.
constexpr uint32_t xsk_need_wakeup = 1;
// The frame is the kernel's, to receive into.
constexpr uint16_t xsk_filled = 0xFFFF;

enum class XskMode : uint8_t { zero_copy, copy };

struct XskOptions {
    uint32_t ifindex = 0;
    const char *interface = ""; // for sentences
    uint32_t queue = 0;
    uint32_t fill_slots = 2048; // all powers of two
    uint32_t receive_slots = 2048;
    uint32_t send_slots = 2048;
    uint32_t completion_slots = 2048;
    XskMode mode = XskMode::copy;
    bool or_copy = false;   // where zero-copy cannot be had; *error says why then
    bool generic = false;   // the program is attached in generic mode
    bool busy_poll = false; // SO_PREFER_BUSY_POLL; needs CAP_NET_ADMIN
    uint32_t busy_poll_us = 20;
    uint32_t busy_poll_budget = 64;
};

struct XskDescriptor { // as in <linux/if_xdp.h>
    uint64_t address;
    uint32_t size;
    uint32_t options;
};

// Ours is the producer's side of fill and send, the consumer's of receive and completion.
struct XskRing {
    uint32_t *producer = nullptr;
    uint32_t *consumer = nullptr;
    uint32_t *flags = nullptr;
    void *slots = nullptr;
    uint32_t mask = 0;
    uint32_t ours = 0;   // our index, published or about to be
    uint32_t theirs = 0; // the other side's, as last seen
    void *map = nullptr;
    size_t map_bytes = 0;
};

struct XskCounters {
    uint64_t received;        // frames
    uint64_t sent;            // frames queued
    uint64_t completed;       // of those
    uint64_t kicks;           // system calls to send
    uint64_t kick_retries;    // of those, refused for the moment
    uint64_t fill_kicks;      // system calls to wake the driver for receiving
    uint64_t send_full;       // frames refused for lack of room
    uint64_t fill_starved;    // refills that left the kernel without any frame to receive into
    uint64_t bad_descriptors; // from a ring, or handed to xsk_send: not what they must be, dropped
};
// XDP_STATISTICS of the kernel.
struct XskKernelCounters {
    uint64_t receive_dropped, receive_invalid, send_invalid, receive_ring_full, fill_ring_empty,
        send_ring_empty;
};

struct Xsk {
    int fd = -1;
    Umem *umem = nullptr;
    XskMode mode = XskMode::copy;
    bool busy_poll = false;
    uint32_t queue = 0;
    uint32_t stranded_at = 0; // xsk_stranded has looked at the frames before it
    // By frame: how often it was queued to be sent and is not completed; or xsk_filled. What the kernel says
    // is believed only as far as it agrees.
    uint16_t *lent = nullptr;
    uint32_t in_fill = 0; // frames given to the kernel to receive into, and not back yet
    uint32_t in_send = 0; // descriptors given to the kernel to send, and not completed yet
    XskRing fill;
    XskRing receive;
    XskRing send;
    XskRing completion;
    XskCounters counters{};
};

// `first`: any open socket of the Umem, nullptr when this one is to register it. E_AGAIN: the queue has a
// socket (EBUSY); that of one just closed goes away in some 20 ms, so try again for up to a second, then call
// it E_XDP_OCCUPIED. Otherwise E_INVALID, E_PERMISSION (names the capability), E_XDP_MEMLOCK, E_XDP_MODE
// (zero-copy is not to be had), E_XDP_QUEUES (no such queue), E_XDP_INTERFACE, E_XDP_LINK_DOWN, E_MEMORY,
// E_DESCRIPTORS, E_SYSTEM, each with a sentence. Afterwards *x is closed.
int xsk_open(Xsk *x, Umem *umem, const XskOptions &options, const Xsk *first, ErrorText *error);
// xsk_stop, then what was stranded is put back into the Umem, once for each frame. Twice is harmless.
void xsk_close(Xsk *x);
// For a socket that is replaced while its connections live on. Takes it out of the kernel and puts frames to
// receive into back into the Umem; frames to send are whoever's keeps them for retransmission, who is told by
// xsk_stranded. In copy mode the kernel has let go of all frames; in zero-copy mode the NIC may use them
// until the queue can be opened again. It can be opened anew once
// xsk_stranded has told all, or xsk_close was called.
void xsk_stop(Xsk *x);
// After xsk_stop: frames whose sending was not reported as over, as often as they were queued, in the manner
// of xsk_reclaim. 0: that was all.
uint32_t xsk_stranded(Xsk *x, FrameId *out, uint32_t cap);

// Gives free frames of the receive pool to the kernel, up to `keep` fewer than are free; wakes the driver if
// it asks for it.
void xsk_refill(Xsk *x, uint32_t keep);
// Frames that the kernel is given at once: its side of the ring is on another core, and looking at it for
// each would be a cache miss for each. Never more than a part of the ring is missing for it.
constexpr uint32_t xsk_refill_batch = 32;
// Whether a refill is due: that many frames, or a sixteenth of a small ring, are out, or the driver waits.
inline bool xsk_wants_frames(const Xsk *x) {
    const uint32_t slots = x->fill.mask + 1, part = slots / 16;
    return slots - x->in_fill >= (part < xsk_refill_batch ? part : xsk_refill_batch) || x->busy_poll ||
           (x->mode == XskMode::zero_copy &&
            (__atomic_load_n(x->fill.flags, __ATOMIC_RELAXED) & xsk_need_wakeup) != 0);
}
// With busy_poll the driver runs when it is called, and with interrupts put off only then: one system call.
void xsk_poll(Xsk *x);
// What has arrived; each frame is the caller's until umem_put.
uint32_t xsk_receive(Xsk *x, XskDescriptor *out, uint32_t cap);
inline bool xsk_has_input(const Xsk *x) {
    return x->receive.producer != nullptr &&
           __atomic_load_n(x->receive.producer, __ATOMIC_ACQUIRE) != x->receive.ours;
}
// Frames whose sending is over, in any order; returns how many.
uint32_t xsk_reclaim(Xsk *x, FrameId *out, uint32_t cap);
// Room in the send ring.
inline uint32_t xsk_room(const Xsk *x) {
    const XskRing &r = x->send;
    // Acquire, against the kernel's release of its consumer index: it has read a slot before we write it
    // anew.
    return r.mask + 1 - (r.ours - __atomic_load_n(r.consumer, __ATOMIC_ACQUIRE));
}
// One frame, at `address` for `size` bytes; false: no room (or empty, not within a frame of the Umem, or in
// one given to receive into: the kernel would drop it without a completion). Leaves with the next kick. The
// bytes must stay as they are until the frame is reclaimed.
inline bool xsk_send(Xsk *x, uint64_t address, uint32_t size) {
    XskRing &r = x->send;
    const Umem *umem = x->umem;
    const FrameId id = umem_frame_of(umem, address);
    if (id == no_frame || size == 0 || (address & (umem->frame_bytes - 1)) + size > umem->frame_bytes ||
        x->lent[id] == xsk_filled) {
        x->counters.bad_descriptors++;
        return false;
    }
    if (r.ours - r.theirs > r.mask) {
        // Acquire: as in xsk_room. The copy of it saves reading the kernel's cache line for each frame.
        r.theirs = __atomic_load_n(r.consumer, __ATOMIC_ACQUIRE);
        if (r.ours - r.theirs > r.mask) {
            x->counters.send_full++;
            return false;
        }
    }
    static_cast<XskDescriptor *>(r.slots)[r.ours & r.mask] = XskDescriptor{address, size, 0};
    r.ours++;
    x->lent[id]++;
    x->in_send++;
    x->counters.sent++;
    return true;
}
// Publishes what was queued and, if needed, tells the kernel: in zero-copy mode when the driver sleeps, in
// copy mode always, with one system call for each 32 frames. 0: done; 1: the kernel is busy, reclaim and kick
// again later; < 0: E_XDP_LINK_DOWN (the interface is down or gone) or E_SYSTEM with errno in *cause. No
// system call when the kernel has taken all that was queued. Without a carrier (the other end of a veth is
// down) frames vanish and are completed, and the answer is 1 with nothing wrong: the link must be watched.
int xsk_kick(Xsk *x, int *cause);
// XDP_STATISTICS; E_SYSTEM. Cold.
int xsk_statistics(const Xsk *x, XskKernelCounters *out);

} // namespace wx
