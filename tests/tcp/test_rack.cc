// SPDX-License-Identifier: MIT
// RFC 8985, each step of its sections 6 and 7 by name, over a real scoreboard.
#include "../../lib/tcp/rack.h"
#include "../base/check.h"
#include <cstdlib>
#include <random>
#include <vector>

using namespace wx;

namespace {

constexpr Nanos ms = ns_per_ms;
constexpr uint32_t base = UINT32_MAX - 24; // the third segment crosses 2^32

// Segments of ten bytes, sent when the test says.
struct Path {
    std::vector<SentSegment> memory = std::vector<SentSegment>(16);
    Scoreboard board;
    Rack rack;
    Nanos min_rtt = 40 * ms;
    uint32_t next = base;

    Path() {
        scoreboard_open(&board, memory.data(), 16);
        rack_open(&rack);
    }
    void send(Nanos now) {
        scoreboard_add(&board, next, next + 10, 0, now, static_cast<uint32_t>(now / ms));
        next += 10;
    }
    SentSegment *at(uint32_t index) { return scoreboard_at(&board, index); }
    void resend(uint32_t index, Nanos now) {
        scoreboard_sent_again(&board, at(index), now, static_cast<uint32_t>(now / ms));
    }
    // Offsets from `base`; a block of nothing is none.
    AckReport on_ack(uint32_t una, SackBlock block, Nanos now, bool echo_valid = false, uint32_t echo = 0) {
        AckReport report;
        scoreboard_ack(&board, base + una, now, &report);
        if (block.begin != block.end)
            scoreboard_sack(&board, {base + block.begin, base + block.end}, now, &report);
        rack_on_ack(&rack, report, min_rtt, echo_valid, echo, now);
        return report;
    }
    Nanos detect(Nanos window, Nanos now, uint32_t *lost = nullptr) {
        uint32_t bytes = 0;
        const Nanos timeout = rack_mark_losses(&rack, &board, window, now, &bytes);
        if (lost) *lost = bytes;
        return timeout;
    }
    void expect_lost(std::vector<bool> wanted) {
        assert_int_equal(scoreboard_count(&board), wanted.size());
        for (uint32_t i = 0; i < wanted.size(); i++)
            assert_int_equal((at(i)->flags & sent_lost) != 0, wanted[i]);
    }
};

// ---- section 6.2 step 2: the most recently sent segment that was delivered ----

void test_update_newest_delivered(void **) {
    Path p;
    for (int i = 0; i < 4; i++) p.send((100 + i) * ms);
    p.on_ack(0, {20, 30}, 150 * ms);
    assert_int_equal(p.rack.sent_at, 102 * ms);
    assert_int_equal(p.rack.end, base + 30);
    assert_int_equal(p.rack.rtt, 48 * ms);
    // An older one's round trip is the latest, but its time does not go back.
    p.on_ack(10, {0, 0}, 160 * ms);
    assert_int_equal(p.rack.sent_at, 102 * ms);
    assert_int_equal(p.rack.end, base + 30);
    assert_int_equal(p.rack.rtt, 60 * ms);
    // Nothing new: nothing changes.
    p.on_ack(10, {20, 30}, 170 * ms);
    assert_int_equal(p.rack.rtt, 60 * ms);
}

void test_update_same_time_by_sequence(void **) {
    Path p;
    for (int i = 0; i < 4; i++) p.send(100 * ms); // the last begins beyond 2^32
    p.on_ack(0, {10, 20}, 150 * ms);
    assert_int_equal(p.rack.end, base + 20);
    p.on_ack(0, {30, 40}, 150 * ms);
    assert_int_equal(p.rack.end, base + 40);
    p.on_ack(0, {20, 30}, 151 * ms);
    assert_int_equal(p.rack.end, base + 40);
    assert_int_equal(p.rack.rtt, 51 * ms);
}

void test_update_ignores_answer_sooner_than_least_rtt(void **) {
    for (int late : {0, 1}) {
        Path p;
        p.send(100 * ms);
        p.resend(0, 200 * ms);
        p.on_ack(10, {0, 0}, 239 * ms + late * ms);
        assert_int_equal(p.rack.sent_at, late ? 200 * ms : 0);
        assert_int_equal(p.rack.rtt, late ? 40 * ms : 0);
    }
}

void test_update_ignores_older_timestamp_echo(void **) {
    for (uint32_t echo : {100, 199, 200, 201}) {
        Path p;
        p.send(100 * ms);
        p.resend(0, 200 * ms);
        p.on_ack(10, {0, 0}, 260 * ms, true, echo);
        assert_int_equal(p.rack.sent_at, echo >= 200 ? 200 * ms : 0);
    }
    Path p; // an echo that is not valid does not count, and none is asked for what was sent once
    p.send(100 * ms);
    p.send(110 * ms);
    p.resend(0, 200 * ms);
    p.on_ack(10, {0, 0}, 260 * ms, false, 100);
    assert_int_equal(p.rack.sent_at, 200 * ms);
    Path q;
    q.send(100 * ms);
    q.on_ack(10, {0, 0}, 110 * ms, true, 3); // sooner than the least round trip, too
    assert_int_equal(q.rack.sent_at, 100 * ms);
}

void test_update_takes_the_others_of_the_acknowledgement(void **) {
    Path p;
    p.send(100 * ms);
    p.send(101 * ms);
    p.send(102 * ms);
    p.resend(0, 200 * ms);
    p.on_ack(20, {0, 0}, 210 * ms); // the retransmission cannot have been answered, the second segment was
    assert_int_equal(p.rack.sent_at, 101 * ms);
    assert_int_equal(p.rack.end, base + 20);
    assert_int_equal(p.rack.rtt, 109 * ms);
}

// ---- step 3: reordering ----

void test_reordering_seen(void **) {
    Path p;
    for (int i = 0; i < 4; i++) p.send((100 + i) * ms);
    p.on_ack(0, {20, 30}, 150 * ms);
    assert_false(p.rack.reordering_seen);
    p.resend(0, 160 * ms);
    p.on_ack(10, {20, 30}, 210 * ms); // repaired, not reordered
    assert_false(p.rack.reordering_seen);
    p.on_ack(30, {0, 0}, 220 * ms); // the second, sent once, came after the third
    assert_true(p.rack.reordering_seen);
    p.on_ack(40, {0, 0}, 230 * ms);
    assert_true(p.rack.reordering_seen); // for good
}

// ---- step 4: the reordering window ----

void test_window_of_nothing(void **) {
    Rack r;
    rack_open(&r);
    assert_int_equal(rack_window(&r, false, false, 60 * ms, 40 * ms), 10 * ms);
    assert_int_equal(rack_window(&r, true, false, 60 * ms, 40 * ms), 0);
    assert_int_equal(rack_window(&r, false, true, 60 * ms, 40 * ms), 0);
    assert_int_equal(rack_window(&r, false, false, 0, 0), 0);
    r.reordering_seen = true;
    assert_int_equal(rack_window(&r, true, false, 60 * ms, 40 * ms), 10 * ms);
    assert_int_equal(rack_window(&r, false, true, 60 * ms, 40 * ms), 10 * ms);
}

void test_window_widens_once_per_round(void **) {
    Rack r;
    rack_open(&r);
    assert_true(rack_on_dsack(&r, base, base + 40));
    assert_int_equal(r.window_steps, 2);
    assert_int_equal(rack_window(&r, false, false, 60 * ms, 40 * ms), 20 * ms);
    assert_false(rack_on_dsack(&r, base, base + 50));
    assert_false(rack_on_dsack(&r, base + 39, base + 60)); // just within the round
    assert_int_equal(r.window_steps, 2);
    assert_true(rack_on_dsack(&r, base + 40, base + 60)); // the next begins, beyond 2^32
    assert_int_equal(r.window_steps, 3);
    assert_false(rack_on_dsack(&r, base + 59, base + 70));
    assert_true(rack_on_dsack(&r, base + 65, base + 70));
    assert_int_equal(rack_window(&r, false, false, 60 * ms, 40 * ms), 40 * ms);
}

void test_window_is_at_most_smoothed(void **) {
    Rack r;
    rack_open(&r);
    for (uint32_t i = 0; i < 300; i++) assert_true(rack_on_dsack(&r, base + i, base + i + 1));
    assert_int_equal(r.window_steps, 255);
    assert_int_equal(rack_window(&r, false, false, 60 * ms, 40 * ms), 60 * ms);
}

void test_window_persists_sixteen_recoveries(void **) {
    Rack r;
    rack_open(&r);
    rack_on_dsack(&r, base, base + 10);
    rack_on_dsack(&r, base + 10, base + 20);
    for (int i = 0; i < 15; i++) rack_on_recovery_end(&r);
    assert_int_equal(r.window_steps, 3);
    rack_on_dsack(&r, base + 10, base + 20); // within the round: does not prolong
    rack_on_recovery_end(&r);
    assert_int_equal(r.window_steps, 1);
    rack_on_recovery_end(&r);
    assert_int_equal(r.window_steps, 1);
    rack_on_dsack(&r, base + 20, base + 30);
    for (int i = 0; i < 10; i++) rack_on_recovery_end(&r);
    rack_on_dsack(&r, base + 30, base + 40); // sixteen from here
    for (int i = 0; i < 15; i++) rack_on_recovery_end(&r);
    assert_int_equal(r.window_steps, 3);
    rack_on_recovery_end(&r);
    assert_int_equal(r.window_steps, 1);
}

// ---- step 5: losses ----

void test_detect_nothing_before_first_delivery(void **) {
    Path p;
    p.send(100 * ms);
    assert_int_equal(p.detect(0, 10000 * ms), 0);
    p.expect_lost({false});
}

void test_detect_at_once_without_window(void **) {
    Path p;
    for (int i = 0; i < 5; i++) p.send((100 + i) * ms);
    p.on_ack(0, {20, 30}, 150 * ms); // round trip 48 ms
    uint32_t lost = 0;
    assert_int_equal(p.detect(0, 150 * ms, &lost), 0);
    assert_int_equal(lost, 20);
    p.expect_lost({true, true, false, false, false});   // before it, not SACKed, and nothing after it
    assert_int_equal(p.detect(0, 1000 * ms, &lost), 0); // not twice
    assert_int_equal(lost, 0);
    assert_int_equal(p.board.lost_bytes, 20);
}

void test_detect_waits_for_the_window(void **) {
    Path p;
    for (int i = 0; i < 4; i++) p.send((100 + i) * ms);
    p.on_ack(0, {20, 30}, 150 * ms);                       // round trip 48 ms: lost at 158 and 159 ms
    assert_int_equal(p.detect(10 * ms, 150 * ms), 9 * ms); // the timer is for the last of them
    p.expect_lost({false, false, false, false});
    assert_int_equal(p.detect(10 * ms, 158 * ms - 1), ms + 1);
    p.expect_lost({false, false, false, false});
    assert_int_equal(p.detect(10 * ms, 158 * ms), ms);
    p.expect_lost({true, false, false, false});
    assert_int_equal(p.detect(10 * ms, 159 * ms), 0);
    p.expect_lost({true, true, false, false});
}

void test_detect_lost_retransmission(void **) {
    Path p;
    for (int i = 0; i < 5; i++) p.send((100 + i) * ms);
    p.on_ack(0, {10, 20}, 150 * ms);
    p.detect(0, 150 * ms);
    p.expect_lost({true, false, false, false, false});
    p.resend(0, 151 * ms);
    p.send(152 * ms);
    p.on_ack(0, {10, 50}, 155 * ms); // sent before the retransmission
    assert_int_equal(p.detect(0, 155 * ms), 0);
    p.expect_lost({false, false, false, false, false, false});
    p.on_ack(0, {10, 60}, 200 * ms); // sent after it
    assert_int_equal(p.detect(0, 200 * ms), 0);
    p.expect_lost({true, false, false, false, false, false});
}

void test_detect_looks_behind_retransmissions(void **) {
    Path p;
    for (int i = 0; i < 4; i++) p.send((100 + i) * ms);
    p.resend(0, 180 * ms); // newer than what arrives
    p.resend(1, 120 * ms); // older: in question
    p.resend(3, 130 * ms);
    p.on_ack(0, {30, 40}, 175 * ms);
    assert_int_equal(p.rack.sent_at, 130 * ms);
    p.detect(0, 175 * ms);
    p.expect_lost({false, true, true, false});
}

void test_detect_same_time_by_sequence(void **) {
    Path p;
    for (int i = 0; i < 4; i++) p.send(100 * ms);
    p.on_ack(0, {20, 30}, 150 * ms);
    p.detect(0, 150 * ms);
    p.expect_lost({true, true, false, false});
}

// Random paths beside the pseudocode as it stands, which looks at every segment.
void test_detect_against_pseudocode(void **) {
    const char *text = getenv("WSXDP_SEED");
    const unsigned seed = text ? static_cast<unsigned>(strtoul(text, nullptr, 10)) : 1;
    std::mt19937 random(seed);
    uint32_t lost_all = 0, waiting = 0;
    for (int round = 0; round < 2000; round++) {
        Path p;
        Nanos now = 100 * ms;
        for (int step = 0; step < 60; step++) {
            now += random() % 4 * ms;
            const uint32_t count = scoreboard_count(&p.board);
            const uint32_t una = count ? p.at(0)->seq - base : p.next - base;
            const uint32_t begin = una + random() % 8 * 10;
            switch (random() % 4) {
            case 0:
                p.send(now);
                continue;
            case 1:
                if (SentSegment *lost = scoreboard_next_lost(&p.board))
                    scoreboard_sent_again(&p.board, lost, now, 0);
                else if (count)
                    p.resend(random() % count, now);
                continue;
            case 2:
                if (count)
                    p.on_ack(una + random() % 4 / 3 * 10, {begin, begin + uint32_t(random() % 3 * 10)}, now);
                break;
            default:
                break;
            }
            const Nanos window = random() % 3 * 5 * ms;
            std::vector<bool> wanted;
            Nanos timeout = 0;
            for (uint32_t i = 0; i < scoreboard_count(&p.board); i++) {
                const SentSegment *s = p.at(i);
                const bool after = p.rack.sent_at > s->sent_at ||
                                   (p.rack.sent_at == s->sent_at && seq_after(p.rack.end, s->end));
                const Nanos remaining = s->sent_at + p.rack.rtt + window - now;
                const bool open = after && !(s->flags & (sent_sacked | sent_lost));
                wanted.push_back((s->flags & sent_lost) || (open && remaining <= 0));
                if (open && remaining > timeout) timeout = remaining;
                lost_all += open && remaining <= 0;
            }
            waiting += timeout != 0;
            if (p.detect(window, now) != timeout) fail_msg("seed %u, round %d, step %d", seed, round, step);
            p.expect_lost(wanted);
        }
    }
    assert_true(lost_all > 1000 && waiting > 1000);
}

// ---- section 6.3: retransmission timeout ----

void test_timeout_marks_oldest_and_old(void **) {
    Path p;
    p.send(90 * ms);
    p.on_ack(10, {0, 0}, 140 * ms); // round trip 50 ms
    for (int i = 0; i < 4; i++) p.send((200 + 20 * i) * ms);
    p.on_ack(10, {30, 40}, 270 * ms); // the third of them, round trip 30 ms
    p.resend(0, 300 * ms);
    rack_mark_losses_on_timeout(&p.rack, &p.board, 10 * ms, 280 * ms);
    p.expect_lost(
        {true, true, false, false}); // the oldest though it is young; 220 + 30 + 10; SACKed; 260 + 30 + 10
    rack_mark_losses_on_timeout(&p.rack, &p.board, 10 * ms, 300 * ms);
    p.expect_lost({true, true, false, true});
}

void test_timeout_when_the_oldest_is_sacked(void **) { // RFC 2018 section 8
    Path p;
    for (int i = 0; i < 3; i++) p.send(100 * ms);
    p.on_ack(0, {0, 20}, 150 * ms);
    rack_mark_losses_on_timeout(&p.rack, &p.board, 0, 400 * ms);
    assert_int_equal(p.board.sacked_count, 0);
    p.expect_lost({true, true, true});
    Path q; // nothing outstanding
    rack_mark_losses_on_timeout(&q.rack, &q.board, 0, 400 * ms);
    assert_int_equal(q.board.lost_count, 0);
}

// ---- section 7.2: the probe's timer ----

void test_probe_timeout(void **) {
    RttEstimator r;
    RttLimits limits;
    limits.initial = 3 * ns_per_s;
    rtt_open(&r, limits);
    assert_int_equal(tail_probe_timeout(&r, false, 200 * ms), ns_per_s); // no sample
    assert_int_equal(tail_probe_timeout(&r, true, 200 * ms), ns_per_s);
    rtt_open(&r, RttLimits());
    rtt_sample(&r, 300 * ms, ns_per_s); // timeout 900 ms
    assert_int_equal(tail_probe_timeout(&r, false, 200 * ms), 600 * ms);
    assert_int_equal(tail_probe_timeout(&r, true, 200 * ms), 800 * ms); // one segment: may be held back
    assert_int_equal(tail_probe_timeout(&r, true, 301 * ms), 900 * ms); // not after the retransmission
    rtt_back_off(&r);
    assert_int_equal(tail_probe_timeout(&r, true, 301 * ms), 901 * ms);
}

void test_probe_timeout_capped_by_retransmission(void **) {
    RttEstimator r;
    rtt_open(&r, RttLimits());
    for (int i = 0; i < 100; i++) rtt_sample(&r, 300 * ms, ns_per_s + i); // the variation is gone
    assert_true(rtt_timeout(&r) < 600 * ms);
    assert_int_equal(tail_probe_timeout(&r, false, 0), rtt_timeout(&r));
    RttLimits limits;
    limits.initial = 250 * ms;
    rtt_open(&r, limits);
    assert_int_equal(tail_probe_timeout(&r, false, 0), 250 * ms);
}

// ---- section 7.4.2: what an acknowledgement says of the probe ----

struct ProbeCase {
    bool outstanding, again;
    uint32_t ack; // against the probe's end at base + 30, beyond 2^32
    bool dsack, had_sack, duplicate;
    ProbeVerdict verdict;
};

void test_probe_verdicts(void **) {
    constexpr ProbeVerdict none = ProbeVerdict::none, not_lost = ProbeVerdict::not_lost,
                           repaired = ProbeVerdict::repaired_loss;
    const ProbeCase cases[] = {
        {false, true, base + 40, false, false, false, none},
        {true, false, base + 20, false, false, true, none}, // before the probe
        {true, true, base + 29, true, true, true, none},
        {true, false, base + 30, false, false, false, not_lost}, // new data, delivered
        {true, false, base + 40, false, true, false, not_lost},
        {true, true, base + 30, true, true, true, not_lost}, // case 1: DSACK
        {true, true, base + 40, true, true, false, not_lost},
        {true, true, base + 30, false, false, false, none},    // the first answer: not yet judged
        {true, true, base + 30, false, false, true, not_lost}, // case 2: both copies
        {true, true, base + 30, false, true, true, none},      // but not with a SACK
        {true, true, base + 31, false, false, false, repaired},
        {true, true, base + 40, false, true, false, repaired},
    };
    for (const ProbeCase &c : cases) {
        TailProbe probe;
        probe.outstanding = c.outstanding;
        probe.again = c.again;
        probe.end = base + 30;
        const ProbeVerdict got = tail_probe_on_ack(&probe, c.ack, c.dsack, c.had_sack, c.duplicate);
        if (got != c.verdict) fail_msg("case %td: verdict %d", &c - cases, static_cast<int>(got));
        assert_int_equal(probe.outstanding, c.outstanding && c.verdict == none);
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_update_newest_delivered),
        cmocka_unit_test(test_update_same_time_by_sequence),
        cmocka_unit_test(test_update_ignores_answer_sooner_than_least_rtt),
        cmocka_unit_test(test_update_ignores_older_timestamp_echo),
        cmocka_unit_test(test_update_takes_the_others_of_the_acknowledgement),
        cmocka_unit_test(test_reordering_seen),
        cmocka_unit_test(test_window_of_nothing),
        cmocka_unit_test(test_window_widens_once_per_round),
        cmocka_unit_test(test_window_is_at_most_smoothed),
        cmocka_unit_test(test_window_persists_sixteen_recoveries),
        cmocka_unit_test(test_detect_nothing_before_first_delivery),
        cmocka_unit_test(test_detect_at_once_without_window),
        cmocka_unit_test(test_detect_waits_for_the_window),
        cmocka_unit_test(test_detect_lost_retransmission),
        cmocka_unit_test(test_detect_looks_behind_retransmissions),
        cmocka_unit_test(test_detect_same_time_by_sequence),
        cmocka_unit_test(test_detect_against_pseudocode),
        cmocka_unit_test(test_timeout_marks_oldest_and_old),
        cmocka_unit_test(test_timeout_when_the_oldest_is_sacked),
        cmocka_unit_test(test_probe_timeout),
        cmocka_unit_test(test_probe_timeout_capped_by_retransmission),
        cmocka_unit_test(test_probe_verdicts),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
