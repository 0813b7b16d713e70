// SPDX-License-Identifier: MIT
// A proxy's answers: the first byte says which proxy and target. Holds: fed whole and byte by byte, the
// outcome, the bytes sent and the bytes taken are the same; nothing is taken after the tunnel is there; a
// failure has a printable sentence with its code that shows no password.
#include "../lib/http/proxy.h"
#include <string>

using namespace wx;

static void require(bool holds) {
    if (!holds) __builtin_trap();
}

struct Outcome {
    int result = 0;
    size_t taken = 0;
    std::string sent;
};

static void check_sentence(const ErrorText &error, int status) {
    require(error.code == status && error.size > 0 && error.size < sizeof error.text);
    for (uint32_t i = 0; i < error.size; i++) require(error.text[i] >= 0x20 && error.text[i] < 0x7F);
}

static const char *const proxies[] = {"http://p:3128", "http://me:hunter2@p", "socks5://p",
                                      "socks5://me:hunter2@p"};
struct Target {
    const char *host;
    bool ipv6;
};
static const Target targets[] = {{"example.com", false}, {"10.0.0.1", false}, {"2001:db8::1", true}};

static Outcome run(uint8_t choice, ByteView bytes, size_t piece) {
    Url url;
    ErrorText error;
    ProxyTunnel tunnel;
    Outcome outcome;
    const Target &target = targets[(choice >> 2) % 3];
    require(ok(proxy_url_parse(ByteView(proxies[choice & 3]), &url, &error)));
    require(ok(proxy_tunnel_open(&tunnel, url, ByteView(target.host), target.ipv6, 443, &error)));
    uint8_t room[4096];
    Writer out{ByteSpan(room, sizeof room)};
    require(ok(proxy_tunnel_begin(&tunnel, &out, &error)));
    std::string pending;
    for (size_t at = 0; at < bytes.size && outcome.result == 0; at += piece) {
        pending.append(bytes.from(at).text(), bytes.from(at).first(piece).size);
        std::string exact(pending);
        size_t consumed = 0;
        outcome.result =
            proxy_tunnel_feed(&tunnel, ByteSpan(&exact[0], exact.size()), 512, &consumed, &out, &error);
        require(consumed <= pending.size());
        pending.erase(0, consumed);
        outcome.taken += consumed;
    }
    if (!ok(outcome.result)) {
        check_sentence(error, outcome.result);
        // A proxy that sends the password itself may be quoted; nobody else may show it.
        bool from_proxy = std::string(bytes.text(), bytes.size).find("hunter2") != std::string::npos;
        require(from_proxy || !strstr(error.text, "hunter2"));
    }
    outcome.sent.assign(out.view().text(), out.size());
    return outcome;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2 || size > 4096) return 0;
    ByteView bytes(data + 1, size - 1);
    Outcome whole = run(data[0], bytes, bytes.size);
    Outcome bytewise = run(data[0], bytes, 1);
    require(whole.result == bytewise.result && whole.taken == bytewise.taken && whole.sent == bytewise.sent);
    require(whole.result <= 1);
    return 0;
}
