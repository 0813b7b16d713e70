// SPDX-License-Identifier: MIT
// Waiting, for one handle: an epoll instance that is also the descriptor of wsxdp_fd. In it: the sockets, an
// eventfd for wake-ups (from other threads, and to keep the descriptor readable while work is left), and a
// timerfd for the next deadline, armed only once somebody has asked for the descriptor.
#pragma once
#include "../base/clock.h"
#include "../base/status.h"
#include <atomic>

namespace wx {

struct PollerEvent {
    uint64_t tag; // as given to poller_add
    bool readable;
    bool writable;
    bool broken; // error or hang-up: read to learn which
};

struct Poller {
    static constexpr uint64_t own_tag = ~uint64_t{0};       // the eventfd
    static constexpr uint64_t timer_tag = ~uint64_t{0} - 1; // the timerfd
    // What a writer adds to the eventfd that does not know the flag `signalled`: apart from our own 1s.
    static constexpr uint64_t foreign_signal = uint64_t{1} << 32;
    static constexpr int batch = 256; // connections served per look; level-triggered, so the rest comes next
    int epoll_fd = -1;
    int event_fd = -1;
    int timer_fd = -1;
    Nanos armed_at = never;             // deadline the timer is set to
    uint64_t foreign_due = 0;           // foreign signals that were announced and not read yet
    std::atomic<uint32_t> signalled{0}; // the eventfd holds a 1, or is about to
};

int poller_open(Poller *poller, ErrorText *error);
void poller_close(Poller *poller);
int poller_add(Poller *poller, int fd, uint64_t tag, bool read, bool write);
void poller_change(Poller *poller, int fd, uint64_t tag, bool read, bool write);
void poller_remove(Poller *poller, int fd);
// Waits up to timeout_ns (< 0 for ever, 0 not at all). Returns how many of `out` are filled, own events not
// counted; E_SYSTEM on a broken epoll.
int poller_wait(Poller *poller, PollerEvent *out, int cap, Nanos timeout_ns);
void poller_signal(Poller *poller); // any thread; async-signal-safe
void poller_clear(Poller *poller);
// Somebody will write foreign_signal to event_fd, once and some time.
void poller_expect(Poller *poller);
void poller_arm(Poller *poller, Nanos deadline); // CLOCK_MONOTONIC

} // namespace wx
