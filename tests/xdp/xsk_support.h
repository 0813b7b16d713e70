// SPDX-License-Identifier: MIT
// What tests of AF_XDP sockets share: the smallest XDP program that leads frames to them, written here in its
// instructions so that these tests rest on nothing but the kernel; frames with a number, which can be told
// from each other; and the other end, an AF_PACKET socket on peer0.
#pragma once
#include "../../lib/link/xdp/xsk.h"
#include "../base/check.h"
#include "../support/netns.h"
#include <arpa/inet.h>
#include <cstdlib>
#include <cstring>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_packet.h>
#include <memory>
#include <net/if.h>
#include <poll.h>
#include <set>
#include <string>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#include <vector>

namespace xsk_test {

constexpr uint16_t frame_type = 0x88B5; // IEEE 802, for local experiments: nothing else sends it
constexpr size_t head_bytes = 14;
constexpr size_t frame_min = 60;

inline uint64_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}
// A frame of `bytes` that carries a number, and a pattern that follows from it.
inline void write_frame(uint8_t *out, uint32_t number, size_t bytes) {
    memset(out, 0xFF, 6); // to all, so that no address need be known
    memset(out + 6, 0x02, 6);
    out[12] = frame_type >> 8;
    out[13] = frame_type & 0xFF;
    memcpy(out + head_bytes, &number, 4);
    for (size_t i = head_bytes + 4; i < bytes; i++) out[i] = static_cast<uint8_t>(number * 7 + i);
}
// Its number; fails the test when it is not as it was written.
inline uint32_t read_frame(const uint8_t *in, size_t bytes) {
    uint32_t number = 0;
    assert_true(bytes >= head_bytes + 4);
    assert_int_equal(in[12] << 8 | in[13], frame_type);
    memcpy(&number, in + head_bytes, 4);
    for (size_t i = head_bytes + 4; i < bytes; i++)
        if (in[i] != static_cast<uint8_t>(number * 7 + i))
            fail_msg("frame %u of %zu bytes is wrong at %zu", number, bytes, i);
    return number;
}

inline int bpf(int command, bpf_attr *attr) {
    return static_cast<int>(syscall(SYS_bpf, command, attr, sizeof *attr));
}

// Leads frames of our type to the socket of the queue they came by; all others, and those of a queue without
// a socket, go on to the kernel.
struct Redirect {
    int map = -1, program = -1, link = -1;
    Redirect(unsigned ifindex, bool generic, unsigned queues = 4) {
        bpf_attr attr;
        memset(&attr, 0, sizeof attr);
        attr.map_type = BPF_MAP_TYPE_XSKMAP;
        attr.key_size = attr.value_size = 4;
        attr.max_entries = queues;
        map = bpf(BPF_MAP_CREATE, &attr);
        if (map < 0) fail_msg("XSKMAP: %s", strerror(errno));
        const bpf_insn code[] = {
            {BPF_LDX | BPF_MEM | BPF_W, 2, 1, 0, 0},    // r2 = data
            {BPF_LDX | BPF_MEM | BPF_W, 3, 1, 4, 0},    // r3 = data_end
            {BPF_ALU64 | BPF_MOV | BPF_X, 4, 2, 0, 0},  // r4 = r2
            {BPF_ALU64 | BPF_ADD | BPF_K, 4, 0, 0, 14}, // r4 += 14
            {BPF_JMP | BPF_JGT | BPF_X, 4, 3, 8, 0},    // if r4 > r3 goto pass
            {BPF_LDX | BPF_MEM | BPF_H, 4, 2, 12, 0},   // r4 = type
            {BPF_JMP | BPF_JNE | BPF_K, 4, 0, 6, htons(frame_type)},
            {BPF_LDX | BPF_MEM | BPF_W, 2, 1, 16, 0}, // r2 = rx_queue_index
            {BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, map},
            {0, 0, 0, 0, 0},
            {BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, XDP_PASS},
            {BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_redirect_map},
            {BPF_JMP | BPF_JA, 0, 0, 1, 0},
            {BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS}, // pass
            {BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
        };
        char log[4096] = "";
        memset(&attr, 0, sizeof attr);
        attr.prog_type = BPF_PROG_TYPE_XDP;
        attr.insns = reinterpret_cast<uint64_t>(code);
        attr.insn_cnt = sizeof code / sizeof code[0];
        attr.license = reinterpret_cast<uint64_t>("MIT");
        attr.log_buf = reinterpret_cast<uint64_t>(log);
        attr.log_size = sizeof log;
        attr.log_level = 1;
        program = bpf(BPF_PROG_LOAD, &attr);
        if (program < 0) fail_msg("program: %s: %s", strerror(errno), log);
        memset(&attr, 0, sizeof attr);
        attr.link_create.prog_fd = static_cast<uint32_t>(program);
        attr.link_create.target_ifindex = ifindex;
        attr.link_create.attach_type = BPF_XDP;
        attr.link_create.flags = generic ? XDP_FLAGS_SKB_MODE : XDP_FLAGS_DRV_MODE;
        link = bpf(BPF_LINK_CREATE, &attr);
        if (link < 0) fail_msg("link: %s", strerror(errno));
    }
    ~Redirect() {
        close(link);
        close(program);
        close(map);
    }
    Redirect(const Redirect &) = delete;
    Redirect &operator=(const Redirect &) = delete;
    void set(uint32_t queue, int fd) {
        bpf_attr attr;
        memset(&attr, 0, sizeof attr);
        attr.map_fd = static_cast<uint32_t>(map);
        attr.key = reinterpret_cast<uint64_t>(&queue);
        attr.value = reinterpret_cast<uint64_t>(&fd);
        if (bpf(BPF_MAP_UPDATE_ELEM, &attr) != 0) fail_msg("socket into map: %s", strerror(errno));
    }
};

// The other host's end.
struct Peer {
    int fd = -1;
    explicit Peer(const netns::Veth &veth) {
        netns::Inside inside(veth.there);
        fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(frame_type));
        assert_true(fd >= 0);
        sockaddr_ll address = {};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(frame_type);
        address.sll_ifindex = static_cast<int>(if_nametoindex("peer0"));
        assert_int_equal(bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
        int bytes = 16 << 20; // a burst of any test, with what the kernel adds to each frame
        assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes), 0);
    }
    ~Peer() { close(fd); }
    Peer(const Peer &) = delete;
    Peer &operator=(const Peer &) = delete;
    void send(uint32_t number, size_t bytes = frame_min) const {
        uint8_t frame[2048];
        write_frame(frame, number, bytes);
        if (::send(fd, frame, bytes, 0) != static_cast<ssize_t>(bytes))
            fail_msg("peer sends: %s", strerror(errno));
    }
    // The numbers of what has come, until there are `count` or nothing more comes for wait_ms.
    std::vector<uint32_t> receive(size_t count, int wait_ms = 1000) const {
        std::vector<uint32_t> numbers;
        while (numbers.size() < count) {
            uint8_t frame[2048];
            ssize_t got = recv(fd, frame, sizeof frame, MSG_DONTWAIT);
            if (got < 0) {
                pollfd wait = {fd, POLLIN, 0};
                if (poll(&wait, 1, wait_ms) == 0) break;
                continue;
            }
            numbers.push_back(read_frame(frame, static_cast<size_t>(got)));
        }
        return numbers;
    }
};

inline wx::XskOptions small_options(unsigned ifindex) {
    wx::XskOptions options;
    options.ifindex = ifindex;
    options.interface = "xdp0";
    options.fill_slots = options.receive_slots = options.send_slots = options.completion_slots = 256;
    return options;
}

// As a caller must open: EBUSY ends within a second, on a machine that has nothing else to do.
inline int open_patiently(wx::Xsk *x, wx::Umem *umem, const wx::XskOptions &options, const wx::Xsk *first,
                          wx::ErrorText *error) {
    const int64_t end = now_ms() + 5000;
    int code;
    while ((code = xsk_open(x, umem, options, first, error)) == WSXDP_E_AGAIN && now_ms() < end) usleep(1000);
    return code;
}

// A veth pair, a program, memory and a socket on queue 0, ready to receive.
struct Rig {
    netns::Veth veth;
    netns::Inside inside;
    unsigned ifindex;
    std::unique_ptr<Redirect> redirect;
    Peer peer;
    wx::Umem umem;
    wx::Xsk x;
    wx::ErrorText error;
    explicit Rig(bool generic = false, uint32_t frames = 1024,
                 void (*change)(wx::XskOptions *, wx::UmemOptions *) = nullptr,
                 const netns::VethOptions &veth_options = netns::VethOptions())
        : veth(veth_options), inside(veth.here), ifindex(if_nametoindex("xdp0")), peer(veth) {
        redirect = std::make_unique<Redirect>(ifindex, generic);
        wx::UmemOptions memory;
        memory.frames = frames;
        wx::XskOptions options = small_options(ifindex);
        options.generic = generic;
        if (change) change(&options, &memory);
        if (umem_open(&umem, memory, &error) != 0) fail_msg("%s", error.text);
        if (xsk_open(&x, &umem, options, nullptr, &error) != 0) fail_msg("%s", error.text);
        redirect->set(options.queue, x.fd);
        xsk_refill(&x, 0);
    }
    ~Rig() {
        xsk_close(&x);
        umem_close(&umem);
    }
    // All that has come to one socket; the frames go back at once.
    std::vector<uint32_t> take(wx::Xsk *from, uint32_t cap = 64) {
        std::vector<uint32_t> numbers;
        wx::XskDescriptor got[64];
        uint32_t count;
        while ((count = xsk_receive(from, got, cap)) != 0)
            for (uint32_t i = 0; i < count; i++) {
                numbers.push_back(read_frame(umem.base + got[i].address, got[i].size));
                umem_put(&umem, umem_frame_of(&umem, got[i].address));
            }
        return numbers;
    }
    // The same, until there are `count` or a second has passed.
    std::vector<uint32_t> await(wx::Xsk *from, size_t count) {
        std::vector<uint32_t> numbers;
        const int64_t end = now_ms() + 1000;
        for (bool last = false; numbers.size() < count && !last;) {
            last = now_ms() >= end; // what came before that counts
            const std::vector<uint32_t> more = take(from);
            numbers.insert(numbers.end(), more.begin(), more.end());
            if (more.empty()) {
                pollfd wait = {from->fd, POLLIN, 0};
                poll(&wait, 1, 10);
            }
        }
        return numbers;
    }
    bool send(uint32_t number, size_t bytes = frame_min, wx::Xsk *from = nullptr) {
        const wx::FrameId id = umem_take(&umem, wx::Pool::data);
        if (id == wx::no_frame) return false;
        write_frame(umem_frame(&umem, id), number, bytes);
        if (xsk_send(from ? from : &x, id << umem.frame_shift, static_cast<uint32_t>(bytes))) return true;
        umem_put(&umem, id);
        return false;
    }
    uint32_t reclaim(wx::Xsk *from = nullptr) {
        wx::FrameId ids[64];
        uint32_t total = 0, count;
        while ((count = xsk_reclaim(from ? from : &x, ids, 64)) != 0) {
            for (uint32_t i = 0; i < count; i++) umem_put(&umem, ids[i]);
            total += count;
        }
        return total;
    }
    // Kicks and reclaims until nothing is under way; fails after a second.
    void drain(wx::Xsk *from = nullptr) {
        wx::Xsk *socket = from ? from : &x;
        const int64_t end = now_ms() + 1000;
        for (int cause = 0; socket->in_send != 0; reclaim(socket)) {
            if (xsk_kick(socket, &cause) < 0) fail_msg("kick: %s", strerror(cause));
            if (now_ms() > end) fail_msg("%u frames are not completed", socket->in_send);
        }
    }
    // Every frame is in its pool or with a socket to receive into.
    void check_frames(const std::vector<const wx::Xsk *> &sockets) const {
        uint32_t filled = 0;
        for (const wx::Xsk *s : sockets) {
            assert_int_equal(s->in_send, 0);
            assert_int_equal(s->counters.sent, s->counters.completed);
            assert_int_equal(s->counters.bad_descriptors, 0);
            filled += s->in_fill;
        }
        assert_int_equal(umem_out(&umem, wx::Pool::receive), filled);
        assert_int_equal(umem_out(&umem, wx::Pool::data), 0);
        assert_int_equal(umem.double_puts, 0);
    }
};

} // namespace xsk_test
