// SPDX-License-Identifier: MIT
// Facts of one writer that others read at any time: never a mixture of two writes, never a wait without end,
// whatever the writer was doing when it ended.
#include "../../lib/ring/snapshot.h"
#include "../base/registry.h"
#include <stdint.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <thread>
#include <unistd.h>

using wx::Snapshot;

struct Facts {
    uint64_t number;
    uint64_t more[15]; // each number + its index
};

static Facts facts_of(uint64_t number) {
    Facts facts;
    facts.number = number;
    for (uint64_t i = 0; i < 15; i++) facts.more[i] = number + i;
    return facts;
}
static bool whole(const Facts &facts) {
    for (uint64_t i = 0; i < 15; i++)
        if (facts.more[i] != facts.number + i) return false;
    return true;
}

// Zeroed memory that a child shares.
struct Shared {
    Snapshot<Facts> *at;
    Shared() {
        void *memory = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_true(memory != MAP_FAILED);
        at = static_cast<Snapshot<Facts> *>(memory);
    }
    ~Shared() { munmap(at, 4096); }
};

TEST(zeroed_memory_is_an_empty_snapshot) {
    Shared shared;
    Facts facts = facts_of(77);
    assert_true(shared.at->read(&facts));
    assert_int_equal(facts.number, 0);
    assert_int_equal(facts.more[14], 0);
}

TEST(what_was_written_last_is_read) {
    Shared shared;
    for (uint64_t i = 1; i < 1000; i++) {
        shared.at->write(facts_of(i));
        Facts facts;
        assert_true(shared.at->read(&facts));
        assert_int_equal(facts.number, i);
        assert_true(whole(facts));
    }
}

TEST(a_reader_never_sees_parts_of_two_writes) {
    Shared shared;
    std::atomic<bool> over{false};
    uint64_t reads = 0, last = 0;
    std::thread writer([&] {
        for (uint64_t i = 1; !over; i++) {
            shared.at->write(facts_of(i));
            if (i % 64 == 0) std::this_thread::yield();
        }
    });
    bool good = true;
    while ((reads < 20000 || last < 1000) && good) {
        Facts facts;
        if (!shared.at->read(&facts)) continue; // the writer was at it all the time
        good = (facts.number == 0 || whole(facts)) && facts.number >= last;
        last = facts.number;
        reads++;
    }
    over = true;
    writer.join();
    assert_true(good);
}

TEST(a_writer_killed_at_work_leaves_it_unreadable_and_the_next_one_mends_it) {
    Shared shared;
    shared.at->write(facts_of(5));
    // What a kill in the middle leaves.
    shared.at->sequence.fetch_add(1);
    shared.at->words[3].store(999);
    Facts facts = facts_of(77);
    assert_false(shared.at->read(&facts));
    assert_int_equal(facts.number, 77);
    shared.at->write(facts_of(6));
    assert_true(shared.at->read(&facts));
    assert_true(facts.number == 6 && whole(facts));
}

TEST(a_reader_in_another_process) {
    Shared shared;
    const pid_t child = fork();
    if (child == 0) {
        uint64_t last = 0;
        for (int i = 0; i < 100000 && last < 1000; i++) {
            Facts facts;
            if (!shared.at->read(&facts)) continue;
            if ((facts.number != 0 && !whole(facts)) || facts.number < last) _exit(1);
            last = facts.number;
            if (i % 100 == 0) usleep(100);
        }
        _exit(last >= 1000 ? 0 : 2);
    }
    for (uint64_t i = 1; i <= 1000; i++) {
        shared.at->write(facts_of(i));
        if (i % 10 == 0) usleep(100);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

// Bounded, whatever stands there.
TEST(a_number_that_jumps_about_ends_the_look) {
    Shared shared;
    std::atomic<bool> over{false};
    std::thread breaker([&] {
        for (uint64_t i = 0; !over; i += 2) shared.at->sequence.store(i);
    });
    Facts facts;
    for (int i = 0; i < 10000; i++) (void)shared.at->read(&facts);
    over = true;
    breaker.join();
}

TESTS("snapshot")
