// SPDX-License-Identifier: MIT
// The option `placement`: which stage runs where.
//
//   inline                            every stage in the caller's thread
//   threads | processes               every stage its own, unpinned
//   threads: rx@0 tls@2 tx@4          a list: stages joined by + share a place, @N pins it to a processor
//   processes: transport@2/spin ws    /spin, /yield, /adaptive or /sleep: how the place waits, if not as
//   `wait`
//
// Stages: nic, transport, ws with transport=xdp; rx, tls, tx, ws with sockets, where `transport` stands for
// rx, tls and tx in one place. tls is also the way from URL to open, whether there is TLS or not. What a list
// of sockets' stages leaves out joins others: tls joins rx, tx and ws join tls. The caller is always the app
// stage.
#pragma once
#include "../base/bytes.h"
#include "../base/status.h"

namespace wx {

enum class PlacementKind : uint8_t { inline_, threads, processes };

enum StageBit : uint32_t {
    stage_nic = 1,
    stage_transport = 2,
    stage_rx = 4,
    stage_tls = 8,
    stage_tx = 16,
    stage_ws = 32,
};

// Whose place has the transport stage: rx and tx, where they are apart, only carry bytes to it and from it.
constexpr uint32_t stage_lead = stage_transport | stage_tls;

struct Place {
    uint32_t stages = 0; // StageBits
    int cpu = -1;        // -1: not pinned
    int8_t wait = -1;    // as the choices of the option `wait`; -1: as the handle's
};

constexpr size_t places_max = 6;        // every stage its own
constexpr int placement_cpu_max = 1023; // CPU_SETSIZE

struct Placement {
    PlacementKind kind = PlacementKind::inline_;
    size_t count = 0; // 0: no list; every stage its own
    Place places[places_max];
};

// The place of the nic stage where it is not that of transport; `count` of them: there is none.
size_t placement_nic(const Placement &placement);

// E_INVALID with a sentence that says where and what is possible.
int placement_parse(ByteView text, Placement *out, ErrorText *error);
// Checks the stages against the transport (every one once, none of the other's) and fills in what a list may
// leave out; rx, tls and tx in one place become transport.
int placement_complete(Placement *placement, bool xdp, ErrorText *error);

} // namespace wx
