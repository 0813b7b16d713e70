// SPDX-License-Identifier: MIT
// The source address is the one that the route names (RFC 9293 section 3.9.1.1, MUST-44), and a connection
// keeps it. What the peer sees decides.
#include "running.h"
#include <arpa/inet.h>
#include <sys/socket.h>

using namespace netns;

static std::string peer_of(int fd) {
    sockaddr_storage from = {};
    socklen_t size = sizeof from;
    char text[INET6_ADDRSTRLEN] = "";
    if (getpeername(fd, reinterpret_cast<sockaddr *>(&from), &size) != 0) return "";
    const void *address = from.ss_family == AF_INET6
                              ? static_cast<const void *>(&reinterpret_cast<sockaddr_in6 *>(&from)->sin6_addr)
                              : &reinterpret_cast<sockaddr_in *>(&from)->sin_addr;
    inet_ntop(from.ss_family, address, text, sizeof text);
    return text;
}

// Answers every message with the address that it came from.
static void tell_source(scripted::Wire &wire) {
    wire.upgrade();
    for (scripted::Frame f = wire.read_frame(); f.opcode > 0 && f.opcode != 8; f = wire.read_frame())
        wire.write(scripted::frame(1, peer_of(wire.fd)));
    wire.write(scripted::close_frame(1000));
}

static void expect_source(Session &session, uint32_t conn, const std::string &address) {
    assert_int_equal(session.send("who am I", WSXDP_TEXT, conn), 0);
    assert_string_equal(session.need(WSXDP_EVENT_MESSAGE, patience_ms, conn).data.c_str(), address.c_str());
    const std::string local = session.info("local", conn);
    if (!contains(local, address + ":") && !contains(local, "[" + address + "]:"))
        fail_msg("%s is not %s", local.c_str(), address.c_str());
}

struct Case {
    const char *address;              // of the server
    const char *first, *second;       // of ours
    const char *added;                // how the second comes to be
    const char *to_first, *to_second; // routes that name them
};

static void source_of_route(const Case &c) {
    need();
    World world;
    world.veth.here.run(c.added);
    auto server = world.serve(tell_source, nullptr, c.address);
    const std::string url = World::url(*server, c.address);
    world.veth.here.run(c.to_second);
    Session session(url, World::options());
    opens(session);
    const uint32_t one = session.need(WSXDP_EVENT_OPEN, patience_ms).conn;
    expect_source(session, one, c.second);
    // The next connection follows the route that there is by then; the one that is open stays as it is.
    world.veth.here.run(c.to_first);
    uint32_t two = 0;
    assert_int_equal(wsxdp_connect(session.handle, url.c_str(), nullptr, &two), 0);
    session.need(WSXDP_EVENT_OPEN, patience_ms, two);
    expect_source(session, two, c.first);
    expect_source(session, one, c.second);
    assert_int_equal(session.count(WSXDP_EVENT_ERROR), 0);
}

static void the_routes_source_on_the_link_ipv4(void **) {
    source_of_route({there4, here4, "10.77.0.5", "ip addr add 10.77.0.5/24 dev xdp0",
                     "ip route replace 10.77.0.2/32 dev xdp0 src 10.77.0.1",
                     "ip route replace 10.77.0.2/32 dev xdp0 src 10.77.0.5"});
}
static void the_routes_source_on_the_link_ipv6(void **) {
    source_of_route({there6, here6, "fd77::5", "ip addr add fd77::5/64 dev xdp0 nodad",
                     "ip -6 route replace fd77::2/128 dev xdp0 src fd77::1",
                     "ip -6 route replace fd77::2/128 dev xdp0 src fd77::5"});
}

// An address of the loopback device, as hosts with several uplinks have one.
static void source_of_the_host(const char *address, const char *ours, const char *setup, const char *back) {
    need();
    World world;
    world.veth.here.run(setup);
    world.veth.there.run(back);
    auto server = world.serve(tell_source, nullptr, address);
    Session session(World::url(*server, address), World::options());
    opens(session);
    expect_source(session, session.need(WSXDP_EVENT_OPEN, patience_ms).conn, ours);
}
static void the_routes_source_is_of_another_device_ipv4(void **) {
    source_of_the_host(
        "10.88.0.2", "10.99.0.1",
        "ip addr add 10.99.0.1/32 dev lo && ip route add 10.88.0.0/24 via 10.77.0.2 src 10.99.0.1",
        "ip addr add 10.88.0.2/32 dev lo && ip route add 10.99.0.0/24 via 10.77.0.1");
}
static void the_routes_source_is_of_another_device_ipv6(void **) {
    source_of_the_host("fd88::2", "fd99::1",
                       "ip addr add fd99::1/128 dev lo nodad && "
                       "ip route add fd88::/64 via fd77::2 src fd99::1",
                       "ip addr add fd88::2/128 dev lo nodad && ip route add fd99::/64 via fd77::1");
}

// Registered by hand: tests/tcp-conformance.md names them, and its check looks for this.
int main() {
    const CMUnitTest tests[] = {
        cmocka_unit_test(the_routes_source_on_the_link_ipv4),
        cmocka_unit_test(the_routes_source_on_the_link_ipv6),
        cmocka_unit_test(the_routes_source_is_of_another_device_ipv4),
        cmocka_unit_test(the_routes_source_is_of_another_device_ipv6),
    };
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
