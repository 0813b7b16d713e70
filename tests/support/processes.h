// SPDX-License-Identifier: MIT
// What the kernel tells about this process and its children, for tests of what a handle leaves behind.
#pragma once
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string>
#include <sys/types.h>
#include <vector>

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

inline size_t times_in(const std::string &text, const std::string &part) {
    size_t found = 0;
    for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) found++;
    return found;
}
