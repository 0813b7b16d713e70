// SPDX-License-Identifier: MIT
// The opening handshake, client side (RFC 6455 section 4): building the request and checking the response.
// SHA-1 is handed in; so is the random key.
#pragma once
#include "response.h"
#include "url.h"

namespace wx {

struct HeaderField {
    const char *name;
    const char *value;
};

struct UpgradeRequest {
    const Url *url = nullptr;
    uint8_t key[16] = {0};              // from a CSPRNG, new for each attempt
    const char *subprotocols = nullptr; // "a, b" as offered; null or "" for none
    const char *extensions = nullptr;   // Sec-WebSocket-Extensions value; null or "" for none
    const char *origin = nullptr;
    const char *user_agent = nullptr;
    // The user's own; Host, Origin, User-Agent and Authorization given here, once each, replace ours.
    const HeaderField *headers = nullptr;
    size_t header_count = 0;
};

// Writes the whole request head. E_INVALID with a sentence: a header name or value with control characters
// (request smuggling), one of the handshake's own headers, a subprotocol that is no token or offered twice.
// E_TOO_BIG when out is too small. Sentences name a user's header but never show its value.
int upgrade_request_build(const UpgradeRequest &request, Writer *out, ErrorText *error);

struct UpgradeResult {
    ByteView subprotocol; // views into the response head
    ByteView extensions;  // the first such field's value; all of them in extension_fields
    static constexpr size_t extensions_max = 8; // header fields of that name; more is refused
    ByteView extension_fields[extensions_max];
    size_t extension_field_count = 0;
    ByteView location; // of a redirect, as sent: for url_resolve
};

using Sha1 = int (*)(ByteView data, uint8_t out[20]);

// Checks everything but the meaning of extensions: status line, Upgrade, Connection, Accept, subprotocol
// (one, of those offered). Each failure its own code: E_HTTP_STATUS, E_REDIRECT (location filled),
// E_AUTH_REQUIRED (401, 403), E_PROXY_AUTH (407), E_HTTP_HEAD (101 in HTTP/1.0), E_UPGRADE_HEADER,
// E_CONNECTION_HEADER, E_ACCEPT, E_SUBPROTOCOL, E_EXTENSION (there is one although none was offered, an empty
// one, too many fields). A redirect without exactly one Location, or an empty one, is E_HTTP_STATUS.
int upgrade_response_check(const Response &response, const UpgradeRequest &request, Sha1 sha1,
                           UpgradeResult *out, ErrorText *error);

} // namespace wx
