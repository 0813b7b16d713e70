// SPDX-License-Identifier: MIT
// Routes as the kernel resolves them (RTM_GETROUTE), and the count of everything that changes. A route is
// asked for anew each time and never kept. The worst case accepted is a kernel that loses notifications
// because nobody reads them: that counts as a change of everything.
#include "routes.h"
#include "../base/alloc.h"
#include "routes_parts.h"
#include <errno.h>
#include <linux/rtnetlink.h>
#include <sys/socket.h>

namespace wx {

// So many datagrams are read at a time; the descriptor stays readable when there are more.
constexpr unsigned datagrams_at_a_time = 1024;

static IpAddress read_address(ByteView data) {
    return data.size == 4    ? ip_address(data.data, 4)
           : data.size == 16 ? ip_address(data.data, 6)
                             : IpAddress();
}

// struct rtvia: a gateway of another version than the route (RFC 5549).
static IpAddress read_via(ByteView data) {
    uint16_t family = 0;
    if (data.size < sizeof family) return IpAddress();
    memcpy(&family, data.data, sizeof family);
    const IpAddress address = read_address(data.from(sizeof family));
    const int wanted = address.version == 4 ? AF_INET : AF_INET6;
    return family == wanted ? address : IpAddress();
}

bool route_message_read(const NetlinkMessage &message, RouteAnswer *out) {
    ByteView rest = message.body;
    rtmsg head;
    *out = RouteAnswer();
    if (message.type != RTM_NEWROUTE || !netlink_take(&rest, &head)) return false;
    out->type = head.rtm_type;
    NetlinkAttributes walk(rest);
    NetlinkAttribute part, metric;
    while (walk.next(&part)) switch (part.type) {
        case RTA_OIF:
            part.u32(&out->index);
            break;
        case RTA_PREFSRC:
            out->source = read_address(part.data);
            break;
        case RTA_GATEWAY:
            out->gateway = read_address(part.data);
            break;
        case RTA_VIA:
            out->gateway = read_via(part.data);
            break;
        case RTA_ENCAP_TYPE:
            out->encapsulated = true;
            break;
        case RTA_METRICS:
            if (netlink_find(part.data, RTAX_MTU, &metric)) metric.u32(&out->mtu);
            break;
        }
    return true;
}

static void take_route(void *context, const NetlinkMessage *message) {
    if (message != nullptr) route_message_read(*message, static_cast<RouteAnswer *>(context));
}

// interface 0: any.
static int ask_route(Routes *routes, const IpAddress &remote, uint32_t interface, uint32_t flags,
                     RouteAnswer *out, NetlinkFailure *failure) {
    *out = RouteAnswer();
    NetlinkRequest request(RTM_GETROUTE, 0);
    rtmsg head = {};
    head.rtm_family = remote.version == 6 ? AF_INET6 : AF_INET;
    head.rtm_dst_len = static_cast<uint8_t>(remote.size() * 8);
    head.rtm_flags = flags;
    request.head(head);
    request.attribute(RTA_DST, ByteView(remote.bytes, remote.size()));
    if (interface != 0) request.u32(RTA_OIF, interface);
    const int status = netlink_ask(&routes->ask, &request, take_route, out, failure);
    if (status == 0 && out->type == RTN_UNSPEC) failure->cause = EPROTO;
    return -failure->cause;
}

static ErrorText &begin(ErrorText *error, int code, int cause, const IpAddress &remote) {
    error->begin(code, cause).add("looking for the way to ");
    add_address(remote, error);
    return error->add(": ");
}

static int route_failed(Routes *routes, const NetlinkFailure &failure, const IpAddress &remote,
                        uint32_t interface, ErrorText *error) {
    const char *why = nullptr;
    switch (failure.cause) {
    case ENETUNREACH:
        why = "there is no route";
        break;
    case EHOSTUNREACH:
        why = interface != 0 ? "there is no route" : "a route says that it is unreachable";
        break;
    case EACCES:
        why = "a route prohibits it";
        break;
    case EINVAL:
        why = "a route throws it away (blackhole)";
        break;
    case ENODEV:
        begin(error, WSXDP_E_XDP_INTERFACE, failure.cause, remote).add("there is no interface with index ");
        error->number(interface).add(" in this network namespace");
        return WSXDP_E_XDP_INTERFACE;
    }
    begin(error, why ? WSXDP_E_UNREACHABLE : WSXDP_E_SYSTEM, failure.cause, remote);
    if (why == nullptr) {
        error->add("asking the kernel failed: ");
        failure.say(error);
        return WSXDP_E_SYSTEM;
    }
    error->add(why);
    if (interface != 0) {
        error->add(" by ");
        add_interface(routes, interface, error);
    }
    error->add("; see `ip route get`");
    return WSXDP_E_UNREACHABLE;
}

// Link-local addresses (RFC 4291 section 2.5.6) are the same on every link: only the interface tells.
static bool is_link_local6(const IpAddress &address) {
    return address.version == 6 && address.bytes[0] == 0xFE && (address.bytes[1] & 0xC0) == 0x80;
}

static uint32_t lower_of(Routes *routes, uint32_t index) {
    LinkFacts link;
    NetlinkFailure failure;
    return link_ask(&routes->ask, index, "", &link, &failure) == 0 ? link.lower_index : 0;
}

// The route that the kernel takes, when it leads through the interface that is wanted or a VLAN on it; else
// the one that it takes for a socket bound to that interface.
static int find_route(Routes *routes, const IpAddress &remote, uint32_t interface, RouteAnswer *out,
                      ErrorText *error) {
    NetlinkFailure failure;
    if (is_link_local6(remote) && interface == 0) {
        begin(error, WSXDP_E_UNREACHABLE, 0, remote).add("a link-local address; name the interface");
        return WSXDP_E_UNREACHABLE;
    }
    if (!is_link_local6(remote)) {
        const int status = ask_route(routes, remote, 0, 0, out, &failure);
        if (status != 0 && interface == 0) return route_failed(routes, failure, remote, 0, error);
        if (status == 0 && (interface == 0 || out->type != RTN_UNICAST || out->index == interface ||
                            lower_of(routes, out->index) == interface))
            return WSXDP_OK;
    }
    // With an interface but no route by it the kernel takes every IPv4 address for a neighbour. Whether a
    // route is behind the answer only the second question tells.
    RouteAnswer match;
    if (ask_route(routes, remote, interface, 0, out, &failure) != 0 ||
        ask_route(routes, remote, interface, RTM_F_FIB_MATCH, &match, &failure) != 0)
        return route_failed(routes, failure, remote, interface, error);
    if (out->type == RTN_UNICAST && out->index != interface) {
        failure.cause = ENETUNREACH;
        return route_failed(routes, failure, remote, interface, error);
    }
    return WSXDP_OK;
}

static int check_type(const RouteAnswer &answer, const IpAddress &remote, ErrorText *error) {
    switch (answer.type) {
    case RTN_UNICAST:
        if (!answer.encapsulated) return WSXDP_OK;
        begin(error, WSXDP_E_XDP_INTERFACE, 0, remote);
        error->add("the route puts packets into others, which AF_XDP bypasses; use transport=socket");
        return WSXDP_E_XDP_INTERFACE;
    case RTN_LOCAL:
    case RTN_ANYCAST:
        begin(error, WSXDP_E_XDP_INTERFACE, 0, remote);
        error->add("AF_XDP needs a peer on another host, and this address is this host's own; use "
                   "transport=socket");
        return WSXDP_E_XDP_INTERFACE;
    case RTN_BROADCAST:
    case RTN_MULTICAST:
        begin(error, WSXDP_E_UNREACHABLE, 0, remote).add("a broadcast or multicast address, not one host's");
        return WSXDP_E_UNREACHABLE;
    default:
        begin(error, WSXDP_E_UNREACHABLE, 0, remote).add("the kernel has a route of type ");
        error->number(answer.type).add(", which leads nowhere");
        return WSXDP_E_UNREACHABLE;
    }
}

static uint32_t smaller(uint32_t a, uint32_t b) { return b != 0 && b < a ? b : a; }

static int fill_devices(Routes *routes, const RouteAnswer &answer, const IpAddress &remote, XdpRoute *out,
                        ErrorText *error) {
    LinkFacts device, lower;
    int status = routes_link(routes, answer.index, &device, error);
    if (ok(status)) status = link_check(device, error);
    const bool vlan = device.lower_index != 0;
    if (ok(status) && vlan) status = routes_link(routes, device.lower_index, &lower, error);
    if (ok(status) && vlan) status = link_check_vlan(device, lower, error);
    if (!ok(status)) return status;
    out->ifindex = vlan ? lower.index : device.index;
    out->route_index = device.index;
    out->vlan = device.vlan;
    out->mtu = smaller(device.mtu, answer.mtu);
    if (remote.version == 6) out->mtu = smaller(out->mtu, device.mtu6);
    out->link_up = device.up && device.carrier && (!vlan || (lower.up && lower.carrier));
    memcpy(out->own_mac, device.mac, sizeof out->own_mac);
    return WSXDP_OK;
}

static int resolve_route(void *context, const IpAddress &remote, uint32_t interface, XdpRoute *out,
                         ErrorText *error) {
    Routes *routes = static_cast<Routes *>(context);
    RouteAnswer answer;
    *out = XdpRoute();
    if (!ip_is_unicast(remote)) {
        begin(error, WSXDP_E_UNREACHABLE, 0, remote).add("not the address of one host");
        return WSXDP_E_UNREACHABLE;
    }
    int status = find_route(routes, remote, interface, &answer, error);
    if (ok(status)) status = check_type(answer, remote, error);
    if (ok(status)) status = fill_devices(routes, answer, remote, out, error);
    if (!ok(status)) return status;
    out->source = answer.source;
    out->next_hop = answer.gateway.version != 0 ? answer.gateway : remote;
    if (out->source.version == remote.version && ip_is_unicast(out->source)) return WSXDP_OK;
    begin(error, WSXDP_E_UNREACHABLE, 0, remote)
        .add("no address of this host fits as the source; add one to ");
    add_interface(routes, out->route_index, error);
    return WSXDP_E_UNREACHABLE;
}

static int resolve_neighbor(void *context, const XdpRoute &route, uint8_t mac[6], ErrorText *error) {
    return neighbor_resolve(static_cast<Routes *>(context), route, mac, error);
}

static void take_change(Routes *routes, const NetlinkMessage &message) {
    switch (message.type) {
    case RTM_NEWNEIGH:
    case RTM_DELNEIGH:
        if (neighbor_changed(routes, message)) routes->changes++;
        break;
    case RTM_NEWLINK:
    case RTM_DELLINK:
        neighbors_forget(routes);
        routes->changes++;
        break;
    default:
        if (message.type >= NLMSG_MIN_TYPE) routes->changes++;
    }
}

static uint64_t count_changes(void *context) {
    Routes *routes = static_cast<Routes *>(context);
    for (unsigned i = 0; i < datagrams_at_a_time; i++) {
        const int64_t got = netlink_receive(&routes->listen);
        if (got == 0) break;
        if (got < 0) {
            neighbors_forget(routes);
            routes->changes++;
            continue;
        }
        NetlinkMessages walk(ByteView(routes->listen.buffer, static_cast<size_t>(got)));
        NetlinkMessage message;
        while (walk.next(&message)) take_change(routes, message);
    }
    return routes->changes;
}

static const uint32_t needed_groups[] = {RTNLGRP_LINK,        RTNLGRP_NEIGH,      RTNLGRP_IPV4_IFADDR,
                                         RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE};
// Rules and next hops (Linux 5.3) decide about routes as well, where they exist.
static const uint32_t other_groups[] = {RTNLGRP_IPV4_RULE, RTNLGRP_IPV6_RULE, RTNLGRP_NEXTHOP};

int routes_open(Routes **out, ErrorText *error) {
    *out = nullptr;
    Routes *routes = allocate_object<Routes>();
    if (routes == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("following routes and neighbours: out of memory");
        return WSXDP_E_MEMORY;
    }
    int status = netlink_open(&routes->ask, NETLINK_ROUTE, error);
    if (ok(status)) status = netlink_open_listener(&routes->listen, NETLINK_ROUTE, error);
    for (uint32_t group : needed_groups) {
        if (!ok(status) || netlink_join(&routes->listen, group)) continue;
        const int cause = errno;
        error->begin(WSXDP_E_SYSTEM, cause)
            .add("following routes and neighbours: the kernel refuses to tell ");
        error->add("about changes: ").errno_name(cause);
        status = WSXDP_E_SYSTEM;
    }
    if (!ok(status)) {
        routes_close(routes);
        return status;
    }
    for (uint32_t group : other_groups) netlink_join(&routes->listen, group);
    *out = routes;
    return WSXDP_OK;
}

void routes_close(Routes *routes) {
    if (routes == nullptr) return;
    netlink_close(&routes->ask);
    netlink_close(&routes->listen);
    deallocate(routes);
}

XdpPaths routes_paths(Routes *routes) {
    XdpPaths paths;
    paths.context = routes;
    paths.route = resolve_route;
    paths.neighbor = resolve_neighbor;
    paths.changes = count_changes;
    paths.fd = routes->listen.fd;
    return paths;
}

} // namespace wx
