// SPDX-License-Identifier: MIT
// Sockets, certificate, upgrade and frame heads for the bench's own peer and its bare client. Never meets a
// stranger: both ends are ours and on this machine, so anything unexpected ends the program with a sentence.
#include "wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace bench {

size_t build_head(uint8_t *out, uint8_t opcode, uint64_t payload, bool masked, uint32_t mask) {
    size_t at = 0;
    uint8_t top = masked ? 0x80 : 0;
    out[at++] = static_cast<uint8_t>(0x80 | opcode);
    size_t wide = payload < 126 ? 0 : payload < 65536 ? 2 : 8;
    out[at++] = static_cast<uint8_t>(top | (wide == 0 ? payload : wide == 2 ? 126 : 127));
    for (size_t i = wide; i-- > 0;) out[at++] = static_cast<uint8_t>(payload >> (8 * i));
    if (masked) {
        memcpy(out + at, &mask, 4);
        at += 4;
    }
    return at;
}

void apply_mask(uint8_t *data, size_t size, uint32_t mask) {
    uint64_t wide = static_cast<uint64_t>(mask) << 32 | mask;
    size_t at = 0;
    for (; at + 8 <= size; at += 8) {
        uint64_t word;
        memcpy(&word, data + at, 8);
        word ^= wide;
        memcpy(data + at, &word, 8);
    }
    for (; at < size; at++) data[at] ^= static_cast<uint8_t>(mask >> (8 * (at & 3)));
}

void die(const char *what) {
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    ERR_print_errors_fp(stderr);
    exit(1);
}

static void set_option(int fd, int level, int option, int value) {
    setsockopt(fd, level, option, &value, sizeof value);
}

static sockaddr_in endpoint(const char *address, int port) {
    sockaddr_in out{};
    out.sin_family = AF_INET;
    out.sin_port = htons(static_cast<uint16_t>(port));
    if (inet_pton(AF_INET, address, &out.sin_addr) != 1) die(address);
    return out;
}

int listen_on(int *port, const char *on) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    set_option(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    sockaddr_in address = endpoint(on, *port);
    socklen_t length = sizeof address;
    if (bind(fd, reinterpret_cast<sockaddr *>(&address), length) != 0 || listen(fd, 2048) != 0) die("listen");
    getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length);
    *port = ntohs(address.sin_port);
    return fd;
}

int dial(int port, const char *to) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = endpoint(to, port);
    if (connect(fd, reinterpret_cast<sockaddr *>(&address), sizeof address) != 0) die("connect");
    set_option(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    return fd;
}

void set_nonblocking(int fd, bool on) {
    int flags = fcntl(fd, F_GETFL);
    fcntl(fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
}

// ---- TLS ----

static void add_extension(X509 *cert, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, cert, cert, nullptr, nullptr, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(nullptr, &context, nid, value);
    if (!extension) die("certificate extension");
    X509_add_ext(cert, extension, -1);
    X509_EXTENSION_free(extension);
}

void make_certificate(const std::string &cert_file, const std::string &key_file) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), -3600);
    X509_gmtime_adj(X509_getm_notAfter(cert), 86400);
    X509_set_pubkey(cert, key);
    X509_NAME *name = X509_get_subject_name(cert);
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, reinterpret_cast<const uint8_t *>("localhost"), -1,
                               -1, 0);
    X509_set_issuer_name(cert, name);
    add_extension(cert, NID_basic_constraints, "critical,CA:TRUE");
    add_extension(cert, NID_subject_alt_name, "DNS:localhost,IP:127.0.0.1,IP:10.77.0.2");
    add_extension(cert, NID_subject_key_identifier, "hash");
    if (!X509_sign(cert, key, EVP_sha256())) die("certificate");
    FILE *file = fopen(cert_file.c_str(), "w");
    if (!file || !PEM_write_X509(file, cert) || fclose(file) != 0) die(cert_file.c_str());
    int fd = open(key_file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    file = fd < 0 ? nullptr : fdopen(fd, "w");
    if (!file || !PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr) || fclose(file) != 0)
        die(key_file.c_str());
    X509_free(cert);
    EVP_PKEY_free(key);
}

TemporaryCertificate::TemporaryCertificate() {
    const char *base = getenv("TMPDIR");
    folder_ = std::string(base && *base ? base : "/tmp") + "/wsxdp-bench-XXXXXX";
    if (!mkdtemp(&folder_[0])) die("mkdtemp");
    make_certificate(cert_file(), key_file());
}

TemporaryCertificate::~TemporaryCertificate() {
    unlink(key_file().c_str());
    unlink(cert_file().c_str());
    rmdir(folder_.c_str());
}

SSL_CTX *server_context(const std::string &cert_file, const std::string &key_file) {
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (SSL_CTX_use_certificate_chain_file(context, cert_file.c_str()) != 1 ||
        SSL_CTX_use_PrivateKey_file(context, key_file.c_str(), SSL_FILETYPE_PEM) != 1)
        die("server certificate");
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    return context;
}

SSL_CTX *client_context(const std::string &ca_file) {
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    if (SSL_CTX_load_verify_locations(context, ca_file.c_str(), nullptr) != 1) die(ca_file.c_str());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1); // one recv() takes what is there, not head and body apart
    return context;
}

void Channel::close() {
    if (ssl) SSL_free(ssl);
    if (fd >= 0) ::close(fd);
    ssl = nullptr;
    fd = -1;
}

static long receive_tls(SSL *ssl, void *data, size_t size, bool spin) {
    for (;;) {
        size_t got = 0;
        if (SSL_read_ex(ssl, data, size, &got) == 1) return static_cast<long>(got);
        int error = SSL_get_error(ssl, 0);
        ERR_clear_error();
        if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return -1;
        if (spin) return 0;
    }
}

long Channel::receive(void *data, size_t size, bool spin) {
    if (ssl) return receive_tls(ssl, data, size, spin);
    long got = recv(fd, data, size, spin ? MSG_DONTWAIT : 0);
    if (got > 0) return got;
    return got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

void Channel::send_all(const void *data, size_t size) {
    const uint8_t *at = static_cast<const uint8_t *>(data);
    while (size) {
        size_t sent = 0;
        if (ssl) {
            if (SSL_write_ex(ssl, at, size, &sent) != 1) {
                int error = SSL_get_error(ssl, 0);
                if (error != SSL_ERROR_WANT_READ && error != SSL_ERROR_WANT_WRITE) return;
                sent = 0;
            }
        } else {
            long done = send(fd, at, size, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (done < 0 && errno != EAGAIN && errno != EINTR) return;
            sent = done < 0 ? 0 : static_cast<size_t>(done);
        }
        at += sent;
        size -= sent;
    }
}

// ---- the upgrade ----

static std::string receive_head(Channel &channel) {
    std::string head;
    char byte[1];
    while (head.size() < 16384 && (head.size() < 4 || head.compare(head.size() - 4, 4, "\r\n\r\n") != 0)) {
        long got = channel.receive(byte, 1, false); // one at a time, so that no frame is swallowed
        if (got < 0) return "";
        if (got > 0) head += byte[0];
    }
    return head;
}

std::string upgrade_request(const std::string &target) {
    return "GET " + target +
           " HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
}

bool upgrade_as_client(Channel &channel, const std::string &target) {
    std::string request = upgrade_request(target);
    channel.send_all(request.data(), request.size());
    return receive_head(channel).compare(0, 12, "HTTP/1.1 101") == 0;
}

static std::string header_value(const std::string &head, const char *name) {
    const char *found = strcasestr(head.c_str(), name);
    if (!found) return "";
    found += strlen(name);
    found += strspn(found, " ");
    return std::string(found, strcspn(found, " \r\n"));
}

std::string upgrade_response(const std::string &request, std::string *target) {
    std::string key = header_value(request, "\r\nSec-WebSocket-Key:");
    size_t space = request.find(' '), stop = request.find(' ', space + 1);
    *target = "";
    if (key.empty() || stop == std::string::npos)
        return "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
    *target = request.substr(space + 1, stop - space - 1);
    key += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    uint8_t digest[20], accept[32];
    SHA1(reinterpret_cast<const uint8_t *>(key.data()), key.size(), digest);
    EVP_EncodeBlock(accept, digest, 20);
    return std::string("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                       "Sec-WebSocket-Accept: ") +
           reinterpret_cast<char *>(accept) + "\r\n\r\n";
}

std::string upgrade_as_server(Channel &channel) {
    std::string request = receive_head(channel);
    if (request.empty()) return "";
    std::string target, response = upgrade_response(request, &target);
    channel.send_all(response.data(), response.size());
    return target;
}

long query_number(const std::string &target, const char *name, long otherwise) {
    std::string word = std::string(name) + "=";
    for (size_t at = target.find('?'); at != std::string::npos; at = target.find('&', at + 1))
        if (target.compare(at + 1, word.size(), word) == 0)
            return atol(target.c_str() + at + 1 + word.size());
    return otherwise;
}

} // namespace bench
