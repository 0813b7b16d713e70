// SPDX-License-Identifier: MIT
// A router in front of a link that does not take the packet: ICMP "fragmentation needed" (RFC 792, RFC 1191)
// and ICMPv6 "packet too big" (RFC 4443 section 3.2), or silence. Never fragments, and never answers to what
// must not be answered, so two such routers cannot keep each other busy. Worst case: every packet is too
// large and costs one message of 1280 bytes with its checksum.
#include "sim_filters.h"

namespace wx {
namespace {

constexpr size_t icmp_head_bytes = 8;
constexpr size_t quoted_behind_header = 8;     // RFC 792: enough for ports and sequence number
constexpr size_t message4_max = 576;           // RFC 1812 section 4.3.2.3
constexpr size_t message6_max = 1280;          // RFC 4443 section 3.2: the least MTU of IPv6
constexpr uint8_t internetwork_control = 0xC0; // precedence of what routers say: RFC 1812 section 4.3.2.5
constexpr uint8_t router_hops = 255;           // more than any path takes

bool is_icmp_error(const IpPacket &ip) {
    if (ip.protocol != (ip.version == 4 ? ip_icmp : ip_icmp6)) return false;
    if (ip.payload.empty()) return true; // it cannot be told
    const uint8_t type = ip.payload.data[0];
    if (ip.version == 6) return type < 128 || type == 137; // RFC 4443 section 2.1; a redirect
    return type == 3 || type == 4 || type == 5 || type == 11 || type == 12;
}

// Whom the message would go to, and whether there may be one.
bool may_answer(ByteView packet, IpPacket *ip) {
    if (ip_read_quoted(packet, ip) != Wire::ok || is_icmp_error(*ip)) return false;
    if (!ip_is_unicast(ip->source_address())) return false;
    // IPv6 allows a message about a multicast packet, so that its sender finds the path's MTU.
    return ip->version == 6 || (ip->dont_fragment && ip_is_unicast(ip->destination_address()));
}

IpTemplate answer_head(const SimMtuOptions &options, const IpPacket &ip) {
    static const uint8_t documentation6[16] = {0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    IpTemplate head;
    head.destination = ip.source_address();
    head.hops = router_hops;
    head.traffic_class = internetwork_control;
    if (ip.version == 4) {
        head.source = options.router4.version == 4 ? options.router4 : ip4_address(192, 0, 2, 1);
        head.protocol = ip_icmp;
    } else {
        head.source = options.router6.version == 6 ? options.router6 : ip_address(documentation6, 6);
        head.protocol = ip_icmp6;
    }
    return head;
}

size_t quoted_bytes(const SimMtuOptions &options, const IpPacket &ip, ByteView packet) {
    const size_t room = ip.version == 4 ? message4_max - ip4_header_size - icmp_head_bytes
                                        : message6_max - ip6_header_size - icmp_head_bytes;
    size_t bytes = options.quote_bytes_max < room ? options.quote_bytes_max : room;
    const size_t least = ip.header_size + quoted_behind_header;
    if (bytes < least) bytes = least;
    return bytes < packet.size ? bytes : packet.size;
}

void mtu_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimMtu *filter = static_cast<SimMtu *>(self);
    const SimMtuOptions &options = filter->options;
    filter->count.taken++;
    const uint32_t mtu = now - filter->start >= options.shrink_at ? options.shrink_to : options.mtu;
    if (mtu == 0 || packet.size <= mtu) {
        filter->count.passed++;
        return filter->next->accept(filter->next, packet, now);
    }
    filter->count.dropped++;
    if (options.silent || filter->back == nullptr) return;
    if (filter->icmp_said && now - filter->icmp_at < options.icmp_interval) return;
    uint8_t message[message6_max];
    const size_t size = sim_mtu_answer(options, mtu, packet, ByteSpan(message, sizeof message));
    if (size == 0) return;
    filter->count.altered++;
    filter->icmp_said = true;
    filter->icmp_at = now;
    filter->back->accept(filter->back, ByteView(message, size), now);
}

} // namespace

size_t sim_mtu_answer(const SimMtuOptions &options, uint32_t mtu, ByteView packet, ByteSpan out) {
    IpPacket ip;
    if (!may_answer(packet, &ip)) return 0;
    const IpTemplate head = answer_head(options, ip);
    const size_t quoted = quoted_bytes(options, ip, packet);
    const size_t size = icmp_head_bytes + quoted;
    const size_t header = ip_write(out, head, size);
    if (header == 0 || out.size - header < size) return 0;
    uint8_t *icmp = out.data + header;
    const bool version4 = ip.version == 4;
    icmp[0] = version4 ? 3 : 2;
    icmp[1] = version4 ? 4 : 0;
    store_be16(icmp + 2, 0);
    store_be32(icmp + 4, version4 ? options.mtu_unsaid ? 0 : mtu & 0xFFFF : mtu);
    memcpy(icmp + icmp_head_bytes, packet.data, quoted);
    ChecksumSum sum = checksum_sum(icmp, size);
    if (!version4)
        sum = checksum_add(
            sum, checksum_pseudo(out.data + 8, out.data + 24, 16, ip_icmp6, static_cast<uint32_t>(size)));
    const uint16_t check = checksum_finish(sum);
    memcpy(icmp + 2, &check, sizeof check);
    return header + size;
}

void sim_mtu_open(SimMtu *filter, const SimMtuOptions &options, PacketSink *back, const SimPlace &place) {
    sim_filter_begin(filter, mtu_accept, place);
    filter->options = options;
    filter->back = back;
    filter->icmp_said = false;
}

} // namespace wx
