// SPDX-License-Identifier: MIT
// Arithmetic modulo 2^32 (RFC 9293 section 3.4, RFC 7323 for timestamps): valid for numbers less than 2^31
// apart.
#pragma once
#include <stdint.h>

namespace wx {

inline int32_t seq_diff(uint32_t a, uint32_t b) { return static_cast<int32_t>(a - b); } // a - b
inline bool seq_before(uint32_t a, uint32_t b) { return seq_diff(a, b) < 0; }
inline bool seq_after(uint32_t a, uint32_t b) { return seq_diff(a, b) > 0; }
inline bool seq_until(uint32_t a, uint32_t b) { return seq_diff(a, b) <= 0; } // before or equal
inline uint32_t seq_max(uint32_t a, uint32_t b) { return seq_before(a, b) ? b : a; }
inline uint32_t seq_min(uint32_t a, uint32_t b) { return seq_before(a, b) ? a : b; }

} // namespace wx
