// SPDX-License-Identifier: MIT
// Our TCP and the kernel's over paths with faults: every byte still arrives, in both directions, and where
// the repair can be told from the counters it was the right one.
#include "live_check.h"

using namespace wx;
using namespace live;

namespace {

// Both ways, with the kernel as the server and as the client.
void survive(Options options, uint64_t bytes, Nanos limit = 20 * ns_per_s) {
    options.seed = seed();
    transfer(options, 4, false, bytes, bytes, limit);
    transfer(options, 6, true, bytes, bytes, limit);
}

SimPathOptions near() {
    SimPathOptions path;
    path.delay.fixed = 2 * ns_per_ms;
    return path;
}

TEST(one_percent_lost) {
    need_kernel();
    Options options;
    options.out = options.back = near();
    options.out.loss.ppm = options.back.loss.ppm = 10000;
    survive(options, 3 * megabyte);
}

TEST(five_percent_lost) {
    need_kernel();
    Options options;
    options.out = options.back = near();
    options.out.loss.ppm = options.back.loss.ppm = 50000;
    survive(options, 500 * kilobyte, 30 * ns_per_s);
}

TEST(reordered) {
    need_kernel();
    Options options;
    options.out = options.back = near();
    options.out.reorder.ppm = options.back.reorder.ppm = 50000;
    options.out.reorder.delay = options.back.reorder.delay = 2 * ns_per_ms;
    survive(options, 3 * megabyte);
}

TEST(duplicated) {
    need_kernel();
    Options options;
    options.out = options.back = near();
    options.out.duplicate.ppm = options.back.duplicate.ppm = 50000;
    options.out.duplicate.delay = options.back.duplicate.delay = ns_per_ms;
    options.seed = seed();
    for (int version : {4, 6}) {
        const TcpStats s = transfer(options, version, false, 3 * megabyte, 3 * megabyte);
        assert_true(s.duplicates_in > 20 && s.dsacks_out > 20);
        assert_true(s.dsacks_in > 20);
        assert_true(s.retransmitted <= s.tail_probes + s.undone * 100);
    }
}

TEST(corrupted) {
    need_kernel();
    Options options;
    options.out = options.back = near();
    options.out.corrupt.ppm = options.back.corrupt.ppm = 10000;
    survive(options, 2 * megabyte);
}

TEST(jitter) {
    need_kernel();
    Options options;
    for (SimPathOptions *path : {&options.out, &options.back}) {
        path->delay.fixed = 15 * ns_per_ms;
        path->delay.jitter = 10 * ns_per_ms;
        path->delay.overtake = true;
    }
    survive(options, 2 * megabyte);
}

TEST(slow_line_with_short_queue) {
    need_kernel();
    Options options;
    for (SimPathOptions *path : {&options.out, &options.back}) {
        path->delay.fixed = 5 * ns_per_ms;
        path->rate.bits_per_s = 50000000;
        path->rate.queue_bytes = 30000;
    }
    survive(options, 3 * megabyte);
}

SimPathOptions narrow(bool silent, uint32_t mtu) {
    SimPathOptions path = near();
    path.mtu.mtu = mtu;
    path.mtu.silent = silent;
    path.mtu.router4 = ip4_address(10, 0, 0, 254);
    path.mtu.router6 = address(253, 6);
    return path;
}

TEST(narrow_middle) {
    need_kernel();
    for (int version : {4, 6})
        for (bool passive : {false, true}) {
            Options options;
            options.out = options.back = narrow(false, 1280);
            const int64_t began = now_ms();
            const TcpStats s = transfer(options, version, passive, 2 * megabyte, 2 * megabyte);
            assert_int_equal(s.icmp_used, 1);
            if (s.timeouts != 0) throw Late{now_ms() - began, 0}; // the ICMP message tells at once
            on_time(began, 0, 5000);
        }
}

// Nothing but silence says that full-sized packets vanish.
TEST(black_hole) {
    need_kernel();
    for (int version : {4, 6}) {
        Options options;
        options.out = narrow(true, 1300);
        options.back = near();
        const TcpStats s = transfer(options, version, false, 500 * kilobyte, 500 * kilobyte, 30 * ns_per_s);
        assert_true(s.mtu_changes >= 1 && s.timeouts >= 1);
    }
}

// The kernel finds it out as well when it is allowed to; what it sends then is ours to take.
TEST(black_hole_for_the_kernel) {
    need_kernel();
    Options options;
    options.out = near();
    options.back = narrow(true, 1300);
    options.settings = {{"ipv4/tcp_mtu_probing", "1"}};
    transfer(options, 4, false, 500 * kilobyte, 500 * kilobyte, 30 * ns_per_s);
}

// Down for 300 ms in the middle of the transfer.
TEST(outage) {
    need_kernel();
    Options options;
    for (SimPathOptions *path : {&options.out, &options.back}) {
        path->delay.fixed = 5 * ns_per_ms;
        path->rate.bits_per_s = 50000000;
        path->flap.outages[0].from = 150 * ns_per_ms;
        path->flap.outages[0].until = 450 * ns_per_ms;
        path->flap.outage_count = 1;
    }
    survive(options, 3 * megabyte);
}

// A lost last segment is repaired by a probe within two round trips and the peer's delay, not by a timeout.
TEST(lost_tail) {
    need_kernel();
    for (unsigned segments : {1u, 5u}) {
        struct Last {
            uint64_t bytes, counted;
            bool dropped;
        } last = {0, 0, false};
        Options options;
        options.out.delay.fixed = options.back.delay.fixed = 10 * ns_per_ms;
        options.out.chosen.context = &last;
        options.out.chosen.drop = [](void *context, ByteView packet, uint64_t, Nanos) {
            Last *self = static_cast<Last *>(context);
            const size_t headers = ip4_header_size + tcp_header_size + 12;
            if (self->dropped || self->bytes == 0 || packet.size <= headers) return false;
            self->counted += packet.size - headers;
            return self->dropped = self->counted >= self->bytes;
        };
        World world(options);
        World::Pair pair = world.open(4);
        assert_true(static_cast<bool>(pair));
        last.bytes = segments * 1448;
        Stream stream(&world, pair.a.get(), pair.b.get(), last.bytes);
        const int64_t began = now_ms();
        assert_true(world.run([&] { return stream.step(); }, 5 * ns_per_s) && !stream.wrong);
        const int64_t took = now_ms() - began;
        assert_true(last.dropped);
        // One way, two round trips, 10 ms for the peer's acknowledgement, and one more round trip when others
        // were acknowledged before; and what a busy machine adds.
        took_ms(took, 50, 199);
        const TcpStats &s = pair.ours()->c->stats;
        assert_int_equal(s.tail_probes, 1);
        assert_int_equal(s.timeouts, 0);
        assert_int_equal(s.retransmitted, 1);
        close_both(world, pair);
    }
}

// Drawn anew with each seed. Not the kinds that are dead for many seconds: see outage.
void drawn(std::initializer_list<SimKind> kinds) {
    need_kernel();
    for (SimKind kind : kinds) {
        Options options;
        options.seed = seed();
        sim_path_draw(&options.out, kind, 2 * seed());
        sim_path_draw(&options.back, kind, 2 * seed() + 1);
        options.settings = {{"ipv4/tcp_mtu_probing", "1"}};
        World world(options);
        World::Pair pair = world.open(4, kind == SimKind::everything, 20 * ns_per_s);
        if (!pair) fail_msg("%s, seed %llu: no connection", sim_kind_text(kind), (unsigned long long)seed());
        Stream there(&world, pair.a.get(), pair.b.get(), 60 * kilobyte);
        Stream here(&world, pair.b.get(), pair.a.get(), 60 * kilobyte);
        const bool done = world.run(
            [&] {
                const bool first = there.step();
                return here.step() && first;
            },
            30 * ns_per_s);
        if (!done || there.wrong || here.wrong)
            fail_msg("%s, seed %llu: %llu and %llu bytes", sim_kind_text(kind), (unsigned long long)seed(),
                     (unsigned long long)there.arrived, (unsigned long long)here.arrived);
        sim_network_heal(&world.network);
        close_both(world, pair, 20 * ns_per_s);
    }
}
TEST(drawn_paths) { drawn({SimKind::perfect, SimKind::lan, SimKind::wan}); }
TEST(drawn_paths_that_lose) { drawn({SimKind::lossy, SimKind::bursty, SimKind::corrupting}); }
TEST(drawn_paths_that_disorder) { drawn({SimKind::reordering, SimKind::duplicating, SimKind::everything}); }
TEST(drawn_paths_that_are_narrow) { drawn({SimKind::narrow, SimKind::shrinking_mtu, SimKind::black_hole}); }

} // namespace

TESTS_BESIDE("live_path", 4)
