// SPDX-License-Identifier: MIT
// What a segment acknowledges: the sequence space moves on, selectively too, the round trip is measured, the
// peer's window followed, and our FIN's answer moves the state (RFC 9293 section 3.10.7.4, fifth check).
#include "parts.h"

namespace wx {

// The first block is a DSACK if it lies below the cumulative acknowledgement or within the second (RFC 2883
// section 4).
static bool is_dsack(const TcpSegment &s) {
    if (s.options.sack_count == 0) return false;
    SackBlock first = s.options.sacks[0];
    if (seq_until(first.end, s.ack)) return seq_before(first.begin, first.end);
    if (s.options.sack_count < 2) return false;
    SackBlock second = s.options.sacks[1];
    return seq_until(second.begin, first.begin) && seq_until(first.end, second.end);
}

static void read_blocks(TcpConnection *c, const TcpSegment &s, Nanos now, AckFacts *facts) {
    unsigned from = 0;
    if (is_dsack(s)) {
        facts->dsack = true;
        facts->dsack_end = s.options.sacks[0].end;
        SackBlock block = s.options.sacks[0];
        facts->dsack_of_probe =
            c->tail_probe.outstanding && c->tail_probe.again && block.end == c->tail_probe.end;
        c->stats.dsacks_in++;
        from = 1;
    }
    for (unsigned i = from; i < s.options.sack_count; i++) {
        SackBlock block = s.options.sacks[i];
        // Blocks that lie, or that are older than the acknowledgement, are passed over.
        if (!seq_before(block.begin, block.end) || !seq_after(block.end, c->send_una)) continue;
        if (seq_after(block.end, c->send_next) || seq_before(block.begin, c->send_una)) continue;
        facts->had_sack = true;
        scoreboard_sack(&c->sent, block, now, &facts->report);
    }
}

static void take_round_trip(TcpConnection *c, const AckFacts &facts, Nanos now) {
    const AckReport &report = facts.report;
    if (report.rtt > 0) {
        rtt_sample(&c->rtt, report.rtt, now);
        c->tail_probe_spent = false;
    } else if (facts.advanced && facts.has_echo && report.again_acked) {
        // Sent more than once: only the echoed timestamp can tell which sending this answers.
        int32_t ticks = seq_diff(tcp_timestamp(c, now), facts.ts_echo);
        if (ticks < 0) return;
        c->tail_probe_spent = false;
        rtt_sample(&c->rtt, (ticks > 0 ? ticks : 1) * tcp_timestamp_tick, now);
    }
}

// Returns whether the window changed.
static bool update_window(TcpConnection *c, const TcpSegment &s, bool advanced) {
    bool newer =
        seq_before(c->window_seq, s.seq) || (c->window_seq == s.seq && seq_until(c->window_ack, s.ack));
    if (!newer && !advanced) return false;
    uint32_t window = uint32_t{s.window} << c->send_scale;
    bool changed = window != c->send_window, was_closed = c->send_window == 0;
    c->window_seq = s.seq;
    c->window_ack = s.ack;
    c->send_window = window;
    if (window > c->max_window) c->max_window = window;
    if (changed && window == 0) {
        c->stats.zero_windows++;
        // What ran was for a small window: the first probe of a closed one waits its own time (SHLD-29).
        c->persist_at = never;
    }
    if (window != 0) {
        c->persist_backoff = 0;
        // tcp_output arms it again if what is open is too little. It then runs on, however often the peer
        // says so.
        if (was_closed) c->persist_at = never;
        if (c->stalled) {
            c->stalled = false;
            c->notices |= tcp_peer_resumed;
        }
    }
    return changed;
}

static void after_fin_acknowledged(TcpConnection *c, Nanos now) {
    if (!c->fin_sent || c->send_una != c->tx.end + 1) return;
    switch (c->state) {
    case TcpState::fin_wait_1:
        c->state = TcpState::fin_wait_2;
        if (c->reading_over) c->state_at = now + c->config.fin_wait_2;
        break;
    case TcpState::closing:
        tcp_enter_time_wait(c, now);
        break;
    case TcpState::last_ack:
        tcp_end_with(c, TcpEnd::closed);
        break;
    default:
        break;
    }
}

// Sequence numbers were acknowledged: memory is free, timers begin anew.
static void advance(TcpConnection *c, uint32_t ack, Nanos now) {
    c->send_una = ack;
    send_buffer_acked(&c->tx, seq_min(ack, c->tx.end), c->host->release_send);
    if (c->write_refused && send_buffer_room(&c->tx) != 0) {
        c->write_refused = false;
        c->notices |= tcp_writable;
    }
    path_mtu_on_progress(&c->path_mtu);
    c->give_up_at = tcp_outstanding(c) == 0 ? never : now + c->config.user_timeout;
}

bool tcp_process_ack(TcpConnection *c, const TcpSegment &s, Nanos now) {
    if (!tcp_ack_plausible(c, s)) {
        c->stats.bad_acks++;
        tcp_challenge(c, now);
        return false;
    }
    AckFacts facts;
    facts.flight_before = tcp_in_flight(c);
    facts.advanced = seq_after(s.ack, c->send_una);
    facts.has_echo = c->timestamps && s.options.has_timestamps && s.options.ts_echo != 0;
    facts.ts_echo = s.options.ts_echo;
    bool outstanding = tcp_outstanding(c) != 0, closed = c->send_window == 0;
    if (facts.advanced) {
        scoreboard_ack(&c->sent, s.ack, now, &facts.report);
        advance(c, s.ack, now);
    }
    if (c->sack && s.options.sack_count != 0) read_blocks(c, s, now, &facts);
    bool changed = seq_before(s.ack, c->send_una) ? false : update_window(c, s, facts.advanced);
    facts.repeats = !facts.advanced && s.ack == c->send_una && s.payload.size == 0 && !changed &&
                    !(s.flags & (tcp_syn | tcp_fin));
    facts.duplicate = facts.repeats && outstanding;
    if (facts.duplicate) c->stats.duplicate_acks_in++;
    // A peer with a closed window that answers is alive, and may keep it closed for as long as it likes (RFC
    // 9293 section 3.8.6.1), unless nobody is left here who waits for that.
    if ((closed || c->send_window == 0) && c->give_up_at != never && !c->reading_over)
        c->give_up_at = now + c->config.user_timeout;
    if (facts.advanced || facts.had_sack || facts.dsack || facts.duplicate ||
        (facts.repeats && c->tail_probe.outstanding)) {
        take_round_trip(c, facts, now);
        tcp_recovery_on_ack(c, facts, now);
        if (facts.advanced || facts.report.delivered != 0) tcp_arm_retransmit(c, true, now);
    }
    if (facts.advanced) after_fin_acknowledged(c, now);
    return true;
}

} // namespace wx
