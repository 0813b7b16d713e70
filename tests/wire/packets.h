// SPDX-License-Identifier: MIT
// Packets built byte by byte, without the code under test, and a checksum that adds one byte at a time. Every
// input is handed over in a heap block of its exact size, so that an address sanitizer sees one byte too
// many.
#pragma once
#include "../../lib/wire/ip.h"
#include "../base/check.h"
#include <initializer_list>
#include <memory>
#include <random>
#include <stdlib.h>
#include <vector>

namespace packets {

using Bytes = std::vector<uint8_t>;

struct Random {
    unsigned long seed;
    std::mt19937_64 engine;
    Random() : seed(getenv("WSXDP_SEED") ? strtoul(getenv("WSXDP_SEED"), nullptr, 10) : 1), engine(seed) {}
    uint64_t next() { return engine(); }
    size_t below(size_t bound) { return static_cast<size_t>(engine() % bound); }
    uint8_t byte() { return static_cast<uint8_t>(engine() >> 32); }
    Bytes bytes(size_t size) {
        Bytes out(size);
        for (uint8_t &b : out) b = byte();
        return out;
    }
};

// A copy of its own, exactly as large as the input.
struct Exact {
    std::unique_ptr<uint8_t[]> memory;
    size_t size;
    explicit Exact(const Bytes &bytes) : Exact(bytes, bytes.size()) {}
    Exact(const Bytes &bytes, size_t count) : memory(new uint8_t[count]), size(count) {
        if (count) memcpy(memory.get(), bytes.data(), count);
    }
    wx::ByteView view() const { return wx::ByteView(memory.get(), size); }
};

inline Bytes &operator+=(Bytes &a, const Bytes &b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
}
inline Bytes operator+(Bytes a, const Bytes &b) { return a += b; }
inline Bytes be16(uint32_t v) { return {static_cast<uint8_t>(v >> 8), static_cast<uint8_t>(v)}; }
inline Bytes be32(uint32_t v) { return be16(v >> 16) + be16(v & 0xFFFF); }
inline void put16(Bytes *bytes, size_t at, uint32_t v) {
    (*bytes)[at] = static_cast<uint8_t>(v >> 8);
    (*bytes)[at + 1] = static_cast<uint8_t>(v);
}

// RFC 1071, one byte at a time: even offsets count 256 times. The number as it stands in the header.
inline uint16_t reference(const Bytes &bytes) {
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes.size(); i++) sum += i % 2 ? bytes[i] : 256u * bytes[i];
    while (sum > 0xFFFF) sum = sum % 0x10000 + sum / 0x10000;
    return static_cast<uint16_t>(0xFFFF - sum);
}
// What the library made, as a number of the header.
inline uint16_t field(uint16_t check) {
    uint8_t raw[2];
    memcpy(raw, &check, 2);
    return static_cast<uint16_t>(raw[0] << 8 | raw[1]);
}

const Bytes source4 = {192, 0, 2, 1}, destination4 = {198, 51, 100, 7};
const Bytes source6 = {0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
const Bytes destination6 = {0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xAB, 0xCD};

inline Bytes pseudo4(const Bytes &from, const Bytes &to, uint8_t protocol, size_t length) {
    return from + to + Bytes{0, protocol} + be16(static_cast<uint32_t>(length));
}
inline Bytes pseudo6(const Bytes &from, const Bytes &to, uint8_t protocol, size_t length) {
    return from + to + be32(static_cast<uint32_t>(length)) + Bytes{0, 0, 0, protocol};
}

inline void check4(Bytes *packet) { // the header's checksum anew
    put16(packet, 10, 0);
    const size_t size = std::min<size_t>(((*packet)[0] & 15u) * 4u, packet->size());
    put16(packet, 10, reference(Bytes(packet->begin(), packet->begin() + static_cast<long>(size))));
}

inline Bytes ip4(uint8_t protocol, const Bytes &payload, const Bytes &options = {}) {
    const size_t head = 20 + options.size();
    Bytes out = {static_cast<uint8_t>(0x40 | head / 4), 0x1C};
    out +=
        be16(static_cast<uint32_t>(head + payload.size())) + Bytes{0x12, 0x34, 0x40, 0, 61, protocol, 0, 0};
    out += source4 + destination4 + options;
    check4(&out);
    return out + payload;
}
inline Bytes ip6(uint8_t next, const Bytes &payload) {
    return Bytes{0x61, 0xC1, 0x23, 0x45} + be16(static_cast<uint32_t>(payload.size())) + Bytes{next, 62} +
           source6 + destination6 + payload;
}
inline Bytes ip(int version, uint8_t protocol, const Bytes &payload) {
    return version == 4 ? ip4(protocol, payload) : ip6(protocol, payload);
}

// Fills in the checksum at `at` of a payload that is covered by a pseudo header.
inline Bytes checked(int version, uint8_t protocol, Bytes payload, size_t at) {
    put16(&payload, at, 0);
    const Bytes pseudo = version == 4 ? pseudo4(source4, destination4, protocol, payload.size())
                                      : pseudo6(source6, destination6, protocol, payload.size());
    put16(&payload, at, reference(pseudo + payload));
    return payload;
}

// Ports 40000 and 443, sequence 0x01020304, acknowledgement 0xA0B0C0D0, window 0x7210, urgent 5.
inline Bytes tcp(uint8_t flags, const Bytes &options, const Bytes &payload) {
    const size_t head = 20 + options.size();
    return be16(40000) + be16(443) + be32(0x01020304) + be32(0xA0B0C0D0) +
           Bytes{static_cast<uint8_t>(head / 4 << 4), flags, 0x72, 0x10, 0, 0, 0, 5} + options + payload;
}
const Bytes aligned_timestamp = {1, 1, 8, 10, 0, 0, 0x12, 0x34, 0, 0, 0x56, 0x78};
inline Bytes tcp_packet(int version, const Bytes &payload, const Bytes &options = aligned_timestamp) {
    return ip(version, 6, checked(version, 6, tcp(0x18, options, payload), 16));
}

inline void same(wx::Wire got, wx::Wire wanted, const char *what) {
    if (got != wanted) fail_msg("%s: \"%s\", wanted \"%s\"", what, wx::wire_text(got), wx::wire_text(wanted));
}
inline bool inside(wx::ByteView part, wx::ByteView whole) {
    return part.data >= whole.data && part.data + part.size <= whole.data + whole.size;
}
inline Bytes bytes_of(wx::ByteView view) { return Bytes(view.data, view.data + view.size); }

} // namespace packets
