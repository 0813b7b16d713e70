// SPDX-License-Identifier: MIT
// The library's option table, written out for people, programs and manuals. Everything comes from
// wsxdp_option_at, so no page can differ from what the library takes.
#include "options_page.h"

#include "../../include/wsxdp.h"
#include "advice.h"
#include "exit_codes.h"
#include "format.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <nlohmann/json.hpp>

using Json = nlohmann::ordered_json;

namespace {

std::vector<wsxdp_option> all_options() {
    std::vector<wsxdp_option> rows;
    int count = 1; // each call says how many rows there are
    for (size_t i = 0; int64_t(i) < count; i++) {
        wsxdp_option row = {};
        row.struct_size = sizeof row;
        count = wsxdp_option_at(i, &row);
        if (count > 0) rows.push_back(row);
    }
    return rows;
}

const char *type_name(const wsxdp_option &row) {
    switch (row.type) {
    case WSXDP_OPTION_TEXT:
        return "text";
    case WSXDP_OPTION_INT:
        return "number";
    case WSXDP_OPTION_BOOL:
        return "yes|no";
    case WSXDP_OPTION_CHOICE:
        return "choice";
    case WSXDP_OPTION_DATA:
        return "bytes";
    default:
        return "?";
    }
}

bool is_time(const wsxdp_option &row) { return strcmp(row.unit, "ns") == 0; }

// A bound or default of a number, in the largest unit that keeps it whole.
std::string number_text(const wsxdp_option &row, int64_t value) {
    struct Unit {
        int64_t size;
        const char *name;
    };
    static const Unit times[] = {{3600000000000, "h"}, {60000000000, "min"}, {1000000000, "s"},
                                 {1000000, "ms"},      {1000, "us"},         {1, "ns"}};
    static const Unit sizes[] = {{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}, {1, ""}};
    if (value == INT64_MAX) return "no limit";
    bool bytes = strcmp(row.unit, "bytes") == 0;
    if (value != 0 && (is_time(row) || bytes)) {
        const Unit *unit = is_time(row) ? times : sizes;
        while (value % unit->size != 0) unit++;
        return std::to_string(value / unit->size) + unit->name;
    }
    return std::to_string(value);
}

std::string default_text(const wsxdp_option &row) {
    std::string text = row.default_value;
    bool whole = row.type == WSXDP_OPTION_INT && !text.empty() &&
                 text.find_first_not_of("0123456789") == std::string::npos && text.size() < 19;
    return whole ? number_text(row, std::stoll(text)) : text;
}

std::string takes_text(const wsxdp_option &row) {
    std::string text = row.type == WSXDP_OPTION_CHOICE ? row.choices : type_name(row);
    if (row.type == WSXDP_OPTION_INT) {
        text = number_text(row, row.minimum) + ".." + number_text(row, row.maximum);
        if (*row.unit && !is_time(row) && strcmp(row.unit, "bytes") != 0) text += std::string(" ") + row.unit;
    }
    if (row.flags & WSXDP_OPTION_REPEATS) text += ", repeatable";
    return text;
}

bool contains(const char *text, const std::string &pattern) {
    auto same = [](char a, char b) {
        return tolower(static_cast<unsigned char>(a)) == tolower(static_cast<unsigned char>(b));
    };
    const char *end = text + strlen(text);
    return std::search(text, end, pattern.begin(), pattern.end(), same) != end || pattern.empty();
}

Json option_json(const wsxdp_option &row) {
    Json out = {
        {"name", row.name}, {"type", type_name(row)}, {"default", row.default_value}, {"unit", row.unit}};
    if (row.type == WSXDP_OPTION_INT) {
        out["minimum"] = row.minimum;
        out["maximum"] = row.maximum;
    }
    if (row.type == WSXDP_OPTION_CHOICE) {
        out["choices"] = Json::array();
        std::string words = row.choices;
        for (size_t start = 0; start <= words.size();) {
            size_t bar = std::min(words.find('|', start), words.size());
            out["choices"].push_back(words.substr(start, bar - start));
            start = bar + 1;
        }
    }
    out["repeats"] = (row.flags & WSXDP_OPTION_REPEATS) != 0;
    out["prefix"] = (row.flags & WSXDP_OPTION_PREFIX) != 0;
    out["handle"] = (row.flags & WSXDP_OPTION_HANDLE) != 0;
    out["secret"] = (row.flags & WSXDP_OPTION_SECRET) != 0;
    out["doc"] = row.doc;
    return out;
}

void print_json(const std::vector<wsxdp_option> &rows) {
    Json all = Json::array();
    for (const wsxdp_option &row : rows) all.push_back(option_json(row));
    printf("%s\n", all.dump(2).c_str());
}

std::string replaced(std::string text, const std::string &from, const std::string &to) {
    for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
        text.replace(at, from.size(), to);
    return text;
}

void print_markdown(const std::vector<wsxdp_option> &rows) {
    printf("| option | takes | default | |\n|---|---|---|---|\n");
    for (const wsxdp_option &row : rows) {
        std::string fallback = default_text(row);
        std::string shown = fallback.empty() ? "" : "`" + fallback + "`";
        printf("| `%s` | %s | %s | %s |\n", row.name, replaced(takes_text(row), "|", "\\|").c_str(),
               replaced(shown, "|", "\\|").c_str(), replaced(row.doc, "|", "\\|").c_str());
    }
}

std::string roff(std::string text) {
    text = replaced(replaced(text, "\\", "\\e"), "-", "\\-");
    return !text.empty() && (text[0] == '.' || text[0] == '\'') ? "\\&" + text : text;
}

void print_man(const std::vector<wsxdp_option> &rows) {
    printf(
        ".TH WSXDP\\-OPTIONS 7 \"\" \"wsxdp %d.%d.%d\"\n.SH NAME\nwsxdp\\-options \\- options of the wsxdp "
        "library\n.SH DESCRIPTION\nSet with\n.BR wsxdp_config_set ()\nin a program and with\n.B \\-o "
        "NAME=VALUE\nin\n.BR wsxdp (1).\nTimes take ns, us, ms, s, min and h; sizes take KiB, MiB and GiB.\n"
        ".SH OPTIONS\n",
        WSXDP_VERSION_MAJOR, WSXDP_VERSION_MINOR, WSXDP_VERSION_PATCH);
    for (const wsxdp_option &row : rows) {
        std::string fallback = default_text(row);
        printf(".TP\n.B %s\n%s.\nTakes: %s.", roff(row.name).c_str(), roff(row.doc).c_str(),
               roff(takes_text(row)).c_str());
        printf(fallback.empty() ? "\n" : "\nDefault: %s.\n", roff(fallback).c_str());
    }
    printf(".SH SEE ALSO\n.BR wsxdp (1)\n");
}

void print_table(const std::vector<wsxdp_option> &rows) {
    size_t name_width = 0, value_width = 0;
    for (const wsxdp_option &row : rows) {
        name_width = std::max(name_width, strlen(row.name));
        value_width = std::max(value_width, default_text(row).size());
    }
    value_width = std::min<size_t>(value_width, 20);
    for (const wsxdp_option &row : rows)
        printf("%-*s  %-*s  %s [%s]\n", int(name_width), row.name, int(value_width),
               default_text(row).c_str(), row.doc, takes_text(row).c_str());
}

} // namespace

std::vector<std::string> option_names() {
    std::vector<std::string> names;
    for (const wsxdp_option &row : all_options()) names.emplace_back(row.name);
    return names;
}

int run_options(const OptionsArguments &arguments) {
    std::vector<wsxdp_option> rows;
    for (const wsxdp_option &row : all_options())
        if (contains(row.name, arguments.pattern) || contains(row.doc, arguments.pattern))
            rows.push_back(row);
    if (rows.empty()) {
        std::string near = nearest(arguments.pattern, option_names());
        fprintf(stderr, "wsxdp: no option has '%s' in its name or text%s\n",
                printable(arguments.pattern).c_str(),
                near.empty() ? "" : ("; did you mean " + near + "?").c_str());
        return exit_usage;
    }
    if (arguments.names)
        for (const wsxdp_option &row : rows) printf("%s\n", row.name);
    else if (arguments.json)
        print_json(rows);
    else if (arguments.markdown)
        print_markdown(rows);
    else if (arguments.man)
        print_man(rows);
    else
        print_table(rows);
    return fflush(stdout) == 0 ? exit_ok : exit_output;
}
