// SPDX-License-Identifier: MIT
// Frame heads, masking and close bodies against plain references: every length form at its borders, every
// mask phase, alignment and size, every close code.
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#include "../../lib/ws/frame.h"
#include <string>
#include <vector>

namespace {

using wx::FrameHead;

void heads_there_and_back(void **) {
    const uint64_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 1u << 24, (uint64_t(1) << 63) - 1};
    for (uint64_t size : sizes) {
        for (bool masked : {false, true}) {
            for (unsigned first = 0; first < 256; first++) {
                uint8_t bytes[wx::frame_head_max];
                const size_t n =
                    wx::frame_head_build(bytes, static_cast<uint8_t>(first), size, masked, 0xA1B2C3D4);
                const size_t form = size < 126 ? 2 : size < 65536 ? 4 : 10;
                assert_int_equal(n, form + (masked ? 4 : 0));
                FrameHead head{};
                for (size_t part = 0; part < n; part++)
                    assert_int_equal(wx::frame_head_parse(bytes, part, &head), 0);
                assert_int_equal(wx::frame_head_parse(bytes, n, &head), n);
                assert_int_equal(head.final, first >> 7);
                assert_int_equal(head.rsv, first >> 4 & 7);
                assert_int_equal(head.opcode, first & 15);
                assert_int_equal(head.masked, masked);
                assert_int_equal(head.mask, masked ? 0xA1B2C3D4 : 0);
                assert_true(head.payload_bytes == size);
                assert_int_equal(head.head_bytes, n);
            }
        }
    }
}

void lengths_must_be_minimal(void **) {
    FrameHead head{};
    for (unsigned size = 0; size < 65536; size++) {
        const uint8_t two[] = {0x82, 126, static_cast<uint8_t>(size >> 8), static_cast<uint8_t>(size)};
        assert_int_equal(wx::frame_head_parse(two, 4, &head), size < 126 ? WSXDP_E_FRAME_LENGTH : 4);
        const uint8_t eight[] = {0x82, 127, 0, 0, 0, 0, 0, 0, two[2], two[3]};
        assert_int_equal(wx::frame_head_parse(eight, 10, &head), WSXDP_E_FRAME_LENGTH);
    }
    const uint8_t least[] = {0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0};
    assert_int_equal(wx::frame_head_parse(least, 10, &head), 10);
    const uint8_t top[] = {0x82, 127, 0x80, 0, 0, 0, 0, 1, 0, 0};
    for (size_t n = 3; n <= 10; n++)
        assert_int_equal(wx::frame_head_parse(top, n, &head), WSXDP_E_FRAME_LENGTH);
    const uint8_t masked[] = {0x82, 0xFE, 0, 125, 1, 2, 3, 4}; // known before the mask is there
    assert_int_equal(wx::frame_head_parse(masked, 4, &head), WSXDP_E_FRAME_LENGTH);
}

void mask_against_reference() {
    const uint8_t key[4] = {0x01, 0x80, 0xFE, 0x37};
    uint32_t mask;
    memcpy(&mask, key, 4);
    std::vector<uint8_t> data(900), out(900), want(900);
    for (size_t i = 0; i < data.size(); i++) data[i] = static_cast<uint8_t>(i * 7 + (i >> 5));
    for (size_t size = 0; size <= 400; size++) {
        for (size_t from = 0; from < 36; from += size < 70 ? 1 : 5) {
            const size_t to = (from * 7 + size) % 37;
            const unsigned phase = static_cast<unsigned>(from + size / 3) % 8;
            std::fill(out.begin(), out.end(), static_cast<uint8_t>(0xCC));
            want = out;
            for (size_t i = 0; i < size; i++) want[to + i] = data[from + i] ^ key[(i + phase) & 3];
            wx::mask_apply(out.data() + to, data.data() + from, size, mask, phase);
            assert_true(out == want); // also what is around it
            std::vector<uint8_t> in_place(data);
            wx::mask_apply(in_place.data() + from, in_place.data() + from, size, mask, phase);
            assert_memory_equal(in_place.data() + from, want.data() + to, size);
        }
    }
}

void mask_in_pieces() {
    std::vector<uint8_t> data(1000, 0x5A), whole(1000), pieces(1000);
    wx::mask_apply(whole.data(), data.data(), data.size(), 0xDEADBEEF, 0);
    for (size_t step = 1; step < 140; step++) {
        for (size_t at = 0; at < data.size(); at += step) {
            const size_t n = step < data.size() - at ? step : data.size() - at;
            wx::mask_apply(pieces.data() + at, data.data() + at, n, 0xDEADBEEF, static_cast<unsigned>(at));
        }
        assert_true(pieces == whole);
    }
}

void mask_at_every_width(void **) {
    for (unsigned width : {0, 16, 32}) {
        wx::mask_simd_limit(width);
        mask_against_reference();
        mask_in_pieces();
    }
}

// Autobahn groups 7.7 and 7.9: which codes a peer may send.
void close_codes(void **) {
    for (unsigned code = 0; code < 65536; code++) {
        const bool valid = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                           (code >= 3000 && code <= 4999);
        assert_int_equal(wx::close_code_valid(static_cast<uint16_t>(code)), valid);
        const uint8_t body[2] = {static_cast<uint8_t>(code >> 8), static_cast<uint8_t>(code)};
        wx::CloseBody close{};
        assert_int_equal(wx::close_body_parse(wx::ByteView(body, 2), &close), valid ? 0 : WSXDP_E_CLOSE_CODE);
        if (valid) assert_int_equal(close.code, code);
    }
}

void close_bodies(void **) {
    wx::CloseBody close{};
    assert_int_equal(wx::close_body_parse(wx::ByteView(), &close), 0);
    assert_int_equal(close.code, 1005);
    assert_int_equal(close.reason.size, 0);
    assert_int_equal(wx::close_body_parse(wx::ByteView("\x03", 1), &close), WSXDP_E_CLOSE_CODE);
    assert_int_equal(wx::close_body_parse(wx::ByteView("\x03\xE8hello", 7), &close), 0);
    assert_int_equal(close.code, 1000);
    assert_int_equal(close.reason.size, 5);
    assert_memory_equal(close.reason.data, "hello", 5);
    std::string body = std::string("\x0F\xA0", 2) + std::string(123, 'r');
    assert_int_equal(wx::close_body_parse(wx::ByteView(body.data(), body.size()), &close), 0);
    assert_int_equal(close.code, 4000);
    assert_int_equal(close.reason.size, 123);
    for (const char *bad : {"\x03\xE8\xCE", "\x03\xE8\xCE\xBA\xE1\xBD\xB9\xED\xA0\x80", "\x03\xE8\xFF"}) {
        assert_int_equal(wx::close_body_parse(wx::ByteView(bad), &close), WSXDP_E_CLOSE_UTF8);
    }
}

void codes_for_errors(void **) {
    struct Row {
        int status;
        uint16_t code;
    };
    const Row rows[] = {{WSXDP_OK, 1000},
                        {WSXDP_E_FRAME_RSV, 1002},
                        {WSXDP_E_FRAME_OPCODE, 1002},
                        {WSXDP_E_FRAME_MASKED, 1002},
                        {WSXDP_E_FRAME_LENGTH, 1002},
                        {WSXDP_E_FRAME_CONTROL, 1002},
                        {WSXDP_E_FRAME_CONTINUATION, 1002},
                        {WSXDP_E_FRAME_INTERLEAVED, 1002},
                        {WSXDP_E_CLOSE_CODE, 1002},
                        {WSXDP_E_UTF8, 1007},
                        {WSXDP_E_CLOSE_UTF8, 1007},
                        {WSXDP_E_DEFLATE, 1007},
                        {WSXDP_E_OVERFLOW, 1008},
                        {WSXDP_E_MESSAGE_SIZE, 1009},
                        {WSXDP_E_INFLATE_SIZE, 1009},
                        {WSXDP_E_EXTENSION, 1010},
                        {WSXDP_E_INTERNAL, 1011},
                        {WSXDP_E_MEMORY, 1011}};
    for (const Row &row : rows) assert_int_equal(wx::close_code_for(row.status), row.code);
    for (int status = -1000; status <= 0; status++)
        assert_true(wx::close_code_valid(wx::close_code_for(status)));
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(heads_there_and_back), cmocka_unit_test(lengths_must_be_minimal),
        cmocka_unit_test(mask_at_every_width),  cmocka_unit_test(close_codes),
        cmocka_unit_test(close_bodies),         cmocka_unit_test(codes_for_errors),
    };
    return cmocka_run_group_tests_name("ws/frame", tests, nullptr, nullptr);
}
