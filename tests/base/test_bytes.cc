// SPDX-License-Identifier: MIT
// The cursor at every bound, numbers, ASCII case, and base64 both ways. Buffers lie in heap blocks of their
// exact size, so that an address sanitizer sees one byte too many.
#include "check.h"
#include <vector>

using namespace wx;

namespace {

void test_views(void **) {
    ByteView none;
    assert_true(none.empty() && none.from(0).size == 0 && none.from(9).size == 0 && none.first(3).size == 0);
    assert_true(equal(none, ByteView("")));
    assert_true(ByteView(static_cast<const char *>(nullptr)).empty());
    ByteView five("hello");
    for (size_t i = 0; i <= 7; i++) {
        size_t rest = i < 5 ? 5 - i : 0;
        assert_int_equal(five.from(i).size, rest);
        assert_ptr_equal(five.from(i).data, five.data + (i < 5 ? i : 5));
        assert_int_equal(five.first(i).size, i < 5 ? i : 5);
    }
    assert_true(equal(five, ByteView("hello")) && !equal(five, ByteView("hellO")));
    assert_false(equal(five, ByteView("hell")));
}

void test_ascii_case(void **) {
    for (int c = 0; c < 256; c++) {
        uint8_t expected = static_cast<uint8_t>(c >= 'A' && c <= 'Z' ? c + 32 : c);
        assert_int_equal(ascii_lower(static_cast<uint8_t>(c)), expected);
    }
    assert_true(equal_ignore_case(ByteView("UpGrade"), ByteView("uPgRADE")));
    assert_false(equal_ignore_case(ByteView("[x]"), ByteView("{x}"))); // differ by the same bit as case
    assert_false(equal_ignore_case(ByteView("ab"), ByteView("abc")));
    assert_false(equal_ignore_case(ByteView("\xC4"), ByteView("\xE4"))); // Latin-1: no letter here
    assert_true(equal_ignore_case(ByteView(), ByteView("")));
}

struct Step {
    size_t bytes;
    uint64_t (*read)(Reader *);
    uint64_t value;
};
const Step steps[] = {
    {1, [](Reader *r) -> uint64_t { return r->u8(); }, 0x81},
    {2, [](Reader *r) -> uint64_t { return r->be16(); }, 0x8182},
    {4, [](Reader *r) -> uint64_t { return r->be32(); }, 0x81828384},
    {8, [](Reader *r) -> uint64_t { return r->be64(); }, 0x8182838485868788},
};

void test_reader_bounds(void **) {
    for (const Step &step : steps) {
        for (size_t size = 0; size <= 9; size++) {
            std::vector<uint8_t> bytes(size);
            for (size_t i = 0; i < size; i++) bytes[i] = static_cast<uint8_t>(0x81 + i);
            Reader reader{ByteView(bytes.data(), size)};
            uint64_t value = step.read(&reader);
            bool fits = size >= step.bytes;
            assert_int_equal(reader.failed, !fits);
            assert_true(value == (fits ? step.value : 0));
            assert_int_equal(reader.left(), fits ? size - step.bytes : size);
            if (fits) continue;
            // A failed cursor stays failed, also for what would fit.
            ByteView view;
            assert_false(reader.take(0, &view));
            assert_int_equal(reader.u8(), 0);
        }
    }
}

void test_reader_take(void **) {
    std::vector<uint8_t> bytes(10, 7);
    for (size_t count = 0; count <= 12; count++) {
        Reader reader{ByteView(bytes.data(), bytes.size())};
        ByteView view;
        assert_int_equal(reader.take(count, &view), count <= 10);
        assert_int_equal(view.size, count <= 10 ? count : 0);
    }
    Reader reader{ByteView(bytes.data(), bytes.size())};
    ByteView view;
    assert_true(reader.take(4, &view));
    assert_false(reader.take(SIZE_MAX - 2, &view)); // must not wrap round
    Reader nothing{ByteView()};
    assert_true(nothing.take(0, &view) && !nothing.failed);
}

template <class Write> void check_writer(size_t needs, Write write) {
    for (size_t room = 0; room <= needs + 1; room++) {
        std::vector<uint8_t> bytes(room);
        Writer writer{ByteSpan(bytes.data(), room)};
        write(&writer);
        assert_int_equal(writer.failed, room < needs);
        assert_int_equal(writer.size(), room < needs ? 0 : needs);
        assert_int_equal(writer.left(), room - writer.size());
        if (room >= needs) continue;
        writer.text(""); // even nothing does not mend it
        assert_true(writer.failed);
    }
}

void test_writer_bounds(void **) {
    check_writer(1, [](Writer *w) { w->u8(9); });
    check_writer(2, [](Writer *w) { w->be16(9); });
    check_writer(5, [](Writer *w) { w->text("hello"); });
    check_writer(20, [](Writer *w) { w->decimal(UINT64_MAX); });
    check_writer(8, [](Writer *w) { w->base64(ByteView("hello")); });
    check_writer(0, [](Writer *w) { w->bytes(ByteView()); });
    uint8_t room[4];
    Writer writer{ByteSpan(room, 4)};
    writer.text("abc");
    writer.text("de"); // does not fit, so nothing of it is there
    writer.u8('f');    // would fit, but the head is known to be cut
    assert_string_equal(str(writer.view()).c_str(), "abc");
}

void test_numbers(void **) {
    uint8_t raw[8];
    store_be16(raw, 0xA1B2);
    assert_true(raw[0] == 0xA1 && raw[1] == 0xB2 && load_be16(raw) == 0xA1B2);
    store_be32(raw, 0xA1B2C3D4);
    assert_true(raw[0] == 0xA1 && raw[3] == 0xD4 && load_be32(raw) == 0xA1B2C3D4);
    store_be64(raw, 0xA1B2C3D4E5F60718);
    assert_true(raw[0] == 0xA1 && raw[7] == 0x18 && load_be64(raw) == 0xA1B2C3D4E5F60718);
    const uint64_t values[] = {0, 1, 9, 10, 99, 100, 65535, 4294967296, UINT64_MAX - 1, UINT64_MAX};
    for (uint64_t value : values) {
        uint8_t room[32];
        Writer writer{ByteSpan(room, sizeof room)};
        writer.decimal(value);
        assert_string_equal(str(writer.view()).c_str(), std::to_string(value).c_str());
    }
}

std::string encode(const std::string &bytes) {
    std::vector<uint8_t> room(base64_size(bytes.size()));
    Writer writer{ByteSpan(room.data(), room.size())};
    writer.base64(view(bytes));
    assert_false(writer.failed);
    assert_int_equal(writer.left(), 0);
    return str(writer.view());
}

int64_t decode(const std::string &text, size_t room, std::string *out) {
    std::vector<uint8_t> bytes(room);
    int64_t count = base64_decode(view(text), ByteSpan(bytes.data(), room));
    if (count > 0) out->assign(reinterpret_cast<char *>(bytes.data()), static_cast<size_t>(count));
    return count;
}

void test_base64(void **) {
    // RFC 4648 section 10.
    const char *known[][2] = {{"", ""},
                              {"f", "Zg=="},
                              {"fo", "Zm8="},
                              {"foo", "Zm9v"},
                              {"foob", "Zm9vYg=="},
                              {"fooba", "Zm9vYmE="},
                              {"foobar", "Zm9vYmFy"}};
    for (auto &row : known) assert_string_equal(encode(row[0]).c_str(), row[1]);
    std::string all;
    for (int i = 0; i < 256; i++) all.push_back(static_cast<char>(i * 67 + 11));
    assert_true(encode(all).find('+') != std::string::npos && encode(all).find('/') != std::string::npos);
    for (size_t size = 0; size <= all.size(); size++) {
        std::string bytes = all.substr(0, size), back;
        std::string text = encode(bytes);
        assert_int_equal(decode(text, size, &back), size);
        assert_true(back == bytes);
        if (size) assert_int_equal(decode(text, size - 1, &back), -1); // one byte short of room
    }
}

void test_base64_bad(void **) {
    std::string out;
    const char *bad[] = {"Z",        "Zg",   "Zg=",  "=",     "====", "Z===", "=Zg=", "Zg=a",  "Zg==Zg==",
                         "Zm8=Zm9v", "Zh==", "Zm9=", "Zm9v=", "Zm9-", "Zm9_", "Zm 9", "Zm9\n", "\x80m9v"};
    for (const char *text : bad)
        if (decode(text, 64, &out) != -1) fail_msg("accepted %s", text);
    assert_int_equal(decode(std::string("Zm\0v", 4), 64, &out), -1);
    // Every byte that is not of the alphabet, at every place of a group.
    const std::string alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (int c = 0; c < 256; c++) {
        for (size_t at = 0; at < 4; at++) {
            std::string text = "AAAABBBB";
            text[at] = static_cast<char>(c);
            bool good = alphabet.find(static_cast<char>(c)) != std::string::npos;
            assert_int_equal(decode(text, 64, &out), good ? 6 : -1);
        }
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_views),         cmocka_unit_test(test_ascii_case),
        cmocka_unit_test(test_reader_bounds), cmocka_unit_test(test_reader_take),
        cmocka_unit_test(test_writer_bounds), cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_base64),        cmocka_unit_test(test_base64_bad),
    };
    return cmocka_run_group_tests_name("base: bytes", tests, nullptr, nullptr);
}
