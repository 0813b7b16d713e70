// SPDX-License-Identifier: MIT
// The receiver's side of the sequence space: order, gaps, every shape of overlap with what it repeats (RFC
// 2883), the order of SACK blocks (RFC 2018), limits of entries and bytes, numbers that wrap; then all of it
// at random against a map of single bytes. That every frame is released exactly once is checked throughout.
#include "../../lib/tcp/reassembly.h"
#include "frame_pool.h"
#include <initializer_list>
#include <set>

namespace {

using wx::FrameId;
using wx::Placed;

const char *placed_text(Placed placed) {
    static const char *const names[] = {"in_order", "filled", "held", "duplicate", "no_room"};
    return names[static_cast<int>(placed)];
}

struct Assembly {
    FramePool pool;
    std::vector<wx::RxPiece> memory;
    wx::Reassembly r;
    uint32_t base;

    explicit Assembly(uint32_t ready = 8, uint32_t held = 8, uint32_t budget = 1000, uint32_t first = 0)
        : memory(ready + held), base(first) {
        assert_int_equal(wx::reassembly_bytes(ready, held), memory.size() * sizeof memory[0]);
        wx::reassembly_open(&r, memory.data(), ready, held, budget, first);
    }
    ~Assembly() { wx::reassembly_clear(&r, pool.release()); }
    static bool kept(Placed placed) {
        return placed == Placed::in_order || placed == Placed::filled || placed == Placed::held;
    }
    // Positions count from the first sequence number.
    Placed add(uint32_t at, const std::string &bytes, wx::SackBlock *repeated) {
        FrameId frame;
        const wx::ByteView payload = pool.make(bytes, &frame);
        const Placed placed = wx::reassembly_add(&r, base + at, payload, frame, pool.release(), repeated);
        if (!kept(placed)) pool.take_back(frame); // fails when it was released
        return placed;
    }
    void check(uint32_t at, const std::string &bytes, Placed wanted, uint32_t repeated_begin = 0,
               uint32_t repeated_end = 0) {
        wx::SackBlock repeated = {1, 2};
        const Placed placed = add(at, bytes, &repeated);
        if (placed != wanted)
            fail_msg("at %u \"%s\": %s, wanted %s", at, bytes.c_str(), placed_text(placed),
                     placed_text(wanted));
        const uint32_t begin = repeated.begin - base, end = repeated.end - base;
        if (repeated_begin == repeated_end ? begin != end : begin != repeated_begin || end != repeated_end)
            fail_msg("at %u \"%s\" repeats %u to %u, wanted %u to %u", at, bytes.c_str(), begin, end,
                     repeated_begin, repeated_end);
    }
    std::string unread() {
        std::vector<wx::TcpView> views(memory.size() + 1);
        std::string all;
        const uint32_t count = wx::reassembly_views(&r, views.data(), static_cast<uint32_t>(views.size()));
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(pool.live.count(views[i].frame), 1);
            all.append(reinterpret_cast<const char *>(views[i].data), views[i].size);
        }
        return all;
    }
    void consume(uint32_t bytes) { wx::reassembly_consume(&r, bytes, pool.release()); }
    void check_unread(const char *wanted) {
        assert_string_equal(unread().c_str(), wanted);
        assert_int_equal(wx::reassembly_unread(&r), strlen(wanted));
    }
    // "20-30 5-8", positions as above
    std::string sacks(unsigned cap = wx::tcp_sack_max) {
        wx::SackBlock blocks[wx::tcp_sack_max + 2];
        const unsigned count = wx::reassembly_sacks(&r, blocks, cap);
        assert_true(count <= cap && count <= wx::tcp_sack_max);
        std::string all;
        for (unsigned i = 0; i < count; i++)
            all += (i ? " " : "") + std::to_string(blocks[i].begin - base) + "-" +
                   std::to_string(blocks[i].end - base);
        return all;
    }
    void check_sacks(const char *wanted) { assert_string_equal(sacks().c_str(), wanted); }
};

void test_in_order(void **) {
    Assembly t;
    t.check(0, "abc", Placed::in_order);
    t.check(3, "de", Placed::in_order);
    t.check(5, "", Placed::duplicate);
    t.check(2, "", Placed::duplicate);
    t.check(9, "", Placed::duplicate);
    t.check_unread("abcde");
    wx::TcpView one;
    assert_int_equal(wx::reassembly_views(&t.r, &one, 1), 1);
    assert_int_equal(one.size, 3);
    assert_int_equal(one.frame, 1001);
    assert_int_equal(wx::reassembly_views(&t.r, &one, 0), 0);
    t.consume(2); // the frame's last byte is not consumed
    assert_int_equal(t.pool.released.size(), 0);
    t.check_unread("cde");
    t.consume(1);
    assert_int_equal(t.pool.released.size(), 1);
    t.consume(0);
    t.consume(100); // more than there is
    assert_int_equal(t.pool.live.size(), 0);
    assert_int_equal(t.r.read, 5);
    t.check_unread("");
    t.check_sacks("");
}

void test_gaps(void **) {
    Assembly t;
    t.check(3, "def", Placed::held);
    t.check(9, "jkl", Placed::held);
    t.check_unread("");
    t.check(0, "abc", Placed::filled);
    t.check_unread("abcdef");
    assert_int_equal(t.r.held_bytes, 3);
    t.check(6, "g", Placed::in_order); // fills only a part of the gap
    t.check(7, "hi", Placed::filled);
    t.check_unread("abcdefghijkl");
    assert_int_equal(t.r.held_count, 0);
    assert_int_equal(t.r.held_bytes, 0);
}

void test_backwards(void **) {
    Assembly t(16, 16);
    for (uint32_t i = 10; i > 0; i--) t.check(i, std::string(1, static_cast<char>('a' + i)), Placed::held);
    t.check_sacks("1-11");
    t.check(0, "a", Placed::filled);
    t.check_unread("abcdefghijk");
    t.check_sacks("");
}

// What was here already is below `next`.
void test_repeated_below(void **) {
    Assembly t;
    t.check(0, "abcdef", Placed::in_order);
    t.check(0, "ABCDEF", Placed::duplicate, 0, 6);
    t.check(2, "CD", Placed::duplicate, 2, 4);
    t.consume(3);
    t.check(0, "AB", Placed::duplicate, 0, 2); // already read
    t.check(1, "BCDEFgh", Placed::in_order, 1, 6);
    t.check_unread("defgh");
    t.check(10, "kl", Placed::held);
    t.check(6, "GHij", Placed::filled, 6, 8);
    t.check_unread("defghijkl");
}

struct Shape {
    uint32_t at;
    const char *bytes;
    Placed placed;
    uint32_t repeated_begin, repeated_end;
    const char *sacks;
    const char *unread; // when everything is filled up with dots
    size_t released;    // held pieces that gave way
};

// One piece against two held ones, [10, 14) and [20, 24).
void test_overlap_shapes(void **) {
    const Shape shapes[] = {
        {5, "ABC", Placed::held, 0, 0, "5-8 20-24 10-14", ".....ABC..cdef......mnop....", 0},
        {6, "ABCD", Placed::held, 0, 0, "6-14 20-24", "......ABCDcdef......mnop....", 0},       // adjoins
        {8, "ABCD", Placed::held, 10, 12, "8-14 20-24", "........ABcdef......mnop....", 0},     // its tail
        {8, "ABCDEF", Placed::held, 10, 14, "8-14 20-24", "........ABCDEF......mnop....", 1},   // to its end
        {8, "ABCDEFGH", Placed::held, 10, 14, "8-16 20-24", "........ABCDEFGH....mnop....", 1}, // whole
        {10, "ABCD", Placed::duplicate, 10, 14, "10-14 20-24", "..........cdef......mnop....", 0}, // the same
        {10, "AB", Placed::duplicate, 10, 12, "10-14 20-24", "..........cdef......mnop....", 0},   // its head
        {11, "BC", Placed::duplicate, 11, 13, "10-14 20-24", "..........cdef......mnop....", 0}, // its middle
        {12, "CD", Placed::duplicate, 12, 14, "10-14 20-24", "..........cdef......mnop....", 0}, // its end
        {20, "ABCD", Placed::duplicate, 20, 24, "20-24 10-14", "..........cdef......mnop....", 0},
        {10, "ABCDEF", Placed::held, 10, 14, "10-16 20-24", "..........ABCDEF....mnop....",
         1},                                                                                  // from its head
        {12, "CDEF", Placed::held, 12, 14, "10-16 20-24", "..........cdefEF....mnop....", 0}, // on from it
        {14, "EF", Placed::held, 0, 0, "10-16 20-24", "..........cdefEF....mnop....", 0},     // adjoins
        {14, "EFGHIJ", Placed::held, 0, 0, "10-24", "..........cdefEFGHIJmnop....", 0},       // between
        {12, "CDEFGHIJKL", Placed::held, 12, 14, "10-24", "..........cdefEFGHIJmnop....", 0}, // both
        {10, "ABCDEFGHIJKL", Placed::held, 10, 14, "10-24", "..........ABCDEFGHIJmnop....", 1}, // one whole
        {12, "CDEFGHIJKLMN", Placed::held, 12, 14, "10-24", "..........cdefEFGHIJKLMN....", 1}, // the other
        {10, "ABCDEFGHIJKLMN", Placed::held, 10, 14, "10-24", "..........ABCDEFGHIJKLMN....",
         2}, // both whole
        {8, "ABCDEFGHIJKLMNOPQR", Placed::held, 10, 14, "8-26", "........ABCDEFGHIJKLMNOPQR..",
         2}, // and more
        {16, "ABCDEF", Placed::held, 20, 22, "16-24 10-14", "..........cdef..ABCDmnop....", 0},
        {22, "OPQR", Placed::held, 22, 24, "20-26 10-14", "..........cdef......mnopQR..", 0},
        {26, "AB", Placed::held, 0, 0, "26-28 20-24 10-14", "..........cdef......mnop..AB", 0},
        {0, "ABCDEFGHIJKL", Placed::filled, 10, 12, "20-24", "ABCDEFGHIJcdef......mnop....", 0},
        {0, "ABCDEFGHIJKLMN", Placed::filled, 10, 14, "20-24", "ABCDEFGHIJKLMN......mnop....", 1},
        {0, "ABCDEFGHIJKLMNOPQRSTU", Placed::filled, 10, 14, "", "ABCDEFGHIJKLMNOPQRSTmnop....", 1},
        {0, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", Placed::filled, 10, 14, "", "ABCDEFGHIJKLMNOPQRSTUVWXYZ..", 2},
    };
    for (uint32_t first : {0u, 0xFFFFFFEBu, 0xFFFFFFF5u, 0x7FFFFFF0u}) {
        for (const Shape &s : shapes) {
            Assembly t(32, 32, 1000, first);
            t.check(10, "cdef", Placed::held);
            t.check(20, "mnop", Placed::held);
            t.check(s.at, s.bytes, s.placed, s.repeated_begin, s.repeated_end);
            t.check_sacks(s.sacks);
            assert_int_equal(t.pool.released.size(), s.released);
            // What is held takes part in nothing but overlaps: single bytes fill up what is missing.
            for (uint32_t i = 0; i < 28; i++) {
                wx::SackBlock repeated;
                t.add(i, ".", &repeated);
            }
            t.check_unread(s.unread);
            t.consume(28);
            assert_int_equal(t.pool.live.size(), 0);
        }
    }
}

// Held pieces that adjoin are one range, whatever arrived as what.
void test_repeated_over_pieces(void **) {
    Assembly t;
    t.check(10, "ab", Placed::held);
    t.check(12, "cd", Placed::held);
    t.check(16, "ef", Placed::held);
    t.check(10, "ABCD", Placed::duplicate, 10, 14); // no single piece has all of it
    t.check(11, "BC", Placed::duplicate, 11, 13);
    assert_int_equal(t.pool.released.size(), 0);
    t.check(9, "ABCDEF", Placed::held, 10, 14);
    assert_int_equal(t.pool.released.size(), 2);
    t.check(8, "zABCDEFGH", Placed::held, 9, 15); // the first range only
    t.check_sacks("8-18");
}

// RFC 2018 section 4: the block with the newest piece is the first, then those reported last.
void test_sack_order(void **) {
    Assembly t(8, 16);
    t.check(10, "ab", Placed::held);
    t.check_sacks("10-12");
    t.check(30, "ab", Placed::held);
    t.check_sacks("30-32 10-12");
    t.check(20, "ab", Placed::held);
    t.check_sacks("20-22 30-32 10-12");
    t.check(40, "ab", Placed::held);
    t.check(50, "ab", Placed::held);
    t.check_sacks("50-52 40-42 20-22 30-32"); // the oldest is left out
    assert_string_equal(t.sacks(3).c_str(), "50-52 40-42 20-22");
    assert_string_equal(t.sacks(1).c_str(), "50-52");
    assert_string_equal(t.sacks(0).c_str(), "");
    assert_string_equal(t.sacks(5).c_str(), "50-52 40-42 20-22 30-32"); // a header has no place for more
    t.check(12, "c", Placed::held);                                     // the oldest grows and is the newest
    t.check_sacks("10-13 50-52 40-42 20-22");
    t.check(22, "cdefghij", Placed::held); // two become one
    t.check_sacks("20-32 10-13 50-52 40-42");
    t.check(41, "b", Placed::duplicate, 41, 42); // came again: RFC 2883 section 4
    t.check_sacks("40-42 20-32 10-13 50-52");
    t.check(0, "0123456789", Placed::filled);
    t.check_sacks("40-42 20-32 50-52");
    t.check(0, "0", Placed::duplicate, 0, 1); // below: nothing changes
    t.check_sacks("40-42 20-32 50-52");
    t.check(13, "0123456", Placed::filled);
    t.check_sacks("40-42 50-52");
    // The count of pieces wraps.
    t.r.held[0].stamp = 0xFFFFFFFEu;
    t.r.held[1].stamp = 0xFFFFFFFDu;
    t.r.stamp = 0xFFFFFFFEu;
    for (uint32_t at : {60u, 70u, 80u}) t.check(at, "ab", Placed::held);
    t.check_sacks("80-82 70-72 60-62 40-42");
    t.check(62, "c", Placed::held); // within a block, too
    t.check_sacks("60-63 80-82 70-72 40-42");
}

void test_budget(void **) {
    Assembly t(8, 8, 10);
    t.check(10, "abcdef", Placed::held);
    t.check(20, "abcde", Placed::no_room);
    t.check(20, "abcd", Placed::held);
    t.check(30, "x", Placed::no_room);
    assert_int_equal(t.r.held_bytes, 10);
    t.check(9, "ABC", Placed::no_room, 10, 12); // one new byte is one too many
    t.check_sacks("20-24 10-16");
    t.check(10, "ABCDEF", Placed::duplicate, 10, 16); // needs none
    t.check(9, "ABCDEFG", Placed::no_room, 10, 16);   // whole, and one more byte
    assert_int_equal(t.pool.released.size(), 0);
    assert_string_equal(t.sacks().c_str(), "10-16 20-24");
    t.check(0, "0123456789", Placed::filled); // in order costs no budget, and gives some back
    assert_int_equal(t.r.held_bytes, 4);
    t.check(30, "abcdef", Placed::held);
    t.check(40, "x", Placed::no_room);
    t.consume(3);
    t.check_unread("3456789abcdef");
}

void test_entries(void **) {
    Assembly t(8, 2);
    t.check(10, "ab", Placed::held);
    t.check(20, "cd", Placed::held);
    t.check(30, "ef", Placed::no_room);
    t.check(15, "ef", Placed::no_room);
    t.check(12, "CDEFGH", Placed::no_room); // within the budget, but it would be a third piece
    t.check(9, "AB", Placed::no_room, 10, 11);
    t.check(11, "B", Placed::duplicate, 11, 12);
    t.check_sacks("10-12 20-22");
    t.check(0, "0123456789", Placed::filled);
    t.check(15, "ef", Placed::held);
}

void test_entries_given_back(void **) {
    Assembly t(8, 2, 6);
    t.check(10, "ab", Placed::held);
    t.check(20, "cd", Placed::held);
    t.check(9, "ABCD", Placed::held, 10, 12); // takes the place of the one that it covers
    assert_int_equal(t.pool.released.size(), 1);
    t.check_sacks("9-13 20-22");
    t.check(8, "0ABCDE", Placed::no_room, 9, 13); // covers one, but is more than the budget leaves
    t.check_sacks("9-13 20-22");
    assert_int_equal(t.r.held_bytes, 6);
    assert_int_equal(t.pool.released.size(), 1);
    t.check(0, "012345678", Placed::filled);
    t.check_unread("012345678ABCD");
}

void test_none_held(void **) {
    Assembly t(2, 0, 1000);
    t.check(1, "b", Placed::no_room);
    t.check(0, "a", Placed::in_order);
    t.check(0, "ab", Placed::in_order, 0, 1);
    t.check(2, "c", Placed::no_room); // `ready` is full
    t.check(1, "bc", Placed::no_room, 1, 2);
    t.check(1, "b", Placed::duplicate, 1, 2);
    assert_int_equal(t.r.next, 2);
    t.consume(1);
    t.check(2, "c", Placed::in_order);
    t.check_unread("bc");
    t.consume(1);
    wx::SackBlock repeated;
    const wx::ByteView huge(t.memory.data(), wx::rx_piece_max + 1); // refused before it is looked at
    assert_true(wx::reassembly_add(&t.r, 3, huge, 1, t.pool.release(), &repeated) == Placed::no_room);
}

// `next` does not advance over what `ready` has no entry for; consuming makes up for it.
void test_ready_full(void **) {
    Assembly t(2, 8);
    for (uint32_t at : {2u, 4u, 6u, 8u, 14u}) t.check(at, "xy", Placed::held);
    t.check(0, "ab", Placed::filled);
    t.check_unread("abxy");
    assert_int_equal(t.r.next, 4);
    assert_int_equal(t.r.held_count, 4);
    assert_int_equal(t.r.held_bytes, 8);
    t.check_sacks("14-16");                       // nothing is missing before 4: it is not reported
    t.check(3, "YXYXY", Placed::duplicate, 3, 8); // partly below, partly held
    t.check(4, "XY", Placed::duplicate, 4, 6);
    t.check(9, "Yabc", Placed::held, 9, 10); // on from what waits
    t.check(4, "XYXYXYabcde", Placed::held, 4, 13);
    t.check_sacks("");
    t.consume(1);
    assert_int_equal(t.r.next, 4); // no entry came free
    t.consume(1);
    assert_int_equal(t.r.next, 6);
    t.check_unread("xyxy");
    t.consume(4);
    t.check_unread("xyxy");
    t.consume(4);
    t.check_unread("abcd");
    t.consume(4);
    t.check_unread("xy");
    assert_int_equal(t.r.held_count, 0);
    t.check(16, "z", Placed::in_order);
    t.consume(3);
    assert_int_equal(t.pool.live.size(), 0);
}

// The last entry of `ready` goes to the piece that fills the gap.
void test_last_ready_entry(void **) {
    Assembly t(1, 4);
    t.check(2, "cd", Placed::held);
    t.check(0, "abC", Placed::in_order, 2, 3); // readable, but nothing that was held is
    t.check_unread("ab");
    assert_int_equal(t.r.held_count, 1);
    t.check(2, "CDE", Placed::held, 2, 4);
    t.consume(2);
    t.check_unread("cd");
    t.consume(2);
    t.check_unread("E");
    t.check(5, "F", Placed::no_room);
}

void test_clear(void **) {
    for (uint32_t first : {0u, 0xFFFFFFFCu}) {
        Assembly t(4, 4, 100, first);
        t.check(0, "abc", Placed::in_order);
        t.check(3, "def", Placed::in_order);
        t.check(10, "kl", Placed::held);
        t.check(14, "op", Placed::held);
        t.consume(4);
        wx::reassembly_clear(&t.r, t.pool.release());
        assert_int_equal(t.pool.live.size(), 0);
        assert_int_equal(t.pool.released.size(), 4);
        assert_int_equal(wx::reassembly_unread(&t.r), 0);
        t.check_sacks("");
        t.check(3, "def", Placed::duplicate, 3, 6); // what was received remains received
        t.check(6, "ghi", Placed::in_order);
        t.check_unread("ghi");
        assert_int_equal(t.r.held_bytes, 0);
    }
}

// ---- at random ----

// Every byte that is here, by its position: what it is, and which piece brought it.
struct Byte {
    char value;
    FrameId frame;
};

struct Model {
    std::map<uint64_t, Byte> held;
    std::map<FrameId, uint64_t> touched; // held pieces: when each came or came again
    std::vector<Byte> unread;            // from `read` on
    uint64_t next, time = 0;
    size_t ready_max, held_max, budget;

    bool here(uint64_t at) const { return at < next || held.count(at); }
    size_t ready_pieces() const {
        size_t count = 0;
        for (size_t i = 0; i < unread.size(); i++) count += i == 0 || unread[i].frame != unread[i - 1].frame;
        return count;
    }
    std::set<FrameId> frames() const {
        std::set<FrameId> all;
        for (const Byte &b : unread) all.insert(b.frame);
        for (const auto &b : held) all.insert(b.second.frame);
        return all;
    }
    // What follows `next` without a gap, as far as entries go.
    bool move() {
        bool moved = false;
        for (auto i = held.find(next); i != held.end() && ready_pieces() < ready_max; i = held.find(next)) {
            const FrameId frame = i->second.frame;
            for (; i != held.end() && i->first == next && i->second.frame == frame; i = held.erase(i), next++)
                unread.push_back(i->second);
            touched.erase(frame);
            moved = true;
        }
        return moved;
    }
    std::pair<uint64_t, uint64_t> repeated(uint64_t begin, uint64_t end) const {
        while (begin < end && !here(begin)) begin++;
        uint64_t stop = begin;
        while (stop < end && here(stop)) stop++;
        return {begin, stop};
    }
    // Pieces that lie within [begin, end) whole, and are not what waits for entries only.
    std::set<FrameId> covered(uint64_t begin, uint64_t end) const {
        std::set<FrameId> inside, outside;
        bool waits = true;
        uint64_t follows = next;
        for (const auto &b : held) {
            waits = waits && b.first == follows++;
            (b.first >= begin && b.first < end && !waits ? inside : outside).insert(b.second.frame);
        }
        for (FrameId frame : outside) inside.erase(frame);
        return inside;
    }
    Placed add(uint64_t begin, const std::string &bytes, FrameId frame) {
        const uint64_t end = begin + bytes.size();
        if (bytes.empty()) return Placed::duplicate;
        bool any_new = false;
        for (uint64_t at = begin; at < end; at++) any_new = any_new || !here(at);
        if (!any_new) {
            if (held.count(end - 1)) touched[held[end - 1].frame] = ++time;
            return Placed::duplicate;
        }
        const std::set<FrameId> gone = covered(begin, end);
        std::map<uint64_t, Byte> piece, rest;
        for (const auto &b : held)
            if (!gone.count(b.second.frame)) rest.insert(b);
        for (uint64_t at = begin; at < end; at++)
            if (at >= next && !rest.count(at)) piece[at] = {bytes[at - begin], frame};
        assert_int_equal(piece.rbegin()->first - piece.begin()->first + 1, piece.size()); // one piece
        if (piece.begin()->first == next) {
            if (ready_pieces() == ready_max) return Placed::no_room;
            held = rest;
            for (const auto &b : piece) unread.push_back(b.second);
            next += piece.size();
        } else {
            std::set<FrameId> pieces;
            for (const auto &b : rest) pieces.insert(b.second.frame);
            if (pieces.size() >= held_max || rest.size() + piece.size() > budget) return Placed::no_room;
            held = rest;
            held.insert(piece.begin(), piece.end());
            touched[frame] = ++time;
        }
        for (FrameId old : gone) touched.erase(old);
        if (piece.begin()->second.frame == frame && held.count(piece.begin()->first)) return Placed::held;
        return move() || !gone.empty() ? Placed::filled : Placed::in_order;
    }
    std::string sacks(uint64_t base) const {
        std::map<uint64_t, std::pair<uint64_t, uint64_t>> by_age;
        for (auto i = held.begin(); i != held.end();) {
            const uint64_t begin = i->first;
            uint64_t end = begin, newest = 0;
            for (; i != held.end() && i->first == end; ++i, end++)
                newest = std::max(newest, touched.at(i->second.frame));
            if (begin != next) by_age[newest] = {begin, end};
        }
        std::string all;
        unsigned count = 0;
        for (auto i = by_age.rbegin(); i != by_age.rend() && count < wx::tcp_sack_max; ++i, count++)
            all += (count ? " " : "") + std::to_string(i->second.first - base) + "-" +
                   std::to_string(i->second.second - base);
        return all;
    }
};

void check_state(Assembly *t, const Model &m, uint64_t base) {
    std::string wanted;
    for (const Byte &b : m.unread) wanted += b.value;
    assert_true(t->unread() == wanted);
    assert_int_equal(wx::reassembly_unread(&t->r), wanted.size());
    assert_int_equal(t->r.next, static_cast<uint32_t>(m.next));
    assert_int_equal(t->r.held_bytes, m.held.size());
    assert_int_equal(t->r.held_count, m.touched.size());
    const std::set<FrameId> frames = m.frames();
    assert_int_equal(t->pool.live.size(), frames.size());
    for (FrameId frame : frames) assert_int_equal(t->pool.live.count(frame), 1);
    assert_string_equal(t->sacks().c_str(), m.sacks(base).c_str());
}

// Mostly what comes next; else near it, before it, or exactly where something that is held begins or ends.
uint64_t place(Random *random, const Model &m) {
    const uint32_t kind = random->below(10);
    if (kind < 3 || m.next < 300) return m.next;
    if (kind == 3) return m.next - random->below(60);
    if (kind < 7 || m.held.empty()) return m.next + random->below(random->below(2) ? 30 : 250);
    auto i = m.held.lower_bound(m.next + random->below(200));
    if (i == m.held.end()) i = m.held.begin();
    while (random->below(8) && m.held.count(i->first + 1)) ++i;
    return i->first + random->below(2);
}

struct Seen {
    size_t placed[5] = {};
    size_t waiting = 0; // something waits for entries of `ready`
    size_t replaced = 0;
};

void random_round(Random *random, unsigned steps, Seen *seen) {
    const uint64_t base = (uint64_t{1} << 32) - random->below(4000);
    Model m;
    m.next = base;
    m.ready_max = size_t{1} << random->below(6);
    m.held_max = random->below(24);
    m.budget = random->below(500);
    Assembly t(static_cast<uint32_t>(m.ready_max), static_cast<uint32_t>(m.held_max),
               static_cast<uint32_t>(m.budget), static_cast<uint32_t>(base));
    for (unsigned i = 0; i < steps; i++) {
        const uint32_t kind = random->below(100);
        if (kind < 75) {
            const uint64_t at = place(random, m);
            const std::string bytes = random->bytes(random->below(random->below(3) ? 16 : 80));
            const auto repeated_wanted = m.repeated(at, at + bytes.size());
            wx::SackBlock repeated;
            const size_t released = t.pool.released.size();
            const FrameId frame = t.pool.last + 1;
            const Placed placed = t.add(static_cast<uint32_t>(at - base), bytes, &repeated);
            assert_string_equal(placed_text(placed), placed_text(m.add(at, bytes, frame)));
            assert_int_equal(repeated.end - repeated.begin, repeated_wanted.second - repeated_wanted.first);
            if (repeated.end != repeated.begin)
                assert_int_equal(repeated.begin, static_cast<uint32_t>(repeated_wanted.first));
            seen->placed[static_cast<int>(placed)]++;
            seen->replaced += t.pool.released.size() - released;
        } else if (kind < 99) {
            const size_t most = m.unread.size();
            const size_t count =
                random->below(static_cast<uint32_t>(random->below(3) ? most + 1 : most / 3 + 1));
            t.consume(static_cast<uint32_t>(random->below(9) ? count : most + count));
            const size_t gone = t.r.read - static_cast<uint32_t>(m.next - most);
            assert_true(gone == count || gone == most);
            m.unread.erase(m.unread.begin(), m.unread.begin() + static_cast<ptrdiff_t>(gone));
            m.move();
        } else if (random->below(10) == 0) {
            wx::reassembly_clear(&t.r, t.pool.release());
            m.held.clear();
            m.touched.clear();
            m.unread.clear();
        }
        seen->waiting += m.held.count(m.next);
        check_state(&t, m, base);
    }
}

void test_random(void **) {
    Random random;
    print_message("seed %lu\n", random.seed);
    Seen seen;
    for (int round = 0; round < 400; round++) random_round(&random, 500, &seen);
    for (size_t count : seen.placed) assert_true(count > 2000); // it did come to what matters
    assert_true(seen.waiting > 2000 && seen.replaced > 2000);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_in_order),         cmocka_unit_test(test_gaps),
        cmocka_unit_test(test_backwards),        cmocka_unit_test(test_repeated_below),
        cmocka_unit_test(test_overlap_shapes),   cmocka_unit_test(test_repeated_over_pieces),
        cmocka_unit_test(test_sack_order),       cmocka_unit_test(test_budget),
        cmocka_unit_test(test_entries),          cmocka_unit_test(test_entries_given_back),
        cmocka_unit_test(test_none_held),        cmocka_unit_test(test_ready_full),
        cmocka_unit_test(test_last_ready_entry), cmocka_unit_test(test_clear),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests_name("tcp: reassembly", tests, nullptr, nullptr);
}
