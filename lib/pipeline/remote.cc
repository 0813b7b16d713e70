// SPDX-License-Identifier: MIT
// The caller's side when transport and ws run elsewhere: poll takes what is in the event ring and waits for
// more; what is queued is announced by a command. The wait ends as with inline placement: by the poller,
// which the worker signals when somebody sleeps on it. A connection's index is used again only when the
// worker has let go of it. The worst case accepted is a worker that does not come round within
// question_patience: facts are then those told before.
#include "remote.h"
#include "../base/alloc.h"
#include "visible.h"
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

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

void remote_told(Engine *e) { e->remote->transport->ringer.ring(); }

void remote_ring_all(Engine *e) {
    for (size_t i = 0; i < e->remote->placement.count; i++) e->remote->places[i].ringer.ring();
}

void remote_released(Engine *e) {
    for (size_t i = 0; i < e->remote->placement.count; i++)
        give_room(e->remote->places[i].words, &e->remote->places[i].ringer);
}

bool remote_busy(Engine *e) {
    return e->app.events.ready() != 0 || engine_disturbed(e) || app_writable(&e->app);
}

bool remote_wants_room(const Engine *e) {
    bool wanted = false;
    for (size_t i = 0; i < e->remote->placement.count; i++)
        wanted |= e->remote->places[i].words->wants_room.load(std::memory_order_acquire) != 0;
    return wanted;
}

Nanos remote_deadline(const Engine *e) {
    if (e->corked || e->app.events.tail_seen != e->app.events.head) return 0;
    return e->runner->due != nullptr ? e->runner->due(e) : never;
}

// Before the look at the outboxes: what becomes free after it is told.
static void expect_room(Engine *e) {
    const uint32_t waits = e->app.writable_waiters != 0;
    std::atomic<uint32_t> *word = &e->remote->transport->words->waits_for_room;
    if (word->load(std::memory_order_relaxed) != waits) word->exchange(waits, std::memory_order_seq_cst);
}

// Whether it may lie down at all.
static bool announce(Engine *e) {
    bool may = true;
    for (size_t i = 0; i < e->remote->placement.count; i++) may &= e->remote->places[i].sleeper.announce();
    return may;
}

void remote_before_sleep(Engine *e) {
    expect_room(e);
    if (!announce(e)) poller_signal(&e->poller);
}

uint64_t remote_changes(const Engine *e) { return e->app.changes; }

uint64_t remote_allocations(const Engine *e) {
    uint64_t all = 0;
    for (size_t i = 0; i < e->remote->placement.count; i++)
        all += e->remote->places[i].words->allocations.load(std::memory_order_relaxed);
    return all;
}

// ---- seats ----

static bool all_left(const Remote *r, uint32_t index) {
    for (size_t i = 0; i < r->placement.count; i++)
        if (r->places[i].seats[index].load(std::memory_order_acquire) != Seat::left) return false;
    return true;
}

static void set_seats(Remote *r, uint32_t index, Seat seat) {
    for (size_t i = 0; i < r->placement.count; i++)
        r->places[i].seats[index].store(seat, std::memory_order_release);
}

void remote_seat_taken(Engine *e, uint32_t index) { set_seats(e->remote, index, Seat::taken); }

static void reap(Engine *e) {
    Remote *r = e->remote;
    for (uint32_t i = 0; i < e->app.connection_limit && r->leaving_count != 0; i++) {
        if (r->leaving[i].settings == nullptr || !all_left(r, i)) continue;
        region_unmap_connection(&e->region, i, &r->leaving[i].area);
        settings_drop(r->leaving[i].settings);
        r->leaving[i] = Leaving();
        r->leaving_count--;
        set_seats(r, i, Seat::free);
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
    while (!all_left(r, index)) {
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
    set_seats(e->remote, index, Seat::leaving);
    for (size_t i = 0; i < e->remote->placement.count; i++)
        e->remote->places[i].words->leave_asked.exchange(1, std::memory_order_seq_cst);
    remote_ring_all(e);
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

void remote_open_bells(Engine *e) {
    const BellOrder order = bell_order(e->remote->reach);
    for (size_t i = 0; i < e->remote->placement.count; i++) {
        RemotePlace *place = &e->remote->places[i];
        place->sleeper.open(&place->words->app_bell, order, &place->words->app_counters);
        place->ringer.open(&place->words->bell, e->remote->reach, &place->words->app_counters);
        place->ringer.fd = e->remote->bells[i];
    }
}

int remote_open(Engine *e, const Placement &placement, BellReach reach, ErrorText *error) {
    if (int cause = poller_add_bell(&e->poller, -1)) return poller_explain(&e->poller, cause, error);
    Remote *r = e->remote = allocate_object<Remote>();
    if (r != nullptr) {
        for (int &bell : r->bells) bell = -1;
        r->leaving = allocate_array<Leaving>(e->region.sizes.connections);
    }
    if (r == nullptr || r->leaving == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    r->placement = placement;
    r->reach = reach;
    for (size_t i = 0; i < placement.count; i++) {
        r->places[i].words = shared_place(e->region, i);
        r->places[i].seats = shared_seats(e->region, i);
        const uint32_t stages = placement.places[i].stages;
        if ((stages & stage_lead) != 0) r->transport = &r->places[i];
        if (i == placement_nic(placement)) r->nic = &r->places[i];
        r->bells[i] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        if (r->bells[i] >= 0) continue;
        const int cause = errno;
        error->begin(cause == EMFILE || cause == ENFILE ? WSXDP_E_DESCRIPTORS : WSXDP_E_SYSTEM, cause);
        error->add("placement: eventfd: ").errno_name(cause).add("; raise the limit (ulimit -n)");
        return error->code;
    }
    remote_open_bells(e);
    return WSXDP_OK;
}

void remote_close(Engine *e) {
    if (e->remote == nullptr) return;
    for (int bell : e->remote->bells)
        if (bell >= 0) close(bell);
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
    until = visible_until(e, until);
    // As a worker does: who can write over the announcement is another process.
    if (e->remote->reach == BellReach::machine && until - now > bell_sleep_max) until = now + bell_sleep_max;
    if (e->visible != nullptr) visible_sleeps(e);
    PollerEvent none[1]; // nothing but our own descriptors is in this poller
    Nanos span = until == never ? -1 : (until > now ? until - now : 0);
    e->rounds.sleeping.exchange(1, std::memory_order_seq_cst); // before the last look; pairs with rounds_wake
    expect_room(e);
    if (!announce(e) || remote_busy(e)) span = 0;
    (void)poller_wait(&e->poller, none, 1, span);
    if (!e->fd_used) e->rounds.sleeping.store(0, std::memory_order_relaxed);
    for (size_t i = 0; i < e->remote->placement.count; i++) e->remote->places[i].sleeper.rise();
    poller_clear(&e->poller);
}

// What was found while the workers were made.
[[gnu::cold]] static size_t tell_notice(Engine *e, wsxdp_event *event) {
    Remote *r = e->remote;
    if (e->app.live_count == 0) return 0;
    memset(event, 0, sizeof *event);
    event->kind = WSXDP_EVENT_NOTICE;
    event->conn = e->app.connections[e->app.live[0]].id;
    event->error = r->notice.code;
    event->data = reinterpret_cast<const uint8_t *>(r->notice.text);
    event->len = r->notice.size;
    r->notice.code = 0;
    return 1;
}

size_t remote_collect(Engine *e, wsxdp_event *events, size_t cap, int64_t timeout_ns) {
    if (e->remote->leaving_count != 0) reap(e);
    if (e->remote->notice.code != 0 && tell_notice(e, events) != 0) return 1;
    PollerEvent none[1];
    if (e->fd_used) (void)poller_wait(&e->poller, none, 1, 0); // the bell may have rung
    // Here and not only when nothing is there: who always finds something needs a true clock as well.
    Nanos now = e->clock.monotonic(rounds_begin(&e->rounds));
    if (e->visible != nullptr) visible_round(e, now, false);
    if (e->runner->watch != nullptr) e->runner->watch(e, now);
    const Nanos until = timeout_ns < 0 || timeout_ns > never - now ? never : now + timeout_ns;
    Nanos spin_until = now;
    if (never_sleeps(e->rounds.wait)) spin_until = never;
    const Nanos yield_from = e->rounds.wait == Wait::yield ? now + e->rounds.spin_ns : never;
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
        if (e->visible != nullptr) visible_round(e, now, false);
        if (e->runner->supervise != nullptr) filled = e->runner->supervise(e, now, events, cap);
        if (filled != 0 || now >= until) return filled;
        if (now >= yield_from)
            sched_yield();
        else if (now < spin_until)
            cpu_relax();
        else
            // A sender's message that found no room is tried again now and then: nothing tells of it.
            sleep_until(e, now, e->senders_waiting && now + ns_per_ms < until ? now + ns_per_ms : until);
    }
}

// ---- facts ----

// false: the worker does not answer.
static bool ask(RemotePlace *place, Question::Kind kind, uint32_t index, const char *what) {
    Question *q = &place->words->question;
    // One that was given up and answered since.
    if (q->state.load(std::memory_order_acquire) == Question::State::asked) return false;
    q->kind = kind;
    q->index = index;
    memset(q->what, 0, sizeof q->what);
    memcpy(q->what, what, strlen(what));
    q->state.store(Question::State::asked, std::memory_order_seq_cst);
    place->ringer.ring();
    const Nanos end = monotonic_ns() + question_patience;
    while (q->state.load(std::memory_order_acquire) != Question::State::answered) {
        if (monotonic_ns() >= end) return false;
        sched_yield();
    }
    q->state.store(Question::State::none, std::memory_order_relaxed);
    return true;
}

void remote_publish(Engine *e, uint32_t index) {
    constexpr uint32_t tell = stage_lead | stage_ws; // who else has nothing to tell
    for (size_t i = 0; i < e->remote->placement.count; i++)
        if ((e->remote->placement.places[i].stages & tell) != 0)
            (void)ask(&e->remote->places[i], Question::Kind::publish, index, "");
}

int remote_info(Engine *e, uint32_t index, const char *what, Writer *out, bool *known) {
    *known = false;
    const Question &q = e->remote->transport->words->question;
    if (strlen(what) >= sizeof q.what) return WSXDP_OK; // no fact has such a name
    // What the nic counts is among what transport tells.
    if (e->remote->nic != nullptr) (void)ask(e->remote->nic, Question::Kind::publish, index, "");
    if (!ask(e->remote->transport, Question::Kind::info, index, what)) {
        e->app.error.begin(WSXDP_E_AGAIN).add("what runs the stages does not answer; try again");
        return WSXDP_E_AGAIN;
    }
    *known = q.known != 0;
    const uint32_t size = q.size; // read once: it is the worker's to change
    out->bytes(ByteView(q.answer, size < sizeof q.answer ? size : sizeof q.answer));
    return WSXDP_OK;
}

} // namespace wx
