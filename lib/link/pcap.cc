// SPDX-License-Identifier: MIT
// Headers of the pcap format in front of packets that are passed on as they are, little-endian whatever the
// machine, so that the same run gives the same file everywhere. Does no I/O and keeps nothing. Worst case: a
// packet longer than any IP packet can be is cut and says so in its record, as the format provides.
#include "pcap.h"

namespace wx {
namespace {

void store_le16(uint8_t *p, uint32_t v) {
    p[0] = static_cast<uint8_t>(v);
    p[1] = static_cast<uint8_t>(v >> 8);
}
void store_le32(uint8_t *p, uint32_t v) {
    store_le16(p, v);
    store_le16(p + 2, v >> 16);
}

} // namespace

void pcap_begin(PcapWriter *writer) {
    if (writer->begun) return;
    writer->begun = true;
    uint8_t head[pcap_header_size] = {};
    store_le32(head, pcap_magic_nanos);
    store_le16(head + 4, 2); // version 2.4; the two words after it are 0
    store_le16(head + 6, 4);
    store_le32(head + 16, pcap_snap_bytes);
    store_le32(head + 20, pcap_link_raw);
    writer->write(writer->context, ByteView(head, sizeof head));
}

void pcap_packet(PcapWriter *writer, ByteView packet, Nanos now) {
    pcap_begin(writer);
    const bool in_range = now >= 0 && now / ns_per_s <= UINT32_MAX;
    const ByteView kept = packet.first(pcap_snap_bytes);
    uint8_t head[pcap_record_size];
    store_le32(head, in_range ? static_cast<uint32_t>(now / ns_per_s) : 0);
    store_le32(head + 4, in_range ? static_cast<uint32_t>(now % ns_per_s) : 0);
    store_le32(head + 8, static_cast<uint32_t>(kept.size));
    store_le32(head + 12, static_cast<uint32_t>(packet.size));
    writer->write(writer->context, ByteView(head, sizeof head));
    writer->write(writer->context, kept);
    writer->packets++;
}

} // namespace wx
