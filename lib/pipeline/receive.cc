// SPDX-License-Identifier: MIT
// The receiving hot path: one large read per call, straight into the inbox, or by way of TLS, which decrypts
// straight into the inbox. Reading stops while the inbox has no room, and so does the peer in the end;
// nothing is dropped here. The worst case accepted: a record that surfaces only now although its bytes were
// counted before, for which the inbox keeps inbox_slack_bytes free.
#include "transport.h"

namespace wx {

// The sentence for an end of the stream that nobody asked for.
[[gnu::cold]] static void explain_end(Connection *c, int code, int cause) {
    ErrorText &error = c->error;
    if (code == WSXDP_E_EOF && c->write_broken) code = WSXDP_E_RESET;
    if (code == WSXDP_E_EOF && c->tls != nullptr && !c->record_closed) {
        error.begin(WSXDP_E_TLS_TRUNCATED)
            .add("the peer ended TCP without a TLS close_notify: data may be missing");
    } else if (code == WSXDP_E_EOF) {
        error.begin(code).add("the peer ended the connection without a WebSocket close");
    } else if (code == WSXDP_E_RESET) {
        error.begin(code, cause).add("the peer reset the connection");
    } else {
        explain_link(c, code, cause, "reading from the connection");
    }
}

// Not lost yet: the peer's close may be among the bytes that ws has not looked at.
[[gnu::cold]] void receive_ended(Transport *t, Connection *c, int code, int cause) {
    explain_end(c, code, cause);
    c->read_ended = true;
    watch(t, c, false, c->want_write);
    MetadataSlot *slot = t->metadata.claim_cleared(); // bytes leave notes_reserve slots free
    if (slot == nullptr) {
        keep_lost(t, c, c->error.code);
        return;
    }
    slot->index = c->index;
    slot->kind = MetadataSlot::end;
    t->metadata.publish();
}

// The inbox is full because the caller does not take what is in it. True: that has ended the connection.
[[gnu::cold]] static bool too_slow(Transport *t, Connection *c) {
    c->counters.stalls++;
    if (c->settings->overflow != Overflow::close) return false;
    c->error.begin(WSXDP_E_OVERFLOW)
        .add("the caller is too slow: the inbox (inbox.bytes) is full, overflow=close");
    keep_lost(t, c, WSXDP_E_OVERFLOW);
    return true;
}

// A read that took all that fitted, behind half an inbox or more that was waiting already. A caller who takes
// a little at every poll is noticed here only, since some room is always found before a read. Conflate makes
// its own room.
static void check_filled(Transport *t, Connection *c, bool cut_short, uint64_t waited) {
    if (c->settings->overflow == Overflow::conflate) return;
    if (cut_short && waited >= c->inbox.capacity / 2) too_slow(t, c);
}

[[gnu::cold]] static void stall(Transport *t, Connection *c) {
    if (c->stalled || too_slow(t, c)) return;
    c->stalled = true;
    t->stalled_count++;
    watch(t, c, false, c->want_write);
}

[[gnu::cold]] static void unstall(Transport *t, Connection *c) {
    c->stalled = false;
    t->stalled_count--;
    watch(t, c, true, c->want_write);
}

// Announces bytes that were put at the inbox's tail.
static void announce(Transport *t, Connection *c, uint64_t bytes, const ReadStamps &stamps, Tick read_tick,
                     Tick tls_tick) {
    MetadataSlot *slot = t->metadata.claim(); // room was checked before the read
    slot->index = c->index;
    slot->kind = MetadataSlot::bytes;
    slot->position = c->inbox.tail;
    slot->size = bytes;
    slot->poll_tick = stamps.polled != 0 ? stamps.polled : read_tick;
    slot->transport_tick = stamps.processed != 0 ? stamps.processed : read_tick;
    slot->tls_tick = tls_tick;
    slot->kernel_ns = stamps.kernel_ns;
    slot->nic_ns = stamps.nic_ns;
    c->inbox.publish(bytes);
    t->metadata.publish();
    if (c->inbox.used() > c->counters.inbox_max) c->counters.inbox_max = c->inbox.used();
}

static void count_read(Transport *t, Connection *c, int64_t got, size_t asked) {
    c->counters.bytes_received += static_cast<uint64_t>(got);
    c->counters.reads++;
    c->last_received = t->now;
    c->likely_more = static_cast<size_t>(got) >= asked / 2 || got >= 16384;
}

// Far into the ring with only the beginning of a frame left, read no further than that frame's end: the inbox
// is then empty after the next release and starts again in memory that is in cache. Costs one short read per
// lap of this.
constexpr uint64_t hot_bytes = 256 * 1024;

static size_t stop_at_frame_end(const Connection *c, size_t asked) {
    bool far = (c->inbox.tail & (c->inbox.capacity - 1)) >= hot_bytes;
    if (!far || c->inbox.used() == 0) return asked;
    uint64_t end = c->area.words->frame_end.load(std::memory_order_relaxed);
    return end > c->inbox.tail && end - c->inbox.tail < asked ? static_cast<size_t>(end - c->inbox.tail)
                                                              : asked;
}

static bool receive_plain(Transport *t, Connection *c, uint64_t room) {
    size_t asked = room < c->settings->read_bytes ? static_cast<size_t>(room) : c->settings->read_bytes;
    asked = stop_at_frame_end(c, asked);
    ReadStamps stamps;
    int cause = 0;
    int64_t got = c->channel.backend->read(&c->channel, c->inbox.at_tail(), asked, &stamps, &cause);
    if (got <= 0) {
        c->likely_more = false;
        if (got < 0) receive_ended(t, c, static_cast<int>(got), cause);
        return got < 0;
    }
    count_read(t, c, got, asked);
    uint64_t waited = c->inbox.used();
    const Tick read_tick = stamps.processed != 0 ? stamps.processed : t->clock->ticks();
    announce(t, c, static_cast<uint64_t>(got), stamps, read_tick, 0);
    check_filled(t, c, static_cast<uint64_t>(got) == room, waited);
    return true;
}

// Everything that scratch holds becomes plaintext in the inbox; what is incomplete stays inside the session.
static int64_t decrypt(Transport *t, Connection *c, uint64_t room, uint64_t *plain) {
    const TlsBackend *backend = c->tls->backend;
    c->tls->output = ByteSpan(c->tx.data + c->tx.end, c->tx.capacity - c->tx.end);
    c->tls->output_used = 0;
    int64_t got = 0;
    *plain = 0;
    do {
        if (*plain >= room) break;
        got = backend->read(c->tls, c->inbox.at_tail() + *plain, room - *plain, &c->error);
        if (got > 0) *plain += static_cast<uint64_t>(got);
    } while (got > 0 && (c->tls->more || c->tls->input.size != 0));
    c->tx.end += c->tls->output_used; // an answer to a key update
    if (c->tls->output_used != 0) transport_flush(t, c);
    return got;
}

[[gnu::noinline]] static bool receive_tls(Transport *t, Connection *c, uint64_t room) {
    size_t limit = c->settings->read_bytes < t->scratch_bytes ? c->settings->read_bytes : t->scratch_bytes;
    uint64_t usable = room - tls_read_kept_max; // what the session kept back may surface as well
    size_t asked = usable < limit ? static_cast<size_t>(usable) : limit;
    ReadStamps stamps;
    int cause = 0;
    int64_t got = c->channel.backend->read(&c->channel, t->scratch, asked, &stamps, &cause);
    if (got <= 0) {
        c->likely_more = false;
        if (got < 0) receive_ended(t, c, static_cast<int>(got), cause);
        return got < 0;
    }
    Tick read_tick = t->clock->ticks();
    count_read(t, c, got, asked);
    c->tls->input = ByteView(t->scratch, static_cast<size_t>(got));
    uint64_t plain = 0;
    uint64_t waited = c->inbox.used();
    int64_t result = decrypt(t, c, room, &plain);
    if (c->tls == nullptr) return true; // lost while answering
    if (plain != 0) announce(t, c, plain, stamps, read_tick, t->clock->ticks());
    if (result == WSXDP_E_CLOSED) {
        c->record_closed = true;
        receive_ended(t, c, WSXDP_E_EOF, 0);
    } else if (result < 0) {
        keep_lost(t, c, static_cast<int>(result));
    } else {
        check_filled(t, c, static_cast<uint64_t>(got) == usable, waited);
    }
    return true;
}

// Both sides have closed, or a rule was broken: only the end of TCP is of interest now.
[[gnu::cold]] static bool receive_nothing(Transport *t, Connection *c) {
    ReadStamps stamps;
    int cause = 0;
    int64_t got = c->channel.backend->read(&c->channel, t->scratch, t->scratch_bytes, &stamps, &cause);
    if (got > 0) c->counters.bytes_received += static_cast<uint64_t>(got);
    if (got < 0) keep_lost(t, c, c->end_error);
    return got != 0;
}

bool receive_from(Transport *t, Connection *c) {
    if (c->end_waits || c->read_ended) return false;
    if (c->state == ConnectionState::draining) return receive_nothing(t, c);
    if (t->metadata.room(notes_reserve + 1) <= notes_reserve) return false;
    c->inbox.room(); // sees what was released
    c->inbox.rewind_if_empty();
    uint64_t room = c->inbox.capacity - c->inbox.used();
    uint64_t needs = c->tls != nullptr ? inbox_slack_bytes + 1024 : 1;
    if (room < needs) {
        stall(t, c);
        return false;
    }
    if (c->stalled) unstall(t, c);
    return c->tls != nullptr ? receive_tls(t, c, room) : receive_plain(t, c, room);
}

} // namespace wx
