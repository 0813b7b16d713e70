// SPDX-License-Identifier: MIT
// TLS as the pipeline sees it: bytes in, bytes out, no I/O. One backend per build (openssl*.cc or none.cc),
// a table of functions. A session reads ciphertext from `input`, which the caller points at bytes it
// owns, and writes ciphertext to `output`, room that the caller owns; it keeps neither pointer past a call.
//
// Order of calls: context_open once per configuration; session_open per connection; perhaps early(); then
//   loop: set input/output, handshake() until 1; then read()/write(); close_notify() at the end.
// After every call the caller sends what is in output; what was consumed is gone from input already
// (input.data and input.size moved on). Two rules keep a caller from waiting for the peer while the
// session waits for the caller:
//   - output came back full, or output_kept is not 0: send it, then call again with room;
//   - `more` is set: call read() again even if no input is left.
//
// Truncation: a peer that ends TCP without close_notify may have been cut off by someone in between.
// The session sees no TCP, so the caller finds it: TCP ended and read() has not returned E_CLOSED ->
// WSXDP_E_TLS_TRUNCATED (during the handshake WSXDP_E_TLS_EOF).
//
// A context and its sessions belong to one thread at a time; free the sessions first.
#pragma once
#include "../base/bytes.h"
#include "../base/status.h"

namespace wx {

struct TlsContext; // backend's own: trust, keys, ticket cache
struct TlsBackend;

// Pointers stay the caller's and are read only during context_open. Null or empty means not given.
struct TlsOptions {
    const char *ca_file = nullptr;
    const char *ca_dir = nullptr; // every file in it that holds PEM certificates; hashed names not needed
    ByteView ca_pem;
    bool system_ca = true; // used only when none of the three above is given
    bool verify = true;
    const char *cert_file = nullptr; // PEM: own certificate, then intermediates
    const char *key_file = nullptr;  // PEM; not given: the key is in cert_file
    const char *key_password = nullptr;
    // base64 of SHA-256 of SubjectPublicKeyInfo (RFC 7469 2.4). One match with any certificate of the
    // verified chain is enough (RFC 7469 2.6). With verify off only the server's own certificate counts,
    // because it alone is proven by the handshake; that is how a self-signed server is pinned.
    const char *const *pins_sha256 = nullptr;
    size_t pin_count = 0;
    const char *alpn = nullptr;         // comma separated, "" for none
    int version_min = 12;               // 12 or 13
    const char *ciphers = nullptr;      // TLS 1.2, OpenSSL list
    const char *ciphersuites = nullptr; // TLS 1.3
    bool resumption = true;
    const char *keylog_file = nullptr; // NSS key log format, appended; created readable by the owner only
    size_t record_bytes = 0;           // most plaintext per record written, 512 to 16384, 0 for 16384
};

// input: ciphertext not consumed yet. output: room for ciphertext; output_used grows.
struct TlsSession {
    const TlsBackend *backend = nullptr;
    ByteView input;
    ByteSpan output;
    size_t output_used = 0;
    size_t output_kept = 0;  // ciphertext kept back for lack of room; the next call moves it to output
    bool more = false;       // set by read(): plaintext, or the end, is waiting without further input
    uint64_t records_in = 0; // application data records
    uint64_t records_out = 0;
    // TLS 1.3 write keys are renewed (KeyUpdate, RFC 8446 section 5.5) after this many records.
    uint64_t rekey_records = uint64_t(1) << 23;
};

// What facts() gives after the handshake; static or session-owned text.
struct TlsFacts {
    const char *version = ""; // "TLSv1.3"
    const char *cipher = "";
    const char *alpn = "";
    bool resumed = false;
    const char *early = "no"; // 0-RTT: "no" (not sent), "accepted", "rejected"
};

struct TlsBackend {
    const char *name; // "openssl 3.0.19", "none"
    bool available;

    // Reads files, and the environment (SSL_CERT_FILE, SSL_CERT_DIR: system store only). Errors:
    // E_TLS_SETUP, E_TLS_CA, E_TLS_CLIENT_CERT, E_MEMORY with a sentence; E_UNSUPPORTED without TLS.
    int (*context_open)(const TlsOptions &options, TlsContext **out, ErrorText *error);
    void (*context_free)(TlsContext *context);

    // host: name or IP literal without brackets, verified and (for names) sent as SNI.
    // ticket_key: tickets are kept in the context under this text ("host:port") and host.
    int (*session_open)(TlsContext *context, ByteView host, ByteView ticket_key, TlsSession **out,
                        ErrorText *error);
    void (*session_free)(TlsSession *session);

    // 1 done, 0 wants more input or output room, < 0 failed (an alert may be in output: send it).
    // Takes nothing from input beyond the handshake. With TLS 1.3 the server may still refuse this side
    // (client certificate): that comes out of the first read().
    int (*handshake)(TlsSession *session, ErrorText *error);

    // TLS 1.3 early data (0-RTT, RFC 8446 section 2.3), before the first handshake(). 1: written behind the
    // first flight; whether the server took it is in facts() after the handshake, and if not, it must be sent
    // again. 0: not possible now (no ticket that allows as much, or little room), nothing was done. < 0
    // failed. Whoever records it can send it to the server again (RFC 8446 appendix E.5).
    int (*early)(TlsSession *session, const uint8_t *data, size_t size, ErrorText *error);

    // Decrypts into out, as many records as fit and are complete. > 0 bytes, 0 wants more input,
    // E_CLOSED after close_notify, E_TLS_RECORD, E_TLS_ALERT ... . Takes all of input unless out fills.
    // Plaintext never exceeds the ciphertext given, plus at most read_kept_max kept back before. What was
    // decrypted before an error is given first, with `more` set; the error comes from the next call.
    int64_t (*read)(TlsSession *session, uint8_t *out, size_t cap, ErrorText *error);

    // Encrypts up to size bytes as one record (several when above record_bytes). Returns plaintext bytes
    // taken (0: output has no room for a whole record), < 0 failed. Room for size n: n + record_overhead
    // per record.
    int64_t (*write)(TlsSession *session, const uint8_t *data, size_t size, ErrorText *error);

    // Into output. 0 done, 1 some of it is kept back: send output, call again.
    int (*close_notify)(TlsSession *session);
    void (*facts)(const TlsSession *session, TlsFacts *out);

    // Digest that HTTP needs (RFC 6455 section 4.2.2); 0 or E_INTERNAL.
    int (*sha1)(ByteView data, uint8_t out[20]);
};

constexpr size_t tls_record_plain_max = 16384; // RFC 8446 section 5.1
constexpr size_t tls_record_overhead = 256;    // RFC 8446 section 5.2: TLS 1.3 adds at most 256, plus head
constexpr size_t tls_record_wire_max = 5 + tls_record_plain_max + tls_record_overhead;
constexpr size_t tls_read_kept_max = tls_record_wire_max; // what a session may hold undelivered

const TlsBackend *tls_backend();           // the one this build was made with
const char *const *tls_versions_offered(); // {"TLSv1.2", "TLSv1.3", nullptr}

} // namespace wx
