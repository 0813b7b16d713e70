// SPDX-License-Identifier: MIT
// Options to settings: every field from its option, sizes that do not fit, out of memory at every step, and
// TLS contexts shared by equal tls.* options only.
#include "../../lib/base/alloc.h"
#include "../../lib/pipeline/settings.h"
#include "../base/check.h"
#include <vector>

using namespace wx;

namespace {

constexpr uint64_t inbox = 4 << 20, outbox = 1 << 20;
constexpr uint64_t fits = inbox - inbox / 8 - inbox_slack_bytes;

struct Pair {
    const char *name, *value;
};
using Given = std::vector<Pair>;

Options *options_with(const Given &pairs) {
    Options *options = options_new();
    assert_non_null(options);
    for (const Pair &pair : pairs)
        if (options_set(options, pair.name, ByteView(pair.value)) < 0) fail_msg("%s", options->error.text);
    return options;
}

struct Made {
    Settings *s = nullptr;
    ErrorText error;
    int status;
    explicit Made(const Given &pairs, uint64_t inbox_bytes = inbox) {
        status = settings_new(options_with(pairs), inbox_bytes, outbox, &s, &error);
        assert_int_equal(status >= 0, s != nullptr);
    }
    ~Made() { settings_drop(s); }
};

void test_numbers(void **) {
    struct Row {
        const char *name, *value;
        int64_t (*read)(const Settings &);
        int64_t by_default, set;
    };
#define FIELD(field) [](const Settings &s) { return static_cast<int64_t>(s.field); }
    const Row rows[] = {
        {"message.max_bytes", "1000", FIELD(receiver.message_bytes_max), static_cast<int64_t>(fits), 1000},
        {"message.max_bytes", "1000", FIELD(message_max_bytes), static_cast<int64_t>(fits), 1000},
        {"frame.max_bytes", "1001", FIELD(receiver.frame_bytes_max), 0, 1001},
        {"message.stream", "yes", FIELD(receiver.stream), 0, 1},
        {"message.check_utf8", "no", FIELD(receiver.check_utf8), 1, 0},
        {"send.check_utf8", "no", FIELD(send_check_utf8), 1, 0},
        {"send.fragment_bytes", "1002", FIELD(send_fragment_bytes), 0, 1002},
        {"mask.zero", "yes", FIELD(mask_zero), 0, 1},
        {"overflow", "conflate", FIELD(overflow), 0, 1},
        {"overflow", "close", FIELD(overflow), 0, static_cast<int64_t>(Overflow::close)},
        {"deflate", "yes", FIELD(deflate), 0, 1},
        {"deflate.min_bytes", "7", FIELD(deflate_min_bytes), 64, 7},
        {"deflate.client_no_context_takeover", "yes", FIELD(deflate_options.client_no_context_takeover), 0,
         1},
        {"deflate.server_no_context_takeover", "yes", FIELD(deflate_options.server_no_context_takeover), 0,
         1},
        {"deflate.client_max_window_bits", "9", FIELD(deflate_options.client_max_window_bits), 15, 9},
        {"deflate.server_max_window_bits", "10", FIELD(deflate_options.server_max_window_bits), 15, 10},
        {"deflate.level", "9", FIELD(deflate_options.level), 1, 9},
        {"deflate.memory_level", "3", FIELD(deflate_options.memory_level), 8, 3},
        {"deflate.max_ratio", "1000000", FIELD(deflate_options.ratio_max), 1100, 1000000},
        {"connect.timeout_ns", "11ms", FIELD(connect_timeout), 10 * ns_per_s, 11 * ns_per_ms},
        {"connect.attempt_timeout_ns", "12ms", FIELD(attempt_timeout), 5 * ns_per_s, 12 * ns_per_ms},
        {"connect.attempt_delay_ns", "13ms", FIELD(attempt_delay), 250 * ns_per_ms, 13 * ns_per_ms},
        {"resolve.timeout_ns", "14ms", FIELD(resolve_timeout), 5 * ns_per_s, 14 * ns_per_ms},
        {"upgrade.timeout_ns", "15ms", FIELD(upgrade_timeout), 5 * ns_per_s, 15 * ns_per_ms},
        {"tls.timeout_ns", "16ms", FIELD(tls_timeout), 5 * ns_per_s, 16 * ns_per_ms},
        {"close.timeout_ns", "17ms", FIELD(close_timeout), 2 * ns_per_s, 17 * ns_per_ms},
        {"ping.interval_ns", "18ms", FIELD(ping_interval), 20 * ns_per_s, 18 * ns_per_ms},
        {"ping.timeout_ns", "19ms", FIELD(ping_timeout), 20 * ns_per_s, 19 * ns_per_ms},
        {"idle.timeout_ns", "20ms", FIELD(idle_timeout), 60 * ns_per_s, 20 * ns_per_ms},
        {"reconnect.delay_min_ns", "21ms", FIELD(delay_min), 100 * ns_per_ms, 21 * ns_per_ms},
        {"reconnect.delay_max_ns", "22ms", FIELD(delay_max), 30 * ns_per_s, 22 * ns_per_ms},
        {"reconnect.stable_ns", "23ms", FIELD(stable), 10 * ns_per_s, 23 * ns_per_ms},
        {"reconnect", "no", FIELD(reconnect), 1, 0},
        {"reconnect.initial", "no", FIELD(reconnect_initial), 1, 0},
        {"reconnect.max_attempts", "24", FIELD(max_attempts), 0, 24},
        {"redirect.max", "5", FIELD(redirect_max), 0, 5},
        {"upgrade.max_head_bytes", "1025", FIELD(head_max_bytes), 16384, 1025},
        {"tls.record_bytes", "1026", FIELD(record_bytes), 16384, 1026},
        {"socket.read_bytes", "1027", FIELD(read_bytes), 131072, 1027},
        {"connect.family", "ipv4", FIELD(family), 0, static_cast<int64_t>(Family::ipv4)},
        {"connect.family", "ipv6", FIELD(family), 0, static_cast<int64_t>(Family::ipv6)},
        {"socket.no_delay", "no", FIELD(link.no_delay), 1, 0},
        {"socket.busy_poll_us", "30", FIELD(link.busy_poll_us), 0, 30},
        {"socket.receive_buffer_bytes", "31", FIELD(link.receive_buffer_bytes), 0, 31},
        {"socket.send_buffer_bytes", "32", FIELD(link.send_buffer_bytes), 0, 32},
        {"timestamps", "off", FIELD(link.timestamps), 1, static_cast<int64_t>(TimestampSource::off)},
        {"timestamps", "hardware", FIELD(link.timestamps), 1,
         static_cast<int64_t>(TimestampSource::hardware)},
    };
#undef FIELD
    Made plain(Given{});
    assert_int_equal(plain.s->link.echo_bytes, outbox);
    assert_string_equal(plain.s->link.interface, "");
    for (const Row &row : rows) {
        Made made(Given{{row.name, row.value}});
        if (row.read(*plain.s) != row.by_default || row.read(*made.s) != row.set)
            fail_msg("%s: %lld by default, %lld set", row.name, static_cast<long long>(row.read(*plain.s)),
                     static_cast<long long>(row.read(*made.s)));
    }
    Made named(Given{{"socket.interface", "eth7"}});
    assert_string_equal(named.s->link.interface, "eth7");
}

void test_message_sizes(void **) {
    std::string most = std::to_string(fits), over = std::to_string(fits + 1);
    assert_int_equal(Made(Given{{"message.max_bytes", most.c_str()}}).s->message_max_bytes, fits);
    Made too_big(Given{{"message.max_bytes", over.c_str()}});
    check_error(too_big.status, too_big.error, WSXDP_E_INVALID, "does not fit in inbox.bytes=4194304");
    assert_non_null(strstr(too_big.error.text, ("up to " + most).c_str()));
    // Pieces need not fit whole.
    Made streamed(Given{{"message.max_bytes", over.c_str()}, {"message.stream", "yes"}});
    assert_int_equal(streamed.status, WSXDP_OK);
    assert_int_equal(streamed.s->message_max_bytes, fits + 1);
    assert_true(Made(Given{{"message.stream", "yes"}}).s->message_max_bytes == UINT64_MAX);
    Made smallest(Given{}, 65536); // the least that inbox.bytes takes still holds a message
    assert_in_range(smallest.s->message_max_bytes, 32768, 65536);
}

void test_out_of_memory(void **) {
    for (int64_t nth = 0;; nth++) {
        Options *options = options_with({{"tls.pin_sha256", "AAAA"}});
        Settings *s = nullptr;
        ErrorText error;
        allocation_fail_after(nth);
        int status = settings_new(options, inbox, outbox, &s, &error);
        allocation_fail_after(-1);
        if (status == WSXDP_OK) {
            assert_int_equal(nth, 1);
            settings_drop(s);
            break;
        }
        check_error(status, error, WSXDP_E_MEMORY,
                    "reading the options: out of memory"); // and options are freed
        assert_null(s);
    }
    settings_drop(nullptr);
}

void test_references(void **) {
    Settings *s = nullptr;
    ErrorText error;
    assert_int_equal(settings_new(options_with({{"name", "x"}}), inbox, outbox, &s, &error), WSXDP_OK);
    s->references++;
    settings_drop(s);
    assert_string_equal(s->options->text(Option::name), "x"); // still there
    settings_drop(s);
}

void test_tls_shared(void **) {
    if (!tls_backend()->available) return;
    ErrorText error;
    Made first(Given{{"tls.alpn", "a"}, {"origin", "one"}}),
        same(Given{{"tls.alpn", "a"}, {"origin", "two"}}), other(Given{{"tls.alpn", "b"}});
    assert_false(settings_share_tls(first.s, same.s)); // which has none to share
    assert_int_equal(settings_need_tls(first.s, &error), WSXDP_OK);
    SharedTls *tls = first.s->tls;
    assert_non_null(tls);
    assert_int_equal(settings_need_tls(first.s, &error), WSXDP_OK);
    assert_ptr_equal(first.s->tls.load(), tls);
    assert_int_equal(tls->references.load(), 1);
    assert_true(settings_share_tls(same.s, first.s));
    assert_ptr_equal(same.s->tls.load(), tls);
    assert_int_equal(tls->references.load(), 2);
    assert_false(settings_share_tls(other.s, first.s));
    assert_int_equal(settings_need_tls(other.s, &error), WSXDP_OK);
    assert_ptr_not_equal(other.s->tls.load(), tls);
    settings_drop(first.s); // the one that made it may go first
    first.s = nullptr;
    assert_int_equal(tls->references.load(), 1);
    assert_string_equal(error.text, "");
}

void test_tls_refused(void **) {
    if (!tls_backend()->available) return;
    ErrorText error;
    Made missing(Given{{"tls.ca_file", "/nonexistent/ca.pem"}});
    check_error(settings_need_tls(missing.s, &error), error, WSXDP_E_TLS_CA, "/nonexistent/ca.pem");
    assert_null(missing.s->tls.load());
    Made pins(Given{{"tls.pin_sha256", "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="},
                    {"tls.pin_sha256", "not a pin"}});
    int status = settings_need_tls(pins.s, &error);
    check_error(status, error, WSXDP_E_TLS_SETUP, "pin");
    for (int64_t nth = 0;; nth++) {
        Made made(Given{{"tls.insecure_skip_verify", "yes"}});
        assert_true(nth < 100);
        allocation_fail_after(nth);
        status = settings_need_tls(made.s, &error);
        allocation_fail_after(-1);
        if (status == WSXDP_OK) {
            assert_true(nth >= 2);
            break;
        }
        check_error(status, error, WSXDP_E_MEMORY, "memory");
        assert_null(made.s->tls.load());
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers),       cmocka_unit_test(test_message_sizes),
        cmocka_unit_test(test_out_of_memory), cmocka_unit_test(test_references),
        cmocka_unit_test(test_tls_shared),    cmocka_unit_test(test_tls_refused),
    };
    return cmocka_run_group_tests_name("pipeline: settings", tests, nullptr, nullptr);
}
