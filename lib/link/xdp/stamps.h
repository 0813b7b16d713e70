// SPDX-License-Identifier: MIT
// When a received packet passed by: from what the XDP program left in front of it (filter_abi.h) and what is
// known of the frame, to what is kept beside the frame, and on to the event's clock. No time is judged here:
// a packet may be older than the one before it, which came on another queue, and later than the caller's last
// look at the clock. Only what cannot be of this packet is left out.
#pragma once
#include "../../base/clock.h"
#include "filter_abi.h"

namespace wx {

// What is known of a received frame. Beside the frames and not in them: there each would cost a cache line
// that the kernel has not just written. 0: not known.
struct FrameStamps {
    Nanos entry_ns; // CLOCK_MONOTONIC, the XDP program's entry; < 0: not known, and that of a packet before
    Nanos nic_ns;   // the NIC's own clock
    Tick polled;
    Tick processed;
};

// The numbers are whatever lay there: they are added and negated as unsigned ones, which may wrap.
inline Nanos nanos_wrapped(uint64_t ns) { return static_cast<Nanos>(ns); }

// meta: what lies in front of the packet, ns of bpf_ktime_get_ns() and of the NIC's driver; of an earlier
// packet, or of nobody, when the program had no room there. entry_before: entry_ns of the same frame as it
// was kept last, 0 when there was none. What a packet before left there is told by its time, since no two
// packets of a frame enter in the same nanosecond; wiping it would make the line travel again.
inline FrameStamps stamps_of(const filter_metadata &meta, Nanos entry_before, Tick polled) {
    FrameStamps stamps = {0, 0, polled, 0};
    const Nanos entry = nanos_wrapped(meta.entry_ns);
    const Nanos opposite = nanos_wrapped(0 - static_cast<uint64_t>(entry_before));
    if (meta.magic == FILTER_MAGIC && entry != entry_before && entry != opposite) {
        stamps.entry_ns = entry;
        stamps.nic_ns = nanos_wrapped(meta.nic_ns);
    } else {
        stamps.entry_ns = entry_before < 0 ? entry_before : opposite;
    }
    return stamps;
}

// entry_ns as CLOCK_REALTIME, as the clock has it now: the two are related by the bases of its last look at
// both, so a step of CLOCK_REALTIME moves the stamps of packets that came before it, too. 0: not known.
inline Nanos stamps_realtime(Nanos entry_ns, const Clock &clock) {
    if (entry_ns <= 0) return 0;
    return nanos_wrapped(static_cast<uint64_t>(entry_ns) - static_cast<uint64_t>(clock.monotonic_base) +
                         static_cast<uint64_t>(clock.realtime_base));
}

} // namespace wx
