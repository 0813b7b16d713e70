// SPDX-License-Identifier: MIT
// Some seconds at full rate with an owner that stalls. endurance_runner does the same for twenty minutes.
#include "soak.h"

using namespace netns;

TEST(full_rate_with_an_owner_that_stalls) {
    need();
    Soak soak;
    const SoakResult result = soak.run(5);
    print_message("%llu MiB in %.1f s, %llu pauses of up to %lld ms\n",
                  static_cast<unsigned long long>(result.bytes >> 20), result.seconds,
                  static_cast<unsigned long long>(result.pauses),
                  static_cast<long long>(result.longest_pause_ms));
    assert_true(result.pauses > 10);
}

TESTS("soak")
