// SPDX-License-Identifier: MIT
// The doctor's sections, one file each, and what they share.
#pragma once
#include "doctor_report.h"

#include "../../lib/host/nic_facts.h"
#include "../../lib/host/routes.h"

#include <string>

struct Patient {
    wx::ProcessFacts process;
    bool has_interface = false;
    wx::LinkFacts link;   // of the device that frames leave by
    wx::NicFacts nic;     // likewise
    bool tagged = false;  // it is reached by way of a VLAN
    bool program = false; // this build has the XDP program
    bool af_xdp = false;  // an AF_XDP socket could be made, just now
};

// Linux `major`.`minor` or newer, by its number: distributions also add features to older ones.
bool kernel_at_least(const wx::ProcessFacts &facts, unsigned major, unsigned minor);
// First line of a file; false when it cannot be read.
bool read_line(const std::string &path, std::string *out);
bool read_number(const std::string &path, int64_t *out);

// doctor_kernel.cc: what is built in, the kernel, this process. Fills in program and af_xdp.
void examine_kernel(Patient &patient, Report &report);
void examine_process(const Patient &patient, Report &report);
// doctor_interface.cc
void examine_interface(const Patient &patient, Report &report);
// One row about an interface that nobody has chosen.
void list_interface(const wx::LinkFacts &link, const wx::NicFacts &nic, Report &report);
// doctor_machine.cc: what is not the interface's but takes or saves time; then the other transports.
void examine_machine(const Patient &patient, Report &report);
void examine_sockets(Report &report);
void examine_io_uring(const Patient &patient, Report &report);
// doctor_helper.cc: what placement=processes would run.
void examine_helper(Report &report);
