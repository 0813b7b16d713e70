// SPDX-License-Identifier: MIT
// Every way in which a connection ends: by either side, by both at once, without a close, without an answer.
// What was under way before arrives; CLOSE comes exactly once and is the last event.
#include "pair.h"

// Of an end that both sides agreed on. The server ends TCP, as it should.
static Seen expect_clean(Pair *pair, int code, const std::string &reason, bool by_peer) {
    pair->peer.finish();
    Seen seen = pair->event(WSXDP_EVENT_CLOSE);
    assert_int_equal(seen.code, code);
    assert_true(seen.data == reason);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.flags, WSXDP_FLAG_CLEAN | (by_peer ? WSXDP_FLAG_BY_PEER : 0u));
    assert_true(pair->quiet());
    assert_int_equal(wsxdp_send(pair->client.handle, seen.conn, WSXDP_TEXT, "x", 1, 0), WSXDP_E_STALE);
    pair->gone();
    return seen;
}

static void expect_lost(Pair *pair, int error) {
    Seen told = pair->event(WSXDP_EVENT_ERROR);
    if (told.error != error) pair->client.print();
    assert_int_equal(told.error, error);
    Seen seen = pair->event(WSXDP_EVENT_CLOSE);
    assert_int_equal(seen.error, error);
    assert_int_equal(seen.code, 1006);
    assert_false(seen.flags & WSXDP_FLAG_CLEAN);
    assert_true(pair->quiet());
}

static const int sendable[] = {1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010,
                               1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999};

TEST(the_peer_closes_with_every_code) {
    for (int code : sendable) {
        Pair pair;
        pair.peer.send(wire_close(code, "reason"));
        assert_int_equal(Pair::code_of(pair.frame(8)), code); // RFC 6455 section 5.5.1
        expect_clean(&pair, code, "reason", true);
    }
}
TEST(the_peer_closes_without_a_code) {
    Pair pair;
    pair.peer.send(wire_close(0));
    assert_int_equal(pair.frame(8).payload.size(), 0);
    expect_clean(&pair, 1005, "", true);
}
TEST(the_peer_closes_with_the_longest_reason) {
    Pair pair;
    pair.peer.send(wire_close(1000, text_of(123)));
    pair.frame(8);
    expect_clean(&pair, 1000, text_of(123), true);
}
TEST(we_close_with_every_code) {
    for (int code : sendable) {
        Pair pair;
        assert_int_equal(wsxdp_close(pair.client.handle, 0, static_cast<uint16_t>(code), "bye", 3), WSXDP_OK);
        WireFrame close = pair.frame(8);
        assert_int_equal(Pair::code_of(close), code);
        assert_string_equal(close.payload.c_str() + 2, "bye");
        pair.peer.send(wire_close(code, "too"));
        expect_clean(&pair, code, "too", false);
    }
}
TEST(we_close_without_a_code) {
    Pair pair;
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 0, nullptr, 0), WSXDP_OK);
    assert_int_equal(pair.frame(8).payload.size(), 0);
    pair.peer.send(wire_close(0));
    expect_clean(&pair, 1005, "", false);
}
TEST(close_refuses_what_must_not_be_sent) {
    Pair pair;
    for (int code : {1, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65535})
        assert_int_equal(wsxdp_close(pair.client.handle, 0, static_cast<uint16_t>(code), "", 0),
                         WSXDP_E_INVALID);
    std::string longest = text_of(124);
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, longest.data(), 124), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "\xff", 1), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 0, "x", 1), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, nullptr, 1), WSXDP_E_INVALID);
    pair.peer.send(wire_frame(1, "still open"));
    pair.message("still open", WSXDP_FLAG_TEXT);
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, longest.data(), 123), WSXDP_OK);
    assert_int_equal(pair.frame(8).payload.size(), 125);
}
TEST(both_close_at_the_same_time) {
    Pair pair;
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 4001, "ours", 4), WSXDP_OK);
    pair.peer.send(wire_close(4002, "theirs")); // before it saw ours
    assert_int_equal(Pair::code_of(pair.frame(8)), 4001);
    expect_clean(&pair, 4002, "theirs", false);
}
TEST(after_close_sending_is_refused_and_receiving_goes_on) {
    Pair pair;
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "", 0), WSXDP_OK);
    assert_int_equal(pair.client.send("late"), WSXDP_E_CLOSED);
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "", 0), WSXDP_E_CLOSED);
    pair.frame(8);
    pair.peer.send(wire_frame(1, "in flight") + wire_frame(9, "no answer") + wire_frame(2, "too"));
    pair.message("in flight", WSXDP_FLAG_TEXT);
    pair.event(WSXDP_EVENT_PING);
    pair.message("too", WSXDP_FLAG_BINARY);
    assert_string_equal(pair.client.info("state").c_str(), "closing");
    pair.peer.send(wire_close(1000));
    expect_clean(&pair, 1000, "", false);
    WireFrame more;
    assert_false(pair.peer.next(&more)); // nothing follows a close frame
}
TEST(what_was_sent_before_close_arrives_before_it) {
    Pair pair;
    for (int i = 0; i < 100; i++) assert_int_equal(pair.client.send(std::to_string(i)), WSXDP_OK);
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "", 0), WSXDP_OK);
    for (int i = 0; i < 100; i++)
        assert_string_equal(pair.frame(1).payload.c_str(), std::to_string(i).c_str());
    pair.frame(8);
    pair.peer.send(wire_close(1000));
    expect_clean(&pair, 1000, "", false);
}
TEST(a_full_outbox_leaves_before_close) {
    Pair pair({{"socket.send_buffer_bytes", "4096"}}, "", 4096);
    std::string block = text_of(10000);
    int count = 0;
    while (pair.client.send(block) == WSXDP_OK) count++;
    assert_true(count > 50);
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "", 0), WSXDP_OK);
    for (int i = 0; i < count; i++) assert_true(pair.frame(1).payload == block);
    pair.frame(8);
    pair.peer.send(wire_close(1000));
    expect_clean(&pair, 1000, "", false);
}
// RFC 6455 section 5.5.2: a ping is answered as long as no close frame came.
TEST(a_ping_is_answered_while_a_close_waits_behind_a_full_outbox) {
    Pair pair({{"socket.send_buffer_bytes", "4096"}, {"outbox.bytes", "4MiB"}}, "", 4096);
    const std::string block = text_of(10000);
    int count = 0;
    while (pair.client.send(block) == WSXDP_OK) count++;
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "", 0), WSXDP_OK);
    pair.peer.send(wire_frame(9, "still there?"));
    int blocks = 0, before = -1;
    for (WireFrame f = pair.frame(); f.opcode != 8; f = pair.frame()) {
        if (f.opcode == 10) {
            assert_true(f.payload == "still there?");
            assert_int_equal(before, -1);
            before = blocks;
        } else {
            assert_true(f.payload == block);
            blocks++;
        }
    }
    assert_int_equal(blocks, count);
    assert_in_range(before, 0, count / 2);
    pair.event(WSXDP_EVENT_PING);
    pair.peer.send(wire_close(1000));
    expect_clean(&pair, 1000, "", false);
}
TEST(messages_right_before_the_peers_close_arrive) {
    Pair pair;
    pair.peer.send(wire_frame(1, "one") + wire_frame(2, "two") + wire_close(1001, "going") +
                   wire_frame(1, "after"));
    pair.message("one", WSXDP_FLAG_TEXT);
    pair.message("two", WSXDP_FLAG_BINARY);
    pair.frame(8);
    expect_clean(&pair, 1001, "going", true);
}
TEST(messages_and_close_and_fin_at_once_arrive) {
    Pair pair;
    pair.peer.send(wire_frame(1, "one") + wire_close(1000, "done"));
    pair.peer.finish();
    pair.message("one", WSXDP_FLAG_TEXT);
    expect_clean(&pair, 1000, "done", true);
    assert_int_equal(Pair::code_of(pair.frame(8)), 1000);
}
TEST(messages_before_a_fin_without_close_arrive) {
    Pair pair;
    pair.peer.send(wire_frame(1, "one") + wire_frame(1, "two"));
    pair.peer.finish();
    pair.message("one", WSXDP_FLAG_TEXT);
    pair.message("two", WSXDP_FLAG_TEXT);
    expect_lost(&pair, WSXDP_E_EOF);
}
TEST(a_fin_inside_a_frame_is_a_loss) {
    Pair pair;
    pair.peer.send(wire_frame(1, "incomplete").substr(0, 5));
    pair.peer.finish();
    expect_lost(&pair, WSXDP_E_EOF);
}
TEST(a_reset_is_a_loss) {
    Pair pair;
    pair.peer.reset();
    expect_lost(&pair, WSXDP_E_RESET);
}
TEST(a_reset_while_we_send_is_a_loss) {
    Pair pair;
    pair.peer.reset();
    for (int i = 0; i < 20 && pair.client.send("x") == WSXDP_OK; i++) {
    }
    expect_lost(&pair, WSXDP_E_RESET);
}
TEST(a_fin_after_our_close_is_a_loss) {
    Pair pair;
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "", 0), WSXDP_OK);
    pair.frame(8);
    pair.peer.finish();
    expect_lost(&pair, WSXDP_E_EOF);
}
TEST(a_peer_that_does_not_answer_our_close_runs_into_the_timeout) {
    Pair pair(OptionList{{"close.timeout_ns", "100ms"}});
    int64_t start = now_ms();
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "", 0), WSXDP_OK);
    expect_lost(&pair, WSXDP_E_CLOSE_TIMEOUT);
    on_time(start, 95, 800);
    pair.gone();
}
TEST(a_peer_that_talks_on_does_not_put_the_close_timeout_off) {
    Pair pair(OptionList{{"close.timeout_ns", "100ms"}});
    int64_t start = now_ms();
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "", 0), WSXDP_OK);
    while (pair.client.count(WSXDP_EVENT_CLOSE) == 0 && now_ms() - start < 3000) {
        pair.peer.push(wire_frame(1, "blah"));
        pair.turn();
    }
    on_time(start, 95, 800);
    assert_int_equal(pair.client.events.back().error, WSXDP_E_CLOSE_TIMEOUT);
}
TEST(a_peer_that_closes_but_keeps_tcp_open_is_let_go) {
    Pair pair(OptionList{{"close.timeout_ns", "100ms"}});
    int64_t start = now_ms();
    pair.peer.send(wire_close(1000, "bye"));
    pair.frame(8);
    Seen seen = pair.event(WSXDP_EVENT_CLOSE);
    assert_int_equal(seen.code, 1000);
    assert_int_equal(seen.error, 0);
    assert_int_equal(seen.flags, WSXDP_FLAG_CLEAN | WSXDP_FLAG_BY_PEER);
    on_time(start, 0, 800);
    pair.gone();
}
TEST(a_close_behind_a_blocked_outbox_times_out) {
    Pair pair({{"socket.send_buffer_bytes", "4096"}, {"close.timeout_ns", "100ms"}}, "", 4096);
    while (pair.client.send(text_of(10000)) == WSXDP_OK) {
    }
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "", 0), WSXDP_OK);
    const Seen *seen = pair.client.wait(WSXDP_EVENT_CLOSE, 3000); // nobody reads
    assert_non_null(seen);
    assert_int_equal(seen->error, WSXDP_E_CLOSE_TIMEOUT);
}
TEST(abort_resets) {
    Pair pair;
    assert_int_equal(wsxdp_abort(pair.client.handle, 0), WSXDP_OK);
    Seen seen = pair.event(WSXDP_EVENT_CLOSE);
    assert_int_equal(seen.error, WSXDP_E_ABORTED);
    assert_int_equal(seen.code, 1006);
    pair.gone();
    assert_true(pair.peer.was_reset);
    assert_int_equal(pair.client.count(WSXDP_EVENT_ERROR), 0);
}
TEST(abort_ends_a_close_that_waits) {
    Pair pair;
    assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "", 0), WSXDP_OK);
    pair.frame(8);
    assert_int_equal(wsxdp_abort(pair.client.handle, 0), WSXDP_OK);
    assert_int_equal(pair.event(WSXDP_EVENT_CLOSE).error, WSXDP_E_ABORTED);
    assert_true(pair.quiet());
}
TEST(close_and_abort_with_reconnect_on_do_not_connect_again) {
    for (bool abort : {false, true}) {
        Pair pair(OptionList{{"reconnect", "yes"}});
        assert_int_equal(abort ? wsxdp_abort(pair.client.handle, 0)
                               : wsxdp_close(pair.client.handle, 0, 1000, "", 0),
                         WSXDP_OK);
        pair.until([&] { return pair.peer.in.size() > 0 || pair.peer.ended; });
        if (!abort) pair.peer.send(wire_close(1000));
        pair.peer.finish();
        pair.event(WSXDP_EVENT_CLOSE);
        assert_true(pair.quiet());
    }
}
TEST(close_before_open_cancels) {
    TestServer server;
    Session client(server.url());
    assert_int_equal(wsxdp_close(client.handle, 0, 1000, "", 0), WSXDP_OK);
    const Seen &seen = client.need(WSXDP_EVENT_CLOSE);
    assert_int_equal(seen.error, WSXDP_E_ABORTED);
    assert_int_equal(client.count(WSXDP_EVENT_OPEN), 0);
}
TEST(the_close_answer_does_not_wait_for_a_caller_who_does_not_take_messages) {
    Pair pair;
    std::string many;
    for (int i = 0; i < 500; i++) many += wire_frame(1, "m");
    pair.peer.send(many + wire_close(1000));
    wsxdp_event one;
    Pair::keep_on([&] {
        WireFrame close;
        assert_true(wsxdp_poll(pair.client.handle, &one, 1, 0) >= 0);
        pair.peer.pull();
        return pair.peer.next(&close) && close.opcode == 8;
    });
}
TEST(free_with_everything_under_way_ends_tcp) {
    Pair pair;
    pair.peer.send(wire_frame(1, "unread"));
    assert_int_equal(pair.client.send("unsent"), WSXDP_OK);
    wsxdp_free(pair.client.handle);
    pair.client.handle = nullptr;
    for (int64_t end = now_ms() + 3000; !pair.peer.ended && now_ms() < end;) pair.peer.pull();
    assert_true(pair.peer.ended);
}

TESTS("closing")
