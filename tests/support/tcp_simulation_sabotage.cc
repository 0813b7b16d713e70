// SPDX-License-Identifier: MIT
// Faults that are put into a run to see that its rules notice them: each once, as soon as there is occasion.
#include "../tcp/simulation_parts.h"

using namespace wx;

namespace simulation {

// Before the host's step: what it then does wrong.
void sabotage(Side *side) {
    Machine *m = side->machine;
    TcpConnection *c = side->c;
    if (m->options.sabotage == Sabotage::none || m->sabotaged || c->state != TcpState::established) return;
    const RxPiece *piece =
        c->rx.ready_head != c->rx.ready_tail ? &c->rx.ready[c->rx.ready_head & c->rx.ready_mask] : nullptr;
    switch (m->options.sabotage) {
    case Sabotage::change_received:
        if (piece == nullptr) return;
        const_cast<uint8_t *>(piece->data)[piece->size - 1] ^= 1;
        break;
    case Sabotage::move_edge:
        if (!side->has_edge || seq_diff(c->advertised, c->rx.next) < 1000) return;
        c->advertised = c->rx.next;
        c->config.receive_bytes = 1024;
        ack_policy_now(&c->acks);
        break;
    case Sabotage::lie_in_ack:
        c->rx.next++;
        ack_policy_now(&c->acks);
        break;
    case Sabotage::lie_in_sack:
        if (!c->sack) return;
        c->dsack_owed = true;
        c->dsack = SackBlock{c->rx.next + 100, c->rx.next + 200};
        ack_policy_now(&c->acks);
        break;
    case Sabotage::ignore_window:
        if (tcp_unsent(c) == 0 || seq_diff(side->peer_edge, c->send_next) > 4000) return;
        c->send_window += 1 << 20;
        c->congestion.window = 1 << 20;
        break;
    default:
        return;
    }
    m->sabotaged = true;
}

// After it: what it then has lost.
void sabotage_after(Side *side) {
    Machine *m = side->machine;
    TcpConnection *c = side->c;
    if (m->options.sabotage == Sabotage::none || m->sabotaged || c->state != TcpState::established) return;
    switch (m->options.sabotage) {
    case Sabotage::lose_count:
        if (tcp_outstanding(c) == 0) return;
        c->sent.lost_bytes++;
        break;
    case Sabotage::keep_frame:
        side->host.receive.free_count--;
        break;
    case Sabotage::release_twice:
        side->host.tcp.release_receive(side->host.receive.count);
        break;
    case Sabotage::stop_timer:
        if (tcp_outstanding(c) == 0 || side->sink_refused) return;
        c->retransmit_at = never;
        break;
    default:
        return;
    }
    m->sabotaged = true;
}

} // namespace simulation
