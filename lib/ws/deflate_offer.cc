// SPDX-License-Identifier: MIT
// The negotiation of permessage-deflate (RFC 7692 section 7.1; header grammar RFC 6455 section 9.1). Reads
// the server's header fields with a cursor that cannot leave them; keeps views only; never guesses: what is
// not the answer to our offer is refused with a sentence. Worst case accepted: any bytes a header field can
// hold.
#include "deflate.h"

namespace wx {
namespace {

constexpr const char *extension_name = "permessage-deflate";

bool token_char(uint8_t c) {
    if ((c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z')) return true;
    return c > 0x20 && c < 0x7F && strchr("!#$%&'*+-.^_`|~", c) != nullptr;
}

struct HeaderCursor {
    ByteView left;

    void skip_blank() {
        while (!left.empty() && (*left.data == ' ' || *left.data == '\t')) left = left.from(1);
    }
    bool take(char c) {
        skip_blank();
        if (left.empty() || *left.data != static_cast<uint8_t>(c)) return false;
        left = left.from(1);
        return true;
    }
    bool token(ByteView *out) {
        skip_blank();
        size_t size = 0;
        while (size < left.size && token_char(left.data[size])) size++;
        *out = left.first(size);
        left = left.from(size);
        return size > 0;
    }
    // token or quoted-string; section 9.1 demands that the latter hold a token too, so escapes are refused.
    bool value(ByteView *out) {
        if (!take('"')) return token(out);
        size_t size = 0;
        while (size < left.size && token_char(left.data[size])) size++;
        *out = left.first(size);
        left = left.from(size);
        if (size == 0 || left.empty() || *left.data != '"') return false;
        left = left.from(1);
        return true;
    }
    bool ended() {
        skip_blank();
        return left.empty();
    }
};

struct Answer {
    const DeflateOptions &options;
    DeflateAgreement *agreed;
    ErrorText *error;
    bool used = false;
    bool client_takeover_seen = false, server_takeover_seen = false;
    bool client_bits_seen = false, server_bits_seen = false;
};

ErrorText &refuse(Answer &answer) {
    return answer.error->begin(WSXDP_E_EXTENSION).add("the server's Sec-WebSocket-Extensions ");
}

int refuse_parameter(Answer &answer, ByteView name, const char *why) {
    refuse(answer).add("gives the permessage-deflate parameter ").add(name).add(why);
    return WSXDP_E_EXTENSION;
}

// 8..15 without leading zeros (section 7.1.2), 0 for anything else.
uint8_t window_bits(ByteView text) {
    if (text.size == 1 && (text.data[0] == '8' || text.data[0] == '9')) {
        return static_cast<uint8_t>(text.data[0] - '0');
    }
    if (text.size == 2 && text.data[0] == '1' && text.data[1] >= '0' && text.data[1] <= '5') {
        return static_cast<uint8_t>(10 + text.data[1] - '0');
    }
    return 0;
}

int accept_takeover(Answer &answer, ByteView name, bool has_value, bool *seen) {
    if (*seen) return refuse_parameter(answer, name, " twice");
    if (has_value) return refuse_parameter(answer, name, " a value, and it takes none");
    *seen = true;
    return WSXDP_OK;
}

int accept_window(Answer &answer, ByteView name, ByteView text, bool *seen, uint8_t offered, uint8_t *bits) {
    if (*seen) return refuse_parameter(answer, name, " twice");
    const uint8_t value = window_bits(text);
    if (value == 0) return refuse_parameter(answer, name, " without a value from 8 to 15");
    if (value > offered) return refuse_parameter(answer, name, " a larger window than was offered");
    *seen = true;
    *bits = value;
    return WSXDP_OK;
}

int accept_parameter(Answer &answer, HeaderCursor &at) {
    ByteView name, text;
    if (!at.token(&name)) {
        refuse(answer).add("has no parameter name after ';'");
        return WSXDP_E_EXTENSION;
    }
    const bool has_value = at.take('=');
    if (has_value && !at.value(&text)) return refuse_parameter(answer, name, " a malformed value");
    if (equal_ignore_case(name, ByteView("client_no_context_takeover"))) {
        return accept_takeover(answer, name, has_value, &answer.client_takeover_seen);
    }
    if (equal_ignore_case(name, ByteView("server_no_context_takeover"))) {
        return accept_takeover(answer, name, has_value, &answer.server_takeover_seen);
    }
    if (equal_ignore_case(name, ByteView("client_max_window_bits"))) {
        return accept_window(answer, name, text, &answer.client_bits_seen,
                             answer.options.client_max_window_bits, &answer.agreed->client_max_window_bits);
    }
    if (equal_ignore_case(name, ByteView("server_max_window_bits"))) {
        return accept_window(answer, name, text, &answer.server_bits_seen,
                             answer.options.server_max_window_bits, &answer.agreed->server_max_window_bits);
    }
    return refuse_parameter(answer, name, ", which no standard knows");
}

int accept_extension(Answer &answer, HeaderCursor &at) {
    ByteView name;
    if (!at.token(&name)) {
        refuse(answer).add("is not a list of extensions: ").add(at.left);
        return WSXDP_E_EXTENSION;
    }
    if (!equal_ignore_case(name, ByteView(extension_name))) {
        refuse(answer).add("names ").add(name).add(", which was not offered");
        return WSXDP_E_EXTENSION;
    }
    if (answer.used) {
        refuse(answer).add("names permessage-deflate twice");
        return WSXDP_E_EXTENSION;
    }
    answer.used = true;
    while (at.take(';')) {
        const int status = accept_parameter(answer, at);
        if (status < 0) return status;
    }
    return WSXDP_OK;
}

int accept_field(Answer &answer, ByteView field) {
    HeaderCursor at{field};
    // RFC 9110 section 5.6.1: a recipient must accept a reasonable number of empty list elements.
    while (!at.ended()) {
        if (at.take(',')) continue;
        const int status = accept_extension(answer, at);
        if (status < 0) return status;
        if (!at.ended() && !at.take(',')) {
            refuse(answer).add("is malformed at: ").add(at.left);
            return WSXDP_E_EXTENSION;
        }
    }
    return WSXDP_OK;
}

} // namespace

void deflate_offer(const DeflateOptions &options, Writer *out) {
    out->text(extension_name);
    if (options.client_no_context_takeover) out->text("; client_no_context_takeover");
    if (options.server_no_context_takeover) out->text("; server_no_context_takeover");
    if (options.server_max_window_bits < 15) {
        out->text("; server_max_window_bits=");
        out->decimal(options.server_max_window_bits);
    }
    out->text("; client_max_window_bits"); // without it the server may not ask for a smaller window
    if (options.client_max_window_bits < 15) {
        out->text("=");
        out->decimal(options.client_max_window_bits);
    }
}

int deflate_accept(const DeflateOptions &options, const ByteView *fields, size_t field_count,
                   DeflateAgreement *out, ErrorText *error) {
    *out = DeflateAgreement();
    out->client_max_window_bits =
        options.client_max_window_bits; // a smaller one than asked for is ours to use
    Answer answer{options, out, error};
    for (size_t i = 0; i < field_count; i++) {
        const int status = accept_field(answer, fields[i]);
        if (status < 0) return status;
    }
    if (!answer.used) return 0;
    // Sections 7.1.1.1 and 7.1.2.1: a server accepts such an offer by repeating the parameter.
    if (options.server_no_context_takeover && !answer.server_takeover_seen) {
        refuse(answer).add("lacks server_no_context_takeover, which was asked for");
        return WSXDP_E_EXTENSION;
    }
    if (options.server_max_window_bits < 15 && !answer.server_bits_seen) {
        refuse(answer).add("lacks server_max_window_bits, which was asked for");
        return WSXDP_E_EXTENSION;
    }
    out->client_no_context_takeover = options.client_no_context_takeover || answer.client_takeover_seen;
    out->server_no_context_takeover = answer.server_takeover_seen;
    return 1;
}

} // namespace wx
