// SPDX-License-Identifier: MIT
// Slots of one size, and a binary heap of those that wait. Slots are taken last in, first out, so that a
// conversation of a few packets stays in cache however many slots there are; one that was never used is not
// touched, so opening costs nothing for them. Never reads a clock and never takes memory after open. Worst
// case: every slot waits, and a packet costs two walks through the heap's height.
#include "sim_timeline.h"
#include "../base/alloc.h"
#include "../base/status.h"

namespace wx {
namespace {

constexpr uint32_t no_slot = UINT32_MAX;
constexpr uint32_t slot_align = 64; // a packet begins in no line that another's end is in

struct SimSlot {
    SimHolder *holder;
    uint32_t size;
    uint32_t next; // free slots
};

SimSlot *slot_at(const SimTimeline *timeline, uint32_t index) {
    return reinterpret_cast<SimSlot *>(timeline->slots + size_t{index} * timeline->slot_bytes);
}
uint8_t *packet_of(SimSlot *slot) { return reinterpret_cast<uint8_t *>(slot + 1); }

bool before(const SimEntry &a, const SimEntry &b) {
    return a.due != b.due ? a.due < b.due : a.order < b.order;
}

void push(SimTimeline *timeline, const SimEntry &entry) {
    SimEntry *heap = timeline->heap;
    uint32_t at = timeline->waiting++;
    while (at != 0 && before(entry, heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = entry;
}

SimEntry pop(SimTimeline *timeline) {
    SimEntry *heap = timeline->heap;
    const SimEntry first = heap[0];
    const uint32_t count = --timeline->waiting;
    const SimEntry last = heap[count];
    uint32_t at = 0;
    for (uint32_t child = 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && before(heap[child + 1], heap[child])) child++;
        if (!before(heap[child], last)) break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last; // also when it was the only one: nobody looks there
    return first;
}

uint32_t take_slot(SimTimeline *timeline, ByteView packet) {
    if (packet.size > timeline->packet_bytes) {
        timeline->refused_large++;
        return no_slot;
    }
    uint32_t index = timeline->free_head;
    if (index != no_slot) {
        timeline->free_head = slot_at(timeline, index)->next;
    } else if (timeline->fresh < timeline->slot_count) {
        index = timeline->fresh++;
    } else {
        timeline->refused_full++;
        return no_slot;
    }
    SimSlot *slot = slot_at(timeline, index);
    slot->size = static_cast<uint32_t>(packet.size);
    if (packet.size != 0) memcpy(packet_of(slot), packet.data, packet.size);
    timeline->in_use++;
    return index;
}

void free_slot(SimTimeline *timeline, uint32_t index) {
    slot_at(timeline, index)->next = timeline->free_head;
    timeline->free_head = index;
    timeline->in_use--;
}

} // namespace

int sim_timeline_open(SimTimeline *timeline, const SimTimelineOptions &options) {
    *timeline = SimTimeline();
    if (options.slots == 0 || options.slots > sim_slots_max) return WSXDP_E_INVALID;
    if (options.packet_bytes < sim_packet_min || options.packet_bytes > sim_packet_max)
        return WSXDP_E_INVALID;
    const size_t bytes = sizeof(SimSlot) + options.packet_bytes;
    timeline->slot_bytes = static_cast<uint32_t>((bytes + slot_align - 1) / slot_align * slot_align);
    timeline->slot_count = options.slots;
    timeline->packet_bytes = options.packet_bytes;
    // Not zeroed, which would cost more than all the rest of opening.
    timeline->slots =
        static_cast<uint8_t *>(reallocate(nullptr, size_t{timeline->slot_bytes} * options.slots));
    timeline->heap = static_cast<SimEntry *>(reallocate(nullptr, sizeof(SimEntry) * options.slots));
    if (timeline->slots == nullptr || timeline->heap == nullptr) {
        sim_timeline_close(timeline);
        return WSXDP_E_MEMORY;
    }
    sim_timeline_reset(timeline);
    return WSXDP_OK;
}

void sim_timeline_close(SimTimeline *timeline) {
    deallocate(timeline->slots);
    deallocate(timeline->heap);
    *timeline = SimTimeline();
}

void sim_timeline_reset(SimTimeline *timeline) {
    timeline->waiting = timeline->fresh = timeline->in_use = 0;
    timeline->free_head = no_slot;
    timeline->order = timeline->refused_full = timeline->refused_large = 0;
}

bool sim_timeline_hold(SimTimeline *timeline, SimHolder *holder, ByteView packet, Nanos due) {
    const uint32_t index = take_slot(timeline, packet);
    if (index == no_slot) return false;
    slot_at(timeline, index)->holder = holder;
    push(timeline, SimEntry{due, timeline->order++, index});
    return true;
}

uint8_t *sim_timeline_borrow(SimTimeline *timeline, ByteView packet) {
    const uint32_t index = take_slot(timeline, packet);
    return index == no_slot ? nullptr : packet_of(slot_at(timeline, index));
}

void sim_timeline_return(SimTimeline *timeline, uint8_t *packet) {
    const size_t offset = static_cast<size_t>(packet - timeline->slots);
    free_slot(timeline, static_cast<uint32_t>(offset / timeline->slot_bytes));
}

size_t sim_timeline_run(SimTimeline *timeline, Nanos now, size_t most) {
    size_t done = 0;
    while (done < most && timeline->waiting != 0 && timeline->heap[0].due <= now) {
        const SimEntry entry = pop(timeline);
        SimSlot *slot = slot_at(timeline, entry.slot);
        slot->holder->release(slot->holder, ByteView(packet_of(slot), slot->size), entry.due);
        free_slot(timeline, entry.slot); // only now: the packet was read from it
        done++;
    }
    return done;
}

} // namespace wx
