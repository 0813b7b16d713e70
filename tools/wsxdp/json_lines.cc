// SPDX-License-Identifier: MIT
// A message as one line of JSON. Field names are part of the command's contract: they may be added to, not
// changed. Every time stamp is there, 0 where the transport cannot know it, so that every line has the same
// fields.
#include "json_lines.h"

#include "format.h"

#include <nlohmann/json.hpp>
#include <string_view>

static void append_number(std::string &out, const char *name, int64_t value) {
    out += '"';
    out += name;
    out += "\":";
    out += std::to_string(value);
    out += ',';
}

static void append_flag(std::string &out, const char *name, bool value) {
    out += '"';
    out += name;
    out += value ? "\":true," : "\":false,";
}

static void append_times(std::string &out, const wsxdp_event &event, int64_t delivered_ns) {
    append_number(out, "nic_first_ns", event.nic_first_ns);
    append_number(out, "nic_last_ns", event.nic_last_ns);
    append_number(out, "kernel_first_ns", event.kernel_first_ns);
    append_number(out, "kernel_last_ns", event.kernel_last_ns);
    append_number(out, "poll_first_ns", event.poll_first_ns);
    append_number(out, "poll_last_ns", event.poll_last_ns);
    append_number(out, "transport_last_ns", event.transport_last_ns);
    append_number(out, "tls_last_ns", event.tls_last_ns);
    append_number(out, "parse_ns", event.parse_ns);
    append_number(out, "delivered_ns", delivered_ns);
}

static void append_data(std::string &out, std::string_view data, bool as_text) {
    out += as_text ? "\"encoding\":\"text\",\"data\":" : "\"encoding\":\"base64\",\"data\":";
    if (as_text)
        out += nlohmann::json(data).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    else
        out += '"' + base64(data) + '"';
}

void append_json_line(std::string &out, const wsxdp_event &event, int64_t delivered_ns) {
    bool fragment = event.kind == WSXDP_EVENT_FRAGMENT;
    out += '{';
    append_number(out, "conn", event.conn);
    append_number(out, "sequence", int64_t(event.sequence));
    append_number(out, "opcode", event.opcode);
    append_number(out, "len", int64_t(event.len));
    if (fragment) {
        append_flag(out, "first", (event.flags & WSXDP_FLAG_FIRST) != 0);
        append_flag(out, "final", (event.flags & WSXDP_FLAG_FINAL) != 0);
    }
    append_flag(out, "compressed", (event.flags & WSXDP_FLAG_COMPRESSED) != 0);
    append_flag(out, "last_in_batch", (event.flags & WSXDP_FLAG_LAST_IN_BATCH) != 0);
    append_times(out, event, delivered_ns);
    std::string_view data(reinterpret_cast<const char *>(event.data), size_t(event.len));
    append_data(out, data, event.opcode == WSXDP_TEXT && !fragment);
    out += "}\n";
}
