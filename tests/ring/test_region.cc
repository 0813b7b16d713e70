// SPDX-License-Identifier: MIT
// The shared region: its layout, its seals, its check against every kind of damage, memory given back, and
// each system call of it failing (descriptors, address space, file size by their limits, in a child of its
// own).
#include "../../lib/ring/region.h"
#include "../base/check.h"
#include <fcntl.h>
#include <functional>
#include <string>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

using namespace wx;

namespace {

RegionSizes small_sizes() {
    RegionSizes sizes;
    sizes.connections = 4;
    sizes.inbox_bytes = 65536;
    sizes.outbox_bytes = 8192;
    sizes.metadata_slots = 64;
    sizes.event_slots = 128;
    sizes.control_slots = 32;
    sizes.note_slots = 16;
    sizes.command_slots = 64;
    return sizes;
}
RegionLayout layout_of(const RegionSizes &sizes) {
    return region_layout(sizes, {64, 128, 160, 48, 512}, 5000);
}

struct Made {
    Region region;
    ErrorText error;
    Made() {
        RegionSizes sizes = small_sizes();
        assert_int_equal(region_create(&region, sizes, layout_of(sizes), &error), WSXDP_OK);
    }
    ~Made() { region_free(&region); }
    int check() { return region_check(region.fd, region.sizes, region.layout, &error); }
    uint64_t blocks() {
        struct stat facts;
        assert_int_equal(fstat(region.fd, &facts), 0);
        return static_cast<uint64_t>(facts.st_blocks);
    }
};

void test_powers(void **) {
    const uint64_t cases[][2] = {
        {0, 1}, {1, 1}, {2, 2}, {3, 4}, {4096, 4096}, {4097, 8192}, {uint64_t{1} << 40, uint64_t{1} << 40}};
    for (auto &row : cases) assert_int_equal(power_of_two_at_least(row[0]), row[1]);
}

void test_layout(void **) {
    RegionSizes sizes = small_sizes();
    RegionLayout l = layout_of(sizes);
    struct Part {
        uint64_t offset, bytes;
    };
    const Part parts[] = {{0, sizeof(RegionHeader)},
                          {l.metadata, sizeof(RingWords) + 64 * 64},
                          {l.events, sizeof(RingWords) + 128 * 128},
                          {l.control, sizeof(RingWords) + 32 * 160},
                          {l.commands, sizeof(RingWords) + 64 * 48},
                          {l.transport_notes, sizeof(RingWords) + 16 * 512},
                          {l.event_notes, sizeof(RingWords) + 16 * 512},
                          {l.rings_end, 0}};
    for (size_t i = 0; i + 1 < sizeof parts / sizeof *parts; i++) {
        assert_int_equal(parts[i].offset % page_bytes, 0);
        assert_true(parts[i].offset + parts[i].bytes <= parts[i + 1].offset); // in order, nothing overlaps
    }
    assert_int_equal(l.connection_base, l.rings_end);
    assert_int_equal(l.connection_bytes, page_bytes + 2 * 65536 + 8192);
    assert_int_equal(l.total_bytes, l.rings_end + 4 * l.connection_bytes);
}

void test_sealed(void **) {
    Made made;
    struct stat facts;
    assert_int_equal(fstat(made.region.fd, &facts), 0);
    assert_int_equal(facts.st_size, made.region.layout.total_bytes);
    assert_int_equal(ftruncate(made.region.fd, 4096), -1);
    assert_int_equal(ftruncate(made.region.fd, facts.st_size + 4096), -1);
    assert_int_equal(fcntl(made.region.fd, F_ADD_SEALS, F_SEAL_WRITE), -1); // and no more seals
    assert_true(fcntl(made.region.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(made.check(), WSXDP_OK);
    assert_string_equal(made.error.text, "");
}

void test_damaged(void **) {
    Made made;
    const RegionHeader good = *reinterpret_cast<RegionHeader *>(made.region.base);
    RegionHeader *header = reinterpret_cast<RegionHeader *>(made.region.base);
    uint8_t *bytes = made.region.base;
    assert_int_equal(sizeof(RegionHeader), 24 + sizeof(RegionSizes)); // no padding: every byte counts
    for (size_t i = 0; i < sizeof(RegionHeader); i++) {
        bytes[i] ^= 1;
        int status = made.check();
        bytes[i] ^= 1;
        check_error(status, made.error, WSXDP_E_REGION, "shared region: ");
    }
    header->version = region_version + 1;
    const std::string versions = "another version (" + std::to_string(region_version + 1) + ", this is " +
                                 std::to_string(region_version) + ")";
    check_error(made.check(), made.error, WSXDP_E_REGION, versions.c_str());
    *header = good;
    header->magic = 0;
    check_error(made.check(), made.error, WSXDP_E_REGION, "not a wsxdp region");
    *header = good;
    assert_int_equal(made.check(), WSXDP_OK);
    // Any size that the configuration wants otherwise.
    for (size_t i = 0; i < sizeof(RegionSizes) / 8; i++) {
        RegionSizes other = small_sizes();
        reinterpret_cast<uint64_t *>(&other)[i] *= 2;
        ErrorText error;
        int status = region_check(made.region.fd, other, layout_of(other), &error);
        check_error(status, error, WSXDP_E_REGION, "shared region: its size");
    }
    check_error(region_check(-1, good.sizes, made.region.layout, &made.error), made.error, WSXDP_E_REGION,
                "");
}

// A copy of a good region in a file of our own: cut short, or without seals.
int check_copy(bool seal, int64_t size_change, ErrorText *error) {
    Made made;
    uint64_t total = made.region.layout.total_bytes;
    int fd = memfd_create("copy", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    assert_true(fd >= 0 && ftruncate(fd, static_cast<off_t>(total) + size_change) == 0);
    size_t size =
        total + static_cast<uint64_t>(size_change) < 4096 ? total + static_cast<uint64_t>(size_change) : 4096;
    assert_int_equal(pwrite(fd, made.region.base, size, 0), size);
    if (seal) assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW), 0);
    int status = region_check(fd, made.region.sizes, made.region.layout, error);
    close(fd);
    return status;
}

void test_foreign_files(void **) {
    ErrorText error;
    uint64_t total = layout_of(small_sizes()).total_bytes;
    assert_int_equal(check_copy(true, 0, &error), WSXDP_OK);
    check_error(check_copy(false, 0, &error), error, WSXDP_E_REGION, "not sealed");
    for (int64_t change :
         {int64_t{-1}, int64_t{1}, -static_cast<int64_t>(total), 40 - static_cast<int64_t>(total)})
        check_error(check_copy(true, change, &error), error, WSXDP_E_REGION, "its size is not");
}

void test_connections(void **) {
    Made made;
    size_t descriptors = open_descriptors();
    uint64_t before = made.blocks();
    ConnectionArea areas[4];
    for (uint64_t i = 0; i < 4; i++) {
        assert_int_equal(region_map_connection(&made.region, i, &areas[i], &made.error), WSXDP_OK);
        assert_null(areas[i].inflated);
        assert_int_equal(region_map_inflated(&made.region, i, &areas[i], &made.error), WSXDP_OK);
        uint8_t *first = areas[i].inflated;
        assert_int_equal(region_map_inflated(&made.region, i, &areas[i], &made.error), WSXDP_OK);
        assert_ptr_equal(areas[i].inflated, first);
        areas[i].words->inbox.tail = i + 1;
        memset(areas[i].inbox + 65536, static_cast<int>(i + 1), 65536);
        memset(areas[i].inflated, static_cast<int>(i + 17), 65536);
        memset(areas[i].outbox + 8192, static_cast<int>(i + 33), 8192);
    }
    for (uint64_t i = 0; i < 4; i++) { // each area is its own, and mirrored
        assert_int_equal(areas[i].words->inbox.tail, i + 1);
        for (size_t at : {size_t{0}, size_t{65535}, size_t{65536}, size_t{131071}}) {
            assert_int_equal(areas[i].inbox[at], i + 1);
            assert_int_equal(areas[i].inflated[at], i + 17);
        }
        for (size_t at : {0, 8191, 8192, 16383}) assert_int_equal(areas[i].outbox[at], i + 33);
    }
    assert_true(made.blocks() * 512 >= before * 512 + 4 * (2 * 65536 + 8192 + 4096));
    for (uint64_t i = 0; i < 4; i++) {
        region_unmap_connection(&made.region, i, &areas[i]);
        assert_true(areas[i].words == nullptr && areas[i].inbox == nullptr && areas[i].outbox == nullptr);
    }
    assert_int_equal(made.blocks(), before); // given back, though the map of the rings lives on
    assert_int_equal(open_descriptors(), descriptors);
    assert_int_equal(made.check(), WSXDP_OK);
    // The next user of an area finds nothing of the last one's.
    assert_int_equal(region_map_connection(&made.region, 1, &areas[1], &made.error), WSXDP_OK);
    assert_int_equal(areas[1].words->inbox.tail, 0);
    for (size_t at = 0; at < 65536; at += 512) assert_int_equal(areas[1].inbox[at], 0);
    region_unmap_connection(&made.region, 1, &areas[1]);
}

// ---- system calls that fail ----

// In a child, since limits cannot always be raised again; the child says what was wrong by its exit code.
void in_child(const std::function<int()> &work) {
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(work());
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_msg("the child ended with status 0x%x", status);
}

void limit(int which, uint64_t value) {
    rlimit at = {value, value};
    setrlimit(static_cast<__rlimit_resource>(which), &at);
}

int create_fails(int code, const char *part) {
    RegionSizes sizes = small_sizes();
    Region region;
    ErrorText error;
    int status = region_create(&region, sizes, layout_of(sizes), &error);
    if (status != code || error.code != code) return 2;
    if (!strstr(error.text, part)) return 3;
    return region.fd == -1 && region.base == nullptr ? 0 : 4;
}

// Written by the kernel, which tells where that cannot be.
bool is_writable(const Made &made, uint8_t *at) { return pread(made.region.fd, at, 1, 0) == 1; }

void test_sides(void **) {
    for (RegionSide side : {RegionSide::both, RegionSide::app, RegionSide::stages}) {
        Made made;
        made.region.side = side;
        ConnectionArea area;
        assert_int_equal(region_map_connection(&made.region, 2, &area, &made.error), WSXDP_OK);
        assert_int_equal(region_map_inflated(&made.region, 2, &area, &made.error), WSXDP_OK);
        mirror_populate(area.inbox, 65536);
        for (size_t half : {0, 1}) {
            assert_int_equal(is_writable(made, area.inbox + half * 65536), side != RegionSide::app);
            assert_int_equal(is_writable(made, area.inflated + half * 65536), side != RegionSide::app);
            assert_int_equal(is_writable(made, area.outbox + half * 8192), side != RegionSide::stages);
        }
        assert_true(is_writable(made, reinterpret_cast<uint8_t *>(area.words)));
        region_unmap_connection(&made.region, 2, &area);
    }
}

void test_no_descriptors(void **) {
    in_child([] {
        int used = open("/dev/null", O_RDONLY);
        limit(RLIMIT_NOFILE, static_cast<uint64_t>(used));
        close(used);
        while (dup(2) >= 0) {
        }
        return create_fails(WSXDP_E_DESCRIPTORS, "ulimit -n");
    });
}

void test_file_size_limit(void **) {
    in_child([] {
        size_t before = open_descriptors();
        limit(RLIMIT_FSIZE, 4096); // a plain ftruncate would end this process with SIGXFSZ
        int wrong = create_fails(WSXDP_E_REGION, "File too large");
        return wrong ? wrong : before == open_descriptors() ? 0 : 5;
    });
}

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) // their shadow memory is beyond any limit
void test_no_address_space(void **) {
    in_child([] {
        size_t before = open_descriptors();
        limit(RLIMIT_AS, 1); // nothing can be mapped any more
        int wrong = create_fails(WSXDP_E_REGION, "mapping it");
        limit(RLIMIT_AS, RLIM_INFINITY);
        return wrong ? wrong : before == open_descriptors() ? 0 : 5;
    });
}

// Address space for the first k pages only: each map of a connection fails once.
void test_maps_fail_one_by_one(void **) {
    in_child([] {
        RegionSizes sizes = small_sizes();
        Region region;
        ErrorText error;
        if (region_create(&region, sizes, layout_of(sizes), &error) != WSXDP_OK) return 2;
        int failures = 0;
        for (uint64_t budget = 0;; budget += 8192) {
            FILE *file = fopen("/proc/self/statm", "r");
            unsigned long pages = 0;
            if (fscanf(file, "%lu", &pages) != 1) return 3;
            fclose(file);
            rlimit now = {pages * 4096 + budget, RLIM_INFINITY};
            setrlimit(RLIMIT_AS, &now);
            ConnectionArea area;
            int status = region_map_connection(&region, 2, &area, &error);
            rlimit none = {RLIM_INFINITY, RLIM_INFINITY};
            setrlimit(RLIMIT_AS, &none);
            if (status == WSXDP_OK) {
                region_unmap_connection(&region, 2, &area);
                break;
            }
            failures++;
            if (status != WSXDP_E_REGION || error.system_errno != ENOMEM) return 4;
            if (area.words || area.inbox || area.outbox) return 5;
        }
        FILE *maps = fopen("/proc/self/maps", "r");
        char line[512];
        int mapped = 0;
        while (fgets(line, sizeof line, maps)) mapped += strstr(line, "memfd:wsxdp") != nullptr;
        fclose(maps);
        region_free(&region);
        return failures < 3 ? 6 : mapped != 1 ? 7 : 0; // only the rings are mapped: nothing was left
    });
}
#endif

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_powers),
        cmocka_unit_test(test_layout),
        cmocka_unit_test(test_sealed),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_foreign_files),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_sides),
        cmocka_unit_test(test_no_descriptors),
        cmocka_unit_test(test_file_size_limit),
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        cmocka_unit_test(test_no_address_space),
        cmocka_unit_test(test_maps_fail_one_by_one),
#endif
    };
    return cmocka_run_group_tests_name("ring: region", tests, nullptr, nullptr);
}
