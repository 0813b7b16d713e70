// SPDX-License-Identifier: MIT
// Megabytes there and back over a rough network, with hashes at both ends. endurance_runner moves a gibibyte.
#include "volume.h"

using namespace netns;

// Some 23,000 segments each way: a dozen of them are lost.
constexpr uint64_t volume = 32 << 20;

static void moves(const Way &way, const OptionList &options = {}) {
    need();
    const VolumeResult result = run_volume(volume, way, options);
    print_message("%.1f s, %llu segments sent again, %llu received out of order\n", result.seconds,
                  static_cast<unsigned long long>(result.stats.tcp_retransmits),
                  static_cast<unsigned long long>(result.stats.tcp_out_of_order));
}
TLS_TEST(over_wss_and_ipv4) { moves({true, false}, {{"xdp.mode", "driver"}}); }
TLS_TEST(over_wss_and_ipv6_in_generic_mode) { moves({true, true}, {{"xdp.mode", "generic"}}); }
TEST(over_ws) { moves({false, false}); }

TESTS("volume")
