// SPDX-License-Identifier: MIT
// Any bytes as an Ethernet frame, as what is in one, and as an ARP payload: every view lies inside the input,
// sizes agree, and whoever verifies accepts nothing that the trusting reader refuses. Checksums are then put
// right, which a fuzzer cannot guess, and both must agree; a segment that is written anew reads back equal.
#include "../lib/wire/frame.h"
#include "../lib/wire/neighbor.h"
#include "../lib/wire/udp.h"
#include <stdlib.h>
#include <vector>

namespace {

using namespace wx;
constexpr ChecksumPolicy verify = ChecksumPolicy::verify, trust = ChecksumPolicy::trust;

void must(bool condition) {
    if (!condition) abort();
}

void must_hold(ByteView whole, ByteView part) {
    must(part.data >= whole.data && part.size <= whole.size);
    must(static_cast<size_t>(part.data - whole.data) <= whole.size - part.size);
}

void check_packet(ByteView whole, const IpPacket &p) {
    must(p.version == 4 || p.version == 6);
    must_hold(whole, ByteView(p.source, p.address_size()));
    must_hold(whole, ByteView(p.destination, p.address_size()));
    must_hold(whole, p.payload);
    must(p.payload.data == p.source - (p.version == 4 ? 12 : 8) + p.header_size);
    must(p.header_size >= (p.version == 4 ? 20 : 40) && p.header_size + p.payload.size <= 65535 + 40);
    must(ip_is_unicast(p.source_address()));
}

void check_frame(ByteView whole, const Frame &f) {
    check_packet(whole, f.ip);
    if (f.kind == FrameKind::tcp) {
        must_hold(f.ip.payload, f.tcp.payload);
        must(f.tcp.payload.data + f.tcp.payload.size == f.ip.payload.data + f.ip.payload.size);
        must(f.tcp.options.sack_count <= tcp_sack_max && f.tcp.options.scale <= tcp_scale_max);
        must((f.tcp.flags & tcp_syn) || (!f.tcp.options.has_mss && !f.tcp.options.has_scale));
    } else if (f.kind == FrameKind::icmp_error) {
        must_hold(f.ip.payload, f.icmp.quoted.payload);
        must(f.icmp.quoted.version == f.ip.version && f.icmp.quoted.payload.size >= 8);
        must(f.icmp.quoted_size >= f.icmp.quoted.header_size || f.ip.version == 6);
        must(icmp_text(f.icmp.kind)[0] != 0);
    }
}

bool equal_options(const TcpOptions &a, const TcpOptions &b) {
    if (a.has_mss != b.has_mss || a.has_scale != b.has_scale || a.sack_permitted != b.sack_permitted)
        return false;
    if (a.has_timestamps != b.has_timestamps || a.sack_count != b.sack_count || a.mss != b.mss) return false;
    if (a.scale != b.scale || a.ts_value != b.ts_value || a.ts_echo != b.ts_echo) return false;
    for (size_t i = 0; i < a.sack_count; i++)
        if (a.sacks[i].begin != b.sacks[i].begin || a.sacks[i].end != b.sacks[i].end) return false;
    return true;
}

// Written anew, with its options in our order, and read back.
void rewrite(const Frame &f) {
    IpTemplate head;
    head.source = f.ip.source_address();
    head.destination = f.ip.destination_address();
    head.hops = f.ip.hops;
    head.traffic_class = f.ip.traffic_class;
    const size_t options = tcp_options_size(f.tcp.options), tcp_size = tcp_header_size + options;
    std::vector<uint8_t> out(ip6_header_size + tcp_size + f.tcp.payload.size);
    const size_t ip_size = ip_write(ByteSpan(out.data(), out.size()), head, tcp_size + f.tcp.payload.size);
    if (ip_size == 0) must(tcp_size + f.tcp.payload.size > 65535 - 40);
    const size_t written = tcp_write_header(ByteSpan(out.data() + ip_size, tcp_size), f.tcp);
    must(written == (options > tcp_options_max ? 0 : tcp_size));
    if (ip_size == 0 || written == 0) return;
    const ChecksumSum pseudo = checksum_pseudo(f.ip.source, f.ip.destination, f.ip.address_size(), ip_tcp,
                                               static_cast<uint32_t>(tcp_size + f.tcp.payload.size));
    const ChecksumSum sum =
        checksum_copy(out.data() + ip_size + tcp_size, f.tcp.payload.data, f.tcp.payload.size);
    tcp_finish(out.data() + ip_size, tcp_size, pseudo, sum);
    Frame back;
    must(packet_read(ByteView(out.data(), out.size()), verify, &back) == Wire::ok &&
         back.kind == FrameKind::tcp);
    must(back.ip.source_address() == head.source && back.ip.destination_address() == head.destination);
    must(back.ip.hops == head.hops && back.ip.traffic_class == head.traffic_class && back.ip.dont_fragment);
    must(back.tcp.source_port == f.tcp.source_port && back.tcp.destination_port == f.tcp.destination_port);
    must(back.tcp.seq == f.tcp.seq && back.tcp.ack == f.tcp.ack && back.tcp.flags == f.tcp.flags);
    must(back.tcp.window == f.tcp.window && back.tcp.urgent == f.tcp.urgent);
    must(equal(back.tcp.payload, f.tcp.payload) && equal_options(back.tcp.options, f.tcp.options));
}

// Puts the checksums of a packet right whose IP header can be read. false: it has none that could be.
bool repair(uint8_t *packet, size_t size) {
    if (packet[0] >> 4 == 4) {
        memset(packet + 10, 0, 2);
        const uint16_t check = checksum_finish(checksum_sum(packet, size_t{packet[0] & 15u} * 4));
        memcpy(packet + 10, &check, 2);
    }
    IpPacket p;
    must(ip_read(ByteView(packet, size), verify, &p) == Wire::ok);
    const bool tcp = p.protocol == ip_tcp;
    if (!tcp && p.protocol != (p.version == 4 ? ip_icmp : ip_icmp6)) return true;
    const size_t at = tcp ? 16 : 2;
    if (p.payload.size < at + 2) return false;
    uint8_t *payload = packet + p.header_size;
    ChecksumSum sum = 0;
    if (tcp || p.version == 6)
        sum = checksum_pseudo(p.source, p.destination, p.address_size(), p.protocol,
                              static_cast<uint32_t>(p.payload.size));
    memset(payload + at, 0, 2);
    const uint16_t check = checksum_finish(checksum_add(sum, checksum_sum(payload, p.payload.size)));
    memcpy(payload + at, &check, 2);
    return true;
}

void check_repaired(ByteView bytes) {
    std::vector<uint8_t> copy(bytes.data, bytes.data + bytes.size);
    if (!repair(copy.data(), copy.size())) return;
    Frame trusting, verifying;
    const ByteView whole(copy.data(), copy.size());
    const Wire trusted = packet_read(whole, trust, &trusting),
               verified = packet_read(whole, verify, &verifying);
    // A checksum of zeros alone has no right value: their sum is 0 and not all ones.
    if (trusted != verified) must(verified == Wire::bad_checksum && trusting.ip.version == 4);
    if (verified != Wire::ok) return;
    must(trusting.kind == verifying.kind);
    check_frame(whole, verifying);
    if (verifying.kind == FrameKind::tcp) rewrite(verifying);
}

void check_others(ByteView whole, const IpPacket &p) {
    for (ChecksumPolicy policy : {verify, trust}) {
        IcmpError error;
        NeighborNotice notice;
        UdpDatagram datagram;
        if (icmp_read(p, policy, &error) == Wire::ok) must_hold(p.payload, error.quoted.payload);
        if (ndp_read(p, policy, &notice) == Wire::ok)
            must(ip_is_unicast(notice.address) && !(notice.mac[0] & 1));
        if (udp_read(p, policy, &datagram) == Wire::ok) {
            must_hold(whole, datagram.payload);
            must(datagram.payload.data == p.payload.data + udp_header_size);
        }
    }
}

void check_ip(ByteView bytes) {
    Frame trusting, verifying;
    const Wire trusted = packet_read(bytes, trust, &trusting),
               verified = packet_read(bytes, verify, &verifying);
    must(trusted < Wire::count && trusted != Wire::bad_checksum);
    must(verified == trusted || verified == Wire::bad_checksum);
    if (trusted == Wire::ok) check_frame(bytes, trusting);
    if (verified == Wire::ok) {
        check_frame(bytes, verifying);
        must(trusting.kind == verifying.kind);
        if (verifying.kind == FrameKind::tcp) rewrite(verifying);
    }
    IpPacket p;
    if (ip_read_quoted(bytes, &p) == Wire::ok) must_hold(bytes, p.payload);
    if (ip_read(bytes, trust, &p) != Wire::ok) return;
    check_packet(bytes, p);
    check_others(bytes, p);
    check_repaired(bytes);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const ByteView input(data, size);
    EthernetFrame ethernet;
    const bool framed = ethernet_read(input, &ethernet) == Wire::ok;
    if (framed) {
        must_hold(input, ethernet.payload);
        must(ethernet.vlan == no_vlan || ethernet.vlan < 4096);
    }
    const ByteView inner = framed ? ethernet.payload : input;
    for (ChecksumPolicy policy : {verify, trust}) {
        Frame frame, packet;
        const Wire result = frame_read(input, policy, &frame);
        if (result == Wire::ok) {
            must(framed && frame.vlan == ethernet.vlan);
            check_frame(input, frame);
            must(packet_read(inner, policy, &packet) == Wire::ok && packet.kind == frame.kind);
        }
    }
    check_ip(inner);
    NeighborNotice notice;
    if (arp_read(inner, &notice) == Wire::ok) must(ip_is_unicast(notice.address) && inner.size >= 28);
    return 0;
}
