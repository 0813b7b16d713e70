// SPDX-License-Identifier: MIT
// One AF_XDP socket on one queue of an interface, with its four rings set up by hand (libxdp 1.3 has no way
// to say what we need). Knows frames and descriptors, nothing of what is in them. Several sockets may share a
// Umem, each on a queue of its own; frames are whoever's takes them.
//
// The order of a step: xsk_refill, xsk_receive, (process), xsk_reclaim when TX frames are wanted, xsk_send
// for each frame, xsk_kick once.
#pragma once
#include "umem.h"

namespace wx {

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
    uint64_t received, sent, completed, kicks, kick_retries, fill_kicks, send_full, fill_starved,
        bad_descriptors;
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
    uint32_t queue = 0;
    uint32_t in_fill = 0; // frames given to the kernel to receive into, and not back yet
    uint32_t in_send = 0; // descriptors given to the kernel to send, and not completed yet
    XskRing fill;
    XskRing receive;
    XskRing send;
    XskRing completion;
    XskCounters counters{};
};

// `first`: the socket that registered the Umem, nullptr when this one is to. E_AGAIN: the queue is still
// being given back by its last owner (EBUSY, for about 16 ms): try again for up to a second. Otherwise
// E_PERMISSION (names CAP_NET_RAW), E_XDP_MEMLOCK (ENOBUFS), E_XDP_OCCUPIED, E_XDP_MODE (zero-copy is not
// to be had), E_XDP_QUEUES (no such queue), E_XDP_INTERFACE, E_SYSTEM, each with a sentence.
int xsk_open(Xsk *x, Umem *umem, const XskOptions &options, const Xsk *first, ErrorText *error);
// Frames that the kernel still had are put back into the Umem: it has let go of them when this returns.
void xsk_close(Xsk *x);

// Gives free frames of the receive pool to the kernel, up to `keep` fewer than are free; wakes the driver if
// it asks for it.
void xsk_refill(Xsk *x, uint32_t keep);
// What has arrived; each frame is the caller's until umem_put.
uint32_t xsk_receive(Xsk *x, XskDescriptor *out, uint32_t cap);
inline bool xsk_has_input(const Xsk *x) {
    return __atomic_load_n(x->receive.producer, __ATOMIC_ACQUIRE) != x->receive.ours;
}
// Frames whose sending is over, in any order; returns how many.
uint32_t xsk_reclaim(Xsk *x, FrameId *out, uint32_t cap);
// Room in the send ring.
uint32_t xsk_room(const Xsk *x);
// One frame, at `address` for `size` bytes; false: no room. Leaves with the next kick.
bool xsk_send(Xsk *x, uint64_t address, uint32_t size);
// Publishes what was queued and, if needed, tells the kernel, with one system call for each 32 frames in copy
// mode. 0: done; 1: the kernel is busy, kick again later; < 0: E_XDP_LINK_DOWN (ENETDOWN, ENXIO) or E_SYSTEM
// with errno in *cause.
int xsk_kick(Xsk *x, int *cause);
int xsk_statistics(const Xsk *x, XskKernelCounters *out);

} // namespace wx
