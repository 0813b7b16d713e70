// SPDX-License-Identifier: MIT
// message.stream: messages in pieces as they arrive, without a limit on their size, checked all the same.
#include "pair.h"

static OptionList streaming(OptionList more = {}) {
    more.push_back({"message.stream", "yes"});
    more.push_back({"close.timeout_ns", "50ms"});
    return more;
}

// Pieces until the final one; the flags of first and last must be right.
static std::string gather(Pair *pair, uint32_t kind_flag, size_t *pieces = nullptr) {
    std::string whole;
    for (bool first = true;; first = false) {
        Seen seen = pair->event(WSXDP_EVENT_FRAGMENT);
        assert_int_equal((seen.flags & WSXDP_FLAG_FIRST) != 0, first);
        assert_true(seen.flags & kind_flag);
        whole += seen.data;
        if (pieces) ++*pieces;
        if (seen.flags & WSXDP_FLAG_FINAL) return whole;
    }
}

TEST(a_small_message_is_one_piece) {
    Pair pair(streaming());
    pair.peer.send(wire_frame(1, "small") + wire_frame(2, ""));
    size_t pieces = 0;
    assert_string_equal(gather(&pair, WSXDP_FLAG_TEXT, &pieces).c_str(), "small");
    assert_string_equal(gather(&pair, WSXDP_FLAG_BINARY, &pieces).c_str(), "");
    assert_int_equal(pieces, 2);
}
TEST(a_message_larger_than_the_inbox_arrives) {
    Pair pair(streaming({{"inbox.bytes", "64KiB"}}));
    std::string data = text_of(1000000), bytes = wire_frame(2, data), whole;
    bool final = false;
    pair.until([&] {
        bytes.erase(0, pair.peer.push(bytes.substr(0, 50000)));
        for (; pair.taken < pair.client.events.size(); pair.taken++) {
            const Seen &seen = pair.client.events[pair.taken];
            assert_int_equal(seen.kind, WSXDP_EVENT_FRAGMENT);
            whole += seen.data;
            final = seen.flags & WSXDP_FLAG_FINAL;
        }
        return final;
    });
    assert_true(whole == data);
    assert_int_equal(pair.client.stats().messages_received, 1);
    assert_int_equal(pair.client.stats().payload_received, data.size());
}
TEST(byte_by_byte_pieces_come_as_they_are_there) {
    Pair pair(streaming());
    std::string bytes = wire_frame(1, "a\xe2\x82\xac", false) + wire_frame(9, "p") + wire_frame(0, "z");
    std::string whole;
    for (char byte : bytes) {
        pair.peer.send(std::string(1, byte));
        pair.turn();
    }
    if (test_placement().empty()) pair.turns(5);
    const auto complete = [&] {
        size_t size = 0;
        for (size_t i = pair.taken; i < pair.client.events.size(); i++)
            if (pair.client.events[i].kind == WSXDP_EVENT_FRAGMENT) size += pair.client.events[i].data.size();
        return size == 5 && pair.client.count(WSXDP_EVENT_PING) == 1;
    };
    if (!test_placement().empty()) pair.until(complete);
    assert_true(complete());
    bool pinged = false;
    for (; pair.taken < pair.client.events.size(); pair.taken++) {
        const Seen &seen = pair.client.events[pair.taken];
        if (seen.kind == WSXDP_EVENT_PING)
            pinged = true;
        else
            whole += seen.data;
        if (seen.kind == WSXDP_EVENT_FRAGMENT) assert_int_equal(seen.sequence, 1);
    }
    assert_true(pinged);
    assert_string_equal(whole.c_str(), "a\xe2\x82\xacz");
}
TEST(bad_utf8_in_a_stream_fails_at_once) {
    Pair pair(streaming());
    pair.peer.send(std::string("\x81\x7f\0\0\0\0\0\x10\0\0", 10) + "good\xff");
    assert_int_equal(pair.event(WSXDP_EVENT_ERROR).error, WSXDP_E_UTF8);
    assert_int_equal(Pair::code_of(pair.frame(8)), 1007);
}
TEST(text_that_ends_inside_a_character_fails) {
    Pair pair(streaming());
    pair.peer.send(wire_frame(1, "\xe2\x82", false) + wire_frame(0, ""));
    pair.event(WSXDP_EVENT_FRAGMENT);
    assert_int_equal(pair.event(WSXDP_EVENT_ERROR).error, WSXDP_E_UTF8);
}
TEST(many_messages_in_one_read_stay_apart) {
    Pair pair(streaming());
    std::string bytes;
    for (int i = 0; i < 200; i++) bytes += wire_frame(2, std::to_string(i), false) + wire_frame(0, "!");
    pair.peer.send(bytes);
    for (int i = 0; i < 200; i++)
        assert_string_equal(gather(&pair, WSXDP_FLAG_BINARY).c_str(), (std::to_string(i) + "!").c_str());
}

TESTS("streaming")
