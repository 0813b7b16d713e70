// SPDX-License-Identifier: MIT
// The path MTU: RFC 1191's plateaus, floors against forged reports, reports that say nothing new or
// contradict themselves, black holes, and the rise after ten minutes.
#include "../../lib/tcp/path_mtu.h"
#include "../base/check.h"
#include <cstdlib>
#include <random>

using namespace wx;

namespace {

constexpr Nanos start = 5 * ns_per_s;

PathMtu opened(uint32_t link, bool version6 = false) {
    PathMtu p;
    path_mtu_open(&p, link, version6);
    return p;
}

void test_open(void **) {
    assert_int_equal(opened(1500).mtu, 1500);
    assert_int_equal(opened(9000, true).mtu, 9000);
    assert_int_equal(opened(0).mtu, path_mtu_least4);
    assert_int_equal(opened(0, true).mtu, path_mtu_floor6); // RFC 8200: no IPv6 over less
    assert_int_equal(opened(UINT32_MAX).mtu, path_mtu_most);
    assert_true(opened(1500).raise_at == never);
}

void test_reported(void **) {
    PathMtu p = opened(1500);
    assert_true(path_mtu_on_too_big(&p, 1400, 1500, start));
    assert_int_equal(p.mtu, 1400);
    assert_true(p.raise_at == start + path_mtu_raise_after);
    // The rest of the same flight: nothing new, but fresh evidence.
    assert_false(path_mtu_on_too_big(&p, 1400, 1500, start + 7));
    assert_int_equal(p.mtu, 1400);
    assert_true(p.raise_at == start + 7 + path_mtu_raise_after);
    assert_true(path_mtu_on_too_big(&p, 1280, 1400, start));
    assert_int_equal(p.mtu, 1280);
}

void test_plateaus(void **) {
    const uint32_t falls[] = {32000, 17914, 8166, 4352, 2002, 1492, 1006, 552};
    PathMtu p = opened(65535);
    for (uint32_t wanted : falls) {
        assert_true(path_mtu_on_too_big(&p, 0, p.mtu, start));
        assert_int_equal(p.mtu, wanted);
    }
    assert_false(path_mtu_on_too_big(&p, 0, p.mtu, start));
    p = opened(1500);
    assert_true(path_mtu_on_too_big(&p, 0, 1520, start)); // the router added the header's length
    assert_int_equal(p.mtu, 1492);
    assert_true(path_mtu_on_too_big(&p, 0, 1512, start)); // and now that is more than we send
    assert_int_equal(p.mtu, 1006);
    p = opened(1500);
    assert_true(path_mtu_on_too_big(&p, 0, 0, start)); // not known: the present one
    assert_int_equal(p.mtu, 1492);
    p = opened(1500);
    assert_true(path_mtu_on_too_big(&p, 0, 1006, start)); // strictly below the quoted size
    assert_int_equal(p.mtu, path_mtu_floor4);
}

void test_forged_small(void **) {
    for (uint32_t reported : {1u, 20u, 67u, 68u, 296u, 551u}) {
        PathMtu p = opened(1500);
        assert_true(path_mtu_on_too_big(&p, reported, 1500, start));
        assert_int_equal(p.mtu, path_mtu_floor4);
        assert_false(path_mtu_on_too_big(&p, reported, 552, start));
        assert_int_equal(p.mtu, path_mtu_floor4);
    }
    PathMtu narrow = opened(296); // a serial line: its own floor
    assert_false(path_mtu_on_too_big(&narrow, 100, 296, start));
    assert_int_equal(narrow.mtu, 296);
    assert_true(narrow.raise_at == never);
}

void test_version6(void **) {
    PathMtu p = opened(1500, true);
    for (uint32_t reported : {0u, 1u, 68u, 552u, 1279u}) // RFC 8201 section 4: discarded, not raised to 1280
        assert_false(path_mtu_on_too_big(&p, reported, 1500, start));
    assert_int_equal(p.mtu, 1500);
    assert_true(p.raise_at == never);
    assert_true(path_mtu_on_too_big(&p, 1280, 1500, start));
    assert_int_equal(p.mtu, 1280);
}

void test_nothing_new(void **) {
    PathMtu p = opened(1500);
    assert_false(path_mtu_on_too_big(&p, 1500, 1500, start)); // it fitted: no reason to believe it
    assert_false(path_mtu_on_too_big(&p, 1501, 1500, start));
    assert_false(path_mtu_on_too_big(&p, UINT32_MAX, 0, start));
    assert_false(path_mtu_on_too_big(&p, 1000, 600, start));
    assert_false(path_mtu_on_too_big(&p, 1000, 1000, start));
    assert_int_equal(p.mtu, 1500);
    assert_true(p.raise_at == never);
    assert_true(path_mtu_on_too_big(&p, 1000, 1500, start));
    assert_false(path_mtu_on_too_big(&p, 1400, 1500, start + 1)); // never a rise
    assert_int_equal(p.mtu, 1000);
    assert_true(p.raise_at == start + path_mtu_raise_after);
}

void test_black_hole(void **) {
    PathMtu p = opened(1500);
    assert_false(path_mtu_on_timeout(&p, true, start));
    assert_int_equal(p.mtu, 1500);
    assert_true(path_mtu_on_timeout(&p, true, start));
    assert_int_equal(p.mtu, path_mtu_black_hole4);
    assert_true(p.raise_at == start + path_mtu_raise_after);
    assert_false(path_mtu_on_timeout(&p, true, start)); // the new size has its own two tries
    assert_true(path_mtu_on_timeout(&p, true, start));
    assert_int_equal(p.mtu, path_mtu_floor4);
    for (int i = 0; i < 600; i++) assert_false(path_mtu_on_timeout(&p, true, start));
    assert_int_equal(p.mtu, path_mtu_floor4);

    PathMtu six = opened(1500, true);
    assert_false(path_mtu_on_timeout(&six, true, start));
    assert_true(path_mtu_on_timeout(&six, true, start));
    assert_int_equal(six.mtu, path_mtu_floor6);

    PathMtu near = opened(1000); // below the first guess: the floor at once
    path_mtu_on_timeout(&near, true, start);
    assert_true(path_mtu_on_timeout(&near, true, start));
    assert_int_equal(near.mtu, path_mtu_floor4);
}

void test_no_black_hole(void **) {
    PathMtu p = opened(1500);
    for (int i = 0; i < 20; i++) { // progress between
        assert_false(path_mtu_on_timeout(&p, true, start));
        path_mtu_on_progress(&p);
    }
    for (int i = 0; i < 20; i++) { // small segments are lost as well
        assert_false(path_mtu_on_timeout(&p, true, start));
        assert_false(path_mtu_on_timeout(&p, false, start));
    }
    assert_false(path_mtu_on_timeout(&p, true, start));
    assert_true(path_mtu_on_too_big(&p, 1400, 1500, start)); // a router explains it: counting starts anew
    assert_false(path_mtu_on_timeout(&p, true, start));
    assert_int_equal(p.mtu, 1400);
}

void test_raise(void **) {
    PathMtu p = opened(1500);
    assert_false(path_mtu_on_time(&p, never - 1)); // nothing to raise
    path_mtu_on_too_big(&p, 1400, 1500, start);
    assert_false(path_mtu_on_time(&p, start + 600 * ns_per_s - 1));
    assert_int_equal(p.mtu, 1400);
    assert_true(path_mtu_on_time(&p, start + 600 * ns_per_s));
    assert_int_equal(p.mtu, 1500);
    assert_true(p.raise_at == never);
    assert_false(path_mtu_on_time(&p, start + 1200 * ns_per_s));
    assert_true(path_mtu_on_too_big(&p, 1400, 1500, start + 1200 * ns_per_s)); // it was not better
    assert_true(p.raise_at == start + 1800 * ns_per_s);
    assert_true(path_mtu_on_too_big(&p, 1300, 1400, never - 5)); // at the end of time: no overflow
    assert_true(p.raise_at == never);
}

void test_random(void **) {
    const char *text = getenv("WSXDP_SEED");
    uint64_t seed = text ? strtoull(text, nullptr, 10) : 1;
    std::mt19937_64 random(seed);
    auto size = [&] {
        const uint32_t of[] = {0, 68, 552, 1280, 1500, 9000, 65535, UINT32_MAX};
        return random() % 2 ? of[random() % 8] : static_cast<uint32_t>(random() % 70000);
    };
    for (int round = 0; round < 20000; round++) {
        PathMtu p = opened(size(), random() % 2);
        uint32_t floor = p.version6 ? path_mtu_floor6 : path_mtu_floor4;
        if (floor > p.link) floor = p.link;
        Nanos now = static_cast<Nanos>(random() % 1000) * ns_per_s;
        for (int step = 0; step < 20; step++) {
            uint32_t before = p.mtu;
            bool fell = false, rose = false;
            switch (random() % 4) {
            case 0:
                fell = path_mtu_on_too_big(&p, size(), size(), now);
                break;
            case 1:
                fell = path_mtu_on_timeout(&p, random() % 4 != 0, now);
                break;
            case 2:
                path_mtu_on_progress(&p);
                break;
            default:
                rose = path_mtu_on_time(&p, now += static_cast<Nanos>(random() % 700) * ns_per_s);
                break;
            }
            if (fell != (p.mtu < before) || rose != (p.mtu > before) || p.mtu < floor || p.mtu > p.link ||
                (p.mtu < p.link) != (p.raise_at != never))
                fail_msg("seed %lu round %d step %d: %u after %u, link %u", static_cast<unsigned long>(seed),
                         round, step, p.mtu, before, p.link);
        }
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_open),       cmocka_unit_test(test_reported),
        cmocka_unit_test(test_plateaus),   cmocka_unit_test(test_forged_small),
        cmocka_unit_test(test_version6),   cmocka_unit_test(test_nothing_new),
        cmocka_unit_test(test_black_hole), cmocka_unit_test(test_no_black_hole),
        cmocka_unit_test(test_raise),      cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
