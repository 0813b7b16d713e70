// SPDX-License-Identifier: MIT
// The step: what has arrived, what is due, and then everything that is owed in as few kicks as go. A
// connection that something happened to is put on a list and gets one tcp_output per step, so that an
// acknowledgement rides on an answer that is written in between. The worst case accepted is a full ring: what
// does not fit stays with the connections and is tried again in the next step.
#include "host.h"
#include "../../base/alloc.h"
#include "../../tcp/parts.h"
#include "../link.h"

namespace wx {

static_assert(offsetof(XdpChannel, c) == 0, "a connection is its channel");
static_assert(send_headroom >= ether_header_size + ether_vlan_size + ip6_header_size + tcp_header_max,
              "all headers fit in front of the payload");

// How often a caller that never sleeps looks at what the kernel has told; a sleeping one is woken.
constexpr Nanos look_distance = 10 * ns_per_ms;
// A full ring or a busy kernel: by then it has sent some.
constexpr Nanos retry_distance = 20000;
// Completions are taken when there are many, when a frame is wanted and at each look: for every packet the
// kernel's side of the ring would have to come from the core that has the packet now.
constexpr uint32_t completion_batch = 64;
constexpr char socket_stopped[] = ": its AF_XDP socket stopped sending and could not be opened again";
// Kicks of one step: then the caller gets its turn, and the rest leaves in the next.
constexpr int rounds_max = 8;

// ---- open and close ----

static void *place_tables(XdpHost *h) {
    size_t table = (tcp_table_bytes(h->options.connections * 2) + 63) & ~size_t{63};
    h->memory = allocate_aligned(64, table + time_wait_bytes(h->options.time_wait));
    if (h->memory == nullptr) return nullptr;
    uint8_t seed[8];
    h->random->fill(h->random, seed, sizeof seed);
    tcp_table_open(&h->table, h->memory, h->options.connections * 2, load_be64(seed));
    time_wait_open(&h->tcp.time_wait, static_cast<uint8_t *>(h->memory) + table, h->options.time_wait);
    return h->memory;
}

int xdp_host_open(XdpHost *h, const XdpHostOptions &options, const XdpSupport &support, Poller *poller,
                  const Clock *clock, RandomSource *random, ErrorText *error) {
    *h = XdpHost();
    h->options = options;
    h->support = support;
    h->port = support.port;
    h->poller = poller;
    h->clock = clock;
    h->random = random;
    h->sink.send = xdp_send_packet;
    h->sink.host = h;
    h->tcp.random = random;
    random->fill(random, h->tcp.secret.key, sizeof h->tcp.secret.key);
    h->tcp.release_receive = FrameRelease{xdp_release_received, h};
    h->tcp.release_send = FrameRelease{xdp_release_sent, h};
    size_t limit = size_t{options.connections} * 2;
    h->channels = static_cast<XdpChannel **>(allocate(limit * sizeof(XdpChannel *)));
    h->ready = static_cast<XdpChannel **>(allocate(limit * sizeof(XdpChannel *)));
    h->held = static_cast<HeldTuple *>(allocate(options.time_wait * sizeof(HeldTuple)));
    if (place_tables(h) == nullptr || h->channels == nullptr || h->ready == nullptr || h->held == nullptr) {
        xdp_host_close(h);
        error->begin(WSXDP_E_MEMORY).add("setting up AF_XDP: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    h->changes = support.paths.changes(support.paths.context);
    xdp_host_watch(h, true);
    return WSXDP_OK;
}

void xdp_close_frames(XdpHost *h) {
    if (h->port == nullptr)
        nic_close(&h->nic);
    else
        nic_port_drop(h->port, &h->nic);
    deallocate(h->send_state);
    deallocate(h->stamps);
    h->send_state = nullptr;
    h->stamps = nullptr;
}

// Everything that lies in frames goes, then the frames.
static void close_nic(XdpHost *h) {
    if (h->support.restore != nullptr) h->support.restore(h->support.context);
    h->trickle_at = never;
    const bool watched = h->watched;
    if (watched) xdp_host_watch(h, false);
    xdp_close_frames(h);
    if (watched) xdp_host_watch(h, true);
    h->queued = 0;
    h->batch_full = h->kick_again = h->send_blocked = false;
    for (SocketProgress &p : h->progress) p = SocketProgress();
}

bool xdp_release_oldest(XdpHost *h) {
    if (h->held_count == 0) return false;
    HeldTuple *oldest = &h->held[h->held_begin];
    xdp_release_tuple(h, oldest->tuple, oldest->holder);
    h->held_begin = (h->held_begin + 1) & (h->options.time_wait - 1);
    h->held_count--;
    return true;
}

static void release_held(XdpHost *h) {
    while (xdp_release_oldest(h)) continue;
}

// Those whose TIME-WAIT is over. That need not be the oldest: a repeated FIN begins it again, and the table
// drops the one that would end first, not the one that was held first.
static void release_over(XdpHost *h) {
    if (h->held_removed == h->tcp.time_wait.removed) return;
    h->held_removed = h->tcp.time_wait.removed;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < h->held_count; i++) {
        const HeldTuple held = h->held[(h->held_begin + i) & (h->options.time_wait - 1)];
        if (time_wait_find(&h->tcp.time_wait, held.tuple) == nullptr)
            xdp_release_tuple(h, held.tuple, held.holder);
        else
            h->held[(h->held_begin + kept++) & (h->options.time_wait - 1)] = held;
    }
    h->held_count = kept;
}

void xdp_host_close(XdpHost *h) {
    if (h->channels == nullptr) return;
    for (uint32_t i = 0; i < h->channel_count; i++) {
        XdpChannel *channel = h->channels[i];
        channel->attached = false;
        if (channel->step == DialStep::handshake || channel->step == DialStep::connected)
            tcp_abort(&channel->c);
        xdp_mark_dirty(channel);
    }
    if (h->nic.mode != NicMode::none) xdp_host_send(h, h->now, false);
    while (h->channel_count != 0) xdp_forget(h->channels[h->channel_count - 1]);
    release_held(h);
    xdp_host_watch(h, false);
    close_nic(h);
    deallocate(h->channels);
    deallocate(h->ready);
    deallocate(h->held);
    deallocate(h->memory);
    *h = XdpHost();
}

// ---- in ----

static void try_interface(XdpHost *h) {
    h->nic_retry_at = never;
    for (uint32_t i = 0; i < h->channel_count && h->nic_retry_at == never; i++)
        if (h->channels[i]->step == DialStep::interface) xdp_dial_step(h->channels[i]);
}

static void run_timers(XdpHost *h) {
    h->deadline = never;
    for (uint32_t i = 0; i < h->channel_count; i++) {
        XdpChannel *channel = h->channels[i];
        if (channel->dial_deadline <= h->now) {
            channel->dial_deadline = h->now; // passed
            xdp_dial_step(channel);
        }
        if (channel->deadline <= h->now) {
            tcp_on_timer(&channel->c, h->now);
            channel->deadline = tcp_deadline(&channel->c);
            xdp_mark_dirty(channel);
        }
        Nanos next = channel->deadline < channel->dial_deadline ? channel->deadline : channel->dial_deadline;
        if (next < h->deadline) h->deadline = next;
    }
    if (h->nic_retry_at < h->deadline) h->deadline = h->nic_retry_at;
    if (h->trickle_at <= h->now) xdp_trickle(h);
    if (h->trickle_at < h->deadline) h->deadline = h->trickle_at;
    if (h->ask_at <= h->now) xdp_ask_again(h);
    if (h->ask_at < h->deadline) h->deadline = h->ask_at;
    for (uint32_t i = 0; i < h->nic.socket_count; i++)
        if (h->progress[i].stopped && h->next_look < h->deadline) h->deadline = h->next_look;
    if (h->held_count == 0) return;
    time_wait_expire(&h->tcp.time_wait, h->now);
    release_over(h);
    if (h->held_count != 0 && h->tcp.time_wait.next_expiry < h->deadline)
        h->deadline = h->tcp.time_wait.next_expiry;
}

// The interface vanished: when nothing of it is used any more, it can be opened anew.
static void mend(XdpHost *h) {
    release_held(h);
    close_nic(h);
    h->broken = false;
}

// A driver that completes nothing any more would starve us of frames for ever. What it had counts as sent:
// TCP repeats what did not arrive.
[[gnu::cold]] static void recover(XdpHost *h, uint32_t index) {
    SocketProgress *p = &h->progress[index];
    Xsk *socket = &h->nic.sockets[index];
    if (!p->stopped) {
        if (h->watched) poller_remove(h->poller, socket->fd);
        nic_stop(&h->nic, index);
        FrameId frames[64];
        for (uint32_t count = 1; count != 0;) {
            count = xsk_stranded(socket, frames, 64);
            xdp_settle(h, frames, count);
        }
        p->stopped = true;
        p->stopped_at = h->now;
        h->counters.recoveries++;
    }
    ErrorText error;
    int status = nic_reopen(&h->nic, index, &error);
    if (status == WSXDP_E_AGAIN && h->now - p->stopped_at < nic_retry_limit) {
        if (h->next_look < h->deadline) h->deadline = h->next_look;
        return;
    }
    if (status < 0) {
        xdp_nic_lost(h, socket_stopped);
        return;
    }
    if (h->watched) poller_add(h->poller, socket->fd, link_driver_tag, true, false);
    xsk_refill(socket, 0);
    *p = SocketProgress();
    for (uint32_t i = 0; i < h->channel_count; i++) {
        XdpChannel *channel = h->channels[i];
        if (channel->socket != index || !channel->installed) continue;
        tcp_on_lost_flight(&channel->c, h->now);
        channel->deadline = tcp_deadline(&channel->c);
        if (channel->deadline < h->deadline) h->deadline = channel->deadline;
    }
}

static void check_sockets(XdpHost *h) {
    // Who has nothing to send asks for no completions, and that must not look like a driver that has none.
    xdp_take_completions(h);
    if (h->port != nullptr) { // its stage looks after them
        (void)nic_port_give(h->port, &h->nic, 1);
        return;
    }
    for (uint32_t i = 0; i < h->nic.socket_count && !h->broken; i++)
        if (nic_socket_stands(&h->nic.sockets[i], &h->progress[i], h->now)) recover(h, i);
}

// What the nic stage has told besides frames.
static void look_at_port(XdpHost *h) {
    if (h->nic.mode == NicMode::none) {
        if (h->opening != 0 && nic_port_answered(h->port)) h->nic_retry_at = h->now;
    } else if (h->port->area->lost.load(std::memory_order_acquire) != 0 && !h->broken) {
        xdp_nic_lost(h, socket_stopped);
    }
}

bool xdp_host_receive(XdpHost *h, Nanos now, Tick tick) {
    h->now = now;
    h->tick = tick;
    bool moved = false;
    if (h->late_channel != nullptr) xdp_take_late(h);
    if (now >= h->next_look) {
        h->next_look = now + look_distance;
        xdp_follow_paths(h);
        check_sockets(h);
    }
    if (__builtin_expect(h->port != nullptr, 0)) look_at_port(h);
    if (h->broken) mend(h);
    if (h->opening != 0 && now >= h->nic_retry_at) {
        try_interface(h);
        moved = true;
    }
    moved |= xdp_take_frames(h);
    if (now >= h->deadline) {
        run_timers(h);
        moved = true;
    }
    return moved;
}

static bool wants(const XdpChannel *channel, bool *readable, bool *writable) {
    *readable = channel->want_read && xdp_readable(channel);
    *writable = channel->want_write && xdp_writable(channel);
    return *readable || *writable;
}

int xdp_host_ready(XdpHost *h, PollerEvent *out, int cap) {
    int count = 0;
    for (uint32_t i = 0; i < h->ready_count && count < cap;) {
        XdpChannel *channel = h->ready[i];
        bool readable, writable;
        if (wants(channel, &readable, &writable)) {
            out[count++] = {channel->tag, readable, writable, channel->step == DialStep::failed};
            i++;
            continue;
        }
        // A short write waits for room that other connections' frames may give: asked about again.
        if (channel->want_write) {
            i++;
            continue;
        }
        channel->listed = false;
        h->ready[i] = h->ready[--h->ready_count];
    }
    return count;
}

static bool port_has_input(const XdpHost *h) {
    if (h->nic.mode != NicMode::none) return nic_port_has_input(h->port);
    return h->opening != 0 && nic_port_answered(h->port);
}

bool xdp_host_waiting(const XdpHost *h) {
    for (uint32_t i = 0; i < h->nic.socket_count; i++)
        if (h->nic.sockets[i].fd >= 0 && xsk_has_input(&h->nic.sockets[i])) return true;
    if (h->port != nullptr && port_has_input(h)) return true;
    if ((h->dirty != nullptr && !h->send_blocked) || h->late_channel != nullptr) return true;
    bool readable, writable;
    for (uint32_t i = 0; i < h->ready_count; i++)
        if (wants(h->ready[i], &readable, &writable)) return true;
    return false;
}

// ---- out ----

static void hold_tuple(XdpHost *h, XdpChannel *channel) {
    // The oldest makes room, as in the table of TIME-WAIT.
    if (h->held_count == h->options.time_wait) xdp_release_oldest(h);
    h->held[(h->held_begin + h->held_count++) & (h->options.time_wait - 1)] = {channel->c.tuple,
                                                                               channel->holder};
    tcp_table_remove(&h->table, channel->c.tuple);
    channel->installed = false;
    channel->holder = -1;
}

static void take_notices(XdpChannel *channel) {
    uint32_t notices = tcp_take_notices(&channel->c);
    if (notices == 0 || !channel->attached) return;
    if ((notices & tcp_peer_stalled) && !channel->noticed) {
        channel->error.begin(0).add("the peer's receive window is closed: it does not read what we send");
        xdp_notify(channel);
    }
    if ((notices & tcp_peer_resumed) && !channel->noticed) {
        channel->error.begin(0).add("the peer reads again");
        xdp_notify(channel);
    }
}

// What the connection owes. false: it is gone.
static bool serve(XdpHost *h, XdpChannel *channel, bool *left) {
    TcpConnection *c = &channel->c;
    if (channel->step == DialStep::handshake || channel->step == DialStep::connected ||
        channel->step == DialStep::failed) {
        h->sending = channel;
        h->batch_full = false;
        bool blocked_before = h->send_blocked;
        h->send_blocked = false;
        tcp_output(c, &h->sink, h->now);
        *left = h->batch_full || h->send_blocked;
        h->send_blocked |= blocked_before;
        channel->deadline = tcp_deadline(c);
        if (channel->deadline < h->deadline) h->deadline = channel->deadline;
        take_notices(channel);
    }
    if (channel->attached) {
        if (channel->want_read || channel->want_write) xdp_list_ready(channel);
        return true;
    }
    if (*left) return true;
    if (c->state == TcpState::time_wait && channel->installed) {
        tcp_retire(c, h->now);
        if (c->state != TcpState::closed) return true;
        // Else the time was over before it could be told.
        if (time_wait_find(&h->tcp.time_wait, c->tuple) != nullptr) hold_tuple(h, channel);
        if (h->tcp.time_wait.next_expiry < h->deadline) h->deadline = h->tcp.time_wait.next_expiry;
        if (h->tcp.time_wait.removed != h->held_removed) h->deadline = h->now; // another made room for it
    }
    if (c->state != TcpState::closed || c->send_reset) return true;
    xdp_forget(channel);
    return false;
}

static void serve_all(XdpHost *h) {
    XdpChannel *list = h->dirty;
    h->dirty = nullptr;
    h->alone = list != nullptr && list->next_dirty == nullptr;
    while (list != nullptr) {
        XdpChannel *channel = list;
        list = channel->next_dirty;
        channel->dirty = false;
        bool left = false;
        if (serve(h, channel, &left) && left) xdp_mark_dirty(channel);
    }
}

static bool many_in_send(const XdpHost *h) {
    for (uint32_t i = 0; i < h->nic.socket_count; i++)
        if (h->nic.sockets[i].in_send >= completion_batch) return true;
    return false;
}

// Nothing but a delayed acknowledgement, which rides on the answer if there is one.
static bool may_wait(const XdpHost *h, Nanos now) {
    if (h->kick_again) return false;
    for (const XdpChannel *channel = h->dirty; channel != nullptr; channel = channel->next_dirty)
        if (channel->step != DialStep::connected || !tcp_quiet(&channel->c, now)) return false;
    return true;
}

void xdp_host_send(XdpHost *h, Nanos now, bool answers) {
    if (h->dirty == nullptr && !h->kick_again) return;
    if (answers && may_wait(h, now)) return; // they stay listed, and nobody sleeps as long as they are
    h->now = now;
    for (int i = 0; i < rounds_max; i++) {
        if (i != 0 || many_in_send(h)) xdp_take_completions(h);
        h->send_blocked = false;
        serve_all(h);
        xdp_kick(h);
        if (h->late_channel != nullptr) xdp_take_late(h);
        if (h->dirty == nullptr || h->send_blocked) break;
    }
    bool again = h->dirty != nullptr || h->kick_again;
    if (again && now + retry_distance < h->deadline) h->deadline = now + retry_distance;
}

void xdp_notify(XdpChannel *channel) { channel->noticed = channel->host->notices = true; }

bool xdp_host_notice(XdpHost *h, uint64_t *tag, ErrorText *out) {
    for (uint32_t i = 0; i < h->channel_count; i++) {
        XdpChannel *channel = h->channels[i];
        if (!channel->noticed) continue;
        channel->noticed = false;
        if (!channel->attached || channel->step != DialStep::connected) continue;
        *tag = channel->tag;
        *out = channel->error;
        return true;
    }
    h->notices = false;
    return false;
}

} // namespace wx
