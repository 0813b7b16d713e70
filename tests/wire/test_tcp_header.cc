// SPDX-License-Identifier: MIT
// TCP headers and options: every truncation, every header length, each option kind with each length at each
// place, mixes of random options against a plain reader written from the RFCs, and back from what was
// written.
#include "../../lib/wire/tcp_header.h"
#include "packets.h"

using namespace wx;
using namespace packets;

namespace {

constexpr ChecksumPolicy verify = ChecksumPolicy::verify, trust = ChecksumPolicy::trust;

Wire read(const Bytes &bytes, TcpSegment *out, ChecksumPolicy policy = trust, ChecksumSum pseudo = 0) {
    const Exact input(bytes);
    const Wire result = tcp_read(input.view(), policy, pseudo, out);
    if (result == Wire::ok) assert_true(inside(out->payload, input.view()));
    return result;
}

void fields(void **) {
    const Exact input(tcp(0xD1, {}, Bytes(11, 1)));
    TcpSegment s;
    same(tcp_read(input.view(), trust, 0, &s), Wire::ok, "fields");
    assert_true(s.source_port == 40000 && s.destination_port == 443 && s.seq == 0x01020304 &&
                s.ack == 0xA0B0C0D0);
    assert_true(s.flags == 0xD1 && s.window == 0x7210 && s.urgent == 5);
    assert_true(s.payload.data == input.view().data + 20 && s.payload.size == 11);
    assert_int_equal(s.length(), 12); // FIN
    s.flags = tcp_syn | tcp_fin;
    assert_int_equal(s.length(), 13);
    s.flags = tcp_ack;
    assert_int_equal(s.length(), 11);
}

void truncated(void **) {
    const Bytes whole = tcp(0x10, aligned_timestamp, Bytes(5, 1));
    for (size_t size = 0; size <= whole.size(); size++) {
        TcpSegment s;
        const Wire result = read(Bytes(whole.begin(), whole.begin() + static_cast<long>(size)), &s);
        same(result, size < 20 ? Wire::truncated : size < 32 ? Wire::bad_header_length : Wire::ok, "cut");
        if (result == Wire::ok) assert_int_equal(s.payload.size, size - 32);
    }
    for (size_t words = 0; words < 16; words++) {
        Bytes packet = tcp(0x10, {}, Bytes(30, 1));           // options are NOPs then
        packet[12] = static_cast<uint8_t>(words << 4 | 0x0F); // reserved bits are not looked at
        TcpSegment s;
        const Wire result = read(packet, &s);
        same(result, words < 5 || words * 4 > 50 ? Wire::bad_header_length : Wire::ok, "data offset");
        if (result == Wire::ok) assert_int_equal(s.payload.size, 50 - words * 4);
    }
}

void checksums(void **) {
    Random random;
    for (int version : {4, 6}) {
        const Bytes &from = version == 4 ? source4 : source6,
                    &to = version == 4 ? destination4 : destination6;
        for (size_t size = 0; size < 200; size++) {
            Bytes packet = checked(version, 6, tcp(0x10, aligned_timestamp, random.bytes(size)), 16);
            const ChecksumSum pseudo = checksum_pseudo(from.data(), to.data(), from.size(), ip_tcp,
                                                       static_cast<uint32_t>(packet.size()));
            TcpSegment s;
            same(read(packet, &s, verify, pseudo), Wire::ok, "checksum");
            const size_t at = random.below(packet.size());
            if (at == 12) continue;
            packet[at] = static_cast<uint8_t>(packet[at] ^ 1u << random.below(8));
            same(read(packet, &s, verify, pseudo), Wire::bad_checksum, "one bit");
        }
    }
}

// ---- options ----

// One step at a time, by RFC 9293 section 3.1, RFC 7323 section 2.2 and 3.2, RFC 2018 section 3.
bool reference_options(const Bytes &bytes, bool syn, TcpOptions *out) {
    *out = TcpOptions();
    for (size_t at = 0; at < bytes.size();) {
        const uint8_t kind = bytes[at];
        if (kind == 0) return true;
        if (kind == 1) {
            at++;
            continue;
        }
        if (at + 1 == bytes.size()) return false;
        const size_t length = bytes[at + 1];
        if (length < 2 || at + length > bytes.size()) return false;
        auto number = [&](size_t offset, size_t count) {
            uint64_t value = 0;
            for (size_t i = 0; i < count; i++) value = value << 8 | bytes[at + offset + i];
            return static_cast<uint32_t>(value);
        };
        if (kind == 2 && syn) {
            if (length != 4) return false;
            out->has_mss = true, out->mss = static_cast<uint16_t>(number(2, 2));
        } else if (kind == 3 && syn) {
            if (length != 3) return false;
            out->has_scale = true, out->scale = static_cast<uint8_t>(std::min(number(2, 1), 14u));
        } else if (kind == 4 && syn) {
            if (length != 2) return false;
            out->sack_permitted = true;
        } else if (kind == 5) {
            if (length != 10 && length != 18 && length != 26 && length != 34) return false;
            out->sack_count = static_cast<uint8_t>(length / 8);
            for (size_t i = 0; i < length / 8; i++)
                out->sacks[i] = {number(2 + 8 * i, 4), number(6 + 8 * i, 4)};
        } else if (kind == 8) {
            if (length != 10) return false;
            out->has_timestamps = true, out->ts_value = number(2, 4), out->ts_echo = number(6, 4);
        }
        at += length;
    }
    return true;
}

bool same_options(const TcpOptions &a, const TcpOptions &b) {
    bool same = a.has_mss == b.has_mss && a.has_scale == b.has_scale &&
                a.sack_permitted == b.sack_permitted && a.has_timestamps == b.has_timestamps &&
                a.sack_count == b.sack_count;
    same = same && a.scale == b.scale && a.mss == b.mss && a.ts_value == b.ts_value && a.ts_echo == b.ts_echo;
    for (size_t i = 0; same && i < a.sack_count; i++)
        same = a.sacks[i].begin == b.sacks[i].begin && a.sacks[i].end == b.sacks[i].end;
    return same;
}

std::string hex(const Bytes &bytes) {
    static const char digits[] = "0123456789abcdef";
    std::string out;
    for (uint8_t b : bytes) out += {digits[b >> 4], digits[b & 15], ' '};
    return out;
}

void check_options(const Bytes &options, bool syn) {
    TcpOptions wanted;
    const bool good = reference_options(options, syn, &wanted);
    TcpSegment s;
    s.options.has_mss = s.options.has_scale = s.options.sack_permitted = s.options.has_timestamps = true;
    s.options.scale = s.options.sack_count = 3; // what an earlier packet left
    s.options.mss = 9;
    s.options.ts_value = s.options.ts_echo = 9;
    const Wire result = read(tcp(syn ? 0x02 : 0x10, options, {}), &s);
    if (result != (good ? Wire::ok : Wire::bad_option))
        fail_msg("syn %d, \"%s\": %s", syn, wire_text(result), hex(options).c_str());
    if (good && !same_options(s.options, wanted))
        fail_msg("syn %d, read wrong: %s", syn, hex(options).c_str());
}

Bytes padded(Bytes options, uint8_t with) {
    while (options.size() % 4) options.push_back(with);
    return options;
}

void each_kind_with_each_length(void **) {
    for (unsigned kind = 0; kind < 256; kind++) {
        for (unsigned length = 0; length <= 255; length += length < 42 ? 1 : 71) {
            for (size_t room : {4u, 8u, 12u, 20u, 36u, 40u}) {
                for (size_t front : {0u, 1u, 2u, 3u}) {
                    Bytes options(room);
                    for (size_t i = 0; i < room; i++)
                        options[i] = static_cast<uint8_t>(i < front ? 1 : 200 + i);
                    options[front] = static_cast<uint8_t>(kind);
                    if (front + 1 < room) options[front + 1] = static_cast<uint8_t>(length);
                    for (size_t i = front + std::max(length, 2u); i < room; i++) options[i] = 1;
                    for (bool syn : {false, true}) check_options(options, syn);
                }
            }
        }
    }
}

void known_mixes(void **) {
    const Bytes linux_syn = {2, 4, 5, 0xB4, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7};
    TcpSegment s;
    same(read(tcp(2, linux_syn, {}), &s), Wire::ok, "SYN");
    assert_true(s.options.has_mss && s.options.mss == 1460 && s.options.sack_permitted &&
                s.options.has_scale);
    assert_true(s.options.scale == 7 && s.options.has_timestamps && s.options.ts_value == 1);
    same(read(tcp(0x10, linux_syn, {}), &s), Wire::ok, "no SYN");
    assert_true(!s.options.has_mss && !s.options.sack_permitted && !s.options.has_scale &&
                s.options.has_timestamps);
    same(read(tcp(2, {3, 3, 15, 1}, {}), &s), Wire::ok, "scale");
    assert_int_equal(s.options.scale, 14);
    same(read(tcp(2, {2, 4, 1, 1, 2, 4, 2, 2}, {}), &s), Wire::ok, "twice");
    assert_int_equal(s.options.mss, 0x0202);
    same(read(tcp(0x10, aligned_timestamp, {}), &s), Wire::ok, "timestamp");
    assert_true(s.options.has_timestamps && s.options.ts_value == 0x1234 && s.options.ts_echo == 0x5678);
    for (const Bytes &options :
         std::vector<Bytes>{{0, 2, 9, 9},  {1, 1, 1, 1},  {1, 1, 1, 0},         {0, 0, 0, 0}, {1, 1, 1, 8},
                            {1, 1, 8, 2},  {1, 1, 8, 10}, {2, 4, 5, 180},       {2, 3, 5, 1}, {2, 8, 5, 180},
                            {5, 2, 1, 1},  {5, 4, 1, 1},  {5, 255, 1, 1},       {8, 0, 1, 1}, {30, 2, 30, 2},
                            {30, 4, 2, 4}, {4, 3, 1, 1},  {254, 4, 0xF9, 0x89}, {3, 2, 1, 1}, {3, 4, 7, 1},
                            {4, 2, 4, 2}}) {
        check_options(options, true);
        check_options(options, false);
    }
}

Bytes random_option(Random *random) {
    static const uint8_t kinds[] = {1, 1, 2, 3, 4, 5, 5, 8, 8, 19, 30, 254};
    static const uint8_t lengths[] = {1, 1, 4, 3, 2, 10, 18, 10, 10, 18, 4, 6};
    const size_t pick = random->below(sizeof kinds);
    if (kinds[pick] == 1) return {1};
    Bytes out = random->bytes(lengths[pick]);
    out[0] = kinds[pick];
    out[1] = lengths[pick];
    if (random->below(12) == 0)
        out[1] = static_cast<uint8_t>(random->below(2) ? random->below(42) : random->byte());
    return out;
}

void random_mixes(void **) {
    Random random;
    for (int i = 0; i < 300000; i++) {
        Bytes options;
        while (options.size() < 40 && random.below(6)) options += random_option(&random);
        options = padded(options, static_cast<uint8_t>(random.below(2)));
        if (options.size() > 40) options.resize(40);
        check_options(options, i & 1);
    }
    for (int i = 0; i < 100000; i++) {
        Bytes options = random.bytes(4 * random.below(11));
        for (uint8_t &b : options)
            if (random.below(3)) b = static_cast<uint8_t>(b % 12);
        check_options(options, i & 1);
    }
}

void quoted(void **) {
    const Bytes bytes = tcp(0x10, {}, {});
    for (size_t size = 0; size <= bytes.size(); size++) {
        const Exact input(bytes, size);
        uint16_t from = 0, to = 0;
        uint32_t seq = 0;
        same(tcp_read_quoted(input.view(), &from, &to, &seq), size < 8 ? Wire::truncated : Wire::ok,
             "quoted");
        if (size >= 8) assert_true(from == 40000 && to == 443 && seq == 0x01020304);
    }
}

// ---- writing ----

TcpSegment random_segment(Random *random) {
    TcpSegment s;
    s.source_port = static_cast<uint16_t>(random->next());
    s.destination_port = static_cast<uint16_t>(random->next());
    s.seq = static_cast<uint32_t>(random->next());
    s.ack = static_cast<uint32_t>(random->next());
    s.flags = random->byte();
    s.window = static_cast<uint16_t>(random->next());
    s.urgent = static_cast<uint16_t>(random->next());
    TcpOptions &o = s.options;
    const bool syn = s.flags & tcp_syn; // elsewhere they would not be read back
    if (syn && random->below(2)) o.has_mss = true, o.mss = static_cast<uint16_t>(random->next());
    if (syn && random->below(2)) o.has_scale = true, o.scale = static_cast<uint8_t>(random->below(15));
    o.sack_permitted = syn && random->below(2);
    if (random->below(2)) {
        o.has_timestamps = true;
        o.ts_value = static_cast<uint32_t>(random->next()), o.ts_echo = static_cast<uint32_t>(random->next());
    }
    o.sack_count = static_cast<uint8_t>(random->below(5));
    for (SackBlock &block : o.sacks)
        block = {static_cast<uint32_t>(random->next()), static_cast<uint32_t>(random->next())};
    return s;
}

void written_and_read_back(void **) {
    Random random;
    size_t too_many = 0;
    for (int i = 0; i < 50000; i++) {
        const TcpSegment s = random_segment(&random);
        const size_t options = tcp_options_size(s.options);
        assert_int_equal(options % 4, 0);
        Exact room(Bytes(20 + options, 0xEE));
        const size_t size = tcp_write_header(ByteSpan(room.memory.get(), room.size), s);
        if (options > 40) {
            assert_int_equal(size, 0);
            too_many++;
            continue;
        }
        assert_int_equal(size, room.size);
        assert_int_equal(tcp_write_header(ByteSpan(room.memory.get(), room.size - 1), s), 0);
        const Bytes payload = random.bytes(random.below(60));
        const ChecksumSum pseudo = checksum_pseudo(source6.data(), destination6.data(), 16, ip_tcp,
                                                   static_cast<uint32_t>(size + payload.size()));
        for (int again = 0; again < 2; again++) // the checksum there before does not matter
            tcp_finish(room.memory.get(), size, pseudo, checksum_sum(payload.data(), payload.size()));
        const Bytes bytes = bytes_of(room.view()) + payload;
        assert_int_equal(reference(pseudo6(source6, destination6, 6, bytes.size()) + bytes), 0);
        TcpSegment back;
        same(read(bytes, &back, verify, pseudo), Wire::ok, "written");
        assert_true(back.source_port == s.source_port && back.destination_port == s.destination_port);
        assert_true(back.seq == s.seq && back.ack == s.ack && back.flags == s.flags &&
                    back.window == s.window);
        assert_true(back.urgent == s.urgent && back.payload.size == payload.size());
        if (!same_options(back.options, s.options)) fail_msg("seed %lu: %s", random.seed, hex(bytes).c_str());
    }
    assert_true(too_many > 100); // the limit was met
}

void what_fits(void **) {
    TcpSegment s;
    s.options.has_timestamps = true;
    s.options.sack_count = 3;
    assert_int_equal(tcp_options_size(s.options), 40);
    s.options.sack_count = 4;
    assert_int_equal(tcp_options_size(s.options), 48);
    uint8_t room[100];
    assert_int_equal(tcp_write_header(ByteSpan(room, sizeof room), s), 0);
    s.options.has_timestamps = false;
    assert_int_equal(tcp_write_header(ByteSpan(room, sizeof room), s), 56);
    s.options.sack_count = 5; // more than there is room for in the struct
    assert_int_equal(tcp_write_header(ByteSpan(room, sizeof room), s), 0);
    s.options.sack_count = 0;
    assert_int_equal(tcp_write_header(ByteSpan(room, 19), s), 0);
    assert_int_equal(tcp_write_header(ByteSpan(room, 20), s), 20);
    s.options.has_timestamps = true;
    s.options.ts_value = 0x1234, s.options.ts_echo = 0x5678;
    assert_int_equal(tcp_write_header(ByteSpan(room, 32), s), 32);
    assert_memory_equal(room + 20, aligned_timestamp.data(), 12); // where readers take it without a loop
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(fields),      cmocka_unit_test(truncated),
        cmocka_unit_test(checksums),   cmocka_unit_test(each_kind_with_each_length),
        cmocka_unit_test(known_mixes), cmocka_unit_test(random_mixes),
        cmocka_unit_test(quoted),      cmocka_unit_test(written_and_read_back),
        cmocka_unit_test(what_fits),
    };
    return cmocka_run_group_tests_name("wire: tcp header", tests, nullptr, nullptr);
}
