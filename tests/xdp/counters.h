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
        int size =
            WSXDP_E_AGAIN; // who runs the stages elsewhere may be busy for longer than a fact is awaited
        for (const int64_t until = now_ms() + 5000; size == WSXDP_E_AGAIN && now_ms() < until;) {
            size = wsxdp_info(session.handle, WSXDP_ALL, "xdp.counters", text, sizeof text);
            if (size == WSXDP_E_AGAIN) usleep(10000);
        }
        if (size < 0 || size >= static_cast<int>(sizeof text)) fail_msg("xdp.counters: %d", size);
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
