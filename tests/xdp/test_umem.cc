// SPDX-License-Identifier: MIT
// The frames' memory: its pools are what they claim and keep apart, no frame is given twice or taken back
// twice, what cannot be had is said, and nothing stays open.
#include "../../lib/base/alloc.h"
#include "../../lib/link/xdp/umem.h"
#include "../base/check.h"
#include "../base/registry.h"
#include "../support/netns.h"
#include <algorithm>
#include <cstdlib>
#include <errno.h>
#include <fcntl.h>
#include <random>
#include <stdio.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace wx;

namespace {

const Pool every_pool[] = {Pool::receive, Pool::ack, Pool::control, Pool::data};

uint64_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

struct Memory {
    Umem umem;
    ErrorText error;
    UmemOptions options;
    explicit Memory(uint32_t frames = 256, uint32_t frame_bytes = 2048) {
        options.frames = frames;
        options.frame_bytes = frame_bytes;
        if (umem_open(&umem, options, &error) != 0) fail_msg("%s", error.text);
    }
    ~Memory() { umem_close(&umem); }
    Memory(const Memory &) = delete;
    Memory &operator=(const Memory &) = delete;
};

void check_pools(uint32_t frames, uint32_t frame_bytes) {
    Memory m(frames, frame_bytes);
    Umem *u = &m.umem;
    assert_int_equal(u->bytes, static_cast<uint64_t>(frames) * frame_bytes);
    const uint32_t counts[] = {frames / 2, frames / 8, frames / 8, frames / 4};
    std::vector<bool> seen(frames);
    for (unsigned i = 0; i < pool_count; i++) {
        const FramePool &p = u->pools[i];
        assert_int_equal(p.count, counts[i]);
        for (uint32_t k = 0; k < p.count; k++) {
            const FrameId id = umem_take(u, every_pool[i]);
            assert_int_equal(id, p.first + k); // the lowest first
            assert_false(seen[id]);
            seen[id] = true;
            assert_int_equal(static_cast<int>(umem_owner(u, id)), static_cast<int>(every_pool[i]));
            assert_ptr_equal(umem_frame(u, id), u->base + id * frame_bytes);
            assert_int_equal(umem_frame_of(u, id * frame_bytes), id);
            assert_int_equal(umem_frame_of(u, id * frame_bytes + frame_bytes - 1), id);
            *umem_frame(u, id) = 1;
        }
        // Other pools are full or empty: this one asks none of them.
        assert_true(umem_take(u, every_pool[i]) == no_frame);
        assert_int_equal(umem_out(u, every_pool[i]), p.count);
        assert_int_equal(p.low, 0);
    }
    for (uint32_t id = 0; id < frames; id++) {
        assert_true(seen[id]);
        umem_put(u, id);
    }
    for (Pool pool : every_pool) assert_int_equal(umem_out(u, pool), 0);
    assert_int_equal(u->double_puts, 0);
    assert_true(umem_frame_of(u, u->bytes) == no_frame);
    assert_true(umem_frame_of(u, ~uint64_t{0}) == no_frame);
}

void refused(uint32_t frames, uint32_t frame_bytes, const char *part) {
    Umem umem;
    ErrorText error;
    UmemOptions options;
    options.frames = frames;
    options.frame_bytes = frame_bytes;
    check_error(umem_open(&umem, options, &error), error, WSXDP_E_INVALID, part);
    assert_null(umem.base);
    assert_int_equal(umem.fd, -1);
    umem_close(&umem);
}

// In a process of its own, since limits cannot be raised again by everybody.
int in_child(const std::function<int()> &body) {
    netns::Namespace space;
    return netns::Child(space, body).wait();
}

} // namespace

TEST(pools_of_every_size) {
    for (uint32_t frames = umem_frames_min; frames <= 8192; frames *= 2)
        for (uint32_t bytes : {2048u, 4096u}) check_pools(frames, bytes);
}
TEST(sizes_that_cannot_be) {
    for (uint32_t bytes : {0u, 1u, 1024u, 3000u, 8192u}) refused(64, bytes, "2048 or 4096");
    for (uint32_t frames : {0u, 1u, 32u, 63u, 65u, 100u, umem_frames_max * 2, 0x80000000u, ~0u})
        refused(frames, 2048, "power of two from 64 to 1048576");
}
TEST(what_is_not_out_is_not_put_back) {
    Memory m;
    Umem *u = &m.umem;
    const FrameId id = umem_take(u, Pool::ack);
    umem_put(u, id);
    umem_put(u, id);
    umem_put(u, 256);
    umem_put(u, no_frame);
    umem_put(u, 7); // never taken
    assert_int_equal(u->double_puts, 4);
    for (Pool pool : every_pool) assert_int_equal(umem_out(u, pool), 0);
}
TEST(random_taking_and_putting) {
    Memory m(128);
    Umem *u = &m.umem;
    std::minstd_rand random(static_cast<unsigned>(seed()));
    std::vector<FrameId> out[pool_count];
    uint32_t low[pool_count];
    for (unsigned i = 0; i < pool_count; i++) low[i] = u->pools[i].count;
    for (int step = 0; step < 100000; step++) {
        const unsigned i = random() % pool_count;
        if (random() % 2 != 0) {
            const FrameId id = umem_take(u, every_pool[i]);
            if (id == no_frame)
                assert_int_equal(out[i].size(), u->pools[i].count);
            else
                out[i].push_back(id);
        } else if (!out[i].empty()) {
            std::swap(out[i][random() % out[i].size()], out[i].back());
            umem_put(u, out[i].back());
            out[i].pop_back();
        }
        low[i] = std::min(low[i], u->pools[i].count - static_cast<uint32_t>(out[i].size()));
        if (umem_out(u, every_pool[i]) != out[i].size() || u->pools[i].low != low[i])
            fail_msg("step %d of seed %llu", step, static_cast<unsigned long long>(seed()));
    }
    assert_int_equal(u->double_puts, 0);
}
TEST(nobody_can_resize_it) {
    Memory m;
    assert_int_equal(ftruncate(m.umem.fd, 4096), -1);
    assert_int_equal(errno, EPERM);
    assert_int_equal(ftruncate(m.umem.fd, 1 << 30), -1);
    assert_int_equal(fcntl(m.umem.fd, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
    assert_true((fcntl(m.umem.fd, F_GETFD) & FD_CLOEXEC) != 0);
}
TEST(memory_is_the_same_in_a_child) {
    Memory m;
    assert_int_equal(in_child([&] {
                         umem_frame(&m.umem, 5)[0] = 77;
                         return 0;
                     }),
                     0);
    assert_int_equal(umem_frame(&m.umem, 5)[0], 77);
}

static int read_number(const char *path) {
    int value = 0;
    FILE *file = fopen(path, "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &value), 1);
    fclose(file);
    return value;
}
static void write_number(const char *path, int value) {
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    fprintf(file, "%d", value);
    fclose(file);
}

// 4 MiB in two of 2 MiB, where root may reserve some. They are taken away again before anything is judged;
// the lock is for the same test in another variant.
TEST(huge_pages_when_there_are_some) {
    const char *const knob = "/proc/sys/vm/nr_hugepages";
    const int lock = open("tests/xdp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(lock >= 0);
    assert_int_equal(flock(lock, LOCK_EX), 0);
    const int before = read_number(knob);
    write_number(knob, before + 2);
    const int reserved = read_number(knob);
    struct {
        bool hugepages;
        uint32_t frames;
        int code;
        bool huge;
        blksize_t page;
    } rows[] = {{true, 2048, 0, false, 0},
                {false, 2048, 0, false, 0}, // not wanted
                {true, 64, 0, false, 0}};   // would leave most of one unused
    for (auto &row : rows) {
        Umem umem;
        ErrorText error;
        UmemOptions options;
        options.hugepages = row.hugepages;
        options.frames = row.frames;
        row.code = umem_open(&umem, options, &error);
        if (row.code != 0) continue;
        struct stat facts = {};
        if (fstat(umem.fd, &facts) == 0) row.page = facts.st_blksize;
        row.huge = umem.huge;
        umem.base[umem.bytes - 1] = 1;
        umem_close(&umem);
    }
    write_number(knob, before);
    close(lock);
    for (const auto &row : rows) assert_int_equal(row.code, 0);
    assert_false(rows[1].huge);
    assert_false(rows[2].huge);
    if (reserved < before + 2) {
        print_message("SKIPPED: no huge pages can be reserved\n");
        skip();
    }
    assert_true(rows[0].huge);
    assert_int_equal(rows[0].page, 2 << 20);
    assert_int_equal(rows[1].page, 4096);
}
TEST(too_few_huge_pages_are_no_error) {
    Umem umem;
    ErrorText error;
    UmemOptions options;
    options.frame_bytes = 4096;
    // 128 MiB; with fewer than 64 huge pages free, as on a machine that was not set up for them, plain ones.
    options.frames = 32768;
    assert_int_equal(umem_open(&umem, options, &error), 0);
    if (read_number("/proc/sys/vm/nr_hugepages") < 64) assert_false(umem.huge);
    umem.base[umem.bytes - 1] = 1;
    umem_close(&umem);
}

TEST(out_of_memory_at_every_request) {
    const size_t before = open_descriptors();
    for (int64_t n = 0; n < 2; n++) {
        Umem umem;
        ErrorText error;
        allocation_fail_after(n);
        const int code = umem_open(&umem, UmemOptions(), &error);
        allocation_fail_after(-1);
        check_error(code, error, WSXDP_E_MEMORY, "out of memory");
        assert_null(umem.out);
    }
    assert_int_equal(open_descriptors(), before);
}
TEST(limits_that_are_too_low_are_named) {
    const struct {
        int resource;
        rlim_t value;
        int code;
        const char *part;
    } rows[] = {
        {RLIMIT_FSIZE, 1 << 20, WSXDP_E_SYSTEM, "ulimit -f"},
        {RLIMIT_NOFILE, 3, WSXDP_E_DESCRIPTORS, "ulimit -n"},
#ifndef __SANITIZE_ADDRESS__ // which needs address space itself, and ends when there is none
        {RLIMIT_AS, 1 << 20, WSXDP_E_MEMORY, "16777216 bytes: mapping it failed"},
#endif
    };
    for (const auto &row : rows) {
        const int status = in_child([&] {
            const rlimit limit = {row.value, row.value};
            Umem umem;
            ErrorText error;
            UmemOptions options;
            if (setrlimit(static_cast<__rlimit_resource>(row.resource), &limit) != 0) return 2;
            const int code = umem_open(&umem, options, &error);
            return code == row.code && error.code == row.code && strstr(error.text, row.part) ? 0 : 1;
        });
        if (status != 0) fail_msg("%s: %d", row.part, status);
    }
}
TEST(a_thousand_times_leaves_nothing) {
    const size_t before = open_descriptors();
    for (int i = 0; i < 1000; i++) {
        Memory m(64);
        umem_close(&m.umem); // and once more by the destructor
    }
    assert_int_equal(open_descriptors(), before);
}

TESTS("umem")
