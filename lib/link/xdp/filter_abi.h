/* SPDX-License-Identifier: MIT */
/* What the XDP program and user space agree on: keys and values of its maps, the order of its counters, and
   what it writes in front of a packet. Plain C, since both sides include it; all integers are in host order
   but those of the keys, which are as they lie in the packet. */
#ifndef WSXDP_FILTER_ABI_H
#define WSXDP_FILTER_ABI_H

#include <linux/types.h>

/* "ours" is the local side whatever the packet's direction; the program reads it from the destination. */
struct filter_key4 {
    __u8 local[4];
    __u8 remote[4];
    __u16 local_port;
    __u16 remote_port;
};
struct filter_key6 {
    __u8 local[16];
    __u8 remote[16];
    __u16 local_port;
    __u16 remote_port;
};
/* A connection with a tag takes packets with that tag and those whose tag the NIC has taken away. */
#define FILTER_NO_VLAN 0xFFFF
struct filter_value {
    __u16 vlan; /* FILTER_NO_VLAN: none */
    __u16 reserved;
};

/* Why a packet went where it went; the index into the map of counters. */
enum filter_counter {
    FILTER_TCP,           /* redirected: a segment of a known tuple */
    FILTER_ICMP,          /* redirected: an ICMP error that quotes one */
    FILTER_NO_SOCKET,     /* of a known tuple, on a queue without a socket: passed to the kernel */
    FILTER_NOT_IP,        /* passed: ARP and whatever else */
    FILTER_OTHER,         /* passed: IP, but no TCP and no ICMP error */
    FILTER_UNKNOWN_TUPLE, /* passed: the host's own connections */
    FILTER_FRAGMENT,      /* passed: cannot be told whose it is */
    FILTER_MALFORMED,     /* passed: shorter than its headers say */
    FILTER_VLAN,          /* passed: a known tuple with another tag, or two tags */
    FILTER_NO_METADATA,   /* of the redirected: the driver has no room in front of packets */
    FILTER_COUNTERS
};

/* Lies directly in front of the packet. Nobody clears it: user space tells what an earlier packet left there
   by its time (stamps.h). */
#define FILTER_MAGIC 0x77736478u
struct filter_metadata {
    __u32 magic;
    __u32 reserved;
    __u64 entry_ns; /* CLOCK_MONOTONIC when the program began */
    __u64 nic_ns;   /* the NIC's clock, 0: not known */
};

#endif
