// SPDX-License-Identifier: MIT
// Options and facts to what an XdpHost is opened with: reads the interface's queues, hash and offloads when
// the first connection names it, warns of what would lose packets, and refuses at open what this process may
// not do. Moves no packet itself. Cold; the worst case accepted is an interface whose driver tells nothing,
// which is then taken to have one queue.
#include "xdp.h"
#include "../base/alloc.h"
#include "../host/napi.h"
#include "../host/nic_facts.h"
#include "../host/routes.h"
#include "../ring/region.h"
#include <net/if.h>

namespace wx {

struct XdpTuner {
    const Options *options = nullptr;
    NapiTuning napi;
};

struct XdpTransport {
    const Options *options = nullptr;
    Routes *routes = nullptr;
    XdpPaths paths; // of routes
    NicFacts facts; // its RSS tables are looked at as long as the interface is ours
    XdpTuner tuner;
    XdpHost host;
};

XdpHost *xdp_transport_host(XdpTransport *xdp) { return &xdp->host; }

static uint32_t frame_bytes(const Options &o, uint32_t mtu) {
    int64_t asked = o.integer(Option::xdp_frame_bytes);
    return asked == 0 ? frame_bytes_for(mtu) : static_cast<uint32_t>(asked);
}

// Merged packets are larger than a frame, and are dropped.
static void warn(const NicFacts &facts, NicOptions *out) {
    Writer text{ByteSpan(out->warning, sizeof out->warning - 1)};
    bool merges = facts.lro == Known::yes || facts.gro_hw == Known::yes;
    if (!merges) return;
    text.text("interface ");
    text.text(facts.name);
    text.text(" merges received packets, which do not fit into AF_XDP's frames then: ethtool -K ");
    text.text(facts.name);
    text.text(facts.lro == Known::yes ? " lro off" : " rx-gro-hw off");
    *text.at = 0;
}

// ---- the process and the interface that is named ----

static int check_process(ErrorText *error) {
    if (xdp_program_image(false).size == 0) {
        XdpProgram none; // says what is missing in this build
        return xdp_program_load(&none, XdpProgramOptions(), error);
    }
    ProcessFacts facts;
    process_facts_read(&facts);
    uint8_t text[96];
    Writer missing{ByteSpan(text, sizeof text)};
    missing_capabilities(facts, &missing);
    if (missing.size() == 0) return WSXDP_OK;
    error->begin(WSXDP_E_PERMISSION).add("transport=xdp needs ").add(missing.view());
    error->add(
        "; run as root, or setcap cap_net_admin,cap_net_raw,cap_bpf+ep PROGRAM (wsxdp doctor says more)");
    return WSXDP_E_PERMISSION;
}

static int named_interface(XdpTransport *xdp, LinkFacts *link, ErrorText *error) {
    const char *name = xdp->options->text(Option::xdp_interface);
    int status = routes_link_by_name(xdp->routes, name, link, error);
    if (status < 0 || (link->ethernet && !link->loopback)) return status;
    error->begin(WSXDP_E_XDP_INTERFACE).add("option xdp.interface=").add(name).add(": AF_XDP needs Ethernet");
    error->add(link->loopback ? ", and this is the loopback device"
                              : ", and this is a device of another kind");
    error->add("; name the interface that leads to the peer, or none, and the route decides");
    return WSXDP_E_XDP_INTERFACE;
}

// An interface is given by its name, and which one has that name may change as long as it is not ours.
static int route(void *context, const IpAddress &remote, uint32_t interface, XdpRoute *out,
                 ErrorText *error) {
    XdpTransport *xdp = static_cast<XdpTransport *>(context);
    LinkFacts link;
    const bool named = xdp->options->text(Option::xdp_interface)[0] != 0;
    if (named && xdp->host.nic.mode == NicMode::none) {
        int status = named_interface(xdp, &link, error);
        if (status < 0) return status;
        xdp->host.options.ifindex = link.index;
        if (interface != 0) interface = link.index;
    }
    int status = xdp->paths.route(xdp->paths.context, remote, interface, out, error);
    if (status != WSXDP_E_UNREACHABLE || link.index == 0 || link.up) return status;
    // An interface that is down has no routes: they are not what is missing.
    error->begin(WSXDP_E_XDP_LINK_DOWN).add("interface ").add(link.name).add(" is down; ip link set ");
    error->add(link.name).add(" up");
    return WSXDP_E_XDP_LINK_DOWN;
}
static int neighbor(void *context, const XdpRoute &way, uint8_t mac[6], ErrorText *error) {
    const XdpPaths &paths = static_cast<XdpTransport *>(context)->paths;
    return paths.neighbor(paths.context, way, mac, error);
}
static uint64_t changes(void *context) {
    const XdpPaths &paths = static_cast<XdpTransport *>(context)->paths;
    return paths.changes(paths.context);
}

// As the options' choices.
enum class BusyPoll : int64_t { no, yes, automatic };
enum class Trickle : int64_t { automatic, yes, no };

static bool busy_polls(const Options &o, const NicFacts &facts) {
    const BusyPoll choice = static_cast<BusyPoll>(o.integer(Option::xdp_busy_poll));
    // Seen on veth: a round trip takes 7 % longer with it.
    return choice == BusyPoll::yes || (choice == BusyPoll::automatic && !facts.is_virtual);
}

bool xdp_trickles(int64_t choice, const char *driver) {
    return static_cast<Trickle>(choice) == Trickle::yes ||
           (static_cast<Trickle>(choice) == Trickle::automatic && strcmp(driver, "igc") == 0);
}

static NapiWish napi_wish(const Options &o) {
    NapiWish wish;
    wish.defer_hard_irqs = static_cast<uint32_t>(o.integer(Option::xdp_napi_defer_hard_irqs));
    wish.gro_flush_timeout_ns = static_cast<uint64_t>(o.integer(Option::xdp_gro_flush_timeout_ns));
    return wish;
}
static int tune_by(void *context, const NicOptions &nic, ErrorText *error) {
    XdpTuner *tuner = static_cast<XdpTuner *>(context);
    if (!nic.busy_poll) return WSXDP_OK; // nobody would poll for what waits
    return napi_tune(&tuner->napi, nic.interface, nic.ifindex, nic.queue, napi_wish(*tuner->options), error);
}
static void restore_by(void *context) { napi_restore(&static_cast<XdpTuner *>(context)->napi); }
static int tune(void *context, const NicOptions &nic, ErrorText *error) {
    return tune_by(&static_cast<XdpTransport *>(context)->tuner, nic, error);
}
static void restore(void *context) { restore_by(&static_cast<XdpTransport *>(context)->tuner); }

int xdp_tuner_open(const Options *options, NicSupport *support, XdpTuner **out, ErrorText *error) {
    *out = allocate_object<XdpTuner>();
    if (*out == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening transport=xdp: out of memory");
        return WSXDP_E_MEMORY;
    }
    (*out)->options = options;
    support->context = *out;
    support->tune = tune_by;
    support->restore = restore_by;
    return WSXDP_OK;
}
void xdp_tuner_close(XdpTuner *tuner) { deallocate(tuner); }

static int describe(void *context, uint32_t ifindex, NicOptions *out, ErrorText *error) {
    XdpTransport *xdp = static_cast<XdpTransport *>(context);
    const Options &o = *xdp->options;
    *out = NicOptions();
    LinkFacts link;
    // With fallback=socket nobody has looked yet. Another process's rights are told by its own attempt.
    const NicPort *port = xdp->host.port;
    int status = port != nullptr && port->receive != nullptr ? WSXDP_OK : check_process(error);
    if (status >= 0) status = routes_link(xdp->routes, ifindex, &link, error);
    if (status >= 0) status = nic_facts_read(link.name, &xdp->facts, error);
    if (status < 0) return status;
    const NicFacts &facts = xdp->facts;
    out->ifindex = ifindex;
    memcpy(out->interface, link.name, sizeof out->interface);
    out->mode = static_cast<NicModeChoice>(o.integer(Option::xdp_mode));
    out->queue = o.integer(Option::xdp_queue);
    out->umem.frames =
        static_cast<uint32_t>(power_of_two_at_least(static_cast<uint64_t>(o.integer(Option::xdp_frames))));
    out->umem.frame_bytes = frame_bytes(o, link.mtu);
    out->umem.hugepages = o.flag(Option::xdp_hugepages);
    out->tuples = xdp->host.options.connections * 2 + xdp->host.options.time_wait;
    out->nic_timestamps = o.integer(Option::timestamps) == 3;
    out->dispatcher = o.flag(Option::xdp_dispatcher);
    out->busy_poll = busy_polls(o, facts);
    out->busy_poll_us = static_cast<uint32_t>(o.integer(Option::xdp_busy_poll_us));
    out->busy_poll_budget = static_cast<uint32_t>(o.integer(Option::xdp_busy_poll_budget));
    if (xdp_trickles(o.integer(Option::xdp_trickle), facts.driver))
        out->trickle = o.integer(Option::xdp_trickle_interval_ns);
    out->queues = facts.receive_queues != 0 ? facts.receive_queues : 1;
    out->rss.key = facts.rss_key;
    out->rss.key_bytes = facts.rss_key_bytes;
    out->rss.queues = facts.rss_table;
    out->rss.queue_count = facts.rss_table_size;
    out->toeplitz = facts.rss_hash == RssHash::toeplitz && !facts.rss_symmetric;
    out->ports_hashed4 = facts.rss_hashes_ports4 == Known::yes;
    out->ports_hashed6 = facts.rss_hashes_ports6 == Known::yes;
    warn(facts, out);
    return WSXDP_OK;
}

static TcpConfig tcp_config(const Options &o) {
    static const CongestionKind kinds[] = {CongestionKind::cubic, CongestionKind::newreno,
                                           CongestionKind::none};
    TcpConfig c;
    c.receive_bytes = static_cast<uint32_t>(o.integer(Option::xdp_receive_bytes));
    c.held_bytes = c.receive_bytes;
    c.send_bytes = static_cast<uint32_t>(o.integer(Option::xdp_send_bytes));
    c.congestion = kinds[o.integer(Option::xdp_congestion)];
    c.rtt.min = o.integer(Option::xdp_rto_min_ns);
    c.ack_segments = static_cast<uint32_t>(o.integer(Option::xdp_ack_segments));
    c.ack_delay = o.integer(Option::xdp_ack_delay_ns);
    c.user_timeout = o.integer(Option::xdp_user_timeout_ns);
    c.keepalive_idle = o.integer(Option::xdp_keepalive_ns);
    // Who asks for a probe soon wants to know soon, and not after nine probes at the customary distance.
    if (c.keepalive_idle != 0 && c.keepalive_idle < c.keepalive_interval)
        c.keepalive_interval = c.keepalive_idle;
    c.time_wait = o.integer(Option::xdp_time_wait_ns);
    return c;
}

static int check_options(const Options &o, const TcpConfig &tcp, ErrorText *error) {
    int64_t frame = o.integer(Option::xdp_frame_bytes);
    if (frame != 0 && frame != 2048 && frame != 4096) {
        error->begin(WSXDP_E_OPTION_RANGE).add("option xdp.frame_bytes=").number(frame);
        error->add(": the kernel takes frames of 2048 or 4096 bytes; 0 picks one");
        return WSXDP_E_OPTION_RANGE;
    }
    const NapiWish wish = napi_wish(o);
    const bool defers = wish.defer_hard_irqs != 0 || wish.gro_flush_timeout_ns != 0;
    if (defers && static_cast<BusyPoll>(o.integer(Option::xdp_busy_poll)) == BusyPoll::no) {
        error->begin(WSXDP_E_INVALID)
            .add("options xdp.napi_defer_hard_irqs and xdp.gro_flush_timeout_ns let packets wait until "
                 "somebody polls for them; set xdp.busy_poll=yes as well, or leave them out");
        return WSXDP_E_INVALID;
    }
    const char *problem = tcp_config_problem(tcp);
    if (problem == nullptr) return WSXDP_OK;
    error->begin(WSXDP_E_INVALID).add("xdp options: ").add(problem);
    return WSXDP_E_INVALID;
}

static bool falls_back(const Options &o) { return o.integer(Option::fallback) == 1; }

static int open_host(XdpTransport *xdp, const XdpPlace &place, ErrorText *error) {
    const Options &o = *xdp->options;
    XdpHostOptions host;
    host.tcp = tcp_config(o);
    host.checksums = o.integer(Option::xdp_checksum) == 0 ? ChecksumPolicy::verify : ChecksumPolicy::trust;
    host.connections = static_cast<uint32_t>(place.connections);
    host.vlan = static_cast<int32_t>(o.integer(Option::xdp_vlan));
    int status = check_options(o, host.tcp, error);
    if (status >= 0) status = routes_open(&xdp->routes, error);
    if (status < 0) return status;
    if (o.text(Option::xdp_interface)[0] != 0) {
        LinkFacts link;
        status = named_interface(xdp, &link, error);
        if (status < 0 && !falls_back(o)) return status; // else each connection says it, and goes on
        if (status >= 0) host.ifindex = link.index;
    }
    XdpSupport support;
    xdp->paths = routes_paths(xdp->routes);
    support.paths = xdp->paths;
    support.paths.context = xdp;
    support.paths.route = route;
    support.paths.neighbor = neighbor;
    support.paths.changes = changes;
    support.context = xdp;
    support.describe = describe;
    support.port = place.port;
    if (place.port == nullptr) { // else the nic stage does
        support.tune = tune;
        support.restore = restore;
    }
    return xdp_host_open(&xdp->host, host, support, place.poller, place.clock, place.random, error);
}

int xdp_transport_open(const Options *options, const XdpPlace &place, XdpTransport **out, ErrorText *error) {
    *out = nullptr;
    int status = falls_back(*options) ? WSXDP_OK : check_process(error);
    if (status < 0) return status;
    XdpTransport *xdp = allocate_object<XdpTransport>();
    if (xdp == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening transport=xdp: out of memory");
        return WSXDP_E_MEMORY;
    }
    xdp->options = xdp->tuner.options = options;
    status = open_host(xdp, place, error);
    if (status < 0) {
        xdp_transport_close(xdp);
        return status;
    }
    *out = xdp;
    return status;
}

void xdp_transport_close(XdpTransport *xdp) {
    if (xdp == nullptr) return;
    xdp_host_close(&xdp->host);
    routes_close(xdp->routes);
    deallocate(xdp);
}

} // namespace wx
