// SPDX-License-Identifier: MIT
// Every limit of time, each by itself: it strikes when it should, not before, with its own code and a
// sentence that names its option; and what arrives puts off only what it should put off.
#include "session.h"
#include <atomic>

using namespace scripted;

static void mute(Wire &wire) { wire.wait_end(); }

static void open_and_mute(Wire &wire) {
    wire.upgrade();
    wire.wait_end();
}

static void fails_after(const std::string &url, OptionList options, int code, const std::string &part,
                        int64_t ms) {
    int64_t start = now_ms();
    expect_failure(url, options, code, part);
    on_time(start, ms - 1, ms + 400);
}

// The open connection ends so; in milliseconds from before it was open.
static int64_t ends(const Script &script, OptionList options, int code, const std::string &part) {
    Server server(script);
    options.push_back({"reconnect", "no"});
    int64_t start = now_ms();
    Session session(server.url(), options);
    session.need(WSXDP_EVENT_OPEN);
    const Seen &error = session.need(WSXDP_EVENT_ERROR);
    assert_int_equal(error.error, code);
    if (!contains(error.data, part)) fail_msg("%s", error.data.c_str());
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE).error, code);
    return now_ms() - start;
}

TEST(connect_timeout_covers_all_addresses) {
    SilentPort one("127.0.0.1");
    SilentPort two("127.0.0.2", one.port);
    fails_after("ws://two.test:" + std::to_string(one.port),
                {{"resolve.override", "two.test=127.0.0.1,127.0.0.2"}, {"connect.timeout_ns", "150ms"}},
                WSXDP_E_CONNECT_TIMEOUT, "two.test", 150);
}
TLS_TEST(connect_timeout_covers_tls) {
    Server server(mute);
    fails_after("wss://127.0.0.1:" + std::to_string(server.port),
                {{"tls.insecure_skip_verify", "yes"}, {"connect.timeout_ns", "120ms"}}, WSXDP_E_TLS_TIMEOUT,
                "", 120);
}
TEST(connect_timeout_covers_the_upgrade) {
    Server server(mute);
    fails_after(server.url(), {{"connect.timeout_ns", "120ms"}}, WSXDP_E_UPGRADE_TIMEOUT, "", 120);
}
TEST(connect_timeout_covers_the_proxy) {
    Server server(mute);
    fails_after(
        "ws://target.test/",
        {{"proxy", "http://127.0.0.1:" + std::to_string(server.port)}, {"connect.timeout_ns", "120ms"}},
        WSXDP_E_UPGRADE_TIMEOUT, "proxy", 120);
}
TEST(connect_timeout_ends_with_open) {
    Server server([](Wire &wire) {
        wire.upgrade();
        usleep(200000);
        wire.write(frame(1, "late"));
        wire.wait_end();
    });
    const int64_t start = now_ms();
    Session session(server.url(), {{"connect.timeout_ns", "100ms"}, {"upgrade.timeout_ns", "100ms"}});
    session.need(WSXDP_EVENT_OPEN);
    on_time(start, 0, 90);
    session.need(WSXDP_EVENT_MESSAGE);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}
TEST(each_attempt_has_its_own_connect_timeout) {
    SilentPort port;
    int64_t start = now_ms();
    Session session(
        "ws://127.0.0.1:" + std::to_string(port.port),
        {{"connect.timeout_ns", "80ms"}, {"reconnect.delay_min_ns", "1ms"}, {"reconnect.max_attempts", "2"}});
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE).error, WSXDP_E_RETRIES);
    on_time(start, 235, 600);
}
TEST(silence_is_death_after_the_idle_timeout) {
    int64_t ms = ends(open_and_mute, {{"idle.timeout_ns", "120ms"}, {"ping.interval_ns", "0"}}, WSXDP_E_DEAD,
                      "idle.timeout_ns");
    took_ms(ms, 119, 500);
}
TEST(any_byte_puts_the_idle_timeout_off) {
    int64_t ms = ends(
        [](Wire &wire) {
            wire.upgrade();
            for (int i = 0; i < 5; i++) usleep(60000), wire.write(frame(9, ""));
            wire.wait_end();
        },
        {{"idle.timeout_ns", "120ms"}, {"ping.interval_ns", "0"}}, WSXDP_E_DEAD, "idle.timeout_ns");
    if (ms < 400) throw Late{ms, 400}; // the server was late
    took_ms(ms, 400, 800);
}
TEST(an_unanswered_ping) {
    int64_t ms = ends(open_and_mute, {{"ping.interval_ns", "50ms"}, {"ping.timeout_ns", "100ms"}},
                      WSXDP_E_PING_TIMEOUT, "ping.timeout_ns");
    took_ms(ms, 149, 500);
}
TEST(messages_do_not_answer_a_ping) {
    ends(
        [](Wire &wire) {
            wire.upgrade();
            for (int i = 0; i < 100; i++) usleep(10000), wire.write(frame(1, "busy"));
        },
        {{"ping.interval_ns", "30ms"}, {"ping.timeout_ns", "60ms"}}, WSXDP_E_PING_TIMEOUT, "");
}
TEST(answered_pings_keep_it_alive_and_measure) {
    Server server([](Wire &wire) {
        wire.upgrade();
        for (Frame f = wire.read_frame(); f.opcode >= 0; f = wire.read_frame())
            if (f.opcode == 9) wire.write(frame(10, f.payload));
    });
    Session session(
        server.url(),
        {{"ping.interval_ns", "60ms"}, {"ping.timeout_ns", "150ms"}, {"idle.timeout_ns", "200ms"}});
    session.need(WSXDP_EVENT_OPEN);
    int64_t last = now_ms();
    for (int i = 0; i < 5; i++, last = now_ms()) {
        const Seen pong = session.need(WSXDP_EVENT_PONG);
        on_time(last, 0, 180); // else the peer was perhaps later than a timeout
        assert_in_range(pong.value, 1, 150000000);
    }
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
    assert_in_range(session.stats().round_trip_min_ns, 1, session.stats().round_trip_ns);
}
TEST(a_close_that_is_not_answered) {
    Server server(open_and_mute);
    Session session(server.url(), {{"close.timeout_ns", "100ms"}});
    session.need(WSXDP_EVENT_OPEN);
    int64_t start = now_ms();
    wsxdp_close(session.handle, 0, 1000, "", 0);
    const Seen &close = session.need(WSXDP_EVENT_CLOSE);
    assert_int_equal(close.error, WSXDP_E_CLOSE_TIMEOUT);
    on_time(start, 90, 400);
    assert_int_equal(session.count(WSXDP_EVENT_RECONNECTING), 0);
}
TEST(a_close_that_is_answered_but_tcp_lingers) {
    std::atomic<int64_t> answered{0};
    Server server([&](Wire &wire) {
        wire.upgrade();
        wire.read_frame();
        wire.write(close_frame(1000, "bye"));
        answered = now_ms();
        wire.wait_end();
    });
    Session session(server.url(), {{"close.timeout_ns", "100ms"}});
    session.need(WSXDP_EVENT_OPEN);
    const int64_t start = now_ms();
    wsxdp_close(session.handle, 0, 1000, "", 0);
    const Seen &close = session.need(WSXDP_EVENT_CLOSE, 600);
    if (answered == 0) throw Late{now_ms() - start, 80};
    took_ms(answered - start, 0, 80);
    assert_int_equal(close.error, 0);
    assert_true(close.flags & WSXDP_FLAG_CLEAN);
    assert_int_equal(close.code, 1000);
}
INLINE_TEST(the_deadline_is_when_the_timer_is_due) {
    SilentPort port;
    const int64_t start = now_ms();
    Session session("ws://127.0.0.1:" + std::to_string(port.port), {{"connect.timeout_ns", "200ms"}});
    session.poll(0);
    const int64_t opened = now_ms();
    assert_in_range(wsxdp_deadline(session.handle) / 1000000, start + 199, opened + 201);
    int fd = wsxdp_fd(session.handle);
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    session.poll(0); // arms the descriptor, now that it is in use
    timeval second = {1, 0};
    assert_int_equal(select(fd + 1, &set, nullptr, nullptr, &second), 1);
    session.poll(0);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 1);
}

TESTS("timeouts")
