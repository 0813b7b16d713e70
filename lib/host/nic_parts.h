// SPDX-License-Identifier: MIT
// The sources of nic_facts.h, one file each: each fills in what it knows and leaves the rest. The readers of
// messages are here for tests.
#pragma once
#include "netlink.h"
#include "nic_facts.h"

namespace wx {

// The ethtool family (ethtool_netlink.cc).
void ethtool_netlink_read(Netlink *netlink, NicFacts *facts);
void channels_message_read(ByteView attributes, NicFacts *out);
void features_message_read(ByteView attributes, NicFacts *out);
void rss_message_read(ByteView attributes, NicFacts *out);
void coalesce_message_read(ByteView attributes, NicFacts *out);
void timestamps_message_read(ByteView attributes, NicFacts *out);

inline Known known(bool value) { return value ? Known::yes : Known::no; }

// Of ethtool's bits for hash functions; <linux/ethtool.h> has no names for them.
RssHash rss_hash_of(uint32_t function);

// SIOCETHTOOL (ethtool_ioctl.cc): the driver's name, what RSS hashes, and what the family did not know.
void ethtool_ioctl_read(NicFacts *facts);

// The netdev family (netdev.cc): XDP, queues and NAPI.
void netdev_read(Netlink *netlink, NicFacts *facts);
uint16_t netdev_family(Netlink *netlink);
struct NetdevQueue {
    uint32_t interface = 0;
    uint32_t number = 0;
    uint32_t napi = 0; // 0: none is told
    bool receives = false;
};
struct NetdevNapi {
    uint32_t interface = 0;
    uint32_t id = 0;
    bool told = false; // the values, which a kernel before 6.13 does not tell or take
    uint64_t defer_hard_irqs = 0;
    uint64_t gro_flush_timeout_ns = 0;
};
bool netdev_queue_read(const NetlinkMessage &message, NetdevQueue *out);
bool netdev_napi_read(const NetlinkMessage &message, NetdevNapi *out);
// An interface's queues or NAPIs. 0, or < 0: this kernel has no such list.
int netdev_list_queues(Netlink *netlink, uint16_t family, uint32_t ifindex, NetlinkAnswer answer,
                       void *context);
int netdev_list_napis(Netlink *netlink, uint16_t family, uint32_t ifindex, NetlinkAnswer answer,
                      void *context);
// 0, or errno.
int netdev_set_napi(Netlink *netlink, uint16_t family, uint32_t id, uint32_t defer_hard_irqs,
                    uint64_t gro_flush_timeout_ns);

// A small file as text, zero-terminated, without the newline; false when it cannot be read (*out is empty).
bool read_small_file(const char *path, char *out, size_t bytes);
// Its number; false when there is none.
bool read_number_file(const char *path, uint64_t *out);
bool decimal_read(const char *text, uint64_t *out);

// Sysfs is of the network namespace that it was mounted in: whether its interface of this name is this one.
struct LinkFacts;
bool sysfs_is_ours(const LinkFacts &link);
bool sysfs_path(const char *interface, const char *file, char *out, size_t bytes);
bool sysfs_number(const char *interface, const char *file, uint64_t *out);

} // namespace wx
