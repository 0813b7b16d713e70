// SPDX-License-Identifier: MIT
// What the tests of this folder share: cmocka, texts as views, and one way to check a code with its sentence.
#pragma once
#include "../../lib/http/upgrade.h"
#include <stdio.h>
#include <string>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> // needs the four above; the empty line keeps the formatter from sorting it among them
}

inline wx::ByteView view(const std::string &text) { return wx::ByteView(text.data(), text.size()); }
inline std::string str(wx::ByteView bytes) {
    return std::string(bytes.text() ? bytes.text() : "", bytes.size);
}

// The code returned, the code recorded, and a part of the sentence; says what differed.
inline void check_error(int code, const wx::ErrorText &error, int wanted, const char *part,
                        const std::string &about) {
    bool right =
        code == wanted && error.code == wanted && std::string(error.text).find(part) != std::string::npos;
    if (!right)
        fail_msg("%s\n  code %d (recorded %d), wanted %d\n  said   \"%s\"\n  wanted \"%s\"", about.c_str(),
                 code, error.code, wanted, error.text, part);
}

inline void check_text(const std::string &seen, const std::string &wanted, const std::string &about) {
    if (seen != wanted)
        fail_msg("%s\n  is     \"%s\"\n  wanted \"%s\"", about.c_str(), seen.c_str(), wanted.c_str());
}

// Every error sentence must be useful as it stands: printable, and ended inside the buffer.
inline void check_printable(const wx::ErrorText &error) {
    assert_true(error.size < sizeof error.text);
    assert_int_equal(error.text[error.size], 0);
    for (uint32_t i = 0; i < error.size; i++)
        assert_in_range(static_cast<unsigned char>(error.text[i]), 0x20, 0x7E);
}
