// SPDX-License-Identifier: MIT
// What the processor can do, found at run time: installed code is built for the baseline and dispatches.
#pragma once

namespace wx {

struct CpuFeatures {
    bool avx2 = false;
    bool invariant_tsc = false;
};
const CpuFeatures &cpu_features();

constexpr unsigned cache_line = 64;
constexpr unsigned cache_line_pair = 128; // adjacent-line prefetch makes pairs share

inline void cpu_relax() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

} // namespace wx
