// SPDX-License-Identifier: MIT
// Frames are memory that somebody else owns (UMEM, a test's buffers). The core holds references by number and
// says when it needs one no more.
#pragma once
#include <stdint.h>

namespace wx {

using FrameId = uint64_t;
constexpr FrameId no_frame = ~uint64_t{0};

// Called from within the core's functions; must not call back into it.
struct FrameRelease {
    void (*release)(void *context, FrameId frame) = nullptr;
    void *context = nullptr;
    void operator()(FrameId frame) const {
        if (frame != no_frame && release) release(context, frame);
    }
};

} // namespace wx
