// SPDX-License-Identifier: MIT
// Packets as a pcap file (draft-ietf-opsawg-pcap): time stamps in nanoseconds, link type RAW, which is IPv4
// or IPv6 told by the first nibble. The bytes go to a function, in pieces; nothing here opens or writes a
// file.
#pragma once
#include "../base/bytes.h"
#include "../base/clock.h"

namespace wx {

constexpr uint32_t pcap_magic_nanos = 0xA1B23C4D;
constexpr uint32_t pcap_link_raw = 101;
constexpr size_t pcap_header_size = 24;
constexpr size_t pcap_record_size = 16;      // before each packet
constexpr uint32_t pcap_snap_bytes = 262144; // more than any IP packet without jumbograms: none is cut

struct PcapWriter {
    void (*write)(void *context, ByteView bytes) = nullptr;
    void *context = nullptr;
    uint64_t packets = 0;
    bool begun = false; // the file's header is written with the first packet, or by pcap_begin
};

void pcap_begin(PcapWriter *writer); // once: a capture without packets is a file, too
// now: nanoseconds from any origin, not negative and below 2^32 seconds; other times are written as 0.
void pcap_packet(PcapWriter *writer, ByteView packet, Nanos now);

} // namespace wx
