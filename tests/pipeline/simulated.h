// SPDX-License-Identifier: MIT
// An engine and a server, each on a host of a simulated network, in simulated time: `run` lets everything
// take turns until something is so, and moves the clock to whatever is due next when nobody has anything to
// do. No real time passes, so a test of minutes takes milliseconds, and a seed is the whole story. And a flow
// of messages in both directions that is checked byte by byte.
#pragma once
#include "../../lib/link/sim.h"
#include "../../lib/link/sim_link.h"
#include "../../lib/pipeline/engine.h"
#include "../support/sim_server.h"
#include "session.h"

#include <algorithm>

namespace simulated {

inline uint64_t seed_of_run() {
    const char *text = getenv("SEED");
    return text != nullptr ? strtoull(text, nullptr, 10) : 1;
}

constexpr wx::Nanos second = wx::ns_per_s;
constexpr wx::Nanos begin_at = 1000 * second; // not 0, which often means never
constexpr uint16_t port = 443;

struct Plan {
    uint64_t seed = 1;
    bool tls = true;
    bool ipv6 = false;
    wx::SimPathOptions up, down;
    wx::TcpConfig client_tcp, server_tcp;
    OptionList options;
    bool deflate = false;
    uint32_t frames = 2048; // of each host, for each direction
    bool listening = true;
    scripted::TlsSide *side = nullptr; // of the test's own
};

inline Plan plan_of(uint64_t seed, bool tls = true) {
    Plan plan;
    plan.seed = seed;
    plan.tls = tls;
    return plan;
}

struct World {
    Plan plan;
    wx::Nanos now = begin_at;
    wx::SimNetwork network;
    wx::SimHost client, server_host;
    std::unique_ptr<scripted::TlsSide> own_side;
    std::unique_ptr<Server> server;
    std::unique_ptr<Session> session;
    wx::Engine *engine = nullptr;
    wx::FixedRandom transport_random, app_random;
    bool polling = true; // false: the caller is busy elsewhere

    explicit World(const Plan &wanted) : plan(wanted) {
        open_network();
        open_server();
        open_session();
    }
    ~World() {
        session.reset(); // before the host that its connections are on
        server.reset();
        sim_host_close(&client);
        sim_host_close(&server_host);
        sim_network_close(&network);
    }
    World(const World &) = delete;
    World &operator=(const World &) = delete;

    std::string url() const { return plan.tls ? "wss://good.test/" : "ws://good.test:443/"; }
    double seconds() const { return static_cast<double>(now - begin_at) / 1e9; }
    wx::SimPath *up() { return sim_network_path(&network, 0, 1); }
    wx::SimPath *down() { return sim_network_path(&network, 1, 0); }

    // Whatever is due now.
    void turn() {
        engine->clock.fake_now = static_cast<wx::Tick>(now);
        sim_network_run(&network, now);
        sim_host_step(&server_host, now);
        server->step();
        sim_host_step(&server_host, now);
        sim_host_step(&client, now);
        for (int i = 0; polling && i < 1000; i++)
            if (session->poll(0) == 0 && !transport_has_silent_input(&engine->stages.transport)) break;
        sim_host_step(&client, now);
    }
    wx::Nanos deadline() const {
        wx::Nanos at = sim_network_deadline(network);
        wx::Nanos others[] = {sim_host_deadline(&client), sim_host_deadline(&server_host),
                              polling ? engine->runner->deadline(engine) : wx::never};
        for (wx::Nanos other : others) at = other < at ? other : at;
        return at;
    }
    // Until done(), which may send and receive; false: not within `limit` of simulated time.
    template <class Done> bool run(Done done, wx::Nanos limit = 60 * second) {
        const wx::Nanos until = now + limit;
        int idle_turns = 0;
        for (;;) {
            turn();
            if (done()) return true;
            // What done() did is served before the clock moves.
            turn();
            wx::Nanos next = deadline();
            if (next > now) idle_turns = 0;
            if (next <= now && ++idle_turns < 10000) continue;
            if (next <= now) fail_msg("seed %llu: something is due for ever", seed());
            if (next > until) {
                now = until;
                return false;
            }
            now = next;
        }
    }
    void pass(wx::Nanos time) {
        run([] { return false; }, time);
    }
    unsigned long long seed() const { return plan.seed; }
    template <class Done> void need(const char *what, Done done, wx::Nanos limit = 60 * second) {
        if (run(done, limit)) return;
        session->events.erase(std::remove_if(session->events.begin(), session->events.end(), is_message),
                              session->events.end());
        session->print();
        fail_msg("seed %llu: not within %d s: %s", seed(), static_cast<int>(limit / second), what);
    }
    void need_event(uint32_t kind, size_t count = 1, wx::Nanos limit = 60 * second) {
        char what[40];
        snprintf(what, sizeof what, "%u events of kind %u", static_cast<unsigned>(count), kind);
        need(
            what, [&] { return session->count(kind) >= count; }, limit);
    }
    // Everything is closed on both hosts, nothing is held by anybody.
    void check_given_back(wx::Nanos limit = 0) {
        auto all_closed = [this] {
            for (wx::SimHost *host : {&client, &server_host})
                for (uint32_t i = 0; i < host->options.connections; i++) {
                    wx::TcpState state = host->connections[i].state;
                    if (state != wx::TcpState::closed && state != wx::TcpState::listen) return false;
                }
            return true;
        };
        need("all connections closed", all_closed, limit + 200 * second); // with TIME-WAIT
        assert_int_equal(sim_host_frames_out(&client), 0);
        assert_int_equal(sim_host_frames_out(&server_host), 0);
        assert_int_equal(client.double_releases + server_host.double_releases, 0);
    }
    void close_properly(wx::Nanos limit = 60 * second) {
        size_t before = session->count(WSXDP_EVENT_CLOSE);
        assert_int_equal(wsxdp_close(session->handle, 0, 1000, "", 0), 0);
        need_event(WSXDP_EVENT_CLOSE, before + 1, limit);
        for (const Seen &seen : session->events)
            if (seen.kind == WSXDP_EVENT_CLOSE) assert_int_equal(seen.code, 1000);
        check_given_back(limit);
    }

private:
    static bool is_message(const Seen &seen) { return seen.kind == WSXDP_EVENT_MESSAGE; }
    void open_network() {
        wx::SimNetworkOptions options;
        options.seed = plan.seed;
        options.start = begin_at;
        assert_int_equal(sim_network_open(&network, options), 0);
        open_host(&client, plan.client_tcp, 0);
        open_host(&server_host, plan.server_tcp, 1);
        sim_path_set(up(), plan.up);
        sim_path_set(down(), plan.down);
    }
    void open_host(wx::SimHost *host, const wx::TcpConfig &tcp, unsigned end) {
        wx::SimHostOptions options;
        options.tcp = tcp;
        options.connections = 24;
        options.receive_frames = plan.frames;
        options.send_frames = plan.frames;
        options.seed = plan.seed * 2 + end;
        assert_int_equal(sim_host_open(host, options), 0);
        uint8_t v6[16] = {0xFD, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, static_cast<uint8_t>(end + 1)};
        wx::IpAddress four = wx::ip4_address(10, 0, 0, static_cast<uint8_t>(end + 1));
        wx::IpAddress six = wx::ip_address(v6, 6);
        assert_true(sim_host_address(host, four) && sim_host_address(host, six));
        assert_true(sim_network_address(&network, end, four) && sim_network_address(&network, end, six));
        host->out = sim_network_entrance(&network, end);
        sim_network_attach(&network, end, host);
        sim_host_step(host, now);
    }
    void open_server() {
        if (plan.tls && plan.side == nullptr) {
            own_side.reset(new scripted::TlsSide(certs(), "good"));
            plan.side = own_side.get();
        }
        server.reset(new Server(&server_host, port, plan.tls ? plan.side : nullptr));
        server->deflate = plan.deflate;
        server->listening = plan.listening;
        server->step();
    }
    void open_session() {
        OptionList options = {{"resolve.override", plan.ipv6 ? "good.test=fd00::2" : "good.test=10.0.0.2"},
                              {"tls.ca_file", certs().path("ca.pem")},
                              {"tls.system_ca", "no"},
                              {"inbox.prefault", "no"},
                              {"connections.max", "16"},
                              {"deflate", plan.deflate ? "yes" : "no"}};
        options.insert(options.end(), plan.options.begin(), plan.options.end());
        session.reset(new Session(url(), options));
        if (session->status != 0) fail_msg("open: %d %s", session->status, session->text.c_str());
        engine = reinterpret_cast<wx::Engine *>(session->handle);
        wx::fake_clock_open(&engine->clock, now);
        engine->stages.transport.link = &wx::sim_link;
        engine->stages.transport.link_context = &client;
        wx::fixed_random_open(&transport_random, plan.seed * 3);
        wx::fixed_random_open(&app_random, plan.seed * 3 + 1);
        engine->stages.transport.random = &transport_random;
        engine->app.random = &app_random;
    }
};

// What message `number` of a direction says. Sizes: mostly small, every eighth up to `most`.
inline std::string message_of(uint64_t seed, char direction, size_t number, size_t most) {
    wx::FixedRandom random;
    wx::fixed_random_open(&random, wx::sim_seed(seed, number * 2 + (direction == 'u')));
    size_t size = static_cast<size_t>(wx::random_below(&random, number % 8 == 7 ? most : 200));
    std::string out = direction + std::to_string(number) + ":";
    while (out.size() < size) out.push_back(static_cast<char>('a' + wx::random_below(&random, 26)));
    return out;
}

// Messages up and down one connection, each checked when it arrives.
struct Flow {
    World *world;
    size_t count;
    size_t most = 4000;   // bytes
    size_t ahead = 65536; // bytes that the server has queued at most
    size_t sent_up = 0, got_up = 0, sent_down = 0, got_down = 0;
    uint32_t conn = 0;
    Peer *peer = nullptr;
    size_t looked = 0; // events
    bool wrong = false;
    std::string next_up;

    Flow(World *in, size_t messages) : world(in), count(messages) {}
    std::string message(char direction, size_t number) const {
        return message_of(world->plan.seed + conn, direction, number, most);
    }
    void send_up() {
        while (sent_up < count) {
            if (next_up.empty()) next_up = message('u', sent_up);
            if (world->session->send(next_up, WSXDP_BINARY, conn) != 0) return;
            next_up.clear();
            sent_up++;
        }
    }
    void send_down() {
        while (sent_down < count && peer->unsent() < ahead) peer->send(message('d', sent_down++));
    }
    void receive() {
        std::vector<Seen> &events = world->session->events;
        for (; looked < events.size(); looked++) {
            Seen &seen = events[looked];
            if (seen.kind != WSXDP_EVENT_MESSAGE || (conn != 0 && seen.conn != conn)) continue;
            wrong |= seen.data != message('d', got_down++);
            if (conn == 0) std::string().swap(seen.data);
        }
        while (peer != nullptr && !peer->messages.empty()) {
            wrong |= peer->messages.front() != message('u', got_up++);
            peer->messages.pop_front();
        }
    }
    // Moves what can be moved; whether everything has arrived.
    bool step(bool open) {
        if (open) {
            send_up();
            send_down();
        }
        receive();
        return wrong || (got_up == count && got_down == count);
    }
    void check() const {
        if (wrong || got_up != count || got_down != count)
            fail_msg("seed %llu: a message is wrong, or not all arrived: %d of %d up, %d down", world->seed(),
                     static_cast<int>(got_up), static_cast<int>(count), static_cast<int>(got_down));
        if (peer != nullptr && !peer->wrong.empty())
            fail_msg("seed %llu: %s", world->seed(), peer->wrong.c_str());
    }
    // All of it, on the session's only connection.
    void run(wx::Nanos limit) {
        world->need_event(WSXDP_EVENT_OPEN, 1, limit);
        peer = world->server->last();
        world->need(
            "all messages", [this] { return step(true); }, limit);
        check();
    }
};

} // namespace simulated
