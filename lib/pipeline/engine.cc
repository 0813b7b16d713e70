// SPDX-License-Identifier: MIT
// Opening and ending a handle and its connections. Everything is allocated here; a failure at any step undoes
// the steps before it, in one place.
#include "../base/alloc.h"
#include "remote.h"
#include "visible.h"

namespace wx {

static int unsupported(ErrorText *error, const char *option, const char *value, const char *instead) {
    error->begin(WSXDP_E_UNSUPPORTED).add("option ").add(option).add("=").add(value);
    error->add(": not in this build; use ").add(instead);
    return WSXDP_E_UNSUPPORTED;
}

static int check_supported(const Options &o, ErrorText *error) {
    static const char *const names[] = {"auto", "socket", "uring", "xdp"};
    int64_t transport = o.integer(Option::transport);
    if (transport == transport_uring)
        return unsupported(error, "transport", names[transport], "transport=socket or transport=xdp");
    return WSXDP_OK;
}

// What one process opens no other can read: sockets are whole where they are.
static int check_sockets(const Options &o, const Placement &placement, ErrorText *error) {
    uint32_t here = 0;
    for (size_t i = 0; i < placement.count; i++) here |= placement.places[i].stages;
    if (placement.kind == PlacementKind::threads || (here & (stage_rx | stage_tls | stage_tx)) == 0)
        return WSXDP_OK;
    error->begin(WSXDP_E_UNSUPPORTED).add("option placement=").add(o.text(Option::placement));
    error->add(": a socket's descriptor belongs to one process; name transport there, or use threads");
    return WSXDP_E_UNSUPPORTED;
}

// Of xdp: transport as a whole and ws, apart or together, and nic: with transport, which then does its work,
// or in a place of its own.
static int check_placement(const Options &o, Placement *placement, ErrorText *error) {
    int status = placement_parse(ByteView(o.text(Option::placement)), placement, error);
    if (status >= 0)
        status = placement_complete(placement, o.integer(Option::transport) == transport_xdp, error);
    if (status < 0 || placement->kind == PlacementKind::inline_) return status;
    if (o.integer(Option::transport) != transport_xdp) return check_sockets(o, *placement, error);
    constexpr uint32_t whole = stage_transport | stage_ws, nic = stage_nic;
    uint32_t here = 0;
    for (size_t i = 0; i < placement->count; i++) here |= placement->places[i].stages;
    const size_t apart = placement_nic(*placement);
    const bool possible = apart == placement->count || placement->places[apart].stages == nic;
    if ((here & ~nic) == whole && possible) return status;
    return unsupported(
        error, "placement", o.text(Option::placement),
        "inline, or a list of transport and ws, apart or as transport+ws; with xdp nic may be joined to "
        "transport or be a place of its own");
}

static int allocate_app(Engine *e, const Options &o, ErrorText *error) {
    const size_t connections = e->region.sizes.connections;
    App *app = &e->app;
    app->connections = allocate_array<AppConnection>(connections);
    app->live = allocate_array<uint32_t>(connections);
    app->touched = allocate_array<uint32_t>(connections);
    app->held_max = static_cast<size_t>(o.integer(Option::hold_max));
    app->held = allocate_array<Held>(app->held_max);
    e->sender_max = static_cast<size_t>(o.integer(Option::senders_max));
    e->senders = allocate_array<Sender *>(e->sender_max);
    e->generations = allocate_array<uint32_t>(connections);
    bool all = app->connections && app->live && app->touched && app->held && e->senders && e->generations;
    if (!all) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    app->connection_limit = connections;
    while ((size_t{1} << app->generation_shift) < connections) app->generation_shift++;
    return WSXDP_OK;
}

static void wire_app(Engine *e) {
    const RegionLayout &at = e->region.layout;
    const RegionSizes &n = e->region.sizes;
    open_end<EventSlot>(&e->app.events, e->region, at.events, n.event_slots);
    open_end<CommandSlot>(&e->app.commands, e->region, at.commands, n.command_slots);
    open_end<NoteSlot>(&e->app.notes, e->region, at.event_notes, n.note_slots);
    e->app.clock = &e->clock;
    e->app.random = &e->app_random;
    e->rounds.transport = &e->stages.transport;
    e->rounds.ws = &e->stages.ws;
    e->rounds.poller = &e->poller;
    e->rounds.clock = &e->clock;
}

static int open_stages(Engine *e, const Placement &placement, ErrorText *error) {
    if (placement.kind == PlacementKind::threads) return threads_open(e, placement, error);
    if (placement.kind == PlacementKind::processes) return processes_open(e, placement, error);
    int status = transport_open(&e->stages, *e->settings->options, &e->region, &e->clock, &e->poller, error);
    return status < 0 ? status : ws_open(&e->stages, e->region, &e->clock, error);
}

static int set_up(Engine *e, Options *options, ErrorText *error) {
    RegionSizes sizes = stages_region_sizes(*options);
    int status = settings_new(options, sizes.inbox_bytes, sizes.outbox_bytes, &e->settings, error);
    if (status < 0) return status;
    const Options &o = *e->settings->options;
    Placement placement;
    status = check_supported(o, error);
    if (status >= 0) status = check_placement(o, &placement, error);
    if (status < 0) return status;
    e->rounds.wait = static_cast<Wait>(o.integer(Option::wait));
    if (never_sleeps(e->rounds.wait)) settings_spinning(e->settings);
    e->rounds.spin_ns = o.integer(Option::wait_spin_ns);
    system_clock_open(&e->clock);
    if (system_random_open(&e->app_random) < 0) {
        error->begin(WSXDP_E_SYSTEM).add("the kernel has no getrandom: masks and keys need it");
        return WSXDP_E_SYSTEM;
    }
    status = region_create(&e->region, sizes,
                           stages_region_layout(sizes, shared_words_bytes(sizes.connections)), error);
    if (status >= 0)
        status = poller_open(&e->poller, static_cast<PollerKind>(o.integer(Option::poller)), error);
    if (status >= 0) status = allocate_app(e, o, error);
    if (status < 0) return status;
    wire_app(e);
    status = open_stages(e, placement, error);
    return status < 0 ? status : visible_open(e, error);
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
    if (status >= 0 && url != nullptr) status = engine_connect(e, url, nullptr, &e->first_id, error);
    if (status < 0) {
        engine_free(e);
        return status;
    }
    *out = e;
    return WSXDP_OK;
}

// ---- connect ----

static int need_tls(Engine *e, Connection *c, ErrorText *error) {
    if (c->url.scheme != Scheme::wss || settings_share_tls(c->settings, e->settings)) return WSXDP_OK;
    for (size_t i = 0; i < e->app.live_count; i++)
        if (settings_share_tls(c->settings, e->app.connections[e->app.live[i]].settings)) return WSXDP_OK;
    return settings_need_tls(c->settings, error);
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
    if (status >= 0 && never_sleeps(e->rounds.wait)) settings_spinning(*out);
    return status;
}

static void attach(Engine *e, Connection *c) {
    const RegionSizes &sizes = e->region.sizes;
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
    if (status >= 0) status = connection_prepare(c, &e->app_random, url, error);
    if (status >= 0) status = need_tls(e, c, error);
    if (status >= 0) status = region_map_connection(&e->region, c->index, &c->area, error);
    bool prefault = e->settings->options->flag(Option::inbox_prefault) && e->app.live_count < direct_max;
    if (status >= 0 && prefault) mirror_populate(c->area.inbox, e->region.sizes.inbox_bytes);
    if (status >= 0 && c->settings->deflate)
        status = region_map_inflated(&e->region, c->index, &c->area, error);
    return status;
}

int engine_connect(Engine *e, const char *url, const Options *options, uint32_t *id, ErrorText *error) {
    uint32_t index = 0;
    if (!e->runner->seat(e, &index)) {
        error->begin(WSXDP_E_CONNECTIONS).add("connections.max=");
        error->number(e->settings->options->integer(Option::connections_max))
            .add(" connections exist; raise it");
        return WSXDP_E_CONNECTIONS;
    }
    Connection *c = e->runner->blank(e, index);
    new (c) Connection();
    c->index = index;
    int status = prepare(e, c, url, options, error);
    if (status >= 0 && e->app.commands.room() == 0) {
        error->begin(WSXDP_E_AGAIN).add("the command queue is full; poll, then try again");
        status = WSXDP_E_AGAIN;
    }
    if (status >= 0) status = e->runner->attach(e, c, error);
    if (status < 0) {
        if (c->area.words != nullptr) region_unmap_connection(&e->region, c->index, &c->area);
        free_secret_text(c->url_text);
        settings_drop(c->settings);
        *c = Connection();
        c->index = index;
        return status;
    }
    attach(e, c);
    if (e->visible != nullptr) visible_connected(e, c);
    if (status == 0) app_connect(&e->app, index);
    *id = e->app.connections[c->index].id;
    if (e->runner->told != nullptr) e->runner->told(e);
    if (e->fd_used) poller_signal(&e->poller);
    return WSXDP_OK;
}

// ---- the end ----

void engine_drop(Engine *e, uint32_t index, ConnectionArea *area, Settings *settings) {
    stages_detach(&e->stages, index);
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
    deallocate(a->earlier);
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
    deallocate(e->app.connections);
    deallocate(e->app.live);
    deallocate(e->app.touched);
    deallocate(e->app.held);
    deallocate(e->senders);
    deallocate(e->generations);
}

void engine_free(Engine *e) {
    visible_close(e);
    if (e->runner->stop != nullptr) e->runner->stop(e);
    e->runner = &inline_runner; // what is left is ours to end
    while (e->app.live_count != 0) engine_retire(e, &e->app.connections[e->app.live[e->app.live_count - 1]]);
    // Senders that the caller forgot: their threads must be done with them by now.
    while (e->sender_count != 0) sender_destroy(e->senders[--e->sender_count]);
    free_arrays(e);
    stages_close(&e->stages);
    threads_close(e);
    processes_close(e);
    remote_close(e);
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
