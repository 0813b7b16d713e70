// SPDX-License-Identifier: MIT
// Options from text: lines of name=value, each set as text and as bytes. Holds: a set that fails changes
// nothing and leaves a printable sentence with its code that shows no secret; numbers stay in their ranges;
// what was set can be set again from the same text, and a copy is equal.
#include "../lib/pipeline/options.h"
#include <string>

using namespace wx;

static void require(bool holds) {
    if (!holds) __builtin_trap();
}

static void check_sentence(const ErrorText &error, int status) {
    require(error.code == status && error.size > 0 && error.size < sizeof error.text);
    for (uint32_t i = 0; i < error.size; i++) require(error.text[i] >= 0x20 && error.text[i] < 0x7F);
}

static void check_values(const Options *options) {
    for (size_t i = 0; i < option_count; i++) {
        const OptionRow &row = option_rows[i];
        const OptionSlot &slot = options->slots[i];
        if (row.type == WSXDP_OPTION_INT) require(slot.integer >= row.minimum && slot.integer <= row.maximum);
        if (row.type == WSXDP_OPTION_BOOL) require(slot.integer == 0 || slot.integer == 1);
        require(slot.text_count <= option_values_max);
        for (size_t k = 0; k < slot.text_count; k++) require(slot.texts[k].data[slot.texts[k].size] == 0);
    }
}

static bool is_secret(const std::string &name) {
    return name.rfind("header.", 0) == 0 || name == "proxy" || name == "tls.key_password";
}

static int set(Options *options, const std::string &name, const std::string &value, bool as_data) {
    ByteView bytes(value.data(), value.size());
    return as_data ? options_set_data(options, name.c_str(), bytes)
                   : options_set(options, name.c_str(), bytes);
}

// Another value that is refused for the same reason gives the same sentence: nothing of the value is in it.
static void check_keeps_secret(Options *options, const std::string &name, const std::string &value,
                               bool as_data) {
    std::string sentence = options->error.text, other = value;
    for (char &c : other)
        if (c != 0) c = '~';
    require(!ok(set(options, name, other, as_data)) && sentence == options->error.text);
}

static void set_one(Options *options, const std::string &name, const std::string &value, bool as_data) {
    Options *before = options_copy(options);
    require(before != nullptr);
    int status = set(options, name, value, as_data);
    if (ok(status)) {
        require(options->error.size == 0);
    } else {
        check_sentence(options->error, status);
        require(options_equal(options, before, ""));
        if (is_secret(name)) check_keeps_secret(options, name, value, as_data);
    }
    options_free(before);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size > 4096) return 0;
    Options *options = options_new();
    require(options != nullptr);
    std::string text(reinterpret_cast<const char *>(data), size);
    for (size_t at = 0, lines = 0; at < text.size() && lines < 64; lines++) {
        size_t end = text.find('\n', at);
        if (end == std::string::npos) end = text.size();
        std::string line = text.substr(at, end - at);
        at = end + 1;
        size_t split = line.find('=');
        std::string name = line.substr(0, split),
                    value = split == std::string::npos ? "" : line.substr(split + 1);
        set_one(options, name, value, false);
        set_one(options, name, value, true);
    }
    check_values(options);
    Options *copy = options_copy(options);
    require(copy != nullptr && options_equal(copy, options, ""));
    options_free(copy);
    options_free(options);
    return 0;
}
