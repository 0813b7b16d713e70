// SPDX-License-Identifier: MIT
// The vector parts of utf8.cc, used when the processor has what they need.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace wx {

// A text that begins and ends between code points: whether all of it is valid.
bool utf8_whole_avx2(const uint8_t *data, size_t size);
bool utf8_whole_avx512(const uint8_t *data, size_t size); // AVX-512 BW and VBMI

} // namespace wx
