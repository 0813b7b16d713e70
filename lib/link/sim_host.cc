// SPDX-License-Identifier: MIT
// The glue between packets and connections that an AF_XDP transport has as well: find the tuple, keep the
// frame if the connection wants it, answer what nobody knows. All in memory taken at open.
#include "sim_host.h"
#include "../base/alloc.h"
#include "../base/status.h"
#include "../tcp/ports.h"

namespace wx {

// ---- frames ----

static bool frames_open(SimFrames *frames, uint32_t count, uint32_t frame_bytes) {
    frames->count = count;
    frames->frame_bytes = frame_bytes;
    frames->memory = static_cast<uint8_t *>(allocate_aligned(64, size_t{count} * frame_bytes));
    frames->free_list = static_cast<uint32_t *>(allocate(count * sizeof(uint32_t)));
    frames->out = static_cast<bool *>(allocate(count * sizeof(bool)));
    return frames->memory != nullptr && frames->free_list != nullptr && frames->out != nullptr;
}

static void frames_reset(SimFrames *frames) {
    frames->free_count = frames->count;
    memset(frames->out, 0, frames->count * sizeof(bool));
    for (uint32_t i = 0; i < frames->count; i++) frames->free_list[i] = frames->count - 1 - i;
}

static void frames_close(SimFrames *frames) {
    deallocate(frames->memory);
    deallocate(frames->free_list);
    deallocate(frames->out);
    *frames = SimFrames();
}

static FrameId frame_take(SimFrames *frames) {
    if (frames->free_count == 0) return no_frame;
    uint32_t id = frames->free_list[--frames->free_count];
    frames->out[id] = true;
    return id;
}

static void frame_put(SimHost *host, SimFrames *frames, FrameId id) {
    if (id >= frames->count || !frames->out[id]) {
        host->double_releases++;
        return;
    }
    frames->out[id] = false;
    frames->free_list[frames->free_count++] = static_cast<uint32_t>(id);
}

static void release_receive(void *context, FrameId id) {
    SimHost *host = static_cast<SimHost *>(context);
    frame_put(host, &host->receive, id);
}
static void release_send(void *context, FrameId id) {
    SimHost *host = static_cast<SimHost *>(context);
    frame_put(host, &host->send, id);
}

// ---- packets out ----

constexpr size_t packet_max = 65535 + 64;

static bool send_packet(TcpSink *sink, const TcpPacket &packet) {
    SimHost *host = static_cast<SimHostSink *>(sink)->host;
    size_t size = packet.headers.size;
    memcpy(host->packet, packet.headers.data, size);
    for (unsigned i = 0; packet.payload != nullptr && i < packet.payload->count; i++) {
        ByteView piece = packet.payload->pieces[i];
        if (size + piece.size > packet_max) return false;
        memcpy(host->packet + size, piece.data, piece.size);
        size += piece.size;
    }
    if (host->out != nullptr) host->out->accept(host->out, ByteView(host->packet, size), host->now);
    return true;
}

static void answer(SimHost *host, const TcpTuple &tuple, const TcpSegment &segment) {
    size_t size = tcp_write_packet(ByteSpan(host->packet, packet_max), tuple, segment);
    if (size != 0 && host->out != nullptr)
        host->out->accept(host->out, ByteView(host->packet, size), host->now);
}

// ---- packets in ----

static TcpTuple tuple_of(const IpPacket &ip, uint16_t source_port, uint16_t destination_port, bool quoted) {
    TcpTuple tuple;
    tuple.local = quoted ? ip.source_address() : ip.destination_address();
    tuple.remote = quoted ? ip.destination_address() : ip.source_address();
    tuple.local_port = quoted ? source_port : destination_port;
    tuple.remote_port = quoted ? destination_port : source_port;
    return tuple;
}

static TcpConnection *find(SimHost *host, const TcpTuple &tuple) {
    for (uint32_t i = 0; i < host->options.connections; i++) {
        TcpConnection *c = &host->connections[i];
        if (c->state != TcpState::closed && c->state != TcpState::listen && c->tuple == tuple) return c;
    }
    return nullptr;
}

static TcpConnection *find_listener(SimHost *host, uint16_t port) {
    for (uint32_t i = 0; i < host->options.connections; i++) {
        TcpConnection *c = &host->connections[i];
        if (c->state == TcpState::listen && c->tuple.local_port == port) return c;
    }
    return nullptr;
}

static void take_late(SimHost *host) {
    TcpConnection *c = host->late_of;
    host->late_of = nullptr;
    if (c != nullptr) tcp_on_segment(c, host->late, no_frame, host->late_at);
}

// Whether the frame is kept.
static bool on_tcp(SimHost *host, const Frame &frame, FrameId id, Nanos now) {
    TcpSegment s = frame.tcp;
    TcpTuple tuple = tuple_of(frame.ip, s.source_port, s.destination_port, false);
    TcpConnection *c = find(host, tuple);
    if (c != nullptr) {
        take_late(host);
        if (host->options.late_acks && tcp_split_ack(c, &s, &host->late)) {
            host->late_of = c;
            host->late_at = now;
        }
        return tcp_on_segment(c, s, id, now);
    }
    TcpSegment reply;
    TimeWait *waiting = time_wait_find(&host->tcp.time_wait, tuple);
    if (waiting != nullptr) {
        uint32_t ts = static_cast<uint32_t>(now / ns_per_ms);
        if (time_wait_on_segment(&host->tcp.time_wait, waiting, s, now, host->options.tcp.time_wait, ts,
                                 &reply))
            answer(host, tuple, reply);
        return false;
    }
    constexpr uint8_t kind = tcp_syn | tcp_ack | tcp_rst;
    c = find_listener(host, s.destination_port);
    if (c != nullptr && !(s.flags & kind)) return false; // RFC 9293 section 3.10.7.2, "any other segment"
    if (c != nullptr && (s.flags & kind) == tcp_syn) {
        tcp_on_syn(c, tuple, s, now);
        return false;
    }
    host->unknown++;
    if (!ip_is_unicast(tuple.local) || !ip_is_unicast(tuple.remote))
        return false; // nobody to answer (MUST-57)
    if (tcp_reply(s, &reply)) answer(host, tuple, reply);
    return false;
}

static void accept_packet(PacketSink *self, ByteView packet, Nanos now) {
    SimHost *host = static_cast<SimHost *>(self);
    host->now = now;
    FrameId id = packet.size <= host->receive.frame_bytes ? frame_take(&host->receive) : no_frame;
    if (id == no_frame) {
        host->no_frame++;
        return;
    }
    uint8_t *memory = sim_frame(&host->receive, id);
    memcpy(memory, packet.data, packet.size);
    Frame frame;
    Wire read = packet_read(ByteView(memory, packet.size), host->checksums, &frame);
    bool kept = false;
    if (read != Wire::ok) {
        host->refused[static_cast<size_t>(read)]++;
    } else if (frame.kind == FrameKind::tcp) {
        kept = on_tcp(host, frame, id, now);
    } else if (frame.kind == FrameKind::icmp_error) {
        const IcmpError &e = frame.icmp;
        TcpConnection *c = find(host, tuple_of(e.quoted, e.source_port, e.destination_port, true));
        if (c != nullptr) tcp_on_icmp(c, e, now);
    }
    if (!kept) frame_put(host, &host->receive, id);
}

// ---- the host ----

static size_t storage_each(const TcpConfig &config) { return (tcp_storage_bytes(config) + 63) & ~size_t{63}; }

int sim_host_open(SimHost *host, const SimHostOptions &options) {
    *host = SimHost();
    if (tcp_config_problem(options.tcp) != nullptr || options.connections == 0 || options.frame_bytes < 576)
        return WSXDP_E_INVALID;
    host->options = options;
    host->accept = accept_packet;
    host->sink.send = send_packet;
    host->sink.host = host;
    host->connections = static_cast<TcpConnection *>(
        allocate_aligned(alignof(TcpConnection) < 64 ? 64 : alignof(TcpConnection),
                         options.connections * sizeof(TcpConnection)));
    host->held = static_cast<bool *>(allocate(options.connections * sizeof(bool)));
    host->storage =
        static_cast<uint8_t *>(allocate_aligned(64, options.connections * storage_each(options.tcp)));
    host->packet = static_cast<uint8_t *>(allocate(packet_max));
    host->time_wait_memory = allocate_aligned(64, time_wait_bytes(options.time_wait));
    bool good = frames_open(&host->receive, options.receive_frames, options.frame_bytes) &&
                frames_open(&host->send, options.send_frames, options.frame_bytes);
    if (!good || !host->connections || !host->held || !host->storage || !host->packet ||
        !host->time_wait_memory) {
        sim_host_close(host);
        return WSXDP_E_MEMORY;
    }
    for (uint32_t i = 0; i < options.connections; i++) new (&host->connections[i]) TcpConnection();
    sim_host_reset(host, options.seed);
    return WSXDP_OK;
}

void sim_host_close(SimHost *host) {
    frames_close(&host->receive);
    frames_close(&host->send);
    deallocate(host->connections);
    deallocate(host->held);
    deallocate(host->storage);
    deallocate(host->packet);
    deallocate(host->time_wait_memory);
    host->connections = nullptr;
    host->held = nullptr;
    host->storage = nullptr;
    host->packet = nullptr;
    host->time_wait_memory = nullptr;
}

void sim_host_reset(SimHost *host, uint64_t seed) {
    fixed_random_open(&host->random, seed);
    host->late_of = nullptr;
    host->tcp = TcpHost();
    host->tcp.random = &host->random;
    host->random.fill(&host->random, host->tcp.secret.key, sizeof host->tcp.secret.key);
    host->tcp.release_receive = FrameRelease{release_receive, host};
    host->tcp.release_send = FrameRelease{release_send, host};
    time_wait_open(&host->tcp.time_wait, host->time_wait_memory, host->options.time_wait);
    frames_reset(&host->receive);
    frames_reset(&host->send);
    // Whatever they still held is in the free lists already.
    for (uint32_t i = 0; i < host->options.connections; i++) host->connections[i] = TcpConnection();
    memset(host->held, 0, host->options.connections * sizeof(bool));
    memset(host->refused, 0, sizeof host->refused);
    host->no_frame = host->unknown = host->double_releases = 0;
}

bool sim_host_address(SimHost *host, const IpAddress &address) {
    if (host->address_count == 2) return false;
    host->addresses[host->address_count++] = address;
    return true;
}

TcpConnection *sim_host_connection(SimHost *host) {
    size_t each = storage_each(host->options.tcp);
    for (uint32_t i = 0; i < host->options.connections; i++) {
        TcpConnection *c = &host->connections[i];
        // Nor one whose reset has not left yet.
        if (c->state != TcpState::closed || c->send_reset || host->held[i]) continue;
        // An ended one may still hold what was received and not read.
        tcp_discard(c);
        return tcp_open(c, &host->tcp, host->options.tcp, ByteSpan(host->storage + i * each, each)) == 0
                   ? c
                   : nullptr;
    }
    return nullptr;
}

void sim_host_hold(SimHost *host, const TcpConnection *c, bool held) {
    host->held[c - host->connections] = held;
}

static bool port_usable(void *context, uint16_t port) {
    const SimHost *host = static_cast<const SimHost *>(context);
    for (uint32_t i = 0; i < host->options.connections; i++) {
        const TcpConnection *c = &host->connections[i];
        if (c->state != TcpState::closed && c->tuple.local_port == port) return false;
    }
    return true;
}

TcpConnection *sim_host_connect(SimHost *host, const IpAddress &remote, uint16_t port, Nanos now) {
    TcpTuple tuple;
    for (unsigned i = 0; i < host->address_count; i++)
        if (host->addresses[i].version == remote.version) tuple.local = host->addresses[i];
    tuple.remote = remote;
    tuple.remote_port = port;
    PortFilter filter;
    filter.usable = port_usable;
    filter.context = host;
    time_wait_expire(&host->tcp.time_wait, now);
    tuple.local_port = port_choose(PortRange(), &host->random, &host->tcp.time_wait, tuple, filter);
    TcpConnection *c = tuple.local.version && tuple.local_port ? sim_host_connection(host) : nullptr;
    if (c != nullptr && !tcp_connect(c, tuple, now)) return nullptr;
    return c;
}

TcpConnection *sim_host_listen(SimHost *host, uint16_t port) {
    TcpConnection *c = sim_host_connection(host);
    if (c == nullptr) return nullptr;
    c->tuple.local_port = port;
    tcp_listen(c);
    return c;
}

uint32_t sim_host_write(SimHost *host, TcpConnection *c, ByteView data) {
    uint32_t taken = 0;
    // A frame holds one segment: what fits with all options there may be.
    uint32_t most = c->mss > tcp_options_max ? tcp_segment_payload(c) : 536;
    if (most > host->send.frame_bytes) most = host->send.frame_bytes;
    if (most > c->config.send_bytes) most = c->config.send_bytes; // or an empty buffer would never have room
    while (taken < data.size) {
        uint32_t room = tcp_room(c), left = static_cast<uint32_t>(data.size) - taken;
        uint32_t size = left < most ? left : most;
        FrameId id = room >= size ? frame_take(&host->send) : no_frame;
        if (id == no_frame) {
            c->write_refused = true;
            break;
        }
        TcpChunk chunk;
        uint8_t *memory = sim_frame(&host->send, id);
        chunk.sum = checksum_copy(memory, data.data + taken, size);
        chunk.has_sum = true;
        chunk.data = memory;
        chunk.size = size;
        chunk.push = size == left;
        chunk.frame = id;
        if (!tcp_write(c, chunk)) {
            frame_put(host, &host->send, id);
            break;
        }
        taken += size;
    }
    return taken;
}

uint32_t sim_host_read(SimHost *host, TcpConnection *c, ByteSpan out) {
    (void)host;
    uint32_t done = 0;
    while (done < out.size) {
        TcpView view;
        if (tcp_views(c, &view, 1) == 0) break;
        uint32_t left = static_cast<uint32_t>(out.size) - done, size = view.size < left ? view.size : left;
        memcpy(out.data + done, view.data, size);
        tcp_consume(c, size);
        done += size;
    }
    return done;
}

void sim_host_step(SimHost *host, Nanos now) {
    host->now = now;
    time_wait_expire(&host->tcp.time_wait, now);
    for (uint32_t i = 0; i < host->options.connections; i++) {
        TcpConnection *c = &host->connections[i];
        if (c->state == TcpState::closed && !c->send_reset) continue;
        if (tcp_deadline(c) <= now) tcp_on_timer(c, now);
        tcp_output(c, &host->sink, now);
        if (c != host->late_of) continue;
        take_late(host);
        tcp_output(c, &host->sink, now);
    }
}

Nanos sim_host_deadline(const SimHost *host) {
    Nanos first = host->tcp.time_wait.next_expiry;
    for (uint32_t i = 0; i < host->options.connections; i++) {
        const TcpConnection *c = &host->connections[i];
        if (c->state == TcpState::closed) continue;
        Nanos deadline = tcp_deadline(c);
        if (deadline < first) first = deadline;
    }
    return first;
}

} // namespace wx
