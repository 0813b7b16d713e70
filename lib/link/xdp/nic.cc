// SPDX-License-Identifier: MIT
// The mode ladder: zero-copy, driver with copy, generic, each tried whole (program, then sockets), and left
// for the next only when the kernel says that it cannot be had; any other failure is the caller's to hear of.
// A mode that was asked for is the only one that is tried. The worst case accepted is a queue whose last
// owner has just let go: the kernel takes some milliseconds, during which open is called again.
#include "nic.h"
#include "../../base/alloc.h"

namespace wx {

const char *nic_mode_text(NicMode mode) {
    static const char *const names[] = {"none", "zero-copy", "driver", "generic"};
    return names[static_cast<unsigned>(mode)];
}

static uint32_t first_queue(const NicOptions &o) {
    return o.queue == nic_every_queue ? 0 : static_cast<uint32_t>(o.queue);
}
static uint32_t sockets_wanted(const NicOptions &o) { return o.queue == nic_every_queue ? o.queues : 1; }

// Sockets that share the frames may together give half of them to the kernel: the first ones to ask would
// otherwise take all, and a queue without any is one whose packets are dropped for ever.
static uint32_t fill_slots(const XdpNic *nic) {
    const uint32_t count = sockets_wanted(nic->options);
    const uint32_t frames = nic->umem.pools[static_cast<unsigned>(Pool::receive)].count;
    uint32_t slots = nic->options.ring_slots;
    while (count > 1 && slots > 1 && slots > frames / (2 * count)) slots /= 2;
    return slots;
}

static XskOptions socket_options(const XdpNic *nic, NicMode mode, uint32_t queue) {
    const NicOptions &o = nic->options;
    XskOptions x;
    x.ifindex = o.ifindex;
    x.interface = o.interface;
    x.queue = queue;
    x.receive_slots = x.send_slots = x.completion_slots = o.ring_slots;
    x.fill_slots = fill_slots(nic);
    x.mode = mode == NicMode::zero_copy ? XskMode::zero_copy : XskMode::copy;
    x.generic = mode == NicMode::generic;
    x.busy_poll = o.busy_poll;
    x.busy_poll_us = o.busy_poll_us;
    x.busy_poll_budget = o.busy_poll_budget;
    return x;
}

static void close_sockets(XdpNic *nic) {
    // The first one holds the memory's registration for the others.
    while (nic->socket_count != 0) xsk_close(&nic->sockets[--nic->socket_count]);
    umem_close(&nic->umem);
}

static void note_rung(XdpNic *nic, NicMode mode, const ErrorText &error) {
    Writer text{ByteSpan(nic->ladder, sizeof nic->ladder - 1)};
    text.at += strlen(nic->ladder);
    if (nic->ladder[0] != 0) text.text("; ");
    text.text(nic_mode_text(mode));
    text.text(": ");
    text.bytes(ByteView(error.text, error.size).first(text.left()));
    *text.at = 0;
}

static int open_sockets(XdpNic *nic, NicMode *mode, ErrorText *error) {
    const NicOptions &o = nic->options;
    uint32_t first = first_queue(o);
    uint32_t count = sockets_wanted(o);
    int status = umem_open(&nic->umem, o.umem, error);
    for (uint32_t i = 0; i < count && status >= 0; i++) {
        const Xsk *shared = i == 0 ? nullptr : &nic->sockets[0];
        XskOptions options = socket_options(nic, *mode, first + i);
        options.or_copy = i == 0 && *mode == NicMode::zero_copy && o.mode == NicModeChoice::automatic;
        status = xsk_open(&nic->sockets[i], &nic->umem, options, shared, error);
        if (status >= 0) nic->socket_count = i + 1;
        if (status >= 0 && nic->sockets[i].mode != options.mode) {
            note_rung(nic, *mode, *error);
            *mode = NicMode::driver;
        }
        if (status >= 0) status = xdp_program_set_socket(&nic->program, first + i, nic->sockets[i].fd, error);
    }
    if (status < 0) close_sockets(nic);
    return status;
}

static int open_program(XdpNic *nic, NicMode mode, ErrorText *error) {
    const NicOptions &o = nic->options;
    XdpProgramOptions p;
    p.ifindex = o.ifindex;
    p.interface = o.interface;
    uint32_t last = o.queue == nic_every_queue ? o.queues : static_cast<uint32_t>(o.queue) + 1;
    p.queues = last > o.queues ? last : o.queues;
    p.tuples = o.tuples;
    p.attach = mode == NicMode::generic ? XdpAttach::generic : XdpAttach::driver;
    p.nic_timestamps = o.nic_timestamps && mode != NicMode::generic;
    p.dispatcher = o.dispatcher;
    int status = xdp_program_open(&nic->program, p, error);
    if (status >= 0 || !p.nic_timestamps || status == WSXDP_E_XDP_OCCUPIED) return status;
    p.nic_timestamps = false; // the driver has none to give
    return xdp_program_open(&nic->program, p, error);
}

// One rung of the ladder. What is open is kept when the next rung can use it.
static int try_mode(XdpNic *nic, NicMode mode, ErrorText *error) {
    bool generic = mode == NicMode::generic;
    if (nic->program.program_fd >= 0 && (nic->program.attach == XdpAttach::generic) != generic)
        xdp_program_close(&nic->program);
    int status = nic->program.program_fd >= 0 ? WSXDP_OK : open_program(nic, mode, error);
    if (status >= 0) status = open_sockets(nic, &mode, error);
    if (status >= 0) nic->mode = mode;
    return status;
}

static int climb(XdpNic *nic, ErrorText *error) {
    static const NicMode rungs[] = {NicMode::zero_copy, NicMode::driver, NicMode::generic};
    int status = WSXDP_E_XDP_MODE;
    for (NicMode mode : rungs) {
        NicModeChoice choice = nic->options.mode;
        if (choice != NicModeChoice::automatic && static_cast<int>(choice) != static_cast<int>(mode))
            continue;
        status = try_mode(nic, mode, error);
        if (status != WSXDP_E_XDP_MODE) break;
        note_rung(nic, mode, *error);
    }
    return status;
}

static int check(const NicOptions &o, ErrorText *error) {
    int64_t last = o.queue == nic_every_queue ? int64_t{o.queues} - 1 : o.queue;
    if (o.queues != 0 && last < nic_queues_max && (o.queue == nic_every_queue || last < o.queues))
        return WSXDP_OK;
    error->begin(WSXDP_E_XDP_QUEUES).add("interface ").add(o.interface).add(" receives on ");
    error->number(o.queues).add(" queues");
    if (o.queue != nic_every_queue)
        error->add(", there is no queue ")
            .number(o.queue)
            .add(" for us (they begin with 0); change xdp.queue");
    else
        error->add("; at most ")
            .number(nic_queues_max)
            .add(" can be ours: ethtool -L ")
            .add(o.interface)
            .add(" combined N, or xdp.queue=N");
    return WSXDP_E_XDP_QUEUES;
}

static int steer(XdpNic *nic, const NicOptions &o, ErrorText *error) {
    SteeringFacts facts;
    facts.interface = o.interface;
    facts.queues = o.queues;
    for (uint32_t i = 0; i < sockets_wanted(o); i++) facts.ours |= uint64_t{1} << (first_queue(o) + i);
    facts.table = o.rss;
    facts.toeplitz = o.toeplitz;
    facts.ports_hashed = o.ports_hashed4 || o.ports_hashed6;
    nic->steering = steering_choose(facts, error);
    return nic->steering == Steering::refused ? error->code : WSXDP_OK;
}

// Before anything is opened: what is refused here costs the interface nothing.
int nic_steer(XdpNic *nic, const NicOptions &o, ErrorText *error) {
    nic->steering = o.steering;
    int status = check(o, error);
    return status >= 0 && o.steering == Steering::refused ? steer(nic, o, error) : status;
}

int nic_open(XdpNic *nic, const NicOptions &options, Nanos now, ErrorText *error) {
    if (nic->mode != NicMode::none) return 1;
    int status = check(options, error);
    if (status < 0) return status;
    Nanos first_try = nic->first_try != 0 ? nic->first_try : now;
    *nic = XdpNic();
    nic->options = options;
    nic->sockets = static_cast<Xsk *>(allocate(nic_queues_max * sizeof(Xsk)));
    if (nic->sockets == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening AF_XDP sockets: out of memory");
        return WSXDP_E_MEMORY;
    }
    for (uint32_t i = 0; i < nic_queues_max; i++) new (&nic->sockets[i]) Xsk();
    status = nic_steer(nic, options, error);
    if (status >= 0) status = climb(nic, error);
    if (status >= 0) return 1;
    nic_close(nic);
    if (status != WSXDP_E_AGAIN) return status;
    nic->first_try = first_try;
    if (now - first_try < nic_retry_limit) return 0;
    nic->first_try = 0;
    ErrorText cause = *error;
    error->begin(WSXDP_E_XDP_OCCUPIED, cause.system_errno).add(cause.text);
    error->add("; another process has an AF_XDP socket on this queue: use another xdp.queue");
    return WSXDP_E_XDP_OCCUPIED;
}

void nic_close(XdpNic *nic) {
    // Packets go to the kernel again before the sockets are gone.
    xdp_program_close(&nic->program);
    if (nic->sockets != nullptr) close_sockets(nic);
    deallocate(nic->sockets);
    *nic = XdpNic();
}

bool nic_socket_stands(Xsk *socket, NicProgress *p, Nanos now) {
    if (p->stopped) return true;
    // One whose frames all went to connections receives nothing, and by receiving it would not get any.
    xsk_refill(socket, 0);
    const bool moves = socket->in_send == 0 || socket->counters.completed != p->completed || p->since == 0;
    if (!moves) return now - p->since > nic_completion_limit;
    p->completed = socket->counters.completed;
    p->since = now;
    return false;
}

void nic_stop(XdpNic *nic, uint32_t index) {
    xdp_program_await_socket(&nic->program, true);
    xsk_stop(&nic->sockets[index]);
}

int nic_reopen(XdpNic *nic, uint32_t index, ErrorText *error) {
    const Xsk *shared = nullptr;
    for (uint32_t i = 0; i < nic->socket_count && shared == nullptr; i++)
        if (i != index && nic->sockets[i].fd >= 0) shared = &nic->sockets[i];
    Xsk *x = &nic->sockets[index];
    uint32_t queue = x->queue;
    xsk_close(x); // what xsk_stop has left
    int status = xsk_open(x, &nic->umem, socket_options(nic, nic->mode, queue), shared, error);
    if (status < 0) x->queue = queue; // for the next try
    if (status >= 0) status = xdp_program_set_socket(&nic->program, queue, x->fd, error);
    bool awaited = status < 0;
    for (uint32_t i = 0; i < nic->socket_count; i++) awaited |= nic->sockets[i].fd < 0;
    if (!awaited) xdp_program_await_socket(&nic->program, false);
    return status;
}

bool nic_steers(const XdpNic *nic, const TcpTuple &tuple) {
    if (nic->steering != Steering::by_port) return nic->steering != Steering::refused;
    bool hashed = tuple.local.version == 6 ? nic->options.ports_hashed6 : nic->options.ports_hashed4;
    return hashed && rss_queue(nic->options.rss, tuple) == nic->sockets[0].queue;
}

} // namespace wx
