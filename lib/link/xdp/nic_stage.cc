// SPDX-License-Identifier: MIT
// See nic_stage.h. A step: the request if there is one, what the transport gave back, what has arrived, what
// is to leave, one kick, what was sent. Nothing is taken from a ring without room in the next one, so nothing
// is lost for lack of room. The worst case accepted is a transport that answers nonsense: it costs it the
// descriptor.
#include "nic_stage.h"
#include "../../base/alloc.h"
#include <string.h>

namespace wx {

constexpr uint32_t nic_batch = 64;
// Completions are taken when there are many, and when there is nothing else to do: for every packet the
// kernel's side of the ring would have to come from the core that has the packet now.
constexpr uint32_t nic_completion_batch = 64;
// Without room, or with a kernel that is busy: by then there is some.
constexpr Nanos nic_retry = 20000;

void nic_stage_open(NicStage *s, NicArea *area, Poller *poller) {
    s->area = area;
    s->poller = poller;
    nic_open_end(&s->inbox, &area->inbox);
    nic_open_end(&s->bulk, &area->bulk);
    nic_open_end(&s->acks, &area->acks);
    nic_open_end(&s->control, &area->control);
    nic_open_end(&s->freed, &area->freed);
    nic_open_end(&s->completed, &area->completed);
}

// ---- the interface ----

static void set_polled(NicStage *s, bool on) {
    if (s->in_poller == on || s->nic.mode == NicMode::none) return;
    s->in_poller = on;
    for (uint32_t i = 0; i < s->nic.socket_count; i++) {
        const int fd = s->nic.sockets[i].fd;
        if (fd < 0) continue; // being replaced
        // Refused for lack of memory at worst: who sleeps then hears of packets by its timers only.
        if (on)
            poller_add(s->poller, fd, link_driver_tag, true, false);
        else
            poller_remove(s->poller, fd);
    }
}

void nic_stage_watch(NicStage *s, bool on) {
    s->watched = on;
    // A packet that finds no room in the inbox would end every sleep at once.
    set_polled(s, on && !s->full);
}

static void close_nic(NicStage *s) {
    set_polled(s, false);
    if (s->support.restore != nullptr) s->support.restore(s->support.context);
    nic_close(&s->nic);
    deallocate(s->given);
    s->given = nullptr;
    for (NicProgress &p : s->progress) p = NicProgress();
    s->kick_again = s->full = s->lost = false;
    // Whoever asked to close puts nothing in until the next answer.
    nic_discard(&s->bulk);
    nic_discard(&s->acks);
    nic_discard(&s->control);
    nic_discard(&s->freed);
}

void nic_stage_publish(NicStage *s) {
    NicTally facts;
    memset(static_cast<void *>(&facts), 0, sizeof facts);
    for (uint32_t i = 0; i < s->nic.socket_count; i++) {
        const Xsk &x = s->nic.sockets[i];
        XskKernelCounters kernel{};
        if (x.fd >= 0) xsk_statistics(&x, &kernel);
        counters_add(&facts.sockets, x.counters);
        counters_add(&facts.kernel, kernel);
    }
    facts.bad_descriptors = s->bad_descriptors;
    facts.link_downs = s->link_downs;
    facts.recoveries = s->recoveries;
    s->area->facts.write(facts);
}

static void describe(const NicStage *s, int fds[nic_fd_count]) {
    fds[nic_fd_umem] = s->nic.umem.fd;
    fds[nic_fd_tuples4] = s->nic.program.tuples4_fd;
    fds[nic_fd_tuples6] = s->nic.program.tuples6_fd;
    fds[nic_fd_counters] = s->nic.program.counters_fd;
}

static void say(NicStage *s, int status, const ErrorText &error) {
    NicAnswer *a = &s->area->request.answer;
    memset(static_cast<void *>(a), 0, sizeof *a);
    a->status = status < 0 ? status : static_cast<int>(WSXDP_OK);
    a->cause = error.system_errno;
    a->text_size = status < 0 ? error.size : 0;
    memcpy(a->text, error.text, sizeof a->text);
    memcpy(a->ladder, s->nic.ladder, sizeof a->ladder);
    a->mode = s->nic.mode;
    a->socket_count = s->nic.socket_count;
    a->first_queue = s->nic.socket_count != 0 ? s->nic.sockets[0].queue : 0;
    describe(s, a->fds);
    s->retry_at = never;
    s->area->lost.store(0, std::memory_order_relaxed);
    nic_stage_publish(s);
    s->area->request.state.store(NicRequest::State::answered, std::memory_order_seq_cst);
    s->transport.ring();
}

static int pass_descriptors(NicStage *s, ErrorText *error) {
    int fds[nic_fd_count];
    describe(s, fds);
    if (s->support.pass == nullptr || s->support.pass(s->support.socket, fds, nic_fd_count)) return WSXDP_OK;
    error->begin(WSXDP_E_SYSTEM).add("handing AF_XDP's frames to the transport failed; is it gone?");
    return WSXDP_E_SYSTEM;
}

// 1: open; 0: not yet; < 0.
static int open_nic(NicStage *s, const NicOptions &options, ErrorText *error) {
    int status = nic_open(&s->nic, options, s->now, error);
    if (status <= 0) return status;
    s->given = static_cast<bool *>(allocate(s->nic.umem.frame_count * sizeof(bool)));
    if (s->given == nullptr) {
        close_nic(s);
        error->begin(WSXDP_E_MEMORY).add("opening AF_XDP sockets: out of memory");
        return WSXDP_E_MEMORY;
    }
    s->link_ups = s->area->link_ups.load(std::memory_order_relaxed);
    if (s->support.tune != nullptr) status = s->support.tune(s->support.context, s->nic.options, error);
    if (status >= 0) status = pass_descriptors(s, error);
    if (status < 0) {
        close_nic(s);
        return status;
    }
    for (uint32_t i = 0; i < s->nic.socket_count; i++) xsk_refill(&s->nic.sockets[i], 0);
    if (s->watched) set_polled(s, true);
    s->next_look = s->now;
    return 1;
}

[[gnu::cold]] static void answer(NicStage *s) {
    NicRequest *r = &s->area->request;
    ErrorText error;
    const NicRequest::Kind kind = r->kind;
    if (kind == NicRequest::Kind::open && s->nic.mode != NicMode::none) {
        s->asked_twice = true; // the transport does not: somebody wrote over the word
        return;
    }
    if (kind == NicRequest::Kind::close) {
        close_nic(s);
        return say(s, WSXDP_OK, error);
    }
    NicOptions options = r->options; // the other side could change them under our checks
    options.interface[sizeof options.interface - 1] = 0;
    options.rss = RssTable();
    const int status = open_nic(s, options, &error);
    if (status != 0) return say(s, status, error);
    s->retry_at = s->now + nic_retry_distance;
}

// ---- a socket that sends nothing any more ----

static bool tell_completed(NicStage *s, FrameId id, uint32_t socket) {
    FrameBack *slot = s->completed.claim();
    if (slot == nullptr) return false;
    slot->frame = static_cast<uint32_t>(id);
    slot->socket = static_cast<uint16_t>(socket);
    return true;
}

// What it had counts as sent: TCP repeats what did not arrive.
[[gnu::cold]] static void recover(NicStage *s, uint32_t index) {
    NicProgress *p = &s->progress[index];
    Xsk *socket = &s->nic.sockets[index];
    if (!p->stopped) {
        if (s->in_poller) poller_remove(s->poller, socket->fd);
        nic_stop(&s->nic, index);
        p->stopped = true;
        p->stopped_at = s->now;
        s->recoveries++;
    }
    FrameId id = no_frame;
    while (s->completed.room() != 0 && xsk_stranded(socket, &id, 1) != 0) tell_completed(s, id, index);
    s->completed.publish();
    if (socket->in_send != 0) return; // as soon as there is room to tell the rest
    ErrorText error;
    int status = nic_reopen(&s->nic, index, &error);
    if (status == WSXDP_E_AGAIN && s->now - p->stopped_at < nic_retry_limit) return;
    if (status < 0) {
        s->lost = true;
        s->area->lost.store(1, std::memory_order_seq_cst);
        return;
    }
    if (s->in_poller) poller_add(s->poller, socket->fd, link_driver_tag, true, false);
    xsk_refill(socket, 0);
    *p = NicProgress();
}

static void check_sockets(NicStage *s) {
    for (uint32_t i = 0; i < s->nic.socket_count && !s->lost; i++)
        if (nic_socket_stands(&s->nic.sockets[i], &s->progress[i], s->now)) recover(s, i);
}

// ---- in ----

static bool take_freed(NicStage *s) {
    bool moved = false;
    for (const FrameBack *slot = s->freed.front(); slot != nullptr; slot = s->freed.front()) {
        const uint32_t id = slot->frame; // read once
        s->freed.pop();
        moved = true;
        if (id >= s->nic.umem.frame_count || !s->given[id]) {
            s->bad_descriptors++;
            continue;
        }
        s->given[id] = false;
        umem_put(&s->nic.umem, id);
    }
    s->freed.release();
    return moved;
}

static bool receive(NicStage *s, uint32_t index, const Clock &clock) {
    Xsk *x = &s->nic.sockets[index];
    if (x->fd < 0) return false;
    if (x->busy_poll && !xsk_has_input(x)) xsk_poll(x);
    if (xsk_has_input(x)) {
        XskDescriptor came[nic_batch];
        const uint64_t room = s->inbox.room(nic_batch);
        const uint32_t most = room < nic_batch ? static_cast<uint32_t>(room) : nic_batch;
        const uint32_t count = most != 0 ? xsk_receive(x, came, most) : 0;
        s->full |= most < nic_batch && xsk_has_input(x);
        // The kernel must never run out of frames to receive into while we look at what it brought.
        if (xsk_wants_frames(x)) xsk_refill(x, 0);
        const Tick polled = clock.ticks();
        for (uint32_t k = 0; k < count; k++) {
            FrameSlot *slot = s->inbox.claim();
            slot->address = came[k].address;
            slot->size = came[k].size;
            slot->socket = static_cast<uint16_t>(index);
            slot->polled = polled;
            s->given[umem_frame_of(&s->nic.umem, came[k].address)] = true;
        }
        return count != 0;
    }
    if (xsk_wants_frames(x)) xsk_refill(x, 0);
    return false;
}

// ---- out ----

// false: it stays in the ring, for lack of room in the kernel's.
static bool send_one(NicStage *s, const FrameSlot &frame) {
    const FrameId id = umem_frame_of(&s->nic.umem, frame.address);
    if (frame.socket >= s->nic.socket_count || id == no_frame ||
        umem_owner(&s->nic.umem, id) == Pool::receive) {
        s->bad_descriptors++;
        return true;
    }
    Xsk *x = &s->nic.sockets[frame.socket];
    // Lost as on a link that is down: TCP repeats it.
    if (x->fd < 0) return tell_completed(s, id, frame.socket);
    const uint64_t bad = x->counters.bad_descriptors;
    return xsk_send(x, frame.address, frame.size) || x->counters.bad_descriptors != bad;
}

static uint64_t send_from(NicStage *s, RingConsumer<FrameSlot> *ring, uint64_t most) {
    uint64_t count = 0;
    for (; count < most; count++) {
        const FrameSlot *slot = ring->front();
        if (slot == nullptr) break;
        const FrameSlot frame = *slot; // the other side could change it under our checks
        if (!send_one(s, frame)) {
            s->full = true;
            break;
        }
        ring->pop();
    }
    ring->release();
    return count;
}

static void kick(NicStage *s) {
    s->kick_again = false;
    for (uint32_t i = 0; i < s->nic.socket_count; i++) {
        if (s->nic.sockets[i].fd < 0) continue;
        int cause = 0, status = xsk_kick(&s->nic.sockets[i], &cause);
        if (status > 0) s->kick_again = true;
        // What was queued is lost as on any link that is down. That it is, the transport hears itself.
        if (status < 0) s->link_downs++;
    }
}

static bool send(NicStage *s) {
    // Looked at in the opposite order of publication: what is in `bulk` by now has before it what was put
    // into the others earlier.
    const uint64_t bulk = s->bulk.look(), acks = s->acks.look(), control = s->control.look();
    uint64_t sent = send_from(s, &s->control, control);
    sent += send_from(s, &s->acks, acks);
    // Between two batches of bulk the other rings get their turn.
    sent += send_from(s, &s->bulk, bulk < nic_batch ? bulk : nic_batch);
    if (sent != 0 || s->kick_again) kick(s);
    return sent != 0;
}

static bool take_completions(NicStage *s, uint32_t least) {
    FrameId done[nic_batch];
    bool moved = false;
    for (uint32_t i = 0; i < s->nic.socket_count; i++) {
        Xsk *x = &s->nic.sockets[i];
        while (x->in_send >= least && x->fd >= 0) {
            const uint64_t room = s->completed.room(nic_batch);
            s->full |= room == 0;
            const uint32_t most = room < nic_batch ? static_cast<uint32_t>(room) : nic_batch;
            const uint32_t count = most != 0 ? xsk_reclaim(x, done, most) : 0;
            for (uint32_t k = 0; k < count; k++) tell_completed(s, done[k], i);
            moved |= count != 0;
            if (count < nic_batch) break;
        }
    }
    s->completed.publish();
    return moved;
}

// What the transport handed over before it asked, as far as the kernel takes it now.
[[gnu::cold]] static void flush(NicStage *s) {
    if (s->nic.mode == NicMode::none) return;
    for (uint64_t i = 0; i < nic_bulk_slots / nic_batch && (send(s) || s->kick_again); i++)
        (void)take_completions(s, 1);
}

// ---- the step ----

static bool link_came_up(const NicStage *s) {
    return s->area->link_ups.load(std::memory_order_relaxed) != s->link_ups;
}

[[gnu::cold]] static void retune(NicStage *s) {
    s->link_ups = s->area->link_ups.load(std::memory_order_relaxed);
    ErrorText untuned; // works as well, only later
    if (s->support.tune != nullptr) s->support.tune(s->support.context, s->nic.options, &untuned);
}

static bool is_asked(const NicStage *s) {
    return s->area->request.state.load(std::memory_order_acquire) == NicRequest::State::asked;
}

bool nic_stage_step(NicStage *s, Nanos now, const Clock &clock) {
    s->now = now;
    if (__builtin_expect(is_asked(s), 0) && (s->retry_at == never || now >= s->retry_at)) {
        flush(s);
        answer(s);
        s->changes++;
        return true;
    }
    if (s->nic.mode == NicMode::none) return false;
    s->full = false;
    if (now >= s->next_look) {
        s->next_look = now + nic_look_distance;
        if (link_came_up(s)) retune(s);
        check_sockets(s);
        nic_stage_publish(s);
        s->untold = false;
    }
    bool moved = take_freed(s), came = false;
    for (uint32_t i = 0; i < s->nic.socket_count; i++) came |= receive(s, i, clock);
    if (came) {
        s->inbox.publish();
        s->transport.ring();
    }
    moved |= came;
    moved |= send(s);
    moved |= take_completions(s, moved ? nic_completion_batch : 1);
    s->untold |= moved;
    return moved;
}

bool nic_stage_has_input(NicStage *s) {
    if (is_asked(s) && s->retry_at == never) return true;
    if (s->nic.mode == NicMode::none || s->full) return false;
    return s->freed.ready() != 0 || s->control.ready() != 0 || s->acks.ready() != 0 || s->bulk.ready() != 0;
}

Nanos nic_stage_deadline(const NicStage *s) {
    if (s->nic.mode == NicMode::none) return s->retry_at;
    if (s->full || s->kick_again) return s->now + nic_retry;
    bool looks = s->untold || link_came_up(s);
    for (uint32_t i = 0; i < s->nic.socket_count; i++)
        looks |= s->nic.sockets[i].in_send != 0 || s->progress[i].stopped;
    return looks ? s->next_look : never;
}

void nic_stage_close(NicStage *s) {
    if (s->area == nullptr) return;
    flush(s);
    close_nic(s);
    s->area = nullptr;
}

bool nic_stage_intact(const NicStage *s) {
    return !s->asked_twice && s->inbox.intact() && s->completed.intact() && s->bulk.intact() &&
           s->acks.intact() && s->control.intact() && s->freed.intact();
}

} // namespace wx
