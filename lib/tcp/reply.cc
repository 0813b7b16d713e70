// SPDX-License-Identifier: MIT
// Answers without a connection: resets to what nobody knows, and packets made from a header alone.
#include "parts.h"

namespace wx {

bool tcp_reply(const TcpSegment &segment, TcpSegment *answer) {
    if (segment.flags & tcp_rst) return false;
    *answer = TcpSegment();
    answer->source_port = segment.destination_port;
    answer->destination_port = segment.source_port;
    if (segment.flags & tcp_ack) {
        answer->seq = segment.ack;
        answer->flags = tcp_rst;
    } else {
        answer->ack = segment.seq + segment.length();
        answer->flags = tcp_rst | tcp_ack;
    }
    return true;
}

size_t tcp_write_packet(ByteSpan out, const TcpTuple &tuple, const TcpSegment &segment) {
    IpTemplate ip;
    ip.source = tuple.local;
    ip.destination = tuple.remote;
    TcpSegment head = segment;
    head.source_port = tuple.local_port;
    head.destination_port = tuple.remote_port;
    uint8_t tcp[tcp_header_max];
    size_t size = tcp_write_header(ByteSpan(tcp, sizeof tcp), head);
    size_t ip_size = size ? ip_write(out, ip, size) : 0;
    if (ip_size == 0 || out.size < ip_size + size) return 0;
    ChecksumSum pseudo = checksum_pseudo(tuple.local.bytes, tuple.remote.bytes, tuple.local.size(), ip_tcp,
                                         static_cast<uint32_t>(size));
    tcp_finish(tcp, size, pseudo, 0);
    memcpy(out.data + ip_size, tcp, size);
    return ip_size + size;
}

} // namespace wx
