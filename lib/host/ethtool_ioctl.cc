// SPDX-License-Identifier: MIT
// A NIC by SIOCETHTOOL, for what the netlink family does not tell (the driver, which fields RSS hashes) or
// does not tell in this kernel (RSS before 6.3). Only commands that anybody may use.
#include "../base/alloc.h"
#include "nic_parts.h"
#include <linux/ethtool.h>
#include <linux/if.h>
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace wx {

static bool ask(int fd, const NicFacts &facts, void *command) {
    ifreq request = {};
    static_assert(sizeof request.ifr_name == sizeof facts.name, "names are of one size");
    memcpy(request.ifr_name, facts.name, sizeof request.ifr_name);
    request.ifr_data = static_cast<char *>(command);
    return ioctl(fd, SIOCETHTOOL, &request) == 0;
}

static void copy_text(char *out, const char *from, size_t bytes) {
    const size_t size = strnlen(from, bytes - 1);
    memcpy(out, from, size);
    out[size] = 0;
}

static void read_driver(int fd, NicFacts *facts) {
    ethtool_drvinfo info = {};
    info.cmd = ETHTOOL_GDRVINFO;
    if (!ask(fd, *facts, &info)) return;
    static_assert(sizeof info.driver == sizeof facts->driver && sizeof info.bus_info == sizeof facts->bus,
                  "names are of one size");
    copy_text(facts->driver, info.driver, sizeof facts->driver);
    copy_text(facts->bus, info.bus_info, sizeof facts->bus);
}

static void read_rings(int fd, NicFacts *facts) {
    ethtool_rxnfc rings = {};
    rings.cmd = ETHTOOL_GRXRINGS;
    if (facts->receive_queues == 0 && ask(fd, *facts, &rings) && rings.data <= UINT32_MAX)
        facts->receive_queues = static_cast<uint32_t>(rings.data);
}

// All four of the tuple's parts; more or less is another hash than the one we compute.
static Known hashes_ports(int fd, const NicFacts &facts, uint32_t flow) {
    constexpr uint64_t tuple = RXH_IP_SRC | RXH_IP_DST | RXH_L4_B_0_1 | RXH_L4_B_2_3;
    ethtool_rxnfc fields = {};
    fields.cmd = ETHTOOL_GRXFH;
    fields.flow_type = flow;
    if (!ask(fd, facts, &fields)) return Known::unknown;
    return known(fields.data == tuple);
}

// The sizes first, then table and key behind the struct.
static void read_rss(int fd, NicFacts *facts) {
    ethtool_rxfh sizes = {};
    sizes.cmd = ETHTOOL_GRSSH;
    if (!ask(fd, *facts, &sizes) || (sizes.indir_size == 0 && sizes.key_size == 0)) return;
    if (sizes.indir_size > rss_table_max || sizes.key_size > rss_key_max) return;
    const size_t table_bytes = sizes.indir_size * sizeof(uint32_t);
    uint8_t *memory = static_cast<uint8_t *>(allocate(sizeof sizes + table_bytes + sizes.key_size));
    if (memory == nullptr) return;
    memcpy(memory, &sizes, sizeof sizes);
    ethtool_rxfh filled;
    if (ask(fd, *facts, memory)) {
        memcpy(&filled, memory, sizeof filled);
        facts->rss_hash = rss_hash_of(filled.hfunc);
        // The first of what headers of this age call reserved.
        facts->rss_symmetric = filled.rsvd8[0] != 0;
        facts->rss_table_size = sizes.indir_size;
        facts->rss_key_bytes = sizes.key_size;
        memcpy(facts->rss_table, memory + sizeof sizes, table_bytes);
        memcpy(facts->rss_key, memory + sizeof sizes + table_bytes, sizes.key_size);
    }
    deallocate(memory);
}

void ethtool_ioctl_read(NicFacts *facts) {
    const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return;
    read_driver(fd, facts);
    read_rings(fd, facts);
    facts->rss_hashes_ports4 = hashes_ports(fd, *facts, TCP_V4_FLOW);
    facts->rss_hashes_ports6 = hashes_ports(fd, *facts, TCP_V6_FLOW);
    if (facts->rss_key_bytes == 0 && facts->rss_table_size == 0) read_rss(fd, facts);
    close(fd);
}

} // namespace wx
