// SPDX-License-Identifier: MIT
// What the tests of the lower layers share: cmocka, sentences that must stand as they are, and counting what
// a process has open.
#pragma once
#include "../../lib/base/status.h"
#include <dirent.h>
#include <string>

extern "C" {
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> // needs the four above; the empty line keeps the formatter from sorting it among them
}

inline wx::ByteView view(const std::string &text) { return wx::ByteView(text.data(), text.size()); }
inline std::string str(wx::ByteView bytes) { return std::string(bytes.data ? bytes.text() : "", bytes.size); }

// The code returned, the code recorded, and a sentence that is printable, ended, and says `part`.
inline void check_error(int code, const wx::ErrorText &error, int wanted, const char *part) {
    if (code != wanted || error.code != wanted || !strstr(error.text, part))
        fail_msg("code %d (recorded %d), wanted %d; said \"%s\", wanted \"%s\"", code, error.code, wanted,
                 error.text, part);
    assert_int_equal(strlen(error.text), error.size);
    for (uint32_t i = 0; i < error.size; i++)
        assert_in_range(static_cast<unsigned char>(error.text[i]), 0x20, 0x7E);
}

inline size_t open_descriptors() {
    DIR *folder = opendir("/proc/self/fd");
    assert_non_null(folder);
    size_t count = 0;
    while (readdir(folder)) count++;
    closedir(folder);
    return count;
}
