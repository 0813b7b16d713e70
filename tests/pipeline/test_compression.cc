// SPDX-License-Identifier: MIT
// permessage-deflate end to end, against zlib: both directions, with and without context takeover, in pieces,
// and what a hostile server may try with it.
#include "deflated.h"
#include "pair.h"

static const OptionList deflating = {{"deflate", "yes"}, {"close.timeout_ns", "50ms"}};
static const std::string agreed = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

static OptionList with(OptionList more) {
    more.insert(more.end(), deflating.begin(), deflating.end());
    return more;
}

static std::string json(int i) {
    return "{\"symbol\":\"BTC\",\"price\":" + std::to_string(i * 37) + ",\"text\":\"" + text_of(100) + "\"}";
}

static void round_trip(const OptionList &options, const std::string &answer, bool server_takeover,
                       bool client_takeover) {
    Pair pair(options, answer);
    assert_true(pair.client.events[0].flags & WSXDP_FLAG_COMPRESSED);
    ServerDeflate server(server_takeover, client_takeover);
    size_t first = 0, last = 0;
    for (int i = 0; i < 50; i++) {
        assert_int_equal(pair.client.send(json(i)), WSXDP_OK);
        WireFrame frame = pair.frame(1);
        assert_int_equal(frame.rsv, 4);
        std::string plain;
        assert_true(server.expand(frame.payload, &plain));
        assert_true(plain == json(i));
        last = frame.payload.size();
        if (i == 0) first = last;
        pair.peer.send(wire_frame(1, server.compress(json(i + 7)), true, 4));
        Seen seen = pair.event(WSXDP_EVENT_MESSAGE);
        assert_true(seen.data == json(i + 7));
        assert_true(seen.flags & WSXDP_FLAG_COMPRESSED);
    }
    if (client_takeover)
        assert_true(last < first / 2); // the context helps
    else
        assert_true(last > first / 2);
}

TEST(both_directions_with_context) { round_trip(deflating, agreed, true, true); }
TEST(both_directions_without_context) {
    round_trip(
        with({{"deflate.client_no_context_takeover", "yes"}, {"deflate.server_no_context_takeover", "yes"}}),
        "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; "
        "server_no_context_takeover\r\n",
        false, false);
}
TEST(only_the_server_forgets) {
    round_trip(with({{"deflate.server_no_context_takeover", "yes"}}),
               "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n", false, true);
}
TEST(only_the_client_forgets) {
    round_trip(with({{"deflate.client_no_context_takeover", "yes"}}),
               "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n", true, false);
}
TEST(short_and_unwilling_messages_stay_uncompressed) {
    Pair pair(deflating, agreed);
    assert_int_equal(pair.client.send("short"), WSXDP_OK);
    assert_int_equal(pair.frame(1).rsv, 0);
    std::string data = json(1);
    assert_int_equal(
        wsxdp_send(pair.client.handle, 0, WSXDP_TEXT, data.data(), data.size(), WSXDP_SEND_UNCOMPRESSED),
        WSXDP_OK);
    WireFrame frame = pair.frame(1);
    assert_int_equal(frame.rsv, 0);
    assert_true(frame.payload == data);
    assert_int_equal(wsxdp_send(pair.client.handle, 0, WSXDP_PING, data.data(), 100, 0), WSXDP_OK);
    assert_int_equal(pair.frame(9).rsv, 0);
    pair.peer.send(wire_frame(1, "plain"));
    pair.message("plain", WSXDP_FLAG_TEXT);
}
TEST(fragments_are_compressed_as_one_message) {
    Pair pair(deflating, agreed);
    ServerDeflate server;
    for (int round = 0; round < 3; round++) {
        std::string packed, plain;
        for (int i = 0; i < 4; i++) {
            std::string part = json(i);
            assert_int_equal(wsxdp_send(pair.client.handle, 0, i ? WSXDP_CONTINUATION : WSXDP_TEXT,
                                        part.data(), part.size(), i < 3 ? WSXDP_SEND_NOT_FINAL : 0),
                             WSXDP_OK);
            WireFrame frame = pair.frame(i ? 0 : 1);
            assert_int_equal(frame.rsv, i ? 0 : 4);
            assert_int_equal(frame.final, i == 3);
            packed += frame.payload;
        }
        assert_true(server.expand(packed, &plain));
        assert_true(plain == json(0) + json(1) + json(2) + json(3));
    }
}
TEST(a_compressed_message_in_many_frames_byte_by_byte) {
    for (const char *stream : {"no", "yes"}) {
        Pair pair(with({{"message.stream", stream}}), agreed);
        ServerDeflate server;
        for (int i = 0; i < 10; i++) {
            std::string packed = server.compress(json(i)), bytes;
            for (size_t at = 0; at < packed.size(); at += 7)
                bytes += wire_frame(at ? 0 : 1, packed.substr(at, 7), at + 7 >= packed.size(), at ? 0 : 4) +
                         wire_frame(10, "");
            for (char byte : bytes) {
                pair.peer.send(std::string(1, byte));
                pair.turn();
            }
            std::string whole;
            while (whole.size() < json(i).size()) {
                Seen seen = pair.event();
                if (seen.kind != WSXDP_EVENT_PONG) whole += seen.data;
            }
            assert_true(whole == json(i));
        }
    }
}
TEST(an_empty_compressed_message_arrives) {
    Pair pair(deflating, agreed);
    pair.peer.send(wire_frame(1, std::string("\0", 1), true, 4) + wire_frame(2, "", true, 0));
    pair.message("", WSXDP_FLAG_TEXT);
    pair.message("", WSXDP_FLAG_BINARY);
}
TEST(a_refused_message_does_not_harm_the_context) {
    OptionList options = with({{"outbox.bytes", "64KiB"}, {"socket.send_buffer_bytes", "4096"}});
    Pair pair(options, agreed, 4096);
    ServerDeflate server;
    int queued = 0, arrived = 0, refused = 0;
    auto noise = [](int i) { return text_of(6000, static_cast<unsigned>(i)); }; // compresses little
    while (arrived < 200) {
        while (queued < 200) {
            int status = pair.client.send(std::to_string(queued) + noise(queued));
            if (status == WSXDP_E_AGAIN) refused++;
            if (status < 0) break;
            queued++;
        }
        pair.turn();
        for (WireFrame frame; pair.peer.next(&frame);) {
            std::string plain;
            assert_true(server.expand(frame.payload, &plain));
            assert_true(plain == std::to_string(arrived) + noise(arrived));
            arrived++;
        }
    }
    assert_true(refused > 0);
}
TEST(zero_copy_sending_is_refused) {
    Pair pair(deflating, agreed);
    void *room;
    assert_int_equal(wsxdp_send_begin(pair.client.handle, 0, WSXDP_TEXT, 10, &room), WSXDP_E_UNSUPPORTED);
}

static void expect_broken(OptionList options, const std::string &bytes, int error, int code) {
    Pair pair(options, agreed);
    pair.peer.send(bytes);
    assert_int_equal(pair.event(WSXDP_EVENT_ERROR).error, error);
    assert_int_equal(Pair::code_of(pair.frame(8)), code);
}
TEST(corrupt_data_is_refused) {
    expect_broken(deflating, wire_frame(1, "\xff\xff\xff\xff", true, 4), WSXDP_E_DEFLATE, 1007);
}
TEST(a_bomb_is_refused) {
    ServerDeflate server;
    expect_broken(with({{"message.max_bytes", "100000"}}),
                  wire_frame(2, server.compress(std::string(10000000, 'x')), true, 4), WSXDP_E_INFLATE_SIZE,
                  1009);
}
TEST(a_ratio_above_the_limit_is_refused) {
    ServerDeflate server;
    expect_broken(with({{"deflate.max_ratio", "20"}}),
                  wire_frame(2, server.compress(std::string(100000, 'x')), true, 4), WSXDP_E_INFLATE_SIZE,
                  1009);
}
TEST(compressed_text_that_is_not_utf8_is_refused) {
    ServerDeflate server;
    expect_broken(deflating, wire_frame(1, server.compress("good \xff bad"), true, 4), WSXDP_E_UTF8, 1007);
}
TEST(rsv1_on_a_continuation_is_refused) {
    ServerDeflate server;
    std::string packed = server.compress(json(1));
    expect_broken(deflating, wire_frame(1, packed, false, 4) + wire_frame(0, "", true, 4), WSXDP_E_FRAME_RSV,
                  1002);
}
TEST(rsv1_without_the_extension_is_refused) {
    Pair pair(deflating); // offered, not taken
    pair.peer.send(wire_frame(1, "x", true, 4));
    assert_int_equal(pair.event(WSXDP_EVENT_ERROR).error, WSXDP_E_FRAME_RSV);
}
TEST(a_slow_caller_loses_no_compressed_message) {
    OptionList options = with({{"inbox.bytes", "64KiB"}});
    Pair pair(options, agreed);
    ServerDeflate server;
    std::string bytes;
    for (int i = 0; i < 2000; i++) bytes += wire_frame(1, server.compress(json(i)), true, 4);
    int arrived = 0;
    wsxdp_event events[3];
    Pair::keep_on([&] {
        bytes.erase(0, pair.peer.push(bytes));
        int count = wsxdp_poll(pair.client.handle, events, 3, 0);
        for (int k = 0; k < count; k++) {
            assert_int_equal(events[k].kind, WSXDP_EVENT_MESSAGE);
            std::string got(reinterpret_cast<const char *>(events[k].data), events[k].len);
            assert_true(got == json(arrived));
            arrived++;
        }
        return arrived == 2000;
    });
}

TESTS("compression")
