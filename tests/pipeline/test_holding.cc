// SPDX-License-Identifier: MIT
// wsxdp_hold: bytes that stay where they are and what they are while traffic goes on, up to limits.
#include "pair.h"

static std::vector<wsxdp_event> take(Pair *pair, size_t wanted) {
    std::vector<wsxdp_event> events(wanted);
    size_t count = 0;
    Pair::keep_on([&] {
        int got = wsxdp_poll(pair->client.handle, events.data(), wanted, 0);
        assert_true(got >= 0);
        count = static_cast<size_t>(got);
        return count != 0;
    });
    events.resize(count);
    return events;
}

static std::string bytes_of(const wsxdp_event &event) {
    return std::string(reinterpret_cast<const char *>(event.data), event.len);
}

TEST(held_bytes_stay_while_traffic_flows) {
    Pair pair(OptionList{{"inbox.bytes", "64KiB"}});
    wsxdp *handle = pair.client.handle;
    std::string kept = text_of(500, 99);
    pair.peer.send(wire_frame(1, kept));
    wsxdp_event held = take(&pair, 1)[0];
    assert_int_equal(wsxdp_hold(handle, &held), WSXDP_OK);
    assert_int_equal(pair.client.stats().holds, 1);
    size_t flowed = 0;
    while (flowed < 30000) {
        pair.peer.send(wire_frame(2, text_of(1000)));
        flowed += pair.event(WSXDP_EVENT_MESSAGE).data.size();
        assert_true(bytes_of(held) == kept);
    }
    // Held bytes stop the peer in the end: the ring goes on only when they are given back.
    std::string more;
    for (int i = 0; i < 60; i++) more += wire_frame(2, text_of(1000));
    pair.peer.send(more);
    pair.turns(50);
    size_t before = pair.client.events.size() - pair.taken;
    assert_true(before < 60);
    assert_true(bytes_of(held) == kept);
    assert_int_equal(wsxdp_unhold(handle, &held), WSXDP_OK);
    for (int i = 0; i < 60; i++) assert_int_equal(pair.event(WSXDP_EVENT_MESSAGE).data.size(), 1000);
    assert_int_equal(pair.client.stats().holds, 0);
}

TEST(holds_end_in_any_order) {
    for (int order = 0; order < 3; order++) {
        Pair pair(OptionList{{"inbox.bytes", "64KiB"}});
        wsxdp *handle = pair.client.handle;
        std::vector<wsxdp_event> held;
        for (unsigned i = 0; i < 9; i++) {
            pair.peer.send(wire_frame(1, text_of(100 + i, i)));
            held.push_back(take(&pair, 1)[0]);
            assert_int_equal(wsxdp_hold(handle, &held.back()), WSXDP_OK);
        }
        std::vector<size_t> turns;
        for (size_t i = 0; i < 9; i++) turns.push_back(order == 0 ? i : order == 1 ? 8 - i : i * 4 % 9);
        for (size_t done = 0; done < 9; done++) {
            for (size_t i = done; i < 9; i++)
                assert_true(bytes_of(held[turns[i]]) ==
                            text_of(100 + turns[i], static_cast<unsigned>(turns[i])));
            assert_int_equal(wsxdp_unhold(handle, &held[turns[done]]), WSXDP_OK);
            for (int k = 0; k < 5; k++) {
                pair.peer.send(wire_frame(2, text_of(1000)));
                assert_int_equal(pair.event(WSXDP_EVENT_MESSAGE).data.size(), 1000);
            }
        }
        for (int k = 0; k < 300; k++) { // several laps: everything was given back
            pair.peer.send(wire_frame(2, text_of(1000)));
            pair.event(WSXDP_EVENT_MESSAGE);
        }
    }
}

TEST(several_of_one_batch_can_be_held) {
    Pair pair;
    std::string bytes;
    for (int i = 0; i < 50; i++) bytes += wire_frame(1, "message " + std::to_string(i));
    pair.peer.send(bytes);
    std::vector<wsxdp_event> events = take(&pair, 50);
    assert_int_equal(events.size(), 50);
    for (size_t i = 0; i < 50; i += 2) assert_int_equal(wsxdp_hold(pair.client.handle, &events[i]), WSXDP_OK);
    for (int k = 0; k < 50; k++) {
        pair.peer.send(wire_frame(2, text_of(5000)));
        pair.event(WSXDP_EVENT_MESSAGE);
    }
    for (size_t i = 0; i < 50; i += 2) {
        assert_true(bytes_of(events[i]) == "message " + std::to_string(i));
        assert_int_equal(wsxdp_unhold(pair.client.handle, &events[i]), WSXDP_OK);
    }
}

TEST(hold_max_is_a_limit) {
    Pair pair(OptionList{{"hold.max", "2"}});
    pair.peer.send(wire_frame(1, "a") + wire_frame(1, "b") + wire_frame(1, "c"));
    std::vector<wsxdp_event> events = take(&pair, 3);
    assert_int_equal(events.size(), 3);
    assert_int_equal(wsxdp_hold(pair.client.handle, &events[0]), WSXDP_OK);
    assert_int_equal(wsxdp_hold(pair.client.handle, &events[1]), WSXDP_OK);
    assert_int_equal(wsxdp_hold(pair.client.handle, &events[2]), WSXDP_E_HOLDS);
    assert_int_equal(wsxdp_unhold(pair.client.handle, &events[0]), WSXDP_OK);
    assert_int_equal(wsxdp_hold(pair.client.handle, &events[2]), WSXDP_OK);
}

TEST(what_cannot_be_held_is_refused) {
    Pair pair;
    wsxdp *handle = pair.client.handle;
    pair.peer.send(wire_frame(1, "old"));
    wsxdp_event old = take(&pair, 1)[0];
    assert_int_equal(wsxdp_unhold(handle, &old), WSXDP_E_INVALID);
    pair.peer.send(wire_frame(9, "ping"));
    wsxdp_event ping = take(&pair, 1)[0];
    assert_int_equal(ping.kind, WSXDP_EVENT_PING);
    assert_int_equal(wsxdp_hold(handle, &ping), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_hold(handle, &old), WSXDP_E_INVALID); // not of the last batch
    wsxdp_event wrong = old;
    wrong.conn += 1u << 20;
    assert_int_equal(wsxdp_hold(handle, &wrong), WSXDP_E_STALE);
    assert_int_equal(wsxdp_unhold(handle, &wrong), WSXDP_E_STALE);
    pair.client.poll(0);
    assert_int_equal(wsxdp_hold(handle, &old), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_hold(handle, nullptr), WSXDP_E_INVALID);
    assert_int_equal(wsxdp_unhold(handle, nullptr), WSXDP_E_INVALID);
}

TEST(held_bytes_outlive_the_connection_until_unhold) {
    Pair pair;
    wsxdp *handle = pair.client.handle;
    std::string kept = text_of(300);
    pair.peer.send(wire_frame(1, kept));
    wsxdp_event held = take(&pair, 1)[0];
    assert_int_equal(wsxdp_hold(handle, &held), WSXDP_OK);
    pair.peer.reset();
    pair.event(WSXDP_EVENT_ERROR);
    pair.event(WSXDP_EVENT_CLOSE);
    pair.turns(5);
    assert_true(bytes_of(held) == kept);
    assert_int_equal(wsxdp_unhold(handle, &held), WSXDP_OK);
    pair.turns(2);
    assert_int_equal(wsxdp_unhold(handle, &held), WSXDP_E_STALE);
}

TEST(free_with_a_hold_is_allowed) {
    Pair pair;
    pair.peer.send(wire_frame(1, "x"));
    wsxdp_event held = take(&pair, 1)[0];
    assert_int_equal(wsxdp_hold(pair.client.handle, &held), WSXDP_OK);
}

TEST(release_lets_the_peer_send_on) {
    Pair pair(OptionList{{"inbox.bytes", "64KiB"}});
    pair.peer.send(wire_frame(2, text_of(39000)));
    take(&pair, 1);
    assert_true(pair.client.stats().inbox_bytes >= 39000);
    assert_int_equal(wsxdp_release(pair.client.handle), WSXDP_OK);
    assert_int_equal(pair.client.stats().inbox_bytes, 0);
}

TESTS("holding")
