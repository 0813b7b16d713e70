// SPDX-License-Identifier: MIT
// Opening and ending a handle and its connections. Everything is allocated here; a failure at any step undoes
// the steps before it, in one place.
#include "engine.h"
#include "../base/alloc.h"

namespace wx {

static int unsupported(ErrorText *error, const char *option, const char *value, const char *instead) {
    error->begin(WSXDP_E_UNSUPPORTED).add("option ").add(option).add("=").add(value);
    error->add(": not in this build; use ").add(instead);
    return WSXDP_E_UNSUPPORTED;
}

// As the option's choices.
constexpr int64_t transport_uring = 2, transport_xdp = 3;

static int check_supported(const Options &o, ErrorText *error) {
    static const char *const names[] = {"auto", "socket", "uring", "xdp"};
    int64_t transport = o.integer(Option::transport);
    if (transport == transport_uring)
        return unsupported(error, "transport", names[transport], "transport=socket or transport=xdp");
    return WSXDP_OK;
}

// One thread for transport and ws is what there is so far.
static int check_placement(const Options &o, Placement *placement, ErrorText *error) {
    int status = placement_parse(ByteView(o.text(Option::placement)), placement, error);
    if (status >= 0)
        status = placement_complete(placement, o.integer(Option::transport) == transport_xdp, error);
    if (status < 0 || placement->kind == PlacementKind::inline_) return status;
    const bool one = placement->count == 1 && placement->places[0].stages == (stage_transport | stage_ws);
    if (placement->kind == PlacementKind::threads && one) return status;
    return unsupported(error, "placement", o.text(Option::placement),
                       "placement=inline or placement='threads: transport+ws'");
}

static RegionSizes region_sizes(const Options &o) {
    RegionSizes sizes;
    auto rounded = [&o](Option option) {
        return power_of_two_at_least(static_cast<uint64_t>(o.integer(option)));
    };
    sizes.connections = rounded(Option::connections_max);
    sizes.inbox_bytes = rounded(Option::inbox_bytes);
    sizes.outbox_bytes = rounded(Option::outbox_bytes);
    sizes.metadata_slots = rounded(Option::metadata_slots);
    sizes.event_slots = rounded(Option::events_slots);
    sizes.control_slots = 64;
    // Every connection may end in the same step, each with two notes.
    sizes.note_slots = sizes.connections * 2 < 256 ? 256 : sizes.connections * 2;
    // Of each connection: connect, close, abort, a flush.
    sizes.command_slots = sizes.connections * 4 < 64 ? 64 : sizes.connections * 4;
    return sizes;
}

template <class Slot, class End> static void open_end(End *end, Engine *e, uint64_t offset, uint64_t slots) {
    RingWords *words = reinterpret_cast<RingWords *>(e->region.base + offset);
    end->open(words, reinterpret_cast<Slot *>(e->region.base + offset + sizeof(RingWords)), slots);
}

static void wire_rings(Engine *e) {
    const RegionLayout &at = e->region.layout;
    const RegionSizes &n = e->region.sizes;
    open_end<MetadataSlot>(&e->transport.metadata, e, at.metadata, n.metadata_slots);
    open_end<MetadataSlot>(&e->ws.metadata, e, at.metadata, n.metadata_slots);
    open_end<EventSlot>(&e->ws.events, e, at.events, n.event_slots);
    open_end<EventSlot>(&e->app.events, e, at.events, n.event_slots);
    open_end<ControlSlot>(&e->ws.control, e, at.control, n.control_slots);
    open_end<ControlSlot>(&e->transport.control, e, at.control, n.control_slots);
    open_end<CommandSlot>(&e->app.commands, e, at.commands, n.command_slots);
    open_end<CommandSlot>(&e->transport.commands, e, at.commands, n.command_slots);
    open_end<NoteSlot>(&e->transport.notes, e, at.transport_notes, n.note_slots);
    open_end<NoteSlot>(&e->ws.notes, e, at.transport_notes, n.note_slots);
    open_end<NoteSlot>(&e->ws.event_notes, e, at.event_notes, n.note_slots);
    open_end<NoteSlot>(&e->app.notes, e, at.event_notes, n.note_slots);
}

// Zeroed and not touched: what a connection needs is constructed when there is one, so a handle with room for
// a thousand and one of them costs the memory of one.
template <class T> static T *allocate_array(size_t count) {
    static_assert(alignof(T) <= 16, "the heap's alignment");
    // NOLINTNEXTLINE(bugprone-sizeof-expression): T may be a pointer
    return static_cast<T *>(allocate((count ? count : 1) * sizeof(T)));
}

static int allocate_stages(Engine *e, const Options &o) {
    size_t connections = e->region.sizes.connections;
    e->transport.connections = allocate_array<Connection>(connections);
    e->transport.live = allocate_array<uint32_t>(connections);
    e->transport.scratch_bytes = static_cast<size_t>(o.integer(Option::socket_read_bytes));
    if (e->transport.scratch_bytes < tls_record_wire_max) e->transport.scratch_bytes = tls_record_wire_max;
    e->transport.scratch = static_cast<uint8_t *>(allocate(e->transport.scratch_bytes));
    e->ws.connections = allocate_array<WsConnection>(connections);
    e->app.connections = allocate_array<AppConnection>(connections);
    e->app.live = allocate_array<uint32_t>(connections);
    e->app.touched = allocate_array<uint32_t>(connections);
    e->app.held_max = static_cast<size_t>(o.integer(Option::hold_max));
    e->app.held = allocate_array<Held>(e->app.held_max);
    e->sender_max = static_cast<size_t>(o.integer(Option::senders_max));
    e->senders = allocate_array<Sender *>(e->sender_max);
    e->generations = allocate_array<uint32_t>(connections);
    bool all = e->transport.connections && e->transport.live && e->transport.scratch && e->ws.connections &&
               e->app.connections && e->app.live && e->app.touched && e->app.held && e->senders &&
               e->generations;
    if (!all) return WSXDP_E_MEMORY;
    e->transport.connection_limit = e->ws.connection_limit = e->app.connection_limit = connections;
    while ((size_t{1} << e->app.generation_shift) < connections) e->app.generation_shift++;
    return WSXDP_OK;
}

static void wire_stages(Engine *e) {
    Clock *clock = e->worker != nullptr ? &e->worker->clock : &e->clock;
    e->transport.clock = clock;
    e->transport.poller = e->worker != nullptr ? &e->worker->poller : &e->poller;
    e->transport.random = &e->transport_random;
    e->transport.region = &e->region;
    e->ws.clock = clock;
    e->app.clock = &e->clock;
    e->rounds.transport = &e->transport;
    e->rounds.ws = &e->ws;
    e->rounds.poller = &e->poller;
    e->rounds.clock = &e->clock;
    e->app.random = &e->app_random;
    wire_rings(e);
}

static int set_up_worker(Engine *e, const Placement &placement, ErrorText *error) {
    if (placement.kind == PlacementKind::inline_) return WSXDP_OK;
    const Options &o = *e->settings->options;
    const size_t connections = e->region.sizes.connections;
    e->worker = allocate_object<Worker>();
    if (e->worker == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    e->runner = &remote_runner;
    e->worker->place = placement.places[0];
    e->worker->app = &e->rounds;
    e->worker->rounds.transport = &e->transport;
    e->worker->rounds.ws = &e->ws;
    e->worker->rounds.wait = e->rounds.wait;
    e->worker->rounds.spin_ns = e->rounds.spin_ns;
    return worker_open(e->worker, static_cast<PollerKind>(o.integer(Option::poller)), connections, error);
}

static int set_up(Engine *e, Options *options, ErrorText *error) {
    RegionSizes sizes = region_sizes(*options);
    int status = settings_new(options, sizes.inbox_bytes, sizes.outbox_bytes, &e->settings, error);
    if (status < 0) return status;
    const Options &o = *e->settings->options;
    Placement placement;
    status = check_supported(o, error);
    if (status >= 0) status = check_placement(o, &placement, error);
    if (status < 0) return status;
    e->rounds.wait = static_cast<Wait>(o.integer(Option::wait));
    if (e->rounds.wait == Wait::spin) settings_spinning(e->settings);
    e->rounds.spin_ns = o.integer(Option::wait_spin_ns);
    system_clock_open(&e->clock);
    if (system_random_open(&e->transport_random) < 0 || system_random_open(&e->app_random) < 0) {
        error->begin(WSXDP_E_SYSTEM).add("the kernel has no getrandom: masks and keys need it");
        return WSXDP_E_SYSTEM;
    }
    RegionLayout layout = region_layout(sizes, sizeof(MetadataSlot), sizeof(EventSlot), sizeof(ControlSlot),
                                        sizeof(CommandSlot), sizeof(NoteSlot));
    status = region_create(&e->region, sizes, layout, error);
    if (status >= 0)
        status = poller_open(&e->poller, static_cast<PollerKind>(o.integer(Option::poller)), error);
    if (status < 0) return status;
    if (allocate_stages(e, o) < 0) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    status = set_up_worker(e, placement, error);
    if (status >= 0) wire_stages(e);
    return status;
}

static int set_up_xdp(Engine *e, ErrorText *error) {
    const Options &o = *e->settings->options;
    if (o.integer(Option::transport) != transport_xdp) return WSXDP_OK;
    XdpPlace place = {e->transport.poller, e->transport.clock, &e->transport_random,
                      e->region.sizes.connections};
    int status = xdp_transport_open(&o, place, &e->xdp, error);
    if (status < 0) return status;
    e->transport.link = &xdp_link;
    e->transport.driver = &xdp_driver;
    e->transport.link_context = xdp_transport_host(e->xdp);
    return WSXDP_OK;
}

int engine_open(const char *url, Options *options, Engine **out, ErrorText *error) {
    *out = nullptr;
    Engine *e = allocate_object<Engine>();
    if (e == nullptr) {
        options_free(options);
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory");
        return WSXDP_E_MEMORY;
    }
    int status = set_up(e, options, error);
    if (status >= 0) status = set_up_xdp(e, error);
    if (status >= 0 && e->worker != nullptr) status = worker_start(e->worker, error);
    if (status >= 0 && url != nullptr) status = engine_connect(e, url, nullptr, &e->first_id, error);
    if (status < 0) {
        engine_free(e);
        return status;
    }
    *out = e;
    return WSXDP_OK;
}

// ---- connect ----

// Views in c->url and c->proxy point into text that the connection or its settings own.
static int parse_urls(Connection *c, const char *url, ErrorText *error) {
    c->url_text = duplicate_text(url, strlen(url));
    if (c->url_text == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("connecting: out of memory");
        return WSXDP_E_MEMORY;
    }
    int status = url_parse(ByteView(c->url_text), &c->url, error);
    const char *proxy = c->settings->options->text(Option::proxy);
    if (status < 0 || proxy[0] == 0) return status;
    c->has_proxy = true;
    return proxy_url_parse(ByteView(proxy), &c->proxy, error);
}

static int need_tls(Engine *e, Connection *c, ErrorText *error) {
    if (c->url.scheme != Scheme::wss) return WSXDP_OK;
    if (!tls_backend()->available) {
        error->begin(WSXDP_E_UNSUPPORTED)
            .add("wss:// is not in this build (TLS=none); build with TLS=openssl");
        return WSXDP_E_UNSUPPORTED;
    }
    int status = settings_need_tls(c->settings, &e->settings, 1, error);
    for (size_t i = 0; i < e->app.live_count && c->settings->tls == nullptr && status >= 0; i++)
        status = settings_need_tls(c->settings, &e->app.connections[e->app.live[i]].settings, 1, error);
    return status;
}

static int choose_settings(Engine *e, const Options *options, Settings **out, ErrorText *error) {
    if (options == nullptr) {
        *out = e->settings;
        e->settings->references++;
        return WSXDP_OK;
    }
    int status = options_check_same_handle(e->settings->options, options, error);
    if (status < 0) return status;
    // Equal options share their settings: a thousand connections need one copy.
    for (size_t i = 0; i < e->app.live_count; i++) {
        Settings *other = e->app.connections[e->app.live[i]].settings;
        if (!options_equal(other->options, options, "")) continue;
        other->references++;
        *out = other;
        return WSXDP_OK;
    }
    Options *copy = options_copy(options);
    if (copy == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("connecting: out of memory for the options");
        return WSXDP_E_MEMORY;
    }
    status = settings_new(copy, e->region.sizes.inbox_bytes, e->region.sizes.outbox_bytes, out, error);
    if (status >= 0 && e->rounds.wait == Wait::spin) settings_spinning(*out);
    return status;
}

static void attach(Engine *e, Connection *c) {
    const RegionSizes &sizes = e->region.sizes;
    c->inbox.open(&c->area.words->inbox, c->area.inbox, sizes.inbox_bytes);
    c->outbox.open(&c->area.words->outbox, c->area.outbox, sizes.outbox_bytes);
    ws_attach(&e->ws, c->index, c->area, sizes.inbox_bytes, c->settings);
    AppConnection *a = &e->app.connections[c->index];
    *a = AppConnection();
    uint32_t generation_max = UINT32_MAX >> e->app.generation_shift;
    uint32_t *generation = &e->generations[c->index];
    *generation = *generation % (generation_max - 1) + 1; // never 0, and never all ones, which is WSXDP_ALL
    a->id = *generation << e->app.generation_shift | c->index;
    a->state = WSXDP_STATE_CONNECTING;
    a->area = c->area;
    a->settings = c->settings;
    a->conflate = c->settings->overflow == Overflow::conflate;
    if (a->conflate) e->app.conflating++;
    a->inbox.open(&c->area.words->inbox, c->area.inbox, sizes.inbox_bytes);
    a->outbox.open(&c->area.words->outbox, c->area.outbox, sizes.outbox_bytes);
    if (c->area.inflated) a->inflated.open(&c->area.words->inflated, c->area.inflated, sizes.inbox_bytes);
    e->app.live[e->app.live_count++] = c->index;
}

static int prepare(Engine *e, Connection *c, const char *url, const Options *options, ErrorText *error) {
    int status = choose_settings(e, options, &c->settings, error);
    if (status >= 0) status = parse_urls(c, url, error);
    if (status >= 0) {
        status = upgrade_check_request(&e->app_random, c);
        if (status < 0) *error = c->error;
    }
    if (status >= 0) status = need_tls(e, c, error);
    if (status >= 0) status = region_map_connection(&e->region, c->index, &c->area, error);
    bool prefault = e->settings->options->flag(Option::inbox_prefault) && e->app.live_count < direct_max;
    if (status >= 0 && prefault) mirror_populate(c->area.inbox, e->region.sizes.inbox_bytes);
    if (status >= 0 && c->settings->deflate)
        status = region_map_inflated(&e->region, c->index, &c->area, error);
    return status;
}

int engine_connect(Engine *e, const char *url, const Options *options, uint32_t *id, ErrorText *error) {
    Connection *c = e->runner->seat(e);
    if (c == nullptr) {
        error->begin(WSXDP_E_CONNECTIONS).add("connections.max=");
        error->number(e->settings->options->integer(Option::connections_max))
            .add(" connections exist; raise it");
        return WSXDP_E_CONNECTIONS;
    }
    new (c) Connection();
    c->index = static_cast<uint32_t>(c - e->transport.connections);
    int status = prepare(e, c, url, options, error);
    if (status >= 0 && e->app.commands.room() == 0) {
        error->begin(WSXDP_E_AGAIN).add("the command queue is full; poll, then try again");
        status = WSXDP_E_AGAIN;
    }
    if (status < 0) {
        if (c->area.words != nullptr) region_unmap_connection(&e->region, c->index, &c->area);
        free_secret_text(c->url_text);
        settings_drop(c->settings);
        uint32_t index = c->index;
        *c = Connection();
        c->index = index;
        return status;
    }
    attach(e, c);
    transport_prepare(c);
    if (e->runner->attached != nullptr) e->runner->attached(e, c->index);
    CommandSlot *slot = e->app.commands.claim();
    *slot = CommandSlot();
    slot->index = c->index;
    slot->kind = CommandSlot::connect;
    e->app.commands.publish();
    *id = e->app.connections[c->index].id;
    if (e->runner->told != nullptr) e->runner->told(e);
    if (e->fd_used) poller_signal(&e->poller);
    return WSXDP_OK;
}

// ---- the end ----

void engine_drop(Engine *e, uint32_t index, ConnectionArea *area, Settings *settings) {
    ws_detach(&e->ws, index);
    transport_retire(&e->transport, &e->transport.connections[index]);
    region_unmap_connection(&e->region, index, area);
    settings_drop(settings);
}

void engine_retire(Engine *e, AppConnection *a) {
    uint32_t index = app_index(&e->app, a);
    if (a->want_writable) e->app.writable_waiters--;
    if (a->conflate) e->app.conflating--;
    if (a->ended) e->app.ended_count--;
    for (size_t i = 0; i < e->sender_count; i++)
        if (e->senders[i]->id == a->id) e->senders[i]->shared->closed.store(1, std::memory_order_release);
    deflater_free(a->deflater);
    Settings *settings = a->settings;
    ConnectionArea area = a->area;
    *a = AppConnection();
    for (size_t i = 0; i < e->app.live_count; i++) {
        if (e->app.live[i] != index) continue;
        e->app.live[i] = e->app.live[--e->app.live_count];
        break;
    }
    e->runner->retire(e, index, area, settings);
}

static void free_arrays(Engine *e) {
    deallocate(e->transport.connections);
    deallocate(e->transport.live);
    deallocate(e->transport.scratch);
    deallocate(e->ws.connections);
    deallocate(e->app.connections);
    deallocate(e->app.live);
    deallocate(e->app.touched);
    deallocate(e->app.held);
    deallocate(e->senders);
    deallocate(e->generations);
}

void engine_free(Engine *e) {
    if (e->runner->stop != nullptr) e->runner->stop(e);
    e->runner = &inline_runner; // what is left is ours to end
    while (e->app.live_count != 0) engine_retire(e, &e->app.connections[e->app.live[e->app.live_count - 1]]);
    // Senders that the caller forgot: their threads must be done with them by now.
    while (e->sender_count != 0) sender_destroy(e->senders[--e->sender_count]);
    free_arrays(e);
    xdp_transport_close(e->xdp);
    if (e->worker != nullptr) worker_close(e->worker);
    deallocate(e->worker);
    poller_close(&e->poller);
    region_free(&e->region);
    settings_drop(e->settings);
    e->~Engine();
    deallocate(e);
}

// ---- senders ----

int engine_sender_open(Engine *e, AppConnection *c, size_t bytes, Sender **out) {
    if (e->sender_count == e->sender_max) {
        e->app.error.begin(WSXDP_E_SENDERS).add("senders.max senders are open; raise it or free some");
        return WSXDP_E_SENDERS;
    }
    uint64_t message_max = c->outbox.capacity - 4 * frame_head_max;
    if (c->settings->send_fragment_bytes != 0) message_max -= message_max / 2; // heads of the fragments
    int status = sender_create(bytes, message_max, c->settings->send_check_utf8, out, &e->app.error);
    if (status < 0) return status;
    (*out)->id = c->id;
    (*out)->index = app_index(&e->app, c);
    (*out)->bell = e;
    (*out)->ring = engine_ring;
    e->senders[e->sender_count++] = *out;
    return WSXDP_OK;
}

void engine_sender_free(Engine *e, Sender *sender) {
    engine_drain_senders(e);
    for (size_t i = 0; i < e->sender_count; i++) {
        if (e->senders[i] != sender) continue;
        e->senders[i] = e->senders[--e->sender_count];
        sender_destroy(sender);
        return;
    }
}

} // namespace wx
