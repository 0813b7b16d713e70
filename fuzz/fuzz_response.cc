// SPDX-License-Identifier: MIT
// The server's answer: the first byte says in what pieces the rest arrives and what was offered. Holds: every
// split finds the same head, fields lie inside it without control characters, a failure has a printable
// sentence with its code, and what passes the check has everything that RFC 6455 section 4.1 asks for.
#include "../lib/http/upgrade.h"
#include "../tests/http/sha1.h"

using namespace wx;

static constexpr size_t max_head = 4096;

static void require(bool holds) {
    if (!holds) __builtin_trap();
}

static void inside(ByteView part, ByteView whole) {
    if (part.size == 0) return;
    require(part.data >= whole.data && part.data + part.size <= whole.data + whole.size);
    for (size_t i = 0; i < part.size; i++)
        require(part.data[i] == '\t' || (part.data[i] >= 0x20 && part.data[i] != 0x7F));
}

static void check_sentence(const ErrorText &error, int64_t status) {
    require(error.code == status && error.size > 0 && error.size < sizeof error.text);
    for (uint32_t i = 0; i < error.size; i++) require(error.text[i] >= 0x20 && error.text[i] < 0x7F);
}

static int64_t scan_in_pieces(ByteView bytes, size_t piece) {
    HeadScanner scanner;
    int64_t found = scanner.feed(ByteView(bytes.data, 0), max_head);
    for (size_t size = 0; found == 0 && size < bytes.size;) {
        size = size + piece < bytes.size ? size + piece : bytes.size;
        found = scanner.feed(bytes.first(size), max_head);
    }
    return found;
}

static void check_upgrade(const Response &response, ByteView head, unsigned offered) {
    UpgradeRequest request;
    memcpy(request.key, "the sample nonce", 16);
    if (offered & 1) request.subprotocols = "a, b";
    if (offered & 2) request.extensions = "permessage-deflate";
    UpgradeResult result;
    ErrorText error;
    int status = upgrade_response_check(response, request, test_sha1, &result, &error);
    inside(result.location, head);
    if (!ok(status)) {
        check_sentence(error, status);
        require((status == WSXDP_E_REDIRECT) == !result.location.empty());
        return;
    }
    require(response.status == 101 && response.has_token("Upgrade", "websocket"));
    require(response.has_token("Connection", "upgrade") && response.count("Sec-WebSocket-Accept") == 1);
    require(equal(response.find("Sec-WebSocket-Accept")->value, ByteView("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")));
    require((offered & 1) || result.subprotocol.empty());
    require((offered & 2) || result.extension_field_count == 0);
    require(result.extension_field_count <= UpgradeResult::extensions_max);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    ByteView bytes(data + 1, size - 1);
    HeadScanner scanner;
    ErrorText error;
    int64_t found = scanner.feed(bytes, max_head, &error);
    require(found == scan_in_pieces(bytes, 1u + (data[0] >> 2)));
    if (found < 0) check_sentence(error, found);
    if (found <= 0) return 0;
    require(static_cast<size_t>(found) <= bytes.size && static_cast<size_t>(found) <= max_head);
    std::string head(bytes.text(), static_cast<size_t>(found));
    ByteView whole(head.data(), head.size());
    Response response;
    int status = response_parse(ByteSpan(&head[0], head.size()), &response, &error);
    if (!ok(status)) {
        check_sentence(error, status);
        return 0;
    }
    require(response.head_bytes <= head.size() && response.header_count <= Response::headers_max);
    inside(response.reason, whole);
    for (size_t i = 0; i < response.header_count; i++) {
        inside(response.headers[i].name, whole);
        inside(response.headers[i].value, whole);
    }
    check_upgrade(response, whole, data[0] & 3u);
    return 0;
}
