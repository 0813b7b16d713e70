// SPDX-License-Identifier: MIT
// The opening handshake: the request byte for byte, header injection refused, and every way an answer can be
// wrong with its code and sentence.
#include "check.h"
#include "sha1.h"
#include <vector>

using namespace wx;

namespace {

// RFC 6455 section 1.3: this key ("the sample nonce") gives this answer.
const uint8_t sample_key[16] = {'t', 'h', 'e', ' ', 's', 'a', 'm', 'p',
                                'l', 'e', ' ', 'n', 'o', 'n', 'c', 'e'};
const char *const sample_accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

void test_sha1_itself(void **) {
    const uint8_t wanted[20] = {0xA9, 0x99, 0x3E, 0x36, 0x47, 0x06, 0x81, 0x6A, 0xBA, 0x3E,
                                0x25, 0x71, 0x78, 0x50, 0xC2, 0x6C, 0x9C, 0xD0, 0xD8, 0x9D};
    uint8_t digest[20];
    test_sha1(ByteView("abc"), digest);
    assert_memory_equal(digest, wanted, 20);
}

struct Built {
    int status = 0;
    std::string text;
    ErrorText error;
};

Built build(const char *url_text, UpgradeRequest request, size_t room = 8192) {
    Url url;
    Built built;
    if (url_parse(ByteView(url_text), &url, &built.error) != 0)
        fail_msg("%s: %s", url_text, built.error.text);
    request.url = &url;
    memcpy(request.key, sample_key, 16);
    std::vector<uint8_t> buffer(room);
    Writer out{ByteSpan(buffer.data(), room)};
    built.status = upgrade_request_build(request, &out, &built.error);
    built.text = str(out.view());
    return built;
}

std::string request_text(const std::string &target, const std::string &host, const std::string &more = "") {
    return "GET " + target + " HTTP/1.1\r\nHost: " + host +
           "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
           "Sec-WebSocket-Version: 13\r\n" +
           more + "\r\n";
}

void test_request_targets_and_hosts(void **) {
    const struct {
        const char *url, *target, *host;
    } rows[] = {
        {"ws://example.com", "/", "example.com"},
        {"ws://example.com:80/a?b=c", "/a?b=c", "example.com"},
        {"wss://example.com:443/", "/", "example.com"},
        {"wss://example.com:80/", "/", "example.com:80"},
        {"ws://example.com:9001?q", "/?q", "example.com:9001"},
        {"ws://[::1]/", "/", "[::1]"},
        {"ws://[::1]:8080/", "/", "[::1]:8080"},
        {"ws://127.0.0.1:8080/", "/", "127.0.0.1:8080"},
        {"ws+unix:///run/x.sock:/chat", "/chat", "localhost"},
        {"ws+unix:///run/x.sock:?q", "/?q", "localhost"},
    };
    for (const auto &row : rows) {
        Built built = build(row.url, UpgradeRequest());
        assert_int_equal(built.status, 0);
        check_text(built.text, request_text(row.target, row.host), row.url);
    }
}

void test_request_fields(void **) {
    UpgradeRequest request;
    request.subprotocols = "fix, json";
    request.extensions = "permessage-deflate; client_max_window_bits";
    request.origin = "https://example.com";
    request.user_agent = "wsxdp/0.1";
    const HeaderField headers[] = {{"X-Key", "a b"}, {"Cookie", ""}, {"X-Null", nullptr}};
    request.headers = headers;
    request.header_count = 3;
    Built built = build("ws://h/", request);
    assert_int_equal(built.status, 0);
    check_text(built.text,
               request_text("/", "h",
                            "Sec-WebSocket-Protocol: fix, json\r\n"
                            "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
                            "Origin: https://example.com\r\nUser-Agent: wsxdp/0.1\r\n"
                            "X-Key: a b\r\nCookie: \r\nX-Null: \r\n"),
               "all fields");
    request = UpgradeRequest();
    request.subprotocols = request.extensions = request.origin = request.user_agent = "";
    check_text(build("ws://h/", request).text, request_text("/", "h"), "empty is none");
}

void test_credentials(void **) {
    // RFC 7617 section 2's example, and one with percent encoding, a colon and UTF-8 in the password.
    const struct {
        const char *url, *encoded;
    } rows[] = {
        {"ws://Aladdin:open%20sesame@h/", "QWxhZGRpbjpvcGVuIHNlc2FtZQ=="},
        {"ws://u@h/", "dTo="},
        {"ws://test:123%C2%A3@h/", "dGVzdDoxMjPCow=="},
        {"ws://u:a:b@h/", "dTphOmI="},
    };
    for (const auto &row : rows)
        check_text(build(row.url, UpgradeRequest()).text,
                   request_text("/", "h", std::string("Authorization: Basic ") + row.encoded + "\r\n"),
                   row.url);
}

void test_user_headers_replace_ours(void **) {
    UpgradeRequest request;
    request.origin = "https://ours";
    request.user_agent = "ours";
    const HeaderField headers[] = {{"host", "virtual:1"},
                                   {"AUTHORIZATION", "Bearer t"},
                                   {"User-agent", "theirs"},
                                   {"origin", "https://theirs"}};
    request.headers = headers;
    request.header_count = 4;
    Built built = build("ws://u:p@h/", request);
    assert_int_equal(built.status, 0);
    check_text(
        built.text,
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
        "host: virtual:1\r\nAUTHORIZATION: Bearer t\r\nUser-agent: theirs\r\norigin: https://theirs\r\n\r\n",
        "replaced");
}

void test_headers_refused(void **) {
    const char *const mine = "it belongs to the handshake and cannot be set";
    const char *const control = "its value has a control character, which HTTP forbids";
    const struct {
        HeaderField field;
        const char *sentence;
    } rows[] = {
        {{"Upgrade", "x"}, mine},
        {{"connection", "close"}, mine},
        {{"Sec-WebSocket-Key", "x"}, mine},
        {{"sec-websocket-version", "12"}, mine},
        {{"SEC-WEBSOCKET-Anything", "x"}, mine},
        {{"Content-Length", "5"}, mine},
        {{"transfer-encoding", "chunked"}, mine},
        {{"Expect", "100-continue"}, mine},
        {{"Trailer", "x"}, mine},
        {{"Sec-WebSocket-Protocol", "x"}, "the handshake sets it; use the option subprotocol"},
        {{"Sec-WebSocket-Extensions", "x"}, "compression is switched on by its own option"},
        {{"X", "a\r\nY: b"}, control},
        {{"X", "a\n"}, control},
        {{"X", "a\r"}, control},
        {{"X", "\x01"}, control},
        {{"X", "\x7f"}, control},
        {{"", "x"}, "header \"\": a header name is letters"},
        {{nullptr, "x"}, "header \"\": a header name is letters"},
        {{"X Y", "x"}, "header \"X Y\": a header name is letters"},
        {{"X:", "x"}, "header \"X:\": a header name is letters"},
        {{"X\r\nY", "x"}, "header \"X\\x0d\\x0aY\": a header name is letters"},
        {{"X\xc3", "x"}, "header \"X\\xc3\": a header name is letters"},
    };
    for (const auto &row : rows) {
        UpgradeRequest request;
        request.headers = &row.field;
        request.header_count = 1;
        Built built = build("ws://h/", request);
        check_error(built.status, built.error, WSXDP_E_INVALID, row.sentence,
                    row.field.name ? row.field.name : "null");
        assert_true(built.text.empty());
    }
}

void test_options_refused(void **) {
    const HeaderField twice[] = {{"Host", "a"}, {"X", "b"}, {"hOST", "c"}};
    UpgradeRequest hosts, origin, agent, extension;
    hosts.headers = twice;
    hosts.header_count = 3;
    origin.origin = "a\r\nb";
    agent.user_agent = "a\nb";
    extension.extensions = "a\rb";
    const struct {
        const UpgradeRequest &request;
        const char *sentence;
    } rows[] = {
        {hosts, "header \"Host\": it is set more than once"},
        {origin, "header \"Origin\": its value has a control character"},
        {agent, "header \"User-Agent\": its value has a control character"},
        {extension, "header \"Sec-WebSocket-Extensions\": its value has a control character"},
    };
    for (const auto &row : rows) {
        Built built = build("ws://h/", row.request);
        check_error(built.status, built.error, WSXDP_E_INVALID, row.sentence, row.sentence);
    }
    for (const char *bad : {"a b", "a,,b", ",", "a,", "a\r\nX: y", "a;b", "a, \"b\""}) {
        UpgradeRequest request;
        request.subprotocols = bad;
        Built built = build("ws://h/", request);
        check_error(built.status, built.error, WSXDP_E_INVALID, "is not a token: letters, digits and", bad);
    }
    UpgradeRequest request;
    request.subprotocols = "a, b, a";
    Built built = build("ws://h/", request);
    check_error(built.status, built.error, WSXDP_E_INVALID, "subprotocol \"a\" is offered twice", "twice");
}

void test_request_in_any_room(void **) {
    UpgradeRequest request;
    request.origin = "o";
    std::string whole = build("ws://u:p@h:1?q", request).text;
    for (size_t room = 0; room < whole.size(); room++) {
        Built built = build("ws://u:p@h:1?q", request, room);
        check_error(built.status, built.error, WSXDP_E_TOO_BIG, "the upgrade request does not fit", "room");
    }
    assert_int_equal(build("ws://u:p@h:1?q", request, whole.size()).status, 0);
}

// ---- the answer ----

struct Offer {
    const char *subprotocols;
    const char *extensions;
};

struct Checked {
    int status = 0;
    UpgradeResult result;
    ErrorText error;
    std::vector<char> head;
    Response response;
};

void check_answer(const std::string &head, const Offer &offer, Checked *out, Sha1 sha1 = test_sha1) {
    out->head.assign(head.begin(), head.end());
    if (response_parse(ByteSpan(out->head.data(), head.size()), &out->response, &out->error) != 0)
        fail_msg("%s: %s", head.c_str(), out->error.text);
    UpgradeRequest request;
    memcpy(request.key, sample_key, 16);
    request.subprotocols = offer.subprotocols;
    request.extensions = offer.extensions;
    out->status = upgrade_response_check(out->response, request, sha1, &out->result, &out->error);
}

const std::string line101 = "HTTP/1.1 101 Switching Protocols\r\n";
const std::string upgrade = "Upgrade: websocket\r\n";
const std::string connection = "Connection: Upgrade\r\n";
const std::string accept = std::string("Sec-WebSocket-Accept: ") + sample_accept + "\r\n";

void test_answers_accepted(void **) {
    const struct {
        std::string fields;
        Offer offer;
        const char *subprotocol, *extensions;
        size_t extension_count;
    } rows[] = {
        {upgrade + connection + accept, {nullptr, nullptr}, "", "", 0},
        {"UPGRADE:WebSocket\r\nconnection: keep-alive, uPGRADE\r\n" + accept, {"", ""}, "", "", 0},
        {upgrade + "Connection: a\r\nConnection: b, Upgrade\r\n" + accept, {nullptr, nullptr}, "", "", 0},
        {upgrade + connection + "Sec-WebSocket-Accept:\r\n  " + sample_accept + " \r\n",
         {nullptr, nullptr},
         "",
         "",
         0},
        {upgrade + connection + accept, {"a, b", "x"}, "", "", 0},
        {upgrade + connection + accept + "Sec-WebSocket-Protocol: b\r\n", {"a, b", nullptr}, "b", "", 0},
        {upgrade + connection + accept + "Sec-WebSocket-Extensions: x; y=1\r\n",
         {nullptr, "x"},
         "",
         "x; y=1",
         1},
        {upgrade + connection + accept + "Sec-WebSocket-Extensions: x\r\nSec-WebSocket-Extensions: z\r\n",
         {nullptr, "x, z"},
         "",
         "x",
         2},
        {upgrade + connection + accept + "Set-Cookie: a\r\nContent-Length: 0\r\n",
         {nullptr, nullptr},
         "",
         "",
         0},
    };
    for (const auto &row : rows) {
        Checked checked;
        check_answer(line101 + row.fields + "\r\n", row.offer, &checked);
        if (checked.status != 0) fail_msg("%s: %s", row.fields.c_str(), checked.error.text);
        check_text(str(checked.result.subprotocol), row.subprotocol, row.fields);
        check_text(str(checked.result.extensions), row.extensions, row.fields);
        assert_int_equal(checked.result.extension_field_count, row.extension_count);
        assert_true(checked.result.location.empty());
    }
}

struct Bad {
    std::string head; // without the final empty line
    Offer offer;
    int code;
    const char *sentence;
};

const Offer none = {nullptr, nullptr};

std::string extension_fields(int count) {
    std::string text;
    for (int i = 0; i < count; i++) text += "Sec-WebSocket-Extensions: x\r\n";
    return text;
}

const Bad bad[] = {
    // status
    {"HTTP/1.1 100 Continue\r\n", none, WSXDP_E_HTTP_STATUS,
     "the server answered 100 Continue instead of 101; an interim answer other than 101"},
    {"HTTP/1.1 103 Early Hints\r\n", none, WSXDP_E_HTTP_STATUS,
     "answered 103 Early Hints instead of 101; an interim answer"},
    {"HTTP/1.1 200 OK\r\n" + upgrade + connection + accept, none, WSXDP_E_HTTP_STATUS,
     "the server answered 200 OK instead of 101; the path is served as plain HTTP; check the URL's path"},
    {"HTTP/1.0 200 OK\r\n", none, WSXDP_E_HTTP_STATUS,
     "the server answered 200 OK in HTTP/1.0 instead of 101"},
    {"HTTP/1.0 101 Switching Protocols\r\n" + upgrade + connection + accept, none, WSXDP_E_HTTP_HEAD,
     "the server answered 101 in HTTP/1.0; an upgrade needs HTTP/1.1"},
    {"HTTP/1.1 400 Bad Request\r\n", none, WSXDP_E_HTTP_STATUS,
     "400 Bad Request instead of 101; the server found the request"},
    {"HTTP/1.1 400 Bad Request\r\nSec-WebSocket-Version: 8, 7\r\n", none, WSXDP_E_HTTP_STATUS,
     "400 Bad Request instead of 101 (Sec-WebSocket-Version: \"8, 7\")"},
    {"HTTP/1.1 404 Not Found\r\n", none, WSXDP_E_HTTP_STATUS,
     "404 Not Found instead of 101; check the URL's path"},
    {"HTTP/1.1 418\r\n", none, WSXDP_E_HTTP_STATUS,
     "the server answered 418 instead of 101; no WebSocket upgrade here"},
    {"HTTP/1.1 426 Upgrade Required\r\nUpgrade: h2c\r\nSec-WebSocket-Version: 14\r\n", none,
     WSXDP_E_HTTP_STATUS,
     "426 Upgrade Required instead of 101 (Upgrade: \"h2c\") (Sec-WebSocket-Version: \"14\"); the server "
     "wants another"},
    {"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 30\r\n", none, WSXDP_E_HTTP_STATUS,
     "429 Too Many Requests instead of 101 (Retry-After: \"30\"); too many requests; wait"},
    {"HTTP/1.1 500 Oops\x1f\r\n", none, 0, ""}, // refused by the parser; see test_answers_refused
    {"HTTP/1.1 502 Bad Gateway\r\n", none, WSXDP_E_HTTP_STATUS,
     "502 Bad Gateway instead of 101; a gateway could not reach"},
    {"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n", none, WSXDP_E_HTTP_STATUS,
     "503 Service Unavailable instead of 101 (Retry-After: \"5\"); the server failed; try again later"},
    {"HTTP/1.1 500 " + std::string(200, 'r') + "\r\n", none, WSXDP_E_HTTP_STATUS, "rrr instead of 101"},
    {"HTTP/1.1 500 caf\xe9\r\n", none, WSXDP_E_HTTP_STATUS, "answered 500 caf\\xe9 instead of 101"},
    // redirects
    {"HTTP/1.1 300 Multiple Choices\r\nLocation: /a\r\n", none, WSXDP_E_REDIRECT,
     "a redirect to \"/a\"; use that URL, or raise"},
    {"HTTP/1.1 301 Moved Permanently\r\nLocation: https://h/x\r\n", none, WSXDP_E_REDIRECT,
     "the server answered 301 Moved Permanently, a redirect to \"https://h/x\"; use that URL, or raise "
     "redirect.max"},
    {"HTTP/1.1 302 Found\r\nlocation: /a\r\n", none, WSXDP_E_REDIRECT, "302 Found, a redirect to \"/a\""},
    {"HTTP/1.1 303 See Other\r\nLocation: /a\r\n", none, WSXDP_E_REDIRECT, "a redirect to \"/a\""},
    {"HTTP/1.1 307 Temporary Redirect\r\nLocation: /a\r\n", none, WSXDP_E_REDIRECT, "a redirect to \"/a\""},
    {"HTTP/1.1 308 Permanent Redirect\r\nLocation: /a\r\n", none, WSXDP_E_REDIRECT, "a redirect to \"/a\""},
    {"HTTP/1.1 304 Not Modified\r\nLocation: /a\r\n", none, WSXDP_E_HTTP_STATUS,
     "304 Not Modified instead of 101"},
    {"HTTP/1.1 302 Found\r\n", none, WSXDP_E_HTTP_STATUS, "302 Found, a redirect without a Location field"},
    {"HTTP/1.1 302 Found\r\nLocation: /a\r\nLocation: /b\r\n", none, WSXDP_E_HTTP_STATUS,
     "a redirect with several Location fields"},
    {"HTTP/1.1 302 Found\r\nLocation: \r\n", none, WSXDP_E_HTTP_STATUS,
     "a redirect with an empty Location field"},
    // authentication
    {"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"\r\n", none, WSXDP_E_AUTH_REQUIRED,
     "the server answered 401 Unauthorized (WWW-Authenticate: \"Basic realm=\"x\"\"); put user:password@ "
     "into the URL"},
    {"HTTP/1.1 401 Unauthorized\r\n", none, WSXDP_E_AUTH_REQUIRED,
     "401 Unauthorized; put user:password@ into the URL"},
    {"HTTP/1.1 403 Forbidden\r\n", none, WSXDP_E_AUTH_REQUIRED,
     "403 Forbidden; check credentials, Origin and path"},
    {"HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: NTLM\r\n", none, WSXDP_E_PROXY_AUTH,
     "407 Proxy Authentication Required (Proxy-Authenticate: \"NTLM\"); a proxy in between wants "
     "credentials"},
    // Upgrade
    {line101 + connection + accept, none, WSXDP_E_UPGRADE_HEADER,
     "the server's 101 lacks \"Upgrade: websocket\": there is no Upgrade header"},
    {line101 + "Upgrade: h2c\r\n" + connection + accept, none, WSXDP_E_UPGRADE_HEADER,
     "lacks \"Upgrade: websocket\": Upgrade: \"h2c\""},
    {line101 + "Upgrade: websocket, h2c\r\n" + connection + accept, none, WSXDP_E_UPGRADE_HEADER,
     "Upgrade: \"websocket, h2c\""},
    {line101 + "Upgrade:\r\n" + connection + accept, none, WSXDP_E_UPGRADE_HEADER, "Upgrade: \"\""},
    {line101 + upgrade + upgrade + connection + accept, none, WSXDP_E_UPGRADE_HEADER,
     "Upgrade: \"websocket\" and \"websocket\""},
    // Connection
    {line101 + upgrade + accept, none, WSXDP_E_CONNECTION_HEADER,
     "the server's 101 lacks \"Connection: Upgrade\": there is no Connection header"},
    {line101 + upgrade + "Connection: close\r\n" + accept, none, WSXDP_E_CONNECTION_HEADER,
     "Connection: \"close\""},
    {line101 + upgrade + "Connection: Upgrades, x-Upgrade\r\n" + accept, none, WSXDP_E_CONNECTION_HEADER,
     "Connection: \"Upgrades, x-"},
    // Accept
    {line101 + upgrade + connection, none, WSXDP_E_ACCEPT,
     "there is no Sec-WebSocket-Accept header; this is not a WebSocket server"},
    {line101 + upgrade + connection + accept + accept, none, WSXDP_E_ACCEPT,
     "the server sent Sec-WebSocket-Accept more than once"},
    {line101 + upgrade + connection + "Sec-WebSocket-Accept: S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", none,
     WSXDP_E_ACCEPT,
     "does not answer our key: Sec-WebSocket-Accept: \"S3pPLMBiTxaQ9kYGzzhZRbK+xOo=\", expected "
     "\"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\""},
    {line101 + upgrade + connection + "Sec-WebSocket-Accept: \xff\r\n", none, WSXDP_E_ACCEPT,
     "Sec-WebSocket-Accept: \"\\xff\""},
    {line101 + upgrade + connection + "Sec-WebSocket-Accept: " + std::string(28, 'A') + "=\r\n", none,
     WSXDP_E_ACCEPT, "expected"},
    {line101 + upgrade + connection + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo\r\n", none,
     WSXDP_E_ACCEPT, "expected"},
    // subprotocol
    {line101 + upgrade + connection + accept + "Sec-WebSocket-Protocol: a\r\n", none, WSXDP_E_SUBPROTOCOL,
     "the server chose the subprotocol \"a\", but none was offered; set the option subprotocol"},
    {line101 + upgrade + connection + accept + "Sec-WebSocket-Protocol: c\r\n",
     {"a, b", nullptr},
     WSXDP_E_SUBPROTOCOL,
     "the server chose the subprotocol \"c\", but offered was \"a, b\""},
    {line101 + upgrade + connection + accept + "Sec-WebSocket-Protocol: A\r\n",
     {"a, b", nullptr},
     WSXDP_E_SUBPROTOCOL,
     "\"A\", but offered"},
    {line101 + upgrade + connection + accept + "Sec-WebSocket-Protocol: a, b\r\n",
     {"a, b", nullptr},
     WSXDP_E_SUBPROTOCOL,
     "\"a, b\", but"},
    {line101 + upgrade + connection + accept + "Sec-WebSocket-Protocol:\r\n",
     {"a, b", nullptr},
     WSXDP_E_SUBPROTOCOL,
     "subprotocol \"\", but"},
    {line101 + upgrade + connection + accept + "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n",
     {"a, b", nullptr},
     WSXDP_E_SUBPROTOCOL,
     "more than one subprotocol: Sec-WebSocket-Protocol: \"a\" and \"a\""},
    // extensions
    {line101 + upgrade + connection + accept + "Sec-WebSocket-Extensions: permessage-deflate\r\n", none,
     WSXDP_E_EXTENSION, "the server uses the extension \"permessage-deflate\", but none was offered"},
    {line101 + upgrade + connection + accept + "Sec-WebSocket-Extensions:\r\n", none, WSXDP_E_EXTENSION,
     "\"\", but none was offered"},
    {line101 + upgrade + connection + accept + "Sec-WebSocket-Extensions:\r\n",
     {nullptr, "x"},
     WSXDP_E_EXTENSION,
     "Extensions is empty"},
    {line101 + upgrade + connection + accept + extension_fields(9),
     {nullptr, "x"},
     WSXDP_E_EXTENSION,
     "the server sent more than 8 Sec-WebSocket-Extensions fields"},
};

void test_answers_refused(void **) {
    for (const Bad &row : bad) {
        Checked checked;
        if (row.code == 0) { // a control character never gets as far as a sentence about the status
            std::string head = row.head + "\r\n";
            assert_int_equal(
                response_parse(ByteSpan(&head[0], head.size()), &checked.response, &checked.error),
                WSXDP_E_HTTP_HEAD);
            continue;
        }
        check_answer(row.head + "\r\n", row.offer, &checked);
        check_error(checked.status, checked.error, row.code, row.sentence, row.head);
        check_printable(checked.error);
        assert_int_equal(checked.result.location.empty(), row.code != WSXDP_E_REDIRECT);
    }
}

void test_extension_limit(void **) {
    Checked checked;
    check_answer(line101 + upgrade + connection + accept + extension_fields(8) + "\r\n", {nullptr, "x"},
                 &checked);
    assert_int_equal(checked.status, 0);
    assert_int_equal(checked.result.extension_field_count, UpgradeResult::extensions_max);
}

void test_sha1_failure(void **) {
    Checked checked;
    check_answer(line101 + upgrade + connection + accept + "\r\n", none, &checked,
                 [](ByteView, uint8_t *) { return WSXDP_E_INTERNAL; });
    check_error(checked.status, checked.error, WSXDP_E_INTERNAL, "SHA-1 for Sec-WebSocket-Accept failed",
                "sha1");
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_sha1_itself),
        cmocka_unit_test(test_request_targets_and_hosts),
        cmocka_unit_test(test_request_fields),
        cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_user_headers_replace_ours),
        cmocka_unit_test(test_headers_refused),
        cmocka_unit_test(test_options_refused),
        cmocka_unit_test(test_request_in_any_room),
        cmocka_unit_test(test_answers_accepted),
        cmocka_unit_test(test_answers_refused),
        cmocka_unit_test(test_extension_limit),
        cmocka_unit_test(test_sha1_failure),
    };
    return cmocka_run_group_tests_name("http/upgrade", tests, nullptr, nullptr);
}
