// SPDX-License-Identifier: MIT
// The ring whose slots say themselves that they are filled (SlotLap in lib/ring/spsc.h), step by step in
// every order that two threads can run in and in which their stores can become visible (model.h): nothing is
// read before it was written or after it was overwritten, nothing is lost or doubled, and the position that
// follows behind the laps is never taken for a broken one. With one step left out or moved, the same search
// must find that.
#include "slot_model.h"

using model::Memory;
using model::Program;
using model::Run;

namespace {

struct Laps {
    int capacity = 2, items = 5;
    bool lap_first = false;     // mutant: the lap before the slot
    bool lap_relaxed = false;   // mutant: the lap without release
    bool one_lap = false;       // mutant: a mark that is not another one each time round
    bool release_first = false; // mutant: given back before it was read
    bool one_too_many = false;  // mutant: one slot more than there are
    bool believes = false;      // mutant: look() takes a position behind the own for a broken one

    static constexpr int tail_word = 0, head_word = 1, slot_words = 2;
    int slot(int position) const { return slot_words + position % capacity; }
    int lap(int position) const { return slot_words + capacity + position % capacity; }
    int lap_of(int position) const { return one_lap ? 1 : position / capacity + 1; }

    // r: 0 tail, 1 published_tail, 2 head_seen, 3 whose lap is written next
    bool produce(Run &x, int choice) const {
        uint8_t &tail = x.r(0), &published = x.r(1), &at = x.r(3);
        switch (x.me().pc) {
        case 0: // between two calls
            if (choice == 0 && tail == items && published == tail) return x.end();
            if (choice == 0 && tail < items) return claim(x);
            if (choice != 1 || published == tail) return false;
            at = published; // publish()
            return x.go(2);
        case 1: // what the caller does with the slot that claim() gave
            if (choice != 0 || !x.store(slot(tail), tail + 1)) return false;
            tail++;
            return x.go(0);
        case 2: // publish(): a slot's lap
            if (choice != 0) return false;
            if (lap_relaxed ? !x.store(lap(at), lap_of(at)) : !x.release(lap(at), lap_of(at))) return false;
            return ++at < tail || x.go(3);
        case 3: // publish(): the position
            if (choice != 0) return false;
            published = tail;
            return x.release(tail_word, tail) && x.go(0);
        default: // mutant
            return choice == 0 && x.store(lap(tail), lap_of(tail)) && x.go(1);
        }
    }
    bool claim(Run &x) const {
        return !model::slot_room(x, capacity + one_too_many, head_word, true) || x.go(lap_first ? 4 : 1);
    }
    // r: 0 head, 1 released_head, 2 tail_seen
    bool consume(Run &x, int choice) const {
        uint8_t &head = x.r(0), &released = x.r(1), &tail_seen = x.r(2);
        switch (x.me().pc) {
        case 0: // between two calls
            if (choice == 0 && head == items && released == head) return x.end();
            if (choice == 0 && head < items) { // ready()
                if (tail_seen == head && x.load(lap(head)) == lap_of(head)) tail_seen++;
                return tail_seen == head || x.go(release_first ? 3 : 1);
            }
            if (choice == 1 && released != head) { // release()
                released = head;
                return x.release(head_word, head);
            }
            return choice == 2 && head < items && look(x);
        case 1: // checked()
            if (choice != 0) return false;
            x.wrong_if(x.load(lap(head)) != lap_of(head)); // corrupt
            return x.go(2);
        case 2: // what the caller reads; pop()
            if (choice != 0) return false;
            x.wrong_if(x.load(slot(head)) != head + 1);
            head++;
            return x.go(0);
        default: // mutant
            released = static_cast<uint8_t>(head + 1);
            return choice == 0 && x.release(head_word, released) && x.go(2);
        }
    }
    bool look(Run &x) const {
        const int head = x.r(0), released = x.r(1);
        int tail = x.load(tail_word);
        if (!believes && tail < head && head - tail <= capacity) tail = head;
        x.wrong_if(tail < head || tail - released > capacity + one_too_many); // corrupt
        x.r(2) = static_cast<uint8_t>(tail < head ? head : tail);
        return true;
    }
    Program program() const {
        Laps copy = *this;
        return {2, [copy](Run &x, int choice) {
                    return x.self == 0 ? copy.produce(x, choice) : copy.consume(x, choice);
                }};
    }
};

} // namespace

TEST(slots_that_carry_their_lap) {
    for (int capacity : {1, 2, 4}) {
        Laps ring;
        ring.capacity = capacity;
        ring.items = capacity == 4 ? 6 : 5;
        check_good(("laps, capacity " + std::to_string(capacity)).c_str(), ring.program());
    }
}

TEST(laps_mutants) {
    Laps ring;
    (ring = Laps()).lap_first = true;
    check_bad("laps: before the slot", ring.program(), Memory::sc);
    (ring = Laps()).one_lap = true;
    check_bad("laps: the same each time round", ring.program(), Memory::sc);
    (ring = Laps()).release_first = true;
    check_bad("laps: release before read", ring.program(), Memory::sc);
    (ring = Laps()).one_too_many = true;
    check_bad("laps: a slot too many", ring.program(), Memory::sc);
    (ring = Laps()).believes = true;
    check_bad("laps: a position behind is a broken one", ring.program(), Memory::sc);
    (ring = Laps()).lap_relaxed = true;
    check_bad("laps: publish without release", ring.program(), Memory::pso);
}

TESTS("ring: laps, all interleavings")
