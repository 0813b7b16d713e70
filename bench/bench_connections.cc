// SPDX-License-Identifier: MIT
// What a message costs when it comes on one of many connections: the same total rate over 1, 16, 256 and
// 1,000 connections in one handle, waiting asleep, CPU time of this process for each message. A bare epoll
// and recv() loop runs beside it, since the kernel's own part grows with the number of sockets too.
//
// usage: bench_connections [--json FILE] [--clients recv|wsxdp]
#include "client.h"
#include "peer_process.h"
#include "wire.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <map>

#include "../include/wsxdp.h"

namespace {

using namespace bench;

constexpr size_t counts[] = {1, 16, 256, 1000};
constexpr long rate = 50000;
constexpr size_t payload_bytes = 64;

struct FanJob {
    Job job; // Meter's view of it
    size_t connections = 1;
};

// ---- the floor: epoll_wait and recv ----

size_t whole_frames(const uint8_t *data, size_t size, size_t *used) {
    size_t frames = 0;
    Head head;
    for (*used = 0;
         parse_head(data + *used, size - *used, &head) && size - *used >= head.bytes + head.payload; frames++)
        *used += head.bytes + static_cast<size_t>(head.payload);
    return frames;
}

void open_bare(const FanJob &fan, int poller, std::vector<Channel> &channels) {
    for (size_t i = 0; i < fan.connections; i++) {
        Channel channel;
        channel.fd = dial(fan.job.port);
        if (!upgrade_as_client(channel, fan.job.target)) die("upgrade refused");
        set_nonblocking(channel.fd, true);
        epoll_event event{};
        event.events = EPOLLIN;
        event.data.fd = channel.fd;
        epoll_ctl(poller, EPOLL_CTL_ADD, channel.fd, &event);
        channels.push_back(channel);
    }
}

bool receive_bare(int poller, Meter &meter) {
    static uint8_t buffer[(payload_bytes + 2) * 900]; // whole frames only: a read never ends inside one
    epoll_event events[256];
    for (;;) {
        int count = epoll_wait(poller, events, 256, 5000);
        if (count <= 0) return false;
        for (int i = 0; i < count; i++) {
            long got = recv(events[i].data.fd, buffer, sizeof buffer, MSG_DONTWAIT);
            size_t used;
            if (got <= 0) return false;
            for (size_t left = whole_frames(buffer, static_cast<size_t>(got), &used); left > 0; left--)
                if (meter.message()) return true;
            if (used != static_cast<size_t>(got)) return false; // small writes arrive whole on loopback
        }
    }
}

Outcome fan_recv(const FanJob &fan) {
    Outcome out;
    Meter meter(fan.job, &out);
    int poller = epoll_create1(EPOLL_CLOEXEC);
    std::vector<Channel> channels;
    open_bare(fan, poller, channels);
    uint8_t go[] = {0x81, 0x82, 0, 0, 0, 0, 'g', 'o'};
    for (Channel &channel : channels) channel.send_all(go, sizeof go);
    if (receive_bare(poller, meter)) meter.end();
    if (!out.good) out.error = "the connections ended early";
    for (Channel &channel : channels) channel.close();
    close(poller);
    return out;
}

// ---- the library ----

struct Fan {
    const FanJob &fan;
    Meter &meter;
    wsxdp *handle = nullptr;
    std::string error = {};
    std::vector<uint32_t> ids = {};
    bool done = false;

    void fail(const std::string &why) {
        error = why;
        done = true;
    }
    void open() {
        std::string url = "ws://127.0.0.1:" + std::to_string(fan.job.port) + fan.job.target;
        wsxdp_config *config = wsxdp_config_new();
        wsxdp_error why{};
        why.struct_size = sizeof why;
        if (wsxdp_config_set(config, "wait", "sleep") < 0 ||
            wsxdp_config_set(config, "reconnect", "no") < 0 || wsxdp_open(nullptr, config, &handle, &why) < 0)
            fail(std::string("open: ") + why.text);
        for (size_t i = 0; !done && i < fan.connections; i++) {
            uint32_t id;
            int status = wsxdp_connect(handle, url.c_str(), nullptr, &id);
            if (status < 0) fail(std::string("connect: ") + wsxdp_strerror(status));
        }
        wsxdp_config_free(config);
    }
    void on_event(const wsxdp_event &event) {
        if (event.kind == WSXDP_EVENT_MESSAGE && meter.message()) {
            meter.end();
            done = true;
        }
        if (event.kind == WSXDP_EVENT_OPEN) {
            ids.push_back(event.conn);
            if (ids.size() == fan.connections) // the server begins when all have said so
                for (uint32_t id : ids)
                    if (wsxdp_send(handle, id, WSXDP_TEXT, "go", 2, 0) < 0) fail("send failed");
        }
        if (event.kind == WSXDP_EVENT_CLOSE) fail("a connection ended early");
    }
    void run() {
        wsxdp_event events[256];
        while (!done) {
            int count = wsxdp_poll(handle, events, 256, 5000000000);
            if (count <= 0)
                return fail(count < 0 ? wsxdp_strerror(count) : "nothing arrived for five seconds");
            for (int i = 0; i < count && !done; i++) on_event(events[i]);
        }
    }
};

Outcome fan_wsxdp(const FanJob &job) {
    Outcome out;
    Meter meter(job.job, &out);
    Fan fan{job, meter};
    fan.open();
    if (!fan.done) fan.run();
    out.error = fan.error;
    if (!out.error.empty()) out.good = false;
    wsxdp_free(fan.handle);
    return out;
}

// ---- rounds and tables ----

struct Client {
    const char *name;
    Outcome (*run)(const FanJob &);
};
const Client clients[] = {
    {"recv", fan_recv},
    {"wsxdp", fan_wsxdp},
};

FanJob fan_job(size_t connections, const PeerProcess &peer) {
    FanJob fan;
    fan.connections = connections;
    fan.job.port = peer.port(false);
    fan.job.bytes = payload_bytes;
    fan.job.warmup = 2 * connections; // every connection's memory has been touched once
    fan.job.count = quick() ? 10000 : 30000;
    fan.job.target = "/fan?size=" + std::to_string(payload_bytes) +
                     "&count=" + std::to_string(fan.job.warmup + fan.job.count) +
                     "&rate=" + std::to_string(rate) + "&connections=" + std::to_string(connections);
    return fan;
}

using Cost = std::map<size_t, std::vector<double>>; // CPU ns per message by connections, one for each round

void print_client(Report &report, const char *name, Cost &cost) {
    for (size_t connections : counts) {
        if (cost[connections].empty()) continue;
        double each = median(cost[connections]), one = median(cost[1]);
        printf("  %-8s %6zu %12.0f %12.2f\n", name, connections, each, each / one);
        Json json;
        json.text("section", "connections")
            .text("client", name)
            .number("connections", static_cast<double>(connections));
        json.number("cpu_ns_per_message", each).number("ratio_one", each / one);
        report.row(json);
    }
}

double many_to_one(Cost &cost) {
    std::vector<double> ratios;
    for (size_t i = 0; i < cost[1000].size() && i < cost[1].size(); i++)
        ratios.push_back(cost[1000][i] / cost[1][i]);
    return ratios.empty() ? -1 : median(ratios);
}

} // namespace

int main(int argc, char **argv) {
    std::string json, only;
    for (int i = 1; i + 1 < argc; i += 2) (strcmp(argv[i], "--json") == 0 ? json : only) = argv[i + 1];
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    bool two = cpu_count() > 1;
    PeerProcess peer(argv[0], two ? 0 : -1);
    pin(two ? 1 : -1);
    std::map<std::string, Cost> costs;
    for (int round = 0; round < (quick() ? 2 : 5); round++)
        for (size_t connections : counts)
            for (const Client &client : clients) {
                if (!only.empty() && only != client.name) continue;
                Outcome out = client.run(fan_job(connections, peer));
                if (out.good) costs[client.name][connections].push_back(out.cpu / out.messages);
                if (!out.good)
                    fprintf(stderr, "bench_connections: %s, %zu: %s\n", client.name, connections,
                            out.error.c_str());
            }
    printf("\nmany connections, %ld messages/s of 64 B in all, ws, waiting asleep\n", rate);
    printf("  %-8s %6s %12s %12s\n", "client", "conns", "CPU ns/msg", "of one");
    Report report;
    for (const Client &client : clients) print_client(report, client.name, costs[client.name]);
    report.bar("CPU per message, 1,000 connections / one", many_to_one(costs["wsxdp"]), 1.5, true,
               many_to_one(costs["recv"]));
    report.print_bars("connection bars (median of the rounds' paired ratios)");
    if (!json.empty() && !report.write(json.c_str(), {})) {
        perror(json.c_str());
        return 1;
    }
    return 0;
}
