// SPDX-License-Identifier: MIT
// The account of a run. The text is for people and may change; the names in the JSON may only be added to.
// Never prints. Facts that the run did not learn are left out rather than shown as 0.
#include "summary.h"

#include "format.h"

#include <cstdio>
#include <iterator>
#include <nlohmann/json.hpp>

using Json = nlohmann::ordered_json;

static const double percents[] = {50, 90, 99, 99.9};
static const char *const percent_keys[] = {"p50_ns", "p90_ns", "p99_ns", "p99_9_ns"};

static double seconds_of(const Counts &counts) {
    return counts.start_ns ? double(counts.end_ns - counts.start_ns) / 1e9 : 0;
}

static std::string row(const char *name, const std::string &value) {
    char head[32];
    snprintf(head, sizeof head, "  %-13s", name);
    return head + value + "\n";
}

static std::string connection_rows(const Counts &counts) {
    const ConnectionFacts &facts = counts.facts;
    std::string tls = facts.tls_version.empty() ? "none" : facts.tls_version + " " + facts.tls_cipher;
    if (facts.tls_resumed) tls += ", session resumed";
    std::string text =
        row("connection", printable(facts.url) + (facts.peer.empty() ? "" : " at " + facts.peer));
    text += row("tls", tls);
    if (!facts.subprotocol.empty()) text += row("subprotocol", printable(facts.subprotocol));
    if (!facts.extensions.empty()) text += row("extensions", printable(facts.extensions));
    std::string mode = facts.transport;
    if (!facts.mode.empty() && facts.mode != mode) mode += mode.empty() ? facts.mode : ", " + facts.mode;
    if (!mode.empty()) text += row("transport", mode);
    return text;
}

static std::string message_rows(const Counts &counts) {
    double seconds = seconds_of(counts);
    double per_second = seconds > 0 ? 1 / seconds : 0;
    std::string messages = grouped(counts.messages);
    if (counts.binary && counts.text)
        messages += " (" + grouped(counts.text) + " text, " + grouped(counts.binary) + " binary)";
    if (seconds >= 0.1) messages += ", " + rate_text(double(counts.messages) * per_second) + " a second";
    std::string payload = bytes_text(double(counts.payload_bytes));
    if (seconds >= 0.1) payload += ", " + bytes_text(double(counts.payload_bytes) * per_second) + " a second";
    std::string text = row("messages", messages) + row("payload", payload);
    if (counts.stats_known)
        text += row("network", bytes_text(double(counts.stats.bytes_received)) + " received");
    text += row("duration", duration_text(counts.end_ns - counts.start_ns));
    if (counts.sent)
        text += row("sent", grouped(counts.sent) + (counts.sent == 1 ? " message" : " messages"));
    if (counts.lost) text += row("lost", grouped(counts.lost) + " messages, dropped by overflow=conflate");
    return text;
}

static std::string stats_rows(const Counts &counts) {
    if (!counts.stats_known) return "";
    std::string text = row("reconnects", grouped(counts.stats.reconnects));
    if (counts.stats.round_trip_ns)
        text += row("ping", duration_text(counts.stats.round_trip_ns) + " round trip");
    if (counts.stats.stalls)
        text += row("stalls", grouped(counts.stats.stalls) + " (the output was slower than the sender)");
    text += row("allocations", grouped(counts.stats.allocations) + " by the library while open");
    return text;
}

static const char *stage_text(const Counts &counts, int stage) {
    bool tls = counts.latency.stage(stage_read_to_decrypted).count() != 0;
    if (stage == stage_to_parsed) return tls ? "decrypted to parsed" : "read to parsed";
    return stage_name(stage).text;
}

static std::string latency_rows(const Counts &counts) {
    std::string text;
    for (int stage = 0; stage < stage_count; stage++) {
        const Histogram &histogram = counts.latency.stage(stage);
        if (histogram.count() == 0) continue;
        char line[160];
        if (text.empty()) {
            snprintf(line, sizeof line, "  %-20s %9s %9s %9s %9s %9s\n", "latency", "p50", "p90", "p99",
                     "p99.9", "max");
            text += line;
        }
        std::string cells[5];
        for (size_t i = 0; i < 4; i++) cells[i] = duration_text(histogram.percentile(percents[i]));
        cells[4] = duration_text(histogram.max());
        snprintf(line, sizeof line, "  %-20s %9s %9s %9s %9s %9s\n", stage_text(counts, stage),
                 cells[0].c_str(), cells[1].c_str(), cells[2].c_str(), cells[3].c_str(), cells[4].c_str());
        text += line;
    }
    if (counts.latency.from_the_future())
        text += "  " + grouped(counts.latency.from_the_future()) +
                " messages came before they were sent: the two clocks differ\n";
    return text;
}

std::string summary_text(const Counts &counts, const Ending &ending) {
    return "wsxdp: " + ending.words + "\n" + connection_rows(counts) + message_rows(counts) +
           stats_rows(counts) + latency_rows(counts);
}

static Json latency_json(const Counts &counts) {
    Json all = Json::object();
    for (int stage = 0; stage < stage_count; stage++) {
        const Histogram &histogram = counts.latency.stage(stage);
        if (histogram.count() == 0) continue;
        Json one = {{"count", histogram.count()}};
        for (size_t i = 0; i < std::size(percents); i++)
            one[percent_keys[i]] = histogram.percentile(percents[i]);
        one["max_ns"] = histogram.max();
        all[stage_name(stage).key] = one;
    }
    return all;
}

static Json stats_json(const wsxdp_stats_t &stats) {
    return {{"bytes_received", stats.bytes_received},
            {"bytes_sent", stats.bytes_sent},
            {"frames_received", stats.frames_received},
            {"tls_records_received", stats.tls_records_received},
            {"pings_received", stats.pings_received},
            {"round_trip_ns", stats.round_trip_ns},
            {"inbox_bytes_max", stats.inbox_bytes_max},
            {"opens", stats.opens},
            {"reconnects", stats.reconnects},
            {"stalls", stats.stalls},
            {"reads", stats.reads},
            {"allocations", stats.allocations}};
}

static Json connection_json(const ConnectionFacts &facts) {
    return {{"url", facts.url},
            {"peer", facts.peer},
            {"transport", facts.transport},
            {"mode", facts.mode},
            {"tls_version", facts.tls_version},
            {"tls_cipher", facts.tls_cipher},
            {"tls_resumed", facts.tls_resumed},
            {"subprotocol", facts.subprotocol},
            {"extensions", facts.extensions}};
}

std::string summary_json(const Counts &counts, const Ending &ending) {
    double seconds = seconds_of(counts);
    Json document = {{"ending", ending.words},
                     {"exit_code", ending.exit_code},
                     {"close_code", ending.close_code},
                     {"messages", counts.messages},
                     {"text", counts.text},
                     {"binary", counts.binary},
                     {"payload_bytes", counts.payload_bytes},
                     {"sent", counts.sent},
                     {"lost", counts.lost},
                     {"duration_ns", counts.start_ns ? counts.end_ns - counts.start_ns : 0},
                     {"messages_per_second", seconds > 0 ? double(counts.messages) / seconds : 0.0},
                     {"connection", connection_json(counts.facts)},
                     {"latency", latency_json(counts)},
                     {"sent_in_the_future", counts.latency.from_the_future()}};
    if (counts.stats_known) document["stats"] = stats_json(counts.stats);
    return document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}
