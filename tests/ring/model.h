// SPDX-License-Identifier: MIT
// All interleavings of small programs on shared words: the programs of tests/ring/test_model.cc run on it. A
// program is a function that takes one step of one thread; a step touches the shared memory once. Between any
// two steps any other thread may run, and any store that is still in a thread's buffer may become visible.
//
// Three memories: `sc`, every store is seen at once; `tso`, each thread's stores leave its buffer in order
// (x86); `pso`, they leave in any order but for those to one word and for release stores, which leave after
// all before them (the stores of aarch64). Loads are in order in all three: what an acquire load adds over a
// relaxed one is not modelled.
//
// Two things are found: a state that a program calls wrong, and a state from which the end cannot be reached
// any more, whatever the scheduler does. The second is what a lost wake-up is.
#pragma once
#include <algorithm>
#include <functional>
#include <stdint.h>
#include <string.h>
#include <unordered_set>
#include <vector>

namespace model {

enum class Memory { sc, tso, pso };
constexpr int threads_max = 3, words_max = 10, buffer_max = 6, registers = 8, choices_max = 3;

struct Store {
    uint8_t address, value, release;
};
struct Thread {
    uint8_t pc, done, buffered;
    uint8_t r[registers];
    Store buffer[buffer_max];
};
struct State { // bytes only: states are compared and hashed as they lie
    uint8_t word[words_max];
    uint8_t kernel[2]; // what a program's system calls keep
    uint8_t wrong;
    Thread thread[threads_max];
};
static_assert(alignof(State) == 1, "no padding");

// One thread's view of a state while it takes a step. What returns false cannot be done now.
struct Run {
    State s;
    int self;
    Memory memory;

    Thread &me() { return s.thread[self]; }
    uint8_t &r(int i) { return me().r[i]; }
    uint8_t load(int address) {
        for (int i = me().buffered; i-- > 0;)
            if (me().buffer[i].address == address) return me().buffer[i].value;
        return s.word[address];
    }
    bool store(int address, int value, bool release = false) {
        if (memory == Memory::sc) {
            s.word[address] = static_cast<uint8_t>(value);
            return true;
        }
        if (me().buffered == buffer_max) return false;
        me().buffer[me().buffered++] = {static_cast<uint8_t>(address), static_cast<uint8_t>(value), release};
        return true;
    }
    bool release(int address, int value) { return store(address, value, true); }
    // A full fence, a locked instruction or a system call: only with an empty buffer.
    bool fenced() { return me().buffered == 0; }
    bool go(int pc) {
        me().pc = static_cast<uint8_t>(pc);
        return true;
    }
    bool end() {
        me().done = 1;
        return true;
    }
    void wrong_if(bool condition) { s.wrong |= condition; }
};

inline void flush(State *s, int thread, int at) {
    Thread &t = s->thread[thread];
    s->word[t.buffer[at].address] = t.buffer[at].value;
    for (int i = at; i + 1 < t.buffered; i++) t.buffer[i] = t.buffer[i + 1];
    t.buffer[--t.buffered] = Store();
}
inline void flush_all(State *s, int thread) {
    while (s->thread[thread].buffered) flush(s, thread, 0);
}

inline bool may_leave(const Thread &t, int at, Memory memory) {
    if (at == 0) return true;
    if (memory != Memory::pso || t.buffer[at].release) return false;
    for (int i = 0; i < at; i++)
        if (t.buffer[i].address == t.buffer[at].address) return false;
    return true;
}

struct Program {
    int threads;
    // Takes step number `choice` of those that the thread run.self may take now; false: there is none.
    std::function<bool(Run &run, int choice)> step;
    State start = State();
};

struct Result {
    size_t states = 0, moves = 0, ends = 0;
    bool wrong = false;    // some state is wrong
    bool stuck = false;    // some state leads to no end
    bool too_many = false; // not all was looked at: proves nothing
    bool good() const { return !wrong && !stuck && !too_many && ends > 0; }
    bool bad() const { return !too_many && (wrong || stuck); }
};

class Explorer {
public:
    Explorer(const Program &program, Memory memory) : program_(program), memory_(memory) {}

    Result run() {
        find(program_.start);
        for (uint32_t at = 0; at < states_.size() && !result_.wrong && !result_.too_many; at++) {
            expand(at);
            result_.wrong |= states_[at].wrong != 0;
            result_.too_many |= states_.size() > states_max;
        }
        result_.states = states_.size();
        result_.moves = from_.size();
        if (!result_.wrong && !result_.too_many) result_.stuck = !all_reach_the_end();
        return result_;
    }

private:
    static constexpr size_t states_max = 4000000;
    struct Hash {
        const std::vector<State> *states;
        size_t operator()(uint32_t at) const {
            const uint8_t *bytes = reinterpret_cast<const uint8_t *>(&(*states)[at]);
            uint64_t hash = 0xcbf29ce484222325u; // FNV-1a, eight bytes at a time
            size_t i = 0;
            for (uint64_t piece; i + 8 <= sizeof(State); i += 8) {
                memcpy(&piece, bytes + i, 8);
                hash = (hash ^ piece) * 0x9E3779B97F4A7C15u;
                hash ^= hash >> 29;
            }
            for (; i < sizeof(State); i++) hash = (hash ^ bytes[i]) * 0x100000001b3u;
            return hash ^ hash >> 32;
        }
    };
    struct Same {
        const std::vector<State> *states;
        bool operator()(uint32_t a, uint32_t b) const {
            return memcmp(&(*states)[a], &(*states)[b], sizeof(State)) == 0;
        }
    };

    uint32_t find(const State &state) {
        states_.push_back(state);
        auto place = known_.insert(static_cast<uint32_t>(states_.size() - 1));
        if (!place.second) states_.pop_back();
        return *place.first;
    }
    void add(uint32_t from, const State &next) {
        uint32_t to = find(next);
        if (to == from) return; // waiting in place is no move
        from_.push_back(from);
        to_.push_back(to);
    }
    void expand(uint32_t at) {
        for (int thread = 0; thread < program_.threads; thread++) {
            Run run = {states_[at], thread, memory_};
            for (int i = 0; i < run.me().buffered; i++) {
                if (!may_leave(run.me(), i, memory_)) continue;
                State next = run.s;
                flush(&next, thread, i);
                add(at, next);
            }
            if (run.me().done) continue;
            for (int choice = 0; choice < choices_max; choice++) {
                Run next = run;
                if (program_.step(next, choice)) add(at, next.s);
            }
        }
    }
    bool ended(const State &state) const {
        for (int i = 0; i < program_.threads; i++)
            if (!state.thread[i].done || state.thread[i].buffered) return false;
        return true;
    }
    // Backwards from the ends, over all moves, sorted by where they lead.
    bool all_reach_the_end() {
        std::vector<uint32_t> first(states_.size() + 1), sources(from_.size()), todo;
        for (uint32_t to : to_) first[to + 1]++;
        for (size_t i = 0; i < states_.size(); i++) first[i + 1] += first[i];
        std::vector<uint32_t> fill(first.begin(), first.end() - 1);
        for (size_t i = 0; i < from_.size(); i++) sources[fill[to_[i]]++] = from_[i];
        std::vector<bool> reaches(states_.size());
        for (uint32_t i = 0; i < states_.size(); i++) {
            if (!ended(states_[i])) continue;
            reaches[i] = true;
            todo.push_back(i);
        }
        result_.ends = todo.size();
        size_t count = todo.size();
        while (!todo.empty()) {
            uint32_t at = todo.back();
            todo.pop_back();
            for (uint32_t i = first[at]; i < first[at + 1]; i++) {
                if (reaches[sources[i]]) continue;
                reaches[sources[i]] = true;
                todo.push_back(sources[i]);
                count++;
            }
        }
        return count == states_.size();
    }

    const Program &program_;
    Memory memory_;
    Result result_;
    std::vector<State> states_;
    std::unordered_set<uint32_t, Hash, Same> known_{1024, Hash{&states_}, Same{&states_}};
    std::vector<uint32_t> from_, to_;
};

inline Result explore(const Program &program, Memory memory) { return Explorer(program, memory).run(); }

} // namespace model
