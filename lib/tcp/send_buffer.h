// SPDX-License-Identifier: MIT
// What is queued to be sent and what was sent but not acknowledged: chunks of memory that the caller owns and
// keeps until they are released, which is when the last byte of the chunk has been acknowledged. This is the
// retransmit buffer; nothing is copied.
#pragma once
#include "../base/bytes.h"
#include "../wire/checksum.h"
#include "frames.h"
#include "sequence.h"

namespace wx {

// Bytes that a buffer may hold: the largest window (RFC 7323 section 2.3), within which sequence numbers
// compare.
constexpr uint32_t send_held_max = uint32_t{1} << 30;

struct TcpChunk {
    const uint8_t *data = nullptr;
    uint32_t size = 0;
    bool has_sum = false; // `sum` is checksum_sum(data, size): known to who copied it with checksum_copy
    bool push = true;     // PSH on the segment that ends with this chunk's last byte
    ChecksumSum sum = 0;
    FrameId frame = no_frame;
};

// A segment may take pieces of so many chunks: small ones that waited for the window leave together.
constexpr unsigned send_pieces_max = 8;

struct SendPieces {
    struct Piece { // nothing to clear: one of these is made for every segment
        const uint8_t *data;
        size_t size;
        operator ByteView() const { return ByteView(data, size); }
    };
    Piece pieces[send_pieces_max]; // [0, count) are there
    unsigned count = 0;
    uint32_t size = 0;
    ChecksumSum sum = 0;      // of all pieces together, as one run of bytes
    bool push = false;        // ends with a chunk that wants it
    bool whole = false;       // exactly one whole chunk: it can be sent from where it lies
    FrameId frame = no_frame; // of the first piece
};

struct SendBuffer {
    struct Entry {
        uint32_t seq;
        TcpChunk chunk;
    };
    Entry *entries = nullptr; // ring
    uint32_t mask = 0;        // capacity - 1, a power of two less one
    uint32_t head = 0;        // free-running
    uint32_t tail = 0;
    uint32_t begin = 0;  // sequence number of the first byte held
    uint32_t end = 0;    // one past the last byte queued
    uint32_t limit = 0;  // bytes that may be held
    uint32_t cursor = 0; // entry that the last view ended in: where the next one most likely begins
};

// memory: send_buffer_bytes(capacity) bytes, aligned to 16. capacity: a power of two. limit: more than
// send_held_max counts as that.
size_t send_buffer_bytes(uint32_t capacity);
void send_buffer_open(SendBuffer *b, void *memory, uint32_t capacity, uint32_t limit, uint32_t first_seq);
inline uint32_t send_buffer_held(const SendBuffer *b) { return b->end - b->begin; }
// Bytes that send_buffer_add takes now; 0 when all entries are used. A buffer that holds nothing says
// `limit`.
uint32_t send_buffer_room(const SendBuffer *b);
void send_buffer_clear(SendBuffer *b, const FrameRelease &release);

// The part of send_buffer_view that is seldom needed: `seq` is looked for among all entries.
uint32_t send_buffer_search(const SendBuffer *b, uint32_t seq);
// After a view, the last one, that stopped at the end of its chunk: goes on into following chunks until
// `size` bytes in all or send_pieces_max.
void send_buffer_join(SendBuffer *b, uint32_t size, SendPieces *out);

// false: no room for all of it (nothing is taken), an empty chunk, or one above send_held_max. A buffer that
// holds nothing takes any other chunk.
inline bool send_buffer_add(SendBuffer *b, const TcpChunk &chunk) {
    const uint32_t held = send_buffer_held(b);
    if (chunk.size - 1 >= send_held_max) return false; // 0 wraps
    if (held != 0 && uint64_t{held} + chunk.size > b->limit) return false;
    if (b->tail - b->head > b->mask) return false;
    SendBuffer::Entry &entry = b->entries[b->tail & b->mask];
    entry.seq = b->end;
    entry.chunk = chunk;
    b->tail++;
    b->end += chunk.size;
    return true;
}

// The entry that holds `seq`, one of [begin, end). New segments go on where the last one ended.
inline uint32_t send_buffer_find(const SendBuffer *b, uint32_t seq) {
    for (uint32_t index = b->cursor; index != b->cursor + 2; index++) {
        if (index - b->head >= b->tail - b->head) continue; // released, or not yet queued
        const SendBuffer::Entry &entry = b->entries[index & b->mask];
        if (seq - entry.seq < entry.chunk.size) return index;
    }
    return send_buffer_search(b, seq);
}

// Up to `size` bytes from `seq` on, which lies in [begin, end); nothing when it does not. join: go on into
// following chunks as send_buffer_join does; else stop at the end of the first. The sum is taken from the
// chunk where a piece is all of it. pieces[count] and what follows are left as they are.
inline void send_buffer_view(SendBuffer *b, uint32_t seq, uint32_t size, bool join, SendPieces *out) {
    out->count = 0;
    out->size = 0;
    out->sum = 0;
    out->push = false;
    out->whole = false;
    out->frame = no_frame;
    if (seq - b->begin >= send_buffer_held(b) || size == 0) return;
    const uint32_t index = send_buffer_find(b, seq);
    const SendBuffer::Entry &entry = b->entries[index & b->mask];
    const uint32_t offset = seq - entry.seq;
    const uint32_t left = entry.chunk.size - offset;
    const uint32_t taken = size < left ? size : left;
    b->cursor = index;
    out->pieces[0] = {entry.chunk.data + offset, taken};
    out->count = 1;
    out->size = taken;
    out->whole = taken == entry.chunk.size;
    out->sum = out->whole && entry.chunk.has_sum ? entry.chunk.sum : checksum_sum(out->pieces[0].data, taken);
    out->push = taken == left && entry.chunk.push;
    out->frame = entry.chunk.frame;
    if (join && taken < size) send_buffer_join(b, size, out);
}

// Everything before `seq` has been acknowledged: releases chunks that end there or before. A `seq` before
// `begin` changes nothing, one after `end` (the FIN's) counts as `end`.
inline void send_buffer_acked(SendBuffer *b, uint32_t seq, const FrameRelease &release) {
    if (seq_until(seq, b->begin)) return;
    b->begin = seq_min(seq, b->end);
    while (b->head != b->tail) {
        const SendBuffer::Entry &entry = b->entries[b->head & b->mask];
        if (seq_after(entry.seq + entry.chunk.size, b->begin)) return;
        b->head++;
        release(entry.chunk.frame);
    }
}

} // namespace wx
