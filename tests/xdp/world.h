// SPDX-License-Identifier: MIT
// Two hosts and a handle with transport=xdp on one of them: the test's thread is in `here` as long as this
// lives, servers are made in `there`.
#pragma once
#include "../pipeline/session.h"
#include "../support/netns.h"
#include <memory>

// An address as URLs have it.
inline std::string url_host(const char *address) {
    return strchr(address, ':') ? "[" + std::string(address) + "]" : address;
}

struct World {
    netns::Veth veth;
    netns::Inside inside;

    explicit World(const netns::VethOptions &options = netns::VethOptions())
        : veth(options), inside(veth.here) {}

    static OptionList options(const OptionList &more = {}) {
        OptionList all = {{"transport", "xdp"}, {"reconnect", "no"}};
        all.insert(all.end(), more.begin(), more.end());
        return all;
    }
    std::unique_ptr<scripted::Server> serve(scripted::Script script, scripted::TlsSide *tls = nullptr,
                                            const char *address = netns::there4, int port = 0) {
        netns::Inside there(veth.there);
        return std::make_unique<scripted::Server>(script, tls, address, port);
    }
    static std::string url(const scripted::Server &server, const char *host = netns::there4,
                           const char *rest = "/") {
        return server.url(rest, url_host(host).c_str());
    }
};

inline void echo_messages(scripted::Wire &wire) {
    wire.upgrade();
    for (scripted::Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame())
        wire.write(scripted::frame(f.opcode, f.payload));
    wire.write(scripted::close_frame(1000));
}
