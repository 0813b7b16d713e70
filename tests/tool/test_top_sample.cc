// SPDX-License-Identifier: MIT
// What `wsxdp top` makes of regions that are not as they should be: another version, sizes that lie, a file
// that may be cut short, and random bytes in all that can be written while it looks on.
#include "../../tools/wsxdp/format.cc"
#include "../../tools/wsxdp/latency.cc"
#include "../../tools/wsxdp/top_report.cc"
#include "../../tools/wsxdp/top_sample.cc"

// After the C++ library, which does not compile with cmocka's names.
#include "../base/check.h"
#include "../base/registry.h"

#include <random>

namespace {

unsigned seed() {
    const char *text = getenv("SEED");
    const unsigned value = text ? unsigned(strtoul(text, nullptr, 10)) : 1;
    return value;
}

RegionSizes small_sizes() {
    RegionSizes sizes;
    sizes.connections = 4;
    sizes.inbox_bytes = sizes.outbox_bytes = 4096;
    sizes.metadata_slots = sizes.event_slots = sizes.control_slots = 16;
    sizes.note_slots = sizes.command_slots = 16;
    return sizes;
}

struct Made {
    Region region;
    Made() {
        ErrorText error;
        const RegionSizes sizes = small_sizes();
        const RegionLayout layout = stages_region_layout(sizes, shared_words_bytes(sizes.connections));
        assert_int_equal(region_create(&region, sizes, layout, &error), 0);
    }
    ~Made() { region_free(&region); }
    // A descriptor of its own, as /proc gives one.
    int looked_at() const {
        const std::string path = "/proc/self/fd/" + std::to_string(region.fd);
        return open(path.c_str(), O_RDONLY | O_CLOEXEC);
    }
    RegionHeader *header() { return reinterpret_cast<RegionHeader *>(region.base); }
    std::string answer() const {
        TopRegion top;
        return top.attach(looked_at());
    }
};

TEST(a_region_is_taken) {
    Made made;
    assert_string_equal(made.answer().c_str(), "");
}

TEST(headers_that_lie_are_refused) {
    using Change = void (*)(RegionHeader *);
    static const Change changes[] = {
        [](RegionHeader *h) { h->magic++; },
        [](RegionHeader *h) { h->version++; },
        [](RegionHeader *h) { h->header_bytes--; },
        [](RegionHeader *h) { h->total_bytes += 4096; },
        [](RegionHeader *h) { h->sizes.connections = 0; },
        [](RegionHeader *h) { h->sizes.connections = uint64_t{1} << 60; },
        [](RegionHeader *h) { h->sizes.event_slots = 17; },
        [](RegionHeader *h) { h->sizes.event_slots = uint64_t{1} << 63; },
        [](RegionHeader *h) { h->sizes.inbox_bytes = 1; },
        [](RegionHeader *h) { h->sizes.outbox_bytes *= 2; },
        [](RegionHeader *h) { memset(static_cast<void *>(&h->sizes), 0xFF, sizeof h->sizes); },
    };
    for (Change change : changes) {
        Made made;
        change(made.header());
        assert_string_not_equal(made.answer().c_str(), "");
    }
}

TEST(what_could_be_cut_short_is_refused) {
    Made made;
    const int fd = memfd_create("not sealed", MFD_CLOEXEC);
    std::vector<char> copy(made.region.layout.total_bytes);
    assert_int_equal(pread(made.region.fd, copy.data(), copy.size(), 0), copy.size());
    assert_int_equal(pwrite(fd, copy.data(), copy.size(), 0), copy.size());
    TopRegion top;
    assert_non_null(strstr(top.attach(fd).c_str(), "not sealed"));
}

TEST(another_file_is_refused) {
    TopRegion top;
    assert_string_not_equal(top.attach(open("/etc/passwd", O_RDONLY | O_CLOEXEC)).c_str(), "");
}

// Everything but the header, which is sealed in by nobody but read once.
TEST(random_bytes_do_no_harm) {
    std::mt19937_64 random(seed());
    for (int round = 0; round < 40; round++) {
        Made made;
        TopRegion top;
        assert_string_equal(top.attach(made.looked_at()).c_str(), "");
        TopSample before = top.sample();
        assert_int_equal(before.connections.size(), 0);
        for (int look = 0; look < 4; look++) {
            std::vector<uint64_t> noise((made.region.layout.total_bytes - page_bytes) / 8);
            for (uint64_t &word : noise) {
                const uint64_t value = random();
                // Small numbers and those near the end pass more of the checks than any others.
                const int kind = int(value % 4);
                word = kind == 0 ? value >> 40 & 31 : kind == 1 ? 0 - (value >> 40 & 31) : value;
            }
            assert_int_equal(pwrite(made.region.fd, noise.data(), noise.size() * 8, page_bytes),
                             noise.size() * 8);
            if (look > 1) made.header()->sizes.event_slots = random();
            top.glance();
            TopSample now = top.sample();
            const TopView view{"noise", before, now, top};
            const std::string text = top_text(view), json = top_json(view);
            for (char c : text) assert_true(c == '\n' || static_cast<unsigned char>(c) >= 32);
            assert_true(nlohmann::json::accept(json));
            assert_true(now.connections.size() <= 4);
            for (const TopRing &ring : now.rings) assert_true(ring.depth_max <= ring.capacity);
            for (const TopConnection &c : now.connections) assert_true(c.inbox <= 4096 && c.outbox <= 4096);
            before = now;
        }
    }
}

EventSlot *event_at(const Region &region, uint64_t position) {
    uint8_t *at = region.base + region.layout.events + sizeof(RingWords);
    return reinterpret_cast<EventSlot *>(at) + position % region.sizes.event_slots;
}

TEST(latencies_are_those_of_the_slots) {
    Made made;
    TopRegion top;
    assert_string_equal(top.attach(made.looked_at()).c_str(), "");
    shared_handle(made.region)->ns_per_tick_q32.store(uint64_t{1} << 32); // a tick is a nanosecond
    auto *words = reinterpret_cast<RingWords *>(made.region.base + made.region.layout.events);
    for (uint64_t i = 0; i < 4; i++) {
        EventSlot *slot = event_at(made.region, i);
        slot->kind = WSXDP_EVENT_MESSAGE;
        slot->poll_last = 1000;
        slot->transport_last = 1010;
        slot->tls_last = 1030;
        slot->parse = 1060;
    }
    event_at(made.region, 2)->tls_last = 999;     // torn
    event_at(made.region, 3)->parse = UINT64_MAX; // torn
    words->tail.store(4, std::memory_order_release);
    top.glance();
    top.glance(); // the same again is not counted
    const int64_t wanted[span_count] = {10, 20, 30, 60};
    for (int i = 0; i < span_count; i++) {
        assert_int_equal(top.span(i).count(), 2);
        assert_int_equal(top.span(i).max(), wanted[i]);
    }
}

} // namespace

TESTS("top")
