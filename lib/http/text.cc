// SPDX-License-Identifier: MIT
// The alphabet of HTTP: character classes, lists, quoting for error sentences, Basic credentials. Never
// allocates and never shows a password in a sentence. Takes any bytes; linear in their number.
#include "text.h"
#include "url.h"

namespace wx {

bool is_digit(uint8_t c) { return c >= '0' && c <= '9'; }
bool is_alpha(uint8_t c) { return ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z'; }

bool is_token_char(uint8_t c) {
    if (is_digit(c) || is_alpha(c)) return true;
    return c != 0 && strchr("!#$%&'*+-.^_`|~", c) != nullptr;
}

bool is_token(ByteView text) {
    for (size_t i = 0; i < text.size; i++)
        if (!is_token_char(text.data[i])) return false;
    return !text.empty();
}

bool is_field_char(uint8_t c) { return c == '\t' || (c >= 0x20 && c != 0x7F); }

static bool is_blank(uint8_t c) { return c == ' ' || c == '\t'; }

ByteView trim(ByteView text) {
    while (!text.empty() && is_blank(text.data[0])) text = text.from(1);
    while (!text.empty() && is_blank(text.data[text.size - 1])) text.size--;
    return text;
}

bool starts_with(ByteView text, const char *prefix) {
    ByteView wanted(prefix);
    return text.size >= wanted.size && equal(text.first(wanted.size), wanted);
}

bool next_element(ByteView *rest, ByteView *element) {
    if (rest->data == nullptr || rest->empty()) return false;
    size_t size = 0;
    while (size < rest->size && rest->data[size] != ',') size++;
    *element = trim(rest->first(size));
    // "a," has a second, empty element: the rest stays one byte long until that one was given.
    if (size == rest->size)
        *rest = ByteView();
    else if (size + 1 == rest->size && size != 0)
        *rest = rest->from(size);
    else
        *rest = rest->from(size + 1);
    return true;
}

ErrorText &add_quoted(ErrorText &error, ByteView text, size_t max) {
    error.add("\"").add(text.first(max));
    return error.add(text.size > max ? "...\"" : "\"");
}

static const char *credential_problem(ByteView text, bool colon_allowed, ByteSpan scratch) {
    int64_t size = percent_decode(text, scratch);
    if (size < 0 && text.size > scratch.size) return "the user name or password is longer than 2048 bytes";
    if (size < 0)
        return "the user name or password has a '%' that two hexadecimal digits do not follow; write a '%' "
               "itself as %25";
    for (int64_t i = 0; i < size; i++) {
        uint8_t c = scratch.data[i];
        if (c < 0x20 || c == 0x7F) return "the user name or password has a control character";
        if (c == ':' && !colon_allowed)
            return "the user name has a ':' in it (%3A), which Basic credentials cannot carry";
    }
    return nullptr;
}

static int credential_check(ByteView text, bool colon_allowed, const char *label, ErrorText *error) {
    uint8_t decoded[credential_bytes_max];
    const char *problem = credential_problem(text, colon_allowed, ByteSpan(decoded, sizeof decoded));
    explicit_bzero(decoded, sizeof decoded);
    return problem ? error->begin(WSXDP_E_URL).add(label).add(problem).code : WSXDP_OK;
}

int credentials_check(ByteView user, ByteView password, const char *label, ErrorText *error) {
    int status = credential_check(user, false, label, error);
    return ok(status) ? credential_check(password, true, label, error) : status;
}

int basic_write(ByteView user, ByteView password, Writer *out) {
    uint8_t plain[2 * credential_bytes_max + 1];
    int64_t user_size = percent_decode(user, ByteSpan(plain, credential_bytes_max));
    if (user_size < 0) return WSXDP_E_URL;
    plain[user_size] = ':';
    int64_t password_size = percent_decode(password, ByteSpan(plain + user_size + 1, credential_bytes_max));
    if (password_size < 0) return WSXDP_E_URL;
    out->text("Basic ");
    out->base64(ByteView(plain, static_cast<size_t>(user_size + 1 + password_size)));
    explicit_bzero(plain, sizeof plain);
    return out->failed ? WSXDP_E_TOO_BIG : WSXDP_OK;
}

} // namespace wx
