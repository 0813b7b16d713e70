// SPDX-License-Identifier: MIT
// Every implementation of the checksum against one that adds byte by byte: all small sizes at all alignments,
// patterns that carry as often as they can, large sizes, copies that must not write beside their target; then
// parts at odd offsets, updates of one field, and pseudo headers.
#include "packets.h"

using namespace wx;
using namespace packets;

namespace {

template <class Test> void for_codes(const Test &test) {
    const ChecksumCode *codes;
    const size_t count = checksum_codes(&codes);
    assert_in_range(count, 1, 8);
    assert_string_equal(codes[0].name, "plain");
    for (size_t i = 0; i < count; i++) test(codes[i]);
    test(ChecksumCode{"chosen", checksum_sum, checksum_copy});
}

void check(const ChecksumCode &code, const uint8_t *data, size_t size, uint16_t wanted) {
    const ChecksumSum sum = code.sum(data, size);
    if (sum >= 1u << 17 || field(checksum_finish(sum)) != wanted)
        fail_msg("%s: sum of %zu bytes is %x, checksum %04x, wanted %04x", code.name, size, sum,
                 field(checksum_finish(sum)), wanted);
}

void check_copy(const ChecksumCode &code, const uint8_t *data, size_t size, size_t offset, uint16_t wanted) {
    constexpr uint8_t guard = 0xA5;
    Bytes room(size + 128, guard);
    uint8_t *to = room.data() + 32 + offset;
    const ChecksumSum sum = code.copy(to, data, size);
    if (sum >= 1u << 17 || field(checksum_finish(sum)) != wanted)
        fail_msg("%s: copying %zu bytes sums to %x, wanted checksum %04x", code.name, size, sum, wanted);
    if (size && memcmp(to, data, size) != 0) fail_msg("%s: %zu bytes were not copied", code.name, size);
    for (size_t i = 0; i < room.size(); i++) {
        if (i >= 32 + offset && i < 32 + offset + size) continue;
        if (room[i] != guard) fail_msg("%s: wrote beside its %zu bytes", code.name, size);
    }
}

void check_everything(const Bytes &bytes, size_t offset) {
    const uint16_t wanted = reference(bytes);
    // Ends with its block, begins anywhere: reads beyond the end are seen by a sanitizer.
    std::unique_ptr<uint8_t[]> block(new uint8_t[bytes.size() + offset]);
    if (!bytes.empty()) memcpy(block.get() + offset, bytes.data(), bytes.size());
    for_codes([&](const ChecksumCode &code) {
        check(code, block.get() + offset, bytes.size(), wanted);
        check_copy(code, block.get() + offset, bytes.size(), offset * 7 % 32, wanted);
    });
}

void small_sizes_at_all_alignments(void **) {
    Random random;
    for (size_t size = 0; size <= 300; size++) {
        for (size_t offset = 0; offset < 32; offset++) check_everything(random.bytes(size), offset);
    }
}

void patterns_that_carry(void **) {
    const std::vector<Bytes> patterns = {
        {0x00},
        {0xFF},
        {0xFF, 0xFE},
        {0x80, 0x00},
        {0x00, 0x80},
        {0x00, 0x01},
        {0xFF, 0xFF, 0, 0},
        {0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF},
        {0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0, 0, 0, 0}};
    for (const Bytes &pattern : patterns) {
        for (size_t size = 0; size <= 300; size++) {
            Bytes bytes(size);
            for (size_t i = 0; i < size; i++) bytes[i] = pattern[i % pattern.size()];
            check_everything(bytes, size % 3);
            if (size == 0) continue;
            for (uint8_t edge : {uint8_t{0}, uint8_t{1}, uint8_t{0xFF}}) { // another first and last byte
                bytes.front() = bytes.back() = edge;
                check_everything(bytes, size % 2);
            }
        }
    }
}

void large_sizes(void **) {
    Random random;
    for (size_t size : {1460u, 1461u, 1499u, 8999u, 9000u, 65535u, 65536u, 300001u}) {
        check_everything(random.bytes(size), size % 5);
        check_everything(Bytes(size, 0xFF), 1);
        check_everything(Bytes(size, 0x00), 0);
    }
    for (int i = 0; i < 3000; i++) check_everything(random.bytes(random.below(2000)), random.below(64));
}

void parts_add_up(void **) {
    Random random;
    for (int i = 0; i < 20000; i++) {
        const Bytes bytes = random.bytes(random.below(200));
        const size_t split = random.below(bytes.size() + 1);
        const ChecksumSum head = checksum_sum(bytes.data(), split);
        ChecksumSum tail = checksum_sum(bytes.data() + split, bytes.size() - split);
        if (split % 2) tail = checksum_shift(tail);
        const ChecksumSum sum = checksum_add(head, tail);
        if (sum >= 1u << 17 || field(checksum_finish(sum)) != reference(bytes))
            fail_msg("seed %lu: %zu bytes split at %zu", random.seed, bytes.size(), split);
    }
    // Of the largest numbers that the type holds.
    assert_true(checksum_add(UINT32_MAX, UINT32_MAX) < 1u << 17);
    assert_int_equal(checksum_add(UINT32_MAX, UINT32_MAX) % 0xFFFF, 0);
    assert_int_equal(checksum_shift(0xFFFF), 0xFFFF);
    assert_int_equal(checksum_shift(0x1FFFE), 0xFFFF);
    assert_int_equal(checksum_finish(UINT32_MAX), 0);
}

// A field in the middle changes, the checksum elsewhere in the same data is updated.
void an_update_is_a_new_sum(void **) {
    Random random;
    for (int i = 0; i < 50000; i++) {
        Bytes bytes = random.bytes(20);
        bytes[0] = 0x45; // a header is never all zero
        put16(&bytes, 10, 0);
        put16(&bytes, 10, reference(bytes));
        uint16_t check, before, after;
        memcpy(&before, &bytes[4], 2);
        const uint32_t value = i % 4 == 0   ? 0
                               : i % 4 == 1 ? 0xFFFF
                                            : static_cast<uint32_t>(random.next() & 0xFFFF);
        put16(&bytes, 4, value);
        memcpy(&after, &bytes[4], 2);
        memcpy(&check, &bytes[10], 2);
        const uint16_t updated = checksum_update(check, before, after);
        put16(&bytes, 10, 0);
        assert_int_equal(field(updated), reference(bytes));
    }
}

void good_and_bad(void **) {
    Random random;
    for (int i = 0; i < 2000; i++) {
        Bytes bytes = random.bytes(12 + 2 * random.below(100));
        bytes[0] |= 1;
        put16(&bytes, 10, 0);
        put16(&bytes, 10, reference(bytes));
        assert_true(checksum_good(checksum_sum(bytes.data(), bytes.size())));
        const size_t at = random.below(bytes.size());
        bytes[at] = static_cast<uint8_t>(bytes[at] ^ 1u << random.below(8)); // one bit never goes unseen
        assert_false(checksum_good(checksum_sum(bytes.data(), bytes.size())));
    }
    assert_false(checksum_good(0)); // all zero is no checksum
}

void pseudo_headers(void **) {
    Random random;
    for (int i = 0; i < 5000; i++) {
        const uint8_t protocol = random.byte();
        const uint32_t length = static_cast<uint32_t>(random.next());
        const Bytes from = i % 3 ? random.bytes(16) : Bytes(16, 0xFF), to = random.bytes(16);
        const ChecksumSum six = checksum_pseudo(from.data(), to.data(), 16, protocol, length);
        assert_true(six < 1u << 17);
        assert_int_equal(field(checksum_finish(six)), reference(pseudo6(from, to, protocol, length)));
        const Bytes from4(from.begin(), from.begin() + 4), to4(to.begin(), to.begin() + 4);
        const ChecksumSum four = checksum_pseudo(from4.data(), to4.data(), 4, protocol, length & 0xFFFF);
        assert_int_equal(field(checksum_finish(four)),
                         reference(pseudo4(from4, to4, protocol, length & 0xFFFF)));
    }
}

void the_example_of_the_rfc(void **) { // RFC 1071 section 3
    const Bytes bytes = {0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7};
    assert_int_equal(field(checksum_finish(checksum_sum(bytes.data(), 8))), 0xFFFF - 0xDDF2);
    assert_int_equal(reference(bytes), 0xFFFF - 0xDDF2);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(small_sizes_at_all_alignments),
        cmocka_unit_test(patterns_that_carry),
        cmocka_unit_test(large_sizes),
        cmocka_unit_test(parts_add_up),
        cmocka_unit_test(an_update_is_a_new_sum),
        cmocka_unit_test(good_and_bad),
        cmocka_unit_test(pseudo_headers),
        cmocka_unit_test(the_example_of_the_rfc),
    };
    return cmocka_run_group_tests_name("wire: checksum", tests, nullptr, nullptr);
}
