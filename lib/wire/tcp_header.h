// SPDX-License-Identifier: MIT
// The TCP header and its options (RFC 9293 section 3.1, RFC 7323, RFC 2018).
#pragma once
#include "checksum.h"
#include "wire.h"

namespace wx {

constexpr size_t tcp_header_size = 20;
constexpr size_t tcp_options_max = 40;
constexpr size_t tcp_header_max = tcp_header_size + tcp_options_max;
constexpr unsigned tcp_sack_max = 4;  // blocks in a header; 3 beside a timestamp
constexpr uint8_t tcp_scale_max = 14; // RFC 7323 section 2.3: larger is taken as 14

enum TcpFlag : uint8_t {
    tcp_fin = 0x01,
    tcp_syn = 0x02,
    tcp_rst = 0x04,
    tcp_psh = 0x08,
    tcp_ack = 0x10,
    tcp_urg = 0x20,
    tcp_ece = 0x40,
    tcp_cwr = 0x80,
};

struct SackBlock {
    uint32_t begin;
    uint32_t end; // one past the last
};

struct TcpOptions {
    bool has_mss = false;
    bool has_scale = false;
    bool sack_permitted = false;
    bool has_timestamps = false;
    uint8_t scale = 0;
    uint8_t sack_count = 0;
    uint16_t mss = 0;
    uint32_t ts_value = 0;
    uint32_t ts_echo = 0;
    SackBlock sacks[tcp_sack_max];
};

struct TcpSegment {
    uint16_t source_port = 0;
    uint16_t destination_port = 0;
    uint32_t seq = 0;
    uint32_t ack = 0;
    uint8_t flags = 0;
    uint16_t window = 0; // unscaled
    uint16_t urgent = 0;
    TcpOptions options;
    ByteView payload;
    // What it takes of the sequence space.
    uint32_t length() const {
        return static_cast<uint32_t>(payload.size) + ((flags & tcp_syn) != 0) + ((flags & tcp_fin) != 0);
    }
};

// pseudo: the pseudo header's sum (checksum_pseudo), used with ChecksumPolicy::verify only. Options: unknown
// kinds are passed over by their length; a known one of a wrong length, or any of an impossible length, ends
// the reading of options and is bad_option; a repeated option's last value counts. MSS, scale and
// SACK-permitted are only looked at in SYN segments. A timestamp alone after two NOPs, the usual case, is
// read without a loop.
Wire tcp_read(ByteView bytes, ChecksumPolicy policy, ChecksumSum pseudo, TcpSegment *out);
// What an ICMP error quotes: at least 8 bytes: ports and sequence number.
Wire tcp_read_quoted(ByteView bytes, uint16_t *source_port, uint16_t *destination_port, uint32_t *seq);

// Writes header and options, padded with NOPs to a multiple of 4, window and checksum as they are in
// `segment` (checksum 0: filled in by tcp_finish). Returns the header's size, 0 when it does not fit.
// segment.payload is not looked at.
size_t tcp_write_header(ByteSpan out, const TcpSegment &segment);
// Options' bytes that tcp_write_header would write.
size_t tcp_options_size(const TcpOptions &options);
// Fills in the checksum: pseudo header, this header, and the payload's own sum.
void tcp_finish(uint8_t *header, size_t header_size, ChecksumSum pseudo, ChecksumSum payload);

} // namespace wx
