// SPDX-License-Identifier: MIT
// A URL over AF_XDP to a kernel's TCP: from the route to the message, in each mode and both IP versions.
#include "world.h"

using namespace netns;

static void opens_and_echoes(const OptionList &options, const char *address, const char *mode) {
    need();
    World world;
    auto server = world.serve(echo_messages, nullptr, address);
    Session session(World::url(*server, address), World::options(options));
    if (session.status != 0) fail_msg("open: %d %s", session.status, session.text.c_str());
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.info("transport").c_str(), "xdp");
    assert_string_equal(session.info("mode").c_str(), mode);
    for (int i = 0; i < 100; i++) {
        std::string text = "message " + std::to_string(i) + std::string(static_cast<size_t>(i) * 97, 'x');
        assert_int_equal(session.send(text), 0);
        assert_true(session.need(WSXDP_EVENT_MESSAGE).data == text);
    }
    wsxdp_close(session.handle, 0, 1000, "", 0);
    const Seen &close = session.need(WSXDP_EVENT_CLOSE);
    assert_int_equal(close.error, 0);
    assert_true(close.flags & WSXDP_FLAG_CLEAN);
}
TEST(driver_mode_over_ipv4) { opens_and_echoes({{"xdp.mode", "driver"}}, there4, "driver"); }
TEST(driver_mode_over_ipv6) { opens_and_echoes({{"xdp.mode", "driver"}}, there6, "driver"); }
TEST(generic_mode_over_ipv4) { opens_and_echoes({{"xdp.mode", "generic"}}, there4, "generic"); }
TEST(generic_mode_over_ipv6) { opens_and_echoes({{"xdp.mode", "generic"}}, there6, "generic"); }
TEST(the_best_mode_is_found) { opens_and_echoes({}, there4, "driver"); }

TESTS("opening")
