// SPDX-License-Identifier: MIT
// What the caller's side and a worker say to each other besides the rings: words of the shared region, so
// that it is the same whether the worker is a thread or a process. Zero is where everything begins. Nobody
// believes the other: what is read here is an index, a length or a state only after a check.
#pragma once
#include "../base/cpu.h"
#include "../ring/wait.h"
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

struct alignas(cache_line_pair) WorkerWords {
    // -- written by the worker
    std::atomic<uint32_t> wants_room;  // something waits for what the app gives back
    std::atomic<uint64_t> allocations; // as wsxdp_stats counts them
    // -- by the caller's side
    alignas(cache_line_pair) std::atomic<uint32_t> stop;
    std::atomic<uint32_t> waits_for_room; // the app was refused room in an outbox
    std::atomic<uint32_t> leave_asked;    // seats that the worker is to let go
    // -- by both: who lies down sets it, who wakes clears it and rings
    alignas(cache_line_pair) std::atomic<uint32_t> asleep; // the worker, in its poller
    std::atomic<uint32_t> app_asleep;                      // the caller
    WaitCounters counters;
    Question question;
};

// In the region at RegionLayout::shared.
struct SharedWords {
    WorkerWords worker;
    std::atomic<Seat> seats[1]; // as many as there are connections
};
inline uint64_t shared_words_bytes(uint64_t connections) {
    return sizeof(SharedWords) + connections * sizeof(std::atomic<Seat>);
}

// Who announced its sleep before its last look, and is woken after it, or finds what was published before:
// the exchange of the sleeper and this fence make both the same order for everyone.
inline void wake(std::atomic<uint32_t> *asleep, int bell_fd) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (asleep->load(std::memory_order_relaxed) == 0) return;
    if (asleep->exchange(0, std::memory_order_seq_cst) != 0) poller_ring(bell_fd);
}

} // namespace wx
