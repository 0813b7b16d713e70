// SPDX-License-Identifier: MIT
// The library itself, through its public header and with its defaults, but for how it waits: certificates and
// UTF-8 are checked, kernel time stamps are on.
#include "../include/wsxdp.h"
#include "client.h"

#include <stdlib.h>
#include <time.h>

#include <algorithm>

namespace bench {
namespace {

constexpr size_t events_max = 256;
// Longer than any pause of a peer that lives: a run that hangs shall end with a sentence.
constexpr int64_t silence_ns = 5000000000;

int64_t realtime_ns() { // the clock of the events' time stamps
    timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    return static_cast<int64_t>(at.tv_sec) * 1000000000 + at.tv_nsec;
}

Phases phases_of(const wsxdp_event &event, int64_t returned) {
    int64_t plain = event.tls_last_ns ? event.tls_last_ns : event.transport_last_ns;
    Phases out{};
    if (event.kernel_last_ns) out.waited = event.poll_last_ns - event.kernel_last_ns;
    out.transport = event.transport_last_ns - event.poll_last_ns;
    out.tls = plain - event.transport_last_ns;
    out.parse = event.parse_ns - plain;
    out.handover = returned - event.parse_ns;
    out.own = returned - event.poll_last_ns;
    return out;
}

// "name=value,name=value"
int set_options(wsxdp_config *config, const std::string &all) {
    for (size_t at = 0; at < all.size();) {
        size_t stop = std::min(all.find(',', at), all.size()), equals = all.find('=', at);
        if (equals >= stop) return WSXDP_E_INVALID;
        int status = wsxdp_config_set(config, all.substr(at, equals - at).c_str(),
                                      all.substr(equals + 1, stop - equals - 1).c_str());
        if (status < 0) return status;
        at = stop + 1;
    }
    return WSXDP_OK;
}

struct Session {
    const Job &job;
    Meter &meter;
    Outcome &out;
    wsxdp *handle = nullptr;
    wsxdp_event events[events_max] = {};
    std::string payload = {}, error = {};
    int64_t began = 0, returned = 0;
    std::vector<uint32_t> ids = {}; // of the open connections
    bool all_sent = false, done = false;

    bool open(Waiting waiting, const std::string &options) {
        wsxdp_config *config = wsxdp_config_new();
        const char *wait = waiting == Waiting::spin    ? "spin"
                           : waiting == Waiting::sleep ? "sleep"
                                                       : "adaptive";
        wsxdp_error why{};
        why.struct_size = sizeof why;
        std::string url = std::string(job.secure ? "wss" : "ws") + "://" + job.host + ":" +
                          std::to_string(job.port) + job.target;
        int status = wsxdp_config_set(config, "wait", wait);
        if (status >= 0) status = wsxdp_config_set(config, "tls.ca_file", job.ca_file.c_str());
        if (status >= 0) status = wsxdp_config_set(config, "reconnect", "no");
        const char *more = getenv("BENCH_OPTIONS"); // to see what an option costs or saves
        if (status >= 0) status = set_options(config, options);
        if (status >= 0 && more) status = set_options(config, more);
        if (status >= 0) status = wsxdp_open(url.c_str(), config, &handle, &why);
        for (size_t i = 1; i < job.connections && status >= 0; i++) {
            uint32_t id;
            status = wsxdp_connect(handle, url.c_str(), nullptr, &id);
        }
        wsxdp_config_free(config);
        if (status < 0) error = why.text[0] ? why.text : wsxdp_strerror(status);
        return status >= 0;
    }

    void send(const std::string &message) {
        began = now_ns();
        int status = wsxdp_send(handle, 0, WSXDP_TEXT, message.data(), message.size(), 0);
        if (status < 0) fail(wsxdp_strerror(status));
    }

    void fail(const std::string &why) {
        if (error.empty()) error = why;
        done = true;
    }

    // As many as the library takes; it tells when there is room again.
    void send_on() {
        while (!all_sent) {
            int status = wsxdp_send(handle, 0, WSXDP_TEXT, payload.data(), payload.size(), 0);
            if (status == WSXDP_E_AGAIN) return;
            if (status < 0) return fail(wsxdp_strerror(status));
            all_sent = meter.message();
        }
    }

    void on_open(const wsxdp_event &event) {
        if (job.task == Task::round_trip) return send(payload);
        if (job.task == Task::sink) return send_on();
        ids.push_back(event.conn);
        if (ids.size() < job.connections) return;
        for (uint32_t id : ids) // the peer begins when all have said so
            if (wsxdp_send(handle, id, WSXDP_TEXT, "go", 2, 0) < 0) fail("send failed");
    }

    void on_message(const wsxdp_event &event) {
        if (job.task == Task::sink) {
            meter.end();
            done = true;
            return;
        }
        if (job.phases) out.phases.push_back(phases_of(event, returned));
        if (event.len != job.bytes) return fail("a message has another size");
        if (job.task == Task::paced) meter.sample(now_ns() - stamped(event.data));
        if (job.task == Task::round_trip) meter.sample(now_ns() - began);
        if (meter.message()) {
            meter.end();
            done = true;
        } else if (job.task == Task::round_trip) {
            send(payload);
        }
    }

    void on_event(const wsxdp_event &event) {
        if (event.kind == WSXDP_EVENT_MESSAGE) on_message(event);
        if (event.kind == WSXDP_EVENT_OPEN) on_open(event);
        if (event.kind == WSXDP_EVENT_WRITABLE) send_on();
        if (event.kind == WSXDP_EVENT_ERROR)
            fail(std::string(reinterpret_cast<const char *>(event.data), static_cast<size_t>(event.len)));
        if (event.kind == WSXDP_EVENT_CLOSE) fail("the connection ended early");
    }

    void run() {
        payload.assign(job.bytes, 'x');
        if (job.phases) out.phases.reserve(job.warmup + job.count);
        while (!done) {
            int count = wsxdp_poll(handle, events, events_max, silence_ns);
            if (job.phases) returned = realtime_ns();
            if (count < 0) return fail(wsxdp_strerror(count));
            if (count == 0) return fail("nothing arrived for five seconds");
            for (int i = 0; i < count && !done; i++) on_event(events[i]);
        }
    }
};

} // namespace

Outcome run_wsxdp(const Job &job, Waiting waiting, const std::string &options) {
    Outcome out;
    Meter meter(job, &out);
    Session session{job, meter, out};
    if (session.open(waiting, options)) session.run();
    out.error = session.error;
    if (!out.error.empty()) out.good = false;
    wsxdp_free(session.handle);
    return out;
}

} // namespace bench
