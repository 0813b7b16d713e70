// SPDX-License-Identifier: MIT
// When received data is acknowledged: with data that leaves anyway, after so many segments, after so long, or
// at once. The defaults (8 segments, 100 us) hold back more than RFC 9293's every second segment, for fewer
// wake-ups of both sides, and less than its 500 ms.
#pragma once
#include "../base/clock.h"

namespace wx {

struct AckPolicy {
    uint32_t segments = 8; // option: at most so many unacknowledged
    Nanos delay = 100000;  // option: at most so long
    uint32_t pending = 0;  // segments since the last acknowledgement
    bool at_once = false;  // a gap, a filled gap, a duplicate, a window that opened
    Nanos deadline = never;
};

inline void ack_policy_on_data(AckPolicy *p, Nanos now) {
    if (p->pending++ == 0) p->deadline = now + p->delay;
    if (p->pending >= p->segments) p->at_once = true;
}
inline void ack_policy_now(AckPolicy *p) { p->at_once = true; }
inline bool ack_policy_due(const AckPolicy *p, Nanos now) { return p->at_once || now >= p->deadline; }
inline void ack_policy_on_sent(AckPolicy *p) { // any segment with the ACK flag
    p->pending = 0;
    p->at_once = false;
    p->deadline = never;
}

} // namespace wx
