// SPDX-License-Identifier: MIT
// The sender's own time stamp, found in a JSON message.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

// path: a field's name, or names joined by dots for a field inside others ("data.T"). The value may be a
// number or a string of digits, in s, ms, us or ns since 1970: its size tells which. Returns false when the
// message is not JSON or has no such field.
bool find_time_field(std::string_view message, const std::string &path, int64_t *time_ns);
