// SPDX-License-Identifier: MIT
// Finds the sender's time stamp in a JSON message with a whole parse, which costs a few microseconds a
// message: the command measures what the library did before that, so the cost is not in the numbers. Never
// throws.
#include "latency_field.h"

#include <charconv>
#include <nlohmann/json.hpp>

using Json = nlohmann::json;

// Times of the years 2001 to 2286 do not overlap when counted in s, ms, us and ns.
static bool to_nanoseconds(double value, int64_t *time_ns) {
    double scale = value >= 1e18 ? 1 : value >= 1e15 ? 1e3 : value >= 1e12 ? 1e6 : value >= 1e9 ? 1e9 : 0;
    if (scale == 0 || value * scale > 9.2e18) return false;
    *time_ns = int64_t(value * scale);
    return true;
}

// Whole numbers do not go through a double, which has too few bits for today's nanoseconds.
static bool to_nanoseconds(int64_t value, int64_t *time_ns) {
    if (value < 1000000000) return false;
    while (value < 1000000000000000000) {
        if (value > INT64_MAX / 1000) return false;
        value *= 1000;
    }
    *time_ns = value;
    return true;
}

static bool read_value(const Json &value, int64_t *time_ns) {
    if (value.is_number_integer()) return to_nanoseconds(value.get<int64_t>(), time_ns);
    if (value.is_number_float()) return to_nanoseconds(value.get<double>(), time_ns);
    if (!value.is_string()) return false;
    const auto &text = value.get_ref<const std::string &>();
    int64_t whole = 0;
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
    return error == std::errc() && end == text.data() + text.size() && to_nanoseconds(whole, time_ns);
}

bool find_time_field(std::string_view message, const std::string &path, int64_t *time_ns) {
    Json document = Json::parse(message.begin(), message.end(), nullptr, false);
    const Json *at = &document;
    for (size_t start = 0; start <= path.size();) {
        size_t dot = std::min(path.find('.', start), path.size());
        if (!at->is_object()) return false;
        auto found = at->find(path.substr(start, dot - start));
        if (found == at->end()) return false;
        at = &*found;
        start = dot + 1;
    }
    return read_value(*at, time_ns);
}
