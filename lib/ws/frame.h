// SPDX-License-Identifier: MIT
// Frame heads (RFC 6455 section 5.2), read and written.
#pragma once
#include "../base/status.h"

namespace wx {

constexpr size_t frame_head_max = 14; // 2 + 8 length + 4 mask
constexpr size_t control_payload_max = 125;

enum Opcode : uint8_t {
    opcode_continuation = 0,
    opcode_text = 1,
    opcode_binary = 2,
    opcode_close = 8,
    opcode_ping = 9,
    opcode_pong = 10,
};

struct FrameHead {
    bool final;
    uint8_t rsv; // bits 4 (RSV1) 2 1
    uint8_t opcode;
    bool masked;
    uint8_t head_bytes;
    uint32_t mask; // as it lies in memory
    uint64_t payload_bytes;
};

// > 0 head bytes, 0 more is needed, E_FRAME_LENGTH (not minimal, top bit set). Judges only the length form.
int frame_head_parse(const uint8_t *data, size_t size, FrameHead *out);
// Writes a head to out (frame_head_max bytes of room), returns its size. first = FIN | RSV | opcode.
size_t frame_head_build(uint8_t *out, uint8_t first, uint64_t payload_bytes, bool masked, uint32_t mask);

// out[i] = data[i] ^ mask[(i + phase) & 3]; out may be data. Run-time dispatched.
void mask_apply(uint8_t *out, const uint8_t *data, size_t size, uint32_t mask, unsigned phase);
// For tests and benchmarks: the widest vectors in bytes that may be used, 0 for none. Results are the same.
void mask_simd_limit(unsigned width);

// Close frame bodies (section 7.4). Which codes may be on the wire: 1000-1003, 1007-1014, 3000-4999.
bool close_code_valid(uint16_t code);
struct CloseBody {
    uint16_t code; // 1005 when the body is empty
    ByteView reason;
};
int close_body_parse(ByteView body, CloseBody *out); // E_CLOSE_CODE, E_CLOSE_UTF8
// The close code to send for one of our error codes (1002, 1007, 1009, 1010, 1011 ...).
uint16_t close_code_for(int status);

} // namespace wx
