// SPDX-License-Identifier: MIT
// Waiting, for one handle, by epoll or, where the system refuses epoll or the option says so, by poll(2).
// With epoll there is one descriptor for everything, which is also that of wsxdp_fd: in it are the sockets,
// an eventfd for wake-ups (from other threads, and to keep the descriptor readable while work is left), and a
// timerfd for the next deadline, armed only once somebody has asked for the descriptor. With poll(2) there is
// no such descriptor, only a list that is handed to every wait.
//
// Files: poller.cc (choice and wake-ups), poller_epoll.cc, poller_poll.cc.
#pragma once
#include "../base/clock.h"
#include "../base/status.h"
#include <atomic>
#include <poll.h>

namespace wx {

struct PollerEvent {
    uint64_t tag; // as given to poller_add
    bool readable;
    bool writable;
    bool broken; // error or hang-up: read to learn which
};

enum class PollerKind : uint8_t { automatic, epoll, poll }; // as the option's choices

// poll(2)'s list: entry 0 is the eventfd, the rest are in no order.
struct PollList {
    pollfd *entries = nullptr;
    uint64_t *tags = nullptr; // of the entries
    size_t count = 0;
    size_t capacity = 0;
    uint32_t *entry_of = nullptr; // by descriptor; 0: not in the list
    size_t entry_of_size = 0;
    size_t next = 1; // where the next look begins, so that a full batch starves nobody
};

struct Poller {
    static constexpr uint64_t own_tag = ~uint64_t{0};       // the eventfd
    static constexpr uint64_t timer_tag = ~uint64_t{0} - 1; // the timerfd
    static constexpr uint64_t bell_tag = ~uint64_t{0} - 2;  // the bell
    static constexpr uint64_t end_tag = ~uint64_t{0} - 3;   // a process whose end is watched
    // What a writer adds to the eventfd that does not know the flag `signalled`: apart from our own 1s.
    static constexpr uint64_t foreign_signal = uint64_t{1} << 32;
    static constexpr int batch = 256; // connections served per look; level-triggered, so the rest comes next
    PollerKind kind = PollerKind::epoll; // never automatic once open
    int epoll_fd = -1;
    int event_fd = -1;
    int timer_fd = -1;
    int bell_fd = -1; // see poller_add_bell
    bool own_bell = false;
    bool ended = false;                 // see poller_watch_end
    Nanos armed_at = never;             // deadline the timer is set to
    uint64_t foreign_due = 0;           // foreign signals that were announced and not read yet
    std::atomic<uint32_t> signalled{0}; // the eventfd holds a 1, or is about to
    PollList list;                      // only with poll
};

// automatic: epoll, or poll when no epoll instance can be had.
int poller_open(Poller *poller, PollerKind kind, ErrorText *error);
void poller_close(Poller *poller);
const char *poller_name(const Poller *poller); // "epoll", "poll"
// 0, or errno of what failed: the descriptor is then not watched, see poller_explain.
int poller_add(Poller *poller, int fd, uint64_t tag, bool read, bool write);
int poller_change(Poller *poller, int fd, uint64_t tag, bool read, bool write);
void poller_remove(Poller *poller, int fd);
int poller_explain(const Poller *poller, int cause, ErrorText *error); // its code
// Waits up to timeout_ns (< 0 for ever, 0 not at all). Returns how many of `out` are filled, own events not
// counted; E_SYSTEM on a broken poller.
int poller_wait(Poller *poller, PollerEvent *out, int cap, Nanos timeout_ns);
void poller_signal(Poller *poller); // any thread; async-signal-safe
void poller_clear(Poller *poller);
// An eventfd by which others, in any process, end a wait: what they know of this poller is the descriptor. It
// is read when a wait reports it, so ringing for nothing costs one short wait. fd: the poller's from now on;
// -1: one is made. 0, or errno.
int poller_add_bell(Poller *poller, int fd);
void poller_ring(int bell_fd); // any thread, any process; async-signal-safe
// `ended` is set by the wait that finds fd readable: a pidfd whose process has ended, a socket whose peer has
// gone. 0, or errno. The descriptor stays the caller's, who removes it.
int poller_watch_end(Poller *poller, int fd);
// Somebody will write foreign_signal to event_fd, once and some time.
void poller_expect(Poller *poller);
// For whoever waits on epoll_fd; CLOCK_MONOTONIC. With poll there is nobody who could.
void poller_arm(Poller *poller, Nanos deadline);

} // namespace wx
