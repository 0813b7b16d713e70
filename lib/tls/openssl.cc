// SPDX-License-Identifier: MIT
// TLS by OpenSSL 3: sessions that turn bytes into bytes. A BIO of our own copies ciphertext from the
// session's input and into its output, so there is no memory BIO to grow; after the handshake records are
// opened and sealed by openssl_records.cc without allocation, except for the ciphers without AEAD that
// tls.ciphers can switch on. It never touches a socket, and never uses OpenSSL's default library
// context.
//
// OpenSSL has some state per process, and one choice is unavoidable: whichever first call initialises it
// decides about openssl.cnf and an exit handler. Ours asks for neither; a program that relies on
// openssl.cnf for its own use of OpenSSL calls OPENSSL_init_crypto(OPENSSL_INIT_LOAD_CONFIG, NULL) before
// it opens its first wss:// connection. The library context is made once and kept for the life of the
// process, because OpenSSL's per-thread random generators refer to it until their threads end, and a
// handle may have been used by threads that outlive it.
//
// Worst case: with such a cipher every record is copied twice each way and OpenSSL allocates for it.
#include "../base/alloc.h"
#include "openssl_parts.h"
#include "sha1.h"

#include <atomic>
#include <openssl/provider.h>

namespace wx {
namespace {

std::atomic<OSSL_LIB_CTX *> shared_library{nullptr};
std::atomic<BIO_METHOD *> shared_method{nullptr};

OpensslSession *own(TlsSession *session) { return static_cast<OpensslSession *>(session); }
const OpensslSession *own(const TlsSession *session) { return static_cast<const OpensslSession *>(session); }

size_t room(const OpensslSession *session) { return session->output.size - session->output_used; }

// ---- BIO: called by OpenSSL --------------------------------------------------------------------

// The first byte of a TLS answer is a handshake record or an alert (RFC 8446 section 5.1). Anything else is
// told apart before OpenSSL consumes it, so that the sentence can show what arrived.
bool can_begin_tls(ByteView input) { return input.data[0] == 22 || input.data[0] == 21; }

int bio_read(BIO *bio, char *out, size_t size, size_t *count) {
    OpensslSession *session = static_cast<OpensslSession *>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    const size_t left = session->input.size;
    if (left == 0) {
        session->starved = true;
        BIO_set_retry_read(bio);
        return 0;
    }
    if (__builtin_expect(session->bytes_in == 0, 0) && !can_begin_tls(session->input)) {
        session->not_tls = true;
        return 0;
    }
    const size_t taken = size < left ? size : left;
    memcpy(out, session->input.data, taken);
    session->input.data += taken;
    session->input.size = left - taken;
    session->bytes_in += taken;
    *count = taken;
    return 1;
}

// What does not fit in output is kept back as far as it is small. Large flights of the handshake are
// written piece by piece; a data record is written only when there is room for all of it.
int bio_write(BIO *bio, const char *data, size_t size, size_t *count) {
    OpensslSession *session = static_cast<OpensslSession *>(BIO_get_data(bio));
    BIO_clear_retry_flags(bio);
    if (session->records.active) { // OpenSSL's sequence numbers are stale: what it says is not sent
        *count = size;
        return 1;
    }
    size_t direct = session->output_kept ? 0 : room(session);
    if (direct > size) direct = size;
    if (direct) memcpy(session->output.data + session->output_used, data, direct);
    session->output_used += direct;
    size_t rest = size - direct;
    const size_t spare = kept_bytes_max - session->output_kept;
    if (rest > spare) rest = spare;
    if (rest) memcpy(session->kept + session->output_kept, data + direct, rest);
    session->output_kept += rest;
    *count = direct + rest;
    if (*count > 0 || size == 0) return 1;
    session->blocked = true;
    BIO_set_retry_write(bio);
    return 0;
}

long bio_control(BIO *, int command, long, void *) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

// ---- shared by the process ------------------------------------------------------------------------

BIO_METHOD *bio_method() {
    BIO_METHOD *method = shared_method.load(std::memory_order_acquire);
    if (method) return method;
    method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "wsxdp");
    if (!method) return nullptr;
    BIO_meth_set_read_ex(method, bio_read);
    BIO_meth_set_write_ex(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
    BIO_METHOD *first = nullptr;
    if (shared_method.compare_exchange_strong(first, method, std::memory_order_acq_rel)) return method;
    BIO_meth_free(method); // another thread was faster
    return first;
}

OSSL_LIB_CTX *new_library() {
    const uint64_t flags = OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_NO_ATEXIT;
    if (OPENSSL_init_ssl(flags, nullptr) != 1) return nullptr;
    OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
    if (!library) return nullptr;
    if (OSSL_PROVIDER_load(library, "default")) return library;
    OSSL_LIB_CTX_free(library);
    return nullptr;
}

// ---- session ----------------------------------------------------------------------------------------

// Every call begins here: what was kept back goes out first.
void flush_kept(OpensslSession *session) {
    if (__builtin_expect(session->output_kept == 0, 1)) return;
    size_t count = room(session);
    if (count == 0) return;
    if (count > session->output_kept) count = session->output_kept;
    memcpy(session->output.data + session->output_used, session->kept, count);
    session->output_used += count;
    session->output_kept -= count;
    memmove(session->kept, session->kept + count, session->output_kept);
}

// Whether the last call into OpenSSL stopped because our BIO had nothing to give or no room to take.
// OpenSSL's own answer (SSL_want, SSL_get_error) is no use: the one still says "reading" after some fatal
// errors, the other mistakes errors of the host's own in this thread's queue for ours.
bool is_waiting(const OpensslSession *session) {
    return session->starved || (session->blocked && ERR_peek_last_error() == 0);
}

int repeat_failure(const OpensslSession *session, ErrorText *error) {
    *error = session->failure;
    return session->failure.code;
}

int fail(OpensslSession *session, ErrorText *error) {
    openssl_fail(session);
    // A ticket that led here may be why; the next attempt does without.
    if (!session->established && session->offered_ticket) openssl_forget_ticket(session);
    return repeat_failure(session, error);
}

int session_make(OpensslSession *session, ByteView host, ByteView ticket_key, ErrorText *error) {
    BIO *bio = nullptr;
    session->ssl = SSL_new(session->context->ssl);
    if (session->ssl) bio = openssl_bio_new(session);
    if (!bio) {
        openssl_add_reason(&error->begin(WSXDP_E_MEMORY).add("no memory for a TLS session")).add(".");
        return WSXDP_E_MEMORY;
    }
    SSL_set_bio(session->ssl, bio, bio);
    SSL_set_app_data(session->ssl, session);
    SSL_set_connect_state(session->ssl);
    int status = openssl_set_host(session, host, error);
    if (!ok(status)) return status;
    openssl_set_ticket_key(session, ticket_key);
    openssl_offer_ticket(session);
    return WSXDP_OK;
}

void session_free(TlsSession *base) {
    OpensslSession *session = base ? own(base) : nullptr;
    if (!session) return;
    // RFC 5246 section 7.2.1: a session whose connection was cut may still be resumed. OpenSSL would
    // spoil it unless it is told that the end was orderly.
    if (session->ssl && session->established) {
        SSL_set_shutdown(session->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    }
    SSL_free(session->ssl);
    openssl_records_end(session);
    deallocate(session);
}

const TlsBackend *table();

int session_open(TlsContext *context, ByteView host, ByteView ticket_key, TlsSession **out,
                 ErrorText *error) {
    *out = nullptr;
    OpensslSession *session = allocate_object<OpensslSession>();
    if (!session) {
        error->begin(WSXDP_E_MEMORY).add("no memory for a TLS session.");
        return WSXDP_E_MEMORY;
    }
    session->backend = table();
    session->context = context;
    ERR_clear_error();
    int status = session_make(session, host, ticket_key, error);
    if (!ok(status)) {
        session_free(session);
        return status;
    }
    *out = session;
    return WSXDP_OK;
}

bool was_offered(const TlsContext *context, ByteView name) {
    for (size_t at = 0; at < context->alpn_size; at += 1u + context->alpn[at]) {
        if (equal(ByteView(context->alpn + at + 1, context->alpn[at]), name)) return true;
    }
    return false;
}

// RFC 7301 section 3.1: the server's choice is one of the names offered. OpenSSL leaves that to us.
int check_alpn(OpensslSession *session) {
    const unsigned char *name = nullptr;
    unsigned size = 0;
    SSL_get0_alpn_selected(session->ssl, &name, &size);
    ByteView chosen(name, size);
    if (chosen.empty()) return WSXDP_OK;
    if (!was_offered(session->context, chosen)) {
        openssl_say(session, WSXDP_E_TLS_HANDSHAKE, &session->failure)
            .add("the server chose the ALPN protocol \"")
            .add(chosen)
            .add("\", which was not offered. Change tls.alpn, or clear it.");
        return WSXDP_E_TLS_HANDSHAKE;
    }
    memcpy(session->alpn, chosen.data, chosen.size); // offered, so it is at most 255 bytes
    return WSXDP_OK;
}

int handshake(TlsSession *base, ErrorText *error) {
    OpensslSession *session = own(base);
    flush_kept(session);
    if (session->failure.code) return repeat_failure(session, error);
    if (session->established) return 1;
    ERR_clear_error();
    session->starved = session->blocked = false;
    if (SSL_do_handshake(session->ssl) == 1) {
        if (!ok(check_alpn(session))) return fail(session, error);
        session->established = true;
        openssl_records_begin(session);
        return 1;
    }
    if (is_waiting(session)) return 0;
    return fail(session, error);
}

// A ClientHello without its ticket: names, protocols, suites and key shares.
constexpr size_t hello_bytes_max = 4096;

// One call must do: OpenSSL would ask for the same bytes again, which belong to the caller.
bool early_fits(const OpensslSession *session, size_t size) {
    const size_t wire = hello_bytes_max + session->ticket_size + size + tls_record_overhead;
    return size <= session->early_max && wire <= room(session);
}

int early(TlsSession *base, const uint8_t *data, size_t size, ErrorText *error) {
    OpensslSession *session = own(base);
    if (session->failure.code) return repeat_failure(session, error);
    if (!early_fits(session, size)) return 0;
    ERR_clear_error();
    session->starved = session->blocked = false;
    size_t written = 0;
    session->early_sent = SSL_write_early_data(session->ssl, data, size, &written) == 1 && written == size;
    return session->early_sent ? 1 : fail(session, error);
}

// SSL_read gave nothing: more input needed, the end, or an error.
int64_t on_read_stop(OpensslSession *session, size_t used, ErrorText *error) {
    if (is_waiting(session)) return static_cast<int64_t>(used);
    if (session->peer_closed) {
        openssl_say(session, WSXDP_E_CLOSED, &session->failure).add("the server ended the session.");
    } else {
        openssl_fail(session);
    }
    if (used == 0) return repeat_failure(session, error);
    session->more = true;
    return static_cast<int64_t>(used);
}

int64_t session_read(TlsSession *base, uint8_t *out, size_t cap, ErrorText *error) {
    OpensslSession *session = own(base);
    flush_kept(session);
    session->more = false;
    if (__builtin_expect(session->failure.code != 0, 0)) return repeat_failure(session, error);
    if (__builtin_expect(session->records.active, 1)) return openssl_records_read(session, out, cap, error);
    size_t used = 0;
    while (used < cap && (session->input.size > 0 || session->plain_left)) {
        size_t count = 0;
        session->starved = session->blocked = false;
        if (SSL_read_ex(session->ssl, out + used, cap - used, &count) != 1) {
            session->plain_left = false;
            return on_read_stop(session, used, error);
        }
        if (!session->plain_left) session->records_in++;
        used += count;
        // A record that ended short of the room given is used up; only at the brim OpenSSL is asked.
        session->plain_left = used == cap && SSL_pending(session->ssl) > 0;
    }
    session->more = session->plain_left;
    return static_cast<int64_t>(used);
}

// RFC 8446 section 5.5 limits the records under one AES-GCM key to about 2^24.5. TLS 1.2 has no such means.
bool rekey_if_due(OpensslSession *session) {
    const bool due = session->records_out - session->rekeyed_at >= session->rekey_records;
    if (!due && !session->records.update_due) return true;
    session->rekeyed_at = session->records_out;
    session->records.update_due = false;
    return openssl_records_rekey(session);
}

bool write_record(OpensslSession *session, const uint8_t *data, size_t size) {
    size_t count = 0;
    if (!session->records.active) return SSL_write_ex(session->ssl, data, size, &count) == 1 && count == size;
    return rekey_if_due(session) && openssl_records_write(session, data, size) > 0;
}

int64_t session_write(TlsSession *base, const uint8_t *data, size_t size, ErrorText *error) {
    OpensslSession *session = own(base);
    flush_kept(session);
    // close_notify ends the direction it was sent in: "This does not have any effect on its read side of the
    // connection" (RFC 8446 section 6.1). So the peer still hears what we say.
    if (session->failure.code != 0 && session->failure.code != WSXDP_E_CLOSED)
        return repeat_failure(session, error);
    if (!session->established || session->close_sent) {
        openssl_say(session, WSXDP_E_STATE, error).add("not open for sending.");
        return WSXDP_E_STATE;
    }
    const size_t record = session->context->record_bytes;
    size_t taken = 0;
    while (taken < size && session->output_kept == 0) {
        const size_t chunk = size - taken < record ? size - taken : record;
        // The overhead includes room for a KeyUpdate that may have to go before the record.
        if (room(session) < chunk + tls_record_overhead) break;
        if (!write_record(session, data + taken, chunk)) return fail(session, error);
        session->records_out++;
        taken += chunk;
    }
    return static_cast<int64_t>(taken);
}

int close_notify(TlsSession *base) {
    OpensslSession *session = own(base);
    flush_kept(session);
    // After a failure the alert that ended the session has been written, and nothing may follow it.
    const bool possible = session->established && !session->close_sent &&
                          (session->failure.code == 0 || session->failure.code == WSXDP_E_CLOSED);
    if (possible) {
        session->close_sent = true;
        if (session->records.active)
            openssl_records_close(session);
        else
            SSL_shutdown(session->ssl);
        ERR_clear_error();
    }
    return session->output_kept > 0 ? 1 : 0;
}

void facts(const TlsSession *base, TlsFacts *out) {
    const OpensslSession *session = own(base);
    *out = TlsFacts();
    if (!session->established) return;
    out->version = SSL_get_version(session->ssl);
    out->cipher = SSL_get_cipher_name(session->ssl);
    out->alpn = session->alpn;
    out->resumed = SSL_session_reused(session->ssl) == 1;
    if (session->early_sent)
        out->early =
            SSL_get_early_data_status(session->ssl) == SSL_EARLY_DATA_ACCEPTED ? "accepted" : "rejected";
}

constexpr TlsBackend openssl_backend = {
    "openssl " OPENSSL_VERSION_STR, // what it was built with; patch releases are interchangeable
    true,
    openssl_context_open,
    openssl_context_free,
    session_open,
    session_free,
    handshake,
    early,
    session_read,
    session_write,
    close_notify,
    facts,
    sha1_digest,
};

const TlsBackend *table() { return &openssl_backend; }

constexpr const char *offered[] = {"TLSv1.2", "TLSv1.3", nullptr};

} // namespace

OSSL_LIB_CTX *openssl_library() {
    OSSL_LIB_CTX *library = shared_library.load(std::memory_order_acquire);
    if (library) return library;
    library = new_library();
    if (!library) return nullptr;
    OSSL_LIB_CTX *first = nullptr;
    if (shared_library.compare_exchange_strong(first, library, std::memory_order_acq_rel)) return library;
    OSSL_LIB_CTX_free(library); // another thread was faster; nothing refers to ours yet
    return first;
}

BIO *openssl_bio_new(OpensslSession *session) {
    BIO_METHOD *method = bio_method();
    BIO *bio = method ? BIO_new(method) : nullptr;
    if (!bio) return nullptr;
    BIO_set_data(bio, session);
    BIO_set_init(bio, 1);
    return bio;
}

const TlsBackend *tls_backend() { return &openssl_backend; }
const char *const *tls_versions_offered() { return offered; }

} // namespace wx
