// SPDX-License-Identifier: MIT
// Opening and closing AF_XDP sockets: every way to be refused has its code and says what to do, a refusal
// leaves nothing, a queue can be taken again after its socket is closed, and a thousand sockets cost no
// descriptor. What needs fewer rights or lower limits runs in a child process.
#include "../../lib/base/alloc.h"
#include "../base/registry.h"
#include "xsk_support.h"
#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/wait.h>

using namespace netns;
using namespace wx;
using namespace xsk_test;

namespace {

// An interface and memory, and no socket yet.
struct Bench {
    Veth veth;
    Inside inside;
    unsigned ifindex;
    XskOptions options;
    Umem umem;
    Xsk x;
    ErrorText error;
    explicit Bench(uint32_t frames = 256, const VethOptions &pair = VethOptions())
        : veth(pair), inside(veth.here), ifindex(if_nametoindex("xdp0")), options(small_options(ifindex)) {
        UmemOptions memory;
        memory.frames = frames;
        if (umem_open(&umem, memory, &error) != 0) fail_msg("%s", error.text);
    }
    ~Bench() {
        xsk_close(&x);
        umem_close(&umem);
    }
    void refused(int wanted, const char *part, const char *remedy = "", const Xsk *first = nullptr) {
        const size_t before = open_descriptors();
        const int code = xsk_open(&x, &umem, options, first, &error);
        check_error(code, error, wanted, part);
        if (!strstr(error.text, remedy)) fail_msg("\"%s\" does not say \"%s\"", error.text, remedy);
        assert_non_null(strstr(error.text, "xdp0 queue "));
        assert_int_equal(x.fd, -1);
        assert_null(x.lent);
        assert_int_equal(open_descriptors(), before);
    }
    void opens() {
        const int code = open_patiently(&x, &umem, options, nullptr, &error);
        if (code != 0) fail_msg("%s", error.text);
    }
    // In a child that prepares itself, xsk_open fails with this code and these words.
    void refused_in_child(const std::function<bool()> &prepare, int wanted,
                          const std::vector<std::string> &parts) {
        int text[2];
        assert_int_equal(pipe(text), 0);
        Child child(veth.here, [&] {
            if (!prepare()) return 2;
            const int code = xsk_open(&x, &umem, options, nullptr, &error);
            if (write(text[1], error.text, error.size) < 0) return 3;
            return code == wanted && error.code == wanted ? 0 : 1;
        });
        const int status = child.wait();
        close(text[1]);
        char said[512] = "";
        if (read(text[0], said, sizeof said - 1) < 0) fail_msg("pipe: %s", strerror(errno));
        close(text[0]);
        if (status != 0) fail_msg("child says %d, \"%s\"", status, said);
        for (const std::string &part : parts)
            if (!strstr(said, part.c_str())) fail_msg("\"%s\" does not say \"%s\"", said, part.c_str());
    }
};

bool drop(std::initializer_list<int> capabilities) {
    __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &head, data) != 0) return false;
    for (int capability : capabilities) {
        data[capability / 32].effective &= ~(1u << capability % 32);
        data[capability / 32].permitted &= ~(1u << capability % 32);
    }
    return syscall(SYS_capset, &head, data) == 0;
}
bool limit(int resource, rlim_t value) {
    const rlimit to = {value, value};
    return setrlimit(static_cast<__rlimit_resource>(resource), &to) == 0;
}

} // namespace

TEST(zero_copy_is_refused_by_veth) {
    need();
    Bench b;
    b.options.mode = XskMode::zero_copy;
    b.refused(WSXDP_E_XDP_MODE, "zero-copy", "use copy mode");
    b.options.generic = true;
    b.refused(WSXDP_E_XDP_MODE, "generic mode");
    b.options.generic = false;
    b.options.mode = XskMode::copy;
    b.opens(); // the way down the ladder
}
TEST(queues_and_interfaces_that_are_not_there) {
    need();
    Bench b;
    b.options.queue = 1;
    b.refused(WSXDP_E_XDP_QUEUES, "queue 1", "ethtool -l");
    b.options.queue = ~0u;
    b.refused(WSXDP_E_XDP_QUEUES, "queue 4294967295", "ethtool -l");
    b.options.queue = 0;
    b.options.ifindex = 4711;
    b.refused(WSXDP_E_XDP_INTERFACE, "no such interface");
}
TEST(options_that_cannot_be) {
    need();
    Bench b;
    for (uint32_t XskOptions::*slots : {&XskOptions::fill_slots, &XskOptions::receive_slots,
                                        &XskOptions::send_slots, &XskOptions::completion_slots})
        for (uint32_t value : {0u, 3u, 100u, xsk_slots_max * 2, ~0u}) {
            b.options.*slots = value;
            b.refused(WSXDP_E_INVALID, "power of two, at most 32768");
            b.options.*slots = 256;
        }
    Xsk closed;
    closed.umem = &b.umem;
    b.refused(WSXDP_E_INVALID, "closed or has other memory", "", &closed);
}
TEST(memory_is_shared_with_a_socket_like_oneself) {
    need();
    VethOptions pair;
    pair.queues = 2;
    Bench b(256, pair);
    b.opens();
    Xsk second;
    XskOptions options = b.options;
    options.queue = 1;
    options.mode = XskMode::zero_copy;
    check_error(xsk_open(&second, &b.umem, options, &b.x, &b.error), b.error, WSXDP_E_INVALID, "all use");
    options.mode = XskMode::copy;
    options.queue = 2;
    check_error(xsk_open(&second, &b.umem, options, &b.x, &b.error), b.error, WSXDP_E_XDP_QUEUES, "queue 2");
    Umem other;
    assert_int_equal(umem_open(&other, UmemOptions(), &b.error), 0);
    options.queue = 1;
    check_error(xsk_open(&second, &other, options, &b.x, &b.error), b.error, WSXDP_E_INVALID, "other memory");
    umem_close(&other);
    assert_int_equal(xsk_open(&second, &b.umem, options, &b.x, &b.error), 0);
    xsk_close(&second);
}

TEST(a_taken_queue_is_free_soon_after_its_socket_is_closed) {
    need();
    Bench b;
    b.opens();
    xsk_refill(&b.x, 0);
    Umem other;
    Xsk second;
    assert_int_equal(umem_open(&other, UmemOptions(), &b.error), 0);
    for (int i = 0; i < 3; i++) {
        check_error(xsk_open(&second, &other, b.options, nullptr, &b.error), b.error, WSXDP_E_AGAIN,
                    "try again, or use another queue");
        assert_int_equal(second.fd, -1);
        usleep(30000); // longer than the closing of a socket takes: it stays taken
    }
    xsk_close(&b.x);
    assert_int_equal(umem_out(&b.umem, Pool::receive), 0);
    const int code = open_patiently(&second, &other, b.options, nullptr, &b.error);
    if (code != 0) fail_msg("%s", b.error.text);
    xsk_close(&second);
    umem_close(&other);
}

TEST(without_cap_net_raw) {
    need();
    Bench b;
    b.refused_in_child([] { return drop({CAP_NET_RAW}); }, WSXDP_E_PERMISSION,
                       {"CAP_NET_RAW", "xdp0 queue 0", "setcap"});
    // It alone is enough.
    Child child(b.veth.here, [&] {
        if (!drop({CAP_NET_ADMIN, CAP_SYS_ADMIN, CAP_BPF, CAP_IPC_LOCK})) return 2;
        return xsk_open(&b.x, &b.umem, b.options, nullptr, &b.error) == 0 ? 0 : 1;
    });
    assert_int_equal(child.wait(), 0);
}
TEST(without_cap_net_admin_for_busy_polling) {
    need();
    Bench b;
    b.options.busy_poll = true;
    b.refused_in_child([] { return drop({CAP_NET_ADMIN}); }, WSXDP_E_PERMISSION,
                       {"CAP_NET_ADMIN", "SO_PREFER_BUSY_POLL"});
    b.options.busy_poll_us = 0x80000000u;
    b.refused(WSXDP_E_INVALID, "SO_BUSY_POLL");
    b.options.busy_poll_us = 20;
    b.options.busy_poll_budget = 0x10000;
    b.refused(WSXDP_E_INVALID, "SO_BUSY_POLL_BUDGET");
}
TEST(locked_memory_that_is_too_little) {
    need();
    Bench b(1024); // 2 MiB
    b.refused_in_child([] { return limit(RLIMIT_MEMLOCK, 1 << 20) && drop({CAP_IPC_LOCK}); },
                       WSXDP_E_XDP_MEMLOCK,
                       {"2097152 bytes", "RLIMIT_MEMLOCK is 1048576", "ulimit -l 2048", "CAP_IPC_LOCK"});
    b.refused_in_child([] { return limit(RLIMIT_MEMLOCK, 0) && drop({CAP_IPC_LOCK}); }, WSXDP_E_XDP_MEMLOCK,
                       {"RLIMIT_MEMLOCK is 0 bytes"});
    // Neither is missed by who has the capability, or just enough.
    const std::function<bool()> enough[] = {
        [] { return limit(RLIMIT_MEMLOCK, 0); },
        [] { return limit(RLIMIT_MEMLOCK, 2 << 20) && drop({CAP_IPC_LOCK}); }};
    for (const auto &prepare : enough) {
        Child child(b.veth.here, [&] {
            if (!prepare()) return 2;
            // The account is the user's: pages of a child before, or of this test in another variant, are
            // taken off it only after a while.
            const int64_t end = now_ms() + 5000;
            int code;
            while ((code = xsk_open(&b.x, &b.umem, b.options, nullptr, &b.error)) != 0 && now_ms() < end)
                usleep(1000);
            return code == 0 ? 0 : 1;
        });
        assert_int_equal(child.wait(), 0);
    }
}
TEST(descriptors_and_memory_that_are_not_there) {
    need();
    Bench b;
    b.refused_in_child([] { return limit(RLIMIT_NOFILE, 3); }, WSXDP_E_DESCRIPTORS, {"ulimit -n"});
    allocation_fail_after(0);
    const int code = xsk_open(&b.x, &b.umem, b.options, nullptr, &b.error);
    allocation_fail_after(-1);
    check_error(code, b.error, WSXDP_E_MEMORY, "out of memory");
    const uint64_t before = allocation_count();
    b.opens();
    assert_true(allocation_count() > before);
}

static void hundreds_leave_nothing(bool generic) {
    need();
    // Queues in turn, so that the wait for a closed one is short.
    VethOptions pair;
    pair.queues = 16;
    Bench b(64, pair);
    b.options.generic = generic;
    const size_t before = open_descriptors();
    for (uint32_t i = 0; i < 500; i++) {
        b.options.queue = i % pair.queues;
        b.opens();
        xsk_refill(&b.x, 0);
        assert_int_equal(b.x.in_fill, 32);
        xsk_close(&b.x);
        xsk_close(&b.x);
        assert_int_equal(umem_out(&b.umem, Pool::receive), 0);
    }
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(b.umem.double_puts, 0);
}
TEST(hundreds_of_sockets_leave_nothing) { hundreds_leave_nothing(false); }
TEST(hundreds_of_sockets_leave_nothing_in_generic_mode) { hundreds_leave_nothing(true); }

TESTS_BESIDE("xsk open", 4)
