// SPDX-License-Identifier: MIT
// Who is let in and who is not: every kind of certificate, client certificates, pins, versions, ciphers,
// names, options; for each refusal its own code and a sentence that says the host and what to do.
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#include "peer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

struct Outcome {
    int code = 0;
    std::string text;
    wx::TlsFacts facts;
    std::string alpn;
    std::string sni;
    bool says(const char *part) const {
        if (text.find(part) != std::string::npos) return true;
        print_error("the sentence is: %s\nit lacks: %s\n", text.c_str(), part);
        return false;
    }
};

// Handshake, then a word each way, so that what TLS 1.3 tells only afterwards is seen too.
Outcome meet(const wx::TlsOptions &options, const PeerOptions &server, const char *host) {
    Outcome outcome;
    Context context(options);
    outcome.code = context.status;
    outcome.text = context.error.text;
    if (context.status < 0) return outcome;
    Peer peer(server);
    Client client(context.context, host);
    outcome.code = join(client, peer);
    std::string got;
    if (outcome.code == 1 && client.write("hello") == 5) {
        peer.give(client.take());
        std::string heard = peer.read();
        if (heard == "hello") peer.write("welcome");
        client.pending += peer.take();
        int64_t last = client.read_all(&got);
        if (last < 0)
            outcome.code = static_cast<int>(last);
        else if (got != "welcome")
            outcome.code = -1;
    }
    outcome.text = client.error.text;
    outcome.sni = peer.sni;
    if (client.session) wx::tls_backend()->facts(client.session, &outcome.facts);
    outcome.alpn = outcome.facts.alpn;
    return outcome;
}

Outcome meet_certificate(const char *certificate, const char *host, int version = TLS1_3_VERSION) {
    PeerOptions server;
    server.certificate = certificate;
    server.version_max = version;
    return meet(ClientOptions(), server, host);
}

void refused(const char *certificate, const char *host, int code, const char *part) {
    for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        Outcome outcome = meet_certificate(certificate, host, version);
        assert_int_equal(outcome.code, code);
        assert_true(outcome.says((std::string("TLS with ") + host + ": ").c_str()));
        assert_true(outcome.says(part));
    }
}

void accepted(const char *certificate, const char *host) {
    for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        Outcome outcome = meet_certificate(certificate, host, version);
        if (outcome.code != 1) print_error("%s with %s: %s\n", certificate, host, outcome.text.c_str());
        assert_int_equal(outcome.code, 1);
        assert_string_equal(outcome.facts.version, version == TLS1_2_VERSION ? "TLSv1.2" : "TLSv1.3");
        assert_false(outcome.facts.resumed);
    }
}

void test_accepts_what_is_right(void **) {
    accepted("good", "localhost");
    accepted("good", "LOCALHOST");
    accepted("good", "good.test");
    accepted("good", "good.test.");
    accepted("good", "127.0.0.1");
    accepted("good", "::1");
    accepted("good", "0:0::1");
    accepted("good", "::1%lo");
    accepted("ip", "127.0.0.1");
    accepted("ip", "::1");
    accepted("wildcard", "any.wild.test");
    accepted("chained", "good.test");
}

void test_sni_for_names_only(void **) {
    assert_string_equal(meet_certificate("good", "good.test.").sni.c_str(), "good.test");
    assert_string_equal(meet_certificate("good", "127.0.0.1").sni.c_str(), "");
    assert_string_equal(meet_certificate("good", "::1").sni.c_str(), "");
}

void test_host_name(void **) {
    refused("wrong_name", "localhost", WSXDP_E_TLS_HOSTNAME, "elsewhere.test");
    refused("good", "other.test", WSXDP_E_TLS_HOSTNAME, "localhost, good.test, 127.0.0.1, ::1");
    refused("good", "127.0.0.2", WSXDP_E_TLS_HOSTNAME, "127.0.0.1");
    refused("good", "::2", WSXDP_E_TLS_HOSTNAME, "::1");
    refused("ip", "localhost", WSXDP_E_TLS_HOSTNAME, "127.0.0.1, ::1");
    refused("wildcard", "wild.test", WSXDP_E_TLS_HOSTNAME, "*.wild.test");
    refused("wildcard", "a.b.wild.test", WSXDP_E_TLS_HOSTNAME, "*.wild.test");
    refused("common_name", "localhost", WSXDP_E_TLS_HOSTNAME, "no name at all");
}

void test_chain(void **) {
    refused("self_signed", "localhost", WSXDP_E_TLS_SELF_SIGNED, "tls.ca_file");
    refused("untrusted", "localhost", WSXDP_E_TLS_UNTRUSTED, "\"wsxdp other root\"");
    refused("chained_alone", "localhost", WSXDP_E_TLS_UNTRUSTED, "no intermediate certificate");
    refused("client", "localhost", WSXDP_E_TLS_CERTIFICATE, "purpose");
}

std::string day_from_now(long days) {
    time_t when = time(nullptr) + days * 86400;
    tm parts;
    gmtime_r(&when, &parts);
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%d", &parts);
    return text;
}

void test_dates(void **) {
    std::string yesterday = day_from_now(-1);
    std::string tomorrow = day_from_now(1);
    refused("expired", "localhost", WSXDP_E_TLS_EXPIRED, ("expired on " + yesterday).c_str());
    refused("not_yet_valid", "localhost", WSXDP_E_TLS_NOT_YET_VALID, ("before " + tomorrow).c_str());
}

void test_verification_off_takes_all(void **) {
    ClientOptions options;
    options.ca_file = nullptr;
    options.verify = false;
    for (const char *name : {"self_signed", "untrusted", "expired", "wrong_name"}) {
        PeerOptions server;
        server.certificate = name;
        assert_int_equal(meet(options, server, "localhost").code, 1);
    }
}

// ---- where trust comes from ----

void test_trust_sources(void **) {
    ClientOptions options;
    std::string directory = certs().path("ca_dir");
    std::string pem = certs().text("ca.pem");
    options.ca_file = nullptr;
    options.ca_dir = directory.c_str();
    assert_int_equal(meet(options, PeerOptions(), "localhost").code, 1);
    options.ca_dir = nullptr;
    options.ca_pem = wx::ByteView(pem.data(), pem.size());
    assert_int_equal(meet(options, PeerOptions(), "localhost").code, 1);
    setenv("SSL_CERT_FILE", certs().path("ca.pem").c_str(), 1);
    options.ca_pem = wx::ByteView();
    assert_int_equal(meet(options, PeerOptions(), "localhost").code, 1);
    setenv("SSL_CERT_FILE", "/nonexistent", 1);
    setenv("SSL_CERT_DIR", "/nonexistent", 1);
    Outcome outcome = meet(options, PeerOptions(), "localhost");
    assert_int_equal(outcome.code, WSXDP_E_TLS_UNTRUSTED);
    assert_true(outcome.says("ca-certificates"));
    unsetenv("SSL_CERT_FILE");
    unsetenv("SSL_CERT_DIR");
    // Given sources replace the system's.
    std::string other = certs().path("other_ca.pem");
    setenv("SSL_CERT_FILE", certs().path("ca.pem").c_str(), 1);
    options.ca_file = other.c_str();
    assert_int_equal(meet(options, PeerOptions(), "localhost").code, WSXDP_E_TLS_UNTRUSTED);
    unsetenv("SSL_CERT_FILE");
}

void opens_with(const wx::TlsOptions &options, int code, const char *part) {
    Outcome outcome = meet(options, PeerOptions(), "localhost");
    assert_int_equal(outcome.code, code);
    assert_true(outcome.says(part));
}

void test_bad_trust(void **) {
    ClientOptions options;
    options.ca_file = "/nonexistent/ca.pem";
    opens_with(options, WSXDP_E_TLS_CA, "No such file");
    std::string key = certs().path("good.key");
    options.ca_file = key.c_str();
    opens_with(options, WSXDP_E_TLS_CA, "no usable certificate");
    options.ca_file = nullptr;
    options.ca_dir = "/nonexistent";
    opens_with(options, WSXDP_E_TLS_CA, "tls.ca_dir");
    options.ca_dir = "/proc/self/fdinfo";
    opens_with(options, WSXDP_E_TLS_CA, "no file with a PEM certificate");
    options.ca_dir = nullptr;
    options.ca_pem = wx::ByteView("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    opens_with(options, WSXDP_E_TLS_CA, "tls.ca_pem");
    options.ca_pem = wx::ByteView();
    options.system_ca = false;
    opens_with(options, WSXDP_E_TLS_CA, "nothing to trust");
}

// ---- client certificate ----

struct ClientCertificate : ClientOptions {
    std::string certificate = certs().path("client.pem");
    std::string key = certs().path("client.key");
    std::string encrypted = certs().path("client_encrypted.key");
    ClientCertificate() {
        cert_file = certificate.c_str();
        key_file = key.c_str();
    }
};

PeerOptions demanding(int version) {
    PeerOptions server;
    server.version_max = version;
    server.verify_client = SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    return server;
}

void test_client_certificate(void **) {
    for (int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
        Outcome outcome = meet(ClientOptions(), demanding(version), "localhost");
        assert_int_equal(outcome.code, WSXDP_E_TLS_CLIENT_CERT_REQUIRED);
        assert_true(outcome.says("tls.cert_file"));
        ClientCertificate options;
        assert_int_equal(meet(options, demanding(version), "localhost").code, 1);
        options.key_file = options.encrypted.c_str();
        options.key_password = "secret";
        assert_int_equal(meet(options, demanding(version), "localhost").code, 1);
        // One that the server does not trust is refused with an alert that says so.
        std::string untrusted = certs().path("untrusted.pem");
        std::string untrusted_key = certs().path("untrusted.key");
        options.cert_file = untrusted.c_str();
        options.key_file = untrusted_key.c_str();
        outcome = meet(options, demanding(version), "localhost");
        assert_int_equal(outcome.code, WSXDP_E_TLS_ALERT);
        assert_true(outcome.says("refused the client certificate"));
    }
}

void test_bad_client_certificate(void **) {
    ClientCertificate options;
    options.key_file = options.encrypted.c_str();
    opens_with(options, WSXDP_E_TLS_CLIENT_CERT, "no password was given");
    options.key_password = "wrong";
    opens_with(options, WSXDP_E_TLS_CLIENT_CERT, "Check tls.key_password");
    std::string other = certs().path("good.key");
    options.key_file = other.c_str();
    opens_with(options, WSXDP_E_TLS_CLIENT_CERT, "does not belong");
    options.key_file = options.certificate.c_str();
    opens_with(options, WSXDP_E_TLS_CLIENT_CERT, "PEM private key");
    options.key_file = "/nonexistent";
    opens_with(options, WSXDP_E_TLS_CLIENT_CERT, "No such file");
    options.key_file = nullptr; // then it should be in the certificate's file, and is not
    opens_with(options, WSXDP_E_TLS_CLIENT_CERT, "client.pem");
    options.cert_file = options.key.c_str();
    opens_with(options, WSXDP_E_TLS_CLIENT_CERT, "no usable certificate");
    options.cert_file = "/nonexistent";
    opens_with(options, WSXDP_E_TLS_CLIENT_CERT, "tls.cert_file");
    options.cert_file = nullptr;
    options.key_file = options.key.c_str();
    opens_with(options, WSXDP_E_TLS_CLIENT_CERT, "without tls.cert_file");
}

// ---- pins ----

Outcome meet_pin(const std::string &pin, const char *certificate, bool verify = true) {
    ClientOptions options;
    options.verify = verify;
    const char *pins[] = {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", pin.c_str()};
    options.pins_sha256 = pins;
    options.pin_count = 2;
    PeerOptions server;
    server.certificate = certificate;
    return meet(options, server, "localhost");
}

void test_pins(void **) {
    assert_int_equal(meet_pin(certs().pin("good"), "good").code, 1);
    assert_int_equal(meet_pin("sha256//" + certs().pin("good"), "good").code, 1);
    assert_int_equal(meet_pin(certs().pin("ca"), "chained").code, 1); // any of the verified chain
    Outcome outcome = meet_pin(certs().pin("other_ca"), "good");
    assert_int_equal(outcome.code, WSXDP_E_TLS_PIN);
    assert_true(outcome.says(certs().pin("good").c_str()));
    // A right pin does not make a bad certificate good, but without verification it is all that counts.
    assert_int_equal(meet_pin(certs().pin("self_signed"), "self_signed").code, WSXDP_E_TLS_SELF_SIGNED);
    assert_int_equal(meet_pin(certs().pin("self_signed"), "self_signed", false).code, 1);
    assert_int_equal(meet_pin(certs().pin("good"), "self_signed", false).code, WSXDP_E_TLS_PIN);
    // Without verification what the server sends beside its own certificate proves nothing.
    assert_int_equal(meet_pin(certs().pin("ca"), "chained", false).code, WSXDP_E_TLS_PIN);
    assert_int_equal(meet_pin("not base64", "good").code, WSXDP_E_TLS_SETUP);
    assert_int_equal(meet_pin("AAAA", "good").code, WSXDP_E_TLS_SETUP);
}

// ---- versions, ciphers, ALPN ----

void test_versions(void **) {
    PeerOptions old;
    old.version_min = TLS1_VERSION;
    old.version_max = TLS1_1_VERSION;
    Outcome outcome = meet(ClientOptions(), old, "localhost");
    assert_int_equal(outcome.code, WSXDP_E_TLS_VERSION);
    assert_true(outcome.says("TLS 1.2 and 1.3"));
    ClientOptions newest;
    newest.version_min = 13;
    PeerOptions twelve;
    twelve.version_max = TLS1_2_VERSION;
    outcome = meet(newest, twelve, "localhost");
    assert_int_equal(outcome.code, WSXDP_E_TLS_VERSION);
    assert_true(outcome.says("tls.version_min=12"));
    assert_int_equal(meet(newest, PeerOptions(), "localhost").code, 1);
    newest.version_min = 11;
    opens_with(newest, WSXDP_E_TLS_SETUP, "11");
}

void test_ciphers(void **) {
    PeerOptions server;
    server.version_max = TLS1_2_VERSION;
    server.ciphers = "ECDHE-ECDSA-AES128-SHA";
    ClientOptions options;
    Outcome outcome = meet(options, server, "localhost");
    assert_int_equal(outcome.code, WSXDP_E_TLS_CIPHER);
    assert_true(outcome.says("tls.ciphers"));
    options.ciphers = "ECDHE-ECDSA-AES128-SHA";
    outcome = meet(options, server, "localhost");
    assert_int_equal(outcome.code, 1);
    assert_string_equal(outcome.facts.cipher, "ECDHE-ECDSA-AES128-SHA");
    options.ciphersuites = "TLS_CHACHA20_POLY1305_SHA256";
    PeerOptions other;
    other.version_min = TLS1_3_VERSION;
    other.ciphersuites = "TLS_AES_128_GCM_SHA256";
    assert_int_equal(meet(options, other, "localhost").code, WSXDP_E_TLS_CIPHER);
    options.ciphers = "NONSENSE";
    opens_with(options, WSXDP_E_TLS_SETUP, "NONSENSE");
    options.ciphers = nullptr;
    options.ciphersuites = "NONSENSE";
    opens_with(options, WSXDP_E_TLS_SETUP, "tls.ciphersuites");
}

void test_alpn(void **) {
    ClientOptions options;
    PeerOptions server;
    options.alpn = "http/1.1, wsx";
    assert_string_equal(meet(options, server, "localhost").alpn.c_str(), ""); // choosing none is fine
    server.alpn = "wsx";
    Outcome outcome = meet(options, server, "localhost");
    assert_int_equal(outcome.code, 1);
    assert_string_equal(outcome.alpn.c_str(), "wsx");
    server.alpn = "h2";
    outcome = meet(options, server, "localhost");
    assert_int_equal(outcome.code, WSXDP_E_TLS_HANDSHAKE);
    options.alpn = "a,,b";
    opens_with(options, WSXDP_E_TLS_SETUP, "tls.alpn");
}

void test_other_options(void **) {
    ClientOptions options;
    options.record_bytes = 100;
    opens_with(options, WSXDP_E_TLS_SETUP, "100");
    options.record_bytes = 0;
    options.keylog_file = "/nonexistent/keys";
    opens_with(options, WSXDP_E_TLS_SETUP, "tls.keylog_file");
}

void test_host_that_cannot_be(void **) {
    Context context((ClientOptions()));
    for (const std::string &host :
         {std::string(""), std::string("."), std::string(300, 'a'), std::string("%eth0")}) {
        Client client(context.context, host.c_str());
        assert_int_equal(client.status, WSXDP_E_TLS_SETUP);
        assert_null(client.session);
    }
    wx::TlsSession *session = nullptr;
    wx::ErrorText error;
    assert_int_equal(wx::tls_backend()->session_open(context.context, wx::ByteView("good.test\0evil", 14),
                                                     wx::ByteView("k"), &session, &error),
                     WSXDP_E_TLS_SETUP);
}

void test_key_log(void **) {
    std::string path = certs().path("keys.log");
    ClientOptions options;
    mode_t mask = umask(0);
    assert_int_equal(meet(options, PeerOptions(), "localhost").code, 1);
    assert_int_not_equal(access(path.c_str(), F_OK), 0);
    options.keylog_file = path.c_str();
    assert_int_equal(meet(options, PeerOptions(), "localhost").code, 1);
    umask(mask);
    struct stat info;
    assert_int_equal(stat(path.c_str(), &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
    std::string text = certs().text("keys.log");
    assert_true(text.find("CLIENT_TRAFFIC_SECRET_0 ") != std::string::npos);
    assert_int_equal(text.back(), '\n');
}

} // namespace

int main() {
    if (!wx::tls_backend()->available) return 0; // TLS=none: test_none.cc has what there is
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts_what_is_right),
        cmocka_unit_test(test_sni_for_names_only),
        cmocka_unit_test(test_host_name),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_dates),
        cmocka_unit_test(test_verification_off_takes_all),
        cmocka_unit_test(test_trust_sources),
        cmocka_unit_test(test_bad_trust),
        cmocka_unit_test(test_client_certificate),
        cmocka_unit_test(test_bad_client_certificate),
        cmocka_unit_test(test_pins),
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_ciphers),
        cmocka_unit_test(test_alpn),
        cmocka_unit_test(test_other_options),
        cmocka_unit_test(test_host_that_cannot_be),
        cmocka_unit_test(test_key_log),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
