// SPDX-License-Identifier: MIT
// That the bridge between two hosts loses nothing but what it is told to: the kernel's TCP at both ends, with
// and without faults, raw frames where tags are concerned, and what is left of it afterwards. No time is
// judged from above but generously: the machine has other things to do.
#include "../../lib/base/random.h"
#include "../base/check.h"
#include "../base/registry.h"
#include "../support/bridge.h"
#include <arpa/inet.h>
#include <atomic>
#include <errno.h>
#include <fcntl.h>
#include <functional>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <vector>

using namespace netns;
using wx::ns_per_ms;
using wx::ns_per_s;

namespace {

constexpr wx::Nanos patience = 60 * ns_per_s; // under a sanitizer, with others on the machine
constexpr int large_buffer = 8 << 20;

uint64_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

struct Fd {
    explicit Fd(int descriptor) : fd(descriptor) {
        if (fd < 0) fail_msg("a socket: %s", strerror(errno));
    }
    ~Fd() { close(fd); }
    Fd(const Fd &) = delete;
    Fd &operator=(const Fd &) = delete;
    operator int() const { return fd; }
    int fd;
};

struct Address {
    sockaddr_in6 in6 = {};
    socklen_t size = 0;
    Address(const char *text, uint16_t port) {
        sockaddr_in *in4 = reinterpret_cast<sockaddr_in *>(&in6);
        in4->sin_port = htons(port);
        if (inet_pton(AF_INET, text, &in4->sin_addr) == 1) {
            in4->sin_family = AF_INET;
            size = sizeof *in4;
        } else {
            assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
            in6.sin6_family = AF_INET6;
            size = sizeof in6;
        }
    }
    const sockaddr *any() const { return reinterpret_cast<const sockaddr *>(&in6); }
};

int make_socket(const Namespace &where, int family, int type, int protocol = 0) {
    Inside inside(where);
    return socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);
}

bool readable(int fd, int ms) {
    pollfd wanted = {fd, POLLIN, 0};
    return poll(&wanted, 1, ms) == 1;
}

bool until(const std::function<bool()> &done, wx::Nanos limit = patience) {
    const wx::Nanos end = wx::monotonic_ns() + limit;
    while (!done()) {
        if (wx::monotonic_ns() > end) return false;
        usleep(1000);
    }
    return true;
}

// ---- TCP of the kernel's at both ends ----

struct Tcp { // connected; a is here's
    explicit Tcp(const Bridge &bridge, const char *address = there4)
        : family(strchr(address, ':') ? AF_INET6 : AF_INET), a(make_socket(bridge.here, family, SOCK_STREAM)),
          b(accept_one(bridge, address)) {}
    int accept_one(const Bridge &bridge, const char *text) {
        const Fd listener(make_socket(bridge.there, family, SOCK_STREAM));
        const Address address(text, 7000);
        for (int fd : {a.fd, listener.fd})
            assert_int_equal(setsockopt(fd, IPPROTO_TCP, tcp_congestion, "cubic", 5), 0);
        assert_int_equal(bind(listener, address.any(), address.size), 0);
        assert_int_equal(listen(listener, 1), 0);
        if (connect(a, address.any(), address.size) != 0) assert_int_equal(errno, EINPROGRESS);
        int made = -1;
        if (!until([&] {
                return (made = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;
            }))
            fail_msg("no connection");
        return made;
    }
    static constexpr int tcp_congestion = 13; // of linux/tcp.h, which does not go with the C library's
    int family;
    Fd a, b;
};

// Random bytes from one end to the other, compared as they arrive.
struct Flow {
    Flow(int source, int target, const std::vector<uint8_t> &what) : from(source), to(target), bytes(what) {}
    bool step() {
        uint8_t buffer[65536];
        for (bool moved = true; moved;) {
            moved = false;
            if (sent < bytes.size()) {
                const ssize_t done = send(from, &bytes[sent], bytes.size() - sent, MSG_NOSIGNAL);
                if (done < 0) assert_int_equal(errno, EAGAIN);
                if (done > 0) sent += static_cast<size_t>(done);
            }
            const ssize_t done = recv(to, buffer, sizeof buffer, 0);
            if (done < 0) assert_int_equal(errno, EAGAIN);
            if (done <= 0) break;
            moved = true;
            assert_true(arrived + static_cast<size_t>(done) <= bytes.size());
            assert_memory_equal(buffer, &bytes[arrived], static_cast<size_t>(done));
            arrived += static_cast<size_t>(done);
        }
        return arrived == bytes.size();
    }
    int from, to;
    const std::vector<uint8_t> &bytes;
    size_t sent = 0, arrived = 0;
};

std::vector<uint8_t> random_bytes(size_t size) {
    std::vector<uint8_t> bytes(size);
    wx::FixedRandom random;
    wx::fixed_random_open(&random, seed());
    random.fill(&random, bytes.data(), size);
    return bytes;
}

void both_ways(const Tcp &tcp, size_t size) {
    const std::vector<uint8_t> bytes = random_bytes(size);
    Flow out(tcp.a, tcp.b, bytes), back(tcp.b, tcp.a, bytes);
    const bool whole = until([&] {
        const bool one = out.step(), other = back.step();
        return one && other;
    });
    if (!whole) fail_msg("%zu and %zu of %zu bytes arrived", out.arrived, back.arrived, size);
}

// Everything that was taken is accounted for.
void check_balance(const Bridge &bridge) {
    for (Direction direction : {Direction::out, Direction::back}) {
        const BridgeCount n = bridge.count(direction);
        assert_int_equal(n.overruns, 0);
        assert_int_equal(n.taken + n.told + n.doubled,
                         n.given + n.lost + n.others_dropped + n.foreign + n.under_way);
    }
}

// ---- UDP ----

struct Udp { // from here to there
    explicit Udp(const Bridge &bridge)
        : a(make_socket(bridge.here, AF_INET, SOCK_DGRAM)),
          b(make_socket(bridge.there, AF_INET, SOCK_DGRAM)) {
        const Address to(there4, 7001), from(here4, 7001);
        for (int fd : {a.fd, b.fd})
            assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &large_buffer, sizeof large_buffer),
                             0);
        assert_int_equal(bind(a, from.any(), from.size), 0);
        assert_int_equal(bind(b, to.any(), to.size), 0);
        assert_int_equal(connect(a, to.any(), to.size), 0);
        assert_int_equal(connect(b, from.any(), from.size), 0);
    }
    bool arrives(int ms) const { // one from here
        assert_int_equal(send(a, "x", 1, 0), 1);
        return came(ms);
    }
    bool came(int ms) const {
        char byte;
        return readable(b, ms) && recv(b, &byte, 1, 0) == 1;
    }
    Fd a, b;
};

// ---- raw frames in here ----

struct Raw {
    explicit Raw(const Bridge &bridge) : fd(make_socket(bridge.here, AF_PACKET, SOCK_RAW, htons(ETH_P_ALL))) {
        Inside inside(bridge.here);
        const int on = 1;
        sockaddr_ll address = {};
        ifreq request = {};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(if_nametoindex("xdp0"));
        assert_int_equal(bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
        assert_int_equal(setsockopt(fd, SOL_PACKET, PACKET_AUXDATA, &on, sizeof on), 0);
        assert_int_equal(setsockopt(fd, SOL_PACKET, 23 /* PACKET_IGNORE_OUTGOING */, &on, sizeof on), 0);
        strcpy(request.ifr_name, "xdp0");
        assert_int_equal(ioctl(fd, SIOCGIFHWADDR, &request), 0);
        memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    }
    // ARP: who has there4, asked with this tag.
    std::string request(uint16_t vlan) const {
        std::string frame(6, '\xFF');
        frame.append(reinterpret_cast<const char *>(mac), 6);
        if (vlan != wx::no_vlan) {
            frame += std::string("\x81\x00", 2);
            frame += static_cast<char>(vlan >> 8);
            frame += static_cast<char>(vlan & 0xFF);
        }
        frame += std::string("\x08\x06\x00\x01\x08\x00\x06\x04\x00\x01", 10);
        frame.append(reinterpret_cast<const char *>(mac), 6);
        frame += std::string("\x0A\x4D\x00\x01\0\0\0\0\0\0\x0A\x4D\x00\x02", 14);
        return frame;
    }
    void ask(uint16_t vlan) const {
        const std::string frame = request(vlan);
        assert_int_equal(send(fd, frame.data(), frame.size(), 0), frame.size());
    }
    // The tag of the answer; -1: none came.
    int answer(int ms) const {
        const wx::Nanos end = wx::monotonic_ns() + ms * ns_per_ms;
        for (wx::Nanos now; (now = wx::monotonic_ns()) < end;) {
            if (!readable(fd, static_cast<int>((end - now) / ns_per_ms) + 1)) break;
            uint8_t frame[2048];
            alignas(cmsghdr) char control[256];
            iovec part = {frame, sizeof frame};
            msghdr message = {};
            message.msg_iov = &part;
            message.msg_iovlen = 1;
            message.msg_control = control;
            message.msg_controllen = sizeof control;
            if (recvmsg(fd, &message, 0) < 42) continue;
            if (frame[12] != 8 || frame[13] != 6 || frame[21] != 2) continue; // not an ARP reply
            assert_memory_equal(frame, mac, 6);
            for (cmsghdr *c = CMSG_FIRSTHDR(&message); c != nullptr; c = CMSG_NXTHDR(&message, c)) {
                tpacket_auxdata aux;
                memcpy(&aux, CMSG_DATA(c), sizeof aux);
                if (c->cmsg_type == PACKET_AUXDATA)
                    return aux.tp_status & TP_STATUS_VLAN_VALID ? aux.tp_vlan_tci : wx::no_vlan;
            }
        }
        return -1;
    }
    Fd fd;
    uint8_t mac[6];
};

std::vector<std::string> pcap_frames(const std::string &path) {
    FILE *file = fopen(path.c_str(), "rb");
    assert_non_null(file);
    std::string bytes;
    char buffer[4096];
    for (size_t got = 0; (got = fread(buffer, 1, sizeof buffer, file)) > 0;) bytes.append(buffer, got);
    fclose(file);
    const std::string head("\x4D\x3C\xB2\xA1\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\x04\0\x01\0\0\0", 24);
    assert_true(bytes.compare(0, 24, head) == 0);
    std::vector<std::string> frames;
    for (size_t at = 24; at < bytes.size();) {
        uint32_t record[4];
        assert_true(bytes.size() - at >= sizeof record);
        memcpy(record, &bytes[at], sizeof record);
        at += sizeof record;
        assert_true(record[2] == record[3] && bytes.size() - at >= record[2]);
        frames.push_back(bytes.substr(at, record[2]));
        at += record[2];
    }
    return frames;
}

struct TemporaryFile {
    TemporaryFile() {
        const int fd = mkstemp(path);
        if (fd < 0) fail_msg("mkstemp: %s", strerror(errno));
        close(fd);
    }
    ~TemporaryFile() { unlink(path); }
    TemporaryFile(const TemporaryFile &) = delete;
    TemporaryFile &operator=(const TemporaryFile &) = delete;
    char path[32] = "/tmp/bridge-XXXXXX";
};

size_t threads() {
    size_t count = 0;
    DIR *folder = opendir("/proc/self/task");
    assert_non_null(folder);
    while (const dirent *entry = readdir(folder)) count += entry->d_name[0] != '.';
    closedir(folder);
    return count;
}

} // namespace

TEST(without_faults_everything_arrives_whole) {
    need();
    for (const char *address : {there4, there6}) {
        Bridge bridge;
        Tcp tcp(bridge, address);
        both_ways(tcp, 20 << 20);
        for (Direction direction : {Direction::out, Direction::back}) {
            const BridgeCount n = bridge.count(direction);
            assert_true(n.filtered >
                        (20 << 20) / 1460); // frames are single: none carries more than a segment
            assert_int_equal(n.lost + n.delayed + n.doubled + n.reordered + n.corrupted, 0);
        }
        check_balance(bridge);
    }
}

TEST(faults_are_what_the_options_say_and_tcp_gets_through) {
    need();
    print_message("WSXDP_SEED=%llu\n", static_cast<unsigned long long>(seed()));
    BridgeOptions options;
    options.seed = seed();
    options.out.loss.ppm = options.out.duplicate.ppm = options.out.reorder.ppm = 10000;
    options.out.reorder.delay = 2 * ns_per_ms;
    options.out.duplicate.delay = ns_per_ms;
    options.out.corrupt.ppm = 2000;
    options.out.delay.fixed = 5 * ns_per_ms;
    options.back = options.out;
    options.out.delay.overtake = true;
    options.back.delay.overtake = true;
    Bridge bridge(options);
    Tcp tcp(bridge);
    both_ways(tcp, 5 << 20);
    for (Direction direction : {Direction::out, Direction::back}) {
        const BridgeCount n = bridge.count(direction);
        assert_true(n.filtered > (5 << 20) / 1460);
        // Of n with a chance of one in 100: five times its standard deviation around it, and more.
        assert_in_range(n.lost, n.filtered / 200, n.filtered / 50);
        assert_in_range(n.doubled, n.filtered / 200, n.filtered / 50);
        assert_in_range(n.reordered, n.filtered / 200, n.filtered / 50);
        assert_in_range(n.corrupted, 1, n.filtered / 100);
        assert_in_range(n.delayed, n.filtered + n.doubled - n.lost - n.under_way - 2, n.filtered + n.doubled);
    }
    check_balance(bridge);
}

TEST(a_rate_holds) {
    need();
    BridgeOptions options;
    options.out.rate.bits_per_s = 8000000; // 1 MB/s
    options.out.rate.queue_bytes = 4 << 20;
    Bridge bridge(options);
    Tcp tcp(bridge);
    const std::vector<uint8_t> bytes = random_bytes(300000);
    Flow flow(tcp.a, tcp.b, bytes);
    const wx::Nanos begin = wx::monotonic_ns();
    assert_true(until([&] { return flow.step(); }));
    assert_true(wx::monotonic_ns() - begin >= 295 * ns_per_ms);
    check_balance(bridge);
}

TEST(a_small_mtu_is_told_by_icmp) {
    need();
    BridgeOptions options;
    options.out.mtu.mtu = 1400;
    Bridge bridge(options);
    for (const char *address : {there4, there6}) {
        const uint64_t before = bridge.count(Direction::back).told;
        Tcp tcp(bridge, address);
        both_ways(tcp, 1 << 20);
        assert_true(bridge.count(Direction::back).told > before);
        const std::string route = bridge.here.run(std::string("ip route get ") + address);
        assert_non_null(strstr(route.c_str(), "mtu 1400"));
    }
    assert_int_equal(bridge.count(Direction::out).told, 0);
    check_balance(bridge);
}

TEST(jumbo_frames_and_several_queues_pass) {
    need();
    BridgeOptions options;
    options.queues = 2;
    options.mtu = 9000;
    Bridge bridge(options);
    Tcp tcp(bridge);
    both_ways(tcp, 4 << 20);
    assert_true(bridge.count(Direction::out).filtered < (4 << 20) / 1460); // they are in use
    const std::string shown = bridge.here.run("ip -d link show xdp0");
    assert_non_null(strstr(shown.c_str(), "numrxqueues 2"));
    check_balance(bridge);
}

TEST(a_path_dies_and_comes_back) {
    need();
    Bridge bridge;
    Tcp tcp(bridge);
    both_ways(tcp, 100000);
    bridge.cut();
    const std::vector<uint8_t> bytes = random_bytes(50000);
    Flow flow(tcp.a, tcp.b, bytes);
    assert_false(until([&] { return flow.step(); }, 300 * ns_per_ms));
    assert_int_equal(flow.arrived, 0);
    assert_true(bridge.count(Direction::out).lost > 0);
    bridge.mend();
    const uint64_t lost = bridge.count(Direction::out).lost + bridge.count(Direction::back).lost;
    assert_true(until([&] { return flow.step(); }));
    assert_int_equal(bridge.count(Direction::out).lost + bridge.count(Direction::back).lost, lost);
    check_balance(bridge);
}

TEST(options_change_while_traffic_runs) {
    need();
    Bridge bridge;
    Udp udp(bridge);
    assert_true(udp.arrives(10000));
    assert_int_equal(bridge.count(Direction::out).delayed, 0);
    wx::SimPathOptions options = bridge.get(Direction::out);
    options.delay.fixed = 50 * ns_per_ms;
    bridge.set(Direction::out, options);
    assert_int_equal(bridge.get(Direction::out).delay.fixed, 50 * ns_per_ms);
    const wx::Nanos begin = wx::monotonic_ns();
    assert_true(udp.arrives(10000));
    assert_true(wx::monotonic_ns() - begin >= 50 * ns_per_ms);
    assert_int_equal(bridge.count(Direction::out).delayed, 1);
    options.delay.fixed = 0;
    bridge.set(Direction::out, options);
    assert_true(udp.arrives(10000));
    assert_int_equal(bridge.count(Direction::out).delayed, 1);
    // From another thread, while frames pass.
    std::thread changer([&] {
        for (unsigned i = 0; i < 200; i++) {
            wx::SimPathOptions fresh = bridge.get(Direction::out);
            fresh.delay.fixed = i % 2 * ns_per_ms;
            bridge.set(Direction::out, fresh);
            usleep(500);
        }
    });
    Tcp tcp(bridge);
    both_ways(tcp, 2 << 20);
    changer.join();
    check_balance(bridge);
}

TEST(arp_and_ndp_pass_where_everything_else_is_lost) {
    need();
    BridgeOptions options;
    options.out.loss.ppm = options.back.loss.ppm = wx::sim_ppm;
    Bridge bridge(options);
    Udp udp(bridge);
    Raw raw(bridge);
    raw.ask(wx::no_vlan);
    assert_int_equal(raw.answer(5000), wx::no_vlan);
    assert_false(udp.arrives(100));
    const Fd six(make_socket(bridge.here, AF_INET6, SOCK_DGRAM));
    const Address to(there6, 7001);
    assert_int_equal(sendto(six, "x", 1, 0, to.any(), to.size), 1);
    assert_true(until([&] {
        const std::string found = bridge.here.run("ip -6 neigh show dev xdp0 to fd77::2");
        return strstr(found.c_str(), "lladdr") != nullptr;
    }));
    assert_true(bridge.count(Direction::out).lost > 0);
    const std::string shown = bridge.here.run("ip neigh show dev xdp0");
    assert_non_null(strstr(shown.c_str(), "10.77.0.2 lladdr"));
    bridge.drop_others(Direction::back, true);
    while (raw.answer(50) != -1) { // what the kernel asked for
    }
    raw.ask(wx::no_vlan);
    assert_int_equal(raw.answer(100), -1);
    assert_true(bridge.count(Direction::back).others_dropped > 0);
    bridge.drop_others(Direction::back, false);
    raw.ask(wx::no_vlan);
    assert_int_equal(raw.answer(5000), wx::no_vlan);
    check_balance(bridge);
}

TEST(here_is_tagged_and_there_is_not) {
    need();
    TemporaryFile file;
    BridgeOptions options;
    options.vlan = 300; // both bytes of the field
    options.capture = file.path;
    Bridge bridge(options);
    Raw raw(bridge);
    raw.ask(300);
    assert_int_equal(raw.answer(5000), 300);
    raw.ask(301);
    assert_int_equal(raw.answer(100), -1);
    raw.ask(wx::no_vlan);
    assert_int_equal(raw.answer(100), -1);
    assert_true(bridge.count(Direction::out).foreign >= 2);
    bridge.capture_end();
    size_t asked = 0, answered = 0;
    for (const std::string &frame : pcap_frames(file.path)) {
        asked += frame == raw.request(300);
        if (memcmp(frame.data(), raw.mac, 6) != 0) continue;
        assert_true(frame.compare(12, 6, std::string("\x81\x00\x01\x2C\x08\x06", 6)) == 0);
        answered++;
    }
    assert_int_equal(asked, 1);
    assert_int_equal(answered, 1);
    check_balance(bridge);
}

TEST(tags_are_carried_where_no_vlan_was_asked_for) {
    need();
    TemporaryFile file;
    Bridge bridge;
    Raw raw(bridge);
    bridge.capture(file.path);
    raw.ask(300); // there's kernel has no such vlan
    assert_int_equal(raw.answer(100), -1);
    raw.ask(wx::no_vlan);
    assert_int_equal(raw.answer(5000), wx::no_vlan);
    bridge.capture_end();
    raw.ask(wx::no_vlan);
    assert_int_equal(raw.answer(5000), wx::no_vlan);
    size_t tagged = 0, plain = 0;
    for (const std::string &frame : pcap_frames(file.path)) {
        tagged += frame == raw.request(300);
        plain += frame == raw.request(wx::no_vlan);
    }
    assert_int_equal(tagged, 1);
    assert_int_equal(plain, 1);
    assert_int_equal(bridge.count(Direction::out).foreign, 0);
    check_balance(bridge);
}

TEST(a_new_mac_is_not_told_to_anyone) {
    need();
    Bridge bridge;
    Udp udp(bridge);
    assert_true(udp.arrives(10000));
    bridge.change_mac("02:00:00:00:77:77");
    const uint64_t given = bridge.count(Direction::out).given;
    assert_false(udp.arrives(100)); // carried to the one that is no more
    assert_true(bridge.count(Direction::out).given > given);
    bridge.here.run("ip neigh flush dev xdp0");
    assert_true(udp.arrives(10000));
    const std::string shown = bridge.here.run("ip neigh show dev xdp0");
    assert_non_null(strstr(shown.c_str(), "02:00:00:00:77:77"));
    check_balance(bridge);
}

// No more are under way than a receiver holds, so each one that is missing is the bridge's loss.
TEST(small_frames_pass_at_speed) {
    need();
    constexpr unsigned total = 100000, window = 1000;
    Bridge bridge;
    Udp udp(bridge);
    assert_true(udp.arrives(10000));
    unsigned sent = 0, arrived = 0;
    char bytes[64] = {};
    const wx::Nanos begin = wx::monotonic_ns();
    while (arrived < total) {
        for (unsigned i = 0; i < 32 && sent < total && sent - arrived < window; i++) {
            if (send(udp.a, bytes, sizeof bytes, 0) != sizeof bytes) break;
            sent++;
        }
        const unsigned before = arrived;
        while (recv(udp.b, bytes, sizeof bytes, 0) > 0) arrived++;
        if (arrived != before || sent - arrived < window) continue;
        if (!readable(udp.b, 5000)) fail_msg("%u of %u arrived", arrived, sent);
    }
    const double seconds = static_cast<double>(wx::monotonic_ns() - begin) / static_cast<double>(ns_per_s);
    print_message("%.0f frames/s\n", total / seconds);
    check_balance(bridge);
}

TEST(what_finds_no_slot_is_counted) {
    need();
    BridgeOptions options;
    options.slots = 4;
    options.out.delay.fixed = 300 * ns_per_ms;
    Bridge bridge(options);
    Udp udp(bridge);
    for (unsigned i = 0; i < 10; i++) assert_int_equal(send(udp.a, "x", 1, 0), 1);
    unsigned came = 0;
    while (udp.came(came == 0 ? 10000 : 1000)) came++;
    if (came > 4) throw Late{came, 4}; // the first had left before the last was sent
    assert_int_equal(came, 4);
    assert_int_equal(bridge.count(Direction::out).overruns, 6);
    assert_int_equal(bridge.overruns(), 6);
}

TEST(what_the_ring_has_no_place_for_is_counted) {
    need();
    constexpr unsigned total = 40000;
    std::atomic<bool> go{false};
    BridgeOptions options;
    options.out.chosen.context = &go;
    options.out.chosen.drop = [](void *context, wx::ByteView, uint64_t,
                                 wx::Nanos) { // the thread stands still
        while (!*static_cast<std::atomic<bool> *>(context)) usleep(1000);
        return true;
    };
    Bridge bridge(options);
    Udp udp(bridge);
    for (unsigned sent = 0; sent < total; sent += send(udp.a, "x", 1, 0) == 1) {
    }
    go = true;
    assert_true(until([&] {
        const BridgeCount n = bridge.count(Direction::out);
        return n.taken + n.overruns >= total;
    }));
    assert_true(bridge.count(Direction::out).overruns > 0);
    assert_true(bridge.count(Direction::out).lost > 0);
}

TEST(nothing_is_left) {
    need();
    { Bridge first; } // whatever is made once
    const size_t descriptors = open_descriptors(), before = threads();
    TemporaryFile file;
    ino_t spaces[3];
    {
        BridgeOptions options;
        options.capture = file.path;
        options.out.delay.fixed = ns_per_s; // something under way at the end
        Bridge bridge(options);
        const Namespace *all[] = {&bridge.here, &bridge.there, &bridge.middle};
        for (unsigned i = 0; i < 3; i++) {
            struct stat found = {};
            assert_int_equal(fstat(all[i]->fd, &found), 0);
            spaces[i] = found.st_ino;
        }
        Udp udp(bridge);
        if (udp.arrives(50)) throw Late{1000, 50};
        assert_true(bridge.count(Direction::out).under_way > 0);
        assert_int_equal(threads(), before + 1);
    }
    assert_int_equal(open_descriptors(), descriptors);
    assert_int_equal(threads(), before);
    struct stat now = {};
    assert_int_equal(stat("/proc/thread-self/ns/net", &now), 0);
    for (ino_t space : spaces) assert_true(now.st_ino != space);
}

TESTS_BESIDE("bridge", 4)
