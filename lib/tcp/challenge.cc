// SPDX-License-Identifier: MIT
// The budget begins anew a second after it was last begun, with half of the mean and up to one mean more by
// chance: how many challenges a stranger can provoke in a second then says nothing of how many somebody else
// did. If the random source fails the part by chance is missing, which only matters to a host that by then
// can send no mask either.
#include "challenge.h"

namespace wx {

bool challenge_take(ChallengeBudget *b, RandomSource *random, Nanos *last, Nanos now) {
    if (now >= b->refill_at) {
        b->refill_at = now + ns_per_s;
        b->left = b->per_second / 2 + static_cast<uint32_t>(random_below(random, b->per_second));
    }
    bool too_soon = *last != 0 && now - *last < challenge_distance;
    if (too_soon || b->left == 0) {
        b->refused++;
        return false;
    }
    b->left--;
    *last = now;
    return true;
}

} // namespace wx
