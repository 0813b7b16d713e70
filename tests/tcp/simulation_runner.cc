// SPDX-License-Identifier: MIT
// Runs the simulation for as long as one likes: `--seeds N` from `--seed S` on, on `--jobs J` cores, and
// prints what was reached; without --seeds one seed, with a trace, and a capture into the file `--capture
// PATH`. What `make sim` calls. Exits with 1 when a rule was broken.
#include "../../lib/base/random.h"
#include "../support/pcap_file.h"
#include "simulation.h"
#include <atomic>
#include <chrono>
#include <mutex>
#include <stdlib.h>
#include <string.h>
#include <thread>
#include <time.h>
#include <vector>

using namespace simulation;

static constexpr uint64_t block = 64;       // seeds that a thread takes at once
static constexpr unsigned failures_max = 5; // told in full; then it stops

struct Arguments {
    uint64_t seed = 1, seeds = 0;
    unsigned jobs = 0;
    std::string capture;
};

static double seconds(wx::Nanos span) { return static_cast<double>(span) / wx::ns_per_s; }
static unsigned long long big(uint64_t value) { return value; }

static std::string kind_name(size_t kind) {
    return kind == kind_count ? "mixed" : wx::sim_kind_text(static_cast<wx::SimKind>(kind));
}

static void print_counters(const Totals &totals) {
    printf("\n%-21s %12s   %s\n", "counter", "sum", "kinds of networks with it");
    for (size_t i = 0; i < stat_count; i++) {
        uint64_t sum = 0;
        std::string kinds;
        for (size_t kind = 0; kind <= kind_count; kind++) {
            const uint64_t value = totals.rows[kind].stats[i];
            sum = i + 1 == stat_count ? std::max(sum, value) : sum + value;
            if (value != 0) kinds += kinds.empty() ? kind_name(kind) : " " + kind_name(kind);
        }
        printf("%-21s %12llu   %s\n", stat_name(i), big(sum), kinds.c_str());
    }
}

static void print_kinds(const Totals &totals) {
    printf("\n%-18s %9s %9s %9s %9s %9s %9s %9s %9s %5s %10s %10s %10s %9s %10s\n", "network", "runs",
           "connects", "dropped", "resent", "timeouts", "probes", "recover", "undone", "times", "worst s",
           "allowed s", "seed", "starved", "worst s");
    for (size_t kind = 0; kind <= kind_count; kind++) {
        const Row &r = totals.rows[kind];
        auto stat = [&](const char *name) {
            for (size_t i = 0; i < stat_count; i++)
                if (strcmp(stat_name(i), name) == 0) return big(r.stats[i]);
            return 0ULL;
        };
        printf(
            "%-18s %9llu %9llu %9llu %9llu %9llu %9llu %9llu %9llu %5llu %10.3f %10.3f %10llu %9llu %10.3f\n",
            kind_name(kind).c_str(), big(r.runs), big(r.connections), big(r.dropped), stat("retransmitted"),
            stat("timeouts"), stat("tail_probes"), stat("recoveries"), stat("undone"), big(r.most_sendings),
            seconds(r.worst_recovery), seconds(r.worst_recovery_bound), big(r.worst_recovery_seed),
            big(r.starved), seconds(r.worst_starved));
    }
    printf("\n%-18s", "ends");
    static const char *const ends[] = {"TIME-WAIT", "closed",   "aborted", "reset",     "refused",
                                       "unreach.",  "syn-time", "timeout", "keepalive", "fin-time"};
    for (const char *end : ends) printf(" %9s", end);
    printf(" %9s %9s\n", "no frame", "refused");
    for (size_t kind = 0; kind <= kind_count; kind++) {
        printf("%-18s", kind_name(kind).c_str());
        for (uint64_t count : totals.rows[kind].ends) printf(" %9llu", big(count));
        printf(" %9llu %9llu\n", big(totals.rows[kind].no_frame), big(totals.rows[kind].refused));
    }
}

static int run_many(const Arguments &arguments) {
    std::atomic<uint64_t> next{0};
    std::atomic<unsigned> failures{0};
    std::mutex lock;
    Totals totals;
    auto work = [&] {
        Simulator simulator;
        Totals mine;
        for (;;) {
            const uint64_t from = next.fetch_add(block);
            if (from >= arguments.seeds || failures >= failures_max) break;
            for (uint64_t i = from; i < from + block && i < arguments.seeds; i++) {
                if (simulator.run(arguments.seed + i, Options(), &mine)) continue;
                std::lock_guard<std::mutex> guard(lock);
                if (failures++ < failures_max) printf("FAILED %s\n", simulator.failure.c_str());
            }
        }
        std::lock_guard<std::mutex> guard(lock);
        totals.add(mine);
    };
    const auto began = std::chrono::steady_clock::now();
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < arguments.jobs; i++) threads.emplace_back(work);
    for (std::thread &thread : threads) thread.join();
    const double wall = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    timespec cpu;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu);
    const double used = static_cast<double>(cpu.tv_sec) + static_cast<double>(cpu.tv_nsec) * 1e-9;
    uint64_t runs = 0, events = 0;
    for (const Row &row : totals.rows) runs += row.runs, events += row.events;
    print_kinds(totals);
    print_counters(totals);
    printf("\n%llu seeds from %llu on, %u failed, %llu events; %.1f s on %u cores, %.3f ms of CPU each\n",
           big(runs), big(arguments.seed), failures.load(), big(events), wall, arguments.jobs,
           runs != 0 ? used * 1000 / static_cast<double>(runs) : 0);
    return failures != 0;
}

static int run_one(const Arguments &arguments) {
    Simulator simulator;
    Totals totals;
    Options options;
    options.trace = true;
    bool good;
    if (arguments.capture.empty()) {
        good = simulator.run(arguments.seed, options, &totals);
    } else {
        PcapFile file(arguments.capture);
        options.capture = &file.writer;
        good = simulator.run(arguments.seed, options, &totals);
        printf("packets: %s\n", arguments.capture.c_str());
    }
    printf("%s\n%s", simulator.scenario().c_str(),
           good ? "every rule was kept\n" : ("FAILED " + simulator.failure).c_str());
    return !good;
}

static uint64_t number(const char *text, const char *what) {
    char *end;
    const uint64_t value = strtoull(text, &end, 10);
    if (*text != 0 && *end == 0) return value;
    fprintf(stderr, "%s is not a number: %s\n", what, text);
    exit(2);
}

static uint64_t random_seed() {
    wx::SystemRandom random;
    if (wx::system_random_open(&random) != 0) exit(2);
    return wx::random_u32(&random);
}

int main(int argc, char **argv) {
    Arguments arguments;
    arguments.jobs = std::max(1u, std::thread::hardware_concurrency());
    for (int i = 1; i < argc; i += 2) {
        const std::string name = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : "";
        if (name == "--seed") {
            arguments.seed = strcmp(value, "random") == 0 ? random_seed() : number(value, "SEED");
        } else if (name == "--seeds") {
            arguments.seeds = number(value, "SEEDS");
        } else if (name == "--jobs") {
            arguments.jobs = static_cast<unsigned>(std::max<uint64_t>(1, number(value, "--jobs")));
        } else if (name == "--capture") {
            arguments.capture = value;
        } else {
            fprintf(stderr, "no such option: %s\n", name.c_str());
            return 2;
        }
    }
    return arguments.seeds != 0 ? run_many(arguments) : run_one(arguments);
}
