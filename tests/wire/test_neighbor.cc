// SPDX-License-Identifier: MIT
// ARP and Neighbor Discovery: requests and answers, probes, every truncation, each field wrong, options of
// every length, and what RFC 4861 section 7.1 wants refused.
#include "../../lib/wire/neighbor.h"
#include "packets.h"

using namespace wx;
using namespace packets;

namespace {

constexpr ChecksumPolicy verify = ChecksumPolicy::verify, trust = ChecksumPolicy::trust;
const Bytes mac = {0x02, 0x11, 0x22, 0x33, 0x44, 0x55};

Bytes arp(uint32_t operation, const Bytes &sender_mac, const Bytes &sender) {
    return be16(1) + be16(0x0800) + Bytes{6, 4} + be16(operation) + sender_mac + sender + Bytes(6, 0) +
           destination4;
}
Wire read_arp(const Bytes &bytes, NeighborNotice *out) {
    const Exact input(bytes);
    return arp_read(input.view(), out);
}

void arp_messages(void **) {
    for (uint32_t operation : {1u, 2u}) {
        const Bytes whole = arp(operation, mac, source4) + Bytes(18, 0); // and Ethernet's padding
        for (size_t size = 0; size <= whole.size(); size++) {
            NeighborNotice n;
            n.router = true;
            const Wire result = read_arp(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)), &n);
            same(result, size < 28 ? Wire::truncated : Wire::ok, "cut");
            if (result != Wire::ok) continue;
            assert_true(n.address == ip4_address(192, 0, 2, 1) && n.request == (operation == 1));
            assert_true(n.override_ && !n.router);
            assert_memory_equal(n.mac, mac.data(), 6);
        }
    }
}

void arp_refused(void **) {
    NeighborNotice n;
    for (size_t at = 0; at < 8; at++) { // each byte of the fixed part has one right value (the last one two)
        for (unsigned value = 0; value < 256; value++) {
            Bytes packet = arp(1, mac, source4);
            if (packet[at] == value || (at == 7 && value == 2)) continue;
            packet[at] = static_cast<uint8_t>(value);
            same(read_arp(packet, &n), Wire::unsupported, "fixed part");
        }
    }
    same(read_arp(arp(1, mac, {0, 0, 0, 0}), &n), Wire::unsupported, "probe");
    same(read_arp(arp(2, mac, {224, 0, 0, 1}), &n), Wire::bad_address, "multicast");
    same(read_arp(arp(2, mac, {255, 255, 255, 255}), &n), Wire::bad_address, "broadcast");
    same(read_arp(arp(2, Bytes(6, 0xFF), source4), &n), Wire::bad_address, "at broadcast");
    same(read_arp(arp(2, {1, 0, 0x5E, 0, 0, 1}, source4), &n), Wire::bad_address, "at a group");
    same(read_arp(arp(2, Bytes(6, 0), source4), &n), Wire::bad_address, "at nothing");
}

// ---- Neighbor Discovery ----

struct Ndp {
    uint8_t type = 136, code = 0, flags = 0x60, hops = 255;
    Bytes from = source6, to = destination6, target = {0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9};
    Bytes options = Bytes{2, 1} + mac;
    Bytes message() const {
        Bytes out = {type, code, 0, 0, flags, 0, 0, 0};
        out += type == 134 ? Bytes(8, 0) : target;
        out += options;
        put16(&out, 2, reference(pseudo6(from, to, 58, out.size()) + out));
        return out;
    }
    Bytes packet() const {
        Bytes out = ip6(58, message());
        out[7] = hops;
        std::copy(from.begin(), from.end(), out.begin() + 8);
        std::copy(to.begin(), to.end(), out.begin() + 24);
        return out;
    }
};

Wire read_packet(const Bytes &bytes, NeighborNotice *out, ChecksumPolicy policy = verify) {
    const Exact input(bytes);
    IpPacket packet;
    same(ip_read(input.view(), verify, &packet), Wire::ok, "outer header");
    return ndp_read(packet, policy, out);
}
Wire read_ndp(const Ndp &m, NeighborNotice *out) { return read_packet(m.packet(), out); }

void advertisements(void **) {
    for (unsigned flags = 0; flags < 256; flags++) {
        Ndp m;
        m.flags = static_cast<uint8_t>(flags);
        NeighborNotice n;
        same(read_ndp(m, &n), Wire::ok, "advertisement");
        assert_true(n.address == ip_address(m.target.data(), 6) && !n.request);
        assert_int_equal(n.router, (flags & 0x80) != 0);
        assert_int_equal(n.override_, (flags & 0x20) != 0);
        assert_memory_equal(n.mac, mac.data(), 6);
        m.to = {0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
        same(read_ndp(m, &n), (flags & 0x40) ? Wire::bad_address : Wire::ok, "solicited, but to all");
    }
}

void solicitations_and_routers(void **) {
    Ndp m;
    m.type = 135;
    m.flags = 0;
    m.options = Bytes{14, 1, 1, 2, 3, 4, 5, 6} + Bytes{1, 1} + mac; // a nonce in front
    NeighborNotice n;
    same(read_ndp(m, &n), Wire::ok, "solicitation");
    assert_true(n.address == ip_address(source6.data(), 6) && n.request && !n.router && n.override_);
    m.type = 134;
    same(read_ndp(m, &n), Wire::bad_address, "router that is not link-local");
    m.from = {0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3};
    same(read_ndp(m, &n), Wire::ok, "router");
    assert_true(n.address == ip_address(m.from.data(), 6) && !n.request && n.router && n.override_);
    assert_memory_equal(n.mac, mac.data(), 6);
}

void ndp_refused(void **) {
    NeighborNotice n;
    for (unsigned hops = 0; hops < 255; hops++) {
        Ndp m;
        m.hops = static_cast<uint8_t>(hops);
        same(read_ndp(m, &n), Wire::bad_address, "crossed a router");
    }
    for (unsigned type = 0; type < 256; type++) {
        if (type >= 134 && type <= 136) continue;
        Ndp m;
        m.type = static_cast<uint8_t>(type);
        same(read_ndp(m, &n), Wire::unsupported, "another type");
    }
    Ndp m;
    m.code = 1;
    same(read_ndp(m, &n), Wire::unsupported, "code");
    m = Ndp();
    m.target = {0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
    same(read_ndp(m, &n), Wire::bad_address, "multicast target");
    m.target = Bytes(16, 0);
    same(read_ndp(m, &n), Wire::bad_address, "no target");
    for (const Bytes &wrong : {Bytes(6, 0), Bytes(6, 0xFF), Bytes{0x33, 0x33, 0, 0, 0, 1}}) {
        m = Ndp();
        m.options = Bytes{2, 1} + wrong;
        same(read_ndp(m, &n), Wire::bad_address, "no station's MAC");
    }
    const Exact four(ip4(58, Ndp().message()));
    IpPacket packet;
    same(ip_read(four.view(), verify, &packet), Wire::ok, "IPv4");
    same(ndp_read(packet, trust, &n), Wire::unsupported, "in IPv4");
}

void ndp_options(void **) {
    NeighborNotice n;
    Ndp m;
    m.options = {};
    same(read_ndp(m, &n), Wire::unsupported, "no option");
    m.options = Bytes{1, 1} + mac; // the source's, which is not what an advertisement tells
    same(read_ndp(m, &n), Wire::unsupported, "the other option");
    m.options = Bytes{2, 1} + mac + Bytes{2, 1} + Bytes{2, 9, 9, 9, 9, 9};
    same(read_ndp(m, &n), Wire::ok, "twice");
    assert_int_equal(n.mac[1], 9);
    for (unsigned kind : {2u, 3u}) {
        for (unsigned length = 0; length < 256; length++) {
            m.options = Bytes{static_cast<uint8_t>(kind), static_cast<uint8_t>(length)} + Bytes(14, 0) +
                        Bytes{2, 1} + mac;
            const Wire wanted = length == 0                ? Wire::bad_option
                                : length > 3               ? Wire::truncated
                                : kind == 2 && length != 1 ? Wire::bad_option
                                : length == 2              ? Wire::ok
                                : length == 3 ? Wire::unsupported // it covers the one that is wanted
                                              : Wire::bad_option; // zeros follow: a length of 0
            same(read_ndp(m, &n), wanted, "option length");
        }
    }
}

void ndp_cut_and_damaged(void **) {
    NeighborNotice n;
    const Bytes whole = Ndp().message();
    for (size_t size = 0; size < whole.size(); size++) {
        Bytes packet = ip6(58, Bytes(whole.begin(), whole.begin() + static_cast<long>(size)));
        packet[7] = 255;
        const Wire result = read_packet(packet, &n, trust);
        same(result, size == 24 ? Wire::unsupported : Wire::truncated, "cut");
        if (size >= 24) same(read_packet(packet, &n), Wire::bad_checksum, "cut, verified");
    }
    for (size_t bit = 16; bit < whole.size() * 8; bit++) {
        Bytes packet = Ndp().packet();
        packet[40 + bit / 8] = static_cast<uint8_t>(packet[40 + bit / 8] ^ 1u << bit % 8);
        same(read_packet(packet, &n), Wire::bad_checksum, "one bit");
        if (bit < 32) same(read_packet(packet, &n, trust), Wire::ok, "trusted");
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(arp_messages),        cmocka_unit_test(arp_refused),
        cmocka_unit_test(advertisements),      cmocka_unit_test(solicitations_and_routers),
        cmocka_unit_test(ndp_refused),         cmocka_unit_test(ndp_options),
        cmocka_unit_test(ndp_cut_and_damaged),
    };
    return cmocka_run_group_tests_name("wire: neighbor", tests, nullptr, nullptr);
}
