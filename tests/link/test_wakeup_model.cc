// SPDX-License-Identifier: MIT
// The wake-up protocol of lib/pipeline/inline.cc and lib/link/poller.cc as a small machine, explored in every
// interleaving, with the store buffers of x86 (TSO): what a thread stores may reach the others late, but in
// order; an exchange and a system call empty the buffer first. Shown: nobody sleeps over a ring, and once all
// is quiet nobody spins. Each rule of the protocol is then left out, and the machine must find the harm: a
// model that cannot fail proves nothing.
#include <algorithm>
#include <unordered_set>
#include <vector>

#include "../base/check.h"

namespace {

enum Var : uint8_t { doorbell, sleeping, signalled, due, answered, own_count, foreign_count, variables };
enum class Op : uint8_t {
    load,
    store,
    exchange,
    write_own,
    write_foreign,
    read_fd,
    wait_fd,
    jump,
    if_zero,
    if_set,
    if_one,
    stop
};

struct Instruction {
    Op op;
    uint8_t var = 0;
    uint8_t value = 0;
    uint8_t target = 0;
};

// Which rule is left out.
enum class Leave {
    nothing,
    ring_order,      // the ring is a plain store: it may come after the look at `sleeping`
    sleep_order,     // so is the announcement of sleep
    look_after,      // the sleeper looks at the doorbell before it announces itself, not after
    flag_until_read, // the flag is lowered although nothing could be read yet
    foreign_due,     // signals of those who do not know the flag are not expected
    clear_first,     // causes are looked at before the signal is cleared, not after
};

struct Program {
    std::vector<Instruction> code;

    uint8_t here() const { return static_cast<uint8_t>(code.size()); }
    size_t add(Op op, uint8_t var = 0, uint8_t value = 0) {
        code.push_back({op, var, value, 0});
        return code.size() - 1;
    }
    void to_here(std::initializer_list<size_t> jumps) {
        for (size_t at : jumps) code[at].target = here();
    }
};

void poller_signal(Program *p) {
    p->add(Op::exchange, signalled, 1);
    size_t is_set = p->add(Op::if_set);
    p->add(Op::write_own);
    p->to_here({is_set});
}

void poller_clear(Program *p, Leave leave) {
    p->add(Op::load, signalled);
    size_t is_set = p->add(Op::if_set);
    p->add(Op::load, due);
    size_t none = p->add(Op::if_zero);
    p->to_here({is_set});
    p->add(Op::read_fd);
    if (leave == Leave::flag_until_read) {
        p->add(Op::exchange, signalled, 0);
        p->to_here({none});
        return;
    }
    size_t nothing = p->add(Op::if_zero), foreign_only = p->add(Op::if_one);
    p->add(Op::exchange, signalled, 0);
    p->to_here({none, nothing, foreign_only});
}

// engine_ring, so many times.
Program waker(int rings, Leave leave) {
    Program p;
    for (int i = 0; i < rings; i++) {
        p.add(leave == Leave::ring_order ? Op::store : Op::exchange, doorbell, 1);
        p.add(Op::load, sleeping);
        size_t awake = p.add(Op::if_zero);
        poller_signal(&p);
        p.to_here({awake});
    }
    p.add(Op::stop);
    return p;
}

// The resolver's thread.
Program resolver() {
    Program p;
    p.add(Op::store, answered, 1);
    p.add(Op::write_foreign);
    p.add(Op::stop);
    return p;
}

void look(Program *p, Var what) {
    p->add(Op::load, what);
    size_t none = p->add(Op::if_zero);
    p->add(Op::exchange, what, 0);
    p->to_here({none});
}

// run_until_event with sleep_until in it.
Program sleeper(Leave leave) {
    Program p;
    size_t early = 0;
    if (leave == Leave::look_after) {
        p.add(Op::load, doorbell);
        early = p.add(Op::if_set);
    }
    p.add(leave == Leave::sleep_order ? Op::store : Op::exchange, sleeping, 1);
    if (leave != Leave::look_after) {
        p.add(Op::load, doorbell);
        early = p.add(Op::if_set);
    }
    p.add(Op::wait_fd);
    p.to_here({early});
    p.add(Op::store, sleeping, 0);
    if (leave == Leave::clear_first) look(&p, doorbell);
    poller_clear(&p, leave);
    look(&p, answered);
    if (leave != Leave::clear_first) look(&p, doorbell);
    p.add(Op::jump);
    return p;
}

// A host that waits on the descriptor itself: wsxdp_poll(0), engine_prepare_fd, wait.
Program host(Leave leave) {
    Program p;
    if (leave == Leave::clear_first) look(&p, doorbell);
    poller_clear(&p, leave);
    look(&p, answered);
    if (leave != Leave::clear_first && leave != Leave::look_after) look(&p, doorbell);
    if (leave == Leave::look_after) {
        look(&p, doorbell);
        p.add(Op::exchange, sleeping, 1);
    } else {
        p.add(leave == Leave::sleep_order ? Op::store : Op::exchange, sleeping, 1);
        p.add(Op::load, doorbell);
        size_t quiet = p.add(Op::if_zero);
        poller_signal(&p);
        p.to_here({quiet});
    }
    p.add(Op::wait_fd);
    if (leave != Leave::nothing) p.add(Op::store, sleeping, 0); // or the broken orders could only fail once
    p.add(Op::jump);
    return p;
}

// ---- the machine ----

constexpr size_t threads_max = 4, buffer_max = 3;

struct Thread {
    uint8_t at = 0;
    uint8_t result = 0;
    uint8_t buffered = 0;
    uint8_t buffer[buffer_max] = {0}; // var << 4 | value, oldest first
};

struct State {
    uint8_t memory[variables] = {0};
    Thread threads[threads_max];
    std::string key() const { return std::string(reinterpret_cast<const char *>(this), sizeof *this); }
};
static_assert(sizeof(State) == variables + threads_max * sizeof(Thread), "no padding in the key");

void flush_one(State *s, Thread *t) {
    s->memory[t->buffer[0] >> 4] = t->buffer[0] & 15;
    std::copy(t->buffer + 1, t->buffer + buffer_max, t->buffer);
    t->buffer[buffer_max - 1] = 0;
    t->buffered--;
}

uint8_t read_var(const State &s, const Thread &t, uint8_t var) {
    for (size_t i = t.buffered; i > 0; i--)
        if (t.buffer[i - 1] >> 4 == var) return t.buffer[i - 1] & 15;
    return s.memory[var];
}

void read_descriptor(State *s, Thread *t) {
    uint8_t *m = s->memory;
    t->result = m[own_count] ? 2 : m[foreign_count] ? 1 : 0;
    m[due] = static_cast<uint8_t>(m[due] - std::min(m[due], m[foreign_count]));
    m[own_count] = m[foreign_count] = 0;
}

bool needs_empty_buffer(Op op) {
    return op == Op::exchange || op == Op::write_own || op == Op::write_foreign || op == Op::read_fd ||
           op == Op::wait_fd;
}

// One instruction of a thread; false when it cannot go on now.
bool step(State *s, Thread *t, const Program &p) {
    const Instruction &i = p.code[t->at];
    uint8_t *m = s->memory;
    if (i.op == Op::stop || (needs_empty_buffer(i.op) && t->buffered)) return false;
    if (i.op == Op::wait_fd && m[own_count] + m[foreign_count] == 0) return false;
    if (i.op == Op::store && t->buffered == buffer_max) return false;
    uint8_t next = static_cast<uint8_t>(t->at + 1);
    switch (i.op) {
    case Op::load:
        t->result = read_var(*s, *t, i.var);
        break;
    case Op::store:
        t->buffer[t->buffered++] = static_cast<uint8_t>(i.var << 4 | i.value);
        break;
    case Op::exchange:
        t->result = m[i.var];
        m[i.var] = i.value;
        break;
    case Op::write_own:
        m[own_count]++;
        break;
    case Op::write_foreign:
        m[foreign_count]++;
        break;
    case Op::read_fd:
        read_descriptor(s, t);
        break;
    case Op::jump:
        next = i.target;
        break;
    case Op::if_zero:
        if (t->result == 0) next = i.target;
        break;
    case Op::if_set:
        if (t->result != 0) next = i.target;
        break;
    case Op::if_one:
        if (t->result == 1) next = i.target;
        break;
    default:
        break;
    }
    t->at = next;
    return true;
}

struct Found {
    bool lost = false;  // asleep, although something was rung
    bool spins = false; // awake for ever, although nothing is left
    size_t states = 0;
};

bool finished(const State &s, const std::vector<Program> &programs) {
    for (size_t i = 1; i < programs.size(); i++)
        if (programs[i].code[s.threads[i].at].op != Op::stop || s.threads[i].buffered) return false;
    return true;
}

// The owner alone, when all others are done: must come to rest with nothing left.
void run_owner(State s, const Program &owner, Found *found) {
    Thread *t = &s.threads[0];
    for (int i = 0; i < 400; i++) {
        while (t->buffered) flush_one(&s, t);
        if (step(&s, t, owner)) continue;
        found->lost |= s.memory[doorbell] != 0 || s.memory[answered] != 0;
        return;
    }
    found->spins = true;
}

Found explore(const std::vector<Program> &programs, uint8_t foreign_due) {
    Found found;
    State first;
    first.memory[due] = foreign_due;
    std::unordered_set<std::string> seen{first.key()};
    std::vector<State> open{first};
    auto reach = [&](const State &s) {
        if (seen.insert(s.key()).second) open.push_back(s);
    };
    while (!open.empty()) {
        State s = open.back();
        open.pop_back();
        if (finished(s, programs)) {
            run_owner(s, programs[0], &found);
            continue;
        }
        for (size_t i = 0; i < programs.size(); i++) {
            State next = s;
            if (next.threads[i].buffered) {
                flush_one(&next, &next.threads[i]);
                reach(next);
            }
            next = s;
            if (step(&next, &next.threads[i], programs[i])) reach(next);
        }
    }
    found.states = seen.size();
    return found;
}

Found explore_all(bool by_host, Leave leave) {
    Program owner = by_host ? host(leave) : sleeper(leave);
    return explore({owner, waker(2, leave), waker(1, leave), resolver()},
                   leave == Leave::foreign_due ? 0 : 1);
}

void test_nothing_lost(void **) {
    for (bool by_host : {false, true}) {
        Found found = explore_all(by_host, Leave::nothing);
        assert_false(found.lost);
        assert_false(found.spins);
        assert_true(found.states > 1000);
        print_message("%s: %zu states\n", by_host ? "host's loop" : "poll", found.states);
    }
}

void test_each_rule_is_needed(void **) {
    for (bool by_host : {false, true}) {
        assert_true(explore_all(by_host, Leave::ring_order).lost);
        assert_true(explore_all(by_host, Leave::sleep_order).lost);
        assert_true(explore_all(by_host, Leave::look_after).lost);
        assert_true(explore_all(by_host, Leave::flag_until_read).spins);
        assert_true(explore_all(by_host, Leave::foreign_due).spins);
    }
    // The sleeper looks at the doorbell once more before it sleeps, so there the order is not all that holds.
    assert_false(explore_all(false, Leave::clear_first).lost);
}

} // namespace

int main() {
    const CMUnitTest tests[] = {cmocka_unit_test(test_nothing_lost),
                                cmocka_unit_test(test_each_rule_is_needed)};
    return cmocka_run_group_tests_name("link: wake-up model", tests, nullptr, nullptr);
}
