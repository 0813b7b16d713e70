// SPDX-License-Identifier: MIT
// From a received frame to what the transport wants, in one call. Sets in the result only what its kind has:
// the structs are large and this runs once per packet. Never looks into another protocol's payload; worst
// case: the checksum over the largest packet.
#include "frame.h"

namespace wx {
namespace {

inline Wire read_tcp(ChecksumPolicy policy, Frame *out) {
    const IpPacket &ip = out->ip;
    ChecksumSum pseudo = 0;
    if (policy == ChecksumPolicy::verify)
        pseudo = checksum_pseudo(ip.source, ip.destination, ip.address_size(), ip_tcp,
                                 static_cast<uint32_t>(ip.payload.size));
    out->kind = FrameKind::tcp;
    return tcp_read(ip.payload, policy, pseudo, &out->tcp);
}

Wire read_icmp(ChecksumPolicy policy, Frame *out) {
    const Wire result = icmp_read(out->ip, policy, &out->icmp);
    if (result == Wire::unsupported) return Wire::ok; // an echo, a neighbour's message: somebody else's
    if (result == Wire::ok) out->kind = FrameKind::icmp_error;
    return result;
}

inline Wire read_packet(ByteView bytes, ChecksumPolicy policy, Frame *out) {
    out->kind = FrameKind::other;
    const Wire result = ip_read(bytes, policy, &out->ip);
    if (result != Wire::ok) return result;
    if (out->ip.protocol == ip_tcp) return read_tcp(policy, out);
    if (out->ip.protocol == (out->ip.version == 6 ? ip_icmp6 : ip_icmp)) return read_icmp(policy, out);
    return Wire::ok;
}

} // namespace

Wire packet_read(ByteView ip_packet, ChecksumPolicy policy, Frame *out) {
    out->vlan = no_vlan;
    return read_packet(ip_packet, policy, out);
}

Wire frame_read(ByteView ethernet_frame, ChecksumPolicy policy, Frame *out) {
    EthernetFrame ethernet;
    const Wire result = ethernet_read(ethernet_frame, &ethernet);
    if (result != Wire::ok) return result;
    out->vlan = ethernet.vlan;
    const unsigned version = ethernet.type == ether_ipv4 ? 4 : ethernet.type == ether_ipv6 ? 6 : 0;
    if (version == 0) return Wire::unsupported;
    if (ethernet.payload.size == 0) return Wire::truncated;
    if (ethernet.payload.data[0] >> 4 != version) return Wire::bad_version;
    return read_packet(ethernet.payload, policy, out);
}

} // namespace wx
