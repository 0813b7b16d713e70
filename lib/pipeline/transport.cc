// SPDX-License-Identifier: MIT
// The transport stage's loop: commands and control first, then what the poller reports, then what waits for
// room, then what is due. Each connection is read once per step, so that one with much to say does not starve
// the rest.
#include "transport.h"
#include "../base/alloc.h"
#include "connecting.h"

namespace wx {

static bool takes_reads(const Connection *c) {
    return c->state == ConnectionState::open || c->state == ConnectionState::closing ||
           c->state == ConnectionState::draining;
}

void transport_flush(Transport *t, Connection *c) {
    if (!takes_reads(c) || c->end_waits) return;
    Flush result = transmit(t, c);
    if (result == Flush::lost || c->write_broken) return;
    bool blocked = result == Flush::blocked;
    if (blocked != c->want_write) watch(t, c, c->want_read, blocked);
}

static bool drain_control(Transport *t) {
    bool moved = false;
    while (const ControlSlot *slot = t->control.front()) {
        ControlSlot copy = *slot; // the other side could change it under our checks
        t->control.pop();
        keep_on_control(t, copy);
        moved = true;
    }
    t->control.release();
    return moved;
}

static bool drain_requests(Transport *t) {
    bool moved = false;
    // At most what can have been there: who asks on and on does not keep us from reading.
    for (uint64_t left = t->commands.capacity; left != 0; left--) {
        // Before the look at ws: what it told before the app was asked for this lies there, and goes out
        // first. A pong that came before a message is not overtaken by the answer to that message.
        const bool asked = t->commands.ready();
        moved |= drain_control(t);
        const CommandSlot *slot = asked ? t->commands.front() : nullptr;
        if (slot == nullptr) break;
        CommandSlot copy = *slot; // as above
        t->commands.pop();
        keep_on_command(t, copy);
        moved = true;
    }
    t->commands.release();
    return moved;
}

static bool serve(Transport *t, const PollerEvent &event) {
    if (event.tag >= link_driver_tag) {
        if (t->driver != nullptr) t->driver->attend(t->link_context, event.tag);
        return false; // what it brings is taken in by this same step
    }
    uint64_t index = event.tag & UINT32_MAX;
    if (index >= t->connection_limit) return false;
    Connection *c = &t->connections[index];
    if (takes_reads(c) && event.tag >> 32 == 0) {
        if (event.writable) transport_flush(t, c);
        if ((event.readable || event.broken) && takes_reads(c)) return receive_from(t, c);
        return event.writable;
    }
    if (c->state == ConnectionState::unused || c->state == ConnectionState::waiting ||
        c->state == ConnectionState::finished || c->end_waits)
        return false;
    connect_on_ready(t, c, event);
    return true;
}

static bool take(Transport *t, Connection *c) {
    if (!receive_from(t, c)) return false;
    // A peer without a descriptor has room for what it refused once something was taken from it; nothing else
    // will tell.
    if (c->counted_silent && takes_reads(c)) transport_flush(t, c);
    return true;
}

static bool has_input(const Connection *c) {
    const Channel &channel = c->channel; // there is none yet while TCP attempts are under way
    return !c->stalled && !c->read_ended && !c->end_waits && channel.backend != nullptr &&
           channel.backend->readable(&channel);
}

// At a connection without a descriptor.
static bool look(Transport *t, Connection *c) {
    if (!takes_reads(c)) return connect_look(t, c);
    if (c->want_write) transport_flush(t, c);
    return takes_reads(c) && has_input(c) && take(t, c);
}

// Room may have come back; sockets out of the poller would never tell.
static bool retry_stalled(Transport *t) {
    bool moved = false;
    for (size_t i = 0; i < t->live_count && t->stalled_count != 0; i++) {
        Connection *c = &t->connections[t->live[i]];
        if (c->stalled && takes_reads(c)) moved |= take(t, c);
    }
    return moved;
}

static bool poll_resolvers(Transport *t) {
    bool moved = false;
    for (size_t i = 0; i < t->live_count && t->resolving_count != 0; i++) {
        Connection *c = &t->connections[t->live[i]];
        if (c->state == ConnectionState::resolving && c->resolve != nullptr && !c->end_waits)
            moved |= connect_poll_resolver(t, c);
    }
    return moved;
}

static void run_timers(Transport *t) {
    t->next_deadline = never;
    for (size_t i = 0; i < t->live_count; i++) {
        Connection *c = &t->connections[t->live[i]];
        if (c->deadline <= t->now) {
            // Activity moves deadlines without touching them: look again before acting.
            if (!c->end_waits) keep_schedule(t, c);
            if (c->deadline <= t->now) keep_on_time(t, c);
        }
        if (c->deadline < t->next_deadline) t->next_deadline = c->deadline;
    }
}

// What a step has to look after besides its input: nearly never anything.
static bool chores_wait(const Transport *t) {
    return t->resolving_count != 0 || t->stalled_count != 0 || t->now >= t->next_deadline;
}

[[gnu::cold]] static bool do_chores(Transport *t) {
    bool moved = t->resolving_count != 0 && poll_resolvers(t);
    if (t->stalled_count != 0) moved |= retry_stalled(t);
    if (t->now >= t->next_deadline) {
        run_timers(t);
        moved = true;
    }
    return moved;
}

static void begin_step(Transport *t, Tick now) {
    t->now_tick = now;
    t->now = t->clock->monotonic(now);
}

// ---- a device that channels share ----

constexpr int ready_batch = 64;

[[gnu::cold]] static void tell_notices(Transport *t) {
    uint64_t tag = 0;
    ErrorText text;
    while (t->driver->notice(t->link_context, &tag, &text))
        if (tag < t->connection_limit && takes_reads(&t->connections[tag]))
            note_notice(t, &t->connections[tag], text);
}

// first: also what changed outside of the driver, such as who is read from again.
static bool drive(Transport *t, bool first) {
    bool moved = t->driver->receive(t->link_context, t->now, t->now_tick), served = false;
    if (!moved && !first) return false;
    PollerEvent ready[ready_batch];
    int count = t->driver->ready(t->link_context, ready, ready_batch);
    for (int i = 0; i < count; i++) served |= serve(t, ready[i]);
    return served;
}

// brought: the caller is about to hear of something, and may answer.
static void end_step(Transport *t, bool brought) {
    if (t->driver == nullptr) return;
    if (t->driver->send(t->link_context, t->now, brought)) tell_notices(t);
}

void transport_send(Transport *t) {
    if (t->driver == nullptr) return;
    t->driver->send(t->link_context, t->clock->monotonic(t->clock->ticks()), false);
}

Nanos transport_deadline(const Transport *t) {
    Nanos at = t->driver != nullptr ? t->driver->deadline(t->link_context) : never;
    return at < t->next_deadline ? at : t->next_deadline;
}

// ---- steps ----

bool transport_step(Transport *t, Tick now, const PollerEvent *events, int event_count) {
    begin_step(t, now);
    bool moved = drain_requests(t);
    for (int i = 0; i < event_count; i++) moved |= serve(t, events[i]);
    if (t->driver != nullptr) moved |= drive(t, true);
    for (size_t i = 0; i < t->live_count && t->silent_count != 0; i++) {
        Connection *c = &t->connections[t->live[i]];
        if (c->counted_silent) moved |= look(t, c);
    }
    if (chores_wait(t)) moved |= do_chores(t);
    end_step(t, false);
    return moved;
}

// Reads each once that the driver does not look after; whether any brought something.
static bool read_each(Transport *t) {
    bool moved = false;
    for (size_t i = 0; i < t->live_count; i++) {
        Connection *c = &t->connections[t->live[i]];
        if (!takes_reads(c) || (c->channel.backend->watch != nullptr && !channel_is_here(c->channel)))
            continue;
        if (c->want_write) transport_flush(t, c);
        if (!c->stalled && takes_reads(c)) moved |= take(t, c);
    }
    return moved;
}

bool transport_read_all(Transport *t, Tick now, int tries) {
    begin_step(t, now);
    bool moved = drain_requests(t), read = false, first = true;
    const bool each = t->driver == nullptr || t->polled_count != 0 || t->silent_count != 0;
    do {
        if (t->driver != nullptr) read |= drive(t, first);
        if (each) read |= read_each(t);
        first = false;
    } while (!read && !moved && --tries > 0);
    if (chores_wait(t)) moved |= do_chores(t);
    end_step(t, read && t->unpolled); // who sleeps would be woken for what is left
    return read || moved;
}

static void watch_driver(Transport *t, bool on) {
    if (t->driver != nullptr) t->driver->watch(t->link_context, on);
}

void transport_leave_poller(Transport *t) {
    t->unpolled = true;
    watch_driver(t, false);
    for (size_t i = 0; i < t->live_count; i++) {
        Connection *c = &t->connections[t->live[i]];
        if (takes_reads(c) && c->channel.polled) watch(t, c, false, c->want_write);
    }
}

void transport_rejoin_poller(Transport *t) {
    t->unpolled = false;
    watch_driver(t, true);
    for (size_t i = 0; i < t->live_count; i++) {
        Connection *c = &t->connections[t->live[i]];
        if (!takes_reads(c) || !c->channel.polled || c->stalled || c->read_ended || c->end_waits) continue;
        watch(t, c, true, c->want_write);
    }
}

bool transport_has_silent_input(const Transport *t) {
    if (t->driver != nullptr && t->driver->waiting(t->link_context)) return true;
    for (size_t i = 0; i < t->live_count && t->silent_count != 0; i++) {
        const Connection *c = &t->connections[t->live[i]];
        if (c->counted_silent && has_input(c)) return true;
    }
    return false;
}

void transport_prepare(Connection *c) {
    // A placeholder that the timers understand.
    c->state = ConnectionState::waiting;
    c->retry_at = c->deadline = never;
}

static void adopt(Transport *t, Connection *c) {
    c->adopted = true;
    t->live[t->live_count++] = c->index;
    t->changes++;
}

void transport_begin(Transport *t, Connection *c) {
    if (!c->adopted) adopt(t, c);
    connect_begin(t, c);
}

void transport_retire(Transport *t, Connection *c) {
    if (c->state == ConnectionState::unused) return;
    keep_drop_channel(t, c, true);
    connect_abandon(t, c);
    set_state(t, c, ConnectionState::unused);
    c->deadline = never;
    deallocate(c->tx.data);
    free_secret_text(c->redirect_text);
    free_secret_text(c->url_text);
    for (size_t i = 0; i < t->live_count; i++) {
        if (t->live[i] != c->index) continue;
        t->live[i] = t->live[--t->live_count];
        break;
    }
    uint32_t index = c->index;
    *c = Connection();
    c->index = index;
}

} // namespace wx
