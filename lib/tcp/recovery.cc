// SPDX-License-Identifier: MIT
// Finding losses and getting over them. With SACK: RACK-TLP (RFC 8985) says what is lost; without: three
// duplicate acknowledgements and partial ones (RFC 5681, RFC 6582). Either way the scoreboard's marks decide
// what is sent again, congestion control how fast, and a reduction that turns out to be for nothing is taken
// back (RFC 3522 by timestamps, RFC 3708 by DSACK).
#include "parts.h"

namespace wx {

static void mark_first_lost(TcpConnection *c) {
    if (scoreboard_count(&c->sent) != 0) scoreboard_mark_lost(&c->sent, scoreboard_at(&c->sent, 0));
}

static void enter_recovery(TcpConnection *c, uint32_t flight, Nanos now) {
    c->recovery = Recovery::recovery;
    c->recovery_end = c->send_next;
    c->undo_retransmits = 0;
    c->tail_probe = TailProbe();
    c->tail_probe_at = never;
    c->stats.recoveries++;
    congestion_on_loss(&c->congestion, flight, now);
    c->force_retransmit = true; // the first goes at once (RFC 5681 section 3.2 step 3, RFC 6937)
}

static void leave_recovery(TcpConnection *c, bool widened) {
    if (c->recovery == Recovery::recovery) congestion_on_recovery_end(&c->congestion);
    if (!widened) rack_on_recovery_end(&c->rack);
    c->recovery = Recovery::open;
    c->duplicate_acks = 0;
    c->duplicate_bytes = 0;
    c->reorder_at = never;
}

static void undo(TcpConnection *c) {
    if (!c->congestion.can_undo) return;
    congestion_undo(&c->congestion);
    scoreboard_clear_lost(&c->sent);
    rtt_end_back_off(&c->rtt);
    c->recovery = Recovery::open;
    c->duplicate_acks = 0;
    c->duplicate_bytes = 0;
    c->undo_retransmits = 0;
    c->force_retransmit = false;
    c->stats.undone++;
}

static bool was_spurious(TcpConnection *c, const AckFacts &facts) {
    // What was sent after the episode began may have been duplicated by the network, which proves nothing.
    if (facts.dsack && seq_until(facts.dsack_end, c->recovery_end) && c->undo_retransmits > 0 &&
        --c->undo_retransmits == 0 && c->congestion.can_undo)
        return true;
    // The acknowledgement was caused by the first sending: its timestamp is older than the repetition's.
    // After more sendings than two an older echo may belong to one of the repetitions.
    return c->recovery != Recovery::open && facts.advanced && facts.report.first_times == 2 &&
           facts.has_echo && seq_before(facts.ts_echo, facts.report.first_ts);
}

static void count_duplicates(TcpConnection *c, const AckFacts &facts, Nanos now) {
    if (c->sack || c->recovery == Recovery::loss) return;
    // The first is missing, so that it at least has not arrived.
    uint32_t size = tcp_segment_payload(c), all = tcp_outstanding(c), most = all > size ? all - size : 0;
    if (facts.advanced) {
        c->duplicate_acks = 0;
        if (c->recovery == Recovery::open) {
            c->duplicate_bytes = 0;
        } else { // partial: the next hole is at the front (RFC 6582 section 3.2 step 3)
            uint32_t counted = facts.report.acked > size ? facts.report.acked - size : 0;
            c->duplicate_bytes -= counted < c->duplicate_bytes ? counted : c->duplicate_bytes;
            if (c->duplicate_bytes > most) c->duplicate_bytes = most;
            if (scoreboard_at(&c->sent, 0)->times == 1 || facts.report.again_acked) {
                mark_first_lost(c);
                c->force_retransmit = true;
            }
        }
        return;
    }
    if (!facts.duplicate) return;
    c->duplicate_acks++;
    c->duplicate_bytes = c->duplicate_bytes + size < most ? c->duplicate_bytes + size : most;
    if (c->recovery == Recovery::open && c->duplicate_acks == tcp_duplicate_threshold &&
        seq_after(c->send_una, c->recovery_end)) {
        enter_recovery(c, facts.flight_before, now);
        mark_first_lost(c);
    }
}

// Marks what RACK takes for lost; arms its timer for the rest. Returns the bytes marked.
static uint32_t find_losses(TcpConnection *c, Nanos now) {
    Nanos window =
        rack_window(&c->rack, c->recovery != Recovery::open, c->sent.sacked_count >= tcp_duplicate_threshold,
                    c->rtt.smoothed, rtt_min(&c->rtt));
    uint32_t lost = 0;
    Nanos wait = rack_mark_losses(&c->rack, &c->sent, window, now, &lost);
    c->reorder_at = wait > 0 ? now + wait : never;
    return lost;
}

static void judge_probe(TcpConnection *c, const AckFacts &facts, Nanos now) {
    if (!c->tail_probe.outstanding) return;
    // The second copy's answer may come when nothing is outstanding any more: no duplicate in RFC 5681's
    // sense, but as good a proof.
    ProbeVerdict verdict = tail_probe_on_ack(&c->tail_probe, c->send_una, facts.dsack_of_probe,
                                             facts.had_sack || facts.dsack, facts.repeats);
    if (verdict != ProbeVerdict::repaired_loss) return;
    // A loss that nothing else has shown: the window falls as for one, without a recovery to go through.
    c->stats.recoveries++;
    congestion_on_loss(&c->congestion, facts.flight_before, now);
    congestion_on_recovery_end(&c->congestion);
}

void tcp_recovery_on_ack(TcpConnection *c, const AckFacts &facts, Nanos now) {
    const AckReport &report = facts.report;
    uint32_t counted = c->duplicate_bytes;
    bool widened = false;
    if (c->sack) {
        // What is out of order does not move the timestamp that the peer echoes (RFC 7323 section 4.3): with
        // a new SACK it is older than any repetition, and a tail probe that was SACKed would show no loss.
        bool echo_tells = facts.has_echo && report.newly_sacked == 0;
        rack_on_ack(&c->rack, report, rtt_min(&c->rtt), echo_tells, facts.ts_echo, now);
        if (facts.dsack) widened = rack_on_dsack(&c->rack, c->send_una, c->send_next);
        if (report.reordered) c->rack.reordering_seen = true;
    }
    if (was_spurious(c, facts)) undo(c);
    judge_probe(c, facts, now);
    bool reduced = c->recovery == Recovery::recovery; // what ends it sets the window, and does not open it
    if (c->recovery != Recovery::open && !seq_before(c->send_una, c->recovery_end))
        leave_recovery(c, widened);
    if (c->recovery == Recovery::open && tcp_outstanding(c) == 0) c->duplicate_bytes = 0;
    // Never so far behind that it would seem to lie ahead.
    if (c->recovery == Recovery::open && seq_diff(c->send_una, c->recovery_end) > tcp_recovery_end_behind) {
        c->recovery_end = c->send_una - 1;
        c->undo_retransmits = 0;
    }
    bool lost_more = false;
    if (tcp_outstanding(c) != 0) {
        count_duplicates(c, facts, now);
        if (c->sack &&
            (c->sent.sacked_count != 0 || c->recovery != Recovery::open || c->rack.reordering_seen)) {
            lost_more = find_losses(c, now) != 0;
            if (lost_more && c->recovery == Recovery::open) enter_recovery(c, facts.flight_before, now);
        }
    } else {
        c->reorder_at = never;
    }
    uint32_t delivered = report.delivered;
    if (!c->sack) { // what duplicates have counted already arrives once more, cumulatively
        uint32_t now_counted = c->duplicate_bytes;
        if (now_counted > counted)
            delivered += now_counted - counted;
        else
            delivered -= counted - now_counted < delivered ? counted - now_counted : delivered;
    }
    if (c->recovery == Recovery::recovery) {
        congestion_on_recovery_ack(&c->congestion, delivered, tcp_in_flight(c), lost_more, facts.advanced);
    } else if (facts.advanced && !reduced) {
        // Not by what is only SACKed or counted: that is what limited transmit already answers (RFC 5681
        // section 3.2 step 1). When it turns out that nothing was lost, the acknowledgement brings all of it.
        if (c->recovery == Recovery::open) delivered = report.acked;
        uint32_t flight = facts.flight_before > c->flight_peak ? facts.flight_before : c->flight_peak;
        bool limited = c->window_limited ||
                       (congestion_slow_start(&c->congestion) && flight >= c->congestion.window / 2);
        congestion_on_ack(&c->congestion, delivered, limited, c->rtt.smoothed, now);
    }
}

void tcp_recovery_on_reorder_timer(TcpConnection *c, Nanos now) {
    uint32_t flight = tcp_in_flight(c);
    if (find_losses(c, now) != 0 && c->recovery == Recovery::open) enter_recovery(c, flight, now);
}

void tcp_recovery_on_timeout(TcpConnection *c, Nanos now) {
    if (scoreboard_count(&c->sent) == 0) return;
    if (scoreboard_at(&c->sent, 0)->flags & sent_sacked) { // the peer has dropped what it said it holds
        scoreboard_forget_sacks(&c->sent);
        c->stats.reneged++;
    }
    bool first = c->recovery != Recovery::loss;
    if (first) c->undo_retransmits = 0;
    congestion_on_timeout(&c->congestion, tcp_outstanding(c), first, now);
    if (c->sack) {
        Nanos window = rack_window(&c->rack, true, c->sent.sacked_count >= tcp_duplicate_threshold,
                                   c->rtt.smoothed, rtt_min(&c->rtt));
        rack_mark_losses_on_timeout(&c->rack, &c->sent, window, now);
    } else {
        for (uint32_t i = 0; i < scoreboard_count(&c->sent); i++)
            scoreboard_mark_lost(&c->sent, scoreboard_at(&c->sent, i));
    }
    c->recovery = Recovery::loss;
    c->recovery_end = c->send_next;
    c->duplicate_acks = 0;
    c->duplicate_bytes = 0;
    c->tail_probe = TailProbe();
    c->tail_probe_at = never;
    c->reorder_at = never;
    c->force_retransmit = true;
}

} // namespace wx
