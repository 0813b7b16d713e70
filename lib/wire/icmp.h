// SPDX-License-Identifier: MIT
// ICMP (RFC 792, RFC 1191) and ICMPv6 (RFC 4443) errors about a packet of ours, as one thing.
#pragma once
#include "ip.h"

namespace wx {

enum class IcmpKind : uint8_t {
    network_unreachable, // also no route (IPv6)
    host_unreachable,    // also address unreachable
    protocol_unreachable,
    port_unreachable,
    prohibited, // by a filter
    packet_too_big,
    time_exceeded,
    parameter_problem,
    source_quench, // to be ignored: RFC 6633
};
const char *icmp_text(IcmpKind kind);

// An error and what it quotes: enough to find the connection and to judge whether it can be genuine (RFC
// 5927).
struct IcmpError {
    IcmpKind kind = IcmpKind::host_unreachable;
    uint32_t mtu = 0; // packet_too_big: the next hop's, 0 when the router does not say (RFC 1191 section 5)
    IpPacket quoted;  // source is us
    uint32_t quoted_size = 0; // the quoted packet's whole length as its header says
    uint16_t source_port = 0; // of the quoted TCP or UDP header
    uint16_t destination_port = 0;
    uint32_t seq = 0; // TCP only
};

// packet: an ICMP or ICMPv6 packet as ip_read gave it. unsupported: not an error message, or about neither
// TCP nor UDP.
Wire icmp_read(const IpPacket &packet, ChecksumPolicy policy, IcmpError *out);

} // namespace wx
