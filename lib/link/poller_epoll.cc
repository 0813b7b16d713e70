// SPDX-License-Identifier: MIT
// Waiting by epoll: one descriptor for all sockets, for the eventfd and for a timerfd. A wait costs as much
// as there are events, however many sockets are in the set. Never allocates; the kernel does, and its
// refusals (ENOMEM, ENOSPC at fs.epoll.max_user_watches) are handed up.
#include "poller_parts.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace wx {

static epoll_event make_event(uint64_t tag, bool read, bool write) {
    epoll_event event = {};
    event.events = (read ? static_cast<uint32_t>(EPOLLIN | EPOLLRDHUP) : 0u) |
                   (write ? static_cast<uint32_t>(EPOLLOUT) : 0u);
    event.data.u64 = tag;
    return event;
}

int epoll_open(Poller *poller) {
    poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll_fd < 0) return errno;
    poller->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (poller->timer_fd < 0) return errno;
    return epoll_enter(poller, poller->timer_fd, Poller::timer_tag, true, false);
}

void epoll_end(Poller *poller) {
    if (poller->timer_fd >= 0) close(poller->timer_fd);
    if (poller->epoll_fd >= 0) close(poller->epoll_fd);
    poller->timer_fd = poller->epoll_fd = -1;
}

int epoll_enter(Poller *poller, int fd, uint64_t tag, bool read, bool write) {
    epoll_event event = make_event(tag, read, write);
    return epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

int epoll_alter(Poller *poller, int fd, uint64_t tag, bool read, bool write) {
    // Neither: epoll would still report errors and hang-ups, over and over, so the descriptor leaves the set.
    if (!read && !write) {
        epoll_leave(poller, fd);
        return 0;
    }
    epoll_event event = make_event(tag, read, write);
    if (epoll_ctl(poller->epoll_fd, EPOLL_CTL_MOD, fd, &event) == 0) return 0;
    return errno == ENOENT ? epoll_enter(poller, fd, tag, read, write) : errno;
}

void epoll_leave(Poller *poller, int fd) { epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, fd, nullptr); }

static int wait_raw(Poller *poller, epoll_event *events, int cap, Nanos timeout_ns) {
    if (timeout_ns <= 0) return epoll_wait(poller->epoll_fd, events, cap, timeout_ns < 0 ? -1 : 0);
    timespec limit = {timeout_ns / ns_per_s, timeout_ns % ns_per_s};
    int count = epoll_pwait2(poller->epoll_fd, events, cap, &limit, nullptr);
    // EPERM: sandboxes that are older than the call.
    if (count >= 0 || (errno != ENOSYS && errno != EPERM)) return count;
    // Before Linux 5.11: milliseconds, rounded up so that a deadline is never polled in a circle.
    Nanos ms = (timeout_ns + ns_per_ms - 1) / ns_per_ms;
    return epoll_wait(poller->epoll_fd, events, cap, ms > INT32_MAX ? INT32_MAX : static_cast<int>(ms));
}

// A timer that has run out stays readable: put out here, or every later wait would end at once. The next
// poller_arm sets it again.
static void timer_ran_out(Poller *poller) {
    uint64_t count;
    ssize_t done = read(poller->timer_fd, &count, sizeof count);
    (void)done; // EAGAIN: armed anew in between
    poller->armed_at = never;
}

int epoll_look(Poller *poller, PollerEvent *out, int cap, Nanos timeout_ns) {
    epoll_event events[Poller::batch];
    int count = wait_raw(poller, events, cap < Poller::batch ? cap : Poller::batch, timeout_ns);
    if (count < 0) return errno == EINTR ? 0 : WSXDP_E_SYSTEM;
    int filled = 0;
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == Poller::timer_tag) timer_ran_out(poller);
        if (poller_own(poller, events[i].data.u64)) continue;
        uint32_t bits = events[i].events;
        out[filled].tag = events[i].data.u64;
        out[filled].readable = (bits & (EPOLLIN | EPOLLRDHUP)) != 0;
        out[filled].writable = (bits & EPOLLOUT) != 0;
        out[filled].broken = (bits & (EPOLLERR | EPOLLHUP)) != 0;
        filled++;
    }
    return filled;
}

void epoll_arm(Poller *poller, Nanos deadline) {
    if (deadline == poller->armed_at) return;
    itimerspec at = {};
    if (deadline != never) {
        Nanos when = deadline > 0 ? deadline : 1; // zero would disarm
        at.it_value.tv_sec = when / ns_per_s;
        at.it_value.tv_nsec = when % ns_per_s;
    }
    timerfd_settime(poller->timer_fd, TFD_TIMER_ABSTIME, &at, nullptr);
    poller->armed_at = deadline;
}

} // namespace wx
