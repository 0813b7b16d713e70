// SPDX-License-Identifier: MIT
// Names to addresses: literals and overrides at once, "localhost" by the thread, a name that cannot exist, a
// lookup that is given up, and the order in which families are tried. getaddrinfo is wrapped to look at the
// thread it runs in and to hold it up; it is the system's that answers.

// link: -Wl,--wrap=getaddrinfo
#include "../../lib/base/alloc.h"
#include "../../lib/host/resolver.h"
#include "../base/check.h"
#include <arpa/inet.h>
#include <atomic>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <thread>
#include <unistd.h>

using namespace wx;

namespace {
std::atomic<bool> held{false};
std::atomic<int> inside{0}, blocked_signals{-1};
} // namespace

extern "C" int __real_getaddrinfo(const char *, const char *, const addrinfo *, addrinfo **);
extern "C" int __wrap_getaddrinfo(const char *name, const char *service, const addrinfo *hints,
                                  addrinfo **out) {
    sigset_t mask;
    pthread_sigmask(SIG_SETMASK, nullptr, &mask);
    int count = 0;
    for (int signal : {SIGINT, SIGTERM, SIGHUP, SIGCHLD, SIGALRM, SIGUSR1, SIGPIPE, SIGIO, SIGPROF})
        count += sigismember(&mask, signal);
    blocked_signals = count;
    inside++;
    while (held) usleep(200);
    int status = __real_getaddrinfo(name, service, hints, out);
    inside--;
    return status;
}

namespace {

std::string text_of(const Address &address) {
    uint8_t room[128];
    Writer writer{ByteSpan(room, sizeof room)};
    address_text(address, &writer);
    return str(writer.view());
}

std::string texts(const AddressList &list) {
    std::string all;
    for (size_t i = 0; i < list.count; i++) all += (i ? " " : "") + text_of(list.addresses[i]);
    return all;
}

struct Row {
    const char *host;
    Family family;
    const char *expected; // nullptr: a name
};

void test_literals(void **) {
    const Row rows[] = {
        {"127.0.0.1", Family::any, "127.0.0.1:443"},
        {"127.0.0.1", Family::ipv4, "127.0.0.1:443"},
        {"127.0.0.1", Family::ipv6, nullptr},
        {"::1", Family::any, "[::1]:443"},
        {"::1", Family::ipv6, "[::1]:443"},
        {"::1", Family::ipv4, nullptr},
        {"::ffff:1.2.3.4", Family::any, "[::ffff:1.2.3.4]:443"},
        {"fe80::1%lo", Family::any, "[fe80::1]:443"},
        {"fe80::1%1", Family::any, "[fe80::1]:443"},
        {"fe80::1%nosuchif", Family::any, nullptr},
        {"fe80::1%", Family::any, nullptr},
        {"fe80::1%0", Family::any, nullptr},
        {"fe80::1%99999999999999999999", Family::any, nullptr},
        {"1.2.3.4%lo", Family::any, nullptr},
        {"", Family::any, nullptr},
        {"localhost", Family::any, nullptr},
        {"1.2.3", Family::any, nullptr},
        {"256.1.1.1", Family::any, nullptr},
        {"01.2.3.4", Family::any, nullptr},
        {"0x7f.1", Family::any, nullptr},
        {"[::1]", Family::any, nullptr},
        {"::1 ", Family::any, nullptr},
        {"1:2:3:4:5:6:7:8:9", Family::any, nullptr},
        {"1111:2222:3333:4444:5555:6666:255.255.255.255%with-a-name-that-is-too-long", Family::any, nullptr},
    };
    for (const Row &row : rows) {
        AddressList list;
        int status = resolve_literal(ByteView(row.host), 443, row.family, &list);
        if (status != (row.expected != nullptr) || texts(list) != (row.expected ? row.expected : ""))
            fail_msg("%s: %d, %s", row.host, status, texts(list).c_str());
    }
    AddressList list;
    assert_int_equal(resolve_literal(ByteView("1.2.3.4\0.evil", 13), 1, Family::any, &list), 0);
    assert_int_equal(resolve_literal(ByteView("fe80::1%lo"), 1, Family::any, &list), 1);
    const sockaddr_in6 *v6 = reinterpret_cast<const sockaddr_in6 *>(&list.addresses[0].storage);
    assert_int_equal(v6->sin6_scope_id, if_nametoindex("lo"));
}

void test_overrides(void **) {
    struct OverrideRow {
        const char *row;
        Family family;
        int status;
        const char *expected; // addresses, or a part of the sentence
    };
    const OverrideRow rows[] = {
        {"feed.test=127.0.0.1", Family::any, 1, "127.0.0.1:80"},
        {"FEED.Test=127.0.0.1,::1,127.0.0.2", Family::any, 1, "127.0.0.1:80 [::1]:80 127.0.0.2:80"},
        {"feed.test=127.0.0.1,::1", Family::ipv6, 1, "[::1]:80"},
        {"feed.test=127.0.0.1", Family::ipv6, 1, ""},
        {"other.test=127.0.0.1", Family::any, 0, ""},
        {"feed.test", Family::any, 0, ""},
        {"feed.testx=127.0.0.1", Family::any, 0, ""},
        {"feed.tes=127.0.0.1", Family::any, 0, ""},
        {"", Family::any, 0, ""},
        {"feed.test=", Family::any, WSXDP_E_RESOLVE, "has no address"},
        {"feed.test=localhost", Family::any, WSXDP_E_RESOLVE, "'localhost' is not an IP address"},
        {"feed.test=127.0.0.1,,::1", Family::any, WSXDP_E_RESOLVE, "'' is not an IP address"},
        {"feed.test=1.2.3.4,\x01\xFF", Family::any, WSXDP_E_RESOLVE, "'\\x01\\xff' is not"},
        {"feed.test=::1,bad", Family::ipv4, WSXDP_E_RESOLVE, "'bad' is not"},
    };
    for (const OverrideRow &row : rows) {
        AddressList list;
        ErrorText error;
        int status =
            resolve_override(ByteView(row.row), ByteView("feed.test"), 80, row.family, &list, &error);
        if (status < 0) {
            check_error(status, error, row.status, row.expected);
        } else if (status != row.status || texts(list) != row.expected) {
            fail_msg("%s: %d %s", row.row, status, texts(list).c_str());
        }
    }
    std::string many = "feed.test=1.2.3.4"; // more than the list holds: the first count
    for (int i = 0; i < 100; i++) many += ",1.2.3.4";
    AddressList list;
    ErrorText error;
    assert_int_equal(resolve_override(view(many), ByteView("feed.test"), 80, Family::any, &list, &error), 1);
    assert_int_equal(list.count, addresses_max);
}

struct Fixture {
    Poller poller;
    ErrorText error;
    AddressList list;
    ResolveJob *job = nullptr;
    size_t descriptors = open_descriptors();
    Fixture() { assert_int_equal(poller_open(&poller, PollerKind::automatic, &error), WSXDP_OK); }
    ~Fixture() {
        held = false;
        resolve_drop(job);
        poller_close(&poller);
        // The thread closes its duplicate after it has told; give it the time.
        for (int i = 0; i < 5000 && open_descriptors() != descriptors; i++) usleep(1000);
        if (open_descriptors() != descriptors) fail_msg("descriptors left behind");
    }
    int start(const char *host, Family family = Family::any) {
        return resolve_start(ByteView(host), 443, family, &poller, &job, &error);
    }
    int wait() { // as the engine does: sleeps until the poller says so
        PollerEvent events[4];
        for (int i = 0; i < 100; i++) {
            int status = resolve_result(job, &list, &error);
            if (status != 0) return status;
            assert_int_equal(poller_wait(&poller, events, 4, 10 * ns_per_s), 0);
            poller_clear(&poller);
        }
        fail_msg("woken for nothing, over and over");
        return 0;
    }
};

void test_localhost(void **) {
    for (Family family : {Family::any, Family::ipv4}) {
        Fixture f;
        assert_int_equal(f.start("localhost", family), WSXDP_OK);
        assert_int_equal(f.wait(), 1);
        assert_non_null(strstr(texts(f.list).c_str(), "127.0.0.1:443"));
        for (size_t i = 0; i < f.list.count && family == Family::ipv4; i++)
            assert_int_equal(f.list.addresses[i].storage.ss_family, AF_INET);
        assert_int_equal(blocked_signals, 9);
        // What the thread wrote to the poller wakes once, not for ever.
        PollerEvent events[4];
        Nanos start = monotonic_ns();
        for (int i = 0; i < 100 && f.poller.foreign_due != 0; i++) {
            poller_wait(&f.poller, events, 4, 100 * ns_per_ms);
            poller_clear(&f.poller);
        }
        assert_int_equal(f.poller.foreign_due, 0);
        start = monotonic_ns();
        assert_int_equal(poller_wait(&f.poller, events, 4, 5 * ns_per_ms), 0);
        assert_true(monotonic_ns() - start >= 5 * ns_per_ms);
    }
}

void test_no_such_name(void **) {
    Fixture f;
    // RFC 6761 section 6.4: never exists. The label is too long as well, so no server is asked.
    std::string name = std::string(70, 'x') + ".invalid";
    Nanos start = monotonic_ns();
    assert_int_equal(f.start(name.c_str()), WSXDP_OK);
    check_error(f.wait(), f.error, WSXDP_E_RESOLVE, "check the host name and the system's DNS");
    assert_non_null(strstr(f.error.text, name.c_str()));
    assert_true(monotonic_ns() - start < 5 * ns_per_s);
    assert_int_equal(f.list.count, 0);
}

void test_given_up(void **) {
    held = true;
    {
        Fixture f;
        for (int i = 0; i < 8; i++) {
            assert_int_equal(f.start("localhost"), WSXDP_OK);
            assert_int_equal(resolve_result(f.job, &f.list, &f.error), 0);
            resolve_drop(f.job);
            f.job = nullptr;
        }
        while (inside != 8) usleep(200);
        poller_close(&f.poller); // the handle is gone before the threads are
    }
    while (inside != 0) usleep(200);
    resolve_drop(nullptr);
}

void test_start_fails(void **) {
    Fixture f;
    allocation_fail_after(0);
    int status = f.start("localhost");
    allocation_fail_after(-1);
    check_error(status, f.error, WSXDP_E_MEMORY, "resolving localhost: out of memory");
    assert_null(f.job);
    check_error(f.start(std::string(256, 'a').c_str()), f.error, WSXDP_E_RESOLVE, "at most 253 characters");
    rlimit old;
    getrlimit(RLIMIT_NOFILE, &old);
    int first = dup(2);
    close(first);
    rlimit now = {static_cast<rlim_t>(first), old.rlim_max};
    setrlimit(RLIMIT_NOFILE, &now);
    status = f.start("localhost");
    setrlimit(RLIMIT_NOFILE, &old);
    check_error(status, f.error, WSXDP_E_DESCRIPTORS, "cannot start the lookup");
    assert_int_equal(f.poller.foreign_due, 0);
}

void test_interleaving(void **) {
    const char *cases[][2] = {{"", ""},         {"6", "6"},         {"4444", "4444"},    {"6644", "6464"},
                              {"4466", "4646"}, {"66664", "64666"}, {"46", "46"},        {"444466", "464644"},
                              {"64", "64"},     {"6444", "6444"},   {"444446", "464444"}};
    for (auto &row : cases) {
        AddressList list;
        for (const char *c = row[0]; *c; c++) {
            Address &address = list.addresses[list.count++];
            memset(&address.storage, 0, sizeof address.storage);
            address.storage.ss_family = *c == '4' ? AF_INET : AF_INET6;
            address.size = static_cast<socklen_t>(c - row[0] + 1); // to see that each family keeps its order
        }
        interleave_families(&list);
        std::string seen;
        socklen_t last4 = 0, last6 = 0;
        for (size_t i = 0; i < list.count; i++) {
            bool four = list.addresses[i].storage.ss_family == AF_INET;
            seen += four ? '4' : '6';
            socklen_t &last = four ? last4 : last6;
            assert_true(list.addresses[i].size > last);
            last = list.addresses[i].size;
        }
        assert_string_equal(seen.c_str(), row[1]);
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_literals),     cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_localhost),    cmocka_unit_test(test_no_such_name),
        cmocka_unit_test(test_given_up),     cmocka_unit_test(test_start_fails),
        cmocka_unit_test(test_interleaving),
    };
    return cmocka_run_group_tests_name("host: resolver", tests, nullptr, nullptr);
}
