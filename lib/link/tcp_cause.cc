// SPDX-License-Identifier: MIT
// Translations, so that everything above the links cannot tell our TCP from the kernel's.
#include "tcp_cause.h"
#include <errno.h>
#include <netinet/in.h>

namespace wx {

bool address_ip(const Address &address, IpAddress *ip, uint16_t *port) {
    if (address.storage.ss_family == AF_INET) {
        const sockaddr_in *v4 = reinterpret_cast<const sockaddr_in *>(&address.storage);
        *ip = ip_address(reinterpret_cast<const uint8_t *>(&v4->sin_addr), 4);
        *port = ntohs(v4->sin_port);
        return true;
    }
    if (address.storage.ss_family != AF_INET6) return false;
    const sockaddr_in6 *v6 = reinterpret_cast<const sockaddr_in6 *>(&address.storage);
    *ip = ip_address(v6->sin6_addr.s6_addr, 6);
    *port = ntohs(v6->sin6_port);
    return true;
}

Address ip_to_address(const IpAddress &ip, uint16_t port) {
    Address address;
    memset(&address.storage, 0, sizeof address.storage);
    if (ip.version == 6) {
        sockaddr_in6 *v6 = reinterpret_cast<sockaddr_in6 *>(&address.storage);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        memcpy(v6->sin6_addr.s6_addr, ip.bytes, 16);
        address.size = sizeof *v6;
        return address;
    }
    sockaddr_in *v4 = reinterpret_cast<sockaddr_in *>(&address.storage);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    memcpy(&v4->sin_addr, ip.bytes, 4);
    address.size = sizeof *v4;
    return address;
}

static int icmp_cause(IcmpKind kind) {
    switch (kind) {
    case IcmpKind::network_unreachable:
        return ENETUNREACH;
    case IcmpKind::port_unreachable: // as Linux has it
        return ECONNREFUSED;
    case IcmpKind::protocol_unreachable:
        return ENOPROTOOPT;
    default:
        return EHOSTUNREACH;
    }
}

int tcp_cause(const TcpConnection *c) {
    switch (c->end) {
    case TcpEnd::none:
    case TcpEnd::closed:
        return 0;
    case TcpEnd::refused:
        return ECONNREFUSED;
    case TcpEnd::unreachable:
        return icmp_cause(c->icmp);
    case TcpEnd::aborted:
    case TcpEnd::reset:
        return ECONNRESET;
    default: // nobody answered: the SYN, data, a probe, our FIN
        return ETIMEDOUT;
    }
}

} // namespace wx
