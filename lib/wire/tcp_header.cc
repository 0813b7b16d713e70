// SPDX-License-Identifier: MIT
// TCP headers and options, read and written. Never judges what a field means for a connection: that needs its
// state. The usual segment, with a timestamp behind two NOPs, is read without a loop; worst case: forty
// one-byte options.
#include "tcp_header.h"

namespace wx {
namespace {

enum OptionKind : uint8_t { // RFC 9293 section 3.1, RFC 7323, RFC 2018
    option_end = 0,
    option_nop = 1,
    option_mss = 2,
    option_scale = 3,
    option_sack_permitted = 4,
    option_sack = 5,
    option_timestamps = 8,
};
constexpr size_t mss_size = 4;
constexpr size_t scale_size = 3;
constexpr size_t sack_permitted_size = 2;
constexpr size_t timestamps_size = 10;
constexpr size_t sack_block_size = 8;
constexpr uint32_t aligned_timestamps = 0x0101080A; // NOP, NOP, kind 8, length 10: RFC 7323 appendix A

inline void clear(TcpOptions *options) {
    options->has_mss = options->has_scale = options->sack_permitted = options->has_timestamps = false;
    options->scale = options->sack_count = 0;
    options->mss = 0;
    options->ts_value = options->ts_echo = 0;
}

inline void read_timestamps(const uint8_t *values, TcpOptions *out) {
    out->has_timestamps = true;
    out->ts_value = load_be32(values);
    out->ts_echo = load_be32(values + 4);
}

static_assert((tcp_options_max - 2) / sack_block_size == tcp_sack_max, "more would not fit into a header");
bool read_sacks(const uint8_t *at, size_t length, TcpOptions *out) {
    const size_t blocks = (length - 2) / sack_block_size;
    if (blocks == 0 || length != 2 + blocks * sack_block_size) return false;
    for (size_t i = 0; i < blocks; i++) {
        const uint8_t *block = at + 2 + i * sack_block_size;
        out->sacks[i] = {load_be32(block), load_be32(block + 4)};
    }
    out->sack_count = static_cast<uint8_t>(blocks);
    return true;
}

bool read_syn_option(const uint8_t *at, size_t length, TcpOptions *out) {
    switch (at[0]) {
    case option_mss:
        if (length != mss_size) return false;
        out->has_mss = true;
        out->mss = load_be16(at + 2);
        return true;
    case option_scale:
        if (length != scale_size) return false;
        out->has_scale = true;
        out->scale = at[2] < tcp_scale_max ? at[2] : tcp_scale_max;
        return true;
    case option_sack_permitted:
        out->sack_permitted = true;
        return length == sack_permitted_size;
    }
    return true;
}

bool read_option(const uint8_t *at, size_t length, bool syn, TcpOptions *out) {
    switch (at[0]) {
    case option_timestamps:
        if (length != timestamps_size) return false;
        read_timestamps(at + 2, out);
        return true;
    case option_sack:
        return read_sacks(at, length, out);
    default:
        return !syn || read_syn_option(at, length, out);
    }
}

Wire read_options(const uint8_t *at, size_t size, bool syn, TcpOptions *out) {
    clear(out);
    if (size == 0) return Wire::ok;
    if (size == 12 && load_be32(at) == aligned_timestamps) {
        read_timestamps(at + 4, out);
        return Wire::ok;
    }
    const uint8_t *end = at + size;
    while (at < end && *at != option_end) {
        if (*at == option_nop) {
            at++;
            continue;
        }
        if (end - at < 2) return Wire::bad_option;
        const size_t length = at[1];
        if (length < 2 || length > static_cast<size_t>(end - at)) return Wire::bad_option;
        if (!read_option(at, length, syn, out)) return Wire::bad_option;
        at += length;
    }
    return Wire::ok;
}

inline bool sacks_written(const TcpOptions &options) { return options.sack_count != 0; }

// Each group fills whole 32-bit words, and a timestamp alone lies where receivers expect it.
uint8_t *write_options(uint8_t *at, const TcpOptions &options) {
    if (options.has_mss) {
        store_be16(at, option_mss << 8 | mss_size);
        store_be16(at + 2, options.mss);
        at += 4;
    }
    if (options.has_timestamps || options.sack_permitted) {
        store_be16(at, options.sack_permitted ? option_sack_permitted << 8 | sack_permitted_size
                                              : option_nop << 8 | option_nop);
        store_be16(at + 2, options.has_timestamps ? option_timestamps << 8 | timestamps_size
                                                  : option_nop << 8 | option_nop);
        at += 4;
    }
    if (options.has_timestamps) {
        store_be32(at, options.ts_value);
        store_be32(at + 4, options.ts_echo);
        at += 8;
    }
    if (options.has_scale) {
        store_be16(at, option_nop << 8 | option_scale);
        store_be16(at + 2, static_cast<uint16_t>(scale_size << 8 | options.scale));
        at += 4;
    }
    if (!sacks_written(options)) return at;
    store_be16(at, option_nop << 8 | option_nop);
    store_be16(at + 2, static_cast<uint16_t>(option_sack << 8 | (2 + options.sack_count * sack_block_size)));
    at += 4;
    for (size_t i = 0; i < options.sack_count; i++, at += sack_block_size) {
        store_be32(at, options.sacks[i].begin);
        store_be32(at + 4, options.sacks[i].end);
    }
    return at;
}

} // namespace

Wire tcp_read(ByteView bytes, ChecksumPolicy policy, ChecksumSum pseudo, TcpSegment *out) {
    const uint8_t *head = bytes.data;
    if (bytes.size < tcp_header_size) return Wire::truncated;
    const size_t header_size = size_t{head[12]} >> 4 << 2;
    if (header_size < tcp_header_size || header_size > bytes.size) return Wire::bad_header_length;
    if (policy == ChecksumPolicy::verify &&
        !checksum_good(checksum_add(pseudo, checksum_sum(bytes.data, bytes.size))))
        return Wire::bad_checksum;
    out->source_port = load_be16(head);
    out->destination_port = load_be16(head + 2);
    out->seq = load_be32(head + 4);
    out->ack = load_be32(head + 8);
    out->flags = head[13];
    out->window = load_be16(head + 14);
    out->urgent = load_be16(head + 18);
    out->payload.data = head + header_size;
    out->payload.size = bytes.size - header_size;
    return read_options(head + tcp_header_size, header_size - tcp_header_size, (head[13] & tcp_syn) != 0,
                        &out->options);
}

Wire tcp_read_quoted(ByteView bytes, uint16_t *source_port, uint16_t *destination_port, uint32_t *seq) {
    if (bytes.size < 8) return Wire::truncated;
    *source_port = load_be16(bytes.data);
    *destination_port = load_be16(bytes.data + 2);
    *seq = load_be32(bytes.data + 4);
    return Wire::ok;
}

size_t tcp_options_size(const TcpOptions &options) {
    size_t size = 0;
    if (options.has_mss) size += 4;
    if (options.has_timestamps || options.sack_permitted) size += 4;
    if (options.has_timestamps) size += 8;
    if (options.has_scale) size += 4;
    if (sacks_written(options)) size += 4 + options.sack_count * sack_block_size;
    return size;
}

size_t tcp_write_header(ByteSpan out, const TcpSegment &segment) {
    const size_t options = tcp_options_size(segment.options), size = tcp_header_size + options;
    if (options > tcp_options_max || out.size < size) return 0; // also when there are too many blocks
    uint8_t *at = out.data;
    store_be16(at, segment.source_port);
    store_be16(at + 2, segment.destination_port);
    store_be32(at + 4, segment.seq);
    store_be32(at + 8, segment.ack);
    at[12] = static_cast<uint8_t>(size << 2); // size / 4 in the upper four bits
    at[13] = segment.flags;
    store_be16(at + 14, segment.window);
    store_be16(at + 16, 0);
    store_be16(at + 18, segment.urgent);
    if (options != 0) write_options(at + tcp_header_size, segment.options);
    return size;
}

void tcp_finish(uint8_t *header, size_t header_size, ChecksumSum pseudo, ChecksumSum payload) {
    store_be16(header + 16, 0);
    const ChecksumSum sum = checksum_add(checksum_sum(header, header_size), checksum_add(pseudo, payload));
    const uint16_t check = checksum_finish(sum);
    memcpy(header + 16, &check, 2);
}

} // namespace wx
