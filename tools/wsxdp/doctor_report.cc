// SPDX-License-Identifier: MIT
// The doctor's findings as text and as JSON. Names of JSON fields and ids of findings are part of the
// command's contract: they may be added to, not changed. Text is wrapped to a fixed width, whatever the
// terminal's, so that it can be sent to somebody; commands stay on one line to be copied.
#include "doctor_report.h"

#include "format.h"

#include <nlohmann/json.hpp>

using Json = nlohmann::ordered_json;

constexpr size_t text_width = 100;
constexpr size_t text_indent = 11; // two spaces, the longest verdict, two spaces

const char *verdict_text(Verdict verdict) {
    static const char *const names[] = {"ok", "warn", "fail", "unknown"};
    return names[static_cast<int>(verdict)];
}

void Report::add(std::string id, Verdict verdict, std::string fact, std::string reason, std::string remedy) {
    Finding finding;
    finding.id = std::move(id);
    finding.verdict = verdict;
    finding.fact = printable(fact); // names of interfaces and programs are whatever somebody chose
    finding.reason = printable(reason);
    finding.remedy = printable(remedy);
    findings.push_back(std::move(finding));
}

// The other transports have sections of their own, which say nothing about this one, and so has a placement.
static bool of_xdp(const Finding &finding) {
    const std::string section = finding.section();
    return section != "sockets" && section != "io_uring" && section != "processes";
}

static size_t count_of(const Report &report, Verdict verdict) {
    size_t count = 0;
    for (const Finding &finding : report.findings)
        count += of_xdp(finding) && finding.verdict == verdict ? 1 : 0;
    return count;
}

Verdict Report::verdict() const {
    for (Verdict worst : {Verdict::fail, Verdict::warn, Verdict::unknown})
        if (count_of(*this, worst) != 0) return worst;
    return Verdict::ok;
}

std::string report_json(const Report &report) {
    Json findings = Json::array();
    for (const Finding &finding : report.findings)
        findings.push_back({{"id", finding.id},
                            {"section", finding.section()},
                            {"verdict", verdict_text(finding.verdict)},
                            {"fact", finding.fact},
                            {"reason", finding.reason},
                            {"remedy", finding.remedy}});
    Json document = {{"interface", report.interface},
                     {"possible", report.possible()},
                     {"verdict", verdict_text(report.verdict())},
                     {"findings", findings}};
    return document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

// Words into lines; `column` is where the first one begins, the others begin at the indent.
static std::string wrapped(const std::string &text, size_t column) {
    std::string out;
    for (size_t at = text.find_first_not_of(' '); at != std::string::npos;
         at = text.find_first_not_of(' ', at)) {
        size_t end = std::min(text.find(' ', at), text.size());
        bool first = out.empty();
        if (!first && column + 1 + (end - at) > text_width) {
            out += "\n" + std::string(text_indent, ' ');
            column = text_indent;
        } else if (!first) {
            out += ' ';
            column++;
        }
        out += text.substr(at, end - at);
        column += end - at;
        at = end;
    }
    return out;
}

static std::string painted(const std::string &text, const char *code, bool colour) {
    return colour ? std::string("\033[") + code + "m" + text + "\033[0m" : text;
}

static void append_finding(std::string &out, const Finding &finding, bool colour) {
    static const char *const colours[] = {"32", "33", "1;31", "36"};
    std::string word = verdict_text(finding.verdict), indent(text_indent, ' ');
    out += "  " + painted(word, colours[static_cast<int>(finding.verdict)], colour);
    out += std::string(text_indent - 2 - word.size(), ' ') + wrapped(finding.fact, text_indent) + "\n";
    if (!finding.reason.empty())
        out += indent + painted(wrapped(finding.reason, text_indent), "2", colour) + "\n";
    if (!finding.remedy.empty()) out += indent + "do: " + finding.remedy + "\n";
}

static std::string counted(size_t count, const char *one, const char *many) {
    return std::to_string(count) + " " + (count == 1 ? one : many);
}

static std::string conclusion(const Report &report) {
    std::string where = report.interface.empty() ? "" : " on " + printable(report.interface);
    std::string out = "transport=xdp ";
    if (report.possible()) {
        out += "can run" + where + ": ";
        out += counted(count_of(report, Verdict::warn), "warning", "warnings") + ", ";
        return out + std::to_string(count_of(report, Verdict::unknown)) + " unknown\n";
    }
    out += "cannot run" + where + " as it is:\n";
    for (const Finding &finding : report.findings)
        if (of_xdp(finding) && finding.verdict == Verdict::fail)
            out += "  " + finding.id + std::string(finding.id.size() < 24 ? 24 - finding.id.size() : 0, ' ') +
                   " " + finding.fact + "\n";
    return out;
}

std::string report_text(const Report &report, bool colour) {
    std::string out, section;
    for (const Finding &finding : report.findings) {
        if (finding.section() != section) {
            out += out.empty() ? "" : "\n";
            section = finding.section();
            out += painted(section, "1", colour) + "\n";
        }
        append_finding(out, finding, colour);
    }
    return out + "\n" + conclusion(report);
}
