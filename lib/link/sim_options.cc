// SPDX-License-Identifier: MIT
// Options of paths of several kinds, drawn from a seed: what a test runs a TCP over a million times. Each
// kind has a base delay and one impairment in the range in which it matters and can be survived; a TCP that
// is given some minutes of simulated time gets through all of them. No times but those drawn, no state.
#include "sim.h"

namespace wx {
namespace {

constexpr uint64_t ethernet_mtu = 1500;
constexpr uint64_t least_mtu6 = 1280; // below it IPv6 does not work at all (RFC 8200 section 5)
constexpr Nanos ns_per_us = 1000;

const char *const kind_texts[] = {
    "perfect",    "lan",    "wan",           "lossy",      "bursty",   "reordering",        "duplicating",
    "corrupting", "narrow", "shrinking-mtu", "black-hole", "flapping", "dying-and-healing", "everything",
};
static_assert(sizeof kind_texts / sizeof kind_texts[0] == static_cast<size_t>(SimKind::count),
              "one text for each kind");

struct Draw {
    FixedRandom random;
    uint64_t between(uint64_t least, uint64_t most) {
        return least + random_below(&random, most - least + 1);
    }
    uint32_t ppm(uint32_t least, uint32_t most) { return static_cast<uint32_t>(between(least, most)); }
    Nanos span(Nanos least, Nanos most) {
        return static_cast<Nanos>(between(static_cast<uint64_t>(least), static_cast<uint64_t>(most)));
    }
    // Short ones as often as long ones: the magnitude is uniform.
    Nanos delay(Nanos least, Nanos most) {
        unsigned doublings = 0;
        while (least << (doublings + 1) <= most) doublings++;
        const Nanos low = least << between(0, doublings);
        return span(low, low * 2 < most ? low * 2 : most);
    }
    bool coin() { return between(0, 1) == 1; }
};

void draw_lan(Draw *draw, SimPathOptions *options) {
    options->delay.fixed = draw->delay(10 * ns_per_us, 500 * ns_per_us);
    options->delay.jitter = draw->span(0, 50 * ns_per_us);
    options->rate.bits_per_s = draw->between(100, 10000) * 1000000;
    options->rate.queue_bytes = draw->between(64, 512) * 1024;
}

void draw_wan(Draw *draw, SimPathOptions *options) {
    options->delay.fixed = draw->delay(2 * ns_per_ms, 150 * ns_per_ms);
    options->delay.jitter = draw->span(0, 5 * ns_per_ms);
    options->rate.bits_per_s = draw->between(5, 1000) * 1000000;
    options->rate.queue_bytes = draw->between(32, 512) * 1024;
}

void draw_burst(Draw *draw, SimPathOptions *options) {
    options->burst.enter_ppm = draw->ppm(1000, 20000);
    options->burst.leave_ppm = draw->ppm(100000, 600000); // 2 to 10 packets long
    options->burst.loss_ppm = draw->ppm(500000, sim_ppm);
}

void draw_reorder(Draw *draw, SimPathOptions *options) {
    options->reorder.ppm = draw->ppm(5000, 200000);
    options->reorder.delay = draw->delay(50 * ns_per_us, 20 * ns_per_ms);
    if (!draw->coin()) return;
    options->delay.jitter = draw->delay(50 * ns_per_us, 10 * ns_per_ms);
    options->delay.overtake = true;
}

void draw_duplicate(Draw *draw, SimPathOptions *options) {
    options->duplicate.ppm = draw->ppm(10000, 300000);
    options->duplicate.delay = draw->coin() ? draw->delay(10 * ns_per_us, 20 * ns_per_ms) : 0;
}

void draw_corrupt(Draw *draw, SimPathOptions *options) {
    options->corrupt.ppm = draw->ppm(1000, 100000);
    options->corrupt.anywhere = draw->coin();
}

void draw_narrow(Draw *draw, SimPathOptions *options) {
    options->delay.fixed = draw->delay(5 * ns_per_ms, 100 * ns_per_ms);
    options->rate.bits_per_s = draw->between(64, 2000) * 1000;
    options->rate.queue_bytes = draw->between(2, 20) * ethernet_mtu;
}

void draw_shrink(Draw *draw, SimPathOptions *options) {
    options->mtu.mtu = ethernet_mtu;
    options->mtu.shrink_at = draw->span(0, 2 * ns_per_s);
    options->mtu.shrink_to = static_cast<uint32_t>(draw->between(least_mtu6, ethernet_mtu - 20));
    options->mtu.icmp_interval = draw->coin() ? draw->span(0, 100 * ns_per_ms) : 0;
    options->mtu.quote_bytes_max = draw->coin() ? 0 : 1280;
}

void draw_flap(Draw *draw, SimPathOptions *options) {
    options->flap.period = draw->delay(500 * ns_per_ms, 8 * ns_per_s);
    options->flap.down = options->flap.period / 100 * draw->span(5, 50);
}

void draw_death(Draw *draw, SimPathOptions *options) {
    options->dead.from = draw->span(0, 3 * ns_per_s);
    options->dead.until = options->dead.from + draw->delay(100 * ns_per_ms, 20 * ns_per_s);
}

// All at once, each milder than alone, as together they must be survived too.
void draw_everything(Draw *draw, SimPathOptions *options) {
    draw_wan(draw, options);
    draw_burst(draw, options);
    draw_reorder(draw, options);
    draw_duplicate(draw, options);
    draw_shrink(draw, options);
    draw_flap(draw, options);
    draw_corrupt(draw, options);
    options->loss.ppm = draw->ppm(100, 20000);
    options->corrupt.ppm /= 10;
    options->duplicate.ppm /= 4;
    options->burst.enter_ppm /= 4;
    options->flap.down /= 4;
    options->dead.from = draw->span(0, 3 * ns_per_s);
    options->dead.until = options->dead.from + draw->delay(50 * ns_per_ms, ns_per_s);
}

void draw_impairment(Draw *draw, SimKind kind, SimPathOptions *options) {
    switch (kind) {
    case SimKind::lossy:
        options->loss.ppm = draw->ppm(1000, 100000);
        return;
    case SimKind::bursty:
        return draw_burst(draw, options);
    case SimKind::reordering:
        return draw_reorder(draw, options);
    case SimKind::duplicating:
        return draw_duplicate(draw, options);
    case SimKind::corrupting:
        return draw_corrupt(draw, options);
    case SimKind::narrow:
        return draw_narrow(draw, options);
    case SimKind::shrinking_mtu:
        return draw_shrink(draw, options);
    case SimKind::black_hole:
        options->mtu.mtu = static_cast<uint32_t>(draw->between(least_mtu6, ethernet_mtu - 20));
        options->mtu.silent = true;
        return;
    case SimKind::flapping:
        return draw_flap(draw, options);
    case SimKind::dying_and_healing:
        return draw_death(draw, options);
    default:
        return;
    }
}

} // namespace

const char *sim_kind_text(SimKind kind) {
    return kind < SimKind::count ? kind_texts[static_cast<size_t>(kind)] : "unknown";
}

void sim_path_draw(SimPathOptions *options, SimKind kind, uint64_t seed) {
    *options = SimPathOptions();
    if (kind == SimKind::perfect || kind >= SimKind::count) return;
    Draw draw;
    fixed_random_open(&draw.random, sim_seed(seed, static_cast<uint64_t>(kind)));
    if (kind == SimKind::lan) return draw_lan(&draw, options);
    if (kind == SimKind::wan) return draw_wan(&draw, options);
    if (kind == SimKind::everything) return draw_everything(&draw, options);
    options->delay.fixed = draw.delay(50 * ns_per_us, 50 * ns_per_ms);
    draw_impairment(&draw, kind, options);
}

} // namespace wx
