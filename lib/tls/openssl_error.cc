// SPDX-License-Identifier: MIT
// Turns what OpenSSL says about a failure into one code and one sentence: what, with which host, what to
// try. It never guesses from text, only from reason codes, alerts and how far the handshake had come. It
// empties the calling thread's OpenSSL error queue, so that a host that uses OpenSSL itself finds no errors
// of ours there. Worst case: a reason nobody foresaw becomes E_TLS_HANDSHAKE or E_TLS_RECORD with OpenSSL's
// own words.
#include "openssl_parts.h"

namespace wx {
namespace {

// RFC 8446 section 6.2
constexpr int alert_handshake_failure = 40;
constexpr int alert_bad_certificate = 42;
constexpr int alert_unknown_ca = 48;
constexpr int alert_access_denied = 49;
constexpr int alert_decrypt_error = 51;
constexpr int alert_protocol_version = 70;
constexpr int alert_insufficient_security = 71;
constexpr int alert_unrecognized_name = 112;
constexpr int alert_certificate_required = 116;
constexpr int alert_no_application_protocol = 120;

// A first record that is an alert is this long: the server has refused our hello.
constexpr uint64_t alert_record_bytes = 7;

int say_version(OpensslSession *session) {
    openssl_say(session, WSXDP_E_TLS_VERSION, &session->failure)
        .add("no common protocol version. This side takes ")
        .add(session->context->version_min == 13 ? "TLS 1.3 only; try tls.version_min=12 if the server has "
                                                   "no TLS 1.3."
                                                 : "TLS 1.2 and 1.3; the server must be updated.");
    return WSXDP_E_TLS_VERSION;
}

int say_cipher(OpensslSession *session) {
    openssl_say(session, WSXDP_E_TLS_CIPHER, &session->failure)
        .add("no common cipher suite. Widen tls.ciphers (TLS 1.2) or tls.ciphersuites (TLS 1.3), "
             "or let the server offer ECDHE with AES-GCM.");
    return WSXDP_E_TLS_CIPHER;
}

int say_certificate_required(OpensslSession *session) {
    openssl_say(session, WSXDP_E_TLS_CLIENT_CERT_REQUIRED, &session->failure)
        .add("the server wants a client certificate. Give one with tls.cert_file and tls.key_file.");
    return WSXDP_E_TLS_CLIENT_CERT_REQUIRED;
}

// Alerts that servers send when the client certificate is missing or not to their taste.
bool about_certificate(int alert) {
    return (alert >= alert_bad_certificate && alert <= 46) || alert == alert_unknown_ca ||
           alert == alert_access_denied || alert == alert_decrypt_error || alert == alert_handshake_failure;
}

const char *advice(const OpensslSession *session, int alert) {
    const bool certificate_sent = session->certificate_wanted && session->context->has_certificate;
    if (certificate_sent && session->records_in == 0 && about_certificate(alert)) {
        return " The server refused the client certificate in tls.cert_file; give one that it trusts.";
    }
    if (alert == alert_unrecognized_name) return " The server does not serve this name; check the host.";
    if (alert == alert_no_application_protocol) return " Change tls.alpn, or clear it.";
    return " The server's log may say more.";
}

int say_alert(OpensslSession *session, int alert) {
    if (alert == alert_protocol_version && !session->established) return say_version(session);
    if (alert == alert_insufficient_security && !session->established) return say_cipher(session);
    if (alert == alert_certificate_required) return say_certificate_required(session);
    if (about_certificate(alert) && session->certificate_wanted && session->records_in == 0 &&
        !session->context->has_certificate) {
        return say_certificate_required(session);
    }
    if (alert == alert_handshake_failure && session->bytes_in <= alert_record_bytes)
        return say_cipher(session);
    openssl_say(session, WSXDP_E_TLS_ALERT, &session->failure)
        .add("the server ended it with the alert \"")
        .add(SSL_alert_desc_string_long(alert))
        .add("\" (")
        .number(alert)
        .add(").")
        .add(advice(session, alert));
    return WSXDP_E_TLS_ALERT;
}

int say_not_tls(OpensslSession *session) {
    ByteView seen = session->input.first(24);
    const bool http = seen.size && seen.data[0] == 'H';
    ErrorText &text = openssl_say(session, WSXDP_E_TLS_NOT_TLS, &session->failure);
    text.add("the answer is not TLS");
    if (!seen.empty()) text.add(", it begins with \"").add(seen).add("\"");
    text.add(http ? ". The port speaks plain HTTP: try ws:// or the server's TLS port."
                  : ". Check the port, or try ws:// if the server has no TLS there.");
    return WSXDP_E_TLS_NOT_TLS;
}

int say_record(OpensslSession *session, int reason) {
    ErrorText &text = openssl_say(session, WSXDP_E_TLS_RECORD, &session->failure);
    if (reason == SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC || reason == SSL_R_BAD_RECORD_TYPE) {
        text.add("a record failed authentication: it was changed or damaged on the way. Reconnect.");
    } else {
        openssl_add_reason(&text.add("a record breaks the protocol")).add(". Reconnect.");
    }
    return WSXDP_E_TLS_RECORD;
}

int say_handshake(OpensslSession *session) {
    openssl_add_reason(
        &openssl_say(session, WSXDP_E_TLS_HANDSHAKE, &session->failure).add("the handshake failed"));
    session->failure.add(". The server's log may say more.");
    return WSXDP_E_TLS_HANDSHAKE;
}

int say_reason(OpensslSession *session, int reason) {
    if (reason >= SSL_AD_REASON_OFFSET && reason < SSL_AD_REASON_OFFSET + 256) {
        return say_alert(session, reason - SSL_AD_REASON_OFFSET);
    }
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_WRONG_SSL_VERSION:
    case SSL_R_NO_PROTOCOLS_AVAILABLE:
    case SSL_R_UNKNOWN_SSL_VERSION:
    case SSL_R_VERSION_TOO_LOW:
        return session->established ? say_record(session, reason) : say_version(session);
    case SSL_R_NO_SHARED_CIPHER:
    case SSL_R_WRONG_CIPHER_RETURNED:
    case SSL_R_UNKNOWN_CIPHER_RETURNED:
    case SSL_R_NO_CIPHERS_AVAILABLE:
        return say_cipher(session);
    case SSL_R_WRONG_VERSION_NUMBER:
    case SSL_R_HTTP_REQUEST:
    case SSL_R_HTTPS_PROXY_REQUEST:
        return session->bytes_in <= 5 ? say_not_tls(session) : say_record(session, reason);
    case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
    case SSL_R_BAD_RECORD_TYPE:
    case SSL_R_ENCRYPTED_LENGTH_TOO_LONG:
    case SSL_R_DATA_LENGTH_TOO_LONG:
    case SSL_R_PACKET_LENGTH_TOO_LONG:
    case SSL_R_BAD_PACKET_LENGTH:
        return say_record(session, reason);
    default:
        return session->established ? say_record(session, reason) : say_handshake(session);
    }
}

} // namespace

ErrorText &openssl_say(const OpensslSession *session, int code, ErrorText *error) {
    return error->begin(code).add("TLS with ").add(ByteView(session->host)).add(": ");
}

ErrorText &openssl_add_reason(ErrorText *error) {
    const unsigned long newest = ERR_peek_last_error();
    const char *reason = newest ? ERR_reason_error_string(newest) : nullptr;
    if (reason) error->add(": ").add(reason);
    ERR_clear_error();
    return *error;
}

int openssl_on_alert(OpensslSession *session, int alert) { return say_alert(session, alert); }

int openssl_fail(OpensslSession *session) {
    // The newest entry is the one OpenSSL's state machine added; older ones are its details, or left
    // over from someone else's calls on this thread. The certificate check has written its sentence
    // already, with the certificate at hand.
    const unsigned long newest = ERR_peek_last_error();
    if (session->failure.code == 0) {
        if (session->not_tls)
            say_not_tls(session);
        else if (newest && ERR_GET_REASON(newest) == ERR_R_MALLOC_FAILURE) {
            openssl_say(session, WSXDP_E_MEMORY, &session->failure).add("out of memory.");
        } else if (newest && ERR_GET_LIB(newest) == ERR_LIB_SSL) {
            say_reason(session, ERR_GET_REASON(newest));
        } else if (session->established) {
            say_record(session, 0);
        } else {
            say_handshake(session);
        }
    }
    ERR_clear_error();
    return session->failure.code;
}

} // namespace wx
