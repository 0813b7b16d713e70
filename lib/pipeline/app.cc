// SPDX-License-Identifier: MIT
// Events for the caller. A slot becomes a wsxdp_event: positions become pointers, ticks become nanoseconds.
// What was handed out is released at the next poll, by connection, so that a batch costs one store per
// connection and not one per message. Held events keep the bytes from the oldest hold on.
#include "app.h"

namespace wx {

static void touch(App *app, AppConnection *c) {
    if (c->touched) return;
    c->touched = true;
    app->touched[app->touched_count++] = app_index(app, c);
}

static void note_release(App *app, AppConnection *c, const EventSlot &slot) {
    if (slot.release_to > c->release_to) c->release_to = slot.release_to;
    if (slot.source == EventSlot::inflated) c->inflated_release_to = slot.position + slot.size;
    touch(app, c);
}

static void fill_stamps(const Clock *clock, const EventSlot &slot, wsxdp_event *event) {
    event->nic_first_ns = slot.nic_first;
    event->nic_last_ns = slot.nic_last;
    event->kernel_first_ns = slot.kernel_first;
    event->kernel_last_ns = slot.kernel_last;
    // Mostly all of a message came with one read, and what the transport does takes no time of its own.
    Nanos poll_last = clock->realtime(slot.poll_last);
    event->poll_last_ns = poll_last;
    event->poll_first_ns = slot.poll_first == slot.poll_last ? poll_last : clock->realtime(slot.poll_first);
    event->transport_last_ns =
        slot.transport_last == slot.poll_last ? poll_last : clock->realtime(slot.transport_last);
    event->tls_last_ns = clock->realtime(slot.tls_last);
    event->parse_ns = clock->realtime(slot.parse);
}

[[gnu::cold]] static void on_open(App *app, AppConnection *c, const EventSlot &slot, const NoteSlot &note) {
    c->state = WSXDP_STATE_OPEN;
    c->epoch = slot.epoch;
    c->in_message = false;
    c->begun = 0;
    deflater_free(c->deflater);
    c->deflater = nullptr;
    if (note.deflate[0] & 1) {
        DeflateAgreement agreement;
        agreement.client_no_context_takeover = (note.deflate[0] & 2) != 0;
        agreement.client_max_window_bits = note.deflate[1];
        agreement.server_max_window_bits = note.deflate[2];
        // Without memory for it we simply send uncompressed, which is always allowed.
        if (deflater_open(agreement, c->settings->deflate_options, &c->deflater) < 0) c->deflater = nullptr;
    }
    // What is still queued was meant for the connection that is gone.
    c->outbox.room();
    c->epoch_start = c->outbox.tail;
    c->answered = c->epoch;
    c->area.words->epoch_start.store(c->outbox.tail, std::memory_order_relaxed);
    c->area.words->epoch.store(slot.epoch, std::memory_order_release);
    app->changes++;
}

// A sentence as it is: adding it again would escape its escapes.
static void set_error(ErrorText *error, int code, ByteView sentence) {
    error->begin(code);
    error->size =
        static_cast<uint32_t>(sentence.size < sizeof error->text ? sentence.size : sizeof error->text - 1);
    memcpy(error->text, sentence.data, error->size);
    error->text[error->size] = 0;
}

[[gnu::cold]] static void on_note(App *app, AppConnection *c, const EventSlot &slot, wsxdp_event *event) {
    const NoteSlot *note = app->notes.front();
    if (note == nullptr) return;
    app->notes.pop();
    event->data = note->text;
    event->len = slot.size <= sizeof note->text ? slot.size : 0;
    if (slot.kind == WSXDP_EVENT_PING || slot.kind == WSXDP_EVENT_PONG) return;
    event->flags = note->flags;
    event->error = note->error;
    event->attempt = note->attempt;
    event->value = note->value;
    event->code = note->code;
    if (slot.kind == WSXDP_EVENT_OPEN) {
        on_open(app, c, slot, *note);
    } else if (slot.kind == WSXDP_EVENT_RECONNECTING) {
        c->state = WSXDP_STATE_WAITING;
    } else if (slot.kind == WSXDP_EVENT_CLOSE) {
        c->state = WSXDP_STATE_CLOSED;
        c->ended = true;
        app->ended_count++;
        app->changes++;
    } else if (slot.kind == WSXDP_EVENT_ERROR) {
        set_error(&app->error, note->error, ByteView(note->text, event->len));
    }
}

static void fill(App *app, AppConnection *c, const EventSlot &slot, wsxdp_event *event) {
    event->kind = slot.kind;
    event->flags = slot.flags;
    event->conn = c->id;
    event->code = 0;
    event->opcode = slot.opcode;
    event->error = 0;
    event->attempt = 0;
    event->value = slot.value;
    event->data = nullptr;
    event->len = slot.size;
    event->sequence = 0;
    fill_stamps(app->clock, slot, event);
    if (slot.source == EventSlot::inbox) {
        event->data = c->inbox.at(slot.position);
        if (event->len > c->inbox.capacity) event->len = 0;
    } else if (slot.source == EventSlot::inflated) {
        event->data = c->inflated.at(slot.position);
        if (event->len > c->inflated.capacity) event->len = 0;
    } else if (slot.source == EventSlot::note) {
        on_note(app, c, slot, event);
    }
    if (slot.kind == WSXDP_EVENT_MESSAGE ||
        (slot.kind == WSXDP_EVENT_FRAGMENT && (slot.flags & WSXDP_FLAG_FIRST)))
        c->sequence++;
    if (slot.kind == WSXDP_EVENT_MESSAGE || slot.kind == WSXDP_EVENT_FRAGMENT) event->sequence = c->sequence;
}

[[gnu::cold]] static void fill_plain(wsxdp_event *event, uint32_t kind, uint32_t conn, int64_t value) {
    memset(event, 0, sizeof *event);
    event->kind = kind;
    event->conn = conn;
    event->value = value;
}

// Half of it free, so that one message's room does not make one event each.
static bool writable_again(AppConnection *c) {
    return c->want_writable && (c->state != WSXDP_STATE_OPEN || c->outbox.room() >= c->outbox.capacity / 2);
}

bool app_writable(App *app) {
    for (size_t i = 0; i < app->connection_limit && app->writable_waiters != 0; i++)
        if (writable_again(&app->connections[i])) return true;
    return false;
}

[[gnu::cold]] static size_t collect_writable(App *app, wsxdp_event *out, size_t cap) {
    size_t count = 0;
    for (size_t i = 0; i < app->connection_limit && app->writable_waiters != 0 && count < cap; i++) {
        AppConnection *c = &app->connections[i];
        if (!writable_again(c)) continue;
        c->want_writable = false;
        app->writable_waiters--;
        if (c->state == WSXDP_STATE_OPEN) fill_plain(&out[count++], WSXDP_EVENT_WRITABLE, c->id, 0);
    }
    return count;
}

size_t app_collect(App *app, wsxdp_event *out, size_t cap) {
    size_t count = app->writable_waiters != 0 ? collect_writable(app, out, cap) : 0;
    const EventSlot *slot = count < cap ? app->events.front() : nullptr;
    while (slot != nullptr && count < cap) {
        if (slot->index >= app->connection_limit) {
            slot = app->events.next();
            continue;
        }
        AppConnection *c = &app->connections[slot->index];
        if (c->lost != 0 && slot->kind != 0) {
            fill_plain(&out[count++], WSXDP_EVENT_LOST, c->id, static_cast<int64_t>(c->lost));
            c->lost = 0;
            continue;
        }
        note_release(app, c, *slot);
        if (slot->kind != 0) fill(app, c, *slot, &out[count++]);
        slot = app->events.next();
    }
    return count;
}

// ---- release and hold ----

[[gnu::cold]] static uint64_t hold_floor(const App *app, uint32_t index, uint8_t source, uint64_t limit) {
    for (size_t i = 0; i < app->held_count; i++)
        if (app->held[i].index == index && app->held[i].source == source && app->held[i].position < limit)
            limit = app->held[i].position;
    return limit;
}

static void release_connection(App *app, AppConnection *c) {
    uint64_t inbox = c->release_to, inflated = c->inflated_release_to;
    if (c->holds != 0) {
        inbox = hold_floor(app, app_index(app, c), EventSlot::inbox, inbox);
        inflated = hold_floor(app, app_index(app, c), EventSlot::inflated, inflated);
    }
    c->inbox.release_to(inbox);
    if (inflated != 0) c->inflated.release_to(inflated);
}

void app_release(App *app) {
    for (size_t i = 0; i < app->touched_count; i++) {
        AppConnection *c = &app->connections[app->touched[i]];
        c->touched = false;
        c->released_sequence = c->sequence;
        if (c->id != 0) release_connection(app, c);
    }
    app->touched_count = 0;
    app->events.release();
    app->notes.release();
}

// Where the event's bytes are in a ring, if they are: before `end`, which is where the last batch ends.
static bool position_of(const ByteRingConsumer &ring, uint64_t end, const wsxdp_event *event,
                        uint64_t *position) {
    if (ring.memory == nullptr || event->data < ring.memory || event->data >= ring.memory + 2 * ring.capacity)
        return false;
    uint64_t offset = static_cast<uint64_t>(event->data - ring.memory) & (ring.capacity - 1);
    uint64_t back = (end - offset) & (ring.capacity - 1);
    if (back == 0 && event->len != 0) back = ring.capacity;
    *position = end - back;
    return event->len <= back;
}

// Memory is used again and again, so a pointer alone does not tell: messages are counted.
static bool of_last_batch(const AppConnection *c, const wsxdp_event *event) {
    if (event->kind == WSXDP_EVENT_FRAGMENT && event->sequence == c->released_sequence) return c->touched;
    return c->touched && event->sequence > c->released_sequence && event->sequence <= c->sequence;
}

[[gnu::cold]] static int refuse(App *app, int code, const char *text) {
    app->error.begin(code).add(text);
    return code;
}

int app_hold(App *app, const wsxdp_event *event) {
    AppConnection *c = app_find(app, event->conn);
    if (c == nullptr) return refuse(app, WSXDP_E_STALE, "wsxdp_hold: the connection is gone");
    if (app->held_count == app->held_max)
        return refuse(app, WSXDP_E_HOLDS, "wsxdp_hold: hold.max events are held; raise it or unhold some");
    Held held = {app_index(app, c), EventSlot::inbox, 0, event->data};
    bool found = of_last_batch(c, event) && position_of(c->inbox, c->release_to, event, &held.position);
    if (!found && of_last_batch(c, event) &&
        position_of(c->inflated, c->inflated_release_to, event, &held.position)) {
        held.source = EventSlot::inflated;
        found = true;
    }
    if (!found) return refuse(app, WSXDP_E_INVALID, "wsxdp_hold: not a message of the last batch");
    app->held[app->held_count++] = held;
    c->holds++;
    return WSXDP_OK;
}

int app_unhold(App *app, const wsxdp_event *event) {
    AppConnection *c = app_find(app, event->conn);
    if (c == nullptr) return refuse(app, WSXDP_E_STALE, "wsxdp_unhold: the connection is gone");
    for (size_t i = 0; i < app->held_count; i++) {
        if (app->held[i].index != app_index(app, c) || app->held[i].data != event->data) continue;
        app->held[i] = app->held[--app->held_count];
        c->holds--;
        // Not released here: the batch at hand may still be in use; the next poll does it.
        touch(app, c);
        return WSXDP_OK;
    }
    return refuse(app, WSXDP_E_INVALID, "wsxdp_unhold: this event is not held");
}

// ---- conflate ----

static bool ring_pressed(const App *app, uint64_t eighths) {
    return app->events.waiting() * 8 >= app->events.capacity * eighths;
}

static bool inbox_pressed(const AppConnection *c, uint64_t eighths) {
    uint64_t head = c->release_to > c->inbox.head ? c->release_to : c->inbox.head;
    uint64_t tail = c->inbox.words->tail.load(std::memory_order_acquire);
    uint64_t skip = c->inbox.words->skip.load(std::memory_order_relaxed);
    if (skip > head && skip <= tail) head = skip;
    return (tail - head) * 8 >= c->inbox.capacity * eighths;
}

// Three quarters full is pressure; dropping goes on until half is free, so that it is not done for every
// message.
bool app_pressed(const App *app) {
    if (ring_pressed(app, 6)) return true;
    for (size_t i = 0; i < app->connection_limit; i++)
        if (app->connections[i].conflate && app->connections[i].id != 0 &&
            inbox_pressed(&app->connections[i], 6))
            return true;
    return false;
}

bool app_conflate(App *app) {
    bool dropped = false;
    for (;;) {
        const EventSlot *slot = app->events.front();
        if (slot == nullptr || slot->index >= app->connection_limit) break;
        AppConnection *c = &app->connections[slot->index];
        bool droppable = slot->kind == 0 || (slot->kind == WSXDP_EVENT_MESSAGE && c->conflate);
        if (!droppable || !(ring_pressed(app, 4) || inbox_pressed(c, 4))) break;
        note_release(app, c, *slot);
        if (slot->kind != 0) {
            c->lost++;
            c->sequence++;
            c->counters.lost++;
        }
        app->events.pop();
        dropped = true;
    }
    if (dropped) app_release(app);
    return dropped;
}

} // namespace wx
