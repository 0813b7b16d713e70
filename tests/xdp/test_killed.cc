// SPDX-License-Identifier: MIT
// A process with transport=xdp that is killed, at any moment: the kernel has the interface back at once,
// tells the peer with a reset when it next hears from it, and nothing else on the host notices. What was
// attached by netlink, or a helper that had to clean up, would fail here.
#include "beside.h"
#include "stream.h"
#include <netinet/tcp.h>
#include <random>
#include <signal.h>

using namespace netns;

// What the server saw of the connection whose owner was killed.
struct Peer {
    std::atomic<bool> killed{false}, was_reset{false};
    std::atomic<int64_t> reset_at{0};
};

static bool tcp_is_closed(int fd) {
    tcp_info info = {};
    socklen_t size = sizeof info;
    return getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) == 0 && info.tcpi_state == 7; // TCP_CLOSE
}

// Plain requests are answered; a WebSocket gets messages without end, or one after the kill.
static scripted::Script serving(Peer *peer, bool streams) {
    return [=](scripted::Wire &wire) {
        wire.read_head();
        if (wire.field("Sec-WebSocket-Key").empty()) {
            do wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
            while (!wire.read_head().empty());
            return;
        }
        wire.write(wire.answer());
        const std::string message = scripted::frame(2, std::string(streams ? 16384 : 4, 'm'));
        if (streams)
            while (!wire.broken && !tcp_is_closed(wire.fd)) wire.write(message);
        if (!streams) {
            while (!peer->killed) usleep(1000);
            usleep(50000); // until now it was silent
            wire.write(message);
            eventually([&] { return tcp_is_closed(wire.fd); }, 3000);
        }
        peer->was_reset = tcp_is_closed(wire.fd);
        peer->reset_at = now_ms();
    };
}

// To be killed.
static int stream_for_ever(const std::string &url, const OptionList &options, int ready) {
    Session session(url, World::options(options));
    if (session.status != 0 || session.wait(WSXDP_EVENT_OPEN) == nullptr) return 1;
    if (write(ready, "r", 1) != 1) return 1;
    for (;;) {
        session.events.clear();
        session.looked = 0;
        session.send(std::string(1000, 's'));
        session.poll(1);
    }
}

static void killed(const char *mode, bool streams) {
    need();
    World world;
    Peer peer;
    auto server = world.serve(serving(&peer, streams));
    const std::string url = World::url(*server);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    Child child(world.veth.here, [&] { return stream_for_ever(url, {{"xdp.mode", mode}}, pipes[1]); });
    char ready;
    pollfd wait = {pipes[0], POLLIN, 0};
    assert_int_equal(poll(&wait, 1, 8000), 1);
    assert_int_equal(read(pipes[0], &ready, 1), 1);
    close(pipes[0]);
    close(pipes[1]);
    Traffic traffic(server->port);
    usleep(200000); // in mid-stream
    assert_int_not_equal(present().id, 0);
    assert_int_equal(peer.reset_at, 0);
    const int64_t killed_at = now_ms();
    child.kill(SIGKILL);
    assert_int_equal(child.wait(), 128 + SIGKILL);
    const int64_t gone_at = now_ms();
    peer.killed = true;
    assert_true(eventually([] { return present().id == 0; }));
    on_time(gone_at, 0, 1000);
    assert_true(eventually([&] { return peer.reset_at != 0; }));
    assert_true(peer.was_reset);
    took_ms(peer.reset_at - killed_at, 0, 3000);
    const int asked = traffic.asked;
    assert_true(eventually([&] { return traffic.asked > asked + 20; }));
    traffic.end();
    assert_int_equal(traffic.failed, 0);
    // And the interface is to be had again at once.
    Session next(url, World::options({{"xdp.mode", mode}}));
    next.need(WSXDP_EVENT_OPEN);
    next.need(WSXDP_EVENT_MESSAGE);
}
TEST(in_mid_stream_in_driver_mode) { killed("driver", true); }
TEST(in_mid_stream_in_generic_mode) { killed("generic", true); }
TEST(while_nothing_is_said_in_driver_mode) { killed("driver", false); }
TEST(while_nothing_is_said_in_generic_mode) { killed("generic", false); }

// Opening, streaming, closing: wherever the moment falls.
TEST(at_any_moment) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    const std::string url = World::url(*server);
    std::mt19937_64 random(test_seed());
    Traffic traffic(server->port);
    for (int i = 0; i < 30; i++) {
        Child child(world.veth.here, [&] {
            for (;;) {
                Session session(url, World::options());
                if (session.status != 0) return 1;
                session.wait(WSXDP_EVENT_OPEN);
                session.send("hello");
                session.wait(WSXDP_EVENT_MESSAGE);
            }
        });
        usleep(static_cast<useconds_t>(random() % 150000));
        child.kill(SIGKILL);
        assert_int_equal(child.wait(), 128 + SIGKILL);
        const int64_t gone_at = now_ms();
        if (!eventually([] { return present().id == 0; })) fail_msg("left behind by %d", i);
        on_time(gone_at, 0, 1000);
    }
    check_told_open(told_by_session(url, World::options()));
    traffic.end();
    assert_int_equal(traffic.failed, 0);
    assert_in_range(traffic.asked, 100, INT32_MAX);
}

// A child of the killed one that has not begun another program yet has its descriptors: the interface is
// given back when it does, or ends.
TEST(with_a_child_of_its_own) {
    need();
    World world;
    auto server = world.serve(answer_or_echo);
    const std::string url = World::url(*server);
    int pipes[2];
    assert_int_equal(pipe(pipes), 0);
    Child child(world.veth.here, [&] {
        Session session(url, World::options());
        if (session.status != 0 || session.wait(WSXDP_EVENT_OPEN) == nullptr) return 1;
        const pid_t grandchild = fork();
        if (grandchild == 0) {
            execlp("sleep", "sleep", "5", nullptr);
            _exit(1);
        }
        if (write(pipes[1], &grandchild, sizeof grandchild) < 0) return 1;
        for (;;) session.poll(10);
    });
    pid_t grandchild = 0;
    assert_int_equal(read(pipes[0], &grandchild, sizeof grandchild), sizeof grandchild);
    close(pipes[0]);
    close(pipes[1]);
    usleep(100000); // it has begun by now
    child.kill(SIGKILL);
    child.wait();
    const bool free = eventually([] { return present().id == 0; }, 1000);
    const bool lives = kill(grandchild, SIGKILL) == 0;
    assert_true(free);
    assert_true(lives);
    check_told_open(told_by_session(url, World::options()));
}

TESTS_BESIDE("killed", 4)
