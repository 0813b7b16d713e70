// SPDX-License-Identifier: MIT
// URLs: what is accepted and how it is taken apart; every refusal with its sentence and position; redirects;
// percent decoding.
#include "check.h"
#include <vector>

using namespace wx;

namespace {

struct Good {
    const char *text;
    Scheme scheme;
    const char *host;
    uint16_t port;
    bool port_is_default, ip, ipv6;
    const char *target, *user, *password;
};

const Good good[] = {
    {"ws://example.com", Scheme::ws, "example.com", 80, true, false, false, "/", "", ""},
    {"wss://example.com", Scheme::wss, "example.com", 443, true, false, false, "/", "", ""},
    {"WSS://Example.COM/Path", Scheme::wss, "Example.COM", 443, true, false, false, "/Path", "", ""},
    {"ws://example.com:80/", Scheme::ws, "example.com", 80, true, false, false, "/", "", ""},
    {"ws://example.com:443/", Scheme::ws, "example.com", 443, false, false, false, "/", "", ""},
    {"wss://h:80", Scheme::wss, "h", 80, false, false, false, "/", "", ""},
    {"ws://h:/x", Scheme::ws, "h", 80, true, false, false, "/x", "", ""},
    {"ws://h:1/", Scheme::ws, "h", 1, false, false, false, "/", "", ""},
    {"ws://h:65535/", Scheme::ws, "h", 65535, false, false, false, "/", "", ""},
    {"ws://h:00080/", Scheme::ws, "h", 80, true, false, false, "/", "", ""},
    {"ws://h?a=b", Scheme::ws, "h", 80, true, false, false, "?a=b", "", ""},
    {"ws://h/p?a=b/c?d@e:f", Scheme::ws, "h", 80, true, false, false, "/p?a=b/c?d@e:f", "", ""},
    {"wss://s.example:9443/ws/btcusdt@trade", Scheme::wss, "s.example", 9443, false, false, false,
     "/ws/btcusdt@trade", "", ""},
    {"ws://h/{\"a\"|b}\\^`<>[]%zz", Scheme::ws, "h", 80, true, false, false, "/{\"a\"|b}\\^`<>[]%zz", "", ""},
    {"ws://127.0.0.1:8080/", Scheme::ws, "127.0.0.1", 8080, false, true, false, "/", "", ""},
    {"ws://[::1]/", Scheme::ws, "::1", 80, true, true, true, "/", "", ""},
    {"ws://[2001:db8::7]:9000?x", Scheme::ws, "2001:db8::7", 9000, false, true, true, "?x", "", ""},
    {"ws://[::ffff:1.2.3.4]/", Scheme::ws, "::ffff:1.2.3.4", 80, true, true, true, "/", "", ""},
    {"ws://under_score.x-y.example./", Scheme::ws, "under_score.x-y.example.", 80, true, false, false, "/",
     "", ""},
    {"ws://1a.example1/", Scheme::ws, "1a.example1", 80, true, false, false, "/", "", ""},
    {"ws://u:p@h/", Scheme::ws, "h", 80, true, false, false, "/", "u", "p"},
    {"ws://u@h", Scheme::ws, "h", 80, true, false, false, "/", "u", ""},
    {"ws://:p@h", Scheme::ws, "h", 80, true, false, false, "/", "", "p"},
    {"ws://@h", Scheme::ws, "h", 80, true, false, false, "/", "", ""},
    {"ws://u%40x:p%3a:%2F@[::1]:81/", Scheme::ws, "::1", 81, false, true, true, "/", "u%40x", "p%3a:%2F"},
    {"ws+unix:///run/x.sock", Scheme::ws_unix, "/run/x.sock", 0, true, false, false, "/", "", ""},
    {"ws+unix:///run/x.sock:/a?b:c", Scheme::ws_unix, "/run/x.sock", 0, true, false, false, "/a?b:c", "", ""},
    {"ws+unix:///run/x.sock:", Scheme::ws_unix, "/run/x.sock", 0, true, false, false, "/", "", ""},
    {"ws+unix:/run/x.sock:?q", Scheme::ws_unix, "/run/x.sock", 0, true, false, false, "?q", "", ""},
    {"ws+unix:///run/x.sock?q", Scheme::ws_unix, "/run/x.sock", 0, true, false, false, "?q", "", ""},
    {"WS+UNIX:///run/a%20b%3A.sock:/", Scheme::ws_unix, "/run/a%20b%3A.sock", 0, true, false, false, "/", "",
     ""},
    {"echo:", Scheme::echo, "", 0, true, false, false, "", "", ""},
    {"echo:anything/else", Scheme::echo, "", 0, true, false, false, "anything/else", "", ""},
};

void check_good(const Good &row, const Url &url) {
    assert_int_equal(static_cast<int>(url.scheme), static_cast<int>(row.scheme));
    check_text(str(url.host), row.host, row.text);
    check_text(str(url.target), row.target, row.text);
    check_text(str(url.user), row.user, row.text);
    check_text(str(url.password), row.password, row.text);
    assert_int_equal(url.port, row.port);
    assert_int_equal(url.port_is_default, row.port_is_default);
    assert_int_equal(url.host_is_ip, row.ip);
    assert_int_equal(url.host_is_ipv6, row.ipv6);
    assert_int_equal(url.has_credentials, *row.user || *row.password);
}

void test_accepted(void **) {
    for (const Good &row : good) {
        Url url;
        ErrorText error;
        std::string text(row.text);
        if (url_parse(view(text), &url, &error) != 0) fail_msg("%s: %s", row.text, error.text);
        check_good(row, url);
    }
}

// Every beginning of every good URL, in memory of just that size (a sanitizer sees reads past it), gives a
// result or a sentence.
void test_every_prefix(void **) {
    for (const Good &row : good) {
        for (size_t size = 0; size <= strlen(row.text); size++) {
            std::vector<char> text(row.text, row.text + size);
            Url url;
            ErrorText error;
            int status = url_parse(ByteView(text.data(), size), &url, &error);
            if (status == 0) continue;
            check_error(status, error, WSXDP_E_URL, "URL: ", row.text);
            check_printable(error);
        }
    }
}

struct Bad {
    std::string text;
    const char *sentence;
};

const std::string label64(64, 'a');
const std::string name254 = std::string(63, 'a') + "." + std::string(63, 'b') + "." + std::string(63, 'c') +
                            "." + std::string(62, 'd');

const Bad bad[] = {
    {"", "URL: it is empty"},
    {std::string(65537, 'a'), "URL: it is longer than 65536 characters"},
    {"example.com", "no scheme; did you mean wss://"},
    {"localhost:8080/x", "no scheme; did you mean wss:// or ws://"},
    {"//h/", "no scheme"},
    {"1ws://h/", "no scheme"},
    {"http://h/", "the scheme \"http\" is not one of ws, wss, ws+unix and echo; did you mean ws://?"},
    {"https://h/", "the scheme \"https\" is not one of ws, wss, ws+unix and echo; did you mean wss://?"},
    {"wsss://h/", "did you mean wss://?"},
    {"ftp://h/", "the scheme \"ftp\""},
    {"ws:h", "two slashes are missing at character 4"},
    {"wss:/h", "two slashes are missing at character 5"},
    {"ws://", "the host is missing at character 6"},
    {"ws:///path", "the host is missing at character 6"},
    {"ws://:80/", "the host is missing at character 6"},
    {"ws://u@:80/", "the host is missing at character 8"},
    {"ws://?q", "the host is missing at character 6"},
    {"ws://h:65536/", "the port \"65536\" is above 65535 at character 8"},
    {"ws://h:99999999999999999999/", "is above 65535 at character 8"},
    {"ws://h:0/", "the port is 0 at character 8"},
    {"ws://h:000/", "the port is 0"},
    {"ws://h:8x/", "the port is not a number at character 9"},
    {"ws://h:-1/", "the port is not a number at character 8"},
    {"ws://a b/", "a space at character 7; remove it or write %20"},
    {" ws://a/", "a space at character 1"},
    {"ws://h/ ", "a space at character 8"},
    {"ws://h/\r\nX: y", "the control character \\x0d at character 8; remove it"},
    {"ws://h/\n", "the control character \\x0a at character 8"},
    {std::string("ws://h\0/", 8), "the control character \\x00 at character 7"},
    {"ws://h/\x7f", "the control character \\x7f at character 8"},
    {"ws://h\xc3\xa9/", "the byte \\xc3, which is not ASCII, at character 7"},
    {"ws://h/#a", "a fragment ('#') at character 8; WebSocket URLs have none"},
    {"ws://u:p#@h/", "a fragment ('#') at character 9"},
    {"ws://[::1/", "a '[' that is not closed at character 6"},
    {"ws://[::1", "a '[' that is not closed at character 6"},
    {"ws://[::g]/", "\"::g\" is not an IPv6 address at character 7"},
    {"ws://[]/", "\"\" is not an IPv6 address at character 7"},
    {"ws://[1.2.3.4]/", "\"1.2.3.4\" is not an IPv6 address at character 7"},
    {"ws://[" + std::string(80, ':') + "]/", "is not an IPv6 address"},
    {"ws://[fe80::1%25eth0]/", "an IPv6 address with a zone at character 6"},
    {"ws://[::1]8/", "something other than a port follows the ']' at character 11"},
    {"ws://::1/", "an IPv6 address without brackets at character 6; write it as [::1]"},
    {"ws://2001:db8::1/", "more than one ':' in host and port at character 10"},
    {"ws://1.2.3/", "the host \"1.2.3\" is not an IPv4 address at character 6"},
    {"ws://256.1.1.1/", "is not an IPv4 address"},
    {"ws://01.1.1.1/", "is not an IPv4 address"},
    {"ws://0x7f000001/", "is not an IPv4 address"},
    {"ws://a..b/", "an empty label in the host name at character 8"},
    {"ws://.a/", "an empty label in the host name at character 6"},
    {"ws://./", "an empty label in the host name at character 6"},
    {"ws://" + label64 + "/", "a label of more than 63 characters in the host name at character 6"},
    {"ws://" + name254 + "/", "a host name of more than 253 characters"},
    {"ws://a%41/", "a percent-encoded character in the host name at character 7"},
    {"ws://a,b/", "the host name has a , at character 7"},
    {"ws://h\\x/", "a '\\' at character 7; URLs have '/'"},
    {"ws://a@b@c/", "a second '@' at character 9"},
    {"ws://u%:p@h/", "has a '%' that two hexadecimal digits do not follow"},
    {"ws://u:%4@h/", "has a '%' that two hexadecimal digits do not follow"},
    {"ws://u:%0a@h/", "the user name or password has a control character"},
    {"ws://u%3Ax:p@h/", "the user name has a ':' in it (%3A)"},
    {"ws://u:" + std::string(2049, 'p') + "@h/", "the user name or password is longer than 2048 bytes"},
    {"ws+unix://host/x", "the socket's path does not begin with '/' at character 11"},
    {"ws+unix:", "the socket's path does not begin with '/'"},
    {"ws+unix:///", "the socket's path names no file at character 12"},
    {"ws+unix:///run/", "the socket's path names no file at character 16"},
    {"ws+unix:///a:b.sock",
     "does not begin with '/' at character 14; a ':' that belongs to the socket's path is "},
    {"ws+unix:///a%2", "the socket's path has a '%' without two hexadecimal digits"},
    {"ws+unix:///a%00b", "a zero byte (%00) in the socket's path"},
    {"ws+unix:///" + std::string(107, 'a'), "a socket path that is longer than 107 bytes"},
};

void test_refused(void **) {
    for (const Bad &row : bad) {
        Url url;
        ErrorText error;
        check_error(url_parse(view(row.text), &url, &error), error, WSXDP_E_URL, row.sentence, row.text);
        check_printable(error);
    }
}

void test_limits_fit(void **) {
    std::string label = "ws://" + label64.substr(1) + "/";
    std::string name = "ws://" + name254.substr(1) + "./"; // the final dot does not count
    std::string path = "ws+unix:///" + std::string(106, 'a');
    std::string secret = "ws://u:" + std::string(2048, 'p') + "@h/";
    Url url;
    ErrorText error;
    for (const std::string &text : {label, name, path, secret})
        if (url_parse(view(text), &url, &error) != 0) fail_msg("%s: %s", text.c_str(), error.text);
}

// No sentence about a URL may show what stands where credentials stand.
void test_no_credentials_in_sentences(void **) {
    for (const char *text :
         {"ws://user:secret@h:0/", "ws://user:secret@", "ws://user:secret/@h/", "ws://user:secret",
          "ws://user:secret@a@h", "ws://user:secret%@h", "ws://user:sec ret@h", "ws://user:secret@h#x",
          "http://user:secret@h/", "ws://user:secret@[::g/", "ws://user:secret@a,b"}) {
        Url url;
        ErrorText error;
        assert_int_equal(url_parse(ByteView(text), &url, &error), WSXDP_E_URL);
        if (strstr(error.text, "secret")) fail_msg("%s: %s", text, error.text);
    }
}

void test_proxy_accepted(void **) {
    const Good rows[] = {
        {"http://proxy:3128", Scheme::http, "proxy", 3128, false, false, false, "/", "", ""},
        {"HTTP://u:p@proxy/", Scheme::http, "proxy", 80, true, false, false, "/", "u", "p"},
        {"socks5://[::1]", Scheme::socks5, "::1", 1080, true, true, true, "/", "", ""},
        {"socks5h://127.0.0.1:9050/", Scheme::socks5, "127.0.0.1", 9050, false, true, false, "/", "", ""},
    };
    for (const Good &row : rows) {
        Url url;
        ErrorText error;
        if (proxy_url_parse(ByteView(row.text), &url, &error) != 0) fail_msg("%s: %s", row.text, error.text);
        check_good(row, url);
    }
}

void test_proxy_refused(void **) {
    const struct {
        const char *text;
        int code;
        const char *sentence;
    } rows[] = {
        {"", WSXDP_E_URL, "proxy URL: it is empty"},
        {"proxy:3128", WSXDP_E_URL, "proxy URL: no scheme; write http://host:port or socks5://host:port"},
        {"proxy", WSXDP_E_URL, "proxy URL: no scheme"},
        {"https://proxy:3128", WSXDP_E_UNSUPPORTED, "TLS to the proxy itself (https://) is not supported"},
        {"socks4://proxy", WSXDP_E_URL, "the scheme \"socks4\" is not one of http, socks5 and socks5h"},
        {"ws://proxy", WSXDP_E_URL, "the scheme \"ws\" is not one of http"},
        {"http://", WSXDP_E_URL, "proxy URL: the host is missing at character 8"},
        {"http://proxy:0", WSXDP_E_URL, "proxy URL: the port is 0"},
        {"http://proxy/path", WSXDP_E_URL, "proxy URL: a path or query at character 13"},
        {"http://proxy?q", WSXDP_E_URL, "proxy URL: a path or query at character 13"},
    };
    for (const auto &row : rows) {
        Url url;
        ErrorText error;
        check_error(proxy_url_parse(ByteView(row.text), &url, &error), error, row.code, row.sentence,
                    row.text);
    }
}

struct Redirect {
    const char *base, *location, *result; // result: the URL, or after '!' a part of the sentence
};

const Redirect redirects[] = {
    {"ws://h/a", "ws://x/y", "ws://x/y"},
    {"ws://u:p@h/a", "wss://x:1/y?z", "wss://x:1/y?z"},
    {"ws://h/a", "http://x/y", "ws://x/y"},
    {"ws://h/a", "HTTPS://x/y#frag", "wss://x/y"},
    {"wss://h/a", "https://x", "wss://x"},
    {"wss://u:p@h:8443/a/b?q", "/y?z", "wss://u:p@h:8443/y?z"},
    {"wss://u@h/a", "/", "wss://u:@h/"},
    {"ws://[::1]:81/a", "/y", "ws://[::1]:81/y"},
    {"ws://h/a/b/c", "d", "ws://h/a/b/d"},
    {"ws://h/a/b/c", " ../d?x/../y ", "ws://h/a/d?x/../y"},
    {"ws://h/a/b/c", "../../../../d", "ws://h/d"},
    {"ws://h/a/b/c", "./", "ws://h/a/b/"},
    {"ws://h/a/b/c", "..", "ws://h/a/"},
    {"ws://h/a/b/c", ".", "ws://h/a/b/"},
    {"ws://h/a/b?q", "?r", "ws://h/a/b?r"},
    {"ws://h?q", "?r", "ws://h/?r"},
    {"ws://h?q", "d", "ws://h/d"},
    {"wss://u:p@h/a", "//x/y", "wss://x/y"},
    {"ws+unix:///run/s:/a/b", "/c", "ws+unix:///run/s:/c"},
    {"ws+unix:///run/s:/a/b", "c", "ws+unix:///run/s:/a/c"},
    {"ws+unix:///run/s", "//x/y", "!names a host without a scheme"},
    {"wss://h/a", "ws://x/y", "!\"ws://x/y\" would give up TLS"},
    {"wss://h/a", "http://h/a", "!would give up TLS"},
    {"ws://h/a", "ftp://x/y", "!the scheme of \"ftp://x/y\" is not one of ws, wss, http and https"},
    {"ws://h/a", "javascript:1", "!is not one of ws, wss, http and https"},
    {"ws://h/a", "", "!the redirect's target: it is empty"},
    {"ws://h/a", "#x", "!the redirect's target: it is empty"},
    {"ws://h/a", "http:/x", "!two slashes are missing"},
    {"ws://h/a", "http://x:0/", "!the redirect's target: the port is 0"},
    {"ws://h/a", "/a b", "!the redirect's target: a space"},
    {"echo:", "/a", "!only ws, wss and ws+unix URLs redirect"},
};

void test_redirects(void **) {
    for (const Redirect &row : redirects) {
        Url base;
        ErrorText error;
        uint8_t buffer[256];
        Writer out{ByteSpan(buffer, sizeof buffer)};
        out.text("##"); // what is in the writer before stays there
        assert_int_equal(url_parse(ByteView(row.base), &base, &error), 0);
        int status = url_resolve(base, ByteView(row.location), &out, &error);
        std::string about = std::string(row.base) + " -> " + row.location;
        if (row.result[0] == '!') {
            check_error(status, error, WSXDP_E_URL, row.result + 1, about);
            continue;
        }
        if (status != 0) fail_msg("%s: %s", about.c_str(), error.text);
        check_text(str(out.view()), std::string("##") + row.result, about);
    }
}

// Whatever the size of the buffer: the whole URL or E_URL, never a part and never a byte past the end.
void test_redirect_into_small_buffers(void **) {
    for (const Redirect &row : redirects) {
        if (row.result[0] == '!') continue;
        Url base;
        ErrorText error;
        assert_int_equal(url_parse(ByteView(row.base), &base, &error), 0);
        for (size_t size = 0; size < strlen(row.result); size++) {
            std::string buffer(size, 'x');
            Writer out{ByteSpan(&buffer[0], size)};
            int status = url_resolve(base, ByteView(row.location), &out, &error);
            check_error(status, error, WSXDP_E_URL, "is too long", row.location);
        }
    }
}

void test_percent_decode(void **) {
    const struct {
        const char *text;
        size_t room;
        int64_t size;
        const char *result;
    } rows[] = {
        {"", 0, 0, ""},
        {"abc", 3, 3, "abc"},
        {"abc", 2, WSXDP_E_URL, ""},
        {"%41%7e%7E", 3, 3, "A~~"},
        {"%", 9, WSXDP_E_URL, ""},
        {"%4", 9, WSXDP_E_URL, ""},
        {"%4g", 9, WSXDP_E_URL, ""},
        {"%g4", 9, WSXDP_E_URL, ""},
        {"a%2", 9, WSXDP_E_URL, ""},
        {"%41", 0, WSXDP_E_URL, ""},
        {"+", 1, 1, "+"},
    };
    for (const auto &row : rows) {
        std::string out(row.room, 'x');
        assert_int_equal(percent_decode(ByteView(row.text), ByteSpan(&out[0], row.room)), row.size);
        if (row.size >= 0) check_text(out.substr(0, static_cast<size_t>(row.size)), row.result, row.text);
    }
    uint8_t zero = 1;
    assert_int_equal(percent_decode(ByteView("%00"), ByteSpan(&zero, 1)), 1);
    assert_int_equal(zero, 0);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_every_prefix),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_limits_fit),
        cmocka_unit_test(test_no_credentials_in_sentences),
        cmocka_unit_test(test_proxy_accepted),
        cmocka_unit_test(test_proxy_refused),
        cmocka_unit_test(test_redirects),
        cmocka_unit_test(test_redirect_into_small_buffers),
        cmocka_unit_test(test_percent_decode),
    };
    return cmocka_run_group_tests_name("http/url", tests, nullptr, nullptr);
}
