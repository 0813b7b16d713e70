// SPDX-License-Identifier: MIT
// The scenario of a run, drawn from its seed. Usual values are drawn about as often as extreme ones, and the
// number of segments is bounded, so that a million runs are a matter of minutes. What cannot work is not
// drawn: a host needs more frames than it may hold out of order, or the missing piece finds no place.
#include "../tcp/simulation_parts.h"
#include <stdarg.h>

using namespace wx;

namespace simulation {

constexpr uint64_t segments_max = 250; // of one message, about

uint64_t Draw::magnitude(uint64_t least, uint64_t most) {
    unsigned doublings = 0;
    while ((least << (doublings + 1)) <= most) doublings++;
    const uint64_t low = least << below(doublings + 1);
    return between(low, low * 2 < most ? low * 2 : most);
}

static uint32_t draw_mtu(Draw *draw, uint8_t version) {
    uint32_t mtu = 1500;
    const uint64_t kind = draw->below(100);
    if (kind < 20)
        mtu = static_cast<uint32_t>(draw->between(576, 1500));
    else if (kind < 35)
        mtu = static_cast<uint32_t>(draw->between(1500, 9000));
    else if (kind < 45)
        mtu = 9000;
    return version == 6 && mtu < 1280 ? 1280 : mtu;
}

static void draw_receiving(Draw *draw, TcpConfig *tcp) {
    tcp->receive_bytes = static_cast<uint32_t>(draw->magnitude(2048, 1 << 20));
    tcp->receive_pieces = draw->chance(70) ? 1024 : 1u << draw->between(2, 9);
    tcp->held_pieces = draw->chance(70) ? 256 : static_cast<uint32_t>(draw->magnitude(1, 128));
    tcp->held_bytes = static_cast<uint32_t>(draw->chance(70) ? 512 << 10 : draw->magnitude(1024, 512 << 10));
    tcp->ack_segments = static_cast<uint32_t>(draw->between(1, 8));
    tcp->ack_delay = draw->chance(70) ? 100000 : draw->span(1000, 200 * ns_per_ms);
}

static void draw_sending(Draw *draw, TcpConfig *tcp) {
    tcp->send_bytes = static_cast<uint32_t>(draw->chance(50) ? 1 << 20 : draw->magnitude(2048, 1 << 20));
    tcp->send_chunks = draw->chance(70) ? 1024 : 1u << draw->between(1, 9);
    tcp->send_segments = draw->chance(70) ? 1024 : 1u << draw->between(1, 9);
    tcp->congestion = static_cast<CongestionKind>(draw->below(3));
    tcp->initial_segments = draw->chance(70) ? 10 : static_cast<uint32_t>(draw->between(1, 10));
    tcp->nagle = draw->chance(25);
    tcp->rtt.min = draw->chance(50) ? 200 * ns_per_ms : draw->span(5 * ns_per_ms, ns_per_s);
    tcp->rtt.max = draw->chance(70) ? 60 * ns_per_s : draw->span(2 * ns_per_s, 60 * ns_per_s);
    tcp->user_timeout = draw->chance(85) ? 100 * ns_per_s : draw->span(3 * ns_per_s, 100 * ns_per_s);
}

static void draw_host(Draw *draw, uint8_t version, HostPlan *host) {
    TcpConfig *tcp = &host->tcp;
    tcp->mtu = draw_mtu(draw, version);
    if (draw->chance(5)) tcp->mss_max = static_cast<uint32_t>(draw->between(64, 1400));
    draw_receiving(draw, tcp);
    draw_sending(draw, tcp);
    tcp->timestamps = draw->chance(75);
    tcp->sack = draw->chance(75);
    tcp->window_scaling = draw->chance(80);
    tcp->time_wait = draw->chance(50) ? 60 * ns_per_s : draw->span(10 * ns_per_s, 60 * ns_per_s);
    if (draw->chance(15)) {
        tcp->keepalive_idle = draw->span(ns_per_s / 2, 20 * ns_per_s);
        tcp->keepalive_interval = draw->span(ns_per_s, 10 * ns_per_s);
        tcp->keepalive_tries = static_cast<uint32_t>(draw->between(4, 9));
    }
    host->frame_bytes = tcp->mtu < 2048 ? 2048 : frame_bytes_max;
    host->receive_frames = host->send_frames = frames_max;
    if (draw->chance(20)) {
        if (tcp->held_pieces > 16) tcp->held_pieces = static_cast<uint32_t>(draw->between(1, 16));
        host->receive_frames = tcp->held_pieces + static_cast<uint32_t>(draw->between(2, 20));
    }
    if (draw->chance(20)) host->send_frames = static_cast<uint32_t>(draw->between(1, 20));
    if (draw->chance(15)) {
        host->sink_full = static_cast<unsigned>(draw->between(1, 30));
        host->sink_full_for = draw->span(1000, 20 * ns_per_ms);
    }
    host->late_acks = draw->chance(30);
}

// What bounds the segments that a message is cut into.
static uint64_t draw_bytes(Draw *draw, const HostPlan &from, const HostPlan &to) {
    uint32_t segment = from.tcp.mtu < to.tcp.mtu ? from.tcp.mtu : to.tcp.mtu;
    if (segment > from.tcp.mss_max) segment = from.tcp.mss_max;
    if (segment > to.tcp.mss_max) segment = to.tcp.mss_max;
    const uint64_t most = segment * segments_max;
    const uint64_t limit = most < message_max ? most : message_max;
    return draw->chance(30) ? draw->between(1, limit) : draw->magnitude(1, limit);
}

static uint32_t draw_portion(Draw *draw, uint64_t bytes) {
    if (draw->chance(50)) return UINT32_MAX;
    const uint64_t least = bytes / segments_max + 1;
    return static_cast<uint32_t>(draw->magnitude(least, bytes + least));
}

static void draw_side(Draw *draw, uint64_t peer_bytes, SidePlan *side) {
    side->write_max = draw_portion(draw, side->bytes);
    side->read_max = draw_portion(draw, peer_bytes);
    if (draw->chance(30)) side->write_pause = static_cast<uint32_t>(draw->between(1, 50));
    if (draw->chance(30)) side->read_pause = static_cast<uint32_t>(draw->between(1, 50));
    side->pause_max = draw->span(ns_per_ms / 10, draw->chance(10) ? 70 * ns_per_s : 2 * ns_per_s);
    if (draw->chance(20)) side->first_write = draw->span(ns_per_ms, 5 * ns_per_s);
    const uint64_t ending = draw->below(100);
    side->ending = ending < 70   ? Ending::finish
                   : ending < 86 ? Ending::close_after
                   : ending < 92 ? Ending::close_early
                                 : Ending::abort;
    side->ending_bytes = draw->below(side->bytes + peer_bytes);
    side->ending_after = draw->span(ns_per_ms, 30 * ns_per_s);
    side->retire = draw->chance(60);
    if (draw->chance(33)) {
        side->has_iss = true;
        side->iss = 0u - static_cast<uint32_t>(draw->magnitude(1, message_max + 2));
    }
    side->wrap_timestamps = draw->chance(20);
}

// Most connections last some milliseconds: what happens to the path must not always come after them.
static void draw_moments(Draw *draw, SimPathOptions *path) {
    if (path->dead.from != never) {
        const Nanos length = path->dead.until - path->dead.from;
        path->dead.from = draw->span(ns_per_ms / 10, 3 * ns_per_s);
        path->dead.until = path->dead.from + length;
    }
    if (path->mtu.shrink_at != never) path->mtu.shrink_at = draw->span(ns_per_ms / 10, 2 * ns_per_s);
    if (path->flap.period > 0 && draw->chance(50)) { // ten times as often
        path->flap.period /= 10;
        path->flap.down /= 10;
    }
}

static void draw_paths(Draw *draw, Plan *plan) {
    for (unsigned i = 0; i < 2; i++) plan->kinds[i] = static_cast<SimKind>(draw->below(kind_count));
    if (draw->chance(75)) plan->kinds[1] = plan->kinds[0];
    for (unsigned i = 0; i < 2; i++) {
        sim_path_draw(&plan->paths[i], plan->kinds[i], draw->below(UINT64_MAX));
        draw_moments(draw, &plan->paths[i]);
        // Without any delay a repetition goes at the same nanosecond as what it repeats, and RACK, which
        // orders by time, takes it for lost at once, without end.
        if (plan->paths[i].delay.fixed == 0) plan->paths[i].delay.fixed = draw->span(1000, 100000);
    }
    plan->heal_after = draw->span(draw->chance(30) ? ns_per_ms : ns_per_s, 60 * ns_per_s);
    plan->start = ns_per_s + static_cast<Nanos>(draw->below(1000000) * static_cast<uint64_t>(ns_per_s) / 7);
    plan->quantum = draw->chance(70) ? 1 : draw->span(1000, 10 * ns_per_ms);
}

void draw_plan(uint64_t seed, Plan *plan) {
    *plan = Plan();
    Draw draw;
    fixed_random_open(&draw.random, sim_seed(seed, 1));
    plan->seed = seed;
    plan->version = draw.chance(50) ? 4 : 6;
    draw_paths(&draw, plan);
    const bool narrow = plan->kinds[0] == SimKind::narrow || plan->kinds[1] == SimKind::narrow;
    for (HostPlan &host : plan->host) {
        draw_host(&draw, plan->version, &host);
        // Without congestion control a slow line with a short queue is kept full of repetitions.
        if (narrow && host.tcp.congestion == CongestionKind::none)
            host.tcp.congestion = CongestionKind::newreno;
    }
    plan->rounds = draw.chance(80) ? 1 : static_cast<unsigned>(draw.between(2, rounds_max));
    for (unsigned i = 0; i < plan->rounds; i++) {
        RoundPlan *round = &plan->round[i];
        for (unsigned s = 0; s < 2; s++)
            round->side[s].bytes = draw_bytes(&draw, plan->host[s], plan->host[1 - s]);
        for (unsigned s = 0; s < 2; s++) draw_side(&draw, round->side[1 - s].bytes, &round->side[s]);
        round->both_open = draw.chance(8);
        round->same_tuple = draw.chance(60);
        round->wait_out = draw.chance(40);
    }
}

// ---- in words ----

static void say(std::string *text, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(std::string *text, const char *format, ...) {
    char line[512];
    va_list list;
    va_start(list, format);
    vsnprintf(line, sizeof line, format, list);
    va_end(list);
    *text += line;
}

static double ms(Nanos span) { return static_cast<double>(span) / ns_per_ms; }

static void say_host(std::string *text, char name, const HostPlan &host) {
    static const char *const congestions[] = {"no congestion control", "NewReno", "CUBIC"};
    const TcpConfig &t = host.tcp;
    say(text, "  %c: mtu %u, mss at most %u, %s%s%s%s%s, %u initial segments\n", name, t.mtu, t.mss_max,
        congestions[static_cast<size_t>(t.congestion)], t.timestamps ? ", timestamps" : "",
        t.sack ? ", SACK" : "", t.window_scaling ? ", scaling" : "", t.nagle ? ", Nagle" : "",
        t.initial_segments);
    say(text, "     receive %u bytes in %u pieces, hold %u in %u; send %u in %u chunks, %u segments\n",
        t.receive_bytes, t.receive_pieces, t.held_bytes, t.held_pieces, t.send_bytes, t.send_chunks,
        t.send_segments);
    say(text, "     ack after %u or %.3f ms; rto %.0f to %.0f ms; user timeout %.0f ms, TIME-WAIT %.0f ms",
        t.ack_segments, ms(t.ack_delay), ms(t.rtt.min), ms(t.rtt.max), ms(t.user_timeout), ms(t.time_wait));
    if (t.keepalive_idle != 0) say(text, ", keepalive after %.0f ms", ms(t.keepalive_idle));
    say(text, "\n     %u frames to receive, %u to send", host.receive_frames, host.send_frames);
    if (host.sink_full != 0)
        say(text, ", sink full %u %% of the time for up to %.3f ms", host.sink_full, ms(host.sink_full_for));
    if (host.late_acks) say(text, ", data is answered before what it acknowledges is seen");
    *text += "\n";
}

static void say_side(std::string *text, char name, const SidePlan &side) {
    static const char *const endings[] = {"finishes", "closes when all is read", "closes early", "aborts"};
    say(text, "     %c writes %llu bytes, %s", name, static_cast<unsigned long long>(side.bytes),
        endings[static_cast<size_t>(side.ending)]);
    if (side.ending >= Ending::close_early)
        say(text, " at %llu bytes or %.1f ms", static_cast<unsigned long long>(side.ending_bytes),
            ms(side.ending_after));
    if (side.write_max != UINT32_MAX) say(text, ", writes %u at most", side.write_max);
    if (side.read_max != UINT32_MAX) say(text, ", reads %u at most", side.read_max);
    if (side.write_pause != 0 || side.read_pause != 0)
        say(text, ", pauses %u %% of writes and %u %% of reads up to %.1f ms", side.write_pause,
            side.read_pause, ms(side.pause_max));
    if (side.first_write != 0) say(text, ", begins after %.1f ms", ms(side.first_write));
    if (side.has_iss) say(text, ", ISS %u", side.iss);
    if (side.wrap_timestamps) *text += ", timestamps wrap";
    if (side.retire) *text += ", retires";
    *text += "\n";
}

std::string plan_text(const Plan &plan) {
    std::string text;
    say(&text, "  seed %llu: IPv%u, A to B %s (delay %.3f ms), B to A %s (%.3f ms), heals after %.1f ms",
        static_cast<unsigned long long>(plan.seed), plan.version, sim_kind_text(plan.kinds[0]),
        ms(plan.paths[0].delay.fixed), sim_kind_text(plan.kinds[1]), ms(plan.paths[1].delay.fixed),
        ms(plan.heal_after));
    if (plan.quantum > 1) say(&text, ", hosts look every %.3f ms", ms(plan.quantum));
    text += "\n";
    for (unsigned i = 0; i < 2; i++) say_host(&text, i == 0 ? 'A' : 'B', plan.host[i]);
    for (unsigned i = 0; i < plan.rounds; i++) {
        say(&text, "  connection %u: %s%s%s\n", i + 1, plan.round[i].both_open ? "both open" : "A opens",
            plan.round[i].same_tuple && i != 0 ? ", the same ports if they are free" : "",
            plan.round[i].wait_out ? ", TIME-WAIT is waited for" : "");
        for (unsigned s = 0; s < 2; s++) say_side(&text, s == 0 ? 'A' : 'B', plan.round[i].side[s]);
    }
    return text;
}

} // namespace simulation
