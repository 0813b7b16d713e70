// SPDX-License-Identifier: MIT
// A driver that completes nothing any more: the socket is made anew and what was under way arrives all the
// same, once and in order; and when no new one can be had, the connection ends with a sentence. The
// completion ring and the opening are cut off here from outside.
// clang-format off
// link: -Wl,--wrap=_ZN2wx11xsk_reclaimEPNS_3XskEPmj
// link: -Wl,--wrap=_ZN2wx8xsk_openEPNS_3XskEPNS_4UmemERKNS_10XskOptionsEPKS0_PNS_9ErrorTextE
// clang-format on
#include "../../lib/link/xdp/xsk.h"
#include "counters.h"
#include "world.h"

using namespace netns;

static bool stalled;       // nothing is completed
static int refusals;       // of opening, as if the queue still had its old socket
static uint32_t made_anew; // openings asked for

extern "C" {
uint32_t __real__ZN2wx11xsk_reclaimEPNS_3XskEPmj(wx::Xsk *x, wx::FrameId *out, uint32_t cap);
uint32_t __wrap__ZN2wx11xsk_reclaimEPNS_3XskEPmj(wx::Xsk *x, wx::FrameId *out, uint32_t cap);
uint32_t __wrap__ZN2wx11xsk_reclaimEPNS_3XskEPmj(wx::Xsk *x, wx::FrameId *out, uint32_t cap) {
    return stalled ? 0 : __real__ZN2wx11xsk_reclaimEPNS_3XskEPmj(x, out, cap);
}
int __real__ZN2wx8xsk_openEPNS_3XskEPNS_4UmemERKNS_10XskOptionsEPKS0_PNS_9ErrorTextE(
    wx::Xsk *x, wx::Umem *umem, const wx::XskOptions &options, const wx::Xsk *first, wx::ErrorText *error);
int __wrap__ZN2wx8xsk_openEPNS_3XskEPNS_4UmemERKNS_10XskOptionsEPKS0_PNS_9ErrorTextE(
    wx::Xsk *x, wx::Umem *umem, const wx::XskOptions &options, const wx::Xsk *first, wx::ErrorText *error);
int __wrap__ZN2wx8xsk_openEPNS_3XskEPNS_4UmemERKNS_10XskOptionsEPKS0_PNS_9ErrorTextE(
    wx::Xsk *x, wx::Umem *umem, const wx::XskOptions &options, const wx::Xsk *first, wx::ErrorText *error) {
    made_anew++;
    if (refusals != 0) {
        refusals--;
        error->begin(WSXDP_E_AGAIN).add("the queue has a socket");
        return WSXDP_E_AGAIN;
    }
    stalled = false; // a new socket's driver works
    return __real__ZN2wx8xsk_openEPNS_3XskEPNS_4UmemERKNS_10XskOptionsEPKS0_PNS_9ErrorTextE(x, umem, options,
                                                                                            first, error);
}
}

static void recovers(int refused) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    Session session(World::url(*server), World::options({{"wait", "sleep"}}));
    session.need(WSXDP_EVENT_OPEN);
    for (int i = 0; i < 20; i++) assert_int_equal(session.send("before " + std::to_string(i)), 0);
    for (int i = 0; i < 20; i++)
        assert_true(session.need(WSXDP_EVENT_MESSAGE).data == "before " + std::to_string(i));
    stalled = true;
    refusals = refused;
    made_anew = 0;
    int64_t began = now_ms();
    int sent = 0, got = 0;
    while (now_ms() - began < 2500) {
        if (session.send("during " + std::to_string(sent)) == 0) sent++;
        session.poll(20);
        while (session.looked < session.events.size()) {
            const Seen &seen = session.events[session.looked++];
            if (seen.kind != WSXDP_EVENT_MESSAGE) continue;
            assert_true(seen.data == "during " + std::to_string(got));
            got++;
        }
    }
    assert_true(sent > 20);
    for (; got < sent; got++)
        assert_true(session.need(WSXDP_EVENT_MESSAGE).data == "during " + std::to_string(got));
    assert_false(stalled);
    assert_true(made_anew > static_cast<uint32_t>(refused)); // the old one takes its time to go
    const Counters c(session);
    assert_int_equal(c["recoveries"], 1);
    assert_int_equal(c["double_puts"], 0);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
    assert_true(c["kicks"] > 0);
    wsxdp_close(session.handle, 0, 1000, "", 0);
    assert_true(session.need(WSXDP_EVENT_CLOSE).flags & WSXDP_FLAG_CLEAN);
}

TEST(a_socket_that_completes_nothing_is_made_anew) { recovers(0); }
TEST(the_new_one_waits_until_the_queue_is_free) { recovers(5); }

// The peer sends all the while. What comes while there is no socket must not reach the kernel, which would
// reset a connection that it does not have.
TEST(the_peer_may_send_while_there_is_no_socket) {
    need();
    World world;
    auto server = world.serve([](scripted::Wire &wire) {
        wire.upgrade();
        for (int i = 0; !wire.broken; i++) {
            wire.write(scripted::frame(WSXDP_TEXT, std::to_string(i)));
            usleep(2000);
        }
    });
    Session session(World::url(*server), World::options());
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE).data.c_str(), "0");
    stalled = true;
    refusals = 5;
    made_anew = 0;
    assert_int_equal(session.send("is not completed"), 0);
    int got = 1;
    // The last of what is repeated, and some more.
    for (const int64_t until = now_ms() + 20000; made_anew <= 5 || stalled || got < 1500;) {
        if (now_ms() > until) fail_msg("%d messages, %u openings", got, made_anew);
        assert_string_equal(session.need(WSXDP_EVENT_MESSAGE, 10000).data.c_str(),
                            std::to_string(got++).c_str());
    }
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
    if (Counters(session)["filter_no_socket"] == 0) throw Late{0, 1}; // nothing came in between
}

TEST(without_a_new_one_the_connection_ends) {
    need();
    World world;
    auto server = world.serve(echo_messages);
    Session session(World::url(*server), World::options());
    session.need(WSXDP_EVENT_OPEN);
    stalled = true;
    refusals = 1 << 30;
    assert_int_equal(session.send("lost"), 0);
    const Seen &error = session.need(WSXDP_EVENT_ERROR, 10000);
    assert_int_equal(error.error, WSXDP_E_XDP_LINK_DOWN);
    if (!contains(error.data, "could not be opened again")) fail_msg("%s", error.data.c_str());
    session.need(WSXDP_EVENT_CLOSE);
    stalled = false;
    refusals = 0;
}

TESTS_BESIDE("recovery", 4)
