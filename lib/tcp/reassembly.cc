// SPDX-License-Identifier: MIT
// Placing what came too early, again, or in part again. A piece's place is found by binary search, or at once
// when it lies behind all others, as pieces do that follow a loss. Nothing is changed before it is certain
// that the piece has room. Pieces are moved as 32 bytes, never their payload. Worst case: a piece before all
// others moves held_max entries, and a SACK option looks at each.
#include "reassembly.h"

namespace wx {
namespace {

inline uint32_t end_of(const RxPiece &piece) { return piece.seq + piece.size; }

// What a piece is when what was here already is taken off.
struct Trimmed {
    uint32_t begin;
    uint32_t end;   // == begin: nothing is left
    uint32_t first; // held[first] up to held[last] lie within it
    uint32_t last;
    uint32_t covered; // bytes of those
    SackBlock repeated;
};

// Ranges come in order; one that adjoins the last goes on with it, others are not the first.
inline void note_repeated(Trimmed *t, uint32_t begin, uint32_t end) {
    if (t->repeated.begin == t->repeated.end)
        t->repeated = {begin, end};
    else if (t->repeated.end == begin)
        t->repeated.end = end;
}

// The first held piece that ends after `seq`, or held_count.
uint32_t find_held(const Reassembly *r, uint32_t seq) {
    uint32_t low = 0;
    uint32_t high = r->held_count;
    if (high == 0 || seq_until(end_of(r->held[high - 1]), seq)) return high;
    while (low != high) {
        const uint32_t middle = low + (high - low) / 2;
        if (seq_after(end_of(r->held[middle]), seq))
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

// Where the bytes that follow each other without a gap end: `next`, unless held pieces wait for room in
// `ready`.
uint32_t gapless_end(const Reassembly *r) {
    uint32_t end = r->next;
    for (uint32_t i = 0; i < r->held_count && r->held[i].seq == end; i++) end = end_of(r->held[i]);
    return end;
}

Trimmed trim(const Reassembly *r, uint32_t begin, uint32_t end) {
    Trimmed t = {begin, end, 0, 0, 0, {begin, begin}};
    const uint32_t gapless = gapless_end(r);
    if (seq_before(t.begin, gapless)) {
        t.begin = seq_min(end, gapless);
        note_repeated(&t, begin, t.begin);
    }
    uint32_t i = find_held(r, t.begin);
    if (i < r->held_count && seq_before(r->held[i].seq, t.begin)) {
        const uint32_t stop = seq_min(end, end_of(r->held[i]));
        note_repeated(&t, t.begin, stop);
        t.begin = stop;
        i++;
    }
    t.first = i;
    for (; i < r->held_count && seq_before(r->held[i].seq, t.end); i++) {
        const RxPiece &piece = r->held[i];
        if (seq_after(end_of(piece), t.end)) {
            note_repeated(&t, piece.seq, t.end);
            t.end = piece.seq;
            break;
        }
        note_repeated(&t, piece.seq, end_of(piece));
        t.covered += piece.size;
    }
    t.last = i;
    if (t.covered == t.end - t.begin) t.end = t.begin;
    return t;
}

// The block that holds a piece which came again is what the next SACK option must tell first.
void renew(Reassembly *r, uint32_t last_byte) {
    const uint32_t i = find_held(r, last_byte);
    if (i < r->held_count && seq_until(r->held[i].seq, last_byte)) r->held[i].stamp = ++r->stamp;
}

void release_covered(Reassembly *r, const Trimmed &t, const FrameRelease &release) {
    for (uint32_t i = t.first; i < t.last; i++) release(r->held[i].frame);
    r->held_bytes -= t.covered;
}

// held[from] up to held[count] become held[to] and following.
void shift_held(Reassembly *r, uint32_t from, uint32_t to) {
    const uint32_t moved = r->held_count - from;
    if (moved != 0 && from != to) memmove(r->held + to, r->held + from, moved * sizeof(RxPiece));
    r->held_count = to + moved;
}

// Moves held[from] and those that follow it without a gap while `ready` has room; held pieces before `from`
// are gone. Returns how many it moved.
uint32_t move_held(Reassembly *r, uint32_t from) {
    uint32_t i = from;
    while (i < r->held_count && r->held[i].seq == r->next && r->ready_tail - r->ready_head <= r->ready_mask) {
        r->ready[r->ready_tail++ & r->ready_mask] = r->held[i];
        r->held_bytes -= r->held[i].size;
        r->next = end_of(r->held[i]);
        i++;
    }
    shift_held(r, i, 0);
    return i - from;
}

Placed place_ready(Reassembly *r, const Trimmed &t, const RxPiece &piece, const FrameRelease &release) {
    if (r->ready_tail - r->ready_head > r->ready_mask) return Placed::no_room;
    release_covered(r, t, release);
    r->ready[r->ready_tail++ & r->ready_mask] = piece;
    r->next = end_of(piece);
    const uint32_t moved = move_held(r, t.last);
    return moved != 0 || t.last != 0 ? Placed::filled : Placed::in_order;
}

Placed place_held(Reassembly *r, const Trimmed &t, const RxPiece &piece, const FrameRelease &release) {
    if (r->held_count - (t.last - t.first) >= r->held_max) return Placed::no_room;
    if (uint64_t{r->held_bytes} - t.covered + piece.size > r->held_budget) return Placed::no_room;
    release_covered(r, t, release);
    shift_held(r, t.last, t.first + 1);
    r->held[t.first] = piece;
    r->held[t.first].stamp = ++r->stamp;
    r->held_bytes += piece.size;
    return Placed::held;
}

} // namespace

size_t reassembly_bytes(uint32_t ready_capacity, uint32_t held_max) {
    return (size_t{ready_capacity} + held_max) * sizeof(RxPiece);
}

void reassembly_open(Reassembly *r, void *memory, uint32_t ready_capacity, uint32_t held_max,
                     uint32_t held_budget, uint32_t first_seq) {
    *r = Reassembly();
    r->ready = static_cast<RxPiece *>(memory);
    r->held = r->ready + ready_capacity;
    r->ready_mask = ready_capacity - 1;
    r->held_max = held_max;
    r->held_budget = held_budget;
    r->next = first_seq;
    r->read = first_seq;
}

Placed reassembly_place(Reassembly *r, uint32_t seq, ByteView payload, FrameId frame,
                        const FrameRelease &release, SackBlock *repeated) {
    *repeated = {seq, seq};
    if (payload.size == 0) return Placed::duplicate;
    if (payload.size > rx_piece_max) return Placed::no_room;
    const uint32_t end = seq + static_cast<uint32_t>(payload.size);
    const Trimmed t = trim(r, seq, end);
    *repeated = t.repeated;
    if (t.begin == t.end) {
        renew(r, end - 1);
        return Placed::duplicate;
    }
    const RxPiece piece = {t.begin, t.end - t.begin, payload.data + (t.begin - seq), frame, 0};
    if (t.begin == r->next) return place_ready(r, t, piece, release);
    return place_held(r, t, piece, release);
}

void reassembly_move(Reassembly *r) { move_held(r, 0); }

// The block that begins with held[*i], which moves on to the next one's; returns its newest stamp.
static uint32_t take_block(const Reassembly *r, uint32_t *i, SackBlock *block) {
    uint32_t newest = r->held[*i].stamp;
    *block = {r->held[*i].seq, r->held[*i].seq};
    for (; *i < r->held_count && r->held[*i].seq == block->end; ++*i) {
        block->end = end_of(r->held[*i]);
        if (seq_after(r->held[*i].stamp, newest)) newest = r->held[*i].stamp;
    }
    return newest;
}

unsigned reassembly_sacks_since(const Reassembly *r, uint32_t told, SackBlock *out, unsigned cap,
                                uint32_t *last) {
    uint32_t stamps[tcp_sack_max];
    unsigned count = 0, all = 0;
    if (cap > tcp_sack_max) cap = tcp_sack_max;
    *last = told;
    for (uint32_t i = 0; i < r->held_count;) {
        SackBlock block;
        const uint32_t newest = take_block(r, &i, &block);
        if (block.begin == r->next || !seq_after(newest, told)) continue;
        all++;
        unsigned at = 0; // newest first
        while (at != count && seq_before(newest, stamps[at])) at++;
        if (count == cap) { // the newest of those makes room
            if (at == 0) continue;
            for (unsigned k = 0; k + 1 < at; k++) {
                out[k] = out[k + 1];
                stamps[k] = stamps[k + 1];
            }
            at--;
        } else {
            for (unsigned k = count++; k > at; k--) {
                out[k] = out[k - 1];
                stamps[k] = stamps[k - 1];
            }
        }
        out[at] = block;
        stamps[at] = newest;
    }
    if (count != 0) *last = stamps[0];
    return all;
}

unsigned reassembly_sacks(const Reassembly *r, SackBlock *out, unsigned cap) {
    uint32_t stamps[tcp_sack_max];
    unsigned count = 0;
    if (cap > tcp_sack_max) cap = tcp_sack_max;
    for (uint32_t i = 0; i < r->held_count;) {
        SackBlock block;
        const uint32_t newest = take_block(r, &i, &block);
        if (block.begin == r->next) continue;
        unsigned at = count;
        while (at != 0 && seq_after(newest, stamps[at - 1])) at--;
        if (at == cap) continue; // older than as many as there is place for
        if (count < cap) count++;
        for (unsigned k = count - 1; k > at; k--) {
            out[k] = out[k - 1];
            stamps[k] = stamps[k - 1];
        }
        out[at] = block;
        stamps[at] = newest;
    }
    return count;
}

void reassembly_clear(Reassembly *r, const FrameRelease &release) {
    for (uint32_t i = r->ready_head; i != r->ready_tail; i++) release(r->ready[i & r->ready_mask].frame);
    for (uint32_t i = 0; i < r->held_count; i++) release(r->held[i].frame);
    r->ready_head = r->ready_tail;
    r->held_count = 0;
    r->held_bytes = 0;
    r->read = r->next;
}

} // namespace wx
