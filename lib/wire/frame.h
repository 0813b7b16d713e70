// SPDX-License-Identifier: MIT
// A received frame, from Ethernet to the TCP payload or the ICMP error, in one call: what a link hands up.
#pragma once
#include "ethernet.h"
#include "icmp.h"
#include "tcp_header.h"

namespace wx {

enum class FrameKind : uint8_t { tcp, icmp_error, other };

struct Frame {
    FrameKind kind = FrameKind::other;
    uint16_t vlan = no_vlan;
    IpPacket ip;
    TcpSegment tcp;
    IcmpError icmp;
};

// unsupported: neither IPv4 nor IPv6 (ARP is among them). Otherwise a whole packet that is neither TCP nor an
// ICMP error is ok and FrameKind::other. Only what the kind has is set, and on a refusal nothing is certain.
Wire frame_read(ByteView ethernet_frame, ChecksumPolicy policy, Frame *out);
// The same from the IP header on (a TUN device, the simulated link).
Wire packet_read(ByteView ip_packet, ChecksumPolicy policy, Frame *out);

} // namespace wx
