// SPDX-License-Identifier: MIT
// What the nic stage and the transport say to each other when they run apart: rings of frame descriptors and
// one request at a time, in the shared region. The frames themselves are memory that both map. Zero is where
// everything begins. Neither believes the other: an address, a length, a frame's number is used only after a
// look at whether it can be.
//
// A received frame is the nic's until its descriptor is in `inbox`, then the transport's until it is in
// `freed`. A frame to be sent is the transport's; it may be used again once it came back by `completed` as
// often as it was sent. Nothing is thrown away for a full ring: without room in `inbox` the kernel's ring
// fills, without room to send TCP keeps what it has.
#pragma once
#include "../../ring/snapshot.h"
#include "../../ring/spsc.h"
#include "nic.h"

namespace wx {

// Three ways out, so that nothing small waits behind bulk. `control` is emptied first, then `acks`, then
// `bulk`; a packet may overtake those of other connections, of its own only as an acknowledgement without
// data, which has no place among them.
enum class NicLane : uint8_t { control, acks, bulk };

constexpr uint64_t nic_inbox_slots = 2048;
constexpr uint64_t nic_bulk_slots = 2048;
constexpr uint64_t nic_ack_slots = 512;
constexpr uint64_t nic_control_slots = 64;
// Who gives back many at once and finds no room keeps the rest for the next step.
constexpr uint64_t nic_back_slots = 4096;

struct FrameSlot {
    uint64_t address; // in the Umem
    Tick polled;      // of a received one: when it was taken from the NIC
    uint32_t size;
    uint16_t socket; // its number among the nic's
    uint8_t lap;     // see SlotLap
    uint8_t pad[9];
};
static_assert(sizeof(FrameSlot) == 32, "two to a cache line");

struct FrameBack {
    uint32_t frame;
    uint16_t socket; // that sent it
    uint8_t lap;
    uint8_t pad;
};
static_assert(sizeof(FrameBack) == 8, "eight to a cache line");

template <class Slot, uint64_t count> struct NicRing {
    static constexpr uint64_t slot_count = count;
    RingWords words;
    alignas(cache_line_pair) Slot slots[count];
};

enum NicDescriptor : unsigned { nic_fd_umem, nic_fd_tuples4, nic_fd_tuples6, nic_fd_counters, nic_fd_count };

struct NicAnswer {
    int32_t status; // WSXDP_OK, or a code with the sentence
    int32_t cause;
    uint32_t text_size;
    char text[sizeof(ErrorText::text)];
    NicMode mode;
    uint32_t socket_count;
    uint32_t first_queue;
    char ladder[sizeof(XdpNic::ladder)];
    int32_t fds[nic_fd_count]; // the nic's, open until it was asked to close
};

// Asked by the transport, answered by the nic between two rounds. Opening may take a while: the queue's last
// owner may not have given it back yet.
struct NicRequest {
    enum class State : uint32_t { none, asked, answered };
    enum class Kind : uint32_t { open, close };
    std::atomic<State> state;
    Kind kind;
    NicOptions options; // without the RSS tables: they are the transport's to look at
    NicAnswer answer;
};

// What the nic has counted, summed over its sockets; from a look a while ago.
struct NicTally {
    XskCounters sockets;
    XskKernelCounters kernel;
    uint64_t bad_descriptors; // in rings from the transport
    uint64_t link_downs;
    uint64_t recoveries;
};

struct alignas(cache_line_pair) NicArea {
    NicRequest request;
    // By the nic: a socket could not be opened again. Taken back by the next answer.
    alignas(cache_line_pair) std::atomic<uint32_t> lost;
    // By the transport: how often the link came up again, after which a driver may have new NAPIs.
    alignas(cache_line_pair) std::atomic<uint32_t> link_ups;
    Snapshot<NicTally> facts;
    NicRing<FrameSlot, nic_inbox_slots> inbox;
    NicRing<FrameSlot, nic_bulk_slots> bulk;
    NicRing<FrameSlot, nic_ack_slots> acks;
    NicRing<FrameSlot, nic_control_slots> control;
    NicRing<FrameBack, nic_back_slots> freed;     // transport -> nic, to receive into
    NicRing<FrameBack, nic_back_slots> completed; // nic -> transport, sent
};

// Structs of nothing but counters.
template <class Counters> void counters_add(Counters *sum, const Counters &more) {
    static_assert(sizeof(Counters) % sizeof(uint64_t) == 0 && std::is_trivially_copyable<Counters>::value,
                  "every member is a uint64_t");
    uint64_t to[sizeof(Counters) / sizeof(uint64_t)], from[sizeof(Counters) / sizeof(uint64_t)];
    memcpy(to, sum, sizeof to);
    memcpy(from, &more, sizeof from);
    for (size_t i = 0; i < sizeof to / sizeof to[0]; i++) to[i] += from[i];
    memcpy(sum, to, sizeof to);
}

template <class Slot> void nic_discard(RingConsumer<Slot> *ring) {
    while (ring->front() != nullptr) ring->pop();
    ring->release();
}

template <class End, class Ring> void nic_open_end(End *end, Ring *ring) {
    end->open(&ring->words, ring->slots, Ring::slot_count);
}

} // namespace wx
