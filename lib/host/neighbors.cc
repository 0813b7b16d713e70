// SPDX-License-Identifier: MIT
// Link-layer addresses of next hops: the kernel's neighbour entries, a cache of those that were asked about,
// and the two ways to make the kernel resolve or confirm one. Writes no ARP or NDP itself and changes no
// entry's address. The worst case accepted is a next hop that does not answer: the kernel gives up after its
// own probes (3 s), which is reported; one that nothing can be sent to at all is given up on by us.
#include "routes_parts.h"
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace wx {

// An entry that does not appear although it was asked for is asked for again, but not by every call.
constexpr Nanos ask_interval = ns_per_s / 5;
// How long a failure stands before a call begins anew: as long as between two of the kernel's probes.
constexpr Nanos failure_stands = ns_per_s;
// The kernel's own limit is 3 probes with a second between them; past this no entry will appear any more.
constexpr Nanos give_up_after = 5 * ns_per_s;
constexpr uint16_t discard_port = 9; // RFC 863

static NeighborState state_of(uint16_t bits) {
    if ((bits & (NUD_REACHABLE | NUD_DELAY | NUD_PROBE | NUD_PERMANENT | NUD_NOARP)) != 0)
        return NeighborState::known;
    if ((bits & NUD_STALE) != 0) return NeighborState::stale;
    if ((bits & NUD_FAILED) != 0) return NeighborState::failed;
    return (bits & NUD_INCOMPLETE) != 0 ? NeighborState::resolving : NeighborState::missing;
}

bool neighbor_message_read(const NetlinkMessage &message, NeighborAnswer *out) {
    ByteView rest = message.body;
    ndmsg head;
    *out = NeighborAnswer();
    const bool gone = message.type == RTM_DELNEIGH;
    if ((message.type != RTM_NEWNEIGH && !gone) || !netlink_take(&rest, &head) || head.ndm_ifindex <= 0)
        return false;
    // Bridges' tables come by the same group; proxies are not neighbours.
    const size_t size = head.ndm_family == AF_INET ? 4 : head.ndm_family == AF_INET6 ? 16 : 0;
    if (size == 0 || (head.ndm_flags & NTF_PROXY) != 0) return false;
    out->index = static_cast<uint32_t>(head.ndm_ifindex);
    out->state = gone ? NeighborState::missing : state_of(head.ndm_state);
    NetlinkAttribute part;
    if (!netlink_find(rest, NDA_DST, &part) || part.data.size != size) return false;
    out->address = ip_address(part.data.data, size == 4 ? 4 : 6);
    out->has_mac = netlink_find(rest, NDA_LLADDR, &part) && part.data.size == sizeof out->mac;
    if (out->has_mac) memcpy(out->mac, part.data.data, sizeof out->mac);
    // A state that needs an address, without one: of a device that is no Ethernet.
    const bool usable = out->state == NeighborState::known || out->state == NeighborState::stale;
    if (usable && !out->has_mac) out->state = NeighborState::missing;
    return true;
}

static Neighbor *find(Routes *routes, uint32_t index, const IpAddress &address) {
    for (Neighbor &n : routes->neighbors)
        if (n.address.version != 0 && n.index == index && n.address == address) return &n;
    return nullptr;
}

static Neighbor *find_or_make(Routes *routes, uint32_t index, const IpAddress &address) {
    Neighbor *found = find(routes, index, address);
    if (found != nullptr) return found;
    found = &routes->neighbors[0];
    for (Neighbor &n : routes->neighbors)
        if (n.used < found->used) found = &n; // a free place was never used
    *found = Neighbor();
    found->index = index;
    found->address = address;
    return found;
}

void neighbors_forget(Routes *routes) {
    for (Neighbor &n : routes->neighbors) n.fresh = false;
}

static void take(Neighbor *n, const NeighborAnswer &answer) {
    n->state = answer.state;
    if (answer.has_mac) memcpy(n->mac, answer.mac, sizeof n->mac);
    n->fresh = true;
}

bool neighbor_changed(Routes *routes, const NetlinkMessage &message) {
    NeighborAnswer answer;
    if (!neighbor_message_read(message, &answer)) return false;
    Neighbor *n = find(routes, answer.index, answer.address);
    if (n == nullptr) return false;
    const bool was_usable = n->state == NeighborState::known || n->state == NeighborState::stale;
    const bool same = n->fresh && was_usable && answer.state == NeighborState::known &&
                      memcmp(n->mac, answer.mac, sizeof n->mac) == 0;
    if (same)
        take(n, answer);
    else
        n->fresh = false; // read by whoever asks next, as notifications may be out of date by then
    return !same;
}

static void take_neighbor(void *context, const NetlinkMessage *message) {
    if (message != nullptr) neighbor_message_read(*message, static_cast<NeighborAnswer *>(context));
}

static ErrorText &begin(Routes *routes, ErrorText *error, int code, int cause, const Neighbor &n) {
    error->begin(code, cause).add("looking for the link-layer address of ");
    add_address(n.address, error);
    error->add(" on ");
    add_interface(routes, n.index, error);
    return error->add(": ");
}

static int read_neighbor(Routes *routes, Neighbor *n, ErrorText *error) {
    NetlinkRequest request(RTM_GETNEIGH, 0);
    ndmsg head = {};
    head.ndm_family = n->address.version == 6 ? AF_INET6 : AF_INET;
    head.ndm_ifindex = static_cast<int>(n->index);
    request.head(head);
    request.attribute(NDA_DST, ByteView(n->address.bytes, n->address.size()));
    NeighborAnswer answer;
    NetlinkFailure failure;
    const int status = netlink_ask(&routes->ask, &request, take_neighbor, &answer, &failure);
    if (status == 0 || status == -ENOENT) {
        take(n, answer);
        return WSXDP_OK;
    }
    const int code = status == -ENODEV ? WSXDP_E_XDP_INTERFACE : WSXDP_E_SYSTEM;
    failure.say(&begin(routes, error, code, failure.cause, *n));
    return code;
}

// What any process may do: an empty datagram to it, for which the kernel needs the address as well.
static void send_datagram(const Neighbor &n) {
    const bool is6 = n.address.version == 6;
    const int fd = socket(is6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) return;
    sockaddr_in6 six = {};
    sockaddr_in four = {};
    six.sin6_family = AF_INET6;
    four.sin_family = AF_INET;
    six.sin6_port = four.sin_port = htons(discard_port);
    six.sin6_scope_id = n.index;
    memcpy(is6 ? static_cast<void *>(&six.sin6_addr) : &four.sin_addr, n.address.bytes, n.address.size());
    const sockaddr *to = is6 ? reinterpret_cast<sockaddr *>(&six) : reinterpret_cast<sockaddr *>(&four);
    const int on = 1;
    const int index = static_cast<int>(n.index);
    // Both keep it on this link, whatever the routes say about the gateway's own address. What fails here
    // shows as an entry that does not appear.
    setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX, &index, sizeof index);
    setsockopt(fd, SOL_SOCKET, SO_DONTROUTE, &on, sizeof on);
    if (connect(fd, to, is6 ? sizeof six : sizeof four) == 0) {
        const ssize_t sent = send(fd, "", 0, MSG_NOSIGNAL);
        (void)sent; // as above
    }
    close(fd);
}

// NTF_USE is what the kernel does when it has a packet for the neighbour: nothing for one that is reachable,
// a probe after a while for one that is stale, resolution for one that is missing or failed. It must not be
// used on permanent ones, which it would make ordinary.
static void ask_kernel(Routes *routes, Neighbor *n, Nanos now) {
    n->asked_at = now;
    NetlinkRequest request(RTM_NEWNEIGH, NLM_F_CREATE);
    ndmsg head = {};
    head.ndm_family = n->address.version == 6 ? AF_INET6 : AF_INET;
    head.ndm_ifindex = static_cast<int>(n->index);
    head.ndm_flags = NTF_USE;
    request.head(head);
    request.attribute(NDA_DST, ByteView(n->address.bytes, n->address.size()));
    NetlinkFailure failure;
    if (netlink_ask(&routes->ask, &request, nullptr, nullptr, &failure) == -EPERM) send_datagram(*n);
}

static int give_up(Routes *routes, Neighbor *n, Nanos now, ErrorText *error) {
    if (n->waiting) n->failed_at = now;
    n->waiting = false;
    begin(routes, error, WSXDP_E_UNREACHABLE, EHOSTUNREACH, *n).add("nobody answers the kernel's ");
    error->add(n->address.version == 6 ? "neighbour solicitations" : "ARP requests");
    error->add("; check that the host is up, the cable, and the VLAN");
    return WSXDP_E_UNREACHABLE;
}

// Neither known nor being resolved: ask, wait, or say that it failed.
static int resolve(Routes *routes, Neighbor *n, Nanos now, ErrorText *error) {
    if (n->failed_at != 0 && now - n->failed_at < failure_stands) return give_up(routes, n, now, error);
    if (n->waiting && (n->state == NeighborState::failed || now - n->waiting_since > give_up_after))
        return give_up(routes, n, now, error);
    n->failed_at = 0;
    if (!n->waiting) n->waiting_since = now;
    if (!n->waiting || now - n->asked_at >= ask_interval) ask_kernel(routes, n, now);
    n->waiting = true;
    n->fresh = false;
    return 0;
}

int neighbor_resolve(Routes *routes, const XdpRoute &route, uint8_t mac[6], ErrorText *error) {
    Neighbor *n = find_or_make(routes, route.route_index, route.next_hop);
    n->used = ++routes->questions;
    const bool cached = n->fresh;
    const int status = cached ? WSXDP_OK : read_neighbor(routes, n, error);
    if (!ok(status)) return status;
    const Nanos now = monotonic_ns();
    switch (n->state) {
    case NeighborState::stale:
        // The kernel does not see our packets and would never look whether the address is still right. It
        // waits 5 s before it does (delay_first_probe_time), in which the entry is no longer stale: this is
        // no more frequent than that.
        if (!cached) ask_kernel(routes, n, now);
        [[fallthrough]];
    case NeighborState::known:
        // Others that wait for it were told nothing yet, and will not be: what the kernel says about it next
        // is no news then.
        if (n->waiting) routes->changes++;
        n->waiting = false;
        n->failed_at = 0;
        memcpy(mac, n->mac, sizeof n->mac);
        return 1;
    case NeighborState::resolving:
        if (!n->waiting) n->waiting_since = now;
        n->waiting = true;
        n->failed_at = 0;
        n->fresh = false;
        return 0;
    default:
        return resolve(routes, n, now, error);
    }
}

} // namespace wx
