// SPDX-License-Identifier: MIT
// The nic stage of its own: takes the interface when the transport asks for it, owns its sockets, and carries
// frames between their rings and those to the transport (nic_area.h). Knows nothing of connections, nor of
// who runs it: a step is called again and again by one thread.
#pragma once
#include "../../ring/bell.h"
#include "../link.h"
#include "nic_area.h"

namespace wx {

// How often a socket's progress is looked at.
constexpr Nanos nic_look_distance = 10 * ns_per_ms;

// Who knows what this folder must not, and how descriptors get to another process.
struct NicSupport {
    void *context = nullptr;
    // As XdpSupport has them; nullptr: none.
    int (*tune)(void *context, const NicOptions &nic, ErrorText *error) = nullptr;
    void (*restore)(void *context) = nullptr;
    // nullptr: the transport is in this process.
    bool (*pass)(int socket, const int *fds, size_t count) = nullptr;
    int socket = -1;
};

struct alignas(cache_line_pair) NicStage {
    NicArea *area = nullptr; // null: the stage is not here
    Poller *poller = nullptr;
    BellRinger transport; // wakes it
    NicSupport support;
    XdpNic nic;
    RingProducer<FrameSlot> inbox;
    RingConsumer<FrameSlot> bulk;
    RingConsumer<FrameSlot> acks;
    RingConsumer<FrameSlot> control;
    RingConsumer<FrameBack> freed;
    RingProducer<FrameBack> completed;
    bool *given = nullptr; // by frame: it was received and is the transport's
    NicProgress progress[nic_queues_max];
    bool watched = false;     // the sockets are to be in the poller
    bool in_poller = false;   // they are
    bool kick_again = false;  // the kernel was busy
    bool full = false;        // something waits for room in a ring to the transport, or in the kernel's
    bool lost = false;        // a socket could not be opened again
    bool asked_twice = false; // to open what is open
    bool untold = false;      // something was counted since the facts were written
    uint32_t link_ups = 0;    // as last seen
    uint64_t changes = 0;     // requests answered: cold work that may allocate
    uint64_t bad_descriptors = 0, link_downs = 0, recoveries = 0;
    Nanos retry_at = never; // the request under way is tried again
    Nanos next_look = 0;
    Nanos now = 0;
};

void nic_stage_open(NicStage *stage, NicArea *area, Poller *poller);
// What was handed over leaves, then everything is given back. Twice is harmless.
void nic_stage_close(NicStage *stage);
// Whether anything moved.
bool nic_stage_step(NicStage *stage, Nanos now, const Clock &clock);
// When a step does something by itself.
Nanos nic_stage_deadline(const NicStage *stage);
// The transport has put something in that a step would take out now.
bool nic_stage_has_input(NicStage *stage);
// In or out of the poller: who spins would only pay for it.
void nic_stage_watch(NicStage *stage, bool on);
// What it has counted, now and not at its next look.
void nic_stage_publish(NicStage *stage);
// The shared words are as this side left them.
bool nic_stage_intact(const NicStage *stage);

} // namespace wx
