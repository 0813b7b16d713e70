// SPDX-License-Identifier: MIT
// Whole frames: TCP and ICMP errors over both versions with and without a tag, cut at every byte, what is
// neither, a result that is used again, and random damage against what the single readers say.
#include "../../lib/wire/frame.h"
#include "packets.h"

using namespace wx;
using namespace packets;

namespace {

constexpr ChecksumPolicy verify = ChecksumPolicy::verify, trust = ChecksumPolicy::trust;
const Bytes macs = {2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2};

Bytes ethernet(int version, int vlan, const Bytes &packet) {
    return macs + (vlan < 0 ? Bytes() : be16(0x8100) + be16(static_cast<uint32_t>(vlan))) +
           be16(version == 4 ? 0x0800 : 0x86DD) + packet;
}
Bytes icmp_packet(int version, uint8_t type, uint8_t code) {
    Bytes out = Bytes{type, code, 0, 0} + be32(0x500) + tcp_packet(version, Bytes(30, 1));
    if (version == 6) return ip6(58, checked(6, 58, out, 2));
    put16(&out, 2, reference(out));
    return ip4(1, out);
}

Wire read(const Bytes &bytes, Frame *out, ChecksumPolicy policy = verify) {
    const Exact input(bytes);
    const Wire result = frame_read(input.view(), policy, out);
    if (result == Wire::ok) {
        assert_true(inside(out->ip.payload, input.view()));
        if (out->kind == FrameKind::tcp) assert_true(inside(out->tcp.payload, out->ip.payload));
        if (out->kind == FrameKind::icmp_error)
            assert_true(inside(out->icmp.quoted.payload, out->ip.payload));
    }
    return result;
}

void segments(void **) {
    for (int version : {4, 6}) {
        for (int vlan : {-1, 0, 77}) {
            const Bytes packet = tcp_packet(version, Bytes(256, 5)), whole = ethernet(version, vlan, packet);
            Frame f;
            for (const Bytes &padding : {Bytes(), Bytes(20, 0), Bytes(7, 0xEE)}) {
                same(read(whole + padding, &f), Wire::ok, "segment");
                assert_true(f.kind == FrameKind::tcp && f.vlan == (vlan < 0 ? no_vlan : vlan) &&
                            f.ip.version == version);
                assert_true(f.tcp.seq == 0x01020304 && f.tcp.payload.size == 256 &&
                            f.tcp.options.ts_value == 0x1234);
            }
            for (size_t size = 0; size < whole.size(); size++) {
                const Bytes cut(whole.begin(), whole.begin() + static_cast<long>(size));
                same(read(cut, &f), Wire::truncated, "cut");
                same(read(cut, &f, trust), Wire::truncated, "cut");
            }
            Bytes damaged = whole;
            damaged.back() = static_cast<uint8_t>(damaged.back() ^ 4);
            same(read(damaged, &f), Wire::bad_checksum, "damaged");
            same(read(damaged, &f, trust), Wire::ok, "damaged, trusted");
            const Exact bare(packet);
            f.vlan = 5;
            same(packet_read(bare.view(), verify, &f), Wire::ok, "without Ethernet");
            assert_true(f.kind == FrameKind::tcp && f.vlan == no_vlan && f.tcp.payload.size == 256);
        }
    }
}

void refused_below_ip(void **) {
    Frame f;
    const Bytes packet = tcp_packet(4, Bytes(9, 1));
    same(read(ethernet(6, -1, packet), &f), Wire::bad_version, "IPv4 that is called IPv6");
    same(read(ethernet(4, -1, tcp_packet(6, {})), &f), Wire::bad_version, "IPv6 that is called IPv4");
    same(read(macs + be16(0x0806) + Bytes(28, 0), &f), Wire::unsupported, "ARP");
    same(read(macs + be16(0x8100) + be16(1) + be16(0x8100) + be16(2) + be16(0x0800) + packet, &f),
         Wire::unsupported, "two tags");
    same(read(macs + be16(0x88CC) + Bytes(60, 0), &f), Wire::unsupported, "LLDP");
    same(read(macs + be16(60) + Bytes(60, 0), &f), Wire::unsupported, "802.3");
    Bytes fragment = packet;
    put16(&fragment, 6, 0x2000);
    check4(&fragment);
    same(read(ethernet(4, -1, fragment), &f), Wire::fragment, "fragment");
}

void errors_and_others(void **) {
    // One result for all of them, as a link has it: nothing of an earlier frame may show.
    Frame f;
    for (int round = 0; round < 2; round++) {
        for (int version : {4, 6}) {
            same(read(ethernet(version, 3, tcp_packet(version, Bytes(1, 1))), &f), Wire::ok, "segment");
            assert_true(f.kind == FrameKind::tcp && f.tcp.options.has_timestamps);
            same(read(ethernet(version, -1, tcp_packet(version, Bytes(1, 1), {})), &f), Wire::ok,
                 "no options");
            assert_true(f.kind == FrameKind::tcp && !f.tcp.options.has_timestamps && f.vlan == no_vlan);
            same(read(ethernet(version, -1, icmp_packet(version, version == 4 ? 3 : 2, version == 4 ? 4 : 0)),
                      &f),
                 Wire::ok, "too big");
            assert_true(f.kind == FrameKind::icmp_error && f.icmp.kind == IcmpKind::packet_too_big);
            assert_true(f.icmp.mtu == 0x500 && f.icmp.source_port == 40000 && f.ip.version == version);
            same(read(ethernet(version, -1, icmp_packet(version, version == 4 ? 8 : 128, 0)), &f), Wire::ok,
                 "echo");
            assert_true(f.kind == FrameKind::other && f.ip.protocol == (version == 4 ? 1 : 58));
            same(read(ethernet(version, -1, icmp_packet(version, version == 4 ? 3 : 1, 1)), &f), Wire::ok,
                 "host");
            assert_true(f.kind == FrameKind::icmp_error && f.icmp.mtu == 0);
            for (uint8_t protocol : {uint8_t{17}, uint8_t{50}, static_cast<uint8_t>(version == 4 ? 58 : 1)}) {
                same(read(ethernet(version, -1, ip(version, protocol, Bytes(30, 3))), &f), Wire::ok, "other");
                assert_true(f.kind == FrameKind::other && f.ip.protocol == protocol);
            }
        }
    }
    Bytes bad = icmp_packet(4, 3, 1);
    bad[23] = static_cast<uint8_t>(bad[23] ^ 1);
    same(read(ethernet(4, -1, bad), &f), Wire::bad_checksum, "ICMP checksum");
    same(read(ethernet(4, -1, ip4(6, Bytes(19, 0))), &f), Wire::truncated, "19 bytes of TCP");
}

// Any damage: the same answer, step by step.
Wire step_by_step(ByteView bytes, ChecksumPolicy policy) {
    EthernetFrame e;
    Wire result = ethernet_read(bytes, &e);
    if (result != Wire::ok) return result;
    if (e.type != ether_ipv4 && e.type != ether_ipv6) return Wire::unsupported;
    if (e.payload.empty()) return Wire::truncated;
    if (e.payload.data[0] >> 4 != (e.type == ether_ipv4 ? 4 : 6)) return Wire::bad_version;
    IpPacket p;
    result = ip_read(e.payload, policy, &p);
    if (result != Wire::ok) return result;
    if (p.protocol == ip_tcp) {
        TcpSegment s;
        return tcp_read(p.payload, policy,
                        checksum_pseudo(p.source, p.destination, p.address_size(), ip_tcp,
                                        static_cast<uint32_t>(p.payload.size)),
                        &s);
    }
    IcmpError error;
    result = icmp_read(p, policy, &error);
    return result == Wire::unsupported ? Wire::ok : result;
}

void damage(void **) {
    Random random;
    const Bytes frames[] = {
        ethernet(4, -1, tcp_packet(4, Bytes(40, 5))), ethernet(6, 9, tcp_packet(6, Bytes(40, 5))),
        ethernet(4, 4095, icmp_packet(4, 3, 4)), ethernet(6, -1, icmp_packet(6, 1, 4)),
        ethernet(6, -1, ip6(0, Bytes{6, 0, 1, 4, 0, 0, 0, 0} + tcp(0x10, {}, {1, 2, 3})))};
    size_t counts[static_cast<size_t>(Wire::count)] = {0};
    for (int i = 0; i < 400000; i++) {
        Bytes bytes = frames[random.below(5)];
        for (size_t n = 1 + random.below(3); n > 0; n--) bytes[random.below(bytes.size())] = random.byte();
        if (random.below(8) == 0) bytes.resize(random.below(bytes.size()));
        const ChecksumPolicy policy = i % 4 ? trust : verify;
        Frame f;
        const Wire result = read(bytes, &f, policy);
        const Exact input(bytes);
        same(result, step_by_step(input.view(), policy), "damaged");
        counts[static_cast<size_t>(result)]++;
    }
    for (size_t i = 0; i < static_cast<size_t>(Wire::count);
         i++) { // every answer but one, which needs nine headers
        if (static_cast<Wire>(i) == Wire::too_many_headers) continue;
        if (counts[i] == 0) fail_msg("seed %lu: never \"%s\"", random.seed, wire_text(static_cast<Wire>(i)));
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(segments),
        cmocka_unit_test(refused_below_ip),
        cmocka_unit_test(errors_and_others),
        cmocka_unit_test(damage),
    };
    return cmocka_run_group_tests_name("wire: frame", tests, nullptr, nullptr);
}
