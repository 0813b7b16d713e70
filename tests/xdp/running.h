// SPDX-License-Identifier: MIT
// A stream that is under way between two hosts, for tests that change something beneath it.
#pragma once
#include "counters.h"
#include "stream.h"

inline void opens(Session &session) {
    if (session.status != 0) fail_msg("open: %d %s", session.status, session.text.c_str());
}

// What must hold of the frames and rings at any time.
inline void check_consistent(Session &session) {
    const Counters c(session);
    assert_int_equal(c["double_puts"], 0);
    assert_int_equal(c["bad_descriptors"], 0);
    assert_int_equal(c["malformed"], 0);
    assert_int_equal(c["kernel_send_invalid"], 0);
    assert_int_equal(c["sent"] - c["completed"], c["in_send"]);
    assert_true(c["receive_out"] >= c["in_fill"]);
}

struct Running {
    World world;
    std::unique_ptr<scripted::Server> server;
    std::unique_ptr<Session> session;
    std::unique_ptr<Stream> stream;
    using Prepare = std::function<void(World &)>;
    explicit Running(const char *address, const OptionList &more = {}, const Prepare &prepare = nullptr,
                     const netns::VethOptions &veth = netns::VethOptions())
        : world(veth) {
        if (prepare) prepare(world);
        server = world.serve(echo_messages, nullptr, address);
        OptionList options = World::options(more);
        options.push_back({"idle.timeout_ns", "0"});
        session = std::make_unique<Session>(World::url(*server, address), options);
        opens(*session);
        stream = std::make_unique<Stream>(*session);
        stream->need_flow(200000);
    }
    Stream *operator->() { return stream.get(); }
    void here(const std::string &command) { world.veth.here.run(command); }
    void there(const std::string &command) { world.veth.there.run(command); }
};
