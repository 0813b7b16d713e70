// SPDX-License-Identifier: MIT OR GPL-2.0-only
// The XDP program: sends packets of exactly known connections, and ICMP errors that quote them, to AF_XDP
// sockets; everything else goes on to the kernel untouched, so that the host keeps its own connections to the
// same servers, its ARP and its neighbour discovery. Each packet is counted under one reason.
//
// A packet is ours only if all that its headers state is there: whatever is short, odd or cannot be told is
// passed on. What is redirected carries the time of entry directly in front of it.
//
// Built twice: with NIC_TIMESTAMPS it asks the driver for the NIC's receive stamp, which the kernel allows
// only to a program that is bound to one device.
//
// Dual MIT/GPL because some helpers of the kernel want a license compatible with its own.
#include "../lib/link/xdp/filter_abi.h"
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char license_text[] SEC("license") = "Dual MIT/GPL";

// The sizes that are 1 here are set before loading.
struct {
    __uint(type, BPF_MAP_TYPE_XSKMAP);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} sockets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1);
    __type(key, struct filter_key4);
    __type(value, struct filter_value);
} tuples4 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, 1);
    __type(key, struct filter_key6);
    __type(value, struct filter_value);
} tuples6 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, FILTER_COUNTERS);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

/* Not 0: a socket is being made anew. What is ours waits for it with the peer, which repeats it; the kernel
   would answer that there is no such connection. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u32);
} awaited SEC(".maps");

#ifdef NIC_TIMESTAMPS
extern int bpf_xdp_metadata_rx_timestamp(const struct xdp_md *ctx, __u64 *timestamp) __ksym;
#endif

#define TAG 0x8100         /* IEEE 802.1Q */
#define SERVICE_TAG 0x88A8 /* 802.1ad: of the outer of two */
#define VLAN_MASK 0x0FFF
#define IP4_OFFSET 0x1FFF
#define IP4_MORE 0x2000
#define IP6_OFFSET 0xFFF8
#define IP6_MORE 1
/* As many extension headers as lib/wire walks; a longer chain only costs time. */
#define EXTENSIONS_MAX 8
/* Several times further from the start of a frame than any header lies; a mask, which the verifier
   understands. */
#define FURTHEST 0x3FFF

struct tag {
    __be16 value;
    __be16 type;
};
struct extension {
    __u8 next;
    __u8 length;
    __be16 fragment;
    __u8 rest[4];
};
struct icmp {
    __u8 type;
    __u8 rest[7];
};
struct ports { /* of TCP, with the sequence number: RFC 792 quotes so much of it */
    __be16 source;
    __be16 dest;
    __be32 seq;
};

/* limit: where the packet ends by what its IP header says; before that is known, where the frame does. */
struct packet {
    struct xdp_md *ctx;
    __u32 limit;
    __u32 vlan;
};

/* Copies what lies at `offset`, if the packet has so much. By the kernel's helper and not through a pointer,
   although that is some ns faster: to a program that adds to a packet's pointer what it has read from the
   packet the kernel wants CAP_PERFMON, which lets a process read all of its memory. */
static __always_inline int has(const struct packet *p, __u32 offset, __u32 size, void *out) {
    return offset + size <= p->limit && bpf_xdp_load_bytes(p->ctx, offset, out, size) == 0;
}

static __always_inline void count(__u32 counter) {
    __u64 *value = bpf_map_lookup_elem(&counters, &counter);
    if (value) ++*value;
}

/* A NIC that takes tags away says so beside the packet, where a program cannot see it. */
static __always_inline int judge(const struct filter_value *value, __u32 vlan, int redirected) {
    if (!value) return FILTER_UNKNOWN_TUPLE;
    return vlan == FILTER_NO_VLAN || vlan == value->vlan ? redirected : FILTER_VLAN;
}

static __always_inline int known4(const struct packet *p, __be32 local, __be32 remote, __be16 local_port,
                                  __be16 remote_port, int redirected) {
    struct filter_key4 key __attribute__((aligned(4)));
    *(__be32 *)key.local = local;
    *(__be32 *)key.remote = remote;
    key.local_port = local_port;
    key.remote_port = remote_port;
    return judge(bpf_map_lookup_elem(&tuples4, &key), p->vlan, redirected);
}

static __always_inline int known6(const struct packet *p, const struct in6_addr *local,
                                  const struct in6_addr *remote, __be16 local_port, __be16 remote_port,
                                  int redirected) {
    struct filter_key6 key __attribute__((aligned(4)));
    for (int i = 0; i < 4; i++) {
        ((__be32 *)key.local)[i] = local->in6_u.u6_addr32[i];
        ((__be32 *)key.remote)[i] = remote->in6_u.u6_addr32[i];
    }
    key.local_port = local_port;
    key.remote_port = remote_port;
    return judge(bpf_map_lookup_elem(&tuples6, &key), p->vlan, redirected);
}

static __always_inline int has_tcp(const struct packet *p, __u32 offset, struct tcphdr *tcp) {
    return has(p, offset, sizeof *tcp, tcp) && tcp->doff >= 5 && offset + tcp->doff * 4u <= p->limit;
}

static __always_inline int quote4(const struct packet *p, __u32 offset) {
    struct icmp icmp;
    if (!has(p, offset, sizeof icmp, &icmp)) return FILTER_MALFORMED;
    /* unreachable, source quench, time exceeded, parameter problem */
    if (icmp.type != 3 && icmp.type != 4 && icmp.type != 11 && icmp.type != 12) return FILTER_OTHER;
    offset += sizeof icmp;
    struct iphdr ip;
    if (!has(p, offset, sizeof ip, &ip) || ip.version != 4 || ip.ihl < 5) return FILTER_MALFORMED;
    if (ip.protocol != IPPROTO_TCP) return FILTER_OTHER;
    if (ip.frag_off & bpf_htons(IP4_OFFSET)) return FILTER_FRAGMENT;
    struct ports ports;
    if (!has(p, offset + ip.ihl * 4u, sizeof ports, &ports)) return FILTER_MALFORMED;
    return known4(p, ip.saddr, ip.daddr, ports.source, ports.dest, FILTER_ICMP);
}

static __always_inline int on_ip4(struct packet *p, __u32 offset) {
    struct iphdr ip;
    if (!has(p, offset, sizeof ip, &ip) || ip.version != 4 || ip.ihl < 5) return FILTER_MALFORMED;
    const __u32 total = bpf_ntohs(ip.tot_len);
    const __u32 head = ip.ihl * 4u;
    if (total < head || offset + total > p->limit) return FILTER_MALFORMED;
    p->limit = offset + total;
    if (ip.protocol != IPPROTO_TCP && ip.protocol != IPPROTO_ICMP) return FILTER_OTHER;
    if (ip.frag_off & bpf_htons(IP4_OFFSET | IP4_MORE)) return FILTER_FRAGMENT;
    if (ip.protocol == IPPROTO_ICMP) return quote4(p, offset + head);
    struct tcphdr tcp;
    if (!has_tcp(p, offset + head, &tcp)) return FILTER_MALFORMED;
    return known4(p, ip.daddr, ip.saddr, tcp.dest, tcp.source, FILTER_TCP);
}

static __always_inline int is_extension(__u32 kind) {
    return kind == IPPROTO_HOPOPTS || kind == IPPROTO_ROUTING || kind == IPPROTO_FRAGMENT ||
           kind == IPPROTO_AH || kind == IPPROTO_DSTOPTS;
}

/* From the first header behind the fixed one to the one that no extension follows. Its kind << 16 | its
   offset, or -1 less the counter where the packet belongs. `fatal`: the bits of a fragment header that make
   it one; of a quoted packet the first fragment has the ports, too. A fragment header without any of them is
   an atomic fragment (RFC 6946).

   A function of its own, and global, for the verifier's sake: it looks at such a one once, for all values of
   its arguments, where an inlined one costs it seconds for all the ways through two chains of headers. */
__attribute__((noinline)) int walk6(struct xdp_md *ctx, __u32 offset, __u32 limit, __u32 kind, __u32 fatal) {
    struct packet p = {ctx, limit, FILTER_NO_VLAN};
    for (int i = 0; i < EXTENSIONS_MAX && is_extension(kind); i++) {
        struct extension e;
        if (!has(&p, offset, sizeof e, &e)) return -1 - FILTER_MALFORMED;
        if (kind == IPPROTO_FRAGMENT) {
            if (e.fragment & bpf_htons((__u16)fatal)) return -1 - FILTER_FRAGMENT;
            offset += sizeof e;
        } else if (kind == IPPROTO_AH) {
            offset += (e.length + 2u) * 4;
        } else {
            offset += (e.length + 1u) * 8;
        }
        if (offset > FURTHEST) return -1 - FILTER_MALFORMED;
        kind = e.next;
        /* Whichever way a header was passed over, the verifier is to see the same range: it would look at all
           combinations of eight otherwise. */
        offset &= FURTHEST;
        asm volatile("" : "+r"(offset), "+r"(kind));
    }
    if (is_extension(kind)) return -1 - FILTER_OTHER;
    return (int)(kind << 16 | offset);
}

static __always_inline int quote6(const struct packet *p, __u32 offset) {
    struct icmp icmp;
    if (!has(p, offset, sizeof icmp, &icmp)) return FILTER_MALFORMED;
    /* unreachable, too big, time exceeded, parameter problem */
    if (icmp.type < 1 || icmp.type > 4) return FILTER_OTHER;
    offset += sizeof icmp;
    struct ipv6hdr ip;
    if (!has(p, offset, sizeof ip, &ip) || ip.version != 6) return FILTER_MALFORMED;
    const int last = walk6(p->ctx, offset + sizeof ip, p->limit, ip.nexthdr, IP6_OFFSET);
    if (last < 0) return -1 - last;
    if (last >> 16 != IPPROTO_TCP) return FILTER_OTHER;
    offset = last & FURTHEST;
    struct ports ports;
    if (!has(p, offset, sizeof ports, &ports)) return FILTER_MALFORMED;
    return known6(p, &ip.saddr, &ip.daddr, ports.source, ports.dest, FILTER_ICMP);
}

static __always_inline int on_ip6(struct packet *p, __u32 offset) {
    struct ipv6hdr ip;
    if (!has(p, offset, sizeof ip, &ip) || ip.version != 6) return FILTER_MALFORMED;
    offset += sizeof ip;
    const __u32 size = bpf_ntohs(ip.payload_len);
    if (offset + size > p->limit) return FILTER_MALFORMED;
    p->limit = offset + size;
    const int last = walk6(p->ctx, offset, p->limit, ip.nexthdr, IP6_OFFSET | IP6_MORE);
    if (last < 0) return -1 - last;
    offset = last & FURTHEST;
    if (last >> 16 == IPPROTO_ICMPV6) return quote6(p, offset);
    if (last >> 16 != IPPROTO_TCP) return FILTER_OTHER;
    struct tcphdr tcp;
    if (!has_tcp(p, offset, &tcp)) return FILTER_MALFORMED;
    return known6(p, &ip.daddr, &ip.saddr, tcp.dest, tcp.source, FILTER_TCP);
}

static __always_inline int classify(struct packet *p) {
    const struct ethhdr *ethernet = (void *)(long)p->ctx->data;
    if ((void *)(ethernet + 1) > (void *)(long)p->ctx->data_end) return FILTER_MALFORMED;
    __u32 offset = sizeof *ethernet;
    __be16 type = ethernet->h_proto;
    if (type == bpf_htons(TAG) || type == bpf_htons(SERVICE_TAG)) {
        struct tag tag;
        if (!has(p, offset, sizeof tag, &tag)) return FILTER_MALFORMED;
        if (tag.type == bpf_htons(TAG) || tag.type == bpf_htons(SERVICE_TAG)) return FILTER_VLAN;
        if (type == bpf_htons(SERVICE_TAG)) return FILTER_NOT_IP;
        p->vlan = bpf_ntohs(tag.value) & VLAN_MASK;
        offset += sizeof tag;
        type = tag.type;
    }
    if (type == bpf_htons(ETH_P_IP)) return on_ip4(p, offset);
    if (type == bpf_htons(ETH_P_IPV6)) return on_ip6(p, offset);
    return FILTER_NOT_IP;
}

static __always_inline void annotate(struct xdp_md *ctx, __u64 entry_ns) {
    __u64 nic_ns = 0;
#ifdef NIC_TIMESTAMPS
    if (bpf_xdp_metadata_rx_timestamp(ctx, &nic_ns) != 0) nic_ns = 0;
#endif
    struct filter_metadata *meta = 0;
    if (bpf_xdp_adjust_meta(ctx, -(int)sizeof *meta) == 0) {
        meta = (void *)(long)ctx->data_meta;
        if ((void *)(meta + 1) <= (void *)(long)ctx->data) {
            meta->magic = FILTER_MAGIC;
            meta->reserved = 0;
            meta->entry_ns = entry_ns;
            meta->nic_ns = nic_ns;
            return;
        }
    }
    count(FILTER_NO_METADATA);
}

static __always_inline int without_socket(void) {
    const __u32 first = 0;
    const __u32 *waits = bpf_map_lookup_elem(&awaited, &first);
    return waits && *waits ? XDP_DROP : XDP_PASS;
}

SEC("xdp")
int wsxdp_filter(struct xdp_md *ctx) {
    const __u64 entry_ns = bpf_ktime_get_ns();
    struct packet p = {ctx, (__u32)bpf_xdp_get_buff_len(ctx), FILTER_NO_VLAN};
    int counter = classify(&p);
    __u32 queue = ctx->rx_queue_index;
    const int ours = counter == FILTER_TCP || counter == FILTER_ICMP;
    if (ours && !bpf_map_lookup_elem(&sockets, &queue)) counter = FILTER_NO_SOCKET;
    count(counter);
    if (!ours) return XDP_PASS;
    if (counter == FILTER_NO_SOCKET) return without_socket();
    annotate(ctx, entry_ns);
    return (int)bpf_redirect_map(&sockets, queue, XDP_PASS);
}
