// SPDX-License-Identifier: MIT
// A slot ring with both of its ends in one place.
#pragma once
#include "../../lib/ring/spsc.h"
#include <thread>
#include <vector>

template <class Slot> struct RingAt {
    wx::RingWords words;
    std::vector<Slot> slots;
    wx::RingProducer<Slot> producer;
    wx::RingConsumer<Slot> consumer;

    // Begins at position `start`, as a ring that has run for long.
    explicit RingAt(uint64_t capacity, uint64_t start = 0) : slots(capacity) {
        words.head = words.tail = start;
        producer.open(&words, slots.data(), capacity);
        consumer.open(&words, slots.data(), capacity);
        producer.tail = producer.published_tail = producer.head_seen = start;
        consumer.head = consumer.released_head = consumer.tail_seen = start;
    }
};

inline uint64_t mix(uint64_t value) { return (value ^ value >> 31) * 0x9E3779B97F4A7C15ull; }

// Batches of all sizes from one thread to another: `fill` makes a slot the one of a number, `is` says whether
// it came as that. How many did not.
template <class Slot, class Fill, class Is>
uint64_t between_threads(RingAt<Slot> *ring, const Fill &fill, const Is &is) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    constexpr uint64_t count = 2000000;
#else
    constexpr uint64_t count = 10000000;
#endif
    std::thread producer([&] {
        for (uint64_t i = 0; i < count;) {
            uint64_t batch = 1 + mix(i) % 40;
            Slot *slot;
            for (; batch && i < count && (slot = ring->producer.claim()); batch--, i++) fill(slot, i);
            ring->producer.publish();
            if (batch) std::this_thread::yield();
        }
    });
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < count;) {
        uint64_t batch = 1 + mix(i + 7) % 50;
        wrong += i % 3 == 0 && ring->consumer.look() > ring->slots.size();
        const Slot *slot = ring->consumer.front();
        for (; batch && slot != nullptr; batch--, i++) {
            wrong += !is(*slot, i);
            ring->consumer.pop();
            slot = ring->consumer.front();
        }
        ring->consumer.release();
        if (batch) std::this_thread::yield();
    }
    producer.join();
    return wrong + (ring->consumer.look() != 0) + ring->producer.corrupt + ring->consumer.corrupt;
}
