// SPDX-License-Identifier: MIT
// What every header reader answers. Readers check each length before they use it, keep views into the packet
// and copy nothing; a packet that is not what it claims is refused with the reason, which is also how it is
// counted.
#pragma once
#include "../base/bytes.h"

namespace wx {

enum class Wire : uint8_t {
    ok,
    truncated,         // ends before its headers or its stated length do
    bad_version,       // not the IP version that the Ethernet type says
    bad_header_length, // shorter than the least, or longer than the packet
    bad_total_length,  // the stated length is less than the header
    bad_checksum,
    bad_option,       // an option's length is impossible
    fragment,         // refused: a fragment is never reassembled
    too_many_headers, // IPv6 extension headers beyond ip6_extension_max
    bad_address,      // a source that nobody can answer: multicast, broadcast, unspecified
    unsupported,      // well formed, but nothing that we read
    count,
};
const char *wire_text(Wire result); // "truncated", for counters and traces

// verify: every checksum is looked at. trust: none, for links that deliver packets whose checksum nobody
// filled in (veth, virtio) or that the hardware has verified.
enum class ChecksumPolicy : uint8_t { verify, trust };

} // namespace wx
