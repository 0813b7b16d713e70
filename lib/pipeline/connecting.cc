// SPDX-License-Identifier: MIT
// From URL to open: resolve, race TCP attempts (RFC 8305), ask the proxy, TLS, upgrade. A state machine that
// never waits: each function does what can be done now and leaves a deadline and an interest in a descriptor.
// Every way to fail ends in keep_lost with its own code and a sentence. Cold: allocates.
#include "connecting.h"
#include "../base/alloc.h"
#include "transport.h"

namespace wx {

void connect_failed(Transport *t, Connection *c) { keep_lost(t, c, c->error.code); }

static uint64_t race_tag(const Connection *c, size_t race) {
    return static_cast<uint64_t>(race + 1) << 32 | c->index;
}

// ---- addresses ----

static ByteView dial_host(const Connection *c) { return c->has_proxy ? c->proxy.host : c->url.host; }
static uint16_t dial_port(const Connection *c) { return c->has_proxy ? c->proxy.port : c->url.port; }

static int unix_address(Connection *c) {
    sockaddr_un local = {};
    local.sun_family = AF_UNIX;
    // The last byte stays zero.
    ByteSpan path(local.sun_path, sizeof local.sun_path - 1);
    if (percent_decode(c->url.host, path) < 0) {
        c->error.begin(WSXDP_E_URL).add("the ws+unix path is longer than ");
        c->error.number(static_cast<int64_t>(path.size))
            .add(" bytes or badly %-encoded; use a shorter path or a symbolic link");
        return WSXDP_E_URL;
    }
    memcpy(&c->addresses.addresses[0].storage, &local, sizeof local);
    c->addresses.addresses[0].size = sizeof local;
    c->addresses.count = 1;
    return 1;
}

// 1: addresses are there; 0: asked the system; < 0 failed.
static int find_addresses(Transport *t, Connection *c) {
    const Options &o = *c->settings->options;
    c->addresses.count = 0;
    if (c->url.scheme == Scheme::ws_unix) return unix_address(c);
    ByteView host = dial_host(c);
    for (size_t i = 0; i < o.count(Option::resolve_override); i++) {
        const OptionText &row = o.at(Option::resolve_override, i);
        int status = resolve_override(ByteView(row.data, row.size), host, dial_port(c), c->settings->family,
                                      &c->addresses, &c->error);
        if (status != 0) return status;
    }
    if (resolve_literal(host, dial_port(c), c->settings->family, &c->addresses) == 1) return 1;
    AddressList unused; // a literal of the other family is no name to ask for: there is no address
    if (resolve_literal(host, dial_port(c), Family::any, &unused) == 1) return 1;
    return resolve_start(host, dial_port(c), c->settings->family, t->poller, &c->resolve, &c->error);
}

static void no_address(Connection *c) {
    c->error.begin(WSXDP_E_RESOLVE).add("resolving ").add(dial_host(c));
    c->error.add(": no address of the family that connect.family allows");
}

// ---- racing ----

const LinkBackend *connect_link(const Transport *t, const Connection *c) {
    if (c->url.scheme == Scheme::echo) return &echo_link;
    return c->url.scheme == Scheme::ws_unix || c->fell_back ? t->sockets : t->link;
}

static void close_race(Transport *t, Race *race) {
    if (!race->active) return;
    channel_remove(t, &race->channel);
    race->channel.backend->close(&race->channel, true);
    race->active = false;
}

static size_t races_active(const Connection *c) {
    size_t count = 0;
    for (const Race &race : c->races) count += race.active ? 1 : 0;
    return count;
}

static void race_won(Transport *t, Connection *c, Race *winner) {
    c->channel = winner->channel;
    winner->active = false;
    channel_remove(t, &c->channel);
    for (Race &race : c->races) close_race(t, &race);
    c->registered = false;
    connected_begin(t, c);
}

static void start_race(Transport *t, Connection *c);

// Whether sockets are tried in the place of the handle's link, which failed for this reason.
static bool fall_back(Transport *t, Connection *c, int code) {
    bool link = (code <= WSXDP_E_XDP_INTERFACE && code >= WSXDP_E_XDP_PORTS) || code == WSXDP_E_PERMISSION ||
                code == WSXDP_E_UNSUPPORTED;
    if (!link || !c->settings->fallback || connect_link(t, c) == t->sockets) return false;
    c->fell_back = true;
    ErrorText text = c->error;
    text.add("; going on with sockets (fallback=socket)");
    note_notice(t, c, text);
    return true;
}

static void every_address_failed(Transport *t, Connection *c) {
    if (c->failed_addresses > 1)
        c->error.add(" (all ").number(static_cast<int64_t>(c->failed_addresses)).add(" addresses failed)");
    connect_failed(t, c);
}

static void race_lost(Transport *t, Connection *c, Race *race, int code, const char *why) {
    if (fall_back(t, c, code)) {
        c->next_address = race->address;
        close_race(t, race);
        start_race(t, c);
        return;
    }
    uint8_t text[160];
    Writer address{ByteSpan(text, sizeof text)};
    address_text(c->addresses.addresses[race->address], &address);
    ErrorText cause = c->error;
    c->error.begin(code, cause.system_errno).add("connecting to ").add(address.view()).add(": ");
    c->error.add(why ? why : cause.text);
    if (code == WSXDP_E_REFUSED) c->error.add("; is the server running, and is this its port?");
    c->failed_addresses++;
    close_race(t, race);
    if (c->next_address < c->addresses.count)
        start_race(t, c);
    else if (races_active(c) == 0)
        every_address_failed(t, c);
}

// Starts the next address that can be started; returns with a race under way, a winner, or a failure told.
static void start_race(Transport *t, Connection *c) {
    LinkOptions link = c->settings->link;
    link.context = t->link_context;
    while (c->next_address < c->addresses.count) {
        Race *race = nullptr;
        size_t slot = 0;
        for (size_t i = 0; i < race_max && race == nullptr; i++)
            if (!c->races[i].active) race = &c->races[i], slot = i;
        if (race == nullptr) return;
        race->address = c->next_address++;
        const Address &address = c->addresses.addresses[race->address];
        int status = connect_link(t, c)->open(address, link, &race->channel, &c->error);
        if (status < 0) {
            if (fall_back(t, c, status))
                c->next_address = race->address;
            else
                c->failed_addresses++;
            continue;
        }
        race->active = true;
        race->deadline = t->now + c->settings->attempt_timeout;
        c->next_race = t->now + c->settings->attempt_delay;
        if (status == 1) {
            race_won(t, c, race);
            return;
        }
        if (!channel_tells(race->channel)) return; // connect_look
        int cause = channel_add(t, &race->channel, race_tag(c, slot), false, true);
        if (cause == 0) return;
        poller_explain(t->poller, cause, &c->error);
        c->failed_addresses++;
        close_race(t, race);
    }
    if (races_active(c) == 0) every_address_failed(t, c);
}

static void begin_racing(Transport *t, Connection *c) {
    if (c->addresses.count == 0) {
        no_address(c);
        connect_failed(t, c);
        return;
    }
    interleave_families(&c->addresses);
    c->next_address = 0;
    c->failed_addresses = 0;
    set_state(t, c, ConnectionState::racing);
    start_race(t, c);
    if (c->state == ConnectionState::racing) keep_schedule(t, c);
}

// ---- entry points ----

static void begin_echo(Transport *t, Connection *c) {
    Address nowhere;
    memset(&nowhere.storage, 0, sizeof nowhere.storage);
    set_state(t, c, ConnectionState::racing);
    if (echo_link.open(nowhere, c->settings->link, &c->channel, &c->error) < 0) {
        connect_failed(t, c);
        return;
    }
    keep_opened(t, c, ByteView("", 0));
}

void connect_begin(Transport *t, Connection *c) {
    c->attempt_started = t->now;
    c->attempt_deadline = t->now + c->settings->connect_timeout;
    c->step_deadline = t->now + c->settings->resolve_timeout;
    c->close_sent = c->close_received = c->close_by_peer = false;
    c->error_told = false;
    c->record_closed = c->write_broken = c->read_ended = false;
    c->end_error = 0;
    c->close_code = 0;
    c->close_size = 0;
    c->control = PendingControl();
    c->facts = TlsFacts();
    c->early_sent = c->fell_back = false;
    c->subprotocol[0] = c->extensions[0] = 0;
    c->deflating = false;
    c->error.clear();
    if (c->url.scheme == Scheme::echo) {
        begin_echo(t, c);
        return;
    }
    set_state(t, c, ConnectionState::resolving);
    int status = find_addresses(t, c);
    if (status < 0) {
        connect_failed(t, c);
    } else if (status == 1) {
        begin_racing(t, c);
    } else {
        keep_schedule(t, c);
    }
}

bool connect_poll_resolver(Transport *t, Connection *c) {
    int status = resolve_result(c->resolve, &c->addresses, &c->error);
    if (status == 0) return false;
    resolve_drop(c->resolve);
    c->resolve = nullptr;
    if (status < 0)
        connect_failed(t, c);
    else
        begin_racing(t, c);
    return true;
}

static void finish_race(Transport *t, Connection *c, Race *race) {
    int status = race->channel.backend->finish(&race->channel, &c->error);
    if (status == 1) race_won(t, c, race);
    if (status < 0) race_lost(t, c, race, status, nullptr);
}

void connect_on_ready(Transport *t, Connection *c, const PollerEvent &event) {
    size_t number = static_cast<size_t>(event.tag >> 32);
    if (number == 0) {
        connected_on_ready(t, c);
        return;
    }
    if (number > race_max || !c->races[number - 1].active || c->state != ConnectionState::racing) return;
    finish_race(t, c, &c->races[number - 1]);
}

bool connect_look(Transport *t, Connection *c) {
    ConnectionState before = c->state;
    uint64_t bytes = c->counters.bytes_received;
    if (c->end_waits) return false;
    for (Race &race : c->races)
        if (race.active && c->state == ConnectionState::racing) finish_race(t, c, &race);
    const Channel &channel = c->channel;
    if (channel.backend != nullptr && c->state == before &&
        (c->tx.pending() != 0 || channel.backend->readable(&channel)))
        connected_on_ready(t, c);
    return c->state != before || c->counters.bytes_received != bytes;
}

// The code and sentence for the time that ran out.
static void explain_timeout(Connection *c) {
    ErrorText &e = c->error;
    switch (c->state) {
    case ConnectionState::resolving:
        e.begin(WSXDP_E_RESOLVE_TIMEOUT).add("resolving ").add(dial_host(c));
        e.add(": no answer within resolve.timeout_ns; check the system's DNS");
        break;
    case ConnectionState::racing:
        e.begin(WSXDP_E_CONNECT_TIMEOUT).add("connecting to ").add(dial_host(c)).add(" port ");
        e.number(dial_port(c)).add(": no answer; a firewall may drop the packets, or the port is wrong");
        break;
    case ConnectionState::securing:
        e.begin(WSXDP_E_TLS_TIMEOUT).add("TLS handshake with ").add(c->url.host);
        e.add(": not finished within tls.timeout_ns");
        break;
    case ConnectionState::tunneling:
        e.begin(WSXDP_E_UPGRADE_TIMEOUT).add("the proxy did not answer within upgrade.timeout_ns");
        break;
    default:
        e.begin(WSXDP_E_UPGRADE_TIMEOUT).add("no answer to the upgrade request from ").add(c->url.host);
        e.add("; is this a WebSocket server, and is wss needed instead of ws?");
    }
}

void connect_on_time(Transport *t, Connection *c) {
    bool step_over = c->state != ConnectionState::racing && t->now >= c->step_deadline;
    if (step_over || t->now >= c->attempt_deadline) {
        explain_timeout(c);
        connect_failed(t, c);
        return;
    }
    if (c->state != ConnectionState::racing) return;
    for (size_t i = 0; i < race_max && c->state == ConnectionState::racing; i++) {
        Race *race = &c->races[i];
        if (race->active && t->now >= race->deadline)
            race_lost(t, c, race, WSXDP_E_CONNECT_TIMEOUT, "no answer within connect.attempt_timeout_ns");
    }
    if (c->state == ConnectionState::racing && t->now >= c->next_race && c->next_address < c->addresses.count)
        start_race(t, c);
}

void connect_abandon(Transport *t, Connection *c) {
    for (Race &race : c->races) close_race(t, &race);
    resolve_drop(c->resolve);
    c->resolve = nullptr;
    deallocate(c->head);
    c->head = nullptr;
    c->head_size = c->head_capacity = 0;
}

} // namespace wx
