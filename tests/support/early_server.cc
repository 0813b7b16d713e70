// SPDX-License-Identifier: MIT
// Blocking on the socket, which the server closes at its end. OpenSSL reads early data only by its own call,
// so the handshake cannot be that of Wire::start_tls.
#include "early_server.h"
#include <errno.h>
#include <unistd.h>

#include <openssl/err.h>

namespace scripted {

constexpr uint32_t early_max = 16384;

// Sends what OpenSSL has written and reads more. False at the end.
static bool exchange(Wire *wire, bool wants_more) {
    char part[16384];
    for (int size; (size = BIO_read(SSL_get_wbio(wire->ssl), part, sizeof part)) > 0;)
        if (TEMP_FAILURE_RETRY(send(wire->fd, part, static_cast<size_t>(size), MSG_NOSIGNAL)) != size)
            return false;
    ERR_clear_error();
    if (!wants_more) return true;
    ssize_t got = TEMP_FAILURE_RETRY(recv(wire->fd, part, sizeof part, 0));
    if (got <= 0) return false;
    BIO_write(SSL_get_rbio(wire->ssl), part, static_cast<int>(got));
    return true;
}

static bool read_early(Wire *wire, std::string *early) {
    for (;;) {
        char part[16384];
        size_t count = 0;
        int status = SSL_read_early_data(wire->ssl, part, sizeof part, &count);
        if (status == SSL_READ_EARLY_DATA_FINISH) return true;
        if (status == SSL_READ_EARLY_DATA_SUCCESS) early->append(part, count);
        if (status == SSL_READ_EARLY_DATA_ERROR && !exchange(wire, true)) return false;
    }
}

EarlyStart start_early_tls(Wire *wire, TlsSide *side, bool take) {
    EarlyStart start;
    wire->ssl = SSL_new(side->context);
    SSL_set_bio(wire->ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(wire->ssl), -1);
    SSL_set_accept_state(wire->ssl);
    // Else early data is tied to a cached session, which OpenSSL drops when a script ends without
    // close_notify.
    SSL_set_options(wire->ssl, SSL_OP_NO_ANTI_REPLAY);
    // Zero refuses; new tickets carry what is set when they are made, which is after the handshake.
    SSL_set_max_early_data(wire->ssl, take ? early_max : 0);
    SSL_set_recv_max_early_data(wire->ssl, early_max); // to be skipped when refused
    if (take && !read_early(wire, &start.early)) return start;
    SSL_set_max_early_data(wire->ssl, early_max);
    while (SSL_do_handshake(wire->ssl) != 1)
        if (!exchange(wire, true)) return start;
    exchange(wire, false);
    start.done = true;
    start.resumed = SSL_session_reused(wire->ssl) == 1;
    wire->buffered = start.early;
    return start;
}

} // namespace scripted
