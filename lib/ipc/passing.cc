// SPDX-License-Identifier: MIT
// See passing.h. Cold. Whatever comes in by SCM_RIGHTS is close-on-exec and is closed unless it was expected,
// so a broken peer cannot fill the table of descriptors.
#include "passing.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

namespace wx {

int passing_pair(int ends[2]) {
    return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0 ? 0 : errno;
}

struct Envelope {
    iovec body;
    msghdr header;
    alignas(cmsghdr) uint8_t control[CMSG_SPACE(passed_fds_max * sizeof(int))];

    Envelope(void *data, size_t size) {
        body.iov_base = data;
        body.iov_len = size;
        memset(&header, 0, sizeof header);
        memset(control, 0, sizeof control);
        header.msg_iov = &body;
        header.msg_iovlen = 1;
        header.msg_control = control;
        header.msg_controllen = sizeof control;
    }
};

int passing_send(int socket, ByteView message, const int *fds, size_t fd_count, int timeout_ms) {
    if (fd_count > passed_fds_max) return EINVAL;
    Envelope envelope(const_cast<uint8_t *>(message.data), message.size);
    envelope.header.msg_controllen = fd_count != 0 ? CMSG_SPACE(fd_count * sizeof(int)) : 0;
    if (fd_count != 0) {
        cmsghdr *rights = CMSG_FIRSTHDR(&envelope.header);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(fd_count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, fd_count * sizeof(int));
    }
    pollfd look = {socket, POLLOUT, 0};
    for (;;) {
        if (sendmsg(socket, &envelope.header, MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) return 0;
        if (errno == EINTR) continue;
        if (errno != EAGAIN) return errno;
        const int ready = poll(&look, 1, timeout_ms);
        if (ready == 0) return EAGAIN;
        if (ready < 0 && errno != EINTR) return errno;
    }
}

// Those that came, in order; how many.
static size_t received(Envelope *envelope, int *fds) {
    size_t count = 0;
    for (cmsghdr *c = CMSG_FIRSTHDR(&envelope->header); c != nullptr; c = CMSG_NXTHDR(&envelope->header, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS) continue;
        const size_t more = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < more && count < passed_fds_max; i++)
            memcpy(&fds[count++], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
    }
    return count;
}

int passing_receive_some(int socket, void *message, size_t size, int *fds, size_t fds_max, size_t *fd_count,
                         int timeout_ms) {
    pollfd look = {socket, POLLIN, 0};
    int ready;
    do ready = poll(&look, 1, timeout_ms);
    while (ready < 0 && errno == EINTR);
    if (ready <= 0) return ready < 0 ? errno : EAGAIN;
    Envelope envelope(message, size);
    ssize_t got;
    do got = recvmsg(socket, &envelope.header, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got < 0) return errno == EWOULDBLOCK ? EAGAIN : errno == ECONNRESET ? EPIPE : errno;
    int came[passed_fds_max];
    const size_t count = received(&envelope, came);
    const bool whole = static_cast<size_t>(got) == size && count <= fds_max &&
                       (envelope.header.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0;
    for (size_t i = 0; i < count && !whole; i++) close(came[i]);
    if (got == 0 && count == 0) return EPIPE;
    if (!whole) return EPROTO;
    for (size_t i = 0; i < count; i++) fds[i] = came[i];
    *fd_count = count;
    return 0;
}

int passing_receive(int socket, void *message, size_t size, int *fds, size_t fd_count, int timeout_ms) {
    size_t count = 0;
    int came[passed_fds_max];
    int cause = passing_receive_some(socket, message, size, came, passed_fds_max, &count, timeout_ms);
    if (cause != 0) return cause;
    for (size_t i = 0; i < count && count != fd_count; i++) close(came[i]);
    if (count != fd_count) return EPROTO;
    for (size_t i = 0; i < count; i++) fds[i] = came[i];
    return 0;
}

} // namespace wx
