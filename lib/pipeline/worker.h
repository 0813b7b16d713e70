// SPDX-License-Identifier: MIT
// Runs transport and ws beside the caller: the loop of a thread or a process of their own. What it does for
// the caller's side besides is in shared.h.
#pragma once
#include "placement.h"
#include "shared.h"
#include "stages.h"

namespace wx {

struct Worker {
    Stages *stages = nullptr;
    Rounds rounds;
    Clock clock;
    Poller poller;
    Waiter waiter;
    WorkerWords *words = nullptr;
    std::atomic<Seat> *seats = nullptr;
    int app_bell = -1;
    int parent =
        -1; // a descriptor that becomes readable when the caller's process is gone; -1: it is this one
    Nanos parent_looked = 0;
    uint64_t events_told = 0;
    // Both stages have let go of a connection; null: nothing is left to do.
    void (*left)(void *context, uint32_t index) = nullptr;
    void *context = nullptr;
};

// The worker's clock and poller: before its stages are made, which stand on them. bell: the descriptor it is
// woken by, -1 to make one. E_SYSTEM, E_MEMORY, E_DESCRIPTORS with a sentence.
int worker_open(Worker *w, const Options &options, Region *region, int bell, ErrorText *error);
void worker_close(Worker *w);
// Until it is told to stop or the caller's process is gone.
void worker_run(Worker *w);
// The processor that was asked for cannot be had, which is told with the first connection.
void worker_pin_refused(Worker *w, int cpu, int cause);

} // namespace wx
