// SPDX-License-Identifier: MIT
// What decides how AF_XDP can run on an interface, read from the kernel: driver, queues, offloads, RSS,
// timestamps, coalescing (ethtool netlink, with the older ioctl where netlink has no answer), what its driver
// supports of XDP (the netdev netlink family), and what this process may do. Changes nothing, needs no
// privilege; what cannot be read says so.
#pragma once
#include "../base/status.h"

namespace wx {

enum class Known : uint8_t { unknown, no, yes };

constexpr size_t rss_key_max = 64;     // 40 is usual, 52 with some
constexpr size_t rss_table_max = 2048; // the largest that drivers have
enum class RssHash : uint8_t { unknown, toeplitz, xor_, crc32 };

struct NicFacts {
    char name[16] = {0};
    uint32_t index = 0;
    char driver[32] = {0}; // "veth", "mlx5_core"
    char bus[32] = {0};
    bool is_virtual = false;        // no device of its own: veth, bridge, tun
    uint32_t receive_queues = 0;    // that receive now; 0: not known
    uint32_t combined_channels = 0; // as ethtool counts; 0 where the driver does not tell
    uint32_t receive_channels = 0;
    // -- RSS
    RssHash rss_hash = RssHash::unknown;
    bool rss_symmetric = false; // an input transformation is on: the hash is not the plain one
    uint8_t rss_key[rss_key_max] = {0};
    uint32_t rss_key_bytes = 0; // 0: not known
    uint32_t rss_table[rss_table_max] = {0};
    uint32_t rss_table_size = 0;
    Known rss_hashes_ports4 = Known::unknown; // TCP over IPv4: addresses and ports
    Known rss_hashes_ports6 = Known::unknown;
    // -- offloads
    Known lro = Known::unknown;
    Known gro_hw = Known::unknown;
    bool lro_fixed = false; // on or off, it cannot be changed
    bool gro_hw_fixed = false;
    Known gro = Known::unknown;
    Known receive_checksum = Known::unknown;
    Known receive_vlan = Known::unknown; // takes tags away
    // -- timing
    Known hardware_timestamps = Known::unknown; // can stamp all received packets; not whether it does now
    uint32_t coalesce_receive_us = UINT32_MAX;  // UINT32_MAX: not known
    uint32_t defer_hard_irqs = UINT32_MAX;      // /sys/class/net/IF/
    uint64_t gro_flush_timeout_ns = UINT64_MAX;
    // -- XDP (netdev family, Linux 6.3)
    Known xdp_driver = Known::unknown;     // NETDEV_XDP_ACT_BASIC and REDIRECT
    Known xdp_zero_copy = Known::unknown;  // NETDEV_XDP_ACT_XSK_ZEROCOPY
    Known xdp_timestamps = Known::unknown; // the kfunc for RX time stamps
};

// E_XDP_INTERFACE when there is no such interface; what else cannot be read stays unknown.
int nic_facts_read(const char *interface, NicFacts *out, ErrorText *error);

// Bits of linux/capability.h that matter to us, of the effective set.
struct ProcessFacts {
    bool net_admin = false;
    bool net_raw = false;
    bool bpf = false;
    bool sys_admin = false;
    bool ipc_lock = false;
    uint64_t memlock_soft = 0; // RLIMIT_MEMLOCK; UINT64_MAX: no limit
    uint64_t memlock_hard = 0;
    uint64_t hugepages_free = 0; // of the default size
    uint64_t hugepage_bytes = 0;
    char kernel[64] = {0};      // release
    char isolated[64] = {0};    // /sys/devices/system/cpu/isolated
    bool bpffs = false;         // mounted on /sys/fs/bpf
    bool kernel_btf = false;    // /sys/kernel/btf/vmlinux
    Known jit = Known::unknown; // net.core.bpf_jit_enable; root alone may read it
};
void process_facts_read(ProcessFacts *out);
// "CAP_NET_ADMIN, CAP_BPF": those of the ones that xdp needs which are missing; empty when none is.
void missing_capabilities(const ProcessFacts &facts, Writer *out);

} // namespace wx
