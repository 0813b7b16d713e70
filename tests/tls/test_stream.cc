// SPDX-License-Identifier: MIT
// Bytes through a session: every split of the ciphertext, small rooms, large data both ways, KeyUpdate,
// damage, truncation, the end, and input that is no TLS at all.
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#include "peer.h"

namespace {

constexpr int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

std::string noise(size_t size, uint32_t seed) {
    std::string bytes(size, '\0');
    for (char &byte : bytes) byte = static_cast<char>(next_random(&seed));
    return bytes;
}

PeerOptions only(int version) {
    PeerOptions options;
    options.version_min = options.version_max = version;
    return options;
}

// A pair that has shaken hands and read the tickets.
struct Pair {
    Context context;
    Peer peer;
    Client client;
    explicit Pair(int version, const wx::TlsOptions &options = ClientOptions())
        : Pair(only(version), options) {}
    explicit Pair(const PeerOptions &server, const wx::TlsOptions &options = ClientOptions())
        : context(options), peer(server), client(context.context, "localhost") {
        assert_int_equal(join(client, peer), 1);
        std::string none;
        assert_int_equal(client.read_all(&none), 0);
        assert_true(none.empty());
        assert_true(client.pending.empty());
    }
};

void test_handshake_at_every_portion(void **) {
    for (int version : versions) {
        for (size_t portion = 1; portion < 40; portion++) {
            Context context((ClientOptions()));
            Peer peer(only(version));
            Client client(context.context, "localhost");
            client.room = portion;
            assert_int_equal(join(client, peer, portion), 1);
            client.room = 40000;
            assert_int_equal(client.write("ping"), 4);
            peer.give(client.take());
            assert_string_equal(peer.read().c_str(), "ping");
        }
    }
}

void test_every_split(void **) {
    for (int version : versions) {
        Pair pair(version);
        const std::string want = noise(100, 1) + noise(1, 2) + noise(90, 3);
        for (size_t split = 0; split < 300; split++) {
            pair.peer.write(want.substr(0, 100));
            pair.peer.write(want.substr(100, 1));
            pair.peer.write(want.substr(101));
            std::string cipher = pair.peer.take();
            if (split > cipher.size()) break;
            std::string got;
            pair.client.pending = cipher.substr(0, split);
            assert_true(pair.client.read(&got) >= 0);
            assert_true(pair.client.pending.empty());
            pair.client.pending = cipher.substr(split);
            assert_true(pair.client.read(&got) >= 0);
            assert_true(pair.client.pending.empty());
            assert_true(got == want);
        }
        assert_int_equal(pair.client.session->records_in % 3, 0);
    }
}

void test_byte_by_byte(void **) {
    Pair pair(TLS1_3_VERSION);
    std::string want = noise(3000, 4);
    pair.peer.write(want);
    std::string got;
    for (char byte : pair.peer.take()) {
        pair.client.pending = byte;
        assert_true(pair.client.read(&got) >= 0);
    }
    assert_true(got == want);
    assert_int_equal(pair.client.session->records_in, 1);
}

void test_small_out(void **) {
    for (int version : versions) {
        for (size_t cap :
             {size_t(1), size_t(2), size_t(7), size_t(99), size_t(100), size_t(101), size_t(16384)}) {
            Pair pair(version);
            std::string want;
            for (uint32_t i = 0; i < 10; i++) {
                std::string part = noise(100, i);
                pair.peer.write(part);
                want += part;
            }
            pair.client.pending = pair.peer.take();
            std::string got;
            assert_int_equal(pair.client.read_all(&got, cap), 0);
            assert_true(got == want);
            assert_true(pair.client.pending.empty());
            assert_false(pair.client.session->more);
            assert_int_equal(pair.client.session->records_in, 10);
        }
    }
}

// Every cipher that records are opened and sealed for by us, and one without AEAD that OpenSSL does.
struct Suite {
    int version;
    const char *name;
};
constexpr Suite suites[] = {
    {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-GCM-SHA256"}, {TLS1_2_VERSION, "ECDHE-ECDSA-AES256-GCM-SHA384"},
    {TLS1_2_VERSION, "ECDHE-ECDSA-CHACHA20-POLY1305"}, {TLS1_2_VERSION, "ECDHE-ECDSA-AES128-SHA"},
    {TLS1_3_VERSION, "TLS_AES_128_GCM_SHA256"},        {TLS1_3_VERSION, "TLS_AES_256_GCM_SHA384"},
    {TLS1_3_VERSION, "TLS_CHACHA20_POLY1305_SHA256"},
};

void test_large_both_ways(void **) {
    for (const Suite &suite : suites) {
        PeerOptions server = only(suite.version);
        (suite.version == TLS1_2_VERSION ? server.ciphers : server.ciphersuites) = suite.name;
        ClientOptions options;
        options.ciphers = "ALL";
        Pair pair(server, options);
        wx::TlsFacts facts;
        pair.client.backend->facts(pair.client.session, &facts);
        assert_string_equal(facts.cipher, suite.name);
        uint32_t seed = 77;
        const std::string down = noise(2 << 20, 5);
        const std::string up = noise(2 << 20, 6);
        std::string got_down, got_up, wire;
        pair.peer.write(down);
        wire = pair.peer.take();
        size_t at = 0;
        while (at < up.size() || !wire.empty() || !pair.client.pending.empty()) {
            size_t count = next_random(&seed) % 70000;
            pair.client.pending += wire.substr(0, count);
            wire.erase(0, count);
            assert_true(pair.client.read(&got_down, 1 + next_random(&seed) % 50000) >= 0);
            pair.client.room = next_random(&seed) % 60000;
            int64_t taken = pair.client.write(up.substr(at, next_random(&seed) % 60000));
            assert_true(taken >= 0);
            at += static_cast<size_t>(taken);
            pair.peer.give(pair.client.take());
            got_up += pair.peer.read();
        }
        assert_int_equal(pair.client.read_all(&got_down), 0);
        assert_true(got_down == down);
        assert_true(got_up == up);
    }
}

// ---- output room ----

void test_write_room(void **) {
    for (int version : versions) {
        Pair pair(version);
        pair.client.room = 99 + wx::tls_record_overhead;
        assert_int_equal(pair.client.write(noise(100, 1)), 0);
        assert_true(pair.client.sent.empty());
        pair.client.room = 100 + wx::tls_record_overhead;
        assert_int_equal(pair.client.write(noise(100, 1)), 100);
        // Room for one full record and not for the second.
        pair.client.room = wx::tls_record_plain_max + wx::tls_record_overhead + 100;
        assert_int_equal(pair.client.write(noise(20000, 2)), wx::tls_record_plain_max);
        pair.client.room = 0;
        assert_int_equal(pair.client.write("x"), 0);
        pair.client.room = 40000;
        assert_int_equal(pair.client.write(noise(20000, 2).substr(wx::tls_record_plain_max)),
                         20000 - wx::tls_record_plain_max);
        pair.peer.give(pair.client.take());
        assert_true(pair.peer.read() == noise(100, 1) + noise(20000, 2));
        assert_int_equal(pair.client.session->records_out, 3);
        assert_int_equal(pair.client.write(""), 0);
        assert_true(pair.client.sent.empty());
    }
}

void test_record_size(void **) {
    ClientOptions options;
    options.record_bytes = 1000;
    Pair pair(TLS1_3_VERSION, options);
    assert_int_equal(pair.client.write(noise(2500, 9)), 2500);
    assert_int_equal(pair.client.session->records_out, 3);
    std::string wire = pair.client.take();
    assert_int_equal(wx::load_be16(reinterpret_cast<const uint8_t *>(wire.data()) + 3), 1000 + 17);
    pair.peer.give(wire);
    assert_true(pair.peer.read() == noise(2500, 9));
}

void test_not_open_yet(void **) {
    Context context((ClientOptions()));
    Client client(context.context, "localhost");
    assert_int_equal(client.write("early"), WSXDP_E_STATE);
    assert_true(client.sent.empty());
}

// ---- KeyUpdate ----

void exchange(Pair *pair, uint32_t seed) {
    std::string down = noise(500, seed), up = noise(700, seed + 1), got;
    pair->peer.write(down);
    pair->client.pending += pair->peer.take();
    assert_int_equal(pair->client.read_all(&got), 0);
    assert_true(got == down);
    assert_int_equal(pair->client.write(up), 700);
    pair->peer.give(pair->client.take());
    assert_true(pair->peer.read() == up);
}

void test_key_update_from_server(void **) {
    for (int reply : {SSL_KEY_UPDATE_NOT_REQUESTED, SSL_KEY_UPDATE_REQUESTED}) {
        Pair pair(TLS1_3_VERSION);
        exchange(&pair, 1);
        for (uint32_t i = 0; i < 5; i++) {
            assert_int_equal(SSL_key_update(pair.peer.ssl, reply), 1);
            pair.peer.write("between");
            SSL_key_update(pair.peer.ssl, reply);
            std::string got;
            pair.client.pending += pair.peer.take();
            assert_int_equal(pair.client.read_all(&got), 0);
            assert_string_equal(got.c_str(), "between");
            exchange(&pair, i);
        }
    }
}

// A reply that is due must not make a write fail or tear when room is exactly what the contract asks.
void test_key_update_reply_with_little_room(void **) {
    Pair pair(TLS1_3_VERSION);
    SSL_key_update(pair.peer.ssl, SSL_KEY_UPDATE_REQUESTED);
    pair.peer.write("x");
    pair.client.pending += pair.peer.take();
    std::string got;
    pair.client.room = 0;
    assert_int_equal(pair.client.read_all(&got), 0);
    assert_int_equal(pair.client.write("hello"), 0);
    pair.client.room = 5 + wx::tls_record_overhead;
    assert_int_equal(pair.client.write("hello"), 5);
    assert_int_equal(pair.client.session->output_kept, 0);
    pair.peer.give(pair.client.take());
    assert_string_equal(pair.peer.read().c_str(), "hello");
    pair.client.room = 40000;
    exchange(&pair, 9);
}

int key_updates_seen;
void on_message(int write, int, int type, const void *bytes, size_t size, SSL *, void *) {
    if (!write && type == SSL3_RT_HANDSHAKE && size &&
        *static_cast<const uint8_t *>(bytes) == SSL3_MT_KEY_UPDATE) {
        key_updates_seen++;
    }
}

void test_own_rekey(void **) {
    for (int version : versions) {
        Pair pair(version);
        key_updates_seen = 0;
        SSL_set_msg_callback(pair.peer.ssl, on_message);
        pair.client.session->rekey_records = 10;
        std::string sent, got;
        for (uint32_t i = 0; i < 55; i++) {
            std::string part = noise(50, i);
            assert_int_equal(pair.client.write(part), 50);
            sent += part;
        }
        pair.peer.give(pair.client.take());
        assert_true(pair.peer.read() == sent);
        assert_int_equal(key_updates_seen, version == TLS1_3_VERSION ? 5 : 0);
        exchange(&pair, 3);
    }
}

// ---- damage and the end ----

void test_damaged_record(void **) {
    for (int version : versions) {
        for (size_t at = 0; at < 150; at++) {
            Pair pair(version);
            pair.peer.write("first");
            std::string whole = pair.peer.take();
            pair.peer.write(noise(90, 1));
            std::string damaged = pair.peer.take();
            if (at >= damaged.size()) break;
            damaged[at] = static_cast<char>(damaged[at] ^ 0x41);
            pair.client.pending = whole + damaged + std::string(70000, 'x'); // more follows, as on a wire
            std::string got;
            int64_t last = pair.client.read_all(&got);
            // What came whole before is delivered; nothing of the damaged record is.
            assert_string_equal(got.c_str(), "first");
            if (last != WSXDP_E_TLS_RECORD) print_error("byte %zu: %s\n", at, pair.client.error.text);
            assert_int_equal(last, WSXDP_E_TLS_RECORD);
            assert_non_null(strstr(pair.client.error.text, "TLS with localhost: "));
            // It stays failed, says the same, and has told the peer.
            assert_int_equal(pair.client.read(&got), WSXDP_E_TLS_RECORD);
            assert_int_equal(pair.client.write("more"), WSXDP_E_TLS_RECORD);
            assert_false(pair.client.sent.empty());
            std::string alert = pair.client.take();
            assert_int_equal(
                pair.client.with([&] { return pair.client.backend->close_notify(pair.client.session); }), 0);
            assert_true(pair.client.sent.empty());
        }
    }
}

void test_replayed_and_dropped_record(void **) {
    for (int version : versions) {
        Pair pair(version);
        pair.peer.write("once");
        std::string record = pair.peer.take(), got;
        pair.client.pending = record + record;
        assert_int_equal(pair.client.read_all(&got), WSXDP_E_TLS_RECORD);
        assert_string_equal(got.c_str(), "once");
        Pair other(version);
        other.peer.write("lost");
        other.peer.take();
        other.peer.write("next");
        other.client.pending = other.peer.take();
        got.clear();
        assert_int_equal(other.client.read_all(&got), WSXDP_E_TLS_RECORD);
        assert_true(got.empty());
    }
}

void test_close_from_server(void **) {
    for (int version : versions) {
        Pair pair(version);
        // Errors of the host's own in this thread's queue must not be taken for ours.
        ERR_raise(ERR_LIB_SSL, SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC);
        pair.peer.write("last words");
        SSL_shutdown(pair.peer.ssl);
        pair.client.pending = pair.peer.take();
        std::string got;
        assert_int_equal(pair.client.read(&got), 10);
        assert_true(pair.client.session->more);
        assert_int_equal(pair.client.read(&got), WSXDP_E_CLOSED);
        assert_int_equal(pair.client.read(&got), WSXDP_E_CLOSED);
        assert_string_equal(got.c_str(), "last words");
        assert_int_equal(
            pair.client.with([&] { return pair.client.backend->close_notify(pair.client.session); }), 0);
        pair.peer.give(pair.client.take());
        assert_int_equal(SSL_shutdown(pair.peer.ssl), 1);
    }
}

void test_truncated_is_not_closed(void **) {
    for (int version : versions) {
        Pair pair(version);
        pair.peer.write("some");
        pair.peer.write("cut off");
        std::string wire = pair.peer.take(), got;
        pair.client.pending = wire.substr(0, wire.size() - 3);
        assert_int_equal(pair.client.read(&got), 4);
        for (int i = 0; i < 3; i++) assert_int_equal(pair.client.read(&got), 0); // never E_CLOSED
        assert_string_equal(got.c_str(), "some");
    }
}

void test_close_from_client(void **) {
    for (int version : versions) {
        for (size_t room : {size_t(0), size_t(1), size_t(10), size_t(1000)}) {
            Pair pair(version);
            pair.client.room = room;
            int kept = 1;
            for (int calls = 0; kept == 1 && calls < 100; calls++) {
                kept = static_cast<int>(
                    pair.client.with([&] { return pair.client.backend->close_notify(pair.client.session); }));
                if (room == 0) pair.client.room = 1;
            }
            assert_int_equal(kept, 0);
            pair.peer.give(pair.client.take());
            assert_true(pair.peer.read().empty());
            assert_int_equal(SSL_get_shutdown(pair.peer.ssl), SSL_RECEIVED_SHUTDOWN);
            assert_int_equal(pair.client.write("too late"), WSXDP_E_STATE);
        }
    }
}

void test_fatal_alert(void **) {
    for (int version : versions) {
        Pair pair(version);
        std::string got;
        pair.client.write("damaged below");
        std::string wire = pair.client.take();
        wire.back() = static_cast<char>(wire.back() ^ 1);
        pair.peer.give(wire);
        pair.peer.read();
        pair.client.pending = pair.peer.take();
        assert_int_equal(pair.client.read_all(&got), WSXDP_E_TLS_ALERT);
        assert_non_null(strstr(pair.client.error.text, "bad record mac"));
        assert_non_null(strstr(pair.client.error.text, "(20)"));
    }
}

// TLS 1.3 padding is taken off; a flood of records without data ends the session.
size_t pad_to_100(SSL *, int type, size_t size, void *) {
    return type == SSL3_RT_APPLICATION_DATA && size < 100 ? 100 - size : 0;
}

void test_padding(void **) {
    Pair pair(TLS1_3_VERSION);
    SSL_set_record_padding_callback(pair.peer.ssl, pad_to_100);
    pair.peer.write("padded");
    pair.peer.write("twice");
    pair.client.pending = pair.peer.take();
    assert_int_equal(pair.client.pending.size(), 2 * (5 + 100 + 16));
    std::string got;
    assert_int_equal(pair.client.read_all(&got), 0);
    assert_string_equal(got.c_str(), "paddedtwice");
}

void test_flood_of_key_updates(void **) {
    Pair pair(TLS1_3_VERSION);
    std::string got;
    int64_t last = 0;
    int count = 0;
    pair.peer.write("data");
    for (; last == 0 && count < 1000; count++) {
        SSL_key_update(pair.peer.ssl, SSL_KEY_UPDATE_NOT_REQUESTED);
        SSL_do_handshake(pair.peer.ssl);
        pair.client.pending += pair.peer.take();
        last = pair.client.read_all(&got);
    }
    assert_int_equal(last, WSXDP_E_TLS_RECORD);
    assert_true(count > 32 && count < 100);
    assert_string_equal(got.c_str(), "data");
}

// Tickets that come after the first data are passed over and disturb nothing.
void test_late_ticket(void **) {
    Pair pair(TLS1_3_VERSION);
    exchange(&pair, 1);
    for (int i = 0; i < 3; i++) {
        SSL_new_session_ticket(pair.peer.ssl);
        SSL_do_handshake(pair.peer.ssl);
        exchange(&pair, 5);
    }
}

void test_renegotiation_refused(void **) {
    Pair pair(TLS1_2_VERSION);
    SSL_renegotiate(pair.peer.ssl);
    SSL_do_handshake(pair.peer.ssl);
    pair.client.pending = pair.peer.take();
    assert_false(pair.client.pending.empty());
    std::string got;
    assert_int_equal(pair.client.read_all(&got), 0);
    // What was sent is an alert (no_renegotiation) and no hello.
    assert_int_equal(pair.client.sent[0], 21);
}

// ---- no TLS ----

int answer(const std::string &bytes, wx::ErrorText *error, size_t portion = 1 << 20) {
    Context context((ClientOptions()));
    Client client(context.context, "localhost");
    assert_int_equal(client.handshake(), 0);
    int result = 0;
    for (size_t at = 0; at < bytes.size() && result == 0; at += portion) {
        client.pending += bytes.substr(at, portion);
        result = client.handshake();
    }
    *error = client.error;
    if (result < 0) assert_int_equal(client.handshake(), result);
    return result;
}

void test_plain_http(void **) {
    wx::ErrorText error;
    const char *http = "HTTP/1.1 400 Bad Request\r\n\r\n";
    assert_int_equal(answer(http, &error), WSXDP_E_TLS_NOT_TLS);
    assert_non_null(strstr(error.text, "HTTP/1.1 400 Bad Request"));
    assert_non_null(strstr(error.text, "ws://"));
    assert_int_equal(answer(http, &error, 1), WSXDP_E_TLS_NOT_TLS);
    assert_int_equal(answer("SSH-2.0-OpenSSH_9.2\r\n", &error), WSXDP_E_TLS_NOT_TLS);
    assert_non_null(strstr(error.text, "Check the port"));
    assert_int_equal(answer(std::string("\x16 is not enough to be TLS"), &error), WSXDP_E_TLS_NOT_TLS);
}

void test_garbage(void **) {
    uint32_t seed = 1234;
    wx::ErrorText error;
    for (uint32_t i = 0; i < 300; i++) {
        std::string bytes = noise(1 + next_random(&seed) % 300, i);
        if (i & 1) bytes[0] = 22;
        if (i & 2 && bytes.size() > 2) bytes.replace(0, 3, "\x16\x03\x03");
        int result = answer(bytes, &error);
        assert_true(result == 0 || (result <= WSXDP_E_TLS_SETUP && result > -700));
        if (result == 0)
            assert_true(bytes.size() < 5 || bytes[0] == 22);
        else
            assert_true(error.size > 20 && error.text[error.size - 1] == '.');
    }
}

// Each byte of the server's first flight damaged: an error with a sentence, never a success.
void test_damaged_handshake(void **) {
    for (int version : versions) {
        size_t size = 1;
        for (size_t at = 0; at < size; at += version == TLS1_2_VERSION ? 7 : 11) {
            Context context((ClientOptions()));
            Peer peer(only(version));
            Client client(context.context, "localhost");
            peer.begin();
            assert_int_equal(client.handshake(), 0);
            peer.give(client.take());
            peer.step();
            client.pending = peer.take();
            size = client.pending.size(); // differs a little each time: so do signatures
            if (at >= size) break;
            client.pending[at] = static_cast<char>(client.pending[at] ^ 0x21);
            int result = client.handshake();
            for (int turn = 0; turn < 5 && result == 0; turn++) {
                peer.give(client.take());
                peer.step();
                client.pending += peer.take();
                result = client.handshake();
            }
            assert_int_not_equal(result, 1);
            if (result < 0) assert_true(client.error.code == result && client.error.size > 20);
        }
    }
}

} // namespace

int main() {
    if (!wx::tls_backend()->available) return 0;
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_handshake_at_every_portion),
        cmocka_unit_test(test_every_split),
        cmocka_unit_test(test_byte_by_byte),
        cmocka_unit_test(test_small_out),
        cmocka_unit_test(test_large_both_ways),
        cmocka_unit_test(test_write_room),
        cmocka_unit_test(test_record_size),
        cmocka_unit_test(test_not_open_yet),
        cmocka_unit_test(test_key_update_from_server),
        cmocka_unit_test(test_key_update_reply_with_little_room),
        cmocka_unit_test(test_own_rekey),
        cmocka_unit_test(test_damaged_record),
        cmocka_unit_test(test_replayed_and_dropped_record),
        cmocka_unit_test(test_close_from_server),
        cmocka_unit_test(test_truncated_is_not_closed),
        cmocka_unit_test(test_close_from_client),
        cmocka_unit_test(test_fatal_alert),
        cmocka_unit_test(test_padding),
        cmocka_unit_test(test_flood_of_key_updates),
        cmocka_unit_test(test_late_ticket),
        cmocka_unit_test(test_renegotiation_refused),
        cmocka_unit_test(test_plain_http),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_damaged_handshake),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
