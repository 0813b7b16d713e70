// SPDX-License-Identifier: MIT
// getrandom(2) in blocks, and a fixed generator for simulations. Never seeds anything of its own: the
// kernel's generator is the CSPRNG, the block only saves system calls.
#include "random.h"
#include "../../include/wsxdp.h"
#include <errno.h>
#include <string.h>
#include <sys/random.h>

namespace wx {

static bool refill(uint8_t *out, size_t bytes) {
    size_t done = 0;
    while (done < bytes) {
        ssize_t got = getrandom(out + done, bytes - done, 0);
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) return false;
        done += static_cast<size_t>(got);
    }
    return true;
}

static void system_fill(RandomSource *self, uint8_t *out, size_t bytes) {
    SystemRandom *random = static_cast<SystemRandom *>(self);
    while (bytes != 0) {
        if (random->used == SystemRandom::block_bytes) {
            if (!refill(random->block, SystemRandom::block_bytes)) {
                random->failed = true;
                memset(random->block, 0, SystemRandom::block_bytes);
            }
            random->used = 0;
        }
        size_t count = SystemRandom::block_bytes - random->used;
        if (count > bytes) count = bytes;
        memcpy(out, random->block + random->used, count);
        memset(random->block + random->used, 0, count); // what was handed out is in no core dump
        random->used += count;
        out += count;
        bytes -= count;
    }
}

int system_random_open(SystemRandom *random) {
    random->fill = system_fill;
    random->used = 0;
    return refill(random->block, SystemRandom::block_bytes) ? WSXDP_OK : WSXDP_E_SYSTEM;
}

static void fixed_fill(RandomSource *self, uint8_t *out, size_t bytes) {
    FixedRandom *random = static_cast<FixedRandom *>(self);
    for (size_t i = 0; i < bytes; i++) {
        random->state ^= random->state >> 12;
        random->state ^= random->state << 25;
        random->state ^= random->state >> 27;
        out[i] = static_cast<uint8_t>((random->state * 0x2545F4914F6CDD1DULL) >> 56);
    }
}

void fixed_random_open(FixedRandom *random, uint64_t seed) {
    random->fill = fixed_fill;
    random->state = seed ? seed : 1; // xorshift has a fixed point at 0
}

uint32_t random_u32(RandomSource *random) {
    uint32_t value;
    random->fill(random, reinterpret_cast<uint8_t *>(&value), sizeof value);
    return value;
}

uint64_t random_below(RandomSource *random, uint64_t bound) {
    if (bound == 0) return 0;
    uint64_t limit = UINT64_MAX - UINT64_MAX % bound; // values above would favour small results
    for (;;) {
        uint64_t value;
        random->fill(random, reinterpret_cast<uint8_t *>(&value), sizeof value);
        if (value < limit) return value % bound;
    }
}

} // namespace wx
