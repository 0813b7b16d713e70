// SPDX-License-Identifier: MIT
// An interface taken for AF_XDP: the XDP program, the memory, and a socket on each queue that is ours. Finds
// the best mode that is to be had, says which and why not a better one, and puts everything back.
#pragma once
#include "../../base/clock.h"
#include "program.h"
#include "steering.h"
#include "xsk.h"

namespace wx {

enum class NicModeChoice : uint8_t { automatic, zero_copy, driver, generic }; // as the option's choices
enum class NicMode : uint8_t { none, zero_copy, driver, generic };
const char *nic_mode_text(NicMode mode); // "zero-copy", "driver", "generic"

// A socket on each is tried up to here; larger NICs are told to use fewer or one.
constexpr uint32_t nic_queues_max = 64;
constexpr int64_t nic_every_queue = -1;

struct NicOptions {
    uint32_t ifindex = 0;
    char interface[16] = {0};
    NicModeChoice mode = NicModeChoice::automatic;
    int64_t queue = nic_every_queue;
    UmemOptions umem;
    uint32_t ring_slots = 2048;
    uint32_t tuples = 1024; // connections at once, those in TIME-WAIT included
    bool nic_timestamps = false;
    bool dispatcher = false;
    bool busy_poll = false;
    uint32_t busy_poll_us = 20;
    uint32_t busy_poll_budget = 64;
    Nanos trickle = 0; // from one frame to ourselves to the next; 0: none
    // -- facts of the interface, from lib/host
    uint32_t queues = 1; // that receive
    RssTable rss;        // memory of the caller's, kept as long as the nic
    bool toeplitz = false;
    bool ports_hashed4 = false;
    bool ports_hashed6 = false;
    Steering steering = Steering::refused; // as nic_steer has chosen; refused: nobody has asked it yet
    char warning[256] = {0}; // a sentence for whoever opens it; empty: none
};

struct XdpNic {
    NicMode mode = NicMode::none;
    Steering steering = Steering::refused;
    NicOptions options;
    XdpProgram program;
    Umem umem;
    Xsk *sockets = nullptr;
    uint32_t socket_count = 0;
    Nanos first_try = 0;     // of a queue that its last owner has not given back yet
    char ladder[320] = {0};  // why no better mode: one sentence, empty when it is the best
};

// 1: open. 0: a queue is still being given back; call again after nic_retry_distance. < 0: as
// xdp_program_open and xsk_open say; everything is closed. Nothing waits.
constexpr Nanos nic_retry_distance = 2 * ns_per_ms;
constexpr Nanos nic_retry_limit = ns_per_s; // it has been seen to take about 16 ms
int nic_open(XdpNic *nic, const NicOptions &options, Nanos now, ErrorText *error);
void nic_close(XdpNic *nic);
// Checks the queues and sets nic->steering: what of nic_open needs the interface's facts alone. E_XDP_QUEUES.
int nic_steer(XdpNic *nic, const NicOptions &options, ErrorText *error);
// The slowest NIC sends its whole ring in less: a socket that completes nothing for so long is made anew.
constexpr Nanos nic_completion_limit = ns_per_s;
struct NicProgress {
    uint64_t completed = 0; // as last looked at
    Nanos since = 0;        // nothing was completed, though something is under way
    bool stopped = false;   // to be opened again
    Nanos stopped_at = 0;
};
// A look at it, after completions were taken: true when it is to be made anew, or still is.
bool nic_socket_stands(Xsk *socket, NicProgress *progress, Nanos now);
// Ends a socket that another will take the place of: until then what is received for it is dropped.
void nic_stop(XdpNic *nic, uint32_t index);
// A new socket in the place of one that was stopped. E_AGAIN: later; otherwise as nic_open.
int nic_reopen(XdpNic *nic, uint32_t index, ErrorText *error);
// Whether packets of a connection from this port come to a socket of ours.
bool nic_steers(const XdpNic *nic, const TcpTuple &tuple);

} // namespace wx
