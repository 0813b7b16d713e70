// SPDX-License-Identifier: MIT
// The command's arithmetic, which cannot be seen exactly from outside: percentiles, numbers as people read
// them, durations as people write them, and the nearest word.
extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
}
#include "../../tools/wsxdp/advice.cc"
#include "../../tools/wsxdp/format.cc"
#include "../../tools/wsxdp/latency.cc"

#include <memory>
#include <random>

// Against sorting: never too low, at most a bucket's width too high.
static void percentiles_are_right(void **) {
    std::mt19937_64 random(1);
    for (unsigned bits : {4u, 7u, 8u, 20u, 40u, 62u}) {
        auto histogram = std::make_unique<Histogram>();
        std::vector<int64_t> values;
        for (int i = 0; i < 5000; i++) {
            auto value = int64_t(random() >> (64 - bits) >> (random() % bits));
            values.push_back(value);
            histogram->record(value);
        }
        std::sort(values.begin(), values.end());
        for (double percent : {0.0, 1.0, 50.0, 90.0, 99.0, 99.9, 100.0}) {
            auto rank = size_t(std::max(1.0, std::ceil(5000 * percent / 100)));
            int64_t exact = values[rank - 1], said = histogram->percentile(percent);
            assert_true(said >= exact);
            assert_true(double(said - exact) <= double(exact) / 128);
        }
        assert_int_equal(histogram->max(), values.back());
        assert_int_equal(histogram->percentile(100), values.back());
    }
}

static void histogram_edges(void **) {
    Histogram histogram;
    assert_int_equal(histogram.percentile(50), 0);
    histogram.record(-5);
    assert_int_equal(histogram.percentile(50), 0);
    histogram.record(INT64_MAX);
    assert_true(histogram.percentile(99) == INT64_MAX);
    assert_int_equal(histogram.count(), 2);
    histogram.clear();
    assert_int_equal(histogram.count(), 0);
    assert_int_equal(histogram.max(), 0);
}

static wsxdp_event event_at(int64_t kernel_ns) {
    wsxdp_event event = {};
    event.kernel_last_ns = kernel_ns;
    event.poll_last_ns = kernel_ns + 10;
    event.parse_ns = kernel_ns + 30;
    return event;
}

static void stages_and_windows(void **) {
    LatencyTable table;
    table.record(event_at(1000), 1100);
    assert_int_equal(table.stage(stage_kernel_to_read).max(), 10);
    assert_int_equal(table.stage(stage_read_to_decrypted).count(), 0); // no TLS: left out, not 0
    assert_int_equal(table.stage(stage_to_parsed).max(), 20);
    assert_int_equal(table.stage(stage_parsed_to_delivered).max(), 70);
    assert_int_equal(table.stage(stage_kernel_to_delivered).max(), 100);
    assert_int_equal(table.recent(stage_kernel_to_delivered).count(), 1);
    table.turn_window();
    table.record(event_at(2000), 2200);
    assert_int_equal(table.recent(stage_kernel_to_delivered).max(), 100); // the whole window before
    table.turn_window();
    assert_int_equal(table.recent(stage_kernel_to_delivered).max(), 200);
    assert_int_equal(table.stage(stage_kernel_to_delivered).count(), 2);
}

static void numbers_as_people_read_them(void **) {
    assert_string_equal(grouped(0).c_str(), "0");
    assert_string_equal(grouped(999).c_str(), "999");
    assert_string_equal(grouped(1000).c_str(), "1,000");
    assert_string_equal(grouped(1234567).c_str(), "1,234,567");
    assert_string_equal(bytes_text(999).c_str(), "999 B");
    assert_string_equal(bytes_text(2410000).c_str(), "2.41 MB");
    assert_string_equal(duration_text(999).c_str(), "999 ns");
    assert_string_equal(duration_text(12345).c_str(), "12.3 us");
    assert_string_equal(duration_text(9996).c_str(), "10.0 us");
    assert_string_equal(duration_text(999999).c_str(), "1.00 ms");
    assert_string_equal(duration_text(999999999).c_str(), "1.00 s");
    assert_string_equal(duration_text(3600000000000).c_str(), "3600 s");
    assert_string_equal(clock_text(65000000000).c_str(), "1:05");
    assert_string_equal(clock_text(3665000000000).c_str(), "1:01:05");
    assert_string_equal(rate_text(0.25).c_str(), "0.25");
    assert_string_equal(rate_text(12345.6).c_str(), "12,346");
    assert_string_equal(printable("a\tb\x7f\x1b").c_str(), "a\\x09b\\x7f\\x1b");
    assert_string_equal(base64("").c_str(), "");
    assert_string_equal(base64("f").c_str(), "Zg==");
    assert_string_equal(base64("fo").c_str(), "Zm8=");
    assert_string_equal(base64("foobar").c_str(), "Zm9vYmFy");
}

static void durations_as_people_write_them(void **) {
    int64_t ns = 0;
    assert_true(parse_duration("10", &ns) && ns == 10000000000);
    assert_true(parse_duration("1.5s", &ns) && ns == 1500000000);
    assert_true(parse_duration("250ms", &ns) && ns == 250000000);
    assert_true(parse_duration("2m", &ns) && ns == 120000000000);
    assert_true(parse_duration("1h", &ns) && ns == 3600000000000);
    for (const char *bad : {"", "0", "-1", "s", "1 s", "1d", "nan", "inf", "1e300", "0x10", "5s5"})
        assert_false(parse_duration(bad, &ns));
}

static void nearest_word(void **) {
    std::vector<std::string> words = {"tls.ca_file", "inbox.bytes", "ping.interval_ns"};
    assert_string_equal(nearest("tls.cafile", words).c_str(), "tls.ca_file");
    assert_string_equal(nearest("ca_file", words).c_str(), "tls.ca_file");
    assert_string_equal(nearest("inbox.byte", words).c_str(), "inbox.bytes");
    assert_string_equal(nearest("ping.intervall_ns", words).c_str(), "ping.interval_ns");
    assert_string_equal(nearest("", words).c_str(), "");
    assert_string_equal(nearest("something else", words).c_str(), "");
}

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(percentiles_are_right),
        cmocka_unit_test(histogram_edges),
        cmocka_unit_test(stages_and_windows),
        cmocka_unit_test(numbers_as_people_read_them),
        cmocka_unit_test(durations_as_people_write_them),
        cmocka_unit_test(nearest_word),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
