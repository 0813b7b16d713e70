// SPDX-License-Identifier: MIT
// The XDP program on an interface: loaded, attached by a bpf_link that ends with this process, its tuples and
// counters. Cold: system calls and libbpf's memory. The one file that needs libbpf (and libxdp, for its
// dispatcher).
#pragma once
#include "../../base/status.h"
#include "../../tcp/isn.h"
#include "filter_abi.h"

struct bpf_object;
struct xdp_program;

namespace wx {

enum class XdpAttach : uint8_t { driver, generic };

struct XdpProgramOptions {
    uint32_t ifindex = 0;
    const char *interface = ""; // for sentences
    uint32_t queues = 1;        // places in the map of sockets: highest queue number + 1
    uint32_t tuples = 1024;     // per IP version
    XdpAttach attach = XdpAttach::driver;
    bool nic_timestamps = false; // the variant that is bound to the device; driver only
    bool dispatcher = false;     // beside other programs, by libxdp's dispatcher
};

struct XdpProgram {
    bpf_object *object = nullptr;
    xdp_program *shared = nullptr; // with the dispatcher
    int program_fd = -1;
    int link_fd = -1; // without the dispatcher: the attachment, which ends with its last descriptor
    int sockets_fd = -1;
    int tuples4_fd = -1;
    int tuples6_fd = -1;
    int counters_fd = -1;
    int awaited_fd = -1;
    uint32_t ifindex = 0;
    uint32_t tuples = 0; // per IP version
    XdpAttach attach = XdpAttach::driver;
    bool nic_timestamps = false;
};

// WSXDP_OK, or: E_PERMISSION (the sentence names the capability), E_XDP_OCCUPIED (names the program that is
// there: id, name, mode), E_XDP_MODE (this driver cannot; the MTU is too large for it), E_XDP_INTERFACE,
// E_XDP_PROGRAM (the verifier's last words), E_MEMORY. Afterwards *p is closed.
int xdp_program_open(XdpProgram *p, const XdpProgramOptions &options, ErrorText *error);
// Detaches and gives everything back. Twice is harmless.
void xdp_program_close(XdpProgram *p);
// Packets of this queue go to this AF_XDP socket; fd -1 takes it out.
int xdp_program_set_socket(XdpProgram *p, uint32_t queue, int fd, ErrorText *error);
// While a socket is missing for a moment: connections' packets without one are dropped and not passed to the
// kernel, which would reset the peer.
void xdp_program_await_socket(XdpProgram *p, bool awaited);
// From now on (until removed) this connection's packets are ours. vlan: FILTER_NO_VLAN for none.
int xdp_program_add(XdpProgram *p, const TcpTuple &tuple, uint16_t vlan, ErrorText *error);
void xdp_program_remove(XdpProgram *p, const TcpTuple &tuple);
bool xdp_program_has(const XdpProgram *p, const TcpTuple &tuple);
// out[FILTER_COUNTERS], summed over CPUs; E_SYSTEM when they cannot be read.
int xdp_program_counters(const XdpProgram *p, uint64_t *out);

// What is attached to the interface now, whoever attached it.
struct XdpPresent {
    uint32_t id = 0; // 0: nothing
    bool generic = false;
    bool offloaded = false;
    char name[32] = {0};
};
// 0, or < 0 with a sentence. Needs no privilege for the id; the name stays empty without CAP_SYS_ADMIN.
int xdp_program_present(uint32_t ifindex, XdpPresent *out, ErrorText *error);

// The programs as they are in this build, for tests with BPF_PROG_TEST_RUN.
ByteView xdp_program_image(bool nic_timestamps);
// Loads without attaching. For the same tests, and for the doctor.
int xdp_program_load(XdpProgram *p, const XdpProgramOptions &options, ErrorText *error);

} // namespace wx
