// SPDX-License-Identifier: MIT
// What both ways to wait share: the choice between them, the eventfd, and the sentences. Level-triggered
// throughout: an event that was not dealt with comes again, so nothing can be lost between a look and a
// sleep. A call is a branch away from its system call. Never falls back after opening.
#include "poller_parts.h"
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

namespace wx {

static int open_kind(Poller *poller, PollerKind kind) {
    poller->kind = kind;
    return kind == PollerKind::poll ? poll_open(poller) : epoll_open(poller);
}

// epoll_create1 is what a sandbox refuses (EPERM, ENOSYS), and an instance is what a limit withholds
// (EMFILE).
static int open_any(Poller *poller, PollerKind kind) {
    if (kind != PollerKind::automatic) return open_kind(poller, kind);
    int cause = open_kind(poller, PollerKind::epoll);
    return cause != 0 && poller->epoll_fd < 0 ? open_kind(poller, PollerKind::poll) : cause;
}

int poller_open(Poller *poller, PollerKind kind, ErrorText *error) {
    int cause = open_any(poller, kind);
    if (cause == 0) {
        poller->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
        cause =
            poller->event_fd < 0 ? errno : poller_add(poller, poller->event_fd, Poller::own_tag, true, false);
    }
    if (cause == 0) return WSXDP_OK;
    int code = cause == EMFILE || cause == ENFILE ? WSXDP_E_DESCRIPTORS
               : cause == ENOMEM                  ? WSXDP_E_MEMORY
                                                  : WSXDP_E_SYSTEM;
    error->begin(code, cause).add("opening the poller (");
    error->add(poller->kind == PollerKind::poll ? "poll, eventfd" : "epoll, eventfd, timerfd").add("): ");
    error->errno_name(cause);
    if (code == WSXDP_E_DESCRIPTORS) error->add("; raise the limit (ulimit -n)");
    if (kind == PollerKind::epoll) error->add("; poller=auto takes poll(2) where there is no epoll");
    poller_close(poller);
    return code;
}

void poller_close(Poller *poller) {
    if (poller->kind == PollerKind::poll)
        poll_end(poller);
    else
        epoll_end(poller);
    if (poller->event_fd >= 0) close(poller->event_fd);
    if (poller->own_bell) close(poller->bell_fd);
    poller->event_fd = poller->bell_fd = -1;
    poller->own_bell = false;
}

int poller_add_bell(Poller *poller, int fd) {
    poller->bell_fd = fd >= 0 ? fd : eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (poller->bell_fd < 0) return errno;
    poller->own_bell = fd < 0;
    return poller_add(poller, poller->bell_fd, Poller::bell_tag, true, false);
}

void poller_ring(int bell_fd) {
    uint64_t one = 1;
    ssize_t done = write(bell_fd, &one, sizeof one);
    (void)done; // a full counter means it is readable already
}

int poller_watch_end(Poller *poller, int fd) { return poller_add(poller, fd, Poller::end_tag, true, false); }

bool poller_own(Poller *poller, uint64_t tag) {
    if (tag == Poller::bell_tag) {
        uint64_t count;
        ssize_t done = read(poller->bell_fd, &count, sizeof count);
        (void)done; // EAGAIN: read already
    }
    if (tag == Poller::end_tag) poller->ended = true;
    return tag >= Poller::end_tag;
}

const char *poller_name(const Poller *poller) { return poller->kind == PollerKind::poll ? "poll" : "epoll"; }

int poller_add(Poller *poller, int fd, uint64_t tag, bool read, bool write) {
    return poller->kind == PollerKind::poll ? poll_enter(poller, fd, tag, read, write)
                                            : epoll_enter(poller, fd, tag, read, write);
}

int poller_change(Poller *poller, int fd, uint64_t tag, bool read, bool write) {
    return poller->kind == PollerKind::poll ? poll_alter(poller, fd, tag, read, write)
                                            : epoll_alter(poller, fd, tag, read, write);
}

void poller_remove(Poller *poller, int fd) {
    if (poller->kind == PollerKind::poll)
        poll_leave(poller, fd);
    else
        epoll_leave(poller, fd);
}

int poller_explain(const Poller *poller, int cause, ErrorText *error) {
    const int code = cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_SYSTEM;
    error->begin(code, cause).add("watching a socket (");
    error->add(poller->kind == PollerKind::poll ? "the list for poll" : "epoll_ctl").add("): ");
    error->errno_name(cause);
    if (cause == ENOSPC) // epoll(7)
        error->add("; this user watches as many descriptors as fs.epoll.max_user_watches allows: raise it, "
                   "watch fewer, or set poller=poll");
    else if (cause == ENOMEM)
        error->add("; free memory, or open fewer connections");
    else if (poller->kind != PollerKind::poll)
        error->add("; poller=poll does without epoll");
    return code;
}

int poller_wait(Poller *poller, PollerEvent *out, int cap, Nanos timeout_ns) {
    return poller->kind == PollerKind::poll ? poll_look(poller, out, cap, timeout_ns)
                                            : epoll_look(poller, out, cap, timeout_ns);
}

void poller_signal(Poller *poller) {
    // One write until the next clear: more would only cost.
    if (poller->signalled.exchange(1, std::memory_order_acq_rel) != 0) return;
    uint64_t one = 1;
    ssize_t done = write(poller->event_fd, &one, sizeof one);
    (void)done; // a full counter means it is readable already
}

void poller_clear(Poller *poller) {
    if (poller->signalled.load(std::memory_order_relaxed) == 0 && poller->foreign_due == 0) return;
    uint64_t count;
    // Nothing there although the flag is set: another thread is about to write. The flag stays, so that what
    // it writes is read next time; with the flag down it would lie there for ever and end every wait at once.
    if (read(poller->event_fd, &count, sizeof count) < 0) return;
    uint64_t foreign = count / Poller::foreign_signal;
    poller->foreign_due -= foreign < poller->foreign_due ? foreign : poller->foreign_due;
    if (count % Poller::foreign_signal == 0) return; // our own 1 is still to come
    // After the read: a signal in between finds the flag still set and does not write, but its cause (a
    // sticky flag or a queue) is looked at by our caller only after this.
    poller->signalled.exchange(0, std::memory_order_acq_rel);
}

void poller_expect(Poller *poller) { poller->foreign_due++; }

void poller_arm(Poller *poller, Nanos deadline) {
    if (poller->kind != PollerKind::poll) epoll_arm(poller, deadline);
}

} // namespace wx
