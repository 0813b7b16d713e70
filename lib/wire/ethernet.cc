// SPDX-License-Identifier: MIT
// Ethernet headers. Never looks past the tag: what the payload is and how much of it is padding, the next
// header says. Worst case: a frame of a stacked VLAN, which is refused and counted rather than guessed at.
#include "ethernet.h"

namespace wx {
namespace {

constexpr uint16_t ether_type_min = 0x0600;    // below it the field is the length of an 802.3 frame
constexpr uint16_t ether_service_tag = 0x88A8; // IEEE 802.1ad
constexpr uint16_t vlan_mask = 0x0FFF;

inline bool is_type(uint16_t type) {
    return type >= ether_type_min && type != ether_vlan && type != ether_service_tag;
}

} // namespace

Wire ethernet_read(ByteView bytes, EthernetFrame *out) {
    if (bytes.size < ether_header_size) return Wire::truncated;
    size_t size = ether_header_size;
    uint16_t type = load_be16(bytes.data + 12), vlan = no_vlan;
    if (type == ether_vlan) {
        size += ether_vlan_size;
        if (bytes.size < size) return Wire::truncated;
        vlan = load_be16(bytes.data + 14) & vlan_mask;
        type = load_be16(bytes.data + 16);
    }
    if (!is_type(type)) return Wire::unsupported;
    out->destination = bytes.data;
    out->source = bytes.data + 6;
    out->type = type;
    out->vlan = vlan;
    out->payload.data = bytes.data + size;
    out->payload.size = bytes.size - size;
    return Wire::ok;
}

size_t ethernet_write(ByteSpan out, const uint8_t destination[6], const uint8_t source[6], uint16_t vlan,
                      uint16_t type) {
    const bool tagged = vlan != no_vlan;
    const size_t size = ether_header_size + (tagged ? ether_vlan_size : 0);
    if (out.size < size) return 0;
    memcpy(out.data, destination, 6);
    memcpy(out.data + 6, source, 6);
    if (tagged) {
        store_be16(out.data + 12, ether_vlan);
        store_be16(out.data + 14, vlan & vlan_mask);
    }
    store_be16(out.data + size - 2, type);
    return size;
}

} // namespace wx
