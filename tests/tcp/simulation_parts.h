// SPDX-License-Identifier: MIT
// What the files of the simulation share: the plan that is drawn from a seed, and the state of a run.
#pragma once
#include "../../lib/tcp/parts.h"
#include "simulation.h"
#include <vector>

namespace simulation {

constexpr uint32_t host_connections = 4; // a run has up to three, one after the other
constexpr uint32_t frames_max = 1280;
constexpr uint32_t frame_bytes_max = 9216;
constexpr unsigned rounds_max = 3;
constexpr uint64_t message_max = 256 * 1024;
constexpr uint32_t pattern_period = 65521; // prime, so that no power of two falls on equal bytes

struct Draw {
    wx::FixedRandom random;
    uint64_t below(uint64_t bound) { return wx::random_below(&random, bound); }
    uint64_t between(uint64_t least, uint64_t most) { return least + below(most - least + 1); }
    bool chance(unsigned percent) { return below(100) < percent; }
    // Every magnitude as often as another.
    uint64_t magnitude(uint64_t least, uint64_t most);
    wx::Nanos span(wx::Nanos least, wx::Nanos most) {
        return static_cast<wx::Nanos>(magnitude(static_cast<uint64_t>(least), static_cast<uint64_t>(most)));
    }
};

enum class Ending : uint8_t {
    finish,      // FIN after the last byte, reading goes on until the peer's
    close_after, // tcp_close when everything has been read
    close_early, // tcp_close in the middle
    abort,
};

struct SidePlan { // of one connection
    uint64_t bytes = 0;
    uint32_t write_max = 0, read_max = 0;     // at once
    uint32_t write_pause = 0, read_pause = 0; // percent of the times
    wx::Nanos pause_max = 0;
    wx::Nanos first_write = 0;
    Ending ending = Ending::finish;
    uint64_t ending_bytes = 0;  // close_early and abort: when so many were written and read,
    wx::Nanos ending_after = 0; // or after so long
    bool retire = false;
    bool has_iss = false;
    uint32_t iss = 0;
    bool wrap_timestamps = false;
};
struct RoundPlan {
    SidePlan side[2];
    bool both_open = false;
    bool same_tuple = false; // as the connection before, if nothing of it is left
    bool wait_out = false;   // until TIME-WAIT is over
};
struct HostPlan {
    wx::TcpConfig tcp;
    uint32_t receive_frames = 0, send_frames = 0, frame_bytes = 0;
    unsigned sink_full = 0; // percent of packets
    wx::Nanos sink_full_for = 0;
    bool late_acks = false;
};
struct Plan {
    uint64_t seed = 0;
    uint8_t version = 4;
    wx::SimKind kinds[2] = {wx::SimKind::perfect, wx::SimKind::perfect};
    wx::SimPathOptions paths[2];
    wx::Nanos start = 0, heal_after = 0;
    wx::Nanos quantum = 1; // hosts look at the network only so often
    HostPlan host[2];
    unsigned rounds = 0;
    RoundPlan round[rounds_max];
};
void draw_plan(uint64_t seed, Plan *plan);
std::string plan_text(const Plan &plan);

struct Side;
struct Tap : wx::PacketSink {
    Side *side = nullptr;
};
struct Host : wx::SimHost {
    Side *side = nullptr;
};

struct Side {
    Machine *machine = nullptr;
    unsigned index = 0;
    Host host;
    Tap leaving, arriving;
    // -- of the connection
    wx::TcpConnection *c = nullptr;
    SidePlan plan;
    uint64_t written = 0, read = 0;
    wx::Nanos write_at = 0, read_at = 0; // pauses end
    wx::Nanos began = 0;
    bool finished = false; // the plan's ending was done
    bool orphan = false;   // was given up: the peer is gone and nothing will tell
    bool poked = false;
    bool told_end = false;
    wx::Nanos acked_at = 0; // the latest progress of what it sent
    uint32_t acked = 0;
    // -- what its packets said
    bool has_edge = false;
    uint32_t edge = 0; // right edge of the window that it offered
    bool syn_scaled = false;
    uint8_t syn_scale = 0;
    uint16_t syn_mss = 0;
    bool has_peer_edge = false;
    uint32_t peer_edge = 0; // of what has arrived from the peer
    // -- of the step
    wx::Nanos sink_full_until = 0;
    bool sink_refused = false;
    bool starved = false; // had no frame, no piece or no room for something that arrived, in this run
};

struct Mark { // what progress is
    uint32_t una[2], next[2];
    uint64_t read[2], written[2];
    wx::TcpState state[2];
};

struct Machine {
    wx::SimNetwork network;
    Side sides[2];
    std::vector<uint8_t> pattern;
    bool (*send)(wx::TcpSink *, const wx::TcpPacket &) = nullptr; // the host's own
    // -- of the run
    Options options;
    Plan plan;
    Draw draw;
    wx::Nanos now = 0, heal_at = 0;
    bool healed = false;
    unsigned round = 0;
    bool sabotaged = false;
    Mark mark;
    wx::Nanos base = 0;     // since when there could have been progress
    wx::Nanos patience = 0; // how long it may take from then
    bool had_duty = false;  // whether somebody had something to bring to an end then
    wx::Nanos slack = 0;    // round trips and delays of the hosts
    uint64_t still = 0;     // events without time going on
    Row *row = nullptr;
    std::string failure;
};

// -- tcp_simulation_checks.cc
void fail(Machine *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
void trace(Machine *m, const char *format, ...) __attribute__((format(printf, 2, 3)));
inline Side *other(Side *side) { return &side->machine->sides[1 - side->index]; }
inline char name_of(const Side *side) { return side->index == 0 ? 'A' : 'B'; }
inline const uint8_t *pattern_at(const Side *side, uint64_t offset) {
    return side->machine->pattern.data() + (offset + side->index * 7919) % pattern_period;
}
bool has_duty(const wx::TcpConnection *c); // something that it must bring to an end by itself
void check_leaving(Side *side, const wx::Frame &frame, size_t size);
void note_arrived(Side *side, const wx::Frame &frame);
void check_side(Side *side);
void check_end(Side *side);
void check_round(Machine *m);
void check_run(Machine *m);
// -- tcp_simulation_sabotage.cc
void sabotage(Side *side);
void sabotage_after(Side *side);

} // namespace simulation
