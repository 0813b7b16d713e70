// SPDX-License-Identifier: MIT
// A bag of option values: set from text or numbers with checks, read by identifier.
#pragma once
#include "../base/status.h"
#include "option_table.h"

namespace wx {

enum class Option : uint16_t {
#define X(identifier, ...) identifier,
    WX_OPTIONS(X)
#undef X
        count
};
constexpr size_t option_count = static_cast<size_t>(Option::count);

struct OptionRow {
    const char *name;
    uint32_t type;
    uint32_t flags;
    const char *default_value;
    int64_t minimum;
    int64_t maximum;
    const char *unit;
    const char *choices;
    const char *doc;
};
extern const OptionRow option_rows[option_count];

constexpr size_t option_values_max = 4096;          // of one repeating option: a list, not a database
constexpr size_t option_text_bytes_max = 16u << 20; // of one value: CA bundles are under 1 MiB

// One value of a text-like option. name is the part after the dot for prefix options.
struct OptionText {
    char *name;
    char *data; // zero-terminated behind size
    size_t size;
};

struct OptionSlot {
    int64_t integer; // INT, BOOL; CHOICE: index of the word
    OptionText *texts;
    size_t text_count;
    bool given;
};

struct Options {
    OptionSlot slots[option_count];
    ErrorText error;

    int64_t integer(Option option) const { return slots[static_cast<size_t>(option)].integer; }
    bool flag(Option option) const { return integer(option) != 0; }
    // The one value of a text option, "" if none; zero-terminated.
    const char *text(Option option) const;
    ByteView data(Option option) const;
    size_t count(Option option) const { return slots[static_cast<size_t>(option)].text_count; }
    const OptionText &at(Option option, size_t index) const {
        return slots[static_cast<size_t>(option)].texts[index];
    }
};

Options *options_new(); // defaults; nullptr when out of memory
void options_free(Options *options);
Options *options_copy(const Options *from);                                 // nullptr when out of memory
bool options_equal(const Options *a, const Options *b, const char *prefix); // of those whose name begins so
int options_set(Options *options, const char *name, ByteView value);
int options_set_int(Options *options, const char *name, int64_t value);
int options_set_data(Options *options, const char *name, ByteView value);
// Whether a HANDLE option differs; the sentence names it.
int options_check_same_handle(const Options *handle, const Options *connection, ErrorText *error);

// One more text, not checked against the option. E_MEMORY.
int options_append(OptionSlot *slot, ByteView name, ByteView value);

// "250ms", "4MiB", "17": a number with a unit fitting the option's. E_OPTION_TYPE if it is none of that,
// E_OPTION_RANGE if it is one that 64 bits do not hold.
int parse_quantity(ByteView text, const char *unit, int64_t *out);

} // namespace wx
