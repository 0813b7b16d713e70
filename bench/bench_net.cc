// SPDX-License-Identifier: MIT
// Clients side by side over loopback: round trips, one-way latency at a steady rate, and CPU time per message
// flat out. The server spins on one core, the client has the other. Clients take turns in rounds, so that
// whatever else the machine does hits them alike; percentiles are over all rounds together, ratios are the
// median of the rounds' own ratios.
//
// usage: bench_net [--json FILE] [--only round_trip|paced|flat] [--clients a,b,...] [--bytes N] [--scheme
// ws|wss]
#include "client.h"
#include "peer_process.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <map>

namespace {

using namespace bench;

constexpr unsigned in_round_trip = 1, in_paced = 2, in_flat = 4;

struct Client {
    const char *name;
    Outcome (*run)(const Job &);
    unsigned tasks; // other ways to wait are not other clients when flat out
};

const Client clients[] = {
    {"recv", run_recv, in_round_trip | in_paced | in_flat},
    {"beast", run_beast_sync, in_round_trip | in_paced | in_flat},
    {"beast-async", [](const Job &job) { return run_beast_async(job, Waiting::sleep); },
     in_round_trip | in_paced | in_flat},
    {"beast-async-spin", [](const Job &job) { return run_beast_async(job, Waiting::spin); }, in_round_trip},
    {"wsxdp",
     [](const Job &job) { return run_wsxdp(job, job.task == Task::flat ? Waiting::sleep : Waiting::spin); },
     in_round_trip | in_paced | in_flat},
    {"wsxdp-stamped", [](const Job &job) { return run_wsxdp(job, Waiting::spin, "timestamps=software"); },
     in_round_trip},
    {"wsxdp-adaptive", [](const Job &job) { return run_wsxdp(job, Waiting::adaptive); },
     in_round_trip | in_paced},
};

struct Options {
    std::string json, only, clients, scheme;
    size_t bytes = 0;
};

// What one client did in one case, over all rounds.
struct Pool {
    std::vector<int64_t> samples;
    std::vector<double> p50, cpu; // by round
    double wall = 0, cpu_all = 0, messages = 0, allocations = 0;
    bool failed = false;
};
using Pools = std::map<std::string, Pool>;

struct Case {
    Task task;
    bool secure;
    size_t bytes;
    bool pack = false;
};

const char *task_name(Task task) {
    return task == Task::round_trip ? "round_trip" : task == Task::paced ? "paced" : "flat";
}

constexpr long paced_rate = 10000;
// Flat out, so much comes before the clock starts: buffers of some MiB have been touched once, the kernel has
// grown the socket's.
constexpr size_t warmup_bytes = 6 << 20;

Job job_for(const Case &what, const PeerProcess &peer) {
    Job job;
    job.task = what.task;
    job.secure = what.secure;
    job.port = peer.port(what.secure);
    job.ca_file = peer.ca_file();
    job.bytes = what.bytes;
    job.warmup = 200;
    job.count = quick() ? 400 : 1500;
    if (what.task == Task::flat) {
        size_t total = (what.secure ? 8u << 20 : 16u << 20) * (what.bytes >= 16384  ? 4
                                                               : what.bytes >= 1024 ? 2
                                                                                    : 1);
        job.count = total / (what.bytes + 16) / (quick() ? 4 : 1);
        job.warmup = warmup_bytes / (what.bytes + 16);
    }
    std::string size = std::to_string(what.bytes), count = std::to_string(job.warmup + job.count);
    if (what.task == Task::round_trip) job.target = "/echo";
    if (what.task == Task::paced)
        job.target = "/paced?size=" + size + "&count=" + count + "&rate=" + std::to_string(paced_rate);
    if (what.task == Task::flat)
        job.target = "/flat?size=" + size + "&count=" + count + "&pack=" + (what.pack ? "1" : "0");
    return job;
}

void add_round(Pool &pool, const char *name, Outcome &&outcome) {
    if (!outcome.good) {
        if (!pool.failed) fprintf(stderr, "bench_net: %s: %s\n", name, outcome.error.c_str());
        pool.failed = true;
        return;
    }
    pool.p50.push_back(percentiles(outcome.samples).p50);
    pool.cpu.push_back(outcome.cpu / outcome.messages);
    pool.samples.insert(pool.samples.end(), outcome.samples.begin(), outcome.samples.end());
    pool.wall += outcome.wall;
    pool.cpu_all += outcome.cpu;
    pool.messages += outcome.messages;
    pool.allocations += outcome.allocations;
}

bool wanted(const Options &options, const Client &client, Task task) {
    unsigned bit = task == Task::round_trip ? in_round_trip : task == Task::paced ? in_paced : in_flat;
    if (!(client.tasks & bit)) return false;
    return options.clients.empty() ||
           ("," + options.clients + ",").find(std::string(",") + client.name + ",") != std::string::npos;
}

Pools run_case(const Case &what, const Options &options, const PeerProcess &peer) {
    Pools pools;
    Job job = job_for(what, peer);
    constexpr size_t number = sizeof clients / sizeof clients[0];
    size_t rounds = quick() ? 3 : what.task == Task::paced ? 4 : 6;
    for (size_t round = 0; round < rounds; round++)
        for (size_t turn = 0; turn < number; turn++) {
            const Client &client = clients[(turn + round) % number]; // nobody is always first
            if (wanted(options, client, what.task))
                add_round(pools[client.name], client.name, client.run(job));
        }
    return pools;
}

void print_row(Report &report, const Case &what, const char *name, Pool &pool) {
    Percentiles at = percentiles(pool.samples);
    double rate = 1e9 * pool.messages / pool.wall, cpu = median(pool.cpu);
    double allocations = pool.allocations / pool.messages;
    const char *scheme = what.pack ? "wss*" : what.secure ? "wss" : "ws";
    printf("  %-4s %6zu %-16s", scheme, what.bytes, name);
    if (what.task != Task::flat)
        printf(" %8.2f %8.2f %8.2f %8.2f %9.1f", at.p50 / 1e3, at.p90 / 1e3, at.p99 / 1e3, at.p999 / 1e3,
               at.max / 1e3);
    printf(" %10.0f %10.0f %8.3f\n", rate, cpu, allocations);
    Json json;
    json.text("section", task_name(what.task))
        .text("client", name)
        .text("scheme", what.secure ? "wss" : "ws");
    json.number("bytes", static_cast<double>(what.bytes)).flag("packed_records", what.pack);
    if (what.task != Task::flat) {
        json.number("p50_us", at.p50 / 1e3).number("p90_us", at.p90 / 1e3).number("p99_us", at.p99 / 1e3);
        json.number("p999_us", at.p999 / 1e3).number("max_us", at.max / 1e3);
    }
    json.number("messages_per_s", rate).number("cpu_ns_per_message", cpu);
    json.number("allocations_per_message", allocations).number("messages", pool.messages);
    report.row(json);
}

// The median over the rounds of ours / theirs, theirs being the better of a and b in that round. -1: not
// measured.
double paired(const std::vector<double> &ours, const std::vector<double> &a, const std::vector<double> &b) {
    std::vector<double> ratios;
    for (size_t i = 0; i < ours.size() && i < a.size() && i < b.size(); i++)
        ratios.push_back(ours[i] / std::min(a[i], b[i]));
    return ratios.empty() ? -1 : median(ratios);
}

void round_trip_bars(Report &report, const Case &what, const std::string &label, Pools &pools) {
    if (what.bytes > 256) return;
    Pool &ours = pools["wsxdp"], &recv = pools["recv"], &beast = pools["beast"];
    report.bar("round trip p50 " + label + " / better of recv and beast",
               paired(ours.p50, recv.p50, beast.p50), 1.05, true);
    report.info("the same with kernel time stamps, which nobody else takes",
                paired(pools["wsxdp-stamped"].p50, recv.p50, beast.p50), -1);
    Pool &async = pools["beast-async"], &spin = pools["beast-async-spin"];
    report.bar("round trip p50 " + label + " / beast-async", paired(ours.p50, async.p50, async.p50), 0.8,
               true, paired(recv.p50, async.p50, async.p50));
    report.info("round trip p50 " + label + " / beast-async-spin", paired(ours.p50, spin.p50, spin.p50),
                paired(recv.p50, spin.p50, spin.p50));
}

void flat_bars(Report &report, const Case &what, const std::string &label, Pools &pools) {
    double bound = what.bytes == 64                      ? 0.5
                   : what.bytes == 1024 && !what.secure  ? 0.4
                   : what.bytes == 16384 && !what.secure ? 0.75
                   : what.bytes == 16384                 ? 0.85
                                                         : 0;
    if (bound == 0) return;
    Pool &beast = pools["beast"];
    double ours = paired(pools["wsxdp"].cpu, beast.cpu, beast.cpu);
    double floor = paired(pools["recv"].cpu, beast.cpu, beast.cpu);
    std::string text = "flat out, CPU per message " + label + " / beast";
    if (what.pack) return report.info(text + ", packed records", ours, floor);
    report.bar(text, ours, bound, true, floor);
}

// Of the library, per message in any case; 0: ws, 1: wss. Below 0: not measured.
double worst_allocations[2] = {-1, -1};

void run_and_print(Report &report, const Case &what, const Options &options, const PeerProcess &peer) {
    if (!options.only.empty() && options.only != task_name(what.task)) return;
    if (options.bytes && options.bytes != what.bytes) return;
    if (!options.scheme.empty() && options.scheme != (what.secure ? "wss" : "ws")) return;
    Pools pools = run_case(what, options, peer);
    for (const Client &client : clients)
        if (!pools[client.name].samples.empty() || pools[client.name].messages > 0)
            print_row(report, what, client.name, pools[client.name]);
    fflush(stdout);
    std::string label = std::string(what.secure ? "wss " : "ws ") + std::to_string(what.bytes) + " B";
    if (what.task == Task::round_trip) round_trip_bars(report, what, label, pools);
    if (what.task == Task::flat) flat_bars(report, what, label, pools);
    Pool &ours = pools["wsxdp"];
    if (ours.messages > 0) {
        double &worst = worst_allocations[what.secure];
        worst = std::max(worst, ours.allocations / ours.messages);
    }
}

void table_head(Task task) {
    if (task == Task::round_trip)
        printf(
            "\nround trip, us (send, echo, receive; clients spin; beast-async sleeps in io_context.run(),\n"
            "beast-async-spin calls poll() in a loop, wsxdp-adaptive spins first and sleeps then,\n"
            "wsxdp-stamped also takes kernel time stamps, which the others do not)\n");
    if (task == Task::paced)
        printf("\none way at %ld messages/s, us (send time in the message; clients spin but beast-async and "
               "wsxdp-adaptive)\n",
               paced_rate);
    if (task == Task::flat)
        printf(
            "\nflat out (bytes made beforehand, written 256 KiB at once; every client sleeps when there is "
            "nothing,\n"
            "so CPU time is work; wss: one record per message, wss*: records of up to 16 KiB of messages)\n");
    printf("  %-4s %6s %-16s", "", "bytes", "client");
    if (task != Task::flat) printf(" %8s %8s %8s %8s %9s", "p50", "p90", "p99", "p99.9", "max");
    printf(" %10s %10s %8s\n", "msg/s", "CPU ns/msg", "alloc/msg");
}

bool read_options(int argc, char **argv, Options *out) {
    for (int i = 1; i + 1 < argc; i += 2) {
        std::string name = argv[i];
        if (name == "--json")
            out->json = argv[i + 1];
        else if (name == "--only")
            out->only = argv[i + 1];
        else if (name == "--clients")
            out->clients = argv[i + 1];
        else if (name == "--scheme")
            out->scheme = argv[i + 1];
        else if (name == "--bytes")
            out->bytes = static_cast<size_t>(atol(argv[i + 1]));
        else
            return false;
    }
    return argc % 2 == 1;
}

} // namespace

int main(int argc, char **argv) {
    Options options;
    if (!read_options(argc, argv, &options)) {
        fprintf(stderr,
                "usage: bench_net [--json FILE] [--only round_trip|paced|flat] [--clients a,b] [--bytes N] "
                "[--scheme ws|wss]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    bool two = cpu_count() > 1;
    PeerProcess peer(argv[0], two ? 0 : -1);
    pin(two ? 1 : -1);
    if (!two)
        printf("one core only: server and client share it, and spinning clients measure the scheduler\n");
    Report report;
    for (Task task : {Task::round_trip, Task::paced, Task::flat}) {
        if (!options.only.empty() && options.only != task_name(task)) continue;
        table_head(task);
        for (bool secure : {false, true})
            for (size_t bytes : {64, 256, 1024, 16384})
                run_and_print(report, {task, secure, bytes}, options, peer);
        if (task == Task::flat) run_and_print(report, {task, true, 64, true}, options, peer);
    }
    report.bar("allocations per message, ws, the worst case", worst_allocations[0], 0, true);
    report.bar("allocations per message, wss, the worst case", worst_allocations[1], 0, true);
    report.print_bars("network bars (median of the rounds' paired ratios)");
    if (!options.json.empty() && !report.write(options.json.c_str(), {})) {
        perror(options.json.c_str());
        return 1;
    }
    return 0;
}
