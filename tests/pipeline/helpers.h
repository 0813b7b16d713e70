// SPDX-License-Identifier: MIT
// The processes that run stages for this one, and what the kernel says of them.
#pragma once
#include "../support/processes.h"
#include "session.h"

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
