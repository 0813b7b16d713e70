// SPDX-License-Identifier: MIT
// Links as RTM_GETLINK tells of them, and which of them Ethernet frames of ours can leave by. Reads one link
// at a time and keeps nothing: it is asked when a connection begins and when something has changed.
#include "routes_parts.h"
#include <errno.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/ipv6.h>
#include <linux/rtnetlink.h>

namespace wx {

static void read_vlan(ByteView data, LinkFacts *out) {
    NetlinkAttributes walk(data);
    NetlinkAttribute part;
    uint16_t protocol = ether_vlan;
    while (walk.next(&part)) {
        if (part.type == IFLA_VLAN_ID) part.u16(&out->vlan);
        if (part.type == IFLA_VLAN_PROTOCOL) part.be16(&protocol);
    }
    out->service = protocol != ether_vlan;
}

static void read_info(ByteView data, LinkFacts *out) {
    NetlinkAttribute part;
    if (netlink_find(data, IFLA_INFO_KIND, &part)) part.text(out->kind, sizeof out->kind);
    if (strcmp(out->kind, "vlan") == 0 && netlink_find(data, IFLA_INFO_DATA, &part))
        read_vlan(part.data, out);
}

// A router's advertisement may make the MTU smaller for IPv6 alone (RFC 4861 section 4.6.4).
static void read_families(ByteView data, LinkFacts *out) {
    NetlinkAttribute family, settings;
    if (!netlink_find(data, AF_INET6, &family) || !netlink_find(family.data, IFLA_INET6_CONF, &settings))
        return;
    constexpr size_t at = DEVCONF_MTU6 * sizeof(int32_t);
    if (settings.data.size < at + sizeof(int32_t)) return;
    int32_t mtu = 0;
    memcpy(&mtu, settings.data.data + at, sizeof mtu);
    if (mtu > 0) out->mtu6 = static_cast<uint32_t>(mtu);
}

bool link_message_read(const NetlinkMessage &message, LinkFacts *out) {
    ByteView rest = message.body;
    ifinfomsg head;
    *out = LinkFacts();
    if (message.type != RTM_NEWLINK || !netlink_take(&rest, &head) || head.ifi_index <= 0) return false;
    out->index = static_cast<uint32_t>(head.ifi_index);
    out->up = (head.ifi_flags & IFF_UP) != 0;
    out->carrier = (head.ifi_flags & IFF_LOWER_UP) != 0;
    out->loopback = (head.ifi_flags & IFF_LOOPBACK) != 0;
    out->ethernet = head.ifi_type == ARPHRD_ETHER;
    uint32_t beneath = 0;
    NetlinkAttributes walk(rest);
    NetlinkAttribute part;
    while (walk.next(&part)) switch (part.type) {
        case IFLA_IFNAME:
            part.text(out->name, sizeof out->name);
            break;
        case IFLA_MTU:
            part.u32(&out->mtu);
            break;
        case IFLA_ADDRESS:
            if (part.data.size == sizeof out->mac) memcpy(out->mac, part.data.data, sizeof out->mac);
            break;
        case IFLA_LINK:
            part.u32(&beneath);
            break;
        case IFLA_LINK_NETNSID:
            out->foreign = true;
            break;
        case IFLA_NUM_RX_QUEUES:
            part.u32(&out->receive_queues);
            break;
        case IFLA_PARENT_DEV_NAME:
            out->parent = true;
            break;
        case IFLA_LINKINFO:
            read_info(part.data, out);
            break;
        case IFLA_AF_SPEC:
            read_families(part.data, out);
            break;
        }
    // Others have an IFLA_LINK, too: of a veth it is the peer, of a tunnel what it runs over.
    const bool vlan = strcmp(out->kind, "vlan") == 0;
    out->lower_index = vlan ? beneath : 0;
    out->foreign = out->foreign && vlan;
    return true;
}

static void take_link(void *context, const NetlinkMessage *message) {
    if (message != nullptr) link_message_read(*message, static_cast<LinkFacts *>(context));
}

int link_ask(Netlink *netlink, uint32_t index, const char *name, LinkFacts *out, NetlinkFailure *failure) {
    *out = LinkFacts();
    NetlinkRequest request(RTM_GETLINK, 0);
    ifinfomsg head = {};
    head.ifi_family = AF_UNSPEC;
    head.ifi_index = static_cast<int>(index);
    request.head(head);
    if (index == 0) request.text(IFLA_IFNAME, name);
    request.u32(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    const int status = netlink_ask(netlink, &request, take_link, out, failure);
    if (status == 0 && out->index == 0) failure->cause = EPROTO;
    return -failure->cause;
}

static int link_failed(const NetlinkFailure &failure, const char *name, uint32_t index, ErrorText *error) {
    const bool gone = failure.cause == ENODEV;
    const int code = gone ? WSXDP_E_XDP_INTERFACE : WSXDP_E_SYSTEM;
    error->begin(code, failure.cause).add("asking the kernel about interface ");
    if (index != 0)
        error->number(index);
    else
        error->add("'").add(ByteView(name)).add("'");
    error->add(": ");
    if (gone)
        error->add("there is none in this network namespace; `ip link` lists them");
    else
        failure.say(error);
    return code;
}

int routes_link(Routes *routes, uint32_t index, LinkFacts *out, ErrorText *error) {
    NetlinkFailure failure;
    failure.cause = ENODEV; // 0 would be looked up by a name
    if (index != 0 && link_ask(&routes->ask, index, "", out, &failure) == 0) return WSXDP_OK;
    return link_failed(failure, "0", index, error);
}

int link_by_name(Netlink *netlink, const char *name, LinkFacts *out, ErrorText *error) {
    NetlinkFailure failure;
    failure.cause = ENODEV;
    const size_t size = strlen(name);
    if (size != 0 && size < sizeof out->name && link_ask(netlink, 0, name, out, &failure) == 0)
        return WSXDP_OK;
    return link_failed(failure, name, 0, error);
}

int routes_link_by_name(Routes *routes, const char *name, LinkFacts *out, ErrorText *error) {
    return link_by_name(&routes->ask, name, out, error);
}

void add_interface(Routes *routes, uint32_t index, ErrorText *error) {
    LinkFacts link;
    NetlinkFailure failure;
    if (index != 0 && link_ask(&routes->ask, index, "", &link, &failure) == 0)
        error->add(ByteView(link.name));
    else
        error->add("interface ").number(index);
}

void add_address(const IpAddress &address, ErrorText *error) {
    char text[ip_text_size];
    ip_address_text(address, text);
    error->add(text);
}

static int refuse(const LinkFacts &device, const char *why, ErrorText *error) {
    error->begin(WSXDP_E_XDP_INTERFACE).add("AF_XDP on ").add(ByteView(device.name)).add(": ").add(why);
    error->add("; use transport=socket for this peer");
    return WSXDP_E_XDP_INTERFACE;
}

int link_check(const LinkFacts &device, ErrorText *error) {
    if (device.loopback) return refuse(device, "AF_XDP needs a link, and this is the loopback device", error);
    if (!device.ethernet)
        return refuse(device, "AF_XDP needs Ethernet, and this is a device of another kind", error);
    if (strcmp(device.kind, "vlan") != 0) return WSXDP_OK;
    if (device.service) return refuse(device, "a VLAN by 802.1ad; only 802.1Q tags can be written", error);
    if (device.foreign || device.lower_index == 0 || device.vlan > 4095)
        return refuse(device, "a VLAN whose device is in another network namespace", error);
    return WSXDP_OK;
}

int link_check_vlan(const LinkFacts &device, const LinkFacts &lower, ErrorText *error) {
    if (strcmp(lower.kind, "vlan") == 0)
        return refuse(device, "a VLAN on a VLAN has two tags, and one is the most that can be written",
                      error);
    if (!lower.ethernet || lower.loopback)
        return refuse(device, "a VLAN on what is no Ethernet device", error);
    // A NIC has no kind. On a bond, a bridge or a team the frames would still have their way to find.
    if (lower.kind[0] != 0 && strcmp(lower.kind, "veth") != 0)
        return refuse(device, "a VLAN must be on a NIC itself, and this one is on a bond, bridge or the like",
                      error);
    return WSXDP_OK;
}

} // namespace wx
