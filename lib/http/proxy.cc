// SPDX-License-Identifier: MIT
// The proxy dialogue as a state machine over bytes. Never does I/O, never allocates, never shows credentials
// in a sentence, and never takes a byte that belongs to the target. Takes at most max_head_bytes of HTTP head
// per answer and interim_answers_max answers before the real one; a SOCKS answer is 262 bytes at most.
#include "proxy.h"
#include "text.h"
#include <arpa/inet.h>

namespace wx {

namespace {

constexpr uint8_t step_idle = 0;
constexpr uint8_t step_connect = 1; // HTTP: the answer to CONNECT
constexpr uint8_t step_method = 2;  // SOCKS: which method of authentication
constexpr uint8_t step_auth = 3;    // SOCKS: are the credentials right
constexpr uint8_t step_reply = 4;   // SOCKS: the answer to the request
constexpr uint8_t step_done = 5;
constexpr uint8_t step_failed = 6;

constexpr uint8_t interim_answers_max = 16; // RFC 9110 section 15.2 sets none; no proxy sends more than one
constexpr uint8_t socks_version = 5;
constexpr uint8_t socks_method_none = 0;
constexpr uint8_t socks_method_password = 2;
constexpr uint8_t socks_method_refused = 0xFF;
constexpr uint8_t socks_connect = 1;
constexpr uint8_t socks_ipv4 = 1;
constexpr uint8_t socks_name = 3;
constexpr uint8_t socks_ipv6 = 4;

int too_small(ErrorText *error) {
    return error->begin(WSXDP_E_TOO_BIG).add("the request to the proxy does not fit its buffer").code;
}

void write_target(const ProxyTunnel &tunnel, Writer *out) {
    out->text(tunnel.host_is_ipv6 ? "[" : "");
    out->bytes(tunnel.host);
    out->text(tunnel.host_is_ipv6 ? "]:" : ":");
    out->decimal(tunnel.port);
}

ErrorText &add_target(ErrorText &error, const ProxyTunnel &tunnel) {
    error.add(tunnel.host_is_ipv6 ? "[" : "").add(tunnel.host.first(100));
    return error.add(tunnel.host_is_ipv6 ? "]:" : ":").number(tunnel.port);
}

// Credentials without their percent signs; 255 bytes each is what RFC 1929 can carry, and for both kinds the
// limit is the same so that switching the proxy does not need other credentials.
int decode_credential(ByteView text, char out[256], ErrorText *error) {
    int64_t size = percent_decode(text, ByteSpan(out, 255));
    if (size < 0)
        return error->begin(WSXDP_E_URL)
            .add("proxy URL: the user name or password is longer than 255 bytes or badly percent-encoded")
            .code;
    out[size] = 0;
    return WSXDP_OK;
}

int check_target(const ProxyTunnel &tunnel, ErrorText *error) {
    if (tunnel.host.empty() || tunnel.port == 0)
        return error->begin(WSXDP_E_URL).add("proxy: the target has no host or port to connect to").code;
    if (tunnel.host.size > 255) // one length byte in RFC 1928
        return error->begin(WSXDP_E_URL).add("proxy: the target's host name is longer than 255 bytes").code;
    for (size_t i = 0; i < tunnel.host.size; i++)
        if (tunnel.host.data[i] <= 0x20 || tunnel.host.data[i] >= 0x7F)
            return add_quoted(error->begin(WSXDP_E_URL).add("proxy: the target's host "), tunnel.host)
                .add(" has a character that no host name has")
                .code;
    return WSXDP_OK;
}

// RFC 9110 section 9.3.6: the target is host and port, the port always.
int write_connect(const ProxyTunnel &tunnel, Writer *out) {
    out->text("CONNECT ");
    write_target(tunnel, out);
    out->text(" HTTP/1.1\r\nHost: ");
    write_target(tunnel, out);
    out->text("\r\n");
    if (tunnel.has_credentials) {
        uint8_t plain[512]; // 255, ':' and 255
        Writer credentials{ByteSpan(plain, sizeof plain)};
        credentials.text(tunnel.user);
        credentials.u8(':');
        credentials.text(tunnel.password);
        out->text("Proxy-Authorization: Basic ");
        out->base64(credentials.view());
        out->text("\r\n");
        explicit_bzero(plain, sizeof plain);
    }
    out->text("\r\n");
    return step_connect;
}

// RFC 1928 section 3: version, number of methods, methods.
int write_methods(const ProxyTunnel &tunnel, Writer *out) {
    out->u8(socks_version);
    out->u8(tunnel.has_credentials ? 2 : 1);
    out->u8(socks_method_none);
    if (tunnel.has_credentials) out->u8(socks_method_password);
    return step_method;
}

// RFC 1929 section 2: version 1, then user and password, each after its length.
void write_password(const ProxyTunnel &tunnel, Writer *out) {
    out->u8(1);
    out->u8(static_cast<uint8_t>(strlen(tunnel.user)));
    out->text(tunnel.user);
    out->u8(static_cast<uint8_t>(strlen(tunnel.password)));
    out->text(tunnel.password);
}

// Address type and address: literals as addresses, everything else as a name for the proxy to resolve.
void write_address(const ProxyTunnel &tunnel, Writer *out) {
    char text[256];
    memcpy(text, tunnel.host.data, tunnel.host.size < 255 ? tunnel.host.size : 255);
    text[tunnel.host.size < 255 ? tunnel.host.size : 255] = 0;
    uint8_t address[16];
    if (!tunnel.host_is_ipv6 && inet_pton(AF_INET, text, address) == 1) {
        out->u8(socks_ipv4);
        out->bytes(ByteView(address, 4));
    } else if (inet_pton(AF_INET6, text, address) == 1) {
        out->u8(socks_ipv6);
        out->bytes(ByteView(address, 16));
    } else {
        out->u8(socks_name);
        out->u8(static_cast<uint8_t>(tunnel.host.size));
        out->bytes(tunnel.host);
    }
}

// RFC 1928 section 4: version, command, reserved, address, port.
void write_socks_request(const ProxyTunnel &tunnel, Writer *out) {
    out->u8(socks_version);
    out->u8(socks_connect);
    out->u8(0);
    write_address(tunnel, out);
    out->be16(tunnel.port);
}

// One dialogue's inputs and outputs, to keep the steps' signatures short.
struct Feed {
    ProxyTunnel *tunnel;
    ByteSpan received; // what is left of it
    size_t max_head_bytes;
    size_t consumed;
    Writer *out;
    ErrorText *error;
};

void consume(Feed *feed, size_t count) {
    feed->received = ByteSpan(feed->received.data + count, feed->received.size - count);
    feed->consumed += count;
}

ByteView seen(const Feed &feed) { return ByteView(feed.received.data, feed.received.size); }

// The answer is in the wrong language; its first byte tells which one it may be.
int wrong_protocol(const Feed &feed, const char *wanted) {
    uint8_t first = feed.received.data[0];
    feed.error->begin(WSXDP_E_PROXY).add("the proxy's answer is not ").add(wanted).add("; it begins with ");
    add_quoted(*feed.error, seen(feed), 24);
    if (first == 0x15 || first == 0x16)
        return feed.error->add("; this looks like TLS, which a proxy URL cannot use").code;
    if (feed.tunnel->kind == Scheme::socks5 && first == 'H')
        return feed.error->add("; this looks like an HTTP proxy: use http:// in the option proxy").code;
    if (feed.tunnel->kind == Scheme::http && (first == 0 || first == 4 || first == 5))
        return feed.error->add("; this looks like a SOCKS proxy: use socks5:// in the option proxy").code;
    return feed.error->add("; check the proxy's port").code;
}

// The response parser's own sentence already begins with "the proxy's answer"; only the code differs.
int as_proxy_error(const Feed &feed) { return feed.error->code = WSXDP_E_PROXY; }

int connect_refused(const Feed &feed, const Response &response) {
    const ProxyTunnel &tunnel = *feed.tunnel;
    bool wants_credentials = response.status == 407;
    feed.error->begin(wants_credentials ? WSXDP_E_PROXY_AUTH : WSXDP_E_PROXY_REFUSED);
    add_status(feed.error->add("the proxy answered "), response);
    if (!wants_credentials) return add_target(feed.error->add(" to CONNECT "), tunnel).code;
    const ResponseHeader *challenge = response.find("Proxy-Authenticate");
    if (challenge) add_quoted(feed.error->add(" (Proxy-Authenticate: "), challenge->value).add(")");
    return feed.error
        ->add(tunnel.has_credentials ? "; it did not take the credentials in the option proxy"
                                     : "; put user:password@ into the option proxy")
        .code;
}

// One answer to CONNECT. 1: it was used up.
int step_connect_answer(Feed *feed) {
    ProxyTunnel *tunnel = feed->tunnel;
    int64_t size = tunnel->scanner.feed(seen(*feed), feed->max_head_bytes, feed->error);
    if (size == 0) return 0;
    if (size == WSXDP_E_NOT_HTTP) return wrong_protocol(*feed, "HTTP/1");
    if (size < 0) return as_proxy_error(*feed);
    Response response;
    ByteSpan head(feed->received.data, static_cast<size_t>(size));
    if (!ok(response_parse(head, &response, feed->error, response_from_proxy))) return as_proxy_error(*feed);
    if (response.status == 101)
        return feed->error->begin(WSXDP_E_PROXY)
            .add("the proxy answered 101 to CONNECT, which asks for no upgrade")
            .code;
    if (response.status >= 300) return connect_refused(*feed, response);
    consume(feed, static_cast<size_t>(size));
    tunnel->scanner = HeadScanner();
    // "A client MUST ignore any Content-Length or Transfer-Encoding header fields received in a successful
    // response to CONNECT" (RFC 9110 section 9.3.6): after the head comes the target.
    if (response.status >= 200)
        tunnel->step = step_done;
    else if (++tunnel->interim_answers > interim_answers_max)
        return feed->error->begin(WSXDP_E_PROXY)
            .add("the proxy sends one interim answer (1xx) after the other")
            .code;
    return 1;
}

int step_socks_method(Feed *feed) {
    const uint8_t *bytes = feed->received.data;
    const ProxyTunnel &tunnel = *feed->tunnel;
    if (bytes[0] != socks_version) return wrong_protocol(*feed, "SOCKS5");
    if (feed->received.size < 2) return 0;
    uint8_t method = bytes[1];
    if (method == socks_method_refused)
        return feed->error->begin(WSXDP_E_PROXY_AUTH)
            .add(tunnel.has_credentials
                     ? "the SOCKS proxy takes neither user and password nor a client without"
                     : "the SOCKS proxy wants credentials; put user:password@ into the option proxy")
            .code;
    consume(feed, 2);
    if (method == socks_method_none) {
        write_socks_request(tunnel, feed->out);
        feed->tunnel->step = step_reply;
        return 1;
    }
    if (method == socks_method_password && tunnel.has_credentials) {
        write_password(tunnel, feed->out);
        feed->tunnel->step = step_auth;
        return 1;
    }
    return feed->error->begin(WSXDP_E_PROXY)
        .add("the SOCKS proxy chose the authentication method ")
        .number(method)
        .add(", which was not offered")
        .code;
}

// RFC 1929 section 2: "If the server returns a `failure' (STATUS value other than X'00') status, it MUST
// close the connection." The version is 1; proxies that send SOCKS's own 5 are common and let through.
int step_socks_auth(Feed *feed) {
    const uint8_t *bytes = feed->received.data;
    if (bytes[0] != 1 && bytes[0] != socks_version)
        return feed->error->begin(WSXDP_E_PROXY)
            .add("the SOCKS proxy answers the credentials in version ")
            .number(bytes[0])
            .add(" instead of 1")
            .code;
    if (feed->received.size < 2) return 0;
    if (bytes[1] != 0)
        return feed->error->begin(WSXDP_E_PROXY_AUTH)
            .add("the SOCKS proxy did not take the user name and password in the option proxy (status ")
            .number(bytes[1])
            .add(")")
            .code;
    consume(feed, 2);
    write_socks_request(*feed->tunnel, feed->out);
    feed->tunnel->step = step_reply;
    return 1;
}

const char *socks_reply_text(uint8_t reply) { // RFC 1928 section 6
    static const char *const texts[] = {"succeeded",
                                        "general failure",
                                        "not allowed by the proxy's rules",
                                        "network unreachable",
                                        "host unreachable, or its name does not resolve",
                                        "connection refused by the target",
                                        "time to live expired",
                                        "the proxy does not know CONNECT",
                                        "the proxy does not take this type of address"};
    return reply < sizeof texts / sizeof texts[0] ? texts[reply] : "an unassigned reply code";
}

// Version, reply, reserved, bound address and port. The reserved byte and the address mean nothing to us. The
// whole length is known from five bytes; 0 for an unknown type of address.
size_t socks_reply_size(const uint8_t *bytes) {
    if (bytes[3] == socks_ipv4) return 4 + 4 + 2;
    if (bytes[3] == socks_ipv6) return 4 + 16 + 2;
    return bytes[3] == socks_name ? 4 + 1 + bytes[4] + 2u : 0;
}

int step_socks_reply(Feed *feed) {
    const uint8_t *bytes = feed->received.data;
    if (bytes[0] != socks_version) return wrong_protocol(*feed, "SOCKS5");
    if (feed->received.size < 2) return 0;
    if (bytes[1] != 0) { // some proxies send no more than this
        add_target(feed->error->begin(WSXDP_E_PROXY_REFUSED).add("the SOCKS proxy did not connect to "),
                   *feed->tunnel);
        return feed->error->add(": ")
            .add(socks_reply_text(bytes[1]))
            .add(" (reply ")
            .number(bytes[1])
            .add(")")
            .code;
    }
    if (feed->received.size < 5) return 0;
    size_t size = socks_reply_size(bytes);
    if (size == 0)
        return feed->error->begin(WSXDP_E_PROXY)
            .add("the SOCKS proxy's reply has the unknown address type ")
            .number(bytes[3])
            .code;
    if (feed->received.size < size) return 0;
    consume(feed, size);
    feed->tunnel->step = step_done;
    return 1;
}

// 1: a step was made, 0: more bytes are needed, < 0: over.
int advance(Feed *feed) {
    if (feed->received.size == 0) return 0;
    switch (feed->tunnel->step) {
    case step_connect:
        return step_connect_answer(feed);
    case step_method:
        return step_socks_method(feed);
    case step_auth:
        return step_socks_auth(feed);
    case step_reply:
        return step_socks_reply(feed);
    default:
        return feed->error->begin(WSXDP_E_STATE).add("the proxy dialogue was not begun or has failed").code;
    }
}

} // namespace

int proxy_tunnel_open(ProxyTunnel *tunnel, const Url &proxy, ByteView host, bool host_is_ipv6, uint16_t port,
                      ErrorText *error) {
    *tunnel = ProxyTunnel();
    if (proxy.scheme != Scheme::http && proxy.scheme != Scheme::socks5)
        return error->begin(WSXDP_E_INVALID).add("a proxy is http or socks5").code;
    tunnel->kind = proxy.scheme;
    tunnel->step = step_idle;
    tunnel->host = host;
    tunnel->host_is_ipv6 = host_is_ipv6;
    tunnel->port = port;
    tunnel->has_credentials = proxy.has_credentials;
    int status = check_target(*tunnel, error);
    if (!ok(status) || !proxy.has_credentials) return status;
    status = credentials_check(proxy.user, proxy.password, "proxy URL: ", error);
    if (ok(status)) status = decode_credential(proxy.user, tunnel->user, error);
    if (ok(status)) status = decode_credential(proxy.password, tunnel->password, error);
    if (ok(status) && tunnel->kind == Scheme::socks5 && tunnel->user[0] == 0) // RFC 1929: 1 to 255 bytes
        return error->begin(WSXDP_E_URL).add("proxy URL: a SOCKS5 password needs a user name before it").code;
    return status;
}

int proxy_tunnel_begin(ProxyTunnel *tunnel, Writer *out, ErrorText *error) {
    tunnel->scanner = HeadScanner();
    tunnel->interim_answers = 0;
    int next = tunnel->kind == Scheme::http ? write_connect(*tunnel, out) : write_methods(*tunnel, out);
    tunnel->step = static_cast<uint8_t>(out->failed ? step_failed : next);
    return out->failed ? too_small(error) : WSXDP_OK;
}

int proxy_tunnel_feed(ProxyTunnel *tunnel, ByteSpan received, size_t max_head_bytes, size_t *consumed,
                      Writer *out, ErrorText *error) {
    Feed feed{tunnel, received, max_head_bytes, 0, out, error};
    int result = 1;
    while (result == 1 && tunnel->step != step_done) result = advance(&feed);
    if (result >= 0 && out->failed) result = too_small(error);
    if (result < 0) tunnel->step = step_failed;
    *consumed = feed.consumed;
    return result;
}

} // namespace wx
