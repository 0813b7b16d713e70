// SPDX-License-Identifier: MIT
// What the doctor found, one row each, and its two forms: for people and for programs.
#pragma once
#include <string>
#include <vector>

// ok: as it should be. warn: it runs, but not as well as it could. fail: transport=xdp cannot be had, or not
// used, as long as this is so. unknown: it cannot be read; the row says what that would take.
enum class Verdict { ok, warn, fail, unknown };
const char *verdict_text(Verdict verdict);

struct Finding {
    std::string id; // "queues.receive": stable, what is before the dot is the section
    Verdict verdict = Verdict::unknown;
    std::string fact, reason;
    std::string remedy; // a command where there is one; empty: nothing to be done
    std::string section() const { return id.substr(0, id.find('.')); }
};

struct Report {
    std::string interface; // whose facts these are; empty: of none
    std::vector<Finding> findings;

    void add(std::string id, Verdict verdict, std::string fact, std::string reason, std::string remedy = "");
    // Of what transport=xdp depends on: the worst one, fail before warn before unknown.
    Verdict verdict() const;
    bool possible() const { return verdict() != Verdict::fail; }
};

std::string report_json(const Report &report);
std::string report_text(const Report &report, bool colour);
