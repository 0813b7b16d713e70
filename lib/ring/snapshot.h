// SPDX-License-Identifier: MIT
// One writer's facts in shared memory, read by anybody at any time: the reader copies and then looks whether
// the writer was at it meanwhile (a sequence lock). The writer never waits. The copies go by words that are
// atomic each, so that reading beside a write is no race, only void.
#pragma once
#include "../base/cpu.h"
#include <atomic>
#include <string.h>
#include <type_traits>

namespace wx {

// A writer that was killed in the middle of a write leaves an odd number behind for ever, and a broken one
// may change it at any time: nobody looks longer than this often.
constexpr unsigned snapshot_tries = 64;

template <class Value> struct alignas(cache_line_pair) Snapshot {
    static_assert(std::is_trivially_copyable<Value>::value, "it crosses process boundaries");
    static_assert(sizeof(Value) % sizeof(uint64_t) == 0, "it goes by words");
    static constexpr size_t count = sizeof(Value) / sizeof(uint64_t);
    std::atomic<uint64_t> sequence; // odd: being written
    std::atomic<uint64_t> words[count];

    void write(const Value &value) {
        uint64_t copy[count];
        memcpy(copy, &value, sizeof copy);
        const uint64_t before = sequence.load(std::memory_order_relaxed) | 1;
        sequence.store(before, std::memory_order_relaxed);
        // The odd number before any of the words: a reader that sees one of them sees that it must not.
        std::atomic_thread_fence(std::memory_order_release);
        for (size_t i = 0; i < count; i++) words[i].store(copy[i], std::memory_order_relaxed);
        sequence.store(before + 1, std::memory_order_release);
    }
    // false: it was being written all the time; *out is as it was.
    bool read(Value *out) const {
        for (unsigned tries = 0; tries < snapshot_tries; tries++) {
            uint64_t copy[count];
            const uint64_t before = sequence.load(std::memory_order_acquire);
            for (size_t i = 0; i < count; i++) copy[i] = words[i].load(std::memory_order_relaxed);
            // The words before the second look at the number; pairs with the writer's fence.
            std::atomic_thread_fence(std::memory_order_acquire);
            if (before % 2 != 0 || sequence.load(std::memory_order_relaxed) != before) {
                cpu_relax();
                continue;
            }
            memcpy(out, copy, sizeof copy);
            return true;
        }
        return false;
    }
};

} // namespace wx
