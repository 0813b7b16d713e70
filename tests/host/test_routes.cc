// SPDX-License-Identifier: MIT
// Routes, links and neighbours as a connection over AF_XDP asks for them, between two hosts joined by veth:
// what the kernel's answer becomes, what is refused and in which words, and that every change is noticed.
#include "../../lib/base/alloc.h"
#include "../../lib/host/routes_parts.h"
#include "../base/check.h"
#include "../base/registry.h"
#include "../support/netns.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/capability.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace netns;
using namespace wx;

namespace {

IpAddress address(const std::string &text) {
    uint8_t bytes[16];
    const bool is6 = text.find(':') != std::string::npos;
    if (inet_pton(is6 ? AF_INET6 : AF_INET, text.c_str(), bytes) != 1) fail_msg("%s", text.c_str());
    return ip_address(bytes, is6 ? 6 : 4);
}
std::string text_of(const IpAddress &a) {
    char text[INET6_ADDRSTRLEN] = "none";
    if (a.version != 0) inet_ntop(a.version == 6 ? AF_INET6 : AF_INET, a.bytes, text, sizeof text);
    return text;
}
std::string mac_of(const uint8_t mac[6]) {
    char text[18];
    snprintf(text, sizeof text, "%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
             mac[5]);
    return text;
}
std::string word(const Namespace &where, const std::string &command) {
    std::string out = where.run(command);
    while (!out.empty() && out.back() == '\n') out.pop_back();
    return out;
}
std::string mac_in(const Namespace &where, const std::string &device) {
    return word(where, "ip -br link show dev " + device + " | awk '{print $3}'");
}

// Our side's view, opened in its namespace.
struct View {
    explicit View(const Namespace &where) {
        Inside inside(where);
        if (!ok(routes_open(&routes, &error))) fail_msg("%s", error.text);
        paths = routes_paths(routes);
    }
    ~View() { routes_close(routes); }
    View(const View &) = delete;
    View &operator=(const View &) = delete;
    int try_route(const std::string &remote, uint32_t interface = 0) {
        return paths.route(paths.context, address(remote), interface, &found, &error);
    }
    const XdpRoute &route(const std::string &remote, uint32_t interface = 0) {
        if (!ok(try_route(remote, interface))) fail_msg("%s: %s", remote.c_str(), error.text);
        return found;
    }
    void refused(const std::string &remote, int code, const char *part, uint32_t interface = 0) {
        check_error(try_route(remote, interface), error, code, part);
    }
    int neighbor(const XdpRoute &way) { return paths.neighbor(paths.context, way, mac, &error); }
    // The last answer within this time, waiting for changes in between.
    int neighbor_within(const XdpRoute &way, int ms) {
        const Nanos until = monotonic_ns() + ms * ns_per_ms;
        int status = neighbor(way);
        while (status == 0 && monotonic_ns() < until) {
            pollfd wait = {paths.fd, POLLIN, 0};
            poll(&wait, 1, 50);
            paths.changes(paths.context);
            status = neighbor(way);
        }
        return status;
    }
    uint64_t changes() { return paths.changes(paths.context); }
    // Whether something has changed by the time this has waited.
    bool changed_since(uint64_t before, int ms = 2000) {
        const Nanos until = monotonic_ns() + ms * ns_per_ms;
        while (changes() == before) {
            if (monotonic_ns() >= until) return false;
            pollfd wait = {paths.fd, POLLIN, 0};
            poll(&wait, 1, 50);
        }
        return true;
    }
    Routes *routes = nullptr;
    XdpPaths paths;
    XdpRoute found;
    ErrorText error;
    uint8_t mac[6] = {0};
};

// Of the calling thread.
bool drop_net_admin() {
    __user_cap_header_struct head = {};
    __user_cap_data_struct data[2] = {};
    head.version = _LINUX_CAPABILITY_VERSION_3;
    if (syscall(SYS_capget, &head, data) != 0) return false;
    data[0].effective &= ~(1U << CAP_NET_ADMIN);
    data[0].permitted &= ~(1U << CAP_NET_ADMIN);
    return syscall(SYS_capset, &head, data) == 0;
}

// The kernel's probes ten times as fast: what would take 3 s takes 0.3.
void hurry(const Namespace &where, const char *device = "xdp0") {
    for (const char *version : {"ipv4", "ipv6"}) {
        const std::string folder = std::string("/proc/sys/net/") + version + "/neigh/" + device + "/";
        where.run("echo 100 > " + folder + "retrans_time_ms && echo 1 > " + folder +
                  "delay_first_probe_time");
    }
}

// What the kernel would send of a link, built by the writer that makes our requests.
struct Made {
    explicit Made(uint16_t type) : request(type, 0) {}
    NetlinkMessage message() {
        NetlinkMessage out;
        nlmsghdr head;
        memcpy(&head, request.bytes, sizeof head);
        out.type = head.nlmsg_type;
        out.body = ByteView(request.bytes, request.size).from(sizeof head);
        return out;
    }
    NetlinkRequest request;
};
LinkFacts made_link(const char *kind, uint32_t lower = 0, uint16_t tag = 5, uint16_t protocol = 0x8100,
                    bool foreign = false) {
    Made made(RTM_NEWLINK);
    ifinfomsg head = {};
    head.ifi_index = 7;
    head.ifi_type = ARPHRD_ETHER;
    head.ifi_flags = IFF_UP | 0x10000;
    made.request.head(head);
    made.request.text(IFLA_IFNAME, "eth0.5");
    made.request.u32(IFLA_MTU, 1400);
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 7}, swapped[2] = {uint8_t(protocol >> 8), uint8_t(protocol)};
    made.request.attribute(IFLA_ADDRESS, ByteView(mac, sizeof mac));
    if (lower != 0) made.request.u32(IFLA_LINK, lower);
    if (foreign) made.request.u32(IFLA_LINK_NETNSID, 0);
    const size_t info = made.request.begin_nest(IFLA_LINKINFO);
    made.request.text(IFLA_INFO_KIND, kind);
    const size_t data = made.request.begin_nest(IFLA_INFO_DATA);
    made.request.attribute(IFLA_VLAN_ID, ByteView(&tag, sizeof tag));
    made.request.attribute(IFLA_VLAN_PROTOCOL, ByteView(swapped, sizeof swapped));
    made.request.end_nest(data);
    made.request.end_nest(info);
    LinkFacts facts;
    assert_true(link_message_read(made.message(), &facts));
    return facts;
}

uint32_t index_of(const Namespace &where, const char *device) {
    Inside inside(where);
    return if_nametoindex(device);
}

} // namespace

TEST(a_peer_on_the_link_is_its_own_next_hop) {
    need();
    Veth veth;
    View view(veth.here);
    const char *pairs[][2] = {{here4, there4}, {here6, there6}};
    for (const auto &pair : pairs) {
        const XdpRoute &way = view.route(pair[1]);
        assert_string_equal(text_of(way.source).c_str(), pair[0]);
        assert_string_equal(text_of(way.next_hop).c_str(), pair[1]);
        assert_int_equal(way.ifindex, index_of(veth.here, "xdp0"));
        assert_int_equal(way.route_index, way.ifindex);
        assert_int_equal(way.vlan, no_vlan);
        assert_int_equal(way.mtu, 1500);
        assert_true(way.link_up);
        assert_string_equal(mac_of(way.own_mac).c_str(), mac_in(veth.here, "xdp0").c_str());
    }
}
TEST(a_gateway_is_the_next_hop) {
    need();
    Veth veth;
    veth.here.run(
        "ip route add 10.99.0.0/16 via 10.77.0.2 && ip route add fd99::/64 via fd77::2 && "
        "ip route add 10.98.0.0/16 via inet6 fd77::2 dev xdp0 && ip route add default via 10.77.0.3");
    View view(veth.here);
    const char *rows[][3] = {{"10.99.1.2", here4, "10.77.0.2"},
                             {"fd99::5", here6, "fd77::2"},
                             {"10.98.1.2", here4, "fd77::2"},
                             {"192.0.2.1", here4, "10.77.0.3"}};
    for (const auto &row : rows) {
        const XdpRoute &way = view.route(row[0]);
        assert_string_equal(text_of(way.source).c_str(), row[1]);
        assert_string_equal(text_of(way.next_hop).c_str(), row[2]);
    }
    const XdpRoute across = view.route("10.98.1.2"); // IPv4 by a gateway that NDP resolves
    assert_int_equal(view.neighbor_within(across, 3000), 1);
    assert_string_equal(mac_of(view.mac).c_str(), mac_in(veth.there, "peer0").c_str());
}
TEST(a_gateway_may_be_link_local) {
    need();
    Veth veth;
    const std::string gateway =
        word(veth.there, "ip -6 -br addr show dev peer0 scope link | awk '{print $3}' | cut -d/ -f1");
    veth.here.run("ip route add default via " + gateway + " dev xdp0");
    View view(veth.here);
    const XdpRoute way = view.route("2001:db8::7");
    assert_string_equal(text_of(way.next_hop).c_str(), gateway.c_str());
    assert_string_equal(text_of(way.source).c_str(), here6);
    assert_int_equal(view.neighbor_within(way, 5000), 1);
    assert_string_equal(mac_of(view.mac).c_str(), mac_in(veth.there, "peer0").c_str());
}
TEST(source_and_mtu_are_the_route_s) {
    need();
    Veth veth;
    veth.here.run(
        "ip addr add 10.77.0.50/24 dev xdp0 && ip route add 10.99.0.0/16 via 10.77.0.2 src 10.77.0.50 mtu "
        "1300"
        " && ip route add 10.98.0.0/16 via 10.77.0.2 mtu 9000 && ip route add fd99::/64 via fd77::2 mtu 1280"
        " && echo 1400 > /proc/sys/net/ipv6/conf/xdp0/mtu");
    View view(veth.here);
    const XdpRoute &way = view.route("10.99.1.2");
    assert_string_equal(text_of(way.source).c_str(), "10.77.0.50");
    assert_int_equal(way.mtu, 1300);
    assert_int_equal(view.route("10.98.1.2").mtu, 1500); // the link has the last word
    assert_int_equal(view.route("fd99::1").mtu, 1280);
    assert_int_equal(view.route(there6).mtu, 1400); // as a router may advertise
    assert_int_equal(view.route(there4).mtu, 1500);
}
TEST(where_nothing_leads_is_said) {
    need();
    Veth veth;
    veth.here.run("ip route add blackhole 10.90.0.0/16 && ip route add unreachable 10.91.0.0/16 && "
                  "ip route add prohibit 10.92.0.0/16 && ip route add throw 10.93.0.0/16 && "
                  "ip route add blackhole fd90::/64 && ip route add unreachable fd91::/64 && "
                  "ip route add prohibit fd92::/64");
    View view(veth.here);
    view.refused("10.90.0.1", WSXDP_E_UNREACHABLE, "way to 10.90.0.1: a route throws it away");
    view.refused("10.91.0.1", WSXDP_E_UNREACHABLE, "a route says that it is unreachable");
    view.refused("10.92.0.1", WSXDP_E_UNREACHABLE, "a route prohibits it");
    view.refused("10.93.0.1", WSXDP_E_UNREACHABLE, "there is no route; see");
    view.refused("192.0.2.1", WSXDP_E_UNREACHABLE, "way to 192.0.2.1: there is no route");
    view.refused("fd90::1", WSXDP_E_UNREACHABLE, "a route throws it away");
    view.refused("fd91::1", WSXDP_E_UNREACHABLE, "a route says that it is unreachable");
    view.refused("fd92::1", WSXDP_E_UNREACHABLE, "a route prohibits it");
    view.refused("2001:db8::1", WSXDP_E_UNREACHABLE, "way to 2001:db8::1: there is no route");
    view.refused("224.0.0.1", WSXDP_E_UNREACHABLE, "not the address of one host");
    view.refused("ff02::1", WSXDP_E_UNREACHABLE, "not the address of one host");
    view.refused("10.77.0.255", WSXDP_E_UNREACHABLE, "a broadcast or multicast address");
}
TEST(this_host_itself_is_refused) {
    need();
    Veth veth;
    View view(veth.here);
    for (const char *own : {"127.0.0.1", "127.8.9.1", "::1", here4, here6})
        view.refused(own, WSXDP_E_XDP_INTERFACE, "AF_XDP needs a peer on another host");
    assert_non_null(strstr(view.error.text, "use transport=socket"));
    veth.here.run("ip route add 10.60.0.0/16 dev lo");
    view.refused("10.60.0.1", WSXDP_E_XDP_INTERFACE, "loopback device; use transport=socket");
}
TEST(a_device_that_is_no_ethernet_is_refused) {
    need();
    Veth veth;
    veth.here.run(
        "ip tuntap add mode tun name tun7 && ip link set tun7 up && ip addr add 10.61.0.1/24 dev tun7");
    View view(veth.here);
    view.refused("10.61.0.2", WSXDP_E_XDP_INTERFACE, "AF_XDP on tun7: AF_XDP needs Ethernet");
}
TEST(only_the_interface_asked_for_is_taken) {
    need();
    Veth veth;
    // A second link to the same subnet, and a default route by it.
    veth.here.run(
        "ip link add xdp1 type veth peer name peer1 && ip link set xdp1 up && ip link set peer1 up && "
        "ip addr add 10.78.0.1/24 dev xdp1 && ip route add default via 10.78.0.2 metric 5 && "
        "ip route add 10.97.0.0/16 via 10.77.0.2 metric 9 && ip route add 10.97.0.0/16 via 10.78.0.2 metric "
        "1");
    const uint32_t first = index_of(veth.here, "xdp0"), second = index_of(veth.here, "xdp1");
    View view(veth.here);
    assert_int_equal(view.route("10.97.0.1").ifindex, second);
    assert_int_equal(view.route("10.97.0.1", second).ifindex, second);
    assert_int_equal(view.route("10.97.0.1", first).ifindex, first);
    assert_string_equal(text_of(view.found.next_hop).c_str(), "10.77.0.2");
    assert_string_equal(text_of(view.found.source).c_str(), here4);
    // The kernel would look for 192.0.2.1 on the link itself.
    view.refused("192.0.2.1", WSXDP_E_UNREACHABLE, "there is no route by xdp0", first);
    assert_int_equal(view.route("192.0.2.1", second).ifindex, second);
    view.refused(there6, WSXDP_E_UNREACHABLE, "there is no route by xdp1", second);
    view.refused(there4, WSXDP_E_UNREACHABLE, "there is no route by lo", 1);
}
TEST(an_interface_that_does_not_exist_is_named) {
    need();
    Veth veth;
    View view(veth.here);
    LinkFacts link;
    ErrorText error;
    view.refused("192.0.2.1", WSXDP_E_XDP_INTERFACE, "no interface with index 4711", 4711);
    check_error(routes_link(view.routes, 4711, &link, &error), error, WSXDP_E_XDP_INTERFACE,
                "interface 4711: there is none");
    check_error(routes_link(view.routes, 0, &link, &error), error, WSXDP_E_XDP_INTERFACE, "there is none");
    for (const char *name : {"nope0", "", "a name that is too long"})
        check_error(routes_link_by_name(view.routes, name, &link, &error), error, WSXDP_E_XDP_INTERFACE,
                    "there is none in this network namespace");
}
TEST(link_local_addresses_want_an_interface) {
    need();
    Veth veth;
    View view(veth.here);
    const uint32_t index = index_of(veth.here, "xdp0");
    const std::string peer =
        word(veth.there, "ip -6 -br addr show dev peer0 scope link | awk '{print $3}' | cut -d/ -f1");
    view.refused(peer, WSXDP_E_UNREACHABLE, "a link-local address; name the interface");
    veth.here.run("for i in 1 2 3 4 5 6 7 8 9 10; do ip -6 addr show dev xdp0 tentative scope link | grep -q "
                  ". || break; "
                  "sleep 0.3; done");
    const XdpRoute way = view.route(peer, index);
    assert_string_equal(text_of(way.next_hop).c_str(), peer.c_str());
    assert_int_equal(way.source.bytes[0], 0xFE);
    assert_int_equal(view.neighbor_within(way, 5000), 1);
    assert_string_equal(mac_of(view.mac).c_str(), mac_in(veth.there, "peer0").c_str());
}
TEST(without_an_address_there_is_no_source) {
    need();
    Veth veth;
    veth.here.run("ip addr flush dev xdp0 && ip route add 10.50.0.0/16 dev xdp0 scope link");
    View view(veth.here);
    view.refused("10.50.0.1", WSXDP_E_UNREACHABLE,
                 "no address of this host fits as the source; add one to xdp0");
}
TEST(links_are_as_they_are) {
    need();
    Veth veth;
    View view(veth.here);
    LinkFacts link;
    ErrorText error;
    assert_int_equal(routes_link_by_name(view.routes, "xdp0", &link, &error), WSXDP_OK);
    assert_int_equal(link.index, index_of(veth.here, "xdp0"));
    assert_string_equal(link.name, "xdp0");
    assert_string_equal(link.kind, "veth");
    assert_int_equal(link.lower_index, 0); // the peer is not beneath
    assert_int_equal(link.mtu, 1500);
    assert_true(link.up && link.carrier && link.ethernet && !link.loopback && !link.parent && !link.foreign);
    assert_int_equal(routes_link_by_name(view.routes, "lo", &link, &error), WSXDP_OK);
    assert_true(link.loopback && !link.ethernet && link.index == 1);
}
TEST(a_vlan_gives_its_tag_and_the_nic_beneath) {
    LinkFacts lower;
    ErrorText error;
    const LinkFacts vlan = made_link("vlan", 3, 4094);
    assert_int_equal(vlan.vlan, 4094);
    assert_int_equal(vlan.lower_index, 3);
    assert_int_equal(vlan.mtu, 1400);
    assert_string_equal(vlan.name, "eth0.5");
    assert_int_equal(link_check(vlan, &error), WSXDP_OK);
    lower.ethernet = true;
    assert_int_equal(link_check_vlan(vlan, lower, &error), WSXDP_OK);
    for (const char *kind : {"bond", "bridge", "team", "macvlan"}) {
        lower = made_link(kind);
        assert_int_equal(lower.vlan, no_vlan);
        check_error(link_check_vlan(vlan, lower, &error), error, WSXDP_E_XDP_INTERFACE,
                    "a VLAN must be on a NIC itself");
    }
    check_error(link_check_vlan(vlan, vlan, &error), error, WSXDP_E_XDP_INTERFACE,
                "AF_XDP on eth0.5: a VLAN on a VLAN");
    check_error(link_check_vlan(vlan, LinkFacts(), &error), error, WSXDP_E_XDP_INTERFACE, "no Ethernet");
    check_error(link_check(made_link("vlan", 3, 5, 0x88A8), &error), error, WSXDP_E_XDP_INTERFACE, "802.1ad");
    check_error(link_check(made_link("vlan", 3, 5, 0x8100, true), &error), error, WSXDP_E_XDP_INTERFACE,
                "another network namespace");
    check_error(link_check(made_link("vlan", 3, 4096), &error), error, WSXDP_E_XDP_INTERFACE,
                "AF_XDP on eth0.5");
    assert_int_equal(link_check(made_link("veth", 3, 5, 0x8100, true), &error),
                     WSXDP_OK); // its peer's namespace
}
TEST(a_neighbour_s_state_is_read) {
    const uint8_t peer[4] = {10, 0, 0, 2}, mac[6] = {2, 0, 0, 0, 0, 9};
    auto read = [&](uint16_t type, uint8_t family, uint16_t bits, bool with_mac, uint8_t flags,
                    NeighborAnswer *out) {
        Made made(type);
        ndmsg head = {};
        head.ndm_family = family;
        head.ndm_ifindex = 3;
        head.ndm_state = bits;
        head.ndm_flags = flags;
        made.request.head(head);
        made.request.attribute(NDA_DST, ByteView(peer, sizeof peer));
        if (with_mac) made.request.attribute(NDA_LLADDR, ByteView(mac, sizeof mac));
        return neighbor_message_read(made.message(), out);
    };
    const struct {
        uint16_t bits;
        NeighborState state;
    } rows[] = {{NUD_NONE, NeighborState::missing},    {NUD_INCOMPLETE, NeighborState::resolving},
                {NUD_REACHABLE, NeighborState::known}, {NUD_STALE, NeighborState::stale},
                {NUD_DELAY, NeighborState::known},     {NUD_PROBE, NeighborState::known},
                {NUD_FAILED, NeighborState::failed},   {NUD_NOARP, NeighborState::known},
                {NUD_PERMANENT, NeighborState::known}};
    NeighborAnswer answer;
    for (const auto &row : rows) {
        assert_true(read(RTM_NEWNEIGH, AF_INET, row.bits, true, 0, &answer));
        assert_true(answer.state == row.state);
        assert_int_equal(answer.index, 3);
        assert_string_equal(text_of(answer.address).c_str(), "10.0.0.2");
        assert_true(read(RTM_DELNEIGH, AF_INET, row.bits, true, 0, &answer));
        assert_true(answer.state == NeighborState::missing);
    }
    assert_true(read(RTM_NEWNEIGH, AF_INET, NUD_REACHABLE, false, 0, &answer));
    assert_true(answer.state == NeighborState::missing);
    assert_false(read(RTM_NEWNEIGH, AF_BRIDGE, NUD_REACHABLE, true, 0, &answer)); // of a bridge's table
    assert_false(read(RTM_NEWNEIGH, AF_INET6, NUD_REACHABLE, true, 0, &answer));  // with 4 bytes
    assert_false(read(RTM_NEWNEIGH, AF_INET, NUD_PERMANENT, true, NTF_PROXY, &answer));
}
TEST(a_route_that_encapsulates_is_seen) {
    Made made(RTM_NEWROUTE);
    rtmsg head = {};
    head.rtm_type = RTN_UNICAST;
    const uint16_t kind = 1;
    made.request.head(head);
    made.request.attribute(RTA_ENCAP_TYPE, ByteView(&kind, sizeof kind));
    RouteAnswer answer;
    assert_true(route_message_read(made.message(), &answer));
    assert_true(answer.encapsulated);
    assert_int_equal(answer.gateway.version, 0);
}
TEST(a_missing_neighbour_is_resolved_by_the_kernel) {
    need();
    Veth veth;
    View view(veth.here);
    for (const char *peer : {there4, there6}) {
        const XdpRoute way = view.route(peer);
        assert_int_equal(view.neighbor(way), 0);
        assert_int_equal(view.neighbor_within(way, 3000), 1);
        assert_string_equal(mac_of(view.mac).c_str(), mac_in(veth.there, "peer0").c_str());
    }
}
TEST(a_neighbour_that_never_answers_is_unreachable) {
    need();
    Veth veth;
    hurry(veth.here);
    View view(veth.here);
    for (const char *peer : {"10.77.0.9", "fd77::9"}) {
        const XdpRoute way = view.route(peer);
        const Nanos begun = monotonic_ns();
        check_error(view.neighbor_within(way, 10000), view.error, WSXDP_E_UNREACHABLE,
                    "nobody answers the kernel's");
        assert_true(monotonic_ns() - begun < 3 * ns_per_s);
        assert_non_null(strstr(view.error.text, (std::string("address of ") + peer + " on xdp0: ").c_str()));
        // It stands for others who ask now, and then everything begins anew.
        assert_int_equal(view.neighbor(way), WSXDP_E_UNREACHABLE);
        usleep(1100000);
        assert_int_equal(view.neighbor(way), 0);
        assert_int_equal(view.neighbor_within(way, 10000), WSXDP_E_UNREACHABLE);
    }
}
TEST(a_neighbour_that_comes_up_later_is_found) {
    need();
    Veth veth;
    hurry(veth.here);
    View view(veth.here);
    const XdpRoute way = view.route("10.77.0.9");
    assert_int_equal(view.neighbor_within(way, 10000), WSXDP_E_UNREACHABLE);
    veth.there.run("ip addr add 10.77.0.9/24 dev peer0");
    usleep(1100000);
    assert_int_equal(view.neighbor_within(way, 10000), 1);
}
TEST(what_is_known_costs_no_question) {
    need();
    Veth veth;
    View view(veth.here);
    const XdpRoute way = view.route(there4);
    assert_int_equal(view.neighbor_within(way, 3000), 1);
    const uint32_t asked = view.routes->ask.sequence;
    for (int i = 0; i < 100; i++) assert_int_equal(view.neighbor(way), 1);
    assert_int_equal(view.routes->ask.sequence, asked);
    veth.here.run("ip neigh add 10.77.0.80 lladdr 02:00:00:00:00:80 nud permanent dev xdp0");
    XdpRoute other = way;
    other.next_hop = address("10.77.0.80");
    assert_int_equal(view.neighbor(other), 1);
    const uint32_t both = view.routes->ask.sequence;
    assert_int_equal(view.neighbor(way), 1);
    assert_int_equal(view.neighbor(other), 1);
    assert_int_equal(view.routes->ask.sequence, both);
}
TEST(a_permanent_entry_is_taken_and_stays_so) {
    need();
    Veth veth;
    veth.here.run("ip neigh add 10.77.0.7 lladdr 02:00:00:00:00:77 nud permanent dev xdp0");
    View view(veth.here);
    const XdpRoute way = view.route("10.77.0.7");
    assert_int_equal(view.neighbor(way), 1);
    assert_string_equal(mac_of(view.mac).c_str(), "02:00:00:00:00:77");
    assert_non_null(strstr(veth.here.run("ip neigh show 10.77.0.7").c_str(), "PERMANENT"));
}
TEST(a_changed_address_of_the_gateway_is_noticed) {
    need();
    Veth veth;
    View view(veth.here);
    const XdpRoute way = view.route(there4);
    assert_int_equal(view.neighbor_within(way, 3000), 1);
    view.changes();
    // Told by the gateway itself, as with a takeover: arp_notify sends a gratuitous ARP when it comes up.
    const uint64_t before = view.changes();
    veth.there.run("echo 1 > /proc/sys/net/ipv4/conf/peer0/arp_notify && "
                   "echo 1 > /proc/sys/net/ipv4/conf/peer0/arp_announce");
    veth.here.run("echo 1 > /proc/sys/net/ipv4/conf/xdp0/arp_accept && "
                  "echo 0 > /proc/sys/net/ipv4/neigh/xdp0/locktime");
    veth.there.run("ip link set peer0 address 02:00:00:00:00:99");
    assert_true(view.changed_since(before));
    for (int i = 0; i < 50; i++) {
        assert_int_equal(view.neighbor_within(way, 3000), 1);
        if (mac_of(view.mac) == "02:00:00:00:00:99") break;
        usleep(100000);
        view.changes();
    }
    assert_string_equal(mac_of(view.mac).c_str(), "02:00:00:00:00:99");
}
TEST(a_stale_entry_is_confirmed_so_that_a_silent_change_is_found) {
    need();
    Veth veth;
    hurry(veth.here);
    // An entry that was true once; the gateway's address is another now and it did not say so.
    veth.here.run("ip neigh add 10.77.0.2 lladdr 02:00:00:00:00:55 nud stale dev xdp0");
    View view(veth.here);
    const XdpRoute way = view.route(there4);
    assert_int_equal(view.neighbor(way), 1);
    assert_string_equal(mac_of(view.mac).c_str(), "02:00:00:00:00:55");
    const std::string wanted = mac_in(veth.there, "peer0");
    const Nanos until = monotonic_ns() + 10 * ns_per_s;
    while (mac_of(view.mac) != wanted && monotonic_ns() < until) {
        pollfd wait = {view.paths.fd, POLLIN, 0};
        poll(&wait, 1, 100);
        view.changes();
        assert_true(view.neighbor(way) >= 0); // unknown for a while, never given up
    }
    assert_string_equal(mac_of(view.mac).c_str(), wanted.c_str());
}
TEST(a_gateway_that_changes_in_silence_is_found_while_in_use) {
    need();
    Veth veth;
    hurry(veth.here);
    View view(veth.here);
    const XdpRoute way = view.route(there4);
    assert_int_equal(view.neighbor_within(way, 3000), 1);
    uint64_t seen = view.changes();
    // It has no reason to send a request of its own, from which its new address would be learned.
    veth.there.run("ip link set peer0 address 02:00:00:00:00:98 && ip neigh replace 10.77.0.1 lladdr " +
                   mac_in(veth.here, "xdp0") + " nud permanent dev peer0");
    // What time alone does after half a minute.
    veth.here.run("ip neigh change 10.77.0.2 lladdr " + mac_of(view.mac) + " nud stale dev xdp0");
    // As a connection does: it asks when something has changed, and only then.
    const Nanos until = monotonic_ns() + 15 * ns_per_s;
    while (mac_of(view.mac) != "02:00:00:00:00:98" && monotonic_ns() < until) {
        pollfd wait = {view.paths.fd, POLLIN, 0};
        poll(&wait, 1, 100);
        const uint64_t now = view.changes();
        if (now != seen) assert_true(view.neighbor(way) >= 0);
        seen = now;
    }
    assert_string_equal(mac_of(view.mac).c_str(), "02:00:00:00:00:98");
}
TEST(a_neighbour_is_resolved_without_privilege) {
    need();
    Veth veth;
    hurry(veth.here);
    const uint32_t index = index_of(veth.here, "xdp0");
    const std::string link_local =
        word(veth.there, "ip -6 -br addr show dev peer0 scope link | awk '{print $3}' | cut -d/ -f1");
    for (const std::string &peer : {std::string(there4), std::string(there6), link_local,
                                    std::string("10.77.0.9"), std::string("fd77::9")}) {
        Child child(veth.here, [&] {
            Routes *routes = nullptr;
            ErrorText error;
            if (!drop_net_admin() || !ok(routes_open(&routes, &error))) return 101;
            const XdpPaths paths = routes_paths(routes);
            XdpRoute way;
            uint8_t mac[6];
            if (!ok(paths.route(paths.context, address(peer), index, &way, &error))) return 102;
            int status = 0;
            for (int i = 0; i < 200 && status == 0; i++) {
                status = paths.neighbor(paths.context, way, mac, &error);
                if (status == 0) usleep(20000);
                paths.changes(paths.context);
            }
            routes_close(routes);
            return status == 1 ? 1 : status == WSXDP_E_UNREACHABLE ? 2 : status == 0 ? 3 : 4;
        });
        const bool nobody = peer == "10.77.0.9" || peer == "fd77::9";
        assert_int_equal(child.wait(), nobody ? 2 : 1);
    }
}
TEST(nothing_can_be_sent_at_all_is_given_up_on) {
    need();
    Veth veth;
    View view(veth.here);
    XdpRoute way = view.route(there4);
    veth.here.run("ip link del xdp0");
    const Nanos begun = monotonic_ns();
    const int status = view.neighbor_within(way, 8000);
    assert_true(status == WSXDP_E_UNREACHABLE || status == WSXDP_E_XDP_INTERFACE);
    assert_true(monotonic_ns() - begun < 7 * ns_per_s);
}
TEST(a_link_that_is_down_is_given_up_on) {
    need();
    Veth veth;
    Child child(veth.here, [&] {
        Routes *routes = nullptr;
        ErrorText error;
        if (!drop_net_admin() || !ok(routes_open(&routes, &error))) return 101;
        const XdpPaths paths = routes_paths(routes);
        XdpRoute way;
        uint8_t mac[6];
        if (!ok(paths.route(paths.context, address(there4), 0, &way, &error))) return 102;
        way.next_hop = address("10.77.0.9");
        LinkFacts link;
        link.up = true;
        for (int i = 0; i < 500 && link.up; i++) {
            usleep(10000);
            if (!ok(routes_link(routes, way.route_index, &link, &error))) return 104;
        }
        const Nanos begun = monotonic_ns();
        int status = 0;
        while (status == 0 && monotonic_ns() - begun < 8 * ns_per_s) {
            status = paths.neighbor(paths.context, way, mac, &error);
            usleep(50000);
        }
        const bool said = status == WSXDP_E_UNREACHABLE && strstr(error.text, "on xdp0: nobody answers");
        routes_close(routes);
        return said ? 0 : 103;
    });
    usleep(500000); // the child is without privilege: the link is set down for it
    veth.here.run("ip link set xdp0 down");
    assert_int_equal(child.wait(), 0);
}
TEST(more_neighbours_than_there_is_room_for_are_asked_anew) {
    need();
    Veth veth;
    View view(veth.here);
    XdpRoute way = view.route(there4);
    std::string lines;
    for (size_t i = 0; i < neighbors_max + 8; i++)
        lines += "neigh add 10.77.0." + std::to_string(100 + i) +
                 " lladdr 02:00:00:00:01:" + std::to_string(10 + i) + " nud permanent dev xdp0\n";
    veth.here.run("printf '" + lines + "' | ip -batch -");
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < neighbors_max + 8; i++) {
            way.next_hop = address("10.77.0." + std::to_string(100 + i));
            assert_int_equal(view.neighbor(way), 1);
            assert_string_equal(mac_of(view.mac).c_str(),
                                ("02:00:00:00:01:" + std::to_string(10 + i)).c_str());
        }
}

TEST(every_change_is_counted) {
    need();
    Veth veth;
    View view(veth.here);
    assert_int_equal(view.changes(), view.changes()); // nothing happens, nothing is counted
    const struct {
        const Namespace *where;
        const char *command;
    } rows[] = {
        {&veth.here, "ip link set xdp0 down"},
        {&veth.here, "ip link set xdp0 up"},
        {&veth.there, "ip link set peer0 down"},
        {&veth.there, "ip link set peer0 up"},
        {&veth.here, "ip addr add 10.77.0.60/24 dev xdp0"},
        {&veth.here, "ip addr del 10.77.0.60/24 dev xdp0"},
        {&veth.here, "ip addr add fd77::60/64 dev xdp0 nodad"},
        {&veth.here, "ip route add 10.99.0.0/16 via 10.77.0.2"},
        {&veth.here, "ip route replace 10.99.0.0/16 via 10.77.0.3"},
        {&veth.here, "ip route del 10.99.0.0/16"},
        {&veth.here, "ip route add fd99::/64 via fd77::2"},
        {&veth.here, "ip addr add fd77::61/64 dev xdp0 nodad noprefixroute"},
        // Nothing but the address: no route is told about as well.
        {&veth.here, "ip addr change fd77::61/64 dev xdp0 noprefixroute preferred_lft 50 valid_lft 900"},
        {&veth.here, "ip rule add to 10.96.0.0/16 lookup 77"},
        {&veth.here, "ip link set xdp0 mtu 1400"},
        {&veth.here, "ip link set xdp0 name other0"},
        {&veth.here, "ip link del other0"}};
    for (const auto &row : rows) {
        usleep(20000);
        const uint64_t before = view.changes();
        row.where->run(row.command);
        if (!view.changed_since(before)) fail_msg("%s: not noticed", row.command);
    }
}
TEST(a_route_is_as_it_is_now) {
    need();
    Veth veth;
    veth.here.run("ip route add 10.99.0.0/16 via 10.77.0.2");
    View view(veth.here);
    assert_string_equal(text_of(view.route("10.99.0.1").next_hop).c_str(), "10.77.0.2");
    veth.here.run("ip route replace 10.99.0.0/16 via 10.77.0.3");
    assert_string_equal(text_of(view.route("10.99.0.1").next_hop).c_str(), "10.77.0.3");
    veth.there.run("ip link set peer0 down");
    assert_false(view.route(there4).link_up);
    veth.there.run("ip link set peer0 up");
    assert_true(view.route(there4).link_up);
    veth.here.run("ip link set xdp0 down && ip link set xdp0 name other0 && ip link set other0 up && "
                  "ip addr del 10.77.0.1/24 dev other0 && ip addr add 10.77.0.61/24 dev other0");
    assert_string_equal(text_of(view.route(there4).source).c_str(), "10.77.0.61");
    veth.here.run("ip link set other0 down");
    view.refused(there4, WSXDP_E_UNREACHABLE, "there is no route");
    veth.here.run("ip link del other0");
    view.refused(there4, WSXDP_E_UNREACHABLE, "there is no route");
}
TEST(strangers_among_the_neighbours_are_no_change) {
    need();
    Veth veth;
    View view(veth.here);
    const XdpRoute way = view.route(there4);
    assert_int_equal(view.neighbor_within(way, 3000), 1);
    usleep(50000);
    const uint64_t before = view.changes();
    veth.here.run("ip neigh add 10.77.0.70 lladdr 02:00:00:00:00:70 dev xdp0");
    assert_false(view.changed_since(before, 200));
    veth.here.run("ip neigh replace 10.77.0.2 lladdr 02:00:00:00:00:71 nud permanent dev xdp0");
    assert_true(view.changed_since(before));
    assert_int_equal(view.neighbor(way), 1);
    assert_string_equal(mac_of(view.mac).c_str(), "02:00:00:00:00:71");
}
TEST(lost_notifications_are_a_change_of_everything) {
    need();
    Veth veth;
    View view(veth.here);
    const XdpRoute way = view.route(there4);
    assert_int_equal(view.neighbor_within(way, 3000), 1);
    const int least = 1;
    // Another listener with as little room tells how many messages are not lost.
    Netlink witness;
    {
        Inside inside(veth.here);
        assert_int_equal(netlink_open_listener(&witness, NETLINK_ROUTE, &view.error), WSXDP_OK);
    }
    assert_true(netlink_join(&witness, RTNLGRP_IPV4_ROUTE));
    for (int fd : {view.paths.fd, witness.fd})
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &least, sizeof least), 0);
    const uint64_t before = view.changes();
    std::string lines;
    for (int i = 0; i < 200; i++) lines += "route add 10.200." + std::to_string(i) + ".0/24 via 10.77.0.2\n";
    veth.here.run("printf '" + lines + "' | ip -batch -");
    veth.here.run("ip neigh replace 10.77.0.2 lladdr 02:00:00:00:00:72 nud permanent dev xdp0");
    const uint64_t after = view.changes();
    uint64_t kept = 0;
    int64_t got;
    assert_int_equal(netlink_receive(&witness), -ENOBUFS);
    while ((got = netlink_receive(&witness)) > 0) kept++;
    netlink_close(&witness);
    assert_true(kept < 200);
    assert_int_equal(after - before, kept + 1); // those that came, and one for the lost
    assert_int_equal(view.neighbor(way), 1);
    assert_string_equal(mac_of(view.mac).c_str(), "02:00:00:00:00:72"); // though its message was lost
    const uint64_t quiet = view.changes();
    veth.here.run("ip route del 10.200.7.0/24");
    assert_true(view.changed_since(quiet)); // and the socket works on
}

TEST(open_and_close_leave_nothing) {
    const size_t before = open_descriptors();
    ErrorText error;
    for (int i = 0; i < 100; i++) {
        Routes *routes = nullptr;
        assert_int_equal(routes_open(&routes, &error), WSXDP_OK);
        routes_close(routes);
    }
    routes_close(nullptr);
    assert_int_equal(open_descriptors(), before);
}
TEST(open_without_memory_or_descriptors_says_so) {
    const size_t before = open_descriptors();
    ErrorText error;
    Routes *routes = nullptr;
    int status = WSXDP_E_MEMORY;
    int64_t step = 0;
    for (; status != WSXDP_OK && step < 20; step++) {
        allocation_fail_after(step);
        status = routes_open(&routes, &error);
        allocation_fail_after(-1);
        if (status != WSXDP_OK) check_error(status, error, WSXDP_E_MEMORY, "memory");
    }
    assert_true(step > 2);
    routes_close(routes);
    rlimit limit, low;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const int next = dup(0);
    close(next);
    for (int room = 0; room < 2; room++) {
        low = limit;
        low.rlim_cur = static_cast<rlim_t>(next + room);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        status = routes_open(&routes, &error);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        check_error(status, error, WSXDP_E_DESCRIPTORS, "raise RLIMIT_NOFILE");
        assert_null(routes);
    }
    assert_int_equal(open_descriptors(), before);
}

TESTS_BESIDE("routes", 4)
