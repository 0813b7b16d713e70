// SPDX-License-Identifier: MIT
// Names to addresses through the system's resolver, which is replaced here by one that answers as the test
// says, or not at all: this program has a getaddrinfo of its own.
#include "session.h"

#include <arpa/inet.h>
#include <condition_variable>
#include <netdb.h>
#include <signal.h>

using namespace scripted;

namespace {

std::mutex resolver_mutex;
std::condition_variable resolver_changed;
std::vector<std::string> answers;
bool silent = false;
int waiting = 0, asked = 0, failure = EAI_NONAME;
std::string asked_name;
int asked_family = -1;
bool signals_blocked = false;

addrinfo *entry(const std::string &text, int port) {
    struct Both {
        addrinfo info;
        sockaddr_storage address;
    };
    Both *both = static_cast<Both *>(calloc(1, sizeof(Both)));
    both->info.ai_addr = reinterpret_cast<sockaddr *>(&both->address);
    sockaddr_in *v4 = reinterpret_cast<sockaddr_in *>(&both->address);
    sockaddr_in6 *v6 = reinterpret_cast<sockaddr_in6 *>(&both->address);
    v4->sin_port = htons(static_cast<uint16_t>(port));
    bool four = inet_pton(AF_INET, text.c_str(), &v4->sin_addr) == 1;
    if (!four) inet_pton(AF_INET6, text.c_str(), &v6->sin6_addr);
    both->address.ss_family = static_cast<sa_family_t>(four ? AF_INET : AF_INET6);
    both->info.ai_family = both->address.ss_family;
    both->info.ai_addrlen = four ? sizeof(sockaddr_in) : sizeof(sockaddr_in6);
    return &both->info;
}

void resolver_says(const std::vector<std::string> &addresses, int otherwise = EAI_NONAME) {
    std::lock_guard<std::mutex> lock(resolver_mutex);
    answers = addresses;
    failure = otherwise;
    silent = false;
    asked = 0;
}

void resolver_is_silent(bool yes) {
    std::unique_lock<std::mutex> lock(resolver_mutex);
    silent = yes;
    resolver_changed.notify_all();
    while (!yes && waiting != 0) resolver_changed.wait(lock);
}

} // namespace

extern "C" int getaddrinfo(const char *name, const char *service, const addrinfo *hints, addrinfo **out) {
    std::unique_lock<std::mutex> lock(resolver_mutex);
    asked++;
    asked_name = name;
    asked_family = hints->ai_family;
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, nullptr, &mask);
    signals_blocked = sigismember(&mask, SIGINT) && sigismember(&mask, SIGTERM);
    waiting++;
    while (silent) resolver_changed.wait(lock);
    waiting--;
    resolver_changed.notify_all();
    *out = nullptr;
    addrinfo **end = out;
    for (const std::string &answer : answers) {
        *end = entry(answer, atoi(service));
        end = &(*end)->ai_next;
    }
    errno = EIO;
    return *out ? 0 : failure;
}

extern "C" void freeaddrinfo(addrinfo *list) noexcept {
    while (list) {
        addrinfo *next = list->ai_next;
        free(list);
        list = next;
    }
}

static void talk(Wire &wire) {
    wire.upgrade();
    wire.wait_end();
}

static std::string url(int port) { return "ws://host.test:" + std::to_string(port) + "/"; }

TEST(a_name_is_resolved_and_sent_as_host) {
    resolver_says({"127.0.0.1"});
    std::string host;
    Server server([&](Wire &wire) {
        wire.upgrade();
        host = wire.field("Host");
        wire.write(frame(1, "x"));
        wire.wait_end();
    });
    Session session(url(server.port));
    session.need(WSXDP_EVENT_MESSAGE);
    assert_string_equal(asked_name.c_str(), "host.test");
    assert_int_equal(asked_family, AF_UNSPEC);
    assert_true(signals_blocked);
    assert_string_equal(host.c_str(), ("host.test:" + std::to_string(server.port)).c_str());
}

TEST(the_family_goes_to_the_resolver) {
    resolver_says({"::1"});
    Server server(talk, nullptr, "::1");
    Session session(url(server.port), {{"connect.family", "ipv6"}});
    session.need(WSXDP_EVENT_OPEN);
    assert_int_equal(asked_family, AF_INET6);
}

TEST(all_of_its_addresses_are_tried) {
    Server server(talk, nullptr, "127.0.0.3");
    RefusingPort one("127.0.0.1", server.port), two("127.0.0.2", server.port);
    resolver_says({"127.0.0.1", "127.0.0.2", "127.0.0.3"});
    Session session(url(server.port));
    session.need(WSXDP_EVENT_OPEN);
    assert_true(contains(session.info("peer"), "127.0.0.3:"));
}

TEST(forty_addresses_are_as_many_as_a_list_holds) {
    RefusingPort port;
    resolver_says(std::vector<std::string>(40, "127.0.0.1"));
    expect_failure(url(port.port), {}, WSXDP_E_REFUSED, "all 32 addresses failed");
}

TEST(an_unknown_name_does_not_resolve) {
    resolver_says({});
    std::string text = expect_failure("ws://nowhere.test/", {}, WSXDP_E_RESOLVE, "check the host name");
    assert_true(contains(text, "nowhere.test"));
}

TEST(each_failure_of_the_resolver_says_its_own) {
    resolver_says({}, EAI_AGAIN);
    std::string again = expect_failure("ws://nowhere.test/", {}, WSXDP_E_RESOLVE, "resolving nowhere.test: ");
    resolver_says({}, EAI_FAIL);
    std::string failed =
        expect_failure("ws://nowhere.test/", {}, WSXDP_E_RESOLVE, "resolving nowhere.test: ");
    assert_string_not_equal(again.c_str(), failed.c_str());
}

TEST(an_empty_answer_does_not_resolve) {
    resolver_says({}, 0);
    expect_failure("ws://nowhere.test/", {}, WSXDP_E_RESOLVE, "no address");
}

TEST(a_silent_resolver_is_the_resolve_timeout) {
    resolver_is_silent(true);
    int64_t start = now_ms();
    expect_failure("ws://slow.test/", {{"resolve.timeout_ns", "120ms"}}, WSXDP_E_RESOLVE_TIMEOUT,
                   "slow.test");
    on_time(start, 110, 500);
    resolver_is_silent(false);
}

TEST(a_silent_resolver_stops_no_other_connection) {
    resolver_is_silent(true);
    Server server([](Wire &wire) {
        wire.upgrade();
        for (Frame f = wire.read_frame(); f.opcode > 0; f = wire.read_frame())
            wire.write(frame(1, f.payload));
    });
    Session session("ws://slow.test/");
    uint32_t id = 0;
    assert_int_equal(wsxdp_connect(session.handle, server.url().c_str(), nullptr, &id), 0);
    session.need(WSXDP_EVENT_OPEN, 1000, id);
    for (int i = 0; i < 50; i++) {
        assert_int_equal(session.send("ping", WSXDP_TEXT, id), 0);
        session.need(WSXDP_EVENT_MESSAGE, 500, id);
    }
    resolver_is_silent(false);
}

TEST(free_does_not_wait_for_a_silent_resolver) {
    resolver_is_silent(true);
    int64_t start = now_ms();
    for (int polls = 0; polls < 3; polls++) {
        Session session("ws://slow.test/");
        for (int i = 0; i < polls; i++) session.poll(10);
    }
    on_time(start, 0, 300);
    resolver_is_silent(false);
}

TEST(close_does_not_wait_for_a_silent_resolver) {
    resolver_is_silent(true);
    Session session("ws://slow.test/");
    session.poll(20);
    assert_int_equal(wsxdp_close(session.handle, 0, 1000, "", 0), 0);
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE, 200).error, WSXDP_E_ABORTED);
    resolver_is_silent(false);
}

TEST(a_late_answer_after_the_timeout_harms_nobody) {
    resolver_says({"127.0.0.1"});
    resolver_is_silent(true);
    Server server(talk);
    Session session(url(server.port), {{"resolve.timeout_ns", "50ms"}, {"reconnect.delay_min_ns", "50ms"}});
    session.need(WSXDP_EVENT_RECONNECTING, 500);
    resolver_is_silent(false);
    session.need(WSXDP_EVENT_OPEN, 2000);
}

TEST(a_sleeping_poll_is_woken_by_the_answer) {
    resolver_says({"127.0.0.1"});
    resolver_is_silent(true);
    Server server(talk);
    Session session(url(server.port), {{"wait", "sleep"}});
    int64_t start = now_ms();
    std::thread later([] {
        usleep(50000);
        resolver_is_silent(false);
    });
    session.need(WSXDP_EVENT_OPEN);
    later.join();
    on_time(start, 49, 250);
}

TEST(an_override_does_not_ask_the_system) {
    resolver_says({"127.0.0.9"});
    Server server(talk);
    Session session(url(server.port), {{"resolve.override", "other.test=127.0.0.8"},
                                       {"resolve.override", "HOST.test=127.0.0.1"}});
    session.need(WSXDP_EVENT_OPEN);
    assert_int_equal(asked, 0);
}

TEST(an_override_for_another_name_asks_the_system) {
    resolver_says({"127.0.0.1"});
    Server server(talk);
    Session session(url(server.port), {{"resolve.override", "other.test=127.0.0.8"}});
    session.need(WSXDP_EVENT_OPEN);
    assert_int_equal(asked, 1);
}

TEST(an_override_without_an_address_says_its_form) {
    expect_failure("ws://host.test/", {{"resolve.override", "host.test=elsewhere"}}, WSXDP_E_RESOLVE,
                   "NAME=ADDRESS[,ADDRESS...]");
}

TEST(a_literal_does_not_ask_the_system) {
    resolver_says({});
    Server server(talk);
    Session session(server.url());
    session.need(WSXDP_EVENT_OPEN);
    assert_int_equal(asked, 0);
}

TEST(each_attempt_asks_again) {
    resolver_says({});
    Session session("ws://host.test/", {{"reconnect.max_attempts", "2"}, {"reconnect.delay_min_ns", "1ms"}});
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE).error, WSXDP_E_RETRIES);
    assert_int_equal(asked, 3);
}

TESTS("resolving")
