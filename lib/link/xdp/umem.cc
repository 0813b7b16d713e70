// SPDX-License-Identifier: MIT
// Making the frames' memory: sized, sealed and filled with pages at open, so that a shortage shows here as an
// error and not later as SIGBUS. All of it is cold. Huge pages are taken where they are to be had and given
// up without a word where they are not: they save the NIC's and our page walks, nothing depends on them.
#include "umem.h"
#include "../../base/alloc.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/mman.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace wx {

// Linux 5.14; absent from older headers.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static_assert(pool_count == 4, "umem_owner knows the eighths of each pool");
constexpr uint32_t pool_eighths[pool_count] = {4, 1, 1, 2};

static bool power_of_two(uint64_t value) { return value != 0 && (value & (value - 1)) == 0; }

static int check_options(const UmemOptions &options, ErrorText *error) {
    if (options.frame_bytes != 2048 && options.frame_bytes != 4096) {
        error->begin(WSXDP_E_INVALID).add("AF_XDP frames of ").number(options.frame_bytes);
        error->add(" bytes: the kernel takes 2048 or 4096");
        return WSXDP_E_INVALID;
    }
    if (!power_of_two(options.frames) || options.frames < umem_frames_min ||
        options.frames > umem_frames_max) {
        error->begin(WSXDP_E_INVALID).add("AF_XDP memory of ").number(options.frames);
        error->add(" frames: the number must be a power of two from ").number(umem_frames_min);
        error->add(" to ").number(umem_frames_max);
        return WSXDP_E_INVALID;
    }
    return WSXDP_OK;
}

// Beyond RLIMIT_FSIZE (ulimit -f) the kernel would not only refuse but send SIGXFSZ, which ends the host
// program.
static int set_size(int fd, uint64_t bytes) {
    rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur)
        return EFBIG;
    return ftruncate(fd, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
}

// 0, or errno with the step that failed.
static int make_memory(Umem *umem, bool huge, const char **step) {
    *step = "memfd_create";
    umem->fd = memfd_create("wsxdp-frames", MFD_CLOEXEC | MFD_ALLOW_SEALING | (huge ? MFD_HUGETLB : 0u));
    if (umem->fd < 0) return errno;
    *step = "sizing it"; // EINVAL for huge pages that would not be full
    int cause = set_size(umem->fd, umem->bytes);
    if (cause != 0) return cause;
    // Whoever gets the descriptor could otherwise cut it short and end us with SIGBUS.
    *step = "sealing it";
    if (fcntl(umem->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return errno;
    *step = "mapping it";
    void *base = mmap(nullptr, umem->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, umem->fd, 0);
    if (base == MAP_FAILED) return errno;
    umem->base = static_cast<uint8_t *>(base);
    *step = "filling it with pages";
    // EINVAL: a kernel before 5.14, where the pages come when the memory is registered.
    if (madvise(base, umem->bytes, MADV_POPULATE_WRITE) != 0 && errno != EINVAL) return errno;
    umem->huge = huge;
    return 0;
}

static void free_memory(Umem *umem) {
    if (umem->base != nullptr) munmap(umem->base, umem->bytes);
    if (umem->fd >= 0) close(umem->fd);
    umem->base = nullptr;
    umem->fd = -1;
}

static int memory_failed(const Umem *umem, const char *step, int cause, ErrorText *error) {
    const bool scarce = cause == ENOMEM || cause == ENOSPC || cause == EFAULT || cause == EHWPOISON;
    int code = scarce                               ? WSXDP_E_MEMORY
               : cause == EMFILE || cause == ENFILE ? WSXDP_E_DESCRIPTORS
                                                    : WSXDP_E_SYSTEM;
    error->begin(code, cause).add("memory for AF_XDP frames, ");
    error->number(static_cast<int64_t>(umem->bytes)).add(" bytes: ").add(step).add(" failed: ");
    error->errno_name(cause);
    if (code == WSXDP_E_DESCRIPTORS)
        error->add("; raise the limit of open files (ulimit -n)");
    else
        error->add("; lower xdp.frames, or raise the limits of memory and file size (ulimit -f)");
    return code;
}

// The lowest numbers are taken first; what was put back last goes out first, since it is still in the cache.
static bool make_pools(Umem *umem) {
    uint32_t *lists = static_cast<uint32_t *>(allocate(umem->frame_count * sizeof(uint32_t)));
    umem->out = static_cast<bool *>(allocate(umem->frame_count * sizeof(bool)));
    umem->pools[0].free_list = lists;
    if (lists == nullptr || umem->out == nullptr) return false;
    uint32_t first = 0;
    for (unsigned i = 0; i < pool_count; i++) {
        FramePool *p = &umem->pools[i];
        p->first = first;
        p->count = p->free_count = p->low = umem->frame_count / 8 * pool_eighths[i];
        p->free_list = lists + first;
        for (uint32_t k = 0; k < p->count; k++) p->free_list[k] = first + p->count - 1 - k;
        first += p->count;
    }
    return true;
}

// All but the memory itself.
static int begin(Umem *umem, const UmemOptions &options, ErrorText *error) {
    *umem = Umem();
    int code = check_options(options, error);
    if (code != WSXDP_OK) return code;
    umem->frame_bytes = options.frame_bytes;
    umem->frame_shift = static_cast<uint32_t>(__builtin_ctz(options.frame_bytes));
    umem->frame_count = options.frames;
    umem->bytes = static_cast<uint64_t>(options.frames) << umem->frame_shift;
    if (make_pools(umem)) return WSXDP_OK;
    umem_close(umem);
    error->begin(WSXDP_E_MEMORY).add("lists of AF_XDP frames: out of memory");
    return WSXDP_E_MEMORY;
}

int umem_open(Umem *umem, const UmemOptions &options, ErrorText *error) {
    int code = begin(umem, options, error);
    if (code != WSXDP_OK) return code;
    const char *step = "";
    int cause = options.hugepages ? make_memory(umem, true, &step) : ENOMEM;
    if (cause != 0) {
        free_memory(umem);
        cause = make_memory(umem, false, &step);
    }
    if (cause == 0) return WSXDP_OK;
    code = memory_failed(umem, step, cause, error);
    umem_close(umem);
    return code;
}

int umem_join(Umem *umem, int fd, const UmemOptions &options, ErrorText *error) {
    int code = begin(umem, options, error);
    if (code != WSXDP_OK) return code;
    struct stat facts;
    // Memory that could be cut short would end us with SIGBUS.
    const int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0 || fstat(fd, &facts) != 0 ||
        static_cast<uint64_t>(facts.st_size) != umem->bytes) {
        umem_close(umem);
        error->begin(WSXDP_E_INVALID).add("memory for AF_XDP frames: it is not of the size that was agreed");
        return WSXDP_E_INVALID;
    }
    void *base = mmap(nullptr, umem->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        code = memory_failed(umem, "mapping it", errno, error);
        umem_close(umem);
        return code;
    }
    umem->base = static_cast<uint8_t *>(base);
    // The pages are there; ours only have to point at them. Best effort: else they come when touched.
    (void)madvise(base, umem->bytes, MADV_POPULATE_WRITE);
    return WSXDP_OK;
}

void umem_close(Umem *umem) {
    free_memory(umem);
    deallocate(umem->pools[0].free_list);
    deallocate(umem->out);
    *umem = Umem();
}

} // namespace wx
