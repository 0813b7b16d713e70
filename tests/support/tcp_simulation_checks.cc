// SPDX-License-Identifier: MIT
// The rules that a run must keep.
//
// For every packet that leaves a host: it is well formed; it acknowledges exactly what was received in order,
// and its SACK blocks tell only of what lies there; the right edge of the window never moves left and
// promises no more than there is room for; its payload is what was written, not acknowledged and not SACKed,
// no larger than the peer and the path take, within the window that has arrived, and within the congestion
// window but for a tail probe and the first retransmission of a recovery. After every step: counters of the
// scoreboard, the reassembly and the frames equal a recount; nothing counts as acknowledged that the other
// side does not have; whatever waits for the peer has a timer that asks it again, and no timer is due that
// was just served. At the end: everything has arrived, or the connection is over for a reason that the
// scenario has; every frame is back.
#include "../tcp/simulation_parts.h"
#include <stdarg.h>
#include <stdio.h>

using namespace wx;

namespace simulation {

// More often than any timer that backs off gets to within the user timeout, with room for the repeated
// repairs of a path that loses a tenth.
constexpr unsigned sendings_max = 40;
// Without congestion control everything is repeated in each round trip that shows a loss.
constexpr unsigned sendings_max_uncontrolled = 200;

static std::string formatted(const char *format, va_list list) {
    char line[1024];
    vsnprintf(line, sizeof line, format, list);
    return line;
}

void fail(Machine *m, const char *format, ...) {
    if (!m->failure.empty()) return; // what follows may only follow from it
    va_list list;
    va_start(list, format);
    const std::string what = formatted(format, list);
    va_end(list);
    char when[64];
    snprintf(when, sizeof when, "%.6f s", static_cast<double>(m->now - m->plan.start) / ns_per_s);
    m->failure = "connection " + std::to_string(m->round + 1) + ", after " + when + ": " + what + "\n" +
                 plan_text(m->plan) + "  replay: make sim SEED=" + std::to_string(m->plan.seed) + "\n";
}

void trace(Machine *m, const char *format, ...) {
    if (!m->options.trace) return;
    va_list list;
    va_start(list, format);
    printf("%12.6f %s\n", static_cast<double>(m->now - m->plan.start) / ns_per_s,
           formatted(format, list).c_str());
    va_end(list);
}

// ---- what leaves ----

static bool is_current(const Side *side, const Frame &frame, bool leaving) {
    const TcpConnection *c = side->c;
    if (c == nullptr || frame.kind != FrameKind::tcp) return false;
    const uint16_t local = leaving ? frame.tcp.source_port : frame.tcp.destination_port;
    const uint16_t remote = leaving ? frame.tcp.destination_port : frame.tcp.source_port;
    return local == c->tuple.local_port && remote == c->tuple.remote_port;
}

static uint32_t ready_bytes(const Reassembly &rx) {
    uint32_t bytes = 0, from = rx.read;
    for (uint32_t i = rx.ready_head; i != rx.ready_tail; i++) {
        const RxPiece &piece = rx.ready[i & rx.ready_mask];
        bytes += piece.seq + piece.size - from;
        from = piece.seq + piece.size;
    }
    return bytes;
}

static void check_ack(Side *side, const TcpSegment &s) {
    Machine *m = side->machine;
    const TcpConnection *c = side->c;
    const uint32_t first = c->irs + 1;
    const uint32_t truth = first + static_cast<uint32_t>(side->read) + ready_bytes(c->rx) + c->fin_taken;
    if (s.ack != truth)
        fail(m, "%c acknowledges %u where it holds or has read %u", name_of(side), s.ack - first,
             truth - first);
    const TcpConnection *peer = other(side)->c;
    if (peer == nullptr || peer->iss != c->irs || seq_after(s.ack, peer->send_next))
        fail(m, "%c acknowledges %u, which was never sent", name_of(side), s.ack - first);
}

static bool is_held(const Side *side, SackBlock block) {
    const TcpConnection *c = side->c;
    uint32_t at = block.begin;
    if (seq_before(at, c->irs + 1)) return false;
    if (seq_until(at, c->rx.next)) at = seq_max(at, seq_min(block.end, c->rx.next));
    for (uint32_t i = 0; i < c->rx.held_count; i++) {
        const RxPiece &piece = c->rx.held[i];
        if (seq_until(piece.seq, at) && seq_before(at, piece.seq + piece.size)) at = piece.seq + piece.size;
    }
    return seq_until(block.end, at);
}

static void check_window(Side *side, const TcpSegment &s) {
    Machine *m = side->machine;
    const TcpConnection *c = side->c;
    const bool scaled = side->syn_scaled && other(side)->syn_scaled && !(s.flags & tcp_syn);
    const uint32_t edge = s.ack + (uint32_t{s.window} << (scaled ? side->syn_scale : 0));
    const uint32_t room = c->rx.read + c->config.receive_bytes;
    // A SYN cannot scale, so one that is repeated after an acknowledgement says less than that.
    if (side->has_edge && !(s.flags & tcp_syn) && seq_before(edge, side->edge))
        fail(m, "%c moves the right edge of its window left by %u", name_of(side), side->edge - edge);
    if (!c->fin_known && seq_after(edge, room))
        fail(m, "%c offers %u bytes more than it has room for", name_of(side), edge - room);
    side->edge = side->has_edge ? seq_max(side->edge, edge) : edge;
    side->has_edge = true;
}

static uint32_t recount_flight(const TcpConnection *c) {
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < scoreboard_count(&c->sent); i++) {
        const SentSegment *segment = scoreboard_at(&c->sent, i);
        if (!(segment->flags & (sent_sacked | sent_lost))) bytes += segment->end - segment->seq;
    }
    return bytes > c->duplicate_bytes ? bytes - c->duplicate_bytes : 0;
}

static const SentSegment *find_sent(const TcpConnection *c, uint32_t seq) {
    for (uint32_t i = 0; i < scoreboard_count(&c->sent); i++)
        if (scoreboard_at(&c->sent, i)->seq == seq) return scoreboard_at(&c->sent, i);
    return nullptr;
}

static void check_pace(Side *side, const TcpSegment &s) {
    Machine *m = side->machine;
    const TcpConnection *c = side->c;
    const uint32_t flight = recount_flight(c), size = static_cast<uint32_t>(s.payload.size);
    const bool fits = flight == 0 || flight + size <= c->congestion.window || c->probe_tail;
    if (s.seq == c->send_next) {
        if (!fits)
            fail(m, "%c sends %u new bytes with %u in flight and a congestion window of %u", name_of(side),
                 size, flight, c->congestion.window);
        return;
    }
    const SentSegment *segment = find_sent(c, s.seq);
    if (segment == nullptr) return fail(m, "%c sends again from where no segment began", name_of(side));
    if (segment->flags & sent_sacked) fail(m, "%c sends again what is SACKed", name_of(side));
    // A peer that has no place for what arrives makes any number of them necessary.
    const bool has_room = !other(side)->starved;
    if (has_room && segment->times >= m->row->most_sendings) m->row->most_sendings = segment->times + 1u;
    const bool controlled = c->config.congestion != CongestionKind::none;
    if (has_room && segment->times >= (controlled ? sendings_max : sendings_max_uncontrolled))
        fail(m, "%c sends a segment for the %uth time", name_of(side), segment->times + 1u);
    if (!fits && !c->force_retransmit)
        fail(m, "%c sends %u bytes again with %u in flight and a congestion window of %u", name_of(side),
             size, flight, c->congestion.window);
}

static void check_data(Side *side, const Frame &frame, size_t packet_size) {
    Machine *m = side->machine;
    const TcpSegment &s = frame.tcp;
    const TcpConnection *c = side->c;
    const uint32_t offset = s.seq - (c->iss + 1), size = static_cast<uint32_t>(s.payload.size);
    const bool fin = (s.flags & tcp_fin) != 0;
    if (size + uint64_t{offset} > side->written)
        return fail(m, "%c sends beyond what was written: %u and %u", name_of(side), offset, size);
    if (memcmp(s.payload.data, pattern_at(side, offset), size) != 0)
        fail(m, "%c sends other bytes than were written at %u", name_of(side), offset);
    if (fin && (!c->fin_queued || offset + size != side->written))
        fail(m, "%c sends its FIN at %u of %llu bytes", name_of(side), offset + size,
             static_cast<unsigned long long>(side->written));
    if (seq_before(s.seq, c->send_una)) fail(m, "%c sends again what is acknowledged", name_of(side));
    const uint32_t end = s.seq + size + fin;
    if (!side->has_peer_edge || seq_after(end, side->peer_edge))
        fail(m, "%c sends %d bytes beyond the window it was offered", name_of(side),
             seq_diff(end, side->peer_edge));
    const size_t behind_header = packet_size - frame.ip.header_size - tcp_header_size;
    const uint32_t takes = other(side)->syn_mss > tcp_mss_least ? other(side)->syn_mss : tcp_mss_least;
    if (behind_header > takes)
        fail(m, "%c sends %zu bytes to a peer that takes %u", name_of(side), behind_header, takes);
    if (packet_size > c->path_mtu.mtu && behind_header > tcp_mss_least)
        fail(m, "%c sends a packet of %zu bytes on a path of %u", name_of(side), packet_size,
             c->path_mtu.mtu);
    check_pace(side, s);
}

void check_leaving(Side *side, const Frame &frame, size_t size) {
    const TcpConnection *c = side->c;
    if (!is_current(side, frame, true) || c->state == TcpState::closed) return;
    const TcpSegment &s = frame.tcp;
    if (s.flags & tcp_rst) return;
    if (s.flags & tcp_syn) {
        side->syn_scaled = s.options.has_scale;
        side->syn_scale = s.options.scale;
        side->syn_mss = s.options.mss;
        if (s.seq != c->iss) fail(side->machine, "%c sends a SYN with another number", name_of(side));
    }
    if (!(s.flags & tcp_ack)) return;
    check_ack(side, s);
    check_window(side, s);
    for (unsigned i = 0; i < s.options.sack_count; i++) {
        const SackBlock block = s.options.sacks[i];
        if (!seq_before(block.begin, block.end) || !is_held(side, block))
            fail(side->machine, "%c says in a SACK block that it holds %u to %u", name_of(side),
                 block.begin - c->irs - 1, block.end - c->irs - 1);
    }
    if (s.payload.size != 0 || (s.flags & tcp_fin)) check_data(side, frame, size);
}

// ---- what arrives ----

void note_arrived(Side *side, const Frame &frame) {
    if (!is_current(side, frame, false)) return;
    const TcpSegment &s = frame.tcp;
    if (s.flags & tcp_rst) return;
    const Side *peer = other(side);
    const bool syn = (s.flags & tcp_syn) != 0, scaled = side->syn_scaled && peer->syn_scaled && !syn;
    if (!syn && !(s.flags & tcp_ack)) return;
    const uint32_t from = s.flags & tcp_ack ? s.ack : side->c->iss + 1;
    const uint32_t edge = from + (uint32_t{s.window} << (scaled ? peer->syn_scale : 0));
    if (!side->has_peer_edge || seq_after(edge, side->peer_edge)) side->peer_edge = edge;
    side->has_peer_edge = true;
}

// ---- after a step ----

static void check_scoreboard(Side *side) {
    Machine *m = side->machine;
    const TcpConnection *c = side->c;
    const Scoreboard *s = &c->sent;
    uint32_t sacked = 0, sacked_bytes = 0, lost = 0, lost_bytes = 0, at = c->send_una;
    for (uint32_t i = 0; i < scoreboard_count(s); i++) {
        const SentSegment *segment = scoreboard_at(s, i);
        const uint32_t size = segment->end - segment->seq;
        if (segment->seq != at || !seq_before(segment->seq, segment->end))
            return fail(m, "the scoreboard of %c has a gap", name_of(side));
        at = segment->end;
        if (segment->flags & sent_sacked) sacked++, sacked_bytes += size;
        if (segment->flags & sent_lost) lost++, lost_bytes += size;
        if ((segment->flags & sent_sacked) && (segment->flags & sent_lost))
            fail(m, "a segment of %c is both SACKed and lost", name_of(side));
    }
    if (at != c->send_next) fail(m, "the scoreboard of %c ends before SND.NXT", name_of(side));
    if (sacked != s->sacked_count || sacked_bytes != s->sacked_bytes || lost != s->lost_count ||
        lost_bytes != s->lost_bytes)
        fail(m, "the scoreboard of %c counts %u (%u bytes) SACKed and %u (%u) lost, but has %u (%u), %u (%u)",
             name_of(side), s->sacked_count, s->sacked_bytes, s->lost_count, s->lost_bytes, sacked,
             sacked_bytes, lost, lost_bytes);
    if (c->congestion.window < c->congestion.mss)
        fail(m, "the congestion window of %c is less than a segment", name_of(side));
}

static void check_sending(Side *side) {
    Machine *m = side->machine;
    const TcpConnection *c = side->c;
    const TcpConnection *peer = other(side)->c;
    if (c->tx.end - (c->iss + 1) != static_cast<uint32_t>(side->written))
        fail(m, "%c has queued other than was written", name_of(side));
    if (!tcp_synchronized(c)) return;
    if (c->state == TcpState::time_wait) return; // everything is released
    if (c->tx.begin != seq_min(c->send_una, c->tx.end))
        fail(m, "the send buffer of %c does not begin at SND.UNA", name_of(side));
    if (peer == nullptr || peer->irs != c->iss || seq_after(c->send_una, tcp_receive_next(peer)))
        fail(m, "%c counts as acknowledged what the other side does not have", name_of(side));
    if (seq_after(c->send_next, side->peer_edge) && tcp_outstanding(c) != 0)
        fail(m, "%c has %d bytes in flight beyond the window", name_of(side),
             seq_diff(c->send_next, side->peer_edge));
    check_scoreboard(side);
}

static void check_receiving(Side *side) {
    Machine *m = side->machine;
    const Reassembly &rx = side->c->rx;
    uint32_t at = rx.next, held = 0;
    if (rx.read - (side->c->irs + 1) != static_cast<uint32_t>(side->read))
        fail(m, "%c has consumed other than was read", name_of(side));
    if (rx.read + ready_bytes(rx) != rx.next)
        fail(m, "the pieces of %c are not all up to RCV.NXT", name_of(side));
    for (uint32_t i = 0; i < rx.held_count; i++) {
        if (rx.held[i].size == 0 || seq_before(rx.held[i].seq, at))
            fail(m, "the held pieces of %c overlap", name_of(side));
        at = rx.held[i].seq + rx.held[i].size;
        held += rx.held[i].size;
    }
    if (held != rx.held_bytes || held > rx.held_budget || rx.held_count > rx.held_max)
        fail(m, "%c holds %u bytes out of order, counts %u, may hold %u", name_of(side), held, rx.held_bytes,
             rx.held_budget);
}

static void check_frames(Side *side) {
    uint32_t receive = 0, send = 0;
    for (uint32_t i = 0; i < host_connections; i++) {
        const TcpConnection &c = side->host.connections[i];
        receive += c.rx.ready_tail - c.rx.ready_head + c.rx.held_count;
        send += c.tx.tail - c.tx.head;
    }
    const SimFrames &in = side->host.receive, &out = side->host.send;
    if (receive != in.count - in.free_count || send != out.count - out.free_count)
        fail(side->machine, "%c has %u and %u frames out, but %u and %u pieces", name_of(side),
             in.count - in.free_count, out.count - out.free_count, receive, send);
    if (side->host.double_releases != 0) fail(side->machine, "%c has released a frame twice", name_of(side));
}

bool has_duty(const TcpConnection *c) {
    if (c->state == TcpState::syn_sent || c->state == TcpState::syn_received) return true;
    return tcp_sends(c) && (tcp_outstanding(c) != 0 || tcp_unsent(c) != 0 || (c->fin_queued && !c->fin_sent));
}

static void check_timers(Side *side) {
    Machine *m = side->machine;
    const TcpConnection *c = side->c;
    if (c->state == TcpState::closed && tcp_deadline(c) < m->now)
        fail(m, "%c has ended and has a timer", name_of(side));
    if (side->sink_refused || c->state == TcpState::closed || c->state == TcpState::listen) return;
    if (tcp_deadline(c) <= m->now) fail(m, "a timer of %c is due again at once", name_of(side));
    const bool handshake = c->state == TcpState::syn_sent || c->state == TcpState::syn_received;
    if (handshake || (tcp_sends(c) && tcp_outstanding(c) != 0)) {
        if (c->retransmit_at == never) fail(m, "%c waits for an answer without a timer", name_of(side));
    } else if (has_duty(c) && c->persist_at == never) {
        fail(m, "%c has something to send and waits for nothing", name_of(side));
    }
    const bool ends =
        c->state == TcpState::time_wait || (c->state == TcpState::fin_wait_2 && c->reading_over);
    if (ends && c->state_at == never)
        fail(m, "%c is in %s for ever", name_of(side), tcp_state_text(c->state));
    if (c->acks.at_once || c->acks.deadline <= m->now) fail(m, "%c owes an acknowledgement", name_of(side));
}

void check_side(Side *side) {
    const TcpConnection *c = side->c;
    check_frames(side);
    if (c == nullptr) return;
    const bool pieces_full = c->rx.ready_tail - c->rx.ready_head > c->rx.ready_mask;
    if (pieces_full || side->host.no_frame != 0 || c->stats.dropped_no_room != 0) side->starved = true;
    if (c->state != TcpState::closed && c->state != TcpState::listen && c->state != TcpState::syn_sent) {
        check_sending(side);
        check_receiving(side);
    }
    check_timers(side);
}

// ---- the end ----

// A host that has no place for what arrives is as good as a network that loses it.
static bool is_starved(const Machine *m) { return m->sides[0].starved || m->sides[1].starved; }

// Whether the scenario has a reason for this end.
static bool has_reason(const Side *side) {
    const Machine *m = side->machine;
    const Side *peer = other(const_cast<Side *>(side));
    const TcpConnection *c = side->c;
    const bool peer_over = peer->c != nullptr && peer->c->end != TcpEnd::none;
    const Nanos sick = m->heal_at + m->slack;
    const SidePlan &plan = side->plan;
    switch (c->end) {
    case TcpEnd::none:
    case TcpEnd::unreachable:
        return false;
    case TcpEnd::closed:
        return true;
    case TcpEnd::aborted:
        return side->orphan || (side->finished && plan.ending >= Ending::close_early);
    case TcpEnd::reset:
    case TcpEnd::refused:
        return peer_over;
    case TcpEnd::syn_timeout: // all tries but the last may have been before
        return side->began <= sick || is_starved(m);
    case TcpEnd::user_timeout:
        return m->now - side->acked_at + m->plan.quantum >= c->config.user_timeout &&
               (side->acked_at <= sick || peer_over || is_starved(m) ||
                // After close a window that the peer keeps closed is waited for no longer.
                (c->reading_over && c->stats.zero_windows != 0));
    case TcpEnd::keepalive:
        return m->now - c->last_received >= c->config.keepalive_interval * c->config.keepalive_tries &&
               (c->last_received <= sick || peer_over || is_starved(m));
    case TcpEnd::fin_timeout:
        return !peer->finished || peer_over || is_starved(m) ||
               m->now < sick + c->config.fin_wait_2 + peer->c->config.rtt.max;
    }
    return false;
}

void check_end(Side *side) {
    const TcpConnection *c = side->c;
    if (!has_reason(side))
        fail(side->machine, "%c ends without a reason: %s", name_of(side), tcp_end_text(c->end));
    if (!(c->notices & tcp_ended)) fail(side->machine, "%c ends and does not tell", name_of(side));
}

// On a path that loses and reorders nothing, with hosts that hold nothing back for longer than the timer
// allows for, nothing is taken for lost.
static void check_calm(Side *side) {
    const Machine *m = side->machine;
    const Plan &plan = m->plan;
    const HostPlan &host = plan.host[side->index], &peer = plan.host[1 - side->index];
    const bool calm = plan.kinds[0] == SimKind::perfect && plan.kinds[1] == SimKind::perfect &&
                      plan.quantum == 1 && host.sink_full == 0 && peer.sink_full == 0 && !is_starved(m) &&
                      peer.tcp.ack_delay + ns_per_ms < host.tcp.rtt.min;
    const TcpStats &stats = side->c->stats;
    // A delayed acknowledgement may cross a tail probe and be taken for its answer.
    if (calm && (stats.timeouts != 0 || stats.recoveries > stats.tail_probes))
        fail(side->machine, "%c takes something for lost on a perfect path: %llu timeouts, %llu recoveries",
             name_of(side), static_cast<unsigned long long>(stats.timeouts),
             static_cast<unsigned long long>(stats.recoveries));
}

void check_round(Machine *m) {
    for (Side &side : m->sides) check_calm(&side);
    for (Side &side : m->sides) {
        // Both FINs were acknowledged: so was everything before them.
        if (side.c->end != TcpEnd::closed) continue;
        const Side *peer = other(&side);
        if (side.c->passive && side.written == 0 && peer->c->end == TcpEnd::aborted) continue; // in LISTEN
        if (side.read != peer->written || peer->read != side.written)
            fail(m, "%c is closed, but of %llu bytes B has read %llu, of %llu bytes A %llu", name_of(&side),
                 static_cast<unsigned long long>(m->sides[0].written),
                 static_cast<unsigned long long>(m->sides[1].read),
                 static_cast<unsigned long long>(m->sides[1].written),
                 static_cast<unsigned long long>(m->sides[0].read));
    }
}

void check_run(Machine *m) {
    for (Side &side : m->sides) {
        if (sim_host_frames_out(&side.host) != 0)
            fail(m, "%c keeps %u frames after the end", name_of(&side), sim_host_frames_out(&side.host));
        check_frames(&side);
    }
}

} // namespace simulation
