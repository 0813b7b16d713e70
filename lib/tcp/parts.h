// SPDX-License-Identifier: MIT
// What the files of the connection share and nobody else needs.
#pragma once
#include "sequence.h"
#include "tcp.h"

namespace wx {

// RFC 9293 section 3.7.1: what a peer takes that does not say.
constexpr uint16_t tcp_default_mss4 = 536;
constexpr uint16_t tcp_default_mss6 = 1220;
// An MSS that leaves nothing beside 40 bytes of options would have us send headers only.
constexpr uint16_t tcp_mss_least = 64;
// Segments that are answered without need, to one peer: at most every so often, so that two stacks that
// disagree do not answer each other for ever.
constexpr Nanos tcp_unacceptable_distance = 500 * ns_per_ms;
// RFC 7323 section 5.5: after so long an idle time a timestamp says nothing.
constexpr Nanos tcp_ts_recent_valid = 24 * 86400 * ns_per_s;
constexpr Nanos tcp_timestamp_tick = ns_per_ms; // section 5.4 wants 1 ms to 1 s
constexpr uint32_t tcp_duplicate_threshold = 3; // RFC 5681
// An acknowledgement moves SND.UNA by 1 GiB at most; comparisons hold up to 2.
constexpr int32_t tcp_recovery_end_behind = 1 << 29;
constexpr unsigned tcp_blocks_acks_max = 16;        // in one step, for blocks that one has no room for
constexpr uint32_t tcp_duplicates_owed_max = 64;    // in one step; a peer without SACK needs three
constexpr Nanos tcp_sws_override = 200 * ns_per_ms; // RFC 9293 section 3.8.6.2.1: 0.1 to 1 s

inline bool tcp_synchronized(const TcpConnection *c) { return c->state >= TcpState::established; }
inline bool tcp_may_send_data(const TcpConnection *c) {
    return c->state == TcpState::established || c->state == TcpState::close_wait;
}
// States in which data or a FIN of ours may be under way.
inline bool tcp_sends(const TcpConnection *c) {
    return tcp_may_send_data(c) || c->state == TcpState::fin_wait_1 || c->state == TcpState::closing ||
           c->state == TcpState::last_ack;
}
inline uint32_t tcp_timestamp(const TcpConnection *c, Nanos now) {
    return static_cast<uint32_t>(static_cast<uint64_t>(now) / tcp_timestamp_tick) + c->ts_offset;
}
// The receiver's silly window syndrome: the edge moves by a segment's size, or half of what can be held, or
// not at all (RFC 9293 section 3.8.6.2.2).
inline uint32_t tcp_window_step(const TcpConnection *c) {
    uint32_t half = c->config.receive_bytes / 2;
    return half < c->announced_mss ? half : c->announced_mss;
}
// Acknowledging what was never sent, or what was acknowledged a window ago, is a guess or an accident (RFC
// 5961 section 5.2).
inline bool tcp_ack_plausible(const TcpConnection *c, const TcpSegment &s) {
    return (s.flags & tcp_ack) && !seq_after(s.ack, c->send_next) &&
           !seq_before(s.ack, c->send_una - c->max_window);
}
// The most that is advertised. A scaled window is told in units, rounded up, so that the edge does not move
// left: with each acknowledgement of d bytes it moves right by d modulo the unit, whether they were read or
// not, and with the first, after the unscaled window of the SYN, by less than one. Of every piece that is not
// read the edge has so gained less than a unit; that much is kept back, and no more than there is room for is
// ever promised.
inline uint32_t tcp_window_limit(const TcpConnection *c) {
    uint32_t kept_back = c->receive_scale ? (c->config.receive_pieces + 1) << c->receive_scale : 0;
    return c->config.receive_bytes - kept_back;
}
// A SYN cannot scale (RFC 7323 section 2.2).
inline uint16_t tcp_syn_window(const TcpConnection *c) {
    uint32_t limit = tcp_window_limit(c);
    return static_cast<uint16_t>(limit < 65535 ? limit : 65535);
}
inline uint32_t tcp_unsent(const TcpConnection *c) {
    return c->fin_sent ? 0 : static_cast<uint32_t>(seq_diff(c->tx.end, c->send_next));
}
// tcp_output would send nothing now: no data, nothing lost, no probe, no acknowledgement that is due.
inline bool tcp_quiet(const TcpConnection *c, Nanos now) {
    return c->state == TcpState::established && tcp_unsent(c) == 0 && !c->fin_queued && !c->send_reset &&
           c->sent.lost_count == 0 && !c->probe_tail && !c->probe_window && c->duplicate_acks_owed == 0 &&
           !ack_policy_due(&c->acks, now) && (c->notices & ~uint32_t{tcp_readable | tcp_writable}) == 0;
}

// -- connection.cc
void tcp_end_with(TcpConnection *c, TcpEnd end); // CLOSED now, everything to be sent is released
void tcp_enter_time_wait(TcpConnection *c, Nanos now);
TimeWait tcp_time_wait_entry(const TcpConnection *c);
void tcp_update_mss(TcpConnection *c); // from the peer's, ours, and the path's MTU
void tcp_build_template(TcpConnection *c);
// -- handshake.cc
void tcp_handshake_input(TcpConnection *c, const TcpSegment &s, FrameId frame, bool *kept, Nanos now);
void tcp_handshake_timeout(TcpConnection *c, Nanos now);
void tcp_now_established(TcpConnection *c, const TcpSegment &s, Nanos now);
void tcp_acknowledge_syn(TcpConnection *c, const TcpSegment &s, Nanos now);
// -- input.cc
bool tcp_take_payload(TcpConnection *c, const TcpSegment &s, FrameId frame,
                      Nanos now);               // whether frame is kept
void tcp_take_fin(TcpConnection *c, Nanos now); // if everything before it is here
void tcp_challenge(TcpConnection *c, Nanos now);
uint32_t tcp_window_target(const TcpConnection *c); // right edge that could be advertised
// -- acknowledge.cc
// false: the segment must be dropped
bool tcp_process_ack(TcpConnection *c, const TcpSegment &s, Nanos now);
// -- recovery.cc
struct AckFacts {
    AckReport report;
    bool advanced = false;
    bool repeats = false;   // acknowledges, offers and brings nothing new
    bool duplicate = false; // and something is outstanding: RFC 5681 section 2
    bool dsack = false;
    bool dsack_of_probe = false;
    uint32_t dsack_end = 0; // valid with dsack
    bool had_sack = false;
    uint32_t flight_before = 0;
    uint32_t ts_echo = 0;
    bool has_echo = false;
};
void tcp_recovery_on_ack(TcpConnection *c, const AckFacts &facts, Nanos now);
void tcp_recovery_on_timeout(TcpConnection *c, Nanos now);
void tcp_recovery_on_reorder_timer(TcpConnection *c, Nanos now);
// -- timers.cc
void tcp_arm_retransmit(TcpConnection *c, bool acknowledged, Nanos now);
void tcp_arm_persist(TcpConnection *c, Nanos now);
void tcp_stop_timers(TcpConnection *c);

} // namespace wx
