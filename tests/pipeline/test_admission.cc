// SPDX-License-Identifier: MIT
// Connections are handed to the processes of the stages one by one, and a process may not take them for a
// while, or not have come to it when they are over already: no request is lost, taken twice or taken for
// that of a later connection.
#include "helpers.h"
#include "pair.h"
#include <signal.h>

static pid_t process_of(const char *role) {
    for (const pid_t pid : helpers_of(getpid()))
        if (contains(read_file("/proc/" + std::to_string(pid) + "/cmdline"),
                     std::string("stage\0", 6) + role))
            return pid;
    fail_msg("no process of %s", role);
    return 0;
}

static const int connections_max = 600; // more than a socket holds requests

struct Many : Session {
    std::vector<uint32_t> ids;
    explicit Many(const OptionList &more = {}) : Session(nullptr, options(more)) {
        if (status < 0) fail_msg("%s", text.c_str());
    }
    static OptionList options(const OptionList &more) {
        OptionList all = {{"placement", "processes"}, {"connections.max", std::to_string(connections_max)},
                          {"stage.silence_ns", "0"},  {"reconnect", "no"},
                          {"inbox.bytes", "64KiB"},   {"outbox.bytes", "64KiB"}};
        all.insert(all.end(), more.begin(), more.end());
        return all;
    }
    int connect(const char *url = "echo:") {
        uint32_t id = 0;
        const int result = wsxdp_connect(handle, url, nullptr, &id);
        if (result == WSXDP_OK) ids.push_back(id);
        return result;
    }
    // All are open, and what each of them sends comes back to it.
    void all_echo() {
        for (int64_t end = now_ms() + 20000; count(WSXDP_EVENT_OPEN) < ids.size() && now_ms() < end;)
            poll(100);
        if (count(WSXDP_EVENT_OPEN) != ids.size()) print();
        assert_int_equal(count(WSXDP_EVENT_OPEN), ids.size());
        const size_t before = events.size();
        for (const uint32_t id : ids)
            assert_int_equal(send("I am " + std::to_string(id), WSXDP_TEXT, id), WSXDP_OK);
        size_t came = 0;
        for (int64_t end = now_ms() + 20000; came < ids.size() && now_ms() < end;) {
            poll(100);
            came = 0;
            for (size_t i = before; i < events.size(); i++) {
                if (events[i].kind != WSXDP_EVENT_MESSAGE) continue;
                assert_string_equal(events[i].data.c_str(),
                                    ("I am " + std::to_string(events[i].conn)).c_str());
                came++;
            }
        }
        assert_int_equal(came, ids.size());
        assert_int_equal(count(WSXDP_EVENT_ERROR), 0);
    }
};

// Whichever of them stands still: what the others were told of the refused connection is taken back.
TEST(a_request_that_one_process_does_not_take_is_taken_back_from_the_others) {
    for (const char *role : {"transport", "ws"}) {
        Many client;
        const pid_t stopped = process_of(role);
        kill(stopped, SIGSTOP);
        int result = WSXDP_OK;
        while (client.ids.size() < connections_max && result == WSXDP_OK) result = client.connect();
        assert_int_equal(result, WSXDP_E_AGAIN);
        assert_int_equal(client.connect(), WSXDP_E_AGAIN); // still
        kill(stopped, SIGCONT);
        for (int64_t end = now_ms() + 10000; result == WSXDP_E_AGAIN && now_ms() < end;) {
            client.poll(10);
            result = client.connect();
        }
        assert_int_equal(result, WSXDP_OK);
        for (int i = 0; i < 20; i++) assert_int_equal(client.connect(), WSXDP_OK);
        client.all_echo();
        // Its place is free again: as many as are allowed can be had.
        while (client.ids.size() < connections_max) {
            result = client.connect();
            if (result == WSXDP_E_AGAIN)
                client.poll(10);
            else
                assert_int_equal(result, WSXDP_OK);
        }
        assert_int_equal(client.connect(), WSXDP_E_CONNECTIONS);
        client.all_echo();
    }
}

// The nic hears of a connection for the first time when it is over.
TEST(a_request_that_comes_after_its_end_is_no_later_connection_s) {
    Many client({{"placement", "processes: nic transport ws"}, {"transport", "xdp"}});
    client.connect();
    client.all_echo();
    const pid_t nic = process_of("nic");
    kill(nic, SIGSTOP);
    assert_int_equal(client.connect(), WSXDP_OK);
    const uint32_t id = client.ids.back();
    client.ids.pop_back();
    client.need(WSXDP_EVENT_OPEN, 5000, id);
    assert_int_equal(wsxdp_abort(client.handle, id), WSXDP_OK);
    client.need(WSXDP_EVENT_CLOSE, 5000, id);
    for (int i = 0; i < 10; i++) client.poll(1);
    kill(nic, SIGCONT);
    for (int i = 0; i < 20; i++) {
        client.poll(10);
        assert_int_equal(client.connect(), WSXDP_OK);
        client.need(WSXDP_EVENT_OPEN, 5000, client.ids.back());
    }
    assert_int_equal(client.count(WSXDP_EVENT_ERROR), 0);
    assert_int_equal(process_of("nic"), nic);
}

TESTS("admission")
