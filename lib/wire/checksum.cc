// SPDX-License-Identifier: MIT
// The Internet checksum, as wide as the processor allows. Ones' complement sums do not care how words are
// grouped, so 64-bit words are added with their carries and folded once at the end; the order of bytes
// cancels out too (RFC 1071 section 2). Never reads or writes outside the given sizes, whatever the
// alignment. Worst case: sizes below a vector, which go by words.
#include "checksum.h"
#include "../base/cpu.h"
#include <atomic>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace wx {
namespace {

// Headers go by words at once: what a wider code saves there is less than finding it costs.
constexpr size_t small_bytes_max = 63;

inline uint32_t load32(const uint8_t *p) {
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

inline uint64_t add_carry(uint64_t a, uint64_t b) {
    const uint64_t sum = a + b;
    return sum + (sum < b);
}

inline uint64_t narrow(unsigned __int128 sum) {
    return add_carry(static_cast<uint64_t>(sum), static_cast<uint64_t>(sum >> 64));
}

template <class Word> inline uint64_t take(uint8_t *to, const uint8_t *from, bool copying) {
    Word word;
    memcpy(&word, from, sizeof word);
    if (copying) memcpy(to, &word, sizeof word);
    return word;
}

// Below eight bytes. The last of an odd number of bytes is the first of a word, with zero behind it.
template <bool copying> inline uint64_t sum_tail(uint8_t *to, const uint8_t *from, size_t size) {
    uint64_t sum = 0;
    if (size & 4) {
        sum += take<uint32_t>(to, from, copying);
        from += 4, to += copying ? 4 : 0;
    }
    if (size & 2) {
        sum += take<uint16_t>(to, from, copying);
        from += 2, to += copying ? 2 : 0;
    }
    if (size & 1) {
        uint16_t word = 0;
        memcpy(&word, from, 1);
        if (copying) *to = *from;
        sum += word;
    }
    return sum;
}

// Two sums, so that an addition need not wait for the one before it; their upper halves count the carries.
template <bool copying> inline uint64_t sum_words(uint8_t *to, const uint8_t *from, size_t size) {
    unsigned __int128 even = 0, odd = 0;
    for (; size >= 32; size -= 32, from += 32, to += copying ? 32 : 0) {
        even += take<uint64_t>(to, from, copying);
        odd += take<uint64_t>(to + (copying ? 8 : 0), from + 8, copying);
        even += take<uint64_t>(to + (copying ? 16 : 0), from + 16, copying);
        odd += take<uint64_t>(to + (copying ? 24 : 0), from + 24, copying);
    }
    for (; size >= 8; size -= 8, from += 8, to += copying ? 8 : 0) even += take<uint64_t>(to, from, copying);
    odd += sum_tail<copying>(to, from, size);
    return narrow(even + odd);
}

ChecksumSum sum_plain(const uint8_t *data, size_t size) {
    return checksum_fold(sum_words<false>(nullptr, data, size));
}
// Of more than a header, the C library's copy is so much wider that reading twice costs less.
ChecksumSum copy_plain(uint8_t *to, const uint8_t *from, size_t size) {
    if (size <= small_bytes_max) return checksum_fold(sum_words<true>(to, from, size));
    memcpy(to, from, size);
    return sum_plain(to, size);
}

#if defined(__x86_64__)

// Vectors of 64-bit lanes. `total` is the lanes' sum modulo 2^64, `upper` that of their upper halves,
// exactly; the sum of the lower halves is then what total has beyond upper, and no carry is lost. Lanes
// overflow after 2^32 vectors, more than any packet has.
#define WX_AVX2 __attribute__((target("avx2"), always_inline)) inline

struct Lanes {
    __m256i total, upper;
};

WX_AVX2 __m256i load_vector(const uint8_t *p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p));
}
WX_AVX2 void add_vector(Lanes &lanes, __m256i v) {
    lanes.total = _mm256_add_epi64(lanes.total, v);
    lanes.upper = _mm256_add_epi64(lanes.upper, _mm256_srli_epi64(v, 32));
}
template <bool copying> WX_AVX2 void take_vector(Lanes &lanes, uint8_t *to, const uint8_t *from) {
    const __m256i v = load_vector(from);
    if (copying) _mm256_storeu_si256(reinterpret_cast<__m256i *>(to), v);
    add_vector(lanes, v);
}

WX_AVX2 uint64_t lanes_sum(const Lanes &lanes) {
    const __m256i lower = _mm256_sub_epi64(lanes.total, _mm256_slli_epi64(lanes.upper, 32));
    const __m256i both = _mm256_add_epi64(lower, lanes.upper);
    const __m128i pair = _mm_add_epi64(_mm256_castsi256_si128(both), _mm256_extracti128_si256(both, 1));
    return static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_add_epi64(pair, _mm_unpackhi_epi64(pair, pair))));
}

// Zeros for what was summed before, ones for what was not.
alignas(64) const uint8_t end_mask[64] = {
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
    0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF};

// 32 bytes at least: the end is read with the vector that ends there, which overlaps the one before.
template <bool copying> WX_AVX2 ChecksumSum sum_vectors(uint8_t *to, const uint8_t *from, size_t size) {
    Lanes a{_mm256_setzero_si256(), _mm256_setzero_si256()}, b = a;
    const size_t even = size & ~size_t{1};
    size_t at = 0;
    for (; at + 128 <= even; at += 128) {
        take_vector<copying>(a, to + (copying ? at : 0), from + at);
        take_vector<copying>(b, to + (copying ? at + 32 : 0), from + at + 32);
        take_vector<copying>(a, to + (copying ? at + 64 : 0), from + at + 64);
        take_vector<copying>(b, to + (copying ? at + 96 : 0), from + at + 96);
    }
    for (; at + 32 <= even; at += 32) take_vector<copying>(a, to + (copying ? at : 0), from + at);
    const __m256i v = load_vector(from + even - 32);
    if (copying) _mm256_storeu_si256(reinterpret_cast<__m256i *>(to + even - 32), v);
    add_vector(b, _mm256_and_si256(v, load_vector(end_mask + (even - at))));
    a.total = _mm256_add_epi64(a.total, b.total);
    a.upper = _mm256_add_epi64(a.upper, b.upper);
    uint64_t sum = lanes_sum(a);
    if (size & 1) sum += sum_tail<copying>(to + (copying ? even : 0), from + even, 1);
    return checksum_fold(sum);
}

__attribute__((target("avx2"))) ChecksumSum sum_avx2(const uint8_t *data, size_t size) {
    return size < 32 ? sum_plain(data, size) : sum_vectors<false>(nullptr, data, size);
}
__attribute__((target("avx2"))) ChecksumSum copy_avx2(uint8_t *to, const uint8_t *from, size_t size) {
    return size < 32 ? copy_plain(to, from, size) : sum_vectors<true>(to, from, size);
}

#endif

const ChecksumCode codes[] = {
    {"plain", sum_plain, copy_plain},
#if defined(__x86_64__)
    {"avx2", sum_avx2, copy_avx2},
#endif
};

inline size_t usable_codes() {
#if defined(__x86_64__)
    return cpu_features().avx2 ? 2 : 1;
#else
    return 1;
#endif
}

ChecksumSum sum_first(const uint8_t *data, size_t size);
ChecksumSum copy_first(uint8_t *to, const uint8_t *from, size_t size);
// Every thread that finds the first value stores the same second one, so relaxed order is enough.
std::atomic<decltype(ChecksumCode::sum)> sum_code{sum_first};
std::atomic<decltype(ChecksumCode::copy)> copy_code{copy_first};

ChecksumSum sum_first(const uint8_t *data, size_t size) {
    const ChecksumCode &best = codes[usable_codes() - 1];
    sum_code.store(best.sum, std::memory_order_relaxed);
    return best.sum(data, size);
}
ChecksumSum copy_first(uint8_t *to, const uint8_t *from, size_t size) {
    const ChecksumCode &best = codes[usable_codes() - 1];
    copy_code.store(best.copy, std::memory_order_relaxed);
    return best.copy(to, from, size);
}

} // namespace

ChecksumSum checksum_sum(const uint8_t *data, size_t size) {
    if (size <= small_bytes_max) return sum_plain(data, size);
    return sum_code.load(std::memory_order_relaxed)(data, size);
}

ChecksumSum checksum_copy(uint8_t *to, const uint8_t *from, size_t size) {
    if (size <= small_bytes_max) return copy_plain(to, from, size);
    return copy_code.load(std::memory_order_relaxed)(to, from, size);
}

ChecksumSum checksum_pseudo(const uint8_t *source, const uint8_t *destination, size_t address_size,
                            uint8_t protocol, uint32_t length) {
    uint8_t rest[8] = {0, 0, 0, 0, 0, 0, 0, protocol};
    store_be32(rest, length); // IPv4 has 16 bits for it, which sum up to the same
    uint64_t sum = uint64_t{load32(rest)} + load32(rest + 4) + load32(source) + load32(destination);
    if (address_size == 16) {
        for (size_t at = 4; at < 16; at += 4) sum += uint64_t{load32(source + at)} + load32(destination + at);
    }
    return checksum_fold(sum);
}

size_t checksum_codes(const ChecksumCode **out) {
    *out = codes;
    return usable_codes();
}

} // namespace wx
