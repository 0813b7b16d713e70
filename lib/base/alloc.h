// SPDX-License-Identifier: MIT
// The only door to the heap. Counts, so that a test can show that steady state allocates nothing, and can
// be told to fail the nth request, so that tests walk every out-of-memory path of open.
#pragma once
#include <new> // placement new only
#include <stddef.h>
#include <stdint.h>

namespace wx {

void *allocate(size_t bytes);                        // zeroed; nullptr when out of memory
void *allocate_aligned(size_t align, size_t bytes);  // zeroed; release with deallocate
void *reallocate(void *old, size_t bytes);           // not zeroed; nullptr leaves old alone
void deallocate(void *memory);                       // nullptr allowed
void free_secret_text(char *text);                   // zero-terminated; wiped first, nullptr allowed
char *duplicate_text(const char *text, size_t size); // zero-terminated copy, nullptr when out of memory

uint64_t allocation_count(); // requests so far by this thread
void allocation_fail_after(
    int64_t count); // tests: the count-th request from now fails, and all after; -1 never

template <class T> T *allocate_object() {
    void *memory = allocate_aligned(alignof(T) < 16 ? 16 : alignof(T), sizeof(T));
    return memory ? new (memory) T() : nullptr;
}

} // namespace wx
