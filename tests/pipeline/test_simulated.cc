// SPDX-License-Identifier: MIT
// The whole client, engine, TLS and our own TCP, against a server over a simulated network and in simulated
// time: loss, reordering, duplication, corruption, narrow and dying links, resets and closed windows.
// Whatever the network does, messages arrive complete and in order, within a bound of simulated time, and
// everything is given back. Sizes, links and losses are drawn from SEED.
#define OPENSSL_SUPPRESS_DEPRECATED // RAND_METHOD, the only way to give OpenSSL known numbers everywhere
#include "simulated.h"

#include <openssl/rand.h>

using namespace simulated;
using namespace wx;

// What the network gets through in the end is not cut short by anybody's patience: packets may be lost eight
// times in a row when they are sent one at a time, ever more slowly.
static void be_patient(Plan *plan) {
    for (TcpConfig *tcp : {&plan->client_tcp, &plan->server_tcp}) {
        tcp->user_timeout = 3600 * second;
        tcp->syn_tries = 12;
    }
}
static OptionList patient(OptionList more = {}) {
    OptionList options = {{"connect.timeout_ns", "1000s"}, {"connect.attempt_timeout_ns", "1000s"},
                          {"tls.timeout_ns", "1000s"},     {"upgrade.timeout_ns", "1000s"},
                          {"close.timeout_ns", "1000s"},   {"idle.timeout_ns", "0"},
                          {"ping.interval_ns", "0"}};
    options.insert(options.end(), more.begin(), more.end());
    return options;
}

static SimPathOptions delayed(Nanos delay) {
    SimPathOptions options;
    options.delay.fixed = delay;
    return options;
}

static void no_trouble(const World &world) {
    size_t troubles =
        world.session->count(WSXDP_EVENT_ERROR) + world.session->count(WSXDP_EVENT_RECONNECTING);
    if (troubles != 0) world.session->print();
    assert_int_equal(troubles, 0);
    assert_int_equal(world.session->count(WSXDP_EVENT_OPEN), 1);
}

static void flows(const Plan &plan, size_t messages, Nanos limit) {
    World world(plan);
    Flow flow(&world, messages);
    flow.run(limit);
    no_trouble(world);
    world.close_properly(limit);
    no_trouble(world);
}

TEST(a_thousand_messages_over_a_perfect_link) {
    for (bool tls : {false, true}) {
        Plan plan = plan_of(seed_of_run(), tls);
        flows(plan, 1000, 2 * second);
        plan.ipv6 = true;
        plan.up = plan.down = delayed(ns_per_ms);
        flows(plan, 1000, 20 * second);
    }
}

TEST(five_percent_of_packets_are_lost) {
    for (uint64_t i = 0; i < 4; i++) {
        Plan plan = plan_of(seed_of_run() * 10 + i, i % 2 == 0);
        plan.options = patient();
        plan.up = plan.down = delayed(5 * ns_per_ms);
        plan.up.loss.ppm = plan.down.loss.ppm = 50000;
        flows(plan, 1000, 120 * second);
    }
}

// Every kind of path there is, each with several seeds, TLS or not, IPv4 or IPv6, deflated or not.
static void kind(SimKind which, Nanos limit) {
    for (uint64_t i = 0; i < 6; i++) {
        uint64_t seed = sim_seed(seed_of_run(), static_cast<uint64_t>(which) * 100 + i);
        Plan plan = plan_of(seed, i % 3 != 2);
        plan.ipv6 = (i & 1) != 0;
        plan.deflate = i == 4;
        plan.options = patient();
        be_patient(&plan);
        sim_path_draw(&plan.up, which, sim_seed(seed, 1));
        sim_path_draw(&plan.down, which, sim_seed(seed, 2));
        flows(plan, 150, limit);
    }
}
TEST(lan) { kind(SimKind::lan, 10 * second); }
TEST(wan) { kind(SimKind::wan, 60 * second); }
TEST(lossy) { kind(SimKind::lossy, 900 * second); }
TEST(bursty) { kind(SimKind::bursty, 900 * second); }
TEST(reordering) { kind(SimKind::reordering, 60 * second); }
TEST(duplicating) { kind(SimKind::duplicating, 60 * second); }
TEST(corrupting) { kind(SimKind::corrupting, 900 * second); }
TEST(narrow) { kind(SimKind::narrow, 300 * second); }
TEST(shrinking_mtu) { kind(SimKind::shrinking_mtu, 60 * second); }
TEST(black_hole) { kind(SimKind::black_hole, 900 * second); }
TEST(flapping) { kind(SimKind::flapping, 900 * second); }
TEST(dying_and_healing) { kind(SimKind::dying_and_healing, 900 * second); }
TEST(everything) { kind(SimKind::everything, 1800 * second); }

// ---- ends ----

// The link dies; the connection is given up by `code`; once it heals, the next one opens, with a ticket.
static void dies_and_resumes(Plan plan, int code, bool send_into_the_dark) {
    plan.up = plan.down = delayed(ns_per_ms);
    World world(plan);
    world.need_event(WSXDP_EVENT_OPEN);
    world.server->last()->echo = true;
    assert_int_equal(world.session->send("before"), 0);
    world.need_event(WSXDP_EVENT_MESSAGE);
    assert_string_equal(world.session->info("tls.resumed").c_str(), "no");

    SimPathOptions dead = delayed(ns_per_ms);
    dead.loss.ppm = sim_ppm;
    sim_path_set(world.up(), dead);
    sim_path_set(world.down(), dead);
    if (send_into_the_dark) assert_int_equal(world.session->send("never arrives"), 0);
    world.need_event(WSXDP_EVENT_RECONNECTING, 1, 300 * second);
    const Seen *error = nullptr;
    for (const Seen &seen : world.session->events)
        if (seen.kind == WSXDP_EVENT_ERROR && error == nullptr) error = &seen;
    assert_non_null(error);
    if (error->error != code) world.session->print();
    assert_int_equal(error->error, code);

    world.pass(20 * second); // attempts that nobody answers
    assert_int_equal(world.session->count(WSXDP_EVENT_OPEN), 1);
    sim_network_heal(&world.network);
    world.need_event(WSXDP_EVENT_OPEN, 2, 120 * second);
    if (plan.tls) {
        assert_string_equal(world.session->info("tls.resumed").c_str(), "yes");
        assert_true(world.server->last()->resumed);
    }
    world.server->last()->echo = true;
    assert_int_equal(world.session->send("after"), 0);
    world.need_event(WSXDP_EVENT_MESSAGE, 2);
    assert_string_equal(world.session->events.back().data.c_str(), "after");
    world.close_properly();
}
TEST(a_dead_link_is_found_by_the_user_timeout) {
    Plan plan = plan_of(seed_of_run());
    plan.options = {{"idle.timeout_ns", "0"}, {"ping.interval_ns", "0"}};
    plan.client_tcp.user_timeout = 10 * second;
    plan.server_tcp.keepalive_idle = 20 * second;
    plan.server_tcp.keepalive_interval = second;
    dies_and_resumes(plan, WSXDP_E_DEAD, true);
}
TEST(a_dead_link_is_found_by_silence) {
    Plan plan = plan_of(seed_of_run());
    plan.options = {{"idle.timeout_ns", "3s"}, {"ping.interval_ns", "0"}};
    plan.server_tcp.keepalive_idle = 20 * second;
    plan.server_tcp.keepalive_interval = second;
    dies_and_resumes(plan, WSXDP_E_DEAD, false);
}
TEST(a_dead_link_is_found_by_a_ping) {
    Plan plan = plan_of(seed_of_run(), false);
    plan.options = {{"idle.timeout_ns", "0"}, {"ping.interval_ns", "2s"}, {"ping.timeout_ns", "1s"}};
    plan.server_tcp.keepalive_idle = 20 * second;
    plan.server_tcp.keepalive_interval = second;
    dies_and_resumes(plan, WSXDP_E_PING_TIMEOUT, false);
}

TEST(the_server_resets_in_the_middle_of_a_message) {
    for (bool tls : {false, true}) {
        Plan plan = plan_of(seed_of_run(), tls);
        plan.up = plan.down = delayed(ns_per_ms);
        World world(plan);
        world.need_event(WSXDP_EVENT_OPEN);
        Peer *peer = world.server->last();
        peer->send("whole");
        peer->send_bytes(std::string("\x82\x7e\x10\x00half", 8));
        world.need_event(WSXDP_EVENT_MESSAGE);
        world.pass(5 * ns_per_ms);
        peer->reset();
        world.need_event(WSXDP_EVENT_RECONNECTING);
        for (const Seen &seen : world.session->events) {
            if (seen.kind == WSXDP_EVENT_ERROR) assert_int_equal(seen.error, WSXDP_E_RESET);
            if (seen.kind == WSXDP_EVENT_MESSAGE) assert_string_equal(seen.data.c_str(), "whole");
        }
        world.need_event(WSXDP_EVENT_OPEN, 2);
        world.server->last()->echo = true;
        assert_int_equal(world.session->send("again"), 0);
        world.need_event(WSXDP_EVENT_MESSAGE, 2);
        assert_int_equal(world.session->count(WSXDP_EVENT_MESSAGE), 2);
        world.close_properly();
    }
}

TEST(refused_first_then_accepted) {
    Plan plan = plan_of(seed_of_run());
    plan.listening = false;
    plan.up = plan.down = delayed(ns_per_ms);
    World world(plan);
    world.need_event(WSXDP_EVENT_RECONNECTING, 3);
    size_t refusals = 0;
    for (const Seen &seen : world.session->events) {
        if (seen.kind != WSXDP_EVENT_ERROR) continue;
        assert_int_equal(seen.error, WSXDP_E_REFUSED);
        assert_true(contains(seen.data, "10.0.0.2:443"));
        assert_true(contains(seen.data, "Connection refused (111)"));
        refusals++;
    }
    assert_true(refusals >= 1);
    assert_int_equal(world.session->count(WSXDP_EVENT_OPEN), 0);
    world.server->listening = true;
    Flow(&world, 50).run(60 * second);
    world.close_properly();
}

TEST(nobody_answers) {
    Plan plan = plan_of(seed_of_run());
    plan.up.loss.ppm = sim_ppm;
    plan.options = {{"reconnect", "no"}, {"connect.attempt_timeout_ns", "2s"}};
    World world(plan);
    world.need_event(WSXDP_EVENT_CLOSE);
    assert_int_equal(world.session->events.back().error, WSXDP_E_CONNECT_TIMEOUT);
    assert_true(world.seconds() > 1.9 && world.seconds() < 2.1);
    world.check_given_back();
}

TEST(no_address_of_that_family) {
    Plan plan = plan_of(seed_of_run());
    plan.ipv6 = true;
    plan.options = {{"reconnect", "no"}};
    World world(plan);
    world.client.address_count = 1; // IPv4 only
    world.need_event(WSXDP_EVENT_CLOSE);
    assert_int_equal(world.session->events.back().error, WSXDP_E_UNREACHABLE);
    world.check_given_back();
}

// ---- flow ----

TEST(a_slow_consumer_closes_the_window_and_loses_nothing) {
    for (bool tls : {false, true}) {
        Plan plan = plan_of(seed_of_run(), tls);
        plan.up = plan.down = delayed(ns_per_ms);
        plan.options = patient({{"inbox.bytes", "65536"}});
        plan.client_tcp.receive_bytes = 65536;
        World world(plan);
        world.need_event(WSXDP_EVENT_OPEN);
        Flow flow(&world, 2000);
        flow.peer = world.server->last();
        flow.ahead = 4 << 20;
        flow.send_down();
        world.polling = false;
        world.pass(60 * second);
        Peer *peer = world.server->last();
        assert_non_null(peer->c);
        assert_int_equal(peer->c->send_window, 0);
        assert_true(peer->c->stats.window_probes > 0);
        assert_int_equal(world.session->count(WSXDP_EVENT_MESSAGE), 0);
        world.polling = true;
        flow.run(60 * second);
        no_trouble(world);
        world.close_properly();
    }
}

TEST(a_slow_server_refuses_writes_and_loses_nothing) {
    for (bool tls : {false, true}) {
        Plan plan = plan_of(seed_of_run(), tls);
        plan.up = plan.down = delayed(ns_per_ms);
        plan.options = patient({{"outbox.bytes", "65536"}});
        plan.server_tcp.receive_bytes = 65536;
        plan.client_tcp.send_bytes = 65536;
        World world(plan);
        world.need_event(WSXDP_EVENT_OPEN);
        Flow flow(&world, 2000);
        flow.peer = world.server->last();
        flow.peer->reading = false;
        world.run([&] { return flow.step(true); }, 60 * second);
        assert_int_equal(flow.got_up, 0);
        assert_true(flow.sent_up > 10 && flow.sent_up < flow.count); // E_AGAIN in the end
        assert_int_equal(flow.got_down, flow.count);                 // the other direction does not care
        flow.peer->reading = true;
        flow.run(120 * second);
        no_trouble(world);
        world.close_properly();
    }
}

// Before it is open, too, what TCP refused has to be offered again.
TEST(an_upgrade_request_larger_than_the_send_buffer) {
    for (bool tls : {false, true}) {
        Plan plan = plan_of(seed_of_run(), tls);
        plan.up = plan.down = delayed(ns_per_ms);
        plan.options = patient({{"header.x-long", std::string(10000, 'h')}});
        plan.client_tcp.send_bytes = 2048;
        World world(plan);
        Flow(&world, 50).run(60 * second);
        assert_true(contains(world.server->last()->head, std::string(10000, 'h')));
        no_trouble(world);
        world.close_properly();
    }
}

TEST(messages_of_a_megabyte) {
    for (bool lossy : {false, true}) {
        Plan plan = plan_of(seed_of_run(), true);
        plan.up = plan.down = delayed(2 * ns_per_ms);
        if (lossy) plan.up.loss.ppm = plan.down.loss.ppm = 10000;
        plan.options = patient({{"outbox.bytes", "4MiB"}});
        World world(plan);
        world.need_event(WSXDP_EVENT_OPEN);
        Peer *peer = world.server->last();
        peer->echo = true;
        std::string big[3];
        for (int i = 0; i < 3; i++) {
            big[i] = message_of(plan.seed, 'u', static_cast<size_t>(i), 2);
            while (big[i].size() < 1 << 20) big[i] += std::to_string(big[i].size() * 7 + i);
            assert_int_equal(world.session->send(big[i], WSXDP_BINARY), 0);
        }
        world.need_event(WSXDP_EVENT_MESSAGE, 3, 120 * second);
        size_t at = 0;
        for (const Seen &seen : world.session->events)
            if (seen.kind == WSXDP_EVENT_MESSAGE) assert_true(seen.data == big[at++]);
        no_trouble(world);
        world.close_properly();
    }
}

TEST(eight_connections_at_once) {
    Plan plan = plan_of(seed_of_run());
    plan.options = patient();
    plan.frames = 8192;
    sim_path_draw(&plan.up, SimKind::wan, plan.seed);
    sim_path_draw(&plan.down, SimKind::lossy, plan.seed);
    World world(plan);
    std::vector<uint32_t> ids;
    for (int i = 1; i < 8; i++) {
        uint32_t id = 0;
        assert_int_equal(wsxdp_connect(world.session->handle, world.url().c_str(), nullptr, &id), 0);
        ids.push_back(id);
    }
    world.need_event(WSXDP_EVENT_OPEN, 8);
    for (const Seen &seen : world.session->events)
        if (seen.kind == WSXDP_EVENT_OPEN && std::find(ids.begin(), ids.end(), seen.conn) == ids.end())
            ids.push_back(seen.conn);
    assert_int_equal(ids.size(), 8);
    // Whose peer is whose, each connection says itself.
    for (uint32_t id : ids) assert_int_equal(world.session->send(std::to_string(id), WSXDP_TEXT, id), 0);
    world.need("introductions", [&] {
        for (auto &peer : world.server->peers)
            if (peer->messages.empty()) return false;
        return world.server->peers.size() == 8;
    });
    std::vector<Flow> flows;
    for (auto &peer : world.server->peers) {
        Flow flow(&world, 100);
        flow.conn = static_cast<uint32_t>(std::stoul(peer->messages.front()));
        flow.peer = peer.get();
        peer->messages.pop_front();
        flows.push_back(flow);
    }
    world.need(
        "all messages",
        [&] {
            bool all = true;
            for (Flow &flow : flows) all &= flow.step(true);
            return all;
        },
        300 * second);
    for (Flow &flow : flows) flow.check();
    for (uint32_t id : ids) assert_int_equal(wsxdp_close(world.session->handle, id, 1000, "", 0), 0);
    world.need_event(WSXDP_EVENT_CLOSE, 8, 300 * second);
    assert_int_equal(world.session->count(WSXDP_EVENT_ERROR), 0);
    world.check_given_back();
}

// ---- closing ----

TEST(the_close_handshake_survives_loss) {
    for (uint64_t i = 0; i < 20; i++) {
        Plan plan = plan_of(seed_of_run() * 100 + i, i % 2 == 0);
        plan.options = patient();
        plan.up = plan.down = delayed(5 * ns_per_ms);
        plan.up.loss.ppm = plan.down.loss.ppm = 200000;
        World world(plan);
        world.need_event(WSXDP_EVENT_OPEN, 1, 200 * second);
        if (i % 4 < 2) {
            world.close_properly(200 * second);
            assert_int_equal(world.server->last()->close_code, 1000);
        } else {
            // The server begins; a code that says not to come back.
            world.server->last()->close(1000);
            world.need(
                "the close", [&] { return world.session->count(WSXDP_EVENT_RECONNECTING) != 0; },
                200 * second);
            assert_int_equal(world.session->count(WSXDP_EVENT_ERROR), 0);
            assert_int_equal(world.server->peers[0]->close_code, 1000);
        }
    }
}

// Far more openings than a host has connections, whichever side is left in TIME-WAIT.
TEST(many_openings_reuse_connections) {
    for (bool client_first : {false, true}) {
        Plan plan = plan_of(seed_of_run(), false);
        plan.up = plan.down = delayed(ns_per_ms);
        plan.options = {{"reconnect", "no"}, {"close.timeout_ns", "50ms"}};
        // Our TIME-WAIT is a client's and takes no new connection from the same port, as a server's does (RFC
        // 6191): the client's random ports must not meet it.
        plan.server_tcp.time_wait = 10 * ns_per_ms;
        World world(plan);
        world.server->lingers = client_first;
        world.need_event(WSXDP_EVENT_OPEN);
        assert_int_equal(wsxdp_close(world.session->handle, 0, 1000, "", 0), 0);
        world.need_event(WSXDP_EVENT_CLOSE);
        for (size_t i = 2; i <= 200; i++) {
            uint32_t id = 0;
            assert_int_equal(wsxdp_connect(world.session->handle, world.url().c_str(), nullptr, &id), 0);
            world.need_event(WSXDP_EVENT_OPEN, i);
            assert_int_equal(wsxdp_close(world.session->handle, id, 1000, "", 0), 0);
            world.need_event(WSXDP_EVENT_CLOSE, i);
        }
        assert_true(world.seconds() < 30); // all within one TIME-WAIT
        assert_int_equal(world.session->count(WSXDP_EVENT_ERROR), 0);
        world.check_given_back();
    }
}

TEST(a_host_whose_connections_are_all_in_use_says_so) {
    Plan plan = plan_of(seed_of_run(), false);
    plan.options = {{"reconnect", "no"}};
    World world(plan);
    world.need_event(WSXDP_EVENT_OPEN);
    while (sim_host_connect(&world.client, ip4_address(10, 0, 0, 2), 80, world.now) != nullptr) {
    }
    uint32_t id = 0;
    assert_int_equal(wsxdp_connect(world.session->handle, world.url().c_str(), nullptr, &id), 0);
    world.need_event(WSXDP_EVENT_CLOSE);
    assert_int_equal(world.session->events.back().error, WSXDP_E_MEMORY);
    assert_true(contains(world.session->events.back().data, "connecting to 10.0.0.2:443"));
}

// ---- determinism ----

static FixedRandom tls_random;
static int fixed_bytes(unsigned char *out, int size) {
    tls_random.fill(&tls_random, out, static_cast<size_t>(size));
    return 1;
}
static int always_ready() { return 1; }

static std::string capture_of(const Plan &base) {
    std::string file;
    PcapWriter writer;
    writer.context = &file;
    writer.write = [](void *context, ByteView bytes) {
        static_cast<std::string *>(context)->append(reinterpret_cast<const char *>(bytes.data), bytes.size);
    };
    Plan plan = base;
    plan.up.capture_entry = plan.down.capture_entry = &writer;
    World world(plan);
    Flow(&world, 100).run(1800 * second);
    world.close_properly(1800 * second);
    return file;
}

static void same_twice(bool tls) {
    scripted::TlsSide side(certs(), "good");
    SSL_CTX_set_num_tickets(side.context, 0); // they hold the real time
    std::string first;
    for (uint64_t i = 0; i < 6; i++) {
        uint64_t seed = sim_seed(seed_of_run(), i);
        Plan plan = plan_of(seed, tls);
        plan.side = &side;
        plan.options = patient();
        be_patient(&plan);
        sim_path_draw(&plan.up, SimKind::everything, sim_seed(seed, 1));
        sim_path_draw(&plan.down, SimKind::everything, sim_seed(seed, 2));
        fixed_random_open(&tls_random, seed);
        std::string one = capture_of(plan);
        fixed_random_open(&tls_random, seed);
        std::string two = capture_of(plan);
        assert_true(one.size() > 20000);
        if (one != two) fail_msg("seed %llu: two runs differ", static_cast<unsigned long long>(seed));
        assert_true(one != first); // another seed is another run
        first = one;
    }
}
TEST(the_same_seed_gives_the_same_packets) { same_twice(false); }
TEST(the_same_seed_gives_the_same_packets_with_tls) {
    static const RAND_METHOD method = {nullptr, fixed_bytes, nullptr, nullptr, fixed_bytes, always_ready};
    certs(); // with real random numbers
    const RAND_METHOD *usual = RAND_get_rand_method();
    RAND_set_rand_method(&method);
    same_twice(true);
    RAND_set_rand_method(usual);
}

TESTS("simulated")
