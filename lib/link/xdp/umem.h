// SPDX-License-Identifier: MIT
// The memory that the NIC and we share: one sealed memfd mapped MAP_SHARED (a private mapping is copied at
// fork and then receives nothing), cut into frames of one size. Frames belong to four pools, told by their
// number, each a free list of its own, so that bulk data never takes the last frame of an acknowledgement.
#pragma once
#include "../../base/status.h"
#include "../../tcp/frames.h"

namespace wx {

enum class Pool : uint8_t { receive, ack, control, data };
constexpr unsigned pool_count = 4;

// An eighth of it still is a pool that a connection can work with.
constexpr uint32_t umem_frames_min = 64;
// 4 GiB at 4096 bytes: more is a slip of the keyboard, and numbers of frames stay far from 32 bits.
constexpr uint32_t umem_frames_max = 1u << 20;

struct UmemOptions {
    uint32_t frame_bytes = 2048; // 2048 or 4096: what the kernel takes
    uint32_t frames = 8192;      // a power of two, umem_frames_min to umem_frames_max; half of them receive
    bool hugepages = true;       // where there are enough, and the frames fill whole ones
};

struct FramePool {
    uint32_t *free_list = nullptr; // frame numbers
    uint32_t free_count = 0;
    uint32_t first = 0; // its frames are [first, first + count)
    uint32_t count = 0;
    uint32_t low = 0; // fewest free so far
};

struct Umem {
    uint8_t *base = nullptr;
    uint64_t bytes = 0;
    int fd = -1;
    bool huge = false;
    uint32_t frame_bytes = 0;
    uint32_t frame_shift = 0; // log2 of it
    uint32_t frame_count = 0;
    FramePool pools[pool_count]; // receive 1/2, ack 1/8, control 1/8, data 1/4
    bool *out = nullptr;         // by number: taken and not put back
    uint64_t double_puts = 0;    // must stay 0
};

// E_INVALID, E_MEMORY, E_DESCRIPTORS, E_SYSTEM with a sentence; then *umem is closed.
int umem_open(Umem *umem, const UmemOptions &options, ErrorText *error);
// The same memory for who gets the descriptor, which stays the caller's; pools of its own, all free. Codes as
// of umem_open, and E_INVALID when it is not such memory.
int umem_join(Umem *umem, int fd, const UmemOptions &options, ErrorText *error);
// After its sockets are closed. Twice is harmless.
void umem_close(Umem *umem);
inline Pool umem_owner(const Umem *umem, FrameId id) {
    uint32_t eighths = static_cast<uint32_t>(id >> (__builtin_ctz(umem->frame_count) - 3));
    return eighths < 4 ? Pool::receive : eighths < 5 ? Pool::ack : eighths < 6 ? Pool::control : Pool::data;
}
inline uint8_t *umem_frame(const Umem *umem, FrameId id) { return umem->base + (id << umem->frame_shift); }
// The frame that this address of a descriptor lies in; no_frame for one outside.
inline FrameId umem_frame_of(const Umem *umem, uint64_t address) {
    return address < umem->bytes ? address >> umem->frame_shift : no_frame;
}
inline FrameId umem_take(Umem *umem, Pool pool) {
    FramePool *p = &umem->pools[static_cast<unsigned>(pool)];
    if (p->free_count == 0) return no_frame;
    uint32_t id = p->free_list[--p->free_count];
    if (p->free_count < p->low) p->low = p->free_count;
    umem->out[id] = true;
    return id;
}
// To the pool that owns it. A frame that is not out is counted and left alone.
inline void umem_put(Umem *umem, FrameId id) {
    if (id >= umem->frame_count || !umem->out[id]) {
        umem->double_puts++;
        return;
    }
    umem->out[id] = false;
    FramePool *p = &umem->pools[static_cast<unsigned>(umem_owner(umem, id))];
    p->free_list[p->free_count++] = static_cast<uint32_t>(id);
}
inline uint32_t umem_out(const Umem *umem, Pool pool) {
    const FramePool &p = umem->pools[static_cast<unsigned>(pool)];
    return p.count - p.free_count;
}

} // namespace wx
