// SPDX-License-Identifier: MIT
// What the XDP program does with a packet, by running it in the kernel over packets that this test makes
// (BPF_PROG_TEST_RUN): verdict, the one counter that moved, and the metadata, for each form of header, for
// each point at which a packet can be cut, and for tuples that are off by one bit. The variant with NIC
// timestamps is bound to its device, which BPF_PROG_TEST_RUN refuses: it is attached, and the packets come
// over a veth pair.
#include "../../lib/link/xdp/program.h"
#include "../../lib/link/xdp/xsk.h"
#include "../base/check.h"
#include "../base/registry.h"
#include "../support/netns.h"
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_packet.h>
#include <memory>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <vector>

using namespace wx;
using namespace netns;

namespace {

using Bytes = std::string;

Bytes be16(unsigned v) { return Bytes{static_cast<char>(v >> 8), static_cast<char>(v)}; }
Bytes zeros(size_t n) { return Bytes(n, '\0'); }
Bytes byte(unsigned v) { return Bytes(1, static_cast<char>(v)); }

constexpr unsigned no_tag = 0x10000; // of 16 bits none

Bytes ethernet(unsigned type, const Bytes &payload, unsigned tag = no_tag, unsigned outer = no_tag,
               unsigned outer_type = 0x8100) {
    Bytes frame = "\x02" + zeros(4) + "\x01\x02" + zeros(4) + "\x02";
    if (outer != no_tag) frame += be16(outer_type) + be16(outer);
    if (tag != no_tag) frame += be16(0x8100) + be16(tag);
    return frame + be16(type) + payload;
}

struct Ip {
    bool six = false;
    unsigned protocol = 6;
    Bytes local, remote;  // of the connection
    bool from_us = false; // as in a quote
    Bytes options;        // IPv4, a multiple of 4
    unsigned fragment = 0;
    Bytes extensions; // IPv6, the first of which is of this kind
    unsigned first = 6;
};
Ip ip_of(bool six) {
    Ip ip;
    ip.six = six;
    ip.local = six ? Bytes("\xfd\x77") + zeros(13) + "\x01" : Bytes("\x0a\x4d\x00\x01", 4);
    ip.remote = six ? Bytes("\xfd\x77") + zeros(13) + "\x02" : Bytes("\x0a\x4d\x00\x02", 4);
    return ip;
}
Bytes packet(const Ip &ip, const Bytes &payload) {
    const Bytes ends = ip.from_us ? ip.local + ip.remote : ip.remote + ip.local;
    if (ip.six) {
        const unsigned next = ip.extensions.empty() ? ip.protocol : ip.first;
        return Bytes("\x60") + zeros(3) + be16(static_cast<unsigned>(ip.extensions.size() + payload.size())) +
               byte(next) + byte(64) + ends + ip.extensions + payload;
    }
    const size_t head = 20 + ip.options.size();
    return byte(0x40u | static_cast<unsigned>(head / 4)) + zeros(1) +
           be16(static_cast<unsigned>(head + payload.size())) + zeros(2) + be16(ip.fragment) + byte(64) +
           byte(ip.protocol) + zeros(2) + ends + ip.options + payload;
}
constexpr unsigned our_port = 40001, their_port = 443;
Bytes tcp(bool from_us = false, size_t options = 0, const Bytes &payload = "x") {
    const Bytes ports = from_us ? be16(our_port) + be16(their_port) : be16(their_port) + be16(our_port);
    return ports + zeros(8) + byte(static_cast<unsigned>((20 + options) / 4) << 4) + zeros(7 + options) +
           payload;
}
Bytes udp() { return be16(their_port) + be16(our_port) + be16(8) + zeros(2); }
Bytes tcp_packet(bool six) { return packet(ip_of(six), tcp()); }
unsigned type_of(bool six) { return six ? 0x86DD : 0x0800; }

Bytes quote(bool six) {
    Ip ip = ip_of(six);
    ip.from_us = true;
    return packet(ip, tcp(true));
}
Bytes icmp(bool six, unsigned type, const Bytes &quoted) {
    Ip ip = ip_of(six);
    ip.remote.back() = 99; // a router
    ip.protocol = six ? 58 : 1;
    return packet(ip, byte(type) + zeros(7) + quoted);
}
Bytes extension(unsigned kind, unsigned next, unsigned units = 0, unsigned fragment = 0) {
    if (kind == 44) return byte(next) + zeros(1) + be16(fragment) + zeros(4);
    if (kind == 51) return byte(next) + byte(units + 1) + zeros(10 + 4 * units);
    return byte(next) + byte(units) + zeros(6 + 8 * units);
}
// Extension headers of these kinds before TCP (or what `last` is).
Ip with_extensions(const std::vector<unsigned> &kinds, unsigned last = 6, unsigned units = 0) {
    Ip ip = ip_of(true);
    ip.protocol = last;
    if (!kinds.empty()) ip.first = kinds[0];
    for (size_t i = 0; i < kinds.size(); i++)
        ip.extensions += extension(kinds[i], i + 1 < kinds.size() ? kinds[i + 1] : last, units);
    return ip;
}

TcpTuple tuple_of(bool six) {
    const Ip ip = ip_of(six);
    TcpTuple tuple;
    tuple.local = ip_address(reinterpret_cast<const uint8_t *>(ip.local.data()), six ? 6 : 4);
    tuple.remote = ip_address(reinterpret_cast<const uint8_t *>(ip.remote.data()), six ? 6 : 4);
    tuple.local_port = our_port;
    tuple.remote_port = their_port;
    return tuple;
}

uint64_t monotonic_ns() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return static_cast<uint64_t>(now.tv_sec) * 1000000000u + static_cast<uint64_t>(now.tv_nsec);
}

// What one packet came to.
struct Outcome {
    bool redirected = false;
    Bytes packet;
    filter_metadata meta = {};
};

// A packet's way to the program: a run of it by itself, or from the other end of the veth pair to where it is
// attached, and what it redirects out of an AF_XDP socket.
struct Way {
    virtual ~Way() = default;
    virtual int socket() const = 0;
    virtual Outcome send(const XdpProgram &program, const Bytes &frame, const char *what) = 0;
};

struct TestRun : Way {
    int fd = ::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    ~TestRun() override { close(fd); }
    int socket() const override { return fd; }
    Outcome send(const XdpProgram &program, const Bytes &frame, const char *what) override {
        char out[4096];
        bpf_test_run_opts opts = {};
        opts.sz = sizeof opts;
        opts.data_in = frame.data();
        opts.data_size_in = static_cast<uint32_t>(frame.size());
        opts.data_out = out;
        opts.data_size_out = sizeof out;
        opts.repeat = 1;
        if (bpf_prog_test_run_opts(program.program_fd, &opts) != 0)
            fail_msg("%s: BPF_PROG_TEST_RUN: %s", what, strerror(errno));
        if (opts.retval != XDP_PASS && opts.retval != XDP_REDIRECT)
            fail_msg("%s: verdict %u", what, opts.retval);
        Outcome outcome;
        outcome.redirected = opts.retval == XDP_REDIRECT;
        const size_t room = outcome.redirected ? sizeof outcome.meta : 0;
        if (opts.data_size_out < room) fail_msg("%s: no room", what);
        memcpy(&outcome.meta, out, room);
        outcome.packet.assign(out + room, opts.data_size_out - room);
        return outcome;
    }
};

struct Wire : Way {
    Umem umem;
    Xsk x;
    int peer = -1;
    explicit Wire(const Veth &veth, bool generic) {
        // Nothing but what this test sends is to be counted.
        veth.there.run("echo 1 > /proc/sys/net/ipv6/conf/peer0/disable_ipv6");
        Inside inside(veth.there);
        peer = ::socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
        sockaddr_ll address = {};
        address.sll_family = AF_PACKET;
        address.sll_ifindex = static_cast<int>(if_nametoindex("peer0"));
        assert_int_equal(bind(peer, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
        Inside back(veth.here);
        ErrorText error;
        UmemOptions memory;
        memory.frames = 256;
        XskOptions options;
        options.interface = "xdp0";
        options.ifindex = if_nametoindex("xdp0");
        options.generic = generic;
        if (umem_open(&umem, memory, &error) != WSXDP_OK) fail_msg("%s", error.text);
        if (xsk_open(&x, &umem, options, nullptr, &error) != WSXDP_OK) fail_msg("%s", error.text);
        xsk_refill(&x, 0);
    }
    ~Wire() override {
        xsk_close(&x);
        umem_close(&umem);
        close(peer);
    }
    int socket() const override { return x.fd; }
    static uint64_t counted(const XdpProgram &program) {
        uint64_t counters[FILTER_COUNTERS], sum = 0;
        assert_int_equal(xdp_program_counters(&program, counters), WSXDP_OK);
        for (uint64_t counter : counters) sum += counter;
        return sum;
    }
    Outcome send(const XdpProgram &program, const Bytes &frame, const char *what) override {
        const uint64_t before = counted(program), end = monotonic_ns() + 10000000000;
        if (::send(peer, frame.data(), frame.size(), 0) != static_cast<ssize_t>(frame.size()))
            fail_msg("%s: send: %s", what, strerror(errno));
        while (counted(program) == before)
            if (monotonic_ns() > end) fail_msg("%s: it has not arrived", what);
        Outcome outcome;
        uint64_t counters[FILTER_COUNTERS];
        assert_int_equal(xdp_program_counters(&program, counters), WSXDP_OK);
        // Of the redirected it is known by the counters that one must come; of others that none may.
        outcome.redirected = counters[FILTER_TCP] + counters[FILTER_ICMP] > redirected;
        redirected = counters[FILTER_TCP] + counters[FILTER_ICMP];
        pollfd wait = {x.fd, POLLIN, 0};
        poll(&wait, 1, outcome.redirected ? 1000 : 0);
        XskDescriptor got;
        if (xsk_receive(&x, &got, 1) != (outcome.redirected ? 1u : 0u)) fail_msg("%s: not redirected", what);
        if (!outcome.redirected) {
            outcome.packet = frame;
            return outcome;
        }
        const uint8_t *at = umem.base + got.address;
        memcpy(&outcome.meta, at - sizeof outcome.meta, sizeof outcome.meta);
        outcome.packet.assign(reinterpret_cast<const char *>(at), got.size);
        umem_put(&umem, umem_frame_of(&umem, got.address));
        xsk_refill(&x, 0);
        return outcome;
    }
    uint64_t redirected = 0;
};

enum class By { run, wire, wire_generic, wire_stamps };

// A program with a socket on queue 0 and both connections known.
struct Filter {
    explicit Filter(By by = By::run, uint16_t vlan = FILTER_NO_VLAN) : inside(veth.here) {
        XdpProgramOptions options;
        options.interface = "xdp0";
        options.ifindex = if_nametoindex("xdp0");
        options.nic_timestamps = by == By::wire_stamps;
        options.attach = by == By::wire_generic ? XdpAttach::generic : XdpAttach::driver;
        options.tuples = 8;
        ErrorText error;
        if (by != By::run) veth.there.run("sleep 0.01"); // what the link coming up has said is on its way
        if ((by == By::run ? xdp_program_load : xdp_program_open)(&program, options, &error) != WSXDP_OK)
            fail_msg("%s", error.text);
        if (by == By::run)
            way = std::make_unique<TestRun>();
        else
            way = std::make_unique<Wire>(veth, by == By::wire_generic);
        assert_int_equal(xdp_program_set_socket(&program, 0, way->socket(), &error), WSXDP_OK);
        for (bool six : {false, true})
            assert_int_equal(xdp_program_add(&program, tuple_of(six), vlan, &error), WSXDP_OK);
    }
    ~Filter() {
        way.reset();
        xdp_program_close(&program);
    }
    Filter(const Filter &) = delete;
    Filter &operator=(const Filter &) = delete;

    // Sends it and checks that nothing but `wanted` was counted, and that packet and metadata are right.
    void run(const Bytes &frame, filter_counter wanted, const char *what) {
        uint64_t before[FILTER_COUNTERS], after[FILTER_COUNTERS];
        assert_int_equal(xdp_program_counters(&program, before), WSXDP_OK);
        const uint64_t start = monotonic_ns();
        const Outcome outcome = way->send(program, frame, what);
        const uint64_t stop = monotonic_ns();
        assert_int_equal(xdp_program_counters(&program, after), WSXDP_OK);
        for (int i = 0; i < FILTER_COUNTERS; i++)
            if (after[i] - before[i] != (i == wanted ? 1 : 0))
                fail_msg("%s: counter %d moved by %d, wanted %d to", what, i,
                         static_cast<int>(after[i] - before[i]), static_cast<int>(wanted));
        const bool ours = wanted == FILTER_TCP || wanted == FILTER_ICMP;
        if (outcome.redirected != ours) fail_msg("%s: redirected: %d", what, outcome.redirected);
        if (outcome.packet != frame) fail_msg("%s: the packet has changed", what);
        const filter_metadata &meta = outcome.meta;
        if (ours && (meta.magic != FILTER_MAGIC || meta.reserved != 0 || meta.nic_ns != 0 ||
                     meta.entry_ns < start || meta.entry_ns > stop))
            fail_msg("%s: the metadata is wrong", what);
    }
    // Whole as `wanted`, and cut at each place: never ours, never a fault.
    void run_cut(const Bytes &frame, filter_counter wanted, const char *what) {
        run(frame, wanted, what);
        for (size_t size = 14; size < frame.size(); size++) {
            const Bytes where = Bytes(what) + ", cut at " + std::to_string(size);
            const bool tag = size < 18 && frame[12] == '\x81';
            const bool other = wanted == FILTER_NOT_IP || (wanted == FILTER_VLAN && size >= 18 && !tag);
            run(frame.substr(0, size), other ? wanted : FILTER_MALFORMED, where.c_str());
        }
    }

    Veth veth;
    Inside inside;
    XdpProgram program;
    std::unique_ptr<Way> way;
};

} // namespace

static void plain_forms(By by) {
    need();
    Filter filter(by);
    for (bool six : {false, true}) {
        const unsigned type = type_of(six);
        for (size_t options = 0; options <= 40; options += 4)
            filter.run_cut(ethernet(type, packet(ip_of(six), tcp(false, options))), FILTER_TCP,
                           "TCP options");
        filter.run_cut(ethernet(type, packet(ip_of(six), tcp(false, 0, ""))), FILTER_TCP, "no payload");
        filter.run(ethernet(type, tcp_packet(six)) + zeros(20), FILTER_TCP, "padding");
        filter.run(ethernet(type, packet(ip_of(six), tcp(false, 12, zeros(1400)))), FILTER_TCP,
                   "full segment");
        for (unsigned words = 0; words < 16; words++) {
            Bytes segment = tcp();
            segment[12] = static_cast<char>(words << 4);
            filter.run(ethernet(type, packet(ip_of(six), segment)),
                       words == 5 ? FILTER_TCP : FILTER_MALFORMED, "data offset");
        }
        Ip other = ip_of(six);
        other.protocol = 17;
        filter.run(ethernet(type, packet(other, udp())), FILTER_OTHER, "UDP with the same numbers");
        for (unsigned protocol : {0u, 1u, 2u, 47u, 59u, 132u, 255u}) {
            if (six && protocol == 0) continue;
            other.protocol = protocol;
            filter.run(ethernet(type, packet(other, tcp())), FILTER_OTHER, "another protocol");
        }
        Bytes version = ethernet(type, tcp_packet(six));
        for (unsigned v = 0; v < 16; v++) {
            version[14] = static_cast<char>(v << 4 | (six ? 0 : 5));
            filter.run(version, v == (six ? 6 : 4) ? FILTER_TCP : FILTER_MALFORMED, "version");
        }
        filter.run(ethernet(type_of(!six), tcp_packet(six)), FILTER_MALFORMED, "type of the other version");
        Bytes length = ethernet(type, tcp_packet(six));
        const size_t stated = six ? 14 + 4 : 14 + 2;
        length.replace(stated, 2, be16(0));
        filter.run(length, FILTER_MALFORMED, "stated length 0");
        length.replace(stated, 2, be16(0xFFFF));
        filter.run(length, FILTER_MALFORMED, "stated length 65535");
    }
    filter.run_cut(ethernet(0x0806, zeros(28)), FILTER_NOT_IP, "ARP");
    filter.run(ethernet(0x0026, zeros(40)), FILTER_NOT_IP, "802.3 length");
    filter.run(ethernet(0x88CC, tcp_packet(false)), FILTER_NOT_IP, "LLDP");
}
TEST(a_segment_of_a_known_tuple_is_redirected) { plain_forms(By::run); }

TEST(the_variant_with_nic_timestamps_does_the_same) { plain_forms(By::wire_stamps); }
TEST(packets_and_metadata_arrive_in_driver_mode) { plain_forms(By::wire); }
TEST(packets_and_metadata_arrive_in_generic_mode) { plain_forms(By::wire_generic); }

TEST(ip4_options_of_each_length) {
    need();
    Filter filter;
    for (size_t size = 0; size <= 40; size += 4) {
        Ip ip = ip_of(false);
        ip.options = Bytes(size, '\x01');
        filter.run_cut(ethernet(0x0800, packet(ip, tcp())), FILTER_TCP, "IPv4 options");
    }
    for (unsigned words = 0; words < 5; words++) {
        Bytes frame = ethernet(0x0800, tcp_packet(false));
        frame[14] = static_cast<char>(0x40 | words);
        filter.run(frame, FILTER_MALFORMED, "header shorter than a header");
    }
}

TEST(ip6_extension_headers) {
    need();
    Filter filter;
    const auto frame = [](const Ip &ip, const Bytes &payload) {
        return ethernet(0x86DD, packet(ip, payload));
    };
    for (unsigned kind : {0u, 43u, 44u, 51u, 60u}) {
        filter.run_cut(frame(with_extensions({kind}), tcp()), FILTER_TCP, "one extension");
        for (unsigned units : {1u, 7u, 100u, 253u})
            if (kind != 44)
                filter.run(frame(with_extensions({kind}, 6, units), tcp()), FILTER_TCP, "long extension");
        filter.run(frame(with_extensions({kind}, 17), udp()), FILTER_OTHER, "UDP behind an extension");
        filter.run(frame(with_extensions({kind}, 59), ""), FILTER_OTHER, "nothing behind an extension");
        for (size_t count = 1; count <= 12; count++)
            filter.run(frame(with_extensions(std::vector<unsigned>(count, kind)), tcp()),
                       count <= 8 ? FILTER_TCP : FILTER_OTHER, "a chain");
    }
    filter.run_cut(frame(with_extensions({0, 60, 43, 44, 51, 60}), tcp()), FILTER_TCP, "all of them");
    Bytes beyond = frame(with_extensions({60}), tcp());
    beyond[14 + 41] = 9;
    filter.run(beyond, FILTER_MALFORMED, "an extension longer than the packet");
    Bytes last = frame(with_extensions({60, 60, 60, 60, 60, 60, 60, 60}, 6, 15), tcp());
    last[14 + 40 + 7 * 128 + 1] = static_cast<char>(255);
    filter.run(last, FILTER_MALFORMED, "the last of a chain leads out of the packet");
    for (unsigned kind : {50u, 135u, 139u, 140u, 253u})
        filter.run(frame(with_extensions({kind}), tcp()), FILTER_OTHER, "a header that is not walked");
}

TEST(fragments_are_passed) {
    need();
    Filter filter;
    for (unsigned fragment : {0x2000u, 0x2001u, 0x3FFFu, 0x0001u, 0x0100u, 0x1FFFu, 0x6000u}) {
        for (unsigned protocol : {6u, 1u}) {
            Ip ip = ip_of(false);
            ip.fragment = fragment;
            ip.protocol = protocol;
            filter.run(ethernet(0x0800, packet(ip, tcp())), FILTER_FRAGMENT, "IPv4 fragment");
        }
    }
    Ip whole = ip_of(false);
    whole.fragment = 0x4000;
    filter.run(ethernet(0x0800, packet(whole, tcp())), FILTER_TCP, "don't fragment");
    const struct {
        unsigned fragment;
        filter_counter wanted;
    } rows[] = {{0x0001, FILTER_FRAGMENT}, {0x0008, FILTER_FRAGMENT}, {0x0009, FILTER_FRAGMENT},
                {0xFFF8, FILTER_FRAGMENT}, {0xFFF9, FILTER_FRAGMENT}, {0x8000, FILTER_FRAGMENT},
                {0x0000, FILTER_TCP},      {0x0006, FILTER_TCP}}; // reserved bits say nothing
    for (const auto &row : rows)
        for (bool behind : {false, true}) {
            Ip ip = ip_of(true);
            ip.first = behind ? 60 : 44;
            ip.extensions = (behind ? extension(60, 44) : "") + extension(44, 6, 0, row.fragment);
            filter.run(ethernet(0x86DD, packet(ip, tcp())), row.wanted, "IPv6 fragment");
        }
}

TEST(a_vlan_tag_must_be_the_connections) {
    need();
    for (unsigned connection : {static_cast<unsigned>(FILTER_NO_VLAN), 0u, 5u, 4095u}) {
        Filter filter(By::run, static_cast<uint16_t>(connection));
        for (bool six : {false, true}) {
            const Bytes ours[] = {tcp_packet(six), icmp(six, 3, quote(six))};
            const filter_counter redirected[] = {FILTER_TCP, FILTER_ICMP};
            for (int i = 0; i < 2; i++) {
                const unsigned type = type_of(six);
                filter.run(ethernet(type, ours[i]), redirected[i], "no tag, or the NIC has taken it");
                for (unsigned tag : {0u, 1u, 4u, 5u, 6u, 4095u})
                    for (unsigned priority : {0u, 0xE000u, 0x1000u})
                        filter.run(ethernet(type, ours[i], tag | priority),
                                   tag == connection ? redirected[i] : FILTER_VLAN, "one tag");
                for (unsigned outer : {0x8100u, 0x88A8u})
                    filter.run(ethernet(type, ours[i], 5, 5, outer), FILTER_VLAN, "two tags");
            }
            if (connection == 5) filter.run_cut(ethernet(type_of(six), ours[0], 5), FILTER_TCP, "a tag, cut");
        }
        filter.run(ethernet(0x0806, zeros(28), 5), FILTER_NOT_IP, "ARP with a tag");
        Bytes service = ethernet(0x0800, tcp_packet(false), 5);
        service.replace(12, 2, be16(0x88A8));
        filter.run(service, FILTER_NOT_IP, "a service tag alone");
        Ip other = ip_of(false);
        other.remote.back() = 77;
        filter.run(ethernet(0x0800, packet(other, tcp()), 9), FILTER_UNKNOWN_TUPLE, "unknown with a tag");
    }
}

// Each bit of addresses and ports of each version.
TEST(a_tuple_that_is_off_by_one_bit_is_not_ours) {
    need();
    Filter filter;
    for (bool six : {false, true}) {
        const size_t head = 14 + (six ? 40 : 20), addresses = 14 + (six ? 8 : 12);
        const Bytes good = ethernet(type_of(six), tcp_packet(six));
        const Bytes error = ethernet(type_of(six), icmp(six, 3, quote(six)));
        const size_t quoted = head + 8 - 14;
        for (size_t at = addresses; at < head + 4; at++)
            for (int bit = 0; bit < 8; bit++) {
                Bytes frame = good;
                frame[at] = static_cast<char>(frame[at] ^ 1 << bit);
                filter.run(frame, FILTER_UNKNOWN_TUPLE, "one bit of the tuple");
                frame = error;
                frame[quoted + at] = static_cast<char>(frame[quoted + at] ^ 1 << bit);
                filter.run(frame, FILTER_UNKNOWN_TUPLE, "one bit of a quoted tuple");
            }
        Ip reverse = ip_of(six);
        reverse.from_us = true;
        filter.run(ethernet(type_of(six), packet(reverse, tcp(true))), FILTER_UNKNOWN_TUPLE,
                   "what we sent, come back");
    }
}

TEST(icmp_errors_that_quote_us_are_redirected) {
    need();
    Filter filter;
    for (bool six : {false, true}) {
        const unsigned kind = type_of(six);
        for (unsigned type = 0; type < 256; type++) {
            const bool error =
                six ? type >= 1 && type <= 4 : type == 3 || type == 4 || type == 11 || type == 12;
            filter.run(ethernet(kind, icmp(six, type, quote(six))), error ? FILTER_ICMP : FILTER_OTHER,
                       "each type");
        }
        Ip quoted = ip_of(six);
        quoted.from_us = true;
        const Bytes eight = packet(quoted, tcp(true)).substr(0, (six ? 40 : 20) + 8);
        filter.run_cut(ethernet(kind, icmp(six, 3, eight)), FILTER_ICMP, "eight bytes of TCP");
        for (size_t size = 0; size < eight.size(); size++)
            filter.run(ethernet(kind, icmp(six, 3, eight.substr(0, size))), FILTER_MALFORMED, "a cut quote");
        for (size_t size = 0; size < 8; size++) {
            Ip ip = ip_of(six);
            ip.protocol = six ? 58 : 1;
            filter.run(ethernet(kind, packet(ip, Bytes(size, '\x03'))), FILTER_MALFORMED, "ICMP cut");
        }
        quoted.protocol = 17;
        filter.run(ethernet(kind, icmp(six, 3, packet(quoted, tcp(true)))), FILTER_OTHER, "quotes UDP");
        quoted.protocol = 6;
        quoted.from_us = false;
        filter.run(ethernet(kind, icmp(six, 3, packet(quoted, tcp()))), FILTER_UNKNOWN_TUPLE,
                   "quotes the peer's segment");
        Bytes version = ethernet(kind, icmp(six, 3, quote(six)));
        version[14 + (six ? 40 : 20) + 8] = static_cast<char>(six ? 0x45 : 0x60);
        filter.run(version, FILTER_MALFORMED, "quotes another version");
        filter.run(ethernet(kind, icmp(six, 3, quote(!six))), FILTER_MALFORMED, "quotes the other version");
    }
    for (size_t size = 0; size <= 40; size += 4) {
        Ip quoted = ip_of(false);
        quoted.from_us = true;
        quoted.options = Bytes(size, '\x01');
        filter.run_cut(ethernet(0x0800, icmp(false, 11, packet(quoted, tcp(true)))), FILTER_ICMP,
                       "quotes options");
    }
    for (unsigned fragment : {0u, 0x2000u, 0x2001u, 0x0001u, 0x1FFFu}) {
        Ip quoted = ip_of(false);
        quoted.from_us = true;
        quoted.fragment = fragment;
        filter.run(ethernet(0x0800, icmp(false, 3, packet(quoted, tcp(true)))),
                   fragment & 0x1FFF ? FILTER_FRAGMENT : FILTER_ICMP, "quotes a fragment");
    }
}

TEST(icmp6_errors_quote_extension_headers) {
    need();
    Filter filter;
    for (const std::vector<unsigned> &kinds :
         {std::vector<unsigned>{0}, {43}, {44}, {51}, {60}, {0, 60, 43, 44, 51, 60}}) {
        Ip quoted = with_extensions(kinds);
        quoted.from_us = true;
        filter.run_cut(ethernet(0x86DD, icmp(true, 1, packet(quoted, tcp(true)))), FILTER_ICMP,
                       "quotes extensions");
        Ip outer = with_extensions(kinds, 58);
        filter.run_cut(ethernet(0x86DD, packet(outer, byte(2) + zeros(7) + quote(true))), FILTER_ICMP,
                       "an error behind extensions");
    }
    for (unsigned fragment : {0x0000u, 0x0001u, 0x0008u, 0xFFF9u}) {
        Ip quoted = ip_of(true);
        quoted.from_us = true;
        quoted.first = 44;
        quoted.extensions = extension(44, 6, 0, fragment);
        filter.run(ethernet(0x86DD, icmp(true, 3, packet(quoted, tcp(true)))),
                   fragment & 0xFFF8 ? FILTER_FRAGMENT : FILTER_ICMP, "quotes an IPv6 fragment");
    }
}

TEST(a_queue_without_a_socket_is_counted_and_passed) {
    need();
    Filter filter;
    ErrorText error;
    assert_int_equal(xdp_program_set_socket(&filter.program, 0, -1, &error), WSXDP_OK);
    assert_int_equal(xdp_program_set_socket(&filter.program, 0, -1, &error), WSXDP_OK);
    for (bool six : {false, true}) {
        filter.run(ethernet(type_of(six), tcp_packet(six)), FILTER_NO_SOCKET, "TCP");
        filter.run(ethernet(type_of(six), icmp(six, 3, quote(six))), FILTER_NO_SOCKET, "ICMP");
        filter.run(ethernet(type_of(six), icmp(six, 200, quote(six))), FILTER_OTHER, "ICMP, other");
    }
    assert_int_equal(xdp_program_set_socket(&filter.program, 0, filter.way->socket(), &error), WSXDP_OK);
    filter.run(ethernet(0x0800, tcp_packet(false)), FILTER_TCP, "a socket again");
    filter.way = std::make_unique<TestRun>(); // closes the one that was set
    filter.run(ethernet(0x0800, tcp_packet(false)), FILTER_NO_SOCKET, "a socket that was closed");
}

TEST(a_removed_tuple_is_the_kernels_again) {
    need();
    Filter filter;
    for (bool six : {false, true}) {
        assert_true(xdp_program_has(&filter.program, tuple_of(six)));
        xdp_program_remove(&filter.program, tuple_of(six));
        assert_false(xdp_program_has(&filter.program, tuple_of(six)));
        filter.run(ethernet(type_of(six), tcp_packet(six)), FILTER_UNKNOWN_TUPLE, "removed");
        filter.run(ethernet(type_of(six), icmp(six, 3, quote(six))), FILTER_UNKNOWN_TUPLE, "removed, quoted");
    }
}

// Bytes without sense, and good packets with some of them changed: every one ends in exactly one counter.
TEST(noise_is_never_a_fault) {
    need();
    Filter filter;
    const char *given = getenv("WSXDP_SEED");
    const uint64_t seed = given == nullptr ? 1 : strtoull(given, nullptr, 10);
    print_message("SEED=%llu\n", static_cast<unsigned long long>(seed));
    uint64_t state = seed * 0x9E3779B97F4A7C15u + 1;
    const auto draw = [&state](uint64_t below) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        return state % below;
    };
    const Bytes models[] = {ethernet(0x0800, tcp_packet(false)), ethernet(0x86DD, tcp_packet(true)),
                            ethernet(0x0800, icmp(false, 3, quote(false)), 5),
                            ethernet(0x86DD, packet(with_extensions({0, 60, 43, 44, 51, 60}), tcp()))};
    uint64_t total = 0;
    for (int i = 0; i < 20000; i++) {
        Bytes frame = models[draw(4)];
        for (uint64_t n = draw(6) + 1; n > 0; n--)
            frame[12 + draw(frame.size() - 12)] = static_cast<char>(draw(256));
        frame.resize(14 + draw(frame.size() - 13));
        bpf_test_run_opts opts = {};
        opts.sz = sizeof opts;
        opts.data_in = frame.data();
        opts.data_size_in = static_cast<uint32_t>(frame.size());
        assert_int_equal(bpf_prog_test_run_opts(filter.program.program_fd, &opts), 0);
        assert_true(opts.retval == XDP_PASS || opts.retval == XDP_REDIRECT);
        total++;
    }
    uint64_t counters[FILTER_COUNTERS];
    assert_int_equal(xdp_program_counters(&filter.program, counters), WSXDP_OK);
    for (uint64_t counter : counters) total -= counter;
    assert_int_equal(total, 0);
}

TESTS("filter")
