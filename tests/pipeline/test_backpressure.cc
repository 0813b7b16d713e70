// SPDX-License-Identifier: MIT
// A caller who is too slow: by default the server is stopped and nothing is lost; with conflate the oldest
// messages go and are counted exactly; with close the connection ends. Memory never grows with what is
// waiting.
#include "pair.h"

static std::string numbered(uint64_t i, size_t size = 1000) {
    std::string out = std::to_string(i) + ":";
    out.resize(size, '.');
    return out;
}

static size_t resident_kib() {
    size_t total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%zu %zu", &total, &resident) != 2) resident = 0;
    if (file) fclose(file);
    return resident * 4;
}

// Pushes messages until the kernel takes no more for a while; the client may poll between.
struct Source {
    uint64_t made = 0;
    std::string rest;
    bool push(TestPeer *peer, size_t size = 1000) { // false: blocked
        if (rest.empty()) rest = wire_frame(1, numbered(made++, size));
        rest.erase(0, peer->push(rest));
        return rest.empty();
    }
};

INLINE_TEST(a_caller_who_stops_polling_stops_the_server) {
    Pair pair({{"socket.receive_buffer_bytes", "8192"}}, "", 0, 8192);
    Source source;
    while (source.push(&pair.peer)) {
    }
    uint64_t without_poll = source.made;
    usleep(20000);
    assert_false(source.push(&pair.peer)); // nobody drains the kernel
    assert_true(without_poll < 2000);
}

// Polls that take one event each: the inbox fills, then the kernel's buffers, then the server stands.
TEST(a_slow_caller_gets_everything_in_order_and_memory_stays_flat) {
    Pair pair({{"inbox.bytes", "256KiB"}}, "", 0, 65536);
    Source source;
    wsxdp_event event;
    uint64_t taken = 0;
    size_t blocked = 0, memory = 0;
    while (taken < 20000) {
        for (int i = 0; i < 100 && source.made < 20000; i++) blocked += !source.push(&pair.peer);
        if (source.made == 20000 && !source.rest.empty()) source.rest.erase(0, pair.peer.push(source.rest));
        int count = wsxdp_poll(pair.client.handle, &event, 1, 1000000000);
        if (count == 0) fail_msg("stuck after %d messages", static_cast<int>(taken));
        assert_int_equal(event.kind, WSXDP_EVENT_MESSAGE);
        std::string expected = numbered(taken);
        assert_int_equal(event.len, expected.size());
        assert_memory_equal(event.data, expected.data(), expected.size());
        assert_int_equal(event.sequence, ++taken);
        if (taken == 5000) memory = resident_kib();
    }
    assert_true(blocked > 100);
    wsxdp_stats_t stats = pair.client.stats();
    assert_true(stats.stalls > 0);
    assert_true(stats.inbox_bytes_max <= 256 * 1024);
    assert_int_equal(stats.messages_lost, 0);
    if (!sanitized) assert_true(resident_kib() < memory + 2048); // a sanitizer keeps what was freed
}

TEST(the_event_ring_may_fill_too) {
    Pair pair(OptionList{{"events.slots", "64"}, {"metadata.slots", "64"}});
    std::string bytes;
    for (int i = 0; i < 20000; i++) bytes += wire_frame(1, std::to_string(i));
    wsxdp_event events[7];
    int taken = 0;
    Pair::keep_on([&] {
        bytes.erase(0, pair.peer.push(bytes));
        int count = wsxdp_poll(pair.client.handle, events, 7, 0);
        for (int i = 0; i < count; i++, taken++) {
            std::string expected = std::to_string(taken);
            assert_int_equal(events[i].len, expected.size());
            assert_memory_equal(events[i].data, expected.data(), expected.size());
        }
        return taken == 20000;
    });
}

TEST(pings_are_answered_while_the_caller_is_slow) {
    Pair pair(OptionList{{"events.slots", "64"}});
    std::string bytes;
    for (int i = 0; i < 30; i++) bytes += wire_frame(1, "m");
    pair.peer.send(bytes + wire_frame(9, "slow?"));
    wsxdp_event event;
    wsxdp_poll(pair.client.handle, &event, 1, 100000000);
    assert_string_equal(pair.frame(10).payload.c_str(), "slow?");
}

TEST(a_stalled_connection_is_not_dead) {
    OptionList options = {{"inbox.bytes", "64KiB"}, {"ping.interval_ns", "0"}, {"idle.timeout_ns", "100ms"}};
    Pair pair(options);
    Source source;
    while (source.made < 3000 && source.push(&pair.peer)) {
    }
    wsxdp_event event;
    int messages = 0;
    for (int64_t start = now_ms(); now_ms() - start < 400; usleep(2000)) {
        const int taken = wsxdp_poll(pair.client.handle, &event, 1, 0);
        assert_in_range(taken, 0, 1);
        if (taken == 1) assert_int_equal(event.kind, WSXDP_EVENT_MESSAGE);
        messages += taken;
    }
    assert_true(messages != 0);
}

TEST(one_slow_connection_does_not_stop_another) {
    TestServer server;
    Pair pair(OptionList{{"inbox.bytes", "64KiB"}});
    uint32_t second = 0;
    assert_int_equal(wsxdp_connect(pair.client.handle, server.url().c_str(), nullptr, &second), WSXDP_OK);
    TestPeer peer;
    std::string head;
    pair.until([&] { return server.accept(&peer); });
    pair.until([&] {
        peer.pull();
        return peer.head(&head);
    });
    peer.send(TestPeer::answer(head));
    assert_int_equal(pair.event(WSXDP_EVENT_OPEN).conn, second);
    // Everything of the first is held, so its inbox stays full.
    pair.peer.send(wire_frame(2, text_of(39000)));
    wsxdp_event event;
    Pair::keep_on([&] { return wsxdp_poll(pair.client.handle, &event, 1, 0) == 1; });
    assert_int_equal(wsxdp_hold(pair.client.handle, &event), WSXDP_OK);
    pair.peer.push(wire_frame(2, text_of(39000)));
    for (int i = 0; i < 200; i++) {
        peer.send(wire_frame(1, std::to_string(i)));
        Seen seen = pair.event(WSXDP_EVENT_MESSAGE);
        assert_int_equal(seen.conn, second);
        assert_string_equal(seen.data.c_str(), std::to_string(i).c_str());
    }
    assert_int_equal(wsxdp_unhold(pair.client.handle, &event), WSXDP_OK);
    assert_int_equal(pair.event(WSXDP_EVENT_MESSAGE).data.size(), 39000);
}

// ---- conflate ----

// Takes an event now and then while the server sends as fast as it can; then everything. What is told as lost
// and what is delivered must be all that was sent, in order, and the newest must be there.
static void conflate(const OptionList &more, size_t size) {
    OptionList options = more;
    options.push_back({"overflow", "conflate"});
    Pair pair(options);
    Source source;
    wsxdp_event event;
    uint64_t delivered = 0, lost = 0, next = 0;
    auto take = [&] {
        if (wsxdp_poll(pair.client.handle, &event, 1, 0) != 1) return false;
        if (event.kind == WSXDP_EVENT_LOST) {
            assert_true(event.value > 0);
            lost += static_cast<uint64_t>(event.value);
            next += static_cast<uint64_t>(event.value);
            return true;
        }
        assert_int_equal(event.kind, WSXDP_EVENT_MESSAGE);
        std::string expected = numbered(next++, size);
        assert_int_equal(event.len, expected.size());
        assert_memory_equal(event.data, expected.data(), expected.size());
        assert_int_equal(event.sequence, next);
        delivered++;
        return true;
    };
    while (source.made < 30000 || !source.rest.empty()) {
        for (int i = 0; i < 200 && (source.made < 30000 || !source.rest.empty()); i++)
            if (!source.push(&pair.peer, size)) break;
        take();
    }
    Pair::keep_on([&] {
        take();
        return next == 30000;
    });
    assert_int_equal(delivered + lost, 30000);
    assert_true(lost > 0);
    assert_true(delivered > 0);
    assert_int_equal(pair.client.stats().messages_lost, lost);
    assert_int_equal(pair.client.stats().stalls, 0);
}
INLINE_TEST(conflate_counts_exactly_when_the_inbox_fills) { conflate({{"inbox.bytes", "128KiB"}}, 1000); }
TEST(conflate_counts_exactly_when_the_event_ring_fills) { conflate({{"events.slots", "128"}}, 100); }

TEST(conflate_drops_nothing_of_a_caller_who_keeps_up) {
    Pair pair(OptionList{{"overflow", "conflate"}});
    for (int i = 0; i < 2000; i++) {
        pair.peer.send(wire_frame(1, std::to_string(i)));
        assert_string_equal(pair.event(WSXDP_EVENT_MESSAGE).data.c_str(), std::to_string(i).c_str());
    }
    assert_int_equal(pair.client.stats().messages_lost, 0);
}
TEST(conflate_does_not_touch_pings_and_the_end) {
    Pair pair(OptionList{{"overflow", "conflate"}, {"events.slots", "128"}});
    std::string bytes = wire_frame(9, "keep me");
    for (int i = 0; i < 5000; i++) bytes += wire_frame(1, "m");
    pair.peer.send(bytes + wire_close(1000, "end"));
    pair.peer.finish();
    uint64_t lost = 0, messages = 0;
    bool pinged = false;
    for (Seen seen; seen.kind != WSXDP_EVENT_CLOSE;) {
        seen = pair.event();
        pinged |= seen.kind == WSXDP_EVENT_PING;
        messages += seen.kind == WSXDP_EVENT_MESSAGE;
        if (seen.kind == WSXDP_EVENT_LOST) lost += static_cast<uint64_t>(seen.value);
    }
    assert_true(pinged);
    assert_int_equal(lost + messages, 5000);
}

// ---- close ----

TEST(overflow_close_ends_the_connection) {
    Pair pair(OptionList{{"overflow", "close"}, {"inbox.bytes", "64KiB"}});
    Source source;
    wsxdp_event event;
    memset(&event, 0, sizeof event);
    uint64_t messages = 0;
    bool error = false;
    Pair::keep_on([&] {
        for (int i = 0; i < 200 && source.push(&pair.peer); i++) {
        }
        if (wsxdp_poll(pair.client.handle, &event, 1, 0) != 1) return false;
        messages += event.kind == WSXDP_EVENT_MESSAGE;
        if (event.kind == WSXDP_EVENT_ERROR) {
            error = true;
            assert_int_equal(event.error, WSXDP_E_OVERFLOW);
        }
        return event.kind == WSXDP_EVENT_CLOSE;
    });
    assert_true(error);
    assert_int_equal(event.error, WSXDP_E_OVERFLOW);
    assert_true(messages > 0); // what was there before is delivered
    pair.gone();
}

TESTS("backpressure")
