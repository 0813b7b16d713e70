// SPDX-License-Identifier: MIT
// What connecting.cc and upgrading.cc, the two halves of one state machine, know of each other.
#pragma once
#include "transport.h"

namespace wx {

// c->error says why.
void connect_failed(Transport *t, Connection *c);
// The link by which the present URL is reached.
const LinkBackend *connect_link(const Transport *t, const Connection *c);
// Channels without a descriptor: what the poller would tell is found out by looking. Whether anything moved.
bool connect_look(Transport *t, Connection *c);
bool connect_poll_resolver(Transport *t, Connection *c);
// TCP is there: proxy, TLS, upgrade follow.
void connected_begin(Transport *t, Connection *c);
void connected_on_ready(Transport *t, Connection *c);
void begin_tunnel(Transport *t, Connection *c);
void continue_tls(Transport *t, Connection *c);
void decrypt_head(Transport *t, Connection *c, ByteView input);

} // namespace wx
