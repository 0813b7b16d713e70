// SPDX-License-Identifier: MIT
// See nic_port.h. Every descriptor that comes is held against what this side knows it gave: a frame that the
// nic does not have cannot arrive, one that was not sent cannot be completed. The worst case accepted is a
// nic that answers nonsense: it costs the descriptor and a count, and frames that never come back.
#include "nic_port.h"
#include "../../base/alloc.h"
#include <string.h>
#include <unistd.h>

namespace wx {

void nic_port_open(NicPort *port, NicArea *area) {
    port->area = area;
    nic_open_end(&port->inbox, &area->inbox);
    nic_open_end(&port->bulk, &area->bulk);
    nic_open_end(&port->acks, &area->acks);
    nic_open_end(&port->control, &area->control);
    nic_open_end(&port->freed, &area->freed);
    nic_open_end(&port->completed, &area->completed);
}

// ---- the request ----

static void ask(NicPort *port, NicRequest::Kind kind) {
    port->area->request.kind = port->asked_kind = kind;
    // Before the look at the bell: the request's words, and whatever was put into the rings before it.
    port->area->request.state.store(NicRequest::State::asked, std::memory_order_seq_cst);
    port->nic.ring();
}

static void settle(NicPort *port) {
    port->area->request.state.store(NicRequest::State::none, std::memory_order_relaxed);
}

static void forget(NicPort *port, XdpNic *nic) {
    for (int &fd : port->own) {
        if (fd >= 0) close(fd);
        fd = -1;
    }
    while (nic->socket_count != 0) xsk_close(&nic->sockets[--nic->socket_count]);
    deallocate(nic->sockets);
    umem_close(&nic->umem);
    *nic = XdpNic();
}

// Every frame to receive into is the nic's: the first socket's books have them all, since any may return
// any.
static bool make_books(XdpNic *nic, uint32_t sockets, uint32_t first_queue) {
    nic->sockets = static_cast<Xsk *>(allocate(sockets * sizeof(Xsk)));
    for (uint32_t i = 0; nic->sockets != nullptr && i < sockets; i++) {
        Xsk *x = new (&nic->sockets[i]) Xsk();
        nic->socket_count = i + 1;
        x->umem = &nic->umem;
        x->queue = first_queue + i;
        x->lent = static_cast<uint16_t *>(allocate(nic->umem.frame_count * sizeof(uint16_t)));
        if (x->lent == nullptr) return false;
    }
    if (nic->sockets == nullptr) return false;
    Xsk *first = &nic->sockets[0];
    while (nic->umem.pools[static_cast<unsigned>(Pool::receive)].free_count != 0) {
        first->lent[umem_take(&nic->umem, Pool::receive)] = xsk_filled;
        first->in_fill++;
    }
    return true;
}

static int refused(const NicAnswer &answer, ErrorText *error) {
    error->begin(answer.status, answer.cause);
    const uint32_t size = answer.text_size;
    error->add(ByteView(answer.text, size < sizeof answer.text ? size : 0));
    return answer.status;
}

static int take_answer(XdpNic *nic, const NicOptions &asked, const NicAnswer &answer, ErrorText *error) {
    const bool possible = answer.status == WSXDP_OK && answer.socket_count != 0 &&
                          answer.socket_count <= nic_queues_max && answer.first_queue < nic_queues_max &&
                          (answer.mode == NicMode::zero_copy || answer.mode == NicMode::driver ||
                           answer.mode == NicMode::generic);
    if (!possible) {
        error->begin(WSXDP_E_INTERNAL).add("opening AF_XDP sockets: the nic stage answered what cannot be");
        return WSXDP_E_INTERNAL;
    }
    int status = umem_join(&nic->umem, answer.fds[nic_fd_umem], asked.umem, error);
    if (status < 0) return status;
    if (!make_books(nic, answer.socket_count, answer.first_queue)) {
        error->begin(WSXDP_E_MEMORY).add("opening AF_XDP sockets: out of memory");
        return WSXDP_E_MEMORY;
    }
    nic->mode = answer.mode;
    nic->steering = asked.steering;
    nic->options = asked;
    nic->program.ifindex = asked.ifindex;
    nic->program.tuples = asked.tuples;
    nic->program.tuples4_fd = answer.fds[nic_fd_tuples4];
    nic->program.tuples6_fd = answer.fds[nic_fd_tuples6];
    nic->program.counters_fd = answer.fds[nic_fd_counters];
    memcpy(nic->ladder, answer.ladder, sizeof nic->ladder - 1);
    return 1;
}

static int begin(NicPort *port, XdpNic *nic, const NicOptions &options, ErrorText *error) {
    int status = nic_steer(nic, options, error);
    if (status < 0) return status;
    port->asked = options;
    port->asked.steering = nic->steering;
    NicOptions *told = &port->area->request.options;
    *told = port->asked;
    told->rss = RssTable();
    ask(port, NicRequest::Kind::open);
    nic->first_try = 1; // whoever comes meanwhile waits for the same answer
    return 0;
}

int nic_port_take(NicPort *port, XdpNic *nic, const NicOptions &options, ErrorText *error) {
    if (nic->mode != NicMode::none) return 1;
    const NicRequest::State state = port->area->request.state.load(std::memory_order_acquire);
    if (state == NicRequest::State::asked) {
        nic->first_try = 1;
        return 0;
    }
    if (state != NicRequest::State::answered) return begin(port, nic, options, error);
    NicAnswer answer = port->area->request.answer; // the other side could change it under our checks
    settle(port);
    if (port->asked_kind == NicRequest::Kind::close) {
        // The nic puts nothing in while it is closed: what is left is of what it had open.
        nic_discard(&port->inbox);
        nic_discard(&port->completed);
        return begin(port, nic, options, error);
    }
    // Of an interface that nobody wants any more.
    const bool other = port->asked.ifindex != options.ifindex;
    if (other && answer.status < 0) return begin(port, nic, options, error);
    nic->first_try = 0;
    if (answer.status < 0) return refused(answer, error);
    if (port->receive != nullptr) {
        if (!port->receive(port->socket, port->own, nic_fd_count)) answer.socket_count = 0; // what cannot be
        memcpy(answer.fds, port->own, sizeof answer.fds);
    }
    const int status = other ? 0 : take_answer(nic, port->asked, answer, error);
    if (status > 0) return 1;
    forget(port, nic);
    ask(port, NicRequest::Kind::close);
    if (status == 0) nic->first_try = 1;
    return status;
}

void nic_port_drop(NicPort *port, XdpNic *nic) {
    const bool open = nic->mode != NicMode::none;
    forget(port, nic);
    if (open) ask(port, NicRequest::Kind::close);
}

void nic_port_link_up(NicPort *port) {
    port->area->link_ups.fetch_add(1, std::memory_order_seq_cst);
    port->nic.ring();
}

// ---- frames ----

// Whether the nic may say this. Afterwards it has the frame no more.
static bool accept_received(XdpNic *nic, const FrameSlot &slot) {
    Xsk *books = &nic->sockets[0];
    const FrameId id = umem_frame_of(&nic->umem, slot.address);
    if (id == no_frame || books->lent[id] != xsk_filled) return false;
    books->lent[id] = 0;
    books->in_fill--;
    const uint64_t offset = slot.address & (nic->umem.frame_bytes - 1);
    if (slot.size != 0 && offset + slot.size <= nic->umem.frame_bytes && slot.socket < nic->socket_count)
        return true;
    umem_put(&nic->umem, id);
    return false;
}

uint32_t nic_port_receive(NicPort *port, XdpNic *nic, FrameSlot *out, uint32_t cap) {
    uint32_t count = 0;
    if (nic->mode == NicMode::none) return 0;
    while (count < cap) {
        const FrameSlot *slot = port->inbox.front();
        if (slot == nullptr) break;
        out[count] = *slot; // the other side could change it under our checks
        port->inbox.pop();
        if (__builtin_expect(accept_received(nic, out[count]), 1))
            nic->sockets[out[count++].socket].counters.received++;
        else
            port->bad_descriptors++;
    }
    port->inbox.release();
    return count;
}

bool nic_port_give(NicPort *port, XdpNic *nic, uint32_t least) {
    if (nic->mode == NicMode::none) return true;
    const FramePool &pool = nic->umem.pools[static_cast<unsigned>(Pool::receive)];
    if (pool.free_count == 0 || pool.free_count < least) return true;
    while (pool.free_count != 0) {
        FrameBack *slot = port->freed.claim();
        if (slot == nullptr) break;
        const FrameId id = umem_take(&nic->umem, Pool::receive);
        nic->sockets[0].lent[id] = xsk_filled;
        nic->sockets[0].in_fill++;
        slot->frame = static_cast<uint32_t>(id);
        slot->socket = 0;
    }
    port->freed.publish();
    port->nic.ring();
    return pool.free_count == 0;
}

// An acknowledgement may overtake its own connection's data; anything else may not, so it takes the short way
// only when nothing of it is in the long one any more.
static RingProducer<FrameSlot> *ring_of(NicPort *port, NicLane lane, uint64_t order) {
    if (lane == NicLane::acks && port->acks.room() != 0) return &port->acks;
    if (lane != NicLane::control) return &port->bulk;
    if (order > port->bulk.head_seen) (void)port->bulk.room(nic_bulk_slots); // a new look
    return order <= port->bulk.head_seen && port->control.room() != 0 ? &port->control : &port->bulk;
}

bool nic_port_send(NicPort *port, XdpNic *nic, const FrameSlot &frame, NicLane lane, uint64_t *order) {
    RingProducer<FrameSlot> *ring = ring_of(port, lane, *order);
    Xsk *books = &nic->sockets[frame.socket];
    FrameSlot *slot = ring->claim();
    if (slot == nullptr) {
        books->counters.send_full++;
        return false;
    }
    slot_copy(slot, frame);
    if (ring == &port->bulk) *order = ring->tail;
    books->lent[umem_frame_of(&nic->umem, frame.address)]++;
    books->in_send++;
    books->counters.sent++;
    return true;
}

void nic_port_kick(NicPort *port) {
    // In this order: what the nic finds in one of them, it finds what was put into those before.
    port->control.publish();
    port->acks.publish();
    port->bulk.publish();
    port->nic.ring();
}

uint32_t nic_port_reclaim(NicPort *port, XdpNic *nic, FrameId *out, uint32_t cap) {
    uint32_t count = 0;
    if (nic->mode == NicMode::none) return 0;
    while (count < cap) {
        const FrameBack *slot = port->completed.front();
        if (slot == nullptr) break;
        const FrameBack back = *slot; // as above
        port->completed.pop();
        Xsk *books = back.socket < nic->socket_count ? &nic->sockets[back.socket] : nullptr;
        const bool known = books != nullptr && back.frame < nic->umem.frame_count &&
                           books->lent[back.frame] != 0 && books->lent[back.frame] != xsk_filled;
        if (__builtin_expect(!known, 0)) {
            port->bad_descriptors++;
            continue;
        }
        books->lent[back.frame]--;
        books->in_send--;
        books->counters.completed++;
        out[count++] = back.frame;
    }
    port->completed.release();
    return count;
}

// ---- looks ----

void nic_port_facts(const NicPort *port, NicTally *out) {
    *out = NicTally();
    (void)port->area->facts.read(out);
}

bool nic_port_intact(const NicPort *port) {
    return port->inbox.intact() && port->completed.intact() && port->bulk.intact() && port->acks.intact() &&
           port->control.intact() && port->freed.intact();
}

} // namespace wx
