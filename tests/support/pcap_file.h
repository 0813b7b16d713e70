// SPDX-License-Identifier: MIT
// A capture of the simulated network into a file, for a look with Wireshark, and such bytes read back. The
// library only makes the bytes; the file is this side's.
#pragma once
#include "../../lib/link/pcap.h"
#include <stdio.h>
#include <string>
#include <vector>

// Give `&writer` to the capture options. Ends the program when the file cannot be written.
struct PcapFile {
    explicit PcapFile(const std::string &path);
    ~PcapFile();
    PcapFile(const PcapFile &) = delete;
    PcapFile &operator=(const PcapFile &) = delete;

    wx::PcapWriter writer;

private:
    FILE *file;
};

struct PcapPacket {
    wx::Nanos at;
    std::string bytes;
};
// false: not what pcap.h promises, to the last byte.
bool pcap_parse(const std::string &file, std::vector<PcapPacket> *out);
