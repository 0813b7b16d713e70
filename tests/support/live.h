// SPDX-License-Identifier: MIT
// The kernel's TCP as the peer of ours, or of itself, over a simulated path. Each kernel end is a network
// namespace of its own with a TUN device in it; packets are carried between the devices (or a SimHost) by a
// SimNetwork that runs by the real clock. All in one thread: sockets never block, and a packet written to a
// TUN has been through the kernel's TCP when the call returns. A namespace has no name and goes away with the
// last descriptor in it.
#pragma once
#include "../../lib/link/sim.h"
#include "../../lib/link/sim_host.h"
#include <functional>
#include <memory>
#include <netinet/tcp.h>
#include <string>
#include <utility>
#include <vector>

namespace live {

// What is missing for namespaces and TUN devices; empty: nothing. Moves the process into a namespace, and
// when it is not root's into a user namespace first: to be called before there is a second thread.
const std::string &unavailable();

constexpr uint16_t port = 7000;
// 10.0.0.N and fd00::N, N = end + 1.
wx::IpAddress address(unsigned end, int version);

using Settings = std::vector<std::pair<std::string, std::string>>; // {"ipv4/tcp_sack", "0"}

struct KernelHost : wx::PacketSink {
    KernelHost(unsigned end, const Settings &settings);
    ~KernelHost();
    KernelHost(const KernelHost &) = delete;
    KernelHost &operator=(const KernelHost &) = delete;
    void enter() const;            // the calling thread's namespace is this from now on
    int socket(int version) const; // TCP, never blocks

    unsigned end;
    int ns = -1;
    int tun = -1;
    uint64_t refused = 0; // packets that the device did not take
};

// One end of a connection. Nothing blocks.
struct End {
    virtual ~End() = default;
    virtual size_t write(const void *data, size_t size) = 0; // bytes taken
    virtual size_t read(void *data, size_t size) = 0;        // bytes that were there
    virtual bool connected() = 0;
    virtual bool peer_finished() = 0; // and everything was read
    virtual bool over() = 0;          // by an error, or because both sides are done
    virtual void finish() = 0;        // FIN; reading goes on
    virtual void close() = 0;         // both directions
    virtual void abort() = 0;         // reset
};

struct KernelEnd : End {
    explicit KernelEnd(int descriptor) : fd(descriptor) {}
    ~KernelEnd() override { close(); }
    size_t write(const void *data, size_t size) override;
    size_t read(void *data, size_t size) override;
    bool connected() override;
    bool peer_finished() override { return finished; }
    bool over() override;
    void finish() override;
    void close() override;
    void abort() override;
    tcp_info info() const;

    int fd;
    int error = 0; // the first that a call or SO_ERROR gave
    bool finished = false;
};

struct OurEnd : End {
    OurEnd(wx::SimHost *on, wx::TcpConnection *connection) : host(on), c(connection) {}
    size_t write(const void *data, size_t size) override;
    size_t read(void *data, size_t size) override;
    bool connected() override;
    bool peer_finished() override;
    bool over() override { return c->state == wx::TcpState::closed || c->state == wx::TcpState::time_wait; }
    void finish() override { wx::tcp_finish(c); }
    void close() override { wx::tcp_close(c); }
    void abort() override { wx::tcp_abort(c); }

    wx::SimHost *host;
    wx::TcpConnection *c;
};

// Buffers of 4 MiB each way, which is what the kernel's ends get as well.
wx::TcpConfig large_config();

struct Options {
    bool ours = true; // end 0 is ours; else the kernel's
    wx::TcpConfig tcp = large_config();
    wx::SimPathOptions out, back; // from end 0 to end 1, and back
    Settings settings;            // of the kernel's ends
    int receive_buffer = 0;       // SO_RCVBUF of the kernel's sockets, 0: as it likes
    uint64_t seed = 1;
};

struct World {
    explicit World(const Options &options);
    ~World();
    World(const World &) = delete;
    World &operator=(const World &) = delete;

    // Whatever is due now; counts into `work`.
    void turn();
    wx::Nanos deadline() const;
    // Turns until done() is true, which may itself read and write; false: not within the limit.
    bool run(const std::function<bool()> &done, wx::Nanos limit);
    void pass(wx::Nanos time); // turns for so long
    wx::SimPath *path(bool back) { return sim_network_path(&network, back, !back); }

    int listen(unsigned end, int version); // kernel; a descriptor
    std::unique_ptr<KernelEnd> accept(int listener);
    std::unique_ptr<KernelEnd> connect(unsigned end, int version); // kernel, to the other end's `port`
    std::unique_ptr<OurEnd> connect_ours(int version);
    std::unique_ptr<OurEnd> listen_ours();
    // A connection, made by end 0 or (passive) by end 1; both are connected, or the pair is empty.
    struct Pair {
        std::unique_ptr<End> a, b; // ends 0 and 1
        OurEnd *ours() const { return static_cast<OurEnd *>(a.get()); }
        KernelEnd *kernel() const { return static_cast<KernelEnd *>(b.get()); }
        explicit operator bool() const { return a != nullptr; }
    };
    Pair open(int version, bool passive = false, wx::Nanos limit = 5 * wx::ns_per_s);

    Options options;
    wx::Nanos now = 0;
    uint64_t work = 0; // packets moved, and whatever callers add: no waiting while it grows
    wx::SimNetwork network;
    wx::SimHost host;
    std::unique_ptr<KernelHost> kernel[2];

private:
    struct Arrival : wx::PacketSink {
        World *world;
    } arrival; // to the host, by the clock
    std::vector<uint8_t> packet;
};

// Waits until a packet or a deadline of any of them, `until` at the latest.
void wait(const std::vector<World *> &worlds, wx::Nanos until);

// Bytes that say where in the stream they are, written by one end and checked at the other.
struct Stream {
    Stream(World *where, End *source, End *target, uint64_t bytes)
        : world(where), from(source), to(target), total(bytes) {}
    bool step(); // moves what can be moved; whether everything arrived
    void write();
    void read();

    World *world;
    End *from, *to;
    uint64_t total;
    uint64_t written = 0, arrived = 0;
    bool wrong = false;   // a byte that is not what was written
    size_t piece = 65536; // at most so much in one call
};

} // namespace live
