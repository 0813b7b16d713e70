// SPDX-License-Identifier: MIT
// Small things that every HTTP text shares: tokens, comma separated lists, quoting what was seen.
#pragma once
#include "../base/status.h"

namespace wx {

bool is_digit(uint8_t c);
bool is_alpha(uint8_t c);
bool is_token_char(uint8_t c); // RFC 9110 section 5.6.2
bool is_token(ByteView text);  // at least one character
// What may stand in a field value or reason phrase: no control character but the tab (RFC 9110 section 5.5).
bool is_field_char(uint8_t c);
// Without spaces and tabs at both ends.
ByteView trim(ByteView text);
bool starts_with(ByteView text, const char *prefix);
// Takes the next element off a comma separated list (RFC 9110 section 5.6.1). Empty ones are given too: the
// caller decides whether they matter. False at the end; a list that is empty has no element.
bool next_element(ByteView *rest, ByteView *element);
// "text" in quotes, cut with "..." after max bytes, unprintable bytes escaped.
ErrorText &add_quoted(ErrorText &error, ByteView text, size_t max = 100);

// RFC 7617: base64 of user:password, both percent-encoded as in a URL. E_URL when they do not decode, hold
// control characters or a colon in the user, or are longer than credential_bytes_max.
constexpr size_t credential_bytes_max = 2048; // each, decoded; long enough for a bearer-like password
int credentials_check(ByteView user, ByteView password, const char *label, ErrorText *error);
// Writes "Basic " and the encoding. The credentials have been checked.
int basic_write(ByteView user, ByteView password, Writer *out);

} // namespace wx
