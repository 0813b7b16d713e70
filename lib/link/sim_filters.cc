// SPDX-License-Identifier: MIT
// The filters but the MTU, whose router has a file of its own. Each decides about a packet with nothing but
// the packet, its time, and its own state and generator. Nothing is drawn for a packet whose fate is certain.
// Worst case: no slot is free; the packet is then lost and counted as refused, never as dropped, and the line
// that it would have occupied stays free.
#include "sim_filters.h"

namespace wx {
namespace {

constexpr uint64_t golden = 0x9E3779B97F4A7C15ULL; // 2^64 / the golden ratio: splitmix64's step
// Draws of a bit that may be refused; only packets of a few bytes come near, and get fewer flips.
constexpr unsigned flip_draws_max = 64;

uint64_t mix(uint64_t value) { // splitmix64's finish
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9ULL;
    value = (value ^ value >> 27) * 0x94D049BB133111EBULL;
    return value ^ value >> 31;
}

// The bias of this way to make a chance out of 32 bits is below one in 4000 of the chance.
bool happens(FixedRandom *random, uint32_t ppm) {
    if (ppm == 0) return false;
    if (ppm >= sim_ppm) return true;
    return (uint64_t{random_u32(random)} * sim_ppm >> 32) < ppm;
}

Nanos later(Nanos now, Nanos span) {
    Nanos sum;
    return span <= 0 ? now : __builtin_add_overflow(now, span, &sum) ? never : sum;
}

void pass(SimFilter *filter, ByteView packet, Nanos now) {
    filter->count.passed++;
    filter->next->accept(filter->next, packet, now);
}

void pass_released(SimHolder *self, ByteView packet, Nanos now) {
    pass(static_cast<SimFilter *>(self), packet, now);
}

bool hold(SimFilter *filter, ByteView packet, Nanos due) {
    if (sim_timeline_hold(filter->timeline, filter, packet, due)) return true;
    filter->count.refused++;
    return false;
}

void delay_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimDelay *filter = static_cast<SimDelay *>(self);
    const SimDelayOptions &options = filter->options;
    filter->count.taken++;
    Nanos due = later(now, options.fixed);
    if (options.jitter > 0)
        due = later(due, static_cast<Nanos>(
                             random_below(&filter->random, static_cast<uint64_t>(options.jitter) + 1)));
    if (!options.overtake && due < filter->last_due) due = filter->last_due;
    if (!hold(filter, packet, due)) return;
    filter->last_due = due > filter->last_due ? due : filter->last_due;
}

// Everything in bits times 1e9 / rate: exact, and a rest below a nanosecond is carried to the next packet.
void rate_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimRate *filter = static_cast<SimRate *>(self);
    const uint64_t rate = filter->options.bits_per_s;
    constexpr uint64_t per_byte = 8 * static_cast<uint64_t>(ns_per_s);
    filter->count.taken++;
    if (rate == 0) return pass(filter, packet, now);
    Nanos busy_until = filter->busy_until;
    uint64_t rest = filter->remainder;
    if (rest != 0 && filter->remainder_rate != rate) { // a fraction of another rate: rounded up
        busy_until++;
        rest = 0;
    }
    const uint64_t cost = packet.size * per_byte;
    if (busy_until > now || (busy_until == now && rest != 0)) {
        const uint64_t queue = filter->options.queue_bytes;
        const uint64_t limit = (queue < sim_queue_max ? queue : sim_queue_max) * per_byte;
        uint64_t backlog;
        // Overflows only when the rate was raised over a long backlog.
        if (__builtin_mul_overflow(static_cast<uint64_t>(busy_until) - static_cast<uint64_t>(now), rate,
                                   &backlog) ||
            __builtin_add_overflow(backlog, rest + cost, &backlog) || backlog > limit) {
            filter->count.dropped++;
            return;
        }
    } else {
        busy_until = now;
        rest = 0;
    }
    busy_until = later(busy_until, static_cast<Nanos>((cost + rest) / rate));
    rest = (cost + rest) % rate;
    if (!hold(filter, packet, rest != 0 ? later(busy_until, 1) : busy_until)) return;
    filter->count.altered++;
    filter->busy_until = busy_until;
    filter->remainder = rest;
    filter->remainder_rate = rate;
}

void loss_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimLoss *filter = static_cast<SimLoss *>(self);
    filter->count.taken++;
    if (!happens(&filter->random, filter->options.ppm)) return pass(filter, packet, now);
    filter->count.dropped++;
}

void burst_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimBurst *filter = static_cast<SimBurst *>(self);
    const SimBurstOptions &options = filter->options;
    filter->count.taken++;
    const bool changes = happens(&filter->random, filter->inside ? options.leave_ppm : options.enter_ppm);
    if (changes) filter->inside = !filter->inside;
    if (!filter->inside || !happens(&filter->random, options.loss_ppm)) return pass(filter, packet, now);
    filter->count.dropped++;
}

void chosen_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimChosen *filter = static_cast<SimChosen *>(self);
    const SimChosenOptions &options = filter->options;
    const uint64_t number = filter->count.taken++;
    bool drop = options.drop != nullptr && options.drop(options.context, packet, number, now);
    for (unsigned i = 0; i < options.dropped_count && i < sim_chosen_max; i++)
        drop |= options.dropped[i] == number;
    if (!drop) return pass(filter, packet, now);
    filter->count.dropped++;
}

void duplicate_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimDuplicate *filter = static_cast<SimDuplicate *>(self);
    filter->count.taken++;
    const bool twice = happens(&filter->random, filter->options.ppm);
    if (twice) filter->count.altered++;
    pass(filter, packet, now);
    if (!twice) return;
    if (filter->options.delay <= 0) return pass(filter, packet, now);
    hold(filter, packet, later(now, filter->options.delay));
}

void reorder_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimReorder *filter = static_cast<SimReorder *>(self);
    filter->count.taken++;
    if (!happens(&filter->random, filter->options.ppm)) return pass(filter, packet, now);
    if (hold(filter, packet, later(now, filter->options.delay))) filter->count.altered++;
}

// Where the bytes behind the addresses begin.
size_t behind_addresses(ByteView packet) {
    const unsigned version = packet.empty() ? 0 : packet.data[0] >> 4;
    return version == 4 ? ip4_header_size : version == 6 ? ip6_header_size : 0;
}

void flip_bits(SimCorrupt *filter, uint8_t *bytes, size_t size) {
    const SimCorruptOptions &options = filter->options;
    const uint64_t most = options.bits_max < sim_corrupt_max ? options.bits_max : sim_corrupt_max;
    const uint64_t wanted = 1 + random_below(&filter->random, most);
    uint64_t taken[sim_corrupt_max];
    uint64_t flipped = 0;
    for (unsigned draws = 0; flipped < wanted && draws < flip_draws_max; draws++) {
        const uint64_t bit = random_below(&filter->random, size * 8);
        const uint64_t mark = options.undetected ? bit : bit % 16; // headers have an even size: the column
        bool free = true;
        for (uint64_t i = 0; i < flipped; i++) free &= taken[i] != mark;
        if (!free) continue;
        taken[flipped++] = mark;
        bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ 1u << bit % 8);
    }
}

void corrupt_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimCorrupt *filter = static_cast<SimCorrupt *>(self);
    filter->count.taken++;
    const size_t first = filter->options.anywhere ? 0 : behind_addresses(packet);
    if (packet.size <= first || !happens(&filter->random, filter->options.ppm))
        return pass(filter, packet, now);
    uint8_t *copy = sim_timeline_borrow(filter->timeline, packet);
    if (copy == nullptr) {
        filter->count.refused++;
        return;
    }
    filter->count.altered++;
    flip_bits(filter, copy + first, packet.size - first);
    pass(filter, ByteView(copy, packet.size), now);
    sim_timeline_return(filter->timeline, copy);
}

bool within(Nanos since, Nanos from, Nanos until) { return since >= from && since < until; }

void flap_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimFlap *filter = static_cast<SimFlap *>(self);
    filter->count.taken++;
    if (!sim_flap_is_down(*filter, now)) return pass(filter, packet, now);
    filter->count.dropped++;
}

void dead_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimDead *filter = static_cast<SimDead *>(self);
    filter->count.taken++;
    if (!within(now - filter->start, filter->options.from, filter->options.until))
        return pass(filter, packet, now);
    filter->count.dropped++;
}

void capture_accept(PacketSink *self, ByteView packet, Nanos now) {
    SimCapture *filter = static_cast<SimCapture *>(self);
    filter->count.taken++;
    if (filter->options.writer != nullptr) {
        filter->count.altered++;
        pcap_packet(filter->options.writer, packet, now);
    }
    pass(filter, packet, now);
}

} // namespace

uint64_t sim_seed(uint64_t seed, uint64_t part) { return mix(mix(seed + golden) + (part + 1) * golden); }

void sim_filter_begin(SimFilter *filter, void (*accept)(PacketSink *, ByteView, Nanos),
                      const SimPlace &place) {
    filter->accept = accept;
    filter->release = pass_released;
    filter->next = place.next;
    filter->timeline = place.timeline;
    filter->start = place.start;
    fixed_random_open(&filter->random, place.seed);
    filter->count = SimCounters();
}

void sim_delay_open(SimDelay *filter, const SimDelayOptions &options, const SimPlace &place) {
    sim_filter_begin(filter, delay_accept, place);
    filter->options = options;
    filter->last_due = INT64_MIN;
}

void sim_rate_open(SimRate *filter, const SimRateOptions &options, const SimPlace &place) {
    sim_filter_begin(filter, rate_accept, place);
    filter->options = options;
    filter->busy_until = INT64_MIN;
    filter->remainder = filter->remainder_rate = 0;
}

void sim_loss_open(SimLoss *filter, const SimLossOptions &options, const SimPlace &place) {
    sim_filter_begin(filter, loss_accept, place);
    filter->options = options;
}

void sim_burst_open(SimBurst *filter, const SimBurstOptions &options, const SimPlace &place) {
    sim_filter_begin(filter, burst_accept, place);
    filter->options = options;
    filter->inside = false;
}

void sim_chosen_open(SimChosen *filter, const SimChosenOptions &options, const SimPlace &place) {
    sim_filter_begin(filter, chosen_accept, place);
    filter->options = options;
}

void sim_duplicate_open(SimDuplicate *filter, const SimDuplicateOptions &options, const SimPlace &place) {
    sim_filter_begin(filter, duplicate_accept, place);
    filter->options = options;
}

void sim_reorder_open(SimReorder *filter, const SimReorderOptions &options, const SimPlace &place) {
    sim_filter_begin(filter, reorder_accept, place);
    filter->options = options;
}

void sim_corrupt_open(SimCorrupt *filter, const SimCorruptOptions &options, const SimPlace &place) {
    sim_filter_begin(filter, corrupt_accept, place);
    filter->options = options;
}

void sim_flap_open(SimFlap *filter, const SimFlapOptions &options, const SimPlace &place) {
    sim_filter_begin(filter, flap_accept, place);
    filter->options = options;
    filter->seed = place.seed;
}

// Not the filter's running generator: the times at which the link is down must not depend on who sends when.
bool sim_flap_is_down(const SimFlap &filter, Nanos now) {
    const SimFlapOptions &options = filter.options;
    const Nanos since = now - filter.start;
    for (unsigned i = 0; i < options.outage_count && i < sim_outages_max; i++)
        if (within(since, options.outages[i].from, options.outages[i].until)) return true;
    if (options.period <= 0 || options.down <= 0 || since < 0) return false;
    if (options.down >= options.period) return true;
    FixedRandom random;
    fixed_random_open(&random, sim_seed(filter.seed, static_cast<uint64_t>(since / options.period)));
    const uint64_t room = static_cast<uint64_t>(options.period - options.down) + 1;
    const Nanos from = static_cast<Nanos>(random_below(&random, room));
    return within(since % options.period, from, from + options.down);
}

void sim_dead_open(SimDead *filter, const SimDeadOptions &options, const SimPlace &place) {
    sim_filter_begin(filter, dead_accept, place);
    filter->options = options;
}

void sim_capture_open(SimCapture *filter, const SimCaptureOptions &options, const SimPlace &place) {
    sim_filter_begin(filter, capture_accept, place);
    filter->options = options;
}

} // namespace wx
