// SPDX-License-Identifier: MIT
// The file side of captures, and a reader that knows nothing of the writer but the format's specification.
#include "pcap_file.h"
#include <stdlib.h>

namespace {

void write_file(void *context, wx::ByteView bytes) {
    FILE *file = static_cast<FILE *>(context);
    if (fwrite(bytes.data, 1, bytes.size, file) == bytes.size) return;
    perror("writing a capture");
    exit(1);
}

uint32_t number(const std::string &bytes, size_t at, size_t size) { // little-endian
    uint32_t value = 0;
    for (size_t i = size; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
    return value;
}

} // namespace

PcapFile::PcapFile(const std::string &path) : file(fopen(path.c_str(), "wb")) {
    if (file == nullptr) {
        perror(path.c_str());
        exit(1);
    }
    writer.write = write_file;
    writer.context = file;
    wx::pcap_begin(&writer);
}

PcapFile::~PcapFile() { fclose(file); }

bool pcap_parse(const std::string &file, std::vector<PcapPacket> *out) {
    out->clear();
    if (file.size() < 24) return false;
    const bool head = number(file, 0, 4) == 0xA1B23C4D && number(file, 4, 2) == 2 &&
                      number(file, 6, 2) == 4 && number(file, 8, 4) == 0 && number(file, 12, 4) == 0 &&
                      number(file, 20, 4) == 101;
    if (!head) return false;
    const uint32_t snap = number(file, 16, 4);
    size_t at = 24;
    while (file.size() - at >= 16) {
        const uint32_t seconds = number(file, at, 4), nanos = number(file, at + 4, 4);
        const uint32_t kept = number(file, at + 8, 4), size = number(file, at + 12, 4);
        at += 16;
        if (nanos >= 1000000000 || kept > snap || kept > size || kept > file.size() - at) return false;
        out->push_back({wx::Nanos{seconds} * wx::ns_per_s + nanos, file.substr(at, kept)});
        at += kept;
    }
    return at == file.size();
}
