// SPDX-License-Identifier: MIT
// The codec alone: frames parsed, built and masked, UTF-8 checked, messages inflated and deflated, each
// beside a yardstick timed in the same run. Reaches into lib/ws, which the archive hides, so it is linked
// with the library's objects. Bytes lie in the cache, as they do just after recv() or TLS put them there.
//
// usage: bench_codec [--json FILE]
#include "../lib/ws/deflate.h"
#include "../lib/ws/receiver.h"
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

namespace {

using bench::Json;
using bench::Report;
using Bytes = std::vector<uint8_t>;

constexpr size_t sizes[] = {16, 64, 256, 1024, 4096, 16384};
constexpr size_t window_bytes = 16384; // about so many bytes of frames per round, whatever their size

struct Yardsticks {
    double call = 0, line = 0;
};

uint64_t total_allocations = 0; // while anything was timed

[[noreturn]] void fail(const char *what) {
    fprintf(stderr, "bench_codec: %s\n", what);
    exit(1);
}

// ---- input ----

Bytes repeat_text(const char *piece, size_t bytes) {
    Bytes out;
    size_t length = strlen(piece);
    while (out.size() + length <= bytes) out.insert(out.end(), piece, piece + length);
    out.resize(bytes, ' ');
    return out;
}

const char *const piece_ascii =
    "{\"e\":\"trade\",\"s\":\"BTCUSDT\",\"p\":\"67123.45\",\"q\":\"0.00120\",\"T\":1700000000}";
const char *const piece_mixed =
    "{\"note\":\"prix d\xc3\xa9j\xc3\xa0 vu, 12 \xe2\x82\xac\",\"who\":\"M\xc3\xbcller\"}";
const char *const piece_cjk =
    "\xe5\xb8\x82\xe5\x9c\xba\xe6\x95\xb0\xe6\x8d\xae\xe4\xbe\x86\xe8\x87\xaa\xe4\xba"
    "\xa4\xe6\x98\x93\xe6\x89\x80\xe3\x81\xae\xe6\x83\x85\xe5\xa0\xb1";

Bytes frames_of(uint8_t opcode, const Bytes &payload, size_t *count) {
    Bytes out;
    *count = std::max<size_t>(1, window_bytes / (payload.size() + 4));
    for (size_t i = 0; i < *count; i++) {
        uint8_t head[wx::frame_head_max];
        size_t size =
            wx::frame_head_build(head, static_cast<uint8_t>(0x80 | opcode), payload.size(), false, 0);
        out.insert(out.end(), head, head + size);
        out.insert(out.end(), payload.begin(), payload.end());
    }
    return out;
}

// ---- parse ----

void parse_all(wx::Receiver &receiver, Bytes &wire, size_t frames) {
    uint8_t *start = wire.data();
    uint64_t avail = wire.size();
    wx::Item item;
    size_t got = 0;
    while (receiver.next(start, avail, &item) == 1) {
        start += item.consumed;
        avail -= item.consumed;
        bench::keep(item);
        got++;
    }
    if (got != frames || avail != 0) fail("the receiver did not give back every frame");
}

double time_parse(uint8_t opcode, const Bytes &payload, uint64_t *allocated) {
    size_t frames;
    Bytes wire = frames_of(opcode, payload, &frames);
    wx::Receiver receiver;
    receiver.limits.message_bytes_max = 1 << 20;
    parse_all(receiver, wire, frames);
    uint64_t before = bench::allocations();
    double each = bench::best_ns(static_cast<double>(frames), [&] { parse_all(receiver, wire, frames); });
    *allocated = bench::allocations() - before;
    return each;
}

void parse_row(Report &report, const Yardsticks &sticks, const char *kind, uint8_t opcode,
               const Bytes &payload) {
    uint64_t allocated;
    double each = time_parse(opcode, payload, &allocated);
    double copy = bench::yardstick_copy(payload.size());
    printf("  parse %-12s %6zu %10.1f %12.0f %9.2f %9.3f %9.3f %7llu\n", kind, payload.size(), each,
           1e9 / each, static_cast<double>(payload.size()) / each, each / sticks.call, copy / each,
           static_cast<unsigned long long>(allocated));
    Json json;
    json.text("section", "parse").text("kind", kind).number("bytes", static_cast<double>(payload.size()));
    json.number("ns_per_frame", each)
        .number("frames_per_s", 1e9 / each)
        .number("ratio_call", each / sticks.call);
    json.number("share_of_copy", copy / each).number("allocations", static_cast<double>(allocated));
    report.row(json);
    if (payload.size() == 64 && opcode == wx::opcode_text)
        report.bar("parse one 64-byte text frame / call", each / sticks.call, 0.2, true);
    if (payload.size() == 16384 && opcode == wx::opcode_text)
        report.bar(std::string("16 KiB text frame parsed, UTF-8 checked (") + kind +
                       "): share of copy's bandwidth",
                   copy / each, 0.3, false);
    total_allocations += allocated;
}

void parse_table(Report &report, const Yardsticks &sticks) {
    printf("\nparse (frame heads, rules, UTF-8 of text; unmasked, as servers send)\n");
    printf("  %-18s %6s %10s %12s %9s %9s %9s %7s\n", "", "bytes", "ns/frame", "frames/s", "GB/s", "x call",
           "of copy", "allocs");
    for (size_t size : sizes) {
        parse_row(report, sticks, "binary", wx::opcode_binary, repeat_text(piece_ascii, size));
        parse_row(report, sticks, "ascii", wx::opcode_text, repeat_text(piece_ascii, size));
        if (size < 256) continue;
        parse_row(report, sticks, "mixed", wx::opcode_text, repeat_text(piece_mixed, size));
        parse_row(report, sticks, "cjk", wx::opcode_text, repeat_text(piece_cjk, size));
    }
}

// ---- build and mask ----

struct BuildTimes {
    double build, mask;
    uint64_t allocated;
};

// Source and target half a page apart modulo pages, as the copy yardstick has them.
struct Pair {
    explicit Pair(size_t bytes) : span((bytes + page - 1) / page * page), memory(2 * span + 2 * page) {}
    uint8_t *source() { return memory.data() + (page - reinterpret_cast<uintptr_t>(memory.data()) % page); }
    uint8_t *target() { return source() + span + page / 2; }

    static constexpr size_t page = 4096;
    size_t span;
    Bytes memory;
};

BuildTimes time_build(const Bytes &payload) {
    Pair pair(payload.size() + wx::frame_head_max);
    uint8_t *source = pair.source(), *target = pair.target();
    memcpy(source, payload.data(), payload.size());
    uint32_t mask = 0x9d3a7c51;
    BuildTimes times;
    uint64_t before = bench::allocations();
    times.build = bench::best_ns(1, [&] {
        mask = mask * 2654435761u + 12345; // another mask for each message, as there is in the pipeline
        size_t head = wx::frame_head_build(target, 0x81, payload.size(), true, mask);
        wx::mask_apply(target + head, source, payload.size(), mask, 0);
        bench::keep(*target);
    });
    times.mask = bench::best_ns(1, [&] {
        wx::mask_apply(target, source, payload.size(), mask, 0);
        bench::keep(*target);
    });
    times.allocated = bench::allocations() - before;
    return times;
}

void build_table(Report &report, const Yardsticks &sticks) {
    printf("\nbuild (head, mask, payload copied) and mask (payload to another place)\n");
    printf("  %6s %10s %9s %9s %12s %9s %9s\n", "bytes", "build ns", "x call", "of copy", "mask ns",
           "mask GB/s", "of copy");
    for (size_t size : sizes) {
        BuildTimes times = time_build(repeat_text(piece_ascii, size));
        double copy = bench::yardstick_copy(size);
        printf("  %6zu %10.1f %9.3f %9.3f %12.1f %9.2f %9.3f\n", size, times.build, times.build / sticks.call,
               copy / times.build, times.mask, static_cast<double>(size) / times.mask, copy / times.mask);
        Json json;
        json.text("section", "build")
            .number("bytes", static_cast<double>(size))
            .number("build_ns", times.build);
        json.number("mask_ns", times.mask).number("build_ratio_call", times.build / sticks.call);
        json.number("mask_share_of_copy", copy / times.mask);
        report.row(json);
        if (size == 16384)
            report.bar("masking 16 KiB: share of copy's bandwidth", copy / times.mask, 0.5, false);
        total_allocations += times.allocated;
    }
}

// ---- UTF-8 ----

void utf8_table(Report &report) {
    printf("\nutf-8 (incremental check, one piece of 16 KiB)\n");
    printf("  %-8s %10s %9s %9s\n", "", "ns", "GB/s", "of copy");
    const char *const kinds[] = {"ascii", "mixed", "cjk"};
    const char *const pieces[] = {piece_ascii, piece_mixed, piece_cjk};
    double copy = bench::yardstick_copy(window_bytes);
    for (int i = 0; i < 3; i++) {
        Bytes text = repeat_text(pieces[i], window_bytes);
        double each = bench::best_ns(1, [&] {
            wx::Utf8 utf8;
            if (!utf8.feed(text.data(), text.size()) || !utf8.complete()) fail("valid UTF-8 was refused");
            bench::keep(utf8);
        });
        printf("  %-8s %10.0f %9.2f %9.3f\n", kinds[i], each, static_cast<double>(text.size()) / each,
               copy / each);
        Json json;
        json.text("section", "utf8")
            .text("kind", kinds[i])
            .number("ns", each)
            .number("share_of_copy", copy / each);
        report.row(json);
    }
}

// ---- permessage-deflate ----

struct DeflateTimes {
    double deflate, inflate, wire_bytes;
    uint64_t allocated;
};

// Without context takeover in the inflating direction the same message can be fed again and again.
DeflateTimes time_deflate(const Bytes &text) {
    wx::DeflateOptions options;
    wx::DeflateAgreement agreement;
    agreement.client_no_context_takeover = agreement.server_no_context_takeover = true;
    wx::Deflater *deflater = nullptr;
    wx::Inflater *inflater = nullptr;
    if (wx::deflater_open(agreement, options, &deflater) < 0 ||
        wx::inflater_open(agreement, options, &inflater) < 0)
        fail("zlib could not be opened");
    Bytes wire(wx::deflater_bound(deflater, text.size())), plain(text.size() + 64);
    wx::ByteView message(text.data(), text.size());
    int64_t used = 0;
    DeflateTimes times{};
    uint64_t before = bench::allocations();
    times.deflate = bench::best_ns(1, [&] {
        used = wx::deflater_message(deflater, message, true, wx::ByteSpan(wire.data(), wire.size()));
        if (used <= 0) fail("deflate failed");
    });
    times.inflate = bench::best_ns(1, [&] {
        wx::ByteView input(wire.data(), static_cast<size_t>(used));
        size_t produced = 0;
        int done = wx::inflater_feed(inflater, &input, true, wx::ByteSpan(plain.data(), plain.size()),
                                     1 << 20, &produced);
        if (done != 1 || produced != text.size()) fail("inflate did not give the message back");
    });
    times.allocated = bench::allocations() - before;
    times.wire_bytes = static_cast<double>(used);
    wx::deflater_free(deflater);
    wx::inflater_free(inflater);
    return times;
}

void deflate_table(Report &report) {
    printf("\npermessage-deflate (JSON, no context takeover, level 1)\n");
    printf("  %6s %8s %12s %12s %9s %9s %7s\n", "bytes", "wire", "deflate ns", "inflate ns", "out MB/s",
           "in MB/s", "allocs");
    for (size_t size : {256, 1024, 16384}) {
        DeflateTimes times = time_deflate(repeat_text(piece_ascii, size));
        total_allocations += times.allocated;
        double bytes = static_cast<double>(size);
        printf("  %6zu %8.0f %12.0f %12.0f %9.0f %9.0f %7llu\n", size, times.wire_bytes, times.deflate,
               times.inflate, 1e3 * bytes / times.deflate, 1e3 * bytes / times.inflate,
               static_cast<unsigned long long>(times.allocated));
        Json json;
        json.text("section", "deflate").number("bytes", bytes).number("wire_bytes", times.wire_bytes);
        json.number("deflate_ns", times.deflate).number("inflate_ns", times.inflate);
        json.number("allocations", static_cast<double>(times.allocated));
        report.row(json);
    }
}

} // namespace

int main(int argc, char **argv) {
    const char *json = argc == 3 && strcmp(argv[1], "--json") == 0 ? argv[2] : nullptr;
    bench::pin(bench::cpu_count() > 1 ? 1 : -1);
    Yardsticks sticks;
    sticks.call = bench::yardstick_call();
    sticks.line = bench::yardstick_line();
    double copy64 = bench::yardstick_copy(64), copy16k = bench::yardstick_copy(16384);
    printf("yardsticks: call %.1f ns (getppid), copy %.1f ns for 64 B and %.0f ns for 16 KiB (%.1f GB/s), "
           "line %.1f ns\n",
           sticks.call, copy64, copy16k, 16384 / copy16k, sticks.line);
    Report report;
    parse_table(report, sticks);
    build_table(report, sticks);
    utf8_table(report);
    deflate_table(report);
    report.bar("allocations while parsing, building, inflating and deflating",
               static_cast<double>(total_allocations), 0, true);
    report.print_bars("codec bars");
    if (json &&
        !report.write(
            json,
            {{"call", sticks.call}, {"copy_64", copy64}, {"copy_16k", copy16k}, {"line", sticks.line}})) {
        perror(json);
        return 1;
    }
    return 0;
}
