// SPDX-License-Identifier: MIT
// Changes NAPI's deferral of interrupts and puts it back. The kernel keeps what is set when its setter dies,
// so it is a change of the machine: as little as can be is changed, and a name in the abstract Unix namespace
// (which is the network namespace's, and goes away with its holder) keeps a second handle from taking our
// values for the ones to be restored. Cold; the worst case accepted is a process that is killed, whose values
// stay.
#include "napi.h"
#include "nic_parts.h"
#include "routes_parts.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

namespace wx {

static bool same(const NapiValues &a, const NapiValues &b) {
    return a.defer_hard_irqs == b.defer_hard_irqs && a.gro_flush_timeout_ns == b.gro_flush_timeout_ns;
}
static NapiValues wanted(const NapiValues &now, const NapiWish &wish) {
    NapiValues out = now;
    if (wish.defer_hard_irqs != 0) out.defer_hard_irqs = wish.defer_hard_irqs;
    if (wish.gro_flush_timeout_ns != 0) out.gro_flush_timeout_ns = wish.gro_flush_timeout_ns;
    return out;
}

static ErrorText &begin(const NapiTuning &tuning, int code, int cause, ErrorText *error) {
    return error->begin(code, cause)
        .add("napi_defer_hard_irqs and gro_flush_timeout of interface ")
        .add(tuning.interface)
        .add(": ");
}
static int set_failed(const NapiTuning &tuning, int cause, ErrorText *error) {
    const int code = cause == EPERM || cause == EACCES ? WSXDP_E_PERMISSION : WSXDP_E_SYSTEM;
    begin(tuning, code, cause, error).add("setting them failed: ").errno_name(cause);
    if (code == WSXDP_E_PERMISSION)
        error->add("; it needs CAP_NET_ADMIN, or leave out the options xdp.napi_defer_hard_irqs and "
                   "xdp.gro_flush_timeout_ns");
    return code;
}

// ---- what there is, by netlink ----

namespace {

struct NapiFound {
    uint32_t id;
    bool told; // its values
    NapiValues values;
};
struct NapiList {
    uint32_t ifindex = 0;
    int64_t queue = -1;
    uint32_t count = 0;
    bool too_many = false;
    NapiFound found[napi_count_max];
    uint32_t ours_count = 0; // by the driver's word
    uint32_t ours[napi_count_max];
};

} // namespace

static void take_queue(void *context, const NetlinkMessage *message) {
    NapiList *list = static_cast<NapiList *>(context);
    NetdevQueue queue;
    if (message == nullptr) list->ours_count = 0;
    if (message == nullptr || !netdev_queue_read(*message, &queue)) return;
    if (queue.interface != list->ifindex || !queue.receives || queue.napi == 0) return;
    if (list->queue >= 0 && list->queue != queue.number) return;
    if (list->ours_count != napi_count_max) list->ours[list->ours_count++] = queue.napi;
}

static void take_napi(void *context, const NetlinkMessage *message) {
    NapiList *list = static_cast<NapiList *>(context);
    NetdevNapi napi;
    if (message == nullptr) {
        list->count = 0;
        list->too_many = false;
        return;
    }
    if (!netdev_napi_read(*message, &napi) || napi.interface != list->ifindex || napi.id == 0) return;
    NapiFound one = {};
    one.id = napi.id;
    one.told = napi.told && napi.defer_hard_irqs <= UINT32_MAX;
    one.values.defer_hard_irqs = static_cast<uint32_t>(napi.defer_hard_irqs);
    one.values.gro_flush_timeout_ns = napi.gro_flush_timeout_ns;
    if (list->count == napi_count_max)
        list->too_many = true;
    else
        list->found[list->count++] = one;
}

// False: this kernel has no such list.
static bool read_list(Netlink *netlink, uint16_t family, NapiList *list) {
    netdev_list_queues(netlink, family, list->ifindex, take_queue, list);
    return netdev_list_napis(netlink, family, list->ifindex, take_napi, list) == 0;
}
static const NapiFound *find(const NapiList &list, uint32_t id) {
    for (uint32_t i = 0; i < list.count; i++)
        if (list.found[i].id == id) return &list.found[i];
    return nullptr;
}
static bool is_ours(const NapiList &list, uint32_t id) {
    for (uint32_t i = 0; i < list.ours_count; i++)
        if (list.ours[i] == id) return true;
    return list.ours_count == 0;
}

static int set_napi(Netlink *netlink, uint16_t family, uint32_t id, const NapiValues &values) {
    return netdev_set_napi(netlink, family, id, values.defer_hard_irqs, values.gro_flush_timeout_ns);
}

// ---- by netlink ----

static NapiChange *change_of(NapiTuning *tuning, uint32_t id) {
    for (uint32_t i = 0; i < tuning->count; i++)
        if (tuning->changes[i].id == id) return &tuning->changes[i];
    return nullptr;
}
// NAPIs that went away with the link have nothing that could be put back.
static void forget_gone(NapiTuning *tuning, const NapiList &list) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tuning->count; i++)
        if (find(list, tuning->changes[i].id) != nullptr) tuning->changes[kept++] = tuning->changes[i];
    tuning->count = kept;
}

static int change_napis(NapiTuning *tuning, Netlink *netlink, uint16_t family, const NapiList &list,
                        const NapiWish &wish, ErrorText *error) {
    forget_gone(tuning, list);
    for (uint32_t i = 0; i < list.count; i++) {
        const NapiFound &napi = list.found[i];
        if (!is_ours(list, napi.id) || change_of(tuning, napi.id) != nullptr) continue;
        const NapiChange change = {napi.id, napi.values, wanted(napi.values, wish)};
        if (same(change.before, change.ours)) continue;
        const int cause = set_napi(netlink, family, napi.id, change.ours);
        if (cause == ENOENT) continue; // gone since it was listed
        if (cause != 0) return set_failed(*tuning, cause, error);
        tuning->changes[tuning->count++] = change;
    }
    return WSXDP_OK;
}

static int no_napi(const NapiTuning &tuning, ErrorText *error) {
    begin(tuning, WSXDP_E_UNSUPPORTED, 0, error);
    error->add("it has no NAPI that could be polled, as virtual ones have none in generic mode; leave out "
               "xdp.napi_defer_hard_irqs and xdp.gro_flush_timeout_ns");
    return WSXDP_E_UNSUPPORTED;
}

static int tune_by_netlink(NapiTuning *tuning, Netlink *netlink, int64_t queue, const NapiWish &wish,
                           ErrorText *error) {
    const uint16_t family = netdev_family(netlink);
    NapiList list;
    list.ifindex = tuning->ifindex;
    list.queue = queue;
    if (family == 0 || !read_list(netlink, family, &list) || (list.count != 0 && !list.found[0].told)) {
        tuning->way = NapiWay::sysfs;
        return WSXDP_OK;
    }
    tuning->way = NapiWay::netlink;
    if (list.count == 0) return no_napi(*tuning, error);
    if (list.too_many) {
        begin(*tuning, WSXDP_E_UNSUPPORTED, 0, error).add("it has more than ").number(napi_count_max);
        error->add(" NAPIs; leave out the options and write /sys/class/net/").add(tuning->interface).add("/");
        return WSXDP_E_UNSUPPORTED;
    }
    if (tuning->lock >= 0) return change_napis(tuning, netlink, family, list, wish, error);
    for (uint32_t i = 0; i < list.count; i++) {
        const NapiValues &now = list.found[i].values;
        if (is_ours(list, list.found[i].id) && !same(now, wanted(now, wish))) return WSXDP_E_XDP_OCCUPIED;
    }
    return WSXDP_OK;
}

static void restore_by_netlink(NapiTuning *tuning) {
    Netlink netlink;
    ErrorText ignored;
    if (netlink_open(&netlink, NETLINK_GENERIC, &ignored) < 0) return;
    const uint16_t family = netdev_family(&netlink);
    NapiList list;
    list.ifindex = tuning->ifindex;
    if (family != 0 && read_list(&netlink, family, &list))
        for (uint32_t i = 0; i < tuning->count; i++) {
            const NapiChange &change = tuning->changes[i];
            const NapiFound *napi = find(list, change.id);
            if (napi != nullptr && same(napi->values, change.ours))
                set_napi(&netlink, family, change.id, change.before);
        }
    netlink_close(&netlink);
}

// ---- by sysfs ----

static const char defer_file[] = "napi_defer_hard_irqs";
static const char flush_file[] = "gro_flush_timeout";

static bool read_values(const char *interface, NapiValues *out) {
    uint64_t defer = 0;
    if (!sysfs_number(interface, defer_file, &defer) || defer > UINT32_MAX) return false;
    out->defer_hard_irqs = static_cast<uint32_t>(defer);
    return sysfs_number(interface, flush_file, &out->gro_flush_timeout_ns);
}

static int write_value(const char *interface, const char *file, uint64_t value) {
    char path[96], text[24];
    Writer digits{ByteSpan(text, sizeof text)};
    digits.decimal(value);
    if (!sysfs_path(interface, file, path, sizeof path)) return ENAMETOOLONG;
    const int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0) return errno;
    const ssize_t wrote = write(fd, text, digits.size());
    const int cause = wrote < 0 ? errno : 0;
    close(fd);
    return cause;
}
// The timeout first: interrupts are never put off without an end.
static int write_values(const char *interface, const NapiValues &now, const NapiValues &values) {
    int cause = 0;
    if (now.gro_flush_timeout_ns != values.gro_flush_timeout_ns)
        cause = write_value(interface, flush_file, values.gro_flush_timeout_ns);
    if (cause == 0 && now.defer_hard_irqs != values.defer_hard_irqs)
        cause = write_value(interface, defer_file, values.defer_hard_irqs);
    return cause;
}

static int tune_by_sysfs(NapiTuning *tuning, const NapiWish &wish, ErrorText *error) {
    if (tuning->count != 0) return WSXDP_OK; // the interface keeps them while it is down
    LinkFacts link;
    Netlink route;
    int status = netlink_open(&route, NETLINK_ROUTE, error);
    if (status >= 0) status = link_by_name(&route, tuning->interface, &link, error);
    netlink_close(&route);
    if (status < 0) return status;
    NapiChange change;
    if (!sysfs_is_ours(link) || !read_values(tuning->interface, &change.before)) {
        begin(*tuning, WSXDP_E_UNSUPPORTED, 0, error);
        error->add("before Linux 6.13 they are set through /sys/class/net/, which here is missing or shows "
                   "another network namespace; mount the sysfs of this one (ip netns exec does)");
        return WSXDP_E_UNSUPPORTED;
    }
    change.ours = wanted(change.before, wish);
    if (same(change.before, change.ours)) return WSXDP_OK;
    if (tuning->lock < 0) return WSXDP_E_XDP_OCCUPIED;
    tuning->changes[tuning->count++] = change; // before it is: half of it may succeed
    const int cause = write_values(tuning->interface, change.before, change.ours);
    return cause == 0 ? WSXDP_OK : set_failed(*tuning, cause, error);
}

static void restore_by_sysfs(NapiTuning *tuning) {
    LinkFacts link;
    Netlink route;
    ErrorText ignored;
    const NapiChange &change = tuning->changes[0];
    NapiValues now;
    const bool there = netlink_open(&route, NETLINK_ROUTE, &ignored) >= 0 &&
                       link_by_name(&route, tuning->interface, &link, &ignored) >= 0;
    netlink_close(&route);
    if (!there || link.index != tuning->ifindex || !sysfs_is_ours(link)) return;
    if (!read_values(tuning->interface, &now)) return;
    NapiValues back = now;
    if (now.defer_hard_irqs == change.ours.defer_hard_irqs)
        back.defer_hard_irqs = change.before.defer_hard_irqs;
    if (now.gro_flush_timeout_ns == change.ours.gro_flush_timeout_ns)
        back.gro_flush_timeout_ns = change.before.gro_flush_timeout_ns;
    // Deferring ends before its timeout does.
    if (now.defer_hard_irqs != back.defer_hard_irqs)
        write_value(tuning->interface, defer_file, back.defer_hard_irqs);
    if (now.gro_flush_timeout_ns != back.gro_flush_timeout_ns)
        write_value(tuning->interface, flush_file, back.gro_flush_timeout_ns);
}

// ---- both ----

// -1: another handle has it.
static int take_lock(uint32_t ifindex) {
    const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    sockaddr_un address = {};
    address.sun_family = AF_UNIX;
    Writer name{ByteSpan(address.sun_path + 1, sizeof address.sun_path - 1)};
    name.text("wsxdp/napi/");
    name.decimal(ifindex);
    const socklen_t size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    if (bind(fd, reinterpret_cast<sockaddr *>(&address), size) == 0) return fd;
    close(fd);
    return -1;
}

int napi_tune(NapiTuning *tuning, const char *interface, uint32_t ifindex, int64_t queue,
              const NapiWish &wish, ErrorText *error) {
    if (wish.defer_hard_irqs == 0 && wish.gro_flush_timeout_ns == 0) return WSXDP_OK;
    if (tuning->ifindex != 0 && tuning->ifindex != ifindex) napi_restore(tuning);
    tuning->ifindex = ifindex;
    const size_t size = strnlen(interface, sizeof tuning->interface - 1);
    memcpy(tuning->interface, interface, size);
    tuning->interface[size] = 0;
    if (tuning->lock < 0) tuning->lock = take_lock(ifindex);
    int status = WSXDP_OK;
    if (tuning->way != NapiWay::sysfs) {
        Netlink netlink;
        status = netlink_open(&netlink, NETLINK_GENERIC, error);
        if (status >= 0) status = tune_by_netlink(tuning, &netlink, queue, wish, error);
        netlink_close(&netlink);
    }
    if (status >= 0 && tuning->way == NapiWay::sysfs) status = tune_by_sysfs(tuning, wish, error);
    if (status == WSXDP_E_XDP_OCCUPIED)
        begin(*tuning, status, 0, error)
            .add("another handle or process has set them to other values; use the same, or leave them out");
    if (status < 0) napi_restore(tuning);
    return status;
}

void napi_restore(NapiTuning *tuning) {
    if (tuning->count != 0) {
        if (tuning->way == NapiWay::netlink) restore_by_netlink(tuning);
        if (tuning->way == NapiWay::sysfs) restore_by_sysfs(tuning);
    }
    if (tuning->lock >= 0) close(tuning->lock);
    tuning->lock = -1;
    tuning->count = 0;
    tuning->ifindex = 0;
}

} // namespace wx
