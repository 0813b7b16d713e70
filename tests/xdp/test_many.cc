// SPDX-License-Identifier: MIT
// A hundred connections of one handle over one interface at once, plain and over TLS, over both IP versions.
// Each echoes messages of its own; at random some end, in every way that one can, and others take their
// place; nobody's bytes reach anybody else, and in the end nothing is left.
#include "../../lib/base/random.h"
#include "ledger.h"
#include "world.h"

using namespace netns;

namespace {

constexpr size_t connections = 100;
constexpr unsigned turns = memory_is_judged ? 2000 : 1000; // a message or an end each
constexpr unsigned end_every = 10;
constexpr int64_t patience_ms = 20000;

// Echoes, and ends as it is told to.
void echo_or_end(scripted::Wire &wire) {
    wire.upgrade();
    for (scripted::Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame()) {
        if (f.payload == "reset") return wire.reset();
        if (f.payload == "end") return;
        if (f.payload == "close") break;
        wire.write(scripted::frame(f.opcode, f.payload));
    }
    wire.write(scripted::close_frame(1000));
}

struct Many {
    struct One {
        std::string sent; // what has to come back; empty: nothing
        bool open = false;
        std::string end; // how it is to end; empty: not yet
    };
    World world;
    scripted::TlsSide tls{certs(), "good"};
    std::vector<std::unique_ptr<scripted::Server>> servers;
    std::unique_ptr<Session> session;
    std::map<uint32_t, One> all;
    wx::FixedRandom random;
    unsigned begun = 0, ended = 0, echoed = 0;

    Many() {
        wx::fixed_random_open(&random, random_seed());
        for (const char *address : {there4, there6})
            for (bool secure : {false, true})
                servers.push_back(world.serve(echo_or_end, secure && with_tls ? &tls : nullptr, address));
        const OptionList options = World::options({{"tls.ca_file", certs().path("ca.pem")},
                                                   {"resolve.override", std::string("four.test=") + there4},
                                                   {"resolve.override", std::string("six.test=") + there6},
                                                   {"tls.server_name", "good.test"}});
        session = std::make_unique<Session>(static_cast<const char *>(nullptr), options);
        if (session->status != 0) fail_msg("open: %d %s", session->status, session->text.c_str());
    }

    size_t draw(size_t below) { return static_cast<size_t>(wx::random_below(&random, below)); }

    void begin() {
        const unsigned i = begun++ % 4;
        uint32_t conn = 0;
        const std::string url = servers[i]->url("/", i < 2 ? "four.test" : "six.test");
        const int status = wsxdp_connect(session->handle, url.c_str(), nullptr, &conn);
        if (status != 0) fail_msg("connection %u: %d", begun, status);
        all[conn] = One();
    }
    void end(uint32_t conn, One &one) {
        static const char *const ends[] = {"we close", "we abort", "reset", "end", "close"};
        one.end = ends[draw(5)];
        one.sent.clear();
        int status = 0;
        if (one.end == "we close")
            status = wsxdp_close(session->handle, conn, 1000, "", 0);
        else if (one.end == "we abort")
            status = wsxdp_abort(session->handle, conn);
        else
            status = session->send(one.end, WSXDP_TEXT, conn);
        assert_int_equal(status, 0);
    }
    void speak(uint32_t conn, One &one) {
        one.sent = std::to_string(conn) + " says " + std::to_string(echoed) + std::string(draw(4000), 'x');
        assert_int_equal(session->send(one.sent, WSXDP_TEXT, conn), 0);
    }
    void take_end(const Seen &seen, const One &one) {
        const bool fits = one.end == "we abort" ? seen.error == WSXDP_E_ABORTED
                          : one.end == "reset"  ? seen.error == WSXDP_E_RESET
                          : one.end == "end"
                              ? seen.error == WSXDP_E_EOF || seen.error == WSXDP_E_TLS_TRUNCATED
                              : seen.error == 0;
        if (one.end.empty() || !fits)
            fail_msg("connection %u, which was to end with '%s', ended with %d: %s", seen.conn,
                     one.end.c_str(), seen.error, seen.data.c_str());
        all.erase(seen.conn);
        ended++;
    }
    void take(const Seen &seen) {
        const auto found = all.find(seen.conn);
        if (found == all.end()) fail_msg("event %u of connection %u, which is over", seen.kind, seen.conn);
        One &one = found->second;
        if (seen.kind == WSXDP_EVENT_OPEN) one.open = true;
        if (seen.kind == WSXDP_EVENT_MESSAGE && one.end.empty()) {
            if (seen.data != one.sent)
                fail_msg("connection %u sent '%.40s' and received '%.40s'", seen.conn, one.sent.c_str(),
                         seen.data.c_str());
            one.sent.clear();
            echoed++;
        }
        if (seen.kind == WSXDP_EVENT_CLOSE) take_end(seen, one);
    }
    void poll(int64_t ms) {
        session->poll(ms);
        for (const Seen &seen : session->events) take(seen);
        session->events.clear();
    }
    template <class Done> void until(const char *what, Done done) {
        for (const int64_t limit = now_ms() + patience_ms; !done(); poll(20))
            if (now_ms() > limit)
                fail_msg("seed %llu: %s, and that does not come",
                         static_cast<unsigned long long>(random_seed()), what);
    }
    bool all_open() const {
        for (const auto &one : all)
            if (!one.second.open) return false;
        return true;
    }
    bool all_answered() const {
        for (const auto &one : all)
            if (!one.second.sent.empty() || !one.second.end.empty()) return false;
        return true;
    }
};

} // namespace

TEST(a_hundred_connections_echo_and_end_at_random) {
    need();
    Many many;
    while (many.all.size() < connections) many.begin();
    many.until("a hundred to open", [&] { return many.all_open(); });
    for (auto &one : many.all) many.speak(one.first, one.second); // all at once
    many.until("a hundred echoes", [&] { return many.all_answered(); });
    assert_int_equal(Counters(*many.session)["tuples"], connections);
    assert_int_equal(bpf_entries(), connections);
    const int64_t limit = now_ms() + patience_ms;
    for (unsigned turn = 0; turn < turns && now_ms() < limit;) {
        auto at = many.all.begin();
        std::advance(at, many.draw(many.all.size()));
        const bool idle = at->second.open && at->second.end.empty() && at->second.sent.empty();
        if (idle && turn++ % end_every == 0)
            many.end(at->first, at->second);
        else if (idle)
            many.speak(at->first, at->second);
        while (many.all.size() < connections) many.begin();
        many.poll(idle ? 0 : 1);
    }
    many.until("what is under way to arrive", [&] { return many.all_open() && many.all_answered(); });
    print_message("%u echoes, %u ends\n", many.echoed, many.ended);
    assert_true(many.ended > turns / end_every / 4 && many.echoed > connections * 2);
    for (auto &one : many.all) many.end(one.first, one.second);
    many.until("all to end", [&] { return many.all.empty(); });
    need_balance(*many.session, 0);
    assert_int_equal(bpf_entries(), 0);
}

TESTS("many")
