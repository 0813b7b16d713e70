// SPDX-License-Identifier: MIT
// ICMP errors, both versions as one thing. Never answers, and never believes: what it gives is what a packet
// claims, and who holds the connection compares addresses, ports and sequence number with it (RFC 5927).
// Worst case: a quoted IPv6 packet with the most extension headers.
#include "icmp.h"
#include "tcp_header.h"

namespace wx {
namespace {

constexpr size_t icmp_header_size = 8;
// RFC 4884 section 3: what stands in front of an extension structure is padded to this at least.
constexpr size_t quote_before_extension_min = 128;

bool unreachable4(uint8_t code, IcmpKind *kind) { // RFC 1122 section 3.2.2.1, RFC 1812 section 5.2.7.1
    switch (code) {
    case 0:
    case 6:
    case 11:
        *kind = IcmpKind::network_unreachable;
        return true;
    case 1:
    case 5:
    case 7:
    case 8:
    case 12:
        *kind = IcmpKind::host_unreachable;
        return true;
    case 2:
        *kind = IcmpKind::protocol_unreachable;
        return true;
    case 3:
        *kind = IcmpKind::port_unreachable;
        return true;
    case 4:
        *kind = IcmpKind::packet_too_big;
        return true;
    case 9:
    case 10:
    case 13:
    case 14:
    case 15:
        *kind = IcmpKind::prohibited;
        return true;
    default:
        return false;
    }
}

bool kind4(uint8_t type, uint8_t code, IcmpKind *kind) {
    switch (type) {
    case 3:
        return unreachable4(code, kind);
    case 4:
        *kind = IcmpKind::source_quench;
        return true;
    case 11:
        *kind = IcmpKind::time_exceeded;
        return true;
    case 12:
        *kind = IcmpKind::parameter_problem;
        return true;
    default:
        return false;
    }
}

bool unreachable6(uint8_t code, IcmpKind *kind) { // RFC 4443 section 3.1
    switch (code) {
    case 0:
        *kind = IcmpKind::network_unreachable;
        return true;
    case 2: // beyond the scope of the source address
    case 3:
        *kind = IcmpKind::host_unreachable;
        return true;
    case 4:
        *kind = IcmpKind::port_unreachable;
        return true;
    case 1:
    case 5:
    case 6:
        *kind = IcmpKind::prohibited;
        return true;
    default:
        return false;
    }
}

bool kind6(uint8_t type, uint8_t code, IcmpKind *kind) {
    switch (type) {
    case 1:
        return unreachable6(code, kind);
    case 2:
        *kind = IcmpKind::packet_too_big;
        return true;
    case 3:
        *kind = IcmpKind::time_exceeded;
        return true;
    case 4: // code 1, an unknown next header, is how IPv6 says that nobody speaks the protocol
        *kind = code == 1 ? IcmpKind::protocol_unreachable : IcmpKind::parameter_problem;
        return true;
    default:
        return false;
    }
}

bool checksum_right(const IpPacket &packet) {
    ChecksumSum sum = checksum_sum(packet.payload.data, packet.payload.size);
    if (packet.version == 6) {
        const uint32_t size = static_cast<uint32_t>(packet.payload.size);
        sum = checksum_add(sum, checksum_pseudo(packet.source, packet.destination, 16, ip_icmp6, size));
    }
    return checksum_good(sum);
}

// The quoted packet without the extension structure that may stand behind it (RFC 4884).
ByteView quote(const IpPacket &packet) {
    const uint8_t *head = packet.payload.data;
    const ByteView rest = packet.payload.from(icmp_header_size);
    // Where IPv6's "packet too big" has its MTU, and IPv4's source quench nothing, there is no such length.
    if (packet.version == 6 ? head[0] != 1 && head[0] != 3 : head[0] == 4) return rest;
    const size_t size = packet.version == 6 ? size_t{head[4]} * 8 : size_t{head[5]} * 4;
    return size >= quote_before_extension_min ? rest.first(size) : rest;
}

uint32_t quoted_length(ByteView bytes, uint8_t version) {
    if (version == 4) return load_be16(bytes.data + 2);
    return static_cast<uint32_t>(ip6_header_size) + load_be16(bytes.data + 4);
}

Wire read_quote(ByteView bytes, uint8_t version, IcmpError *out) {
    const Wire result = ip_read_quoted(bytes, &out->quoted);
    if (result != Wire::ok) return result;
    if (out->quoted.version != version) return Wire::bad_version;
    if (out->quoted.protocol != ip_tcp && out->quoted.protocol != ip_udp) return Wire::unsupported;
    out->quoted_size = quoted_length(bytes, version);
    const Wire ports =
        tcp_read_quoted(out->quoted.payload, &out->source_port, &out->destination_port, &out->seq);
    if (out->quoted.protocol == ip_udp) out->seq = 0; // there it read length and checksum
    return ports;
}

} // namespace

const char *icmp_text(IcmpKind kind) {
    switch (kind) {
    case IcmpKind::network_unreachable:
        return "network unreachable";
    case IcmpKind::host_unreachable:
        return "host unreachable";
    case IcmpKind::protocol_unreachable:
        return "protocol unreachable";
    case IcmpKind::port_unreachable:
        return "port unreachable";
    case IcmpKind::prohibited:
        return "prohibited by a filter";
    case IcmpKind::packet_too_big:
        return "packet too big";
    case IcmpKind::time_exceeded:
        return "time exceeded";
    case IcmpKind::parameter_problem:
        return "parameter problem";
    case IcmpKind::source_quench:
        return "source quench";
    }
    return "unknown";
}

Wire icmp_read(const IpPacket &packet, ChecksumPolicy policy, IcmpError *out) {
    const bool six = packet.version == 6;
    if (packet.protocol != (six ? ip_icmp6 : ip_icmp)) return Wire::unsupported;
    if (packet.payload.size < icmp_header_size) return Wire::truncated;
    const uint8_t *head = packet.payload.data;
    if (!(six ? kind6 : kind4)(head[0], head[1], &out->kind)) return Wire::unsupported;
    if (policy == ChecksumPolicy::verify && !checksum_right(packet)) return Wire::bad_checksum;
    out->mtu = 0;
    if (out->kind == IcmpKind::packet_too_big) out->mtu = six ? load_be32(head + 4) : load_be16(head + 6);
    return read_quote(quote(packet), packet.version, out);
}

} // namespace wx
