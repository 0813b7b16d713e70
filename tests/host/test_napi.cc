// SPDX-License-Identifier: MIT
// NAPI's deferral of interrupts on veth: set and put back, by netlink and by sysfs, also when a part of it
// cannot be done, the link goes down meanwhile, somebody else changes it, or two handles want it. A veth with
// GRO has NAPIs all the time, one without has none.
#include "../../lib/host/napi.h"
#include "../../lib/host/nic_facts.h"
#include "../base/check.h"
#include "../base/registry.h"
#include "../support/netns.h"
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace netns;
using namespace wx;

namespace {

constexpr NapiWish usual = {2, 200000};

struct Host {
    Veth veth;
    Inside inside;
    explicit Host(unsigned queues = 2, bool gro = true) : veth(made(queues)), inside(veth.here) {
        veth.here.run(std::string("ethtool -K xdp0 gro ") + (gro ? "on" : "off"));
    }
    static VethOptions made(unsigned queues) {
        VethOptions options;
        options.queues = queues;
        return options;
    }
};

int tune(NapiTuning *tuning, const NapiWish &wish, ErrorText *error, int64_t queue = -1) {
    return napi_tune(tuning, "xdp0", if_nametoindex("xdp0"), queue, wish, error);
}
void tune_well(NapiTuning *tuning, const NapiWish &wish = usual) {
    ErrorText error;
    if (tune(tuning, wish, &error) < 0) fail_msg("%s", error.text);
}
// As the NAPIs have it, all of which must have the same.
bool values_are(uint32_t defer, uint64_t flush) {
    NicFacts facts;
    ErrorText error;
    return ok(nic_facts_read("xdp0", &facts, &error)) && facts.defer_hard_irqs == defer &&
           facts.gro_flush_timeout_ns == flush;
}
void need_values(uint32_t defer, uint64_t flush) {
    if (!values_are(defer, flush)) {
        NicFacts facts;
        ErrorText error;
        nic_facts_read("xdp0", &facts, &error);
        fail_msg("%u and %llu, wanted %u and %llu", facts.defer_hard_irqs,
                 static_cast<unsigned long long>(facts.gro_flush_timeout_ns), defer,
                 static_cast<unsigned long long>(flush));
    }
}
bool write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "we");
    if (file == nullptr) return false;
    const bool wrote = fputs(text, file) >= 0;
    return fclose(file) == 0 && wrote;
}
// The sysfs of this namespace, for this process alone.
bool mount_sysfs() {
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
           mount("sysfs", "/sys", "sysfs", 0, nullptr) == 0;
}
void drop_capabilities() {
    __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
    __user_cap_data_struct none[2] = {};
    syscall(SYS_capset, &head, none);
}

} // namespace

TEST(is_set_and_put_back) {
    need();
    Host host;
    need_values(0, 0);
    NapiTuning tuning;
    const size_t before = open_descriptors();
    for (int i = 0; i < 3; i++) {
        tune_well(&tuning);
        assert_int_equal(tuning.way, NapiWay::netlink);
        assert_int_equal(tuning.count, 2); // veth does not tell which NAPI is whose queue's
        need_values(2, 200000);
        tune_well(&tuning); // again is harmless
        assert_int_equal(tuning.count, 2);
        napi_restore(&tuning);
        need_values(0, 0);
        napi_restore(&tuning);
        assert_int_equal(open_descriptors(), before);
    }
}

TEST(what_is_not_wished_for_stays) {
    need();
    Host host;
    NapiTuning first;
    tune_well(&first, {5, 0});
    need_values(5, 0);
    NapiTuning none;
    tune_well(&none, {0, 0});
    assert_true(none.lock < 0 && none.count == 0);
    napi_restore(&first);
    NapiTuning second;
    tune_well(&second, {0, 30000});
    need_values(0, 30000);
    napi_restore(&second);
    need_values(0, 0);
}

TEST(values_that_are_there_are_not_ours_to_put_back) {
    need();
    Host host;
    Child child(host.veth.here, [] {
        if (!mount_sysfs() || !write_file("/sys/class/net/xdp0/napi_defer_hard_irqs", "2") ||
            !write_file("/sys/class/net/xdp0/gro_flush_timeout", "200000"))
            return 1;
        return 0;
    });
    assert_int_equal(child.wait(), 0);
    need_values(2, 200000);
    NapiTuning tuning;
    tune_well(&tuning);
    assert_int_equal(tuning.count, 0);
    napi_restore(&tuning);
    need_values(2, 200000);
}

TEST(who_changed_it_meanwhile_knows_better) {
    need();
    Host host;
    NapiTuning tuning;
    tune_well(&tuning);
    Child child(host.veth.here, [] {
        return mount_sysfs() && write_file("/sys/class/net/xdp0/napi_defer_hard_irqs", "9") ? 0 : 1;
    });
    assert_int_equal(child.wait(), 0);
    need_values(9, 200000);
    napi_restore(&tuning);
    need_values(9, 200000);
}

// veth makes its NAPIs anew, with the interface's values.
TEST(napis_that_come_with_the_link_are_set_as_well) {
    need();
    Host host;
    NapiTuning tuning;
    tune_well(&tuning);
    host.veth.here.run("ip link set xdp0 down");
    host.veth.here.run("ip link set xdp0 up");
    need_values(0, 0);
    tune_well(&tuning);
    need_values(2, 200000);
    assert_int_equal(tuning.count, 2);
    napi_restore(&tuning);
    need_values(0, 0);
}

TEST(two_handles_do_not_take_each_others_values_for_the_machines) {
    need();
    Host host;
    NapiTuning first, second, third;
    ErrorText error;
    tune_well(&first);
    check_error(tune(&second, {7, 100}, &error), error, WSXDP_E_XDP_OCCUPIED,
                "napi_defer_hard_irqs and gro_flush_timeout of interface xdp0: another handle or process has "
                "set them to other values");
    need_values(2, 200000);
    tune_well(&third);
    napi_restore(&third); // which has changed nothing
    need_values(2, 200000);
    napi_restore(&second);
    need_values(2, 200000);
    napi_restore(&first);
    need_values(0, 0);
    tune_well(&second, {7, 100});
    need_values(7, 100);
    napi_restore(&second);
    need_values(0, 0);
}

TEST(another_process_counts_too) {
    need();
    Host host;
    int ready[2];
    assert_int_equal(pipe(ready), 0);
    Child child(host.veth.here, [&ready] {
        NapiTuning tuning;
        ErrorText error;
        if (tune(&tuning, usual, &error) < 0 || write(ready[1], "x", 1) != 1) return 1;
        pause();
        return 2;
    });
    char byte;
    assert_int_equal(read(ready[0], &byte, 1), 1);
    NapiTuning tuning;
    ErrorText error;
    assert_int_equal(tune(&tuning, {7, 100}, &error), WSXDP_E_XDP_OCCUPIED);
    child.kill(SIGKILL); // its values stay, its claim does not
    assert_int_equal(child.wait(), 128 + SIGKILL);
    need_values(2, 200000);
    tune_well(&tuning, {7, 100});
    napi_restore(&tuning);
    need_values(2, 200000);
    close(ready[0]), close(ready[1]);
}

TEST(without_napis_there_is_nothing_to_set) {
    need();
    Host host(1, false);
    NapiTuning tuning;
    ErrorText error;
    check_error(tune(&tuning, usual, &error), error, WSXDP_E_UNSUPPORTED,
                "interface xdp0: it has no NAPI that could be polled");
    assert_true(tuning.lock < 0);
}

// In a child, since neither a mount nor a capability is given back. Its status is the line that failed.
#define NEED(condition)                                                                                      \
    if (!(condition)) return __LINE__ & 127
static int refused_without_capability(NapiWay way) {
    NapiTuning tuning;
    ErrorText error;
    tuning.way = way;
    NEED(mount_sysfs());
    drop_capabilities();
    NEED(tune(&tuning, usual, &error) == WSXDP_E_PERMISSION);
    NEED(strstr(error.text, "CAP_NET_ADMIN") != nullptr);
    NEED(tuning.lock < 0 && tuning.count == 0 && values_are(0, 0));
    return 0;
}
TEST(without_the_capability_nothing_is_changed) {
    need();
    Host host;
    for (NapiWay way : {NapiWay::undecided, NapiWay::sysfs}) {
        Child child(host.veth.here, [way] { return refused_without_capability(way); });
        assert_int_equal(child.wait(), 0);
    }
    need_values(0, 0);
}

// ---- as kernels before 6.13 want it

static bool file_is(const char *path, const char *text) {
    char read[32] = "";
    FILE *file = fopen(path, "re");
    if (file == nullptr) return false;
    const bool got = fgets(read, sizeof read, file) != nullptr;
    fclose(file);
    return got && strcmp(read, (std::string(text) + "\n").c_str()) == 0;
}
static bool files_are(const char *defer, const char *flush) {
    return file_is("/sys/class/net/xdp0/napi_defer_hard_irqs", defer) &&
           file_is("/sys/class/net/xdp0/gro_flush_timeout", flush);
}

static int set_by_sysfs() {
    NapiTuning tuning, other;
    ErrorText error;
    tuning.way = other.way = NapiWay::sysfs;
    NEED(mount_sysfs());
    NEED(write_file("/sys/class/net/xdp0/gro_flush_timeout", "111"));
    for (int i = 0; i < 2; i++) {
        NEED(tune(&tuning, usual, &error) == 0 && tuning.count == 1 && files_are("2", "200000"));
        NEED(tune(&tuning, usual, &error) == 0 && tuning.count == 1);
        NEED(tune(&other, {7, 7}, &error) == WSXDP_E_XDP_OCCUPIED && files_are("2", "200000"));
        napi_restore(&tuning);
        NEED(files_are("0", "111"));
        napi_restore(&tuning);
    }
    NEED(tune(&tuning, {3, 0}, &error) == 0 && files_are("3", "111"));
    NEED(write_file("/sys/class/net/xdp0/napi_defer_hard_irqs", "8")); // by somebody who knows better
    napi_restore(&tuning);
    NEED(files_are("8", "111"));
    return 0;
}
TEST(older_kernels_have_it_in_sysfs) {
    need();
    Host host(2, false); // there it needs no NAPI
    Child child(host.veth.here, set_by_sysfs);
    assert_int_equal(child.wait(), 0);
}

static int refused_elsewhere(int elsewhere) {
    NapiTuning tuning;
    ErrorText error;
    tuning.way = NapiWay::sysfs;
    NEED(mount_sysfs());
    NEED(setns(elsewhere, CLONE_NEWNET) == 0);
    NEED(tune(&tuning, usual, &error) == WSXDP_E_UNSUPPORTED);
    NEED(strstr(error.text, "shows another network namespace") != nullptr);
    NEED(files_are("0", "0") && tuning.lock < 0);
    NEED(umount2("/sys", MNT_DETACH) == 0);
    return 0;
}
TEST(the_sysfs_of_another_namespace_is_left_alone) {
    need();
    Host host;
    Veth other;
    const int elsewhere = other.here.fd;
    Child child(host.veth.here, [elsewhere] { return refused_elsewhere(elsewhere); });
    assert_int_equal(child.wait(), 0);
}

TEST(an_interface_that_is_gone_has_nothing_to_be_put_back) {
    need();
    Host host;
    NapiTuning tuning;
    tune_well(&tuning);
    host.veth.here.run("ip link del xdp0");
    napi_restore(&tuning);
    assert_true(tuning.count == 0 && tuning.lock < 0);
    ErrorText error;
    assert_true(napi_tune(&tuning, "xdp0", 999, -1, usual, &error) < 0);
    assert_true(tuning.lock < 0);
}

TESTS("napi")
