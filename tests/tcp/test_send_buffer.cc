// SPDX-License-Identifier: MIT
// The retransmit buffer: what it takes and refuses, views over one chunk and several, their sums at odd
// offsets, release by acknowledgement and at once, sequence numbers that wrap; then all of it at random
// against a plain queue of bytes that keeps nothing but what was added.
#include "../../lib/tcp/send_buffer.h"
#include "frame_pool.h"
#include <deque>
#include <initializer_list>

namespace {

using wx::ByteView;
using wx::FrameId;

struct Buffer {
    FramePool pool;
    std::vector<wx::SendBuffer::Entry> memory;
    wx::SendBuffer b;

    Buffer(uint32_t capacity, uint32_t limit, uint32_t first) : memory(capacity) {
        assert_int_equal(wx::send_buffer_bytes(capacity), capacity * sizeof memory[0]);
        wx::send_buffer_open(&b, memory.data(), capacity, limit, first);
    }
    ~Buffer() { wx::send_buffer_clear(&b, pool.release()); }
    // The frame, or no_frame when it was refused.
    FrameId add(const std::string &bytes, bool push = false, bool with_sum = false) {
        wx::TcpChunk chunk;
        ByteView data = pool.make(bytes, &chunk.frame);
        chunk.data = data.data;
        chunk.size = static_cast<uint32_t>(data.size);
        chunk.push = push;
        chunk.has_sum = with_sum;
        if (with_sum) chunk.sum = wx::checksum_sum(data.data, data.size);
        if (wx::send_buffer_add(&b, chunk)) return chunk.frame;
        pool.take_back(chunk.frame);
        return wx::no_frame;
    }
    wx::SendPieces view(uint32_t seq, uint32_t size, bool join) {
        wx::SendPieces out;
        memset(static_cast<void *>(&out), 0xA5, sizeof out); // nothing may be left from before
        wx::send_buffer_view(&b, seq, size, join, &out);
        return out;
    }
    void acked(uint32_t seq) { wx::send_buffer_acked(&b, seq, pool.release()); }
};

std::string text(const wx::SendPieces &out) {
    std::string all;
    for (unsigned i = 0; i < out.count; i++) all += str(out.pieces[i]);
    return all;
}

// RFC 1071 as it is written: words of two bytes, the last one filled up with zero.
uint32_t plain_sum(std::string bytes) {
    if (bytes.size() & 1) bytes += '\0';
    uint64_t sum = 0;
    for (size_t i = 0; i < bytes.size(); i += 2) {
        uint16_t word;
        memcpy(&word, bytes.data() + i, 2);
        sum += word;
    }
    return static_cast<uint32_t>(sum % 0xFFFF); // 0 and all ones are the same number
}

void check_view(const wx::SendPieces &out, const std::string &wanted, unsigned count, bool push, bool whole,
                FrameId frame) {
    assert_string_equal(text(out).c_str(), wanted.c_str());
    assert_int_equal(out.size, wanted.size());
    assert_int_equal(out.count, count);
    assert_int_equal(out.push, push);
    assert_int_equal(out.whole, whole);
    assert_int_equal(out.frame, frame);
    assert_true(out.sum < 0x20000);
    assert_int_equal(out.sum % 0xFFFF, plain_sum(wanted));
}

void test_takes_and_refuses(void **) {
    Buffer t(4, 10, 100);
    assert_int_equal(wx::send_buffer_room(&t.b), 10);
    assert_true(t.add("") == wx::no_frame);
    const FrameId first = t.add("abcd");
    assert_true(first != wx::no_frame);
    assert_int_equal(wx::send_buffer_room(&t.b), 6);
    assert_true(t.add("1234567") == wx::no_frame); // one byte too many: nothing is taken
    assert_int_equal(wx::send_buffer_held(&t.b), 4);
    assert_true(t.add("123456") != wx::no_frame);
    assert_int_equal(wx::send_buffer_room(&t.b), 0);
    assert_true(t.add("x") == wx::no_frame);
    t.acked(102); // bytes count, not chunks: two of the first are acknowledged
    assert_int_equal(wx::send_buffer_room(&t.b), 2);
    assert_true(t.add("xy") != wx::no_frame);
    assert_int_equal(t.pool.released.size(), 0);
}

void test_entries_used_up(void **) {
    Buffer t(4, 1000, 0);
    for (int i = 0; i < 4; i++) assert_true(t.add("a") != wx::no_frame);
    assert_int_equal(wx::send_buffer_room(&t.b), 0);
    assert_true(t.add("a") == wx::no_frame);
    t.acked(1);
    assert_int_equal(wx::send_buffer_room(&t.b), 997);
    assert_true(t.add("bc") != wx::no_frame);
    check_view(t.view(3, 9, true), "abc", 2, false, false, t.pool.last - 1 - 1);
}

void test_empty_takes_any(void **) {
    Buffer t(2, 4, 0);
    const FrameId big = t.add("larger than the limit");
    assert_true(big != wx::no_frame);
    assert_int_equal(wx::send_buffer_room(&t.b), 0);
    assert_true(t.add("x") == wx::no_frame);
    check_view(t.view(0, 100, false), "larger than the limit", 1, false, true, big);
    t.acked(21);
    assert_int_equal(wx::send_buffer_room(&t.b), 4);
    // But not what sequence numbers could not tell apart. The bytes are never looked at.
    wx::TcpChunk chunk;
    chunk.data = reinterpret_cast<const uint8_t *>("");
    chunk.size = wx::send_held_max + 1;
    assert_false(wx::send_buffer_add(&t.b, chunk));
    chunk.size = wx::send_held_max;
    assert_true(wx::send_buffer_add(&t.b, chunk));
    t.acked(21 + wx::send_held_max);
    assert_int_equal(wx::send_buffer_held(&t.b), 0);
    wx::send_buffer_open(&t.b, t.memory.data(), 2, ~uint32_t{0}, 0);
    assert_int_equal(wx::send_buffer_room(&t.b), wx::send_held_max);
}

void test_views(void **) {
    Buffer t(16, 1000, 50);
    const FrameId a = t.add("abcde", false), b = t.add("fg", true), c = t.add("hijk", true);
    check_view(t.view(50, 3, true), "abc", 1, false, false, a);
    check_view(t.view(53, 9, false), "de", 1, false, false, a);
    check_view(t.view(53, 4, true), "defg", 2, true, false, a); // ends with a chunk that wants it
    check_view(t.view(53, 3, true), "def", 2, false, false, a);
    check_view(t.view(53, 5, true), "defgh", 3, false, false, a); // the push is within
    check_view(t.view(55, 2, true), "fg", 1, true, true, b);
    check_view(t.view(55, 2, false), "fg", 1, true, true, b);
    check_view(t.view(56, 1, false), "g", 1, true, false, b);
    check_view(t.view(57, 100, true), "hijk", 1, true, true, c);
    check_view(t.view(50, 100, true), "abcdefghijk", 3, true, false, a);
    check_view(t.view(50, 5, true), "abcde", 1, false, true, a);
    check_view(t.view(50, 0, true), "", 0, false, false, wx::no_frame);
    check_view(t.view(49, 1, true), "", 0, false, false, wx::no_frame);
    check_view(t.view(61, 1, true), "", 0, false, false, wx::no_frame);
    t.acked(52); // within the first chunk: it stays, what is before `begin` is not shown
    check_view(t.view(51, 9, true), "", 0, false, false, wx::no_frame);
    check_view(t.view(52, 9, false), "cde", 1, false, false, a);
}

void test_pieces_max(void **) {
    Buffer t(16, 1000, 7);
    std::string all;
    for (int i = 0; i < 12; i++) {
        const std::string one(static_cast<size_t>(1 + i % 3), static_cast<char>('a' + i));
        all += one;
        t.add(one, i == 7, i % 2 == 0);
    }
    check_view(t.view(7, 1000, true), all.substr(0, 15), wx::send_pieces_max, true, false, 1001);
    check_view(t.view(22, 1000, true), all.substr(15), 4, false, false, 1009); // goes on where that ended
    check_view(t.view(9, 14, true), all.substr(2, 14), wx::send_pieces_max, false, false, 1002);
}

void test_sums(void **) {
    // A sum that the chunk brings is taken, not made again: this one is wrong on purpose.
    Buffer t(8, 1000, 0);
    wx::TcpChunk chunk;
    ByteView data = t.pool.make("abc", &chunk.frame);
    chunk.data = data.data;
    chunk.size = 3;
    chunk.has_sum = true;
    chunk.sum = 0x1234;
    assert_true(wx::send_buffer_add(&t.b, chunk));
    data = t.pool.make("defg", &chunk.frame);
    chunk.data = data.data;
    chunk.size = 4;
    chunk.sum = 0xFFFF + 0x0102; // with its carry not yet folded in
    assert_true(wx::send_buffer_add(&t.b, chunk));
    assert_int_equal(t.view(0, 3, false).sum, 0x1234);
    assert_int_equal(t.view(0, 2, false).sum % 0xFFFF, plain_sum("ab"));
    assert_int_equal(t.view(1, 2, true).sum % 0xFFFF, plain_sum("bc"));
    // The second part begins at an odd offset: its bytes change places.
    assert_int_equal(t.view(0, 7, true).sum % 0xFFFF, (0x1234 + 0x0201) % 0xFFFF);
    assert_int_equal(t.view(1, 6, true).sum % 0xFFFF, (plain_sum("bc") + 0x0102) % 0xFFFF);
    assert_int_equal(t.view(0, 6, true).sum % 0xFFFF, (0x1234 + plain_sum(std::string("\0def", 4))) % 0xFFFF);
}

void test_acked(void **) {
    Buffer t(8, 1000, 10);
    const FrameId a = t.add("abc"), b = t.add("defg"), c = t.add("hi");
    t.acked(10);
    t.acked(5); // old
    t.acked(12);
    assert_int_equal(t.pool.released.size(), 0);
    assert_int_equal(wx::send_buffer_held(&t.b), 7);
    t.acked(13);
    assert_int_equal(t.pool.released.size(), 1);
    assert_int_equal(t.pool.released[0], a);
    t.acked(12); // older than what is known
    assert_int_equal(t.b.begin, 13);
    t.acked(16);
    assert_int_equal(t.pool.released.size(), 1);
    t.acked(20); // the FIN's: one past the last byte
    assert_int_equal(t.pool.released.size(), 3);
    assert_int_equal(t.pool.released[1], b);
    assert_int_equal(t.pool.released[2], c);
    assert_int_equal(t.b.begin, 19);
    assert_int_equal(t.b.end, 19);
    assert_int_equal(t.pool.live.size(), 0);
    t.acked(19);
    assert_int_equal(t.pool.released.size(), 3);
}

void test_wrap(void **) {
    Buffer t(4, 100, 0xFFFFFFF8u);
    const FrameId a = t.add("01234"), b = t.add("56789abc", true), c = t.add("def");
    assert_int_equal(t.b.end, 8);
    check_view(t.view(0xFFFFFFFFu, 3, true), "789", 1, false, false, b);
    check_view(t.view(0, 50, true), "89abcdef", 2, false, false, b);
    check_view(t.view(0xFFFFFFF8u, 50, true), "0123456789abcdef", 3, false, false, a);
    t.acked(0xFFFFFFFFu);
    assert_int_equal(t.pool.released.size(), 1);
    assert_int_equal(wx::send_buffer_held(&t.b), 9);
    t.acked(0);
    assert_int_equal(t.pool.released.size(), 1);
    t.acked(0xFFFFFFFFu); // old, although a larger number
    assert_int_equal(t.b.begin, 0);
    t.acked(5);
    assert_int_equal(t.pool.released.size(), 2);
    check_view(t.view(5, 50, true), "def", 1, false, true, c);
}

// The numbers of entries run on freely and wrap too.
void test_entry_numbers_wrap(void **) {
    Buffer t(4, 100, 0);
    t.b.head = t.b.tail = 0xFFFFFFFEu;
    t.b.cursor = t.b.head - 1;
    for (const char *part : {"ab", "cd", "ef", "gh"}) assert_true(t.add(part) != wx::no_frame);
    assert_true(t.add("x") == wx::no_frame);
    check_view(t.view(0, 9, true), "abcdefgh", 4, false, false, 1001);
    check_view(t.view(1, 4, true), "bcde", 3, false, false, 1001);
    check_view(t.view(5, 1, true), "f", 1, false, false, 1003);
    t.acked(5);
    assert_int_equal(t.pool.released.size(), 2);
    check_view(t.view(6, 9, true), "gh", 1, false, true, 1004);
}

void test_clear(void **) {
    Buffer t(4, 100, 9);
    for (const char *part : {"ab", "cd", "ef"}) t.add(part);
    t.acked(12);
    wx::send_buffer_clear(&t.b, t.pool.release());
    assert_int_equal(t.pool.live.size(), 0);
    assert_int_equal(t.pool.released.size(), 3);
    assert_int_equal(wx::send_buffer_held(&t.b), 0);
    assert_int_equal(t.b.begin, 15); // what was queued has had its numbers
    const FrameId again = t.add("xyz");
    check_view(t.view(15, 9, true), "xyz", 1, false, true, again);
    wx::send_buffer_clear(&t.b, wx::FrameRelease()); // nobody wants to know
    t.pool.live.clear();
    assert_int_equal(wx::send_buffer_room(&t.b), 100);
}

// ---- at random ----

struct ModelChunk {
    std::string bytes;
    bool push;
    FrameId frame;
};

struct Model {
    std::deque<ModelChunk> chunks;
    uint32_t skip = 0; // bytes of the first one that are acknowledged
    uint32_t begin = 0;
    size_t limit, capacity;

    size_t held() const {
        size_t sum = 0;
        for (const ModelChunk &c : chunks) sum += c.bytes.size();
        return sum - skip;
    }
    bool takes(size_t size) const {
        return size != 0 && chunks.size() < capacity && (chunks.empty() || held() + size <= limit);
    }
    void acked(size_t count) {
        begin += static_cast<uint32_t>(count);
        skip += static_cast<uint32_t>(count);
        while (!chunks.empty() && chunks.front().bytes.size() <= skip) {
            skip -= static_cast<uint32_t>(chunks.front().bytes.size());
            chunks.pop_front();
        }
    }
    // Byte by byte, starting a piece at each chunk.
    void check(const wx::SendPieces &out, size_t offset, size_t size, bool join) const {
        std::string wanted;
        unsigned pieces = 0;
        bool push = false, whole = false;
        FrameId frame = wx::no_frame;
        size_t at = 0;
        offset += skip;
        for (const ModelChunk &c : chunks) {
            bool begun = false;
            for (size_t i = 0; i < c.bytes.size(); i++, at++) {
                if (at < offset || wanted.size() == size) continue;
                if (!begun && pieces == (join ? wx::send_pieces_max : 1)) continue;
                if (!begun && ++pieces == 1) frame = c.frame;
                begun = true;
                wanted += c.bytes[i];
                push = i + 1 == c.bytes.size() && c.push;
                whole = pieces == 1 && wanted.size() == c.bytes.size();
            }
        }
        assert_true(text(out) == wanted);
        assert_int_equal(out.size, wanted.size());
        assert_int_equal(out.count, pieces);
        assert_int_equal(out.push, push);
        assert_int_equal(out.whole, whole);
        assert_int_equal(out.frame, frame);
        assert_int_equal(out.sum % 0xFFFF, plain_sum(wanted));
    }
};

void check_state(const Buffer &t, const Model &m) {
    const size_t held = m.held();
    assert_int_equal(t.b.begin, m.begin);
    assert_int_equal(wx::send_buffer_held(&t.b), held);
    assert_int_equal(wx::send_buffer_room(&t.b),
                     m.chunks.size() == m.capacity || held >= m.limit ? 0 : m.limit - held);
    assert_int_equal(t.pool.live.size(), m.chunks.size());
    for (const ModelChunk &c : m.chunks) assert_int_equal(t.pool.live.count(c.frame), 1);
}

void random_round(Random &random, unsigned steps, size_t *joined, size_t *refused) {
    Model m;
    m.capacity = size_t{1} << random.below(6);
    m.limit = 1 + random.below(400);
    m.begin = 0u - random.below(3000);
    Buffer t(static_cast<uint32_t>(m.capacity), static_cast<uint32_t>(m.limit), m.begin);
    uint32_t sent = m.begin;
    for (unsigned i = 0; i < steps; i++) {
        const uint32_t held = static_cast<uint32_t>(m.held());
        const uint32_t kind = random.below(16);
        if (kind < 5) {
            const std::string bytes = random.bytes(random.below(random.below(4) ? 12 : 150));
            const bool push = random.below(2);
            const FrameId frame = t.add(bytes, push, random.below(2));
            assert_int_equal(frame != wx::no_frame, m.takes(bytes.size()));
            if (frame != wx::no_frame) m.chunks.push_back({bytes, push, frame});
            *refused += frame == wx::no_frame;
        } else if (kind < 12 && held != 0) {
            uint32_t offset = random.below(held); // sent again, or for the first time
            if (random.below(2) && sent - m.begin < held) offset = sent - m.begin;
            const uint32_t size = random.below(random.below(2) ? 20 : 200);
            const bool join = random.below(4) != 0;
            const wx::SendPieces out = t.view(m.begin + offset, size, join);
            m.check(out, offset, size, join);
            sent = m.begin + offset + out.size;
            *joined += out.count > 1;
        } else if (kind < 15) {
            const uint32_t count = random.below(2) ? random.below(held + 1) : random.below(held / 4 + 1);
            t.acked(m.begin + count);
            m.acked(count);
        } else if (random.below(40) == 0) {
            wx::send_buffer_clear(&t.b, t.pool.release());
            m.acked(held);
        } else {
            t.acked(m.begin - random.below(1000)); // old
        }
        check_state(t, m);
    }
}

void test_random(void **) {
    Random random;
    print_message("seed %lu\n", random.seed);
    size_t joined = 0, refused = 0;
    for (int round = 0; round < 400; round++) random_round(random, 500, &joined, &refused);
    assert_true(joined > 5000 && refused > 5000); // it did come to what matters
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_takes_and_refuses),
        cmocka_unit_test(test_entries_used_up),
        cmocka_unit_test(test_empty_takes_any),
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_pieces_max),
        cmocka_unit_test(test_sums),
        cmocka_unit_test(test_acked),
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_entry_numbers_wrap),
        cmocka_unit_test(test_clear),
        cmocka_unit_test(test_random),
    };
    return cmocka_run_group_tests_name("tcp: send buffer", tests, nullptr, nullptr);
}
