// SPDX-License-Identifier: MIT
// Messages with descriptors between two processes, over one socket made by socketpair (AF_UNIX,
// SOCK_SEQPACKET: a message is taken whole or not at all, and the end of the peer is the end of the file).
#pragma once
#include "../base/bytes.h"

namespace wx {

constexpr size_t passed_fds_max = 16; // descriptors with one message; the kernel allows 253

// 0, or errno.
int passing_pair(int ends[2]);
// The descriptors stay the caller's. Waits up to timeout_ms while the peer's queue is full. 0, or errno:
// EAGAIN it still is, EPIPE the peer is gone.
int passing_send(int socket, ByteView message, const int *fds, size_t fd_count, int timeout_ms);
// One message of exactly `size` bytes with up to fds_max descriptors, which are the caller's from then on.
// Waits up to timeout_ms (0 not at all). 0, or errno: EAGAIN none has come, EPIPE the peer is gone, EPROTO it
// is not such a message (its descriptors have been closed).
int passing_receive_some(int socket, void *message, size_t size, int *fds, size_t fds_max, size_t *fd_count,
                         int timeout_ms);
// The same with exactly fd_count descriptors.
int passing_receive(int socket, void *message, size_t size, int *fds, size_t fd_count, int timeout_ms);

} // namespace wx
