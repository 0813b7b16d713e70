// SPDX-License-Identifier: MIT
// What the tests of the simulated network share: numbered packets, a sink that remembers, and a place for one
// filter.
#pragma once
#include "../../lib/link/sim.h"
#include "../../lib/wire/frame.h"
#include "../base/check.h"
#include <initializer_list>
#include <stdlib.h>
#include <vector>

namespace simulated {

using namespace wx;

inline uint64_t test_seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

inline IpAddress address4(uint8_t last) { return ip4_address(10, 0, 0, last); }
inline IpAddress address6(uint8_t last) {
    const uint8_t bytes[16] = {0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last};
    return ip_address(bytes, 6);
}

// A TCP segment with right checksums; its sequence number is what tells packets apart.
inline std::string segment(uint32_t number, size_t size, const IpAddress &from, const IpAddress &to) {
    std::string bytes(size, 0);
    uint8_t *at = reinterpret_cast<uint8_t *>(&bytes[0]);
    IpTemplate head;
    head.source = from;
    head.destination = to;
    const size_t ip_size = from.version == 4 ? ip4_header_size : ip6_header_size;
    assert_true(size >= ip_size + tcp_header_size);
    assert_int_equal(ip_write(ByteSpan(at, size), head, size - ip_size), ip_size);
    TcpSegment tcp;
    tcp.source_port = 1000;
    tcp.destination_port = 443;
    tcp.seq = number;
    tcp.flags = tcp_ack;
    const size_t payload = size - ip_size - tcp_header_size;
    assert_int_equal(tcp_write_header(ByteSpan(at + ip_size, size - ip_size), tcp), tcp_header_size);
    uint8_t *body = at + ip_size + tcp_header_size;
    for (size_t i = 0; i < payload; i++) body[i] = static_cast<uint8_t>(number * 31 + i * 7);
    const size_t addresses = from.version == 4 ? 12 : 8, width = from.size();
    tcp_finish(at + ip_size, tcp_header_size,
               checksum_pseudo(at + addresses, at + addresses + width, width, ip_tcp,
                               static_cast<uint32_t>(size - ip_size)),
               checksum_sum(body, payload));
    return bytes;
}
inline std::string segment(uint32_t number, size_t size = 100) {
    return segment(number, size, address4(1), address4(2));
}
inline uint32_t number_of(const std::string &packet) {
    const size_t at = (packet[0] & 0xF0) == 0x40 ? 24 : 44;
    return load_be32(reinterpret_cast<const uint8_t *>(packet.data()) + at);
}

struct Arrival {
    Nanos at;
    std::string bytes;
    bool operator==(const Arrival &other) const { return at == other.at && bytes == other.bytes; }
};

struct Collector : PacketSink {
    std::vector<Arrival> arrivals;
    Collector() {
        accept = [](PacketSink *self, ByteView packet, Nanos now) {
            static_cast<Collector *>(self)->arrivals.push_back({now, str(packet)});
        };
    }
    Collector(const Collector &) = delete;
    Collector &operator=(const Collector &) = delete;
    size_t count() const { return arrivals.size(); }
    std::vector<uint32_t> numbers() const {
        std::vector<uint32_t> out;
        for (const Arrival &a : arrivals) out.push_back(number_of(a.bytes));
        return out;
    }
};

// Times do not begin at 0 and do not fit in 32 bits.
constexpr Nanos start_at = 7000 * ns_per_s + 123456789;

// One filter, or a chain, between a test and a collector.
struct Stand {
    SimTimeline timeline;
    Collector out;
    SimPlace place;
    explicit Stand(uint64_t seed = test_seed(), uint32_t slots = 64, uint32_t packet_bytes = 1500) {
        SimTimelineOptions options;
        options.slots = slots;
        options.packet_bytes = packet_bytes;
        assert_int_equal(sim_timeline_open(&timeline, options), WSXDP_OK);
        place.timeline = &timeline;
        place.next = &out;
        place.seed = seed;
        place.start = start_at;
    }
    ~Stand() { sim_timeline_close(&timeline); }
    Stand(const Stand &) = delete;
    Stand &operator=(const Stand &) = delete;
    void run(Nanos now) { sim_timeline_run(&timeline, now); }
    // Nothing is lost unnoticed: every packet passed, was dropped or refused, and no slot is held.
    void settle(const SimFilter &filter, uint64_t sent, uint64_t doubled = 0) {
        run(never - 1);
        assert_int_equal(timeline.in_use, 0);
        assert_int_equal(timeline.waiting, 0);
        assert_int_equal(filter.count.taken, sent);
        assert_int_equal(filter.count.taken + doubled,
                         filter.count.passed + filter.count.dropped + filter.count.refused);
    }
};

inline void give(PacketSink *sink, const std::string &packet, Nanos now) {
    sink->accept(sink, view(packet), now);
}

// Within five standard deviations of what the chance says: fails once in two million seeds if the code is
// right.
inline void check_share(uint64_t count, uint64_t of, double chance) {
    const double mean = static_cast<double>(of) * chance, variance = mean * (1 - chance);
    const double off = static_cast<double>(count) - mean;
    if (off * off > 25 * variance + 1)
        fail_msg("seed %llu: %llu of %llu, wanted about %.0f", static_cast<unsigned long long>(test_seed()),
                 static_cast<unsigned long long>(count), static_cast<unsigned long long>(of), mean);
}

} // namespace simulated
