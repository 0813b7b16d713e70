// SPDX-License-Identifier: MIT
// Runs what proves transport=xdp over time for as long as one likes, where the tests beside it do the same
// for a second or two: `volume BYTES` moves so many bytes there and back over a rough network, `cycles COUNT`
// opens and ends so many connections, `soak SECONDS` receives at full rate with a consumer that stalls. What
// `make endurance` calls. Each ends with a table of what was reached; anything wrong is a failed assertion
// and exit status 1.
#include "cycles.h"
#include "soak.h"
#include "volume.h"

static uint64_t wanted; // what cmocka's tests take no argument for

static unsigned long long big(uint64_t value) { return value; }

static void print_direction(const char *name, const netns::BridgeCount &count) {
    printf(
        "%-6s taken %llu, given %llu, lost %llu, reordered %llu, doubled %llu, delayed %llu, overruns %llu\n",
        name, big(count.taken), big(count.given), big(count.lost), big(count.reordered), big(count.doubled),
        big(count.delayed), big(count.overruns));
}

static void volume(void **) {
    const VolumeResult r = run_volume(wanted, {with_tls, false});
    const double mib = static_cast<double>(wanted) / (1 << 20);
    printf("%.0f MiB each way over %s in %.1f s, %.1f MiB/s each way; SHA-256 %s\n", mib,
           with_tls ? "wss" : "ws", r.seconds, mib / r.seconds, r.hash.c_str());
    printf("TCP    sent %llu segments, %llu again; received %llu, %llu out of order; round trip %.3f ms\n",
           big(r.stats.tcp_segments_sent), big(r.stats.tcp_retransmits), big(r.stats.tcp_segments_received),
           big(r.stats.tcp_out_of_order), static_cast<double>(r.stats.tcp_round_trip_ns) / 1e6);
    print_direction("out", r.out);
    print_direction("back", r.back);
    printf("XDP    %s\n", r.counters.text().c_str());
}

static void tell_cycles(const CycleResult &r) {
    printf("%llu cycles, %llu handles, %.1f s, %zu descriptors, %zu KiB\n", big(r.cycles), big(r.handles),
           r.seconds, r.descriptors, r.resident_late);
}

static void cycles(void **) {
    Cycles all;
    uint64_t told = 0;
    const CycleResult r = all.run(wanted, [&told](const CycleResult &now) {
        if (now.cycles / 1000 != told) tell_cycles(now);
        told = now.cycles / 1000;
    });
    tell_cycles(r);
    printf("%llu tuples in TIME-WAIT seen; %zu KiB after a third, %zu KiB at the end\n", big(r.waits_seen),
           r.resident_early, r.resident_late);
}

static void tell_soak(const SoakResult &r) {
    printf("%.0f s, %llu pauses of up to %lld ms, %zu to %zu KiB\n", r.seconds, big(r.pauses),
           static_cast<long long>(r.longest_pause_ms), r.resident_least, r.resident_most);
}

static void soak(void **) {
    Soak all;
    double told = 0;
    const SoakResult r = all.run(static_cast<int64_t>(wanted), [&told](const Soak &now) {
        if (now.result.seconds < told + 20) return;
        tell_soak(now.result);
        told = now.result.seconds;
    });
    tell_soak(r);
    const double mib = static_cast<double>(r.bytes) / (1 << 20);
    printf("%.0f MiB, %.1f MiB/s, in %llu messages, %llu segments, %llu of them out of order; reading "
           "stopped %llu "
           "times\n",
           mib, mib / r.seconds, big(r.messages), big(r.stats.tcp_segments_received),
           big(r.stats.tcp_out_of_order), big(r.stats.stalls));
    printf("XDP    %s\n", r.counters.text().c_str());
}

static const struct {
    const char *name;
    CMUnitTestFunction run;
} programs[] = {{"volume", volume}, {"cycles", cycles}, {"soak", soak}};

int main(int argc, char **argv) {
    setvbuf(stdout, nullptr, _IOLBF, 0);
    if (argc == 3) wanted = strtoull(argv[2], nullptr, 10);
    for (const auto &program : programs) {
        if (argc != 3 || wanted == 0 || strcmp(argv[1], program.name) != 0) continue;
        if (!netns::unavailable().empty()) {
            fprintf(stderr, "endurance_runner: %s\n", netns::unavailable().c_str());
            return 1;
        }
        const CMUnitTest tests[] = {{program.name, program.run, nullptr, nullptr, nullptr}};
        return _cmocka_run_group_tests("endurance", tests, 1, nullptr, nullptr);
    }
    fprintf(stderr, "usage: endurance_runner volume BYTES | cycles COUNT | soak SECONDS\n");
    return 2;
}
