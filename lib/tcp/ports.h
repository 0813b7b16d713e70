// SPDX-License-Identifier: MIT
// The source port of a new connection (RFC 6056): drawn at random, then the next ones in turn until one is
// free.
#pragma once
#include "../base/random.h"
#include "time_wait.h"

namespace wx {

struct PortRange {
    uint16_t low = 32768; // Linux's default range: what firewalls and habits expect
    uint16_t high = 60999;
};

struct PortFilter {
    // Whether this local port may be used: not by another connection, by the kernel, or for lack of a queue.
    bool (*usable)(void *context, uint16_t port) = nullptr;
    void *context = nullptr;
};

// tuple: all but local_port. 0 when no port of the range is free: neither in TIME-WAIT towards this peer nor
// refused by the filter; or when the random source has failed. time_wait: as expired as the caller wants it,
// nullptr for none.
uint16_t port_choose(const PortRange &range, RandomSource *random, TimeWaitTable *time_wait, TcpTuple tuple,
                     const PortFilter &filter);

} // namespace wx
