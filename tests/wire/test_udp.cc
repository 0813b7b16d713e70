// SPDX-License-Identifier: MIT
// UDP: every length, checksums that are absent, wrong or zero by arithmetic, and back from what was written.
#include "../../lib/wire/udp.h"
#include "packets.h"

using namespace wx;
using namespace packets;

namespace {

constexpr ChecksumPolicy verify = ChecksumPolicy::verify, trust = ChecksumPolicy::trust;

Wire read(const Bytes &bytes, UdpDatagram *out, ChecksumPolicy policy = verify) {
    const Exact input(bytes);
    IpPacket packet;
    same(ip_read(input.view(), verify, &packet), Wire::ok, "outer header");
    const Wire result = udp_read(packet, policy, out);
    if (result == Wire::ok) assert_true(inside(out->payload, packet.payload));
    return result;
}
Bytes datagram(int version, const Bytes &payload) {
    return checked(
        version, 17,
        be16(53) + be16(40001) + be16(static_cast<uint32_t>(8 + payload.size())) + be16(0) + payload, 6);
}

void lengths(void **) {
    for (int version : {4, 6}) {
        const Bytes whole = datagram(version, Bytes(20, 3));
        UdpDatagram d;
        same(read(ip(version, 17, whole), &d), Wire::ok, "whole");
        assert_true(d.source_port == 53 && d.destination_port == 40001 && d.payload.size == 20);
        same(read(ip(version, 17, whole + Bytes(9, 1)), &d), Wire::ok, "more behind");
        assert_int_equal(d.payload.size, 20);
        for (size_t size = 0; size < whole.size(); size++)
            same(read(ip(version, 17, Bytes(whole.begin(), whole.begin() + static_cast<long>(size))), &d),
                 Wire::truncated, "cut");
        for (uint32_t length = 0; length < 65536; length += length < 40 ? 1 : 997) {
            Bytes lie = whole;
            put16(&lie, 4, length);
            same(read(ip(version, 17, lie), &d, trust),
                 length < 8    ? Wire::bad_total_length
                 : length > 28 ? Wire::truncated
                               : Wire::ok,
                 "length");
            if (length >= 8 && length <= 28) assert_int_equal(d.payload.size, length - 8);
        }
        same(read(ip(version, 6, whole), &d), Wire::unsupported, "another protocol");
    }
}

void checksums(void **) {
    for (int version : {4, 6}) {
        const Bytes good = datagram(version, Bytes(21, 3));
        UdpDatagram d;
        for (size_t bit = 0; bit < good.size() * 8; bit++) {
            if (bit / 8 == 4 || bit / 8 == 5) continue; // the length
            Bytes bad = good;
            bad[bit / 8] = static_cast<uint8_t>(bad[bit / 8] ^ 1u << bit % 8);
            same(read(ip(version, 17, bad), &d), Wire::bad_checksum, "one bit");
            same(read(ip(version, 17, bad), &d, trust), Wire::ok, "trusted");
        }
        Bytes none = good;
        put16(&none, 6, 0);
        same(read(ip(version, 17, none), &d), version == 4 ? Wire::ok : Wire::bad_checksum, "absent");
        same(read(ip(version, 17, none), &d, trust), Wire::ok, "absent, trusted");
    }
}

void written_and_read_back(void **) {
    Random random;
    size_t by_arithmetic = 0;
    for (int i = 0; i < 200000; i++) {
        const int version = i & 1 ? 4 : 6;
        const Bytes &from = version == 4 ? source4 : source6,
                    &to = version == 4 ? destination4 : destination6;
        Bytes payload = random.bytes(2 + random.below(i % 100 ? 8 : 1500));
        const uint16_t source = static_cast<uint16_t>(random.next());
        const uint32_t length = static_cast<uint32_t>(8 + payload.size());
        const ChecksumSum pseudo = checksum_pseudo(from.data(), to.data(), from.size(), ip_udp, length);
        uint8_t head[8];
        for (int pass = 0; pass < 2; pass++) {
            const ChecksumSum sum = checksum_sum(payload.data(), payload.size());
            assert_int_equal(udp_write(ByteSpan(head, 8), source, 53, payload.size(), pseudo, sum), 8);
            if (pass == 1) break;
            // Makes the checksum 0 by arithmetic: the first word takes up what is missing.
            if (i % 10 == 0) {
                put16(&payload, 0, 0);
                Bytes zero = Bytes(head, head + 6) + be16(0) + payload;
                const Bytes covered =
                    version == 4 ? pseudo4(from, to, 17, length) : pseudo6(from, to, 17, length);
                put16(&payload, 0, reference(covered + zero));
            }
        }
        const Bytes whole = Bytes(head, head + 8) + payload;
        assert_true(head[6] != 0 || head[7] != 0);
        by_arithmetic += head[6] == 0xFF && head[7] == 0xFF;
        UdpDatagram d;
        same(read(ip(version, 17, whole), &d), Wire::ok, "written");
        if (head[6] == 0xFF && head[7] == 0xFF) { // 0 is the same number, but says that there is none
            Bytes none = whole;
            put16(&none, 6, 0);
            UdpDatagram ignored;
            same(read(ip(version, 17, none), &ignored), version == 4 ? Wire::ok : Wire::bad_checksum, "zero");
        }
        assert_true(d.source_port == source && d.destination_port == 53 && d.payload.size == payload.size());
    }
    assert_true(by_arithmetic > 10000);
    uint8_t head[8];
    for (size_t room = 0; room < 8; room++)
        assert_int_equal(udp_write(ByteSpan(head, room), 1, 2, 0, 0, 0), 0);
    assert_int_equal(udp_write(ByteSpan(head, 8), 1, 2, 65527, 0, 0), 8);
    assert_int_equal(udp_write(ByteSpan(head, 8), 1, 2, 65528, 0, 0), 0);
    assert_int_equal(udp_write(ByteSpan(head, 8), 1, 2, SIZE_MAX, 0, 0), 0);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(lengths),
        cmocka_unit_test(checksums),
        cmocka_unit_test(written_and_read_back),
    };
    return cmocka_run_group_tests_name("wire: udp", tests, nullptr, nullptr);
}
