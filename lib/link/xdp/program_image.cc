// SPDX-License-Identifier: MIT
// The two XDP programs as they were compiled (bpf/filter.bpf.c), inside the library: nothing has to be found
// on a disk when it is opened. The assembler takes the files from the directory that the Makefile names, and
// the names stay inside.
#include "program.h"

#define EMBED(name, file)                                                                                    \
    __asm__(".pushsection .rodata.wsxdp_" #name ",\"a\",@progbits\n"                                         \
            ".balign 8\n"                                                                                    \
            ".globl wsxdp_" #name "\n.hidden wsxdp_" #name "\n.type wsxdp_" #name ", @object\n"              \
            "wsxdp_" #name ":\n.incbin \"" file "\"\n"                                                       \
            ".size wsxdp_" #name ", . - wsxdp_" #name "\n"                                                   \
            ".globl wsxdp_" #name "_end\n.hidden wsxdp_" #name "_end\nwsxdp_" #name "_end:\n.byte 0\n"       \
            ".popsection\n");                                                                                \
    extern "C" __attribute__((visibility("hidden"))) const uint8_t wsxdp_##name[], wsxdp_##name##_end[];

EMBED(filter, "filter.o")
EMBED(filter_stamps, "filter_stamps.o")

namespace wx {

ByteView xdp_program_image(bool nic_timestamps) {
    const uint8_t *begin = nic_timestamps ? wsxdp_filter_stamps : wsxdp_filter;
    const uint8_t *end = nic_timestamps ? wsxdp_filter_stamps_end : wsxdp_filter_end;
    return ByteView(begin, static_cast<size_t>(end - begin));
}

} // namespace wx
