// SPDX-License-Identifier: MIT
// Latencies of received messages, by stage. Of a message that came in several packets the last one counts:
// before it the message could not have been delivered. Never allocates after construction. A stage that the
// transport has no time for is left out; spans that come out negative, because two clocks are compared, count
// as 0.
#include "latency.h"

#include <algorithm>
#include <cmath>

size_t Histogram::bucket_of(uint64_t value) {
    if (value < (1u << precision_bits)) return size_t(value);
    unsigned exponent = 63u - unsigned(__builtin_clzll(value));
    unsigned shift = exponent - precision_bits;
    uint64_t mantissa = (value >> shift) & ((1u << precision_bits) - 1);
    return size_t((uint64_t(shift + 1) << precision_bits) + mantissa);
}

uint64_t Histogram::bucket_top(size_t bucket) {
    if (bucket < (1u << precision_bits)) return bucket;
    unsigned shift = unsigned(bucket >> precision_bits) - 1;
    uint64_t mantissa = bucket & ((1u << precision_bits) - 1);
    return ((mantissa + (1u << precision_bits) + 1) << shift) - 1;
}

void Histogram::record(int64_t value) {
    int64_t clamped = std::max<int64_t>(value, 0);
    counts_[bucket_of(uint64_t(clamped))]++;
    count_++;
    max_ = std::max(max_, clamped);
}

void Histogram::clear() {
    if (count_ == 0) return;
    std::fill(counts_.begin(), counts_.end(), 0);
    count_ = 0;
    max_ = 0;
}

int64_t Histogram::percentile(double percent) const {
    if (count_ == 0) return 0;
    auto wanted = uint64_t(std::ceil(double(count_) * percent / 100.0));
    wanted = std::clamp<uint64_t>(wanted, 1, count_);
    uint64_t seen = 0;
    for (size_t bucket = 0; bucket < bucket_count; bucket++) {
        seen += counts_[bucket];
        if (seen >= wanted) return std::min(int64_t(bucket_top(bucket)), max_);
    }
    return max_;
}

StageName stage_name(int stage) {
    static const StageName names[stage_count] = {
        {"nic to kernel", "nic_to_kernel"},
        {"kernel to read", "kernel_to_read"},
        {"read to decrypted", "read_to_decrypted"},
        {"to parsed", "to_parsed"},
        {"parsed to delivered", "parsed_to_delivered"},
        {"kernel to delivered", "kernel_to_delivered"},
        {"sender to delivered", "sender_to_delivered"},
    };
    return names[stage];
}

void LatencyTable::record_span(int stage, int64_t from_ns, int64_t to_ns) {
    if (from_ns == 0 || to_ns == 0) return;
    stages_[size_t(stage)].record(to_ns - from_ns);
}

void LatencyTable::record(const wsxdp_event &event, int64_t delivered_ns) {
    record_span(stage_nic_to_kernel, event.nic_last_ns, event.kernel_last_ns);
    record_span(stage_kernel_to_read, event.kernel_last_ns, event.poll_last_ns);
    record_span(stage_read_to_decrypted, event.poll_last_ns, event.tls_last_ns);
    record_span(stage_to_parsed, event.tls_last_ns ? event.tls_last_ns : event.poll_last_ns, event.parse_ns);
    record_span(stage_parsed_to_delivered, event.parse_ns, delivered_ns);
    record_span(stage_kernel_to_delivered, event.kernel_last_ns, delivered_ns);
    if (event.kernel_last_ns) windows_[running_].delivered.record(delivered_ns - event.kernel_last_ns);
}

void LatencyTable::record_one_way(int64_t sent_ns, int64_t delivered_ns) {
    if (sent_ns > delivered_ns) from_the_future_++;
    stages_[stage_one_way].record(delivered_ns - sent_ns);
    windows_[running_].one_way.record(delivered_ns - sent_ns);
}

void LatencyTable::turn_window() {
    running_ = 1 - running_;
    windows_[running_].delivered.clear();
    windows_[running_].one_way.clear();
    turned_ = true;
}

const Histogram &LatencyTable::recent(int stage) const {
    const Window &window = windows_[turned_ ? 1 - running_ : running_];
    return stage == stage_one_way ? window.one_way : window.delivered;
}
