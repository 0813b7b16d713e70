// SPDX-License-Identifier: MIT
// What a connection over AF_XDP must know of the way to its peer, and who is asked for it: a table of
// functions, since whoever knows (lib/host, by rtnetlink) is below this folder.
#pragma once
#include "../../base/clock.h"
#include "../../base/status.h"
#include "../../wire/ethernet.h"
#include "../../wire/ip.h"

namespace wx {

struct XdpRoute {
    uint32_t ifindex = 0;     // of the device that frames leave by: under a VLAN device, the one beneath
    uint32_t route_index = 0; // of the device that the route names; another one than ifindex with a VLAN
    uint16_t vlan = no_vlan;
    uint32_t mtu = 0;   // of IP packets
    IpAddress source;   // ours
    IpAddress next_hop; // whose link-layer address is needed: a gateway, or the peer itself
    uint8_t own_mac[6] = {0};
    bool link_up = false; // administratively and by carrier
};

struct XdpPaths {
    void *context = nullptr;
    // The route to `remote` now. interface: 0 any, else the only one allowed. E_UNREACHABLE, E_XDP_INTERFACE
    // (loopback, our own address, a tunnel: nothing that Ethernet frames go to), E_SYSTEM with a sentence.
    int (*route)(void *context, const IpAddress &remote, uint32_t interface, XdpRoute *out,
                 ErrorText *error) = nullptr;
    // 1: mac is filled in. 0: not known yet, the kernel has been asked to find out; call again after a
    // change. < 0: E_UNREACHABLE, the kernel has given up. Costs a system call only when the answer is not
    // cached.
    int (*neighbor)(void *context, const XdpRoute &route, uint8_t mac[6], ErrorText *error) = nullptr;
    // Reads what the kernel has told since; the new number of changes to routes, neighbours, links and
    // addresses. A number that moved means: ask again.
    uint64_t (*changes)(void *context) = nullptr;
    int fd = -1; // readable when `changes` has something to read
};

} // namespace wx
