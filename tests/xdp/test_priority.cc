// SPDX-License-Identifier: MIT
// What leaves first, and in how many packets: an acknowledgement rides on the answer, many messages leave in
// one kick, received data is acknowledged by the batch, and a pong does not wait for the bulk that was queued
// before it.
#include "running.h"
#include <atomic>

using namespace netns;

static const OptionList quiet = {{"ping.interval_ns", "0"}};

static void with(OptionList *list, const char *name, const char *value) { list->push_back({name, value}); }

TEST(an_acknowledgement_rides_on_the_answer) {
    need();
    Opened open(echo_messages, quiet);
    need_packet_per_round(open.session);
}

TEST(many_messages_leave_in_one_kick) {
    need();
    constexpr unsigned count = 32;
    Opened open(echo_messages, quiet);
    Session &session = open.session;
    const Counters before(session);
    const std::string text(1300, 'm'); // a segment each
    for (unsigned i = 0; i < count; i++) {
        const uint32_t flags = i + 1 < count ? WSXDP_SEND_MORE : 0;
        assert_int_equal(wsxdp_send(session.handle, 0, WSXDP_TEXT, text.data(), text.size(), flags), 0);
    }
    const Counters after(session);
    assert_in_range(after["sent"] - before["sent"], 10, count + 4); // the first window is ten segments
    assert_in_range(after["kicks"] - before["kicks"], 1, 3);        // the kernel takes 32 frames at a time
    for (unsigned i = 0; i < count; i++) session.need(WSXDP_EVENT_MESSAGE);
}

TEST(received_data_is_acknowledged_by_the_batch) {
    need();
    constexpr size_t messages = 4000;
    Opened open(
        [](scripted::Wire &wire) {
            wire.upgrade();
            const std::string text(1400, 'd');
            for (size_t i = 0; i < messages; i++) wire.write(scripted::frame(WSXDP_TEXT, text));
            wire.write(scripted::close_frame(1000));
            wire.read_frame();
        },
        quiet);
    Session &session = open.session;
    const Counters before(session);
    for (size_t i = 0; i < messages; i++) session.need(WSXDP_EVENT_MESSAGE);
    const Counters after(session);
    const uint64_t received = after["received"] - before["received"], sent = after["sent"] - before["sent"];
    assert_true(received > messages / 2);
    if (sent > received / 2) fail_msg("%d packets sent for %d received", (int)sent, (int)received);
}

// The peer's ping comes when megabytes are queued; the pong passes all that TCP has not been given yet.
static void pong_passes_bulk(const OptionList &more) {
    need();
    World world;
    constexpr size_t piece = 16 * 1024, pieces = 512; // 8 MiB
    constexpr size_t window = 256 * 1024;             // what the kernel holds for a reader that does not read
    std::atomic<bool> queued{false};
    std::atomic<size_t> before_pong{0};
    std::atomic<bool> answered{false};
    auto server = world.serve([&](scripted::Wire &wire) {
        wire.upgrade();
        while (!queued) usleep(1000);
        wire.write(scripted::frame(9, "now"));
        size_t bulk = 0;
        for (scripted::Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame()) {
            if (f.opcode == 10) {
                before_pong = bulk;
                answered = true;
            } else {
                bulk += f.payload.size();
            }
        }
        if (bulk != piece * pieces) before_pong = 0;
        wire.write(scripted::close_frame(1000));
    });
    world.veth.there.run("sysctl -qw net.ipv4.tcp_rmem='4096 131072 131072'");
    OptionList options = quiet;
    options.insert(options.end(), more.begin(), more.end());
    with(&options, "outbox.bytes", "16MiB");
    Session session(World::url(*server), World::options(options));
    opens(session);
    session.need(WSXDP_EVENT_OPEN);
    const std::string text(piece, 'b');
    for (size_t i = 0; i < pieces; i++) {
        assert_int_equal(session.send(text, WSXDP_BINARY), 0);
        session.poll(0);
    }
    queued = true;
    for (int64_t until = now_ms() + 10000; !answered && now_ms() < until;) session.poll(10);
    assert_true(answered);
    wsxdp_close(session.handle, 0, 1000, "", 0);
    const Seen &close = session.need(WSXDP_EVENT_CLOSE, 20000);
    assert_true(close.flags & WSXDP_FLAG_CLEAN);
    // What was on its way: the peer's window, TCP's queue (128 KiB) and the message that was begun.
    const size_t most = window + 128 * 1024 + 2 * piece;
    if (before_pong == 0 || before_pong > most)
        fail_msg("%d bytes came before the pong", (int)before_pong.load());
}
TEST(a_pong_passes_bulk) { pong_passes_bulk({}); }
TEST(a_pong_passes_bulk_with_few_frames) { pong_passes_bulk({{"xdp.frames", "512"}}); }

TESTS("priority")
