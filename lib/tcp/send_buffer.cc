// SPDX-License-Identifier: MIT
// The retransmit buffer's slower half: opening, finding a chunk anywhere, joining several into one segment.
// It only keeps order over chunks that lie elsewhere and never touches their bytes but to sum them. What is
// sent for the first time is found where the last segment ended; what is sent again costs a binary search.
#include "send_buffer.h"

namespace wx {

size_t send_buffer_bytes(uint32_t capacity) { return size_t{capacity} * sizeof(SendBuffer::Entry); }

void send_buffer_open(SendBuffer *b, void *memory, uint32_t capacity, uint32_t limit, uint32_t first_seq) {
    *b = SendBuffer();
    b->entries = static_cast<SendBuffer::Entry *>(memory);
    b->mask = capacity - 1;
    b->begin = first_seq;
    b->end = first_seq;
    b->limit = limit < send_held_max ? limit : send_held_max;
}

uint32_t send_buffer_room(const SendBuffer *b) {
    const uint32_t held = send_buffer_held(b);
    if (b->tail - b->head > b->mask || held >= b->limit) return 0;
    return b->limit - held;
}

uint32_t send_buffer_search(const SendBuffer *b, uint32_t seq) {
    const uint32_t first = b->entries[b->head & b->mask].seq;
    uint32_t low = 0; // begins at `seq` or before it
    uint32_t high = b->tail - b->head;
    while (high - low > 1) {
        const uint32_t middle = low + (high - low) / 2;
        if (b->entries[(b->head + middle) & b->mask].seq - first <= seq - first)
            low = middle;
        else
            high = middle;
    }
    return b->head + low;
}

void send_buffer_join(SendBuffer *b, uint32_t size, SendPieces *out) {
    while (out->size < size && out->count != send_pieces_max && b->cursor + 1 != b->tail) {
        const TcpChunk &chunk = b->entries[++b->cursor & b->mask].chunk;
        const uint32_t wanted = size - out->size;
        const uint32_t taken = wanted < chunk.size ? wanted : chunk.size;
        const bool all = taken == chunk.size;
        const ChecksumSum sum = all && chunk.has_sum ? chunk.sum : checksum_sum(chunk.data, taken);
        out->sum = checksum_add(out->sum, out->size & 1 ? checksum_shift(sum) : sum);
        out->pieces[out->count++] = {chunk.data, taken};
        out->size += taken;
        out->push = all && chunk.push;
        out->whole = false;
    }
}

void send_buffer_clear(SendBuffer *b, const FrameRelease &release) {
    send_buffer_acked(b, b->end, release);
    b->cursor = b->tail;
}

} // namespace wx
