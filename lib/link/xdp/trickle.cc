// SPDX-License-Identifier: MIT
// A frame to ourselves, again and again, for NICs (igc) that may keep a received packet until the queue's
// next interrupt or sending: what is sent makes the driver look at what has arrived. Its addresses are our
// own, so that a switch sends it nowhere and nobody answers. A queue that sent something else meanwhile needs
// none, and without a connection nothing is sent. The worst case accepted is one small frame per queue and
// interval.
#include "../../wire/udp.h"
#include "host.h"

namespace wx {

constexpr uint16_t discard_port = 9;     // RFC 863: whoever gets it after all throws it away
constexpr uint32_t ether_frame_min = 60; // without the check sequence; not every driver pads

static const XdpChannel *any_channel(const XdpHost *h) {
    for (uint32_t i = 0; i < h->channel_count; i++)
        if (h->channels[i]->step == DialStep::handshake || h->channels[i]->step == DialStep::connected)
            return h->channels[i];
    return nullptr;
}

// Its size, or 0.
static uint32_t write_frame(const XdpRoute &route, uint8_t *frame) {
    uint8_t *at = frame;
    const uint16_t type = route.source.version == 6 ? ether_ipv6 : ether_ipv4;
    at += ethernet_write(ByteSpan(at, ether_header_size + ether_vlan_size), route.own_mac, route.own_mac,
                         route.vlan, type);
    const size_t one = 1; // byte of payload
    IpTemplate head;
    head.source = head.destination = route.source;
    head.protocol = ip_udp;
    head.hops = 1; // no router passes it on
    const size_t ip = ip_write(ByteSpan(at, ip6_header_size), head, udp_header_size + one);
    at += ip;
    uint8_t *payload = at + udp_header_size;
    *payload = 0;
    const ChecksumSum pseudo = checksum_pseudo(route.source.bytes, route.source.bytes, route.source.size(),
                                               ip_udp, udp_header_size + one);
    const size_t udp = udp_write(ByteSpan(at, udp_header_size), discard_port, discard_port, one, pseudo,
                                 checksum_sum(payload, one));
    if (ip == 0 || udp == 0) return 0;
    uint32_t size = static_cast<uint32_t>(payload + one - frame);
    for (; size < ether_frame_min; size++) frame[size] = 0;
    return size;
}

static bool send_one(XdpHost *h, uint32_t socket, const XdpRoute &route) {
    const FrameId id = umem_take(&h->nic.umem, Pool::control);
    if (id == no_frame) return false; // there is traffic enough
    const uint32_t size = write_frame(route, umem_frame(&h->nic.umem, id));
    h->send_state[id] = 0;
    if (size == 0 || !xdp_queue_frame(h, socket, uint64_t{id} << h->nic.umem.frame_shift, size)) {
        umem_put(&h->nic.umem, id);
        return false;
    }
    h->send_state[id] = frame_queued;
    h->counters.trickles++;
    return true;
}

void xdp_trickle_begin(XdpHost *h) {
    if (h->nic.options.trickle == 0 || h->trickle_at != never) return;
    h->trickle_at = h->now + h->nic.options.trickle;
    if (h->trickle_at < h->deadline) h->deadline = h->trickle_at;
}

void xdp_trickle(XdpHost *h) {
    const XdpChannel *channel = any_channel(h);
    h->trickle_at = never;
    if (channel == nullptr || h->nic.mode == NicMode::none) return;
    bool sent = false;
    xdp_take_completions(h);
    for (uint32_t i = 0; i < h->nic.socket_count; i++) {
        const Xsk *socket = &h->nic.sockets[i];
        SocketProgress *p = &h->progress[i];
        if (socket->counters.sent == p->trickled) sent |= send_one(h, i, channel->route);
        p->trickled = socket->counters.sent;
    }
    if (sent) xdp_kick(h);
    xdp_trickle_begin(h);
}

} // namespace wx
