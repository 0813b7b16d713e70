// SPDX-License-Identifier: MIT
// Numbers and bytes as people read them: three significant digits, one unit. Never depends on the locale.
// Worst case: a number beyond the largest unit is written out in that unit.
#include "format.h"

#include <charconv>
#include <cstdio>

std::string grouped(uint64_t value) {
    std::string digits = std::to_string(value);
    for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
    return digits;
}

static std::string three_digits(double value, const char *unit) {
    char text[64];
    int decimals = value < 9.995 ? 2 : value < 99.95 ? 1 : 0; // as it will be rounded
    snprintf(text, sizeof text, "%.*f%s", decimals, value, unit);
    return text;
}

std::string bytes_text(double bytes) {
    if (bytes < 1e3) return std::to_string(uint64_t(bytes)) + " B";
    if (bytes < 999.5e3) return three_digits(bytes / 1e3, " kB");
    if (bytes < 999.5e6) return three_digits(bytes / 1e6, " MB");
    return three_digits(bytes / 1e9, " GB");
}

std::string duration_text(int64_t duration_ns) {
    double ns = double(duration_ns);
    if (duration_ns < 1000) return std::to_string(duration_ns) + " ns";
    if (ns < 999.5e3) return three_digits(ns / 1e3, " us");
    if (ns < 999.5e6) return three_digits(ns / 1e6, " ms");
    return three_digits(ns / 1e9, " s");
}

std::string clock_text(int64_t duration_ns) {
    int64_t seconds = duration_ns / 1000000000;
    char text[48];
    if (seconds < 3600)
        snprintf(text, sizeof text, "%d:%02d", int(seconds / 60), int(seconds % 60));
    else
        snprintf(text, sizeof text, "%lld:%02d:%02d", static_cast<long long>(seconds / 3600),
                 int(seconds / 60 % 60), int(seconds % 60));
    return text;
}

std::string rate_text(double per_second) {
    if (per_second >= 10 || per_second == 0) return grouped(uint64_t(per_second + 0.5));
    return three_digits(per_second, "");
}

std::string printable(std::string_view bytes) {
    std::string out;
    for (char c : bytes) {
        auto byte = static_cast<unsigned char>(c);
        char hex[8];
        if (byte < 0x20 || byte == 0x7f) {
            snprintf(hex, sizeof hex, "\\x%02x", byte);
            out += hex;
        } else {
            out += c;
        }
    }
    return out;
}

std::string base64(std::string_view bytes) {
    static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string out;
    out.reserve((bytes.size() + 2) / 3 * 4);
    for (size_t at = 0; at < bytes.size(); at += 3) {
        size_t here = bytes.size() - at < 3 ? bytes.size() - at : 3;
        uint32_t group = 0;
        for (size_t i = 0; i < 3; i++)
            group = group << 8 | (i < here ? static_cast<unsigned char>(bytes[at + i]) : 0u);
        for (size_t i = 0; i < 4; i++) out += i <= here ? alphabet[group >> (18 - 6 * i) & 63] : '=';
    }
    return out;
}

bool parse_duration(std::string_view text, int64_t *duration_ns) {
    double value = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc()) return false;
    std::string_view unit(end, size_t(text.data() + text.size() - end));
    double scale = 0;
    if (unit.empty() || unit == "s") scale = 1e9;
    if (unit == "ms") scale = 1e6;
    if (unit == "us") scale = 1e3;
    if (unit == "m" || unit == "min") scale = 60e9;
    if (unit == "h") scale = 3600e9;
    double ns = value * scale;
    if (!(ns >= 1) || ns > 9e18) return false;
    *duration_ns = int64_t(ns);
    return true;
}
