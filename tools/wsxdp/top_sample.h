// SPDX-License-Identifier: MIT
// What `wsxdp top` sees of a pipeline: its region, mapped for reading, and what /proc says of its threads.
#pragma once
#include "latency.h"

#include "../../lib/pipeline/naming.h"
#include "../../lib/pipeline/published.h"
#include "../../lib/pipeline/shared.h"

#include <array>
#include <map>
#include <string>
#include <vector>

struct TopCounters {
    uint64_t loops = 0, busy = 0, sleeps = 0, wakes = 0, rings = 0;
};

struct TopStage { // a thread
    std::string role;
    uint32_t pid = 0, tid = 0;
    char state = '?'; // as ps shows it
    int cpu = -1;     // where it ran last
    bool pinned = false;
    uint64_t cpu_ticks = 0; // user and system, of sysconf(_SC_CLK_TCK)
    TopCounters counters;
};

struct TopRing {
    const char *name;
    uint64_t capacity, depth, moved; // moved: slots, for ever
    uint64_t depth_max = 0;          // of what was seen
};

struct TopConnection {
    uint32_t index = 0;
    std::string peer;
    wx::TransportFacts transport;
    wx::WsFacts ws;
    wx::AppFacts app;
    uint64_t inbox = 0, outbox = 0; // bytes in them
};

enum TopSpan { span_transport, span_tls, span_parse, span_whole, span_count };

struct TopSample {
    int64_t at_ns = 0; // CLOCK_MONOTONIC
    std::string placement;
    std::vector<TopStage> stages;
    std::vector<TopRing> rings;
    std::vector<TopConnection> connections;
};

// One pipeline. It may end, and what is in its region may be anything, at any time: every number is used only
// after a look at it, and every index comes from the sizes, which were checked once and cannot change.
class TopRegion {
public:
    TopRegion() = default;
    ~TopRegion();
    TopRegion(const TopRegion &) = delete;
    TopRegion &operator=(const TopRegion &) = delete;
    // Empty, or why not.
    std::string attach(const wx::NameRecord &record);
    std::string attach(int fd); // takes the descriptor
    bool ended() const;
    TopSample sample();
    // Looks at the rings only: what they hold at most, and the events that came since.
    void glance();
    const Histogram &span(int which) const { return spans_[size_t(which)]; }

private:
    void read_event(const wx::EventSlot *slot, uint64_t position);
    void read_events();
    TopRing ring(const char *name, uint64_t offset, uint64_t slots, size_t which);
    std::vector<TopRing> rings();
    void read_stages(TopSample &sample);
    void read_connections(TopSample &sample);
    const wx::ConnectionWords *words_of(uint32_t index);
    void forget(uint32_t index);

    wx::Region region_;
    int pidfd_ = -1;
    uint64_t events_seen_ = 0, ns_per_tick_q32_ = 0;
    bool looked_ = false;
    std::array<uint64_t, 12> depth_max_ = {};
    std::array<Histogram, span_count> spans_;
    std::map<uint32_t, const wx::ConnectionWords *> mapped_;
};
