// SPDX-License-Identifier: MIT
// A next hop whose link-layer address the kernel has lost and could not find again: what was known goes on
// being used, and it is asked for again for as long as connections need it, as the kernel itself does for its
// own. Nothing tells when it would be found.
#include "running.h"

using namespace netns;

static const char other_mac[] = "02:00:00:00:77:77";

static std::string mac_of(const std::string &link) { // as `ip -o link` shows it
    const size_t at = link.find("link/ether ") + strlen("link/ether ");
    return link.substr(at, 17);
}

// The peer has another address of which nobody hears: it asks for ours no more, and its answers get lost.
static void moves_silently(BridgeWorld &world, const std::string &ours) {
    const std::string mac = mac_of(world.bridge.here.run("ip -o link show dev xdp0"));
    world.bridge.drop_others(Direction::back, true);
    world.bridge.change_mac(other_mac);
    world.bridge.there.run("ip neigh replace " + ours + " dev peer0 nud permanent lladdr " + mac);
}

// After three tries, as always.
static void is_impatient(BridgeWorld &world) {
    for (const char *version : {"ipv4", "ipv6"})
        world.bridge.here.run(std::string("cd /proc/sys/net/") + version +
                              "/neigh/xdp0 && echo 100 > retrans_time_ms");
}

static bool kernel_gave_up(BridgeWorld &world, const std::string &peer) {
    std::string entry;
    (void)world.bridge.here.try_run("ip neigh show " + peer + " dev xdp0", &entry);
    return contains(entry, "FAILED") || entry.find_first_not_of(" \n") == std::string::npos;
}

static void comes_back(const char *address, const char *ours) {
    need();
    BridgeWorld world;
    is_impatient(world);
    auto server = world.serve(echo_messages, nullptr, address);
    Session session(World::url(*server, address), World::options());
    opens(session);
    Stream stream(session);
    stream.need_flow(100000);
    moves_silently(world, ours);
    (void)world.bridge.here.try_run(std::string("ip neigh flush dev xdp0 to ") + address, nullptr);
    stream.pass(200); // longer than the kernel needs to begin
    for (const int64_t end = now_ms() + patience_ms; !kernel_gave_up(world, address) && now_ms() < end;)
        stream.pass(100);
    assert_true(kernel_gave_up(world, address));
    const uint64_t before = stream.received;
    stream.pass(300);
    assert_true(stream.received == before);
    world.bridge.drop_others(Direction::back, false);
    stream.need_flow(100000);
    stream.finish();
}
TEST(a_neighbour_that_was_gone_for_seconds_is_found_again_ipv4) { comes_back(there4, here4); }
TEST(a_neighbour_that_was_gone_for_seconds_is_found_again_ipv6) { comes_back(there6, here6); }

TESTS("xdp: lost neighbour")
