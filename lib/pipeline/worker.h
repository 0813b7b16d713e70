// SPDX-License-Identifier: MIT
// Runs stages beside the caller: nic, transport, ws or some of them, or what carries bytes for transport (rx,
// tx): the loop of a thread or a process of their own. What it does for the caller's side besides is in
// shared.h.
#pragma once
#include "published.h"
#include "shared.h"
#include "stages.h"

namespace wx {

struct Worker {
    Stages *stages = nullptr;
    Rounds rounds;                 // its transport or ws is null when that runs elsewhere
    Relay *relay = nullptr;        // with rx or tx apart from tls, in all of their places
    RelayReader *reader = nullptr; // rx; null: it runs elsewhere
    RelayWriter *writer = nullptr; // tx
    uint64_t mail_told = 0;        // position
    size_t connection_limit = 0;
    NicStage *nic = nullptr; // null: it runs elsewhere, or is a part of transport
    int peer = -1;           // WorkerPlan::peer
    Clock clock;
    Poller poller;
    Waiter waiter;
    PlaceWords *words = nullptr;
    std::atomic<Seat> *seats = nullptr;
    BellSleeper sleeper;
    BellRinger app;
    BellRinger other; // who has the transport stage, or from there who has ws; no words: it is here
    PlaceWords *other_words = nullptr;
    uint64_t app_told = 0, other_told = 0, metadata_given = 0; // positions
    int parent =
        -1; // a descriptor that becomes readable when the caller's process is gone; -1: it is this one
    Nanos parent_looked = 0;
    bool visible = false; // the handle has a name: somebody may look on
    PublishTurn turn;
    // Requests for connections that came by another way, and taking the next one; null: there is no other
    // way.
    uint32_t admitted = 0;
    bool corrupt = false; // ended because the region is not what it was
    size_t next_look = 0; // the connection whose words are looked at next
    void (*admit)(void *context) = nullptr;
    // Its stages have let go of a connection; null: nothing is left to do.
    void (*left)(void *context, uint32_t index) = nullptr;
    void *context = nullptr;
};

// Which place of those, and who wakes whom: the descriptors of the bells are the caller's of this, by place.
struct WorkerPlan {
    Placement placement;
    size_t place = 0;
    BellReach reach = BellReach::process;
    int app_bell = -1;
    int bells[places_max];
    int peer = -1; // the socket between nic and transport in processes of their own
};

// The worker's clock and poller, before its stages are made, which stand on them. E_SYSTEM, E_MEMORY,
// E_DESCRIPTORS with a sentence.
int worker_open(Worker *w, const Options &options, const Region &region, const WorkerPlan &plan,
                ErrorText *error);
// rx, tx or tls of that relay, as the plan says.
void worker_join(Worker *w, Relay *relay, const Region &region, const WorkerPlan &plan);
void worker_close(Worker *w);
// Until it is told to stop or the caller's process is gone.
void worker_run(Worker *w);
// The processor that was asked for cannot be had, which is no error.
void pin_refused(int cpu, int cause, ErrorText *notice);
// Nor the priority.
void fifo_refused(int64_t priority, int cause, ErrorText *notice);

} // namespace wx
