// SPDX-License-Identifier: MIT
// permessage-deflate (RFC 7692) over zlib: the offer, the answer's check, and both directions. zlib's memory
// comes from lib/base/alloc at open; messages allocate nothing.
#pragma once
#include "../base/status.h"

namespace wx {

struct DeflateOptions {
    bool client_no_context_takeover = false; // offered; also what we then do
    bool server_no_context_takeover = false;
    uint8_t client_max_window_bits = 15; // 8..15; hint always sent
    uint8_t server_max_window_bits = 15; // 8..15; sent when below 15
    uint8_t level = 1;                   // zlib 1..9: latency first
    uint8_t memory_level = 8;            // zlib 1..9
    uint32_t ratio_max = 1000; // inflated / compressed; deflate's own ceiling is about 1032; 0: none
};

struct DeflateAgreement { // what both sides do
    bool client_no_context_takeover = false;
    bool server_no_context_takeover = false;
    uint8_t client_max_window_bits = 15;
    uint8_t server_max_window_bits = 15;
};

// The Sec-WebSocket-Extensions value to offer; 160 bytes of room are enough.
void deflate_offer(const DeflateOptions &options, Writer *out);
// Checks the answer's header fields against the offer (RFC 7692 section 7.1). 1 agreed, 0 not used,
// E_EXTENSION with a sentence: unknown extension, duplicate or unknown parameter, value out of range, a
// window that was not offered, what was asked for not promised, permessage-deflate twice, text that is no
// list.
int deflate_accept(const DeflateOptions &options, const ByteView *fields, size_t field_count,
                   DeflateAgreement *out, ErrorText *error);

struct Inflater;
struct Deflater;

// E_MEMORY, E_INVALID (a value out of its range). *out is nullptr after an error; free allows nullptr.
int inflater_open(const DeflateAgreement &agreement, const DeflateOptions &options, Inflater **out);
void inflater_free(Inflater *inflater);
// Feeds a piece of one compressed message. input->data/size move past what was taken. *produced bytes are
// written to out. Returns 1 when the message is complete (needs last = true, all input taken), 0 when it
// wants more input or more room (room when *produced == out.size), E_DEFLATE, E_INFLATE_SIZE (ratio, or total
// above total_max; 0 for no limit). A message that just fits is complete at once, without being asked for
// more room, and one byte more than fits is known at once. After an error the inflater is spent.
int inflater_feed(Inflater *inflater, ByteView *input, bool last, ByteSpan out, uint64_t total_max,
                  size_t *produced);

int deflater_open(const DeflateAgreement &agreement, const DeflateOptions &options, Deflater **out);
void deflater_free(Deflater *deflater);
size_t deflater_bound(const Deflater *deflater, size_t size);
// Compresses one whole message (tail 00 00 FF FF removed, section 7.2.1) into out, which has room for bound.
// final = false: a fragment, more of the message follows. Returns bytes written or E_INTERNAL.
int64_t deflater_message(Deflater *deflater, ByteView message, bool final, ByteSpan out);

} // namespace wx
