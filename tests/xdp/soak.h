// SPDX-License-Identifier: MIT
// Two servers, one of them over TLS, send as fast as they can to one handle, whose owner polls as fast as it
// can and, every now and then, for a while not at all: frames run out, packets are dropped and come again.
// Every byte is compared, the process does not grow, and what the counters say of the time is what happened.
#pragma once
#include "ledger.h"
#include "stream.h"
#include <atomic>

struct SoakResult {
    double seconds = 0;
    uint64_t bytes = 0, messages = 0, pauses = 0;
    int64_t longest_pause_ms = 0;
    size_t resident_least = SIZE_MAX, resident_most = 0; // KiB, from the first fifth on
    wsxdp_stats_t stats;
    Counters counters;
};

struct Soak {
    static constexpr size_t message_max = 16384;
    static constexpr size_t slack_kib = 2 * 1024;

    World world;
    scripted::TlsSide tls{certs(), "good"};
    std::atomic<bool> enough{false};
    std::unique_ptr<scripted::Server> servers[2];
    std::unique_ptr<Session> session;
    wx::FixedRandom random;
    struct Stream {
        uint64_t seed = 0, position = 0, messages = 0;
        bool ended = false;
    };
    std::map<uint32_t, Stream> streams; // by connection
    std::string expected;
    SoakResult result;

    // Messages of one stream until it is enough; then, as a text, how many bytes they were.
    void push(scripted::Wire &wire, uint64_t seed) const {
        wx::FixedRandom sizes;
        wx::fixed_random_open(&sizes, seed);
        uint64_t position = 0;
        std::string part;
        for (wire.upgrade(); !enough && !wire.broken; position += part.size()) {
            stream_fill(&part, position, 1 + wx::random_below(&sizes, message_max), seed);
            wire.write(scripted::frame(2, part));
        }
        wire.write(scripted::frame(1, std::to_string(position)));
        wire.read_frame(); // the close
        wire.write(scripted::close_frame(1000));
    }

    Soak() {
        wx::fixed_random_open(&random, random_seed());
        // No pings: the servers read nothing before the end. Windows that hold more than the frames do.
        const OptionList options =
            World::options({{"ping.interval_ns", "0"},
                            {"xdp.receive_bytes", "4MiB"},
                            {"tls.ca_file", certs().path("ca.pem")},
                            {"resolve.override", std::string("good.test=") + netns::there4}});
        session = std::make_unique<Session>(static_cast<const char *>(nullptr), options);
        if (session->status != 0) fail_msg("open: %d %s", session->status, session->text.c_str());
        for (unsigned i = 0; i < 2; i++) {
            const uint64_t seed = random_seed() + i;
            servers[i] = world.serve([this, seed](scripted::Wire &wire) { push(wire, seed); },
                                     i && with_tls ? &tls : nullptr);
            uint32_t conn = 0;
            const std::string url = servers[i]->url("/", "good.test");
            assert_int_equal(wsxdp_connect(session->handle, url.c_str(), nullptr, &conn), 0);
            streams[conn].seed = seed;
        }
    }

    void take(const wsxdp_event &e) {
        if (e.kind == WSXDP_EVENT_OPEN) return;
        Stream &s = streams.at(e.conn);
        if (e.kind != WSXDP_EVENT_MESSAGE || s.ended)
            fail_msg("event %u of connection %u, error %d after %llu bytes: %.*s", e.kind, e.conn, e.error,
                     static_cast<unsigned long long>(s.position), static_cast<int>(e.len),
                     reinterpret_cast<const char *>(e.data));
        s.messages++;
        if (e.opcode == WSXDP_TEXT) {
            s.ended = true;
            const std::string total(reinterpret_cast<const char *>(e.data), e.len);
            assert_string_equal(total.c_str(), std::to_string(s.position).c_str());
            return;
        }
        stream_fill(&expected, s.position, e.len, s.seed);
        if (memcmp(expected.data(), e.data, e.len) != 0)
            fail_msg("seed %llu: other bytes came at %llu than were sent",
                     static_cast<unsigned long long>(s.seed), static_cast<unsigned long long>(s.position));
        s.position += e.len;
    }
    void poll() {
        wsxdp_event batch[64];
        const int count = wsxdp_poll(session->handle, batch, 64, 5000000);
        assert_in_range(count, 0, 64);
        for (int i = 0; i < count; i++) take(batch[i]);
    }
    // Most are some rings' worth; some are longer than a retransmission timeout.
    void pause() {
        const bool is_long = wx::random_below(&random, 40) == 0;
        const int64_t ms = static_cast<int64_t>(wx::random_below(&random, is_long ? 700 : 20));
        usleep(static_cast<useconds_t>(ms * 1000));
        result.pauses++;
        if (ms > result.longest_pause_ms) result.longest_pause_ms = ms;
    }
    void weigh() {
        const size_t now = resident_kib();
        if (now < result.resident_least) result.resident_least = now;
        if (now > result.resident_most) result.resident_most = now;
    }

    void check_statistics() {
        for (const auto &one : streams) {
            const wsxdp_stats_t stats = session->stats(one.first);
            assert_int_equal(stats.payload_received,
                             one.second.position + std::to_string(one.second.position).size());
            assert_int_equal(stats.messages_received, one.second.messages);
            assert_int_equal(stats.messages_lost, 0);
            assert_int_equal(stats.allocations, 0);
            assert_true(one.second.messages > 1);
            result.bytes += one.second.position;
            result.messages += one.second.messages;
        }
        result.stats = session->stats(WSXDP_ALL);
        result.counters = Counters(*session);
        const Counters &c = result.counters;
        // A packet that the program sent our way was taken by us, or has its reason in the kernel's counters.
        assert_int_equal(c["received"] + c["kernel_dropped"] + c["kernel_ring_full"], c["filter_tcp"]);
        assert_int_equal(c["received"], result.stats.tcp_segments_received + c["over_share"] + c["unknown"]);
        for (const char *name : {"bad_checksum", "malformed", "unknown", "filter_icmp", "filter_no_socket",
                                 "filter_malformed", "link_downs"})
            if (c[name] != 0) fail_msg("%s: %s", name, c.text().c_str());
    }

    bool all_ended() const {
        for (const auto &one : streams)
            if (!one.second.ended) return false;
        return true;
    }

    SoakResult run(int64_t seconds, const std::function<void(const Soak &)> &tell = {}) {
        const int64_t began = now_ms(), until = began + seconds * 1000;
        int64_t next_look = began + seconds * 200;
        while (now_ms() < until) {
            for (uint64_t polls = 1 + wx::random_below(&random, 400); polls != 0; polls--) poll();
            pause();
            result.seconds = static_cast<double>(now_ms() - began) / 1000;
            if (now_ms() < next_look) continue;
            next_look = now_ms() + 500;
            weigh();
            if (tell) tell(*this);
        }
        enough = true;
        for (const int64_t limit = now_ms() + patience_ms; !all_ended() && now_ms() < limit;) poll();
        if (!all_ended()) fail_msg("the end does not come: %s", Counters(*session).text().c_str());
        check_statistics();
        weigh();
        if (memory_is_judged && result.resident_most > result.resident_least + slack_kib)
            fail_msg("between %zu and %zu KiB", result.resident_least, result.resident_most);
        for (const auto &one : streams) {
            assert_int_equal(wsxdp_close(session->handle, one.first, 1000, "", 0), 0);
            assert_int_equal(session->need(WSXDP_EVENT_CLOSE, patience_ms, one.first).error, 0);
        }
        need_balance(*session, 0);
        return result;
    }
};
