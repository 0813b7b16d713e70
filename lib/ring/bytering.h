// SPDX-License-Identifier: MIT
// A ring of bytes mapped twice back to back, so that any run of up to `capacity` bytes is contiguous in
// memory and no wrap flag is needed. Carries the inbox of a connection (transport -> ws -> app) and its
// outbox (app -> transport).
//
// Positions count bytes for ever. When the ring is empty the producer jumps to the next lap (rewind): a
// connection whose consumer keeps up then lives in the first few pages, which stay in cache. The consumer
// never notices, since it is told positions by other means (slots, or the tail); it must only treat the words
// as opaque positions.
#pragma once
#include "../base/cpu.h"
#include "../base/status.h"
#include <atomic>

namespace wx {

struct alignas(cache_line_pair) ByteRingWords {
    std::atomic<uint64_t> tail; // producer: bytes below are valid
    uint8_t pad[cache_line_pair - sizeof(std::atomic<uint64_t>)];
    std::atomic<uint64_t> head; // consumer: bytes below are free again
    std::atomic<uint64_t> skip; // producer: the consumer continues at this position when it is past head
    uint8_t pad2[cache_line_pair - 2 * sizeof(std::atomic<uint64_t>)];
};
static_assert(sizeof(ByteRingWords) == 2 * cache_line_pair, "one cache line pair per side");

struct ByteRingProducer {
    ByteRingWords *words = nullptr;
    uint8_t *memory = nullptr;
    uint64_t capacity = 0; // power of two, a multiple of the page size
    uint64_t tail = 0;
    uint64_t head_seen = 0; // never below the last jump
    uint64_t told = 0;      // what the shared words say, unless somebody else wrote into them
    uint64_t told_skip = 0;
    bool corrupt = false;

    void open(ByteRingWords *ring_words, uint8_t *ring_memory, uint64_t ring_capacity) {
        *this = ByteRingProducer();
        words = ring_words;
        memory = ring_memory;
        capacity = ring_capacity;
    }
    // As open, but where the words say that both sides were.
    void resume(ByteRingWords *ring_words, uint8_t *ring_memory, uint64_t ring_capacity) {
        open(ring_words, ring_memory, ring_capacity);
        tail = words->tail.load(std::memory_order_acquire);
        head_seen = words->head.load(std::memory_order_acquire);
        if (tail - head_seen > capacity) corrupt = true, head_seen = tail;
        told = tail;
        told_skip = words->skip.load(std::memory_order_relaxed);
    }
    uint64_t used() const { return tail - head_seen; }
    // Reads the consumer's word. Positions before the last jump count as the jump's target: all that was
    // before it had been freed.
    uint64_t room() {
        uint64_t head = words->head.load(std::memory_order_acquire);
        if (head > head_seen) {
            if (head > tail) {
                corrupt = true;
                return 0;
            }
            head_seen = head;
        }
        return capacity - used();
    }
    uint8_t *at_tail() { return memory + (tail & (capacity - 1)); }
    void rewind_if_empty() {
        if (used() != 0 || (tail & (capacity - 1)) == 0) return;
        tail = (tail + capacity - 1) & ~(capacity - 1);
        head_seen = tail;
        told_skip = tail;
        words->skip.store(tail, std::memory_order_relaxed); // ordered by the next release store of tail
    }
    void publish(uint64_t bytes) {
        tail += bytes;
        told = tail;
        words->tail.store(tail, std::memory_order_release);
    }
    // Our words are as we left them.
    bool intact() const {
        return !corrupt && words->tail.load(std::memory_order_relaxed) == told &&
               words->skip.load(std::memory_order_relaxed) == told_skip;
    }
};

struct ByteRingConsumer {
    ByteRingWords *words = nullptr;
    uint8_t *memory = nullptr;
    uint64_t capacity = 0;
    uint64_t head = 0;
    uint64_t told = 0; // what the shared word says, unless somebody else wrote it
    bool corrupt = false;

    void open(ByteRingWords *ring_words, uint8_t *ring_memory, uint64_t ring_capacity) {
        *this = ByteRingConsumer();
        words = ring_words;
        memory = ring_memory;
        capacity = ring_capacity;
    }
    void resume(ByteRingWords *ring_words, uint8_t *ring_memory, uint64_t ring_capacity) {
        open(ring_words, ring_memory, ring_capacity);
        told = head = words->head.load(std::memory_order_acquire);
    }
    uint8_t *at(uint64_t position) const { return memory + (position & (capacity - 1)); }
    // For consumers that read the stream itself (outbox): bytes from head on, after following a jump.
    uint64_t ready() {
        uint64_t tail = words->tail.load(std::memory_order_acquire);
        uint64_t skip = words->skip.load(std::memory_order_relaxed);
        if (skip > head && skip <= tail) head = skip;
        if (tail - head > capacity) {
            corrupt = true;
            return 0;
        }
        return tail - head;
    }
    // Our word is as we left it.
    bool intact() const { return !corrupt && words->head.load(std::memory_order_relaxed) == told; }
    void release_to(uint64_t position) {
        if (position <= head && head != 0) return;
        told = head = position;
        words->head.store(head, std::memory_order_release);
    }
};

enum class MirrorUse : uint8_t { write, read };
// Maps `bytes` at `offset` of the descriptor twice in a row; nullptr on failure (errno set).
uint8_t *mirror_map(int fd, uint64_t offset, uint64_t bytes, MirrorUse use = MirrorUse::write);
// Takes the memory now, both maps included, so that the first lap has no page faults. Best effort.
void mirror_populate(uint8_t *memory, uint64_t bytes);
void mirror_unmap(uint8_t *memory, uint64_t bytes);

} // namespace wx
