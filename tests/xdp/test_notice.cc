// SPDX-License-Identifier: MIT
// A notice comes in the middle of a message: what has arrived of it stays where it is.
#include "world.h"
#include <atomic>
#include <thread>

using namespace netns;

static void notice_within(size_t size, const OptionList &options) {
    need();
    World world;
    std::string text(size, 'x');
    for (size_t i = 0; i < size; i++) text[i] = static_cast<char>('a' + i % 23);
    const std::string frame = scripted::frame(WSXDP_TEXT, text);
    std::atomic<bool> go{false};
    auto server = world.serve([&](scripted::Wire &wire) {
        wire.upgrade();
        wire.write(frame.substr(0, size / 2));
        while (!go) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        wire.write(frame.substr(size / 2));
        wire.read_frame();
        wire.write(scripted::close_frame(1000));
    });
    Session session(World::url(*server), World::options(options));
    session.need(WSXDP_EVENT_OPEN);
    for (int64_t until = now_ms() + 5000; now_ms() < until; session.poll(1))
        if (session.stats().bytes_received >= size / 2) break;
    world.veth.there.run("ip link set peer0 down");
    assert_true(contains(session.need(WSXDP_EVENT_NOTICE).data, "the link went down"));
    world.veth.there.run("ip link set peer0 up");
    assert_true(contains(session.need(WSXDP_EVENT_NOTICE).data, "the link is up again"));
    go = true;
    // As one message or in fragments, some of which came before the notice.
    std::string got;
    size_t seen = 0;
    for (int64_t until = now_ms() + 5000; got.size() < size && now_ms() < until; session.poll(100))
        for (; seen < session.events.size(); seen++) {
            const Seen &event = session.events[seen];
            if (event.kind == WSXDP_EVENT_MESSAGE || event.kind == WSXDP_EVENT_FRAGMENT) got += event.data;
            assert_int_not_equal(event.kind, WSXDP_EVENT_ERROR);
        }
    assert_true(got == text);
    wsxdp_close(session.handle, 0, 1000, "", 0);
    assert_true(session.need(WSXDP_EVENT_CLOSE).flags & WSXDP_FLAG_CLEAN);
}

TEST(in_a_short_message) { notice_within(1000, {}); }
TEST(in_a_long_message) { notice_within(300000, {}); }
TEST(in_a_message_that_is_streamed) { notice_within(300000, {{"message.stream", "yes"}}); }

TESTS("notice")
