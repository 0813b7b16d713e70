// SPDX-License-Identifier: MIT
// The live line: rates over the last second, percentiles of the last whole second, totals. Most important
// first, because a narrow terminal shows only the beginning. Never prints.
#include "live.h"

#include "format.h"

// Without the space between number and unit: every column counts here.
static std::string short_duration(int64_t duration_ns) {
    std::string text = duration_text(duration_ns);
    return text.erase(text.find(' '), 1);
}

static std::string percentiles(const char *name, const Histogram &histogram) {
    if (histogram.count() == 0) return "";
    return std::string(" | ") + name + " p50 " + short_duration(histogram.percentile(50)) + " p99 " +
           short_duration(histogram.percentile(99)) + " max " + short_duration(histogram.max());
}

std::string LiveLine::compose(Counts &counts, int64_t now_ns) {
    next_ns_ = now_ns + interval_ns;
    Mark mark = {now_ns, counts.messages, counts.payload_bytes};
    marks_[mark_count_++ % history] = mark;
    if (!state_.empty()) return state_;
    const Mark &before = mark_count_ > history ? marks_[mark_count_ % history] : marks_[0];
    double seconds = double(mark.at_ns - before.at_ns) / 1e9;
    if (seconds <= 0) return "open";
    if (mark_count_ % (history - 1) == 0) counts.latency.turn_window();

    std::string line = clock_text(now_ns - counts.start_ns) + "  " +
                       rate_text(double(mark.messages - before.messages) / seconds) + " msg/s  " +
                       bytes_text(double(mark.bytes - before.bytes) / seconds) + "/s";
    line += percentiles("kernel-app", counts.latency.recent(stage_kernel_to_delivered));
    line += percentiles("one-way", counts.latency.recent(stage_one_way));
    line += " | " + grouped(counts.messages) + " in all";
    return line;
}
