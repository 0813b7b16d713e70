// SPDX-License-Identifier: MIT
// The other end of a TLS session in memory: an OpenSSL server with memory BIOs, and a client session of
// the library joined to it. No sockets; bytes move when the test says so, in the portions it says.
#pragma once
#include "../../lib/tls/tls.h"
#include "../support/certs.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <string>

inline const CertDir &certs() {
    static CertDir made;
    return made;
}

struct PeerOptions {
    const char *certificate = "good";
    int version_min = TLS1_2_VERSION;
    int version_max = TLS1_3_VERSION;
    const char *ciphers = nullptr;
    const char *ciphersuites = nullptr;
    int verify_client = SSL_VERIFY_NONE;
    const char *alpn = nullptr; // the one name that the server chooses, whatever was offered
};

// A server; kept over several connections, so that tickets mean something.
struct Peer {
    SSL_CTX *context = nullptr;
    SSL *ssl = nullptr;
    PeerOptions options;
    std::string sni; // of the last handshake

    explicit Peer(const PeerOptions &wanted = PeerOptions()) : options(wanted) {
        context = SSL_CTX_new(TLS_server_method());
        SSL_CTX_set_security_level(context, 0);
        SSL_CTX_set_min_proto_version(context, options.version_min);
        SSL_CTX_set_max_proto_version(context, options.version_max);
        std::string name = options.certificate;
        SSL_CTX_use_certificate_chain_file(context, certs().path((name + ".pem").c_str()).c_str());
        SSL_CTX_use_PrivateKey_file(context, certs().path((name + ".key").c_str()).c_str(), SSL_FILETYPE_PEM);
        SSL_CTX_load_verify_locations(context, certs().path("ca.pem").c_str(), nullptr);
        SSL_CTX_set_cipher_list(context, options.ciphers ? options.ciphers : "ALL:@SECLEVEL=0");
        if (options.ciphersuites) SSL_CTX_set_ciphersuites(context, options.ciphersuites);
        SSL_CTX_set_verify(context, options.verify_client, nullptr);
        SSL_CTX_set_session_id_context(context, reinterpret_cast<const unsigned char *>("t"), 1);
        SSL_CTX_set_tlsext_servername_callback(context, on_sni);
        SSL_CTX_set_tlsext_servername_arg(context, this);
        if (options.alpn) SSL_CTX_set_alpn_select_cb(context, on_alpn, this);
    }
    ~Peer() {
        SSL_free(ssl);
        SSL_CTX_free(context);
    }
    Peer(const Peer &) = delete;
    Peer &operator=(const Peer &) = delete;

    void begin() {
        SSL_free(ssl);
        ssl = SSL_new(context);
        sni.clear();
        SSL_set_bio(ssl, BIO_new(BIO_s_mem()), BIO_new(BIO_s_mem()));
        BIO_set_mem_eof_return(SSL_get_rbio(ssl), -1);
        SSL_set_accept_state(ssl);
    }
    void give(const std::string &bytes) {
        if (!bytes.empty()) BIO_write(SSL_get_rbio(ssl), bytes.data(), static_cast<int>(bytes.size()));
    }
    std::string take() {
        std::string bytes;
        bytes.resize(BIO_ctrl_pending(SSL_get_wbio(ssl)));
        if (!bytes.empty()) BIO_read(SSL_get_wbio(ssl), &bytes[0], static_cast<int>(bytes.size()));
        return bytes;
    }
    bool step() { // the handshake, as far as it goes
        int result = SSL_do_handshake(ssl);
        ERR_clear_error();
        return result == 1;
    }
    std::string read() {
        std::string all;
        char part[20000];
        size_t count = 0;
        while (SSL_read_ex(ssl, part, sizeof part, &count) == 1) all.append(part, count);
        ERR_clear_error();
        return all;
    }
    bool write(const std::string &text) { // in records of 16384 at most
        return text.empty() || SSL_write(ssl, text.data(), static_cast<int>(text.size())) > 0;
    }

    static int on_sni(SSL *of, int *, void *self) {
        const char *name = SSL_get_servername(of, TLSEXT_NAMETYPE_host_name);
        if (name) static_cast<Peer *>(self)->sni = name;
        return SSL_TLSEXT_ERR_OK;
    }
    static int on_alpn(SSL *, const unsigned char **out, unsigned char *size, const unsigned char *, unsigned,
                       void *self) {
        const char *name = static_cast<Peer *>(self)->options.alpn;
        *out = reinterpret_cast<const unsigned char *>(name);
        *size = static_cast<unsigned char>(strlen(name));
        return SSL_TLSEXT_ERR_OK;
    }
};

struct ClientOptions : wx::TlsOptions {
    std::string path; // keeps ca_file's text
    ClientOptions() : path(certs().path("ca.pem")) { ca_file = path.c_str(); }
};

struct Context {
    wx::TlsContext *context = nullptr;
    wx::ErrorText error;
    int status = 0;

    explicit Context(const wx::TlsOptions &options) {
        status = wx::tls_backend()->context_open(options, &context, &error);
    }
    ~Context() { wx::tls_backend()->context_free(context); }
    Context(const Context &) = delete;
    Context &operator=(const Context &) = delete;
};

struct Client {
    const wx::TlsBackend *backend = wx::tls_backend();
    wx::TlsSession *session = nullptr;
    wx::ErrorText error;
    int status = 0;
    std::string pending; // ciphertext for it
    size_t room = 40000; // of output, each call
    std::string sent;    // ciphertext from it, not taken yet

    Client(wx::TlsContext *context, const char *host, const char *key = "host:443") {
        status = backend->session_open(context, wx::ByteView(host), wx::ByteView(key), &session, &error);
    }
    ~Client() { backend->session_free(session); }
    Client(const Client &) = delete;
    Client &operator=(const Client &) = delete;

    // Runs one call of the backend with input and output set, and keeps what came of it.
    template <class Call> int64_t with(Call call) {
        std::string out(room, '\0');
        session->input = wx::ByteView(pending.data(), pending.size());
        session->output = wx::ByteSpan(&out[0], out.size());
        session->output_used = 0;
        int64_t result = call();
        sent.append(out, 0, session->output_used);
        pending.erase(0, pending.size() - session->input.size);
        session->input = wx::ByteView();
        session->output = wx::ByteSpan();
        return result;
    }
    int handshake() {
        return static_cast<int>(with([&] { return backend->handshake(session, &error); }));
    }
    int64_t read(std::string *into, size_t cap = 65536) {
        std::string plain(cap, '\0');
        int64_t got =
            with([&] { return backend->read(session, reinterpret_cast<uint8_t *>(&plain[0]), cap, &error); });
        if (got > 0) into->append(plain, 0, static_cast<size_t>(got));
        return got;
    }
    int64_t write(const std::string &text) {
        return with([&] {
            return backend->write(session, reinterpret_cast<const uint8_t *>(text.data()), text.size(),
                                  &error);
        });
    }
    // Reads until there is nothing more; the last result, which is 0 or an error.
    int64_t read_all(std::string *into, size_t cap = 65536) {
        int64_t got = read(into, cap);
        while (got > 0 && (!pending.empty() || session->more)) got = read(into, cap);
        return got > 0 ? 0 : got;
    }
    std::string take() {
        std::string bytes;
        bytes.swap(sent);
        return bytes;
    }
};

// The handshake between the two until the client is done or has failed, in portions of `portion` bytes.
inline int join(Client &client, Peer &peer, size_t portion = 1 << 20) {
    peer.begin();
    if (client.status < 0) return client.status;
    std::string from_peer;
    for (int turn = 0; turn < 100000; turn++) {
        size_t count = from_peer.size() < portion ? from_peer.size() : portion;
        client.pending.append(from_peer, 0, count);
        from_peer.erase(0, count);
        int result = client.handshake();
        const bool moved = !client.sent.empty();
        peer.give(client.take());
        peer.step();
        from_peer += peer.take();
        if (result < 0) return result;
        if (result == 1) {
            while (client.session->output_kept) {
                client.handshake();
                peer.give(client.take());
            }
            peer.step();
            client.pending += from_peer + peer.take();
            return 1;
        }
        if (!moved && from_peer.empty() && count == 0) return 0; // nobody has anything to say
    }
    return 0;
}
