// SPDX-License-Identifier: MIT
// What becomes of a connection over AF_XDP when its way changes under it: gateways, neighbours, links,
// addresses, routes. It goes on without losing a byte where the kernel's own connections would, and ends with
// its reason where it cannot.
#include "running.h"

using namespace netns;

namespace {

// A gateway is the peer itself by another address: what differs is the next hop.
constexpr const char *gateway4 = "10.77.0.9", *gateway6 = "fd77::9";
constexpr const char *far4 = "10.88.0.2", *far6 = "fd88::2";
constexpr const char *other_mac = "02:00:00:00:77:77";

void lay_routes(const Namespace &here, const Namespace &there) {
    there.run("ip addr add 10.77.0.9/24 dev peer0 && ip addr add fd77::9/64 dev peer0 nodad && "
              "ip addr add 10.88.0.2/32 dev lo && ip addr add fd88::2/128 dev lo nodad");
    here.run("ip route add 10.88.0.0/24 via 10.77.0.9 && ip route add fd88::/64 via fd77::9");
}

void far_away(World &world) { lay_routes(world.veth.here, world.veth.there); }

} // namespace

// ---- gateways and neighbours ----

static void mac_changes(const char *address, bool far) {
    need();
    Running r(address, {}, far ? Running::Prepare(far_away) : nullptr);
    assert_int_equal(contains(r.world.veth.here.run(std::string("ip route get ") + address), "via"), far);
    // It tells about its new address, as one that takes over from another does.
    r.there("sysctl -qw net.ipv4.conf.peer0.arp_notify=1 net.ipv6.conf.peer0.ndisc_notify=1");
    r->pass(50);
    r.there(std::string("ip link set dev peer0 address ") + other_mac);
    r->need_flow(2000000);
    r->finish();
}
TEST(a_gateway_takes_another_mac_ipv4) { mac_changes(far4, true); }
TEST(a_gateway_takes_another_mac_ipv6) { mac_changes(far6, true); }
TEST(the_peer_takes_another_mac_ipv4) { mac_changes(there4, false); }
TEST(the_peer_takes_another_mac_ipv6) { mac_changes(there6, false); }

static void entry_replaced(const char *address, const char *next_hop) {
    need();
    Running r(address, {}, far_away);
    r->pass(50);
    r.there(std::string("ip link set dev peer0 address ") + other_mac);
    r.here(std::string("ip neigh replace ") + next_hop + " dev xdp0 nud permanent lladdr " + other_mac);
    r->need_flow(1000000);
    r->finish();
}
TEST(the_neighbours_entry_is_replaced_ipv4) { entry_replaced(far4, gateway4); }
TEST(the_neighbours_entry_is_replaced_ipv6) { entry_replaced(far6, gateway6); }

// Nobody tells: the kernel, which does not see our packets, finds out because it is asked to look.
static void found_out(const char *address, const char *version) {
    need();
    Running r(address, {}, [=](World &world) {
        far_away(world);
        world.veth.here.run(std::string("cd /proc/sys/net/") + version +
                            "/neigh/xdp0 && echo 400 > base_reachable_time_ms && "
                            "echo 1 > delay_first_probe_time && echo 100 > retrans_time_ms");
    });
    r->pass(50);
    r.there(std::string("ip link set dev peer0 address ") + other_mac);
    r->need_flow(1000000);
    r->finish();
}
TEST(a_gateway_takes_another_mac_and_tells_nobody_ipv4) { found_out(far4, "ipv4"); }
TEST(a_gateway_takes_another_mac_and_tells_nobody_ipv6) { found_out(far6, "ipv6"); }

static void silent_change(const char *address) {
    need();
    Running r(address, {}, far_away);
    r->pass(50);
    r.there(std::string("ip link set dev peer0 address ") + other_mac);
    r->pass(50);
    // As the kernel's own probes would, much later. It says no when the entry is there again at once.
    (void)r.world.veth.here.try_run("ip neigh flush dev xdp0", nullptr);
    r->need_flow(1000000);
    r->finish();
}
TEST(a_forgotten_neighbour_is_asked_for_again_ipv4) { silent_change(far4); }
TEST(a_forgotten_neighbour_is_asked_for_again_ipv6) { silent_change(far6); }

static void other_gateway(const char *address, const char *change) {
    need();
    Running r(address, {}, far_away);
    r.there("ip addr add 10.77.0.7/24 dev peer0 && ip addr add fd77::7/64 dev peer0 nodad");
    r->pass(50);
    r.here(change);
    r->need_flow(1000000);
    r->finish();
}
TEST(the_route_leads_to_another_gateway_ipv4) {
    other_gateway(far4, "ip route replace 10.88.0.0/24 via 10.77.0.7");
}
TEST(the_route_leads_to_another_gateway_ipv6) {
    other_gateway(far6, "ip -6 route replace fd88::/64 via fd77::7");
}

static void late_neighbor(const char *address) {
    need();
    BridgeWorld world;
    auto server = world.serve(echo_messages, nullptr, address);
    world.bridge.here.run("ip neigh flush all; ip -6 neigh flush all");
    world.bridge.drop_others(Direction::back, true);
    Session session(World::url(*server, address), World::options());
    opens(session);
    const int64_t until = now_ms() + 700;
    while (now_ms() < until) session.poll(until - now_ms());
    assert_int_equal(session.count(WSXDP_EVENT_OPEN) + session.count(WSXDP_EVENT_ERROR), 0);
    assert_true(world.bridge.count(Direction::back).others_dropped > 0);
    world.bridge.drop_others(Direction::back, false);
    Stream stream(session);
    stream.need_flow(100000);
    stream.finish();
}
TEST(a_neighbour_that_answers_late_ipv4) { late_neighbor(there4); }
TEST(a_neighbour_that_answers_late_ipv6) { late_neighbor(there6); }

static void silent_neighbor(const char *address, const char *settings) {
    need();
    World world;
    world.veth.here.run(settings);
    Session session("ws://" + url_host(address) + ":80/", World::options());
    opens(session);
    const Seen &error = session.need(WSXDP_EVENT_ERROR, patience_ms);
    assert_int_equal(error.error, WSXDP_E_UNREACHABLE);
    for (const std::string &part : {std::string(address), std::string("xdp0"), std::string("link-layer")})
        if (!contains(error.data, part)) fail_msg("%s", error.data.c_str());
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE, patience_ms).error, WSXDP_E_UNREACHABLE);
}
TEST(a_neighbour_that_never_answers_ipv4) { silent_neighbor("10.77.0.55", "true"); }
// The kernel gives up long before we would.
TEST(a_neighbour_that_the_kernel_gives_up_ipv4) {
    silent_neighbor("10.77.0.55", "cd /proc/sys/net/ipv4/neigh/xdp0 && echo 1 > mcast_solicit && "
                                  "echo 100 > retrans_time_ms");
}
TEST(a_neighbour_that_the_kernel_gives_up_ipv6) {
    silent_neighbor("fd77::55", "cd /proc/sys/net/ipv6/neigh/xdp0 && echo 1 > mcast_solicit && "
                                "echo 100 > retrans_time_ms");
}

// ---- links ----

static void flap(const char *address, const char *side, bool ours, int64_t down_ms) {
    need();
    Running r(address);
    // The kernel takes IPv6 addresses from an interface that is set down, unless told not to.
    for (const Namespace *n : {&r.world.veth.here, &r.world.veth.there})
        n->run("for i in all xdp0 peer0; do f=/proc/sys/net/ipv6/conf/$i/keep_addr_on_down;"
               " [ ! -e $f ] || echo 1 > $f; done");
    r->pass(50);
    const std::string set = std::string("ip link set ") + side;
    if (ours)
        r.here(set + " down");
    else
        r.there(set + " down");
    const uint64_t before = r->received;
    r->pass(down_ms);
    // The kernel may take a second to tell of a carrier.
    r->need_notice("waiting for one", "the link went down");
    assert_true(r->received - before < r->ahead + 30000); // what was under way
    if (ours)
        r.here(set + " up");
    else
        r.there(set + " up");
    r->need_flow(500000);
    r->need_notice("the link is up again");
    r->finish();
}
TEST(the_peers_link_flaps_ipv4) { flap(there4, "peer0", false, 500); }
TEST(the_peers_link_flaps_ipv6) { flap(there6, "peer0", false, 500); }
TEST(our_link_flaps_ipv4) { flap(there4, "xdp0", true, 500); }
TEST(our_link_flaps_ipv6) { flap(there6, "xdp0", true, 500); }
// Longer than a socket may go without completing anything before it is made anew.
TEST(our_link_is_down_for_longer) { flap(there4, "xdp0", true, 1500); }

TEST(a_link_that_stays_down_ends_by_the_user_timeout) {
    need();
    Running r(there4, {{"xdp.user_timeout_ns", "3s"}});
    r.here("ip link set xdp0 down");
    r->need_error(WSXDP_E_DEAD);
}

static void make_anew(const World &world) {
    world.veth.here.run("ip link add xdp0 type veth peer name peer0 netns " + world.veth.there.path());
    world.veth.there.run("ip link set peer0 up && ethtool -K peer0 tx off >/dev/null && "
                         "ip addr add 10.77.0.2/24 dev peer0");
    world.veth.here.run("ip link set xdp0 up && ip addr add 10.77.0.1/24 dev xdp0");
}

static void interface_goes(const OptionList &more) {
    need();
    OptionList options = {{"reconnect", "yes"}, {"reconnect.delay_max_ns", "300ms"}};
    options.insert(options.end(), more.begin(), more.end());
    Running r(there4, options);
    r->pass(50);
    r.here("ip link del xdp0");
    const Seen error = r->need_error(WSXDP_E_XDP_LINK_DOWN);
    assert_true(contains(error.data, "xdp0"));
    r.session->need(WSXDP_EVENT_RECONNECTING, patience_ms);
    // Nothing spins while there is nothing to do but wait.
    timespec before, after;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
    const int64_t until = now_ms() + 500;
    while (now_ms() < until) r.session->poll(until - now_ms());
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
    const int64_t used = (after.tv_sec - before.tv_sec) * 1000 + (after.tv_nsec - before.tv_nsec) / 1000000;
    if (used > 250) fail_msg("%lld ms of CPU while waiting", static_cast<long long>(used));
    make_anew(r.world);
    r.session->need(WSXDP_EVENT_OPEN, patience_ms);
    assert_int_equal(r.session->send("after"), 0);
    assert_true(r.session->need(WSXDP_EVENT_MESSAGE, patience_ms).data == "after");
    assert_string_equal(r.session->info("transport").c_str(), "xdp");
}
TEST(the_interface_is_removed_and_made_anew) { interface_goes({}); }
TEST(the_interface_that_was_asked_for_is_made_anew) { interface_goes({{"xdp.interface", "xdp0"}}); }

TEST(the_interface_is_removed_and_nothing_is_tried_again) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    const size_t before = open_descriptors();
    {
        Session session(World::url(*server), World::options());
        opens(session);
        Stream stream(session);
        stream.need_flow(200000);
        world.veth.here.run("ip link del xdp0");
        stream.need_error(WSXDP_E_XDP_LINK_DOWN);
        assert_int_equal(session.need(WSXDP_EVENT_CLOSE, patience_ms).error, WSXDP_E_XDP_LINK_DOWN);
        // Nothing of what belonged to the interface is kept: sockets, program, rings, the held port.
        const int64_t until = now_ms() + patience_ms;
        while (!session.info("xdp.interface").empty() && now_ms() < until) session.poll(5);
        assert_string_equal(session.info("xdp.interface").c_str(), "");
    }
    server.reset();
    assert_int_equal(open_descriptors(), before - 1); // the server's listener
}

// While it waits to try again, a handle can be closed and freed at once.
TEST(the_interface_is_removed_and_the_handle_closed) {
    need();
    Running r(there4, {{"reconnect", "yes"}});
    r.here("ip link del xdp0");
    r->need_error(WSXDP_E_XDP_LINK_DOWN);
    r.session->need(WSXDP_EVENT_RECONNECTING, patience_ms);
    const int64_t begin = now_ms();
    wsxdp_close(r.session->handle, 0, 1000, "", 0);
    r.session->need(WSXDP_EVENT_CLOSE, patience_ms);
    r.session.reset();
    on_time(begin, 0, 1000);
}

// ---- addresses and routes ----

static void address_goes(const char *address, const char *command) {
    need();
    Running r(address);
    r->pass(50);
    r.here(command);
    const Seen error = r->need_error(WSXDP_E_XDP_INTERFACE);
    assert_true(contains(error.data, "address"));
    assert_true(contains(error.data, "xdp0"));
}
TEST(our_address_is_removed_ipv4) { address_goes(there4, "ip addr del 10.77.0.1/24 dev xdp0"); }
TEST(our_address_is_removed_ipv6) { address_goes(there6, "ip addr del fd77::1/64 dev xdp0"); }

// What a DHCP client or a network manager does when it renews.
TEST(our_address_is_replaced_by_the_same) {
    need();
    Running r(there4);
    r->pass(50);
    r.here("ip addr flush dev xdp0");
    r->pass(300);
    r.here("ip addr add 10.77.0.1/24 dev xdp0");
    r->need_flow(500000);
    r->finish();
}

static void route_goes(const char *address, const char *route) {
    need();
    Running r(address, {}, far_away);
    r->pass(50);
    r.here(std::string("ip route del ") + route);
    r->pass(300);
    assert_false(r->ended());
    r->need_notice("there is no route any more");
    r.here(std::string("ip route add ") + route);
    r->need_flow(500000);
    r->finish();
}
TEST(a_route_is_withdrawn_and_restored_ipv4) { route_goes(far4, "10.88.0.0/24 via 10.77.0.9"); }
TEST(a_route_is_withdrawn_and_restored_ipv6) { route_goes(far6, "fd88::/64 via fd77::9"); }

// Sockets cannot follow a route to another interface. The connection stays, and ends when nothing is answered
// there; the next attempt says what is wrong.
static void other_interface(const char *address, const char *more, const char *change, const char *cut) {
    need();
    Running r(address, {{"reconnect", "yes"}, {"xdp.user_timeout_ns", "3s"}}, far_away);
    r.here("ip link add other0 type veth peer name other1 netns " + r.world.veth.there.path());
    r.there(std::string("ip link set other1 up && ") + more +
            " && echo 0 > /proc/sys/net/ipv4/conf/all/rp_filter");
    r.here("echo 0 > /proc/sys/net/ipv6/conf/other0/accept_dad; ip link set other0 up && "
           "ip addr add 10.78.0.1/24 dev other0 && ip addr add fd78::1/64 dev other0 nodad");
    r->pass(50);
    r.here(change);
    r->need_notice("another interface");
    r->need_flow(300000);
    r.there(cut);
    r->need_error(WSXDP_E_DEAD);
    const Seen &next = r.session->need(WSXDP_EVENT_ERROR, patience_ms);
    assert_int_equal(next.error, WSXDP_E_XDP_INTERFACE);
    for (const char *part : {"other0", "xdp0"})
        if (!contains(next.data, part)) fail_msg("%s", next.data.c_str());
}
TEST(the_route_leads_to_another_interface_ipv4) {
    other_interface(far4, "ip addr add 10.78.0.2/24 dev other1",
                    "ip route replace 10.88.0.0/24 via 10.78.0.2",
                    "ip addr del 10.77.0.2/24 dev peer0; ip route add blackhole 10.77.0.1");
}
TEST(the_route_leads_to_another_interface_ipv6) {
    other_interface(far6, "ip addr add fd78::2/64 dev other1 nodad",
                    "ip -6 route replace fd88::/64 via fd78::2",
                    "ip -6 addr del fd77::2/64 dev peer0; ip -6 route add blackhole fd77::1");
}

static void route_mtu(const char *address, const char *route) {
    need();
    BridgeWorld world;
    lay_routes(world.bridge.here, world.bridge.there);
    auto server = world.serve(echo_messages, nullptr, address);
    Session session(World::url(*server, address), World::options());
    opens(session);
    Stream stream(session);
    stream.need_flow(300000);
    world.bridge.here.run(std::string("ip route change ") + route + " mtu 1300");
    stream.need_flow(100000); // what was under way
    // Nothing larger than the route's MTU leaves any more: the bridge would tell, and count it.
    wx::SimPathOptions narrow = world.bridge.get(Direction::out);
    narrow.mtu.mtu = 1300;
    world.bridge.set(Direction::out, narrow);
    stream.need_flow(1000000);
    assert_int_equal(world.bridge.count(Direction::back).told, 0);
    stream.finish();
}
TEST(a_routes_mtu_changes_ipv4) { route_mtu(far4, "10.88.0.0/24 via 10.77.0.9"); }
TEST(a_routes_mtu_changes_ipv6) { route_mtu(far6, "fd88::/64 via fd77::9"); }

TESTS_BESIDE("paths", 4)
