// SPDX-License-Identifier: MIT
// What the stages tell of a connection, for whoever asks: numbers in snapshots beside the connection's words.
// They are written when somebody asks, by whom the stages belong to; who gets no answer in time reads what
// was told before.
#pragma once
#include "../ring/snapshot.h"
#include "rounds.h"

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
// Of processes that are no more: only what is counted.
struct StageFacts {
    TransportFacts transport;
    WsFacts ws;
};
static_assert(sizeof(Snapshot<TransportFacts>) <= sizeof(ConnectionWords::transport_facts),
              "it has its place");
static_assert(sizeof(Snapshot<WsFacts>) <= sizeof(ConnectionWords::ws_facts), "it has its place");

// What was published last; all 0 when nothing was, or when it is being written all the time.
void published_transport(const ConnectionWords *words, TransportFacts *out);
void published_ws(const ConnectionWords *words, WsFacts *out);
// Adds what was counted before; null: nothing was.
void published_add(const StageFacts *earlier, TransportFacts *transport, WsFacts *ws);

} // namespace wx
