// SPDX-License-Identifier: MIT
// A thread of our own that runs transport and ws while the caller has the app stage alone. What the two sides
// say to each other goes through the rings; here is what else there is: the thread, its poller, who wakes
// whom, facts that are asked for, and connections that leave.
#pragma once
#include "../ring/wait.h"
#include "placement.h"
#include "rounds.h"
#include <pthread.h>

namespace wx {

// Asked by the caller's thread, answered by the worker between two rounds.
struct Question {
    enum class State : uint32_t { none, asked, answered };
    enum class Kind : uint8_t { publish, info };
    std::atomic<State> state{State::none};
    Kind kind = Kind::publish;
    bool known = false;  // there is such a fact
    uint32_t index = 0;  // a connection's, or every_connection
    char what[64] = {0}; // no fact's name is longer
    size_t size = 0;
    uint8_t answer[fact_bytes_max];
};
// A worker that is alive answers within a round.
constexpr Nanos question_patience = 100 * ns_per_ms;

// Whose a connection's index is. The caller's side takes and frees; the worker lets go.
enum class Seat : uint32_t { free, taken, leaving, left };

// Of a connection that the worker has not let go of yet. The caller's side's alone.
struct Leaving {
    ConnectionArea area;
    Settings *settings = nullptr;
};

struct Worker {
    Rounds rounds;
    Clock clock;
    Poller poller;
    Waiter waiter;
    WaitCounters counters{};
    Rounds *app = nullptr; // whose sleep the worker ends
    std::atomic<uint32_t> stop{0};
    std::atomic<uint32_t> wants_room{0};     // something waits for what the app gives back
    std::atomic<uint32_t> waits_for_room{0}; // the app was refused room in an outbox
    std::atomic<uint32_t> leave_asked{0};    // seats that the worker is to let go
    std::atomic<uint64_t> allocations{0};    // as wsxdp_stats counts them
    std::atomic<Seat> *seats = nullptr;
    Question question;
    uint64_t events_told = 0;
    Place place;
    pthread_t thread;
    bool running = false;
    // -- the caller's side's alone
    Leaving *leaving = nullptr; // by index
    size_t leaving_count = 0;
};

// The stages must be wired to the worker's clock and poller, and how to wait chosen in `rounds`. E_SYSTEM,
// E_MEMORY, E_DESCRIPTORS with a sentence.
int worker_open(Worker *w, PollerKind poller, size_t connections, ErrorText *error);
int worker_start(Worker *w, ErrorText *error); // pins it, too; a processor that cannot be had is a notice
void worker_stop(Worker *w);                   // and waits for its end: at most a round
void worker_close(Worker *w);

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
