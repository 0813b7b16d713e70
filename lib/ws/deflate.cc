// SPDX-License-Identifier: MIT
// Both directions of permessage-deflate (RFC 7692 section 7.2) with zlib. All memory is taken at open; a
// message allocates nothing and is written to the caller's buffer only. Worst case: a bomb, which is inflated
// up to the ratio or the size limit, whichever is first, and then refused.
#include "deflate.h"
#include "../base/alloc.h"
#define ZLIB_CONST
#include <zlib.h>

namespace wx {
namespace {

constexpr uint8_t tail[4] = {0x00, 0x00, 0xFF, 0xFF}; // what a sender removes and a receiver adds
constexpr uInt step_max = 1u << 30;                   // zlib counts in 32 bits
// Below this much output the ratio says nothing: a byte or two of a long match can make some hundreds.
constexpr uint64_t ratio_free_bytes = 4096;

void *zlib_allocate(void *, uInt items, uInt size) { return allocate(static_cast<size_t>(items) * size); }
void zlib_deallocate(void *, void *memory) { deallocate(memory); }

void stream_prepare(z_stream *stream) {
    stream->zalloc = zlib_allocate;
    stream->zfree = zlib_deallocate;
}

bool window_in_range(uint8_t bits) { return bits >= 8 && bits <= 15; }

} // namespace

struct Inflater {
    z_stream stream;
    bool no_context_takeover;
    uint32_t ratio_max;
    // of the current message
    bool between_streams; // no input byte since the message or, after a final block, the next stream began
    bool carried;         // one byte that was inflated to see whether there is one, and had no room
    uint8_t carry;
    uint8_t tail_taken;
    uint64_t taken;
    uint64_t made;
};

int inflater_open(const DeflateAgreement &agreement, const DeflateOptions &options, Inflater **out) {
    *out = nullptr;
    if (!window_in_range(agreement.server_max_window_bits)) return WSXDP_E_INVALID;
    Inflater *inflater = allocate_object<Inflater>();
    if (!inflater) return WSXDP_E_MEMORY;
    stream_prepare(&inflater->stream);
    inflater->no_context_takeover = agreement.server_no_context_takeover;
    inflater->ratio_max = options.ratio_max;
    inflater->between_streams = true;
    // zlib allocates the window when it first keeps something: a dictionary of one byte makes it do so now.
    const uint8_t byte = 0;
    if (inflateInit2(&inflater->stream, -agreement.server_max_window_bits) != Z_OK ||
        inflateSetDictionary(&inflater->stream, &byte, 1) != Z_OK ||
        inflateReset(&inflater->stream) != Z_OK) {
        inflater_free(inflater);
        return WSXDP_E_MEMORY;
    }
    *out = inflater;
    return WSXDP_OK;
}

void inflater_free(Inflater *inflater) {
    if (!inflater) return;
    inflateEnd(&inflater->stream); // knows by itself whether it was ever begun
    deallocate(inflater);
}

namespace {

// One zlib call over a piece of input into a piece of room. Z_BLOCK makes it stop where a block ends, so that
// data_type afterwards tells whether the tail closed the last block.
int inflate_step(Inflater *inflater, ByteView *input, ByteSpan *room) {
    z_stream &z = inflater->stream;
    const uInt in = input->size < step_max ? static_cast<uInt>(input->size) : step_max;
    const uInt space = room->size < step_max ? static_cast<uInt>(room->size) : step_max;
    z.next_in = input->data;
    z.avail_in = in;
    z.next_out = room->data;
    z.avail_out = space;
    const int status = inflate(&z, Z_BLOCK);
    const size_t taken = in - z.avail_in, made = space - z.avail_out;
    *input = input->from(taken);
    *room = ByteSpan(room->data + made, room->size - made);
    if (taken) inflater->between_streams = false;
    inflater->made += made;
    if (status == Z_STREAM_END) {
        // Section 7.2.3.4: a message may hold a final block and go on after it, with the same window.
        if (inflateResetKeep(&z) != Z_OK) return WSXDP_E_INTERNAL;
        inflater->between_streams = true;
        return WSXDP_OK;
    }
    return status == Z_OK || status == Z_BUF_ERROR ? WSXDP_OK : WSXDP_E_DEFLATE;
}

bool over_ratio(const Inflater *inflater) {
    return inflater->ratio_max && inflater->made > ratio_free_bytes &&
           inflater->made / inflater->ratio_max > inflater->taken;
}

// Whether the message is whole: its last block must end exactly where the tail does (section 7.2.2). Where a
// stream has not begun there is no block to end: an empty message without its one byte, or a final block
// without the byte that section 7.2.3.4 puts after it. Both occur and mean only one thing.
bool closed(const Inflater *inflater) {
    if (inflater->between_streams) return inflater->tail_taken == 0;
    constexpr int at_block_end = 128, final_block = 64, bits_left = 31;
    return inflater->tail_taken == sizeof tail &&
           (inflater->stream.data_type & (at_block_end | final_block | bits_left)) == at_block_end;
}

// Input first, then the tail, as far as the room allows. 1 when nothing more can come out of what there is.
int inflate_input(Inflater *inflater, ByteView *input, bool last, ByteSpan *room) {
    for (int idle = 0; idle < 2;) {
        const bool from_tail = input->empty();
        if (from_tail && (!last || closed(inflater))) return 1;
        ByteView rest = from_tail ? ByteView(tail, sizeof tail).from(inflater->tail_taken) : *input;
        const size_t rest_before = rest.size, room_before = room->size;
        const int status = inflate_step(inflater, &rest, room);
        if (status < 0) return status;
        const size_t taken = rest_before - rest.size;
        if (from_tail) {
            inflater->tail_taken = static_cast<uint8_t>(inflater->tail_taken + taken);
        } else {
            *input = rest;
            inflater->taken += taken;
        }
        if (over_ratio(inflater)) return WSXDP_E_INFLATE_SIZE;
        if (room->size == 0) return 0;
        // The end of a stream is told one call after that of its final block, and moves nothing.
        idle = taken || room->size != room_before ? 0 : idle + 1;
    }
    return 1; // the tail is used up and has closed nothing
}

int finish_message(Inflater *inflater) {
    if (!closed(inflater)) return WSXDP_E_DEFLATE;
    inflater->between_streams = true;
    inflater->tail_taken = 0;
    inflater->taken = inflater->made = 0;
    if (inflater->no_context_takeover && inflateReset(&inflater->stream) != Z_OK) return WSXDP_E_INTERNAL;
    return 1;
}

} // namespace

int inflater_feed(Inflater *inflater, ByteView *input, bool last, ByteSpan out, uint64_t total_max,
                  size_t *produced) {
    *produced = 0;
    if (inflater->carried) {
        if (out.size == 0) return 0;
        out.data[0] = inflater->carry;
        inflater->carried = false;
        *produced = 1;
    }
    const uint64_t limit = total_max == 0 ? UINT64_MAX : total_max;
    const uint64_t allowed = limit > inflater->made ? limit - inflater->made : 0;
    const size_t space = out.size - *produced;
    ByteSpan room(out.data + *produced, space < allowed ? space : static_cast<size_t>(allowed));
    const size_t room_size = room.size;
    int status = room.size ? inflate_input(inflater, input, last, &room) : 0;
    *produced += room_size - room.size;
    if (status < 0) return status;
    if (status == 0) {
        // No room left. One byte more tells whether the message wants any.
        ByteSpan probe(&inflater->carry, 1);
        status = inflate_input(inflater, input, last, &probe);
        if (status < 0) return status;
        inflater->carried = probe.size == 0;
        if (inflater->carried) return inflater->made > limit ? WSXDP_E_INFLATE_SIZE : 0;
    }
    return last && input->empty() ? finish_message(inflater) : 0;
}

struct Deflater {
    z_stream stream;
    bool no_context_takeover;
};

int deflater_open(const DeflateAgreement &agreement, const DeflateOptions &options, Deflater **out) {
    *out = nullptr;
    const bool levels =
        options.level >= 1 && options.level <= 9 && options.memory_level >= 1 && options.memory_level <= 9;
    if (!levels || !window_in_range(agreement.client_max_window_bits)) return WSXDP_E_INVALID;
    Deflater *deflater = allocate_object<Deflater>();
    if (!deflater) return WSXDP_E_MEMORY;
    stream_prepare(&deflater->stream);
    deflater->no_context_takeover = agreement.client_no_context_takeover;
    // zlib cannot make a raw window of 8 bits. With 9 it never looks back further than 512 - 262 = 250 bytes,
    // since it keeps a whole match and its lookahead free, which is within the 256 of an 8-bit window.
    const int bits = agreement.client_max_window_bits == 8 ? 9 : agreement.client_max_window_bits;
    if (deflateInit2(&deflater->stream, options.level, Z_DEFLATED, -bits, options.memory_level,
                     Z_DEFAULT_STRATEGY) != Z_OK) {
        deflater_free(deflater);
        return WSXDP_E_MEMORY;
    }
    *out = deflater;
    return WSXDP_OK;
}

void deflater_free(Deflater *deflater) {
    if (!deflater) return;
    deflateEnd(&deflater->stream);
    deallocate(deflater);
}

size_t deflater_bound(const Deflater *deflater, size_t size) {
    // zlib's bound is for one stream in one go; a flush adds at most ten bits and a stored block's head, and
    // what a fragment before it left behind.
    (void)deflater;
    return size + (size >> 3) + (size >> 6) + 64;
}

int64_t deflater_message(Deflater *deflater, ByteView message, bool final, ByteSpan out) {
    z_stream &z = deflater->stream;
    size_t written = 0;
    if (message.empty()) {
        // Nothing is pending after a flush. Section 7.2.3.6: an empty message is the one byte 00.
        if (!final) return 0;
        if (out.size < 1) return WSXDP_E_INTERNAL;
        out.data[0] = 0;
        written = 1;
    }
    while (!message.empty()) {
        const uInt in = message.size < step_max ? static_cast<uInt>(message.size) : step_max;
        const uInt space =
            out.size - written < 2u * step_max ? static_cast<uInt>(out.size - written) : 2u * step_max;
        z.next_in = message.data;
        z.avail_in = in;
        z.next_out = out.data + written;
        z.avail_out = space;
        const int status = deflate(&z, Z_SYNC_FLUSH);
        written += space - z.avail_out;
        // No room left may mean that the flush is not complete, so out must have more than is needed.
        if (status != Z_OK || z.avail_in || z.avail_out == 0) return WSXDP_E_INTERNAL;
        message = message.from(in);
        if (message.empty() && final) written -= sizeof tail;
    }
    if (final && deflater->no_context_takeover && deflateReset(&z) != Z_OK) return WSXDP_E_INTERNAL;
    return static_cast<int64_t>(written);
}

} // namespace wx
