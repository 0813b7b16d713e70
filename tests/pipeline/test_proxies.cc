// SPDX-License-Identifier: MIT
// HTTP CONNECT and SOCKS5, played by the test: with and without credentials, refusals, split answers, a proxy
// that dies, and TLS through the tunnel, where the name that counts is the target's.
#include "session.h"
#include <poll.h>

using namespace scripted;

static void echo(Wire &wire) {
    wire.upgrade();
    wire.write(frame(1, "first " + wire.field("Host")));
    for (Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame())
        wire.write(frame(f.opcode, f.payload));
}

// Joins the client to a port of this machine until one of them ends.
static void join(Wire &client, int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in at = {};
    at.sin_family = AF_INET;
    at.sin_port = htons(static_cast<uint16_t>(port));
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd, reinterpret_cast<sockaddr *>(&at), sizeof at) == 0) {
        if (!client.buffered.empty()) send(fd, client.buffered.data(), client.buffered.size(), MSG_NOSIGNAL);
        pollfd both[2] = {{client.fd, POLLIN, 0}, {fd, POLLIN, 0}};
        char part[16384];
        for (bool on = true; on && poll(both, 2, 5000) > 0;) {
            for (int i = 0; i < 2 && on; i++) {
                if (!(both[i].revents & (POLLIN | POLLHUP | POLLERR))) continue;
                ssize_t got = recv(both[i].fd, part, sizeof part, 0);
                on = got > 0 && send(both[1 - i].fd, part, static_cast<size_t>(got), MSG_NOSIGNAL) == got;
            }
        }
    }
    close(fd);
}

static std::string option(const char *scheme, const Server &proxy, const char *credentials = "") {
    return std::string(scheme) + credentials + "127.0.0.1:" + std::to_string(proxy.port);
}

static void talks(const std::string &url, const std::string &proxy, const std::string &host,
                  OptionList options = {}) {
    options.push_back({"proxy", proxy});
    Session session(url, options);
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), ("first " + host).c_str());
    assert_int_equal(session.send("hello"), 0);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "hello");
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}

// ---- HTTP CONNECT ----

static Script connect_proxy(int port, std::string *head,
                            const std::string &answer = "HTTP/1.1 200 OK\r\n\r\n", bool drip = false) {
    return [=](Wire &wire) {
        *head = wire.read_head();
        wire.drip = drip;
        wire.write(answer);
        join(wire, port);
    };
}

TEST(connect_reaches_the_target_by_name) {
    Server target(echo);
    std::string head;
    Server proxy(connect_proxy(target.port, &head));
    std::string host = "only.the.proxy.knows:" + std::to_string(target.port);
    talks("ws://" + host + "/", option("http://", proxy), host);
    assert_int_equal(head.find("CONNECT " + host + " HTTP/1.1\r\n"), 0);
    assert_true(contains(head, "Host: " + host + "\r\n"));
    assert_false(contains(head, "Proxy-Authorization"));
}

TEST(connect_brackets_an_ipv6_address) {
    Server target(echo);
    std::string head;
    Server proxy(connect_proxy(target.port, &head));
    talks("ws://[2001:db8::1]:8080/", option("http://", proxy), "[2001:db8::1]:8080");
    assert_int_equal(head.find("CONNECT [2001:db8::1]:8080 HTTP/1.1\r\n"), 0);
}

TEST(connect_sends_credentials) {
    Server target(echo);
    std::string head;
    Server proxy(connect_proxy(target.port, &head));
    talks("ws://target.test:99/", option("http://", proxy, "user:p%40ss@"), "target.test:99");
    assert_true(contains(head, "Proxy-Authorization: Basic dXNlcjpwQHNz\r\n"));
}

TEST(credentials_of_the_proxy_do_not_reach_the_target) {
    std::string request, head;
    Server target([&](Wire &wire) {
        wire.upgrade();
        request = wire.head;
        wire.write(frame(1, "x"));
        wire.wait_end();
    });
    Server proxy(connect_proxy(target.port, &head));
    Session session("ws://target.test/",
                    {{"proxy", option("http://", proxy, "user:pass@")}, {"header.X-Key", "k"}});
    session.need(WSXDP_EVENT_MESSAGE);
    assert_false(contains(request, "Authorization"));
    assert_false(contains(head, "X-Key"));
}

TEST(connect_answer_byte_by_byte) {
    Server target(echo);
    std::string head;
    Server proxy(
        connect_proxy(target.port, &head, "HTTP/1.1 200 Connection established\r\nX-Proxy: y\r\n\r\n", true));
    talks("ws://target.test/", option("http://", proxy), "target.test");
}

TEST(connect_ignores_interim_answers_and_lengths) {
    Server target(echo);
    std::string head;
    Server proxy(connect_proxy(target.port, &head,
                               "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"));
    talks("ws://target.test/", option("http://", proxy), "target.test");
}

TLS_TEST(tls_through_connect_is_verified_against_the_target) {
    TlsSide side(certs(), "good");
    Server target(echo, &side);
    std::string head;
    Server proxy(connect_proxy(target.port, &head));
    talks("wss://good.test/", option("http://", proxy), "good.test",
          {{"tls.ca_file", certs().path("ca.pem")}});
    assert_string_equal(side.sni.c_str(), "good.test");
    assert_int_equal(head.find("CONNECT good.test:443 "), 0);
    expect_failure("wss://other.test/",
                   {{"proxy", option("http://", proxy)}, {"tls.ca_file", certs().path("ca.pem")}},
                   WSXDP_E_TLS_HOSTNAME, "other.test");
}

static std::string refused(const Script &script, int code, const std::string &part,
                           const char *scheme = "http://", const char *credentials = "",
                           OptionList more = {}) {
    Server proxy(script);
    more.push_back({"proxy", option(scheme, proxy, credentials)});
    return expect_failure("ws://target.test:77/", more, code, part);
}

static Script says(const std::string &answer) {
    return [=](Wire &wire) {
        wire.read_head();
        wire.write(answer);
        wire.wait_end();
    };
}

TEST(connect_403_is_refused_and_names_the_target) {
    refused(says("HTTP/1.1 403 Forbidden\r\n\r\n"), WSXDP_E_PROXY_REFUSED, "target.test:77");
}
TEST(connect_502_is_refused) {
    refused(says("HTTP/1.1 502 Bad Gateway\r\n\r\n"), WSXDP_E_PROXY_REFUSED, "502 Bad Gateway");
}
TEST(connect_407_without_credentials_asks_for_them) {
    refused(says("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n"), WSXDP_E_PROXY_AUTH,
            "put user:password@");
}
TEST(connect_407_with_credentials_did_not_take_them) {
    std::string text = refused(says("HTTP/1.1 407 No\r\n\r\n"), WSXDP_E_PROXY_AUTH,
                               "did not take the credentials", "http://", "user:geheim@");
    assert_false(contains(text, "geheim"));
}
TEST(connect_101_breaks_the_protocol) { refused(says("HTTP/1.1 101 Hm\r\n\r\n"), WSXDP_E_PROXY, "101"); }
TEST(a_socks_proxy_behind_http_is_noticed) {
    refused(says(std::string("\x05\xff", 2)), WSXDP_E_PROXY, "socks5://");
}
TEST(a_proxy_that_is_none) { refused(says("220 ftp ready\r\n"), WSXDP_E_PROXY, "check the proxy's port"); }
TEST(a_proxy_with_a_malformed_head) {
    refused(says("HTTP/1.1 200 OK\r\nbroken\r\n\r\n"), WSXDP_E_PROXY, "proxy");
}
TEST(a_proxy_with_an_endless_head) {
    refused(says("HTTP/1.1 200 OK\r\nX: " + std::string(3000, 'x') + "\r\n\r\n"), WSXDP_E_PROXY,
            "upgrade.max_head_bytes", "http://", "", {{"upgrade.max_head_bytes", "1KiB"}});
}
TEST(a_proxy_that_speaks_before_the_target) {
    refused(says("HTTP/1.1 200 OK\r\n\r\nbytes of its own"), WSXDP_E_PROXY, "bytes of its own");
}
TEST(a_proxy_that_dies_before_answering) {
    refused([](Wire &wire) { wire.read_head(); }, WSXDP_E_PROXY,
            "closed the connection instead of answering");
}
TEST(a_proxy_that_resets) {
    refused(
        [](Wire &wire) {
            wire.read_head();
            wire.reset();
        },
        WSXDP_E_PROXY, "instead of answering");
}
TEST(a_proxy_that_dies_within_its_answer) {
    refused(
        [](Wire &wire) {
            wire.read_head();
            wire.write("HTTP/1.1 200 O");
        },
        WSXDP_E_PROXY, "proxy closed");
}
TEST(a_silent_proxy_is_the_upgrade_timeout) {
    refused([](Wire &wire) { wire.wait_end(); }, WSXDP_E_UPGRADE_TIMEOUT, "proxy", "http://", "",
            {{"upgrade.timeout_ns", "100ms"}});
}
TEST(a_proxy_that_refuses_the_connection) {
    RefusingPort port;
    expect_failure("ws://target.test/", {{"proxy", "http://127.0.0.1:" + std::to_string(port.port)}},
                   WSXDP_E_REFUSED, std::to_string(port.port));
}
TEST(a_proxy_that_does_not_resolve) {
    expect_failure("ws://127.0.0.1:1/",
                   {{"proxy", "http://proxy.test:1"}, {"resolve.override", "proxy.test=no"}}, WSXDP_E_RESOLVE,
                   "resolve.override");
}
TEST(a_proxy_by_name_is_resolved_here) {
    Server target(echo);
    std::string head;
    Server proxy(connect_proxy(target.port, &head));
    talks("ws://target.test/", "http://proxy.test:" + std::to_string(proxy.port), "target.test",
          {{"resolve.override", "proxy.test=127.0.0.1"}});
}
TEST(a_tunnel_that_ends_is_lost_and_made_again) {
    Server target([](Wire &wire) {
        wire.upgrade();
        wire.write(frame(1, "x"));
        if (wire.number == 0) return;
        wire.wait_end();
    });
    std::string head;
    Server proxy(connect_proxy(target.port, &head));
    Session session("ws://target.test/", {{"proxy", option("http://", proxy)}});
    session.need(WSXDP_EVENT_OPEN);
    assert_int_equal(session.need(WSXDP_EVENT_RECONNECTING).error, WSXDP_E_EOF);
    assert_true(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RECONNECTED);
    assert_int_equal(proxy.accepted, 2);
}
TEST(proxy_options_that_cannot_be_are_refused_at_open) {
    static const char *const bad[] = {"nonsense", "ftp://127.0.0.1:1", "http://", "http://127.0.0.1:1/path",
                                      "socks4://127.0.0.1:1"};
    for (const char *value : bad) {
        Session session("ws://127.0.0.1:1/", {{"proxy", value}});
        if (session.status != WSXDP_E_URL) fail_msg("%s: %d", value, session.status);
    }
    Session session("ws://127.0.0.1:1/", {{"proxy", "https://127.0.0.1:1"}});
    assert_int_equal(session.status, WSXDP_E_UNSUPPORTED);
}

// ---- SOCKS5 ----

struct Socks {
    std::string methods, credentials, request;
    char method = 0;
    std::string reply = std::string("\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00", 10);
    char auth_status = 0;
    bool drip = false;
};

static Script socks_proxy(int port, Socks *s) {
    return [=](Wire &wire) {
        wire.drip = s->drip;
        std::string start = wire.read_exactly(2);
        if (start.size() != 2) return;
        s->methods = start + wire.read_exactly(static_cast<size_t>(start[1]));
        wire.write(std::string("\x05") + s->method);
        if (s->method == 2) {
            std::string head = wire.read_exactly(2);
            if (head.size() != 2) return;
            std::string user = wire.read_exactly(static_cast<size_t>(head[1]));
            size_t size = static_cast<size_t>(wire.read_exactly(1)[0]);
            s->credentials = user + ":" + wire.read_exactly(size);
            wire.write(std::string("\x01") + s->auth_status);
        }
        if (s->method == -1 || s->auth_status != 0) {
            wire.wait_end();
            return;
        }
        s->request = wire.read_exactly(5);
        if (s->request.size() != 5) return;
        size_t rest =
            s->request[3] == 3 ? static_cast<size_t>(s->request[4]) + 2 : (s->request[3] == 4 ? 17 : 5);
        s->request += wire.read_exactly(rest);
        wire.write(s->reply);
        if (s->reply[1] == 0)
            join(wire, port);
        else
            wire.wait_end();
    };
}

TEST(socks_reaches_the_target_by_name) {
    Server target(echo);
    Socks s;
    Server proxy(socks_proxy(target.port, &s));
    talks("ws://target.test:258/", option("socks5://", proxy), "target.test:258");
    assert_memory_equal(s.methods.data(), "\x05\x01\x00", 3);
    assert_int_equal(s.request.size(), 18);
    assert_memory_equal(s.request.data(), "\x05\x01\x00\x03\x0btarget.test\x01\x02", 18);
}
TEST(socks_sends_addresses_as_such) {
    Server target(echo);
    Socks s;
    Server proxy(socks_proxy(target.port, &s));
    talks("ws://10.1.2.3:258/", option("socks5h://", proxy), "10.1.2.3:258");
    assert_memory_equal(s.request.data(), "\x05\x01\x00\x01\x0a\x01\x02\x03\x01\x02", 10);
    talks("ws://[::1]:258/", option("socks5://", proxy), "[::1]:258");
    assert_int_equal(s.request[3], 4);
    assert_int_equal(s.request.size(), 22);
}
TEST(socks_sends_credentials) {
    Server target(echo);
    Socks s;
    s.method = 2;
    Server proxy(socks_proxy(target.port, &s));
    talks("ws://target.test/", option("socks5://", proxy, "user:p%40ss@"), "target.test");
    assert_string_equal(s.credentials.c_str(), "user:p@ss");
    assert_memory_equal(s.methods.data(), "\x05\x02\x00\x02", 4);
}
TEST(socks_byte_by_byte) {
    Server target(echo);
    Socks s;
    s.method = 2;
    s.drip = true;
    s.reply = std::string("\x05\x00\x00\x03\x04name\x00\x01", 11);
    Server proxy(socks_proxy(target.port, &s));
    talks("ws://target.test/", option("socks5://", proxy, "user:pass@"), "target.test");
}
TLS_TEST(tls_through_socks) {
    TlsSide side(certs(), "good");
    Server target(echo, &side);
    Socks s;
    Server proxy(socks_proxy(target.port, &s));
    talks("wss://good.test/", option("socks5://", proxy), "good.test",
          {{"tls.ca_file", certs().path("ca.pem")}});
}
static std::string socks_fails(Socks s, int code, const std::string &part, const char *credentials = "") {
    return refused(socks_proxy(1, &s), code, part, "socks5://", credentials);
}
TEST(socks_wants_credentials) {
    Socks s;
    s.method = -1;
    socks_fails(s, WSXDP_E_PROXY_AUTH, "put user:password@");
    socks_fails(s, WSXDP_E_PROXY_AUTH, "neither", "user:pass@");
}
TEST(socks_wrong_credentials) {
    Socks s;
    s.method = 2;
    s.auth_status = 1;
    std::string text = socks_fails(s, WSXDP_E_PROXY_AUTH, "did not take", "user:geheim@");
    assert_false(contains(text, "geheim"));
}
TEST(socks_method_that_was_not_offered) {
    Socks s;
    s.method = 2;
    socks_fails(s, WSXDP_E_PROXY, "not offered");
}
TEST(socks_each_refusal_has_its_words) {
    static const char *const words[] = {"general failure",  "rules",           "network unreachable",
                                        "host unreachable", "refused",         "time to live",
                                        "CONNECT",          "type of address", "unassigned"};
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        Socks s;
        s.reply[1] = static_cast<char>(i + 1);
        socks_fails(s, WSXDP_E_PROXY_REFUSED, words[i]);
    }
}
TEST(socks_unknown_address_type) {
    Socks s;
    s.reply[3] = 9;
    s.reply += "x";
    socks_fails(s, WSXDP_E_PROXY, "address type 9");
}
TEST(an_http_proxy_behind_socks_is_noticed) {
    refused(
        [](Wire &wire) {
            wire.write("HTTP/1.1 400 Bad\r\n\r\n");
            wire.wait_end();
        },
        WSXDP_E_PROXY, "http://", "socks5://");
}
TEST(socks_dies_between_its_steps) {
    refused(
        [](Wire &wire) {
            wire.read_exactly(3);
            wire.write(std::string("\x05\x00", 2));
            wire.read_exactly(10);
        },
        WSXDP_E_PROXY, "closed", "socks5://");
}
TEST(close_and_free_while_a_proxy_is_silent) {
    Server proxy([](Wire &wire) { wire.wait_end(); });
    Session session("ws://target.test/", {{"proxy", option("http://", proxy)}});
    session.poll(30);
    wsxdp_close(session.handle, 0, 1000, "", 0);
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE, 300).error, WSXDP_E_ABORTED);
    Session other("ws://target.test/", {{"proxy", option("socks5://", proxy)}});
    other.poll(30);
}

TESTS("proxies")
