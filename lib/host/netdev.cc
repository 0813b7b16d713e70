// SPDX-License-Identifier: MIT
// A NIC by the netdev netlink family: what its driver supports of XDP (Linux 6.3), the queues that are in use
// (6.8) and how long NAPI puts interrupts off (6.13), which napi.cc sets by it. An older kernel leaves these
// unknown.
#include "nic_parts.h"
#include <linux/netlink.h>

namespace wx {

// <linux/netdev.h> is younger than the headers that this is built with.
constexpr uint8_t command_device = 1;
constexpr uint8_t command_queue = 10;
constexpr uint8_t command_napi = 11;
constexpr uint8_t command_napi_set = 14;
constexpr uint16_t device_index = 1;
constexpr uint16_t device_xdp_features = 3;
constexpr uint16_t device_xdp_metadata = 5;
constexpr uint16_t queue_number = 1;
constexpr uint16_t queue_index = 2;
constexpr uint16_t queue_type = 3;
constexpr uint16_t queue_napi = 4;
constexpr uint32_t queue_receives = 0;
constexpr uint16_t napi_index = 1;
constexpr uint16_t napi_id = 2;
constexpr uint16_t napi_defer_hard_irqs = 5;
constexpr uint16_t napi_gro_flush_timeout = 6;
constexpr uint64_t xdp_basic = 1, xdp_redirect = 2, xdp_xsk_zero_copy = 8;
constexpr uint64_t metadata_timestamp = 1;

uint16_t netdev_family(Netlink *netlink) { return netlink_family(netlink, "netdev"); }

static void take_device(void *context, const NetlinkMessage *message) {
    NicFacts *facts = static_cast<NicFacts *>(context);
    ByteView rest;
    NetlinkAttribute part;
    uint64_t bits = 0;
    if (message == nullptr || !netlink_family_attributes(*message, &rest)) return;
    if (netlink_find(rest, device_xdp_features, &part) && part.uint(&bits)) {
        facts->xdp_driver = known((bits & xdp_basic) != 0 && (bits & xdp_redirect) != 0);
        facts->xdp_zero_copy = known((bits & xdp_xsk_zero_copy) != 0);
    }
    if (netlink_find(rest, device_xdp_metadata, &part) && part.uint(&bits))
        facts->xdp_timestamps = known((bits & metadata_timestamp) != 0);
}

// ---- queues and NAPIs ----

bool netdev_queue_read(const NetlinkMessage &message, NetdevQueue *out) {
    ByteView rest;
    NetlinkAttribute part;
    uint32_t type = 0;
    *out = NetdevQueue();
    if (!netlink_family_attributes(message, &rest)) return false;
    if (netlink_find(rest, queue_index, &part)) part.u32(&out->interface);
    if (netlink_find(rest, queue_number, &part)) part.u32(&out->number);
    if (netlink_find(rest, queue_napi, &part)) part.u32(&out->napi);
    out->receives = netlink_find(rest, queue_type, &part) && part.u32(&type) && type == queue_receives;
    return true;
}

bool netdev_napi_read(const NetlinkMessage &message, NetdevNapi *out) {
    ByteView rest;
    NetlinkAttribute part;
    *out = NetdevNapi();
    if (!netlink_family_attributes(message, &rest)) return false;
    if (netlink_find(rest, napi_index, &part)) part.u32(&out->interface);
    if (netlink_find(rest, napi_id, &part)) part.u32(&out->id);
    out->told = netlink_find(rest, napi_defer_hard_irqs, &part) && part.uint(&out->defer_hard_irqs) &&
                netlink_find(rest, napi_gro_flush_timeout, &part) && part.uint(&out->gro_flush_timeout_ns);
    return true;
}

static int list(Netlink *netlink, NetlinkRequest *request, uint16_t attribute, uint32_t ifindex,
                NetlinkAnswer answer, void *context) {
    request->u32(attribute, ifindex);
    NetlinkFailure failure;
    return netlink_ask(netlink, request, answer, context, &failure);
}
int netdev_list_queues(Netlink *netlink, uint16_t family, uint32_t ifindex, NetlinkAnswer answer,
                       void *context) {
    NetlinkRequest request = netlink_family_request(family, command_queue, NLM_F_DUMP);
    return list(netlink, &request, queue_index, ifindex, answer, context);
}
int netdev_list_napis(Netlink *netlink, uint16_t family, uint32_t ifindex, NetlinkAnswer answer,
                      void *context) {
    NetlinkRequest request = netlink_family_request(family, command_napi, NLM_F_DUMP);
    return list(netlink, &request, napi_index, ifindex, answer, context);
}

int netdev_set_napi(Netlink *netlink, uint16_t family, uint32_t id, uint32_t defer_hard_irqs,
                    uint64_t gro_flush_timeout_ns) {
    NetlinkRequest request = netlink_family_request(family, command_napi_set, 0);
    request.u32(napi_id, id);
    request.u32(napi_defer_hard_irqs, defer_hard_irqs);
    request.attribute(napi_gro_flush_timeout, ByteView(&gro_flush_timeout_ns, sizeof gro_flush_timeout_ns));
    NetlinkFailure failure;
    return -netlink_ask(netlink, &request, nullptr, nullptr, &failure);
}

namespace {

struct Listed {
    uint32_t index = 0;
    uint32_t queues = 0;
    uint32_t napis = 0;
    bool alike = true; // all NAPIs have the same values
    NetdevNapi last;
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
    NetdevQueue queue;
    if (message == nullptr) return restart(listed);
    if (netdev_queue_read(*message, &queue) && queue.interface == listed->index && queue.receives)
        listed->queues++;
}

static void take_napi(void *context, const NetlinkMessage *message) {
    Listed *listed = static_cast<Listed *>(context);
    NetdevNapi napi;
    if (message == nullptr) return restart(listed);
    if (!netdev_napi_read(*message, &napi) || napi.interface != listed->index) return;
    const bool other = napi.defer_hard_irqs != listed->last.defer_hard_irqs ||
                       napi.gro_flush_timeout_ns != listed->last.gro_flush_timeout_ns;
    if (!napi.told || (listed->napis != 0 && other)) listed->alike = false;
    listed->last = napi;
    listed->napis++;
}

void netdev_read(Netlink *netlink, NicFacts *facts) {
    const uint16_t family = netdev_family(netlink);
    if (family == 0) return;
    NetlinkRequest request = netlink_family_request(family, command_device, 0);
    request.u32(device_index, facts->index);
    NetlinkFailure failure;
    netlink_ask(netlink, &request, take_device, facts, &failure);
    Listed queues, napis;
    queues.index = napis.index = facts->index;
    if (netdev_list_queues(netlink, family, facts->index, take_queue, &queues) == 0)
        facts->receive_queues = queues.queues;
    const bool listed = netdev_list_napis(netlink, family, facts->index, take_napi, &napis) == 0;
    if (!listed || napis.napis == 0 || !napis.alike || napis.last.defer_hard_irqs > UINT32_MAX) return;
    facts->defer_hard_irqs = static_cast<uint32_t>(napis.last.defer_hard_irqs);
    facts->gro_flush_timeout_ns = napis.last.gro_flush_timeout_ns;
}

} // namespace wx
