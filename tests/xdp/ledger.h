// SPDX-License-Identifier: MIT
// What a handle with transport=xdp holds at a moment, and whether that is what it should hold: frames in the
// pools, tuples, descriptors, entries of BPF maps, memory. For tests that run long or often.
#pragma once
#include "../support/processes.h"
#include "counters.h"
#include <functional>
#include <linux/bpf.h>
#include <set>
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

// What does not balance in an interface whose connections are all over but for `tuples` in TIME-WAIT; empty:
// nothing. The kernel has every frame to receive into, and nobody has a frame to send.
inline std::string imbalance(const Counters &counters, uint64_t tuples) {
    if (counters.values.empty()) return "no interface is open; ";
    const struct {
        const char *name;
        uint64_t wanted;
    } rows[] = {{"receive_out", counters["in_fill"]},
                {"ack_out", 0},
                {"control_out", 0},
                {"data_out", 0},
                {"in_send", 0},
                {"completed", counters["sent"]},
                {"double_puts", 0},
                {"bad_descriptors", 0},
                {"kernel_receive_invalid", 0},
                {"kernel_send_invalid", 0},
                {"recoveries", 0},
                {"tuples", tuples},
                {"time_wait", tuples}};
    std::string out;
    for (const auto &row : rows) {
        if (counters[row.name] == row.wanted) continue;
        out += std::string(row.name) + "=" + std::to_string(counters[row.name]);
        out += " instead of " + std::to_string(row.wanted) + "; ";
    }
    return out;
}

// The last completions come, and what nobody waits for any more ends.
inline Counters need_balance(Session &session, uint64_t tuples, int64_t ms = 10000) {
    const int64_t until = now_ms() + ms;
    for (;;) {
        session.poll(20);
        const Counters counters(session);
        const std::string wrong = imbalance(counters, tuples);
        if (wrong.empty()) return counters;
        if (now_ms() > until) fail_msg("%s(%s)", wrong.c_str(), counters.text().c_str());
    }
}

inline int bpf_call(int command, bpf_attr *attributes) {
    return static_cast<int>(syscall(SYS_bpf, command, attributes, sizeof *attributes));
}

// By the map's number, so that it may be another process's.
inline size_t entries_of_map(unsigned id) {
    unsigned char key[256], next[256];
    bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_id = id;
    const int fd = bpf_call(BPF_MAP_GET_FD_BY_ID, &attributes);
    if (fd < 0) return 0; // gone in between
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = static_cast<unsigned>(fd);
    attributes.next_key = reinterpret_cast<uintptr_t>(next);
    size_t count = 0;
    for (; bpf_call(BPF_MAP_GET_NEXT_KEY, &attributes) == 0; count++) {
        memcpy(key, next, sizeof key);
        attributes.key = reinterpret_cast<uintptr_t>(key);
    }
    close(fd);
    return count;
}

// Entries of the hash maps that this process and those that it started have open: the XDP program's tuples.
inline size_t bpf_entries() {
    std::set<unsigned> maps;
    std::vector<pid_t> whose = helpers_of(getpid());
    whose.push_back(getpid());
    for (const pid_t pid : whose) {
        const std::string folder = "/proc/" + std::to_string(pid) + "/fdinfo";
        DIR *entries = opendir(folder.c_str());
        while (const dirent *entry = entries ? readdir(entries) : nullptr) {
            const std::string facts = read_file(folder + "/" + entry->d_name);
            if (!contains(facts, "map_type:\t" + std::to_string(BPF_MAP_TYPE_HASH) + "\n")) continue;
            maps.insert(static_cast<unsigned>(atoi(facts.c_str() + facts.find("map_id:\t") + 8)));
        }
        if (entries != nullptr) closedir(entries);
    }
    size_t count = 0;
    for (const unsigned id : maps) count += entries_of_map(id);
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
