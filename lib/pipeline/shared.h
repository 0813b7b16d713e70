// SPDX-License-Identifier: MIT
// What the caller's side and a worker say to each other besides the rings: words of the shared region, so
// that it is the same whether the worker is a thread or a process. Zero is where everything begins. Nobody
// believes the other: what is read here is an index, a length or a state only after a check.
#pragma once
#include "../base/cpu.h"
#include "../link/xdp/nic_area.h"
#include "../ring/bell.h"
#include "placement.h"
#include "rounds.h"

namespace wx {

// Asked by the caller's side, answered by the worker between two rounds.
struct Question {
    enum class State : uint32_t { none, asked, answered };
    enum class Kind : uint32_t { publish, info };
    std::atomic<State> state;
    Kind kind;
    uint32_t index; // a connection's, or every_connection
    char what[64];  // no fact's name is longer
    uint32_t known; // there is such a fact
    uint32_t size;  // of the answer
    uint8_t answer[fact_bytes_max];
};
// A worker that is alive answers within a round.
constexpr Nanos question_patience = 100 * ns_per_ms;

// Whose a connection's index is. The caller's side takes and frees; the worker lets go.
enum class Seat : uint32_t { free, taken, leaving, left };

// Of the handle, for who looks at it from outside (option `name`). Written by the caller's side.
struct HandleWords {
    std::atomic<uint32_t> kind;   // PlacementKind
    std::atomic<uint32_t> places; // workers; 0: inline
    std::atomic<uint32_t> pid, tid;
    std::atomic<uint64_t> ns_per_tick_q32; // as Clock has it
    WaitCounters counters;                 // of poll
};

// Of one place: a worker.
struct PlaceWords {
    BellWords bell;     // the worker sleeps on it
    BellWords app_bell; // the caller does, for this worker: what one of them writes over is no other's sleep
    // -- written by the worker
    alignas(cache_line_pair) std::atomic<uint64_t> allocations; // as wsxdp_stats counts them
    // -- by the worker, and taken back by who gives room
    std::atomic<uint32_t> wants_room; // something waits for what others give back
    // -- by the worker, once
    std::atomic<uint32_t> stages; // StageBits
    std::atomic<uint32_t> pid, tid;
    // -- by the caller's side
    alignas(cache_line_pair) std::atomic<uint32_t> stop;
    std::atomic<uint32_t> waits_for_room; // the app was refused room in an outbox
    std::atomic<uint32_t> leave_asked;    // seats that the worker is to let go
    std::atomic<uint32_t> requests;       // for connections, sent to its process so far
    WaitCounters counters;                // of the worker
    WaitCounters app_counters;            // of the caller's sleeps, and of what it rings
    Question question;
};

// In the region at RegionLayout::shared: the handle, the places, then for each of them a seat for each
// connection, then what nic and transport have between them where they are apart.
inline uint64_t shared_nic_offset(uint64_t connections) {
    const uint64_t end =
        sizeof(HandleWords) + places_max * (sizeof(PlaceWords) + connections * sizeof(std::atomic<Seat>));
    return (end + alignof(NicArea) - 1) & ~uint64_t{alignof(NicArea) - 1};
}
inline uint64_t shared_words_bytes(uint64_t connections) {
    return shared_nic_offset(connections) + sizeof(NicArea);
}
inline NicArea *shared_nic(const Region &region) {
    return reinterpret_cast<NicArea *>(region.base + region.layout.shared +
                                       shared_nic_offset(region.sizes.connections));
}
inline HandleWords *shared_handle(const Region &region) {
    return reinterpret_cast<HandleWords *>(region.base + region.layout.shared);
}
inline PlaceWords *shared_place(const Region &region, size_t place) {
    return reinterpret_cast<PlaceWords *>(shared_handle(region) + 1) + place;
}
inline std::atomic<Seat> *shared_seats(const Region &region, size_t place) {
    PlaceWords *end = shared_place(region, places_max);
    return reinterpret_cast<std::atomic<Seat> *>(end) + place * region.sizes.connections;
}

// Something was given back that this place may have been waiting for.
inline void give_room(PlaceWords *words, BellRinger *ringer) {
    // What was given back, before the look; pairs with the exchange of who wants it.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (words->wants_room.load(std::memory_order_relaxed) == 0) return;
    words->wants_room.exchange(0, std::memory_order_seq_cst);
    ringer->ring();
}

} // namespace wx
