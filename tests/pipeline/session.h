// SPDX-License-Identifier: MIT
// A handle as a test uses it: options as pairs, events copied as they come, waiting for one of a kind.
#pragma once
#include "../../include/wsxdp.h"
#include "../base/registry.h"
#include "../support/certs.h"
#include "../support/tls_server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <string>
#include <unistd.h>
#include <utility>
#include <vector>

// A case that speaks TLS: there is none in a build without it.
#ifdef WSXDP_TLS_NONE
#define TLS_TEST(name) [[maybe_unused]] static void name(void **)
#else
#define TLS_TEST(name) TEST(name)
#endif

inline const CertDir &certs() {
    static CertDir made;
    return made;
}

inline bool contains(const std::string &text, const std::string &part) {
    return text.find(part) != std::string::npos;
}

using OptionList = std::vector<std::pair<std::string, std::string>>;

// The placement that the whole program is run in, "" for inline: tests/run.py runs it once for each.
inline const std::string &test_placement() {
    static const std::string placement = getenv("WSXDP_PLACEMENT") ? getenv("WSXDP_PLACEMENT") : "";
    return placement;
}

// rx, tx or both run apart from tls: between socket and inbox, or outbox and socket, are a step and a ring
// more.
inline bool sockets_apart() {
    return contains(test_placement(), "rx") && !contains(test_placement(), "rx+tls+tx");
}

// The helper of the same build: it lies at the top of the directory that this program is in.
inline std::string stage_program() {
    char path[4096];
    const ssize_t size = readlink("/proc/self/exe", path, sizeof path);
    std::string at(path, size > 0 ? static_cast<size_t>(size) : 0);
    for (int i = 0; i < 3; i++) at.resize(at.rfind('/'));
    return at + "/wsxdp-stage";
}

// A case about what poll itself does when the stages run inside of it: there is no such thing elsewhere.
struct InlineRegistration {
    InlineRegistration(const char *name, CMUnitTestFunction run) {
        if (test_placement().empty()) Registration(name, run);
    }
};
#define INLINE_TEST(name)                                                                                    \
    static void name(void **);                                                                               \
    static InlineRegistration registration_##name(#name, name);                                              \
    static void name(void **)

// A case whose stand-ins for the system have to be where the stages are.
struct SameProcessRegistration {
    SameProcessRegistration(const char *name, CMUnitTestFunction run) {
        if (test_placement().rfind("processes", 0) != 0) Registration(name, run);
    }
};
#define SAME_PROCESS_TEST(name)                                                                              \
    static void name(void **);                                                                               \
    static SameProcessRegistration registration_##name(#name, name);                                         \
    static void name(void **)

// A case that forks while handles are open: the race detector does not follow that when they have threads.
#ifdef __SANITIZE_THREAD__
#define FORKING_TEST(name) INLINE_TEST(name)
#else
#define FORKING_TEST(name) TEST(name)
#endif

struct Config {
    wsxdp_config *config = wsxdp_config_new();
    explicit Config(const OptionList &options) {
        if (!test_placement().empty()) wsxdp_config_set(config, "placement", test_placement().c_str());
        wsxdp_config_set(config, "stage.path", stage_program().c_str());
        for (const auto &option : options) {
            int status = wsxdp_config_set(config, option.first.c_str(), option.second.c_str());
            char text[300];
            wsxdp_config_error(config, text, sizeof text);
            if (status < 0) fail_msg("%s=%s: %s", option.first.c_str(), option.second.c_str(), text);
        }
    }
    ~Config() { wsxdp_config_free(config); }
    Config(const Config &) = delete;
    Config &operator=(const Config &) = delete;
};

struct Seen {
    uint32_t kind = 0, flags = 0, conn = 0, attempt = 0;
    int code = 0, error = 0;
    int64_t value = 0;
    uint64_t sequence = 0;
    std::string data;
    int64_t at_ms = 0;
};

struct Session {
    wsxdp *handle = nullptr;
    int status = 0;
    std::string text; // of a failed open
    std::vector<Seen> events;
    size_t looked = 0;   // events before this were returned by wait
    size_t at_most = 64; // events that one poll takes

    Session(const std::string &url, const OptionList &options = {}) { open(url.c_str(), options); }
    Session(const char *url, const OptionList &options = {}) { open(url, options); }
    ~Session() { wsxdp_free(handle); }
    Session(const Session &) = delete;
    Session &operator=(const Session &) = delete;

    int poll(int64_t timeout_ms) {
        wsxdp_event batch[64];
        int count = wsxdp_poll(handle, batch, at_most, timeout_ms * 1000000);
        for (int i = 0; i < count; i++) {
            const wsxdp_event &e = batch[i];
            Seen seen;
            seen.kind = e.kind, seen.flags = e.flags, seen.conn = e.conn, seen.attempt = e.attempt;
            seen.code = e.code, seen.error = e.error, seen.value = e.value, seen.sequence = e.sequence;
            if (e.len) seen.data.assign(reinterpret_cast<const char *>(e.data), e.len);
            seen.at_ms = now_ms();
            events.push_back(seen);
        }
        return count;
    }
    // The next event of that kind (of that connection), those before it passed over; null after the time.
    const Seen *wait(uint32_t kind, int64_t ms = 5000, uint32_t conn = 0) {
        int64_t until = now_ms() + ms;
        for (;;) {
            for (; looked < events.size(); looked++)
                if (events[looked].kind == kind && (conn == 0 || events[looked].conn == conn))
                    return &events[looked++];
            int64_t left = until - now_ms();
            if (left <= 0) return nullptr;
            poll(left);
        }
    }
    // 0 ms: it is there already. An event that comes after a short time is late and not missing.
    const Seen &need(uint32_t kind, int64_t ms = 5000, uint32_t conn = 0) {
        const int64_t begin = now_ms();
        const Seen *seen = wait(kind, ms, conn);
        if (seen) return *seen;
        if (ms > 0 && ms < 5000 && wait(kind, 5000 - ms, conn)) throw Late{now_ms() - begin, ms};
        print();
        fail_msg("no event of kind %u within %d ms", kind, static_cast<int>(ms));
        static Seen none;
        return none;
    }
    size_t count(uint32_t kind) const {
        size_t found = 0;
        for (const Seen &seen : events) found += seen.kind == kind;
        return found;
    }
    int send(const std::string &data, uint32_t opcode = WSXDP_TEXT, uint32_t conn = 0) {
        return wsxdp_send(handle, conn, opcode, data.data(), data.size(), 0);
    }
    std::string info(const char *what, uint32_t conn = 0) {
        char buf[512] = "";
        // A process that was not run for a moment does not answer at once.
        const int64_t until = now_ms() + 5000;
        while (wsxdp_info(handle, conn, what, buf, sizeof buf) == WSXDP_E_AGAIN && now_ms() < until)
            usleep(1000);
        return buf;
    }
    wsxdp_stats_t stats(uint32_t conn = 0) {
        wsxdp_stats_t out;
        memset(&out, 0, sizeof out);
        out.struct_size = sizeof out;
        wsxdp_stats(handle, conn, &out);
        return out;
    }
    void print() const {
        for (const Seen &seen : events)
            print_message("  event %u conn %u error %d code %d flags %x value %lld '%.200s'\n", seen.kind,
                          seen.conn, seen.error, seen.code, seen.flags, static_cast<long long>(seen.value),
                          seen.data.c_str());
    }

private:
    void open(const char *url, const OptionList &options) {
        Config config(options);
        wsxdp_error error;
        memset(&error, 0, sizeof error);
        error.struct_size = sizeof error;
        status = wsxdp_open(url, config.config, &handle, &error);
        text = error.text;
    }
};

// The connection fails once with this code and a sentence that contains `part`; nothing is tried again.
// Returns the sentence.
inline std::string expect_failure(const std::string &url, OptionList options, int code,
                                  const std::string &part) {
    options.insert(options.begin(), {"reconnect", "no"});
    Session session(url, options);
    if (session.status != 0) fail_msg("open: %d %s", session.status, session.text.c_str());
    std::string sentence;
    const Seen &close = session.need(WSXDP_EVENT_CLOSE, 8000);
    size_t errors = 0;
    for (const Seen &seen : session.events) {
        if (seen.kind != WSXDP_EVENT_ERROR) continue;
        errors++;
        sentence = seen.data;
        if (seen.error != code || !contains(sentence, part)) session.print();
        assert_int_equal(seen.error, code);
    }
    assert_int_equal(errors, 1);
    assert_int_equal(session.count(WSXDP_EVENT_OPEN), 0);
    assert_int_equal(close.error, code);
    assert_int_equal(close.code, 1006);
    if (!contains(sentence, part)) fail_msg("'%s' is not in: %s", part.c_str(), sentence.c_str());
    char last[600];
    assert_int_equal(wsxdp_last_error(session.handle, last, sizeof last), sentence.size());
    assert_string_equal(last, sentence.c_str());
    return sentence;
}
