// SPDX-License-Identifier: MIT
// The build without TLS (make TLS=none): the same table, in which every open answers E_UNSUPPORTED with a
// sentence that says what to do. It never pretends: nothing here lets bytes through unencrypted. The
// digest works, because plain ws:// needs it. Worst case: a wss:// URL is refused when it is opened.
#include "sha1.h"
#include "tls.h"

namespace wx {
namespace {

int refuse(ErrorText *error) {
    error->begin(WSXDP_E_UNSUPPORTED)
        .add("wss:// needs TLS, and this library was built without it (TLS=none). Build it with "
             "make TLS=openssl, or use a ws:// URL where an unencrypted connection is acceptable.");
    return WSXDP_E_UNSUPPORTED;
}

int none_context_open(const TlsOptions &, TlsContext **out, ErrorText *error) {
    *out = nullptr;
    return refuse(error);
}

void none_context_free(TlsContext *) {}

int none_session_open(TlsContext *, ByteView, ByteView, TlsSession **out, ErrorText *error) {
    *out = nullptr;
    return refuse(error);
}

void none_session_free(TlsSession *) {}

int none_handshake(TlsSession *, ErrorText *error) { return refuse(error); }

int none_early(TlsSession *, const uint8_t *, size_t, ErrorText *error) { return refuse(error); }

int64_t none_read(TlsSession *, uint8_t *, size_t, ErrorText *error) { return refuse(error); }

int64_t none_write(TlsSession *, const uint8_t *, size_t, ErrorText *error) { return refuse(error); }

int none_close_notify(TlsSession *) { return WSXDP_E_UNSUPPORTED; }

void none_facts(const TlsSession *, TlsFacts *out) { *out = TlsFacts(); }

constexpr TlsBackend none_backend = {
    "none",         false,      none_context_open, none_context_free, none_session_open, none_session_free,
    none_handshake, none_early, none_read,         none_write,        none_close_notify, none_facts,
    sha1_digest,
};

constexpr const char *none_versions[] = {nullptr};

} // namespace

const TlsBackend *tls_backend() { return &none_backend; }
const char *const *tls_versions_offered() { return none_versions; }

} // namespace wx
