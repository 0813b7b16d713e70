// SPDX-License-Identifier: MIT
// Our TCP against the kernel's over the same simulated path of 20 ms: how much gets through with none, some
// and many packets lost, and how long a lost last segment takes to be repaired. The kernel's numbers are from
// two namespaces joined by the same bridge, with the same seeds; what differs is the sender (or the
// receiver). Runs of a case go side by side, since a path that loses packets leaves the machine idle.
//
// usage: bench_live [--json FILE] [--only TEXT] [--seconds N] [--runs N] [--trace MS]
#include "../tests/support/live.h"
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>

namespace {

using namespace bench;
using live::World;
using wx::Nanos;
using wx::ns_per_ms;
using wx::ns_per_s;

constexpr Nanos one_way = 10 * ns_per_ms;
constexpr Nanos round_trip = 2 * one_way;

struct Settings {
    std::string json, only;
    double seconds = 0;
    unsigned runs = 0;
    int trace_ms = 0;
};

struct Case {
    const char *name;
    uint32_t loss_ppm;
    uint64_t bits_per_s; // 0: any
    double seconds;
    unsigned runs;
    double bar; // ours / kernel when sending; 0: none
};

// One path with 1 % is a matter of luck for seconds: longer runs, and more of them. Without a rate the
// machine is the limit: one run at a time.
const Case cases[] = {
    {"100 Mbit/s, no loss", 0, 100000000, 5, 1, 0.95},
    {"100 Mbit/s, 0.1 % lost", 1000, 100000000, 10, 5, 0.95},
    {"100 Mbit/s, 1 % lost", 10000, 100000000, 12, 7, 0.9},
    {"any rate, no loss", 0, 0, 3, 1, 0},
    {"any rate, 0.1 % lost", 1000, 0, 10, 5, 0.95},
    {"any rate, 1 % lost", 10000, 0, 12, 7, 0.9},
};

enum class Role { kernel, sends, receives };
const char *role_name(Role role) {
    return role == Role::kernel ? "kernel" : role == Role::sends ? "ours sends" : "ours receives";
}

struct Flow {
    Role role;
    std::unique_ptr<World> world;
    World::Pair pair;
    std::unique_ptr<live::Stream> stream;
    Nanos began = 0;
    uint64_t seen = 0;
    ~Flow() {
        pair = World::Pair(); // sockets before their namespaces
    }
    double again() const; // segments sent again
    void trace() const;
};

double Flow::again() const {
    if (role == Role::sends) return static_cast<double>(pair.ours()->c->stats.retransmitted);
    const live::End *sender = role == Role::receives ? pair.b.get() : pair.a.get();
    return static_cast<const live::KernelEnd *>(sender)->info().tcpi_total_retrans;
}

void Flow::trace() const {
    const double ms = static_cast<double>(wx::monotonic_ns() - began) / 1e6;
    if (role == Role::sends) {
        const wx::TcpConnection *c = pair.ours()->c;
        const wx::TcpStats &s = c->stats;
        printf("%9.1f ours   cwnd %6u ssthresh %8u flight %6u srtt %6.2f recovery %u again %llu rto %llu "
               "recoveries %llu undone %llu probes %llu\n",
               ms, c->congestion.window / c->congestion.mss,
               std::min(c->congestion.threshold / c->congestion.mss, 99999999u),
               wx::tcp_in_flight(c) / c->congestion.mss, static_cast<double>(c->rtt.smoothed) / 1e6,
               static_cast<unsigned>(c->recovery), (unsigned long long)s.retransmitted,
               (unsigned long long)s.timeouts, (unsigned long long)s.recoveries, (unsigned long long)s.undone,
               (unsigned long long)s.tail_probes);
        return;
    }
    const live::End *sender = role == Role::receives ? pair.b.get() : pair.a.get();
    const tcp_info i = static_cast<const live::KernelEnd *>(sender)->info();
    printf("%9.1f kernel cwnd %6u ssthresh %8u flight %6u srtt %6.2f state %u again %u\n", ms,
           i.tcpi_snd_cwnd, std::min(i.tcpi_snd_ssthresh, 99999999u),
           i.tcpi_unacked - i.tcpi_sacked - i.tcpi_lost + i.tcpi_retrans, i.tcpi_rtt / 1e3, i.tcpi_ca_state,
           i.tcpi_total_retrans);
}

live::Options options_for(Role role, uint32_t loss_ppm, uint64_t bits_per_s, uint64_t seed) {
    live::Options options;
    options.ours = role != Role::kernel;
    options.seed = seed;
    for (wx::SimPathOptions *path : {&options.out, &options.back}) {
        path->delay.fixed = one_way;
        path->loss.ppm = loss_ppm;
        path->rate.bits_per_s = bits_per_s;
        path->rate.queue_bytes = bits_per_s / 8 * round_trip / ns_per_s; // one product of rate and delay
    }
    return options;
}

std::unique_ptr<Flow> open_flow(Role role, const Case &what, uint64_t seed) {
    auto flow = std::make_unique<Flow>();
    flow->role = role;
    // The handshake is not what is measured, and a lost SYN would be most of a short run.
    live::Options options = options_for(role, what.loss_ppm, what.bits_per_s, seed);
    const wx::SimPathOptions out = options.out, back = options.back;
    options.out.loss.ppm = options.back.loss.ppm = 0;
    flow->world = std::make_unique<World>(options);
    flow->pair = flow->world->open(4);
    if (!flow->pair) return nullptr;
    sim_path_set(flow->world->path(false), out);
    sim_path_set(flow->world->path(true), back);
    live::End *from = flow->pair.a.get(), *to = flow->pair.b.get();
    if (role == Role::receives) std::swap(from, to);
    flow->stream = std::make_unique<live::Stream>(flow->world.get(), from, to, UINT64_MAX);
    return flow;
}

// All of them at once; false: one delivered a wrong byte.
bool run_flows(const std::vector<std::unique_ptr<Flow>> &flows, double seconds, int trace_ms) {
    std::vector<World *> worlds;
    for (const auto &flow : flows) worlds.push_back(flow->world.get());
    const Nanos began = wx::monotonic_ns(), end = began + static_cast<Nanos>(seconds * 1e9);
    for (const auto &flow : flows) flow->began = began;
    Nanos trace_at = began;
    for (Nanos now = began; now < end; now = wx::monotonic_ns()) {
        bool moved = false;
        for (const auto &flow : flows) {
            flow->world->turn();
            if (flow->world->work == flow->seen && flow->seen != 0) continue;
            flow->seen = flow->world->work;
            flow->stream->step();
            moved = true;
        }
        if (trace_ms != 0 && now >= trace_at) {
            for (const auto &flow : flows) flow->trace();
            trace_at += trace_ms * ns_per_ms;
        }
        if (!moved) live::wait(worlds, end);
    }
    for (const auto &flow : flows)
        if (flow->stream->wrong) return false;
    return true;
}

struct Outcome {
    std::vector<double> megabits, again;
};

constexpr Role roles[] = {Role::kernel, Role::sends, Role::receives};

bool run_goodput(const Case &what, const Settings &settings, Report &report) {
    double seconds = settings.seconds > 0 ? settings.seconds : quick() ? what.seconds / 3 : what.seconds;
    unsigned runs = settings.runs != 0 ? settings.runs : quick() ? (what.runs + 1) / 2 : what.runs;
    Outcome outcomes[3];
    const bool alone = what.bits_per_s == 0 && what.loss_ppm == 0;
    for (unsigned group = 0; group < (alone ? 3 : 1); group++) {
        std::vector<std::unique_ptr<Flow>> flows;
        for (unsigned run = 0; run < runs; run++)
            for (unsigned i = 0; i < 3; i++) {
                if (alone && i != group) continue;
                flows.push_back(open_flow(roles[i], what, run + 1));
                if (!flows.back()) return false;
            }
        if (!run_flows(flows, seconds, settings.trace_ms)) return false;
        for (const auto &flow : flows) {
            Outcome &outcome = outcomes[static_cast<unsigned>(flow->role)];
            outcome.megabits.push_back(static_cast<double>(flow->stream->arrived) * 8 / seconds / 1e6);
            outcome.again.push_back(flow->again() / seconds);
        }
    }
    const double kernel = median(outcomes[0].megabits);
    for (unsigned i = 0; i < 3; i++) {
        const Outcome &o = outcomes[i];
        const auto range = std::minmax_element(o.megabits.begin(), o.megabits.end());
        printf("  %-24s %-14s %9.2f %9.2f %9.2f %8.1f %8.3f\n", what.name, role_name(roles[i]),
               median(o.megabits), *range.first, *range.second, median(o.again), median(o.megabits) / kernel);
        Json json;
        json.text("section", "tcp_goodput").text("path", what.name).text("role", role_name(roles[i]));
        json.number("mbit_per_s", median(o.megabits)).number("least", *range.first);
        json.number("most", *range.second).number("again_per_s", median(o.again));
        json.number("runs", runs).number("seconds", seconds);
        json.number("ratio_to_kernel", median(o.megabits) / kernel);
        report.row(json);
    }
    const std::string of = std::string(" / kernel, ") + what.name;
    const double sending = median(outcomes[1].megabits) / kernel;
    // With neither a rate nor losses the largest windows decide, and the kernel's are not ours to set.
    if (what.bar > 0)
        report.bar("goodput sending" + of, sending, what.bar, false);
    else
        report.info("goodput sending" + of, sending, -1);
    report.info("goodput receiving" + of, median(outcomes[2].megabits) / kernel, -1);
    return true;
}

// ---- a lost last segment ----

// Drops what first reaches the end of `bytes` of the stream from end 0 on, once.
struct DropLast {
    uint64_t bytes = 0, counted = 0;
    bool dropped = false;
    static bool decide(void *context, wx::ByteView packet, uint64_t, Nanos) {
        DropLast *self = static_cast<DropLast *>(context);
        wx::Frame frame;
        if (self->dropped || wx::packet_read(packet, wx::ChecksumPolicy::trust, &frame) != wx::Wire::ok)
            return false;
        self->counted += frame.tcp.payload.size;
        self->dropped = self->bytes != 0 && self->counted >= self->bytes;
        return self->dropped;
    }
};

// Round trips from writing until the other end has it all, beyond the half that it takes without a loss. < 0:
// never.
double tail_round_trips(Role role, unsigned segments) {
    live::Options options = options_for(role, 0, 0, 1);
    DropLast last;
    options.out.chosen.drop = DropLast::decide;
    options.out.chosen.context = &last;
    World world(options);
    World::Pair pair = world.open(4);
    if (!pair) return -1;
    constexpr uint64_t segment = 1448;
    // A round trip has been measured besides the handshake's.
    live::Stream before(&world, pair.a.get(), pair.b.get(), 20 * segment);
    if (!world.run([&] { return before.step(); }, 2 * ns_per_s)) return -1;
    world.pass(3 * round_trip);
    last.counted = 0;
    last.bytes = segments * segment;
    live::Stream stream(&world, pair.a.get(), pair.b.get(), last.bytes);
    const Nanos began = wx::monotonic_ns();
    if (!world.run([&] { return stream.step(); }, 5 * ns_per_s) || !last.dropped) return -1;
    return static_cast<double>(wx::monotonic_ns() - began - one_way) / round_trip;
}

void run_tails(Report &report) {
    printf("\nlost last segment: round trips until it arrived, beyond an undisturbed transfer\n");
    printf("  %-26s %9s %9s\n", "segments", "kernel", "ours");
    for (unsigned segments : {1, 2, 5, 10}) {
        std::vector<double> theirs, own;
        for (int run = 0; run < 3; run++) {
            theirs.push_back(tail_round_trips(Role::kernel, segments));
            own.push_back(tail_round_trips(Role::sends, segments));
        }
        const double kernel = median(theirs), ours = median(own);
        printf("  %-26u %9.2f %9.2f\n", segments, kernel, ours);
        Json json;
        json.text("section", "tcp_tail").number("segments", segments).number("ours_round_trips", ours);
        json.number("kernel_round_trips", kernel);
        report.row(json);
        // Two round trips and, as one segment is in flight, the 10 ms (half a round trip) that the peer may
        // wait.
        const double bound = 2 + 0.5 + 0.1;
        report.bar("round trips for a lost last segment of " + std::to_string(segments),
                   ours < 0 ? 1e9 : ours, bound, true);
    }
}

bool parse(int argc, char **argv, Settings *out) {
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 == argc) return false;
        const std::string name = argv[i];
        const char *value = argv[i + 1];
        if (name == "--json")
            out->json = value;
        else if (name == "--only")
            out->only = value;
        else if (name == "--seconds")
            out->seconds = atof(value);
        else if (name == "--runs")
            out->runs = static_cast<unsigned>(atoi(value));
        else if (name == "--trace")
            out->trace_ms = atoi(value);
        else
            return false;
    }
    return true;
}

} // namespace

int main(int argc, char **argv) {
    Settings settings;
    if (!parse(argc, argv, &settings)) {
        fprintf(stderr,
                "usage: bench_live [--json FILE] [--only TEXT] [--seconds N] [--runs N] [--trace MS]\n");
        return 2;
    }
    Report report;
    if (!live::unavailable().empty()) {
        printf("\ntcp: not measured: %s\n", live::unavailable().c_str());
    } else {
        printf("\ntcp goodput over 20 ms, Mbit/s: median, least and most of the runs; segments sent again "
               "per s\n");
        printf("  %-24s %-14s %9s %9s %9s %8s %8s\n", "path", "", "median", "least", "most", "again",
               "ratio");
        for (const Case &what : cases)
            if (std::string(what.name).find(settings.only) != std::string::npos &&
                !run_goodput(what, settings, report))
                fprintf(stderr, "bench_live: %s: no connection, or a wrong byte\n", what.name);
        if (std::string("tail").find(settings.only) != std::string::npos) run_tails(report);
        report.print_bars("live tcp bars");
    }
    if (!settings.json.empty() && !report.write(settings.json.c_str(), {})) {
        perror(settings.json.c_str());
        return 1;
    }
    return 0;
}
