// SPDX-License-Identifier: MIT
// The receiver's side of the sequence space: pieces that are in order and wait to be read, and pieces that
// came too early and are held where they lie, in their frames. Of an overlap the bytes that came first count,
// so nothing that was acknowledged can change; only a held piece that a later one covers whole gives way to
// it, since that piece would otherwise be needed in two parts. It has been reported in a SACK block at most,
// which is no promise (RFC 2018 section 8).
#pragma once
#include "../wire/tcp_header.h"
#include "frames.h"
#include "sequence.h"

namespace wx {

// More than a segment ever brings: the largest window (RFC 7323 section 2.3), within which sequence numbers
// compare.
constexpr size_t rx_piece_max = size_t{1} << 30;

struct RxPiece {
    uint32_t seq;
    uint32_t size;
    const uint8_t *data;
    FrameId frame;
    uint32_t stamp; // when it came (again), counted in pieces: the newest block is reported first (RFC 2018
                    // section 4)
};

// Payload in order, to be read where it lies. Valid until it is consumed.
struct TcpView {
    const uint8_t *data;
    uint32_t size;
    FrameId frame;
};

enum class Placed : uint8_t {
    in_order,  // readable now
    filled,    // readable, and so is something that was held, or that replaces it
    held,      // waits for what is missing before it
    duplicate, // all of it is here already; the frame is not kept
    no_room,   // entries or budget used up; dropped, must not be acknowledged; the frame is not kept
};

struct Reassembly {
    RxPiece *ready = nullptr; // ring: in order, not consumed
    RxPiece *held = nullptr; // sorted, disjoint, all after `next`; the first one at `next` if `ready` is full
    uint32_t ready_mask = 0;
    uint32_t ready_head = 0;
    uint32_t ready_tail = 0;
    uint32_t held_count = 0;
    uint32_t held_max = 0;
    uint32_t held_bytes = 0;
    uint32_t held_budget = 0; // bytes
    uint32_t next = 0;        // sequence number expected next
    uint32_t read = 0;        // sequence number of the first byte not consumed
    uint32_t stamp = 0;
};

size_t reassembly_bytes(uint32_t ready_capacity, uint32_t held_max);
// ready_capacity: a power of two. memory aligned to 16.
void reassembly_open(Reassembly *r, void *memory, uint32_t ready_capacity, uint32_t held_max,
                     uint32_t held_budget, uint32_t first_seq);
inline uint32_t reassembly_unread(const Reassembly *r) { return r->next - r->read; }
// Blocks of what is held, the one with the newest piece first, then by age; returns how many, tcp_sack_max at
// most. A piece that came again makes its block the newest (RFC 2883 section 4). What begins at `next` and
// waits only for entries is not reported: nothing is missing before it, and a peer would take it for
// reneging.
unsigned reassembly_sacks(const Reassembly *r, SackBlock *out, unsigned cap);
// Of the blocks whose newest piece came after stamp `told`: how many there are (the result), and the `cap` of
// them that are oldest by that piece, the newest of these first. *last: the stamp up to which they tell.
unsigned reassembly_sacks_since(const Reassembly *r, uint32_t told, SackBlock *out, unsigned cap,
                                uint32_t *last);
void reassembly_clear(Reassembly *r, const FrameRelease &release);

// The parts of reassembly_add and reassembly_consume for when something is held, repeated or refused.
Placed reassembly_place(Reassembly *r, uint32_t seq, ByteView payload, FrameId frame,
                        const FrameRelease &release, SackBlock *repeated);
void reassembly_move(Reassembly *r);

// Payload that lies within the receive window, as the caller has checked; an empty one is a duplicate. Takes
// what is new of it: trims what is here already, lets go (through `release`) of held pieces that it covers
// whole. A frame that is not kept stays the caller's and is not released here. *repeated: the first range of
// it that was here already, begin == end for none: what a DSACK reports (RFC 2883).
inline Placed reassembly_add(Reassembly *r, uint32_t seq, ByteView payload, FrameId frame,
                             const FrameRelease &release, SackBlock *repeated) {
    const bool plain = seq == r->next && r->held_count == 0 && payload.size - 1 < rx_piece_max; // 0 wraps
    if (!plain || r->ready_tail - r->ready_head > r->ready_mask)
        return reassembly_place(r, seq, payload, frame, release, repeated);
    const uint32_t size = static_cast<uint32_t>(payload.size);
    r->ready[r->ready_tail & r->ready_mask] = {seq, size, payload.data, frame, 0};
    r->ready_tail++;
    r->next = seq + size;
    *repeated = {seq, seq};
    return Placed::in_order;
}

// Fills up to cap views from the first byte not consumed on; returns how many.
inline uint32_t reassembly_views(const Reassembly *r, TcpView *out, uint32_t cap) {
    uint32_t count = r->ready_tail - r->ready_head;
    if (count > cap) count = cap;
    uint32_t from = r->read;
    for (uint32_t i = 0; i < count; i++) {
        const RxPiece &piece = r->ready[(r->ready_head + i) & r->ready_mask];
        const uint32_t offset = from - piece.seq; // 0 but in the first one
        out[i] = {piece.data + offset, piece.size - offset, piece.frame};
        from = piece.seq + piece.size;
    }
    return count;
}

// At most reassembly_unread bytes; releases frames whose last byte is consumed. When `ready` had been full,
// `next` may advance, which the peer must be told.
inline void reassembly_consume(Reassembly *r, uint32_t bytes, const FrameRelease &release) {
    const uint32_t unread = reassembly_unread(r);
    r->read += bytes < unread ? bytes : unread;
    while (r->ready_head != r->ready_tail) {
        const RxPiece &piece = r->ready[r->ready_head & r->ready_mask];
        if (seq_after(piece.seq + piece.size, r->read)) break;
        r->ready_head++;
        release(piece.frame);
    }
    if (r->held_count != 0 && r->held[0].seq == r->next) reassembly_move(r);
}

} // namespace wx
