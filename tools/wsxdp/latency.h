// SPDX-License-Identifier: MIT
// Latencies of received messages, by stage, as percentiles.
#pragma once
#include "../../include/wsxdp.h"

#include <array>
#include <cstdint>
#include <vector>

// Counts durations in buckets whose width is 1/128 of their value or less, so that a percentile is at most
// 0.8 % too high and never too low. HdrHistogram_c would do the same; Debian 12 has no package of it.
class Histogram {
public:
    Histogram() : counts_(bucket_count, 0) {}
    void record(int64_t value); // below 0 counts as 0
    void clear();
    uint64_t count() const { return count_; }
    int64_t max() const { return max_; }
    // The least value that `percent` of all recorded values do not exceed, within a bucket's width.
    int64_t percentile(double percent) const;

private:
    static constexpr unsigned precision_bits = 7;
    static constexpr size_t bucket_count = (64 - precision_bits) << precision_bits;
    static size_t bucket_of(uint64_t value);
    static uint64_t bucket_top(size_t bucket);

    std::vector<uint64_t> counts_;
    uint64_t count_ = 0;
    int64_t max_ = 0;
};

enum LatencyStage {
    stage_nic_to_kernel,
    stage_kernel_to_read,
    stage_read_to_decrypted,
    stage_to_parsed, // from decrypted, or from read where there is no TLS
    stage_parsed_to_delivered,
    stage_kernel_to_delivered,
    stage_one_way, // from the sender's own time stamp to delivered
    stage_count
};

struct StageName {
    const char *text; // for people
    const char *key;  // for JSON
};
StageName stage_name(int stage);

// Every stage's latencies since the start, and those of the last second or so for the live line.
class LatencyTable {
public:
    // delivered_ns: when wsxdp_poll returned the event, CLOCK_REALTIME.
    void record(const wsxdp_event &event, int64_t delivered_ns);
    // sent_ns: the sender's time stamp. A message from the future means that the clocks differ.
    void record_one_way(int64_t sent_ns, int64_t delivered_ns);
    // Makes the running window the one that recent() shows, and starts another.
    void turn_window();

    const Histogram &stage(int stage) const { return stages_[size_t(stage)]; }
    // Only for stage_kernel_to_delivered and stage_one_way.
    const Histogram &recent(int stage) const;
    uint64_t from_the_future() const { return from_the_future_; }

private:
    struct Window {
        Histogram delivered, one_way;
    };
    void record_span(int stage, int64_t from_ns, int64_t to_ns);

    std::array<Histogram, stage_count> stages_;
    std::array<Window, 2> windows_;
    size_t running_ = 0;
    bool turned_ = false;
    uint64_t from_the_future_ = 0;
};
