// SPDX-License-Identifier: MIT
// The proxy dialogues against scripted proxies: every request byte for byte, the answers at every split and
// byte by byte, nothing of the target's bytes taken, every refusal in words.
#include "../../lib/http/proxy.h"
#include "check.h"
#include <vector>

using namespace wx;

namespace {

std::string bytes(std::initializer_list<int> values) {
    std::string text;
    for (int value : values) text.push_back(static_cast<char>(value));
    return text;
}

struct Target {
    const char *host;
    bool ipv6;
    uint16_t port;
};

// A dialogue as the caller of the tunnel sees it: receive buffer in front, what was sent behind.
struct Dialogue {
    ProxyTunnel tunnel;
    ErrorText error;
    std::string sent;
    std::string pending; // received and not consumed
    int result = 0;

    int open(const char *proxy, const Target &target) {
        Url url;
        if (proxy_url_parse(ByteView(proxy), &url, &error) != 0) fail_msg("%s: %s", proxy, error.text);
        return proxy_tunnel_open(&tunnel, url, ByteView(target.host), target.ipv6, target.port, &error);
    }
    void begin() {
        uint8_t room[2048];
        Writer out{ByteSpan(room, sizeof room)};
        result = proxy_tunnel_begin(&tunnel, &out, &error);
        sent += str(out.view());
    }
    void receive(const std::string &more) {
        pending += more;
        std::vector<uint8_t> exact(pending.begin(), pending.end());
        uint8_t room[2048];
        Writer out{ByteSpan(room, sizeof room)};
        size_t consumed = 99999;
        result =
            proxy_tunnel_feed(&tunnel, ByteSpan(exact.data(), exact.size()), 4096, &consumed, &out, &error);
        assert_true(consumed <= pending.size());
        pending.erase(0, consumed);
        sent += str(out.view());
    }
};

void start(Dialogue *dialogue, const char *proxy, const Target &target) {
    if (dialogue->open(proxy, target) != 0) fail_msg("%s: %s", proxy, dialogue->error.text);
    dialogue->begin();
    assert_int_equal(dialogue->result, 0);
}

const Target name_target = {"example.com", false, 443};

struct Script {
    const char *proxy;
    Target target;
    std::vector<std::string> says;  // what the client sends, in order
    std::vector<std::string> hears; // what the proxy answers to each
};

const std::string tunnel_ok = bytes({5, 0, 0, 1, 127, 0, 0, 1, 4, 56});

const Script scripts[] = {
    {"http://proxy:3128",
     name_target,
     {"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com:443\r\n\r\n"},
     {"HTTP/1.1 200 Connection established\r\n\r\n"}},
    {"http://proxy",
     {"::1", true, 80},
     {"CONNECT [::1]:80 HTTP/1.1\r\nHost: [::1]:80\r\n\r\n"},
     {"HTTP/1.0 200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n"}},
    {"http://Aladdin:open%20sesame@proxy",
     {"10.0.0.1", false, 8080},
     {"CONNECT 10.0.0.1:8080 HTTP/1.1\r\nHost: 10.0.0.1:8080\r\n"
      "Proxy-Authorization: Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==\r\n\r\n"},
     {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 x\r\na: b\r\n\r\nHTTP/1.1 299 x\r\na:\r\n b\r\n\r\n"}},
    {"socks5://proxy",
     name_target,
     {bytes({5, 1, 0}), bytes({5, 1, 0, 3, 11}) + "example.com" + bytes({1, 187})},
     {bytes({5, 0}), tunnel_ok}},
    {"socks5h://proxy",
     {"10.1.2.255", false, 8080},
     {bytes({5, 1, 0}), bytes({5, 1, 0, 1, 10, 1, 2, 255, 31, 144})},
     {bytes({5, 0}), bytes({5, 0, 0, 3, 2}) + "pq" + bytes({0, 1})}},
    {"socks5://proxy",
     {"2001:db8::5", true, 443},
     {bytes({5, 1, 0}), bytes({5, 1, 0, 4, 0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 1, 187})},
     {bytes({5, 0}), bytes({5, 0, 0, 4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0, 1})}},
    {"socks5://us:p%3Aw@proxy",
     name_target,
     {bytes({5, 2, 0, 2}), bytes({1, 2}) + "us" + bytes({3}) + "p:w",
      bytes({5, 1, 0, 3, 11}) + "example.com" + bytes({1, 187})},
     {bytes({5, 2}), bytes({1, 0}), tunnel_ok}},
    {"socks5://us@proxy",
     name_target, // an empty password, and the version that many proxies send
     {bytes({5, 2, 0, 2}), bytes({1, 2}) + "us" + bytes({0}),
      bytes({5, 1, 0, 3, 11}) + "example.com" + bytes({1, 187})},
     {bytes({5, 2}), bytes({5, 0}), bytes({5, 0, 0, 3, 0, 0, 0})}},
    {"socks5://us:pw@proxy",
     name_target, // credentials offered but not wanted
     {bytes({5, 2, 0, 2}), bytes({5, 1, 0, 3, 11}) + "example.com" + bytes({1, 187})},
     {bytes({5, 0}), tunnel_ok}},
};

const std::string from_target = "HTTP/1.1 101 early\r\n\r\n";

// Every answer split at `split` (counted over the whole dialogue); the last comes with the target's bytes.
void run_script(const Script &script, size_t split, bool bytewise) {
    Dialogue dialogue;
    start(&dialogue, script.proxy, script.target);
    check_text(dialogue.sent, script.says[0], script.proxy);
    for (size_t turn = 0; turn < script.hears.size(); turn++) {
        bool last = turn + 1 == script.hears.size();
        const std::string &answer = script.hears[turn];
        dialogue.sent.clear();
        size_t piece = bytewise ? 1 : split < answer.size() ? split : answer.size();
        for (size_t at = 0; at < answer.size() && piece > 0; at += piece) {
            if (at > 0 && !bytewise) piece = answer.size() - at;
            dialogue.receive(answer.substr(at, piece) +
                             (last && at + piece >= answer.size() ? from_target : ""));
            if (at + piece < answer.size()) assert_int_equal(dialogue.result, 0);
        }
        if (piece == 0) dialogue.receive(answer + (last ? from_target : ""));
        if (dialogue.result < 0) fail_msg("%s: %s", script.proxy, dialogue.error.text);
        assert_int_equal(dialogue.result, last ? 1 : 0);
        check_text(dialogue.sent, last ? "" : script.says[turn + 1], script.proxy);
        check_text(dialogue.pending, last ? from_target : "", script.proxy);
    }
    dialogue.receive(""); // once there, it stays there and takes nothing
    assert_int_equal(dialogue.result, 1);
    check_text(dialogue.pending, from_target, script.proxy);
}

void test_dialogues_at_every_split(void **) {
    for (const Script &script : scripts) {
        size_t longest = 0;
        for (const std::string &answer : script.hears)
            longest = answer.size() > longest ? answer.size() : longest;
        for (size_t split = 0; split <= longest; split++) run_script(script, split, false);
        run_script(script, 0, true);
    }
}

// A proxy that does not wait for us: all its answers at once.
void test_answers_all_at_once(void **) {
    for (const Script &script : scripts) {
        Dialogue dialogue;
        start(&dialogue, script.proxy, script.target);
        std::string all, wanted;
        for (const std::string &answer : script.hears) all += answer;
        for (const std::string &request : script.says) wanted += request;
        dialogue.receive(all + from_target);
        assert_int_equal(dialogue.result, 1);
        check_text(dialogue.sent, wanted, script.proxy);
        check_text(dialogue.pending, from_target, script.proxy);
    }
}

struct Refusal {
    const char *proxy;
    std::string answers;
    int code;
    const char *sentence;
};

const Refusal refusals[] = {
    {"http://p", "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=x\r\n\r\n", WSXDP_E_PROXY_AUTH,
     "the proxy answered 407 Auth (Proxy-Authenticate: \"Basic realm=x\"); put user:password@ into the "
     "option proxy"},
    {"http://u:secret@p", "HTTP/1.1 407 Auth\r\n\r\n", WSXDP_E_PROXY_AUTH,
     "the proxy answered 407 Auth; it did not take the credentials in the option proxy"},
    {"http://p", "HTTP/1.1 403 Forbidden\r\n\r\n", WSXDP_E_PROXY_REFUSED,
     "the proxy answered 403 Forbidden to CONNECT example.com:443"},
    {"http://p", "HTTP/1.1 503 Bad\x80\r\n\r\n", WSXDP_E_PROXY_REFUSED,
     "the proxy answered 503 Bad\\x80 to CONNECT"},
    {"http://p", "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", WSXDP_E_PROXY_REFUSED,
     "the proxy answered 302 Found"},
    {"http://p", "HTTP/1.1 101 Switching\r\n\r\n", WSXDP_E_PROXY, "the proxy answered 101 to CONNECT"},
    {"http://p", "HTTP/1.1 200 OK\r\nbad line\r\n\r\n", WSXDP_E_PROXY,
     "the proxy's answer: line 2 has no colon: \"bad line\""},
    {"http://p", "HTTP/1.1 200 OK\r\na: " + std::string(5000, 'x'), WSXDP_E_PROXY,
     "the response head is longer than 4096 bytes"},
    {"http://p", bytes({5, 255}), WSXDP_E_PROXY,
     "it begins with \"\\x05\\xff\"; this looks like a SOCKS proxy: use socks5://"},
    {"http://p", bytes({0, 91}), WSXDP_E_PROXY, "this looks like a SOCKS proxy"},
    {"http://p", bytes({0x15, 3, 1}), WSXDP_E_PROXY,
     "is not HTTP/1; it begins with \"\\x15\\x03\\x01\"; this looks like TLS"},
    {"http://p", "SSH-2.0-x", WSXDP_E_PROXY,
     "the proxy's answer is not HTTP/1; it begins with \"SSH-2.0-x\"; check the proxy's"},
    {"socks5://p", "HTTP/1.1 400 Bad Request\r\n", WSXDP_E_PROXY,
     "the proxy's answer is not SOCKS5; it begins with \"HTTP/1.1 400 Bad Request...\"; this looks like an "
     "HTTP proxy"},
    {"socks5://p", bytes({4}), WSXDP_E_PROXY,
     "the proxy's answer is not SOCKS5; it begins with \"\\x04\"; check the proxy's port"},
    {"socks5://p", bytes({5, 255}), WSXDP_E_PROXY_AUTH,
     "the SOCKS proxy wants credentials; put user:password@ into"},
    {"socks5://u:secret@p", bytes({5, 255}), WSXDP_E_PROXY_AUTH,
     "the SOCKS proxy takes neither user and password nor a client without"},
    {"socks5://p", bytes({5, 2}), WSXDP_E_PROXY,
     "the SOCKS proxy chose the authentication method 2, which was not offered"},
    {"socks5://u:secret@p", bytes({5, 1}), WSXDP_E_PROXY,
     "chose the authentication method 1, which was not offered"},
    {"socks5://u:secret@p", bytes({5, 2, 1, 1}), WSXDP_E_PROXY_AUTH,
     "the SOCKS proxy did not take the user name and password in the option proxy (status 1)"},
    {"socks5://u:secret@p", bytes({5, 2, 1, 255}), WSXDP_E_PROXY_AUTH, "(status 255)"},
    {"socks5://u:secret@p", bytes({5, 2, 9}), WSXDP_E_PROXY,
     "answers the credentials in version 9 instead of 1"},
    {"socks5://p", bytes({5, 0, 4}), WSXDP_E_PROXY,
     "the proxy's answer is not SOCKS5; it begins with \"\\x04\""},
    {"socks5://p", bytes({5, 0, 5, 1}), WSXDP_E_PROXY_REFUSED,
     "the SOCKS proxy did not connect to example.com:443: general failure (reply 1)"},
    {"socks5://p", bytes({5, 0, 5, 2}), WSXDP_E_PROXY_REFUSED, "not allowed by the proxy's rules (reply 2)"},
    {"socks5://p", bytes({5, 0, 5, 3}), WSXDP_E_PROXY_REFUSED, "network unreachable (reply 3)"},
    {"socks5://p", bytes({5, 0, 5, 4}), WSXDP_E_PROXY_REFUSED,
     "host unreachable, or its name does not resolve (reply 4)"},
    {"socks5://p", bytes({5, 0, 5, 5, 0, 1, 0, 0, 0, 0, 0, 0}), WSXDP_E_PROXY_REFUSED,
     "connection refused by the target (reply 5)"},
    {"socks5://p", bytes({5, 0, 5, 6}), WSXDP_E_PROXY_REFUSED, "time to live expired (reply 6)"},
    {"socks5://p", bytes({5, 0, 5, 7}), WSXDP_E_PROXY_REFUSED, "the proxy does not know CONNECT (reply 7)"},
    {"socks5://p", bytes({5, 0, 5, 8}), WSXDP_E_PROXY_REFUSED,
     "the proxy does not take this type of address (reply 8)"},
    {"socks5://p", bytes({5, 0, 5, 9}), WSXDP_E_PROXY_REFUSED, "an unassigned reply code (reply 9)"},
    {"socks5://p", bytes({5, 0, 5, 255}), WSXDP_E_PROXY_REFUSED, "an unassigned reply code (reply 255)"},
    {"socks5://p", bytes({5, 0, 5, 0, 0, 2, 0}), WSXDP_E_PROXY,
     "the SOCKS proxy's reply has the unknown address type 2"},
};

void check_refusal(const Refusal &row, const Dialogue &dialogue) {
    check_error(dialogue.result, dialogue.error, row.code, row.sentence, row.answers);
    check_printable(dialogue.error);
    if (strstr(dialogue.error.text, "secret")) fail_msg("%s", dialogue.error.text);
}

void test_refusals(void **) {
    for (const Refusal &row : refusals) {
        Dialogue dialogue;
        start(&dialogue, row.proxy, name_target);
        dialogue.receive(row.answers);
        check_refusal(row, dialogue);
        dialogue.receive("x"); // a failed dialogue does not come back to life
        check_error(dialogue.result, dialogue.error, WSXDP_E_STATE, "was not begun or has failed",
                    row.answers);
        dialogue.sent.clear();
        dialogue.begin(); // but can be begun again, for the next attempt
        assert_int_equal(dialogue.result, 0);
        assert_false(dialogue.sent.empty());
    }
}

// Byte by byte the code is the same; the sentence may know less of what is still to come.
void test_refusals_byte_by_byte(void **) {
    for (const Refusal &row : refusals) {
        Dialogue dialogue;
        start(&dialogue, row.proxy, name_target);
        for (size_t at = 0; at < row.answers.size() && dialogue.result == 0; at++)
            dialogue.receive(row.answers.substr(at, 1));
        assert_int_equal(dialogue.result, row.code);
    }
}

void test_interim_answers_are_bounded(void **) {
    std::string interim = "HTTP/1.1 100 Continue\r\n\r\n";
    Dialogue dialogue;
    start(&dialogue, "http://p", name_target);
    for (int i = 0; i < 16; i++) {
        dialogue.receive(interim);
        assert_int_equal(dialogue.result, 0);
    }
    dialogue.receive(interim);
    check_error(dialogue.result, dialogue.error, WSXDP_E_PROXY, "one interim answer (1xx) after the other",
                "interim");
}

void test_open_refused(void **) {
    std::string long_user = "socks5://" + std::string(256, 'u') + ":p@h";
    std::string long_password = "http://u:" + std::string(256, 'p') + "@h";
    std::string long_name(256, 'n');
    const struct {
        const char *proxy;
        Target target;
        const char *sentence;
    } rows[] = {
        {long_user.c_str(), name_target, "the user name or password is longer than 255 bytes"},
        {long_password.c_str(), name_target, "the user name or password is longer than 255 bytes"},
        {"socks5://:p@h", name_target, "a SOCKS5 password needs a user name before it"},
        {"http://h", {"", false, 443}, "the target has no host or port"},
        {"http://h", {"h", false, 0}, "the target has no host or port"},
        {"http://h", {long_name.c_str(), false, 1}, "the target's host name is longer than 255 bytes"},
        {"http://h",
         {"a\r\nX: y", false, 1},
         "the target's host \"a\\x0d\\x0aX: y\" has a character that no host name has"},
        {"socks5://h", {"a b", false, 1}, "has a character that no host name has"},
    };
    for (const auto &row : rows) {
        Dialogue dialogue;
        check_error(dialogue.open(row.proxy, row.target), dialogue.error, WSXDP_E_URL, row.sentence,
                    row.proxy);
    }
    // A URL that did not come from the parser: the scheme and the credentials are looked at again.
    Url url;
    ProxyTunnel tunnel;
    ErrorText error;
    check_error(proxy_tunnel_open(&tunnel, url, ByteView("h"), false, 1, &error), error, WSXDP_E_INVALID,
                "a proxy is http or socks5", "scheme");
    url.scheme = Scheme::http;
    url.has_credentials = true;
    url.user = ByteView("%0d");
    check_error(proxy_tunnel_open(&tunnel, url, ByteView("h"), false, 1, &error), error, WSXDP_E_URL,
                "has a control character", "credentials");
}

void test_largest_fits(void **) {
    std::string user(255, 'u'), password(255, 'p'), name(255, 'n');
    for (const char *scheme : {"http", "socks5"}) {
        Dialogue dialogue;
        start(&dialogue, (std::string(scheme) + "://" + user + ":" + password + "@h").c_str(),
              {name.c_str(), false, 65535});
        if (scheme[0] == 'h') continue;
        dialogue.receive(bytes({5, 2}));
        assert_int_equal(dialogue.result, 0);
        dialogue.receive(bytes({1, 0}));
        assert_int_equal(dialogue.result, 0);
        check_text(dialogue.sent,
                   bytes({5, 2, 0, 2}) + bytes({1, 255}) + user + bytes({255}) + password +
                       bytes({5, 1, 0, 3, 255}) + name + bytes({255, 255}),
                   "largest");
    }
}

void test_small_room(void **) {
    for (const Script &script : scripts) {
        Dialogue dialogue;
        assert_int_equal(dialogue.open(script.proxy, script.target), 0);
        for (size_t room = 0; room < script.says[0].size(); room++) {
            std::vector<uint8_t> memory(room);
            Writer out{ByteSpan(memory.data(), room)};
            int status = proxy_tunnel_begin(&dialogue.tunnel, &out, &dialogue.error);
            check_error(status, dialogue.error, WSXDP_E_TOO_BIG, "does not fit its buffer", script.proxy);
        }
    }
    Dialogue dialogue;
    start(&dialogue, "socks5://p", name_target);
    std::string answer = bytes({5, 0});
    Writer nothing{ByteSpan(nullptr, 0)};
    size_t consumed = 0;
    int status = proxy_tunnel_feed(&dialogue.tunnel, ByteSpan(&answer[0], 2), 99, &consumed, &nothing,
                                   &dialogue.error);
    check_error(status, dialogue.error, WSXDP_E_TOO_BIG, "does not fit its buffer", "second request");
}

} // namespace

int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(test_dialogues_at_every_split),
        cmocka_unit_test(test_answers_all_at_once),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_refusals_byte_by_byte),
        cmocka_unit_test(test_interim_answers_are_bounded),
        cmocka_unit_test(test_open_refused),
        cmocka_unit_test(test_largest_fits),
        cmocka_unit_test(test_small_room),
    };
    return cmocka_run_group_tests_name("http/proxy", tests, nullptr, nullptr);
}
