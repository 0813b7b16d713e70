// SPDX-License-Identifier: MIT
// SipHash-2-4 over the tuple, and the three numbers that come of it. One function of tuple and secret gives
// all of them, each under a purpose of its own, so that seeing one tells nothing of another. Asked a few
// times per connection, never per segment, so it is written to be read and not to be fast.
#include "isn.h"

namespace wx {

namespace {

// Which number a hash is for. Only these are ever hashed with a connection's secret.
enum Purpose : uint8_t { purpose_isn = 1, purpose_timestamp = 2, purpose_flow_label = 3 };

constexpr Nanos isn_tick = 4000;              // RFC 9293 section 3.4.1: the clock steps about every 4 us
constexpr uint32_t flow_label_mask = 0xFFFFF; // RFC 8200 section 6
constexpr size_t tuple_text_max = 2 + 4 + 32; // purpose, version, two ports, two IPv6 addresses

struct SipState {
    uint64_t v0, v1, v2, v3;
};

uint64_t rotate(uint64_t v, unsigned by) { return v << by | v >> (64 - by); }

uint64_t load_le64(const uint8_t *p) { // the hash is defined on little-endian words
    uint64_t v = 0;
    for (unsigned i = 0; i < 8; i++) v |= uint64_t{p[i]} << (8 * i);
    return v;
}

void sip_round(SipState *s) {
    s->v0 += s->v1;
    s->v2 += s->v3;
    s->v1 = rotate(s->v1, 13) ^ s->v0;
    s->v3 = rotate(s->v3, 16) ^ s->v2;
    s->v0 = rotate(s->v0, 32);
    s->v2 += s->v1;
    s->v0 += s->v3;
    s->v1 = rotate(s->v1, 17) ^ s->v2;
    s->v3 = rotate(s->v3, 21) ^ s->v0;
    s->v2 = rotate(s->v2, 32);
}

void sip_word(SipState *s, uint64_t word) {
    s->v3 ^= word;
    for (int i = 0; i < 2; i++) sip_round(s);
    s->v0 ^= word;
}

} // namespace

bool operator==(const TcpTuple &a, const TcpTuple &b) {
    return a.local_port == b.local_port && a.remote_port == b.remote_port && a.local == b.local &&
           a.remote == b.remote;
}

uint64_t siphash(const uint8_t key[16], ByteView data) {
    uint64_t k0 = load_le64(key), k1 = load_le64(key + 8);
    SipState s = {k0 ^ 0x736F6D6570736575, k1 ^ 0x646F72616E646F6D, k0 ^ 0x6C7967656E657261,
                  k1 ^ 0x7465646279746573};
    size_t at = 0;
    for (; at + 8 <= data.size; at += 8) sip_word(&s, load_le64(data.data + at));
    uint64_t last = static_cast<uint64_t>(data.size) << 56; // the length's low byte, above what is left
    for (unsigned i = 0; at + i < data.size; i++) last |= uint64_t{data.data[at + i]} << (8 * i);
    sip_word(&s, last);
    s.v2 ^= 0xFF;
    for (int i = 0; i < 4; i++) sip_round(&s);
    return s.v0 ^ s.v1 ^ s.v2 ^ s.v3;
}

uint64_t tuple_hash(const TcpSecret &secret, uint8_t purpose, const TcpTuple &tuple) {
    uint8_t text[tuple_text_max];
    size_t size = 0;
    text[size++] = purpose;
    text[size++] = tuple.local.version;
    store_be16(text + size, tuple.local_port);
    store_be16(text + size + 2, tuple.remote_port);
    size += 4;
    memcpy(text + size, tuple.local.bytes, tuple.local.size());
    size += tuple.local.size();
    memcpy(text + size, tuple.remote.bytes, tuple.remote.size());
    size += tuple.remote.size();
    return siphash(secret.key, ByteView(text, size));
}

// RFC 6528 section 3: ISN = M + F(tuple, secret). For one tuple it only moves forward, so a peer that still
// holds the last connection of this tuple in TIME-WAIT can tell old segments from new ones.
uint32_t isn_make(const TcpSecret &secret, const TcpTuple &tuple, Nanos now) {
    uint64_t ticks = static_cast<uint64_t>(now / isn_tick);
    return static_cast<uint32_t>(tuple_hash(secret, purpose_isn, tuple) + ticks);
}

uint32_t timestamp_offset(const TcpSecret &secret, const TcpTuple &tuple) {
    return static_cast<uint32_t>(tuple_hash(secret, purpose_timestamp, tuple));
}

uint32_t flow_label_make(const TcpSecret &secret, const TcpTuple &tuple) {
    uint32_t label = static_cast<uint32_t>(tuple_hash(secret, purpose_flow_label, tuple)) & flow_label_mask;
    return label != 0 ? label : 1; // 0 means that the packet has no label (RFC 6437 section 2)
}

} // namespace wx
