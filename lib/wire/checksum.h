// SPDX-License-Identifier: MIT
// The Internet checksum (RFC 1071, updates RFC 1624). A `sum` is a ones' complement sum of 16-bit words as
// they lie in memory, in the machine's byte order, folded to at most 16 bits plus carries: sums add up in any
// order as long as each part begins at an even offset; checksum_shift() is for a part that begins at an odd
// one.
#pragma once
#include "../base/bytes.h"

namespace wx {

using ChecksumSum = uint32_t; // folded lazily: below 2^17 after any function here

ChecksumSum checksum_sum(const uint8_t *data, size_t size);
// The same while copying; the ranges must not overlap.
ChecksumSum checksum_copy(uint8_t *to, const uint8_t *from, size_t size);

inline ChecksumSum checksum_add(ChecksumSum a, ChecksumSum b) {
    uint64_t sum = uint64_t{a} + b;
    sum = (sum & 0xFFFF) + (sum >> 16);
    return static_cast<ChecksumSum>((sum & 0xFFFF) + (sum >> 16));
}
inline ChecksumSum checksum_shift(ChecksumSum sum) { // of a part that begins at an odd offset
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    return (sum << 8 & 0xFF00) | sum >> 8;
}
inline ChecksumSum checksum_fold(uint64_t sum) { // of words of up to 32 bits, added up
    sum = (sum & 0xFFFFFFFF) + (sum >> 32);
    sum = (sum & 0xFFFF) + (sum >> 16); // below 2^18
    return static_cast<ChecksumSum>((sum & 0xFFFF) + (sum >> 16));
}
// The value for the header's field, as it is stored with memcpy: in the machine's order, like the sum.
inline uint16_t checksum_finish(ChecksumSum sum) {
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    return static_cast<uint16_t>(~sum);
}
// Whether data that includes its checksum field is right: the sum of everything is all ones.
inline bool checksum_good(ChecksumSum sum) { return checksum_finish(sum) == 0; }
// A field changed: what the checksum is then (RFC 1624 equation 3). All in the order they lie in memory.
inline uint16_t checksum_update(uint16_t check, uint16_t before, uint16_t after) {
    return checksum_finish(static_cast<uint16_t>(~check) + static_cast<uint16_t>(~before) + uint32_t{after});
}
// Of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1). addresses: source then destination, one
// after the other as in the IP header; address_size 4 or 16.
ChecksumSum checksum_pseudo(const uint8_t *source, const uint8_t *destination, size_t address_size,
                            uint8_t protocol, uint32_t length);

// The implementations, for tests; the two functions above pick one at the first call.
struct ChecksumCode {
    const char *name; // "plain", "avx2", ...
    ChecksumSum (*sum)(const uint8_t *data, size_t size);
    ChecksumSum (*copy)(uint8_t *to, const uint8_t *from, size_t size);
};
size_t checksum_codes(const ChecksumCode **out); // those that this processor can run, the plain one first

} // namespace wx
