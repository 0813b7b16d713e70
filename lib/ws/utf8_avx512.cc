// SPDX-License-Identifier: MIT
// UTF-8 by table lookup, 64 bytes at a time, the idea of utf8_avx2.cc with tables that are indexed by whole
// bytes. Never reads outside data: the processor does not touch lanes that are masked off. Worst case: text
// without ASCII, at the speed of the lookups.
#include "utf8_simd.h"
#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
// gcc 12 takes the deliberately undefined operand inside its own intrinsics for a mistake.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

namespace wx {
namespace {

// What may be wrong with a byte, as seen from the byte in front of it.
enum Wrong : uint8_t {
    wrong_other = 1,          // it is no continuation
    wrong_8 = 2,              // it is 80..8F
    wrong_9 = 4,              // it is 90..9F
    wrong_ab = 8,             // it is A0..BF
    wrong_always = 16,        // it is F8..FF
    continuation_again = 128, // both are continuations: right only for the third or fourth byte
};
constexpr uint8_t wrong_continuation = wrong_8 | wrong_9 | wrong_ab;

constexpr uint8_t objections(unsigned earlier) { // of a byte from 80 to FF, by RFC 3629 section 4
    if (earlier < 0xC0) return continuation_again;
    if (earlier == 0xE0) return wrong_other | wrong_8 | wrong_9;
    if (earlier == 0xED) return wrong_other | wrong_ab;
    if (earlier == 0xF0) return wrong_other | wrong_8;
    if (earlier == 0xF4) return wrong_other | wrong_9 | wrong_ab;
    if (earlier < 0xC2 || earlier > 0xF4) return wrong_other | wrong_continuation;
    return wrong_other;
}

constexpr uint8_t properties(unsigned later) {
    if (later >= 0xF8) return wrong_other | wrong_always;
    if (later < 0x80 || later >= 0xC0) return wrong_other;
    if (later < 0x90) return wrong_8 | continuation_again;
    return continuation_again | (later < 0xA0 ? wrong_9 : wrong_ab);
}

struct Tables {
    uint8_t earlier[128]; // by the low seven bits; the last entry is also that of all ASCII
    uint8_t later[64];    // by the high six bits
};

constexpr Tables make_tables() {
    Tables t{};
    for (unsigned i = 0; i < 128; i++) t.earlier[i] = objections(i + 128) | wrong_always;
    for (unsigned i = 0; i < 64; i++) t.later[i] = properties(i << 2);
    t.earlier[127] = wrong_continuation | wrong_always; // FF itself has failed as a later byte
    return t;
}
alignas(64) constexpr Tables tables = make_tables();

#define WX_AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi"), always_inline)) inline

struct Lookup {
    __m512i earlier_low, earlier_high, later;
    __m512i error;
};

WX_AVX512 __m512i load(const uint8_t *data) { return _mm512_loadu_si512(data); }

WX_AVX512 void check(Lookup &v, __m512i input, __m512i back1, __m512i back2, __m512i back3) {
    // As a signed number every ASCII byte is above -1 = FF, so the minimum makes them all entry 127.
    const __m512i index = _mm512_min_epi8(back1, _mm512_set1_epi8(-1));
    const __m512i a = _mm512_permutex2var_epi8(v.earlier_low, index, v.earlier_high);
    const __m512i b = _mm512_permutexvar_epi8(_mm512_srli_epi16(input, 2), v.later); // only six bits count
    // Third and fourth bytes: E0..FF two back or F0..FF three back leave the top bit set.
    const __m512i third = _mm512_subs_epu8(back2, _mm512_set1_epi8(0x60));
    const __m512i fourth = _mm512_subs_epu8(back3, _mm512_set1_epi8(0x70));
    const __m512i top = _mm512_set1_epi8(-128);
    const __m512i must = _mm512_ternarylogic_epi64(third, fourth, top, 0xA8); // (third | fourth) & top
    const __m512i bad = _mm512_ternarylogic_epi64(a, b, must, 0x6A);          // (a & b) ^ must
    v.error = _mm512_or_si512(v.error, bad);
}

// Three bytes in front of at must be part of the text. Returns the bytes at it.
WX_AVX512 __m512i check_at(Lookup &v, const uint8_t *at) {
    const __m512i input = load(at);
    check(v, input, load(at - 1), load(at - 2), load(at - 3));
    return input;
}

// Lanes whose byte, `back` before them, is inside the text. before and left: bytes on either side of at.
WX_AVX512 __m512i load_inside(const uint8_t *at, unsigned back, size_t before, size_t left) {
    __mmask64 lanes = left + back >= 64 ? ~0ull : (1ull << (left + back)) - 1;
    if (before < back) lanes &= ~0ull << (back - before);
    return _mm512_maskz_loadu_epi8(lanes, at - back);
}

WX_AVX512 void check_edge(Lookup &v, const uint8_t *at, size_t before, size_t left) {
    check(v, load_inside(at, 0, before, left), load_inside(at, 1, before, left),
          load_inside(at, 2, before, left), load_inside(at, 3, before, left));
}

// Length of the beginning of data that is ASCII, in steps of 256 bytes.
WX_AVX512 size_t skip_ascii(const uint8_t *data, size_t size) {
    size_t at = 0;
    for (; at + 256 <= size; at += 256) {
        const __m512i x = _mm512_or_si512(load(data + at), load(data + at + 64));
        const __m512i y = _mm512_ternarylogic_epi64(x, load(data + at + 128), load(data + at + 192), 0xFE);
        if (_mm512_movepi8_mask(y)) break;
    }
    return at;
}

} // namespace

__attribute__((target("avx512f,avx512bw,avx512vbmi"))) bool utf8_whole_avx512(const uint8_t *data,
                                                                              size_t size) {
    Lookup v{load(tables.earlier), load(tables.earlier + 64), load(tables.later), _mm512_setzero_si512()};
    size_t at = skip_ascii(data, size);
    if (at == 0 && size >= 64) {
        check_edge(v, data, 0, size);
        at = 64;
    }
    while (at + 256 <= size) {
        const __m512i x = _mm512_or_si512(check_at(v, data + at), check_at(v, data + at + 64));
        const __m512i y = _mm512_or_si512(check_at(v, data + at + 128), check_at(v, data + at + 192));
        at += 256;
        if (_mm512_test_epi8_mask(v.error, v.error)) return false;
        // Behind ASCII nothing is open, so the lookups may be left; a whole block of it says that it is worth
        // it.
        if (!_mm512_movepi8_mask(_mm512_or_si512(x, y))) at += skip_ascii(data + at, size - at);
    }
    for (; at + 64 <= size; at += 64) check_at(v, data + at);
    // The lane behind the last byte is 0 and shows a code point that is not complete.
    check_edge(v, data + at, at, size - at);
    return _mm512_test_epi8_mask(v.error, v.error) == 0;
}

} // namespace wx
#endif
