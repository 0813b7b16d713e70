// SPDX-License-Identifier: MIT
// Data between our TCP and the kernel's, over a path without faults: both roles, both directions, both
// versions of IP, byte for byte; kernels that lack an option; peers that do not read.
#include "live_check.h"
#include <random>

using namespace wx;
using namespace live;

namespace {

TEST(bulk_sent) {
    need_kernel();
    for (int version : {4, 6}) {
        const TcpStats s = transfer(Options(), version, false, 40 * megabyte, 0);
        assert_true(s.segments_out < 40 * megabyte / 1400 + 1000);
    }
}

TEST(bulk_received) {
    need_kernel();
    for (int version : {4, 6}) transfer(Options(), version, false, 0, 40 * megabyte);
}

TEST(bulk_both_ways) {
    need_kernel();
    for (int version : {4, 6}) transfer(Options(), version, false, 20 * megabyte, 20 * megabyte);
}

TEST(bulk_accepted) {
    need_kernel();
    for (int version : {4, 6}) transfer(Options(), version, true, 10 * megabyte, 10 * megabyte);
}

TEST(bulk_over_distance) {
    need_kernel();
    Options options;
    options.out.delay.fixed = options.back.delay.fixed = 5 * ns_per_ms;
    transfer(options, 4, false, 20 * megabyte, 0);
    transfer(options, 6, true, 0, 20 * megabyte);
}

void without(const Settings &settings) {
    Options options;
    options.settings = settings;
    for (bool passive : {false, true}) transfer(options, 4, passive, 5 * megabyte, 5 * megabyte);
    options.out.loss.ppm = options.back.loss.ppm = 2000;
    options.seed = seed();
    transfer(options, 6, false, 2 * megabyte, 2 * megabyte);
}

TEST(without_timestamps) {
    need_kernel();
    without({{"ipv4/tcp_timestamps", "0"}});
}
TEST(without_sack) {
    need_kernel();
    without({{"ipv4/tcp_sack", "0"}});
}
TEST(without_window_scaling) {
    need_kernel();
    without({{"ipv4/tcp_window_scaling", "0"}});
}
TEST(without_any_option) {
    need_kernel();
    without({{"ipv4/tcp_timestamps", "0"}, {"ipv4/tcp_sack", "0"}, {"ipv4/tcp_window_scaling", "0"}});
}

// One message at a time, answered by the same. The other side's acknowledgement rides on the answer.
TEST(ping_pong) {
    need_kernel();
    constexpr uint64_t bytes = 64, rounds = 2000;
    for (bool passive : {false, true}) {
        World world((Options()));
        World::Pair pair = world.open(4, passive);
        assert_true(static_cast<bool>(pair));
        Stream ping(&world, pair.a.get(), pair.b.get(), 0), pong(&world, pair.b.get(), pair.a.get(), 0);
        const bool done = world.run(
            [&] {
                if (pong.arrived == ping.total && ping.total < rounds * bytes) ping.total += bytes;
                const bool there = ping.step();
                if (there) pong.total = ping.total;
                return pong.step() && there && pong.arrived == rounds * bytes;
            },
            10 * ns_per_s);
        assert_true(done && !ping.wrong && !pong.wrong);
        const TcpStats &s = pair.ours()->c->stats;
        assert_int_equal(s.retransmitted, s.tail_probes);
        assert_true(s.segments_out < 3 * rounds);
        close_both(world, pair);
    }
}

TEST(random_messages) {
    need_kernel();
    std::mt19937_64 random(seed());
    World world((Options()));
    World::Pair pair = world.open(6);
    assert_true(static_cast<bool>(pair));
    constexpr uint64_t total = 4 * megabyte;
    Stream there(&world, pair.a.get(), pair.b.get(), total), here(&world, pair.b.get(), pair.a.get(), total);
    const bool done = world.run(
        [&] {
            for (Stream *stream : {&there, &here}) {
                stream->piece = 1 + random() % 3000;
                stream->write();
                stream->piece = 1 + random() % 9000;
                stream->read();
            }
            return there.arrived == total && here.arrived == total;
        },
        20 * ns_per_s);
    if (!done || there.wrong || here.wrong) fail_msg("seed %llu", (unsigned long long)seed());
    close_both(world, pair);
}

TEST(peer_with_tiny_buffer) {
    need_kernel();
    Options options;
    options.receive_buffer = 1; // the kernel makes it its least
    for (int version : {4, 6}) transfer(options, version, false, 200 * kilobyte, 200 * kilobyte);
}

// The kernel's program does not read for a second: its window closes, we probe, and go on when it opens.
TEST(peer_that_does_not_read) {
    need_kernel();
    constexpr uint64_t total = 20 * megabyte;
    World world((Options()));
    World::Pair pair = world.open(4);
    assert_true(static_cast<bool>(pair));
    TcpConnection *c = pair.ours()->c;
    Stream stream(&world, pair.a.get(), pair.b.get(), total);
    uint32_t notices = 0;
    auto writes = [&] {
        stream.write();
        notices |= tcp_take_notices(c);
        return false;
    };
    world.run(writes, ns_per_s);
    assert_int_equal(c->send_window, 0);
    assert_int_equal(c->state, TcpState::established);
    assert_true(notices & tcp_peer_stalled);
    assert_true(c->stats.zero_windows >= 1 && c->stats.window_probes >= 1 && c->stats.window_probes < 20);
    assert_int_equal(c->stats.timeouts, 0);
    const bool done = world.run(
        [&] {
            notices |= tcp_take_notices(c);
            return stream.step();
        },
        10 * ns_per_s);
    assert_true(done && !stream.wrong);
    assert_true(notices & tcp_peer_resumed);
    close_both(world, pair);
}

// The same the other way round: our window closes to nothing, and the kernel hears when it opens again.
TEST(we_do_not_read) {
    need_kernel();
    constexpr uint64_t total = 20 * megabyte;
    World world((Options()));
    World::Pair pair = world.open(6);
    assert_true(static_cast<bool>(pair));
    Stream stream(&world, pair.b.get(), pair.a.get(), total);
    world.run(
        [&] {
            stream.write();
            return false;
        },
        700 * ns_per_ms);
    const uint64_t held = reassembly_unread(&pair.ours()->c->rx);
    // All but an eighth: what rounding the window may promise for 4096 pieces is kept back.
    assert_in_range(held, (4 << 20) / 8 * 7 - 65536, 4 << 20);
    assert_int_equal(pair.ours()->c->stats.dropped_no_room, 0);
    // The kernel's next probe would be some 700 ms away: it hears of the room before.
    const int64_t began = now_ms();
    assert_true(world.run(
        [&] {
            stream.step();
            return stream.arrived > held;
        },
        10 * ns_per_s));
    on_time(began, 0, 400);
    assert_true(world.run([&] { return stream.step(); }, 10 * ns_per_s) && !stream.wrong);
    close_both(world, pair);
}

} // namespace

TESTS_BESIDE("live_transfer", 4)
