// SPDX-License-Identifier: MIT
// One round of transport and ws, and their sleep, for whoever runs them in one thread: the caller's poll, or
// a thread of its own. Between going to sleep and a wake-up from another thread nothing can be lost: the
// sleeper announces itself before it looks a last time, the waker says what it wants before it looks for a
// sleeper. Inline functions: a round is what a message's latency is made of.
#pragma once
#include "transport.h"
#include "ws_stage.h"

namespace wx {

// As the choices of the option `wait`.
enum class Wait : uint8_t { spin, adaptive, sleep, yield };
inline bool never_sleeps(Wait wait) { return wait == Wait::spin || wait == Wait::yield; }

// Up to this many connections are read without asking the poller first: a failed read costs about as much as
// asking.
constexpr size_t direct_max = 4;

// Reads between two looks at anything else (clock, wake-ups, timers): about 2 us, which none of them minds.
constexpr int spin_tries = 8;
// In place of a connection's index: all of them, or the handle.
constexpr uint32_t every_connection = UINT32_MAX;
// The longest fact in words: XDP's counters of some queues.
constexpr size_t fact_bytes_max = 4096;

struct Rounds {
    Transport *transport = nullptr;
    WsStage *ws = nullptr; // null: it runs elsewhere
    Poller *poller = nullptr;
    Clock *clock = nullptr;
    Wait wait = Wait::adaptive;
    Nanos spin_ns = 0;
    std::atomic<uint32_t> sleeping{0}; // the poller's descriptor is being waited on, here or by the host
};

// Sequentially consistent on both sides, so that either the sleeper sees what was said before, or we see the
// sleeper. Any thread.
inline void rounds_wake(Rounds *r) {
    if (r->sleeping.load(std::memory_order_seq_cst) != 0) poller_signal(r->poller);
}

inline bool rounds_direct(const Rounds *r) {
    const Transport &t = *r->transport;
    // A driver knows which of its channels are ready, however many there are.
    if (t.driver != nullptr && t.polled_count == 0 && t.silent_count == 0) return true;
    return t.unsettled_count == 0 && t.live_count <= direct_max;
}

// How often one round reads while nothing comes. A look at a driver's ring is no system call, and going the
// whole way each time keeps it in the caches: with 8 looks in between a message took 100 ns longer from the
// frame to its event, with 32 twice that.
inline int rounds_tries(const Rounds *r, bool spins) {
    return spins && r->transport->driver == nullptr ? spin_tries : 1;
}

// Worth a read without asking the poller. Many connections are always asked for: looking at each would cost
// more.
inline bool rounds_likely_more(const Rounds *r) {
    if (!rounds_direct(r)) return false;
    for (size_t i = 0; i < r->transport->live_count && i < direct_max; i++)
        if (r->transport->connections[r->transport->live[i]].likely_more) return true;
    return false;
}

inline bool rounds_run_ws(Rounds *r) {
    WsStage *ws = r->ws;
    bool moved = false;
    if (__builtin_expect(ws == nullptr, 0)) return false;
    bool more = ws->metadata.ready() != 0 || ws->blocked_count != 0;
    while (more && ws_step(ws, r->clock->ticks())) {
        moved = true;
        more = !ws->metadata.drained() || ws->blocked_count != 0;
    }
    // Pongs and closes leave now and not at the next round.
    if (r->transport != nullptr && ws->control.published_tail != r->transport->control.head)
        transport_step(r->transport, r->clock->ticks(), nullptr, 0);
    return moved;
}

inline Tick rounds_begin(Rounds *r) {
    Tick now = r->clock->ticks();
    if (now >= r->clock->resync_at) clock_resync(r->clock);
    return now;
}

// A round without asking the poller. `leave`: the caller will go on like this.
inline bool rounds_read(Rounds *r, int tries, bool leave) {
    if (leave && !r->transport->unpolled) transport_leave_poller(r->transport);
    Tick now = rounds_begin(r);
    bool moved = transport_read_all(r->transport, now, tries);
    return rounds_run_ws(r) || moved;
}

// A round with what the poller says, which is slept for until `until` if `sleep`. `keep_asleep`: somebody
// else waits on the descriptor, too. `stay_awake` is asked once the sleep is announced.
template <class StayAwake>
[[gnu::noinline]] bool rounds_ask(Rounds *r, bool sleep, Nanos now, Nanos until, bool keep_asleep,
                                  StayAwake stay_awake) {
    if (r->transport->unpolled) transport_rejoin_poller(r->transport);
    PollerEvent ready[Poller::batch]; // off the stack of those who do not ask
    int count;
    if (sleep) {
        Nanos deadline = transport_deadline(r->transport);
        Nanos end = until < deadline ? until : deadline;
        Nanos span = end == never ? -1 : (end > now ? end - now : 0);
        r->sleeping.exchange(1, std::memory_order_seq_cst); // before the look; pairs with rounds_wake
        if (stay_awake()) span = 0;
        count = poller_wait(r->poller, ready, Poller::batch, span);
        if (!keep_asleep) r->sleeping.store(0, std::memory_order_relaxed);
        poller_clear(r->poller);
    } else {
        count = poller_wait(r->poller, ready, Poller::batch, 0);
    }
    if (count < 0) count = 0; // the descriptors themselves are checked by reading
    Tick tick = rounds_begin(r);
    bool moved = transport_step(r->transport, tick, ready, count);
    return rounds_run_ws(r) || moved;
}

// -- published.cc, for who runs the stages
// What they count goes beside the words of that connection.
void rounds_publish(const Rounds *r, uint32_t index);
// A fact in words; false: there is none of that name.
bool rounds_info(const Rounds *r, uint32_t index, const char *what, Writer *out);

} // namespace wx
