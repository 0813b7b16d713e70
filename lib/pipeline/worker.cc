// SPDX-License-Identifier: MIT
// See worker.h. The worker does what a caller's poll does with inline placement, but for the app stage, and
// sleeps as the caller would. It starts before any connection and ends before anything it uses; only the
// region is shared. The worst case accepted is a caller that does not poll: everything fills up, nothing is
// lost, and the worker sleeps.
#include "worker.h"
#include "../base/alloc.h"
#include <errno.h>
#include <poll.h>
#include <string.h>

namespace wx {

// How soon a worker that spins, and so never asks its poller, finds that nobody is left to work for.
constexpr Nanos parent_look_interval = 10 * ns_per_ms;

// ---- between two rounds ----

static void answer(Worker *w) {
    Question *q = &w->words->question;
    char what[sizeof q->what];
    memcpy(what, q->what, sizeof what);
    what[sizeof what - 1] = 0;
    Writer out{ByteSpan(q->answer, sizeof q->answer)};
    q->known = 1;
    if (q->kind == Question::Kind::info)
        q->known = rounds_info(&w->rounds, q->index, what, &out);
    else
        rounds_publish(&w->rounds, q->index);
    q->size = static_cast<uint32_t>(out.size());
    q->state.store(Question::State::answered, std::memory_order_release);
}

// What was asked of a connection before it left lies in the ring before the seat says so.
static void let_go(Worker *w) {
    Transport *t = &w->stages->transport;
    w->words->leave_asked.exchange(0, std::memory_order_acq_rel);
    transport_step(t, w->clock.ticks(), nullptr, 0);
    for (uint32_t i = 0; i < t->connection_limit; i++) {
        if (w->seats[i].load(std::memory_order_acquire) != Seat::leaving) continue;
        stages_detach(w->stages, i);
        if (w->left != nullptr) w->left(w->context, i);
        w->seats[i].store(Seat::left, std::memory_order_release);
    }
}

// Half of an outbox is free, which is when the app tells of it.
static bool has_room(const Transport *t) {
    for (size_t i = 0; i < t->live_count; i++) {
        const Connection *c = &t->connections[t->live[i]];
        const uint64_t tail = c->area.words->outbox.tail.load(std::memory_order_acquire);
        if (tail - c->outbox.head <= c->outbox.capacity / 2) return true;
    }
    return false;
}

// The app sleeps and there is something for it: events, or room that it was refused.
static void tell_app(Worker *w) {
    const uint64_t tail = w->stages->ws.events.published_tail;
    const bool waits = w->words->waits_for_room.load(std::memory_order_acquire) != 0;
    const bool room = waits && has_room(&w->stages->transport);
    if (tail == w->events_told && !room) return;
    w->events_told = tail;
    if (room) w->words->waits_for_room.store(0, std::memory_order_relaxed); // once
    wake(&w->words->app_asleep, w->app_bell);
}

static bool asked(const Worker *w) {
    return w->words->stop.load(std::memory_order_acquire) != 0 ||
           w->words->leave_asked.load(std::memory_order_acquire) != 0 ||
           w->words->question.state.load(std::memory_order_acquire) == Question::State::asked;
}

// Asked when another thread of this process can know that we lie down.
static bool stay_awake(Worker *w) {
    Transport *t = &w->stages->transport;
    w->words->asleep.exchange(1, std::memory_order_seq_cst); // before the look; pairs with wake
    if (asked(w) || t->commands.ready() != 0 || w->stages->ws.metadata.ready() != 0 ||
        t->control.ready() != 0 || transport_has_silent_input(t))
        return true;
    if (t->stalled_count == 0 && w->stages->ws.blocked_count == 0) return false;
    // Room that was given back before this is found by one more round; who gives some after it, wakes us. A
    // host that waits on the descriptor gives it back when it polls.
    if (w->words->wants_room.exchange(1, std::memory_order_seq_cst) != 0) return false;
    wake(&w->words->app_asleep, w->app_bell);
    return true;
}

static bool round(Worker *w, bool sleeps) {
    Rounds *r = &w->rounds;
    const bool spins = r->wait == Wait::spin;
    if (!sleeps && rounds_direct(r)) return rounds_read(r, rounds_tries(r, spins), spins);
    const bool moved = rounds_ask(r, sleeps, r->transport->now, never, false, [w] { return stay_awake(w); });
    if (sleeps) w->words->asleep.store(0, std::memory_order_relaxed);
    return moved;
}

static bool parent_gone(Worker *w, Nanos now) {
    if (w->poller.ended) return true;
    if (w->parent < 0 || now - w->parent_looked < parent_look_interval) return false;
    w->parent_looked = now;
    pollfd look = {w->parent, POLLIN, 0};
    return poll(&look, 1, 0) > 0;
}

void worker_run(Worker *w) {
    Transport *t = &w->stages->transport;
    WaitNext next = WaitNext::step;
    while (w->words->stop.load(std::memory_order_acquire) == 0 && !parent_gone(w, t->now)) {
        if (w->words->question.state.load(std::memory_order_acquire) == Question::State::asked) answer(w);
        if (w->words->leave_asked.load(std::memory_order_acquire) != 0) let_go(w);
        const uint64_t changes = t->changes, before = allocation_count();
        const bool moved = round(w, next == WaitNext::sleep);
        tell_app(w);
        if (t->changes == changes && allocation_count() != before)
            w->words->allocations.fetch_add(allocation_count() - before, std::memory_order_relaxed);
        next = w->waiter.after(moved, t->now, transport_deadline(t));
        if (next == WaitNext::relax) cpu_relax();
    }
}

// ---- open and close ----

int worker_open(Worker *w, const Options &o, Region *region, int bell, ErrorText *error) {
    SharedWords *shared = reinterpret_cast<SharedWords *>(region->base + region->layout.shared);
    w->words = &shared->worker;
    w->seats = shared->seats;
    system_clock_open(&w->clock);
    int status = poller_open(&w->poller, static_cast<PollerKind>(o.integer(Option::poller)), error);
    if (status < 0) return status;
    if (int cause = poller_add_bell(&w->poller, bell)) return poller_explain(&w->poller, cause, error);
    w->rounds.transport = &w->stages->transport;
    w->rounds.ws = &w->stages->ws;
    w->rounds.poller = &w->poller;
    w->rounds.clock = &w->clock;
    w->rounds.wait = static_cast<Wait>(o.integer(Option::wait));
    w->rounds.spin_ns = o.integer(Option::wait_spin_ns);
    WaitPlan plan;
    plan.mode = w->rounds.wait == Wait::spin ? WaitMode::spin : WaitMode::adaptive;
    plan.spin_ns = w->rounds.wait == Wait::adaptive ? w->rounds.spin_ns : 0;
    w->waiter.open(plan, &w->words->counters, w->clock.monotonic(w->clock.ticks()));
    return WSXDP_OK;
}

void worker_close(Worker *w) { poller_close(&w->poller); }

// Slower is better than not at all, and the caller hears of it.
void worker_pin_refused(Worker *w, int cpu, int cause) {
    ErrorText *notice = &w->stages->transport.notice;
    notice->begin(WSXDP_E_THREAD_START, cause).add("placement: processor ").number(cpu);
    notice->add(" cannot be used by this process (see nproc and taskset -p); its stages run unpinned");
}

} // namespace wx
