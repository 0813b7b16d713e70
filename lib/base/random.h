// SPDX-License-Identifier: MIT
// Random bytes as something a core is handed. The real source is getrandom(2), read in blocks so that a
// mask per message costs a copy and not a system call; tests hand in a fixed sequence.
#pragma once
#include <stddef.h>
#include <stdint.h>

namespace wx {

struct RandomSource {
    bool failed = false; // the bytes of some fill were not random: who drew them must not use them
    // Fills out, or fills it with zeros and sets `failed`: a process may forbid itself the system call after
    // open.
    void (*fill)(RandomSource *self, uint8_t *out, size_t bytes) = nullptr;
};

// Bytes already handed out are wiped from the block.
struct SystemRandom : RandomSource {
    static constexpr size_t block_bytes = 4096; // one system call per 1024 masks
    uint8_t block[block_bytes];
    size_t used = block_bytes;
};
int system_random_open(SystemRandom *random); // E_SYSTEM when the kernel has no getrandom

struct FixedRandom : RandomSource { // tests and simulations: xorshift64* from a seed
    uint64_t state = 1;
};
void fixed_random_open(FixedRandom *random, uint64_t seed);

uint32_t random_u32(RandomSource *random);
uint64_t random_below(RandomSource *random, uint64_t bound); // uniform in [0, bound), 0 when bound is 0

} // namespace wx
