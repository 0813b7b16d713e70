// SPDX-License-Identifier: MIT
// Finds the connection of a packet: a hash table from tuples to connections, in memory that is given at open,
// and the tuple as a packet has it.
#pragma once
#include "../wire/frame.h"
#include "tcp.h"

namespace wx {

// The tuple of a received packet, ours first. quoted: of a packet of our own, as an ICMP error gives it back.
TcpTuple tcp_tuple_of(const IpPacket &ip, uint16_t source_port, uint16_t destination_port, bool quoted);

struct TcpTable {
    TcpConnection **slots = nullptr; // open addressing
    uint32_t mask = 0;
    uint32_t count = 0;
    uint64_t seed = 0;             // so that nobody can choose tuples that collide
    TcpConnection *last = nullptr; // found last: packets come in trains
};

// connections: how many there may be; the table is twice as large or more. memory aligned to 16.
size_t tcp_table_bytes(uint32_t connections);
void tcp_table_open(TcpTable *t, void *memory, uint32_t connections, uint64_t seed);
void tcp_table_add(TcpTable *t, TcpConnection *c); // its tuple is set and not in the table
void tcp_table_remove(TcpTable *t, const TcpTuple &tuple);
TcpConnection *tcp_table_search(const TcpTable *t, const TcpTuple &tuple);
inline TcpConnection *tcp_table_find(TcpTable *t, const TcpTuple &tuple) {
    if (t->last != nullptr && t->last->tuple == tuple) return t->last;
    TcpConnection *found = tcp_table_search(t, tuple);
    if (found != nullptr) t->last = found;
    return found;
}

} // namespace wx
