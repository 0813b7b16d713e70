// SPDX-License-Identifier: MIT
// Every way in which the first steps of connecting fail: each its own code and a sentence that says what to
// do. And what connecting must not do: wait inside wsxdp_poll, or take options that belong to the handle.
#include "session.h"
#include <sys/resource.h>

using namespace scripted;

static void talk(Wire &wire) {
    wire.upgrade();
    wire.wait_end();
}

static std::string at(int port, const char *rest = "/") {
    return "ws://127.0.0.1:" + std::to_string(port) + rest;
}

TEST(a_closed_port_refuses) {
    RefusingPort port;
    std::string text = expect_failure(at(port.port), {}, WSXDP_E_REFUSED, "is the server running");
    assert_true(contains(text, "127.0.0.1:" + std::to_string(port.port)));
}

TEST(a_closed_port_refuses_in_ipv6) {
    RefusingPort port("::1");
    std::string text =
        expect_failure("ws://[::1]:" + std::to_string(port.port), {}, WSXDP_E_REFUSED, "[::1]:");
    assert_true(contains(text, "refused"));
}

TEST(a_broadcast_address_is_unreachable) {
    expect_failure("ws://127.255.255.255:9/", {}, WSXDP_E_UNREACHABLE, "127.255.255.255:9");
}

TEST(a_silent_host_runs_into_the_attempt_timeout) {
    SilentPort port;
    int64_t start = now_ms();
    expect_failure(at(port.port), {{"connect.attempt_timeout_ns", "150ms"}}, WSXDP_E_CONNECT_TIMEOUT,
                   "no answer within connect.attempt_timeout_ns");
    on_time(start, 140, 600);
}

TEST(a_silent_host_runs_into_the_whole_timeout) {
    SilentPort port;
    int64_t start = now_ms();
    expect_failure(at(port.port), {{"connect.timeout_ns", "150ms"}}, WSXDP_E_CONNECT_TIMEOUT,
                   "a firewall may drop the packets");
    on_time(start, 140, 600);
}

TEST(a_poll_while_connecting_does_not_outlast_its_timeout) {
    SilentPort port;
    Session session(at(port.port));
    for (int i = 0; i < 5; i++) {
        int64_t start = now_ms();
        assert_int_equal(session.poll(20), 0);
        on_time(start, 19, 60);
    }
    wsxdp_event events[4];
    int64_t start = now_ms();
    for (int i = 0; i < 100; i++) assert_int_equal(wsxdp_poll(session.handle, events, 4, 0), 0);
    on_time(start, 0, 50);
}

TEST(waiting_for_a_silent_host_uses_no_processor) {
    SilentPort port;
    Session session(at(port.port), {{"wait", "sleep"}, {"connect.attempt_delay_ns", "10ms"}});
    rusage before, after;
    session.poll(30);
    getrusage(RUSAGE_THREAD, &before);
    session.poll(300);
    getrusage(RUSAGE_THREAD, &after);
    long us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 + after.ru_utime.tv_usec -
              before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
    assert_true(us < 50000);
}

INLINE_TEST(without_descriptors_the_text_says_to_raise_the_limit) {
    Server server(talk);
    Session session(server.url(), {{"reconnect", "no"}});
    rlimit limit, none;
    getrlimit(RLIMIT_NOFILE, &limit);
    int lowest = dup(0);
    close(lowest);
    none = limit;
    none.rlim_cur = static_cast<rlim_t>(lowest);
    setrlimit(RLIMIT_NOFILE, &none);
    const Seen *close = session.wait(WSXDP_EVENT_CLOSE, 2000);
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_non_null(close);
    assert_int_equal(close->error, WSXDP_E_DESCRIPTORS);
    assert_true(contains(session.events[0].data, "ulimit -n"));
}

TEST(without_descriptors_open_itself_fails) {
    rlimit limit, none;
    getrlimit(RLIMIT_NOFILE, &limit);
    int lowest = dup(0);
    close(lowest);
    none = limit;
    none.rlim_cur = static_cast<rlim_t>(lowest);
    setrlimit(RLIMIT_NOFILE, &none);
    Session session("ws://127.0.0.1:1/");
    setrlimit(RLIMIT_NOFILE, &limit);
    assert_int_equal(session.status, WSXDP_E_DESCRIPTORS);
    assert_null(session.handle);
}

TEST(an_interface_that_is_not_there_is_named) {
    Server server(talk);
    std::string text =
        expect_failure(server.url(), {{"socket.interface", "nosuchif0"}}, WSXDP_E_SYSTEM, "socket.interface");
    assert_true(contains(text, "(19)")); // ENODEV
}

TEST(the_loopback_interface_can_be_named) {
    Server server(talk);
    Session session(server.url(), {{"socket.interface", "lo"}});
    session.need(WSXDP_EVENT_OPEN);
}

TEST(opening_tells_the_time_it_took_and_no_tls) {
    Server server(talk);
    Session session(server.url());
    const Seen &open = session.need(WSXDP_EVENT_OPEN);
    assert_in_range(open.value, 1, 5000000000);
    assert_int_equal(open.flags, 0);
    assert_int_equal(open.error, 0);
    assert_string_equal(session.info("state").c_str(), "open");
    assert_true(contains(session.info("peer"), "127.0.0.1:" + std::to_string(server.port)));
}

TEST(bad_urls_are_refused_at_open) {
    static const char *const bad[] = {"",
                                      "http://localhost/",
                                      "ws://",
                                      "ws://localhost:99999/",
                                      "ws://localhost/#part",
                                      "ws://local host/",
                                      "localhost",
                                      "wss:/localhost",
                                      "ws+unix://relative:/"};
    for (const char *url : bad) {
        Session session(url);
        if (session.status != WSXDP_E_URL) fail_msg("%s: %d", url, session.status);
        assert_true(session.text.size() > 10);
        assert_null(session.handle);
    }
}

TEST(bad_urls_are_refused_at_connect_and_leave_the_handle_usable) {
    Server server(talk);
    Session session(nullptr);
    uint32_t id = 77;
    assert_int_equal(wsxdp_connect(session.handle, "http://localhost/", nullptr, &id), WSXDP_E_URL);
    char text[300];
    assert_true(wsxdp_last_error(session.handle, text, sizeof text) > 10);
    assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), nullptr, &id), WSXDP_OK);
    assert_int_equal(session.need(WSXDP_EVENT_OPEN).conn, id);
}

TEST(a_connection_may_have_options_of_its_own) {
    std::string agents[3];
    Server server([&](Wire &wire) {
        wire.upgrade();
        agents[wire.number] = wire.field("User-Agent");
        wire.write(frame(1, "for " + agents[wire.number]));
        wire.wait_end();
    });
    Session session(server.url(), {{"user_agent", "first"}});
    session.need(WSXDP_EVENT_MESSAGE);
    Config other(OptionList{{"user_agent", "second"}, {"reconnect", "no"}});
    uint32_t id = 0;
    assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), other.config, &id), 0);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE, 3000, id).data.c_str(), "for second");
    assert_string_equal(agents[0].c_str(), "first");
    // Without options those of open count.
    uint32_t third = 0;
    assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), nullptr, &third), 0);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE, 3000, third).data.c_str(), "for first");
}

TEST(options_of_the_handle_are_refused_at_connect) {
    static const char *const rows[][2] = {
        {"wait", "sleep"}, {"connections.max", "5"}, {"inbox.bytes", "128KiB"}, {"outbox.bytes", "8KiB"},
        {"hold.max", "3"}, {"events.slots", "64"},   {"name", "other"},         {"transport", "socket"}};
    Session session(nullptr);
    for (const auto &row : rows) {
        Config other(OptionList{{row[0], row[1]}});
        uint32_t id = 0;
        assert_int_equal(wsxdp_connect(session.handle, "ws://127.0.0.1:1/", other.config, &id),
                         WSXDP_E_INVALID);
        char text[300];
        wsxdp_last_error(session.handle, text, sizeof text);
        if (!contains(text, row[0])) fail_msg("%s: %s", row[0], text);
    }
}

TEST(connections_max_is_a_limit_that_names_itself) {
    Server server(talk);
    Session session(server.url(), {{"connections.max", "2"}});
    uint32_t id = 0;
    assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), nullptr, &id), 0);
    assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), nullptr, &id), WSXDP_E_CONNECTIONS);
    char text[300];
    wsxdp_last_error(session.handle, text, sizeof text);
    assert_true(contains(text, "connections.max"));
    session.need(WSXDP_EVENT_OPEN);
    assert_int_equal(wsxdp_close(session.handle, id, 1000, "", 0), WSXDP_OK);
}

TEST(what_this_build_has_not_is_unsupported) {
    static const char *const rows[][2] = {{"transport", "uring"}, {"placement", "processes: rx tls tx ws"}};
    for (const auto &row : rows) {
        Session session("ws://127.0.0.1:1/", {{row[0], row[1]}});
        assert_int_equal(session.status, WSXDP_E_UNSUPPORTED);
        assert_true(contains(session.text, row[0]));
    }
}

// Of a header that would inject another, nothing may reach the network.
TEST(header_injection_is_refused_at_open) {
    static const char *const names[] = {"header.X-Key", "origin", "user_agent"};
    for (const char *name : names) {
        wsxdp_config *config = wsxdp_config_new();
        const char value[] = "a\r\nX-Evil: yes";
        int set = wsxdp_config_set(config, name, value);
        wsxdp *handle = nullptr;
        wsxdp_error error;
        error.struct_size = sizeof error;
        int status = set < 0 ? set : wsxdp_open("ws://127.0.0.1:1/", config, &handle, &error);
        if (status != WSXDP_E_INVALID) print_message("%s: %d\n", name, status);
        wsxdp_config_free(config);
        wsxdp_free(handle);
        assert_int_equal(status, WSXDP_E_INVALID);
    }
}

TEST(header_names_that_break_the_request_are_refused_at_open) {
    static const char *const rows[][2] = {{"header.X Key", "a"},
                                          {"header.X:Key", "a"},
                                          {"header.Sec-WebSocket-Key", "a"},
                                          {"header.Connection", "a"},
                                          {"header.Content-Length", "5"},
                                          {"header.Transfer-Encoding", "chunked"},
                                          {"header.Upgrade", "other"},
                                          {"header.Sec-WebSocket-Protocol", "a"}};
    for (const auto &row : rows) {
        wsxdp_config *config = wsxdp_config_new();
        int set = wsxdp_config_set(config, row[0], row[1]);
        wsxdp *handle = nullptr;
        int status = set < 0 ? set : wsxdp_open("ws://127.0.0.1:1/", config, &handle, nullptr);
        if (status != WSXDP_E_INVALID) print_message("%s: %d\n", row[0], status);
        wsxdp_config_free(config);
        wsxdp_free(handle);
        assert_int_equal(status, WSXDP_E_INVALID);
    }
}

TEST(header_injection_is_refused_at_connect) {
    Session session(nullptr);
    wsxdp_config *config = wsxdp_config_new();
    uint32_t id = 0;
    int status = wsxdp_config_set(config, "header.X-Key", "a\nb: c");
    if (status == 0) status = wsxdp_connect(session.handle, "ws://127.0.0.1:1/", config, &id);
    wsxdp_config_free(config);
    assert_int_equal(status, WSXDP_E_INVALID);
}

TEST(a_subprotocol_that_is_no_token_is_refused_at_open) {
    Session session("ws://127.0.0.1:1/", {{"subprotocol", "good, not good"}});
    assert_int_equal(session.status, WSXDP_E_INVALID);
    assert_true(contains(session.text, "not good"));
}

TEST(free_ends_a_handle_in_every_state_of_connecting) {
    SilentPort silent;
    RefusingPort refusing;
    Server mute([](Wire &wire) { wire.wait_end(); });
    std::string urls[] = {at(silent.port), at(refusing.port), mute.url(),
                          "wss://127.0.0.1:" + std::to_string(mute.port),
                          "ws://localhost:" + std::to_string(refusing.port)};
    for (const std::string &url : urls) {
        for (int polls = 0; polls < 4; polls++) {
            int64_t start = now_ms();
            {
                Session session(url, {{"tls.insecure_skip_verify", "yes"}});
                for (int i = 0; i < polls; i++) session.poll(3);
            }
            on_time(start, 0, 500);
        }
    }
}

TLS_TEST(close_cancels_every_state_of_connecting) {
    SilentPort silent;
    RefusingPort refusing;
    Server mute([](Wire &wire) { wire.wait_end(); });
    std::string urls[] = {at(silent.port), at(refusing.port), mute.url(),
                          "wss://127.0.0.1:" + std::to_string(mute.port)};
    for (const std::string &url : urls) {
        for (int polls = 0; polls < 4; polls++) {
            Session session(url, {{"tls.insecure_skip_verify", "yes"}, {"reconnect.delay_min_ns", "10s"}});
            for (int i = 0; i < polls; i++) session.poll(3);
            assert_int_equal(wsxdp_close(session.handle, 0, 1000, "", 0), WSXDP_OK);
            const Seen &close = session.need(WSXDP_EVENT_CLOSE, 500);
            assert_int_equal(close.error, WSXDP_E_ABORTED);
            assert_int_equal(close.code, 1006);
            session.poll(5);
            assert_int_equal(wsxdp_close(session.handle, 0, 1000, "", 0), WSXDP_E_STALE);
        }
    }
}

TEST(a_request_that_no_server_would_take_is_refused_at_open) {
    Session session("ws://127.0.0.1:1/", {{"header.X-Long", std::string(70000, 'x')}});
    assert_int_equal(session.status, WSXDP_E_TOO_BIG);
    assert_true(contains(session.text, "shorter headers"));
}

TEST(many_headers_fit) {
    size_t fields = 0;
    Server server([&](Wire &wire) {
        wire.read_head();
        for (size_t at = 0; (at = wire.head.find("X-Field: ", at)) != std::string::npos; at++) fields++;
        wire.write(wire.answer());
        wire.wait_end();
    });
    OptionList options;
    for (int i = 0; i < 300; i++) options.push_back({"header.X-Field", std::to_string(i)});
    Session session(server.url(), options);
    session.need(WSXDP_EVENT_OPEN);
    assert_int_equal(fields, 300);
}

// A peer that takes the request in small portions.
TEST(a_long_request_through_a_small_buffer) {
    Server server(
        [](Wire &wire) {
            wire.read_head();
            wire.write(wire.answer());
            wire.wait_end();
        },
        nullptr, "127.0.0.1", 0, 2048);
    Session session(server.url(),
                    {{"header.X-Long", std::string(60000, 'x')}, {"socket.send_buffer_bytes", "2048"}});
    session.need(WSXDP_EVENT_OPEN);
}

TESTS("connecting")
