// SPDX-License-Identifier: MIT
// The table of codes is whole (compared with the public header itself), and sentences are cut rather than
// overflown, at every length, whatever bytes go in.
#include <errno.h>
#include <fstream>
#include <map>
#include <set>

#include "check.h" // last: cmocka has a macro named fail

using namespace wx;

namespace {

std::map<std::string, int> codes_of_header() {
    std::map<std::string, int> codes;
    std::ifstream header("include/wsxdp.h");
    if (!header) fail_msg("include/wsxdp.h is not there: tests run in the project's root");
    std::string word, name, value;
    while (header >> word) {
        if (word != "#define") continue;
        header >> name >> value;
        if (name.rfind("WSXDP_E_", 0) != 0) continue;
        assert_int_equal(value[0], '(');
        codes[name] = std::stoi(value.substr(1));
    }
    return codes;
}

void test_every_code_has_its_text(void **) {
    std::map<std::string, int> codes = codes_of_header();
    assert_true(codes.size() > 80);
    std::set<std::string> texts{status_text(WSXDP_OK)};
    std::set<int> numbers;
    for (auto &row : codes) {
        std::string text = status_text(row.second);
        if (text == "unknown code" || text.empty()) fail_msg("%s has no text", row.first.c_str());
        if (!texts.insert(text).second) fail_msg("%s shares its text", row.first.c_str());
        if (!numbers.insert(row.second).second) fail_msg("%s shares its number", row.first.c_str());
        assert_true(text.size() < 80 && text.back() != '.');
        for (char c : text) assert_in_range(c, 0x20, 0x7E);
    }
    for (int code = -1000; code < 0; code++)
        if (!numbers.count(code)) assert_string_equal(status_text(code), "unknown code");
    assert_string_equal(status_text(7), status_text(0)); // counts are successes
    assert_string_equal(status_text(INT32_MIN), "unknown code");
}

constexpr size_t room = sizeof(ErrorText::text) - 1;

void check_whole(const ErrorText &error, const std::string &expected) {
    assert_int_equal(error.size, expected.size());
    assert_string_equal(error.text, expected.c_str());
}

void test_cut_at_every_length(void **) {
    for (size_t size = 0; size <= room + 5; size++) {
        std::string text(size, 'x');
        ErrorText literal, bytes;
        literal.begin(-1).add(text.c_str()).add("AB");
        bytes.begin(-1).add(view(text)).add(ByteView("AB"));
        std::string expected = (text + "AB").substr(0, room);
        check_whole(literal, expected);
        check_whole(bytes, expected);
        // Escapes are shown whole or not at all.
        ErrorText escaped;
        escaped.begin(-1).add(view(text)).add(ByteView("\n"));
        std::string cut = text.substr(0, room);
        check_whole(escaped, room - cut.size() >= 4 ? cut + "\\x0a" : cut);
        ErrorText number;
        number.begin(-1).add(view(text)).number(-1234);
        check_whole(number, (text + "-1234").substr(0, room));
    }
}

void test_escaping(void **) {
    for (int c = 0; c < 256; c++) {
        char byte = static_cast<char>(c);
        ErrorText error;
        error.begin(-1).add(ByteView(&byte, 1));
        char hex[8];
        snprintf(hex, sizeof hex, "\\x%02x", c);
        bool plain = c >= 0x20 && c < 0x7F && c != '\\';
        check_whole(error, plain ? std::string(1, byte) : hex);
    }
}

void test_sentences(void **) {
    ErrorText error;
    error.begin(WSXDP_E_REFUSED, ECONNREFUSED).add("connecting to ").add(ByteView("[::1]:9")).add(": ");
    error.errno_name(ECONNREFUSED);
    assert_int_equal(error.system_errno, ECONNREFUSED);
    check_error(WSXDP_E_REFUSED, error, WSXDP_E_REFUSED, "connecting to [::1]:9: Connection refused (111)");
    error.begin(WSXDP_E_SYSTEM).errno_name(99999); // begins anew, and forgets the errno
    assert_int_equal(error.system_errno, 0);
    check_whole(error, "error (99999)");
    const int64_t numbers[] = {0, -1, 42, INT64_MAX, INT64_MIN};
    for (int64_t number : numbers) {
        error.begin(-1).number(number);
        check_whole(error, std::to_string(number));
    }
    error.clear();
    assert_true(error.code == 0 && error.system_errno == 0);
    check_whole(error, "");
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_every_code_has_its_text),
        cmocka_unit_test(test_cut_at_every_length),
        cmocka_unit_test(test_escaping),
        cmocka_unit_test(test_sentences),
    };
    return cmocka_run_group_tests_name("base: status", tests, nullptr, nullptr);
}
