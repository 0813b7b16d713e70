// SPDX-License-Identifier: MIT
// Every segment that was sent and is not acknowledged, in order, and what is known of it: when it went, how
// often, whether the peer holds it (RFC 2018), whether it is taken for lost. RACK, recovery and the
// round-trip clock read from here. Segments join without a gap: each begins where the one before ends.
#pragma once
#include "../base/clock.h"
#include "../wire/tcp_header.h"
#include "sequence.h"

namespace wx {

enum SentFlag : uint8_t {
    sent_sacked = 1,   // the peer says it holds it
    sent_lost = 2,     // taken for lost and not sent again since
    sent_syn = 4,      // holds the SYN's sequence number, first
    sent_fin = 8,      // holds the FIN's, last
    sent_in_part = 16, // only its first bytes went the last time: there was no entry to make two of it
};

struct SentSegment {
    uint32_t seq;
    uint32_t end;
    Nanos sent_at;     // the last time; never 0, which stands for none in reports
    uint32_t ts_value; // our timestamp of the last time
    uint8_t flags;
    uint8_t times; // sent so often, stops at 255
};

struct Scoreboard {
    SentSegment *ring = nullptr;
    uint32_t mask = 0;
    uint32_t head = 0; // free-running
    uint32_t tail = 0;
    uint32_t sacked_bytes = 0;
    uint32_t sacked_count = 0;
    uint32_t lost_bytes = 0;
    uint32_t lost_count = 0;
    uint32_t highest_sacked = 0; // end of the highest SACKed segment, valid while sacked_count
    uint32_t lost_hint = 0;      // free-running: no lost segment before this entry
};

// What an acknowledgement brought. Filled by scoreboard_ack and scoreboard_sack, which add to it, in any
// order: a new report for each acknowledgement.
struct AckReport {
    uint32_t acked = 0;        // bytes acknowledged cumulatively, SACKed before or not
    uint32_t delivered = 0;    // bytes that the peer is now known to hold and was not before
    uint32_t newly_sacked = 0; // of these, by SACK
    // Of the newest segment that was sent only once; 0 none. A cumulative acknowledgement that covers
    // anything sent again gives none: it filled a hole, and what lay above the hole had been waiting.
    Nanos rtt = 0;
    Nanos newest_sent_at = 0;  // of the most recently sent segment among the delivered; 0 none
    uint32_t newest_end = 0;   // its end
    uint32_t newest_ts = 0;    // our timestamp on it
    bool newest_again = false; // it had been sent more than once
    Nanos once_sent_at = 0;    // the same among those sent only once; 0 none
    uint32_t once_end = 0;
    bool reordered = false;   // a segment sent only once was delivered after a later one had been
    bool again_acked = false; // the first of the acknowledged had been sent more than once
    uint8_t first_times = 0;  // how often it had been sent; 0: nothing was acknowledged cumulatively
    uint32_t first_ts = 0;    // the timestamp of its last sending
    bool begun = false;       // the next two are set
    bool had_sacked = false;  // something was SACKed before this acknowledgement
    uint32_t forward = 0;     // RACK.fack (RFC 8985 section 6.2 step 3) before it, valid with had_sacked
};

// RACK_sent_after (RFC 8985 section 6.2 step 2): the sequence number tells what the clock is too coarse for.
inline bool sent_after(Nanos a, uint32_t end_a, Nanos b, uint32_t end_b) {
    return a > b || (a == b && seq_after(end_a, end_b));
}

size_t scoreboard_bytes(uint32_t capacity); // capacity: a power of two
void scoreboard_open(Scoreboard *s, void *memory, uint32_t capacity);
inline uint32_t scoreboard_count(const Scoreboard *s) { return s->tail - s->head; }
inline bool scoreboard_full(const Scoreboard *s) { return s->tail - s->head > s->mask; }
inline SentSegment *scoreboard_at(const Scoreboard *s, uint32_t index) { // 0: the oldest
    return &s->ring[(s->head + index) & s->mask];
}
// A new segment was sent after all others; nullptr when full.
SentSegment *scoreboard_add(Scoreboard *s, uint32_t seq, uint32_t end, uint8_t flags, Nanos now,
                            uint32_t ts_value);
// Everything before `una` is acknowledged. A segment that is acknowledged in part is cut; what is left of one
// that was sent in part was not sent and is marked lost.
void scoreboard_ack(Scoreboard *s, uint32_t una, Nanos now, AckReport *report);
// The peer holds [begin, end), which lies within what was sent and not acknowledged (not a DSACK, RFC 2883).
// A segment that is covered in part is not marked: only whole segments are spared.
void scoreboard_sack(Scoreboard *s, SackBlock block, Nanos now, AckReport *report);
// The first segment taken for lost, nullptr when there is none.
SentSegment *scoreboard_next_lost(Scoreboard *s);
void scoreboard_mark_lost(Scoreboard *s, SentSegment *segment); // no effect when SACKed or lost already
// Sent once more: no longer lost but under way.
void scoreboard_sent_again(Scoreboard *s, SentSegment *segment, Nanos now, uint32_t ts_value);
// Makes two of one, at sequence number `at` inside it; false when full, or not inside. The first part keeps
// its place; pointers to later segments are void.
bool scoreboard_split(Scoreboard *s, SentSegment *segment, uint32_t at);
// The peer took back what it had said (RFC 2018 section 8): nothing is SACKed any more.
void scoreboard_forget_sacks(Scoreboard *s);
void scoreboard_clear_lost(Scoreboard *s); // the losses were none
void scoreboard_clear(Scoreboard *s);

} // namespace wx
