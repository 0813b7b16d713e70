// SPDX-License-Identifier: MIT
// The floor: a recv() loop (SSL_read under TLS) with the least frame parser there is. It checks nothing,
// answers no ping, knows no fragments and no limits; what a real client costs is read against it. Worst case
// accepted: a message that does not fit its buffer ends the run.
#include "client.h"
#include "wire.h"

#include <string.h>

namespace bench {
namespace {

constexpr size_t buffer_bytes = 256 * 1024;

struct Reader {
    Channel channel;
    bool spin = true;
    std::vector<uint8_t> buffer = std::vector<uint8_t>(buffer_bytes);
    size_t begin = 0, end = 0;

    // The next message's payload, or null when the connection is over.
    const uint8_t *next(Head *head) {
        for (;;) {
            if (parse_head(buffer.data() + begin, end - begin, head) &&
                end - begin >= head->bytes + head->payload) {
                const uint8_t *payload = buffer.data() + begin + head->bytes;
                begin += head->bytes + static_cast<size_t>(head->payload);
                return payload;
            }
            if (begin == end) begin = end = 0;
            if (buffer.size() - end < buffer_bytes / 4) {
                memmove(buffer.data(), buffer.data() + begin, end - begin);
                end -= begin;
                begin = 0;
            }
            long got = channel.receive(buffer.data() + end, buffer.size() - end, spin);
            if (got < 0) return nullptr;
            end += static_cast<size_t>(got);
        }
    }

    void send(const uint8_t *payload, size_t size, uint32_t mask) {
        static thread_local std::vector<uint8_t> out;
        out.resize(head_max + size);
        size_t head = build_head(out.data(), 1, size, true, mask);
        memcpy(out.data() + head, payload, size);
        apply_mask(out.data() + head, size, mask);
        channel.send_all(out.data(), head + size);
    }
};

bool open(Reader &reader, const Job &job, SSL_CTX *context) {
    reader.channel.fd = dial(job.port, job.host.c_str());
    if (context) {
        SSL *ssl = reader.channel.ssl = SSL_new(context);
        SSL_set_fd(ssl, reader.channel.fd);
        SSL_set_tlsext_host_name(ssl, "localhost");
        SSL_set1_host(ssl, "localhost");
        if (SSL_connect(ssl) != 1) die("SSL_connect");
    }
    if (!upgrade_as_client(reader.channel, job.target)) return false;
    reader.spin = job.task != Task::flat;
    if (reader.spin) set_nonblocking(reader.channel.fd, true);
    return true;
}

bool round_trips(Reader &reader, const Job &job, Meter &meter) {
    std::vector<uint8_t> payload(job.bytes, 'x');
    Head head;
    for (uint32_t mask = 0x12345678;; mask = mask * 2654435761u + 1) {
        int64_t began = now_ns();
        reader.send(payload.data(), payload.size(), mask);
        if (!reader.next(&head)) return false;
        meter.sample(now_ns() - began);
        if (meter.message()) return true;
    }
}

bool receive_all(Reader &reader, const Job &job, Meter &meter) {
    Head head;
    reader.send(reinterpret_cast<const uint8_t *>("go"), 2, 1);
    for (;;) {
        const uint8_t *payload = reader.next(&head);
        if (!payload || head.payload != job.bytes) return false;
        if (job.task == Task::paced) meter.sample(now_ns() - stamped(payload));
        if (meter.message()) return true;
    }
}

} // namespace

Outcome run_recv(const Job &job) {
    Outcome out;
    Meter meter(job, &out);
    SSL_CTX *context = job.secure ? client_context(job.ca_file) : nullptr;
    Reader reader;
    if (!open(reader, job, context)) {
        out.error = "upgrade refused";
    } else {
        bool good =
            job.task == Task::round_trip ? round_trips(reader, job, meter) : receive_all(reader, job, meter);
        if (good) meter.end();
        if (!good) out.error = "the connection ended early";
    }
    reader.channel.close();
    if (context) SSL_CTX_free(context);
    return out;
}

} // namespace bench
