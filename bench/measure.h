// SPDX-License-Identifier: MIT
// What every bench program shares: clocks, pinning, percentiles, the yardsticks, tables' ratios and the JSON.
#pragma once
#include <stddef.h>
#include <stdint.h>

#include <string>
#include <vector>

namespace bench {

int64_t now_ns(); // CLOCK_MONOTONIC: the same in every process of the machine
int64_t cpu_ns(); // CPU time of this process, user and system
// Time that a core was not idle, whoever used it, by /proc/stat: in the steps of the kernel's tick.
int64_t core_busy_ns(int cpu);
int cpu_count();   // that this process may use; asked for once, so call it before pin()
bool pin(int cpu); // this thread; < 0 does nothing
bool quick();      // QUICK=1: shorter runs, noisier numbers

uint64_t allocations(); // malloc and its kin so far in this process, libraries included (count_malloc.cc)

inline void cpu_relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Keeps the compiler from dropping or hoisting work whose result nobody uses.
template <class T> inline void keep(const T &value) { __asm__ volatile("" : : "g"(&value) : "memory"); }

struct Percentiles {
    size_t count = 0;
    double p50 = 0, p90 = 0, p99 = 0, p999 = 0, max = 0;
};
Percentiles percentiles(std::vector<int64_t> &samples); // sorts them
double median(std::vector<double> values);              // 0 when empty

// ns for one call of work(): the fastest of many slices, since everything that disturbs a slice on a shared
// machine only makes it slower. calls: how many pieces of work one call of work() does.
template <class Work> double best_ns(double calls, const Work &work) {
    const int64_t slice_ns = quick() ? 500000 : 2000000;
    const int slices = quick() ? 12 : 40;
    int64_t began = now_ns();
    uint64_t repeat = 0;
    do {
        work();
        repeat++;
    } while (now_ns() - began < slice_ns);
    double best = 1e300;
    for (int slice = 0; slice < slices; slice++) {
        began = now_ns();
        for (uint64_t i = 0; i < repeat; i++) work();
        double each = static_cast<double>(now_ns() - began) / (static_cast<double>(repeat) * calls);
        if (each < best) best = each;
    }
    return best;
}

double yardstick_call();             // ns of one getppid() system call
double yardstick_copy(size_t bytes); // ns of memcpy of so many bytes that are in the cache
double yardstick_line();             // ns for a cache line to go from one core to the other; 0 with one core

// One JSON object, fields in the order given.
class Json {
public:
    Json &text(const char *name, const std::string &value);
    Json &number(const char *name, double value);
    Json &flag(const char *name, bool value);
    std::string str() const { return "{" + body_ + "}"; }

private:
    void key(const char *name);
    std::string body_;
};

// The rows of one program's results, and its bars; written as one JSON object.
class Report {
public:
    void row(const Json &json) { rows_.push_back(json.str()); }
    // A ratio that is to be at most (or at least) bound. Never a failure: pass, near (within 15 %), miss.
    // recv: the same ratio for the bare recv() loop, which says what is possible here; < 0 when it has none.
    void bar(const std::string &what, double ratio, double bound, bool at_most, double recv = -1);
    // A ratio worth seeing that no bar stands at.
    void info(const std::string &what, double ratio, double recv);
    void print_bars(const char *title) const;
    bool write(const char *path, const std::vector<std::pair<std::string, double>> &yardsticks) const;

private:
    struct Bar {
        std::string what;
        double ratio, bound, recv;
        bool at_most;
        const char *verdict;
    };
    std::vector<std::string> rows_;
    std::vector<Bar> bars_;
};

} // namespace bench
