// SPDX-License-Identifier: MIT
// What the caller sends is on the wire exactly as it must be: opcodes, masks, fragments, corks; all of a
// message or nothing of it; and what must not be sent is refused with its own code.
#include "pair.h"
#include <set>

static int send_to(Pair *pair, uint32_t opcode, const std::string &data, uint32_t flags = 0) {
    return wsxdp_send(pair->client.handle, 0, opcode, data.data(), data.size(), flags);
}

TEST(every_opcode_and_length_arrives) {
    Pair pair;
    for (size_t size : {0, 1, 125, 126, 127, 65535, 65536, 200000}) {
        for (uint32_t opcode : {WSXDP_TEXT, WSXDP_BINARY}) {
            std::string data = text_of(size);
            assert_int_equal(send_to(&pair, opcode, data), WSXDP_OK);
            WireFrame frame = pair.frame(static_cast<int>(opcode));
            assert_true(frame.payload == data);
            assert_true(frame.final);
            assert_int_equal(frame.rsv, 0);
        }
    }
    for (size_t size : {0, 1, 124, 125}) {
        for (uint32_t opcode : {WSXDP_PING, WSXDP_PONG}) {
            assert_int_equal(send_to(&pair, opcode, text_of(size)), WSXDP_OK);
            assert_true(pair.frame(static_cast<int>(opcode)).payload == text_of(size));
        }
    }
}
TEST(bytes_go_through_unchanged) {
    Pair pair;
    std::string all;
    for (int i = 0; i < 1000; i++) all.push_back(static_cast<char>(i * 7));
    for (size_t from = 0; from < 16; from++) { // every alignment of the caller's buffer
        assert_int_equal(send_to(&pair, WSXDP_BINARY, all.substr(from)), WSXDP_OK);
        assert_true(pair.frame(2).payload == all.substr(from));
    }
}
TEST(masks_are_not_predictable) {
    Pair pair;
    std::set<uint32_t> masks;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(pair.client.send("same"), WSXDP_OK);
        masks.insert(pair.frame(1).mask);
    }
    assert_true(masks.size() >= 999);
}
INLINE_TEST(masks_are_zero_when_asked_for) {
    Pair pair(OptionList{{"mask.zero", "yes"}});
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pair.client.send("plain"), WSXDP_OK);
        pair.peer.pull();
        assert_true(pair.peer.in.find("plain") != std::string::npos);
        assert_int_equal(pair.frame(1).mask, 0);
    }
    pair.peer.send(wire_frame(9, "p"));
    assert_int_equal(pair.frame(10).mask, 0);
}
TEST(subscriptions_leave_first_and_in_order) {
    Pair pair(OptionList{{"subscribe", "one"}, {"subscribe", "{\"op\":2}"}});
    assert_int_equal(pair.client.send("three"), WSXDP_OK);
    assert_string_equal(pair.frame(1).payload.c_str(), "one");
    assert_string_equal(pair.frame(1).payload.c_str(), "{\"op\":2}");
    assert_string_equal(pair.frame(1).payload.c_str(), "three");
}

// ---- fragments ----

TEST(fragments_are_sent_as_given) {
    Pair pair;
    assert_int_equal(send_to(&pair, WSXDP_TEXT, "a\xe2\x82", WSXDP_SEND_NOT_FINAL), WSXDP_OK);
    assert_int_equal(send_to(&pair, WSXDP_PING, "between"), WSXDP_OK);
    assert_int_equal(send_to(&pair, WSXDP_CONTINUATION, "\xac", WSXDP_SEND_NOT_FINAL), WSXDP_OK);
    assert_int_equal(send_to(&pair, WSXDP_CONTINUATION, ""), WSXDP_OK);
    assert_int_equal(send_to(&pair, WSXDP_BINARY, "next"), WSXDP_OK);
    WireFrame frame = pair.frame(1);
    assert_false(frame.final);
    assert_string_equal(frame.payload.c_str(), "a\xe2\x82");
    pair.frame(9);
    frame = pair.frame(0);
    assert_false(frame.final);
    assert_string_equal(frame.payload.c_str(), "\xac");
    frame = pair.frame(0);
    assert_true(frame.final);
    assert_int_equal(frame.payload.size(), 0);
    pair.frame(2);
    assert_int_equal(pair.client.stats().messages_sent, 2);
}
TEST(fragments_out_of_order_are_refused) {
    Pair pair;
    assert_int_equal(send_to(&pair, WSXDP_CONTINUATION, "x"), WSXDP_E_STATE);
    assert_int_equal(send_to(&pair, WSXDP_TEXT, "x", WSXDP_SEND_NOT_FINAL), WSXDP_OK);
    assert_int_equal(send_to(&pair, WSXDP_TEXT, "x"), WSXDP_E_STATE);
    assert_int_equal(send_to(&pair, WSXDP_BINARY, "x"), WSXDP_E_STATE);
    assert_int_equal(send_to(&pair, WSXDP_CONTINUATION, "x"), WSXDP_OK);
    assert_int_equal(send_to(&pair, WSXDP_CONTINUATION, "x"), WSXDP_E_STATE);
    assert_int_equal(send_to(&pair, WSXDP_TEXT, "x"), WSXDP_OK);
}
TEST(messages_are_split_when_asked_for) {
    Pair pair(OptionList{{"send.fragment_bytes", "1000"}});
    for (size_t size : {0, 1, 999, 1000, 1001, 2000, 12345}) {
        assert_int_equal(send_to(&pair, WSXDP_TEXT, text_of(size)), WSXDP_OK);
        std::string whole;
        for (bool first = true;; first = false) {
            WireFrame frame = pair.frame(first ? 1 : 0);
            assert_true(frame.payload.size() <= 1000);
            whole += frame.payload;
            assert_int_equal(frame.final, whole.size() == size);
            if (frame.final) break;
        }
        assert_true(whole == text_of(size));
    }
}
TEST(a_pong_passes_between_the_frames_of_a_split_message) {
    Pair pair({{"send.fragment_bytes", "1000"}, {"socket.send_buffer_bytes", "4096"}}, "", 4096);
    assert_int_equal(send_to(&pair, WSXDP_BINARY, text_of(500000)), WSXDP_OK);
    pair.peer.send(wire_frame(9, "hurry"));
    pair.client.poll(100);
    size_t whole = 0, at_pong = 0;
    for (bool final = false; !final;) {
        WireFrame frame = pair.frame();
        if (frame.opcode == 10) {
            at_pong = whole;
            continue;
        }
        whole += frame.payload.size();
        final = frame.final;
    }
    assert_int_equal(whole, 500000);
    assert_true(at_pong > 0 && at_pong < whole);
}

// ---- corks ----

INLINE_TEST(more_keeps_back_until_a_send_without_it) {
    Pair pair;
    for (int i = 0; i < 10; i++)
        assert_int_equal(send_to(&pair, WSXDP_TEXT, "part", WSXDP_SEND_MORE), WSXDP_OK);
    assert_int_equal(pair.peer.pull(), 0);
    assert_int_equal(send_to(&pair, WSXDP_TEXT, "last"), WSXDP_OK);
    assert_int_equal(pair.peer.pull(), 11 * (4 + 6)); // all of it, at once
}
INLINE_TEST(more_keeps_back_until_the_next_poll) {
    Pair pair;
    assert_int_equal(send_to(&pair, WSXDP_TEXT, "part", WSXDP_SEND_MORE), WSXDP_OK);
    assert_int_equal(pair.peer.pull(), 0);
    assert_int_equal(pair.client.poll(0), 0);
    assert_int_equal(pair.peer.pull(), 10);
}

// ---- all or nothing ----

TEST(again_takes_nothing_and_writable_follows_and_nothing_is_lost) {
    Pair pair({{"outbox.bytes", "64KiB"}, {"socket.send_buffer_bytes", "4096"}}, "", 4096);
    int queued = 0, arrived = 0, refusals = 0;
    bool refused = false;
    while (arrived < 3000) {
        while (queued < 3000 && !refused) {
            int status = send_to(&pair, WSXDP_TEXT, std::to_string(queued) + " " + text_of(500));
            if (status == WSXDP_OK) {
                queued++;
                continue;
            }
            assert_int_equal(status, WSXDP_E_AGAIN);
            refusals++;
            refused = true;
        }
        pair.turn();
        for (; pair.taken < pair.client.events.size(); pair.taken++) {
            assert_int_equal(pair.client.events[pair.taken].kind, WSXDP_EVENT_WRITABLE);
            assert_true(refused); // only after it was asked for
            refused = false;
        }
        for (WireFrame frame; pair.peer.next(&frame);)
            assert_true(frame.payload == std::to_string(arrived++) + " " + text_of(500));
    }
    assert_true(refusals > 5);
    assert_int_equal(pair.client.stats().sends_refused, refusals);
    assert_int_equal(pair.client.stats().messages_sent, 3000);
}
TEST(a_message_larger_than_the_outbox_is_too_big) {
    Pair pair(OptionList{{"outbox.bytes", "64KiB"}});
    assert_int_equal(send_to(&pair, WSXDP_BINARY, text_of(65537)), WSXDP_E_TOO_BIG);
    assert_int_equal(send_to(&pair, WSXDP_BINARY, text_of(65536)), WSXDP_E_TOO_BIG);
    assert_int_equal(send_to(&pair, WSXDP_PING, text_of(126)), WSXDP_E_TOO_BIG);
    std::string largest = text_of(65536 - 14);
    const bool elsewhere = !test_placement().empty();
    for (int i = 0; i < 3; i++) { // never E_AGAIN for ever
        int status = send_to(&pair, WSXDP_BINARY, largest);
        // Who sends elsewhere may not have given the room back yet when the peer has all of it.
        for (int64_t end = now_ms() + 5000; elsewhere && status == WSXDP_E_AGAIN && now_ms() < end;) {
            pair.turn();
            status = send_to(&pair, WSXDP_BINARY, largest);
        }
        assert_int_equal(status, WSXDP_OK);
        assert_true(pair.frame(2).payload == largest);
        pair.turn();
    }
}

// ---- refused ----

TEST(unknown_flags_and_opcodes_are_refused) {
    Pair pair;
    for (uint32_t bit = 8; bit != 0; bit <<= 1)
        assert_int_equal(send_to(&pair, WSXDP_TEXT, "x", bit), WSXDP_E_FLAGS);
    for (uint32_t opcode : {3u, 7u, 8u, 11u, 15u, 16u, 257u, 0x80000001u})
        assert_int_equal(send_to(&pair, opcode, "x"), WSXDP_E_INVALID);
    assert_int_equal(send_to(&pair, WSXDP_PING, "x", WSXDP_SEND_NOT_FINAL), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_send(pair.client.handle, 0, WSXDP_TEXT, nullptr, 1, 0), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_send(pair.client.handle, 0, WSXDP_TEXT, nullptr, 0, 0), WSXDP_OK);
    assert_int_equal(pair.frame(1).payload.size(), 0);
}
TEST(text_that_is_not_utf8_is_refused) {
    Pair pair;
    for (const char *bad : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "abc\xe2\x82"})
        assert_int_equal(send_to(&pair, WSXDP_TEXT, bad), WSXDP_E_SEND_UTF8);
    assert_int_equal(send_to(&pair, WSXDP_TEXT, "\xe2\x82", WSXDP_SEND_NOT_FINAL), WSXDP_OK);
    assert_int_equal(send_to(&pair, WSXDP_CONTINUATION, "x"), WSXDP_E_SEND_UTF8);
    assert_int_equal(send_to(&pair, WSXDP_CONTINUATION, ""), WSXDP_E_SEND_UTF8); // it ends inside a character
    assert_int_equal(send_to(&pair, WSXDP_CONTINUATION, "\xac"), WSXDP_OK);
    assert_int_equal(send_to(&pair, WSXDP_BINARY, "\xff"), WSXDP_OK);
}
TEST(text_is_not_checked_when_asked_for) {
    Pair pair(OptionList{{"send.check_utf8", "no"}});
    assert_int_equal(send_to(&pair, WSXDP_TEXT, "\xff"), WSXDP_OK);
    assert_string_equal(pair.frame(1).payload.c_str(), "\xff");
}
TEST(sending_before_open_is_refused) {
    TestServer server;
    Session client(server.url());
    assert_int_equal(client.send("early"), WSXDP_E_STATE);
    void *room;
    assert_int_equal(wsxdp_send_begin(client.handle, 0, WSXDP_TEXT, 10, &room), WSXDP_E_STATE);
}

// ---- without a copy ----

TEST(begin_and_commit_send_what_was_written) {
    Pair pair;
    for (size_t size : {0, 1, 125, 126, 65535, 65536}) {
        void *room = nullptr;
        assert_int_equal(wsxdp_send_begin(pair.client.handle, 0, WSXDP_BINARY, size + 10, &room), WSXDP_OK);
        assert_non_null(room);
        memcpy(room, text_of(size).data(), size);
        assert_int_equal(wsxdp_send_commit(pair.client.handle, 0, size, 0), WSXDP_OK);
        assert_true(pair.frame(2).payload == text_of(size));
    }
    assert_int_equal(pair.client.stats().messages_sent, 6);
}
TEST(commit_is_refused_when_it_must) {
    Pair pair;
    wsxdp *handle = pair.client.handle;
    void *room = nullptr;
    assert_int_equal(wsxdp_send_commit(handle, 0, 1, 0), WSXDP_E_STATE);
    assert_int_equal(wsxdp_send_begin(handle, 0, WSXDP_TEXT, 10, &room), WSXDP_OK);
    assert_int_equal(wsxdp_send_commit(handle, 0, 11, 0), WSXDP_E_INVALID);
    memcpy(room, "\xff good", 6);
    assert_int_equal(wsxdp_send_commit(handle, 0, 6, 0), WSXDP_E_SEND_UTF8);
    assert_int_equal(wsxdp_send_commit(handle, 0, 6, 0x100), WSXDP_E_FLAGS);
    assert_int_equal(wsxdp_send_begin(handle, 0, WSXDP_PING, 10, &room), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_send_begin(handle, 0, WSXDP_TEXT, 2 << 20, &room), WSXDP_E_TOO_BIG);
    assert_int_equal(wsxdp_send_begin(handle, 0, WSXDP_TEXT, SIZE_MAX, &room), WSXDP_E_TOO_BIG);
    assert_int_equal(wsxdp_send_begin(handle, 0, WSXDP_TEXT, 10, nullptr), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_send_begin(handle, 0, WSXDP_TEXT, 10, &room), WSXDP_OK);
    assert_int_equal(pair.client.send("in between"), WSXDP_OK); // ends the begun one
    assert_int_equal(wsxdp_send_commit(handle, 0, 1, 0), WSXDP_E_STATE);
    assert_string_equal(pair.frame(1).payload.c_str(), "in between");
}
TEST(begin_is_refused_when_the_outbox_is_full) {
    Pair pair({{"socket.send_buffer_bytes", "4096"}}, "", 4096);
    while (send_to(&pair, WSXDP_BINARY, text_of(10000)) == WSXDP_OK) {
    }
    void *room = nullptr;
    assert_int_equal(wsxdp_send_begin(pair.client.handle, 0, WSXDP_TEXT, 10000, &room), WSXDP_E_AGAIN);
    pair.event(WSXDP_EVENT_WRITABLE);
    assert_int_equal(wsxdp_send_begin(pair.client.handle, 0, WSXDP_TEXT, 10000, &room), WSXDP_OK);
}

TESTS("sending")
