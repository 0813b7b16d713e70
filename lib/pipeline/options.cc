// SPDX-License-Identifier: MIT
// Setting options: find the row, check the type and range, store. A set that fails changes nothing and leaves
// a sentence that names the option and what it takes. Cold: allocates. The worst input accepted is any bytes
// at all.
#include "options.h"
#include "../base/alloc.h"

namespace wx {

const OptionRow option_rows[option_count] = {
#define X(identifier, name, type, flags, def, minimum, maximum, unit, choices, doc)                          \
    {name, type, flags, def, minimum, maximum, unit, choices, doc},
    WX_OPTIONS(X)
#undef X
};

const char *Options::text(Option option) const {
    const OptionSlot &slot = slots[static_cast<size_t>(option)];
    return slot.text_count ? slot.texts[slot.text_count - 1].data : "";
}

ByteView Options::data(Option option) const {
    const OptionSlot &slot = slots[static_cast<size_t>(option)];
    if (slot.text_count == 0) return ByteView("", 0);
    return ByteView(slot.texts[slot.text_count - 1].data, slot.texts[slot.text_count - 1].size);
}

// ---- numbers and words ----

struct Unit {
    const char *suffix;
    const char *kind;
    int64_t factor;
};

static const Unit units[] = {
    {"ns", "ns", 1},          {"us", "ns", 1000},      {"ms", "ns", 1000000},    {"s", "ns", 1000000000},
    {"m", "ns", 60000000000}, {"h", "ns", WX_HOUR_NS}, {"us", "us", 1},          {"ms", "us", 1000},
    {"s", "us", 1000000},     {"B", "bytes", 1},       {"KiB", "bytes", 1024},   {"MiB", "bytes", 1048576},
    {"GiB", "bytes", WX_GIB}, {"kB", "bytes", 1000},   {"MB", "bytes", 1000000}, {"GB", "bytes", 1000000000},
    {"k", "bytes", 1024},     {"K", "bytes", 1024},    {"M", "bytes", 1048576},  {"G", "bytes", WX_GIB},
};

// 1 without a suffix, 0 for one that does not belong to the unit.
static int64_t unit_factor(ByteView suffix, const char *unit) {
    if (suffix.size == 0) return 1;
    for (const Unit &row : units)
        if (equal(ByteView(row.kind), ByteView(unit)) && equal(ByteView(row.suffix), suffix))
            return row.factor;
    return 0;
}

int parse_quantity(ByteView text, const char *unit, int64_t *out) {
    size_t at = 0;
    int64_t value = 0;
    bool overflow = false;
    bool negative = at < text.size && text.data[at] == '-';
    if (negative) at++;
    size_t digits = at;
    for (; at < text.size && text.data[at] >= '0' && text.data[at] <= '9'; at++) {
        overflow |= __builtin_mul_overflow(value, int64_t{10}, &value);
        overflow |= __builtin_add_overflow(value, int64_t{text.data[at]} - '0', &value);
    }
    int64_t factor = unit_factor(text.from(at), unit);
    if (at == digits || factor == 0) return WSXDP_E_OPTION_TYPE;
    overflow |= __builtin_mul_overflow(value, factor, &value);
    if (overflow) return WSXDP_E_OPTION_RANGE;
    *out = negative ? -value : value;
    return WSXDP_OK;
}

static bool parse_bool(ByteView text, int64_t *out) {
    static const char *const yes[] = {"yes", "true", "on", "1"};
    static const char *const no[] = {"no", "false", "off", "0"};
    for (const char *word : yes)
        if (equal_ignore_case(text, ByteView(word))) return *out = 1, true;
    for (const char *word : no)
        if (equal_ignore_case(text, ByteView(word))) return *out = 0, true;
    return false;
}

static bool parse_choice(ByteView text, const char *choices, int64_t *out) {
    int64_t index = 0;
    for (const char *word = choices; *word != 0; index++) {
        size_t size = strcspn(word, "|");
        if (equal(text, ByteView(word, size))) return *out = index, true;
        word += size + (word[size] == '|');
    }
    return false;
}

// ---- errors ----

static int unknown_option(Options *options, ByteView name) {
    options->error.begin(WSXDP_E_OPTION_UNKNOWN).add("unknown option '").add(name.first(64));
    options->error.add("'; `wsxdp options` lists them");
    return WSXDP_E_OPTION_UNKNOWN;
}

static int refuse(Options *options, int code, const OptionRow &row, ByteView value) {
    ErrorText &error = options->error;
    error.begin(code).add("option ").add(row.name).add(": ");
    if (row.flags & WSXDP_OPTION_SECRET)
        error.add("this value does not fit; it takes ");
    else
        error.add("'").add(value.first(80)).add("' does not fit; it takes ");
    if (row.type == WSXDP_OPTION_BOOL) error.add("yes or no");
    if (row.type == WSXDP_OPTION_CHOICE) error.add("one of ").add(row.choices);
    if (row.type == WSXDP_OPTION_TEXT) error.add("text without zero bytes, 16 MiB at most");
    if (row.type == WSXDP_OPTION_DATA) error.add("bytes, 16 MiB at most");
    if (row.type == WSXDP_OPTION_INT) {
        error.add("a number from ").number(row.minimum).add(" to ").number(row.maximum);
        if (row.unit[0]) error.add(" ").add(row.unit);
        if (equal(ByteView(row.unit), ByteView("ns"))) error.add(" (or like 250ms, 10s)");
        if (equal(ByteView(row.unit), ByteView("bytes"))) error.add(" (or like 64KiB, 4MiB)");
    }
    return code;
}

// ---- storage ----

// Values may be secrets: nothing of them stays in freed memory, whether replaced, emptied or freed with the
// bag.
static void free_texts(OptionSlot *slot) {
    for (size_t i = 0; i < slot->text_count; i++) {
        explicit_bzero(slot->texts[i].data, slot->texts[i].size);
        deallocate(slot->texts[i].name);
        deallocate(slot->texts[i].data);
    }
    deallocate(slot->texts);
    slot->texts = nullptr;
    slot->text_count = 0;
}

int options_append(OptionSlot *slot, ByteView name, ByteView value) {
    size_t bytes = (slot->text_count + 1) * sizeof(OptionText);
    OptionText *grown = static_cast<OptionText *>(reallocate(slot->texts, bytes));
    if (grown == nullptr) return WSXDP_E_MEMORY;
    slot->texts = grown;
    OptionText text = {duplicate_text(name.text(), name.size), duplicate_text(value.text(), value.size),
                       value.size};
    if (text.name == nullptr || text.data == nullptr) {
        deallocate(text.name);
        deallocate(text.data);
        return WSXDP_E_MEMORY;
    }
    slot->texts[slot->text_count++] = text;
    return WSXDP_OK;
}

static int store_text(Options *options, size_t index, ByteView name, ByteView value) {
    const OptionRow &row = option_rows[index];
    OptionSlot *slot = &options->slots[index];
    bool has_zero = value.size != 0 && memchr(value.data, 0, value.size) != nullptr;
    if (value.size > option_text_bytes_max || (row.type == WSXDP_OPTION_TEXT && has_zero))
        return refuse(options, WSXDP_E_OPTION_RANGE, row, value);
    bool repeats = (row.flags & WSXDP_OPTION_REPEATS) != 0;
    // "header.*" itself, set to nothing, empties as "subscribe" does; "header.X" set to nothing is an empty
    // field.
    bool empties = repeats && value.size == 0 && (name.size == 0 || equal(name, ByteView("*")));
    if (repeats && !empties && slot->text_count >= option_values_max) {
        options->error.begin(WSXDP_E_OPTION_RANGE).add("option ").add(row.name).add(": more than ");
        options->error.number(option_values_max).add(" values");
        return WSXDP_E_OPTION_RANGE;
    }
    OptionSlot old = *slot;
    if (empties) {
        free_texts(slot);
    } else if (repeats) {
        if (options_append(slot, name, value) < 0) return WSXDP_E_MEMORY;
    } else {
        slot->texts = nullptr;
        slot->text_count = 0;
        if (value.size != 0 && options_append(slot, name, value) < 0) {
            deallocate(slot->texts);
            *slot = old;
            return WSXDP_E_MEMORY;
        }
        free_texts(&old);
    }
    slot->given = true;
    return WSXDP_OK;
}

// The row of a name, and for prefix options the rest of the name.
static bool find_row(ByteView name, size_t *index, ByteView *rest) {
    *rest = ByteView("", 0);
    for (size_t i = 0; i < option_count; i++) {
        ByteView row(option_rows[i].name);
        if (option_rows[i].flags & WSXDP_OPTION_PREFIX) {
            ByteView stem = row.first(row.size - 1); // keeps the dot
            if (name.size <= stem.size || !equal(name.first(stem.size), stem)) continue;
            *rest = name.from(stem.size);
        } else if (!equal(row, name)) {
            continue;
        }
        *index = i;
        return true;
    }
    return false;
}

static int store_integer(Options *options, size_t index, int64_t value, ByteView shown) {
    const OptionRow &row = option_rows[index];
    if (row.type != WSXDP_OPTION_CHOICE && (value < row.minimum || value > row.maximum))
        return refuse(options, WSXDP_E_OPTION_RANGE, row, shown);
    options->slots[index].integer = value;
    options->slots[index].given = true;
    return WSXDP_OK;
}

static int set_row(Options *options, size_t index, ByteView rest, ByteView value) {
    const OptionRow &row = option_rows[index];
    int64_t number = 0;
    switch (row.type) {
    case WSXDP_OPTION_INT:
        if (int status = parse_quantity(value, row.unit, &number)) return refuse(options, status, row, value);
        return store_integer(options, index, number, value);
    case WSXDP_OPTION_BOOL:
        if (!parse_bool(value, &number)) return refuse(options, WSXDP_E_OPTION_TYPE, row, value);
        return store_integer(options, index, number, value);
    case WSXDP_OPTION_CHOICE:
        if (!parse_choice(value, row.choices, &number))
            return refuse(options, WSXDP_E_OPTION_RANGE, row, value);
        return store_integer(options, index, number, value);
    default:
        return store_text(options, index, rest, value);
    }
}

static int finish(Options *options, int status) {
    if (status == WSXDP_E_MEMORY)
        options->error.begin(WSXDP_E_MEMORY).add("setting an option: out of memory");
    if (status >= 0) options->error.clear();
    return status;
}

int options_set(Options *options, const char *name, ByteView value) {
    size_t index;
    ByteView rest;
    if (!find_row(ByteView(name), &index, &rest)) return unknown_option(options, ByteView(name));
    return finish(options, set_row(options, index, rest, value));
}

int options_set_int(Options *options, const char *name, int64_t value) {
    size_t index;
    ByteView rest;
    uint8_t digits[24];
    Writer shown{ByteSpan(digits, sizeof digits)};
    if (value < 0) shown.u8('-');
    shown.decimal(value < 0 ? uint64_t{0} - static_cast<uint64_t>(value) : static_cast<uint64_t>(value));
    if (!find_row(ByteView(name), &index, &rest)) return unknown_option(options, ByteView(name));
    const OptionRow &row = option_rows[index];
    if (row.type != WSXDP_OPTION_INT && row.type != WSXDP_OPTION_BOOL)
        return refuse(options, WSXDP_E_OPTION_TYPE, row, shown.view());
    return finish(options, store_integer(options, index, value, shown.view()));
}

int options_set_data(Options *options, const char *name, ByteView value) {
    size_t index;
    ByteView rest;
    if (!find_row(ByteView(name), &index, &rest)) return unknown_option(options, ByteView(name));
    const OptionRow &row = option_rows[index];
    if (row.type != WSXDP_OPTION_TEXT && row.type != WSXDP_OPTION_DATA)
        return refuse(options, WSXDP_E_OPTION_TYPE, row, value);
    return finish(options, store_text(options, index, rest, value));
}

// ---- whole bags ----

Options *options_new() {
    Options *options = allocate_object<Options>();
    if (options == nullptr) return nullptr;
    memset(static_cast<void *>(options->slots), 0, sizeof options->slots);
    for (size_t i = 0; i < option_count; i++) {
        ByteView value(option_rows[i].default_value);
        bool repeats = (option_rows[i].flags & WSXDP_OPTION_REPEATS) != 0;
        if (repeats && value.size == 0) continue;
        if (set_row(options, i, ByteView("", 0), value) < 0) {
            options_free(options);
            return nullptr;
        }
        options->slots[i].given = false;
    }
    return options;
}

void options_free(Options *options) {
    if (options == nullptr) return;
    for (OptionSlot &slot : options->slots) free_texts(&slot);
    deallocate(options);
}

Options *options_copy(const Options *from) {
    Options *options = allocate_object<Options>();
    if (options == nullptr) return nullptr;
    for (size_t i = 0; i < option_count; i++) {
        const OptionSlot &source = from->slots[i];
        options->slots[i] = OptionSlot{source.integer, nullptr, 0, source.given};
    }
    for (size_t i = 0; i < option_count; i++) {
        const OptionSlot &source = from->slots[i];
        for (size_t k = 0; k < source.text_count; k++) {
            const OptionText &text = source.texts[k];
            if (options_append(&options->slots[i], ByteView(text.name), ByteView(text.data, text.size)) < 0) {
                options_free(options);
                return nullptr;
            }
        }
    }
    return options;
}

static bool same_values(const OptionSlot &a, const OptionSlot &b) {
    if (a.integer != b.integer || a.text_count != b.text_count) return false;
    for (size_t i = 0; i < a.text_count; i++) {
        const OptionText &x = a.texts[i], &y = b.texts[i];
        if (!equal(ByteView(x.data, x.size), ByteView(y.data, y.size)) ||
            !equal(ByteView(x.name), ByteView(y.name)))
            return false;
    }
    return true;
}

bool options_equal(const Options *a, const Options *b, const char *prefix) {
    ByteView stem(prefix);
    for (size_t i = 0; i < option_count; i++) {
        if (!equal(ByteView(option_rows[i].name).first(stem.size), stem)) continue;
        if (!same_values(a->slots[i], b->slots[i])) return false;
    }
    return true;
}

int options_check_same_handle(const Options *handle, const Options *connection, ErrorText *error) {
    for (size_t i = 0; i < option_count; i++) {
        if (!(option_rows[i].flags & WSXDP_OPTION_HANDLE) || !connection->slots[i].given) continue;
        if (same_values(handle->slots[i], connection->slots[i])) continue;
        error->begin(WSXDP_E_INVALID).add("option ").add(option_rows[i].name);
        error->add(" belongs to the handle: set it in the config given to wsxdp_open");
        return WSXDP_E_INVALID;
    }
    return WSXDP_OK;
}

} // namespace wx
