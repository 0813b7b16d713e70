// SPDX-License-Identifier: MIT
// Linear probing in a table that is at most half full; removal closes the gap, so that no mark of what was
// there is left behind. The worst case accepted is a peer that can choose many tuples: it does not know the
// seed.
#include "table.h"

namespace wx {

TcpTuple tcp_tuple_of(const IpPacket &ip, uint16_t source_port, uint16_t destination_port, bool quoted) {
    TcpTuple tuple;
    tuple.local = quoted ? ip.source_address() : ip.destination_address();
    tuple.remote = quoted ? ip.destination_address() : ip.source_address();
    tuple.local_port = quoted ? source_port : destination_port;
    tuple.remote_port = quoted ? destination_port : source_port;
    return tuple;
}

static uint32_t capacity_for(uint32_t connections) {
    uint32_t capacity = 8;
    while (capacity < connections * 2) capacity *= 2;
    return capacity;
}

size_t tcp_table_bytes(uint32_t connections) { return capacity_for(connections) * sizeof(TcpConnection *); }

void tcp_table_open(TcpTable *t, void *memory, uint32_t connections, uint64_t seed) {
    *t = TcpTable();
    t->slots = static_cast<TcpConnection **>(memory);
    t->mask = capacity_for(connections) - 1;
    t->seed = seed | 1;
    memset(memory, 0, tcp_table_bytes(connections));
}

static uint64_t mix(uint64_t state, uint64_t word) {
    unsigned __int128 product = static_cast<unsigned __int128>(state ^ word) * 0x9E3779B97F4A7C15u;
    return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

static uint32_t place(const TcpTable *t, const TcpTuple &tuple) {
    uint64_t words[4];
    memcpy(words, tuple.local.bytes, 16);
    memcpy(words + 2, tuple.remote.bytes, 16);
    uint64_t state = mix(t->seed, uint64_t{tuple.local_port} << 16 | tuple.remote_port);
    for (uint64_t word : words) state = mix(state, word + t->seed);
    return static_cast<uint32_t>(state) & t->mask;
}

void tcp_table_add(TcpTable *t, TcpConnection *c) {
    uint32_t at = place(t, c->tuple);
    while (t->slots[at] != nullptr) at = (at + 1) & t->mask;
    t->slots[at] = c;
    t->count++;
}

static uint32_t search(const TcpTable *t, const TcpTuple &tuple) {
    uint32_t at = place(t, tuple);
    while (t->slots[at] != nullptr && !(t->slots[at]->tuple == tuple)) at = (at + 1) & t->mask;
    return at;
}

TcpConnection *tcp_table_search(const TcpTable *t, const TcpTuple &tuple) {
    return t->slots[search(t, tuple)];
}

void tcp_table_remove(TcpTable *t, const TcpTuple &tuple) {
    uint32_t gap = search(t, tuple);
    if (t->slots[gap] == nullptr) return;
    if (t->last == t->slots[gap]) t->last = nullptr;
    t->count--;
    // Whatever follows in the same run and may stand in the gap moves there.
    for (uint32_t at = (gap + 1) & t->mask; t->slots[at] != nullptr; at = (at + 1) & t->mask) {
        uint32_t wanted = place(t, t->slots[at]->tuple);
        if (((at - wanted) & t->mask) < ((at - gap) & t->mask)) continue;
        t->slots[gap] = t->slots[at];
        gap = at;
    }
    t->slots[gap] = nullptr;
}

} // namespace wx
