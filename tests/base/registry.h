// SPDX-License-Identifier: MIT
// The registration of tests: TEST(name) { ... } is all that a test needs, TESTS(group) is main.
#pragma once
#include "check.h"
#include <vector>

inline std::vector<CMUnitTest> &registered_tests() {
    static std::vector<CMUnitTest> tests;
    return tests;
}
struct Registration {
    Registration(const char *name, CMUnitTestFunction run) {
        CMUnitTest test = {name, run, nullptr, nullptr, nullptr};
        registered_tests().push_back(test);
    }
};
#define TEST(name)                                                                                           \
    static void name(void **);                                                                               \
    static Registration registration_##name(#name, name);                                                    \
    static void name(void **)
#define TESTS(group)                                                                                         \
    int main() {                                                                                             \
        return _cmocka_run_group_tests(group, registered_tests().data(), registered_tests().size(), nullptr, \
                                       nullptr);                                                             \
    }
