// SPDX-License-Identifier: MIT
// The caller's side of a worker, be it a thread (thread.cc) or a process (process.cc): what both have in
// common.
#pragma once
#include "engine.h"
#include "shared.h"

namespace wx {

// Of a connection that the worker has not let go of yet.
struct Leaving {
    ConnectionArea area;
    Settings *settings = nullptr;
};

struct RemotePlace {
    PlaceWords *words = nullptr;
    std::atomic<Seat> *seats = nullptr;
    BellSleeper sleeper; // the caller's sleep, for this worker
    BellRinger ringer;   // wakes the worker
};

struct Remote {
    Placement placement;
    RemotePlace places[places_max];
    int bells[places_max];            // eventfds that wake the workers
    RemotePlace *transport = nullptr; // who takes commands
    RemotePlace *nic = nullptr;       // where it is apart from transport
    BellReach reach = BellReach::process;
    Leaving *leaving = nullptr; // by index
    size_t leaving_count = 0;
    ErrorText notice; // told with the first connection; code 0: none
};

// What thread and process do each in their own way.
struct RemoteParts {
    Connection *(*blank)(Engine *e, uint32_t index);
    int (*attach)(Engine *e, Connection *c, ErrorText *error);
    void (*retire)(Engine *e, uint32_t index, const ConnectionArea &area, Settings *settings);
    void (*stop)(Engine *e);
    size_t (*supervise)(Engine *e, Nanos now, wsxdp_event *events, size_t cap);
    void (*watch)(Engine *e, Nanos now);
    Nanos (*due)(const Engine *e);
};

// The caller's side of the workers, and what wakes them. E_MEMORY, E_DESCRIPTORS, E_SYSTEM with a sentence.
int remote_open(Engine *e, const Placement &placement, BellReach reach, ErrorText *error);
void remote_open_bells(Engine *e); // again, once the words are all 0
void remote_ring_all(Engine *e);
void remote_seat_taken(Engine *e, uint32_t index);
void remote_close(Engine *e);
// Once the worker has ended: what it had not let go of.
void remote_drop_leaving(Engine *e);

// -- the runner's functions that both share
size_t remote_collect(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns);
void remote_flush(Engine *e, AppConnection *c);
void remote_told(Engine *e);
void remote_released(Engine *e);
bool remote_busy(Engine *e);
bool remote_wants_room(const Engine *e);
Nanos remote_deadline(const Engine *e);
void remote_before_sleep(Engine *e);
uint64_t remote_changes(const Engine *e);
uint64_t remote_allocations(const Engine *e);
bool remote_seat(Engine *e, uint32_t *index);
void remote_retire(Engine *e, uint32_t index, const ConnectionArea &area, Settings *settings);
void remote_publish(Engine *e, uint32_t index);
int remote_info(Engine *e, uint32_t index, const char *what, Writer *out, bool *known);

constexpr Runner remote_runner(const RemoteParts &parts) {
    return {remote_collect,    remote_flush,    remote_told,         remote_released, remote_busy,
            remote_wants_room, remote_deadline, remote_before_sleep, remote_changes,  remote_allocations,
            remote_seat,       parts.blank,     parts.attach,        parts.retire,    parts.stop,
            remote_publish,    remote_info,     parts.supervise,     parts.watch,     parts.due};
}

} // namespace wx
