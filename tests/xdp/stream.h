// SPDX-License-Identifier: MIT
// A stream of messages to a server that echoes them, checked byte by byte where it comes back: what is lost,
// doubled or out of place is found. And what the tests of transport=xdp on bad networks share: hosts with a
// bridge between them, and a wss server that is verified by name.
#pragma once
#include "../../lib/base/random.h"
#include "../support/bridge.h"
#include "world.h"
#include <functional>

// So long a test waits for what must come: a sanitizer on a machine that has other things to do.
constexpr int64_t patience_ms = 40000;

inline uint64_t test_seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

struct BridgeWorld {
    netns::Bridge bridge;
    netns::Inside inside;
    explicit BridgeWorld(const netns::BridgeOptions &options = netns::BridgeOptions())
        : bridge(options), inside(bridge.here) {}
    std::unique_ptr<scripted::Server> serve(scripted::Script script, scripted::TlsSide *tls = nullptr,
                                            const char *address = netns::there4) {
        netns::Inside there(bridge.there);
        return std::make_unique<scripted::Server>(script, tls, address);
    }
};

// ws or wss, and over which version.
struct Way {
    bool tls;
    bool six;
    const char *address() const { return six ? netns::there6 : netns::there4; }
};
constexpr Way ways[] = {{false, false}, {false, true}, {true, false}, {true, true}};

// A server that echoes, and the URL and options by which a handle reaches and verifies it. World: has
// serve().
template <class World> struct Echo {
    std::unique_ptr<scripted::TlsSide> tls;
    std::unique_ptr<scripted::Server> server;
    std::string url;
    OptionList options;

    Echo(World &world, const Way &way, const OptionList &more = {}, scripted::Script script = echo_messages) {
        options = {{"transport", "xdp"}, {"reconnect", "no"}, {"idle.timeout_ns", "0"}};
        if (way.tls) tls = std::make_unique<scripted::TlsSide>(certs(), "good");
        server = world.serve(script, tls.get(), way.address());
        url = server->url("/", "good.test");
        options.push_back({"resolve.override", std::string("good.test=") + way.address()});
        if (way.tls) options.push_back({"tls.ca_file", certs().path("ca.pem")});
        options.insert(options.end(), more.begin(), more.end());
    }
};

// The byte at each place of a stream, by words of eight.
inline void stream_fill(std::string *out, uint64_t position, size_t size, uint64_t seed) {
    out->resize(size);
    uint64_t word = 0;
    for (size_t i = 0; i < size; i++) {
        const uint64_t at = position + i;
        if (i == 0 || at % 8 == 0) {
            word = (at / 8 + seed) * 0x9E3779B97F4A7C15u;
            word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9u;
            word ^= word >> 27;
        }
        (*out)[i] = static_cast<char>(word >> at % 8 * 8);
    }
}

// Sends and takes in what comes back.
struct Stream {
    Session &session;
    uint64_t seed = test_seed();
    uint64_t sent = 0, received = 0;
    uint64_t ahead = 256 * 1024;  // at most so much is under way
    std::function<size_t()> size; // of the next message
    wx::FixedRandom random;
    std::string buffer, expected;
    // Of both directions, when somebody wants to know.
    std::function<void(const std::string &)> on_sent, on_received;

    explicit Stream(Session &on) : session(on) {
        wx::fixed_random_open(&random, seed);
        size = [this] { return 1 + wx::random_below(&random, 30000); };
        session.at_most = 1; // what follows OPEN is for `take`
        session.need(WSXDP_EVENT_OPEN, patience_ms);
        session.at_most = 64;
    }

    std::function<void(const wsxdp_event &)> on_event; // before anything is done about it

    // Nothing but these may come.
    void take(const wsxdp_event &e) {
        if (on_event) on_event(e);
        if (e.kind != WSXDP_EVENT_MESSAGE) {
            Seen seen;
            seen.kind = e.kind, seen.flags = e.flags, seen.code = e.code, seen.error = e.error;
            if (e.len) seen.data.assign(reinterpret_cast<const char *>(e.data), e.len);
            session.events.push_back(seen);
            return;
        }
        stream_fill(&expected, received, e.len, seed);
        if (memcmp(expected.data(), e.data, e.len) != 0)
            fail_msg("seed %llu: other bytes came back at %llu than were sent",
                     static_cast<unsigned long long>(seed), static_cast<unsigned long long>(received));
        received += e.len;
        if (on_received) on_received(expected);
    }
    bool ended() const { return session.count(WSXDP_EVENT_CLOSE) + session.count(WSXDP_EVENT_ERROR) != 0; }
    void step(uint64_t total) {
        while (sent < total && sent - received < ahead) {
            size_t next = size();
            if (next > total - sent) next = static_cast<size_t>(total - sent);
            stream_fill(&buffer, sent, next, seed);
            const int status = session.send(buffer, WSXDP_BINARY);
            if (status == WSXDP_E_AGAIN) break;
            if (status != 0) break; // the end, which an event tells
            sent += next;
            if (on_sent) on_sent(buffer);
        }
        wsxdp_event batch[32];
        const int count = wsxdp_poll(session.handle, batch, 32, 5000000);
        for (int i = 0; i < count; i++) take(batch[i]);
    }
    // Until so much more has come back, or nothing can any more.
    bool flow(uint64_t bytes) {
        const uint64_t total = sent + bytes;
        const int64_t until = now_ms() + patience_ms;
        while (received < total && !ended() && now_ms() < until) step(total);
        return received == total;
    }
    void need_flow(uint64_t bytes) {
        if (flow(bytes)) return;
        session.print();
        fail_msg("seed %llu: %llu bytes sent, %llu came back; %s", static_cast<unsigned long long>(seed),
                 static_cast<unsigned long long>(sent), static_cast<unsigned long long>(received),
                 session.info("xdp.tcp").c_str());
    }
    // For so long, with more to send all the time: what happens on the way happens to a stream.
    void pass(int64_t ms) {
        const int64_t until = now_ms() + ms;
        while (now_ms() < until && !ended()) step(UINT64_MAX);
    }
    bool until(const std::function<bool()> &done) {
        const int64_t limit = now_ms() + patience_ms;
        while (!done() && now_ms() < limit) step(UINT64_MAX);
        return done();
    }
    // Everything comes back, and both sides part in order.
    void finish() {
        need_flow(0);
        assert_int_equal(sent, received);
        wsxdp_close(session.handle, 0, 1000, "", 0);
        const Seen &close = session.need(WSXDP_EVENT_CLOSE, patience_ms);
        assert_int_equal(close.error, 0);
        assert_true(close.flags & WSXDP_FLAG_CLEAN);
    }
    const Seen &need_error(int code) {
        if (!until([this] { return session.count(WSXDP_EVENT_ERROR) != 0; })) session.print();
        const Seen &seen = session.need(WSXDP_EVENT_ERROR, 0);
        if (seen.error != code) session.print();
        assert_int_equal(seen.error, code);
        return seen;
    }
    bool noticed(const char *part) const {
        for (const Seen &seen : session.events)
            if (seen.kind == WSXDP_EVENT_NOTICE && contains(seen.data, part)) return true;
        return false;
    }
    // Either of them comes, and no end.
    void need_notice(const char *part, const char *other = nullptr) {
        if (until([=] { return ended() || noticed(part) || (other && noticed(other)); }) && !ended()) return;
        session.print();
        fail_msg("no notice '%s'", part);
    }
};
