// SPDX-License-Identifier: MIT
// Processes of our own as the workers, and what happens when one ends before its time. They are started
// before any network activity and make their stages themselves; a connection is handed to it as a URL and
// options. When it dies everything that it had published is delivered first; then each connection is told,
// the rings begin anew and another process takes the connections up like after any other loss. Memory that
// the caller still holds stays as it is: positions go on where the caller's side knows they were, and nothing
// that the dead process left in a word is believed.
#include "../base/alloc.h"
#include "helper.h"
#include "published.h"
#include "remote.h"
#include "visible.h"
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
// A process that is alive takes a request within a round; so many fit into its socket beforehand.
constexpr int request_patience_ms = 100;

// Connections whose words are looked at each time: a thousand of them take a few looks.
constexpr size_t looks_at_once = 16;

enum class Life : uint8_t {
    starting, // spawned, has not answered yet
    running,
    telling, // it is dead: the connections hear of it one by one
    waiting, // for the next start
    ended,   // there will be none (stage.restart=no)
};

// That a process runs, as far as this side can see.
struct Pulse {
    uint64_t loops = 0; // as last seen
    Nanos seen = 0;     // when that was new
};

struct Helpers {
    Life life = Life::starting;
    HelperProcess all[places_max]; // by place
    size_t unanswered = 0;         // of those that start
    int self = -1;                 // pidfd of this process, for the helpers to watch
    Connection blank;              // what a new connection is prepared in
    char **urls = nullptr;         // by index: to connect again
    Nanos looked = 0;
    Nanos due = never;    // end of `starting`, or of `waiting`
    int64_t failures = 0; // in a row
    size_t telling = 0;
    size_t next_look = 0; // the connection whose words are looked at next
    Pulse pulses[places_max];
    Nanos pulse_due = never; // when they are looked at next
    bool error_told = false;
    bool restart = true;
    int pair[2] = {-1, -1}; // while they are started: between nic and transport
    ErrorText cause;
};

static void add_role(uint32_t stages, Writer *out) {
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {{stage_nic, "nic"}, {stage_transport, "transport"},
                 {stage_rx, "rx"},   {stage_tls, "tls"},
                 {stage_tx, "tx"},   {stage_ws, "ws"}};
    const size_t begin = out->size();
    for (const auto &row : names) {
        if ((stages & row.bit) == 0) continue;
        if (out->size() != begin) out->u8('+');
        out->text(row.name);
    }
}

struct Role { // in words
    uint8_t text[40] = {0};
    Role(const Engine *e, size_t place) {
        Writer out{ByteSpan(text, sizeof text - 1)};
        add_role(e->remote->placement.places[place].stages, &out);
    }
    const char *name() const { return reinterpret_cast<const char *>(text); }
};

static size_t place_count(const Engine *e) { return e->remote->placement.count; }

// ---- starting ----

static const char *stage_path(const Engine *e) {
    const char *path = e->settings->options->text(Option::stage_path);
    return path[0] != 0 ? path : WSXDP_STAGE_PATH;
}

static int tell_start(Engine *e, size_t place, int options) {
    Helpers *h = e->helpers;
    StageStart start;
    memset(static_cast<void *>(&start), 0, sizeof start);
    start.magic = stage_magic;
    start.version = stage_version;
    start.place = static_cast<uint32_t>(place);
    start.placement = e->remote->placement;
    int fds[StageStart::count];
    fds[StageStart::options] = options;
    fds[StageStart::region] = e->region.fd;
    fds[StageStart::app_bell] = e->poller.bell_fd;
    fds[StageStart::parent] = h->self;
    memcpy(&fds[StageStart::bells], e->remote->bells, sizeof e->remote->bells);
    size_t count = StageStart::bells + place_count(e);
    const uint32_t stages = start.placement.places[place].stages;
    if (h->pair[0] >= 0 && (stages & (stage_nic | stage_transport)) != 0)
        fds[count++] = h->pair[(stages & stage_nic) != 0];
    return passing_send(h->all[place].control, ByteView(&start, sizeof start), fds, count, 0);
}

static int start_one(Engine *e, size_t place, int options, ErrorText *error) {
    HelperProcess *process = &e->helpers->all[place];
    int status = helper_spawn(stage_path(e), Role(e, place).name(), process, error);
    if (status < 0) return status;
    int cause = tell_start(e, place, options);
    if (cause == EPIPE) cause = 0; // it has ended: how is told where its answer is awaited
    // The socket for its answer, the pidfd for its end; both say no more than that it is time to look.
    if (cause == 0) cause = poller_watch_end(&e->poller, process->control);
    if (cause == 0) cause = poller_watch_end(&e->poller, process->pidfd);
    process->answers = true;
    if (cause == 0) return WSXDP_OK;
    error->begin(cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_STAGE_START, cause).add("placement: telling ");
    error->add(ByteView(stage_path(e))).add(" what to do: ").errno_name(cause);
    return error->code;
}

static int start_all(Engine *e, ErrorText *error) {
    Helpers *h = e->helpers;
    int options = -1;
    int cause = bundle_write(ByteView(""), e->settings->options, &options);
    if (cause == 0 && placement_nic(e->remote->placement) < place_count(e) &&
        (cause = passing_pair(h->pair)) != 0)
        close(options);
    if (cause != 0) {
        error->begin(cause == ENOMEM ? WSXDP_E_MEMORY : WSXDP_E_SYSTEM, cause);
        error->add("placement: a memfd for the options: ").errno_name(cause);
        return error->code;
    }
    int status = WSXDP_OK;
    h->unanswered = 0;
    for (size_t i = 0; i < place_count(e) && status >= 0; i++) {
        status = start_one(e, i, options, error);
        h->unanswered++;
    }
    close(options);
    for (int &end : h->pair) {
        if (end >= 0) close(end);
        end = -1;
    }
    h->life = Life::starting;
    h->due = monotonic_ns() + e->settings->options->integer(Option::stage_start_timeout_ns);
    return status;
}

// A process that sleeps is woken to show that it can be. Seconds are fine for that: its end is noticed at
// once.
static void pulses_begin(Engine *e, Nanos now) {
    Helpers *h = e->helpers;
    const Nanos silence = e->settings->options->integer(Option::stage_silence_ns);
    for (size_t i = 0; i < place_count(e); i++) {
        h->pulses[i].loops = e->remote->places[i].words->counters.loops.load(std::memory_order_relaxed);
        h->pulses[i].seen = now;
    }
    h->pulse_due = silence != 0 ? now + silence / 2 : never;
}

// Which of them has not run for stage.silence_ns although it was woken; places_max: none.
static size_t find_silent(Engine *e, Nanos now) {
    Helpers *h = e->helpers;
    const Nanos silence = e->settings->options->integer(Option::stage_silence_ns);
    // Nobody looked for a while, this process may have been stopped itself: they get their time from now on.
    const bool late = now - h->pulse_due > silence / 2;
    if (late) pulses_begin(e, now);
    size_t silent = places_max;
    h->pulse_due = now + silence / 2;
    for (size_t i = 0; i < place_count(e); i++) {
        Pulse *pulse = &h->pulses[i];
        const uint64_t loops = e->remote->places[i].words->counters.loops.load(std::memory_order_relaxed);
        if (loops != pulse->loops) pulse->seen = now;
        pulse->loops = loops;
        if (now - pulse->seen >= silence) silent = i;
        if (pulse->seen + silence > now && pulse->seen + silence < h->pulse_due)
            h->pulse_due = pulse->seen + silence;
        e->remote->places[i].ringer.ring();
    }
    return silent;
}

static void unwatch(Engine *e) {
    for (HelperProcess &p : e->helpers->all) {
        if (p.control >= 0 && p.answers) poller_remove(&e->poller, p.control);
        if (p.pidfd >= 0) poller_remove(&e->poller, p.pidfd);
        p.answers = false;
    }
    e->poller.ended = false;
}

static void end_all(Engine *e, Nanos patience) {
    unwatch(e);
    for (HelperProcess &p : e->helpers->all) helper_dismiss(&p);
    for (HelperProcess &p : e->helpers->all) helper_end(&p, patience);
}

static int did_not_answer(Engine *e, size_t place, int cause, ErrorText *error) {
    HelperProcess *process = &e->helpers->all[place];
    error->begin(WSXDP_E_STAGE_START, cause).add("placement: ").add(ByteView(stage_path(e)));
    error->add(" (").add(Role(e, place).name()).add(") did not answer: ");
    pollfd look = {process->pidfd, POLLIN, 0};
    (void)poll(&look, 1, closing_ms);
    if (helper_ended(process, error) == 0) error->add("it closed its socket");
    return WSXDP_E_STAGE_START;
}

// Whether it has answered: 1 it is ready, 0 not yet, < 0 why it will not be.
static int take_reply(Engine *e, size_t place, int timeout_ms, ErrorText *error) {
    HelperProcess *process = &e->helpers->all[place];
    StageReply reply;
    int cause = passing_receive(process->control, &reply, sizeof reply, nullptr, 0, timeout_ms);
    if (cause == EAGAIN) return 0;
    if (cause != 0) return did_not_answer(e, place, cause, error);
    ErrorText *text = reply.code >= 0 ? &e->remote->notice : error;
    if (reply.code < 0 || reply.size != 0) {
        text->begin(reply.code < 0 ? reply.code : static_cast<int>(WSXDP_E_THREAD_START), reply.cause);
        text->size = reply.size < sizeof text->text ? reply.size : sizeof text->text - 1;
        memcpy(text->text, reply.text, text->size);
        text->text[text->size] = 0;
    }
    if (reply.code < 0) return reply.code;
    poller_remove(&e->poller, process->control); // of no interest any more
    process->answers = false;
    e->poller.ended = false;
    if (--e->helpers->unanswered != 0) return 1;
    e->helpers->life = Life::running;
    e->helpers->failures = 0;
    e->helpers->due = never;
    pulses_begin(e, monotonic_ns());
    return 1;
}

static int await_replies(Engine *e, ErrorText *error) {
    const Nanos patience = e->settings->options->integer(Option::stage_start_timeout_ns);
    for (size_t i = 0; i < place_count(e); i++) {
        const Nanos left = e->helpers->due - monotonic_ns();
        int status = take_reply(e, i, left > 0 ? static_cast<int>(left / ns_per_ms) + 1 : 0, error);
        if (status > 0) continue;
        if (status < 0) return status;
        error->begin(WSXDP_E_STAGE_START).add("placement: ").add(ByteView(stage_path(e)));
        error->add(" (").add(Role(e, i).name()).add(") was not ready within ").number(patience / ns_per_ms);
        error->add(" ms (stage.start_timeout_ns)");
        return WSXDP_E_STAGE_START;
    }
    return WSXDP_OK;
}

int processes_open(Engine *e, const Placement &placement, ErrorText *error) {
    Helpers *h = e->helpers = allocate_object<Helpers>();
    if (h != nullptr) h->urls = allocate_array<char *>(e->region.sizes.connections);
    if (h == nullptr || h->urls == nullptr) {
        error->begin(WSXDP_E_MEMORY).add("opening: out of memory; lower connections.max");
        return WSXDP_E_MEMORY;
    }
    h->restart = e->settings->options->integer(Option::stage_restart) != 0;
    e->region.side = RegionSide::app;
    int status = remote_open(e, placement, BellReach::machine, error);
    if (status < 0) return status;
    e->runner = &process_runner;
    h->self = static_cast<int>(syscall(SYS_pidfd_open, getpid(), 0));
    if (h->self < 0) {
        const int cause = errno;
        error->begin(cause == EMFILE ? WSXDP_E_DESCRIPTORS : WSXDP_E_SYSTEM, cause);
        error->add("placement: pidfd_open: ").errno_name(cause);
        return error->code;
    }
    status = start_all(e, error);
    return status < 0 ? status : await_replies(e, error);
}

void processes_close(Engine *e) {
    Helpers *h = e->helpers;
    if (h == nullptr) return;
    for (size_t i = 0; h->urls != nullptr && i < e->region.sizes.connections; i++)
        free_secret_text(h->urls[i]);
    deallocate(h->urls);
    if (h->self >= 0) close(h->self);
    h->~Helpers();
    deallocate(h);
    e->helpers = nullptr;
}

static void stop(Engine *e) {
    for (size_t i = 0; i < place_count(e); i++)
        e->remote->places[i].words->stop.store(1, std::memory_order_seq_cst);
    remote_ring_all(e);
    end_all(e, end_patience);
    remote_drop_leaving(e);
}

// ---- connections ----

static Connection *blank(Engine *e, uint32_t) { return &e->helpers->blank; }

// To how many of them it went is in *told: each takes it, whatever becomes of the others.
static int send_connect(Engine *e, uint32_t index, const Options *options, const AppConnection *was,
                        size_t *told) {
    Helpers *h = e->helpers;
    int fd = -1;
    int cause = bundle_write(ByteView(h->urls[index]), options, &fd);
    if (cause != 0) return cause;
    StageConnect request;
    memset(&request, 0, sizeof request);
    request.index = index;
    request.was_open = was != nullptr && was->epoch != 0;
    request.epoch = was != nullptr ? was->epoch : 0;
    remote_seat_taken(e, index);
    for (size_t i = 0; i < place_count(e); i++) {
        cause =
            passing_send(h->all[i].control, ByteView(&request, sizeof request), &fd, 1, request_patience_ms);
        if (cause != 0) break;
        ++*told;
        e->remote->places[i].words->requests.fetch_add(1, std::memory_order_release);
        e->remote->places[i].ringer.ring();
    }
    close(fd);
    return cause;
}

// Those that were told of it let go of it again, and until they have nobody else gets its index.
static void take_back(Engine *e, Connection *c, size_t told) {
    if (told == 0) return;
    c->settings->references++; // engine_connect drops its own
    remote_retire(e, c->index, ConnectionArea(), c->settings);
}

// While no process is there the connection waits for the next one, which takes all that exist: 1.
static int attach(Engine *e, Connection *c, ErrorText *error) {
    Helpers *h = e->helpers;
    free_secret_text(h->urls[c->index]);
    h->urls[c->index] = c->url_text;
    c->url_text = nullptr;
    if (!h->restart && (h->life == Life::telling || h->life == Life::ended)) {
        *error = h->cause;
        error->add("; with stage.restart=no the handle ended with it: free it and open another");
        return error->code;
    }
    if (h->life != Life::running) return 1;
    size_t told = 0;
    const int cause = send_connect(e, c->index, c->settings->options, nullptr, &told);
    if (cause == 0 || cause == EPIPE) return 0; // its death is told by poll
    take_back(e, c, told);
    free_secret_text(h->urls[c->index]);
    h->urls[c->index] = nullptr;
    const int code = cause == ENOMEM ? WSXDP_E_MEMORY : cause == EAGAIN ? WSXDP_E_AGAIN : WSXDP_E_SYSTEM;
    error->begin(code, cause).add("connecting: handing the request to the stages: ").errno_name(cause);
    if (cause == EAGAIN) error->add("; their process does not take it: poll, then try again");
    return code;
}

static void retire(Engine *e, uint32_t index, const ConnectionArea &area, Settings *settings) {
    Helpers *h = e->helpers;
    free_secret_text(h->urls[index]);
    h->urls[index] = nullptr;
    if (h->life == Life::running) return remote_retire(e, index, area, settings);
    ConnectionArea mapped = area;
    engine_drop(e, index, &mapped, settings);
}

// ---- after its end ----

// Positions go on from what this side knows: what the caller holds stays below them.
// What the processes counted goes on from there. As far as they have told: nobody can be asked any more.
static void keep_counts(AppConnection *a) {
    StageFacts *earlier = a->earlier != nullptr ? a->earlier : allocate_object<StageFacts>();
    if (earlier == nullptr) return;
    StageFacts last;
    published_transport(a->area.words, &last.transport);
    published_ws(a->area.words, &last.ws);
    if (a->earlier != nullptr) published_add(a->earlier, &last.transport, &last.ws);
    *earlier = last;
    a->earlier = earlier;
    if (a->state == WSXDP_STATE_WAITING) earlier->transport.counters.reconnects++;
    memset(a->area.words->transport_facts, 0, sizeof a->area.words->transport_facts);
    memset(a->area.words->ws_facts, 0, sizeof a->area.words->ws_facts);
}

static void begin_anew(AppConnection *a) {
    ConnectionWords *w = a->area.words;
    keep_counts(a);
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
    a->outbox.told = a->outbox.tail;
    a->outbox.told_skip = 0;
    a->inbox.told = a->inbox.head;
    a->inflated.told = a->inflated.head;
    a->answered = a->epoch;
    w->epoch_start.store(a->epoch_start, std::memory_order_relaxed);
    w->epoch.store(a->epoch, std::memory_order_relaxed);
    w->ping_cookie.store(0, std::memory_order_relaxed);
    w->ping_tick.store(0, std::memory_order_relaxed);
    w->frame_end.store(0, std::memory_order_relaxed);
    w->flush_asked.store(0, std::memory_order_relaxed);
}

static void reset_rings(Engine *e) {
    memset(static_cast<void *>(e->region.base + page_bytes), 0, e->region.layout.rings_end - page_bytes);
    remote_open_bells(e);
    visible_describe(e);
    const RegionLayout &at = e->region.layout;
    const RegionSizes &n = e->region.sizes;
    open_end<EventSlot>(&e->app.events, e->region, at.events, n.event_slots);
    open_end<CommandSlot>(&e->app.commands, e->region, at.commands, n.command_slots);
    open_end<NoteSlot>(&e->app.notes, e->region, at.event_notes, n.note_slots);
    for (size_t i = 0; i < e->app.live_count; i++) begin_anew(&e->app.connections[e->app.live[i]]);
}

static bool connect_all(Engine *e) {
    for (size_t i = 0; i < e->app.live_count; i++) {
        const uint32_t index = e->app.live[i];
        AppConnection *a = &e->app.connections[index];
        if (a->ended) continue;
        size_t told = 0; // what they know ends with them, if one of them does not take it
        if (send_connect(e, index, a->settings->options, a, &told) != 0) return false;
        app_connect(&e->app, index);
        if (a->close_asked) (void)app_abort(&e->app, a);
    }
    remote_told(e);
    return true;
}

static void begin_telling(Helpers *h) {
    h->failures++;
    h->life = Life::telling;
    h->telling = 0;
    h->error_told = false;
}

static void start_again(Engine *e) {
    Helpers *h = e->helpers;
    reset_rings(e);
    if (start_all(e, &h->cause) >= 0) return;
    end_all(e, 0);
    begin_telling(h);
}

// The connections' own rule for how long to wait: at once, then doubling; without jitter, since there is one
// of us.
static Nanos delay_of(const Helpers *h, const Settings *settings) {
    if (h->failures <= 1) return 0;
    Nanos delay = settings->delay_min;
    for (int64_t i = 2; i < h->failures && delay < settings->delay_max; i++) delay *= 2;
    return delay < settings->delay_max ? delay : settings->delay_max;
}

static bool goes_on(const Helpers *h, const AppConnection *a) {
    const Settings *s = a->settings;
    if (!h->restart || a->close_asked || !s->reconnect || (a->epoch == 0 && !s->reconnect_initial))
        return false;
    return s->max_attempts == 0 || h->failures <= s->max_attempts;
}

static void tell(Engine *e, AppConnection *a, uint32_t kind, wsxdp_event *event) {
    const Helpers *h = e->helpers;
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
    Helpers *h = e->helpers;
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
    Helpers *h = e->helpers;
    end_all(e, 0);
    remote_drop_leaving(e);
    h->cause = cause;
    begin_telling(h);
}

// One of them has ended, or will not be ready: the others are of no use without it.
static bool is_dead(Engine *e, size_t place, Nanos now, ErrorText *cause) {
    Helpers *h = e->helpers;
    cause->begin(WSXDP_E_STAGE_DIED).add("the process of ").add(Role(e, place).name()).add(": ");
    if (helper_ended(&h->all[place], cause) != 0) return true;
    if (!h->all[place].answers) return false;
    int status = take_reply(e, place, 0, cause);
    if (status < 0) return true;
    if (status > 0 || now < h->due) return false;
    cause->begin(WSXDP_E_STAGE_START).add("the process of ").add(Role(e, place).name());
    cause->add(" was not ready in time (stage.start_timeout_ns)");
    return true;
}

static const char *broken_word_of(const Engine *e, const AppConnection *a) {
    const ConnectionWords *w = a->area.words;
    if (!a->outbox.intact()) return "an outbox";
    if (!a->inbox.intact()) return "an inbox";
    if (w->epoch.load(std::memory_order_relaxed) != a->answered) return "an epoch";
    if (w->epoch_start.load(std::memory_order_relaxed) != a->epoch_start) return "the start of an epoch";
    const uint32_t index = app_index(&e->app, a);
    for (size_t i = 0; i < place_count(e) && !a->ended; i++)
        if (e->remote->places[i].seats[index].load(std::memory_order_relaxed) != Seat::taken) return "a seat";
    return nullptr;
}

// The words that this side alone writes are as it left them, and no position of the other side's cannot be.
static const char *broken_word(Engine *e) {
    const App *app = &e->app;
    if (!app->events.intact()) return "the events";
    if (!app->notes.intact()) return "the notes";
    if (!app->commands.intact()) return "the commands";
    for (size_t i = 0; i < place_count(e); i++)
        if (e->remote->places[i].words->stop.load(std::memory_order_relaxed) != 0) return "the stop word";
    for (size_t i = 0; i < looks_at_once && i < app->live_count; i++) {
        const size_t at = e->helpers->next_look++ % app->live_count;
        const char *broken = broken_word_of(e, &app->connections[app->live[at]]);
        if (broken != nullptr) return broken;
    }
    return nullptr;
}

// A flush that was lost is asked for again: all commands are taken, and still one is said to be under way.
static void find_lost_flush(Engine *e) {
    if (e->app.commands.words->head.load(std::memory_order_acquire) != e->app.commands.published_tail) return;
    for (size_t i = 0; i < looks_at_once && i < e->app.live_count; i++) {
        AppConnection *a = &e->app.connections[e->app.live[e->helpers->next_look++ % e->app.live_count]];
        if (a->area.words->flush_asked.load(std::memory_order_acquire) == 0) continue;
        a->area.words->flush_asked.store(0, std::memory_order_release);
        remote_flush(e, a);
    }
}

static void look(Engine *e, Nanos now) {
    Helpers *h = e->helpers;
    if (h->life != Life::running && h->life != Life::starting) return;
    const bool started = h->life == Life::starting;
    if (!e->poller.ended && now - h->looked < look_interval) return;
    h->looked = now;
    ErrorText cause;
    for (size_t i = 0; i < place_count(e); i++) {
        if (!is_dead(e, i, now, &cause)) continue;
        died(e, cause);
        return;
    }
    if (h->life != Life::running) return;
    const size_t silent = now >= h->pulse_due ? find_silent(e, now) : places_max;
    if (silent != places_max) {
        cause.begin(WSXDP_E_STAGE_DIED).add("the process of ").add(Role(e, silent).name());
        cause.add(": killed, as it did not run for ");
        cause.number(e->settings->options->integer(Option::stage_silence_ns) / ns_per_ms);
        cause.add(" ms (stage.silence_ns)");
        died(e, cause);
        return;
    }
    const char *broken = started ? nullptr : broken_word(e);
    if (broken == nullptr && (!started || connect_all(e))) {
        find_lost_flush(e);
        return;
    }
    cause.begin(WSXDP_E_STAGE_DIED).add("the processes of the stages: ended, as ");
    if (broken != nullptr)
        cause.add("one of them or something else overwrote shared memory: ").add(broken);
    else
        cause.add("they do not take the connections");
    died(e, cause);
}

static size_t supervise(Engine *e, Nanos now, wsxdp_event *events, size_t cap) {
    Helpers *h = e->helpers;
    if (h->life == Life::running || h->life == Life::starting) {
        // What it published between our last look at the ring and its end comes first: with the next look.
        look(e, now);
        return 0;
    }
    if (h->life == Life::telling) {
        const size_t filled = tell_all(e, events, cap);
        if (filled != 0) return filled;
        h->life = h->restart ? Life::waiting : Life::ended;
        h->due = h->restart ? now + delay_of(h, e->settings) : never;
    }
    if (h->life == Life::waiting && now >= h->due) start_again(e);
    return 0;
}

static Nanos due(const Engine *e) {
    const Helpers *h = e->helpers;
    if (h->life == Life::telling) return 0;
    return h->life == Life::running ? h->pulse_due : h->due;
}

const Runner process_runner = remote_runner({blank, attach, retire, stop, supervise, look, due});

} // namespace wx
