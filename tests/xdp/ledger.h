// SPDX-License-Identifier: MIT
// What a handle with transport=xdp holds at a moment, and whether that is what it should hold: frames in the
// pools, tuples, descriptors, entries of BPF maps, memory. For tests that run long or often.
#pragma once
#include "../../lib/pipeline/engine.h"
#include "../pipeline/session.h"
#include <functional>
#include <linux/bpf.h>
#include <map>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

inline uint64_t random_seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

#ifdef WSXDP_TLS_NONE
constexpr bool with_tls = false;
#else
constexpr bool with_tls = true;
#endif

// Every counter of the interface by its name; empty while none is open. Asked of the driver itself, since
// wsxdp_info asks of a connection, and there may be none any more.
using Counters = std::map<std::string, uint64_t>;
inline Counters xdp_counters(const Session &session) {
    const wx::Transport &transport = reinterpret_cast<wx::Engine *>(session.handle)->transport;
    char text[4096];
    wx::Writer writer{wx::ByteSpan(reinterpret_cast<uint8_t *>(text), sizeof text - 1)};
    transport.driver->facts(transport.link_context, "xdp.counters", &writer);
    assert_false(writer.failed);
    text[writer.size()] = 0;
    Counters out;
    for (char *save = nullptr, *word = strtok_r(text, " ", &save); word;
         word = strtok_r(nullptr, " ", &save)) {
        char *equals = strchr(word, '=');
        assert_non_null(equals);
        out[std::string(word, equals)] = strtoull(equals + 1, nullptr, 10);
    }
    return out;
}
inline std::string counters_text(const Counters &counters) {
    std::string out;
    for (const auto &one : counters)
        if (one.second != 0) out += one.first + "=" + std::to_string(one.second) + " ";
    return out;
}

// What does not balance in an interface whose connections are all over but for `tuples` in TIME-WAIT; empty:
// nothing. The kernel has every frame to receive into, and nobody has a frame to send.
inline std::string imbalance(const Counters &counters, uint64_t tuples) {
    const struct {
        const char *name;
        uint64_t wanted;
    } rows[] = {{"receive_out", counters.count("in_fill") ? counters.at("in_fill") : 0},
                {"ack_out", 0},
                {"control_out", 0},
                {"data_out", 0},
                {"in_send", 0},
                {"completed", counters.count("sent") ? counters.at("sent") : 0},
                {"double_puts", 0},
                {"bad_descriptors", 0},
                {"kernel_receive_invalid", 0},
                {"kernel_send_invalid", 0},
                {"recoveries", 0},
                {"tuples", tuples},
                {"time_wait", tuples}};
    std::string out;
    for (const auto &row : rows) {
        const auto found = counters.find(row.name);
        if (found == counters.end()) return "there is no counter " + std::string(row.name);
        if (found->second == row.wanted) continue;
        out += std::string(row.name) + "=" + std::to_string(found->second);
        out += " instead of " + std::to_string(row.wanted) + "; ";
    }
    return out;
}

// The last completions come, and what nobody waits for any more ends.
inline Counters need_balance(Session &session, uint64_t tuples, int64_t ms = 10000) {
    const int64_t until = now_ms() + ms;
    for (;;) {
        session.poll(20);
        const Counters counters = xdp_counters(session);
        const std::string wrong = imbalance(counters, tuples);
        if (wrong.empty()) return counters;
        if (now_ms() > until) fail_msg("%s(%s)", wrong.c_str(), counters_text(counters).c_str());
    }
}

// Entries of the hash maps that this process has open: the XDP program's tuples.
inline size_t bpf_entries() {
    size_t count = 0;
    for (int fd = 0; fd < 65536; fd++) {
        char path[64], line[128];
        snprintf(path, sizeof path, "/proc/self/fdinfo/%d", fd);
        FILE *file = fopen(path, "re");
        if (file == nullptr) {
            if (fd > 1024) break;
            continue;
        }
        unsigned type = 0;
        while (fgets(line, sizeof line, file) && sscanf(line, "map_type: %u", &type) != 1) continue;
        fclose(file);
        if (type != BPF_MAP_TYPE_HASH) continue;
        unsigned char key[256], next[256];
        bpf_attr attributes;
        memset(&attributes, 0, sizeof attributes);
        attributes.map_fd = static_cast<unsigned>(fd);
        attributes.next_key = reinterpret_cast<uintptr_t>(next);
        for (; syscall(SYS_bpf, BPF_MAP_GET_NEXT_KEY, &attributes, sizeof attributes) == 0; count++) {
            memcpy(key, next, sizeof key);
            attributes.key = reinterpret_cast<uintptr_t>(key);
        }
    }
    return count;
}

// Of this process, in KiB. A sanitizer keeps what was freed, so nothing follows from it there.
inline size_t resident_kib() {
    unsigned long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%lu %lu", &total, &resident), 2);
    fclose(file);
    return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE)) / 1024;
}
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool memory_is_judged = false;
#else
constexpr bool memory_is_judged = true;
#endif
