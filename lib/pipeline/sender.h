// SPDX-License-Identifier: MIT
// Messages from another thread to a connection: a byte ring of its own per sender, so that threads never meet
// on anything but their own two words, and a doorbell that wakes the owner. Whole messages only.
#pragma once
#include "../ring/bytering.h"
#include "../ws/frame.h"

namespace wx {

struct SenderRecord {
    uint32_t size;
    uint16_t opcode;
    uint16_t flags;
};
static_assert(sizeof(SenderRecord) == 8, "records stay aligned");

// What senders share with the engine; outlives both, since it is counted.
struct SenderShared {
    ByteRingWords words;
    std::atomic<uint32_t> closed; // the connection is gone
    int memory_fd;
    uint8_t *memory;
    uint64_t capacity;
    uint64_t message_max; // what the outbox can take
    bool check_utf8;
};

struct Sender {
    SenderShared *shared = nullptr;
    ByteRingProducer producer; // the sending thread's
    ByteRingConsumer consumer; // the owner's
    uint32_t index = 0;        // connection
    uint32_t id = 0;
    void *bell = nullptr; // the engine
    void (*ring)(void *bell) = nullptr;
};

int sender_create(uint64_t bytes, uint64_t message_max, bool check_utf8, Sender **out, ErrorText *error);
void sender_destroy(Sender *sender);
// The sending thread.
int sender_push(Sender *sender, uint32_t opcode, ByteView data, uint32_t flags);
// The owner: the oldest record and its payload; false when there is none.
bool sender_front(Sender *sender, SenderRecord *record, ByteView *payload);
void sender_pop(Sender *sender, const SenderRecord &record);

} // namespace wx
