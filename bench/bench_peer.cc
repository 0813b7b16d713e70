// SPDX-License-Identifier: MIT
// The server that the bench's clients are measured against. It is made not to be what is measured: it spins
// on one core, serves one connection at a time, sends bytes that were framed (and, for TLS, encrypted) before
// the clock starts, and costs every client the same. What to do comes in the request's target:
//
// clang-format off
//   /echo                            sends every message back
//   /paced?size=S&count=N&rate=R     N messages, R each second; the first 8 payload bytes are the send time
//   /flat?size=S&count=N&pack=0|1    N messages as fast as they are taken; pack: TLS records of many messages,
//                                    otherwise each message is a record of its own, as exchanges send them
//   /sink?count=N                    takes N messages, then answers with one
//   /fan?size=S&count=N&rate=R&connections=C
//                                    waits for C connections, then sends round robin, paced in sum
// clang-format on
//
// All but /echo and /sink begin when the client has sent a first message. Prints "PORT TLSPORT" and serves
// until killed or until its parent is gone.
//
// usage: bench_peer CPU CERT KEY [ADDRESS]
#include "measure.h"
#include "wire.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

namespace {

using namespace bench;

constexpr size_t chunk_bytes = 256 * 1024; // written at once when flat out
constexpr size_t message_max = 1 << 20;

// Messages are text, so that clients check UTF-8 as they would in life; time stamps are 16 hexadecimal
// digits.
std::vector<uint8_t> framed(size_t payload) {
    std::vector<uint8_t> out(head_max + payload, 'x');
    size_t head = build_head(out.data(), 1, payload, false, 0);
    out.resize(head + payload);
    memset(out.data() + head, 'x', payload);
    return out;
}

void stamp(uint8_t *payload, int64_t at) {
    for (int i = 0; i < 16; i++)
        payload[i] = static_cast<uint8_t>("0123456789abcdef"[at >> (60 - 4 * i) & 15]);
}

// One frame into buffer (kept between calls by *used); false at the end of the connection or at a close
// frame.
bool receive_frame(Channel &channel, std::vector<uint8_t> &buffer, size_t *used, Head *head) {
    for (;;) {
        if (parse_head(buffer.data(), *used, head) && *used >= head->bytes + head->payload)
            return head->opcode != 8;
        long got = channel.receive(buffer.data() + *used, buffer.size() - *used, true);
        if (got < 0) return false;
        *used += static_cast<size_t>(got);
    }
}

void drop_frame(std::vector<uint8_t> &buffer, size_t *used, const Head &head) {
    size_t whole = head.bytes + static_cast<size_t>(head.payload);
    memmove(buffer.data(), buffer.data() + whole, *used - whole);
    *used -= whole;
}

void serve_echo(Channel &channel) {
    std::vector<uint8_t> buffer(message_max + 64);
    size_t used = 0;
    Head head;
    while (receive_frame(channel, buffer, &used, &head)) {
        uint8_t *payload = buffer.data() + head.bytes;
        if (head.masked) apply_mask(payload, head.payload, head.mask);
        uint8_t answer[head_max];
        size_t size = build_head(answer, head.opcode, head.payload, false, 0);
        memcpy(payload - size, answer, size); // a masked head is longer than an unmasked one
        channel.send_all(payload - size, size + head.payload);
        drop_frame(buffer, &used, head);
    }
}

void wait_for_end(Channel &channel) {
    uint8_t buffer[4096];
    set_nonblocking(channel.fd, false);
    while (channel.receive(buffer, sizeof buffer, false) >= 0) {
    }
}

// Looks at frame heads only: the sender is what is measured. Frames lie anywhere in the stream, so what is
// read is kept only as far as it is an unfinished head.
void serve_sink(Channel &channel, const std::string &target) {
    std::vector<uint8_t> buffer(message_max);
    long left = query_number(target, "count", 1000);
    size_t used = 0;
    uint64_t skip = 0; // of the payload whose head has been seen
    bool inside = false;
    while (left > 0) {
        long got = channel.receive(buffer.data() + used, buffer.size() - used, true);
        if (got < 0) return;
        used += static_cast<size_t>(got);
        size_t at = 0;
        for (Head head; inside || parse_head(buffer.data() + at, used - at, &head);) {
            if (!inside) {
                at += head.bytes;
                skip = head.payload;
            }
            size_t step = static_cast<size_t>(std::min<uint64_t>(skip, used - at));
            at += step;
            skip -= step;
            inside = skip > 0;
            if (inside) break;
            left--;
        }
        memmove(buffer.data(), buffer.data() + at, used - at);
        used -= at;
    }
    uint8_t answer[] = {0x81, 2, 'o', 'k'};
    channel.send_all(answer, sizeof answer);
    wait_for_end(channel);
}

bool wait_for_go(Channel &channel) {
    std::vector<uint8_t> buffer(4096);
    size_t used = 0;
    Head head;
    return receive_frame(channel, buffer, &used, &head);
}

void wait_until(int64_t at) {
    while (now_ns() < at) cpu_relax();
}

void serve_paced(Channel &channel, const std::string &target) {
    size_t size = static_cast<size_t>(query_number(target, "size", 64));
    long count = query_number(target, "count", 1000),
         rate = std::max(1L, query_number(target, "rate", 10000));
    std::vector<uint8_t> frame = framed(size);
    if (!wait_for_go(channel)) return;
    int64_t start = now_ns();
    for (long i = 0; i < count; i++) {
        wait_until(start + i * 1000000000 / rate);
        stamp(frame.data() + frame.size() - size, now_ns());
        channel.send_all(frame.data(), frame.size());
    }
    wait_for_end(channel);
}

// The whole run as ciphertext, which only this connection can read: encrypted before the clock starts.
std::vector<uint8_t> encrypted(SSL *ssl, const std::vector<uint8_t> &frame, long count, bool pack) {
    BIO *memory = BIO_new(BIO_s_mem());
    BIO *socket = SSL_get_wbio(ssl);
    BIO_up_ref(socket);
    SSL_set0_wbio(ssl, memory);
    std::vector<uint8_t> record;
    long each = pack ? std::max<long>(1, static_cast<long>(16384 / frame.size())) : 1;
    for (long i = 0; i < each; i++) record.insert(record.end(), frame.begin(), frame.end());
    for (long left = count; left > 0; left -= each) {
        size_t size = frame.size() * static_cast<size_t>(std::min(left, each)), done = 0;
        for (size_t at = 0; at < size; at += done) // a message of 16 KiB with its head needs two records
            if (SSL_write_ex(ssl, record.data() + at, size - at, &done) != 1) die("SSL_write");
    }
    char *data;
    long size = BIO_get_mem_data(memory, &data);
    std::vector<uint8_t> out(data, data + size);
    SSL_set0_wbio(ssl, socket);
    return out;
}

void serve_flat(Channel &channel, const std::string &target) {
    std::vector<uint8_t> frame = framed(static_cast<size_t>(query_number(target, "size", 64)));
    long count = query_number(target, "count", 1000);
    if (!wait_for_go(channel)) return;
    Channel raw = channel;
    raw.ssl = nullptr;
    if (channel.ssl) {
        std::vector<uint8_t> run = encrypted(channel.ssl, frame, count, query_number(target, "pack", 0) != 0);
        for (size_t at = 0; at < run.size(); at += chunk_bytes)
            raw.send_all(run.data() + at, std::min(chunk_bytes, run.size() - at));
    } else {
        std::vector<uint8_t> chunk;
        long each = std::max<long>(1, static_cast<long>(chunk_bytes / frame.size()));
        for (long i = 0; i < each; i++) chunk.insert(chunk.end(), frame.begin(), frame.end());
        for (long left = count; left > 0; left -= each)
            raw.send_all(chunk.data(), frame.size() * static_cast<size_t>(std::min(left, each)));
    }
    wait_for_end(channel);
}

// Takes over the listener until it has all connections; each begins with the client's first message.
void serve_fan(Channel first, const std::string &target, int listener, SSL_CTX *tls) {
    size_t size = static_cast<size_t>(query_number(target, "size", 64));
    size_t connections = static_cast<size_t>(query_number(target, "connections", 1));
    long count = query_number(target, "count", 1000),
         rate = std::max(1L, query_number(target, "rate", 10000));
    std::vector<Channel> all{first};
    while (all.size() < connections) {
        Channel next;
        next.fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
        if (next.fd < 0) die("accept");
        int on = 1;
        setsockopt(next.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (tls) {
            next.ssl = SSL_new(tls);
            SSL_set_fd(next.ssl, next.fd);
            if (SSL_accept(next.ssl) != 1) die("SSL_accept");
        }
        upgrade_as_server(next);
        all.push_back(next);
    }
    bool good = true;
    for (Channel &channel : all) {
        set_nonblocking(channel.fd, true);
        good = good && wait_for_go(channel);
    }
    std::vector<uint8_t> frame = framed(size);
    int64_t start = now_ns();
    for (long i = 0; good && i < count; i++) {
        wait_until(start + i * 1000000000 / rate);
        stamp(frame.data() + frame.size() - size, now_ns());
        all[static_cast<size_t>(i) % connections].send_all(frame.data(), frame.size());
    }
    for (Channel &channel : all) {
        wait_for_end(channel);
        if (channel.fd != first.fd) channel.close();
    }
}

void serve(Channel &channel, int listener, SSL_CTX *tls) {
    std::string target = upgrade_as_server(channel);
    if (target.compare(0, 4, "/fan") == 0) return serve_fan(channel, target, listener, tls);
    set_nonblocking(channel.fd, true);
    if (target.compare(0, 5, "/echo") == 0) serve_echo(channel);
    if (target.compare(0, 5, "/sink") == 0) serve_sink(channel, target);
    if (target.compare(0, 6, "/paced") == 0) serve_paced(channel, target);
    if (target.compare(0, 5, "/flat") == 0) serve_flat(channel, target);
}

void accept_one(int listener, SSL_CTX *tls) {
    Channel channel;
    channel.fd = accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (channel.fd < 0) return;
    int on = 1;
    setsockopt(channel.fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    bool good = true;
    if (tls) {
        channel.ssl = SSL_new(tls);
        SSL_set_fd(channel.ssl, channel.fd);
        SSL_set_read_ahead(channel.ssl, 1);
        good = SSL_accept(channel.ssl) == 1;
    }
    if (good) serve(channel, listener, tls);
    channel.close();
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: bench_peer CPU CERT KEY [ADDRESS]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    prctl(PR_SET_PDEATHSIG, SIGTERM); // the bench may be interrupted; no server shall spin on
    pin(atoi(argv[1]));
    SSL_CTX *tls = server_context(argv[2], argv[3]);
    int port = 0, tls_port = 0;
    const char *address = argc == 5 ? argv[4] : loopback;
    pollfd listeners[2] = {{listen_on(&port, address), POLLIN, 0},
                           {listen_on(&tls_port, address), POLLIN, 0}};
    printf("%d %d\n", port, tls_port);
    fflush(stdout);
    for (;;) {
        if (poll(listeners, 2, -1) < 0) continue;
        if (listeners[0].revents) accept_one(listeners[0].fd, nullptr);
        if (listeners[1].revents) accept_one(listeners[1].fd, tls);
    }
}
