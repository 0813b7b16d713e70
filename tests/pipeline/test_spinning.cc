// SPDX-License-Identifier: MIT
// A caller that spins never asks the poller, and every segment that arrives costs more while a socket is
// in it: so it is out of it. It is in again as soon as somebody asks: for the descriptor, or because a
// connection is being made or there are many. Who sleeps, if only after a while, keeps it in.
// link: -Wl,--wrap=epoll_ctl
#include "pair.h"

#include <poll.h>
#include <set>
#include <sys/epoll.h>
#include <sys/socket.h>

static std::set<int> watched; // of sockets, in the process's only epoll instance

extern "C" {
int __real_epoll_ctl(int epoll, int operation, int fd, epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event *event);
int __wrap_epoll_ctl(int epoll, int operation, int fd, epoll_event *event) {
    int result = __real_epoll_ctl(epoll, operation, fd, event), type = 0;
    socklen_t size = sizeof type;
    if (result != 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0) return result;
    if (operation == EPOLL_CTL_ADD) watched.insert(fd);
    if (operation == EPOLL_CTL_DEL) watched.erase(fd);
    return result;
}
}

static void echo(Pair *pair, const std::string &text) {
    assert_int_equal(pair->client.send(text), WSXDP_OK);
    assert_true(pair->frame(1).payload == text);
    pair->peer.send(wire_frame(1, text));
    pair->message(text, WSXDP_FLAG_TEXT);
}

static bool readable(int fd) {
    pollfd look = {fd, POLLIN, 0};
    return poll(&look, 1, 1000) == 1;
}

TEST(out_while_it_spins) {
    watched.clear();
    Pair pair(OptionList{{"wait", "spin"}});
    pair.turns(2);
    assert_int_equal(watched.size(), 0);
    echo(&pair, "out of the poller");
    pair.peer.send(wire_frame(8, std::string("\x03\xE8", 2)));
    Seen close = pair.event(WSXDP_EVENT_CLOSE);
    assert_int_equal(close.code, 1000);
}

TEST(the_descriptor_brings_it_back) {
    watched.clear();
    Pair pair(OptionList{{"wait", "spin"}});
    pair.turns(2);
    assert_int_equal(watched.size(), 0);
    int fd = wsxdp_fd(pair.client.handle);
    assert_true(fd >= 0);
    assert_int_equal(watched.size(), 1);
    pair.turns(3);
    assert_int_equal(watched.size(), 1);
    pair.peer.send(wire_frame(2, "told"));
    assert_true(readable(fd));
    pair.message("told", WSXDP_FLAG_BINARY);
}

// Connections under way are asked about, and so are more than a few.
TEST(more_connections_bring_it_back) {
    watched.clear();
    Pair pair(OptionList{{"wait", "spin"}, {"connections.max", "8"}});
    pair.turns(2);
    assert_int_equal(watched.size(), 0);
    std::vector<TestPeer> peers(5);
    for (size_t i = 0; i < peers.size(); i++) {
        uint32_t id = 0;
        assert_int_equal(wsxdp_connect(pair.client.handle, pair.server.url().c_str(), nullptr, &id),
                         WSXDP_OK);
        pair.until([&] { return pair.server.accept(&peers[i]); });
        assert_true(watched.size() >= 1);
        std::string head;
        pair.until([&] { return peers[i].pull() != 0 && peers[i].head(&head); });
        peers[i].send(TestPeer::answer(head));
        pair.event(WSXDP_EVENT_OPEN);
        pair.turns(2);
        assert_int_equal(watched.size(), i + 2 <= 4 ? 0 : i + 2);
        echo(&pair, "the first one");
    }
}

// Stalled for lack of room, nothing may bring it back but room.
TEST(a_stall_stays_out) {
    watched.clear();
    Pair pair(OptionList{{"wait", "spin"}, {"inbox.bytes", "64KiB"}});
    wsxdp_event held, other;
    for (int i = 0; i < 6; i++) pair.peer.send(wire_frame(1, text_of(20000, 6)));
    Pair::keep_on([&] { return wsxdp_poll(pair.client.handle, &held, 1, 0) == 1; });
    assert_int_equal(wsxdp_hold(pair.client.handle, &held), WSXDP_OK);
    Pair::keep_on([&] {
        wsxdp_poll(pair.client.handle, &other, 1, 0);
        return pair.client.stats().stalls != 0;
    });
    assert_true(wsxdp_fd(pair.client.handle) >= 0);
    assert_int_equal(watched.size(), 0);
    assert_int_equal(wsxdp_unhold(pair.client.handle, &held), WSXDP_OK);
    pair.until([&] { return watched.size() == 1; });
}

TEST(in_for_who_sleeps) {
    for (const char *wait : {"adaptive", "sleep"}) {
        watched.clear();
        Pair pair(OptionList{{"wait", wait}});
        pair.turns(3);
        assert_int_equal(watched.size(), 1);
        echo(&pair, wait);
    }
}

TESTS("spinning")
