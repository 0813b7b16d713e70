// SPDX-License-Identifier: MIT
// The ring of slots that carry their lap: what the one in test_spsc must do, by another way, and what only it
// can.
#include "../base/registry.h"
#include "ring_at.h"
#include <random>

using namespace wx;

namespace {

struct Slot {
    uint64_t number, check;
    uint8_t before;
    uint8_t lap;
    uint8_t after[6];
};

struct Ring : RingAt<Slot> {
    using RingAt::RingAt;
    void put(uint64_t number) { assert_true(producer.push({number, ~number, 1, 0xFF, {}})); }
};

} // namespace

TEST(a_lap_is_never_none_nor_that_before) {
    for (uint64_t capacity : {1, 2, 2048})
        for (uint64_t turn = 0; turn < 1000; turn++) {
            const uint64_t at = turn * capacity + capacity / 2;
            assert_int_not_equal(lap_of(at, capacity), 0);
            assert_int_not_equal(lap_of(at, capacity), lap_of(at + capacity, capacity));
            assert_int_equal(lap_of(at, capacity), lap_of(turn * capacity, capacity));
        }
    assert_int_not_equal(lap_of(UINT64_MAX, 4), lap_of(UINT64_MAX + 1, 4)); // where positions begin again
}

// Any order of the calls; many more laps than there are marks.
TEST(any_order_of_calls) {
    for (uint64_t capacity : {1, 2, 4, 64}) {
        for (uint64_t start : {uint64_t{0}, uint64_t{3}, UINT64_MAX - 1000}) {
            Ring ring(capacity, start);
            std::mt19937 random(static_cast<uint32_t>(capacity));
            uint64_t claimed = 0, published = 0, popped = 0, released = 0;
            for (int i = 0; i < 40000; i++) {
                const uint32_t what = random() % 6;
                if (what == 0) {
                    Slot *slot = ring.producer.claim_cleared();
                    assert_int_equal(slot == nullptr, claimed - released == capacity);
                    if (slot != nullptr) slot->number = claimed++;
                } else if (what == 1) {
                    ring.producer.publish();
                    published = claimed;
                } else if (what == 2) {
                    assert_int_equal(ring.consumer.look(), published - popped);
                } else if (what == 3) {
                    ring.consumer.release();
                    released = popped;
                } else {
                    const Slot *slot = ring.consumer.front();
                    assert_int_equal(slot == nullptr, published == popped);
                    assert_int_equal(ring.consumer.ready(), published != popped);
                    assert_int_equal(ring.consumer.waiting(), published - popped);
                    for (; slot != nullptr && random() % 3 != 0; popped++) {
                        assert_int_equal(slot->number, popped);
                        slot = ring.consumer.next();
                        assert_int_equal(slot == nullptr, published == popped + 1);
                        assert_int_equal(ring.consumer.drained(), slot == nullptr);
                    }
                }
            }
            assert_true(claimed > 200 * capacity || capacity == 64);
            assert_false(ring.producer.corrupt || ring.consumer.corrupt);
        }
    }
}

// What is written into a claimed slot leaves the mark alone, which somebody may be looking at.
TEST(filling_leaves_the_lap_as_it_is) {
    Ring ring(2);
    ring.slots[0].lap = 7;
    ring.slots[1].lap = 8;
    Slot *cleared = ring.producer.claim_cleared();
    assert_true(cleared->lap == 7 && cleared->before == 0 && cleared->after[5] == 0);
    Slot *copied = ring.producer.claim();
    slot_copy(copied, {1, 2, 3, lap_of(1, 2), {4, 4, 4, 4, 4, 5}});
    assert_true(copied->lap == 8 && copied->number == 1 && copied->before == 3 && copied->after[5] == 5);
    assert_null(ring.consumer.front());
    ring.producer.publish();
    assert_ptr_equal(ring.consumer.front(), cleared);
    assert_ptr_equal(ring.consumer.next(), copied);
}

// The position is moved after the laps: who has taken the slots by then is ahead of it.
TEST(the_position_may_lag_behind) {
    Ring ring(4, 100);
    for (uint64_t i = 0; i < 3; i++) ring.put(i);
    ring.words.tail = 100; // as it is between the two
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(ring.consumer.front()->number, i);
        ring.consumer.pop();
        assert_int_equal(ring.consumer.look(), 0);
        assert_int_equal(ring.consumer.waiting(), 0);
        if (i == 1) ring.consumer.release();
    }
    ring.consumer.release();
    assert_int_equal(ring.consumer.look(), 0);
    ring.words.tail = 103;
    assert_int_equal(ring.consumer.look(), 0);
    assert_false(ring.consumer.corrupt);
}

// A position that somebody wrote over makes nobody take a slot that was not filled, and is found when
// counted.
TEST(a_position_that_cannot_be) {
    for (uint64_t tail = 80; tail <= 120; tail++) {
        Ring ring(4, 100);
        for (uint64_t i = 0; i < 2; i++) ring.put(i);
        ring.words.tail = tail;
        for (uint64_t i = 0; i < 2; i++, ring.consumer.pop())
            assert_int_equal(ring.consumer.front()->number, i);
        assert_null(ring.consumer.front());
        const bool possible =
            tail >= 98 && tail <= 104; // behind by a ring at most, or ahead as far as it goes
        const uint64_t count = ring.consumer.look();
        assert_int_equal(ring.consumer.corrupt, !possible);
        assert_int_equal(count, possible && tail > 102 ? tail - 102 : 0);
        assert_null(ring.consumer.front()); // says it, but the slot does not
        assert_int_equal(ring.consumer.corrupt, !possible || tail > 102);
    }
}

TEST(two_threads_and_laps) {
    Ring ring(256);
    auto fill = [](Slot *slot, uint64_t i) { slot_copy(slot, {i, mix(i), 0, 0, {}}); };
    auto is = [](const Slot &slot, uint64_t i) { return slot.number == i && slot.check == mix(i); };
    assert_int_equal(between_threads<Slot>(&ring, fill, is), 0);
}

TESTS("ring: laps")
