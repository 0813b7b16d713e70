// SPDX-License-Identifier: MIT
// Congestion control as a user of it sees the window: how it opens and by what it is held, what each kind
// does after a loss and a timeout, what Proportional Rate Reduction lets out acknowledgement by
// acknowledgement, and the curve of CUBIC against a second implementation with libm's cube root. At last a
// million calls that make no sense.
#include "../../lib/tcp/congestion.h"
#include "../base/check.h"
#include <cmath>
#include <cstdlib>
#include <random>

using namespace wx;

namespace {

constexpr uint32_t mss = 1000;
constexpr Nanos start = 3600 * ns_per_s; // the machine runs for an hour already
constexpr Nanos rtt = 20 * ns_per_ms;

Congestion opened(CongestionKind kind, uint32_t segments = 10, uint32_t size = mss) {
    Congestion c;
    congestion_open(&c, kind, size, segments);
    return c;
}

// In congestion avoidance with a window of so many segments.
Congestion avoiding(CongestionKind kind, uint32_t segments) {
    Congestion c = opened(kind);
    c.window = c.threshold = segments * mss;
    return c;
}

// A round trip: everything in flight is acknowledged, segment by segment, in time.
void round_trip(Congestion *c, Nanos *now, Nanos time = rtt) {
    uint32_t count = c->window / mss;
    Nanos begin = *now;
    for (uint32_t i = 1; i <= count; i++) {
        *now = begin + time * i / count;
        congestion_on_ack(c, mss, true, time, *now);
    }
}

void lose(Congestion *c, Nanos now) {
    congestion_on_loss(c, c->window, now);
    congestion_on_recovery_end(c);
}

bool near(double a, double b, double tolerance) { return std::fabs(a - b) <= tolerance; }

uint64_t seed_of_run() {
    const char *text = getenv("WSXDP_SEED");
    return text ? strtoull(text, nullptr, 10) : 1;
}

void test_initial_window(void **) {
    const struct {
        uint32_t size, segments, window;
    } cases[] = {
        {1460, 10, 14600},  {1448, 10, 14480}, {536, 10, 5360},      {2000, 10, 14600}, {7300, 10, 14600},
        {8960, 10, 17920},  {1460, 3, 4380},   {1460, 1, 1460},      {8960, 1, 8960},   {1460, 0, 1460},
        {65535, 4, 131070}, {0, 10, 10},       {1u << 31, 1, 65535},
    };
    for (const auto &each : cases) { // RFC 6928: min(10 * MSS, max(2 * MSS, 14600))
        Congestion c = opened(CongestionKind::cubic, each.segments, each.size);
        assert_int_equal(c.window, each.window);
        assert_true(congestion_slow_start(&c));
        congestion_after_lost_syn(&c);
        assert_int_equal(c.window, c.mss);
    }
    assert_int_equal(opened(CongestionKind::newreno, UINT32_MAX, 65535).window, congestion_window_max);
}

void test_none(void **) {
    Congestion c = opened(CongestionKind::none);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(c.window, congestion_window_max);
        assert_false(congestion_slow_start(&c));
        congestion_on_loss(&c, 100000, start);
        congestion_on_recovery_ack(&c, 1000, 5000, true, false);
        congestion_on_recovery_end(&c);
        congestion_on_timeout(&c, 100000, true, start);
        congestion_after_lost_syn(&c);
        congestion_set_mss(&c, 500);
        congestion_on_idle(&c, never, 1);
        congestion_on_ack(&c, 1000, true, rtt, start);
        congestion_undo(&c);
    }
}

void test_slow_start(void **) {
    for (CongestionKind kind : {CongestionKind::newreno, CongestionKind::cubic}) {
        Congestion c = opened(kind);
        Nanos now = start;
        for (uint32_t wanted = 20; wanted <= 1280; wanted *= 2) { // doubles
            round_trip(&c, &now);
            assert_int_equal(c.window, wanted * mss);
        }
        c.threshold = 1283 * mss; // and stops where it should
        for (int i = 0; i < 3; i++) congestion_on_ack(&c, mss, true, rtt, now);
        assert_int_equal(c.window, 1283 * mss);
        assert_false(congestion_slow_start(&c));
    }
}

void test_slow_start_counts_bytes(void **) {
    Congestion c = opened(CongestionKind::cubic);
    congestion_on_ack(&c, 300, true, rtt, start); // a part of a segment
    assert_int_equal(c.window, 10300);
    congestion_on_ack(&c, 2 * mss, true, rtt, start); // a delayed acknowledgement loses nothing
    assert_int_equal(c.window, 12300);
    congestion_on_ack(&c, 8 * mss, true, rtt, start);
    assert_int_equal(c.window, 20300);
    congestion_on_ack(&c, 20 * mss, true, rtt, start); // no burst, however much it covers
    assert_int_equal(c.window, 28300);
    congestion_on_ack(&c, UINT32_MAX, true, rtt, start);
    assert_int_equal(c.window, 36300);
    congestion_on_ack(&c, 0, true, rtt, start);
    assert_int_equal(c.window, 36300);
    congestion_on_timeout(&c, c.window, true, start);
    congestion_on_ack(&c, 8 * mss, true, rtt, start); // may have left the network long ago
    assert_int_equal(c.window, 2 * mss);
}

void test_only_what_is_used_grows(void **) {
    for (CongestionKind kind : {CongestionKind::newreno, CongestionKind::cubic}) {
        Congestion slow = opened(kind), steady = avoiding(kind, 20);
        for (int i = 0; i < 10000; i++) {
            congestion_on_ack(&slow, mss, false, rtt, start + i * rtt);
            congestion_on_ack(&steady, mss, false, rtt, start + i * rtt);
        }
        assert_int_equal(slow.window, 10 * mss);
        assert_int_equal(steady.window, 20 * mss);
    }
}

void test_reno_avoidance(void **) {
    Congestion c = avoiding(CongestionKind::newreno, 10);
    Nanos now = start;
    for (uint32_t wanted = 11; wanted < 50; wanted++) {
        round_trip(&c, &now);
        assert_int_equal(c.window, wanted * mss);
    }
    uint32_t before = c.window;
    congestion_on_ack(&c, before - 1, true, rtt, now); // bytes are counted, not acknowledgements
    assert_int_equal(c.window, before);
    congestion_on_ack(&c, 301, true, rtt, now);
    assert_int_equal(c.window, before + mss);
    congestion_on_ack(&c, c.window - 301, true, rtt, now); // 300 were left over
    assert_int_equal(c.window, before + mss);
    congestion_on_ack(&c, 1, true, rtt, now);
    assert_int_equal(c.window, before + 2 * mss);
    congestion_on_ack(&c, UINT32_MAX, true, rtt, now); // one segment at most
    assert_int_equal(c.window, before + 3 * mss);
}

void test_loss(void **) {
    Congestion c = avoiding(CongestionKind::newreno, 40);
    congestion_on_loss(&c, 30 * mss, start); // RFC 5681 equation 4: of what was in flight
    assert_int_equal(c.threshold, 15 * mss);
    assert_int_equal(c.window, mss); // closed until an acknowledgement, but for the forced retransmission
    congestion_on_ack(&c, 9 * mss, true, rtt, start); // growth has no say in recovery
    assert_int_equal(c.window, mss);
    congestion_on_recovery_end(&c);
    assert_int_equal(c.window, 15 * mss);
    congestion_on_loss(&c, UINT32_MAX, start); // never up
    assert_int_equal(c.threshold, 7500);
    congestion_on_recovery_end(&c);

    c = avoiding(CongestionKind::cubic, 40);
    congestion_on_loss(&c, 30 * mss, start); // RFC 9438 section 4.6
    assert_int_equal(c.threshold, 28 * mss);
    congestion_on_recovery_end(&c);
    assert_int_equal(c.window, 28 * mss);
    congestion_on_recovery_end(&c); // only once
    assert_int_equal(c.window, 28 * mss);

    for (CongestionKind kind : {CongestionKind::newreno, CongestionKind::cubic}) {
        c = avoiding(kind, 10);
        for (int i = 0; i < 20; i++) lose(&c, start);
        assert_int_equal(c.window, 2 * mss);
        c = avoiding(kind, 40);
        congestion_on_loss(&c, 40 * mss, start);
        uint32_t once = c.threshold;
        congestion_on_recovery_ack(&c, mss, 3 * mss, true, false);
        congestion_on_loss(&c, 40 * mss,
                           start); // again within recovery: from the threshold, not from PRR's window
        assert_true(c.threshold >= once / 2 && c.threshold < once);
    }
}

// ---- PRR ----------------------------------------------------------------------------------------

// Twenty segments in flight, `lost` of them from the first on do not arrive; what acknowledgements let out.
// Two segments have left by limited transmit before the third duplicate shows the loss.
struct Recovery20 {
    Congestion c = avoiding(CongestionKind::newreno, 20);
    uint32_t pipe;

    explicit Recovery20(uint32_t lost) : pipe(22 - 2 - lost) { congestion_on_loss(&c, 20 * mss, start); }
    char ack(bool advanced = false, bool lost_more = false) { // how many leave
        pipe--;
        congestion_on_recovery_ack(&c, mss, pipe * mss, lost_more, advanced);
        uint32_t count = 0;
        while ((pipe + 1) * mss <= c.window) {
            pipe++;
            count++;
            congestion_on_sent(&c, mss);
        }
        return static_cast<char>('0' + count);
    }
    std::string acks(int count, bool advanced = false, bool lost_more = false) {
        std::string sent;
        while (count-- > 0) sent += ack(advanced, lost_more);
        return sent;
    }
};

// The walk-through of RFC 9937 section 8 (and RFC 6937 section 4): every second acknowledgement lets one out,
// from the first on, until what is in flight has come down to the threshold.
void test_prr_one_loss(void **) {
    Recovery20 r(1);
    assert_int_equal(r.c.threshold, 10 * mss);
    assert_int_equal(r.ack(false, true), '1'); // the retransmission
    assert_string_equal(r.acks(15).c_str(), "010101010101010");
    assert_int_equal(r.pipe, 11);
    assert_string_equal(r.acks(3).c_str(), "011"); // from here on one for one
    assert_int_equal(r.pipe, 10);
    assert_int_equal(r.ack(true), '1');
    congestion_on_recovery_end(&r.c);
    assert_int_equal(r.c.window, 10 * mss);
    assert_int_equal(r.pipe, 10);
}

// Fifteen of twenty lost: far below the threshold. While nothing shows that the repair works, one for one;
// then slow start up to the threshold and no further.
void test_prr_heavy_loss(void **) {
    Recovery20 r(15);
    assert_string_equal(r.acks(3, false, true).c_str(), "111");
    assert_int_equal(r.pipe, 5);
    assert_string_equal(r.acks(2).c_str(), "11");
    assert_string_equal(r.acks(2, true, true).c_str(), "11"); // forward, but more is lost: still conservative
    assert_int_equal(r.pipe, 5);
    assert_string_equal(r.acks(5, true).c_str(), "22222");
    assert_int_equal(r.pipe, 10);
    assert_string_equal(r.acks(4, true).c_str(), "1111");
    assert_int_equal(r.pipe, 10);
}

void test_prr_details(void **) {
    Recovery20 r(1);
    uint32_t before = r.c.window;
    congestion_on_recovery_ack(&r.c, 0, 3 * mss, false, true); // nothing delivered: nothing said
    assert_int_equal(r.c.window, before);
    // At the threshold exactly and nothing sent so far: the retransmission goes all the same.
    congestion_on_recovery_ack(&r.c, mss, 10 * mss, false, false);
    assert_int_equal(r.c.window, 11 * mss);
    congestion_on_sent(&r.c, mss);
    congestion_on_recovery_ack(&r.c, mss, 10 * mss, false, true);
    assert_int_equal(r.c.window, 10 * mss);
    // What the application did not use is caught up with, as far as was delivered.
    congestion_on_recovery_ack(&r.c, 4 * mss, 2 * mss, true, false);
    assert_int_equal(r.c.window, 7 * mss); // 6 delivered, 1 sent
    congestion_on_recovery_end(&r.c);
    congestion_on_sent(&r.c, mss);
    assert_int_equal(r.c.sent, mss); // not counted outside

    // Over a whole recovery, CUBIC's share leaves: 70 of 100.
    Congestion c = avoiding(CongestionKind::cubic, 100);
    congestion_on_loss(&c, 100 * mss, start);
    uint32_t pipe = 99, sent = 0;
    for (int i = 0; i < 99; i++) {
        pipe--;
        congestion_on_recovery_ack(&c, mss, pipe * mss, false, false);
        for (; (pipe + 1) * mss <= c.window; pipe++, sent++) congestion_on_sent(&c, mss);
    }
    assert_in_range(sent, 69, 71);
    assert_in_range(pipe, 69, 70);
}

// ---- CUBIC --------------------------------------------------------------------------------------

// RFC 9438 read a second time: segments, seconds, libm.
struct Reference {
    double window, w_max = 0, prior = 0, est = 0, k = 0, begin = -1;

    void ack(double acked, double time, double round) {
        if (begin < 0) {
            begin = time;
            est = window;
            k = w_max > window ? std::cbrt((w_max - window) / 0.4) : 0;
            if (w_max <= window) w_max = window;
        }
        est += (est < prior ? 3 * 0.3 / 1.7 : 1) * acked / window;
        double t = time - begin;
        if (0.4 * std::pow(t - k, 3) + w_max < est) {
            window = std::fmax(window, est);
        } else {
            double target = 0.4 * std::pow(t + round - k, 3) + w_max;
            window += (std::fmin(std::fmax(target, window), 1.5 * window) - window) / window * acked;
        }
        window = std::fmin(window, static_cast<double>(congestion_window_max) / mss);
    }
    void lose() {
        w_max = window < w_max ? window * 1.7 / 2 : window;
        prior = window;
        window *= 0.7;
        begin = -1;
    }
};

void test_cubic_reference(void **) {
    uint64_t seed = seed_of_run();
    std::mt19937_64 random(seed);
    Congestion c = avoiding(CongestionKind::cubic, 100);
    Reference reference{100};
    Nanos now = start, end = start + 3600 * ns_per_s, next_loss = now, round = 0;
    int losses = 0;
    while (now < end) {
        // Not at the plateau: there rounding decides whether it is fast convergence.
        if (now >= next_loss && !near(reference.window, reference.w_max, 1)) {
            lose(&c, now);
            reference.lose();
            losses++;
            next_loss = now + static_cast<Nanos>(1 + random() % 60) * ns_per_s;
            round = static_cast<Nanos>(1 + random() % 100) * ns_per_ms;
        }
        now += round / 8; // eight acknowledgements per round trip
        uint32_t acked = c.window / 8;
        congestion_on_ack(&c, acked, true, round, now);
        reference.ack(static_cast<double>(acked) / mss, static_cast<double>(now - start) / 1e9, round / 1e9);
        if (!near(c.window, reference.window * mss, 2 * mss + reference.window * mss / 1000))
            fail_msg("seed %lu, after %.3f s and %d losses: %u, wanted %.0f",
                     static_cast<unsigned long>(seed), static_cast<double>(now - start) / 1e9, losses,
                     c.window, reference.window * mss);
    }
    assert_true(losses > 50);
}

// The closed form: through the concave part, over the plateau at K, and beyond.
void test_cubic_curve(void **) {
    Congestion c = avoiding(CongestionKind::cubic, 1000);
    lose(&c, start);
    assert_int_equal(c.threshold, 700 * mss);
    constexpr Nanos round = 100 * ns_per_ms;
    double k = std::cbrt(300 / 0.4);
    Nanos now = start;
    congestion_on_ack(&c, mss, true, round, now); // the epoch begins
    assert_true(near(c.cubic.k, k, 1e-9));
    for (int second = 1; second <= 40; second++) {
        for (int i = 0; i < 200; i++) congestion_on_ack(&c, c.window / 20, true, round, now += 5 * ns_per_ms);
        double wanted = (0.4 * std::pow(second - k, 3) + 1000) * mss;
        if (!near(c.window, wanted, wanted * 0.02))
            fail_msg("%d s: %u, wanted %.0f", second, c.window, wanted);
    }
    for (int i = 0; i < 72000; i++) congestion_on_ack(&c, c.window / 2, true, round, now += 50 * ns_per_ms);
    assert_int_equal(c.window, congestion_window_max); // an hour: at the maximum and no further
}

// Growth of less than a byte per acknowledgement adds up.
void test_cubic_small_acks(void **) {
    Congestion c = avoiding(CongestionKind::cubic, 1000);
    lose(&c, start);
    constexpr int count = 70000; // of 100 bytes, in ten round trips
    for (int i = 0; i < count; i++) congestion_on_ack(&c, 100, true, rtt, start + 10 * rtt * i / count);
    double wanted = 0.4 * std::pow(0.2 - std::cbrt(300 / 0.4), 3) + 1000;
    assert_true(near(c.window, wanted * mss, 3 * mss));
    assert_true(c.window > 715 * mss);
}

// A curve that has run away, after a pause of the acknowledgements, raises the window by half per round trip.
void test_cubic_step(void **) {
    Congestion c = avoiding(CongestionKind::cubic, 100);
    lose(&c, start);
    congestion_on_ack(&c, mss, true, rtt, start);
    uint32_t before = c.window;
    congestion_on_ack(&c, before, true, rtt, start + 1000 * ns_per_s);
    assert_true(near(c.window, 1.5 * before, 2));
    before = c.window;
    congestion_on_ack(&c, UINT32_MAX, true, rtt, start + 1001 * ns_per_s);
    assert_true(near(c.window, 1.5 * before, 2));
}

// Short round trips and small windows: where 1 % of random loss leads. Never slower than Reno with alpha, and
// like Reno itself above the old window.
void test_reno_friendly(void **) {
    Congestion c = avoiding(CongestionKind::cubic, 20);
    Nanos now = start;
    lose(&c, now);
    assert_int_equal(c.window, 14 * mss);
    double wanted = 14;
    while (wanted < 20) {
        round_trip(&c, &now);
        wanted += 3 * 0.3 / 1.7 * 0.97; // the last, fractional segment of the window is not acknowledged
        assert_true(near(c.window, wanted * mss, 0.35 * mss));
    }
    for (int i = 0; i < 5; i++) {
        uint32_t before = c.window;
        round_trip(&c, &now);
        assert_in_range(c.window - before, mss * 9 / 10, mss);
    }
}

void test_fast_convergence(void **) {
    Congestion c = avoiding(CongestionKind::cubic, 100);
    lose(&c, start);
    assert_true(near(c.cubic.w_max, 100, 1e-9));
    c.window = 80 * mss;
    lose(&c, start);
    assert_true(near(c.cubic.w_max, 68, 1e-9)); // somebody new: room for them
    assert_true(near(c.cubic.w_prior, 80, 1e-9));
    c.window = 120 * mss;
    lose(&c, start);
    assert_true(near(c.cubic.w_max, 120, 1e-9));
    assert_int_equal(c.window, 84 * mss);
}

// ---- Timeouts, undoing, idleness ----------------------------------------------------------------

void test_timeout(void **) {
    for (CongestionKind kind : {CongestionKind::newreno, CongestionKind::cubic}) {
        Congestion c = avoiding(kind, 40);
        uint32_t threshold = kind == CongestionKind::cubic ? 28 * mss : 20 * mss;
        congestion_on_timeout(&c, 40 * mss, true, start);
        assert_int_equal(c.window, mss);
        assert_int_equal(c.threshold, threshold);
        for (int again = 0; again < 5; again++) {
            congestion_on_timeout(&c, mss, false, start + again);
            assert_int_equal(c.window, mss);
            assert_int_equal(c.threshold, threshold); // RFC 5681: held
        }
        Nanos now = start;
        for (int i = 0; i < 4; i++) round_trip(&c, &now);
        assert_int_equal(c.window, 16 * mss); // slow start
        round_trip(&c, &now);
        assert_true(c.window >= threshold && c.window <= threshold + mss);
        round_trip(&c, &now);
        assert_true(c.window > threshold && c.window <= threshold + 2 * mss); // avoidance
        assert_false(c.after_timeout);
        // RFC 9438 section 4.8: the curve begins at its plateau, not with the way to the old maximum.
        if (kind == CongestionKind::cubic) assert_true(c.cubic.k == 0 && c.cubic.w_max < 29);

        c = avoiding(kind, 2);
        congestion_on_timeout(&c, 2 * mss, true, start);
        assert_int_equal(c.threshold, 2 * mss);

        c = avoiding(kind, 40); // within recovery: twice
        congestion_on_loss(&c, 40 * mss, start);
        congestion_on_recovery_ack(&c, mss, 2 * mss, true, false);
        uint32_t once = c.threshold;
        congestion_on_timeout(&c, 40 * mss, true, start);
        assert_true(c.threshold >= once / 2 && c.threshold < once);
        assert_false(c.reducing);
    }
}

void test_undo(void **) {
    for (CongestionKind kind : {CongestionKind::newreno, CongestionKind::cubic}) {
        for (bool by_timer : {false, true}) {
            Congestion c = avoiding(kind, 200);
            Nanos now = start;
            lose(&c, now);
            for (int i = 0; i < 20; i++) round_trip(&c, &now);
            Congestion twin = c; // to which nothing happens
            if (by_timer) {
                congestion_on_timeout(&c, c.window, true, now);
                congestion_on_timeout(&c, mss, false, now + 3 * ns_per_s);
            } else {
                congestion_on_loss(&c, c.window, now);
                congestion_on_recovery_ack(&c, mss, 4 * mss, true, false);
            }
            congestion_undo(&c);
            assert_int_equal(c.window, twin.window);
            assert_int_equal(c.threshold, twin.threshold);
            assert_false(c.reducing);
            assert_true(c.cubic.w_max == twin.cubic.w_max && c.cubic.k == twin.cubic.k);
            Nanos later = now + 5 * ns_per_s;
            for (int i = 0; i < 50; i++) {
                round_trip(&c, &later);
                round_trip(&twin, &now);
                assert_true(near(c.window, twin.window, 1.0 * mss));
            }
            uint32_t before = c.window;
            c.window = 50 * mss;
            congestion_undo(&c); // once
            assert_int_equal(c.window, 50 * mss);
            assert_true(before > 50 * mss);
        }
    }
    // The proof may come when recovery is over and the window has grown again.
    Congestion late = avoiding(CongestionKind::cubic, 200);
    Nanos now = start;
    lose(&late, now);
    for (int i = 0; i < 20; i++) round_trip(&late, &now);
    Nanos age = now - late.cubic.epoch;
    uint32_t window = late.window;
    lose(&late, now);
    for (int i = 0; i < 10; i++) round_trip(&late, &now);
    congestion_undo(&late);
    assert_int_equal(late.window, window);
    assert_true(now - late.cubic.epoch == age);

    Congestion c = avoiding(CongestionKind::newreno, 40); // only the last one is taken back
    congestion_on_loss(&c, 40 * mss, start);
    congestion_on_timeout(&c, 40 * mss, true, start);
    congestion_undo(&c);
    assert_int_equal(c.window, 20 * mss);
    assert_int_equal(c.threshold, 20 * mss);
}

void test_idle(void **) {
    for (CongestionKind kind : {CongestionKind::newreno, CongestionKind::cubic}) {
        Congestion c = avoiding(kind, 100);
        congestion_on_idle(&c, 200 * ns_per_ms, 200 * ns_per_ms); // must exceed it
        assert_int_equal(c.window, 100 * mss);
        congestion_on_idle(&c, 201 * ns_per_ms, 200 * ns_per_ms);
        assert_int_equal(c.window, 10 * mss);
        assert_true(congestion_slow_start(&c)); // and back soon
        assert_int_equal(c.threshold, 100 * mss);
        c.threshold = 5 * mss;
        c.window = 80 * mss;
        congestion_on_idle(&c, ns_per_s, 200 * ns_per_ms);
        assert_int_equal(c.threshold, 60 * mss);
        c.window = 8 * mss; // RW = min(IW, cwnd)
        congestion_on_idle(&c, ns_per_s, 200 * ns_per_ms);
        assert_int_equal(c.window, 8 * mss);
        assert_int_equal(c.threshold, 60 * mss);
    }
}

// RFC 9438 section 4.2: time in which the application did not fill the window is no time of the curve.
void test_cubic_time_stands_still(void **) {
    for (bool idle : {false, true}) {
        Congestion c = avoiding(CongestionKind::cubic, 300);
        Nanos now = start;
        lose(&c, now);
        for (int i = 0; i < 20; i++) round_trip(&c, &now);
        Congestion twin = c;
        Nanos later = now;
        if (idle) {
            congestion_on_idle(&c, 30 * ns_per_s, 60 * ns_per_s);
            later += 30 * ns_per_s;
        } else {
            for (int i = 0; i < 1500; i++) congestion_on_ack(&c, mss, false, rtt, later += rtt);
        }
        for (int i = 0; i < 300; i++) {
            round_trip(&c, &later);
            round_trip(&twin, &now);
            assert_true(near(c.window, twin.window, 1.0 * mss));
        }
        assert_true(twin.window > 250 * mss);
    }
}

void test_mss(void **) {
    for (CongestionKind kind : {CongestionKind::newreno, CongestionKind::cubic}) {
        Congestion c = avoiding(kind, 40);
        c.threshold = 30 * mss;
        congestion_set_mss(&c, 500); // fewer bytes in as many segments
        assert_int_equal(c.window, 20 * mss);
        assert_int_equal(c.threshold, 15 * mss);
        congestion_set_mss(&c, 2000); // as many bytes in fewer
        assert_int_equal(c.window, 20 * mss);
        assert_int_equal(c.threshold, 15 * mss);
        congestion_set_mss(&c, 60000); // but one whole one
        assert_int_equal(c.window, 60000);
        Congestion fresh = opened(kind);
        congestion_set_mss(&fresh, 500);
        assert_int_equal(fresh.window, 5000);
        assert_int_equal(fresh.threshold, congestion_window_max);
    }
    Congestion c = avoiding(CongestionKind::cubic, 100); // the curve keeps its bytes as well
    lose(&c, start);
    congestion_set_mss(&c, 2 * mss);
    assert_true(near(c.cubic.w_max, 50, 1e-9));
}

// ---- Nonsense -----------------------------------------------------------------------------------

struct Nonsense {
    std::mt19937_64 random;
    explicit Nonsense(uint64_t seed) : random(seed) {}

    uint32_t size() {
        const uint32_t of[] = {0, 1, 2, 536, 1460, 65535, 1u << 30, UINT32_MAX};
        uint64_t kind = random() % 3;
        return kind == 0 ? of[random() % 8] : static_cast<uint32_t>(kind == 1 ? random() : random() % 100000);
    }
    Nanos time() {
        const Nanos of[] = {0, 1, -1, ns_per_s, never, never - 1, INT64_MIN, 86400 * 365 * ns_per_s};
        uint64_t kind = random() % 8;
        if (kind == 0) return of[random() % 8];
        return static_cast<Nanos>(kind == 1 ? random() : random() % (100 * ns_per_s));
    }
    void call(Congestion *c) {
        switch (random() % 16) {
        case 0:
            congestion_on_loss(c, size(), time());
            break;
        case 1:
            congestion_on_timeout(c, size(), random() % 2, time());
            break;
        case 2:
            congestion_undo(c);
            break;
        case 3:
            congestion_on_idle(c, time(), time());
            break;
        case 4:
            congestion_set_mss(c, size());
            break;
        case 5:
            congestion_on_recovery_end(c);
            break;
        case 6:
            congestion_on_sent(c, size());
            break;
        case 7:
        case 8:
        case 9:
            congestion_on_recovery_ack(c, size(), size(), random() % 2, random() % 2);
            break;
        case 10:
            if (random() % 10 == 0) congestion_after_lost_syn(c);
            break;
        default:
            congestion_on_ack(c, size(), random() % 4 != 0, time(), time());
            break;
        }
    }
};

void test_nonsense(void **) {
    uint64_t seed = seed_of_run();
    Nonsense nonsense(seed);
    const CongestionKind kinds[] = {CongestionKind::newreno, CongestionKind::cubic, CongestionKind::none};
    Congestion c = {}; // not even opened
    for (int i = 0; i < 1000000; i++) {
        if (i % 500 == 499)
            congestion_open(&c, kinds[nonsense.random() % 3], nonsense.size(), nonsense.size());
        nonsense.call(&c);
        if (c.mss < 1 || c.mss > congestion_mss_max || c.window < c.mss || c.window > congestion_window_max ||
            c.threshold > congestion_window_max || (c.reducing && c.threshold < 2 * c.mss) ||
            !std::isfinite(c.cubic.w_max) || !std::isfinite(c.cubic.k) || !std::isfinite(c.cubic.w_est) ||
            !(c.credit >= 0 && c.credit < 1))
            fail_msg("seed %lu, call %d: window %u, threshold %u, mss %u, credit %f",
                     static_cast<unsigned long>(seed), i, c.window, c.threshold, c.mss, c.credit);
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_initial_window),
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_slow_start),
        cmocka_unit_test(test_slow_start_counts_bytes),
        cmocka_unit_test(test_only_what_is_used_grows),
        cmocka_unit_test(test_reno_avoidance),
        cmocka_unit_test(test_loss),
        cmocka_unit_test(test_prr_one_loss),
        cmocka_unit_test(test_prr_heavy_loss),
        cmocka_unit_test(test_prr_details),
        cmocka_unit_test(test_cubic_reference),
        cmocka_unit_test(test_cubic_curve),
        cmocka_unit_test(test_cubic_small_acks),
        cmocka_unit_test(test_cubic_step),
        cmocka_unit_test(test_reno_friendly),
        cmocka_unit_test(test_fast_convergence),
        cmocka_unit_test(test_timeout),
        cmocka_unit_test(test_undo),
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_cubic_time_stands_still),
        cmocka_unit_test(test_mss),
        cmocka_unit_test(test_nonsense),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
