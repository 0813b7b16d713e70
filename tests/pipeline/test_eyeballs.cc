// SPDX-License-Identifier: MIT
// Several addresses for one name (RFC 8305): one that refuses is passed over at once, one that hangs is
// overtaken after connect.attempt_delay_ns, and when all fail the error counts them. Names come from
// resolve.override.
#include "session.h"
#include <memory>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/resource.h>

using namespace scripted;

// The same port on several addresses, which in a network of our own nobody else has taken on one of them.
static bool enter_own_network() {
    if (unshare(CLONE_NEWNET) != 0) return false;
    ifreq loopback = {};
    strcpy(loopback.ifr_name, "lo");
    loopback.ifr_flags = IFF_UP;
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const bool up = ioctl(fd, SIOCSIFFLAGS, &loopback) == 0;
    close(fd);
    return up;
}
[[maybe_unused]] static const bool own_network = enter_own_network();

static void talk(Wire &wire) {
    wire.upgrade();
    wire.wait_end();
}

static std::string name_url(int port) { return "ws://many.test:" + std::to_string(port) + "/"; }

static OptionList names(const std::string &addresses, OptionList more = {}) {
    more.push_back({"resolve.override", "many.test=" + addresses});
    return more;
}

TEST(one_that_refuses_is_passed_over_at_once) {
    Server server(talk, nullptr, "127.0.0.2");
    RefusingPort refusing("127.0.0.1", server.port);
    int64_t start = now_ms();
    Session session(name_url(server.port), names("127.0.0.1,127.0.0.2"));
    session.need(WSXDP_EVENT_OPEN);
    on_time(start, 0, 150);
    assert_true(contains(session.info("peer"), "127.0.0.2:"));
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}

TEST(one_that_is_unreachable_is_passed_over_at_once) {
    Server server(talk, nullptr, "127.0.0.2");
    Session session(name_url(server.port), names("127.255.255.255,127.0.0.2"));
    session.need(WSXDP_EVENT_OPEN, 150);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}

TEST(one_that_hangs_is_overtaken_after_the_delay) {
    Server server(talk, nullptr, "127.0.0.2");
    SilentPort silent("127.0.0.1", server.port);
    int64_t start = now_ms();
    Session session(name_url(server.port),
                    names("127.0.0.1,127.0.0.2", {{"connect.attempt_delay_ns", "100ms"}}));
    session.need(WSXDP_EVENT_OPEN);
    on_time(start, 99, 300);
    assert_true(contains(session.info("peer"), "127.0.0.2:"));
    session.poll(300); // the loser is gone and says nothing
    assert_int_equal(session.events.size(), 1);
}

TEST(the_default_delay_is_a_quarter_second) {
    Server server(talk, nullptr, "127.0.0.2");
    SilentPort silent("127.0.0.1", server.port);
    int64_t start = now_ms();
    Session session(name_url(server.port), names("127.0.0.1,127.0.0.2"));
    session.need(WSXDP_EVENT_OPEN);
    on_time(start, 249, 450);
}

TEST(each_further_address_waits_its_own_delay) {
    Server server(talk, nullptr, "127.0.0.4");
    SilentPort one("127.0.0.1", server.port), two("127.0.0.2", server.port), three("127.0.0.3", server.port);
    int64_t start = now_ms();
    Session session(name_url(server.port),
                    names("127.0.0.1,127.0.0.2,127.0.0.3,127.0.0.4", {{"connect.attempt_delay_ns", "60ms"}}));
    session.need(WSXDP_EVENT_OPEN);
    on_time(start, 179, 350);
}

TEST(more_hanging_addresses_than_races_all_get_their_turn) {
    Server server(talk, nullptr, "127.0.0.7");
    std::string list;
    std::vector<std::unique_ptr<SilentPort>> silent;
    for (int i = 1; i <= 6; i++) {
        std::string address = "127.0.0." + std::to_string(i);
        silent.push_back(std::make_unique<SilentPort>(address.c_str(), server.port));
        list += address + ",";
    }
    int64_t start = now_ms();
    Session session(name_url(server.port), names(list + "127.0.0.7", {{"connect.attempt_delay_ns", "10ms"},
                                                                      {"connect.attempt_timeout_ns", "200ms"},
                                                                      {"wait", "sleep"}}));
    rusage before, after;
    getrusage(RUSAGE_THREAD, &before);
    session.need(WSXDP_EVENT_OPEN);
    getrusage(RUSAGE_THREAD, &after);
    on_time(start, 199, 500);
    long us = (after.ru_utime.tv_sec - before.ru_utime.tv_sec) * 1000000 + after.ru_utime.tv_usec -
              before.ru_utime.tv_usec + after.ru_stime.tv_usec - before.ru_stime.tv_usec;
    if (us > 60000) fail_msg("%ld us of processor while all attempts wait", us);
}

TEST(families_alternate) {
    Server server(talk, nullptr, "::1");
    RefusingPort one("127.0.0.1", server.port), two("127.0.0.2", server.port);
    Session session(name_url(server.port), names("127.0.0.1,127.0.0.2,::1"));
    session.need(WSXDP_EVENT_OPEN, 150);
    assert_true(contains(session.info("peer"), "[::1]:"));
}

TEST(a_hanging_ipv6_is_overtaken_by_ipv4) {
    Server server(talk);
    SilentPort silent("::1", server.port);
    int64_t start = now_ms();
    Session session(name_url(server.port), names("::1,127.0.0.1", {{"connect.attempt_delay_ns", "50ms"}}));
    session.need(WSXDP_EVENT_OPEN);
    on_time(start, 49, 300);
    assert_true(contains(session.info("peer"), "127.0.0.1:"));
}

TEST(when_all_refuse_the_error_counts_them) {
    RefusingPort one("127.0.0.1");
    RefusingPort two("127.0.0.2", one.port), three("::1", one.port);
    expect_failure(name_url(one.port), names("127.0.0.1,127.0.0.2,::1"), WSXDP_E_REFUSED,
                   "all 3 addresses failed");
}

TEST(when_all_hang_the_error_counts_them) {
    SilentPort one("127.0.0.1");
    SilentPort two("127.0.0.2", one.port);
    expect_failure(name_url(one.port),
                   names("127.0.0.1,127.0.0.2",
                         {{"connect.attempt_timeout_ns", "100ms"}, {"connect.attempt_delay_ns", "20ms"}}),
                   WSXDP_E_CONNECT_TIMEOUT, "all 2 addresses failed");
}

TEST(when_all_are_unreachable_the_error_counts_them) {
    expect_failure(name_url(9), names("127.255.255.255,127.255.255.255"), WSXDP_E_UNREACHABLE,
                   "all 2 addresses failed");
}

TEST(when_the_last_one_is_unreachable_the_error_counts_them) {
    RefusingPort one("127.0.0.1");
    expect_failure(name_url(one.port), names("127.0.0.1,127.255.255.255"), WSXDP_E_UNREACHABLE,
                   "all 2 addresses failed");
}

TEST(a_single_failure_is_not_counted) {
    RefusingPort one("127.0.0.1");
    std::string text = expect_failure(name_url(one.port), names("127.0.0.1"), WSXDP_E_REFUSED, "127.0.0.1:");
    assert_false(contains(text, "addresses failed"));
}

TEST(family_ipv4_leaves_ipv6_out) {
    Server server(talk);
    Server other(talk, nullptr, "::1", server.port);
    Session session(name_url(server.port), names("::1,127.0.0.1", {{"connect.family", "ipv4"}}));
    session.need(WSXDP_EVENT_OPEN);
    assert_true(contains(session.info("peer"), "127.0.0.1:"));
    assert_int_equal(other.accepted, 0);
}

TEST(family_ipv6_leaves_ipv4_out) {
    Server server(talk);
    Server other(talk, nullptr, "::1", server.port);
    Session session(name_url(server.port), names("127.0.0.1,::1", {{"connect.family", "ipv6"}}));
    session.need(WSXDP_EVENT_OPEN);
    assert_true(contains(session.info("peer"), "[::1]:"));
    assert_int_equal(server.accepted, 0);
}

TEST(no_address_of_the_family_names_the_option) {
    expect_failure(name_url(9), names("127.0.0.1", {{"connect.family", "ipv6"}}), WSXDP_E_RESOLVE,
                   "connect.family");
}

TEST(a_literal_of_the_other_family_names_the_option) {
    expect_failure("ws://127.0.0.1:9/", {{"connect.family", "ipv6"}}, WSXDP_E_RESOLVE, "connect.family");
    expect_failure("ws://[::1]:9/", {{"connect.family", "ipv4"}}, WSXDP_E_RESOLVE, "connect.family");
}

TEST(close_while_racing_ends_every_attempt) {
    SilentPort one("127.0.0.1");
    SilentPort two("127.0.0.2", one.port);
    Session session(name_url(one.port), names("127.0.0.1,127.0.0.2", {{"connect.attempt_delay_ns", "10ms"}}));
    session.poll(40);
    assert_int_equal(wsxdp_close(session.handle, 0, 1000, "", 0), WSXDP_OK);
    assert_int_equal(session.need(WSXDP_EVENT_CLOSE, 200).error, WSXDP_E_ABORTED);
}

TESTS("eyeballs")
