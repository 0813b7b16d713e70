// SPDX-License-Identifier: MIT
// From the caller's bytes to frames in the outbox: all of a message or nothing. Text is checked, compressed
// if that was agreed on, masked on the way in, so that the payload is touched once. Never sends: placement
// does, right after.
#include "app.h"

namespace wx {

[[gnu::cold]] static int refuse(App *app, int code, const char *text) {
    app->error.begin(code).add("sending: ").add(text);
    return code;
}

static bool is_control(uint32_t opcode) { return opcode == WSXDP_PING || opcode == WSXDP_PONG; }

constexpr uint32_t known_flags = WSXDP_SEND_MORE | WSXDP_SEND_NOT_FINAL | WSXDP_SEND_UNCOMPRESSED;

static inline int check_state(App *app, AppConnection *c) {
    if (c->state == WSXDP_STATE_CLOSED || c->close_asked)
        return refuse(app, WSXDP_E_CLOSED, "the connection is closing or closed");
    if (c->state != WSXDP_STATE_OPEN)
        return refuse(app, WSXDP_E_STATE, "the connection is not open; wait for the OPEN event");
    return WSXDP_OK;
}

static inline int check_send(App *app, AppConnection *c, uint32_t opcode, ByteView data, uint32_t flags) {
    if (flags & ~known_flags) return refuse(app, WSXDP_E_FLAGS, "a flag bit that this version does not know");
    int status = check_state(app, c);
    if (status < 0) return status;
    if (is_control(opcode)) {
        if (data.size > control_payload_max)
            return refuse(app, WSXDP_E_TOO_BIG, "a ping or pong carries at most 125 bytes");
        if (flags & WSXDP_SEND_NOT_FINAL)
            return refuse(app, WSXDP_E_INVALID, "a ping or pong cannot be fragmented");
        return WSXDP_OK;
    }
    if (opcode != WSXDP_TEXT && opcode != WSXDP_BINARY && opcode != WSXDP_CONTINUATION)
        return refuse(app, WSXDP_E_INVALID,
                      "no such opcode; use WSXDP_TEXT, BINARY, CONTINUATION, PING or PONG");
    if ((opcode == WSXDP_CONTINUATION) != c->in_message)
        return refuse(app, WSXDP_E_STATE,
                      c->in_message ? "a fragmented message is under way: send WSXDP_CONTINUATION"
                                    : "there is no fragmented message to continue");
    return WSXDP_OK;
}

// On a copy of the state: a message that is refused for lack of room is offered again.
static inline int check_text(App *app, AppConnection *c, uint32_t opcode, ByteView data, bool final,
                             Utf8 *after) {
    bool text = opcode == WSXDP_TEXT || (opcode == WSXDP_CONTINUATION && c->message_is_text);
    if (!text || !c->settings->send_check_utf8) return WSXDP_OK;
    *after = opcode == WSXDP_TEXT ? Utf8() : c->utf8;
    if (opcode == WSXDP_TEXT && final && utf8_valid(data.data, data.size)) return WSXDP_OK;
    if (after->feed(data.data, data.size) && (!final || after->complete())) return WSXDP_OK;
    return refuse(app, WSXDP_E_SEND_UTF8, "the text is not UTF-8; send it as WSXDP_BINARY or mend it");
}

[[gnu::cold]] static int no_room(App *app, AppConnection *c, uint64_t needed) {
    if (needed > c->outbox.capacity)
        return refuse(app, WSXDP_E_TOO_BIG,
                      "the message exceeds outbox.bytes; raise it or send fragments (WSXDP_SEND_NOT_FINAL)");
    c->counters.refused++;
    if (!c->want_writable) app->writable_waiters++;
    c->want_writable = true;
    app->error.begin(WSXDP_E_AGAIN).add("sending: the outbox is full; a WRITABLE event follows");
    return WSXDP_E_AGAIN;
}

[[gnu::noinline]] static void draw_masks(App *app) {
    app->random->fill(app->random, reinterpret_cast<uint8_t *>(app->masks), sizeof app->masks);
    app->masks_left = App::masks_max;
}

// Drawn a handful at a time; each is used once and wiped.
static inline uint32_t next_mask(App *app, const AppConnection *c) {
    if (c->settings->mask_zero) return 0;
    if (app->masks_left == 0) draw_masks(app);
    uint32_t mask = app->masks[--app->masks_left];
    app->masks[app->masks_left] = 0;
    return mask;
}

// One frame at out; returns its size.
static inline uint64_t put_frame(App *app, AppConnection *c, uint8_t *out, uint8_t first, ByteView payload) {
    uint32_t mask = next_mask(app, c);
    size_t head = frame_head_build(out, first, payload.size, true, mask);
    mask_apply(out + head, payload.data, payload.size, mask, 0);
    c->counters.frames_sent++;
    return head + payload.size;
}

// Nothing leaves under a mask that was not random (RFC 6455 section 10.3).
static inline int publish(App *app, AppConnection *c, uint64_t bytes) {
    if (app->random->failed)
        return refuse(app, WSXDP_E_SYSTEM, "the kernel gives no random bytes for masks any more");
    c->outbox.publish(bytes);
    if (c->outbox.used() > c->counters.outbox_max) c->counters.outbox_max = c->outbox.used();
    return WSXDP_OK;
}

// A message in frames of `part` bytes, final only on the last.
[[gnu::noinline]] static int put_fragments(App *app, AppConnection *c, uint8_t opcode, bool final,
                                           ByteView payload, uint64_t part) {
    uint64_t frames = (payload.size + part - 1) / part;
    uint64_t needed = payload.size + frames * frame_head_max;
    if (c->outbox.room() < needed) return no_room(app, c, needed);
    c->outbox.rewind_if_empty();
    uint8_t *out = c->outbox.at_tail();
    uint64_t size = 0;
    for (uint64_t i = 0; i < frames; i++) {
        bool last = i + 1 == frames;
        uint8_t first = static_cast<uint8_t>((i == 0 ? opcode : static_cast<uint8_t>(opcode_continuation)) |
                                             (last && final ? 0x80 : 0));
        size += put_frame(app, c, out + size, first, payload.from(i * part).first(part));
    }
    return publish(app, c, size);
}

static inline int put_message(App *app, AppConnection *c, uint8_t opcode, bool final, ByteView payload) {
    uint64_t part = c->settings->send_fragment_bytes;
    if (part != 0 && part < payload.size && opcode < opcode_close)
        return put_fragments(app, c, opcode, final, payload, part);
    uint64_t needed = payload.size + frame_head_max;
    if (c->outbox.room() < needed) return no_room(app, c, needed);
    c->outbox.rewind_if_empty();
    uint8_t first = static_cast<uint8_t>(opcode | (final ? 0x80 : 0));
    return publish(app, c, put_frame(app, c, c->outbox.at_tail(), first, payload));
}

// Compresses into the outbox behind room for the head, then puts the head in front and masks in place.
[[gnu::noinline]] static int put_compressed(App *app, AppConnection *c, uint8_t opcode, bool final,
                                            ByteView data) {
    uint64_t needed = frame_head_max + deflater_bound(c->deflater, data.size);
    if (c->outbox.room() < needed) return no_room(app, c, needed);
    c->outbox.rewind_if_empty();
    uint8_t *out = c->outbox.at_tail();
    uint8_t *body = out + frame_head_max;
    int64_t size = deflater_message(c->deflater, data, final, ByteSpan(body, needed - frame_head_max));
    if (size < 0) return refuse(app, static_cast<int>(size), "compression failed");
    uint32_t mask = next_mask(app, c);
    // RSV1 is set on the first frame of a message only (RFC 7692 section 6.1).
    uint8_t first =
        static_cast<uint8_t>(opcode | (final ? 0x80 : 0) | (opcode != opcode_continuation ? 0x40 : 0));
    size_t head = frame_head_build(out, first, static_cast<uint64_t>(size), true, mask);
    memmove(out + head, body, static_cast<size_t>(size));
    mask_apply(out + head, out + head, static_cast<size_t>(size), mask, 0);
    c->counters.frames_sent++;
    return publish(app, c, head + static_cast<uint64_t>(size));
}

static bool wants_compression(const AppConnection *c, uint32_t opcode, size_t size, uint32_t flags) {
    if (c->deflater == nullptr || is_control(opcode)) return false;
    if (opcode == WSXDP_CONTINUATION) return c->message_compressed; // a message is one or the other
    if (flags & WSXDP_SEND_UNCOMPRESSED) return false;
    return size >= c->settings->deflate_min_bytes || (flags & WSXDP_SEND_NOT_FINAL);
}

int app_send(App *app, AppConnection *c, uint32_t opcode, ByteView data, uint32_t flags) {
    bool final = (flags & WSXDP_SEND_NOT_FINAL) == 0;
    Utf8 utf8_after;
    int status = check_send(app, c, opcode, data, flags);
    if (status >= 0) status = check_text(app, c, opcode, data, final, &utf8_after);
    if (status < 0) return status;
    bool compress = wants_compression(c, opcode, data.size, flags);
    c->begun = 0;
    status = compress ? put_compressed(app, c, static_cast<uint8_t>(opcode), final, data)
                      : put_message(app, c, static_cast<uint8_t>(opcode), final, data);
    if (status < 0 || is_control(opcode)) return status;
    if (opcode != WSXDP_CONTINUATION) {
        c->message_is_text = opcode == WSXDP_TEXT;
        c->message_compressed = compress;
    }
    c->utf8 = utf8_after;
    c->in_message = !final;
    if (final) c->counters.messages_sent++;
    c->counters.payload_sent += data.size;
    return WSXDP_OK;
}

int app_send_begin(App *app, AppConnection *c, uint32_t opcode, size_t cap, void **buf) {
    int status = check_send(app, c, opcode, ByteView("", 0), 0);
    if (status < 0) return status;
    if (is_control(opcode))
        return refuse(app, WSXDP_E_INVALID, "send_begin is for messages; send pings with wsxdp_send");
    if (c->deflater != nullptr)
        return refuse(app, WSXDP_E_UNSUPPORTED, "send_begin on a compressed connection; use wsxdp_send");
    uint64_t needed = cap + frame_head_max;
    if (needed < cap || c->outbox.room() < needed) return no_room(app, c, needed < cap ? UINT64_MAX : needed);
    c->outbox.rewind_if_empty();
    c->begun = needed;
    c->begun_opcode = static_cast<uint8_t>(opcode);
    *buf = c->outbox.at_tail() + frame_head_max;
    return WSXDP_OK;
}

int app_send_commit(App *app, AppConnection *c, size_t size, uint32_t flags) {
    if (c->begun == 0) return refuse(app, WSXDP_E_STATE, "commit without a begin");
    if (size > c->begun - frame_head_max)
        return refuse(app, WSXDP_E_INVALID, "commit of more than begin gave room for");
    uint8_t opcode = c->begun_opcode;
    bool final = (flags & WSXDP_SEND_NOT_FINAL) == 0;
    uint8_t *out = c->outbox.at_tail();
    ByteView data(out + frame_head_max, size);
    Utf8 utf8_after;
    int status = check_send(app, c, opcode, data, flags);
    if (status >= 0) status = check_text(app, c, opcode, data, final, &utf8_after);
    if (status < 0) return status;
    c->begun = 0;
    uint32_t mask = next_mask(app, c);
    uint8_t head_bytes[frame_head_max];
    uint8_t first = static_cast<uint8_t>(opcode | (final ? 0x80 : 0));
    size_t head = frame_head_build(head_bytes, first, size, true, mask);
    // The head is shorter than the room left for it, and a frame must begin at the tail.
    memmove(out + head, data.data, size);
    mask_apply(out + head, out + head, size, mask, 0);
    memcpy(out, head_bytes, head);
    status = publish(app, c, head + size);
    if (status < 0) return status;
    c->counters.frames_sent++;
    if (opcode != opcode_continuation) {
        c->message_is_text = opcode == opcode_text;
        c->message_compressed = false;
    }
    c->utf8 = utf8_after;
    c->in_message = !final;
    if (final) c->counters.messages_sent++;
    c->counters.payload_sent += size;
    return WSXDP_OK;
}

// ---- close ----

static int command(App *app, AppConnection *c, uint8_t kind, uint16_t code, ByteView text) {
    CommandSlot *slot = app->commands.claim();
    if (slot == nullptr) return refuse(app, WSXDP_E_AGAIN, "the command queue is full; poll, then try again");
    slot->index = app_index(app, c);
    slot->kind = kind;
    slot->code = code;
    slot->size = static_cast<uint8_t>(text.size);
    memcpy(slot->payload, text.data, text.size);
    app->commands.publish();
    return WSXDP_OK;
}

void app_connect(App *app, uint32_t index) {
    (void)command(app, &app->connections[index], CommandSlot::connect, 0, ByteView("", 0));
}

int app_close(App *app, AppConnection *c, uint16_t code, ByteView reason) {
    if (c->state == WSXDP_STATE_CLOSED || c->close_asked)
        return refuse(app, WSXDP_E_CLOSED, "the connection is closing or closed");
    if (code != 0 && !close_code_valid(code))
        return refuse(app, WSXDP_E_INVALID,
                      "a close code is 1000-1003, 1007-1014 or 3000-4999 (RFC 6455 section 7.4)");
    if (reason.size > control_payload_max - 2 || (code == 0 && reason.size != 0))
        return refuse(app, WSXDP_E_INVALID, "a close reason has at most 123 bytes and needs a code");
    if (!utf8_valid(reason.data, reason.size))
        return refuse(app, WSXDP_E_INVALID, "the close reason is not UTF-8");
    int status = command(app, c, CommandSlot::close, code, reason);
    if (status < 0) return status;
    c->close_asked = true;
    if (c->state == WSXDP_STATE_OPEN) c->state = WSXDP_STATE_CLOSING;
    return WSXDP_OK;
}

int app_abort(App *app, AppConnection *c) {
    if (c->state == WSXDP_STATE_CLOSED) return refuse(app, WSXDP_E_CLOSED, "the connection is closed");
    int status = command(app, c, CommandSlot::abort, 0, ByteView("", 0));
    if (status >= 0) c->close_asked = true;
    return status;
}

} // namespace wx
