// SPDX-License-Identifier: MIT
// A client and the server it is connected to, both driven by the test's own thread: `until` lets them take
// turns until something is so, and fails the test when it does not become so.
#pragma once
#include "../support/server.h"
#include "session.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool sanitized = true;
#else
constexpr bool sanitized = false;
#endif

struct Pair {
    const int64_t begun = now_ms(); // before any of its timers
    TestServer server;
    Session client;
    TestPeer peer;
    std::string head; // of the last upgrade request
    size_t taken = 0; // events before this were looked at by `event`

    explicit Pair(OptionList options = {}, const std::string &extra = "", int receive_buffer = 0,
                  int send_buffer = 0, const std::string &early = "")
        : server(receive_buffer, send_buffer), client(server.url(), prefixed(options)) {
        if (client.status != 0) fail_msg("open: %d %s", client.status, client.text.c_str());
        meet(extra, early);
    }
    static OptionList prefixed(OptionList options) {
        options.insert(options.begin(), {"reconnect", "no"});
        return options;
    }
    // Accepts and upgrades; `early` leaves in the same segment as the answer.
    void meet(const std::string &extra = "", const std::string &early = "") {
        until([&] { return server.accept(&peer); });
        until([&] { return peer.head(&head); });
        peer.send(TestPeer::answer(head, extra) + early);
        Seen open = event();
        if (open.kind != WSXDP_EVENT_OPEN) client.print();
        assert_int_equal(open.kind, WSXDP_EVENT_OPEN);
    }
    void turn() {
        client.poll(0);
        peer.pull();
    }
    void turns(int count) {
        while (count-- > 0) turn();
    }
    template <class Done> void until(Done done, int64_t ms = 10000) {
        for (int64_t end = now_ms() + ms; !done(); turn()) {
            if (now_ms() < end) continue;
            client.print();
            fail_msg("it did not happen within %d ms", static_cast<int>(ms));
        }
    }
    // The same when the test itself polls: `done` does all the work.
    template <class Done> static void keep_on(Done done, int64_t ms = 10000) {
        for (int64_t end = now_ms() + ms; !done();)
            if (now_ms() >= end) fail_msg("it did not happen within %d ms", static_cast<int>(ms));
    }
    // The next event, of any kind.
    Seen event() {
        until([&] { return client.events.size() > taken; });
        return client.events[taken++];
    }
    Seen event(uint32_t kind) {
        Seen seen = event();
        if (seen.kind != kind) client.print();
        assert_int_equal(seen.kind, kind);
        return seen;
    }
    void message(const std::string &data, uint32_t flag) {
        Seen seen = event(WSXDP_EVENT_MESSAGE);
        assert_int_equal(seen.data.size(), data.size());
        assert_true(seen.data == data);
        assert_int_equal(seen.flags & (WSXDP_FLAG_TEXT | WSXDP_FLAG_BINARY), flag);
    }
    bool quiet() { // nothing more comes
        turns(20);
        return taken == client.events.size();
    }
    // The next client frame; every one must be masked (RFC 6455 section 5.1).
    WireFrame frame() {
        WireFrame out;
        until([&] { return peer.next(&out); });
        assert_true(out.masked);
        return out;
    }
    WireFrame frame(int opcode) {
        WireFrame out = frame();
        assert_int_equal(out.opcode, opcode);
        return out;
    }
    static int code_of(const WireFrame &close) {
        if (close.payload.size() < 2) return 0;
        return static_cast<uint8_t>(close.payload[0]) << 8 | static_cast<uint8_t>(close.payload[1]);
    }
    void gone() { // the client's side of TCP has ended
        until([&] { return peer.ended; });
    }
};

inline std::string text_of(size_t size, unsigned seed = 1) {
    std::string out(size, 'a');
    for (size_t i = 0; i < size; i++) {
        seed = seed * 1103515245u + 12345u;
        out[i] = static_cast<char>('a' + (seed >> 16) % 26);
    }
    return out;
}

// Every call that only the owner may make, refused alike.
inline void refused_by_every_call(wsxdp *handle, int code) {
    wsxdp_event event;
    memset(&event, 0, sizeof event);
    wsxdp_stats_t stats;
    stats.struct_size = sizeof stats;
    void *room;
    uint32_t id;
    wsxdp_sender *sender;
    char text[10];
    assert_int_equal(wsxdp_poll(handle, &event, 1, 0), code);
    assert_int_equal(wsxdp_release(handle), code);
    assert_int_equal(wsxdp_hold(handle, &event), code);
    assert_int_equal(wsxdp_unhold(handle, &event), code);
    assert_int_equal(wsxdp_send(handle, 0, WSXDP_TEXT, "x", 1, 0), code);
    assert_int_equal(wsxdp_send_begin(handle, 0, WSXDP_TEXT, 1, &room), code);
    assert_int_equal(wsxdp_send_commit(handle, 0, 1, 0), code);
    assert_int_equal(wsxdp_close(handle, 0, 1000, "", 0), code);
    assert_int_equal(wsxdp_abort(handle, 0), code);
    assert_int_equal(wsxdp_connect(handle, "echo:", nullptr, &id), code);
    assert_int_equal(wsxdp_sender_open(handle, 0, 0, &sender), code);
    assert_int_equal(wsxdp_stats(handle, 0, &stats), code);
    assert_int_equal(wsxdp_info(handle, 0, "url", text, sizeof text), code);
    assert_int_equal(wsxdp_last_error(handle, text, sizeof text), code);
}

// Messages both ways, once everything has been used.
inline void need_no_allocations(Pair &pair) {
    const auto round = [&] {
        assert_int_equal(pair.client.send("there and back"), 0);
        pair.frame(1);
        pair.peer.send(wire_frame(2, "there and back"));
        pair.message("there and back", WSXDP_FLAG_BINARY);
    };
    for (int i = 0; i < 50; i++) round();
    const uint64_t before = pair.client.stats(WSXDP_ALL).allocations;
    for (int i = 0; i < 500; i++) round();
    assert_int_equal(pair.client.stats(WSXDP_ALL).allocations, before);
}
