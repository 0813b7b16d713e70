// SPDX-License-Identifier: MIT
// The simulated link by itself, between two hosts: connecting and every way that it fails, bytes both ways,
// the end of the stream, resets, deadlines, short writes, and that nothing is left behind.
#include "../../lib/link/sim.h"
#include "../../lib/link/sim_link.h"
#include "../../lib/link/tcp_cause.h"
#include "../base/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string>
#include <utility>

using namespace wx;

namespace {

constexpr Nanos second = ns_per_s;
constexpr uint16_t port = 80;

Address address_of(const char *text) {
    Address address;
    memset(&address.storage, 0, sizeof address.storage);
    sockaddr_in *v4 = reinterpret_cast<sockaddr_in *>(&address.storage);
    sockaddr_in6 *v6 = reinterpret_cast<sockaddr_in6 *>(&address.storage);
    if (inet_pton(AF_INET, text, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons(port);
        address.size = sizeof *v4;
    } else {
        assert_int_equal(inet_pton(AF_INET6, text, &v6->sin6_addr), 1);
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons(port);
        address.size = sizeof *v6;
    }
    return address;
}

struct World {
    Nanos now = second;
    SimNetwork network;
    SimHost host[2];
    TcpConnection *server = nullptr;
    Channel channel;
    ErrorText error;
    int cause = 0;

    explicit World(const TcpConfig &tcp = TcpConfig(), bool listening = true) {
        SimNetworkOptions options;
        options.start = now;
        assert_int_equal(sim_network_open(&network, options), 0);
        for (unsigned end = 0; end < 2; end++) {
            SimHostOptions each;
            each.tcp = tcp;
            each.connections = 2;
            each.receive_frames = each.send_frames = 256;
            each.seed = end + 1;
            assert_int_equal(sim_host_open(&host[end], each), 0);
            uint8_t v6[16] = {0xFD};
            v6[15] = static_cast<uint8_t>(end + 1);
            sim_host_address(&host[end], ip4_address(10, 0, 0, static_cast<uint8_t>(end + 1)));
            sim_host_address(&host[end], ip_address(v6, 6));
            host[end].out = sim_network_entrance(&network, end);
            sim_network_attach(&network, end, &host[end]);
        }
        if (listening) server = sim_host_listen(&host[1], port);
        step();
    }
    ~World() {
        sim_link.close(&channel, true);
        step();
        assert_int_equal(sim_host_frames_out(&host[0]), 0);
        assert_int_equal(host[0].double_releases, 0);
        sim_host_close(&host[0]);
        sim_host_close(&host[1]);
        sim_network_close(&network);
    }
    World(const World &) = delete;
    World &operator=(const World &) = delete;

    void step() {
        do {
            sim_host_step(&host[0], now);
            sim_host_step(&host[1], now);
        } while (sim_network_run(&network, now) != 0);
    }
    void pass(Nanos time) {
        for (Nanos until = now + time; now < until;) {
            step();
            Nanos next = sim_network_deadline(network);
            for (SimHost &each : host)
                if (sim_host_deadline(&each) < next) next = sim_host_deadline(&each);
            now = next < until ? next : until;
        }
        step();
    }
    int open(const char *to = "10.0.0.2") {
        LinkOptions options;
        options.context = &host[0];
        return sim_link.open(address_of(to), options, &channel, &error);
    }
    void connect(const char *to = "10.0.0.2") {
        assert_int_equal(open(to), 0);
        assert_int_equal(channel.fd, -1);
        assert_int_equal(sim_link.finish(&channel, &error), 0);
        step();
        assert_int_equal(sim_link.finish(&channel, &error), 1);
        assert_false(sim_link.readable(&channel));
    }
    int64_t write(const std::string &bytes) {
        return sim_link.write(&channel, reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size(),
                              &cause);
    }
    int64_t read(std::string *out = nullptr, size_t cap = 65536) {
        std::string room(cap, 0);
        ReadStamps stamps;
        stamps.kernel_ns = 1;
        int64_t got = sim_link.read(&channel, reinterpret_cast<uint8_t *>(&room[0]), cap, &stamps, &cause);
        assert_int_equal(stamps.kernel_ns, 0);
        if (out != nullptr && got > 0) out->append(room, 0, static_cast<size_t>(got));
        return got;
    }
    void server_writes(const std::string &bytes) {
        ByteView view(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
        assert_int_equal(sim_host_write(&host[1], server, view), bytes.size());
        step();
    }
};

void bytes_go_both_ways(void **) {
    for (const char *to : {"10.0.0.2", "fd00::2"}) {
        World world;
        world.connect(to);
        assert_int_equal(world.write("hello"), 5);
        world.step();
        uint8_t part[100];
        assert_int_equal(sim_host_read(&world.host[1], world.server, ByteSpan(part, sizeof part)), 5);
        assert_memory_equal(part, "hello", 5);
        assert_int_equal(world.read(), 0);
        world.server_writes("answer");
        assert_true(sim_link.readable(&world.channel));
        std::string got;
        assert_int_equal(world.read(&got, 4), 4);
        ReadStamps stamps;
        assert_int_equal(sim_link.read(&world.channel, part, 0, &stamps, &world.cause), 0);
        assert_int_equal(world.read(&got, 100), 2);
        assert_string_equal(got.c_str(), "answer");
        assert_int_equal(world.read(), 0);
    }
}

void fails(World *world, int code, int cause, const char *part) {
    int status = sim_link.finish(&world->channel, &world->error);
    assert_int_equal(status, code);
    assert_int_equal(world->error.code, code);
    assert_int_equal(world->error.system_errno, cause);
    assert_non_null(strstr(world->error.text, part));
    assert_true(sim_link.readable(&world->channel));
}

void nobody_listens(void **) {
    World world(TcpConfig(), false);
    assert_int_equal(world.open(), 0);
    world.step();
    fails(&world, WSXDP_E_REFUSED, ECONNREFUSED, "refused");
}

void nobody_answers(void **) {
    TcpConfig tcp;
    tcp.syn_tries = 2;
    World world(tcp);
    SimPathOptions dead;
    dead.loss.ppm = sim_ppm;
    sim_path_set(sim_network_path(&world.network, 0, 1), dead);
    assert_int_equal(world.open(), 0);
    world.pass(2 * second);
    assert_int_equal(sim_link.finish(&world.channel, &world.error), 0);
    world.pass(60 * second);
    fails(&world, WSXDP_E_CONNECT_TIMEOUT, ETIMEDOUT, "timed out");
}

void causes_of_ends(void **) {
    TcpConnection c;
    const struct {
        TcpEnd end;
        IcmpKind icmp;
        int cause;
    } rows[] = {
        {TcpEnd::closed, IcmpKind::host_unreachable, 0},
        {TcpEnd::reset, IcmpKind::host_unreachable, ECONNRESET},
        {TcpEnd::refused, IcmpKind::host_unreachable, ECONNREFUSED},
        {TcpEnd::unreachable, IcmpKind::host_unreachable, EHOSTUNREACH},
        {TcpEnd::unreachable, IcmpKind::network_unreachable, ENETUNREACH},
        {TcpEnd::unreachable, IcmpKind::port_unreachable, ECONNREFUSED},
        {TcpEnd::unreachable, IcmpKind::prohibited, EHOSTUNREACH},
        {TcpEnd::user_timeout, IcmpKind::host_unreachable, ETIMEDOUT},
        {TcpEnd::keepalive, IcmpKind::host_unreachable, ETIMEDOUT},
        {TcpEnd::fin_timeout, IcmpKind::host_unreachable, ETIMEDOUT},
    };
    for (const auto &row : rows) {
        c.end = row.end;
        c.icmp = row.icmp;
        assert_int_equal(tcp_cause(&c), row.cause);
    }
}

void refusals_to_open(void **) {
    World world;
    assert_int_equal(world.open("0.0.0.0"), WSXDP_E_UNREACHABLE);
    assert_non_null(strstr(world.error.text, "connecting to 0.0.0.0:80"));
    world.host[0].address_count = 1; // no IPv6
    assert_int_equal(world.open("fd00::2"), WSXDP_E_UNREACHABLE);
    assert_non_null(strstr(world.error.text, "connecting to [fd00::2]:80"));
    assert_int_equal(world.error.system_errno, EADDRNOTAVAIL);
    Address local;
    memset(&local.storage, 0, sizeof local.storage);
    local.storage.ss_family = AF_UNIX;
    LinkOptions options;
    options.context = &world.host[0];
    assert_int_equal(sim_link.open(local, options, &world.channel, &world.error), WSXDP_E_UNREACHABLE);
    world.host[0].held[0] = world.host[0].held[1] = true;
    assert_int_equal(world.open(), WSXDP_E_MEMORY);
    assert_null(world.channel.state);
}

void what_came_before_the_end_is_read(void **) {
    for (bool reset : {false, true}) {
        World world;
        world.connect();
        world.server_writes("last words");
        if (reset)
            tcp_abort(world.server);
        else
            tcp_finish(world.server);
        world.step();
        std::string got;
        assert_int_equal(world.read(&got), 10);
        assert_true(sim_link.readable(&world.channel));
        assert_int_equal(world.read(), reset ? WSXDP_E_RESET : WSXDP_E_EOF);
        if (reset) assert_int_equal(world.cause, ECONNRESET);
        assert_int_equal(world.write("x"), reset ? static_cast<int>(WSXDP_E_RESET) : 1); // half closed
    }
}

void silence_is_found_dead(void **) {
    TcpConfig tcp;
    tcp.user_timeout = 5 * second;
    World world(tcp);
    world.connect();
    SimPathOptions dead;
    dead.loss.ppm = sim_ppm;
    sim_path_set(sim_network_path(&world.network, 0, 1), dead);
    assert_int_equal(world.write("x"), 1);
    world.pass(4 * second);
    assert_int_equal(world.read(), 0);
    world.pass(2 * second);
    assert_int_equal(world.read(), WSXDP_E_DEAD);
    assert_int_equal(world.cause, ETIMEDOUT);
    assert_int_equal(world.write("x"), WSXDP_E_DEAD);
}

void a_write_takes_what_fits(void **) {
    TcpConfig tcp;
    tcp.send_bytes = 20000;
    tcp.receive_bytes = 20000;
    World world(tcp);
    world.connect();
    const std::string much(100000, 'x');
    int64_t taken = 0, part;
    do {
        part = world.write(much.substr(static_cast<size_t>(taken)));
        taken += part;
        world.step();
    } while (part != 0);
    assert_true(taken >= 20000 && taken <= 40000); // one buffer here, one there
    uint8_t room[4096];
    while (sim_host_read(&world.host[1], world.server, ByteSpan(room, sizeof room)) != 0) {
    }
    world.step();
    assert_true(world.write(much) > 0);
}

// The object is given back whatever state the connection is in; the connection, once it is over.
void closing(void **) {
    for (bool reset : {false, true}) {
        World world;
        world.connect();
        TcpConnection *c = &world.host[0].connections[0];
        sim_link.close(&world.channel, reset);
        assert_null(world.channel.state);
        sim_link.close(&world.channel, reset); // nothing
        world.step();
        assert_int_equal(static_cast<int>(world.server->state),
                         static_cast<int>(reset ? TcpState::closed : TcpState::close_wait));
        if (reset) continue;
        tcp_finish(world.server);
        world.step();
        assert_int_equal(static_cast<int>(c->state), static_cast<int>(TcpState::time_wait));
        // Two more: one finds the free place, one that of the connection in TIME-WAIT.
        Channel other;
        assert_int_equal(world.open(), 0);
        other = world.channel;
        assert_int_equal(world.open(), 0);
        assert_int_equal(world.host[0].tcp.time_wait.count, 1);
        sim_link.close(&other, true);
    }
}

// Over, but nobody has asked why: it must not become somebody else's connection meanwhile.
void an_ended_connection_is_kept_for_its_owner(void **) {
    World world;
    world.connect();
    Channel first = world.channel;
    tcp_abort(world.server);
    world.step();
    assert_int_equal(static_cast<int>(world.host[0].connections[0].state),
                     static_cast<int>(TcpState::closed));
    assert_int_equal(world.open(), 0);
    world.step();
    assert_int_equal(sim_link.finish(&world.channel, &world.error), WSXDP_E_REFUSED);
    Channel third;
    LinkOptions options;
    options.context = &world.host[0];
    assert_int_equal(sim_link.open(address_of("10.0.0.2"), options, &third, &world.error), WSXDP_E_MEMORY);
    std::swap(first, world.channel);
    assert_int_equal(world.read(), WSXDP_E_RESET);
    sim_link.close(&first, false);
    assert_int_equal(sim_link.open(address_of("10.0.0.2"), options, &third, &world.error), 0);
    sim_link.close(&third, true);
}

void unread_bytes_are_given_back(void **) {
    for (bool reset : {false, true}) {
        World world;
        world.connect();
        world.server_writes("nobody reads this");
        assert_true(sim_host_frames_out(&world.host[0]) != 0);
        sim_link.close(&world.channel, reset);
        world.step();
        assert_int_equal(sim_host_frames_out(&world.host[0]), 0);
        assert_int_equal(static_cast<int>(world.server->end), static_cast<int>(TcpEnd::reset));
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(bytes_go_both_ways),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(causes_of_ends),
        cmocka_unit_test(refusals_to_open),
        cmocka_unit_test(what_came_before_the_end_is_read),
        cmocka_unit_test(silence_is_found_dead),
        cmocka_unit_test(a_write_takes_what_fits),
        cmocka_unit_test(closing),
        cmocka_unit_test(an_ended_connection_is_kept_for_its_owner),
        cmocka_unit_test(unread_bytes_are_given_back),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
