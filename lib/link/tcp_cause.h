// SPDX-License-Identifier: MIT
// What the links over our own TCP share: addresses in the two forms, and why a connection is over as a socket
// would tell it.
#pragma once
#include "../tcp/tcp.h"
#include "link.h"

namespace wx {

bool address_ip(const Address &address, IpAddress *ip, uint16_t *port); // false: no IP address
Address ip_to_address(const IpAddress &ip, uint16_t port);
// As errno; 0: both sides had finished.
int tcp_cause(const TcpConnection *c);

} // namespace wx
