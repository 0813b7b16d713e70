// SPDX-License-Identifier: MIT
// link: -Wl,--wrap=waitid
// A helper that publishes messages and ends between the caller's look at the event ring and its look whether
// the helper still runs: the messages come before the news of its death, as if it had ended a little later.
#include "../support/processes.h"
#include "pair.h"
#include <functional>
#include <signal.h>
#include <sys/wait.h>

// For the helper, which is awake or wakes at once; we are inside of a poll and cannot ask it.
constexpr unsigned publishing_us = sanitized ? 500000 : 100000;

// Runs once, right before the caller asks whether its helper has ended.
static std::function<void()> before_the_look;

extern "C" int __real_waitid(idtype_t kind, id_t id, siginfo_t *info, int options);
extern "C" int __wrap_waitid(idtype_t kind, id_t id, siginfo_t *info, int options) {
    if (before_the_look) {
        const std::function<void()> run = std::move(before_the_look);
        before_the_look = nullptr;
        run();
    }
    return __real_waitid(kind, id, info, options);
}

static void kill_and_see(pid_t pid) {
    kill(pid, SIGKILL);
    siginfo_t info;
    __real_waitid(P_PID, static_cast<id_t>(pid), &info, WEXITED | WNOWAIT);
}

TEST(what_it_published_at_the_last_moment_comes_before_the_news) {
    TestServer server;
    TestPeer peer;
    std::string head;
    Session client(server.url(), {{"placement", "processes: transport+ws"}});
    for (int64_t end = now_ms() + 5000; !server.accept(&peer); client.poll(1)) assert_true(now_ms() < end);
    for (int64_t end = now_ms() + 5000; !peer.head(&head); client.poll(1), peer.pull())
        assert_true(now_ms() < end);
    peer.send(TestPeer::answer(head));
    client.need(WSXDP_EVENT_OPEN);
    const pid_t pid = helpers_of(getpid()).at(0);
    bool ran = false;
    before_the_look = [&] {
        ran = true;
        for (int i = 0; i < 5; i++) peer.send(wire_frame(1, "last " + std::to_string(i)));
        usleep(publishing_us);
        kill_and_see(pid);
    };
    // Two looks have a distance: a poll that came too soon after the last one sleeps, and nobody wakes it.
    for (int64_t end = now_ms() + 5000; !ran && now_ms() < end;) client.poll(20);
    assert_true(ran);
    client.need(WSXDP_EVENT_RECONNECTING);
    std::string order;
    for (const Seen &seen : client.events) {
        if (seen.kind == WSXDP_EVENT_MESSAGE) order += seen.data + ", ";
        if (seen.kind == WSXDP_EVENT_ERROR) order += "error, ";
        if (seen.kind == WSXDP_EVENT_RECONNECTING) order += "reconnecting";
    }
    assert_string_equal(order.c_str(), "last 0, last 1, last 2, last 3, last 4, error, reconnecting");
}

TESTS("last words")
