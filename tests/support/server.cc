// SPDX-License-Identifier: MIT
// See server.h. Ends the program with a sentence when a socket cannot be made: no test says anything then.
#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <utility>

[[noreturn]] static void give_up(const char *what) {
    fprintf(stderr, "test server: %s: %s\n", what, strerror(errno));
    exit(2);
}

// ---- bytes ----

static void add_length(std::string *out, uint64_t size, int form, int mask_bit) {
    if (form == 0) form = size < 126 ? 7 : size < 65536 ? 16 : 64;
    int bytes = form == 7 ? 0 : form / 8;
    uint64_t first = form == 7 ? size : form == 16 ? 126 : 127;
    out->push_back(static_cast<char>(mask_bit | static_cast<int>(first)));
    for (int i = bytes - 1; i >= 0; i--) out->push_back(static_cast<char>(size >> (8 * i)));
}

std::string wire_frame(int opcode, const std::string &payload, bool final, int rsv, int length_form) {
    std::string out(1, static_cast<char>((final ? 0x80 : 0) | rsv << 4 | opcode));
    add_length(&out, payload.size(), length_form, 0);
    return out + payload;
}

std::string wire_masked(int opcode, const std::string &payload) {
    std::string out(1, static_cast<char>(0x80 | opcode));
    add_length(&out, payload.size(), 0, 0x80);
    const char mask[] = {1, 2, 3, 4};
    out.append(mask, 4);
    for (size_t i = 0; i < payload.size(); i++) out.push_back(static_cast<char>(payload[i] ^ mask[i & 3]));
    return out;
}

std::string wire_close(int code, const std::string &reason) {
    std::string body;
    if (code != 0) body = {static_cast<char>(code >> 8), static_cast<char>(code)};
    return wire_frame(8, body + reason);
}

std::string wire_accept(const std::string &key) {
    std::string text = key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    unsigned char digest[SHA_DIGEST_LENGTH], base64[64];
    SHA1(reinterpret_cast<const unsigned char *>(text.data()), text.size(), digest);
    int size = EVP_EncodeBlock(base64, digest, SHA_DIGEST_LENGTH);
    return std::string(reinterpret_cast<char *>(base64), static_cast<size_t>(size));
}

// ---- a connection ----

TestPeer::TestPeer(TestPeer &&other) noexcept { *this = std::move(other); }

TestPeer &TestPeer::operator=(TestPeer &&other) noexcept {
    if (this == &other) return *this;
    close();
    fd = std::exchange(other.fd, -1);
    in = std::move(other.in);
    ended = other.ended;
    was_reset = other.was_reset;
    return *this;
}

size_t TestPeer::pull(size_t most) {
    size_t total = 0;
    char bytes[65536];
    while (fd >= 0 && !ended && total < most) {
        size_t want = most - total < sizeof bytes ? most - total : sizeof bytes;
        ssize_t got = recv(fd, bytes, want, MSG_DONTWAIT);
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) break;
        if (got <= 0) {
            ended = true;
            was_reset = got < 0;
            break;
        }
        in.append(bytes, static_cast<size_t>(got));
        total += static_cast<size_t>(got);
    }
    return total;
}

size_t TestPeer::push(const std::string &bytes) {
    size_t at = 0;
    while (at < bytes.size()) {
        ssize_t sent = ::send(fd, bytes.data() + at, bytes.size() - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent <= 0) break;
        at += static_cast<size_t>(sent);
    }
    return at;
}

void TestPeer::send(const std::string &bytes) {
    if (push(bytes) != bytes.size() && errno == EAGAIN) give_up("the socket takes no more");
}

bool TestPeer::head(std::string *out) {
    size_t end = in.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    *out = in.substr(0, end + 4);
    in.erase(0, end + 4);
    return true;
}

std::string TestPeer::field(const std::string &head, const std::string &name) {
    size_t at = head.find("\r\n" + name + ": ");
    if (at == std::string::npos) return "";
    at += name.size() + 4;
    return head.substr(at, head.find("\r\n", at) - at);
}

std::string TestPeer::answer(const std::string &head, const std::string &extra) {
    return "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
           "Sec-WebSocket-Accept: " +
           wire_accept(field(head, "Sec-WebSocket-Key")) + "\r\n" + extra + "\r\n";
}

bool TestPeer::next(WireFrame *frame) {
    const unsigned char *at = reinterpret_cast<const unsigned char *>(in.data());
    if (in.size() < 2) return false;
    uint64_t size = at[1] & 0x7F;
    size_t head = 2, extra = size == 126 ? 2u : size == 127 ? 8u : 0u;
    bool masked = at[1] & 0x80;
    if (in.size() < head + extra + (masked ? 4 : 0)) return false;
    if (extra) size = 0;
    for (size_t i = 0; i < extra; i++) size = size << 8 | at[head + i];
    head += extra;
    unsigned char mask[4] = {0};
    if (masked) memcpy(mask, at + head, 4), head += 4;
    if (in.size() - head < size) return false;
    frame->opcode = at[0] & 0x0F;
    frame->final = at[0] & 0x80;
    frame->rsv = at[0] >> 4 & 7;
    frame->masked = masked;
    memcpy(&frame->mask, mask, 4);
    frame->payload = in.substr(head, size);
    for (size_t i = 0; i < size; i++) frame->payload[i] = static_cast<char>(frame->payload[i] ^ mask[i & 3]);
    in.erase(0, head + size);
    return true;
}

void TestPeer::finish() { shutdown(fd, SHUT_WR); }

void TestPeer::close() {
    if (fd >= 0) ::close(fd);
    fd = -1;
}

void TestPeer::reset() {
    linger hard = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close();
}

// ---- the server ----

TestServer::TestServer(int receive_buffer, int send_buffer_bytes, int backlog, const char *address_text)
    : send_buffer(send_buffer_bytes), host(address_text) {
    sockaddr_in address;
    memset(&address, 0, sizeof address);
    address.sin_family = AF_INET;
    inet_pton(AF_INET, address_text, &address.sin_addr);
    socklen_t size = sizeof address;
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    // Before listen: the window that is announced to the client depends on it.
    if (fd >= 0 && receive_buffer)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (fd < 0 || bind(fd, reinterpret_cast<sockaddr *>(&address), size) != 0 || listen(fd, backlog) != 0)
        give_up(("listen on " + host).c_str());
    getsockname(fd, reinterpret_cast<sockaddr *>(&address), &size);
    port = ntohs(address.sin_port);
}

TestServer::~TestServer() { ::close(fd); }

bool TestServer::accept(TestPeer *peer) {
    int accepted = accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (accepted < 0) return false;
    int one = 1;
    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (send_buffer) setsockopt(accepted, SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer);
    *peer = TestPeer();
    peer->fd = accepted;
    return true;
}

std::string TestServer::url(const std::string &target) const {
    return "ws://" + host + ":" + std::to_string(port) + target;
}
