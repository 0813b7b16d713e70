// SPDX-License-Identifier: MIT
// What the doctor makes of a NIC's facts that no namespace has: offloads that merge packets, the driver igc,
// more queues than sockets, RSS, a NIC that tells nothing. The command itself is tested on what there is
// (test_doctor.py).
#include "../../tools/wsxdp/doctor_interface.cc"
#include "../../tools/wsxdp/doctor_kernel.cc"
#include "../../tools/wsxdp/doctor_report.cc"
#include "../../tools/wsxdp/format.cc"

// After the C++ library, which does not compile with cmocka's names.
#include "../base/check.h"
#include "../base/registry.h"

namespace {

// A good NIC: nothing to complain of.
Patient healthy(const char *driver = "mlx5_core") {
    Patient patient;
    patient.has_interface = true;
    strcpy(patient.link.name, "eth7");
    patient.link.index = 0x7FFFFFFF; // nobody's
    patient.link.mtu = 1500;
    patient.link.up = patient.link.carrier = patient.link.ethernet = patient.link.parent = true;
    NicFacts &nic = patient.nic;
    strcpy(nic.name, "eth7");
    strcpy(nic.driver, driver);
    nic.receive_queues = 1;
    nic.lro = nic.gro_hw = nic.receive_vlan = Known::no;
    nic.gro = nic.receive_checksum = Known::yes;
    nic.hardware_timestamps = nic.xdp_timestamps = nic.xdp_driver = nic.xdp_zero_copy = Known::yes;
    nic.coalesce_receive_us = 1;
    nic.defer_hard_irqs = 0;
    nic.gro_flush_timeout_ns = 0;
    return patient;
}

Report examined(const Patient &patient) {
    Report report;
    report.interface = patient.link.name;
    examine_interface(patient, report);
    return report;
}

const Finding &row(const Report &report, const char *id) {
    for (const Finding &finding : report.findings)
        if (finding.id == id) return finding;
    fail_msg("no row %s", id);
    return report.findings[0];
}

void need_row(const Patient &patient, const char *id, Verdict verdict, const char *fact,
              const char *remedy = "") {
    const Report report = examined(patient);
    const Finding &found = row(report, id);
    if (found.verdict != verdict || found.fact.find(fact) == std::string::npos || found.remedy != remedy)
        fail_msg("%s: %s, '%s', do '%s'; wanted %s, '%s', do '%s'", id, verdict_text(found.verdict),
                 found.fact.c_str(), found.remedy.c_str(), verdict_text(verdict), fact, remedy);
    assert_int_equal(report.possible(), verdict != Verdict::fail);
}

} // namespace

TEST(a_good_nic_has_nothing_but_ok) {
    const Report report = examined(healthy());
    for (const Finding &finding : report.findings)
        if (finding.verdict != Verdict::ok || !finding.remedy.empty())
            if (finding.id != "timing.nic_stamps") // which are turned on by a command
                fail_msg("%s: %s", finding.id.c_str(), finding.fact.c_str());
    assert_true(report.verdict() == Verdict::ok);
    need_row(healthy(), "interface.mode", Verdict::ok, "zero-copy mode");
}

TEST(merged_packets_are_lost) {
    Patient patient = healthy();
    patient.nic.lro = Known::yes;
    need_row(patient, "offloads.lro", Verdict::fail, "LRO is on", "ethtool -K eth7 lro off");
    patient = healthy();
    patient.nic.gro_hw = Known::yes;
    need_row(patient, "offloads.gro_hw", Verdict::fail, "hardware GRO is on",
             "ethtool -K eth7 rx-gro-hw off");
    need_row(healthy(), "offloads.lro", Verdict::ok, "LRO is off");
    patient.nic.lro = Known::unknown;
    assert_true(row(examined(patient), "offloads.lro").verdict == Verdict::unknown);
}

TEST(what_cannot_be_switched_off_gets_another_advice) {
    Patient patient = healthy("virtio_net");
    patient.nic.gro_hw = Known::yes;
    patient.nic.gro_hw_fixed = true;
    const Report report = examined(patient);
    const Finding &found = row(report, "offloads.gro_hw");
    assert_true(found.verdict == Verdict::fail);
    assert_string_equal(found.fact.c_str(), "hardware GRO is on, and the driver cannot switch it off");
    assert_true(found.remedy.find("ethtool") == std::string::npos && !found.remedy.empty());
    assert_non_null(strstr(row(report, "interface.mode").fact.c_str(), "generic mode"));
    patient.nic.gro_hw = Known::no;
    need_row(patient, "offloads.gro_hw", Verdict::ok, "hardware GRO is off");
}

TEST(igc_is_told_of_the_better_cure) {
    const char *cure = "ethtool -C eth7 rx-usecs 10";
    Patient patient = healthy("igc");
    patient.nic.coalesce_receive_us = 0;
    need_row(patient, "timing.trickle", Verdict::warn, "xdp.trickle=auto sends frames to ourselves", cure);
    need_row(patient, "timing.coalescing", Verdict::ok, "interrupts wait 0 us");
    patient.nic.coalesce_receive_us = UINT32_MAX;
    need_row(patient, "timing.trickle", Verdict::warn, "xdp.trickle=auto", cure);
    patient.nic.coalesce_receive_us = 10; // igc takes nothing between 3 and 10
    need_row(patient, "timing.trickle", Verdict::ok, "xdp.trickle=no saves");
    need_row(patient, "timing.coalescing", Verdict::ok, "interrupts wait 10 us");
    patient.nic.coalesce_receive_us = 50;
    need_row(patient, "timing.coalescing", Verdict::warn, "interrupts wait 50 us", cure);
    need_row(healthy(), "timing.trickle", Verdict::ok, "sends no frames to ourselves");
}

TEST(interrupts_that_wait_are_told) {
    Patient patient = healthy();
    patient.nic.coalesce_receive_us = 50;
    need_row(patient, "timing.coalescing", Verdict::warn, "interrupts wait 50 us",
             "ethtool -C eth7 adaptive-rx off rx-usecs 1");
    patient.nic.coalesce_receive_us = UINT32_MAX;
    need_row(patient, "timing.coalescing", Verdict::unknown, "not known");
    patient.nic.defer_hard_irqs = 2;
    patient.nic.gro_flush_timeout_ns = 200000;
    need_row(patient, "timing.napi", Verdict::warn, "napi_defer_hard_irqs 2, gro_flush_timeout 200,000 ns",
             "echo 0 > /sys/class/net/eth7/napi_defer_hard_irqs; "
             "echo 0 > /sys/class/net/eth7/gro_flush_timeout");
    patient.nic.gro_flush_timeout_ns = 0; // one alone puts nothing off
    need_row(patient, "timing.napi", Verdict::ok, "napi_defer_hard_irqs 2");
}

TEST(more_queues_than_sockets_need_steering) {
    Patient patient = healthy();
    patient.nic.receive_queues = 64;
    assert_true(row(examined(patient), "queues.receive").verdict == Verdict::ok);
    patient.nic.receive_queues = 65;
    Report report = examined(patient);
    assert_true(row(report, "queues.receive").verdict == Verdict::warn);
    assert_string_equal(row(report, "queues.receive").remedy.c_str(), "ethtool -L eth7 combined 1");
    assert_true(row(report, "queues.steering").verdict == Verdict::fail); // the hash is not known
    patient.nic.rss_hash = RssHash::toeplitz;
    patient.nic.rss_key_bytes = 40;
    patient.nic.rss_table_size = 128;
    for (uint32_t i = 0; i < 128; i++) patient.nic.rss_table[i] = i % 65;
    patient.nic.rss_hashes_ports4 = patient.nic.rss_hashes_ports6 = Known::yes;
    report = examined(patient);
    assert_true(row(report, "queues.steering").verdict == Verdict::ok);
    assert_non_null(strstr(row(report, "queues.steering").fact.c_str(), "(IPv4 and IPv6)"));
    patient.nic.rss_symmetric = true;
    assert_true(row(examined(patient), "queues.steering").verdict == Verdict::fail);
}

TEST(an_old_kernel_leaves_much_unknown) {
    Patient patient = healthy();
    patient.nic = NicFacts();
    const Report report = examined(patient);
    assert_true(report.possible());
    for (const char *id :
         {"interface.driver_mode", "interface.zero_copy", "interface.mode", "queues.receive", "offloads.lro",
          "offloads.gro_hw", "timing.nic_in_xdp", "timing.nic_stamps", "timing.coalescing", "timing.napi"})
        if (row(report, id).verdict != Verdict::unknown) fail_msg("%s is not unknown", id);
}

TEST(large_packets_and_other_devices) {
    Patient patient = healthy();
    patient.link.mtu = 9000;
    need_row(patient, "interface.mtu", Verdict::warn, "MTU 9000, frames of 4096 bytes",
             "ip link set dev eth7 mtu 1500 (both ends)");
    need_row(patient, "interface.mode", Verdict::warn, "generic mode");
    patient.link.ethernet = false;
    assert_false(examined(patient).possible());
}

TESTS("findings")
