// SPDX-License-Identifier: MIT
// Chunks in, events out. The events of one read are published together, so that the last of them can be
// marked; a connection that cannot go on is put aside and tried again at the next step. Whatever positions
// the metadata ring holds are checked against the inbox before use. Never copies a message, except into the
// inflate buffer.
#include "ws_stage.h"
#include "ws_emit.h"

namespace wx {

// ---- chunks ----

// `end`: of the slot's bytes, as checked.
static inline void add_chunk(WsConnection *c, uint64_t end, const MetadataSlot &slot) {
    if (c->chunk_count != WsConnection::chunks_max) c->chunk_count++;
    uint32_t last = (c->chunk_first + c->chunk_count - 1) % WsConnection::chunks_max;
    c->chunks[last] =
        Chunk{end, slot.poll_tick, slot.tls_tick, slot.transport_tick, slot.kernel_ns, slot.nic_ns};
}

static void drop_chunks(WsConnection *c, uint64_t position) {
    while (c->chunk_count > 1 && c->chunks[c->chunk_first].end <= position) {
        c->chunk_first = (c->chunk_first + 1) % WsConnection::chunks_max;
        c->chunk_count--;
    }
}

void ws_stamp(const WsConnection *c, uint64_t end, EventSlot *slot) {
    const Chunk *first = &c->chunks[c->chunk_first];
    const Chunk *last = first;
    for (uint32_t i = 1; i < c->chunk_count && last->end < end; i++)
        last = &c->chunks[(c->chunk_first + i) % WsConnection::chunks_max];
    slot->nic_first = first->nic_ns;
    slot->nic_last = last->nic_ns;
    slot->kernel_first = first->kernel_ns;
    slot->kernel_last = last->kernel_ns;
    slot->poll_first = first->poll_tick;
    slot->poll_last = last->poll_tick;
    slot->transport_last = last->transport_tick;
    slot->tls_last = last->tls_tick;
}

// ---- items ----

static void consume(WsConnection *c, uint64_t bytes) {
    c->start += bytes;
    if (bytes != 0) drop_chunks(c, c->start);
}

// Gives inbox bytes back that no event covers.
static bool give_back(WsStage *s, uint32_t index, uint64_t position) {
    EventSlot *slot = s->events.claim_cleared();
    if (slot == nullptr) return false;
    slot->index = index;
    slot->release_to = position;
    return true;
}

static bool tell_control(WsStage *s, WsConnection *c, uint32_t index, uint8_t kind, int error, uint16_t code,
                         int64_t value, ByteView payload) {
    ControlSlot *slot = s->control.claim();
    if (slot == nullptr) return false;
    slot->index = index;
    slot->kind = kind;
    slot->size = static_cast<uint8_t>(payload.size);
    slot->code = code;
    slot->epoch = c->epoch;
    slot->error = error;
    slot->value = value;
    if (payload.size != 0) memcpy(slot->payload, payload.data, payload.size);
    s->control.publish();
    return true;
}

// The caller sees, and may answer, what came before the broken rule; only then is the connection failed.
// What it does not take also keeps the connection, as it keeps any other that cannot go on.
static bool all_taken(WsStage *s, WsConnection *c, int error) {
    if (c->failed == 0) {
        c->failed = error;
        c->failed_after = s->events.tail;
    }
    // Pairs with the release store in RingConsumer::release.
    uint64_t head = s->events.words->head.load(std::memory_order_acquire);
    return static_cast<int64_t>(head - c->failed_after) >= 0;
}

bool ws_fail(WsStage *s, WsConnection *c, uint32_t index, int error) {
    if (!all_taken(s, c, error)) return false;
    if (!tell_control(s, c, index, ControlSlot::fail, c->failed, 0, 0, ByteView("", 0))) return false;
    c->failed = 0;
    c->discard = true;
    return true;
}

static int64_t pong_round_trip(const WsStage *s, const WsConnection *c, const Item &item) {
    uint64_t cookie = c->words->ping_cookie.load(std::memory_order_acquire);
    if (cookie == 0 || item.size != 8 || load_be64(item.data) != cookie) return 0;
    uint64_t sent = c->words->ping_tick.load(std::memory_order_relaxed);
    uint64_t received = c->chunks[(c->chunk_first + c->chunk_count - 1) % WsConnection::chunks_max].poll_tick;
    int64_t trip = received > sent ? s->clock->span_ns(received - sent) : 1;
    return trip > 0 ? trip : 1;
}

static bool on_ping_or_pong(WsStage *s, WsConnection *c, uint32_t index, const Item &item) {
    bool ping = item.kind == ItemKind::ping;
    int64_t trip = ping ? 0 : pong_round_trip(s, c, item);
    bool tells = ping || trip != 0;
    if (s->event_notes.room() == 0 || s->events.room() == 0 || (tells && s->control.room() == 0))
        return false;
    NoteSlot *note = s->event_notes.claim();
    EventSlot *slot = s->events.claim_cleared();
    note->size = static_cast<uint16_t>(item.size);
    memcpy(note->text, item.data, item.size);
    s->event_notes.publish();
    slot->index = index;
    slot->kind = ping ? WSXDP_EVENT_PING : WSXDP_EVENT_PONG;
    slot->source = EventSlot::note;
    slot->size = item.size;
    slot->value = trip;
    slot->release_to = c->start + item.consumed;
    slot->parse = s->now;
    ws_stamp(c, c->start + c->receiver.parse_at, slot);
    if (ping) {
        c->counters.pings++;
        return tell_control(s, c, index, ControlSlot::ping, 0, 0, 0, ByteView(item.data, item.size));
    }
    c->counters.pongs++;
    return trip == 0 || tell_control(s, c, index, ControlSlot::pong, 0, 0, trip, ByteView("", 0));
}

static bool on_close(WsStage *s, WsConnection *c, uint32_t index, const Item &item) {
    CloseBody body;
    int status = close_body_parse(ByteView(item.data, item.size), &body);
    if (status < 0) return ws_fail(s, c, index, status);
    if (!tell_control(s, c, index, ControlSlot::close, 0, body.code, 0, body.reason)) return false;
    c->discard = true;
    return true;
}

static inline bool on_message(WsStage *s, WsConnection *c, uint32_t index, const Item &item) {
    EventSlot *slot = s->events.claim();
    if (slot == nullptr) return false;
    bool whole = item.kind == ItemKind::message;
    uint64_t end = c->start + item.consumed;
    slot->index = index;
    slot->kind = whole ? WSXDP_EVENT_MESSAGE : WSXDP_EVENT_FRAGMENT;
    slot->source = EventSlot::inbox;
    slot->opcode = item.opcode;
    slot->flags = item.opcode == opcode_text ? WSXDP_FLAG_TEXT : WSXDP_FLAG_BINARY;
    if (!whole) slot->flags |= (item.first ? WSXDP_FLAG_FIRST : 0u) | (item.final ? WSXDP_FLAG_FINAL : 0u);
    slot->frames = item.frames;
    slot->position = c->start + static_cast<uint64_t>(item.data - (c->inbox + (c->start & c->mask)));
    slot->size = item.size;
    slot->value = 0;
    slot->release_to = end;
    slot->epoch = 0;
    slot->parse = s->now;
    ws_stamp(c, end, slot);
    if (whole || item.final) c->counters.messages++;
    c->counters.payload += item.size;
    return true;
}

// false: no room now; the item must be offered again.
static bool dispatch(WsStage *s, WsConnection *c, uint32_t index, const Item &item) {
    switch (item.kind) {
    case ItemKind::message:
    case ItemKind::piece:
        return item.compressed ? ws_inflate(s, c, index) : on_message(s, c, index, item);
    case ItemKind::close:
        return on_close(s, c, index, item);
    default:
        return on_ping_or_pong(s, c, index, item);
    }
}

// The inbox is as full as reading makes it, and the message at its beginning is not complete: the room that
// heads, control frames and empty fragments take is given back. A message that cannot fit even so is refused.
static int make_way(WsStage *s, WsConnection *c, uint32_t index) {
    uint64_t capacity = c->mask + 1;
    if (c->end - c->start + 2 * inbox_slack_bytes < capacity || s->events.room() == 0) return 0;
    uint64_t moved = c->receiver.compact(c->inbox + (c->start & c->mask));
    c->start += moved;
    if (moved != 0) give_back(s, index, c->start);
    return c->receiver.bytes_wanted() + inbox_slack_bytes > capacity ? WSXDP_E_MESSAGE_SIZE : 0;
}

static bool is_message(const EventSlot &slot) {
    return slot.kind == WSXDP_EVENT_MESSAGE || slot.kind == WSXDP_EVENT_FRAGMENT;
}

// Of what this read brought, the last message is marked, even when a ping follows it.
static inline void mark_last(WsStage *s) {
    for (uint64_t at = s->events.tail; at != s->events.published_tail; at--) {
        EventSlot *slot = &s->events.slots[(at - 1) & (s->events.capacity - 1)];
        if (!is_message(*slot)) continue;
        slot->flags |= WSXDP_FLAG_LAST_IN_BATCH;
        break;
    }
    s->events.publish();
}

static void set_blocked(WsStage *s, WsConnection *c, bool blocked) {
    if (c->blocked == blocked) return;
    c->blocked = blocked;
    blocked ? ++s->blocked_count : --s->blocked_count;
}

// Messages that are one complete frame each, one after the other: what nearly all are.
static inline void parse_whole(WsStage *s, WsConnection *c, uint32_t index) {
    Item item;
    while (c->start != c->end && s->events.room() != 0 &&
           c->receiver.next_whole(c->inbox + (c->start & c->mask), c->end - c->start, &item)) {
        on_message(s, c, index, item);
        c->counters.frames++;
        consume(c, item.consumed);
    }
}

// Everything that can be told of this connection now. False: it is blocked.
static inline bool parse(WsStage *s, WsConnection *c, uint32_t index) {
    while (!c->discard) {
        if (!c->pending) {
            parse_whole(s, c, index);
            uint64_t avail = c->end - c->start;
            if (avail == 0) return true;
            int status = c->receiver.next_any(c->inbox + (c->start & c->mask), avail, &c->item);
            if (status == 0) status = make_way(s, c, index);
            if (status == 0) return true;
            if (status < 0) {
                c->item.kind = ItemKind::close; // only its place is needed, should the control ring be full
                if (!ws_fail(s, c, index, status)) return false;
                break;
            }
            c->counters.frames += c->item.frames;
            c->pending = true;
        }
        if (!dispatch(s, c, index, c->item)) return false;
        c->pending = false;
        consume(c, c->item.consumed);
    }
    if (!give_back(s, index, c->end)) return false;
    c->start = c->end;
    return true;
}

static inline void run(WsStage *s, WsConnection *c, uint32_t index) {
    bool free = c->failed == 0 || ws_fail(s, c, index, c->failed);
    if (free) free = parse(s, c, index);
    mark_last(s);
    set_blocked(s, c, !free);
    bool partial = free && c->receiver.in_frame && !c->receiver.limits.stream;
    c->words->frame_end.store(partial ? c->start + c->receiver.bytes_wanted() : 0, std::memory_order_relaxed);
}

// ---- metadata ----

static inline void on_bytes(WsStage *s, uint32_t index, const MetadataSlot &slot) {
    WsConnection *c = &s->connections[index];
    uint64_t position = slot.position, size = slot.size; // the other side could change them under our checks
    if (c->inbox == nullptr || size > c->mask + 1) return;
    if (c->start == c->end) {
        c->start = position; // the producer may have jumped to the next lap
        c->chunk_first = c->chunk_count = 0;
    }
    c->end = position + size;
    if (c->end - c->start > c->mask + 1) return; // impossible positions: the other side is broken
    add_chunk(c, c->end, slot);
    if (!c->blocked) run(s, c, index); // in order: first what waits
}

[[gnu::cold]] static bool open_compression(WsConnection *c, const NoteSlot &note) {
    if ((note.deflate[0] & 1) == 0) return true;
    DeflateAgreement agreement;
    agreement.client_no_context_takeover = (note.deflate[0] & 2) != 0;
    agreement.server_no_context_takeover = (note.deflate[0] & 4) != 0;
    agreement.client_max_window_bits = note.deflate[1];
    agreement.server_max_window_bits = note.deflate[2];
    c->receiver.limits.deflate = true;
    return inflater_open(agreement, c->settings->deflate_options, &c->inflater) >= 0;
}

[[gnu::cold]] static void begin_opening(WsConnection *c, const NoteSlot &note, uint64_t position) {
    inflater_free(c->inflater);
    c->inflater = nullptr;
    c->receiver.limits = c->settings->receiver;
    c->receiver.reset();
    c->start = c->end = position;
    c->chunk_count = 0;
    c->discard = c->pending = c->inflating = false;
    c->failed = 0;
    c->inflated_first = true;
    c->message_inflated = 0;
    c->epoch = note.epoch;
    c->failed_after = 0;
    if (!open_compression(c, note)) c->failed = WSXDP_E_MEMORY;
}

// The note goes on to the app; false: no room yet.
[[gnu::cold]] static bool on_note(WsStage *s, uint32_t index, uint64_t position) {
    const NoteSlot *note = s->notes.front();
    if (note == nullptr) return true; // a slot without its note: the other side is broken
    if (s->event_notes.room() == 0 || s->events.room() == 0) return false;
    WsConnection *c = &s->connections[index];
    NoteSlot *copy = s->event_notes.claim();
    slot_copy(copy, *note);
    s->notes.pop();
    s->notes.release();
    s->changes++;
    if (copy->size > sizeof copy->text) copy->size = 0;
    if (copy->kind == WSXDP_EVENT_OPEN && c->inbox != nullptr) begin_opening(c, *copy, position);
    if (copy->kind == WSXDP_EVENT_RECONNECTING || copy->kind == WSXDP_EVENT_CLOSE) {
        c->discard = true;
        set_blocked(s, c, false);
    }
    s->event_notes.publish();
    EventSlot *event = s->events.claim_cleared();
    event->index = index;
    event->kind = static_cast<uint8_t>(copy->kind);
    event->source = EventSlot::note;
    event->size = copy->size;
    // A notice changes nothing: what lies before it in the inbox may be a message that is not whole yet.
    const bool frees = copy->kind != WSXDP_EVENT_ERROR && copy->kind != WSXDP_EVENT_NOTICE;
    event->release_to = frees ? position : 0;
    event->epoch = copy->epoch;
    event->parse = s->now;
    s->events.publish();
    return true;
}

// What a blocked connection still has to tell comes before a note or the end of its stream. False: not yet.
[[gnu::cold]] static bool on_change(WsStage *s, uint32_t index, const MetadataSlot &slot) {
    WsConnection *c = &s->connections[index];
    if (c->blocked) return false;
    if (c->inbox == nullptr && s->on_unknown != nullptr) s->on_unknown(s->on_unknown_context, index);
    if (slot.kind == MetadataSlot::note) return on_note(s, index, slot.position);
    return slot.kind != MetadataSlot::end ||
           tell_control(s, c, index, ControlSlot::ended, 0, 0, 0, ByteView("", 0));
}

[[gnu::cold]] static bool retry_blocked(WsStage *s) {
    bool moved = false;
    for (size_t i = 0; i < s->connection_limit && s->blocked_count != 0; i++) {
        WsConnection *c = &s->connections[i];
        if (!c->blocked) continue;
        uint64_t before = c->start;
        run(s, c, static_cast<uint32_t>(i));
        moved |= !c->blocked || c->start != before;
    }
    return moved;
}

bool ws_step(WsStage *s, Tick now) {
    s->now = now;
    bool moved = s->blocked_count != 0 && retry_blocked(s);
    for (const MetadataSlot *slot = s->metadata.front(); slot != nullptr; slot = s->metadata.next()) {
        uint32_t index = slot->index; // the other side could change it under our check
        if (index >= s->connection_limit) continue;
        if (slot->kind == MetadataSlot::bytes)
            on_bytes(s, index, *slot);
        else if (!on_change(s, index, *slot))
            break;
        moved = true;
    }
    s->metadata.release();
    return moved;
}

void ws_attach(WsStage *s, uint32_t index, const ConnectionArea &area, uint64_t inbox_bytes,
               const Settings *settings) {
    WsConnection *c = &s->connections[index];
    *c = WsConnection();
    c->inbox = area.inbox;
    c->mask = inbox_bytes - 1;
    c->words = area.words;
    c->settings = settings;
    c->start = c->end = area.words->inbox.tail.load(std::memory_order_relaxed);
    if (area.inflated != nullptr) c->inflated.resume(&area.words->inflated, area.inflated, inbox_bytes);
}

void ws_detach(WsStage *s, uint32_t index) {
    WsConnection *c = &s->connections[index];
    set_blocked(s, c, false);
    inflater_free(c->inflater);
    *c = WsConnection();
}

} // namespace wx
