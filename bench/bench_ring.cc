// SPDX-License-Identifier: MIT
// The rings between stages: a slot's way from core to core beside that of a bare cache line, measured in
// turns so that whatever disturbs one disturbs the other; what a slot costs in one thread and across cores;
// what ringing costs a producer when nobody sleeps; and how long a sleeper takes to be back. Reaches into
// lib/ring, which the archive hides, so it is linked with the library's objects. With one core only the first
// half of that is measured.
//
// usage: bench_ring [--json FILE]
#include "../lib/ring/bell.h"
#include "../lib/ring/spsc.h"
#include "measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <thread>

namespace {

using bench::Json;
using bench::Report;

constexpr int here = 1, there = 0; // cores

struct Slot {
    uint64_t number;
    uint32_t parts[5];
    uint8_t lap, pad[3];
};
static_assert(sizeof(Slot) == 32, "the bars are about slots of 32 bytes");

constexpr uint64_t ring_slots = 2048; // as raw_inbox has

struct Ring {
    wx::RingWords words;
    alignas(wx::cache_line_pair) Slot slots[ring_slots];
};
std::unique_ptr<Ring> make_ring() {
    std::unique_ptr<Ring> ring(new Ring);
    memset(static_cast<void *>(ring.get()), 0, sizeof(Ring));
    return ring;
}

struct Producer : wx::RingProducer<Slot> {
    explicit Producer(Ring *ring) { open(&ring->words, ring->slots, ring_slots); }
    bool put(uint64_t number) {
        Slot *slot = claim();
        if (slot == nullptr) return false;
        slot->number = number;
        for (uint32_t &part : slot->parts) part = static_cast<uint32_t>(number);
        return true;
    }
};
struct Consumer : wx::RingConsumer<Slot> {
    explicit Consumer(Ring *ring) { open(&ring->words, ring->slots, ring_slots); }
    uint64_t take() { // spins until there is one
        Slot *slot;
        while ((slot = front()) == nullptr) {
        }
        const Slot copy = *slot;
        pop();
        return copy.number + copy.parts[0] + copy.parts[1] + copy.parts[4];
    }
};

[[noreturn]] void fail(const char *what) {
    fprintf(stderr, "bench_ring: %s\n", what);
    exit(1);
}

void print_percentiles(const char *what, const bench::Percentiles &p) {
    printf("  %-34s %9zu %8.0f %8.0f %8.0f %8.0f %10.0f\n", what, p.count, p.p50, p.p90, p.p99, p.p999,
           p.max);
}
void percentiles_row(Report &report, const char *what, const bench::Percentiles &p) {
    print_percentiles(what, p);
    Json json;
    json.text("section", "latency").text("what", what).number("count", static_cast<double>(p.count));
    json.number("p50_ns", p.p50).number("p90_ns", p.p90).number("p99_ns", p.p99);
    report.row(json.number("p999_ns", p.p999).number("max_ns", p.max));
}

// ---- core to core ----

// There and back, by turns: a bare line, a bare line for each way, and a slot through a ring each way. The
// one line is written by whoever has just read it and so has it already; who writes into a line that the
// other looks at has to get it first, which is a second transfer. That is what one way alone costs, whatever
// is sent.
struct Hops {
    struct alignas(wx::cache_line_pair) Line {
        std::atomic<uint64_t> turn{0};
    } line, line_out, line_back;
    std::unique_ptr<Ring> out = make_ring(), back = make_ring();
    std::atomic<uint64_t> slice{0}; // which one is on; the last
    static constexpr uint64_t rounds = 1000, no_more = ~uint64_t{0};

    void answer_line(uint64_t *turn) {
        for (uint64_t i = 0; i < rounds; i++, *turn += 2) {
            while (line.turn.load(std::memory_order_acquire) != *turn + 1) {
            }
            line.turn.store(*turn + 2, std::memory_order_release);
        }
    }
    void answer_lines(uint64_t *turn) {
        for (uint64_t i = 0; i < rounds; i++) {
            ++*turn;
            while (line_out.turn.load(std::memory_order_acquire) != *turn) {
            }
            line_back.turn.store(*turn, std::memory_order_release);
        }
    }
    void answer_ring(Consumer *from, Producer *to) {
        for (uint64_t i = 0; i < rounds; i++) {
            uint64_t sum = from->take();
            to->put(sum / 4);
            to->publish();
            from->release();
        }
    }
    void answer() {
        bench::pin(there);
        Consumer from(out.get());
        Producer to(back.get());
        uint64_t turn = 0, turns = 0;
        for (uint64_t next = 1;; next++) {
            uint64_t now;
            while ((now = slice.load(std::memory_order_acquire)) < next) bench::cpu_relax();
            if (now == no_more) return;
            answer_line(&turn);
            answer_lines(&turns);
            answer_ring(&from, &to);
        }
    }
    void ask_line(uint64_t *turn, const wx::Clock &clock, std::vector<int64_t> *samples) {
        for (uint64_t i = 0; i < rounds; i++) {
            wx::Tick began = clock.ticks();
            line.turn.store(*turn + 1, std::memory_order_release);
            *turn += 2;
            while (line.turn.load(std::memory_order_acquire) != *turn) {
            }
            samples->push_back(clock.span_ns(clock.ticks() - began) / 2);
        }
    }
    void ask_lines(uint64_t *turn, const wx::Clock &clock, std::vector<int64_t> *samples) {
        for (uint64_t i = 0; i < rounds; i++) {
            wx::Tick began = clock.ticks();
            line_out.turn.store(++*turn, std::memory_order_release);
            while (line_back.turn.load(std::memory_order_acquire) != *turn) {
            }
            samples->push_back(clock.span_ns(clock.ticks() - began) / 2);
        }
    }
    void ask_ring(uint64_t *number, Producer *to, Consumer *from, const wx::Clock &clock,
                  std::vector<int64_t> *samples) {
        for (uint64_t i = 0; i < rounds; i++) {
            wx::Tick began = clock.ticks();
            to->put(++*number);
            to->publish();
            uint64_t sum = from->take();
            samples->push_back(clock.span_ns(clock.ticks() - began) / 2);
            from->release();
            if (sum != 4 * *number) fail("a slot came back as another");
        }
    }
    void measure(Report &report) {
        std::thread other([this] { answer(); });
        wx::Clock clock;
        wx::system_clock_open(&clock);
        Producer to(out.get());
        Consumer from(back.get());
        std::vector<int64_t> bare, both, ringed;
        std::vector<double> bare_means, both_means, ringed_means;
        // By time, not by number: on a machine that is busy with other things a turn may take long.
        const int64_t until = bench::now_ns() + (bench::quick() ? 500000000 : 2000000000);
        uint64_t turn = 0, turns = 0, number = 0;
        auto timed = [this](const auto &work) {
            int64_t began = bench::now_ns();
            work();
            return static_cast<double>(bench::now_ns() - began) / static_cast<double>(2 * rounds);
        };
        for (uint64_t next = 1; bench::now_ns() < until; next++) {
            slice.store(next, std::memory_order_release);
            bare_means.push_back(timed([&] { ask_line(&turn, clock, &bare); }));
            both_means.push_back(timed([&] { ask_lines(&turns, clock, &both); }));
            ringed_means.push_back(timed([&] { ask_ring(&number, &to, &from, clock, &ringed); }));
        }
        slice.store(no_more, std::memory_order_release);
        other.join();
        percentiles_row(report, "hop of a bare cache line", bench::percentiles(bare));
        percentiles_row(report, "hop of a bare line for each way", bench::percentiles(both));
        percentiles_row(report, "hop of a 32-byte slot", bench::percentiles(ringed));
        double line_ns = bench::median(bare_means), lines_ns = bench::median(both_means);
        double slot_ns = bench::median(ringed_means);
        printf("  mean hop, median of %zu turns: line %.1f ns, a line for each way %.1f ns, slot %.1f ns\n",
               bare_means.size(), line_ns, lines_ns, slot_ns);
        Json json;
        json.text("section", "hop").number("line_ns", line_ns).number("lines_ns", lines_ns);
        report.row(json.number("slot_ns", slot_ns));
        report.bar("a slot from core to core / a bare cache line", slot_ns / line_ns, 1.2, true);
        report.info("the same / a bare line for each way, the least that one way costs", slot_ns / lines_ns,
                    -1);
    }
};

struct Bell {
    wx::BellWords words;
    wx::WaitCounters sleeping, ringing;
    wx::BellSleeper sleeper;
    wx::BellRinger ringer;
    explicit Bell(wx::BellOrder order) {
        memset(static_cast<void *>(this), 0, sizeof *this);
        sleeper.open(&words, order, &sleeping);
        ringer.open(&words, wx::BellReach::process, &ringing);
    }
};

// ns for a slot through a ring whose other end is another core's, both ends in batches. With a bell, each
// batch rings it, though nobody sleeps.
double time_across(uint64_t batch, Bell *bell = nullptr) {
    auto ring = make_ring();
    const uint64_t count = bench::quick() ? 500000 : 4000000;
    auto idle = [](uint64_t *spins) { // gives way in the end: the other side may have no core
        if (++*spins % 4096 == 0) std::this_thread::yield();
    };
    std::thread other([&] {
        bench::pin(there);
        Consumer from(ring.get());
        uint64_t wrong = 0, spins = 0;
        for (uint64_t i = 0; i < count; from.release()) {
            Slot *slot = from.front();
            if (slot == nullptr) idle(&spins);
            for (; slot; i++, slot = from.next()) wrong += slot->number != i;
        }
        if (wrong) fail("a slot arrived as another");
    });
    Producer to(ring.get());
    int64_t began = bench::now_ns();
    for (uint64_t i = 0, spins = 0; i < count; to.publish()) {
        uint64_t end = std::min(i + batch, count);
        while (i < end && to.put(i)) i++;
        if (i < end) idle(&spins);
        if (bell) { // here too: the position before the look
            to.publish();
            bell->ringer.ring();
        }
    }
    other.join();
    return static_cast<double>(bench::now_ns() - began) / static_cast<double>(count);
}

// ---- one thread ----

double time_within(uint64_t batch) {
    auto ring = make_ring();
    Producer to(ring.get());
    Consumer from(ring.get());
    uint64_t number = 0, sum = 0;
    return bench::best_ns(static_cast<double>(batch), [&] {
        for (uint64_t i = 0; i < batch; i++) to.put(number++);
        to.publish();
        for (uint64_t i = 0; i < batch; i++) sum += from.take();
        from.release();
        bench::keep(sum);
    });
}

void cost_table(Report &report, double call) {
    printf("\ncost of a 32-byte slot, put and taken\n  %-16s %6s %9s %9s\n", "", "batch", "ns", "x call");
    for (bool across : {false, true}) {
        if (across && bench::cpu_count() < 2) continue;
        for (uint64_t batch : {1, 16, 64}) {
            double each = across ? 1e300 : time_within(batch);
            for (int i = 0; across && i < 5; i++) each = std::min(each, time_across(batch));
            const char *what = across ? "across cores" : "one thread";
            printf("  %-16s %6llu %9.2f %9.3f\n", what, static_cast<unsigned long long>(batch), each,
                   each / call);
            Json json;
            json.text("section", "cost").text("what", what).number("batch", static_cast<double>(batch));
            report.row(json.number("ns", each).number("ratio_call", each / call));
            if (!across && batch == 1) report.bar("a slot within one thread / call", each / call, 0.1, true);
            if (across && batch == 16)
                report.bar("a slot across cores in batches of 16 / call", each / call, 0.5, true);
        }
    }
}

// ---- ringing ----

// One slot put, published and taken again, the consumer awake.
template <bool rings> double time_ringing(Bell *bell) {
    auto ring = make_ring();
    Producer to(ring.get());
    Consumer from(ring.get());
    uint64_t number = 0, sum = 0;
    return bench::best_ns(1, [&] {
        to.put(number++);
        to.publish();
        if (rings) bell->ringer.ring();
        sum += from.take();
        from.release();
        bench::keep(sum);
    });
}

const char *name_of(wx::BellOrder order) {
    return order == wx::BellOrder::ringer_fences     ? "fence"
           : order == wx::BellOrder::process_barrier ? "membarrier, process"
                                                     : "membarrier, machine";
}

std::vector<wx::BellOrder> offered_orders() {
    std::vector<wx::BellOrder> orders = {wx::BellOrder::ringer_fences};
    for (wx::BellReach reach : {wx::BellReach::process, wx::BellReach::machine})
        if (wx::bell_order(reach) != wx::BellOrder::ringer_fences) orders.push_back(wx::bell_order(reach));
    return orders;
}

void ringing_table(Report &report, double call) {
    printf("\nringing when nobody sleeps (a slot put and taken in one thread), and announcing a sleep\n");
    printf("  %-22s %11s %9s %9s %9s %12s\n", "", "silent ns", "rings ns", "more ns", "x call",
           "announce ns");
    for (wx::BellOrder order : offered_orders()) {
        auto bell = std::make_unique<Bell>(order);
        double silent = 1e300, rings = 1e300;
        for (int i = 0; i < 3; i++) { // by turns
            silent = std::min(silent, time_ringing<false>(bell.get()));
            rings = std::min(rings, time_ringing<true>(bell.get()));
        }
        double announce = bench::best_ns(1, [&] {
            bell->sleeper.announce();
            bell->sleeper.cancel();
        });
        double more = rings > silent ? rings - silent : 0;
        printf("  %-22s %11.2f %9.2f %9.2f %9.3f %12.0f\n", name_of(order), silent, rings, more, more / call,
               announce);
        if (bell->ringing.rings != 0) fail("rang though nobody slept");
        Json json;
        json.text("section", "ringing").text("order", name_of(order)).number("silent_ns", silent);
        json.number("rings_ns", rings).number("ratio_call", more / call).number("announce_ns", announce);
        report.row(json);
        if (order == wx::BellOrder::process_barrier)
            report.bar("ringing when nobody sleeps, by membarrier / call", more / call, 0.01, true);
        if (order == wx::BellOrder::ringer_fences)
            report.info("ringing when nobody sleeps, by a fence / call", more / call, -1);
    }
}

// The same where the fence has something to wait for: stores to lines that the consumer's core has.
void ringing_across_table(Report &report) {
    printf("\na slot across cores, each batch rung for though nobody sleeps (ns)\n");
    printf("  %6s %9s %9s %20s\n", "batch", "silent", "fence", "membarrier, process");
    for (uint64_t batch : {1, 16}) {
        double ns[3] = {1e300, 1e300, 1e300};
        Bell fenced(wx::BellOrder::ringer_fences), ordered(wx::bell_order(wx::BellReach::process));
        Bell *const bells[3] = {nullptr, &fenced, &ordered};
        for (int turn = 0; turn < 5; turn++)
            for (int i = 0; i < 3; i++) ns[i] = std::min(ns[i], time_across(batch, bells[i]));
        printf("  %6llu %9.2f %9.2f %20.2f\n", static_cast<unsigned long long>(batch), ns[0], ns[1], ns[2]);
        Json json;
        json.text("section", "ringing across").number("batch", static_cast<double>(batch));
        report.row(json.number("silent_ns", ns[0]).number("fence_ns", ns[1]).number("membarrier_ns", ns[2]));
    }
}

// From before the slot is published to after the sleeper of the other core has it.
void measure_waking(Report &report, wx::BellOrder order) {
    const uint64_t count = bench::quick() ? 500 : 3000;
    auto ring = make_ring();
    auto bell = std::make_unique<Bell>(order);
    std::vector<int64_t> woke, cost;
    std::atomic<uint64_t> taken{0};
    std::thread other([&] {
        bench::pin(there);
        Consumer from(ring.get());
        for (uint64_t i = 0; i < count;) {
            wx::Nanos now = wx::monotonic_ns();
            if (!from.front()) bell->sleeper.wait(now, wx::never, [&] { return from.look() != 0; });
            for (Slot *slot; (slot = from.front()); i++, from.pop())
                woke.push_back(wx::monotonic_ns() - static_cast<int64_t>(slot->number));
            from.release();
            taken = i;
        }
    });
    Producer to(ring.get());
    for (uint64_t i = 0; i < count; i++) {
        while (taken != i) bench::cpu_relax();
        int64_t until = bench::now_ns() + 100000; // time to fall asleep
        while (bench::now_ns() < until) bench::cpu_relax();
        to.put(static_cast<uint64_t>(bench::now_ns()));
        to.publish();
        bell->ringer.ring();
        cost.push_back(bench::now_ns() - until);
    }
    other.join();
    std::string name = name_of(order);
    percentiles_row(report, ("woken, " + name).c_str(), bench::percentiles(woke));
    percentiles_row(report, ("ring that wakes, " + name).c_str(), bench::percentiles(cost));
}

} // namespace

int main(int argc, char **argv) {
    const char *json = argc == 3 && strcmp(argv[1], "--json") == 0 ? argv[2] : nullptr;
    const bool two_cores = bench::cpu_count() > 1;
    bench::pin(two_cores ? here : -1);
    const double call = bench::yardstick_call();
    printf("yardstick: call %.1f ns (getppid)\n", call);
    Report report;
    if (two_cores) {
        printf("\nlatency\n  %-34s %9s %8s %8s %8s %8s %10s\n", "ns", "count", "p50", "p90", "p99", "p99.9",
               "max");
        Hops().measure(report);
        for (wx::BellOrder order : offered_orders()) measure_waking(report, order);
    } else {
        report.bar("a slot from core to core / a bare cache line", -1, 1.2, true);
    }
    cost_table(report, call);
    ringing_table(report, call);
    if (two_cores) ringing_across_table(report);
    report.print_bars("ring bars");
    if (json && !report.write(json, {{"call", call}})) {
        perror(json);
        return 1;
    }
    return 0;
}
