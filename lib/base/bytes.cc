// SPDX-License-Identifier: MIT
// The checked cursor. A failed cursor stays failed and gives zeros, so a parser that forgets one test reads
// nothing that is not there; a failed writer writes no more, so a head is either whole or known to be cut.
#include "bytes.h"

namespace wx {

bool equal_ignore_case(ByteView a, ByteView b) {
    if (a.size != b.size) return false;
    for (size_t i = 0; i < a.size; i++)
        if (ascii_lower(a.data[i]) != ascii_lower(b.data[i])) return false;
    return true;
}

bool Reader::take(size_t count, ByteView *out) {
    if (failed || count > left()) {
        failed = true;
        *out = ByteView(at, 0);
        return false;
    }
    *out = ByteView(at, count);
    at += count;
    return true;
}

uint8_t Reader::u8() {
    ByteView view;
    return take(1, &view) ? view.data[0] : static_cast<uint8_t>(0);
}

uint16_t Reader::be16() {
    ByteView view;
    return take(2, &view) ? load_be16(view.data) : static_cast<uint16_t>(0);
}

uint32_t Reader::be32() {
    ByteView view;
    return take(4, &view) ? load_be32(view.data) : 0;
}

uint64_t Reader::be64() {
    ByteView view;
    return take(8, &view) ? load_be64(view.data) : 0;
}

void Writer::bytes(ByteView view) {
    if (failed || view.size > left()) {
        failed = true;
        return;
    }
    if (view.size != 0) memcpy(at, view.data, view.size);
    at += view.size;
}

void Writer::u8(uint8_t v) { bytes(ByteView(&v, 1)); }

void Writer::be16(uint16_t v) {
    uint8_t raw[2];
    store_be16(raw, v);
    bytes(ByteView(raw, 2));
}

void Writer::decimal(uint64_t v) {
    uint8_t digits[20]; // 2^64 has 20 digits
    size_t count = 0;
    do {
        digits[sizeof digits - ++count] = static_cast<uint8_t>('0' + v % 10);
        v /= 10;
    } while (v != 0);
    bytes(ByteView(digits + sizeof digits - count, count));
}

static const char base64_alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

size_t base64_size(size_t bytes) { return (bytes + 2) / 3 * 4; }

void Writer::base64(ByteView view) {
    if (failed || base64_size(view.size) > left()) {
        failed = true;
        return;
    }
    for (size_t i = 0; i < view.size; i += 3) {
        size_t count = view.size - i < 3 ? view.size - i : 3;
        uint32_t group = static_cast<uint32_t>(view.data[i]) << 16;
        if (count > 1) group |= static_cast<uint32_t>(view.data[i + 1]) << 8;
        if (count > 2) group |= view.data[i + 2];
        *at++ = static_cast<uint8_t>(base64_alphabet[group >> 18]);
        *at++ = static_cast<uint8_t>(base64_alphabet[group >> 12 & 63]);
        *at++ = static_cast<uint8_t>(count > 1 ? base64_alphabet[group >> 6 & 63] : '=');
        *at++ = static_cast<uint8_t>(count > 2 ? base64_alphabet[group & 63] : '=');
    }
}

static int base64_value(uint8_t c) {
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    if (c == '+') return 62;
    return c == '/' ? 63 : -1;
}

int64_t base64_decode(ByteView text, ByteSpan out) {
    if (text.size % 4 != 0) return -1;
    size_t written = 0;
    for (size_t i = 0; i < text.size; i += 4) {
        bool last = i + 4 == text.size;
        size_t pad = last && text.data[i + 3] == '=' ? (text.data[i + 2] == '=' ? 2 : 1) : 0;
        uint32_t group = 0;
        for (size_t k = 0; k < 4; k++) {
            int value = k >= 4 - pad ? 0 : base64_value(text.data[i + k]);
            if (value < 0) return -1;
            group = group << 6 | static_cast<uint32_t>(value);
        }
        // Bits under the padding must be zero, so that one value has one text.
        if ((pad == 1 && (group & 0xFF) != 0) || (pad == 2 && (group & 0xFFFF) != 0)) return -1;
        if (out.size - written < 3 - pad) return -1;
        for (size_t k = 0; k < 3 - pad; k++)
            out.data[written++] = static_cast<uint8_t>(group >> (16 - 8 * k));
    }
    return static_cast<int64_t>(written);
}

} // namespace wx
