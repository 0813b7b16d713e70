// SPDX-License-Identifier: MIT
// Response heads: found at every split, read strictly, refused with the line and the reason.
#include "../../lib/http/text.h"
#include "check.h"
#include <vector>

using namespace wx;

namespace {

const char *const plain = "HTTP/1.1 101 Switching Protocols\r\n"
                          "Upgrade: websocket\r\n"
                          "Connection: keep-alive, Upgrade\r\n"
                          "X-Empty:\r\n"
                          "X-Tabs:\t a\tb \t\r\n"
                          "x-twice: 1\r\n"
                          "X-Twice: 2,, 3\r\n"
                          "\r\n";

int parse(const std::string &text, Response *out, ErrorText *error, std::vector<char> *memory) {
    memory->assign(text.begin(), text.end());
    return response_parse(ByteSpan(memory->data(), memory->size()), out, error);
}

void test_fields(void **) {
    Response response;
    ErrorText error;
    std::vector<char> memory;
    assert_int_equal(parse(plain, &response, &error, &memory), 0);
    assert_int_equal(response.status, 101);
    assert_int_equal(response.minor_version, 1);
    check_text(str(response.reason), "Switching Protocols", "reason");
    assert_int_equal(response.header_count, 6);
    assert_int_equal(response.head_bytes, strlen(plain));
    check_text(str(response.find("UPGRADE")->value), "websocket", "name without case");
    check_text(str(response.find("X-Empty")->value), "", "empty");
    check_text(str(response.find("X-Tabs")->value), "a\tb", "trimmed");
    assert_null(response.find("X-None"));
    assert_int_equal(response.count("X-Twice"), 2);
    assert_int_equal(response.count("X-None"), 0);
    size_t from = 0;
    check_text(str(response.find("x-twice", &from)->value), "1", "first");
    check_text(str(response.find("x-twice", &from)->value), "2,, 3", "second");
    assert_null(response.find("x-twice", &from));
}

void test_tokens(void **) {
    Response response;
    ErrorText error;
    std::vector<char> memory;
    assert_int_equal(parse(plain, &response, &error, &memory), 0);
    assert_true(response.has_token("connection", "upgrade"));
    assert_true(response.has_token("Connection", "KEEP-ALIVE"));
    assert_true(response.has_token("X-Twice", "3"));
    assert_false(response.has_token("Connection", "up"));
    assert_false(response.has_token("Connection", "alive"));
    assert_false(response.has_token("X-None", "upgrade"));
    assert_false(response.has_token("X-Empty", "upgrade"));
}

void test_lists(void **) {
    const struct {
        const char *text, *elements;
    } rows[] = {{"", ""},        {"a", "[a]"},    {"a,b", "[a][b]"},    {" a , b ", "[a][b]"},
                {"a,", "[a][]"}, {",a", "[][a]"}, {"a,,b", "[a][][b]"}, {" ", "[]"}};
    for (const auto &row : rows) {
        ByteView rest(row.text);
        ByteView element;
        std::string seen;
        while (next_element(&rest, &element)) seen += "[" + str(element) + "]";
        check_text(seen, row.elements, row.text);
    }
}

void test_token_characters(void **) {
    // RFC 9110 section 5.6.2, written out on its own.
    std::string allowed = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int c = 0; c < 256; c++)
        assert_int_equal(is_token_char(static_cast<uint8_t>(c)),
                         allowed.find(static_cast<char>(c)) != std::string::npos);
    assert_false(is_token(ByteView("")));
}

// Obsolete folding becomes spaces, in the field's own bytes (RFC 9112 section 5.2).
void test_folding(void **) {
    Response response;
    ErrorText error;
    std::vector<char> memory;
    std::string text = "HTTP/1.1 200 OK\r\nA: one\r\n two\r\n\tthree\r\nB:\r\n b \r\n \r\nC: c\r\n\r\n";
    assert_int_equal(parse(text, &response, &error, &memory), 0);
    assert_int_equal(response.header_count, 3);
    check_text(str(response.find("A")->value), "one   two  \tthree", "folded");
    check_text(str(response.find("B")->value), "b", "folded at the start and at the end");
    check_text(str(response.find("C")->value), "c", "after a fold");
}

void test_status_lines_accepted(void **) {
    const struct {
        const char *line;
        int status, minor;
        const char *reason;
    } rows[] = {
        {"HTTP/1.1 101 ", 101, 1, ""},
        {"HTTP/1.1 101", 101, 1, ""},
        {"HTTP/1.0 404 Not Found", 404, 0, "Not Found"},
        {"HTTP/1.1 200 \xc3\xa4", 200, 1, "\xc3\xa4"},
        {"HTTP/1.1 599  x ", 599, 1, "x"},
        {"HTTP/1.9 100 Continue", 100, 9, "Continue"},
    };
    for (const auto &row : rows) {
        Response response;
        ErrorText error;
        std::vector<char> memory;
        if (parse(std::string(row.line) + "\r\n\r\n", &response, &error, &memory) != 0)
            fail_msg("%s", error.text);
        assert_int_equal(response.status, row.status);
        assert_int_equal(response.minor_version, row.minor);
        check_text(str(response.reason), row.reason, row.line);
    }
}

struct Bad {
    std::string head;
    int code;
    const char *sentence;
};

std::string many_fields(int count) {
    std::string text = "HTTP/1.1 101 x\r\n";
    for (int i = 0; i < count; i++) text += "a: b\r\n";
    return text + "\r\n";
}

const std::string ok_line = "HTTP/1.1 101 x\r\n";

const Bad bad[] = {
    {"HTTP/1.1\r\n\r\n", WSXDP_E_HTTP_HEAD,
     "the server's answer: line 1 is not an HTTP/1 status line: \"HTTP/1.1\""},
    {"\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 1 is not an HTTP/1 status line"},
    {"HTTP/2.0 200 OK\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 1 is not an HTTP/1 status line"},
    {"HTTP/1.x 200 OK\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 1 is not an HTTP/1 status line"},
    {"HTTP/1.1  101 x\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 1 has no three-digit status"},
    {"HTTP/1.1\t101 x\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 1 is not an HTTP/1 status line"},
    {"HTTP/1.1 1O1 x\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 1 has no three-digit status: \"HTTP/1.1 1O1 x\""},
    {"HTTP/1.1 1011 x\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 1 has no three-digit status"},
    {"HTTP/1.1 10 xyz\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 1 has no three-digit status"},
    {"HTTP/1.1 099 x\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 1 has a status outside 100 to 599"},
    {"HTTP/1.1 600 x\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 1 has a status outside 100 to 599"},
    {std::string("HTTP/1.1 101 x\0y\r\n\r\n", 20), WSXDP_E_HTTP_HEAD,
     "line 1 has a control character: \"HTTP/1.1 101 x\\x00y\""},
    {ok_line + "a: b\n\r\n", WSXDP_E_HTTP_HEAD,
     "line 2 ends in a line feed without a carriage return: \"a: b\""},
    {"HTTP/1.1 101 x\n\n", WSXDP_E_HTTP_HEAD, "line 1 ends in a line feed without"},
    {ok_line + "a: b\r\n\n", WSXDP_E_HTTP_HEAD, "line 3 ends in a line feed without"},
    {ok_line + "nocolon\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 2 has no colon: \"nocolon\""},
    {ok_line + ": x\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 2 has no field name"},
    {ok_line + "a: b\r\nUpgrade : x\r\n\r\n", WSXDP_E_HTTP_HEAD,
     "line 3 has white space before the colon: \"Upgrade : x\""},
    {ok_line + "a\t: x\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 2 has white space before the colon: \"a\\x09: x\""},
    {ok_line + "a b: x\r\n\r\n", WSXDP_E_HTTP_HEAD,
     "line 2 has a field name with forbidden characters: \"a b: x\""},
    {ok_line + "a\xff: x\r\n\r\n", WSXDP_E_HTTP_HEAD,
     "line 2 has a field name with forbidden characters: \"a\\xff"},
    {ok_line + "a: x\ry\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 2 has a control character: \"a: x\\x0dy\""},
    {ok_line + "a: \x1b[2J\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 2 has a control character: \"a: \\x1b[2J\""},
    {ok_line + "a: \x7f\r\n\r\n", WSXDP_E_HTTP_HEAD, "line 2 has a control character"},
    {ok_line + " folded\r\n\r\n", WSXDP_E_HTTP_HEAD,
     "line 2 continues a field, but there was none: \" folded\""},
    {ok_line + "a: b\r\n", WSXDP_E_HTTP_HEAD, "line 3 does not end"},
    {"HTTP/1.1 101", WSXDP_E_HTTP_HEAD, "line 1 does not end"},
    {"", WSXDP_E_HTTP_HEAD, "line 1 does not end"},
    {many_fields(129), WSXDP_E_HTTP_HEAD_SIZE, "the server's answer has more than 128 header fields"},
    {ok_line + std::string(600, 'n') + "\r\n\r\n", WSXDP_E_HTTP_HEAD, "nnn...\""},
};

void test_refused(void **) {
    for (const Bad &row : bad) {
        Response response;
        ErrorText error;
        std::vector<char> memory;
        check_error(parse(row.head, &response, &error, &memory), error, row.code, row.sentence, row.head);
        check_printable(error);
    }
}

void test_field_limit(void **) {
    Response response;
    ErrorText error;
    std::vector<char> memory;
    assert_int_equal(parse(many_fields(128), &response, &error, &memory), 0);
    assert_int_equal(response.header_count, Response::headers_max);
}

// Two pieces at every split, then byte by byte, with payload after the head: always the same length.
void test_scanner_splits(void **) {
    std::string text = std::string(plain) + "\x81\x02hi\r\n\r\n";
    size_t head = strlen(plain);
    for (size_t split = 0; split <= text.size(); split++) {
        HeadScanner scanner;
        std::vector<char> part(text.begin(), text.begin() + static_cast<ptrdiff_t>(split));
        int64_t size = scanner.feed(ByteView(part.data(), part.size()), 4096);
        assert_int_equal(size, split < head ? 0 : static_cast<int64_t>(head));
        if (size == 0) assert_int_equal(scanner.feed(view(text), 4096), head);
    }
    HeadScanner scanner;
    for (size_t size = 0; size <= head; size++) {
        std::vector<char> part(text.begin(), text.begin() + static_cast<ptrdiff_t>(size));
        assert_int_equal(scanner.feed(ByteView(part.data(), size), 4096),
                         size < head ? 0 : static_cast<int64_t>(size));
    }
}

// Line feeds alone end a head too, for the scanner: the parser then says what is wrong instead of a timeout.
void test_scanner_finds_bad_line_ends(void **) {
    for (std::string text : {"HTTP/1.1 101 x\n\n", "HTTP/1.1 101 x\na: b\n\r\n", "HTTP/1.1 101 x\r\n\n"}) {
        HeadScanner scanner;
        for (size_t size = 1; size < text.size(); size++)
            assert_int_equal(scanner.feed(view(text).first(size), 99), 0);
        assert_int_equal(scanner.feed(view(text), 99), text.size());
    }
}

void test_scanner_limit(void **) {
    std::string text(plain);
    for (size_t max = 8; max < text.size() + 2; max++) {
        HeadScanner whole;
        ErrorText error;
        int64_t size = whole.feed(view(text), max, &error);
        if (max >= text.size()) {
            assert_int_equal(size, text.size());
            continue;
        }
        check_error(static_cast<int>(size), error, WSXDP_E_HTTP_HEAD_SIZE, "raise upgrade.max_head_bytes",
                    "limit");
        HeadScanner bytewise;
        for (size_t count = 0; count < max; count++)
            assert_int_equal(bytewise.feed(view(text).first(count), max), 0);
        assert_int_equal(bytewise.feed(view(text).first(max), max), WSXDP_E_HTTP_HEAD_SIZE);
    }
}

void test_not_http(void **) {
    const struct {
        std::string bytes;
        const char *sentence;
    } rows[] = {
        {std::string("\x15\x03\x01\x00\x02\x02\x46", 7),
         "the answer is not HTTP/1; it begins with \"\\x15\\x03\\x01\\x00\\x02\\x02F\"; this looks like TLS: "
         "use wss://"},
        {"\x15", "this looks like TLS: use wss:// for this port"},
        {"\x16\x03\x03", "this looks like TLS"},
        {"\x15\x04", "it begins with \"\\x15\\x04\"; check host and port; a TLS port needs wss://"},
        {"SSH-2.0-OpenSSH_9.2\r\n",
         "it begins with \"SSH-2.0-OpenSSH_9.2\\x0d\\x0a\"; this is an SSH server: check the port"},
        {"HTTP/2 200\r\n", "it begins with \"HTTP/2 200\\x0d\\x0a\"; the upgrade needs HTTP/1.1"},
        {"HTTP/0.9", "the upgrade needs HTTP/1.1"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "this looks like HTTP/2; the upgrade needs HTTP/1.1"},
        {std::string("\0\0\x12\x04\0\0\0\0\0", 9), "this looks like HTTP/2; the upgrade needs HTTP/1.1"},
        {"GET / HTTP/1.1\r\n", "this is our own request: the port echoes what it is sent"},
        {"220 mail.example ESMTP\r\n", "this looks like a mail or FTP server"},
        {"<html>", "this looks like HTML without an HTTP head"},
        {"-ERR unknown command", "it begins with \"-ERR unknown command\"; check host and port"},
        {"http/1.1 101 x", "check host and port"},
        {"\r\nHTTP/1.1 101 x", "the answer is not HTTP/1"},
        {"HTTP/1,", "the upgrade needs HTTP/1.1"},
        {std::string(100, 'z'), "\"zzzzzzzzzzzzzzzzzzzzzzzz...\""},
    };
    for (const auto &row : rows) {
        HeadScanner scanner;
        ErrorText error;
        int status = static_cast<int>(scanner.feed(view(row.bytes), 4096, &error));
        check_error(status, error, WSXDP_E_NOT_HTTP, row.sentence, row.bytes);
        check_printable(error);
        HeadScanner silent;
        assert_int_equal(silent.feed(view(row.bytes), 4096), WSXDP_E_NOT_HTTP);
    }
}

// As soon as the bytes cannot begin "HTTP/1.", and not before.
void test_not_http_at_first_wrong_byte(void **) {
    std::string start = "HTTP/1.";
    for (size_t wrong = 0; wrong < start.size(); wrong++) {
        std::string text = start;
        text[wrong] = '!';
        HeadScanner scanner;
        for (size_t size = 0; size <= wrong; size++)
            assert_int_equal(scanner.feed(view(text).first(size), 99), 0);
        assert_int_equal(scanner.feed(view(text).first(wrong + 1), 99), WSXDP_E_NOT_HTTP);
    }
}

// Any single byte replaced by any other: a result or a sentence, never anything else (run under sanitizers).
void test_every_byte_changed(void **) {
    std::string text(plain);
    for (size_t at = 0; at < text.size(); at++) {
        for (int c = 0; c < 256; c++) {
            std::string changed = text;
            changed[at] = static_cast<char>(c);
            Response response;
            ErrorText error;
            std::vector<char> memory;
            int status = parse(changed, &response, &error, &memory);
            if (status == 0) continue;
            assert_int_equal(status, WSXDP_E_HTTP_HEAD);
            check_printable(error);
        }
    }
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_token_characters),
        cmocka_unit_test(test_folding),
        cmocka_unit_test(test_status_lines_accepted),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_field_limit),
        cmocka_unit_test(test_scanner_splits),
        cmocka_unit_test(test_scanner_finds_bad_line_ends),
        cmocka_unit_test(test_scanner_limit),
        cmocka_unit_test(test_not_http),
        cmocka_unit_test(test_not_http_at_first_wrong_byte),
        cmocka_unit_test(test_every_byte_changed),
    };
    return cmocka_run_group_tests_name("http/response", tests, nullptr, nullptr);
}
