// SPDX-License-Identifier: MIT
// Response heads (RFC 9112): found incrementally in bytes that arrive in any split, then read strictly.
#pragma once
#include "../base/status.h"

namespace wx {

struct ResponseHeader {
    ByteView name;
    ByteView value; // trimmed
};

struct Response {
    static constexpr size_t headers_max = 128; // far above what servers send; more is E_HTTP_HEAD_SIZE
    uint16_t status = 0;
    uint8_t minor_version = 1;
    ByteView reason;
    ResponseHeader headers[headers_max];
    size_t header_count = 0;
    size_t head_bytes = 0; // what the head takes, final empty line included

    // The first field of that name at or after index *from, which moves past it; null if none.
    const ResponseHeader *find(const char *name, size_t *from = nullptr) const;
    // Whether any field of that name has this token in its comma separated list (case ignored).
    bool has_token(const char *name, const char *token) const;
    size_t count(const char *name) const;
};

// Finds the end of the head across calls: scan state for one response.
struct HeadScanner {
    size_t scanned = 0;
    // Bytes so far (the same beginning each call). > 0: length of the head, 0: more is needed,
    // E_NOT_HTTP as soon as the first bytes cannot begin "HTTP/1.", E_HTTP_HEAD_SIZE above max_bytes.
    // With an ErrorText the failure comes with its sentence.
    int64_t feed(ByteView bytes, size_t max_bytes, ErrorText *error = nullptr);
};

// Who sent the head: begins the sentences.
constexpr const char *response_from_server = "the server's answer";
constexpr const char *response_from_proxy = "the proxy's answer";

// Parses a whole head (as found by the scanner). Obsolete line folding is replaced by spaces, as RFC 9112
// section 5.2 asks of a client: that is done in place, hence the mutable span. White space before the colon,
// control characters, missing colon, bad status line, line ends without CR: E_HTTP_HEAD with a sentence
// naming the line; too many fields: E_HTTP_HEAD_SIZE.
int response_parse(ByteSpan head, Response *out, ErrorText *error, const char *from = response_from_server);

// "403 Forbidden" as it was sent, unprintable bytes escaped.
ErrorText &add_status(ErrorText &error, const Response &response);

} // namespace wx
