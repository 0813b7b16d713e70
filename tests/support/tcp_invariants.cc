// SPDX-License-Identifier: MIT
// Everything that is counted is counted anew here, from the entries themselves; what the connection relies on
// (no gap in the scoreboard, pieces in order, an edge that was promised) is looked at, not assumed. A rule
// about a packet is judged by the state before it was sent, as RFC 9293 and the RFCs beside it have it. It
// knows nothing of the peer, so it holds against one that lies. Never changes anything. Worst case: every
// entry of every table is read.
#include "tcp_invariants.h"

using namespace wx;

namespace tcp_invariants {

#define RULE(condition, sentence)                                                                            \
    if (!(condition)) return sentence

static bool opened(const TcpConnection &c) { // both sides' numbers are known
    return c.state != TcpState::closed && c.state != TcpState::listen && c.state != TcpState::syn_sent;
}

static bool may_hold_sent(const TcpConnection &c) {
    return tcp_synchronized(&c) && c.state != TcpState::time_wait;
}

// ---- state ----

struct Recount {
    uint32_t sacked = 0, sacked_bytes = 0, lost = 0, lost_bytes = 0;
};

static const char *recount(const TcpConnection &c, Recount *counted) {
    const uint32_t count = scoreboard_count(&c.sent);
    uint32_t at = c.send_una;
    RULE(count <= c.config.send_segments, "the scoreboard holds more segments than it has room for");
    for (uint32_t i = 0; i < count; i++) {
        const SentSegment *segment = scoreboard_at(&c.sent, i);
        const bool fin = (segment->flags & sent_fin) != 0;
        RULE(segment->seq == at, "the scoreboard has a gap, or does not begin at SND.UNA");
        RULE(seq_before(segment->seq, segment->end), "a sent segment is empty");
        RULE(!(segment->flags & sent_sacked) || !(segment->flags & sent_lost),
             "a segment is SACKed and lost");
        RULE(!fin || (i + 1 == count && segment->end == c.tx.end + 1), "a FIN is not the last");
        RULE(segment->times != 0 && segment->sent_at != 0, "a sent segment was never sent");
        at = segment->end;
        if (segment->flags & sent_sacked) counted->sacked++, counted->sacked_bytes += at - segment->seq;
        if (segment->flags & sent_lost) counted->lost++, counted->lost_bytes += at - segment->seq;
    }
    RULE(count == 0 || at == c.send_next, "the scoreboard does not end at SND.NXT");
    return nullptr;
}

static const char *scoreboard_state(const TcpConnection &c) {
    Recount counted;
    if (const char *broken = recount(c, &counted)) return broken;
    RULE(counted.sacked == c.sent.sacked_count && counted.sacked_bytes == c.sent.sacked_bytes,
         "the counters of what is SACKed are wrong");
    RULE(counted.lost == c.sent.lost_count && counted.lost_bytes == c.sent.lost_bytes,
         "the counters of what is lost are wrong");
    if (!may_hold_sent(c)) {
        RULE(scoreboard_count(&c.sent) == 0, "sent segments are kept in a state that has none");
        return nullptr;
    }
    RULE(scoreboard_count(&c.sent) != 0 || tcp_outstanding(&c) == 0,
         "nothing is known of what is outstanding");
    RULE(c.duplicate_bytes <= tcp_outstanding(&c), "more was duplicated than is outstanding");
    RULE(tcp_in_flight(&c) <= tcp_outstanding(&c), "more is in flight than was sent");
    return nullptr;
}

static const char *sending_state(const TcpConnection &c) {
    const uint32_t chunks = c.tx.tail - c.tx.head;
    uint32_t at = c.tx.begin;
    RULE(chunks <= c.config.send_chunks, "more chunks than there is room for");
    for (uint32_t i = c.tx.head; i != c.tx.tail; i++) {
        const SendBuffer::Entry &entry = c.tx.entries[i & c.tx.mask];
        const uint32_t end = entry.seq + entry.chunk.size;
        RULE(seq_before(at, end), "a chunk is kept that was acknowledged");
        RULE(i == c.tx.head ? seq_until(entry.seq, at) : entry.seq == at, "the send buffer has a gap");
        at = end;
    }
    RULE(at == c.tx.end || chunks == 0, "the send buffer ends elsewhere than its last chunk");
    if (!may_hold_sent(c)) return nullptr;
    RULE(chunks != 0 || c.tx.begin == c.tx.end, "queued bytes without a chunk");
    RULE(c.tx.begin == seq_min(c.send_una, c.tx.end), "the send buffer does not begin at SND.UNA");
    RULE(seq_until(c.send_una, c.send_next), "SND.UNA is beyond SND.NXT");
    RULE(c.fin_sent ? c.send_next == c.tx.end + 1 : seq_until(c.send_next, c.tx.end),
         "SND.NXT is beyond what was queued");
    RULE(c.fin_queued || !c.fin_sent, "a FIN was sent that nobody asked for");
    RULE(c.mss >= tcp_mss_least && tcp_segment_payload(&c) != 0, "segments without payload");
    RULE(c.congestion.mss == tcp_segment_payload(&c), "congestion control has another segment size");
    RULE(c.congestion.window >= c.congestion.mss, "the congestion window is less than a segment");
    return nullptr;
}

static const char *held_state(const TcpConnection &c) {
    uint32_t at = c.rx.next, bytes = 0;
    for (uint32_t i = 0; i < c.rx.held_count; i++) {
        const RxPiece &piece = c.rx.held[i];
        RULE(piece.size != 0 && seq_until(at, piece.seq), "held pieces overlap, or lie before RCV.NXT");
        at = piece.seq + piece.size;
        bytes += piece.size;
        RULE(seq_until(at, c.advertised), "what lies beyond the window is held");
        RULE(!c.fin_known || seq_until(at, c.fin_received), "what lies beyond the FIN is held");
    }
    RULE(bytes == c.rx.held_bytes, "the count of held bytes is wrong");
    RULE(c.rx.held_count <= c.config.held_pieces && bytes <= c.config.held_bytes,
         "more is held than there is room for");
    return nullptr;
}

static const char *receiving_state(const TcpConnection &c) {
    const uint32_t pieces = c.rx.ready_tail - c.rx.ready_head;
    uint32_t at = c.rx.read;
    RULE(pieces <= c.config.receive_pieces, "more pieces are ready than there is room for");
    for (uint32_t i = c.rx.ready_head; i != c.rx.ready_tail; i++) {
        const RxPiece &piece = c.rx.ready[i & c.rx.ready_mask];
        RULE(seq_until(piece.seq, at) && seq_before(at, piece.seq + piece.size),
             "what can be read has a gap, or was read");
        at = piece.seq + piece.size;
    }
    RULE(at == c.rx.next, "RCV.NXT is not where the readable bytes end");
    RULE(reassembly_unread(&c.rx) <= c.config.receive_bytes, "more was taken than receive_bytes");
    if (!opened(c)) return nullptr;
    RULE(static_cast<uint32_t>(c.stats.bytes_in) == c.rx.next - (c.irs + 1), "bytes_in is wrong");
    RULE(seq_until(c.rx.next, c.advertised), "more was taken than was advertised");
    RULE(seq_until(c.last_ack_sent, tcp_receive_next(&c)), "more was acknowledged than received");
    RULE(!c.fin_known || seq_until(c.rx.next, c.fin_received), "bytes beyond the FIN were taken");
    RULE(!c.fin_taken || (c.fin_known && c.rx.next == c.fin_received), "a FIN was taken before its turn");
    return nullptr;
}

static const char *closed_state(const TcpConnection &c) {
    RULE(tcp_deadline(&c) == never, "a connection that is over has a timer");
    RULE(c.tx.head == c.tx.tail, "a connection that is over keeps what was to be sent");
    RULE(c.rx.held_count == 0, "a connection that is over keeps what cannot be read any more");
    return nullptr;
}

const char *broken_state(const TcpConnection &c) {
    if (const char *broken = scoreboard_state(c)) return broken;
    if (const char *broken = sending_state(c)) return broken;
    if (const char *broken = held_state(c)) return broken;
    if (const char *broken = receiving_state(c)) return broken;
    return c.state == TcpState::closed ? closed_state(c) : nullptr;
}

// ---- timers ----

const char *broken_timers(const TcpConnection &c, Nanos now) {
    RULE(tcp_deadline(&c) > now, "a timer is due again at once");
    RULE(!c.send_reset, "a reset was not sent");
    if (c.state == TcpState::closed || c.state == TcpState::listen) return nullptr;
    RULE(!c.send_syn, "a SYN was not sent");
    const bool handshake = c.state == TcpState::syn_sent || c.state == TcpState::syn_received;
    RULE(!handshake || c.retransmit_at != never, "a SYN waits for its answer without a timer");
    if (tcp_sends(&c)) {
        const bool unsent = tcp_unsent(&c) != 0 || (c.fin_queued && !c.fin_sent);
        RULE(tcp_outstanding(&c) == 0 || c.retransmit_at != never, "sent data waits without a timer");
        RULE(tcp_outstanding(&c) == 0 || c.give_up_at != never, "sent data may wait for ever");
        RULE(!unsent || tcp_outstanding(&c) != 0 || c.persist_at != never,
             "unsent data waits without a timer");
    }
    const bool ends = c.state == TcpState::time_wait || (c.state == TcpState::fin_wait_2 && c.reading_over);
    RULE(!ends || c.state_at != never, "a state that ends by time has no timer");
    RULE(c.state == TcpState::syn_sent || !ack_policy_due(&c.acks, now), "an acknowledgement is owed");
    RULE(c.duplicate_acks_owed == 0, "duplicate acknowledgements are owed");
    return nullptr;
}

// ---- packets ----

// Bytes that can be read, or were, count as well as those that are held.
static bool has_received(const TcpConnection &c, SackBlock block) {
    uint32_t at = block.begin;
    if (seq_before(at, c.rx.next)) at = seq_min(block.end, c.rx.next);
    for (uint32_t i = 0; i < c.rx.held_count; i++) {
        const RxPiece &piece = c.rx.held[i];
        if (seq_until(piece.seq, at) && seq_before(at, piece.seq + piece.size)) at = piece.seq + piece.size;
    }
    return seq_until(block.end, at);
}

static const char *broken_options(const TcpConnection &c, const TcpSegment &s, Nanos now) {
    RULE(s.options.has_timestamps == c.timestamps, "timestamps other than agreed");
    if (c.timestamps) {
        RULE(s.options.ts_value == tcp_timestamp(&c, now), "the timestamp is not the present time");
        RULE(s.options.ts_echo == c.ts_recent, "the echo is not TS.Recent");
    }
    RULE(c.sack || s.options.sack_count == 0, "SACK blocks that were not agreed on");
    for (unsigned i = 0; i < s.options.sack_count; i++) {
        const SackBlock block = s.options.sacks[i];
        RULE(seq_before(block.begin, block.end), "an empty SACK block");
        RULE(has_received(c, block), "a SACK block tells of what is not held");
        const bool may_be_dsack = i == 0 && c.dsack_owed;
        RULE(may_be_dsack || seq_after(block.begin, s.ack), "a SACK block lies below the acknowledgement");
    }
    return nullptr;
}

static const char *broken_window(const TcpConnection &c, const TcpSegment &s) {
    const uint8_t scale = s.flags & tcp_syn ? 0 : c.receive_scale;
    const uint32_t edge = s.ack + (uint32_t{s.window} << scale);
    // A repeated SYN can say no more than 65535.
    const bool all_it_can_say = (s.flags & tcp_syn) && s.window == 65535;
    RULE(all_it_can_say || seq_until(c.advertised, edge),
         "the right edge of the window moves left");
    RULE(seq_until(edge, c.rx.read + c.config.receive_bytes + c.fin_taken),
         "the window promises more than there is room for");
    return nullptr;
}

static const SentSegment *find_sent(const TcpConnection &c, uint32_t seq) {
    for (uint32_t i = 0; i < scoreboard_count(&c.sent); i++)
        if (scoreboard_at(&c.sent, i)->seq == seq) return scoreboard_at(&c.sent, i);
    return nullptr;
}

static const char *broken_data(const TcpConnection &c, const TcpSegment &s) {
    const uint32_t size = static_cast<uint32_t>(s.payload.size), end = s.seq + size;
    const uint32_t flight = tcp_in_flight(&c);
    const bool fin = (s.flags & tcp_fin) != 0;
    const bool fits = flight == 0 || flight + size <= c.congestion.window;
    RULE(tcp_sends(&c), "data in a state that sends none");
    RULE(seq_until(c.send_una, s.seq) && seq_until(end, c.tx.end), "data that is not queued");
    RULE(!fin || (c.fin_queued && end == c.tx.end), "a FIN that is not at the end");
    if (s.seq == c.send_next) {
        RULE(seq_until(end + fin, c.send_una + c.send_window), "new data beyond the peer's window");
        RULE(fits || c.probe_tail, "new data beyond the congestion window");
        return nullptr;
    }
    const SentSegment *segment = find_sent(c, s.seq);
    RULE(segment != nullptr && seq_until(end + fin, segment->end), "what is sent again is no segment");
    RULE(!(segment->flags & sent_sacked), "what is SACKed is sent again");
    RULE(fits || c.force_retransmit || c.probe_tail, "data is sent again beyond the congestion window");
    return nullptr;
}

static const char *broken_syn(const TcpConnection &c, const TcpSegment &s) {
    RULE(c.state == TcpState::syn_sent || c.state == TcpState::syn_received, "a SYN in a later state");
    RULE(s.seq == c.iss && s.payload.size == 0, "a SYN that is not at the ISS");
    RULE(s.options.has_mss && s.options.mss == c.announced_mss, "a SYN without our MSS");
    RULE(((s.flags & tcp_ack) != 0) == (c.state == TcpState::syn_received), "a SYN of the wrong kind");
    return nullptr;
}

static const char *broken_addresses(const TcpConnection &c, const Frame &frame) {
    RULE(frame.kind == FrameKind::tcp, "no TCP");
    RULE(frame.ip.source_address() == c.tuple.local && frame.ip.destination_address() == c.tuple.remote,
         "the addresses are not the connection's");
    RULE(frame.tcp.source_port == c.tuple.local_port && frame.tcp.destination_port == c.tuple.remote_port,
         "the ports are not the connection's");
    RULE(frame.ip.hops == c.config.hops && frame.ip.traffic_class == c.config.traffic_class,
         "the IP header is not as configured");
    return nullptr;
}

const char *broken_packet(const TcpConnection &c, const Frame &frame, size_t size, Nanos now) {
    if (const char *broken = broken_addresses(c, frame)) return broken;
    const TcpSegment &s = frame.tcp;
    const size_t behind_header = size - frame.ip.header_size - tcp_header_size;
    if (s.flags & tcp_rst) {
        RULE(c.send_reset && s.seq == c.reset_seq && behind_header == 0, "a reset that is not owed");
        return nullptr;
    }
    RULE(c.state != TcpState::closed && c.state != TcpState::listen, "a packet without a connection");
    if (s.flags & tcp_syn) {
        if (const char *broken = broken_syn(c, s)) return broken;
    } else {
        if (const char *broken = broken_options(c, s, now)) return broken;
        RULE(behind_header <= c.mss, "a segment that the peer does not take");
        RULE(size <= c.path_mtu.mtu || behind_header <= tcp_mss_least,
             "a packet that the path does not take");
    }
    if (!(s.flags & tcp_ack)) return (s.flags & tcp_syn) ? nullptr : "a segment without ACK";
    RULE(s.ack == tcp_receive_next(&c), "what is acknowledged is not what was received");
    if (const char *broken = broken_window(c, s)) return broken;
    if (s.payload.size != 0 || (s.flags & tcp_fin)) return broken_data(c, s);
    RULE((s.flags & tcp_syn) || s.seq == c.send_next || s.seq == c.send_una - 1,
         "an acknowledgement that is not at SND.NXT and no probe");
    return nullptr;
}

} // namespace tcp_invariants
