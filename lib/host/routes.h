// SPDX-License-Identifier: MIT
// Routes, neighbours, links and addresses as the kernel has them (rtnetlink, RFC 3549), followed live: one
// socket that asks, one that listens. Nothing is guessed: the gateway is the one that the kernel would take.
// The kernel resolves neighbours; we ask it to and read the answer.
#pragma once
#include "../link/xdp/path.h"

namespace wx {

struct Routes;
// E_SYSTEM, E_DESCRIPTORS, E_MEMORY with a sentence. Needs no privilege, but asking the kernel to resolve a
// neighbour (CAP_NET_ADMIN).
int routes_open(Routes **out, ErrorText *error);
void routes_close(Routes *routes);
// Filled in for lib/link/xdp; valid until routes_close.
XdpPaths routes_paths(Routes *routes);

struct LinkFacts {
    uint32_t index = 0;
    uint32_t lower_index = 0; // IFLA_LINK: of a VLAN device, the one beneath
    uint16_t vlan = no_vlan;
    uint32_t mtu = 0;
    uint8_t mac[6] = {0};
    bool up = false;      // IFF_UP
    bool carrier = false; // IFF_LOWER_UP
    bool loopback = false;
    bool ethernet = false; // ARPHRD_ETHER
    char name[16] = {0};
    char kind[16] = {0}; // IFLA_INFO_KIND: "veth", "vlan"; empty: hardware
};
// E_XDP_INTERFACE when there is none.
int routes_link(Routes *routes, uint32_t index, LinkFacts *out, ErrorText *error);
int routes_link_by_name(Routes *routes, const char *name, LinkFacts *out, ErrorText *error);

} // namespace wx
