// SPDX-License-Identifier: MIT
// How long NAPI puts an interface's interrupts off (napi_defer_hard_irqs, gro_flush_timeout): changed for as
// long as somebody polls busily, then put back. One handle at a time does this to an interface.
#pragma once
#include "../base/status.h"

namespace wx {

// Of an interface: twice the queues of the largest that transport=xdp takes, for drivers that have other
// NAPIs to send.
constexpr size_t napi_count_max = 128;

struct NapiWish { // 0: as it is
    uint32_t defer_hard_irqs = 0;
    uint64_t gro_flush_timeout_ns = 0;
};
struct NapiValues {
    uint32_t defer_hard_irqs = 0;
    uint64_t gro_flush_timeout_ns = 0;
};
struct NapiChange {
    uint32_t id = 0; // of the NAPI; 0: of the whole interface, by sysfs
    NapiValues before;
    NapiValues ours;
};
// The netdev netlink family (Linux 6.13), which sets single NAPIs in every network namespace; or sysfs, which
// sets the whole interface and shows the interfaces of the namespace that it was mounted in.
enum class NapiWay : uint8_t { undecided, netlink, sysfs };

struct NapiTuning {
    NapiWay way = NapiWay::undecided;
    uint32_t ifindex = 0;
    char interface[16] = {0};
    int lock = -1;
    uint32_t count = 0;
    NapiChange changes[napi_count_max];
};

// Sets the NAPIs of this receive queue (-1: of all of them), or of the whole interface where the driver does
// not tell which those are. Again after the link was down, when a driver may have made new ones: what is set
// stays so. Needs CAP_NET_ADMIN. E_PERMISSION, E_XDP_OCCUPIED (another handle has set other values),
// E_UNSUPPORTED (nothing there to set), E_XDP_INTERFACE, E_SYSTEM with a sentence; what was changed is put
// back then.
int napi_tune(NapiTuning *tuning, const char *interface, uint32_t ifindex, int64_t queue,
              const NapiWish &wish, ErrorText *error);
// Puts everything back that is still as it was set: who has changed it since knows better. Needs the
// capability again, and without it everything stays. Twice is harmless.
void napi_restore(NapiTuning *tuning);

} // namespace wx
