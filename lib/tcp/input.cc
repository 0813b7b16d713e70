// SPDX-License-Identifier: MIT
// A segment arrives (RFC 9293 section 3.10.7.4, with the checks of RFC 7323 and RFC 5961): is it acceptable,
// what does it acknowledge, what does it bring. The usual segment, the next in order on an established
// connection, passes through a few comparisons.
#include "parts.h"

namespace wx {

uint32_t tcp_window_target(const TcpConnection *c) { return c->rx.read + tcp_window_limit(c); }

void tcp_challenge(TcpConnection *c, Nanos now) {
    if (challenge_take(&c->host->challenges, c->host->random, &c->last_challenge, now)) {
        c->stats.challenges++;
        ack_policy_now(&c->acks);
    } else {
        c->stats.challenges_refused++;
    }
}

static void note_duplicate(TcpConnection *c, uint32_t begin, uint32_t end) {
    c->stats.duplicates_in++;
    if (!c->sack || begin == end) return;
    c->dsack_owed = true;
    c->dsack = SackBlock{begin, end};
}

// Not within the window: the answer says what is expected. Data and FIN are answered each time, since the
// peer repeats them for want of an answer; an empty segment only now and then.
static void answer_unacceptable(TcpConnection *c, const TcpSegment &s, Nanos now) {
    c->stats.unacceptable++;
    if (s.flags & tcp_rst) return;
    if (s.length() == 0 || (s.flags & tcp_syn)) {
        if (c->last_unacceptable != 0 && now - c->last_unacceptable < tcp_unacceptable_distance) return;
        c->last_unacceptable = now;
    }
    uint32_t end = s.seq + static_cast<uint32_t>(s.payload.size);
    if (seq_before(s.seq, c->rx.next) && s.payload.size != 0)
        note_duplicate(c, s.seq, seq_min(end, c->rx.next));
    ack_policy_now(&c->acks);
}

// RFC 9293 section 3.4, table 6, and what section 3.10.7.4 allows besides with a closed window.
static bool acceptable(const TcpConnection *c, const TcpSegment &s) {
    uint32_t next = tcp_receive_next(c), edge = seq_max(c->advertised, next), length = s.length();
    if (s.seq == next) return true; // with a closed window: its acknowledgement counts, not its data
    // Right at the edge as well: from there a peer acknowledges that has filled the window and lost a segment
    // of it. Strictly table 6 refuses it, and what the peer acknowledges, and that it lives, would not be
    // heard. Not for resets: RFC 5961 section 3.2.
    if (length == 0 && s.seq == edge) return !(s.flags & tcp_rst);
    if (length == 0) return seq_after(s.seq, next) && seq_before(s.seq, edge);
    uint32_t last = s.seq + length - 1;
    bool begins_inside = seq_after(s.seq, next) && seq_before(s.seq, edge);
    bool ends_inside = seq_until(next, last) && seq_before(last, edge);
    return begins_inside || ends_inside || (seq_before(s.seq, next) && seq_until(edge, last) && edge != next);
}

// false: the segment is dropped.
static bool check_timestamp(TcpConnection *c, const TcpSegment &s, Nanos now) {
    if (!c->timestamps || (s.flags & tcp_rst)) return true;
    if (!s.options.has_timestamps) { // RFC 7323 section 3.2
        c->stats.no_timestamp_dropped++;
        return false;
    }
    if (seq_before(s.options.ts_value, c->ts_recent) && now - c->ts_recent_at < tcp_ts_recent_valid) {
        c->stats.paws_dropped++;
        answer_unacceptable(c, s, now);
        return false;
    }
    return true;
}

static void remember_timestamp(TcpConnection *c, const TcpSegment &s, Nanos now) {
    if (!c->timestamps || !s.options.has_timestamps) return;
    // Only what the last acknowledgement asked for: a delayed one's echo is the first segment's
    // (section 4.3).
    if (!seq_until(s.seq, c->last_ack_sent)) return;
    bool stale = now - c->ts_recent_at >= tcp_ts_recent_valid;
    if (stale || !seq_before(s.options.ts_value, c->ts_recent)) {
        c->ts_recent = s.options.ts_value;
        c->ts_recent_at = now;
    }
}

static void on_reset(TcpConnection *c, const TcpSegment &s, Nanos now) {
    if (s.seq == tcp_receive_next(c)) {
        return tcp_end_with(c, c->state == TcpState::syn_received && !c->passive ? TcpEnd::refused
                                                                                 : TcpEnd::reset);
    }
    c->stats.bad_resets++; // within the window is not enough (RFC 5961 section 3.2)
    tcp_challenge(c, now);
}

void tcp_take_fin(TcpConnection *c, Nanos now) {
    if (!c->fin_known || c->fin_taken || c->rx.next != c->fin_received) return;
    c->fin_taken = true;
    c->notices |= tcp_peer_finished;
    ack_policy_now(&c->acks);
    switch (c->state) {
    case TcpState::syn_received:
    case TcpState::established:
        c->state = TcpState::close_wait;
        break;
    case TcpState::fin_wait_1: // our FIN is not acknowledged yet, or it would be FIN-WAIT-2 by now
        c->state = TcpState::closing;
        break;
    case TcpState::fin_wait_2:
        tcp_enter_time_wait(c, now);
        ack_policy_now(&c->acks);
        break;
    default:
        break;
    }
}

static void on_placed(TcpConnection *c, Placed placed, Nanos now) {
    switch (placed) {
    case Placed::in_order:
        ack_policy_on_data(&c->acks, now);
        if (c->rx.held_count != 0) ack_policy_now(&c->acks); // part of a gap (RFC 5681 section 4.2)
        break;
    case Placed::filled:
        ack_policy_on_data(&c->acks, now);
        ack_policy_now(&c->acks);
        break;
    case Placed::held:
        c->stats.out_of_order_in++;
        if (c->rx.held_bytes > c->stats.max_held_bytes) c->stats.max_held_bytes = c->rx.held_bytes;
        ack_policy_now(&c->acks);
        if (!c->sack && c->duplicate_acks_owed < tcp_duplicates_owed_max) c->duplicate_acks_owed++;
        break;
    case Placed::duplicate:
        ack_policy_now(&c->acks);
        break;
    case Placed::no_room:
        c->stats.dropped_no_room++;
        ack_policy_now(&c->acks);
        break;
    }
}

// Data after reading was given up.
static bool refuses_payload(TcpConnection *c, uint32_t end) {
    if (c->fin_known) end = seq_min(end, c->fin_received); // nothing follows it
    if (c->reading_over && seq_after(end, c->rx.next)) {
        tcp_abort(c); // RFC 9293 section 3.6.1: the peer must learn that it is not read
        return true;
    }
    return false;
}

// A FIN before bytes that have come already contradicts them: as with bytes, what came first counts.
static bool holds_beyond(const TcpConnection *c, uint32_t end) {
    if (c->rx.held_count == 0) return false;
    const RxPiece &last = c->rx.held[c->rx.held_count - 1];
    return seq_after(last.seq + last.size, end);
}

bool tcp_take_payload(TcpConnection *c, const TcpSegment &s, FrameId frame, Nanos now) {
    bool kept = false, fin = (s.flags & tcp_fin) != 0;
    uint32_t seq = s.seq, end = seq + static_cast<uint32_t>(s.payload.size);
    uint32_t edge = c->fin_known ? seq_min(c->advertised, c->fin_received) : c->advertised;
    if (s.payload.size != 0 && refuses_payload(c, end)) return false;
    ByteView payload = s.payload;
    if (seq_after(end, edge)) { // what lies beyond the window was not asked for
        fin = false;
        int32_t fits = seq_diff(edge, seq);
        payload = payload.first(fits > 0 ? static_cast<size_t>(fits) : 0);
        if (payload.size == 0) ack_policy_now(&c->acks);
    }
    if (payload.size != 0) {
        SackBlock repeated = {0, 0};
        uint32_t before = c->rx.next;
        Placed placed = reassembly_add(&c->rx, seq, payload, frame, c->host->release_receive, &repeated);
        kept = placed == Placed::in_order || placed == Placed::filled || placed == Placed::held;
        if (c->rx.next != before) {
            c->stats.bytes_in += c->rx.next - before;
            c->notices |= tcp_readable;
        }
        if (repeated.begin != repeated.end) note_duplicate(c, repeated.begin, repeated.end);
        on_placed(c, placed, now);
    }
    if (fin && !seq_before(end, c->rx.next)) {
        if (!c->fin_known && !holds_beyond(c, end)) {
            c->fin_known = true;
            c->fin_received = end;
        }
        if (!c->fin_known || c->rx.next != end) ack_policy_now(&c->acks); // out of order, each time
    }
    tcp_take_fin(c, now);
    return kept;
}

// The same rule as for those that the host's table keeps.
static void time_wait_input(TcpConnection *c, const TcpSegment &s, Nanos now) {
    TimeWaitTable none;
    TimeWait entry = tcp_time_wait_entry(c);
    TcpSegment answer;
    bool answered =
        time_wait_on_segment(&none, &entry, s, now, c->config.time_wait, tcp_timestamp(c, now), &answer);
    c->state_at = entry.expires;
    c->ts_recent = entry.ts_recent;
    c->last_unacceptable = entry.answered_at;
    if (answered) ack_policy_now(&c->acks);
}

// SYN-RECEIVED: whether to go on with the segment as on an established connection.
static bool finish_handshake(TcpConnection *c, const TcpSegment &s, Nanos now) {
    if (!(s.flags & tcp_ack)) return false;
    if (seq_until(s.ack, c->iss) || seq_after(s.ack, c->send_next)) {
        c->stats.bad_acks++;
        c->send_reset = true;
        c->reset_with_ack = false;
        c->reset_seq = s.ack;
        return false;
    }
    tcp_now_established(c, s, now);
    c->send_window = (s.flags & tcp_syn) ? s.window : uint32_t{s.window} << c->send_scale;
    c->window_seq = s.seq;
    c->window_ack = s.ack;
    c->max_window = c->send_window;
    return true;
}

// With both sides opening at once, the peer's SYN-ACK repeats its SYN's sequence number, which is outside the
// window by now: it is read as if it came without it.
static bool crossing_syn(TcpConnection *c, const TcpSegment &s, Nanos now) {
    if (c->state != TcpState::syn_received || !(s.flags & tcp_syn) || s.seq != c->irs) return false;
    if (s.flags & tcp_rst) return false;
    if (!(s.flags & tcp_ack)) {
        c->send_syn = true;
        return true;
    }
    if (finish_handshake(c, s, now)) ack_policy_now(&c->acks);
    return true;
}

// A sign of life. After the answer to a probe the idle time counts again, and not the rest of the interval.
static void heard(TcpConnection *c, Nanos now) {
    c->last_received = now;
    if (__builtin_expect(c->keepalive_sent == 0, 1)) return;
    c->keepalive_sent = 0;
    c->keepalive_at = now + c->config.keepalive_idle;
}

static bool on_synchronized(TcpConnection *c, const TcpSegment &s, FrameId frame, Nanos now) {
    if (crossing_syn(c, s, now)) return false;
    if ((s.flags & (tcp_syn | tcp_rst)) == tcp_syn) { // wherever it lies (RFC 5961 section 4.2)
        tcp_challenge(c, now);
        return false;
    }
    if (!check_timestamp(c, s, now)) return false;
    if (!acceptable(c, s)) {
        // The last segment once more, because its acknowledgement was lost: the answer echoes this sending,
        // or the peer would take the whole time since the first for a round trip.
        if (!(s.flags & tcp_rst) && s.length() != 0 && s.seq + s.length() == tcp_receive_next(c) &&
            tcp_ack_plausible(c, s))
            remember_timestamp(c, s, now);
        answer_unacceptable(c, s, now);
        return false;
    }
    if (s.flags & tcp_rst) {
        on_reset(c, s, now);
        return false;
    }
    heard(c, now);
    if (c->state == TcpState::syn_received && !finish_handshake(c, s, now)) return false;
    if (!(s.flags & tcp_ack) || !tcp_process_ack(c, s, now)) return false;
    remember_timestamp(c, s, now);
    if (c->state == TcpState::closed) return false;
    if (c->state == TcpState::time_wait) return false;
    if (s.payload.size == 0 && !(s.flags & tcp_fin)) return false;
    return tcp_take_payload(c, s, frame, now);
}

// The next segment in order, with nothing else about it: no option but the timestamp, nothing held, and an
// acknowledgement that repeats the last one with the window as it was. What is left to do is to place it.
static bool expected(const TcpConnection *c, const TcpSegment &s, uint32_t ack, uint16_t window) {
    return c->state == TcpState::established && (s.flags & ~tcp_psh) == tcp_ack && s.seq == c->rx.next &&
           ack == c->send_una && c->rx.held_count == 0 && !c->fin_known && s.payload.size != 0 &&
           seq_until(s.seq + static_cast<uint32_t>(s.payload.size), c->advertised) &&
           (uint32_t{window} << c->send_scale) == c->send_window && s.options.sack_count == 0 &&
           !c->reading_over && s.options.has_timestamps == c->timestamps &&
           (!c->timestamps || !seq_before(s.options.ts_value, c->ts_recent)) && c->send_window != 0;
}

bool tcp_split_ack(const TcpConnection *c, TcpSegment *segment, TcpSegment *ack) {
    if (!seq_after(segment->ack, c->send_una) || seq_after(segment->ack, c->send_next)) return false;
    const uint16_t window = static_cast<uint16_t>(c->send_window >> c->send_scale);
    if (!expected(c, *segment, c->send_una, window)) return false;
    *ack = *segment;
    ack->flags = tcp_ack;
    ack->seq += static_cast<uint32_t>(segment->payload.size);
    ack->payload = ByteView();
    segment->ack = c->send_una;
    segment->window = window;
    return true;
}

bool tcp_on_segment(TcpConnection *c, const TcpSegment &s, FrameId frame, Nanos now) {
    if (__builtin_expect(expected(c, s, s.ack, s.window), 1)) {
        c->stats.segments_in++;
        heard(c, now);
        if (c->timestamps && seq_until(s.seq, c->last_ack_sent)) {
            c->ts_recent = s.options.ts_value;
            c->ts_recent_at = now;
        }
        c->window_seq = s.seq;
        SackBlock repeated = {0, 0};
        Placed placed = reassembly_add(&c->rx, s.seq, s.payload, frame, c->host->release_receive, &repeated);
        if (__builtin_expect(placed == Placed::in_order, 1)) {
            c->stats.bytes_in += s.payload.size;
            c->notices |= tcp_readable;
            ack_policy_on_data(&c->acks, now);
            return true;
        }
        on_placed(c, placed, now);
        return false;
    }
    if (c->state == TcpState::closed || c->state == TcpState::listen) return false;
    c->stats.segments_in++;
    bool kept = false;
    if (c->state == TcpState::syn_sent) {
        tcp_handshake_input(c, s, frame, &kept, now);
    } else if (c->state == TcpState::time_wait) {
        time_wait_input(c, s, now);
    } else {
        kept = on_synchronized(c, s, frame, now);
    }
    return kept;
}

} // namespace wx
