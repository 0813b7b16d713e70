// SPDX-License-Identifier: MIT
// UDP (RFC 768, RFC 8200 section 8.1).
#pragma once
#include "ip.h"

namespace wx {

constexpr size_t udp_header_size = 8;

struct UdpDatagram {
    uint16_t source_port = 0;
    uint16_t destination_port = 0;
    ByteView payload;
};

// An IPv4 datagram without a checksum (0) is good; an IPv6 one is not.
Wire udp_read(const IpPacket &packet, ChecksumPolicy policy, UdpDatagram *out);
// Writes the header with its checksum (never 0). pseudo: checksum_pseudo over the whole datagram. Returns 8,
// 0 when it does not fit.
size_t udp_write(ByteSpan out, uint16_t source_port, uint16_t destination_port, size_t payload_size,
                 ChecksumSum pseudo, ChecksumSum payload);

} // namespace wx
