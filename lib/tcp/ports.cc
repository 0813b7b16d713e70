// SPDX-License-Identifier: MIT
// RFC 6056's simple port randomization (its algorithm 1): every connection begins its search at a port of its
// own, so that one port seen tells nothing of the next. When nearly all of the range is taken the search
// walks it once, and the filter, which may ask the kernel, is asked last.
#include "ports.h"

namespace wx {

uint16_t port_choose(const PortRange &range, RandomSource *random, TimeWaitTable *time_wait, TcpTuple tuple,
                     const PortFilter &filter) {
    uint32_t low = range.low != 0 ? range.low : 1; // 0 is no port
    if (range.high < low) return 0;
    uint32_t count = range.high - low + 1;
    uint32_t start = static_cast<uint32_t>(random_below(random, count));
    if (random->failed) return 0; // a port that can be guessed is none of RFC 6056's
    for (uint32_t step = 0; step < count; step++) {
        tuple.local_port = static_cast<uint16_t>(low + (start + step) % count);
        if (time_wait && time_wait_find(time_wait, tuple)) continue;
        if (filter.usable && !filter.usable(filter.context, tuple.local_port)) continue;
        return tuple.local_port;
    }
    return 0;
}

} // namespace wx
