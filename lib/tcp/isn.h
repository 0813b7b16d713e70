// SPDX-License-Identifier: MIT
// Numbers that somebody off the path must not guess: initial sequence numbers (RFC 6528: a keyed hash of the
// tuple and a clock of 4 us) and timestamp offsets (RFC 7323 section 7.1, per tuple). The hash is
// SipHash-2-4.
#pragma once
#include "../base/clock.h"
#include "../wire/ip.h"

namespace wx {

struct TcpTuple {
    IpAddress local;
    IpAddress remote;
    uint16_t local_port = 0;
    uint16_t remote_port = 0;
};
bool operator==(const TcpTuple &a, const TcpTuple &b);

struct TcpSecret {
    uint8_t key[16] = {0}; // random, drawn at open
};

uint64_t siphash(const uint8_t key[16], ByteView data);
// `purpose` keeps hashes for different ends apart.
uint64_t tuple_hash(const TcpSecret &secret, uint8_t purpose, const TcpTuple &tuple);
uint32_t isn_make(const TcpSecret &secret, const TcpTuple &tuple, Nanos now);
uint32_t timestamp_offset(const TcpSecret &secret, const TcpTuple &tuple);
uint32_t flow_label_make(const TcpSecret &secret, const TcpTuple &tuple); // 20 bits, RFC 6437

} // namespace wx
