// SPDX-License-Identifier: MIT
// The TLS context of shared options while two threads want it: the thread of the stages, when a redirect
// leads into TLS, and the caller's, which connects to wss:// and closes meanwhile. The worst of it shows
// under the race detector only. So the scripts and the caller tell each other things in words that order
// nothing: a mutex or an acquire between them would hide from it what the library leaves out.
#include "../../lib/pipeline/settings.h"
#include "session.h"

using namespace wx;
using namespace scripted;

static OptionList in_thread(const OptionList &more = {}) {
    OptionList options = {{"placement", "threads: transport+ws"}};
    options.insert(options.end(), more.begin(), more.end());
    return options;
}

// What a connection may have of its own.
static OptionList to_follow(const OptionList &more = {}) {
    OptionList options = {{"redirect.max", "1"}, {"tls.ca_file", certs().path("ca.pem")}};
    options.insert(options.end(), more.begin(), more.end());
    return options;
}

// Two servers: /from of the plain one leads to the other once that is allowed; the other one echoes over TLS.
struct Site {
    std::atomic<int> asked{0}, secured{0}; // requests at the one, handshakes at the other
    std::atomic<bool> allowed;
    TlsSide side{certs(), "good"};
    Server secure{[this](Wire &wire) { echo(wire); }, &side};
    Server plain{[this](Wire &wire) { redirect(wire); }};

    explicit Site(bool at_once) : allowed(at_once) {}
    ~Site() { allow(); }
    void allow() { allowed.store(true, std::memory_order_relaxed); }
    static void wait_for_one(const std::atomic<int> &count) {
        for (int64_t end = now_ms() + 10000; count.load(std::memory_order_relaxed) == 0; usleep(200))
            if (now_ms() > end) fail_msg("nobody has come");
    }

private:
    void echo(Wire &wire) {
        secured.fetch_add(1, std::memory_order_relaxed);
        wire.upgrade();
        for (Frame got; (got = wire.read_frame()).opcode >= 0;)
            wire.write(got.opcode == 8 ? close_frame(1000) : frame(got.opcode, got.payload));
    }
    void redirect(Wire &wire) {
        wire.read_head();
        asked.fetch_add(1, std::memory_order_relaxed);
        while (!allowed.load(std::memory_order_relaxed)) usleep(50);
        wire.write("HTTP/1.1 302 Found\r\nLocation: " + secure.url("/to") + "\r\nContent-Length: 0\r\n\r\n");
        wire.wait_end();
    }
};

static uint32_t connect(Session *session, const std::string &url, const Config *config) {
    uint32_t id = 0;
    int status = wsxdp_connect(session->handle, url.c_str(), config ? config->config : nullptr, &id);
    if (status < 0) fail_msg("%s: %d %s", url.c_str(), status, wsxdp_strerror(status));
    return id;
}

// Both have arrived, by TLS, and carry messages.
static void both_work(Session *session) {
    for (int i = 0; i < 2; i++) session->need(WSXDP_EVENT_OPEN, 10000);
    assert_int_equal(session->count(WSXDP_EVENT_ERROR), 0);
    std::vector<uint32_t> ids;
    for (const Seen &seen : session->events)
        if (seen.kind == WSXDP_EVENT_OPEN) {
            assert_true(seen.flags & WSXDP_FLAG_TLS);
            ids.push_back(seen.conn);
        }
    for (uint32_t id : ids) {
        session->looked = 0; // the other's may have come before
        assert_int_equal(session->send("to and fro", WSXDP_TEXT, id), WSXDP_OK);
        assert_string_equal(session->need(WSXDP_EVENT_MESSAGE, 5000, id).data.c_str(), "to and fro");
    }
}

// ---- one after the other: the worker has made it, the caller looks ----

static void worker_first(const Config *config) {
    Site site(true);
    Session session(site.plain.url("/from"), in_thread(to_follow()));
    assert_int_equal(session.status, WSXDP_OK);
    Site::wait_for_one(site.secured); // and no poll, which would order the two
    connect(&session, site.secure.url(), config);
    both_work(&session);
}

TEST(the_caller_uses_what_a_redirect_made) { worker_first(nullptr); }
TEST(the_caller_shares_what_a_redirect_made) {
    Config same_tls(to_follow({{"origin", "https://elsewhere.test"}}));
    worker_first(&same_tls);
}
TEST(the_caller_has_no_use_for_what_a_redirect_made) {
    Config other_tls(to_follow({{"tls.server_name", "localhost"}}));
    worker_first(&other_tls);
}

// ---- both at once ----

// The redirected connection has the handle's options, or those of the caller's.
static void at_once(const Config *redirected, const Config *connected) {
    for (int round = 0; round < 8; round++) {
        Site site(false);
        Session session(nullptr, in_thread(to_follow()));
        assert_int_equal(session.status, WSXDP_OK);
        connect(&session, site.plain.url("/from"), redirected);
        Site::wait_for_one(site.asked);
        site.allow();
        if (round % 2 != 0) usleep(static_cast<useconds_t>(round) * 100);
        connect(&session, site.secure.url(), connected);
        both_work(&session);
    }
}

TEST(both_want_the_handles) { at_once(nullptr, nullptr); }
TEST(both_want_that_of_options_they_share) {
    Config shared(to_follow({{"origin", "https://elsewhere.test"}}));
    at_once(&shared, &shared);
}
TEST(the_caller_wants_one_that_is_equal) {
    Config same_tls(to_follow({{"origin", "https://elsewhere.test"}}));
    at_once(nullptr, &same_tls);
}
TEST(the_caller_wants_another) {
    Config other_tls(to_follow({{"tls.server_name", "localhost"}}));
    at_once(nullptr, &other_tls);
}

// ---- the end of some, while others come ----

// The two share their options, and mostly nobody else has their tls.*: their context, whoever of them made
// it, ends with them. Every third time it is the one of the connections before.
TEST(closing_while_others_are_redirected) {
    Site site(true);
    Session session(nullptr, in_thread(to_follow()));
    assert_int_equal(session.status, WSXDP_OK);
    for (int round = 0; round < 12; round++) {
        Config own(to_follow({{"origin", "https://round" + std::to_string(round) + ".test"},
                              {"tls.server_name", round % 3 != 0 ? "localhost" : ""}}));
        const uint32_t redirected = connect(&session, site.plain.url("/from"), &own);
        if (round % 2 != 0) usleep(static_cast<useconds_t>(round) * 300);
        const uint32_t connected = connect(&session, site.secure.url(), &own);
        if (round % 4 == 0) {
            assert_int_equal(wsxdp_abort(session.handle, connected), WSXDP_OK);
        } else {
            session.need(WSXDP_EVENT_OPEN, 10000, connected);
            assert_int_equal(wsxdp_close(session.handle, connected, 1000, "", 0), WSXDP_OK);
        }
        session.need(WSXDP_EVENT_CLOSE, 10000, connected);
        session.looked = 0;
        if (round % 3 == 0) session.need(WSXDP_EVENT_OPEN, 10000, redirected);
        assert_int_equal(wsxdp_abort(session.handle, redirected), WSXDP_OK);
    }
}

TEST(freed_while_redirected) {
    for (int round = 0; round < 8; round++) {
        Site site(false);
        Session session(site.plain.url("/from"), in_thread(to_follow()));
        assert_int_equal(session.status, WSXDP_OK);
        Site::wait_for_one(site.asked);
        site.allow();
        connect(&session, site.secure.url(), nullptr);
        usleep(static_cast<useconds_t>(round) * 500);
    }
}

// ---- without all that ----

static Settings *new_settings() {
    Options *options = options_new();
    assert_non_null(options);
    assert_int_equal(options_set(options, "tls.insecure_skip_verify", ByteView("yes")), WSXDP_OK);
    Settings *settings = nullptr;
    ErrorText error;
    assert_int_equal(settings_new(options, 4 << 20, 1 << 20, &settings, &error), WSXDP_OK);
    return settings;
}

TEST(two_threads_make_one_context) {
    for (int round = 0; round < 20; round++) {
        Settings *settings = new_settings();
        std::atomic<int> ready{0};
        SharedTls *seen[2] = {nullptr, nullptr};
        auto want = [&](int number) {
            ErrorText error;
            ready.fetch_add(1, std::memory_order_relaxed);
            while (ready.load(std::memory_order_relaxed) != 2) sched_yield();
            if (settings_need_tls(settings, &error) == WSXDP_OK && error.code == 0)
                seen[number] = settings->tls;
        };
        std::thread one(want, 0), two(want, 1);
        one.join();
        two.join();
        assert_non_null(seen[0]);
        assert_ptr_equal(seen[0], seen[1]);
        assert_int_equal(seen[0]->references.load(), 1);
        settings_drop(settings);
    }
}

TESTS("redirect race")
