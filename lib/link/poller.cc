// SPDX-License-Identifier: MIT
// epoll, eventfd and timerfd behind one descriptor. Level-triggered throughout: an event that was not dealt
// with comes again, so nothing can be lost between a look and a sleep.
#include "poller.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace wx {

static int add_own(Poller *poller, int fd, uint64_t tag) {
    epoll_event event = {};
    event.events = EPOLLIN;
    event.data.u64 = tag;
    return epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, fd, &event);
}

int poller_open(Poller *poller, ErrorText *error) {
    poller->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (poller->epoll_fd >= 0) poller->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (poller->event_fd >= 0) poller->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (poller->timer_fd >= 0 && add_own(poller, poller->event_fd, Poller::own_tag) == 0 &&
        add_own(poller, poller->timer_fd, Poller::timer_tag) == 0)
        return WSXDP_OK;
    int cause = errno;
    int code = cause == EMFILE || cause == ENFILE ? WSXDP_E_DESCRIPTORS : WSXDP_E_SYSTEM;
    error->begin(code, cause).add("opening the poller (epoll, eventfd, timerfd): ").errno_name(cause);
    if (code == WSXDP_E_DESCRIPTORS) error->add("; raise the limit (ulimit -n)");
    poller_close(poller);
    return code;
}

void poller_close(Poller *poller) {
    if (poller->timer_fd >= 0) close(poller->timer_fd);
    if (poller->event_fd >= 0) close(poller->event_fd);
    if (poller->epoll_fd >= 0) close(poller->epoll_fd);
    poller->timer_fd = poller->event_fd = poller->epoll_fd = -1;
}

static epoll_event make_event(uint64_t tag, bool read, bool write) {
    epoll_event event = {};
    event.events = (read ? static_cast<uint32_t>(EPOLLIN | EPOLLRDHUP) : 0u) |
                   (write ? static_cast<uint32_t>(EPOLLOUT) : 0u);
    event.data.u64 = tag;
    return event;
}

int poller_add(Poller *poller, int fd, uint64_t tag, bool read, bool write) {
    epoll_event event = make_event(tag, read, write);
    return epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? WSXDP_OK : WSXDP_E_SYSTEM;
}

void poller_change(Poller *poller, int fd, uint64_t tag, bool read, bool write) {
    epoll_event event = make_event(tag, read, write);
    // Neither: epoll would still report errors and hang-ups, over and over, so the descriptor leaves the set.
    if (!read && !write) {
        epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, fd, nullptr);
    } else if (epoll_ctl(poller->epoll_fd, EPOLL_CTL_MOD, fd, &event) != 0 && errno == ENOENT) {
        epoll_ctl(poller->epoll_fd, EPOLL_CTL_ADD, fd, &event);
    }
}

void poller_remove(Poller *poller, int fd) { epoll_ctl(poller->epoll_fd, EPOLL_CTL_DEL, fd, nullptr); }

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

int poller_wait(Poller *poller, PollerEvent *out, int cap, Nanos timeout_ns) {
    epoll_event events[Poller::batch];
    int count = wait_raw(poller, events, cap < Poller::batch ? cap : Poller::batch, timeout_ns);
    if (count < 0) return errno == EINTR ? 0 : WSXDP_E_SYSTEM;
    int filled = 0;
    for (int i = 0; i < count; i++) {
        if (events[i].data.u64 == Poller::timer_tag) timer_ran_out(poller);
        if (events[i].data.u64 >= Poller::timer_tag) continue;
        uint32_t bits = events[i].events;
        out[filled].tag = events[i].data.u64;
        out[filled].readable = (bits & (EPOLLIN | EPOLLRDHUP)) != 0;
        out[filled].writable = (bits & EPOLLOUT) != 0;
        out[filled].broken = (bits & (EPOLLERR | EPOLLHUP)) != 0;
        filled++;
    }
    return filled;
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
