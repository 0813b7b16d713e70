// SPDX-License-Identifier: MIT
// The rings and the bell as small machines, step by step as in lib/ring, in every order that two or three
// threads can run in and in every order in which their stores can become visible (model.h). Nothing is read
// before it was written or after it was overwritten, nothing is lost or doubled, and nobody sleeps for ever
// while something is published for him. Each machine also runs with one step left out or moved, and the same
// search must find that.
#include "slot_model.h"

using model::Memory;
using model::Program;
using model::Run;
using model::State;

namespace {

// ---- RingProducer and RingConsumer (spsc.h) ----

struct Slots {
    int capacity = 2, items = 5;
    bool publish_first = false;   // mutant: the position before the slot
    bool publish_relaxed = false; // mutant: the position without release
    bool release_first = false;   // mutant: given back before it was read
    bool one_too_many = false;    // mutant: one slot more than there are
    bool head_unread = false;     // mutant: the private copy is never renewed

    static constexpr int tail_word = 0, head_word = 1, slot_words = 2;

    // r: 0 tail, 1 published_tail, 2 head_seen
    bool produce(Run &x, int choice) const {
        uint8_t &tail = x.r(0), &published = x.r(1);
        switch (x.me().pc) {
        case 0: // between two calls
            if (choice == 0 && tail == items && published == tail) return x.end();
            if (choice == 0 && tail < items) return claim(x);
            if (choice != 1 || published == tail) return false;
            published = tail; // publish()
            return publish_relaxed ? x.store(tail_word, tail) : x.release(tail_word, tail);
        case 1: // what the caller does with the slot that claim() gave
            if (!x.store(slot_words + tail % capacity, tail + 1)) return false;
            tail++;
            return x.go(0);
        default: // mutant
            published = static_cast<uint8_t>(tail + 1);
            return x.release(tail_word, published) && x.go(1);
        }
    }
    bool claim(Run &x) const {
        return !model::slot_room(x, capacity + one_too_many, head_word, !head_unread) ||
               x.go(publish_first ? 2 : 1);
    }
    // r: 0 head, 1 released_head, 2 tail_seen
    bool consume(Run &x, int choice) const {
        uint8_t &head = x.r(0), &released = x.r(1), &tail_seen = x.r(2);
        switch (x.me().pc) {
        case 0: // between two calls
            if (choice == 0 && head == items && released == head) return x.end();
            if (choice == 0 && head < items) { // ready()
                if (tail_seen == head) {       // look()
                    tail_seen = x.load(tail_word);
                    x.wrong_if(tail_seen - released > capacity + one_too_many || tail_seen < head);
                }
                return tail_seen == head || x.go(release_first ? 2 : 1);
            }
            if (choice != 1 || released == head) return false;
            released = head; // release()
            return x.release(head_word, head);
        case 1: // front() and what the caller reads; pop()
            x.wrong_if(x.load(slot_words + head % capacity) != head + 1);
            head++;
            return x.go(0);
        default: // mutant
            released = static_cast<uint8_t>(head + 1);
            return x.release(head_word, released) && x.go(1);
        }
    }
    Program program() const {
        Slots copy = *this;
        return {2, [copy](Run &x, int choice) {
                    return x.self == 0 ? copy.produce(x, choice) : copy.consume(x, choice);
                }};
    }
};

TEST(slot_ring) {
    for (int capacity : {1, 2, 4}) {
        Slots ring;
        ring.capacity = capacity;
        ring.items = capacity == 4 ? 6 : 5;
        check_good(("slot ring, capacity " + std::to_string(capacity)).c_str(), ring.program());
    }
}

TEST(slot_ring_mutants) {
    Slots ring;
    (ring = Slots()).publish_first = true;
    check_bad("slot ring: publish before write", ring.program(), Memory::sc);
    (ring = Slots()).release_first = true;
    check_bad("slot ring: release before read", ring.program(), Memory::sc);
    (ring = Slots()).one_too_many = true;
    check_bad("slot ring: a slot too many", ring.program(), Memory::sc);
    (ring = Slots()).head_unread = true;
    check_bad("slot ring: head never read again", ring.program(), Memory::sc);
    (ring = Slots()).publish_relaxed = true;
    check_bad("slot ring: publish without release", ring.program(), Memory::pso);
}

// ---- ByteRingProducer and ByteRingConsumer (bytering.h) ----

struct Bytes {
    int capacity = 4, total = 7;
    bool publish_first = false;   // mutant: the tail before the bytes
    bool publish_relaxed = false; // mutant: the tail without release
    bool release_first = false;   // mutant: given back before it was read
    bool rewind_always = false;   // mutant: rewound though bytes are left
    bool skip_late = false;       // mutant: the jump is told after the tail
    bool skip_read_first = false; // mutant: the consumer reads the jump before the tail

    static constexpr int tail_word = 0, head_word = 1, skip_word = 2, cells = 3;

    // r: 0 tail, 1 head_seen, 2 bytes written, 3 size of this message, 4 bytes of it written, 5 jumped
    bool produce(Run &x, int choice) const {
        uint8_t &tail = x.r(0), &head_seen = x.r(1), &written = x.r(2), &size = x.r(3), &at = x.r(4);
        switch (x.me().pc) {
        case 0: { // room()
            if (written == total) return choice == 0 && x.end();
            uint8_t head = x.load(head_word);
            if (head > head_seen) {
                x.wrong_if(head > tail); // corrupt
                head_seen = head;
            }
            int wanted = choice + 1; // messages of one to three bytes
            if (wanted > total - written) return false;
            if (capacity - (tail - head_seen) < wanted) return true;
            size = static_cast<uint8_t>(wanted);
            return x.go(1);
        }
        case 1: // rewind_if_empty()
            if (choice != 0) return false;
            if ((tail != head_seen && !rewind_always) || tail % capacity == 0)
                return x.go(publish_first ? 3 : 2);
            tail = head_seen = static_cast<uint8_t>((tail + capacity - 1) / capacity * capacity);
            x.r(5) = 1;
            return (skip_late || x.store(skip_word, tail)) && x.go(publish_first ? 3 : 2);
        case 2: // at_tail(), and what the caller writes there
            if (choice != 0 ||
                !x.store(cells + (tail - (publish_first ? size : 0) + at) % capacity, written + 1))
                return false;
            written++;
            if (++at < size) return true;
            at = 0;
            return x.go(publish_first ? 0 : 3);
        case 3: // publish()
            if (choice != 0) return false;
            tail = static_cast<uint8_t>(tail + size);
            if (publish_relaxed ? !x.store(tail_word, tail) : !x.release(tail_word, tail)) return false;
            return x.go(publish_first ? 2 : skip_late && x.r(5) ? 4 : 0);
        default: // mutant
            x.r(5) = 0;
            return choice == 0 && x.store(skip_word, tail - size) && x.go(0);
        }
    }
    // r: 0 head, 1 bytes read, 2 tail, 3 skip, 4 size of this take, 5 bytes of it read
    bool consume(Run &x, int choice) const {
        uint8_t &head = x.r(0), &count = x.r(1), &tail = x.r(2), &skip = x.r(3), &size = x.r(4), &at = x.r(5);
        switch (x.me().pc) {
        case 0: // ready(): the two words
            if (choice != 0) return false;
            if (count == total) return x.end();
            (skip_read_first ? skip : tail) = x.load(skip_read_first ? skip_word : tail_word);
            return x.go(1);
        case 1:
            (skip_read_first ? tail : skip) = x.load(skip_read_first ? tail_word : skip_word);
            if (skip > head && skip <= tail) head = skip;
            x.wrong_if(tail - head > capacity || tail < head); // corrupt
            if (tail == head) return x.go(0);
            if (choice >= tail - head) return false;
            size = static_cast<uint8_t>(choice + 1);
            return x.go(release_first ? 3 : 2);
        case 2: // at(), and what the caller reads there
            if (choice != 0) return false;
            x.wrong_if(x.load(cells + (head - (release_first ? size : 0) + at) % capacity) != count + 1);
            count++;
            if (++at < size) return true;
            at = 0;
            return x.go(release_first ? 0 : 3);
        default: // release_to()
            if (choice != 0) return false;
            head = static_cast<uint8_t>(head + size);
            return x.release(head_word, head) && x.go(release_first ? 2 : 0);
        }
    }
    Program program() const {
        Bytes copy = *this;
        return {2, [copy](Run &x, int choice) {
                    return x.self == 0 ? copy.produce(x, choice) : copy.consume(x, choice);
                }};
    }
};

TEST(byte_ring) {
    Bytes ring;
    check_good("byte ring, capacity 4", ring.program());
    ring.capacity = 2;
    check_good("byte ring, capacity 2", ring.program());
}

TEST(byte_ring_mutants) {
    Bytes ring;
    (ring = Bytes()).publish_first = true;
    check_bad("byte ring: publish before write", ring.program(), Memory::sc);
    (ring = Bytes()).release_first = true;
    check_bad("byte ring: release before read", ring.program(), Memory::sc);
    (ring = Bytes()).rewind_always = true;
    check_bad("byte ring: rewound though not empty", ring.program(), Memory::sc);
    (ring = Bytes()).skip_late = true;
    check_bad("byte ring: the jump told after the tail", ring.program(), Memory::sc);
    (ring = Bytes()).skip_read_first = true;
    check_bad("byte ring: the jump read before the tail", ring.program(), Memory::sc);
    (ring = Bytes()).publish_relaxed = true;
    check_bad("byte ring: publish without release", ring.program(), Memory::pso);
}

// ---- BellSleeper and BellRinger (bell.h, bell.cc) ----

// Thread 0 sleeps, the others publish into a ring each (its tail is all that the bell is about) and ring.
struct Bell {
    int ringers = 1, items = 3;
    bool barrier = false;         // BellOrder: membarrier, or fences of the ringers
    bool own_fence = false;       // BellRinger::fences of the ringers
    int spurious = 0;             // sleeps that may end for no reason
    bool timeouts = false;        // any sleep may end
    bool ringer_dies = false;     // thread 1 may end between clearing the word and waking
    int vandal = 0;               // thread 2 writes so many values into the word
    bool no_ringer_fence = false; // mutants
    bool no_sleeper_fence = false;
    bool no_barrier = false;
    bool barrier_first = false; // before the announcement
    bool no_second_look = false;
    bool ring_first = false; // before the position is published
    bool no_compare = false; // the sleep does not look at the word
    bool no_wake = false;    // clears the word only

    static constexpr int word = 0, tails = 1;
    static constexpr int asleep = 1, orders = 2; // bell_asleep, bell_orders
    enum Kernel : uint8_t { nobody, waiting, woken };
    int awake() const { return barrier ? orders : 0; }

    // r: 0 published
    bool ringer(Run &x, int choice) const {
        uint8_t &published = x.r(0);
        switch (x.me().pc) {
        case 0: // a batch of one or two
            if (published == items) return choice == 0 && x.end();
            if (choice > 1 || published + choice >= items) return false;
            published = static_cast<uint8_t>(published + choice + 1);
            return ring_first ? x.go(1) : publish(x) && x.go(1);
        case 1: // ring(): the look without a fence
            if (choice != 0) return false;
            if (!own_fence && x.load(word) == orders) return rung(x);
            return x.go(2);
        case 2: // ring(): the fence
            return choice == 0 && (no_ringer_fence || x.fenced()) && x.go(3);
        case 3: // ring(): the look behind the fence
            if (choice != 0) return false;
            if ((x.load(word) & ~orders) == 0) return rung(x);
            return x.go(4);
        case 4: { // wake(): the locked fetch_and
            if (choice != 0 || !x.fenced()) return false;
            int old = x.s.word[word];
            x.s.word[word] &= orders;
            return (old & ~orders) == 0 || no_wake ? rung(x) : x.go(5);
        }
        case 5: // wake(): FUTEX_WAKE
            if (choice == 1 && ringer_dies && x.self == 1) return x.end();
            if (choice != 0 || !x.fenced()) return false;
            if (x.s.kernel[0] == waiting) x.s.kernel[0] = woken;
            return rung(x);
        default: // mutant
            return choice == 0 && publish(x) && x.go(0);
        }
    }
    bool publish(Run &x) const { return x.release(tails + x.self - 1, x.r(0)); } // RingProducer::publish
    bool rung(Run &x) const { return x.go(ring_first ? 6 : 0); }

    // r: 0 and 1 taken from each ringer, 2 whose tail is looked at, 3 this step moved something
    bool sleeper(Run &x, int choice) const {
        switch (x.me().pc) {
        case 0:
            return choice == 0 && step(x);
        case 1: // announce(): the word
            return choice == 0 && x.store(word, awake() | asleep) && x.go(2);
        case 2: // announce(): the fence
            if (choice != 0 || !(no_sleeper_fence || x.fenced())) return false;
            return x.go(barrier && !no_barrier && !barrier_first ? 3 : 4);
        case 3: // announce(): membarrier. Each thread at its own time between call and return.
            if (choice != 0 || !x.fenced()) return false;
            model::flush_all(&x.s, x.r(2) + 1);
            if (++x.r(2) < ringers) return true;
            x.r(2) = 0;
            return x.go(barrier_first ? 1 : 4);
        case 4: // wait(): look()
            if (choice != 0) return false;
            if (!no_second_look) {
                if (x.load(tails + x.r(2)) != x.r(x.r(2))) return found(x);
                if (++x.r(2) < ringers) return true;
                x.r(2) = 0;
            }
            return x.go(5);
        case 5: // sleep(): FUTEX_WAIT compares and waits at once
            if (choice != 0 || !x.fenced()) return false;
            if (!no_compare && x.s.word[word] != (awake() | asleep)) return x.go(7);
            x.s.kernel[0] = waiting;
            return x.go(6);
        case 6: // sleep(): in the kernel
            if (choice == 0 && x.s.kernel[0] != woken) return false;
            if (choice == 1 && !timeouts && x.s.kernel[1] == 0) return false;
            if (choice == 2) return false;
            if (choice == 1 && !timeouts) x.s.kernel[1]--;
            x.s.kernel[0] = nobody;
            return x.go(7);
        default: // cancel()
            return choice == 0 && x.store(word, awake()) && x.go(0);
        }
    }
    bool found(Run &x) const {
        x.r(2) = 0;
        return x.go(7);
    }
    // The stage's step: takes what is in each ring.
    bool step(Run &x) const {
        int ring = x.r(2);
        uint8_t tail = x.load(tails + ring);
        x.wrong_if(tail < x.r(ring));
        x.r(3) |= tail != x.r(ring);
        x.r(ring) = tail;
        if (++x.r(2) < ringers) return true;
        bool moved = x.r(3) != 0;
        x.r(2) = x.r(3) = 0;
        int all = 0;
        for (int i = 0; i < ringers; i++) all += x.r(i);
        if (all == ringers * items) return x.end();
        return moved ? true : x.go(barrier && barrier_first ? 3 : 1);
    }
    // Anything, at any time.
    bool destroy(Run &x, int choice) const {
        static constexpr uint8_t values[] = {0, asleep, orders, asleep | orders, 4, 255};
        if (x.r(0) == vandal) return choice == 0 && x.end();
        int value = x.r(1) * model::choices_max + choice; // six values by two steps of three choices
        if (x.me().pc == 0) {
            if (choice > 1) return false;
            x.r(1) = static_cast<uint8_t>(choice);
            return x.go(1);
        }
        x.r(0)++;
        x.r(1) = 0;
        return x.store(word, values[value]) && x.go(0);
    }
    Program program() const {
        Bell copy = *this;
        Program program = {1 + ringers + (vandal != 0), [copy](Run &x, int choice) {
                               if (x.self == 0) return copy.sleeper(x, choice);
                               return copy.vandal && x.self == 2 ? copy.destroy(x, choice)
                                                                 : copy.ringer(x, choice);
                           }};
        program.start.word[word] = static_cast<uint8_t>(awake());
        program.start.kernel[1] = static_cast<uint8_t>(spurious);
        return program;
    }
};

Bell bell(bool barrier, int ringers, int items) {
    Bell made;
    made.barrier = barrier;
    made.ringers = ringers;
    made.items = items;
    return made;
}

TEST(bell_with_fences) {
    check_good("bell: fences, one ringer", bell(false, 1, 4).program());
    check_good("bell: fences, two ringers", bell(false, 2, 2).program());
}

TEST(bell_with_membarrier) {
    check_good("bell: membarrier, one ringer", bell(true, 1, 4).program());
    check_good("bell: membarrier, two ringers", bell(true, 2, 2).program());
    Bell own = bell(true, 1, 4);
    own.own_fence = true;
    own.no_barrier = true; // the ringer's fence and the sleeper's are enough without
    check_good("bell: membarrier that does not reach", own.program());
}

TEST(bell_wakes_for_no_reason) {
    for (bool barrier : {false, true}) {
        Bell one = bell(barrier, 1, 3);
        one.spurious = 2;
        check_good("bell: two sleeps end for no reason", one.program());
        one.timeouts = true;
        check_good("bell: any sleep may time out", one.program());
    }
}

// With sleeps that end some time, as they all do, nothing that a neighbour does to the word is for ever.
TEST(bell_with_bad_neighbours) {
    for (bool barrier : {false, true}) {
        Bell one = bell(barrier, 1, 3);
        one.timeouts = true;
        one.vandal = 2;
        check_good("bell: the word is written over", one.program());
        Bell two = bell(barrier, 2, 1);
        two.timeouts = true;
        two.ringer_dies = true;
        check_good("bell: a ringer dies before it wakes", two.program());
        two.timeouts = false;
        check_bad("bell: a ringer dies, no timeout", two.program(), Memory::sc);
    }
}

TEST(bell_mutants) {
    for (bool barrier : {false, true}) {
        Bell one = bell(barrier, 1, 3), m;
        (m = one).no_second_look = true;
        check_bad("bell: look before announce", m.program(), Memory::sc);
        (m = one).ring_first = true;
        check_bad("bell: ring before publish", m.program(), Memory::sc);
        (m = one).no_compare = true;
        check_bad("bell: sleep without a look at the word", m.program(), Memory::sc);
        (m = one).no_wake = true;
        check_bad("bell: cleared, not woken", m.program(), Memory::sc);
    }
    Bell m;
    (m = bell(false, 1, 3)).no_ringer_fence = true;
    check_bad("bell: the ringer does not fence", m.program(), Memory::tso);
    (m = bell(false, 1, 3)).no_sleeper_fence = true;
    check_bad("bell: the sleeper does not fence", m.program(), Memory::tso);
    (m = bell(true, 1, 3)).no_barrier = true;
    check_bad("bell: no membarrier", m.program(), Memory::tso);
    (m = bell(true, 1, 3)).barrier_first = true;
    check_bad("bell: membarrier before the announcement", m.program(), Memory::tso);
}

// ---- two bells: a full ring is waited for as an empty one is ----

// Thread 0 puts positions into a ring of `capacity` slots, thread 1 takes them out; each sleeps on its own
// bell when it cannot go on, and rings the other's when it has moved.
struct Pair {
    int capacity = 1, items = 3;
    bool barrier = false;
    bool release_silent = false; // mutant: the consumer gives room back and does not ring

    static constexpr int positions = 0, bells = 2; // of thread 0 and of thread 1
    int awake() const { return barrier ? Bell::orders : 0; }
    bool can_move(Run &x) const {
        int other = x.load(positions + 1 - x.self);
        return x.self == 0 ? x.r(0) - other < capacity : other > x.r(0);
    }
    // r: 0 own position
    bool step(Run &x, int choice) const {
        if (choice != 0) return false;
        return x.me().pc < 6 ? work(x) : sleep(x);
    }
    bool work(Run &x) const {
        int other = bells + 1 - x.self;
        switch (x.me().pc) {
        case 0: // the stage's step, then publish() or release()
            if (x.r(0) == items) return x.end();
            if (!can_move(x)) return x.go(6);
            return x.release(positions + x.self, ++x.r(0)) && x.go(release_silent && x.self == 1 ? 0 : 1);
        case 1:
            return x.go(x.load(other) == Bell::orders ? 0 : 2); // ring(): the look without a fence
        case 2:
            return x.fenced() && x.go(3); // ring(): the fence
        case 3:
            return x.go((x.load(other) & ~Bell::orders) ? 4 : 0);
        case 4: { // wake(): the locked fetch_and
            if (!x.fenced()) return false;
            int old = x.s.word[other];
            x.s.word[other] &= Bell::orders;
            return x.go((old & ~Bell::orders) ? 5 : 0);
        }
        default: // wake(): FUTEX_WAKE
            if (!x.fenced()) return false;
            if (x.s.kernel[1 - x.self] == Bell::waiting) x.s.kernel[1 - x.self] = Bell::woken;
            return x.go(0);
        }
    }
    bool sleep(Run &x) const {
        int own = bells + x.self, announced = awake() | Bell::asleep;
        switch (x.me().pc) {
        case 6:
            return x.store(own, announced) && x.go(7); // announce(): the word
        case 7:
            return x.fenced() && x.go(barrier ? 8 : 9); // announce(): the fence
        case 8:                                         // announce(): membarrier
            model::flush_all(&x.s, 1 - x.self);
            return x.go(9);
        case 9:
            return x.go(can_move(x) ? 12 : 10); // wait(): look()
        case 10:                                // sleep(): FUTEX_WAIT compares and waits at once
            if (!x.fenced()) return false;
            if (x.s.word[own] != announced) return x.go(12);
            x.s.kernel[x.self] = Bell::waiting;
            return x.go(11);
        case 11: // sleep(): in the kernel
            if (x.s.kernel[x.self] != Bell::woken) return false;
            x.s.kernel[x.self] = Bell::nobody;
            return x.go(12);
        default:
            return x.store(own, awake()) && x.go(0); // cancel()
        }
    }
    Program program() const {
        Pair copy = *this;
        Program program = {2, [copy](Run &x, int choice) { return copy.step(x, choice); }};
        program.start.word[bells] = program.start.word[bells + 1] = static_cast<uint8_t>(awake());
        return program;
    }
};

TEST(two_bells) {
    for (bool barrier : {false, true})
        for (int capacity : {1, 2}) {
            Pair pair;
            pair.barrier = barrier;
            pair.capacity = capacity;
            pair.items = 2 + capacity;
            check_good(barrier ? "two bells: membarrier" : "two bells: fences", pair.program());
            pair.release_silent = true;
            check_bad("two bells: room is given silently", pair.program(), Memory::sc);
        }
}

} // namespace

TESTS("ring: model")
