// SPDX-License-Identifier: MIT
// Which queue a NIC puts a connection's packets on: receive-side scaling by Toeplitz hash (Microsoft's RSS
// specification), so that a source port can be chosen whose answers arrive where our socket is.
#pragma once
#include "../../base/status.h"
#include "../../tcp/ports.h"

namespace wx {

struct RssTable {
    const uint8_t *key = nullptr;
    uint32_t key_bytes = 0;           // 0: not known
    const uint32_t *queues = nullptr; // the indirection table
    uint32_t queue_count = 0;         // its size, a power of two or not
};

// The hash over source address, destination address, source port, destination port of the packets that come
// in: remote first. A key shorter than its input and 32 bits (16 bytes for IPv4, 40 for IPv6) gives 0.
uint32_t rss_hash(const RssTable &table, const TcpTuple &tuple);
// The queue of a connection's incoming packets; 0 without a table.
uint32_t rss_queue(const RssTable &table, const TcpTuple &tuple);

// How packets of any connection find a socket of ours.
enum class Steering : uint8_t {
    one_queue,   // the interface has one
    every_queue, // a socket on each
    by_port,     // a source port is chosen whose hash leads to our queue
    refused,
};
struct SteeringFacts {
    const char *interface = "IF"; // for sentences
    uint8_t ip_version = 4;       // likewise
    uint32_t queues = 0;          // that receive
    uint64_t ours = 0;            // bit per queue that has a socket (queues above 63 cannot be ours)
    RssTable table;
    bool toeplitz = false;     // the hash function and its input are the plain ones
    bool ports_hashed = false; // for the IP version in question
};
// `refused` with a sentence: E_XDP_QUEUES.
Steering steering_choose(const SteeringFacts &facts, ErrorText *error);

} // namespace wx
