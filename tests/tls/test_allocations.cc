// SPDX-License-Identifier: MIT
// Memory: no allocation per record once the handshake is done (OpenSSL's included), open survives
// the failure of each allocation, and many sessions leave nothing behind. OpenSSL's allocations go through
// functions of this test, which count them, fail the one they are told to, and know what is still out.
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#include "../../lib/base/alloc.h"
#include "peer.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define OWN_MALLOC 0 // the sanitizer has its own
#else
#define OWN_MALLOC 1
#endif

namespace {
uint64_t requests; // malloc, calloc, realloc and their kind, of the whole program
uint64_t openssl_requests;
int64_t outstanding;  // of OpenSSL
int64_t fail_at = -1; // the OpenSSL request, counted from 0, that fails
} // namespace

#if OWN_MALLOC
extern "C" {
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);
void *malloc(size_t size) {
    requests++;
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    requests++;
    return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    requests++;
    return __libc_realloc(old, size);
}
void *memalign(size_t align, size_t size) {
    requests++;
    return __libc_memalign(align, size);
}
void *aligned_alloc(size_t align, size_t size) { return memalign(align, size); }
int posix_memalign(void **out, size_t align, size_t size) {
    *out = memalign(align, size);
    return *out ? 0 : 12;
}
}
#endif

namespace {

bool must_fail() {
    openssl_requests++;
    if (fail_at < 0) return false;
    return fail_at-- == 0;
}

void *openssl_malloc(size_t size, const char *, int) {
    if (must_fail()) return nullptr;
    outstanding++;
    return malloc(size);
}
void *openssl_realloc(void *old, size_t size, const char *, int) {
    if (must_fail()) return nullptr;
    if (!old) outstanding++;
    return realloc(old, size);
}
void openssl_free(void *memory, const char *, int) {
    if (memory) outstanding--;
    free(memory);
}

constexpr int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};

PeerOptions only(int version) {
    PeerOptions options;
    options.version_min = options.version_max = version;
    return options;
}

// The ciphertext of `count` records, made before the counting starts.
std::string records(Peer &peer, int count, size_t size) {
    std::string text(size, 'r');
    for (int i = 0; i < count; i++) peer.write(text);
    return peer.take();
}

void read_all_of(Client &client, const std::string &wire, uint8_t *plain, uint8_t *cipher, size_t expected) {
    wx::TlsSession *session = client.session;
    size_t got = 0;
    for (size_t at = 0; at < wire.size();) {
        size_t part = wire.size() - at < 20000 ? wire.size() - at : 20000;
        session->input = wx::ByteView(wire.data() + at, part);
        at += part;
        do {
            session->output = wx::ByteSpan(cipher, 40000);
            session->output_used = 0;
            int64_t result = client.backend->read(session, plain, 30000, &client.error);
            assert_true(result >= 0);
            got += static_cast<size_t>(result);
        } while (session->input.size || session->more);
    }
    assert_int_equal(got, expected);
}

void write_records(Client &client, int count, uint8_t *plain, uint8_t *cipher) {
    for (int i = 0; i < count; i++) {
        client.session->output = wx::ByteSpan(cipher, 40000);
        client.session->output_used = 0;
        assert_int_equal(client.backend->write(client.session, plain, 100, &client.error), 100);
    }
}

struct Counts {
    uint64_t all = requests;
    uint64_t openssl = openssl_requests;
    uint64_t own = wx::allocation_count();
    int64_t out = outstanding;
};

void test_steady_state(void **) {
    static uint8_t plain[30000], cipher[40000];
    for (int version : versions) {
        for (const char *suite : {"AES128-GCM", "CHACHA20"}) {
            Context context((ClientOptions()));
            PeerOptions options = only(version);
            options.ciphers = suite[0] == 'A' ? "ECDHE+AESGCM" : "ECDHE+CHACHA20";
            options.ciphersuites =
                suite[0] == 'A' ? "TLS_AES_128_GCM_SHA256" : "TLS_CHACHA20_POLY1305_SHA256";
            Peer peer(options);
            Client client(context.context, "localhost");
            assert_int_equal(join(client, peer), 1);
            std::string none;
            assert_int_equal(client.read_all(&none), 0);
            read_all_of(client, records(peer, 2, 90), plain, cipher, 180); // buffers are made at first use
            write_records(client, 2, plain, cipher);
            std::string small = records(peer, 1000, 90), large = records(peer, 50, 16384);
            Counts before;
            read_all_of(client, small, plain, cipher, 90000);
            read_all_of(client, large, plain, cipher, 50 * 16384);
            Counts read;
            assert_int_equal(read.all, before.all);
            assert_int_equal(read.openssl, before.openssl);
            assert_int_equal(read.own, before.own);
            write_records(client, 100, plain, cipher);
            Counts written;
            assert_int_equal(written.all, before.all);
            assert_int_equal(written.openssl, before.openssl);
            assert_int_equal(written.own, before.own);
#if OWN_MALLOC
            assert_true(written.all > 0);
#endif
        }
    }
}

void test_our_own_allocations_fail(void **) {
    Context good((ClientOptions()));
    wx::allocation_fail_after(0);
    Context context((ClientOptions()));
    Client client(good.context, "localhost");
    wx::allocation_fail_after(-1);
    assert_int_equal(context.status, WSXDP_E_MEMORY);
    assert_null(context.context);
    assert_true(context.error.size > 0);
    assert_int_equal(client.status, WSXDP_E_MEMORY);
    assert_null(client.session);
    assert_true(client.error.size > 0);
}

// Each request of OpenSSL in turn fails: an error or, where OpenSSL can do without, a working session.
void test_openssl_allocations_fail(void **) {
    std::string pin = certs().pin("good");
    const char *pins[] = {pin.c_str()};
    int failures = 0;
    ClientOptions options;
    options.alpn = "a";
    options.pins_sha256 = pins;
    options.pin_count = 1;
    int64_t after = 0;
    for (int64_t nth = 0; nth < 20000 && after < 3; nth++) {
        int64_t before = outstanding;
        fail_at = nth;
        {
            Context context(options);
            if (context.status == 0) {
                Client client(context.context, "localhost");
                if (client.status < 0) {
                    failures++;
                    assert_true(client.error.size > 0);
                } else if (client.handshake() < 0) {
                    failures++;
                }
            } else {
                failures++;
                assert_true(context.status == WSXDP_E_MEMORY || context.status == WSXDP_E_TLS_CA ||
                            context.status == WSXDP_E_TLS_SETUP);
                assert_null(context.context);
            }
        }
        if (fail_at >= 0) after++; // the whole run needed fewer requests than that
        fail_at = -1;
        ERR_clear_error();
        // Some of OpenSSL's caches may grow for good, but not by a session or a context.
        if (outstanding > before + 200)
            print_error("request %ld: %ld left\n", long(nth), long(outstanding - before));
        assert_true(outstanding <= before + 200);
    }
    assert_int_equal(after, 3);
    assert_true(failures > 50);
    Context context(options);
    Peer peer;
    Client client(context.context, "localhost");
    assert_int_equal(join(client, peer), 1);
}

void one_visit(Context &context, Peer &peer, int i) {
    Client client(context.context, i % 5 ? "localhost" : "elsewhere.test");
    int result = join(client, peer);
    assert_int_equal(result, i % 5 ? 1 : WSXDP_E_TLS_HOSTNAME);
    if (result != 1) return;
    std::string got;
    peer.write("data");
    if (i % 3 == 0) SSL_shutdown(peer.ssl);
    client.pending += peer.take();
    client.read_all(&got);
    assert_string_equal(got.c_str(), "data");
    if (i % 2) client.with([&] { return client.backend->close_notify(client.session); });
}

void test_no_leak(void **) {
    for (int version : versions) {
        Context context((ClientOptions()));
        Peer peer(only(version));
        // No tickets pile up on the server's side: what is counted is the client's.
        SSL_CTX_set_session_cache_mode(peer.context, SSL_SESS_CACHE_OFF);
        int64_t base = 0;
        for (int i = 1; i <= 150; i++) {
            one_visit(context, peer, i);
            if (i == 30) base = outstanding;
        }
        assert_int_equal(outstanding, base);
    }
    int64_t base = 0;
    for (int i = 0; i < 20; i++) {
        {
            Context context((ClientOptions()));
            Peer peer;
            one_visit(context, peer, 1);
        }
        if (i == 5) base = outstanding;
    }
    assert_int_equal(outstanding, base);
}

} // namespace

int main() {
    if (!wx::tls_backend()->available) return 0;
    if (CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free) != 1) return 1;
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_steady_state),
        cmocka_unit_test(test_our_own_allocations_fail),
        cmocka_unit_test(test_no_leak),
        cmocka_unit_test(test_openssl_allocations_fail),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
