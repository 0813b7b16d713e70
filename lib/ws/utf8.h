// SPDX-License-Identifier: MIT
// Incremental UTF-8 validation (RFC 3629): fails on the first byte that cannot continue a valid text, even in
// the middle of a code point that is not complete yet. SIMD where there is any.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace wx {

struct Utf8 {
    // 0 between code points; else the continuation bytes still missing in bits 0..7, and the range that the
    // next one must be in: lowest in bits 8..15, highest in bits 16..23.
    uint32_t state = 0;

    // false: invalid at some byte of data; the state is then spent.
    bool feed(const uint8_t *data, size_t size);
    bool complete() const { return state == 0; }

private:
    bool feed_behind(const uint8_t *data, size_t size);
};

// A whole text at once.
bool utf8_valid(const uint8_t *data, size_t size);

// For tests and benchmarks: the widest vectors in bytes that may be used, 0 for none. Results are the same.
void utf8_simd_limit(unsigned width);

} // namespace wx
