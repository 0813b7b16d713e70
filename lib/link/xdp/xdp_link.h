// SPDX-License-Identifier: MIT
// Channels of an XdpHost, which is LinkOptions::context, behind the same table as the kernel's sockets.
#pragma once
#include "../link.h"
#include "host.h"

namespace wx {

extern const LinkBackend xdp_link;
extern const LinkDriver xdp_driver;

// -- xdp_facts.cc
// false: there is no such fact.
bool xdp_facts(void *context, const char *name, Writer *out);

} // namespace wx
