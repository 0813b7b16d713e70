// SPDX-License-Identifier: MIT
// The receiver's general path: frames that are fragments, control, compressed, incomplete, streamed or wrong.
// Judges every byte as soon as it is there, never waits for one it does not need, never writes outside the
// window. Worst case: a message of very many fragments, of which each byte is moved once when its frame is
// complete, and again whenever a full window is compacted.
#include "receiver.h"

namespace wx {
namespace {
constexpr int again = 2; // nothing to report yet: go on
} // namespace

int Receiver::judge_first(uint8_t byte) const {
    const uint8_t code = byte & 0x0F;
    const bool control = code >= 8, first_data = code == opcode_text || code == opcode_binary;
    // Section 5.2: reserved bits must be 0 unless an extension gives them a meaning; RFC 7692 section 6 gives
    // RSV1 one on the first frame of a message, and on no other.
    const uint8_t allowed = limits.deflate && first_data ? 0x40 : 0;
    if (byte & 0x70 & ~allowed) return WSXDP_E_FRAME_RSV;
    if (!first_data && code != opcode_continuation && (code < opcode_close || code > opcode_pong)) {
        return WSXDP_E_FRAME_OPCODE;
    }
    if (control) return byte & 0x80 ? WSXDP_OK : WSXDP_E_FRAME_CONTROL; // section 5.5: not fragmented
    // Section 5.4: fragments of messages are not interleaved.
    if (code == opcode_continuation && !in_message) return WSXDP_E_FRAME_CONTINUATION;
    if (first_data && in_message) return WSXDP_E_FRAME_INTERLEAVED;
    return WSXDP_OK;
}

int Receiver::judge_second(uint8_t first, uint8_t second) {
    if (second & 0x80) return WSXDP_E_FRAME_MASKED; // section 5.1: a server must not mask
    if (first & 0x08 && second > control_payload_max) return WSXDP_E_FRAME_CONTROL; // section 5.5
    return WSXDP_OK;
}

int Receiver::control(const uint8_t *start, uint64_t avail, const FrameHead &head, Item *item) {
    const uint64_t end = parse_at + head.head_bytes + head.payload_bytes;
    if (end > avail) return 0;
    const ItemKind kind = head.opcode == opcode_ping   ? ItemKind::ping
                          : head.opcode == opcode_pong ? ItemKind::pong
                                                       : ItemKind::close;
    const bool gathering = in_message && !limits.stream;
    *item = Item{kind,
                 head.opcode,
                 false,
                 true,
                 true,
                 true,
                 1,
                 start + parse_at + head.head_bytes,
                 head.payload_bytes,
                 gathering ? 0 : end};
    parse_at = gathering ? end : 0;
    return 1;
}

int Receiver::begin_data(const FrameHead &head) {
    const uint64_t gathered = limits.stream || !in_message ? 0 : message_bytes;
    if (limits.frame_bytes_max && head.payload_bytes > limits.frame_bytes_max) return WSXDP_E_MESSAGE_SIZE;
    if (!limits.stream && limits.message_bytes_max && // gathered never exceeds the limit
        head.payload_bytes > limits.message_bytes_max - gathered) {
        return WSXDP_E_MESSAGE_SIZE;
    }
    frame = head;
    in_frame = true;
    checked_bytes = 0;
    parse_at += head.head_bytes;
    if (head.opcode != opcode_continuation) {
        in_message = true;
        opcode = head.opcode;
        compressed = (head.rsv & 4) != 0;
        piece_sent = false; // utf8 needs no reset: a message that ended left it complete
        message_at = parse_at;
        message_bytes = 0;
        frames = 0;
    }
    return again;
}

int Receiver::begin_frame(const uint8_t *start, uint64_t avail, Item *item) {
    const uint8_t *at = start + parse_at;
    const uint64_t left = avail - parse_at;
    if (left == 0) return 0;
    int status = judge_first(at[0]);
    if (status < 0 || left == 1) return status;
    status = judge_second(at[0], at[1]);
    if (status < 0) return status;
    FrameHead head;
    status = frame_head_parse(at, left, &head);
    if (status <= 0) return status;
    return head.opcode & 8 ? control(start, avail, head, item) : begin_data(head);
}

bool Receiver::check_text(const uint8_t *data, uint64_t size, bool ends) {
    if (opcode != opcode_text || compressed || !limits.check_utf8) return true;
    return utf8.feed(data, size) && (!ends || utf8.complete()); // section 8.1
}

int Receiver::gather(uint8_t *start, uint64_t avail, Item *item) {
    const uint64_t there = avail - parse_at;
    const bool whole = there >= frame.payload_bytes;
    const uint64_t size = whole ? frame.payload_bytes : there;
    uint8_t *payload = start + parse_at;
    // What has arrived of a frame is checked before the rest is there.
    if (!check_text(payload + checked_bytes, size - checked_bytes, whole && frame.final)) return WSXDP_E_UTF8;
    checked_bytes = size;
    if (!whole) return 0;
    uint8_t *place = start + message_at + message_bytes;
    if (place != payload && size) memmove(place, payload, size);
    message_bytes += size;
    parse_at += size;
    frames++;
    in_frame = false;
    if (!frame.final) return again;
    *item = Item{ItemKind::message,  opcode,        compressed, true, true, true, frames,
                 start + message_at, message_bytes, parse_at};
    in_message = false;
    parse_at = 0;
    return 1;
}

int Receiver::stream(const uint8_t *start, uint64_t avail, Item *item) {
    const uint64_t there = avail - parse_at;
    const bool whole = there >= frame.payload_bytes;
    const uint64_t size = whole ? frame.payload_bytes : there;
    if (!size && !whole) return 0;
    const bool final = whole && frame.final;
    if (!check_text(start + parse_at, size, final)) return WSXDP_E_UTF8;
    *item = Item{ItemKind::piece, opcode,          compressed,       !piece_sent, final,
                 final,           whole ? 1u : 0u, start + parse_at, size,        parse_at + size};
    piece_sent = true;
    frame.payload_bytes -= size;
    parse_at = 0;
    if (whole) in_frame = false;
    if (final) in_message = false;
    return 1;
}

int Receiver::next_any(uint8_t *start, uint64_t avail, Item *item) {
    int result = again;
    while (result == again) {
        if (!in_frame) {
            result = begin_frame(start, avail, item);
            if (result != again) break;
        }
        result = limits.stream ? stream(start, avail, item) : gather(start, avail, item);
    }
    return result;
}

uint64_t Receiver::bytes_wanted() const {
    if (limits.stream) return in_frame ? parse_at + 1 : 0;
    if (in_frame) return parse_at + frame.payload_bytes; // at most 2^63 each, so it does not wrap
    return in_message ? parse_at + frame_head_max + control_payload_max : 0;
}

uint64_t Receiver::compact(uint8_t *start) {
    if (limits.stream || !in_message) return 0;
    const uint64_t moved = parse_at - message_bytes; // where the gathered bytes end is where parsing goes on
    if (message_bytes && moved != message_at) memmove(start + moved, start + message_at, message_bytes);
    message_at = 0;
    parse_at = message_bytes;
    return moved;
}

void Receiver::reset() {
    const ReceiverLimits kept = limits;
    *this = Receiver();
    limits = kept;
}

} // namespace wx
