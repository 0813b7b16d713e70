// SPDX-License-Identifier: MIT
// That the namespaces and veth pairs of the other tests are what they claim to be.
#include "../base/check.h"
#include "../base/registry.h"
#include "../support/netns.h"
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

using namespace netns;

// Nobody listens, so the other host says so: it is there.
static int connect_errno(const char *address) {
    sockaddr_in6 six = {};
    sockaddr_in four = {};
    six.sin6_family = AF_INET6;
    four.sin_family = AF_INET;
    six.sin6_port = four.sin_port = htons(7);
    const bool is6 = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
    if (!is6) assert_int_equal(inet_pton(AF_INET, address, &four.sin_addr), 1);
    const int fd = socket(is6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int status = is6 ? connect(fd, reinterpret_cast<sockaddr *>(&six), sizeof six)
                           : connect(fd, reinterpret_cast<sockaddr *>(&four), sizeof four);
    const int cause = status == 0 ? 0 : errno;
    close(fd);
    return cause;
}
TEST(two_hosts_reach_each_other) {
    need();
    Veth veth;
    Inside inside(veth.here);
    assert_int_equal(connect_errno(there4), ECONNREFUSED);
    assert_int_equal(connect_errno(there6), ECONNREFUSED);
}
TEST(a_pair_has_the_queues_and_the_mtu_asked_for) {
    need();
    VethOptions options;
    options.queues = 2;
    options.mtu = 3000;
    Veth veth(options);
    for (const Namespace *side : {&veth.here, &veth.there}) {
        const std::string shown = side->run("ip -d link show type veth");
        assert_non_null(strstr(shown.c_str(), "numrxqueues 2"));
        assert_non_null(strstr(shown.c_str(), "mtu 3000"));
    }
}
TEST(a_child_is_in_its_namespace_and_gone_with_its_object) {
    need();
    Namespace space;
    pid_t pid = 0;
    {
        Child child(space, [] {
            pause();
            return 0;
        });
        pid = child.pid;
        assert_int_equal(kill(pid, 0), 0);
    }
    assert_int_equal(kill(pid, 0), -1);
    Child quick(space, [] { return 7; });
    assert_int_equal(quick.wait(), 7);
}

TESTS("veth")
