// SPDX-License-Identifier: MIT
// Resumption: tickets are kept per host, TLS 1.3 ones used once, never for another name, bounded in
// number, and given up when they lead to a failure.
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

PeerOptions only(int version) {
    PeerOptions options;
    options.version_min = options.version_max = version;
    return options;
}

struct Visit {
    int status = 0;
    bool resumed = false;
};

// One connection; tickets are read when `receive` says so.
Visit visit(Context &context, Peer &peer, const char *host, const char *key, bool receive = true) {
    Visit result;
    Client client(context.context, host, key);
    result.status = join(client, peer);
    if (result.status != 1) return result;
    wx::TlsFacts facts;
    client.backend->facts(client.session, &facts);
    result.resumed = facts.resumed;
    assert_int_equal(SSL_session_reused(peer.ssl), facts.resumed);
    std::string got;
    if (receive) {
        peer.write("data");
        client.pending += peer.take();
        assert_int_equal(client.read_all(&got), 0);
        assert_string_equal(got.c_str(), "data");
    }
    return result;
}

void test_resumes(void **) {
    for (int version : versions) {
        Context context((ClientOptions()));
        Peer peer(only(version));
        assert_false(visit(context, peer, "localhost", "localhost:443").resumed);
        for (int i = 0; i < 4; i++) assert_true(visit(context, peer, "localhost", "localhost:443").resumed);
    }
}

void test_single_use(void **) {
    Context context((ClientOptions()));
    Peer peer(only(TLS1_3_VERSION));
    visit(context, peer, "localhost", "k");
    // The second takes the ticket and reads no new one; the third has none.
    assert_true(visit(context, peer, "localhost", "k", false).resumed);
    assert_false(visit(context, peer, "localhost", "k", false).resumed);
}

void test_not_for_another(void **) {
    for (int version : versions) {
        Context context((ClientOptions()));
        Peer peer(only(version));
        visit(context, peer, "localhost", "localhost:443");
        assert_false(visit(context, peer, "localhost", "localhost:444", false).resumed);
        // The same key for another name, by the caller's mistake, shares nothing.
        assert_false(visit(context, peer, "good.test", "localhost:443", false).resumed);
        assert_int_equal(visit(context, peer, "elsewhere.test", "localhost:443", false).status,
                         WSXDP_E_TLS_HOSTNAME);
        assert_true(visit(context, peer, "localhost", "localhost:443").resumed);
        assert_false(visit(context, peer, "localhost", "", true).resumed); // no key, no ticket
        assert_false(visit(context, peer, "localhost", "", true).resumed);
        Context other((ClientOptions()));
        assert_false(visit(other, peer, "localhost", "localhost:443").resumed);
    }
}

void test_off(void **) {
    for (int version : versions) {
        ClientOptions options;
        options.resumption = false;
        Context context(options);
        Peer peer(only(version));
        visit(context, peer, "localhost", "k");
        assert_false(visit(context, peer, "localhost", "k").resumed);
    }
}

void test_server_forgot(void **) {
    for (int version : versions) {
        Context context((ClientOptions()));
        {
            Peer peer(only(version));
            visit(context, peer, "localhost", "k");
        }
        Peer restarted(only(version)); // with other ticket keys
        Visit result = visit(context, restarted, "localhost", "k");
        assert_int_equal(result.status, 1);
        assert_false(result.resumed);
        assert_true(visit(context, restarted, "localhost", "k").resumed);
    }
}

void test_bounded(void **) {
    Context context((ClientOptions()));
    Peer peer(only(TLS1_2_VERSION));
    for (int host = 0; host < 65; host++) { // one more than is kept
        visit(context, peer, "localhost", std::to_string(host).c_str());
        // Host 1 is used all the time, so that it is never the longest unused.
        if (host > 1) assert_true(visit(context, peer, "localhost", "1").resumed);
    }
    assert_false(visit(context, peer, "localhost", "0", false).resumed);
    assert_true(visit(context, peer, "localhost", "1").resumed);
    assert_true(visit(context, peer, "localhost", "64").resumed);
}

// A resumed handshake that fails costs the ticket, so that the next attempt is a full one.
void test_failure_drops_ticket(void **) {
    Context context((ClientOptions()));
    Peer peer(only(TLS1_2_VERSION));
    visit(context, peer, "localhost", "k");
    {
        Client client(context.context, "localhost", "k");
        client.handshake();
        client.pending = std::string("\x15\x03\x03\x00\x02\x02\x28", 7); // handshake_failure
        assert_int_equal(client.handshake(), WSXDP_E_TLS_CIPHER);
    }
    assert_false(visit(context, peer, "localhost", "k").resumed);
    assert_true(visit(context, peer, "localhost", "k").resumed);
}

// An idle session that never made it leaves the ticket store alone.
void test_abandoned_handshake(void **) {
    Context context((ClientOptions()));
    Peer peer(only(TLS1_2_VERSION));
    visit(context, peer, "localhost", "k");
    {
        Client client(context.context, "localhost", "k");
        client.handshake();
    }
    assert_true(visit(context, peer, "localhost", "k").resumed);
}

void test_client_certificate_and_pins_still_count(void **) {
    ClientOptions options;
    std::string pin = certs().pin("good");
    const char *pins[] = {pin.c_str()};
    options.pins_sha256 = pins;
    options.pin_count = 1;
    for (int version : versions) {
        Context context(options);
        Peer peer(only(version));
        visit(context, peer, "localhost", "k");
        assert_true(visit(context, peer, "localhost", "k").resumed);
    }
}

} // namespace

int main() {
    if (!wx::tls_backend()->available) return 0;
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_resumes),
        cmocka_unit_test(test_single_use),
        cmocka_unit_test(test_not_for_another),
        cmocka_unit_test(test_off),
        cmocka_unit_test(test_server_forgot),
        cmocka_unit_test(test_bounded),
        cmocka_unit_test(test_failure_drops_ticket),
        cmocka_unit_test(test_abandoned_handshake),
        cmocka_unit_test(test_client_certificate_and_pins_still_count),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
