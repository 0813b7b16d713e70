// SPDX-License-Identifier: MIT
// SIGINT, SIGTERM and SIGHUP as a flag that the command's loop looks at.
#pragma once
#include "../../include/wsxdp.h"

// From now on the first signal sets the flag and wakes a waiting wsxdp_poll; the second ends the process
// at once with exit_interrupted. SIGPIPE is ignored: a write says EPIPE instead.
void signals_install();
void signals_wake(wsxdp *handle); // which handle to wake; NULL before it is freed
int signal_received();            // its number, 0 if none came
