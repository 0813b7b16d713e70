// SPDX-License-Identifier: MIT
// What a stage tells of a connection, written and read. Cold: once for each question. A reader that comes in
// the middle of a write tries again, and gives up before it costs anybody anything.
#include "published.h"

namespace wx {

template <class Value> static Snapshot<Value> *snapshot(uint8_t *place) {
    return reinterpret_cast<Snapshot<Value> *>(place);
}
template <class Value> static void read(const uint8_t *place, Value *out) {
    memset(static_cast<void *>(out), 0, sizeof *out);
    (void)reinterpret_cast<const Snapshot<Value> *>(place)->read(out);
}

static void publish(const Connection *c) {
    TransportFacts facts;
    memset(static_cast<void *>(&facts), 0, sizeof facts);
    facts.state = static_cast<uint64_t>(c->state);
    facts.tried = c->ever_open || c->attempts != 0;
    facts.counters = c->counters;
    facts.tls_records_in = c->counters.records_received + (c->tls ? c->tls->records_in : 0);
    facts.tls_records_out = c->counters.records_sent + (c->tls ? c->tls->records_out : 0);
    const LinkBackend *backend = c->channel.backend;
    facts.has_tcp = backend != nullptr && backend->tcp != nullptr;
    if (facts.has_tcp) backend->tcp(&c->channel, &facts.tcp);
    snapshot<TransportFacts>(c->area.words->transport_facts)->write(facts);
}

static void publish(const WsConnection *c) {
    WsFacts facts;
    facts.counters = c->counters;
    snapshot<WsFacts>(c->words->ws_facts)->write(facts);
}

// Whether there was anything to tell.
static bool publish_one(const Rounds *r, size_t i) {
    const Transport *t = r->transport;
    const bool has_transport = t != nullptr && t->connections[i].area.words != nullptr;
    const bool has_ws = r->ws != nullptr && r->ws->connections[i].words != nullptr;
    if (has_transport) publish(&t->connections[i]);
    if (has_ws) publish(&r->ws->connections[i]);
    return has_transport || has_ws;
}

uint32_t rounds_publish_from(const Rounds *r, uint32_t index, const std::atomic<Seat> *seats) {
    const size_t limit = r->transport != nullptr ? r->transport->connection_limit : r->ws->connection_limit;
    size_t end = index + publish_looks, told = 0;
    if (end > limit) end = limit;
    for (; index < end && told < publish_batch; index++)
        if (seats == nullptr || seats[index].load(std::memory_order_acquire) == Seat::taken)
            told += publish_one(r, index);
    return index < limit ? index : 0;
}

void rounds_publish(const Rounds *r, uint32_t index) {
    const Transport *t = r->transport;
    const size_t limit = t != nullptr ? t->connection_limit : r->ws->connection_limit;
    for (size_t i = 0; i < limit; i++) {
        if (index == every_connection || index == i) (void)publish_one(r, i);
    }
}

bool rounds_info(const Rounds *r, uint32_t index, const char *what, Writer *out) {
    const Transport *t = r->transport;
    if (t == nullptr) return false;
    if (index == every_connection) return transport_info(t, what, out);
    return index < t->connection_limit && transport_connection_info(t, &t->connections[index], what, out);
}

void published_transport(const ConnectionWords *words, TransportFacts *out) {
    read(words->transport_facts, out);
}
void published_ws(const ConnectionWords *words, WsFacts *out) { read(words->ws_facts, out); }
void published_app(const ConnectionWords *words, AppFacts *out) { read(words->app_facts, out); }
void publish_app(ConnectionWords *words, const AppFacts &facts) {
    snapshot<AppFacts>(words->app_facts)->write(facts);
}

void published_add(const StageFacts *earlier, TransportFacts *transport, WsFacts *ws) {
    if (earlier == nullptr) return;
    const TransportCounters &a = earlier->transport.counters;
    TransportCounters *sum = &transport->counters;
    sum->bytes_received += a.bytes_received;
    sum->bytes_sent += a.bytes_sent;
    sum->reads += a.reads;
    sum->records_received += a.records_received;
    sum->records_sent += a.records_sent;
    sum->pings_sent += a.pings_sent;
    sum->pongs_sent += a.pongs_sent;
    sum->frames_sent += a.frames_sent;
    sum->opens += a.opens;
    sum->reconnects += a.reconnects;
    sum->stalls += a.stalls;
    if (a.inbox_max > sum->inbox_max) sum->inbox_max = a.inbox_max;
    transport->tls_records_in += earlier->transport.tls_records_in;
    transport->tls_records_out += earlier->transport.tls_records_out;
    ws->counters.messages += earlier->ws.counters.messages;
    ws->counters.payload += earlier->ws.counters.payload;
    ws->counters.frames += earlier->ws.counters.frames;
    ws->counters.pings += earlier->ws.counters.pings;
    ws->counters.pongs += earlier->ws.counters.pongs;
}

} // namespace wx
