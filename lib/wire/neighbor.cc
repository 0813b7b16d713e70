// SPDX-License-Identifier: MIT
// Who is at which MAC, as ARP and Neighbor Discovery tell it. Never asks or answers: the kernel does. A
// message that no honest neighbour sends is refused; whether an honest looking one is to be believed, its
// reader decides. Worst case: a Neighbor Discovery message full of options, each passed over by its length.
#include "neighbor.h"
#include "ethernet.h"

namespace wx {
namespace {

constexpr size_t arp_size = 28; // for Ethernet and IPv4
constexpr uint16_t arp_ethernet = 1;
constexpr uint16_t arp_request = 1;
constexpr uint16_t arp_reply = 2;

constexpr uint8_t ndp_router_advertisement = 134;
constexpr uint8_t ndp_solicitation = 135;
constexpr uint8_t ndp_advertisement = 136;
constexpr uint8_t ndp_hops = 255;
constexpr uint8_t ndp_flag_router = 0x80, ndp_flag_solicited = 0x40, ndp_flag_override = 0x20;
constexpr uint8_t option_source_mac = 1, option_target_mac = 2;

inline bool is_station(const uint8_t *mac) { // neither a group nor nothing
    return (mac[0] & 1) == 0 && (mac[0] | mac[1] | mac[2] | mac[3] | mac[4] | mac[5]) != 0;
}

// The options of RFC 4861 section 4.6: *mac becomes the wanted one's, or nullptr when there is none. All are
// walked, because a length of zero spoils the message (section 7.1).
Wire find_mac(ByteView options, uint8_t wanted, const uint8_t **mac) {
    *mac = nullptr;
    const uint8_t *at = options.data;
    for (size_t left = options.size, size; left != 0; left -= size, at += size) {
        if (left < 8) return Wire::truncated;
        size = size_t{at[1]} * 8;
        if (size == 0) return Wire::bad_option;
        if (size > left) return Wire::truncated;
        if (at[0] != wanted) continue;
        if (size != 8) return Wire::bad_option; // longer than Ethernet's
        *mac = at + 2;
    }
    return Wire::ok;
}

inline bool is_link_local(const uint8_t *address) {
    return address[0] == 0xFE && (address[1] & 0xC0) == 0x80;
}
inline bool is_multicast6(const uint8_t *address) { return address[0] == 0xFF; }

// What a type's message is made of.
struct Shape {
    size_t size; // without options
    uint8_t option;
};

bool shape_of(uint8_t type, Shape *out) {
    switch (type) {
    case ndp_router_advertisement:
        *out = {16, option_source_mac};
        return true;
    case ndp_solicitation:
        *out = {24, option_source_mac};
        return true;
    case ndp_advertisement:
        *out = {24, option_target_mac};
        return true;
    default:
        return false;
    }
}

// The rules of RFC 4861 sections 6.1.2, 7.1.1 and 7.1.2 that concern addresses; fills in all but the MAC.
bool fill_notice(const IpPacket &packet, NeighborNotice *out) {
    const uint8_t *head = packet.payload.data;
    const uint8_t type = head[0], flags = head[4];
    const bool advertisement = type == ndp_advertisement;
    if (type == ndp_router_advertisement) {
        if (!is_link_local(packet.source)) return false;
    } else if (is_multicast6(head + 8)) {
        return false;
    }
    if (advertisement && is_multicast6(packet.destination) && (flags & ndp_flag_solicited)) return false;
    out->address = ip_address(advertisement ? head + 8 : packet.source, 6);
    out->request = type == ndp_solicitation;
    out->router = type == ndp_router_advertisement || (advertisement && (flags & ndp_flag_router));
    out->override_ = !advertisement || (flags & ndp_flag_override);
    return ip_is_unicast(out->address);
}

bool checksum_right(const IpPacket &packet) {
    const ByteView message = packet.payload;
    const uint32_t size = static_cast<uint32_t>(message.size);
    const ChecksumSum pseudo = checksum_pseudo(packet.source, packet.destination, 16, ip_icmp6, size);
    return checksum_good(checksum_add(pseudo, checksum_sum(message.data, message.size)));
}

} // namespace

Wire arp_read(ByteView payload, NeighborNotice *out) {
    if (payload.size < 8) return Wire::truncated;
    const uint8_t *head = payload.data;
    const uint16_t operation = load_be16(head + 6);
    if (load_be16(head) != arp_ethernet || load_be16(head + 2) != ether_ipv4 || head[4] != 6 ||
        head[5] != 4 || (operation != arp_request && operation != arp_reply))
        return Wire::unsupported;
    if (payload.size < arp_size) return Wire::truncated;
    if (load_be32(head + 14) == 0) return Wire::unsupported; // a probe: nobody has the address yet
    out->address = ip_address(head + 14, 4);
    if (!ip_is_unicast(out->address) || !is_station(head + 8)) return Wire::bad_address;
    memcpy(out->mac, head + 8, 6);
    out->request = operation == arp_request;
    out->router = false;
    out->override_ = true;
    return Wire::ok;
}

Wire ndp_read(const IpPacket &packet, ChecksumPolicy policy, NeighborNotice *out) {
    if (packet.version != 6 || packet.protocol != ip_icmp6) return Wire::unsupported;
    const ByteView message = packet.payload;
    if (message.size < 8) return Wire::truncated;
    Shape shape;
    if (!shape_of(message.data[0], &shape) || message.data[1] != 0) return Wire::unsupported;
    if (packet.hops != ndp_hops) return Wire::bad_address;
    if (message.size < shape.size) return Wire::truncated;
    if (policy == ChecksumPolicy::verify && !checksum_right(packet)) return Wire::bad_checksum;
    const uint8_t *mac;
    const Wire result = find_mac(message.from(shape.size), shape.option, &mac);
    if (result != Wire::ok) return result;
    if (!fill_notice(packet, out)) return Wire::bad_address;
    if (!mac) return Wire::unsupported;
    if (!is_station(mac)) return Wire::bad_address;
    memcpy(out->mac, mac, 6);
    return Wire::ok;
}

} // namespace wx
