// SPDX-License-Identifier: MIT
// A process of our own as the worker, and what happens when it ends before its time. It is started before any
// network activity and makes its stages itself; a connection is handed to it as a URL and options. When it
// dies everything that it had published is delivered first; then each connection is told, the rings begin
// anew and another process takes the connections up like after any other loss. Memory that the caller still
// holds stays as it is: positions go on where the caller's side knows they were, and nothing that the dead
// process left in a word is believed.
#include "../base/alloc.h"
#include "helper.h"
#include "remote.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef WSXDP_STAGE_PATH
#define WSXDP_STAGE_PATH "/usr/local/libexec/wsxdp-stage"
#endif

namespace wx {

// How soon a caller that spins finds out that the process has ended.
constexpr Nanos look_interval = ns_per_ms;
// What a process in its right mind needs to end.
constexpr Nanos end_patience = 500 * ns_per_ms;

// A process that ends closes its sockets first.
constexpr int closing_ms = 20;

enum class Life : uint8_t {
    starting, // spawned, has not answered yet
    running,
    telling, // it is dead: the connections hear of it one by one
    waiting, // for the next start
};

struct Helper {
    Life life = Life::starting;
    HelperProcess process;
    int self = -1; // pidfd of this process, for the helper to watch
    Place place;
    Connection blank;      // what a new connection is prepared in
    char **urls = nullptr; // by index: to connect again
    Nanos looked = 0;
    Nanos due = never;    // end of `starting`, or of `waiting`
    int64_t failures = 0; // in a row
    size_t telling = 0;
    bool error_told = false;
    ErrorText cause;
};

static const char *role_name(const Helper *h) {
    return h->place.stages == (stage_transport | stage_ws) ? "transport+ws" : "stages";
}

// ---- starting ----

static const char *stage_path(const Engine *e) {
    const char *path = e->settings->options->text(Option::stage_path);
    return path[0] != 0 ? path : WSXDP_STAGE_PATH;
}

static int tell_start(Engine *e, int options) {
    Helper *h = e->helper;
    StageStart start;
    memset(&start, 0, sizeof start);
    start.magic = stage_magic;
    start.version = stage_version;
    start.stages = h->place.stages;
    start.cpu = h->place.cpu;
    int fds[StageStart::count];
    fds[StageStart::options] = options;
    fds[StageStart::region] = e->region.fd;
    fds[StageStart::app_bell] = e->poller.bell_fd;
    fds[StageStart::own_bell] = e->remote->bell;
    fds[StageStart::parent] = h->self;
    return passing_send(h->process.control, ByteView(&start, sizeof start), fds, StageStart::count);
}

static int start_process(Engine *e, ErrorText *error) {
    Helper *h = e->helper;
    int status = helper_spawn(stage_path(e), role_name(h), &h->process, error);
    if (status < 0) return status;
    int options = -1;
    int cause = bundle_write(ByteView(""), e->settings->options, &options);
    if (cause == 0) cause = tell_start(e, options);
    if (options >= 0) close(options);
    if (cause == EPIPE) cause = 0; // it has ended: how is told where its answer is awaited
    // The socket for its answer, the pidfd for its end; both say no more than that it is time to look.
    if (cause == 0) cause = poller_watch_end(&e->poller, h->process.control);
    if (cause == 0) cause = poller_watch_end(&e->poller, h->process.pidfd);
    if (cause == 0) {
        h->life = Life::starting;
        h->due = monotonic_ns() + e->settings->options->integer(Option::stage_start_timeout_ns);
        return WSXDP_OK;
    }
    const int code = cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_STAGE_START;
    error->begin(code, cause).add("placement: telling ").add(ByteView(stage_path(e)));
    error->add(" what to do: ").errno_name(cause);
    return code;
}

static void unwatch(Engine *e) {
    HelperProcess *p = &e->helper->process;
    if (p->control >= 0) poller_remove(&e->poller, p->control);
    if (p->pidfd >= 0) poller_remove(&e->poller, p->pidfd);
    e->poller.ended = false;
}

// Whether it has answered: 1 it is ready, 0 not yet, < 0 why it will not be.
static int take_reply(Engine *e, int timeout_ms, ErrorText *error) {
    Helper *h = e->helper;
    StageReply reply;
    int cause = passing_receive(h->process.control, &reply, sizeof reply, nullptr, 0, timeout_ms);
    if (cause == EAGAIN) return 0;
    if (cause != 0) {
        error->begin(WSXDP_E_STAGE_START, cause).add("placement: ").add(ByteView(stage_path(e)));
        error->add(" did not answer: ");
        pollfd look = {h->process.pidfd, POLLIN, 0};
        (void)poll(&look, 1, closing_ms);
        if (helper_ended(&h->process, error) == 0) error->add("it closed its socket");
        return WSXDP_E_STAGE_START;
    }
    if (reply.code >= 0) {
        poller_remove(&e->poller, h->process.control); // of no interest any more
        e->poller.ended = false;
        h->life = Life::running;
        h->failures = 0;
        h->due = never;
        return 1;
    }
    error->begin(reply.code, reply.cause);
    error->size = reply.size < sizeof error->text ? reply.size : sizeof error->text - 1;
    memcpy(error->text, reply.text, error->size);
    error->text[error->size] = 0;
    return reply.code;
}

static int await_reply(Engine *e, ErrorText *error) {
    const Nanos patience = e->settings->options->integer(Option::stage_start_timeout_ns);
    int status = take_reply(e, static_cast<int>(patience / ns_per_ms) + 1, error);
    if (status != 0) return status;
    error->begin(WSXDP_E_STAGE_START)
        .add("placement: ")
        .add(ByteView(stage_path(e)))
        .add(" was not ready within ");
    error->number(patience / ns_per_ms).add(" ms (stage.start_timeout_ns)");
    return WSXDP_E_STAGE_START;
}

int process_open(Engine *e, const Placement &placement, ErrorText *error) {
    e->helper = allocate_object<Helper>();
    if (e->helper != nullptr) e->helper->urls = allocate_array<char *>(e->region.sizes.connections);
    if (e->helper == nullptr || e->helper->urls == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    Helper *h = e->helper;
    h->place = placement.places[0];
    int status = remote_open(e, error);
    if (status < 0) return status;
    e->runner = &process_runner;
    e->remote->bell = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    h->self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
    if (e->remote->bell < 0 || h->self < 0) {
        const int cause = errno;
        error->begin(cause == EMFILE ? WSXDP_E_DESCRIPTORS : WSXDP_E_SYSTEM, cause);
        error->add("placement: eventfd, pidfd_open: ").errno_name(cause);
        return error->code;
    }
    status = start_process(e, error);
    if (status >= 0) status = await_reply(e, error);
    return status < 0 ? status : static_cast<int>(WSXDP_OK);
}

void process_close(Engine *e) {
    Helper *h = e->helper;
    if (h == nullptr) return;
    for (size_t i = 0; h->urls != nullptr && i < e->region.sizes.connections; i++)
        free_secret_text(h->urls[i]);
    deallocate(h->urls);
    if (h->self >= 0) close(h->self);
    if (e->remote != nullptr && e->remote->bell >= 0) close(e->remote->bell);
    h->~Helper();
    deallocate(h);
    e->helper = nullptr;
}

static void stop(Engine *e) {
    if (e->remote != nullptr) {
        e->remote->words->stop.store(1, std::memory_order_seq_cst);
        remote_told(e);
    }
    unwatch(e);
    helper_end(&e->helper->process, end_patience);
    remote_drop_leaving(e);
}

// ---- connections ----

static Connection *blank(Engine *e, uint32_t) { return &e->helper->blank; }

static int send_connect(Engine *e, uint32_t index, const Options *options, const AppConnection *was) {
    Helper *h = e->helper;
    int fd = -1;
    int cause = bundle_write(ByteView(h->urls[index]), options, &fd);
    if (cause != 0) return cause;
    StageConnect request;
    memset(&request, 0, sizeof request);
    request.index = index;
    request.was_open = was != nullptr && was->epoch != 0;
    request.epoch = was != nullptr ? was->epoch : 0;
    e->remote->seats[index].store(Seat::taken, std::memory_order_release);
    cause = passing_send(h->process.control, ByteView(&request, sizeof request), &fd, 1);
    close(fd);
    return cause;
}

// While no process is there the connection waits for the next one, which takes all that exist.
static int attach(Engine *e, Connection *c, ErrorText *error) {
    Helper *h = e->helper;
    free_secret_text(h->urls[c->index]);
    h->urls[c->index] = c->url_text;
    c->url_text = nullptr;
    if (h->life == Life::telling || h->life == Life::waiting) return WSXDP_OK;
    int cause = send_connect(e, c->index, c->settings->options, nullptr);
    if (cause == 0 || cause == EPIPE) return WSXDP_OK; // its death is told by poll
    error->begin(cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_SYSTEM, cause);
    error->add("connecting: handing the request to ").add(role_name(h)).add(": ").errno_name(cause);
    return error->code;
}

static void retire(Engine *e, uint32_t index, const ConnectionArea &area, Settings *settings) {
    Helper *h = e->helper;
    free_secret_text(h->urls[index]);
    h->urls[index] = nullptr;
    if (h->life == Life::starting || h->life == Life::running) return remote_retire(e, index, area, settings);
    ConnectionArea mapped = area;
    engine_drop(e, index, &mapped, settings);
}

// ---- after its end ----

// Positions go on from what this side knows: what the caller holds stays below them.
static void begin_anew(Engine *e, AppConnection *a) {
    ConnectionWords *w = a->area.words;
    auto restart = [](ByteRingWords *words, uint64_t head, uint64_t tail) {
        words->skip.store(0, std::memory_order_relaxed);
        words->head.store(head, std::memory_order_relaxed);
        words->tail.store(tail, std::memory_order_release);
    };
    const uint64_t inbox = a->release_to > a->inbox.head ? a->release_to : a->inbox.head;
    const uint64_t inflated =
        a->inflated_release_to > a->inflated.head ? a->inflated_release_to : a->inflated.head;
    restart(&w->inbox, a->inbox.head, inbox);
    restart(&w->inflated, a->inflated.head, inflated);
    a->outbox.head_seen = a->outbox.tail;
    a->outbox.corrupt = a->inbox.corrupt = a->inflated.corrupt = false;
    restart(&w->outbox, a->outbox.tail, a->outbox.tail);
    w->ping_cookie.store(0, std::memory_order_relaxed);
    w->ping_tick.store(0, std::memory_order_relaxed);
    w->frame_end.store(0, std::memory_order_relaxed);
    w->flush_asked.store(0, std::memory_order_relaxed);
    e->remote->seats[app_index(&e->app, a)].store(Seat::free, std::memory_order_relaxed);
}

static void reset_rings(Engine *e) {
    memset(static_cast<void *>(e->region.base + page_bytes), 0, e->region.layout.rings_end - page_bytes);
    const RegionLayout &at = e->region.layout;
    const RegionSizes &n = e->region.sizes;
    open_end<EventSlot>(&e->app.events, e->region, at.events, n.event_slots);
    open_end<CommandSlot>(&e->app.commands, e->region, at.commands, n.command_slots);
    open_end<NoteSlot>(&e->app.notes, e->region, at.event_notes, n.note_slots);
    for (size_t i = 0; i < e->app.live_count; i++) begin_anew(e, &e->app.connections[e->app.live[i]]);
}

static void command(Engine *e, uint32_t index, uint8_t kind) {
    CommandSlot slot;
    memset(&slot, 0, sizeof slot);
    slot.index = index;
    slot.kind = kind;
    (void)e->app.commands.push(slot); // empty a moment ago, with room for four of each connection
}

static bool connect_all(Engine *e) {
    for (size_t i = 0; i < e->app.live_count; i++) {
        const uint32_t index = e->app.live[i];
        const AppConnection *a = &e->app.connections[index];
        if (a->ended) continue;
        if (send_connect(e, index, a->settings->options, a) != 0) return false;
        command(e, index, CommandSlot::connect);
        if (a->close_asked) command(e, index, CommandSlot::abort);
    }
    remote_told(e);
    return true;
}

static void start_again(Engine *e, Nanos now) {
    Helper *h = e->helper;
    reset_rings(e);
    ErrorText error;
    int status = start_process(e, &error);
    if (status >= 0 && connect_all(e)) return;
    unwatch(e);
    helper_end(&h->process, 0);
    h->cause = error;
    h->life = Life::telling;
    h->telling = 0;
    h->due = now;
}

// The connections' own rule for how long to wait: at once, then doubling; without jitter, since there is one
// of us.
static Nanos delay_of(const Helper *h, const Settings *settings) {
    if (h->failures <= 1) return 0;
    Nanos delay = settings->delay_min;
    for (int64_t i = 2; i < h->failures && delay < settings->delay_max; i++) delay *= 2;
    return delay < settings->delay_max ? delay : settings->delay_max;
}

static bool goes_on(const Helper *h, const AppConnection *a) {
    const Settings *s = a->settings;
    if (a->close_asked || !s->reconnect || (a->epoch == 0 && !s->reconnect_initial)) return false;
    return s->max_attempts == 0 || h->failures <= s->max_attempts;
}

static void tell(Engine *e, AppConnection *a, uint32_t kind, wsxdp_event *event) {
    const Helper *h = e->helper;
    memset(event, 0, sizeof *event);
    event->kind = kind;
    event->conn = a->id;
    event->error = h->cause.code;
    event->code = kind == WSXDP_EVENT_ERROR ? 0 : 1006;
    event->data = reinterpret_cast<const uint8_t *>(h->cause.text);
    event->len = h->cause.size;
    e->app.changes++;
    if (kind == WSXDP_EVENT_ERROR) e->app.error = h->cause;
    if (kind == WSXDP_EVENT_RECONNECTING) {
        event->attempt = static_cast<uint32_t>(h->failures);
        event->value = delay_of(h, a->settings);
        a->state = WSXDP_STATE_WAITING;
    }
    if (kind == WSXDP_EVENT_CLOSE) {
        a->state = WSXDP_STATE_CLOSED;
        a->ended = true;
        e->app.ended_count++;
    }
}

// ERROR, then RECONNECTING or CLOSE, of one connection after the other as there is room.
static size_t tell_all(Engine *e, wsxdp_event *events, size_t cap) {
    Helper *h = e->helper;
    size_t filled = 0;
    for (; h->telling < e->app.live_count && filled < cap; h->telling++) {
        AppConnection *a = &e->app.connections[e->app.live[h->telling]];
        if (a->ended) continue;
        if (!h->error_told) tell(e, a, WSXDP_EVENT_ERROR, &events[filled++]);
        h->error_told = filled == cap;
        if (h->error_told) break;
        tell(e, a, goes_on(h, a) ? WSXDP_EVENT_RECONNECTING : WSXDP_EVENT_CLOSE, &events[filled++]);
    }
    return filled;
}

static void died(Engine *e, const ErrorText &cause) {
    Helper *h = e->helper;
    unwatch(e);
    helper_end(&h->process, 0);
    remote_drop_leaving(e);
    h->cause = cause;
    h->failures++;
    h->life = Life::telling;
    h->telling = 0;
    h->error_told = false;
}

static bool look(Engine *e, Nanos now) {
    Helper *h = e->helper;
    if (!e->poller.ended && now - h->looked < look_interval) return false;
    h->looked = now;
    ErrorText cause;
    cause.begin(WSXDP_E_STAGE_DIED).add("the process of ").add(role_name(h)).add(": ");
    if (helper_ended(&h->process, &cause) != 0) return died(e, cause), true;
    if (h->life == Life::running) return false;
    int status = take_reply(e, 0, &cause);
    if (status == 0 && now >= h->due) {
        cause.begin(WSXDP_E_STAGE_START).add("the process of ").add(role_name(h));
        cause.add(" was not ready in time (stage.start_timeout_ns)");
        status = WSXDP_E_STAGE_START;
    }
    if (status < 0) died(e, cause);
    return status < 0;
}

static size_t supervise(Engine *e, Nanos now, wsxdp_event *events, size_t cap) {
    Helper *h = e->helper;
    if ((h->life == Life::running || h->life == Life::starting) && !look(e, now)) return 0;
    if (h->life == Life::telling) {
        const size_t filled = tell_all(e, events, cap);
        if (filled != 0) return filled;
        h->life = Life::waiting;
        h->due = now + delay_of(h, e->settings);
    }
    if (h->life == Life::waiting && now >= h->due) start_again(e, now);
    return 0;
}

Nanos process_due(const Engine *e) {
    const Helper *h = e->helper;
    return h->life == Life::telling ? 0 : h->due;
}

const Runner process_runner = remote_runner({blank, attach, retire, stop, supervise, process_due});

} // namespace wx
