// SPDX-License-Identifier: MIT
// What the stages tell of a connection, for whoever asks: numbers in snapshots beside the connection's words.
// They are written when somebody asks, by whom the stages belong to; who gets no answer in time reads what
// was told before.
#pragma once
#include "../ring/snapshot.h"
#include "shared.h"

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
struct AppFacts { // with a name only
    uint64_t id, state;
    uint64_t messages_sent, payload_sent, frames_sent, refused, lost, outbox_max, holds;
};
static_assert(sizeof(Snapshot<AppFacts>) <= sizeof(ConnectionWords::app_facts), "it has its place");
static_assert(sizeof(Snapshot<TransportFacts>) <= sizeof(ConnectionWords::transport_facts),
              "it has its place");
static_assert(sizeof(Snapshot<WsFacts>) <= sizeof(ConnectionWords::ws_facts), "it has its place");

// What was published last; all 0 when nothing was, or when it is being written all the time.
void published_transport(const ConnectionWords *words, TransportFacts *out);
void published_ws(const ConnectionWords *words, WsFacts *out);
// Adds what was counted before; null: nothing was.
void published_add(const StageFacts *earlier, TransportFacts *transport, WsFacts *ws);
void published_app(const ConnectionWords *words, AppFacts *out);
void publish_app(ConnectionWords *words, const AppFacts &facts);

// How old what is published without being asked for may be, of a handle that has a name.
constexpr Nanos publish_interval = 250 * ns_per_ms;
// So many connections in one go, since some of them take a system call, and so many looked at; then the
// messages have their turn for this long.
constexpr size_t publish_batch = 16, publish_looks = 256;
constexpr Nanos publish_pause = ns_per_ms;

// Whose turn it is. Once nothing moves any more, and that has been told, nobody is woken for it.
struct PublishTurn {
    Nanos due = 0;
    uint32_t next = 0;   // index
    bool changed = true; // since the last lap began

    Nanos until(Nanos limit) const { return (changed || next != 0) && due < limit ? due : limit; }
    // true: a lap begins or goes on.
    bool begin(Nanos now) {
        if (now < due) return false;
        if (next == 0) changed = false;
        return true;
    }
    void end(Nanos now) { due = now + (next == 0 ? publish_interval : publish_pause); }
};
// Those from `index` on; returns where to go on, 0 at the end. seats: beside the caller only what it has
// handed over may be looked at; null for the caller itself.
uint32_t rounds_publish_from(const Rounds *r, uint32_t index, const std::atomic<Seat> *seats);

} // namespace wx
