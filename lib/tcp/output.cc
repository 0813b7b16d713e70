// SPDX-License-Identifier: MIT
// Everything that leaves, in this order: resets, SYN, what is lost, a tail probe, new data and FIN, then
// probes and acknowledgements that found no data to ride on. State changes only once the sink has taken the
// packet, so that a full sink costs nothing but the call.
#include "parts.h"

namespace wx {

namespace {

struct Out {
    TcpConnection *c;
    TcpSink *sink;
    Nanos now;
    uint32_t count;
    bool full; // the sink took one packet no more
    bool last; // what is being handed over is the last for now
};

// The options on a segment with ACK.
struct Plan {
    TcpOptions options;
    uint32_t size;       // in bytes
    uint32_t sacks_told; // stamp of the newest piece that the blocks tell of; valid with blocks
    bool has_dsack;      // the first block is the DSACK that is owed
};

// What else a segment with ACK tells the peer.
struct Said {
    uint32_t ack;
    uint32_t edge;   // of the window
    uint16_t window; // the field
};

} // namespace

// Takes the SACK blocks away, which are advice.
static void plan_bare(const TcpConnection *c, Plan *plan) {
    plan->options.sack_count = 0;
    plan->has_dsack = false;
    plan->size = c->timestamps ? 12 : 0;
}

static void plan_options(const TcpConnection *c, Nanos now, Plan *plan) {
    plan_bare(c, plan);
    plan->options.has_mss = plan->options.has_scale = plan->options.sack_permitted = false;
    plan->options.has_timestamps = c->timestamps;
    if (c->timestamps) {
        plan->options.ts_value = tcp_timestamp(c, now);
        plan->options.ts_echo = c->ts_recent;
    }
    if (!c->sack || (c->rx.held_count == 0 && !c->dsack_owed)) return;
    unsigned most = c->timestamps ? tcp_sack_max - 1 : tcp_sack_max, count = 0;
    if (c->dsack_owed) plan->options.sacks[count++] = c->dsack;
    count += reassembly_sacks(&c->rx, plan->options.sacks + count, most - count);
    if (count == 0) return;
    plan->options.sack_count = static_cast<uint8_t>(count);
    plan->has_dsack = c->dsack_owed;
    plan->sacks_told = c->rx.stamp;
    plan->size += 4 + 8 * count;
}

// The window field for this moment, and the right edge that the peer reads from it.
static uint16_t select_window(const TcpConnection *c, uint32_t next, uint32_t *edge) {
    uint32_t target = tcp_window_target(c);
    int32_t open = seq_diff(target, next), gain = seq_diff(target, c->advertised);
    // Small steps add up to silly windows only where the window is small. A wide one follows what is read by
    // the byte: its size then stays the same, and a peer that predicts headers predicts the next one.
    bool wide = open >= static_cast<int32_t>(c->config.receive_bytes / 2);
    if (gain < 0 || (gain < static_cast<int32_t>(tcp_window_step(c)) && !wide)) {
        target = c->advertised;
        open = seq_diff(target, next);
    }
    uint32_t window = open > 0 ? static_cast<uint32_t>(open) : 0;
    uint32_t field = window >> c->receive_scale;
    // Rounded up, so that the edge never moves left; tcp_window_target has kept back what that may promise.
    if (seq_before(next + (field << c->receive_scale), c->advertised)) field++;
    if (field > 65535) field = 65535;
    *edge = seq_max(c->advertised, next + (field << c->receive_scale));
    return static_cast<uint16_t>(field);
}

static bool deliver(Out *out, const uint8_t *headers, size_t tcp_size, const SendPieces *payload,
                    bool again) {
    TcpConnection *c = out->c;
    TcpPacket packet;
    packet.headers = ByteView(headers, c->ip_size + tcp_size);
    packet.payload = payload != nullptr && payload->size != 0 ? payload : nullptr;
    packet.again = again;
    packet.last = out->last;
    if (!out->sink->send(out->sink, packet)) {
        out->full = true;
        c->stats.sink_full++;
        return false;
    }
    out->count++;
    c->stats.segments_out++;
    return true;
}

// Fills in lengths and checksums of what begins with the template's IP header, and gives it to the sink;
// false when that is full.
static bool hand_over(Out *out, uint8_t *headers, size_t tcp_size, const SendPieces *payload, bool again) {
    TcpConnection *c = out->c;
    uint16_t length = static_cast<uint16_t>(tcp_size + (payload != nullptr ? payload->size : 0));
    uint16_t length_word = __builtin_bswap16(length); // as it lies in the pseudo header
    tcp_finish(headers + c->ip_size, tcp_size, checksum_add(c->pseudo, length_word),
               payload != nullptr ? payload->sum : 0);
    ip_set_payload_size(headers, length);
    return deliver(out, headers, tcp_size, payload, again);
}

static TcpSegment plain_segment(const TcpConnection *c) {
    TcpSegment s;
    s.source_port = c->tuple.local_port;
    s.destination_port = c->tuple.remote_port;
    return s;
}

// Words as they lie in memory, in one store.
static inline void store_two(uint8_t *at, uint32_t first, uint32_t second) {
    const uint64_t both = uint64_t{second} << 32 | first;
    memcpy(at, &both, sizeof both);
}

// The usual segment: no option, or only the timestamp. What is stored goes into the sum as well, since a load
// of bytes that were stored in other sizes waits until they are in the cache. Returns the TCP header's size.
static size_t write_usual(uint8_t *headers, const TcpConnection *c, uint8_t flags, uint32_t seq,
                          const Said &said, const TcpOptions &options, const SendPieces *payload) {
    uint8_t *tcp = headers + c->ip_size;
    const size_t size = tcp_header_size + (options.has_timestamps ? 12 : 0);
    const uint16_t length = static_cast<uint16_t>(size + (payload != nullptr ? payload->size : 0));
    if (c->ip_size == ip4_header_size) // with the ports; sizes that are known need no call
        memcpy(headers, c->head, ip4_header_size + 4);
    else
        memcpy(headers, c->head, ip6_header_size + 4);
    ip_set_payload_size(headers, length);
    uint32_t ports;
    memcpy(&ports, c->head + c->ip_size, sizeof ports);
    const uint32_t seq_word = __builtin_bswap32(seq), ack_word = __builtin_bswap32(said.ack);
    const uint32_t control = static_cast<uint32_t>(size << 26) | uint32_t{flags} << 16 | said.window;
    uint64_t sum = uint64_t{c->pseudo} + ports + seq_word + ack_word + __builtin_bswap32(control);
    sum += __builtin_bswap16(length); // as it lies in the pseudo header
    if (payload != nullptr) sum += payload->sum;
    if (options.has_timestamps) {
        const uint32_t kind = __builtin_bswap32(0x0101080A); // two NOPs, kind 8, length 10
        const uint32_t value = __builtin_bswap32(options.ts_value), echo = __builtin_bswap32(options.ts_echo);
        sum += uint64_t{kind} + value + echo;
        store_two(tcp + 20, kind, value);
        memcpy(tcp + 28, &echo, sizeof echo);
    }
    store_two(tcp + 4, seq_word, ack_word);
    store_two(tcp + 12, __builtin_bswap32(control), checksum_finish(checksum_fold(sum))); // not urgent
    return size;
}

// Makes a segment with ACK, of data, FIN, or neither, and gives it to the sink; false when that is full.
static bool hand_over_ack(Out *out, uint8_t flags, uint32_t seq, const SendPieces *payload, const Plan &plan,
                          bool again, Said *said) {
    TcpConnection *c = out->c;
    uint8_t headers[ip6_header_size + tcp_header_max];
    said->ack = tcp_receive_next(c);
    said->window = select_window(c, said->ack, &said->edge);
    if (plan.options.sack_count == 0) {
        const size_t size = write_usual(headers, c, flags, seq, *said, plan.options, payload);
        return deliver(out, headers, size, payload, again);
    }
    TcpSegment s = plain_segment(c);
    s.seq = seq;
    s.ack = said->ack;
    s.flags = flags;
    s.window = said->window;
    s.options = plan.options;
    memcpy(headers, c->head, c->ip_size);
    const size_t size = tcp_write_header(ByteSpan(headers + c->ip_size, tcp_header_max), s);
    return hand_over(out, headers, size, payload, again);
}

// The segment has left and the peer will read it: nothing of this is owed any more.
static void told(TcpConnection *c, const Plan &plan, const Said &said) {
    c->advertised = said.edge;
    c->last_ack_sent = said.ack;
    if (plan.options.sack_count != 0) c->sacks_told = plan.sacks_told;
    if (plan.has_dsack) {
        c->dsack_owed = false;
        c->stats.dsacks_out++;
    }
    ack_policy_on_sent(&c->acks);
}

static bool emit(Out *out, uint8_t flags, uint32_t seq, const SendPieces *payload, const Plan &plan,
                 bool again) {
    Said said;
    if (!hand_over_ack(out, flags, seq, payload, plan, again, &said)) return false;
    told(out->c, plan, said);
    return true;
}

static bool send_whole(Out *out, const TcpSegment &s) {
    uint8_t headers[ip6_header_size + tcp_header_max];
    memcpy(headers, out->c->head, out->c->ip_size);
    size_t size = tcp_write_header(ByteSpan(headers + out->c->ip_size, tcp_header_max), s);
    return hand_over(out, headers, size, nullptr, false);
}

static void send_reset(Out *out) {
    TcpConnection *c = out->c;
    TcpSegment s = plain_segment(c);
    s.seq = c->reset_seq;
    s.flags = tcp_rst;
    if (c->reset_with_ack) {
        s.flags |= tcp_ack;
        s.ack = tcp_receive_next(c);
    }
    if (send_whole(out, s)) c->send_reset = false;
}

static void send_syn(Out *out) {
    TcpConnection *c = out->c;
    bool answer = c->state == TcpState::syn_received;
    TcpSegment s = plain_segment(c);
    s.seq = c->iss;
    s.flags = static_cast<uint8_t>(answer ? tcp_syn | tcp_ack : tcp_syn);
    s.ack = answer ? tcp_receive_next(c) : 0;
    s.window = tcp_syn_window(c);
    s.options.has_mss = true;
    s.options.mss = c->announced_mss;
    s.options.sack_permitted = answer ? c->sack : c->config.sack;
    s.options.has_timestamps = answer ? c->timestamps : c->config.timestamps;
    s.options.ts_value = tcp_timestamp(c, out->now);
    s.options.ts_echo = answer ? c->ts_recent : 0;
    s.options.has_scale = answer ? c->scaling : c->config.window_scaling;
    s.options.scale = c->receive_scale;
    if (!send_whole(out, s)) return;
    c->send_syn = false;
    c->send_next = c->iss + 1;
    c->syn_count++;
    c->syn_sent_at = out->now;
    c->retransmit_at = out->now + rtt_timeout(&c->rtt);
    if (answer) {
        c->advertised = seq_max(c->advertised, tcp_receive_next(c) + s.window);
        c->last_ack_sent = s.ack;
        ack_policy_on_sent(&c->acks);
    }
}

// ---- data ----

// Sends the pieces, which begin at seq, and, with fin, the FIN after them.
static bool send_pieces(Out *out, uint32_t seq, const SendPieces &pieces, bool fin, const Plan &plan,
                        bool again) {
    bool last = seq + pieces.size == out->c->tx.end;
    uint8_t flags = fin ? tcp_ack | tcp_fin : tcp_ack;
    if (pieces.size != 0 && (pieces.push || last)) flags |= tcp_psh;
    out->last = last && !again;
    const bool sent = emit(out, flags, seq, &pieces, plan, again);
    out->last = false;
    return sent;
}

static uint32_t room_beside(const TcpConnection *c, const Plan &plan) {
    return c->mss > plan.size ? c->mss - plan.size : 1;
}

// bare: without SACK blocks, so that all of it fits that was sent in one segment.
static bool resend(Out *out, SentSegment *segment, bool bare) {
    TcpConnection *c = out->c;
    Plan plan;
    plan_options(c, out->now, &plan);
    if (bare) plan_bare(c, &plan);
    bool fin = (segment->flags & sent_fin) != 0, in_part = false;
    uint32_t size = segment->end - segment->seq - fin, most = room_beside(c, plan);
    // The path takes less than when it was sent, or there were no blocks then.
    bool split = size > most && !scoreboard_full(&c->sent);
    if (size > most && !split) {
        plan_bare(c, &plan); // no entry left
        most = room_beside(c, plan);
        in_part = size > most; // its first part, and the rest when that is acknowledged
    }
    if (size > most) {
        size = most;
        fin = false;
    }
    // All of it again, whatever chunks it was made of: its end is the next one's beginning.
    SendPieces pieces;
    send_buffer_view(&c->tx, segment->seq, size, true, &pieces);
    if (pieces.size < size) return false; // cannot be: it was sent in no more pieces
    if (!send_pieces(out, segment->seq, pieces, fin, plan, true)) return false;
    if (split) scoreboard_split(&c->sent, segment, segment->seq + size);
    scoreboard_sent_again(&c->sent, segment, out->now, tcp_timestamp(c, out->now));
    if (in_part) segment->flags |= sent_in_part;
    congestion_on_sent(&c->congestion, size);
    c->stats.retransmitted++;
    c->stats.retransmitted_bytes += size;
    if (c->recovery != Recovery::open) c->undo_retransmits++; // a tail probe is judged by itself
    c->last_sent = out->now;
    // What the timer would send next is not sent sooner than a timeout after this (RFC 6298 section 5).
    if (c->retransmit_at == never || segment->seq == c->send_una)
        c->retransmit_at = out->now + rtt_timeout(&c->rtt);
    return true;
}

static void resend_lost(Out *out) {
    TcpConnection *c = out->c;
    while (!out->full && c->sent.lost_count != 0) {
        SentSegment *segment = scoreboard_next_lost(&c->sent);
        if (segment == nullptr) break;
        uint32_t size = segment->end - segment->seq, flight = tcp_in_flight(c);
        bool fits = flight + (size < c->mss ? size : c->mss) <= c->congestion.window || flight == 0;
        if (!fits && !c->force_retransmit) break;
        if (!resend(out, segment, false)) break;
        c->force_retransmit = false;
    }
}

static void note_new(Out *out, uint32_t size, bool fin) {
    TcpConnection *c = out->c;
    uint32_t end = c->send_next + size + fin;
    bool first = tcp_outstanding(c) == 0;
    scoreboard_add(&c->sent, c->send_next, end, fin ? sent_fin : 0, out->now, tcp_timestamp(c, out->now));
    c->send_next = end;
    c->last_sent = out->now;
    c->stats.bytes_out += size;
    congestion_on_sent(&c->congestion, size);
    if (fin) {
        c->fin_sent = true;
        c->state = c->state == TcpState::close_wait ? TcpState::last_ack : TcpState::fin_wait_1;
    }
    if (first) c->give_up_at = out->now + c->config.user_timeout;
    c->persist_at = never;
    c->sws_override = false;
    if (first || c->recovery == Recovery::open) tcp_arm_retransmit(c, false, out->now);
}

enum class Gate : uint8_t { open, window, small, congestion, nagle };

// Whether a segment of this size may go now.
static Gate gate(const TcpConnection *c, uint32_t size, uint32_t unsent, uint32_t most, int32_t usable) {
    if (usable <= 0 && size != 0) return Gate::window;
    // The sender's silly window syndrome (RFC 9293 section 3.8.6.2.1): a segment that only the window makes
    // small waits.
    bool cut = size < most && size < unsent && static_cast<int32_t>(size) == usable;
    if (cut && size < c->max_window / 2 && !c->sws_override) return Gate::small;
    uint32_t flight = tcp_in_flight(c);
    if (flight != 0 && flight + size > c->congestion.window) return Gate::congestion;
    if (c->config.nagle && size < most && !c->fin_queued && tcp_outstanding(c) != 0) return Gate::nagle;
    return Gate::open;
}

// The next segment of new data. tail: a tail loss probe, which congestion control does not hold back.
static bool send_next_new(Out *out, bool tail) {
    TcpConnection *c = out->c;
    if (scoreboard_full(&c->sent)) return false;
    uint32_t unsent = tcp_unsent(c);
    bool fin = c->fin_queued && !c->fin_sent;
    if (unsent == 0 && !fin) return false;
    Plan plan;
    plan_options(c, out->now, &plan);
    uint32_t most = room_beside(c, plan), size = unsent < most ? unsent : most;
    int32_t usable = seq_diff(c->send_una + c->send_window, c->send_next);
    if (unsent == 0 && usable <= 0) { // a FIN also needs a window
        tcp_arm_persist(c, out->now);
        return false;
    }
    if (usable > 0 && size > static_cast<uint32_t>(usable)) size = static_cast<uint32_t>(usable);
    // A chunk of more than half a segment leaves from where it lies; joined with the next it would have to be
    // copied.
    SendPieces pieces;
    if (!c->config.nagle) {
        send_buffer_view(&c->tx, c->send_next, size, false, &pieces);
        if (pieces.size > most / 2) size = pieces.size;
    }
    Gate verdict = gate(c, size, unsent, most, usable);
    if (verdict == Gate::window || verdict == Gate::small) {
        if (verdict == Gate::small || tcp_outstanding(c) == 0) tcp_arm_persist(c, out->now);
        return false;
    }
    if (verdict == Gate::congestion && !tail) {
        c->window_limited = true;
        return false;
    }
    if (verdict == Gate::nagle) return false;
    if (c->config.nagle)
        send_buffer_view(&c->tx, c->send_next, size, true, &pieces);
    else if (pieces.size < size)
        send_buffer_join(&c->tx, size, &pieces);
    bool with_fin = fin && pieces.size == unsent && usable > static_cast<int32_t>(unsent);
    if (!send_pieces(out, c->send_next, pieces, with_fin, plan, false)) return false;
    note_new(out, pieces.size, with_fin);
    return true;
}

static void send_tail_probe(Out *out) {
    TcpConnection *c = out->c;
    if (scoreboard_count(&c->sent) == 0 || c->recovery != Recovery::open) {
        c->probe_tail = false;
        return;
    }
    bool fresh = tcp_unsent(c) != 0 && send_next_new(out, true);
    if (out->full) return; // it is still due, when there is room
    if (!fresh) {
        SentSegment *last = scoreboard_at(&c->sent, scoreboard_count(&c->sent) - 1);
        // SACKed since the timer was due: there is nothing left to probe.
        if ((last->flags & sent_sacked) || !resend(out, last, true)) {
            c->probe_tail = out->full;
            return;
        }
    }
    c->probe_tail = false;
    c->tail_probe.outstanding = true;
    c->tail_probe_spent = true;
    c->tail_probe.again = !fresh;
    c->tail_probe.end = c->send_next;
    c->tail_probe_at = never;
    c->stats.tail_probes++;
    c->retransmit_at = out->now + rtt_timeout(&c->rtt);
}

static void send_data(Out *out) {
    TcpConnection *c = out->c;
    c->window_limited = false;
    if (c->sent.lost_count != 0) resend_lost(out);
    if (c->probe_tail && !out->full) send_tail_probe(out);
    if (tcp_unsent(c) == 0 && !(c->fin_queued && !c->fin_sent)) return;
    Nanos idle = out->now - c->last_sent;
    if (tcp_outstanding(c) == 0) congestion_on_idle(&c->congestion, idle, rtt_timeout(&c->rtt));
    while (!out->full && tcp_sends(c) && c->sent.lost_count == 0 && send_next_new(out, false)) {
    }
}

// ---- acknowledgements ----

static void send_ack(Out *out) {
    Plan plan;
    plan_options(out->c, out->now, &plan);
    if (emit(out, tcp_ack, out->c->send_next, nullptr, plan, false)) out->c->stats.acks_out++;
}

// One acknowledgement tells the newest few blocks, and a batch may have brought more. What is never told is
// taken for lost and sent again, so the others go before it, the oldest first.
static void tell_blocks(Out *out) {
    TcpConnection *c = out->c;
    unsigned most = (c->timestamps ? tcp_sack_max - 1 : tcp_sack_max) - (c->dsack_owed ? 1u : 0u);
    for (unsigned i = 0; i < tcp_blocks_acks_max && c->rx.stamp - c->sacks_told > most; i++) {
        Plan plan;
        plan_options(c, out->now, &plan);
        uint32_t last;
        if (reassembly_sacks_since(&c->rx, c->sacks_told, plan.options.sacks, most, &last) <= most) return;
        plan.options.sack_count = static_cast<uint8_t>(most);
        plan.sacks_told = last;
        plan.has_dsack = false; // that goes with the last of them
        if (!emit(out, tcp_ack, c->send_next, nullptr, plan, false)) return;
        c->stats.acks_out++;
        ack_policy_now(&c->acks);
    }
}

// One sequence number back: every receiver answers it, and nothing of ours is spent. What lies outside the
// window is answered and not read, so it tells the peer nothing: what was owed still is, and so is the window
// when it has grown.
static void send_window_probe(Out *out) {
    TcpConnection *c = out->c;
    Plan plan;
    plan_options(c, out->now, &plan);
    Said said;
    if (!hand_over_ack(out, tcp_ack, c->send_una - 1, nullptr, plan, false, &said)) return;
    c->stats.acks_out++;
    c->probe_window = false;
    if (said.edge != c->advertised) ack_policy_now(&c->acks);
    c->advertised = said.edge;
}

static void send_acks(Out *out) {
    TcpConnection *c = out->c;
    if (c->probe_window) send_window_probe(out);
    if (out->full) return;
    while (c->duplicate_acks_owed > 1 && !out->full) {
        send_ack(out);
        if (out->full) return;
        c->duplicate_acks_owed--;
        c->acks.at_once = true; // the last of them
    }
    c->duplicate_acks_owed = 0;
    if (!out->full && ack_policy_due(&c->acks, out->now)) send_ack(out);
}

uint32_t tcp_output(TcpConnection *c, TcpSink *sink, Nanos now) {
    Out out = {c, sink, now, 0, false, false};
    if (c->send_reset) send_reset(&out);
    if (c->state == TcpState::closed || c->state == TcpState::listen || out.full) return out.count;
    if (c->state == TcpState::syn_sent || c->state == TcpState::syn_received) {
        if (c->send_syn) send_syn(&out);
        if (!out.full)
            c->give_up_at = never;
        else if (c->give_up_at == never) // a sink that never takes it: no sending is there to be counted
            c->give_up_at = now + c->config.user_timeout;
        if (c->state == TcpState::syn_sent || out.full || !ack_policy_due(&c->acks, now)) return out.count;
    }
    if (c->sack && c->rx.held_count != 0 && c->acks.at_once) tell_blocks(&out);
    if (out.full) return out.count;
    if (tcp_sends(c)) {
        send_data(&out);
        // The user timeout also runs when the sink never takes the first packet.
        if (out.full && c->give_up_at == never && (tcp_unsent(c) != 0 || (c->fin_queued && !c->fin_sent)))
            c->give_up_at = now + c->config.user_timeout;
        c->flight_peak = tcp_in_flight(c);
    }
    if (c->state == TcpState::fin_wait_2 && c->reading_over && c->state_at == never)
        c->state_at = now + c->config.fin_wait_2;
    if (c->state == TcpState::time_wait && c->state_at == never) c->state_at = now + c->config.time_wait;
    if (!out.full) send_acks(&out);
    return out.count;
}

} // namespace wx
