// SPDX-License-Identifier: MIT
// SHA-1 (FIPS 180-4 section 6.1) for one purpose: the Sec-WebSocket-Accept check of RFC 6455 section
// 4.2.2, where it guards against confusion and not against attack. Our own, so that a plain ws://
// connection starts no TLS library and a build without TLS has it too. Never use it for anything secret.
#pragma once
#include "../base/bytes.h"

namespace wx {

struct Sha1 {
    uint32_t state[5] = {0x67452301u, 0xefcdab89u, 0x98badcfeu, 0x10325476u, 0xc3d2e1f0u};

    static uint32_t rotate(uint32_t value, unsigned bits) { return value << bits | value >> (32 - bits); }

    static uint32_t mix(unsigned round, uint32_t b, uint32_t c, uint32_t d) {
        if (round < 20) return ((b & c) | (~b & d)) + 0x5a827999u;
        if (round < 40) return (b ^ c ^ d) + 0x6ed9eba1u;
        if (round < 60) return ((b & c) | (b & d) | (c & d)) + 0x8f1bbcdcu;
        return (b ^ c ^ d) + 0xca62c1d6u;
    }

    void block(const uint8_t *bytes) {
        uint32_t word[80];
        for (unsigned i = 0; i < 16; i++) word[i] = load_be32(bytes + 4 * i);
        for (unsigned i = 16; i < 80; i++) {
            word[i] = rotate(word[i - 3] ^ word[i - 8] ^ word[i - 14] ^ word[i - 16], 1);
        }
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3], e = state[4];
        for (unsigned i = 0; i < 80; i++) {
            uint32_t next = rotate(a, 5) + mix(i, b, c, d) + e + word[i];
            e = d;
            d = c;
            c = rotate(b, 30);
            b = a;
            a = next;
        }
        state[0] += a;
        state[1] += b;
        state[2] += c;
        state[3] += d;
        state[4] += e;
    }
};

inline int sha1_digest(ByteView data, uint8_t out[20]) {
    Sha1 hash;
    size_t whole = data.size / 64 * 64;
    for (size_t at = 0; at < whole; at += 64) hash.block(data.data + at);
    // The rest, a one bit, zeros, and the length in bits fill one or two last blocks.
    uint8_t tail[128] = {0};
    size_t rest = data.size - whole;
    if (rest) memcpy(tail, data.data + whole, rest);
    tail[rest] = 0x80;
    size_t tail_size = rest < 56 ? 64 : 128;
    store_be64(tail + tail_size - 8, static_cast<uint64_t>(data.size) * 8);
    for (size_t at = 0; at < tail_size; at += 64) hash.block(tail + at);
    for (unsigned i = 0; i < 5; i++) store_be32(out + 4 * i, hash.state[i]);
    return 0;
}

} // namespace wx
