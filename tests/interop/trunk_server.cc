// SPDX-License-Identifier: MIT
// trunk_server VLAN: two hosts whose link carries that tag on one side and none on the other, until the
// standard input ends. Prints "PID HERE THERE", where the namespaces are /proc/PID/fd/HERE and THERE: who
// opens them can be in them. Nobody's ARP crosses a trunk as the kernel has no device for the tag, so the
// neighbours know each other for good.
#include "../base/check.h"
#include "../support/bridge.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <vector>

using namespace netns;

static std::string mac_of(const Namespace &where, const std::string &device) {
    const std::string text = where.run("ip -oneline link show " + device), before = "link/ether ";
    return text.substr(text.find(before) + before.size(), 17);
}

static void introduce(const Namespace &where, const std::string &device, const std::string &mac,
                      const std::vector<std::string> &addresses) {
    for (const std::string &address : addresses)
        where.run("ip neigh replace " + address + " lladdr " + mac + " dev " + device + " nud permanent");
}

int main(int argc, char **argv) {
    const unsigned long vlan = argc == 2 ? strtoul(argv[1], nullptr, 10) : 0;
    if (vlan < 1 || vlan > 4094) {
        fprintf(stderr, "usage: trunk_server VLAN (1 to 4094)\n");
        return 2;
    }
    BridgeOptions options;
    options.vlan = static_cast<uint16_t>(vlan);
    Bridge bridge(options);
    introduce(bridge.here, "xdp0", mac_of(bridge.there, "peer0"), {there4, there6});
    introduce(bridge.there, "peer0", mac_of(bridge.here, "xdp0"), {here4, here6});
    printf("%d %d %d\n", getpid(), bridge.here.fd, bridge.there.fd);
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0) continue;
    if (bridge.overruns() != 0) fprintf(stderr, "trunk_server: the bridge could not keep up\n");
    return 0;
}
