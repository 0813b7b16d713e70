// SPDX-License-Identifier: MIT
// Masking (RFC 6455 section 5.3): exclusive-or with four bytes over and over, as wide as the processor
// allows. Never reads or writes outside the given sizes, whatever the alignment; out and data are the same or
// do not overlap. Worst case: sizes below a vector, which go by words and bytes.
#include "../base/bytes.h"
#include "../base/cpu.h"
#include "frame.h"
#include <atomic>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace wx {
namespace {

// Turns the mask so that its first byte in memory is the one for the first byte of the data.
inline uint32_t turned(uint32_t mask, unsigned phase) {
    const unsigned shift = 8 * (phase & 3);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    return shift ? mask >> shift | mask << (32 - shift) : mask;
#else
    return shift ? mask << shift | mask >> (32 - shift) : mask;
#endif
}

// Below a vector, and whatever vectors leave over; the mask begins at the first byte.
void mask_words(uint8_t *out, const uint8_t *data, size_t size, uint32_t mask) {
    const uint64_t wide = mask | static_cast<uint64_t>(mask) << 32;
    uint64_t word;
    uint32_t half;
    for (; size >= 8; size -= 8, out += 8, data += 8) {
        memcpy(&word, data, 8);
        word ^= wide;
        memcpy(out, &word, 8);
    }
    if (size >= 4) {
        memcpy(&half, data, 4);
        half ^= mask;
        memcpy(out, &half, 4);
        size -= 4, out += 4, data += 4;
    }
    uint8_t bytes[4];
    memcpy(bytes, &mask, 4);
    for (size_t i = 0; i < size; i++) out[i] = data[i] ^ bytes[i];
}

#if defined(__x86_64__)

inline __m128i load_16(const uint8_t *data) {
    return _mm_loadu_si128(reinterpret_cast<const __m128i *>(data));
}
inline void store_16(uint8_t *out, __m128i v) { _mm_storeu_si128(reinterpret_cast<__m128i *>(out), v); }

// Up to this size what a wider kernel saves is less than finding it costs.
constexpr size_t small_bytes_max = 256;

// 16 bytes at least. The last vector overlaps the one before; it is read first, since out may be data.
inline void mask_small(uint8_t *out, const uint8_t *data, size_t size, uint32_t mask) {
    const __m128i wide = _mm_set1_epi32(static_cast<int>(mask));
    const __m128i wide_at_end = _mm_set1_epi32(static_cast<int>(turned(mask, size & 3)));
    const size_t last = size - 16;
    const __m128i end = load_16(data + last);
    for (size_t at = 0; at < last; at += 16) store_16(out + at, _mm_xor_si128(load_16(data + at), wide));
    store_16(out + last, _mm_xor_si128(end, wide_at_end));
}

// A vector's load and store at one place; both kernels below step by four vectors and then by one.
void mask_sse2(uint8_t *out, const uint8_t *data, size_t size, uint32_t mask) {
    const __m128i wide = _mm_set1_epi32(static_cast<int>(mask));
    for (; size >= 64; size -= 64, out += 64, data += 64) {
#pragma GCC unroll 4
        for (int i = 0; i < 64; i += 16) {
            store_16(out + i, _mm_xor_si128(load_16(data + i), wide));
        }
    }
    for (; size >= 16; size -= 16, out += 16, data += 16) {
        store_16(out, _mm_xor_si128(load_16(data), wide));
    }
    mask_words(out, data, size, mask);
}

__attribute__((target("avx2"))) void mask_avx2(uint8_t *out, const uint8_t *data, size_t size,
                                               uint32_t mask) {
    const __m256i wide = _mm256_set1_epi32(static_cast<int>(mask));
    for (; size >= 128; size -= 128, out += 128, data += 128) {
#pragma GCC unroll 4
        for (int i = 0; i < 128; i += 32) {
            const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(data + i));
            _mm256_storeu_si256(reinterpret_cast<__m256i *>(out + i), _mm256_xor_si256(v, wide));
        }
    }
    for (; size >= 32; size -= 32, out += 32, data += 32) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i *>(data));
        _mm256_storeu_si256(reinterpret_cast<__m256i *>(out), _mm256_xor_si256(v, wide));
    }
    mask_words(out, data, size, mask);
}

using MaskKernel = void (*)(uint8_t *, const uint8_t *, size_t, uint32_t);
void mask_first(uint8_t *out, const uint8_t *data, size_t size, uint32_t mask);
// Every thread that finds the first value stores the same second one, so relaxed order is enough.
std::atomic<MaskKernel> mask_kernel{mask_first};

MaskKernel best_kernel(unsigned width) {
    if (width >= 32 && cpu_features().avx2) return mask_avx2;
    return width >= 16 ? mask_sse2 : mask_words;
}

void mask_first(uint8_t *out, const uint8_t *data, size_t size, uint32_t mask) {
    const MaskKernel best = best_kernel(32);
    mask_kernel.store(best, std::memory_order_relaxed);
    best(out, data, size, mask);
}

#endif

} // namespace

void mask_apply(uint8_t *out, const uint8_t *data, size_t size, uint32_t mask, unsigned phase) {
    mask = turned(mask, phase);
#if defined(__x86_64__)
    if (size > small_bytes_max) return mask_kernel.load(std::memory_order_relaxed)(out, data, size, mask);
    if (size >= 16) return mask_small(out, data, size, mask);
#endif
    mask_words(out, data, size, mask);
}

void mask_simd_limit(unsigned width) {
#if defined(__x86_64__)
    mask_kernel.store(best_kernel(width), std::memory_order_relaxed);
#else
    (void)width;
#endif
}

} // namespace wx
