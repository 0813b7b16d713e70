// SPDX-License-Identifier: MIT
// Peers that end, are killed, or are just not there any more, at every stage of a connection: each has its
// code, in the time that the options say, and what comes back is found again.
#include "running.h"
#include <signal.h>

using namespace netns;

namespace {

// A stream over a bridge that can be cut.
struct Bridged {
    BridgeWorld world;
    std::unique_ptr<scripted::Server> server;
    std::unique_ptr<Session> session;
    std::unique_ptr<Stream> stream;
    int64_t silent_since = 0;
    explicit Bridged(const OptionList &more = {}, const char *address = there4) {
        server = world.serve(echo_messages, nullptr, address);
        OptionList options = World::options({{"idle.timeout_ns", "0"}, {"ping.interval_ns", "0"}});
        options.insert(options.end(), more.begin(), more.end());
        session = std::make_unique<Session>(World::url(*server, address), options);
        opens(*session);
        stream = std::make_unique<Stream>(*session);
        stream->need_flow(200000);
    }
    Stream *operator->() { return stream.get(); }
    void cut() {
        silent_since = now_ms();
        world.bridge.cut();
    }
    // Timers run from what was heard or sent last, which is long before the silence when the machine paused.
    void check_time(int64_t least_ms, int64_t most_ms) const {
        const int64_t took = now_ms() - silent_since;
        if (took < least_ms) throw Late{took, least_ms};
        took_ms(took, least_ms, most_ms);
    }
    // The error with this code, not before and not long after.
    const Seen need_error(int code, int64_t least_ms, int64_t most_ms) {
        const Seen error = stream->need_error(code);
        check_time(least_ms, most_ms);
        const Seen &close = session->need(WSXDP_EVENT_CLOSE, patience_ms);
        assert_int_equal(close.error, code);
        assert_int_equal(close.code, 1006);
        return error;
    }
    // The same with nothing to send.
    const Seen need_idle_error(int code, int64_t least_ms, int64_t most_ms) {
        const Seen error = session->need(WSXDP_EVENT_ERROR, patience_ms);
        if (error.error != code) session->print();
        assert_int_equal(error.error, code);
        check_time(least_ms, most_ms);
        return error;
    }
};
constexpr int64_t slack_ms = 2500; // of a machine that has other things to do

void expect_prompt_end(std::unique_ptr<Session> &session) {
    const int64_t begin = now_ms();
    session.reset();
    on_time(begin, 0, 1000);
}

} // namespace

// ---- resets ----

static void reset_mid_stream(const char *address, const char *mode) {
    need();
    World world;
    int connection = 0;
    auto server = world.serve(
        [&](scripted::Wire &wire) {
            wire.upgrade();
            const bool first = connection++ == 0;
            for (int i = 0;; i++) {
                const scripted::Frame f = wire.read_frame();
                if (f.opcode <= 0 || f.opcode == 8) break;
                if (first && i == 50) {
                    wire.reset();
                    return;
                }
                wire.write(scripted::frame(f.opcode, f.payload));
            }
            wire.write(scripted::close_frame(1000));
        },
        nullptr, address);
    Session session(World::url(*server, address), {{"transport", "xdp"},
                                                   {"xdp.mode", mode},
                                                   {"reconnect", "yes"},
                                                   {"reconnect.delay_max_ns", "100ms"}});
    opens(session);
    Stream stream(session);
    const Seen error = stream.need_error(WSXDP_E_RESET);
    assert_true(contains(error.data, "reset"));
    assert_int_equal(session.need(WSXDP_EVENT_RECONNECTING, patience_ms).error, WSXDP_E_RESET);
    session.need(WSXDP_EVENT_OPEN, patience_ms);
    assert_int_equal(session.send("again"), 0);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE, patience_ms).data.c_str(), "again");
    assert_string_equal(session.info("transport").c_str(), "xdp");
    check_consistent(session);
}
TEST(a_reset_in_mid_stream_ipv4) { reset_mid_stream(there4, "driver"); }
TEST(a_reset_in_mid_stream_ipv6) { reset_mid_stream(there6, "driver"); }
TEST(a_reset_in_mid_stream_in_generic_mode) { reset_mid_stream(there4, "generic"); }

TEST(the_peers_process_is_killed) {
    need();
    World world;
    constexpr int port = 7777;
    Child child(world.veth.there, [] {
        scripted::Server server(echo_messages, nullptr, there4, port);
        pause();
        return 0;
    });
    Session session("ws://10.77.0.2:7777/", {{"transport", "xdp"},
                                             {"reconnect", "yes"},
                                             {"reconnect.delay_min_ns", "20ms"},
                                             {"reconnect.delay_max_ns", "50ms"}});
    opens(session);
    Stream stream(session); // also when the child was slower than the first attempt
    stream.pass(100);
    session.looked = session.events.size();
    child.kill(SIGKILL);
    child.wait(); // now its port is closed
    const Seen *error = nullptr;
    const int64_t until = now_ms() + patience_ms;
    while ((error = session.wait(WSXDP_EVENT_ERROR, 0)) == nullptr && now_ms() < until)
        stream.step(UINT64_MAX);
    assert_non_null(error);
    // A reset when it had not read all, else the end of the stream.
    assert_true(error->error == WSXDP_E_RESET || error->error == WSXDP_E_EOF);
    // Nobody listens any more; a thread of its own may have tried between the end of the stream and that of
    // the port, once.
    Seen next = session.need(WSXDP_EVENT_ERROR, patience_ms);
    const bool between = next.error == WSXDP_E_RESET && !test_placement().empty();
    if (between) next = session.need(WSXDP_EVENT_ERROR, patience_ms);
    if (next.error != WSXDP_E_REFUSED) session.print();
    assert_int_equal(next.error, WSXDP_E_REFUSED);
    assert_true(contains(next.data, "10.77.0.2"));
}

// The peer starts anew behind a dead link: what is repeated to it is answered by a host that knows nothing.
TEST(the_peer_forgets_the_connection) {
    need();
    Bridged b(OptionList{{"xdp.rto_min_ns", "20ms"}});
    b.world.bridge.cut();
    b->pass(50);
    b.world.bridge.there.run("ip link set peer0 down"); // what its kernel says meanwhile is lost
    b.server.reset();
    usleep(100000);
    b.world.bridge.there.run("ss -K dst 10.77.0.1 || true; ip link set peer0 up");
    b.world.bridge.mend();
    const Seen error = b->need_error(WSXDP_E_RESET);
    assert_true(contains(error.data, "reset"));
}

// ---- silence ----

static void silent_with_data(const char *address) {
    need();
    Bridged b(OptionList{{"xdp.user_timeout_ns", "3s"}}, address); // longer than a machine may pause
    b->pass(20);
    b.cut();
    const Seen error = b.need_error(WSXDP_E_DEAD, 2900, 3000 + slack_ms);
    assert_true(contains(error.data, "timed out"));
    expect_prompt_end(b.session);
}
TEST(silence_while_data_is_under_way_ipv4) { silent_with_data(there4); }
TEST(silence_while_data_is_under_way_ipv6) { silent_with_data(there6); }

TEST(silence_while_nothing_is_under_way_and_tcp_probes) {
    need();
    Bridged b(OptionList{{"xdp.keepalive_ns", "100ms"}});
    b.cut();
    b.need_idle_error(WSXDP_E_DEAD, 800, 1000 + slack_ms);
}
TEST(silence_while_nothing_is_under_way_and_pings) {
    need();
    Bridged b(OptionList{{"ping.interval_ns", "200ms"}, {"ping.timeout_ns", "500ms"}});
    b.cut();
    const Seen error = b.need_idle_error(WSXDP_E_PING_TIMEOUT, 500, 700 + slack_ms);
    assert_true(contains(error.data, "ping.timeout_ns"));
}
TEST(silence_is_long_enough_for_the_idle_timeout) {
    need();
    Bridged b(OptionList{{"idle.timeout_ns", "600ms"}});
    b.cut();
    b.need_idle_error(WSXDP_E_DEAD, 500, 600 + slack_ms);
}

TEST(silence_that_ends_in_time) {
    need();
    Bridged b(OptionList{{"xdp.user_timeout_ns", "5s"}});
    b->pass(20);
    b.cut();
    b->pass(1000);
    assert_false(b->ended());
    b.world.bridge.mend();
    b->need_flow(500000);
    b->finish();
}

static void silent_at_first(const char *address) {
    need();
    BridgeWorld world;
    auto server = world.serve(echo_messages, nullptr, address);
    world.bridge.cut(); // its link-layer address is told all the same
    const int64_t begin = now_ms();
    const std::string sentence =
        expect_failure(World::url(*server, address), World::options({{"connect.timeout_ns", "800ms"}}),
                       WSXDP_E_CONNECT_TIMEOUT, "no answer");
    assert_true(contains(sentence, address));
    assert_true(now_ms() - begin >= 700);
}
TEST(silence_from_the_beginning_ipv4) { silent_at_first(there4); }
TEST(silence_from_the_beginning_ipv6) { silent_at_first(there6); }

TEST(silence_while_closing) {
    need();
    Bridged b(OptionList{{"close.timeout_ns", "500ms"}});
    b.cut();
    const int64_t begin = now_ms();
    wsxdp_close(b.session->handle, 0, 1000, "", 0);
    const Seen &close = b.session->need(WSXDP_EVENT_CLOSE, patience_ms);
    assert_int_equal(close.error, WSXDP_E_CLOSE_TIMEOUT);
    on_time(begin, 499, 500 + slack_ms);
    expect_prompt_end(b.session);
}

TEST(silence_and_a_handle_that_is_freed) {
    need();
    Bridged b;
    b->pass(20);
    b.cut();
    b->pass(50);
    expect_prompt_end(b.session);
}

// ---- refusals ----

static void nobody_listens(const char *address) {
    need();
    World world;
    int port = 0;
    {
        Inside there(world.veth.there);
        scripted::RefusingPort refusing(address);
        port = refusing.port;
    }
    expect_failure("ws://" + url_host(address) + ":" + std::to_string(port) + "/", World::options(),
                   WSXDP_E_REFUSED, "refused");
}
TEST(nobody_listens_ipv4) { nobody_listens(there4); }
TEST(nobody_listens_ipv6) { nobody_listens(there6); }

// A router on the way says so, by ICMP.
static void router_refuses(const char *address, const char *here, const char *there) {
    need();
    World world;
    world.veth.there.run(there);
    world.veth.here.run(here);
    const int64_t begin = now_ms();
    expect_failure("ws://" + url_host(address) + "/", World::options({{"connect.timeout_ns", "3s"}}),
                   WSXDP_E_UNREACHABLE, address);
    on_time(begin, 0, 2500);
}
TEST(a_router_knows_no_way_ipv4) {
    router_refuses("10.99.0.9", "ip route add 10.99.0.0/24 via 10.77.0.2",
                   "echo 1 > /proc/sys/net/ipv4/ip_forward; ip route add unreachable 10.99.0.0/24");
}
TEST(a_router_knows_no_way_ipv6) {
    router_refuses("fd99::9", "ip route add fd99::/64 via fd77::2",
                   "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding; ip route add unreachable fd99::/64");
}

TESTS_BESIDE("peer_gone", 4)
