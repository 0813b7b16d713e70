// SPDX-License-Identifier: MIT
// TLS records alone: what the library's TLS backend needs to open and to seal a record that lies in the
// cache, beside OpenSSL's own SSL_read and SSL_write over memory BIOs on the same bytes. Both ends of the
// session are in this process; the handshake verifies as always. Nothing here touches a socket.
//
// usage: bench_tls [--json FILE]
#include "../lib/tls/tls.h"
#include "measure.h"
#include "wire.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>

namespace {

using namespace bench;
using Bytes = std::vector<uint8_t>;

constexpr size_t flight_bytes = 64 * 1024; // opened in one go, about what one read from a busy socket brings

[[noreturn]] void fail(const char *what) {
    fprintf(stderr, "bench_tls: %s\n", what);
    exit(1);
}

// An OpenSSL endpoint whose network is two memory BIOs.
struct Endpoint {
    SSL *ssl;
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());

    Endpoint(SSL_CTX *context, bool server) : ssl(SSL_new(context)) {
        SSL_set_bio(ssl, in, out);
        server ? SSL_set_accept_state(ssl) : SSL_set_connect_state(ssl);
    }
    ~Endpoint() { SSL_free(ssl); }
    Endpoint(const Endpoint &) = delete;
    Endpoint &operator=(const Endpoint &) = delete;

    void take_output(Bytes *to) {
        char *data;
        long size = BIO_get_mem_data(out, &data);
        to->insert(to->end(), data, data + size);
        BIO_reset(out);
    }
    void give_input(const uint8_t *data, size_t size) {
        if (size && BIO_write(in, data, static_cast<int>(size)) != static_cast<int>(size)) fail("memory BIO");
    }
};

// The library's session, with the bytes that are on their way to it.
struct Session {
    wx::TlsContext *context = nullptr;
    wx::TlsSession *session = nullptr;
    wx::ErrorText error;
    Bytes output = Bytes(1 << 20), input;

    explicit Session(const std::string &ca_file) {
        wx::TlsOptions options;
        options.ca_file = ca_file.c_str();
        const wx::TlsBackend *tls = wx::tls_backend();
        if (tls->context_open(options, &context, &error) < 0) fail(error.text);
        if (tls->session_open(context, wx::ByteView("localhost"), wx::ByteView("localhost:0"), &session,
                              &error) < 0)
            fail(error.text);
    }
    ~Session() {
        wx::tls_backend()->session_free(session);
        wx::tls_backend()->context_free(context);
    }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    void rewind() {
        session->output = wx::ByteSpan(output.data(), output.size());
        session->output_used = 0;
    }
    void drop_consumed() { input.erase(input.begin(), input.end() - static_cast<long>(session->input.size)); }
};

void shake_hands(Session &client, Endpoint &server) {
    bool client_done = false, server_done = false;
    for (int turn = 0; turn < 10 && !(client_done && server_done); turn++) {
        client.rewind();
        client.session->input = wx::ByteView(client.input.data(), client.input.size());
        int status = wx::tls_backend()->handshake(client.session, &client.error);
        if (status < 0) fail(client.error.text);
        client_done = status == 1;
        client.drop_consumed();
        server.give_input(client.output.data(), client.session->output_used);
        server_done = SSL_do_handshake(server.ssl) == 1;
        server.take_output(&client.input);
    }
    if (!client_done || !server_done) fail("the handshake does not end");
}

void shake_hands(Endpoint &client, Endpoint &server) {
    Bytes bytes;
    for (int turn = 0; turn < 10 && !(SSL_is_init_finished(client.ssl) && SSL_is_init_finished(server.ssl));
         turn++) {
        Endpoint &from = turn % 2 ? server : client, &to = turn % 2 ? client : server;
        SSL_do_handshake(from.ssl);
        bytes.clear();
        from.take_output(&bytes);
        to.give_input(bytes.data(), bytes.size());
    }
}

struct Times {
    double open = 1e300, seal = 1e300; // ns for a record
    double allocated = 0;              // for a record opened and one sealed
};

Bytes sealed_by(Endpoint &server, const Bytes &plain, size_t records) {
    Bytes out;
    for (size_t i = 0; i < records; i++)
        if (SSL_write(server.ssl, plain.data(), static_cast<int>(plain.size())) <= 0) fail("SSL_write");
    server.take_output(&out);
    return out;
}

// Slices as in best_ns; each needs new ciphertext, which is made outside of the time taken.
template <class Open, class Seal>
Times time_records(Endpoint &server, size_t size, const Open &open, const Seal &seal) {
    Bytes plain(size, 'x');
    size_t records = std::max<size_t>(1, flight_bytes / size);
    Times times;
    int slices = quick() ? 40 : 200;
    double count = static_cast<double>(records);
    for (int slice = -5; slice < slices; slice++) {
        Bytes wire = sealed_by(server, plain, records);
        uint64_t allocated = allocations();
        int64_t began = now_ns();
        open(wire, size * records);
        int64_t middle = now_ns();
        for (size_t i = 0; i < records; i++) seal(plain);
        int64_t end = now_ns();
        allocated = allocations() - allocated;
        if (slice < 0) continue; // warming up; the session tickets are read here too
        times.open = std::min(times.open, static_cast<double>(middle - began) / count);
        times.seal = std::min(times.seal, static_cast<double>(end - middle) / count);
        times.allocated += static_cast<double>(allocated) / count / slices;
    }
    return times;
}

Times time_library(const std::string &ca_file, SSL_CTX *server_context, size_t size) {
    Endpoint server(server_context, true);
    Session client(ca_file);
    shake_hands(client, server);
    const wx::TlsBackend *tls = wx::tls_backend();
    Bytes plain(flight_bytes * 2);
    Bytes first = std::move(client.input); // session tickets, which the server sends by itself
    auto open = [&](const Bytes &wire, size_t expected) {
        size_t got = 0;
        client.rewind();
        for (const Bytes *part : {&const_cast<const Bytes &>(first), &wire}) {
            client.session->input = wx::ByteView(part->data(), part->size());
            while (client.session->input.size > 0) {
                int64_t count = tls->read(client.session, plain.data(), plain.size(), &client.error);
                if (count < 0) fail(client.error.text);
                got += static_cast<size_t>(count);
            }
        }
        first.clear();
        if (got != expected) fail("plaintext is missing");
    };
    auto seal = [&](const Bytes &text) {
        client.rewind();
        if (tls->write(client.session, text.data(), text.size(), &client.error) !=
            static_cast<int64_t>(text.size()))
            fail(client.error.text);
        keep(*client.output.data());
    };
    return time_records(server, size, open, seal);
}

Times time_openssl(SSL_CTX *client_context, SSL_CTX *server_context, size_t size) {
    Endpoint server(server_context, true), client(client_context, false);
    shake_hands(client, server);
    Bytes plain(flight_bytes * 2);
    auto open = [&](const Bytes &wire, size_t expected) {
        size_t got = 0, count;
        client.give_input(wire.data(), wire.size());
        while (SSL_read_ex(client.ssl, plain.data(), plain.size(), &count) == 1) got += count;
        if (got != expected) fail("plaintext is missing");
    };
    auto seal = [&](const Bytes &text) {
        if (SSL_write(client.ssl, text.data(), static_cast<int>(text.size())) <= 0) fail("SSL_write");
        BIO_reset(client.out);
    };
    return time_records(server, size, open, seal);
}

void row(Report &report, size_t size, const Times &ours, const Times &theirs) {
    printf("  %6zu %10.0f %10.0f %8.2f %10.0f %10.0f %8.2f %8.2f %8.2f\n", size, ours.open, theirs.open,
           ours.open / theirs.open, ours.seal, theirs.seal, ours.seal / theirs.seal, ours.allocated,
           theirs.allocated);
    Json json;
    json.text("section", "tls").number("bytes", static_cast<double>(size)).number("open_ns", ours.open);
    json.number("seal_ns", ours.seal).number("allocations", ours.allocated);
    json.number("openssl_open_ns", theirs.open).number("openssl_seal_ns", theirs.seal);
    json.number("openssl_allocations", theirs.allocated);
    report.row(json);
}

} // namespace

int main(int argc, char **argv) {
    const char *json = argc == 3 && strcmp(argv[1], "--json") == 0 ? argv[2] : nullptr;
    Report report;
    double worst = -1;
    if (wx::tls_backend()->available) {
        pin(cpu_count() > 1 ? 1 : -1);
        TemporaryCertificate certificate;
        SSL_CTX *server = server_context(certificate.cert_file(), certificate.key_file());
        SSL_CTX *client = client_context(certificate.cert_file());
        printf("\ntls records, %s (ns to open and to seal one; openssl: SSL_read and SSL_write over memory "
               "BIOs)\n",
               wx::tls_backend()->name);
        printf("  %6s %10s %10s %8s %10s %10s %8s %8s %8s\n", "bytes", "open", "openssl", "ratio", "seal",
               "openssl", "ratio", "allocs", "openssl");
        for (size_t size : {66, 258, 1028, 16384}) {
            Times ours = time_library(certificate.cert_file(), server, size);
            row(report, size, ours, time_openssl(client, server, size));
            worst = std::max(worst, ours.allocated);
        }
        SSL_CTX_free(server);
        SSL_CTX_free(client);
    }
    report.bar("allocations for each record opened and sealed", worst, 0, true);
    report.print_bars("tls bars");
    if (json && !report.write(json, {})) {
        perror(json);
        return 1;
    }
    return 0;
}
