// SPDX-License-Identifier: MIT
// A peer without a network: what the client sends comes back as a server would send it, frame by frame,
// unmasked; a ping becomes a pong, a close is answered. So bindings, examples and tests run anywhere, through
// the same frame code as a real connection. Never more than echo_bytes under way; beyond that it takes no
// more, as a slow peer would.
#include "../base/alloc.h"
#include "../ws/frame.h"
#include "link.h"

namespace wx {

struct EchoPeer {
    uint8_t *bytes = nullptr; // frames ready to be read, [begin, end)
    size_t capacity = 0;
    size_t begin = 0;
    size_t end = 0;
    uint8_t head[frame_head_max]; // of the client frame being taken
    size_t head_size = 0;
    FrameHead frame{};
    uint64_t payload_done = 0;
    bool in_payload = false;
    bool closed = false;
};

static EchoPeer *peer_of(const Channel *channel) { return static_cast<EchoPeer *>(channel->state); }

static int echo_open(const Address &, const LinkOptions &options, Channel *channel, ErrorText *error) {
    *channel = Channel();
    channel->backend = &echo_link;
    EchoPeer *peer = allocate_object<EchoPeer>();
    if (peer != nullptr) {
        peer->capacity = options.echo_bytes + 2 * frame_head_max;
        peer->bytes = static_cast<uint8_t *>(allocate(peer->capacity));
    }
    if (peer == nullptr || peer->bytes == nullptr) {
        deallocate(peer);
        error->begin(WSXDP_E_MEMORY).add("opening echo: out of memory for its buffer; lower outbox.bytes");
        return WSXDP_E_MEMORY;
    }
    channel->state = peer;
    return 1;
}

static int echo_finish(Channel *, ErrorText *) { return 1; }

static int64_t echo_read(Channel *channel, uint8_t *out, size_t cap, ReadStamps *stamps, int *) {
    EchoPeer *peer = peer_of(channel);
    *stamps = ReadStamps();
    size_t count = peer->end - peer->begin;
    if (count == 0) return peer->closed ? static_cast<int64_t>(WSXDP_E_EOF) : 0;
    if (count > cap) count = cap;
    memcpy(out, peer->bytes + peer->begin, count);
    peer->begin += count;
    if (peer->begin == peer->end) peer->begin = peer->end = 0;
    return static_cast<int64_t>(count);
}

static void make_room(EchoPeer *peer) {
    if (peer->begin == 0) return;
    memmove(peer->bytes, peer->bytes + peer->begin, peer->end - peer->begin);
    peer->end -= peer->begin;
    peer->begin = 0;
}

// Takes the rest of a client frame's head; true when it is whole and the server's head has been written.
static bool take_head(EchoPeer *peer, uint8_t byte) {
    peer->head[peer->head_size++] = byte;
    int parsed = frame_head_parse(peer->head, peer->head_size, &peer->frame);
    if (parsed < 0) peer->closed = true; // as a server would; a head is never longer than its buffer
    if (parsed <= 0) return false;
    uint8_t first = peer->head[0];
    if (peer->frame.opcode == opcode_ping) first = static_cast<uint8_t>((first & 0xF0) | opcode_pong);
    peer->end += frame_head_build(peer->bytes + peer->end, first, peer->frame.payload_bytes, false, 0);
    peer->in_payload = true;
    peer->payload_done = 0;
    peer->head_size = 0;
    return true;
}

static void end_frame_if_done(EchoPeer *peer) {
    if (!peer->in_payload || peer->payload_done != peer->frame.payload_bytes) return;
    peer->in_payload = false;
    if (peer->frame.opcode == opcode_close) peer->closed = true;
}

static int64_t echo_write(Channel *channel, const uint8_t *data, size_t size, int *) {
    EchoPeer *peer = peer_of(channel);
    size_t at = 0;
    if (peer->capacity - peer->end < size + frame_head_max) make_room(peer);
    while (at < size && !peer->closed) {
        size_t room = peer->capacity - peer->end;
        if (room < frame_head_max) break;
        if (!peer->in_payload) {
            take_head(peer, data[at++]);
        } else {
            uint64_t left = peer->frame.payload_bytes - peer->payload_done;
            size_t count = size - at < left ? size - at : static_cast<size_t>(left);
            if (count > room) count = room;
            mask_apply(peer->bytes + peer->end, data + at, count, peer->frame.mask,
                       static_cast<unsigned>(peer->payload_done & 3));
            peer->end += count;
            peer->payload_done += count;
            at += count;
        }
        end_frame_if_done(peer);
    }
    return static_cast<int64_t>(peer->closed ? size : at);
}

static bool echo_readable(const Channel *channel) {
    const EchoPeer *peer = peer_of(channel);
    return peer->end != peer->begin || peer->closed;
}

static void echo_close(Channel *channel, bool) {
    EchoPeer *peer = peer_of(channel);
    if (peer == nullptr) return;
    deallocate(peer->bytes);
    deallocate(peer);
    channel->state = nullptr;
}

const LinkBackend echo_link = {"echo",     echo_open, echo_finish, echo_read, echo_write, echo_readable,
                               echo_close, true,      nullptr,     nullptr,   nullptr,    nullptr};

} // namespace wx
