// SPDX-License-Identifier: MIT
// The build without libbpf (make XDP=none), compiled in here under other names: every function says what is
// missing, none pretends. And in such a build the same by a URL.
#include "../../lib/link/xdp/program.h"
#include "../base/check.h"
#include "../base/registry.h"
#ifdef WSXDP_XDP_NONE
#include "world.h"
#endif

#define xdp_program_open none_open
#define xdp_program_load none_load
#define xdp_program_close none_close
#define xdp_program_set_socket none_set_socket
#define xdp_program_add none_add
#define xdp_program_remove none_remove
#define xdp_program_has none_has
#define xdp_program_counters none_counters
#define xdp_program_present none_present
#define xdp_program_image none_image
#include "../../lib/link/xdp/program_none.cc"

using namespace wx;

TEST(a_build_without_it_says_so) {
    XdpProgram program;
    XdpPresent there;
    ErrorText error;
    const TcpTuple tuple;
    there.id = 7;
    const char *part = "XDP=libbpf";
    check_error(none_open(&program, XdpProgramOptions(), &error), error, WSXDP_E_UNSUPPORTED, part);
    assert_null(program.object);
    check_error(none_load(&program, XdpProgramOptions(), &error), error, WSXDP_E_UNSUPPORTED, part);
    check_error(none_set_socket(&program, 0, -1, &error), error, WSXDP_E_UNSUPPORTED, part);
    check_error(none_add(&program, tuple, 0, &error), error, WSXDP_E_UNSUPPORTED, part);
    check_error(none_present(1, &there, &error), error, WSXDP_E_UNSUPPORTED, part);
    assert_int_equal(there.id, 0);
    none_remove(&program, tuple);
    assert_false(none_has(&program, tuple));
    uint64_t counters[FILTER_COUNTERS];
    memset(counters, 0xFF, sizeof counters);
    assert_int_equal(none_counters(&program, counters), WSXDP_E_UNSUPPORTED);
    for (uint64_t counter : counters) assert_int_equal(counter, 0);
    assert_true(none_image(false).empty());
    assert_true(none_image(true).empty());
    none_close(&program);
    none_close(&program);
}

#ifdef WSXDP_XDP_NONE
TEST(a_url_says_so) {
    netns::need();
    World world;
    auto server = world.serve(echo_messages);
    Session refused(World::url(*server), World::options());
    assert_int_equal(refused.status, WSXDP_E_UNSUPPORTED);
    if (!contains(refused.text, "XDP=libbpf")) fail_msg("%s", refused.text.c_str());
    assert_null(refused.handle);
    Session session(World::url(*server), World::options({{"fallback", "socket"}}));
    const Seen notice = session.need(WSXDP_EVENT_NOTICE);
    assert_int_equal(notice.error, WSXDP_E_UNSUPPORTED);
    if (!contains(notice.data, "XDP=libbpf") || !contains(notice.data, "going on with sockets"))
        fail_msg("%s", notice.data.c_str());
    session.need(WSXDP_EVENT_OPEN);
    assert_string_equal(session.info("transport").c_str(), "socket");
    assert_int_equal(session.send("by a socket"), 0);
    assert_true(session.need(WSXDP_EVENT_MESSAGE).data == "by a socket");
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}
#endif

TESTS("no program")
