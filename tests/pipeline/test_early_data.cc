// SPDX-License-Identifier: MIT
// tls.early_data: a reconnect's upgrade request, and nothing else, leaves with the handshake. Taken, it is
// not sent again; refused, it is; and a server that answers 425, or does not survive it, is asked in the
// usual way next time.
#include "../support/early_server.h"
#include "session.h"

using namespace scripted;

// What each connection of a server saw.
struct Log {
    std::mutex mutex;
    std::vector<EarlyStart> starts;
    std::vector<std::string> heads;
    EarlyStart start(size_t i) {
        std::lock_guard<std::mutex> lock(mutex);
        assert_true(i < starts.size());
        return starts[i];
    }
    std::string head(size_t i) {
        std::lock_guard<std::mutex> lock(mutex);
        assert_true(i < heads.size());
        return heads[i];
    }
};

// Begins as the log says, upgrades, says hello; the first connection then ends, the others echo.
static void serve(Wire &wire, TlsSide *side, Log *log, bool take, const char *status = nullptr) {
    EarlyStart start = start_early_tls(&wire, side, take);
    std::string head = start.done ? wire.read_head() : "";
    {
        std::lock_guard<std::mutex> lock(log->mutex);
        log->starts.push_back(start);
        log->heads.push_back(head);
    }
    if (!start.done) return;
    if (status != nullptr) return wire.write(std::string("HTTP/1.1 ") + status + "\r\n\r\n");
    wire.write(wire.answer() + frame(1, "hello"));
    if (wire.number == 0) return;
    for (Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame())
        wire.write(frame(f.opcode, f.payload));
}

static OptionList early(OptionList more = {}) {
    more.insert(more.begin(), {{"tls.ca_file", certs().path("ca.pem")},
                               {"tls.early_data", "yes"},
                               {"reconnect.delay_min_ns", "1ms"}});
    return more;
}

// The server is plain as far as it knows: its script does TLS.
static std::string secure(const Server &server) { return server.url().replace(0, 2, "wss"); }

static void echoes(Session *session) {
    assert_int_equal(session->send("to and fro"), WSXDP_OK);
    const Seen *seen = &session->need(WSXDP_EVENT_MESSAGE);
    while (seen->data != "to and fro") seen = &session->need(WSXDP_EVENT_MESSAGE);
}

static bool is_one_request(const std::string &text) {
    return text.compare(0, 15, "GET / HTTP/1.1\r") == 0 && text.find("\r\n\r\n") == text.size() - 4;
}

TEST(taken) {
    TlsSide side(certs(), "good");
    Log log;
    Server server([&](Wire &wire) { serve(wire, &side, &log, true); });
    // What is sent after every open must not be part of it.
    Session session(secure(server), early({{"subscribe", "subscribe to this"}}));
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.info("tls.early_data").c_str(), "no");
    const Seen &again = session.need(WSXDP_EVENT_OPEN);
    assert_true(again.flags & WSXDP_FLAG_RESUMED);
    assert_string_equal(session.info("tls.early_data").c_str(), "accepted");
    const Seen *seen = &session.need(WSXDP_EVENT_MESSAGE);
    while (seen->data != "subscribe to this") seen = &session.need(WSXDP_EVENT_MESSAGE);
    echoes(&session);
    assert_string_equal(log.start(0).early.c_str(), "");
    assert_true(is_one_request(log.start(1).early) && log.start(1).resumed);
    assert_string_equal(log.head(1).c_str(), log.start(1).early.c_str());
}

TEST(refused) {
    TlsSide side(certs(), "good");
    Log log;
    Server server([&](Wire &wire) { serve(wire, &side, &log, wire.number == 0); });
    Session session(secure(server), early());
    session.need(WSXDP_EVENT_OPEN);
    assert_true(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RESUMED);
    assert_string_equal(session.info("tls.early_data").c_str(), "rejected");
    assert_true(is_one_request(log.head(1)));
    echoes(&session);
    assert_int_equal(session.count(WSXDP_EVENT_OPEN), 2);
}

// Whose tickets are another's: a full handshake, and early data that nobody can read.
TEST(refused_without_resumption) {
    TlsSide first(certs(), "good"), second(certs(), "good");
    Log log;
    Server server([&](Wire &wire) { serve(wire, wire.number == 0 ? &first : &second, &log, true); });
    Session session(secure(server), early());
    session.need(WSXDP_EVENT_OPEN);
    assert_false(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RESUMED);
    assert_string_equal(session.info("tls.early_data").c_str(), "rejected");
    assert_true(is_one_request(log.head(1)) && log.start(1).early.empty());
    echoes(&session);
}

TEST(off_unless_asked_for) {
    TlsSide side(certs(), "good");
    Log log;
    Server server([&](Wire &wire) { serve(wire, &side, &log, true); });
    Session session(secure(server),
                    {{"tls.ca_file", certs().path("ca.pem")}, {"reconnect.delay_min_ns", "1ms"}});
    session.need(WSXDP_EVENT_OPEN);
    assert_true(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RESUMED);
    assert_string_equal(session.info("tls.early_data").c_str(), "no");
    assert_true(log.start(1).early.empty() && is_one_request(log.head(1)));
}

// RFC 8470 section 5.2: the next attempt waits for the handshake, though it has a ticket.
TEST(too_early) {
    TlsSide side(certs(), "good");
    Log log;
    Server server(
        [&](Wire &wire) { serve(wire, &side, &log, true, wire.number == 1 ? "425 Too Early" : nullptr); });
    Session session(secure(server), early());
    session.need(WSXDP_EVENT_OPEN);
    const Seen *error = &session.need(WSXDP_EVENT_ERROR);
    while (error->error != WSXDP_E_HTTP_STATUS) error = &session.need(WSXDP_EVENT_ERROR);
    session.need(WSXDP_EVENT_OPEN);
    assert_true(is_one_request(log.start(1).early));
    assert_true(log.start(2).early.empty() && is_one_request(log.head(2)));
    assert_string_equal(session.info("tls.early_data").c_str(), "no");
    echoes(&session);
}

// A server that cannot bear it and ends the connection: the ticket is spent, the next attempt is a full one.
TEST(a_server_that_gives_up) {
    TlsSide side(certs(), "good");
    Log log;
    Server server([&](Wire &wire) {
        if (wire.number != 1) return serve(wire, &side, &log, true);
        char some[100];
        assert_true(recv(wire.fd, some, sizeof some, 0) > 0);
        wire.reset();
    });
    Session session(secure(server), early());
    session.need(WSXDP_EVENT_OPEN);
    session.need(WSXDP_EVENT_OPEN);
    echoes(&session);
    assert_true(is_one_request(log.head(1)));
}

// More than the ticket allows goes the usual way, as a whole.
TEST(too_large) {
    TlsSide side(certs(), "good");
    Log log;
    Server server([&](Wire &wire) { serve(wire, &side, &log, true); });
    Session session(secure(server), early({{"header.X-Large", std::string(17000, 'x')}}));
    session.need(WSXDP_EVENT_OPEN);
    assert_true(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RESUMED);
    assert_string_equal(session.info("tls.early_data").c_str(), "no");
    assert_true(log.start(1).early.empty() && is_one_request(log.head(1)));
    echoes(&session);
}

TEST(without_tickets_there_is_none) {
    Session session("wss://127.0.0.1:1/", early({{"tls.resumption", "no"}}));
    assert_int_equal(session.status, WSXDP_E_INVALID);
    assert_true(contains(session.text, "tls.early_data") && contains(session.text, "tls.resumption"));
}

TESTS("early data")
