// SPDX-License-Identifier: MIT
// From an address to a connection: the route, the interface (opened by the first that needs it), a port that
// the kernel gives nobody else and whose answers arrive on a queue of ours, the tuple in the program before
// anything is sent, the neighbour's address, the SYN. Then what becomes of the way: a gateway with another
// address, a link that goes down, an address that is taken away. Never waits: each step is done when it can
// be.
#include "../../base/alloc.h"
#include "../../tcp/parts.h"
#include "../link.h"
#include "host.h"
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

namespace wx {

// An address that is renewed (DHCP, a network manager's flush and add) is gone for less.
constexpr Nanos address_grace = ns_per_s;
// A next hop that was not found is asked for again: as far apart as the kernel's own probes.
constexpr Nanos neighbor_interval = ns_per_s;

// A link that damages packets does not damage so many in a row; a peer that leaves checksums out gives no
// other ones, and an attempt to connect would only run out of time.
constexpr uint32_t bad_checksums_told = 3;

static bool check_address(XdpChannel *channel);

void xdp_opening_over(XdpHost *h) {
    h->opening--;
    if (h->opening != 0) return;
    // Nobody waits for a queue any more: the next one to come begins anew, perhaps on another interface.
    h->nic.first_try = 0;
    h->nic_retry_at = never;
}

void xdp_dial_failed(XdpChannel *channel) {
    if (channel->step == DialStep::interface) xdp_opening_over(channel->host);
    channel->step = DialStep::failed;
    channel->dial_deadline = never;
    xdp_list_ready(channel);
}

static int fail(XdpChannel *channel, int code) {
    if (channel->error.code != code) channel->error.code = code;
    xdp_dial_failed(channel);
    return code;
}

// ---- the port ----

static void socket_address(const IpAddress &ip, uint16_t port, uint32_t scope, sockaddr_storage *out,
                           socklen_t *size) {
    memset(out, 0, sizeof *out);
    if (ip.version == 6) {
        sockaddr_in6 *v6 = reinterpret_cast<sockaddr_in6 *>(out);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        memcpy(v6->sin6_addr.s6_addr, ip.bytes, 16);
        if (ip.bytes[0] == 0xFE && (ip.bytes[1] & 0xC0) == 0x80) v6->sin6_scope_id = scope;
        *size = sizeof *v6;
        return;
    }
    sockaddr_in *v4 = reinterpret_cast<sockaddr_in *>(out);
    v4->sin_family = AF_INET;
    v4->sin_port = htons(port);
    memcpy(&v4->sin_addr, ip.bytes, 4);
    *size = sizeof *v4;
}

static int bind_to(const IpAddress &ip, uint16_t port, uint32_t scope, int type, int *cause) {
    int fd = socket(ip.version == 6 ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        *cause = errno;
        return -1;
    }
    sockaddr_storage address;
    socklen_t size;
    socket_address(ip, port, scope, &address, &size);
    if (bind(fd, reinterpret_cast<sockaddr *>(&address), size) == 0) return fd;
    *cause = errno;
    close(fd);
    return -1;
}

static bool out_of_descriptors(int cause) { return cause == EMFILE || cause == ENFILE; }

struct PortSearch {
    XdpChannel *channel;
    int cause = 0; // why no port can be had at all
    uint32_t steered = 0;
};

// Takes the port as well: from here on it is nobody else's.
static bool port_usable(void *context, uint16_t port) {
    PortSearch *search = static_cast<PortSearch *>(context);
    XdpChannel *channel = search->channel;
    if (search->cause != 0) return false;
    TcpTuple tuple = channel->c.tuple;
    tuple.local_port = port;
    if (!nic_steers(&channel->host->nic, tuple)) return false;
    search->steered++;
    int cause = 0;
    const uint32_t scope = channel->route.route_index;
    channel->holder = bind_to(tuple.local, port, scope, SOCK_STREAM, &cause);
    // A new connection is worth more than the rest of an old one's TIME-WAIT.
    while (channel->holder < 0 && out_of_descriptors(cause) && xdp_release_oldest(channel->host))
        channel->holder = bind_to(tuple.local, port, scope, SOCK_STREAM, &cause);
    if (channel->holder < 0 && cause != EADDRINUSE) search->cause = cause;
    return channel->holder >= 0;
}

static int no_port(XdpChannel *channel, const PortSearch &search) {
    ErrorText *e = &channel->error;
    if (search.cause != 0) {
        int code = out_of_descriptors(search.cause) ? WSXDP_E_DESCRIPTORS : WSXDP_E_SYSTEM;
        e->begin(code, search.cause).add("holding a source port with a socket: ").errno_name(search.cause);
        if (code == WSXDP_E_DESCRIPTORS) e->add("; each connection needs one, raise the limit (ulimit -n)");
        return code;
    }
    if (search.steered == 0) {
        e->begin(WSXDP_E_XDP_QUEUES).add("interface ").add(channel->host->nic.options.interface);
        e->add(": no source port's answers would arrive on our queue; give us every queue (xdp.queue=-1)");
        return WSXDP_E_XDP_QUEUES;
    }
    e->begin(WSXDP_E_XDP_PORTS).add("no source port between 32768 and 60999 is free; close connections");
    return WSXDP_E_XDP_PORTS;
}

static int choose_port(XdpChannel *channel) {
    XdpHost *h = channel->host;
    PortSearch search{channel};
    PortFilter filter;
    filter.usable = port_usable;
    filter.context = &search;
    time_wait_expire(&h->tcp.time_wait, h->now);
    uint16_t port = port_choose(PortRange(), h->random, &h->tcp.time_wait, channel->c.tuple, filter);
    if (port == 0) return no_port(channel, search);
    channel->c.tuple.local_port = port;
    return WSXDP_OK;
}

void xdp_release_tuple(XdpHost *h, const TcpTuple &tuple, int holder) {
    // Packets go to the kernel first, which answers them while the port is still held.
    if (h->nic.mode != NicMode::none) xdp_program_remove(&h->nic.program, tuple);
    if (holder >= 0) close(holder);
}

// ---- the interface ----

// The only one that a connection can be on; 0: any.
static uint32_t interface_of(const XdpHost *h) {
    return h->nic.mode != NicMode::none ? h->nic.options.ifindex : h->options.ifindex;
}

static int check_route(const XdpHost *h, const XdpRoute &route, ErrorText *error) {
    const uint32_t ours = interface_of(h);
    char name[IF_NAMESIZE] = "?", our_name[IF_NAMESIZE] = "?";
    if_indextoname(route.ifindex, name);
    if (ours != 0 && route.ifindex != ours) {
        if_indextoname(ours, our_name);
        error->begin(WSXDP_E_XDP_INTERFACE).add("the route leads through ").add(name);
        error->add(", and this handle's AF_XDP sockets are on ").add(our_name);
        error->add("; open a handle for it, or change xdp.interface");
        return WSXDP_E_XDP_INTERFACE;
    }
    if (route.link_up) return WSXDP_OK;
    error->begin(WSXDP_E_XDP_LINK_DOWN).add("interface ").add(name).add(" has no link; ip link set ");
    error->add(name).add(" up, or plug in the cable");
    return WSXDP_E_XDP_LINK_DOWN;
}

static int find_route(const XdpHost *h, const IpAddress &remote, XdpRoute *out, ErrorText *error) {
    const XdpPaths &paths = h->support.paths;
    int status = paths.route(paths.context, remote, interface_of(h), out, error);
    // A way by another interface is the better answer to why there is none by ours.
    ErrorText ignored;
    if (status == WSXDP_E_UNREACHABLE && interface_of(h) != 0 &&
        paths.route(paths.context, remote, 0, out, &ignored) >= 0)
        status = WSXDP_OK;
    return status < 0 ? status : check_route(h, *out, error);
}

// ---- the steps ----

static TcpConfig config_for(const XdpChannel *channel) {
    const XdpHost *h = channel->host;
    TcpConfig config = h->options.tcp;
    const uint32_t room = frame_room(h->nic.umem.frame_bytes);
    config.mtu = channel->route.mtu < room ? channel->route.mtu : room;
    config.mss_max = h->nic.umem.frame_bytes - send_headroom;
    return config;
}

static size_t storage_at() { return (sizeof(XdpChannel) + 63) & ~size_t{63}; }

// Its tuple is known but for the port. Opens the object, takes a port, tells the program.
static int prepare_connection(XdpChannel *channel) {
    XdpHost *h = channel->host;
    TcpTuple tuple = channel->c.tuple;
    TcpConfig config = config_for(channel);
    ByteSpan storage(reinterpret_cast<uint8_t *>(channel) + storage_at(), tcp_storage_bytes(config));
    int status = tcp_open(&channel->c, &h->tcp, config, storage);
    channel->c.tuple = tuple;
    if (status < 0) {
        channel->error.begin(WSXDP_E_INVALID).add("xdp options: ");
        const char *problem = tcp_config_problem(config);
        channel->error.add(problem != nullptr ? problem : "a connection of these sizes cannot be made");
        return WSXDP_E_INVALID;
    }
    status = choose_port(channel);
    if (status < 0) return status;
    uint16_t vlan = channel->route.vlan == no_vlan ? FILTER_NO_VLAN : channel->route.vlan;
    status = xdp_program_add(&h->nic.program, channel->c.tuple, vlan, &channel->error);
    if (status < 0) return status;
    tcp_table_add(&h->table, &channel->c);
    channel->installed = true;
    return WSXDP_OK;
}

static void set_ethernet(XdpChannel *channel, const uint8_t mac[6]) {
    const XdpRoute &r = channel->route;
    uint16_t type = channel->c.tuple.local.version == 6 ? ether_ipv6 : ether_ipv4;
    channel->ethernet_size = static_cast<uint32_t>(
        ethernet_write(ByteSpan(channel->ethernet, sizeof channel->ethernet), mac, r.own_mac, r.vlan, type));
}

static void watch_sockets(XdpHost *h, bool on) {
    for (uint32_t i = 0; i < h->nic.socket_count; i++) {
        int fd = h->nic.sockets[i].fd;
        if (fd < 0) continue; // being replaced
        // Refused for lack of memory at worst: a sleeping caller then hears of packets by its timers only.
        if (on)
            poller_add(h->poller, fd, link_driver_tag, true, false);
        else
            poller_remove(h->poller, fd);
    }
}

static int open_interface(XdpChannel *channel) {
    XdpHost *h = channel->host;
    if (h->nic.mode != NicMode::none) return 1;
    h->counters.nic_tries++;
    ErrorText *error = &channel->error;
    if (h->nic.first_try == 0 || h->nic_wanted.ifindex != channel->route.ifindex) {
        int status = h->support.describe(h->support.context, channel->route.ifindex, &h->nic_wanted, error);
        if (status < 0) return status;
    }
    int status = h->port == nullptr ? nic_open(&h->nic, h->nic_wanted, h->now, error)
                                    : nic_port_take(h->port, &h->nic, h->nic_wanted, error);
    if (status == 0) {
        h->nic_retry_at = h->now + nic_retry_distance;
        if (h->nic_retry_at < h->deadline) h->deadline = h->nic_retry_at;
    }
    if (status <= 0) return status;
    h->send_state = static_cast<uint8_t *>(allocate(h->nic.umem.frame_count));
    h->stamps = static_cast<FrameStamps *>(allocate(h->nic.umem.frame_count * sizeof(FrameStamps)));
    if (h->send_state == nullptr || h->stamps == nullptr) {
        xdp_close_frames(h);
        error->begin(WSXDP_E_MEMORY).add("opening AF_XDP sockets: out of memory");
        return WSXDP_E_MEMORY;
    }
    if (h->support.tune != nullptr &&
        (status = h->support.tune(h->support.context, h->nic.options, error)) < 0) {
        xdp_close_frames(h);
        return status;
    }
    if (h->nic_wanted.warning[0] != 0) {
        error->begin(0).add(h->nic_wanted.warning);
        xdp_notify(channel);
    }
    for (uint32_t i = 0; i < h->nic.socket_count && h->port == nullptr; i++)
        xsk_refill(&h->nic.sockets[i], 0);
    if (h->watched) watch_sockets(h, true);
    return 1;
}

static void step_neighbor(XdpChannel *channel) {
    XdpHost *h = channel->host;
    uint8_t mac[6];
    ErrorText *error = &channel->error;
    int status = h->support.paths.neighbor(h->support.paths.context, channel->route, mac, error);
    if (status == 0 && h->now >= channel->dial_deadline) {
        char name[ip_text_size];
        ip_address_text(channel->route.next_hop, name);
        error->begin(WSXDP_E_UNREACHABLE).add("nobody on ").add(h->nic.options.interface);
        error->add(" answers for the link-layer address of ").add(name);
        error->add("; is that host up and on this link?");
        status = WSXDP_E_UNREACHABLE;
    }
    if (status < 0) {
        fail(channel, status);
        return;
    }
    if (status == 0) return;
    set_ethernet(channel, mac);
    channel->dial_deadline = never;
    channel->step = DialStep::handshake;
    tcp_connect(&channel->c, channel->c.tuple, h->now);
    xdp_trickle_begin(h);
    xdp_mark_dirty(channel);
}

void xdp_dial_step(XdpChannel *channel) {
    XdpHost *h = channel->host;
    if (channel->step == DialStep::interface) {
        int status = open_interface(channel);
        // Another connection may have opened another interface meanwhile.
        if (status > 0 && check_route(h, channel->route, &channel->error) < 0) status = channel->error.code;
        if (status > 0) status = prepare_connection(channel) < 0 ? channel->error.code : 1;
        if (status < 0) fail(channel, status);
        if (status <= 0) return;
        xdp_opening_over(h);
        channel->step = DialStep::neighbor;
        channel->dial_deadline = h->now + h->options.neighbor_timeout;
        if (channel->dial_deadline < h->deadline) h->deadline = channel->dial_deadline;
    }
    if (channel->step == DialStep::neighbor) step_neighbor(channel);
    if (channel->homeless) check_address(channel);
}

// ---- the beginning ----

static XdpChannel *new_channel(XdpHost *h, ErrorText *error) {
    // Connections that linger after their owner has let go are not counted against him, within reason.
    uint32_t limit = h->options.connections * 2;
    if (h->channel_count == limit) {
        error->begin(WSXDP_E_CONNECTIONS).number(limit);
        error->add(
            " connections over AF_XDP exist, many of them waiting for their peer's end; wait, or raise "
            "connections.max");
        return nullptr;
    }
    size_t bytes = storage_at() + tcp_storage_bytes(h->options.tcp);
    void *memory = allocate_aligned(64, bytes);
    if (memory == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("connecting over AF_XDP: out of memory");
        return nullptr;
    }
    XdpChannel *channel = new (memory) XdpChannel();
    channel->host = h;
    channel->index = h->channel_count;
    h->channels[h->channel_count++] = channel;
    return channel;
}

XdpChannel *xdp_dial(XdpHost *h, const IpAddress &remote, uint16_t port, ErrorText *error) {
    // Who dials has not taken a step yet: what is left of the last one may be long past.
    h->now = h->clock->monotonic(h->clock->ticks());
    XdpRoute route;
    if (find_route(h, remote, &route, error) < 0) return nullptr;
    XdpChannel *channel = new_channel(h, error);
    if (channel == nullptr) return nullptr;
    if (h->options.vlan >= 0) route.vlan = static_cast<uint16_t>(h->options.vlan);
    channel->route = route;
    channel->c.tuple.local = route.source;
    channel->c.tuple.remote = remote;
    channel->c.tuple.remote_port = port;
    channel->attached = true;
    h->opening++;
    if (h->nic.first_try == 0 || h->nic.mode != NicMode::none) xdp_dial_step(channel);
    return channel;
}

// ---- the way changes ----

static void end_connection(XdpChannel *channel) {
    tcp_abort(&channel->c);
    tcp_discard(&channel->c);
    fail(channel, channel->error.code);
}

void xdp_bad_checksum(XdpChannel *channel) {
    const TcpConnection &c = channel->c;
    const bool opening = channel->step == DialStep::handshake && c.state == TcpState::syn_sent;
    if (!opening && channel->step != DialStep::connected) return;
    if (channel->good_segments != c.stats.segments_in) channel->bad_checksums = 0;
    channel->good_segments = c.stats.segments_in;
    if (++channel->bad_checksums != bad_checksums_told) return;
    ErrorText *error = &channel->error;
    error->begin(opening ? WSXDP_E_CONNECT_TIMEOUT : 0).add("the last ").number(bad_checksums_told);
    error->add(" packets from the peer had bad checksums and were dropped");
    if (opening) error->add(", and no other answer came");
    error->add("; a peer on the same machine (veth, virtio) leaves them out: ethtool -K IF tx off there, or "
               "xdp.checksum=trust");
    if (opening)
        end_connection(channel);
    else
        xdp_notify(channel);
}

static void notice(XdpChannel *channel, int code, const char *text) {
    channel->error.begin(code)
        .add("interface ")
        .add(channel->host->nic.options.interface)
        .add(": ")
        .add(text);
    xdp_notify(channel);
}

static bool address_is_ours(const XdpChannel *channel) {
    int cause = 0;
    int fd = bind_to(channel->c.tuple.local, 0, channel->route.route_index, SOCK_DGRAM, &cause);
    if (fd >= 0) close(fd);
    return fd >= 0 || cause != EADDRNOTAVAIL;
}

// false: it is gone for good, and so is the connection. One that comes back at once was being renewed: the
// kernel's own connections live through that, too.
static bool check_address(XdpChannel *channel) {
    XdpHost *h = channel->host;
    if (address_is_ours(channel)) {
        if (channel->homeless) channel->dial_deadline = never;
        channel->homeless = false;
        return true;
    }
    if (!channel->homeless) {
        channel->homeless = true;
        channel->dial_deadline = h->now + address_grace;
        if (channel->dial_deadline < h->deadline) h->deadline = channel->dial_deadline;
    }
    if (h->now < channel->dial_deadline) return true;
    channel->error.begin(WSXDP_E_XDP_INTERFACE).add("our address was taken from interface ");
    channel->error.add(h->nic.options.interface).add("; the connection cannot go on");
    end_connection(channel);
    return false;
}

// Our sockets cannot follow a route to another interface. The old way may still do, and other routes take
// over for a moment when a link goes down, so nothing ends here.
static void tell_no_route(XdpChannel *channel) {
    const XdpPaths &paths = channel->host->support.paths;
    XdpRoute other;
    ErrorText ignored;
    const bool elsewhere = paths.route(paths.context, channel->c.tuple.remote, 0, &other, &ignored) >= 0;
    notice(channel, WSXDP_E_XDP_LINK_DOWN,
           elsewhere ? "the route leads through another interface now; the connection stays on this one"
                     : "there is no route any more; waiting for one");
}

// One that is being looked for, or that the kernel has given up on: what is known goes on being used. The
// kernel tells when it finds one, but looks only while somebody asks.
static void follow_neighbor(XdpChannel *channel) {
    XdpHost *h = channel->host;
    uint8_t mac[6];
    ErrorText ignored;
    if (h->support.paths.neighbor(h->support.paths.context, channel->route, mac, &ignored) == 1) {
        set_ethernet(channel, mac);
        return;
    }
    h->ask_at = h->now + neighbor_interval;
    if (h->ask_at < h->deadline) h->deadline = h->ask_at;
}

static void follow(XdpChannel *channel) {
    XdpHost *h = channel->host;
    const XdpPaths &paths = h->support.paths;
    XdpRoute now;
    int status =
        paths.route(paths.context, channel->c.tuple.remote, h->nic.options.ifindex, &now, &channel->error);
    bool was_up = channel->route.link_up;
    if (status >= 0 && !now.link_up && was_up)
        notice(channel, WSXDP_E_XDP_LINK_DOWN, "the link went down; what is sent is repeated until it is up");
    if (status >= 0 && now.link_up && !was_up) {
        notice(channel, 0, "the link is up again");
        ErrorText untuned; // works as well, only later
        if (h->support.tune != nullptr) h->support.tune(h->support.context, h->nic.options, &untuned);
        if (h->port != nullptr) nic_port_link_up(h->port);
    }
    // An interface that is set down loses its routes: the connection waits as it would for any outage.
    if (status < 0) {
        if (was_up) tell_no_route(channel);
        channel->route.link_up = false;
    }
    if (!check_address(channel)) return;
    if (status < 0) return;
    if (h->options.vlan >= 0) now.vlan = static_cast<uint16_t>(h->options.vlan);
    const uint32_t room = frame_room(h->nic.umem.frame_bytes);
    if (now.mtu != channel->route.mtu) tcp_set_mtu(&channel->c, now.mtu < room ? now.mtu : room);
    channel->route = now;
    follow_neighbor(channel);
    xdp_mark_dirty(channel);
}

void xdp_nic_lost(XdpHost *h, const char *why) {
    for (uint32_t i = 0; i < h->channel_count; i++) {
        XdpChannel *channel = h->channels[i];
        if (channel->step == DialStep::failed || channel->step == DialStep::interface) continue;
        channel->error.begin(WSXDP_E_XDP_LINK_DOWN).add("interface ").add(h->nic.options.interface).add(why);
        end_connection(channel);
    }
    h->broken = true;
}

void xdp_ask_again(XdpHost *h) {
    h->ask_at = never;
    for (uint32_t i = 0; i < h->channel_count; i++)
        if (h->channels[i]->step == DialStep::handshake || h->channels[i]->step == DialStep::connected)
            follow_neighbor(h->channels[i]);
}

void xdp_follow_paths(XdpHost *h) {
    const XdpPaths &paths = h->support.paths;
    uint64_t changes = paths.changes(paths.context);
    if (changes == h->changes) return;
    h->changes = changes;
    h->counters.path_changes++;
    char name[IF_NAMESIZE];
    if (h->nic.mode != NicMode::none && if_indextoname(h->nic.options.ifindex, name) == nullptr) {
        xdp_nic_lost(h, " is gone");
        return;
    }
    for (uint32_t i = 0; i < h->channel_count; i++) {
        XdpChannel *channel = h->channels[i];
        if (channel->step == DialStep::neighbor) step_neighbor(channel);
        if (channel->step == DialStep::handshake || channel->step == DialStep::connected) follow(channel);
    }
}

void xdp_host_watch(XdpHost *h, bool on) {
    if (h->watched == on) return;
    h->watched = on;
    watch_sockets(h, on);
    const int fd = h->support.paths.fd;
    if (fd < 0) return;
    if (on)
        poller_add(h->poller, fd, link_driver_tag + 1, true, false);
    else
        poller_remove(h->poller, fd);
}

} // namespace wx
