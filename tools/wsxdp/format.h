// SPDX-License-Identifier: MIT
// Numbers and bytes as people read them.
#pragma once
#include <cstdint>
#include <string>
#include <string_view>

std::string grouped(uint64_t value);            // 1234567 -> 1,234,567
std::string bytes_text(double bytes);           // 2410000 -> 2.41 MB
std::string duration_text(int64_t duration_ns); // 12345 -> 12.3 us
std::string clock_text(int64_t duration_ns);    // 65 s -> 1:05
std::string rate_text(double per_second);       // 12,345 or 0.25
std::string printable(std::string_view bytes);  // control characters become \xNN: safe for a terminal
std::string base64(std::string_view bytes);

// 10, 250ms, 1.5s, 2m, 1h (no unit: seconds) -> nanoseconds; false when it is none of these or not above 0.
bool parse_duration(std::string_view text, int64_t *duration_ns);
