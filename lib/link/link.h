// SPDX-License-Identifier: MIT
// What the transport stage needs of a way to reach the peer: a byte stream that never blocks. One table of
// functions per link (socket.cc, echo.cc); calls go per batch, not per message.
#pragma once
#include "poller.h"
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
    Tick polled = 0;    // when the frame was taken from the NIC; 0: the read itself is that moment
    Tick processed = 0; // when TCP was done with it
};

// Of a connection's TCP, whoever does it. Counters are since it was opened.
struct LinkTcpFacts {
    uint64_t segments_in = 0, segments_out = 0, retransmits = 0, out_of_order = 0, zero_windows = 0;
    Nanos round_trip = 0, round_trip_min = 0;
    uint64_t congestion_window = 0, in_flight = 0; // bytes
};

struct LinkBackend;
struct Channel {
    const LinkBackend *backend = nullptr;
    int fd = -1;           // to wait on; -1 when there is none
    void *state = nullptr; // backend's own
    bool stamped = false;  // reads ask for time stamps
    bool polled = false;   // fd is in the poller
    // Of a link with `watch`: the socket is read, or written, right here, and its descriptor waited on for
    // that.
    bool reads_here = false;
    bool writes_here = false;
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
    // In the place of the poller, for channels of a LinkDriver: what to be told of, and under which tag.
    // nullptr: the poller is told of the descriptor.
    void (*watch)(Channel *channel, uint64_t tag, bool read, bool write);
    // The two ends' addresses, where there is no socket to ask; nullptr: ask it.
    void (*addresses)(const Channel *channel, Address *local, Address *peer);
    void (*tcp)(const Channel *channel, LinkTcpFacts *out); // nullptr: there is none
    // After a failed read or write: the sentence, where more is known than errno says. nullptr: never.
    bool (*why)(const Channel *channel, ErrorText *out);
};

// A link whose channels share a device: what has arrived is taken in, and what was written leaves, for all of
// them at once. `context` is LinkOptions::context. The order of a step: receive, ready, (reads and writes),
// send.
struct LinkDriver {
    bool (*receive)(void *context, Nanos now, Tick tick); // arrivals and timers; whether anything moved
    // Channels that can do what they are watched for, level-triggered; returns how many.
    int (*ready)(void *context, PollerEvent *out, int cap);
    // What is owed, or, with events for the caller on their way, only what may not wait for the answers that
    // they may bring. Whether there is something for `notice` to tell.
    bool (*send)(void *context, Nanos now, bool answers);
    Nanos (*deadline)(const void *context); // of the next receive or send that does something by itself
    bool (*waiting)(const void *context);   // something is to be done now: nobody may sleep
    void (*watch)(void *context,
                  bool on); // its own descriptors in the poller, under tags from link_driver_tag
    void (*attend)(void *context, uint64_t tag);                  // the poller has said so of one of them
    bool (*notice)(void *context, uint64_t *tag, ErrorText *out); // to be told to a channel's owner
    bool (*facts)(void *context, const char *name, Writer *out);  // see wsxdp_info; false: none such
};
constexpr uint64_t link_driver_tag = uint64_t{0xFFFF} << 32; // above those of connections and races

extern const LinkBackend socket_link;
extern const LinkBackend echo_link;

// Codes and sentences for errno of a connection attempt and of an open connection.
int connect_status(int cause);
int stream_status(int cause);
// The sentence for an open that failed with this errno; returns its code.
int link_open_failed(const Address &address, const char *what, int cause, ErrorText *error);
void address_text(const Address &address, Writer *out); // 192.0.2.1:443, [2001:db8::1]:443, /run/x.sock

} // namespace wx
