// SPDX-License-Identifier: MIT
// The helper `wsxdp-stage`, a process of our own that runs stages: starting it, what it is told, how it ends.
// Both sides' messages are here. They go over one socket, whose end is the end of the other side.
#pragma once
#include "../base/clock.h"
#include "../ipc/passing.h"
#include "options_wire.h"
#include "placement.h"
#include <sys/types.h>

namespace wx {

// The first message, with its descriptors in this order.
struct StageStart {
    // Then the bell of each place, in order, and for nic and transport that are apart the socket between
    // them.
    enum Descriptor { options, region, app_bell, parent, bells, count = bells + places_max + 1 };
    uint64_t magic;
    uint32_t version; // of the library: both must be of one
    uint32_t place;   // which of them this process is
    Placement placement;
};
constexpr uint32_t stage_version = WSXDP_VERSION_MAJOR << 16 | WSXDP_VERSION_MINOR << 8 | WSXDP_VERSION_PATCH;
constexpr uint64_t stage_magic = 0x6567617473787377ULL; // "wsxstage"

// The answer, once the stages are made; of no more after that.
struct StageReply {
    int32_t code; // WSXDP_OK or why not
    int32_t cause;
    uint32_t size; // with WSXDP_OK a notice, or 0
    char text[sizeof ErrorText::text];
};

// Before the command `connect` for that index, with one descriptor: URL and options.
struct StageConnect {
    uint32_t index;
    uint32_t was_open; // in a process before this one
    uint64_t epoch;    // of its last opening
};

// A URL and options in a memfd of their own. 0, or errno.
int bundle_write(ByteView url, const Options *options, int *fd);
// `url` is zero-terminated and the reader's. E_INVALID, E_MEMORY, E_SYSTEM with a sentence.
int bundle_read(int fd, char **url, Options **options, ErrorText *error);

struct HelperProcess {
    pid_t pid = -1;
    int pidfd = -1;       // readable once it has ended
    int control = -1;     // our end of the socket
    bool answers = false; // it owes an answer
};

// Starts the program with signals and descriptors as a fresh process has them. E_STAGE_START, E_DESCRIPTORS,
// E_MEMORY with a sentence. role: what ps shows.
int helper_spawn(const char *path, const char *role, HelperProcess *out, ErrorText *error);
// 1 when it has ended, with how in words; 0 when it runs.
int helper_ended(HelperProcess *helper, ErrorText *how);
// Closes its socket, which it ends by.
void helper_dismiss(HelperProcess *helper);
// Waits up to `patience` for its end after its socket is closed, then kills it. Nothing of it is left.
void helper_end(HelperProcess *helper, Nanos patience);

} // namespace wx
