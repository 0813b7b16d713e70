// SPDX-License-Identifier: MIT
// What happens to a connection once it is open, and how it ends: close handshakes, keepalive, silence, loss,
// and the wait before the next attempt. All ends go through keep_lost, which tells the app exactly once and
// either schedules an attempt or finishes. The worst case accepted: so many connections end at once that the
// notes ring is full; the rest wait, unread, until there is room.
#include "../base/alloc.h"
#include "connecting.h"

namespace wx {

[[gnu::cold]] void explain_link(Connection *c, int code, int cause, const char *doing) {
    const LinkBackend *backend = c->channel.backend;
    if (backend != nullptr && backend->why != nullptr && backend->why(&c->channel, &c->error)) return;
    c->error.begin(code, cause).add(doing).add(": ").errno_name(cause);
}

bool tx_reserve(Connection *c, size_t bytes) {
    if (c->tx.capacity >= bytes) return true;
    uint8_t *grown = static_cast<uint8_t *>(reallocate(c->tx.data, bytes));
    if (grown == nullptr) return false;
    c->tx.data = grown;
    c->tx.capacity = bytes;
    return true;
}

static bool unsettled(ConnectionState state) {
    return state == ConnectionState::racing || state == ConnectionState::tunneling ||
           state == ConnectionState::securing || state == ConnectionState::upgrading ||
           state == ConnectionState::resolving;
}

static bool carries_messages(ConnectionState state) {
    return state == ConnectionState::open || state == ConnectionState::closing;
}

// Has, or is about to have, channels that no poller tells about.
static bool silent(const Transport *t, const Connection *c, ConnectionState state) {
    bool reaches = carries_messages(state) || state == ConnectionState::draining ||
                   (unsettled(state) && state != ConnectionState::resolving);
    return reaches && connect_link(t, c)->silent;
}

static void count(size_t *counter, bool before, bool after) {
    if (after && !before) ++*counter;
    if (before && !after) --*counter;
}

void set_state(Transport *t, Connection *c, ConnectionState state) {
    count(&t->unsettled_count, unsettled(c->state), unsettled(state));
    count(&t->resolving_count, c->state == ConnectionState::resolving, state == ConnectionState::resolving);
    bool now_silent = silent(t, c, state);
    count(&t->silent_count, c->counted_silent, now_silent);
    c->counted_silent = now_silent;
    c->state = state;
    t->changes++;
}

void watch(Transport *t, Connection *c, bool read, bool write) {
    if (c->want_read == read && c->want_write == write) return;
    c->want_read = read;
    c->want_write = write;
    if (!c->registered) return; // without a descriptor every step looks
    if (c->channel.backend->watch != nullptr) {
        c->channel.backend->watch(&c->channel, c->index, read, write);
        if (!channel_is_here(c->channel)) return;
        read = read && c->channel.reads_here;
        write = write && c->channel.writes_here;
    }
    int cause = poller_change(t->poller, c->channel.fd, c->index, read, write);
    if (cause == 0) return;
    // Nothing would tell that the socket is ready. Our caller is in the middle of something, so the end comes
    // from the timer, in this step or the next.
    c->watch_errno = cause;
    keep_schedule(t, c);
}

int channel_add(Transport *t, Channel *channel, uint64_t tag, bool read, bool write) {
    if (channel->backend->watch != nullptr) {
        channel->backend->watch(channel, tag, read, write);
        if (!channel_is_here(*channel)) return 0;
        read = read && channel->reads_here;
        write = write && channel->writes_here;
    }
    // With neither it enters when there is something to wait for.
    int cause = read || write ? poller_add(t->poller, channel->fd, tag, read, write) : 0;
    channel->polled = cause == 0;
    t->polled_count += channel->polled;
    return cause;
}

void channel_remove(Transport *t, Channel *channel) {
    if (channel->backend->watch != nullptr) channel->backend->watch(channel, 0, false, false);
    if (!channel->polled) return;
    poller_remove(t->poller, channel->fd);
    channel->polled = false;
    t->polled_count--;
}

// ---- opened ----

// Subscriptions leave before anything else. Framed here: the app does not know yet that it may send.
static int send_subscriptions(Transport *t, Connection *c) {
    const Options &o = *c->settings->options;
    for (size_t i = 0; i < o.count(Option::subscribe); i++) {
        const OptionText &text = o.at(Option::subscribe, i);
        size_t records = text.size / c->settings->record_bytes + 2;
        uint8_t *frame = static_cast<uint8_t *>(allocate(text.size + frame_head_max));
        bool room =
            tx_reserve(c, c->tx.end + text.size + frame_head_max + records * tls_record_overhead + tx_bytes);
        int status = WSXDP_E_MEMORY;
        if (frame != nullptr && room) {
            uint32_t mask = c->settings->mask_zero ? 0 : random_u32(t->random);
            size_t head = frame_head_build(frame, 0x80 | opcode_text, text.size, true, mask);
            mask_apply(frame + head, reinterpret_cast<const uint8_t *>(text.data), text.size, mask, 0);
            status =
                t->random->failed ? WSXDP_E_SYSTEM : transmit_bytes(t, c, ByteView(frame, head + text.size));
            if (status >= 0) c->counters.frames_sent++;
        }
        deallocate(frame);
        if (status < 0) return status;
    }
    return WSXDP_OK;
}

static void hand_on(Transport *t, Connection *c, ByteView leftover) {
    if (leftover.size == 0) return;
    memcpy(c->inbox.at_tail(), leftover.data, leftover.size);
    MetadataSlot *slot = t->metadata.claim_cleared();
    slot->index = c->index;
    slot->kind = MetadataSlot::bytes;
    slot->position = c->inbox.tail;
    slot->size = leftover.size;
    slot->poll_tick = slot->transport_tick = t->now_tick;
    slot->tls_tick = c->tls != nullptr ? t->now_tick : 0;
    c->inbox.publish(leftover.size);
    t->metadata.publish();
}

void keep_opened(Transport *t, Connection *c, ByteView leftover) {
    c->inbox.rewind_if_empty();
    if (!notes_have_room(t) || t->metadata.room(notes_reserve + 1) <= notes_reserve ||
        c->inbox.room() < leftover.size) {
        // The app has not taken what earlier openings left; an attempt later will find room.
        c->error.begin(WSXDP_E_OVERFLOW)
            .add("opened, but the caller has not taken the events before; trying again");
        keep_lost(t, c, WSXDP_E_OVERFLOW);
        return;
    }
    c->epoch++;
    c->opened_at = c->last_received = t->now;
    c->ping_due = t->now + c->settings->ping_interval;
    c->ping_deadline = 0;
    c->area.words->ping_cookie.store(0, std::memory_order_relaxed);
    c->likely_more = false;
    set_state(t, c, ConnectionState::open);
    if (c->url.scheme == Scheme::echo && !tx_reserve(c, tx_bytes)) {
        c->error.begin(WSXDP_E_MEMORY).add("opening echo: out of memory");
        keep_lost(t, c, WSXDP_E_MEMORY);
        return;
    }
    int status = send_subscriptions(t, c);
    if (status < 0) {
        c->error.begin(status).add("sending the subscribe messages failed");
        keep_lost(t, c, status);
        return;
    }
    note_opened(t, c);
    c->ever_open = true;
    c->counters.opens++;
    hand_on(t, c, leftover);
    connect_abandon(t, c); // the head buffer
    watch(t, c, true, false);
    transport_flush(t, c);
    keep_schedule(t, c);
}

// ---- deadlines ----

static Nanos open_deadline(const Connection *c) {
    Nanos at = never;
    const Settings *s = c->settings;
    if (s->idle_timeout > 0 && !c->stalled) at = c->last_received + s->idle_timeout;
    if (s->ping_interval > 0 && c->ping_due < at) at = c->ping_due;
    if (c->ping_deadline != 0 && c->ping_deadline < at) at = c->ping_deadline;
    return at;
}

static Nanos racing_deadline(const Connection *c) {
    Nanos at = c->attempt_deadline;
    size_t active = 0;
    for (const Race &race : c->races) {
        if (!race.active) continue;
        active++;
        if (race.deadline < at) at = race.deadline;
    }
    // With all races under way the next address waits for one of them to end.
    if (c->next_address < c->addresses.count && active < race_max && c->next_race < at) at = c->next_race;
    return at;
}

void keep_schedule(Transport *t, Connection *c) {
    Nanos at = never;
    switch (c->state) {
    case ConnectionState::resolving:
    case ConnectionState::tunneling:
    case ConnectionState::securing:
    case ConnectionState::upgrading:
        at = c->step_deadline < c->attempt_deadline ? c->step_deadline : c->attempt_deadline;
        break;
    case ConnectionState::racing:
        at = racing_deadline(c);
        break;
    case ConnectionState::open:
        at = c->write_broken ? c->step_deadline : open_deadline(c);
        break;
    case ConnectionState::closing:
    case ConnectionState::draining:
        at = c->step_deadline;
        break;
    case ConnectionState::waiting:
        at = c->retry_at;
        break;
    default:
        break;
    }
    if (c->watch_errno != 0) at = t->now;
    if (c->end_waits) at = t->now + ns_per_ms;
    c->deadline = at;
    if (at < t->next_deadline) t->next_deadline = at;
}

static void check_open(Transport *t, Connection *c) {
    const Settings *s = c->settings;
    if (c->write_broken) {
        c->error.begin(WSXDP_E_RESET).add("the peer reset the connection");
        keep_lost(t, c, WSXDP_E_RESET);
        return;
    }
    if (s->idle_timeout > 0 && !c->stalled && t->now - c->last_received >= s->idle_timeout) {
        c->error.begin(WSXDP_E_DEAD).add("nothing arrived from ").add(c->url.host).add(" for ");
        c->error.number(s->idle_timeout / ns_per_ms).add(" ms (idle.timeout_ns)");
        keep_lost(t, c, WSXDP_E_DEAD);
        return;
    }
    // While we do not read, an answer may lie unread: that is our fault and not the peer's.
    if (c->ping_deadline != 0 && c->stalled) c->ping_deadline = t->now + s->ping_timeout;
    if (c->ping_deadline != 0 && t->now >= c->ping_deadline) {
        c->error.begin(WSXDP_E_PING_TIMEOUT).add(c->url.host).add(" did not answer a ping within ");
        c->error.number(s->ping_timeout / ns_per_ms).add(" ms (ping.timeout_ns)");
        keep_lost(t, c, WSXDP_E_PING_TIMEOUT);
        return;
    }
    if (s->ping_interval > 0 && t->now >= c->ping_due) {
        c->ping_due = t->now + s->ping_interval;
        if (c->ping_deadline == 0) {
            c->control.ping = true;
            transport_flush(t, c);
        }
    }
}

static void close_timed_out(Transport *t, Connection *c) {
    bool done = c->state == ConnectionState::draining;
    if (!done) {
        c->error.begin(WSXDP_E_CLOSE_TIMEOUT).add(c->url.host);
        c->error.add(" did not answer the close within close.timeout_ns");
    }
    // Both closed and only TCP lingers: that is the peer's affair (RFC 6455 section 7.1.1).
    keep_lost(t, c, done ? c->end_error : WSXDP_E_CLOSE_TIMEOUT);
}

void keep_on_time(Transport *t, Connection *c) {
    if (c->end_waits) {
        if (notes_have_room(t)) {
            c->end_waits = false;
            keep_lost(t, c, c->end_error);
        }
    } else if (c->watch_errno != 0) {
        keep_lost(t, c, poller_explain(t->poller, c->watch_errno, &c->error));
    } else if (c->state == ConnectionState::open) {
        check_open(t, c);
    } else if (c->state == ConnectionState::closing || c->state == ConnectionState::draining) {
        if (t->now >= c->step_deadline) close_timed_out(t, c);
    } else if (c->state == ConnectionState::waiting) {
        if (t->now >= c->retry_at && notes_have_room(t)) {
            c->counters.reconnects++;
            connect_begin(t, c);
        } else if (t->now >= c->retry_at) {
            c->retry_at = t->now + ns_per_ms;
        }
    } else if (unsettled(c->state)) {
        connect_on_time(t, c);
    }
    if (c->state != ConnectionState::unused) keep_schedule(t, c);
}

// ---- the end ----

void keep_drop_channel(Transport *t, Connection *c, bool reset) {
    if (c->registered) channel_remove(t, &c->channel);
    c->registered = false;
    c->watch_errno = 0;
    if (c->tls != nullptr) {
        c->counters.records_received += c->tls->records_in;
        c->counters.records_sent += c->tls->records_out;
        c->tls->backend->session_free(c->tls);
    }
    c->tls = nullptr;
    if (c->channel.backend != nullptr) c->channel.backend->close(&c->channel, reset);
    c->channel = Channel();
    c->tx.begin = c->tx.end = 0;
    if (c->stalled) t->stalled_count--;
    c->stalled = false;
}

static bool may_retry(const Connection *c) {
    const Settings *s = c->settings;
    return !c->user_closing && s->reconnect && (c->ever_open || s->reconnect_initial);
}

// Full jitter: the first retry at once, then anywhere below a bound that doubles.
static Nanos retry_delay(Transport *t, const Connection *c) {
    if (c->attempts <= 1) return 0;
    Nanos bound = c->settings->delay_min;
    for (int64_t i = 2; i < c->attempts && bound < c->settings->delay_max; i++) bound *= 2;
    if (bound > c->settings->delay_max) bound = c->settings->delay_max;
    return static_cast<Nanos>(random_below(t->random, static_cast<uint64_t>(bound) + 1));
}

static void explain_close(Connection *c) {
    c->error.begin(0).add("the peer closed the connection with code ").number(c->close_code);
    if (c->close_size != 0) c->error.add(": ").add(ByteView(c->close_reason, c->close_size));
}

void keep_lost(Transport *t, Connection *c, int code) {
    c->end_error = code;
    if (!notes_have_room(t)) {
        c->end_waits = true;
        watch(t, c, false, false);
        keep_schedule(t, c);
        return;
    }
    bool opened = carries_messages(c->state) || c->state == ConnectionState::draining;
    // RST where the peer broke the rules of TCP or time, so that nothing lingers; FIN otherwise.
    keep_drop_channel(t, c, code == WSXDP_E_ABORTED || code == WSXDP_E_CLOSE_TIMEOUT || code == WSXDP_E_DEAD);
    connect_abandon(t, c);
    if (opened && t->now - c->opened_at >= c->settings->stable) c->attempts = 0;
    if (code != 0 && code != WSXDP_E_ABORTED) {
        if (!c->error_told) note_error(t, c, c->error);
    } else if (c->close_received)
        explain_close(c);
    c->redirects = 0;
    c->left_host = false;
    url_parse(ByteView(c->url_text), &c->url, &c->scratch_error); // back from a redirect's target
    bool out_of_attempts = c->settings->max_attempts != 0 && c->attempts >= c->settings->max_attempts;
    if (may_retry(c) && !out_of_attempts) {
        c->attempts++;
        Nanos delay = retry_delay(t, c);
        c->retry_at = t->now + delay;
        note_reconnecting(t, c, delay, c->error);
        set_state(t, c, ConnectionState::waiting);
    } else {
        if (may_retry(c) && c->attempts != 0) {
            c->end_error = WSXDP_E_RETRIES;
            c->error.add(" (gave up after ").number(c->attempts).add(" more attempts)");
        }
        note_closed(t, c);
        set_state(t, c, ConnectionState::finished);
    }
    keep_schedule(t, c);
}

// ---- close ----

// Both close frames are on their way or here: nothing more is read but the end.
static void begin_draining(Transport *t, Connection *c) {
    set_state(t, c, ConnectionState::draining);
    c->step_deadline = t->now + c->settings->close_timeout;
    c->control.pong = c->control.ping = false;
    transport_flush(t, c);
    if (c->state != ConnectionState::draining) return;
    if (c->tls != nullptr && c->close_sent && c->tx.capacity - c->tx.end >= tls_record_overhead) {
        c->tls->output = ByteSpan(c->tx.data + c->tx.end, c->tx.capacity - c->tx.end);
        c->tls->output_used = 0;
        c->tls->backend->close_notify(c->tls);
        c->tx.end += c->tls->output_used;
        transport_flush(t, c);
        if (c->state != ConnectionState::draining) return;
    }
    if (c->read_ended || c->write_broken) {
        keep_lost(t, c, c->end_error); // nothing is left to wait for
        return;
    }
    if (c->stalled) t->stalled_count--;
    c->stalled = false;
    watch(t, c, true, c->want_write);
    keep_schedule(t, c);
}

static void queue_close(Connection *c, uint16_t code, ByteView reason, uint64_t after) {
    PendingControl &p = c->control;
    p.close = !c->close_sent;
    p.close_code = code;
    p.close_size = static_cast<uint8_t>(reason.size < 123 ? reason.size : 123);
    memcpy(p.close_reason, reason.data, p.close_size);
    p.close_after = after;
}

static void on_peer_close(Transport *t, Connection *c, const ControlSlot &slot) {
    c->close_received = true;
    c->close_code = slot.code;
    c->close_size = slot.size;
    memcpy(c->close_reason, slot.payload, slot.size);
    c->close_by_peer = !c->close_sent;
    // The answer carries the peer's code back (RFC 6455 section 5.5.1), ahead of what is still queued.
    if (!c->close_sent) queue_close(c, slot.code, ByteView("", 0), 0);
    begin_draining(t, c);
}

static void on_broken_rule(Transport *t, Connection *c, const ControlSlot &slot) {
    c->end_error = slot.error;
    c->error.begin(slot.error).add(c->url.host).add(": ").add(status_text(slot.error));
    if (slot.error == WSXDP_E_MESSAGE_SIZE)
        c->error.add("; raise message.max_bytes and inbox.bytes, or set message.stream");
    uint16_t code = close_code_for(slot.error);
    c->error.add(" (closed with ").number(code).add(")");
    // Told now and not when the peer has taken its time to part.
    if (notes_have_room(t)) {
        note_error(t, c, c->error);
        c->error_told = true;
    }
    if (!c->close_sent) queue_close(c, code, ByteView(status_text(slot.error)), 0);
    begin_draining(t, c);
}

void keep_on_control(Transport *t, const ControlSlot &slot) {
    if (slot.index >= t->connection_limit || slot.size > control_payload_max) return;
    Connection *c = &t->connections[slot.index];
    if (!carries_messages(c->state) || slot.epoch != c->epoch) return;
    switch (slot.kind) {
    case ControlSlot::ping: // the newest replaces one that still waits (RFC 6455 section 5.5.3)
        c->control.pong = true;
        c->control.pong_size = slot.size;
        memcpy(c->control.pong_payload, slot.payload, slot.size);
        transport_flush(t, c);
        break;
    case ControlSlot::pong:
        c->ping_deadline = 0;
        c->counters.round_trip = slot.value;
        if (c->counters.round_trip_min == 0 || slot.value < c->counters.round_trip_min)
            c->counters.round_trip_min = slot.value;
        break;
    case ControlSlot::close:
        on_peer_close(t, c, slot);
        break;
    case ControlSlot::fail:
        on_broken_rule(t, c, slot);
        break;
    case ControlSlot::ended:
        keep_lost(t, c, c->error.code);
        break;
    default:
        break;
    }
}

// ---- commands ----

static void on_close_asked(Transport *t, Connection *c, const CommandSlot &slot) {
    c->user_closing = true;
    if (c->state == ConnectionState::open) {
        // What was queued before leaves first.
        uint64_t after = c->area.words->outbox.tail.load(std::memory_order_acquire);
        queue_close(c, slot.code, ByteView(slot.payload, slot.size), after);
        set_state(t, c, ConnectionState::closing);
        c->step_deadline = t->now + c->settings->close_timeout;
        transport_flush(t, c);
        if (c->state == ConnectionState::closing) keep_schedule(t, c);
    } else if (unsettled(c->state) || c->state == ConnectionState::waiting) {
        c->error.begin(WSXDP_E_ABORTED).add("closed by the caller before it was open");
        keep_lost(t, c, WSXDP_E_ABORTED);
    }
}

void keep_on_command(Transport *t, const CommandSlot &slot) {
    if (slot.index >= t->connection_limit || slot.size > sizeof slot.payload) return;
    Connection *c = &t->connections[slot.index];
    if (slot.kind == CommandSlot::connect && t->on_connect != nullptr)
        t->on_connect(t->on_connect_context, slot.index);
    if (c->state == ConnectionState::unused || c->state == ConnectionState::finished) return;
    if (slot.kind == CommandSlot::flush) {
        // First: what is queued from here on asks again.
        c->area.words->flush_asked.exchange(0, std::memory_order_acq_rel);
        transport_flush(t, c);
        return;
    }
    if (slot.kind == CommandSlot::connect) {
        transport_begin(t, c);
    } else if (slot.kind == CommandSlot::close) {
        on_close_asked(t, c, slot);
    } else if (slot.kind == CommandSlot::abort) {
        c->user_closing = true;
        c->end_waits = false;
        c->error.begin(WSXDP_E_ABORTED).add("aborted by the caller");
        keep_lost(t, c, WSXDP_E_ABORTED);
    }
}

} // namespace wx
