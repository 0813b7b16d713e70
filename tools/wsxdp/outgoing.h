// SPDX-License-Identifier: MIT
// Messages to be sent: those of --send and the lines of standard input.
#pragma once
#include "../../include/wsxdp.h"

#include <deque>
#include <string>

class Outgoing {
public:
    explicit Outgoing(bool binary) : opcode_(binary ? WSXDP_BINARY : WSXDP_TEXT) {}
    void add(std::string message) { queue_.push_back(std::move(message)); }
    bool empty() const { return queue_.empty(); }
    // While it is full standard input is not read.
    bool full() const { return queue_.size() >= queue_max; }
    // Sends what the connection takes. Returns how many went out, or the error of the message that cannot be
    // sent, which is then dropped.
    int pump(wsxdp *handle);

private:
    static constexpr size_t queue_max = 1024;
    uint32_t opcode_;
    std::deque<std::string> queue_;
};

// Lines from a descriptor, without blocking longer than one read of what is there.
class LineReader {
public:
    explicit LineReader(int descriptor) : descriptor_(descriptor) {}
    bool ended() const { return ended_; }
    // Call when the descriptor is readable. A last line without a line feed counts. A line longer than
    // line_max comes in pieces.
    void read_into(Outgoing &outgoing);

private:
    static constexpr size_t line_max = 16u << 20;
    int descriptor_;
    bool ended_ = false;
    std::string partial_;
};
