// SPDX-License-Identifier: MIT
// RFC 6298 in whole nanoseconds. The estimates are kept unscaled: a nanosecond of rounding is far below the
// granularity, which bounds the timeout from below. The least round trip is kept in constant space: it is
// always a sample from within the window, and the least of at least its newer two thirds.
#include "rtt.h"

namespace wx {

constexpr Nanos syn_lost_timeout = 3 * ns_per_s; // RFC 6298 section 5.7

void rtt_open(RttEstimator *r, const RttLimits &limits) {
    *r = RttEstimator();
    r->limits = limits;
    r->base = limits.initial;
}

// Spans of a third of the window, each begun by the first sample after the one before it was over. A span is
// dropped when its first sample has left the window, whichever of its samples was the least.
static void take_least(RttEstimator *r, Nanos rtt, Nanos now) {
    const Nanos window = r->limits.min_window;
    auto &least = r->least;
    if (least[0].rtt == 0 || now - least[0].at >= window / 3) {
        least[2] = least[1];
        least[1] = least[0];
        least[0].at = now;
        least[0].rtt = rtt;
    } else if (rtt < least[0].rtt) {
        least[0].rtt = rtt;
    }
    for (unsigned i = 1; i < 3; i++)
        if (now - least[i].at > window) least[i].rtt = 0;
}

void rtt_sample(RttEstimator *r, Nanos rtt, Nanos now) {
    if (rtt < 1) rtt = 1;   // 0 stands for none
    if (r->smoothed == 0) { // section 2.2
        r->smoothed = rtt;
        r->variation = rtt / 2;
    } else { // section 2.3: the variation first, by the old average; beta = 1/4, alpha = 1/8
        const Nanos off = rtt > r->smoothed ? rtt - r->smoothed : r->smoothed - rtt;
        r->variation += (off - r->variation) / 4;
        r->smoothed += (rtt - r->smoothed) / 8;
    }
    r->latest = rtt;
    take_least(r, rtt, now);
    const Nanos spread = 4 * r->variation;
    r->base = r->smoothed + (spread > r->limits.granularity ? spread : r->limits.granularity);
    if (r->base < r->limits.min) r->base = r->limits.min; // section 2.4
    if (r->base > r->limits.max) r->base = r->limits.max; // section 2.5
    r->backoff = 0;
}

Nanos rtt_timeout(const RttEstimator *r) {
    // Compared on this side of the shift, which so never overflows.
    return r->base > r->limits.max >> r->backoff ? r->limits.max : r->base << r->backoff;
}

void rtt_back_off(RttEstimator *r) {
    if (rtt_timeout(r) < r->limits.max) r->backoff++;
}

void rtt_end_back_off(RttEstimator *r) { r->backoff = 0; }

void rtt_syn_was_lost(RttEstimator *r) {
    if (r->smoothed != 0) return; // a timestamp told the round trip all the same
    r->base = r->limits.initial > syn_lost_timeout ? r->limits.initial : syn_lost_timeout;
    r->backoff = 0;
}

Nanos rtt_min(const RttEstimator *r) {
    Nanos found = r->least[0].rtt;
    for (unsigned i = 1; i < 3; i++)
        if (r->least[i].rtt != 0 && r->least[i].rtt < found) found = r->least[i].rtt;
    return found;
}

} // namespace wx
