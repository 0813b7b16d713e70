// SPDX-License-Identifier: MIT
// The Writer: sends what lies in the rings of its connections, as far as the sockets take it; where one is
// full, the poller tells when it is not. A failure goes back to tls, which hears of it when it writes again.
// The worst case accepted: a connection that is closed while its peer takes nothing, for which its bytes,
// memory and descriptor are kept for relay_linger.
#include "relay.h"
#include <errno.h>
#include <sys/socket.h>

namespace wx {

namespace {

void fail(RelayWriter *w, RelayChannel *c, int code, int cause) {
    c->writer.failed = true;
    c->write_cause.store(cause, std::memory_order_relaxed);
    c->write_code.store(code, std::memory_order_release);
    relay_post(w->relay, writer_to_tls, c);
}

void set_blocked(RelayWriter *w, RelayChannel *c, bool blocked) {
    c->writer.blocked = blocked;
    const int cause = relay_interest(w->watch, c, relay_writing, blocked);
    if (cause == 0 || !blocked) return;
    // Nothing would ever tell that there is room.
    (void)relay_interest(w->watch, c, relay_writing, false);
    c->watch_cause.store(cause, std::memory_order_relaxed);
    fail(w, c, cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_SYSTEM, cause);
}

// tls waits for room, and there is enough of it to be worth waking it.
void give_room(RelayWriter *w, RelayChannel *c) {
    // What was given back, before the look; pairs with the exchange of who waits.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (c->tls_waits.load(std::memory_order_relaxed) == 0) return;
    if (c->writer.bytes.ready() > relay_bytes / 2) return;
    c->tls_waits.exchange(0, std::memory_order_seq_cst);
    relay_post(w->relay, writer_to_tls, c);
}

// As far as the socket takes it: what lay there at the beginning, which is at most two pieces.
bool send_some(RelayWriter *w, RelayChannel *c) {
    ByteRingConsumer *bytes = &c->writer.bytes;
    uint64_t left = bytes->ready();
    bool moved = false;
    while (left != 0 && !c->writer.failed) {
        const uint64_t run = relay_run(bytes->head);
        const uint64_t size = left < run ? left : run;
        int cause = 0;
        const int64_t sent = socket_link.write(&c->socket, bytes->at(bytes->head), size, &cause);
        if (sent < 0) fail(w, c, static_cast<int>(sent), cause);
        if (sent <= 0) break;
        moved = true;
        left -= static_cast<uint64_t>(sent);
        bytes->release_to(bytes->head + static_cast<uint64_t>(sent));
    }
    if (c->writer.failed && left != 0) bytes->release_to(bytes->head + left);
    const bool blocked = left != 0 && !c->writer.failed;
    if (blocked != c->writer.blocked) set_blocked(w, c, blocked);
    if (moved) give_room(w, c);
    return moved;
}

void attach(RelayWriter *w, RelayChannel *c, uint32_t order) {
    const bool pending = c->writer.pending; // still in the list
    c->writer = {};
    c->writer.pending = pending;
    c->writer.generation = relay_generation(order);
    c->writer.bytes.open(&c->block->out_words, c->block->out, relay_bytes);
    c->writer.attached = true;
    w->live_count++;
}

void detach(RelayWriter *w, RelayChannel *c) {
    c->writer.attached = false;
    w->live_count--;
    if (c->writer.blocked) set_blocked(w, c, false);
    relay_let_go(w->relay, writer_to_tls, c);
}

void reset(const RelayChannel *c) {
    linger now = {1, 0};
    (void)setsockopt(c->socket.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

void take_one(RelayWriter *w, RelayChannel *c, Nanos now) {
    const uint32_t order = c->order.load(std::memory_order_acquire);
    if (relay_generation(order) != c->writer.generation) attach(w, c, order);
    if (!c->writer.attached) return; // mail that was on its way
    if (relay_phase(order) != RelayPhase::open && !c->writer.closing) {
        c->writer.closing = true;
        c->writer.resetting = relay_phase(order) == RelayPhase::resetting;
        c->writer.give_up_at = now + relay_linger;
    }
    if (c->writer.pending) return;
    c->writer.pending = true;
    w->pending[w->pending_count++] = c->index;
}

// Whether it is done with: nothing to send, and not to be closed.
bool serve(RelayWriter *w, RelayChannel *c, Nanos now, bool try_blocked, bool *moved) {
    const bool drop = c->writer.resetting;
    if (!drop && (!c->writer.blocked || try_blocked) && send_some(w, c)) {
        *moved = true;
        if (c->writer.closing) c->writer.give_up_at = now + relay_linger;
    }
    const bool empty = c->writer.failed || c->writer.bytes.ready() == 0;
    if (!c->writer.closing) return empty;
    const bool late = !empty && now >= c->writer.give_up_at;
    if (!empty && !late && !drop) return false;
    if (late) reset(c);
    detach(w, c);
    *moved = true;
    return true;
}

} // namespace

bool relay_writer_step(RelayWriter *w, Nanos now, const PollerEvent *events, int count, bool look) {
    bool moved = false;
    while (RelayChannel *c = relay_take(w->relay, tls_to_writer)) {
        take_one(w, c, now);
        moved = true;
    }
    for (int i = 0; i < count; i++) {
        RelayChannel *c = &w->relay->channels[events[i].tag];
        if (c->writer.attached && c->writer.blocked && (events[i].writable || events[i].broken))
            set_blocked(w, c, false);
    }
    for (uint32_t i = 0; i < w->pending_count;) {
        RelayChannel *c = &w->relay->channels[w->pending[i]];
        if (serve(w, c, now, look, &moved)) {
            c->writer.pending = false;
            w->pending[i] = w->pending[--w->pending_count];
        } else {
            i++;
        }
    }
    return moved;
}

Nanos relay_writer_deadline(const RelayWriter *w) {
    Nanos at = never;
    for (uint32_t i = 0; i < w->pending_count; i++) {
        const RelayChannel *c = &w->relay->channels[w->pending[i]];
        if (c->writer.closing && c->writer.give_up_at < at) at = c->writer.give_up_at;
    }
    return at;
}

} // namespace wx
