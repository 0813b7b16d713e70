// SPDX-License-Identifier: MIT
// AF_XDP sockets over veth: frames both ways in generic and in driver mode, without a loss when nobody is
// outrun; what happens at every ring that is full or empty; several queues; every frame accounted for.
#include "../base/registry.h"
#include "xsk_support.h"
#include <algorithm>
#include <random>

using namespace netns;
using namespace wx;
using namespace xsk_test;

namespace {

std::vector<uint32_t> numbers_from(uint32_t first, uint32_t count) {
    std::vector<uint32_t> numbers(count);
    for (uint32_t i = 0; i < count; i++) numbers[i] = first + i;
    return numbers;
}
void expect(const std::vector<uint32_t> &got, const std::vector<uint32_t> &wanted) {
    if (got == wanted) return;
    size_t at = 0;
    while (at < got.size() && at < wanted.size() && got[at] == wanted[at]) at++;
    fail_msg("%zu frames, wanted %zu; the first wrong one is %zu", got.size(), wanted.size(), at);
}

void frames_both_ways(bool generic) {
    need();
    Rig rig(generic);
    std::minstd_rand random(static_cast<unsigned>(seed()));
    for (uint32_t i = 0; i < 200; i++) {
        const size_t bytes = frame_min + random() % (1514 - frame_min + 1);
        rig.peer.send(i, bytes);
        expect(rig.await(&rig.x, 1), {i});
        assert_true(rig.send(1000 + i, bytes));
        int cause = 0;
        assert_int_equal(xsk_kick(&rig.x, &cause), 0);
        expect(rig.peer.receive(1), {1000 + i});
        xsk_refill(&rig.x, 0);
        rig.drain();
    }
    assert_int_equal(rig.x.counters.received, 200);
    rig.check_frames({&rig.x});
}

// Bursts that fit the rings, each taken before the next is sent, so a loss is ours.
void many_frames(bool generic) {
    need();
    Rig rig(generic);
    constexpr uint32_t total = 100000, burst = 64;
    int cause = 0;
    for (uint32_t at = 0; at < total; at += burst) {
        const uint32_t count = std::min(burst, total - at);
        for (uint32_t i = 0; i < count; i++) rig.peer.send(at + i);
        expect(rig.await(&rig.x, count), numbers_from(at, count));
        xsk_refill(&rig.x, 0);
        for (uint32_t i = 0; i < count; i++) assert_true(rig.send(at + i));
        const uint64_t kicks = rig.x.counters.kicks;
        int status = xsk_kick(&rig.x, &cause);
        assert_true(status >= 0);
        if (status == 0) assert_in_range(rig.x.counters.kicks - kicks, 1, burst / 32 + 1);
        rig.drain();
        expect(rig.peer.receive(count), numbers_from(at, count));
    }
    assert_int_equal(rig.x.counters.received, total);
    assert_int_equal(rig.x.counters.completed, total);
    rig.check_frames({&rig.x});
    XskKernelCounters kernel;
    assert_int_equal(xsk_statistics(&rig.x, &kernel), 0);
    assert_int_equal(
        kernel.receive_dropped + kernel.receive_invalid + kernel.send_invalid + kernel.receive_ring_full, 0);
}

} // namespace

TEST(frames_both_ways_in_generic_mode) { frames_both_ways(true); }
TEST(frames_both_ways_in_driver_mode) { frames_both_ways(false); }
TEST(a_hundred_thousand_frames_each_way_in_generic_mode) { many_frames(true); }
TEST(a_hundred_thousand_frames_each_way_in_driver_mode) { many_frames(false); }

TEST(nothing_queued_costs_no_system_call) {
    need();
    Rig rig;
    int cause = 0;
    assert_int_equal(xsk_kick(&rig.x, &cause), 0);
    assert_int_equal(rig.x.counters.kicks, 0);
    assert_true(rig.send(1));
    rig.drain();
    const uint64_t kicks = rig.x.counters.kicks;
    assert_int_equal(xsk_kick(&rig.x, &cause), 0);
    assert_int_equal(rig.x.counters.kicks, kicks);
    assert_false(xsk_has_input(&rig.x));
    rig.peer.send(2);
    while (!xsk_has_input(&rig.x)) {
    }
    expect(rig.take(&rig.x), {2});
    assert_false(xsk_has_input(&rig.x));
}

TEST(a_full_send_ring_refuses_and_loses_nothing) {
    need();
    Rig rig(false, 1024, [](XskOptions *o, UmemOptions *) {
        o->send_slots = 128;
        o->completion_slots = 32; // the kernel stops for want of room to report
    });
    assert_int_equal(xsk_room(&rig.x), 128);
    uint32_t sent = 0;
    while (rig.send(sent)) sent++;
    assert_int_equal(sent, 128);
    assert_int_equal(xsk_room(&rig.x), 0);
    assert_int_equal(rig.x.counters.send_full, 1);
    assert_int_equal(umem_out(&rig.umem, Pool::data), 128);
    int cause = 0;
    assert_int_equal(xsk_kick(&rig.x, &cause),
                     1); // 32 completions fill the ring; more must wait for a reclaim
    assert_in_range(rig.x.counters.kicks, 2, 5);
    assert_int_equal(rig.reclaim(), 32);
    rig.drain();
    expect(rig.peer.receive(128), numbers_from(0, 128));
    assert_int_equal(xsk_room(&rig.x), 128);
    rig.check_frames({&rig.x});
}

TEST(a_full_receive_ring_drops_counts_and_recovers) {
    need();
    Rig rig(false, 1024, [](XskOptions *o, UmemOptions *) { o->receive_slots = 64; });
    for (uint32_t i = 0; i < 100; i++) rig.peer.send(i);
    expect(rig.await(&rig.x, 64), numbers_from(0, 64));
    XskKernelCounters kernel;
    assert_int_equal(xsk_statistics(&rig.x, &kernel), 0);
    assert_int_equal(kernel.receive_ring_full, 36);
    xsk_refill(&rig.x, 0);
    rig.peer.send(100);
    expect(rig.await(&rig.x, 1), {100});
    rig.check_frames({&rig.x});
}

TEST(a_fill_ring_that_ran_dry_recovers) {
    need();
    Rig rig;
    // All frames but those of the first refill are kept; what comes beyond them is dropped.
    XskDescriptor held[64];
    uint32_t count = 0, number = 0;
    const uint32_t filled = rig.x.in_fill;
    assert_int_equal(filled, 256);
    std::vector<FrameId> frames;
    for (; number < filled; number += 32) {
        for (uint32_t i = 0; i < 32; i++) rig.peer.send(number + i);
        while ((count = xsk_receive(&rig.x, held, 64)) != 0)
            for (uint32_t i = 0; i < count; i++) frames.push_back(umem_frame_of(&rig.umem, held[i].address));
    }
    assert_int_equal(frames.size(), filled);
    assert_int_equal(rig.x.in_fill, 0);
    xsk_refill(&rig.x, 256); // half of what is left of the pool stays for others: nothing to give
    assert_int_equal(rig.x.in_fill, 0);
    assert_int_equal(rig.x.counters.fill_starved, 1);
    for (uint32_t i = 0; i < 10; i++) rig.peer.send(number++);
    usleep(20000);
    assert_int_equal(xsk_receive(&rig.x, held, 64), 0);
    XskKernelCounters kernel;
    assert_int_equal(xsk_statistics(&rig.x, &kernel), 0);
    assert_true(kernel.fill_ring_empty >= 1);
    for (FrameId id : frames) umem_put(&rig.umem, id);
    xsk_refill(&rig.x, 500);
    assert_int_equal(rig.x.in_fill, 12); // 512 of the pool, 500 kept
    rig.peer.send(number);
    expect(rig.await(&rig.x, 1), {number});
    rig.check_frames({&rig.x});
}

TEST(the_smallest_memory_works) {
    need();
    Rig rig(false, umem_frames_min);
    assert_int_equal(rig.x.in_fill, 32);
    int cause = 0;
    for (uint32_t i = 0; i < 100; i++) {
        for (uint32_t k = 0; k < 16; k++) assert_true(rig.send(i * 16 + k));
        assert_false(rig.send(0)); // a quarter of 64
        assert_true(xsk_kick(&rig.x, &cause) >= 0);
        rig.drain();
        expect(rig.peer.receive(16), numbers_from(i * 16, 16));
        for (uint32_t k = 0; k < 32; k++) rig.peer.send(k);
        expect(rig.await(&rig.x, 32), numbers_from(0, 32));
        xsk_refill(&rig.x, 0);
    }
    rig.check_frames({&rig.x});
}

TEST(frames_of_4096_bytes_carry_what_2048_cannot) {
    need();
    VethOptions pair;
    pair.mtu = 3000;
    Rig rig(
        true, 256, [](XskOptions *, UmemOptions *m) { m->frame_bytes = 4096; }, pair);
    assert_true(rig.send(5, 2000));
    rig.drain();
    expect(rig.peer.receive(1), {5});
    uint8_t frame[3014];
    write_frame(frame, 6, sizeof frame);
    assert_int_equal(send(rig.peer.fd, frame, sizeof frame, 0), sizeof frame);
    expect(rig.await(&rig.x, 1), {6});
    rig.check_frames({&rig.x});
}

// A socket of peer0's queue sends by that queue, and veth delivers to the same number here: in driver mode.
// The generic hook is behind the place where veth forgets the number, and sees queue 0 for all.
static void two_queues(bool generic) {
    need();
    VethOptions pair;
    pair.queues = 2;
    Rig rig(generic, 1024, nullptr, pair);
    Xsk second, peers[2];
    Umem peer_umem;
    XskOptions options = small_options(rig.ifindex);
    options.queue = 1;
    if (xsk_open(&second, &rig.umem, options, &rig.x, &rig.error) != 0) fail_msg("%s", rig.error.text);
    rig.redirect->set(1, second.fd);
    xsk_refill(&second, 0);
    assert_int_equal(rig.x.in_fill + second.in_fill, umem_out(&rig.umem, Pool::receive));
    {
        Inside there(rig.veth.there);
        options.ifindex = if_nametoindex("peer0");
        assert_int_equal(umem_open(&peer_umem, UmemOptions(), &rig.error), 0);
        for (unsigned i = 0; i < 2; i++) {
            options.queue = i;
            if (xsk_open(&peers[i], &peer_umem, options, i ? &peers[0] : nullptr, &rig.error) != 0)
                fail_msg("%s", rig.error.text);
        }
    }
    Xsk *const ours[] = {&rig.x, &second};
    FrameId back[64];
    for (uint32_t round = 0; round < 1000; round++)
        for (unsigned i = 0; i < 2; i++) {
            const FrameId id = umem_take(&peer_umem, Pool::data);
            int cause = 0;
            write_frame(umem_frame(&peer_umem, id), round, frame_min);
            assert_true(xsk_send(&peers[i], id << peer_umem.frame_shift, frame_min));
            assert_int_equal(xsk_kick(&peers[i], &cause), 0);
            Xsk *const receiver = ours[generic ? 0 : i];
            expect(rig.await(receiver, 1), {round});
            assert_false(xsk_has_input(ours[generic ? 1 : 1 - i]));
            xsk_refill(receiver, 0);
            assert_int_equal(xsk_reclaim(&peers[i], back, 64), 1);
            assert_int_equal(back[0], id);
            umem_put(&peer_umem, id);
            assert_true(rig.send(round + i, 100, ours[i]));
            rig.drain(ours[i]);
            expect(rig.peer.receive(1), {round + i});
        }
    rig.check_frames({&rig.x, &second});
    // The one that registered the memory goes first; the other works on.
    xsk_close(&rig.x);
    rig.peer.send(1);
    assert_true(rig.send(9, 100, &second));
    rig.drain(&second);
    expect(rig.peer.receive(1), {9});
    xsk_close(&second);
    assert_int_equal(umem_out(&rig.umem, Pool::receive), 0);
    assert_int_equal(rig.umem.double_puts, 0);
    xsk_close(&peers[0]);
    xsk_close(&peers[1]);
    umem_close(&peer_umem);
}
TEST(two_queues_share_one_memory_in_driver_mode) { two_queues(false); }
TEST(two_queues_share_one_memory_in_generic_mode) { two_queues(true); }

TEST(busy_polling_carries_frames) {
    need();
    Rig rig(false, 1024, [](XskOptions *o, UmemOptions *) { o->busy_poll = true; });
    for (uint32_t i = 0; i < 100; i++) {
        rig.peer.send(i);
        expect(rig.await(&rig.x, 1), {i});
        xsk_refill(&rig.x, 0);
        assert_true(rig.send(i));
        rig.drain();
        expect(rig.peer.receive(1), {i});
    }
    assert_true(rig.x.counters.fill_kicks >= 100); // each refill drives the driver
    rig.check_frames({&rig.x});
}

// A private mapping would be copied when the process forks, and receive nothing from then on.
TEST(frames_arrive_after_a_fork) {
    need();
    Rig rig;
    Child child(rig.veth.here, [] {
        pause();
        return 0;
    });
    for (uint32_t i = 0; i < 100; i++) {
        memset(umem_frame(&rig.umem, i), 0, 1); // touched by us after the fork
        rig.peer.send(i);
        expect(rig.await(&rig.x, 1), {i});
        assert_true(rig.send(i));
        rig.drain();
        expect(rig.peer.receive(1), {i});
    }
}

// ---- the link goes ----

TEST(a_link_that_is_set_down_is_told_by_the_kick) {
    need();
    Rig rig;
    int cause = 0;
    assert_true(rig.send(1));
    rig.drain();
    rig.veth.here.run("ip link set xdp0 down");
    assert_true(rig.send(2));
    assert_int_equal(xsk_kick(&rig.x, &cause), WSXDP_E_XDP_LINK_DOWN);
    assert_int_equal(cause, ENETDOWN);
    xsk_refill(&rig.x, 0); // harmless
    rig.veth.here.run("ip link set xdp0 up");
    rig.drain(); // what was queued goes out once it is up again
    expect(rig.peer.receive(2), {1, 2});
    rig.peer.send(3);
    expect(rig.await(&rig.x, 1), {3});
    rig.check_frames({&rig.x});
}
TEST(without_a_carrier_frames_vanish_and_come_back) {
    need();
    Rig rig;
    int cause = 0;
    rig.veth.there.run("ip link set peer0 down");
    for (uint32_t i = 0; i < 100; i++) assert_true(rig.send(i));
    assert_int_equal(xsk_kick(&rig.x, &cause), 1);
    assert_true(rig.x.counters.kicks <= 3);
    assert_int_equal(cause, EBUSY);
    rig.drain();
    rig.veth.there.run("ip link set peer0 up");
    expect(rig.peer.receive(1, 50), {});
    assert_true(rig.send(7));
    rig.drain();
    expect(rig.peer.receive(1), {7});
    rig.check_frames({&rig.x});
}
TEST(a_deleted_interface_is_told_by_the_kick) {
    need();
    Rig rig;
    int cause = 0;
    assert_true(rig.send(1));
    rig.veth.here.run("ip link del xdp0");
    assert_int_equal(xsk_kick(&rig.x, &cause), WSXDP_E_XDP_LINK_DOWN);
    assert_int_equal(cause, ENXIO);
    XskDescriptor got[4];
    FrameId ids[4];
    xsk_refill(&rig.x, 0);
    assert_int_equal(xsk_receive(&rig.x, got, 4), 0);
    assert_int_equal(xsk_reclaim(&rig.x, ids, 4), 0);
    xsk_close(&rig.x);
    for (Pool pool : {Pool::receive, Pool::data}) assert_int_equal(umem_out(&rig.umem, pool), 0);
}

TEST(a_closed_socket_puts_back_each_frame_once) {
    need();
    Rig rig;
    const FrameId id = umem_take(&rig.umem, Pool::data);
    for (int i = 0; i < 3; i++) assert_true(xsk_send(&rig.x, id << rig.umem.frame_shift, frame_min));
    assert_true(rig.send(1));
    xsk_close(&rig.x);
    for (Pool pool : {Pool::receive, Pool::data}) assert_int_equal(umem_out(&rig.umem, pool), 0);
    assert_int_equal(rig.umem.double_puts, 0);
}
TEST(a_replaced_socket_tells_what_it_had_not_sent) {
    need();
    Rig rig;
    for (uint32_t i = 0; i < 5; i++) assert_true(rig.send(i)); // never kicked
    const FrameId first = rig.umem.pools[static_cast<unsigned>(Pool::data)].first;
    assert_true(xsk_send(&rig.x, first << rig.umem.frame_shift, frame_min)); // once more
    FrameId ids[4];
    assert_int_equal(xsk_stranded(&rig.x, ids, 4), 0); // not yet
    xsk_stop(&rig.x);
    assert_int_equal(xsk_reclaim(&rig.x, ids, 4), 0);
    assert_false(xsk_has_input(&rig.x));
    assert_int_equal(umem_out(&rig.umem, Pool::receive), 0);
    assert_int_equal(rig.x.in_fill, 0);
    assert_int_equal(xsk_stranded(&rig.x, ids, 4), 4);
    assert_int_equal(ids[0], first);
    assert_int_equal(ids[1], first);
    assert_int_equal(ids[2], first + 1);
    assert_int_equal(ids[3], first + 2);
    assert_int_equal(xsk_stranded(&rig.x, ids, 4), 2);
    assert_int_equal(ids[1], first + 4);
    assert_int_equal(xsk_stranded(&rig.x, ids, 4), 0);
    assert_null(rig.x.lent);                              // nothing that a new opening would leak
    assert_int_equal(umem_out(&rig.umem, Pool::data), 5); // still the caller's
    XskOptions options = small_options(rig.ifindex);
    const int code = open_patiently(&rig.x, &rig.umem, options, nullptr, &rig.error);
    if (code != 0) fail_msg("%s", rig.error.text);
    rig.redirect->set(0, rig.x.fd);
    xsk_refill(&rig.x, 0);
    for (FrameId id = first; id < first + 5; id++)
        assert_true(xsk_send(&rig.x, id << rig.umem.frame_shift, frame_min));
    rig.drain();
    expect(rig.peer.receive(5), numbers_from(0, 5));
    rig.peer.send(8);
    expect(rig.await(&rig.x, 1), {8});
    rig.check_frames({&rig.x});
}

TESTS("xsk")
