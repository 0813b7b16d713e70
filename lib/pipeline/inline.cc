// SPDX-License-Identifier: MIT
// The inline placement: poll runs transport, ws and app in turn in the caller's thread, and waits as the
// option says. With few connections it reads the sockets without asking the poller, which saves a system call
// per message; with many it asks first. Between going to sleep and a wake-up from another thread nothing can
// be lost: the sleeper announces itself before it looks a last time, the waker rings before it looks for a
// sleeper.
#include "../base/alloc.h"
#include "engine.h"

namespace wx {

constexpr uint32_t backlog_polls_max =
    8; // polls served from the backlog before the network is looked at again
// Reads between two looks at anything else (clock, wake-ups, timers): about 2 us, which none of them minds.
constexpr int spin_tries = 8;
constexpr Nanos spin_slack = 5000; // not in the last microseconds of a short spin
constexpr int settle_rounds = 16;  // progress without events that one poll(0) follows

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
        engine_kick(e, c);
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
    if (c != nullptr) engine_kick(e, c);
    return all;
}

void engine_drain_senders(Engine *e) {
    e->doorbell.exchange(0, std::memory_order_seq_cst); // what rang before this is seen below
    e->senders_waiting = false;
    for (size_t i = 0; i < e->sender_count; i++)
        if (!drain_sender(e, e->senders[i])) e->senders_waiting = true;
}

void engine_kick(Engine *e, AppConnection *c) {
    if (__builtin_expect(e->worker != nullptr, 0)) return remote_kick(e, c);
    transport_flush(&e->transport, &e->transport.connections[app_index(&e->app, c)]);
    transport_send(&e->transport);
}

void engine_flush_corked(Engine *e) {
    e->corked = false;
    for (size_t i = 0; i < e->app.live_count && e->worker != nullptr; i++)
        remote_kick(e, &e->app.connections[e->app.live[i]]);
    if (e->worker != nullptr) return;
    for (size_t i = 0; i < e->app.live_count; i++)
        transport_flush(&e->transport, &e->transport.connections[e->app.live[i]]);
    transport_send(&e->transport);
}

// ---- one round of the stages ----

static inline void end_round(Engine *e) {
    // With conflate, what is old makes way and the network is read on, until the caller can keep up again.
    for (int i = 0; i < settle_rounds && app_under_pressure(&e->app) && app_conflate(&e->app); i++) {
        rounds_run_ws(&e->rounds);
        transport_step(&e->transport, e->clock.ticks(), nullptr, 0);
        rounds_run_ws(&e->rounds);
    }
}

// ---- waiting ----

static bool disturbed(const Engine *e) {
    return e->wake_asked.load(std::memory_order_acquire) != 0 ||
           e->doorbell.load(std::memory_order_acquire) != 0;
}

static bool work_left(Engine *e) {
    if (e->worker != nullptr) return e->app.events.ready() != 0 || disturbed(e) || app_writable(&e->app);
    return e->app.events.ready() != 0 || e->ws.metadata.ready() != 0 || e->transport.commands.ready() != 0 ||
           e->transport.control.ready() != 0 || transport_has_silent_input(&e->transport) || disturbed(e);
}

Nanos engine_deadline(const Engine *e) {
    if (e->worker != nullptr) return e->corked || e->app.events.tail_seen != e->app.events.head ? 0 : never;
    bool commands_wait = e->app.commands.tail != e->transport.commands.head;
    if (commands_wait || e->corked || e->app.events.tail_seen != e->app.events.head) return 0;
    return transport_deadline(&e->transport);
}

// A round without asking the poller.
static inline bool read_round(Engine *e, int tries) {
    const bool moved = rounds_read(&e->rounds, tries, e->rounds.wait == Wait::spin && !e->fd_used);
    end_round(e);
    return moved;
}

// A round with what the poller says, which is slept for if `sleep`.
static bool asking_round(Engine *e, bool sleep, Nanos now, Nanos until) {
    const bool moved = rounds_ask(&e->rounds, sleep, now, until, e->fd_used, [e] { return disturbed(e); });
    end_round(e);
    return moved;
}

// What is given back at the next release lets a connection go on that is out of the poller.
static bool waits_for_release(const Engine *e) {
    if (e->app.touched_count == 0) return false;
    if (e->worker != nullptr) return e->worker->wants_room.load(std::memory_order_acquire) != 0;
    return e->transport.stalled_count != 0 || e->ws.blocked_count != 0;
}

// Keeps the descriptor readable while there is work, and arms its timer.
void engine_prepare_fd(Engine *e) {
    if (e->worker == nullptr && e->transport.unpolled) transport_rejoin_poller(&e->transport);
    if (e->worker != nullptr) remote_expects(e);
    e->rounds.sleeping.exchange(1, std::memory_order_seq_cst);
    if (work_left(e) || waits_for_release(e)) poller_signal(&e->poller);
    poller_arm(&e->poller, engine_deadline(e));
}

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
    if (e->worker != nullptr) worker_room(e->worker);
    if (e->app.ended_count != 0) retire_ended(e);
    return WSXDP_OK;
}

static void begin_poll(Engine *e) {
    engine_release(e);
    poller_clear(&e->poller);
    if (e->doorbell.load(std::memory_order_acquire) != 0 || e->senders_waiting) engine_drain_senders(e);
    if (e->corked) engine_flush_corked(e);
}

struct PollPlan {
    Nanos start;
    Nanos until;      // of the caller's timeout
    Nanos spin_until; // after this, sleep
    bool look_first;  // try without sleeping before the first sleep
};

static inline PollPlan plan_poll(Engine *e, int64_t timeout_ns) {
    PollPlan plan;
    plan.start = e->clock.monotonic(e->clock.ticks());
    plan.until = timeout_ns < 0 || timeout_ns > never - plan.start ? never : plan.start + timeout_ns;
    plan.spin_until = e->rounds.wait == Wait::spin ? never : plan.start;
    if (e->rounds.wait == Wait::adaptive) plan.spin_until += e->rounds.spin_ns;
    plan.look_first = e->rounds.wait != Wait::sleep || timeout_ns == 0 || rounds_likely_more(&e->rounds) ||
                      work_left(e) || e->transport.stalled_count != 0 || e->ws.blocked_count != 0;
    return plan;
}

static size_t run_until_event(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns) {
    PollPlan plan = plan_poll(e, timeout_ns);
    Nanos now = plan.start;
    int rounds = 0;
    bool look = plan.look_first;
    for (;;) {
        bool read_directly = look && rounds_direct(&e->rounds);
        // A look at a driver's ring is no system call, and going the whole way each time keeps it in the
        // caches: with 8 looks in between a message took 100 ns longer from the frame to its event, with 32
        // twice that.
        const bool spins = now + spin_slack < plan.spin_until && timeout_ns != 0;
        int tries = spins && e->transport.driver == nullptr ? spin_tries : 1;
        bool moved = read_directly ? read_round(e, tries) : asking_round(e, !look, now, plan.until);
        size_t filled = app_collect(&e->app, events, cap);
        if (filled != 0) return filled;
        // Bytes given back without an event are free at once: this poll may wait for what needs their room.
        if (e->app.events.head != e->app.events.released_head) app_release(&e->app);
        if (disturbed(e)) {
            if (e->doorbell.load(std::memory_order_acquire) != 0) engine_drain_senders(e);
            filled = engine_take_wakeup(e, events);
            if (filled != 0) return filled;
        }
        if (e->senders_waiting && moved) engine_drain_senders(e);
        now = e->clock.monotonic(e->clock.ticks());
        if (timeout_ns == 0 && (!moved || ++rounds == settle_rounds)) return 0;
        if (timeout_ns > 0 && now >= plan.until) return 0;
        look = timeout_ns == 0 || moved || now < plan.spin_until || transport_has_silent_input(&e->transport);
        if (look && !moved && !read_directly) cpu_relax();
    }
}

int engine_poll(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns) {
    if (__builtin_expect(e->worker != nullptr, 0)) return remote_poll(e, events, cap, timeout_ns);
    uint64_t changes = e->transport.changes;
    uint64_t allocations = allocation_count();
    begin_poll(e);
    size_t filled = engine_take_wakeup(e, events);
    bool backlog = e->app.events.ready() >= cap - filled && e->backlog_polls < backlog_polls_max;
    if (backlog && filled < cap) {
        e->backlog_polls++;
        if (app_under_pressure(&e->app)) app_conflate(&e->app);
        filled += app_collect(&e->app, events + filled, cap - filled);
    } else if (filled < cap) {
        e->backlog_polls = 0;
        filled += run_until_event(e, events + filled, cap - filled, filled != 0 ? 0 : timeout_ns);
    }
    // What waited for OPEN can leave now; a host that sleeps on the descriptor would not poll again for it.
    if (e->fd_used && e->senders_waiting && filled != 0) engine_drain_senders(e);
    if (e->fd_used) engine_prepare_fd(e);
    if (e->transport.changes == changes) e->allocations += allocation_count() - allocations;
    return static_cast<int>(filled);
}

} // namespace wx
