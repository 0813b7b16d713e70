// SPDX-License-Identifier: MIT
// Codes in words. Sentences are put together from pieces into a fixed buffer: no printf, no locale, no
// allocation, cut at the end rather than overflown.
#include "status.h"
#include <string.h>

namespace wx {

struct StatusRow {
    int code;
    const char *text;
};

static const StatusRow status_rows[] = {
    {WSXDP_OK, "success"},
    {WSXDP_E_INVALID, "invalid argument"},
    {WSXDP_E_OPTION_UNKNOWN, "unknown option"},
    {WSXDP_E_OPTION_TYPE, "the option takes another type of value"},
    {WSXDP_E_OPTION_RANGE, "the option's value is out of range"},
    {WSXDP_E_URL, "unusable URL"},
    {WSXDP_E_THREAD, "another thread is using the handle"},
    {WSXDP_E_STALE, "the connection is gone"},
    {WSXDP_E_STATE, "not possible in this state"},
    {WSXDP_E_FLAGS, "unknown flag"},
    {WSXDP_E_STRUCT_SIZE, "unknown struct_size"},
    {WSXDP_E_UNSUPPORTED, "not in this build"},
    {WSXDP_E_SEND_UTF8, "the text to send is not UTF-8"},
    {WSXDP_E_AGAIN, "queue full, try again"},
    {WSXDP_E_MEMORY, "out of memory"},
    {WSXDP_E_SYSTEM, "system call failed"},
    {WSXDP_E_DESCRIPTORS, "no file descriptors left"},
    {WSXDP_E_REGION, "shared region not available"},
    {WSXDP_E_THREAD_START, "thread could not be started"},
    {WSXDP_E_PERMISSION, "not permitted"},
    {WSXDP_E_RESOLVE, "host name does not resolve"},
    {WSXDP_E_RESOLVE_TIMEOUT, "name resolution timed out"},
    {WSXDP_E_REFUSED, "connection refused"},
    {WSXDP_E_CONNECT_TIMEOUT, "connection attempt timed out"},
    {WSXDP_E_UNREACHABLE, "host unreachable"},
    {WSXDP_E_UNIX_SOCKET, "unix socket not available"},
    {WSXDP_E_XDP_INTERFACE, "interface cannot carry AF_XDP to this peer"},
    {WSXDP_E_XDP_PROGRAM, "XDP program not loaded or attached"},
    {WSXDP_E_XDP_OCCUPIED, "interface or queue is taken by another"},
    {WSXDP_E_XDP_MODE, "XDP mode not available"},
    {WSXDP_E_XDP_QUEUES, "answers could arrive on another queue"},
    {WSXDP_E_XDP_MEMLOCK, "locked memory limit too low"},
    {WSXDP_E_XDP_LINK_DOWN, "interface down or gone"},
    {WSXDP_E_XDP_PORTS, "no source port left"},
    {WSXDP_E_STAGE_START, "a stage's process could not be started"},
    {WSXDP_E_STAGE_DIED, "a stage's process ended"},
    {WSXDP_E_CLOSED, "connection closed"},
    {WSXDP_E_EOF, "peer ended the connection without a close"},
    {WSXDP_E_RESET, "connection reset by peer"},
    {WSXDP_E_DEAD, "connection silent for too long"},
    {WSXDP_E_PING_TIMEOUT, "keepalive ping not answered"},
    {WSXDP_E_CLOSE_TIMEOUT, "close handshake timed out"},
    {WSXDP_E_OVERFLOW, "caller too slow, connection closed by policy"},
    {WSXDP_E_ABORTED, "connection aborted by the caller"},
    {WSXDP_E_RETRIES, "no attempts left"},
    {WSXDP_E_HTTP_HEAD, "malformed HTTP response"},
    {WSXDP_E_HTTP_HEAD_SIZE, "HTTP response head too large"},
    {WSXDP_E_HTTP_STATUS, "HTTP status other than 101"},
    {WSXDP_E_REDIRECT, "server redirects elsewhere"},
    {WSXDP_E_UPGRADE_HEADER, "Upgrade header missing or wrong"},
    {WSXDP_E_CONNECTION_HEADER, "Connection header missing or wrong"},
    {WSXDP_E_ACCEPT, "Sec-WebSocket-Accept missing or wrong"},
    {WSXDP_E_SUBPROTOCOL, "subprotocol was not offered"},
    {WSXDP_E_EXTENSION, "extension was not offered"},
    {WSXDP_E_UPGRADE_TIMEOUT, "opening handshake timed out"},
    {WSXDP_E_AUTH_REQUIRED, "server wants other credentials"},
    {WSXDP_E_PROXY, "proxy protocol error"},
    {WSXDP_E_PROXY_REFUSED, "proxy refused the connection"},
    {WSXDP_E_PROXY_AUTH, "proxy wants other credentials"},
    {WSXDP_E_FRAME_RSV, "reserved bit set in a frame"},
    {WSXDP_E_FRAME_OPCODE, "reserved opcode"},
    {WSXDP_E_FRAME_MASKED, "server sent a masked frame"},
    {WSXDP_E_FRAME_LENGTH, "frame length badly encoded"},
    {WSXDP_E_FRAME_CONTROL, "control frame fragmented or too long"},
    {WSXDP_E_FRAME_CONTINUATION, "continuation of nothing"},
    {WSXDP_E_FRAME_INTERLEAVED, "new message inside a fragmented one"},
    {WSXDP_E_UTF8, "text message is not UTF-8"},
    {WSXDP_E_CLOSE_CODE, "forbidden close code"},
    {WSXDP_E_CLOSE_UTF8, "close reason is not UTF-8"},
    {WSXDP_E_DEFLATE, "corrupt compressed data"},
    {WSXDP_E_NOT_HTTP, "answer is not HTTP"},
    {WSXDP_E_TLS_SETUP, "TLS option cannot be used"},
    {WSXDP_E_TLS_CA, "CA certificates cannot be loaded"},
    {WSXDP_E_TLS_CLIENT_CERT, "client certificate or key cannot be loaded"},
    {WSXDP_E_TLS_HANDSHAKE, "TLS handshake failed"},
    {WSXDP_E_TLS_NOT_TLS, "answer is not TLS"},
    {WSXDP_E_TLS_VERSION, "no common TLS version"},
    {WSXDP_E_TLS_UNTRUSTED, "certificate issuer not trusted"},
    {WSXDP_E_TLS_SELF_SIGNED, "self-signed certificate"},
    {WSXDP_E_TLS_EXPIRED, "certificate expired"},
    {WSXDP_E_TLS_NOT_YET_VALID, "certificate not yet valid"},
    {WSXDP_E_TLS_HOSTNAME, "certificate is for another host"},
    {WSXDP_E_TLS_CERTIFICATE, "certificate chain unacceptable"},
    {WSXDP_E_TLS_PIN, "certificate key matches no pin"},
    {WSXDP_E_TLS_CLIENT_CERT_REQUIRED, "server wants a client certificate"},
    {WSXDP_E_TLS_ALERT, "TLS alert from the peer"},
    {WSXDP_E_TLS_RECORD, "TLS record malformed or not authentic"},
    {WSXDP_E_TLS_TIMEOUT, "TLS handshake timed out"},
    {WSXDP_E_TLS_TRUNCATED, "TLS stream truncated"},
    {WSXDP_E_TLS_CIPHER, "no common cipher suite"},
    {WSXDP_E_TLS_EOF, "peer closed during the TLS handshake"},
    {WSXDP_E_TOO_BIG, "message too big to send"},
    {WSXDP_E_MESSAGE_SIZE, "received message too big"},
    {WSXDP_E_CONNECTIONS, "too many connections"},
    {WSXDP_E_HOLDS, "too many held events"},
    {WSXDP_E_SENDERS, "too many senders"},
    {WSXDP_E_INFLATE_SIZE, "compressed message grows too much"},
    {WSXDP_E_INTERNAL, "internal error"},
};

const char *status_text(int code) {
    if (code > 0) return "success";
    for (const StatusRow &row : status_rows)
        if (row.code == code) return row.text;
    return "unknown code";
}

void ErrorText::clear() {
    code = 0;
    system_errno = 0;
    size = 0;
    text[0] = 0;
}

ErrorText &ErrorText::begin(int error_code, int errno_value) {
    clear();
    code = error_code;
    system_errno = errno_value;
    return *this;
}

ErrorText &ErrorText::add(const char *literal) {
    size_t count = strlen(literal);
    if (count > sizeof text - 1 - size) count = sizeof text - 1 - size;
    memcpy(text + size, literal, count);
    size += static_cast<uint32_t>(count);
    text[size] = 0;
    return *this;
}

ErrorText &ErrorText::add(ByteView bytes) {
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < bytes.size; i++) {
        uint8_t c = bytes.data[i];
        bool plain = c >= 0x20 && c < 0x7F && c != '\\';
        size_t needs = plain ? 1 : 4;
        if (needs > sizeof text - 1 - size) break;
        if (plain) {
            text[size++] = static_cast<char>(c);
        } else {
            text[size++] = '\\';
            text[size++] = 'x';
            text[size++] = hex[c >> 4];
            text[size++] = hex[c & 15];
        }
    }
    text[size] = 0;
    return *this;
}

ErrorText &ErrorText::number(int64_t value) {
    uint8_t digits[24];
    Writer writer{ByteSpan(digits, sizeof digits)};
    if (value < 0) writer.u8('-');
    writer.decimal(value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value));
    return add(writer.view());
}

ErrorText &ErrorText::errno_name(int value) {
    const char *name = strerrordesc_np(value); // static text, no locale, safe in any thread
    return add(name ? name : "error").add(" (").number(value).add(")");
}

} // namespace wx
