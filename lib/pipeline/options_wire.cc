// SPDX-License-Identifier: MIT
// See options_wire.h. Cold. Every slot goes, given or not: the same bag comes out, defaults included. Numbers
// are little-endian as they lie in memory, since both ends are on one machine. The worst input accepted is
// any bytes at all.
#include "options_wire.h"
#include "../base/alloc.h"

namespace wx {

// Per slot: its integer, whether it was given, how many texts.
constexpr size_t slot_bytes = 8 + 1 + 8;
constexpr size_t text_head_bytes = 8 + 8;

size_t options_wire_bytes(const Options *options) {
    size_t bytes = option_count * slot_bytes;
    for (const OptionSlot &slot : options->slots)
        for (size_t i = 0; i < slot.text_count; i++)
            bytes += text_head_bytes + strlen(slot.texts[i].name) + slot.texts[i].size;
    return bytes;
}

static void put(Writer *out, uint64_t value) {
    uint8_t bytes[sizeof value];
    memcpy(bytes, &value, sizeof value);
    out->bytes(ByteView(bytes, sizeof bytes));
}

void options_write(const Options *options, Writer *out) {
    for (const OptionSlot &slot : options->slots) {
        put(out, static_cast<uint64_t>(slot.integer));
        out->u8(slot.given ? 1 : 0);
        put(out, slot.text_count);
        for (size_t i = 0; i < slot.text_count; i++) {
            const OptionText &text = slot.texts[i];
            const ByteView name(text.name);
            put(out, name.size);
            put(out, text.size);
            out->bytes(name);
            out->bytes(ByteView(text.data, text.size));
        }
    }
}

static uint64_t get(Reader *in) {
    ByteView bytes;
    uint64_t value = 0;
    if (in->take(sizeof value, &bytes)) memcpy(&value, bytes.data, sizeof value);
    return value;
}

static int read_slot(Reader *in, OptionSlot *slot) {
    slot->integer = static_cast<int64_t>(get(in));
    slot->given = in->u8() != 0;
    const uint64_t count = get(in);
    if (in->failed || count > option_values_max) return WSXDP_E_INVALID;
    for (uint64_t i = 0; i < count; i++) {
        const uint64_t name_size = get(in), size = get(in);
        ByteView name, data;
        if (in->failed || name_size > in->left() || size > in->left()) return WSXDP_E_INVALID;
        if (!in->take(name_size, &name) || !in->take(size, &data)) return WSXDP_E_INVALID;
        if (options_append(slot, name, data) < 0) return WSXDP_E_MEMORY;
    }
    return WSXDP_OK;
}

Options *options_read(Reader *in, ErrorText *error) {
    Options *options = allocate_object<Options>();
    int status = options != nullptr ? WSXDP_OK : WSXDP_E_MEMORY;
    if (options != nullptr) memset(static_cast<void *>(options->slots), 0, sizeof options->slots);
    for (size_t i = 0; i < option_count && status >= 0; i++) status = read_slot(in, &options->slots[i]);
    if (status >= 0) return options;
    options_free(options);
    error->begin(status).add(status == WSXDP_E_MEMORY ? "reading the options: out of memory"
                                                      : "reading the options: they are cut short or garbled");
    return nullptr;
}

} // namespace wx
