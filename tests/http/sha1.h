// SPDX-License-Identifier: MIT
// SHA-1 (FIPS 180-4) for tests of the opening handshake: short, slow, independent of any TLS library.
#pragma once
#include "../../lib/base/bytes.h"
#include <string>

inline uint32_t sha1_rotate(uint32_t value, int bits) { return value << bits | value >> (32 - bits); }

inline void sha1_block(uint32_t state[5], const uint8_t *block) {
    uint32_t w[80];
    for (int i = 0; i < 16; i++) w[i] = wx::load_be32(block + 4 * i);
    for (int i = 16; i < 80; i++) w[i] = sha1_rotate(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
    for (int i = 0; i < 80; i++) {
        uint32_t f = i < 20              ? (b & c) | (~b & d)
                     : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d)
                                         : b ^ c ^ d;
        static const uint32_t k[] = {0x5A827999, 0x6ED9EBA1, 0x8F1BBCDC, 0xCA62C1D6};
        uint32_t next = sha1_rotate(a, 5) + f + e + k[i / 20] + w[i];
        e = d, d = c, c = sha1_rotate(b, 30), b = a, a = next;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d, state[4] += e;
}

inline int test_sha1(wx::ByteView data, uint8_t out[20]) {
    std::string text(data.text(), data.size);
    text.push_back(static_cast<char>(0x80));
    while (text.size() % 64 != 56) text.push_back(0);
    uint8_t length[8];
    wx::store_be64(length, static_cast<uint64_t>(data.size) * 8);
    text.append(reinterpret_cast<char *>(length), 8);
    uint32_t state[5] = {0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476, 0xC3D2E1F0};
    for (size_t at = 0; at < text.size(); at += 64)
        sha1_block(state, reinterpret_cast<const uint8_t *>(text.data()) + at);
    for (int i = 0; i < 5; i++) wx::store_be32(out + 4 * i, state[i]);
    return 0;
}
