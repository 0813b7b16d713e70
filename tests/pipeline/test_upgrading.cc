// SPDX-License-Identifier: MIT
// The opening handshake against a server that answers in every way it should not, and in every shape it may:
// byte by byte, folded, with the first frames in the same segment. Nothing that follows the head is lost.
#include "session.h"

using namespace scripted;

using Answer = std::function<std::string(Wire &)>;

// Fails with the code when the server answers so.
static std::string answered(const Answer &answer, OptionList options, int code, const std::string &part) {
    Server server([&](Wire &wire) {
        wire.read_head();
        wire.write(answer(wire));
        wire.wait_end();
    });
    return expect_failure(server.url("/path"), options, code, part);
}

static std::string answered(const std::string &text, int code, const std::string &part) {
    return answered([&](Wire &) { return text; }, {}, code, part);
}

static std::string head(Wire &wire, const std::string &upgrade, const std::string &connection,
                        const std::string &rest = "") {
    return "HTTP/1.1 101 Switching Protocols\r\n" + upgrade + connection +
           "Sec-WebSocket-Accept: " + accept_of(wire.field("Sec-WebSocket-Key")) + "\r\n" + rest + "\r\n";
}
static const char *const good_upgrade = "Upgrade: websocket\r\n";
static const char *const good_connection = "Connection: Upgrade\r\n";

// ---- answers that are refused ----

TEST(an_answer_that_is_not_http) { answered("SSH-2.0-OpenSSH_9.2\r\n", WSXDP_E_NOT_HTTP, "SSH-2.0"); }

TEST(a_tls_alert_in_answer_to_ws_suggests_wss) {
    answered(std::string("\x15\x03\x01\x00\x02\x02\x46", 7), WSXDP_E_NOT_HTTP, "wss://");
}

TEST(status_200) { answered("HTTP/1.1 200 OK\r\n\r\n", WSXDP_E_HTTP_STATUS, "200 OK"); }
TEST(status_404_suggests_the_path) {
    answered("HTTP/1.1 404 Not Found\r\n\r\n", WSXDP_E_HTTP_STATUS, "check the URL's path");
}
TEST(status_400) { answered("HTTP/1.1 400 Bad Request\r\n\r\n", WSXDP_E_HTTP_STATUS, "400 Bad Request"); }
TEST(status_426_names_the_version) {
    answered("HTTP/1.1 426 Upgrade Required\r\nSec-WebSocket-Version: 14\r\n\r\n", WSXDP_E_HTTP_STATUS, "14");
}
TEST(status_429) {
    answered("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\n\r\n", WSXDP_E_HTTP_STATUS, "Retry-After: \"7\"");
}
TEST(status_500) { answered("HTTP/1.1 500 Oops\r\n\r\n", WSXDP_E_HTTP_STATUS, "try again later"); }
TEST(status_503) { answered("HTTP/1.1 503 Busy\r\n\r\n", WSXDP_E_HTTP_STATUS, "503 Busy"); }
TEST(status_100) { answered("HTTP/1.1 100 Continue\r\n\r\n", WSXDP_E_HTTP_STATUS, "interim"); }
TEST(status_401_wants_credentials) {
    answered("HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=x\r\n\r\n", WSXDP_E_AUTH_REQUIRED,
             "user:password@");
}
TEST(status_403_names_origin) { answered("HTTP/1.1 403 Forbidden\r\n\r\n", WSXDP_E_AUTH_REQUIRED, "Origin"); }
TEST(status_407_is_a_proxy) { answered("HTTP/1.1 407 Proxy\r\n\r\n", WSXDP_E_PROXY_AUTH, "option proxy"); }
TEST(http_1_0) { answered("HTTP/1.0 101 Switching\r\n\r\n", WSXDP_E_HTTP_HEAD, "HTTP/1.0"); }
TEST(http_2) { answered("HTTP/2 101\r\n\r\n", WSXDP_E_NOT_HTTP, "HTTP/2"); }
TEST(a_field_without_colon) { answered("HTTP/1.1 101 x\r\nUpgrade\r\n\r\n", WSXDP_E_HTTP_HEAD, "colon"); }
TEST(space_before_the_colon) {
    answered("HTTP/1.1 101 x\r\nUpgrade : websocket\r\n\r\n", WSXDP_E_HTTP_HEAD, "Upgrade");
}
TEST(a_control_character_in_a_field) {
    answered(std::string("HTTP/1.1 101 x\r\nUpgrade: web\0socket\r\n\r\n", 39), WSXDP_E_HTTP_HEAD, "control");
}
TEST(a_status_line_without_number) { answered("HTTP/1.1 abc\r\n\r\n", WSXDP_E_HTTP_HEAD, "status"); }

TEST(upgrade_missing) {
    answered([](Wire &w) { return head(w, "", good_connection); }, {}, WSXDP_E_UPGRADE_HEADER,
             "no Upgrade header");
}
TEST(upgrade_wrong) {
    answered([](Wire &w) { return head(w, "Upgrade: h2c\r\n", good_connection); }, {}, WSXDP_E_UPGRADE_HEADER,
             "h2c");
}
TEST(upgrade_twice) {
    answered([](Wire &w) { return head(w, "Upgrade: websocket\r\nUpgrade: websocket\r\n", good_connection); },
             {}, WSXDP_E_UPGRADE_HEADER, "websocket");
}
TEST(connection_missing) {
    answered([](Wire &w) { return head(w, good_upgrade, ""); }, {}, WSXDP_E_CONNECTION_HEADER,
             "no Connection header");
}
TEST(connection_wrong) {
    answered([](Wire &w) { return head(w, good_upgrade, "Connection: close\r\n"); }, {},
             WSXDP_E_CONNECTION_HEADER, "close");
}
TEST(accept_missing) {
    answered(
        [](Wire &) { return std::string("HTTP/1.1 101 x\r\n") + good_upgrade + good_connection + "\r\n"; },
        {}, WSXDP_E_ACCEPT, "no Sec-WebSocket-Accept");
}
TEST(accept_of_another_key) {
    answered(
        [](Wire &) {
            return std::string("HTTP/1.1 101 x\r\n") + good_upgrade + good_connection +
                   "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
        },
        {}, WSXDP_E_ACCEPT, "does not answer our key");
}
TEST(accept_twice) {
    answered(
        [](Wire &w) {
            return head(w, good_upgrade, good_connection,
                        "Sec-WebSocket-Accept: " + accept_of(w.field("Sec-WebSocket-Key")) + "\r\n");
        },
        {}, WSXDP_E_ACCEPT, "more than once");
}
TEST(subprotocol_not_asked_for) {
    answered([](Wire &w) { return w.answer("Sec-WebSocket-Protocol: chat\r\n"); }, {}, WSXDP_E_SUBPROTOCOL,
             "chat");
}
TEST(subprotocol_other_than_offered) {
    answered([](Wire &w) { return w.answer("Sec-WebSocket-Protocol: Chat\r\n"); },
             {{"subprotocol", "chat, talk"}}, WSXDP_E_SUBPROTOCOL, "Chat");
}
TEST(subprotocol_twice) {
    answered(
        [](Wire &w) { return w.answer("Sec-WebSocket-Protocol: chat\r\nSec-WebSocket-Protocol: talk\r\n"); },
        {{"subprotocol", "chat, talk"}}, WSXDP_E_SUBPROTOCOL, "more than one");
}
TEST(extension_not_asked_for) {
    answered([](Wire &w) { return w.answer("Sec-WebSocket-Extensions: permessage-deflate\r\n"); }, {},
             WSXDP_E_EXTENSION, "permessage-deflate");
}
TEST(extension_unknown) {
    answered([](Wire &w) { return w.answer("Sec-WebSocket-Extensions: x-other\r\n"); }, {{"deflate", "yes"}},
             WSXDP_E_EXTENSION, "x-other");
}
TEST(extension_with_a_bad_parameter) {
    answered(
        [](Wire &w) {
            return w.answer("Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99\r\n");
        },
        {{"deflate", "yes"}}, WSXDP_E_EXTENSION, "server_max_window_bits");
}
TEST(a_head_above_the_limit) {
    answered([](Wire &w) { return w.answer("X-Long: " + std::string(2000, 'a') + "\r\n"); },
             {{"upgrade.max_head_bytes", "1024"}}, WSXDP_E_HTTP_HEAD_SIZE, "upgrade.max_head_bytes");
}
TEST(a_head_that_never_ends) {
    Server server([](Wire &wire) {
        wire.read_head();
        wire.write("HTTP/1.1 101 x\r\n");
        for (int i = 0; i < 3000; i++) wire.write("X-More: and more\r\n");
        wire.wait_end();
    });
    expect_failure(server.url(), {}, WSXDP_E_HTTP_HEAD_SIZE, "upgrade.max_head_bytes");
}
TEST(too_many_fields) {
    answered(
        [](Wire &w) {
            std::string fields;
            for (int i = 0; i < 200; i++) fields += "X: y\r\n";
            return w.answer(fields);
        },
        {}, WSXDP_E_HTTP_HEAD_SIZE, "fields");
}

// ---- ends and silences ----

TEST(the_server_closes_instead_of_answering) {
    Server server([](Wire &wire) { wire.read_head(); });
    expect_failure(server.url(), {}, WSXDP_E_EOF, "instead of answering the upgrade request");
}
TEST(the_server_resets_instead_of_answering) {
    Server server([](Wire &wire) {
        wire.read_head();
        wire.reset();
    });
    expect_failure(server.url(), {}, WSXDP_E_RESET, "reset the connection");
}
TEST(the_server_resets_before_the_request) {
    Server server([](Wire &wire) { wire.reset(); });
    expect_failure(server.url(), {}, WSXDP_E_RESET, "");
}
TEST(the_server_closes_within_the_head) {
    Server server([](Wire &wire) {
        wire.read_head();
        wire.write("HTTP/1.1 101 Switching Prot");
    });
    expect_failure(server.url(), {}, WSXDP_E_EOF, "wss://");
}
TEST(an_answer_before_the_end_counts_although_the_server_is_gone) {
    Server server([](Wire &wire) {
        wire.read_head();
        wire.write("HTTP/1.1 404 Gone\r\n\r\n");
    });
    expect_failure(server.url(), {}, WSXDP_E_HTTP_STATUS, "404");
}
TEST(no_answer_is_the_upgrade_timeout) {
    Server server([](Wire &wire) { wire.wait_end(); });
    int64_t start = now_ms();
    expect_failure(server.url(), {{"upgrade.timeout_ns", "120ms"}}, WSXDP_E_UPGRADE_TIMEOUT,
                   "is this a WebSocket server");
    on_time(start, 110, 600);
}
TEST(a_trickle_does_not_put_the_upgrade_timeout_off) {
    Server server([](Wire &wire) {
        wire.read_head();
        wire.write("HTTP/1.1 101 x\r\nX: ");
        for (int i = 0; i < 60; i++) wire.write("y"), usleep(10000);
    });
    int64_t start = now_ms();
    expect_failure(server.url(), {{"upgrade.timeout_ns", "150ms"}}, WSXDP_E_UPGRADE_TIMEOUT, "");
    on_time(start, 140, 550);
}

// ---- answers that are accepted ----

static void accepted(const Script &script, const OptionList &options = {}) {
    Server server(script);
    Session session(server.url(), options);
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "first");
    assert_int_equal(session.send("hello"), 0);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "hello");
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}

static void greet_and_echo(Wire &wire) {
    wire.write(frame(1, "first"));
    wire.flush();
    for (Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame())
        wire.write(frame(f.opcode, f.payload)), wire.flush();
}

TEST(a_plain_answer) {
    accepted([](Wire &wire) {
        wire.upgrade();
        greet_and_echo(wire);
    });
}
TEST(the_answer_byte_by_byte) {
    accepted([](Wire &wire) {
        wire.drip = true;
        wire.upgrade();
        greet_and_echo(wire);
    });
}
TEST(fields_in_any_case_and_order) {
    accepted([](Wire &wire) {
        wire.read_head();
        wire.write("HTTP/1.1 101\r\nsec-websocket-accept:" + accept_of(wire.field("Sec-WebSocket-Key")) +
                   "\r\nX-Other:\r\nCONNECTION: keep-alive, UPGRADE\r\nupgrade:WebSocket\t\r\n\r\n");
        greet_and_echo(wire);
    });
}
TEST(a_folded_field) {
    accepted([](Wire &wire) {
        wire.upgrade("X-Folded: one\r\n two\r\n\tthree\r\n");
        greet_and_echo(wire);
    });
}
TEST(connection_in_two_fields) {
    accepted([](Wire &wire) {
        wire.read_head();
        wire.write(head(wire, good_upgrade, "Connection: keep-alive\r\nConnection: upgrade\r\n"));
        greet_and_echo(wire);
    });
}
TEST(the_first_frame_in_the_same_segment) {
    accepted([](Wire &wire) {
        wire.hold = true;
        wire.upgrade();
        greet_and_echo(wire);
    });
}

// Every split of head and frames into two segments, and a large burst behind the head.
TEST(head_and_frames_split_at_every_byte) {
    std::string tail = frame(1, "first") + frame(2, std::string(300, 'b')) + frame(1, "last");
    size_t size = 0;
    Server server([&](Wire &wire) {
        wire.read_head();
        std::string all = wire.answer() + tail;
        size = all.size();
        size_t cut = static_cast<size_t>(wire.number);
        wire.write(all.substr(0, cut));
        if (wire.number % 3 == 0) usleep(300);
        wire.write(all.substr(cut));
        wire.wait_end();
    });
    for (size_t i = 0; i == 0 || i < size; i++) {
        Session session(server.url());
        assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "first");
        assert_int_equal(session.need(WSXDP_EVENT_MESSAGE).data.size(), 300);
        assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "last");
        assert_int_equal(session.count(WSXDP_EVENT_OPEN), 1);
    }
}
TEST(a_burst_behind_the_head_is_whole_and_in_order) {
    Server server([](Wire &wire) {
        wire.hold = true;
        wire.upgrade();
        for (int i = 0; i < 2000; i++) wire.write(frame(2, std::to_string(i) + std::string(500, 'x')));
        wire.flush();
        wire.wait_end();
    });
    Session session(server.url(), {{"inbox.bytes", "65536"}});
    for (int i = 0; i < 2000; i++) {
        const Seen &seen = session.need(WSXDP_EVENT_MESSAGE);
        assert_string_equal(seen.data.substr(0, seen.data.find('x')).c_str(), std::to_string(i).c_str());
        assert_int_equal(seen.sequence, i + 1);
    }
}
TEST(a_close_in_the_same_segment_as_the_head) {
    Server server([](Wire &wire) {
        wire.hold = true;
        wire.upgrade();
        wire.write(frame(1, "first") + close_frame(4001, "bye"));
        wire.flush();
        wire.end();
        wire.wait_end();
    });
    Session session(server.url(), {{"reconnect", "no"}});
    session.need(WSXDP_EVENT_OPEN);
    session.need(WSXDP_EVENT_MESSAGE);
    const Seen &close = session.need(WSXDP_EVENT_CLOSE);
    assert_int_equal(close.code, 4001);
    assert_string_equal(close.data.c_str(), "bye");
    assert_int_equal(close.error, 0);
    assert_true(close.flags & WSXDP_FLAG_BY_PEER);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}

// ---- the request ----

static std::string request_of(const std::string &rest, const OptionList &options) {
    std::string request;
    Server server([&](Wire &wire) {
        request = wire.read_head();
        wire.write(wire.answer());
        wire.wait_end();
    });
    std::string url = "ws://" + rest;
    url.insert(url.find('/', 5), ":" + std::to_string(server.port));
    Session session(url, options);
    session.need(WSXDP_EVENT_OPEN);
    size_t port = request.find(":" + std::to_string(server.port));
    if (port != std::string::npos) request.replace(port, 1 + std::to_string(server.port).size(), ":PORT");
    return request;
}

TEST(the_request_is_what_the_rfc_asks_for) {
    std::string request = request_of("127.0.0.1/a/b?c=d", {});
    assert_int_equal(request.find("GET /a/b?c=d HTTP/1.1\r\n"), 0);
    for (const char *line : {"Host: 127.0.0.1:PORT\r\n", "Upgrade: websocket\r\n", "Connection: Upgrade\r\n",
                             "Sec-WebSocket-Version: 13\r\n", "User-Agent: wsxdp\r\n"})
        if (!contains(request, line)) fail_msg("%s is not in %s", line, request.c_str());
    for (const char *name : {"Origin", "Authorization", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions"})
        assert_false(contains(request, name));
}
TEST(each_request_has_a_new_key) {
    std::string first = request_of("127.0.0.1/", {}), second = request_of("127.0.0.1/", {});
    size_t at = first.find("Sec-WebSocket-Key: ");
    assert_string_not_equal(first.substr(at, 44).c_str(), second.substr(at, 44).c_str());
}
TEST(headers_origin_and_agent_reach_the_server) {
    std::string request = request_of("127.0.0.1/", {{"header.X-One", "1"},
                                                    {"header.X-Two", "a, b"},
                                                    {"header.X-One", "3"},
                                                    {"origin", "https://example.org"},
                                                    {"user_agent", ""}});
    for (const char *line :
         {"X-One: 1\r\n", "X-Two: a, b\r\n", "X-One: 3\r\n", "Origin: https://example.org\r\n"})
        assert_true(contains(request, line));
    assert_false(contains(request, "User-Agent"));
}
TEST(credentials_of_the_url_become_basic_authentication) {
    std::string request = request_of("user:pass%40word@127.0.0.1/", {});
    assert_true(contains(request, "Authorization: Basic dXNlcjpwYXNzQHdvcmQ=\r\n"));
    assert_true(contains(request, "Host: 127.0.0.1:PORT\r\n"));
}
TEST(an_authorization_header_replaces_the_urls) {
    std::string request = request_of("user:pass@127.0.0.1/", {{"header.Authorization", "Bearer token"}});
    assert_true(contains(request, "Authorization: Bearer token\r\n"));
    assert_false(contains(request, "Basic"));
}
TEST(credentials_are_in_no_sentence) {
    Server server([](Wire &wire) {
        wire.read_head();
        wire.write("HTTP/1.1 401 No\r\n\r\n");
        wire.wait_end();
    });
    std::string text = expect_failure("ws://user:geheim@127.0.0.1:" + std::to_string(server.port) + "/",
                                      {{"header.X-Secret", "geheim"}}, WSXDP_E_AUTH_REQUIRED, "401");
    assert_false(contains(text, "geheim"));
}
TEST(a_chosen_subprotocol_is_in_the_open_event) {
    Server server([](Wire &wire) {
        wire.upgrade("Sec-WebSocket-Protocol: talk\r\n");
        wire.wait_end();
    });
    Session session(server.url(), {{"subprotocol", "chat, talk"}});
    assert_string_equal(session.need(WSXDP_EVENT_OPEN).data.c_str(), "talk");
    assert_string_equal(session.info("subprotocol").c_str(), "talk");
}
TEST(an_offered_subprotocol_may_be_left_out) {
    Server server([](Wire &wire) {
        wire.upgrade();
        wire.wait_end();
    });
    Session session(server.url(), {{"subprotocol", "chat, talk"}});
    assert_string_equal(session.need(WSXDP_EVENT_OPEN).data.c_str(), "");
}
TEST(an_agreed_extension_is_told) {
    Server server([](Wire &wire) {
        wire.upgrade("Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n");
        wire.wait_end();
    });
    Session session(server.url(), {{"deflate", "yes"}});
    assert_true(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_COMPRESSED);
    assert_true(contains(session.info("extensions"), "client_no_context_takeover"));
}
TEST(the_descriptor_is_readable_when_the_answer_comes) {
    Server server([](Wire &wire) {
        wire.upgrade();
        wire.wait_end();
    });
    Session session(server.url());
    int64_t until = now_ms() + 3000;
    wsxdp_fd(session.handle);
    session.poll(0);
    while (session.count(WSXDP_EVENT_OPEN) == 0 && now_ms() < until) {
        fd_set set;
        FD_ZERO(&set);
        FD_SET(wsxdp_fd(session.handle), &set);
        timeval second = {1, 0};
        assert_int_equal(select(wsxdp_fd(session.handle) + 1, &set, nullptr, nullptr, &second), 1);
        session.poll(0);
    }
    assert_int_equal(session.count(WSXDP_EVENT_OPEN), 1);
}

TESTS("upgrading")
