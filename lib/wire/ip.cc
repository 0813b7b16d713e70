// SPDX-License-Identifier: MIT
// IPv4 and IPv6 headers, read and written. Never reassembles a fragment and never answers with an error: a
// packet that is not for a plain endpoint is refused with the reason. Worst case: an IPv6 packet with the
// most extension headers, each full of options, of which every byte is looked at once.
#include "ip.h"
#include <arpa/inet.h>

namespace wx {
namespace {

constexpr size_t ip_length_max = 0xFFFF;
constexpr size_t option_pad = 0; // end of list in IPv4, one byte of padding in IPv6

inline bool bad_source4(const uint8_t *address) {
    const uint32_t value = load_be32(address);
    return value == 0 || value >> 28 == 14 || value == UINT32_MAX; // unspecified, 224/4, 255.255.255.255
}
inline bool bad_source6(const uint8_t *address) {
    if (address[0] == 0xFF) return true; // RFC 4291 section 2.7
    uint64_t halves[2];
    memcpy(halves, address, sizeof halves);
    return (halves[0] | halves[1]) == 0;
}

// RFC 791 section 3.1: each is one byte, or a kind and a length that counts both.
bool options4_good(const uint8_t *at, const uint8_t *end) {
    constexpr uint8_t end_of_list = 0, no_operation = 1;
    while (at < end && *at != end_of_list) {
        if (*at == no_operation) {
            at++;
            continue;
        }
        if (end - at < 2 || at[1] < 2 || at[1] > end - at) return false;
        at += at[1];
    }
    return true;
}

inline void fill4(const uint8_t *head, size_t header_size, size_t total, IpPacket *out) {
    out->version = 4;
    out->protocol = head[9];
    out->hops = head[8];
    out->traffic_class = head[1];
    out->dont_fragment = (head[6] & 0x40) != 0;
    out->header_size = static_cast<uint32_t>(header_size);
    out->source = head + 12;
    out->destination = head + 16;
    out->payload.data = head + header_size;
    out->payload.size = total - header_size;
}

inline bool is_fragment4(const uint8_t *head) { return (load_be16(head + 6) & 0x3FFF) != 0; } // MF and offset

Wire read4(ByteView bytes, ChecksumPolicy policy, IpPacket *out) {
    const uint8_t *head = bytes.data;
    if (bytes.size < ip4_header_size) return Wire::truncated;
    const size_t header_size = size_t{head[0] & 15u} * 4, total = load_be16(head + 2);
    if (header_size < ip4_header_size) return Wire::bad_header_length;
    if (total < header_size) return Wire::bad_total_length;
    if (total > bytes.size) return Wire::truncated;
    if (policy == ChecksumPolicy::verify && !checksum_good(checksum_sum(head, header_size)))
        return Wire::bad_checksum;
    if (is_fragment4(head)) return Wire::fragment;
    if (bad_source4(head + 12)) return Wire::bad_address;
    if (header_size > ip4_header_size && !options4_good(head + ip4_header_size, head + header_size))
        return Wire::bad_option;
    fill4(head, header_size, total, out);
    return Wire::ok;
}

enum Extension : uint8_t { // RFC 8200 section 4, RFC 4302
    hop_by_hop = 0,
    routing = 43,
    fragment_header = 44,
    authentication = 51,
    destination_options = 60,
};

inline bool is_extension(uint8_t kind) {
    return kind == hop_by_hop || kind == routing || kind == fragment_header || kind == authentication ||
           kind == destination_options;
}

// RFC 8200 section 4.2: the two highest bits of an unknown option say what to do with the packet; only 00
// means to read on. No option that must be known is known here.
Wire options6_read(const uint8_t *at, const uint8_t *end) {
    while (at < end) {
        if (*at == option_pad) {
            at++;
            continue;
        }
        if (end - at < 2 || at[1] > end - at - 2) return Wire::bad_option;
        if (*at & 0xC0) return Wire::unsupported;
        at += 2 + at[1];
    }
    return Wire::ok;
}

// One extension header at `at`, of at least 8 bytes and at most `left`; *size is how long it is.
Wire extension_read(uint8_t kind, const uint8_t *at, size_t left, bool first, size_t *size) {
    if (left < 8) return Wire::truncated;
    *size = kind == fragment_header  ? 8
            : kind == authentication ? (size_t{at[1]} + 2) * 4
                                     : (size_t{at[1]} + 1) * 8;
    if (*size > left) return Wire::truncated;
    switch (kind) {
    case hop_by_hop: // only directly behind the fixed header: RFC 8200 section 4.1
        return first ? options6_read(at + 2, at + *size) : Wire::unsupported;
    case destination_options:
        return options6_read(at + 2, at + *size);
    case routing:
        return at[3] == 0 ? Wire::ok : Wire::unsupported; // segments left: we are not a router
    case fragment_header: // RFC 6946: offset 0 and no more to come is a whole packet
        return (load_be16(at + 2) & 0xFFF9) == 0 ? Wire::ok : Wire::fragment;
    case authentication:
        return *size >= 12 ? Wire::ok : Wire::bad_header_length; // its fixed part
    }
    return Wire::unsupported;
}

// Walks from *at to the first header that is no extension.
Wire extensions_read(const uint8_t *bytes, size_t size, size_t *at, uint8_t *protocol) {
    unsigned count = 0;
    while (is_extension(*protocol)) {
        if (count == ip6_extension_max) return Wire::too_many_headers;
        size_t length = 0;
        const Wire result = extension_read(*protocol, bytes + *at, size - *at, count == 0, &length);
        if (result != Wire::ok) return result;
        *protocol = bytes[*at];
        *at += length;
        count++;
    }
    return Wire::ok;
}

// total: as far as the packet may be read; the caller has compared it with what its header says.
inline Wire read6(const uint8_t *head, size_t total, IpPacket *out) {
    size_t header_size = ip6_header_size;
    uint8_t protocol = head[6];
    if (is_extension(protocol)) {
        const Wire result = extensions_read(head, total, &header_size, &protocol);
        if (result != Wire::ok) return result;
    }
    out->version = 6;
    out->protocol = protocol;
    out->hops = head[7];
    out->traffic_class = static_cast<uint8_t>(load_be16(head) >> 4);
    out->dont_fragment = true; // routers never do
    out->header_size = static_cast<uint32_t>(header_size);
    out->source = head + 8;
    out->destination = head + 24;
    out->payload.data = head + header_size;
    out->payload.size = total - header_size;
    return Wire::ok;
}

inline size_t total6(const uint8_t *head) { return ip6_header_size + load_be16(head + 4); }

} // namespace

IpAddress ip4_address(uint8_t a, uint8_t b, uint8_t c, uint8_t d) {
    const uint8_t bytes[4] = {a, b, c, d};
    return ip_address(bytes, 4);
}

IpAddress ip_address(const uint8_t *bytes, uint8_t version) {
    IpAddress address;
    address.version = version == 4 || version == 6 ? version : 0;
    memcpy(address.bytes, bytes, address.size());
    return address;
}

void ip_address_text(const IpAddress &address, char out[ip_text_size]) {
    static_assert(ip_text_size >= INET6_ADDRSTRLEN && ip_text_size > sizeof "no address", "any of them fits");
    memcpy(out, "no address", sizeof "no address");
    if (address.version != 0)
        inet_ntop(address.version == 6 ? AF_INET6 : AF_INET, address.bytes, out, ip_text_size);
}

bool operator==(const IpAddress &a, const IpAddress &b) {
    return a.version == b.version && memcmp(a.bytes, b.bytes, a.size()) == 0;
}

bool ip_is_unicast(const IpAddress &address) {
    if (address.version == 4) return !bad_source4(address.bytes);
    return address.version == 6 && !bad_source6(address.bytes);
}

Wire ip_read(ByteView bytes, ChecksumPolicy policy, IpPacket *out) {
    if (bytes.size == 0) return Wire::truncated;
    const unsigned version = bytes.data[0] >> 4;
    if (version == 4) return read4(bytes, policy, out);
    if (version != 6) return Wire::bad_version;
    if (bytes.size < ip6_header_size) return Wire::truncated;
    const size_t total = total6(bytes.data);
    if (total > bytes.size) return Wire::truncated;
    if (bad_source6(bytes.data + 8)) return Wire::bad_address;
    return read6(bytes.data, total, out);
}

Wire ip_read_quoted(ByteView bytes, IpPacket *out) {
    if (bytes.size == 0) return Wire::truncated;
    const uint8_t *head = bytes.data;
    const unsigned version = head[0] >> 4;
    if (version == 6) {
        if (bytes.size < ip6_header_size) return Wire::truncated;
        const size_t total = total6(head);
        return read6(head, total < bytes.size ? total : bytes.size, out);
    }
    if (version != 4) return Wire::bad_version;
    if (bytes.size < ip4_header_size) return Wire::truncated;
    const size_t header_size = size_t{head[0] & 15u} * 4, total = load_be16(head + 2);
    if (header_size < ip4_header_size) return Wire::bad_header_length;
    if (total < header_size) return Wire::bad_total_length;
    if (bytes.size < header_size) return Wire::truncated;
    if (is_fragment4(head)) return Wire::fragment;
    fill4(head, header_size, total < bytes.size ? total : bytes.size, out);
    return Wire::ok;
}

size_t ip_write(ByteSpan out, const IpTemplate &head, size_t payload_size) {
    const uint8_t version = head.source.version;
    const size_t size = version == 4 ? ip4_header_size : ip6_header_size;
    const size_t counted = version == 4 ? ip4_header_size : 0; // IPv6 counts the payload alone
    if ((version != 4 && version != 6) || head.destination.version != version || out.size < size ||
        payload_size > ip_length_max - counted)
        return 0;
    uint8_t *at = out.data;
    const uint16_t length = static_cast<uint16_t>(payload_size + counted);
    if (version == 6) {
        store_be32(at, 6u << 28 | uint32_t{head.traffic_class} << 20 | (head.flow_label & 0xFFFFF));
        store_be16(at + 4, length);
        at[6] = head.protocol;
        at[7] = head.hops;
        memcpy(at + 8, head.source.bytes, 16);
        memcpy(at + 24, head.destination.bytes, 16);
        return size;
    }
    at[0] = 0x45;
    at[1] = head.traffic_class;
    store_be16(at + 2, length);
    store_be32(at + 4, 0x4000); // identification 0, DF
    at[8] = head.hops;
    at[9] = head.protocol;
    store_be16(at + 10, 0);
    memcpy(at + 12, head.source.bytes, 4);
    memcpy(at + 16, head.destination.bytes, 4);
    const uint16_t check = checksum_finish(checksum_sum(at, size));
    memcpy(at + 10, &check, 2);
    return size;
}

void ip_set_payload_size(uint8_t *header, size_t payload_size) {
    if (header[0] >> 4 == 6) {
        store_be16(header + 4, static_cast<uint16_t>(payload_size));
        return;
    }
    uint16_t before, after, check;
    memcpy(&before, header + 2, 2);
    store_be16(header + 2, static_cast<uint16_t>(payload_size + ip4_header_size));
    memcpy(&after, header + 2, 2);
    memcpy(&check, header + 10, 2);
    check = checksum_update(check, before, after);
    memcpy(header + 10, &check, 2);
}

} // namespace wx
