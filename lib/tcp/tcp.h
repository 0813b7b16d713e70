// SPDX-License-Identifier: MIT
// A TCP connection (RFC 9293) without I/O: segments, writes and the time go in; packets, bytes in order,
// notices and the next deadline come out. It reads no clock, allocates nothing and never gives up the
// process. One object per connection; everything of one TcpHost belongs to one thread.
//
// The order of a step: tcp_on_segment for each that arrived, tcp_views and tcp_consume for what can be read,
// tcp_write for what is to be sent, tcp_on_timer when the deadline has come, then tcp_output once.
//
// Files: connection.cc (open, read, write, close), handshake.cc, input.cc, acknowledge.cc, recovery.cc,
// output.cc, timers.cc, errors.cc (ICMP), reply.cc (segments that belong to no connection); parts.h is what
// these share.
#pragma once
#include "../wire/icmp.h"
#include "ack_policy.h"
#include "challenge.h"
#include "congestion.h"
#include "path_mtu.h"
#include "rack.h"
#include "reassembly.h"
#include "send_buffer.h"
#include "time_wait.h"

namespace wx {

enum class TcpState : uint8_t {
    closed,
    listen,
    syn_sent,
    syn_received,
    established,
    fin_wait_1,
    fin_wait_2,
    close_wait,
    closing,
    last_ack,
    time_wait,
};
const char *tcp_state_text(TcpState state); // "ESTABLISHED"

// Why a connection is over.
enum class TcpEnd : uint8_t {
    none,
    closed,       // both sides had finished
    aborted,      // by us
    reset,        // by the peer
    refused,      // a reset answered the SYN
    unreachable,  // ICMP during the handshake; TcpConnection::icmp says which
    syn_timeout,  // nobody answered the SYN
    user_timeout, // sent data was not acknowledged for too long
    keepalive,    // nor were probes on an idle connection
    fin_timeout,  // the peer acknowledged our FIN but never sent its own
};
const char *tcp_end_text(TcpEnd end);

struct TcpConfig {
    uint32_t mtu = 1500;      // of the route, whole IP packets
    uint32_t mss_max = 65535; // further limit on what we send and announce, e.g. by the frame's size
    // Bytes received and not consumed, out of order ones included: what is advertised.
    uint32_t receive_bytes = 1 << 20;
    uint32_t receive_pieces = 1024; // in order and not consumed; a power of two
    // Out of order: a window's worth of segments, or one loss makes many. The link needs more frames than
    // both kinds of pieces together, or the missing segment finds none.
    uint32_t held_pieces = 1024;
    uint32_t held_bytes = 1 << 20;
    uint32_t send_bytes = 1 << 20; // queued or not acknowledged
    uint32_t send_chunks = 1024;   // a power of two
    uint32_t send_segments = 1024; // in flight; a power of two
    uint32_t ack_segments = 8;
    Nanos ack_delay = 100000;
    RttLimits rtt;
    // How long the peer may hold back the acknowledgement of a single segment, for the tail loss probe. RFC
    // 8985 takes 200 ms for unknown peers, which would make a lost order wait so long; a probe too many costs
    // one small packet.
    Nanos peer_ack_delay = 10 * ns_per_ms;
    CongestionKind congestion = CongestionKind::cubic;
    uint32_t initial_segments = 10;      // RFC 6928
    uint32_t syn_tries = 5;              // with 1 s at first and doubling: 31 s
    Nanos user_timeout = 100 * ns_per_s; // RFC 9293 section 3.8.3: R2 is at least 100 s
    Nanos keepalive_idle = 0;            // 0: off, as MUST-25 wants by default
    // Linux answers probes every 500 ms at most: all tries together must take longer.
    Nanos keepalive_interval = 75 * ns_per_s;
    uint32_t keepalive_tries = 9;
    Nanos time_wait = 60 * ns_per_s;  // 2 MSL with the MSL of 30 s that stacks use
    Nanos fin_wait_2 = 60 * ns_per_s; // after tcp_close, not after tcp_finish
    bool timestamps = true;
    bool sack = true;
    bool window_scaling = true;
    bool nagle = false;
    uint8_t hops = 64;
    uint8_t traffic_class = 0;
};

// In the manner of Linux's tcp_info. Bytes are payload.
struct TcpStats {
    uint64_t segments_in, segments_out, bytes_in, bytes_out; // bytes_in: in order; bytes_out: first sendings
    uint64_t retransmitted, retransmitted_bytes, timeouts, tail_probes, recoveries, undone;
    uint64_t acks_out, duplicate_acks_in, dsacks_in, dsacks_out, duplicates_in, out_of_order_in,
        dropped_no_room;
    uint64_t window_probes, keepalives, zero_windows, challenges, challenges_refused;
    uint64_t paws_dropped, no_timestamp_dropped, unacceptable, bad_acks, bad_resets, icmp_used, icmp_ignored;
    uint64_t reneged, mtu_changes, sink_full;
    uint64_t max_held_bytes;
};

// What happened since tcp_take_notices: a set of bits.
enum TcpNotice : uint32_t {
    tcp_connected = 1,
    tcp_readable = 2,
    tcp_writable = 4,      // room in the send buffer after tcp_write had refused
    tcp_peer_finished = 8, // FIN: nothing follows what can be read
    tcp_ended = 16,        // TcpConnection::end says why; what was received can still be read
    tcp_peer_stalled = 32, // its window is closed and data waits
    tcp_peer_resumed = 64,
    tcp_soft_error = 128, // ICMP on an established connection; TcpConnection::icmp
    tcp_mtu_changed = 256,
};

// What the connections of one host share.
struct TcpHost {
    RandomSource *random = nullptr;
    TcpSecret secret;
    ChallengeBudget challenges;
    TimeWaitTable time_wait;
    FrameRelease release_receive; // an RX frame that tcp_on_segment kept
    FrameRelease release_send;    // a TX frame of a chunk
};

// A packet on its way out. Valid during the call.
struct TcpPacket {
    ByteView headers;                    // IP and TCP, checksums filled in
    const SendPieces *payload = nullptr; // nullptr: none
    bool again = false;                  // a retransmission
    bool last = false;                   // nothing is left to be sent after it, for now
};
struct TcpSink {
    // false: no room now; the core keeps everything as it was and offers it again.
    bool (*send)(TcpSink *self, const TcpPacket &packet) = nullptr;
};

enum class Recovery : uint8_t { open, recovery, loss };

struct TcpConnection {
    // -- hot
    TcpState state = TcpState::closed;
    bool timestamps = false; // agreed
    bool sack = false;
    bool scaling = false;
    uint8_t send_scale = 0;    // of the peer's windows
    uint8_t receive_scale = 0; // of ours
    bool fin_taken = false;    // the peer's FIN is in order
    bool fin_known = false;    // it has arrived, at fin_received
    bool fin_queued = false;   // ours follows the send buffer
    bool fin_sent = false;
    bool reading_over = false; // tcp_close: what arrives now is answered with a reset
    Recovery recovery = Recovery::open;
    uint32_t send_una = 0;
    uint32_t send_next = 0;
    uint32_t send_window = 0;
    uint32_t window_seq = 0; // SND.WL1
    uint32_t window_ack = 0; // SND.WL2
    uint32_t max_window = 0; // largest the peer has offered
    uint32_t advertised = 0; // right edge that the peer was told; never moves left
    uint32_t last_ack_sent = 0;
    uint32_t ts_recent = 0;
    uint32_t ts_offset = 0;
    Nanos ts_recent_at = 0;
    uint32_t mss = 0; // payload and options of a segment
    uint32_t notices = 0;
    Reassembly rx;
    SendBuffer tx;
    Scoreboard sent;
    AckPolicy acks;
    RttEstimator rtt;
    Congestion congestion;
    // -- timers
    Nanos retransmit_at = never;
    Nanos tail_probe_at = never;
    Nanos reorder_at = never; // RACK's
    Nanos persist_at = never;
    Nanos keepalive_at = never;
    Nanos give_up_at = never; // user timeout
    Nanos state_at = never;   // TIME-WAIT, FIN-WAIT-2
    Nanos last_received = 0;
    Nanos last_sent = 0; // data
    // Of the last tcp_output, since several acknowledgements may come before the next: whether only the
    // congestion window held it back, and what it left in flight.
    bool window_limited = false;
    uint32_t flight_peak = 0;
    // -- recovery
    Rack rack;
    TailProbe tail_probe;
    bool tail_probe_spent = false; // no round trip was measured since the last (RFC 8985 section 7.3)
    uint32_t recovery_end = 0;
    uint32_t duplicate_acks = 0;   // without SACK only
    uint32_t duplicate_bytes = 0;  // what these say has left the network
    uint32_t undo_retransmits = 0; // of this episode, not yet reported as duplicates
    bool force_retransmit = false; // the oldest lost segment goes whatever the window says
    bool probe_tail = false;       // a tail loss probe is to be sent
    bool probe_window = false;     // a window or keepalive probe is to be sent
    bool sws_override = false;     // the persist timer lets a small segment go
    bool stalled = false;          // tcp_peer_stalled was told
    bool write_refused = false;
    uint8_t persist_backoff = 0;
    uint8_t keepalive_sent = 0;
    // -- what else is to be sent
    bool send_syn = false;
    bool send_reset = false; // our own: tcp_abort
    bool reset_with_ack = false;
    uint32_t reset_seq = 0;
    uint32_t duplicate_acks_owed = 0; // one per segment out of order, to a peer without SACK
    uint32_t sacks_told = 0;          // stamp of the newest piece that a block has told of
    bool dsack_owed = false;
    SackBlock dsack = {0, 0};
    // -- cold
    TcpHost *host = nullptr;
    TcpConfig config;
    TcpTuple tuple;
    uint8_t ip_size = 0;
    uint8_t head[ip6_header_size + tcp_header_size]; // template of IP and TCP header
    ChecksumSum pseudo = 0;                          // pseudo header without the length
    uint32_t iss = 0;
    uint32_t irs = 0;
    uint32_t fin_received = 0; // its sequence number
    uint32_t syn_count = 0;
    Nanos syn_sent_at = 0;
    bool passive = false;
    uint16_t announced_mss = 0;
    uint16_t peer_mss = 0;
    PathMtu path_mtu;
    TcpEnd end = TcpEnd::none;
    IcmpKind icmp = IcmpKind::host_unreachable; // the last error
    bool has_icmp = false;
    Nanos last_challenge = 0;
    Nanos last_unacceptable = 0;
    TcpStats stats{};
};

// Bytes of storage for a connection of these sizes, besides the object.
size_t tcp_storage_bytes(const TcpConfig &config);
// A sentence about what is wrong with the configuration, nullptr when nothing is.
const char *tcp_config_problem(const TcpConfig &config);
// Makes the object ready in state CLOSED. storage: tcp_storage_bytes, aligned to 16, kept by the caller. An
// object that is CLOSED can be opened again. E_INVALID for a bad configuration or too little storage.
int tcp_open(TcpConnection *c, TcpHost *host, const TcpConfig &config, ByteSpan storage);
// false: not CLOSED, or an address that no connection can have: multicast, broadcast, unspecified (RFC 9293
// MUST-46).
bool tcp_connect(TcpConnection *c, const TcpTuple &tuple, Nanos now);
// Waits for one SYN to this address and port; from whom, tcp_on_syn says. For tests and for local use.
void tcp_listen(TcpConnection *c);
// A SYN for a listening connection. Other segments go to tcp_reply.
void tcp_on_syn(TcpConnection *c, const TcpTuple &tuple, const TcpSegment &segment, Nanos now);

// A segment of this connection. Returns whether `frame`, in which the payload lies, is kept until
// release_receive.
bool tcp_on_segment(TcpConnection *c, const TcpSegment &segment, FrameId frame, Nanos now);
// Whether the segment is the next in order and acknowledges something besides. Then *segment gets to be its
// data alone, and *ack the rest, to be given to tcp_on_segment after it, at leisure: as if the network had
// brought two. Who answers what he reads saves the time until the answer has left.
bool tcp_split_ack(const TcpConnection *c, TcpSegment *segment, TcpSegment *ack);
// An ICMP error whose quoted tuple is this connection's.
void tcp_on_icmp(TcpConnection *c, const IcmpError &error, Nanos now);
Nanos tcp_deadline(const TcpConnection *c); // never: none
void tcp_on_timer(TcpConnection *c, Nanos now);
// What was under way is lost with what carried it, and nothing is wrong with the path: the retransmission
// timer runs out now, whatever it had backed off to.
void tcp_on_lost_flight(TcpConnection *c, Nanos now);
// The route's MTU has changed.
void tcp_set_mtu(TcpConnection *c, uint32_t mtu);
// Sends what may be sent now; returns how many packets. Less than wanted when the sink is full: call again
// then.
uint32_t tcp_output(TcpConnection *c, TcpSink *sink, Nanos now);

// Bytes that tcp_write takes now.
uint32_t tcp_room(const TcpConnection *c);
// Queues a chunk: true, or false and nothing is taken when there is no room for all of it (tcp_writable
// follows), the sending side is finished, or the connection is over. The memory stays as it is until
// release_send.
bool tcp_write(TcpConnection *c, const TcpChunk &chunk);
// What can be read, oldest first.
inline uint32_t tcp_views(const TcpConnection *c, TcpView *out, uint32_t cap) {
    return reassembly_views(&c->rx, out, cap);
}
// The first `bytes` of the views are done with: opens the window.
void tcp_consume(TcpConnection *c, uint32_t bytes);
void tcp_finish(TcpConnection *c); // FIN after what is queued; reading goes on
// The same, and reading is over: unread or later data is answered by a reset, and a closed window is waited
// for no longer than user_timeout.
void tcp_close(TcpConnection *c);
void tcp_abort(TcpConnection *c); // reset, at the next tcp_output; everything queued is released now
// In TIME-WAIT, once tcp_output has sent what was owed (else nothing happens): hands the tuple to the host's
// table, so that the object is free for another connection.
void tcp_retire(TcpConnection *c, Nanos now);
// Lets go of all that was received and not consumed. To be called before the object of an ended connection is
// opened again.
void tcp_discard(TcpConnection *c);
inline uint32_t tcp_take_notices(TcpConnection *c) {
    uint32_t taken = c->notices;
    c->notices = 0;
    return taken;
}

// -- facts, also for tests
inline uint32_t tcp_receive_next(const TcpConnection *c) { return c->rx.next + c->fin_taken; }
inline uint32_t tcp_outstanding(const TcpConnection *c) { return c->send_next - c->send_una; }
inline uint32_t tcp_in_flight(const TcpConnection *c) {
    uint32_t gone = c->sent.sacked_bytes + c->sent.lost_bytes + c->duplicate_bytes, all = tcp_outstanding(c);
    return gone < all ? all - gone : 0;
}
// Payload that a segment carries without SACK blocks.
inline uint32_t tcp_segment_payload(const TcpConnection *c) { return c->mss - (c->timestamps ? 12 : 0); }

// -- reply.cc
// What to answer to a segment that belongs to no connection: a reset (RFC 9293 section 3.10.7.1), or nothing
// to a reset.
bool tcp_reply(const TcpSegment &segment, TcpSegment *answer);
// A whole packet without payload: how answers from outside a connection are sent. 0 when it does not fit.
size_t tcp_write_packet(ByteSpan out, const TcpTuple &tuple, const TcpSegment &segment);

} // namespace wx
