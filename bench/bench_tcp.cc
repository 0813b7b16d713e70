// SPDX-License-Identifier: MIT
// What the TCP core costs for a small segment, without any system call: from an Ethernet frame to bytes that
// are read, and from bytes that are written to a packet with its checksum. Next to the price of a system
// call, which is what a kernel's TCP costs at least. Segments come in batches, as from a device, and are
// acknowledged once for each batch.
//
// usage: bench_tcp [--json FILE]
#include "../lib/tcp/parts.h"
#include "../lib/wire/frame.h"
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace {

using namespace bench;
using namespace wx;
using Bytes = std::vector<uint8_t>;

constexpr uint32_t payload_bytes = 256;
constexpr uint32_t batch = 8;
constexpr uint32_t per_round = 512;
constexpr uint32_t peer_isn = 1000;

[[noreturn]] void fail(const char *what) {
    fprintf(stderr, "bench_tcp: %s\n", what);
    exit(1);
}

// Copies headers and payload, as into a device's frame.
struct Sink : TcpSink {
    uint8_t head[2048];
    uint64_t packets = 0, acks = 0;
    static bool take(TcpSink *self, const TcpPacket &packet) {
        Sink *sink = static_cast<Sink *>(self);
        size_t size = packet.headers.size;
        memcpy(sink->head, packet.headers.data, size);
        for (unsigned i = 0; packet.payload != nullptr && i < packet.payload->count; i++) {
            const ByteView piece = packet.payload->pieces[i];
            memcpy(sink->head + size, piece.data, piece.size);
            size += piece.size;
        }
        (packet.payload != nullptr ? sink->packets : sink->acks)++;
        return true;
    }
};

// An established connection, whose peer is made of segments.
struct Client {
    FixedRandom random;
    TcpHost host;
    TcpTuple tuple;
    TcpConnection c;
    std::vector<uint64_t> storage;
    Sink sink;
    uint64_t released = 0;
    Nanos now = ns_per_s;

    explicit Client(int version) {
        fixed_random_open(&random, 1);
        host.random = &random;
        host.release_receive = {[](void *self, FrameId) { static_cast<Client *>(self)->released++; }, this};
        sink.send = Sink::take;
        uint8_t addresses[2][16] = {{0xFD, 1}, {0xFD, 2}};
        if (version == 4) addresses[0][0] = addresses[1][0] = 10;
        tuple.local = ip_address(addresses[0], static_cast<uint8_t>(version));
        tuple.remote = ip_address(addresses[1], static_cast<uint8_t>(version));
        tuple.local_port = 40000;
        tuple.remote_port = 443;
        TcpConfig config;
        config.ack_segments = batch;
        const size_t bytes = tcp_storage_bytes(config);
        storage.resize((bytes + 64) / 8 + 8);
        uint8_t *const aligned =
            reinterpret_cast<uint8_t *>((reinterpret_cast<uintptr_t>(storage.data()) + 63) & ~uintptr_t{63});
        if (tcp_open(&c, &host, config, ByteSpan(aligned, bytes)) != 0) fail("tcp_open failed");
        tcp_connect(&c, tuple, now);
        tcp_output(&c, &sink, now);
        now += ns_per_ms;
        TcpSegment answer = segment(peer_isn, c.send_next);
        answer.flags = tcp_syn | tcp_ack;
        answer.options.has_mss = answer.options.has_scale = answer.options.sack_permitted = true;
        answer.options.mss = 1460;
        answer.options.scale = 7;
        tcp_on_segment(&c, answer, no_frame, now);
        tcp_output(&c, &sink, now);
        if (c.state != TcpState::established || !c.timestamps) fail("no connection");
    }

    TcpSegment segment(uint32_t seq, uint32_t ack) const {
        TcpSegment s;
        s.source_port = tuple.remote_port;
        s.destination_port = tuple.local_port;
        s.seq = seq;
        s.ack = ack;
        s.flags = tcp_ack;
        s.window = 65535;
        s.options.has_timestamps = true;
        s.options.ts_value = 1;
        s.options.ts_echo = tcp_timestamp(&c, now);
        return s;
    }
};

// From Ethernet on.
Bytes make_frame(const Client &client, uint32_t seq) {
    Bytes out(ether_header_size + ip6_header_size + tcp_header_max + payload_bytes, 'x');
    const bool six = client.tuple.local.version == 6;
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    size_t at =
        ethernet_write(ByteSpan(out.data(), out.size()), mac, mac, no_vlan, six ? ether_ipv6 : ether_ipv4);
    const TcpSegment s = client.segment(seq, client.c.send_next);
    const size_t size = tcp_header_size + tcp_options_size(s.options);
    IpTemplate head;
    head.source = client.tuple.remote;
    head.destination = client.tuple.local;
    at += ip_write(ByteSpan(out.data() + at, out.size() - at), head, size + payload_bytes);
    uint8_t *const tcp = out.data() + at;
    tcp_write_header(ByteSpan(tcp, tcp_header_max), s);
    out.resize(at + size + payload_bytes);
    const ChecksumSum pseudo = checksum_pseudo(head.source.bytes, head.destination.bytes, head.source.size(),
                                               ip_tcp, static_cast<uint32_t>(size + payload_bytes));
    tcp_finish(tcp, size, pseudo, checksum_sum(tcp + size, payload_bytes));
    return out;
}

// ns for a segment. The same frames in each round, to the same connection as it was before them.
double time_receive(int version, ChecksumPolicy policy, double *allocated) {
    Client client(version);
    std::vector<Bytes> frames;
    for (uint32_t i = 0; i < per_round; i++)
        frames.push_back(make_frame(client, peer_isn + 1 + i * payload_bytes));
    const TcpConnection start = client.c;
    const auto round = [&] {
        client.c = start;
        for (uint32_t i = 0; i < per_round; i += batch) {
            for (uint32_t k = i; k < i + batch; k++) {
                Frame frame;
                if (frame_read(ByteView(frames[k].data(), frames[k].size()), policy, &frame) != Wire::ok)
                    fail("a good segment was refused");
                if (!tcp_on_segment(&client.c, frame.tcp, k, client.now)) fail("a good segment was refused");
            }
            TcpView views[batch];
            if (tcp_views(&client.c, views, batch) != batch) fail("segments are missing");
            tcp_consume(&client.c, batch * payload_bytes);
            tcp_output(&client.c, &client.sink, client.now);
        }
    };
    round(); // the reassembly's memory was touched once
    const uint64_t before = allocations(), acks = client.sink.acks;
    const double each = best_ns(per_round, round);
    *allocated = static_cast<double>(allocations() - before);
    if (client.sink.acks - acks < per_round / batch) fail("a segment was held back");
    return each;
}

double time_send(int version, double *allocated) {
    Client client(version);
    const Bytes message(payload_bytes, 'x');
    uint32_t next = client.c.send_next;
    const auto round = [&] {
        for (uint32_t i = 0; i < per_round; i += batch) {
            const uint64_t sent = client.sink.packets;
            for (uint32_t k = 0; k < batch; k++) {
                TcpChunk chunk;
                chunk.data = message.data();
                chunk.size = payload_bytes;
                if (!tcp_write(&client.c, chunk)) fail("a write was refused");
                tcp_output(&client.c, &client.sink, client.now);
            }
            if (client.sink.packets - sent != batch) fail("a segment was held back");
            client.now += 20000;
            next += batch * payload_bytes;
            tcp_on_segment(&client.c, client.segment(peer_isn + 1, next), no_frame, client.now);
            if (tcp_outstanding(&client.c) != 0) fail("nothing was acknowledged");
        }
    };
    round();
    const uint64_t before = allocations();
    const double each = best_ns(per_round, round);
    *allocated = static_cast<double>(allocations() - before);
    return each;
}

void row(Report &report, const char *what, int version, const char *checksum, double each, double call,
         double allocated, double bound) {
    printf("  %-8s %-4d %-8s %9.1f %9.3f %9.0f\n", what, version, checksum, each, each / call, allocated);
    Json json;
    json.text("section", "tcp").text("what", what).number("ip", version).text("checksum", checksum);
    json.number("ns", each).number("ratio_call", each / call).number("allocations", allocated);
    report.row(json);
    if (version != 4) return; // the other differs by less than the noise
    const std::string name = std::string(what) + " a 256-byte segment" +
                             (*checksum == 0 ? "" : std::string(", checksums ") + checksum) + " / call";
    report.bar(name, each / call, bound, true);
}

} // namespace

int main(int argc, char **argv) {
    const char *json = argc == 3 && strcmp(argv[1], "--json") == 0 ? argv[2] : nullptr;
    pin(cpu_count() > 1 ? 1 : -1);
    const double call = yardstick_call();
    printf("\nyardstick: call %.1f ns (getppid)\n", call);
    Report report;
    printf("\ntcp (256-byte segments, timestamps on, an acknowledgement for every %u)\n", batch);
    printf("  %-8s %-4s %-8s %9s %9s %9s\n", "", "IP", "checksum", "ns", "x call", "allocated");
    double allocated = 0, total = 0;
    for (int version : {4, 6}) {
        for (ChecksumPolicy policy : {ChecksumPolicy::trust, ChecksumPolicy::verify}) {
            const bool trust = policy == ChecksumPolicy::trust;
            const double each = time_receive(version, policy, &allocated);
            row(report, "receive", version, trust ? "trusted" : "verified", each, call, allocated,
                trust ? 0.6 : 1.2);
            total += allocated;
        }
        const double each = time_send(version, &allocated);
        row(report, "send", version, "", each, call, allocated, 0.8);
        total += allocated;
    }
    report.bar("allocations while segments flow", total, 0, true);
    TcpConfig config;
    const size_t size = tcp_storage_bytes(config);
    printf("\n  a connection: %zu bytes, and %zu of storage with the default sizes\n", sizeof(TcpConnection),
           size);
    Json memory;
    memory.text("section", "tcp").number("object_bytes", static_cast<double>(sizeof(TcpConnection)));
    memory.number("storage_bytes", static_cast<double>(size));
    report.row(memory);
    report.print_bars("tcp");
    if (json && !report.write(json, {{"call", call}})) fail("cannot write the JSON file");
    return 0;
}
