// SPDX-License-Identifier: MIT
// Any bytes as text: whole, cut, byte by byte and with every width of vectors, which must all say the same,
// and the same as a decoder that works on numbers.
#include "../lib/ws/utf8.h"
#include <initializer_list>
#include <stdlib.h>

namespace {

void must(bool condition) {
    if (!condition) abort();
}

// Whether data is valid up to its end.
bool plain_valid(const uint8_t *data, size_t size) {
    for (size_t at = 0; at < size;) {
        const unsigned lead = data[at];
        const size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
        if ((lead >= 0x80 && lead < 0xC2) || lead > 0xF4 || length > size - at) return false;
        uint32_t number = length == 1 ? lead : lead & (0x7Fu >> length);
        for (size_t i = 1; i < length; i++) {
            if (data[at + i] >> 6 != 2) return false;
            number = number << 6 | (data[at + i] & 0x3F);
        }
        if ((length == 3 && number < 0x800) || (length == 4 && number < 0x10000)) return false;
        if (number > 0x10FFFF || (number >= 0xD800 && number < 0xE000)) return false;
        at += length;
    }
    return true;
}

// How many bytes are taken one by one before the first bad one.
size_t good_bytes(const uint8_t *data, size_t size, bool *complete) {
    wx::Utf8 text;
    size_t good = 0;
    while (good < size && text.feed(data + good, 1)) good++;
    *complete = good == size && text.complete();
    return good;
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) return 0;
    const size_t split = data[0] % size;
    data++, size--;
    bool complete;
    const size_t good = good_bytes(data, size, &complete);
    must(complete == plain_valid(data, size));
    for (unsigned width : {0u, 32u, 64u}) {
        wx::utf8_simd_limit(width);
        must(wx::utf8_valid(data, size) == complete);
        wx::Utf8 text;
        const bool first = text.feed(data, split);
        must(first == (split <= good));
        if (first) must(text.feed(data + split, size - split) == (good == size));
        if (good == size) must(text.complete() == complete);
    }
    return 0;
}
