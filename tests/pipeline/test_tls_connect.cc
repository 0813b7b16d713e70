// SPDX-License-Identifier: MIT
// TLS through the whole way from URL to messages: which certificates are taken, what is said about those that
// are not, resumption, truncation, key updates, and ciphertext in every portion.
#include "session.h"
#include <sys/stat.h>

using namespace scripted;

static void echo(Wire &wire) {
    wire.upgrade();
    for (Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame())
        wire.write(frame(f.opcode, f.payload));
}

static OptionList trusting(OptionList more = {}) {
    more.push_back({"tls.ca_file", certs().path("ca.pem")});
    return more;
}

static void opens(const std::string &url, const OptionList &options) {
    Session session(url, options);
    if (session.status != 0) fail_msg("open: %d %s", session.status, session.text.c_str());
    const Seen &open = session.need(WSXDP_EVENT_OPEN);
    assert_true(open.flags & WSXDP_FLAG_TLS);
    assert_int_equal(session.send("hello"), 0);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "hello");
}

static std::string refused(const char *certificate, const char *host, const OptionList &options, int code,
                           const std::string &part) {
    TlsSide side(certs(), certificate);
    Server server(echo, &side);
    OptionList all = options;
    all.push_back({"resolve.override", "good.test=127.0.0.1"});
    return expect_failure(server.url("/", host), all, code, part);
}

// ---- certificates ----

TEST(a_good_certificate_opens) {
    TlsSide side(certs(), "good");
    Server server(echo, &side);
    opens(server.url(), trusting());
    opens(server.url("/", "localhost"), trusting({{"connect.family", "ipv4"}}));
}
TEST(an_address_in_the_certificate_opens) {
    TlsSide side(certs(), "ip");
    Server server(echo, &side);
    opens(server.url(), trusting());
    assert_string_equal(side.sni.c_str(), ""); // RFC 6066 section 3: no addresses
}
TEST(an_ipv6_address_in_the_certificate_opens) {
    TlsSide side(certs(), "ip");
    Server server(echo, &side, "::1");
    opens(server.url("/", "[::1]"), trusting());
}
TEST(a_chain_opens) {
    TlsSide side(certs(), "chained");
    Server server(echo, &side);
    opens(server.url(), trusting());
}
TEST(a_name_is_sent_and_checked) {
    TlsSide side(certs(), "wildcard");
    Server server(echo, &side);
    opens(server.url("/", "a.wild.test"), trusting({{"resolve.override", "a.wild.test=127.0.0.1"}}));
    assert_string_equal(side.sni.c_str(), "a.wild.test");
}
TEST(wrong_name) { refused("wrong_name", "good.test", trusting(), WSXDP_E_TLS_HOSTNAME, "good.test"); }
TEST(wrong_address) { refused("wrong_name", "127.0.0.1", trusting(), WSXDP_E_TLS_HOSTNAME, "127.0.0.1"); }
TEST(a_name_does_not_stand_for_an_address) {
    refused("common_name", "127.0.0.1", trusting(), WSXDP_E_TLS_HOSTNAME, "");
}
TEST(self_signed) { refused("self_signed", "127.0.0.1", trusting(), WSXDP_E_TLS_SELF_SIGNED, "tls.ca_file"); }
TEST(untrusted) { refused("untrusted", "127.0.0.1", trusting(), WSXDP_E_TLS_UNTRUSTED, "tls.ca_"); }
TEST(the_system_does_not_trust_it) { refused("good", "127.0.0.1", {}, WSXDP_E_TLS_UNTRUSTED, "tls.ca_"); }
TEST(an_intermediate_is_missing) {
    refused("chained_alone", "127.0.0.1", trusting(), WSXDP_E_TLS_UNTRUSTED, "");
}
TEST(expired) { refused("expired", "127.0.0.1", trusting(), WSXDP_E_TLS_EXPIRED, "expired"); }
TEST(not_yet_valid) {
    refused("not_yet_valid", "127.0.0.1", trusting(), WSXDP_E_TLS_NOT_YET_VALID, "not valid");
}
TEST(with_nothing_to_trust_open_says_so) {
    Session session("wss://127.0.0.1:1/", {{"tls.system_ca", "no"}});
    assert_int_equal(session.status, WSXDP_E_TLS_CA);
    assert_true(contains(session.text, "tls.ca_file"));
}

TEST(skipping_verification_takes_any) {
    static const char *const any[] = {"self_signed", "expired", "wrong_name", "untrusted", "good"};
    for (const char *name : any) {
        TlsSide side(certs(), name);
        Server server(echo, &side);
        opens(server.url(), {{"tls.insecure_skip_verify", "yes"}});
    }
    refused("self_signed", "127.0.0.1", {{"tls.insecure_skip_verify", "no"}}, WSXDP_E_TLS_SELF_SIGNED, "");
}

TEST(a_ca_in_memory) {
    TlsSide side(certs(), "good");
    Server server(echo, &side);
    opens(server.url(), {{"tls.ca_pem", certs().text("ca.pem")}});
    expect_failure(server.url(), {{"tls.ca_pem", certs().text("other_ca.pem")}}, WSXDP_E_TLS_UNTRUSTED, "");
}
TEST(a_ca_directory) {
    TlsSide side(certs(), "good");
    Server server(echo, &side);
    opens(server.url(), {{"tls.ca_dir", certs().path("ca_dir")}});
}
TEST(a_server_name_of_ones_own) {
    TlsSide side(certs(), "wrong_name");
    Server server(echo, &side);
    opens(server.url(), trusting({{"tls.server_name", "elsewhere.test"}}));
    assert_string_equal(side.sni.c_str(), "elsewhere.test");
}
TEST(tls_options_that_cannot_be_used_fail_at_open) {
    static const struct {
        const char *name, *value;
        int code;
    } rows[] = {{"tls.ca_file", "/nonexistent/ca.pem", WSXDP_E_TLS_CA},
                {"tls.ca_dir", "/nonexistent", WSXDP_E_TLS_CA},
                {"tls.ca_pem", "nonsense", WSXDP_E_TLS_CA},
                {"tls.cert_file", "/nonexistent/cert.pem", WSXDP_E_TLS_CLIENT_CERT},
                {"tls.ciphers", "NONSENSE", WSXDP_E_TLS_SETUP},
                {"tls.ciphersuites", "NONSENSE", WSXDP_E_TLS_SETUP},
                {"tls.pin_sha256", "short", WSXDP_E_TLS_SETUP}};
    for (const auto &row : rows) {
        Session session("wss://127.0.0.1:1/", {{row.name, row.value}});
        if (session.status != row.code) fail_msg("%s: %d %s", row.name, session.status, session.text.c_str());
        assert_true(session.text.size() > 20);
    }
}

// ---- client certificates and pins ----

TEST(a_client_certificate_is_wanted) {
    TlsSide side(certs(), "good", TLS1_2_VERSION, TLS1_2_VERSION,
                 SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    Server server(echo, &side);
    expect_failure(server.url(), trusting(), WSXDP_E_TLS_CLIENT_CERT_REQUIRED, "tls.cert_file");
}
TEST(a_client_certificate_is_wanted_in_tls_1_3) {
    TlsSide side(certs(), "good", TLS1_3_VERSION, TLS1_3_VERSION,
                 SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    Server server(echo, &side);
    expect_failure(server.url(), trusting(), WSXDP_E_TLS_CLIENT_CERT_REQUIRED, "tls.cert_file");
}
TEST(a_client_certificate_is_given) {
    TlsSide side(certs(), "good", TLS1_2_VERSION, TLS1_3_VERSION,
                 SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT);
    Server server(echo, &side);
    opens(server.url(), trusting({{"tls.cert_file", certs().path("client.pem")},
                                  {"tls.key_file", certs().path("client.key")}}));
    opens(server.url(), trusting({{"tls.cert_file", certs().path("client.pem")},
                                  {"tls.key_file", certs().path("client_encrypted.key")},
                                  {"tls.key_password", "secret"}}));
}
TEST(pin_right) {
    TlsSide side(certs(), "good");
    Server server(echo, &side);
    opens(server.url(),
          trusting({{"tls.pin_sha256", certs().pin("client")}, {"tls.pin_sha256", certs().pin("good")}}));
}
TEST(pin_wrong) {
    refused("good", "127.0.0.1", trusting({{"tls.pin_sha256", certs().pin("client")}}), WSXDP_E_TLS_PIN,
            "tls.pin_sha256");
}

// ---- versions, ciphers, protocols ----

TEST(a_server_of_tls_1_1_only) {
    TlsSide side(certs(), "good", TLS1_1_VERSION, TLS1_1_VERSION);
    Server server(echo, &side);
    expect_failure(server.url(), trusting(), WSXDP_E_TLS_VERSION, "version");
}
TEST(a_minimum_version_above_the_servers) {
    TlsSide side(certs(), "good", TLS1_2_VERSION, TLS1_2_VERSION);
    Server server(echo, &side);
    expect_failure(server.url(), trusting({{"tls.version_min", "1.3"}}), WSXDP_E_TLS_VERSION,
                   "tls.version_min");
    opens(server.url(), trusting({{"tls.version_min", "1.2"}}));
}
TEST(no_common_cipher) {
    TlsSide side(certs(), "good", TLS1_2_VERSION, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(side.context, "ECDHE-ECDSA-AES256-GCM-SHA384");
    Server server(echo, &side);
    std::string text = expect_failure(
        server.url(), trusting({{"tls.ciphers", "ECDHE-ECDSA-CHACHA20-POLY1305"}}), WSXDP_E_TLS_CIPHER, "");
    assert_true(contains(text, "cipher"));
}
TEST(version_and_cipher_are_facts) {
    TlsSide side(certs(), "good", TLS1_3_VERSION, TLS1_3_VERSION);
    Server server(echo, &side);
    Session session(server.url(), trusting({{"tls.ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"}}));
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.info("tls.version").c_str(), "TLSv1.3");
    assert_string_equal(session.info("tls.cipher").c_str(), "TLS_CHACHA20_POLY1305_SHA256");
}
TEST(alpn_is_offered_and_told) {
    TlsSide side(certs(), "good");
    side.alpn = "second";
    Server server(echo, &side);
    Session session(server.url(), trusting({{"tls.alpn", "first,second"}}));
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.info("tls.alpn").c_str(), "second");
}
TEST(alpn_is_http_1_1_by_default) {
    TlsSide side(certs(), "good");
    side.alpn = "http/1.1";
    Server server(echo, &side);
    Session session(server.url(), trusting());
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.info("tls.alpn").c_str(), "http/1.1");
}
TEST(a_key_log_is_written_for_its_owner_only) {
    std::string path = certs().path("keys.log");
    TlsSide side(certs(), "good");
    Server server(echo, &side);
    opens(server.url(), trusting());
    struct stat info;
    assert_int_equal(stat(path.c_str(), &info), -1);
    mode_t old = umask(0);
    opens(server.url(), trusting({{"tls.keylog_file", path}}));
    umask(old);
    assert_int_equal(stat(path.c_str(), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    assert_true(contains(certs().text("keys.log"), "CLIENT_TRAFFIC_SECRET_0 "));
}

// ---- wrong ports, ends, silence ----

TEST(a_plain_port_is_not_tls) {
    Server server([](Wire &wire) {
        wire.read_exactly(5);
        wire.write("HTTP/1.1 400 Bad Request\r\n\r\n");
        wire.wait_end();
    });
    expect_failure("wss://127.0.0.1:" + std::to_string(server.port), trusting(), WSXDP_E_TLS_NOT_TLS,
                   "ws://");
}
TEST(a_tls_port_is_not_http) {
    TlsSide side(certs(), "good");
    Server server(echo, &side);
    // Some send an alert, which is E_NOT_HTTP; this one just ends.
    expect_failure("ws://127.0.0.1:" + std::to_string(server.port), {}, WSXDP_E_EOF, "use wss://");
}
TEST(the_server_closes_during_the_handshake) {
    Server server([](Wire &wire) { wire.read_exactly(5); });
    expect_failure("wss://127.0.0.1:" + std::to_string(server.port), trusting(), WSXDP_E_TLS_EOF,
                   "is this a TLS port");
}
TEST(the_server_resets_during_the_handshake) {
    Server server([](Wire &wire) {
        wire.read_exactly(5);
        wire.reset();
    });
    expect_failure("wss://127.0.0.1:" + std::to_string(server.port), trusting(), WSXDP_E_TLS_EOF, "reset");
}
TEST(silence_is_the_tls_timeout) {
    Server server([](Wire &wire) { wire.wait_end(); });
    int64_t start = now_ms();
    expect_failure("wss://127.0.0.1:" + std::to_string(server.port), trusting({{"tls.timeout_ns", "120ms"}}),
                   WSXDP_E_TLS_TIMEOUT, "tls.timeout_ns");
    on_time(start, 110, 600);
}
TEST(an_alert_is_named) {
    Server server([](Wire &wire) {
        wire.read_exactly(5);
        wire.write(std::string("\x15\x03\x03\x00\x02\x02\x50", 7)); // internal_error
        wire.wait_end();
    });
    expect_failure("wss://127.0.0.1:" + std::to_string(server.port), trusting(), WSXDP_E_TLS_ALERT,
                   "internal");
}
TEST(close_notify_instead_of_an_answer) {
    TlsSide side(certs(), "good");
    Server server(
        [](Wire &wire) {
            wire.read_head();
            wire.close_notify();
            wire.end();
            wire.wait_end();
        },
        &side);
    expect_failure(server.url(), trusting(), WSXDP_E_EOF, "instead of answering");
}
TEST(a_status_inside_tls) {
    TlsSide side(certs(), "good");
    Server server(
        [](Wire &wire) {
            wire.read_head();
            wire.write("HTTP/1.1 404 Not Found\r\n\r\n");
            wire.wait_end();
        },
        &side);
    expect_failure(server.url(), trusting(), WSXDP_E_HTTP_STATUS, "404");
}

static void end_of(const Script &script, int code, uint32_t flags, int error, const char *reason = nullptr) {
    TlsSide side(certs(), "good");
    Server server(script, &side);
    Session session(server.url(), trusting({{"reconnect", "no"}}));
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "last words");
    const Seen &close = session.need(WSXDP_EVENT_CLOSE);
    if (close.error != error || close.code != code) session.print();
    assert_int_equal(close.error, error);
    assert_int_equal(close.code, code);
    assert_int_equal(close.flags & flags, flags);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), error ? 1 : 0);
    if (reason) assert_string_equal(close.data.c_str(), reason);
}

TEST(the_end_of_tcp_without_close_notify_is_truncation) {
    end_of(
        [](Wire &wire) {
            wire.upgrade();
            wire.write(frame(1, "last words"));
            wire.end();
            wire.wait_end();
        },
        1006, 0, WSXDP_E_TLS_TRUNCATED);
}
TEST(close_notify_without_a_close_is_an_end_but_no_truncation) {
    end_of(
        [](Wire &wire) {
            wire.upgrade();
            wire.write(frame(1, "last words"));
            wire.close_notify();
            wire.end();
            wire.wait_end();
        },
        1006, 0, WSXDP_E_EOF);
}
TEST(a_close_before_the_end_of_tcp_is_no_truncation) {
    end_of(
        [](Wire &wire) {
            wire.upgrade();
            wire.write(frame(1, "last words") + close_frame(1001, "going"));
            wire.end();
            wire.wait_end();
        },
        1001, WSXDP_FLAG_BY_PEER, 0, "going");
}
// The answer, a message, the close, close_notify and the end of TCP in one segment: nothing of it is lost.
TEST(everything_in_one_segment) {
    end_of(
        [](Wire &wire) {
            wire.read_head();
            wire.hold = true;
            wire.write(wire.answer());
            wire.write(frame(1, "last words") + close_frame(1001, "going"));
            wire.close_notify();
            wire.flush();
            wire.end();
            wire.wait_end();
        },
        1001, WSXDP_FLAG_BY_PEER | WSXDP_FLAG_CLEAN, 0, "going");
}
// close_notify ends one direction only (RFC 8446 section 6.1): our close still goes out and is heard.
TEST(a_close_is_answered_after_close_notify) {
    std::atomic<int> answered{0};
    end_of(
        [&](Wire &wire) {
            wire.upgrade();
            wire.hold = true;
            wire.write(frame(1, "last words") + close_frame(1001, "going"));
            wire.close_notify();
            wire.flush();
            Frame f = wire.read_frame();
            answered = f.opcode == 8 && f.payload == "\x03\xe9" ? 1 : -1;
        },
        1001, WSXDP_FLAG_BY_PEER | WSXDP_FLAG_CLEAN, 0, "going");
    assert_int_equal(answered, 1);
}
TEST(a_message_and_close_notify_with_the_answer) {
    end_of(
        [](Wire &wire) {
            wire.read_head();
            wire.hold = true;
            wire.write(wire.answer());
            wire.write(frame(1, "last words"));
            wire.close_notify();
            wire.flush();
            wire.end();
            wire.wait_end();
        },
        1006, 0, WSXDP_E_EOF);
}
TEST(a_forged_record_is_refused) {
    end_of(
        [](Wire &wire) {
            wire.upgrade();
            wire.write(frame(1, "last words"));
            wire.hold = true;
            wire.write(frame(1, "forged"));
            wire.held[wire.held.size() / 2] ^= 1;
            wire.flush();
            wire.wait_end();
        },
        1006, 0, WSXDP_E_TLS_RECORD);
}
TEST(a_forged_record_right_behind_the_answer_is_refused) {
    end_of(
        [](Wire &wire) {
            wire.read_head();
            wire.hold = true;
            wire.write(wire.answer());
            wire.write(frame(1, "last words"));
            size_t good = wire.held.size();
            wire.write(frame(1, "forged"));
            wire.held[(good + wire.held.size()) / 2] ^= 1;
            wire.flush();
            wire.wait_end();
        },
        1006, 0, WSXDP_E_TLS_RECORD);
}

// ---- resumption ----

static void resumed(int version, const OptionList &options, bool expected) {
    TlsSide side(certs(), "good", version, version);
    Server server(
        [](Wire &wire) {
            wire.upgrade();
            wire.write(frame(1, "hello"));
            if (wire.number == 0) return;
            wire.wait_end();
        },
        &side);
    Session session(server.url(), options);
    assert_false(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RESUMED);
    const Seen &again = session.need(WSXDP_EVENT_OPEN);
    assert_true(again.flags & WSXDP_FLAG_RECONNECTED);
    assert_true(again.flags & WSXDP_FLAG_TLS);
    assert_int_equal((again.flags & WSXDP_FLAG_RESUMED) != 0, expected);
    assert_string_equal(session.info("tls.resumed").c_str(), expected ? "yes" : "no");
}
TEST(a_reconnect_resumes_in_tls_1_2) { resumed(TLS1_2_VERSION, trusting(), true); }
TEST(a_reconnect_resumes_in_tls_1_3) { resumed(TLS1_3_VERSION, trusting(), true); }
TEST(without_resumption_nothing_is_kept) {
    resumed(TLS1_2_VERSION, trusting({{"tls.resumption", "no"}}), false);
    resumed(TLS1_3_VERSION, trusting({{"tls.resumption", "no"}}), false);
}
TEST(a_second_connection_of_the_handle_resumes) {
    TlsSide side(certs(), "good");
    Server server(echo, &side);
    Session session(server.url(), trusting());
    session.need(WSXDP_EVENT_OPEN);
    session.send("x");
    session.need(WSXDP_EVENT_MESSAGE);
    uint32_t id = 0;
    assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), nullptr, &id), 0);
    assert_true(session.need(WSXDP_EVENT_OPEN, 3000, id).flags & WSXDP_FLAG_RESUMED);
}

// ---- streams ----

static std::string pattern(size_t size, unsigned seed) {
    std::string out(size, 0);
    for (char &c : out) c = static_cast<char>((seed = seed * 1103515245 + 12345) >> 16);
    return out;
}

static void byte_by_byte(int version) {
    TlsSide side(certs(), "good", version, version);
    Server server(
        [](Wire &wire) {
            wire.drip = true;
            echo(wire);
        },
        &side);
    Session session(server.url(), trusting());
    session.need(WSXDP_EVENT_OPEN);
    for (unsigned i = 0; i < 5; i++) {
        std::string data = pattern(i * 700, i);
        assert_int_equal(session.send(data, WSXDP_BINARY), 0);
        assert_true(session.need(WSXDP_EVENT_MESSAGE).data == data);
    }
}
TEST(ciphertext_byte_by_byte_in_tls_1_2) { byte_by_byte(TLS1_2_VERSION); }
TEST(ciphertext_byte_by_byte_in_tls_1_3) { byte_by_byte(TLS1_3_VERSION); }

TEST(key_updates_in_the_middle_of_a_stream) {
    TlsSide side(certs(), "good", TLS1_3_VERSION, TLS1_3_VERSION);
    Server server(
        [](Wire &wire) {
            wire.upgrade();
            for (int i = 0; i < 20; i++) {
                Frame f = wire.read_frame();
                if (f.opcode < 0) return;
                std::string bytes = frame(2, f.payload);
                wire.write(bytes.substr(0, bytes.size() / 2));
                wire.key_update();
                wire.write(bytes.substr(bytes.size() / 2));
            }
            wire.wait_end();
        },
        &side);
    Session session(server.url(), trusting());
    session.need(WSXDP_EVENT_OPEN);
    for (unsigned i = 0; i < 20; i++) {
        std::string data = pattern(i * 997, i);
        assert_int_equal(session.send(data, WSXDP_BINARY), 0);
        assert_true(session.need(WSXDP_EVENT_MESSAGE).data == data);
    }
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}

static void large_both_ways(int version) {
    TlsSide side(certs(), "good", version, version);
    Server server(echo, &side, "127.0.0.1", 0, 4096);
    Session session(server.url(), trusting({{"socket.receive_buffer_bytes", "4096"},
                                            {"socket.send_buffer_bytes", "4096"},
                                            {"outbox.bytes", "4MiB"}}));
    session.need(WSXDP_EVENT_OPEN);
    for (size_t size :
         {size_t{1}, size_t{16384}, size_t{16385}, size_t{100001}, size_t{1048577}, size_t{3000000}}) {
        std::string data = pattern(size, static_cast<unsigned>(size));
        assert_int_equal(session.send(data, WSXDP_BINARY), 0);
        const Seen &seen = session.need(WSXDP_EVENT_MESSAGE, 20000);
        assert_int_equal(seen.data.size(), size);
        assert_true(seen.data == data);
    }
}
TEST(large_messages_through_small_buffers_in_tls_1_2) { large_both_ways(TLS1_2_VERSION); }
TEST(large_messages_through_small_buffers_in_tls_1_3) { large_both_ways(TLS1_3_VERSION); }

TEST(a_key_update_before_the_answer) {
    TlsSide side(certs(), "good", TLS1_3_VERSION, TLS1_3_VERSION);
    Server server(
        [](Wire &wire) {
            wire.read_head();
            wire.key_update();
            wire.write(wire.answer().substr(0, 40));
            wire.key_update();
            wire.write(wire.answer().substr(40));
            for (Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame())
                wire.write(frame(f.opcode, f.payload));
        },
        &side);
    opens(server.url(), trusting());
}

// Connections of one handle share trust only where their options are the same.
TEST(each_connection_trusts_what_its_own_options_say) {
    TlsSide side(certs(), "self_signed");
    Server server(echo, &side);
    Session session(server.url(), {{"tls.insecure_skip_verify", "yes"}});
    session.need(WSXDP_EVENT_OPEN);
    session.send("x"); // the tickets have arrived with the answer
    session.need(WSXDP_EVENT_MESSAGE);
    OptionList strict = trusting({{"reconnect", "no"}});
    Config config(strict);
    uint32_t id = 0;
    assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), config.config, &id), 0);
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE, 3000, id).error, WSXDP_E_TLS_SELF_SIGNED);
    assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), nullptr, &id), 0);
    assert_true(session.need(WSXDP_EVENT_OPEN, 3000, id).flags & WSXDP_FLAG_RESUMED);
}
TEST(an_unusable_tls_option_is_refused_at_connect) {
    TlsSide side(certs(), "good");
    Server server(echo, &side);
    Session session(server.url(), trusting());
    session.need(WSXDP_EVENT_OPEN);
    Config config(OptionList{{"tls.ca_file", "/nonexistent"}});
    uint32_t id = 0;
    assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), config.config, &id), WSXDP_E_TLS_CA);
    session.send("still here");
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "still here");
}

TEST(steady_messages_allocate_nothing) {
    TlsSide side(certs(), "good");
    Server server(echo, &side);
    Session session(server.url(), trusting());
    session.need(WSXDP_EVENT_OPEN);
    for (int i = 0; i < 200; i++) {
        session.send(std::string(1000, 'a'));
        session.need(WSXDP_EVENT_MESSAGE);
    }
    assert_int_equal(session.stats().allocations, 0);
    assert_true(session.stats().tls_records_received >= 200);
}

TESTS("tls_connect")
