// SPDX-License-Identifier: MIT
// transport=xdp of a handle: what joins lib/link/xdp, which moves packets, to lib/host, which knows the
// kernel's routes and the interface's facts, and to the options.
#pragma once
#include "../link/xdp/nic_stage.h"
#include "../link/xdp/xdp_link.h"
#include "options.h"

namespace wx {

struct XdpTransport;
struct XdpTuner;
struct XdpPlace { // what it stands on
    Poller *poller;
    const Clock *clock;
    RandomSource *random;
    size_t connections;
    NicPort *port; // to the nic stage where that runs elsewhere, or null
};

// Opens what needs no peer: checks that the process may do it and that xdp.interface exists. The interface
// itself is taken by the first connection. E_PERMISSION, E_XDP_INTERFACE, E_UNSUPPORTED, E_INVALID, E_SYSTEM,
// E_MEMORY with a sentence. options: kept by the caller.
int xdp_transport_open(const Options *options, const XdpPlace &place, XdpTransport **out, ErrorText *error);
void xdp_transport_close(XdpTransport *xdp); // nullptr is harmless
// What of that the nic stage does itself where it is apart: the interface's settings. E_MEMORY.
int xdp_tuner_open(const Options *options, NicSupport *support, XdpTuner **out, ErrorText *error);
void xdp_tuner_close(XdpTuner *tuner); // nullptr is harmless
XdpHost *xdp_transport_host(XdpTransport *xdp);
// Whether frames trickle on a NIC with this driver, by the option xdp.trickle.
bool xdp_trickles(int64_t choice, const char *driver);

} // namespace wx
