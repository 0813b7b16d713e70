// SPDX-License-Identifier: MIT
// The server's side of TLS 1.3 early data for a scripted server: make the Server without a TlsSide and begin
// its script with start_early_tls. What the client sent early lies in wire.buffered then, where the script
// would have read it from, too.
#pragma once
#include "tls_server.h"

namespace scripted {

struct EarlyStart {
    bool done = false;    // the handshake is
    bool resumed = false; // with a ticket
    std::string early;    // what came as early data
};

// Tickets given out allow early data; `take` decides whether this connection's is taken.
EarlyStart start_early_tls(Wire *wire, TlsSide *side, bool take);

} // namespace scripted
