// SPDX-License-Identifier: MIT
// ICMP errors of both versions: every type and code, quotes with options and extension headers, short ones,
// ones of the other version, lies about the quote's length, bad checksums.
#include "../../lib/wire/icmp.h"
#include "packets.h"

using namespace wx;
using namespace packets;

namespace {

constexpr ChecksumPolicy verify = ChecksumPolicy::verify, trust = ChecksumPolicy::trust;
constexpr uint8_t protocol_of(int version) { return version == 4 ? 1 : 58; }

Bytes message(int version, uint8_t type, uint8_t code, const Bytes &quote, uint32_t word = 0) {
    Bytes out = Bytes{type, code, 0, 0} + be32(word) + quote;
    if (version == 6) return checked(6, 58, out, 2);
    put16(&out, 2, reference(out));
    return out;
}

Wire read(int version, const Bytes &icmp, IcmpError *out, ChecksumPolicy policy = verify) {
    const Exact input(ip(version, protocol_of(version), icmp));
    IpPacket packet;
    same(ip_read(input.view(), verify, &packet), Wire::ok, "outer header");
    const Wire result = icmp_read(packet, policy, out);
    if (result == Wire::ok) { // while the views hold
        const uint8_t *source = version == 4 ? source4.data() : source6.data();
        assert_true(inside(out->quoted.payload, packet.payload));
        assert_true(out->quoted.source_address() == ip_address(source, static_cast<uint8_t>(version)));
    }
    return result;
}

Bytes quote_of(int version) { return tcp_packet(version, Bytes(100, 7)); }

const IcmpKind no = static_cast<IcmpKind>(99); // not an error that we know

IcmpKind kind_of(int version, unsigned type, unsigned code) {
    using K = IcmpKind;
    static const K four[] = {
        K::network_unreachable, K::host_unreachable, K::protocol_unreachable, K::port_unreachable,
        K::packet_too_big,      K::host_unreachable, K::network_unreachable,  K::host_unreachable,
        K::host_unreachable,    K::prohibited,       K::prohibited,           K::network_unreachable,
        K::host_unreachable,    K::prohibited,       K::prohibited,           K::prohibited};
    static const K six[] = {K::network_unreachable, K::prohibited, K::host_unreachable, K::host_unreachable,
                            K::port_unreachable,    K::prohibited, K::prohibited};
    if (version == 4) {
        if (type == 3) return code < 16 ? four[code] : no;
        return type == 4    ? K::source_quench
               : type == 11 ? K::time_exceeded
               : type == 12 ? K::parameter_problem
                            : no;
    }
    if (type == 1) return code < 7 ? six[code] : no;
    if (type == 4) return code == 1 ? K::protocol_unreachable : K::parameter_problem;
    return type == 2 ? K::packet_too_big : type == 3 ? K::time_exceeded : no;
}

void every_type_and_code(void **) {
    for (int version : {4, 6}) {
        const Bytes quote = quote_of(version);
        for (unsigned type = 0; type < 256; type++) {
            for (unsigned code = 0; code < 256; code += code < 20 ? 1 : 59) {
                IcmpError error;
                const IcmpKind wanted = kind_of(version, type, code);
                const Wire result = read(
                    version, message(version, static_cast<uint8_t>(type), static_cast<uint8_t>(code), quote),
                    &error);
                same(result, wanted == no ? Wire::unsupported : Wire::ok, "type");
                if (wanted == no) continue;
                assert_int_equal(error.kind, wanted);
                assert_true(error.source_port == 40000 && error.destination_port == 443 &&
                            error.seq == 0x01020304);
                assert_true(error.mtu == 0 && error.quoted_size == quote.size());
                assert_true(error.quoted.protocol == 6 && error.quoted.payload.size == 132);
            }
        }
    }
}

void mtu(void **) {
    IcmpError error;
    same(read(4, message(4, 3, 4, quote_of(4), 0x0000'0514), &error), Wire::ok, "too big");
    assert_int_equal(error.mtu, 1300);
    same(read(4, message(4, 3, 4, quote_of(4), 0xFFFF'FFFF), &error), Wire::ok, "too big");
    assert_int_equal(error.mtu, 65535);
    same(read(4, message(4, 3, 1, quote_of(4), 0x0000'0514), &error), Wire::ok, "not too big");
    assert_int_equal(error.mtu, 0);
    same(read(6, message(6, 2, 0, quote_of(6), 0xFFFF'FFFF), &error), Wire::ok, "too big");
    assert_int_equal(error.mtu, 0xFFFFFFFF);
}

// Cut at every byte: the message itself, the quoted IP header, its 8 bytes of TCP.
void short_quotes(void **) {
    for (int version : {4, 6}) {
        for (int with_options = 0; with_options < 2; with_options++) {
            const Bytes inner = checked(version, 6, tcp(0x10, {}, Bytes(30, 1)), 16);
            Bytes quote = ip(version, 6, inner);
            if (with_options) {
                quote = version == 4
                            ? ip4(6, inner, {1, 1, 7, 5, 0, 0, 0, 0})
                            : ip6(60, Bytes{44, 0, 1, 4, 0, 0, 0, 0} + Bytes{6, 0, 0, 0, 1, 2, 3, 4} + inner);
            }
            const size_t head = quote.size() - inner.size();
            for (size_t size = 0; size <= quote.size(); size++) {
                IcmpError error;
                const uint8_t type = version == 4 ? 3 : 1;
                const Bytes icmp =
                    message(version, type, 0, Bytes(quote.begin(), quote.begin() + static_cast<long>(size)));
                same(read(version, icmp, &error), size < head + 8 ? Wire::truncated : Wire::ok,
                     "short quote");
                if (size >= head + 8) {
                    assert_true(error.seq == 0x01020304 && error.quoted_size == quote.size());
                    assert_int_equal(error.quoted.payload.size, size - head);
                }
            }
            const Bytes whole = message(version, version == 4 ? 3 : 1, 0, {});
            for (size_t size = 0; size < 8; size++) {
                IcmpError error;
                const Bytes cut(whole.begin(), whole.begin() + static_cast<long>(size));
                same(read(version, cut, &error), Wire::truncated, "short message");
            }
        }
    }
}

void what_is_quoted(void **) {
    for (int version : {4, 6}) {
        const uint8_t type = version == 4 ? 3 : 1;
        IcmpError error;
        same(read(version, message(version, type, 0, quote_of(10 - version)), &error), Wire::bad_version,
             "other version");
        same(read(version, message(version, type, 0, Bytes(60, 0x50)), &error), Wire::bad_version,
             "version 5");
        const Bytes eight = be16(40000) + be16(443) + be16(8) + be16(0x1234);
        same(read(version, message(version, type, 0, ip(version, 17, eight)), &error), Wire::ok, "UDP");
        assert_true(error.source_port == 40000 && error.destination_port == 443 && error.seq == 0);
        assert_true(error.quoted.protocol == ip_udp);
        for (uint8_t protocol : {1, 47, 50, 58, 59, 132})
            same(read(version, message(version, type, 0, ip(version, protocol, eight)), &error),
                 Wire::unsupported, "another protocol");
    }
    IcmpError error;
    Bytes quote = quote_of(4);
    quote[10] = static_cast<uint8_t>(quote[10] ^ 0xFF); // stale, as behind a router that counts hops
    same(read(4, message(4, 11, 0, quote), &error), Wire::ok, "stale checksum");
    put16(&quote, 6, 0x2001);
    same(read(4, message(4, 11, 0, quote), &error), Wire::fragment, "fragment");
    quote[0] = 0x44;
    same(read(4, message(4, 11, 0, quote), &error), Wire::bad_header_length, "header length");
    same(read(6, message(6, 3, 0, ip6(44, Bytes{6, 0, 0, 8, 0, 0, 0, 1} + Bytes(20, 1))), &error),
         Wire::fragment, "fragment");
}

// RFC 4884: behind a quote padded to a stated length there may be an extension structure.
void extension_structures(void **) {
    const Bytes inner = tcp_packet(4, Bytes(200, 7)), inner6 = tcp_packet(6, Bytes(200, 7));
    IcmpError error;
    for (unsigned words = 0; words < 256; words++) {
        same(read(4, message(4, 11, 0, inner + Bytes(40, 0x20), words << 16), &error), Wire::ok,
             "length in words");
        const size_t shown = words >= 32 && words * 4 < inner.size() ? words * 4 : inner.size();
        assert_int_equal(error.quoted.payload.size, shown - 20);
        same(read(6, message(6, 3, 0, inner6 + Bytes(40, 0x20), words << 24), &error), Wire::ok,
             "length in words");
        const size_t shown6 = words >= 16 && words * 8 < inner6.size() ? words * 8 : inner6.size();
        assert_int_equal(error.quoted.payload.size, shown6 - 40);
    }
    same(read(6, message(6, 2, 0, inner6, 0x10000500), &error), Wire::ok, "an MTU is no length");
    assert_int_equal(error.quoted.payload.size, inner6.size() - 40);
}

void checksums(void **) {
    for (int version : {4, 6}) {
        const Bytes good = message(version, version == 4 ? 3 : 1, 1, quote_of(version));
        for (size_t bit = 2 * 8; bit < good.size() * 8; bit++) {
            Bytes bad = good;
            bad[bit / 8] = static_cast<uint8_t>(bad[bit / 8] ^ 1u << bit % 8);
            IcmpError error;
            same(read(version, bad, &error), Wire::bad_checksum, "one bit");
            if (bit / 8 < 4) same(read(version, bad, &error, trust), Wire::ok, "trusted");
        }
    }
}

void not_icmp(void **) {
    for (int version : {4, 6}) {
        const Exact input(ip(version, protocol_of(10 - version), message(version, 3, 0, quote_of(version))));
        IpPacket packet;
        same(ip_read(input.view(), verify, &packet), Wire::ok, "outer header");
        IcmpError error;
        same(icmp_read(packet, trust, &error), Wire::unsupported, "the other version's protocol");
    }
}

void names(void **) {
    for (int i = 0; i <= static_cast<int>(IcmpKind::source_quench); i++)
        assert_string_not_equal(icmp_text(static_cast<IcmpKind>(i)), "unknown");
    assert_string_equal(icmp_text(no), "unknown");
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(every_type_and_code),
        cmocka_unit_test(mtu),
        cmocka_unit_test(short_quotes),
        cmocka_unit_test(what_is_quoted),
        cmocka_unit_test(extension_structures),
        cmocka_unit_test(checksums),
        cmocka_unit_test(not_icmp),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests_name("wire: icmp", tests, nullptr, nullptr);
}
