// SPDX-License-Identifier: MIT
// Facts about a connection in words (wsxdp_info), as far as the transport knows them. Cold; changes nothing.
#include "connecting.h"
#include <sys/socket.h>

namespace wx {

static void socket_address(const Connection &c, bool peer, Writer *out) {
    Address address;
    if (c.channel.backend != nullptr && c.channel.backend->addresses != nullptr) {
        Address other;
        c.channel.backend->addresses(&c.channel, peer ? &other : &address, peer ? &address : &other);
        address_text(address, out);
        return;
    }
    address.size = sizeof address.storage;
    memset(&address.storage, 0, sizeof address.storage);
    sockaddr *raw = reinterpret_cast<sockaddr *>(&address.storage);
    if (c.channel.fd < 0) return;
    int status =
        peer ? getpeername(c.channel.fd, raw, &address.size) : getsockname(c.channel.fd, raw, &address.size);
    if (status == 0) address_text(address, out);
}

static bool by_driver(const Transport *t, const Connection *c) {
    return t->driver != nullptr && connect_link(t, c) == t->link && t->link != t->sockets;
}

static bool begins_with(ByteView text, const char *prefix) {
    return equal(text.first(strlen(prefix)), ByteView(prefix));
}

bool transport_info(const Transport *t, const char *what, Writer *out) {
    ByteView name(what);
    if (equal(name, ByteView("poller")))
        out->text(poller_name(t->poller));
    else
        return t->driver != nullptr && begins_with(name, "xdp.") &&
               t->driver->facts(t->link_context, what, out);
    return true;
}

// Without credentials: this text ends up in logs.
static void put_url(const Url &u, Writer *out) {
    out->text(u.scheme == Scheme::wss    ? "wss://"
              : u.scheme == Scheme::ws   ? "ws://"
              : u.scheme == Scheme::echo ? "echo:"
                                         : "ws+unix://");
    if (u.scheme == Scheme::echo) return;
    if (u.host_is_ipv6) out->u8('[');
    out->bytes(u.host);
    if (u.host_is_ipv6) out->u8(']');
    if (!u.port_is_default && u.scheme != Scheme::ws_unix) {
        out->u8(':');
        out->decimal(u.port);
    }
    if (u.scheme == Scheme::ws_unix) out->u8(':');
    out->bytes(u.target);
}

static const char *mode_name(const Connection *c) {
    return c->url.scheme == Scheme::echo      ? "memory"
           : c->url.scheme == Scheme::ws_unix ? "unix"
                                              : "kernel-tcp";
}

bool transport_connection_info(const Transport *t, const Connection *c, const char *what, Writer *out) {
    ByteView name(what);
    auto is = [&name](const char *text) { return equal(name, ByteView(text)); };
    if (is("url"))
        put_url(c->url, out);
    else if (is("transport"))
        out->text(connect_link(t, c)->name);
    else if (by_driver(t, c) && (is("mode") || begins_with(name, "xdp.")))
        return t->driver->facts(t->link_context, what, out);
    else if (is("mode"))
        out->text(mode_name(c));
    else if (is("subprotocol"))
        out->text(c->subprotocol);
    else if (is("extensions"))
        out->text(c->extensions);
    else if (is("peer") || is("local"))
        socket_address(*c, is("peer"), out);
    else if (is("tls.version"))
        out->text(c->facts.version);
    else if (is("tls.cipher"))
        out->text(c->facts.cipher);
    else if (is("tls.alpn"))
        out->text(c->facts.alpn);
    else if (is("tls.resumed"))
        out->text(c->facts.resumed ? "yes" : "no");
    else if (is("tls.early_data"))
        out->text(c->facts.early);
    else
        return is("poller") && transport_info(t, what, out);
    return true;
}

} // namespace wx
