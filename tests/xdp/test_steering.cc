// SPDX-License-Identifier: MIT
// The hash against the vectors that Microsoft publishes with its specification ("Verifying the RSS Hash
// Calculation"), ports chosen by it for tables of every size, and the decision: what is taken when, and a
// sentence with a remedy for every way to be refused.
#include "../../lib/link/xdp/steering.h"
#include "../base/check.h"
#include "../base/registry.h"
#include <arpa/inet.h>
#include <cstdlib>
#include <set>

using namespace wx;

namespace {

const uint8_t published_key[40] = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                   0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                   0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                   0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

IpAddress address(const char *text) {
    uint8_t bytes[16];
    if (inet_pton(AF_INET, text, bytes) == 1) return ip_address(bytes, 4);
    assert_int_equal(inet_pton(AF_INET6, text, bytes), 1);
    return ip_address(bytes, 6);
}
TcpTuple tuple_of(const char *remote, uint16_t remote_port, const char *local, uint16_t local_port) {
    TcpTuple tuple;
    tuple.remote = address(remote);
    tuple.local = address(local);
    tuple.remote_port = remote_port;
    tuple.local_port = local_port;
    return tuple;
}
RssTable table_of(const std::vector<uint32_t> &queues) {
    RssTable table;
    table.key = published_key;
    table.key_bytes = sizeof published_key;
    table.queues = queues.data();
    table.queue_count = static_cast<uint32_t>(queues.size());
    return table;
}
uint64_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

// A host with `queues` queues and a socket on queue 0, where a port can be chosen.
struct Host {
    std::vector<uint32_t> queues;
    SteeringFacts facts;
    ErrorText error;
    explicit Host(uint32_t count) {
        for (uint32_t i = 0; i < 128; i++) queues.push_back(i % count);
        facts.interface = "eth7";
        facts.queues = count;
        facts.ours = 1;
        facts.table = table_of(queues);
        facts.toeplitz = facts.ports_hashed = true;
    }
    Host(const Host &) = delete;
    Host &operator=(const Host &) = delete;
    void refused(const char *part, const char *remedy) {
        assert_int_equal(static_cast<int>(steering_choose(facts, &error)),
                         static_cast<int>(Steering::refused));
        check_error(error.code, error, WSXDP_E_XDP_QUEUES, part);
        if (!strstr(error.text, remedy)) fail_msg("\"%s\" does not say \"%s\"", error.text, remedy);
        assert_non_null(strstr(error.text, "eth7"));
        assert_true(error.size < sizeof error.text - 100); // room for what callers add
    }
    void taken(Steering wanted) {
        assert_int_equal(static_cast<int>(steering_choose(facts, &error)), static_cast<int>(wanted));
        assert_int_equal(error.code, 0);
        assert_int_equal(error.size, 0);
    }
};

struct WantedQueue {
    const RssTable *table;
    TcpTuple tuple;
    uint32_t queue;
    uint32_t asked = 0;
    PortFilter filter() {
        return {[](void *context, uint16_t port) {
                    WantedQueue *w = static_cast<WantedQueue *>(context);
                    w->asked++;
                    w->tuple.local_port = port;
                    return rss_queue(*w->table, w->tuple) == w->queue;
                },
                this};
    }
};

} // namespace

TEST(the_published_vectors) {
    const struct {
        const char *remote;
        uint16_t remote_port;
        const char *local;
        uint16_t local_port;
        uint32_t hash;
    } rows[] = {
        {"66.9.149.187", 2794, "161.142.100.80", 1766, 0x51ccc178},
        {"199.92.111.2", 14230, "65.69.140.83", 4739, 0xc626b0ea},
        {"24.19.198.95", 12898, "12.22.207.184", 38024, 0x5c2b394a},
        {"38.27.205.30", 48228, "209.142.163.6", 2217, 0xafc7327f},
        {"153.39.163.191", 44251, "202.188.127.2", 1303, 0x10e828a2},
        {"3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766, 0x40207d3d},
        {"3ffe:501:8::260:97ff:fe40:efab", 14230, "ff02::1", 4739, 0xdde51bbf},
        {"3ffe:1900:4545:3:200:f8ff:fe21:67cf", 44251, "fe80::200:f8ff:fe21:67cf", 38024, 0x02d1feef},
    };
    const std::vector<uint32_t> queues = {0, 1, 2, 3, 4};
    const RssTable table = table_of(queues);
    for (const auto &row : rows) {
        const TcpTuple tuple = tuple_of(row.remote, row.remote_port, row.local, row.local_port);
        assert_int_equal(rss_hash(table, tuple), row.hash);
        assert_int_equal(rss_queue(table, tuple), row.hash % 5);
    }
}
TEST(a_longer_key_gives_the_same_and_a_short_one_nothing) {
    uint8_t key[52];
    memset(key, 0xA5, sizeof key);
    memcpy(key, published_key, sizeof published_key);
    RssTable table;
    table.key = key;
    table.key_bytes = sizeof key;
    const TcpTuple four = tuple_of("66.9.149.187", 2794, "161.142.100.80", 1766);
    const TcpTuple six = tuple_of("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766);
    assert_int_equal(rss_hash(table, six), 0x40207d3d);
    table.key_bytes = 39;
    assert_int_equal(rss_hash(table, six), 0);
    table.key_bytes = 16; // 12 bytes of input and 32 bits: the shortest that will do
    assert_int_equal(rss_hash(table, four), 0x51ccc178);
    table.key_bytes = 15;
    assert_int_equal(rss_hash(table, four), 0);
    assert_int_equal(rss_hash(RssTable(), four), 0);
    assert_int_equal(rss_queue(RssTable(), four), 0);
    TcpTuple mixed = four;
    mixed.remote = six.remote;
    table.key_bytes = sizeof key;
    assert_int_equal(rss_hash(table, mixed), 0);
    assert_int_equal(rss_hash(table, TcpTuple()), 0);
}
TEST(a_port_can_be_chosen_for_every_queue_of_1_to_16) {
    FixedRandom random;
    fixed_random_open(&random, seed());
    for (uint32_t count = 1; count <= 16; count++) {
        // Once dealt out in turn, as drivers begin; once with a table whose size is no power of two.
        for (uint32_t size : {128u, count * 3}) {
            std::vector<uint32_t> queues;
            for (uint32_t i = 0; i < size; i++) queues.push_back(i % count);
            const RssTable table = table_of(queues);
            for (uint32_t queue = 0; queue < count; queue++)
                for (bool six : {false, true}) {
                    WantedQueue wanted = {&table,
                                          six ? tuple_of("2001:db8::7", 443, "2001:db8:1::2", 0)
                                              : tuple_of("198.51.100.7", 443, "192.0.2.1", 0),
                                          queue};
                    TcpTuple tuple = wanted.tuple;
                    tuple.local_port = port_choose(PortRange(), &random, nullptr, tuple, wanted.filter());
                    if (tuple.local_port == 0)
                        fail_msg("no port for queue %u of %u, seed %llu", queue, count,
                                 static_cast<unsigned long long>(seed()));
                    assert_int_equal(rss_queue(table, tuple), queue);
                    // One port in `count` fits; a search that takes this long is none.
                    assert_true(wanted.asked <= 64 * count);
                }
        }
    }
}
TEST(no_port_leads_to_a_queue_outside_the_table) {
    FixedRandom random;
    fixed_random_open(&random, seed());
    const std::vector<uint32_t> queues = {0, 1, 2, 3};
    const RssTable table = table_of(queues);
    WantedQueue wanted = {&table, tuple_of("198.51.100.7", 443, "192.0.2.1", 0), 4};
    const PortRange range;
    assert_int_equal(port_choose(range, &random, nullptr, wanted.tuple, wanted.filter()), 0);
    assert_int_equal(wanted.asked, range.high - range.low + 1u); // each once, then the answer
}

TEST(one_queue_is_simple) {
    Host host(1);
    host.facts.toeplitz = false; // of no interest then
    host.taken(Steering::one_queue);
}
TEST(a_socket_on_each_queue) {
    Host host(4);
    host.facts.toeplitz = false;
    host.facts.ours = 0xF;
    host.taken(Steering::every_queue);
    host.facts.ours = 0x1F; // one more than receive
    host.taken(Steering::every_queue);
    host.facts.queues = 64;
    host.facts.ours = ~uint64_t{0};
    host.taken(Steering::every_queue);
    host.facts.queues = 65; // the last of them cannot be ours
    host.refused("65 queues", "Toeplitz hash; `ethtool -L eth7 combined 1`");
}
TEST(a_port_when_hash_and_table_are_known) {
    Host host(4);
    host.taken(Steering::by_port);
    host.facts.ours = 0x6;
    host.taken(Steering::by_port);
    host.facts.queues = 100;
    host.facts.ours = 1;
    host.taken(Steering::by_port);
}
TEST(every_refusal_says_what_to_do) {
    const char *const all = "xdp.queue=-1", *const one = "`ethtool -L eth7 combined 1`";
    for (const char *remedy : {all, one, "`ethtool -X eth7 hfunc toeplitz`"}) {
        Host host(4);
        host.facts.toeplitz = false;
        host.refused("Toeplitz", remedy);
    }
    for (const char *remedy : {all, one, "`ethtool -N eth7 rx-flow-hash tcp4 sdfn`"}) {
        Host host(4);
        host.facts.ports_hashed = false;
        host.refused("ports of TCP", remedy);
    }
    for (const char *remedy : {all, one}) {
        Host host(4);
        host.facts.table.key_bytes = 0;
        host.refused("key cannot be read", remedy);
        host.facts.table.key_bytes = 39;
        host.refused("key cannot be read", remedy);
        host.facts.table.key_bytes = 40;
        host.facts.table.queue_count = 0;
        host.refused("table cannot be read", remedy);
    }
    for (const char *remedy : {all, one, "`ethtool -X eth7 default`"}) {
        Host host(4);
        for (uint32_t &queue : host.queues) queue = 2 + queue % 2;
        host.facts.ours = 3;
        host.refused("leads to no queue of ours", remedy);
        assert_non_null(strstr(host.error.text, "4 queues, we have a socket on 0,1,"));
    }
    Host far(100); // none of these can be ours, whatever the low bits of their numbers
    for (uint32_t &queue : far.queues) queue = 64 + queue % 36;
    far.facts.ours = ~uint64_t{0};
    far.refused("leads to no queue of ours", one);
    Host six(4);
    six.facts.ip_version = 6;
    six.facts.ports_hashed = false;
    six.refused("ports of TCP", "rx-flow-hash tcp6 sdfn");
    Host none(4);
    none.facts.ours = 0;
    none.refused("no queue has a socket", "ethtool -l eth7");
    Host unknown(4);
    unknown.facts.queues = 0;
    unknown.refused("cannot be read", "ethtool -l eth7");
    Host beyond(2);
    beyond.facts.ours = 4;
    beyond.refused("fewer queues", "xdp.queue");
}
TEST(a_long_list_of_queues_is_cut) {
    Host host(64);
    host.facts.ours = ~uint64_t{0} >> 1; // all but the last
    host.facts.toeplitz = false;
    host.refused("on 0,1,2,3,4,5,6,7,..., and", "xdp.queue=-1");
}

TESTS("steering")
