// SPDX-License-Identifier: MIT
// Too few frames, rings that are full, an application that keeps what it gets or does not come back, a peer
// that does not read: everything waits, nothing is lost or doubled, and the counters agree with each other
// afterwards.
#include "running.h"
#include <atomic>

using namespace netns;

namespace {

constexpr const char *fewest_frames = "512"; // 256 of them receive, 128 carry data

OptionList with(const OptionList &one, const OptionList &other) {
    OptionList all = one;
    all.insert(all.end(), other.begin(), other.end());
    return all;
}

// The peer's congestion control is to answer losses with less, and not, as BBR may, with an estimate of some
// kbit/s for seconds: the tests would only be waiting for that.
void plain(World &world) { world.veth.there.run("echo reno > /proc/sys/net/ipv4/tcp_congestion_control"); }

// Everything that was sent has been completed, and everything else is back where it belongs.
void check_at_rest(Stream &stream) {
    const int64_t until = now_ms() + patience_ms;
    for (;;) {
        stream.need_flow(1);
        const Counters c(stream.session);
        if (c["data_out"] + c["control_out"] <= 8 && c["receive_out"] - c["in_fill"] <= 8) break;
        if (now_ms() < until) continue;
        fail_msg("frames are missing: %s", c.text().c_str());
    }
    check_consistent(stream.session);
}

} // namespace

// ---- few frames ----

static void few_frames(const char *mode, const OptionList &more, uint64_t ahead) {
    need();
    Running r(there4, with({{"xdp.frames", fewest_frames}, {"xdp.mode", mode}}, more), plain);
    r->ahead = ahead;
    r->need_flow(12 << 20);
    check_at_rest(*r.stream);
    r->finish();
}
TEST(few_frames_in_driver_mode) { few_frames("driver", {}, 1 << 20); }
TEST(few_frames_in_generic_mode) { few_frames("generic", {}, 1 << 20); }
TEST(few_frames_without_congestion_control) {
    few_frames("driver", {{"xdp.congestion", "none"}, {"xdp.rto_min_ns", "20ms"}}, 1 << 20);
}
TEST(few_frames_and_tiny_messages) {
    need();
    Running r(there4, {{"xdp.frames", fewest_frames}}, plain);
    r->size = [] { return size_t{1}; };
    r->need_flow(20000);
    check_at_rest(*r.stream);
    r->finish();
}

TEST(few_frames_for_many_connections) {
    need();
    World world;
    plain(world);
    auto server = world.serve(echo_messages);
    Session session(World::url(*server), World::options({{"xdp.frames", fewest_frames}}));
    opens(session);
    const uint32_t first = session.need(WSXDP_EVENT_OPEN).conn;
    std::map<uint32_t, uint64_t> sent, received;
    sent[first] = 0;
    for (int i = 1; i < 16; i++) {
        uint32_t conn = 0;
        assert_int_equal(wsxdp_connect(session.handle, World::url(*server).c_str(), nullptr, &conn), 0);
        session.need(WSXDP_EVENT_OPEN, patience_ms, conn);
        sent[conn] = 0;
    }
    constexpr uint64_t messages = 60;
    const std::string body(20000, 'x');
    const int64_t until = now_ms() + patience_ms;
    for (bool done = false; !done && now_ms() < until;) {
        for (auto &one : sent)
            while (one.second < messages && one.second - received[one.first] < 8 &&
                   session.send(std::to_string(one.second) + body, WSXDP_TEXT, one.first) == 0)
                one.second++;
        wsxdp_event batch[32];
        const int count = wsxdp_poll(session.handle, batch, 32, 5000000);
        for (int i = 0; i < count; i++) {
            if (batch[i].kind == WSXDP_EVENT_WRITABLE) continue;
            if (batch[i].kind != WSXDP_EVENT_MESSAGE)
                fail_msg("event %u of %x: %.*s; %llu of %llu", batch[i].kind, batch[i].conn,
                         static_cast<int>(batch[i].len), reinterpret_cast<const char *>(batch[i].data),
                         static_cast<unsigned long long>(received[batch[i].conn]),
                         static_cast<unsigned long long>(sent[batch[i].conn]));
            const std::string text(reinterpret_cast<const char *>(batch[i].data), batch[i].len);
            assert_true(text == std::to_string(received[batch[i].conn]++) + body);
        }
        done = true;
        for (auto &one : sent) done &= received[one.first] == messages;
    }
    for (auto &one : sent) assert_int_equal(received[one.first], messages);
    check_consistent(session);
}

// ---- an application that keeps what it gets ----

static void holding(const char *frames) {
    need();
    Running r(there4, {{"xdp.frames", frames}, {"inbox.bytes", "256KiB"}, {"hold.max", "16"}}, plain);
    r->size = [] { return size_t{12000}; };
    r->ahead = 1 << 20;
    wsxdp *handle = r.session->handle;
    for (int round = 0; round < 5; round++) {
        // As many as there may be; their bytes stay as they are while all else goes on as far as it can.
        std::vector<wsxdp_event> held;
        std::vector<std::string> copies;
        r->on_event = [&](const wsxdp_event &e) {
            if (e.kind != WSXDP_EVENT_MESSAGE || held.size() == 16) return;
            assert_int_equal(wsxdp_hold(handle, &e), 0);
            held.push_back(e);
            copies.emplace_back(reinterpret_cast<const char *>(e.data), e.len);
        };
        r->until([&] { return held.size() == 16; });
        r->pass(100);
        for (size_t i = 0; i < held.size(); i++) {
            assert_memory_equal(held[i].data, copies[i].data(), copies[i].size());
            assert_int_equal(wsxdp_unhold(handle, &held[i]), 0);
        }
        r->on_event = nullptr;
        r->need_flow(500000);
    }
    check_at_rest(*r.stream);
    r->finish();
}
TEST(messages_are_held) { holding("8192"); }
TEST(messages_are_held_with_few_frames) { holding(fewest_frames); }

// ---- an application that does not come back ----

static void away(const char *mode, const char *frames, int seconds) {
    need();
    Running r(there4, {{"xdp.mode", mode}, {"xdp.frames", frames}, {"xdp.time_wait_ns", "0"}}, plain);
    r->ahead = 4 << 20;
    r->pass(100);
    sleep(static_cast<unsigned>(seconds));
    r->need_flow(4 << 20);
    check_at_rest(*r.stream);
    r->finish();
}
TEST(nobody_polls_for_five_seconds) { away("driver", "8192", 5); }
TEST(nobody_polls_with_few_frames) { away("driver", fewest_frames, 1); }
TEST(nobody_polls_in_generic_mode) { away("generic", "8192", 1); }

// The server pushes as fast as it can, so that frames and rings fill while nobody looks.
static void pushed(const char *mode, const char *frames) {
    need();
    World world;
    plain(world);
    const uint64_t seed = test_seed();
    std::atomic<bool> stop{false};
    std::atomic<uint64_t> pushed_bytes{0};
    auto server = world.serve([&](scripted::Wire &wire) {
        wire.upgrade();
        std::string body;
        while (!stop && !wire.broken) {
            stream_fill(&body, pushed_bytes, 30000, seed);
            wire.write(scripted::frame(2, body));
            if (!wire.broken) pushed_bytes += body.size();
        }
        wire.write(scripted::close_frame(1000));
        wire.read_frame(); // the answer to it
    });
    Session session(World::url(*server), World::options({{"xdp.mode", mode}, {"xdp.frames", frames}}));
    opens(session);
    Stream stream(session);
    const auto take_for = [&](int64_t ms) {
        wsxdp_event batch[32];
        for (const int64_t until = now_ms() + ms; now_ms() < until && !stream.ended();) {
            const int count = wsxdp_poll(session.handle, batch, 32, 5000000);
            for (int i = 0; i < count; i++) stream.take(batch[i]);
        }
    };
    take_for(300);
    const uint64_t before = stream.received;
    assert_true(before > 0);
    sleep(1);
    take_for(300);
    assert_true(stream.until([&] { return stream.received > before + (8 << 20); }));
    const Counters c(session);
    const uint64_t lost = c["kernel_dropped"] + c["kernel_ring_full"] + c["over_share"];
    stop = true;
    const int64_t until = now_ms() + patience_ms;
    while (!stream.ended() && now_ms() < until) take_for(20);
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE, 0).error, 0);
    assert_int_equal(stream.received, pushed_bytes);
    if (strcmp(frames, fewest_frames) == 0) assert_true(lost > 0); // else its first window has room
    check_consistent(session);
}
TEST(a_server_pushes_while_nobody_polls) { pushed("driver", "8192"); }
TEST(a_server_pushes_while_nobody_polls_few_frames) { pushed("driver", fewest_frames); }
TEST(a_server_pushes_while_nobody_polls_generic) { pushed("generic", "8192"); }

// ---- a full send ring ----

// With the interface down the kernel takes nothing: the ring of 2,048 fills, and is emptied when it is up.
TEST(the_send_ring_is_full) {
    need();
    Running r(there4,
              {{"xdp.frames", "65536"},
               {"xdp.congestion", "none"},
               {"xdp.send_bytes", "16MiB"},
               {"outbox.bytes", "16MiB"},
               {"inbox.bytes", "16MiB"},
               {"xdp.receive_bytes", "16MiB"}},
              [](World &world) {
                  plain(world);
                  world.veth.there.run("echo 4096 16777216 67108864 > /proc/sys/net/ipv4/tcp_rmem");
              });
    r->ahead = 12 << 20;
    r->need_flow(30 << 20); // the peer's window opens
    r->pass(20);
    r.here("ip link set xdp0 down");
    r->pass(400);
    const Counters full(*r.session);
    r.here("ip link set xdp0 up");
    r->need_flow(4 << 20);
    check_at_rest(*r.stream);
    // A peer that is slow to take the first ones leaves little to send: nothing is said then about a full
    // ring.
    if (full["in_send"] < 2048) throw Late{static_cast<int64_t>(full["in_send"]), 2048};
    r->finish();
}

// ---- a peer that does not read ----

static void window_zero(const char *address, int seconds, const OptionList &more) {
    need();
    World world;
    const uint64_t seed = test_seed();
    std::atomic<bool> reads{false}, same{true};
    std::atomic<uint64_t> read{0};
    auto server = world.serve(
        [&](scripted::Wire &wire) {
            wire.upgrade();
            while (!reads && !wire.broken) usleep(1000);
            std::string expected;
            for (scripted::Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8;
                 f = wire.read_frame()) {
                stream_fill(&expected, read, f.payload.size(), seed);
                if (f.payload != expected) same = false;
                read += f.payload.size();
            }
            wire.write(scripted::close_frame(1000));
        },
        nullptr, address);
    Session session(World::url(*server, address),
                    World::options(with({{"xdp.user_timeout_ns", "1s"}, {"idle.timeout_ns", "0"}}, more)));
    opens(session);
    session.need(WSXDP_EVENT_OPEN);
    std::string body;
    uint64_t sent = 0;
    int refused = 0;
    const auto fill = [&] {
        for (;;) {
            stream_fill(&body, sent, 20000, seed);
            const int status = session.send(body, WSXDP_BINARY);
            if (status != 0) return status;
            sent += body.size();
        }
    };
    const int64_t begin = now_ms();
    while (now_ms() - begin < seconds * 1000) {
        const int status = fill();
        if (status != WSXDP_E_AGAIN) session.print();
        assert_int_equal(status, WSXDP_E_AGAIN);
        refused++;
        session.poll(50);
    }
    assert_int_equal(session.count(WSXDP_EVENT_CLOSE) + session.count(WSXDP_EVENT_ERROR), 0);
    assert_true(refused > 1 && read == 0);
    bool stalled = false, resumed = false;
    for (const Seen &seen : session.events) stalled |= contains(seen.data, "receive window is closed");
    assert_true(stalled);
    reads = true;
    session.need(WSXDP_EVENT_WRITABLE, patience_ms);
    const uint64_t total = sent + (2 << 20);
    for (const int64_t until = now_ms() + patience_ms; sent < total && now_ms() < until; session.poll(5))
        while (sent < total) {
            stream_fill(&body, sent, 20000, seed);
            if (session.send(body, WSXDP_BINARY) != 0) break;
            sent += body.size();
        }
    wsxdp_close(session.handle, 0, 1000, "", 0);
    assert_true(session.need(WSXDP_EVENT_CLOSE, patience_ms).flags & WSXDP_FLAG_CLEAN);
    for (const Seen &seen : session.events) resumed |= contains(seen.data, "reads again");
    assert_true(resumed);
    assert_true(same);
    assert_int_equal(read, sent);
}
TEST(a_peer_does_not_read_for_many_timeouts) { window_zero(there4, 5, {}); }
TEST(a_peer_does_not_read_ipv6) { window_zero(there6, 1, {}); }
TEST(a_peer_does_not_read_and_frames_are_few) { window_zero(there4, 1, {{"xdp.frames", fewest_frames}}); }

TESTS_BESIDE("exhaustion", 4)
