// SPDX-License-Identifier: MIT
// Counters and facts for wsxdp_stats and wsxdp_info. Cold; reads what the stages keep, changes nothing.
#include "engine.h"
#include "published.h"

namespace wx {

static uint32_t public_state(const TransportFacts &facts, const AppConnection *a) {
    switch (static_cast<ConnectionState>(facts.state)) {
    case ConnectionState::open:
        return a->state == WSXDP_STATE_CLOSING ? WSXDP_STATE_CLOSING : WSXDP_STATE_OPEN;
    case ConnectionState::closing:
    case ConnectionState::draining:
        return WSXDP_STATE_CLOSING;
    case ConnectionState::waiting:
        return facts.tried != 0 ? WSXDP_STATE_WAITING : WSXDP_STATE_CONNECTING;
    case ConnectionState::finished:
    case ConnectionState::unused:
        return WSXDP_STATE_CLOSED;
    default:
        return WSXDP_STATE_CONNECTING;
    }
}

static void add_tcp(const TransportFacts &facts, wsxdp_stats_t *out, bool one) {
    if (facts.has_tcp == 0) return;
    out->tcp_segments_received += facts.tcp.segments_in;
    out->tcp_segments_sent += facts.tcp.segments_out;
    out->tcp_retransmits += facts.tcp.retransmits;
    out->tcp_out_of_order += facts.tcp.out_of_order;
    out->tcp_zero_windows += facts.tcp.zero_windows;
    if (!one) return;
    out->tcp_round_trip_ns = facts.tcp.round_trip;
    out->tcp_round_trip_min_ns = facts.tcp.round_trip_min;
    out->tcp_congestion_window = facts.tcp.congestion_window;
    out->tcp_in_flight = facts.tcp.in_flight;
}

static void add_transport(const TransportFacts &facts, wsxdp_stats_t *out) {
    const TransportCounters &n = facts.counters;
    out->bytes_received += n.bytes_received;
    out->bytes_sent += n.bytes_sent;
    out->tls_records_received += facts.tls_records_in;
    out->tls_records_sent += facts.tls_records_out;
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

static void add_connection(const AppConnection *a, wsxdp_stats_t *out, bool one) {
    TransportFacts facts;
    WsFacts ws;
    published_transport(a->area.words, &facts);
    published_ws(a->area.words, &ws);
    published_add(a->earlier, &facts, &ws);
    const WsCounters &w = ws.counters;
    if (one) out->state = public_state(facts, a);
    add_tcp(facts, out, one);
    add_transport(facts, out);
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
    out.allocations = e->allocations + e->runner->allocations(e);
    e->runner->publish(e, c != nullptr ? app_index(&e->app, c) : every_connection);
    if (c != nullptr) {
        add_connection(c, &out, true);
    } else {
        for (size_t i = 0; i < e->app.live_count; i++)
            add_connection(&e->app.connections[e->app.live[i]], &out, false);
        out.connections = e->app.live_count;
        out.events_queued = e->app.events.look();
    }
    memcpy(caller, &out, out.struct_size);
    return WSXDP_OK;
}

static const char *state_name(uint32_t state) {
    static const char *const names[] = {"", "connecting", "open", "closing", "waiting", "closed"};
    return names[state];
}

static int no_fact(Engine *e, ByteView name, const char *of) {
    e->app.error.begin(WSXDP_E_INVALID).add("wsxdp_info: no fact ").add(of).add("is called '");
    e->app.error.add(name.first(40)).add("'");
    return WSXDP_E_INVALID;
}

static int state_info(Engine *e, const AppConnection *a, Writer *out) {
    TransportFacts facts;
    e->runner->publish(e, app_index(&e->app, a));
    published_transport(a->area.words, &facts);
    out->text(state_name(public_state(facts, a)));
    return WSXDP_OK;
}

int engine_info(Engine *e, AppConnection *a, const char *what, Writer *out) {
    ByteView name(what);
    if (a != nullptr && equal(name, ByteView("state"))) return state_info(e, a, out);
    bool known = false;
    int status =
        e->runner->info(e, a != nullptr ? app_index(&e->app, a) : every_connection, what, out, &known);
    if (status < 0 || known) return status;
    const bool xdp = e->stages.transport.driver != nullptr && equal(name.first(4), ByteView("xdp."));
    return no_fact(e, name, a != nullptr || xdp ? "" : "of the handle ");
}

} // namespace wx
