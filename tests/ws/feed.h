// SPDX-License-Identifier: MIT
// Feeds a byte stream to a Receiver in given pieces, as an inbox would, and writes down what comes out in
// words that can be compared: "text:abc", "binary:...", "ping:..", "pong:", "close:", and at last "error
// -527".
#pragma once
#include "../../lib/ws/receiver.h"
#include <string>
#include <vector>

namespace feed {

using Bytes = std::string;

// One frame from the server. length_form 0: shortest; else 126 or 127 forced.
inline Bytes frame(unsigned first, const Bytes &payload, int length_form = 0) {
    uint8_t head[14];
    size_t n = wx::frame_head_build(head, static_cast<uint8_t>(first), payload.size(), false, 0);
    if (length_form == 126) {
        head[1] = 126;
        wx::store_be16(head + 2, static_cast<uint16_t>(payload.size()));
        n = 4;
    } else if (length_form == 127) {
        head[1] = 127;
        wx::store_be64(head + 2, payload.size());
        n = 10;
    }
    return Bytes(reinterpret_cast<char *>(head), n) + payload;
}
constexpr unsigned fin = 0x80;
inline Bytes text(const Bytes &s) { return frame(fin | wx::opcode_text, s); }
inline Bytes binary(const Bytes &s) { return frame(fin | wx::opcode_binary, s); }
inline Bytes ping(const Bytes &s) { return frame(fin | wx::opcode_ping, s); }
inline Bytes pong(const Bytes &s) { return frame(fin | wx::opcode_pong, s); }

struct Outcome {
    std::vector<Bytes> log;
    int status = 0;
    uint64_t fed = 0; // bytes fed when it ended
    uint64_t frames = 0;
    uint64_t left = 0; // bytes not given back
    bool operator==(const Outcome &o) const { return log == o.log && status == o.status; }
};

struct Feeder {
    wx::Receiver receiver;
    std::vector<uint8_t> inbox;
    uint64_t start = 0, end = 0;
    Bytes streamed;
    bool stream_open = false, compact = false;
    Outcome out;

    Feeder(const wx::ReceiverLimits &limits, size_t size) : inbox(size, 0xEE) { receiver.limits = limits; }

    void note(const wx::Item &item) {
        using wx::ItemKind;
        Bytes body(reinterpret_cast<const char *>(item.data), item.size);
        const Bytes kind =
            (item.compressed ? "deflated " : "") + Bytes(item.opcode == 1 ? "text:" : "binary:");
        out.frames += item.frames;
        if (item.kind == ItemKind::message) out.log.push_back(kind + body);
        if (item.kind == ItemKind::ping) out.log.push_back("ping:" + body);
        if (item.kind == ItemKind::pong) out.log.push_back("pong:" + body);
        if (item.kind == ItemKind::close) out.log.push_back("close:" + body);
        if (item.kind == ItemKind::piece) {
            if (item.first == stream_open) out.log.push_back("FIRST is wrong");
            if (item.final != item.frame_final) out.log.push_back("FINAL is wrong");
            stream_open = !item.final;
            streamed += body;
            if (item.final) {
                out.log.push_back(kind + streamed);
                streamed.clear();
            }
        }
    }

    // false when it ended in an error.
    bool add(const uint8_t *data, size_t size) {
        memcpy(inbox.data() + end, data, size);
        end += size;
        out.fed += size;
        for (;;) {
            wx::Item item{};
            const int got = receiver.next(inbox.data() + start, end - start, &item);
            if (got < 0) {
                out.status = got;
                out.log.push_back("error " + std::to_string(got));
                return false;
            }
            if (got == 0) break;
            note(item);
            if (item.data + item.size > inbox.data() + end) out.log.push_back("item outside the window");
            start += item.consumed;
            if (start > end) out.log.push_back("start past the end");
        }
        if (compact) start += receiver.compact(inbox.data() + start);
        out.left = end - start;
        return true;
    }
};

// pieces: sizes, the last one repeated.
inline Outcome run(const wx::ReceiverLimits &limits, const Bytes &bytes, const std::vector<size_t> &pieces,
                   bool compact = false) {
    Feeder feeder(limits, bytes.size());
    feeder.compact = compact;
    size_t at = 0;
    for (size_t i = 0; at < bytes.size(); i++) {
        size_t size = pieces[i < pieces.size() ? i : pieces.size() - 1];
        if (size > bytes.size() - at) size = bytes.size() - at;
        if (!feeder.add(reinterpret_cast<const uint8_t *>(bytes.data()) + at, size)) break;
        at += size;
    }
    return feeder.out;
}

} // namespace feed
