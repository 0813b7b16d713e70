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

// Where the nic runs elsewhere, our books know the frames, and its own the kernel.
static void add_port(const NicPort &port, XskCounters *sum, XskKernelCounters *kernel) {
    NicTally facts;
    nic_port_facts(&port, &facts);
    sum->kicks = facts.sockets.kicks;
    sum->kick_retries = facts.sockets.kick_retries;
    sum->fill_kicks = facts.sockets.fill_kicks;
    sum->fill_starved = facts.sockets.fill_starved;
    sum->bad_descriptors += port.bad_descriptors + facts.bad_descriptors + facts.sockets.bad_descriptors;
    *kernel = facts.kernel;
}

static void put_sockets(const XdpHost &h, Writer *out) {
    const XdpNic &nic = h.nic;
    XskCounters sum{};
    XskKernelCounters kernel{};
    uint64_t in_fill = 0, in_send = 0;
    for (uint32_t i = 0; i < nic.socket_count; i++) {
        const Xsk &x = nic.sockets[i];
        XskKernelCounters one{};
        if (x.fd >= 0) xsk_statistics(&x, &one);
        counters_add(&sum, x.counters);
        counters_add(&kernel, one);
        in_fill += x.in_fill;
        in_send += x.in_send;
    }
    if (h.port != nullptr) add_port(*h.port, &sum, &kernel);
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
    NicTally nic{};
    if (h.port != nullptr) nic_port_facts(h.port, &nic);
    uint64_t malformed = 0;
    for (unsigned i = 0; i < static_cast<unsigned>(Wire::count); i++)
        if (i != static_cast<unsigned>(Wire::bad_checksum)) malformed += h.counters.refused[i];
    put(out, "bad_checksum", h.counters.refused[static_cast<size_t>(Wire::bad_checksum)]);
    put(out, "malformed", malformed);
    put(out, "unknown", h.counters.unknown);
    put(out, "no_frame", h.counters.no_frame);
    put(out, "over_share", h.counters.over_share);
    put(out, "trickles", h.counters.trickles);
    put(out, "recoveries", h.counters.recoveries + nic.recoveries);
    put(out, "link_downs", h.counters.link_downs + nic.link_downs);
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
        put_sockets(h, out);
        put_frames(h.nic.umem, out);
        put_host(h, out);
        put_program(h.nic, out);
    } else {
        return false;
    }
    return true;
}

} // namespace wx
