// SPDX-License-Identifier: MIT
// What happens when nothing arrives: retransmission (RFC 6298), tail loss probe and reordering timer (RFC
// 8985), probes of a closed window and keepalive (RFC 9293 sections 3.8.6.1 and 3.8.4), the user timeout, the
// states that end by time. A timer only decides; tcp_output sends.
#include "parts.h"

namespace wx {

void tcp_stop_timers(TcpConnection *c) {
    c->retransmit_at = c->tail_probe_at = c->reorder_at = c->persist_at = never;
    c->keepalive_at = c->give_up_at = c->state_at = never;
    c->acks.deadline = c->path_mtu.raise_at = never;
}

// After sending, and after an acknowledgement that brought something.
void tcp_arm_retransmit(TcpConnection *c, bool acknowledged, Nanos now) {
    if (acknowledged) c->probe_tail = false; // one that the sink has not taken yet is judged anew, too
    if (tcp_outstanding(c) == 0 || scoreboard_count(&c->sent) == 0) {
        c->retransmit_at = c->tail_probe_at = c->reorder_at = never;
        return;
    }
    // Sending more does not put off what is awaited (RFC 6298 section 5.1); an acknowledgement does (5.3).
    if (acknowledged || c->retransmit_at == never) c->retransmit_at = now + rtt_timeout(&c->rtt);
    bool probes = c->sack && c->recovery == Recovery::open && !c->tail_probe.outstanding &&
                  !c->tail_probe_spent && c->sent.sacked_count == 0 && c->sent.lost_count == 0;
    c->tail_probe_at = never;
    if (!probes) return;
    // From the last sending, not from this acknowledgement (RFC 8985 section 7.2 counts from now, which costs
    // a lost tail of several segments one round trip more). Half a round trip is left for what is still to
    // come of an acknowledged flight.
    bool one = scoreboard_count(&c->sent) == 1;
    Nanos probe = c->last_sent + tail_probe_timeout(&c->rtt, one, c->config.peer_ack_delay);
    Nanos soonest = now + c->rtt.smoothed / 2 + c->config.peer_ack_delay;
    c->tail_probe_at = probe > soonest ? probe : soonest;
    if (c->tail_probe_at >= c->retransmit_at) c->tail_probe_at = never;
}

void tcp_arm_persist(TcpConnection *c, Nanos now) {
    if (c->persist_at != never) return;
    c->persist_at = now + (c->send_window != 0 ? tcp_sws_override : rtt_timeout(&c->rtt));
    if (c->give_up_at == never) c->give_up_at = now + c->config.user_timeout;
}

Nanos tcp_deadline(const TcpConnection *c) {
    Nanos first = c->retransmit_at;
    const Nanos others[] = {c->tail_probe_at, c->reorder_at, c->persist_at,    c->keepalive_at,
                            c->give_up_at,    c->state_at,   c->acks.deadline, c->path_mtu.raise_at};
    for (Nanos other : others)
        if (other < first) first = other;
    return first;
}

static void on_retransmit(TcpConnection *c, Nanos now) {
    c->retransmit_at = never;
    if (c->state == TcpState::syn_sent || c->state == TcpState::syn_received)
        return tcp_handshake_timeout(c, now);
    if (tcp_outstanding(c) == 0) return;
    c->stats.timeouts++;
    if (c->send_window == 0 && !c->stalled) {
        c->stalled = true;
        c->notices |= tcp_peer_stalled;
    }
    const SentSegment *oldest = scoreboard_at(&c->sent, 0);
    // What a closed window keeps out says nothing about the path.
    uint32_t packet = oldest->end - oldest->seq + c->ip_size + static_cast<uint32_t>(tcp_header_size) +
                      (c->timestamps ? 12 : 0);
    bool large = c->send_window != 0 && packet > path_mtu_guess(&c->path_mtu);
    tcp_recovery_on_timeout(c, now);
    rtt_back_off(&c->rtt);
    if (path_mtu_on_timeout(&c->path_mtu, large, now)) {
        tcp_update_mss(c);
        c->stats.mtu_changes++;
        c->notices |= tcp_mtu_changed;
    }
    c->retransmit_at = now + rtt_timeout(&c->rtt); // also when the sink takes nothing for now
}

static void on_persist(TcpConnection *c, Nanos now) {
    c->persist_at = never;
    if (c->send_window != 0) { // open a little, less than is worth a segment
        c->sws_override = true;
        return;
    }
    if (tcp_outstanding(c) != 0) return; // the retransmission timer probes
    c->probe_window = true;
    c->stats.window_probes++;
    if (!c->stalled) {
        c->stalled = true;
        c->notices |= tcp_peer_stalled;
    }
    // Often enough to be answered within the user timeout: who answers is not given up.
    Nanos wait = rtt_timeout(&c->rtt), most = c->config.rtt.max;
    if (most + wait > c->config.user_timeout) most = c->config.user_timeout / 2;
    for (uint8_t i = 0; i <= c->persist_backoff && wait < most; i++) wait *= 2;
    if (c->persist_backoff < 32) c->persist_backoff++;
    c->persist_at = now + (wait < most ? wait : most);
}

static void on_keepalive(TcpConnection *c, Nanos now) {
    Nanos idle_until = c->last_received + c->config.keepalive_idle;
    if (c->keepalive_sent == 0 && now < idle_until) {
        c->keepalive_at = idle_until;
        return;
    }
    if (tcp_outstanding(c) != 0 || c->persist_at != never) { // other timers ask the peer already
        c->keepalive_at = now + c->config.keepalive_idle;
        return;
    }
    if (c->keepalive_sent >= c->config.keepalive_tries) {
        c->send_reset = true; // the peer may be there and only deaf
        c->reset_with_ack = true;
        c->reset_seq = c->send_next;
        return tcp_end_with(c, TcpEnd::keepalive);
    }
    c->keepalive_sent++;
    c->stats.keepalives++;
    c->probe_window = true; // the same segment: one that the peer has seen and must answer
    c->keepalive_at = now + c->config.keepalive_interval;
}

void tcp_on_lost_flight(TcpConnection *c, Nanos now) {
    if (c->retransmit_at == never) return;
    rtt_end_back_off(&c->rtt);
    c->retransmit_at = now;
}

static void on_state(TcpConnection *c) {
    c->state_at = never;
    tcp_end_with(c, c->state == TcpState::time_wait ? TcpEnd::closed : TcpEnd::fin_timeout);
}

void tcp_on_timer(TcpConnection *c, Nanos now) {
    if (c->give_up_at <= now) {
        bool told = tcp_synchronized(c);
        uint32_t next = c->send_next;
        tcp_end_with(c, told ? TcpEnd::user_timeout : TcpEnd::syn_timeout);
        c->send_reset = told;
        c->reset_with_ack = true;
        c->reset_seq = next;
        return;
    }
    if (c->state_at <= now) return on_state(c);
    if (c->retransmit_at <= now) on_retransmit(c, now);
    if (c->state == TcpState::closed) return;
    if (c->reorder_at <= now) {
        c->reorder_at = never;
        tcp_recovery_on_reorder_timer(c, now);
    }
    if (c->tail_probe_at <= now) {
        c->tail_probe_at = never;
        c->probe_tail = c->recovery == Recovery::open && tcp_outstanding(c) != 0;
    }
    if (c->persist_at <= now) on_persist(c, now);
    if (c->keepalive_at <= now) on_keepalive(c, now);
    if (c->acks.deadline <= now) {
        c->acks.deadline = never; // what is due at once needs no timer, however long the sink is full
        ack_policy_now(&c->acks);
    }
    if (c->path_mtu.raise_at <= now && path_mtu_on_time(&c->path_mtu, now)) {
        tcp_update_mss(c);
        c->stats.mtu_changes++;
        c->notices |= tcp_mtu_changed;
    }
}

} // namespace wx
