// SPDX-License-Identifier: MIT
// UTF-8 by table lookup, 32 bytes at a time (the method of Keiser and Lemire, "Validating UTF-8 in less than
// one instruction per byte", 2020). Never reads outside data: what is left below a vector is copied to a
// padded one. Worst case: text without ASCII, which runs at the speed of the lookups.
#include "utf8_simd.h"
#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

namespace wx {
namespace {

// Two neighbouring bytes are wrong if they match one of these rules. A rule looks at three nibbles: high and
// low of the earlier byte, high of the later one; bit n of a field is set when nibble value n matches. One
// rule is one bit of a table entry, so three lookups and two ANDs try all eight rules at once.
struct PairRule {
    uint16_t earlier_high;
    uint16_t earlier_low;
    uint16_t later_high;
};
constexpr uint16_t any_nibble = 0xFFFF;
constexpr uint16_t continuation_high = 0x0F00; // 8 9 A B
constexpr PairRule pair_rules[8] = {
    {0xF000, any_nibble, 0xF0FF},            // a lead byte, then no continuation
    {0x00FF, any_nibble, continuation_high}, // ASCII, then a continuation
    {0x1000, 0x0003, continuation_high},     // C0 C1: two bytes where one is enough
    {0x4000, 0x0001, 0x0300},                // E0 80..9F: three bytes where two are enough
    {0x4000, 0x2000, 0x0C00},                // ED A0..BF: surrogates
    {0x8000, 0xFFE1, 0x0100},                // F0 80..8F: four where three are enough; F5..FF
    {0x8000, 0xFFF0, 0x0E00},                // F4 90..BF: past U+10FFFF; F5..FF
    {0x0F00, any_nibble, continuation_high}, // two continuations: right only as third or fourth byte
};

struct NibbleTable {
    uint8_t entry[16];
};

enum class Column { earlier_high, earlier_low, later_high };

constexpr NibbleTable nibble_table(Column column) {
    NibbleTable table{};
    for (int rule = 0; rule < 8; rule++) {
        const PairRule &r = pair_rules[rule];
        const uint16_t set = column == Column::earlier_high  ? r.earlier_high
                             : column == Column::earlier_low ? r.earlier_low
                                                             : r.later_high;
        for (int nibble = 0; nibble < 16; nibble++) {
            if (set >> nibble & 1)
                table.entry[nibble] = static_cast<uint8_t>(table.entry[nibble] | 1 << rule);
        }
    }
    return table;
}

constexpr NibbleTable earlier_high_table = nibble_table(Column::earlier_high);
constexpr NibbleTable earlier_low_table = nibble_table(Column::earlier_low);
constexpr NibbleTable later_high_table = nibble_table(Column::later_high);

#define WX_AVX2 __attribute__((target("avx2"), always_inline)) inline

struct Utf8Vectors {
    __m256i earlier_high, earlier_low, later_high;
    __m256i error;
};

WX_AVX2 __m256i twice(const NibbleTable &table) {
    return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(table.entry)));
}

WX_AVX2 __m256i load(const uint8_t *data) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(data));
}

// Adds to v.error whatever is wrong with the pairs that end in input.
WX_AVX2 void check(Utf8Vectors &v, __m256i input, __m256i back1, __m256i back2, __m256i back3) {
    const __m256i low = _mm256_set1_epi8(0x0F);
    const __m256i a = _mm256_shuffle_epi8(v.earlier_high, _mm256_and_si256(_mm256_srli_epi16(back1, 4), low));
    const __m256i b = _mm256_shuffle_epi8(v.earlier_low, _mm256_and_si256(back1, low));
    const __m256i c = _mm256_shuffle_epi8(v.later_high, _mm256_and_si256(_mm256_srli_epi16(input, 4), low));
    const __m256i wrong = _mm256_and_si256(_mm256_and_si256(a, b), c);
    // Third and fourth bytes: E0..FF two back or F0..FF three back leave the top bit set here. They must
    // be a second continuation in a row (rule 7, also the top bit), and nothing else may be.
    const __m256i third = _mm256_subs_epu8(back2, _mm256_set1_epi8(0x60));
    const __m256i fourth = _mm256_subs_epu8(back3, _mm256_set1_epi8(0x70));
    const __m256i must = _mm256_and_si256(_mm256_or_si256(third, fourth), _mm256_set1_epi8(-128));
    v.error = _mm256_or_si256(v.error, _mm256_xor_si256(must, wrong));
}

// Three bytes in front of at must be part of the text. Returns the bytes at it.
WX_AVX2 __m256i check_at(Utf8Vectors &v, const uint8_t *at) {
    const __m256i input = load(at);
    check(v, input, load(at - 1), load(at - 2), load(at - 3));
    return input;
}

// Through a copy: the beginning, with nothing in front, or the end, with zeros behind.
WX_AVX2 void check_edge(Utf8Vectors &v, const uint8_t *at, size_t before, size_t left) {
    uint8_t copy[64] = {0};
    if (before > 3) before = 3;
    memcpy(copy + 32 - before, at - before, before + (left < 32 ? left : 32));
    check_at(v, copy + 32);
}

// Length of the beginning of data that is ASCII, in steps of 128 bytes.
WX_AVX2 size_t skip_ascii(const uint8_t *data, size_t size) {
    size_t at = 0;
    for (; at + 128 <= size; at += 128) {
        const __m256i x = _mm256_or_si256(load(data + at), load(data + at + 32));
        const __m256i y = _mm256_or_si256(load(data + at + 64), load(data + at + 96));
        if (_mm256_movemask_epi8(_mm256_or_si256(x, y))) break;
    }
    return at;
}

} // namespace

__attribute__((target("avx2"))) bool utf8_whole_avx2(const uint8_t *data, size_t size) {
    Utf8Vectors v{twice(earlier_high_table), twice(earlier_low_table), twice(later_high_table),
                  _mm256_setzero_si256()};
    size_t at = skip_ascii(data, size);
    if (at == 0 && size >= 32) {
        check_edge(v, data, 0, size);
        at = 32;
    }
    while (at + 128 <= size) {
        const __m256i x = _mm256_or_si256(check_at(v, data + at), check_at(v, data + at + 32));
        const __m256i y = _mm256_or_si256(check_at(v, data + at + 64), check_at(v, data + at + 96));
        at += 128;
        if (!_mm256_testz_si256(v.error, v.error)) return false;
        // Behind ASCII nothing is open, so the lookups may be left; a whole block of it says that it is worth
        // it.
        if (!_mm256_movemask_epi8(_mm256_or_si256(x, y))) at += skip_ascii(data + at, size - at);
    }
    for (; at + 32 <= size; at += 32) check_at(v, data + at);
    // The zero behind the last byte shows a code point that is not complete.
    check_edge(v, data + at, at, size - at);
    return _mm256_testz_si256(v.error, v.error) != 0;
}

} // namespace wx
#endif
