// SPDX-License-Identifier: MIT
// The rings with a kernel that is played by the test, and lies: addresses outside the memory, frames it was
// not given, the same one twice, sizes beyond a frame. Nothing of it is handed on, every frame is found
// again. Also indices that pass 2^32, for which a real kernel would take hours.
#include "../../lib/link/xdp/xsk.h"
#include "../base/check.h"
#include "../base/registry.h"
#include <cstdlib>
#include <cstring>
#include <errno.h>
#include <random>
#include <vector>

using namespace wx;

namespace {

constexpr uint32_t slots = 64;

// An Xsk whose rings are ours, and the indices of the kernel's side.
struct Fake {
    Umem umem;
    Xsk x;
    struct Words {
        uint32_t producer = 0, consumer = 0, flags = 0;
    } words[4];
    uint64_t fill[slots] = {}, completion[slots] = {};
    XskDescriptor receive[slots] = {}, send[slots] = {};
    std::vector<uint16_t> lent;
    explicit Fake(uint32_t start = 0) {
        ErrorText error;
        UmemOptions options;
        options.frames = 128;
        assert_int_equal(umem_open(&umem, options, &error), 0);
        lent.resize(umem.frame_count);
        x.umem = &umem;
        x.lent = lent.data();
        XskRing *const rings[] = {&x.fill, &x.receive, &x.send, &x.completion};
        void *const memory[] = {fill, receive, send, completion};
        for (unsigned i = 0; i < 4; i++) {
            words[i].producer = words[i].consumer = rings[i]->ours = rings[i]->theirs = start;
            rings[i]->producer = &words[i].producer;
            rings[i]->consumer = &words[i].consumer;
            rings[i]->flags = &words[i].flags;
            rings[i]->slots = memory[i];
            rings[i]->mask = slots - 1;
        }
    }
    ~Fake() { umem_close(&umem); }
    Fake(const Fake &) = delete;
    Fake &operator=(const Fake &) = delete;
    // The kernel takes a frame to receive into; its address as it stands in the ring.
    uint64_t take_fill() {
        assert_int_not_equal(words[0].producer, words[0].consumer);
        return fill[words[0].consumer++ % slots];
    }
    void give(uint64_t address, uint32_t size, uint32_t options = 0) {
        receive[words[1].producer++ % slots] = XskDescriptor{address, size, options};
    }
    void complete(uint64_t address) { completion[words[3].producer++ % slots] = address; }
    uint32_t out(Pool pool) const { return umem_out(&umem, pool); }
};

uint64_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

// What the kernel says is dropped, and counted once.
void receive_bad(uint64_t address, uint32_t size, uint32_t options, uint32_t returned) {
    Fake f;
    xsk_refill(&f.x, 0);
    const uint32_t filled = f.x.in_fill;
    const uint64_t good = f.take_fill();
    if (address == 0) address = good + 256;
    f.give(address, size, options);
    const uint64_t next = f.take_fill();
    f.give(next + 256, 60); // the one behind it is not lost
    XskDescriptor got[8];
    assert_int_equal(xsk_receive(&f.x, got, 8), 1);
    assert_int_equal(got[0].address, next + 256);
    assert_int_equal(f.x.counters.bad_descriptors, 1);
    assert_int_equal(f.x.counters.received, 1);
    assert_int_equal(f.x.in_fill, filled - 1 - returned);
    assert_int_equal(f.out(Pool::receive), filled - returned);
    assert_int_equal(f.words[1].consumer, f.words[1].producer);
    assert_int_equal(f.umem.double_puts, 0);
}

} // namespace

TEST(received_descriptors_that_cannot_be) {
    const uint64_t end = 128 * 2048;
    receive_bad(end, 60, 0, 0);               // behind the memory
    receive_bad(~uint64_t{0}, 60, 0, 0);      // far behind it
    receive_bad(uint64_t{1} << 63, 60, 0, 0); // and on the way
    receive_bad(100 * 2048 + 256, 60, 0, 0);  // a frame of another pool
    receive_bad(0, 2048 - 256 + 1, 0, 1);     // beyond its frame
    receive_bad(0, ~0u, 0, 1);                // far beyond
    receive_bad(0, 0, 0, 1);                  // nothing
    receive_bad(0, 60, 1, 1);                 // in several pieces
}
TEST(a_frame_is_received_once) {
    Fake f;
    xsk_refill(&f.x, 0);
    const uint64_t address = f.take_fill() + 256;
    f.give(address, 2048 - 256); // to its last byte
    f.give(address, 60);
    XskDescriptor got[8];
    assert_int_equal(xsk_receive(&f.x, got, 8), 1);
    assert_int_equal(f.x.counters.bad_descriptors, 1);
}
TEST(completions_that_cannot_be) {
    Fake f;
    xsk_refill(&f.x, 0);
    const FrameId id = umem_take(&f.umem, Pool::data), other = umem_take(&f.umem, Pool::data);
    assert_true(xsk_send(&f.x, id * 2048 + 64, 100));
    assert_true(xsk_send(&f.x, id * 2048 + 64, 100)); // twice under way
    const uint64_t bad[] = {128 * 2048, ~uint64_t{0}, other * 2048, f.fill[0]};
    for (uint64_t address : bad) f.complete(address);
    f.complete(id * 2048 + 64);
    f.complete(id * 2048 + 64);
    f.complete(id * 2048 + 64); // once too often
    FrameId ids[8];
    assert_int_equal(xsk_reclaim(&f.x, ids, 8), 2);
    assert_int_equal(ids[0], id);
    assert_int_equal(ids[1], id);
    assert_int_equal(f.x.in_send, 0);
    assert_int_equal(f.x.counters.bad_descriptors, 5);
    assert_int_equal(f.words[3].consumer, f.words[3].producer);
}
TEST(frames_that_cannot_be_sent) {
    Fake f;
    xsk_refill(&f.x, 0);
    const struct {
        uint64_t address;
        uint32_t size;
    } rows[] = {{128 * 2048, 60},  {~uint64_t{0}, 60},     {2048 * 100, 0}, {2048 * 100, 2049},
                {2048 * 100, ~0u}, {2048 * 100 + 1, 2048}, {f.fill[0], 60}};
    for (const auto &row : rows) assert_false(xsk_send(&f.x, row.address, row.size));
    assert_int_equal(f.x.counters.bad_descriptors, sizeof rows / sizeof rows[0]);
    assert_int_equal(xsk_room(&f.x), slots);
    assert_true(xsk_send(&f.x, 2048 * 100, 2048));
    assert_int_equal(f.x.in_send, 1);
}
TEST(refill_keeps_what_it_is_told_to) {
    Fake f;
    xsk_refill(&f.x, 100); // of 64
    assert_int_equal(f.x.in_fill, 0);
    xsk_refill(&f.x, 64);
    assert_int_equal(f.x.in_fill, 0);
    xsk_refill(&f.x, 60);
    assert_int_equal(f.x.in_fill, 4);
    assert_int_equal(f.words[0].producer, 4);
    assert_int_equal(f.x.counters.fill_starved, 2);
    xsk_refill(&f.x, ~0u);
    assert_int_equal(f.x.in_fill, 4);
    xsk_refill(&f.x, 0);
    assert_int_equal(f.x.in_fill, slots);
    assert_int_equal(f.x.counters.fill_starved, 2);
}
TEST(zero_copy_kicks_only_a_driver_that_sleeps) {
    Fake f;
    f.x.mode = XskMode::zero_copy;
    int cause = 0;
    assert_true(xsk_send(&f.x, 2048 * 100, 60));
    assert_int_equal(xsk_kick(&f.x, &cause), 0);
    assert_int_equal(f.x.counters.kicks, 0);
    assert_int_equal(f.words[2].producer, 1);                        // published all the same
    f.words[2].flags = 1;                                            // XDP_RING_NEED_WAKEUP
    assert_int_equal(xsk_kick(&f.x, &cause), WSXDP_E_XDP_LINK_DOWN); // there is no socket
    assert_int_equal(cause, EBADF);
    assert_int_equal(f.x.counters.kicks, 1);
    f.words[2].consumer = 1; // the driver has taken it
    assert_int_equal(xsk_kick(&f.x, &cause), 0);
    assert_int_equal(f.x.counters.kicks, 1);
    f.words[0].flags = 1;
    xsk_refill(&f.x, 0);
    assert_int_equal(f.x.counters.fill_kicks, 1);
    f.words[0].flags = 0;
    xsk_refill(&f.x, 0);
    assert_int_equal(f.x.counters.fill_kicks, 1);
}
// The caller, the kernel and the indices, at random, across 2^32.
TEST(indices_pass_their_end) {
    std::minstd_rand random(static_cast<unsigned>(seed()));
    Fake f(0xFFFFFF00u);
    std::vector<uint64_t> filled, sending;
    uint64_t received = 0, completed = 0;
    for (int step = 0; step < 20000; step++) {
        xsk_refill(&f.x, random() % 8);
        for (uint32_t n = random() % 16; n != 0 && f.words[0].producer != f.words[0].consumer; n--)
            filled.push_back(f.take_fill());
        for (uint32_t n = random() % 16; n != 0 && !filled.empty(); n--) {
            if (f.words[1].producer - f.words[1].consumer == slots) break;
            std::swap(filled[random() % filled.size()], filled.back());
            f.give(filled.back() + 256, 60 + random() % 1000);
            filled.pop_back();
        }
        XskDescriptor got[16];
        const uint32_t count = xsk_receive(&f.x, got, 1 + random() % 16);
        received += count;
        for (uint32_t i = 0; i < count; i++) umem_put(&f.umem, umem_frame_of(&f.umem, got[i].address));
        for (uint32_t n = random() % 16; n != 0; n--) {
            const FrameId id = umem_take(&f.umem, Pool::data);
            if (id == no_frame) break;
            if (!xsk_send(&f.x, id * 2048, 60)) fail_msg("no room, step %d", step); // 32 frames, 64 slots
        }
        int cause = 0;
        xsk_kick(&f.x, &cause); // publishes; there is no kernel to hear it
        for (uint32_t n = random() % 16; n != 0 && f.words[2].producer != f.words[2].consumer; n--)
            sending.push_back(f.send[f.words[2].consumer++ % slots].address);
        for (uint32_t n = random() % 16; n != 0 && !sending.empty(); n--) {
            std::swap(sending[random() % sending.size()], sending.back());
            f.complete(sending.back());
            sending.pop_back();
        }
        FrameId ids[16];
        const uint32_t done = xsk_reclaim(&f.x, ids, 1 + random() % 16);
        completed += done;
        for (uint32_t i = 0; i < done; i++) umem_put(&f.umem, ids[i]);
        if (f.x.in_fill != f.out(Pool::receive) || f.x.in_send != f.out(Pool::data) ||
            f.x.counters.bad_descriptors + f.umem.double_puts != 0)
            fail_msg("step %d of seed %llu", step, static_cast<unsigned long long>(seed()));
    }
    assert_true(f.words[0].producer < 0xFFFFFF00u && f.words[2].producer < 0xFFFFFF00u);
    assert_int_equal(f.x.counters.received, received);
    assert_int_equal(f.x.counters.completed, completed);
    assert_true(received > 10000 && completed > 10000);
}

TESTS("xsk rings")
