// SPDX-License-Identifier: MIT
// echo: a connection without a network. Everything comes back, through the same frames as from a server.
#include "../pipeline/pair.h"

struct Echo : Session {
    explicit Echo(const OptionList &options = {}) : Session("echo:", options) { need(WSXDP_EVENT_OPEN); }
};

TEST(every_length_comes_back) {
    Echo echo;
    for (size_t size : {0, 1, 125, 126, 65535, 65536, 500000}) {
        for (uint32_t opcode : {WSXDP_TEXT, WSXDP_BINARY}) {
            assert_int_equal(echo.send(text_of(size), opcode), WSXDP_OK);
            const Seen &back = echo.need(WSXDP_EVENT_MESSAGE);
            assert_true(back.data == text_of(size));
            assert_int_equal(back.flags & 3, opcode == WSXDP_TEXT ? WSXDP_FLAG_TEXT : WSXDP_FLAG_BINARY);
        }
    }
}
TEST(fragments_come_back_as_one_message) {
    Echo echo;
    assert_int_equal(wsxdp_send(echo.handle, 0, WSXDP_TEXT, "ab", 2, WSXDP_SEND_NOT_FINAL), WSXDP_OK);
    assert_int_equal(wsxdp_send(echo.handle, 0, WSXDP_CONTINUATION, "cd", 2, 0), WSXDP_OK);
    assert_string_equal(echo.need(WSXDP_EVENT_MESSAGE).data.c_str(), "abcd");
}
TEST(a_ping_is_answered) {
    Echo echo;
    assert_int_equal(echo.send("p", WSXDP_PING), WSXDP_OK);
    assert_string_equal(echo.need(WSXDP_EVENT_PONG).data.c_str(), "p");
}
TEST(keepalive_works) {
    Echo echo(OptionList{{"ping.interval_ns", "20ms"}});
    assert_true(echo.need(WSXDP_EVENT_PONG).value > 0);
}
TEST(close_is_answered) {
    Echo echo;
    assert_int_equal(wsxdp_close(echo.handle, 0, 4000, "bye", 3), WSXDP_OK);
    const Seen &close = echo.need(WSXDP_EVENT_CLOSE);
    assert_int_equal(close.code, 4000);
    assert_string_equal(close.data.c_str(), "bye");
    assert_int_equal(close.flags, WSXDP_FLAG_CLEAN);
    assert_int_equal(close.error, 0);
}
TEST(subscriptions_come_back) {
    Session echo("echo:", {{"subscribe", "one"}, {"subscribe", "two"}});
    assert_string_equal(echo.need(WSXDP_EVENT_MESSAGE).data.c_str(), "one");
    assert_string_equal(echo.need(WSXDP_EVENT_MESSAGE).data.c_str(), "two");
}
TEST(a_full_outbox_says_again_and_nothing_is_lost) {
    Echo echo(OptionList{{"outbox.bytes", "64KiB"}});
    int sent = 0, refused = 0;
    size_t arrived = 0;
    while (arrived < 2000) {
        while (sent < 2000 && echo.send(std::to_string(sent) + text_of(1000), WSXDP_TEXT) == WSXDP_OK) sent++;
        refused += sent < 2000;
        const Seen &back = echo.need(WSXDP_EVENT_MESSAGE);
        assert_true(back.data == std::to_string(arrived++) + text_of(1000));
    }
    assert_true(refused > 0);
    assert_true(echo.count(WSXDP_EVENT_WRITABLE) > 0);
}
TEST(many_echoes_in_one_handle) {
    Session echo(nullptr, {{"inbox.bytes", "64KiB"}, {"outbox.bytes", "64KiB"}});
    std::vector<uint32_t> ids(100);
    for (uint32_t &id : ids) assert_int_equal(wsxdp_connect(echo.handle, "echo:", nullptr, &id), WSXDP_OK);
    while (echo.count(WSXDP_EVENT_OPEN) < ids.size()) assert_true(echo.poll(5000) > 0);
    for (uint32_t id : ids) assert_int_equal(echo.send(std::to_string(id), WSXDP_TEXT, id), WSXDP_OK);
    while (echo.count(WSXDP_EVENT_MESSAGE) < ids.size()) assert_true(echo.poll(5000) > 0);
    for (const Seen &seen : echo.events)
        if (seen.kind == WSXDP_EVENT_MESSAGE) assert_true(seen.data == std::to_string(seen.conn));
}

TESTS("echo")
