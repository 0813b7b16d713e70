// SPDX-License-Identifier: MIT
// Compressed messages: from the inbox into the connection's inflate buffer, a second ring of the same size,
// so that what the caller sees is contiguous here too. An item that does not fit now is continued later where
// it stopped. Worst case accepted: a bomb; it is cut off at the ratio and size limits before it takes more
// than the buffer.
#include "ws_emit.h"

namespace wx {

static EventSlot *claim(WsStage *s, WsConnection *c, uint32_t index, uint64_t size) {
    EventSlot *slot = s->events.claim_cleared();
    if (slot == nullptr) return nullptr;
    slot->index = index;
    slot->source = EventSlot::inflated;
    slot->opcode = c->item.opcode;
    slot->flags =
        (c->item.opcode == opcode_text ? WSXDP_FLAG_TEXT : WSXDP_FLAG_BINARY) | WSXDP_FLAG_COMPRESSED;
    slot->position = c->inflated.tail;
    slot->size = size;
    slot->parse = s->now;
    ws_stamp(c, c->start + c->item.consumed, slot);
    c->inflated.publish(size);
    c->counters.payload += size;
    return slot;
}

// What is inflated so far as an event. The item's own bytes are given back with its last event.
static bool emit(WsStage *s, WsConnection *c, uint32_t index, bool done) {
    bool whole = c->item.kind == ItemKind::message;
    bool final = done && (whole || c->item.final);
    if (!final && c->item_produced == 0) return true; // a piece that inflates to nothing yet
    EventSlot *slot = claim(s, c, index, c->item_produced);
    if (slot == nullptr) return false;
    slot->kind = whole ? WSXDP_EVENT_MESSAGE : WSXDP_EVENT_FRAGMENT;
    if (!whole) slot->flags |= (c->inflated_first ? WSXDP_FLAG_FIRST : 0u) | (final ? WSXDP_FLAG_FINAL : 0u);
    slot->frames = done ? c->item.frames : 0;
    slot->release_to = done ? c->start + c->item.consumed : c->start;
    c->inflated_first = final;
    c->item_produced = 0;
    if (final) c->counters.messages++;
    return true;
}

static bool text_valid(WsConnection *c, const uint8_t *data, size_t size, bool final) {
    if (c->item.opcode != opcode_text || !c->settings->receiver.check_utf8) return true;
    return c->utf8.feed(data, size) && (!final || c->utf8.complete());
}

static void begin_item(WsConnection *c) {
    c->inflating = true;
    c->item_taken = c->item_produced = 0;
    if (c->item.kind == ItemKind::message || c->item.first) {
        c->utf8 = Utf8();
        c->inflated_first = true;
        c->message_inflated = 0;
    }
    c->inflated.room();
    c->inflated.rewind_if_empty();
}

// 1 the item is inflated, 0 the buffer is full, < 0 a rule is broken.
static int feed(WsConnection *c) {
    ByteView input(c->item.data + c->item_taken, static_cast<size_t>(c->item.size - c->item_taken));
    bool last = c->item.kind == ItemKind::message || c->item.final;
    uint64_t room = c->inflated.room() - c->item_produced;
    uint8_t *out = c->inflated.at_tail() + c->item_produced;
    size_t produced = 0;
    size_t before = input.size;
    int status = inflater_feed(c->inflater, &input, last, ByteSpan(out, room), c->settings->message_max_bytes,
                               &produced);
    c->item_taken += before - input.size;
    c->item_produced += produced;
    c->message_inflated += produced;
    if (status < 0) return status;
    // A piece is done once it is taken and nothing more comes of it for now.
    bool done = status == 1 || (!last && input.size == 0 && produced < room);
    if (!text_valid(c, out, produced, done && last)) return WSXDP_E_UTF8;
    return done ? 1 : 0;
}

bool ws_inflate(WsStage *s, WsConnection *c, uint32_t index) {
    if (!c->inflating) begin_item(c);
    if (s->events.room() == 0) return false;
    int status = feed(c);
    if (status == 0 && c->item.kind == ItemKind::message) {
        // The message must be contiguous: with the buffer to itself and still too long, it never fits.
        bool alone = c->inflated.room() == c->inflated.capacity;
        if (!alone) return false;
        status = WSXDP_E_MESSAGE_SIZE;
    }
    if (status < 0) {
        if (!ws_fail(s, c, index, status)) return false;
        c->inflating = false;
        return true;
    }
    if (!emit(s, c, index, status == 1)) return false;
    if (status == 0) return false;
    c->inflating = false;
    return true;
}

} // namespace wx
