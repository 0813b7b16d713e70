// SPDX-License-Identifier: MIT
// URLs: the first line is parsed as a WebSocket URL and as a proxy's, the second is a Location met at that
// URL. Holds: views stay inside the text, what is accepted makes a request with as many lines as it must
// have, a resolved redirect parses, a sentence is printable.
#include "../lib/http/upgrade.h"

using namespace wx;

static void require(bool holds) {
    if (!holds) __builtin_trap();
}

static void inside(ByteView part, ByteView whole) {
    if (part.size == 0) return;
    require(part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
}

static void check_sentence(const ErrorText &error, int status) {
    require(error.code == status && error.size > 0 && error.size < sizeof error.text);
    for (uint32_t i = 0; i < error.size; i++) require(error.text[i] >= 0x20 && error.text[i] < 0x7F);
}

// Whatever the URL holds, nothing in it may begin a line of its own.
static void check_request(const Url &url) {
    static uint8_t buffer[131072];
    UpgradeRequest request;
    request.url = &url;
    Writer out{ByteSpan(buffer, sizeof buffer)};
    ErrorText error;
    int status = upgrade_request_build(request, &out, &error);
    require(status == 0);
    size_t lines = 0;
    for (size_t i = 0; i < out.size(); i++) {
        if (buffer[i] == '\n') {
            lines++;
            require(buffer[i - 1] == '\r');
        }
        require(buffer[i] == '\r' || buffer[i] == '\n' || (buffer[i] >= 0x20 && buffer[i] < 0x7F));
    }
    require(lines == (url.has_credentials ? 8u : 7u));
}

static void check_views(const Url &url, ByteView text) {
    inside(url.host, text);
    inside(url.user, text);
    inside(url.password, text);
    if (!equal(url.target, ByteView("/"))) inside(url.target, text);
}

static void check_redirect(const Url &base, ByteView location) {
    uint8_t buffer[512];
    ErrorText error;
    Writer out{ByteSpan(buffer, sizeof buffer)};
    int status = url_resolve(base, location, &out, &error);
    if (!ok(status)) {
        check_sentence(error, status);
        return;
    }
    Url resolved;
    require(ok(url_parse(out.view(), &resolved, &error)));
    require(base.scheme != Scheme::wss || resolved.scheme == Scheme::wss);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    ByteView all(data, size);
    const void *end = size ? memchr(data, '\n', size) : nullptr;
    ByteView text = end ? all.first(static_cast<size_t>(static_cast<const uint8_t *>(end) - data)) : all;
    ByteView location = all.from(text.size + 1);
    Url url;
    ErrorText error;
    int status = url_parse(text, &url, &error);
    if (ok(status)) {
        check_views(url, text);
        if (url.scheme != Scheme::echo) check_request(url);
        check_redirect(url, location);
    } else {
        check_sentence(error, status);
    }
    Url proxy;
    status = proxy_url_parse(text, &proxy, &error);
    if (ok(status))
        check_views(proxy, text);
    else
        check_sentence(error, status);
    uint8_t small[16];
    int64_t decoded = percent_decode(location, ByteSpan(small, sizeof small));
    require(decoded == WSXDP_E_URL || (decoded >= 0 && decoded <= 16));
    return 0;
}
