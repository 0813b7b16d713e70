// SPDX-License-Identifier: MIT
// ARP (RFC 826) and Neighbor Discovery (RFC 4861), read only: the kernel asks and answers, we listen for what
// changes.
#pragma once
#include "ip.h"

namespace wx {

// Somebody says: this address is at this MAC.
struct NeighborNotice {
    IpAddress address;
    uint8_t mac[6] = {0};
    bool request = false;   // an ARP request or a solicitation: a notice about its sender
    bool router = false;    // Neighbor Discovery only
    bool override_ = false; // replaces what is known; always so with ARP
};

// The payload of an ARP frame. unsupported: not Ethernet and IPv4, or about no address (a probe, RFC 5227).
Wire arp_read(ByteView payload, NeighborNotice *out);
// An ICMPv6 packet: neighbour solicitations and advertisements, router advertisements. A hop limit other than
// 255 has crossed a router: bad_address (RFC 4861 section 7.1). unsupported: another message, or one without
// the link-layer address.
Wire ndp_read(const IpPacket &packet, ChecksumPolicy policy, NeighborNotice *out);

} // namespace wx
