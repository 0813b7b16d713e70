// SPDX-License-Identifier: MIT
// What the OpenSSL files share: the context, the session, and the functions that cross files. Nobody
// outside lib/tls includes this; the rest of the library must not see OpenSSL's headers.
#pragma once
#include "../base/clock.h"
#include "tls.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

namespace wx {

constexpr size_t host_bytes_max = 254;  // RFC 1035 section 2.3.4: 253 characters; zero byte
constexpr size_t ticket_key_max = 544;  // host twice (ticket key and verified name), port, separator
constexpr size_t ticket_hosts_max = 64; // hosts remembered; the longest unused makes room
constexpr size_t pins_max = 32;         // more pins than keys a site has are a mistake
constexpr size_t alpn_bytes_max = 256;  // RFC 7301 allows 64 KiB; nobody needs more than a few names
constexpr size_t kept_bytes_max = 512;  // alerts and KeyUpdates are under 100 bytes each

struct TicketSlot {
    SSL_SESSION *session = nullptr;
    uint64_t used = 0; // larger is newer
    Nanos stored_at = 0;
    size_t size = 0;
    uint8_t key[ticket_key_max];
};

} // namespace wx

struct wx::TlsContext {
    SSL_CTX *ssl = nullptr;
    EVP_MD *sha256 = nullptr;
    bool verify = true;
    bool has_certificate = false;
    bool system_store = false; // trust is the system's
    bool trust_empty = false;  // and there is no certificate in its file
    int version_min = 12;
    int keylog_fd = -1;
    size_t record_bytes = tls_record_plain_max;
    size_t pin_count = 0;
    uint8_t pins[pins_max][32];
    size_t alpn_size = 0;
    uint8_t alpn[alpn_bytes_max]; // wire form, RFC 7301 section 3.1
    uint64_t ticket_clock = 0;
    TicketSlot tickets[ticket_hosts_max];
};

namespace wx {

// One direction.
struct RecordKeys {
    EVP_CIPHER_CTX *cipher = nullptr;
    uint64_t sequence = 0;
    size_t secret_size = 0;
    uint8_t nonce[12] = {0};
    uint8_t secret[48] = {0}; // TLS 1.3: the traffic secret
};

// The record layer after the handshake; see openssl_records.cc.
struct RecordLayer {
    bool active = false; // else OpenSSL's own is used: a cipher without AEAD
    bool tls13 = false;
    bool explicit_nonce = false;  // TLS 1.2 with AES-GCM: 8 bytes of nonce in each record
    bool openssl_in_step = false; // OpenSSL has seen all records so far and can take another
    bool update_due = false;      // the peer wants a KeyUpdate
    unsigned idle_records = 0;
    unsigned message_head_size = 0; // of a handshake message that is being walked
    uint8_t message_head[8] = {0};
    size_t message_left = 0;
    size_t key_size = 0;
    size_t secret_size = 0;
    const char *digest = "";
    RecordKeys in;
    RecordKeys out;
    size_t held = 0;                // bytes of an incomplete record in `record`
    const uint8_t *plain = nullptr; // plaintext not delivered yet, in `record`
    size_t plain_left = 0;
    uint8_t record[tls_record_wire_max];
};

struct OpensslSession : TlsSession {
    TlsContext *context = nullptr;
    SSL *ssl = nullptr;
    bool established = false;
    bool close_sent = false;
    bool peer_closed = false;        // close_notify arrived
    bool starved = false;            // OpenSSL wanted input and there was none
    bool blocked = false;            // OpenSSL had output and there was no room
    bool not_tls = false;            // the first bytes cannot begin a TLS answer
    bool plain_left = false;         // out filled before the record was used up
    bool certificate_wanted = false; // the server sent CertificateRequest
    bool host_is_address = false;
    bool offered_ticket = false;
    bool early_sent = false;
    size_t early_max = 0;   // early data that the offered ticket allows
    size_t ticket_size = 0; // of the offered one
    uint64_t bytes_in = 0;
    uint64_t rekeyed_at = 0;         // records_out when the write keys were last renewed
    char host[host_bytes_max] = {0}; // as verified: without trailing dot or zone
    size_t ticket_key_size = 0;      // 0: no tickets for this session
    uint8_t ticket_key[ticket_key_max];
    char alpn[alpn_bytes_max] = {0};
    uint8_t kept[kept_bytes_max];
    RecordLayer records;
    ErrorText failure; // code is not 0 once the session has ended; repeated to every later call
};

// openssl.cc: made at the first open, kept for the life of the process.
OSSL_LIB_CTX *openssl_library(); // nullptr: out of memory
BIO *openssl_bio_new(OpensslSession *session);

// openssl_context.cc
int openssl_context_open(const TlsOptions &options, TlsContext **out, ErrorText *error);
void openssl_context_free(TlsContext *context);

// openssl_trust.cc: CA certificates and the client's own certificate.
int openssl_load_trust(TlsContext *context, const TlsOptions &options, ErrorText *error);
int openssl_load_certificate(TlsContext *context, const TlsOptions &options, ErrorText *error);

// openssl_verify.cc
int openssl_verify_chain(X509_STORE_CTX *store, void *context); // OpenSSL's callback
int openssl_set_host(OpensslSession *session, ByteView host, ErrorText *error);

// openssl_tickets.cc
int openssl_on_ticket(SSL *ssl, SSL_SESSION *ticket); // OpenSSL's callback
void openssl_set_ticket_key(OpensslSession *session, ByteView ticket_key);
void openssl_offer_ticket(OpensslSession *session);
void openssl_forget_ticket(OpensslSession *session);
void openssl_free_tickets(TlsContext *context);

// openssl_records.cc
void openssl_keep_secret(OpensslSession *session, const char *line); // a line of the key log
void openssl_records_begin(OpensslSession *session);
// The same with keys from elsewhere, for whoever goes without a handshake: TLS 1.2 with this key block (RFC
// 5246 section 6.3, record_key_block_bytes), or TLS 1.3 when it is null, with the secrets kept before.
constexpr size_t record_key_block_bytes = 2 * (32 + 12);
void openssl_records_start(OpensslSession *session, const char *cipher, size_t hash_bytes,
                           const uint8_t *key_block);
void openssl_records_end(OpensslSession *session);
int64_t openssl_records_read(OpensslSession *session, uint8_t *out, size_t cap, ErrorText *error);
size_t openssl_records_write(OpensslSession *session, const uint8_t *data, size_t size); // 0: failed
bool openssl_records_rekey(OpensslSession *session);
void openssl_records_close(OpensslSession *session);

// openssl_error.cc
int openssl_on_alert(OpensslSession *session, int alert); // sets session->failure
// Begins "TLS with HOST: ".
ErrorText &openssl_say(const OpensslSession *session, int code, ErrorText *error);
// Turns OpenSSL's error queue into session->failure; returns its code.
int openssl_fail(OpensslSession *session);
// Adds ": reason" from the newest error in the queue and empties the queue.
ErrorText &openssl_add_reason(ErrorText *error);

} // namespace wx
