// SPDX-License-Identifier: MIT
// Lost connections and how they come back: a server process that is killed and started again, the delays,
// what is sent again and what is not, when to give up, and that the others in the handle go on meanwhile.
#include "session.h"
#include <atomic>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

using namespace scripted;

// A server in a process of its own, so that it can be killed as the world kills servers.
struct Process {
    pid_t pid = -1;
    int port;
    explicit Process(const Script &script, int wanted = 0) : port(wanted) {
        int pipe_ends[2];
        if (pipe(pipe_ends) != 0) return;
        pid_t parent = getpid();
        pid = fork();
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            if (getppid() != parent) _exit(1);
            for (int fd = 3; fd < 256; fd++)
                if (fd != pipe_ends[1]) close(fd);
            Server server(script, nullptr, "127.0.0.1", port);
            if (write(pipe_ends[1], &server.port, sizeof server.port) != sizeof server.port) _exit(1);
            for (;;) pause();
        }
        close(pipe_ends[1]);
        if (read(pipe_ends[0], &port, sizeof port) != sizeof port)
            fail_msg("the server process did not start");
        close(pipe_ends[0]);
    }
    ~Process() { kill_now(); }
    void kill_now() {
        if (pid <= 0) return;
        kill(pid, SIGKILL);
        waitpid(pid, nullptr, 0);
        pid = -1;
    }
    std::string url() const { return "ws://127.0.0.1:" + std::to_string(port) + "/"; }
};

// Tells back what it hears, and streams numbers.
static void tell_back(Wire &wire) {
    wire.upgrade();
    for (Frame f = wire.read_frame(); f.opcode >= 0 && f.opcode != 8; f = wire.read_frame()) {
        wire.write(frame(1, "got " + f.payload));
        if (f.payload == "stream")
            for (int i = 0; i < 100000 && !wire.broken; i++)
                wire.write(frame(1, std::to_string(i))), usleep(200);
    }
}

static const OptionList quick = {{"reconnect.delay_min_ns", "20ms"}, {"reconnect.delay_max_ns", "80ms"}};

static OptionList with(OptionList more) {
    more.insert(more.end(), quick.begin(), quick.end());
    return more;
}

FORKING_TEST(a_killed_server_is_found_again_when_it_is_back) {
    Process first(tell_back);
    int port = first.port;
    Session session(first.url(), with({{"subscribe", "one"}, {"subscribe", "two"}, {"subscribe", "stream"}}));
    const Seen &open = session.need(WSXDP_EVENT_OPEN);
    assert_false(open.flags & WSXDP_FLAG_RECONNECTED);
    const char *wanted[] = {"got one", "got two", "got stream", "0", "1", "2"};
    for (const char *text : wanted) assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), text);
    first.kill_now();
    const Seen *error = &session.need(WSXDP_EVENT_ERROR);
    assert_true(error->error == WSXDP_E_EOF || error->error == WSXDP_E_RESET);
    const Seen *again = &session.need(WSXDP_EVENT_RECONNECTING);
    assert_int_equal(again->attempt, 1);
    assert_int_equal(again->value, 0); // the first at once
    assert_true(again->error == WSXDP_E_EOF || again->error == WSXDP_E_RESET);
    assert_true(again->data.size() > 10);
    for (uint32_t attempt = 2; attempt <= 5; attempt++) {
        // A thread of its own tries again at once, and the killed server's port outlives its connections for
        // a moment; the caller, which waited for the process to be gone, meets nobody.
        const int why = session.need(WSXDP_EVENT_ERROR).error;
        assert_true(why == WSXDP_E_REFUSED ||
                    (attempt == 2 && why == WSXDP_E_RESET && !test_placement().empty()));
        const Seen &later = session.need(WSXDP_EVENT_RECONNECTING);
        assert_int_equal(later.attempt, attempt);
        assert_int_equal(later.error, why);
        int64_t bound = attempt == 2 ? 20 : (attempt == 3 ? 40 : 80);
        assert_in_range(later.value, 0, bound * 1000000);
    }
    size_t before = session.events.size();
    Process second(tell_back, port);
    const Seen &reopened = session.need(WSXDP_EVENT_OPEN);
    assert_true(reopened.flags & WSXDP_FLAG_RECONNECTED);
    for (const char *text : wanted) assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), text);
    uint64_t sequence = 0; // goes on counting
    for (const Seen &seen : session.events)
        if (seen.kind == WSXDP_EVENT_MESSAGE) assert_int_equal(seen.sequence, ++sequence);
    assert_int_equal(session.stats().opens, 2);
    assert_true(session.stats().reconnects >= 5);
    (void)before;
}

TEST(nothing_of_the_old_outbox_is_sent_again) {
    std::string heard;
    std::atomic<bool> full{false};
    Server server([&](Wire &wire) {
        if (wire.number == 0) {
            int small = 4096;
            setsockopt(wire.fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
            wire.upgrade();
            wire.read_exactly(100);
            while (!full) usleep(1000);
            wire.reset();
            return;
        }
        wire.upgrade();
        for (Frame f = wire.read_frame(); f.opcode >= 0 && f.opcode != 8; f = wire.read_frame()) {
            heard += f.payload + ";";
            wire.write(frame(1, "got"));
        }
    });
    Session session(server.url(), with({{"socket.send_buffer_bytes", "4096"}, {"subscribe", "hello"}}));
    session.need(WSXDP_EVENT_OPEN);
    size_t taken = 0;
    while (session.send(std::string(1000, 'o')) == 0) taken++;
    full = true;
    assert_true(taken > 100);
    assert_true(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RECONNECTED);
    assert_int_equal(session.send("new"), 0);
    session.need(WSXDP_EVENT_MESSAGE);
    session.need(WSXDP_EVENT_MESSAGE);
    assert_string_equal(heard.c_str(), "hello;new;");
}

TEST(sending_while_waiting_is_refused) {
    RefusingPort port;
    Session session("ws://127.0.0.1:" + std::to_string(port.port), {{"reconnect.delay_min_ns", "10s"}});
    const int64_t start = now_ms();
    assert_int_equal(session.send("early"), WSXDP_E_STATE);
    session.need(WSXDP_EVENT_RECONNECTING);
    const Seen second = session.need(WSXDP_EVENT_RECONNECTING);
    assert_int_equal(session.send("still"), WSXDP_E_STATE);
    const std::string state = session.info("state");
    on_time(start, 0, second.value / 1000000 - 1); // it is a random delay
    assert_string_equal(state.c_str(), "waiting");
}

TEST(max_attempts_gives_up) {
    RefusingPort port;
    Session session("ws://127.0.0.1:" + std::to_string(port.port), with({{"reconnect.max_attempts", "3"}}));
    const Seen &close = session.need(WSXDP_EVENT_CLOSE);
    assert_int_equal(close.error, WSXDP_E_RETRIES);
    assert_true(contains(close.data, "gave up after 3 more attempts"));
    assert_int_equal(session.count(WSXDP_EVENT_RECONNECTING), 3);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 4);
    assert_int_equal(session.stats().reconnects, 3);
}

TEST(reconnect_no_ends_with_the_cause) {
    Server server([](Wire &wire) { wire.upgrade(); });
    Session session(server.url(), {{"reconnect", "no"}});
    session.need(WSXDP_EVENT_OPEN);
    assert_int_equal(session.need(WSXDP_EVENT_ERROR).error, WSXDP_E_EOF);
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE).error, WSXDP_E_EOF);
    session.poll(50);
    assert_int_equal(server.accepted, 1);
    assert_int_equal(session.send("x"), WSXDP_E_STALE);
}

TEST(reconnect_initial_no_concerns_the_first_only) {
    RefusingPort port;
    Session first("ws://127.0.0.1:" + std::to_string(port.port), {{"reconnect.initial", "no"}});
    assert_int_equal(first.need(WSXDP_EVENT_CLOSE).error, WSXDP_E_REFUSED);
    assert_int_equal(first.count(WSXDP_EVENT_RECONNECTING), 0);
    Server server([](Wire &wire) {
        wire.upgrade();
        if (wire.number > 0) wire.wait_end();
    });
    Session second(server.url(), with({{"reconnect.initial", "no"}}));
    second.need(WSXDP_EVENT_OPEN);
    assert_true(second.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RECONNECTED);
}

TEST(the_first_connection_is_tried_again_too) {
    RefusingPort *port = new RefusingPort;
    int number = port->port;
    Session session("ws://127.0.0.1:" + std::to_string(number), with({}));
    session.need(WSXDP_EVENT_RECONNECTING);
    session.need(WSXDP_EVENT_RECONNECTING);
    delete port;
    Server server(tell_back, nullptr, "127.0.0.1", number);
    assert_false(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RECONNECTED);
}

// Openings that last `ms` each at least, as the client sees them; the attempt numbers that follow them.
static std::vector<uint32_t> attempts_after(int ms, OptionList options) {
    Server server([=](Wire &wire) {
        wire.upgrade();
        wire.read_frame();
        usleep(static_cast<useconds_t>(ms) * 1000);
    });
    options.push_back({"subscribe", "open"});
    Session session(server.url(), options);
    std::vector<uint32_t> attempts;
    for (int i = 0; i < 3; i++) attempts.push_back(session.need(WSXDP_EVENT_RECONNECTING).attempt);
    return attempts;
}

TEST(a_stable_connection_starts_the_delays_anew) {
    std::vector<uint32_t> attempts = attempts_after(60, with({{"reconnect.stable_ns", "30ms"}}));
    for (uint32_t attempt : attempts) assert_int_equal(attempt, 1);
}
TEST(an_unstable_connection_does_not) {
    std::vector<uint32_t> attempts = attempts_after(5, with({{"reconnect.stable_ns", "10s"}}));
    for (uint32_t i = 0; i < 3; i++) assert_int_equal(attempts[i], i + 1);
}

TEST(delays_are_random_below_a_bound_that_doubles_to_its_cap) {
    RefusingPort port;
    Session session("ws://127.0.0.1:" + std::to_string(port.port), {{"reconnect.delay_min_ns", "1ms"},
                                                                    {"reconnect.delay_max_ns", "6ms"},
                                                                    {"reconnect.max_attempts", "60"}});
    session.need(WSXDP_EVENT_CLOSE, 10000);
    std::vector<int64_t> delays;
    for (const Seen &seen : session.events)
        if (seen.kind == WSXDP_EVENT_RECONNECTING) delays.push_back(seen.value);
    assert_int_equal(delays.size(), 60);
    assert_int_equal(delays[0], 0);
    int64_t bound = 1000000, largest = 0, smallest = 6000000;
    for (size_t i = 1; i < delays.size(); i++) {
        assert_in_range(delays[i], 0, bound);
        bound = bound * 2 < 6000000 ? bound * 2 : 6000000;
        if (i > 3 && delays[i] > largest) largest = delays[i];
        if (i > 3 && delays[i] < smallest) smallest = delays[i];
    }
    assert_true(largest > 3000000); // by chance not: once in 10^16
    assert_true(smallest < 3000000);
}

TEST(the_delay_is_kept) {
    RefusingPort port;
    const int64_t start = now_ms();
    Session session("ws://127.0.0.1:" + std::to_string(port.port),
                    {{"reconnect.delay_min_ns", "300ms"}, {"reconnect.max_attempts", "2"}});
    assert_int_equal(session.need(WSXDP_EVENT_RECONNECTING).value, 0);
    const int64_t delay = session.need(WSXDP_EVENT_RECONNECTING).value / 1000000;
    session.need(WSXDP_EVENT_CLOSE); // attempts that are refused take no time
    on_time(start, delay, delay + 60);
}

TEST(a_close_by_the_peer_is_reconnected_with_its_code) {
    Server server([](Wire &wire) {
        wire.upgrade();
        if (wire.number > 0) {
            wire.wait_end();
            return;
        }
        wire.write(close_frame(1012, "restart"));
        wire.read_frame();
    });
    Session session(server.url(), quick);
    const Seen &again = session.need(WSXDP_EVENT_RECONNECTING);
    assert_int_equal(again.code, 1012);
    assert_int_equal(again.error, 0);
    assert_true(contains(again.data, "restart"));
    assert_true(again.flags & WSXDP_FLAG_BY_PEER);
    assert_true(session.need(WSXDP_EVENT_OPEN).flags & WSXDP_FLAG_RECONNECTED);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}

TEST(the_callers_close_is_not_reconnected) {
    Server server(tell_back);
    Session session(server.url(), quick);
    session.need(WSXDP_EVENT_OPEN);
    assert_int_equal(wsxdp_close(session.handle, 0, 1000, "", 0), 0);
    session.need(WSXDP_EVENT_CLOSE);
    session.poll(100);
    assert_int_equal(session.count(WSXDP_EVENT_RECONNECTING), 0);
    assert_int_equal(server.accepted, 1);
}

TEST(close_while_waiting_ends_it) {
    RefusingPort port;
    Session session("ws://127.0.0.1:" + std::to_string(port.port),
                    {{"reconnect.delay_min_ns", "10s"}, {"reconnect.delay_max_ns", "20s"}});
    session.need(WSXDP_EVENT_RECONNECTING);
    session.need(WSXDP_EVENT_RECONNECTING);
    assert_int_equal(wsxdp_close(session.handle, 0, 1000, "", 0), 0);
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE, 200).error, WSXDP_E_ABORTED);
}

TEST(abort_while_open_and_while_waiting_ends_it) {
    Server server(tell_back);
    Session open(server.url(), quick);
    open.need(WSXDP_EVENT_OPEN);
    assert_int_equal(wsxdp_abort(open.handle, 0), 0);
    assert_int_equal(open.need(WSXDP_EVENT_CLOSE, 200).error, WSXDP_E_ABORTED);
    RefusingPort port;
    Session waiting("ws://127.0.0.1:" + std::to_string(port.port), {{"reconnect.delay_min_ns", "10s"}});
    waiting.need(WSXDP_EVENT_RECONNECTING);
    waiting.poll(20);
    assert_int_equal(wsxdp_abort(waiting.handle, 0), 0);
    assert_int_equal(waiting.need(WSXDP_EVENT_CLOSE, 200).error, WSXDP_E_ABORTED);
}

TEST(free_in_every_state) {
    Server server(tell_back);
    for (int polls = 0; polls < 12; polls++) {
        int64_t start = now_ms();
        {
            Session session(server.url(), with({{"subscribe", "stream"}}));
            for (int i = 0; i < polls; i++) session.poll(1);
            if (polls > 8) session.send(std::string(200000, 'x'));
            if (polls > 9) wsxdp_close(session.handle, 0, 1000, "", 0);
            if (polls > 10) session.poll(1);
        }
        on_time(start, 0, 500);
    }
}

// One connection streams, the other has nobody to talk to: the stream does not notice.
TEST(a_reconnecting_connection_does_not_stall_the_others) {
    Server server(tell_back);
    SilentPort silent;
    RefusingPort refusing;
    Session session(server.url(), {{"connect.timeout_ns", "50ms"},
                                   {"reconnect.delay_min_ns", "5ms"},
                                   {"reconnect.delay_max_ns", "10ms"}});
    uint32_t stream = session.need(WSXDP_EVENT_OPEN).conn, ids[2];
    assert_int_equal(wsxdp_connect(session.handle, ("ws://127.0.0.1:" + std::to_string(silent.port)).c_str(),
                                   nullptr, &ids[0]),
                     0);
    assert_int_equal(wsxdp_connect(session.handle,
                                   ("ws://127.0.0.1:" + std::to_string(refusing.port)).c_str(), nullptr,
                                   &ids[1]),
                     0);
    int64_t slowest = 0, until = now_ms() + 600;
    size_t rounds = 0;
    for (; now_ms() < until; rounds++) {
        int64_t start = now_ms();
        assert_int_equal(session.send("x", WSXDP_TEXT, stream), 0);
        session.need(WSXDP_EVENT_MESSAGE, 1000, stream);
        slowest = now_ms() - start > slowest ? now_ms() - start : slowest;
    }
    size_t retries[2] = {0, 0};
    for (const Seen &seen : session.events)
        if (seen.kind == WSXDP_EVENT_RECONNECTING) retries[seen.conn == ids[1]]++;
    took_ms(slowest, 0, 39); // an attempt that is waited for takes longer
    assert_true(retries[0] >= 5);
    assert_true(retries[1] >= 20);
    assert_true(rounds > 600);
}

TEST(descriptors_and_counts_do_not_grow_over_many_reconnects) {
    Server server([](Wire &wire) {
        wire.upgrade();
        wire.write(frame(1, "x"));
    });
    Session session(server.url(), {{"reconnect.delay_min_ns", "1ms"}, {"reconnect.delay_max_ns", "1ms"}});
    session.need(WSXDP_EVENT_RECONNECTING);
    session.need(WSXDP_EVENT_MESSAGE);
    for (int i = 0; i < 100; i++) session.need(WSXDP_EVENT_OPEN);
    assert_true(session.stats().opens >= 100);
    assert_int_equal(session.stats().allocations, 0);
    int next = dup(0); // the lowest that is free: none were left open
    close(next);
    assert_true(next < 40);
}

TESTS("reconnecting")
