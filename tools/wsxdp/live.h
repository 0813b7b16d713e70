// SPDX-License-Identifier: MIT
// The live line's text.
#pragma once
#include "counts.h"

#include <string>

class LiveLine {
public:
    static constexpr int64_t interval_ns = 250000000; // redrawn four times a second

    bool due(int64_t now_ns) const { return now_ns >= next_ns_; }
    int64_t next_ns() const { return next_ns_; }
    // What the line says until the next message rate: "connecting to ...".
    void set_state(std::string state) { state_ = std::move(state); }
    std::string compose(Counts &counts, int64_t now_ns);

private:
    static constexpr size_t history = 5; // marks a quarter of a second apart: rates over the last second
    struct Mark {
        int64_t at_ns = 0;
        uint64_t messages = 0, bytes = 0;
    };
    Mark marks_[history] = {};
    size_t mark_count_ = 0;
    int64_t next_ns_ = 0;
    std::string state_;
};
