// SPDX-License-Identifier: MIT
// WebSocket URLs (RFC 6455 section 3, RFC 3986): ws, wss, ws+unix, echo. Also http and socks5 for the proxy
// option. Views point into the text given; nothing is copied.
#pragma once
#include "../base/status.h"

namespace wx {

enum class Scheme : uint8_t { ws, wss, ws_unix, echo, http, https, socks5 };

struct Url {
    Scheme scheme = Scheme::ws;
    ByteView host; // without brackets; for ws_unix the socket's path, still percent-encoded
    bool host_is_ipv6 = false;
    bool host_is_ip = false; // IPv4 or IPv6 literal
    uint16_t port = 0;       // the scheme's default filled in
    bool port_is_default = false;
    ByteView target; // path and query, "/" if none; begins with '?' when the URL has a query and no path:
                     // the request builder then writes the '/'. No fragment (refused, RFC 6455 section 3).
                     // For echo all that follows the colon.
    bool has_credentials = false;
    ByteView user; // still percent-encoded; checked to decode to credential_bytes_max at most
    ByteView password;
};

// A socket path that sockaddr_un cannot hold is refused here, so decoding into unix_path_max bytes works.
constexpr size_t unix_path_max = 107;

// ws and wss URLs, ws+unix:///path:/resource, echo: ; E_URL with a sentence that says what is wrong where.
// Sentences never show credentials.
int url_parse(ByteView text, Url *out, ErrorText *error);
// http://, socks5:// (and socks5h, the same: names always go to the proxy) for the proxy option; https is
// E_UNSUPPORTED.
int proxy_url_parse(ByteView text, Url *out, ErrorText *error);
// A Location header against the URL it came from (RFC 3986 section 5.2): absolute (ws, wss, http->ws,
// https->wss), //host/path, /path, ?query or relative; a fragment is dropped. Credentials go along only where
// the location names no host. Writes a whole URL into out; E_URL if it cannot, and when the redirect would
// lead from wss to ws.
int url_resolve(const Url &base, ByteView location, Writer *out, ErrorText *error);
// %XX decoding for credentials; bytes written or E_URL. Never writes past out.
int64_t percent_decode(ByteView text, ByteSpan out);

} // namespace wx
