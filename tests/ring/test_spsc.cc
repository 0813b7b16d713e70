// SPDX-License-Identifier: MIT
// The ring of slots: a model beside it in a random walk, every position that cannot be, and two threads.
#include "../base/check.h"
#include "ring_at.h"
#include <deque>
#include <memory>
#include <random>

using namespace wx;

namespace {

struct Slot {
    uint64_t number;
    uint64_t check;
};

using Ring = RingAt<Slot>;

void test_full_and_empty(void **) {
    for (uint64_t capacity : {1, 2, 8}) {
        Ring ring(capacity);
        for (uint64_t lap = 0; lap < 5; lap++) {
            assert_null(ring.consumer.front());
            assert_int_equal(ring.consumer.ready(), 0);
            for (uint64_t i = 0; i < capacity; i++) {
                assert_int_equal(ring.producer.room(), capacity - i);
                assert_true(ring.producer.push({lap * capacity + i, 0}));
            }
            assert_int_equal(ring.producer.room(), 0);
            assert_null(ring.producer.claim());
            assert_false(ring.producer.push({0, 0}));
            for (uint64_t i = 0; i < capacity; i++) {
                assert_int_equal(ring.consumer.front()->number, lap * capacity + i);
                ring.consumer.pop();
                assert_int_equal(ring.producer.room(), 0); // popped is not released
            }
            assert_null(ring.consumer.front());
            ring.consumer.release();
            assert_int_equal(ring.producer.room(), capacity);
        }
        assert_false(ring.producer.corrupt || ring.consumer.corrupt);
    }
}

void test_claimed_is_invisible(void **) {
    Ring ring(4);
    for (uint64_t i = 0; i < 3; i++) ring.producer.claim()->number = i;
    assert_int_equal(ring.consumer.ready(), 0);
    ring.producer.publish();
    assert_int_equal(ring.consumer.look(), 3);
    ring.producer.publish(); // nothing new: nothing happens
    for (uint64_t i = 0; i < 3; i++, ring.consumer.pop()) assert_int_equal(ring.consumer.front()->number, i);
    ring.consumer.release();
    ring.consumer.release();
    assert_int_equal(ring.consumer.ready(), 0);
}

// Any order of the calls, beside a queue that cannot be wrong.
void walk(uint64_t capacity, uint64_t start, uint32_t seed) {
    Ring ring(capacity, start);
    std::deque<uint64_t> claimed, visible;
    uint64_t popped = 0, next = 0;
    std::mt19937 random(seed);
    for (int i = 0; i < 20000; i++) {
        switch (random() % 5) {
        case 0: {
            bool full = claimed.size() + visible.size() + popped == capacity;
            Slot *slot = ring.producer.claim();
            assert_int_equal(slot == nullptr, full);
            if (slot == nullptr) break;
            slot->number = next;
            claimed.push_back(next++);
            break;
        }
        case 1:
            ring.producer.publish();
            visible.insert(visible.end(), claimed.begin(), claimed.end());
            claimed.clear();
            break;
        case 2:
        case 3: {
            Slot *slot = ring.consumer.front();
            assert_int_equal(slot == nullptr, visible.empty());
            if (slot == nullptr) break;
            assert_int_equal(slot->number, visible.front());
            visible.pop_front();
            ring.consumer.pop();
            popped++;
            break;
        }
        default:
            ring.consumer.release();
            popped = 0;
        }
    }
    assert_true(next > 1000 && !ring.producer.corrupt && !ring.consumer.corrupt);
}

void test_random_walks(void **) {
    uint32_t seed = 1;
    for (uint64_t capacity : {1, 2, 4, 64})
        for (uint64_t start : {uint64_t{0}, uint64_t{3}, UINT64_MAX - 100}) walk(capacity, start, seed++);
}

// ---- words that the other side broke ----

// With 3 published of which 1 is released and 1 popped, exactly the tails 3..5 can be.
void test_impossible_tails(void **) {
    constexpr uint64_t base = 1000, capacity = 4;
    for (uint64_t tail = base - 20; tail <= base + 20; tail++) {
        Ring ring(capacity, base);
        for (uint64_t i = 0; i < 3; i++) ring.producer.push({i, 0});
        ring.consumer.look();
        ring.consumer.pop();
        ring.consumer.release(); // released: base + 1
        ring.consumer.pop();     // popped: base + 2
        ring.words.tail = tail;
        bool possible = tail >= base + 2 && tail <= base + 5;
        uint64_t seen = ring.consumer.look();
        assert_int_equal(ring.consumer.corrupt, !possible);
        assert_int_equal(seen, possible ? tail - base - 2 : 0);
        assert_true(ring.consumer.head >= base &&
                    ring.consumer.tail_seen - ring.consumer.released_head <= capacity);
    }
    for (uint64_t tail : {uint64_t{0}, uint64_t{1} << 63, UINT64_MAX}) {
        Ring ring(capacity, base);
        ring.words.tail = tail;
        assert_null(ring.consumer.front());
        assert_true(ring.consumer.corrupt);
    }
}

// Full, with 2 of the 4 slots published and 2 only claimed: nobody can have released what was not published.
void test_impossible_heads(void **) {
    constexpr uint64_t base = 1000, capacity = 4;
    for (uint64_t head = base - 20; head <= base + 20; head++) {
        Ring ring(capacity, base);
        ring.producer.claim();
        ring.producer.claim();
        ring.producer.publish();
        ring.producer.claim();
        ring.producer.claim();
        ring.words.head = head;
        bool possible = head >= base && head <= base + 2;
        uint64_t room = ring.producer.room();
        assert_int_equal(ring.producer.corrupt, !possible);
        assert_int_equal(room, possible ? head - base : 0);
        assert_int_equal(ring.producer.claim() != nullptr, room != 0);
    }
    for (uint64_t head : {uint64_t{0}, uint64_t{1} << 63, UINT64_MAX}) {
        Ring ring(1, base);
        ring.producer.push({1, 1});
        ring.words.head = head;
        assert_null(ring.producer.claim());
        assert_true(ring.producer.corrupt);
    }
}

// ---- two threads ----

void test_two_threads(void **) {
    Ring ring(256);
    auto fill = [](Slot *slot, uint64_t i) { *slot = {i, mix(i)}; };
    auto is = [](const Slot &slot, uint64_t i) { return slot.number == i && slot.check == mix(i); };
    assert_int_equal(between_threads(&ring, fill, is), 0);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_full_and_empty),   cmocka_unit_test(test_claimed_is_invisible),
        cmocka_unit_test(test_random_walks),     cmocka_unit_test(test_impossible_tails),
        cmocka_unit_test(test_impossible_heads), cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests_name("ring: spsc", tests, nullptr, nullptr);
}
