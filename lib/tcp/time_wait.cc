// SPDX-License-Identifier: MIT
// The table of tuples in TIME-WAIT: open addressing, linear probing, and deletion that shifts the run behind
// it back, so that there are no tombstones and a search ends at the first free entry. The hash is a fixed
// mixing and not keyed: an entry is only made by a connection of our own, towards an address that the
// application chose and from a port that was drawn at random, so a stranger who sends segments can look
// things up here and can lay nothing down. Adding to a full table and expiring read all of it: that is once
// per connection, and at most once per entry that is over.
#include "time_wait.h"
#include "../base/alloc.h"
#include "challenge.h"
#include "sequence.h"

namespace wx {

namespace {

constexpr uint64_t mix_factor = 0x9E3779B97F4A7C15; // 2^64 / golden ratio: odd, its bits well spread

uint64_t mix(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * mix_factor;
    return hash ^ hash >> 32;
}

// Only what belongs to the version counts: equal tuples must have one home whatever lies behind an IPv4
// address.
uint64_t mix_address(uint64_t hash, const IpAddress &address) {
    for (size_t at = 0; at < address.size(); at += 4) hash = mix(hash, load_be32(address.bytes + at));
    return hash;
}

uint32_t home_of(const TimeWaitTable *t, const TcpTuple &tuple) {
    uint64_t hash = mix(tuple.local.version, uint64_t{tuple.local_port} << 16 | tuple.remote_port);
    hash = mix_address(mix_address(hash, tuple.local), tuple.remote);
    return static_cast<uint32_t>(hash) & t->mask;
}

uint32_t usable(const TimeWaitTable *t) { return t->mask - t->mask / 4; } // a free entry always ends a search

bool is_free(const TimeWait &entry) { return entry.tuple.local.version == 0; }

uint32_t place_of(const TimeWaitTable *t, const TcpTuple &tuple) { // where it is, or where it would go
    uint32_t at = home_of(t, tuple);
    while (!is_free(t->entries[at]) && !(t->entries[at].tuple == tuple)) at = (at + 1) & t->mask;
    return at;
}

// An entry of the run moves into the hole when the hole lies between its home and itself; else a search from
// its home would end before it.
void remove_at(TimeWaitTable *t, uint32_t hole) {
    t->entries[hole] = TimeWait();
    t->count--;
    t->removed++;
    for (uint32_t at = (hole + 1) & t->mask; !is_free(t->entries[at]); at = (at + 1) & t->mask) {
        uint32_t from_home = (at - home_of(t, t->entries[at].tuple)) & t->mask;
        if (from_home < ((at - hole) & t->mask)) continue;
        t->entries[hole] = t->entries[at];
        t->entries[at] = TimeWait();
        hole = at;
    }
}

void evict_first_to_expire(TimeWaitTable *t) {
    const TimeWait *first = nullptr;
    for (uint32_t at = 0; at <= t->mask; at++) {
        const TimeWait *entry = &t->entries[at];
        if (!is_free(*entry) && (!first || entry->expires < first->expires)) first = entry;
    }
    if (!first) return;
    remove_at(t, static_cast<uint32_t>(first - t->entries));
    t->evicted++;
}

// Exactly what is expected and nothing to say about: an answer to it would be answered in turn when the peer
// is in TIME-WAIT too, for ever.
bool is_bare_ack(const TimeWait *entry, const TcpSegment &segment) {
    return (segment.flags & tcp_syn) == 0 && segment.length() == 0 && segment.seq == entry->receive_next;
}

bool is_repeated_fin(const TimeWait *entry, const TcpSegment &segment) {
    return (segment.flags & (tcp_fin | tcp_syn)) == tcp_fin &&
           segment.seq + segment.length() == entry->receive_next;
}

// Segments that a peer repeats until it is answered get one each time; what can be a reply to our own answer
// (no sequence space) or a stranger's SYN gets one per distance.
bool may_answer(TimeWait *entry, const TcpSegment &segment, Nanos now) {
    bool limited = (segment.flags & tcp_syn) != 0 || segment.length() == 0;
    if (limited && entry->answered_at != 0 && now - entry->answered_at < challenge_distance) return false;
    entry->answered_at = now;
    return true;
}

} // namespace

size_t time_wait_bytes(uint32_t capacity) { return size_t{capacity} * sizeof(TimeWait); }

void time_wait_open(TimeWaitTable *t, void *memory, uint32_t capacity) {
    *t = TimeWaitTable();
    t->entries = static_cast<TimeWait *>(memory);
    t->mask = capacity - 1;
    for (uint32_t at = 0; at < capacity; at++) new (&t->entries[at]) TimeWait();
}

void time_wait_add(TimeWaitTable *t, const TimeWait &entry) {
    uint32_t at = place_of(t, entry.tuple);
    if (is_free(t->entries[at])) {
        if (t->count >= usable(t)) {
            evict_first_to_expire(t);
            at = place_of(t, entry.tuple); // what lay before it may have moved
        }
        t->count++;
    }
    t->entries[at] = entry;
    if (entry.expires < t->next_expiry) t->next_expiry = entry.expires;
}

TimeWait *time_wait_find(TimeWaitTable *t, const TcpTuple &tuple) {
    if (t->count == 0) return nullptr;
    TimeWait *entry = &t->entries[place_of(t, tuple)];
    return is_free(*entry) ? nullptr : entry;
}

void time_wait_expire(TimeWaitTable *t, Nanos now) {
    if (now < t->next_expiry) return;
    t->next_expiry = never;
    for (uint32_t at = 0; at <= t->mask && t->count != 0; at++) {
        // What moves into a place that became free came from behind it, or was looked at already.
        while (!is_free(t->entries[at]) && t->entries[at].expires <= now) remove_at(t, at);
        if (is_free(t->entries[at])) continue;
        if (t->entries[at].expires < t->next_expiry) t->next_expiry = t->entries[at].expires;
    }
}

bool time_wait_on_segment(TimeWaitTable *t, TimeWait *entry, const TcpSegment &segment, Nanos now,
                          Nanos two_msl, uint32_t ts_now, TcpSegment *answer) {
    if (segment.flags & tcp_rst) return false; // RFC 1337 section 3: fix F1
    bool syn = (segment.flags & tcp_syn) != 0;
    // A SYN would open a new connection (RFC 6191) with somebody who listens; we called, so it is challenged
    // like any other (RFC 5961 section 4).
    if (!syn && (segment.flags & tcp_ack) == 0) return false;
    if (!syn && entry->timestamps && !segment.options.has_timestamps) return false; // RFC 7323 section 3.2
    if (is_bare_ack(entry, segment)) return false;
    bool old = entry->timestamps && segment.options.has_timestamps &&
               seq_before(segment.options.ts_value, entry->ts_recent);
    if (is_repeated_fin(entry, segment) && !old) {
        if (entry->timestamps) entry->ts_recent = segment.options.ts_value;
        entry->expires = now + two_msl;
        if (entry->expires < t->next_expiry) t->next_expiry = entry->expires;
    }
    if (!may_answer(entry, segment, now)) return false;
    *answer = TcpSegment();
    answer->source_port = entry->tuple.local_port;
    answer->destination_port = entry->tuple.remote_port;
    answer->seq = entry->send_next;
    answer->ack = entry->receive_next;
    answer->flags = tcp_ack;
    answer->window = entry->window;
    answer->options.has_timestamps = entry->timestamps;
    answer->options.ts_value = ts_now + entry->ts_value_offset;
    answer->options.ts_echo = entry->ts_recent;
    return true;
}

} // namespace wx
