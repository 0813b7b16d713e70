// SPDX-License-Identifier: MIT
// Choosing a source port: every port is as likely a start, the search wraps within the range and asks for
// each port once, what is in TIME-WAIT or refused is passed over, and a range that is used up says so.
#include "../../lib/tcp/ports.h"
#include "../base/check.h"
#include <cstdlib>
#include <set>
#include <vector>

using namespace wx;

namespace {

uint64_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

struct Filter {
    std::set<uint16_t> refused;
    std::vector<uint16_t> asked;
    bool all = false;
    PortFilter filter() {
        return {[](void *context, uint16_t port) {
                    Filter *f = static_cast<Filter *>(context);
                    f->asked.push_back(port);
                    return !f->all && f->refused.count(port) == 0;
                },
                this};
    }
};

struct Fixture {
    FixedRandom random;
    std::vector<uint64_t> memory;
    TimeWaitTable table;
    TcpTuple tuple;
    Fixture() : memory(time_wait_bytes(64) / 8) {
        fixed_random_open(&random, seed());
        time_wait_open(&table, memory.data(), 64);
        tuple.local = ip4_address(192, 0, 2, 1);
        tuple.remote = ip4_address(198, 51, 100, 7);
        tuple.remote_port = 443;
    }
    uint16_t choose(PortRange range, const PortFilter &filter = {}) {
        return port_choose(range, &random, &table, tuple, filter);
    }
    void wait(uint16_t port, uint8_t remote = 7) {
        TimeWait e;
        e.tuple = tuple;
        e.tuple.remote = ip4_address(198, 51, 100, remote);
        e.tuple.local_port = port;
        e.expires = 1000;
        time_wait_add(&table, e);
    }
};

void test_uniform(void **) {
    Fixture f;
    constexpr int ports = 20, draws = 40000;
    int counts[ports] = {0};
    for (int i = 0; i < draws; i++) {
        uint16_t port = f.choose({5000, 5000 + ports - 1});
        assert_in_range(port, 5000, 5000 + ports - 1);
        counts[port - 5000]++;
    }
    // 2000 each with a deviation of 44: seven of them.
    for (int count : counts) {
        if (count < 1690 || count > 2310)
            fail_msg("seed %llu: %d of 2000", (unsigned long long)seed(), count);
    }
}

void test_default_range(void **) {
    Fixture f;
    std::set<uint16_t> seen;
    for (int i = 0; i < 2000; i++) {
        uint16_t port = f.choose({});
        assert_in_range(port, 32768, 60999);
        seen.insert(port);
    }
    assert_true(seen.size() > 1850); // 70 repeats are expected
}

void test_wraps(void **) {
    Fixture f;
    for (int i = 0; i < 200; i++) {
        Filter filter;
        filter.all = true;
        assert_int_equal(f.choose({100, 109}, filter.filter()), 0);
        assert_int_equal(filter.asked.size(), 10); // each once
        for (size_t k = 1; k < 10; k++)
            assert_int_equal(filter.asked[k], filter.asked[k - 1] == 109 ? 100 : filter.asked[k - 1] + 1);
    }
}

void test_filter(void **) {
    Fixture f;
    std::set<uint16_t> seen;
    for (int i = 0; i < 500; i++) {
        Filter filter;
        filter.refused = {100, 101, 103, 104, 105, 107, 109};
        uint16_t port = f.choose({100, 109}, filter.filter());
        assert_true(port == 102 || port == 106 || port == 108);
        assert_int_equal(filter.asked.back(), port);
        seen.insert(port);
    }
    assert_int_equal(seen.size(), 3);
}

void test_time_wait_refuses(void **) {
    Fixture f;
    for (uint16_t port = 100; port < 109; port++) f.wait(port);
    f.wait(109, 8); // towards another peer: the tuple is another
    Filter filter;
    for (int i = 0; i < 100; i++) assert_int_equal(f.choose({100, 109}, filter.filter()), 109);
    for (uint16_t asked : filter.asked) assert_int_equal(asked, 109); // the filter is asked last
    f.wait(109);
    assert_int_equal(f.choose({100, 109}), 0);
    assert_int_equal(f.choose({100, 110}), 110);
    assert_int_not_equal(port_choose({100, 109}, &f.random, nullptr, f.tuple, {}), 0); // no table
    time_wait_expire(&f.table, 1000);
    assert_in_range(f.choose({100, 109}), 100, 109);
}

void test_edges_of_ranges(void **) {
    Fixture f;
    assert_int_equal(f.choose({200, 199}), 0);
    assert_int_equal(f.choose({0, 0}), 0);
    assert_int_equal(f.choose({7, 7}), 7);
    assert_int_equal(f.choose({65535, 65535}), 65535);
    for (int i = 0; i < 200; i++) assert_in_range(f.choose({0, 2}), 1, 2); // 0 is no port
    Filter filter;
    filter.all = true;
    assert_int_equal(f.choose({0, 65535}, filter.filter()), 0);
    assert_int_equal(filter.asked.size(), 65535);
}

void test_no_random(void **) {
    Fixture f;
    RandomSource broken;
    broken.fill = [](RandomSource *self, uint8_t *out, size_t bytes) {
        memset(out, 0, bytes);
        self->failed = true;
    };
    assert_int_equal(port_choose({100, 109}, &broken, &f.table, f.tuple, {}), 0);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_uniform),
        cmocka_unit_test(test_default_range),
        cmocka_unit_test(test_wraps),
        cmocka_unit_test(test_filter),
        cmocka_unit_test(test_time_wait_refuses),
        cmocka_unit_test(test_edges_of_ranges),
        cmocka_unit_test(test_no_random),
    };
    return cmocka_run_group_tests_name("tcp: ports", tests, nullptr, nullptr);
}
