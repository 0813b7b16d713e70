// SPDX-License-Identifier: MIT
// The caller's side when transport and ws run elsewhere: poll takes what is in the event ring and waits for
// more; what is queued is announced by a command. The wait ends as with inline placement: by the poller,
// which the worker signals when somebody sleeps on it. A connection's index is used again only when the
// worker has let go of it. The worst case accepted is a worker that does not come round within
// question_patience: facts are then those told before.
#include "remote.h"
#include "../base/alloc.h"
#include <sched.h>
#include <string.h>

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

void remote_flush(Engine *e, AppConnection *c) {
    const uint64_t before = e->app.commands.published_tail;
    if (c != nullptr) ask_flush(e, c);
    for (size_t i = 0; i < e->app.live_count && c == nullptr; i++)
        ask_flush(e, &e->app.connections[e->app.live[i]]);
    if (e->app.commands.published_tail != before) remote_told(e);
}

void remote_told(Engine *e) { wake(&e->remote->words->asleep, e->remote->bell); }

void remote_released(Engine *e) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    std::atomic<uint32_t> *wanted = &e->remote->words->wants_room;
    if (wanted->load(std::memory_order_relaxed) == 0) return;
    wanted->exchange(0, std::memory_order_seq_cst);
    remote_told(e);
}

bool remote_busy(Engine *e) {
    return e->app.events.ready() != 0 || engine_disturbed(e) || app_writable(&e->app);
}

bool remote_wants_room(const Engine *e) {
    return e->remote->words->wants_room.load(std::memory_order_acquire) != 0;
}

Nanos remote_deadline(const Engine *e) {
    if (e->corked || e->app.events.tail_seen != e->app.events.head) return 0;
    return e->runner->due != nullptr ? e->runner->due(e) : never;
}

// Before the look at the outboxes: what becomes free after it is told.
static void expect_room(Engine *e) {
    const uint32_t waits = e->app.writable_waiters != 0;
    if (e->remote->words->waits_for_room.load(std::memory_order_relaxed) != waits)
        e->remote->words->waits_for_room.exchange(waits, std::memory_order_seq_cst);
}

void remote_before_sleep(Engine *e) {
    expect_room(e);
    e->remote->words->app_asleep.exchange(1, std::memory_order_seq_cst); // pairs with wake
}

uint64_t remote_changes(const Engine *e) { return e->app.changes; }

uint64_t remote_allocations(const Engine *e) {
    return e->remote->words->allocations.load(std::memory_order_relaxed);
}

// ---- seats ----

static void reap(Engine *e) {
    Remote *w = e->remote;
    for (uint32_t i = 0; i < e->app.connection_limit && w->leaving_count != 0; i++) {
        if (w->leaving[i].settings == nullptr) continue;
        if (w->seats[i].load(std::memory_order_acquire) != Seat::left) continue;
        region_unmap_connection(&e->region, i, &w->leaving[i].area);
        settings_drop(w->leaving[i].settings);
        w->leaving[i] = Leaving();
        w->leaving_count--;
        w->seats[i].store(Seat::free, std::memory_order_relaxed);
    }
}

static bool free_seat(Engine *e, uint32_t *index) {
    if (e->remote->leaving_count != 0) reap(e);
    const size_t limit = static_cast<size_t>(e->settings->options->integer(Option::connections_max));
    for (uint32_t i = 0; i < limit; i++) {
        // Our own knowledge first: the word is the worker's to write, too.
        if (e->app.connections[i].id != 0 || e->remote->leaving[i].settings != nullptr) continue;
        *index = i;
        return true;
    }
    return false;
}

static bool await_left(const Remote *r, uint32_t index) {
    const Nanos end = monotonic_ns() + question_patience;
    while (r->seats[index].load(std::memory_order_acquire) != Seat::left) {
        if (monotonic_ns() >= end) return false;
        sched_yield();
    }
    return true;
}

// Where all are taken and some are being left, one of those will do.
bool remote_seat(Engine *e, uint32_t *index) {
    if (free_seat(e, index)) return true;
    for (uint32_t i = 0; i < e->app.connection_limit && e->remote->leaving_count != 0; i++) {
        if (e->remote->leaving[i].settings == nullptr || !await_left(e->remote, i)) continue;
        if (free_seat(e, index)) return true;
    }
    return false;
}

void remote_retire(Engine *e, uint32_t index, const ConnectionArea &area, Settings *settings) {
    e->remote->leaving[index] = Leaving{area, settings};
    e->remote->leaving_count++;
    e->remote->seats[index].store(Seat::leaving, std::memory_order_release);
    e->remote->words->leave_asked.exchange(1, std::memory_order_seq_cst);
    remote_told(e);
}

void remote_drop_leaving(Engine *e) {
    Remote *w = e->remote;
    for (uint32_t i = 0; w != nullptr && i < e->app.connection_limit && w->leaving_count != 0; i++) {
        if (w->leaving[i].settings == nullptr) continue;
        engine_drop(e, i, &w->leaving[i].area, w->leaving[i].settings);
        w->leaving[i] = Leaving();
        w->leaving_count--;
    }
}

int remote_open(Engine *e, ErrorText *error) {
    if (int cause = poller_add_bell(&e->poller, -1)) return poller_explain(&e->poller, cause, error);
    e->remote = allocate_object<Remote>();
    if (e->remote != nullptr) e->remote->leaving = allocate_array<Leaving>(e->region.sizes.connections);
    if (e->remote == nullptr || e->remote->leaving == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    SharedWords *shared = reinterpret_cast<SharedWords *>(e->region.base + e->region.layout.shared);
    e->remote->words = &shared->worker;
    e->remote->seats = shared->seats;
    return WSXDP_OK;
}

void remote_close(Engine *e) {
    if (e->remote == nullptr) return;
    deallocate(e->remote->leaving);
    deallocate(e->remote);
    e->remote = nullptr;
}

// ---- poll ----

static size_t collect_now(Engine *e, wsxdp_event *events, size_t cap) {
    expect_room(e);
    if (app_under_pressure(&e->app)) app_conflate(&e->app);
    size_t filled = app_collect(&e->app, events, cap);
    // Bytes given back without an event are free at once: what needs their room may be waited for.
    if (filled == 0 && e->app.events.head != e->app.events.released_head) {
        app_release(&e->app);
        remote_released(e);
    }
    return filled;
}

static void sleep_until(Engine *e, Nanos now, Nanos until) {
    const Nanos due = e->runner->due != nullptr ? e->runner->due(e) : never;
    if (due < until) until = due;
    PollerEvent none[1]; // nothing but our own descriptors is in this poller
    Nanos span = until == never ? -1 : (until > now ? until - now : 0);
    e->rounds.sleeping.exchange(1, std::memory_order_seq_cst); // before the last look; pairs with rounds_wake
    remote_before_sleep(e);
    if (remote_busy(e)) span = 0;
    (void)poller_wait(&e->poller, none, 1, span);
    if (!e->fd_used) e->rounds.sleeping.store(0, std::memory_order_relaxed);
    e->remote->words->app_asleep.store(0, std::memory_order_relaxed);
    poller_clear(&e->poller);
}

size_t remote_collect(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns) {
    if (e->remote->leaving_count != 0) reap(e);
    PollerEvent none[1];
    if (e->fd_used) (void)poller_wait(&e->poller, none, 1, 0); // the bell may have rung
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
        if (e->runner->supervise != nullptr) filled = e->runner->supervise(e, now, events, cap);
        if (filled != 0 || now >= until) return filled;
        if (now < spin_until)
            cpu_relax();
        else
            // A sender's message that found no room is tried again now and then: nothing tells of it.
            sleep_until(e, now, e->senders_waiting && now + ns_per_ms < until ? now + ns_per_ms : until);
    }
}

// ---- facts ----

// false: the worker does not answer.
static bool ask(Engine *e, Question::Kind kind, uint32_t index, const char *what) {
    Question *q = &e->remote->words->question;
    // One that was given up and answered since.
    if (q->state.load(std::memory_order_acquire) == Question::State::asked) return false;
    q->kind = kind;
    q->index = index;
    memset(q->what, 0, sizeof q->what);
    memcpy(q->what, what, strlen(what));
    q->state.store(Question::State::asked, std::memory_order_seq_cst);
    remote_told(e);
    const Nanos end = monotonic_ns() + question_patience;
    while (q->state.load(std::memory_order_acquire) != Question::State::answered) {
        if (monotonic_ns() >= end) return false;
        sched_yield();
    }
    q->state.store(Question::State::none, std::memory_order_relaxed);
    return true;
}

void remote_publish(Engine *e, uint32_t index) { (void)ask(e, Question::Kind::publish, index, ""); }

int remote_info(Engine *e, uint32_t index, const char *what, Writer *out, bool *known) {
    *known = false;
    const Question &q = e->remote->words->question;
    if (strlen(what) >= sizeof q.what) return WSXDP_OK; // no fact has such a name
    if (!ask(e, Question::Kind::info, index, what)) {
        e->app.error.begin(WSXDP_E_AGAIN).add("what runs the stages does not answer; try again");
        return WSXDP_E_AGAIN;
    }
    *known = q.known != 0;
    const uint32_t size = q.size; // read once: it is the worker's to change
    out->bytes(ByteView(q.answer, size < sizeof q.answer ? size : sizeof q.answer));
    return WSXDP_OK;
}

} // namespace wx
