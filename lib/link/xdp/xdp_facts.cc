// SPDX-License-Identifier: MIT
// What an interface taken for AF_XDP tells of itself: mode, queues, and every counter that says where a
// packet went, the kernel's and the program's among them. Cold: system calls.
#include "xdp_link.h"

namespace wx {

static void put(Writer *out, const char *name, uint64_t value) {
    if (out->size() != 0) out->u8(' ');
    out->text(name);
    out->u8('=');
    out->decimal(value);
}

static void put_sockets(const XdpNic &nic, Writer *out) {
    XskCounters sum{};
    XskKernelCounters kernel{};
    uint64_t in_fill = 0, in_send = 0;
    for (uint32_t i = 0; i < nic.socket_count; i++) {
        const Xsk &x = nic.sockets[i];
        XskKernelCounters one{};
        if (x.fd >= 0) xsk_statistics(&x, &one);
        sum.received += x.counters.received;
        sum.sent += x.counters.sent;
        sum.completed += x.counters.completed;
        sum.kicks += x.counters.kicks;
        sum.kick_retries += x.counters.kick_retries;
        sum.fill_kicks += x.counters.fill_kicks;
        sum.send_full += x.counters.send_full;
        sum.fill_starved += x.counters.fill_starved;
        sum.bad_descriptors += x.counters.bad_descriptors;
        kernel.receive_dropped += one.receive_dropped;
        kernel.receive_invalid += one.receive_invalid;
        kernel.send_invalid += one.send_invalid;
        kernel.receive_ring_full += one.receive_ring_full;
        kernel.fill_ring_empty += one.fill_ring_empty;
        kernel.send_ring_empty += one.send_ring_empty;
        in_fill += x.in_fill;
        in_send += x.in_send;
    }
    put(out, "received", sum.received);
    put(out, "sent", sum.sent);
    put(out, "completed", sum.completed);
    put(out, "in_fill", in_fill);
    put(out, "in_send", in_send);
    put(out, "kicks", sum.kicks);
    put(out, "kick_retries", sum.kick_retries);
    put(out, "fill_kicks", sum.fill_kicks);
    put(out, "fill_starved", sum.fill_starved);
    put(out, "send_full", sum.send_full);
    put(out, "bad_descriptors", sum.bad_descriptors);
    put(out, "kernel_dropped", kernel.receive_dropped);
    put(out, "kernel_receive_invalid", kernel.receive_invalid);
    put(out, "kernel_send_invalid", kernel.send_invalid);
    put(out, "kernel_ring_full", kernel.receive_ring_full);
    put(out, "kernel_fill_empty", kernel.fill_ring_empty);
    put(out, "kernel_send_empty", kernel.send_ring_empty);
}

static void put_frames(const Umem &umem, Writer *out) {
    static const char *const names[] = {"receive_out", "ack_out", "control_out", "data_out"};
    for (unsigned i = 0; i < pool_count; i++) put(out, names[i], umem_out(&umem, static_cast<Pool>(i)));
    put(out, "double_puts", umem.double_puts);
}

static void put_program(const XdpNic &nic, Writer *out) {
    static const char *const names[] = {
        "filter_tcp",           "filter_icmp",     "filter_no_socket", "filter_not_ip", "filter_other",
        "filter_unknown_tuple", "filter_fragment", "filter_malformed", "filter_vlan",   "filter_no_metadata"};
    static_assert(sizeof names / sizeof names[0] == FILTER_COUNTERS, "a name for each");
    uint64_t values[FILTER_COUNTERS];
    if (xdp_program_counters(&nic.program, values) < 0) return;
    for (unsigned i = 0; i < FILTER_COUNTERS; i++) put(out, names[i], values[i]);
}

static void put_host(const XdpHost &h, Writer *out) {
    uint64_t malformed = 0;
    for (unsigned i = 0; i < static_cast<unsigned>(Wire::count); i++)
        if (i != static_cast<unsigned>(Wire::bad_checksum)) malformed += h.counters.refused[i];
    put(out, "bad_checksum", h.counters.refused[static_cast<size_t>(Wire::bad_checksum)]);
    put(out, "malformed", malformed);
    put(out, "unknown", h.counters.unknown);
    put(out, "no_frame", h.counters.no_frame);
    put(out, "over_share", h.counters.over_share);
    put(out, "trickles", h.counters.trickles);
    put(out, "recoveries", h.counters.recoveries);
    put(out, "link_downs", h.counters.link_downs);
    put(out, "tuples", h.table.count + h.held_count);
    put(out, "time_wait", h.held_count);
}

bool xdp_facts(void *context, const char *name, Writer *out) {
    const XdpHost &h = *static_cast<const XdpHost *>(context);
    ByteView what(name);
    if (equal(what, ByteView("mode"))) {
        out->text(nic_mode_text(h.nic.mode));
    } else if (equal(what, ByteView("xdp.interface"))) {
        out->text(h.nic.options.interface);
    } else if (equal(what, ByteView("xdp.ladder"))) {
        out->text(h.nic.ladder);
    } else if (equal(what, ByteView("xdp.queues"))) {
        out->decimal(h.nic.socket_count);
    } else if (equal(what, ByteView("xdp.counters"))) {
        if (h.nic.mode == NicMode::none) return true; // no interface is open, so there is nothing to count
        put_sockets(h.nic, out);
        put_frames(h.nic.umem, out);
        put_host(h, out);
        put_program(h.nic, out);
    } else {
        return false;
    }
    return true;
}

} // namespace wx
