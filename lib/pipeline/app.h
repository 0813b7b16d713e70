// SPDX-License-Identifier: MIT
// The app stage: the caller's end. Turns event slots into wsxdp_events, releases what the caller is done
// with, frames what it sends into outboxes. Files: app.cc (events, release, hold), send.cc, sender.h/.cc.
#pragma once
#include "../base/random.h"
#include "settings.h"
#include "slots.h"

namespace wx {

struct AppCounters {
    uint64_t messages_sent, payload_sent, frames_sent, refused, lost;
    uint64_t outbox_max;
};

struct StageFacts; // published.h

struct AppConnection {
    uint32_t id = 0;    // 0: not in use
    uint32_t state = 0; // WSXDP_STATE_ as the caller knows it
    bool conflate = false;
    bool touched = false; // in the list of connections to release
    bool want_writable = false;
    bool close_asked = false;
    bool ended = false;      // CLOSE was handed out; retire when released and nothing is held
    bool in_message = false; // a fragmented message is being sent
    bool message_is_text = false;
    bool message_compressed = false;
    uint8_t begun_opcode = 0;
    uint32_t holds = 0;
    // receiving
    uint64_t sequence = 0;
    uint64_t released_sequence = 0; // messages up to here were of earlier batches
    uint64_t lost = 0;              // dropped and not told yet
    uint64_t release_to = 0;
    uint64_t inflated_release_to = 0;
    ByteRingConsumer inbox;
    // sending
    Settings *settings = nullptr;
    Deflater *deflater = nullptr;
    uint64_t begun = 0; // room handed out by send_begin, 0 none
    ByteRingProducer outbox;
    AppCounters counters{};
    Utf8 utf8;
    uint32_t sender_count = 0;
    // rare
    StageFacts *earlier = nullptr; // of processes before the present one; null: there were none
    uint64_t epoch = 0;
    uint64_t epoch_start = 0;
    uint64_t answered = 0; // ConnectionWords::epoch, unless somebody else wrote it
    ByteRingConsumer inflated;
    ConnectionArea area;
};

struct Held {
    uint32_t index;
    uint8_t source;
    uint64_t position;
    const uint8_t *data;
};

struct App {
    Clock *clock = nullptr;
    RandomSource *random = nullptr;
    static constexpr size_t masks_max = 16; // one cache line
    uint32_t masks[masks_max] = {0};
    size_t masks_left = 0;
    RingConsumer<EventSlot> events;
    AppConnection *connections = nullptr;
    size_t connection_limit = 0;
    uint32_t generation_shift = 0;
    uint32_t *live = nullptr; // indices of connections in use
    size_t live_count = 0;
    uint32_t *touched = nullptr; // likewise, to be released
    size_t touched_count = 0;
    RingConsumer<NoteSlot> notes;
    RingProducer<CommandSlot> commands;
    Held *held = nullptr;
    size_t held_count = 0;
    size_t held_max = 0;
    size_t conflating = 0;       // connections with overflow=conflate
    size_t writable_waiters = 0; // connections that were refused room
    size_t ended_count = 0;
    uint64_t changes = 0; // connections opened and ended: cold work that may allocate
    ErrorText error;      // of the last failed call or ERROR event
};

size_t app_collect(App *app, wsxdp_event *out, size_t cap);
bool app_writable(App *app); // app_collect would tell of room
void app_release(App *app);
bool app_pressed(const App *app);
inline bool app_under_pressure(const App *app) { return app->conflating != 0 && app_pressed(app); }
// Drops the oldest messages of conflating connections until the pressure is gone; true if any was dropped.
bool app_conflate(App *app);
int app_hold(App *app, const wsxdp_event *event);
int app_unhold(App *app, const wsxdp_event *event);
// The connection of an id, nullptr when gone.
inline AppConnection *app_find(App *app, uint32_t id) {
    uint32_t index = id & ((1u << app->generation_shift) - 1);
    if (index >= app->connection_limit || app->connections[index].id != id || id == 0) return nullptr;
    return &app->connections[index];
}
inline uint32_t app_index(const App *app, const AppConnection *c) {
    return static_cast<uint32_t>(c - app->connections);
}

// send.cc
int app_send(App *app, AppConnection *c, uint32_t opcode, ByteView data, uint32_t flags);
int app_send_begin(App *app, AppConnection *c, uint32_t opcode, size_t cap, void **buf);
int app_send_commit(App *app, AppConnection *c, size_t size, uint32_t flags);
void app_connect(App *app, uint32_t index); // to be called with room for a command
int app_close(App *app, AppConnection *c, uint16_t code, ByteView reason);
int app_abort(App *app, AppConnection *c);

} // namespace wx
