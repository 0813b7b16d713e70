// SPDX-License-Identifier: MIT
// A run: two hosts, their applications and the network between them, moved from one event to the next. The
// applications write and read in portions, pause, finish, close and abort as the plan says; a sink refuses
// packets at times. Once the network is healed something must go on within a bound: twice the longest wait of
// a timer that ran when the last obstacle ended, some round trips, and what the hosts themselves hold back.
// Twice, because a tail probe begins the retransmission timer anew and its answer may be worth nothing: RACK
// passes over an answer that comes sooner than the least round trip (RFC 8985 section 6.2 step 2).
// Memory is taken once; a run begins by resetting it.
#include "../tcp/simulation_parts.h"
#include <algorithm>
#include <stddef.h>
#include <stdio.h>

using namespace wx;

namespace simulation {

constexpr uint32_t slots = 8192;         // packets under way
constexpr uint64_t events_max = 2000000; // of a run; the longest have some hundred thousand
constexpr uint64_t still_max = 3000;     // events at the same time
constexpr uint16_t server_port = 443;
constexpr uint32_t time_wait_entries = 16;
constexpr uint8_t round_trips = 6;          // in the patience
constexpr Nanos host_delays = 2 * ns_per_s; // delayed acknowledgements, full sinks, silly windows

// ---- between hosts and network ----

static void leave(PacketSink *self, ByteView packet, Nanos now) {
    Side *side = static_cast<Tap *>(self)->side;
    Machine *m = side->machine;
    Frame frame;
    const Wire read = packet_read(packet, ChecksumPolicy::verify, &frame);
    if (read != Wire::ok) fail(m, "%c sends what is no packet: %s", name_of(side), wire_text(read));
    if (m->options.trace && frame.kind == FrameKind::tcp) {
        const TcpSegment &s = frame.tcp;
        std::string blocks;
        for (unsigned i = 0; i < s.options.sack_count && side->c; i++)
            blocks += " " + std::to_string(s.options.sacks[i].begin - side->c->irs - 1) + "-" +
                      std::to_string(s.options.sacks[i].end - side->c->irs - 1);
        const uint32_t iss = side->c ? side->c->iss : 0, irs = side->c ? side->c->irs : 0;
        trace(m, "%c >  %s%s%s%s%s seq %d+%zu ack %d win %u%s%s", name_of(side), s.flags & tcp_syn ? "S" : "",
              s.flags & tcp_fin ? "F" : "", s.flags & tcp_rst ? "R" : "", s.flags & tcp_psh ? "P" : "",
              s.flags & tcp_ack ? "." : "", seq_diff(s.seq, iss) - 1, s.payload.size,
              seq_diff(s.ack, irs) - 1, s.window, blocks.empty() ? "" : " sack", blocks.c_str());
    }
    if (read == Wire::ok) check_leaving(side, frame, packet.size);
    sim_network_send(&m->network, side->index, packet, now);
}

// A listener's numbers can only be chosen once the SYN has come.
static void poke(Side *side) {
    TcpConnection *c = side->c;
    side->poked = true;
    const SidePlan &plan = side->plan;
    if (plan.has_iss) {
        c->iss = c->send_una = c->send_next = c->recovery_end = plan.iss;
        c->tx.begin = c->tx.end = plan.iss + 1;
    }
    if (plan.wrap_timestamps) c->ts_offset = 0u - static_cast<uint32_t>(side->machine->now / ns_per_ms) - 50;
}

static void arrive(PacketSink *self, ByteView packet, Nanos now) {
    Side *side = static_cast<Tap *>(self)->side;
    Machine *m = side->machine;
    if (m->options.sabotage == Sabotage::silence && m->healed) return;
    uint64_t refused = side->host.no_frame;
    for (uint64_t count : side->host.refused) refused += count;
    side->host.accept(&side->host, packet, now);
    if (side->c && side->c->passive && side->c->state == TcpState::syn_received && !side->poked) poke(side);
    uint64_t refused_now = side->host.no_frame;
    for (uint64_t count : side->host.refused) refused_now += count;
    if (refused_now != refused) {
        trace(m, "%c <  refused", name_of(side));
        return;
    }
    Frame frame;
    if (packet_read(packet, ChecksumPolicy::trust, &frame) != Wire::ok) return;
    if (m->options.trace && side->c)
        trace(m, "%c <  seq %d+%zu ack %d", name_of(side), seq_diff(frame.tcp.seq, side->c->irs) - 1,
              frame.tcp.payload.size, seq_diff(frame.tcp.ack, side->c->iss) - 1);
    note_arrived(side, frame);
}

static bool guarded_send(TcpSink *self, const TcpPacket &packet) {
    Side *side = static_cast<Host *>(static_cast<SimHostSink *>(self)->host)->side;
    Machine *m = side->machine;
    const HostPlan &plan = m->plan.host[side->index];
    if (m->now >= side->sink_full_until && plan.sink_full != 0 && m->draw.chance(plan.sink_full))
        side->sink_full_until = m->now + m->draw.span(500, plan.sink_full_for);
    if (m->now < side->sink_full_until) {
        side->sink_refused = true;
        return false;
    }
    return m->send(self, packet);
}

// ---- the applications ----

static void pause(Machine *m, const SidePlan &plan, uint32_t percent, Nanos *until) {
    if (percent != 0 && m->draw.chance(percent)) *until = m->now + m->draw.span(1000, plan.pause_max);
}

static void read_some(Side *side, bool all) {
    Machine *m = side->machine;
    TcpConnection *c = side->c;
    TcpView views[16];
    uint32_t budget = all ? UINT32_MAX : side->plan.read_max;
    while (budget != 0) {
        const uint32_t count = tcp_views(c, views, 16);
        uint32_t done = 0;
        for (uint32_t i = 0; i < count && budget != 0; i++) {
            const uint32_t size = std::min(views[i].size, budget);
            if (side->read + size > other(side)->written ||
                memcmp(views[i].data, pattern_at(other(side), side->read), size) != 0)
                return fail(m, "%c receives other bytes than were written at %llu", name_of(side),
                            static_cast<unsigned long long>(side->read));
            side->read += size;
            done += size;
            budget -= size;
        }
        if (done == 0) return;
        tcp_consume(c, done);
    }
}

static bool may_write(const Side *side) {
    return side->written < side->plan.bytes && !side->c->fin_queued && side->c->end == TcpEnd::none &&
           side->c->state >= TcpState::syn_sent && side->c->state != TcpState::time_wait;
}

static void write_some(Side *side) {
    Machine *m = side->machine;
    TcpConnection *c = side->c;
    while (m->now >= side->write_at && may_write(side)) {
        uint64_t left = side->plan.bytes - side->written;
        const uint32_t size = static_cast<uint32_t>(std::min<uint64_t>(left, side->plan.write_max));
        const uint32_t room = tcp_room(c);
        if (room < size && room < c->config.send_bytes / 4) return;
        const uint32_t taken =
            sim_host_write(&side->host, c, ByteView(pattern_at(side, side->written), std::min(size, room)));
        side->written += taken;
        if (taken == 0) return;
        pause(m, side->plan, side->plan.write_pause, &side->write_at);
    }
}

static void end_as_planned(Side *side) {
    Machine *m = side->machine;
    TcpConnection *c = side->c;
    const SidePlan &plan = side->plan;
    const bool all_written = side->written == plan.bytes;
    const bool early =
        side->written + side->read >= plan.ending_bytes || m->now >= side->began + plan.ending_after;
    switch (plan.ending) {
    case Ending::finish:
        if (!all_written) return;
        tcp_finish(c);
        break;
    case Ending::close_after:
        if (!all_written || side->read != other(side)->plan.bytes) return;
        tcp_close(c);
        break;
    case Ending::close_early:
        if (!early) return;
        tcp_close(c);
        break;
    case Ending::abort:
        if (!early) return;
        tcp_abort(c);
        break;
    }
    side->finished = true;
    trace(m, "%c    the application is done", name_of(side));
}

static void run_application(Side *side) {
    Machine *m = side->machine;
    TcpConnection *c = side->c;
    if (c == nullptr || side->told_end) return;
    if (m->now >= side->read_at && reassembly_unread(&c->rx) != 0) {
        read_some(side, false);
        pause(m, side->plan, side->plan.read_pause, &side->read_at);
    }
    // A listener writes once it is called.
    if (c->state != TcpState::listen) write_some(side);
    if (!side->finished && c->end == TcpEnd::none && c->state != TcpState::listen) end_as_planned(side);
}

// ---- rounds ----

static TcpTuple tuple_between(const Machine *m, unsigned from) {
    TcpTuple tuple;
    tuple.local = m->sides[from].host.addresses[m->plan.version == 6];
    tuple.remote = m->sides[1 - from].host.addresses[m->plan.version == 6];
    return tuple;
}

static bool tuple_is_free(Side *side, const TcpTuple &tuple) {
    for (uint32_t i = 0; i < host_connections; i++) {
        const TcpConnection &c = side->host.connections[i];
        if (c.state != TcpState::closed && c.tuple == tuple) return false;
    }
    return time_wait_find(&side->host.tcp.time_wait, tuple) == nullptr;
}

static void connect(Side *side, TcpTuple tuple) {
    side->c = sim_host_connection(&side->host);
    tcp_connect(side->c, tuple, side->machine->now);
    poke(side);
}

static void begin_side(Side *side, const SidePlan &plan) {
    Machine *m = side->machine;
    side->plan = plan;
    side->c = nullptr;
    side->written = side->read = 0;
    side->began = side->acked_at = m->now;
    side->write_at = m->now + plan.first_write;
    side->read_at = 0;
    side->finished = side->orphan = side->poked = side->told_end = false;
    side->has_edge = side->has_peer_edge = side->syn_scaled = false;
    side->sink_refused = false;
}

static void begin_round(Machine *m) {
    const RoundPlan &plan = m->plan.round[m->round];
    Side *a = &m->sides[0], *b = &m->sides[1];
    TcpTuple there = tuple_between(m, 0), back = tuple_between(m, 1);
    bool again = false;
    if (m->round != 0 && plan.same_tuple && m->network.timeline.waiting == 0) {
        TcpTuple old_there = a->c->tuple, old_back = b->c->tuple;
        if (old_back.remote_port != 0) {
            again = tuple_is_free(a, old_there) && tuple_is_free(b, old_back);
            if (again) there = old_there, back = old_back;
        }
    }
    if (!again) {
        there.local_port = back.remote_port = static_cast<uint16_t>(40000 + m->round);
        there.remote_port = back.local_port = static_cast<uint16_t>(server_port + m->round);
    }
    for (Side &side : m->sides) begin_side(&side, plan.side[side.index]);
    connect(a, there);
    if (plan.both_open)
        connect(b, back);
    else
        b->c = sim_host_listen(&b->host, back.local_port);
    m->row->connections++;
    trace(m, "connection %u: port %u to %u", m->round + 1, there.local_port, there.remote_port);
}

static bool is_over(const Side *side) {
    return side->c->state == TcpState::closed || side->c->state == TcpState::time_wait;
}

static void count_round(Machine *m) {
    for (Side &side : m->sides) {
        m->row->ends[static_cast<size_t>(side.c->end)]++;
        uint64_t values[stat_count];
        memcpy(values, &side.c->stats, sizeof values);
        for (size_t i = 0; i < stat_count; i++) {
            uint64_t *sum = &m->row->stats[i];
            *sum = i + 1 == stat_count ? std::max(*sum, values[i]) : *sum + values[i];
        }
    }
}

// true: the run is over.
static bool end_round(Machine *m) {
    for (Side &side : m->sides) read_some(&side, true);
    check_round(m);
    count_round(m);
    return ++m->round == m->plan.rounds;
}

// ---- progress ----

static Mark mark_of(const Machine *m) {
    Mark mark;
    for (unsigned i = 0; i < 2; i++) {
        const Side &side = m->sides[i];
        mark.una[i] = side.c->send_una;
        mark.next[i] = tcp_receive_next(side.c);
        mark.read[i] = side.read;
        mark.written[i] = side.written;
        mark.state[i] = side.c->state;
    }
    return mark;
}

static bool same(const Mark &a, const Mark &b) {
    bool equal = true;
    for (unsigned i = 0; i < 2; i++)
        equal &= a.una[i] == b.una[i] && a.next[i] == b.next[i] && a.read[i] == b.read[i] &&
                 a.written[i] == b.written[i] && a.state[i] == b.state[i];
    return equal;
}

// How long the timers that run now may wait.
static Nanos longest_wait(const Machine *m) {
    Nanos longest = 0;
    for (const Side &side : m->sides) {
        const TcpConnection *c = side.c;
        if (c->state == TcpState::closed) continue;
        longest = std::max(longest, rtt_timeout(&c->rtt));
        for (Nanos at : {c->retransmit_at, c->persist_at, c->state_at})
            if (at != never) longest = std::max(longest, at - m->now);
    }
    return longest;
}

static Nanos pause_end(const Machine *m) {
    Nanos end = 0;
    for (const Side &side : m->sides) {
        if (side.told_end) continue;
        if (reassembly_unread(&side.c->rx) != 0) end = std::max(end, side.read_at);
        if (side.written < side.plan.bytes) end = std::max(end, side.write_at);
        if (!side.finished && side.plan.ending >= Ending::close_early)
            end = std::max(end, side.began + side.plan.ending_after);
    }
    return end;
}

static void follow_progress(Machine *m) {
    const Mark mark = mark_of(m);
    const Nanos obstacle = std::max(m->heal_at, pause_end(m));
    const bool moved = !same(mark, m->mark);
    if (!moved && m->now > obstacle) return;
    if (moved && m->had_duty && m->now > m->base && m->base >= m->heal_at) {
        const Nanos waited = m->now - m->base;
        if (m->sides[0].starved || m->sides[1].starved) {
            m->row->worst_starved = std::max(m->row->worst_starved, waited);
        } else if (waited > m->row->worst_recovery) {
            m->row->worst_recovery = waited;
            m->row->worst_recovery_seed = m->plan.seed;
            m->row->worst_recovery_bound = m->patience;
        }
    }
    m->mark = mark;
    m->base = std::max(m->now, obstacle);
    m->patience = 2 * longest_wait(m) + m->slack;
    m->had_duty = has_duty(m->sides[0].c) || has_duty(m->sides[1].c);
}

// Nobody can tell a side that only listens that the other one is gone; its application gives up some time.
static bool give_up_orphan(Machine *m) {
    for (Side &side : m->sides) {
        Side *peer = other(&side);
        const bool gone = peer->told_end && peer->c->end != TcpEnd::closed && !peer->c->send_reset;
        if (!gone || is_over(&side) || has_duty(side.c)) continue;
        side.orphan = true;
        tcp_abort(side.c);
        trace(m, "%c    is given up", name_of(&side));
        return true;
    }
    return false;
}

static bool wait_for_progress(Machine *m) {
    if (m->now <= m->base || !same(mark_of(m), m->mark)) return true;
    if (is_over(&m->sides[0]) && is_over(&m->sides[1])) return true; // TIME-WAIT, which may begin anew
    // A host without place loses packets on a healed network, and the timer doubles each time.
    const Nanos patience = m->sides[0].starved || m->sides[1].starved ? 4 * m->patience : m->patience;
    if (m->now - m->base <= patience) return true;
    if (give_up_orphan(m)) return true;
    fail(m, "nothing goes on for %.3f s on a healed network; A is %s, B is %s",
         static_cast<double>(m->now - m->base) / ns_per_s, tcp_state_text(m->sides[0].c->state),
         tcp_state_text(m->sides[1].c->state));
    return false;
}

// ---- events ----

static Nanos next_event(const Machine *m) {
    Nanos next = sim_network_deadline(m->network);
    if (!m->healed) next = std::min(next, m->heal_at);
    for (const Side &side : m->sides) {
        // What is due and was refused stays due: it goes when there is room.
        const Nanos deadline = sim_host_deadline(&side.host);
        if (!side.sink_refused || deadline > m->now) next = std::min(next, deadline);
        if (side.sink_refused)
            next = std::min(next, side.sink_full_until);
        else if (side.c->send_reset)
            next = std::min(next, m->now + 1); // given up just now
        if (side.told_end) continue;
        if (reassembly_unread(&side.c->rx) != 0) next = std::min(next, std::max(side.read_at, m->now + 1));
        if (side.write_at > m->now && may_write(&side)) next = std::min(next, side.write_at);
        const Nanos ending = side.began + side.plan.ending_after;
        if (!side.finished && side.plan.ending >= Ending::close_early && ending > m->now)
            next = std::min(next, ending);
    }
    return next;
}

static void step_side(Side *side) {
    Machine *m = side->machine;
    TcpConnection *c = side->c;
    side->sink_refused = false;
    sabotage(side);
    sim_host_step(&side->host, m->now);
    sabotage_after(side);
    if (c->end == TcpEnd::none && (c->send_una != side->acked || !has_duty(c)))
        side->acked = c->send_una, side->acked_at = m->now;
    check_side(side);
    if (c->end != TcpEnd::none && !side->told_end) {
        side->told_end = true;
        trace(m, "%c    ends: %s", name_of(side), tcp_end_text(c->end));
        check_end(side);
        read_some(side, true);
    }
    if (c->state == TcpState::time_wait && side->plan.retire && reassembly_unread(&c->rx) == 0)
        tcp_retire(c, m->now);
    if (m->options.trace)
        trace(m, "%c    %s una %u next %u cwnd %u flight %u lost %u sacked %u rto %.1f ms", name_of(side),
              tcp_state_text(c->state), c->send_una - c->iss - 1, c->send_next - c->iss - 1,
              c->congestion.window, tcp_in_flight(c), c->sent.lost_count, c->sent.sacked_count,
              static_cast<double>(rtt_timeout(&c->rtt)) / ns_per_ms);
}

static void advance(Machine *m, Nanos next) {
    if (m->plan.quantum > 1) next = (next + m->plan.quantum - 1) / m->plan.quantum * m->plan.quantum;
    if (next <= m->now) {
        if (++m->still > still_max) fail(m, "time does not go on");
    } else {
        m->still = 0;
        m->now = next;
    }
    if (!m->healed && m->now >= m->heal_at) {
        m->healed = true;
        sim_network_heal(&m->network);
        trace(m, "the network heals");
    }
    sim_network_run(&m->network, m->now);
}

static void run_rounds(Machine *m) {
    begin_round(m);
    for (Side &side : m->sides) step_side(&side);
    for (uint64_t events = 0; m->failure.empty(); events++) {
        follow_progress(m);
        m->row->events++;
        if (events > events_max) return fail(m, "too many events");
        const bool wait_out = m->plan.round[m->round].wait_out;
        const TcpState last = wait_out ? TcpState::closed : TcpState::time_wait;
        bool over = is_over(&m->sides[0]) && is_over(&m->sides[1]);
        for (const Side &side : m->sides)
            over &= !side.c->send_reset && (last == TcpState::time_wait || side.c->state == last);
        if (over) {
            if (end_round(m)) return;
            begin_round(m);
            m->had_duty = false;
            for (Side &side : m->sides) step_side(&side);
            continue;
        }
        const Nanos next = next_event(m);
        if (next == never && !give_up_orphan(m))
            return fail(m, "nothing will ever happen; A is %s, B is %s", tcp_state_text(m->sides[0].c->state),
                        tcp_state_text(m->sides[1].c->state));
        advance(m, next == never ? m->now + 1 : next);
        for (Side &side : m->sides) run_application(&side);
        for (Side &side : m->sides) step_side(&side);
        if (!wait_for_progress(m)) return;
    }
}

// ---- a run ----

static Nanos path_time(const SimPathOptions &path) {
    Nanos time = path.delay.fixed + path.delay.jitter + path.reorder.delay + path.duplicate.delay;
    if (path.rate.bits_per_s != 0)
        time += static_cast<Nanos>((path.rate.queue_bytes + frame_bytes_max) * 8 * 1000000000 /
                                   path.rate.bits_per_s);
    return time;
}

static void reset(Machine *m) {
    const Plan &plan = m->plan;
    m->draw = Draw();
    fixed_random_open(&m->draw.random, sim_seed(plan.seed, 2));
    for (Side &side : m->sides) {
        const HostPlan &host = plan.host[side.index];
        side.host.options.tcp = host.tcp;
        side.host.options.late_acks = host.late_acks;
        side.host.receive.count = host.receive_frames;
        side.host.send.count = host.send_frames;
        side.host.receive.frame_bytes = side.host.send.frame_bytes = host.frame_bytes;
        sim_host_reset(&side.host, sim_seed(plan.seed, 3 + side.index));
        side.sink_full_until = 0;
        side.starved = false;
    }
    for (unsigned i = 0; i < 2; i++) {
        SimPathOptions path = plan.paths[i];
        path.capture_entry = m->options.capture;
        sim_path_set(sim_network_path(&m->network, i, 1 - i), path);
    }
    sim_network_reset(&m->network, sim_seed(plan.seed, 5), plan.start);
    m->now = plan.start;
    m->heal_at = plan.start + plan.heal_after;
    m->slack =
        round_trips * (path_time(plan.paths[0]) + path_time(plan.paths[1]) + plan.quantum) + host_delays;
    m->healed = m->sabotaged = false;
    m->round = 0;
    m->base = 0;
    m->had_duty = false;
    m->still = 0;
    m->mark = Mark();
    m->failure.clear();
}

static void count_run(Machine *m) {
    m->row->starved += m->sides[0].starved || m->sides[1].starved;
    for (unsigned i = 0; i < 2; i++) {
        const SimHost &host = m->sides[i].host;
        const SimPath *path = sim_network_path(&m->network, i, 1 - i);
        m->row->no_frame += host.no_frame;
        for (uint64_t count : host.refused) m->row->refused += count;
        for (const SimFilter *filter :
             {static_cast<const SimFilter *>(&path->dead), static_cast<const SimFilter *>(&path->flap),
              static_cast<const SimFilter *>(&path->mtu), static_cast<const SimFilter *>(&path->loss),
              static_cast<const SimFilter *>(&path->burst), static_cast<const SimFilter *>(&path->rate)})
            m->row->dropped += filter->count.dropped;
    }
}

static void open_machine(Machine *m) {
    SimNetworkOptions network;
    network.timeline.slots = slots;
    network.timeline.packet_bytes = frame_bytes_max;
    int status = sim_network_open(&m->network, network);
    for (unsigned i = 0; i < 2; i++) {
        Side *side = &m->sides[i];
        side->machine = m;
        side->index = i;
        SimHostOptions options; // the sizes that the largest plan needs
        options.connections = host_connections;
        options.receive_frames = options.send_frames = frames_max;
        options.frame_bytes = frame_bytes_max;
        options.time_wait = time_wait_entries;
        status |= sim_host_open(&side->host, options);
        side->host.side = side->leaving.side = side->arriving.side = side;
        const uint8_t six[16] = {0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(i + 1)};
        sim_host_address(&side->host, ip4_address(10, 0, 0, static_cast<uint8_t>(i + 1)));
        sim_host_address(&side->host, ip_address(six, 6));
        side->leaving.accept = leave;
        side->arriving.accept = arrive;
        side->host.out = &side->leaving;
        m->send = side->host.sink.send;
        side->host.sink.send = guarded_send;
        sim_network_attach(&m->network, i, &side->arriving);
    }
    if (status != 0) {
        fprintf(stderr, "the simulation gets no memory\n");
        exit(1);
    }
    FixedRandom random;
    fixed_random_open(&random, 7);
    m->pattern.resize(pattern_period + message_max);
    random.fill(&random, m->pattern.data(), pattern_period);
    for (size_t i = pattern_period; i < m->pattern.size(); i++)
        m->pattern[i] = m->pattern[i - pattern_period];
}

Simulator::Simulator() : machine(new Machine) { open_machine(machine.get()); }

Simulator::~Simulator() {
    sim_network_close(&machine->network);
    for (Side &side : machine->sides) sim_host_close(&side.host);
}

std::string Simulator::scenario() const { return plan_text(machine->plan); }

bool Simulator::run(uint64_t seed, const Options &options, Totals *totals) {
    Machine *m = machine.get();
    m->options = options;
    draw_plan(seed, &m->plan);
    const SimKind *kinds = m->plan.kinds;
    m->row = &totals->rows[kinds[0] == kinds[1] ? static_cast<size_t>(kinds[0]) : kind_count];
    m->row->runs++;
    reset(m);
    run_rounds(m);
    if (m->failure.empty()) check_run(m);
    count_run(m);
    failure = m->failure;
    return failure.empty();
}

// ---- totals ----

const char *stat_name(size_t index) {
    static const char *const names[] = {"segments_in",     "segments_out",
                                        "bytes_in",        "bytes_out",
                                        "retransmitted",   "retransmitted_bytes",
                                        "timeouts",        "tail_probes",
                                        "recoveries",      "undone",
                                        "acks_out",        "duplicate_acks_in",
                                        "dsacks_in",       "dsacks_out",
                                        "duplicates_in",   "out_of_order_in",
                                        "dropped_no_room", "window_probes",
                                        "keepalives",      "zero_windows",
                                        "challenges",      "challenges_refused",
                                        "paws_dropped",    "no_timestamp_dropped",
                                        "unacceptable",    "bad_acks",
                                        "bad_resets",      "icmp_used",
                                        "icmp_ignored",    "reneged",
                                        "mtu_changes",     "sink_full",
                                        "max_held_bytes"};
    static_assert(sizeof names / sizeof names[0] == stat_count, "one name for each counter");
    static_assert(offsetof(TcpStats, max_held_bytes) + sizeof(uint64_t) == sizeof(TcpStats),
                  "the last one is no sum");
    return names[index];
}

void Totals::add(const Totals &from) {
    for (size_t i = 0; i <= kind_count; i++) {
        Row *row = &rows[i];
        const Row &more = from.rows[i];
        row->runs += more.runs;
        row->connections += more.connections;
        row->events += more.events;
        for (size_t k = 0; k < end_count; k++) row->ends[k] += more.ends[k];
        for (size_t k = 0; k + 1 < stat_count; k++) row->stats[k] += more.stats[k];
        row->stats[stat_count - 1] = std::max(row->stats[stat_count - 1], more.stats[stat_count - 1]);
        row->no_frame += more.no_frame;
        row->refused += more.refused;
        row->dropped += more.dropped;
        row->most_sendings = std::max(row->most_sendings, more.most_sendings);
        row->worst_starved = std::max(row->worst_starved, more.worst_starved);
        row->starved += more.starved;
        if (more.worst_recovery > row->worst_recovery) {
            row->worst_recovery = more.worst_recovery;
            row->worst_recovery_seed = more.worst_recovery_seed;
            row->worst_recovery_bound = more.worst_recovery_bound;
        }
    }
}

} // namespace simulation
