// SPDX-License-Identifier: MIT
// From the command line to the library's config.
#pragma once
#include "../../include/wsxdp.h"
#include "arguments.h"

#include <string>

struct Configured {
    wsxdp_config *config = nullptr; // the caller frees it
    std::string mistake;            // a sentence; "" when all is well
    bool insecure = false;          // certificates will not be checked
};

Configured configure(const CatArguments &arguments);
