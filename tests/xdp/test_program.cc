// SPDX-License-Identifier: MIT
// The XDP program on an interface: attached in both modes, gone with its process, never in the place of
// another, and a sentence for each way in which it cannot be had. Over veth.
#include "../../lib/link/xdp/program.h"
#include "../../lib/link/xdp/program_parts.h"
#include "../base/check.h"
#include "../base/registry.h"
#include "../support/netns.h"
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace wx;
using namespace netns;

namespace {

// Opens and closes; whatever was said to stderr by anybody meanwhile fails the test.
struct Quiet {
    Quiet() : before(dup(2)), file(memfd_create("stderr", MFD_CLOEXEC)) { dup2(file, 2); }
    ~Quiet() {
        dup2(before, 2);
        struct stat there = {};
        fstat(file, &there);
        close(before);
        close(file);
        if (there.st_size != 0) fail_msg("%d bytes were printed", static_cast<int>(there.st_size));
    }
    int before, file;
};

XdpProgramOptions on_xdp0(XdpAttach attach = XdpAttach::driver) {
    XdpProgramOptions options;
    options.interface = "xdp0";
    options.ifindex = if_nametoindex("xdp0");
    options.attach = attach;
    options.tuples = 4;
    return options;
}
struct Opened {
    explicit Opened(const XdpProgramOptions &options) {
        Quiet quiet;
        status = xdp_program_open(&program, options, &error);
    }
    ~Opened() { xdp_program_close(&program); }
    XdpProgram program;
    ErrorText error;
    int status = 0;
};

XdpPresent present() {
    XdpPresent there;
    ErrorText error;
    if (xdp_program_present(if_nametoindex("xdp0"), &there, &error) != WSXDP_OK) fail_msg("%s", error.text);
    return there;
}
void assert_nothing_there() { assert_int_equal(present().id, 0); }
void check_refused(const Opened &opened, int code, const char *part) {
    check_error(opened.status, opened.error, code, part);
    assert_null(opened.program.object);
    assert_int_equal(opened.program.program_fd, -1);
    assert_int_equal(opened.program.link_fd, -1);
}

// Somebody else's: lets every packet pass.
int foreign_program() {
    const bpf_insn pass[] = {{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, XDP_PASS},
                             {BPF_JMP | BPF_EXIT, 0, 0, 0, 0}};
    const int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "foreign_prog", "GPL", pass, 2, nullptr);
    assert_true(fd >= 0);
    return fd;
}

void send_datagram(const char *to) {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(9);
    inet_pton(AF_INET, to, &address.sin_addr);
    sendto(fd, "x", 1, 0, reinterpret_cast<sockaddr *>(&address), sizeof address);
    close(fd);
}

// Within a second. Its own traffic (router solicitations) only adds.
bool comes_to(const XdpProgram &program, filter_counter which, uint64_t least) {
    uint64_t counters[FILTER_COUNTERS] = {};
    for (int i = 0; i < 1000; i++) {
        if (xdp_program_counters(&program, counters) != WSXDP_OK) return false;
        if (counters[which] >= least) break;
        usleep(1000);
    }
    return counters[which] >= least && counters[FILTER_TCP] + counters[FILTER_NO_SOCKET] == 0;
}

TcpTuple tuple_of(uint8_t version, uint16_t port) {
    TcpTuple tuple;
    tuple.local.version = tuple.remote.version = version;
    tuple.local.bytes[0] = tuple.remote.bytes[0] = 10;
    tuple.local_port = port;
    tuple.remote_port = 443;
    return tuple;
}

void drop(std::initializer_list<unsigned> capabilities) {
    __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &head, data) != 0) _exit(90);
    for (unsigned bit : capabilities) data[bit / 32].effective &= ~(1u << bit % 32);
    if (syscall(SYS_capset, &head, data) != 0) _exit(91);
}
constexpr unsigned net_admin = CAP_NET_ADMIN, bpf = CAP_BPF, sys_admin = CAP_SYS_ADMIN, perfmon = CAP_PERFMON;

// Runs it in a child that has these capabilities no more; 0 when it said `code` and `part`.
int without(const Veth &veth, std::initializer_list<unsigned> capabilities, const XdpProgramOptions &options,
            int code, const char *part) {
    Child child(veth.here, [&] {
        drop(capabilities);
        XdpProgram program;
        ErrorText error;
        const int status = xdp_program_open(&program, options, &error);
        const bool good = status == code && (code == WSXDP_OK || strstr(error.text, part) != nullptr);
        if (!good) fprintf(stderr, "%d: %s\n", status, error.text);
        xdp_program_close(&program);
        return good ? 0 : 1;
    });
    return child.wait();
}

} // namespace

TEST(it_is_attached_in_the_mode_asked_for) {
    need();
    Veth veth;
    Inside inside(veth.here);
    for (XdpAttach attach : {XdpAttach::driver, XdpAttach::generic}) {
        assert_nothing_there();
        {
            Opened opened(on_xdp0(attach));
            if (opened.status != WSXDP_OK) fail_msg("%s", opened.error.text);
            const XdpPresent there = present();
            assert_int_not_equal(there.id, 0);
            assert_int_equal(there.generic, attach == XdpAttach::generic);
            assert_false(there.offloaded);
            assert_string_equal(there.name, "wsxdp_filter");
            const std::string shown = veth.here.run("ip -d link show dev xdp0");
            const bool generic = strstr(shown.c_str(), "xdpgeneric") != nullptr;
            assert_int_equal(generic, attach == XdpAttach::generic);
            uint64_t counters[FILTER_COUNTERS];
            assert_int_equal(xdp_program_counters(&opened.program, counters), WSXDP_OK);
            xdp_program_close(&opened.program);
            xdp_program_close(&opened.program);
            assert_int_equal(xdp_program_counters(&opened.program, counters), WSXDP_E_SYSTEM);
        }
        assert_nothing_there();
    }
}

TEST(it_counts_what_arrives) {
    need();
    Veth veth;
    Inside inside(veth.here);
    for (XdpAttach attach : {XdpAttach::driver, XdpAttach::generic}) {
        Opened opened(on_xdp0(attach));
        assert_int_equal(opened.status, WSXDP_OK);
        {
            Inside other(veth.there);
            for (int i = 0; i < 2; i++) send_datagram(here4);
        }
        assert_true(comes_to(opened.program, FILTER_OTHER, 2));
        assert_true(comes_to(opened.program, FILTER_TCP, 0));
    }
}

TEST(nic_timestamps_bind_it_to_the_device) {
    need();
    Veth veth;
    Inside inside(veth.here);
    XdpProgramOptions options = on_xdp0();
    options.nic_timestamps = true;
    {
        Opened opened(options);
        if (opened.status != WSXDP_OK) fail_msg("%s", opened.error.text);
        assert_true(opened.program.nic_timestamps);
        assert_false(present().generic);
    }
    assert_nothing_there();
    options.attach = XdpAttach::generic;
    check_refused(Opened(options), WSXDP_E_XDP_MODE, "driver mode");
    options.attach = XdpAttach::driver;
    options.dispatcher = true;
    check_refused(Opened(options), WSXDP_E_XDP_MODE, "dispatcher");
    assert_nothing_there();
}

TEST(it_is_gone_with_a_process_that_is_killed) {
    need();
    Veth veth;
    Inside inside(veth.here);
    for (XdpAttach attach : {XdpAttach::driver, XdpAttach::generic}) {
        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        Child child(veth.here, [&] {
            XdpProgram program;
            ErrorText error;
            const char status = xdp_program_open(&program, on_xdp0(attach), &error) == WSXDP_OK ? 'y' : 'n';
            if (write(ends[1], &status, 1) != 1) return 1;
            for (;;) pause();
        });
        char status = 0;
        assert_int_equal(read(ends[0], &status, 1), 1);
        assert_int_equal(status, 'y');
        assert_int_not_equal(present().id, 0);
        child.kill(SIGKILL);
        assert_int_equal(child.wait(), 128 + SIGKILL);
        for (int i = 0; i < 1000 && present().id != 0; i++) usleep(1000);
        assert_nothing_there();
        close(ends[0]);
        close(ends[1]);
    }
}

TEST(the_first_is_never_replaced_but_named) {
    need();
    Veth veth;
    Inside inside(veth.here);
    for (XdpAttach first : {XdpAttach::driver, XdpAttach::generic})
        for (XdpAttach second : {XdpAttach::driver, XdpAttach::generic}) {
            Opened opened(on_xdp0(first));
            assert_int_equal(opened.status, WSXDP_OK);
            const uint32_t id = present().id;
            Opened refused(on_xdp0(second));
            const std::string named = "wsxdp_filter, id " + std::to_string(id) + ", " +
                                      (first == XdpAttach::generic ? "generic mode" : "driver mode");
            check_refused(refused, WSXDP_E_XDP_OCCUPIED, named.c_str());
            assert_int_equal(present().id, id);
        }
    assert_nothing_there();
}

TEST(somebody_elses_program_is_named) {
    need();
    Veth veth;
    Inside inside(veth.here);
    const int foreign = foreign_program();
    const int ifindex = static_cast<int>(if_nametoindex("xdp0"));
    for (uint32_t mode : {XDP_FLAGS_DRV_MODE, XDP_FLAGS_SKB_MODE}) {
        const char *named = mode == XDP_FLAGS_SKB_MODE ? "generic mode" : "driver mode";
        for (XdpAttach ours : {XdpAttach::driver, XdpAttach::generic}) {
            assert_int_equal(bpf_xdp_attach(ifindex, foreign, mode, nullptr), 0); // by netlink
            Opened refused(on_xdp0(ours));
            check_refused(refused, WSXDP_E_XDP_OCCUPIED, "foreign_prog");
            assert_non_null(strstr(refused.error.text, named));
            assert_string_equal(present().name, "foreign_prog");
            assert_int_equal(bpf_xdp_detach(ifindex, mode, nullptr), 0);

            bpf_link_create_opts opts = {};
            opts.sz = sizeof opts;
            opts.flags = mode;
            const int link = bpf_link_create(foreign, ifindex, BPF_XDP, &opts);
            assert_true(link >= 0);
            check_refused(Opened(on_xdp0(ours)), WSXDP_E_XDP_OCCUPIED, "foreign_prog");
            assert_int_equal(bpf_link_detach(link), 0);
            close(link);
        }
    }
    close(foreign);
    assert_nothing_there();
}

TEST(a_missing_capability_is_named) {
    need();
    Veth veth;
    Inside inside(veth.here);
    const int code = WSXDP_E_PERMISSION;
    for (bool dispatcher : {false, true}) {
        XdpProgramOptions options = on_xdp0();
        options.dispatcher = dispatcher;
        assert_int_equal(without(veth, {net_admin, sys_admin}, options, code, "lacks CAP_NET_ADMIN."), 0);
        assert_int_equal(without(veth, {bpf, sys_admin}, options, code, "lacks CAP_BPF."), 0);
        assert_int_equal(
            without(veth, {net_admin, bpf, sys_admin}, options, code, "lacks CAP_NET_ADMIN and CAP_BPF."), 0);
    }
    // These two are enough: no tracing, no administration of the system.
    for (XdpAttach attach : {XdpAttach::driver, XdpAttach::generic})
        assert_int_equal(without(veth, {sys_admin, perfmon}, on_xdp0(attach), WSXDP_OK, ""), 0);
    XdpProgramOptions stamps = on_xdp0();
    stamps.nic_timestamps = true;
    assert_int_equal(without(veth, {sys_admin, perfmon}, stamps, WSXDP_OK, ""), 0);
    assert_nothing_there();
}

TEST(what_is_there_is_told_to_anybody) {
    need();
    Veth veth;
    Inside inside(veth.here);
    Opened opened(on_xdp0(XdpAttach::generic));
    const uint32_t id = present().id;
    Child child(veth.here, [&] {
        if (setgid(65534) != 0 || setuid(65534) != 0) return 2;
        XdpPresent there;
        ErrorText error;
        const int status = xdp_program_present(if_nametoindex("xdp0"), &there, &error);
        return status == WSXDP_OK && there.id == id && there.generic && there.name[0] == 0 ? 0 : 1;
    });
    assert_int_equal(child.wait(), 0);
    XdpPresent there;
    ErrorText error;
    check_error(xdp_program_present(9999, &there, &error), error, WSXDP_E_XDP_INTERFACE, "9999");
}

TEST(an_interface_that_is_not_there) {
    need();
    Veth veth;
    Inside inside(veth.here);
    for (bool dispatcher : {false, true}) {
        XdpProgramOptions options = on_xdp0();
        options.dispatcher = dispatcher;
        options.interface = "eth9";
        for (uint32_t index : {0u, 9999u}) {
            options.ifindex = index;
            check_refused(Opened(options), WSXDP_E_XDP_INTERFACE, "eth9: there is no interface");
        }
    }
}

TEST(no_queue_and_no_tuple_are_refused) {
    need();
    Veth veth;
    Inside inside(veth.here);
    XdpProgramOptions options = on_xdp0();
    options.queues = 0;
    check_refused(Opened(options), WSXDP_E_INVALID, "needs a queue");
    options = on_xdp0();
    options.tuples = 0;
    check_refused(Opened(options), WSXDP_E_INVALID, "needs a queue");
}

TEST(a_large_mtu_is_explained) {
    need();
    VethOptions large;
    large.mtu = 9000;
    Veth veth(large);
    Inside inside(veth.here);
    Opened refused(on_xdp0());
    check_refused(refused, WSXDP_E_XDP_MODE, "9000");
    assert_non_null(strstr(refused.error.text, "xdp.mode=generic"));
    assert_int_equal(Opened(on_xdp0(XdpAttach::generic)).status, WSXDP_OK);
    // What the sentence recommends works.
    assert_non_null(strstr(refused.error.text, "3400"));
    veth.here.run("ip link set dev xdp0 mtu 3400");
    veth.there.run("ip link set dev peer0 mtu 3400");
    assert_int_equal(Opened(on_xdp0()).status, WSXDP_OK);
}

TEST(a_driver_without_xdp_is_told_from_one_with) {
    need();
    Namespace space;
    Inside inside(space);
    XdpProgramOptions options;
    options.interface = "lo";
    options.ifindex = 1;
    check_refused(Opened(options), WSXDP_E_XDP_MODE, "xdp.mode=generic");
}

TEST(no_descriptor_is_lost) {
    need();
    Veth veth;
    Inside inside(veth.here);
    const int foreign = foreign_program();
    const int ifindex = static_cast<int>(if_nametoindex("xdp0"));
    { Opened once(on_xdp0()); } // whatever a library keeps from its first time on
    const size_t before = open_descriptors();
    for (int i = 0; i < 200; i++) {
        XdpProgramOptions options = on_xdp0(i % 2 == 0 ? XdpAttach::driver : XdpAttach::generic);
        XdpProgram program;
        ErrorText error;
        if (xdp_program_open(&program, options, &error) != WSXDP_OK) fail_msg("%d: %s", i, error.text);
        xdp_program_close(&program);
    }
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(bpf_xdp_attach(ifindex, foreign, XDP_FLAGS_SKB_MODE, nullptr), 0);
    for (int i = 0; i < 20; i++) assert_int_equal(Opened(on_xdp0()).status, WSXDP_E_XDP_OCCUPIED);
    assert_int_equal(open_descriptors(), before);
    assert_int_equal(bpf_xdp_detach(ifindex, XDP_FLAGS_SKB_MODE, nullptr), 0);
    close(foreign);
    assert_nothing_there();
}

TEST(no_descriptors_left_is_a_sentence_at_every_point) {
    need();
    Veth veth;
    Inside inside(veth.here);
    { Opened once(on_xdp0()); }
    rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    const size_t before = open_descriptors();
    bool opened = false;
    for (rlim_t room = 1; room < 40 && !opened; room++) {
        XdpProgram program;
        ErrorText error;
        const rlimit low = {before + room, limit.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
        const int status = xdp_program_open(&program, on_xdp0(), &error);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
        opened = status == WSXDP_OK;
        if (!opened) {
            assert_null(program.object);
            assert_true(error.size > 20);
            assert_int_equal(error.code, status);
        }
        xdp_program_close(&program);
        assert_int_equal(open_descriptors(), before);
    }
    assert_true(opened);
    assert_nothing_there();
}

TEST(tuples_come_and_go_until_all_places_are_taken) {
    need();
    Veth veth;
    Inside inside(veth.here);
    Opened opened(on_xdp0());
    ErrorText error;
    for (uint8_t version : {4, 6}) {
        for (uint16_t port = 1; port <= 4; port++) {
            assert_false(xdp_program_has(&opened.program, tuple_of(version, port)));
            assert_int_equal(xdp_program_add(&opened.program, tuple_of(version, port), 7, &error), WSXDP_OK);
            assert_true(xdp_program_has(&opened.program, tuple_of(version, port)));
        }
        // Known already: its tag is another one now.
        assert_int_equal(xdp_program_add(&opened.program, tuple_of(version, 4), FILTER_NO_VLAN, &error),
                         WSXDP_OK);
        check_error(xdp_program_add(&opened.program, tuple_of(version, 5), 7, &error), error,
                    WSXDP_E_CONNECTIONS,
                    version == 6 ? "xdp0: the XDP program has room for 4 IPv6" : "4 IPv4");
        assert_false(xdp_program_has(&opened.program, tuple_of(version, 5)));
        xdp_program_remove(&opened.program, tuple_of(version, 2));
        xdp_program_remove(&opened.program, tuple_of(version, 2));
        assert_int_equal(xdp_program_add(&opened.program, tuple_of(version, 5), 7, &error), WSXDP_OK);
    }
    TcpTuple mixed = tuple_of(4, 9);
    mixed.remote.version = 6;
    check_error(xdp_program_add(&opened.program, mixed, 7, &error), error, WSXDP_E_INVALID, "IP version");
    assert_false(xdp_program_has(&opened.program, mixed));
    xdp_program_remove(&opened.program, mixed);
    check_error(xdp_program_add(&opened.program, tuple_of(0, 9), 7, &error), error, WSXDP_E_INVALID,
                "IP version");
}

TEST(sockets_are_set_where_there_is_a_queue) {
    need();
    Veth veth;
    Inside inside(veth.here);
    XdpProgramOptions options = on_xdp0();
    options.queues = 2;
    Opened opened(options);
    ErrorText error;
    const int socket = ::socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    for (uint32_t queue : {0u, 1u}) {
        assert_int_equal(xdp_program_set_socket(&opened.program, queue, socket, &error), WSXDP_OK);
        assert_int_equal(xdp_program_set_socket(&opened.program, queue, socket, &error), WSXDP_OK);
        assert_int_equal(xdp_program_set_socket(&opened.program, queue, -1, &error), WSXDP_OK);
        assert_int_equal(xdp_program_set_socket(&opened.program, queue, -1, &error), WSXDP_OK);
    }
    check_error(xdp_program_set_socket(&opened.program, 2, socket, &error), error, WSXDP_E_XDP_QUEUES,
                "queue 2");
    close(socket);
    check_error(xdp_program_set_socket(&opened.program, 0, socket, &error), error, WSXDP_E_XDP_PROGRAM,
                "Bad file descriptor");
}

// Whether this kernel loads programs that take the place of a function of another, which is how libxdp's
// dispatcher calls ours. Some kernels refuse them to everybody.
static bool extension_programs_load() {
    Opened target(on_xdp0(XdpAttach::generic));
    if (target.status != WSXDP_OK) return false;
    ProgramWords words;
    const ByteView image = xdp_program_image(false);
    bpf_object *object = bpf_object__open_mem(image.data, image.size, nullptr);
    bpf_program *program = bpf_object__find_program_by_name(object, "wsxdp_filter");
    bpf_program__set_type(program, BPF_PROG_TYPE_EXT);
    bpf_program__set_expected_attach_type(program, static_cast<bpf_attach_type>(0));
    const bool loads =
        bpf_program__set_attach_target(program, target.program.program_fd, "wsxdp_filter") == 0 &&
        bpf_object__load(object) == 0;
    bpf_object__close(object);
    return loads;
}

// In a child with mounts of its own, so that the machine's are as they were.
TEST(the_dispatcher_shares_the_interface) {
    need();
    Veth veth;
    Child child(veth.here, [] {
        if (unshare(CLONE_NEWNS) != 0 || mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
            return 2;
        while (umount2("/sys/fs/bpf", MNT_DETACH) == 0) {
        }
        XdpProgramOptions options = on_xdp0(XdpAttach::generic);
        options.dispatcher = true;
        {
            Opened refused(options);
            if (refused.status != WSXDP_E_XDP_PROGRAM ||
                strstr(refused.error.text, "mount -t bpf") == nullptr)
                return 3;
        }
        if (mount("bpf", "/sys/fs/bpf", "bpf", 0, nullptr) != 0) return 4;
        const bool can = extension_programs_load();
        for (XdpAttach attach : {XdpAttach::generic, XdpAttach::driver}) {
            options.attach = attach;
            Opened opened(options);
            if (!can) { // then nothing may be left behind, such as a program that libxdp attached alone
                if (opened.status != WSXDP_E_XDP_PROGRAM || present().id != 0 ||
                    strstr(opened.error.text, "libxdp cannot attach") == nullptr)
                    return 10;
                continue;
            }
            if (opened.status != WSXDP_OK) {
                fprintf(stderr, "%s\n", opened.error.text);
                return 5;
            }
            const XdpPresent there = present();
            if (strcmp(there.name, "xdp_dispatcher") != 0 || there.generic != (attach == XdpAttach::generic))
                return 6;
            send_datagram(there4); // nobody listens, which is an ICMP error about UDP
            if (!comes_to(opened.program, FILTER_OTHER, 1)) return 7;
            if (xdp_program_add(&opened.program, tuple_of(4, 1), FILTER_NO_VLAN, &opened.error) != WSXDP_OK)
                return 8;
            xdp_program_close(&opened.program);
            if (present().id != 0) return 9;
        }
        // Somebody's program that no dispatcher of libxdp's called.
        const int foreign = foreign_program();
        const int ifindex = static_cast<int>(options.ifindex);
        if (bpf_xdp_attach(ifindex, foreign, XDP_FLAGS_DRV_MODE, nullptr) != 0) return 11;
        Opened refused(options);
        if (refused.status != WSXDP_E_XDP_OCCUPIED || strstr(refused.error.text, "foreign_prog") == nullptr) {
            fprintf(stderr, "%d %s\n", refused.status, refused.error.text);
            return 12;
        }
        return strcmp(present().name, "foreign_prog") == 0 ? 0 : 13;
    });
    assert_int_equal(child.wait(), 0);
}

static void hear(ProgramWords *words, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    words->hear(format, arguments);
    va_end(arguments);
}
TEST(what_libbpf_says_becomes_one_line) {
    const struct {
        const char *format, *wanted;
    } rows[] = {{"libbpf: %s is %d of %zu, %u %x%%\n", "map is -3 of 8, 7 ff%"},
                {"plain.\n", "plain"},
                {"cut %.*s", "cut %.*s"}};
    for (const auto &row : rows) {
        ProgramWords words;
        if (strstr(row.format, "%.*s") != nullptr) {
            hear(&words, row.format, 3, "abcdef");
            assert_string_equal(str(words.said()).c_str(), "cut abc");
            continue;
        }
        hear(&words, row.format, "map", -3, size_t{8}, 7u, 255u);
        hear(&words, "libbpf: a second one\n");
        assert_string_equal(str(words.said()).c_str(), row.wanted);
    }
    ProgramWords words;
    hear(&words, "libbpf: unknown %p then %s\n", &words, "never");
    assert_string_equal(str(words.said()).c_str(), "unknown %p then %s");
    const std::string log =
        std::string(1000, 'a') + "\nR1 has no room\nverdict here\nprocessed 3 insns (limit 9)\n\n";
    hear(&words, "libbpf: prog '%s': -- BEGIN PROG LOAD LOG --\n%s-- END PROG LOAD LOG --\n", "name",
         log.c_str());
    const std::string said = str(words.said());
    assert_true(said.size() <= 256);
    assert_string_equal(said.substr(said.size() - 29).c_str(), "a R1 has no room verdict here");
}

TESTS_BESIDE("program", 4)
