// SPDX-License-Identifier: MIT
// What a server may send, in every length form and cut in every place; and what it may not: each broken rule
// has its own code for the caller and the right close code for the server.
#include "pair.h"

TEST(every_length_form_arrives) {
    Pair pair;
    for (size_t size : {0, 1, 2, 124, 125, 126, 127, 128, 65534, 65535, 65536, 65537, 300000}) {
        std::string text = text_of(size);
        std::string bytes = wire_frame(1, text);
        size_t sent = 0;
        pair.until([&] {
            sent += pair.peer.push(bytes.substr(sent));
            return sent == bytes.size();
        });
        pair.message(text, WSXDP_FLAG_TEXT);
        bytes = wire_frame(2, text), sent = 0;
        pair.until([&] {
            sent += pair.peer.push(bytes.substr(sent));
            return sent == bytes.size();
        });
        pair.message(text, WSXDP_FLAG_BINARY);
    }
    assert_true(pair.quiet());
}

struct Expected {
    uint32_t kind;
    std::string data;
    uint32_t flag;
};

struct Script {
    std::string bytes;
    std::vector<Expected> events;
    size_t pings = 0;
    void message(int opcode, const std::string &data) {
        bytes += wire_frame(opcode, data);
        expect(opcode, data);
    }
    void expect(int opcode, const std::string &data) {
        events.push_back({WSXDP_EVENT_MESSAGE, data, opcode == 1 ? WSXDP_FLAG_TEXT : WSXDP_FLAG_BINARY});
    }
    void control(int opcode, const std::string &data) {
        bytes += wire_frame(opcode, data);
        events.push_back({opcode == 9 ? uint32_t{WSXDP_EVENT_PING} : uint32_t{WSXDP_EVENT_PONG}, data, 0});
        pings += opcode == 9;
    }
    void fragmented(int opcode, const std::vector<std::string> &parts, bool controls) {
        std::string whole;
        for (size_t i = 0; i < parts.size(); i++) {
            bytes += wire_frame(i ? 0 : opcode, parts[i], i + 1 == parts.size());
            whole += parts[i];
            if (controls && i + 1 != parts.size()) control(9, "ping " + std::to_string(i));
            if (controls && i == 0) control(10, "");
        }
        expect(opcode, whole);
    }
};

static Script script(bool long_ones) {
    Script s;
    s.message(1, "hello");
    s.message(2, "");
    s.fragmented(1, {"\xe2", "\x82", "\xac", " euro"}, true); // one character in three frames
    s.control(9, text_of(125));
    s.message(1, text_of(125));
    s.message(2, text_of(126));
    s.fragmented(2, {"", "", ""}, true);
    s.fragmented(1, {"a", "", text_of(126, 7), "z"}, false);
    s.control(10, "unasked");
    s.message(1, "");
    if (long_ones) {
        s.message(2, text_of(65535));
        s.message(1, text_of(65536));
        s.fragmented(2, {text_of(65535), "x", text_of(3)}, true);
    }
    s.message(1, "\xf0\x9f\x98\x80 end");
    return s;
}

static void expect_script(Pair *pair, const Script &s) {
    for (const Expected &expected : s.events) {
        Seen seen = pair->event(expected.kind);
        assert_true(seen.data == expected.data);
        assert_int_equal(seen.flags & (WSXDP_FLAG_TEXT | WSXDP_FLAG_BINARY), expected.flag);
    }
}

TEST(a_script_arrives_whole) {
    Pair pair;
    Script s = script(true);
    pair.peer.send(s.bytes);
    expect_script(&pair, s);
    assert_true(pair.quiet());
}

TEST(a_script_arrives_together_with_the_upgrade) {
    Script s = script(false);
    Pair pair({}, "", 0, 0, s.bytes);
    expect_script(&pair, s);
    assert_true(pair.quiet());
}

TEST(a_script_arrives_byte_by_byte) {
    Pair pair;
    Script s = script(true);
    for (char byte : s.bytes) {
        pair.peer.send(std::string(1, byte));
        pair.turn();
    }
    expect_script(&pair, s);
    assert_true(pair.quiet());
}

TEST(a_script_arrives_cut_at_every_place) {
    Pair pair;
    Script s = script(false);
    for (size_t cut = 1; cut < s.bytes.size(); cut++) {
        pair.peer.send(s.bytes.substr(0, cut));
        pair.turn();
        pair.peer.send(s.bytes.substr(cut));
        expect_script(&pair, s);
    }
    assert_true(pair.quiet());
}

TEST(reading_goes_on_after_more_reads_than_metadata_slots) {
    Pair pair(OptionList{{"metadata.slots", "64"}});
    for (int i = 0; i < 300; i++) {
        pair.peer.send(wire_frame(1, std::to_string(i)));
        pair.message(std::to_string(i), WSXDP_FLAG_TEXT);
    }
}

TEST(every_ping_of_a_script_is_answered_in_order) {
    Pair pair;
    Script s = script(false);
    for (char byte : s.bytes) {
        pair.peer.send(std::string(1, byte));
        pair.turn();
    }
    for (const Expected &expected : s.events)
        if (expected.kind == WSXDP_EVENT_PING)
            assert_string_equal(pair.frame(10).payload.c_str(), expected.data.c_str());
    assert_int_equal(pair.client.stats().pongs_sent, s.pings);
}

TEST(sequence_numbers_count_messages) {
    Pair pair;
    for (uint64_t i = 1; i <= 20; i++) {
        pair.peer.send(wire_frame(1, "m") + wire_frame(9, "p"));
        assert_int_equal(pair.event(WSXDP_EVENT_MESSAGE).sequence, i);
        assert_int_equal(pair.event(WSXDP_EVENT_PING).sequence, 0);
    }
}

TEST(the_last_message_of_a_read_is_marked) {
    Pair pair;
    pair.peer.send(wire_frame(1, "a") + wire_frame(1, "b") + wire_frame(1, "c") + wire_frame(9, "p"));
    assert_false(pair.event(WSXDP_EVENT_MESSAGE).flags & WSXDP_FLAG_LAST_IN_BATCH);
    assert_false(pair.event(WSXDP_EVENT_MESSAGE).flags & WSXDP_FLAG_LAST_IN_BATCH);
    assert_true(pair.event(WSXDP_EVENT_MESSAGE).flags & WSXDP_FLAG_LAST_IN_BATCH);
}

// ---- broken rules ----

// What was in front arrives, then the code for the caller, the close for the server, and the end.
static void expect_broken(const std::string &bytes, int error, int close_code, OptionList options = {},
                          const std::string &extra = "") {
    Pair pair(options, extra);
    pair.peer.send(wire_frame(1, "before") + bytes);
    pair.message("before", WSXDP_FLAG_TEXT);
    WireFrame close = pair.frame(8);
    assert_int_equal(Pair::code_of(close), close_code);
    pair.peer.finish();
    Seen told = pair.event(WSXDP_EVENT_ERROR);
    if (told.error != error) pair.client.print();
    assert_int_equal(told.error, error);
    assert_true(told.data.size() > 20);
    Seen end = pair.event(WSXDP_EVENT_CLOSE);
    assert_int_equal(end.error, error);
    assert_false(end.flags & WSXDP_FLAG_CLEAN);
    pair.gone();
}

TEST(reserved_bits_are_refused) {
    for (int rsv : {1, 2, 4, 7}) expect_broken(wire_frame(1, "x", true, rsv), WSXDP_E_FRAME_RSV, 1002);
    for (int opcode : {8, 9, 10}) expect_broken(wire_frame(opcode, "", true, 4), WSXDP_E_FRAME_RSV, 1002);
}
TEST(reserved_opcodes_are_refused) {
    for (int opcode : {3, 4, 5, 6, 7, 11, 12, 13, 14, 15})
        expect_broken(wire_frame(opcode, ""), WSXDP_E_FRAME_OPCODE, 1002);
}
TEST(a_reserved_opcode_is_refused_at_its_first_byte) { expect_broken("\x83", WSXDP_E_FRAME_OPCODE, 1002); }
TEST(masked_frames_are_refused) {
    for (int opcode : {1, 2, 8, 9, 10}) expect_broken(wire_masked(opcode, ""), WSXDP_E_FRAME_MASKED, 1002);
    expect_broken(wire_masked(1, "payload"), WSXDP_E_FRAME_MASKED, 1002);
}
TEST(lengths_not_in_the_shortest_form_are_refused) {
    for (size_t size : {0, 1, 125})
        expect_broken(wire_frame(2, text_of(size), true, 0, 16), WSXDP_E_FRAME_LENGTH, 1002);
    for (size_t size : {0, 125, 126, 65535})
        expect_broken(wire_frame(2, text_of(size), true, 0, 64), WSXDP_E_FRAME_LENGTH, 1002);
}
TEST(a_length_with_its_top_bit_is_refused) {
    expect_broken(std::string("\x82\x7f\x80\0\0\0\0\0\0\0", 10), WSXDP_E_FRAME_LENGTH, 1002);
    expect_broken(std::string("\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10), WSXDP_E_FRAME_LENGTH, 1002);
}
TEST(fragmented_control_frames_are_refused) {
    for (int opcode : {8, 9, 10}) expect_broken(wire_frame(opcode, "", false), WSXDP_E_FRAME_CONTROL, 1002);
}
TEST(long_control_frames_are_refused) {
    for (int opcode : {8, 9, 10})
        expect_broken(wire_frame(opcode, text_of(126)), WSXDP_E_FRAME_CONTROL, 1002);
}
TEST(a_continuation_of_nothing_is_refused) {
    expect_broken(wire_frame(0, "x"), WSXDP_E_FRAME_CONTINUATION, 1002);
    expect_broken(wire_frame(0, "x", false), WSXDP_E_FRAME_CONTINUATION, 1002);
}
TEST(a_message_inside_a_message_is_refused) {
    for (int opcode : {1, 2})
        expect_broken(wire_frame(1, "x", false) + wire_frame(opcode, "y"), WSXDP_E_FRAME_INTERLEAVED, 1002);
}
TEST(text_that_is_not_utf8_is_refused) {
    for (const char *bad : {"\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "abc\xe2\x82", "\x80"})
        expect_broken(wire_frame(1, bad), WSXDP_E_UTF8, 1007);
    expect_broken(wire_frame(1, "\xe2\x82", false) + wire_frame(0, "x"), WSXDP_E_UTF8, 1007);
}
TEST(bad_utf8_at_the_first_byte_of_a_huge_incomplete_frame_fails_at_once) {
    expect_broken(std::string("\x81\x7f\0\0\0\0\0\x10\0\0\xff", 11), WSXDP_E_UTF8, 1007);
}
TEST(unchecked_utf8_passes_when_asked_for) {
    Pair pair(OptionList{{"message.check_utf8", "no"}});
    pair.peer.send(wire_frame(1, "\xff"));
    pair.message("\xff", WSXDP_FLAG_TEXT);
}
TEST(binary_is_not_checked) {
    Pair pair;
    pair.peer.send(wire_frame(2, "\xff\xc0"));
    pair.message("\xff\xc0", WSXDP_FLAG_BINARY);
}
TEST(close_codes_that_nobody_may_send_are_refused) {
    for (int code : {1, 999, 1004, 1005, 1006, 1015, 1016, 1999, 2000, 2999, 5000, 65535})
        expect_broken(wire_close(code), WSXDP_E_CLOSE_CODE, 1002);
    expect_broken(wire_frame(8, std::string(2, '\0')), WSXDP_E_CLOSE_CODE, 1002);
}
TEST(a_close_of_one_byte_is_refused) { expect_broken(wire_frame(8, "\x03"), WSXDP_E_CLOSE_CODE, 1002); }
TEST(a_close_reason_that_is_not_utf8_is_refused) {
    expect_broken(wire_close(1000, "\xff"), WSXDP_E_CLOSE_UTF8, 1007);
    expect_broken(wire_close(1000, "half \xe2\x82"), WSXDP_E_CLOSE_UTF8, 1007);
}
TEST(a_message_above_the_limit_is_refused_at_its_head) {
    OptionList limit = {{"message.max_bytes", "1000"}};
    expect_broken(wire_frame(2, text_of(1001)).substr(0, 4), WSXDP_E_MESSAGE_SIZE, 1009, limit);
    expect_broken(wire_frame(2, text_of(600), false) + wire_frame(0, text_of(401)).substr(0, 4),
                  WSXDP_E_MESSAGE_SIZE, 1009, limit);
}
TEST(a_message_of_exactly_the_limit_passes) {
    Pair pair(OptionList{{"message.max_bytes", "1000"}});
    pair.peer.send(wire_frame(2, text_of(1000)) + wire_frame(1, text_of(999), false) + wire_frame(0, "x"));
    pair.message(text_of(1000), WSXDP_FLAG_BINARY);
    pair.message(text_of(999) + "x", WSXDP_FLAG_TEXT);
}
TEST(a_frame_above_its_limit_is_refused) {
    OptionList limit = {{"frame.max_bytes", "500"}};
    expect_broken(wire_frame(2, text_of(501)).substr(0, 4), WSXDP_E_MESSAGE_SIZE, 1009, limit);
    Pair pair(limit);
    pair.peer.send(wire_frame(2, text_of(500), false) + wire_frame(0, text_of(500)));
    pair.message(text_of(500) + text_of(500), WSXDP_FLAG_BINARY);
}
TEST(a_message_above_the_inbox_is_refused_at_its_head) {
    expect_broken(std::string("\x82\x7f\0\0\0\0\0\x40\0\0", 10), WSXDP_E_MESSAGE_SIZE, 1009,
                  {{"inbox.bytes", "64KiB"}});
}

// Heads take as much room as payload: they are given back, or the message is refused, but nothing ever waits.
TEST(a_flood_of_tiny_fragments_fills_the_inbox_and_ends) {
    Pair pair(OptionList{{"inbox.bytes", "64KiB"}, {"close.timeout_ns", "50ms"}});
    std::string flood, rest = wire_frame(2, "x", false);
    for (int i = 0; i < 500; i++) flood += wire_frame(0, "x", false);
    pair.until([&] {
        rest.erase(0, pair.peer.push(rest));
        if (rest.empty()) rest = flood;
        return pair.client.events.size() > 1;
    });
    assert_int_equal(pair.event(WSXDP_EVENT_ERROR).error, WSXDP_E_MESSAGE_SIZE);
    WireFrame close;
    pair.until([&] { return pair.peer.next(&close) || pair.peer.ended; });
    if (close.opcode == 8) assert_int_equal(Pair::code_of(close), 1009);
}
TEST(a_flood_of_empty_fragments_takes_no_room) {
    Pair pair(OptionList{{"inbox.bytes", "64KiB"}});
    pair.peer.send(wire_frame(2, "begin", false));
    std::string flood;
    for (int i = 0; i < 1000; i++) flood += wire_frame(0, "", false);
    for (int i = 0; i < 200; i++) { // 400 KB of heads
        pair.peer.send(flood);
        pair.turns(2);
    }
    pair.peer.send(wire_frame(0, "end"));
    pair.message("beginend", WSXDP_FLAG_BINARY);
}

TESTS("frames")
