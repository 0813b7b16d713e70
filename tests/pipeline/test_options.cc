// SPDX-License-Identifier: MIT
// The option table row by row, quantities with every unit, lists and prefixes, secrets, copies, and out of
// memory at every allocation. A set that fails must change nothing and name the option.
#include <algorithm>
#include <set>
#include <vector>

#include "../../lib/base/alloc.h"
#include "../../lib/pipeline/options.h"
#include "../base/check.h"

using namespace wx;

namespace {

struct Bag {
    Options *o = options_new();
    Bag() { assert_non_null(o); }
    explicit Bag(Options *taken) : o(taken) { assert_non_null(o); }
    ~Bag() { options_free(o); }
    int set(const std::string &name, const std::string &value) {
        return options_set(o, name.c_str(), view(value));
    }
    void refuses(const std::string &name, const std::string &value, int code, const char *part) {
        Bag before(options_copy(o));
        int status = set(name, value);
        check_error(status, o->error, code, part);
        assert_true(options_equal(o, before.o, ""));
    }
    int64_t integer(const char *name) {
        for (size_t i = 0; i < option_count; i++)
            if (!strcmp(option_rows[i].name, name)) return o->slots[i].integer;
        fail_msg("no option %s", name);
        return 0;
    }
};

bool is(const OptionRow &row, uint32_t flag) { return (row.flags & flag) != 0; }

std::vector<std::string> words_of(const OptionRow &row) {
    std::vector<std::string> words{""};
    for (const char *c = row.choices; *c; c++) {
        if (*c == '|')
            words.push_back("");
        else
            words.back() += *c;
    }
    return words;
}

// ---- the table ----

void test_rows(void **) {
    std::set<std::string> names, docs;
    for (const OptionRow &row : option_rows) {
        std::string name = row.name, doc = row.doc;
        if (!names.insert(name).second) fail_msg("%s is there twice", row.name);
        assert_true(!name.empty() && name.size() <= 64);
        for (char c : name)
            if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || strchr("._*", c)))
                fail_msg("%s", row.name);
        if (doc.empty() || doc.back() == '.' || doc.back() == ' ' || doc.find('\n') != std::string::npos)
            fail_msg("%s: doc \"%s\"", row.name, row.doc);
        if (!docs.insert(doc).second) fail_msg("%s shares its doc", row.name);
        assert_in_range(row.type, WSXDP_OPTION_TEXT, WSXDP_OPTION_DATA);
        assert_int_equal(row.flags & ~0xFu, 0);
        assert_int_equal(is(row, WSXDP_OPTION_PREFIX),
                         name.size() > 2 && name.substr(name.size() - 2) == ".*");
        assert_int_equal(row.type == WSXDP_OPTION_CHOICE, row.choices[0] != 0);
        if (row.type == WSXDP_OPTION_INT) assert_true(row.minimum < row.maximum);
        if (row.type != WSXDP_OPTION_INT) assert_string_equal(row.unit, "");
        // A number of nanoseconds says so in its name; one of bytes does as well.
        if (!strcmp(row.unit, "ns")) assert_non_null(strstr(row.name, "_ns"));
        if (!strcmp(row.unit, "bytes")) assert_non_null(strstr(row.name, "bytes"));
    }
    assert_true(option_count > 60);
}

void test_defaults(void **) {
    for (size_t i = 0; i < option_count; i++) {
        const OptionRow &row = option_rows[i];
        Bag bag, fresh;
        assert_false(bag.o->slots[i].given);
        if (is(row, WSXDP_OPTION_PREFIX)) continue;
        if (bag.set(row.name, row.default_value) < 0) fail_msg("%s: its default is refused", row.name);
        assert_true(bag.o->slots[i].given);
        assert_true(options_equal(bag.o, fresh.o, ""));
        assert_string_equal(bag.o->error.text, "");
        if (row.type == WSXDP_OPTION_TEXT || row.type == WSXDP_OPTION_DATA)
            assert_string_equal(bag.o->text(static_cast<Option>(i)), row.default_value);
    }
    Bag bag;
    assert_int_equal(bag.o->integer(Option::connect_timeout_ns), 10000000000);
    assert_int_equal(bag.o->integer(Option::inbox_bytes), 4 << 20);
    assert_true(bag.o->flag(Option::tls_system_ca) && !bag.o->flag(Option::tls_insecure_skip_verify));
}

void test_numbers_at_their_limits(void **) {
    for (size_t i = 0; i < option_count; i++) {
        const OptionRow &row = option_rows[i];
        if (row.type != WSXDP_OPTION_INT) continue;
        Bag bag;
        for (int64_t value : {row.minimum, row.maximum}) {
            if (bag.set(row.name, std::to_string(value)) < 0) fail_msg("%s", bag.o->error.text);
            assert_int_equal(bag.o->slots[i].integer, value);
            assert_int_equal(options_set_int(bag.o, row.name, value), WSXDP_OK);
        }
        std::string below = std::to_string(row.minimum - 1);
        bag.refuses(row.name, below, WSXDP_E_OPTION_RANGE, row.name);
        check_error(options_set_int(bag.o, row.name, row.minimum - 1), bag.o->error, WSXDP_E_OPTION_RANGE,
                    below.c_str());
        std::string above =
            row.maximum == INT64_MAX ? "9223372036854775808" : std::to_string(row.maximum + 1);
        bag.refuses(row.name, above, WSXDP_E_OPTION_RANGE, row.name);
        bag.refuses(row.name, "-9223372036854775809", WSXDP_E_OPTION_RANGE, "it takes a number from");
        for (const char *bad : {"", "x", "-", "1x", "1 ", " 1", "+1", "0x10", "1.5", "--1", "1e3"})
            bag.refuses(row.name, bad, WSXDP_E_OPTION_TYPE, row.name);
        bag.refuses(row.name, std::string("1\0", 2), WSXDP_E_OPTION_TYPE, "'1\\x00' does not fit");
        check_error(options_set_data(bag.o, row.name, ByteView("1")), bag.o->error, WSXDP_E_OPTION_TYPE,
                    row.name);
    }
}

void test_words(void **) {
    for (size_t i = 0; i < option_count; i++) {
        const OptionRow &row = option_rows[i];
        Bag bag;
        if (row.type == WSXDP_OPTION_BOOL) {
            for (const char *yes : {"yes", "true", "on", "1", "YES", "True"}) {
                assert_int_equal(bag.set(row.name, yes), WSXDP_OK);
                assert_int_equal(bag.o->slots[i].integer, 1);
            }
            for (const char *no : {"no", "false", "off", "0", "oFF"}) {
                assert_int_equal(bag.set(row.name, no), WSXDP_OK);
                assert_int_equal(bag.o->slots[i].integer, 0);
            }
            for (const char *bad : {"", "2", "y", "yess", "-1"})
                bag.refuses(row.name, bad, WSXDP_E_OPTION_TYPE, row.name);
            assert_int_equal(options_set_int(bag.o, row.name, 1), WSXDP_OK);
            for (int64_t bad : {int64_t{2}, int64_t{-1}, INT64_MIN})
                check_error(options_set_int(bag.o, row.name, bad), bag.o->error, WSXDP_E_OPTION_RANGE,
                            row.name);
        }
        if (row.type == WSXDP_OPTION_CHOICE) {
            int64_t index = 0;
            for (const std::string &word : words_of(row)) {
                assert_int_equal(bag.set(row.name, word), WSXDP_OK);
                assert_int_equal(bag.o->slots[i].integer, index++);
                bag.refuses(row.name, word + "x", WSXDP_E_OPTION_RANGE, row.choices);
                bag.refuses(row.name, "_" + word.substr(1), WSXDP_E_OPTION_RANGE, row.name);
                bag.refuses(row.name, word.substr(0, 1), WSXDP_E_OPTION_RANGE, row.name);
            }
            bag.refuses(row.name, "", WSXDP_E_OPTION_RANGE, row.name);
            bag.refuses(row.name, row.choices, WSXDP_E_OPTION_RANGE, row.name);
            check_error(options_set_int(bag.o, row.name, 0), bag.o->error, WSXDP_E_OPTION_TYPE, row.name);
        }
    }
}

void test_texts(void **) {
    for (size_t i = 0; i < option_count; i++) {
        const OptionRow &row = option_rows[i];
        if (row.type != WSXDP_OPTION_TEXT && row.type != WSXDP_OPTION_DATA) continue;
        std::string name = row.name;
        if (is(row, WSXDP_OPTION_PREFIX)) name.back() = 'X';
        Option option = static_cast<Option>(i);
        Bag bag;
        std::string odd = "a \"quoted\" \xFF text\r\n";
        assert_int_equal(bag.set(name, odd), WSXDP_OK);
        assert_string_equal(bag.o->text(option), odd.c_str());
        assert_int_equal(options_set_data(bag.o, name.c_str(), ByteView("two")), WSXDP_OK);
        assert_string_equal(bag.o->text(option), "two");
        assert_int_equal(bag.o->count(option), is(row, WSXDP_OPTION_REPEATS) ? 2 : 1);
        std::string zero("a\0b", 3);
        if (row.type == WSXDP_OPTION_DATA) {
            assert_int_equal(options_set_data(bag.o, name.c_str(), view(zero)), WSXDP_OK);
            assert_true(equal(bag.o->data(option), view(zero)));
        } else {
            bag.refuses(name, zero, WSXDP_E_OPTION_RANGE, "text without zero bytes");
        }
        check_error(options_set_int(bag.o, name.c_str(), 5), bag.o->error, WSXDP_E_OPTION_TYPE, row.name);
    }
    Bag bag;
    std::string big(option_text_bytes_max, 'x');
    assert_int_equal(bag.set("tls.ca_pem", big), WSXDP_OK);
    assert_int_equal(bag.o->data(Option::tls_ca_pem).size, big.size());
    bag.refuses("tls.ca_pem", big + "x", WSXDP_E_OPTION_RANGE, "16 MiB at most");
    assert_int_equal(bag.set("tls.ca_pem", ""), WSXDP_OK);
    assert_int_equal(bag.o->data(Option::tls_ca_pem).size, 0);
}

void test_unknown(void **) {
    Bag bag;
    for (const char *name :
         {"", "x", "inbox", "inbox.bytes ", "INBOX.BYTES", "inbox.byte", "header", "header.", "."})
        bag.refuses(name, "1", WSXDP_E_OPTION_UNKNOWN, name);
    bag.refuses(std::string(500, 'n') + "\x01", "1", WSXDP_E_OPTION_UNKNOWN, "`wsxdp options` lists them");
    check_error(options_set_int(bag.o, "nope", 1), bag.o->error, WSXDP_E_OPTION_UNKNOWN, "'nope'");
    check_error(options_set_data(bag.o, "nope", ByteView("")), bag.o->error, WSXDP_E_OPTION_UNKNOWN,
                "'nope'");
    assert_int_equal(bag.set("name", "x"), WSXDP_OK);
    assert_string_equal(bag.o->error.text, ""); // of the last set, and that one was good
}

// ---- quantities ----

struct Quantity {
    const char *text, *unit;
    int status;
    int64_t value;
};

void test_quantities(void **) {
    constexpr int type = WSXDP_E_OPTION_TYPE, range = WSXDP_E_OPTION_RANGE;
    const Quantity rows[] = {
        {"0", "", 0, 0},
        {"-0", "", 0, 0},
        {"007", "", 0, 7},
        {"17", "ns", 0, 17},
        {"3ns", "ns", 0, 3},
        {"3us", "ns", 0, 3000},
        {"250ms", "ns", 0, 250000000},
        {"2s", "ns", 0, 2000000000},
        {"2m", "ns", 0, 120000000000},
        {"1h", "ns", 0, 3600000000000},
        {"-5ms", "ns", 0, -5000000},
        {"5us", "us", 0, 5},
        {"5ms", "us", 0, 5000},
        {"5s", "us", 0, 5000000},
        {"9B", "bytes", 0, 9},
        {"1KiB", "bytes", 0, 1024},
        {"1MiB", "bytes", 0, 1048576},
        {"1GiB", "bytes", 0, 1073741824},
        {"1kB", "bytes", 0, 1000},
        {"1MB", "bytes", 0, 1000000},
        {"1GB", "bytes", 0, 1000000000},
        {"1k", "bytes", 0, 1024},
        {"1K", "bytes", 0, 1024},
        {"1M", "bytes", 0, 1048576},
        {"1G", "bytes", 0, 1073741824},
        {"1ns", "us", type, 0},
        {"1ms", "bytes", type, 0},
        {"1KiB", "ns", type, 0},
        {"1ms", "", type, 0},
        {"1m", "bytes", type, 0},
        {"1MS", "ns", type, 0},
        {"1 ms", "ns", type, 0},
        {"ms", "ns", type, 0},
        {"-", "ns", type, 0},
        {"", "", type, 0},
        {"1b", "bits", type, 0},
        {"9223372036854775807", "", 0, INT64_MAX},
        {"-9223372036854775807", "", 0, -INT64_MAX},
        {"9223372036854775808", "", range, 0},
        {"99999999999999999999999999999999", "ns", range, 0},
        {"99999999999999999999999999999999x", "ns", type, 0},
        {"2562047h", "ns", 0, 2562047 * 3600000000000},
        {"2562048h", "ns", range, 0},
        {"8589934591GiB", "bytes", 0, 8589934591ll << 30},
        {"8589934592GiB", "bytes", range, 0},
        {"18446744073709551616", "", range, 0},
        {"18446744073709551617ms", "ns", range, 0},
    };
    for (const Quantity &row : rows) {
        int64_t value = 0;
        int status = parse_quantity(ByteView(row.text), row.unit, &value);
        if (status != row.status || value != row.value)
            fail_msg("%s %s: %d, %lld", row.text, row.unit, status, static_cast<long long>(value));
    }
    Bag bag;
    assert_int_equal(bag.set("connect.timeout_ns", "250ms"), WSXDP_OK);
    assert_int_equal(bag.integer("connect.timeout_ns"), 250000000);
    assert_int_equal(bag.set("inbox.bytes", "64KiB"), WSXDP_OK);
    assert_int_equal(bag.integer("inbox.bytes"), 65536);
    bag.refuses("inbox.bytes", "5s", WSXDP_E_OPTION_TYPE, "like 64KiB, 4MiB");
    bag.refuses("connect.timeout_ns", "4MiB", WSXDP_E_OPTION_TYPE, "like 250ms, 10s");
}

// ---- lists ----

void test_lists(void **) {
    Bag bag;
    for (const char *text : {"one", "two", "one"}) assert_int_equal(bag.set("subscribe", text), WSXDP_OK);
    assert_int_equal(bag.o->count(Option::subscribe), 3);
    assert_string_equal(bag.o->at(Option::subscribe, 0).data, "one");
    assert_string_equal(bag.o->at(Option::subscribe, 2).data, "one");
    assert_int_equal(bag.set("subscribe", ""), WSXDP_OK);
    assert_int_equal(bag.o->count(Option::subscribe), 0);
    for (size_t i = 0; i < option_values_max; i++)
        assert_int_equal(bag.set("subscribe", std::to_string(i)), WSXDP_OK);
    bag.refuses("subscribe", "more", WSXDP_E_OPTION_RANGE, "subscribe: more than 4096 values");
    assert_int_equal(bag.set("subscribe", ""), WSXDP_OK); // a full list can be emptied
    assert_int_equal(bag.o->count(Option::subscribe), 0);
}

void test_prefixes(void **) {
    Bag bag;
    assert_int_equal(bag.set("header.X-Key", "abc"), WSXDP_OK);
    assert_int_equal(bag.set("header.X-Key", "def"), WSXDP_OK);
    assert_int_equal(bag.set("header.Empty", ""), WSXDP_OK);
    assert_int_equal(bag.o->count(Option::header), 3);
    assert_string_equal(bag.o->at(Option::header, 1).name, "X-Key");
    assert_string_equal(bag.o->at(Option::header, 1).data, "def");
    assert_string_equal(bag.o->at(Option::header, 2).data, "");
    assert_int_equal(bag.set("header.*", ""), WSXDP_OK);
    assert_int_equal(bag.o->count(Option::header), 0);
}

void test_secrets(void **) {
    for (const OptionRow &row : option_rows) {
        if (!is(row, WSXDP_OPTION_SECRET)) continue;
        std::string name = row.name;
        if (is(row, WSXDP_OPTION_PREFIX)) name.back() = 'X';
        Bag bag;
        bag.refuses(name, std::string("hunter2\0", 8), WSXDP_E_OPTION_RANGE, "this value does not fit");
        assert_null(strstr(bag.o->error.text, "hunter2"));
        assert_int_equal(options_set_int(bag.o, name.c_str(), 77234), WSXDP_E_OPTION_TYPE);
        assert_null(strstr(bag.o->error.text, "77234"));
    }
    for (const char *name : {"header.*", "proxy", "tls.key_password"}) {
        bool secret = false;
        for (const OptionRow &row : option_rows)
            secret |= !strcmp(row.name, name) && is(row, WSXDP_OPTION_SECRET);
        if (!secret) fail_msg("%s is no secret", name);
    }
}

// ---- whole bags ----

// Sets row i to something else than its default.
void change(Bag *bag, size_t i) {
    const OptionRow &row = option_rows[i];
    std::string name = row.name, value = "changed";
    if (is(row, WSXDP_OPTION_PREFIX)) name.back() = 'X';
    int64_t now = bag->o->slots[i].integer;
    if (row.type == WSXDP_OPTION_INT) value = std::to_string(now == row.maximum ? row.minimum : row.maximum);
    if (row.type == WSXDP_OPTION_BOOL) value = now ? "no" : "yes";
    if (row.type == WSXDP_OPTION_CHOICE) value = now ? words_of(row)[0] : words_of(row)[1];
    assert_int_equal(bag->set(name, value), WSXDP_OK);
}

void test_copies_and_differences(void **) {
    Bag fresh, all;
    for (size_t i = 0; i < option_count; i++) {
        const OptionRow &row = option_rows[i];
        Bag bag;
        change(&bag, i);
        change(&all, i);
        assert_false(options_equal(bag.o, fresh.o, ""));
        std::string prefix = std::string(row.name).substr(0, 4);
        assert_false(options_equal(bag.o, fresh.o, prefix.c_str()));
        assert_true(options_equal(bag.o, fresh.o, "zzz"));
        assert_int_equal(options_equal(bag.o, fresh.o, "tls."), strncmp(row.name, "tls.", 4) != 0);
        Bag copy(options_copy(bag.o));
        assert_true(options_equal(copy.o, bag.o, ""));
        assert_true(copy.o->slots[i].given);
        // Only those that were given count: a connection's config need not repeat the handle's.
        ErrorText error;
        int status = options_check_same_handle(fresh.o, bag.o, &error);
        if (is(row, WSXDP_OPTION_HANDLE))
            check_error(status, error, WSXDP_E_INVALID, row.name);
        else
            assert_int_equal(status, WSXDP_OK);
        assert_int_equal(options_check_same_handle(bag.o, fresh.o, &error), WSXDP_OK);
        assert_int_equal(options_check_same_handle(bag.o, copy.o, &error), WSXDP_OK);
    }
    Bag copy(options_copy(all.o));
    assert_true(options_equal(copy.o, all.o, ""));
    assert_int_equal(copy.set("subscribe", "another"), WSXDP_OK); // a copy is its own
    assert_int_equal(all.o->count(Option::subscribe), 1);
    Bag names, others; // the same values under other names are not the same
    assert_int_equal(names.set("header.A", "1"), WSXDP_OK);
    assert_int_equal(others.set("header.B", "1"), WSXDP_OK);
    assert_false(options_equal(names.o, others.o, ""));
    options_free(nullptr);
}

template <class Work> void fail_everywhere(const char *what, Work work) {
    for (int64_t nth = 0;; nth++) {
        assert_true(nth < 1000);
        allocation_fail_after(nth);
        bool done = work();
        allocation_fail_after(-1);
        if (!done) continue;
        if (nth == 0) fail_msg("%s allocates nothing", what);
        return;
    }
}

void test_out_of_memory(void **) {
    fail_everywhere("new", [] {
        Options *o = options_new();
        options_free(o);
        return o != nullptr;
    });
    Bag full;
    for (size_t i = 0; i < option_count; i++) change(&full, i);
    fail_everywhere("copy", [&] {
        Options *o = options_copy(full.o);
        options_free(o);
        return o != nullptr;
    });
    for (const char *name : {"subscribe", "header.X", "origin", "tls.ca_pem"}) {
        for (int64_t nth = 0;; nth++) {
            Bag before(options_copy(full.o));
            allocation_fail_after(nth);
            int status = full.set(name, "a new value");
            allocation_fail_after(-1);
            if (status == WSXDP_OK) {
                assert_int_equal(nth, 3);
                break;
            }
            check_error(status, full.o->error, WSXDP_E_MEMORY, "out of memory");
            assert_true(options_equal(full.o, before.o, "")); // the old value is still there
        }
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_numbers_at_their_limits),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_quantities),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_secrets),
        cmocka_unit_test(test_copies_and_differences),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("pipeline: options", tests, nullptr, nullptr);
}
