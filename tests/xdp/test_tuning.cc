// SPDX-License-Identifier: MIT
// What a handle does to an interface for the sake of latency, over veth: busy polling with NAPI's interrupts
// put off and put back, and frames that trickle to our own address. veth has NAPIs of its own, program or
// not, while its GRO is on.
#include "../../lib/host/nic_facts.h"
#include "../../lib/pipeline/xdp.h"
#include "../../lib/wire/udp.h"
#include "../base/check.h"
#include "../base/registry.h"
#include "ledger.h"
#include "world.h"
#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace netns;

namespace {

const OptionList deferring = {{"xdp.mode", "driver"},
                              {"xdp.busy_poll", "yes"},
                              {"xdp.napi_defer_hard_irqs", "2"},
                              {"xdp.gro_flush_timeout_ns", "200us"}};

OptionList with(OptionList first, const OptionList &more) {
    first.insert(first.end(), more.begin(), more.end());
    return first;
}

struct Tuned : World {
    explicit Tuned(const VethOptions &options = VethOptions()) : World(options) {
        veth.here.run("ethtool -K xdp0 gro on");
        need_values(0, 0);
    }
    void need_values(uint32_t defer, uint64_t flush) const {
        wx::NicFacts facts;
        wx::ErrorText error;
        assert_int_equal(wx::nic_facts_read("xdp0", &facts, &error), 0);
        assert_int_equal(facts.defer_hard_irqs, defer);
        assert_int_equal(facts.gro_flush_timeout_ns, flush);
    }
};

void check_echo(Session &session, const std::string &text, uint32_t conn = 0) {
    assert_int_equal(session.send(text, WSXDP_TEXT, conn), 0);
    assert_true(session.need(WSXDP_EVENT_MESSAGE, 5000, conn).data == text);
}

void spin(Session &session, int64_t ms) {
    for (const int64_t until = now_ms() + ms; now_ms() < until;) session.poll(0);
}

} // namespace

// ---- busy polling

static void defers_and_restores(const OptionList &more, unsigned queues) {
    need();
    VethOptions veth;
    veth.queues = queues;
    Tuned world(veth);
    auto server = world.serve(echo_messages);
    {
        Session session(World::url(*server), World::options(with(deferring, more)));
        const uint32_t first = session.need(WSXDP_EVENT_OPEN).conn;
        world.need_values(2, 200000);
        uint32_t second = 0;
        assert_int_equal(wsxdp_connect(session.handle, World::url(*server).c_str(), nullptr, &second), 0);
        session.need(WSXDP_EVENT_OPEN, 5000, second);
        for (int i = 0; i < 50; i++)
            check_echo(session, std::string(static_cast<size_t>(i) * 60, 'a'), second);
        wsxdp_close(session.handle, second, 1000, "", 0);
        session.need(WSXDP_EVENT_CLOSE, 5000, second);
        world.need_values(2, 200000); // the other connection is on the same interface
        check_echo(session, "still there", first);
    }
    world.need_values(0, 0);
}
TEST(interrupts_are_put_off_and_put_back) { defers_and_restores({}, 1); }
TEST(also_of_a_caller_that_spins) { defers_and_restores({{"wait", "spin"}}, 1); }
TEST(also_of_several_queues) { defers_and_restores({}, 2); }

// A driver whose interrupts are off runs when it is polled: also when nothing has arrived.
TEST(a_poll_runs_the_driver) {
    need();
    Tuned world;
    auto server = world.serve(echo_messages);
    for (const char *choice : {"yes", "no", "auto"}) { // auto: not on a virtual interface
        Session session(
            World::url(*server),
            World::options({{"xdp.mode", "driver"}, {"xdp.busy_poll", choice}, {"wait", "spin"}}));
        session.need(WSXDP_EVENT_OPEN);
        check_echo(session, "before");
        const uint64_t before = Counters(session)["fill_kicks"];
        spin(session, 50);
        const uint64_t polls = Counters(session)["fill_kicks"] - before;
        if (strcmp(choice, "yes") == 0 && polls < 100) throw Late{static_cast<int64_t>(polls), 100};
        if (strcmp(choice, "yes") != 0 && polls > 20)
            fail_msg("xdp.busy_poll=%s: %llu system calls in 50 ms", choice,
                     static_cast<unsigned long long>(polls));
        check_echo(session, "after");
    }
}

TEST(auto_leaves_a_virtual_interface_as_it_is) {
    need();
    Tuned world;
    auto server = world.serve(echo_messages);
    Session session(World::url(*server), World::options(with(deferring, {{"xdp.busy_poll", "auto"}})));
    session.need(WSXDP_EVENT_OPEN);
    world.need_values(0, 0);
    check_echo(session, "as ever");
}

TEST(an_interface_that_was_down_is_tuned_again) {
    need();
    Tuned world;
    auto server = world.serve(echo_messages);
    Session session(World::url(*server), World::options(deferring));
    session.need(WSXDP_EVENT_OPEN);
    world.veth.here.run("ip link set xdp0 down");
    session.need(WSXDP_EVENT_NOTICE);
    world.veth.here.run("ip link set xdp0 up");
    // veth's NAPIs are new. Who runs the stages elsewhere may have been there already.
    if (test_placement().empty()) world.need_values(0, 0);
    session.need(WSXDP_EVENT_NOTICE);
    world.need_values(2, 200000);
}

TEST(a_failed_open_leaves_nothing) {
    need();
    World world; // without GRO there is no NAPI in generic mode
    world.veth.here.run("ethtool -K xdp0 gro off");
    auto server = world.serve(echo_messages);
    {
        Session session(World::url(*server), World::options(with(deferring, {{"xdp.mode", "generic"},
                                                                             {"reconnect.initial", "no"}})));
        const Seen &error = session.need(WSXDP_EVENT_ERROR);
        assert_int_equal(error.error, WSXDP_E_UNSUPPORTED);
        assert_non_null(strstr(error.data.c_str(), "xdp0: it has no NAPI that could be polled"));
        assert_true(world.veth.here.run("ip -d link show xdp0").find("xdp/id") == std::string::npos);
    }
    Session session(World::url(*server), World::options({{"xdp.mode", "generic"}}));
    session.need(WSXDP_EVENT_OPEN);
}

TEST(what_others_have_set_is_not_overwritten) {
    need();
    Tuned world;
    auto server = world.serve(echo_messages);
    {
        Session first(World::url(*server), World::options(deferring));
        first.need(WSXDP_EVENT_OPEN);
        Session second(World::url(*server),
                       World::options(with(deferring, {{"xdp.napi_defer_hard_irqs", "9"}})));
        second.need(WSXDP_EVENT_ERROR); // one program on an interface
        world.need_values(2, 200000);
    }
    world.need_values(0, 0);
}

static void refused(const OptionList &options, int code, const char *part) {
    Session session("ws://127.0.0.1:1/", World::options(options));
    assert_int_equal(session.status, code);
    if (!strstr(session.text.c_str(), part)) fail_msg("said '%s', not '%s'", session.text.c_str(), part);
}
TEST(deferring_without_polling_is_refused) {
    need();
    World world;
    const char *why = "set xdp.busy_poll=yes as well";
    refused({{"xdp.napi_defer_hard_irqs", "2"}}, WSXDP_E_INVALID, why);
    refused({{"xdp.gro_flush_timeout_ns", "200us"}}, WSXDP_E_INVALID, why);
}
TEST(values_out_of_range_are_refused) {
    const struct {
        const char *name, *good, *bad;
    } rows[] = {{"xdp.napi_defer_hard_irqs", "65535", "65536"}, {"xdp.gro_flush_timeout_ns", "1s", "1001ms"},
                {"xdp.trickle_interval_ns", "10us", "9999"},    {"xdp.trickle_interval_ns", "1s", "0"},
                {"xdp.busy_poll", "auto", "perhaps"},           {"xdp.trickle", "yes", "perhaps"}};
    wsxdp_config *config = wsxdp_config_new();
    for (const auto &row : rows) {
        assert_int_equal(wsxdp_config_set(config, row.name, row.good), 0);
        assert_int_equal(wsxdp_config_set(config, row.name, row.bad), WSXDP_E_OPTION_RANGE);
    }
    wsxdp_config_free(config);
}

// ---- trickle

// What the other end of the veth sees.
struct Wiretap {
    int fd = -1;
    uint8_t mac[6]; // of xdp0
    explicit Wiretap(const World &world) {
        const std::string text = world.veth.here.run("cat /proc/net/dev >/dev/null; ip -br link show xdp0");
        const size_t at = text.find(':');
        unsigned part[6];
        assert_int_equal(sscanf(text.c_str() + at - 2, "%x:%x:%x:%x:%x:%x", &part[0], &part[1], &part[2],
                                &part[3], &part[4], &part[5]),
                         6);
        for (int i = 0; i < 6; i++) mac[i] = static_cast<uint8_t>(part[i]);
        Inside there(world.veth.there);
        fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, htons(ETH_P_ALL));
        sockaddr_ll address = {};
        address.sll_family = AF_PACKET;
        address.sll_protocol = htons(ETH_P_ALL);
        address.sll_ifindex = static_cast<int>(if_nametoindex("peer0"));
        assert_int_equal(bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address), 0);
    }
    ~Wiretap() { close(fd); }

    static void check(wx::ByteView frame) {
        using namespace wx;
        assert_in_range(frame.size, 60, 64);
        IpPacket ip;
        UdpDatagram udp;
        assert_true(ip_read(frame.from(14), ChecksumPolicy::verify, &ip) == Wire::ok);
        assert_int_equal(ip.protocol, ip_udp);
        assert_true(ip.source_address() == ip.destination_address());
        assert_true(udp_read(ip, ChecksumPolicy::verify, &udp) == Wire::ok);
        assert_int_equal(udp.destination_port, 9);
        assert_int_equal(udp.payload.size, 1);
    }
    // Frames from xdp0 to itself since the last call, each of which must be as it should.
    int count() {
        uint8_t frame[4096];
        int found = 0;
        for (ssize_t got; (got = recv(fd, frame, sizeof frame, 0)) > 0;) {
            if (got < 14 || memcmp(frame, mac, 6) != 0 || memcmp(frame + 6, mac, 6) != 0) continue;
            check(wx::ByteView(frame, static_cast<size_t>(got)));
            found++;
        }
        return found;
    }
};

static void sleep_with(Session &session, int64_t ms) {
    for (const int64_t until = now_ms() + ms; now_ms() < until;) session.poll(until - now_ms());
}

static void trickles(const char *address, const OptionList &more, unsigned queues) {
    need();
    VethOptions veth;
    veth.queues = queues;
    World world(veth);
    auto server = world.serve(echo_messages, nullptr, address);
    Session session(
        World::url(*server, address),
        World::options(with({{"xdp.trickle", "yes"}, {"xdp.trickle_interval_ns", "10ms"}}, more)));
    session.need(WSXDP_EVENT_OPEN);
    sleep_with(session, 50);
    Wiretap tap(world);
    const uint64_t before = Counters(session)["trickles"];
    const int64_t began = now_ms();
    sleep_with(session, 300);
    const int64_t most = static_cast<int64_t>(queues) * ((now_ms() - began) / 10 + 1);
    const int seen = tap.count();
    // A machine with others on it may be late, but never sends sooner.
    if (seen < most / 4) throw Late{seen, most / 4};
    assert_in_range(seen, most / 4, most);
    const uint64_t counted = Counters(session)["trickles"] - before;
    // Who runs the stages elsewhere sends between our two looks as well, before as after.
    const int64_t between = test_placement().empty() ? 0 : static_cast<int64_t>(queues);
    assert_in_range(counted, seen - between, seen + static_cast<int64_t>(queues) + between);
    for (int i = 0; i < 20; i++) check_echo(session, "in between");
    wsxdp_close(session.handle, 0, 1000, "", 0);
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE).error, 0);
    sleep_with(session, 50); // what is under way comes to an end
    tap.count();
    sleep_with(session, 100);
    assert_int_equal(tap.count(), 0); // no connection, no frames
    const Counters after(session);
    assert_int_equal(after["control_out"], 0);
    assert_int_equal(after["double_puts"], 0);
    assert_int_equal(after["bad_descriptors"], 0);
}
TEST(frames_trickle_in_generic_mode) { trickles(there4, {{"xdp.mode", "generic"}}, 1); }
TEST(frames_trickle_in_driver_mode) { trickles(there4, {{"xdp.mode", "driver"}}, 1); }
TEST(frames_trickle_over_ipv6) { trickles(there6, {}, 1); }
TEST(frames_trickle_on_each_queue) { trickles(there4, {{"xdp.mode", "driver"}}, 2); }

TEST(nothing_trickles_unless_it_is_wanted) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    for (const char *choice : {"auto", "no", ""}) {
        OptionList options = {{"xdp.trickle_interval_ns", "1ms"}};
        if (*choice) options.push_back({"xdp.trickle", choice});
        Session session(World::url(*server), World::options(options));
        session.need(WSXDP_EVENT_OPEN);
        Wiretap tap(world);
        sleep_with(session, 100);
        assert_int_equal(tap.count(), 0);
        assert_int_equal(Counters(session)["trickles"], 0);
    }
}

TEST(what_is_sent_takes_the_place_of_a_frame) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    Session session(World::url(*server),
                    World::options({{"xdp.trickle", "yes"}, {"xdp.trickle_interval_ns", "100ms"}}));
    session.need(WSXDP_EVENT_OPEN);
    Wiretap tap(world);
    int seen = 0;
    for (const int64_t until = now_ms() + 500; now_ms() < until;) {
        check_echo(session, "busy");
        seen += tap.count(); // before its buffer is full of echoes
    }
    if (seen > 1) throw Late{seen, 1}; // an echo took longer than the interval
    sleep_with(session, 500);
    assert_in_range(tap.count(), 1, 6);
}

TEST(auto_is_for_igc) {
    assert_true(wx::xdp_trickles(0, "igc"));
    for (const char *driver : {"", "igb", "igcx", "veth", "mlx5_core"})
        assert_false(wx::xdp_trickles(0, driver));
    assert_true(wx::xdp_trickles(1, "veth") && !wx::xdp_trickles(2, "igc"));
}

TESTS_BESIDE("tuning", 4)
