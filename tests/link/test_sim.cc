// SPDX-License-Identifier: MIT
// The simulated network's filters, each alone: how many it touches, which ones, when they arrive, what it
// leaves as it is, and that nothing is lost without being counted. Random ones are held to the band that
// their chance gives, with the run's seed.
#include "../support/pcap_file.h"
#include "sim_packets.h"
#include <algorithm>
#include <set>
#include <unistd.h>

using namespace simulated;

namespace {

constexpr Nanos ms = ns_per_ms;

// Sends `count` packets, a microsecond apart, and runs the timeline in between.
void feed_many(Stand *stand, SimFilter *filter, uint32_t count, Nanos gap = 1000) {
    Nanos now = start_at;
    for (uint32_t i = 0; i < count; i++, now += gap) {
        stand->run(now);
        give(filter, segment(i), now);
    }
    stand->run(never - 1);
}

void test_timeline_order(void **) {
    Stand stand;
    SimDelay a, b;
    SimDelayOptions options;
    options.fixed = 10;
    sim_delay_open(&a, options, stand.place);
    options.fixed = 5;
    sim_delay_open(&b, options, stand.place);
    assert_true(sim_timeline_deadline(stand.timeline) == never);
    give(&a, segment(0), 0); // at 10
    give(&a, segment(1), 1); // at 11
    give(&b, segment(2), 6); // at 11, put in later
    give(&b, segment(3), 5); // at 11 as well: after its predecessor
    give(&a, segment(4), 1); // at 11, the last of all
    assert_int_equal(sim_filter_deadline(a), 10);
    assert_int_equal(sim_filter_run(&a, 9), 0);
    assert_int_equal(sim_filter_run(&b, 10), 1); // the timeline's, whoever is asked
    assert_int_equal(stand.out.count(), 1);
    assert_int_equal(sim_timeline_run(&stand.timeline, 1000, 1), 1); // the limit holds
    assert_int_equal(sim_timeline_run(&stand.timeline, 1000), 3);
    assert_true(stand.out.numbers() == (std::vector<uint32_t>{0, 1, 2, 3, 4}));
    for (size_t i = 1; i < 5; i++) assert_int_equal(stand.out.arrivals[i].at, 11); // their own time, not 1000
    assert_true(sim_timeline_deadline(stand.timeline) == never);
}

// Against a stable sort: many packets, few different times.
void test_timeline_sorts(void **) {
    Stand stand(test_seed(), 1000);
    FixedRandom random;
    fixed_random_open(&random, test_seed());
    std::vector<std::pair<Nanos, uint32_t>> wanted;
    SimReorder filter;
    SimReorderOptions options;
    options.ppm = sim_ppm;
    sim_reorder_open(&filter, options, stand.place);
    for (uint32_t i = 0; i < 1000; i++) {
        const Nanos due = start_at + static_cast<Nanos>(random_below(&random, 40));
        wanted.push_back({due, i});
        give(&filter, segment(i), due);
    }
    std::stable_sort(wanted.begin(), wanted.end(),
                     [](const auto &a, const auto &b) { return a.first < b.first; });
    stand.run(start_at + 100);
    assert_int_equal(stand.out.count(), 1000);
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(stand.out.arrivals[i].at, wanted[i].first);
        assert_int_equal(number_of(stand.out.arrivals[i].bytes), wanted[i].second);
    }
}

void test_timeline_limits(void **) {
    Stand stand(1, 3, 120);
    SimDelay filter;
    sim_delay_open(&filter, SimDelayOptions(), stand.place);
    for (uint32_t i = 0; i < 5; i++) give(&filter, segment(i, 120), start_at);
    give(&filter, segment(9, 121), start_at);
    assert_int_equal(stand.timeline.refused_full, 2);
    assert_int_equal(stand.timeline.refused_large, 1);
    assert_int_equal(filter.count.refused, 3);
    assert_int_equal(stand.timeline.in_use, 3);
    stand.settle(filter, 6);
    assert_int_equal(stand.out.count(), 3);
    give(&filter, segment(10), start_at);
    sim_timeline_reset(&stand.timeline);
    assert_int_equal(stand.timeline.waiting + stand.timeline.in_use + stand.timeline.refused_full, 0);
    stand.run(never - 1);
    assert_int_equal(stand.out.count(), 3);
    give(&filter, std::string(), start_at); // an empty packet is one, too
    stand.run(never - 1);
    assert_int_equal(stand.out.count(), 4);

    SimTimelineOptions bad;
    SimTimeline timeline;
    bad.slots = 0;
    assert_int_equal(sim_timeline_open(&timeline, bad), WSXDP_E_INVALID);
    bad.slots = sim_slots_max + 1;
    assert_int_equal(sim_timeline_open(&timeline, bad), WSXDP_E_INVALID);
    bad = SimTimelineOptions();
    bad.packet_bytes = sim_packet_min - 1;
    assert_int_equal(sim_timeline_open(&timeline, bad), WSXDP_E_INVALID);
    bad.packet_bytes = sim_packet_max + 1;
    assert_int_equal(sim_timeline_open(&timeline, bad), WSXDP_E_INVALID);
    sim_timeline_close(&timeline);
}

void test_delay(void **) {
    Stand stand;
    SimDelay filter;
    SimDelayOptions options;
    sim_delay_open(&filter, options, stand.place);
    give(&filter, segment(0), start_at);
    assert_int_equal(stand.out.count(), 0); // not within accept, not even without delay
    stand.run(start_at);
    assert_int_equal(stand.out.arrivals.at(0).at, start_at);
    assert_true(stand.out.arrivals[0].bytes == segment(0));
    filter.options.fixed = 3 * ms;
    give(&filter, segment(1), start_at + 1);
    stand.run(start_at + 3 * ms);
    assert_int_equal(stand.out.count(), 1);
    stand.run(start_at + 3 * ms + 1);
    assert_int_equal(stand.out.arrivals.at(1).at, start_at + 3 * ms + 1);
    filter.options.fixed = never; // for ever, not a time long past
    give(&filter, segment(2), start_at + 2);
    assert_true(sim_filter_deadline(filter) == never);
    filter.options.fixed = -5;
    filter.last_due = INT64_MIN;
    give(&filter, segment(3), start_at + 3);
    assert_int_equal(sim_filter_deadline(filter), start_at + 3);
}

void check_jitter(bool overtake) {
    Stand stand;
    SimDelay filter;
    SimDelayOptions options;
    options.fixed = 1000;
    options.jitter = 10000;
    options.overtake = overtake;
    sim_delay_open(&filter, options, stand.place);
    feed_many(&stand, &filter, 5000);
    stand.settle(filter, 5000);
    assert_int_equal(stand.out.count(), 5000);
    Nanos least = never, most = 0, last = 0;
    size_t overtaken = 0;
    for (size_t i = 0; i < 5000; i++) {
        const Arrival &a = stand.out.arrivals[i];
        const uint32_t number = number_of(a.bytes);
        const Nanos took = a.at - (start_at + Nanos{number} * 1000);
        assert_in_range(took, 1000, 11000);
        least = std::min(least, took);
        most = std::max(most, took);
        assert_true(a.at >= last);
        last = a.at;
        overtaken += i > 0 && number < number_of(stand.out.arrivals[i - 1].bytes);
    }
    assert_true(least < (overtake ? 1100 : 4000)); // keeping the order makes short delays rare
    assert_true(most > 10900);
    if (overtake)
        assert_true(overtaken > 1000);
    else
        assert_int_equal(overtaken, 0);
}
void test_jitter(void **) {
    check_jitter(false);
    check_jitter(true);
}

void test_rate_exact(void **) {
    Stand stand;
    SimRate filter;
    SimRateOptions options;
    options.bits_per_s = 7000003; // a packet of 100 bytes takes no whole number of nanoseconds
    sim_rate_open(&filter, options, stand.place);
    for (uint32_t i = 0; i < 50; i++) give(&filter, segment(i), start_at);
    stand.run(never - 1);
    assert_int_equal(stand.out.count(), 50);
    for (uint64_t i = 0; i < 50; i++) { // rounded up once from the exact time, never summed up
        const uint64_t scaled = (i + 1) * 100 * 8 * 1000000000;
        const Nanos took = static_cast<Nanos>((scaled + options.bits_per_s - 1) / options.bits_per_s);
        assert_int_equal(stand.out.arrivals[i].at, start_at + took);
        assert_int_equal(number_of(stand.out.arrivals[i].bytes), i);
    }
    // An idle line begins anew: nothing is saved up, nothing is owed.
    give(&filter, segment(50), start_at + ns_per_s);
    stand.run(never - 1);
    assert_int_equal(stand.out.arrivals[50].at, start_at + ns_per_s + (800000000000 + 7000002) / 7000003);
    stand.settle(filter, 51);
    filter.options.bits_per_s = 0;
    give(&filter, segment(51), start_at + 2 * ns_per_s);
    assert_int_equal(stand.out.count(), 52); // at once
}

void test_queue_exact(void **) {
    Stand stand;
    SimRate filter;
    SimRateOptions options;
    options.bits_per_s = 8000000; // a byte each microsecond
    options.queue_bytes = 500;
    sim_rate_open(&filter, options, stand.place);
    for (uint32_t i = 0; i < 7; i++) give(&filter, segment(i), start_at);
    assert_int_equal(filter.count.dropped, 2);
    give(&filter, segment(7), start_at + 99999); // a nanosecond before there is room
    assert_int_equal(filter.count.dropped, 3);
    give(&filter, segment(8), start_at + 100000); // the timeline has not even run
    assert_int_equal(filter.count.dropped, 3);
    give(&filter, segment(9, 40), start_at + 139999);
    assert_int_equal(filter.count.dropped, 4);
    give(&filter, segment(10, 40), start_at + 140000);
    assert_int_equal(filter.count.dropped, 4);
    stand.settle(filter, 11);
    assert_true(stand.out.numbers() == (std::vector<uint32_t>{0, 1, 2, 3, 4, 8, 10}));
    assert_int_equal(stand.out.arrivals.back().at, start_at + 640000);
    // An idle line takes a packet whatever the limit; with no queue, that is all it takes.
    filter.options.queue_bytes = 0;
    give(&filter, segment(11, 1500), start_at + ns_per_s);
    give(&filter, segment(12, 40), start_at + ns_per_s);
    stand.settle(filter, 13);
    assert_int_equal(number_of(stand.out.arrivals.back().bytes), 11);
}

// A faster line while a long queue waits: full rather than overflown, and it goes on.
void test_rate_changed(void **) {
    Stand stand;
    SimRate filter;
    SimRateOptions options;
    options.bits_per_s = 3;
    options.queue_bytes = sim_queue_max * 2;
    sim_rate_open(&filter, options, stand.place);
    for (uint32_t i = 0; i < 10; i++) give(&filter, segment(i, 1500), start_at);
    filter.options.bits_per_s = 1000000000000000;
    give(&filter, segment(10), start_at);
    assert_int_equal(filter.count.dropped, 1);
    const Nanos done = start_at + 40000 * ns_per_s; // 10 * 1500 * 8 / 3 s
    stand.run(done - 1);
    assert_int_equal(stand.out.count(), 9);
    stand.run(done);
    assert_int_equal(stand.out.count(), 10);
    give(&filter, segment(11), done);
    stand.run(done + 1);
    assert_int_equal(stand.out.count(), 11);
}

void test_loss(void **) {
    for (uint32_t ppm : {0u, 300u, 50000u, 500000u, sim_ppm}) {
        Stand stand;
        SimLoss filter;
        SimLossOptions options;
        options.ppm = ppm;
        sim_loss_open(&filter, options, stand.place);
        feed_many(&stand, &filter, 20000);
        check_share(filter.count.dropped, 20000, ppm / 1e6);
        stand.settle(filter, 20000);
        assert_int_equal(stand.out.count(), 20000 - filter.count.dropped);
        for (const Arrival &a : stand.out.arrivals)
            assert_int_equal(a.at, start_at + Nanos{number_of(a.bytes)} * 1000);
    }
}

void test_burst(void **) {
    Stand stand;
    SimBurst filter;
    SimBurstOptions options;
    options.enter_ppm = 10000;
    options.leave_ppm = 250000; // four packets long
    sim_burst_open(&filter, options, stand.place);
    feed_many(&stand, &filter, 100000);
    stand.settle(filter, 100000);
    std::vector<bool> came(100000);
    for (uint32_t number : stand.out.numbers()) came[number] = true;
    size_t bursts = 0;
    for (size_t i = 0; i < 100000; i++) bursts += !came[i] && (i == 0 || came[i - 1]);
    const double length = static_cast<double>(filter.count.dropped) / static_cast<double>(bursts);
    assert_true(length > 3.5 && length < 4.5);
    check_share(bursts, 100000 - filter.count.dropped, 0.01);
    // Without loss inside, a burst is not seen.
    filter.options.loss_ppm = 0;
    const uint64_t before = filter.count.dropped;
    feed_many(&stand, &filter, 1000);
    assert_int_equal(filter.count.dropped, before);
}

bool drop_every_third(void *context, ByteView packet, uint64_t number, Nanos now) {
    assert_int_equal(number_of(str(packet)), number);
    assert_int_equal(now, start_at + static_cast<Nanos>(number) * 1000);
    ++*static_cast<int *>(context);
    return number % 3 == 0;
}
void test_chosen(void **) {
    Stand stand;
    SimChosen filter;
    SimChosenOptions options;
    options.dropped[0] = 5;
    options.dropped[1] = 0;
    options.dropped_count = 2;
    sim_chosen_open(&filter, options, stand.place);
    feed_many(&stand, &filter, 8);
    assert_true(stand.out.numbers() == (std::vector<uint32_t>{1, 2, 3, 4, 6, 7}));
    int asked = 0;
    options.drop = drop_every_third;
    options.context = &asked;
    stand.out.arrivals.clear();
    sim_chosen_open(&filter, options, stand.place);
    feed_many(&stand, &filter, 8);
    assert_true(stand.out.numbers() == (std::vector<uint32_t>{1, 2, 4, 7}));
    assert_int_equal(asked, 8);
    stand.settle(filter, 8);
}

void test_duplicate(void **) {
    for (Nanos delay : {Nanos{0}, Nanos{2500}}) {
        Stand stand;
        SimDuplicate filter;
        SimDuplicateOptions options;
        options.ppm = 100000;
        options.delay = delay;
        sim_duplicate_open(&filter, options, stand.place);
        feed_many(&stand, &filter, 10000);
        check_share(filter.count.altered, 10000, 0.1);
        stand.settle(filter, 10000, filter.count.altered);
        assert_int_equal(stand.out.count(), 10000 + filter.count.altered);
        std::vector<std::vector<Nanos>> times(10000);
        for (const Arrival &a : stand.out.arrivals) {
            assert_true(a.bytes == segment(number_of(a.bytes)));
            times[number_of(a.bytes)].push_back(a.at - start_at);
        }
        for (size_t i = 0; i < 10000; i++) {
            assert_in_range(times[i].size(), 1, 2);
            assert_int_equal(times[i][0], i * 1000);
            if (times[i].size() == 2) assert_int_equal(times[i][1], static_cast<Nanos>(i) * 1000 + delay);
        }
    }
}

void test_reorder(void **) {
    Stand stand;
    SimReorder filter;
    SimReorderOptions options;
    options.ppm = 50000;
    options.delay = 3500; // behind the three that follow
    sim_reorder_open(&filter, options, stand.place);
    feed_many(&stand, &filter, 10000);
    check_share(filter.count.altered, 10000, 0.05);
    stand.settle(filter, 10000);
    assert_int_equal(stand.out.count(), 10000);
    std::set<uint32_t> seen;
    uint64_t held = 0;
    for (const Arrival &a : stand.out.arrivals) {
        const Nanos took = a.at - start_at - Nanos{number_of(a.bytes)} * 1000;
        assert_true(took == 0 || took == 3500);
        held += took != 0;
        seen.insert(number_of(a.bytes));
    }
    assert_int_equal(held, filter.count.altered);
    assert_int_equal(seen.size(), 10000);
}

// Columns of 16-bit words in which two packets differ, and how many bits.
unsigned difference(const std::string &a, const std::string &b, size_t *first, unsigned *columns) {
    unsigned bits = 0;
    *columns = 0;
    *first = a.size();
    for (size_t i = a.size(); i-- > 0;)
        for (unsigned bit = 0; bit < 8; bit++)
            if (((a[i] ^ b[i]) >> bit & 1) != 0) {
                bits++;
                *columns |= 1u << (i % 2 * 8 + bit);
                *first = i;
            }
    return bits;
}

void check_corruption(uint8_t version, bool anywhere, bool undetected) {
    Stand stand;
    SimCorrupt filter;
    SimCorruptOptions options;
    options.ppm = 200000;
    options.anywhere = anywhere;
    options.undetected = undetected;
    sim_corrupt_open(&filter, options, stand.place);
    const size_t head = version == 4 ? 20 : 40;
    const bool v4 = version == 4;
    unsigned seen[4] = {}, in_head = 0, unnoticed = 0;
    for (uint32_t i = 0; i < 20000; i++) {
        const std::string sent =
            segment(i, 100, v4 ? address4(1) : address6(1), v4 ? address4(2) : address6(2));
        stand.out.arrivals.clear();
        give(&filter, sent, start_at);
        assert_int_equal(stand.out.count(), 1); // at once
        const std::string &got = stand.out.arrivals[0].bytes;
        assert_int_equal(got.size(), sent.size());
        size_t first;
        unsigned columns;
        const unsigned bits = difference(sent, got, &first, &columns);
        assert_in_range(bits, 0, 3);
        seen[bits]++;
        if (bits == 0) continue;
        in_head += first < head;
        if (!undetected) assert_int_equal(__builtin_popcount(columns), bits);
        Frame frame;
        if (!anywhere)
            unnoticed += packet_read(view(got), ChecksumPolicy::verify, &frame) == Wire::ok &&
                         frame.kind == FrameKind::tcp;
    }
    check_share(filter.count.altered, 20000, 0.2);
    assert_int_equal(seen[1] + seen[2] + seen[3], filter.count.altered);
    for (unsigned bits = 1; bits <= 3; bits++) check_share(seen[bits], filter.count.altered, 1 / 3.0);
    if (!anywhere) assert_int_equal(in_head, 0);
    if (anywhere) assert_true(in_head > 200);
    if (!anywhere && !undetected) assert_int_equal(unnoticed, 0);
    if (!anywhere && undetected) assert_true(unnoticed > 20);
    stand.settle(filter, 20000);
}
void test_corrupt(void **) {
    for (uint8_t version : {uint8_t{4}, uint8_t{6}})
        for (bool anywhere : {false, true})
            for (bool undetected : {false, true}) check_corruption(version, anywhere, undetected);
    // Nothing behind the addresses; and one byte, which has only so many bits.
    Stand stand;
    SimCorrupt filter;
    SimCorruptOptions options;
    options.ppm = sim_ppm;
    options.bits_max = 1000;
    sim_corrupt_open(&filter, options, stand.place);
    give(&filter, segment(1, 40).substr(0, 20), start_at);
    assert_true(stand.out.arrivals.at(0).bytes == segment(1, 40).substr(0, 20));
    filter.options.anywhere = true;
    for (int i = 0; i < 100; i++) give(&filter, "x", start_at);
    for (size_t i = 1; i <= 100; i++) assert_true(stand.out.arrivals.at(i).bytes != "x");
    stand.settle(filter, 101);
}

void test_flap(void **) {
    Stand stand;
    SimFlap filter;
    SimFlapOptions options;
    options.outages[0] = {2000, 4000};
    options.outages[1] = {7000, 7001};
    options.outage_count = 2;
    sim_flap_open(&filter, options, stand.place);
    give(&filter, segment(99), start_at - 1); // before it all
    feed_many(&stand, &filter, 10);
    assert_true(stand.out.numbers() == (std::vector<uint32_t>{99, 0, 1, 4, 5, 6, 8, 9}));
    stand.settle(filter, 11);

    filter.options = SimFlapOptions();
    filter.options.period = ms;
    filter.options.down = ms / 4;
    std::set<Nanos> places;
    for (Nanos period = 0; period < 50; period++) {
        Nanos first = never, last = 0, down = 0;
        for (Nanos at = 0; at < ms; at += 1000)
            if (sim_flap_is_down(filter, start_at + period * ms + at)) {
                first = std::min(first, at);
                last = at;
                down++;
            }
        assert_int_equal(down, 250); // once in each period, for a quarter of it
        assert_int_equal(last - first, 249000);
        places.insert(first);
    }
    assert_true(places.size() > 40); // and not always at the same place
    assert_false(sim_flap_is_down(filter, start_at - ms));
    filter.options.down = ms;
    assert_true(sim_flap_is_down(filter, start_at));
}

void test_dead(void **) {
    Stand stand;
    SimDead filter;
    SimDeadOptions options;
    options.from = 3000;
    sim_dead_open(&filter, options, stand.place);
    feed_many(&stand, &filter, 1000);
    assert_true(stand.out.numbers() == (std::vector<uint32_t>{0, 1, 2}));
    filter.options.until = 998000;
    feed_many(&stand, &filter, 1000);
    assert_int_equal(stand.out.count(), 8);
    assert_int_equal(number_of(stand.out.arrivals.back().bytes), 999);
    stand.settle(filter, 2000);
}

void test_capture(void **) {
    Stand stand;
    std::string file;
    PcapWriter writer;
    writer.context = &file;
    writer.write = [](void *context, ByteView bytes) { *static_cast<std::string *>(context) += str(bytes); };
    SimCapture filter;
    SimCaptureOptions options;
    options.writer = &writer;
    sim_capture_open(&filter, options, stand.place);
    feed_many(&stand, &filter, 20);
    give(&filter, segment(20, 1500), Nanos{5000000000} * ns_per_s); // no time that the format has
    stand.settle(filter, 21);
    assert_int_equal(writer.packets, 21);
    assert_int_equal(file.size(), 24 + 21 * 16 + 20 * 100 + 1500);
    std::vector<PcapPacket> packets;
    assert_true(pcap_parse(file, &packets));
    assert_int_equal(packets.size(), 21);
    for (uint32_t i = 0; i < 20; i++) {
        assert_int_equal(packets[i].at, start_at + Nanos{i} * 1000);
        assert_true(packets[i].bytes == segment(i));
    }
    assert_int_equal(packets[20].at, 0);
    assert_false(pcap_parse(file.substr(0, file.size() - 1), &packets));

    PcapWriter empty = writer;
    empty.begun = false;
    file.clear();
    pcap_begin(&empty);
    pcap_begin(&empty);
    assert_true(pcap_parse(file, &packets));
    assert_int_equal(packets.size(), 0);
    filter.options.writer = nullptr;
    give(&filter, segment(1), start_at);
    assert_int_equal(stand.out.count(), 22);
}

void test_pcap_file(void **) {
    char path[] = "/tmp/wsxdp-pcap-XXXXXX";
    const int fd = mkstemp(path);
    assert_true(fd >= 0);
    {
        PcapFile file(path);
        pcap_packet(&file.writer, view(segment(1)), start_at);
    }
    std::string bytes(1000, 0);
    const ssize_t got = read(fd, &bytes[0], bytes.size());
    close(fd);
    unlink(path);
    assert_int_equal(got, 24 + 16 + 100);
    std::vector<PcapPacket> packets;
    assert_true(pcap_parse(bytes.substr(0, static_cast<size_t>(got)), &packets));
    assert_true(packets.at(0).bytes == segment(1));
}

// In any order: two chains of the same filters, in opposite orders, lose nothing that they do not count.
void test_any_order(void **) {
    for (bool backwards : {false, true}) {
        Stand stand(test_seed(), 4096);
        SimLoss loss;
        SimReorder reorder;
        SimCorrupt corrupt;
        SimDuplicate duplicate;
        SimRate rate;
        SimDelay delay;
        SimLossOptions loss_options;
        loss_options.ppm = 20000;
        sim_loss_open(&loss, loss_options, stand.place);
        SimReorderOptions reorder_options;
        reorder_options.ppm = 20000;
        reorder_options.delay = 5000;
        sim_reorder_open(&reorder, reorder_options, stand.place);
        SimCorruptOptions corrupt_options;
        corrupt_options.ppm = 20000;
        sim_corrupt_open(&corrupt, corrupt_options, stand.place);
        SimDuplicateOptions duplicate_options;
        duplicate_options.ppm = 20000;
        sim_duplicate_open(&duplicate, duplicate_options, stand.place);
        SimRateOptions rate_options;
        rate_options.bits_per_s = 1000000000;
        sim_rate_open(&rate, rate_options, stand.place);
        SimDelayOptions delay_options;
        delay_options.fixed = 20000;
        sim_delay_open(&delay, delay_options, stand.place);
        std::vector<SimFilter *> chain = {&loss, &reorder, &corrupt, &duplicate, &rate, &delay};
        if (backwards) std::reverse(chain.begin(), chain.end());
        for (size_t i = 0; i + 1 < chain.size(); i++) chain[i]->next = chain[i + 1];
        feed_many(&stand, chain[0], 5000);
        uint64_t expected = 5000 + duplicate.count.altered;
        for (SimFilter *filter : chain) expected -= filter->count.dropped + filter->count.refused;
        assert_int_equal(stand.out.count(), expected);
        assert_true(loss.count.dropped > 0 && duplicate.count.altered > 0 && corrupt.count.altered > 0);
        assert_int_equal(stand.timeline.in_use, 0);
        assert_int_equal(stand.timeline.refused_full, 0);
    }
}

void test_seeds(void **) {
    std::set<uint64_t> seen;
    for (uint64_t seed = 0; seed < 100; seed++)
        for (uint64_t part = 0; part < 100; part++) seen.insert(sim_seed(seed, part));
    assert_int_equal(seen.size(), 10000);
    assert_true(sim_seed(1, 2) == sim_seed(1, 2));
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_timeline_order),
        cmocka_unit_test(test_timeline_sorts),
        cmocka_unit_test(test_timeline_limits),
        cmocka_unit_test(test_delay),
        cmocka_unit_test(test_jitter),
        cmocka_unit_test(test_rate_exact),
        cmocka_unit_test(test_queue_exact),
        cmocka_unit_test(test_rate_changed),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_burst),
        cmocka_unit_test(test_chosen),
        cmocka_unit_test(test_duplicate),
        cmocka_unit_test(test_reorder),
        cmocka_unit_test(test_corrupt),
        cmocka_unit_test(test_flap),
        cmocka_unit_test(test_dead),
        cmocka_unit_test(test_capture),
        cmocka_unit_test(test_pcap_file),
        cmocka_unit_test(test_any_order),
        cmocka_unit_test(test_seeds),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
