// SPDX-License-Identifier: MIT
// The user's side of a connection: making one, queueing, reading, closing; and what happens to its memory
// when it is over. Nothing here sends: it sets what tcp_output looks at, so that everything leaves through
// one door.
#include "../base/status.h"
#include "parts.h"

namespace wx {

const char *tcp_state_text(TcpState state) {
    static const char *const names[] = {"CLOSED",      "LISTEN",     "SYN-SENT",   "SYN-RECEIVED",
                                        "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2", "CLOSE-WAIT",
                                        "CLOSING",     "LAST-ACK",   "TIME-WAIT"};
    return names[static_cast<size_t>(state)];
}

const char *tcp_end_text(TcpEnd end) {
    static const char *const texts[] = {"not over",
                                        "closed by both sides",
                                        "aborted by us",
                                        "reset by the peer",
                                        "refused by the peer",
                                        "unreachable",
                                        "no answer to the SYN",
                                        "sent data was not acknowledged",
                                        "no answer to keepalive probes",
                                        "the peer never finished its side"};
    return texts[static_cast<size_t>(end)];
}

static size_t aligned(size_t bytes) { return (bytes + 63) & ~size_t{63}; }
static bool power_of_two(uint32_t n) { return n != 0 && (n & (n - 1)) == 0; }

size_t tcp_storage_bytes(const TcpConfig &config) {
    return aligned(reassembly_bytes(config.receive_pieces, config.held_pieces)) +
           aligned(send_buffer_bytes(config.send_chunks)) + aligned(scoreboard_bytes(config.send_segments));
}

static uint8_t scale_for(uint32_t bytes) {
    uint8_t scale = 0;
    while (scale < tcp_scale_max && bytes >> scale > 65535) scale++;
    return scale;
}

const char *tcp_config_problem(const TcpConfig &config) {
    constexpr uint32_t bytes_max = 1u << 30; // sequence arithmetic, and what window scaling can express
    if (!power_of_two(config.receive_pieces) || !power_of_two(config.send_chunks) ||
        !power_of_two(config.send_segments))
        return "receive_pieces, send_chunks and send_segments must be powers of two";
    if (config.receive_bytes < 1024 || config.receive_bytes > bytes_max)
        return "receive_bytes must be from 1024 to 1 GiB";
    uint8_t scale = config.window_scaling ? scale_for(config.receive_bytes) : 0;
    if (scale != 0 && (uint64_t{config.receive_pieces} + 1) << scale > config.receive_bytes / 4)
        return "receive_pieces must be fewer: rounding the window would cost more than a quarter of "
               "receive_bytes";
    if (config.send_bytes < 1024 || config.send_bytes > bytes_max)
        return "send_bytes must be from 1024 to 1 GiB";
    if (config.mtu < 576 || config.mtu > 65535) return "mtu must be from 576 to 65535";
    if (config.mss_max < tcp_mss_least) return "mss_max must be 64 or more";
    if (config.held_pieces == 0 || config.ack_segments == 0 || config.syn_tries == 0 ||
        config.initial_segments == 0)
        return "held_pieces, ack_segments, syn_tries and initial_segments must be 1 or more";
    if (config.rtt.min <= 0 || config.rtt.initial < config.rtt.min || config.rtt.max < config.rtt.initial)
        return "retransmission timeouts must be min <= initial <= max";
    if (config.user_timeout <= 0) return "user_timeout must be more than 0";
    if (config.ack_delay < 0 || config.peer_ack_delay < 0 || config.keepalive_idle < 0 ||
        config.time_wait < 0 || config.fin_wait_2 < 0)
        return "times must not be negative";
    constexpr uint32_t tries_max = 255; // what keepalive_sent counts
    if (config.keepalive_idle > 0 &&
        (config.keepalive_interval <= 0 || config.keepalive_tries == 0 || config.keepalive_tries > tries_max))
        return "keepalive_interval must be more than 0, keepalive_tries from 1 to 255";
    return nullptr;
}

int tcp_open(TcpConnection *c, TcpHost *host, const TcpConfig &config, ByteSpan storage) {
    if (tcp_config_problem(config) != nullptr || storage.data == nullptr ||
        storage.size < tcp_storage_bytes(config))
        return WSXDP_E_INVALID;
    *c = TcpConnection();
    c->host = host;
    c->config = config;
    uint8_t *memory = storage.data;
    reassembly_open(&c->rx, memory, config.receive_pieces, config.held_pieces, config.held_bytes, 0);
    memory += aligned(reassembly_bytes(config.receive_pieces, config.held_pieces));
    send_buffer_open(&c->tx, memory, config.send_chunks, config.send_bytes, 0);
    memory += aligned(send_buffer_bytes(config.send_chunks));
    scoreboard_open(&c->sent, memory, config.send_segments);
    c->acks.segments = config.ack_segments;
    c->acks.delay = config.ack_delay;
    rtt_open(&c->rtt, config.rtt);
    rack_open(&c->rack);
    return 0;
}

void tcp_build_template(TcpConnection *c) {
    IpTemplate ip;
    ip.source = c->tuple.local;
    ip.destination = c->tuple.remote;
    ip.hops = c->config.hops;
    ip.traffic_class = c->config.traffic_class;
    if (c->tuple.local.version == 6) ip.flow_label = flow_label_make(c->host->secret, c->tuple);
    c->ip_size = static_cast<uint8_t>(ip_write(ByteSpan(c->head, sizeof c->head), ip, 0));
    uint8_t *tcp = c->head + c->ip_size;
    memset(tcp, 0, tcp_header_size);
    store_be16(tcp, c->tuple.local_port);
    store_be16(tcp + 2, c->tuple.remote_port);
    c->pseudo =
        checksum_pseudo(c->tuple.local.bytes, c->tuple.remote.bytes, c->tuple.local.size(), ip_tcp, 0);
}

void tcp_update_mss(TcpConnection *c) {
    uint32_t most = c->path_mtu.mtu - c->ip_size - static_cast<uint32_t>(tcp_header_size);
    if (most > c->config.mss_max) most = c->config.mss_max;
    if (c->peer_mss != 0 && c->peer_mss < most) most = c->peer_mss;
    if (most < tcp_mss_least) most = tcp_mss_least;
    c->mss = most;
    congestion_set_mss(&c->congestion, tcp_segment_payload(c));
}

// What both kinds of opening have in common: numbers that nobody can guess, and our side's sizes.
static void begin(TcpConnection *c, const TcpTuple &tuple, Nanos now) {
    c->tuple = tuple;
    tcp_build_template(c);
    path_mtu_open(&c->path_mtu, c->config.mtu, tuple.local.version == 6);
    uint32_t announced = c->config.mtu - c->ip_size - static_cast<uint32_t>(tcp_header_size);
    if (announced > c->config.mss_max) announced = c->config.mss_max;
    c->announced_mss = static_cast<uint16_t>(announced);
    c->receive_scale = c->config.window_scaling ? scale_for(c->config.receive_bytes) : 0;
    c->iss = isn_make(c->host->secret, tuple, now);
    c->ts_offset = timestamp_offset(c->host->secret, tuple);
    c->send_una = c->iss;
    c->send_next = c->iss;
    c->recovery_end = c->iss;
    c->tx.begin = c->tx.end = c->iss + 1;
    c->send_syn = true;
    c->last_received = now;
    c->last_sent = now;
}

bool tcp_connect(TcpConnection *c, const TcpTuple &tuple, Nanos now) {
    if (c->state != TcpState::closed || !ip_is_unicast(tuple.local) || !ip_is_unicast(tuple.remote))
        return false;
    begin(c, tuple, now);
    c->state = TcpState::syn_sent;
    return true;
}

void tcp_listen(TcpConnection *c) {
    c->state = TcpState::listen;
    c->passive = true;
}

void tcp_on_syn(TcpConnection *c, const TcpTuple &tuple, const TcpSegment &segment, Nanos now) {
    constexpr uint8_t kind = tcp_syn | tcp_ack | tcp_rst;
    if (c->state != TcpState::listen || (segment.flags & kind) != tcp_syn) return;
    if (!ip_is_unicast(tuple.local) || !ip_is_unicast(tuple.remote)) return; // RFC 9293 MUST-57
    c->stats.segments_in++;
    begin(c, tuple, now);
    c->state = TcpState::syn_received;
    tcp_acknowledge_syn(c, segment, now);
}

uint32_t tcp_room(const TcpConnection *c) {
    if (c->fin_queued || c->state == TcpState::closed || c->state == TcpState::listen) return 0;
    return send_buffer_room(&c->tx);
}

bool tcp_write(TcpConnection *c, const TcpChunk &chunk) {
    if (c->fin_queued || c->state == TcpState::closed || c->state == TcpState::listen) return false;
    if (send_buffer_add(&c->tx, chunk)) return true;
    c->write_refused = true;
    return false;
}

void tcp_consume(TcpConnection *c, uint32_t bytes) {
    uint32_t before = c->rx.next;
    reassembly_consume(&c->rx, bytes, c->host->release_receive);
    // Held pieces that had no room among the ready ones may have become readable.
    if (c->rx.next != before) {
        c->stats.bytes_in += c->rx.next - before;
        c->notices |= tcp_readable;
        ack_policy_now(&c->acks);
        tcp_take_fin(c, c->last_received);
        // Its time begins when the FIN is acknowledged: at the next tcp_output.
        if (c->state == TcpState::time_wait) c->state_at = never;
    }
    if (!tcp_synchronized(c) || c->fin_known) return;
    uint32_t next = tcp_receive_next(c);
    int32_t offered = seq_diff(c->advertised, next), possible = seq_diff(tcp_window_target(c), next);
    // The peer hears of a window that has doubled by a segment or more; smaller steps wait for the next
    // segment out.
    if (offered < 0) offered = 0;
    int32_t most = static_cast<int32_t>(65535u << c->receive_scale); // that a header can tell
    if (possible > most) possible = most;
    if (possible >= 2 * offered && possible - offered >= static_cast<int32_t>(tcp_window_step(c)))
        ack_policy_now(&c->acks);
}

void tcp_finish(TcpConnection *c) {
    if (c->state == TcpState::listen) return tcp_end_with(c, TcpEnd::closed);
    if (c->state != TcpState::closed) c->fin_queued = true;
}

void tcp_close(TcpConnection *c) {
    if (c->state == TcpState::syn_sent) return tcp_end_with(c, TcpEnd::aborted);
    // What the peer sent and nobody will read is lost: it must hear of it (RFC 9293 section 3.6.1).
    // That holds in CLOSING and LAST-ACK too, where an abort alone tells nobody.
    if (tcp_synchronized(c) && c->state != TcpState::time_wait && reassembly_unread(&c->rx) != 0) {
        uint32_t next = c->send_next;
        tcp_abort(c);
        c->send_reset = true;
        c->reset_with_ack = true;
        c->reset_seq = next;
        return;
    }
    c->reading_over = true;
    tcp_finish(c);
}

void tcp_abort(TcpConnection *c) {
    bool told = c->state == TcpState::syn_received || c->state == TcpState::established ||
                c->state == TcpState::fin_wait_1 || c->state == TcpState::fin_wait_2 ||
                c->state == TcpState::close_wait;
    if (c->state == TcpState::closed) return;
    if (told) {
        c->send_reset = true;
        c->reset_with_ack = true;
        c->reset_seq = c->send_next;
    }
    tcp_end_with(c, TcpEnd::aborted);
}

static void drop_everything_queued(TcpConnection *c) {
    send_buffer_clear(&c->tx, c->host->release_send);
    scoreboard_clear(&c->sent);
    for (uint32_t i = 0; i < c->rx.held_count; i++) c->host->release_receive(c->rx.held[i].frame);
    c->rx.held_count = 0;
    c->rx.held_bytes = 0;
    c->duplicate_bytes = 0;
    c->force_retransmit = c->probe_tail = c->probe_window = false;
}

void tcp_end_with(TcpConnection *c, TcpEnd end) {
    bool told = c->state == TcpState::time_wait;
    drop_everything_queued(c);
    tcp_stop_timers(c);
    c->state = TcpState::closed;
    c->send_syn = false;
    ack_policy_on_sent(&c->acks);
    c->duplicate_acks_owed = 0;
    if (told) return;
    c->end = end;
    c->notices |= tcp_ended;
}

void tcp_enter_time_wait(TcpConnection *c, Nanos now) {
    drop_everything_queued(c);
    tcp_stop_timers(c);
    c->state = TcpState::time_wait;
    c->state_at = now + c->config.time_wait;
    c->end = TcpEnd::closed;
    c->notices |= tcp_ended;
}

void tcp_discard(TcpConnection *c) {
    if (c->host != nullptr) reassembly_clear(&c->rx, c->host->release_receive);
}

TimeWait tcp_time_wait_entry(const TcpConnection *c) {
    TimeWait entry;
    entry.tuple = c->tuple;
    entry.send_next = c->send_next;
    entry.receive_next = tcp_receive_next(c);
    entry.ts_recent = c->ts_recent;
    entry.ts_value_offset = c->ts_offset;
    entry.timestamps = c->timestamps;
    uint32_t window = (c->advertised - tcp_receive_next(c)) >> c->receive_scale;
    entry.window = static_cast<uint16_t>(window > 65535 ? 65535 : window);
    entry.expires = c->state_at;
    entry.answered_at = c->last_unacceptable;
    return entry;
}

void tcp_retire(TcpConnection *c, Nanos now) {
    if (c->state != TcpState::time_wait || ack_policy_due(&c->acks, now)) return;
    if (c->state_at == never) c->state_at = now + c->config.time_wait;
    if (c->state_at > now) time_wait_add(&c->host->time_wait, tcp_time_wait_entry(c));
    tcp_end_with(c, TcpEnd::closed);
}

} // namespace wx
