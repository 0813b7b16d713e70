// SPDX-License-Identifier: MIT
// A NIC by the netdev netlink family: what its driver supports of XDP (Linux 6.3), the queues that are in use
// (6.8) and how long NAPI puts interrupts off (6.13). An older kernel leaves these unknown.
#include "nic_parts.h"
#include <linux/genetlink.h>
#include <linux/netlink.h>

namespace wx {

// <linux/netdev.h> is younger than the headers that this is built with.
constexpr uint8_t command_device = 1;
constexpr uint8_t command_queue = 10;
constexpr uint8_t command_napi = 11;
constexpr uint16_t device_index = 1;
constexpr uint16_t device_xdp_features = 3;
constexpr uint16_t device_xdp_metadata = 5;
constexpr uint16_t queue_index = 2;
constexpr uint16_t queue_type = 3;
constexpr uint32_t queue_receives = 0;
constexpr uint16_t napi_index = 1;
constexpr uint16_t napi_defer_hard_irqs = 5;
constexpr uint16_t napi_gro_flush_timeout = 6;
constexpr uint64_t xdp_basic = 1, xdp_redirect = 2, xdp_xsk_zero_copy = 8;
constexpr uint64_t metadata_timestamp = 1;

static bool attributes_of(const NetlinkMessage &message, ByteView *out) {
    genlmsghdr head;
    *out = message.body;
    return netlink_take(out, &head);
}

static Known known(bool value) { return value ? Known::yes : Known::no; }

static void take_device(void *context, const NetlinkMessage *message) {
    NicFacts *facts = static_cast<NicFacts *>(context);
    ByteView rest;
    NetlinkAttribute part;
    uint64_t bits = 0;
    if (message == nullptr || !attributes_of(*message, &rest)) return;
    if (netlink_find(rest, device_xdp_features, &part) && part.uint(&bits)) {
        facts->xdp_driver = known((bits & xdp_basic) != 0 && (bits & xdp_redirect) != 0);
        facts->xdp_zero_copy = known((bits & xdp_xsk_zero_copy) != 0);
    }
    if (netlink_find(rest, device_xdp_metadata, &part) && part.uint(&bits))
        facts->xdp_timestamps = known((bits & metadata_timestamp) != 0);
}

namespace {

struct Listed {
    uint32_t index = 0;
    uint32_t queues = 0;
    uint32_t napis = 0;
    bool alike = true; // all NAPIs have the same values
    uint64_t defer = 0;
    uint64_t flush = 0;
};

} // namespace

// Begun anew: what was counted is void.
static void restart(Listed *listed) {
    const uint32_t index = listed->index;
    *listed = Listed();
    listed->index = index;
}

static void take_queue(void *context, const NetlinkMessage *message) {
    Listed *listed = static_cast<Listed *>(context);
    ByteView rest;
    NetlinkAttribute part;
    uint32_t index = 0, type = 1;
    if (message == nullptr) return restart(listed);
    if (!attributes_of(*message, &rest)) return;
    if (netlink_find(rest, queue_index, &part)) part.u32(&index);
    if (netlink_find(rest, queue_type, &part)) part.u32(&type);
    if (index == listed->index && type == queue_receives) listed->queues++;
}

static void take_napi(void *context, const NetlinkMessage *message) {
    Listed *listed = static_cast<Listed *>(context);
    ByteView rest;
    NetlinkAttribute part;
    uint32_t index = 0;
    uint64_t defer = 0, flush = 0;
    if (message == nullptr) return restart(listed);
    if (!attributes_of(*message, &rest)) return;
    if (netlink_find(rest, napi_index, &part)) part.u32(&index);
    if (index != listed->index) return;
    const bool told = netlink_find(rest, napi_defer_hard_irqs, &part) && part.uint(&defer) &&
                      netlink_find(rest, napi_gro_flush_timeout, &part) && part.uint(&flush);
    if (!told || (listed->napis != 0 && (defer != listed->defer || flush != listed->flush)))
        listed->alike = false;
    listed->defer = defer;
    listed->flush = flush;
    listed->napis++;
}

static bool list(Netlink *netlink, uint16_t family, uint8_t command, uint16_t attribute, NetlinkAnswer answer,
                 Listed *listed) {
    NetlinkRequest request(family, NLM_F_DUMP);
    genlmsghdr head = {};
    head.cmd = command;
    head.version = 1;
    request.head(head);
    request.u32(attribute, listed->index);
    NetlinkFailure failure;
    return netlink_ask(netlink, &request, answer, listed, &failure) == 0;
}

void netdev_read(Netlink *netlink, NicFacts *facts) {
    const uint16_t family = netlink_family(netlink, "netdev");
    if (family == 0) return;
    NetlinkRequest request(family, 0);
    genlmsghdr head = {};
    head.cmd = command_device;
    head.version = 1;
    request.head(head);
    request.u32(device_index, facts->index);
    NetlinkFailure failure;
    netlink_ask(netlink, &request, take_device, facts, &failure);
    Listed queues, napis;
    queues.index = napis.index = facts->index;
    if (list(netlink, family, command_queue, queue_index, take_queue, &queues))
        facts->receive_queues = queues.queues;
    const bool listed = list(netlink, family, command_napi, napi_index, take_napi, &napis);
    if (!listed || napis.napis == 0 || !napis.alike || napis.defer > UINT32_MAX) return;
    facts->defer_hard_irqs = static_cast<uint32_t>(napis.defer);
    facts->gro_flush_timeout_ns = napis.flush;
}

} // namespace wx
