// SPDX-License-Identifier: MIT
// From SYN to ESTABLISHED: the active opening, the simultaneous one, and as much of the passive one as tests
// and local use need (one connection per listening object; a failed one is over and does not listen again).
#include "parts.h"

namespace wx {

// The peer's SYN: where its sequence space begins and what it agreed to.
void tcp_acknowledge_syn(TcpConnection *c, const TcpSegment &s, Nanos now) {
    c->irs = s.seq;
    c->rx.next = c->rx.read = s.seq + 1;
    c->advertised = s.seq + 1;
    c->last_ack_sent = s.seq + 1;
    c->timestamps = c->config.timestamps && s.options.has_timestamps;
    c->sack = c->config.sack && s.options.sack_permitted;
    c->scaling = c->config.window_scaling && s.options.has_scale;
    c->send_scale = !c->scaling ? 0 : s.options.scale > tcp_scale_max ? tcp_scale_max : s.options.scale;
    if (!c->scaling) c->receive_scale = 0;
    if (c->timestamps) {
        c->ts_recent = s.options.ts_value;
        c->ts_recent_at = now;
    }
    uint16_t fallback = c->tuple.local.version == 6 ? tcp_default_mss6 : tcp_default_mss4;
    c->peer_mss = s.options.has_mss && s.options.mss != 0 ? s.options.mss : fallback;
    if (c->peer_mss < tcp_mss_least) c->peer_mss = tcp_mss_least;
    tcp_update_mss(c);
    // Never scaled in a segment with SYN (RFC 7323 section 2.2).
    c->send_window = c->max_window = s.window;
    c->window_seq = s.seq;
    c->window_ack = s.ack;
}

// A SYN that was sent more than once leaves its round trip to the echoed timestamp.
static void sample_syn(TcpConnection *c, const TcpSegment &s, Nanos now) {
    if (c->syn_count == 1) {
        rtt_sample(&c->rtt, now > c->syn_sent_at ? now - c->syn_sent_at : 1, now);
        return;
    }
    rtt_end_back_off(&c->rtt);
    if (!c->timestamps || !s.options.has_timestamps || s.options.ts_echo == 0) return;
    int32_t ticks = seq_diff(tcp_timestamp(c, now), s.options.ts_echo);
    if (ticks >= 0) rtt_sample(&c->rtt, (ticks > 0 ? ticks : 1) * tcp_timestamp_tick, now);
}

void tcp_now_established(TcpConnection *c, const TcpSegment &s, Nanos now) {
    bool crossed = c->state == TcpState::syn_received && !c->passive; // a SYN and a SYN-ACK: no repetition
    uint32_t needed = crossed ? 2 : 1;
    c->state = TcpState::established;
    c->send_una = c->iss + 1;
    c->retransmit_at = never;
    c->send_syn = false;
    congestion_open(&c->congestion, c->config.congestion, tcp_segment_payload(c), c->config.initial_segments);
    sample_syn(c, s, now);
    if (c->syn_count > needed) rtt_syn_was_lost(&c->rtt);
    if (c->syn_count > needed + 1) congestion_after_lost_syn(&c->congestion);
    if (c->config.keepalive_idle > 0) c->keepalive_at = now + c->config.keepalive_idle;
    c->notices |= tcp_connected | tcp_writable;
}

void tcp_handshake_timeout(TcpConnection *c, Nanos now) {
    if (c->syn_count >= c->config.syn_tries) return tcp_end_with(c, TcpEnd::syn_timeout);
    rtt_back_off(&c->rtt);
    c->send_syn = true;
    c->retransmit_at = now + rtt_timeout(&c->rtt); // in case the sink takes nothing now
}

// RFC 9293 section 3.10.7.3.
void tcp_handshake_input(TcpConnection *c, const TcpSegment &s, FrameId frame, bool *kept, Nanos now) {
    bool has_ack = (s.flags & tcp_ack) != 0;
    if (has_ack && (seq_until(s.ack, c->iss) || seq_after(s.ack, c->send_next))) {
        c->stats.bad_acks++;
        if (s.flags & tcp_rst) return;
        c->send_reset = true;
        c->reset_with_ack = false;
        c->reset_seq = s.ack;
        return;
    }
    if (s.flags & tcp_rst) {
        if (has_ack) return tcp_end_with(c, TcpEnd::refused);
        c->stats.bad_resets++; // acknowledges nothing: anybody can send that (RFC 5961 section 3.2)
        return;
    }
    if (!(s.flags & tcp_syn)) return;
    c->last_received = now;
    tcp_acknowledge_syn(c, s, now);
    if (!has_ack) { // both sides opened at the same time
        c->state = TcpState::syn_received;
        c->send_syn = true;
        c->retransmit_at = never;
        return;
    }
    tcp_now_established(c, s, now);
    ack_policy_now(&c->acks);
    // The window that our SYN offered: data and FIN may ride on the SYN-ACK or follow it at once.
    c->advertised = c->rx.next + tcp_syn_window(c);
    if (s.payload.size == 0 && !(s.flags & tcp_fin)) return;
    TcpSegment rest = s;
    rest.seq++;
    rest.flags &= static_cast<uint8_t>(~tcp_syn);
    *kept = tcp_take_payload(c, rest, frame, now);
}

} // namespace wx
