// SPDX-License-Identifier: MIT
// Packets read and checksums summed, each beside a system call timed in the same run. Reaches into lib/wire,
// which the archive hides, so it is linked with the library's objects. Bytes lie in the cache, as they do
// just after the kernel or a network card put them there.
//
// usage: bench_wire [--json FILE]
#include "../lib/wire/frame.h"
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

namespace {

using bench::Json;
using bench::Report;
using Bytes = std::vector<uint8_t>;

constexpr size_t payload_bytes = 256; // of the packets that are read
constexpr size_t sum_sizes[] = {20, 64, 256, 1460, 9000};

[[noreturn]] void fail(const char *what) {
    fprintf(stderr, "bench_wire: %s\n", what);
    exit(1);
}

// ---- packets ----

// Ethernet, IP, TCP with a timestamp.
Bytes make_frame(int version) {
    wx::IpTemplate head;
    const uint8_t addresses[2][16] = {{0x20, 1, 0xD, 0xB8, 0, 1}, {0x20, 1, 0xD, 0xB8, 0, 2}};
    const uint8_t v = static_cast<uint8_t>(version);
    head.source = wx::ip_address(addresses[0], v);
    head.destination = wx::ip_address(addresses[1], v);
    wx::TcpSegment segment;
    segment.source_port = 443;
    segment.destination_port = 40000;
    segment.flags = wx::tcp_ack | wx::tcp_psh;
    segment.options.has_timestamps = true;
    Bytes out(14 + 40 + 32 + payload_bytes, 0x5A);
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    size_t at = wx::ethernet_write(wx::ByteSpan(out.data(), 14), mac, mac, wx::no_vlan,
                                   version == 4 ? wx::ether_ipv4 : wx::ether_ipv6);
    const size_t tcp_bytes = 32 + payload_bytes;
    at += wx::ip_write(wx::ByteSpan(out.data() + at, 40), head, tcp_bytes);
    const size_t tcp_head = wx::tcp_write_header(wx::ByteSpan(out.data() + at, 32), segment);
    out.resize(at + tcp_bytes);
    wx::tcp_finish(out.data() + at, tcp_head,
                   wx::checksum_pseudo(head.source.bytes, head.destination.bytes, head.source.size(),
                                       wx::ip_tcp, static_cast<uint32_t>(tcp_bytes)),
                   wx::checksum_sum(out.data() + at + tcp_head, payload_bytes));
    return out;
}

double time_read(const Bytes &bytes, bool framed, wx::ChecksumPolicy policy) {
    const wx::ByteView input(bytes.data() + (framed ? 0 : 14), bytes.size() - (framed ? 0 : 14));
    wx::Frame frame;
    const auto read = framed ? wx::frame_read : wx::packet_read;
    return bench::best_ns(1, [&] {
        if (read(input, policy, &frame) != wx::Wire::ok || frame.tcp.payload.size != payload_bytes)
            fail("a good packet was refused");
        bench::keep(frame);
    });
}

void packet_table(Report &report, double call) {
    printf("\npackets (TCP with a timestamp, %zu bytes of payload)\n", payload_bytes);
    printf("  %-8s %-8s %-8s %9s %9s\n", "", "IP", "checksum", "ns", "x call");
    for (bool framed : {false, true}) {
        for (int version : {4, 6}) {
            const Bytes bytes = make_frame(version);
            for (wx::ChecksumPolicy policy : {wx::ChecksumPolicy::trust, wx::ChecksumPolicy::verify}) {
                const char *const what = framed ? "frame" : "packet";
                const char *const checked = policy == wx::ChecksumPolicy::trust ? "trust" : "verify";
                const double each = time_read(bytes, framed, policy);
                printf("  %-8s %-8d %-8s %9.1f %9.3f\n", what, version, checked, each, each / call);
                Json json;
                json.text("section", what).number("ip", version).text("checksum", checked);
                json.number("ns", each).number("ratio_call", each / call);
                report.row(json);
                if (framed && version == 4 && policy == wx::ChecksumPolicy::trust)
                    report.bar("read one 256-byte TCP frame, checksums trusted / call", each / call, 0.2,
                               true);
            }
        }
    }
}

// ---- checksums ----

// Source and target half a page apart modulo pages, as the copy yardstick has them.
struct Pair {
    static constexpr size_t page = 4096, span = 3 * page;
    Pair() : memory(2 * span + 2 * page, 0xA7) {}
    uint8_t *source() { return memory.data() + (page - reinterpret_cast<uintptr_t>(memory.data()) % page); }
    uint8_t *target() { return source() + span + page / 2; }
    Bytes memory;
};

void sum_row(Report &report, const wx::ChecksumCode &code, size_t size, double call) {
    Pair pair;
    uint8_t *source = pair.source(), *target = pair.target();
    const double sum = bench::best_ns(1, [&] {
        const wx::ChecksumSum value = code.sum(source, size);
        bench::keep(value);
    });
    const double fused = bench::best_ns(1, [&] {
        const wx::ChecksumSum value = code.copy(target, source, size);
        bench::keep(value);
    });
    const double apart = bench::best_ns(1, [&] {
        memcpy(target, source, size);
        bench::keep(*target);
        const wx::ChecksumSum value = code.sum(target, size);
        bench::keep(value);
    });
    printf("  %-8s %6zu %9.1f %9.3f %9.2f %9.1f %9.1f %9.3f\n", code.name, size, sum, sum / call,
           static_cast<double>(size) / sum, fused, apart, fused / apart);
    Json json;
    json.text("section", "checksum").text("code", code.name).number("bytes", static_cast<double>(size));
    json.number("sum_ns", sum).number("ratio_call", sum / call).number("copy_ns", fused);
    json.number("copy_then_sum_ns", apart).number("fused_ratio", fused / apart);
    report.row(json);
    if (size == 1460 && strcmp(code.name, "chosen") == 0)
        report.bar("copy and sum 1460 bytes at once / one after the other", fused / apart, 1, true);
}

void sum_table(Report &report, double call) {
    printf("\nchecksums (sum alone; copy fused with it; memcpy, then sum)\n");
    printf("  %-8s %6s %9s %9s %9s %9s %9s %9s\n", "", "bytes", "sum ns", "x call", "GB/s", "fused ns",
           "apart ns", "ratio");
    const wx::ChecksumCode *codes;
    const size_t count = wx::checksum_codes(&codes);
    for (size_t i = 0; i < count; i++)
        for (size_t size : sum_sizes) sum_row(report, codes[i], size, call);
    for (size_t size : sum_sizes)
        sum_row(report, {"chosen", wx::checksum_sum, wx::checksum_copy}, size, call);
}

} // namespace

int main(int argc, char **argv) {
    const char *json = argc == 3 && strcmp(argv[1], "--json") == 0 ? argv[2] : nullptr;
    bench::pin(bench::cpu_count() > 1 ? 1 : -1);
    const double call = bench::yardstick_call();
    printf("yardstick: call %.1f ns (getppid)\n", call);
    Report report;
    packet_table(report, call);
    sum_table(report, call);
    report.print_bars("wire bars");
    if (json && !report.write(json, {{"call", call}})) {
        perror(json);
        return 1;
    }
    return 0;
}
