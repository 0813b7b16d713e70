// SPDX-License-Identifier: MIT
#pragma once
#include "arguments.h"

// `wsxdp cat`: runs until the end that the arguments ask for, and returns the exit status.
int run_cat(const CatArguments &arguments);
