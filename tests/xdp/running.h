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

// A handle that is open to a server of a script.
struct Opened {
    World world;
    std::unique_ptr<scripted::Server> server;
    Session session;
    explicit Opened(const scripted::Script &script, const OptionList &more, scripted::TlsSide *tls = nullptr,
                    const char *address = netns::there4)
        : server(world.serve(script, tls, address)),
          session(World::url(*server, address), World::options(more)) {
        opens(session);
        session.need(WSXDP_EVENT_OPEN);
    }
};

// A message and its echo, in turns: one packet of ours for each, which acknowledges what came before it.
inline void need_packet_per_round(Session &session) {
    constexpr unsigned rounds = 500;
    const Counters before(session);
    for (unsigned i = 0; i < rounds; i++) {
        assert_int_equal(session.send("round " + std::to_string(i)), 0);
        session.need(WSXDP_EVENT_MESSAGE);
    }
    const Counters after(session);
    for (const char *name : {"sent", "kicks"}) {
        const uint64_t count = after[name] - before[name];
        assert_true(count >= rounds);
        // A machine that is busy elsewhere lets a delayed acknowledgement become due now and then.
        if (count > rounds + rounds / 5) throw Late{static_cast<int64_t>(count), rounds + rounds / 5};
    }
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
