// SPDX-License-Identifier: MIT
// Packets in and out of frames. Received: the frame stays where it is while its connection keeps the payload.
// Sent: headers are written in front of the payload in the frame it lies in, when all of it goes as one
// segment and the kernel does not have that frame already; otherwise everything is copied into a frame of its
// own. A frame that we send is free when neither the connection nor the kernel has it.
#include "../../base/cpu.h"
#include "../../tcp/parts.h"
#include "host.h"

namespace wx {

constexpr uint32_t receive_batch = 64;
// A control frame with a TLS record around it; nothing of bulk is cut so short but its end.
constexpr uint32_t small_payload = 256;

// ---- in ----

static uint32_t frames_kept(const TcpConnection *c) {
    return c->rx.ready_tail - c->rx.ready_head + c->rx.held_count;
}

// With many frames kept, a connection that keeps more than its share gets only what it waits for: that lets
// go of what it holds behind a hole, as nothing else would. All the rest its peer will repeat. Who does not
// read what he has gets nothing. So about half of the frames at most are kept, and no queue is without any.
static bool over_share(const XdpHost *h, const TcpConnection *c, const TcpSegment &s) {
    const FramePool &pool = h->nic.umem.pools[static_cast<unsigned>(Pool::receive)];
    uint32_t available = pool.free_count;
    for (uint32_t i = 0; i < h->nic.socket_count; i++) available += h->nic.sockets[i].in_fill;
    if (available >= pool.count / 8 * 5) return false;
    const uint32_t share = pool.count / (16 * (h->channel_count + 1));
    if (frames_kept(c) <= share) return false;
    const uint32_t end = s.seq + static_cast<uint32_t>(s.payload.size);
    const bool next = seq_until(s.seq, c->rx.next) && seq_after(end, c->rx.next);
    return !next || (available < pool.count / 2 && c->rx.ready_tail - c->rx.ready_head > share);
}

static void read_stamps(const XdpHost *h, const XskDescriptor &d, FrameId id, Tick polled) {
    FrameStamps stamps = {0, 0, polled, 0};
    filter_metadata meta;
    if ((d.address & (h->nic.umem.frame_bytes - 1)) >= sizeof meta) {
        memcpy(&meta, h->nic.umem.base + d.address - sizeof meta, sizeof meta);
        stamps = stamps_of(meta, h->stamps[id].entry_ns, polled);
    }
    h->stamps[id] = stamps;
}

static void answer(XdpHost *h, const TcpTuple &tuple, const TcpSegment &segment, XdpChannel *like) {
    uint8_t packet[128];
    size_t size = tcp_write_packet(ByteSpan(packet, sizeof packet), tuple, segment);
    if (size == 0 || like == nullptr) return;
    TcpPacket out;
    out.headers = ByteView(packet, size);
    h->sending = like;
    xdp_send_packet(&h->sink, out);
    h->kick_again = true;
}

// Any channel to the same peer knows the way; without one the kernel answers what comes next, since the tuple
// is no longer ours by then.
static XdpChannel *channel_towards(const XdpHost *h, const IpAddress &remote) {
    for (uint32_t i = 0; i < h->channel_count; i++)
        if (h->channels[i]->route.next_hop.version != 0 && h->channels[i]->c.tuple.remote == remote &&
            h->channels[i]->ethernet_size != 0)
            return h->channels[i];
    return nullptr;
}

[[gnu::cold]] static void on_stray(XdpHost *h, const TcpTuple &tuple, const TcpSegment &s) {
    TcpSegment reply;
    TimeWait *waiting = time_wait_find(&h->tcp.time_wait, tuple);
    bool wanted;
    if (waiting != nullptr) {
        uint32_t ts = static_cast<uint32_t>(h->now / ns_per_ms);
        wanted =
            time_wait_on_segment(&h->tcp.time_wait, waiting, s, h->now, h->options.tcp.time_wait, ts, &reply);
    } else {
        h->counters.unknown++;
        wanted = tcp_reply(s, &reply);
    }
    if (wanted) answer(h, tuple, reply, channel_towards(h, tuple.remote));
}

void xdp_take_late(XdpHost *h) {
    XdpChannel *channel = h->late_channel;
    h->late_channel = nullptr;
    tcp_on_segment(&channel->c, h->late, no_frame, h->late_at);
    channel->deadline = tcp_deadline(&channel->c);
    if (channel->deadline < h->deadline) h->deadline = channel->deadline;
    if (channel->want_write || !tcp_quiet(&channel->c, h->now)) xdp_mark_dirty(channel);
}

// Whether the frame is kept. only: it is the only one that was there.
static bool on_tcp(XdpHost *h, Frame &frame, FrameId id, uint32_t socket, bool only) {
    TcpTuple tuple = tcp_tuple_of(frame.ip, frame.tcp.source_port, frame.tcp.destination_port, false);
    TcpConnection *c = tcp_table_find(&h->table, tuple);
    if (c == nullptr) {
        on_stray(h, tuple, frame.tcp);
        return false;
    }
    XdpChannel *channel = xdp_channel_of(c);
    channel->socket = socket;
    if (h->late_channel == channel) xdp_take_late(h); // of a packet on another queue
    if (frame.tcp.payload.size != 0 && over_share(h, c, frame.tcp)) {
        h->counters.over_share++;
        return false;
    }
    if (only && channel->want_read && tcp_split_ack(c, &frame.tcp, &h->late)) {
        h->late_channel = channel;
        h->late_at = h->now;
    }
    bool kept = tcp_on_segment(c, frame.tcp, id, h->now);
    if (kept) h->stamps[id].processed = h->clock->ticks();
    xdp_mark_dirty(channel);
    if (channel->attached && channel->want_read) xdp_list_ready(channel); // now, not after another lap
    return kept;
}

// Whose it would be, if what it says could be believed.
[[gnu::cold]] static void on_bad_checksum(XdpHost *h, ByteView bytes) {
    Frame frame;
    if (frame_read(bytes, ChecksumPolicy::trust, &frame) != Wire::ok || frame.kind != FrameKind::tcp) return;
    TcpConnection *c = tcp_table_find(
        &h->table, tcp_tuple_of(frame.ip, frame.tcp.source_port, frame.tcp.destination_port, false));
    if (c != nullptr) xdp_bad_checksum(xdp_channel_of(c));
}

static bool take_frame(XdpHost *h, const XskDescriptor &d, FrameId id, uint32_t socket, bool only) {
    Frame frame;
    ByteView bytes(h->nic.umem.base + d.address, d.size);
    Wire read = frame_read(bytes, h->options.checksums, &frame);
    if (read != Wire::ok) {
        h->counters.refused[static_cast<size_t>(read)]++;
        if (read == Wire::bad_checksum) on_bad_checksum(h, bytes);
        return false;
    }
    if (frame.kind == FrameKind::tcp) return on_tcp(h, frame, id, socket, only);
    if (frame.kind != FrameKind::icmp_error) {
        h->counters.other++;
        return false;
    }
    const IcmpError &e = frame.icmp;
    TcpConnection *c =
        tcp_table_find(&h->table, tcp_tuple_of(e.quoted, e.source_port, e.destination_port, true));
    if (c == nullptr) return false;
    tcp_on_icmp(c, e, h->now);
    xdp_mark_dirty(xdp_channel_of(c));
    return false;
}

// The first packet lies in another core's cache, line by line: all of them are on their way while the rings
// are seen to. Those after it the processor fetches while it works on the one before.
static void fetch_packet(const XdpHost *h, uint64_t address) {
    const uint8_t *at = h->nic.umem.base + address;
    __builtin_prefetch(at - sizeof(filter_metadata));
    for (uint32_t i = 0; i < 4; i++) __builtin_prefetch(at + i * cache_line);
}

[[gnu::noinline]] static bool take_from_port(XdpHost *h) {
    FrameSlot came[receive_batch];
    const uint32_t count = nic_port_receive(h->port, &h->nic, came, receive_batch);
    if (count != 0) fetch_packet(h, came[0].address);
    const bool only = count == 1 && !h->watched;
    for (uint32_t k = 0; k < count; k++) {
        const FrameSlot &f = came[k];
        const XskDescriptor descriptor = {f.address, f.size, 0};
        FrameId id = umem_frame_of(&h->nic.umem, f.address);
        read_stamps(h, descriptor, id, f.polled);
        if (!take_frame(h, descriptor, id, f.socket, only)) umem_put(&h->nic.umem, id);
    }
    (void)nic_port_give(h->port, &h->nic, xsk_refill_batch);
    return count != 0;
}

bool xdp_take_frames(XdpHost *h) {
    bool moved = false;
    if (__builtin_expect(h->port != nullptr, 0)) return take_from_port(h);
    for (uint32_t i = 0; i < h->nic.socket_count; i++) {
        Xsk *socket = &h->nic.sockets[i];
        if (socket->fd < 0) continue;
        if (socket->busy_poll && !xsk_has_input(socket)) xsk_poll(socket);
        if (!xsk_has_input(socket)) continue;
        XskDescriptor descriptors[receive_batch];
        uint32_t count = xsk_receive(socket, descriptors, receive_batch);
        if (count != 0) fetch_packet(h, descriptors[0].address);
        // The kernel must never run out of frames to receive into while we look at what it brought.
        if (xsk_wants_frames(socket)) xsk_refill(socket, 0);
        Tick polled = h->clock->ticks();
        // A caller that sleeps is not in a hurry, and many packets are read sooner without a second look.
        const bool only = count == 1 && !moved && !h->watched;
        for (uint32_t k = 0; k < count; k++) {
            FrameId id = umem_frame_of(&h->nic.umem, descriptors[k].address);
            read_stamps(h, descriptors[k], id, polled);
            if (!take_frame(h, descriptors[k], id, i, only)) umem_put(&h->nic.umem, id);
        }
        moved |= count != 0;
    }
    return moved;
}

void xdp_release_received(void *host, FrameId frame) {
    umem_put(&static_cast<XdpHost *>(host)->nic.umem, frame);
}

// ---- out ----

void xdp_settle(XdpHost *h, const FrameId *frames, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *state = &h->send_state[frames[i]];
        *state &= static_cast<uint8_t>(~frame_queued);
        if (*state == 0) umem_put(&h->nic.umem, frames[i]);
    }
}

void xdp_take_completions(XdpHost *h) {
    FrameId done[receive_batch];
    if (h->port != nullptr) {
        for (uint32_t count = receive_batch; count == receive_batch;) {
            count = nic_port_reclaim(h->port, &h->nic, done, receive_batch);
            xdp_settle(h, done, count);
        }
        return;
    }
    for (uint32_t i = 0; i < h->nic.socket_count; i++) {
        Xsk *socket = &h->nic.sockets[i];
        while (socket->in_send != 0) {
            uint32_t count = xsk_reclaim(socket, done, receive_batch);
            xdp_settle(h, done, count);
            if (count < receive_batch) break;
        }
    }
}

void xdp_release_sent(void *host, FrameId frame) {
    XdpHost *h = static_cast<XdpHost *>(host);
    uint8_t *state = &h->send_state[frame];
    *state &= static_cast<uint8_t>(~frame_owned);
    if (*state == 0) umem_put(&h->nic.umem, frame);
}

FrameId xdp_take_data_frame(XdpHost *h, uint32_t keep, bool small) {
    const FramePool &pool = h->nic.umem.pools[static_cast<unsigned>(Pool::data)];
    if (pool.free_count <= keep) xdp_take_completions(h);
    FrameId id = pool.free_count > keep ? umem_take(&h->nic.umem, Pool::data) : no_frame;
    // Pongs and closes are small, and bulk must not keep them.
    if (id == no_frame && small) id = umem_take(&h->nic.umem, Pool::control);
    if (id != no_frame) h->send_state[id] = frame_owned;
    return id;
}

// A frame of its own for a packet: acknowledgements from their pool; copies of data too when there is no
// other, since what has been lost must be sent again for anything to become free.
static FrameId take_packet_frame(XdpHost *h, bool payload) {
    Umem *umem = &h->nic.umem;
    FrameId id = umem_take(umem, payload ? Pool::data : Pool::ack);
    if (id == no_frame) {
        xdp_take_completions(h);
        id = umem_take(umem, payload ? Pool::data : Pool::ack);
    }
    if (id == no_frame) id = umem_take(umem, payload ? Pool::ack : Pool::control);
    return id;
}

static bool fits_in_place(const XdpHost *h, const XdpChannel *channel, const TcpPacket &packet) {
    const SendPieces *p = packet.payload;
    if (p == nullptr || !p->whole || p->frame == no_frame) return false;
    if (h->send_state[p->frame] & frame_queued) return false; // the kernel may not have read it yet
    return packet.headers.size + channel->ethernet_size <= send_headroom;
}

// In words, as most of it was stored: a wider load would wait until all of that is in the cache.
static void copy_words(uint8_t *to, const uint8_t *from, size_t size) {
    for (; size >= 8; size -= 8, from += 8, to += 8) {
        uint64_t word;
        memcpy(&word, from, sizeof word);
        asm("" : "+r"(word)); // else the compiler makes a call of memcpy of it
        memcpy(to, &word, sizeof word);
    }
    if (size != 0) memcpy(to, from, 4); // headers are a multiple of 4
}

static uint64_t place_headers(const XdpHost *h, const XdpChannel *channel, uint8_t *payload,
                              const TcpPacket &packet) {
    uint8_t *at = payload - packet.headers.size;
    copy_words(at, packet.headers.data, packet.headers.size);
    at -= channel->ethernet_size;
    if (channel->ethernet_size == ether_header_size) // one that is known needs no call
        memcpy(at, channel->ethernet, ether_header_size);
    else
        memcpy(at, channel->ethernet, channel->ethernet_size);
    return static_cast<uint64_t>(at - h->nic.umem.base);
}

static bool refuse(XdpHost *h) {
    h->send_blocked = true;
    return false;
}

static FrameSlot slot_of(uint32_t socket, uint64_t address, uint32_t size) {
    FrameSlot slot;
    memset(static_cast<void *>(&slot), 0, sizeof slot);
    slot.address = address;
    slot.size = size;
    slot.socket = static_cast<uint16_t>(socket);
    return slot;
}

// What the peer or a caller waits for does not queue behind other connections' bulk.
static NicLane lane_of(const TcpPacket &packet) {
    if (packet.payload != nullptr)
        return packet.payload->size <= small_payload ? NicLane::control : NicLane::bulk;
    const uint8_t *ip = packet.headers.data;
    const uint8_t *tcp = ip + (ip[0] >> 4 == 6 ? ip6_header_size : ip4_header_size);
    const uint8_t flags = tcp[13];
    return (flags & (tcp_syn | tcp_fin | tcp_rst)) != 0 ? NicLane::control : NicLane::acks;
}

// To a nic that runs elsewhere.
[[gnu::noinline]] static bool send_to_port(XdpHost *h, XdpChannel *channel, uint64_t address, uint32_t size,
                                           const TcpPacket &packet) {
    return nic_port_send(h->port, &h->nic, slot_of(channel->socket, address, size), lane_of(packet),
                         &channel->lane_order);
}

bool xdp_queue_frame(XdpHost *h, uint32_t socket, uint64_t address, uint32_t size) {
    if (__builtin_expect(h->port == nullptr, 1))
        return h->nic.sockets[socket].fd >= 0 && xsk_send(&h->nic.sockets[socket], address, size);
    uint64_t order = 0;
    return nic_port_send(h->port, &h->nic, slot_of(socket, address, size), NicLane::control, &order);
}

bool xdp_send_packet(TcpSink *sink, const TcpPacket &packet) {
    XdpHost *h = static_cast<HostSink *>(sink)->host;
    XdpChannel *channel = h->sending;
    if (h->nic.mode == NicMode::none || channel->ethernet_size == 0) return refuse(h);
    if (packet.payload != nullptr && h->queued >= send_batch) {
        h->batch_full = true;
        return false;
    }
    Xsk *socket = &h->nic.sockets[channel->socket];
    const bool here = h->port == nullptr; // the nic
    if (here && socket->fd < 0) return refuse(h);
    FrameId id;
    uint8_t *payload;
    uint32_t size = packet.payload != nullptr ? packet.payload->size : 0;
    if (fits_in_place(h, channel, packet)) {
        id = packet.payload->frame;
        payload = const_cast<uint8_t *>(packet.payload->pieces[0].data);
    } else {
        id = take_packet_frame(h, packet.payload != nullptr);
        if (id == no_frame) {
            h->counters.no_frame++;
            return refuse(h);
        }
        h->send_state[id] = 0;
        payload = umem_frame(&h->nic.umem, id) + send_headroom;
        uint8_t *at = payload;
        for (unsigned i = 0; packet.payload != nullptr && i < packet.payload->count; i++) {
            memcpy(at, packet.payload->pieces[i].data, packet.payload->pieces[i].size);
            at += packet.payload->pieces[i].size;
        }
    }
    uint64_t address = place_headers(h, channel, payload, packet);
    size += static_cast<uint32_t>(packet.headers.size) + channel->ethernet_size;
    if (!(__builtin_expect(here, 1) ? xsk_send(socket, address, size)
                                    : send_to_port(h, channel, address, size, packet))) {
        if (h->send_state[id] == 0) umem_put(&h->nic.umem, id); // a copy
        return refuse(h);
    }
    h->send_state[id] |= frame_queued;
    h->queued++;
    // It leaves now, and the books are kept while it is under way.
    if (packet.last && h->alone) xdp_kick(h);
    return true;
}

void xdp_kick(XdpHost *h) {
    h->kick_again = false;
    h->queued = 0;
    h->batch_full = false;
    if (__builtin_expect(h->port != nullptr, 0)) {
        nic_port_kick(h->port);
        return;
    }
    for (uint32_t i = 0; i < h->nic.socket_count; i++) {
        if (h->nic.sockets[i].fd < 0) continue;
        int cause = 0, status = xsk_kick(&h->nic.sockets[i], &cause);
        if (status > 0) h->kick_again = true;
        if (status >= 0) continue;
        // What was queued is lost as on any link that is down; TCP repeats it. Whether the interface is still
        // there is asked of the kernel.
        h->counters.link_downs++;
        h->next_look = 0;
    }
}

} // namespace wx
