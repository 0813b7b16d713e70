// SPDX-License-Identifier: MIT
// The translation between the pipeline's table of functions and an XdpHost: addresses, codes, sentences, time
// stamps. The same codes for the same ends as the kernel's sockets have.
#include "xdp_link.h"
#include "../../tcp/parts.h"
#include "../tcp_cause.h"
#include <errno.h>

namespace wx {

namespace {

XdpChannel *channel_of(const Channel *channel) { return static_cast<XdpChannel *>(channel->state); }
XdpHost *host_of(void *context) { return static_cast<XdpHost *>(context); }
const XdpHost *host_of(const void *context) { return static_cast<const XdpHost *>(context); }

int open(const Address &address, const LinkOptions &options, Channel *channel, ErrorText *error) {
    *channel = Channel();
    channel->backend = &xdp_link;
    IpAddress remote;
    uint16_t port = 0;
    if (!address_ip(address, &remote, &port))
        return link_open_failed(address, "connecting to", EAFNOSUPPORT, error);
    if (!ip_is_unicast(remote)) return link_open_failed(address, "connecting to", ENETUNREACH, error);
    ErrorText cause;
    XdpChannel *made = xdp_dial(host_of(options.context), remote, port, &cause);
    if (made == nullptr) {
        uint8_t text[160];
        Writer name{ByteSpan(text, sizeof text)};
        address_text(address, &name);
        error->begin(cause.code, cause.system_errno).add("connecting to ").add(name.view());
        error->add(": ").add(cause.text);
        return cause.code;
    }
    channel->state = made;
    return 0;
}

bool over(const TcpConnection *c) { return c->state == TcpState::closed || c->state == TcpState::time_wait; }

int finish(Channel *channel, ErrorText *error) {
    XdpChannel *xdp = channel_of(channel);
    const TcpConnection *c = &xdp->c;
    if (xdp->step == DialStep::failed) {
        *error = xdp->error;
        return error->code;
    }
    if (xdp->step == DialStep::connected) return 1;
    if (xdp->step != DialStep::handshake) return 0;
    if (c->state == TcpState::syn_sent || c->state == TcpState::syn_received) return 0;
    if (!over(c)) {
        xdp->step = DialStep::connected;
        return 1;
    }
    int cause = tcp_cause(c), code = connect_status(cause);
    error->begin(code, cause).errno_name(cause); // the caller knows the address and puts it in front
    return code;
}

// Of the byte that came last.
void stamp(const XdpHost *h, FrameId frame, ReadStamps *stamps) {
    const FrameStamps *s = &h->stamps[frame];
    stamps->kernel_ns = stamps_realtime(s->entry_ns, *h->clock);
    stamps->nic_ns = s->nic_ns;
    stamps->polled = s->polled;
    stamps->processed = s->processed;
}

// The end of what can be read, in the words of a socket's errno.
int64_t ended(const XdpChannel *xdp, int *cause) {
    if (xdp->step == DialStep::failed) {
        *cause = ENETDOWN;
        return xdp->error.code;
    }
    if (xdp->c.fin_taken) return WSXDP_E_EOF;
    if (!over(&xdp->c)) return 0;
    *cause = tcp_cause(&xdp->c);
    return stream_status(*cause);
}

int64_t read(Channel *channel, uint8_t *out, size_t cap, ReadStamps *stamps, int *cause) {
    XdpChannel *xdp = channel_of(channel);
    *stamps = ReadStamps();
    if (cap == 0) return 0;
    if (xdp->c.rx.ready_head == xdp->c.rx.ready_tail) return ended(xdp, cause);
    XdpRead got = xdp_read(xdp, ByteSpan(out, cap));
    stamp(xdp->host, got.last, stamps);
    tcp_consume(&xdp->c, static_cast<uint32_t>(got.bytes)); // the frames go back
    xdp_mark_dirty(xdp);
    return got.bytes;
}

int64_t write(Channel *channel, const uint8_t *data, size_t size, int *cause) {
    XdpChannel *xdp = channel_of(channel);
    if (xdp->step == DialStep::failed) {
        *cause = ENETDOWN;
        return xdp->error.code;
    }
    if (over(&xdp->c)) {
        *cause = tcp_cause(&xdp->c);
        if (*cause == 0) *cause = EPIPE;
        return stream_status(*cause);
    }
    return xdp_write(xdp, ByteView(data, size < UINT32_MAX ? size : UINT32_MAX));
}

bool readable(const Channel *channel) { return xdp_readable(channel_of(channel)); }

void close(Channel *channel, bool reset) {
    if (channel->state != nullptr) xdp_detach(channel_of(channel), reset);
    channel->state = nullptr;
}

void watch(Channel *channel, uint64_t tag, bool read, bool write) {
    XdpChannel *xdp = channel_of(channel);
    xdp->tag = tag;
    xdp->want_read = read;
    xdp->want_write = write;
    if (read || write) xdp_list_ready(xdp);
}

void addresses(const Channel *channel, Address *local, Address *peer) {
    const TcpTuple &tuple = channel_of(channel)->c.tuple;
    *local = ip_to_address(tuple.local, tuple.local_port);
    *peer = ip_to_address(tuple.remote, tuple.remote_port);
}

void tcp(const Channel *channel, LinkTcpFacts *out) {
    const TcpConnection &c = channel_of(channel)->c;
    out->segments_in = c.stats.segments_in;
    out->segments_out = c.stats.segments_out;
    out->retransmits = c.stats.retransmitted;
    out->out_of_order = c.stats.out_of_order_in;
    out->zero_windows = c.stats.zero_windows;
    out->round_trip = c.rtt.smoothed;
    out->round_trip_min = rtt_min(&c.rtt);
    out->congestion_window = c.congestion.window;
    out->in_flight = tcp_in_flight(&c);
}

bool why(const Channel *channel, ErrorText *out) {
    const XdpChannel *xdp = channel_of(channel);
    if (xdp->step == DialStep::failed) *out = xdp->error;
    return xdp->step == DialStep::failed;
}

bool drive_receive(void *context, Nanos now, Tick tick) {
    return xdp_host_receive(host_of(context), now, tick);
}
int drive_ready(void *context, PollerEvent *out, int cap) {
    return xdp_host_ready(host_of(context), out, cap);
}
bool drive_send(void *context, Nanos now, bool answers) {
    xdp_host_send(host_of(context), now, answers);
    return host_of(context)->notices;
}
Nanos drive_deadline(const void *context) { return xdp_host_deadline(host_of(context)); }
bool drive_waiting(const void *context) { return xdp_host_waiting(host_of(context)); }
void drive_watch(void *context, bool on) { xdp_host_watch(host_of(context), on); }
void drive_attend(void *context, uint64_t tag) {
    if (tag != link_driver_tag) host_of(context)->next_look = 0;
}
bool drive_notice(void *context, uint64_t *tag, ErrorText *out) {
    return xdp_host_notice(host_of(context), tag, out);
}

} // namespace

const LinkBackend xdp_link = {"xdp", open,  finish, read,      write, readable,
                              close, false, watch,  addresses, tcp,   why};
const LinkDriver xdp_driver = {drive_receive, drive_ready,  drive_send,   drive_deadline, drive_waiting,
                               drive_watch,   drive_attend, drive_notice, xdp_facts};

} // namespace wx
