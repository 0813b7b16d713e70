// SPDX-License-Identifier: MIT
// The inline placement: poll runs transport, ws and app in turn in the caller's thread, and waits as the
// option says. With few connections it reads the sockets without asking the poller, which saves a system call
// per message; with many it asks first. Never touches a word that another thread writes, but for those by
// which it is woken.
#include "visible.h"
#include <sched.h>

namespace wx {

constexpr uint32_t backlog_polls_max =
    8;                             // polls served from the backlog before the network is looked at again
constexpr Nanos spin_slack = 5000; // not in the last microseconds of a short spin
constexpr int settle_rounds = 16;  // progress without events that one poll(0) follows

// ---- one round of the stages ----

static inline void end_round(Engine *e) {
    // With conflate, what is old makes way and the network is read on, until the caller can keep up again.
    for (int i = 0; i < settle_rounds && app_under_pressure(&e->app) && app_conflate(&e->app); i++) {
        rounds_run_ws(&e->rounds);
        transport_step(&e->stages.transport, e->clock.ticks(), nullptr, 0);
        rounds_run_ws(&e->rounds);
    }
}

// ---- what the caller asks ----

static void inline_flush(Engine *e, AppConnection *c) {
    if (c != nullptr)
        transport_flush(&e->stages.transport, &e->stages.transport.connections[app_index(&e->app, c)]);
    for (size_t i = 0; i < e->app.live_count && c == nullptr; i++)
        transport_flush(&e->stages.transport, &e->stages.transport.connections[e->app.live[i]]);
    transport_send(&e->stages.transport);
}

static bool inline_busy(Engine *e) {
    return e->app.events.ready() != 0 || e->stages.ws.metadata.ready() != 0 ||
           e->stages.transport.commands.ready() != 0 || e->stages.transport.control.ready() != 0 ||
           transport_has_silent_input(&e->stages.transport) || engine_disturbed(e);
}

// A connection that is out of the poller goes on with what the next release gives back.
static bool inline_wants_room(const Engine *e) {
    return e->stages.transport.stalled_count != 0 || e->stages.ws.blocked_count != 0;
}

static Nanos inline_deadline(const Engine *e) {
    bool commands_wait = e->app.commands.tail != e->stages.transport.commands.head;
    if (commands_wait || e->corked || e->app.events.tail_seen != e->app.events.head) return 0;
    return transport_deadline(&e->stages.transport);
}

static void inline_before_sleep(Engine *e) {
    if (e->stages.transport.unpolled) transport_rejoin_poller(&e->stages.transport);
}

static uint64_t inline_changes(const Engine *e) { return stages_changes(&e->stages); }

static uint64_t inline_allocations(const Engine *) { return 0; }

static bool inline_seat(Engine *e, uint32_t *index) {
    size_t limit = static_cast<size_t>(e->settings->options->integer(Option::connections_max));
    for (*index = 0; *index < limit; ++*index)
        if (e->app.connections[*index].id == 0) return true;
    return false;
}

static Connection *inline_blank(Engine *e, uint32_t index) { return &e->stages.transport.connections[index]; }

static int inline_attach(Engine *e, Connection *c, ErrorText *) {
    stages_attach(&e->stages, c);
    return WSXDP_OK;
}

static void inline_retire(Engine *e, uint32_t index, const ConnectionArea &area, Settings *settings) {
    ConnectionArea mapped = area;
    engine_drop(e, index, &mapped, settings);
}

static void inline_publish(Engine *e, uint32_t index) { rounds_publish(&e->rounds, index); }

static int inline_info(Engine *e, uint32_t index, const char *what, Writer *out, bool *known) {
    *known = rounds_info(&e->rounds, index, what, out);
    return WSXDP_OK;
}

// ---- waiting ----

// A round without asking the poller.
static inline bool read_round(Engine *e, int tries) {
    const bool moved = rounds_read(&e->rounds, tries, never_sleeps(e->rounds.wait) && !e->fd_used);
    end_round(e);
    return moved;
}

// A round with what the poller says, which is slept for if `sleep`.
static bool asking_round(Engine *e, bool sleep, Nanos now, Nanos until) {
    if (sleep && e->visible != nullptr) visible_sleeps(e);
    const bool moved = rounds_ask(&e->rounds, sleep, now, visible_until(e, until), e->fd_used,
                                  [e] { return engine_disturbed(e); });
    end_round(e);
    return moved;
}

struct PollPlan {
    Nanos start;
    Nanos until;      // of the caller's timeout
    Nanos spin_until; // after this, sleep
    Nanos yield_from; // after this, let others run between any two looks
    bool look_first;  // try without sleeping before the first sleep
};

static inline PollPlan plan_poll(Engine *e, int64_t timeout_ns) {
    PollPlan plan;
    plan.start = e->clock.monotonic(e->clock.ticks());
    plan.until = timeout_ns < 0 || timeout_ns > never - plan.start ? never : plan.start + timeout_ns;
    plan.spin_until = never_sleeps(e->rounds.wait) ? never : plan.start;
    plan.yield_from = e->rounds.wait == Wait::yield ? plan.start + e->rounds.spin_ns : never;
    if (e->rounds.wait == Wait::adaptive) plan.spin_until += e->rounds.spin_ns;
    plan.look_first = e->rounds.wait != Wait::sleep || timeout_ns == 0 || rounds_likely_more(&e->rounds) ||
                      inline_busy(e) || inline_wants_room(e);
    return plan;
}

static size_t run_until_event(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns) {
    PollPlan plan = plan_poll(e, timeout_ns);
    Nanos now = plan.start;
    if (e->visible != nullptr) visible_round(e, now, false);
    int rounds = 0;
    bool look = plan.look_first;
    for (;;) {
        bool read_directly = look && rounds_direct(&e->rounds);
        const bool spins = now + spin_slack < plan.spin_until && timeout_ns != 0;
        int tries = rounds_tries(&e->rounds, spins);
        bool moved = read_directly ? read_round(e, tries) : asking_round(e, !look, now, plan.until);
        size_t filled = app_collect(&e->app, events, cap);
        if (filled != 0) return filled;
        // Bytes given back without an event are free at once: this poll may wait for what needs their room.
        if (e->app.events.head != e->app.events.released_head) app_release(&e->app);
        if (engine_disturbed(e)) {
            if (e->doorbell.load(std::memory_order_acquire) != 0) engine_drain_senders(e);
            filled = engine_take_wakeup(e, events);
            if (filled != 0) return filled;
        }
        if (e->senders_waiting && moved) engine_drain_senders(e);
        now = e->clock.monotonic(e->clock.ticks());
        if (e->visible != nullptr) visible_round(e, now, moved);
        if (timeout_ns == 0 && (!moved || ++rounds == settle_rounds)) return 0;
        if (timeout_ns > 0 && now >= plan.until) return 0;
        look = timeout_ns == 0 || moved || now < plan.spin_until ||
               transport_has_silent_input(&e->stages.transport);
        if (look && !moved && now >= plan.yield_from)
            sched_yield();
        else if (look && !moved && !read_directly)
            cpu_relax();
    }
}

static size_t inline_collect(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns) {
    if (e->app.events.look() < cap || e->backlog_polls == backlog_polls_max) {
        e->backlog_polls = 0;
        return run_until_event(e, events, cap, timeout_ns);
    }
    e->backlog_polls++;
    if (app_under_pressure(&e->app)) app_conflate(&e->app);
    return app_collect(&e->app, events, cap);
}

const Runner inline_runner = {inline_collect,  inline_flush,
                              nullptr,         nullptr,
                              inline_busy,     inline_wants_room,
                              inline_deadline, inline_before_sleep,
                              inline_changes,  inline_allocations,
                              inline_seat,     inline_blank,
                              inline_attach,   inline_retire,
                              nullptr,         inline_publish,
                              inline_info,     nullptr,
                              nullptr,         nullptr};

} // namespace wx
