// SPDX-License-Identifier: MIT
// Making, checking and mapping the shared region. All of it is cold. Never leaves a name in any file system:
// a memfd lives as long as its descriptors and maps. The worst case accepted is a region made by another
// version or cut short: it is refused before a byte of it is used.
#include "region.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace wx {

static uint64_t page_up(uint64_t bytes) { return (bytes + page_bytes - 1) & ~(page_bytes - 1); }

uint64_t power_of_two_at_least(uint64_t value) {
    uint64_t power = 1;
    while (power < value) power <<= 1;
    return power;
}

RegionLayout region_layout(const RegionSizes &sizes, const RegionSlots &slot, uint64_t shared_bytes) {
    RegionLayout layout;
    layout.shared = page_bytes;
    uint64_t at = page_bytes + page_up(shared_bytes);
    auto ring = [&at](uint64_t slots, uint64_t bytes) {
        uint64_t offset = at;
        at += page_up(sizeof(RingWords) + slots * bytes);
        return offset;
    };
    layout.metadata = ring(sizes.metadata_slots, slot.metadata);
    layout.events = ring(sizes.event_slots, slot.event);
    layout.control = ring(sizes.control_slots, slot.control);
    layout.commands = ring(sizes.command_slots, slot.command);
    layout.transport_notes = ring(sizes.note_slots, slot.note);
    layout.event_notes = ring(sizes.note_slots, slot.note);
    layout.rings_end = at;
    layout.connection_base = at;
    layout.connection_bytes = page_bytes + 2 * sizes.inbox_bytes + sizes.outbox_bytes;
    layout.total_bytes = at + sizes.connections * layout.connection_bytes;
    return layout;
}

uint8_t *mirror_map(int fd, uint64_t offset, uint64_t bytes, MirrorUse use) {
    const int access = use == MirrorUse::write ? PROT_READ | PROT_WRITE : PROT_READ;
    void *place = mmap(nullptr, 2 * bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) return nullptr;
    uint8_t *memory = static_cast<uint8_t *>(place);
    for (int half = 0; half < 2; half++) {
        uint8_t *target = memory + static_cast<uint64_t>(half) * bytes;
        if (mmap(target, bytes, access, MAP_SHARED | MAP_FIXED, fd, static_cast<off_t>(offset)) ==
            MAP_FAILED) {
            int cause = errno;
            munmap(memory, 2 * bytes);
            errno = cause;
            return nullptr;
        }
    }
    return memory;
}

void mirror_populate(uint8_t *memory, uint64_t bytes) {
#ifdef MADV_POPULATE_WRITE
    // Linux 5.14; without it the pages come when touched. Where they are mapped for reading, the second takes
    // them.
    if (madvise(memory, 2 * bytes, MADV_POPULATE_WRITE) != 0 && errno == EINVAL)
        (void)madvise(memory, 2 * bytes, MADV_POPULATE_READ);
#else
    (void)memory, (void)bytes;
#endif
}

void mirror_unmap(uint8_t *memory, uint64_t bytes) {
    if (memory != nullptr) munmap(memory, 2 * bytes);
}

static int region_failed(ErrorText *error, const char *what, int cause) {
    error->begin(WSXDP_E_REGION, cause).add("shared region: ").add(what).add(" failed: ").errno_name(cause);
    error->add(
        "; lower inbox.bytes, outbox.bytes or connections.max, or raise the limits of memory and file size");
    return WSXDP_E_REGION;
}

// Checked first: beyond RLIMIT_FSIZE (ulimit -f) the kernel would not only refuse but send SIGXFSZ, which
// ends the host program.
static int set_size(int fd, uint64_t bytes) {
    rlimit limit;
    if (getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY && bytes > limit.rlim_cur)
        return EFBIG;
    return ftruncate(fd, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
}

int region_create(Region *region, const RegionSizes &sizes, const RegionLayout &layout, ErrorText *error) {
    *region = Region();
    region->sizes = sizes;
    region->layout = layout;
    region->fd = memfd_create("wsxdp", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (region->fd < 0) {
        int cause = errno;
        if (cause != EMFILE && cause != ENFILE) return region_failed(error, "memfd_create", cause);
        error->begin(WSXDP_E_DESCRIPTORS, cause)
            .add("creating the shared region: no file descriptors left; ");
        error->add("raise the limit (ulimit -n)");
        return WSXDP_E_DESCRIPTORS;
    }
    int cause = 0;
    const char *step = "sizing it";
    if ((cause = set_size(region->fd, layout.total_bytes)) != 0) {
        // said below
    } else if (fcntl(region->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) {
        cause = errno;
        step = "sealing it";
    } else {
        void *base = mmap(nullptr, layout.rings_end, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, 0);
        if (base == MAP_FAILED) {
            cause = errno;
            step = "mapping it";
        } else {
            region->base = static_cast<uint8_t *>(base);
        }
    }
    if (region->base == nullptr) {
        region_free(region);
        return region_failed(error, step, cause);
    }
    RegionHeader *header = reinterpret_cast<RegionHeader *>(region->base);
    header->header_bytes = sizeof(RegionHeader);
    header->total_bytes = layout.total_bytes;
    header->sizes = sizes;
    header->version = region_version;
    header->magic = region_magic;
    return WSXDP_OK;
}

int region_join(Region *region, int fd, const RegionSizes &sizes, const RegionLayout &layout,
                ErrorText *error) {
    *region = Region();
    region->fd = fd;
    region->sizes = sizes;
    region->layout = layout;
    int status = region_check(fd, sizes, layout, error);
    if (status < 0) return status;
    void *base = mmap(nullptr, layout.rings_end, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) return region_failed(error, "mapping it", errno);
    region->base = static_cast<uint8_t *>(base);
    return WSXDP_OK;
}

int region_check(int fd, const RegionSizes &sizes, const RegionLayout &layout, ErrorText *error) {
    struct stat facts;
    RegionHeader header;
    error->begin(WSXDP_E_REGION).add("shared region: ");
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & (F_SEAL_SHRINK | F_SEAL_GROW)) != (F_SEAL_SHRINK | F_SEAL_GROW)) {
        // Whoever could cut it short could end us with SIGBUS.
        error->add("it is not sealed against resizing");
    } else if (fstat(fd, &facts) != 0 || static_cast<uint64_t>(facts.st_size) != layout.total_bytes) {
        error->add("its size is not what the configuration needs");
    } else if (pread(fd, &header, sizeof header, 0) != static_cast<ssize_t>(sizeof header)) {
        error->add("its header cannot be read");
    } else if (header.magic != region_magic) {
        error->add("this is not a wsxdp region");
    } else if (header.version != region_version || header.header_bytes != sizeof(RegionHeader)) {
        error->add("made by another version (").number(header.version).add(", this is ");
        error->number(region_version).add("); install library and helper of one version");
    } else if (header.total_bytes != layout.total_bytes || memcmp(&header.sizes, &sizes, sizeof sizes) != 0) {
        error->add("its sizes differ from the configuration's");
    } else {
        error->clear();
        return WSXDP_OK;
    }
    return WSXDP_E_REGION;
}

void region_free(Region *region) {
    if (region->base != nullptr) munmap(region->base, region->layout.rings_end);
    if (region->fd >= 0) close(region->fd);
    region->base = nullptr;
    region->fd = -1;
}

static uint64_t area_offset(const Region *region, uint64_t index) {
    return region->layout.connection_base + index * region->layout.connection_bytes;
}

static MirrorUse use_of(const Region *region, RegionSide writer) {
    return region->side == RegionSide::both || region->side == writer ? MirrorUse::write : MirrorUse::read;
}

static int map_connection(Region *region, uint64_t index, ConnectionArea *area, ErrorText *error) {
    uint64_t offset = area_offset(region, index);
    const RegionSizes &sizes = region->sizes;
    *area = ConnectionArea();
    void *words =
        mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, region->fd, static_cast<off_t>(offset));
    if (words != MAP_FAILED) {
        area->words = static_cast<ConnectionWords *>(words);
        const MirrorUse stages = use_of(region, RegionSide::stages), app = use_of(region, RegionSide::app);
        area->inbox = mirror_map(region->fd, offset + page_bytes, sizes.inbox_bytes, stages);
        const uint64_t outbox = offset + page_bytes + 2 * sizes.inbox_bytes;
        if (area->inbox != nullptr) area->outbox = mirror_map(region->fd, outbox, sizes.outbox_bytes, app);
    }
    if (area->outbox != nullptr) return WSXDP_OK;
    int cause = errno;
    region_leave_connection(region, area);
    return region_failed(error, "mapping a connection's buffers", cause);
}

int region_map_connection(Region *region, uint64_t index, ConnectionArea *area, ErrorText *error) {
    int status = map_connection(region, index, area, error);
    if (status >= 0) memset(static_cast<void *>(area->words), 0, sizeof(ConnectionWords));
    return status;
}

int region_join_connection(Region *region, uint64_t index, bool inflated, ConnectionArea *area,
                           ErrorText *error) {
    int status = map_connection(region, index, area, error);
    if (status >= 0 && inflated) status = region_map_inflated(region, index, area, error);
    if (status < 0) region_leave_connection(region, area);
    return status;
}

int region_map_inflated(Region *region, uint64_t index, ConnectionArea *area, ErrorText *error) {
    if (area->inflated != nullptr) return WSXDP_OK;
    uint64_t offset = area_offset(region, index) + page_bytes + region->sizes.inbox_bytes;
    const MirrorUse use = use_of(region, RegionSide::stages);
    area->inflated = mirror_map(region->fd, offset, region->sizes.inbox_bytes, use);
    return area->inflated ? WSXDP_OK : region_failed(error, "mapping the inflate buffer", errno);
}

void region_leave_connection(Region *region, ConnectionArea *area) {
    mirror_unmap(area->inbox, region->sizes.inbox_bytes);
    mirror_unmap(area->inflated, region->sizes.inbox_bytes);
    mirror_unmap(area->outbox, region->sizes.outbox_bytes);
    if (area->words != nullptr) munmap(area->words, page_bytes);
    *area = ConnectionArea();
}

void region_unmap_connection(Region *region, uint64_t index, ConnectionArea *area) {
    region_leave_connection(region, area);
    // The seals forbid resizing, not giving pages back.
    fallocate(region->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
              static_cast<off_t>(area_offset(region, index)),
              static_cast<off_t>(region->layout.connection_bytes));
}

} // namespace wx
