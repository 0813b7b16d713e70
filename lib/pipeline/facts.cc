// SPDX-License-Identifier: MIT
// Counters and facts for wsxdp_stats and wsxdp_info. Cold; reads what the stages keep, changes nothing.
#include "connecting.h"
#include "engine.h"
#include <sys/socket.h>

namespace wx {

static uint32_t public_state(const Engine *e, const AppConnection *a) {
    const Connection &c = e->transport.connections[app_index(&e->app, a)];
    switch (c.state) {
    case ConnectionState::open:
        return a->state == WSXDP_STATE_CLOSING ? WSXDP_STATE_CLOSING : WSXDP_STATE_OPEN;
    case ConnectionState::closing:
    case ConnectionState::draining:
        return WSXDP_STATE_CLOSING;
    case ConnectionState::waiting:
        return c.ever_open || c.attempts ? WSXDP_STATE_WAITING : WSXDP_STATE_CONNECTING;
    case ConnectionState::finished:
    case ConnectionState::unused:
        return WSXDP_STATE_CLOSED;
    default:
        return WSXDP_STATE_CONNECTING;
    }
}

static void add_tcp(const Channel &channel, wsxdp_stats_t *out, bool one) {
    if (channel.backend == nullptr || channel.backend->tcp == nullptr) return;
    LinkTcpFacts facts;
    channel.backend->tcp(&channel, &facts);
    out->tcp_segments_received += facts.segments_in;
    out->tcp_segments_sent += facts.segments_out;
    out->tcp_retransmits += facts.retransmits;
    out->tcp_out_of_order += facts.out_of_order;
    out->tcp_zero_windows += facts.zero_windows;
    if (!one) return;
    out->tcp_round_trip_ns = facts.round_trip;
    out->tcp_round_trip_min_ns = facts.round_trip_min;
    out->tcp_congestion_window = facts.congestion_window;
    out->tcp_in_flight = facts.in_flight;
}

static void add_transport(const Connection &c, wsxdp_stats_t *out) {
    const TransportCounters &n = c.counters;
    out->bytes_received += n.bytes_received;
    out->bytes_sent += n.bytes_sent;
    out->tls_records_received += n.records_received + (c.tls ? c.tls->records_in : 0);
    out->tls_records_sent += n.records_sent + (c.tls ? c.tls->records_out : 0);
    out->frames_sent += n.frames_sent;
    out->pings_sent += n.pings_sent;
    out->pongs_sent += n.pongs_sent;
    if (n.round_trip != 0) out->round_trip_ns = n.round_trip;
    if (n.round_trip_min != 0 && (out->round_trip_min_ns == 0 || n.round_trip_min < out->round_trip_min_ns))
        out->round_trip_min_ns = n.round_trip_min;
    out->inbox_bytes_max = n.inbox_max > out->inbox_bytes_max ? n.inbox_max : out->inbox_bytes_max;
    out->opens += n.opens;
    out->reconnects += n.reconnects;
    out->stalls += n.stalls;
    out->reads += n.reads;
}

static uint64_t ring_bytes(const ByteRingWords &words) {
    uint64_t tail = words.tail.load(std::memory_order_acquire);
    uint64_t head = words.head.load(std::memory_order_acquire);
    uint64_t skip = words.skip.load(std::memory_order_relaxed);
    if (skip > head && skip <= tail) head = skip;
    return tail - head;
}

static void add_connection(const Engine *e, const AppConnection *a, wsxdp_stats_t *out, bool one) {
    add_tcp(e->transport.connections[app_index(&e->app, a)].channel, out, one);
    const WsCounters &w = e->ws.connections[app_index(&e->app, a)].counters;
    add_transport(e->transport.connections[app_index(&e->app, a)], out);
    out->messages_received += w.messages;
    out->payload_received += w.payload;
    out->frames_received += w.frames;
    out->pings_received += w.pings;
    out->pongs_received += w.pongs;
    out->messages_sent += a->counters.messages_sent;
    out->payload_sent += a->counters.payload_sent;
    out->frames_sent += a->counters.frames_sent;
    out->sends_refused += a->counters.refused;
    out->messages_lost += a->counters.lost;
    out->holds += a->holds;
    out->inbox_bytes += ring_bytes(a->area.words->inbox);
    out->outbox_bytes += ring_bytes(a->area.words->outbox);
    if (a->counters.outbox_max > out->outbox_bytes_max) out->outbox_bytes_max = a->counters.outbox_max;
}

int engine_stats(Engine *e, AppConnection *c, wsxdp_stats_t *caller) {
    wsxdp_stats_t out;
    memset(&out, 0, sizeof out);
    out.struct_size = caller->struct_size;
    out.allocations = e->allocations;
    if (c != nullptr) {
        out.state = public_state(e, c);
        add_connection(e, c, &out, true);
    } else {
        for (size_t i = 0; i < e->transport.live_count; i++)
            add_connection(e, &e->app.connections[e->transport.live[i]], &out, false);
        out.connections = e->transport.live_count;
        out.events_queued = e->app.events.ready();
    }
    memcpy(caller, &out, out.struct_size);
    return WSXDP_OK;
}

static void socket_address(const Connection &c, bool peer, Writer *out) {
    Address address;
    if (c.channel.backend != nullptr && c.channel.backend->addresses != nullptr) {
        Address other;
        c.channel.backend->addresses(&c.channel, peer ? &other : &address, peer ? &address : &other);
        address_text(address, out);
        return;
    }
    address.size = sizeof address.storage;
    memset(&address.storage, 0, sizeof address.storage);
    sockaddr *raw = reinterpret_cast<sockaddr *>(&address.storage);
    if (c.channel.fd < 0) return;
    int status =
        peer ? getpeername(c.channel.fd, raw, &address.size) : getsockname(c.channel.fd, raw, &address.size);
    if (status == 0) address_text(address, out);
}

static const char *state_name(uint32_t state) {
    static const char *const names[] = {"", "connecting", "open", "closing", "waiting", "closed"};
    return names[state];
}

static bool by_driver(const Engine *e, const Connection &c) {
    return e->transport.driver != nullptr && connect_link(&e->transport, &c) == e->transport.link;
}

static bool is_prefix(ByteView text, const char *prefix) {
    return equal(text.first(strlen(prefix)), ByteView(prefix));
}

static int no_fact(Engine *e, ByteView name, const char *of) {
    e->app.error.begin(WSXDP_E_INVALID).add("wsxdp_info: no fact ").add(of).add("is called '");
    e->app.error.add(name.first(40)).add("'");
    return WSXDP_E_INVALID;
}

int engine_handle_info(Engine *e, const char *what, Writer *out) {
    ByteView name(what);
    if (equal(name, ByteView("poller"))) {
        out->text(poller_name(&e->poller));
    } else if (e->transport.driver != nullptr && is_prefix(name, "xdp.")) {
        if (!e->transport.driver->facts(e->transport.link_context, what, out)) return no_fact(e, name, "");
    } else {
        return no_fact(e, name, "of the handle ");
    }
    return WSXDP_OK;
}

int engine_info(Engine *e, AppConnection *a, const char *what, Writer *out) {
    const Connection &c = e->transport.connections[app_index(&e->app, a)];
    ByteView name(what);
    auto is = [&name](const char *text) { return equal(name, ByteView(text)); };
    if (is("url")) {
        const Url &u = c.url;
        // Without credentials: this text ends up in logs.
        out->text(u.scheme == Scheme::wss    ? "wss://"
                  : u.scheme == Scheme::ws   ? "ws://"
                  : u.scheme == Scheme::echo ? "echo:"
                                             : "ws+unix://");
        if (u.scheme == Scheme::echo) return WSXDP_OK;
        if (u.host_is_ipv6) out->u8('[');
        out->bytes(u.host);
        if (u.host_is_ipv6) out->u8(']');
        if (!u.port_is_default && u.scheme != Scheme::ws_unix) {
            out->u8(':');
            out->decimal(u.port);
        }
        if (u.scheme == Scheme::ws_unix) out->u8(':');
        out->bytes(u.target);
    } else if (is("state")) {
        out->text(state_name(public_state(e, a)));
    } else if (is("transport")) {
        out->text(connect_link(&e->transport, &c)->name);
    } else if (by_driver(e, c) && (is("mode") || is_prefix(name, "xdp."))) {
        if (!e->transport.driver->facts(e->transport.link_context, what, out)) return no_fact(e, name, "");
    } else if (is("poller")) {
        return engine_handle_info(e, what, out);
    } else if (is("mode")) {
        out->text(c.url.scheme == Scheme::echo      ? "memory"
                  : c.url.scheme == Scheme::ws_unix ? "unix"
                                                    : "kernel-tcp");
    } else if (is("subprotocol")) {
        out->text(c.subprotocol);
    } else if (is("extensions")) {
        out->text(c.extensions);
    } else if (is("peer") || is("local")) {
        socket_address(c, is("peer"), out);
    } else if (is("tls.version")) {
        out->text(c.facts.version);
    } else if (is("tls.cipher")) {
        out->text(c.facts.cipher);
    } else if (is("tls.alpn")) {
        out->text(c.facts.alpn);
    } else if (is("tls.resumed")) {
        out->text(c.facts.resumed ? "yes" : "no");
    } else if (is("tls.early_data")) {
        out->text(c.facts.early);
    } else {
        return no_fact(e, name, "");
    }
    return WSXDP_OK;
}

} // namespace wx
