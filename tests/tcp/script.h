// SPDX-License-Identifier: MIT
// Scripts against one connection in virtual time: a line is a segment from the peer, a segment that is
// expected, a call of the user or a look at the state. The language is described in cases/README.md.
#pragma once
#include "../../lib/link/sim_host.h"
#include "../../lib/tcp/parts.h"
#include <deque>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

namespace script {

struct Line {
    int number;
    std::vector<std::string> words;
};
struct Case {
    std::string file, name;
    std::vector<Line> lines;
};

struct Failure : std::runtime_error {
    using std::runtime_error::runtime_error;
};

std::vector<Case> read_cases(const std::string &folder); // throws Failure for what is no script
// Throws Failure that names file, line and what was wanted and seen.
void run_case(const Case &test);

} // namespace script
