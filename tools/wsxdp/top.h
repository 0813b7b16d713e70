// SPDX-License-Identifier: MIT
// `wsxdp top`: handles that have a name, and what goes on in one.
#pragma once
#include "arguments.h"

// 0: shown, or it has ended; 1: it cannot be looked into; 2: there is none of that name.
int run_top(const TopArguments &arguments);
