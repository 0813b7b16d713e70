// SPDX-License-Identifier: MIT
// Congestion control as arithmetic over what happened: bytes delivered, a loss, a timeout. Knows no segments,
// no timers and no clock but the times it is given. The window is never below one segment and never above
// congestion_window_max, the threshold never below two segments after a loss, whatever is passed in: sums are
// 64 bit or saturate, times that run backwards stand still. CUBIC computes in doubles, with a cube root of
// its own because the archive asks nothing of libm; its worst case is one root (about 20 iterations) per
// loss.
#include "congestion.h"

namespace wx {

static constexpr double cubic_beta = 0.7; // RFC 9438 section 4.6
static constexpr double cubic_c = 0.4;    // section 5.1
static constexpr double cubic_alpha =
    3.0 * (1.0 - cubic_beta) / (1.0 + cubic_beta); // section 4.3: fair to Reno
static constexpr double cubic_step = 1.5; // section 4.2: the window at most so much larger after a round trip

static uint32_t clamp_window(uint64_t bytes, uint32_t least) {
    if (bytes > congestion_window_max) return congestion_window_max;
    return bytes < least ? least : static_cast<uint32_t>(bytes);
}

static uint32_t saturating_add(uint32_t a, uint32_t b) { return a > UINT32_MAX - b ? UINT32_MAX : a + b; }
static uint32_t smaller(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t larger(uint32_t a, uint32_t b) { return a > b ? a : b; }
static uint32_t clamp_mss(uint32_t mss) { return mss == 0 ? 1 : smaller(mss, congestion_mss_max); }
static double segments(const Congestion *c) { return static_cast<double>(c->window) / c->mss; }

// RFC 6928 section 2 for any number of segments: min(n * MSS, max(2 * MSS, n * 1460)).
static uint32_t initial_window(const Congestion *c) {
    constexpr uint64_t ethernet_mss = 1460;
    uint64_t wanted = static_cast<uint64_t>(c->initial_segments) * c->mss;
    uint64_t limit = c->initial_segments * ethernet_mss;
    if (limit < 2u * c->mss) limit = 2u * c->mss;
    return clamp_window(wanted < limit ? wanted : limit, c->mss);
}

void congestion_open(Congestion *c, CongestionKind kind, uint32_t mss, uint32_t initial_segments) {
    *c = Congestion{};
    c->kind = kind;
    c->mss = clamp_mss(mss);
    c->initial_segments = larger(initial_segments, 1);
    c->window = kind == CongestionKind::none ? congestion_window_max : initial_window(c);
    c->threshold = congestion_window_max; // arbitrarily high (RFC 5681 section 3.1)
}

void congestion_set_mss(Congestion *c, uint32_t mss) {
    uint32_t before = c->mss;
    c->mss = clamp_mss(mss);
    if (c->kind == CongestionKind::none || c->mss == before) return;
    c->can_undo = false; // what was saved is in segments of the other size
    if (c->mss < before) {
        // The curve is in segments and goes on as it is.
        uint32_t least = c->mss;
        c->window = clamp_window(static_cast<uint64_t>(c->window) * c->mss / before, least);
        if (c->threshold != congestion_window_max)
            c->threshold = clamp_window(static_cast<uint64_t>(c->threshold) * c->mss / before, 2 * least);
    } else {
        double shrink = static_cast<double>(before) / c->mss;
        c->cubic.w_max *= shrink;
        c->cubic.w_prior *= shrink;
        c->cubic.epoch = never;
        c->window = clamp_window(c->window, c->mss);
        c->threshold = clamp_window(c->threshold, 2 * c->mss);
    }
    c->acked = 0;
    c->credit = 0;
}

void congestion_after_lost_syn(Congestion *c) {
    if (c->kind != CongestionKind::none) c->window = c->mss;
}

// ---- CUBIC --------------------------------------------------------------------------------------

// Newton's method from above, where it falls until it has arrived. x is at most window_max / C.
static double cube_root(double x) {
    if (!(x > 0)) return 0;
    double root = 1;
    while (root * root * root < x) root *= 2;
    for (int i = 0; i < 64; i++) { // from a factor of 2 it takes about 6; small x a few more
        double next = (2 * root + x / (root * root)) / 3;
        if (next >= root) break;
        root = next;
    }
    return root;
}

static void begin_epoch(Congestion *c, Nanos now) {
    CubicCurve *curve = &c->cubic;
    double window = segments(c);
    curve->epoch = now;
    curve->w_est = window;
    // Sections 4.8 and 4.10: slow start ended at a threshold and not at a loss. The curve begins at its
    // plateau.
    if (c->after_timeout || curve->w_max <= window) {
        curve->w_max = window;
        curve->k = 0;
    } else {
        curve->k = cube_root((curve->w_max - window) / cubic_c);
    }
    c->after_timeout = false;
    c->credit = 0;
}

static double w_cubic(const CubicCurve *curve, double t) {
    double d = t - curve->k;
    return cubic_c * d * d * d + curve->w_max;
}

static void cubic_avoidance(Congestion *c, uint32_t acked_bytes, Nanos rtt, Nanos now) {
    CubicCurve *curve = &c->cubic;
    if (curve->epoch == never) begin_epoch(c, now);
    double t = static_cast<double>(now - curve->epoch) / ns_per_s;
    double window = segments(c);
    // Section 4.3: as fast as Reno, and beyond the old window faster, because there Reno would have been,
    // too.
    double alpha = curve->w_est < curve->w_prior ? cubic_alpha : 1.0;
    curve->w_est += alpha * acked_bytes / c->window;
    if (w_cubic(curve, t) < curve->w_est) {
        double bytes = curve->w_est * c->mss;
        uint64_t whole = bytes < congestion_window_max ? static_cast<uint64_t>(bytes) : congestion_window_max;
        c->window = larger(c->window, clamp_window(whole, c->mss));
        return;
    }
    // Sections 4.2, 4.4 and 4.5: in a round trip, to where the curve will be then.
    double target = w_cubic(curve, t + static_cast<double>(rtt) / ns_per_s);
    if (target < window) target = window;
    if (target > cubic_step * window) target = cubic_step * window;
    c->credit += (target - window) / window * acked_bytes;
    uint32_t whole = static_cast<uint32_t>(c->credit); // at most half a window
    c->credit -= whole;
    c->window = clamp_window(static_cast<uint64_t>(c->window) + whole, c->mss);
}

// Time in which the window could not grow is no part of the curve's (section 4.2).
static Nanos account_time(Congestion *c, bool limited, Nanos now) {
    if (now < c->seen_at) now = c->seen_at;
    if ((!limited || c->paused) && c->cubic.epoch != never) c->cubic.epoch += now - c->seen_at;
    c->paused = false;
    c->seen_at = now;
    return now;
}

// ---- Growth -------------------------------------------------------------------------------------

static void slow_start(Congestion *c, uint32_t acked_bytes) {
    uint32_t most = c->after_timeout ? 1 : congestion_slow_start_segments;
    uint64_t window = static_cast<uint64_t>(c->window) + smaller(acked_bytes, most * c->mss);
    c->window = clamp_window(window < c->threshold ? window : c->threshold, c->mss);
}

static void reno_avoidance(Congestion *c, uint32_t acked_bytes) {
    c->after_timeout = false;
    c->acked = saturating_add(c->acked, acked_bytes);
    if (c->acked < c->window) return;
    c->acked %= c->window; // one segment and not more, however much is acknowledged
    c->window = clamp_window(static_cast<uint64_t>(c->window) + c->mss, c->mss);
}

void congestion_on_ack(Congestion *c, uint32_t acked_bytes, bool limited, Nanos smoothed_rtt, Nanos now) {
    if (c->kind == CongestionKind::none || c->reducing) return;
    now = account_time(c, limited, now);
    if (!limited || acked_bytes == 0) return;
    if (congestion_slow_start(c)) return slow_start(c, acked_bytes);
    acked_bytes = smaller(acked_bytes, c->window); // no more can have been under way because of it
    if (c->kind == CongestionKind::newreno) return reno_avoidance(c, acked_bytes);
    cubic_avoidance(c, acked_bytes, smoothed_rtt > 0 ? smoothed_rtt : 0, now);
}

// ---- Reductions ---------------------------------------------------------------------------------

// The threshold after a loss, from what was the window. NewReno takes what was in flight (RFC 5681 equation
// 4); CUBIC the window itself, which RFC 9438 section 4.6 allows when it grows only while it is used.
static void reduce(Congestion *c, uint32_t in_flight, Nanos now) {
    uint32_t level =
        c->reducing ? c->threshold : c->window; // within recovery the window is PRR's, for a moment
    c->undo_window = level;
    c->undo_threshold = c->threshold;
    c->undo_cubic = c->cubic;
    if (now > c->seen_at) c->seen_at = now;
    c->undo_seen_at = c->seen_at;
    c->can_undo = true;
    c->acked = 0;
    c->credit = 0;
    c->after_timeout = false;
    if (c->kind == CongestionKind::newreno) {
        c->threshold = clamp_window(smaller(in_flight, level) / 2, 2 * c->mss);
        return;
    }
    double window = static_cast<double>(level) / c->mss;
    CubicCurve *curve = &c->cubic;
    // Section 4.7, fast convergence: below the last maximum there is somebody new, who gets room.
    curve->w_max = window < curve->w_max ? window * (1 + cubic_beta) / 2 : window;
    curve->w_prior = window;
    curve->epoch = never;
    c->threshold = clamp_window(static_cast<uint64_t>(level * cubic_beta), 2 * c->mss);
}

void congestion_on_loss(Congestion *c, uint32_t in_flight, Nanos now) {
    if (c->kind == CongestionKind::none) return;
    reduce(c, in_flight, now);
    c->reducing = true;
    c->flight_at_loss = larger(in_flight, c->mss);
    c->delivered = 0;
    c->sent = 0;
    c->window = c->mss; // a timer may have found the loss: from now on acknowledgements let segments out
}

void congestion_on_timeout(Congestion *c, uint32_t in_flight, bool first, Nanos now) {
    if (c->kind == CongestionKind::none) return;
    if (first) reduce(c, in_flight, now);
    c->reducing = false;
    c->after_timeout = true;
    c->acked = 0;
    c->window = c->mss; // the loss window of RFC 5681 section 3.1
}

void congestion_undo(Congestion *c) {
    if (!c->can_undo) return;
    c->can_undo = false;
    c->reducing = false;
    c->after_timeout = false;
    c->window = larger(c->window, c->undo_window);
    c->threshold = larger(c->threshold, c->undo_threshold);
    c->cubic = c->undo_cubic;
    // The curve goes on from where it stood: the time since then, and until the next acknowledgement, does
    // not count.
    if (c->cubic.epoch != never) c->cubic.epoch += c->seen_at - c->undo_seen_at;
    c->paused = true;
}

// ---- PRR, RFC 9937 section 6 --------------------------------------------------------------------

// How far sending may be when `delivered` has arrived, in proportion. In whole segments, because less is not
// sent: else every segment would leave one acknowledgement late.
static uint64_t proportional(const Congestion *c) {
    uint64_t bytes =
        (static_cast<uint64_t>(c->delivered) * c->threshold + c->flight_at_loss - 1) / c->flight_at_loss;
    return (bytes + c->mss - 1) / c->mss * c->mss;
}

void congestion_on_recovery_ack(Congestion *c, uint32_t delivered_bytes, uint32_t in_flight, bool lost_more,
                                bool una_advanced) {
    if (!c->reducing || delivered_bytes == 0) return;
    c->delivered = saturating_add(c->delivered, delivered_bytes);
    uint64_t send = 0;
    if (in_flight > c->threshold) {
        uint64_t may = proportional(c);
        if (may > c->sent) send = may - c->sent;
    } else {
        // Losses took more than the reduction wanted. The conservative bound: one for one; and one segment
        // more, as slow start would, while everything shows that the repair goes well.
        send = delivered_bytes;
        if (c->delivered > c->sent && c->delivered - c->sent > send) send = c->delivered - c->sent;
        if (una_advanced && !lost_more) send += c->mss;
        uint32_t room = c->threshold - in_flight;
        if (send > room) send = room;
    }
    if (c->sent == 0 && send < c->mss) send = c->mss; // the first retransmission goes at once
    c->window = clamp_window(in_flight + send, c->mss);
}

void congestion_on_sent(Congestion *c, uint32_t bytes) {
    if (c->reducing) c->sent = saturating_add(c->sent, bytes);
}

void congestion_on_recovery_end(Congestion *c) {
    if (!c->reducing) return;
    c->reducing = false;
    c->window = c->threshold;
}

// ---- Idleness -----------------------------------------------------------------------------------

void congestion_on_idle(Congestion *c, Nanos idle, Nanos timeout) {
    if (c->kind == CongestionKind::none || idle <= 0) return;
    c->paused = true;
    uint32_t restart = initial_window(c);
    if (idle <= timeout || c->reducing || c->window <= restart) return;
    // RFC 5681 section 4.1. The way back is slow start to three quarters of what was (RFC 7661
    // section 4.4.3).
    c->threshold = larger(c->threshold, larger(c->window / 4 * 3, 2 * c->mss));
    c->window = restart;
    c->cubic.epoch = never;
    c->acked = 0;
    c->can_undo = false;
}

} // namespace wx
