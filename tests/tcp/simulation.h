// SPDX-License-Identifier: MIT
// Random conversations of two hosts with lib/tcp over a simulated network, in virtual time: everything that
// happens in a run follows from its seed. After every step and for every packet the rules are checked that
// must hold whatever the network does; they are listed in tests/support/tcp_simulation_checks.cc.
#pragma once
#include "../../lib/link/pcap.h"
#include "../../lib/link/sim.h"
#include "../../lib/link/sim_host.h"
#include <memory>
#include <string>

namespace simulation {

constexpr size_t stat_count = sizeof(wx::TcpStats) / sizeof(uint64_t);
constexpr size_t end_count = static_cast<size_t>(wx::TcpEnd::fin_timeout) + 1;
constexpr size_t kind_count = static_cast<size_t>(wx::SimKind::count);
const char *stat_name(size_t index);

// Sums over the runs of one kind of network.
struct Row {
    uint64_t runs = 0;
    uint64_t connections = 0;
    uint64_t events = 0;
    uint64_t ends[end_count] = {}; // of both sides; none: left in TIME-WAIT when the run was over
    uint64_t stats[stat_count] = {};
    uint64_t no_frame = 0;        // packets that found all frames held
    uint64_t refused = 0;         // packets that were not what they claim
    uint64_t dropped = 0;         // by the network
    uint64_t most_sendings = 0;   // of one segment
    wx::Nanos worst_recovery = 0; // longest time without progress on a healed network
    uint64_t worst_recovery_seed = 0;
    wx::Nanos worst_recovery_bound = 0; // what was allowed then
    uint64_t starved = 0;               // runs in which a host had no place for something that arrived,
    wx::Nanos worst_starved = 0;        // and the longest time without progress in those
};
// A row for each kind of path that both directions had, and one for two different ones.
struct Totals {
    Row rows[kind_count + 1];
    void add(const Totals &other);
};

// Faults put into a run on purpose, each of which a rule must notice.
enum class Sabotage : uint8_t {
    none,
    change_received, // a byte of a received frame
    lose_count,      // the scoreboard forgets that something is lost
    move_edge,       // the window's right edge to the left
    lie_in_ack,      // acknowledge what never came
    lie_in_sack,     // hold what never came
    keep_frame,      // a received frame is never released
    release_twice,   // one that is not out
    stop_timer,      // the retransmission timer
    ignore_window,   // the peer's window looks larger than it is
    silence,         // nothing arrives after the network has healed
    count,
};

struct Options {
    bool trace = false;                // packets and states to stdout
    wx::PcapWriter *capture = nullptr; // both directions, as they are sent
    Sabotage sabotage = Sabotage::none;
};

struct Machine;

// Memory for runs, one after the other. Not to be shared between threads.
class Simulator {
public:
    Simulator();
    ~Simulator();
    Simulator(const Simulator &) = delete;
    Simulator &operator=(const Simulator &) = delete;
    // false: `failure` has the rule that was broken, the scenario and how to see it again.
    bool run(uint64_t seed, const Options &options, Totals *totals);
    std::string failure;
    std::string scenario() const; // of the last run, in words

private:
    std::unique_ptr<Machine> machine;
};

} // namespace simulation
