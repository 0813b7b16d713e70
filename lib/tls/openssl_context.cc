// SPDX-License-Identifier: MIT
// One context per configuration: versions, ciphers, pins, ALPN, tickets, key log. Everything that can be
// wrong with an option is found here, at open, and not at the first handshake. It never weakens what the
// options do not ask to be weakened: TLS 1.2 at least, no renegotiation, no compression, forward secret
// AEAD ciphers. Worst case: a server with older TLS 1.2 ciphers only is refused until tls.ciphers is set.
#include "../base/alloc.h"
#include "openssl_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

namespace wx {
namespace {

// AES-128 first: with AES instructions it is the fastest, and nothing is known to break it.
constexpr const char *default_ciphersuites =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";
// RFC 9325 section 4.2: forward secrecy and AEAD only.
constexpr const char *default_ciphers = "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20";

constexpr size_t record_bytes_min = 512; // SSL_set_max_send_fragment takes no less
constexpr int security_level = 2;        // 112 bits: RSA 2048, no SHA-1 signatures

int refuse(const char *option, const char *value, const char *why, ErrorText *error) {
    error->begin(WSXDP_E_TLS_SETUP).add(option).add(" \"").add(ByteView(value)).add("\" ");
    openssl_add_reason(&error->add(why)).add(".");
    return WSXDP_E_TLS_SETUP;
}

bool given(const char *text) { return text && *text; }

// The record layer needs the secrets in memory; a file gets them only by option.
// One writev, so that lines of several programs that share the file do not mix.
void on_key(const SSL *ssl, const char *line) {
    OpensslSession *session = static_cast<OpensslSession *>(SSL_get_app_data(ssl));
    openssl_keep_secret(session, line);
    if (session->context->keylog_fd < 0) return;
    char end = '\n';
    iovec parts[2];
    parts[0].iov_base = const_cast<char *>(line);
    parts[0].iov_len = strlen(line);
    parts[1].iov_base = &end;
    parts[1].iov_len = 1;
    // A full disk loses the log, not the connection.
    if (writev(session->context->keylog_fd, parts, 2) < 0) errno = 0;
}

// Runs when the server has asked for a certificate, whether there is one or not.
int on_certificate_request(SSL *ssl, void *) {
    static_cast<OpensslSession *>(SSL_get_app_data(ssl))->certificate_wanted = true;
    return 1;
}

// OpenSSL's own flag for a received close is set by fatal alerts too; this tells the two apart.
void on_info(const SSL *ssl, int where, int value) {
    constexpr int close_notify_alert = 0; // RFC 8446 section 6.1
    if ((where & SSL_CB_READ_ALERT) != SSL_CB_READ_ALERT || (value & 0xff) != close_notify_alert) return;
    static_cast<OpensslSession *>(SSL_get_app_data(ssl))->peer_closed = true;
}

int make(TlsContext *context, ErrorText *error) {
    OSSL_LIB_CTX *library = openssl_library();
    if (library) context->ssl = SSL_CTX_new_ex(library, nullptr, TLS_client_method());
    if (context->ssl) context->sha256 = EVP_MD_fetch(library, "SHA256", nullptr);
    if (context->sha256) return WSXDP_OK;
    openssl_add_reason(&error->begin(WSXDP_E_MEMORY).add("OpenSSL could not make a context"));
    error->add(". The likely cause is a lack of memory.");
    return WSXDP_E_MEMORY;
}

int set_limits(TlsContext *context, const TlsOptions &options, ErrorText *error) {
    size_t record = options.record_bytes ? options.record_bytes : tls_record_plain_max;
    if (record < record_bytes_min || record > tls_record_plain_max) {
        error->begin(WSXDP_E_TLS_SETUP).add("tls.record_bytes ").number(static_cast<int64_t>(record));
        error->add(" is outside 512 to 16384.");
        return WSXDP_E_TLS_SETUP;
    }
    if (options.version_min != 12 && options.version_min != 13) {
        error->begin(WSXDP_E_TLS_SETUP).add("tls.version_min ").number(options.version_min);
        error->add(" is neither 12 (TLS 1.2) nor 13 (TLS 1.3).");
        return WSXDP_E_TLS_SETUP;
    }
    context->record_bytes = record;
    context->verify = options.verify;
    context->version_min = options.version_min;
    return WSXDP_OK;
}

int set_protocol(TlsContext *context, const TlsOptions &options, ErrorText *error) {
    SSL_CTX *ssl = context->ssl;
    // Renegotiation has cost protocols their security (RFC 5746) and compression as well (CRIME).
    uint64_t flags = SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION;
    if (!options.resumption) flags |= SSL_OP_NO_TICKET;
    SSL_CTX_set_options(ssl, flags);
    SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                              SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_security_level(ssl, security_level);
    SSL_CTX_set_min_proto_version(ssl, options.version_min == 13 ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION);
    const char *ciphers = given(options.ciphers) ? options.ciphers : default_ciphers;
    if (SSL_CTX_set_cipher_list(ssl, ciphers) != 1) {
        return refuse("tls.ciphers", ciphers, "selects no cipher of TLS 1.2", error);
    }
    const char *suites = given(options.ciphersuites) ? options.ciphersuites : default_ciphersuites;
    if (SSL_CTX_set_ciphersuites(ssl, suites) != 1) {
        return refuse("tls.ciphersuites", suites, "is no list of TLS 1.3 cipher suites", error);
    }
    // The callback decides; it is needed for pins also when verification is off.
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_cert_verify_callback(ssl, openssl_verify_chain, nullptr);
    SSL_CTX_set_keylog_callback(ssl, on_key);
    SSL_CTX_set_info_callback(ssl, on_info);
    SSL_CTX_set_cert_cb(ssl, on_certificate_request, nullptr);
    SSL_CTX_set_session_cache_mode(
        ssl, options.resumption ? SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL : SSL_SESS_CACHE_OFF);
    if (options.resumption) SSL_CTX_sess_set_new_cb(ssl, openssl_on_ticket);
    return WSXDP_OK;
}

// Also takes the form that curl and browsers print: sha256//BASE64 and sha256/BASE64.
ByteView bare_pin(const char *text) {
    ByteView pin(text);
    if (equal(pin.first(8), ByteView("sha256//"))) return pin.from(8);
    if (equal(pin.first(7), ByteView("sha256/"))) return pin.from(7);
    return pin;
}

int set_pins(TlsContext *context, const TlsOptions &options, ErrorText *error) {
    if (options.pin_count > pins_max) {
        error->begin(WSXDP_E_TLS_SETUP).add("tls.pin_sha256 is given more than 32 times.");
        return WSXDP_E_TLS_SETUP;
    }
    for (size_t i = 0; i < options.pin_count; i++) {
        const char *text = options.pins_sha256[i] ? options.pins_sha256[i] : "";
        uint8_t digest[48];
        if (base64_decode(bare_pin(text), ByteSpan(digest, sizeof digest)) != 32) {
            return refuse("tls.pin_sha256", text, "is not the base64 of a SHA-256 (44 characters)", error);
        }
        memcpy(context->pins[i], digest, 32);
    }
    context->pin_count = options.pin_count;
    return WSXDP_OK;
}

// "a,b" becomes length a length b (RFC 7301 section 3.1). Spaces around names are not part of them.
bool encode_alpn(ByteView list, Writer *writer) {
    while (!list.empty()) {
        size_t end = 0;
        while (end < list.size && list.data[end] != ',') end++;
        ByteView name = list.first(end);
        list = list.from(end + 1);
        while (!name.empty() && name.data[0] == ' ') name = name.from(1);
        while (!name.empty() && name.data[name.size - 1] == ' ') name = name.first(name.size - 1);
        if (name.empty() || name.size > 255) return false;
        writer->u8(static_cast<uint8_t>(name.size));
        writer->bytes(name);
    }
    return !writer->failed;
}

int set_alpn(TlsContext *context, const TlsOptions &options, ErrorText *error) {
    if (!given(options.alpn)) return WSXDP_OK;
    Writer writer(ByteSpan(context->alpn, sizeof context->alpn));
    if (!encode_alpn(ByteView(options.alpn), &writer)) {
        return refuse("tls.alpn", options.alpn, "is not a comma separated list of at most 255 bytes", error);
    }
    context->alpn_size = writer.size();
    if (SSL_CTX_set_alpn_protos(context->ssl, context->alpn, static_cast<unsigned>(context->alpn_size)) ==
        0) {
        return WSXDP_OK;
    }
    return refuse("tls.alpn", options.alpn, "was not taken by OpenSSL", error);
}

// Whoever reads this file can read the traffic: made for the owner only, and a file that others can read
// already is the caller's own doing.
int set_keylog(TlsContext *context, const TlsOptions &options, ErrorText *error) {
    if (!given(options.keylog_file)) return WSXDP_OK;
    context->keylog_fd =
        open(options.keylog_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOCTTY, 0600);
    if (context->keylog_fd < 0) {
        int cause = errno;
        error->begin(WSXDP_E_TLS_SETUP, cause).add("tls.keylog_file \"").add(ByteView(options.keylog_file));
        error->add("\" cannot be opened: ").errno_name(cause).add(". Check the path and its permissions.");
        return WSXDP_E_TLS_SETUP;
    }
    return WSXDP_OK;
}

int set_up(TlsContext *context, const TlsOptions &options, ErrorText *error) {
    using Step = int (*)(TlsContext *, const TlsOptions &, ErrorText *);
    const Step steps[] = {set_limits, set_protocol,       set_pins,
                          set_alpn,   openssl_load_trust, openssl_load_certificate,
                          set_keylog};
    int status = make(context, error);
    for (size_t i = 0; ok(status) && i < sizeof steps / sizeof steps[0]; i++) {
        status = steps[i](context, options, error);
    }
    return status;
}

} // namespace

int openssl_context_open(const TlsOptions &options, TlsContext **out, ErrorText *error) {
    *out = nullptr;
    TlsContext *context = allocate_object<TlsContext>();
    if (!context) {
        error->begin(WSXDP_E_MEMORY).add("no memory for a TLS context.");
        return WSXDP_E_MEMORY;
    }
    ERR_clear_error();
    int status = set_up(context, options, error);
    if (!ok(status)) {
        openssl_context_free(context);
        return status;
    }
    ERR_clear_error();
    *out = context;
    return WSXDP_OK;
}

void openssl_context_free(TlsContext *context) {
    if (!context) return;
    openssl_free_tickets(context);
    SSL_CTX_free(context->ssl);
    EVP_MD_free(context->sha256);
    if (context->keylog_fd >= 0) close(context->keylog_fd);
    deallocate(context);
}

} // namespace wx
