// SPDX-License-Identifier: MIT
// A handle: the region, the stages, and the inline placement, which runs every stage in the caller's thread
// inside poll. Files: engine.cc (open, connect, free), inline.cc (poll, waiting), facts.cc (stats, info).
#pragma once
#include "app.h"
#include "sender.h"
#include "transport.h"
#include "ws_stage.h"
#include "xdp.h"

namespace wx {

enum class Wait : uint8_t { spin, adaptive, sleep };

// Up to this many connections are read without asking the poller first: a failed read costs about as much as
// asking.
constexpr size_t direct_max = 4;

struct Engine {
    std::atomic<uint32_t> owner{0};      // a thread is inside
    std::atomic<uint32_t> wake_asked{0}; // sticky
    std::atomic<uint32_t> doorbell{0};   // a sender queued something
    std::atomic<uint32_t> sleeping{0};   // the poller's descriptor is being waited on, here or by the host
    Wait wait = Wait::adaptive;
    Nanos spin_ns = 0;
    mutable bool fd_used = false; // the host waits on the descriptor itself
    bool senders_waiting = false; // a sender's message could not be taken yet
    bool corked = false;          // something was sent with MORE
    uint32_t backlog_polls = 0;
    uint64_t allocations = 0;
    uint32_t first_id = 0;
    Clock clock;
    SystemRandom transport_random;
    SystemRandom app_random;
    Region region;
    Poller poller;
    XdpTransport *xdp = nullptr; // with transport=xdp
    Transport transport;
    WsStage ws;
    App app;
    Settings *settings = nullptr; // of wsxdp_open
    uint32_t *generations = nullptr;
    Sender **senders = nullptr;
    size_t sender_count = 0;
    size_t sender_max = 0;
};

// Takes over `options`. url may be null.
int engine_open(const char *url, Options *options, Engine **out, ErrorText *error);
int engine_connect(Engine *e, const char *url, const Options *options, uint32_t *id, ErrorText *error);
void engine_free(Engine *e);
void engine_retire(Engine *e, AppConnection *c);

int engine_poll(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns);
int engine_release(Engine *e);
// After the app queued something: let it leave now.
void engine_kick(Engine *e, AppConnection *c);
void engine_ring(void *engine); // doorbell, any thread
int engine_wakeup(Engine *e);
Nanos engine_deadline(const Engine *e);
void engine_prepare_fd(Engine *e);
void engine_drain_senders(Engine *e);

int engine_sender_open(Engine *e, AppConnection *c, size_t bytes, Sender **out);
void engine_sender_free(Engine *e, Sender *sender);

int engine_stats(Engine *e, AppConnection *c, wsxdp_stats_t *out); // c null: the whole handle
int engine_info(Engine *e, AppConnection *c, const char *what, Writer *out);
// What is true of the handle, whether it has connections or not.
int engine_handle_info(Engine *e, const char *what, Writer *out);

} // namespace wx
