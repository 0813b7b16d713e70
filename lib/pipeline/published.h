// SPDX-License-Identifier: MIT
// What the stages tell of a connection, for whoever asks: numbers in snapshots beside the connection's words.
// A stage that is asked by its own thread publishes at once; others publish now and then, and what is read
// may be that old.
#pragma once
#include "../ring/snapshot.h"
#include "transport.h"
#include "ws_stage.h"

namespace wx {

struct TransportFacts {
    uint64_t state; // ConnectionState
    uint64_t tried; // it was open once, or an attempt was made
    TransportCounters counters;
    uint64_t tls_records_in, tls_records_out;
    uint64_t has_tcp;
    LinkTcpFacts tcp;
};
struct WsFacts {
    WsCounters counters;
};
static_assert(sizeof(Snapshot<TransportFacts>) <= sizeof(ConnectionWords::transport_facts),
              "it has its place");
static_assert(sizeof(Snapshot<WsFacts>) <= sizeof(ConnectionWords::ws_facts), "it has its place");

void transport_publish(const Connection *c);
void ws_publish(const WsConnection *c);
// What was published last; all 0 when nothing was, or when it is being written all the time.
void published_transport(const ConnectionWords *words, TransportFacts *out);
void published_ws(const ConnectionWords *words, WsFacts *out);

} // namespace wx
