// SPDX-License-Identifier: MIT
// Our end of the network on AF_XDP: connections of lib/tcp over the frames of one interface. Frames in go to
// the connection of their tuple; what connections owe leaves in one batch with one kick. Everything of it
// belongs to one thread.
//
// The order of a step: xdp_host_receive, xdp_host_ready (and reads and writes of channels), xdp_host_send.
//
// Files: host.cc (open, step, close), dial.cc (from an address to a connection: route, interface, port,
// neighbour), frames.cc (packets in and out), channel.cc (reads, writes, readiness), time_wait and ports are
// lib/tcp's.
#pragma once
#include "../../tcp/table.h"
#include "../poller.h"
#include "nic_port.h"
#include "path.h"
#include "stamps.h"

namespace wx {

// In front of the payload of a frame that we send: Ethernet with a tag, IPv6, TCP with all its options, and
// 14 bytes to spare, so that payload begins at a cache line.
constexpr uint32_t send_headroom = 128;
// What the kernel keeps in front of received packets (XDP_PACKET_HEADROOM).
constexpr uint32_t receive_headroom = 256;
// The longest IP packet that fits into a frame.
constexpr uint32_t frame_room(uint32_t frame_bytes) {
    return frame_bytes - receive_headroom - static_cast<uint32_t>(ether_header_size + ether_vlan_size);
}
// The smaller one of what the kernel takes, where packets of this size fit into it.
constexpr uint32_t frame_bytes_for(uint32_t mtu) { return mtu > frame_room(2048) ? 4096 : 2048; }
// Handed over and not sent yet, for each connection: more would only queue in front of pongs.
constexpr uint32_t unsent_limit = 128 * 1024;
// Who has a frame that we send (XdpHost::send_state).
constexpr uint8_t frame_owned = 1;  // a connection, until it is acknowledged
constexpr uint8_t frame_queued = 2; // the kernel, until it is completed
// Descriptors queued between two kicks: an acknowledgement waits for no more than these.
constexpr uint32_t send_batch = 64;

struct XdpHostOptions {
    TcpConfig tcp; // mtu and mss_max are set per connection
    ChecksumPolicy checksums = ChecksumPolicy::verify;
    uint32_t connections = 1024;
    uint32_t time_wait = 1024; // tuples that are kept so, a power of two; each holds a descriptor
    uint32_t ifindex = 0;      // the only interface allowed; 0: the first connection's route decides
    int32_t vlan = -1;         // in the place of what the route says
    Nanos neighbor_timeout = 3 * ns_per_s; // the kernel asks three times, a second apart
};

// Who knows what this folder must not: lib/host, by way of lib/pipeline.
struct XdpSupport {
    XdpPaths paths;
    void *context = nullptr;
    // The interface's facts and the caller's options for it.
    int (*describe)(void *context, uint32_t ifindex, NicOptions *out, ErrorText *error) = nullptr;
    // The interface's own settings that busy polling wants: made when it was opened, again when its link was
    // down, and put back before it is closed. nullptr: none.
    int (*tune)(void *context, const NicOptions &nic, ErrorText *error) = nullptr;
    void (*restore)(void *context) = nullptr;
    NicPort *port = nullptr; // to the nic stage where that runs elsewhere; nullptr: it is here
};

enum class DialStep : uint8_t { interface, neighbor, handshake, connected, failed };

struct XdpHost;
struct XdpChannel {
    TcpConnection c; // first: a connection is its channel
    XdpHost *host = nullptr;
    DialStep step = DialStep::interface;
    bool attached = false;  // a Channel looks at it
    bool installed = false; // in the table and in the program's
    bool dirty = false;
    bool listed = false; // among those to be asked whether they are ready
    bool want_read = false;
    bool want_write = false;
    bool short_write = false; // the last write was cut
    uint64_t tag = 0;
    Nanos deadline = never; // of the connection, as last seen
    Nanos dial_deadline = never;
    // Our address was taken away; it may come back until dial_deadline.
    bool homeless = false;
    // Packets with bad ones since the last good one, and how many good ones there were.
    uint32_t bad_checksums = 0;
    uint64_t good_segments = 0;
    XdpRoute route;
    uint8_t ethernet[ether_header_size + ether_vlan_size] = {0};
    uint32_t ethernet_size = 0;
    uint32_t socket = 0;     // where its packets arrive, and so where they leave
    uint64_t lane_order = 0; // see nic_port_send
    int holder = -1;         // a kernel socket bound to our port, so that nobody else gets it
    XdpChannel *next_dirty = nullptr;
    uint32_t index = 0;   // in XdpHost::channels
    ErrorText error;      // why dialling failed, or a notice
    bool noticed = false; // `error` is a notice to be told
};

// A tuple in TIME-WAIT is still ours: its packets and its port.
struct HeldTuple {
    TcpTuple tuple;
    int holder = -1;
};

struct XdpHostCounters {
    uint64_t refused[static_cast<size_t>(Wire::count)]; // packets that were not what they claim
    uint64_t unknown;                                   // redirected to us, but of no connection
    uint64_t other;                                     // neither TCP nor an ICMP error
    uint64_t no_frame;                                  // packets to be sent that waited for a frame
    uint64_t over_share; // received and dropped: the connection kept more than its share of frames
    uint64_t link_downs, path_changes, nic_tries;
    uint64_t trickles;   // frames to ourselves (trickle.cc)
    uint64_t recoveries; // sockets made anew because the kernel completed nothing any more
};

// What is known of a socket's sending.
struct SocketProgress : NicProgress {
    uint64_t trickled = 0; // frames queued when xdp_trickle last looked
};

// Where TCP's packets go.
struct HostSink : TcpSink {
    XdpHost *host = nullptr;
};

struct XdpHost {
    XdpHostOptions options;
    XdpSupport support;
    Poller *poller = nullptr;
    const Clock *clock = nullptr;
    RandomSource *random = nullptr;
    NicPort *port = nullptr; // support.port
    XdpNic nic;
    NicOptions nic_wanted;
    TcpHost tcp;
    TcpTable table;
    HostSink sink;
    XdpChannel **channels = nullptr;
    uint32_t channel_count = 0;
    XdpChannel *dirty = nullptr;
    XdpChannel **ready = nullptr; // listed ones
    uint32_t ready_count = 0;
    XdpChannel *sending = nullptr; // whose output the sink takes
    bool alone = false;            // nobody else has anything to send in this step
    // What the last packet acknowledged, while its data is being answered; with it goes `late`.
    XdpChannel *late_channel = nullptr;
    TcpSegment late;
    Nanos late_at = 0;
    HeldTuple *held = nullptr; // by age
    uint32_t held_begin = 0, held_count = 0;
    uint64_t held_removed = 0; // what tcp.time_wait had removed when they were looked through
    SocketProgress progress[nic_queues_max];
    uint8_t *send_state = nullptr; // by frame: frame_owned, frame_queued
    FrameStamps *stamps = nullptr; // by frame
    bool send_blocked = false;     // the ring or the pool was full
    bool batch_full = false;       // send_batch descriptors wait for the kick
    bool kick_again = false;
    uint32_t queued = 0;  // descriptors since the last kick
    bool watched = false; // the sockets are in the poller
    bool notices = false; // a channel may have one
    bool broken = false;  // the interface is gone: everything on it ends
    uint32_t opening = 0; // channels in DialStep::interface
    Nanos nic_retry_at = never;
    Nanos trickle_at = never;
    Nanos ask_at = never;   // for neighbours that were not found
    Nanos next_look = 0;    // at what the kernel has told of paths, when nobody sleeps on its descriptor
    Nanos deadline = never; // earliest of all channels'; may be early
    uint64_t changes = 0;
    Nanos now = 0;
    Tick tick = 0;
    void *memory = nullptr; // table and TIME-WAIT
    XdpHostCounters counters{};
};

int xdp_host_open(XdpHost *h, const XdpHostOptions &options, const XdpSupport &support, Poller *poller,
                  const Clock *clock, RandomSource *random, ErrorText *error);
// Resets what is open, lets that leave, and gives everything back. Bounded by one kick.
void xdp_host_close(XdpHost *h);

// Takes in what has arrived and what is due. Whether anything moved.
bool xdp_host_receive(XdpHost *h, Nanos now, Tick tick);
int xdp_host_ready(XdpHost *h, PollerEvent *out, int cap);
// answers: only if a connection has something that may not wait for the caller's answers.
void xdp_host_send(XdpHost *h, Nanos now, bool answers);
inline Nanos xdp_host_deadline(const XdpHost *h) { return h->deadline; }
bool xdp_host_waiting(const XdpHost *h);
// In or out of the poller: a caller that spins would only pay for it.
void xdp_host_watch(XdpHost *h, bool on);
// Something that a channel's owner should know: its tag and a sentence.
bool xdp_host_notice(XdpHost *h, uint64_t *tag, ErrorText *out);

// -- dial.cc
XdpChannel *xdp_dial(XdpHost *h, const IpAddress &remote, uint16_t port, ErrorText *error);
void xdp_dial_step(XdpChannel *channel);   // as far as it goes now
void xdp_dial_failed(XdpChannel *channel); // channel->error says why
void xdp_opening_over(XdpHost *h);         // a channel leaves DialStep::interface, whichever way
void xdp_follow_paths(XdpHost *h);         // what the kernel has told of routes, neighbours and links
void xdp_ask_again(XdpHost *h);            // for the neighbours of connections, at ask_at
void xdp_nic_lost(XdpHost *h, const char *why);
void xdp_release_tuple(XdpHost *h, const TcpTuple &tuple, int holder);
// A packet of its peer was refused for its checksum.
void xdp_bad_checksum(XdpChannel *channel);
// The interface with its frames and what is known of them.
void xdp_close_frames(XdpHost *h);
bool xdp_release_oldest(XdpHost *h); // of those in TIME-WAIT, before its time; false: there is none
// -- trickle.cc
void xdp_trickle_begin(XdpHost *h); // there is a connection
void xdp_trickle(XdpHost *h);       // it is due
// -- frames.cc
bool xdp_take_frames(XdpHost *h); // what has arrived
void xdp_take_completions(XdpHost *h);
void xdp_settle(XdpHost *h, const FrameId *frames, uint32_t count); // the kernel is done with them
bool xdp_queue_frame(XdpHost *h, uint32_t socket, uint64_t address, uint32_t size); // leaves with the kick
bool xdp_send_packet(TcpSink *sink, const TcpPacket &packet);
void xdp_kick(XdpHost *h);
void xdp_take_late(XdpHost *h); // late_channel is set
void xdp_release_received(void *host, FrameId frame);
void xdp_release_sent(void *host, FrameId frame);
FrameId xdp_take_data_frame(XdpHost *h, uint32_t keep, bool small); // for a chunk of the caller's
// -- channel.cc
void xdp_mark_dirty(XdpChannel *channel);
// `error` is something that its owner should know.
void xdp_notify(XdpChannel *channel);
void xdp_list_ready(XdpChannel *channel);
bool xdp_readable(const XdpChannel *channel);
bool xdp_writable(const XdpChannel *channel);
struct XdpRead {
    int64_t bytes;
    FrameId last; // the frame of the last byte
};
XdpRead xdp_read(XdpChannel *channel, ByteSpan out);
uint32_t xdp_write(XdpChannel *channel, ByteView data);
void xdp_detach(XdpChannel *channel, bool reset);
void xdp_forget(XdpChannel *channel); // it is over, and its owner has let go

inline XdpChannel *xdp_channel_of(TcpConnection *c) { return reinterpret_cast<XdpChannel *>(c); }

} // namespace wx
