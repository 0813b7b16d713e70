// SPDX-License-Identifier: MIT
// What a stage's process keeps of what it could do.
#pragma once
#include "../../lib/pipeline/options.h"

// A sanitizer's runtime makes calls that no stage makes (personality, a fork to look for leaks): such a build
// drops its capabilities and has no filter.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WSXDP_STAGE_FILTER 0
#else
#define WSXDP_STAGE_FILTER 1
#endif

namespace wx {

// What this process does: `whole` all that the transport does or its nic alone, `transport` without the nic,
// `frames` neither of them.
enum class SandboxRole { whole, transport, frames };

// Bits of the capabilities that stages with these options use while they run.
uint64_t sandbox_capabilities(const Options &options, SandboxRole role = SandboxRole::whole);
// For good, and for every thread from here on: no privilege can be gained, the capabilities above are all
// that is left of those that there were, and only the system calls of such a stage are let through. To be
// called while there is one thread. E_SYSTEM with a sentence.
int sandbox_enter(const Options &options, ErrorText *error, SandboxRole role = SandboxRole::whole);

} // namespace wx
