// SPDX-License-Identifier: MIT
// Frames to messages (RFC 6455 sections 5 and 6), server to client, in place: the bytes lie in the inbox, the
// receiver checks them, closes the gaps that frame heads and control frames leave inside a fragmented
// message, and says where each item is. It neither copies otherwise nor keeps bytes itself; a frame may
// arrive in any number of pieces.
//
// The caller keeps a window [start, start + avail) of bytes not yet given back. next() looks at it and
// returns an item, or asks for more. `item.consumed` says how far start moves; while a fragmented message
// is being gathered it does not move, since the message is growing at its beginning.
//
// When the window is as large as it can get and next() still asks for more, compact() gives back the space of
// heads, control frames and empty fragments. If bytes_wanted() is then still more than the window can hold,
// the message does not fit: E_MESSAGE_SIZE.
//
// An item's bytes inside a fragmented message (control frames) may be overwritten by the following call.
#pragma once
#include "frame.h"
#include "utf8.h"

namespace wx {

struct ReceiverLimits {
    uint64_t message_bytes_max = 0; // whole messages as they lie in the inbox; E_MESSAGE_SIZE; 0 for no limit
    uint64_t frame_bytes_max = 0;   // 0 for no limit of its own; E_MESSAGE_SIZE
    bool deflate = false;           // RSV1 on the first frame of a message means compressed (RFC 7692)
    bool check_utf8 = true;         // uncompressed text; compressed text is for the caller to check
    bool stream = false;            // pieces as they come instead of whole messages
};

enum class ItemKind : uint8_t { message, piece, ping, pong, close };

struct Item {
    ItemKind kind;
    uint8_t opcode; // of the message: text or binary; of a control frame: its own
    bool compressed;
    bool first;       // piece: begins the message
    bool final;       // piece: ends it
    bool frame_final; // piece: ends a frame whose FIN bit is set, equals final
    uint32_t frames;  // frames completed by this item
    const uint8_t *data;
    uint64_t size;
    uint64_t consumed; // move start by this much; may be 0
};

struct Receiver {
    ReceiverLimits limits;
    // all offsets are relative to start
    uint64_t parse_at = 0;      // next byte not looked at as a head or payload
    uint64_t message_at = 0;    // first payload byte of the message being gathered
    uint64_t message_bytes = 0; // gathered, contiguous from message_at
    uint64_t checked_bytes = 0; // of the current frame's payload, checked as UTF-8
    FrameHead frame{};          // current data frame, if in_frame; a stream counts its payload_bytes down
    uint32_t frames = 0;        // data frames completed since the last item that reported them
    bool in_frame = false;
    bool in_message = false; // a message has begun, be it with a frame that is not complete
    uint8_t opcode = 0;
    bool compressed = false;
    bool piece_sent = false;
    Utf8 utf8;

    // 1: *item filled. 0: more bytes are needed. < 0: a rule is broken (E_FRAME_*, E_UTF8, E_MESSAGE_SIZE);
    // the connection is to be closed with close_code_for(), and next() not called again. The body of a close
    // frame is for close_body_parse() to judge; nothing after a close frame may be looked at.
    int next(uint8_t *start, uint64_t avail, Item *item) {
        return next_whole(start, avail, item) ? 1 : next_any(start, avail, item);
    }
    // Nearly every frame: a message of its own, complete, neither compressed nor large. Whatever is special
    // in any way, rules broken included, is left to next_any(), which can also do what this does.
    bool next_whole(const uint8_t *start, uint64_t avail, Item *item) const {
        if (avail >= 4 && !(in_message | limits.stream)) {
            const uint8_t first = start[0];
            uint64_t size = start[1], head = 2;
            if (size == 126) {
                size = load_be16(start + 2);
                head = size < 126 ? avail + 1 : 4; // not minimal: made not to fit
            } else if (size > 126) {
                head = avail + 1;
            }
            const bool text = first == (0x80 | opcode_text);
            if ((text || first == (0x80 | opcode_binary)) && size < avail && head + size <= avail &&
                !over_limit(size) && (!text || !limits.check_utf8 || utf8_valid(start + head, size))) {
                *item = Item{ItemKind::message,
                             static_cast<uint8_t>(first & 0x0F),
                             false,
                             true,
                             true,
                             true,
                             1,
                             start + head,
                             size,
                             head + size};
                return true;
            }
        }
        return false;
    }
    int next_any(uint8_t *start, uint64_t avail, Item *item);

    // How many bytes the window must be able to hold for next() to make progress (0: any).
    uint64_t bytes_wanted() const;
    // Moves what is gathered up to the bytes not looked at yet; returns how far start moves. Costs a move of
    // the gathered bytes, so it is for a full window only.
    uint64_t compact(uint8_t *start);
    void reset(); // for a new connection; limits stay

private:
    bool over_limit(uint64_t size) const {
        return (limits.message_bytes_max && size > limits.message_bytes_max) ||
               (limits.frame_bytes_max && size > limits.frame_bytes_max);
    }
    int begin_frame(const uint8_t *start, uint64_t avail, Item *item);
    int begin_data(const FrameHead &head);
    int control(const uint8_t *start, uint64_t avail, const FrameHead &head, Item *item);
    int gather(uint8_t *start, uint64_t avail, Item *item);
    int stream(const uint8_t *start, uint64_t avail, Item *item);
    int judge_first(uint8_t byte) const;
    static int judge_second(uint8_t first, uint8_t second);
    bool check_text(const uint8_t *data, uint64_t size, bool ends);
};

} // namespace wx
