// SPDX-License-Identifier: MIT
// What a handle with transport=xdp counts, by name.
#pragma once
#include "../pipeline/session.h"
#include <map>

// All of "xdp.counters": of the handle, whose counters outlive its connections; none while no interface is
// open.
struct Counters {
    std::map<std::string, uint64_t> values;
    Counters() = default;
    explicit Counters(const Session &session) {
        char text[4096] = "";
        const int size = wsxdp_info(session.handle, WSXDP_ALL, "xdp.counters", text, sizeof text);
        assert_in_range(size, 0, sizeof text - 1);
        for (char *rest = nullptr, *word = strtok_r(text, " ", &rest); word;
             word = strtok_r(nullptr, " ", &rest)) {
            char *value = strchr(word, '=');
            assert_non_null(value);
            values[std::string(word, value)] = strtoull(value + 1, nullptr, 10);
        }
    }
    uint64_t operator[](const char *name) const {
        const auto found = values.find(name);
        if (found == values.end()) fail_msg("there is no counter '%s'", name);
        return found->second;
    }
    // Those that are not 0.
    std::string text() const {
        std::string out;
        for (const auto &one : values)
            if (one.second != 0) out += one.first + "=" + std::to_string(one.second) + " ";
        return out;
    }
};
