// SPDX-License-Identifier: MIT
// A peer that leaves checksums to a NIC that is not there, as every veth and virtio host does unless it is
// told not to: the sentence has to name the cause, and trust is the way out. And packets that really are
// damaged, which must not pass.
#include "running.h"

using namespace netns;

static VethOptions offloading() {
    VethOptions veth;
    veth.peer_offload = true;
    return veth;
}

static void check_sentence(const std::string &sentence) {
    for (const char *part : {"bad checksums", "3", "tx off", "xdp.checksum=trust"})
        if (!contains(sentence, part)) fail_msg("'%s' is not in: %s", part, sentence.c_str());
}

static void refused(const char *address, const char *mode) {
    need();
    World world(offloading());
    auto server = world.serve(echo_messages, nullptr, address);
    const int64_t begin = now_ms();
    check_sentence(expect_failure(World::url(*server, address), World::options({{"xdp.mode", mode}}),
                                  WSXDP_E_CONNECT_TIMEOUT, "checksum"));
    on_time(begin, 0, 5000); // long before connect.timeout_ns
}
TEST(offload_at_the_peer_is_named_ipv4) { refused(there4, "driver"); }
TEST(offload_at_the_peer_is_named_ipv6) { refused(there6, "driver"); }
TEST(offload_at_the_peer_is_named_in_generic_mode) { refused(there4, "generic"); }

static void trusted(const char *address, const char *mode) {
    need();
    // In driver mode the kernel itself keeps the other end of a veth from sending packets above the MTU, in
    // generic mode its administrator must.
    const auto unmerged = [](World &world) { world.veth.there.run("ethtool -K peer0 tso off gso off"); };
    Running r(address, {{"xdp.checksum", "trust"}, {"xdp.mode", mode}},
              strcmp(mode, "generic") == 0 ? Running::Prepare(unmerged) : nullptr, offloading());
    r->need_flow(2000000);
    assert_int_equal(Counters(*r.session)["bad_checksum"], 0);
    check_consistent(*r.session);
    r->finish();
}
TEST(offload_at_the_peer_and_trust_ipv4) { trusted(there4, "driver"); }
TEST(offload_at_the_peer_and_trust_ipv6) { trusted(there6, "driver"); }
TEST(offload_at_the_peer_and_trust_in_generic_mode) { trusted(there4, "generic"); }

TEST(no_offload_at_the_peer) {
    need();
    Running r(there4);
    r->need_flow(2000000);
    assert_int_equal(Counters(*r.session)["bad_checksum"], 0);
    r->finish();
}

// Switched on while a stream is under way, and off again: the stream waits, its owner is told why.
static void switched_on(const char *address) {
    need();
    Running r(address);
    r->pass(20);
    r.there("ethtool -K peer0 tx on >/dev/null");
    r->need_notice("bad checksums");
    for (const Seen &seen : r.session->events)
        if (seen.kind == WSXDP_EVENT_NOTICE) check_sentence(seen.data);
    assert_true(Counters(*r.session)["bad_checksum"] >= 3);
    r.there("ethtool -K peer0 tx off >/dev/null");
    r->need_flow(500000);
    check_consistent(*r.session);
    r->finish();
}
TEST(offload_is_switched_on_ipv4) { switched_on(there4); }
TEST(offload_is_switched_on_ipv6) { switched_on(there6); }

// One bit in a hundred packets: what is wrong is dropped and sent again, and nobody is told.
TEST(damaged_packets_are_not_taken) {
    need();
    BridgeWorld world;
    auto server = world.serve(echo_messages);
    Session session(World::url(*server), World::options({{"xdp.rto_min_ns", "20ms"}}));
    opens(session);
    Stream stream(session);
    for (Direction direction : {Direction::out, Direction::back}) {
        wx::SimPathOptions damage = world.bridge.get(direction);
        damage.corrupt.ppm = 10000;
        world.bridge.set(direction, damage);
    }
    stream.need_flow(1500000);
    assert_true(Counters(session)["bad_checksum"] > 0);
    assert_int_equal(session.count(WSXDP_EVENT_NOTICE), 0);
    stream.finish();
}

TESTS_BESIDE("checksums", 4)
