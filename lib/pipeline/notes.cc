// SPDX-License-Identifier: MIT
// What the transport tells: opened, failed, trying again, over. Each is a note (facts and text) behind a
// metadata slot, so that it keeps its place among the bytes. State changes are rare and each needs at most
// two notes; the rings are sized so that the stage checks for room once, before a change, and never loses
// one.
#include "transport.h"

namespace wx {

// An end is told by at most ERROR and CLOSE or RECONNECTING.
constexpr uint64_t notes_per_change = 2;

bool notes_have_room(Transport *t) {
    return t->notes.room(notes_per_change) >= notes_per_change &&
           t->metadata.room(notes_per_change) >= notes_per_change;
}

static NoteSlot *claim(Transport *t, Connection *c) {
    NoteSlot *note = t->notes.claim_cleared();
    MetadataSlot *slot = note ? t->metadata.claim_cleared() : nullptr;
    if (slot == nullptr) return nullptr; // callers asked notes_have_room first
    slot->index = c->index;
    slot->kind = MetadataSlot::note;
    slot->position = c->inbox.tail; // everything before belongs to what is over
    slot->poll_tick = t->now_tick;
    note->epoch = c->epoch;
    return note;
}

static void set_text(NoteSlot *note, ByteView text) {
    note->size = static_cast<uint16_t>(text.size < sizeof note->text ? text.size : sizeof note->text);
    memcpy(note->text, text.data, note->size);
}

static void publish(Transport *t) {
    t->notes.publish(); // before the slot that points at it
    t->metadata.publish();
    t->changes++;
}

void note_opened(Transport *t, Connection *c) {
    NoteSlot *note = claim(t, c);
    if (note == nullptr) return;
    note->kind = WSXDP_EVENT_OPEN;
    if (c->tls != nullptr) note->flags |= WSXDP_FLAG_TLS;
    if (c->facts.resumed) note->flags |= WSXDP_FLAG_RESUMED;
    if (c->ever_open) note->flags |= WSXDP_FLAG_RECONNECTED;
    if (c->deflating) {
        note->flags |= WSXDP_FLAG_COMPRESSED;
        note->deflate[0] = static_cast<uint8_t>(1 | (c->agreement.client_no_context_takeover ? 2 : 0) |
                                                (c->agreement.server_no_context_takeover ? 4 : 0));
        note->deflate[1] = c->agreement.client_max_window_bits;
        note->deflate[2] = c->agreement.server_max_window_bits;
    }
    note->value = t->now - c->attempt_started;
    note->attempt = static_cast<uint32_t>(c->attempts);
    set_text(note, ByteView(c->subprotocol));
    publish(t);
}

static void note_text(Transport *t, Connection *c, uint32_t kind, const ErrorText &error) {
    NoteSlot *note = claim(t, c);
    if (note == nullptr) return;
    note->kind = kind;
    note->error = error.code;
    set_text(note, ByteView(error.text, error.size));
    publish(t);
}

void note_error(Transport *t, Connection *c, const ErrorText &error) {
    note_text(t, c, WSXDP_EVENT_ERROR, error);
}

// Changes nothing: what there is no room for is not told.
void note_notice(Transport *t, Connection *c, const ErrorText &error) {
    if (notes_have_room(t)) note_text(t, c, WSXDP_EVENT_NOTICE, error);
}

static uint32_t close_flags(const Connection *c) {
    uint32_t flags = c->close_by_peer ? WSXDP_FLAG_BY_PEER : 0u;
    if (c->close_sent && c->close_received && c->end_error == 0) flags |= WSXDP_FLAG_CLEAN;
    return flags;
}

void note_reconnecting(Transport *t, Connection *c, Nanos delay, const ErrorText &error) {
    NoteSlot *note = claim(t, c);
    if (note == nullptr) return;
    note->kind = WSXDP_EVENT_RECONNECTING;
    note->error = error.code;
    note->attempt = static_cast<uint32_t>(c->attempts);
    note->value = delay;
    note->flags = close_flags(c);
    note->code = c->close_received ? c->close_code : static_cast<uint16_t>(1006);
    set_text(note, ByteView(error.text, error.size));
    publish(t);
}

void note_closed(Transport *t, Connection *c) {
    NoteSlot *note = claim(t, c);
    if (note == nullptr) return;
    note->kind = WSXDP_EVENT_CLOSE;
    note->flags = close_flags(c);
    note->error = c->end_error;
    note->code = c->close_received ? c->close_code : static_cast<uint16_t>(1006);
    if (c->close_received)
        set_text(note, ByteView(c->close_reason, c->close_size));
    else
        set_text(note, ByteView(c->error.text, c->error.size));
    publish(t);
}

} // namespace wx
