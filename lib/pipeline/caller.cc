// SPDX-License-Identifier: MIT
// What the caller's thread does in any placement: poll around the runner's collect, the descriptor that the
// host may wait on, other threads' wake-ups and messages. Between going to sleep and a wake-up from another
// thread nothing can be lost: see rounds.h. The worst case accepted is a sender's message that waits for room
// until the next poll.
#include "../base/alloc.h"
#include "visible.h"

namespace wx {

// ---- other threads ----

void engine_ring(void *engine) {
    Engine *e = static_cast<Engine *>(engine);
    e->doorbell.exchange(1, std::memory_order_seq_cst);
    rounds_wake(&e->rounds);
}

int engine_wakeup(Engine *e) {
    e->wake_asked.exchange(1, std::memory_order_seq_cst);
    rounds_wake(&e->rounds);
    return WSXDP_OK;
}

// As wsxdp_send, but a refusal is not the caller's affair: no WRITABLE follows and it is not counted. What
// fills the outbox may be our own messages, which nobody has let leave yet.
static int send_for(Engine *e, AppConnection *c, const SenderRecord &record, ByteView payload) {
    bool wanted = c->want_writable;
    uint64_t refused = c->counters.refused;
    int status = app_send(&e->app, c, record.opcode, payload, record.flags);
    if (status == WSXDP_E_AGAIN) {
        e->runner->flush(e, c);
        status = app_send(&e->app, c, record.opcode, payload, record.flags);
    }
    c->counters.refused = refused;
    if (c->want_writable && !wanted) {
        c->want_writable = false;
        e->app.writable_waiters--;
    }
    return status;
}

// A message that the connection cannot take now stays in the sender's queue, in order.
static bool drain_sender(Engine *e, Sender *sender) {
    SenderRecord record;
    ByteView payload;
    AppConnection *c = app_find(&e->app, sender->id);
    if (c == nullptr) sender->shared->closed.store(1, std::memory_order_release);
    bool all = true;
    while (all && sender_front(sender, &record, &payload)) {
        int status = WSXDP_E_CLOSED;
        if (c != nullptr) status = send_for(e, c, record, payload);
        all = status != WSXDP_E_AGAIN && status != WSXDP_E_STATE;
        if (all) sender_pop(sender, record);
    }
    if (c != nullptr) e->runner->flush(e, c);
    return all;
}

void engine_drain_senders(Engine *e) {
    e->doorbell.exchange(0, std::memory_order_seq_cst); // what rang before this is seen below
    e->senders_waiting = false;
    for (size_t i = 0; i < e->sender_count; i++)
        if (!drain_sender(e, e->senders[i])) e->senders_waiting = true;
}

// ---- the descriptor ----

static bool waits_for_release(const Engine *e) {
    return e->app.touched_count != 0 && e->runner->wants_room(e);
}

// Keeps the descriptor readable while there is work, and arms its timer.
void engine_prepare_fd(Engine *e) {
    e->runner->before_sleep(e);
    e->rounds.sleeping.exchange(1, std::memory_order_seq_cst);
    if (e->runner->busy(e) || waits_for_release(e)) poller_signal(&e->poller);
    poller_arm(&e->poller, visible_until(e, e->runner->deadline(e)));
}

// ---- poll ----

static void retire_ended(Engine *e) {
    for (size_t i = 0; i < e->app.live_count && e->app.ended_count != 0;) {
        AppConnection *c = &e->app.connections[e->app.live[i]];
        if (c->ended && c->holds == 0)
            engine_retire(e, c); // moves the last live index here
        else
            i++;
    }
}

size_t engine_take_wakeup(Engine *e, wsxdp_event *events) {
    if (e->wake_asked.load(std::memory_order_relaxed) == 0) return 0;
    e->wake_asked.exchange(0, std::memory_order_acq_rel);
    memset(events, 0, sizeof *events);
    events->kind = WSXDP_EVENT_WAKEUP;
    return 1;
}

int engine_release(Engine *e) {
    if (e->fd_used && waits_for_release(e)) poller_signal(&e->poller);
    app_release(&e->app);
    if (e->runner->released != nullptr) e->runner->released(e);
    if (e->app.ended_count != 0) retire_ended(e);
    return WSXDP_OK;
}

static void begin_poll(Engine *e) {
    engine_release(e);
    poller_clear(&e->poller);
    if (e->doorbell.load(std::memory_order_acquire) != 0 || e->senders_waiting) engine_drain_senders(e);
    if (e->corked) {
        e->corked = false;
        e->runner->flush(e, nullptr);
    }
}

int engine_poll(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns) {
    const uint64_t changes = e->runner->changes(e), allocations = allocation_count();
    begin_poll(e);
    size_t filled = engine_take_wakeup(e, events);
    if (filled < cap)
        filled += e->runner->collect(e, events + filled, cap - filled, filled != 0 ? 0 : timeout_ns);
    // What waited for OPEN can leave now; a host that sleeps on the descriptor would not poll again for it.
    if (e->fd_used && e->senders_waiting && filled != 0) engine_drain_senders(e);
    if (e->visible != nullptr) visible_polled(e, filled);
    if (e->fd_used) engine_prepare_fd(e);
    if (e->runner->changes(e) == changes) e->allocations += allocation_count() - allocations;
    return static_cast<int>(filled);
}

// ---- calls that leave something to do ----

int engine_sent(Engine *e, AppConnection *c, int status, uint32_t flags) {
    if (status < 0 && status != WSXDP_E_AGAIN) return status;
    if (status >= 0 && (flags & WSXDP_SEND_MORE))
        e->corked = true;
    else if (status >= 0)
        e->runner->flush(e, c);
    if (!e->fd_used) return status;
    // The end of our own fragmented message is what senders' messages may wait for: the next poll takes them.
    if (status >= 0 && e->senders_waiting) poller_signal(&e->poller);
    engine_prepare_fd(e); // who was refused waits for room
    return status;
}

static int told(Engine *e, int status) {
    if (e->runner->told != nullptr) e->runner->told(e);
    if (e->fd_used) engine_prepare_fd(e);
    return status;
}
int engine_close(Engine *e, AppConnection *c, uint16_t code, ByteView reason) {
    return told(e, app_close(&e->app, c, code, reason));
}
int engine_abort(Engine *e, AppConnection *c) { return told(e, app_abort(&e->app, c)); }

int engine_unhold(Engine *e, const wsxdp_event *event) {
    int status = app_unhold(&e->app, event);
    if (e->runner->released != nullptr) e->runner->released(e);
    if (e->fd_used) engine_prepare_fd(e);
    return status;
}

} // namespace wx
