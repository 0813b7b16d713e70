// SPDX-License-Identifier: MIT
// How much may be in flight: NewReno (RFC 5681, RFC 6582), CUBIC (RFC 9438), or no control at all, for a lab.
// In recovery the window is led down by Proportional Rate Reduction (RFC 9937). All windows are bytes.
#pragma once
#include "../base/clock.h"

namespace wx {

enum class CongestionKind : uint8_t { none, newreno, cubic };

constexpr uint32_t congestion_window_max =
    1u << 30;                                  // the largest window that TCP can offer (RFC 7323 section 2.3)
constexpr uint32_t congestion_mss_max = 65535; // what the option can say (RFC 9293 section 3.2)
// In slow start one acknowledgement opens the window by at most so many segments, whatever it acknowledges.
// RFC 3465 section 2.3 says 2, against bursts; but receivers that merge segments acknowledge up to 64 KB at
// once, and with 2 the window would not even double in two round trips. 8 is what RFC 9406 section 4.2 gives
// for senders that do not pace. After a timeout it is 1 (RFC 3465 section 2.3): there an acknowledgement may
// cover what left the network long ago.
constexpr uint32_t congestion_slow_start_segments = 8;

// The curve of RFC 9438, in segments and seconds.
struct CubicCurve {
    double w_max = 0;    // where the last reduction happened, or below it (fast convergence)
    double w_prior = 0;  // cwnd_prior: the window before the last reduction
    double w_est = 0;    // what Reno would have
    double k = 0;        // seconds from the epoch until w_max is reached again
    Nanos epoch = never; // never: begins with the next acknowledgement
};

struct Congestion {
    CongestionKind kind = CongestionKind::cubic;
    bool reducing = false;      // PRR is on
    bool can_undo = false;      // the saved values are of the present reduction
    bool after_timeout = false; // until congestion avoidance begins
    bool paused = false;        // growth stood still until the next acknowledgement: that time does not count
    uint32_t mss = 1;           // sender's segment size, without options
    uint32_t window = 1;        // cwnd
    uint32_t threshold = congestion_window_max; // ssthresh
    uint32_t acked = 0;                         // counted towards the next segment in congestion avoidance
    uint32_t initial_segments = 1;              // of the initial window
    // PRR
    uint32_t flight_at_loss = 1; // RecoverFS
    uint32_t delivered = 0;      // prr_delivered
    uint32_t sent = 0;           // prr_out
    // CUBIC
    CubicCurve cubic;
    double credit = 0; // the part of a byte that growth has left over
    Nanos seen_at = 0; // up to when the curve's time is accounted for
    // For undoing
    uint32_t undo_window = 0;
    uint32_t undo_threshold = 0;
    CubicCurve undo_cubic;
    Nanos undo_seen_at = 0;
};

// initial_segments: 10 (RFC 6928, with its byte limits).
void congestion_open(Congestion *c, CongestionKind kind, uint32_t mss, uint32_t initial_segments);
// A smaller segment keeps the window in segments (RFC 5681 section 3.1), a larger one keeps it in bytes (RFC
// 8899 section 3: a larger packet is no reason to send more).
void congestion_set_mss(Congestion *c, uint32_t mss);
// After the handshake: SYN was lost more than once: one segment (RFC 6928 section 2).
void congestion_after_lost_syn(Congestion *c);
// Bytes newly delivered (SACKed ones when they were SACKed, not again), outside recovery. limited: when
// sending stopped the last time, it was for want of a whole segment's room in the window, and neither for
// want of data nor because of the peer's window: only then the window grows (RFC 7661, RFC 9438 section 5.8).
// It is a fact about sending and stays while a batch of acknowledgements is worked off. Bytes are counted and
// not acknowledgements (RFC 3465): in slow start with the limit above, in NewReno's congestion avoidance one
// segment per window (RFC 5681 section 3.1).
void congestion_on_ack(Congestion *c, uint32_t acked_bytes, bool limited, Nanos smoothed_rtt, Nanos now);
// A loss was found and a recovery begins: threshold and PRR. in_flight: sent, and before this acknowledgement
// neither acknowledged nor SACKed; what is taken for lost counts (RecoverFS of RFC 9937 section 6.2). The
// same acknowledgement is then given to congestion_on_recovery_ack; when a timer found the loss, the window
// is closed until the next one, but for the first retransmission, which the caller sends in any case. A loss
// that a tail probe has repaired already: congestion_on_recovery_end at once.
void congestion_on_loss(Congestion *c, uint32_t in_flight, Nanos now);
// Within recovery, per acknowledgement: sets the window to what PRR lets out now. in_flight: after this
// acknowledgement, without what is taken for lost (pipe). lost_more: it showed further losses.
void congestion_on_recovery_ack(Congestion *c, uint32_t delivered_bytes, uint32_t in_flight, bool lost_more,
                                bool una_advanced);
void congestion_on_sent(Congestion *c, uint32_t bytes); // counted by PRR; retransmissions too
void congestion_on_recovery_end(Congestion *c);
// A retransmission timeout. in_flight as for congestion_on_loss. first: of this episode, that is the timer
// has not yet sent this data again; only then the threshold falls (RFC 5681 equation 4). A timeout within
// recovery is a first one: the retransmission was lost as well, which counts twice (RFC 5681 section 4.3).
void congestion_on_timeout(Congestion *c, uint32_t in_flight, bool first, Nanos now);
// The last reduction was for nothing (RFC 9438 section 4.9). Once for each; without one it does nothing.
void congestion_undo(Congestion *c);
// Nothing was sent for `idle`: back to the restart window (RFC 5681 section 4.1) when that exceeds the
// timeout.
void congestion_on_idle(Congestion *c, Nanos idle, Nanos timeout);
inline bool congestion_slow_start(const Congestion *c) { return c->window < c->threshold; }

} // namespace wx
