// SPDX-License-Identifier: MIT
// Frame heads and close bodies (RFC 6455 sections 5.2, 5.5.1, 7.4). Reads from a view and writes into a
// buffer that the caller gives; never reads past the view, never allocates, keeps nothing. Accepts at worst
// any sequence of bytes: the answer is then "more" or a code.
#include "frame.h"
#include "utf8.h"

namespace wx {

int frame_head_parse(const uint8_t *data, size_t size, FrameHead *out) {
    if (size < 2) return 0;
    const unsigned length = data[1] & 0x7F;
    const bool masked = (data[1] & 0x80) != 0;
    const size_t length_bytes = length < 126 ? 0 : length == 126 ? 2 : 8;
    const size_t head = 2 + length_bytes + (masked ? 4 : 0);
    uint64_t payload = length;
    // Section 5.2: the minimal number of bytes must be used, and the most significant bit must be 0. The
    // length is judged before the mask has arrived, so that a wrong one fails at its own last byte.
    if (size >= 2 + length_bytes) {
        if (length == 126) payload = load_be16(data + 2);
        if (length == 127) payload = load_be64(data + 2);
        if (length == 126 && payload < 126) return WSXDP_E_FRAME_LENGTH;
        if (length == 127 && (payload < 65536 || payload >> 63)) return WSXDP_E_FRAME_LENGTH;
    } else if (length == 127 && size > 2 && (data[2] & 0x80)) {
        return WSXDP_E_FRAME_LENGTH;
    }
    if (size < head) return 0;
    out->final = (data[0] & 0x80) != 0;
    out->rsv = static_cast<uint8_t>(data[0] >> 4 & 7);
    out->opcode = data[0] & 0x0F;
    out->masked = masked;
    out->head_bytes = static_cast<uint8_t>(head);
    out->mask = 0;
    if (masked) memcpy(&out->mask, data + head - 4, 4);
    out->payload_bytes = payload;
    return static_cast<int>(head);
}

size_t frame_head_build(uint8_t *out, uint8_t first, uint64_t payload_bytes, bool masked, uint32_t mask) {
    const uint8_t mask_bit = masked ? 0x80 : 0;
    size_t size = 2;
    out[0] = first;
    if (payload_bytes < 126) {
        out[1] = static_cast<uint8_t>(mask_bit | payload_bytes);
    } else if (payload_bytes < 65536) {
        out[1] = mask_bit | 126;
        store_be16(out + 2, static_cast<uint16_t>(payload_bytes));
        size = 4;
    } else {
        out[1] = mask_bit | 127;
        store_be64(out + 2, payload_bytes);
        size = 10;
    }
    if (masked) {
        memcpy(out + size, &mask, 4);
        size += 4;
    }
    return size;
}

bool close_code_valid(uint16_t code) {
    // Section 7.4.1 and the registry after it. 1004 is reserved; 1005, 1006 and 1015 stand for events that
    // have no frame; what is below 3000 otherwise belongs to later versions of the protocol.
    if (code >= 1000 && code <= 1014) return code < 1004 || code > 1006;
    return code >= 3000 && code <= 4999;
}

int close_body_parse(ByteView body, CloseBody *out) {
    *out = CloseBody{1005, ByteView()};
    if (body.empty()) return WSXDP_OK;
    if (body.size < 2) return WSXDP_E_CLOSE_CODE;
    const uint16_t code = load_be16(body.data);
    if (!close_code_valid(code)) return WSXDP_E_CLOSE_CODE;
    out->code = code;
    out->reason = body.from(2);
    return utf8_valid(out->reason.data, out->reason.size) ? WSXDP_OK : WSXDP_E_CLOSE_UTF8;
}

uint16_t close_code_for(int status) {
    switch (status) {
    case WSXDP_OK:
        return 1000;
    case WSXDP_E_ABORTED:
    case WSXDP_E_DEAD:
        return 1001; // going away
    case WSXDP_E_FRAME_RSV:
    case WSXDP_E_FRAME_OPCODE:
    case WSXDP_E_FRAME_MASKED:
    case WSXDP_E_FRAME_LENGTH:
    case WSXDP_E_FRAME_CONTROL:
    case WSXDP_E_FRAME_CONTINUATION:
    case WSXDP_E_FRAME_INTERLEAVED:
    case WSXDP_E_CLOSE_CODE:
        return 1002; // protocol error
    case WSXDP_E_UTF8:
    case WSXDP_E_CLOSE_UTF8:
    case WSXDP_E_DEFLATE:
        return 1007; // data not consistent with the type of the message
    case WSXDP_E_OVERFLOW:
        return 1008; // policy
    case WSXDP_E_MESSAGE_SIZE:
    case WSXDP_E_INFLATE_SIZE:
        return 1009; // too big
    case WSXDP_E_EXTENSION:
        return 1010;
    default:
        return 1011; // what went wrong is ours
    }
}

} // namespace wx
