// SPDX-License-Identifier: MIT
// The scoreboard: what each operation does to segments, counters and reports, then all of them in random
// order beside a model that knows every byte by itself, with sequence numbers and ring positions that pass
// 2^32.
#include "../../lib/tcp/scoreboard.h"
#include "../base/check.h"
#include <algorithm>
#include <cstdlib>
#include <deque>
#include <memory>
#include <random>
#include <vector>

using namespace wx;

namespace {

struct Board : Scoreboard {
    std::vector<SentSegment> memory;

    explicit Board(uint32_t capacity, uint32_t position = UINT32_MAX - 2) : memory(capacity) {
        assert_int_equal(scoreboard_bytes(capacity), capacity * sizeof(SentSegment));
        scoreboard_open(this, memory.data(), capacity);
        head = tail = lost_hint = position;
    }
    // `count` segments of ten bytes from `seq`, a nanosecond apart from 1000 on, timestamps 1, 2, ...
    void fill(uint32_t seq, uint32_t count) {
        for (uint32_t i = 0; i < count; i++)
            assert_non_null(scoreboard_add(this, seq + 10 * i, seq + 10 * i + 10, 0, 1000 + i, i + 1));
    }
    SentSegment *at(uint32_t index) { return scoreboard_at(this, index); }
    AckReport ack(uint32_t una, Nanos now = 2000) {
        AckReport report;
        scoreboard_ack(this, una, now, &report);
        return report;
    }
    AckReport sack(uint32_t begin, uint32_t end, Nanos now = 2000) {
        AckReport report;
        scoreboard_sack(this, {begin, end}, now, &report);
        return report;
    }
    void expect(uint32_t sacks, uint32_t sacked, uint32_t losses, uint32_t lost) {
        assert_int_equal(sacked_count, sacks);
        assert_int_equal(sacked_bytes, sacked);
        assert_int_equal(lost_count, losses);
        assert_int_equal(lost_bytes, lost);
    }
};

constexpr uint32_t base = UINT32_MAX - 24; // the third segment crosses 2^32

void test_full(void **) {
    Board b(4);
    b.fill(base, 4);
    assert_true(scoreboard_full(&b));
    assert_null(scoreboard_add(&b, base + 40, base + 50, 0, 1, 1));
    assert_false(scoreboard_split(&b, b.at(0), base + 5));
    assert_int_equal(scoreboard_count(&b), 4);
    b.ack(base + 10);
    assert_false(scoreboard_full(&b));
    assert_non_null(scoreboard_add(&b, base + 40, base + 50, 0, 1, 1));
}

void test_ack_in_order(void **) {
    Board b(8);
    b.fill(base, 5);
    AckReport report = b.ack(base + 30);
    assert_int_equal(report.acked, 30);
    assert_int_equal(report.delivered, 30);
    assert_int_equal(report.newly_sacked, 0);
    assert_int_equal(report.rtt, 2000 - 1002); // of the newest
    assert_int_equal(report.newest_sent_at, 1002);
    assert_int_equal(report.newest_end, base + 30);
    assert_int_equal(report.newest_ts, 3);
    assert_int_equal(report.once_sent_at, 1002);
    assert_int_equal(report.once_end, base + 30);
    assert_false(report.newest_again || report.reordered || report.again_acked);
    assert_int_equal(report.first_times, 1);
    assert_int_equal(report.first_ts, 1);
    assert_int_equal(scoreboard_count(&b), 2);
    report = b.ack(base + 30); // once more: nothing
    assert_int_equal(report.acked + report.delivered + report.first_times, 0);
    assert_int_equal(report.rtt + report.newest_sent_at, 0);
    report = b.ack(base + 10); // old: nothing
    assert_int_equal(report.acked + report.delivered + report.first_times, 0);
    assert_int_equal(scoreboard_count(&b), 2);
}

void test_ack_with_syn_and_fin(void **) {
    Board b(4);
    scoreboard_add(&b, base, base + 6, sent_syn, 1000, 1); // with data, as TCP Fast Open has it
    scoreboard_add(&b, base + 6, base + 7, sent_fin, 1001, 2);
    assert_int_equal(b.ack(base + 1).acked, 1);
    assert_int_equal(b.at(0)->flags, 0);
    assert_int_equal(b.at(0)->seq, base + 1);
    assert_int_equal(b.ack(base + 6).acked, 5);
    assert_int_equal(b.at(0)->flags, sent_fin);
    assert_int_equal(b.ack(base + 7).acked, 1);
    assert_int_equal(scoreboard_count(&b), 0);
}

void test_ack_in_part(void **) {
    Board b(4);
    b.fill(base, 3);
    scoreboard_mark_lost(&b, b.at(0));
    b.sack(base + 10, base + 20);
    b.expect(1, 10, 1, 10);
    AckReport report = b.ack(base + 4);
    assert_int_equal(report.acked, 4);
    assert_int_equal(report.delivered, 4);
    assert_int_equal(report.newest_end, base + 4);
    b.expect(1, 10, 1, 6);
    assert_int_equal(b.at(0)->seq, base + 4);
    report = b.ack(base + 17);
    assert_int_equal(report.acked, 13);
    assert_int_equal(report.delivered, 6); // the rest had been SACKed
    b.expect(1, 3, 0, 0);
    b.ack(base + 30);
    b.expect(0, 0, 0, 0);
}

void test_sack_spares_whole_segments(void **) {
    Board b(8);
    b.fill(base, 5);
    AckReport report = b.sack(base + 11, base + 39); // all of the third, some of two others
    assert_int_equal(report.newly_sacked, 10);
    assert_int_equal(report.delivered, 10);
    assert_int_equal(report.acked, 0);
    assert_int_equal(report.rtt, 2000 - 1002);
    assert_int_equal(report.first_times, 0);
    b.expect(1, 10, 0, 0);
    assert_int_equal(b.highest_sacked, base + 30);
    assert_int_equal(b.at(2)->flags, sent_sacked);
    assert_int_equal(b.sack(base + 20, base + 30).delivered, 0); // told again
    assert_int_equal(b.sack(base + 12, base + 18).delivered, 0); // inside one
    assert_int_equal(b.sack(base + 10, base + 50).newly_sacked, 30);
    assert_int_equal(b.highest_sacked, base + 50);
    b.expect(4, 40, 0, 0);
    assert_int_equal(b.ack(base + 50).delivered, 10);
    b.expect(0, 0, 0, 0);
}

void test_sack_outside(void **) {
    Board b(4);
    assert_int_equal(b.sack(base, base + 10).delivered, 0); // nothing sent
    b.fill(base, 2);
    assert_int_equal(b.sack(base + 20, base + 30).delivered, 0);
    assert_int_equal(b.sack(base - 10, base).delivered, 0);
    assert_int_equal(b.sack(base + 10, base).delivered, 0); // upside down
    b.expect(0, 0, 0, 0);
}

void test_lost_and_sent_again(void **) {
    Board b(8);
    b.fill(base, 5);
    assert_null(scoreboard_next_lost(&b));
    scoreboard_mark_lost(&b, b.at(3));
    scoreboard_mark_lost(&b, b.at(1));
    scoreboard_mark_lost(&b, b.at(1)); // once is enough
    b.expect(0, 0, 2, 20);
    assert_ptr_equal(scoreboard_next_lost(&b), b.at(1));
    scoreboard_sent_again(&b, b.at(1), 1500, 77);
    b.expect(0, 0, 1, 10);
    assert_int_equal(b.at(1)->times, 2);
    assert_int_equal(b.at(1)->sent_at, 1500);
    assert_int_equal(b.at(1)->ts_value, 77);
    assert_ptr_equal(scoreboard_next_lost(&b), b.at(3));
    scoreboard_mark_lost(&b, b.at(0)); // before the hint
    assert_ptr_equal(scoreboard_next_lost(&b), b.at(0));
    b.sack(base + 30, base + 40); // it was not lost
    scoreboard_mark_lost(&b, b.at(3));
    b.expect(1, 10, 1, 10);
    b.ack(base + 10);
    assert_null(scoreboard_next_lost(&b));
    scoreboard_mark_lost(&b, b.at(3));
    scoreboard_mark_lost(&b, b.at(0));
    b.expect(1, 10, 2, 20);
    scoreboard_clear_lost(&b);
    b.expect(1, 10, 0, 0);
    assert_null(scoreboard_next_lost(&b));
    for (int i = 0; i < 300; i++) scoreboard_sent_again(&b, b.at(0), 1600, 78);
    assert_int_equal(b.at(0)->times, 255);
}

void test_split(void **) {
    Board b(8);
    scoreboard_add(&b, base, base + 30, sent_syn | sent_fin, 1000, 1);
    b.fill(base + 30, 2);
    scoreboard_mark_lost(&b, b.at(0));
    scoreboard_mark_lost(&b, b.at(2));
    assert_false(scoreboard_split(&b, b.at(0), base));
    assert_false(scoreboard_split(&b, b.at(0), base + 30));
    assert_true(scoreboard_split(&b, b.at(0), base + 20));
    assert_true(scoreboard_split(&b, b.at(0), base + 10));
    b.expect(0, 0, 4, 40);
    assert_int_equal(scoreboard_count(&b), 5);
    for (uint32_t i = 0; i < 5; i++) {
        assert_int_equal(b.at(i)->seq, base + 10 * i);
        assert_int_equal(b.at(i)->end, base + 10 * i + 10);
    }
    assert_int_equal(b.at(0)->flags, sent_syn | sent_lost);
    assert_int_equal(b.at(1)->flags, sent_lost);
    assert_int_equal(b.at(2)->flags, sent_fin | sent_lost);
    assert_int_equal(b.at(4)->flags, sent_lost);
    for (uint32_t i : {0, 1, 2, 4}) {
        assert_ptr_equal(scoreboard_next_lost(&b), b.at(i));
        if (i == 4) assert_true(scoreboard_split(&b, b.at(3), base + 35)); // before the hint
        scoreboard_sent_again(&b, scoreboard_next_lost(&b), 1500, 9);
    }
    assert_null(scoreboard_next_lost(&b));
    b.sack(base + 10, base + 20);
    assert_true(scoreboard_split(&b, b.at(1), base + 13));
    b.expect(2, 10, 0, 0);
}

void test_forget_sacks_and_clear(void **) { // RFC 2018 section 8
    Board b(8);
    b.fill(base, 4);
    b.sack(base + 10, base + 20);
    b.sack(base + 30, base + 40);
    scoreboard_mark_lost(&b, b.at(0));
    scoreboard_forget_sacks(&b);
    b.expect(0, 0, 1, 10);
    for (uint32_t i = 1; i < 4; i++) assert_int_equal(b.at(i)->flags, 0);
    b.sack(base + 10, base + 20);
    assert_int_equal(b.highest_sacked, base + 20); // not what was taken back
    assert_int_equal(b.ack(base + 30).delivered, 20);
    scoreboard_mark_lost(&b, b.at(0));
    scoreboard_clear(&b);
    b.expect(0, 0, 0, 0);
    assert_int_equal(scoreboard_count(&b), 0);
    assert_null(scoreboard_next_lost(&b));
}

// ---- reports ----

void test_reordering(void **) { // RFC 8985 section 6.2 step 3
    Board b(8);
    b.fill(base, 8);
    AckReport report;
    // Blocks that one acknowledgement brings, the latest first, are no reordering, nor is the hole between
    // them.
    scoreboard_ack(&b, base + 10, 2000, &report);
    scoreboard_sack(&b, {base + 40, base + 50}, 2000, &report);
    scoreboard_sack(&b, {base + 20, base + 30}, 2000, &report);
    assert_false(report.reordered);
    assert_false(b.sack(base + 50, base + 60).reordered);
    assert_true(b.sack(base + 30, base + 40).reordered);
    scoreboard_sent_again(&b, b.at(0), 1900, 9); // 10 to 20
    assert_false(b.ack(base + 20).reordered);    // repaired
    b.ack(base + 60);
    assert_int_equal(scoreboard_count(&b), 2);
    b.sack(base + 70, base + 80);
    assert_true(b.ack(base + 80).reordered); // the one below arrives by itself
}

void test_rtt_of_once_sent(void **) { // Karn's rule: RFC 6298 section 3
    Board b(8);
    b.fill(base, 6);
    scoreboard_sent_again(&b, b.at(0), 1900, 9);
    AckReport report = b.ack(base + 10);
    assert_int_equal(report.rtt, 0);
    assert_true(report.again_acked && report.newest_again);
    assert_int_equal(report.first_times, 2);
    assert_int_equal(report.first_ts, 9);
    assert_int_equal(report.newest_sent_at, 1900);
    assert_int_equal(report.newest_ts, 9);
    assert_int_equal(report.once_sent_at, 0);
    // What had been waiting above a hole is not measured by what fills the hole,
    scoreboard_sent_again(&b, b.at(1), 1950, 10);
    report = b.ack(base + 40);
    assert_int_equal(report.rtt, 0);
    assert_false(report.again_acked);
    assert_int_equal(report.once_sent_at, 1003);
    assert_int_equal(report.once_end, base + 40);
    // but a SACK in the same acknowledgement measures.
    scoreboard_sent_again(&b, b.at(0), 1960, 11);
    report = AckReport();
    scoreboard_ack(&b, base + 50, 2000, &report);
    assert_int_equal(report.rtt, 0);
    scoreboard_sack(&b, {base + 50, base + 60}, 2000, &report);
    assert_int_equal(report.rtt, 2000 - 1005);
    assert_int_equal(report.newest_sent_at, 1960);
}

void test_rtt_is_never_none(void **) {
    Board b(4);
    b.fill(base, 2);
    assert_int_equal(b.ack(base + 10, 1000).rtt, 1); // answered within the clock's step
    assert_int_equal(b.sack(base + 10, base + 20, 1001).rtt, 1);
}

void test_newest_by_time_then_end(void **) {
    Board b(8);
    for (uint32_t i = 0; i < 4; i++) scoreboard_add(&b, base + 10 * i, base + 10 * i + 10, 0, 1000, i);
    AckReport report;
    scoreboard_sack(&b, {base + 20, base + 40}, 2000, &report);
    scoreboard_sack(&b, {base + 10, base + 20}, 2000, &report);
    assert_int_equal(report.newest_end, base + 40);
    scoreboard_sent_again(&b, b.at(0), 1001, 9);
    scoreboard_ack(&b, base + 40, 2000, &report);
    assert_int_equal(report.newest_end, base + 10);
    assert_int_equal(report.delivered, 40);
    assert_int_equal(report.acked, 40);
    assert_int_equal(report.once_end, base + 40);
}

// ---- the model ----

struct Byte {
    bool begins; // a segment
    bool sacked, lost, syn, fin;
    Nanos sent_at;
    uint32_t ts_value;
    unsigned times;
};

struct Model {
    uint32_t una;
    std::deque<Byte> bytes;

    uint32_t next() const { return una + static_cast<uint32_t>(bytes.size()); }
    size_t end_of(size_t from) const {
        for (from++; from < bytes.size() && !bytes[from].begins; from++) {
        }
        return from;
    }
    std::vector<size_t> segments() const {
        std::vector<size_t> found;
        for (size_t i = 0; i < bytes.size(); i++)
            if (bytes[i].begins) found.push_back(i);
        return found;
    }
    // The end of the highest SACKed byte, -1 when there is none.
    int64_t forward() const {
        for (size_t i = bytes.size(); i-- > 0;)
            if (bytes[i].sacked) return static_cast<int64_t>(i) + 1;
        return -1;
    }
    void deliver(size_t from, size_t end, int64_t fack, AckReport *want) {
        const Byte &byte = bytes[from];
        const uint32_t seq = una + static_cast<uint32_t>(end);
        want->delivered += static_cast<uint32_t>(end - from);
        if (byte.sent_at > want->newest_sent_at ||
            (byte.sent_at == want->newest_sent_at && static_cast<int32_t>(seq - want->newest_end) > 0)) {
            want->newest_sent_at = byte.sent_at;
            want->newest_end = seq;
            want->newest_ts = byte.ts_value;
            want->newest_again = byte.times > 1;
        }
        if (byte.times > 1) return;
        if (byte.sent_at > want->once_sent_at ||
            (byte.sent_at == want->once_sent_at && static_cast<int32_t>(seq - want->once_end) > 0)) {
            want->once_sent_at = byte.sent_at;
            want->once_end = seq;
        }
        if (static_cast<int64_t>(end) < fack) want->reordered = true;
    }
    static void measure(Nanos newest, Nanos now, AckReport *want) {
        if (newest == 0) return;
        const Nanos rtt = std::max<Nanos>(now - newest, 1);
        if (want->rtt == 0 || rtt < want->rtt) want->rtt = rtt;
    }
    void ack(size_t count, int64_t fack, Nanos now, AckReport *want) {
        if (count == 0) return;
        want->acked = static_cast<uint32_t>(count);
        want->first_times = static_cast<uint8_t>(bytes[0].times);
        want->first_ts = bytes[0].ts_value;
        want->again_acked = bytes[0].times > 1;
        Nanos newest = 0;
        bool again = false;
        for (size_t from = 0; from < count; from = end_of(from)) {
            again |= bytes[from].times > 1;
            if (bytes[from].sacked) continue;
            deliver(from, std::min(end_of(from), count), fack, want);
            if (bytes[from].times == 1) newest = std::max(newest, bytes[from].sent_at);
        }
        if (!again) measure(newest, now, want);
        bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
        una += static_cast<uint32_t>(count);
        if (!bytes.empty()) bytes[0].begins = true;
    }
    void sack(size_t begin, size_t end, int64_t fack, Nanos now, AckReport *want) {
        Nanos newest = 0;
        for (size_t from : segments()) {
            const size_t until = end_of(from);
            if (from < begin || until > end || bytes[from].sacked) continue;
            deliver(from, until, fack, want);
            if (bytes[from].times == 1) newest = std::max(newest, bytes[from].sent_at);
            want->newly_sacked += static_cast<uint32_t>(until - from);
            for (size_t i = from; i < until; i++) bytes[i].sacked = true, bytes[i].lost = false;
        }
        measure(newest, now, want);
    }
};

struct Walk {
    static constexpr uint32_t capacity = 32;
    Board board{capacity, UINT32_MAX - 5000};
    Model model;
    std::mt19937 random;
    unsigned seed;
    Nanos now = 1000;
    int step = 0;

    Walk(unsigned seed_, uint32_t una) : random(seed_), seed(seed_) { model.una = una; }

    size_t below(size_t bound) { return bound ? random() % bound : 0; }
    void same(const char *what, int64_t got, int64_t want) {
        if (got != want)
            fail_msg("seed %u, step %d: %s is %lld, the model has %lld", seed, step, what,
                     static_cast<long long>(got), static_cast<long long>(want));
    }
    void compare(const AckReport &got, const AckReport &want) {
        same("acked", got.acked, want.acked);
        same("delivered", got.delivered, want.delivered);
        same("newly_sacked", got.newly_sacked, want.newly_sacked);
        same("rtt", got.rtt, want.rtt);
        same("newest_sent_at", got.newest_sent_at, want.newest_sent_at);
        same("newest_end", got.newest_end, want.newest_end);
        same("newest_ts", got.newest_ts, want.newest_ts);
        same("newest_again", got.newest_again, want.newest_again);
        same("once_sent_at", got.once_sent_at, want.once_sent_at);
        same("once_end", got.once_end, want.once_end);
        same("reordered", got.reordered, want.reordered);
        same("again_acked", got.again_acked, want.again_acked);
        same("first_times", got.first_times, want.first_times);
        same("first_ts", got.first_ts, want.first_ts);
    }
    void compare_state() {
        const std::vector<size_t> segments = model.segments();
        same("count", scoreboard_count(&board), static_cast<int64_t>(segments.size()));
        int64_t sacked = 0, lost = 0, sacks = 0, losses = 0, first_lost = -1;
        for (size_t i = 0; i < segments.size(); i++) {
            const Byte &byte = model.bytes[segments[i]];
            const size_t end = model.end_of(segments[i]);
            const SentSegment *segment = board.at(static_cast<uint32_t>(i));
            same("seq", segment->seq, static_cast<uint32_t>(model.una + segments[i]));
            same("end", segment->end, static_cast<uint32_t>(model.una + end));
            same("sent_at", segment->sent_at, byte.sent_at);
            same("ts_value", segment->ts_value, byte.ts_value);
            same("times", segment->times, byte.times);
            same("flags", segment->flags,
                 byte.sacked * sent_sacked + byte.lost * sent_lost + byte.syn * sent_syn +
                     model.bytes[end - 1].fin * sent_fin);
            sacks += byte.sacked;
            losses += byte.lost;
            if (byte.lost && first_lost < 0) first_lost = static_cast<int64_t>(i);
        }
        for (const Byte &byte : model.bytes) sacked += byte.sacked, lost += byte.lost;
        same("sacked_bytes", board.sacked_bytes, sacked);
        same("sacked_count", board.sacked_count, sacks);
        same("lost_bytes", board.lost_bytes, lost);
        same("lost_count", board.lost_count, losses);
        if (sacks)
            same("highest_sacked", board.highest_sacked, static_cast<uint32_t>(model.una + model.forward()));
        // Not at every step: looking moves the hint.
        if (below(3) == 0) {
            SentSegment *next = scoreboard_next_lost(&board);
            same("next lost", next ? (next - board.ring) : -1,
                 first_lost < 0 ? -1 : board.at(static_cast<uint32_t>(first_lost)) - board.ring);
        }
    }
    void add() {
        const size_t size = 1 + below(12);
        const bool syn = below(20) == 0, fin = below(20) == 0;
        const uint32_t next = model.next(), ts = static_cast<uint32_t>(random());
        const bool full = model.segments().size() == capacity;
        const uint8_t flags = static_cast<uint8_t>((syn ? sent_syn : 0) | (fin ? sent_fin : 0));
        SentSegment *added = scoreboard_add(&board, next, next + static_cast<uint32_t>(size), flags, now, ts);
        same("refused", added == nullptr, full);
        for (size_t i = 0; !full && i < size; i++)
            model.bytes.push_back({i == 0, false, false, syn && i == 0, fin && i == size - 1, now, ts, 1});
    }
    // Mostly on the segments' edges, as peers do; the order of the two kinds in one report is free.
    void acknowledge() {
        AckReport got, want;
        const int64_t forward = model.forward();
        const uint32_t una = model.una;
        const bool ack_first = below(2);
        size_t count = below(3) == 0 ? below(model.bytes.size() + 1) : 0;
        if (count && below(4) != 0) count = model.end_of(count - 1);
        if (ack_first) {
            scoreboard_ack(&board, una + static_cast<uint32_t>(count), now, &got);
            model.ack(count, forward, now, &want);
        }
        const size_t gone = ack_first ? count : 0; // the model's offsets moved, and so did what was SACKed
        for (size_t blocks = below(4); blocks-- > 0 && !model.bytes.empty();) {
            size_t begin = below(model.bytes.size()), end = begin + 1 + below(60);
            if (below(4) != 0) begin = model.end_of(begin);
            end = std::min(end, model.bytes.size());
            if (begin >= end) continue;
            const uint32_t from = model.una;
            scoreboard_sack(&board, {from + static_cast<uint32_t>(begin), from + static_cast<uint32_t>(end)},
                            now, &got);
            model.sack(begin, end, forward - static_cast<int64_t>(gone), now, &want);
        }
        if (!ack_first) {
            scoreboard_ack(&board, una + static_cast<uint32_t>(count), now, &got);
            model.ack(count, forward, now, &want);
        }
        compare(got, want);
    }
    void on_segment(unsigned what) {
        const std::vector<size_t> segments = model.segments();
        if (segments.empty()) return;
        const size_t index = below(segments.size()), from = segments[index], end = model.end_of(from);
        SentSegment *segment = board.at(static_cast<uint32_t>(index));
        const uint32_t ts = static_cast<uint32_t>(random());
        const size_t at = from + below(end - from + 1);
        switch (what) {
        case 0:
            scoreboard_mark_lost(&board, segment);
            for (size_t i = from; i < end; i++) model.bytes[i].lost = !model.bytes[from].sacked;
            break;
        case 1:
            scoreboard_sent_again(&board, segment, now, ts);
            for (size_t i = from; i < end; i++) {
                Byte &byte = model.bytes[i];
                byte.lost = false;
                byte.sent_at = now;
                byte.ts_value = ts;
                byte.times = std::min(byte.times + 1, 255u);
            }
            break;
        default:
            const bool possible = segments.size() < capacity && at > from && at < end;
            same("split", scoreboard_split(&board, segment, model.una + static_cast<uint32_t>(at)), possible);
            if (possible) model.bytes[at].begins = true;
        }
    }
    void resend_next() {
        SentSegment *next = scoreboard_next_lost(&board);
        if (next == nullptr) return;
        const size_t from = next->seq - model.una;
        for (size_t i = from, end = model.end_of(from); i < end; i++) {
            Byte &byte = model.bytes[i];
            byte.lost = false;
            byte.sent_at = now;
            byte.ts_value = 5;
            byte.times = std::min(byte.times + 1, 255u);
        }
        scoreboard_sent_again(&board, next, now, 5);
    }
    void rare() {
        switch (below(12)) {
        case 0:
            scoreboard_forget_sacks(&board);
            for (Byte &byte : model.bytes) byte.sacked = false;
            break;
        case 1:
            scoreboard_clear_lost(&board);
            for (Byte &byte : model.bytes) byte.lost = false;
            break;
        case 2:
            scoreboard_clear(&board);
            model.una = model.next();
            model.bytes.clear();
            break;
        default:
            break;
        }
    }
    void run(int steps) {
        for (step = 0; step < steps; step++) {
            if (below(3) != 0) now += static_cast<Nanos>(below(50));
            switch (below(16)) {
            case 0:
                on_segment(0);
                break;
            case 1:
                on_segment(1);
                break;
            case 2:
                on_segment(2);
                break;
            case 3:
            case 4:
                resend_next();
                break;
            case 5:
                rare();
                break;
            case 6:
            case 7:
            case 8:
            case 9:
            case 10:
                acknowledge();
                break;
            default:
                add();
            }
            compare_state();
        }
    }
};

void test_random_walk(void **) {
    const char *text = getenv("WSXDP_SEED");
    const unsigned seed = text ? static_cast<unsigned>(strtoul(text, nullptr, 10)) : 1;
    for (unsigned i = 0; i < 4; i++) {
        const uint32_t start = i % 2 ? UINT32_MAX - 20000 : uint32_t{1} << 31;
        auto walk = std::make_unique<Walk>(seed * 4 + i, start - (i % 2 ? 0 : 20000));
        walk->run(25000);
        assert_true(walk->board.head < UINT32_MAX - 5000); // the ring's positions passed 2^32
        assert_true(walk->model.una - start < uint32_t{1} << 30 && walk->model.una - start > 20000);
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_ack_in_order),
        cmocka_unit_test(test_ack_with_syn_and_fin),
        cmocka_unit_test(test_ack_in_part),
        cmocka_unit_test(test_sack_spares_whole_segments),
        cmocka_unit_test(test_sack_outside),
        cmocka_unit_test(test_lost_and_sent_again),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_forget_sacks_and_clear),
        cmocka_unit_test(test_reordering),
        cmocka_unit_test(test_rtt_of_once_sent),
        cmocka_unit_test(test_rtt_is_never_none),
        cmocka_unit_test(test_newest_by_time_then_end),
        cmocka_unit_test(test_random_walk),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
