// SPDX-License-Identifier: MIT
// Ethernet II with no VLAN tag or one (IEEE 802.1Q).
#pragma once
#include "wire.h"

namespace wx {

constexpr uint16_t ether_ipv4 = 0x0800;
constexpr uint16_t ether_arp = 0x0806;
constexpr uint16_t ether_ipv6 = 0x86DD;
constexpr uint16_t ether_vlan = 0x8100;
constexpr size_t ether_header_size = 14;
constexpr size_t ether_vlan_size = 4;
constexpr uint16_t no_vlan = 0xFFFF; // a tag's own values are 0..4095

struct EthernetFrame {
    const uint8_t *destination = nullptr; // 6 bytes
    const uint8_t *source = nullptr;
    uint16_t type = 0;       // of what follows the tag
    uint16_t vlan = no_vlan; // identifier only, without priority
    ByteView payload;        // with the padding that short frames have
};

// unsupported: two tags, an 802.3 length in the place of a type.
Wire ethernet_read(ByteView bytes, EthernetFrame *out);
// Writes 14 or 18 bytes; returns how many, 0 when cap is too small.
size_t ethernet_write(ByteSpan out, const uint8_t destination[6], const uint8_t source[6], uint16_t vlan,
                      uint16_t type);

} // namespace wx
