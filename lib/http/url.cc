// SPDX-License-Identifier: MIT
// URLs taken apart by hand, one pass, with the position of whatever is wrong. Never copies, allocates or
// looks a name up, and never puts credentials into a sentence. Any text up to 64 KiB is looked at; what is
// accepted is printable ASCII without spaces. In the path and query every such character passes as it is,
// also those that RFC 3986 would have percent-encoded: servers are given what the user wrote.
#include "url.h"
#include "text.h"
#include <arpa/inet.h>

namespace wx {

namespace {

constexpr size_t url_bytes_max = 65536; // no server takes more; keeps every sum far from overflow
constexpr size_t host_bytes_max = 253;  // RFC 1035 section 2.3.4, without the final dot
constexpr size_t label_bytes_max = 63;

// What is being read and where to complain.
struct Source {
    ByteView text;
    const char *label; // begins each sentence
    ErrorText *error;
};

ErrorText &problem(const Source &source) { return source.error->begin(WSXDP_E_URL).add(source.label); }

// Ends a sentence: where, counted from 1 as editors do, and what to do about it.
int at(ErrorText &error, size_t offset, const char *advice) {
    return error.add(" at character ").number(static_cast<int64_t>(offset) + 1).add("; ").add(advice).code;
}

int bad(const Source &source, const char *what, size_t offset, const char *advice) {
    return at(problem(source).add(what), offset, advice);
}

size_t find_any(ByteView text, size_t begin, size_t end, const char *wanted) {
    while (begin < end && (text.data[begin] == 0 || !strchr(wanted, text.data[begin]))) begin++;
    return begin;
}

ByteView part(ByteView text, size_t begin, size_t end) { return text.first(end).from(begin); }

int check_characters(const Source &source) {
    if (source.text.empty())
        return problem(source).add("it is empty; write something like wss://host/path").code;
    if (source.text.size > url_bytes_max)
        return problem(source).add("it is longer than 65536 characters").code;
    for (size_t i = 0; i < source.text.size; i++) {
        uint8_t c = source.text.data[i];
        if (c == ' ') return bad(source, "a space", i, "remove it or write %20");
        if (c < 0x20 || c == 0x7F)
            return at(problem(source).add("the control character ").add(ByteView(&c, 1)), i, "remove it");
        if (c >= 0x80)
            return at(problem(source).add("the byte ").add(ByteView(&c, 1)).add(", which is not ASCII,"), i,
                      "percent-encode it, or write an international host name in its xn-- form");
        if (c == '#') // RFC 6455 section 3: "Fragment identifiers are meaningless in the context of WebSocket
                      // URIs"
            return bad(source, "a fragment ('#')", i,
                       "WebSocket URLs have none; write a '#' that is meant as %23");
    }
    return WSXDP_OK;
}

// The length of a scheme name that a colon follows; 0 if the text does not begin so (RFC 3986 section 3.1).
size_t scheme_size(ByteView text) {
    size_t i = 0;
    while (i < text.size &&
           (is_alpha(text.data[i]) || (i > 0 && (is_digit(text.data[i]) || text.data[i] == '+' ||
                                                 text.data[i] == '-' || text.data[i] == '.'))))
        i++;
    return i < text.size && text.data[i] == ':' ? i : 0;
}

bool scheme_is(ByteView text, size_t size, const char *name) {
    return equal_ignore_case(text.first(size), ByteView(name));
}

// A name whose last label is a number can only be an IPv4 address; resolvers would otherwise read "1.2.3" or
// "0x7f.1" in the ways of 1983.
bool ends_in_number(ByteView host) {
    size_t begin = host.size;
    while (begin > 0 && host.data[begin - 1] != '.') begin--;
    ByteView label = host.from(begin);
    if (label.size >= 2 && label.data[0] == '0' && ascii_lower(label.data[1]) == 'x') return true;
    for (size_t i = 0; i < label.size; i++)
        if (!is_digit(label.data[i])) return false;
    return !label.empty();
}

bool is_address(ByteView host, int family) {
    char copy[64]; // INET6_ADDRSTRLEN is 46
    if (host.size >= sizeof copy) return false;
    memcpy(copy, host.data, host.size);
    copy[host.size] = 0;
    uint8_t address[16];
    return inet_pton(family, copy, address) == 1;
}

int parse_name(const Source &source, size_t begin, size_t end, Url *out) {
    size_t label = begin;
    for (size_t i = begin; i <= end; i++) {
        uint8_t c = i < end ? source.text.data[i] : static_cast<uint8_t>('.');
        bool trailing_dot = i == end && label == end && end - begin > 1;
        if (c == '.' && i == label && !trailing_dot)
            return bad(source, "an empty label in the host name", i, "two dots or a dot at the start");
        if (c == '.' && i - label > label_bytes_max)
            return bad(source, "a label of more than 63 characters in the host name", label, "shorten it");
        if (c == '.')
            label = i + 1;
        else if (c == '%')
            return bad(source, "a percent-encoded character in the host name", i, "write the name itself");
        else if (!is_alpha(c) && !is_digit(c) && c != '-' && c != '_')
            return at(problem(source).add("the host name has a ").add(ByteView(&c, 1)), i,
                      "letters, digits, '-', '_' and '.' may stand there");
    }
    out->host = part(source.text, begin, end);
    if (out->host.size > host_bytes_max + (out->host.data[out->host.size - 1] == '.'))
        return bad(source, "a host name of more than 253 characters", begin, "shorten it");
    out->host_is_ip = is_address(out->host, AF_INET);
    if (!out->host_is_ip && ends_in_number(out->host))
        return at(add_quoted(problem(source).add("the host "), out->host).add(" is not an IPv4 address"),
                  begin, "four numbers from 0 to 255 without leading zeros make one");
    return WSXDP_OK;
}

// RFC 3986 section 3.2.2. Sets *next to what follows the bracket.
int parse_bracketed(const Source &source, size_t begin, size_t end, Url *out, size_t *next) {
    size_t close = find_any(source.text, begin, end, "]");
    if (close == end) return bad(source, "a '[' that is not closed", begin, "an IPv6 host is written [::1]");
    out->host = part(source.text, begin + 1, close);
    if (find_any(source.text, begin, close, "%") != close)
        return bad(source, "an IPv6 address with a zone", begin,
                   "zones are not supported; use a global address");
    if (!is_address(out->host, AF_INET6))
        return at(add_quoted(problem(source), out->host).add(" is not an IPv6 address"), begin + 1,
                  "only IPv6 addresses stand in brackets");
    out->host_is_ipv6 = out->host_is_ip = true;
    *next = close + 1;
    if (*next < end && source.text.data[*next] != ':')
        return bad(source, "something other than a port follows the ']'", *next, "write [address]:port");
    return WSXDP_OK;
}

// An empty port means the default (RFC 3986 section 3.2.3).
int parse_port(const Source &source, size_t begin, size_t end, Url *out) {
    uint32_t port = 0;
    for (size_t i = begin; i < end; i++) {
        if (!is_digit(source.text.data[i])) {
            // What stands here may be a password whose '@' went missing, so it is not shown.
            return bad(source, "the port is not a number", i,
                       "a port is 1 to 65535; in credentials write ':' '/' '?' '@' as %3A %2F %3F %40");
        }
        port = port * 10 + (source.text.data[i] - '0');
        if (port > 65535)
            return at(add_quoted(problem(source).add("the port "), part(source.text, begin, end), 20)
                          .add(" is above 65535"),
                      begin, "a port is 1 to 65535");
    }
    if (begin < end && port == 0) return bad(source, "the port is 0", begin, "a port is 1 to 65535");
    if (port != 0) {
        out->port_is_default = port == out->port;
        out->port = static_cast<uint16_t>(port);
    }
    return WSXDP_OK;
}

int parse_credentials(const Source &source, size_t begin, size_t end, Url *out) {
    size_t colon = find_any(source.text, begin, end, ":");
    out->user = part(source.text, begin, colon);
    out->password = part(source.text, colon < end ? colon + 1 : end, end);
    out->has_credentials = begin != end;
    return credentials_check(out->user, out->password, source.label, source.error);
}

int parse_host(const Source &source, size_t begin, size_t end, Url *out) {
    if (begin == end || source.text.data[begin] == ':') {
        if (begin + 1 < end && source.text.data[begin + 1] == ':')
            return bad(source, "an IPv6 address without brackets", begin, "write it as [::1]");
        return bad(source, "the host is missing", begin, "write something like wss://host/path");
    }
    size_t host_end = find_any(source.text, begin, end, ":");
    int status;
    if (source.text.data[begin] == '[')
        status = parse_bracketed(source, begin, end, out, &host_end);
    else if (host_end < end && find_any(source.text, host_end + 1, end, ":") < end)
        return bad(source, "more than one ':' in host and port", host_end,
                   "an IPv6 host is written in brackets: [::1]");
    else
        status = parse_name(source, begin, host_end, out);
    if (!ok(status)) return status;
    return host_end < end ? parse_port(source, host_end + 1, end, out) : WSXDP_OK;
}

// [user[:password]@]host[:port], then path and query.
int parse_authority(const Source &source, size_t begin, Url *out) {
    size_t end = find_any(source.text, begin, source.text.size, "/?\\");
    if (end < source.text.size && source.text.data[end] == '\\')
        return bad(source, "a '\\'", end, "URLs have '/'");
    size_t sign = find_any(source.text, begin, end, "@");
    if (sign < end) {
        size_t second = find_any(source.text, sign + 1, end, "@");
        if (second < end) return bad(source, "a second '@'", second, "in a user name or password write %40");
        int status = parse_credentials(source, begin, sign, out);
        if (!ok(status)) return status;
        begin = sign + 1;
    }
    out->port_is_default = true;
    out->target = end < source.text.size ? source.text.from(end) : ByteView("/");
    return parse_host(source, begin, end, out);
}

int check_slashes(const Source &source, size_t size) {
    if (starts_with(source.text.from(size), "://")) return WSXDP_OK;
    return bad(source, "two slashes are missing", size + 1, "write scheme://host");
}

// ws+unix:///socket/path:/resource?query. The socket's path ends at the first ':' or '?'.
int parse_unix(const Source &source, size_t begin, Url *out) {
    if (starts_with(source.text.from(begin), "//")) begin += 2;
    if (begin == source.text.size || source.text.data[begin] != '/')
        return bad(source, "the socket's path does not begin with '/'", begin,
                   "write ws+unix:///run/server.sock:/resource");
    size_t end = find_any(source.text, begin, source.text.size, ":?");
    out->host = part(source.text, begin, end);
    uint8_t path[unix_path_max];
    int64_t size = percent_decode(out->host, ByteSpan(path, sizeof path));
    if (size < 0 && out->host.size <= sizeof path)
        return bad(source, "the socket's path has a '%' without two hexadecimal digits", begin, "write %25");
    if (size < 0)
        return bad(source, "a socket path that is longer than 107 bytes", begin, "use a shorter one");
    if (memchr(path, 0, static_cast<size_t>(size)))
        return bad(source, "a zero byte (%00) in the socket's path", begin, "remove it");
    if (size == 0 || path[size - 1] == '/')
        return bad(source, "the socket's path names no file", end, "add the socket's name");
    out->port_is_default = true;
    if (end < source.text.size && source.text.data[end] == ':') end++;
    out->target = end < source.text.size ? source.text.from(end) : ByteView("/");
    if (out->target.data[0] != '/' && out->target.data[0] != '?')
        return bad(source, "the resource after the socket's path does not begin with '/'", end,
                   "a ':' that belongs to the socket's path is written %3A");
    return WSXDP_OK;
}

int unknown_scheme(const Source &source, size_t size) {
    bool slashes = starts_with(source.text.from(size), "://");
    if (size == 0 || !slashes)
        return problem(source).add("no scheme; did you mean wss:// or ws:// in front of it?").code;
    problem(source).add("the scheme ");
    add_quoted(*source.error, source.text.first(size), 20).add(" is not one of ws, wss, ws+unix and echo; ");
    bool plain = scheme_is(source.text, size, "http") || scheme_is(source.text, size, "tcp");
    return source.error->add(plain ? "did you mean ws://?" : "did you mean wss://?").code;
}

int parse_with_label(ByteView text, const char *label, Url *out, ErrorText *error) {
    *out = Url();
    Source source{text, label, error};
    int status = check_characters(source);
    if (!ok(status)) return status;
    size_t size = scheme_size(text);
    if (scheme_is(text, size, "ws+unix")) {
        out->scheme = Scheme::ws_unix;
        return parse_unix(source, size + 1, out);
    }
    if (scheme_is(text, size, "echo")) {
        out->scheme = Scheme::echo;
        out->port_is_default = true;
        out->target = text.from(size + 1);
        return WSXDP_OK;
    }
    bool tls = scheme_is(text, size, "wss");
    if (!tls && !scheme_is(text, size, "ws")) return unknown_scheme(source, size);
    out->scheme = tls ? Scheme::wss : Scheme::ws;
    out->port = tls ? 443 : 80;
    status = check_slashes(source, size);
    return ok(status) ? parse_authority(source, size + 3, out) : status;
}

int hex_value(uint8_t c) {
    if (is_digit(c)) return c - '0';
    c = ascii_lower(c);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// RFC 3986 section 5.2.4, in place; the path begins with '/'. Returns its new size.
size_t remove_dot_segments(uint8_t *path, size_t size) {
    size_t kept = 0;
    for (size_t begin = 0; begin < size;) {
        size_t next = begin + 1;
        while (next < size && path[next] != '/') next++;
        size_t length = next - begin;
        bool up = length == 3 && path[begin + 1] == '.' && path[begin + 2] == '.';
        bool here = length == 2 && path[begin + 1] == '.';
        if (up)
            while (kept > 0 && path[--kept] != '/') {
            }
        if (!up && !here) {
            memmove(path + kept, path + begin, length);
            kept += length;
        } else if (next == size) {
            path[kept++] = '/';
        }
        begin = next;
    }
    return kept;
}

// Scheme and authority of the base as they were, credentials included: the location names no other host.
void write_origin(const Url &base, Writer *out) {
    if (base.scheme == Scheme::ws_unix) {
        out->text("ws+unix://");
        out->bytes(base.host);
        out->u8(':');
        return;
    }
    out->text(base.scheme == Scheme::wss ? "wss://" : "ws://");
    if (base.has_credentials) {
        out->bytes(base.user);
        out->u8(':');
        out->bytes(base.password);
        out->u8('@');
    }
    out->text(base.host_is_ipv6 ? "[" : "");
    out->bytes(base.host);
    out->text(base.host_is_ipv6 ? "]" : "");
    if (base.port_is_default) return;
    out->u8(':');
    out->decimal(base.port);
}

void write_path(const Url &base, ByteView location, Writer *out) {
    size_t path_end = find_any(location, 0, location.size, "?");
    size_t base_end = find_any(base.target, 0, base.target.size, "?");
    uint8_t *path = out->at;
    if (path_end == 0 && base_end == 0) {
        out->u8('/');
    } else if (path_end == 0) {
        out->bytes(base.target.first(base_end));
    } else {
        if (location.data[0] != '/') {
            while (base_end > 0 && base.target.data[base_end - 1] != '/') base_end--;
            out->bytes(base.target.first(base_end));
            if (base_end == 0) out->u8('/');
        }
        out->bytes(location.first(path_end));
    }
    if (!out->failed) out->at = path + remove_dot_segments(path, static_cast<size_t>(out->at - path));
    out->bytes(location.from(path_end));
}

const char *const redirect_label = "the redirect's target: ";

int write_absolute(const Url &base, ByteView location, size_t size, Writer *out, ErrorText *error) {
    bool tls = scheme_is(location, size, "wss") || scheme_is(location, size, "https");
    bool plain = scheme_is(location, size, "ws") || scheme_is(location, size, "http");
    if (!tls && !plain)
        return add_quoted(error->begin(WSXDP_E_URL).add(redirect_label).add("the scheme of "), location)
            .add(" is not one of ws, wss, http and https")
            .code;
    if (plain && base.scheme == Scheme::wss)
        return add_quoted(error->begin(WSXDP_E_URL).add(redirect_label), location)
            .add(" would give up TLS; a redirect from wss to ws is not followed")
            .code;
    out->text(tls ? "wss" : "ws");
    out->bytes(location.from(size));
    return WSXDP_OK;
}

int write_resolved(const Url &base, ByteView location, Writer *out, ErrorText *error) {
    size_t size = scheme_size(location);
    if (size != 0) return write_absolute(base, location, size, out, error);
    if (!starts_with(location, "//")) {
        write_origin(base, out);
        write_path(base, location, out);
        return WSXDP_OK;
    }
    if (base.scheme == Scheme::ws_unix)
        return add_quoted(error->begin(WSXDP_E_URL).add(redirect_label), location)
            .add(" names a host without a scheme, which a ws+unix URL cannot lend")
            .code;
    out->text(base.scheme == Scheme::wss ? "wss:" : "ws:");
    out->bytes(location);
    return WSXDP_OK;
}

} // namespace

int url_parse(ByteView text, Url *out, ErrorText *error) {
    return parse_with_label(text, "URL: ", out, error);
}

int proxy_url_parse(ByteView text, Url *out, ErrorText *error) {
    *out = Url();
    Source source{text, "proxy URL: ", error};
    int status = check_characters(source);
    if (!ok(status)) return status;
    size_t size = scheme_size(text);
    bool slashes = starts_with(text.from(size), "://");
    if (size == 0 || !slashes)
        return problem(source).add("no scheme; write http://host:port or socks5://host:port").code;
    bool socks = scheme_is(text, size, "socks5") || scheme_is(text, size, "socks5h");
    if (scheme_is(text, size, "https"))
        return error->begin(WSXDP_E_UNSUPPORTED)
            .add("proxy URL: TLS to the proxy itself (https://) is not supported; use http:// or socks5://, "
                 "the "
                 "connection through it can still be wss")
            .code;
    if (!socks && !scheme_is(text, size, "http"))
        return add_quoted(problem(source).add("the scheme "), text.first(size), 20)
            .add(" is not one of http, socks5 and socks5h")
            .code;
    out->scheme = socks ? Scheme::socks5 : Scheme::http;
    out->port = socks ? 1080 : 80; // RFC 1928 section 3
    status = parse_authority(source, size + 3, out);
    if (!ok(status)) return status;
    if (!equal(out->target, ByteView("/")))
        return bad(source, "a path or query", text.size - out->target.size,
                   "a proxy URL ends after the port");
    return WSXDP_OK;
}

int url_resolve(const Url &base, ByteView location, Writer *out, ErrorText *error) {
    location = trim(location);
    location = location.first(find_any(location, 0, location.size, "#"));
    if (location.empty()) return error->begin(WSXDP_E_URL).add(redirect_label).add("it is empty").code;
    if (base.scheme != Scheme::ws && base.scheme != Scheme::wss && base.scheme != Scheme::ws_unix)
        return error->begin(WSXDP_E_URL)
            .add(redirect_label)
            .add("only ws, wss and ws+unix URLs redirect")
            .code;
    size_t before = out->size();
    int status = write_resolved(base, location, out, error);
    if (!ok(status)) return status;
    if (out->failed)
        return add_quoted(error->begin(WSXDP_E_URL).add(redirect_label), location).add(" is too long").code;
    Url resolved;
    return parse_with_label(out->view().from(before), redirect_label, &resolved, error);
}

int64_t percent_decode(ByteView text, ByteSpan out) {
    size_t written = 0;
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c == '%') {
            int high = i + 2 < text.size ? hex_value(text.data[i + 1]) : -1;
            int low = high >= 0 ? hex_value(text.data[i + 2]) : -1;
            if (low < 0) return WSXDP_E_URL;
            c = static_cast<uint8_t>(high << 4 | low);
            i += 2;
        }
        if (written == out.size) return WSXDP_E_URL;
        out.data[written++] = c;
    }
    return static_cast<int64_t>(written);
}

} // namespace wx
