// SPDX-License-Identifier: MIT
// UTF-8 validation against a plain decoder written from RFC 3629: all sequences of one to three bytes and the
// fourth bytes that matter, random texts with faults, every alignment at every vector boundary, all splits,
// and each width of vectors that this machine has.
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#include "../../lib/ws/utf8.h"
#include "../../lib/ws/utf8_simd.h"
#include <string.h>
#include <string>
#include <vector>

namespace {

using Bytes = std::vector<uint8_t>;
constexpr unsigned widths[] = {0, 32, 64};

// Decodes and judges the number. Returns how many bytes can be the beginning of a valid text; *whole tells
// whether they are one.
size_t reference(const uint8_t *data, size_t size, bool *whole) {
    size_t at = 0;
    *whole = true;
    while (at < size) {
        const unsigned lead = data[at];
        const unsigned length = lead < 0x80 ? 1 : lead < 0xC0 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        *whole = false;
        if (length == 0 || lead > 0xF7) return at;
        static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
        uint32_t low = length == 1 ? lead : lead & (0x7Fu >> length);
        unsigned have = 1;
        for (;; have++) { // the range of numbers that these bytes can still become
            uint32_t from = low << 6 * (length - have), to = from | ((1u << 6 * (length - have)) - 1);
            if (to < least[length] || from > 0x10FFFF || (from >= 0xD800 && to <= 0xDFFF))
                return at + have - 1;
            if (have == length) break;
            if (at + have == size) return size;
            if ((data[at + have] & 0xC0) != 0x80) return at + have;
            low = low << 6 | (data[at + have] & 0x3F);
        }
        at += length;
        *whole = true;
    }
    return at;
}

void check(const uint8_t *data, size_t size) {
    bool whole;
    const size_t good = reference(data, size, &whole);
    const bool valid = good == size && whole;
    if (wx::utf8_valid(data, size) != valid) fail_msg("utf8_valid says %d for %zu bytes", !valid, size);
    wx::Utf8 text;
    const bool fed = text.feed(data, size);
    if (fed != (good == size)) fail_msg("feed says %d for %zu bytes, good are %zu", fed, size, good);
    if (fed && text.complete() != whole) fail_msg("complete says %d", !whole);
}

void check_bytewise(const uint8_t *data, size_t size) {
    bool whole;
    const size_t good = reference(data, size, &whole);
    wx::Utf8 text;
    for (size_t i = 0; i < size; i++) {
        const bool fed = text.feed(data + i, 1);
        assert_int_equal(fed, i < good);
        if (!fed) return;
    }
    assert_int_equal(text.complete(), whole);
}

uint64_t random_state = 88172645463325252u;
uint32_t random_number() {
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return static_cast<uint32_t>(random_state >> 16);
}

void put(Bytes *out, uint32_t c) {
    if (c < 0x80) {
        out->push_back(static_cast<uint8_t>(c));
    } else if (c < 0x800) {
        out->push_back(static_cast<uint8_t>(0xC0 | c >> 6));
    } else if (c < 0x10000) {
        out->push_back(static_cast<uint8_t>(0xE0 | c >> 12));
        out->push_back(static_cast<uint8_t>(0x80 | (c >> 6 & 0x3F)));
    } else {
        out->push_back(static_cast<uint8_t>(0xF0 | c >> 18));
        out->push_back(static_cast<uint8_t>(0x80 | (c >> 12 & 0x3F)));
        out->push_back(static_cast<uint8_t>(0x80 | (c >> 6 & 0x3F)));
    }
    if (c >= 0x80) out->push_back(static_cast<uint8_t>(0x80 | (c & 0x3F)));
}

Bytes random_text(size_t size, unsigned ascii_of_8) {
    Bytes text;
    while (text.size() < size) {
        static const uint32_t limit[] = {0x80, 0x800, 0xD800, 0x110000};
        uint32_t c = random_number() % 8 < ascii_of_8 ? random_number() % 0x80
                                                      : random_number() % limit[random_number() % 4];
        if (c >= 0xD800 && c <= 0xDFFF) c = 0x20AC;
        put(&text, c);
    }
    return text;
}

// The reference itself, against sequences whose judgement is known from the RFC's text.
void reference_is_right(void **) {
    struct Known {
        const char *text;
        size_t good;
        bool whole;
    };
    for (const Known &k :
         {Known{"a", 1, true}, Known{"\xC3\xA9", 2, true}, Known{"\xC0\x80", 0, false},
          Known{"\xE0\x9F\x80", 1, false}, Known{"\xED\xA0\x80", 1, false}, Known{"\xED\x9F\xBF", 3, true},
          Known{"\xF4\x8F\xBF\xBF", 4, true}, Known{"\xF4\x90\x80\x80", 1, false}, Known{"\xF5", 0, false},
          Known{"\xF0\x8F", 1, false}, Known{"\xE1\x80", 2, false}, Known{"\x80", 0, false},
          Known{"\xFF", 0, false}, Known{"a\xE1\x80z", 3, false}}) {
        bool whole;
        assert_int_equal(reference(reinterpret_cast<const uint8_t *>(k.text), strlen(k.text), &whole),
                         k.good);
        if (k.good == strlen(k.text)) assert_int_equal(whole, k.whole);
    }
}

// All of one to three bytes, alone and in the middle of a vector; of four, every lead and every second byte.
void exhaustive(void **) {
    for (unsigned width : widths) {
        wx::utf8_simd_limit(width);
        uint8_t long_text[80];
        memset(long_text, 'x', sizeof long_text);
        for (uint32_t i = 0; i < 1u << 24; i++) {
            const uint8_t bytes[3] = {static_cast<uint8_t>(i >> 16), static_cast<uint8_t>(i >> 8),
                                      static_cast<uint8_t>(i)};
            if (bytes[0] < 0x80 && bytes[1] < 0x80 && i % 7) continue; // enough of plain ASCII
            memcpy(long_text + 30, bytes, 3);                          // across the 32nd byte
            check(long_text, 33 + i % 40);
            if (width != 0) continue;
            check(bytes, 3);
            if ((i & 0xFF) == 0) check(bytes, 2), check(bytes, 1);
        }
        for (uint32_t i = 0; i < 1u << 18; i++) {
            static const uint8_t edges[] = {0x00, 0x7F, 0x80, 0x8F, 0x90, 0xBF, 0xC0, 0xFF};
            const uint8_t bytes[4] = {static_cast<uint8_t>(0xC0 | (i >> 12 & 0x3F)),
                                      static_cast<uint8_t>(i >> 4), edges[i & 7], edges[i >> 1 & 7]};
            memcpy(long_text + 29, bytes, 4);
            check(long_text, 80);
            check(long_text, 33);
            check(bytes, 4);
            check_bytewise(bytes, 4);
        }
        for (uint32_t i = 0; i < 1u << 16; i++) {
            const uint8_t bytes[2] = {static_cast<uint8_t>(i >> 8), static_cast<uint8_t>(i)};
            check_bytewise(bytes, 2);
        }
    }
}

// Every code point there is, each at a place of its own in a long text.
void every_code_point(void **) {
    Bytes all;
    for (uint32_t c = 0; c < 0x110000; c++) {
        if (c < 0xD800 || c > 0xDFFF) put(&all, c);
    }
    for (unsigned width : widths) {
        wx::utf8_simd_limit(width);
        for (size_t skip = 0; skip < 4; skip++)
            assert_true(wx::utf8_valid(all.data() + skip, all.size() - skip));
        assert_false(wx::utf8_valid(all.data(), all.size() - 1));
    }
}

void faults_at_every_place(void **) {
    static const char *const faults[] = {"\x80",
                                         "\xC3",
                                         "\xC0\xAF",
                                         "\xE1\x80",
                                         "\xE0\x9F\xBF",
                                         "\xED\xA0\x80",
                                         "\xF1\x80\x80",
                                         "\xF0\x8F\x80\x80",
                                         "\xF4\x90\x80\x80",
                                         "\xF5\x80\x80\x80",
                                         "\xF8\x88\x80\x80\x80",
                                         "\xFF"};
    for (unsigned width : widths) {
        wx::utf8_simd_limit(width);
        for (size_t at = 0; at < 330; at++) {
            for (const char *fault : faults) {
                Bytes text(at, 'a');
                text.insert(text.end(), fault, fault + strlen(fault));
                check(text.data(), text.size());
                text.resize(text.size() + at % 67, 'b');
                check(text.data(), text.size());
                text.resize(700, 'c');
                check(text.data(), text.size());
            }
        }
    }
}

void random_texts(void **) {
    for (unsigned width : widths) {
        wx::utf8_simd_limit(width);
        for (int round = 0; round < 20000; round++) {
            Bytes text = random_text(random_number() % 600, random_number() % 9);
            const size_t offset = random_number() % 64;
            text.insert(text.begin(), offset, 0xFF); // alignment; must not be looked at
            const size_t size = text.size() - offset;
            uint8_t *data = text.data() + offset;
            for (int faults = 0; faults < 3; faults++) {
                check(data, size);
                if (size) check(data, random_number() % size);
                if (size) data[random_number() % size] ^= static_cast<uint8_t>(1u << random_number() % 8);
            }
        }
    }
}

void all_splits(void **) {
    for (unsigned width : widths) {
        wx::utf8_simd_limit(width);
        for (int round = 0; round < 60; round++) {
            Bytes text = random_text(200, random_number() % 9);
            if (round % 2) text[random_number() % text.size()] ^= 0x80;
            bool whole;
            const size_t good = reference(text.data(), text.size(), &whole);
            check_bytewise(text.data(), text.size());
            for (size_t split = 0; split <= text.size(); split++) {
                wx::Utf8 state;
                const bool first = state.feed(text.data(), split);
                assert_int_equal(first, split <= good);
                if (!first) continue;
                const bool second = state.feed(text.data() + split, text.size() - split);
                assert_int_equal(second, good == text.size());
                if (second) assert_int_equal(state.complete(), whole);
            }
        }
    }
}

// At the very end of memory: a read past it would be seen by the address sanitizer.
void exact_sizes(void **) {
    for (unsigned width : widths) {
        wx::utf8_simd_limit(width);
        for (size_t size = 0; size < 400; size++) {
            Bytes text(size, 'z');
            text.shrink_to_fit();
            assert_true(wx::utf8_valid(text.data(), size));
            if (size < 3) continue;
            memcpy(text.data() + size - 3, "\xE2\x82\xAC", 3);
            assert_true(wx::utf8_valid(text.data(), size));
            memcpy(text.data(), "\xE2\x82\xAC", 3);
            assert_true(wx::utf8_valid(text.data(), size) == (size == 3 || size > 5));
        }
    }
    assert_true(wx::utf8_valid(nullptr, 0));
}

// The vector code by itself: a text that ends inside a code point is not whole, wherever the vectors end.
void kernels_see_open_ends(void **) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    const bool avx2 = __builtin_cpu_supports("avx2");
    const bool avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi");
    for (size_t size = 1; size < 300; size++) {
        for (const char *end : {"\x80", "\xC3", "\xE2", "\xE2\x82", "\xF0", "\xF0\x9F", "\xF0\x9F\x98",
                                "\xF5", "\xF8", "\xFE", "\xFF"}) {
            Bytes text(size, 'x');
            text.insert(text.end(), end, end + strlen(end));
            if (avx2) assert_false(wx::utf8_whole_avx2(text.data(), text.size()));
            if (avx512) assert_false(wx::utf8_whole_avx512(text.data(), text.size()));
        }
    }
#endif
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(reference_is_right), cmocka_unit_test(exhaustive),
        cmocka_unit_test(every_code_point),   cmocka_unit_test(faults_at_every_place),
        cmocka_unit_test(random_texts),       cmocka_unit_test(all_splits),
        cmocka_unit_test(exact_sizes),        cmocka_unit_test(kernels_see_open_ends),
    };
    return cmocka_run_group_tests_name("ws/utf8", tests, nullptr, nullptr);
}
