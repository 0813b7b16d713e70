// SPDX-License-Identifier: MIT
// Round-trip time and retransmission timeout (RFC 6298), and the least round trip of the last seconds, which
// RACK wants (RFC 8985 section 6.2 step 4).
#pragma once
#include "../base/clock.h"

namespace wx {

struct RttLimits {
    Nanos initial = ns_per_s;         // RFC 6298 section 2.1
    Nanos min = 200 * ns_per_ms;      // section 2.4 says 1 s; what stacks use. Data centres: 5 ms and up
    Nanos max = 60 * ns_per_s;        // section 2.5: at least 60 s
    Nanos granularity = ns_per_ms;    // the G of section 2.2: never a timeout of just the round trip
    Nanos min_window = 10 * ns_per_s; // over which the least round trip counts
};

struct RttEstimator {
    RttLimits limits;
    Nanos smoothed = 0; // 0: no sample yet
    Nanos variation = 0;
    Nanos latest = 0;
    Nanos base = ns_per_s; // the timeout without back-off
    uint8_t backoff = 0;   // doublings
    struct {
        Nanos at, rtt; // begun, and the least since; 0: nothing
    } least[3] = {};   // of the present third of min_window and the two before it
};

void rtt_open(RttEstimator *r, const RttLimits &limits);
// A measured round trip (Karn: never of something sent twice, unless a timestamp tells which). Ends the
// back-off, as section 5 wants. Less than 1 ns counts as that.
void rtt_sample(RttEstimator *r, Nanos rtt, Nanos now);
Nanos rtt_timeout(const RttEstimator *r); // with back-off, at most limits.max
void rtt_back_off(RttEstimator *r);       // section 5.5: doubles, until limits.max is reached
void rtt_end_back_off(RttEstimator *r);
// The SYN or SYN-ACK had to be sent again and the handshake is over: without a sample, the timeout is 3 s
// once data flows (section 5.7), or limits.initial when that is more, and the back-off ends.
void rtt_syn_was_lost(RttEstimator *r);
Nanos rtt_min(const RttEstimator *r); // as of the last sample; 0: no sample yet

} // namespace wx
