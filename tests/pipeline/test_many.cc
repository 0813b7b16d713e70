// SPDX-License-Identifier: MIT
// A thousand connections in one handle: all open, all talk, all close; ids are never confused, and afterwards
// descriptors, mappings and memory are back where they were.
#include "pair.h"
#include <dirent.h>
#include <set>
#include <sys/resource.h>

static size_t entries(const char *directory) {
    size_t count = 0;
    DIR *open = opendir(directory);
    while (open && readdir(open)) count++;
    if (open) closedir(open);
    return count;
}
static size_t mappings() {
    size_t lines = 0;
    FILE *file = fopen("/proc/self/maps", "r");
    for (int c; file && (c = fgetc(file)) != EOF;) lines += c == '\n';
    if (file) fclose(file);
    return lines;
}
static size_t address_space_kib() {
    size_t total = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file && fscanf(file, "%zu", &total) != 1) total = 0;
    if (file) fclose(file);
    return total * 4;
}

// Accepts, upgrades and echoes for all of its peers, one step at a time.
struct EchoServer {
    TestServer server{0, 0, 1024};
    std::vector<TestPeer> peers;
    std::vector<bool> upgraded;
    void step() {
        for (TestPeer peer; server.accept(&peer);) {
            peers.push_back(std::move(peer));
            upgraded.push_back(false);
        }
        for (size_t i = 0; i < peers.size(); i++) {
            TestPeer &peer = peers[i];
            if (peer.fd < 0 || peer.pull() == 0) {
                if (peer.ended) peer.close();
                continue;
            }
            std::string head;
            if (!upgraded[i] && peer.head(&head)) {
                upgraded[i] = true;
                peer.send(TestPeer::answer(head));
            }
            for (WireFrame frame; upgraded[i] && peer.next(&frame);) {
                peer.send(wire_frame(frame.opcode, frame.payload));
                if (frame.opcode == 8) peer.finish();
            }
        }
    }
};

static void a_thousand(int count, const char *poller = "auto") {
    EchoServer server;
    Session client(nullptr, {{"reconnect", "no"},
                             {"poller", poller},
                             {"inbox.bytes", "64KiB"},
                             {"outbox.bytes", "64KiB"},
                             {"connect.timeout_ns", "60s"},
                             {"upgrade.timeout_ns", "60s"},
                             {"connect.attempt_timeout_ns", "60s"}});
    std::set<uint32_t> ids;
    auto until = [&](uint32_t kind, int wanted) {
        for (int64_t end = now_ms() + 60000; client.count(kind) < static_cast<size_t>(wanted);) {
            if (now_ms() >= end) {
                if (client.count(WSXDP_EVENT_ERROR) != 0) client.print();
                fail_msg("%d of %d events of kind %u", static_cast<int>(client.count(kind)), wanted, kind);
            }
            while (client.poll(0) > 0) {
            }
            server.step();
        }
    };
    for (int i = 0; i < count; i++) {
        uint32_t id = 0;
        auto connect = [&] {
            return wsxdp_connect(client.handle, server.server.url().c_str(), nullptr, &id);
        };
        int status = connect();
        // A process that was not run yet has not taken in what it was told; only a process may be so.
        const bool process = contains(test_placement(), "processes");
        for (int64_t end = now_ms() + 60000; process && status == WSXDP_E_AGAIN && now_ms() < end;
             status = connect())
            client.poll(1);
        assert_int_equal(status, WSXDP_OK);
        ids.insert(id);
    }
    assert_int_equal(ids.size(), count);
    until(WSXDP_EVENT_OPEN, count);
    assert_int_equal(client.stats(WSXDP_ALL).connections, count);
    for (uint32_t id : ids)
        assert_int_equal(client.send("I am " + std::to_string(id), WSXDP_TEXT, id), WSXDP_OK);
    until(WSXDP_EVENT_MESSAGE, count);
    for (const Seen &seen : client.events)
        if (seen.kind == WSXDP_EVENT_MESSAGE) assert_true(seen.data == "I am " + std::to_string(seen.conn));
    for (uint32_t id : ids) assert_int_equal(wsxdp_close(client.handle, id, 1000, "", 0), WSXDP_OK);
    until(WSXDP_EVENT_CLOSE, count);
    for (const Seen &seen : client.events)
        if (seen.kind == WSXDP_EVENT_CLOSE) assert_true(ids.erase(seen.conn) == 1 && seen.error == 0);
    assert_int_equal(ids.size(), 0);
    client.poll(0);
    assert_int_equal(client.stats(WSXDP_ALL).connections, 0);
    assert_int_equal(client.count(WSXDP_EVENT_ERROR), 0);
}

// How many are allowed, up to a thousand: each takes a descriptor here and one at the server's end.
static int many_allowed() {
    rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < 2100) {
        rlimit more = {2100 < limit.rlim_max ? 2100 : limit.rlim_max, limit.rlim_max};
        setrlimit(RLIMIT_NOFILE, &more);
        limit = more;
    }
    return limit.rlim_cur >= 2100 ? 1000 : static_cast<int>(limit.rlim_cur / 2 - 50);
}

TEST(a_thousand_connections_leave_nothing_behind) {
    int count = many_allowed();
    a_thousand(10); // what libraries allocate once
    size_t first_files = entries("/proc/self/fd"), first_maps = mappings();
    a_thousand(count);
    assert_int_equal(entries("/proc/self/fd"), first_files);
    if (!sanitized) assert_true(mappings() <= first_maps + 8); // the heap's own
    size_t files = entries("/proc/self/fd"), maps = mappings(), memory = address_space_kib();
    a_thousand(count);
    assert_int_equal(entries("/proc/self/fd"), files);
    if (sanitized) return; // its heap keeps what was freed
    assert_true(mappings() <= maps + 4);
    assert_true(address_space_kib() <= memory + 4096); // of 128 KiB each while they live
}

TEST(a_thousand_connections_by_poll) {
    int count = many_allowed();
    a_thousand(10, "poll");
    size_t files = entries("/proc/self/fd");
    a_thousand(count, "poll");
    assert_int_equal(entries("/proc/self/fd"), files);
}

TEST(connections_one_after_another_leave_nothing_behind) {
    EchoServer server;
    Session client(nullptr, {{"reconnect", "no"}, {"connections.max", "2"}});
    size_t files = 0, maps = 0;
    std::set<uint32_t> ids;
    for (int i = 0; i < 200; i++) {
        uint32_t id = 0;
        assert_int_equal(wsxdp_connect(client.handle, server.server.url().c_str(), nullptr, &id), WSXDP_OK);
        assert_true(ids.insert(id).second); // never one that was used before
        for (uint32_t old : ids)
            if (old != id) assert_int_equal(client.send("x", WSXDP_TEXT, old), WSXDP_E_STALE);
        while (client.poll(0) == 0) server.step();
        assert_int_equal(client.events.back().kind, WSXDP_EVENT_OPEN);
        assert_int_equal(client.events.back().conn, id);
        assert_int_equal(wsxdp_close(client.handle, id, 1000, "", 0), WSXDP_OK);
        size_t closed = client.count(WSXDP_EVENT_CLOSE);
        for (int64_t end = now_ms() + 5000; client.count(WSXDP_EVENT_CLOSE) == closed && now_ms() < end;) {
            client.poll(0);
            server.step();
        }
        assert_int_equal(client.count(WSXDP_EVENT_CLOSE), closed + 1);
        client.poll(0);
        server.step();
        server.peers.clear();
        server.upgraded.clear();
        if (i == 10) files = entries("/proc/self/fd"), maps = mappings();
    }
    assert_int_equal(entries("/proc/self/fd"), files);
    // Beside a worker the last one goes once that has let go of it.
    for (int64_t end = now_ms() + 5000; mappings() > maps + 2 && now_ms() < end;) client.poll(0);
    if (!sanitized) assert_true(mappings() <= maps + 2);
}

TEST(connections_max_is_a_limit) {
    Session client(nullptr, {{"connections.max", "3"}});
    uint32_t ids[4] = {0, 0, 0, 0};
    for (int i = 0; i < 3; i++)
        assert_int_equal(wsxdp_connect(client.handle, "echo:", nullptr, &ids[i]), WSXDP_OK);
    assert_int_equal(wsxdp_connect(client.handle, "echo:", nullptr, &ids[3]), WSXDP_E_CONNECTIONS);
    assert_int_equal(wsxdp_abort(client.handle, ids[1]), WSXDP_OK);
    assert_non_null(client.wait(WSXDP_EVENT_CLOSE));
    client.poll(0);
    assert_int_equal(wsxdp_connect(client.handle, "echo:", nullptr, &ids[3]), WSXDP_OK);
    assert_int_not_equal(ids[3], ids[1]);
    assert_int_equal(wsxdp_abort(client.handle, ids[1]), WSXDP_E_STALE);
}

TEST(a_stale_id_is_never_another_connection) {
    Session client("echo:", {{"connections.max", "1"}});
    const Seen *open = client.wait(WSXDP_EVENT_OPEN);
    assert_non_null(open);
    uint32_t old = open->conn, id = 0;
    wsxdp *handle = client.handle;
    assert_int_equal(wsxdp_abort(handle, old), WSXDP_OK);
    assert_non_null(client.wait(WSXDP_EVENT_CLOSE));
    client.poll(0);
    assert_int_equal(wsxdp_connect(handle, "echo:", nullptr, &id), WSXDP_OK);
    assert_non_null(client.wait(WSXDP_EVENT_OPEN));
    assert_int_not_equal(id, old);
    void *room;
    wsxdp_sender *sender;
    char text[10];
    wsxdp_stats_t stats;
    stats.struct_size = sizeof stats;
    for (uint32_t gone : {old, 0u, 0x12345u, 0xFFFFFFFEu}) {
        assert_int_equal(wsxdp_send(handle, gone, WSXDP_TEXT, "x", 1, 0), WSXDP_E_STALE);
        assert_int_equal(wsxdp_send_begin(handle, gone, WSXDP_TEXT, 1, &room), WSXDP_E_STALE);
        assert_int_equal(wsxdp_send_commit(handle, gone, 1, 0), WSXDP_E_STALE);
        assert_int_equal(wsxdp_close(handle, gone, 1000, "", 0), WSXDP_E_STALE);
        assert_int_equal(wsxdp_abort(handle, gone), WSXDP_E_STALE);
        assert_int_equal(wsxdp_sender_open(handle, gone, 0, &sender), WSXDP_E_STALE);
        assert_int_equal(wsxdp_stats(handle, gone, &stats), WSXDP_E_STALE);
        assert_int_equal(wsxdp_info(handle, gone, "url", text, sizeof text), WSXDP_E_STALE);
    }
    assert_int_equal(client.send("x", WSXDP_TEXT, id), WSXDP_OK);
}

TESTS("many")
