// SPDX-License-Identifier: MIT
// Processor features by CPUID, read once. Says no to everything on other processors.
#include "cpu.h"
#include <stddef.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace wx {

#if defined(__x86_64__)
static CpuFeatures detect() {
    CpuFeatures features;
    unsigned a, b, c, d;
    __builtin_cpu_init();
    features.avx2 = __builtin_cpu_supports("avx2"); // also checks that the kernel saves the registers
    if (__get_cpuid(0x80000007, &a, &b, &c, &d)) features.invariant_tsc = (d >> 8 & 1) != 0;
    return features;
}
#else
static CpuFeatures detect() { return CpuFeatures(); }
#endif

// Set before main by one thread; read-only afterwards.
static const CpuFeatures detected = detect();

const CpuFeatures &cpu_features() { return detected; }

} // namespace wx
