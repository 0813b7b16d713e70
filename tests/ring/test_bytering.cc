// SPDX-License-Identifier: MIT
// The byte ring: contiguous at the seam, rewound when empty with the consumer following, corrupt words found
// out, and two threads with blocks of random sizes that carry their own check.
#include "../../lib/ring/bytering.h"
#include "../base/check.h"
#include <random>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>

using namespace wx;

namespace {

struct Ring {
    int fd;
    uint64_t capacity;
    uint8_t *memory;
    ByteRingWords words;
    ByteRingProducer producer;
    ByteRingConsumer consumer;

    explicit Ring(uint64_t bytes) : capacity(bytes) {
        words.head = words.tail = words.skip = 0;
        fd = memfd_create("test", MFD_CLOEXEC);
        assert_true(fd >= 0 && ftruncate(fd, static_cast<off_t>(bytes)) == 0);
        memory = mirror_map(fd, 0, bytes);
        assert_non_null(memory);
        producer.open(&words, memory, bytes);
        consumer.open(&words, memory, bytes);
    }
    ~Ring() {
        mirror_unmap(memory, capacity);
        close(fd);
    }
    bool put(const std::string &bytes) {
        if (producer.room() < bytes.size()) return false;
        memcpy(producer.at_tail(), bytes.data(), bytes.size());
        producer.publish(bytes.size());
        return true;
    }
    std::string get(uint64_t most = UINT64_MAX) {
        uint64_t ready = consumer.ready();
        if (ready > most) ready = most;
        std::string bytes(reinterpret_cast<char *>(consumer.at(consumer.head)), ready);
        consumer.release_to(consumer.head + ready);
        return bytes;
    }
};

void test_mirror(void **) {
    Ring ring(8192);
    for (size_t i = 0; i < 8192; i++) {
        ring.memory[i] = static_cast<uint8_t>(i * 7);
        assert_int_equal(ring.memory[i + 8192], ring.memory[i]);
        ring.memory[i + 8192] ^= 0xFF;
        assert_int_equal(ring.memory[i], static_cast<uint8_t>(i * 7) ^ 0xFF);
    }
}

void test_mirror_fails(void **) {
    Ring ring(4096);
    assert_null(mirror_map(-1, 0, 4096));
    assert_null(mirror_map(ring.fd, 1, 4096)); // not on a page
    assert_null(mirror_map(ring.fd, 0, uint64_t{1} << 60));
    mirror_unmap(nullptr, 4096);
}

void test_contiguous_at_the_seam(void **) {
    for (uint64_t before = 4000; before <= 4096; before++) {
        Ring ring(4096);
        assert_true(ring.put(std::string(before, 'a')));
        assert_int_equal(ring.get(before - 1).size(), before - 1); // one stays: no rewind
        std::string block(3000, 0);
        for (size_t i = 0; i < block.size(); i++) block[i] = static_cast<char>(i * 31);
        assert_true(ring.put(block));
        assert_string_equal(ring.get(1).c_str(), "a");
        assert_int_equal(ring.consumer.ready(), 3000);
        assert_memory_equal(ring.consumer.at(ring.consumer.head), block.data(), 3000);
    }
}

void test_room(void **) {
    Ring ring(4096);
    assert_int_equal(ring.producer.room(), 4096);
    assert_true(ring.put(std::string(4096, 'x')));
    assert_int_equal(ring.producer.room(), 0);
    assert_false(ring.put("y"));
    ring.get(1);
    assert_int_equal(ring.producer.room(), 1);
    assert_int_equal(ring.producer.used(), 4095);
    assert_int_equal(ring.get().size(), 4095);
    ring.consumer.release_to(5); // backwards: nothing happens
    assert_int_equal(ring.producer.room(), 4096);
    assert_false(ring.producer.corrupt || ring.consumer.corrupt);
}

void test_rewind(void **) {
    Ring ring(4096);
    for (int lap = 1; lap < 50; lap++) {
        ring.producer.room();
        ring.producer.rewind_if_empty();
        assert_ptr_equal(ring.producer.at_tail(),
                         ring.memory);                // a consumer that keeps up: always the first page
        assert_int_equal(ring.producer.room(), 4096); // the consumer's old word does not count
        std::string text = "message " + std::to_string(lap);
        assert_true(ring.put(text));
        ring.producer.rewind_if_empty(); // not empty: stays
        assert_true(ring.put("!"));
        assert_string_equal(ring.get().c_str(), (text + "!").c_str());
        assert_int_equal(ring.consumer.ready(), 0);
    }
    assert_false(ring.producer.corrupt || ring.consumer.corrupt);
}

void test_corrupt_words(void **) {
    for (uint64_t head = 0; head <= 300; head++) {
        Ring ring(4096);
        assert_true(ring.put(std::string(200, 'x')));
        ring.words.head = head;
        uint64_t room = ring.producer.room();
        assert_int_equal(ring.producer.corrupt, head > 200);
        assert_int_equal(room, head > 200 ? 0 : 4096 - 200 + head);
    }
    Ring full(4096);
    assert_true(full.put(std::string(100, 'x')));
    for (uint64_t head : {uint64_t{1} << 63, UINT64_MAX}) {
        full.words.head = head;
        assert_int_equal(full.producer.room(), 0);
        assert_true(full.producer.corrupt);
    }
    for (uint64_t tail : {uint64_t{99}, uint64_t{0}, uint64_t{100 + 4097}, uint64_t{1} << 63, UINT64_MAX}) {
        Ring ring(4096);
        assert_true(ring.put(std::string(200, 'x')));
        assert_int_equal(ring.get(100).size(), 100);
        ring.words.tail = tail;
        assert_int_equal(ring.consumer.ready(), 0);
        assert_true(ring.consumer.corrupt);
    }
    for (uint64_t skip : {uint64_t{0}, uint64_t{201}, UINT64_MAX, uint64_t{150}}) {
        Ring ring(4096); // a jump behind the tail is not followed; one inside loses bytes, but stays inside
        assert_true(ring.put(std::string(200, 'x')));
        ring.words.skip = skip;
        assert_int_equal(ring.consumer.ready(), skip == 150 ? 50 : 200);
        assert_false(ring.consumer.corrupt);
    }
}

// A block: 8 bytes of size and check, then bytes made from them.
uint64_t block_size(uint64_t number) {
    uint64_t mixed = (number ^ number >> 7) * 0x9E3779B97F4A7C15ull >> 33;
    return 8 + (mixed % 16 == 0 ? mixed % 3000 : mixed % 100);
}
uint8_t block_byte(uint64_t number, uint64_t i) { return static_cast<uint8_t>(number * 131 + i * 29); }

bool block_is_whole(const uint8_t *at, uint64_t number) {
    uint64_t seen;
    memcpy(&seen, at, 8);
    if (seen != number) return false;
    for (uint64_t i = 8; i < block_size(number); i++)
        if (at[i] != block_byte(number, i)) return false;
    return true;
}

void test_two_threads(void **) {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    constexpr uint64_t count = 200000;
#else
    constexpr uint64_t count = 1000000;
#endif
    Ring ring(4096);
    uint64_t rewinds = 0;
    std::thread thread([&] {
        for (uint64_t number = 0; number < count; number++) {
            uint64_t size = block_size(number);
            while (ring.producer.room() < size && !ring.producer.corrupt) std::this_thread::yield();
            uint64_t before = ring.producer.tail;
            ring.producer.rewind_if_empty();
            rewinds += ring.producer.tail != before;
            uint8_t *at = ring.producer.at_tail();
            memcpy(at, &number, 8);
            for (uint64_t i = 8; i < size; i++) at[i] = block_byte(number, i);
            ring.producer.publish(size);
            if (number % 64 == 0) std::this_thread::yield(); // now and then the consumer catches up
        }
    });
    uint64_t wrong = 0;
    for (uint64_t number = 0; number < count && wrong == 0;) {
        uint64_t ready = ring.consumer.ready(), taken = 0;
        if (ready == 0) std::this_thread::yield();
        for (; taken < ready; number++) {
            wrong += !block_is_whole(ring.consumer.at(ring.consumer.head + taken), number);
            taken += block_size(number);
        }
        wrong += taken > ready; // whole blocks only
        if (ready) ring.consumer.release_to(ring.consumer.head + taken);
    }
    if (wrong) ring.producer.corrupt = true;
    thread.join();
    assert_int_equal(wrong, 0);
    assert_true(rewinds > 100);
    assert_false(ring.producer.corrupt || ring.consumer.corrupt);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_mirror),
        cmocka_unit_test(test_mirror_fails),
        cmocka_unit_test(test_contiguous_at_the_seam),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_rewind),
        cmocka_unit_test(test_corrupt_words),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests_name("ring: byte ring", tests, nullptr, nullptr);
}
