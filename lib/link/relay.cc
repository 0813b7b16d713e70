// SPDX-License-Identifier: MIT
// See relay.h. What tls sees of it: a link whose channels are sockets until they are connected, then rings;
// and a driver that knows which of them can be read or written. Memory is taken when a connection is handed
// over and given back when all have let go of it. The worst case accepted: peers that take nothing while
// their connections are closed, again and again; then a new connection is refused until one of them is given
// up.
#include "relay.h"
#include "../base/alloc.h"
#include <stddef.h>
#include <sys/socket.h>
#include <unistd.h>

namespace wx {

// ---- for all three stages ----

void relay_post(Relay *relay, RelayRoute route, RelayChannel *c) {
    // What there is to see was stored before; pairs with relay_take. One that is still there is looked at
    // after this.
    if (c->posted[route].exchange(1, std::memory_order_acq_rel) != 0) return;
    (void)relay->mail[route].out.push(c->index); // each index once: there is room
}

RelayChannel *relay_take(Relay *relay, RelayRoute route) {
    RingConsumer<uint32_t> *in = &relay->mail[route].in;
    const uint32_t *slot = in->front();
    if (slot == nullptr) return nullptr;
    RelayChannel *c = &relay->channels[*slot];
    in->pop();
    in->release(); // before the flag: whoever posts again finds the room
    c->posted[route].exchange(0, std::memory_order_acq_rel);
    return c;
}

int relay_interest(RelayWatch *watch, const RelayChannel *c, RelayInterest what, bool on) {
    uint8_t *interest = &watch->interest[c->index];
    const uint8_t wanted = static_cast<uint8_t>(on ? *interest | what : *interest & ~what);
    if (wanted == *interest) return 0;
    *interest = wanted;
    return poller_change(watch->poller, c->socket.fd, c->index, (wanted & relay_reading) != 0,
                         (wanted & relay_writing) != 0);
}

void relay_let_go(Relay *relay, RelayRoute route, RelayChannel *c) {
    const int fd = c->socket.fd; // the last may find that the channel is another connection's already
    if (c->holders.fetch_sub(1, std::memory_order_acq_rel) == 1) ::close(fd);
    relay_post(relay, route, c);
}

namespace {

RelayChannel *channel_of(const Channel *channel) { return static_cast<RelayChannel *>(channel->state); }
Relay *relay_of(void *context) { return static_cast<Relay *>(context); }
const Relay *relay_of(const void *context) { return static_cast<const Relay *>(context); }

void list(Relay *relay, RelayChannel *c) {
    if (c->tls.listed) return;
    c->tls.listed = true;
    relay->listed[relay->listed_count++] = c->index;
}

// ---- connecting ----

void start_rings(RelayChannel *c, const Channel &socket) {
    RelayBlock *b = c->block;
    c->socket = socket;
    c->socket.backend = &socket_link;
    c->reader_waits.store(0, std::memory_order_relaxed);
    c->tls_waits.store(0, std::memory_order_relaxed);
    c->write_code.store(0, std::memory_order_relaxed);
    c->write_cause.store(0, std::memory_order_relaxed);
    c->watch_cause.store(0, std::memory_order_relaxed);
    const bool listed = c->tls.listed; // still
    const uint32_t generation = c->tls.generation + 1;
    c->tls = {};
    c->tls.listed = listed;
    c->tls.generation = generation;
    c->tls.used = true;
    c->tls.arrivals.open(&b->arrival_words, b->arrivals, relay_arrivals);
    c->tls.in.open(&b->in_words, b->in, relay_bytes);
    c->tls.out.open(&b->out_words, b->out, relay_bytes);
}

void set_phase(RelayChannel *c, RelayPhase phase) {
    c->order.store(c->tls.generation << relay_phase_bits | static_cast<uint32_t>(phase),
                   std::memory_order_release);
    if (c->relay->reads_apart) relay_post(c->relay, tls_to_reader, c);
    if (c->relay->writes_apart) relay_post(c->relay, tls_to_writer, c);
}

// Both have let go: the memory is ours again.
void reclaim(Relay *relay, RelayChannel *c) {
    if (!c->tls.closed || c->holders.load(std::memory_order_acquire) != 0) return;
    c->tls.used = c->tls.closed = false;
    deallocate(c->memory);
    c->block = nullptr;
    c->memory = nullptr;
    relay->free[relay->free_count++] = c->index;
}

bool take_mail(Relay *relay, RelayRoute route) {
    bool any = false;
    while (RelayChannel *c = relay_take(relay, route)) {
        any = true;
        if (c->tls.closed)
            reclaim(relay, c);
        else if (c->tls.used)
            list(relay, c);
    }
    return any;
}

bool receive(void *context, Nanos, Tick) {
    Relay *relay = relay_of(context);
    const bool arrived = take_mail(relay, reader_to_tls);
    return take_mail(relay, writer_to_tls) || arrived;
}

RelayChannel *claim(Relay *relay) {
    if (relay->free_count == 0 && relay->fresh == relay->channel_count) (void)receive(relay, 0, 0);
    if (relay->free_count != 0) return &relay->channels[relay->free[--relay->free_count]];
    if (relay->fresh == relay->channel_count) return nullptr;
    RelayChannel *c = new (&relay->channels[relay->fresh]) RelayChannel();
    c->relay = relay;
    c->index = relay->fresh++;
    return c;
}

// What `memory` holds from the next boundary of T on.
template <class T> T *aligned(void *memory) {
    const uintptr_t at = reinterpret_cast<uintptr_t>(memory) + alignof(T) - 1;
    return reinterpret_cast<T *>(at & ~static_cast<uintptr_t>(alignof(T) - 1));
}

bool take_memory(RelayChannel *c) {
    c->memory = reallocate(nullptr, sizeof(RelayBlock) + alignof(RelayBlock)); // not zeroed
    if (c->memory == nullptr) return false;
    c->block = aligned<RelayBlock>(c->memory);
    memset(static_cast<void *>(c->block), 0, offsetof(RelayBlock, in));
    return true;
}

// The socket is connected: from here on its two directions are whose they are.
int hand_over(Channel *channel, ErrorText *error) {
    Relay *relay = relay_of(channel->state);
    RelayChannel *c = claim(relay);
    if (c == nullptr) {
        error->begin(WSXDP_E_OVERFLOW).add("too many connections are still being closed; try again later");
        return WSXDP_E_OVERFLOW;
    }
    if (!take_memory(c)) {
        relay->free[relay->free_count++] = c->index;
        error->begin(WSXDP_E_MEMORY).add("out of memory for the rings between rx, tls and tx");
        return WSXDP_E_MEMORY;
    }
    start_rings(c, *channel);
    channel->backend = &relay_link;
    channel->state = c;
    channel->reads_here = !relay->reads_apart;
    channel->writes_here = !relay->writes_apart;
    c->holders.store(static_cast<uint32_t>(relay->reads_apart) + static_cast<uint32_t>(relay->writes_apart),
                     std::memory_order_relaxed);
    set_phase(c, RelayPhase::open);
    return 1;
}

int racing_finish(Channel *channel, ErrorText *error) {
    const int status = socket_link.finish(channel, error);
    return status == 1 ? hand_over(channel, error) : status;
}

int64_t socket_read(Channel *channel, uint8_t *out, size_t cap, ReadStamps *stamps, int *cause) {
    return socket_link.read(channel, out, cap, stamps, cause);
}
int64_t socket_write(Channel *channel, const uint8_t *data, size_t size, int *cause) {
    return socket_link.write(channel, data, size, cause);
}
void socket_close(Channel *channel, bool reset) { socket_link.close(channel, reset); }
bool never_readable(const Channel *) { return false; }

// A socket among others that race, in the poller of tls.
const LinkBackend racing_link = {"socket",     nullptr,        racing_finish, socket_read,
                                 socket_write, never_readable, socket_close,  false,
                                 nullptr,      nullptr,        nullptr,       nullptr};

int open(const Address &address, const LinkOptions &options, Channel *channel, ErrorText *error) {
    int status = socket_link.open(address, options, channel, error);
    if (status < 0) return status;
    channel->backend = &racing_link;
    channel->state = options.context;
    if (status != 1) return status;
    status = hand_over(channel, error);
    if (status == 1) return 1;
    socket_link.close(channel, true);
    uint8_t text[160];
    Writer name{ByteSpan(text, sizeof text)};
    address_text(address, &name);
    const ErrorText why = *error;
    error->begin(why.code).add("connecting to ").add(name.view()).add(": ").add(why.text);
    return why.code;
}

int finish(Channel *, ErrorText *) { return 1; }

// ---- bytes ----

// The Reader waits for room, and there is enough of it to be worth waking it.
void give_room(Relay *relay, RelayChannel *c) {
    // What was given back, before the look; pairs with the exchange of who waits.
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (c->reader_waits.load(std::memory_order_relaxed) == 0) return;
    const uint64_t bytes = c->block->in_words.tail.load(std::memory_order_acquire) - c->tls.in.head;
    const uint64_t slots =
        c->block->arrival_words.tail.load(std::memory_order_acquire) - c->tls.arrivals.released_head;
    if (bytes > relay_bytes / 2 || slots > relay_arrivals / 2) return;
    c->reader_waits.exchange(0, std::memory_order_seq_cst);
    relay_post(relay, tls_to_reader, c);
}

// As much of the first arrival as goes into `room`.
uint32_t copy_out(RelayChannel *c, const RelayArrival &first, uint8_t *out, size_t room) {
    uint64_t count = first.size - c->tls.taken;
    if (count > room) count = room;
    const uint64_t from = first.position + c->tls.taken;
    memcpy(out, c->tls.in.at(from), count); // one read never goes round the end
    c->tls.taken += static_cast<uint32_t>(count);
    return static_cast<uint32_t>(count);
}

int64_t read(Channel *channel, uint8_t *out, size_t cap, ReadStamps *stamps, int *cause) {
    if (channel->reads_here) return socket_link.read(channel, out, cap, stamps, cause);
    RelayChannel *c = channel_of(channel);
    *stamps = ReadStamps();
    size_t got = 0;
    uint64_t end = 0;
    while (got < cap) {
        const RelayArrival *first = c->tls.arrivals.front();
        if (first == nullptr) break;
        if (first->code != 0) { // stays: whoever reads again hears it again
            if (got != 0) break;
            *cause = first->cause;
            return first->code;
        }
        got += copy_out(c, *first, out + got, cap - got);
        end = first->position + c->tls.taken;
        stamps->kernel_ns = first->kernel_ns;
        stamps->nic_ns = first->nic_ns;
        stamps->polled = first->polled;
        if (c->tls.taken < first->size) break;
        c->tls.taken = 0;
        c->tls.arrivals.pop();
    }
    if (got == 0) return 0;
    c->tls.in.release_to(end);
    c->tls.arrivals.release();
    give_room(c->relay, c);
    return static_cast<int64_t>(got);
}

size_t copy_in(RelayChannel *c, const uint8_t *data, size_t size) {
    ByteRingProducer *out = &c->tls.out;
    size_t taken = 0;
    (void)out->room(); // sees what was sent
    out->rewind_if_empty();
    while (taken < size) {
        uint64_t count = out->capacity - out->used(), run = relay_run(out->tail);
        if (count > run) count = run;
        if (count > size - taken) count = size - taken;
        if (count == 0) break;
        memcpy(out->at_tail(), data + taken, count);
        out->publish(count);
        taken += count;
    }
    return taken;
}

bool has_room(RelayChannel *c) { return c->tls.out.room() >= relay_bytes / 2; }

int64_t write(Channel *channel, const uint8_t *data, size_t size, int *cause) {
    if (channel->writes_here) return socket_link.write(channel, data, size, cause);
    RelayChannel *c = channel_of(channel);
    if (const int code = c->write_code.load(std::memory_order_acquire)) {
        *cause = c->write_cause.load(std::memory_order_relaxed);
        return code;
    }
    size_t taken = 0;
    do {
        taken += copy_in(c, data + taken, size - taken);
        if (taken == size) break;
        // Before the look: of what is sent after it, the Writer tells.
        c->tls_waits.exchange(1, std::memory_order_seq_cst);
    } while (has_room(c));
    if (taken != 0) relay_post(c->relay, tls_to_writer, c);
    return static_cast<int64_t>(taken);
}

bool readable(const Channel *channel) { return channel_of(channel)->tls.arrivals.ready() != 0; }

void close(Channel *channel, bool reset) {
    RelayChannel *c = channel_of(channel);
    if (reset) {
        linger now = {1, 0}; // as socket.cc: the last to let go resets
        (void)setsockopt(c->socket.fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
    }
    c->tls.closed = true;
    c->tls.want_read = c->tls.want_write = false;
    set_phase(c, reset ? RelayPhase::resetting : RelayPhase::closing);
    channel->state = nullptr;
    channel->fd = -1;
}

bool why(const Channel *channel, ErrorText *out) {
    RelayChannel *c = channel_of(channel);
    const int cause = c != nullptr ? c->watch_cause.load(std::memory_order_relaxed) : 0;
    if (cause == 0) return false;
    (void)poller_explain(
        c->relay->reads_apart ? c->relay->reader.watch->poller : c->relay->writer.watch->poller, cause, out);
    return true;
}

// ---- the driver ----

void watch(Channel *channel, uint64_t tag, bool read, bool write) {
    RelayChannel *c = channel_of(channel);
    c->tls.tag = tag;
    c->tls.want_read = read;
    c->tls.want_write = write;
    if (read || write) list(c->relay, c);
}

bool wants(const Relay *relay, RelayChannel *c, bool *readable, bool *writable) {
    *readable = relay->reads_apart && c->tls.want_read && c->tls.arrivals.ready() != 0;
    *writable = relay->writes_apart && c->tls.want_write &&
                (c->write_code.load(std::memory_order_acquire) != 0 || has_room(c));
    return *readable || *writable;
}

int ready(void *context, PollerEvent *out, int cap) {
    Relay *relay = relay_of(context);
    int count = 0;
    if (relay->turn >= relay->listed_count) relay->turn = 0;
    for (uint32_t seen = 0, most = relay->listed_count; seen < most && count < cap; seen++) {
        if (relay->turn >= relay->listed_count) relay->turn = 0;
        RelayChannel *c = &relay->channels[relay->listed[relay->turn]];
        bool readable, writable;
        if (!c->tls.closed && wants(relay, c, &readable, &writable)) {
            out[count++] = {c->tls.tag, readable, writable, false};
            relay->turn++;
            continue;
        }
        c->tls.listed = false;
        relay->listed[relay->turn] = relay->listed[--relay->listed_count];
    }
    return count;
}

bool waiting(const void *context) {
    const Relay *relay = relay_of(context);
    // The look only moves what the reader of a ring knows of it.
    Relay *own = const_cast<Relay *>(relay);
    if (own->mail[reader_to_tls].in.ready() != 0 || own->mail[writer_to_tls].in.ready() != 0) return true;
    for (uint32_t i = 0; i < relay->listed_count; i++) {
        RelayChannel *c = &relay->channels[relay->listed[i]];
        bool readable, writable;
        if (!c->tls.closed && wants(relay, c, &readable, &writable)) return true;
    }
    return false;
}

void ring(RelayMail *mail, BellRinger *bell) {
    if (mail->out.published_tail == mail->rung) return;
    mail->rung = mail->out.published_tail;
    bell->ring();
}

bool send(void *context, Nanos, bool) {
    Relay *relay = relay_of(context);
    if (relay->reads_apart) ring(&relay->mail[tls_to_reader], &relay->reader_bell);
    if (relay->writes_apart) ring(&relay->mail[tls_to_writer], &relay->writer_bell);
    return false;
}

Nanos deadline(const void *) { return never; }
void watch_driver(void *, bool) {}
void attend(void *, uint64_t) {}
bool notice(void *, uint64_t *, ErrorText *) { return false; }
bool facts(void *, const char *, Writer *) { return false; }
void tcp(const Channel *channel, LinkTcpFacts *out) { socket_link.tcp(channel, out); }

} // namespace

const LinkBackend relay_link = {"socket", open,  finish, read,    write, readable,
                                close,    false, watch,  nullptr, tcp,   why};
const LinkDriver relay_driver = {receive,      ready,  send,   deadline, waiting,
                                 watch_driver, attend, notice, facts};

// ---- open and close ----

static bool open_mail(RelayMail *mail, uint64_t count) {
    mail->slots = static_cast<uint32_t *>(allocate(count * sizeof(uint32_t)));
    if (mail->slots == nullptr) return false;
    mail->out.open(&mail->words, mail->slots, count);
    mail->in.open(&mail->words, mail->slots, count);
    return true;
}

static uint32_t *indices(uint64_t count) {
    return static_cast<uint32_t *>(allocate(count * sizeof(uint32_t)));
}

// Zeroed and not touched: a connection's part is constructed when there is one.
static bool open_channels(Relay *relay, uint64_t count) {
    relay->channel_memory = allocate(count * sizeof(RelayChannel) + alignof(RelayChannel));
    relay->channels = aligned<RelayChannel>(relay->channel_memory);
    return relay->channel_memory != nullptr;
}

int relay_open(Relay **out, uint64_t connections, bool reads_apart, bool writes_apart, ErrorText *error) {
    Relay *relay = *out = allocate_object<Relay>();
    // As many again may be closing; a power of two, as the rings want it.
    const uint64_t count = connections * 2 < 16 ? 16 : connections * 2;
    bool all = relay != nullptr;
    if (all) {
        relay->reads_apart = reads_apart;
        relay->writes_apart = writes_apart;
        all = open_channels(relay, count);
        relay->free = indices(count);
        relay->listed = indices(count);
        relay->reader.live = indices(count);
        relay->writer.pending = indices(count);
        all = all && relay->free && relay->listed && relay->reader.live && relay->writer.pending;
        for (RelayMail &mail : relay->mail) all = all && open_mail(&mail, count);
        for (RelayWatch &watch : relay->watches) {
            watch.interest = static_cast<uint8_t *>(allocate(count));
            all = all && watch.interest != nullptr;
        }
    }
    if (!all) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    relay->reader.relay = relay->writer.relay = relay;
    relay->channel_count = static_cast<uint32_t>(count);
    return WSXDP_OK;
}

// As the Writer would have, but for waiting.
static void send_rest(RelayChannel *c) {
    ByteRingConsumer bytes;
    int cause = 0;
    bytes.resume(&c->block->out_words, c->block->out, relay_bytes);
    while (const uint64_t left = bytes.ready()) {
        const uint64_t run = relay_run(bytes.head);
        const int64_t sent =
            socket_link.write(&c->socket, bytes.at(bytes.head), left < run ? left : run, &cause);
        if (sent <= 0) return;
        bytes.release_to(bytes.head + static_cast<uint64_t>(sent));
    }
}

void relay_close(Relay *relay) {
    if (relay == nullptr) return;
    for (uint32_t i = 0; i < relay->fresh; i++) {
        RelayChannel *c = &relay->channels[i];
        const bool held = c->tls.used && c->holders.load(std::memory_order_acquire) != 0;
        const RelayPhase phase = relay_phase(c->order.load(std::memory_order_acquire));
        if (held && relay->writes_apart && phase == RelayPhase::closing && c->write_code == 0) send_rest(c);
        if (held) ::close(c->socket.fd);
        deallocate(c->memory);
    }
    deallocate(relay->channel_memory);
    deallocate(relay->free);
    deallocate(relay->listed);
    deallocate(relay->reader.live);
    deallocate(relay->writer.pending);
    for (RelayMail &mail : relay->mail) deallocate(mail.slots);
    for (RelayWatch &watch : relay->watches) deallocate(watch.interest);
    deallocate(relay);
}

} // namespace wx
