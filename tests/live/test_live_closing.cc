// SPDX-License-Identifier: MIT
// Every way in which a connection between our TCP and the kernel's ends, or never begins.
#include "live_check.h"
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

using namespace wx;
using namespace live;

namespace {

constexpr Nanos limit = 5 * ns_per_s;

// Some data each way first, so that sequence numbers are not those of the handshake.
World::Pair talked(World &world, int version, bool passive = false) {
    World::Pair pair = world.open(version, passive);
    assert_true(static_cast<bool>(pair));
    Stream there(&world, pair.a.get(), pair.b.get(), 5000), here(&world, pair.b.get(), pair.a.get(), 7000);
    assert_true(world.run(
        [&] {
            const bool first = there.step();
            return here.step() && first;
        },
        limit));
    return pair;
}

void expect_end(World &world, TcpConnection *c, TcpEnd end) {
    const bool over = world.run([&] { return c->end != TcpEnd::none; }, limit);
    if (!over || c->end != end)
        fail_msg("%s, %s; wanted: %s", tcp_state_text(c->state), tcp_end_text(c->end), tcp_end_text(end));
    world.turn(); // what it still has to say
    check_connection(world, c);
    check_host(world);
}

// The error that the kernel's program gets from reading.
void expect_error(World &world, KernelEnd *b, int error) {
    char byte;
    world.run(
        [&] {
            b->read(&byte, 1);
            return b->error != 0 || b->finished;
        },
        limit);
    if (b->error != error) fail_msg("errno %d, wanted %d", b->error, error);
}

// Nothing is under way after that: the kernel waits up to 40 ms before it acknowledges.
void settle(World &world) { world.pass(100 * ns_per_ms); }

// From now on nothing of ours arrives.
void cut(World &world) {
    world.options.out.dead.from = 0;
    sim_path_set(world.path(false), world.options.out);
}

TEST(our_abort) {
    need_kernel();
    for (int version : {4, 6}) {
        World world((Options()));
        World::Pair pair = talked(world, version);
        settle(world);
        pair.a->abort();
        expect_end(world, pair.ours()->c, TcpEnd::aborted);
        expect_error(world, pair.kernel(), ECONNRESET);
        assert_int_equal(world.host.unknown,
                         0); // the connection's own reset, and no answer to a stray segment
    }
}

// With data queued and under way: the reset must still be acceptable to the kernel, and frees all of it.
TEST(our_abort_within_data) {
    need_kernel();
    Options options;
    options.out.delay.fixed = options.back.delay.fixed = 3 * ns_per_ms;
    World world(options);
    World::Pair pair = talked(world, 4);
    Stream there(&world, pair.a.get(), pair.b.get(), 20 * megabyte);
    Stream here(&world, pair.b.get(), pair.a.get(), 20 * megabyte);
    world.run(
        [&] {
            there.step();
            here.step();
            return there.arrived > megabyte && here.arrived > megabyte;
        },
        limit);
    pair.a->abort();
    char bytes[4096]; // what had arrived before is still ours to read
    world.run([&] { return pair.a->read(bytes, sizeof bytes) == 0; }, limit);
    expect_end(world, pair.ours()->c, TcpEnd::aborted);
    std::vector<char> rest(1 << 20);
    world.run(
        [&] {
            pair.b->read(rest.data(), rest.size());
            return pair.kernel()->error != 0;
        },
        limit);
    assert_int_equal(pair.kernel()->error, ECONNRESET);
}

TEST(kernel_aborts) {
    need_kernel();
    for (int version : {4, 6}) {
        World world((Options()));
        World::Pair pair = talked(world, version, version == 6);
        pair.b->abort();
        expect_end(world, pair.ours()->c, TcpEnd::reset);
        assert_int_equal(pair.ours()->c->stats.bad_resets, 0);
    }
}

// A program that closes without having read all answers with a reset (RFC 2525 section 2.17).
TEST(kernel_closes_without_reading) {
    need_kernel();
    World world((Options()));
    World::Pair pair = talked(world, 4);
    assert_int_equal(pair.a->write("unread", 6), 6);
    world.pass(20 * ns_per_ms);
    pair.b->close();
    expect_end(world, pair.ours()->c, TcpEnd::reset);
}

TEST(we_close_without_reading) {
    need_kernel();
    World world((Options()));
    World::Pair pair = talked(world, 6);
    assert_int_equal(pair.b->write("unread", 6), 6);
    assert_true(world.run([&] { return reassembly_unread(&pair.ours()->c->rx) == 6; }, limit));
    settle(world);
    pair.a->close();
    char bytes[6];
    assert_int_equal(pair.a->read(bytes, 6), 6); // or the frame stays ours
    expect_end(world, pair.ours()->c, TcpEnd::aborted);
    expect_error(world, pair.kernel(), ECONNRESET);
    assert_int_equal(world.host.unknown, 0);
}

// Data that comes after we have closed both directions is answered with a reset.
TEST(data_after_our_close) {
    need_kernel();
    World world((Options()));
    World::Pair pair = talked(world, 4);
    pair.a->close();
    assert_true(world.run([&] { return pair.ours()->c->state == TcpState::fin_wait_2; }, limit));
    pair.b->write("late", 4);
    expect_end(world, pair.ours()->c, TcpEnd::aborted);
    world.run([&] { return pair.b->write("later", 5) == 0; }, limit);
    assert_true(pair.kernel()->error == EPIPE || pair.kernel()->error == ECONNRESET);
}

TEST(we_close_first) {
    need_kernel();
    for (int version : {4, 6}) {
        World world((Options()));
        World::Pair pair = talked(world, version);
        char byte;
        pair.a->finish();
        assert_true(world.run([&] { return pair.b->read(&byte, 1) == 0 && pair.b->peer_finished(); }, limit));
        // The kernel may wait a little with the acknowledgement.
        assert_true(world.run([&] { return pair.ours()->c->state == TcpState::fin_wait_2; }, limit));
        pair.b->close();
        expect_end(world, pair.ours()->c, TcpEnd::closed);
        assert_int_equal(pair.ours()->c->state, TcpState::time_wait);
        // The object is free, the tuple is not.
        tcp_retire(pair.ours()->c, world.now);
        assert_int_equal(pair.ours()->c->state, TcpState::closed);
        assert_int_equal(world.host.tcp.time_wait.count, 1);
    }
}

TEST(kernel_closes_first) {
    need_kernel();
    for (int version : {4, 6}) {
        World world((Options()));
        World::Pair pair = talked(world, version, true);
        shutdown(pair.kernel()->fd, SHUT_WR);
        assert_true(world.run([&] { return pair.a->peer_finished(); }, limit));
        assert_int_equal(pair.ours()->c->state, TcpState::close_wait);
        pair.a->finish();
        expect_end(world, pair.ours()->c, TcpEnd::closed);
        assert_int_equal(pair.ours()->c->state, TcpState::closed);
        world.pass(5 * ns_per_ms);
        tcp_info info = pair.kernel()->info();
        assert_int_equal(info.tcpi_state, TCP_CLOSE); // its socket; TIME-WAIT is elsewhere by now
    }
}

TEST(both_close_at_once) {
    need_kernel();
    Options options;
    options.out.delay.fixed = options.back.delay.fixed = 20 * ns_per_ms;
    World world(options);
    World::Pair pair = talked(world, 4);
    pair.a->finish();
    pair.b->finish();
    bool closing = false;
    assert_true(world.run(
        [&] {
            closing |= pair.ours()->c->state == TcpState::closing;
            return pair.a->over();
        },
        limit));
    assert_true(closing);
    assert_int_equal(pair.ours()->c->state, TcpState::time_wait);
    expect_end(world, pair.ours()->c, TcpEnd::closed);
    char byte;
    assert_true(world.run([&] { return pair.b->read(&byte, 1) == 0 && pair.b->peer_finished(); }, limit));
}

// One side has finished, the other goes on for a while.
TEST(half_close) {
    need_kernel();
    for (bool we_first : {true, false}) {
        World world((Options()));
        World::Pair pair = talked(world, 4);
        End *first = we_first ? pair.a.get() : pair.b.get(), *second = we_first ? pair.b.get() : pair.a.get();
        char byte;
        first->finish();
        assert_true(world.run([&] { return second->read(&byte, 1) == 0 && second->peer_finished(); }, limit));
        Stream rest(&world, second, first, 3 * megabyte);
        assert_true(world.run([&] { return rest.step(); }, limit) && !rest.wrong);
        assert_false(first->peer_finished());
        close_both(world, pair);
    }
}

TEST(refused) {
    need_kernel();
    for (int version : {4, 6}) {
        World world((Options()));
        std::unique_ptr<OurEnd> us = world.connect_ours(version);
        expect_end(world, us->c, TcpEnd::refused);
        assert_int_equal(us->c->syn_count, 1);
    }
}

TEST(we_refuse) {
    need_kernel();
    for (int version : {4, 6}) {
        World world((Options()));
        std::unique_ptr<KernelEnd> them = world.connect(1, version);
        assert_true(world.run([&] { return them->over(); }, limit));
        assert_int_equal(them->error, ECONNREFUSED);
        assert_int_equal(world.host.unknown, 1);
        check_host(world);
    }
}

TEST(nobody_answers) {
    need_kernel();
    Options options;
    options.tcp.syn_tries = 3;
    options.tcp.rtt.initial = 200 * ns_per_ms;
    options.out.dead.from = 0;
    World world(options);
    const int64_t began = now_ms();
    std::unique_ptr<OurEnd> us = world.connect_ours(4);
    expect_end(world, us->c, TcpEnd::syn_timeout);
    assert_int_equal(us->c->syn_count, 3);
    on_time(began, 1399, 1900); // 0.2 + 0.4 + 0.8 s
}

TEST(lost_handshake_packets) {
    need_kernel();
    for (bool answer : {false, true}) {
        Options options;
        options.tcp.rtt.initial = 200 * ns_per_ms;
        SimPathOptions &path = answer ? options.back : options.out;
        path.chosen.dropped[0] = 0;
        path.chosen.dropped_count = 1;
        World world(options);
        World::Pair pair = world.open(4);
        assert_true(static_cast<bool>(pair));
        assert_int_equal(pair.ours()->c->syn_count, 2);
        close_both(world, pair);
    }
}

// The last part of the handshake is lost, in either role: data makes up for it.
TEST(lost_third_packet) {
    need_kernel();
    for (bool passive : {false, true}) {
        Options options;
        SimPathOptions &path = passive ? options.back : options.out;
        path.chosen.dropped[0] = 1;
        path.chosen.dropped_count = 1;
        transfer(options, 4, passive, 100 * kilobyte, 100 * kilobyte);
    }
}

TEST(keepalive) {
    need_kernel();
    Options options;
    // Linux answers segments without data that are out of order at most every 500 ms.
    options.tcp.keepalive_idle = 600 * ns_per_ms;
    options.tcp.keepalive_interval = 100 * ns_per_ms;
    options.tcp.keepalive_tries = 3;
    World world(options);
    World::Pair pair = talked(world, 4);
    TcpConnection *c = pair.ours()->c;
    int64_t began = now_ms();
    world.pass(1500 * ns_per_ms);
    on_time(began, 1499, 1650);                        // else there are more, or not enough answers in time
    assert_int_equal(c->state, TcpState::established); // it answers
    assert_in_range(c->stats.keepalives, 2, 3);
    cut(world);
    began = now_ms();
    expect_end(world, c, TcpEnd::keepalive);
    on_time(began, 0, 2000); // 0.6 + 3 * 0.1 s
}

// The kernel's keepalive probes are answered by us.
TEST(kernel_keepalive) {
    need_kernel();
    World world((Options()));
    World::Pair pair = talked(world, 6);
    const int on = 1;
    for (int option : {TCP_KEEPIDLE, TCP_KEEPINTVL, TCP_KEEPCNT})
        setsockopt(pair.kernel()->fd, IPPROTO_TCP, option, &on, sizeof on);
    setsockopt(pair.kernel()->fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    settle(world);
    const uint64_t before = pair.ours()->c->stats.segments_in;
    const int64_t began = now_ms();
    world.pass(3500 * ns_per_ms);
    on_time(began, 3499, 3900); // else the kernel had no answer for so long that it asked more often
    assert_int_equal(pair.kernel()->info().tcpi_state, TCP_ESTABLISHED);
    assert_in_range(pair.ours()->c->stats.segments_in - before, 2, 4);
    close_both(world, pair);
}

TEST(user_timeout) {
    need_kernel();
    Options options;
    options.tcp.user_timeout = 700 * ns_per_ms;
    World world(options);
    World::Pair pair = talked(world, 4);
    cut(world);
    const int64_t began = now_ms();
    assert_int_equal(pair.a->write("nobody hears this", 17), 17);
    expect_end(world, pair.ours()->c, TcpEnd::user_timeout);
    on_time(began, 690, 1200);
}

} // namespace

TESTS_BESIDE("live_closing", 4)
