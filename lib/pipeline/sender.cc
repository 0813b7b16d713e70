// SPDX-License-Identifier: MIT
// The sender's ring. Everything that can be judged without the connection is judged in the sending thread, so
// that the owner never has to refuse what was already accepted; the one exception is a connection that ends
// first.
#include "sender.h"
#include "../base/alloc.h"
#include "../ring/region.h"
#include "../ws/utf8.h"
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

namespace wx {

static uint64_t record_bytes(uint64_t size) { return sizeof(SenderRecord) + ((size + 7) & ~uint64_t{7}); }

int sender_create(uint64_t bytes, uint64_t message_max, bool check_utf8, Sender **out, ErrorText *error) {
    constexpr uint64_t default_bytes = 65536;
    constexpr uint64_t bytes_max = uint64_t{1} << 30; // as outbox.bytes
    *out = nullptr;
    if (bytes > bytes_max) {
        error->begin(WSXDP_E_INVALID).add("a sender's queue is at most 1 GiB");
        return WSXDP_E_INVALID;
    }
    Sender *sender = allocate_object<Sender>();
    SenderShared *shared = allocate_object<SenderShared>();
    if (sender != nullptr && shared != nullptr) {
        sender->shared = shared;
        shared->capacity =
            power_of_two_at_least(bytes == 0 ? default_bytes : (bytes < page_bytes ? page_bytes : bytes));
        shared->message_max = message_max;
        shared->check_utf8 = check_utf8;
        shared->memory_fd = memfd_create("wsxdp-sender", MFD_CLOEXEC);
        if (shared->memory_fd >= 0 && ftruncate(shared->memory_fd, static_cast<off_t>(shared->capacity)) == 0)
            shared->memory = mirror_map(shared->memory_fd, 0, shared->capacity);
        if (shared->memory != nullptr) {
            sender->producer.open(&shared->words, shared->memory, shared->capacity);
            sender->consumer.open(&shared->words, shared->memory, shared->capacity);
            *out = sender;
            return WSXDP_OK;
        }
        if (shared->memory_fd >= 0) close(shared->memory_fd);
    }
    int cause = errno;
    deallocate(shared);
    deallocate(sender);
    error->begin(WSXDP_E_MEMORY, cause).add("making a sender's queue: ").errno_name(cause);
    return WSXDP_E_MEMORY;
}

void sender_destroy(Sender *sender) {
    mirror_unmap(sender->shared->memory, sender->shared->capacity);
    close(sender->shared->memory_fd);
    deallocate(sender->shared);
    deallocate(sender);
}

static int check(const Sender *sender, uint32_t opcode, ByteView data, uint32_t flags) {
    bool control = opcode == WSXDP_PING || opcode == WSXDP_PONG;
    if (!control && opcode != WSXDP_TEXT && opcode != WSXDP_BINARY) return WSXDP_E_INVALID;
    // Fragments of two threads would mix; MORE has no meaning, since the owner sends when it wakes.
    if (flags & ~static_cast<uint32_t>(WSXDP_SEND_UNCOMPRESSED)) return WSXDP_E_FLAGS;
    if (control && data.size > control_payload_max) return WSXDP_E_TOO_BIG;
    if (data.size > sender->shared->message_max) return WSXDP_E_TOO_BIG;
    if (record_bytes(data.size) > sender->shared->capacity) return WSXDP_E_TOO_BIG;
    if (opcode == WSXDP_TEXT && sender->shared->check_utf8 && !utf8_valid(data.data, data.size))
        return WSXDP_E_SEND_UTF8;
    return WSXDP_OK;
}

int sender_push(Sender *sender, uint32_t opcode, ByteView data, uint32_t flags) {
    int status = check(sender, opcode, data, flags);
    if (status < 0) return status;
    if (sender->shared->closed.load(std::memory_order_acquire) != 0) return WSXDP_E_CLOSED;
    uint64_t needed = record_bytes(data.size);
    if (sender->producer.room() < needed) return WSXDP_E_AGAIN;
    sender->producer.rewind_if_empty();
    uint8_t *out = sender->producer.at_tail();
    SenderRecord record = {static_cast<uint32_t>(data.size), static_cast<uint16_t>(opcode),
                           static_cast<uint16_t>(flags)};
    memcpy(out, &record, sizeof record);
    if (data.size != 0) memcpy(out + sizeof record, data.data, data.size);
    sender->producer.publish(needed);
    sender->ring(sender->bell);
    return WSXDP_OK;
}

bool sender_front(Sender *sender, SenderRecord *record, ByteView *payload) {
    uint64_t ready = sender->consumer.ready();
    if (ready < sizeof *record) return false;
    const uint8_t *at = sender->consumer.at(sender->consumer.head);
    memcpy(record, at, sizeof *record);
    if (record_bytes(record->size) > ready) return false;
    *payload = ByteView(at + sizeof *record, record->size);
    return true;
}

void sender_pop(Sender *sender, const SenderRecord &record) {
    sender->consumer.release_to(sender->consumer.head + record_bytes(record.size));
}

} // namespace wx
