// SPDX-License-Identifier: MIT
// How large a packet the path takes (RFC 1191, RFC 8201): what routers say, judged, and what a black hole
// shows that says nothing (RFC 2923, RFC 4821 in spirit).
#pragma once
#include "../base/clock.h"

namespace wx {

// Least that is believed. IPv4: RFC 1191 allows 68; a forged value below 552 would only make us slow (RFC
// 5927), as Linux holds it. IPv6: RFC 8200. An interface with less than this is its own floor.
constexpr uint32_t path_mtu_floor4 = 552;
constexpr uint32_t path_mtu_floor6 = 1280;
constexpr uint32_t path_mtu_least4 = 68;             // that any IPv4 link carries (RFC 791 section 3.2)
constexpr uint32_t path_mtu_most = 65535;            // what a length field says; jumbograms are not sent
constexpr unsigned path_mtu_black_hole_timeouts = 2; // in a row, of large packets
constexpr uint32_t path_mtu_black_hole4 = 1024;      // first guess then; next the floor
// A path may get better: after so long the interface's MTU is tried again (RFC 8201 section 4: 10 minutes).
constexpr Nanos path_mtu_raise_after = 600 * ns_per_s;

struct PathMtu {
    uint32_t mtu = 1500;  // whole IP packets
    uint32_t link = 1500; // the interface's, or the route's: the most
    bool version6 = false;
    uint8_t timeouts = 0; // of large packets in a row
    Nanos raise_at = never;
};

void path_mtu_open(PathMtu *p, uint32_t link_mtu, bool version6);
// A validated packet-too-big: reported 0 means the router did not say (the next plateau of RFC 1191
// section 7.1 below the quoted size); only IPv4 has such routers. quoted_size: the length of the packet that
// was too big, from its quoted IP header; 0: not known. A report that contradicts itself is ignored. Returns
// whether the MTU fell.
bool path_mtu_on_too_big(PathMtu *p, uint32_t reported, uint32_t quoted_size, Nanos now);
// What the MTU falls to when a black hole is suspected; the MTU itself when it cannot fall.
uint32_t path_mtu_guess(const PathMtu *p);
// A retransmission timeout. large: the packet that was not acknowledged is larger than path_mtu_guess, though
// perhaps smaller than the MTU: options and short writes make such, and a hole swallows them as well. Returns
// whether the MTU fell.
bool path_mtu_on_timeout(PathMtu *p, bool large, Nanos now);
void path_mtu_on_progress(PathMtu *p);        // something was acknowledged
bool path_mtu_on_time(PathMtu *p, Nanos now); // whether it was raised again; due at raise_at

} // namespace wx
