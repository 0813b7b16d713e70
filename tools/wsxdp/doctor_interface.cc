// SPDX-License-Identifier: MIT
// The doctor on one interface: link, mode that can be expected, other XDP programs, queues and steering,
// offloads, timing. All of it is read; the mode is what the driver says of itself, since only attaching would
// prove it, and attaching changes the interface.
#include "doctor_parts.h"

#include "format.h"

#include "../../lib/link/xdp/host.h"
#include "../../lib/link/xdp/nic.h"
#include "../../lib/link/xdp/program.h"
#include "../../lib/link/xdp/steering.h"

#include <cstring>

using namespace wx;

namespace {

// A packet, the headroom before it and what the kernel keeps behind it must fit into a page. Where exactly
// the limit lies is the driver's to say; veth's is 3506 bytes.
constexpr uint32_t driver_mtu_max = 3500;
// Longer than this and the interrupt costs more than all else between wire and program.
constexpr uint32_t coalesce_us_max = 8;

std::string name_of(const Patient &patient) { return patient.link.name; }

bool on_same_machine(const NicFacts &nic) {
    return nic.is_virtual || strncmp(nic.driver, "virtio", 6) == 0 || strcmp(nic.driver, "veth") == 0;
}

bool driver_mtu_fits(const LinkFacts &link) { return link.mtu <= driver_mtu_max; }

void examine_link(const Patient &patient, Report &report) {
    const LinkFacts &link = patient.link;
    const NicFacts &nic = patient.nic;
    std::string driver = nic.driver[0] != 0 ? nic.driver : link.kind[0] != 0 ? link.kind : "not known";
    std::string bus = nic.bus[0] != 0 ? std::string(", ") + nic.bus : "";
    if (link.loopback)
        report.add("interface.kind", Verdict::fail,
                   "AF_XDP is of no use on loopback (" + name_of(patient) + ")",
                   "no frame of it ever comes from a network or goes to one",
                   "use transport=socket for peers on this machine");
    else if (!link.ethernet)
        report.add("interface.kind", Verdict::fail, name_of(patient) + " is no Ethernet interface",
                   "transport=xdp writes Ethernet frames", "use transport=socket");
    else
        report.add("interface.kind", Verdict::ok,
                   name_of(patient) + ": driver " + driver + bus +
                       (nic.is_virtual ? ", a virtual device" : ""),
                   "the driver decides which modes there are");
    const char *reason = "frames only move over a link that is up";
    if (!link.up)
        report.add("interface.link", Verdict::fail, "the interface is down", reason,
                   "ip link set dev " + name_of(patient) + " up");
    else if (!link.carrier)
        report.add("interface.link", Verdict::fail, "the interface is up but has no carrier", reason,
                   "look at the cable, the switch, or the other end of a veth");
    else
        report.add("interface.link", Verdict::ok, "the interface is up and has a carrier", reason);
}

void examine_modes(const Patient &patient, Report &report) {
    const NicFacts &nic = patient.nic;
    const char *reason = "there the packet reaches us before the kernel makes anything of it";
    const char *unread = "the kernel tells from 6.3 on; opening transport=xdp tries it";
    if (nic.xdp_driver == Known::unknown)
        report.add("interface.driver_mode", Verdict::unknown, "whether the driver runs XDP is not known",
                   unread);
    else if (nic.xdp_driver == Known::yes)
        report.add("interface.driver_mode", Verdict::ok, "the driver runs XDP programs (driver mode)",
                   reason);
    else
        report.add("interface.driver_mode", Verdict::warn, "the driver runs no XDP programs: no driver mode",
                   std::string("generic mode is left; ") + reason, "use a NIC whose driver runs XDP");
    if (nic.xdp_zero_copy == Known::unknown)
        report.add("interface.zero_copy", Verdict::unknown, "whether there is zero-copy is not known",
                   unread);
    else
        report.add("interface.zero_copy", nic.xdp_zero_copy == Known::yes ? Verdict::ok : Verdict::warn,
                   nic.xdp_zero_copy == Known::yes ? "the NIC reads and writes our memory (zero-copy)"
                                                   : "the driver has no zero-copy",
                   "without it the kernel copies each packet, and each sending is a system call",
                   nic.xdp_zero_copy == Known::yes ? "" : "use a NIC whose driver has AF_XDP zero-copy");
}

void examine_expected(const Patient &patient, Report &report) {
    const NicFacts &nic = patient.nic;
    // virtio_net takes no program as long as its host merges packets.
    bool merges = nic.gro_hw == Known::yes && nic.gro_hw_fixed;
    bool driver = nic.xdp_driver == Known::yes && driver_mtu_fits(patient.link) && !merges;
    NicMode mode = !driver                           ? NicMode::generic
                   : nic.xdp_zero_copy == Known::yes ? NicMode::zero_copy
                                                     : NicMode::driver;
    if (nic.xdp_driver == Known::unknown)
        report.add("interface.mode", Verdict::unknown, "xdp.mode=auto takes the best that can be had",
                   "zero-copy, driver, generic are tried in this order; generic works with every driver");
    else
        report.add("interface.mode", mode == NicMode::generic ? Verdict::warn : Verdict::ok,
                   std::string("xdp.mode=auto is expected to give ") + nic_mode_text(mode) + " mode",
                   mode == NicMode::generic
                       ? "it works with every driver, but comes after the kernel has made its packet of it"
                       : "zero-copy, driver, generic are tried in this order");
}

void examine_mtu(const Patient &patient, Report &report) {
    uint32_t mtu = patient.link.mtu, frame = frame_bytes_for(mtu);
    uint32_t room = frame_room(frame);
    std::string fact = "MTU " + std::to_string(mtu) + ", frames of " + std::to_string(frame) + " bytes";
    std::string lower = "ip link set dev " + name_of(patient) + " mtu 1500 (both ends)";
    if (!driver_mtu_fits(patient.link))
        report.add("interface.mtu", Verdict::warn, fact + ": too large for driver mode",
                   "in driver mode a packet must fit into a page with what surrounds it, about " +
                       std::to_string(driver_mtu_max) +
                       " bytes; generic mode is left, and larger packets than " + std::to_string(room) +
                       " bytes are lost",
                   lower);
    else
        report.add("interface.mtu", Verdict::ok, fact,
                   "driver mode takes up to about " + std::to_string(driver_mtu_max) + ", a frame up to " +
                       std::to_string(room));
}

void examine_other_program(const Patient &patient, Report &report) {
    const char *reason = "an interface has one XDP program in a mode, and ours replaces none";
    if (!patient.program) return;
    XdpPresent there;
    ErrorText error;
    if (xdp_program_present(patient.link.index, &there, &error) < 0) {
        report.add("interface.program", Verdict::unknown, error.text, reason);
        return;
    }
    if (there.id == 0) {
        report.add("interface.program", Verdict::ok, "no XDP program is on the interface", reason);
        return;
    }
    std::string fact = "an XDP program is on the interface: id " + std::to_string(there.id);
    if (there.name[0] != 0) fact += std::string(", ") + there.name;
    fact += there.offloaded ? ", offloaded" : there.generic ? ", generic mode" : ", driver mode";
    bool ours = strcmp(there.name, "wsxdp_filter") == 0;
    report.add("interface.program", Verdict::fail, fact,
               ours
                   ? "it is this library's, of another process; an interface belongs to one process at a time"
                   : reason,
               ours ? "bpftool net show dev " + name_of(patient) + " (end the process that owns it)"
                    : "ip link set dev " + name_of(patient) +
                          (there.offloaded ? " xdpoffload"
                           : there.generic ? " xdpgeneric"
                                           : " xdp") +
                          " off, or share it with xdp.dispatcher=yes");
}

const char *hash_text(RssHash hash) {
    switch (hash) {
    case RssHash::toeplitz:
        return "Toeplitz";
    case RssHash::xor_:
        return "XOR";
    case RssHash::crc32:
        return "CRC32";
    case RssHash::unknown:
        break;
    }
    return "not known";
}

SteeringFacts steering_facts(const Patient &patient, uint8_t version) {
    const NicFacts &nic = patient.nic;
    SteeringFacts facts;
    facts.interface = nic.name;
    facts.ip_version = version;
    facts.queues = nic.receive_queues;
    facts.ours = 1;
    facts.table.key = nic.rss_key;
    facts.table.key_bytes = nic.rss_key_bytes;
    facts.table.queues = nic.rss_table;
    facts.table.queue_count = nic.rss_table_size;
    facts.toeplitz = nic.rss_hash == RssHash::toeplitz && !nic.rss_symmetric;
    facts.ports_hashed = (version == 6 ? nic.rss_hashes_ports6 : nic.rss_hashes_ports4) == Known::yes;
    return facts;
}

void examine_rss(const Patient &patient, Report &report) {
    const NicFacts &nic = patient.nic;
    std::string fact = std::string("receive-side scaling: hash ") + hash_text(nic.rss_hash) +
                       (nic.rss_symmetric ? " (symmetric)" : "") + ", key of " +
                       std::to_string(nic.rss_key_bytes) + " bytes, table of " +
                       std::to_string(nic.rss_table_size);
    const char *reason = "xdp.queue=N chooses source ports whose answers arrive on one queue; that needs a "
                         "plain Toeplitz hash over the ports, its key and its table";
    if (nic.receive_queues == 1) {
        report.add("queues.steering", Verdict::ok, fact, "not needed with one queue");
        return;
    }
    ErrorText error;
    std::string versions;
    for (uint8_t version : {uint8_t{4}, uint8_t{6}})
        if (steering_choose(steering_facts(patient, version), &error) == Steering::by_port)
            versions += std::string(versions.empty() ? "" : " and ") + "IPv" + std::to_string(version);
    bool needed = nic.receive_queues > nic_queues_max;
    if (!versions.empty())
        report.add("queues.steering", Verdict::ok,
                   fact + "; a source port can be chosen for one queue (" + versions + ")", reason);
    else
        report.add("queues.steering", needed ? Verdict::fail : Verdict::warn,
                   fact + "; no source port can be chosen for one queue", reason,
                   "ethtool -X " + name_of(patient) + " hfunc toeplitz default; ethtool -N " +
                       name_of(patient) + " rx-flow-hash tcp4 sdfn");
}

void examine_queues(const Patient &patient, Report &report) {
    uint32_t queues = patient.nic.receive_queues;
    std::string one = "ethtool -L " + name_of(patient) + " combined 1";
    if (queues == 0)
        report.add(
            "queues.receive", Verdict::unknown, "how many queues receive is not known",
            "a queue without a socket of ours would lose us connections; the kernel tells from 6.8 on, "
            "most drivers before that",
            "ethtool -l " + name_of(patient));
    else if (queues == 1)
        report.add("queues.receive", Verdict::ok, "one receive queue", "every packet comes to our socket");
    else if (queues <= nic_queues_max)
        report.add("queues.receive", Verdict::ok,
                   std::to_string(queues) + " receive queues: a socket on each (xdp.queue=-1)",
                   "every packet comes to a socket of ours; each queue is one more to look at", one);
    else
        report.add("queues.receive", Verdict::warn,
                   std::to_string(queues) + " receive queues, more than the " +
                       std::to_string(nic_queues_max) + " that can have a socket",
                   "xdp.queue=N uses one of them, where source ports can be chosen for it", one);
    examine_rss(patient, report);
}

struct Offload {
    const char *id, *name, *flag; // as ethtool -K has it
    Known state;
    Verdict when_on;
    const char *reason;
    bool fixed;
};

void examine_offloads(const Patient &patient, Report &report) {
    const NicFacts &nic = patient.nic;
    const Offload rows[] = {
        {"offloads.lro", "LRO", "lro", nic.lro, Verdict::fail,
         "merged packets are larger than a frame, and are lost", nic.lro_fixed},
        {"offloads.gro_hw", "hardware GRO", "rx-gro-hw", nic.gro_hw, Verdict::fail,
         "merged packets are larger than a frame, and are lost", nic.gro_hw_fixed},
        {"offloads.gro", "GRO by the kernel", "gro", nic.gro, Verdict::ok,
         "XDP comes before it; it serves the kernel's own connections", false},
        {"offloads.receive_vlan", "VLAN tags taken away", "rxvlan", nic.receive_vlan, Verdict::ok,
         "the XDP program takes a frame with its tag and one without", false},
        {"offloads.receive_checksum", "receive checksums by the NIC", "rx", nic.receive_checksum, Verdict::ok,
         "AF_XDP does not hand on the NIC's word: xdp.checksum=verify checks each packet itself", false},
    };
    for (const Offload &row : rows) {
        std::string fact = row.name;
        if (row.state == Known::unknown) {
            report.add(row.id, Verdict::unknown, fact + ": not known", row.reason);
            continue;
        }
        bool on = row.state == Known::yes;
        bool bad = on && row.when_on != Verdict::ok;
        std::string remedy = "ethtool -K " + name_of(patient) + " " + row.flag + " off";
        if (row.fixed) // a guest's virtio, whose host merges
            remedy = "use another interface, or let the host of this virtual machine switch it off "
                     "(host_tso4=off,host_tso6=off of its NIC)";
        report.add(row.id, on ? row.when_on : Verdict::ok,
                   fact + (on ? " is on" : " is off") +
                       (bad && row.fixed ? ", and the driver cannot switch it off" : ""),
                   row.reason, bad ? remedy : "");
    }
    if (on_same_machine(nic))
        report.add(
            "offloads.peer_checksum", Verdict::unknown,
            "whether peers on this machine write checksums cannot be seen from here",
            "the other end of a veth, or another guest, leaves TCP checksums to a NIC that is not "
            "there, and xdp.checksum=verify drops such packets",
            "ethtool -K PEER tx off (at the other end); or xdp.checksum=trust, and tso off gso off there");
}

void examine_stamps(const Patient &patient, Report &report) {
    const NicFacts &nic = patient.nic;
    const char *always = "timestamps=hardware; the time of the XDP program's entry is always there";
    if (nic.xdp_timestamps == Known::unknown)
        report.add("timing.nic_in_xdp", Verdict::unknown,
                   "whether XDP programs can read the NIC's receive stamp is not known",
                   std::string("the kernel tells from 6.3 on; ") + always);
    else if (nic.xdp_timestamps == Known::yes)
        report.add("timing.nic_in_xdp", nic.is_virtual ? Verdict::warn : Verdict::ok,
                   nic.is_virtual ? "XDP programs may ask for a receive stamp, but a virtual device has none"
                                  : "XDP programs can read the NIC's receive stamp",
                   always);
    else
        report.add("timing.nic_in_xdp", Verdict::warn, "XDP programs cannot read a receive stamp of the NIC",
                   always, "use a NIC whose driver has XDP's receive time stamps");
    bool stamps = nic.hardware_timestamps == Known::yes;
    if (nic.hardware_timestamps == Known::unknown)
        report.add("timing.nic_stamps", Verdict::unknown,
                   "whether the NIC can stamp all received packets is not known", "timestamps=hardware");
    else
        report.add(
            "timing.nic_stamps", stamps ? Verdict::ok : Verdict::warn,
            stamps ? "the NIC can stamp all received packets" : "the NIC does not stamp received packets",
            "timestamps=hardware; who wants them turns them on for the whole interface",
            stamps ? "hwstamp_ctl -i " + name_of(patient) + " -r 1" : "use a NIC with hardware stamps");
}

// igc may keep a received packet until the queue's next interrupt or sending.
bool forgets(const NicFacts &nic) { return strcmp(nic.driver, "igc") == 0; }

void examine_trickle(const Patient &patient, Report &report) {
    const NicFacts &nic = patient.nic;
    bool cured = nic.coalesce_receive_us != 0 && nic.coalesce_receive_us != UINT32_MAX;
    const char *reason =
        "a small rx-usecs other than 0 is the better cure: the interrupt comes by itself, and "
        "no frames are sent for it";
    if (!forgets(nic))
        report.add("timing.trickle", Verdict::ok, "xdp.trickle=auto sends no frames to ourselves here",
                   "that is for the driver igc, which may keep a packet until something is sent");
    else if (cured)
        report.add("timing.trickle", Verdict::ok,
                   "driver igc: rx-usecs is not 0; xdp.trickle=no saves the frames to ourselves", reason);
    else
        report.add(
            "timing.trickle", Verdict::warn,
            "driver igc: received packets may wait for the next sending; xdp.trickle=auto sends frames "
            "to ourselves for that",
            reason, "ethtool -C " + name_of(patient) + " rx-usecs 10");
}

void examine_coalescing(const Patient &patient, Report &report) {
    const NicFacts &nic = patient.nic;
    const char *reason = "the NIC holds an interrupt back for so long, and with it the packet";
    // igc takes 0, 1 and 3, which mean other things, and 10 or more.
    uint32_t most = forgets(nic) ? 10 : coalesce_us_max;
    std::string lower = forgets(nic) ? " rx-usecs 10" : " adaptive-rx off rx-usecs 1";
    if (nic.coalesce_receive_us == UINT32_MAX)
        report.add("timing.coalescing", nic.is_virtual ? Verdict::ok : Verdict::unknown,
                   nic.is_virtual ? "a virtual device has no interrupt coalescing"
                                  : "interrupt coalescing is not known",
                   reason);
    else
        report.add("timing.coalescing", nic.coalesce_receive_us <= most ? Verdict::ok : Verdict::warn,
                   "interrupts wait " + std::to_string(nic.coalesce_receive_us) + " us (rx-usecs)", reason,
                   nic.coalesce_receive_us <= most ? "" : "ethtool -C " + name_of(patient) + lower);
}

void examine_napi(const Patient &patient, Report &report) {
    const NicFacts &nic = patient.nic;
    if (nic.defer_hard_irqs == UINT32_MAX || nic.gro_flush_timeout_ns == UINT64_MAX) {
        report.add("timing.napi", Verdict::unknown,
                   "napi_defer_hard_irqs and gro_flush_timeout are not known",
                   "they put interrupts off, which xdp.busy_poll=yes wants and nothing else");
        return;
    }
    bool deferred = nic.defer_hard_irqs != 0 && nic.gro_flush_timeout_ns != 0;
    std::string path = "/sys/class/net/" + name_of(patient) + "/";
    report.add("timing.napi", deferred ? Verdict::warn : Verdict::ok,
               "napi_defer_hard_irqs " + std::to_string(nic.defer_hard_irqs) + ", gro_flush_timeout " +
                   grouped(nic.gro_flush_timeout_ns) + " ns",
               deferred ? "packets wait up to the timeout unless xdp.busy_poll=yes fetches them"
                        : "interrupts are not put off; xdp.busy_poll=yes gains most when they are, and "
                          "xdp.napi_defer_hard_irqs=2 with xdp.gro_flush_timeout_ns=200us does that while it "
                          "runs",
               deferred ? "echo 0 > " + path + "napi_defer_hard_irqs; echo 0 > " + path + "gro_flush_timeout"
                        : "");
}

} // namespace

void examine_interface(const Patient &patient, Report &report) {
    examine_link(patient, report);
    if (patient.link.loopback || !patient.link.ethernet) return;
    examine_modes(patient, report);
    examine_mtu(patient, report);
    examine_expected(patient, report);
    examine_other_program(patient, report);
    examine_queues(patient, report);
    examine_offloads(patient, report);
    examine_stamps(patient, report);
    examine_coalescing(patient, report);
    examine_trickle(patient, report);
    examine_napi(patient, report);
}

void list_interface(const LinkFacts &link, const NicFacts &nic, Report &report) {
    std::string name = link.name;
    std::string driver = nic.driver[0] != 0 ? nic.driver : link.kind[0] != 0 ? link.kind : "not known";
    std::string queues = nic.receive_queues == 0   ? "queues not known"
                         : nic.receive_queues == 1 ? "1 queue"
                                                   : std::to_string(nic.receive_queues) + " queues";
    bool driver_mode = nic.xdp_driver == Known::yes && driver_mtu_fits(link);
    const char *mode = nic.xdp_driver == Known::unknown                 ? "mode not known"
                       : driver_mode && nic.xdp_zero_copy == Known::yes ? "zero-copy mode"
                       : driver_mode                                    ? "driver mode"
                                                                        : "generic mode";
    Verdict verdict = nic.xdp_driver == Known::unknown ? Verdict::unknown
                      : driver_mode && link.carrier    ? Verdict::ok
                                                       : Verdict::warn;
    report.add("interfaces." + name, verdict,
               name + ": driver " + driver + ", " + queues + ", MTU " + std::to_string(link.mtu) + ", " +
                   mode + (link.carrier ? "" : ", no carrier"),
               "it is up, and could be the one", "wsxdp doctor --interface " + name);
}
