// SPDX-License-Identifier: MIT
// Namespaces and devices by ioctl and sysctl files, so that nothing but the kernel is needed. Whatever fails
// here is the machine's doing and ends the program; what a test is about comes back as a value.
#include "live.h"
#include "../../lib/base/random.h"
#include "../../lib/base/status.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace live {

using namespace wx;

namespace {

[[noreturn]] void die(const std::string &what) {
    fprintf(stderr, "live: %s: %s\n", what.c_str(), strerror(errno));
    exit(1);
}

void must(bool good, const std::string &what) {
    if (!good) die(what);
}

constexpr const char *device = "live0";
// More than a window of packets: the device is no bottleneck of its own.
constexpr int device_queue = 20000;

struct In6Request { // struct in6_ifreq, whose header does not go with the C library's
    in6_addr address;
    uint32_t prefix;
    int index;
};

union Address {
    sockaddr any;
    sockaddr_in in4;
    sockaddr_in6 in6;
    socklen_t size() const { return any.sa_family == AF_INET6 ? sizeof in6 : sizeof in4; }
};

Address socket_address(const IpAddress &ip, uint16_t number) {
    Address out;
    memset(&out, 0, sizeof out);
    if (ip.version == 6) {
        out.in6.sin6_family = AF_INET6;
        out.in6.sin6_port = htons(number);
        memcpy(&out.in6.sin6_addr, ip.bytes, 16);
    } else {
        out.in4.sin_family = AF_INET;
        out.in4.sin_port = htons(number);
        memcpy(&out.in4.sin_addr, ip.bytes, 4);
    }
    return out;
}

std::string find_out() {
    if (geteuid() != 0 && unshare(CLONE_NEWUSER) != 0)
        return std::string("neither root nor a user namespace: ") + strerror(errno);
    if (unshare(CLONE_NEWNET) != 0) return std::string("no network namespace: ") + strerror(errno);
    const int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (fd < 0) return std::string("/dev/net/tun: ") + strerror(errno);
    close(fd);
    prctl(PR_SET_TIMERSLACK, 1000); // waits of milliseconds are to be exact to some microseconds
    return "";
}

void interface_up(const char *name, int fd) {
    ifreq request = {};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", name);
    must(ioctl(fd, SIOCGIFFLAGS, &request) == 0, name);
    request.ifr_flags |= IFF_UP | IFF_RUNNING;
    must(ioctl(fd, SIOCSIFFLAGS, &request) == 0, name);
}

void interface_address4(int fd, const IpAddress &ip) {
    ifreq request = {};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    Address address = socket_address(ip, 0);
    memcpy(&request.ifr_addr, &address.in4, sizeof address.in4);
    must(ioctl(fd, SIOCSIFADDR, &request) == 0, "SIOCSIFADDR");
    const uint8_t mask[4] = {255, 255, 255, 0};
    memcpy(&address.in4.sin_addr, mask, 4);
    memcpy(&request.ifr_netmask, &address.in4, sizeof address.in4);
    must(ioctl(fd, SIOCSIFNETMASK, &request) == 0, "SIOCSIFNETMASK");
}

void interface_address6(const IpAddress &ip) {
    const int fd = ::socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    In6Request request = {};
    memcpy(&request.address, ip.bytes, 16);
    request.prefix = 64;
    request.index = static_cast<int>(if_nametoindex(device));
    must(ioctl(fd, SIOCSIFADDR, &request) == 0, "SIOCSIFADDR of IPv6");
    // The kernel looks for duplicates of it in a thread of its own, and takes it for usable after that.
    const Address own = socket_address(ip, 0);
    bool usable = false;
    for (int ms = 0; ms < 1000 && !usable; ms++) {
        usable = bind(fd, &own.any, own.size()) == 0;
        if (!usable) usleep(1000);
    }
    must(usable, "the IPv6 address of the device");
    close(fd);
}

void write_setting(const std::string &name, const std::string &value) {
    const std::string path = "/proc/sys/net/" + name;
    const int fd = open(path.c_str(), O_WRONLY | O_CLOEXEC);
    must(fd >= 0 && write(fd, value.data(), value.size()) == static_cast<ssize_t>(value.size()), path);
    close(fd);
}

// TCP between hosts, and the ICMP about it: not what the kernel says to its neighbours on its own account.
bool carried(const uint8_t *p, size_t size) {
    if (size >= ip4_header_size && p[0] >> 4 == 4) return (p[9] == ip_tcp || p[9] == ip_icmp) && p[16] < 224;
    return size >= ip6_header_size && p[0] >> 4 == 6 && (p[6] == ip_tcp || p[6] == ip_icmp6) && p[24] != 0xFF;
}

void write_to_device(PacketSink *self, ByteView packet, Nanos) {
    KernelHost *host = static_cast<KernelHost *>(self);
    if (write(host->tun, packet.data, packet.size) != static_cast<ssize_t>(packet.size)) host->refused++;
}

} // namespace

const std::string &unavailable() {
    static const std::string reason = find_out();
    return reason;
}

IpAddress address(unsigned end, int version) {
    const uint8_t last = static_cast<uint8_t>(end + 1);
    if (version == 4) return ip4_address(10, 0, 0, last);
    uint8_t bytes[16] = {0xFD};
    bytes[15] = last;
    return ip_address(bytes, 6);
}

// ---- the kernel's end ----

KernelHost::KernelHost(unsigned which, const Settings &settings) : end(which) {
    accept = write_to_device;
    must(unshare(CLONE_NEWNET) == 0, "unshare");
    ns = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    must(ns >= 0, "/proc/thread-self/ns/net");
    // A device without link-local address and solicitations, so that only TCP is under way.
    write_setting("ipv6/conf/default/addr_gen_mode", "1");
    write_setting("ipv6/conf/default/accept_ra", "0");
    write_setting("ipv4/conf/all/rp_filter", "0");
    write_setting("ipv4/conf/default/rp_filter", "0");
    write_setting("ipv4/tcp_no_metrics_save", "1");
    // Half of a receive buffer is bookkeeping: 4 MiB of window.
    write_setting("ipv4/tcp_rmem", "4096 131072 8388608");
    write_setting("ipv4/tcp_wmem", "4096 1048576 8388608");
    for (const auto &setting : settings) write_setting(setting.first, setting.second);
    tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
    must(tun >= 0, "/dev/net/tun");
    ifreq request = {};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    must(ioctl(tun, TUNSETIFF, &request) == 0, "TUNSETIFF");
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    request.ifr_qlen = device_queue;
    must(ioctl(fd, SIOCSIFTXQLEN, &request) == 0, "SIOCSIFTXQLEN");
    interface_up("lo", fd);
    interface_address4(fd, address(end, 4));
    interface_up(device, fd);
    interface_address6(address(end, 6));
    close(fd);
}

KernelHost::~KernelHost() {
    close(tun);
    close(ns);
}

void KernelHost::enter() const { must(setns(ns, CLONE_NEWNET) == 0, "setns"); }

int KernelHost::socket(int version) const {
    enter();
    const int fd = ::socket(version == 6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    must(fd >= 0, "socket");
    const int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on); // as ours
    // The machine's default may be another, which a namespace cannot change as a whole.
    must(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) == 0, "TCP_CONGESTION cubic");
    return fd;
}

size_t KernelEnd::write(const void *data, size_t size) {
    const ssize_t done = fd < 0 ? 0 : send(fd, data, size, MSG_NOSIGNAL);
    if (done >= 0) return static_cast<size_t>(done);
    if (errno != EAGAIN && error == 0) error = errno;
    return 0;
}

size_t KernelEnd::read(void *data, size_t size) {
    if (fd < 0 || finished) return 0;
    const ssize_t done = recv(fd, data, size, 0);
    if (done > 0) return static_cast<size_t>(done);
    if (done == 0) finished = true;
    if (done < 0 && errno != EAGAIN && error == 0) error = errno;
    return 0;
}

tcp_info KernelEnd::info() const {
    tcp_info out = {};
    socklen_t size = sizeof out;
    if (fd >= 0) getsockopt(fd, IPPROTO_TCP, TCP_INFO, &out, &size);
    return out;
}

bool KernelEnd::connected() {
    const uint8_t state = info().tcpi_state;
    return state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT;
}

bool KernelEnd::over() {
    if (fd < 0 || info().tcpi_state != TCP_CLOSE) return false;
    int found = 0;
    socklen_t size = sizeof found;
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &found, &size);
    if (error == 0) error = found;
    return true;
}

void KernelEnd::finish() { shutdown(fd, SHUT_WR); }

void KernelEnd::close() {
    if (fd >= 0) ::close(fd);
    fd = -1;
}

void KernelEnd::abort() {
    const linger at_once = {1, 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close();
}

// ---- our end ----

size_t OurEnd::write(const void *data, size_t size) {
    return sim_host_write(host, c, ByteView(static_cast<const uint8_t *>(data), size));
}

size_t OurEnd::read(void *data, size_t size) {
    return sim_host_read(host, c, ByteSpan(static_cast<uint8_t *>(data), size));
}

bool OurEnd::connected() { return c->state == TcpState::established || c->state == TcpState::close_wait; }

bool OurEnd::peer_finished() { return c->fin_taken && reassembly_unread(&c->rx) == 0; }

TcpConfig large_config() {
    TcpConfig tcp;
    tcp.receive_bytes = tcp.send_bytes = tcp.held_bytes = 4 << 20;
    tcp.receive_pieces = tcp.held_pieces = tcp.send_chunks = tcp.send_segments = 4096;
    return tcp;
}

// ---- both, and the path between them ----

World::World(const Options &wanted) : options(wanted), packet(sim_packet_max) {
    now = monotonic_ns();
    SimNetworkOptions network_options;
    network_options.timeline.slots = 32768;
    network_options.seed = options.seed;
    network_options.start = now;
    // Programs read while packets arrive: a burst of a whole window into a socket that is not read would keep
    // the kernel from growing its receive buffer.
    network_options.run_packets_max = 8;
    must(ok(sim_network_open(&network, network_options)), "sim_network_open");
    if (options.ours) {
        SimHostOptions host_options;
        host_options.tcp = options.tcp;
        host_options.connections = 4;
        host_options.receive_frames = host_options.send_frames = 16384;
        host_options.seed = options.seed;
        must(ok(sim_host_open(&host, host_options)), "sim_host_open");
        for (int version : {4, 6}) sim_host_address(&host, address(0, version));
        host.out = sim_network_entrance(&network, 0);
        arrival.world = this;
        arrival.accept = [](PacketSink *self, ByteView bytes, Nanos) {
            World *world = static_cast<Arrival *>(self)->world;
            world->host.accept(&world->host, bytes, world->now);
        };
        sim_network_attach(&network, 0, &arrival);
    }
    for (unsigned end = options.ours; end < 2; end++) {
        kernel[end] = std::make_unique<KernelHost>(end, options.settings);
        sim_network_attach(&network, end, kernel[end].get());
    }
    sim_path_set(path(false), options.out);
    sim_path_set(path(true), options.back);
}

World::~World() {
    if (options.ours) sim_host_close(&host);
    sim_network_close(&network);
}

void World::turn() {
    constexpr unsigned batch = 64;
    now = monotonic_ns();
    for (const auto &each : kernel) {
        for (unsigned i = 0; each && i < batch; i++) {
            const ssize_t size = ::read(each->tun, packet.data(), packet.size());
            if (size <= 0) break;
            if (!carried(packet.data(), static_cast<size_t>(size))) continue;
            work++;
            sim_network_send(&network, each->end, ByteView(packet.data(), static_cast<size_t>(size)), now);
        }
    }
    work += sim_network_run(&network, now);
    if (!options.ours) return;
    if (sim_network_deadline(network) > now) {
        sim_host_step(&host, now);
    } else { // what has arrived comes before timers, so that a machine that was busy elsewhere is no loss
        host.now = now;
        for (uint32_t i = 0; i < host.options.connections; i++)
            tcp_output(&host.connections[i], &host.sink, now);
    }
    work += sim_network_run(&network, now);
}

Nanos World::deadline() const {
    const Nanos packets = sim_network_deadline(network);
    const Nanos timers = options.ours ? sim_host_deadline(&host) : never;
    return packets < timers ? packets : timers;
}

void wait(const std::vector<World *> &worlds, Nanos until) {
    std::vector<pollfd> devices;
    for (const World *world : worlds) {
        const Nanos deadline = world->deadline();
        if (deadline < until) until = deadline;
        for (const auto &each : world->kernel)
            if (each) devices.push_back({each->tun, POLLIN, 0});
    }
    const Nanos left = until - monotonic_ns();
    if (left <= 0) return;
    const timespec time = {left / ns_per_s, left % ns_per_s};
    ppoll(devices.data(), devices.size(), &time, nullptr);
}

bool World::run(const std::function<bool()> &done, Nanos limit) {
    // The kernel's own timers change a socket without a packet; they are seen this much later at worst.
    constexpr Nanos glance = 5 * ns_per_ms;
    const Nanos end = monotonic_ns() + limit;
    for (;;) {
        const uint64_t before = work;
        turn();
        if (done()) return true;
        if (now >= end) return false;
        if (work == before) wait({this}, now + glance < end ? now + glance : end);
    }
}

void World::pass(Nanos time) {
    run([] { return false; }, time);
}

int World::listen(unsigned end, int version) {
    const int fd = kernel[end]->socket(version), on = 1;
    if (options.receive_buffer != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer, sizeof options.receive_buffer);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const Address own = socket_address(address(end, version), port);
    must(bind(fd, &own.any, own.size()) == 0 && ::listen(fd, 8) == 0, "listen");
    return fd;
}

std::unique_ptr<KernelEnd> World::accept(int listener) {
    const int fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return fd < 0 ? nullptr : std::make_unique<KernelEnd>(fd);
}

std::unique_ptr<KernelEnd> World::connect(unsigned end, int version) {
    const int fd = kernel[end]->socket(version);
    if (options.receive_buffer != 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &options.receive_buffer, sizeof options.receive_buffer);
    const Address peer = socket_address(address(!end, version), port);
    auto made = std::make_unique<KernelEnd>(fd);
    if (::connect(fd, &peer.any, peer.size()) != 0 && errno != EINPROGRESS) made->error = errno;
    return made;
}

std::unique_ptr<OurEnd> World::connect_ours(int version) {
    TcpConnection *c = sim_host_connect(&host, address(1, version), port, monotonic_ns());
    return c == nullptr ? nullptr : std::make_unique<OurEnd>(&host, c);
}

std::unique_ptr<OurEnd> World::listen_ours() {
    TcpConnection *c = sim_host_listen(&host, port);
    return c == nullptr ? nullptr : std::make_unique<OurEnd>(&host, c);
}

World::Pair World::open(int version, bool passive, Nanos limit) {
    Pair pair;
    const unsigned server = !passive;
    const bool kernel_listens = kernel[server] != nullptr;
    const int listener = kernel_listens ? listen(server, version) : -1;
    std::unique_ptr<End> &far = passive ? pair.a : pair.b, &near = passive ? pair.b : pair.a;
    if (!kernel_listens) far = listen_ours();
    if (passive || !options.ours)
        near = connect(!server, version);
    else
        near = connect_ours(version);
    const bool good = run(
        [&] {
            if (!far && kernel_listens) far = accept(listener);
            return far && near->connected() && far->connected();
        },
        limit);
    if (listener >= 0) ::close(listener);
    return good ? std::move(pair) : Pair();
}

// ---- what is sent ----

namespace {

// Of a prime length, twice in a row: no loss or repetition of whole segments or buffers goes unseen.
constexpr size_t pattern_bytes = 1048573;

const std::vector<uint8_t> &pattern() {
    static const std::vector<uint8_t> bytes = [] {
        std::vector<uint8_t> made(2 * pattern_bytes);
        FixedRandom random;
        fixed_random_open(&random, 1);
        random.fill(&random, made.data(), pattern_bytes);
        memcpy(made.data() + pattern_bytes, made.data(), pattern_bytes);
        return made;
    }();
    return bytes;
}

} // namespace

void Stream::write() {
    if (written == total) return;
    const uint64_t left = total - written;
    const size_t size = left < piece ? static_cast<size_t>(left) : piece;
    const size_t done = from->write(pattern().data() + written % pattern_bytes, size);
    written += done;
    world->work += done != 0;
}

void Stream::read() {
    static std::vector<uint8_t> buffer(pattern_bytes);
    const size_t done = to->read(buffer.data(), piece < buffer.size() ? piece : buffer.size());
    wrong |= memcmp(buffer.data(), pattern().data() + arrived % pattern_bytes, done) != 0;
    arrived += done;
    world->work += done != 0;
}

bool Stream::step() {
    write();
    read();
    return arrived >= total;
}

} // namespace live
