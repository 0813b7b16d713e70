// SPDX-License-Identifier: MIT
// Transport and ws of one handle with what they stand on, for whoever runs them: the caller's thread, a
// thread of their own, a process of their own. Also what is decided before a connection is made: the sizes of
// the shared region, whether a URL and its options make sense.
#pragma once
#include "../base/alloc.h"
#include "../link/relay.h"
#include "../link/xdp/nic_stage.h"
#include "transport.h"
#include "ws_stage.h"
#include "xdp.h"

namespace wx {

struct Stages {
    SystemRandom random;
    XdpTransport *xdp = nullptr; // with transport=xdp
    Relay *relay = nullptr;      // with rx or tx apart from tls
    NicPort nic_port;            // of a transport whose nic is elsewhere
    NicStage nic;
    XdpTuner *tuner = nullptr; // the nic's                // of a nic whose transport is elsewhere
    Transport transport;
    WsStage ws;
};

// As the option's choices.
constexpr int64_t transport_uring = 2, transport_xdp = 3;

// The same in every process with the same options. shared_bytes: of what the placement keeps in the region.
RegionSizes stages_region_sizes(const Options &options);
RegionLayout stages_region_layout(const RegionSizes &sizes, uint64_t shared_bytes);

// Each by who runs it. Region, clock and poller must outlive it. E_MEMORY, E_SYSTEM and what transport=xdp
// needs, with a sentence.
int transport_open(Stages *stages, const Options &options, Region *region, Clock *clock, Poller *poller,
                   ErrorText *error);
int ws_open(Stages *stages, const Region &region, const Clock *clock, ErrorText *error);
// After transport_open: rx, tx or both run apart from it.
int transport_relay(Stages *stages, bool reads_apart, bool writes_apart, ErrorText *error);
void stages_close(Stages *stages);

// Checks what can be checked without a peer. c->settings and c->index are set; c->url points into text that
// the connection owns. E_INVALID, E_URL_... with a sentence.
int connection_prepare(Connection *c, RandomSource *random, const char *url, ErrorText *error);
// The connection has its area: from here on the stages that are here know it.
void stages_attach(Stages *stages, Connection *c);
// They let go of it; its area and settings stay the caller's.
void stages_detach(Stages *stages, uint32_t index);

uint64_t stages_xdp_tries(const Stages *stages); // to open an interface
// Grows when memory may be allocated: something happens to a connection, or an interface is tried, which is
// in a step in which nothing happens to any.
inline uint64_t stages_changes(const Stages *stages) {
    return stages->transport.changes + (stages->xdp != nullptr ? stages_xdp_tries(stages) : 0);
}

// Zeroed and not touched: what a connection needs is constructed when there is one, so a handle with room for
// a thousand and one of them costs the memory of one.
template <class T> T *allocate_array(size_t count) {
    static_assert(alignof(T) <= 16, "the heap's alignment");
    // NOLINTNEXTLINE(bugprone-sizeof-expression): T may be a pointer
    return static_cast<T *>(allocate((count ? count : 1) * sizeof(T)));
}

// One end of a ring of the region.
template <class Slot, class End>
void open_end(End *end, const Region &region, uint64_t offset, uint64_t slots) {
    RingWords *words = reinterpret_cast<RingWords *>(region.base + offset);
    end->open(words, reinterpret_cast<Slot *>(region.base + offset + sizeof(RingWords)), slots);
}

} // namespace wx
