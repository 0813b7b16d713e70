// SPDX-License-Identifier: MIT
// The least WebSocket that a bench needs, on both sides: IPv4 sockets, the upgrade, frame heads. It
// trusts its peer, since the peer is another program of the bench; that makes it the floor that others are
// measured against. Not a model for anything else.
#pragma once
#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>

#include <string>

namespace bench {

constexpr size_t head_max = 14;

struct Head {
    size_t bytes = 0; // of the head itself, with the mask
    uint64_t payload = 0;
    uint32_t mask = 0;
    uint8_t opcode = 0;
    bool masked = false;
};

// false: more bytes are needed to know.
inline bool parse_head(const uint8_t *data, size_t avail, Head *out) {
    if (avail < 2) return false;
    out->opcode = data[0] & 15;
    out->masked = (data[1] & 0x80) != 0;
    uint64_t length = data[1] & 0x7f;
    size_t at = 2;
    size_t wide = length == 126 ? 2 : length == 127 ? 8 : 0;
    if (avail < at + wide + (out->masked ? 4 : 0)) return false;
    if (wide) length = 0;
    for (size_t i = 0; i < wide; i++) length = length << 8 | data[at++];
    if (out->masked) {
        __builtin_memcpy(&out->mask, data + at, 4);
        at += 4;
    }
    out->bytes = at;
    out->payload = length;
    return true;
}

size_t build_head(uint8_t *out, uint8_t opcode, uint64_t payload, bool masked, uint32_t mask);
void apply_mask(uint8_t *data, size_t size, uint32_t mask); // eight bytes at a time

[[noreturn]] void die(const char *what); // with errno

constexpr const char *loopback = "127.0.0.1";
// Port 0 for any; returns the descriptor.
int listen_on(int *port, const char *address = loopback);
int dial(int port, const char *address = loopback); // blocking, TCP_NODELAY
void set_nonblocking(int fd, bool on);

// PEM files of a self-signed certificate, made on the spot, for localhost, 127.0.0.1, and 10.77.0.2, which is
// the far end of the tests' veth.
void make_certificate(const std::string &cert_file, const std::string &key_file);
// Such a pair in a temporary folder, gone with this object.
class TemporaryCertificate {
public:
    TemporaryCertificate();
    ~TemporaryCertificate();
    TemporaryCertificate(const TemporaryCertificate &) = delete;
    TemporaryCertificate &operator=(const TemporaryCertificate &) = delete;

    std::string cert_file() const { return folder_ + "/cert.pem"; }
    std::string key_file() const { return folder_ + "/key.pem"; }

private:
    std::string folder_;
};
SSL_CTX *server_context(const std::string &cert_file, const std::string &key_file);
SSL_CTX *client_context(const std::string &ca_file); // verifies

// A plain or TLS byte stream. spin: never sleeps, 0 from receive() when nothing is there; else receive()
// blocks.
struct Channel {
    int fd = -1;
    SSL *ssl = nullptr;

    void close();
    long receive(void *data, size_t size, bool spin); // > 0 bytes, 0 nothing yet, -1 end
    void send_all(const void *data, size_t size);     // waits by spinning
};

// Both sides of the upgrade. The target tells the peer what to do: /echo?size=64 and the like.
std::string upgrade_request(const std::string &target);
bool upgrade_as_client(Channel &channel, const std::string &target);
std::string upgrade_as_server(Channel &channel); // the target, "" when it is no upgrade
// The response to a whole request head, and the target it asks for.
std::string upgrade_response(const std::string &request, std::string *target);
long query_number(const std::string &target, const char *name, long otherwise);

} // namespace bench
