// SPDX-License-Identifier: MIT
// Names of the answers, for counters and traces. Never a sentence: what a refused packet means is said where
// it is counted.
#include "wire.h"

namespace wx {

const char *wire_text(Wire result) {
    switch (result) {
    case Wire::ok:
        return "ok";
    case Wire::truncated:
        return "truncated";
    case Wire::bad_version:
        return "bad version";
    case Wire::bad_header_length:
        return "bad header length";
    case Wire::bad_total_length:
        return "bad total length";
    case Wire::bad_checksum:
        return "bad checksum";
    case Wire::bad_option:
        return "bad option";
    case Wire::fragment:
        return "fragment";
    case Wire::too_many_headers:
        return "too many headers";
    case Wire::bad_address:
        return "bad address";
    case Wire::unsupported:
        return "unsupported";
    case Wire::count:
        break;
    }
    return "unknown";
}

} // namespace wx
