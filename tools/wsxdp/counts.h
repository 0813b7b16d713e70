// SPDX-License-Identifier: MIT
// What one run of `wsxdp cat` has seen; filled by the session, read by the live line and the summary.
#pragma once
#include "latency.h"

#include <cstdint>
#include <string>

// Facts of a connection that are gone once it is closed, so they are asked for when it opens.
struct ConnectionFacts {
    std::string url, peer, transport, mode, tls_version, tls_cipher, subprotocol, extensions;
    bool tls_resumed = false;
};

struct Counts {
    uint64_t messages = 0, text = 0, binary = 0;
    uint64_t payload_bytes = 0;
    uint64_t lost = 0; // dropped by overflow=conflate
    uint64_t sent = 0;
    int64_t start_ns = 0; // CLOCK_MONOTONIC; 0 until the first open
    int64_t end_ns = 0;
    LatencyTable latency;
    ConnectionFacts facts;
    wsxdp_stats_t stats = {};
    bool stats_known = false;
};
