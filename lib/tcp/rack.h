// SPDX-License-Identifier: MIT
// RACK-TLP (RFC 8985): a segment is lost when one sent enough later has arrived; a tail is probed before the
// retransmission timeout, because a single small write makes no duplicate acknowledgements.
#pragma once
#include "rtt.h"
#include "scoreboard.h"

namespace wx {

struct Rack {
    Nanos sent_at = 0; // RACK.xmit_ts: of the most recently sent segment that was delivered
    uint32_t end = 0;  // RACK.end_seq
    Nanos rtt = 0;
    bool reordering_seen = false;
    uint8_t window_steps = 1;     // RACK.reo_wnd_mult, in quarters of the least round trip; stops at 255
    uint8_t steps_persist = 0;    // RACK.reo_wnd_persist: recoveries until it falls back to one step
    bool dsack_round = false;     // a DSACK was counted in this round trip
    uint32_t dsack_round_end = 0; // RACK.dsack_round
};
constexpr uint8_t rack_persist_recoveries = 16; // RFC 8985 section 6.2 step 4

void rack_open(Rack *r);
// After the scoreboard's report is complete and min_rtt has taken this acknowledgement's sample (section 6.2
// step 1): takes over the newest delivered segment. A retransmission that was answered sooner than the least
// round trip, or (ts_echo_valid) whose echoed timestamp is older than its own, was not what was answered
// (step 2); then it is the newest of the segments sent only once. Takes over seen reordering, too (step 3).
void rack_on_ack(Rack *r, const AckReport &report, Nanos min_rtt, bool ts_echo_valid, uint32_t ts_echo,
                 Nanos now);
// A DSACK, `una` being SND.UNA after its acknowledgement and `next` SND.NXT: the reordering window widens, at
// most once per round trip (step 4). true: it did.
bool rack_on_dsack(Rack *r, uint32_t una, uint32_t next);
// Fast or RTO recovery ended (step 4), not by an acknowledgement whose DSACK widened the window.
void rack_on_recovery_end(Rack *r);
// The reordering window for now (step 4). three_sacked: DupThresh segments are SACKed.
Nanos rack_window(const Rack *r, bool in_recovery, bool three_sacked, Nanos smoothed, Nanos min_rtt);
// Marks what is lost by time (step 5). Returns after how long all segments now in question would be lost (arm
// the timer, once for the last of them), 0 when none is in question. *lost_bytes grows by what was marked.
Nanos rack_mark_losses(const Rack *r, Scoreboard *s, Nanos window, Nanos now, uint32_t *lost_bytes);
// At a retransmission timeout (section 6.3): the oldest segment, and every one that is older than a round
// trip and the window. When the oldest is SACKed the peer took back what it had said, or it would have
// acknowledged it: all SACKs are forgotten first (RFC 2018 section 8: the left edge MUST be sent again,
// SACKed or not).
void rack_mark_losses_on_timeout(const Rack *r, Scoreboard *s, Nanos window, Nanos now);

// The tail loss probe's timer (section 7.2), from now on: (re)started when new data is sent that is not a
// probe, and when new data is acknowledged cumulatively, outside of recovery and with nothing SACKed.
// one_segment: a single one is in flight, whose acknowledgement may be delayed by max_ack_delay. Not more
// than the whole retransmission timeout; if that timer runs since earlier, its deadline caps this one.
Nanos tail_probe_timeout(const RttEstimator *rtt, bool one_segment, Nanos max_ack_delay);

struct TailProbe {
    bool outstanding = false; // sent, and not yet judged
    bool again = false;       // it was a retransmission, not new data
    uint32_t end = 0;         // TLP.end_seq
};
enum class ProbeVerdict : uint8_t { none, not_lost, repaired_loss };
// Section 7.4.2: what an acknowledgement says of the probe. not_lost: it is answered and shows no loss.
// repaired_loss: the probe replaced a lost segment, which is a loss that congestion control has not been
// told. dsack_of_probe: a DSACK block ends where the probe did. had_sack: any SACK option, DSACK included.
ProbeVerdict tail_probe_on_ack(TailProbe *p, uint32_t ack, bool dsack_of_probe, bool had_sack,
                               bool is_duplicate);

} // namespace wx
