// SPDX-License-Identifier: MIT
// Pings of both sides, the round trip, and the three timeouts that end a connection whose peer is silent.
// Also the time stamps of a message, which are in the order in which things happen.
#include "pair.h"
#include <time.h>

static int64_t realtime_ns() {
    timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return now.tv_sec * 1000000000LL + now.tv_nsec;
}

TEST(a_ping_is_answered_with_its_whole_payload) {
    Pair pair;
    std::string binary(125, '\0');
    for (size_t i = 0; i < binary.size(); i++) binary[i] = static_cast<char>(i * 2);
    for (const std::string &payload : {std::string(), std::string("x"), text_of(125), binary}) {
        pair.peer.send(wire_frame(9, payload));
        assert_true(pair.event(WSXDP_EVENT_PING).data == payload);
        assert_true(pair.frame(10).payload == payload);
    }
    assert_int_equal(pair.client.stats().pings_received, 4);
    assert_int_equal(pair.client.stats().pongs_sent, 4);
}
TEST(the_newest_of_several_pings_is_answered_when_the_socket_is_blocked) {
    Pair pair({{"socket.send_buffer_bytes", "4096"}}, "", 4096);
    std::string block = text_of(10000);
    int count = 0;
    // Nobody reads; the socket is blocked when nothing has left for a while although there is more.
    uint64_t left = 0;
    for (int64_t since = now_ms(); now_ms() - since < 100; pair.client.poll(1)) {
        while (pair.client.send(block) == WSXDP_OK) count++;
        if (pair.client.stats().bytes_sent == left) continue;
        left = pair.client.stats().bytes_sent;
        since = now_ms();
    }
    for (int i = 0; i < 50; i++) pair.peer.send(wire_frame(9, "ping " + std::to_string(i)));
    for (int i = 0; i < 50; i++) {
        while (pair.client.events.size() == pair.taken) pair.client.poll(100);
        assert_int_equal(pair.client.events[pair.taken++].kind, WSXDP_EVENT_PING);
    }
    int blocks = 0, pongs = 0;
    std::string newest;
    while (blocks < count) {
        WireFrame frame = pair.frame();
        blocks += frame.opcode == 1;
        if (frame.opcode == 1) assert_true(frame.payload == block);
        if (frame.opcode != 10) continue;
        pongs++;
        newest = frame.payload;
        assert_true(blocks < count); // it did not wait for the whole outbox
    }
    assert_string_equal(newest.c_str(), "ping 49");
    // Stages apart may hear of the first before the others: RFC 6455 section 5.5.3 allows both.
    assert_true(pongs == 1 || (pongs == 2 && !test_placement().empty()));
}
TEST(an_unasked_pong_is_told_and_has_no_round_trip) {
    Pair pair;
    pair.peer.send(wire_frame(10, "12345678"));
    Seen seen = pair.event(WSXDP_EVENT_PONG);
    assert_string_equal(seen.data.c_str(), "12345678");
    assert_int_equal(seen.value, 0);
    assert_int_equal(pair.client.stats().round_trip_ns, 0);
}
TEST(our_keepalive_measures_the_round_trip) {
    int64_t before = realtime_ns(); // the next ping leaves
    Pair pair(OptionList{{"ping.interval_ns", "200ms"}});
    for (int i = 1; i <= 3; i++) {
        WireFrame ping = pair.frame(9);
        assert_int_equal(ping.payload.size(), 8);
        pair.peer.send(wire_frame(10, ping.payload));
        Seen seen = pair.event(WSXDP_EVENT_PONG);
        const int64_t now = realtime_ns();
        wsxdp_stats_t stats = pair.client.stats();
        on_time(pair.begun, 200 * i, 200 * i + 190); // else the next ping may have left, too
        assert_true(seen.value > 0);
        assert_true(seen.value < now - before + 1000000);
        before = now;
        assert_int_equal(stats.round_trip_ns, seen.value);
        assert_true(stats.round_trip_min_ns <= seen.value && stats.round_trip_min_ns > 0);
        assert_int_equal(stats.pings_sent, i);
    }
}
TEST(a_pong_with_another_payload_does_not_answer_our_ping) {
    Pair pair(OptionList{{"ping.interval_ns", "20ms"}, {"ping.timeout_ns", "120ms"}});
    WireFrame ping = pair.frame(9);
    ping.payload[0] = static_cast<char>(ping.payload[0] ^ 1);
    pair.peer.send(wire_frame(10, ping.payload));
    const Seen pong = pair.event();
    on_time(pair.begun, 20, 120); // else the ping may have timed out before the other pong was there
    assert_int_equal(pong.kind, WSXDP_EVENT_PONG);
    assert_int_equal(pong.value, 0);
    assert_int_equal(pair.event(WSXDP_EVENT_ERROR).error, WSXDP_E_PING_TIMEOUT);
}
TEST(an_unanswered_ping_ends_the_connection) {
    Pair pair(OptionList{{"ping.interval_ns", "50ms"}, {"ping.timeout_ns", "50ms"}});
    assert_int_equal(pair.event(WSXDP_EVENT_ERROR).error, WSXDP_E_PING_TIMEOUT);
    Seen close = pair.event(WSXDP_EVENT_CLOSE);
    assert_int_equal(close.error, WSXDP_E_PING_TIMEOUT);
    assert_int_equal(close.code, 1006);
    on_time(pair.begun, 100, 700);
    pair.gone();
}
TEST(silence_ends_the_connection) {
    Pair pair(OptionList{{"ping.interval_ns", "0"}, {"idle.timeout_ns", "80ms"}});
    assert_int_equal(pair.event(WSXDP_EVENT_ERROR).error, WSXDP_E_DEAD);
    assert_int_equal(pair.event(WSXDP_EVENT_CLOSE).error, WSXDP_E_DEAD);
    on_time(pair.begun, 80, 700);
    pair.gone();
}
TEST(traffic_keeps_a_connection_from_idling) {
    Pair pair(OptionList{{"ping.interval_ns", "0"}, {"idle.timeout_ns", "150ms"}});
    int64_t last = now_ms(); // something was sent
    for (int64_t start = last; now_ms() - start < 500;) {
        pair.peer.send(wire_frame(1, "."));
        const Seen seen = pair.event();
        on_time(last, 0, 120); // else it may have idled
        last = now_ms();
        assert_int_equal(seen.kind, WSXDP_EVENT_MESSAGE);
        pair.client.poll(10);
    }
    on_time(last, 0, 120);
    assert_int_equal(pair.client.count(WSXDP_EVENT_ERROR), 0);
}
TEST(without_interval_and_timeouts_nothing_happens) {
    Pair pair(OptionList{{"ping.interval_ns", "0"},
                         {"idle.timeout_ns", "0"},
                         {"stage.silence_ns", "0"}, // who watches over processes has deadlines of its own
                         {"connect.timeout_ns", "100ms"},
                         {"connect.attempt_timeout_ns", "100ms"},
                         {"upgrade.timeout_ns", "100ms"}});
    assert_int_equal(pair.client.poll(150), 0); // past what connecting had set
    assert_int_equal(pair.peer.pull(), 0);
    assert_true(wsxdp_deadline(pair.client.handle) == INT64_MAX);
}
TEST(keepalive_wakes_a_sleeping_poll) {
    Pair pair(OptionList{{"ping.interval_ns", "50ms"}, {"wait", "sleep"}});
    int64_t start = now_ms();
    assert_int_equal(pair.client.poll(150), 0);
    on_time(start, 149, 400);
    Pair::keep_on([&] { return pair.peer.pull() > 0; }); // without another poll
}

// The kernel switches its stamps on in a work queue, some time after the socket asked for them: what arrives
// before that has none.
static void wait_for_kernel_stamps(Pair *pair) {
    Pair::keep_on([&] {
        pair->peer.send(wire_frame(1, "m"));
        wsxdp_event event;
        memset(&event, 0, sizeof event);
        Pair::keep_on([&] { return wsxdp_poll(pair->client.handle, &event, 1, 0) == 1; });
        return event.kernel_last_ns != 0;
    });
}
TEST(time_stamps_are_in_order) {
    Pair pair;
    wait_for_kernel_stamps(&pair);
    int64_t before = realtime_ns(), previous = 0;
    for (int i = 0; i < 100; i++) {
        pair.peer.send(wire_frame(1, "m"));
        wsxdp_event event;
        for (int64_t end = now_ms() + 3000;
             wsxdp_poll(pair.client.handle, &event, 1, 0) == 0 && now_ms() < end;) {
        }
        assert_int_equal(event.kind, WSXDP_EVENT_MESSAGE);
        assert_int_equal(event.nic_last_ns, 0); // loopback has no NIC
        assert_true(event.kernel_first_ns >= before - 1000000);
        assert_true(event.kernel_first_ns <= event.kernel_last_ns);
        assert_true(event.kernel_last_ns <= event.poll_last_ns);
        assert_true(event.poll_first_ns <= event.poll_last_ns);
        assert_true(event.poll_last_ns <= event.parse_ns);
        // The read is that moment, but where it is another stage's.
        if (sockets_apart())
            assert_true(event.poll_last_ns <= event.transport_last_ns &&
                        event.transport_last_ns <= event.parse_ns);
        else
            assert_true(event.transport_last_ns == event.poll_last_ns);
        assert_int_equal(event.tls_last_ns, 0);
        assert_true(event.parse_ns <= realtime_ns() + 1000000);
        assert_true(event.parse_ns >= previous);
        previous = event.parse_ns;
    }
}
TEST(a_message_in_two_reads_has_two_poll_times) {
    Pair pair;
    wait_for_kernel_stamps(&pair);
    std::string bytes = wire_frame(1, text_of(100));
    const uint64_t read = pair.client.stats().bytes_received;
    pair.peer.send(bytes.substr(0, 50));
    pair.until([&] { return pair.client.stats().bytes_received == read + 50; });
    usleep(2000);
    pair.peer.send(bytes.substr(50));
    wsxdp_event event;
    memset(&event, 0, sizeof event);
    Pair::keep_on([&] { return wsxdp_poll(pair.client.handle, &event, 1, 0) == 1; });
    assert_int_equal(event.kind, WSXDP_EVENT_MESSAGE);
    assert_true(event.poll_last_ns - event.poll_first_ns > 1000000);
    assert_true(event.kernel_last_ns - event.kernel_first_ns > 1000000);
}
TEST(stamps_of_the_kernel_can_be_switched_off) {
    Pair pair(OptionList{{"timestamps", "off"}});
    pair.peer.send(wire_frame(1, "m"));
    wsxdp_event event;
    memset(&event, 0, sizeof event);
    while (wsxdp_poll(pair.client.handle, &event, 1, 1000000000) == 0) {
    }
    assert_int_equal(event.kernel_last_ns, 0);
    assert_true(event.poll_last_ns > 0);
}

TESTS("keepalive")
