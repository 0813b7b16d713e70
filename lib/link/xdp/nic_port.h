// SPDX-License-Identifier: MIT
// The transport's end of a nic that runs elsewhere (nic_area.h). What it knows of the interface is an XdpNic
// like any other, but its sockets are only books: which frames the nic has, and to what end.
#pragma once
#include "../../ring/bell.h"
#include "nic_area.h"

namespace wx {

struct alignas(cache_line_pair) NicPort {
    NicArea *area = nullptr;
    RingConsumer<FrameSlot> inbox;
    RingProducer<FrameSlot> bulk;
    RingProducer<FrameSlot> acks;
    RingProducer<FrameSlot> control;
    RingProducer<FrameBack> freed;
    RingConsumer<FrameBack> completed;
    BellRinger nic;                                        // wakes it
    NicRequest::Kind asked_kind = NicRequest::Kind::close; // of the last request
    NicOptions asked;                                      // of the last to open
    // Where the nic is another process: its descriptors come by this socket with every answer that is not a
    // refusal, and are the port's own. nullptr: they are those of this process, and stay the nic's.
    bool (*receive)(int socket, int *fds, size_t count) = nullptr;
    int socket = -1;
    int own[nic_fd_count] = {-1, -1, -1, -1};
    uint64_t bad_descriptors = 0; // in rings from the nic
};

void nic_port_open(NicPort *port, NicArea *area);

// As nic_open, but for a nic that is told to: 0 also as long as it has not answered.
int nic_port_take(NicPort *port, XdpNic *nic, const NicOptions &options, ErrorText *error);
// Everything that `nic` is known by goes, and the nic stage is told to close.
void nic_port_drop(NicPort *port, XdpNic *nic);
// The link is up again.
void nic_port_link_up(NicPort *port);
// There is an answer that nic_port_take has not looked at.
inline bool nic_port_answered(const NicPort *port) {
    return port->area->request.state.load(std::memory_order_acquire) == NicRequest::State::answered;
}
inline bool nic_port_has_input(NicPort *port) {
    return port->inbox.ready() != 0 || port->area->lost.load(std::memory_order_relaxed) != 0;
}

// What has arrived; each frame is the caller's until umem_put.
uint32_t nic_port_receive(NicPort *port, XdpNic *nic, FrameSlot *out, uint32_t cap);
// Free frames of the receive pool go back, if there are `least` of them. false: some had no room.
bool nic_port_give(NicPort *port, XdpNic *nic, uint32_t least);
// One frame; leaves with the next kick. *order: of the connection's packets, kept for it. false: no room.
bool nic_port_send(NicPort *port, XdpNic *nic, const FrameSlot &frame, NicLane lane, uint64_t *order);
void nic_port_kick(NicPort *port);
// Frames whose sending is over, in any order; returns how many.
uint32_t nic_port_reclaim(NicPort *port, XdpNic *nic, FrameId *out, uint32_t cap);
// The nic's books; all zero when it has not told yet.
void nic_port_facts(const NicPort *port, NicTally *out);
// The shared words are as this side left them.
bool nic_port_intact(const NicPort *port);

} // namespace wx
