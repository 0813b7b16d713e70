// SPDX-License-Identifier: MIT
// `wsxdp options` and `wsxdp version`: what this build of the library offers.
#pragma once
#include "arguments.h"

#include <string>
#include <vector>

std::vector<std::string> option_names();
int run_options(const OptionsArguments &arguments);
int run_version(bool json);
