// SPDX-License-Identifier: MIT
// The sending hot path. What is queued leaves in this order: bytes already made (tx), control frames, the
// outbox. Control frames go between two data frames, never inside one: the outbox describes itself, so the
// next frame boundary is found by reading frame heads. Without TLS the outbox is handed to the link as it
// lies; with TLS each stretch of up to record_bytes becomes one record. Never waits: what the link does not
// take stays.
#include "transport.h"

namespace wx {

[[gnu::cold]] static int write_failed(Connection *c, int64_t code, int cause) {
    explain_link(c, static_cast<int>(code), cause, "writing to the connection");
    return static_cast<int>(code);
}

bool transmit_tx(Transport *, Connection *c, int *failure) {
    *failure = 0;
    while (c->tx.pending() != 0) {
        int cause = 0;
        int64_t sent =
            c->channel.backend->write(&c->channel, c->tx.data + c->tx.begin, c->tx.pending(), &cause);
        if (sent < 0) {
            *failure = write_failed(c, sent, cause);
            return false;
        }
        if (sent == 0) return false;
        c->counters.bytes_sent += static_cast<uint64_t>(sent);
        c->tx.begin += static_cast<size_t>(sent);
    }
    c->tx.begin = c->tx.end = 0;
    return true;
}

[[gnu::noinline]] static void make_tx_room(TxBuffer *tx) {
    if (tx->begin == 0) return;
    memmove(tx->data, tx->data + tx->begin, tx->pending());
    tx->end -= tx->begin;
    tx->begin = 0;
}

// Encrypts what fits; returns plaintext bytes taken or < 0.
[[gnu::noinline]] static int64_t encrypt(Connection *c, const uint8_t *data, size_t size) {
    make_tx_room(&c->tx);
    c->tls->output = ByteSpan(c->tx.data + c->tx.end, c->tx.capacity - c->tx.end);
    c->tls->output_used = 0;
    int64_t taken = c->tls->backend->write(c->tls, data, size, &c->error);
    c->tx.end += c->tls->output_used;
    return taken;
}

int transmit_bytes(Transport *, Connection *c, ByteView bytes) {
    if (c->tls != nullptr) {
        while (bytes.size != 0) {
            size_t size = bytes.size < c->settings->record_bytes ? bytes.size : c->settings->record_bytes;
            int64_t taken = encrypt(c, bytes.data, size);
            if (taken < 0) return static_cast<int>(taken);
            if (taken == 0) return WSXDP_E_AGAIN;
            bytes = bytes.from(static_cast<size_t>(taken));
        }
        return WSXDP_OK;
    }
    make_tx_room(&c->tx);
    if (c->tx.capacity - c->tx.end < bytes.size) return WSXDP_E_AGAIN;
    memcpy(c->tx.data + c->tx.end, bytes.data, bytes.size);
    c->tx.end += bytes.size;
    return WSXDP_OK;
}

int transmit_frame(Transport *t, Connection *c, uint8_t first, ByteView payload) {
    uint8_t frame[frame_head_max + control_payload_max];
    uint32_t mask = c->settings->mask_zero ? 0 : random_u32(t->random);
    size_t head = frame_head_build(frame, first, payload.size, true, mask);
    mask_apply(frame + head, payload.data, payload.size, mask, 0);
    if (t->random->failed) {
        c->error.begin(WSXDP_E_SYSTEM).add("the kernel gives no random bytes for masks any more");
        return WSXDP_E_SYSTEM;
    }
    int status = transmit_bytes(t, c, ByteView(frame, head + payload.size));
    if (status >= 0) c->counters.frames_sent++;
    return status;
}

static bool control_wanted(const Connection *c) {
    const PendingControl &p = c->control;
    return p.pong || p.ping || (p.close && c->outbox.head >= p.close_after);
}

static int transmit_ping(Transport *t, Connection *c) {
    uint8_t cookie[8];
    t->random->fill(t->random, cookie, sizeof cookie);
    c->area.words->ping_tick.store(t->clock->ticks(), std::memory_order_relaxed);
    // Before the frame leaves: the pong's reader must find them.
    c->area.words->ping_cookie.store(load_be64(cookie), std::memory_order_release);
    int status = transmit_frame(t, c, 0x80 | opcode_ping, ByteView(cookie, sizeof cookie));
    if (status < 0) return status;
    c->control.ping = false;
    c->counters.pings_sent++;
    c->ping_deadline = t->now + c->settings->ping_timeout;
    return status;
}

static int transmit_close(Transport *t, Connection *c) {
    uint8_t body[control_payload_max];
    size_t size = 0;
    const PendingControl &p = c->control;
    if (p.close_code != 0 && p.close_code != 1005) {
        store_be16(body, p.close_code);
        memcpy(body + 2, p.close_reason, p.close_size);
        size = 2u + p.close_size;
    }
    int status = transmit_frame(t, c, 0x80 | opcode_close, ByteView(body, size));
    if (status < 0) return status;
    c->control.close = false;
    c->close_sent = true;
    return status;
}

[[gnu::cold]] static int transmit_control(Transport *t, Connection *c) {
    int status = WSXDP_OK;
    if (c->control.pong && !c->close_sent) {
        ByteView payload(c->control.pong_payload, c->control.pong_size);
        status = transmit_frame(t, c, 0x80 | opcode_pong, payload);
        if (status < 0) return status;
        c->counters.pongs_sent++;
    }
    c->control.pong = false;
    if (c->control.ping && !c->close_sent && (status = transmit_ping(t, c)) < 0) return status;
    c->control.ping = false;
    if (c->control.close && !c->close_sent && c->outbox.head >= c->control.close_after)
        status = transmit_close(t, c);
    return status;
}

// Moves the outbox's head and keeps frame_boundary at or after it. Frame heads before the new head are still
// there: they are given back only afterwards.
static void advance(Connection *c, uint64_t bytes, bool drained) {
    uint64_t head = c->outbox.head + bytes;
    if (drained && c->frame_boundary < head) c->frame_boundary = head; // the app publishes whole frames only
    while (c->frame_boundary < head) {
        FrameHead frame;
        if (frame_head_parse(c->outbox.at(c->frame_boundary), frame_head_max, &frame) <= 0) {
            c->frame_boundary = head; // not our framing: the app's memory is damaged; the peer will object
            break;
        }
        c->frame_boundary += frame.head_bytes + frame.payload_bytes;
    }
    c->outbox.release_to(head);
}

// How much of the outbox may go now: nothing after our close, up to the frame's end when control waits.
static uint64_t outbox_ready(Connection *c) {
    if (c->epoch == 0 || c->close_sent) return 0;
    ConnectionWords *words = c->area.words;
    if (words->epoch.load(std::memory_order_acquire) != c->epoch) return 0; // OPEN is not answered yet
    uint64_t start = words->epoch_start.load(std::memory_order_relaxed);
    uint64_t old = c->outbox.head;
    uint64_t ready = c->outbox.ready();
    if (c->outbox.head < start) {
        c->outbox.release_to(start);
        ready = c->outbox.ready();
    }
    if (c->outbox.head != old && c->frame_boundary < c->outbox.head) c->frame_boundary = c->outbox.head;
    bool mid_frame = c->frame_boundary > c->outbox.head;
    if (mid_frame && control_wanted(c)) {
        uint64_t rest = c->frame_boundary - c->outbox.head;
        return rest < ready ? rest : ready;
    }
    return ready;
}

// 1 moved, 0 the link is full, < 0 lost.
static int64_t transmit_outbox(Connection *c, uint64_t ready) {
    const uint8_t *data = c->outbox.at(c->outbox.head);
    int64_t taken;
    if (c->tls != nullptr) {
        size_t size =
            ready < c->settings->record_bytes ? static_cast<size_t>(ready) : c->settings->record_bytes;
        taken = encrypt(c, data, size);
    } else {
        int cause = 0;
        taken = c->channel.backend->write(&c->channel, data, ready, &cause);
        if (taken < 0) return write_failed(c, taken, cause);
        c->counters.bytes_sent += static_cast<uint64_t>(taken);
    }
    if (taken <= 0) return taken;
    bool drained = static_cast<uint64_t>(taken) == ready;
    advance(c, static_cast<uint64_t>(taken), drained);
    return c->tls != nullptr || drained ? 1 : 0;
}

// The peer's last words may still be unread (a close frame before its reset): writing stops, reading goes on
// and finds the end itself, or the close timeout does.
[[gnu::cold]] static Flush lost(Transport *t, Connection *c, int code) {
    if (code != WSXDP_E_RESET) {
        keep_lost(t, c, code);
        return Flush::lost;
    }
    c->tx.begin = c->tx.end = 0;
    c->write_broken = true;
    c->step_deadline = t->now + c->settings->close_timeout;
    watch(t, c, true, false);
    keep_schedule(t, c);
    return Flush::done;
}

Flush transmit(Transport *t, Connection *c) {
    if (c->write_broken) return Flush::done;
    for (;;) {
        int failure = 0;
        if (c->tx.pending() != 0 && !transmit_tx(t, c, &failure))
            return failure != 0 ? lost(t, c, failure) : Flush::blocked;
        if (c->tls != nullptr && c->tls->output_kept != 0) {
            if (encrypt(c, nullptr, 0) < 0) return lost(t, c, c->error.code);
            if (c->tx.pending() != 0) continue;
        }
        uint64_t ready = outbox_ready(c);
        if (control_wanted(c) && c->frame_boundary <= c->outbox.head) {
            int status = transmit_control(t, c);
            if (status < 0 && status != WSXDP_E_AGAIN) return lost(t, c, status);
            continue;
        }
        if (ready == 0) return Flush::done;
        int64_t moved = transmit_outbox(c, ready);
        if (moved < 0) return lost(t, c, static_cast<int>(moved));
        if (moved == 0) return Flush::blocked;
    }
}

} // namespace wx
