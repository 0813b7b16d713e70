// SPDX-License-Identifier: MIT
// Paths and networks: everything off changes nothing, the same seed gives the same packets and times byte for
// byte, another seed others, ends are found by address, ICMP comes back, healing heals, reset begins anew,
// and memory is taken at open only. The kinds of paths are drawn many times and each must do what its name
// says.
#include "../../lib/base/alloc.h"
#include "../support/pcap_file.h"
#include "sim_packets.h"
#include <algorithm>
#include <memory>
#include <set>

using namespace simulated;

namespace {

constexpr Nanos ms = ns_per_ms;

struct Net {
    SimNetwork network;
    std::vector<std::unique_ptr<Collector>> ends;
    explicit Net(unsigned count = 2, uint64_t seed = test_seed(), uint32_t slots = 2048) {
        SimNetworkOptions options;
        options.ends = count;
        options.seed = seed;
        options.start = start_at;
        options.timeline.slots = slots;
        assert_int_equal(sim_network_open(&network, options), WSXDP_OK);
        for (unsigned i = 0; i < count; i++) {
            ends.emplace_back(std::make_unique<Collector>());
            sim_network_attach(&network, i, ends.back().get());
        }
    }
    ~Net() { sim_network_close(&network); }
    Net(const Net &) = delete;
    Net &operator=(const Net &) = delete;
    SimPath &path(unsigned from, unsigned to) { return *sim_network_path(&network, from, to); }
    void send(unsigned from, const std::string &packet, Nanos now) {
        sim_network_send(&network, from, view(packet), now);
    }
    void run(Nanos now) { sim_network_run(&network, now); }
};

// Both directions, sizes and gaps from the seed, so that nothing is regular.
void converse(Net *net, uint32_t packets, uint64_t seed, Nanos step_max) {
    FixedRandom random;
    fixed_random_open(&random, seed);
    Nanos now = start_at;
    for (uint32_t i = 0; i < packets; i++) {
        now += static_cast<Nanos>(random_below(&random, static_cast<uint64_t>(step_max)));
        while (sim_network_deadline(net->network) <= now) net->run(sim_network_deadline(net->network));
        const size_t size = random_below(&random, 3) ? 40 + random_below(&random, 1461) : 40;
        const unsigned from = random_u32(&random) & 1;
        net->send(from, segment(i, size, address4(from ? 2 : 1), address4(from ? 1 : 2)), now);
    }
    net->run(never - 1);
    assert_int_equal(net->network.timeline.in_use, 0);
    assert_int_equal(net->network.timeline.refused_full, 0);
}

bool same(const Net &a, const Net &b) {
    return a.ends[0]->arrivals == b.ends[0]->arrivals && a.ends[1]->arrivals == b.ends[1]->arrivals;
}

void test_perfect(void **) {
    Net net;
    for (uint32_t i = 0; i < 100; i++) {
        net.send(0, segment(i), start_at + i);
        assert_int_equal(net.ends[1]->count(), i); // never within send
        net.run(start_at + i);
        assert_true(net.ends[1]->arrivals.at(i) == (Arrival{start_at + i, segment(i)}));
    }
    PacketSink *entrance = sim_network_entrance(&net.network, 1);
    give(entrance, "anything at all",
         start_at + 200); // two ends without addresses: packets are not looked at
    net.run(start_at + 200);
    assert_true(net.ends[0]->arrivals.at(0).bytes == "anything at all");
    assert_int_equal(net.network.end[0].delivered, 1);
    assert_int_equal(net.network.end[1].delivered, 100);
    assert_ptr_equal(net.path(0, 1).head, &net.path(0, 1).delay);
}

void test_deterministic(void **) {
    for (unsigned kind = 0; kind < static_cast<unsigned>(SimKind::count); kind++) {
        SimPathOptions there, back;
        sim_path_draw(&there, static_cast<SimKind>(kind), test_seed());
        sim_path_draw(&back, static_cast<SimKind>(kind), test_seed() + 1);
        const SimKind k = static_cast<SimKind>(kind);
        // Long enough for several periods of a link that goes down now and then, and to outlive a death.
        const bool slow =
            k == SimKind::flapping || k == SimKind::dying_and_healing || k == SimKind::everything;
        const Nanos step = slow ? 40 * ms : ms / 2;
        Net first, second, other(2, test_seed() + 1000);
        for (Net *net : {&first, &second, &other}) {
            sim_path_set(&net->path(0, 1), there);
            sim_path_set(&net->path(1, 0), back);
            converse(net, 2000, 42, step);
        }
        assert_true(first.ends[0]->count() > 0 && first.ends[1]->count() > 0);
        assert_true(same(first, second));
        const bool random = k != SimKind::perfect && k != SimKind::narrow && k != SimKind::shrinking_mtu &&
                            k != SimKind::black_hole && k != SimKind::dying_and_healing;
        if (same(first, other) == random) fail_msg("%s: another seed, %d", sim_kind_text(k), random);
        // And after a reset: the memory of the last run is not seen.
        for (auto &end : first.ends) end->arrivals.clear();
        sim_network_reset(&first.network, test_seed() + 1000, start_at);
        converse(&first, 2000, 42, step);
        assert_true(same(first, other));
    }
}

// One step to the end of time, or thousands: the same packets at the same times.
void test_steps_do_not_matter(void **) {
    SimPathOptions options;
    sim_path_draw(&options, SimKind::everything, test_seed());
    Net coarse, fine;
    for (Net *net : {&coarse, &fine}) {
        sim_path_set(&net->path(0, 1), options);
        for (uint32_t i = 0; i < 500; i++) net->send(0, segment(i, 1000), start_at + Nanos{i} * 1000);
    }
    coarse.run(start_at + 1000 * ns_per_s);
    for (Nanos now = start_at; fine.network.timeline.waiting != 0; now += 77777) fine.run(now);
    assert_true(coarse.ends[1]->count() > 0);
    assert_true(same(coarse, fine));
}

// Turning one impairment on leaves another's choices alone.
void test_independent(void **) {
    auto lost = [](uint32_t others) { // which packets loss took: asked of it alone, by its neighbour in front
        Net net;
        SimPathOptions options;
        options.loss.ppm = 100000;
        options.duplicate.ppm = options.corrupt.ppm = options.reorder.ppm = others;
        options.delay.jitter = others;
        options.mtu.mtu = 1400;
        sim_path_set(&net.path(0, 1), options);
        std::vector<uint64_t> dropped;
        for (uint32_t i = 0; i < 1000; i++) {
            net.send(0, segment(i, 40), start_at);
            dropped.push_back(net.path(0, 1).loss.count.dropped);
        }
        net.run(never - 1);
        return dropped;
    };
    assert_true(lost(0).back() > 0);
    assert_true(lost(0) == lost(300000));
    Net net;
    std::set<uint64_t> states; // no two generators begin alike
    for (SimPath *path : {&net.path(0, 1), &net.path(1, 0)})
        for (SimFilter *filter : std::initializer_list<SimFilter *>{
                 &path->flap, &path->chosen, &path->mtu, &path->loss, &path->burst, &path->rate,
                 &path->corrupt, &path->duplicate, &path->reorder, &path->delay})
            states.insert(filter->random.state);
    assert_int_equal(states.size(), 20);
}

void test_reset(void **) {
    Net net;
    SimPathOptions options;
    options.rate.bits_per_s = 1000;
    options.delay.fixed = ms;
    sim_path_set(&net.path(0, 1), options);
    net.send(0, segment(1), start_at);
    net.send(0, segment(1).substr(0, 5), start_at);
    net.send(7, segment(1), start_at);
    sim_network_reset(&net.network, 5, 1000); // also back in time
    assert_true(sim_network_deadline(net.network) == never);
    assert_int_equal(net.network.unroutable, 0);
    assert_int_equal(net.path(0, 1).rate.count.taken, 0);
    net.send(0, segment(2, 100), 1000);
    net.run(never - 1);
    assert_int_equal(net.ends[1]->count(), 1); // what was under way is forgotten; the options are not
    assert_true(net.ends[1]->arrivals[0] == (Arrival{1000 + 800 * ms + ms, segment(2, 100)}));
}

void test_order_of_filters(void **) {
    Net net;
    SimPathOptions options;
    options.dead.from = 0;
    options.flap.outage_count = 1;
    options.chosen.dropped_count = 1;
    options.mtu.mtu = 1400;
    options.loss.ppm = 1;
    options.burst.enter_ppm = 1;
    options.rate.bits_per_s = 1;
    options.corrupt.ppm = 1;
    options.duplicate.ppm = 1;
    options.reorder.ppm = 1;
    PcapWriter writer;
    options.capture_entry = options.capture_exit = &writer;
    SimPath &path = net.path(0, 1);
    sim_path_set(&path, options);
    PacketSink *order[] = {&path.capture_entry, &path.dead,      &path.flap,    &path.chosen,
                           &path.mtu,           &path.loss,      &path.burst,   &path.rate,
                           &path.corrupt,       &path.duplicate, &path.reorder, &path.delay,
                           &path.capture_exit};
    PacketSink *at = path.head;
    for (PacketSink *filter : order) {
        assert_ptr_equal(at, filter);
        at = static_cast<SimFilter *>(filter)->next;
    }
    assert_ptr_equal(at, &net.network.end[1]);
    const SimPathOptions read = sim_path_options(path); // what was set is what is there
    assert_true(read.capture_entry == &writer && read.capture_exit == &writer && read.dead.from == 0);
    assert_true(read.flap.outage_count == 1 && read.chosen.dropped_count == 1 && read.mtu.mtu == 1400);
    assert_true(read.loss.ppm == 1 && read.burst.enter_ppm == 1 && read.rate.bits_per_s == 1);
    assert_true(read.corrupt.ppm == 1 && read.duplicate.ppm == 1 && read.reorder.ppm == 1);
    // One that is off is not on the way.
    options.mtu.mtu = 0;
    sim_path_set(&path, options);
    assert_ptr_equal(path.chosen.next, &path.loss);
}

void test_many_ends(void **) {
    Net net(5);
    for (unsigned i = 0; i < 5; i++) {
        assert_true(sim_network_address(&net.network, i, address4(static_cast<uint8_t>(i + 1))));
        assert_true(sim_network_address(&net.network, i, address6(static_cast<uint8_t>(i + 1))));
    }
    assert_true(sim_network_address(&net.network, 3, address4(4)));   // has it already
    assert_false(sim_network_address(&net.network, 3, address4(3)));  // another's
    assert_false(sim_network_address(&net.network, 5, address4(99))); // no such end
    assert_false(sim_network_address(&net.network, 0, IpAddress()));
    assert_true(sim_network_address(&net.network, 0, address4(201)));
    assert_true(sim_network_address(&net.network, 0, address4(202)));
    assert_false(sim_network_address(&net.network, 0, address4(203))); // sim_addresses_max
    SimPathOptions slow;
    slow.delay.fixed = 5 * ms;
    sim_path_set(&net.path(2, 4), slow);
    uint32_t number = 0;
    for (uint8_t from = 0; from < 5; from++)
        for (uint8_t to = 0; to < 5; to++) {
            const uint8_t a = static_cast<uint8_t>(from + 1), b = static_cast<uint8_t>(to + 1);
            net.send(from, segment(number++, 100, address4(a), address4(b)), start_at);
            net.send(from, segment(number++, 100, address6(a), address6(b)), start_at);
        }
    assert_int_equal(net.network.unroutable, 10); // to themselves
    net.run(start_at);
    for (unsigned i = 0; i < 5; i++) assert_int_equal(net.ends[i]->count(), i == 4 ? 6 : 8);
    net.run(start_at + 5 * ms);
    assert_int_equal(net.ends[4]->count(), 8);
    for (unsigned i = 0; i < 5; i++)
        for (const Arrival &a : net.ends[i]->arrivals) assert_int_equal(number_of(a.bytes) % 10 / 2, i);
    assert_int_equal(net.ends[4]->arrivals[7].at, start_at + 5 * ms);

    net.send(0, segment(1, 100, address4(1), address4(77)), start_at); // nobody
    net.send(0, segment(1, 100).substr(0, 19), start_at);
    net.send(0, "", start_at);
    net.send(9, segment(1, 100), start_at); // from nowhere
    assert_int_equal(net.network.unroutable, 14);
    sim_network_attach(&net.network, 1, nullptr);
    sim_network_attach(&net.network, 9, nullptr); // no such end: nothing happens
    net.send(0, segment(1, 100), start_at + 6 * ms);
    net.run(start_at + 6 * ms);
    assert_int_equal(net.network.unattached, 1);
    assert_null(sim_network_path(&net.network, 1, 1));
    assert_null(sim_network_path(&net.network, 0, 5));
    assert_null(sim_network_path(&net.network, 5, 0));
    std::set<SimPath *> all;
    for (unsigned from = 0; from < 5; from++)
        for (unsigned to = 0; to < 5; to++)
            if (from != to) all.insert(&net.path(from, to));
    assert_int_equal(all.size(), 20);
}

void test_too_big_comes_back(void **) {
    Net net;
    SimPathOptions options;
    options.mtu.mtu = 1300;
    options.delay.fixed = 3 * ms;
    sim_path_set(&net.path(0, 1), options);
    options = SimPathOptions();
    options.delay.fixed = 2 * ms;
    sim_path_set(&net.path(1, 0), options);
    net.send(0, segment(7, 1400), start_at);
    net.send(1, segment(8, 1400), start_at);
    net.run(start_at + 2 * ms);
    assert_int_equal(net.ends[0]->count(), 2);
    Frame frame;
    assert_int_equal(packet_read(view(net.ends[0]->arrivals[0].bytes), ChecksumPolicy::verify, &frame),
                     Wire::ok);
    assert_int_equal(frame.kind, FrameKind::icmp_error);
    assert_int_equal(frame.icmp.mtu, 1300);
    assert_int_equal(frame.icmp.seq, 7);
    assert_int_equal(net.ends[0]->arrivals[0].at, start_at + 2 * ms);
    net.run(never - 1);
    assert_int_equal(net.ends[1]->count(), 0);
}

void test_heal(void **) {
    Net net;
    SimPathOptions options;
    sim_path_draw(&options, SimKind::everything, test_seed());
    options.dead.from = 0; // nothing at all gets through
    options.delay.fixed = 4 * ms;
    options.delay.jitter = 0;
    options.rate.bits_per_s = 8000000000;
    std::string file;
    PcapWriter writer;
    writer.context = &file;
    writer.write = [](void *context, ByteView bytes) { *static_cast<std::string *>(context) += str(bytes); };
    options.capture_entry = &writer;
    sim_path_set(&net.path(0, 1), options);
    for (uint32_t i = 0; i < 100; i++) net.send(0, segment(i), start_at + i);
    net.run(start_at + ms);
    assert_int_equal(net.ends[1]->count(), 0);
    sim_network_heal(&net.network);
    for (uint32_t i = 0; i < 1000; i++) net.send(0, segment(i, 1500), start_at + ns_per_s + Nanos{i} * 1500);
    net.run(never - 1);
    assert_int_equal(net.ends[1]->count(), 1000);
    for (uint32_t i = 0; i < 1000; i++) { // whole, once, in order; delay and rate are still there
        const Arrival &a = net.ends[1]->arrivals[i];
        assert_true(a.bytes == segment(i, 1500));
        assert_int_equal(a.at, start_at + ns_per_s + Nanos{i} * 1500 + 1500 + 4 * ms);
    }
    assert_int_equal(writer.packets, 1100); // and so is the capture
}

// What a filter held when it was turned off still arrives.
void test_heal_releases(void **) {
    Net net;
    SimPathOptions options;
    options.reorder.ppm = sim_ppm;
    options.reorder.delay = 10 * ms;
    options.delay.overtake = true;
    sim_path_set(&net.path(0, 1), options);
    net.send(0, segment(1), start_at);
    sim_path_heal(&net.path(0, 1));
    assert_ptr_equal(net.path(0, 1).head, &net.path(0, 1).delay);
    assert_false(net.path(0, 1).delay.options.overtake);
    net.send(0, segment(2), start_at + ms);
    net.run(never - 1);
    assert_true(net.ends[1]->numbers() == (std::vector<uint32_t>{2, 1}));
    assert_int_equal(net.ends[1]->arrivals[1].at, start_at + 10 * ms);
}

void test_capture_both_ways(void **) {
    Net net;
    std::string file;
    PcapWriter writer;
    writer.context = &file;
    writer.write = [](void *context, ByteView bytes) { *static_cast<std::string *>(context) += str(bytes); };
    SimPathOptions there, back;
    there.delay.fixed = back.delay.fixed = ms;
    there.capture_entry = back.capture_exit = &writer; // what end 0 would see
    sim_path_set(&net.path(0, 1), there);
    sim_path_set(&net.path(1, 0), back);
    net.send(0, segment(1), start_at);
    net.send(1, segment(2), start_at);
    net.run(start_at + ms);
    std::vector<PcapPacket> packets;
    assert_true(pcap_parse(file, &packets));
    assert_int_equal(packets.size(), 2);
    assert_true(packets[0].at == start_at && packets[0].bytes == segment(1));
    assert_true(packets[1].at == start_at + ms && packets[1].bytes == segment(2));
}

// Two ends that answer at once over a path without delay: each run ends, and nothing nests.
struct Echo : PacketSink {
    SimNetwork *network;
    unsigned end;
    unsigned depth = 0, deepest = 0;
    Echo(SimNetwork *n, unsigned e) : network(n), end(e) {
        accept = [](PacketSink *self, ByteView packet, Nanos now) {
            Echo *echo = static_cast<Echo *>(self);
            echo->deepest = std::max(echo->deepest, ++echo->depth);
            sim_network_send(echo->network, echo->end, packet, now);
            echo->depth--;
        };
    }
};
void test_endless_answers(void **) {
    SimNetworkOptions options;
    options.run_packets_max = 1000;
    SimNetwork network;
    assert_int_equal(sim_network_open(&network, options), WSXDP_OK);
    Echo a(&network, 0), b(&network, 1);
    sim_network_attach(&network, 0, &a);
    sim_network_attach(&network, 1, &b);
    sim_network_send(&network, 0, view(segment(1)), start_at);
    assert_int_equal(sim_network_run(&network, start_at), 1000);
    assert_int_equal(network.end[0].delivered + network.end[1].delivered, 1000);
    assert_int_equal(a.deepest, 1);
    assert_int_equal(network.timeline.in_use, 1);
    sim_network_close(&network);
    sim_network_close(&network);
}

void test_open_fails(void **) {
    SimNetwork network;
    SimNetworkOptions options;
    for (unsigned ends : {0u, 1u, sim_ends_max + 1}) {
        options.ends = ends;
        assert_int_equal(sim_network_open(&network, options), WSXDP_E_INVALID);
        sim_network_close(&network);
    }
    options = SimNetworkOptions();
    options.run_packets_max = 0;
    assert_int_equal(sim_network_open(&network, options), WSXDP_E_INVALID);
    options = SimNetworkOptions();
    options.timeline.slots = 0;
    assert_int_equal(sim_network_open(&network, options), WSXDP_E_INVALID);
    options = SimNetworkOptions();
    int failures = 0;
    for (int64_t count = 0; failures == count;
         count++) { // every request of open in turn; LeakSanitizer looks on
        allocation_fail_after(count);
        const int status = sim_network_open(&network, options);
        allocation_fail_after(-1);
        if (status == WSXDP_OK) break;
        assert_int_equal(status, WSXDP_E_MEMORY);
        failures++;
    }
    assert_int_equal(failures, 3);
    sim_network_close(&network);
}

void test_no_heap_after_open(void **) {
    struct Count : PacketSink {
        uint64_t packets = 0;
    } sink;
    sink.accept = [](PacketSink *self, ByteView, Nanos) { static_cast<Count *>(self)->packets++; };
    SimNetwork network;
    assert_int_equal(sim_network_open(&network, SimNetworkOptions()), WSXDP_OK);
    const uint64_t before = allocation_count();
    sim_network_attach(&network, 1, &sink);
    const std::string packet = segment(1, 1000);
    for (unsigned kind = 0; kind < static_cast<unsigned>(SimKind::count); kind++) {
        SimPathOptions options;
        sim_path_draw(&options, static_cast<SimKind>(kind), kind);
        sim_path_set(sim_network_path(&network, 0, 1), options);
        sim_network_reset(&network, kind, start_at);
        for (Nanos i = 0; i < 1000; i++) {
            sim_network_send(&network, 0, view(packet), start_at + i * ms);
            sim_network_run(&network, start_at + i * ms);
        }
        sim_network_heal(&network);
    }
    assert_int_equal(allocation_count(), before);
    assert_true(sink.packets > 5000);
    sim_network_close(&network);
}

// ---- kinds ----
struct Seen { // over many draws of a kind
    uint64_t sent = 0, got = 0, corrupted = 0, reordered = 0, twice = 0, large = 0, icmp = 0;
};

void observe(SimKind kind, uint64_t seed, Net *net, Seen *seen) {
    SimPathOptions options;
    sim_path_draw(&options, kind, seed);
    for (auto &end : net->ends) end->arrivals.clear();
    sim_path_set(&net->path(0, 1), options);
    sim_network_reset(&net->network, seed, start_at);
    const uint32_t count = 400;
    for (uint32_t i = 0; i < count; i++) {
        // Four seconds, four packets at a time: close enough for all delays to reorder.
        const Nanos now = start_at + Nanos{i / 4} * 40 * ms + Nanos{i % 4} * 20000;
        net->run(now);
        net->send(0, segment(i, i % 2 ? 1500 : 1280), now);
    }
    net->run(never - 1);
    assert_int_equal(net->network.timeline.in_use, 0);
    std::set<uint32_t> numbers;
    uint32_t last = 0;
    for (const Arrival &a : net->ends[1]->arrivals) {
        const uint32_t number = number_of(a.bytes);
        if (number >= count || a.bytes != segment(number, number % 2 ? 1500 : 1280)) {
            seen->corrupted++;
            continue;
        }
        seen->twice += !numbers.insert(number).second;
        seen->reordered += number < last;
        last = std::max(last, number);
        seen->large += a.bytes.size() == 1500;
    }
    seen->icmp += net->ends[0]->count();
    seen->sent += count;
    seen->got += numbers.size();
}

void test_kinds(void **) {
    Net net;
    for (unsigned k = 0; k < static_cast<unsigned>(SimKind::count); k++) {
        const SimKind kind = static_cast<SimKind>(k);
        Seen seen;
        for (uint64_t seed = 0; seed < 60; seed++) observe(kind, test_seed() * 1000 + seed, &net, &seen);
        auto is = [kind](std::initializer_list<SimKind> kinds) {
            return std::find(kinds.begin(), kinds.end(), kind) != kinds.end() || kind == SimKind::everything;
        };
        const bool loses = is({SimKind::lossy, SimKind::bursty, SimKind::narrow, SimKind::shrinking_mtu,
                               SimKind::black_hole, SimKind::flapping, SimKind::dying_and_healing});
        const bool fine = (seen.got + seen.corrupted < seen.sent) == loses &&
                          (seen.corrupted > 0) == is({SimKind::corrupting}) &&
                          (seen.twice > 0) == is({SimKind::duplicating}) &&
                          (seen.reordered > 0) == is({SimKind::reordering, SimKind::duplicating}) &&
                          (seen.large > 0) == (kind != SimKind::black_hole) &&
                          (seen.icmp > 0) == is({SimKind::shrinking_mtu}) && seen.got > seen.sent / 10;
        if (!fine)
            fail_msg(
                "%s, seed %llu: sent %llu got %llu corrupted %llu twice %llu reordered %llu large %llu",
                sim_kind_text(kind), static_cast<unsigned long long>(test_seed()),
                static_cast<unsigned long long>(seen.sent), static_cast<unsigned long long>(seen.got),
                static_cast<unsigned long long>(seen.corrupted), static_cast<unsigned long long>(seen.twice),
                static_cast<unsigned long long>(seen.reordered), static_cast<unsigned long long>(seen.large));
    }
}

void test_kind_names(void **) {
    std::set<std::string> names;
    for (unsigned k = 0; k < static_cast<unsigned>(SimKind::count); k++)
        names.insert(sim_kind_text(static_cast<SimKind>(k)));
    assert_int_equal(names.size(), static_cast<size_t>(SimKind::count));
    assert_string_equal(sim_kind_text(SimKind::shrinking_mtu), "shrinking-mtu");
    assert_string_equal(sim_kind_text(SimKind::everything), "everything");
    assert_string_equal(sim_kind_text(SimKind::count), "unknown");
    SimPathOptions options;
    options.loss.ppm = 5;
    sim_path_draw(&options, SimKind::count, 1); // no kind: all off
    assert_int_equal(options.loss.ppm, 0);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_perfect),
        cmocka_unit_test(test_deterministic),
        cmocka_unit_test(test_steps_do_not_matter),
        cmocka_unit_test(test_independent),
        cmocka_unit_test(test_reset),
        cmocka_unit_test(test_order_of_filters),
        cmocka_unit_test(test_many_ends),
        cmocka_unit_test(test_too_big_comes_back),
        cmocka_unit_test(test_heal),
        cmocka_unit_test(test_heal_releases),
        cmocka_unit_test(test_capture_both_ways),
        cmocka_unit_test(test_endless_answers),
        cmocka_unit_test(test_open_fails),
        cmocka_unit_test(test_no_heap_after_open),
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_kind_names),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
