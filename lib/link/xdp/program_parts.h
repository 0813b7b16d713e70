// SPDX-License-Identifier: MIT
// What the files of the XDP program share: libbpf's words caught instead of printed, and the sentences for
// what several steps can meet.
#pragma once
#include "program.h"

namespace wx {

// libbpf and libxdp print to stderr unless they are told otherwise, which a library must not. While one of
// these lives, what they say in this thread is caught here: the first complaint, and the last lines of the
// verifier's log. Other threads' words go where they went before. One at a time per process, since the
// callback is libbpf's only one; waits for another's.
struct ProgramWords {
    ProgramWords();
    ~ProgramWords();
    ProgramWords(const ProgramWords &) = delete;
    ProgramWords &operator=(const ProgramWords &) = delete;
    // What is best told, empty when nothing was said.
    ByteView said() const;
    // Called back with each message.
    void hear(const char *format, __builtin_va_list arguments);

    char first[256] = {0};
    size_t first_size = 0;
    char log[256] = {0};
    size_t log_size = 0;
};

// What is missing now of what the kernel asks for; "" when nothing is. netlink: the program is attached by
// it.
const char *program_missing_capabilities(bool netlink);
bool program_interface_exists(uint32_t ifindex, uint32_t *mtu);
// begins "xdp: INTERFACE: "
ErrorText &program_sentence(ErrorText *error, int code, int cause, const XdpProgramOptions &options);
// "Not permitted", with the capability.
int program_refused(ErrorText *error, int cause, const XdpProgramOptions &options, const char *what);
// From an opened and loaded object.
int program_take_descriptors(XdpProgram *p);
// Opened, sized, not loaded.
int program_open_object(XdpProgram *p, const XdpProgramOptions &options, const ProgramWords &words,
                        ErrorText *error);
// Why an attachment failed with `cause`.
int program_attach_failed(const XdpProgramOptions &options, int cause, const ProgramWords &words,
                          ErrorText *error);
int program_attach_shared(XdpProgram *p, const XdpProgramOptions &options, ErrorText *error);
void program_detach_shared(XdpProgram *p);

} // namespace wx
