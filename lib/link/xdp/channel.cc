// SPDX-License-Identifier: MIT
// A connection as its owner sees it: bytes to read and to write, and whether there is reason to. Data to send
// is copied once, into a frame, with its checksum; received data is copied once, out of its frame. The owner
// may let go long before the connection is over.
#include "../../base/alloc.h"
#include "../../tcp/parts.h"
#include "host.h"
#include <unistd.h>

namespace wx {

// Of the data frames, kept for packets that must be copied to be sent (a retransmission of which the kernel
// still has the first sending, a segment of several chunks).
constexpr uint32_t copies_share = 8;
constexpr unsigned views_max = 32;
// A control frame and a TLS record around it.
constexpr size_t small_write = 256;

void xdp_mark_dirty(XdpChannel *channel) {
    if (channel->dirty) return;
    channel->dirty = true;
    channel->next_dirty = channel->host->dirty;
    channel->host->dirty = channel;
}

void xdp_list_ready(XdpChannel *channel) {
    if (channel->listed) return;
    channel->listed = true;
    channel->host->ready[channel->host->ready_count++] = channel;
}

static bool over(const TcpConnection *c) {
    return c->state == TcpState::closed || c->state == TcpState::time_wait;
}

bool xdp_readable(const XdpChannel *channel) {
    const TcpConnection *c = &channel->c;
    if (channel->step == DialStep::failed) return true;
    if (channel->step != DialStep::connected && channel->step != DialStep::handshake) return false;
    return c->rx.ready_head != c->rx.ready_tail || c->fin_taken || over(c);
}

bool xdp_writable(const XdpChannel *channel) {
    const TcpConnection *c = &channel->c;
    if (channel->step == DialStep::failed) return true;
    if (channel->step == DialStep::handshake)
        return c->state != TcpState::syn_sent && c->state != TcpState::syn_received;
    if (channel->step != DialStep::connected) return false;
    if (over(c) || !channel->short_write) return true;
    const FramePool &pool = channel->host->nic.umem.pools[static_cast<unsigned>(Pool::data)];
    return tcp_unsent(c) <= unsent_limit / 2 && tcp_room(c) >= c->config.send_bytes / 4 &&
           pool.free_count > pool.count / copies_share;
}

XdpRead xdp_read(XdpChannel *channel, ByteSpan out) {
    TcpView views[views_max];
    XdpRead result = {0, no_frame};
    uint32_t count = tcp_views(&channel->c, views, views_max);
    for (uint32_t i = 0; i < count && out.size != 0; i++) {
        size_t size = views[i].size < out.size ? views[i].size : out.size;
        memcpy(out.data, views[i].data, size);
        out = ByteSpan(out.data + size, out.size - size);
        result.bytes += static_cast<int64_t>(size);
        result.last = views[i].frame;
    }
    return result;
}

uint32_t xdp_write(XdpChannel *channel, ByteView data) {
    XdpHost *h = channel->host;
    TcpConnection *c = &channel->c;
    const FramePool &pool = h->nic.umem.pools[static_cast<unsigned>(Pool::data)];
    uint32_t most = h->nic.umem.frame_bytes - send_headroom, segment = tcp_segment_payload(c), taken = 0;
    if (segment > most) segment = most;
    bool small = data.size <= small_write;
    while (taken < data.size) {
        uint32_t room = tcp_room(c), size = static_cast<uint32_t>(data.size) - taken;
        if (size > segment) size = segment;
        if (room < size || tcp_unsent(c) >= unsent_limit) break;
        FrameId id = xdp_take_data_frame(h, pool.count / copies_share, small);
        if (id == no_frame) break;
        TcpChunk chunk;
        uint8_t *to = umem_frame(&h->nic.umem, id) + send_headroom;
        chunk.sum = checksum_copy(to, data.data + taken, size);
        chunk.has_sum = true;
        chunk.data = to;
        chunk.size = size;
        chunk.push = taken + size == data.size;
        chunk.frame = id;
        if (!tcp_write(c, chunk)) {
            xdp_release_sent(h, id);
            break;
        }
        taken += size;
    }
    channel->short_write = taken < data.size;
    if (channel->short_write) xdp_list_ready(channel);
    if (taken != 0) xdp_mark_dirty(channel);
    return taken;
}

void xdp_detach(XdpChannel *channel, bool reset) {
    channel->attached = false;
    channel->want_read = channel->want_write = false;
    if (channel->step == DialStep::interface || channel->step == DialStep::neighbor ||
        channel->step == DialStep::failed) {
        xdp_forget(channel);
        return;
    }
    if (reset)
        tcp_abort(&channel->c);
    else
        tcp_close(&channel->c);
    if (over(&channel->c)) tcp_discard(&channel->c);
    xdp_mark_dirty(channel);
}

static void unlist(XdpHost *h, const XdpChannel *channel) {
    for (uint32_t i = 0; i < h->ready_count; i++)
        if (h->ready[i] == channel) {
            h->ready[i] = h->ready[--h->ready_count];
            return;
        }
}

static void undirty(XdpHost *h, const XdpChannel *channel) {
    for (XdpChannel **at = &h->dirty; *at != nullptr; at = &(*at)->next_dirty)
        if (*at == channel) {
            *at = channel->next_dirty;
            return;
        }
}

void xdp_forget(XdpChannel *channel) {
    XdpHost *h = channel->host;
    if (channel->step == DialStep::interface) xdp_opening_over(h);
    tcp_discard(&channel->c);
    if (channel->installed) {
        tcp_table_remove(&h->table, channel->c.tuple);
        xdp_release_tuple(h, channel->c.tuple, channel->holder);
    } else if (channel->holder >= 0) {
        close(channel->holder);
    }
    if (channel->listed) unlist(h, channel);
    if (channel->dirty) undirty(h, channel);
    if (h->late_channel == channel) h->late_channel = nullptr;
    h->channels[channel->index] = h->channels[--h->channel_count];
    h->channels[channel->index]->index = channel->index;
    deallocate(channel);
}

} // namespace wx
