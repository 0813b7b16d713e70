// SPDX-License-Identifier: MIT
// The heap's door: zeroed, aligned, counted per thread, and failing when told to. Secrets are gone when
// freed.

// link: -Wl,--wrap=free
#include "../../lib/base/alloc.h"
#include "check.h"
#include <thread>

using namespace wx;

namespace {
void *watched = nullptr;
char seen_at_free[32];
} // namespace

extern "C" void __real_free(void *memory);
extern "C" void __wrap_free(void *memory) {
    if (memory != nullptr && memory == watched) {
        memcpy(seen_at_free, memory, sizeof seen_at_free);
        watched = nullptr;
    }
    __real_free(memory);
}

namespace {

void test_kinds(void **) {
    for (size_t size : {0, 1, 64, 5000}) {
        uint8_t *memory = static_cast<uint8_t *>(allocate(size));
        assert_non_null(memory);
        for (size_t i = 0; i < size; i++) assert_int_equal(memory[i], 0);
        memset(memory, 0xAA, size);
        deallocate(memory);
        for (size_t align : {1, 16, 128, 4096}) {
            memory = static_cast<uint8_t *>(allocate_aligned(align, size));
            assert_non_null(memory);
            assert_int_equal(reinterpret_cast<uintptr_t>(memory) % align, 0);
            for (size_t i = 0; i < size; i++) assert_int_equal(memory[i], 0);
            if (size) memset(memory, 0xAA, size);
            deallocate(memory);
        }
    }
    deallocate(nullptr);
    char *grown = static_cast<char *>(reallocate(nullptr, 4));
    memcpy(grown, "abc", 4);
    grown = static_cast<char *>(reallocate(grown, 100000));
    assert_string_equal(grown, "abc");
    deallocate(grown);
    struct alignas(128) Wide {
        uint8_t first = 3;
        uint64_t second = 4;
    };
    Wide *wide = allocate_object<Wide>();
    assert_true(reinterpret_cast<uintptr_t>(wide) % 128 == 0 && wide->first == 3 && wide->second == 4);
    deallocate(wide);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // they stop the program instead
    assert_null(allocate(SIZE_MAX / 2)); // more than there is
#endif
}

void test_copies(void **) {
    char *copy = duplicate_text("hello\0there", 11);
    assert_memory_equal(copy, "hello\0there", 12);
    deallocate(copy);
    copy = duplicate_text(nullptr, 0);
    assert_string_equal(copy, "");
    free_secret_text(copy);
    free_secret_text(nullptr);
    copy = duplicate_text("the password that nobody may see", 32);
    memset(seen_at_free, 'x', sizeof seen_at_free);
    watched = copy;
    free_secret_text(copy);
    assert_null(watched);
    for (char c : seen_at_free) assert_int_equal(c, 0);
}

void test_counts_of_this_thread(void **) {
    uint64_t before = allocation_count();
    deallocate(allocate(1));
    deallocate(allocate_aligned(64, 1));
    deallocate(reallocate(nullptr, 1));
    deallocate(duplicate_text("x", 1));
    assert_int_equal(allocation_count() - before, 4);
    uint64_t other = 0;
    std::thread([&other] {
        for (int i = 0; i < 5; i++) deallocate(allocate(8));
        other = allocation_count();
    }).join();
    assert_int_equal(other, 5);
    assert_int_equal(allocation_count() - before, 4);
}

void test_failing(void **) {
    void *(*const kinds[])() = {
        [] { return allocate(8); },
        [] { return allocate_aligned(16, 8); },
        [] { return reallocate(nullptr, 8); },
        []() -> void * { return duplicate_text("x", 1); },
        []() -> void * { return allocate_object<uint64_t>(); },
    };
    for (auto kind : kinds) {
        for (int64_t nth = 0; nth < 4; nth++) {
            allocation_fail_after(nth);
            uint64_t before = allocation_count();
            void *results[6];
            for (void *&result : results) result = kind();
            allocation_fail_after(-1);
            // The nth, counted from 0, and all after it; failed requests are counted too.
            for (int64_t i = 0; i < 6; i++) assert_int_equal(results[i] != nullptr, i < nth);
            assert_int_equal(allocation_count() - before, 6);
            for (void *result : results) deallocate(result);
        }
    }
    char *kept = duplicate_text("kept", 4);
    allocation_fail_after(0);
    assert_null(reallocate(kept, 100));
    allocation_fail_after(-1);
    assert_string_equal(kept, "kept");
    deallocate(kept);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_counts_of_this_thread),
        cmocka_unit_test(test_failing),
    };
    return cmocka_run_group_tests_name("base: alloc", tests, nullptr, nullptr);
}
