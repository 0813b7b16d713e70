// SPDX-License-Identifier: MIT
// What is made of the words in front of a received packet: a stamp of this packet is taken whatever it says,
// one that an earlier packet left there never, and what lies there otherwise does no harm. Then how a stamp
// becomes the event's time, when CLOCK_REALTIME steps and when the number is nonsense; and all of it over
// veth.
#include "../../lib/link/xdp/stamps.h"
#include "world.h"
#include <cinttypes>
#include <cstdlib>
#include <random>
#include <vector>

using namespace wx;

namespace {

constexpr Nanos noon = 500000 * ns_per_s; // CLOCK_MONOTONIC
constexpr Tick polled = 4711;
constexpr uint64_t at_nic = 77;

filter_metadata words(Nanos entry_ns, uint32_t magic = FILTER_MAGIC) {
    filter_metadata meta = {};
    meta.magic = magic;
    meta.entry_ns = static_cast<uint64_t>(entry_ns);
    meta.nic_ns = at_nic;
    return meta;
}

// One frame, and the packets that come in it. The words stay from one to the next, as in the frame.
struct Frame {
    filter_metadata meta = {};
    FrameStamps stamps = {};

    void takes() { stamps = stamps_of(meta, stamps.entry_ns, polled); }
    // Stamped with what this packet brought; below, with nothing, not even another's.
    void stamped(Nanos entry_ns, const char *what) {
        meta = words(entry_ns);
        takes();
        if (stamps.entry_ns != entry_ns || stamps.nic_ns != static_cast<Nanos>(at_nic) ||
            stamps.polled != polled || stamps.processed != 0)
            fail_msg("%s: entry %" PRId64 ", NIC %" PRId64, what, stamps.entry_ns, stamps.nic_ns);
    }
    void unstamped(const char *what) {
        takes();
        if (stamps.entry_ns > 0 || stamps.nic_ns != 0 || stamps.polled != polled || stamps.processed != 0)
            fail_msg("%s: entry %" PRId64 ", NIC %" PRId64, what, stamps.entry_ns, stamps.nic_ns);
    }
};

} // namespace

TEST(a_first_stamp_is_taken) {
    Frame frame;
    frame.stamped(noon, "of a frame never used");
}

TEST(without_metadata_nothing_is_known) {
    Frame frame;
    frame.unstamped("zeros");
    assert_true(frame.stamps.entry_ns == 0);
    frame.meta = words(noon, 0);
    frame.unstamped("without the magic");
    frame.meta = words(noon, ~FILTER_MAGIC);
    frame.unstamped("with another");
    frame.stamped(noon, "and with it, at last");
}

// A driver that has no room in front of some packets.
TEST(what_a_packet_before_left_is_not_taken) {
    Frame frame;
    frame.stamped(noon, "first");
    frame.unstamped("the same words again");
    assert_true(frame.stamps.entry_ns == -noon);
    frame.unstamped("and again");
    assert_true(frame.stamps.entry_ns == -noon);
    frame.stamped(noon + 1, "a nanosecond later");
    frame.unstamped("its words");
    frame.stamped(noon, "the very first time, which is no longer remembered");
}

TEST(the_words_are_overwritten_and_come_back) {
    Frame frame;
    frame.stamped(noon, "first");
    frame.meta.magic = 0;
    frame.unstamped("half of it overwritten");
    frame.meta = words(noon);
    frame.unstamped("what was left before");
    frame.stamped(noon + 5, "new");
}

// Packets of other frames and queues do not matter, nor does the caller's clock.
TEST(time_may_go_either_way) {
    Frame frame;
    frame.stamped(noon, "first");
    frame.stamped(noon - 30 * ns_per_s, "older than the one before");
    frame.stamped(noon + 3600 * ns_per_s, "in the future");
    frame.stamped(noon, "back again");
    frame.stamped(1, "the least");
    frame.stamped(INT64_MAX, "the most");
    frame.stamped(noon, "after that");
}

TEST(zero_is_no_stamp) {
    Frame frame;
    frame.meta = words(0);
    frame.unstamped("zero at first");
    frame.stamped(noon, "then one");
    frame.stamped(0, "zero then: of this packet, and not known");
    frame.unstamped("still zero");
    frame.stamped(noon, "the same again, since zero lay there in between");
}

// As int64_t it is negative, which nothing that the program writes is for centuries: not known.
TEST(a_negative_stamp_is_none) {
    for (Nanos entry : {Nanos{-1}, -noon, Nanos{INT64_MIN + 1}, Nanos{INT64_MIN}}) {
        Frame frame;
        frame.stamped(entry, "negative");
        frame.unstamped("what it left");
        assert_true(frame.stamps.entry_ns == entry);
        frame.stamped(noon + 1, "a true one after it");
    }
    Frame frame;
    frame.stamped(noon, "first");
    frame.meta = words(-noon);
    frame.unstamped("the negative of it");
    frame.stamped(noon + 1, "and a true one");
}

// Whatever lies there: what was kept last is never taken again, and the words of this packet are.
TEST(garbage) {
    const char *given = getenv("WSXDP_SEED");
    const unsigned long seed = given ? strtoul(given, nullptr, 10) : 1;
    print_message("seed %lu\n", seed);
    std::mt19937_64 random(seed);
    const std::vector<Nanos> odd = {0, 1, -1, noon, -noon, INT64_MAX, INT64_MIN, INT64_MIN + 1};
    Frame frame;
    for (int i = 0; i < 100000; i++) {
        const Nanos entry = random() % 2 ? odd[random() % odd.size()] : static_cast<Nanos>(random());
        const bool ours = random() % 3 != 0;
        const Nanos before = frame.stamps.entry_ns;
        const uint64_t b = static_cast<uint64_t>(before), e = static_cast<uint64_t>(entry);
        frame.meta = words(entry, ours ? FILTER_MAGIC : FILTER_MAGIC ^ 1u << random() % 32);
        frame.takes();
        const bool taken = ours && e != b && e + b != 0;
        const Nanos expected = taken ? entry : (before < 0 ? before : static_cast<Nanos>(0 - b));
        if (frame.stamps.entry_ns != expected || frame.stamps.nic_ns != (taken ? Nanos{at_nic} : 0))
            fail_msg("%d: entry %" PRId64 " after %" PRId64 " gave %" PRId64, i, entry, before,
                     frame.stamps.entry_ns);
    }
}

// ---- to the event's clock ----

namespace {

constexpr Nanos today = 1700000000 * ns_per_s; // CLOCK_REALTIME at noon

Clock clock_at(Nanos monotonic, Nanos realtime) {
    Clock clock;
    clock.monotonic_base = monotonic;
    clock.realtime_base = realtime;
    return clock;
}

} // namespace

TEST(a_stamp_becomes_real_time) {
    const Clock clock = clock_at(noon, today);
    assert_true(stamps_realtime(noon, clock) == today);
    assert_true(stamps_realtime(noon - 250, clock) == today - 250); // before the clock's last look
    assert_true(stamps_realtime(noon + ns_per_s, clock) == today + ns_per_s);
    assert_true(stamps_realtime(1, clock) == today - noon + 1);
}

TEST(what_is_not_known_stays_so) {
    const Clock clock = clock_at(noon, today);
    for (Nanos entry : {Nanos{0}, Nanos{-1}, -noon, Nanos{INT64_MIN}})
        assert_true(stamps_realtime(entry, clock) == 0);
}

TEST(a_step_of_the_clock_moves_the_stamp) {
    const Nanos hour = 3600 * ns_per_s;
    assert_true(stamps_realtime(noon, clock_at(noon + 7, today + 7 + hour)) == today + hour);
    assert_true(stamps_realtime(noon, clock_at(noon + 7, today + 7 - hour)) == today - hour);
    // A clock that was never set, and one before 1970.
    assert_true(stamps_realtime(noon, clock_at(noon + 7, 7)) == 0);
    assert_true(stamps_realtime(noon, clock_at(noon, -hour)) == -hour);
}

TEST(a_nonsensical_stamp_wraps_and_does_no_harm) {
    const Clock clock = clock_at(noon, today);
    const Nanos wrapped = stamps_realtime(INT64_MAX, clock);
    assert_true(static_cast<uint64_t>(wrapped) == uint64_t{INT64_MAX} - uint64_t{noon} + uint64_t{today});
}

// ---- over veth ----

static Nanos realtime_ns() {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * ns_per_s + now.tv_nsec;
}

static wsxdp_event next_message(Session *session) {
    wsxdp_event event;
    memset(&event, 0, sizeof event);
    for (int64_t end = now_ms() + 5000; event.kind != WSXDP_EVENT_MESSAGE;)
        if (wsxdp_poll(session->handle, &event, 1, 100 * ns_per_ms) == 0 && now_ms() > end)
            fail_msg("no message has come");
    return event;
}

// More echoes than the kernel has frames to fill, so each comes in one that had a stamp before. A
// millisecond, here and there: the clocks are compared by their last readings.
static void every_message_is_stamped(const char *mode) {
    netns::need();
    World world;
    auto server = world.serve(echo_messages);
    Session session(World::url(*server), World::options({{"xdp.mode", mode}, {"xdp.frames", "512"}}));
    if (session.status != 0) fail_msg("open: %d %s", session.status, session.text.c_str());
    session.need(WSXDP_EVENT_OPEN);
    Nanos last = 0;
    for (int i = 0; i < 1200; i++) {
        const Nanos begin = realtime_ns();
        assert_int_equal(session.send("stamped"), WSXDP_OK);
        const wsxdp_event event = next_message(&session);
        const Nanos kernel = event.kernel_last_ns;
        if (kernel <= last || kernel < begin - ns_per_ms || kernel > realtime_ns() + ns_per_ms ||
            kernel > event.poll_last_ns + ns_per_ms)
            fail_msg("message %d: stamp %" PRId64 " after %" PRId64 ", sent at %" PRId64
                     ", polled at %" PRId64,
                     i, kernel, last, begin, event.poll_last_ns);
        assert_true(event.kernel_first_ns == kernel && event.nic_last_ns == 0);
        last = kernel;
    }
}
TEST(every_message_is_stamped_in_driver_mode) { every_message_is_stamped("driver"); }
TEST(every_message_is_stamped_in_generic_mode) { every_message_is_stamped("generic"); }

TESTS("stamps")
