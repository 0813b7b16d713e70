// SPDX-License-Identifier: MIT
// What tcp_open refuses: each limit of TcpConfig is crossed by one step, alone, and the sentence names the
// field; what lies on the limit is taken. Sizes that storage is cut into are checked by opening.
#include "../../lib/tcp/tcp.h"
#include "../base/check.h"
#include <string.h>
#include <vector>

using namespace wx;

namespace {

struct Limit {
    const char *named; // must be in the sentence
    void (*set)(TcpConfig *);
};

const Limit refused[] = {
    {"receive_pieces", [](TcpConfig *c) { c->receive_pieces = 1000; }},
    {"receive_pieces", [](TcpConfig *c) { c->receive_pieces = 0; }},
    {"send_chunks", [](TcpConfig *c) { c->send_chunks = 3; }},
    {"send_segments", [](TcpConfig *c) { c->send_segments = 0; }},
    {"receive_bytes", [](TcpConfig *c) { c->receive_bytes = 1023; }},
    {"receive_bytes", [](TcpConfig *c) { c->receive_bytes = (1u << 30) + 1; }},
    {"send_bytes", [](TcpConfig *c) { c->send_bytes = 1023; }},
    {"send_bytes", [](TcpConfig *c) { c->send_bytes = (1u << 30) + 1; }},
    {"mtu", [](TcpConfig *c) { c->mtu = 575; }},
    {"mtu", [](TcpConfig *c) { c->mtu = 65536; }},
    {"mss_max", [](TcpConfig *c) { c->mss_max = 63; }},
    {"held_pieces", [](TcpConfig *c) { c->held_pieces = 0; }},
    {"ack_segments", [](TcpConfig *c) { c->ack_segments = 0; }},
    {"syn_tries", [](TcpConfig *c) { c->syn_tries = 0; }},
    {"initial_segments", [](TcpConfig *c) { c->initial_segments = 0; }},
    {"timeouts", [](TcpConfig *c) { c->rtt.min = 0; }},
    {"timeouts", [](TcpConfig *c) { c->rtt.initial = c->rtt.min - 1; }},
    {"timeouts", [](TcpConfig *c) { c->rtt.max = c->rtt.initial - 1; }},
    {"user_timeout", [](TcpConfig *c) { c->user_timeout = 0; }},
    {"times", [](TcpConfig *c) { c->ack_delay = -1; }},
    {"times", [](TcpConfig *c) { c->peer_ack_delay = -1; }},
    {"times", [](TcpConfig *c) { c->keepalive_idle = -1; }},
    {"times", [](TcpConfig *c) { c->time_wait = -1; }},
    {"times", [](TcpConfig *c) { c->fin_wait_2 = -1; }},
    {"keepalive_interval", [](TcpConfig *c) { c->keepalive_idle = 1, c->keepalive_interval = 0; }},
    {"keepalive_tries", [](TcpConfig *c) { c->keepalive_idle = 1, c->keepalive_tries = 0; }},
    {"keepalive_tries", [](TcpConfig *c) { c->keepalive_idle = 1, c->keepalive_tries = 256; }},
};

void (*const taken[])(TcpConfig *) = {
    [](TcpConfig *c) { c->receive_pieces = c->send_chunks = c->send_segments = 1; },
    [](TcpConfig *c) { c->receive_bytes = c->send_bytes = 1024; },
    [](TcpConfig *c) { c->receive_bytes = c->send_bytes = 1u << 30; },
    [](TcpConfig *c) { c->mtu = 576, c->mss_max = 64; },
    [](TcpConfig *c) { c->mtu = 65535; },
    [](TcpConfig *c) { c->rtt.min = c->rtt.initial = c->rtt.max = 1; },
    [](TcpConfig *c) { c->keepalive_idle = c->keepalive_interval = 1, c->keepalive_tries = 255; },
    [](TcpConfig *c) { c->keepalive_interval = 0, c->keepalive_tries = 0; }, // off: of no account
    [](TcpConfig *c) { c->ack_delay = c->peer_ack_delay = c->time_wait = c->fin_wait_2 = 0; },
};

struct alignas(64) Line {
    uint8_t bytes[64];
};

int open_with(const TcpConfig &config, size_t missing) {
    std::vector<Line> storage(tcp_storage_bytes(config) / sizeof(Line) + 1);
    TcpHost host;
    TcpConnection c;
    return tcp_open(&c, &host, config, ByteSpan(storage[0].bytes, tcp_storage_bytes(config) - missing));
}

void test_refused(void **) {
    for (const Limit &limit : refused) {
        TcpConfig config;
        limit.set(&config);
        const char *problem = tcp_config_problem(config);
        if (problem == nullptr) fail_msg("taken: %s", limit.named);
        if (strstr(problem, limit.named) == nullptr) fail_msg("%s is not in: %s", limit.named, problem);
        assert_int_not_equal(open_with(config, 0), 0);
    }
}

void test_taken(void **) {
    assert_null(tcp_config_problem(TcpConfig()));
    for (auto set : taken) {
        TcpConfig config;
        set(&config);
        if (const char *problem = tcp_config_problem(config)) fail_msg("refused: %s", problem);
        assert_int_equal(open_with(config, 0), 0);
    }
}

void test_too_little_storage(void **) { assert_int_not_equal(open_with(TcpConfig(), 1), 0); }

} // namespace

int main(void) {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_taken),
        cmocka_unit_test(test_too_little_storage),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
