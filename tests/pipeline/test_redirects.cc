// SPDX-License-Identifier: MIT
// Redirects: an error that names the target unless redirect.max allows them; then followed that often, never
// out of TLS, and without the user's headers and credentials when they lead to another host.
#include "session.h"

using namespace scripted;

static std::string redirect_to(const std::string &location, const char *status = "302 Found") {
    return std::string("HTTP/1.1 ") + status + "\r\nLocation: " + location + "\r\nContent-Length: 0\r\n\r\n";
}

// Sends /from elsewhere, takes everything else.
static Script router(const std::string &location, std::string *heads, const char *status = "302 Found") {
    return [=](Wire &wire) {
        wire.read_head();
        *heads += wire.head;
        if (wire.head.find("GET /from") == 0 && !contains(wire.head, "to?y")) {
            wire.write(redirect_to(location, status));
        } else {
            wire.write(wire.answer());
            wire.write(frame(1, wire.head.substr(0, wire.head.find("\r\n"))));
        }
        wire.wait_end();
    };
}

TEST(without_redirect_max_the_target_is_named) {
    std::string heads;
    Server server(router("ws://elsewhere.test/to", &heads));
    std::string text = expect_failure(server.url("/from"), {}, WSXDP_E_REDIRECT, "ws://elsewhere.test/to");
    assert_true(contains(text, "redirect.max"));
}

static void followed(const char *location, const char *from, const char *line,
                     const char *status = "302 Found") {
    std::string heads;
    Server server(router(location, &heads, status));
    Session session(server.url(from), {{"redirect.max", "1"}});
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), line);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
    assert_int_equal(session.count(WSXDP_EVENT_RECONNECTING), 0);
}

TEST(a_path_is_followed) { followed("/to?x=1", "/from", "GET /to?x=1 HTTP/1.1"); }
TEST(a_relative_path_is_followed) { followed("to?y", "/from/a", "GET /from/to?y HTTP/1.1"); }
TEST(status_301_is_followed) { followed("/to", "/from", "GET /to HTTP/1.1", "301 Moved"); }
TEST(status_303_is_followed) { followed("/to", "/from", "GET /to HTTP/1.1", "303 See Other"); }
TEST(status_307_is_followed) { followed("/to", "/from", "GET /to HTTP/1.1", "307 Temporary"); }
TEST(status_308_is_followed) { followed("/to", "/from", "GET /to HTTP/1.1", "308 Permanent"); }
TEST(a_fragment_is_dropped) { followed("/to#part", "/from", "GET /to HTTP/1.1"); }

TEST(an_http_target_is_taken_as_ws) {
    std::string heads;
    Server target(router("", &heads));
    Server server(router("http://127.0.0.1:" + std::to_string(target.port) + "/to", &heads));
    Session session(server.url("/from"), {{"redirect.max", "1"}});
    session.need(WSXDP_EVENT_OPEN);
    assert_int_equal(target.accepted, 1);
    assert_true(contains(session.info("peer"), std::to_string(target.port)));
}

TEST(redirect_max_counts_the_hops) {
    Server server([](Wire &wire) {
        wire.read_head();
        int hop = atoi(wire.head.c_str() + 5);
        wire.write(hop == 3 ? wire.answer() : redirect_to("/" + std::to_string(hop + 1)));
        wire.wait_end();
    });
    Session session(server.url("/0"), {{"redirect.max", "3"}});
    session.need(WSXDP_EVENT_OPEN);
    expect_failure(server.url("/0"), {{"redirect.max", "2"}}, WSXDP_E_REDIRECT, "/3");
}

TEST(a_loop_ends) {
    Server server([](Wire &wire) {
        wire.read_head();
        wire.write(redirect_to("/again"));
        wire.wait_end();
    });
    expect_failure(server.url("/"), {{"redirect.max", "20"}}, WSXDP_E_REDIRECT, "/again");
    assert_int_equal(server.accepted, 21);
}

TEST(headers_stay_with_the_host) {
    std::string heads;
    Server server(router("/to", &heads));
    std::string url = "ws://user:word@127.0.0.1:" + std::to_string(server.port) + "/from";
    Session session(url, {{"redirect.max", "1"}, {"header.X-Key", "secret"}});
    session.need(WSXDP_EVENT_OPEN);
    size_t second = heads.find("GET /to");
    assert_true(contains(heads.substr(second), "X-Key: secret\r\n"));
    assert_true(contains(heads.substr(second), "Authorization: Basic "));
}

TEST(headers_do_not_go_to_another_host) {
    std::string first, second;
    Server target(router("", &second));
    Server server(router("ws://127.0.0.1:" + std::to_string(target.port) + "/to", &first));
    std::string url = "ws://user:word@127.0.0.1:" + std::to_string(server.port) + "/from";
    Session session(url, {{"redirect.max", "1"},
                          {"header.X-Key", "secret"},
                          {"header.Authorization", "Bearer b"},
                          {"header.Cookie", "c=d"},
                          {"origin", "https://o.test"}});
    session.need(WSXDP_EVENT_OPEN);
    assert_true(contains(first, "X-Key: secret"));
    for (const char *part : {"X-Key", "secret", "Authorization", "Basic", "Bearer", "Cookie"})
        assert_false(contains(second, part));
    assert_true(contains(second, "Origin: https://o.test"));
    assert_true(contains(second, "Host: 127.0.0.1:" + std::to_string(target.port)));
}

TEST(headers_do_not_come_back_by_way_of_another_host) {
    std::string first, second;
    Server *back = nullptr;
    Server server([&](Wire &wire) {
        wire.read_head();
        first += wire.head;
        if (wire.number == 0)
            wire.write(redirect_to(back->url("/via")));
        else
            wire.write(wire.answer());
        wire.wait_end();
    });
    Server other([&](Wire &wire) {
        wire.read_head();
        wire.write(redirect_to(server.url("/home")));
        wire.wait_end();
    });
    back = &other;
    Session session(server.url("/from"), {{"redirect.max", "2"}, {"header.X-Key", "secret"}});
    session.need(WSXDP_EVENT_OPEN);
    assert_false(contains(first.substr(first.find("GET /home")), "X-Key"));
}

TEST(a_lost_connection_goes_through_the_redirect_again) {
    std::string firsts;
    Server target([](Wire &wire) {
        wire.upgrade();
        if (wire.number == 0) return; // lost
        wire.wait_end();
    });
    Server server([&](Wire &wire) {
        wire.read_head();
        firsts += wire.head;
        wire.write(redirect_to(target.url("/to")));
        wire.wait_end();
    });
    Session session(server.url("/from"), {{"redirect.max", "1"}, {"header.X-Key", "secret"}});
    session.need(WSXDP_EVENT_OPEN);
    session.need(WSXDP_EVENT_RECONNECTING);
    assert_true(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RECONNECTED);
    assert_int_equal(server.accepted, 2);
    assert_true(contains(firsts.substr(firsts.rfind("GET /from")), "X-Key: secret"));
}

TLS_TEST(from_tls_to_plain_is_refused) {
    TlsSide side(certs(), "good");
    std::string heads;
    Server plain(router("", &heads));
    Server server(router("ws://127.0.0.1:" + std::to_string(plain.port) + "/to", &heads), &side);
    expect_failure(server.url("/from"), {{"redirect.max", "5"}, {"tls.ca_file", certs().path("ca.pem")}},
                   WSXDP_E_REDIRECT, "not followed");
    assert_int_equal(plain.accepted, 0);
}

TLS_TEST(from_plain_to_tls_is_followed_and_verified) {
    TlsSide side(certs(), "good");
    std::string heads;
    Server secure(router("", &heads), &side);
    Server server(router(secure.url("/to"), &heads));
    Session session(server.url("/from"), {{"redirect.max", "1"}, {"tls.ca_file", certs().path("ca.pem")}});
    assert_true(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_TLS);
    expect_failure(server.url("/from"),
                   {{"redirect.max", "1"}, {"tls.ca_file", certs().path("other_ca.pem")}},
                   WSXDP_E_TLS_UNTRUSTED, "");
}

static void not_followed(const std::string &location) {
    std::string heads;
    Server server(router(location, &heads));
    expect_failure(server.url("/from"), {{"redirect.max", "5"}}, WSXDP_E_REDIRECT, "not followed");
    assert_int_equal(server.accepted, 1);
}

TEST(another_scheme_is_not_followed) { not_followed("ftp://127.0.0.1/to"); }
TEST(a_local_socket_is_not_followed) { not_followed("ws+unix:///run/secret:/"); }
TEST(echo_is_not_followed) { not_followed("echo:"); }
TEST(a_broken_target_is_not_followed) { not_followed("ws://127.0.0.1:99999/"); }

TEST(a_redirect_without_location_is_a_status) {
    Server server([](Wire &wire) {
        wire.read_head();
        wire.write("HTTP/1.1 302 Found\r\n\r\n");
        wire.wait_end();
    });
    expect_failure(server.url(), {{"redirect.max", "5"}}, WSXDP_E_HTTP_STATUS, "without a Location");
}

TEST(a_target_that_refuses_is_the_error) {
    RefusingPort port;
    std::string heads;
    Server server(router("ws://127.0.0.1:" + std::to_string(port.port) + "/", &heads));
    expect_failure(server.url("/from"), {{"redirect.max", "1"}}, WSXDP_E_REFUSED, std::to_string(port.port));
}

TESTS("redirects")
