// SPDX-License-Identifier: MIT
// IP headers of both versions: every truncation, every lie in a length field, options and extension headers
// in every order that matters, fragments, addresses, what ICMP quotes, and back from what was written.
#include "packets.h"

using namespace wx;
using namespace packets;

namespace {

constexpr ChecksumPolicy verify = ChecksumPolicy::verify, trust = ChecksumPolicy::trust;

Wire read(const Bytes &bytes, IpPacket *out = nullptr, ChecksumPolicy policy = verify) {
    const Exact input(bytes);
    IpPacket packet;
    const Wire result = ip_read(input.view(), policy, &packet);
    if (result == Wire::ok) {
        const ByteView whole = input.view();
        assert_true(inside(packet.payload, whole));
        assert_true(inside(ByteView(packet.source, packet.address_size()), whole));
        assert_true(inside(ByteView(packet.destination, packet.address_size()), whole));
        assert_ptr_equal(packet.payload.data, whole.data + packet.header_size);
    }
    if (out) *out = packet; // its views are only good for their sizes
    return result;
}
Wire read_quoted(const Bytes &bytes, IpPacket *out = nullptr) {
    const Exact input(bytes);
    IpPacket packet;
    const Wire result = ip_read_quoted(input.view(), &packet);
    if (result == Wire::ok) assert_true(inside(packet.payload, input.view()));
    if (out) *out = packet;
    return result;
}

void fields4(void **) {
    const Exact input(ip4(6, Bytes(33, 9)) + Bytes(13, 0)); // and Ethernet's padding
    IpPacket p;
    same(ip_read(input.view(), verify, &p), Wire::ok, "plain");
    assert_true(p.version == 4 && p.protocol == 6 && p.hops == 61 && p.traffic_class == 0x1C &&
                p.dont_fragment);
    assert_true(p.header_size == 20 && p.payload.size == 33);
    assert_true(bytes_of(ByteView(p.source, 4)) == source4 &&
                bytes_of(ByteView(p.destination, 4)) == destination4);
    assert_true(p.source_address() == ip4_address(192, 0, 2, 1));
    assert_true(p.destination_address() == ip4_address(198, 51, 100, 7));
    Bytes other = ip4(17, {});
    other[6] = 0;
    check4(&other);
    same(read(other, &p), Wire::ok, "may be fragmented");
    assert_true(!p.dont_fragment && p.protocol == 17 && p.payload.size == 0);
}

void truncated4(void **) {
    const Bytes options = {7, 7, 4, 0, 0, 0, 0, 1};
    for (const Bytes &packet : {ip4(6, Bytes(30, 1)), ip4(6, Bytes(30, 1), options)}) {
        for (size_t size = 0; size < packet.size(); size++) {
            const Bytes cut(packet.begin(), packet.begin() + static_cast<long>(size));
            same(read(cut), Wire::truncated, "cut");
            same(read(cut, nullptr, trust), Wire::truncated, "cut");
        }
        same(read(packet), Wire::ok, "whole");
    }
}

void lengths4(void **) {
    const Bytes good = ip4(6, Bytes(60, 1));
    for (uint32_t words = 0; words < 16;
         words++) { // all options then are payload bytes: kind 1, no-operation
        Bytes packet = good;
        packet[0] = static_cast<uint8_t>(0x40 | words);
        check4(&packet);
        IpPacket p;
        same(read(packet, &p), words < 5 ? Wire::bad_header_length : Wire::ok, "header length");
        if (words >= 5) assert_true(p.header_size == words * 4 && p.payload.size == 80 - words * 4);
    }
    for (uint32_t total = 0; total < 65536; total += total < 100 ? 1 : 997) {
        Bytes packet = good;
        put16(&packet, 2, total);
        check4(&packet);
        IpPacket p;
        same(read(packet, &p),
             total < 20            ? Wire::bad_total_length
             : total > good.size() ? Wire::truncated
                                   : Wire::ok,
             "total length");
        if (total >= 20 && total <= good.size()) assert_int_equal(p.payload.size, total - 20);
    }
}

void checksum4(void **) {
    const Bytes good = ip4(6, Bytes(4, 1), {1, 1, 1, 0});
    for (size_t bit = 0; bit < 24 * 8; bit++) {
        Bytes packet = good;
        packet[bit / 8] = static_cast<uint8_t>(packet[bit / 8] ^ 1u << bit % 8);
        assert_true(read(packet) != Wire::ok);
        if (bit / 8 >= 4 && bit / 8 != 6 && bit / 8 != 7 && bit / 8 < 20) {
            same(read(packet), Wire::bad_checksum, "one bit");
            if (bit / 8 != 12) same(read(packet, nullptr, trust), Wire::ok, "one bit, trusted"); // 12: 224/4
        }
    }
}

void versions(void **) {
    for (unsigned version = 0; version < 16; version++) {
        if (version == 4 || version == 6) continue;
        Bytes packet = ip4(6, Bytes(40, 1));
        packet[0] = static_cast<uint8_t>(version << 4 | 5);
        same(read(packet), Wire::bad_version, "version");
        same(read_quoted(packet), Wire::bad_version, "quoted version");
        same(read({packet[0]}), Wire::bad_version, "one byte");
    }
    same(read({}), Wire::truncated, "nothing");
    same(read_quoted({}), Wire::truncated, "nothing");
}

void fragments4(void **) {
    for (uint32_t field = 0; field < 65536; field += 1 + field / 64) {
        Bytes packet = ip4(6, Bytes(8, 1));
        put16(&packet, 6, field);
        check4(&packet);
        const bool fragment = (field & 0x2000) || (field & 0x1FFF);
        same(read(packet), fragment ? Wire::fragment : Wire::ok, "fragment field");
        same(read_quoted(packet), fragment ? Wire::fragment : Wire::ok, "fragment field");
    }
}

void options4(void **) {
    struct Case {
        Bytes options;
        bool good;
    };
    const Case cases[] = {
        {{1, 1, 1, 1}, true},
        {{0, 9, 9, 9}, true},
        {{1, 0, 200, 0}, true},
        {{7, 4, 0, 0}, true},
        {{7, 3, 0, 1}, true},
        {{7, 5, 0, 0}, false},
        {{7, 1, 0, 0}, false},
        {{7, 0, 0, 0}, false},
        {{1, 1, 1, 7}, false},
        {{1, 1, 7, 2}, true},
        {{1, 1, 7, 3}, false},
        {{148, 4, 0, 0}, true},
        {{7, 255, 0, 0}, false},
        {{1, 7, 2, 0}, true},
        {{7, 2, 7, 2}, true},
        {{7, 8, 0, 0, 0, 0, 0, 0}, true},
        {{7, 6, 0, 0, 0, 0, 7, 3}, false},
        {Bytes(40, 1), true},
    };
    for (const Case &c : cases) {
        IpPacket p;
        same(read(ip4(6, Bytes(3, 2), c.options), &p), c.good ? Wire::ok : Wire::bad_option, "options");
        if (c.good) assert_true(p.payload.size == 3 && p.header_size == 20 + c.options.size());
    }
}

void sources(void **) {
    struct Case {
        Bytes address;
        bool good;
    };
    const Case cases[] = {
        {{0, 0, 0, 0}, false},        {{0, 0, 0, 1}, true},    {{223, 255, 255, 255}, true},
        {{224, 0, 0, 0}, false},      {{224, 0, 0, 1}, false}, {{239, 255, 255, 255}, false},
        {{240, 0, 0, 1}, true},       {{127, 0, 0, 1}, true},  {{255, 255, 255, 255}, false},
        {{255, 255, 255, 254}, true},
    };
    for (const Case &c : cases) {
        Bytes packet = ip4(6, Bytes(4, 1));
        std::copy(c.address.begin(), c.address.end(), packet.begin() + 12);
        check4(&packet);
        same(read(packet), c.good ? Wire::ok : Wire::bad_address, "source");
        same(read_quoted(packet), Wire::ok, "quoted source");
        assert_int_equal(ip_is_unicast(ip_address(c.address.data(), 4)), c.good);
    }
    const Bytes six[] = {Bytes(16, 0),
                         {0xFF, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
                         {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
                         {0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
                         {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}};
    for (size_t i = 0; i < 5; i++) {
        Bytes packet = ip6(6, Bytes(4, 1));
        std::copy(six[i].begin(), six[i].end(), packet.begin() + 8);
        same(read(packet), i < 2 ? Wire::bad_address : Wire::ok, "source");
        assert_int_equal(ip_is_unicast(ip_address(six[i].data(), 6)), i >= 2);
    }
    assert_false(ip_is_unicast(IpAddress()));
}

void addresses(void **) {
    assert_true(ip4_address(1, 2, 3, 4) == ip4_address(1, 2, 3, 4));
    assert_true(ip4_address(1, 2, 3, 4) != ip4_address(1, 2, 3, 5));
    assert_true(ip_address(source6.data(), 6) != ip_address(destination6.data(), 6));
    assert_true(IpAddress() == IpAddress() && IpAddress() != ip4_address(0, 0, 0, 0));
    IpAddress a = ip4_address(1, 2, 3, 4);
    a.bytes[7] = 9; // not part of an IPv4 address
    assert_true(a == ip4_address(1, 2, 3, 4) && a.size() == 4 && IpAddress().size() == 0);
    assert_int_equal(ip_address(source6.data(), 5).version, 0);
}

// ---- IPv6 ----

struct Header {
    uint8_t kind;
    Bytes bytes; // the first is filled in: the next header
};

Bytes chain(std::vector<Header> headers, uint8_t protocol, const Bytes &payload) {
    Bytes out;
    for (size_t i = 0; i < headers.size(); i++) {
        headers[i].bytes[0] = i + 1 < headers.size() ? headers[i + 1].kind : protocol;
        out += headers[i].bytes;
    }
    return ip6(headers.empty() ? protocol : headers[0].kind, out + payload);
}

const Header pad_hop = {0, {0, 0, 1, 4, 0, 0, 0, 0}};
const Header pad_destination = {60, {0, 0, 0, 0, 0, 0, 0, 0}};
const Header pad_destination_16 = {60, {0, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}};
const Header routing_done = {43, {0, 0, 4, 0, 0, 0, 0, 0}};
const Header atomic_fragment = {44, {0, 0, 0, 0, 1, 2, 3, 4}};
const Header authentication_24 = {51,
                                  {0, 4, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9}};

void fields6(void **) {
    const Exact input(ip6(6, Bytes(33, 9)) + Bytes(7, 0));
    IpPacket p;
    same(ip_read(input.view(), verify, &p), Wire::ok, "plain");
    assert_true(p.version == 6 && p.protocol == 6 && p.hops == 62 && p.traffic_class == 0x1C &&
                p.dont_fragment);
    assert_true(p.header_size == 40 && p.payload.size == 33);
    assert_true(bytes_of(ByteView(p.source, 16)) == source6);
    assert_true(p.destination_address() == ip_address(destination6.data(), 6));
    same(read(ip6(59, {}), &p), Wire::ok, "no next header");
    assert_true(p.protocol == 59 && p.payload.size == 0);
}

void lengths6(void **) {
    const Bytes good = ip6(6, Bytes(60, 1));
    for (size_t size = 0; size < good.size(); size++)
        same(read(Bytes(good.begin(), good.begin() + static_cast<long>(size))), Wire::truncated, "cut");
    for (uint32_t length = 0; length < 65536; length += length < 100 ? 1 : 997) {
        Bytes packet = good;
        put16(&packet, 4, length);
        IpPacket p;
        same(read(packet, &p), length > 60 ? Wire::truncated : Wire::ok, "payload length");
        if (length <= 60) assert_int_equal(p.payload.size, length);
    }
}

void chains6(void **) {
    const std::vector<std::vector<Header>> good = {
        {pad_hop},
        {pad_destination},
        {pad_destination_16},
        {routing_done},
        {atomic_fragment},
        {authentication_24},
        {pad_hop, pad_destination, routing_done, atomic_fragment, authentication_24, pad_destination_16},
        {atomic_fragment, atomic_fragment},
        std::vector<Header>(8, pad_destination),
    };
    for (const auto &headers : good) {
        const Bytes packet = chain(headers, 6, Bytes(21, 3));
        IpPacket p;
        same(read(packet, &p), Wire::ok, "chain");
        assert_true(p.protocol == 6 && p.payload.size == 21 && p.header_size == packet.size() - 21);
        same(read_quoted(packet, &p), Wire::ok, "quoted chain");
        // Cut anywhere inside the chain, with the length field saying so.
        for (size_t size = 40; size < packet.size() - 21; size++) {
            Bytes cut(packet.begin(), packet.begin() + static_cast<long>(size));
            same(read_quoted(cut), Wire::truncated, "quoted chain cut");
            put16(&cut, 4, static_cast<uint32_t>(size - 40));
            same(read(cut), Wire::truncated, "chain cut");
        }
    }
}

void chains6_refused(void **) {
    auto read_chain = [](const std::vector<Header> &headers) {
        return read(chain(headers, 6, Bytes(21, 3)));
    };
    same(read_chain(std::vector<Header>(9, pad_destination)), Wire::too_many_headers, "nine");
    same(read_chain({pad_destination, pad_hop}), Wire::unsupported, "hop-by-hop not first");
    Header routing_left = routing_done;
    routing_left.bytes[3] = 1;
    same(read_chain({routing_left}), Wire::unsupported, "segments left");
    for (uint32_t field = 0; field < 65536; field += 1 + field / 64) {
        Header fragment = atomic_fragment;
        put16(&fragment.bytes, 2, field);
        same(read_chain({fragment}), (field & 0xFFF9) ? Wire::fragment : Wire::ok, "fragment field");
    }
    for (unsigned length = 0; length < 256; length++) { // a lie in each header's own length
        for (Header h : {pad_hop, pad_destination, routing_done, authentication_24}) {
            h.bytes[1] = static_cast<uint8_t>(length);
            const Wire result = read_chain({h});
            const size_t size = h.kind == 51 ? (length + 2) * 4 : (length + 1) * 8;
            if (size > h.bytes.size() + 21) same(result, Wire::truncated, "length");
            if (h.kind == 51 && size < 12) same(result, Wire::bad_header_length, "authentication");
        }
    }
}

void options6(void **) {
    struct Case {
        Bytes options; // six bytes
        Wire result;
    };
    const Case cases[] = {
        {{0, 0, 0, 0, 0, 0}, Wire::ok},
        {{1, 4, 0, 0, 0, 0}, Wire::ok},
        {{1, 5, 0, 0, 0, 0}, Wire::bad_option},
        {{1, 255, 0, 0, 0, 0}, Wire::bad_option},
        {{1, 3, 0, 0, 0, 1}, Wire::bad_option},
        {{1, 0, 1, 0, 1, 0}, Wire::ok},
        {{5, 2, 0, 0, 1, 0}, Wire::ok},
        {{0x3F, 4, 0, 0, 0, 0}, Wire::ok},
        {{0x40, 4, 0, 0, 0, 0}, Wire::unsupported},
        {{0x80, 4, 0, 0, 0, 0}, Wire::unsupported},
        {{0xC2, 4, 0, 1, 0, 0}, Wire::unsupported},
        {{0x40, 5, 0, 0, 0, 0}, Wire::bad_option},
        {{0, 0, 0, 0, 0, 5}, Wire::bad_option},
    };
    for (const Case &c : cases) {
        for (uint8_t kind : {uint8_t{0}, uint8_t{60}})
            same(read(chain({{kind, Bytes{0, 0} + c.options}}, 6, Bytes(20, 1))), c.result, "options");
    }
}

void quoted(void **) {
    for (int version : {4, 6}) {
        Bytes packet = ip(version, 6, Bytes(200, 5));
        const size_t head = version == 4 ? 20 : 40;
        if (version == 4) packet[10] = static_cast<uint8_t>(packet[10] ^ 0x55);
        for (size_t size = 0; size <= packet.size(); size++) {
            IpPacket p;
            const Wire result =
                read_quoted(Bytes(packet.begin(), packet.begin() + static_cast<long>(size)), &p);
            same(result, size < head ? Wire::truncated : Wire::ok, "cut");
            if (result == Wire::ok) assert_int_equal(p.payload.size, size - head);
        }
        IpPacket p;
        same(read_quoted(packet + Bytes(50, 0), &p), Wire::ok, "more behind");
        assert_int_equal(p.payload.size, 200);
    }
    Bytes packet = ip4(6, Bytes(8, 1), Bytes(8, 1));
    Bytes cut(packet.begin(), packet.begin() + 24);
    same(read_quoted(cut), Wire::truncated, "options cut");
    put16(&packet, 2, 24);
    same(read_quoted(packet), Wire::bad_total_length, "less than the header");
    packet[0] = 0x44;
    same(read_quoted(packet), Wire::bad_header_length, "four words");
}

// ---- writing ----

IpTemplate template_of(int version) {
    IpTemplate head;
    const uint8_t v = static_cast<uint8_t>(version);
    head.source = ip_address(version == 4 ? source4.data() : source6.data(), v);
    head.destination = ip_address(version == 4 ? destination4.data() : destination6.data(), v);
    head.hops = 61;
    head.traffic_class = 0xB9;
    head.flow_label = 0xFFF12345; // only 20 bits of it go into the header
    return head;
}

void written_and_read_back(void **) {
    for (int version : {4, 6}) {
        const size_t head_size = version == 4 ? 20 : 40, most = version == 4 ? 65515 : 65535;
        const IpTemplate head = template_of(version);
        for (size_t payload = 0; payload <= most; payload += payload < 300 || payload > most - 5 ? 1 : 101) {
            Exact room(Bytes(head_size + payload, 0x77));
            assert_int_equal(ip_write(ByteSpan(room.memory.get(), room.size), head, payload), head_size);
            for (size_t other : {payload, size_t{0}, payload / 2, payload}) {
                ip_set_payload_size(room.memory.get(), other);
                IpPacket p;
                same(ip_read(room.view(), verify, &p), Wire::ok, "written");
                assert_true(p.payload.size == other && p.header_size == head_size && p.protocol == ip_tcp);
                assert_true(p.hops == 61 && p.traffic_class == 0xB9 && p.dont_fragment);
                assert_true(p.source_address() == head.source && p.destination_address() == head.destination);
                if (version == 6) assert_int_equal(load_be32(room.memory.get()) & 0xFFFFF, 0x12345);
                if (version != 4) continue;
                Bytes recomputed(room.memory.get(), room.memory.get() + 20);
                check4(&recomputed);
                assert_memory_equal(recomputed.data(), room.memory.get(), 20);
            }
            if (payload > 300 && payload < most - 110) payload += 900;
        }
        uint8_t out[40];
        for (size_t room = 0; room < head_size; room++)
            assert_int_equal(ip_write(ByteSpan(out, room), head, 9), 0);
        assert_int_equal(ip_write(ByteSpan(out, 40), head, most), head_size);
        assert_int_equal(ip_write(ByteSpan(out, 40), head, most + 1), 0);
        assert_int_equal(ip_write(ByteSpan(out, 40), head, SIZE_MAX), 0);
        IpTemplate mixed = head;
        mixed.destination = template_of(10 - version).destination;
        assert_int_equal(ip_write(ByteSpan(out, 40), mixed, 9), 0);
        mixed.source = mixed.destination = IpAddress();
        assert_int_equal(ip_write(ByteSpan(out, 40), mixed, 9), 0);
    }
}

void random_bytes(void **) {
    Random random;
    for (int i = 0; i < 200000; i++) {
        Bytes bytes = random.bytes(random.below(120));
        if (!bytes.empty()) bytes[0] = static_cast<uint8_t>(i & 1 ? 0x45 + i % 4 : 0x60);
        if (bytes.size() > 6 && i % 3 == 0)
            put16(&bytes, i & 1 ? 2 : 4, static_cast<uint32_t>(bytes.size() / 2));
        if (bytes.size() > 6 && !(i & 1))
            bytes[6] = std::initializer_list<uint8_t>{0, 43, 44, 51, 60}.begin()[i % 5];
        read(bytes, nullptr, trust);
        read_quoted(bytes);
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(fields4),         cmocka_unit_test(truncated4),
        cmocka_unit_test(lengths4),        cmocka_unit_test(checksum4),
        cmocka_unit_test(versions),        cmocka_unit_test(fragments4),
        cmocka_unit_test(options4),        cmocka_unit_test(sources),
        cmocka_unit_test(addresses),       cmocka_unit_test(fields6),
        cmocka_unit_test(lengths6),        cmocka_unit_test(chains6),
        cmocka_unit_test(chains6_refused), cmocka_unit_test(options6),
        cmocka_unit_test(quoted),          cmocka_unit_test(written_and_read_back),
        cmocka_unit_test(random_bytes),
    };
    return cmocka_run_group_tests_name("wire: ip", tests, nullptr, nullptr);
}
