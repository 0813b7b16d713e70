// SPDX-License-Identifier: MIT
// Routes, neighbours, links and addresses as the kernel has them (rtnetlink, RFC 3549), followed live: one
// socket that asks, one that listens. Nothing is guessed: the gateway is the one that the kernel would take.
// The kernel resolves neighbours; we ask it to and read the answer. For one thread at a time.
#pragma once
#include "../link/xdp/path.h"

namespace wx {

struct Routes;
// E_SYSTEM, E_DESCRIPTORS, E_MEMORY with a sentence. Needs no privilege: without CAP_NET_ADMIN the kernel is
// made to resolve a neighbour by an empty datagram to it (UDP, port 9).
int routes_open(Routes **out, ErrorText *error);
void routes_close(Routes *routes);
// Filled in for lib/link/xdp; valid until routes_close. What is cached is as new as the last call of
// `changes`. Of neighbours, only those that `neighbor` was asked about count as changes, and only when there
// is a reason to ask again: another link-layer address, known or no longer, or due to be confirmed.
//
// A neighbour that was known and is no longer (the kernel's probes went unanswered) is 0 first, since the
// kernel is asked again; E_UNREACHABLE follows, after about 3 s, when it does not answer then. E_UNREACHABLE
// is repeated for a second, after which a call begins anew.
XdpPaths routes_paths(Routes *routes);

struct LinkFacts {
    uint32_t index = 0;
    uint32_t lower_index = 0; // IFLA_LINK: of a VLAN device, the one beneath
    uint16_t vlan = no_vlan;
    uint32_t mtu = 0;
    uint32_t mtu6 = 0;           // of IPv6, when a router or the administrator made it smaller; 0: none
    uint32_t receive_queues = 0; // that were made, whether in use or not; 0: not told
    uint8_t mac[6] = {0};
    bool up = false;      // IFF_UP
    bool carrier = false; // IFF_LOWER_UP
    bool loopback = false;
    bool ethernet = false; // ARPHRD_ETHER
    bool foreign = false;  // the VLAN's device beneath is in another network namespace
    bool service = false;  // the VLAN's tag is 802.1ad and not 802.1Q
    bool parent = false;   // has a device of its own on some bus
    char name[16] = {0};
    char kind[16] = {0}; // IFLA_INFO_KIND: "veth", "vlan"; empty: hardware
};
// E_XDP_INTERFACE when there is none.
int routes_link(Routes *routes, uint32_t index, LinkFacts *out, ErrorText *error);
int routes_link_by_name(Routes *routes, const char *name, LinkFacts *out, ErrorText *error);

} // namespace wx
