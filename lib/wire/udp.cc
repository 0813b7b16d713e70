// SPDX-License-Identifier: MIT
// UDP headers, read and written. Never keeps bytes behind the stated length: they belong to nobody. Worst
// case: the checksum over the largest datagram.
#include "udp.h"

namespace wx {
namespace {

constexpr size_t udp_length_max = 0xFFFF;

} // namespace

Wire udp_read(const IpPacket &packet, ChecksumPolicy policy, UdpDatagram *out) {
    if (packet.protocol != ip_udp) return Wire::unsupported;
    const uint8_t *head = packet.payload.data;
    if (packet.payload.size < udp_header_size) return Wire::truncated;
    const uint16_t length = load_be16(head + 4);
    if (length < udp_header_size) return Wire::bad_total_length;
    if (length > packet.payload.size) return Wire::truncated;
    if (policy == ChecksumPolicy::verify && !(packet.version == 4 && load_be16(head + 6) == 0)) {
        if (load_be16(head + 6) == 0) return Wire::bad_checksum; // RFC 8200 section 8.1
        const ChecksumSum pseudo =
            checksum_pseudo(packet.source, packet.destination, packet.address_size(), ip_udp, length);
        if (!checksum_good(checksum_add(pseudo, checksum_sum(head, length)))) return Wire::bad_checksum;
    }
    out->source_port = load_be16(head);
    out->destination_port = load_be16(head + 2);
    out->payload = ByteView(head + udp_header_size, length - udp_header_size);
    return Wire::ok;
}

size_t udp_write(ByteSpan out, uint16_t source_port, uint16_t destination_port, size_t payload_size,
                 ChecksumSum pseudo, ChecksumSum payload) {
    if (out.size < udp_header_size || payload_size > udp_length_max - udp_header_size) return 0;
    store_be16(out.data, source_port);
    store_be16(out.data + 2, destination_port);
    store_be16(out.data + 4, static_cast<uint16_t>(payload_size + udp_header_size));
    store_be16(out.data + 6, 0);
    const ChecksumSum sum =
        checksum_add(checksum_sum(out.data, udp_header_size), checksum_add(pseudo, payload));
    uint16_t check = checksum_finish(sum);
    if (check == 0) check = 0xFFFF; // 0 would say that there is none; both are the same number
    memcpy(out.data + 6, &check, 2);
    return udp_header_size;
}

} // namespace wx
