// SPDX-License-Identifier: MIT
// The command line.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

struct CatArguments {
    std::string url;
    std::vector<std::string> sends, subscribes, headers, options;
    std::string ca_file, latency_field;
    uint64_t count = 0;      // 0: no limit
    int64_t duration_ns = 0; // 0: no limit
    bool json = false, read_stdin = false, close_on_eof = false, binary = false;
    bool insecure = false, quiet = false, no_live = false, summary_json = false;
    bool retry = false, no_reconnect = false;
};

struct OptionsArguments {
    std::string pattern;
    bool json = false, names = false, markdown = false, man = false;
};

struct DoctorArguments {
    std::string url, interface;
    bool json = false;
};

struct TopArguments {
    std::string name;
    int64_t interval_ns = 1000000000;
    bool once = false, json = false;
};

struct Arguments {
    enum Command { none, cat, top, doctor, options, version } command = none;
    CatArguments cat_arguments;
    TopArguments top_arguments;
    DoctorArguments doctor_arguments;
    OptionsArguments options_arguments;
    bool version_json = false;
};

// Reads the command line. When there is nothing left to do (help was printed, or the line is wrong and a
// sentence was) the command stays `none` and the return value is the exit status.
int parse_arguments(int argc, char **argv, Arguments *out);
