// SPDX-License-Identifier: MIT
// The path MTU as a number with reasons to fall and one to rise. It falls by a router's word or after
// timeouts of large packets, never below the floor and never because of a word that cannot be true; it rises
// only to what the interface takes, after path_mtu_raise_after. Anybody on the path can forge the word of a
// router: the worst that it does is the floor for ten minutes. A path that takes less than the floor does not
// work.
#include "path_mtu.h"

namespace wx {

// RFC 1191 section 7.1: the MTUs that links have.
static constexpr uint32_t plateaus[] = {65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68};

static uint32_t floor_of(const PathMtu *p) {
    uint32_t floor = p->version6 ? path_mtu_floor6 : path_mtu_floor4;
    return floor < p->link ? floor : p->link;
}

static uint32_t plateau_below(uint32_t size) {
    for (uint32_t plateau : plateaus)
        if (plateau < size) return plateau;
    return path_mtu_least4;
}

// Also when nothing falls: the path has shown anew that it takes no more.
static bool lower(PathMtu *p, uint32_t mtu, Nanos now) {
    uint32_t floor = floor_of(p);
    if (mtu < floor) mtu = floor;
    if (mtu > p->mtu) return false;
    if (mtu < p->link) p->raise_at = now > never - path_mtu_raise_after ? never : now + path_mtu_raise_after;
    if (mtu == p->mtu) return false;
    p->mtu = mtu;
    p->timeouts = 0;
    return true;
}

void path_mtu_open(PathMtu *p, uint32_t link_mtu, bool version6) {
    *p = PathMtu{};
    uint32_t least =
        version6 ? path_mtu_floor6 : path_mtu_least4; // RFC 8200 section 5: a link with less has no IPv6
    p->version6 = version6;
    p->link = link_mtu < least ? least : link_mtu > path_mtu_most ? path_mtu_most : link_mtu;
    p->mtu = p->link;
}

bool path_mtu_on_too_big(PathMtu *p, uint32_t reported, uint32_t quoted_size, Nanos now) {
    // RFC 8201 section 4: what says less than IPv6 needs is discarded. That is 0 as well.
    if (p->version6 && reported < path_mtu_floor6) return false;
    // Routers of the time when 0 was usual also quote a length that is too large by the header's (RFC 1191
    // section 5).
    uint32_t size = quoted_size == 0 || quoted_size > p->mtu ? p->mtu : quoted_size;
    if (reported == 0) return lower(p, plateau_below(size), now);
    // What fits was not too big. A packet from before an earlier fall says nothing new, either, and never
    // raises.
    if (quoted_size != 0 && reported >= quoted_size) return false;
    return lower(p, reported, now);
}

uint32_t path_mtu_guess(const PathMtu *p) {
    uint32_t floor = floor_of(p), guess = p->mtu > path_mtu_black_hole4 ? path_mtu_black_hole4 : floor;
    if (guess < floor) guess = floor;
    return guess < p->mtu ? guess : p->mtu;
}

bool path_mtu_on_timeout(PathMtu *p, bool large, Nanos now) {
    if (!large) { // small ones get lost as well: it is not the size
        p->timeouts = 0;
        return false;
    }
    if (p->timeouts < path_mtu_black_hole_timeouts) p->timeouts++;
    if (p->timeouts < path_mtu_black_hole_timeouts || p->mtu <= floor_of(p)) return false;
    return lower(p, path_mtu_guess(p), now);
}

void path_mtu_on_progress(PathMtu *p) { p->timeouts = 0; }

bool path_mtu_on_time(PathMtu *p, Nanos now) {
    if (now < p->raise_at) return false;
    p->raise_at = never;
    if (p->mtu >= p->link) return false;
    p->mtu = p->link;
    p->timeouts = 0;
    return true;
}

} // namespace wx
