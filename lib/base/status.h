// SPDX-License-Identifier: MIT
// Results and the sentences that go with them. Internal functions return the public WSXDP_E_ codes, so
// that nothing is translated on the way up; the sentence goes into an ErrorText that the caller owns.
#pragma once
#include "../../include/wsxdp.h"
#include "bytes.h"

namespace wx {

// What was tried, on what, what failed, what to try. Truncated rather than overflown, always ends in a
// zero byte. Formatting is our own: the library does not call printf.
struct ErrorText {
    int code = 0;
    int system_errno = 0;
    uint32_t size = 0;
    char text[496] = {0};

    void clear();
    // Begins a new sentence; returns *this for chaining.
    ErrorText &begin(int error_code, int errno_value = 0);
    ErrorText &add(const char *literal);
    ErrorText &add(ByteView bytes); // bytes that are not printable ASCII are shown as \xNN
    ErrorText &number(int64_t value);
    ErrorText &errno_name(int value); // "Connection refused (111)"
};

const char *status_text(int code);
inline bool ok(int status) { return status >= 0; }

} // namespace wx
