// SPDX-License-Identifier: MIT
// See top_report.h. Rates are differences of two looks by the time between them; a counter that went back
// (its process was replaced) gives 0. Fields of the JSON are part of the command's contract: they may be
// added to, not changed.
#include "top_report.h"

#include "format.h"

#include <algorithm>
#include <cinttypes>
#include <cstdarg>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <unistd.h>

using namespace wx;

namespace {

double per_second(uint64_t before, uint64_t now, const TopView &view) {
    const double seconds = double(view.now.at_ns - view.before.at_ns) / 1e9;
    return now < before || seconds <= 0 ? 0 : double(now - before) / seconds;
}

// The same thread a look ago; what there was not yet has not moved.
const TopStage &stage_before(const TopView &view, size_t i) {
    const TopStage &now = view.now.stages[i];
    if (i < view.before.stages.size() && view.before.stages[i].tid == now.tid) return view.before.stages[i];
    return now;
}

const TopConnection &connection_before(const TopView &view, const TopConnection &now) {
    for (const TopConnection &one : view.before.connections)
        if (one.app.id == now.app.id) return one;
    return now;
}

double share(uint64_t part_before, uint64_t part, uint64_t all_before, uint64_t all) {
    if (part < part_before || all <= all_before) return 0;
    return std::min(1.0, double(part - part_before) / double(all - all_before));
}

const char *state_of(const TopConnection &c) {
    static const char *const names[] = {"starting", "resolving", "connecting", "tunneling",
                                        "securing", "upgrading", "open",       "closing",
                                        "draining", "waiting",   "closed"};
    return c.transport.state < sizeof names / sizeof names[0] ? names[c.transport.state] : "unknown";
}

struct SpanName {
    const char *text, *key;
};
constexpr SpanName span_names[span_count] = {{"read to transport", "poll_to_transport"},
                                             {"transport to decrypted", "transport_to_tls"},
                                             {"to parsed", "to_parsed"},
                                             {"read to parsed", "poll_to_parsed"}};
constexpr double percents[] = {50, 90, 99, 99.9};

std::string format(const char *pattern, ...) __attribute__((format(printf, 1, 2)));
std::string format(const char *pattern, ...) {
    char text[512];
    va_list list;
    va_start(list, pattern);
    vsnprintf(text, sizeof text, pattern, list);
    va_end(list);
    return text;
}

std::string cpu_text(const TopStage &s) {
    if (s.cpu < 0) return "-";
    return std::to_string(s.cpu) + (s.pinned ? "" : "~");
}

double cpu_share(const TopStage &before, const TopStage &s, const TopView &view) {
    return per_second(before.cpu_ticks, s.cpu_ticks, view) / double(sysconf(_SC_CLK_TCK));
}

std::string stages_text(const TopView &view) {
    std::string out = format("  %-18s %8s %5s %5s %6s %12s %6s %10s %10s\n", "stage", "thread", "core",
                             "state", "cpu %", "loops/s", "busy %", "sleeps/s", "wakes/s");
    for (size_t i = 0; i < view.now.stages.size(); i++) {
        const TopStage &s = view.now.stages[i], &b = stage_before(view, i);
        const TopCounters &n = s.counters, &o = b.counters;
        out += format("  %-18s %8u %5s %5c %6.1f %12s %6.1f %10s %10s\n", s.role.c_str(), s.tid,
                      cpu_text(s).c_str(), s.state, 100 * cpu_share(b, s, view),
                      rate_text(per_second(o.loops, n.loops, view)).c_str(),
                      100 * share(o.busy, n.busy, o.loops, n.loops),
                      rate_text(per_second(o.sleeps, n.sleeps, view)).c_str(),
                      rate_text(per_second(o.wakes, n.wakes, view)).c_str());
    }
    return out;
}

std::string rings_text(const TopView &view) {
    std::string out =
        format("\n  %-18s %10s %10s %10s %14s\n", "ring", "slots", "depth", "max seen", "slots/s");
    for (size_t i = 0; i < view.now.rings.size(); i++) {
        const TopRing &r = view.now.rings[i];
        const uint64_t before = i < view.before.rings.size() ? view.before.rings[i].moved : r.moved;
        out += format("  %-18s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %14s\n", r.name, r.capacity, r.depth,
                      r.depth_max, rate_text(per_second(before, r.moved, view)).c_str());
    }
    return out;
}

std::string connections_text(const TopView &view) {
    if (view.now.connections.empty()) return "\n  no connections\n";
    std::string out = format("\n  %-32s %-10s %10s %10s %10s %10s %8s %9s %9s\n", "connection", "state",
                             "msgs in/s", "msgs out/s", "bytes in/s", "rtt", "resent", "inbox", "outbox");
    for (const TopConnection &c : view.now.connections) {
        const TopConnection &b = connection_before(view, c);
        const LinkTcpFacts &tcp = c.transport.tcp;
        const int64_t trip = c.transport.has_tcp ? tcp.round_trip : c.transport.counters.round_trip;
        const uint64_t in = c.transport.counters.bytes_received;
        out += format("  %-32s %-10s %10s %10s %10s %10s %8" PRIu64 " %9s %9s\n",
                      c.peer.substr(0, 32).c_str(), state_of(c),
                      rate_text(per_second(b.ws.counters.messages, c.ws.counters.messages, view)).c_str(),
                      rate_text(per_second(b.app.messages_sent, c.app.messages_sent, view)).c_str(),
                      bytes_text(per_second(b.transport.counters.bytes_received, in, view)).c_str(),
                      trip > 0 ? duration_text(trip).c_str() : "-", c.transport.has_tcp ? tcp.retransmits : 0,
                      bytes_text(double(c.inbox)).c_str(), bytes_text(double(c.outbox)).c_str());
    }
    return out;
}

std::string spans_text(const TopView &view) {
    if (view.region.span(span_whole).count() == 0) return "";
    std::string out = format("\n  %-24s %10s %10s %10s %10s %10s %10s\n", "latency", "sampled", "p50", "p90",
                             "p99", "p99.9", "max");
    for (int i = 0; i < span_count; i++) {
        const Histogram &h = view.region.span(i);
        if (h.count() == 0) continue;
        out += format("  %-24s %10" PRIu64, span_names[i].text, h.count());
        for (double percent : percents) out += format(" %10s", duration_text(h.percentile(percent)).c_str());
        out += format(" %10s\n", duration_text(h.max()).c_str());
    }
    return out;
}

using Json = nlohmann::ordered_json;

Json stage_json(const TopView &view, size_t i) {
    const TopStage &s = view.now.stages[i], &b = stage_before(view, i);
    const TopCounters &n = s.counters, &o = b.counters;
    return {{"role", s.role},
            {"pid", s.pid},
            {"tid", s.tid},
            {"state", std::string(1, s.state)},
            {"core", s.cpu},
            {"pinned", s.pinned},
            {"cpu_share", cpu_share(b, s, view)},
            {"loops", n.loops},
            {"busy", n.busy},
            {"sleeps", n.sleeps},
            {"wakes", n.wakes},
            {"rings", n.rings},
            {"loops_per_s", per_second(o.loops, n.loops, view)},
            {"busy_share", share(o.busy, n.busy, o.loops, n.loops)},
            {"wakes_per_s", per_second(o.wakes, n.wakes, view)}};
}

Json connection_json(const TopView &view, const TopConnection &c) {
    const TopConnection &b = connection_before(view, c);
    const TransportCounters &t = c.transport.counters;
    const LinkTcpFacts &tcp = c.transport.tcp;
    return {
        {"conn", c.app.id},
        {"peer", c.peer},
        {"state", state_of(c)},
        {"messages_received", c.ws.counters.messages},
        {"payload_received", c.ws.counters.payload},
        {"frames_received", c.ws.counters.frames},
        {"bytes_received", t.bytes_received},
        {"messages_sent", c.app.messages_sent},
        {"payload_sent", c.app.payload_sent},
        {"frames_sent", t.frames_sent + c.app.frames_sent},
        {"bytes_sent", t.bytes_sent},
        {"messages_lost", c.app.lost},
        {"sends_refused", c.app.refused},
        {"opens", t.opens},
        {"reconnects", t.reconnects},
        {"stalls", t.stalls},
        {"round_trip_ns", t.round_trip},
        {"tcp_round_trip_ns", tcp.round_trip},
        {"tcp_retransmits", tcp.retransmits},
        {"inbox_bytes", c.inbox},
        {"inbox_bytes_max", t.inbox_max},
        {"outbox_bytes", c.outbox},
        {"outbox_bytes_max", c.app.outbox_max},
        {"messages_received_per_s", per_second(b.ws.counters.messages, c.ws.counters.messages, view)},
        {"messages_sent_per_s", per_second(b.app.messages_sent, c.app.messages_sent, view)},
        {"bytes_received_per_s", per_second(b.transport.counters.bytes_received, t.bytes_received, view)}};
}

Json span_json(const Histogram &h) {
    return {{"samples", h.count()},       {"p50_ns", h.percentile(50)},     {"p90_ns", h.percentile(90)},
            {"p99_ns", h.percentile(99)}, {"p99_9_ns", h.percentile(99.9)}, {"max_ns", h.max()}};
}

} // namespace

std::string top_text(const TopView &view) {
    const TopStage &app = view.now.stages.back();
    std::string out = view.name + "  process " + std::to_string(app.pid) + ", placement " +
                      view.now.placement + ", " + std::to_string(view.now.connections.size()) +
                      " connections\n\n";
    return out + stages_text(view) + rings_text(view) + connections_text(view) + spans_text(view);
}

std::string top_json(const TopView &view) {
    Json out = {{"name", view.name},
                {"pid", view.now.stages.back().pid},
                {"placement", view.now.placement},
                {"interval_ns", view.now.at_ns - view.before.at_ns}};
    for (const char *list : {"stages", "rings", "connections"}) out[list] = Json::array();
    for (size_t i = 0; i < view.now.stages.size(); i++) out["stages"].push_back(stage_json(view, i));
    for (const TopRing &r : view.now.rings)
        out["rings"].push_back({{"name", r.name},
                                {"slots", r.capacity},
                                {"depth", r.depth},
                                {"depth_max", r.depth_max},
                                {"moved", r.moved}});
    for (const TopConnection &c : view.now.connections)
        out["connections"].push_back(connection_json(view, c));
    out["latency"] = Json::object();
    for (int i = 0; i < span_count; i++) out["latency"][span_names[i].key] = span_json(view.region.span(i));
    return out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}
