// SPDX-License-Identifier: MIT
// A network in memory, driven by the `now` that is handed in and by a seed: the same seed, calls and times
// give the same packets at the same times, byte for byte. Ends are joined by paths, one for each direction,
// each with impairments of its own. Also a bridge between real devices, with a real clock.
//
// The order of calls: sim_network_open, attach, (address), (sim_path_set); then, again and again,
//     sim_network_send(...)   whenever an end has a packet; also from within an end's accept
//     sim_network_run(now)    at sim_network_deadline() or later
// sim_network_reset begins anew with the memory, ends, addresses and options there are. An end's accept is
// never called from within sim_network_send, only from sim_network_run, with the packet's own time; it may
// send, set and heal, but neither reset nor close nor run.
#pragma once
#include "sim_filters.h"

namespace wx {

// All off: a new object delivers everything, at once. In the order in which packets meet them.
struct SimPathOptions {
    PcapWriter *capture_entry = nullptr; // everything that is sent
    SimDeadOptions dead;
    SimFlapOptions flap;
    SimChosenOptions chosen;
    SimMtuOptions mtu;
    SimLossOptions loss;
    SimBurstOptions burst;
    SimRateOptions rate;
    SimCorruptOptions corrupt;
    SimDuplicateOptions duplicate;
    SimReorderOptions reorder;
    SimDelayOptions delay;
    PcapWriter *capture_exit = nullptr; // everything that arrives
};

// Kinds of paths to draw options of.
enum class SimKind : uint8_t {
    perfect, // all off
    lan,
    wan,
    lossy,
    bursty,
    reordering,
    duplicating,
    corrupting,
    narrow, // slow, with a small queue
    shrinking_mtu,
    black_hole, // too large packets vanish, silently
    flapping,
    dying_and_healing,
    everything,
    count,
};
const char *sim_kind_text(SimKind kind); // "shrinking-mtu"
// A path that a TCP with some patience gets through: death ends, bursts end, the MTU holds what every stack
// sends.
void sim_path_draw(SimPathOptions *options, SimKind kind, uint64_t seed);

// One direction. Filters that are off are not on the way.
struct SimPath : PacketSink {
    PacketSink *head = nullptr; // the first filter that is on
    SimTimeline *timeline = nullptr;
    SimCapture capture_entry;
    SimDead dead;
    SimFlap flap;
    SimChosen chosen;
    SimMtu mtu;
    SimLoss loss;
    SimBurst burst;
    SimRate rate;
    SimCorrupt corrupt;
    SimDuplicate duplicate;
    SimReorder reorder;
    SimDelay delay; // always on the way: it is what separates accept from delivery
    SimCapture capture_exit;
    PacketSink *exit = nullptr;
};

// back: where ICMP messages about packets of this path go, usually the path of the other direction; may be
// nullptr.
void sim_path_open(SimPath *path, const SimPathOptions &options, PacketSink *back, const SimPlace &place);
// Other options from now on. Packets under way, counters and the generators' states stay.
void sim_path_set(SimPath *path, const SimPathOptions &options);
SimPathOptions sim_path_options(const SimPath &path);
// Begins anew with the same options; the timeline must be reset before.
void sim_path_reset(SimPath *path, uint64_t seed, Nanos start);
// Everything but delay (which keeps the order now) and rate off. What is held back still arrives.
void sim_path_heal(SimPath *path);

struct SimNetwork;
constexpr unsigned sim_ends_max = 16;
constexpr unsigned sim_addresses_max = 4; // of one end

struct SimEnd : PacketSink { // what paths to this end lead to
    SimNetwork *network = nullptr;
    PacketSink *sink = nullptr;
    IpAddress addresses[sim_addresses_max];
    unsigned address_count = 0;
    uint64_t delivered = 0;
};
struct SimEntrance : PacketSink { // accept is sim_network_send from this end
    SimNetwork *network = nullptr;
    unsigned end = 0;
};

struct SimNetworkOptions {
    unsigned ends = 2; // 2..sim_ends_max
    SimTimelineOptions timeline;
    uint64_t seed = 1;
    Nanos start = 0;
    // Of one sim_network_run: ends that answer each other without delay would keep it for ever.
    size_t run_packets_max = 1000000;
};

struct SimNetwork {
    SimTimeline timeline;
    SimPath *paths = nullptr; // ends * (ends - 1), see sim_network_path
    unsigned ends = 0;
    unsigned addresses = 0; // of all ends
    size_t run_packets_max = 0;
    uint64_t unroutable = 0; // no end has the destination, or it is the sender, or no IP packet
    uint64_t unattached = 0; // arrived where no sink is
    SimEnd end[sim_ends_max];
    SimEntrance entrance[sim_ends_max];
};

// WSXDP_OK, WSXDP_E_INVALID or WSXDP_E_MEMORY; in the latter cases nothing is held. The object must stay
// where it is.
int sim_network_open(SimNetwork *network, const SimNetworkOptions &options);
void sim_network_close(SimNetwork *network); // also after a failed open; twice is allowed
void sim_network_reset(SimNetwork *network, uint64_t seed, Nanos start);

void sim_network_attach(SimNetwork *network, unsigned end, PacketSink *sink);
// An address that this end has. With none anywhere and two ends, everything goes to the other end. false: no
// such end, too many, or another end has it.
bool sim_network_address(SimNetwork *network, unsigned end, const IpAddress &address);
// nullptr: no such path.
SimPath *sim_network_path(SimNetwork *network, unsigned from, unsigned to);
inline PacketSink *sim_network_entrance(SimNetwork *network, unsigned end) { return &network->entrance[end]; }

void sim_network_send(SimNetwork *network, unsigned from, ByteView packet, Nanos now);
inline Nanos sim_network_deadline(const SimNetwork &network) {
    return sim_timeline_deadline(network.timeline);
}
size_t sim_network_run(SimNetwork *network, Nanos now); // packets handed on; 0: nothing was due
void sim_network_heal(SimNetwork *network);             // all paths

} // namespace wx
