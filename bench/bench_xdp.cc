// SPDX-License-Identifier: MIT
// transport=xdp against the kernel's TCP over the same veth: round trips, our code's own time in one, CPU
// time per message flat out, and many connections. Two network namespaces; the server spins in one of them on
// one core, the clients take turns in the other on the other core, so that whatever else the machine does
// hits them alike. Percentiles are over all rounds together, ratios the median of the rounds' own ratios. On
// a veth the kernel does in software what a NIC would do: absolute numbers say nothing of one. What arrives
// is processed on the sender's core, and what is sent on our own, the peer's TCP included; both are so for
// sockets, too. Left out, with a sentence, where namespaces or AF_XDP cannot be had.
//
// usage: bench_xdp [--json FILE] [--only round_trip|own|flat|sink|fan] [--clients a,b,...]
#include "../tests/support/netns.h"
#include "client.h"
#include "peer_process.h"

#include <math.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <map>

namespace {

using namespace bench;

enum class Section : unsigned { round_trip, own, flat, sink, fan };
constexpr Section sections[] = {Section::round_trip, Section::own, Section::flat, Section::sink,
                                Section::fan};
const char *section_name(Section section) {
    static const char *const names[] = {"round_trip", "own", "flat", "sink", "fan"};
    return names[static_cast<unsigned>(section)];
}
constexpr unsigned in(Section section) { return 1u << static_cast<unsigned>(section); }
constexpr unsigned in_all = 31;

// Flat out everybody sleeps when there is nothing to do, so that CPU time is work.
Outcome run_library(const Job &job, const char *options) {
    bool sleeps = job.task == Task::flat || job.task == Task::sink;
    return run_wsxdp(job, sleeps ? Waiting::sleep : Waiting::spin, options);
}

BareWay way;
Outcome run_bare(const Job &job, bool generic) {
    BareWay mine = way;
    mine.generic = generic;
    return run_xdp_bare(job, mine);
}

struct Client {
    const char *name;
    Outcome (*run)(const Job &);
    unsigned sections;
    bool plain_only;
};
const Client clients[] = {
    {"kernel", run_recv, in(Section::round_trip) | in(Section::flat), false},
    {"socket", [](const Job &job) { return run_library(job, "transport=socket"); }, in_all, false},
    {"xdp-driver", [](const Job &job) { return run_library(job, "transport=xdp,xdp.mode=driver"); }, in_all,
     false},
    {"xdp-generic", [](const Job &job) { return run_library(job, "transport=xdp,xdp.mode=generic"); }, in_all,
     false},
    {"bare-driver", [](const Job &job) { return run_bare(job, false); }, in(Section::round_trip), true},
    {"bare-generic", [](const Job &job) { return run_bare(job, true); }, in(Section::round_trip), true},
};
constexpr size_t client_count = sizeof clients / sizeof clients[0];
constexpr const char *modes[] = {"driver", "generic"};

struct Case {
    Section section;
    bool secure;
    size_t bytes;
    size_t connections = 1;
};
const Case cases[] = {
    {Section::round_trip, false, 64}, {Section::round_trip, false, 256}, {Section::round_trip, false, 512},
    {Section::round_trip, true, 64},  {Section::round_trip, true, 256},  {Section::own, false, 64},
    {Section::own, true, 256},        {Section::flat, false, 64},        {Section::flat, true, 64},
    {Section::sink, false, 64},       {Section::sink, false, 16384},     {Section::fan, false, 64, 1},
    {Section::fan, false, 64, 10},    {Section::fan, false, 64, 100},
};

struct Options {
    std::string json, only, clients;
};

// What one client did in one case. By round: < 0 where it failed.
struct Pool {
    std::vector<int64_t> samples;
    std::vector<double> p50, cpu;
    std::vector<Phases> phases;
    std::vector<double> own; // p50 by round
    double wall = 0, core = 0, messages = 0, allocations = 0;
    size_t failures = 0;
};
using Pools = std::map<std::string, Pool>;

constexpr long fan_rate = 10000;
constexpr int client_core = 1;

Job job_for(const Case &what, const PeerProcess &peer) {
    Job job;
    job.task = what.section == Section::flat   ? Task::flat
               : what.section == Section::sink ? Task::sink
               : what.section == Section::fan  ? Task::paced
                                               : Task::round_trip;
    job.secure = what.secure;
    job.host = peer.address();
    job.port = peer.port(what.secure);
    job.ca_file = peer.ca_file();
    job.bytes = what.bytes;
    job.connections = what.connections;
    job.phases = what.section == Section::own;
    job.warmup = 200;
    job.count = quick() ? 400 : 1500;
    std::string size = std::to_string(what.bytes);
    if (job.task == Task::round_trip) job.target = "/echo";
    if (job.task == Task::flat || job.task == Task::sink) {
        // Some MiB come before the clock starts: buffers have been touched once, windows are open.
        size_t each = what.bytes + 16, total = (what.secure ? 8u << 20 : 16u << 20) / (quick() ? 4 : 1);
        job.count = total / each;
        job.warmup = (2u << 20) / each;
        job.core = client_core;
    }
    if (job.task == Task::paced) job.warmup = std::max<size_t>(200, 2 * what.connections);
    std::string count = std::to_string(job.warmup + job.count);
    if (job.task == Task::flat) job.target = "/flat?size=" + size + "&count=" + count;
    if (job.task == Task::sink) job.target = "/sink?count=" + count;
    if (job.task == Task::paced)
        job.target = "/fan?size=" + size + "&count=" + count + "&rate=" + std::to_string(fan_rate) +
                     "&connections=" + std::to_string(what.connections);
    return job;
}

// The median of one of the phases.
double phase(const std::vector<Phases> &all, int64_t Phases::*which) {
    std::vector<int64_t> values;
    for (const Phases &each : all) values.push_back(each.*which);
    return percentiles(values).p50;
}

void add_round(Pool &pool, const char *name, Outcome &&outcome) {
    if (!outcome.good) {
        if (pool.failures++ == 0) fprintf(stderr, "bench_xdp: %s: %s\n", name, outcome.error.c_str());
        pool.p50.push_back(-1);
        pool.cpu.push_back(-1);
        pool.own.push_back(-1);
        return;
    }
    pool.p50.push_back(percentiles(outcome.samples).p50);
    pool.cpu.push_back(outcome.cpu / outcome.messages);
    pool.own.push_back(outcome.phases.empty() ? -1 : phase(outcome.phases, &Phases::own));
    pool.samples.insert(pool.samples.end(), outcome.samples.begin(), outcome.samples.end());
    pool.phases.insert(pool.phases.end(), outcome.phases.begin(), outcome.phases.end());
    pool.wall += outcome.wall;
    pool.core += outcome.core;
    pool.messages += outcome.messages;
    pool.allocations += outcome.allocations;
}

bool wanted(const Options &options, const Client &client, const Case &what) {
    if (!(client.sections & in(what.section)) || (client.plain_only && what.secure)) return false;
    return options.clients.empty() ||
           ("," + options.clients + ",").find(std::string(",") + client.name + ",") != std::string::npos;
}

Pools run_case(const Case &what, const Options &options, const PeerProcess &peer) {
    Pools pools;
    Job job = job_for(what, peer);
    size_t rounds = quick() ? 2 : what.section == Section::fan ? 4 : 6;
    for (size_t round = 0; round < rounds; round++)
        for (size_t turn = 0; turn < client_count; turn++) {
            const Client &client = clients[(turn + round) % client_count]; // nobody is always first
            if (wanted(options, client, what)) add_round(pools[client.name], client.name, client.run(job));
        }
    return pools;
}

// ---- tables ----

bool timed(Section section) { return section == Section::round_trip || section == Section::fan; }

void table_head(Section section) {
    switch (section) {
    case Section::round_trip:
        printf(
            "\nround trip, us (send, echo, receive; everybody spins; kernel: a bare recv() loop, socket and "
            "xdp: the\nlibrary, bare: the least AF_XDP client; driver and generic: where the program is)\n");
        break;
    case Section::own:
        printf(
            "\none message's way through the library in a round trip, ns, medians (wait: the kernel's stamp "
            "until we\ntook it; own: from there until wsxdp_poll had returned, which is the sum of the "
            "others)\n  %-4s %6s %-13s %8s %8s %8s %8s %8s %8s %8s\n",
            "", "bytes", "client", "wait", "tcp", "tls", "parse", "return", "own", "calls");
        return;
    case Section::flat:
        printf(
            "\nreceiving flat out (in full segments; everybody sleeps when there is nothing; core: the time "
            "that the\nclient's core was not idle, softirq included, whoever used it)\n");
        break;
    case Section::sink:
        printf("\nsending flat out (one wsxdp_send for each, until the peer has taken all)\n");
        break;
    case Section::fan:
        printf("\none way at %ld messages/s in all, round robin over connections, us (send time in the "
               "message; spinning)\n",
               fan_rate);
        break;
    }
    printf("  %-4s %6s %-13s", "", section == Section::fan ? "conns" : "bytes", "client");
    if (timed(section)) printf(" %8s %8s %8s %8s %8s %9s", "p50", "min", "p90", "p99", "p99.9", "max");
    if (!timed(section)) printf(" %10s", "core/msg");
    printf(" %10s %10s %9s\n", "msg/s", "CPU ns/msg", "alloc/msg");
}

void print_own(Json &json, Pool &pool, double call) {
    const std::pair<const char *, int64_t Phases::*> fields[] = {
        {"wait_ns", &Phases::waited}, {"transport_ns", &Phases::transport}, {"tls_ns", &Phases::tls},
        {"parse_ns", &Phases::parse}, {"return_ns", &Phases::handover},     {"own_ns", &Phases::own}};
    for (auto &field : fields) {
        double value = phase(pool.phases, field.second);
        printf(" %8.0f", value);
        json.number(field.first, value);
    }
    double calls = phase(pool.phases, &Phases::own) / call;
    printf(" %8.2f\n", calls);
    json.number("own_calls", calls);
}

void print_row(Report &report, const Case &what, const char *name, Pool &pool, double call) {
    const char *scheme = what.secure ? "wss" : "ws";
    printf("  %-4s %6zu %-13s", scheme, what.section == Section::fan ? what.connections : what.bytes, name);
    if (pool.messages == 0) {
        printf(" failed\n");
        return;
    }
    Json json;
    json.text("section", section_name(what.section)).text("client", name).text("scheme", scheme);
    json.number("bytes", static_cast<double>(what.bytes));
    json.number("connections", static_cast<double>(what.connections));
    if (what.section == Section::own) {
        print_own(json, pool, call);
    } else {
        if (timed(what.section)) {
            Percentiles at = percentiles(pool.samples);
            double least = static_cast<double>(pool.samples.front());
            printf(" %8.2f %8.2f %8.2f %8.2f %8.2f %9.1f", at.p50 / 1e3, least / 1e3, at.p90 / 1e3,
                   at.p99 / 1e3, at.p999 / 1e3, at.max / 1e3);
            json.number("p50_us", at.p50 / 1e3).number("min_us", least / 1e3).number("p90_us", at.p90 / 1e3);
            json.number("p99_us", at.p99 / 1e3)
                .number("p999_us", at.p999 / 1e3)
                .number("max_us", at.max / 1e3);
        } else {
            printf(" %10.0f", pool.core / pool.messages);
            json.number("core_ns_per_message", pool.core / pool.messages);
        }
        double rate = 1e9 * pool.messages / pool.wall, cpu = median(pool.cpu);
        printf(" %10.0f %10.0f %9.4f\n", rate, cpu, pool.allocations / pool.messages);
        json.number("messages_per_s", rate).number("cpu_ns_per_message", cpu);
    }
    json.number("allocations_per_message", pool.allocations / pool.messages);
    json.number("messages", pool.messages).number("failures", static_cast<double>(pool.failures));
    report.row(json);
}

// ---- bars ----

// The median over the rounds of a / b; -1: not measured.
double paired(const std::vector<double> &a, const std::vector<double> &b) {
    std::vector<double> ratios;
    for (size_t i = 0; i < a.size() && i < b.size(); i++)
        if (a[i] > 0 && b[i] > 0) ratios.push_back(a[i] / b[i]);
    return ratios.empty() ? -1 : median(ratios);
}

struct Best {
    double ratio = -1;
    std::string name = "xdp";
};
// Of the two modes of `prefix`, the one with the better ratio: `ratio_of` it, smaller is better.
Best best_mode(const char *prefix, const std::function<double(const std::string &)> &ratio_of) {
    Best best;
    for (const char *mode : modes) {
        std::string name = std::string(prefix) + "-" + mode;
        double ratio = ratio_of(name);
        if (ratio < 0 || (best.ratio >= 0 && best.ratio <= ratio)) continue;
        best.ratio = ratio;
        best.name = name;
    }
    return best;
}

void round_trip_bars(Report &report, const Case &what, const std::string &label, Pools &pools) {
    auto against = [&](const char *other) {
        return [&pools, other](const std::string &name) { return paired(pools[name].p50, pools[other].p50); };
    };
    std::string text = "round trip p50 " + label + ", ";
    Best kernel = best_mode("xdp", against("kernel")), socket = best_mode("xdp", against("socket"));
    Best bare = best_mode("bare", against("kernel"));
    if (!what.secure && what.bytes != 256)
        report.bar(text + kernel.name + " / kernel", kernel.ratio, 0.85, true);
    else
        report.info(text + kernel.name + " / kernel", kernel.ratio, -1);
    report.info("  what is possible here: " + bare.name + " / kernel", bare.ratio, -1);
    for (const char *mode : modes) {
        std::string ours = std::string("xdp-") + mode, least = std::string("bare-") + mode;
        report.info("  " + ours + " / " + least, paired(pools[ours].p50, pools[least].p50), -1);
    }
    if (what.secure && what.bytes == 256)
        report.bar(text + socket.name + " / socket", socket.ratio, 0.9, true);
    else
        report.info(text + socket.name + " / socket", socket.ratio, -1);
}

void own_bars(Report &report, const Case &what, const std::string &label, Pools &pools, double call) {
    Best own = best_mode("xdp", [&](const std::string &name) {
        std::vector<double> good;
        for (double each : pools[name].own)
            if (each > 0) good.push_back(each / call);
        return good.empty() ? -1 : median(good);
    });
    report.bar("own time per message " + label + ", " + own.name + ", in system calls", own.ratio,
               what.secure ? 15 : 5, true);
}

void flat_bars(Report &report, const Case &what, const std::string &label, Pools &pools) {
    Best cpu = best_mode(
        "xdp", [&](const std::string &name) { return paired(pools[name].cpu, pools["socket"].cpu); });
    double many = cpu.ratio > 0 ? 1 / cpu.ratio : -1;
    bool receiving = what.section == Section::flat;
    std::string text = (receiving ? "receiving " : "sending ") + label + ", messages per CPU second, " +
                       cpu.name + " / socket";
    if (receiving)
        report.bar(text, many, 1, false);
    else
        report.info(text, many, -1);
    Pool &ours = pools[cpu.name], &socket = pools["socket"];
    if (ours.core > 0 && socket.core > 0)
        report.info("  the same by the core's busy time",
                    socket.core / socket.messages / (ours.core / ours.messages), -1);
}

void fan_bars(Report &report, const Case &what, Pools &pools) {
    Best best = best_mode(
        "xdp", [&](const std::string &name) { return paired(pools[name].p50, pools["socket"].p50); });
    report.info("one way p50, " + std::to_string(what.connections) + " connections, " + best.name +
                    " / socket",
                best.ratio, -1);
}

// Of transport=xdp, per message in any case; below 0: not measured.
double worst_allocations = -1;

void run_and_print(Report &report, const Case &what, const Options &options, const PeerProcess &peer,
                   double call) {
    Pools pools = run_case(what, options, peer);
    for (const Client &client : clients)
        if (wanted(options, client, what)) print_row(report, what, client.name, pools[client.name], call);
    fflush(stdout);
    std::string label = std::string(what.secure ? "wss " : "ws ") + std::to_string(what.bytes) + " B";
    if (what.section == Section::round_trip) round_trip_bars(report, what, label, pools);
    if (what.section == Section::own) own_bars(report, what, label, pools, call);
    if (what.section == Section::flat || what.section == Section::sink) flat_bars(report, what, label, pools);
    if (what.section == Section::fan) fan_bars(report, what, pools);
    for (const char *mode : modes) {
        const Pool &ours = pools[std::string("xdp-") + mode];
        if (ours.messages > 0)
            worst_allocations = std::max(worst_allocations, ours.allocations / ours.messages);
    }
}

// ---- the two hosts ----

void read_mac(const netns::Namespace &where, const char *device, uint8_t mac[6]) {
    netns::Inside inside(where);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    ifreq request{};
    strncpy(request.ifr_name, device, sizeof request.ifr_name - 1);
    if (ioctl(fd, SIOCGIFHWADDR, &request) != 0) die(device);
    memcpy(mac, request.ifr_hwaddr.sa_data, 6);
    close(fd);
}

void find_way(const netns::Veth &veth) {
    read_mac(veth.here, "xdp0", way.own_mac);
    read_mac(veth.there, "peer0", way.peer_mac);
    sscanf(netns::here4, "%hhu.%hhu.%hhu.%hhu", &way.own_ip[0], &way.own_ip[1], &way.own_ip[2],
           &way.own_ip[3]);
    sscanf(netns::there4, "%hhu.%hhu.%hhu.%hhu", &way.peer_ip[0], &way.peer_ip[1], &way.peer_ip[2],
           &way.peer_ip[3]);
    netns::Inside inside(veth.here);
    way.ifindex = if_nametoindex("xdp0");
}

bool read_options(int argc, char **argv, Options *out) {
    for (int i = 1; i + 1 < argc; i += 2) {
        std::string name = argv[i];
        std::string *value = name == "--json"      ? &out->json
                             : name == "--only"    ? &out->only
                             : name == "--clients" ? &out->clients
                                                   : nullptr;
        if (!value) return false;
        *value = argv[i + 1];
    }
    return argc % 2 == 1;
}

void measure(Report &report, const Options &options, const char *own_path, double *call) {
    bool two = cpu_count() > 1;
    if (!two)
        printf("one core only: server and client share it, and spinning clients measure the scheduler\n");
    netns::Veth veth;
    find_way(veth);
    netns::Inside there(veth.there);
    PeerProcess peer(own_path, two ? 0 : -1, netns::there4);
    netns::Inside here(veth.here);
    pin(two ? client_core : -1);
    *call = yardstick_call();
    printf("\ntransport=xdp over veth; one system call: %.0f ns\n", *call);
    for (Section section : sections) {
        if (!options.only.empty() && options.only != section_name(section)) continue;
        table_head(section);
        for (const Case &what : cases)
            if (what.section == section) run_and_print(report, what, options, peer, *call);
    }
    report.bar("allocations per message, xdp, the worst case", worst_allocations, 0, true);
    report.print_bars("AF_XDP bars (median of the rounds' paired ratios; the better of the two modes)");
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    if (!read_options(argc, argv, &options)) {
        fprintf(stderr, "usage: bench_xdp [--json FILE] [--only round_trip|own|flat|sink|fan] [--clients "
                        "a,b]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    Report report;
    double call = 0;
    if (netns::unavailable().empty())
        measure(report, options, argv[0], &call);
    else
        printf("\ntransport=xdp over veth: left out, %s\n", netns::unavailable().c_str());
    if (!options.json.empty() && !report.write(options.json.c_str(), {{"call", call}})) {
        perror(options.json.c_str());
        return 1;
    }
    return 0;
}
