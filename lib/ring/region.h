// SPDX-License-Identifier: MIT
// The shared region: one sealed memfd that holds every ring, inbox and outbox of a handle, sized by options
// and recorded in its header. Memory is taken by the kernel only where it is touched, so unused connection
// areas cost nothing.
//
//   header page | the placement's words | ring words and slots | connection areas: words page, inbox, inflate
//   inbox, outbox
//
// Who maps a region checks magic, version and every size against the file.
#pragma once
#include "bytering.h"
#include "spsc.h"

namespace wx {

constexpr uint64_t region_magic = 0x3170647873777278ULL; // "xrwsxdp1"
constexpr uint32_t region_version = 5;
constexpr uint64_t page_bytes = 4096;

struct RegionSizes {
    uint64_t connections = 0; // power of two
    uint64_t inbox_bytes = 0; // power of two, as all below
    uint64_t outbox_bytes = 0;
    uint64_t metadata_slots = 0; // transport -> ws
    uint64_t event_slots = 0;    // ws -> app
    uint64_t control_slots = 0;  // ws -> transport
    uint64_t note_slots = 0;     // texts, transport -> ws and ws -> app
    uint64_t command_slots = 0;  // app -> transport
};

struct RegionHeader {
    uint64_t magic;
    uint32_t version;
    uint32_t header_bytes;
    uint64_t total_bytes;
    RegionSizes sizes;
};
static_assert(sizeof(RegionHeader) <= page_bytes, "the header is one page");

// Byte offsets of the parts; computed from the sizes alone, the same in every process.
struct RegionLayout {
    uint64_t shared = 0;
    uint64_t metadata = 0, events = 0, control = 0, commands = 0, transport_notes = 0, event_notes = 0;
    uint64_t rings_end = 0;       // [0, rings_end) is mapped once, whole
    uint64_t connection_base = 0; // first connection area
    uint64_t connection_bytes = 0;
    uint64_t total_bytes = 0;
};
// Bytes of one slot of each kind.
struct RegionSlots {
    uint64_t metadata = 0, event = 0, control = 0, command = 0, note = 0;
};
// shared_bytes: of what those who run the stages say to each other besides.
RegionLayout region_layout(const RegionSizes &sizes, const RegionSlots &slots, uint64_t shared_bytes);

// Words of one connection, at the beginning of its area.
struct ConnectionWords {
    ByteRingWords inbox;
    ByteRingWords inflated;
    ByteRingWords outbox;
    // The keepalive ping under way: written by the transport before it sends, read by ws when a pong comes.
    std::atomic<uint64_t> ping_cookie;
    std::atomic<uint64_t> ping_tick;
    // Where the frame that ws has the beginning of will end, 0 if it cannot tell: a read that stops there
    // leaves the inbox empty once the app has released, and the inbox goes back to its first pages.
    std::atomic<uint64_t> frame_end;
    // The app's answer to an OPEN event: what lies in the outbox from epoch_start on belongs to opening
    // number `epoch`. What was queued for a connection that is gone is never sent to its successor.
    std::atomic<uint64_t> epoch_start;
    std::atomic<uint64_t> epoch;
    std::atomic<uint32_t> flush_asked; // a flush command is on its way
    // What the stages tell of the connection: snapshots (snapshot.h) of what each of them counts.
    alignas(cache_line_pair) uint8_t transport_facts[512];
    alignas(cache_line_pair) uint8_t ws_facts[256];
    // And the app, of a handle that has a name; the peer is "wss://HOST:PORT", zero-terminated.
    alignas(cache_line_pair) uint8_t app_facts[256];
    uint8_t peer[288];
};
static_assert(sizeof(ConnectionWords) <= page_bytes, "one page per connection");

struct ConnectionArea {
    ConnectionWords *words = nullptr;
    uint8_t *inbox = nullptr;
    uint8_t *inflated = nullptr; // mapped when compression is agreed on
    uint8_t *outbox = nullptr;
};

// What a process has to do with the bytes of connections: the app writes outboxes, the stages inboxes. The
// other ones it maps for reading, so that a stray write of its own ends there.
enum class RegionSide : uint8_t { both, app, stages };

struct Region {
    int fd = -1;
    RegionSide side = RegionSide::both; // before any connection is mapped
    uint8_t *base = nullptr;            // [0, layout.rings_end)
    RegionLayout layout;
    RegionSizes sizes;
};

int region_create(Region *region, const RegionSizes &sizes, const RegionLayout &layout, ErrorText *error);
// Checks a region that somebody else made, before any of it is used. E_REGION with a sentence.
int region_check(int fd, const RegionSizes &sizes, const RegionLayout &layout, ErrorText *error);
void region_free(Region *region);
int region_map_connection(Region *region, uint64_t index, ConnectionArea *area, ErrorText *error);
int region_map_inflated(Region *region, uint64_t index, ConnectionArea *area, ErrorText *error);
// As it is, in a process that joins: what is in it stays. inflated: that buffer, too.
int region_join_connection(Region *region, uint64_t index, bool inflated, ConnectionArea *area,
                           ErrorText *error);
// Unmaps; others may go on using it.
void region_leave_connection(Region *region, ConnectionArea *area);
// Unmaps and gives the memory back to the system.
void region_unmap_connection(Region *region, uint64_t index, ConnectionArea *area);
// Maps a region that another process made, once region_check has found nothing wrong with it. The descriptor
// is the region's from now on.
int region_join(Region *region, int fd, const RegionSizes &sizes, const RegionLayout &layout,
                ErrorText *error);

uint64_t power_of_two_at_least(uint64_t value);

} // namespace wx
