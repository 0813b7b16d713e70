// SPDX-License-Identifier: MIT
// Random bytes: what was handed out is wiped, interrupted and short getrandom calls lose nothing, a kernel
// without it is found out at open, and the distribution is sane.

// link: -Wl,--wrap=getrandom
#include "../../lib/base/random.h"
#include "check.h"
#include <errno.h>
#include <set>
#include <sys/random.h>

using namespace wx;

namespace {
enum class Kernel { real, interrupted, missing, pattern };
Kernel kernel = Kernel::real;
unsigned calls = 0;
uint8_t next_byte = 0;
} // namespace

extern "C" ssize_t __real_getrandom(void *out, size_t size, unsigned flags);
extern "C" ssize_t __wrap_getrandom(void *out, size_t size, unsigned flags) {
    calls++;
    if (kernel == Kernel::missing) return errno = ENOSYS, -1;
    if (kernel == Kernel::real) return __real_getrandom(out, size, flags);
    if (kernel == Kernel::interrupted && calls % 2) return errno = EINTR, -1;
    size_t count = kernel == Kernel::interrupted && size > 100 ? 100 : size; // short, as after a signal
    for (size_t i = 0; i < count; i++) static_cast<uint8_t *>(out)[i] = next_byte++;
    return static_cast<ssize_t>(count);
}

namespace {

void test_wiped_after_use(void **) {
    static SystemRandom random;
    kernel = Kernel::pattern;
    next_byte = 1;
    assert_int_equal(system_random_open(&random), WSXDP_OK);
    uint8_t out[7];
    for (size_t at = 0; at + sizeof out <= SystemRandom::block_bytes; at += sizeof out) {
        random.fill(&random, out, sizeof out);
        for (size_t i = 0; i < sizeof out; i++) assert_int_equal(out[i], (at + i + 1) & 0xFF);
        for (size_t i = 0; i < at + sizeof out; i++) assert_int_equal(random.block[i], 0);
    }
    kernel = Kernel::real;
}

void test_across_blocks(void **) {
    static SystemRandom random;
    for (Kernel kind : {Kernel::pattern, Kernel::interrupted}) {
        kernel = kind;
        calls = 0;
        next_byte = 0;
        assert_int_equal(system_random_open(&random), WSXDP_OK);
        std::string all(3 * SystemRandom::block_bytes + 17, 0);
        size_t at = 0;
        for (size_t piece = 1; at < all.size(); piece = piece * 3 + 1) {
            size_t count = piece < all.size() - at ? piece : all.size() - at;
            random.fill(&random, reinterpret_cast<uint8_t *>(&all[at]), count);
            at += count;
        }
        for (size_t i = 0; i < all.size(); i++) assert_int_equal(static_cast<uint8_t>(all[i]), i & 0xFF);
        if (kind == Kernel::pattern) assert_int_equal(calls, 4); // one call per block
    }
    kernel = Kernel::missing;
    assert_int_equal(system_random_open(&random), WSXDP_E_SYSTEM);
    kernel = Kernel::real;
}

void test_distribution(void **) {
    static SystemRandom random;
    assert_int_equal(system_random_open(&random), WSXDP_OK);
    std::set<uint32_t> masks;
    uint32_t bits[32] = {0};
    constexpr int count = 20000;
    for (int i = 0; i < count; i++) {
        uint32_t value = random_u32(&random);
        masks.insert(value);
        for (int bit = 0; bit < 32; bit++) bits[bit] += value >> bit & 1;
    }
    assert_true(masks.size() > count - 10); // 0.05 collisions are expected
    // A fair bit's count has a deviation of 71: seven of them.
    for (uint32_t ones : bits) assert_in_range(ones, count / 2 - 500, count / 2 + 500);
}

void test_below(void **) {
    FixedRandom random;
    fixed_random_open(&random, 5);
    assert_int_equal(random_below(&random, 0), 0);
    assert_int_equal(random_below(&random, 1), 0);
    uint32_t seen[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint64_t value = random_below(&random, 7);
        assert_true(value < 7);
        seen[value]++;
    }
    for (uint32_t count : seen) assert_in_range(count, 9400, 10600);
    // With this bound a plain remainder would give the lower half twice as often.
    uint64_t bound = UINT64_MAX / 3 * 2, low = 0;
    for (int i = 0; i < 10000; i++) {
        uint64_t value = random_below(&random, bound);
        assert_true(value < bound);
        low += value < bound / 2;
    }
    assert_in_range(low, 4700, 5300);
}

void test_fixed_repeats(void **) {
    FixedRandom a, b, zero;
    fixed_random_open(&a, 42);
    fixed_random_open(&b, 42);
    fixed_random_open(&zero, 0);
    uint32_t first = random_u32(&a);
    assert_int_equal(first, random_u32(&b));
    assert_int_not_equal(first, random_u32(&a));
    assert_int_not_equal(random_u32(&zero), random_u32(&zero)); // 0 would stay 0 for ever
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_wiped_after_use), cmocka_unit_test(test_across_blocks),
        cmocka_unit_test(test_distribution),    cmocka_unit_test(test_below),
        cmocka_unit_test(test_fixed_repeats),
    };
    return cmocka_run_group_tests_name("base: random", tests, nullptr, nullptr);
}
