// SPDX-License-Identifier: MIT
// Opening when memory runs out, at each step of it: a clean error, or success without what could be done
// without; and nothing is left behind. Also what open refuses, and that steady traffic allocates nothing.
#include "../../lib/base/alloc.h"
#include "pair.h"
#include <fcntl.h>

static void memory_fails_after(int64_t count) { wx::allocation_fail_after(count); }
struct MemoryIsBack {
    ~MemoryIsBack() { memory_fails_after(-1); }
};

static size_t descriptors() {
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++) count += fcntl(fd, F_GETFD) != -1;
    return count;
}

TEST(open_survives_every_failing_allocation) {
    for (const char *url : {"ws://127.0.0.1:1/", "echo:", "ws+unix:///nowhere:/x"}) {
        Config config(
            {{"header.X-Test", "value"}, {"subscribe", "text"}, {"proxy", "http://user:word@127.0.0.1:1"}});
        MemoryIsBack back;
        size_t before = descriptors();
        int failures = 0;
        for (int64_t n = 0;; n++) {
            wsxdp *handle = nullptr;
            wsxdp_error error;
            memset(&error, 0, sizeof error);
            error.struct_size = sizeof error;
            memory_fails_after(n);
            int status = wsxdp_open(url, config.config, &handle, &error);
            memory_fails_after(-1);
            if (status == WSXDP_OK) {
                assert_non_null(handle);
                wsxdp_free(handle);
                break;
            }
            failures++;
            assert_int_equal(status, WSXDP_E_MEMORY);
            assert_int_equal(error.code, WSXDP_E_MEMORY);
            assert_true(strlen(error.text) > 10);
            assert_null(handle);
            assert_int_equal(descriptors(), before);
            assert_true(n < 200);
        }
        assert_true(failures > 10);
    }
}

TEST(connect_survives_every_failing_allocation) {
    Session client(nullptr, {});
    Config config({{"header.X-Test", "value"}, {"ping.interval_ns", "1s"}});
    MemoryIsBack back;
    size_t before = descriptors();
    for (int64_t n = 0;; n++) {
        uint32_t id = 77;
        memory_fails_after(n);
        int status = wsxdp_connect(client.handle, "ws://127.0.0.1:1/", config.config, &id);
        memory_fails_after(-1);
        if (status == WSXDP_OK) break;
        assert_int_equal(status, WSXDP_E_MEMORY);
        char text[200];
        assert_true(wsxdp_last_error(client.handle, text, sizeof text) > 10);
        assert_int_equal(client.stats(WSXDP_ALL).connections, 0);
        assert_int_equal(descriptors(), before);
        assert_true(n < 100);
    }
    assert_int_equal(client.stats(WSXDP_ALL).connections, 1);
}

// The attempt itself: it opens, or ends with E_MEMORY; the handle lives on and connects when memory is back.
TEST(an_attempt_survives_every_failing_allocation) {
    TestServer server;
    MemoryIsBack back;
    size_t before = descriptors();
    bool opened = false;
    for (int64_t n = 0; !opened; n++) {
        Session client(server.url(), {{"reconnect", "no"}, {"deflate", "yes"}, {"subscribe", "hello"}});
        assert_int_equal(client.status, WSXDP_OK);
        memory_fails_after(n);
        TestPeer peer;
        std::string head;
        Pair::keep_on([&] {
            client.poll(0);
            if (peer.fd < 0) server.accept(&peer);
            peer.pull();
            if (peer.head(&head))
                peer.send(TestPeer::answer(head, "Sec-WebSocket-Extensions: permessage-deflate\r\n"));
            return client.count(WSXDP_EVENT_CLOSE) + client.count(WSXDP_EVENT_OPEN) > 0;
        });
        client.poll(0);
        memory_fails_after(-1);
        if (client.count(WSXDP_EVENT_CLOSE) == 0) {
            opened = client.count(WSXDP_EVENT_OPEN) == 1 && client.count(WSXDP_EVENT_ERROR) == 0;
        } else {
            assert_int_equal(client.events.back().error, WSXDP_E_MEMORY);
        }
        assert_true(n < 100);
    }
    assert_int_equal(descriptors(), before);
}

TEST(a_sender_survives_every_failing_allocation) {
    Session client("echo:");
    MemoryIsBack back;
    size_t before = descriptors();
    wsxdp_sender *sender = nullptr;
    for (int64_t n = 0; sender == nullptr; n++) {
        memory_fails_after(n);
        int status = wsxdp_sender_open(client.handle, 0, 0, &sender);
        memory_fails_after(-1);
        if (status == WSXDP_OK) break;
        assert_int_equal(status, WSXDP_E_MEMORY);
        assert_int_equal(descriptors(), before);
        assert_true(n < 20);
    }
    assert_non_null(sender);
    wsxdp_sender_free(sender);
    assert_int_equal(descriptors(), before);
}

TEST(a_config_survives_every_failing_allocation) {
    MemoryIsBack back;
    memory_fails_after(0);
    wsxdp_config *config = wsxdp_config_new();
    memory_fails_after(-1);
    assert_null(config);
    config = wsxdp_config_new();
    for (int64_t n = 0;; n++) {
        memory_fails_after(n);
        int status = wsxdp_config_set(config, "header.X-Name", "value");
        memory_fails_after(-1);
        if (status == WSXDP_OK) break;
        assert_int_equal(status, WSXDP_E_MEMORY);
        char text[100];
        assert_true(wsxdp_config_error(config, text, sizeof text) > 5);
    }
    wsxdp_config_free(config);
}

TEST(steady_traffic_allocates_nothing) {
    Pair pair;
    auto traffic = [&] {
        for (int i = 0; i < 1000; i++) {
            assert_int_equal(pair.client.send(text_of(300)), WSXDP_OK);
            pair.peer.send(wire_frame(1, pair.frame(1).payload) + wire_frame(9, "p") +
                           wire_frame(2, "a", false) + wire_frame(0, "b"));
            pair.event(WSXDP_EVENT_MESSAGE);
            pair.event(WSXDP_EVENT_PING);
            pair.message("ab", WSXDP_FLAG_BINARY);
            pair.frame(10);
        }
    };
    traffic();
    uint64_t before = wx::allocation_count();
    traffic();
    assert_int_equal(wx::allocation_count() - before, 0);
    assert_int_equal(pair.client.stats().allocations, 0);
    assert_int_equal(pair.client.stats(WSXDP_ALL).allocations, 0);
}

TEST(open_refuses_bad_arguments) {
    wsxdp *handle = reinterpret_cast<wsxdp *>(&handle);
    assert_int_equal(wsxdp_open("echo:", nullptr, nullptr, nullptr), WSXDP_E_INVALID);
    wsxdp_error error;
    memset(&error, 0, sizeof error);
    assert_int_equal(wsxdp_open("echo:", nullptr, &handle, &error), WSXDP_E_STRUCT_SIZE);
    assert_null(handle);
    for (const char *url : {"", "http://host/", "ws://", "ws:/host", "wss//x", "ws://host:99999/",
                            "ws://ho st/", "ws://host/#fragment", "ftp://x", "ws+unix://"}) {
        handle = reinterpret_cast<wsxdp *>(&handle);
        error.struct_size = sizeof error;
        assert_int_equal(wsxdp_open(url, nullptr, &handle, &error), WSXDP_E_URL);
        assert_null(handle);
        assert_int_equal(error.code, WSXDP_E_URL);
        assert_true(strlen(error.text) > 5);
    }
    Config uring(OptionList{{"transport", "uring"}});
    error.struct_size = sizeof error;
    assert_int_equal(wsxdp_open("echo:", uring.config, &handle, &error), WSXDP_E_UNSUPPORTED);
    assert_null(handle);
}

TESTS("opening")
