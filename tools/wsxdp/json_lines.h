// SPDX-License-Identifier: MIT
// A message as one line of JSON.
#pragma once
#include "../../include/wsxdp.h"

#include <string>

// Appends one line for a MESSAGE or FRAGMENT event. Text is in "data" as a string; binary, and every fragment
// (which may end in the middle of a character), as base64, and "encoding" says which.
void append_json_line(std::string &out, const wsxdp_event &event, int64_t delivered_ns);
