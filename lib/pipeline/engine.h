// SPDX-License-Identifier: MIT
// A handle: the region, the stages, and who runs them: every stage in the caller's thread inside poll, or
// transport and ws in a thread of their own. Files: engine.cc (open, connect, free), inline.cc and remote.cc
// (poll, waiting), facts.cc (stats, info).
#pragma once
#include "app.h"
#include "rounds.h"
#include "sender.h"
#include "worker.h"
#include "xdp.h"

namespace wx {

// Of a connection that the worker has not let go of yet.
struct Leaving {
    ConnectionArea area;
    Settings *settings = nullptr;
};

struct Engine {
    std::atomic<uint32_t> owner{0};      // a thread is inside
    std::atomic<uint32_t> wake_asked{0}; // sticky
    std::atomic<uint32_t> doorbell{0};   // a sender queued something
    Rounds rounds;                       // inline; its sleep is the caller's in any placement
    mutable bool fd_used = false;        // the host waits on the descriptor itself
    bool senders_waiting = false;        // a sender's message could not be taken yet
    bool corked = false;                 // something was sent with MORE
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
    Worker *worker = nullptr;   // runs transport and ws; null: they run inside of poll
    Leaving *leaving = nullptr; // by index; with a worker
    size_t leaving_count = 0;
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
// remote.cc: with a worker
int remote_poll(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns);
void remote_kick(Engine *e, AppConnection *c);
void remote_expects(Engine *e); // before a sleep: what the worker is to tell besides events
void remote_retire(Engine *e, uint32_t index, const ConnectionArea &area, Settings *settings);
void remote_reap(Engine *e);      // seats that the worker has left
bool remote_make_room(Engine *e); // waits for one; false: none is leaving
// For wsxdp_stats and wsxdp_info. E_AGAIN: the worker does not answer.
int remote_info(Engine *e, Question::Kind kind, uint32_t index, const char *what, Writer *out, bool *known);

// After commands were queued: whoever takes them hears of it.
inline void engine_told(Engine *e) {
    if (e->worker != nullptr) worker_ring(e->worker);
}
// After the app queued something: let it leave now.
void engine_kick(Engine *e, AppConnection *c);
void engine_ring(void *engine); // doorbell, any thread
int engine_wakeup(Engine *e);
Nanos engine_deadline(const Engine *e);
void engine_prepare_fd(Engine *e);
void engine_drain_senders(Engine *e);
size_t engine_take_wakeup(Engine *e, wsxdp_event *events); // 0 or 1
void engine_flush_corked(Engine *e);

int engine_sender_open(Engine *e, AppConnection *c, size_t bytes, Sender **out);
void engine_sender_free(Engine *e, Sender *sender);

int engine_stats(Engine *e, AppConnection *c, wsxdp_stats_t *out); // c null: the whole handle
int engine_info(Engine *e, AppConnection *c, const char *what, Writer *out);
// What is true of the handle, whether it has connections or not.
int engine_handle_info(Engine *e, const char *what, Writer *out);

} // namespace wx
