// SPDX-License-Identifier: MIT
// Standard output. Blocks for as long as the reader does; once a signal asked for the end, only as long as
// the reader keeps taking something every second. Never loses or reorders bytes before that.
#include "output.h"

#include "signals.h"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <poll.h>
#include <unistd.h>

static constexpr size_t flush_threshold = 256 * 1024; // one write per batch as a rule, but bounded memory
static constexpr int patience_ms = 1000;

void Output::append(std::string_view bytes) {
    buffer_ += bytes;
    flush_if_large();
}

void Output::flush_if_large() {
    if (buffer_.size() >= flush_threshold) flush();
}

bool Output::wait_writable(int timeout_ms) const {
    pollfd wait = {descriptor_, POLLOUT, 0};
    return ::poll(&wait, 1, timeout_ms) > 0;
}

void Output::flush() {
    size_t done = 0;
    while (done < buffer_.size() && errno_ == 0) {
        size_t size = buffer_.size() - done;
        if (signal_received()) {
            if (!wait_writable(patience_ms)) errno_ = EPIPE;
            size = std::min<size_t>(size, PIPE_BUF); // a pipe that is writable has room for this much
        }
        if (errno_ != 0) break;
        ssize_t written = ::write(descriptor_, buffer_.data() + done, size);
        if (written >= 0)
            done += size_t(written);
        else if (errno == EAGAIN)
            wait_writable(patience_ms);
        else if (errno != EINTR)
            errno_ = errno;
    }
    buffer_.clear();
}
