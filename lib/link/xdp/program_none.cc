// SPDX-License-Identifier: MIT
// The build without libbpf and libxdp (make XDP=none): the same functions, all of which answer E_UNSUPPORTED
// with a sentence that says what to do. Nothing is attached to any interface. Worst case: transport=xdp is
// refused when it is opened.
#include "program.h"

namespace wx {

static int refuse(ErrorText *error) {
    error->begin(WSXDP_E_UNSUPPORTED)
        .add("transport=xdp needs libbpf and libxdp, and this library was built without them (XDP=none). "
             "Install libbpf-dev, libxdp-dev and clang and build it with make XDP=libbpf, or use "
             "transport=socket");
    return WSXDP_E_UNSUPPORTED;
}

int xdp_program_open(XdpProgram *p, const XdpProgramOptions &, ErrorText *error) {
    *p = XdpProgram();
    return refuse(error);
}
int xdp_program_load(XdpProgram *p, const XdpProgramOptions &, ErrorText *error) {
    *p = XdpProgram();
    return refuse(error);
}
void xdp_program_close(XdpProgram *p) { *p = XdpProgram(); }
int xdp_program_set_socket(XdpProgram *, uint32_t, int, ErrorText *error) { return refuse(error); }
int xdp_program_add(XdpProgram *, const TcpTuple &, uint16_t, ErrorText *error) { return refuse(error); }
void xdp_program_remove(XdpProgram *, const TcpTuple &) {}
bool xdp_program_has(const XdpProgram *, const TcpTuple &) { return false; }
void xdp_program_await_socket(XdpProgram *, bool) {}
int xdp_program_counters(const XdpProgram *, uint64_t *out) {
    memset(out, 0, FILTER_COUNTERS * sizeof *out);
    return WSXDP_E_UNSUPPORTED;
}
int xdp_program_present(uint32_t, XdpPresent *out, ErrorText *error) {
    *out = XdpPresent();
    return refuse(error);
}
ByteView xdp_program_image(bool) { return ByteView(); }

} // namespace wx
