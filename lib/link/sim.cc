// SPDX-License-Identifier: MIT
// Paths out of filters, and a network out of paths. A path leads only through the filters that are on, so one
// with everything off costs the one copy that separates sending from delivery. A network is one timeline and
// a path for every ordered pair of ends. Worst case: sixteen ends are 240 paths, half a megabyte and some 50
// us to reset.
#include "sim.h"
#include "../base/alloc.h"
#include "../base/status.h"

namespace wx {
namespace {

constexpr unsigned ends_min = 2;

// Number of a filter in its path: what its seed is made of. Never renumbered, or every kept seed means
// another run.
enum Part : uint64_t {
    part_capture_entry,
    part_dead,
    part_flap,
    part_chosen,
    part_mtu,
    part_loss,
    part_burst,
    part_rate,
    part_corrupt,
    part_duplicate,
    part_reorder,
    part_delay,
    part_capture_exit,
};

void path_accept(PacketSink *self, ByteView packet, Nanos now) {
    PacketSink *head = static_cast<SimPath *>(self)->head;
    head->accept(head, packet, now);
}

// From the end to the beginning: what is on goes in front of what is there. What is off still leads on, for
// the packets that it holds.
struct Chain {
    PacketSink *first;
    void add(SimFilter *filter, bool on) {
        filter->next = first;
        if (on) first = filter;
    }
};

void relink(SimPath *path) {
    const SimMtuOptions &mtu = path->mtu.options;
    const SimFlapOptions &flap = path->flap.options;
    const SimChosenOptions &chosen = path->chosen.options;
    Chain chain = {path->exit};
    chain.add(&path->capture_exit, path->capture_exit.options.writer != nullptr);
    chain.add(&path->delay, true);
    chain.add(&path->reorder, path->reorder.options.ppm != 0);
    chain.add(&path->duplicate, path->duplicate.options.ppm != 0);
    chain.add(&path->corrupt, path->corrupt.options.ppm != 0);
    chain.add(&path->rate, path->rate.options.bits_per_s != 0);
    chain.add(&path->burst, path->burst.options.enter_ppm != 0);
    chain.add(&path->loss, path->loss.options.ppm != 0);
    chain.add(&path->mtu, mtu.mtu != 0 || mtu.shrink_to != 0);
    chain.add(&path->chosen, chosen.dropped_count != 0 || chosen.drop != nullptr);
    chain.add(&path->flap, flap.outage_count != 0 || (flap.period > 0 && flap.down > 0));
    chain.add(&path->dead, path->dead.options.from != never);
    chain.add(&path->capture_entry, path->capture_entry.options.writer != nullptr);
    path->head = chain.first;
}

struct Opening { // of one path's filters
    SimPlace base;
    SimPlace place(Part part) const {
        SimPlace place = base;
        place.seed = sim_seed(base.seed, part);
        return place;
    }
};

SimCaptureOptions capture_options(PcapWriter *writer) {
    SimCaptureOptions options;
    options.writer = writer;
    return options;
}

} // namespace

void sim_path_open(SimPath *path, const SimPathOptions &options, PacketSink *back, const SimPlace &place) {
    const Opening opening = {place};
    path->accept = path_accept;
    path->exit = place.next;
    path->timeline = place.timeline;
    sim_capture_open(&path->capture_entry, capture_options(options.capture_entry),
                     opening.place(part_capture_entry));
    sim_dead_open(&path->dead, options.dead, opening.place(part_dead));
    sim_flap_open(&path->flap, options.flap, opening.place(part_flap));
    sim_chosen_open(&path->chosen, options.chosen, opening.place(part_chosen));
    sim_mtu_open(&path->mtu, options.mtu, back, opening.place(part_mtu));
    sim_loss_open(&path->loss, options.loss, opening.place(part_loss));
    sim_burst_open(&path->burst, options.burst, opening.place(part_burst));
    sim_rate_open(&path->rate, options.rate, opening.place(part_rate));
    sim_corrupt_open(&path->corrupt, options.corrupt, opening.place(part_corrupt));
    sim_duplicate_open(&path->duplicate, options.duplicate, opening.place(part_duplicate));
    sim_reorder_open(&path->reorder, options.reorder, opening.place(part_reorder));
    sim_delay_open(&path->delay, options.delay, opening.place(part_delay));
    sim_capture_open(&path->capture_exit, capture_options(options.capture_exit),
                     opening.place(part_capture_exit));
    relink(path);
}

void sim_path_set(SimPath *path, const SimPathOptions &options) {
    path->capture_entry.options.writer = options.capture_entry;
    path->dead.options = options.dead;
    path->flap.options = options.flap;
    path->chosen.options = options.chosen;
    path->mtu.options = options.mtu;
    path->loss.options = options.loss;
    path->burst.options = options.burst;
    if (options.burst.enter_ppm == 0) path->burst.inside = false;
    path->rate.options = options.rate;
    path->corrupt.options = options.corrupt;
    path->duplicate.options = options.duplicate;
    path->reorder.options = options.reorder;
    path->delay.options = options.delay;
    path->capture_exit.options.writer = options.capture_exit;
    relink(path);
}

SimPathOptions sim_path_options(const SimPath &path) {
    SimPathOptions options;
    options.capture_entry = path.capture_entry.options.writer;
    options.dead = path.dead.options;
    options.flap = path.flap.options;
    options.chosen = path.chosen.options;
    options.mtu = path.mtu.options;
    options.loss = path.loss.options;
    options.burst = path.burst.options;
    options.rate = path.rate.options;
    options.corrupt = path.corrupt.options;
    options.duplicate = path.duplicate.options;
    options.reorder = path.reorder.options;
    options.delay = path.delay.options;
    options.capture_exit = path.capture_exit.options.writer;
    return options;
}

void sim_path_reset(SimPath *path, uint64_t seed, Nanos start) {
    SimPlace place;
    place.timeline = path->timeline;
    place.next = path->exit;
    place.seed = seed;
    place.start = start;
    sim_path_open(path, sim_path_options(*path), path->mtu.back, place);
}

void sim_path_heal(SimPath *path) {
    SimPathOptions healed;
    healed.capture_entry = path->capture_entry.options.writer;
    healed.capture_exit = path->capture_exit.options.writer;
    healed.rate = path->rate.options;
    healed.delay = path->delay.options;
    healed.delay.overtake = false;
    sim_path_set(path, healed);
}

namespace {

void end_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimEnd *end = static_cast<SimEnd *>(self);
    if (end->sink == nullptr) {
        end->network->unattached++;
        return;
    }
    end->delivered++;
    end->sink->accept(end->sink, packet, now);
}

void entrance_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimEntrance *entrance = static_cast<SimEntrance *>(self);
    sim_network_send(entrance->network, entrance->end, packet, now);
}

size_t path_index(unsigned ends, unsigned from, unsigned to) {
    return size_t{from} * (ends - 1) + to - (to > from);
}

uint64_t path_seed(uint64_t seed, unsigned from, unsigned to) {
    return sim_seed(seed, uint64_t{from} * sim_ends_max + to);
}

// The end that has the address, or sim_ends_max. Not ip_read: a router looks at the fixed header only, so
// fragments, headers that are broken further on and protocols unknown to us travel as well.
unsigned end_of(const SimNetwork *network, const uint8_t *bytes, uint8_t version, size_t size) {
    for (unsigned i = 0; i < network->ends; i++) {
        const SimEnd &end = network->end[i];
        for (unsigned j = 0; j < end.address_count; j++)
            if (end.addresses[j].version == version && memcmp(end.addresses[j].bytes, bytes, size) == 0)
                return i;
    }
    return sim_ends_max;
}

unsigned destination_of(const SimNetwork *network, unsigned from, ByteView packet) {
    if (network->addresses == 0 && network->ends == ends_min) return 1 - from;
    const unsigned version = packet.empty() ? 0 : packet.data[0] >> 4;
    if (version == 4 && packet.size >= ip4_header_size) return end_of(network, packet.data + 16, 4, 4);
    if (version == 6 && packet.size >= ip6_header_size) return end_of(network, packet.data + 24, 6, 16);
    return sim_ends_max;
}

void open_paths(SimNetwork *network, const SimNetworkOptions &options) {
    SimPlace place;
    place.timeline = &network->timeline;
    place.start = options.start;
    for (unsigned from = 0; from < network->ends; from++)
        for (unsigned to = 0; to < network->ends; to++) {
            if (from == to) continue;
            SimPath *path = new (&network->paths[path_index(network->ends, from, to)]) SimPath();
            place.next = &network->end[to];
            place.seed = path_seed(options.seed, from, to);
            sim_path_open(path, SimPathOptions(), &network->paths[path_index(network->ends, to, from)],
                          place);
        }
}

} // namespace

int sim_network_open(SimNetwork *network, const SimNetworkOptions &options) {
    *network = SimNetwork();
    if (options.ends < ends_min || options.ends > sim_ends_max || options.run_packets_max == 0)
        return WSXDP_E_INVALID;
    const int status = sim_timeline_open(&network->timeline, options.timeline);
    if (!ok(status)) return status;
    network->paths = static_cast<SimPath *>(
        allocate_aligned(alignof(SimPath), sizeof(SimPath) * options.ends * (options.ends - 1)));
    if (network->paths == nullptr) {
        sim_network_close(network);
        return WSXDP_E_MEMORY;
    }
    network->ends = options.ends;
    network->run_packets_max = options.run_packets_max;
    for (unsigned i = 0; i < options.ends; i++) {
        network->end[i].accept = end_accept;
        network->end[i].network = network;
        network->entrance[i].accept = entrance_accept;
        network->entrance[i].network = network;
        network->entrance[i].end = i;
    }
    open_paths(network, options);
    return WSXDP_OK;
}

void sim_network_close(SimNetwork *network) {
    sim_timeline_close(&network->timeline);
    deallocate(network->paths);
    network->paths = nullptr;
    network->ends = network->addresses = 0;
}

void sim_network_reset(SimNetwork *network, uint64_t seed, Nanos start) {
    sim_timeline_reset(&network->timeline);
    network->unroutable = network->unattached = 0;
    for (unsigned from = 0; from < network->ends; from++) {
        network->end[from].delivered = 0;
        for (unsigned to = 0; to < network->ends; to++)
            if (SimPath *path = sim_network_path(network, from, to))
                sim_path_reset(path, path_seed(seed, from, to), start);
    }
}

void sim_network_attach(SimNetwork *network, unsigned end, PacketSink *sink) {
    if (end < network->ends) network->end[end].sink = sink;
}

bool sim_network_address(SimNetwork *network, unsigned end, const IpAddress &address) {
    if (end >= network->ends || address.size() == 0) return false;
    SimEnd *mine = &network->end[end];
    const unsigned owner = end_of(network, address.bytes, address.version, address.size());
    if (owner != sim_ends_max) return owner == end;
    if (mine->address_count == sim_addresses_max) return false;
    mine->addresses[mine->address_count++] = address;
    network->addresses++;
    return true;
}

SimPath *sim_network_path(SimNetwork *network, unsigned from, unsigned to) {
    if (from >= network->ends || to >= network->ends || from == to) return nullptr;
    return &network->paths[path_index(network->ends, from, to)];
}

void sim_network_send(SimNetwork *network, unsigned from, ByteView packet, Nanos now) {
    if (from >= network->ends) {
        network->unroutable++;
        return;
    }
    SimPath *path = sim_network_path(network, from, destination_of(network, from, packet));
    if (path == nullptr) {
        network->unroutable++;
        return;
    }
    path->head->accept(path->head, packet, now);
}

size_t sim_network_run(SimNetwork *network, Nanos now) {
    return sim_timeline_run(&network->timeline, now, network->run_packets_max);
}

void sim_network_heal(SimNetwork *network) {
    for (unsigned from = 0; from < network->ends; from++)
        for (unsigned to = 0; to < network->ends; to++)
            if (SimPath *path = sim_network_path(network, from, to)) sim_path_heal(path);
}

} // namespace wx
