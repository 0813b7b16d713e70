// SPDX-License-Identifier: MIT
// A slot ring with both of its ends in one place.
#pragma once
#include "../../lib/ring/spsc.h"
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
