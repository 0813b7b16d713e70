// SPDX-License-Identifier: MIT
// What the transport stage needs of a way to reach the peer: a byte stream that never blocks. One table of
// functions per link (socket.cc, echo.cc); calls go per batch, not per message.
#pragma once
#include "../base/clock.h"
#include "../base/status.h"
#include <sys/socket.h>
#include <sys/un.h>

namespace wx {

struct Address {
    sockaddr_storage storage;
    socklen_t size = 0;
};

enum class TimestampSource : uint8_t { off, software, hardware };

struct LinkOptions {
    bool no_delay = true;
    int64_t busy_poll_us = 0;         // SO_BUSY_POLL; 0 leaves the system's setting
    int64_t receive_buffer_bytes = 0; // SO_RCVBUF, 0 for the kernel's autotuning
    int64_t send_buffer_bytes = 0;
    const char *interface = ""; // SO_BINDTODEVICE
    TimestampSource timestamps = TimestampSource::software;
    uint64_t echo_bytes = 0; // echo link: how much may be under way
    void *context = nullptr; // what a link's connections belong to, where there is such a thing
};

// When the newest bytes of a read arrived, CLOCK_REALTIME; 0 unknown.
struct ReadStamps {
    Nanos kernel_ns = 0;
    Nanos nic_ns = 0;
};

struct LinkBackend;
struct Channel {
    const LinkBackend *backend = nullptr;
    int fd = -1;           // to wait on; -1 when there is none
    void *state = nullptr; // backend's own
    bool stamped = false;  // reads ask for time stamps
};

struct LinkBackend {
    const char *name;
    // 1 connected, 0 under way (wait for writability, then finish), < 0 failed with a sentence.
    int (*open)(const Address &address, const LinkOptions &options, Channel *channel, ErrorText *error);
    int (*finish)(Channel *channel, ErrorText *error); // 1 connected, 0 not yet, < 0
    // > 0 bytes, 0 nothing now, E_EOF, E_RESET or another code with *cause = errno.
    int64_t (*read)(Channel *channel, uint8_t *out, size_t cap, ReadStamps *stamps, int *cause);
    // >= 0 bytes taken (less than size: no room now), < 0 as read.
    int64_t (*write)(Channel *channel, const uint8_t *data, size_t size, int *cause);
    bool (*readable)(const Channel *channel); // bytes wait that no descriptor tells about
    void (*close)(Channel *channel, bool reset);
    // Channels have no descriptor: whoever uses them looks at them in every step, while they connect
    // (finish), for what can be read (readable) and after a write that was cut short.
    bool silent;
};

extern const LinkBackend socket_link;
extern const LinkBackend echo_link;

// Codes and sentences for errno of a connection attempt and of an open connection.
int connect_status(int cause);
int stream_status(int cause);
// The sentence for an open that failed with this errno; returns its code.
int link_open_failed(const Address &address, const char *what, int cause, ErrorText *error);
void address_text(const Address &address, Writer *out); // 192.0.2.1:443, [2001:db8::1]:443, /run/x.sock

} // namespace wx
