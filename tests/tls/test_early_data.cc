// SPDX-License-Identifier: MIT
// 0-RTT through a session: what is written before the handshake arrives with it when the server takes it, is
// said to be rejected when it does not, and is not written at all without a fresh ticket that allows as much.
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#include "peer.h"

namespace {

const std::string request = "GET / HTTP/1.1\r\n\r\n";

std::string early_text(const Client &client) {
    wx::TlsFacts facts;
    client.backend->facts(client.session, &facts);
    return facts.early;
}

int write_early(Client *client, const std::string &text) {
    return static_cast<int>(client->with([&] {
        return client->backend->early(client->session, reinterpret_cast<const uint8_t *>(text.data()),
                                      text.size(), &client->error);
    }));
}

// As join() in peer.h, by a server that reads early data first. Returns what it read of it.
std::string join_early(Client *client, Peer *peer) {
    std::string got, from_peer;
    bool early_over = false;
    for (int turn = 0; turn < 100; turn++) {
        client->pending += from_peer;
        int result = client->handshake();
        peer->give(client->take());
        char part[20000];
        size_t count = 0;
        while (!early_over) {
            int status = SSL_read_early_data(peer->ssl, part, sizeof part, &count);
            if (status == SSL_READ_EARLY_DATA_ERROR) break;
            got.append(part, count);
            early_over = status == SSL_READ_EARLY_DATA_FINISH;
        }
        ERR_clear_error();
        if (early_over) peer->step();
        from_peer = peer->take();
        if (result == 1) {
            client->pending += from_peer;
            return got;
        }
        if (result < 0) fail_msg("%s", client->error.text);
    }
    fail_msg("the handshake does not end");
    return got;
}

struct Fixture {
    Context context{ClientOptions()};
    Peer peer;
    explicit Fixture(uint32_t early_max = 16384, const PeerOptions &options = PeerOptions()) : peer(options) {
        allow(early_max);
    }
    void allow(uint32_t early_max) { SSL_CTX_set_max_early_data(peer.context, early_max); }
    // A first connection, for its tickets.
    void get_ticket() {
        Client first(context.context, "localhost");
        assert_int_equal(write_early(&first, request), 0); // there is no ticket yet
        assert_int_equal(join(first, peer), 1);
        std::string none;
        assert_int_equal(first.read_all(&none), 0);
        assert_string_equal(early_text(first).c_str(), "no");
        // An orderly end: OpenSSL forgets the session of a connection that was cut, and its early data with
        // it.
        SSL_set_shutdown(peer.ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    // Both ways, so that the keys after early data are right on both sides.
    void talk(Client *client) {
        for (int i = 0; i < 3; i++) {
            assert_int_equal(client->write("after"), 5);
            peer.give(client->take());
            assert_string_equal(peer.read().c_str(), "after");
            peer.write("answer");
            client->pending += peer.take();
            std::string got;
            assert_int_equal(client->read_all(&got), 0);
            assert_string_equal(got.c_str(), "answer");
        }
    }
};

void test_accepted(void **) {
    for (const char *suite :
         {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
        PeerOptions options;
        options.ciphersuites = suite;
        Fixture f(16384, options);
        f.get_ticket();
        Client client(f.context.context, "localhost");
        assert_int_equal(write_early(&client, request), 1);
        assert_true(client.sent.find(request) == std::string::npos); // encrypted
        f.peer.begin();
        assert_string_equal(join_early(&client, &f.peer).c_str(), request.c_str());
        assert_string_equal(early_text(client).c_str(), "accepted");
        f.talk(&client);
    }
}

void test_accepted_largest(void **) {
    Fixture f(16384);
    f.get_ticket();
    Client client(f.context.context, "localhost");
    const std::string large(16384, 'l');
    assert_int_equal(write_early(&client, large + "x"), 0); // more than the ticket allows
    assert_int_equal(write_early(&client, large), 1);
    f.peer.begin();
    assert_true(join_early(&client, &f.peer) == large);
    f.talk(&client);
}

void test_rejected(void **) {
    Fixture f;
    f.get_ticket();
    f.allow(0); // the tickets said otherwise
    Client client(f.context.context, "localhost");
    assert_int_equal(write_early(&client, request), 1);
    f.peer.begin();
    assert_string_equal(join_early(&client, &f.peer).c_str(), "");
    assert_string_equal(early_text(client).c_str(), "rejected");
    f.talk(&client);
}

void test_rejected_by_a_server_that_forgot(void **) {
    Fixture f;
    f.get_ticket();
    Peer other; // other ticket keys: a full handshake
    Client client(f.context.context, "localhost");
    assert_int_equal(write_early(&client, request), 1);
    assert_int_equal(join(client, other), 1);
    assert_string_equal(early_text(client).c_str(), "rejected");
    assert_int_equal(client.write(request), request.size());
    other.give(client.take());
    assert_string_equal(other.read().c_str(), request.c_str());
}

void test_not_possible(void **) {
    {
        Fixture f(0);
        f.get_ticket();
        Client client(f.context.context, "localhost");
        assert_int_equal(write_early(&client, request), 0);
        assert_true(client.sent.empty());
    }
    {
        PeerOptions options;
        options.version_max = TLS1_2_VERSION;
        Fixture f(16384, options);
        f.get_ticket();
        Client client(f.context.context, "localhost");
        assert_int_equal(write_early(&client, request), 0);
    }
    Fixture f(17);
    f.get_ticket();
    Client client(f.context.context, "localhost");
    assert_int_equal(request.size(), 18);
    assert_int_equal(write_early(&client, request), 0); // one byte too many
    client.room = 1000;
    assert_int_equal(write_early(&client, "fits"), 0); // but the first flight may not
    client.room = 40000;
    assert_int_equal(write_early(&client, "fits"), 1);
    f.peer.begin();
    assert_string_equal(join_early(&client, &f.peer).c_str(), "fits");
}

// A ticket serves once (RFC 8446 appendix C.4), and so does the early data it allows. A server gives two.
void test_each_ticket_once(void **) {
    Fixture f;
    f.get_ticket();
    Client one(f.context.context, "localhost"), two(f.context.context, "localhost");
    assert_int_equal(write_early(&one, request), 1);
    assert_int_equal(write_early(&two, request), 0);
}

} // namespace

int main() {
    if (!wx::tls_backend()->available) return 0;
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),     cmocka_unit_test(test_accepted_largest),
        cmocka_unit_test(test_rejected),     cmocka_unit_test(test_rejected_by_a_server_that_forgot),
        cmocka_unit_test(test_not_possible), cmocka_unit_test(test_each_ticket_once),
    };
    return cmocka_run_group_tests_name("tls: early data", tests, nullptr, nullptr);
}
