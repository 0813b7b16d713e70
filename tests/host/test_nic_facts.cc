// SPDX-License-Identifier: MIT
// The facts of a NIC and of a process: each is either what `ethtool` and the kernel's own files say, or
// unknown, on veth with one queue and several, up and down, on the loopback device and where sysfs shows
// another network namespace than ours.
#include "../../lib/host/nic_facts.h"
#include "../base/check.h"
#include "../base/registry.h"
#include "../support/netns.h"
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

using namespace netns;
using namespace wx;

namespace {

NicFacts facts_of(const Namespace &where, const char *interface) {
    Inside inside(where);
    NicFacts facts;
    ErrorText error;
    if (!ok(nic_facts_read(interface, &facts, &error))) fail_msg("%s", error.text);
    return facts;
}

// What `ethtool -k` says of a feature.
Known feature(const Namespace &where, const std::string &interface, const std::string &name) {
    const std::string shown = "\n" + where.run("ethtool -k " + interface + " | sed 's/^[[:space:]]*//'");
    const size_t at = shown.find("\n" + name + ": ");
    if (at == std::string::npos) return Known::unknown;
    return shown.compare(at + name.size() + 3, 2, "on") == 0 ? Known::yes : Known::no;
}

// Whether `ethtool -k` says that it cannot be changed.
bool is_fixed(const Namespace &where, const std::string &interface, const std::string &name) {
    return where.try_run("ethtool -k " + interface + " | grep -q '^[[:space:]]*" + name + ": .*[[]fixed]'");
}

void check_features(const Namespace &where, const char *interface) {
    const NicFacts facts = facts_of(where, interface);
    assert_int_equal(facts.lro_fixed, is_fixed(where, interface, "large-receive-offload"));
    assert_int_equal(facts.gro_hw_fixed, is_fixed(where, interface, "rx-gro-hw"));
    const struct {
        const char *name;
        Known found;
    } rows[] = {{"large-receive-offload", facts.lro},
                {"generic-receive-offload", facts.gro},
                {"rx-gro-hw", facts.gro_hw},
                {"rx-checksumming", facts.receive_checksum},
                {"rx-vlan-offload", facts.receive_vlan}};
    for (const auto &row : rows) {
        const Known wanted = feature(where, interface, row.name);
        if (row.found != wanted || wanted == Known::unknown)
            fail_msg("%s of %s is %d, ethtool says %d", row.name, interface, static_cast<int>(row.found),
                     static_cast<int>(wanted));
    }
}

// A file's text without its last newline; empty when it cannot be read.
std::string file_text(const char *path) {
    std::string text;
    FILE *file = fopen(path, "re");
    if (file == nullptr) return text;
    char buffer[4096];
    for (size_t got = 0; (got = fread(buffer, 1, sizeof buffer, file)) > 0;) text.append(buffer, got);
    fclose(file);
    if (!text.empty() && text.back() == '\n') text.pop_back();
    return text;
}
bool write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "we");
    if (file == nullptr) return false;
    const bool written = fputs(text, file) >= 0;
    return fclose(file) == 0 && written;
}
uint64_t meminfo(const std::string &key) {
    const std::string text = "\n" + file_text("/proc/meminfo");
    const size_t at = text.find("\n" + key + ":");
    return at == std::string::npos ? 0 : std::stoull(text.substr(at + key.size() + 2));
}

bool keep_capabilities(uint64_t kept) {
    __user_cap_header_struct head = {};
    __user_cap_data_struct data[2] = {};
    head.version = _LINUX_CAPABILITY_VERSION_3;
    if (syscall(SYS_capget, &head, data) != 0) return false;
    for (unsigned i = 0; i < 2; i++) data[i].effective &= static_cast<uint32_t>(kept >> (32 * i));
    return syscall(SYS_capset, &head, data) == 0;
}
constexpr uint64_t bit(unsigned capability) { return uint64_t{1} << capability; }

std::string missing(const ProcessFacts &facts) {
    uint8_t room[128];
    Writer writer{ByteSpan(room, sizeof room)};
    missing_capabilities(facts, &writer);
    assert_false(writer.failed);
    return str(writer.view());
}

} // namespace

TEST(a_veth_is_as_it_was_made) {
    need();
    for (const unsigned queues : {1U, 4U}) {
        VethOptions options;
        options.queues = queues;
        Veth veth(options);
        for (const char *state : {"up", "down"}) {
            veth.here.run(std::string("ip link set xdp0 ") + state);
            const NicFacts facts = facts_of(veth.here, "xdp0");
            assert_string_equal(facts.name, "xdp0");
            Inside inside(veth.here);
            assert_int_equal(facts.index, if_nametoindex("xdp0"));
            assert_string_equal(facts.driver, "veth");
            assert_string_equal(facts.bus, "");
            assert_true(facts.is_virtual);
            assert_int_equal(facts.receive_queues, queues);
            assert_int_equal(facts.receive_channels, queues);
            assert_int_equal(facts.combined_channels, 0);
            assert_true(facts.rss_hash == RssHash::unknown && !facts.rss_symmetric);
            assert_int_equal(facts.rss_key_bytes + facts.rss_table_size, 0);
            assert_true(facts.rss_hashes_ports4 == Known::unknown &&
                        facts.rss_hashes_ports6 == Known::unknown);
            assert_true(facts.hardware_timestamps == Known::no);
            assert_int_equal(facts.coalesce_receive_us, UINT32_MAX);
            // Older kernels do not tell, but never say the opposite.
            assert_true(facts.xdp_driver != Known::no);
            assert_true(facts.xdp_zero_copy != Known::yes);
            assert_true(facts.xdp_timestamps != Known::no);
        }
    }
}
TEST(fewer_queues_in_use_than_were_made_are_told_apart) {
    need();
    VethOptions options;
    options.queues = 4;
    Veth veth(options);
    veth.here.run("ethtool -L xdp0 rx 2 tx 3");
    const NicFacts facts = facts_of(veth.here, "xdp0");
    assert_int_equal(facts.receive_queues, 2);
    assert_int_equal(facts.receive_channels, 2);
}
TEST(offloads_are_as_ethtool_has_them) {
    need();
    Veth veth;
    check_features(veth.here, "xdp0");
    for (const char *change :
         {"gro off", "gro on", "tx off", "tx on", "rxvlan on", "rxvlan off", "tso off"}) {
        veth.here.run(std::string("ethtool -K xdp0 ") + change);
        check_features(veth.here, "xdp0");
    }
    veth.here.run("ethtool -K xdp0 gro on tx off");
    const NicFacts facts = facts_of(veth.here, "xdp0");
    assert_true(facts.gro == Known::yes);
}
TEST(loopback_has_few_facts) {
    need();
    Veth veth;
    const NicFacts facts = facts_of(veth.here, "lo");
    assert_string_equal(facts.name, "lo");
    assert_int_equal(facts.index, 1);
    assert_string_equal(facts.driver, "");
    assert_true(facts.is_virtual);
    assert_int_equal(facts.receive_queues, 1);
    assert_true(facts.xdp_driver != Known::yes && facts.xdp_zero_copy != Known::yes);
    check_features(veth.here, "lo");
}
TEST(a_missing_interface_is_said) {
    need();
    Veth veth;
    Inside inside(veth.here);
    NicFacts facts;
    ErrorText error;
    for (const char *name : {"nope0", "", "a name that is much too long", "xdp0/../lo"})
        check_error(nic_facts_read(name, &facts, &error), error, WSXDP_E_XDP_INTERFACE,
                    (std::string("interface '") + name + "': there is none").c_str());
}
TEST(reading_leaves_no_descriptor) {
    need();
    Veth veth;
    Inside inside(veth.here);
    NicFacts facts;
    ProcessFacts process;
    ErrorText error;
    const size_t before = open_descriptors();
    for (int i = 0; i < 20; i++) {
        assert_int_equal(nic_facts_read("xdp0", &facts, &error), WSXDP_OK);
        assert_int_equal(nic_facts_read("nope0", &facts, &error), WSXDP_E_XDP_INTERFACE);
        process_facts_read(&process);
    }
    assert_int_equal(open_descriptors(), before);
}
TEST(no_privilege_is_needed) {
    need();
    VethOptions options;
    options.queues = 2;
    Veth veth(options);
    Child child(veth.here, [] {
        NicFacts facts;
        ErrorText error;
        if (!keep_capabilities(0)) return 1;
        if (!ok(nic_facts_read("xdp0", &facts, &error))) return 2;
        if (facts.receive_queues != 2 || strcmp(facts.driver, "veth") != 0) return 3;
        return facts.gro == Known::unknown ? 4 : 0;
    });
    assert_int_equal(child.wait(), 0);
}
// Sysfs is of the namespace that it was mounted in. A veth without GRO has no NAPI that netlink could tell
// of.
TEST(sysfs_is_believed_only_about_this_interface) {
    need();
    Veth veth, other;
    const int elsewhere = other.here.fd;
    veth.here.run("ethtool -K xdp0 gro off");
    other.here.run("ethtool -K xdp0 gro off");
    Child child(veth.here, [elsewhere] {
        if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0)
            return 1;
        if (mount("sysfs", "/sys", "sysfs", 0, nullptr) != 0) return 2;
        if (!write_file("/sys/class/net/xdp0/napi_defer_hard_irqs", "7") ||
            !write_file("/sys/class/net/xdp0/gro_flush_timeout", "20000"))
            return 3;
        NicFacts ours, theirs, loopback;
        ErrorText error;
        if (!ok(nic_facts_read("xdp0", &ours, &error)) || !ok(nic_facts_read("lo", &loopback, &error)))
            return 4;
        if (ours.defer_hard_irqs != 7 || ours.gro_flush_timeout_ns != 20000) return 5;
        if (loopback.defer_hard_irqs != UINT32_MAX) return 6; // every namespace's looks the same
        if (setns(elsewhere, CLONE_NEWNET) != 0) return 7;
        if (!ok(nic_facts_read("xdp0", &theirs, &error))) return 8;
        if (theirs.index != ours.index) return 9; // or this test shows nothing
        if (theirs.defer_hard_irqs != UINT32_MAX || theirs.gro_flush_timeout_ns != UINT64_MAX) return 10;
        return 0;
    });
    assert_int_equal(child.wait(), 0);
}

TEST(a_process_is_as_the_system_says) {
    ProcessFacts facts;
    process_facts_read(&facts);
    utsname system;
    assert_int_equal(uname(&system), 0);
    assert_string_equal(facts.kernel, system.release);
    rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_MEMLOCK, &limit), 0);
    assert_true(facts.memlock_soft == (limit.rlim_cur == RLIM_INFINITY ? UINT64_MAX : limit.rlim_cur));
    assert_true(facts.memlock_hard == (limit.rlim_max == RLIM_INFINITY ? UINT64_MAX : limit.rlim_max));
    assert_int_equal(facts.hugepages_free, meminfo("HugePages_Free"));
    assert_int_equal(facts.hugepage_bytes, meminfo("Hugepagesize") * 1024);
    const std::string isolated = file_text("/sys/devices/system/cpu/isolated");
    assert_string_equal(facts.isolated, isolated.substr(0, sizeof facts.isolated - 1).c_str());
    struct statfs bpf;
    assert_int_equal(facts.bpffs, statfs("/sys/fs/bpf", &bpf) == 0 && bpf.f_type == 0xCAFE4A11);
    assert_int_equal(facts.kernel_btf, access("/sys/kernel/btf/vmlinux", F_OK) == 0);
    const std::string jit = file_text("/proc/sys/net/core/bpf_jit_enable");
    assert_true(facts.jit == (jit.empty() ? Known::unknown : jit == "0" ? Known::no : Known::yes));
}
TEST(capabilities_and_limits_are_those_of_now) {
    need();
    Namespace space;
    const struct {
        uint64_t kept;
        const char *missing;
    } rows[] = {{bit(CAP_NET_RAW) | bit(CAP_NET_ADMIN) | bit(39) | bit(CAP_SYS_NICE), ""},
                {bit(CAP_NET_RAW) | bit(CAP_NET_ADMIN) | bit(CAP_SYS_ADMIN), ""}, // before Linux 5.8
                {bit(CAP_NET_RAW) | bit(39), "CAP_NET_ADMIN"},
                {bit(CAP_NET_RAW) | bit(CAP_IPC_LOCK), "CAP_NET_ADMIN, CAP_BPF"},
                {0, "CAP_NET_RAW, CAP_NET_ADMIN, CAP_BPF"}};
    for (const auto &row : rows) {
        Child child(space, [&row] {
            const rlimit limit = {65536, 1048576};
            if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0 || !keep_capabilities(row.kept)) return 1;
            ProcessFacts facts;
            process_facts_read(&facts);
            if (facts.memlock_soft != 65536 || facts.memlock_hard != 1048576) return 2;
            const struct {
                unsigned capability;
                bool found;
            } found[] = {{CAP_NET_ADMIN, facts.net_admin},
                         {CAP_NET_RAW, facts.net_raw},
                         {39, facts.bpf},
                         {CAP_SYS_ADMIN, facts.sys_admin},
                         {CAP_IPC_LOCK, facts.ipc_lock}};
            for (const auto &f : found)
                if (f.found != ((row.kept & bit(f.capability)) != 0)) return 3;
            // The switch is the first namespace's alone.
            if (facts.jit != Known::unknown && access("/proc/sys/net/core/bpf_jit_enable", F_OK) != 0)
                return 4;
            return missing(facts) == row.missing ? 0 : 5;
        });
        assert_int_equal(child.wait(), 0);
    }
}
TEST(no_limit_is_the_largest_number) {
    need();
    Namespace space;
    Child child(space, [] {
        const rlimit limit = {RLIM_INFINITY, RLIM_INFINITY};
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 77; // without CAP_SYS_RESOURCE
        ProcessFacts facts;
        process_facts_read(&facts);
        return facts.memlock_soft == UINT64_MAX && facts.memlock_hard == UINT64_MAX ? 0 : 1;
    });
    const int status = child.wait();
    assert_true(status == 0 || status == 77);
}

TESTS("nic_facts")
