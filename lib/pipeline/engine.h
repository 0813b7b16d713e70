// SPDX-License-Identifier: MIT
// A handle: the region, the stages, and who runs them: every stage in the caller's thread inside poll, or
// transport and ws in a thread of their own. Files: engine.cc (open, connect, free), caller.cc (poll and what
// it does wherever the stages run), inline.cc and remote.cc (the two ways to run them), facts.cc (stats,
// info).
#pragma once
#include "app.h"
#include "placement.h"
#include "rounds.h"
#include "sender.h"
#include "stages.h"

namespace wx {

struct Engine;

// Who runs transport and ws, as the caller's side sees it.
struct Runner {
    // Hands out events, and waits for some as long as it may.
    size_t (*collect)(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns);
    void (*flush)(Engine *e, AppConnection *c); // its outbox has more; null: those of all
    void (*told)(Engine *e);                    // commands were queued
    void (*released)(Engine *e);                // room was given back
    bool (*busy)(Engine *e);                    // poll has something to do or to tell
    bool (*wants_room)(const Engine *e);        // something waits for what the next release gives back
    Nanos (*deadline)(const Engine *e);
    void (*before_sleep)(Engine *e);                 // the host will wait on the descriptor
    uint64_t (*changes)(const Engine *e);            // of states: cold work that may allocate
    uint64_t (*allocations)(const Engine *e);        // besides those of the caller's thread
    bool (*seat)(Engine *e, uint32_t *index);        // a free one for a new connection; false: all are taken
    Connection *(*blank)(Engine *e, uint32_t index); // what the connection is prepared in
    int (*attach)(Engine *e, Connection *c, ErrorText *error); // prepared: to whoever runs the stages
    void (*retire)(Engine *e, uint32_t index, const ConnectionArea &area, Settings *settings);
    void (*stop)(Engine *e);                    // before the end: nobody runs the stages any more
    void (*publish)(Engine *e, uint32_t index); // facts of a connection, of all with every_connection
    int (*info)(Engine *e, uint32_t index, const char *what, Writer *out, bool *known);
    // Looks after who runs the stages and tells what happened to them; null: there is nobody to look after.
    size_t (*supervise)(Engine *e, Nanos now, wsxdp_event *events, size_t cap);
    void (*watch)(Engine *e, Nanos now); // the looking alone, for who finds something in every poll
    Nanos (*due)(const Engine *e);       // when supervise has to be called at the latest
};
extern const Runner inline_runner, thread_runner, process_runner;

struct Visible; // of a handle that has a name
struct Remote;  // the caller's side of a worker
struct Threads; // threads.cc's
struct Helpers; // processes.cc's

struct Engine {
    const Runner *runner = &inline_runner;
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
    SystemRandom app_random;
    Region region;
    Poller poller;
    Stages stages; // wherever they run, as long as it is in this process
    App app;
    Settings *settings = nullptr; // of wsxdp_open
    uint32_t *generations = nullptr;
    Visible *visible = nullptr; // with a name
    Remote *remote = nullptr;   // with a worker
    Threads *threads = nullptr;
    Helpers *helpers = nullptr;
    Sender **senders = nullptr;
    size_t sender_count = 0;
    size_t sender_max = 0;
};

// Takes over `options`. url may be null.
int engine_open(const char *url, Options *options, Engine **out, ErrorText *error);
int engine_connect(Engine *e, const char *url, const Options *options, uint32_t *id, ErrorText *error);
void engine_free(Engine *e);
void engine_retire(Engine *e, AppConnection *c);
// What is left of a connection once the stages have let go of it.
void engine_drop(Engine *e, uint32_t index, ConnectionArea *area, Settings *settings);

// threads.cc: workers in threads of their own, with the stages.
int threads_open(Engine *e, const Placement &placement, ErrorText *error);
void threads_close(Engine *e);

// processes.cc: workers in processes of their own, which make their stages themselves.
int processes_open(Engine *e, const Placement &placement, ErrorText *error);
void processes_close(Engine *e);

int engine_poll(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns);
int engine_release(Engine *e);
int engine_unhold(Engine *e, const wsxdp_event *event);
int engine_close(Engine *e, AppConnection *c, uint16_t code, ByteView reason);
int engine_abort(Engine *e, AppConnection *c);
// After the app queued something, or was refused room for it: let it leave now.
int engine_sent(Engine *e, AppConnection *c, int status, uint32_t flags);
void engine_ring(void *engine); // doorbell, any thread
int engine_wakeup(Engine *e);
void engine_prepare_fd(Engine *e);
void engine_drain_senders(Engine *e);
size_t engine_take_wakeup(Engine *e, wsxdp_event *events); // 0 or 1
// Somebody else's wish, which no sleep may outlast.
inline bool engine_disturbed(const Engine *e) {
    return e->wake_asked.load(std::memory_order_acquire) != 0 ||
           e->doorbell.load(std::memory_order_acquire) != 0;
}

int engine_sender_open(Engine *e, AppConnection *c, size_t bytes, Sender **out);
void engine_sender_free(Engine *e, Sender *sender);

int engine_stats(Engine *e, AppConnection *c, wsxdp_stats_t *out); // c null: the whole handle
// c null: what is true of the handle, whether it has connections or not.
int engine_info(Engine *e, AppConnection *c, const char *what, Writer *out);

} // namespace wx
