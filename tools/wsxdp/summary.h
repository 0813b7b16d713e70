// SPDX-License-Identifier: MIT
// The account of a run, for people and for programs.
#pragma once
#include "counts.h"

#include <string>

// ending: why the run ended, in words; code: the close code; exit_code: what the command will return.
struct Ending {
    std::string words;
    unsigned close_code = 0;
    int exit_code = 0;
};

std::string summary_text(const Counts &counts, const Ending &ending);
std::string summary_json(const Counts &counts, const Ending &ending); // one line
