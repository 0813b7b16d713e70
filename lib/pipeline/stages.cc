// SPDX-License-Identifier: MIT
// Making transport and ws, and handing connections to them. Cold; the only allocations of theirs but for TLS.
// Knows nothing of who runs them.
#include "stages.h"
#include <string.h>

namespace wx {

RegionSizes stages_region_sizes(const Options &o) {
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

RegionLayout stages_region_layout(const RegionSizes &sizes, uint64_t shared_bytes) {
    RegionSlots slots;
    slots.metadata = sizeof(MetadataSlot);
    slots.event = sizeof(EventSlot);
    slots.control = sizeof(ControlSlot);
    slots.command = sizeof(CommandSlot);
    slots.note = sizeof(NoteSlot);
    return region_layout(sizes, slots, shared_bytes);
}

static int no_memory(ErrorText *error) {
    error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
    return WSXDP_E_MEMORY;
}

static int allocate_transport(Transport *t, const Options &o, size_t connections, ErrorText *error) {
    t->connections = allocate_array<Connection>(connections);
    t->live = allocate_array<uint32_t>(connections);
    t->scratch_bytes = static_cast<size_t>(o.integer(Option::socket_read_bytes));
    if (t->scratch_bytes < tls_record_wire_max) t->scratch_bytes = tls_record_wire_max;
    t->scratch = static_cast<uint8_t *>(allocate(t->scratch_bytes));
    if (!t->connections || !t->live || !t->scratch) return no_memory(error);
    t->connection_limit = connections;
    return WSXDP_OK;
}

static int open_xdp(Stages *s, const Options &o, ErrorText *error) {
    if (o.integer(Option::transport) != transport_xdp) return WSXDP_OK;
    XdpPlace place = {s->transport.poller, s->transport.clock, &s->random, s->transport.connection_limit,
                      s->nic_port.area != nullptr ? &s->nic_port : nullptr};
    int status = xdp_transport_open(&o, place, &s->xdp, error);
    if (status < 0) return status;
    s->transport.link = &xdp_link;
    s->transport.driver = &xdp_driver;
    s->transport.link_context = xdp_transport_host(s->xdp);
    return WSXDP_OK;
}

int transport_open(Stages *s, const Options &options, Region *region, Clock *clock, Poller *poller,
                   ErrorText *error) {
    if (system_random_open(&s->random) < 0) {
        error->begin(WSXDP_E_SYSTEM).add("the kernel has no getrandom: masks and keys need it");
        return WSXDP_E_SYSTEM;
    }
    Transport *t = &s->transport;
    int status = allocate_transport(t, options, region->sizes.connections, error);
    if (status < 0) return status;
    t->clock = clock;
    t->poller = poller;
    t->random = &s->random;
    t->region = region;
    const RegionLayout &at = region->layout;
    const RegionSizes &n = region->sizes;
    open_end<MetadataSlot>(&t->metadata, *region, at.metadata, n.metadata_slots);
    open_end<ControlSlot>(&t->control, *region, at.control, n.control_slots);
    open_end<CommandSlot>(&t->commands, *region, at.commands, n.command_slots);
    open_end<NoteSlot>(&t->notes, *region, at.transport_notes, n.note_slots);
    return open_xdp(s, options, error);
}

int ws_open(Stages *s, const Region &region, const Clock *clock, ErrorText *error) {
    WsStage *ws = &s->ws;
    const RegionLayout &at = region.layout;
    const RegionSizes &n = region.sizes;
    ws->connections = allocate_array<WsConnection>(n.connections);
    if (ws->connections == nullptr) return no_memory(error);
    ws->connection_limit = n.connections;
    ws->clock = clock;
    open_end<MetadataSlot>(&ws->metadata, region, at.metadata, n.metadata_slots);
    open_end<EventSlot>(&ws->events, region, at.events, n.event_slots);
    open_end<ControlSlot>(&ws->control, region, at.control, n.control_slots);
    open_end<NoteSlot>(&ws->notes, region, at.transport_notes, n.note_slots);
    open_end<NoteSlot>(&ws->event_notes, region, at.event_notes, n.note_slots);
    return WSXDP_OK;
}

int transport_relay(Stages *s, bool reads_apart, bool writes_apart, ErrorText *error) {
    Transport *t = &s->transport;
    int status = relay_open(&s->relay, t->connection_limit, reads_apart, writes_apart, error);
    if (status < 0) return status;
    t->link = t->sockets = &relay_link;
    t->driver = &relay_driver;
    t->link_context = s->relay;
    return WSXDP_OK;
}

void stages_close(Stages *s) {
    deallocate(s->transport.connections);
    deallocate(s->transport.live);
    deallocate(s->transport.scratch);
    deallocate(s->ws.connections);
    xdp_transport_close(s->xdp);
    s->xdp = nullptr;
    relay_close(s->relay);
    s->relay = nullptr;
    nic_stage_close(&s->nic); // after what the transport had left to say
    xdp_tuner_close(s->tuner);
    s->tuner = nullptr;
}

// ---- connections ----

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

int connection_prepare(Connection *c, RandomSource *random, const char *url, ErrorText *error) {
    int status = parse_urls(c, url, error);
    if (status < 0) return status;
    status = upgrade_check_request(random, c);
    if (status < 0) *error = c->error;
    if (status < 0 || c->url.scheme != Scheme::wss || tls_backend()->available) return status;
    error->begin(WSXDP_E_UNSUPPORTED).add("wss:// is not in this build (TLS=none); build with TLS=openssl");
    return WSXDP_E_UNSUPPORTED;
}

void stages_attach(Stages *s, Connection *c) {
    const Region *region = s->transport.region;
    const RegionSizes &sizes = region->sizes;
    c->inbox.resume(&c->area.words->inbox, c->area.inbox, sizes.inbox_bytes);
    c->outbox.resume(&c->area.words->outbox, c->area.outbox, sizes.outbox_bytes);
    if (c->index < s->ws.connection_limit)
        ws_attach(&s->ws, c->index, c->area, sizes.inbox_bytes, c->settings);
    transport_prepare(c);
}

void stages_detach(Stages *s, uint32_t index) {
    if (index < s->ws.connection_limit) ws_detach(&s->ws, index);
    if (index < s->transport.connection_limit)
        transport_retire(&s->transport, &s->transport.connections[index]);
}

uint64_t stages_xdp_tries(const Stages *s) { return xdp_transport_host(s->xdp)->counters.nic_tries; }

} // namespace wx
