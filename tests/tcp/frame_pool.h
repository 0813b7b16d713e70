// SPDX-License-Identifier: MIT
// Frames for tests of what holds references to them: each is memory of its own, which is gone when it is
// released, so that an address sanitizer sees a use after that. A second release, or one of what never was,
// fails the test.
#pragma once
#include "../../lib/tcp/frames.h"
#include "../base/check.h"
#include <map>
#include <random>
#include <stdlib.h>
#include <string>
#include <vector>

struct FramePool {
    std::map<wx::FrameId, std::string> live;
    std::vector<wx::FrameId> released; // in the order of release
    wx::FrameId last = 1000;

    wx::ByteView make(const std::string &bytes, wx::FrameId *frame) {
        *frame = ++last;
        return view(live[*frame] = bytes);
    }
    // What the caller was left with.
    void take_back(wx::FrameId frame) {
        if (live.erase(frame) != 1)
            fail_msg("frame %llu is not live", static_cast<unsigned long long>(frame));
    }
    wx::FrameRelease release() {
        return {[](void *context, wx::FrameId frame) {
                    static_cast<FramePool *>(context)->take_back(frame);
                    static_cast<FramePool *>(context)->released.push_back(frame);
                },
                this};
    }
};

struct Random {
    unsigned long seed;
    std::mt19937 engine;
    Random() : seed(getenv("WSXDP_SEED") ? strtoul(getenv("WSXDP_SEED"), nullptr, 10) : 1), engine(seed) {}
    uint32_t below(uint32_t limit) { return static_cast<uint32_t>(engine()) % limit; }
    std::string bytes(uint32_t size) {
        std::string result(size, '\0');
        for (char &c : result) c = static_cast<char>(engine());
        return result;
    }
};
