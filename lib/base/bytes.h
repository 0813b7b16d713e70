// SPDX-License-Identifier: MIT
// Views of memory and the one cursor that parsers read and builders write through. A cursor never
// leaves its buffer: a read or write that does not fit fails and leaves `failed` set, so a parser may
// read a whole field list and test once.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <string.h>

namespace wx {

struct ByteView {
    const uint8_t *data = nullptr;
    size_t size = 0;

    ByteView() = default;
    ByteView(const void *bytes, size_t count) : data(static_cast<const uint8_t *>(bytes)), size(count) {}
    explicit ByteView(const char *text) : ByteView(text, text ? strlen(text) : 0) {}

    bool empty() const { return size == 0; }
    const char *text() const { return reinterpret_cast<const char *>(data); }
    ByteView from(size_t offset) const {
        return offset >= size ? ByteView(data + size, 0) : ByteView(data + offset, size - offset);
    }
    ByteView first(size_t count) const { return ByteView(data, count < size ? count : size); }
};

struct ByteSpan {
    uint8_t *data = nullptr;
    size_t size = 0;

    ByteSpan() = default;
    ByteSpan(void *bytes, size_t count) : data(static_cast<uint8_t *>(bytes)), size(count) {}
};

inline bool equal(ByteView a, ByteView b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}
inline uint8_t ascii_lower(uint8_t c) { return c >= 'A' && c <= 'Z' ? static_cast<uint8_t>(c + 32) : c; }
// ASCII only: what header names and tokens need, whatever the host's locale.
bool equal_ignore_case(ByteView a, ByteView b);

inline uint16_t load_be16(const uint8_t *p) { return static_cast<uint16_t>(p[0] << 8 | p[1]); }
inline uint32_t load_be32(const uint8_t *p) {
    uint32_t v;
    memcpy(&v, p, 4);
    return __builtin_bswap32(v);
}
inline uint64_t load_be64(const uint8_t *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return __builtin_bswap64(v);
}
inline void store_be16(uint8_t *p, uint16_t v) {
    p[0] = static_cast<uint8_t>(v >> 8);
    p[1] = static_cast<uint8_t>(v);
}
inline void store_be32(uint8_t *p, uint32_t v) {
    v = __builtin_bswap32(v);
    memcpy(p, &v, 4);
}
inline void store_be64(uint8_t *p, uint64_t v) {
    v = __builtin_bswap64(v);
    memcpy(p, &v, 8);
}

struct Reader {
    const uint8_t *at = nullptr;
    const uint8_t *end = nullptr;
    bool failed = false;

    explicit Reader(ByteView view) : at(view.data), end(view.data + view.size) {}
    size_t left() const { return static_cast<size_t>(end - at); }
    bool take(size_t count, ByteView *out);
    uint8_t u8();
    uint16_t be16();
    uint32_t be32();
    uint64_t be64();
};

// Builds text and binary heads in a fixed buffer. `failed` after any write that did not fit.
struct Writer {
    uint8_t *begin = nullptr;
    uint8_t *at = nullptr;
    uint8_t *end = nullptr;
    bool failed = false;

    explicit Writer(ByteSpan span) : begin(span.data), at(span.data), end(span.data + span.size) {}
    size_t size() const { return static_cast<size_t>(at - begin); }
    size_t left() const { return static_cast<size_t>(end - at); }
    ByteView view() const { return ByteView(begin, size()); }
    void bytes(ByteView view);
    void text(const char *literal) { bytes(ByteView(literal)); }
    void u8(uint8_t v);
    void be16(uint16_t v);
    void decimal(uint64_t v);
    void base64(ByteView view); // RFC 4648 section 4, padded
};

size_t base64_size(size_t bytes);
// Decodes padded base64; returns bytes written or -1 if it is not base64 or does not fit.
int64_t base64_decode(ByteView text, ByteSpan out);

} // namespace wx
