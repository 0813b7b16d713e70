// SPDX-License-Identifier: MIT
// Finds a response head in bytes that arrive in any split, then reads it strictly. Never allocates, never
// copies a field, never reads a byte twice while scanning. What is accepted beyond the letter of RFC 9112: a
// status line without reason and its space, and obsolete line folding, which becomes spaces.
#include "response.h"
#include "text.h"

namespace wx {

const ResponseHeader *Response::find(const char *name, size_t *from) const {
    ByteView wanted(name);
    for (size_t i = from ? *from : 0; i < header_count; i++) {
        if (!equal_ignore_case(headers[i].name, wanted)) continue;
        if (from) *from = i + 1;
        return &headers[i];
    }
    if (from) *from = header_count;
    return nullptr;
}

bool Response::has_token(const char *name, const char *token) const {
    size_t from = 0;
    while (const ResponseHeader *header = find(name, &from)) {
        ByteView rest = header->value;
        ByteView element;
        while (next_element(&rest, &element))
            if (equal_ignore_case(element, ByteView(token))) return true;
    }
    return false;
}

size_t Response::count(const char *name) const {
    size_t from = 0;
    size_t result = 0;
    while (find(name, &from)) result++;
    return result;
}

ErrorText &add_status(ErrorText &error, const Response &response) {
    error.number(response.status);
    return response.reason.empty() ? error : error.add(" ").add(response.reason.first(80));
}

// Guesses from the first bytes who is talking, so that the sentence can say what to do.
static const char *not_http_advice(ByteView bytes) {
    uint8_t first = bytes.data[0];
    if ((first == 0x15 || first == 0x16) && (bytes.size < 2 || bytes.data[1] == 3))
        return "this looks like TLS: use wss:// for this port";
    if (starts_with(bytes, "SSH-")) return "this is an SSH server: check the port";
    if (starts_with(bytes, "HTTP/")) // but not HTTP/1.
        return "the upgrade needs HTTP/1.1: check the port, or the server's HTTP version";
    if (starts_with(bytes, "PRI * HTTP/2") || (bytes.size >= 9 && bytes.data[0] == 0 && bytes.data[3] == 4))
        return "this looks like HTTP/2; the upgrade needs HTTP/1.1";
    if (starts_with(bytes, "GET ")) return "this is our own request: the port echoes what it is sent";
    if (starts_with(bytes, "220")) return "this looks like a mail or FTP server: check the port";
    if (first == '<') return "this looks like HTML without an HTTP head: check the port";
    return "check host and port; a TLS port needs wss://";
}

static int64_t not_http(ByteView bytes, ErrorText *error) {
    if (error)
        add_quoted(error->begin(WSXDP_E_NOT_HTTP).add("the answer is not HTTP/1; it begins with "), bytes, 24)
            .add("; ")
            .add(not_http_advice(bytes));
    return WSXDP_E_NOT_HTTP;
}

static int64_t head_too_large(size_t max_bytes, ErrorText *error) {
    if (error)
        error->begin(WSXDP_E_HTTP_HEAD_SIZE)
            .add("the response head is longer than ")
            .number(static_cast<int64_t>(max_bytes))
            .add(" bytes; if that is meant to be, raise upgrade.max_head_bytes");
    return WSXDP_E_HTTP_HEAD_SIZE;
}

// Whether a line feed at `at` ends an empty line. A missing CR is let through here, so that the parser can
// say so at once instead of the peer's mistake becoming a timeout.
static bool ends_head(ByteView bytes, size_t at) {
    if (at >= 1 && bytes.data[at - 1] == '\n') return true;
    return at >= 2 && bytes.data[at - 1] == '\r' && bytes.data[at - 2] == '\n';
}

int64_t HeadScanner::feed(ByteView bytes, size_t max_bytes, ErrorText *error) {
    static const char start[] = "HTTP/1.";
    constexpr size_t start_size = sizeof start - 1;
    if (scanned < start_size) {
        size_t compare = bytes.size < start_size ? bytes.size : start_size;
        if (compare != 0 && memcmp(bytes.data, start, compare) != 0) return not_http(bytes, error);
    }
    size_t limit = bytes.size < max_bytes ? bytes.size : max_bytes;
    while (scanned < limit) {
        const void *found = memchr(bytes.data + scanned, '\n', limit - scanned);
        if (!found) {
            scanned = limit;
            break;
        }
        size_t at = static_cast<size_t>(static_cast<const uint8_t *>(found) - bytes.data);
        scanned = at + 1;
        if (ends_head(bytes, at)) return static_cast<int64_t>(scanned);
    }
    return bytes.size >= max_bytes ? head_too_large(max_bytes, error) : 0;
}

namespace {

struct HeadReader {
    ByteSpan head;
    size_t at; // the next line's first byte
    int line;  // the last line read, counted from 1
    const char *from;
    ErrorText *error;
};

int malformed(const HeadReader &reader, const char *what, ByteView line) {
    reader.error->begin(WSXDP_E_HTTP_HEAD).add(reader.from).add(": line ").number(reader.line).add(" ");
    reader.error->add(what).add(": ");
    return add_quoted(*reader.error, line).code;
}

// A line without its end. Every character is checked here, so nothing later meets a control character.
int next_line(HeadReader *reader, ByteView *line) {
    reader->line++;
    const uint8_t *begin = reader->head.data + reader->at;
    size_t left = reader->head.size - reader->at;
    const void *found = left ? memchr(begin, '\n', left) : nullptr;
    if (!found) return malformed(*reader, "does not end", ByteView(begin, left));
    size_t size = static_cast<size_t>(static_cast<const uint8_t *>(found) - begin);
    reader->at += size + 1;
    // RFC 9112 section 2.2 would allow a bare LF; whoever sends one is not a WebSocket server.
    if (size == 0 || begin[size - 1] != '\r')
        return malformed(*reader, "ends in a line feed without a carriage return", ByteView(begin, size));
    *line = ByteView(begin, size - 1);
    for (size_t i = 0; i < line->size; i++)
        if (!is_field_char(begin[i])) return malformed(*reader, "has a control character", *line);
    return WSXDP_OK;
}

// status-line = HTTP-version SP status-code SP [ reason-phrase ] (RFC 9112 section 4)
int parse_status_line(const HeadReader &reader, ByteView line, Response *out) {
    if (!starts_with(line, "HTTP/1.") || line.size < 12 || !is_digit(line.data[7]) || line.data[8] != ' ')
        return malformed(reader, "is not an HTTP/1 status line", line);
    out->minor_version = static_cast<uint8_t>(line.data[7] - '0');
    int status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (!is_digit(line.data[i])) return malformed(reader, "has no three-digit status", line);
        status = status * 10 + (line.data[i] - '0');
    }
    if (line.size > 12 && line.data[12] != ' ') return malformed(reader, "has no three-digit status", line);
    if (status < 100 || status > 599) return malformed(reader, "has a status outside 100 to 599", line);
    out->status = static_cast<uint16_t>(status);
    out->reason = trim(line.from(13));
    return WSXDP_OK;
}

// "A user agent that receives an obs-fold in a response message [...] MUST replace each received obs-fold
// with one or more SP octets prior to interpreting the field value" (RFC 9112 section 5.2).
void join_fold(const HeadReader &reader, ByteView line, ResponseHeader *header) {
    size_t fold = static_cast<size_t>(line.data - reader.head.data) - 2;
    reader.head.data[fold] = reader.head.data[fold + 1] = ' ';
    header->value.size = static_cast<size_t>(line.data + line.size - header->value.data);
}

// field-line = field-name ":" OWS field-value OWS (RFC 9112 section 5)
int parse_field(const HeadReader &reader, ByteView line, Response *out) {
    size_t colon = 0;
    while (colon < line.size && line.data[colon] != ':') colon++;
    if (colon == line.size) return malformed(reader, "has no colon", line);
    ByteView name = line.first(colon);
    if (name.empty()) return malformed(reader, "has no field name", line);
    if (trim(name).size != name.size) return malformed(reader, "has white space before the colon", line);
    if (!is_token(name)) return malformed(reader, "has a field name with forbidden characters", line);
    if (out->header_count == Response::headers_max)
        return reader.error->begin(WSXDP_E_HTTP_HEAD_SIZE)
            .add(reader.from)
            .add(" has more than ")
            .number(static_cast<int64_t>(Response::headers_max))
            .add(" header fields")
            .code;
    out->headers[out->header_count++] = ResponseHeader{name, line.from(colon + 1)};
    return WSXDP_OK;
}

} // namespace

int response_parse(ByteSpan head, Response *out, ErrorText *error, const char *from) {
    *out = Response();
    HeadReader reader{head, 0, 0, from, error};
    ByteView line;
    int status = next_line(&reader, &line);
    if (ok(status)) status = parse_status_line(reader, line, out);
    while (ok(status)) {
        status = next_line(&reader, &line);
        if (!ok(status) || line.empty()) break;
        if (line.data[0] != ' ' && line.data[0] != '\t')
            status = parse_field(reader, line, out);
        else if (out->header_count == 0)
            status = malformed(reader, "continues a field, but there was none", line);
        else
            join_fold(reader, line, &out->headers[out->header_count - 1]);
    }
    if (!ok(status)) return status;
    for (size_t i = 0; i < out->header_count; i++) out->headers[i].value = trim(out->headers[i].value);
    out->head_bytes = reader.at;
    return WSXDP_OK;
}

} // namespace wx
