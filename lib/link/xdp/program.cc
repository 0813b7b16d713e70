// SPDX-License-Identifier: MIT
// The XDP program's life on an interface. It is attached by a bpf_link: when the process ends, however it
// ends, the kernel takes the program away and the host has its packets back; one that was attached by netlink
// would go on stealing them. Nothing that somebody else has attached is ever replaced. Worst case: the
// interface is taken, and the sentence names by what.
#include "program_parts.h"
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_link.h>
#include <net/if.h>
#include <unistd.h>

namespace wx {

// In driver mode a packet lies in one page, behind the headroom and before what the kernel keeps at the end;
// drivers refuse an MTU from about here on (veth: 3506 with a page of 4096 bytes).
constexpr uint32_t driver_mtu_max = 3400;

static int occupied(const XdpProgramOptions &options, int cause, const XdpPresent &there, ErrorText *error) {
    program_sentence(error, WSXDP_E_XDP_OCCUPIED, cause, options).add("an XDP program is there already: ");
    if (there.name[0] != 0) error->add(ByteView(there.name)).add(", ");
    error->add("id ")
        .number(there.id)
        .add(there.offloaded ? ", offloaded"
             : there.generic ? ", generic mode"
                             : ", driver mode")
        .add(". Stop the program that owns it, detach it (ip link set dev ")
        .add(ByteView(options.interface))
        .add(there.generic ? " xdpgeneric off" : " xdp off")
        .add("), or share the interface with xdp.dispatcher=yes");
    return WSXDP_E_XDP_OCCUPIED;
}

static int mode_refused(const XdpProgramOptions &options, int cause, uint32_t mtu, const ProgramWords &words,
                        ErrorText *error) {
    const bool driver = options.attach == XdpAttach::driver;
    program_sentence(error, WSXDP_E_XDP_MODE, cause, options);
    if (driver && mtu > driver_mtu_max && cause != EOPNOTSUPP) {
        error->add("the driver does not take an XDP program with an MTU of ")
            .number(mtu)
            .add(": ")
            .errno_name(cause)
            .add(". Lower the MTU of both ends to ")
            .number(driver_mtu_max)
            .add(" or less, or use xdp.mode=generic");
    } else {
        error->add(driver ? "the driver does not take an XDP program: " : "no XDP program in generic mode: ")
            .errno_name(cause);
        if (!words.said().empty()) error->add(", ").add(words.said());
        error->add(driver ? ". Use xdp.mode=generic, which works with every driver" : "");
    }
    return WSXDP_E_XDP_MODE;
}

int program_attach_failed(const XdpProgramOptions &options, int cause, const ProgramWords &words,
                          ErrorText *error) {
    uint32_t mtu = 0;
    if (!program_interface_exists(options.ifindex, &mtu) || cause == ENODEV) {
        program_sentence(error, WSXDP_E_XDP_INTERFACE, cause, options)
            .add("the interface has gone away while the XDP program was attached");
        return WSXDP_E_XDP_INTERFACE;
    }
    if (cause == EPERM || cause == EACCES)
        return program_refused(error, cause, options, "attaching the XDP program");
    XdpPresent there;
    ErrorText ignored;
    if ((cause == EBUSY || cause == EEXIST) && xdp_program_present(options.ifindex, &there, &ignored) == 0 &&
        there.id != 0)
        return occupied(options, cause, there, error);
    if (cause == ENOMEM) {
        program_sentence(error, WSXDP_E_MEMORY, cause, options)
            .add("no memory to attach the XDP program; generic mode needs less");
        return WSXDP_E_MEMORY;
    }
    if (cause == EOPNOTSUPP || cause == ERANGE || cause == EINVAL || cause == ENOSPC)
        return mode_refused(options, cause, mtu, words, error);
    program_sentence(error, WSXDP_E_XDP_PROGRAM, cause, options)
        .add("the XDP program cannot be attached: ")
        .errno_name(cause);
    if (!words.said().empty()) error->add("; ").add(words.said());
    return WSXDP_E_XDP_PROGRAM;
}

static int attach(XdpProgram *p, const XdpProgramOptions &options, ErrorText *error) {
    ProgramWords words;
    bpf_link_create_opts opts = {};
    opts.sz = sizeof opts;
    opts.flags = options.attach == XdpAttach::driver ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE;
    p->link_fd = bpf_link_create(p->program_fd, static_cast<int>(options.ifindex), BPF_XDP, &opts);
    if (p->link_fd >= 0) return WSXDP_OK;
    const int cause = -p->link_fd;
    p->link_fd = -1;
    return program_attach_failed(options, cause, words, error);
}

int xdp_program_open(XdpProgram *p, const XdpProgramOptions &options, ErrorText *error) {
    *p = XdpProgram();
    if (options.nic_timestamps && (options.attach != XdpAttach::driver || options.dispatcher)) {
        program_sentence(error, WSXDP_E_XDP_MODE, 0, options)
            .add(
                "NIC timestamps need driver mode without the dispatcher: the kernel binds the program to the "
                "device. Choose one of them");
        return WSXDP_E_XDP_MODE;
    }
    int status = WSXDP_OK;
    if (options.dispatcher) {
        status = program_attach_shared(p, options, error);
    } else {
        status = xdp_program_load(p, options, error);
        if (status == WSXDP_OK) status = attach(p, options, error);
    }
    if (status != WSXDP_OK) xdp_program_close(p);
    return status;
}

void xdp_program_close(XdpProgram *p) {
    ProgramWords words; // nothing is to be read here, but nothing is to be printed either
    if (p->link_fd >= 0) {
        // A forked child may have the descriptor, too; it is to end now.
        bpf_link_detach(p->link_fd);
        close(p->link_fd);
    }
    program_detach_shared(p);
    bpf_object__close(p->object);
    *p = XdpProgram();
}

// ---- tuples, sockets, counters

static void interface_name(const XdpProgram *p, char name[IF_NAMESIZE]) {
    if (if_indextoname(p->ifindex, name) == nullptr) memcpy(name, "?", 2);
}

static int map_failed(const XdpProgram *p, int cause, ErrorText *error, int code, const char *what) {
    char name[IF_NAMESIZE];
    interface_name(p, name);
    if (cause == EPERM) code = WSXDP_E_PERMISSION;
    if (cause == ENOMEM) code = WSXDP_E_MEMORY;
    error->begin(code, cause)
        .add("xdp: ")
        .add(ByteView(name))
        .add(": ")
        .add(what)
        .add(": ")
        .errno_name(cause);
    if (cause == EPERM) error->add("; before Linux 5.19 this needs CAP_BPF for as long as connections come");
    return code;
}

int xdp_program_set_socket(XdpProgram *p, uint32_t queue, int fd, ErrorText *error) {
    if (fd < 0) {
        // None was there: that is what was wanted.
        if (bpf_map_delete_elem(p->sockets_fd, &queue) == 0 || errno == ENOENT) return WSXDP_OK;
        return map_failed(p, errno, error, WSXDP_E_XDP_PROGRAM, "a socket cannot be taken from its queue");
    }
    if (bpf_map_update_elem(p->sockets_fd, &queue, &fd, BPF_ANY) == 0) return WSXDP_OK;
    const int cause = errno;
    map_failed(p, cause, error, cause == E2BIG ? WSXDP_E_XDP_QUEUES : WSXDP_E_XDP_PROGRAM,
               "packets of a queue cannot be given to the AF_XDP socket");
    error->add(", queue ").number(queue);
    return error->code;
}

// One of the two keys, by the version; the map's descriptor, -1 for a tuple of no version.
static int tuple_key(const XdpProgram *p, const TcpTuple &tuple, filter_key4 *four, filter_key6 *six,
                     const void **key) {
    uint8_t ports[4];
    store_be16(ports, tuple.local_port);
    store_be16(ports + 2, tuple.remote_port);
    if (tuple.local.version != tuple.remote.version) return -1;
    if (tuple.local.version == 4) {
        memcpy(four->local, tuple.local.bytes, 4);
        memcpy(four->remote, tuple.remote.bytes, 4);
        memcpy(&four->local_port, ports, 4);
        *key = four;
        return p->tuples4_fd;
    }
    if (tuple.local.version != 6) return -1;
    memcpy(six->local, tuple.local.bytes, 16);
    memcpy(six->remote, tuple.remote.bytes, 16);
    memcpy(&six->local_port, ports, 4);
    *key = six;
    return p->tuples6_fd;
}

int xdp_program_add(XdpProgram *p, const TcpTuple &tuple, uint16_t vlan, ErrorText *error) {
    filter_key4 four;
    filter_key6 six;
    const void *key = nullptr;
    const int map = tuple_key(p, tuple, &four, &six, &key);
    const filter_value value = {vlan, 0};
    if (map < 0)
        return map_failed(p, EINVAL, error, WSXDP_E_INVALID,
                          "a connection's addresses are not of one IP version");
    if (bpf_map_update_elem(map, key, &value, BPF_ANY) == 0) return WSXDP_OK;
    if (errno != E2BIG)
        return map_failed(p, errno, error, WSXDP_E_XDP_PROGRAM,
                          "the connection cannot be told to the XDP program");
    char name[IF_NAMESIZE];
    interface_name(p, name);
    const bool is6 = tuple.local.version == 6;
    error->begin(WSXDP_E_CONNECTIONS, E2BIG)
        .add("xdp: ")
        .add(ByteView(name))
        .add(": the XDP program has room for ")
        .number(p->tuples)
        .add(is6 ? " IPv6" : " IPv4")
        .add(" connections and all are taken, those in TIME_WAIT included. Raise connections.max, or connect "
             "again later");
    return WSXDP_E_CONNECTIONS;
}

void xdp_program_remove(XdpProgram *p, const TcpTuple &tuple) {
    filter_key4 four;
    filter_key6 six;
    const void *key = nullptr;
    const int map = tuple_key(p, tuple, &four, &six, &key);
    if (map >= 0) bpf_map_delete_elem(map, key);
}

bool xdp_program_has(const XdpProgram *p, const TcpTuple &tuple) {
    filter_key4 four;
    filter_key6 six;
    filter_value value;
    const void *key = nullptr;
    const int map = tuple_key(p, tuple, &four, &six, &key);
    return map >= 0 && bpf_map_lookup_elem(map, key, &value) == 0;
}

void xdp_program_await_socket(XdpProgram *p, bool awaited) {
    const uint32_t first = 0, value = awaited;
    if (p->awaited_fd >= 0) (void)bpf_map_update_elem(p->awaited_fd, &first, &value, BPF_ANY);
}

int xdp_program_counters(const XdpProgram *p, uint64_t *out) {
    // The kernel writes a value for each CPU that there could ever be; a machine with more is not read.
    constexpr int cpus_max = 1024;
    uint64_t values[cpus_max];
    memset(out, 0, FILTER_COUNTERS * sizeof *out);
    const int cpus = libbpf_num_possible_cpus();
    if (cpus <= 0 || cpus > cpus_max || p->counters_fd < 0) return WSXDP_E_SYSTEM;
    for (uint32_t i = 0; i < FILTER_COUNTERS; i++) {
        if (bpf_map_lookup_elem(p->counters_fd, &i, values) != 0) return WSXDP_E_SYSTEM;
        for (int cpu = 0; cpu < cpus; cpu++) out[i] += values[cpu];
    }
    return WSXDP_OK;
}

// ---- what is there

int xdp_program_present(uint32_t ifindex, XdpPresent *out, ErrorText *error) {
    *out = XdpPresent();
    bpf_xdp_query_opts found = {};
    found.sz = sizeof found;
    char name[IF_NAMESIZE];
    // Of an interface that is not there the query knows nothing either, but does not say so.
    const int cause = if_indextoname(ifindex, name) == nullptr
                          ? ENODEV
                          : -bpf_xdp_query(static_cast<int>(ifindex), 0, &found);
    if (cause != 0) {
        const int code = cause == ENODEV ? WSXDP_E_XDP_INTERFACE : WSXDP_E_SYSTEM;
        error->begin(code, cause)
            .add("xdp: asking the kernel for the XDP program of interface ")
            .number(ifindex)
            .add(": ")
            .errno_name(cause);
        return code;
    }
    out->offloaded = found.hw_prog_id != 0;
    out->generic = !out->offloaded && found.drv_prog_id == 0 && found.skb_prog_id != 0;
    out->id = found.hw_prog_id    ? found.hw_prog_id
              : found.drv_prog_id ? found.drv_prog_id
              : found.skb_prog_id ? found.skb_prog_id
                                  : found.prog_id;
    if (out->id == 0) return WSXDP_OK;
    const int fd = bpf_prog_get_fd_by_id(out->id);
    if (fd < 0) return WSXDP_OK;
    bpf_prog_info info = {};
    uint32_t size = sizeof info;
    if (bpf_obj_get_info_by_fd(fd, &info, &size) == 0)
        memcpy(out->name, info.name, strnlen(info.name, sizeof info.name));
    close(fd);
    return WSXDP_OK;
}

} // namespace wx
