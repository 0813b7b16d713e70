// SPDX-License-Identifier: MIT
// The stages of a handle in a process of their own: made as the first message says, fed with connections by
// the ones after it.
#pragma once
#include "../../lib/pipeline/helper.h"
#include "../../lib/pipeline/worker.h"
#include <vector>

namespace wx {

struct Host {
    int control = -1;
    int parent = -1;
    Region region;
    Settings *settings = nullptr; // of the handle
    Stages stages;
    Worker worker;
    struct Guest { // by index
        Settings *settings = nullptr;
        ConnectionArea area;
    };
    std::vector<Guest> guests;
    bool broken = false; // what came makes no sense: not worth going on
};

// Whether this process has the other end of the socket between nic and transport.
inline bool has_peer(const StageStart &start) {
    return placement_nic(start.placement) < start.placement.count &&
           (start.placement.places[start.place].stages & (stage_nic | stage_transport)) != 0;
}
// Everything up to readiness; the descriptors are the host's from now on. With success `error` may hold a
// notice. E_INVALID, E_REGION, E_MEMORY, E_SYSTEM and what the transport needs, with a sentence.
int host_open(Host *host, const StageStart &start, const int *fds, ErrorText *error);
// The name of a program that was killed is not left behind.
void host_sweep(const Host *host);
void host_close(Host *host);

} // namespace wx
