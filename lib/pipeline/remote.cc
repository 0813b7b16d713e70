// SPDX-License-Identifier: MIT
// The caller's side when transport and ws run elsewhere: poll takes what is in the event ring and waits for
// more; what is queued is announced by a command. The wait ends as with inline placement: by the poller,
// which the worker signals when somebody sleeps on it. A connection's index is used again only when the
// worker has let go of it. The worst case accepted is a worker that does not come round within
// question_patience: facts are then those told before.
#include "engine.h"
#include "published.h"

namespace wx {

// ---- what the caller asks ----

static void ask_flush(Engine *e, AppConnection *c) {
    // One flush at a time for each connection: the ring always has room for it, and who asked has rung.
    if (c->area.words->flush_asked.exchange(1, std::memory_order_acq_rel) != 0) return;
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

static void remote_flush(Engine *e, AppConnection *c) {
    const uint64_t before = e->app.commands.published_tail;
    if (c != nullptr) ask_flush(e, c);
    for (size_t i = 0; i < e->app.live_count && c == nullptr; i++)
        ask_flush(e, &e->app.connections[e->app.live[i]]);
    if (e->app.commands.published_tail != before) worker_ring(e->worker);
}

static void remote_told(Engine *e) { worker_ring(e->worker); }

static void remote_released(Engine *e) { worker_room(e->worker); }

static bool remote_busy(Engine *e) {
    return e->app.events.ready() != 0 || engine_disturbed(e) || app_writable(&e->app);
}

static bool remote_wants_room(const Engine *e) {
    return e->worker->wants_room.load(std::memory_order_acquire) != 0;
}

static Nanos remote_deadline(const Engine *e) {
    return e->corked || e->app.events.tail_seen != e->app.events.head ? 0 : never;
}

// Before the look at the outboxes: what becomes free after it is told.
static void expect_room(Engine *e) {
    const uint32_t waits = e->app.writable_waiters != 0;
    if (e->worker->waits_for_room.load(std::memory_order_relaxed) != waits)
        e->worker->waits_for_room.exchange(waits, std::memory_order_seq_cst);
}

static uint64_t remote_changes(const Engine *e) { return e->app.changes; }

static uint64_t remote_allocations(const Engine *e) {
    return e->worker->allocations.load(std::memory_order_relaxed);
}

// ---- seats ----

static void reap(Engine *e) {
    Worker *w = e->worker;
    for (uint32_t i = 0; i < e->app.connection_limit && w->leaving_count != 0; i++) {
        if (w->seats[i].load(std::memory_order_acquire) != Seat::left) continue;
        region_unmap_connection(&e->region, i, &w->leaving[i].area);
        settings_drop(w->leaving[i].settings);
        w->leaving[i] = Leaving();
        w->leaving_count--;
        w->seats[i].store(Seat::free, std::memory_order_relaxed);
    }
}

static Connection *free_seat(Engine *e) {
    if (e->worker->leaving_count != 0) reap(e);
    const size_t limit = static_cast<size_t>(e->settings->options->integer(Option::connections_max));
    for (size_t i = 0; i < limit; i++) {
        if (e->worker->seats[i].load(std::memory_order_acquire) != Seat::free) continue;
        return &e->transport.connections[i];
    }
    return nullptr;
}

// Where all are taken and some are being left, one of those will do.
static Connection *remote_seat(Engine *e) {
    Connection *seat = free_seat(e);
    for (uint32_t i = 0; i < e->app.connection_limit && e->worker->leaving_count != 0 && seat == nullptr;
         i++) {
        if (e->worker->leaving[i].settings == nullptr || !worker_await_leaving(e->worker, i)) continue;
        seat = free_seat(e);
    }
    return seat;
}

static void remote_attached(Engine *e, uint32_t index) {
    e->worker->seats[index].store(Seat::taken, std::memory_order_relaxed);
}

static void remote_retire(Engine *e, uint32_t index, const ConnectionArea &area, Settings *settings) {
    e->worker->leaving[index] = Leaving{area, settings};
    e->worker->leaving_count++;
    worker_leave(e->worker, index);
}

// Whatever the thread had not let go of when it ended.
static void remote_stop(Engine *e) {
    Worker *w = e->worker;
    worker_stop(w);
    for (uint32_t i = 0; i < e->app.connection_limit && w->leaving_count != 0; i++) {
        if (w->leaving[i].settings == nullptr) continue;
        engine_drop(e, i, &w->leaving[i].area, w->leaving[i].settings);
        w->leaving[i] = Leaving();
        w->leaving_count--;
    }
}

// ---- poll ----

static size_t collect_now(Engine *e, wsxdp_event *events, size_t cap) {
    expect_room(e);
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
    if (remote_busy(e)) span = 0;
    (void)poller_wait(&e->poller, none, 1, span);
    if (!e->fd_used) e->rounds.sleeping.store(0, std::memory_order_relaxed);
    poller_clear(&e->poller);
}

static size_t remote_collect(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns) {
    if (e->worker->leaving_count != 0) reap(e);
    // Here and not only when nothing is there: who always finds something needs a true clock as well.
    Nanos now = e->clock.monotonic(rounds_begin(&e->rounds));
    const Nanos until = timeout_ns < 0 || timeout_ns > never - now ? never : now + timeout_ns;
    Nanos spin_until = now;
    if (e->rounds.wait == Wait::spin) spin_until = never;
    if (e->rounds.wait == Wait::adaptive) spin_until += e->rounds.spin_ns;
    for (;;) {
        size_t filled = collect_now(e, events, cap);
        if (filled != 0) return filled;
        if (engine_disturbed(e)) {
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

// ---- facts ----

static void remote_publish(Engine *e, uint32_t index) {
    (void)worker_ask(e->worker, Question::Kind::publish, index, "");
}

static int remote_info(Engine *e, uint32_t index, const char *what, Writer *out, bool *known) {
    *known = false;
    const Question &q = e->worker->question;
    if (strlen(what) >= sizeof q.what) return WSXDP_OK; // no fact has such a name
    if (!worker_ask(e->worker, Question::Kind::info, index, what)) {
        e->app.error.begin(WSXDP_E_AGAIN).add("the thread that runs the stages does not answer; try again");
        return WSXDP_E_AGAIN;
    }
    *known = q.known;
    out->bytes(ByteView(q.answer, q.size));
    return WSXDP_OK;
}

const Runner remote_runner = {remote_collect, remote_flush,       remote_told,     remote_released,
                              remote_busy,    remote_wants_room,  remote_deadline, expect_room,
                              remote_changes, remote_allocations, remote_seat,     remote_attached,
                              remote_retire,  remote_stop,        remote_publish,  remote_info};

} // namespace wx
