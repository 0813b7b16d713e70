// SPDX-License-Identifier: MIT
// Rules that one TCP connection keeps whatever its peer does: what can be said without knowing the peer.
#pragma once
#include "../../lib/tcp/parts.h"
#include "../../lib/wire/frame.h"

namespace tcp_invariants {

// Each returns a sentence about the first rule that is broken, nullptr when none is.

// At any time.
const char *broken_state(const wx::TcpConnection &c);
// After tcp_on_timer, when that was due, and tcp_output with a sink that took everything.
const char *broken_timers(const wx::TcpConnection &c, wx::Nanos now);
// A packet of `size` bytes while the sink is handed it: the connection is still as it was before.
const char *broken_packet(const wx::TcpConnection &c, const wx::Frame &frame, size_t size, wx::Nanos now);

} // namespace tcp_invariants
