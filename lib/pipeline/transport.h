// SPDX-License-Identifier: MIT
// The transport stage: every connection's way from URL to open and back, its socket, its TLS. Takes outboxes,
// control and commands; gives inboxes, metadata and notes. One object serves all connections of a handle.
//
// Files: transport.cc (the stage: step, what is due), receive.cc and transmit.cc (the hot path),
// connecting.cc (resolve, TCP, proxy, TLS, upgrade), keeping.cc (close, keepalive, loss, reconnect),
// notes.cc, describing.cc (facts in words).
#pragma once
#include "../base/random.h"
#include "../http/proxy.h"
#include "../link/poller.h"
#include "settings.h"
#include "slots.h"

namespace wx {

enum class ConnectionState : uint8_t {
    unused,
    resolving,
    racing,    // TCP attempts under way
    tunneling, // asking the proxy
    securing,  // TLS handshake
    upgrading, // request sent, response awaited
    open,
    closing,  // close frames are being exchanged
    draining, // both sent, or a rule was broken: waiting for the peer's end of TCP
    waiting,  // for the next attempt
    finished, // CLOSE has been told; waits for the app to retire it
};

// Bytes on their way out that do not lie in the outbox: requests, control frames, TLS records.
struct TxBuffer {
    uint8_t *data = nullptr;
    size_t capacity = 0;
    size_t begin = 0;
    size_t end = 0;
    size_t pending() const { return end - begin; }
};
// Two full TLS records, so that one can be made while the other waits for the socket.
constexpr size_t tx_bytes = 2 * tls_record_wire_max + 1024;

constexpr size_t race_max = 4; // TCP attempts at the same time; more only loads the network

struct Race {
    Channel channel;
    size_t address = 0;
    Nanos deadline = 0;
    bool active = false;
};

struct PendingControl {
    bool pong = false;
    bool ping = false;
    bool close = false;
    uint8_t pong_size = 0;
    uint8_t close_size = 0;
    uint16_t close_code = 0;  // 0 or 1005: no body
    uint64_t close_after = 0; // our own close waits until the outbox is sent up to here
    uint8_t pong_payload[control_payload_max];
    uint8_t close_reason[control_payload_max];
};

struct TransportCounters {
    uint64_t bytes_received, reads, inbox_max, bytes_sent; // counted per read and write
    uint64_t records_received, records_sent, pings_sent, pongs_sent, frames_sent;
    uint64_t opens, reconnects, stalls;
    int64_t round_trip, round_trip_min;
};

struct Connection {
    // -- hot: in the order of use, since the kernel drives it out of the nearest cache between two messages
    ConnectionState state = ConnectionState::unused;
    bool counted_silent = false; // part of Transport::silent_count
    bool registered = false;     // the channel's descriptor is in the poller
    bool want_read = false;      // as registered
    bool want_write = false;
    bool stalled = false;       // reading stopped for lack of inbox room
    bool likely_more = false;   // the last read was large
    bool record_closed = false; // close_notify received
    bool write_broken = false;  // the link takes no more; what can still be read is read
    bool read_ended = false;    // the stream is over; ws may still find a close in what came before
    bool end_waits = false;     // lost, but there was no room to tell yet
    bool close_sent = false;
    bool adopted = false; // in Transport::live
    uint32_t index = 0;
    Channel channel;
    Settings *settings = nullptr;
    TlsSession *tls = nullptr;
    ByteRingProducer inbox;
    Nanos last_received = 0;
    TransportCounters counters{};
    ConnectionArea area;
    uint64_t epoch = 0; // opening number; the outbox counts once the app has answered it
    ByteRingConsumer outbox;
    uint64_t frame_boundary = 0; // a frame's start in the outbox, at or after outbox.head
    TxBuffer tx;
    PendingControl control;

    // -- connecting
    Nanos deadline = 0;       // next timer, of whatever kind the state has
    int watch_errno = 0;      // the poller refused the socket: the connection ends at its next timer
    char *url_text = nullptr; // as given; `url` points into url_text or redirect_text
    char *redirect_text = nullptr;
    Url url;
    Url proxy;
    bool has_proxy = false;
    ResolveJob *resolve = nullptr;
    AddressList addresses;
    size_t next_address = 0;
    Race races[race_max];
    Nanos next_race = 0;
    Nanos attempt_started = 0;
    Nanos attempt_deadline = 0; // connect.timeout_ns
    Nanos step_deadline = 0;    // of the present step
    ErrorText race_error;
    size_t failed_addresses = 0;
    ProxyTunnel tunnel;
    UpgradeRequest request;
    HeadScanner scanner;
    uint8_t *head = nullptr; // proxy answers and the response head; gone once open
    size_t head_size = 0;
    size_t head_capacity = 0;
    int64_t redirects = 0;
    bool left_host = false;    // a redirect led to another host
    bool early_sent = false;   // the request left as early data
    bool early_barred = false; // the server answered 425 to such a one
    bool fell_back = false;    // this attempt goes by sockets, since the handle's link cannot be had
    TlsFacts facts;
    char subprotocol[128] = {0};
    char extensions[256] = {0};
    DeflateAgreement agreement;
    bool deflating = false;

    // -- keeping
    bool user_closing = false; // the caller asked: no reconnect
    bool ever_open = false;
    bool close_received = false;
    bool close_by_peer = false;
    uint16_t close_code = 0;
    uint8_t close_size = 0;
    uint8_t close_reason[control_payload_max];
    bool error_told = false; // the ERROR event for end_error is out
    int end_error = 0;       // why it is ending, 0 for a proper close
    Nanos opened_at = 0;
    Nanos ping_due = 0;
    Nanos ping_deadline = 0; // 0: none under way
    int64_t attempts = 0;    // in a row
    Nanos retry_at = 0;
    ErrorText error;
    ErrorText scratch_error;
};

struct Transport {
    Clock *clock = nullptr;
    Poller *poller = nullptr;
    RandomSource *random = nullptr;
    Region *region = nullptr;
    Connection *connections = nullptr;
    size_t connection_limit = 0;
    RingProducer<MetadataSlot> metadata;
    RingConsumer<ControlSlot> control;
    RingConsumer<CommandSlot> commands;
    Nanos next_deadline = never; // no timer is due before
    uint32_t *live = nullptr;    // indices of connections in use
    size_t live_count = 0;
    size_t stalled_count = 0;
    size_t unsettled_count = 0; // connections not open: their descriptors must be polled
    size_t resolving_count = 0;
    size_t silent_count = 0; // with channels without a descriptor: looked at in every step
    size_t polled_count = 0; // channels whose descriptor is in the poller
    uint64_t changes = 0;    // connections made, opened or lost: cold work that may allocate
    Nanos now = 0;           // CLOCK_MONOTONIC of this step
    Tick now_tick = 0;
    bool unpolled = false;      // transport_leave_poller was called last
    uint8_t *scratch = nullptr; // ciphertext as read; shared, since every read is consumed at once
    size_t scratch_bytes = 0;
    RingProducer<NoteSlot> notes;
    const LinkBackend *link = &socket_link;    // to addresses of networks
    const LinkBackend *sockets = &socket_link; // where it has to be a socket
    void *link_context = nullptr;              // LinkOptions::context
    const LinkDriver *driver = nullptr;        // where the link's channels share a device
    // A connect command for an index that nothing has been prepared for: a request may be waiting elsewhere.
    void (*on_connect)(void *context, uint32_t index) = nullptr;
    void *on_connect_context = nullptr;
};

// The stage. `events`: what the poller said since the last step. Returns whether anything moved.
bool transport_step(Transport *transport, Tick now, const PollerEvent *events, int event_count);
// Reads every open connection without asking the poller, for few connections and spinning callers: up to
// `tries` times while nothing comes, which is the tightest loop there is.
bool transport_read_all(Transport *transport, Tick now, int tries);
// Sends what the connection has, as far as it goes. Called by placement after the app queued something.
void transport_flush(Transport *transport, Connection *connection);
// After flushes from outside of a step: lets what was written leave the device that channels share.
void transport_send(Transport *transport);
// The earliest time at which a step does something by itself.
Nanos transport_deadline(const Transport *transport);
// Takes the open connections' sockets out of the poller: for a caller that does not ask it but reads again
// and again, and would only pay for it, since the kernel calls the poller for every segment that arrives.
// Before it is asked, or its descriptor given to the host, they must come back.
void transport_leave_poller(Transport *transport);
void transport_rejoin_poller(Transport *transport);
// There is work that no descriptor tells about.
bool transport_has_silent_input(const Transport *transport);
// A connection that its caller has prepared: settings, URL, area. Before its connect command, from which on
// the transport looks after it. The settings stay the caller's, and are there until it is retired.
void transport_prepare(Connection *connection);
// Gives back everything of a connection but its settings and its area.
void transport_retire(Transport *transport, Connection *connection);

// Metadata slots that bytes leave free, so that a state change can always be told.
constexpr uint64_t notes_reserve = 4;
// -- receive.cc
bool receive_from(Transport *t, Connection *c);
// The open connection's stream is over: told once ws has looked at what came before.
void receive_ended(Transport *t, Connection *c, int code, int cause);
// -- transmit.cc
enum class Flush : uint8_t { done, blocked, lost };
Flush transmit(Transport *t, Connection *c);
int transmit_frame(Transport *t, Connection *c, uint8_t first, ByteView payload); // into tx, by way of TLS
int transmit_bytes(Transport *t, Connection *c, ByteView bytes);                  // the same, no frame
bool transmit_tx(Transport *t, Connection *c, int *failure);
// c->error for a read or a write that failed with this code and errno; `doing`: "reading from the
// connection".
void explain_link(Connection *c, int code, int cause, const char *doing);
bool tx_reserve(Connection *c, size_t bytes);      // cold: makes the buffer at least this large
void transport_begin(Transport *t, Connection *c); // its connect command
// -- connecting.cc
void connect_begin(Transport *t, Connection *c);
void connect_on_ready(Transport *t, Connection *c, const PollerEvent &event);
void connect_on_time(Transport *t, Connection *c);
void connect_abandon(Transport *t, Connection *c); // gives up whatever the attempt holds
// Feeds plaintext that arrived before the connection was open.
void upgrade_feed(Transport *t, Connection *c);
// Whether the options make a request that can be sent: before anything is tried. The sentence is in c->error.
int upgrade_check_request(RandomSource *random, Connection *c);
// -- keeping.cc
void keep_on_time(Transport *t, Connection *c);
void keep_on_control(Transport *t, const ControlSlot &slot);
void keep_on_command(Transport *t, const CommandSlot &slot);
void keep_opened(Transport *t, Connection *c, ByteView leftover);
// The connection or attempt is over for this reason; the sentence is in c->error. Tells, then retries or
// ends.
void keep_lost(Transport *t, Connection *c, int code);
void keep_drop_channel(Transport *t, Connection *c, bool reset); // socket and TLS go, what is known stays
void keep_schedule(Transport *t, Connection *c);                 // recomputes c->deadline
void set_state(Transport *t, Connection *c, ConnectionState state);
void watch(Transport *t, Connection *c, bool read, bool write);
// Under the poller's eyes or the link's own: 0, or errno of why not. Once per channel; then watch changes it.
int channel_add(Transport *t, Channel *channel, uint64_t tag, bool read, bool write);
void channel_remove(Transport *t, Channel *channel);
inline bool channel_tells(const Channel &channel) {
    return channel.fd >= 0 || (channel.backend != nullptr && channel.backend->watch != nullptr);
}
// Its descriptor is for the poller, although the link has a watch of its own.
inline bool channel_is_here(const Channel &channel) { return channel.reads_here || channel.writes_here; }
// -- describing.cc
// A fact in words, as wsxdp_info names it: of the handle, of a connection. false: there is none of that name.
bool transport_info(const Transport *t, const char *what, Writer *out);
bool transport_connection_info(const Transport *t, const Connection *c, const char *what, Writer *out);
// -- notes.cc
bool notes_have_room(Transport *t);
void note_opened(Transport *t, Connection *c);
void note_error(Transport *t, Connection *c, const ErrorText &error);
void note_reconnecting(Transport *t, Connection *c, Nanos delay, const ErrorText &error);
void note_closed(Transport *t, Connection *c);
void note_notice(Transport *t, Connection *c, const ErrorText &error);

} // namespace wx
