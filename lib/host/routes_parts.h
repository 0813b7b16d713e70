// SPDX-License-Identifier: MIT
// What the files behind routes.h share, their parsers of messages, for tests, and links asked for without a
// Routes, for napi.cc and nic_facts.cc. No other folder includes it.
#pragma once
#include "../base/clock.h"
#include "netlink.h"
#include "routes.h"

namespace wx {

// A client has a gateway or two per interface, or a few peers on the same link; the least recently asked
// about makes room for another.
constexpr size_t neighbors_max = 64;

enum class NeighborState : uint8_t { missing, resolving, known, stale, failed };

struct Neighbor {
    IpAddress address; // version 0: the place is free
    uint32_t index = 0;
    uint8_t mac[6] = {0};
    NeighborState state = NeighborState::missing;
    bool fresh = false;   // state and mac are as the kernel last told
    bool waiting = false; // the kernel was asked, a failure is yet to be reported
    uint64_t used = 0;    // when last asked about, counted in questions
    Nanos waiting_since = 0;
    Nanos asked_at = 0;  // the kernel, to resolve or to confirm
    Nanos failed_at = 0; // a failure was reported; 0: none
};

struct Routes {
    Netlink ask;
    Netlink listen;
    uint64_t changes = 0;
    uint64_t questions = 0;
    Neighbor neighbors[neighbors_max];
};

// Links (links.cc).
bool link_message_read(const NetlinkMessage &message, LinkFacts *out);
// By index, or by name when index is 0. 0 or -errno.
int link_ask(Netlink *netlink, uint32_t index, const char *name, LinkFacts *out, NetlinkFailure *failure);
// As routes_link_by_name.
int link_by_name(Netlink *netlink, const char *name, LinkFacts *out, ErrorText *error);
// The interface as it is called in sentences: "eth0", or "interface 7" when it is gone.
void add_interface(Routes *routes, uint32_t index, ErrorText *error);
void add_address(const IpAddress &address, ErrorText *error);

// Which device a route's frames leave by, from the device that it names and, of a VLAN, the one beneath.
// E_XDP_INTERFACE with a sentence.
int link_check(const LinkFacts &device, ErrorText *error);
int link_check_vlan(const LinkFacts &device, const LinkFacts &lower, ErrorText *error);

// Routes (routes.cc).
struct RouteAnswer {
    uint8_t type = 0;   // RTN_UNICAST...
    uint32_t index = 0; // RTA_OIF
    uint32_t mtu = 0;   // RTAX_MTU; 0: none
    bool encapsulated = false;
    IpAddress source;
    IpAddress gateway;
};
bool route_message_read(const NetlinkMessage &message, RouteAnswer *out);

// Neighbours (neighbors.cc).
struct NeighborAnswer {
    IpAddress address;
    uint32_t index = 0;
    NeighborState state = NeighborState::missing;
    bool has_mac = false;
    uint8_t mac[6] = {0};
};
bool neighbor_message_read(const NetlinkMessage &message, NeighborAnswer *out);
int neighbor_resolve(Routes *routes, const XdpRoute &route, uint8_t mac[6], ErrorText *error);
// A message has come; true when whoever asked about it should ask again.
bool neighbor_changed(Routes *routes, const NetlinkMessage &message);
void neighbors_forget(Routes *routes); // all are read anew when next asked about

} // namespace wx
