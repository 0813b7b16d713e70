// SPDX-License-Identifier: MIT
// MTUs from the smallest to jumbo frames, on the link and on the way, and what becomes of a stream when they
// change under it. Routers are the kernel's own, with the ICMP messages that it writes. Driver mode cannot be
// had on veth above some 3,500 bytes: the ladder says so.
#include "running.h"

using namespace netns;

namespace {

const OptionList large_buffers = {{"outbox.bytes", "4MiB"}};

OptionList with_large(const OptionList &more = {}) {
    OptionList all = large_buffers;
    all.insert(all.end(), more.begin(), more.end());
    return all;
}

// Messages of 1 MiB, and small ones again.
void need_large(Stream *stream) {
    const auto before = stream->size;
    stream->size = [] { return size_t{1} << 20; };
    stream->need_flow(2 << 20);
    stream->size = before;
    stream->need_flow(100000);
}

// here - router - far, each link a veth pair.
struct RouterWorld {
    Namespace here, router, far;
    Inside inside;
    RouterWorld() : inside(here) {
        here.run("ip link add xdp0 type veth peer name r0 netns " + router.path());
        far.run("ip link add far0 type veth peer name r1 netns " + router.path());
        set_up(here, "xdp0", "10.77.0.1/24", "fd77::1/64");
        set_up(router, "r0", "10.77.0.2/24", "fd77::2/64");
        set_up(router, "r1", "10.88.0.1/24", "fd88::1/64");
        set_up(far, "far0", "10.88.0.2/24", "fd88::2/64");
        router.run("echo 1 > /proc/sys/net/ipv4/ip_forward; echo 1 > /proc/sys/net/ipv6/conf/all/forwarding");
        here.run("ip route add 10.88.0.0/24 via 10.77.0.2; ip route add fd88::/64 via fd77::2");
        far.run("ip route add default via 10.88.0.1; ip -6 route add default via fd88::1");
    }
    static void set_up(const Namespace &where, const std::string &device, const std::string &address4,
                       const std::string &address6) {
        where.run("echo 0 > /proc/sys/net/ipv6/conf/" + device + "/accept_dad && ethtool -K " + device +
                  " tx off gro off >/dev/null && ip link set " + device + " up && ip addr add " + address4 +
                  " dev " + device + " && ip addr add " + address6 + " dev " + device + " nodad");
    }
    std::unique_ptr<scripted::Server> serve(const char *address) const {
        Inside there(far);
        return std::make_unique<scripted::Server>(echo_messages, nullptr, address);
    }
    void far_mtu(const char *mtu) const {
        far.run(std::string("ip link set far0 mtu ") + mtu);
        router.run(std::string("ip link set r1 mtu ") + mtu);
    }
};
constexpr const char *far4 = "10.88.0.2", *far6 = "fd88::2";

} // namespace

// ---- of the link, from the beginning ----

static void link_mtu(unsigned mtu, const char *address, const char *asked, const char *mode) {
    need();
    VethOptions veth;
    veth.mtu = mtu;
    Running r(address, with_large({{"xdp.mode", asked}}), nullptr, veth);
    assert_string_equal(r.session->info("mode").c_str(), mode);
    const std::string ladder = r.session->info("xdp.ladder");
    if (strcmp(asked, "auto") == 0 && strcmp(mode, "generic") == 0) {
        if (!contains(ladder, "driver: ") || !contains(ladder, "MTU")) fail_msg("ladder: %s", ladder.c_str());
    }
    need_large(r.stream.get());
    check_consistent(*r.session);
    r->finish();
}
TEST(mtu_1280_ipv4) { link_mtu(1280, there4, "auto", "driver"); }
TEST(mtu_1280_ipv6) { link_mtu(1280, there6, "auto", "driver"); }
TEST(mtu_1280_generic) { link_mtu(1280, there6, "generic", "generic"); }
TEST(mtu_1500_ipv4) { link_mtu(1500, there4, "auto", "driver"); }
TEST(mtu_1500_ipv6) { link_mtu(1500, there6, "auto", "driver"); }
TEST(mtu_1500_generic) { link_mtu(1500, there4, "generic", "generic"); }
TEST(mtu_3500_ipv4) { link_mtu(3500, there4, "auto", "driver"); }
TEST(mtu_3500_ipv6) { link_mtu(3500, there6, "auto", "driver"); }
TEST(mtu_3500_generic) { link_mtu(3500, there6, "generic", "generic"); }
TEST(mtu_9000_falls_to_generic_mode_ipv4) { link_mtu(9000, there4, "auto", "generic"); }
TEST(mtu_9000_falls_to_generic_mode_ipv6) { link_mtu(9000, there6, "auto", "generic"); }

TEST(mtu_9000_in_driver_mode_is_refused) {
    need();
    VethOptions veth;
    veth.mtu = 9000;
    World world(veth);
    auto server = world.serve(echo_messages);
    const std::string sentence = expect_failure(World::url(*server), World::options({{"xdp.mode", "driver"}}),
                                                WSXDP_E_XDP_MODE, "MTU");
    assert_true(contains(sentence, "xdp0"));
    assert_true(contains(sentence, "generic"));
}

// Frames of 2,048 bytes where the MTU is more: what the peer sends has to fit all the same.
TEST(small_frames_on_a_link_of_large_ones) {
    need();
    VethOptions veth;
    veth.mtu = 3500;
    Running r(there4, with_large({{"xdp.frame_bytes", "2048"}}), nullptr, veth);
    need_large(r.stream.get());
    check_consistent(*r.session);
    r->finish();
}

// ---- of the link, while a stream is on it ----

static void own_mtu_changes(const char *address, const char *mode) {
    need();
    Running r(address, with_large({{"xdp.mode", mode}}));
    r->pass(20);
    for (const char *mtu : {"1280", "1400", "1500"}) {
        r.there(std::string("ip link set peer0 mtu ") + mtu);
        r.here(std::string("ip link set xdp0 mtu ") + mtu);
        r->need_flow(500000);
        need_large(r.stream.get());
    }
    check_consistent(*r.session);
    r->finish();
}
TEST(the_links_mtu_changes_ipv4) { own_mtu_changes(there4, "auto"); }
TEST(the_links_mtu_changes_ipv6) { own_mtu_changes(there6, "auto"); }
TEST(the_links_mtu_changes_in_generic_mode) { own_mtu_changes(there4, "generic"); }

// ---- on the way ----

static void path_mtu(const char *address, const char *mode) {
    need();
    RouterWorld world;
    auto server = world.serve(address);
    Session session(World::url(*server, address), World::options(with_large({{"xdp.mode", mode}})));
    opens(session);
    Stream stream(session);
    stream.need_flow(300000);
    assert_int_equal(Counters(session)["filter_icmp"], 0);
    world.far_mtu("1300");
    stream.need_flow(500000);
    need_large(&stream);
    const uint64_t told = Counters(session)["filter_icmp"];
    assert_true(told > 0);
    world.far_mtu("1280");
    stream.need_flow(500000);
    need_large(&stream);
    assert_true(Counters(session)["filter_icmp"] > told);
    check_consistent(session);
    stream.finish();
}
TEST(a_router_tells_of_a_smaller_mtu_ipv4) { path_mtu(far4, "auto"); }
TEST(a_router_tells_of_a_smaller_mtu_ipv6) { path_mtu(far6, "auto"); }
TEST(a_router_tells_of_a_smaller_mtu_in_generic_mode) { path_mtu(far4, "generic"); }

static void black_hole(const char *address) {
    need();
    BridgeWorld world;
    auto server = world.serve(echo_messages, nullptr, address);
    Session session(World::url(*server, address),
                    World::options(with_large({{"xdp.rto_min_ns", "20ms"}, {"idle.timeout_ns", "0"}})));
    opens(session);
    Stream stream(session);
    stream.need_flow(300000);
    wx::SimPathOptions narrow = world.bridge.get(Direction::out);
    narrow.mtu.mtu = 1300;
    narrow.mtu.silent = true;
    world.bridge.set(Direction::out, narrow);
    stream.need_flow(300000);
    need_large(&stream);
    assert_int_equal(world.bridge.count(Direction::out).told, 0);
    assert_true(world.bridge.count(Direction::out).lost > 0);
    stream.finish();
}
TEST(nobody_tells_of_a_smaller_mtu_ipv4) { black_hole(there4); }
TEST(nobody_tells_of_a_smaller_mtu_ipv6) { black_hole(there6); }

TESTS("mtu")
