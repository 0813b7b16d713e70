// SPDX-License-Identifier: MIT
// Sockets whose reading, or writing, or both, is done in another thread than the one that knows what the
// bytes mean. Three stages: the Reader receives, the Writer sends, and between them is whoever uses this link
// (TLS and the way from URL to open: `tls` below). Each is an object with a step and knows nothing of
// threads; what is not apart is done by the user of the link itself, straight from the socket.
//
//   Reader --(bytes, arrivals)--> tls --(bytes)--> Writer
//
// A socket is connected in tls, as ever, and handed over once it is: only the winner of a race is. Every
// connection then has a ring of bytes each way, and with the bytes that arrive a ring of arrivals: where they
// lie and when they came, or how the stream ended, which so comes after the bytes before it. Between any two
// stages that share a channel goes a mail of indices: "look at this one". An index is in a mail at most once,
// so that it always has room. What there is to see is in the words of the channel.
//
// The descriptor is closed by the last who lets go of it: the Reader at once, the Writer when what was given
// to it before has left, or cannot. tls never waits for them; it gets the memory back by mail.
//
// Files: relay.cc (opening, the link and the driver as tls sees them), relay_read.cc, relay_write.cc.
#pragma once
#include "../ring/bell.h"
#include "../ring/bytering.h"
#include "../ring/spsc.h"
#include "link.h"

namespace wx {

// Each way of a connection. Some socket buffers' worth, so that neither side waits for the other's turn on
// its processor, and small enough to stay in a second-level cache.
constexpr uint64_t relay_bytes = 256 * 1024;
// Reads that may be under way; with the smallest segments they hold as much as matters.
constexpr uint64_t relay_arrivals = 256;
// One read: what has come goes on to tls while the rest is read.
constexpr size_t relay_read_max = 64 * 1024;
// What was written before a close still leaves, as long as the peer takes something at least so often.
constexpr Nanos relay_linger = 5 * ns_per_s;
// Up to so many sockets are read without asking the poller, as inline placement does.
constexpr uint32_t relay_direct_max = 4;

struct RelayArrival {
    uint64_t position; // in the ring of bytes
    uint32_t size;
    int32_t code; // < 0: the end of the stream instead of bytes, as LinkBackend::read has it
    int32_t cause;
    uint32_t unused;
    Nanos kernel_ns, nic_ns;
    Tick polled;
};

struct Relay;

// The memory of one connection while it is one. Of the bytes only what is used is touched.
struct RelayBlock {
    ByteRingWords in_words, out_words;
    RingWords arrival_words;
    RelayArrival arrivals[relay_arrivals];
    uint8_t in[relay_bytes];
    uint8_t out[relay_bytes];
};

// In the lowest bits of `order`; above them is which connection of the channel it is, counted from 1.
enum class RelayPhase : uint8_t { open, closing, resetting };
constexpr uint32_t relay_phase_bits = 2;
enum RelayRoute : uint8_t { tls_to_reader, reader_to_tls, tls_to_writer, writer_to_tls, relay_routes };

struct RelayChannel {
    // -- written by tls before it stores `order`, read by all
    Relay *relay = nullptr;
    uint32_t index = 0;
    Channel socket;
    RelayBlock *block = nullptr;
    void *memory = nullptr;         // in which the block lies
    std::atomic<uint32_t> order{0}; // which connection of this channel, and its RelayPhase
    // -- by whoever has the socket
    std::atomic<uint32_t> holders{0}; // Reader and Writer, as far as they are apart and have it
    std::atomic<uint32_t> posted[relay_routes] = {};
    std::atomic<uint32_t> reader_waits{0}; // the Reader has no room; taken back by tls, who gives some
    std::atomic<uint32_t> tls_waits{0};    // tls has none; taken back by the Writer
    std::atomic<int32_t> write_code{0};    // the Writer's end
    std::atomic<int32_t> write_cause{0};
    std::atomic<int32_t> watch_cause{0}; // errno: a poller that refused the socket
    struct alignas(cache_line_pair) {
        RingConsumer<RelayArrival> arrivals;
        ByteRingConsumer in;
        ByteRingProducer out;
        uint64_t tag = 0;
        uint32_t generation = 0; // above the phase in `order`
        uint32_t taken = 0;      // of the first arrival
        bool used = false;
        bool closed = false;
        bool want_read = false;
        bool want_write = false;
        bool listed = false;
    } tls;
    struct alignas(cache_line_pair) {
        RingProducer<RelayArrival> arrivals;
        ByteRingProducer bytes;
        uint32_t generation = 0; // the connection that all this is about
        bool attached = false;
        bool stalled = false;
        bool ended = false;
    } reader;
    struct alignas(cache_line_pair) {
        ByteRingConsumer bytes;
        Nanos give_up_at = never; // with closing
        uint32_t generation = 0;  // as the Reader's
        bool attached = false;
        bool pending = false; // in the list of those that have something to send
        bool blocked = false;
        bool closing = false;
        bool resetting = false;
        bool failed = false;
    } writer;
};

// Indices from one stage to another.
struct RelayMail {
    RingWords words;
    alignas(cache_line_pair) RingProducer<uint32_t> out;
    uint64_t rung = 0; // the other side was told up to here
    alignas(cache_line_pair) RingConsumer<uint32_t> in;
    uint32_t *slots = nullptr;
};

// What one poller is asked about: Reader and Writer in the same place share one.
struct RelayWatch {
    Poller *poller = nullptr;
    uint8_t *interest = nullptr; // by index of the channel
};

struct RelayReader {
    Relay *relay = nullptr;
    RelayWatch *watch = nullptr;
    const Clock *clock = nullptr;
    uint32_t *live = nullptr;
    uint32_t live_count = 0;
    bool spins = false;    // never asks the poller while there are few
    bool unpolled = false; // the sockets are out of it, which would only pay for them
};

struct RelayWriter {
    Relay *relay = nullptr;
    RelayWatch *watch = nullptr;
    uint32_t *pending = nullptr; // channels with bytes to send, or to be closed
    uint32_t pending_count = 0;
    uint32_t live_count = 0;
};

struct Relay {
    RelayChannel *channels = nullptr;
    void *channel_memory = nullptr;
    uint32_t channel_count = 0;
    uint32_t fresh = 0; // channels from here on were never used
    uint32_t *free = nullptr;
    uint32_t free_count = 0;
    uint32_t *listed = nullptr; // channels that may have something for tls
    uint32_t listed_count = 0;
    uint32_t turn = 0;
    bool reads_apart = false;
    bool writes_apart = false;
    RelayMail mail[relay_routes];
    RelayWatch watches[2];
    RelayReader reader;
    RelayWriter writer;
    BellRinger reader_bell, writer_bell; // tls's; no words: it is not apart
};

// LinkOptions::context and the driver's context is the Relay.
extern const LinkBackend relay_link;
extern const LinkDriver relay_driver;

// Memory for so many connections. E_MEMORY with a sentence.
int relay_open(Relay **out, uint64_t connections, bool reads_apart, bool writes_apart, ErrorText *error);
// Nobody runs any more. What was written before a close and fits into the socket still leaves.
void relay_close(Relay *relay);

// Reader and Writer. `events`: what their poller said of channels, by index. `look`: it was not asked, so
// every socket is tried. Whether anything moved.
bool relay_reader_step(RelayReader *reader, const PollerEvent *events, int count, bool look);
bool relay_writer_step(RelayWriter *writer, Nanos now, const PollerEvent *events, int count, bool look);
Nanos relay_writer_deadline(const RelayWriter *writer);

// -- relay.cc, for all three
void relay_post(Relay *relay, RelayRoute route, RelayChannel *channel);
RelayChannel *relay_take(Relay *relay, RelayRoute route); // null: no more
enum RelayInterest : uint8_t { relay_reading = 1, relay_writing = 2 };
int relay_interest(RelayWatch *watch, const RelayChannel *channel, RelayInterest what, bool on); // 0 or errno
void relay_let_go(Relay *relay, RelayRoute route, RelayChannel *channel);
inline RelayPhase relay_phase(uint32_t order) {
    return static_cast<RelayPhase>(order & ((1u << relay_phase_bits) - 1));
}
inline uint32_t relay_generation(uint32_t order) { return order >> relay_phase_bits; }
// How far a position is from the end of the ring's memory: the ring is not mapped twice.
inline uint64_t relay_run(uint64_t position) { return relay_bytes - (position & (relay_bytes - 1)); }

} // namespace wx
