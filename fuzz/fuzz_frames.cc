// SPDX-License-Identifier: MIT
// Any bytes as a stream of frames. The first byte chooses the limits, the second how the stream is cut; the
// rest is fed whole and cut, and both must say the same. Also checks what every item promises: inside the
// window, control payloads small, text valid UTF-8 when it is checked.
#include "../lib/ws/receiver.h"
#include <stdlib.h>
#include <vector>

namespace {

void must(bool condition) {
    if (!condition) abort();
}

struct Digest { // of everything that came out, independent of how streamed messages were cut
    uint64_t hash = 1469598103934665603u;
    uint64_t frames = 0;
    int status = 0;
    void add(uint64_t value) { hash = (hash ^ value) * 1099511628211u; }
    void bytes(const uint8_t *data, uint64_t size) {
        for (uint64_t i = 0; i < size; i++) add(data[i]);
    }
};

void take(const wx::Item &item, const wx::ReceiverLimits &limits, Digest *digest) {
    using wx::ItemKind;
    const bool piece = item.kind == ItemKind::piece, message = item.kind == ItemKind::message;
    if (!piece || item.first) {
        digest->add(static_cast<uint64_t>(item.kind));
        digest->add(item.opcode);
        digest->add(item.compressed);
    }
    digest->bytes(item.data, item.size);
    if (item.final) digest->add(999);
    digest->frames += item.frames;
    must(piece == (limits.stream && (item.opcode == 1 || item.opcode == 2)));
    if (!piece && !message) must(item.size <= wx::control_payload_max);
    if (message && limits.message_bytes_max) must(item.size <= limits.message_bytes_max);
    if (message && item.opcode == 1 && !item.compressed && limits.check_utf8) {
        must(wx::utf8_valid(item.data, item.size));
    }
    wx::CloseBody close;
    if (item.kind == ItemKind::close)
        digest->add(static_cast<uint64_t>(wx::close_body_parse(wx::ByteView(item.data, item.size), &close)));
}

Digest run(const wx::ReceiverLimits &limits, const uint8_t *data, size_t size, size_t step) {
    Digest digest;
    wx::Receiver receiver;
    receiver.limits = limits;
    std::vector<uint8_t> inbox; // as large as what has arrived and not one byte more
    for (size_t at = 0; at < size && digest.status == 0; at += step) {
        const size_t count = step < size - at ? step : size - at;
        inbox.insert(inbox.end(), data + at, data + at + count);
        inbox.shrink_to_fit();
        uint64_t start = 0;
        wx::Item item{};
        while ((digest.status = receiver.next(inbox.data() + start, inbox.size() - start, &item)) == 1) {
            must(item.data >= inbox.data() + start && item.size <= inbox.size() - start);
            must(item.data + item.size <= inbox.data() + inbox.size() &&
                 item.consumed <= inbox.size() - start);
            take(item, limits, &digest);
            start += item.consumed;
        }
        if (digest.status == 0 && at % 3 == 0) start += receiver.compact(inbox.data() + start);
        must(start <= inbox.size());
        inbox.erase(inbox.begin(), inbox.begin() + static_cast<std::ptrdiff_t>(start));
    }
    return digest;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) return 0;
    wx::ReceiverLimits limits;
    limits.deflate = data[0] & 1;
    limits.check_utf8 = !(data[0] & 2);
    limits.stream = data[0] & 4;
    if (data[0] & 8) limits.message_bytes_max = 300;
    if (data[0] & 16) limits.frame_bytes_max = 130;
    const size_t step = 1 + data[1];
    const Digest whole = run(limits, data + 2, size - 2, size);
    const Digest cut = run(limits, data + 2, size - 2, step);
    must(whole.status == cut.status && whole.frames == cut.frames);
    // A stream gives the part of a broken frame that was still good, and how much that is depends on the cut.
    must(whole.hash == cut.hash || (limits.stream && whole.status < 0));
    return 0;
}
