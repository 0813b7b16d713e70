// SPDX-License-Identifier: MIT
// What does not need a TLS library: the backend of TLS=none, which this test compiles in under another
// name, and SHA-1.
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#define tls_backend none_tls_backend
#define tls_versions_offered none_tls_versions_offered
#include "../../lib/tls/none.cc"
#undef tls_backend
#undef tls_versions_offered

#include <openssl/evp.h>
#include <string>

namespace wx {
const TlsBackend *tls_backend();
const char *const *tls_versions_offered();
} // namespace wx

namespace {

void test_refuses(void **) {
    const wx::TlsBackend *none = wx::none_tls_backend();
    wx::ErrorText error;
    wx::TlsContext *context = reinterpret_cast<wx::TlsContext *>(&error);
    wx::TlsSession *session = reinterpret_cast<wx::TlsSession *>(&error);
    assert_false(none->available);
    assert_string_equal(none->name, "none");
    assert_int_equal(none->context_open(wx::TlsOptions(), &context, &error), WSXDP_E_UNSUPPORTED);
    assert_null(context);
    assert_non_null(strstr(error.text, "TLS=openssl"));
    assert_int_equal(none->session_open(nullptr, wx::ByteView("h"), wx::ByteView("k"), &session, &error),
                     WSXDP_E_UNSUPPORTED);
    assert_null(session);
    uint8_t bytes[4] = {1, 2, 3, 4};
    assert_int_equal(none->handshake(nullptr, &error), WSXDP_E_UNSUPPORTED);
    assert_int_equal(none->read(nullptr, bytes, 4, &error), WSXDP_E_UNSUPPORTED);
    assert_int_equal(none->write(nullptr, bytes, 4, &error), WSXDP_E_UNSUPPORTED);
    assert_int_equal(none->close_notify(nullptr), WSXDP_E_UNSUPPORTED);
    wx::TlsFacts facts;
    facts.resumed = true;
    none->facts(nullptr, &facts);
    assert_false(facts.resumed);
    assert_string_equal(facts.version, "");
    none->context_free(nullptr);
    none->session_free(nullptr);
    assert_null(wx::none_tls_versions_offered()[0]);
}

void test_this_build(void **) {
    const wx::TlsBackend *backend = wx::tls_backend();
    assert_true(backend->available == (strcmp(backend->name, "none") != 0));
    if (!backend->available) return;
    assert_memory_equal(backend->name, "openssl 3.", 10);
    assert_string_equal(wx::tls_versions_offered()[0], "TLSv1.2");
    assert_string_equal(wx::tls_versions_offered()[1], "TLSv1.3");
    assert_null(wx::tls_versions_offered()[2]);
    backend->context_free(nullptr);
    backend->session_free(nullptr);
}

// Every length around the block boundaries, against OpenSSL's.
void test_sha1(void **) {
    std::string text;
    for (unsigned size = 0; size < 300; size++) {
        uint8_t ours[20], theirs[20];
        for (const wx::TlsBackend *backend : {wx::none_tls_backend(), wx::tls_backend()}) {
            assert_int_equal(backend->sha1(wx::ByteView(text.data(), text.size()), ours), 0);
            EVP_Digest(text.data(), text.size(), theirs, nullptr, EVP_sha1(), nullptr);
            assert_memory_equal(ours, theirs, 20);
        }
        text += static_cast<char>(size * 37 + 11);
    }
    uint8_t out[20];
    wx::sha1_digest(wx::ByteView("abc"), out); // FIPS 180-4's example
    assert_memory_equal(
        out, "\xa9\x99\x3e\x36\x47\x06\x81\x6a\xba\x3e\x25\x71\x78\x50\xc2\x6c\x9c\xd0\xd8\x9d", 20);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_this_build),
        cmocka_unit_test(test_sha1),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
