// SPDX-License-Identifier: MIT
// RFC 8985, its pseudocode step by step. A segment marked lost is skipped by its flag, where the RFC makes
// its time infinite. Where the newest of the delivered is a retransmission that cannot have been answered,
// the newest that was sent only once counts, and not a retransmission between the two: RACK then learns a
// little later, and never marks more.
#include "rack.h"

namespace wx {

void rack_open(Rack *r) { *r = Rack(); }

// Section 6.2 step 2.
void rack_on_ack(Rack *r, const AckReport &report, Nanos min_rtt, bool ts_echo_valid, uint32_t ts_echo,
                 Nanos now) {
    if (report.reordered) r->reordering_seen = true; // step 3
    Nanos sent_at = report.newest_sent_at;
    uint32_t end = report.newest_end;
    if (report.newest_again &&
        ((ts_echo_valid && seq_before(ts_echo, report.newest_ts)) || now - sent_at < min_rtt)) {
        sent_at = report.once_sent_at;
        end = report.once_end;
    }
    if (sent_at == 0) return;
    r->rtt = now - sent_at;
    if (r->sent_at == 0 || sent_after(sent_at, end, r->sent_at, r->end)) {
        r->sent_at = sent_at;
        r->end = end;
    }
}

bool rack_on_dsack(Rack *r, uint32_t una, uint32_t next) {
    if (r->dsack_round && !seq_before(una, r->dsack_round_end)) r->dsack_round = false;
    if (r->dsack_round) return false;
    r->dsack_round = true;
    r->dsack_round_end = next;
    if (r->window_steps != UINT8_MAX) r->window_steps++;
    r->steps_persist = rack_persist_recoveries;
    return true;
}

void rack_on_recovery_end(Rack *r) {
    if (r->steps_persist != 0) r->steps_persist--;
    if (r->steps_persist == 0) r->window_steps = 1;
}

Nanos rack_window(const Rack *r, bool in_recovery, bool three_sacked, Nanos smoothed, Nanos min_rtt) {
    if (!r->reordering_seen && (in_recovery || three_sacked)) return 0;
    const Nanos window = r->window_steps * min_rtt / 4;
    return window < smoothed ? window : smoothed;
}

Nanos rack_mark_losses(const Rack *r, Scoreboard *s, Nanos window, Nanos now, uint32_t *lost_bytes) {
    Nanos timeout = 0;
    if (r->sent_at == 0) return timeout;
    for (uint32_t i = 0, count = scoreboard_count(s); i < count; i++) {
        SentSegment *segment = scoreboard_at(s, i);
        if (!sent_after(r->sent_at, r->end, segment->sent_at, segment->end)) {
            // Everything behind a first sending was sent after it, so the rest is newer than RACK's segment
            // as well.
            if (segment->times == 1) break;
            continue;
        }
        if (segment->flags & (sent_sacked | sent_lost)) continue;
        const Nanos remaining = segment->sent_at + r->rtt + window - now;
        if (remaining <= 0) {
            scoreboard_mark_lost(s, segment);
            *lost_bytes += segment->end - segment->seq;
        } else if (remaining > timeout) {
            timeout = remaining;
        }
    }
    return timeout;
}

void rack_mark_losses_on_timeout(const Rack *r, Scoreboard *s, Nanos window, Nanos now) {
    const uint32_t count = scoreboard_count(s);
    if (count != 0 && scoreboard_at(s, 0)->flags & sent_sacked) scoreboard_forget_sacks(s);
    for (uint32_t i = 0; i < count; i++) {
        SentSegment *segment = scoreboard_at(s, i);
        if (i == 0 || segment->sent_at + r->rtt + window - now <= 0) scoreboard_mark_lost(s, segment);
    }
}

Nanos tail_probe_timeout(const RttEstimator *rtt, bool one_segment, Nanos max_ack_delay) {
    Nanos timeout = ns_per_s; // without a sample
    if (rtt->smoothed != 0) timeout = 2 * rtt->smoothed + (one_segment ? max_ack_delay : 0);
    const Nanos retransmission = rtt_timeout(rtt);
    return timeout < retransmission ? timeout : retransmission;
}

ProbeVerdict tail_probe_on_ack(TailProbe *p, uint32_t ack, bool dsack_of_probe, bool had_sack,
                               bool is_duplicate) {
    if (!p->outstanding || seq_before(ack, p->end)) return ProbeVerdict::none;
    ProbeVerdict verdict = ProbeVerdict::none;
    const bool both =
        dsack_of_probe || (ack == p->end && is_duplicate && !had_sack); // copies arrived: cases 1, 2
    if (!p->again || both)
        verdict = ProbeVerdict::not_lost;
    else if (ack != p->end)
        verdict = ProbeVerdict::repaired_loss;
    if (verdict != ProbeVerdict::none) p->outstanding = false;
    return verdict;
}

} // namespace wx
