// SPDX-License-Identifier: MIT
// The router of the simulated network: which packets are too large and when, what its ICMP messages say when
// the library's own reader reads them with every checksum verified, and to what it does not answer.
#include "sim_packets.h"

using namespace simulated;

namespace {

struct Router : Stand {
    Collector back;
    SimMtu filter;
    explicit Router(const SimMtuOptions &options) { sim_mtu_open(&filter, options, &back, place); }
};

SimMtuOptions with_mtu(uint32_t mtu) {
    SimMtuOptions options;
    options.mtu = mtu;
    return options;
}

std::string sent_by(uint8_t version, uint32_t number, size_t size) {
    return version == 4 ? segment(number, size) : segment(number, size, address6(1), address6(2));
}

void check_message(const std::string &message, const std::string &about, uint32_t mtu,
                   const IpAddress &router) {
    IpPacket ip;
    IcmpError icmp;
    assert_int_equal(ip_read(view(message), ChecksumPolicy::verify, &ip), Wire::ok);
    assert_int_equal(icmp_read(ip, ChecksumPolicy::verify, &icmp), Wire::ok);
    assert_true(ip.source_address() == router);
    const bool version4 = ip.version == 4;
    assert_true(ip.destination_address() == (version4 ? address4(1) : address6(1)));
    assert_int_equal(icmp.kind, IcmpKind::packet_too_big);
    assert_int_equal(icmp.mtu, mtu);
    assert_int_equal(icmp.quoted_size, about.size());
    assert_int_equal(icmp.source_port, 1000);
    assert_int_equal(icmp.destination_port, 443);
    assert_int_equal(icmp.seq, number_of(about));
    assert_true(icmp.quoted.destination_address() == (version4 ? address4(2) : address6(2)));
    const size_t head = version4 ? 28 : 48;
    assert_true(message.size() > head && message.substr(head) == about.substr(0, message.size() - head));
}

void test_too_big(void **) {
    const uint8_t doc[16] = {0x20, 0x01, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    for (uint8_t version : {uint8_t{4}, uint8_t{6}}) {
        SimMtuOptions options = with_mtu(1300);
        Router router(options);
        give(&router.filter, sent_by(version, 1, 1300), start_at);
        assert_int_equal(router.out.count(), 1);
        assert_int_equal(router.back.count(), 0);
        const std::string large = sent_by(version, 2, 1301);
        give(&router.filter, large, start_at + 5);
        assert_int_equal(router.out.count(), 1);
        assert_int_equal(router.back.count(), 1);
        assert_int_equal(router.back.arrivals[0].at, start_at + 5);
        const std::string message = router.back.arrivals[0].bytes;
        const IpAddress from = version == 4 ? ip4_address(192, 0, 2, 1) : ip_address(doc, 6);
        check_message(message, large, 1300, from);
        assert_int_equal(message.size(), version == 4 ? 576 : 1280);

        router.filter.options.quote_bytes_max = 0; // header and 8 bytes all the same
        router.filter.options.router4 = address4(77);
        router.filter.options.router6 = address6(77);
        give(&router.filter, large, start_at + 6);
        check_message(router.back.arrivals.at(1).bytes, large, 1300,
                      version == 4 ? address4(77) : address6(77));
        assert_int_equal(router.back.arrivals[1].bytes.size(), version == 4 ? 28 + 28 : 48 + 48);
        router.filter.options.mtu_unsaid = true;
        give(&router.filter, large, start_at + 7);
        check_message(router.back.arrivals.at(2).bytes, large, version == 4 ? 0 : 1300,
                      version == 4 ? address4(77) : address6(77));
        assert_int_equal(router.filter.count.altered, 3);
        router.settle(router.filter, 4);
    }
}

void test_small_quote(void **) { // a packet shorter than what could be quoted is quoted whole
    Router router(with_mtu(100));
    give(&router.filter, segment(3, 101), start_at);
    check_message(router.back.arrivals.at(0).bytes, segment(3, 101), 100, ip4_address(192, 0, 2, 1));
    assert_int_equal(router.back.arrivals[0].bytes.size(), 28 + 101);
}

void test_shrinking(void **) {
    SimMtuOptions options;
    options.shrink_at = 1000;
    options.shrink_to = 1280;
    Router router(options);
    give(&router.filter, segment(0, 1500), start_at + 999);
    assert_int_equal(router.out.count(), 1); // no limit until then
    give(&router.filter, segment(1, 1500), start_at + 1000);
    give(&router.filter, segment(2, 1280), start_at + 1000);
    assert_int_equal(router.out.count(), 2);
    assert_int_equal(router.back.count(), 1);
    router.filter.options.shrink_to = 0; // a limit that ends
    router.filter.options.mtu = 1000;
    give(&router.filter, segment(3, 1500), start_at + 1000);
    assert_int_equal(router.out.count(), 3);
    give(&router.filter, segment(4, 1500), start_at);
    assert_int_equal(router.out.count(), 3);
    router.settle(router.filter, 5);
}

void test_interval_and_silence(void **) {
    SimMtuOptions options = with_mtu(600);
    options.icmp_interval = 1000;
    Router router(options);
    for (Nanos at = 0; at < 5000; at += 250) give(&router.filter, segment(1, 700), start_at + at);
    assert_int_equal(router.back.count(), 5);
    for (size_t i = 0; i < 5; i++)
        assert_int_equal(router.back.arrivals[i].at, start_at + static_cast<Nanos>(i) * 1000);
    router.filter.options.silent = true;
    give(&router.filter, segment(1, 700), start_at + 100000);
    router.filter.options.silent = false;
    router.filter.back = nullptr;
    give(&router.filter, segment(1, 700), start_at + 100000);
    assert_int_equal(router.back.count(), 5);
    assert_int_equal(router.out.count(), 0);
    router.settle(router.filter, 22);
}

std::string changed(std::string packet, size_t at, unsigned value) {
    packet[at] = static_cast<char>(value);
    return packet;
}

// The rules of RFC 1122 section 3.2.2 and RFC 4443 section 2.4, each by a packet that differs in one field.
void test_not_answered(void **) {
    const std::string v4 = segment(1, 1400), v6 = sent_by(6, 1, 1400);
    uint8_t out[1500];
    const SimMtuOptions options;
    auto answered = [&](const std::string &packet) {
        return sim_mtu_answer(options, 1300, view(packet), ByteSpan(out, sizeof out)) != 0;
    };
    assert_true(answered(v4) && answered(v6));
    assert_false(answered(changed(v4, 6, 0)));    // may be fragmented
    assert_false(answered(changed(v4, 7, 1)));    // a later fragment
    assert_false(answered(changed(v4, 12, 224))); // from a multicast address
    assert_false(answered(changed(v4, 16, 224))); // to one
    assert_true(answered(changed(v6, 24, 0xFF))); // IPv6 allows that
    assert_false(answered(changed(v6, 8, 0xFF))); // not the source, though
    assert_false(answered(changed(v4, 0, 0x55))); // no version
    assert_false(answered(v4.substr(0, 19)));
    assert_false(answered(v6.substr(0, 39)));
    assert_false(answered(""));
    const std::string icmp4 = changed(v4, 9, ip_icmp), icmp6 = changed(v6, 6, ip_icmp6);
    for (unsigned type : {3u, 4u, 5u, 11u, 12u}) assert_false(answered(changed(icmp4, 20, type)));
    for (unsigned type : {0u, 8u, 13u}) assert_true(answered(changed(icmp4, 20, type))); // echo is no error
    for (unsigned type : {1u, 2u, 3u, 4u, 127u, 137u}) assert_false(answered(changed(icmp6, 40, type)));
    for (unsigned type : {128u, 129u}) assert_true(answered(changed(icmp6, 40, type)));
    for (size_t room = 0; room < 576; room++) // never more than there is room for
        assert_int_equal(sim_mtu_answer(options, 1300, view(v4), ByteSpan(out, room)), 0);
    assert_int_equal(sim_mtu_answer(options, 1300, view(v4), ByteSpan(out, 576)), 576);
    // Two routers with tiny MTUs on both ways do not answer each other's messages.
    Router there(with_mtu(100));
    Router here(with_mtu(100));
    there.filter.back = &here.filter;
    here.filter.back = &there.filter;
    give(&there.filter, v4, start_at);
    assert_int_equal(there.filter.count.taken + here.filter.count.taken, 2);
    assert_int_equal(here.filter.count.dropped, 1);
}

// Whatever arrives: garbage never makes a message that is larger than allowed, or a crash.
void test_garbage(void **) {
    FixedRandom random;
    fixed_random_open(&random, test_seed());
    for (int round = 0; round < 20000; round++) {
        std::string packet = round % 2 ? segment(1, 60) : sent_by(6, 1, 80);
        packet.resize(random_below(&random, packet.size() + 1));
        for (uint64_t flips = random_below(&random, 5); flips > 0 && !packet.empty(); flips--)
            packet[random_below(&random, packet.size())] = static_cast<char>(random_u32(&random));
        Router router(with_mtu(1));
        give(&router.filter, packet, start_at);
        if (router.back.count() == 0) continue;
        IpPacket ip;
        assert_int_equal(ip_read(view(router.back.arrivals[0].bytes), ChecksumPolicy::verify, &ip), Wire::ok);
        assert_true(router.back.arrivals[0].bytes.size() <= 48 + packet.size());
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_too_big),      cmocka_unit_test(test_small_quote),
        cmocka_unit_test(test_shrinking),    cmocka_unit_test(test_interval_and_silence),
        cmocka_unit_test(test_not_answered), cmocka_unit_test(test_garbage),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
