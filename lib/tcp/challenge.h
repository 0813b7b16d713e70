// SPDX-License-Identifier: MIT
// How many challenge acknowledgements a host sends (RFC 5961 section 7): a budget per second for all
// connections, with a random part so that an attacker learns nothing by counting them (CVE-2016-5696), and a
// least distance on one connection.
#pragma once
#include "../base/clock.h"
#include "../base/random.h"

namespace wx {

struct ChallengeBudget {
    uint32_t per_second = 1000; // large enough never to be a side channel, small enough to be no amplifier
    uint32_t left = 0;
    Nanos refill_at = 0;
    uint64_t refused = 0;
};
constexpr Nanos challenge_distance = 500 * ns_per_ms; // between two on one connection

// last: of this connection, 0 for none yet; set when one may be sent.
bool challenge_take(ChallengeBudget *b, RandomSource *random, Nanos *last, Nanos now);

} // namespace wx
