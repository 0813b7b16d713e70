// SPDX-License-Identifier: MIT
// Asking a proxy for a tunnel, without I/O: HTTP CONNECT (RFC 9110 section 9.3.6, Basic credentials) and
// SOCKS5 (RFC 1928, user name and password RFC 1929). Both are the same little machine: bytes to send, bytes
// received, done or failed.
#pragma once
#include "response.h"
#include "url.h"

namespace wx {

struct ProxyTunnel {
    Scheme kind = Scheme::http; // http or socks5
    // The target: name or IP literal without brackets (names are resolved by the proxy). A view: it must
    // stay where it is until the tunnel is there.
    ByteView host;
    bool host_is_ipv6 = false;
    uint16_t port = 0;
    char user[256] = {0}; // decoded; RFC 1929 allows 255 bytes each
    char password[256] = {0};
    bool has_credentials = false;
    uint8_t step = 0;
    uint8_t interim_answers = 0; // 1xx before the real one
    HeadScanner scanner;
};

// From the proxy's URL and the target; E_URL when credentials do not fit or decode, or the target has no host
// or a name that is too long. E_INVALID for a proxy scheme other than http and socks5.
int proxy_tunnel_open(ProxyTunnel *tunnel, const Url &proxy, ByteView host, bool host_is_ipv6, uint16_t port,
                      ErrorText *error);
// The first bytes to send. Starts over when called again. E_TOO_BIG when out is too small (2 KiB always do).
int proxy_tunnel_begin(ProxyTunnel *tunnel, Writer *out, ErrorText *error);
// Bytes received so far and not yet consumed. Sets *consumed; may write the next request into out.
// 1: tunnel is there (bytes after *consumed belong to the target), 0: more is needed, < 0: E_PROXY,
// E_PROXY_REFUSED, E_PROXY_AUTH with a sentence (status line or SOCKS reply in words), E_STATE before begin
// or after a failure.
int proxy_tunnel_feed(ProxyTunnel *tunnel, ByteSpan received, size_t max_head_bytes, size_t *consumed,
                      Writer *out, ErrorText *error);

} // namespace wx
