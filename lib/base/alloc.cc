// SPDX-License-Identifier: MIT
// The heap's door. Everything is counted, also requests that fail. The failure
// switch is for tests and process-wide; nothing else here is shared between handles.
#include "alloc.h"
#include <atomic>
#include <stdlib.h>
#include <string.h>

namespace wx {

// Per thread, so that one handle's count is not blurred by what other threads do.
static thread_local uint64_t requests = 0;
static std::atomic<int64_t> fail_after{-1};

static bool refused() {
    requests++;
    if (fail_after.load(std::memory_order_relaxed) < 0) return false;
    // Saturates at 0: once the chosen request has failed, all later ones do.
    int64_t left = fail_after.load(std::memory_order_relaxed);
    if (left > 0) fail_after.store(left - 1, std::memory_order_relaxed);
    return left == 0;
}

void *allocate(size_t bytes) { return refused() ? nullptr : calloc(1, bytes ? bytes : 1); }

void *allocate_aligned(size_t align, size_t bytes) {
    void *memory = nullptr;
    if (refused() || posix_memalign(&memory, align < sizeof(void *) ? sizeof(void *) : align, bytes) != 0)
        return nullptr;
    memset(memory, 0, bytes);
    return memory;
}

void *reallocate(void *old, size_t bytes) { return refused() ? nullptr : realloc(old, bytes ? bytes : 1); }

void deallocate(void *memory) { free(memory); }

char *duplicate_text(const char *text, size_t size) {
    char *copy = static_cast<char *>(allocate(size + 1));
    if (copy != nullptr && size != 0) memcpy(copy, text, size);
    return copy;
}

void free_secret_text(char *text) {
    if (text != nullptr) explicit_bzero(text, strlen(text));
    free(text);
}

uint64_t allocation_count() { return requests; }

void allocation_fail_after(int64_t count) { fail_after.store(count, std::memory_order_relaxed); }

} // namespace wx
