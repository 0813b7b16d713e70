// SPDX-License-Identifier: MIT
// IPv4 (RFC 791) and IPv6 (RFC 8200) headers behind one struct.
#pragma once
#include "checksum.h"
#include "wire.h"

namespace wx {

constexpr uint8_t ip_icmp = 1;
constexpr uint8_t ip_tcp = 6;
constexpr uint8_t ip_udp = 17;
constexpr uint8_t ip_icmp6 = 58;
constexpr size_t ip4_header_size = 20;
constexpr size_t ip6_header_size = 40;
// A chain longer than any that is seen in practice only costs time.
constexpr unsigned ip6_extension_max = 8;

struct IpAddress {
    uint8_t bytes[16] = {0}; // an IPv4 address is the first four
    uint8_t version = 0;     // 4, 6, or 0 for none
    size_t size() const { return version == 6 ? 16 : version == 4 ? 4 : 0; }
};
IpAddress ip4_address(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
IpAddress ip_address(const uint8_t *bytes, uint8_t version);
// As RFC 5952 writes it, zero-terminated; "no address" for none.
constexpr size_t ip_text_size = 46;
void ip_address_text(const IpAddress &address, char out[ip_text_size]);
bool operator==(const IpAddress &a, const IpAddress &b);
inline bool operator!=(const IpAddress &a, const IpAddress &b) { return !(a == b); }
// Whether an answer can be sent to it: not unspecified, multicast or broadcast.
bool ip_is_unicast(const IpAddress &address);

struct IpPacket {
    uint8_t version = 0;
    uint8_t protocol = 0;            // of the payload, after IPv6 extension headers
    uint8_t hops = 0;                // TTL, hop limit
    uint8_t traffic_class = 0;       // TOS
    bool dont_fragment = false;      // always so in IPv6
    uint32_t header_size = 0;        // extension headers included
    const uint8_t *source = nullptr; // 4 or 16 bytes
    const uint8_t *destination = nullptr;
    ByteView payload; // by the stated length: without Ethernet's padding
    size_t address_size() const { return version == 6 ? 16 : 4; }
    IpAddress source_address() const { return ip_address(source, version); }
    IpAddress destination_address() const { return ip_address(destination, version); }
};

// Any version, told by the first nibble. Options and extension headers are walked and passed over. Refused
// are fragments (an IPv6 one that is the whole packet, RFC 6946, is read on), sources that cannot be
// answered, a routing header with segments left and IPv6 options that forbid to be passed over (both
// unsupported).
Wire ip_read(ByteView bytes, ChecksumPolicy policy, IpPacket *out);
// As quoted in an ICMP error: the payload may end early, the header's checksum may be stale.
Wire ip_read_quoted(ByteView bytes, IpPacket *out);

// What a sender's packets have in common.
struct IpTemplate {
    IpAddress source;
    IpAddress destination;
    uint8_t protocol = ip_tcp;
    uint8_t hops = 64;
    uint8_t traffic_class = 0;
    uint32_t flow_label = 0; // IPv6, 20 bits
};
// Writes the header for this much payload: IPv4 with DF and identification 0 (RFC 6864), its checksum filled
// in. Returns its size, 0 when it does not fit, the packet would be longer than 65535 bytes behind what IPv6
// does not count, or the addresses are not of one version.
size_t ip_write(ByteSpan out, const IpTemplate &head, size_t payload_size);
// In a header that ip_write made: another payload size, one that ip_write would take.
void ip_set_payload_size(uint8_t *header, size_t payload_size);

} // namespace wx
