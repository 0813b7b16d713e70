// SPDX-License-Identifier: MIT
// Our own TCP as a link: connections of a SimHost, which is LinkOptions::context. There is no descriptor, and
// nothing moves by itself. The order of a step: the network runs, sim_host_step(now), the engine polls
// without waiting, sim_host_step(now) again, which sends what was written.
#pragma once
#include "link.h"
#include "sim_host.h"

namespace wx {

extern const LinkBackend sim_link;

} // namespace wx
