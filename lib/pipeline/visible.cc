// SPDX-License-Identifier: MIT
// See visible.h. The file of the name comes last, when all that it leads to is there, and goes first. What is
// told of connections is copied now and then, in pieces, by whose it is; with inline placement that is all of
// it. Nothing here can fail once the handle is open.
#include "visible.h"
#include "../base/alloc.h"
#include "naming.h"
#include "remote.h"
#include <sys/syscall.h>
#include <unistd.h>

namespace wx {

void visible_describe(Engine *e) {
    if (e->visible == nullptr) return;
    HandleWords *w = shared_handle(e->region);
    PlacementKind kind = PlacementKind::inline_;
    if (e->remote != nullptr) kind = e->remote->placement.kind;
    const size_t places = e->remote != nullptr ? e->remote->placement.count : 0;
    w->kind.store(static_cast<uint32_t>(kind), std::memory_order_relaxed);
    w->places.store(static_cast<uint32_t>(places), std::memory_order_relaxed);
    w->ns_per_tick_q32.store(e->clock.ns_per_tick_q32, std::memory_order_relaxed);
    w->pid.store(static_cast<uint32_t>(getpid()), std::memory_order_relaxed);
    w->tid.store(static_cast<uint32_t>(syscall(SYS_gettid)), std::memory_order_relaxed);
}

int visible_open(Engine *e, ErrorText *error) {
    const char *name = e->settings->options->text(Option::name);
    if (name[0] == 0) return WSXDP_OK;
    int status = name_check(ByteView(name), error);
    if (status < 0) return status;
    Visible *v = e->visible = allocate_object<Visible>();
    if (v == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory");
        return WSXDP_E_MEMORY;
    }
    v->name = name;
    v->counters = &shared_handle(e->region)->counters;
    visible_describe(e);
    return name_claim(name, e->region.fd, &v->lock, error);
}

void visible_close(Engine *e) {
    if (e->visible == nullptr) return;
    if (e->visible->lock >= 0) name_release(e->visible->name, e->visible->lock);
    deallocate(e->visible);
    e->visible = nullptr;
}

// Without what the URL says besides: user, password and query are secrets.
void visible_connected(Engine *e, const Connection *c) {
    ConnectionWords *words = e->app.connections[c->index].area.words;
    static const char *const schemes[] = {"ws://", "wss://", "ws+unix://", "echo:"};
    Writer out{ByteSpan(words->peer, sizeof words->peer - 1)};
    out.text(schemes[static_cast<size_t>(c->url.scheme)]);
    if (c->url.host_is_ipv6) out.u8('[');
    out.bytes(c->url.host);
    if (c->url.host_is_ipv6) out.u8(']');
    if (c->url.port != 0) {
        out.u8(':');
        out.decimal(c->url.port);
    }
    e->visible->turn.changed = true;
    e->visible->turn.due = 0;
}

void visible_polled(Engine *e, size_t filled) {
    wait_count(e->visible->counters->loops);
    if (filled == 0) return;
    wait_count(e->visible->counters->busy);
    e->visible->turn.changed = true;
}

void visible_sleeps(Engine *e) { wait_count(e->visible->counters->sleeps); }

static void tell(const AppConnection *a) {
    AppFacts facts;
    memset(&facts, 0, sizeof facts);
    facts.id = a->id;
    facts.state = a->state;
    facts.messages_sent = a->counters.messages_sent;
    facts.payload_sent = a->counters.payload_sent;
    facts.frames_sent = a->counters.frames_sent;
    facts.refused = a->counters.refused;
    facts.lost = a->counters.lost;
    facts.outbox_max = a->counters.outbox_max;
    facts.holds = a->holds;
    publish_app(a->area.words, facts);
}

void visible_publish(Engine *e, Nanos now) {
    PublishTurn *turn = &e->visible->turn;
    if (!turn->begin(now)) return;
    shared_handle(e->region)->tid.store(static_cast<uint32_t>(syscall(SYS_gettid)),
                                        std::memory_order_relaxed);
    const uint32_t from = turn->next;
    const size_t limit = e->app.connection_limit;
    turn->next = from + publish_looks < limit ? from + static_cast<uint32_t>(publish_looks) : 0;
    if (e->remote == nullptr) turn->next = rounds_publish_from(&e->rounds, from, nullptr);
    const size_t end = turn->next != 0 ? turn->next : limit;
    for (size_t i = from; i < end; i++)
        if (e->app.connections[i].id != 0) tell(&e->app.connections[i]);
    turn->end(now);
}

} // namespace wx
