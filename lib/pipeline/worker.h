// SPDX-License-Identifier: MIT
// A thread of our own that runs transport and ws while the caller has the app stage alone. What the two sides
// say to each other goes through the rings; here is what else there is: the thread, its poller, who wakes
// whom, facts that are asked for, and connections that leave.
#pragma once
#include "placement.h"
#include "rounds.h"
#include <pthread.h>

namespace wx {

// Asked by the caller's thread, answered by the worker between two rounds.
struct Question {
    enum State : uint32_t { none, asked, answered };
    enum Kind : uint8_t { stats, connection_info, handle_info };
    std::atomic<uint32_t> state{none};
    Kind kind = stats;
    bool known = false; // there is such a fact
    uint32_t index = 0;
    char what[64] = {0}; // no fact's name is longer
    size_t size = 0;
    uint8_t answer[4096]; // the longest facts are XDP's counters
};
// A worker that is alive answers within a round.
constexpr Nanos question_patience = 100 * ns_per_ms;

// Whose a connection's index is. The caller's side takes and frees; the worker lets go.
enum class Seat : uint32_t { free, taken, leaving, left };

struct Worker {
    Rounds rounds;
    Clock clock;
    Poller poller;
    Rounds *app = nullptr; // whose sleep the worker ends
    std::atomic<uint32_t> stop{0};
    std::atomic<uint32_t> wants_room{0};     // something waits for what the app gives back
    std::atomic<uint32_t> waits_for_room{0}; // the app was refused room in an outbox
    std::atomic<uint32_t> leaving{0};        // seats that the worker is to let go
    std::atomic<uint64_t> allocations{0};    // as wsxdp_stats counts them
    std::atomic<uint32_t> *seats = nullptr;
    Question question;
    uint64_t events_told = 0;
    Place place;
    pthread_t thread;
    bool running = false;
};

// The stages must be wired to the worker's clock and poller. E_SYSTEM, E_MEMORY, E_DESCRIPTORS with a
// sentence.
int worker_open(Worker *w, PollerKind poller, size_t connections, ErrorText *error);
int worker_start(Worker *w, ErrorText *error); // pins it, too; that it cannot be pinned is an error
void worker_stop(Worker *w);                   // and waits for its end: at most a round
void worker_close(Worker *w);

inline bool seat_is_free(const Worker *w, size_t index) {
    return w->seats[index].load(std::memory_order_acquire) == static_cast<uint32_t>(Seat::free);
}
inline void seat_take(Worker *w, size_t index) {
    w->seats[index].store(static_cast<uint32_t>(Seat::taken), std::memory_order_relaxed);
}
// By the caller's thread: something was put into a ring for the worker.
void worker_ring(Worker *w);
// Something was given back.
void worker_room(Worker *w);
// The index's connection leaves; its seat becomes `left`.
void worker_leave(Worker *w, uint32_t index);
// Waits for that, for as long as an answer may take; false: it did not happen.
bool worker_await_leaving(const Worker *w, uint32_t index);
// false: the worker does not answer.
bool worker_ask(Worker *w, Question::Kind kind, uint32_t index, const char *what);

} // namespace wx
