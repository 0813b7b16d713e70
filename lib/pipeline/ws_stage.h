// SPDX-License-Identifier: MIT
// The WebSocket stage: bytes in inboxes to events. Takes metadata and notes from the transport; gives events
// to the app, and control (pongs, closes, broken rules) back to the transport. Never sends, never reads a
// descriptor. When the app's ring or a connection's inflate buffer is full it leaves the connection where it
// is and comes back; other connections go on.
#pragma once
#include "../base/clock.h"
#include "settings.h"
#include "slots.h"

namespace wx {

// Where bytes of one read end, and its time stamps. A message is stamped with those of its first and last.
struct Chunk {
    uint64_t end;
    Tick poll_tick;
    Tick tls_tick;
    Tick transport_tick;
    Nanos kernel_ns;
    Nanos nic_ns;
};

struct WsCounters {
    uint64_t messages, payload, frames, pings, pongs;
};

struct WsConnection {
    Receiver receiver;
    uint8_t *inbox = nullptr;
    uint64_t mask = 0;
    uint64_t start = 0; // of the window that receiver looks at
    uint64_t end = 0;
    ConnectionWords *words = nullptr;
    WsCounters counters{};
    bool discard = false; // a rule was broken or a close came: what follows is not looked at
    bool blocked = false;
    bool pending = false; // `item` could not be told yet
    int failed = 0;       // a broken rule that could not be told yet
    // Chunks whose bytes are not all consumed. Bounded: when full, the newest takes more bytes in, which
    // makes only the time stamps between first and last of a very scattered message coarser.
    static constexpr size_t chunks_max = 16;
    uint32_t chunk_first = 0;
    uint32_t chunk_count = 0;
    Chunk chunks[chunks_max];
    uint64_t failed_after = 0; // events that the caller gets before it is told
    uint64_t epoch = 0;
    // compression
    Inflater *inflater = nullptr;
    ByteRingProducer inflated;
    Item item{};                   // the newest from the receiver
    bool inflating = false;        // that item is partly inflated
    uint64_t item_taken = 0;       // compressed bytes fed
    uint64_t item_produced = 0;    // of the message, inflated
    uint64_t message_inflated = 0; // streamed message so far
    bool inflated_first = true;    // no piece of this message told yet
    Utf8 utf8;
    const Settings *settings = nullptr;
};

struct WsStage {
    const Clock *clock = nullptr; // only to turn ticks that were handed in into spans
    RingConsumer<MetadataSlot> metadata;
    RingConsumer<NoteSlot> notes;
    RingProducer<EventSlot> events;
    RingProducer<NoteSlot> event_notes;
    RingProducer<ControlSlot> control;
    WsConnection *connections = nullptr;
    size_t connection_limit = 0;
    size_t blocked_count = 0;
    uint64_t changes = 0; // notes passed on: cold work that may allocate
    Tick now = 0;
    // A slot for an index that nothing has been attached to: a request may be waiting elsewhere.
    void (*on_unknown)(void *context, uint32_t index) = nullptr;
    void *on_unknown_context = nullptr;
};

// Moves what has arrived; true if anything moved.
bool ws_step(WsStage *stage, Tick now);
// A connection's areas have been mapped (before its first chunk), or are about to go.
void ws_attach(WsStage *stage, uint32_t index, const ConnectionArea &area, uint64_t inbox_bytes,
               const Settings *settings);
void ws_detach(WsStage *stage, uint32_t index);

} // namespace wx
