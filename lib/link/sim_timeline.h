// SPDX-License-Identifier: MIT
// What lies between two points of the simulated network: packets on their way, each with the time at which it
// goes on. Every filter that holds packets back keeps them in a timeline; filters may share one, and those of
// a SimNetwork do, so that everything happens in one order: by time, and what is due at the same time in the
// order it was put in. No clock is read: `now` is handed in, may begin anywhere and jump by any amount.
// Memory is taken at open only.
#pragma once
#include "../base/bytes.h"
#include "../base/clock.h"

namespace wx {

// Whoever takes packets: a filter, an end of the network, a device. Packets are IP packets, without Ethernet.
// The view is good during the call only. `now` is the packet's own time: when a run was late it is earlier
// than the run's.
struct PacketSink {
    void (*accept)(PacketSink *self, ByteView packet, Nanos now) = nullptr;
};

// A sink whose packets come back to it when their time has come.
struct SimHolder : PacketSink {
    void (*release)(SimHolder *self, ByteView packet, Nanos now) = nullptr;
};

struct SimTimelineOptions {
    uint32_t slots = 256;         // packets that can be under way at once, 1..sim_slots_max
    uint32_t packet_bytes = 1500; // of the largest packet, 68..65535
};
constexpr uint32_t sim_slots_max = 1u << 20; // 1.5 GB of full-sized packets: more is a mistake
constexpr uint32_t sim_packet_min = 68;      // every IPv4 link carries it (RFC 791)
constexpr uint32_t sim_packet_max = 65535;   // of IPv4

struct SimEntry { // of the heap
    Nanos due;
    uint64_t order; // of being put in
    uint32_t slot;
};

struct SimTimeline {
    uint8_t *slots = nullptr; // slot_count, each slot_bytes long: SimSlot, then the packet
    SimEntry *heap = nullptr; // the earliest first
    uint32_t slot_bytes = 0;
    uint32_t slot_count = 0;
    uint32_t packet_bytes = 0;
    uint32_t waiting = 0; // entries in the heap
    uint32_t fresh = 0;   // slots from here on have never been used; saves touching them at open
    uint32_t free_head = 0;
    uint32_t in_use = 0; // waiting, and being handed on right now
    uint64_t order = 0;
    // Packets lost for want of room: a test that does not mean it checks that both are 0.
    uint64_t refused_full = 0;
    uint64_t refused_large = 0;
};

// WSXDP_OK, WSXDP_E_INVALID or WSXDP_E_MEMORY; in the latter cases nothing is held.
int sim_timeline_open(SimTimeline *timeline, const SimTimelineOptions &options);
void sim_timeline_close(SimTimeline *timeline); // also after a failed open
void sim_timeline_reset(SimTimeline *timeline); // forgets all packets

// Takes a copy; false: no slot, or larger than a slot (both counted).
bool sim_timeline_hold(SimTimeline *timeline, SimHolder *holder, ByteView packet, Nanos due);
// A copy to write to, outside the order of time; release it with sim_timeline_return. nullptr as hold.
uint8_t *sim_timeline_borrow(SimTimeline *timeline, ByteView packet);
void sim_timeline_return(SimTimeline *timeline, uint8_t *packet);

inline Nanos sim_timeline_deadline(const SimTimeline &timeline) {
    return timeline.waiting ? timeline.heap[0].due : never;
}
// Hands on what is due, in order, and what becomes due by that; at most `most` packets, because two ends that
// answer each other over a path without delay would keep it here for ever. Returns how many.
size_t sim_timeline_run(SimTimeline *timeline, Nanos now, size_t most = SIZE_MAX);

} // namespace wx
