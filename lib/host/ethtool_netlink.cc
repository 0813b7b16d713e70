// SPDX-License-Identifier: MIT
// A NIC by the ethtool netlink family (Linux 5.6; RSS since 6.3): channels, features, RSS, coalescing, time
// stamps. Sets of bits are asked for with their names, since the numbers of features differ between kernels.
// A question that this driver or kernel does not know leaves its facts unknown.
#include "nic_parts.h"
#include <linux/ethtool.h>
#include <linux/ethtool_netlink.h>

namespace wx {

// Younger than the headers that this is built with.
constexpr uint8_t rss_get = ETHTOOL_MSG_PSE_SET + 1;
constexpr uint16_t rss_hash_function = 3;
constexpr uint16_t rss_indirection = 4;
constexpr uint16_t rss_hash_key = 5;
constexpr uint16_t rss_input_transformation = 6;
constexpr uint16_t header_attribute = 1; // of every message of the family

void channels_message_read(ByteView attributes, NicFacts *out) {
    NetlinkAttributes walk(attributes);
    NetlinkAttribute part;
    while (walk.next(&part)) {
        if (part.type == ETHTOOL_A_CHANNELS_RX_COUNT) part.u32(&out->receive_channels);
        if (part.type == ETHTOOL_A_CHANNELS_COMBINED_COUNT) part.u32(&out->combined_channels);
    }
}

// Whether the bit of this name is set in a set of bits with names; without a mask only those that are set
// are listed.
static bool bit_is_set(ByteView set, const char *name) {
    NetlinkAttribute none, list, part;
    const bool masked = !netlink_find(set, ETHTOOL_A_BITSET_NOMASK, &none);
    if (!netlink_find(set, ETHTOOL_A_BITSET_BITS, &list)) return false;
    NetlinkAttributes walk(list.data);
    while (walk.next(&part)) {
        NetlinkAttribute called, value;
        char text[48]; // ETH_GSTRING_LEN is 32
        if (part.type != ETHTOOL_A_BITSET_BITS_BIT) continue;
        if (!netlink_find(part.data, ETHTOOL_A_BITSET_BIT_NAME, &called) || !called.text(text, sizeof text))
            continue;
        if (strcmp(text, name) == 0)
            return !masked || netlink_find(part.data, ETHTOOL_A_BITSET_BIT_VALUE, &value);
    }
    return false;
}

void features_message_read(ByteView attributes, NicFacts *out) {
    NetlinkAttribute active, list;
    if (!netlink_find(attributes, ETHTOOL_A_FEATURES_ACTIVE, &active)) return;
    if (!netlink_find(active.data, ETHTOOL_A_BITSET_BITS, &list)) return; // numbers without names
    const ByteView set = active.data;
    out->lro = known(bit_is_set(set, "rx-lro"));
    out->gro_hw = known(bit_is_set(set, "rx-gro-hw"));
    out->gro = known(bit_is_set(set, "rx-gro"));
    out->receive_checksum = known(bit_is_set(set, "rx-checksum"));
    out->receive_vlan = known(bit_is_set(set, "rx-vlan-hw-parse"));
    NetlinkAttribute changeable;
    if (!netlink_find(attributes, ETHTOOL_A_FEATURES_HW, &changeable)) return;
    out->lro_fixed = !bit_is_set(changeable.data, "rx-lro");
    out->gro_hw_fixed = !bit_is_set(changeable.data, "rx-gro-hw");
}

RssHash rss_hash_of(uint32_t function) {
    switch (function) {
    case 1:
        return RssHash::toeplitz;
    case 2:
        return RssHash::xor_;
    case 4:
        return RssHash::crc32;
    default:
        return RssHash::unknown;
    }
}

void rss_message_read(ByteView attributes, NicFacts *out) {
    NetlinkAttributes walk(attributes);
    NetlinkAttribute part;
    uint32_t value = 0;
    while (walk.next(&part)) switch (part.type) {
        case rss_hash_function:
            if (part.u32(&value)) out->rss_hash = rss_hash_of(value);
            break;
        case rss_indirection:
            // A part of a table would be a wrong one.
            if (part.data.size > sizeof out->rss_table || part.data.size % 4 != 0) break;
            memcpy(out->rss_table, part.data.data, part.data.size);
            out->rss_table_size = static_cast<uint32_t>(part.data.size / 4);
            break;
        case rss_hash_key:
            if (part.data.size > sizeof out->rss_key) break;
            memcpy(out->rss_key, part.data.data, part.data.size);
            out->rss_key_bytes = static_cast<uint32_t>(part.data.size);
            break;
        case rss_input_transformation:
            if (part.u32(&value)) out->rss_symmetric = value != 0;
            break;
        }
}

void coalesce_message_read(ByteView attributes, NicFacts *out) {
    NetlinkAttribute part;
    if (netlink_find(attributes, ETHTOOL_A_COALESCE_RX_USECS, &part)) part.u32(&out->coalesce_receive_us);
}

void timestamps_message_read(ByteView attributes, NicFacts *out) {
    NetlinkAttribute kinds, filters;
    // Without the set the driver offers none of a NIC's; without filters it stamps nothing that it receives.
    const bool stamps = netlink_find(attributes, ETHTOOL_A_TSINFO_TIMESTAMPING, &kinds) &&
                        bit_is_set(kinds.data, "hardware-receive");
    const bool all =
        netlink_find(attributes, ETHTOOL_A_TSINFO_RX_FILTERS, &filters) && bit_is_set(filters.data, "all");
    out->hardware_timestamps = known(stamps && all);
}

namespace {

using MessageReader = void (*)(ByteView attributes, NicFacts *out);
struct Reading {
    NicFacts *facts;
    MessageReader read;
};

} // namespace

static void take(void *context, const NetlinkMessage *message) {
    const Reading *reading = static_cast<const Reading *>(context);
    ByteView rest;
    if (message != nullptr && netlink_family_attributes(*message, &rest)) reading->read(rest, reading->facts);
}

void ethtool_netlink_read(Netlink *netlink, NicFacts *facts) {
    static const struct {
        uint8_t command;
        MessageReader read;
    } questions[] = {{ETHTOOL_MSG_CHANNELS_GET, channels_message_read},
                     {ETHTOOL_MSG_FEATURES_GET, features_message_read},
                     {ETHTOOL_MSG_COALESCE_GET, coalesce_message_read},
                     {ETHTOOL_MSG_TSINFO_GET, timestamps_message_read},
                     {rss_get, rss_message_read}};
    const uint16_t family = netlink_family(netlink, ETHTOOL_GENL_NAME);
    if (family == 0) return;
    for (const auto &question : questions) {
        NetlinkRequest request = netlink_family_request(family, question.command, 0);
        const size_t nest = request.begin_nest(header_attribute);
        request.u32(ETHTOOL_A_HEADER_DEV_INDEX, facts->index);
        request.end_nest(nest);
        Reading reading = {facts, question.read};
        NetlinkFailure failure; // unknown is an answer, too
        netlink_ask(netlink, &request, take, &reading, &failure);
    }
}

} // namespace wx
