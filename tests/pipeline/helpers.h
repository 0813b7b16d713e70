// SPDX-License-Identifier: MIT
// The processes that run stages for this one, and what the kernel says of them.
#pragma once
#include "session.h"
#include <dirent.h>

inline std::string read_file(const std::string &path) {
    std::string out;
    FILE *file = fopen(path.c_str(), "re");
    if (file == nullptr) return out;
    char text[4096];
    for (size_t got; (got = fread(text, 1, sizeof text, file)) != 0;) out.append(text, got);
    fclose(file);
    return out;
}

// Running helpers whose parent is `parent`.
inline std::vector<pid_t> helpers_of(pid_t parent) {
    std::vector<pid_t> out;
    DIR *processes = opendir("/proc");
    while (const dirent *entry = readdir(processes)) {
        const pid_t pid = atoi(entry->d_name);
        const std::string stat = pid > 0 ? read_file("/proc/" + std::string(entry->d_name) + "/stat") : "";
        char name[64] = "", state = 0;
        int of = 0;
        if (sscanf(stat.c_str(), "%*d (%63[^)]) %c %d", name, &state, &of) != 3) continue;
        if (of == parent && std::string(name) == "wsxdp-stage") out.push_back(pid);
    }
    closedir(processes);
    return out;
}

inline pid_t helper() {
    std::vector<pid_t> all = helpers_of(getpid());
    assert_int_equal(all.size(), 1);
    return all[0];
}

inline std::string line_of(pid_t pid, const char *name) {
    const std::string text = read_file("/proc/" + std::to_string(pid) + "/status");
    const size_t at = text.find(name);
    assert_true(at != std::string::npos);
    const size_t begin = at + strlen(name);
    return text.substr(begin, text.find('\n', begin) - begin);
}
