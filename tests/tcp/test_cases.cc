// SPDX-License-Identifier: MIT
// Runs every script of tests/tcp/cases as a test of its own: `script`'s first line `case NAME` begins one. An
// argument runs only the cases whose "file: name" contains it, with every packet printed.
#include "../base/check.h"
#include "script.h"
#include <stdio.h>
#include <stdlib.h>

static void run(void **state) {
    const script::Case *test = static_cast<const script::Case *>(*state);
    try {
        script::run_case(*test);
    } catch (const script::Failure &failure) {
        fail_msg("%s", failure.what());
    }
}

int main(int argc, char **argv) {
    std::vector<script::Case> cases;
    try {
        cases = script::read_cases("tests/tcp/cases");
    } catch (const script::Failure &failure) {
        fprintf(stderr, "%s\n", failure.what());
        return 1;
    }
    if (argc > 1) setenv("TRACE", "1", 1);
    std::vector<std::string> names;
    for (const script::Case &test : cases) names.push_back(test.file + ": " + test.name);
    std::vector<CMUnitTest> tests;
    for (size_t i = 0; i < cases.size(); i++) {
        if (argc > 1 && names[i].find(argv[1]) == std::string::npos) continue;
        tests.push_back(CMUnitTest{names[i].c_str(), run, nullptr, nullptr, &cases[i]});
    }
    return _cmocka_run_group_tests("tcp cases", tests.data(), tests.size(), nullptr, nullptr);
}
