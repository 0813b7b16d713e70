// SPDX-License-Identifier: MIT
// The opening handshake, client side. Builds the request in one pass into the buffer it is given and checks
// the answer in the order of RFC 6455 section 4.1. Never allocates, never shows credentials or the values of
// the user's headers in a sentence. The meaning of extension parameters is the extension's own business.
#include "upgrade.h"
#include "text.h"

namespace wx {

namespace {

bool given(const char *text) { return text && *text; }

bool is_user_header(const UpgradeRequest &request, const char *name) {
    for (size_t i = 0; i < request.header_count; i++)
        if (equal_ignore_case(ByteView(request.headers[i].name), ByteView(name))) return true;
    return false;
}

int invalid(ErrorText *error, const char *name, const char *what) {
    return add_quoted(error->begin(WSXDP_E_INVALID).add("header "), ByteView(name)).add(": ").add(what).code;
}

// A line end inside a value would begin a header, or a request, of its own.
int check_value(const char *name, const char *value, ErrorText *error) {
    for (const char *at = value ? value : ""; *at; at++)
        if (!is_field_char(static_cast<uint8_t>(*at)))
            return invalid(error, name, "its value has a control character, which HTTP forbids");
    return WSXDP_OK;
}

int check_name(const char *name, ErrorText *error) {
    ByteView view(name);
    if (!is_token(view))
        return invalid(error, name ? name : "", "a header name is letters, digits and -_.!#$%&'*+^`|~");
    if (equal_ignore_case(view, ByteView("Sec-WebSocket-Protocol")))
        return invalid(error, name, "the handshake sets it; use the option subprotocol");
    if (equal_ignore_case(view, ByteView("Sec-WebSocket-Extensions")))
        return invalid(error, name, "the handshake sets it; compression is switched on by its own option");
    // RFC 6455 section 11.3 reserves the prefix; the rest would change what the server takes for the body.
    static const char *const own[] = {"Upgrade",           "Connection", "Content-Length",
                                      "Transfer-Encoding", "Trailer",    "Expect"};
    bool refused = equal_ignore_case(view.first(14), ByteView("Sec-WebSocket-"));
    for (const char *word : own) refused = refused || equal_ignore_case(view, ByteView(word));
    return refused ? invalid(error, name, "it belongs to the handshake and cannot be set") : WSXDP_OK;
}

int check_single(const UpgradeRequest &request, const char *name, ErrorText *error) {
    size_t count = 0;
    for (size_t i = 0; i < request.header_count; i++)
        count += equal_ignore_case(ByteView(request.headers[i].name), ByteView(name));
    return count > 1 ? invalid(error, name, "it is set more than once") : WSXDP_OK;
}

int check_headers(const UpgradeRequest &request, ErrorText *error) {
    int status = WSXDP_OK;
    for (size_t i = 0; ok(status) && i < request.header_count; i++) {
        status = check_name(request.headers[i].name, error);
        if (ok(status)) status = check_value(request.headers[i].name, request.headers[i].value, error);
    }
    static const char *const single[] = {"Host", "Origin", "User-Agent", "Authorization"};
    for (const char *name : single)
        if (ok(status)) status = check_single(request, name, error);
    if (ok(status)) status = check_value("Origin", request.origin, error);
    if (ok(status)) status = check_value("User-Agent", request.user_agent, error);
    if (ok(status)) status = check_value("Sec-WebSocket-Extensions", request.extensions, error);
    return status;
}

// "The elements that comprise this value MUST be non-empty strings with characters in the range U+0021 to
// U+007E not including separator characters [...] and MUST all be unique strings" (RFC 6455 section 4.1).
int check_subprotocols(const char *subprotocols, ErrorText *error) {
    if (!given(subprotocols)) return WSXDP_OK;
    ByteView rest(subprotocols);
    ByteView element;
    while (next_element(&rest, &element)) {
        if (!is_token(element))
            return add_quoted(error->begin(WSXDP_E_INVALID).add("subprotocol "), element)
                .add(" is not a token: letters, digits and -_.!#$%&'*+^`|~, separated by commas")
                .code;
        ByteView later = rest;
        ByteView other;
        while (next_element(&later, &other))
            if (equal(element, other))
                return add_quoted(error->begin(WSXDP_E_INVALID).add("subprotocol "), element)
                    .add(" is offered twice")
                    .code;
    }
    return WSXDP_OK;
}

void write_field(Writer *out, const char *name, const char *value) {
    out->text(name);
    out->text(": ");
    out->text(value ? value : "");
    out->text("\r\n");
}

// "The request MUST contain a |Host| header field whose value contains /host/ plus optionally ":" followed
// by /port/ (when not using the default port)" (RFC 6455 section 4.1).
void write_host(const Url &url, Writer *out) {
    out->text("Host: ");
    if (url.scheme == Scheme::ws_unix) {
        out->text("localhost\r\n");
        return;
    }
    out->text(url.host_is_ipv6 ? "[" : "");
    out->bytes(url.host);
    out->text(url.host_is_ipv6 ? "]" : "");
    if (!url.port_is_default) {
        out->u8(':');
        out->decimal(url.port);
    }
    out->text("\r\n");
}

void write_key(const uint8_t key[16], Writer *out) {
    out->text("Sec-WebSocket-Key: ");
    out->base64(ByteView(key, 16));
    out->text("\r\n");
}

int write_authorization(const Url &url, Writer *out) {
    out->text("Authorization: ");
    int status = basic_write(url.user, url.password, out);
    out->text("\r\n");
    return status;
}

void write_request_line(const Url &url, Writer *out) {
    out->text("GET ");
    if (url.target.empty() || url.target.data[0] != '/') out->u8('/'); // ws://host?query
    out->bytes(url.target);
    out->text(" HTTP/1.1\r\n");
}

bool has_own(const UpgradeRequest &request, const char *name, const char *value) {
    return given(value) && !is_user_header(request, name);
}

} // namespace

int upgrade_request_build(const UpgradeRequest &request, Writer *out, ErrorText *error) {
    int status = check_headers(request, error);
    if (ok(status)) status = check_subprotocols(request.subprotocols, error);
    if (!ok(status)) return status;
    const Url &url = *request.url;
    write_request_line(url, out);
    if (!is_user_header(request, "Host")) write_host(url, out);
    out->text("Upgrade: websocket\r\nConnection: Upgrade\r\n");
    write_key(request.key, out);
    out->text("Sec-WebSocket-Version: 13\r\n");
    if (given(request.subprotocols)) write_field(out, "Sec-WebSocket-Protocol", request.subprotocols);
    if (given(request.extensions)) write_field(out, "Sec-WebSocket-Extensions", request.extensions);
    if (has_own(request, "Origin", request.origin)) write_field(out, "Origin", request.origin);
    if (has_own(request, "User-Agent", request.user_agent))
        write_field(out, "User-Agent", request.user_agent);
    if (url.has_credentials && !is_user_header(request, "Authorization"))
        status = write_authorization(url, out);
    for (size_t i = 0; i < request.header_count; i++)
        write_field(out, request.headers[i].name, request.headers[i].value);
    out->text("\r\n");
    if (!out->failed && ok(status)) return WSXDP_OK;
    if (status == WSXDP_E_URL) return error->begin(status).add("URL: the credentials do not decode").code;
    return error->begin(WSXDP_E_TOO_BIG)
        .add("the upgrade request does not fit; send fewer or shorter headers")
        .code;
}

namespace {

// Begins "the server answered 404 Not Found instead of 101 Switching Protocols".
ErrorText &begin_status(const Response &response, int code, ErrorText *error) {
    return add_status(error->begin(code).add("the server answered "), response);
}

// ", Name: value" when the response has the field: what the server itself says about the refusal.
ErrorText &add_field(ErrorText &error, const Response &response, const char *name) {
    const ResponseHeader *header = response.find(name);
    return header ? add_quoted(error.add(" (").add(name).add(": "), header->value).add(")") : error;
}

bool is_redirect(uint16_t status) {
    return (status >= 300 && status <= 303) || status == 307 || status == 308;
}

int check_redirect(const Response &response, UpgradeResult *out, ErrorText *error) {
    size_t count = response.count("Location");
    if (count != 1)
        return begin_status(response, WSXDP_E_HTTP_STATUS, error)
            .add(count ? ", a redirect with several Location fields"
                       : ", a redirect without a Location field")
            .code;
    ByteView location = response.find("Location")->value;
    if (location.empty())
        return begin_status(response, WSXDP_E_HTTP_STATUS, error)
            .add(", a redirect with an empty Location field")
            .code;
    out->location = location;
    begin_status(response, WSXDP_E_REDIRECT, error).add(", a redirect to ");
    return add_quoted(*error, out->location, 200).add("; use that URL, or raise redirect.max").code;
}

int check_authentication(const Response &response, ErrorText *error) {
    bool proxy = response.status == 407;
    begin_status(response, proxy ? WSXDP_E_PROXY_AUTH : WSXDP_E_AUTH_REQUIRED, error);
    add_field(*error, response, proxy ? "Proxy-Authenticate" : "WWW-Authenticate");
    if (proxy) return error->add("; a proxy in between wants credentials, set the option proxy").code;
    if (response.status == 403) return error->add("; check credentials, Origin and path").code;
    return error->add("; put user:password@ into the URL or set the option header.Authorization").code;
}

const char *status_advice(uint16_t status) {
    if (status < 200) return "an interim answer other than 101; this server or a proxy does not upgrade";
    if (status < 300) return "the path is served as plain HTTP; check the URL's path";
    if (status == 400) return "the server found the request wrong; check path, subprotocol and headers";
    if (status == 404) return "check the URL's path";
    if (status == 426) return "the server wants another protocol or WebSocket version than 13";
    if (status == 429) return "too many requests; wait before the next attempt";
    if (status == 502 || status == 504) return "a gateway could not reach the server behind it";
    if (status >= 500) return "the server failed; try again later";
    return "no WebSocket upgrade here; check URL and headers";
}

int check_status(const Response &response, UpgradeResult *out, ErrorText *error) {
    uint16_t status = response.status;
    if (status == 101 && response.minor_version >= 1) return WSXDP_OK;
    // RFC 9110 section 7.8: there is no Upgrade in HTTP/1.0, so this 101 is not an answer to ours.
    if (status == 101)
        return error->begin(WSXDP_E_HTTP_HEAD)
            .add("the server answered 101 in HTTP/1.0; an upgrade needs HTTP/1.1, perhaps a proxy is in "
                 "between")
            .code;
    if (is_redirect(status)) return check_redirect(response, out, error);
    if (status == 401 || status == 403 || status == 407) return check_authentication(response, error);
    begin_status(response, WSXDP_E_HTTP_STATUS, error);
    if (response.minor_version == 0) error->add(" in HTTP/1.0");
    error->add(" instead of 101");
    if (status == 426) add_field(*error, response, "Upgrade");
    if (status == 426 || status == 400) add_field(*error, response, "Sec-WebSocket-Version");
    if (status == 429 || status == 503) add_field(*error, response, "Retry-After");
    return error->add("; ").add(status_advice(status)).code;
}

// "what was seen": every value of the field, or that there is none.
ErrorText &add_seen(ErrorText &error, const Response &response, const char *name) {
    size_t from = 0;
    const ResponseHeader *header = response.find(name, &from);
    if (!header) return error.add("there is no ").add(name).add(" header");
    error.add(name).add(": ");
    add_quoted(error, header->value, 60);
    if ((header = response.find(name, &from))) add_quoted(error.add(" and "), header->value, 60);
    return error;
}

int check_upgrade(const Response &response, ErrorText *error) {
    // "contains a value that is not an ASCII case-insensitive match for the value "websocket"": the whole
    // value, and as two fields are one list (RFC 9110 section 5.3), one field.
    if (response.count("Upgrade") == 1 &&
        equal_ignore_case(response.find("Upgrade")->value, ByteView("websocket")))
        return WSXDP_OK;
    error->begin(WSXDP_E_UPGRADE_HEADER).add("the server's 101 lacks \"Upgrade: websocket\": ");
    return add_seen(*error, response, "Upgrade").code;
}

int check_connection(const Response &response, ErrorText *error) {
    if (response.has_token("Connection", "upgrade")) return WSXDP_OK;
    error->begin(WSXDP_E_CONNECTION_HEADER).add("the server's 101 lacks \"Connection: Upgrade\": ");
    return add_seen(*error, response, "Connection").code;
}

int check_accept(const Response &response, const uint8_t key[16], Sha1 sha1, ErrorText *error) {
    // RFC 6455 section 1.3: base64 of SHA-1 of the key as sent followed by this text.
    uint8_t text[24 + 36];
    Writer writer{ByteSpan(text, sizeof text)};
    writer.base64(ByteView(key, 16));
    writer.text("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    uint8_t digest[20];
    if (!ok(sha1(writer.view(), digest)))
        return error->begin(WSXDP_E_INTERNAL).add("SHA-1 for Sec-WebSocket-Accept failed").code;
    uint8_t wanted_text[28];
    Writer wanted{ByteSpan(wanted_text, sizeof wanted_text)};
    wanted.base64(ByteView(digest, sizeof digest));
    size_t count = response.count("Sec-WebSocket-Accept");
    if (count == 1 && equal(response.find("Sec-WebSocket-Accept")->value, wanted.view())) return WSXDP_OK;
    error->begin(WSXDP_E_ACCEPT);
    if (count > 1) error->add("the server sent Sec-WebSocket-Accept more than once: ");
    if (count == 1) error->add("the server's Sec-WebSocket-Accept does not answer our key: ");
    add_seen(*error, response, "Sec-WebSocket-Accept");
    if (count == 1) add_quoted(error->add(", expected "), wanted.view());
    return error->add("; this is not a WebSocket server, or a cache or proxy answered in its place").code;
}

bool is_offered(const char *subprotocols, ByteView chosen) {
    ByteView rest(subprotocols);
    ByteView element;
    while (next_element(&rest, &element))
        if (equal(element, chosen)) return true; // case counts: these are names, not HTTP tokens
    return false;
}

int check_subprotocol(const Response &response, const UpgradeRequest &request, UpgradeResult *out,
                      ErrorText *error) {
    const char *name = "Sec-WebSocket-Protocol";
    size_t count = response.count(name);
    if (count == 0) return WSXDP_OK;
    if (count > 1) { // "MUST NOT appear more than once in an HTTP response" (section 11.3.4)
        error->begin(WSXDP_E_SUBPROTOCOL).add("the server chose more than one subprotocol: ");
        return add_seen(*error, response, name).code;
    }
    ByteView chosen = response.find(name)->value;
    if (!chosen.empty() && is_offered(request.subprotocols, chosen)) {
        out->subprotocol = chosen;
        return WSXDP_OK;
    }
    add_quoted(error->begin(WSXDP_E_SUBPROTOCOL).add("the server chose the subprotocol "), chosen);
    if (!given(request.subprotocols))
        return error->add(", but none was offered; set the option subprotocol to what the server speaks")
            .code;
    return add_quoted(error->add(", but offered was "), ByteView(request.subprotocols)).code;
}

int check_extensions(const Response &response, const UpgradeRequest &request, UpgradeResult *out,
                     ErrorText *error) {
    size_t from = 0;
    while (const ResponseHeader *header = response.find("Sec-WebSocket-Extensions", &from)) {
        if (!given(request.extensions))
            return add_quoted(error->begin(WSXDP_E_EXTENSION).add("the server uses the extension "),
                              header->value)
                .add(", but none was offered")
                .code;
        if (header->value.empty())
            return error->begin(WSXDP_E_EXTENSION).add("the server's Sec-WebSocket-Extensions is empty").code;
        if (out->extension_field_count == UpgradeResult::extensions_max)
            return error->begin(WSXDP_E_EXTENSION)
                .add("the server sent more than ")
                .number(static_cast<int64_t>(UpgradeResult::extensions_max))
                .add(" Sec-WebSocket-Extensions fields")
                .code;
        out->extension_fields[out->extension_field_count++] = header->value;
    }
    out->extensions = out->extension_fields[0];
    return WSXDP_OK;
}

} // namespace

int upgrade_response_check(const Response &response, const UpgradeRequest &request, Sha1 sha1,
                           UpgradeResult *out, ErrorText *error) {
    *out = UpgradeResult();
    int status = check_status(response, out, error);
    if (ok(status)) status = check_upgrade(response, error);
    if (ok(status)) status = check_connection(response, error);
    if (ok(status)) status = check_accept(response, request.key, sha1, error);
    if (ok(status)) status = check_subprotocol(response, request, out, error);
    if (ok(status)) status = check_extensions(response, request, out, error);
    return status;
}

} // namespace wx
