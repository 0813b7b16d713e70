// SPDX-License-Identifier: MIT
// A client under measurement: it carries out a whole job and says what it saw. The loop over messages is the
// client's own, in the manner its users write it, so nothing of the bench lies between the messages.
#pragma once
#include "measure.h"
#include "wire.h"

#include <string>

namespace bench {

enum class Task {
    round_trip, // send, wait for the echo, again; spinning
    paced,      // receive messages that carry their send time; spinning
    flat,       // receive as fast as they come; sleeping when there is nothing, so that CPU time is work
    sink        // send as fast as it is taken, until the peer has all; sleeping (the library only)
};

struct Job {
    Task task = Task::round_trip;
    bool secure = false;
    std::string host = loopback;
    int port = 0;
    std::string target; // as bench_peer takes it
    std::string ca_file;
    size_t bytes = 64;      // of payload
    size_t warmup = 0;      // messages that do not count
    size_t count = 0;       // messages that do
    size_t connections = 1; // paced, the library only: as many of them, for the target /fan
    bool phases = false;    // round_trip, the library only: fill Outcome::phases
    int core = -1;          // whose busy time is to be read
};

// Of one message's way, from the time stamps of its event.
struct Phases {
    int64_t waited;    // from the kernel's stamp until we took it; 0 without one
    int64_t transport; // until TCP had processed it
    int64_t tls;       // until its record was open; 0 without TLS
    int64_t parse;     // until the message was whole
    int64_t handover;  // until wsxdp_poll had returned
    int64_t own;       // from taking it until then: all but `waited`
};

struct Outcome {
    bool good = false;
    std::string error;
    std::vector<int64_t>
        samples;     // round_trip: ns there and back; paced: ns from send time to the caller's hands
    double cpu = 0;  // ns of CPU time, over all counted messages
    double wall = 0; // ns
    double messages = 0;
    double allocations = 0;
    double core = 0; // ns that Job::core was not idle, in steps of some milliseconds
    std::vector<Phases> phases;
};

// One measurement of counted messages: begin() when warm-up is over, end() after the last.
class Meter {
public:
    Meter(const Job &job, Outcome *out) : job_(job), out_(out) {
        out->samples.reserve(job.count + job.warmup);
    }
    // Counts message number seen_ (from 0); true when it was the last.
    bool message() {
        if (++seen_ == job_.warmup) begin();
        return seen_ == job_.warmup + job_.count;
    }
    void sample(int64_t ns) {
        if (seen_ >= job_.warmup) out_->samples.push_back(ns);
    }
    void begin() {
        if (job_.core >= 0) core_ = core_busy_ns(job_.core);
        cpu_ = cpu_ns();
        wall_ = now_ns();
        allocations_ = bench::allocations();
    }
    void end() {
        out_->allocations = static_cast<double>(bench::allocations() - allocations_);
        out_->wall = static_cast<double>(now_ns() - wall_);
        out_->cpu = static_cast<double>(cpu_ns() - cpu_);
        if (job_.core >= 0) out_->core = static_cast<double>(core_busy_ns(job_.core) - core_);
        out_->messages = static_cast<double>(job_.count);
        out_->good = true;
    }

private:
    const Job &job_;
    Outcome *out_;
    size_t seen_ = 0;
    int64_t cpu_ = 0, wall_ = 0, core_ = 0;
    uint64_t allocations_ = 0;
};

// The send time that bench_peer wrote into a payload.
inline int64_t stamped(const uint8_t *payload) {
    uint64_t at = 0;
    for (int i = 0; i < 16; i++) {
        unsigned digit = payload[i] <= '9' ? payload[i] - '0' : payload[i] - 'a' + 10u;
        at = at << 4 | digit;
    }
    return static_cast<int64_t>(at);
}

// Which of a library's ways to wait.
enum class Waiting { spin, adaptive, sleep };

Outcome run_recv(const Job &job);
// How the least AF_XDP client reaches the peer; what a kernel would look up is told.
struct BareWay {
    uint32_t ifindex = 0;
    uint8_t own_mac[6] = {0}, peer_mac[6] = {0};
    uint8_t own_ip[4] = {0}, peer_ip[4] = {0};
    bool generic = false;
};
Outcome run_xdp_bare(const Job &job, const BareWay &way); // round_trip without TLS only
Outcome run_beast_sync(const Job &job);
Outcome run_beast_async(const Job &job, Waiting waiting);
// options: "name=value,name=value", set after the others; so are those in the environment's BENCH_OPTIONS.
Outcome run_wsxdp(const Job &job, Waiting waiting, const std::string &options = "");

} // namespace bench
