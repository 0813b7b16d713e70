// SPDX-License-Identifier: MIT
// Decides whether the peer is the one that was asked for: chain, dates, host name, pins. OpenSSL does the
// checking; this file sets it up per host, adds the pins, and while the certificate is at hand writes the
// sentence that says what was wrong with it. It never looks at the subject's common name (RFC 9525
// section 2) and never accepts what OpenSSL refused. Worst case: revocation is not checked.
#include "openssl_parts.h"

#include <arpa/inet.h>

namespace wx {
namespace {

constexpr int names_shown_max = 6;

void add_two_digits(ErrorText *text, int value) {
    if (value < 10) text->add("0");
    text->number(value);
}

void add_time(ErrorText *text, const ASN1_TIME *when) {
    tm parts;
    if (!when || ASN1_TIME_to_tm(when, &parts) != 1) {
        text->add("an unreadable time");
        return;
    }
    text->number(parts.tm_year + 1900).add("-");
    add_two_digits(text, parts.tm_mon + 1);
    text->add("-");
    add_two_digits(text, parts.tm_mday);
    text->add(" ");
    add_two_digits(text, parts.tm_hour);
    text->add(":");
    add_two_digits(text, parts.tm_min);
    text->add(":");
    add_two_digits(text, parts.tm_sec);
    text->add(" UTC");
}

// The common name, or the organization where a CA has none.
void add_entity(ErrorText *text, const X509_NAME *name) {
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    if (at < 0) at = X509_NAME_get_index_by_NID(name, NID_organizationName, -1);
    const ASN1_STRING *value = at < 0 ? nullptr : X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    if (!value || ASN1_STRING_length(value) <= 0) {
        text->add("(no name)");
        return;
    }
    ByteView bytes(ASN1_STRING_get0_data(value), static_cast<size_t>(ASN1_STRING_length(value)));
    text->add("\"").add(bytes.first(64)).add("\"");
}

bool add_alternative(ErrorText *text, const GENERAL_NAME *name) {
    if (name->type == GEN_DNS) {
        const ASN1_STRING *value = name->d.dNSName;
        text->add(ByteView(ASN1_STRING_get0_data(value), static_cast<size_t>(ASN1_STRING_length(value))));
        return true;
    }
    if (name->type != GEN_IPADD) return false;
    const ASN1_STRING *value = name->d.iPAddress;
    const int size = ASN1_STRING_length(value);
    char address[INET6_ADDRSTRLEN] = "?";
    if (size == 4 || size == 16) {
        inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(value), address, sizeof address);
    }
    text->add(ByteView(address));
    return true;
}

bool is_name(const GENERAL_NAME *name) { return name->type == GEN_DNS || name->type == GEN_IPADD; }

void add_names(ErrorText *text, X509 *certificate) {
    GENERAL_NAMES *names =
        static_cast<GENERAL_NAMES *>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr));
    int shown = 0;
    int hidden = 0;
    for (int i = 0; names && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (!is_name(name)) continue;
        if (shown == names_shown_max) {
            hidden++;
            continue;
        }
        if (shown++) text->add(", ");
        add_alternative(text, name);
    }
    GENERAL_NAMES_free(names);
    if (hidden) text->add(" and ").number(hidden).add(" more");
    if (shown) return;
    text->add("no name at all in subjectAltName (its subject ");
    add_entity(text, X509_get_subject_name(certificate));
    text->add(" does not count)");
}

void say_hostname(const OpensslSession *session, X509 *certificate, ErrorText *text) {
    openssl_say(session, WSXDP_E_TLS_HOSTNAME, text).add("the certificate is for another host. It names ");
    add_names(text, certificate);
    text->add(session->host_is_address
                  ? ". Connect by a name that it has, or get a certificate with this address."
                  : ". Connect by a name that it has, or correct the URL.");
}

void say_untrusted(const OpensslSession *session, X509_STORE_CTX *store, X509 *last, ErrorText *text) {
    openssl_say(session, WSXDP_E_TLS_UNTRUSTED, text).add("the certificate's issuer ");
    add_entity(text, X509_get_issuer_name(last));
    text->add(" is not trusted");
    const STACK_OF(X509) *sent = X509_STORE_CTX_get0_untrusted(store);
    const bool alone = sk_X509_num(sent) <= 1;
    if (session->context->trust_empty) {
        text->add("; the system has no CA certificates. Install the package ca-certificates, or name the "
                  "CA in tls.ca_file.");
    } else if (alone) {
        text->add(", and the server sent no intermediate certificate. If that CA is yours, name its "
                  "certificate in tls.ca_file; else the server must send its whole chain.");
    } else {
        text->add(". If that CA is yours, name its certificate in tls.ca_file.");
    }
}

void say_date(const OpensslSession *session, X509 *certificate, int code, ErrorText *text) {
    openssl_say(session, code, text).add("the certificate of ");
    add_entity(text, X509_get_subject_name(certificate));
    if (code == WSXDP_E_TLS_EXPIRED) {
        text->add(" expired on ");
        add_time(text, X509_get0_notAfter(certificate));
        text->add(". The server needs a new one; check this machine's clock too.");
    } else {
        text->add(" is not valid before ");
        add_time(text, X509_get0_notBefore(certificate));
        text->add(". Check this machine's clock.");
    }
}

void say_refused(OpensslSession *session, X509_STORE_CTX *store) {
    const int reason = X509_STORE_CTX_get_error(store);
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    X509 *current = X509_STORE_CTX_get_current_cert(store);
    if (!current) current = leaf;
    ErrorText *text = &session->failure;
    switch (reason) {
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        say_hostname(session, leaf, text);
        return;
    case X509_V_ERR_CERT_HAS_EXPIRED:
        say_date(session, current, WSXDP_E_TLS_EXPIRED, text);
        return;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        say_date(session, current, WSXDP_E_TLS_NOT_YET_VALID, text);
        return;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        openssl_say(session, WSXDP_E_TLS_SELF_SIGNED, text)
            .add("the certificate is self-signed and not trusted. If it is the right one, name it in "
                 "tls.ca_file, or pin its key with tls.pin_sha256.");
        return;
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_CERT_UNTRUSTED:
        say_untrusted(session, store, current, text);
        return;
    default:
        openssl_say(session, WSXDP_E_TLS_CERTIFICATE, text).add("the certificate is refused: ");
        text->add(X509_verify_cert_error_string(reason));
        text->add(". The server needs another certificate.");
    }
}

bool digest_of(const TlsContext *context, X509 *certificate, uint8_t out[32]) {
    uint8_t *der = nullptr;
    const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
    bool done =
        size > 0 && EVP_Digest(der, static_cast<size_t>(size), out, nullptr, context->sha256, nullptr) == 1;
    OPENSSL_free(der);
    return done;
}

bool is_pinned(const TlsContext *context, X509 *certificate) {
    uint8_t digest[32];
    if (!digest_of(context, certificate, digest)) return false;
    for (size_t i = 0; i < context->pin_count; i++) {
        if (memcmp(digest, context->pins[i], sizeof digest) == 0) return true;
    }
    return false;
}

// RFC 7469 section 2.6: pins are compared with the certificates of the validated chain. Without
// validation only the leaf is known to belong to the peer.
bool chain_is_pinned(const TlsContext *context, X509_STORE_CTX *store) {
    if (!context->verify) return is_pinned(context, X509_STORE_CTX_get0_cert(store));
    STACK_OF(X509) *chain = X509_STORE_CTX_get0_chain(store);
    for (int i = 0; i < sk_X509_num(chain); i++) {
        if (is_pinned(context, sk_X509_value(chain, i))) return true;
    }
    return false;
}

void say_unpinned(OpensslSession *session, X509_STORE_CTX *store) {
    uint8_t digest[32] = {0};
    char pin[48];
    Writer writer(ByteSpan(pin, sizeof pin));
    if (digest_of(session->context, X509_STORE_CTX_get0_cert(store), digest)) {
        writer.base64(ByteView(digest, sizeof digest));
    }
    openssl_say(session, WSXDP_E_TLS_PIN, &session->failure)
        .add("the server's key matches none of tls.pin_sha256. Its pin is ")
        .add(writer.view())
        .add(". If the server has a new key, and only then, pin that.");
}

} // namespace

int openssl_verify_chain(X509_STORE_CTX *store, void *) {
    const SSL *ssl =
        static_cast<const SSL *>(X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx()));
    OpensslSession *session = static_cast<OpensslSession *>(SSL_get_app_data(ssl));
    const TlsContext *context = session->context;
    if (context->verify && X509_verify_cert(store) != 1) {
        if (X509_STORE_CTX_get_error(store) == X509_V_OK) {
            X509_STORE_CTX_set_error(store, X509_V_ERR_UNSPECIFIED);
        }
        say_refused(session, store);
        return 0;
    }
    if (context->pin_count > 0 && !chain_is_pinned(context, store)) {
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION);
        say_unpinned(session, store);
        return 0;
    }
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

int openssl_set_host(OpensslSession *session, ByteView host, ErrorText *error) {
    // A trailing dot says "from the root" to the resolver and a zone names a local interface; neither is
    // in a certificate (RFC 6066 section 3, RFC 6874).
    size_t size = 0;
    while (size < host.size && host.data[size] != '%') size++;
    if (size > 0 && host.data[size - 1] == '.') size--;
    if (size == 0 || size >= sizeof session->host || memchr(host.data, 0, size)) {
        error->begin(WSXDP_E_TLS_SETUP).add("\"").add(host.first(64));
        error->add("\" cannot be the name of a TLS server. Check the host in the URL.");
        return WSXDP_E_TLS_SETUP;
    }
    memcpy(session->host, host.data, size);
    uint8_t address[16];
    size_t address_size = 0;
    if (inet_pton(AF_INET, session->host, address) == 1)
        address_size = 4;
    else if (inet_pton(AF_INET6, session->host, address) == 1)
        address_size = 16;
    session->host_is_address = address_size > 0;
    X509_VERIFY_PARAM *param = SSL_get0_param(session->ssl);
    // RFC 9525 section 6.3: a wildcard is the whole left-most label.
    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS |
                                               X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    bool set = false;
    if (address_size) {
        set = X509_VERIFY_PARAM_set1_ip(param, address, address_size) == 1;
    } else { // RFC 6066 section 3: "Literal IPv4 and IPv6 addresses are not permitted in HostName"
        set = X509_VERIFY_PARAM_set1_host(param, session->host, size) == 1 &&
              SSL_set_tlsext_host_name(session->ssl, session->host) == 1;
    }
    if (set) return WSXDP_OK;
    openssl_add_reason(&error->begin(WSXDP_E_MEMORY).add("OpenSSL did not take the host name")).add(".");
    return WSXDP_E_MEMORY;
}

} // namespace wx
