// SPDX-License-Identifier: MIT
// Single-producer, single-consumer ring of fixed-size slots in shared memory. The same ring joins two stages
// inside a thread, between threads and between processes.
//
// Positions count slots for ever (64 bits do not wrap in practice); a slot is position & mask. Each side
// keeps its own position and a copy of the other's in private memory, and looks at the shared word only when
// the copy says full or empty. What is read from the shared word is checked, since the other side may be
// broken: a position that cannot be is reported as `corrupt` and never used as an index.
//
// Slots that carry their lap say themselves that they are filled. The consumer then looks at the next slot
// and not at the position, so that one cache line crosses to its core and not two; the position is for
// counting. (The idea of FastForward, Giacomoni, Moseley and Vachharajani, PPoPP 2008.)
//
// Order of calls: producer claim() -> fill -> publish(); consumer front() -> read -> pop().
#pragma once
#include "../base/cpu.h"
#include "../base/status.h"
#include <atomic>
#include <stddef.h>
#include <string.h>
#include <type_traits>

namespace wx {

// The shared words of one ring: one writer each, on their own cache line pairs.
struct alignas(cache_line_pair) RingWords {
    std::atomic<uint64_t> tail; // written by the producer: slots below are filled
    uint8_t pad[cache_line_pair - sizeof(std::atomic<uint64_t>)];
    std::atomic<uint64_t> head; // written by the consumer: slots below are free again
    uint8_t pad2[cache_line_pair - sizeof(std::atomic<uint64_t>)];
};
static_assert(sizeof(RingWords) == 2 * cache_line_pair, "one cache line pair per side");
static_assert(std::atomic<uint64_t>::is_always_lock_free, "shared words must not hide a lock");

// Slots with a member `lap` carry which time round the ring they were filled. It is written last, by
// publish() alone: who fills a slot leaves it as it is (claim_cleared, slot_copy).
template <class Slot, class = void> struct SlotLap {
    static constexpr bool kept = false; // none
    static void write(Slot *, uint8_t) {}
    static bool is(const Slot *, uint8_t) { return true; }
};
template <class Slot> struct SlotLap<Slot, std::void_t<decltype(Slot::lap)>> {
    static constexpr bool kept = true;
    // Pairs with the acquire load in is(): the slot's contents before its lap.
    static void write(Slot *slot, uint8_t lap) { __atomic_store_n(&slot->lap, lap, __ATOMIC_RELEASE); }
    static bool is(const Slot *slot, uint8_t lap) {
        return __atomic_load_n(&slot->lap, __ATOMIC_ACQUIRE) == lap;
    }
};
// Never 0, which is that of a slot that was never filled, nor that of the lap before.
inline uint8_t lap_of(uint64_t position, uint64_t capacity) {
    return static_cast<uint8_t>(position >> __builtin_ctzll(capacity) | 0x80);
}

// All of a slot but its lap, which the consumer may be looking at.
template <class Slot> void slot_copy(Slot *to, const Slot &from) {
    constexpr size_t lap = offsetof(Slot, lap), rest = lap + sizeof from.lap;
    memcpy(static_cast<void *>(to), &from, lap);
    memcpy(reinterpret_cast<uint8_t *>(to) + rest, reinterpret_cast<const uint8_t *>(&from) + rest,
           sizeof from - rest);
}
template <class Slot> void slot_clear(Slot *slot) {
    constexpr size_t lap = offsetof(Slot, lap), rest = lap + sizeof slot->lap;
    memset(static_cast<void *>(slot), 0, lap);
    memset(reinterpret_cast<uint8_t *>(slot) + rest, 0, sizeof *slot - rest);
}

template <class Slot> struct RingProducer {
    static_assert(std::is_trivially_copyable<Slot>::value, "slots cross process boundaries");
    RingWords *words = nullptr;
    Slot *slots = nullptr;
    uint64_t capacity = 0; // power of two
    uint64_t tail = 0;     // next slot to claim; published up to published_tail
    uint64_t published_tail = 0;
    uint64_t head_seen = 0;
    bool corrupt = false;

    void open(RingWords *ring_words, Slot *ring_slots, uint64_t ring_capacity) {
        *this = RingProducer();
        words = ring_words;
        slots = ring_slots;
        capacity = ring_capacity;
    }
    // Free slots, at least as far as the caller cares: the shared word is read only when the private copy
    // says that there are fewer than wanted.
    uint64_t room(uint64_t wanted = 1) {
        if (capacity - (tail - head_seen) < wanted) {
            // Pairs with the release store in RingConsumer::release: the consumer's reads of a slot come
            // before our writes to it.
            uint64_t head = words->head.load(std::memory_order_acquire);
            if (head - head_seen > published_tail - head_seen) { // claimed slots cannot have been read
                corrupt = true;
                return 0;
            }
            head_seen = head;
        }
        return capacity - (tail - head_seen);
    }
    // The next slot to fill, or nullptr when full. Claimed slots are invisible until publish().
    Slot *claim() { return room() ? &slots[tail++ & (capacity - 1)] : nullptr; }
    Slot *claim_cleared() { // all zero but for its lap
        Slot *slot = claim();
        if (slot != nullptr) slot_clear(slot);
        return slot;
    }
    void publish() {
        if (published_tail == tail) return;
        for (uint64_t at = published_tail; at != tail; at++)
            SlotLap<Slot>::write(&slots[at & (capacity - 1)], lap_of(at, capacity));
        published_tail = tail;
        // Pairs with the acquire load in RingConsumer::look: slot contents before the position.
        words->tail.store(tail, std::memory_order_release);
        if constexpr (SlotLap<Slot>::kept) return; // the consumer looks at the next slot now
        // The next slot was last used a lap ago: it is fetched while nobody waits for it.
        const uint8_t *ahead = reinterpret_cast<const uint8_t *>(&slots[tail & (capacity - 1)]);
        __builtin_prefetch(ahead, 1);
        if (sizeof(Slot) > cache_line) __builtin_prefetch(ahead + cache_line, 1);
    }
    // Our word is as we left it.
    bool intact() const { return !corrupt && words->tail.load(std::memory_order_relaxed) == published_tail; }
    bool push(const Slot &slot) {
        Slot *place = claim();
        if (place == nullptr) return false;
        if constexpr (SlotLap<Slot>::kept)
            slot_copy(place, slot);
        else
            *place = slot;
        publish();
        return true;
    }
};

template <class Slot> struct RingConsumer {
    RingWords *words = nullptr;
    Slot *slots = nullptr;
    uint64_t capacity = 0;
    uint64_t head = 0; // next slot to look at; given back up to released_head
    uint64_t released_head = 0;
    uint64_t tail_seen = 0;
    bool corrupt = false;

    void open(RingWords *ring_words, Slot *ring_slots, uint64_t ring_capacity) {
        *this = RingConsumer();
        words = ring_words;
        slots = ring_slots;
        capacity = ring_capacity;
    }
    // Whether there is a slot to look at. Shared memory is read only when the private copy says no.
    bool ready() {
        if (tail_seen != head) return true;
        if constexpr (!SlotLap<Slot>::kept) return look() != 0;
        if (!SlotLap<Slot>::is(&slots[head & (capacity - 1)], lap_of(head, capacity))) return false;
        tail_seen = head + 1;
        return true;
    }
    // How many there are, by the position.
    uint64_t look() {
        uint64_t tail = words->tail.load(std::memory_order_acquire);
        // Slots that say themselves that they are filled can be taken before the position is moved.
        if (SlotLap<Slot>::kept && head - tail <= capacity) tail = head;
        if (tail - released_head > capacity || tail - released_head < head - released_head) {
            corrupt = true;
            return 0;
        }
        tail_seen = tail;
        // The next slot's line comes while the position's does, not after it.
        if (tail == head) __builtin_prefetch(&slots[head & (capacity - 1)]);
        return tail_seen - head;
    }
    // As look(), unchecked, for who only wants to know how full it is.
    uint64_t waiting() const {
        const uint64_t count = words->tail.load(std::memory_order_acquire) - head;
        return count <= capacity ? count : 0;
    }
    // Nothing is left of what the last look saw.
    bool drained() const { return tail_seen == head; }
    // Pops, and gives the next slot, if there is one.
    Slot *next() {
        head++;
        if constexpr (SlotLap<Slot>::kept) return front();
        return drained() ? nullptr : checked(); // without a look at the shared word for each end
    }
    Slot *front() {
        if constexpr (!SlotLap<Slot>::kept) return ready() ? checked() : nullptr;
        Slot *slot = checked();
        if (slot != nullptr && tail_seen == head) tail_seen++;
        return slot;
    }
    // A slot that was not filled in this lap is none; a position that says otherwise is wrong.
    Slot *checked() {
        Slot *slot = &slots[head & (capacity - 1)];
        if (SlotLap<Slot>::is(slot, lap_of(head, capacity))) return slot;
        if (tail_seen != head) corrupt = true; // no store while somebody waits here
        return nullptr;
    }
    void pop() { head++; }
    // Our word is as we left it.
    bool intact() const { return !corrupt && words->head.load(std::memory_order_relaxed) == released_head; }
    // Gives everything popped back to the producer.
    void release() {
        if (released_head == head) return;
        released_head = head;
        words->head.store(head, std::memory_order_release);
    }
};

} // namespace wx
