// SPDX-License-Identifier: MIT
// Options as bytes, from the caller's process to a stage's: both are of one version, which is checked before.
// Values are as they were parsed, so nothing is parsed twice.
#pragma once
#include "options.h"

namespace wx {

// How many bytes options_write puts out.
size_t options_wire_bytes(const Options *options);
void options_write(const Options *options, Writer *out);
// nullptr: E_INVALID if the bytes make no sense, E_MEMORY; the sentence says which.
Options *options_read(Reader *in, ErrorText *error);

} // namespace wx
