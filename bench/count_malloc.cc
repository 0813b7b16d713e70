// SPDX-License-Identifier: MIT
// Counts every allocation of the process by standing in front of the C library's functions: what the library
// under test, OpenSSL, zlib and Boost ask for is all seen. It changes nothing else. Relies on glibc, whose
// own entry points have __libc_ names; with another C library the count stays 0 and says so by being absent
// from the bars.
#include "measure.h"

#include <errno.h>

#include <atomic>

static std::atomic<uint64_t> count{0};

namespace bench {
uint64_t allocations() { return count.load(std::memory_order_relaxed); }
} // namespace bench

#if defined(__GLIBC__)
extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

// Not fetch_add: a locked instruction would make the clients that allocate look slower than they are. Two
// threads at once may lose a count; the programs count only while they have one.
static void counted() { count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }

void *malloc(size_t size) {
    counted();
    return __libc_malloc(size);
}
void *calloc(size_t number, size_t size) {
    counted();
    return __libc_calloc(number, size);
}
void *realloc(void *old, size_t size) {
    counted();
    return __libc_realloc(old, size);
}
void *memalign(size_t align, size_t size) {
    counted();
    return __libc_memalign(align, size);
}
void *aligned_alloc(size_t align, size_t size) {
    counted();
    return __libc_memalign(align, size);
}
int posix_memalign(void **out, size_t align, size_t size) {
    counted();
    void *memory = __libc_memalign(align, size);
    if (!memory) return ENOMEM;
    *out = memory;
    return 0;
}
}
#endif
