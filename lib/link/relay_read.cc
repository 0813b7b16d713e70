// SPDX-License-Identifier: MIT
// The Reader: receives into the rings of its connections, and stops reading where there is no room, so that
// in the end the peer does. Knows nothing of what the bytes are. The end of a stream is an arrival like
// bytes, behind them. The worst case accepted: a peer that sends byte after byte in segments of their own,
// which fills the ring of arrivals long before that of bytes.
#include "relay.h"
#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

namespace wx {

namespace {

void publish_end(RelayReader *r, RelayChannel *c, int code, int cause) {
    RelayArrival *arrival = c->reader.arrivals.claim(); // bytes leave one free
    c->reader.ended = true;
    *arrival = RelayArrival();
    arrival->code = code;
    arrival->cause = cause;
    c->reader.arrivals.publish();
    relay_post(r->relay, reader_to_tls, c);
}

// Whether the poller is to tell of the socket, by what is so now.
void reconsider(RelayReader *r, RelayChannel *c) {
    const bool wanted = c->reader.attached && !c->reader.stalled && !c->reader.ended && !r->unpolled;
    const int cause = relay_interest(r->watch, c, relay_reading, wanted);
    if (cause == 0 || !wanted) return;
    // Nothing would ever tell that there is something to read.
    (void)relay_interest(r->watch, c, relay_reading, false);
    c->watch_cause.store(cause, std::memory_order_relaxed);
    publish_end(r, c, cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_SYSTEM, cause);
}

bool has_room(RelayChannel *c, uint64_t bytes, uint64_t arrivals) {
    return c->reader.bytes.room() >= bytes && c->reader.arrivals.room(arrivals + 1) > arrivals;
}

// True: there is room after all.
bool stall(RelayReader *r, RelayChannel *c) {
    // Before the look; pairs with give_room, which looks for it after it gave.
    c->reader_waits.exchange(1, std::memory_order_seq_cst);
    if (has_room(c, relay_bytes / 2, relay_arrivals / 2)) return true;
    c->reader.stalled = true;
    reconsider(r, c);
    return false;
}

constexpr uint8_t tcp_state_close =
    7; // the kernel's own number: <netinet/tcp.h> and <linux/tcp.h> exclude each other

// The kernel tells of a reset once. Where the Writer was told, to us it is an end.
bool was_reset(const RelayChannel *c) {
    tcp_info info;
    socklen_t size = sizeof info;
    memset(&info, 0, sizeof info);
    return getsockopt(c->socket.fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 &&
           info.tcpi_state == tcp_state_close;
}

void end(RelayReader *r, RelayChannel *c, int code, int cause) {
    if (code == WSXDP_E_EOF && r->relay->writes_apart && was_reset(c)) {
        code = WSXDP_E_RESET;
        cause = ECONNRESET;
    }
    publish_end(r, c, code, cause);
    reconsider(r, c);
}

bool read_one(RelayReader *r, RelayChannel *c) {
    if (c->reader.stalled || c->reader.ended) return false;
    if (!has_room(c, 1, 1) && !stall(r, c)) return false;
    ByteRingProducer *bytes = &c->reader.bytes;
    bytes->rewind_if_empty();
    uint64_t room = bytes->capacity - bytes->used();
    const uint64_t run = relay_run(bytes->tail);
    if (room > run) room = run;
    if (room > relay_read_max) room = relay_read_max;
    ReadStamps stamps;
    int cause = 0;
    const int64_t got = socket_link.read(&c->socket, bytes->at_tail(), room, &stamps, &cause);
    if (got == 0) return false;
    if (got < 0) {
        end(r, c, static_cast<int>(got), cause);
        return true;
    }
    RelayArrival *arrival = c->reader.arrivals.claim();
    *arrival = RelayArrival();
    arrival->position = bytes->tail;
    arrival->size = static_cast<uint32_t>(got);
    arrival->kernel_ns = stamps.kernel_ns;
    arrival->nic_ns = stamps.nic_ns;
    arrival->polled = r->clock->ticks();
    bytes->publish(static_cast<uint64_t>(got));
    c->reader.arrivals.publish();
    relay_post(r->relay, reader_to_tls, c);
    return true;
}

void attach(RelayReader *r, RelayChannel *c, uint32_t order) {
    RelayBlock *block = c->block;
    c->reader = {};
    c->reader.generation = relay_generation(order);
    c->reader.arrivals.open(&block->arrival_words, block->arrivals, relay_arrivals);
    c->reader.bytes.open(&block->in_words, block->in, relay_bytes);
    c->reader.attached = true;
    r->live[r->live_count++] = c->index;
    if (relay_phase(order) == RelayPhase::open) reconsider(r, c);
}

void detach(RelayReader *r, RelayChannel *c) {
    c->reader.attached = false;
    for (uint32_t i = 0; i < r->live_count; i++) {
        if (r->live[i] != c->index) continue;
        r->live[i] = r->live[--r->live_count];
        break;
    }
    reconsider(r, c);
    relay_let_go(r->relay, reader_to_tls, c);
}

bool take_mail(RelayReader *r) {
    bool any = false;
    while (RelayChannel *c = relay_take(r->relay, tls_to_reader)) {
        any = true;
        const uint32_t order = c->order.load(std::memory_order_acquire);
        if (relay_generation(order) != c->reader.generation) attach(r, c, order);
        if (!c->reader.attached) continue; // mail that was on its way
        if (relay_phase(order) != RelayPhase::open) {
            detach(r, c);
        } else if (c->reader.stalled && c->reader_waits.load(std::memory_order_acquire) == 0) {
            c->reader.stalled = false;
            reconsider(r, c);
        }
    }
    return any;
}

// A few sockets of a spinning reader are read again and again: the poller would only pay for them, since the
// kernel calls it for every segment that arrives.
void choose_poller(RelayReader *r) {
    const bool unpolled = r->spins && r->live_count <= relay_direct_max;
    if (unpolled == r->unpolled) return;
    r->unpolled = unpolled;
    for (uint32_t i = 0; i < r->live_count; i++) reconsider(r, &r->relay->channels[r->live[i]]);
}

} // namespace

bool relay_reader_step(RelayReader *r, const PollerEvent *events, int count, bool look) {
    bool moved = take_mail(r);
    choose_poller(r);
    for (int i = 0; i < count; i++) {
        if (!(events[i].readable || events[i].broken)) continue;
        RelayChannel *c = &r->relay->channels[events[i].tag];
        if (c->reader.attached) moved |= read_one(r, c);
    }
    for (uint32_t i = 0; look && i < r->live_count; i++)
        moved |= read_one(r, &r->relay->channels[r->live[i]]);
    return moved;
}

} // namespace wx
