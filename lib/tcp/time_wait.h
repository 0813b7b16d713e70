// SPDX-License-Identifier: MIT
// Tuples in TIME-WAIT (RFC 9293 section 3.3.2): what is left of a connection for 2 MSL after both FINs, so
// that its port is not used again too soon and the peer's repeated FIN is answered. A table of small records:
// the connection's memory is free for another.
#pragma once
#include "../wire/tcp_header.h"
#include "isn.h"

namespace wx {

struct TimeWait {
    TcpTuple tuple;
    uint32_t send_next = 0;
    uint32_t receive_next = 0;
    uint32_t ts_recent = 0;
    uint32_t ts_value_offset = 0;
    bool timestamps = false;
    uint16_t window = 0; // as last advertised, unscaled field
    Nanos expires = 0;
    Nanos answered_at = 0; // the last answer, 0 for none yet: answers to what may be an answer are spaced
};

struct TimeWaitTable {
    TimeWait *entries = nullptr; // open addressing, tuple.local.version 0: free
    uint32_t mask = 0;
    uint32_t count = 0;
    uint32_t evicted = 0;      // ended before their time because the table was full
    uint64_t removed = 0;      // entries that are gone, for whatever reason
    Nanos next_expiry = never; // nothing expires before; may be early, after a repeated FIN
};

// capacity: a power of two, at least 4; three quarters of it can be used. memory aligned to 16.
size_t time_wait_bytes(uint32_t capacity);
void time_wait_open(TimeWaitTable *t, void *memory, uint32_t capacity);
// Replaces an entry of the same tuple. When full, the entry that expires first makes room: refusing would
// leave a connection that cannot end.
void time_wait_add(TimeWaitTable *t, const TimeWait &entry);
TimeWait *time_wait_find(TimeWaitTable *t, const TcpTuple &tuple);
void time_wait_expire(TimeWaitTable *t, Nanos now); // removes what is over
// entry: as time_wait_find gave it. The answer to a segment for such a tuple: an acknowledgement to fill into
// *answer (true), or silence. A repeated FIN starts the 2 MSL again; a RST is passed over (RFC 1337). Ports,
// seq, ack, flags, window and timestamps are set.
bool time_wait_on_segment(TimeWaitTable *t, TimeWait *entry, const TcpSegment &segment, Nanos now,
                          Nanos two_msl, uint32_t ts_now, TcpSegment *answer);

} // namespace wx
