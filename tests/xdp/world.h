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

// Until the client closes; else what ended it is in the output of a case that fails.
inline void echo_messages(scripted::Wire &wire) {
    wire.upgrade();
    scripted::Frame f;
    for (f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame())
        wire.write(scripted::frame(f.opcode, f.payload));
    if (f.opcode != 8)
        print_message("the echo's connection %d ended without a close: %s\n", wire.number,
                      wire.why.empty() ? "a frame that is none" : wire.why.c_str());
    wire.write(scripted::close_frame(1000));
}
