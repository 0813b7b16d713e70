// SPDX-License-Identifier: MIT
// What the models of rings have in common: the search in each of the three memories, with what must come of
// it, and the producer's look for room.
#pragma once
#include "../base/registry.h"
#include "model.h"

namespace model {

constexpr Memory memories[] = {Memory::sc, Memory::tso, Memory::pso};
const char *const names[] = {"sc", "tso", "pso"};

inline Result look(const char *what, const Program &program, Memory memory) {
    Result result = model::explore(program, memory);
    print_message("%-44s %-3s %8zu states %9zu moves%s%s\n", what, names[static_cast<int>(memory)],
                  result.states, result.moves, result.wrong ? ", wrong" : "", result.stuck ? ", stuck" : "");
    assert_false(result.too_many);
    return result;
}

inline void check_good(const char *what, const Program &program) {
    for (Memory memory : memories)
        if (!look(what, program, memory).good())
            fail_msg("%s fails under %s", what, names[static_cast<int>(memory)]);
}

// Found from memory model `first` on; in the stronger ones it is right, or the model would find what is not
// there.
inline void check_bad(const char *what, const Program &program, Memory first) {
    for (Memory memory : memories) {
        Result result = look(what, program, memory);
        bool wanted = memory >= first;
        if (wanted ? !result.bad() : !result.good())
            fail_msg("%s: %s under %s", what, wanted ? "not found" : "fails",
                     names[static_cast<int>(memory)]);
    }
}

// RingProducer::room(): the shared word is read only when the private copy says full. The thread's registers:
// 0 tail, 1 published_tail, 2 head_seen.
inline bool slot_room(Run &x, int capacity, int head_word, bool reads) {
    uint8_t &tail = x.r(0), &published = x.r(1), &head_seen = x.r(2);
    if (capacity - (tail - head_seen) < 1 && reads) {
        uint8_t head = x.load(head_word);
        x.wrong_if(head - head_seen > published - head_seen || head < head_seen); // corrupt
        head_seen = head;
    }
    return capacity - (tail - head_seen) >= 1;
}

} // namespace model
