// SPDX-License-Identifier: MIT
// A caller that never sleeps: what a packet acknowledges is seen after the answer to its data has left, and
// an acknowledgement waits for the answer that may carry it. Nothing of it may be lost, late, or left over.
#include "ledger.h"
#include "running.h"
#include <atomic>
#include <netinet/tcp.h>

using namespace netns;

static OptionList spinning(const char *mode, bool secure) {
    OptionList options = {{"wait", "spin"}, {"xdp.mode", mode}, {"ping.interval_ns", "0"}};
    if (secure) {
        options.push_back({"tls.ca_file", certs().path("ca.pem")});
        options.push_back({"tls.server_name", "good.test"});
    }
    return options;
}

static std::string text_of(size_t size, unsigned seed) {
    std::string out(size, 'a');
    for (char &c : out) {
        seed = seed * 1103515245u + 12345u;
        c = static_cast<char>('a' + (seed >> 16) % 26);
    }
    return out;
}

// Sizes around those of a segment, a record and the windows.
static void echoes(const char *address, const char *mode, bool secure) {
    need();
    scripted::TlsSide tls{certs(), "good"};
    Opened open(echo_messages, spinning(mode, secure), secure ? &tls : nullptr, address);
    Session &session = open.session;
    const size_t sizes[] = {0, 1, 64, 125, 126, 1000, 1400, 1500, 2900, 16384, 20000, 65536, 300000};
    unsigned round = 0;
    for (int turn = 0; turn < 20; turn++)
        for (size_t size : sizes) {
            const std::string text = text_of(size, ++round);
            assert_int_equal(session.send(text), 0);
            assert_true(session.need(WSXDP_EVENT_MESSAGE).data == text);
        }
    // Several under way at once.
    for (int turn = 0; turn < 100; turn++) {
        for (unsigned i = 0; i < 16; i++) assert_int_equal(session.send(text_of(i * 90, turn * 16 + i)), 0);
        for (unsigned i = 0; i < 16; i++)
            assert_true(session.need(WSXDP_EVENT_MESSAGE).data == text_of(i * 90, turn * 16 + i));
    }
    wsxdp_close(session.handle, 0, 1000, "", 0);
    assert_true(session.need(WSXDP_EVENT_CLOSE).flags & WSXDP_FLAG_CLEAN);
    need_balance(session, Counters(session)["time_wait"]);
}
TEST(echoes_in_driver_mode) { echoes(there4, "driver", false); }
TEST(echoes_in_generic_mode_ipv6) { echoes(there6, "generic", false); }
TLS_TEST(echoes_over_tls) { echoes(there4, "generic", true); }

TEST(one_packet_for_a_round) {
    need();
    Opened open(echo_messages, spinning("driver", false));
    need_packet_per_round(open.session);
}

// What nobody answers is acknowledged when its time has come, and what was acknowledged is given back.
TEST(without_an_answer_the_acknowledgement_comes_in_time) {
    need();
    constexpr unsigned messages = 50;
    std::atomic<unsigned> late{0};
    const auto script = [&](scripted::Wire &wire) {
        wire.upgrade();
        for (unsigned i = 0; i < messages; i++) {
            wire.write(scripted::frame(WSXDP_TEXT, "for you"));
            bool seen = false;
            for (int tries = 0; tries < 100 && !seen; tries++) { // xdp.ack_delay_ns is 100 us
                usleep(1000);
                tcp_info info;
                socklen_t size = sizeof info;
                getsockopt(wire.fd, IPPROTO_TCP, TCP_INFO, &info, &size);
                seen = info.tcpi_unacked == 0;
            }
            late += !seen;
        }
        wire.write(scripted::close_frame(1000));
        wire.read_frame();
    };
    Opened open(script, spinning("driver", false));
    Session &session = open.session;
    for (unsigned i = 0; i < messages; i++) session.need(WSXDP_EVENT_MESSAGE);
    session.need(WSXDP_EVENT_CLOSE);
    // A tenth of a second is a thousand times the delay; a caller that does not run for so long cannot
    // acknowledge anything.
    if (late != 0) throw Late{late, 0};
    need_balance(session, Counters(session)["time_wait"]);
}

// The answer to the last message is a close, and then nobody polls any more.
TEST(freed_with_an_acknowledgement_unseen) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    for (unsigned i = 0; i < 20; i++) {
        Session session(World::url(*server), World::options(spinning("generic", false)));
        opens(session);
        session.need(WSXDP_EVENT_OPEN);
        assert_int_equal(session.send("last words"), 0);
        session.need(WSXDP_EVENT_MESSAGE);
        if (i % 3 == 0) wsxdp_close(session.handle, 0, 1000, "", 0);
        if (i % 3 == 1) wsxdp_abort(session.handle, 0);
    }
}

TESTS("spinning")
