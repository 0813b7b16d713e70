// SPDX-License-Identifier: MIT
// What travels in the rings between stages. Fixed sizes, plain data, no pointers: the same bytes mean the
// same in every process that maps the region.
#pragma once
#include "../base/clock.h"
#include "../ring/region.h"
#include "../ws/frame.h"

namespace wx {

// transport -> ws: bytes have been put into a connection's inbox, or something happened to it (a note).
struct MetadataSlot {
    // end: the stream is over; ws answers with ControlSlot::ended once it has looked at all before it.
    enum Kind : uint8_t { bytes = 1, note = 2, end = 3 };
    uint32_t index; // which connection
    uint8_t kind;
    uint8_t lap;
    uint8_t pad[2];
    uint64_t position; // in the inbox
    uint64_t size;
    Tick poll_tick;
    Tick tls_tick; // 0 without TLS
    Nanos kernel_ns;
    Nanos nic_ns;
    Tick transport_tick;
};
static_assert(sizeof(MetadataSlot) == 64, "one cache line");

// Goes with a MetadataSlot of kind note, and with an EventSlot that has has_note: facts and a text.
struct NoteSlot {
    uint32_t kind; // WSXDP_EVENT_
    uint32_t flags;
    int32_t error;
    uint32_t attempt;
    int64_t value;
    uint64_t epoch; // OPEN: number of the opening
    uint16_t code;
    uint16_t size;
    uint8_t deflate[4]; // OPEN: DeflateAgreement packed, all 0 when not agreed
    uint8_t text[599];
    uint8_t lap;
};
static_assert(sizeof(NoteSlot) == 640, "whole cache lines");

// ws -> app: one event.
struct EventSlot {
    enum Source : uint8_t { nothing = 0, inbox = 1, inflated = 2, note = 3 };
    uint32_t index;
    uint8_t kind; // WSXDP_EVENT_, 0: only gives inbox bytes back
    uint8_t source;
    uint8_t opcode;
    uint8_t lap;
    uint32_t flags;
    uint32_t frames;   // completed by this event
    uint64_t position; // of the bytes, in source
    uint64_t size;
    int64_t value;
    uint64_t release_to; // inbox position that is free once this event is released
    uint64_t epoch;      // OPEN: number of the opening
    Tick parse;
    Nanos nic_first;
    Nanos nic_last;
    Nanos kernel_first;
    Nanos kernel_last;
    Tick poll_first;
    Tick poll_last;
    Tick transport_last;
    Tick tls_last;
};
static_assert(sizeof(EventSlot) == 128, "two cache lines");

// ws -> transport: what the frames demand.
struct ControlSlot {
    enum Kind : uint8_t {
        ping = 1,  // answer with payload
        pong = 2,  // our keepalive was answered; value = round trip
        close = 3, // the peer's close: code, payload = reason
        fail = 4,  // a rule was broken: error
        ended = 5, // all bytes before the stream's end are parsed, and there was no close among them
    };
    uint32_t index;
    uint8_t kind;
    uint8_t size;
    uint16_t code;
    uint64_t epoch; // commands for an earlier opening are ignored
    int32_t error;
    uint8_t lap;
    uint8_t pad[3];
    int64_t value;
    uint8_t payload[160];
};
static_assert(sizeof(ControlSlot) == 192, "three cache lines");

// app -> transport.
struct CommandSlot {
    // flush: the outbox has more; one at a time is under way (ConnectionWords::flush_asked).
    enum Kind : uint8_t { connect = 1, close = 2, abort = 3, flush = 4 };
    uint32_t index;
    uint8_t kind;
    uint8_t size;
    uint16_t code;
    uint8_t lap; // on the line that is looked at first
    uint8_t payload[183];
};
static_assert(sizeof(CommandSlot) == 192, "three cache lines");
static_assert(sizeof(CommandSlot::payload) >= control_payload_max - 2, "a close reason fits");

} // namespace wx
