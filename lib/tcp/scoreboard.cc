// SPDX-License-Identifier: MIT
// The scoreboard is a ring of sent segments in sequence order. An acknowledgement takes from its head, at a
// few nanoseconds a segment; a SACK block finds its first segment by binary search and then walks what it
// covers, again for each acknowledgement that repeats the block: at most the ring for each block, which is
// the worst a peer can cause. Splitting moves every later entry and happens only when the path's segment size
// falls.
#include "scoreboard.h"

namespace wx {

static uint32_t size_of(const SentSegment *segment) { return segment->end - segment->seq; }

// Free-running, as head and tail are.
static uint32_t entry_of(const Scoreboard *s, const SentSegment *segment) {
    const uint32_t slot = static_cast<uint32_t>(segment - s->ring);
    return s->head + ((slot - s->head) & s->mask);
}

size_t scoreboard_bytes(uint32_t capacity) { return sizeof(SentSegment) * static_cast<size_t>(capacity); }

void scoreboard_open(Scoreboard *s, void *memory, uint32_t capacity) {
    *s = Scoreboard();
    s->ring = static_cast<SentSegment *>(memory);
    s->mask = capacity - 1;
}

SentSegment *scoreboard_add(Scoreboard *s, uint32_t seq, uint32_t end, uint8_t flags, Nanos now,
                            uint32_t ts_value) {
    if (scoreboard_full(s)) return nullptr;
    SentSegment *segment = &s->ring[s->tail++ & s->mask];
    *segment = {seq, end, now, ts_value, flags, 1};
    return segment;
}

// Reordering is judged by what had been delivered before this acknowledgement: blocks come in any order, and
// two holes that one acknowledgement tells of are no reordering.
static void begin_report(const Scoreboard *s, AckReport *report) {
    if (report->begun) return;
    report->begun = true;
    report->had_sacked = s->sacked_count != 0;
    report->forward = s->highest_sacked;
}

// The peer is now known to hold what `segment` held up to `end`.
static inline void deliver(AckReport *report, const SentSegment *segment, uint32_t end) {
    report->delivered += end - segment->seq;
    if (sent_after(segment->sent_at, end, report->newest_sent_at, report->newest_end) ||
        report->newest_sent_at == 0) {
        report->newest_sent_at = segment->sent_at;
        report->newest_end = end;
        report->newest_ts = segment->ts_value;
        report->newest_again = segment->times > 1;
    }
    if (segment->times > 1) return;
    if (sent_after(segment->sent_at, end, report->once_sent_at, report->once_end) ||
        report->once_sent_at == 0) {
        report->once_sent_at = segment->sent_at;
        report->once_end = end;
    }
    if (report->had_sacked && seq_before(end, report->forward)) report->reordered = true;
}

static void no_longer_lost(Scoreboard *s, SentSegment *segment) {
    if (!(segment->flags & sent_lost)) return;
    segment->flags = static_cast<uint8_t>(segment->flags & ~sent_lost);
    s->lost_bytes -= size_of(segment);
    s->lost_count--;
}

// Takes the first part, up to `end`, off the counts; `whole` takes the segment off too.
static inline void leave(Scoreboard *s, const SentSegment *segment, uint32_t end, bool whole) {
    if (segment->flags & sent_sacked) {
        s->sacked_bytes -= end - segment->seq;
        s->sacked_count -= whole;
    } else if (segment->flags & sent_lost) {
        s->lost_bytes -= end - segment->seq;
        s->lost_count -= whole;
    }
}

static void take_rtt(AckReport *report, Nanos sent_at, Nanos now) {
    const Nanos rtt = now > sent_at ? now - sent_at : 1; // 0 stands for none
    if (report->rtt == 0 || rtt < report->rtt) report->rtt = rtt;
}

void scoreboard_ack(Scoreboard *s, uint32_t una, Nanos now, AckReport *report) {
    uint32_t head = s->head;
    if (head == s->tail || !seq_after(una, s->ring[head & s->mask].seq)) return;
    begin_report(s, report);
    const SentSegment *first = &s->ring[head & s->mask];
    const uint32_t begin = first->seq;
    report->first_times = first->times;
    report->first_ts = first->ts_value;
    report->again_acked = first->times > 1;

    uint32_t reached = begin;
    Nanos newest_once = 0;
    bool again = false;
    SentSegment *cut = nullptr;
    while (head != s->tail) {
        SentSegment *segment = &s->ring[head & s->mask];
        const bool whole = seq_until(segment->end, una);
        if (!whole && !seq_after(una, segment->seq)) break;
        reached = whole ? segment->end : una;
        if (!(segment->flags & sent_sacked)) {
            deliver(report, segment, reached);
            if (segment->times == 1 && segment->sent_at > newest_once) newest_once = segment->sent_at;
        }
        if (segment->flags & (sent_sacked | sent_lost)) leave(s, segment, reached, whole);
        again |= segment->times > 1;
        if (!whole) {
            segment->seq = una;
            segment->flags = static_cast<uint8_t>(segment->flags & ~sent_syn);
            cut = segment;
            break;
        }
        head++;
    }
    s->head = head;
    if (static_cast<int32_t>(s->lost_hint - head) < 0) s->lost_hint = head;
    if (cut != nullptr && (cut->flags & sent_in_part)) {
        cut->flags = static_cast<uint8_t>(cut->flags & ~sent_in_part);
        scoreboard_mark_lost(s, cut);
    }
    report->acked += reached - begin;
    if (newest_once != 0 && !again) take_rtt(report, newest_once, now);
}

// The first entry that begins at `seq` or after it; tail when there is none.
static uint32_t find_entry(const Scoreboard *s, uint32_t seq) {
    uint32_t low = s->head, count = s->tail - s->head;
    while (count != 0) {
        const uint32_t half = count / 2;
        if (seq_before(s->ring[(low + half) & s->mask].seq, seq)) {
            low += half + 1;
            count -= half + 1;
        } else {
            count = half;
        }
    }
    return low;
}

void scoreboard_sack(Scoreboard *s, SackBlock block, Nanos now, AckReport *report) {
    begin_report(s, report);
    Nanos newest_once = 0;
    for (uint32_t entry = find_entry(s, block.begin); entry != s->tail; entry++) {
        SentSegment *segment = &s->ring[entry & s->mask];
        if (seq_after(segment->end, block.end)) break;
        if (segment->flags & sent_sacked) continue;
        no_longer_lost(s, segment);
        deliver(report, segment, segment->end);
        if (segment->times == 1 && segment->sent_at > newest_once) newest_once = segment->sent_at;
        segment->flags |= sent_sacked;
        s->highest_sacked = s->sacked_count == 0 ? segment->end : seq_max(s->highest_sacked, segment->end);
        s->sacked_count++;
        s->sacked_bytes += size_of(segment);
        report->newly_sacked += size_of(segment);
    }
    if (newest_once != 0) take_rtt(report, newest_once, now);
}

SentSegment *scoreboard_next_lost(Scoreboard *s) {
    if (s->lost_count == 0) return nullptr;
    while (!(s->ring[s->lost_hint & s->mask].flags & sent_lost)) s->lost_hint++;
    return &s->ring[s->lost_hint & s->mask];
}

void scoreboard_mark_lost(Scoreboard *s, SentSegment *segment) {
    if (segment->flags & (sent_sacked | sent_lost)) return;
    const uint32_t entry = entry_of(s, segment);
    if (s->lost_count == 0 || static_cast<int32_t>(entry - s->lost_hint) < 0) s->lost_hint = entry;
    segment->flags |= sent_lost;
    s->lost_count++;
    s->lost_bytes += size_of(segment);
}

void scoreboard_sent_again(Scoreboard *s, SentSegment *segment, Nanos now, uint32_t ts_value) {
    no_longer_lost(s, segment);
    segment->flags = static_cast<uint8_t>(segment->flags & ~sent_in_part);
    segment->sent_at = now;
    segment->ts_value = ts_value;
    if (segment->times != UINT8_MAX) segment->times++;
}

bool scoreboard_split(Scoreboard *s, SentSegment *segment, uint32_t at) {
    if (scoreboard_full(s) || !seq_after(at, segment->seq) || !seq_before(at, segment->end)) return false;
    const uint32_t entry = entry_of(s, segment);
    for (uint32_t to = s->tail; to != entry; to--) s->ring[to & s->mask] = s->ring[(to - 1) & s->mask];
    s->tail++;
    SentSegment *second = &s->ring[(entry + 1) & s->mask];
    second->seq = at;
    second->flags = static_cast<uint8_t>(second->flags & ~sent_syn);
    segment->end = at;
    segment->flags = static_cast<uint8_t>(segment->flags & ~sent_fin);
    s->sacked_count += (segment->flags & sent_sacked) != 0;
    s->lost_count += (segment->flags & sent_lost) != 0;
    // A hint behind the segment still points before the first lost one.
    return true;
}

void scoreboard_forget_sacks(Scoreboard *s) {
    for (uint32_t entry = s->head; entry != s->tail; entry++) {
        SentSegment *segment = &s->ring[entry & s->mask];
        segment->flags = static_cast<uint8_t>(segment->flags & ~sent_sacked);
    }
    s->sacked_bytes = s->sacked_count = 0;
}

void scoreboard_clear_lost(Scoreboard *s) {
    while (SentSegment *segment = scoreboard_next_lost(s)) no_longer_lost(s, segment);
}

void scoreboard_clear(Scoreboard *s) {
    s->head = s->lost_hint = s->tail;
    s->sacked_bytes = s->sacked_count = s->lost_bytes = s->lost_count = 0;
}

} // namespace wx
