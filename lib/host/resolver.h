// SPDX-License-Identifier: MIT
// Names to addresses, without ever blocking the caller: getaddrinfo runs in a thread of its own per lookup,
// with all signals blocked. A lookup that is given up on is left to finish by itself; it owns its memory.
// Literals and overrides are answered at once.
#pragma once
#include "../link/link.h"
#include "../link/poller.h"

namespace wx {

// As many as anybody tries within a connect timeout at one every 250 ms.
constexpr size_t addresses_max = 32;

struct AddressList {
    Address addresses[addresses_max];
    size_t count = 0;
};

enum class Family : uint8_t { any, ipv4, ipv6 };

struct ResolveJob;

// 1: an IP literal, *out filled. 0: a name.
int resolve_literal(ByteView host, uint16_t port, Family family, AddressList *out);
// "NAME=ADDR[,ADDR...]" rows; 1 found, 0 not for this name, E_RESOLVE when a row's address is no address.
int resolve_override(ByteView row, ByteView host, uint16_t port, Family family, AddressList *out,
                     ErrorText *error);
// The poller is signalled when done, by a duplicate of its eventfd. E_MEMORY, E_THREAD_START, E_DESCRIPTORS
// with a sentence.
int resolve_start(ByteView host, uint16_t port, Family family, Poller *poller, ResolveJob **out,
                  ErrorText *error);
// 1 done and *out filled, 0 not yet, E_RESOLVE with a sentence.
int resolve_result(ResolveJob *job, AddressList *out, ErrorText *error);
void resolve_drop(ResolveJob *job); // done or not

// The order in which to try: families alternate, beginning with the system's first choice (RFC 8305 section
// 4).
void interleave_families(AddressList *list);

} // namespace wx
