// SPDX-License-Identifier: MIT
// What a network does to packets, one filter for each: they stack in any order, each in front of its `next`.
// A filter draws from a generator of its own, so that turning one on does not change what another decides.
// Chances are in millionths (ppm). The options of a filter may be changed at any time through its `options`;
// with those of a new object each passes everything on unchanged and at once. Times `from`, `until`, `at`
// count from the filter's start.
#pragma once
#include "../base/random.h"
#include "../wire/ip.h"
#include "pcap.h"
#include "sim_timeline.h"

namespace wx {

constexpr uint32_t sim_ppm = 1000000; // always

struct SimCounters {
    uint64_t taken = 0;
    uint64_t passed = 0;  // with duplicates
    uint64_t dropped = 0; // by intent
    uint64_t altered = 0; // held back, doubled, corrupted, answered with ICMP: what the filter is for
    uint64_t refused = 0; // for want of a slot: see SimTimeline
};
// What a filter has at any time: taken + doubled == passed + dropped + refused + those it holds.

struct SimFilter : SimHolder {
    PacketSink *next = nullptr;
    SimTimeline *timeline = nullptr;
    Nanos start = 0;
    FixedRandom random;
    SimCounters count;
};

// Where a filter stands and what it begins with.
struct SimPlace {
    SimTimeline *timeline = nullptr;
    PacketSink *next = nullptr;
    uint64_t seed = 1;
    Nanos start = 0;
};

// For filters' own files: everything but the options.
void sim_filter_begin(SimFilter *filter, void (*accept)(PacketSink *, ByteView, Nanos),
                      const SimPlace &place);

// For one filter or one chain alone; a SimNetwork has its own. All filters of a timeline run together.
inline Nanos sim_filter_deadline(const SimFilter &filter) { return sim_timeline_deadline(*filter.timeline); }
inline size_t sim_filter_run(SimFilter *filter, Nanos now) { return sim_timeline_run(filter->timeline, now); }

// ---- delay ----
struct SimDelayOptions {
    Nanos fixed = 0;
    Nanos jitter = 0;      // 0..jitter more, uniform
    bool overtake = false; // else none leaves before one that came earlier
};
// Never hands a packet on within accept, not even without delay: what ends a path cannot be entered twice.
struct SimDelay : SimFilter {
    SimDelayOptions options;
    Nanos last_due = INT64_MIN;
};
void sim_delay_open(SimDelay *filter, const SimDelayOptions &options, const SimPlace &place);

// ---- a line of some rate with a queue in front of it ----
struct SimRateOptions {
    uint64_t bits_per_s = 0; // 0: any; at most 10^15, which also keeps the arithmetic in 64 bits
    // A packet that finds the line busy is dropped unless it and what is still to be sent, the rest of the
    // packet on the line included, are together no more. At most sim_queue_max.
    uint64_t queue_bytes = 256 * 1024;
};
constexpr uint64_t sim_queue_max = 1000000000; // keeps the arithmetic in 64 bits
struct SimRate : SimFilter {
    SimRateOptions options;
    Nanos busy_until = INT64_MIN; // and remainder / remainder_rate of a nanosecond
    uint64_t remainder = 0;
    uint64_t remainder_rate = 0;
};
void sim_rate_open(SimRate *filter, const SimRateOptions &options, const SimPlace &place);

// ---- loss ----
struct SimLossOptions {
    uint32_t ppm = 0;
};
struct SimLoss : SimFilter {
    SimLossOptions options;
};
void sim_loss_open(SimLoss *filter, const SimLossOptions &options, const SimPlace &place);

// Gilbert and Elliott's model: bursts begin and end by chance, looked at once for each packet before it is
// judged.
struct SimBurstOptions {
    uint32_t enter_ppm = 0;
    uint32_t leave_ppm = sim_ppm / 2; // mean length of a burst: sim_ppm / leave_ppm packets
    uint32_t loss_ppm = sim_ppm;      // within a burst
};
struct SimBurst : SimFilter {
    SimBurstOptions options;
    bool inside = false;
};
void sim_burst_open(SimBurst *filter, const SimBurstOptions &options, const SimPlace &place);

// ---- chosen packets ----
constexpr unsigned sim_chosen_max = 16;
struct SimChosenOptions {
    uint64_t dropped[sim_chosen_max] = {}; // numbers of packets, from 0 on
    unsigned dropped_count = 0;
    // Says whether this one is to be dropped; number counts all that came.
    bool (*drop)(void *context, ByteView packet, uint64_t number, Nanos now) = nullptr;
    void *context = nullptr;
};
struct SimChosen : SimFilter {
    SimChosenOptions options;
};
void sim_chosen_open(SimChosen *filter, const SimChosenOptions &options, const SimPlace &place);

// ---- duplication ----
struct SimDuplicateOptions {
    uint32_t ppm = 0;
    Nanos delay = 0; // of the second; 0: right behind the first
};
struct SimDuplicate : SimFilter {
    SimDuplicateOptions options;
};
void sim_duplicate_open(SimDuplicate *filter, const SimDuplicateOptions &options, const SimPlace &place);

// ---- reordering ----
struct SimReorderOptions {
    uint32_t ppm = 0;
    Nanos delay = 0; // of the packets that are held back
};
struct SimReorder : SimFilter {
    SimReorderOptions options;
};
void sim_reorder_open(SimReorder *filter, const SimReorderOptions &options, const SimPlace &place);

// ---- corruption ----
struct SimCorruptOptions {
    uint32_t ppm = 0;
    uint32_t bits_max = 3; // 1..bits_max different bits are flipped, at most sim_corrupt_max
    // Anywhere; else behind the IP addresses, so that the packet still arrives where it should.
    bool anywhere = false;
    // Flips never in the same column of 16-bit words: the Internet checksum then notices each time. With
    // `undetected` any bits, and about one packet in 50 with several flips gets past the checksum, as in
    // life.
    bool undetected = false;
};
constexpr uint32_t sim_corrupt_max = 8;
struct SimCorrupt : SimFilter {
    SimCorruptOptions options;
};
void sim_corrupt_open(SimCorrupt *filter, const SimCorruptOptions &options, const SimPlace &place);

// ---- MTU ----
struct SimMtuOptions {
    uint32_t mtu = 0; // of whole IP packets; 0: any
    Nanos shrink_at = never;
    uint32_t shrink_to = 0;  // the MTU from shrink_at on
    bool silent = false;     // a black hole: no ICMP
    Nanos icmp_interval = 0; // at least so long from one ICMP to the next
    // An IPv4 router quotes the header and 8 bytes or more (RFC 792), up to 576 bytes in all (RFC 1812); an
    // IPv6 router up to 1280 in all (RFC 4443). Less by this option; at least the header and 8.
    uint32_t quote_bytes_max = 1280;
    bool mtu_unsaid = false; // IPv4: 0 in the place of the MTU, as routers older than RFC 1191
    IpAddress router4;       // who says it; version 0: 192.0.2.1
    IpAddress router6;       // version 0: 2001:db8::1
};
// A router does not fragment here: IPv4 without DF is dropped too, but without an ICMP message.
struct SimMtu : SimFilter {
    SimMtuOptions options;
    PacketSink *back = nullptr; // where the ICMP message goes; nullptr: nowhere
    Nanos icmp_at = 0;          // of the latest
    bool icmp_said = false;
};
void sim_mtu_open(SimMtu *filter, const SimMtuOptions &options, PacketSink *back, const SimPlace &place);
// The message that the router would send about a packet: bytes written to out, 0 when there is to be none
// (about ICMP errors, fragments but the first, what has no source to answer to: RFC 1122 section 3.2.2, RFC
// 4443 section 2.4) or it does not fit.
size_t sim_mtu_answer(const SimMtuOptions &options, uint32_t mtu, ByteView packet, ByteSpan out);

// ---- a link that is down at times ----
constexpr unsigned sim_outages_max = 8;
struct SimOutage {
    Nanos from = never;
    Nanos until = never; // one past the last
};
struct SimFlapOptions {
    SimOutage outages[sim_outages_max];
    unsigned outage_count = 0;
    // And once in every period (0: not at all), at a random place within it, for so long.
    Nanos period = 0;
    Nanos down = 0;
};
struct SimFlap : SimFilter {
    SimFlapOptions options;
    uint64_t seed = 0;
};
void sim_flap_open(SimFlap *filter, const SimFlapOptions &options, const SimPlace &place);
bool sim_flap_is_down(const SimFlap &filter, Nanos now);

// ---- death: nothing passes, in this direction ----
struct SimDeadOptions {
    Nanos from = never;
    Nanos until = never;
};
struct SimDead : SimFilter {
    SimDeadOptions options;
};
void sim_dead_open(SimDead *filter, const SimDeadOptions &options, const SimPlace &place);

// ---- capture ----
struct SimCaptureOptions {
    PcapWriter *writer = nullptr; // may be shared: one file for both directions
};
struct SimCapture : SimFilter {
    SimCaptureOptions options;
};
void sim_capture_open(SimCapture *filter, const SimCaptureOptions &options, const SimPlace &place);

// Seeds for parts of a whole: neighbours and equal seeds with different parts have nothing in common.
uint64_t sim_seed(uint64_t seed, uint64_t part);

} // namespace wx
