// SPDX-License-Identifier: MIT
// rx, tls and tx of sockets in threads of their own: every list that there can be carries messages, over TCP,
// TLS and a Unix socket; nothing is lost or reordered when one of them waits for another; ends and resets are
// told after what came before them; and a descriptor is closed once, when all have let go of it.
#include "pair.h"
#include <dirent.h>
#include <set>
#include <sys/socket.h>
#include <time.h>

using namespace scripted;

static OptionList in(const char *placement, OptionList more = {}) {
    more.push_back({"placement", placement});
    more.push_back({"tls.ca_file", certs().path("ca.pem")});
    return more;
}

// Of the places of tls, rx and tx each combination; ws with each of them and alone.
static const char *const lists[] = {
    "threads: rx tls tx",    "threads: rx tls ws tx",  "threads: rx tls+ws tx", "threads: rx tls tx ws",
    "threads: rx tx",        "threads: rx tx ws",      "threads: rx tx+ws",     "threads: rx+tls tx",
    "threads: rx tls+tx",    "threads: rx tls",        "threads: rx tls+tx ws", "threads: rx+ws tls tx",
    "threads: rx tls tx+ws", "threads: rx+tx tls",     "threads: rx+tx tls ws", "threads: rx+tx+ws tls",
    "threads: rx+ws tls+tx", "threads: rx@0 tls@1 tx", "threads: rx+tls+tx ws", "threads: rx",
    "threads: tx ws tls rx",
};
// One for each way that rx and tx can be apart from tls.
static const char *const kinds[] = {"threads: rx tls tx", "threads: rx tls ws tx", "threads: rx tx",
                                    "threads: rx tls+tx", "threads: rx+tx tls"};

static void echo(Wire &wire) {
    wire.upgrade();
    for (Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame())
        wire.write(frame(f.opcode, f.payload));
}

static void talk(const std::string &url, const char *list, OptionList more = {}) {
    Session session(url, in(list, std::move(more)));
    if (session.status != 0) fail_msg("%s: open: %d %s", list, session.status, session.text.c_str());
    session.need(WSXDP_EVENT_OPEN);
    for (size_t size : {1u, 1000u, 100000u}) {
        const std::string text = text_of(size);
        assert_int_equal(session.send(text), 0);
        assert_true(session.need(WSXDP_EVENT_MESSAGE).data == text);
    }
    assert_string_equal(session.info("transport").c_str(), "socket");
    assert_false(session.info("peer").empty());
    assert_int_equal(wsxdp_close(session.handle, 0, 1000, "", 0), 0);
    session.need(WSXDP_EVENT_CLOSE);
}

TEST(every_list_carries_messages) {
    Server plain(echo);
    for (const char *list : lists) talk(plain.url(), list);
}
TLS_TEST(every_list_carries_tls) {
    TlsSide side(certs(), "ip");
    Server secure(echo, &side);
    for (const char *list : lists) talk(secure.url(), list);
}
TEST(every_list_carries_unix_sockets_and_echo) {
    const std::string path = "/tmp/wsxdp_relay_" + std::to_string(getpid()) + ".sock";
    Server local(echo, path);
    for (const char *list : kinds) {
        talk("ws+unix://" + path + ":/", list);
        Session session("echo:", in(list));
        session.need(WSXDP_EVENT_OPEN);
        assert_int_equal(session.send("there and back"), 0);
        assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "there and back");
    }
    unlink(path.c_str());
}
TEST(each_way_to_wait) {
    Server plain(echo);
    for (const char *wait : {"sleep", "adaptive", "spin"})
        for (const char *list : kinds) talk(plain.url(), list, {{"wait", wait}});
    for (const char *list : kinds) talk(plain.url(), list, {{"poller", "poll"}});
}

// ---- volume ----

// 64 MiB each way in messages of all sizes, each of them as it was sent.
static void volume(const std::string &url, const char *list) {
    const uint64_t total = uint64_t{sanitized ? 4 : 64} << 20;
    Session session(url, in(list, {{"ping.interval_ns", "0"}}));
    session.need(WSXDP_EVENT_OPEN);
    const std::string source = text_of(200000, 7);
    uint64_t sent = 0, received = 0;
    unsigned out = 1, back = 1;
    const auto size_of = [](unsigned *seed) {
        *seed = *seed * 1103515245u + 12345u;
        return *seed % 8 == 0 ? 1 + (*seed >> 8) % 190000 : 1 + (*seed >> 8) % 4000;
    };
    size_t next = size_of(&out);
    for (const int64_t end = now_ms() + 60000; received < total;) {
        if (now_ms() > end) fail_msg("%s: %llu of it", list, static_cast<unsigned long long>(received));
        while (sent < total &&
               wsxdp_send(session.handle, 0, WSXDP_BINARY, source.data() + next % 1000, next, 0) == 0) {
            sent += next;
            next = size_of(&out);
        }
        wsxdp_event batch[64];
        const int count = wsxdp_poll(session.handle, batch, 64, 10000000);
        for (int i = 0; i < count; i++) {
            if (batch[i].kind == WSXDP_EVENT_WRITABLE) continue;
            assert_int_equal(batch[i].kind, WSXDP_EVENT_MESSAGE);
            const size_t size = size_of(&back);
            assert_int_equal(batch[i].len, size);
            assert_int_equal(memcmp(batch[i].data, source.data() + size % 1000, size), 0);
            received += size;
        }
    }
    assert_true(received == sent);
    const wsxdp_stats_t stats = session.stats();
    assert_true(stats.bytes_received > total && stats.bytes_sent > total);
    assert_true(stats.tcp_segments_received > 100 && stats.tcp_round_trip_ns > 0);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}
TEST(volume_both_ways) {
    Server plain(echo);
    for (const char *list : kinds) volume(plain.url(), list);
}
TLS_TEST(volume_both_ways_with_tls) {
    TlsSide side(certs(), "ip");
    Server secure(echo, &side);
    for (const char *list : {kinds[0], kinds[2]}) volume(secure.url(), list);
}

// ---- one waits for another ----

// A caller that does not take what came: in the end the peer cannot send, and nothing is lost.
TEST(a_caller_who_stops_stops_the_peer) {
    for (const char *list : kinds) {
        Pair pair(in(list, {{"inbox.bytes", "64KiB"}}), "", 0, 65536);
        const std::string part = text_of(9000, 3);
        std::string bytes;
        size_t frames = 0, at = 0;
        while (bytes.size() < (16u << 20)) bytes += wire_frame(2, part + std::to_string(frames++));
        int64_t moved = now_ms();
        while (at < bytes.size() && now_ms() - moved < 300) {
            const size_t took = pair.peer.push(bytes.substr(at, 65536));
            at += took;
            if (took != 0) moved = now_ms();
        }
        assert_true(at < bytes.size()); // it was stopped
        for (size_t i = 0; i < frames;) {
            if (at < bytes.size()) at += pair.peer.push(bytes.substr(at, 65536));
            wsxdp_event event;
            if (wsxdp_poll(pair.client.handle, &event, 1, 5000000) != 1) {
                if (now_ms() - moved > 30000) fail_msg("%s: message %zu does not come", list, i);
                continue;
            }
            if (event.kind != WSXDP_EVENT_MESSAGE) continue;
            const std::string all(reinterpret_cast<const char *>(event.data), event.len);
            if (all != part + std::to_string(i)) fail_msg("%s: message %zu", list, i);
            i++;
        }
        assert_true(pair.client.stats().stalls != 0);
    }
}

// A peer that does not read: sending is refused, the caller is told when it goes on, and all of it arrives.
TEST(a_peer_who_stops_stops_the_caller) {
    for (const char *list : kinds) {
        Pair pair(in(list, {{"outbox.bytes", "256KiB"}}), "", 4096);
        const std::string part = text_of(20000, 5);
        size_t sent = 0;
        for (int64_t moved = now_ms(); now_ms() - moved < 200;) {
            if (pair.client.send(part + std::to_string(sent)) == 0) sent++, moved = now_ms();
            pair.client.poll(0);
        }
        for (size_t i = 0; i < sent; i++) assert_true(pair.frame(1).payload == part + std::to_string(i));
        pair.until([&] { return pair.client.count(WSXDP_EVENT_WRITABLE) != 0; });
    }
}

// ---- ends ----

static std::string messages(int count) {
    std::string bytes;
    for (int i = 0; i < count; i++) bytes += wire_frame(1, text_of(500, 1) + std::to_string(i));
    return bytes;
}

static void all_arrived(Pair *pair, int count) {
    for (int i = 0; i < count; i++) pair->message(text_of(500, 1) + std::to_string(i), WSXDP_FLAG_TEXT);
}

TEST(an_end_comes_after_what_was_before_it) {
    for (const char *list : kinds) {
        for (int how = 0; how < 3; how++) {
            Pair pair(in(list));
            pair.peer.send(messages(300) + (how == 0 ? wire_close(1000) : ""));
            if (how == 2) {
                all_arrived(&pair, 300); // the kernel of the sender drops what was not sent
                pair.peer.reset();
            } else {
                pair.peer.finish();
                all_arrived(&pair, 300);
            }
            const int code = how == 0 ? 0 : how == 1 ? WSXDP_E_EOF : WSXDP_E_RESET;
            if (how != 0) assert_int_equal(pair.event(WSXDP_EVENT_ERROR).error, code);
            assert_int_equal(pair.event(WSXDP_EVENT_CLOSE).error, code);
        }
    }
}

// A write finds the reset before a read does, or the other way round: it is a reset all the same.
TEST(a_reset_while_sending) {
    for (const char *list : kinds) {
        for (int round = 0; round < 10; round++) {
            Pair pair(in(list));
            for (int i = 0; i < 20; i++) (void)pair.client.send(text_of(1000));
            pair.peer.reset();
            for (int i = 0; i < 20; i++) (void)pair.client.send(text_of(1000));
            const Seen &error = pair.client.need(WSXDP_EVENT_ERROR);
            if (error.error != WSXDP_E_RESET) fail_msg("%s: %d %s", list, error.error, error.data.c_str());
            pair.client.need(WSXDP_EVENT_CLOSE);
        }
    }
}

static void fill(Pair *pair) { // until the peer's window, the socket and the ring are full
    for (int64_t moved = now_ms(); now_ms() - moved < 100;) {
        if (pair->client.send(text_of(20000)) == 0) moved = now_ms();
        pair->client.poll(0);
    }
}

TEST(an_abort_resets_although_the_socket_is_full) {
    for (const char *list : kinds) {
        Pair pair(in(list), "", 4096);
        fill(&pair);
        assert_int_equal(wsxdp_abort(pair.client.handle, 0), 0);
        pair.client.need(WSXDP_EVENT_CLOSE, 1000);
        pair.until([&] { return pair.peer.ended; });
        assert_true(pair.peer.was_reset);
    }
}

TEST(a_close_that_cannot_leave_times_out) {
    for (const char *list : kinds) {
        Pair pair(in(list, {{"close.timeout_ns", "200ms"}}), "", 4096);
        fill(&pair);
        assert_int_equal(wsxdp_close(pair.client.handle, 0, 1000, "", 0), 0);
        assert_int_equal(pair.client.need(WSXDP_EVENT_CLOSE).error, WSXDP_E_CLOSE_TIMEOUT);
        pair.until([&] { return pair.peer.ended; });
        assert_true(pair.peer.was_reset);
    }
}

// What was given to tx before the connection is closed still leaves, and then comes the end.
TEST(what_was_written_before_a_close_still_leaves) {
    for (const char *list : {kinds[0], kinds[2]}) {
        Pair pair(in(list), "", 4096);
        const uint64_t before = pair.client.stats().bytes_sent;
        fill(&pair);
        const uint64_t given = pair.client.stats().bytes_sent - before;
        pair.peer.send(wire_close(1000));
        pair.peer.finish();
        pair.client.need(WSXDP_EVENT_CLOSE);
        uint64_t bytes = 0;
        WireFrame frame;
        for (int64_t end = now_ms() + 5000; !pair.peer.ended && now_ms() < end;) {
            bytes += pair.peer.pull();
            usleep(100);
        }
        assert_true(pair.peer.ended);
        assert_false(pair.peer.was_reset);
        if (bytes < given)
            fail_msg("%s: %llu of %llu", list, static_cast<unsigned long long>(bytes),
                     static_cast<unsigned long long>(given));
        while (pair.peer.next(&frame))
            if (frame.opcode == 1) assert_true(frame.payload == text_of(20000));
    }
}

// ---- descriptors, processor ----

static std::set<std::string> descriptors() {
    std::set<std::string> out;
    DIR *open_now = opendir("/proc/self/fd");
    assert_non_null(open_now);
    while (const dirent *entry = readdir(open_now))
        if (entry->d_name[0] != '.') out.insert(entry->d_name);
    closedir(open_now);
    return out;
}

TEST(connections_come_and_go_and_leave_no_descriptor) {
    for (const char *list : kinds) {
        Server server(echo);
        Session session(nullptr, in(list, {{"connections.max", "2"}, {"reconnect", "no"}}));
        const auto cycle = [&](int i) {
            uint32_t id = 0;
            assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), nullptr, &id), 0);
            session.need(WSXDP_EVENT_OPEN, 5000, id);
            assert_int_equal(session.send(std::to_string(i), WSXDP_TEXT, id), 0);
            assert_string_equal(session.need(WSXDP_EVENT_MESSAGE, 5000, id).data.c_str(),
                                std::to_string(i).c_str());
            assert_int_equal(
                i % 2 ? wsxdp_abort(session.handle, id) : wsxdp_close(session.handle, id, 1000, "", 0), 0);
            session.need(WSXDP_EVENT_CLOSE, 5000, id);
            session.events.clear();
            session.looked = 0;
        };
        cycle(0);
        usleep(100000);
        const size_t before = descriptors().size();
        const int cycles = sanitized || list != kinds[0] ? 50 : 200;
        for (int i = 0; i < cycles; i++) cycle(i);
        // The server's side may still be on its way out.
        Pair::keep_on([&] { return descriptors().size() <= before; });
    }
}

// A connection that is being closed while its peer takes nothing is given up some time, and then reset.
TEST(a_peer_that_never_reads_is_given_up) {
    Pair pair(in(kinds[0]), "", 4096);
    fill(&pair);
    const size_t before = descriptors().size();
    pair.peer.send(wire_close(1000));
    pair.peer.finish();
    pair.client.need(WSXDP_EVENT_CLOSE);
    assert_int_equal(descriptors().size(), before); // its ring is not empty
    Pair::keep_on([&] { return usleep(20000), descriptors().size() < before; }, 15000);
}

// So many of those that there is no place for another: it is told so, and may be tried again.
TEST(too_many_that_are_being_closed) {
    TestServer server(4096);
    Session client(nullptr, in(kinds[0], {{"connections.max", "2"},
                                          {"reconnect", "no"},
                                          {"outbox.bytes", "64KiB"},
                                          {"socket.send_buffer_bytes", "8KiB"}}));
    std::vector<TestPeer> peers(40);
    const std::string part = text_of(20000);
    size_t opened = 0;
    for (; opened < peers.size(); opened++) {
        TestPeer &peer = peers[opened];
        std::string head;
        uint32_t id = 0;
        client.events.clear();
        client.looked = 0;
        assert_int_equal(wsxdp_connect(client.handle, server.url().c_str(), nullptr, &id), 0);
        Pair::keep_on([&] { return client.poll(0), server.accept(&peer); });
        Pair::keep_on([&] {
            client.poll(0);
            peer.pull();
            return peer.head(&head) || client.count(WSXDP_EVENT_CLOSE) != 0;
        });
        if (head.empty()) break;
        peer.send(TestPeer::answer(head));
        client.need(WSXDP_EVENT_OPEN);
        for (int64_t moved = now_ms(); now_ms() - moved < 20; client.poll(0))
            if (client.send(part, WSXDP_TEXT, id) == 0) moved = now_ms();
        peer.send(wire_close(1000));
        peer.finish();
        client.need(WSXDP_EVENT_CLOSE);
    }
    assert_int_equal(opened, 16); // relay_open
    client.looked = 0;
    const Seen &error = client.need(WSXDP_EVENT_ERROR);
    assert_int_equal(error.error, WSXDP_E_OVERFLOW);
    assert_true(contains(error.data, "still being closed"));
    peers.clear(); // resets: there are places again
    Server echoes(echo);
    Pair::keep_on([&] {
        uint32_t id = 0;
        client.events.clear();
        client.looked = 0;
        if (wsxdp_connect(client.handle, echoes.url().c_str(), nullptr, &id) != 0) return false;
        return Pair::keep_on([&] {
                   return client.poll(1),
                          client.count(WSXDP_EVENT_OPEN) + client.count(WSXDP_EVENT_CLOSE) != 0;
               }),
               client.count(WSXDP_EVENT_OPEN) != 0;
    });
}

TEST(idle_threads_sleep) {
    const auto cpu_ns = [] {
        timespec now;
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
    };
    for (const char *list : {"threads: rx tls ws tx", "threads: rx tx"}) {
        Pair pair(in(list));
        pair.turns(5);
        usleep(50000);
        const int64_t before = cpu_ns();
        usleep(300000);
        assert_true(cpu_ns() - before < (sanitized ? 60000000 : 15000000)); // 5 % of it
    }
}

TEST(nothing_is_allocated_once_it_is_open) {
    Pair pair(in("threads: rx tls ws tx"));
    need_no_allocations(pair);
}

// More sockets than are read without asking the poller, one of them out of turn.
TEST(many_connections) {
    Server server(echo);
    for (const char *list : kinds) {
        Session session(nullptr, in(list));
        std::vector<uint32_t> ids(24, 0);
        for (uint32_t &id : ids)
            assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), nullptr, &id), 0);
        for (uint32_t id : ids) session.looked = 0, session.need(WSXDP_EVENT_OPEN, 5000, id);
        for (int round = 0; round < 5; round++) {
            session.events.clear();
            session.looked = 0;
            for (uint32_t id : ids) assert_int_equal(session.send(std::to_string(id), WSXDP_TEXT, id), 0);
            for (uint32_t id : ids) {
                session.looked = 0;
                assert_true(session.need(WSXDP_EVENT_MESSAGE, 5000, id).data == std::to_string(id));
            }
        }
    }
}

TESTS("relay")
