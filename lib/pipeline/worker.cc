// SPDX-License-Identifier: MIT
// See worker.h. The thread does what a caller's poll does with inline placement, but for the app stage, and
// sleeps as the caller would. It starts before any connection and ends before anything it uses; in between
// only the rings, the seats and the question are shared. The worst case accepted is a caller that does not
// poll: everything fills up, nothing is lost, and the worker sleeps.
#include "worker.h"
#include "../base/alloc.h"
#include "published.h"
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>

namespace wx {

// ---- between two rounds ----

static void answer(Worker *w) {
    Question *q = &w->question;
    Writer out{ByteSpan(q->answer, sizeof q->answer)};
    q->known = true;
    if (q->kind == Question::Kind::info)
        q->known = rounds_info(&w->rounds, q->index, q->what, &out);
    else
        rounds_publish(&w->rounds, q->index);
    q->size = out.size();
    q->state.store(Question::State::answered, std::memory_order_release);
}

// What was asked of a connection before it left lies in the ring before the seat says so.
static void let_go(Worker *w) {
    Transport *t = w->rounds.transport;
    w->leave_asked.exchange(0, std::memory_order_acq_rel);
    transport_step(t, w->clock.ticks(), nullptr, 0);
    for (uint32_t i = 0; i < t->connection_limit; i++) {
        if (w->seats[i].load(std::memory_order_acquire) != Seat::leaving) continue;
        ws_detach(w->rounds.ws, i);
        transport_retire(t, &t->connections[i]);
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
    const uint64_t tail = w->rounds.ws->events.published_tail;
    const bool waits = w->waits_for_room.load(std::memory_order_acquire) != 0;
    const bool room = waits && has_room(w->rounds.transport);
    if (tail == w->events_told && !room) return;
    w->events_told = tail;
    if (room) w->waits_for_room.store(0, std::memory_order_relaxed); // once
    // The events before the look at its sleep; pairs with the exchange before the sleeper's last look.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    rounds_wake(w->app);
}

static bool asked(const Worker *w) {
    return w->stop.load(std::memory_order_acquire) != 0 ||
           w->leave_asked.load(std::memory_order_acquire) != 0 ||
           w->question.state.load(std::memory_order_acquire) == Question::State::asked;
}

// Asked when the sleep has been announced.
static bool stay_awake(Worker *w) {
    Transport *t = w->rounds.transport;
    if (asked(w) || t->commands.ready() != 0 || w->rounds.ws->metadata.ready() != 0 ||
        t->control.ready() != 0 || transport_has_silent_input(t))
        return true;
    if (t->stalled_count == 0 && w->rounds.ws->blocked_count == 0) return false;
    // Room that was given back before this is found by one more round; who gives some after it, wakes us. A
    // host that waits on the descriptor gives it back when it polls.
    if (w->wants_room.exchange(1, std::memory_order_seq_cst) != 0) return false;
    rounds_wake(w->app);
    return true;
}

static bool round(Worker *w, bool sleeps) {
    Rounds *r = &w->rounds;
    const bool spins = r->wait == Wait::spin;
    if (!sleeps && rounds_direct(r)) return rounds_read(r, rounds_tries(r, spins), spins);
    return rounds_ask(r, sleeps, r->transport->now, never, false, [w] { return stay_awake(w); });
}

static void *run(void *context) {
    Worker *w = static_cast<Worker *>(context);
    Transport *t = w->rounds.transport;
    WaitNext next = WaitNext::step;
    while (w->stop.load(std::memory_order_acquire) == 0) {
        if (w->question.state.load(std::memory_order_acquire) == Question::State::asked) answer(w);
        if (w->leave_asked.load(std::memory_order_acquire) != 0) let_go(w);
        const uint64_t changes = t->changes, before = allocation_count();
        const bool moved = round(w, next == WaitNext::sleep);
        tell_app(w);
        if (t->changes == changes && allocation_count() != before)
            w->allocations.fetch_add(allocation_count() - before, std::memory_order_relaxed);
        next = w->waiter.after(moved, t->now, transport_deadline(t));
        if (next == WaitNext::relax) cpu_relax();
    }
    return nullptr;
}

// ---- open and close ----

int worker_open(Worker *w, PollerKind poller, size_t connections, ErrorText *error) {
    system_clock_open(&w->clock);
    int status = poller_open(&w->poller, poller, error);
    if (status < 0) return status;
    w->seats = static_cast<std::atomic<Seat> *>(allocate(connections * sizeof(std::atomic<Seat>)));
    w->leaving = static_cast<Leaving *>(allocate(connections * sizeof(Leaving)));
    if (w->seats == nullptr || w->leaving == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    w->rounds.poller = &w->poller;
    w->rounds.clock = &w->clock;
    WaitPlan plan;
    plan.mode = w->rounds.wait == Wait::spin ? WaitMode::spin : WaitMode::adaptive;
    plan.spin_ns = w->rounds.wait == Wait::adaptive ? w->rounds.spin_ns : 0;
    w->waiter.open(plan, &w->counters, w->clock.monotonic(w->clock.ticks()));
    return WSXDP_OK;
}

// Signals are the host program's affair and go to its own threads; its own mask is never touched.
static int start(Worker *w, int cpu) {
    pthread_attr_t attributes;
    int cause = pthread_attr_init(&attributes);
    if (cause != 0) return cause;
    if (cpu >= 0) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(static_cast<size_t>(cpu), &set);
        cause = pthread_attr_setaffinity_np(&attributes, sizeof set, &set);
    }
    sigset_t all;
    sigfillset(&all);
    if (cause == 0) cause = pthread_attr_setsigmask_np(&attributes, &all);
    if (cause == 0) cause = pthread_create(&w->thread, &attributes, run, w);
    pthread_attr_destroy(&attributes);
    return cause;
}

int worker_start(Worker *w, ErrorText *error) {
    int cause = start(w, w->place.cpu);
    if (cause == EINVAL && w->place.cpu >= 0) {
        // Slower is better than not at all, and the caller hears of it.
        ErrorText *notice = &w->rounds.transport->notice;
        notice->begin(WSXDP_E_THREAD_START, cause).add("placement: processor ").number(w->place.cpu);
        notice->add(" cannot be used by this process (see nproc and taskset -p); its stages run unpinned");
        cause = start(w, -1);
    }
    w->running = cause == 0;
    if (w->running) return WSXDP_OK;
    error->begin(WSXDP_E_THREAD_START, cause).add("placement: starting a thread failed; raise the limit ");
    error->add("(ulimit -u): ").errno_name(cause);
    return WSXDP_E_THREAD_START;
}

void worker_stop(Worker *w) {
    if (!w->running) return;
    w->stop.store(1, std::memory_order_seq_cst);
    rounds_wake(&w->rounds);
    pthread_join(w->thread, nullptr);
    w->running = false;
}

void worker_close(Worker *w) {
    worker_stop(w);
    poller_close(&w->poller);
    deallocate(w->seats);
    deallocate(w->leaving);
    w->seats = nullptr;
    w->leaving = nullptr;
}

// ---- the caller's side ----

void worker_ring(Worker *w) {
    // What was published before, before the look at the sleep; pairs with the exchange in rounds_ask.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    rounds_wake(&w->rounds);
}

void worker_room(Worker *w) {
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (w->wants_room.load(std::memory_order_relaxed) == 0) return;
    w->wants_room.exchange(0, std::memory_order_seq_cst);
    rounds_wake(&w->rounds);
}

void worker_leave(Worker *w, uint32_t index) {
    w->seats[index].store(Seat::leaving, std::memory_order_release);
    w->leave_asked.exchange(1, std::memory_order_seq_cst);
    rounds_wake(&w->rounds);
}

bool worker_await_leaving(const Worker *w, uint32_t index) {
    const Nanos end = monotonic_ns() + question_patience;
    while (w->seats[index].load(std::memory_order_acquire) == Seat::leaving) {
        if (monotonic_ns() >= end) return false;
        sched_yield();
    }
    return true;
}

bool worker_ask(Worker *w, Question::Kind kind, uint32_t index, const char *what) {
    Question *q = &w->question;
    // One that was given up and answered since.
    if (q->state.load(std::memory_order_acquire) == Question::State::asked) return false;
    q->kind = kind;
    q->index = index;
    // A copy: who has given up waiting may be gone when it is read.
    const size_t size = strlen(what) < sizeof q->what ? strlen(what) : sizeof q->what - 1;
    memcpy(q->what, what, size);
    q->what[size] = 0;
    q->state.store(Question::State::asked, std::memory_order_seq_cst);
    rounds_wake(&w->rounds);
    const Nanos end = monotonic_ns() + question_patience;
    while (q->state.load(std::memory_order_acquire) != Question::State::answered) {
        if (monotonic_ns() >= end) return false;
        sched_yield();
    }
    q->state.store(Question::State::none, std::memory_order_relaxed);
    return true;
}

} // namespace wx
