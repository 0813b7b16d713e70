// SPDX-License-Identifier: MIT
// The caller's side when transport and ws run elsewhere: poll takes what is in the event ring and waits for
// more; what is queued is announced by a command. The wait ends as with inline placement: by the poller,
// which the worker signals when somebody sleeps on it.
#include "../base/alloc.h"
#include "engine.h"

namespace wx {

static bool disturbed(const Engine *e) {
    return e->wake_asked.load(std::memory_order_acquire) != 0 ||
           e->doorbell.load(std::memory_order_acquire) != 0;
}

void remote_kick(Engine *e, AppConnection *c) {
    // One flush at a time for each connection: the ring always has room for it.
    if (c->area.words->flush_asked.exchange(1, std::memory_order_acq_rel) == 0) {
        CommandSlot *slot = e->app.commands.claim();
        if (slot == nullptr) {
            c->area.words->flush_asked.store(0, std::memory_order_release);
            return;
        }
        slot->index = app_index(&e->app, c);
        slot->kind = CommandSlot::flush;
        slot->size = 0;
        e->app.commands.publish();
    }
    worker_ring(e->worker);
}

// ---- seats ----

void remote_retire(Engine *e, uint32_t index, const ConnectionArea &area, Settings *settings) {
    e->leaving[index] = Leaving{area, settings};
    e->leaving_count++;
    worker_leave(e->worker, index);
}

void remote_reap(Engine *e) {
    for (uint32_t i = 0; i < e->app.connection_limit && e->leaving_count != 0; i++) {
        std::atomic<uint32_t> *seat = &e->worker->seats[i];
        if (seat->load(std::memory_order_acquire) != static_cast<uint32_t>(Seat::left)) continue;
        region_unmap_connection(&e->region, i, &e->leaving[i].area);
        settings_drop(e->leaving[i].settings);
        e->leaving[i] = Leaving();
        e->leaving_count--;
        seat->store(static_cast<uint32_t>(Seat::free), std::memory_order_relaxed);
    }
}

bool remote_make_room(Engine *e) {
    for (uint32_t i = 0; i < e->app.connection_limit && e->leaving_count != 0; i++) {
        if (e->leaving[i].settings == nullptr || !worker_await_leaving(e->worker, i)) continue;
        remote_reap(e);
        return true;
    }
    return false;
}

// ---- poll ----

// Before the look at the outboxes: what becomes free after it is told.
void remote_expects(Engine *e) {
    const uint32_t waits = e->app.writable_waiters != 0;
    if (e->worker->waits_for_room.load(std::memory_order_relaxed) != waits)
        e->worker->waits_for_room.exchange(waits, std::memory_order_seq_cst);
}

static size_t collect(Engine *e, wsxdp_event *events, size_t cap) {
    remote_expects(e);
    if (app_under_pressure(&e->app)) app_conflate(&e->app);
    size_t filled = app_collect(&e->app, events, cap);
    // Bytes given back without an event are free at once: what needs their room may be waited for.
    if (filled == 0 && e->app.events.head != e->app.events.released_head) {
        app_release(&e->app);
        worker_room(e->worker);
    }
    return filled;
}

static void sleep_until(Engine *e, Nanos now, Nanos until) {
    PollerEvent none[1]; // nothing but our own descriptors is in this poller
    Nanos span = until == never ? -1 : (until > now ? until - now : 0);
    e->rounds.sleeping.exchange(1, std::memory_order_seq_cst); // before the last look; pairs with rounds_wake
    if (e->app.events.look() != 0 || disturbed(e) || app_writable(&e->app)) span = 0;
    (void)poller_wait(&e->poller, none, 1, span);
    if (!e->fd_used) e->rounds.sleeping.store(0, std::memory_order_relaxed);
    poller_clear(&e->poller);
}

static size_t wait_for_event(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns) {
    // Here and not only when nothing is there: who always finds something needs a true clock as well.
    Nanos now = e->clock.monotonic(rounds_begin(&e->rounds));
    const Nanos until = timeout_ns < 0 || timeout_ns > never - now ? never : now + timeout_ns;
    Nanos spin_until = now;
    if (e->rounds.wait == Wait::spin) spin_until = never;
    if (e->rounds.wait == Wait::adaptive) spin_until += e->rounds.spin_ns;
    for (;;) {
        size_t filled = collect(e, events, cap);
        if (filled != 0) return filled;
        if (disturbed(e)) {
            if (e->doorbell.load(std::memory_order_acquire) != 0) engine_drain_senders(e);
            filled = engine_take_wakeup(e, events);
            if (filled != 0) return filled;
        }
        if (e->senders_waiting) engine_drain_senders(e);
        now = e->clock.monotonic(rounds_begin(&e->rounds));
        if (now >= until) return 0;
        if (now < spin_until)
            cpu_relax();
        else
            // A sender's message that found no room is tried again now and then: nothing tells of it.
            sleep_until(e, now, e->senders_waiting && now + ns_per_ms < until ? now + ns_per_ms : until);
    }
}

int remote_poll(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns) {
    engine_release(e);
    if (e->leaving_count != 0) remote_reap(e);
    poller_clear(&e->poller);
    if (e->doorbell.load(std::memory_order_acquire) != 0 || e->senders_waiting) engine_drain_senders(e);
    if (e->corked) engine_flush_corked(e);
    size_t filled = engine_take_wakeup(e, events);
    if (filled < cap)
        filled += wait_for_event(e, events + filled, cap - filled, filled != 0 ? 0 : timeout_ns);
    if (e->fd_used && e->senders_waiting && filled != 0) engine_drain_senders(e);
    if (e->fd_used) engine_prepare_fd(e);
    return static_cast<int>(filled);
}

// ---- questions ----

int remote_info(Engine *e, Question::Kind kind, uint32_t index, const char *what, Writer *out, bool *known) {
    *known = false;
    if (strlen(what) >= sizeof e->worker->question.what) return WSXDP_OK; // no fact has such a name
    if (!worker_ask(e->worker, kind, index, what)) {
        e->app.error.begin(WSXDP_E_AGAIN).add("the thread that runs the stages does not answer; try again");
        return WSXDP_E_AGAIN;
    }
    *known = e->worker->question.known;
    if (out != nullptr) out->bytes(ByteView(e->worker->question.answer, e->worker->question.size));
    return WSXDP_OK;
}

} // namespace wx
