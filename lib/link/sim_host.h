// SPDX-License-Identifier: MIT
// A host on a simulated network (or on a TUN device: whatever carries IP packets): connections of lib/tcp, a
// pool of frames that received packets lie in, one of frames that sent data lies in, and what finds the
// connection of a packet. Counts what is out, so that a test can show that nothing is leaked.
//
// The order of a step: packets come through accept; then sim_host_step(now), which serves timers and sends;
// then the caller reads and writes connections, and steps again.
#pragma once
#include "../tcp/tcp.h"
#include "../wire/frame.h"
#include "sim_filters.h"

namespace wx {

struct SimHostOptions {
    TcpConfig tcp;
    uint32_t connections = 1;
    uint32_t receive_frames = 1024;
    uint32_t send_frames = 1024;
    uint32_t frame_bytes = 2048; // of either pool; a received packet that is larger is dropped
    uint32_t time_wait = 64;     // a power of two
    uint64_t seed = 1;
    bool late_acks = false; // what a segment with data acknowledges is seen after the next output
};

// Frames of one size, numbered.
struct SimFrames {
    uint8_t *memory = nullptr;
    uint32_t *free_list = nullptr;
    bool *out = nullptr; // by number
    uint32_t frame_bytes = 0;
    uint32_t count = 0;
    uint32_t free_count = 0;
};
inline uint8_t *sim_frame(const SimFrames *frames, FrameId id) {
    return frames->memory + id * frames->frame_bytes;
}

struct SimHost;
struct SimHostSink : TcpSink {
    SimHost *host = nullptr;
};

struct SimHost : PacketSink {
    TcpHost tcp;
    FixedRandom random;
    SimHostOptions options;
    IpAddress addresses[2];
    unsigned address_count = 0;
    ChecksumPolicy checksums = ChecksumPolicy::verify;
    PacketSink *out = nullptr; // where packets go
    SimHostSink sink;
    SimFrames receive;
    SimFrames send;
    TcpConnection *connections = nullptr;
    bool *held = nullptr;             // by connection: see sim_host_hold
    TcpConnection *late_of = nullptr; // to it goes `late`
    TcpSegment late;
    Nanos late_at = 0;
    uint8_t *storage = nullptr;
    uint8_t *packet = nullptr; // one packet on its way out
    void *time_wait_memory = nullptr;
    Nanos now = 0;
    uint64_t refused[static_cast<size_t>(Wire::count)] = {0}; // packets that were not what they claim
    uint64_t no_frame = 0;                                    // dropped: all frames are held
    uint64_t unknown = 0;                                     // of no connection, answered with a reset
    uint64_t double_releases = 0;                             // must stay 0
};

// WSXDP_OK, E_INVALID (a bad TcpConfig) or E_MEMORY. The object must stay where it is.
int sim_host_open(SimHost *host, const SimHostOptions &options);
void sim_host_close(SimHost *host);
// As after open, with another seed; all connections are gone.
void sim_host_reset(SimHost *host, uint64_t seed);
bool sim_host_address(SimHost *host, const IpAddress &address);

// A connection that is CLOSED, made ready; nullptr when all are in use.
TcpConnection *sim_host_connection(SimHost *host);
// Somebody still looks at it (why it ended, what can be read): it is not given to anybody else when CLOSED.
void sim_host_hold(SimHost *host, const TcpConnection *c, bool held);
TcpConnection *sim_host_connect(SimHost *host, const IpAddress &remote, uint16_t port, Nanos now);
// tuple.local_port is what is listened on.
TcpConnection *sim_host_listen(SimHost *host, uint16_t port);
// Copies into frames and queues them; returns bytes taken, less when frames or the send buffer are used up.
uint32_t sim_host_write(SimHost *host, TcpConnection *c, ByteView data);
// Copies out what can be read and consumes it; returns bytes.
uint32_t sim_host_read(SimHost *host, TcpConnection *c, ByteSpan out);

void sim_host_step(SimHost *host, Nanos now);
Nanos sim_host_deadline(const SimHost *host);
inline uint32_t sim_host_frames_out(const SimHost *host) {
    return host->receive.count - host->receive.free_count + host->send.count - host->send.free_count;
}

} // namespace wx
