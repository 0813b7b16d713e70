// SPDX-License-Identifier: MIT
// What scripts of a single connection do not see: which addresses are refused, what is answered for no
// connection, and every byte of the IP and TCP headers that leave during whole lives of connections, with
// losses, closed windows, probes, FIN and reset. Headers are read byte by byte here, not by the reader that
// passes over what it does not need.
#include "../../lib/link/sim_host.h"
#include "../base/check.h"
#include <algorithm>
#include <set>
#include <string.h>
#include <vector>

using namespace wx;

namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t versions[] = {4, 6};
const uint8_t client6[16] = {0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
const uint8_t server6[16] = {0x20, 1, 0xD, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2};

IpAddress client_address(uint8_t version) {
    return version == 6 ? ip_address(client6, 6) : ip4_address(192, 0, 2, 1);
}
IpAddress server_address(uint8_t version) {
    return version == 6 ? ip_address(server6, 6) : ip4_address(192, 0, 2, 2);
}

std::vector<IpAddress> not_unicast(uint8_t version) {
    if (version == 4)
        return {ip4_address(0, 0, 0, 0), ip4_address(224, 0, 0, 1), ip4_address(239, 255, 255, 255),
                ip4_address(255, 255, 255, 255)};
    uint8_t all_nodes[16] = {0xFF, 2}, unspecified[16] = {0};
    all_nodes[15] = 1;
    return {ip_address(unspecified, 6), ip_address(all_nodes, 6)};
}

// ---- opening ----

struct alignas(64) Line {
    uint8_t bytes[64];
};

// RFC 9293 MUST-46. A refused call leaves the object as it was.
void connect_refuses_addresses(void **) {
    FixedRandom random;
    fixed_random_open(&random, 1);
    TcpHost host;
    host.random = &random;
    const TcpConfig config;
    const size_t bytes = tcp_storage_bytes(config);
    std::vector<Line> storage(bytes / sizeof(Line) + 1);
    for (const uint8_t version : versions) {
        TcpConnection c;
        assert_int_equal(tcp_open(&c, &host, config, ByteSpan(storage[0].bytes, bytes)), 0);
        TcpTuple good;
        good.local = client_address(version);
        good.remote = server_address(version);
        good.local_port = 40000;
        good.remote_port = 443;
        std::vector<IpAddress> bad = not_unicast(version);
        bad.push_back(IpAddress()); // none at all
        for (const IpAddress &address : bad) {
            TcpTuple tuple = good;
            tuple.remote = address;
            assert_false(tcp_connect(&c, tuple, 1));
            tuple = good;
            tuple.local = address;
            assert_false(tcp_connect(&c, tuple, 1));
            assert_true(c.state == TcpState::closed);
            assert_int_equal(tcp_deadline(&c), never);
            TcpSink sink; // would be called through nullptr
            assert_int_equal(tcp_output(&c, &sink, 1), 0);
        }
        assert_true(tcp_connect(&c, good, 1));
        assert_false(tcp_connect(&c, good, 1)); // it is not CLOSED any more
        assert_true(c.state == TcpState::syn_sent);
    }
}

// ---- answers for no connection ----

TcpSegment segment(uint8_t flags, uint32_t seq, uint32_t ack, size_t payload) {
    static const uint8_t zeros[64] = {0};
    TcpSegment s;
    s.source_port = 1111;
    s.destination_port = 2222;
    s.seq = seq;
    s.ack = ack;
    s.flags = flags;
    s.payload = ByteView(zeros, payload);
    return s;
}

// RFC 9293 sections 3.5.2 and 3.10.7.1, for each set of flags; numbers that wrap among them.
void reply_to_each_set_of_flags(void **) {
    for (uint32_t seq : {0u, 5u, UINT32_MAX})
        for (unsigned flags = 0; flags < 256; flags++)
            for (size_t payload : {0, 1, 64}) {
                const TcpSegment s = segment(static_cast<uint8_t>(flags), seq, seq + 77, payload);
                TcpSegment answer;
                answer.flags = 0xEE;
                const bool answered = tcp_reply(s, &answer);
                assert_int_equal(answered, (flags & tcp_rst) == 0);
                if (!answered) continue;
                assert_int_equal(answer.source_port, 2222);
                assert_int_equal(answer.destination_port, 1111);
                assert_int_equal(answer.length(), 0);
                if (flags & tcp_ack) {
                    assert_int_equal(answer.flags, tcp_rst);
                    assert_int_equal(answer.seq, seq + 77);
                } else {
                    assert_int_equal(answer.flags, tcp_rst | tcp_ack);
                    assert_int_equal(answer.seq, 0);
                    const uint32_t numbers =
                        static_cast<uint32_t>(payload) + ((flags & tcp_syn) != 0) + ((flags & tcp_fin) != 0);
                    assert_int_equal(answer.ack, seq + numbers);
                }
                TcpSegment none;
                assert_false(tcp_reply(answer, &none)); // two hosts without a connection come to rest
            }
}

// ---- two hosts ----

struct Catcher : PacketSink {
    std::vector<Bytes> packets;
    Catcher() {
        accept = [](PacketSink *self, ByteView packet, Nanos) {
            static_cast<Catcher *>(self)->packets.emplace_back(packet.data, packet.data + packet.size);
        };
    }
};

struct Pair {
    SimHost client, server;
    Catcher from_client, from_server;
    std::vector<Bytes> sent; // all that the client ever sent
    Nanos now = ns_per_s;
    unsigned lose_client = 0, lose_server = 0; // of the next packets
    uint8_t version;

    explicit Pair(uint8_t version_, const TcpConfig &client_config, const TcpConfig &server_config)
        : version(version_) {
        SimHostOptions options;
        options.connections = 2;
        options.tcp = client_config;
        assert_int_equal(sim_host_open(&client, options), 0);
        options.tcp = server_config;
        options.seed = 2;
        assert_int_equal(sim_host_open(&server, options), 0);
        client.out = &from_client;
        server.out = &from_server;
        assert_true(sim_host_address(&client, client_address(version)));
        assert_true(sim_host_address(&server, server_address(version)));
    }
    ~Pair() {
        sim_host_close(&client);
        sim_host_close(&server);
    }
    // Everything that is sent and answered without time going on.
    void exchange() {
        for (;;) {
            sim_host_step(&client, now);
            sim_host_step(&server, now);
            std::vector<Bytes> ours, theirs;
            ours.swap(from_client.packets);
            theirs.swap(from_server.packets);
            if (ours.empty() && theirs.empty()) return;
            for (const Bytes &packet : ours) {
                sent.push_back(packet);
                if (lose_client != 0)
                    lose_client--;
                else
                    server.accept(&server, ByteView(packet.data(), packet.size()), now);
            }
            for (const Bytes &packet : theirs) {
                if (lose_server != 0)
                    lose_server--;
                else
                    client.accept(&client, ByteView(packet.data(), packet.size()), now);
            }
        }
    }
    void pass(Nanos span) {
        const Nanos until = now + span;
        for (;;) {
            exchange();
            const Nanos due = std::min(sim_host_deadline(&client), sim_host_deadline(&server));
            if (due > until) break;
            now = std::max(now, due);
        }
        now = until;
        exchange();
    }
    void write(SimHost *host, TcpConnection *c, size_t size) {
        const Bytes data(size, 0x5A);
        assert_int_equal(sim_host_write(host, c, ByteView(data.data(), data.size())), size);
        exchange();
    }
    size_t read(SimHost *host, TcpConnection *c) {
        Bytes out(65536);
        const size_t size = sim_host_read(host, c, ByteSpan(out.data(), out.size()));
        exchange();
        return size;
    }
};

// What a packet says, read from its bytes.
struct Header {
    const uint8_t *ip, *tcp;
    size_t tcp_size, options_size;
    uint8_t flags;
    std::set<uint8_t> kinds; // of options
};

Header header_of(const Bytes &packet, uint8_t version) {
    Header h;
    h.ip = packet.data();
    h.tcp = h.ip + (version == 6 ? 40 : 20);
    h.tcp_size = packet.size() - static_cast<size_t>(h.tcp - h.ip);
    h.options_size = size_t{h.tcp[12]} / 16 * 4 - 20;
    h.flags = h.tcp[13];
    for (size_t i = 20; i < 20 + h.options_size;) {
        const uint8_t kind = h.tcp[i];
        h.kinds.insert(kind);
        const size_t size = kind == 1 ? 1 : h.tcp[i + 1];
        assert_true(kind == 1 || size >= 2);
        i += size;
        assert_true(i <= 20 + h.options_size);
    }
    return h;
}

uint16_t word(const uint8_t *bytes) { return static_cast<uint16_t>(bytes[0] << 8 | bytes[1]); }

void check_ip(const Bytes &packet, uint8_t version, const TcpConfig &config, uint32_t *label) {
    const uint8_t *ip = packet.data();
    const IpAddress from = client_address(version), to = server_address(version);
    if (version == 4) {
        assert_int_equal(ip[0], 0x45);
        assert_int_equal(ip[1], config.traffic_class);
        assert_int_equal(word(ip + 2), packet.size());
        assert_int_equal(word(ip + 4), 0);      // identification, of what is never cut (RFC 6864)
        assert_int_equal(word(ip + 6), 0x4000); // DF and nothing else
        assert_int_equal(ip[8], config.hops);
        assert_int_equal(ip[9], 6);
        assert_memory_equal(ip + 12, from.bytes, 4);
        assert_memory_equal(ip + 16, to.bytes, 4);
        return;
    }
    const uint32_t first = static_cast<uint32_t>(word(ip)) << 16 | word(ip + 2);
    assert_int_equal(first >> 28, 6);
    assert_int_equal(first >> 20 & 0xFF, config.traffic_class);
    if (*label == 0) *label = first & 0xFFFFF;
    assert_int_not_equal(*label, 0);
    assert_int_equal(first & 0xFFFFF, *label);
    assert_int_equal(word(ip + 4), packet.size() - 40);
    assert_int_equal(ip[6], 6);
    assert_int_equal(ip[7], config.hops);
    assert_memory_equal(ip + 8, from.bytes, 16);
    assert_memory_equal(ip + 24, to.bytes, 16);
}

struct Seen {
    unsigned syn = 0, fin = 0, rst = 0, data = 0, blocks = 0;
};

void check_tcp(const Bytes &packet, uint8_t version, uint16_t local_port, Seen *seen) {
    Frame frame;
    assert_true(packet_read(ByteView(packet.data(), packet.size()), ChecksumPolicy::verify, &frame) ==
                Wire::ok);
    const Header h = header_of(packet, version);
    assert_int_equal(word(h.tcp), local_port);
    assert_int_equal(word(h.tcp + 2), 80);
    assert_int_equal(h.tcp[12] & 0x0F, 0); // reserved
    assert_int_equal(h.flags & (tcp_urg | tcp_ece | tcp_cwr), 0);
    assert_int_equal(word(h.tcp + 18), 0); // urgent pointer
    std::set<uint8_t> others = h.kinds;
    if (h.flags & tcp_syn) {
        assert_int_equal(h.kinds.count(2), 1); // MSS
        for (unsigned kind : {1u, 2u, 3u, 4u, 8u}) others.erase(static_cast<uint8_t>(kind));
        seen->syn++;
    } else { // neither MSS nor scale nor SACK permission
        for (unsigned kind : {1u, 5u, 8u}) others.erase(static_cast<uint8_t>(kind));
    }
    assert_int_equal(others.size(), 0);
    seen->blocks += h.kinds.count(5) != 0;
    seen->fin += (h.flags & tcp_fin) != 0;
    seen->rst += (h.flags & tcp_rst) != 0;
    seen->data += h.tcp_size > 20 + h.options_size;
}

void check_all(const Pair &pair, const TcpConfig &config, uint16_t local_port, Seen *seen) {
    uint32_t label = 0;
    for (const Bytes &packet : pair.sent) {
        check_ip(packet, pair.version, config, &label);
        check_tcp(packet, pair.version, local_port, seen);
    }
}

TcpConfig unusual(void) {
    TcpConfig config;
    config.hops = 7;
    config.traffic_class = 0xB8;
    config.keepalive_idle = 20 * ns_per_s;
    return config;
}

TcpConnection *established(Pair *pair, TcpConnection **peer) {
    *peer = sim_host_listen(&pair->server, 80);
    pair->lose_client = 1; // the SYN
    TcpConnection *c = sim_host_connect(&pair->client, server_address(pair->version), 80, pair->now);
    assert_non_null(c);
    pair->pass(2 * ns_per_s);
    assert_true(c->state == TcpState::established && (*peer)->state == TcpState::established);
    return c;
}

// RFC 9293 MUST-43, MUST-45, MUST-48, MUST-49, MUST-65, SHLD-13, SHLD-22, SHLD-23, section 3.1; RFC 6864;
// RFC 6437: SYN, data, acknowledgements with and without blocks, repetitions, probes of both kinds, FIN.
void headers_of_a_whole_life(void **) {
    for (const uint8_t version : versions) {
        const TcpConfig config = unusual();
        TcpConfig narrow;
        narrow.receive_bytes = 8192;
        Pair pair(version, config, narrow);
        TcpConnection *peer, *c = established(&pair, &peer);
        const uint16_t port = c->tuple.local_port;
        pair.lose_client = 1;
        pair.write(&pair.client, c, 3000);
        pair.pass(ns_per_s);
        pair.lose_server = 1;
        pair.write(&pair.server, peer, 6000);
        pair.pass(ns_per_s);
        assert_int_equal(pair.read(&pair.client, c), 6000);
        pair.write(&pair.client, c, 20000); // more than its window, and nobody reads
        pair.pass(3 * ns_per_s);
        size_t got = 0;
        for (unsigned i = 0; i < 20; i++) {
            got += pair.read(&pair.server, peer);
            pair.pass(ns_per_s);
        }
        assert_int_equal(got, 23000);
        pair.pass(60 * ns_per_s); // idle
        const TcpStats stats = c->stats;
        assert_true(stats.retransmitted > 0 && stats.window_probes > 0 && stats.keepalives > 0);
        tcp_finish(c);
        pair.pass(ns_per_s);
        tcp_finish(peer);
        pair.pass(ns_per_s);
        assert_true(c->state == TcpState::time_wait);
        Seen seen;
        check_all(pair, config, port, &seen);
        assert_true(seen.syn == 2 && seen.fin == 1 && seen.rst == 0 && seen.data > 10 && seen.blocks > 0);
    }
}

// The same of a connection that ends with a reset.
void headers_of_a_reset(void **) {
    for (const uint8_t version : versions) {
        const TcpConfig config = unusual();
        Pair pair(version, config, TcpConfig());
        TcpConnection *peer, *c = established(&pair, &peer);
        const uint16_t port = c->tuple.local_port;
        pair.write(&pair.client, c, 100);
        tcp_abort(c);
        pair.exchange();
        assert_true(peer->end == TcpEnd::reset);
        Seen seen;
        check_all(pair, config, port, &seen);
        assert_int_equal(seen.rst, 1);
    }
}

// ---- who is not meant ----

Bytes packet_to(const IpAddress &from, const IpAddress &to, uint16_t port, const TcpSegment &s) {
    TcpTuple tuple; // as the sender sees it
    tuple.local = from;
    tuple.remote = to;
    tuple.local_port = 5000;
    tuple.remote_port = port;
    Bytes out(128);
    out.resize(tcp_write_packet(ByteSpan(out.data(), out.size()), tuple, s));
    assert_true(out.size() != 0);
    return out;
}

// The answers to it.
std::vector<Bytes> answers(Pair *pair, const Bytes &packet) {
    pair->server.accept(&pair->server, ByteView(packet.data(), packet.size()), pair->now);
    sim_host_step(&pair->server, pair->now);
    std::vector<Bytes> out;
    out.swap(pair->from_server.packets);
    return out;
}

// RFC 9293 MUST-57, MUST-63, RFC 1122 section 3.2.1.3: neither a listener nor the reset for unknown segments
// answers; the same segments between real addresses are answered.
void other_addresses_are_passed_over(void **) {
    const uint16_t ports[] = {80, 81}; // listened on, and not
    const uint8_t kinds[] = {tcp_syn, tcp_ack, tcp_fin, tcp_syn | tcp_fin, 0};
    for (const uint8_t version : versions) {
        Pair pair(version, TcpConfig(), TcpConfig());
        TcpConnection *listener = sim_host_listen(&pair.server, 80);
        const IpAddress us = server_address(version), them = client_address(version);
        for (const uint16_t port : ports)
            for (const uint8_t flags : kinds) {
                const TcpSegment s = segment(flags, 100, 200, 0);
                for (const IpAddress &address : not_unicast(version)) {
                    assert_int_equal(answers(&pair, packet_to(them, address, port, s)).size(), 0);
                    assert_int_equal(answers(&pair, packet_to(address, us, port, s)).size(), 0);
                    assert_true(listener->state == TcpState::listen);
                }
                if (port == 81) assert_int_equal(answers(&pair, packet_to(them, us, port, s)).size(), 1);
            }
        assert_true(pair.server.refused[static_cast<size_t>(Wire::bad_address)] > 0); // the sources
        assert_int_equal(answers(&pair, packet_to(them, us, 80, segment(tcp_syn, 100, 0, 0))).size(), 1);
        assert_true(listener->state == TcpState::syn_received);
    }
}

// RFC 9293 section 3.10.7.2, LISTEN: what has neither RST nor ACK nor SYN is dropped.
void listening_passes_over_others(void **) {
    Pair pair(4, TcpConfig(), TcpConfig());
    TcpConnection *listener = sim_host_listen(&pair.server, 80);
    const IpAddress us = server_address(4), them = client_address(4);
    for (unsigned flags = 0; flags < 256; flags++) {
        if (flags & (tcp_syn | tcp_ack)) continue;
        const TcpSegment s = segment(static_cast<uint8_t>(flags), 100, 0, 0);
        assert_int_equal(answers(&pair, packet_to(them, us, 80, s)).size(), 0);
        assert_true(listener->state == TcpState::listen);
    }
    const std::vector<Bytes> reset = answers(&pair, packet_to(them, us, 80, segment(tcp_ack, 100, 200, 0)));
    assert_int_equal(reset.size(), 1);
    assert_int_equal(header_of(reset[0], 4).flags, tcp_rst);
    assert_true(listener->state == TcpState::listen);
}

} // namespace

int main(void) {
    const CMUnitTest tests[] = {
        cmocka_unit_test(connect_refuses_addresses),       cmocka_unit_test(reply_to_each_set_of_flags),
        cmocka_unit_test(headers_of_a_whole_life),         cmocka_unit_test(headers_of_a_reset),
        cmocka_unit_test(other_addresses_are_passed_over), cmocka_unit_test(listening_passes_over_others),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
