// SPDX-License-Identifier: MIT
// The kernel's TCP and Unix stream sockets, non-blocking. Reads may carry receive time stamps
// (SO_TIMESTAMPING): for a read that covers several packets the kernel gives the newest one's. Never raises
// SIGPIPE, never waits. The worst case accepted is a peer that resets in the middle of anything.
#include "link.h"
#include <arpa/inet.h>
#include <errno.h>
#include <linux/errqueue.h>
#include <linux/net_tstamp.h>
#include <linux/tcp.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/un.h>
#include <unistd.h>

namespace wx {

int connect_status(int cause) {
    switch (cause) {
    case ECONNREFUSED:
        return WSXDP_E_REFUSED;
    case ETIMEDOUT:
        return WSXDP_E_CONNECT_TIMEOUT;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case EHOSTDOWN:
    case ENETDOWN:
    case EADDRNOTAVAIL:
    case EAFNOSUPPORT:
        return WSXDP_E_UNREACHABLE;
    case ECONNRESET:
        return WSXDP_E_RESET;
    case EACCES:
    case EPERM:
        return WSXDP_E_PERMISSION;
    case EMFILE:
    case ENFILE:
        return WSXDP_E_DESCRIPTORS;
    case ENOMEM:
    case ENOBUFS:
        return WSXDP_E_MEMORY;
    default:
        return WSXDP_E_SYSTEM;
    }
}

int stream_status(int cause) {
    switch (cause) {
    case ECONNRESET:
    case EPIPE:
        return WSXDP_E_RESET;
    case ETIMEDOUT:
        return WSXDP_E_DEAD;
    case EHOSTUNREACH:
    case ENETUNREACH:
    case ENETDOWN:
        return WSXDP_E_UNREACHABLE;
    default:
        return WSXDP_E_SYSTEM;
    }
}

void address_text(const Address &address, Writer *out) {
    char text[INET6_ADDRSTRLEN] = "?";
    if (address.storage.ss_family == AF_INET) {
        const sockaddr_in *v4 = reinterpret_cast<const sockaddr_in *>(&address.storage);
        inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
        out->text(text);
        out->u8(':');
        out->decimal(ntohs(v4->sin_port));
    } else if (address.storage.ss_family == AF_INET6) {
        const sockaddr_in6 *v6 = reinterpret_cast<const sockaddr_in6 *>(&address.storage);
        inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
        out->u8('[');
        out->text(text);
        out->text("]:");
        out->decimal(ntohs(v6->sin6_port));
    } else if (address.storage.ss_family == AF_UNIX) {
        const sockaddr_un *local = reinterpret_cast<const sockaddr_un *>(&address.storage);
        out->bytes(ByteView(local->sun_path, strnlen(local->sun_path, sizeof local->sun_path)));
    }
}

int link_open_failed(const Address &address, const char *what, int cause, ErrorText *error) {
    int code = connect_status(cause);
    // EAGAIN: the listener's queue is full, and the kernel offers nothing to wait for.
    if (address.storage.ss_family == AF_UNIX &&
        (cause == ENOENT || cause == ENOTDIR || cause == ECONNREFUSED || cause == ENOTSOCK ||
         cause == EPROTOTYPE || cause == EAGAIN))
        code = WSXDP_E_UNIX_SOCKET;
    uint8_t text[160];
    Writer writer{ByteSpan(text, sizeof text)};
    address_text(address, &writer);
    error->begin(code, cause).add(what).add(" ").add(writer.view()).add(": ").errno_name(cause);
    if (code == WSXDP_E_REFUSED) error->add("; is the server running, and is this its port?");
    if (code == WSXDP_E_UNIX_SOCKET) error->add("; is the server running, and is this its socket?");
    if (code == WSXDP_E_DESCRIPTORS) error->add("; raise the limit (ulimit -n)");
    return code;
}

static void set_int(int fd, int level, int name, int64_t value) {
    int number = value > INT32_MAX ? INT32_MAX : static_cast<int>(value);
    // Tuning only: a kernel that refuses leaves a slower but correct connection.
    (void)setsockopt(fd, level, name, &number, sizeof number);
}

static int set_options(int fd, bool tcp, const LinkOptions &options, Channel *channel) {
    if (tcp && options.no_delay) set_int(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    if (tcp && options.busy_poll_us > 0) set_int(fd, SOL_SOCKET, SO_BUSY_POLL, options.busy_poll_us);
    if (options.receive_buffer_bytes > 0) set_int(fd, SOL_SOCKET, SO_RCVBUF, options.receive_buffer_bytes);
    if (options.send_buffer_bytes > 0) set_int(fd, SOL_SOCKET, SO_SNDBUF, options.send_buffer_bytes);
    if (tcp && options.timestamps != TimestampSource::off) {
        int flags = SOF_TIMESTAMPING_RX_SOFTWARE | SOF_TIMESTAMPING_SOFTWARE;
        if (options.timestamps == TimestampSource::hardware)
            flags |= SOF_TIMESTAMPING_RX_HARDWARE | SOF_TIMESTAMPING_RAW_HARDWARE;
        channel->stamped = setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags) == 0;
    }
    if (!tcp || options.interface[0] == 0) return 0;
    // A promise about the path: not best effort, and never the interface that a cut name happens to be.
    size_t size = strlen(options.interface);
    if (size < IFNAMSIZ)
        return setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, options.interface, static_cast<socklen_t>(size));
    errno = ENODEV;
    return -1;
}

static void socket_close(Channel *channel, bool reset) {
    if (channel->fd < 0) return;
    if (reset) {
        linger now = {1, 0}; // RST instead of FIN, nothing lingers in the kernel
        (void)setsockopt(channel->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    close(channel->fd);
    channel->fd = -1;
}

static int socket_open(const Address &address, const LinkOptions &options, Channel *channel,
                       ErrorText *error) {
    int family = address.storage.ss_family;
    *channel = Channel();
    channel->backend = &socket_link;
    channel->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (channel->fd < 0) return link_open_failed(address, "opening a socket for", errno, error);
    if (set_options(channel->fd, family != AF_UNIX, options, channel) != 0) {
        int code = link_open_failed(address, "binding to socket.interface for", errno, error);
        socket_close(channel, false);
        return code;
    }
    if (connect(channel->fd, reinterpret_cast<const sockaddr *>(&address.storage), address.size) == 0)
        return 1;
    if (errno == EINPROGRESS || errno == EINTR) return 0;
    // A Unix socket whose backlog is full says EAGAIN and will not tell when that changes.
    int code = link_open_failed(address, "connecting to", errno, error);
    socket_close(channel, false);
    return code;
}

static int socket_finish(Channel *channel, ErrorText *error) {
    int cause = 0;
    socklen_t size = sizeof cause;
    Address peer;
    peer.size = sizeof peer.storage;
    if (getsockopt(channel->fd, SOL_SOCKET, SO_ERROR, &cause, &size) != 0) cause = errno;
    if (cause == 0) {
        if (getpeername(channel->fd, reinterpret_cast<sockaddr *>(&peer.storage), &peer.size) == 0) return 1;
        if (errno == ENOTCONN) return 0;
        cause = errno;
    }
    int code = connect_status(cause);
    error->begin(code, cause).errno_name(cause); // the caller knows the address and puts it in front
    return code;
}

static void read_stamps(msghdr *message, ReadStamps *stamps) {
    for (cmsghdr *c = CMSG_FIRSTHDR(message); c != nullptr; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_TIMESTAMPING) continue;
        scm_timestamping at;
        memcpy(&at, CMSG_DATA(c), sizeof at);
        stamps->kernel_ns = at.ts[0].tv_sec * ns_per_s + at.ts[0].tv_nsec;
        stamps->nic_ns = at.ts[2].tv_sec * ns_per_s + at.ts[2].tv_nsec;
    }
}

static int64_t socket_read(Channel *channel, uint8_t *out, size_t cap, ReadStamps *stamps, int *cause) {
    ssize_t got;
    *stamps = ReadStamps();
    if (cap == 0) return 0; // a read of nothing looks like the end
    if (!channel->stamped) {
        got = recv(channel->fd, out, cap, MSG_DONTWAIT);
    } else {
        alignas(cmsghdr) uint8_t control[CMSG_SPACE(sizeof(scm_timestamping))];
        iovec part = {out, cap};
        msghdr message = {};
        message.msg_iov = &part;
        message.msg_iovlen = 1;
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        got = recvmsg(channel->fd, &message, MSG_DONTWAIT);
        if (got > 0) read_stamps(&message, stamps);
    }
    if (got > 0) return got;
    if (got == 0) return WSXDP_E_EOF;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) return 0;
    *cause = errno;
    return stream_status(errno);
}

static int64_t socket_write(Channel *channel, const uint8_t *data, size_t size, int *cause) {
    ssize_t sent = send(channel->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return sent;
    if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR || errno == ENOBUFS) return 0;
    *cause = errno;
    return stream_status(errno);
}

static bool socket_readable(const Channel *) { return false; }

static void socket_tcp(const Channel *channel, LinkTcpFacts *out) {
    tcp_info info;
    socklen_t size = sizeof info;
    memset(&info, 0, sizeof info);
    if (getsockopt(channel->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return; // a Unix socket
    out->segments_in = info.tcpi_segs_in;
    out->segments_out = info.tcpi_segs_out;
    out->retransmits = info.tcpi_total_retrans;
    out->round_trip = Nanos{info.tcpi_rtt} * 1000;
    out->round_trip_min = info.tcpi_min_rtt == UINT32_MAX ? 0 : Nanos{info.tcpi_min_rtt} * 1000;
    out->congestion_window = uint64_t{info.tcpi_snd_cwnd} * info.tcpi_snd_mss;
    out->in_flight = uint64_t{info.tcpi_unacked} * info.tcpi_snd_mss;
}

const LinkBackend socket_link = {"socket",     socket_open,     socket_finish, socket_read,
                                 socket_write, socket_readable, socket_close,  false,
                                 nullptr,      nullptr,         socket_tcp,    nullptr};

} // namespace wx
