// SPDX-License-Identifier: MIT
// What the tests with the kernel share: whether there is one, transfers, and what must be true when a
// connection is over.
#pragma once
#include "../base/registry.h"
#include "../support/live.h"
#include <stdlib.h>

namespace live {

constexpr uint64_t kilobyte = 1000, megabyte = 1000000;

inline void need_kernel() {
    if (unavailable().empty()) return;
    print_message("SKIPPED: %s\n", unavailable().c_str());
    skip();
}

inline uint64_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text == nullptr ? 1 : strtoull(text, nullptr, 10);
}

inline bool faultless(const World &world) {
    for (const wx::SimPathOptions *path : {&world.options.out, &world.options.back})
        if (path->loss.ppm || path->burst.enter_ppm || path->corrupt.ppm || path->duplicate.ppm ||
            path->reorder.ppm || path->delay.jitter || path->mtu.mtu || path->dead.from != wx::never ||
            path->flap.outage_count || path->flap.period || path->mtu.shrink_to || path->rate.bits_per_s ||
            path->chosen.drop)
            return false;
    return true;
}

// Nothing was lost by the bridge itself, every frame is back, and nothing was refused that the kernel sent.
inline void check_host(World &world) {
    assert_int_equal(world.network.timeline.refused_full + world.network.timeline.refused_large, 0);
    if (world.options.out.corrupt.ppm == 0) assert_int_equal(world.kernel[1]->refused, 0);
    assert_int_equal(world.host.double_releases, 0);
    assert_int_equal(world.host.no_frame, 0);
    uint64_t refused = 0;
    for (uint64_t count : world.host.refused) refused += count;
    if (world.options.back.corrupt.ppm == 0) assert_int_equal(refused, 0);
    assert_int_equal(sim_host_frames_out(&world.host), 0);
}

// What holds for every connection that is over, however it went.
inline void check_connection(const World &world, const wx::TcpConnection *c) {
    const wx::TcpStats &s = c->stats;
    assert_true(c->state == wx::TcpState::closed || c->state == wx::TcpState::time_wait);
    assert_true(s.segments_out >= s.retransmitted + s.acks_out);
    assert_true(s.undone <= s.recoveries + s.timeouts);
    assert_true(s.retransmitted == 0 || s.recoveries + s.timeouts + s.tail_probes + s.icmp_used != 0);
    assert_int_equal(s.reneged, 0);
    assert_int_equal(c->sent.tail - c->sent.head, 0);
    assert_int_equal(c->sent.lost_count + c->sent.sacked_count, 0);
    assert_int_equal(c->rx.held_count, 0);
    if (!faultless(world)) return;
    assert_int_equal(s.bad_acks + s.paws_dropped + s.no_timestamp_dropped + s.out_of_order_in, 0);
    assert_int_equal(s.dropped_no_room, 0);
    // On a busy machine either side's tail probe is sooner than an answer, and harmless.
    assert_true(s.dsacks_out <= s.duplicates_in);
    assert_true(s.recoveries == s.undone && s.timeouts == 0);
}

// Both sides finish, and each hears of the other's end.
inline void close_both(World &world, World::Pair &pair, wx::Nanos limit = 10 * wx::ns_per_s) {
    pair.a->finish();
    pair.b->finish();
    char byte;
    const bool done = world.run(
        [&] {
            pair.b->read(&byte, 1);
            return pair.a->over() && pair.b->peer_finished();
        },
        limit);
    if (!done) fail_msg("our end is %s", tcp_state_text(pair.ours()->c->state));
    assert_int_equal(pair.ours()->c->end, wx::TcpEnd::closed);
    check_connection(world, pair.ours()->c);
    check_host(world);
}

// `out` bytes from our end and `back` from the kernel's at once, then an orderly end.
inline wx::TcpStats transfer(const Options &options, int version, bool passive, uint64_t out, uint64_t back,
                             wx::Nanos limit = 20 * wx::ns_per_s) {
    World world(options);
    World::Pair pair = world.open(version, passive);
    assert_true(static_cast<bool>(pair));
    Stream there(&world, pair.a.get(), pair.b.get(), out), here(&world, pair.b.get(), pair.a.get(), back);
    const bool done = world.run(
        [&] {
            const bool first = there.step();
            return here.step() && first;
        },
        limit);
    const wx::TcpStats &s = pair.ours()->c->stats;
    if (!done || there.wrong || here.wrong)
        fail_msg("IPv%d: %llu of %llu bytes out%s, %llu of %llu back%s; %s, %s", version,
                 (unsigned long long)there.arrived, (unsigned long long)out, there.wrong ? " (wrong)" : "",
                 (unsigned long long)here.arrived, (unsigned long long)back, here.wrong ? " (wrong)" : "",
                 tcp_state_text(pair.ours()->c->state), tcp_end_text(pair.ours()->c->end));
    assert_int_equal(s.bytes_out, out);
    assert_int_equal(s.bytes_in, back);
    close_both(world, pair);
    return s;
}

} // namespace live
