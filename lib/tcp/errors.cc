// SPDX-License-Identifier: MIT
// ICMP errors. Anybody can send one, so only what quotes a sequence number that is under way is believed (RFC
// 5927), and then an established connection is never ended by it (RFC 9293 section 3.9.2.2): it may have to
// send smaller packets, and the caller hears of the rest.
#include "parts.h"

namespace wx {

// The routers drop what is larger than the path takes: those segments are not lost to congestion.
static void resend_smaller(TcpConnection *c) {
    uint32_t most = tcp_segment_payload(c);
    for (uint32_t i = 0; i < scoreboard_count(&c->sent); i++) {
        SentSegment *segment = scoreboard_at(&c->sent, i);
        uint32_t size = segment->end - segment->seq - ((segment->flags & sent_fin) != 0);
        if (size > most) scoreboard_mark_lost(&c->sent, segment);
    }
    c->force_retransmit = c->sent.lost_count != 0;
}

static void mtu_fell(TcpConnection *c) {
    tcp_update_mss(c);
    c->stats.mtu_changes++;
    c->notices |= tcp_mtu_changed;
    resend_smaller(c);
}

void tcp_set_mtu(TcpConnection *c, uint32_t mtu) {
    if (mtu < 576) mtu = 576;
    if (mtu > 65535) mtu = 65535;
    c->config.mtu = mtu;
    if (c->ip_size == 0) return; // not opened yet
    bool smaller = mtu < c->path_mtu.mtu;
    path_mtu_open(&c->path_mtu, mtu, c->tuple.local.version == 6);
    if (smaller) {
        mtu_fell(c);
    } else {
        tcp_update_mss(c);
    }
}

void tcp_on_icmp(TcpConnection *c, const IcmpError &error, Nanos now) {
    bool under_way =
        tcp_outstanding(c) != 0 && !seq_before(error.seq, c->send_una) && seq_before(error.seq, c->send_next);
    if (c->state == TcpState::closed || c->state == TcpState::listen || !under_way ||
        error.kind == IcmpKind::source_quench) {
        c->stats.icmp_ignored++;
        return;
    }
    bool handshaking = c->state == TcpState::syn_sent || c->state == TcpState::syn_received;
    if (error.kind == IcmpKind::packet_too_big) {
        // A router that calls a packet too big that was none, or a SYN, is not a router.
        if (handshaking || !path_mtu_on_too_big(&c->path_mtu, error.mtu, error.quoted_size, now)) {
            c->stats.icmp_ignored++;
            return;
        }
        c->stats.icmp_used++;
        mtu_fell(c);
        return;
    }
    c->stats.icmp_used++;
    c->icmp = error.kind;
    c->has_icmp = true;
    bool unreachable = error.kind <= IcmpKind::prohibited;
    if (handshaking && unreachable) {
        bool refused = error.kind == IcmpKind::port_unreachable;
        tcp_end_with(c, refused ? TcpEnd::refused : TcpEnd::unreachable);
        return;
    }
    c->notices |= tcp_soft_error;
}

} // namespace wx
