// SPDX-License-Identifier: MIT
// Clocks, percentiles, yardsticks and output of the bench programs. Samples are kept whole and sorted, so a
// percentile is exact; a run of a million samples costs 8 MB. Never asserts a speed: a bar is printed, not
// enforced. Worst case accepted: with one core, the cache line yardstick is left out.
#include "measure.h"

#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

namespace bench {

static int64_t read_clock(clockid_t clock) {
    timespec at;
    clock_gettime(clock, &at);
    return static_cast<int64_t>(at.tv_sec) * 1000000000 + at.tv_nsec;
}

int64_t now_ns() { return read_clock(CLOCK_MONOTONIC); }
int64_t cpu_ns() { return read_clock(CLOCK_PROCESS_CPUTIME_ID); }

int64_t core_busy_ns(int cpu) {
    FILE *file = fopen("/proc/stat", "r");
    if (!file) return 0;
    char line[512];
    long long user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, softirq = 0;
    std::string name = "cpu" + std::to_string(cpu) + " ";
    while (fgets(line, sizeof line, file)) {
        if (strncmp(line, name.c_str(), name.size()) != 0) continue;
        sscanf(line + name.size(), "%lld %lld %lld %lld %lld %lld %lld", &user, &nice, &system, &idle, &wait,
               &irq, &softirq);
        break;
    }
    fclose(file);
    return (user + nice + system + irq + softirq) * (1000000000 / sysconf(_SC_CLK_TCK));
}

int cpu_count() {
    static const int count = [] { // before anything is pinned
        cpu_set_t set;
        return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    }();
    return count;
}

bool pin(int cpu) {
    if (cpu < 0) return true;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(static_cast<unsigned>(cpu), &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}

bool quick() {
    static const bool value = [] {
        const char *text = getenv("QUICK");
        return text && *text && strcmp(text, "0") != 0;
    }();
    return value;
}

Percentiles percentiles(std::vector<int64_t> &samples) {
    Percentiles out;
    out.count = samples.size();
    if (samples.empty()) return out;
    std::sort(samples.begin(), samples.end());
    auto at = [&](double share) {
        size_t index = static_cast<size_t>(share * static_cast<double>(samples.size()));
        return static_cast<double>(samples[std::min(index, samples.size() - 1)]);
    };
    out.p50 = at(0.5);
    out.p90 = at(0.9);
    out.p99 = at(0.99);
    out.p999 = at(0.999);
    out.max = static_cast<double>(samples.back());
    return out;
}

double median(std::vector<double> values) {
    if (values.empty()) return 0;
    std::sort(values.begin(), values.end());
    size_t middle = values.size() / 2;
    return values.size() % 2 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

double yardstick_call() {
    // By number: glibc might one day cache what getppid() answers.
    return best_ns(1, [] { keep(syscall(SYS_getppid)); });
}

double yardstick_copy(size_t bytes) {
    // Aligned, and half a page apart modulo pages: otherwise loads wait for stores that only look alike (4
    // KiB aliasing), and the yardstick would flatter what is held against it.
    constexpr size_t page = 4096;
    size_t span = (bytes + page - 1) / page * page;
    std::vector<uint8_t> memory(2 * span + 2 * page, 1);
    uint8_t *source = memory.data() + (page - reinterpret_cast<uintptr_t>(memory.data()) % page);
    uint8_t *target = source + span + page / 2;
    return best_ns(1, [&] {
        memcpy(target, source, bytes);
        keep(*target);
    });
}

double yardstick_line() {
    if (cpu_count() < 2) return 0;
    struct alignas(128) Line {
        std::atomic<uint64_t> turn{0};
    } line;
    constexpr uint64_t end = ~0ull;
    std::thread other([&] {
        pin(0);
        for (uint64_t want = 1;; want += 2) {
            uint64_t seen;
            while ((seen = line.turn.load(std::memory_order_acquire)) != want && seen != end) {
            }
            if (seen == end) return;
            line.turn.store(want + 1, std::memory_order_release);
        }
    });
    cpu_set_t before;
    sched_getaffinity(0, sizeof before, &before);
    pin(1);
    uint64_t turn = 0;
    double both = best_ns(1, [&] {
        line.turn.store(turn + 1, std::memory_order_release);
        turn += 2;
        while (line.turn.load(std::memory_order_acquire) != turn) {
        }
    });
    line.turn.store(end, std::memory_order_release);
    other.join();
    sched_setaffinity(0, sizeof before, &before);
    return both / 2;
}

void Json::key(const char *name) {
    if (!body_.empty()) body_ += ",";
    body_ += std::string("\"") + name + "\":";
}

static std::string quoted(const std::string &value) {
    std::string out = "\"";
    for (char c : value) {
        if (c == '"' || c == '\\') out += '\\';
        if (static_cast<unsigned char>(c) >= 0x20) out += c;
    }
    return out + "\"";
}

Json &Json::text(const char *name, const std::string &value) {
    key(name);
    body_ += quoted(value);
    return *this;
}

Json &Json::number(const char *name, double value) {
    key(name);
    char text[40];
    snprintf(text, sizeof text, "%.6g", isfinite(value) ? value : 0.0);
    body_ += text;
    return *this;
}

Json &Json::flag(const char *name, bool value) {
    key(name);
    body_ += value ? "true" : "false";
    return *this;
}

void Report::bar(const std::string &what, double ratio, double bound, bool at_most, double recv) {
    bool pass = at_most ? ratio <= bound : ratio >= bound;
    bool near = at_most ? ratio <= bound * 1.15 : ratio >= bound / 1.15;
    const char *verdict = !(ratio >= 0) ? "none" : pass ? "pass" : near ? "near" : "MISS";
    bars_.push_back({what, ratio, bound, recv, at_most, verdict});
}

void Report::info(const std::string &what, double ratio, double recv) {
    if (ratio >= 0) bars_.push_back({what, ratio, 0, recv, true, "info"});
}

void Report::print_bars(const char *title) const {
    printf("\n%s\n", title);
    for (const Bar &bar : bars_) {
        if (strcmp(bar.verdict, "none") == 0)
            printf("  none  %-66s      not measured", bar.what.c_str());
        else
            printf("  %s  %-66s %8.3f", bar.verdict, bar.what.c_str(), bar.ratio);
        if (strcmp(bar.verdict, "info") != 0)
            printf(" (bar: %s %.2f)", bar.at_most ? "at most" : "at least", bar.bound);
        if (bar.recv >= 0) printf(" (recv: %.3f)", bar.recv);
        printf("\n");
    }
}

bool Report::write(const char *path, const std::vector<std::pair<std::string, double>> &yardsticks) const {
    FILE *file = fopen(path, "w");
    if (!file) return false;
    Json sticks;
    for (auto &stick : yardsticks) sticks.number(stick.first.c_str(), stick.second);
    fprintf(file, "{\"quick\":%s,\"yardsticks_ns\":%s,\n\"rows\":[\n", quick() ? "true" : "false",
            sticks.str().c_str());
    for (size_t i = 0; i < rows_.size(); i++)
        fprintf(file, "%s%s\n", rows_[i].c_str(), i + 1 < rows_.size() ? "," : "");
    fprintf(file, "],\n\"bars\":[\n");
    for (size_t i = 0; i < bars_.size(); i++) {
        const Bar &bar = bars_[i];
        Json json;
        json.text("what", bar.what).number("ratio", bar.ratio).number("bar", bar.bound);
        if (bar.recv >= 0) json.number("recv_ratio", bar.recv);
        json.text("sense", bar.at_most ? "at most" : "at least").text("verdict", bar.verdict);
        fprintf(file, "%s%s\n", json.str().c_str(), i + 1 < bars_.size() ? "," : "");
    }
    fprintf(file, "]}\n");
    return fclose(file) == 0;
}

} // namespace bench
