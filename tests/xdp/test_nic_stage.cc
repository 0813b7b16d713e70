// SPDX-License-Identifier: MIT
// The nic stage and the transport's end of it, in one thread, step by step: nothing that one of them puts
// into a ring makes the other touch what it does not have, full rings lose nothing, every frame is somewhere,
// and who has little to say passes the bulk of others but never its own.
#include "../../lib/link/xdp/nic_port.h"
#include "../../lib/link/xdp/nic_stage.h"
#include "../../lib/tcp/parts.h"
#include "../base/registry.h"
#include "xsk_support.h"
#include <algorithm>

using namespace wx;
using namespace xsk_test;

namespace {

IpAddress ip4(const char *text) {
    IpAddress out;
    out.version = 4;
    assert_int_equal(inet_pton(AF_INET, text, out.bytes), 1);
    return out;
}
TcpTuple tuple_here() {
    TcpTuple tuple;
    tuple.local = ip4(netns::here4);
    tuple.remote = ip4(netns::there4);
    tuple.local_port = 40000;
    tuple.remote_port = 443;
    return tuple;
}

struct Stands {
    netns::Veth veth;
    netns::Inside inside;
    Peer peer;
    NicArea *area = static_cast<NicArea *>(aligned_alloc(alignof(NicArea), sizeof(NicArea)));
    BellWords bells[2] = {};
    WaitCounters counters[2];
    Clock clock;
    Poller poller;
    NicStage stage;
    NicPort port;
    XdpNic nic; // as the transport has it
    NicOptions options;
    ErrorText error;
    explicit Stands(uint32_t frames = 1024) : inside(veth.here), peer(veth) {
        memset(static_cast<void *>(area), 0, sizeof *area);
        memset(static_cast<void *>(counters), 0, sizeof counters);
        system_clock_open(&clock);
        assert_int_equal(poller_open(&poller, PollerKind::automatic, &error), 0);
        nic_stage_open(&stage, area, &poller);
        nic_port_open(&port, area);
        stage.transport.open(&bells[0], BellReach::process, &counters[0]);
        port.nic.open(&bells[1], BellReach::process, &counters[1]);
        options.ifindex = if_nametoindex("xdp0");
        strcpy(options.interface, "xdp0");
        options.mode = NicModeChoice::driver;
        options.umem.frames = frames;
        options.umem.hugepages = false;
    }
    ~Stands() {
        nic_port_drop(&port, &nic);
        nic_stage_close(&stage);
        poller_close(&poller);
        free(area);
    }
    Stands(const Stands &) = delete;
    Stands &operator=(const Stands &) = delete;

    bool step() { return nic_stage_step(&stage, clock.monotonic(clock.ticks()), clock); }
    void settle() {
        for (int quiet = 0; quiet < 3;) quiet = step() ? 0 : quiet + 1;
    }
    int take() { return nic_port_take(&port, &nic, options, &error); }
    void open() {
        const int64_t end = now_ms() + 5000;
        int status;
        while ((status = take()) == 0 && now_ms() < end) {
            step();
            usleep(500);
        }
        if (status != 1) fail_msg("%d %s", status, error.text);
        ErrorText refused;
        if (xdp_program_add(&nic.program, tuple_here(), FILTER_NO_VLAN, &refused) != 0)
            fail_msg("%s", refused.text);
    }
    // A packet to our tuple with this sequence number.
    void arrive(uint32_t number) const {
        uint8_t frame[200] = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0};
        TcpTuple back = tuple_here();
        std::swap(back.local, back.remote);
        std::swap(back.local_port, back.remote_port);
        TcpSegment segment;
        segment.seq = number;
        segment.flags = tcp_ack;
        const size_t size = tcp_write_packet(ByteSpan(frame + 14, sizeof frame - 14), back, segment);
        assert_true(size != 0);
        const ssize_t sent = ::send(peer.fd, frame, 14 + size, 0);
        if (sent != static_cast<ssize_t>(14 + size)) fail_msg("peer sends: %s", strerror(errno));
    }
    // Sequence numbers of what is in the inbox; the frames go back to the pool.
    std::vector<uint32_t> received() {
        std::vector<uint32_t> numbers;
        FrameSlot got[64];
        uint32_t count;
        while ((count = nic_port_receive(&port, &nic, got, 64)) != 0)
            for (uint32_t i = 0; i < count; i++) {
                numbers.push_back(load_be32(nic.umem.base + got[i].address + 14 + 20 + 4));
                umem_put(&nic.umem, umem_frame_of(&nic.umem, got[i].address));
            }
        return numbers;
    }
    FrameSlot slot(FrameId id, uint32_t number, size_t bytes = frame_min) {
        write_frame(umem_frame(&nic.umem, id), number, bytes);
        FrameSlot out;
        memset(static_cast<void *>(&out), 0, sizeof out);
        out.address = id << nic.umem.frame_shift;
        out.size = static_cast<uint32_t>(bytes);
        return out;
    }
    bool send(uint32_t number, NicLane lane, uint64_t *order, Pool pool = Pool::data) {
        const FrameId id = umem_take(&nic.umem, pool);
        assert_true(id != no_frame);
        if (nic_port_send(&port, &nic, slot(id, number), lane, order)) return true;
        umem_put(&nic.umem, id);
        return false;
    }
    // What was sent comes back to the pools.
    void reclaim() {
        FrameId done[64];
        uint32_t count;
        while ((count = nic_port_reclaim(&port, &nic, done, 64)) != 0)
            for (uint32_t i = 0; i < count; i++) umem_put(&nic.umem, done[i]);
    }
    // Every frame to receive into is with the nic, every other one free.
    void need_balance() {
        const int64_t end = now_ms() + 2000;
        do {
            settle();
            reclaim();
            assert_true(nic_port_give(&port, &nic, 1) || now_ms() < end);
        } while (nic.sockets[0].in_send != 0 && now_ms() < end);
        settle();
        const uint32_t receive = nic.umem.pools[0].count;
        assert_int_equal(nic.sockets[0].in_fill, receive);
        assert_int_equal(umem_out(&nic.umem, Pool::receive), receive);
        for (Pool pool : {Pool::ack, Pool::control, Pool::data})
            assert_int_equal(umem_out(&nic.umem, pool), 0);
        assert_int_equal(nic.umem.double_puts, 0);
        // The nic's own books: all of them in its pool or with the kernel.
        uint32_t in_fill = 0;
        for (uint32_t i = 0; i < stage.nic.socket_count; i++) {
            in_fill += stage.nic.sockets[i].in_fill;
            assert_int_equal(stage.nic.sockets[i].in_send, 0);
        }
        assert_int_equal(umem_out(&stage.nic.umem, Pool::receive), in_fill);
        assert_int_equal(std::count(stage.given, stage.given + stage.nic.umem.frame_count, true), 0);
        assert_int_equal(stage.nic.umem.double_puts, 0);
    }
    uint64_t stage_bad() const {
        uint64_t bad = stage.bad_descriptors;
        for (uint32_t i = 0; i < stage.nic.socket_count; i++)
            bad += stage.nic.sockets[i].counters.bad_descriptors;
        return bad;
    }
};

} // namespace

TEST(frames_go_both_ways) {
    netns::need();
    Stands s;
    s.open();
    assert_string_equal(nic_mode_text(s.nic.mode), "driver");
    for (uint32_t i = 0; i < 20; i++) s.arrive(1000 + i);
    s.settle();
    std::vector<uint32_t> numbers = s.received();
    assert_int_equal(numbers.size(), 20);
    for (uint32_t i = 0; i < 20; i++) assert_int_equal(numbers[i], 1000 + i);
    uint64_t order = 0;
    for (uint32_t i = 0; i < 20; i++) assert_true(s.send(i, NicLane::bulk, &order));
    nic_port_kick(&s.port);
    s.settle();
    numbers = s.peer.receive(20);
    assert_int_equal(numbers.size(), 20);
    for (uint32_t i = 0; i < 20; i++) assert_int_equal(numbers[i], i);
    s.need_balance();
    assert_int_equal(s.stage_bad() + s.port.bad_descriptors, 0);
}

TEST(the_interface_is_opened_again_and_again) {
    netns::need();
    Stands s;
    for (int i = 0; i < 5; i++) {
        s.open();
        s.arrive(7);
        s.settle(); // it stays in the inbox, and is nobody's when the interface is opened anew
        uint64_t order = 0;
        assert_true(s.send(1, NicLane::bulk, &order)); // this one leaves before it is closed
        nic_port_kick(&s.port);
        nic_port_drop(&s.port, &s.nic);
        assert_int_equal(static_cast<int>(s.nic.mode), static_cast<int>(NicMode::none));
        assert_int_equal(nic_port_receive(&s.port, &s.nic, nullptr, 0), 0);
    }
    s.settle();
    assert_int_equal(s.peer.receive(5, 100).size(), 5);
    s.open();
    s.need_balance();
    assert_int_equal(s.stage_bad() + s.port.bad_descriptors, 0);
}

TEST(a_refusal_is_told_and_another_interface_tried) {
    netns::need();
    Stands s;
    const uint32_t right = s.options.ifindex;
    s.options.queue = 3; // there is one
    assert_int_equal(s.take(), WSXDP_E_XDP_QUEUES);
    s.options.queue = nic_every_queue;
    s.options.ifindex = 4000;
    assert_int_equal(s.take(), 0);
    s.settle();
    assert_int_equal(s.take(), WSXDP_E_XDP_INTERFACE);
    assert_non_null(strstr(s.error.text, "4000"));
    // What was asked for, and then by nobody wanted any more, is closed again.
    s.options.ifindex = right;
    assert_int_equal(s.take(), 0);
    s.options.ifindex = 4000;
    s.settle();
    int status = 0;
    for (int i = 0; i < 100 && (status = s.take()) == 0; i++) s.settle();
    assert_int_equal(status, WSXDP_E_XDP_INTERFACE);
    assert_int_equal(static_cast<int>(s.stage.nic.mode), static_cast<int>(NicMode::none));
    s.options.ifindex = right;
    s.open();
    s.need_balance();
}

TEST(the_nic_believes_no_descriptor) {
    netns::need();
    Stands s;
    s.open();
    const uint64_t frame = s.nic.umem.frame_bytes, bytes = s.nic.umem.bytes;
    const uint64_t mine = uint64_t{s.nic.umem.pools[3].first} * frame;
    const struct {
        uint64_t address;
        uint32_t size;
        uint16_t socket;
    } bad[] = {{bytes, 60, 0},        {bytes + frame, 60, 0},
               {~uint64_t{0}, 60, 0}, {0, 60, 0},
               {frame, 60, 0},        {mine, 0, 0},
               {mine, UINT32_MAX, 0}, {mine + 1, static_cast<uint32_t>(frame), 0},
               {mine, 60, 1},         {mine, 60, 63},
               {mine, 60, UINT16_MAX}};
    uint64_t count = 0;
    for (RingProducer<FrameSlot> *ring : {&s.port.bulk, &s.port.acks, &s.port.control})
        for (const auto &row : bad) {
            FrameSlot slot;
            memset(static_cast<void *>(&slot), 0, sizeof slot);
            slot.address = row.address, slot.size = row.size, slot.socket = row.socket;
            assert_true(ring->push(slot));
            s.settle();
            assert_int_equal(s.stage_bad(), ++count);
        }
    // Frames that are given back without having been received, more than once, or are none.
    const uint32_t numbers[] = {0, 5, s.nic.umem.pools[3].first, s.nic.umem.frame_count, UINT32_MAX};
    for (uint32_t number : numbers) {
        assert_true(s.port.freed.push({number, 0, 0, 0}));
        s.settle();
        assert_int_equal(s.stage_bad(), ++count);
    }
    s.arrive(1);
    s.settle();
    FrameSlot got;
    assert_int_equal(nic_port_receive(&s.port, &s.nic, &got, 1), 1);
    const FrameId id = umem_frame_of(&s.nic.umem, got.address);
    umem_put(&s.nic.umem, id);
    assert_true(nic_port_give(&s.port, &s.nic, 1));
    assert_true(s.port.freed.push({static_cast<uint32_t>(id), 0, 0, 0}));
    s.settle();
    assert_int_equal(s.stage_bad(), ++count);
    // All the rest goes on.
    uint64_t order = 0;
    assert_true(s.send(77, NicLane::bulk, &order));
    nic_port_kick(&s.port);
    s.settle();
    assert_true(s.peer.receive(1) == std::vector<uint32_t>{77});
    s.need_balance();
    assert_true(nic_stage_intact(&s.stage) && nic_port_intact(&s.port));
}

TEST(the_transport_believes_no_descriptor) {
    netns::need();
    Stands s;
    s.open();
    const uint64_t frame = s.nic.umem.frame_bytes, bytes = s.nic.umem.bytes;
    auto put = [&s](uint64_t address, uint32_t size, uint16_t socket) {
        FrameSlot slot;
        memset(static_cast<void *>(&slot), 0, sizeof slot);
        slot.address = address, slot.size = size, slot.socket = socket;
        assert_true(s.stage.inbox.push(slot));
        FrameSlot got[4];
        return nic_port_receive(&s.port, &s.nic, got, 4);
    };
    // Not in the memory, of a pool that nothing is received into: nothing is known of them.
    const uint64_t no_address[] = {bytes, ~uint64_t{0}, uint64_t{s.nic.umem.pools[1].first} * frame,
                                   uint64_t{s.nic.umem.pools[3].first} * frame};
    uint64_t bad = 0;
    for (uint64_t address : no_address) {
        assert_int_equal(put(address, 60, 0), 0);
        assert_int_equal(s.port.bad_descriptors, ++bad);
    }
    assert_int_equal(s.nic.sockets[0].in_fill, s.nic.umem.pools[0].count);
    // A frame of the right pool, and a length or socket that cannot be: the frame is ours, the packet
    // nobody's.
    assert_int_equal(put(0, 0, 0), 0);
    assert_int_equal(put(frame + 256, static_cast<uint32_t>(frame), 0), 0);
    assert_int_equal(put(2 * frame, 60, 9), 0);
    assert_int_equal(put(3 * frame, 60, 0), 1);
    assert_int_equal(put(3 * frame, 60, 0), 0); // we have it
    assert_int_equal(s.port.bad_descriptors, bad + 4);
    assert_int_equal(umem_out(&s.nic.umem, Pool::receive), s.nic.umem.pools[0].count - 3);
    // Completions of what was not sent, or is done, or cannot be.
    const FrameId id = umem_take(&s.nic.umem, Pool::data);
    uint64_t order = 0;
    assert_true(nic_port_send(&s.port, &s.nic, s.slot(id, 1), NicLane::bulk, &order));
    const FrameBack wrong[] = {
        {static_cast<uint32_t>(id) + 1, 0, 0, 0}, {0, 0, 0, 0},
        {s.nic.umem.frame_count, 0, 0, 0},        {UINT32_MAX, 0, 0, 0},
        {static_cast<uint32_t>(id), 1, 0, 0},     {static_cast<uint32_t>(id), UINT16_MAX, 0, 0}};
    FrameId done[4];
    bad = s.port.bad_descriptors;
    for (const FrameBack &back : wrong) {
        assert_true(s.stage.completed.push(back));
        assert_int_equal(nic_port_reclaim(&s.port, &s.nic, done, 4), 0);
        assert_int_equal(s.port.bad_descriptors, ++bad);
    }
    assert_true(s.stage.completed.push({static_cast<uint32_t>(id), 0, 0, 0}));
    assert_true(s.stage.completed.push({static_cast<uint32_t>(id), 0, 0, 0}));
    assert_int_equal(nic_port_reclaim(&s.port, &s.nic, done, 4), 1);
    assert_int_equal(done[0], id);
    assert_int_equal(s.port.bad_descriptors, bad + 1);
    assert_int_equal(s.nic.umem.double_puts, 0);
}

TEST(positions_that_cannot_be_are_seen) {
    netns::need();
    Stands s;
    s.open();
    s.area->bulk.words.tail.store(1 << 20);
    s.area->completed.words.head.store(99);
    s.settle();
    assert_false(nic_stage_intact(&s.stage));
    s.area->inbox.words.tail.store(~uint64_t{0});
    FrameSlot got;
    assert_int_equal(nic_port_receive(&s.port, &s.nic, &got, 1), 0);
    assert_false(nic_port_intact(&s.port));
}

TEST(a_full_inbox_loses_nothing) {
    netns::need();
    Stands s(8192);
    s.open();
    // As many as the inbox takes, and some that the kernel keeps.
    constexpr uint32_t count = nic_inbox_slots + 1000;
    for (uint32_t i = 0; i < count; i++) {
        s.arrive(i);
        if (i % 64 == 0) s.settle();
    }
    s.settle();
    assert_int_equal(s.stage.inbox.room(nic_inbox_slots), 0);
    assert_true(s.stage.full);
    assert_true(nic_stage_deadline(&s.stage) != never); // nobody will ring
    std::vector<uint32_t> numbers;
    for (int i = 0; i < 10 && numbers.size() < count; i++) {
        const std::vector<uint32_t> more = s.received();
        numbers.insert(numbers.end(), more.begin(), more.end());
        (void)nic_port_give(&s.port, &s.nic, 1);
        s.settle();
    }
    assert_int_equal(numbers.size(), count);
    for (uint32_t i = 0; i < count; i++) assert_int_equal(numbers[i], i);
    s.need_balance();
}

TEST(full_ways_out_refuse_and_lose_nothing) {
    netns::need();
    Stands s(16384);
    s.open();
    uint64_t order = 0, none = 0;
    uint32_t sent = 0;
    while (s.send(sent, NicLane::bulk, &order)) sent++;
    assert_int_equal(sent, nic_bulk_slots);
    // Those of others still leave, in their own rings, until these are full.
    uint32_t small = 0;
    while (s.send(100000 + small, NicLane::control, &none, Pool::control)) small++;
    assert_int_equal(small, nic_control_slots);
    while (s.send(100000 + small, NicLane::acks, &none, Pool::ack)) small++;
    assert_int_equal(small, nic_control_slots + nic_ack_slots);
    nic_port_kick(&s.port);
    std::vector<uint32_t> numbers;
    for (int i = 0; i < 100 && numbers.size() < sent + small; i++) {
        s.settle();
        const std::vector<uint32_t> more = s.peer.receive(sent + small - numbers.size(), 20);
        numbers.insert(numbers.end(), more.begin(), more.end());
        s.reclaim();
    }
    assert_int_equal(numbers.size(), sent + small);
    // The small ones first, each kind in its order.
    for (uint32_t i = 0; i < small; i++) assert_int_equal(numbers[i], 100000 + i);
    for (uint32_t i = 0; i < sent; i++) assert_int_equal(numbers[small + i], i);
    s.need_balance();
}

TEST(no_room_for_completions_keeps_them_in_the_kernel) {
    netns::need();
    Stands s(32768);
    s.open();
    uint64_t order = 0;
    uint32_t sent = 0;
    // More than the way back has room for; nobody takes any.
    for (; sent < nic_back_slots + 1000; sent++) {
        if (!s.send(sent, NicLane::bulk, &order)) {
            nic_port_kick(&s.port);
            s.settle();
            (void)s.peer.receive(nic_bulk_slots, 0);
            assert_true(s.send(sent, NicLane::bulk, &order));
        }
    }
    nic_port_kick(&s.port);
    s.settle();
    assert_int_equal(s.stage.completed.room(nic_back_slots), 0);
    s.need_balance();
    assert_int_equal(s.nic.sockets[0].counters.completed, sent);
}

TEST(nothing_passes_its_own_data_but_an_acknowledgement) {
    netns::need();
    Stands s;
    s.open();
    uint64_t one = 0, other = 0;
    assert_true(s.send(1, NicLane::bulk, &one));
    assert_true(s.send(2, NicLane::bulk, &one));
    assert_true(s.send(3, NicLane::control, &one));    // behind 1 and 2
    assert_true(s.send(10, NicLane::control, &other)); // before them: another's
    assert_true(s.send(4, NicLane::acks, &one));       // before them, too
    nic_port_kick(&s.port);
    s.settle();
    assert_true(s.peer.receive(5) == (std::vector<uint32_t>{10, 4, 1, 2, 3}));
    // Once they have left, the short way is free, and what comes after it stays after it.
    assert_true(s.send(5, NicLane::control, &one));
    assert_true(s.send(6, NicLane::bulk, &one));
    assert_int_equal(s.port.control.tail - s.port.control.published_tail, 1);
    nic_port_kick(&s.port);
    s.settle();
    assert_true(s.peer.receive(2) == (std::vector<uint32_t>{5, 6}));
    s.need_balance();
}

TEST(a_sleeping_nic_is_woken) {
    netns::need();
    Stands s;
    BellSleeper sleeper;
    sleeper.open(&s.bells[1], bell_order(BellReach::process), &s.counters[1]);
    s.port.nic.fd = s.poller.event_fd;
    auto lies_down = [&] {
        sleeper.announce();
        assert_false(nic_stage_has_input(&s.stage));
        poller_clear(&s.poller);
    };
    auto woken = [&] {
        PollerEvent none[1];
        poller_expect(&s.poller);
        (void)poller_wait(&s.poller, none, 1, 0);
        const bool rung = s.counters[1].rings.load() != 0;
        s.counters[1].rings.store(0);
        sleeper.cancel();
        return rung;
    };
    lies_down();
    assert_int_equal(s.take(), 0); // a request
    assert_true(woken() && nic_stage_has_input(&s.stage));
    s.open();
    woken();
    s.settle();
    uint64_t order = 0;
    for (NicLane lane : {NicLane::control, NicLane::acks, NicLane::bulk}) {
        lies_down();
        assert_true(s.send(1, lane, &order));
        nic_port_kick(&s.port);
        assert_true(woken() && nic_stage_has_input(&s.stage));
        s.settle();
    }
    s.arrive(1);
    s.settle();
    assert_int_equal(s.received().size(), 1);
    lies_down();
    assert_true(nic_port_give(&s.port, &s.nic, 1));
    assert_true(woken() && nic_stage_has_input(&s.stage));
    s.need_balance();
}

TESTS("nic stage")
