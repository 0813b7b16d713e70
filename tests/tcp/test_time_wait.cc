// SPDX-License-Identifier: MIT
// The TIME-WAIT table against a std::map that does the same by other means, with deletions in the middle of
// runs, expiry and eviction; and what is answered to each kind of segment for such a tuple.
#include "../../lib/base/random.h"
#include "../../lib/tcp/challenge.h"
#include "../../lib/tcp/time_wait.h"
#include "../base/check.h"
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

using namespace wx;

namespace {

constexpr Nanos two_msl = 60 * ns_per_s;

uint64_t seed() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

struct Table {
    std::vector<uint64_t> memory;
    TimeWaitTable t;
    explicit Table(uint32_t capacity) : memory(time_wait_bytes(capacity) / 8 + 1, 0xA5A5A5A5A5A5A5A5) {
        time_wait_open(&t, memory.data(), capacity);
    }
};

TcpTuple tuple_of(uint32_t number, bool version6 = false) {
    TcpTuple t;
    uint8_t bytes[16] = {0x20, 0x01, 0x0D, 0xB8, 1};
    t.local = version6 ? ip_address(bytes, 6) : ip4_address(192, 0, 2, 1);
    bytes[15] = static_cast<uint8_t>(number >> 8);
    t.remote = version6 ? ip_address(bytes, 6) : ip4_address(198, 51, 100, static_cast<uint8_t>(number >> 8));
    t.local_port = static_cast<uint16_t>(32768 + (number & 0xFF));
    t.remote_port = 443;
    return t;
}

TimeWait entry_of(const TcpTuple &tuple, Nanos expires, uint32_t mark = 0) {
    TimeWait e;
    e.tuple = tuple;
    e.expires = expires;
    e.send_next = mark;
    return e;
}

std::string key_of(const TcpTuple &t) {
    std::string key(reinterpret_cast<const char *>(t.local.bytes), t.local.size());
    key.append(reinterpret_cast<const char *>(t.remote.bytes), t.remote.size());
    return key + ":" + std::to_string(t.local_port) + ":" + std::to_string(t.remote_port);
}

struct Modelled {
    Nanos expires;
    uint32_t mark;
};

struct Model {
    std::map<std::string, Modelled> map;
    uint32_t evicted = 0;

    void add(const TcpTuple &tuple, Nanos expires, uint32_t mark, size_t most) {
        if (!map.count(key_of(tuple)) && map.size() == most) {
            auto first = map.begin();
            for (auto i = map.begin(); i != map.end(); ++i) {
                if (i->second.expires < first->second.expires) first = i;
            }
            map.erase(first);
            evicted++;
        }
        map[key_of(tuple)] = {expires, mark};
    }
    void expire(Nanos now) {
        for (auto i = map.begin(); i != map.end();)
            i = i->second.expires <= now ? map.erase(i) : std::next(i);
    }
    Nanos next() const {
        Nanos least = never;
        for (const auto &entry : map) least = entry.second.expires < least ? entry.second.expires : least;
        return least;
    }
};

void compare(Table *table, const Model &model, uint32_t tuples, unsigned step) {
    if (table->t.count != model.map.size() || table->t.evicted != model.evicted)
        fail_msg("seed %llu step %u: %u entries, %zu wanted; %u evicted, %u wanted",
                 (unsigned long long)seed(), step, table->t.count, model.map.size(), table->t.evicted,
                 model.evicted);
    for (uint32_t number = 0; number < tuples; number++) {
        TcpTuple tuple = tuple_of(number, number & 1);
        TimeWait *found = time_wait_find(&table->t, tuple);
        auto wanted = model.map.find(key_of(tuple));
        bool same = !found == (wanted == model.map.end()) &&
                    (!found || (found->tuple == tuple && found->expires == wanted->second.expires &&
                                found->send_next == wanted->second.mark));
        if (!same) fail_msg("seed %llu step %u: tuple %u differs", (unsigned long long)seed(), step, number);
    }
    if (table->t.next_expiry > model.next())
        fail_msg("seed %llu step %u: would wake too late", (unsigned long long)seed(), step);
}

void run_against_model(uint32_t capacity, uint32_t tuples, unsigned steps, uint64_t salt) {
    FixedRandom random;
    fixed_random_open(&random, seed() * 31 + salt);
    Table table(capacity);
    Model model;
    Nanos now = 1;
    for (unsigned step = 0; step < steps; step++) {
        if (random_below(&random, 4) != 0) {
            uint32_t number = static_cast<uint32_t>(random_below(&random, tuples));
            // Every time of expiry once: which of two goes first would be for the table to choose.
            Nanos expires = (now + 1 + static_cast<Nanos>(random_below(&random, 1000))) * 100000 + step;
            time_wait_add(&table.t, entry_of(tuple_of(number, number & 1), expires, step));
            model.add(tuple_of(number, number & 1), expires, step, capacity / 4 * 3);
        } else {
            now += static_cast<Nanos>(random_below(&random, 200));
            bool looked = table.t.next_expiry <= now * 100000; // else the table may still hold an early bound
            time_wait_expire(&table.t, now * 100000);
            model.expire(now * 100000);
            if (looked && table.t.next_expiry != model.next())
                fail_msg("seed %llu step %u: next expiry", (unsigned long long)seed(), step);
        }
        compare(&table, model, tuples, step);
    }
    time_wait_expire(&table.t, never - 1);
    model.expire(never - 1);
    compare(&table, model, tuples, steps);
    assert_int_equal(table.t.count, 0);
    assert_true(table.t.next_expiry == never);
}

void test_random_roomy(void **) { run_against_model(128, 60, 4000, 1); }
void test_random_full(void **) { run_against_model(16, 40, 4000, 2); }
void test_random_least(void **) { run_against_model(4, 9, 4000, 3); }

void test_expiry(void **) {
    Table table(16);
    assert_true(table.t.next_expiry == never);
    time_wait_expire(&table.t, 1000);
    time_wait_add(&table.t, entry_of(tuple_of(1), 300));
    time_wait_add(&table.t, entry_of(tuple_of(2), 200));
    time_wait_add(&table.t, entry_of(tuple_of(3), 400));
    assert_true(table.t.next_expiry == 200);
    time_wait_expire(&table.t, 199);
    assert_int_equal(table.t.count, 3);
    time_wait_expire(&table.t, 200);
    assert_int_equal(table.t.count, 2);
    assert_null(time_wait_find(&table.t, tuple_of(2)));
    assert_true(table.t.next_expiry == 300);
    time_wait_expire(&table.t, 1000);
    assert_int_equal(table.t.count, 0);
    assert_true(table.t.next_expiry == never);
    assert_int_equal(table.t.evicted, 0);
}

void test_eviction(void **) {
    Table table(4);
    for (uint32_t i = 0; i < 3; i++) time_wait_add(&table.t, entry_of(tuple_of(i), 100 - i));
    time_wait_add(&table.t, entry_of(tuple_of(0), 50, 9)); // the same tuple again takes no room
    assert_int_equal(table.t.evicted, 0);
    assert_int_equal(table.t.count, 3);
    assert_int_equal(time_wait_find(&table.t, tuple_of(0))->send_next, 9);
    time_wait_add(&table.t, entry_of(tuple_of(7), 500));
    assert_int_equal(table.t.evicted, 1);
    assert_int_equal(table.t.count, 3);
    assert_null(time_wait_find(&table.t, tuple_of(0)));
    assert_non_null(time_wait_find(&table.t, tuple_of(1)));
    assert_non_null(time_wait_find(&table.t, tuple_of(7)));
}

void test_versions_apart(void **) {
    Table table(16);
    TcpTuple four = tuple_of(1), six = four;
    six.local.version = six.remote.version = 6;
    time_wait_add(&table.t, entry_of(four, 10));
    assert_null(time_wait_find(&table.t, six));
    TcpTuple behind = four; // bytes behind an IPv4 address do not count
    behind.remote.bytes[12] = 3;
    assert_non_null(time_wait_find(&table.t, behind));
}

// ---- segments
// -----------------------------------------------------------------------------------------------

constexpr uint32_t receive_next = 5000, send_next = 9000;

struct Waiting {
    Table table{16};
    TimeWait *entry;
    TcpSegment answer;
    explicit Waiting(bool timestamps) {
        TimeWait e = entry_of(tuple_of(1), two_msl, send_next);
        e.receive_next = receive_next;
        e.timestamps = timestamps;
        e.ts_recent = 700;
        e.ts_value_offset = 1000000;
        e.window = 321;
        time_wait_add(&table.t, e);
        entry = time_wait_find(&table.t, tuple_of(1));
    }
    bool on(const TcpSegment &s, Nanos now) {
        return time_wait_on_segment(&table.t, entry, s, now, two_msl, 55, &answer);
    }
    // Once the entry was to expire at first, is it still there?
    bool prolonged() {
        time_wait_expire(&table.t, two_msl);
        return time_wait_find(&table.t, tuple_of(1)) != nullptr;
    }
};

TcpSegment segment(uint32_t seq, uint8_t flags, uint32_t ts_value = 0, size_t payload = 0) {
    static const uint8_t bytes[8] = {0};
    TcpSegment s;
    s.source_port = 443;
    s.destination_port = 32769;
    s.seq = seq;
    s.ack = send_next;
    s.flags = flags;
    s.payload = ByteView(bytes, payload);
    s.options.has_timestamps = ts_value != 0;
    s.options.ts_value = ts_value;
    return s;
}

void test_repeated_fin(void **) {
    Waiting w(true);
    assert_true(w.on(segment(receive_next - 1, tcp_fin | tcp_ack, 710), 20 * ns_per_s));
    assert_int_equal(w.answer.flags, tcp_ack);
    assert_int_equal(w.answer.seq, send_next);
    assert_int_equal(w.answer.ack, receive_next);
    assert_int_equal(w.answer.window, 321);
    assert_int_equal(w.answer.source_port, 32769);
    assert_int_equal(w.answer.destination_port, 443);
    assert_true(w.answer.options.has_timestamps);
    assert_int_equal(w.answer.options.ts_value, 1000055);
    assert_int_equal(w.answer.options.ts_echo, 710); // of the FIN that is answered
    assert_int_equal(w.answer.payload.size, 0);
    assert_true(w.prolonged());
    time_wait_expire(&w.table.t, 80 * ns_per_s - 1);
    assert_int_equal(w.table.t.count, 1);
    time_wait_expire(&w.table.t, 80 * ns_per_s);
    assert_int_equal(w.table.t.count, 0);
}

void test_every_repeated_fin_is_answered(void **) {
    Waiting w(false);
    for (int i = 1; i <= 5; i++) assert_true(w.on(segment(receive_next - 1, tcp_fin | tcp_ack), i * 1000));
    assert_false(w.answer.options.has_timestamps);
    // With its last payload, as it was first sent.
    assert_true(w.on(segment(receive_next - 5, tcp_fin | tcp_ack, 0, 4), 30 * ns_per_s));
    assert_true(w.entry->expires == 30 * ns_per_s + two_msl);
}

void test_other_fins_prolong_nothing(void **) {
    Waiting w(true);
    assert_true(w.on(segment(receive_next - 1, tcp_fin | tcp_ack, 699), ns_per_s)); // an old duplicate
    assert_int_equal(w.answer.options.ts_echo, 700);
    assert_true(
        w.on(segment(receive_next + 100, tcp_fin | tcp_ack, 800), 2 * ns_per_s)); // not the FIN that came
    assert_int_equal(w.answer.options.ts_echo, 700);
    assert_false(w.on(segment(receive_next - 1, tcp_fin | tcp_ack), 3 * ns_per_s)); // without its timestamp
    assert_false(w.on(segment(receive_next - 1, tcp_fin, 800), 4 * ns_per_s));      // without ACK
    assert_false(w.prolonged());
}

void test_reset_is_passed_over(void **) {
    Waiting w(false);
    assert_false(w.on(segment(receive_next, tcp_rst), ns_per_s));
    assert_false(w.on(segment(receive_next, tcp_rst | tcp_ack), ns_per_s));
    assert_false(w.on(segment(receive_next - 1, tcp_rst | tcp_fin | tcp_ack), ns_per_s));
    assert_false(w.on(segment(receive_next, tcp_rst | tcp_syn), ns_per_s));
    assert_int_equal(w.table.t.count, 1);
    assert_true(w.entry->expires == two_msl);
}

void test_syn_is_challenged(void **) {
    for (bool timestamps : {false, true}) {
        Waiting w(timestamps);
        // All that RFC 6191 asks of a new connection: later sequence number and timestamp.
        assert_true(w.on(segment(receive_next + 70000, tcp_syn, 900), ns_per_s));
        assert_int_equal(w.answer.flags, tcp_ack);
        assert_int_equal(w.answer.seq, send_next);
        assert_int_equal(w.answer.ack, receive_next);
        assert_int_equal(w.answer.options.has_timestamps, timestamps);
        assert_int_equal(w.answer.options.ts_echo, 700);
        assert_false(w.on(segment(receive_next + 70000, tcp_syn, 901), ns_per_s + challenge_distance - 1));
        assert_true(w.on(segment(receive_next + 70000, tcp_syn, 902), ns_per_s + challenge_distance));
        assert_true(w.on(segment(1, tcp_syn | tcp_ack), 5 * ns_per_s)); // and one without a timestamp
        assert_true(w.on(segment(receive_next - 2, tcp_syn | tcp_fin), 9 * ns_per_s));
        assert_false(w.prolonged());
    }
}

void test_bare_acks(void **) {
    Waiting w(true);
    assert_false(w.on(segment(receive_next, tcp_ack, 710), ns_per_s)); // the last ACK of a simultaneous close
    assert_true(w.on(segment(receive_next - 1, tcp_ack, 710), 2 * ns_per_s)); // a keepalive
    assert_false(w.on(segment(receive_next - 1, tcp_ack, 710), 2 * ns_per_s + 1));
    assert_true(w.on(segment(receive_next + 1, tcp_ack, 710), 3 * ns_per_s));
    assert_false(w.prolonged());
}

void test_old_data(void **) {
    Waiting w(false);
    assert_true(w.on(segment(receive_next - 9, tcp_ack | tcp_psh, 0, 8), ns_per_s));
    assert_true(w.on(segment(receive_next - 9, tcp_ack | tcp_psh, 0, 8), ns_per_s + 1));
    assert_true(w.on(segment(receive_next, tcp_ack, 0, 8), ns_per_s + 2)); // beyond the FIN
    assert_int_equal(w.answer.ack, receive_next);
    assert_false(w.on(segment(receive_next - 9, tcp_psh, 0, 8), ns_per_s + 3)); // no ACK
    assert_false(w.prolonged());
}

// Two ends that both wait must fall silent, whatever one of them got wrong.
void test_no_endless_exchange(void **) {
    Waiting a(false), b(false);
    b.entry->tuple = a.entry->tuple;
    b.entry->send_next = receive_next + 3; // they do not agree
    b.entry->receive_next = send_next - 3;
    bool more = a.on(segment(receive_next - 1, tcp_fin | tcp_ack), 1);
    int answers = 0;
    for (Nanos now = 2; more && now < 1000; now++) {
        more = b.on(a.answer, now) && a.on(b.answer, now);
        answers++;
    }
    assert_false(more);
    assert_in_range(answers, 1, 3);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_random_roomy),
        cmocka_unit_test(test_random_full),
        cmocka_unit_test(test_random_least),
        cmocka_unit_test(test_expiry),
        cmocka_unit_test(test_eviction),
        cmocka_unit_test(test_versions_apart),
        cmocka_unit_test(test_repeated_fin),
        cmocka_unit_test(test_every_repeated_fin_is_answered),
        cmocka_unit_test(test_other_fins_prolong_nothing),
        cmocka_unit_test(test_reset_is_passed_over),
        cmocka_unit_test(test_syn_is_challenged),
        cmocka_unit_test(test_bare_acks),
        cmocka_unit_test(test_old_data),
        cmocka_unit_test(test_no_endless_exchange),
    };
    return cmocka_run_group_tests_name("tcp: time wait", tests, nullptr, nullptr);
}
