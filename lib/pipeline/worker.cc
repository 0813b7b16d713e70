// SPDX-License-Identifier: MIT
// See worker.h. The worker does what a caller's poll does with inline placement, but for the app stage and
// whatever else runs elsewhere, and sleeps as the caller would. It starts before any connection and ends
// before anything it uses; only the region is shared. The worst case accepted is a caller that does not poll:
// everything fills up, nothing is lost, and the worker sleeps.
#include "worker.h"
#include "../base/alloc.h"
#include "../ipc/passing.h"
#include <poll.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace wx {

// How soon a worker that spins, and so never asks its poller, finds that nobody is left to work for.
constexpr Nanos parent_look_interval = 10 * ns_per_ms;
// How soon it finds that its words were overwritten.
constexpr Nanos words_look_interval = ns_per_ms;
// Of a nic for its transport, once both were told to stop: less than they are given.
constexpr Nanos linger_limit = 200 * ns_per_ms;
constexpr size_t looks_at_once = 16; // connections; a thousand of them take a few looks

// ---- between two rounds ----

// rx and tx alone have nothing to tell: what they count, tls does.
static bool has_facts(const Worker *w) { return w->rounds.transport != nullptr || w->rounds.ws != nullptr; }

static void answer(Worker *w) {
    Question *q = &w->words->question;
    char what[sizeof q->what];
    memcpy(what, q->what, sizeof what);
    what[sizeof what - 1] = 0;
    Writer out{ByteSpan(q->answer, sizeof q->answer)};
    q->known = 1;
    // What the caller has heard of ws by now is in the ring to us: the answer is not older than that.
    if (w->rounds.transport != nullptr) transport_step(w->rounds.transport, w->clock.ticks(), nullptr, 0);
    if (q->kind == Question::Kind::info)
        q->known = rounds_info(&w->rounds, q->index, what, &out);
    else if (w->nic != nullptr)
        nic_stage_publish(w->nic);
    else if (has_facts(w))
        rounds_publish(&w->rounds, q->index);
    q->size = static_cast<uint32_t>(out.size());
    q->state.store(Question::State::answered, std::memory_order_release);
}

static bool has_request(const Worker *w) {
    return w->admit != nullptr && w->words->requests.load(std::memory_order_acquire) != w->admitted;
}

// What was asked of a connection before it left lies in the ring before the seat says so; so does the request
// for it, if this worker has not even come to that.
static void let_go(Worker *w) {
    w->words->leave_asked.exchange(0, std::memory_order_acq_rel);
    while (has_request(w) && w->words->stop.load(std::memory_order_acquire) == 0) w->admit(w->context);
    Rounds *r = &w->rounds;
    if (r->transport != nullptr) transport_step(r->transport, w->clock.ticks(), nullptr, 0);
    for (uint32_t i = 0; i < w->connection_limit; i++) {
        if (w->seats[i].load(std::memory_order_acquire) != Seat::leaving) continue;
        if (r->ws != nullptr) ws_detach(r->ws, i);
        if (r->transport != nullptr) transport_retire(r->transport, &r->transport->connections[i]);
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

// What rx and tx have told tls so far.
static uint64_t mail_to_tls(const Worker *w) {
    uint64_t told = 0;
    if (w->reader != nullptr) told += w->relay->mail[reader_to_tls].out.published_tail;
    if (w->writer != nullptr) told += w->relay->mail[writer_to_tls].out.published_tail;
    return told;
}

// Whoever waits for what the last round brought: the app for events or for room that it was refused, the
// other stage for what is in the rings to it or for room in that from it.
static void tell(Worker *w) {
    const Transport *t = w->rounds.transport;
    WsStage *ws = w->rounds.ws;
    bool app = false;
    if (t != nullptr && w->words->waits_for_room.load(std::memory_order_acquire) != 0 && has_room(t)) {
        w->words->waits_for_room.store(0, std::memory_order_relaxed); // once
        app = true;
    }
    if (ws != nullptr && ws->events.published_tail != w->app_told) {
        w->app_told = ws->events.published_tail;
        app = true;
    }
    if (app) w->app.ring();
    if (w->other.words == nullptr) return;
    const uint64_t told = t != nullptr    ? t->metadata.published_tail
                          : ws != nullptr ? ws->control.published_tail
                                          : w->other_told;
    const uint64_t mail = mail_to_tls(w);
    if (told != w->other_told || mail != w->mail_told) {
        w->other_told = told;
        w->mail_told = mail;
        w->other.ring();
    }
    if (ws == nullptr || ws->metadata.released_head == w->metadata_given) return;
    w->metadata_given = ws->metadata.released_head;
    give_room(w->other_words, &w->other);
}

static bool asked(const Worker *w) {
    return has_request(w) || w->words->stop.load(std::memory_order_acquire) != 0 ||
           w->words->leave_asked.load(std::memory_order_acquire) != 0 ||
           w->words->question.state.load(std::memory_order_acquire) == Question::State::asked;
}

// Something came while this worker was about to lie down, or could not come for lack of room.
static bool stay_awake(Worker *w) {
    if (!w->sleeper.announce() || asked(w)) return true;
    Transport *t = w->rounds.transport;
    WsStage *ws = w->rounds.ws;
    if (w->nic != nullptr && nic_stage_has_input(w->nic)) return true;
    if (t != nullptr &&
        (t->commands.ready() != 0 || t->control.ready() != 0 || transport_has_silent_input(t)))
        return true;
    if (ws != nullptr && ws->metadata.ready() != 0) return true;
    if (w->reader != nullptr && w->relay->mail[tls_to_reader].in.ready() != 0) return true;
    if (w->writer != nullptr && w->relay->mail[tls_to_writer].in.ready() != 0) return true;
    const bool waits = (t != nullptr && t->stalled_count != 0) || (ws != nullptr && ws->blocked_count != 0);
    if (!waits) return false;
    // Room that was given back before this is found by one more round; who gives some after it, wakes us. A
    // host that waits on the descriptor gives it back when it polls.
    if (w->words->wants_room.exchange(1, std::memory_order_seq_cst) != 0) return false;
    w->app.ring();
    return true;
}

static Nanos writer_deadline(const Worker *w) {
    return w->writer != nullptr ? relay_writer_deadline(w->writer) : never;
}

// In a process of its own, where others may write over the announcement, and then nobody wakes it.
static Nanos sleep_end(const Worker *w, Nanos now, Nanos until) {
    const Nanos most = w->parent >= 0 ? now + bell_sleep_max : never;
    return until < most ? until : most;
}

static int sleep_until(Worker *w, PollerEvent *out, int cap, Nanos now, Nanos until) {
    const Nanos end = sleep_end(w, now, until);
    const Nanos left = end == never ? -1 : (end > now ? end - now : 0);
    const int count = poller_wait(&w->poller, out, cap, stay_awake(w) ? 0 : left);
    w->sleeper.rise();
    return count > 0 ? count : 0;
}

static bool ws_round(Worker *w, bool sleeps, Nanos now) {
    if (sleeps) {
        PollerEvent none[1]; // nothing but the bell is in this poller
        (void)sleep_until(w, none, 1, now, w->visible ? w->turn.until(never) : never);
    }
    rounds_begin(&w->rounds);
    return rounds_run_ws(&w->rounds);
}

// Few sockets are tried without asking the poller, as in rounds_direct.
static bool carries_few(const Worker *w) {
    return (w->reader == nullptr || w->reader->live_count <= relay_direct_max) &&
           (w->writer == nullptr || w->writer->live_count <= relay_direct_max);
}

// rx, tx or both, with ws where that is here, too.
static bool carry_round(Worker *w, bool sleeps, Nanos now) {
    PollerEvent ready[Poller::batch];
    const bool look = !sleeps && carries_few(w);
    int count = 0;
    if (sleeps) {
        const Nanos until = writer_deadline(w);
        const Nanos turn = w->visible && has_facts(w) ? w->turn.until(until) : until;
        count = sleep_until(w, ready, Poller::batch, now, turn);
    } else if (!look) {
        count = poller_wait(&w->poller, ready, Poller::batch, 0);
    }
    const Nanos then = w->clock.monotonic(rounds_begin(&w->rounds));
    bool moved = w->reader != nullptr && relay_reader_step(w->reader, ready, count, look);
    if (w->writer != nullptr) moved |= relay_writer_step(w->writer, then, ready, count, look);
    if (w->rounds.ws != nullptr) moved |= rounds_run_ws(&w->rounds);
    return moved;
}

// It rings the transport itself, as soon as there is something for it.
static bool nic_round(Worker *w, bool sleeps, Nanos now) {
    if (sleeps) {
        PollerEvent none[1]; // its sockets are looked at in any case
        const Nanos until = nic_stage_deadline(w->nic);
        nic_stage_watch(w->nic, true);
        (void)sleep_until(w, none, 1, now, until);
    }
    const Tick tick = rounds_begin(&w->rounds);
    return nic_stage_step(w->nic, w->clock.monotonic(tick), w->clock);
}

static bool round(Worker *w, bool sleeps, Nanos now) {
    Rounds *r = &w->rounds;
    if (w->reader != nullptr || w->writer != nullptr) return carry_round(w, sleeps, now);
    if (w->nic != nullptr) return nic_round(w, sleeps, now);
    if (r->transport == nullptr) return ws_round(w, sleeps, now);
    const bool spins = never_sleeps(r->wait);
    if (!sleeps && rounds_direct(r)) return rounds_read(r, rounds_tries(r, spins), spins);
    const Nanos until = sleep_end(w, now, w->visible ? w->turn.until(never) : never);
    const bool moved = rounds_ask(r, sleeps, now, until, false, [w] { return stay_awake(w); });
    if (sleeps) w->sleeper.rise();
    return moved;
}

static bool parent_gone(Worker *w, Nanos now) {
    if (w->poller.ended) return true;
    if (w->parent < 0 || now - w->parent_looked < parent_look_interval) return false;
    w->parent_looked = now;
    pollfd look = {w->parent, POLLIN, 0};
    return poll(&look, 1, 0) > 0;
}

// A position or slot that cannot be: the shared memory is not what it was.
static bool corrupt(Worker *w) {
    const Transport *t = w->rounds.transport;
    const WsStage *s = w->rounds.ws;
    if (w->nic != nullptr) return !nic_stage_intact(w->nic);
    if (t != nullptr &&
        !(t->metadata.intact() && t->control.intact() && t->commands.intact() && t->notes.intact()))
        return true;
    if (s != nullptr && !(s->metadata.intact() && s->control.intact() && s->events.intact() &&
                          s->notes.intact() && s->event_notes.intact()))
        return true;
    for (size_t i = 0; t != nullptr && i < looks_at_once && i < t->live_count; i++) {
        const Connection *c = &t->connections[t->live[w->next_look++ % t->live_count]];
        if (!c->inbox.intact() || !c->outbox.intact()) return true;
    }
    return false;
}

// Without being asked, when the handle has a name.
[[gnu::noinline]] static void publish_unasked(Worker *w, Nanos now, bool moved) {
    w->turn.changed |= moved;
    if (!w->turn.begin(now)) return;
    w->turn.next = rounds_publish_from(&w->rounds, w->turn.next, w->seats);
    w->turn.end(now);
}

static void describe(Worker *w) {
    w->words->pid.store(static_cast<uint32_t>(getpid()), std::memory_order_relaxed);
    w->words->tid.store(static_cast<uint32_t>(syscall(SYS_gettid)), std::memory_order_relaxed);
}

static uint64_t changes_of(const Worker *w) {
    if (w->nic != nullptr) return w->nic->changes;
    if (w->rounds.transport != nullptr) return stages_changes(w->stages);
    uint64_t changes = w->rounds.ws != nullptr ? w->rounds.ws->changes : 0;
    if (w->reader != nullptr) changes += w->reader->live_count; // the poller's list may grow
    if (w->writer != nullptr) changes += w->writer->live_count;
    return changes;
}

static Nanos deadline(const Worker *w) {
    if (w->nic != nullptr) return nic_stage_deadline(w->nic);
    return w->rounds.transport != nullptr ? transport_deadline(w->rounds.transport) : writer_deadline(w);
}

// The transport's process says its last words, resets of what is open, when it ends.
static void linger(Worker *w) {
    const Nanos end = monotonic_ns() + linger_limit;
    for (Nanos now = monotonic_ns(); now < end; now = monotonic_ns()) {
        pollfd look = {w->peer, POLLIN, 0};
        const bool gone = poll(&look, 1, 1) > 0;
        (void)nic_stage_step(w->nic, now, w->clock);
        if (gone) return;
    }
}

static void run(Worker *w) {
    Nanos looked = 0;
    const Transport *t = w->rounds.transport;
    describe(w);
    WaitNext next = WaitNext::step;
    Nanos now = w->clock.monotonic(w->clock.ticks());
    while (w->words->stop.load(std::memory_order_acquire) == 0 && !parent_gone(w, now)) {
        if (w->words->question.state.load(std::memory_order_acquire) == Question::State::asked) answer(w);
        if (w->words->leave_asked.load(std::memory_order_acquire) != 0) let_go(w);
        if (has_request(w)) w->admit(w->context);
        const uint64_t changes = changes_of(w), before = allocation_count();
        const bool moved = round(w, next == WaitNext::sleep, now);
        tell(w);
        if (changes_of(w) == changes && allocation_count() != before)
            w->words->allocations.fetch_add(allocation_count() - before, std::memory_order_relaxed);
        now = t != nullptr ? t->now : w->clock.monotonic(w->clock.ticks());
        if (w->visible && has_facts(w)) publish_unasked(w, now, moved);
        next = w->waiter.after(moved, now, deadline(w));
        if (next == WaitNext::sleep) wait_count(w->words->counters.sleeps);
        if (next == WaitNext::relax) cpu_relax();
        if (next == WaitNext::yield) sched_yield();
        // In a process of its own, where others may have written; at the latest before nothing goes on.
        const bool due = next == WaitNext::sleep || now - looked >= words_look_interval;
        if (w->parent < 0 || !due) continue;
        looked = now;
        w->corrupt = corrupt(w);
        if (w->corrupt) return;
    }
}

void worker_run(Worker *w) {
    run(w);
    if (w->nic != nullptr && w->peer >= 0 && !w->corrupt) linger(w);
}

// ---- open and close ----

static size_t place_of(const Placement &placement, uint32_t stage) {
    size_t place = 0;
    while (place < placement.count && (placement.places[place].stages & stage) == 0) place++;
    return place;
}

static void open_ringer(Worker *w, BellRinger *ringer, size_t place, const Region &region,
                        const WorkerPlan &plan) {
    ringer->open(&shared_place(region, place)->bell, plan.reach, &w->words->counters);
    ringer->fd = plan.bells[place];
}

static void open_bells(Worker *w, const Region &region, const WorkerPlan &plan) {
    w->sleeper.open(&w->words->bell, bell_order(plan.reach), &w->words->counters);
    w->app.open(&w->words->app_bell, plan.reach, &w->words->counters);
    w->app.fd = plan.app_bell;
    const uint32_t stages = plan.placement.places[plan.place].stages;
    if (w->nic != nullptr) return;
    if ((stages & stage_lead) != 0 && (stages & stage_ws) != 0) return;
    const size_t other = place_of(plan.placement, (stages & stage_lead) != 0 ? stage_ws : stage_lead);
    w->other_words = shared_place(region, other);
    open_ringer(w, &w->other, other, region, plan);
}

void worker_join(Worker *w, Relay *relay, const Region &region, const WorkerPlan &plan) {
    const uint32_t stages = plan.placement.places[plan.place].stages;
    w->relay = relay;
    if ((stages & stage_lead) != 0) {
        const size_t rx = place_of(plan.placement, stage_rx), tx = place_of(plan.placement, stage_tx);
        if (relay->reads_apart) open_ringer(w, &relay->reader_bell, rx, region, plan);
        if (relay->writes_apart) open_ringer(w, &relay->writer_bell, tx, region, plan);
        return;
    }
    // One poller knows a descriptor once.
    RelayWatch *watch = &relay->watches[(stages & stage_rx) != 0 ? 0 : 1];
    watch->poller = &w->poller;
    if ((stages & stage_rx) != 0) {
        w->reader = &relay->reader;
        w->reader->watch = watch;
        w->reader->clock = &w->clock;
        w->reader->spins = never_sleeps(w->rounds.wait);
    }
    if ((stages & stage_tx) != 0) {
        w->writer = &relay->writer;
        w->writer->watch = watch;
    }
}

static bool pass_descriptors(int socket, const int *fds, size_t count) {
    const uint8_t mark = 0; // a message of nothing would be the end
    return passing_send(socket, ByteView(&mark, sizeof mark), fds, count, 0) == 0;
}
static bool receive_descriptors(int socket, int *fds, size_t count) {
    uint8_t mark;
    return passing_receive(socket, &mark, sizeof mark, fds, count, 0) == 0;
}

// Where nic and transport are apart.
static int open_nic(Worker *w, const Options &o, const Region &region, const WorkerPlan &plan,
                    ErrorText *error) {
    const uint32_t stages = plan.placement.places[plan.place].stages;
    const size_t nic = placement_nic(plan.placement);
    if (nic == plan.placement.count) return WSXDP_OK;
    w->peer = plan.peer;
    if ((stages & stage_transport) != 0) {
        NicPort *port = &w->stages->nic_port;
        nic_port_open(port, shared_nic(region));
        open_ringer(w, &port->nic, nic, region, plan);
        port->socket = plan.peer;
        if (plan.peer >= 0) port->receive = receive_descriptors;
    }
    if (plan.place != nic) return WSXDP_OK;
    w->nic = &w->stages->nic;
    nic_stage_open(w->nic, shared_nic(region), &w->poller);
    open_ringer(w, &w->nic->transport, place_of(plan.placement, stage_transport), region, plan);
    w->nic->support.socket = plan.peer;
    if (plan.peer >= 0) w->nic->support.pass = pass_descriptors;
    nic_stage_watch(w->nic, !never_sleeps(w->rounds.wait));
    return xdp_tuner_open(&o, &w->nic->support, &w->stages->tuner, error);
}

int worker_open(Worker *w, const Options &o, const Region &region, const WorkerPlan &plan, ErrorText *error) {
    const uint32_t stages = plan.placement.places[plan.place].stages;
    w->words = shared_place(region, plan.place);
    w->seats = shared_seats(region, plan.place);
    w->words->stages.store(stages, std::memory_order_relaxed);
    w->visible = o.text(Option::name)[0] != 0;
    system_clock_open(&w->clock);
    int status = poller_open(&w->poller, static_cast<PollerKind>(o.integer(Option::poller)), error);
    if (status < 0) return status;
    if (int cause = poller_add_bell(&w->poller, plan.bells[plan.place]))
        return poller_explain(&w->poller, cause, error);
    w->connection_limit = region.sizes.connections;
    w->rounds.transport = (stages & stage_lead) != 0 ? &w->stages->transport : nullptr;
    w->rounds.ws = (stages & stage_ws) != 0 ? &w->stages->ws : nullptr;
    w->rounds.poller = &w->poller;
    w->rounds.clock = &w->clock;
    const int8_t own = plan.placement.places[plan.place].wait;
    w->rounds.wait = own >= 0 ? static_cast<Wait>(own) : static_cast<Wait>(o.integer(Option::wait));
    w->rounds.spin_ns = o.integer(Option::wait_spin_ns);
    WaitPlan wait;
    static constexpr WaitMode modes[] = {WaitMode::spin, WaitMode::adaptive, WaitMode::adaptive,
                                         WaitMode::yield};
    wait.mode = modes[static_cast<size_t>(w->rounds.wait)];
    wait.spin_ns = w->rounds.wait == Wait::sleep ? 0 : w->rounds.spin_ns;
    w->waiter.open(wait, &w->words->counters, w->clock.monotonic(w->clock.ticks()));
    status = open_nic(w, o, region, plan, error);
    if (status < 0) return status;
    open_bells(w, region, plan);
    return WSXDP_OK;
}

void worker_close(Worker *w) { poller_close(&w->poller); }

// Slower is better than not at all, and the caller hears of it.
void pin_refused(int cpu, int cause, ErrorText *notice) {
    notice->begin(WSXDP_E_THREAD_START, cause).add("placement: processor ").number(cpu);
    notice->add(" cannot be used by this process (see nproc and taskset -p); its stages run unpinned");
}

void fifo_refused(int64_t priority, int cause, ErrorText *notice) {
    notice->begin(WSXDP_E_THREAD_START, cause).add("placement: stage.fifo=").number(priority);
    notice->add(": SCHED_FIFO was refused (").errno_name(cause);
    notice->add("); it takes cap_sys_nice or a limit (ulimit -r); its stages run without");
}

} // namespace wx
