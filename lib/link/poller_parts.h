// SPDX-License-Identifier: MIT
// The two ways to wait, as poller.cc calls them. Errors are errno values, as everywhere in the poller.
#pragma once
#include "poller.h"

namespace wx {

// poller.cc: an event that is the poller's own is dealt with here and not handed out.
bool poller_own(Poller *poller, uint64_t tag);

// poller_epoll.cc
int epoll_open(Poller *poller);
void epoll_end(Poller *poller);
int epoll_enter(Poller *poller, int fd, uint64_t tag, bool read, bool write);
int epoll_alter(Poller *poller, int fd, uint64_t tag, bool read, bool write);
void epoll_leave(Poller *poller, int fd);
int epoll_look(Poller *poller, PollerEvent *out, int cap, Nanos timeout_ns);
void epoll_arm(Poller *poller, Nanos deadline);

// poller_poll.cc
int poll_open(Poller *poller);
void poll_end(Poller *poller);
int poll_enter(Poller *poller, int fd, uint64_t tag, bool read, bool write);
int poll_alter(Poller *poller, int fd, uint64_t tag, bool read, bool write);
void poll_leave(Poller *poller, int fd);
int poll_look(Poller *poller, PollerEvent *out, int cap, Nanos timeout_ns);

} // namespace wx
