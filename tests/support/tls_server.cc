// SPDX-License-Identifier: MIT
// See tls_server.h. TLS runs over memory, so that the script decides which bytes leave together. Ends the
// program with a sentence when a socket cannot be made: no test says anything then.
#include "tls_server.h"
#include "certs.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

namespace scripted {

namespace {

constexpr int patience_s = 10;

[[noreturn]] void give_up(const char *what) {
    fprintf(stderr, "test server: %s: %s\n", what, strerror(errno));
    exit(2);
}

int on_sni(SSL *ssl, int *, void *self) {
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    TlsSide *side = static_cast<TlsSide *>(self);
    std::lock_guard<std::mutex> lock(side->writing); // a server has a thread for each connection
    side->sni = name ? name : "";
    return SSL_TLSEXT_ERR_OK;
}

int on_alpn(SSL *, const unsigned char **out, unsigned char *size, const unsigned char *offered,
            unsigned length, void *self) {
    const std::string &wanted = static_cast<TlsSide *>(self)->alpn;
    for (unsigned at = 0; at < length; at += offered[at] + 1u) {
        if (std::string(reinterpret_cast<const char *>(offered + at + 1), offered[at]) != wanted) continue;
        *out = offered + at + 1;
        *size = offered[at];
        return SSL_TLSEXT_ERR_OK;
    }
    return SSL_TLSEXT_ERR_NOACK;
}

} // namespace

socklen_t address_of(const char *text, int port, sockaddr_storage *out) {
    memset(out, 0, sizeof *out);
    sockaddr_in *v4 = reinterpret_cast<sockaddr_in *>(out);
    sockaddr_in6 *v6 = reinterpret_cast<sockaddr_in6 *>(out);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(static_cast<uint16_t>(port));
        return sizeof *v4;
    }
    if (inet_pton(AF_INET6, text, &v6->sin6_addr) != 1) give_up(text);
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(port));
    return sizeof *v6;
}

// OpenSSL works out what a certificate says when it is first asked, which may be by two handshakes at once:
// safe, but in a way that the race detector does not see. So it is asked here.
static void read_certificates(SSL_CTX *context) {
    X509_check_purpose(SSL_CTX_get0_certificate(context), -1, 0);
    STACK_OF(X509_OBJECT) *roots = X509_STORE_get0_objects(SSL_CTX_get_cert_store(context));
    for (int i = 0; i < sk_X509_OBJECT_num(roots); i++)
        X509_check_purpose(X509_OBJECT_get0_X509(sk_X509_OBJECT_value(roots, i)), -1, 0);
}

TlsSide::TlsSide(const CertDir &certs, const char *certificate, int version_min, int version_max,
                 int verify) {
    context = SSL_CTX_new(TLS_server_method());
    std::string name = certificate;
    SSL_CTX_set_security_level(context, 0);
    SSL_CTX_set_min_proto_version(context, version_min);
    SSL_CTX_set_max_proto_version(context, version_max);
    SSL_CTX_set_cipher_list(context, "ALL:@SECLEVEL=0");
    if (SSL_CTX_use_certificate_chain_file(context, certs.path((name + ".pem").c_str()).c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, certs.path((name + ".key").c_str()).c_str(), SSL_FILETYPE_PEM) !=
            1)
        give_up(certificate);
    SSL_CTX_load_verify_locations(context, certs.path("ca.pem").c_str(), nullptr);
    read_certificates(context);
    SSL_CTX_set_verify(context, verify, nullptr);
    SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char *>("s"), 1);
    SSL_CTX_set_tlsext_servername_callback(context, on_sni);
    SSL_CTX_set_tlsext_servername_arg(context, this);
    SSL_CTX_set_alpn_select_cb(context, on_alpn, this);
}

TlsSide::~TlsSide() { SSL_CTX_free(context); }

// ---- frames ----

std::string frame(int opcode, const std::string &payload, bool final) {
    std::string out(1, static_cast<char>((final ? 0x80 : 0) | opcode));
    size_t size = payload.size();
    int width = size < 126 ? 0 : (size < 65536 ? 2 : 8);
    out += static_cast<char>(width == 0 ? size : (width == 2 ? 126u : 127u));
    for (int i = width; i-- > 0;) out += static_cast<char>(size >> (8 * i));
    return out + payload;
}

std::string close_frame(int code, const std::string &reason) {
    if (code == 0) return frame(8, "");
    std::string body = {static_cast<char>(code >> 8), static_cast<char>(code)};
    return frame(8, body + reason);
}

std::string accept_of(const std::string &key) {
    std::string text = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char digest[20], base64[32];
    SHA1(reinterpret_cast<const unsigned char *>(text.data()), text.size(), digest);
    EVP_EncodeBlock(base64, digest, sizeof digest);
    return reinterpret_cast<char *>(base64);
}

// ---- one connection ----

Wire::~Wire() { SSL_free(ssl); }

void Wire::ended(const char *call, ssize_t result) {
    if (why.empty()) why = std::string(call) + ": " + (result < 0 ? strerror(errno) : "end of the stream");
}

ssize_t Wire::receive(char *part, size_t size) {
    const ssize_t got = TEMP_FAILURE_RETRY(recv(fd, part, size, 0));
    if (got <= 0) ended("recv", got);
    return got;
}

void Wire::send_all(const std::string &bytes) {
    size_t step = drip ? 1 : bytes.size();
    for (size_t at = 0; at < bytes.size();) {
        size_t size = bytes.size() - at < step ? bytes.size() - at : step;
        ssize_t sent = TEMP_FAILURE_RETRY(::send(fd, bytes.data() + at, size, MSG_NOSIGNAL));
        broken = sent <= 0;
        if (broken)
            return ended("send", sent); // the client has gone; a script that only writes looks at `broken`
        at += static_cast<size_t>(sent);
    }
}

// TLS's output to the socket.
void Wire::push() {
    std::string out(BIO_ctrl_pending(SSL_get_wbio(ssl)), 0);
    if (out.empty()) return;
    BIO_read(SSL_get_wbio(ssl), &out[0], static_cast<int>(out.size()));
    if (hold)
        held += out;
    else
        send_all(out);
}

void Wire::flush() {
    send_all(held);
    held.clear();
}

bool Wire::start_tls(TlsSide *side) {
    ssl = SSL_new(side->context);
    SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
    BIO_set_mem_eof_return(SSL_get_rbio(ssl), -1);
    SSL_set_accept_state(ssl);
    for (;;) {
        int result = SSL_do_handshake(ssl);
        int error = SSL_get_error(ssl, result);
        push();
        ERR_clear_error();
        if (result == 1) return true;
        char part[8192];
        ssize_t got = error == SSL_ERROR_WANT_READ ? receive(part, sizeof part) : 0;
        if (got <= 0) return false;
        BIO_write(SSL_get_rbio(ssl), part, static_cast<int>(got));
    }
}

bool Wire::fill() {
    char part[65536];
    for (;;) {
        size_t count = 0;
        if (ssl && SSL_read_ex(ssl, part, sizeof part, &count) == 1) {
            buffered.append(part, count);
            push(); // an answer to a key update
            return true;
        }
        ERR_clear_error();
        if (ssl && (SSL_get_shutdown(ssl) & SSL_RECEIVED_SHUTDOWN)) return false;
        ssize_t got = receive(part, ssl ? 8192 : sizeof part);
        if (got <= 0) return false;
        if (!ssl) {
            buffered.append(part, static_cast<size_t>(got));
            return true;
        }
        BIO_write(SSL_get_rbio(ssl), part, static_cast<int>(got));
    }
}

std::string Wire::read_exactly(size_t size) {
    while (buffered.size() < size && fill()) {
    }
    if (buffered.size() < size) return "";
    std::string out = buffered.substr(0, size);
    buffered.erase(0, size);
    return out;
}

const std::string &Wire::read_head() {
    size_t end = 0;
    while ((end = buffered.find("\r\n\r\n")) == std::string::npos && fill()) {
    }
    head = end == std::string::npos ? "" : read_exactly(end + 4);
    return head;
}

std::string Wire::field(const char *name) const {
    std::string start = std::string("\r\n") + name + ": ";
    size_t at = head.find(start);
    if (at == std::string::npos) return "";
    at += start.size();
    return head.substr(at, head.find("\r\n", at) - at);
}

void Wire::write(const std::string &bytes) {
    if (!ssl && hold) {
        held += bytes;
    } else if (!ssl) {
        send_all(bytes);
    } else if (!bytes.empty()) {
        size_t written = 0;
        for (size_t at = 0; at < bytes.size(); at += written) {
            size_t size = bytes.size() - at < 16384 ? bytes.size() - at : 16384;
            if (SSL_write_ex(ssl, bytes.data() + at, size, &written) != 1) return;
            push();
        }
    }
}

std::string Wire::answer(const std::string &extra) const {
    return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: " +
           accept_of(field("Sec-WebSocket-Key")) + "\r\n" + extra + "\r\n";
}

Frame Wire::read_frame() {
    Frame out;
    std::string start = read_exactly(2);
    if (start.empty()) return out;
    auto byte = [](char c) { return static_cast<size_t>(static_cast<unsigned char>(c)); };
    out.final = byte(start[0]) & 0x80;
    out.masked = byte(start[1]) & 0x80;
    size_t size = byte(start[1]) & 0x7f;
    if (size >= 126) {
        std::string length = read_exactly(size == 126 ? 2 : 8);
        size = 0;
        for (char c : length) size = size << 8 | byte(c);
    }
    std::string mask = out.masked ? read_exactly(4) : std::string(4, 0);
    out.payload = size ? read_exactly(size) : "";
    if (mask.size() != 4 || out.payload.size() != size) return Frame();
    for (size_t i = 0; i < size; i++) out.payload[i] = static_cast<char>(out.payload[i] ^ mask[i % 4]);
    out.opcode = static_cast<int>(byte(start[0]) & 15);
    return out;
}

void Wire::key_update() {
    SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
    SSL_do_handshake(ssl);
    push();
}

void Wire::close_notify() {
    SSL_shutdown(ssl);
    push();
}

void Wire::end() { shutdown(fd, SHUT_WR); }

void Wire::reset() {
    linger now = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    int nothing = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(nothing, fd); // the number stays ours until the server closes it
    close(nothing);
}

bool Wire::wait_end() {
    while (fill()) buffered.clear();
    return true;
}

// ---- the server ----

int bound_socket(const char *address, int *port, bool listening, int backlog) {
    sockaddr_storage at;
    socklen_t size = address_of(address, *port, &at);
    int fd = socket(at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(fd, reinterpret_cast<sockaddr *>(&at), size) != 0) give_up("bind");
    if (listening && listen(fd, backlog) != 0) give_up("listen");
    getsockname(fd, reinterpret_cast<sockaddr *>(&at), &size);
    *port = ntohs(reinterpret_cast<sockaddr_in *>(&at)->sin_port); // at the same place in IPv6
    return fd;
}

Server::Server(Script wanted, TlsSide *tls, const char *address, int wanted_port, int receive_buffer)
    : port(wanted_port), side(tls), script(wanted) {
    listener = bound_socket(address, &port, false);
    if (receive_buffer) setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (receive_buffer) setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &receive_buffer, sizeof receive_buffer);
    if (listen(listener, 64) != 0) give_up("listen");
    acceptor = std::thread([this] { run(); });
}

Server::Server(Script wanted, const std::string &path) : unix_path(path), script(wanted) {
    sockaddr_un at = {};
    at.sun_family = AF_UNIX;
    snprintf(at.sun_path, sizeof at.sun_path, "%s", path.c_str());
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    unlink(path.c_str());
    if (bind(listener, reinterpret_cast<sockaddr *>(&at), sizeof at) != 0) give_up("bind");
    if (listen(listener, 64) != 0) give_up("listen");
    acceptor = std::thread([this] { run(); });
}

Server::~Server() {
    stopping = true;
    shutdown(listener, SHUT_RDWR);
    acceptor.join();
    close(listener);
    {
        std::lock_guard<std::mutex> lock(mutex);
        for (int fd : open_fds) shutdown(fd, SHUT_RDWR);
    }
    for (std::thread &thread : threads) thread.join();
    if (!unix_path.empty()) unlink(unix_path.c_str());
}

std::string Server::url(const char *rest, const char *host) const {
    return std::string(side ? "wss://" : "ws://") + host + ":" + std::to_string(port) + rest;
}

void Server::run() {
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr); // inherited by the connections' threads
    while (!stopping) {
        int fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (fd < 0) continue;
        std::lock_guard<std::mutex> lock(mutex);
        open_fds.push_back(fd);
        int number = accepted++;
        threads.emplace_back([this, fd, number] { serve(fd, number); });
    }
}

void Server::serve(int fd, int number) {
    timeval patience = {patience_s, 0};
    int yes = 1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    {
        Wire wire;
        wire.fd = fd;
        wire.number = number;
        if (!side || wire.start_tls(side)) script(wire);
        if (!wire.held.empty()) wire.flush();
    }
    std::lock_guard<std::mutex> lock(mutex);
    for (size_t i = 0; i < open_fds.size(); i++)
        if (open_fds[i] == fd) open_fds.erase(open_fds.begin() + static_cast<long>(i)), i--;
    close(fd);
}

RefusingPort::~RefusingPort() { close(fd); }

SilentPort::SilentPort(const char *address, int wanted) : port(wanted) {
    fds.push_back(bound_socket(address, &port, true, 0));
    sockaddr_storage at;
    socklen_t size = address_of(address, port, &at);
    for (int i = 0; i < 8; i++) {
        int fd = socket(at.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        connect(fd, reinterpret_cast<sockaddr *>(&at), size);
        fds.push_back(fd);
        pollfd ready = {fd, POLLOUT, 0};
        if (TEMP_FAILURE_RETRY(poll(&ready, 1, 100)) == 0)
            return; // this one waits for ever: so will the next
    }
    give_up("the queue does not fill");
}

SilentPort::~SilentPort() {
    for (int fd : fds) close(fd);
}

} // namespace scripted
