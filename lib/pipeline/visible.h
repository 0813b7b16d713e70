// SPDX-License-Identifier: MIT
// A handle that has a name (option `name`) can be looked at from outside: what the caller's side writes into
// the region for that. Without a name there is none of it, and poll pays a look at one pointer.
#pragma once
#include "engine.h"
#include "published.h"
#include "shared.h"

namespace wx {

struct Visible {
    const char *name = nullptr; // of the options
    int lock = -1;              // on the name's file
    PublishTurn turn;
    WaitCounters *counters = nullptr; // of poll
};

// After the workers were made. Nothing without a name; E_INVALID and others of name_claim, with a sentence.
int visible_open(Engine *e, ErrorText *error);
void visible_close(Engine *e);
// Again, once the words are all 0.
void visible_describe(Engine *e);

// -- only where e->visible is not null
void visible_connected(Engine *e, const Connection *c);
void visible_polled(Engine *e, size_t filled);
void visible_sleeps(Engine *e);
void visible_publish(Engine *e, Nanos now);
inline void visible_round(Engine *e, Nanos now, bool moved) {
    e->visible->turn.changed |= moved;
    if (now >= e->visible->turn.due) visible_publish(e, now);
}

// What a sleep that may last until `until` is cut to.
inline Nanos visible_until(const Engine *e, Nanos until) {
    return e->visible == nullptr ? until : e->visible->turn.until(until);
}

} // namespace wx
