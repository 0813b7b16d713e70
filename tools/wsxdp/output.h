// SPDX-License-Identifier: MIT
// Standard output, buffered by the batch.
#pragma once
#include <string>
#include <string_view>

class Output {
public:
    explicit Output(int descriptor) : descriptor_(descriptor) {}
    void append(std::string_view bytes);
    void append(char byte) { buffer_ += byte; }
    std::string &buffer() { return buffer_; } // to append to directly
    // Writes what was appended; blocks while the reader is slow, which in turn slows the sender.
    void flush();
    void flush_if_large();
    // After a write failed nothing more is written: EPIPE is a reader who has had enough.
    bool ended() const { return errno_ != 0; }
    int error_number() const { return errno_; }

private:
    bool wait_writable(int timeout_ms) const;

    int descriptor_;
    int errno_ = 0;
    std::string buffer_;
};
