// SPDX-License-Identifier: MIT
// UTF-8 in pieces of any size. Keeps one word of state between pieces, never reads outside a piece and never
// passes a byte that no valid text can have at its place, not even one that only a later piece would show to
// be wrong. Worst case: pieces of a few bytes, or no AVX2 and no ASCII, which go byte by byte.
#include "utf8.h"
#include "../base/cpu.h"
#include "utf8_simd.h"
#include <atomic>
#include <string.h>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace wx {
namespace {

constexpr uint32_t expect(uint32_t missing, uint32_t lowest, uint32_t highest) {
    return missing | lowest << 8 | highest << 16;
}
constexpr uint32_t invalid = UINT32_MAX;

// The table of well-formed byte sequences of RFC 3629 section 4, by lead byte.
inline uint32_t after_lead(uint8_t byte) {
    if (byte < 0x80) return 0;
    if (byte < 0xC2) return invalid;
    if (byte < 0xE0) return expect(1, 0x80, 0xBF);
    if (byte == 0xE0) return expect(2, 0xA0, 0xBF);
    if (byte == 0xED) return expect(2, 0x80, 0x9F);
    if (byte < 0xF0) return expect(2, 0x80, 0xBF);
    if (byte == 0xF0) return expect(3, 0x90, 0xBF);
    if (byte < 0xF4) return expect(3, 0x80, 0xBF);
    if (byte == 0xF4) return expect(3, 0x80, 0x8F);
    return invalid;
}

inline uint32_t after_byte(uint32_t state, uint8_t byte) {
    if (state == 0) return after_lead(byte);
    if (byte < (state >> 8 & 0xFF) || byte > state >> 16) return invalid;
    const uint32_t missing = (state & 0xFF) - 1;
    return missing ? expect(missing, 0x80, 0xBF) : 0;
}

inline bool ascii_16(const uint8_t *data) {
#if defined(__SSE2__)
    return _mm_movemask_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i *>(data))) == 0;
#else
    uint64_t words[2];
    memcpy(words, data, 16);
    return ((words[0] | words[1]) & 0x8080808080808080) == 0;
#endif
}

inline bool ascii_64(const uint8_t *data) {
#if defined(__SSE2__)
    const __m128i *at = reinterpret_cast<const __m128i *>(data);
    const __m128i x = _mm_or_si128(_mm_loadu_si128(at), _mm_loadu_si128(at + 1));
    const __m128i y = _mm_or_si128(_mm_loadu_si128(at + 2), _mm_loadu_si128(at + 3));
    return _mm_movemask_epi8(_mm_or_si128(x, y)) == 0;
#else
    return ascii_16(data) && ascii_16(data + 16) && ascii_16(data + 32) && ascii_16(data + 48);
#endif
}

template <class Word> inline bool ascii_ends(const uint8_t *data, size_t size) {
    Word first, last;
    memcpy(&first, data, sizeof first);
    memcpy(&last, data + size - sizeof last, sizeof last);
    return ((first | last) & static_cast<Word>(0x8080808080808080)) == 0;
}

// Whether all of a small text is ASCII; reads that overlap spare the bytes at the end.
inline bool ascii_small(const uint8_t *data, size_t size) {
    if (size >= 16) {
        size_t at = 0;
        for (; at + 64 <= size; at += 64) {
            if (!ascii_64(data + at)) return false;
        }
        for (; at + 16 < size; at += 16) {
            if (!ascii_16(data + at)) return false;
        }
        return ascii_16(data + size - 16);
    }
    if (size >= 8) return ascii_ends<uint64_t>(data, size);
    if (size >= 4) return ascii_ends<uint32_t>(data, size);
    if (size >= 2) return ascii_ends<uint16_t>(data, size);
    return size == 0 || data[0] < 0x80;
}

bool feed_bytes(uint32_t *state, const uint8_t *data, size_t size) {
    uint32_t now = *state;
    for (size_t at = 0; at < size; at++) {
        if (now == 0 && data[at] < 0x80) {
            while (at + 16 <= size && ascii_16(data + at)) at += 16;
            if (at == size) break;
        }
        now = after_byte(now, data[at]);
        if (now == invalid) return false;
    }
    *state = now;
    return true;
}

// How many bytes at the end may belong to a code point that is not complete.
inline size_t open_end(const uint8_t *data, size_t size) {
    if (size >= 1 && data[size - 1] >= 0xC0) return 1;
    if (size >= 2 && data[size - 2] >= 0xE0) return 2;
    if (size >= 3 && data[size - 3] >= 0xF0) return 3;
    return 0;
}

using WholeKernel = bool (*)(const uint8_t *, size_t);

// Most messages are small and ASCII: up to this size that is looked at first, before a kernel is.
constexpr size_t ascii_bytes_max = 512;

// Below this the vector code's preparation costs more than it saves.
constexpr size_t simd_bytes_min = 12;

bool whole_bytes(const uint8_t *data, size_t size) {
    uint32_t state = 0;
    return feed_bytes(&state, data, size) && state == 0;
}

WholeKernel best_kernel(unsigned width) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool wide = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi");
    if (width >= 64 && wide) return utf8_whole_avx512;
    if (width >= 32 && cpu_features().avx2) return utf8_whole_avx2;
#endif
    (void)width;
    return whole_bytes;
}

bool whole_first(const uint8_t *data, size_t size);
// Every thread that finds the first value stores the same second one, so relaxed order is enough.
std::atomic<WholeKernel> whole_kernel{whole_first};

bool whole_first(const uint8_t *data, size_t size) {
    const WholeKernel best = best_kernel(64);
    whole_kernel.store(best, std::memory_order_relaxed);
    return best(data, size);
}

[[gnu::noinline]] bool feed_rest(uint32_t *state, const uint8_t *data, size_t size) {
    if (size < simd_bytes_min) return feed_bytes(state, data, size);
    const size_t open = open_end(data, size);
    if (!whole_kernel.load(std::memory_order_relaxed)(data, size - open)) return false;
    return open == 0 || feed_bytes(state, data + size - open, open);
}

} // namespace

bool Utf8::feed(const uint8_t *data, size_t size) {
    if (state == 0 && size <= ascii_bytes_max && ascii_small(data, size)) return true;
    return feed_behind(data, size);
}

bool Utf8::feed_behind(const uint8_t *data, size_t size) {
    while (state && size) {
        state = after_byte(state, *data);
        if (state == invalid) return false;
        data++, size--;
    }
    return feed_rest(&state, data, size);
}

bool utf8_valid(const uint8_t *data, size_t size) {
    if (size <= ascii_bytes_max && ascii_small(data, size)) return true;
    uint32_t state = 0;
    return feed_rest(&state, data, size) && state == 0;
}

void utf8_simd_limit(unsigned width) { whole_kernel.store(best_kernel(width), std::memory_order_relaxed); }

} // namespace wx
