// SPDX-License-Identifier: MIT
// A SimHost's connections behind the same table as the kernel's sockets, with the same codes and sentences,
// so that everything above cannot tell the two apart: what was received before a reset is still read, a FIN
// is the end of the stream, a closed window is a short write. One small object per connection; the connection
// itself outlives it, until the peer has the FIN or the reset, and a TIME-WAIT is moved to the host's table
// when its place is needed. The worst case accepted: so many peers that never answer our FIN that every
// connection is in use; then opening says so.
#include "sim_link.h"
#include "../base/alloc.h"
#include "tcp_cause.h"
#include <errno.h>

namespace wx {

namespace {

struct SimChannel {
    SimHost *host;
    TcpConnection *c;
};

SimChannel *channel_of(const Channel *channel) { return static_cast<SimChannel *>(channel->state); }

bool over(const TcpConnection *c) { return c->state == TcpState::closed || c->state == TcpState::time_wait; }

bool has_address(const SimHost *host, uint8_t version) {
    for (unsigned i = 0; i < host->address_count; i++)
        if (host->addresses[i].version == version) return true;
    return false;
}

void retire_waiting(SimHost *host) {
    for (uint32_t i = 0; i < host->options.connections; i++) {
        TcpConnection *c = &host->connections[i];
        if (c->state == TcpState::time_wait && !host->held[i]) tcp_retire(c, host->now);
    }
}

// 0, or errno of what is in the way.
int connect_to(const Address &address, SimChannel *made) {
    SimHost *host = made->host;
    IpAddress remote;
    uint16_t port = 0;
    if (!address_ip(address, &remote, &port)) return EAFNOSUPPORT;
    if (!ip_is_unicast(remote)) return ENETUNREACH;
    if (!has_address(host, remote.version)) return EADDRNOTAVAIL;
    retire_waiting(host);
    made->c = sim_host_connect(host, remote, port, host->now);
    return made->c != nullptr ? 0 : ENOBUFS;
}

int open(const Address &address, const LinkOptions &options, Channel *channel, ErrorText *error) {
    *channel = Channel();
    channel->backend = &sim_link;
    SimChannel *made = allocate_object<SimChannel>();
    int cause = ENOMEM;
    if (made != nullptr) {
        made->host = static_cast<SimHost *>(options.context);
        cause = connect_to(address, made);
    }
    if (cause != 0) {
        deallocate(made);
        return link_open_failed(address, "connecting to", cause, error);
    }
    sim_host_hold(made->host, made->c, true);
    channel->state = made;
    return 0;
}

int finish(Channel *channel, ErrorText *error) {
    const TcpConnection *c = channel_of(channel)->c;
    if (c->state == TcpState::syn_sent || c->state == TcpState::syn_received) return 0;
    if (!over(c)) return 1;
    int cause = tcp_cause(c), code = connect_status(cause);
    error->begin(code, cause).errno_name(cause); // the caller knows the address and puts it in front
    return code;
}

int64_t read(Channel *channel, uint8_t *out, size_t cap, ReadStamps *stamps, int *cause) {
    SimChannel *sim = channel_of(channel);
    *stamps = ReadStamps();
    if (cap == 0) return 0;
    uint32_t got = sim_host_read(sim->host, sim->c, ByteSpan(out, cap < UINT32_MAX ? cap : UINT32_MAX));
    if (got != 0) return got;
    if (sim->c->fin_taken) return WSXDP_E_EOF;
    if (!over(sim->c)) return 0;
    *cause = tcp_cause(sim->c);
    return stream_status(*cause);
}

int64_t write(Channel *channel, const uint8_t *data, size_t size, int *cause) {
    SimChannel *sim = channel_of(channel);
    if (over(sim->c)) {
        *cause = tcp_cause(sim->c);
        if (*cause == 0) *cause = EPIPE;
        return stream_status(*cause);
    }
    return sim_host_write(sim->host, sim->c, ByteView(data, size < UINT32_MAX ? size : UINT32_MAX));
}

bool readable(const Channel *channel) {
    const TcpConnection *c = channel_of(channel)->c;
    TcpView view;
    return over(c) || c->fin_taken || tcp_views(c, &view, 1) != 0;
}

void close(Channel *channel, bool reset) {
    SimChannel *sim = channel_of(channel);
    if (sim == nullptr) return;
    if (reset)
        tcp_abort(sim->c);
    else
        tcp_close(sim->c);
    if (sim->c->state == TcpState::closed || sim->c->state == TcpState::time_wait) tcp_discard(sim->c);
    sim_host_hold(sim->host, sim->c, false);
    deallocate(sim);
    channel->state = nullptr;
}

} // namespace

const LinkBackend sim_link = {"sim", open, finish,  read,    write,   readable,
                              close, true, nullptr, nullptr, nullptr, nullptr};

} // namespace wx
