// SPDX-License-Identifier: MIT
// Waiting by poll(2), for systems and sandboxes without epoll: the list of descriptors is ours and goes to
// the kernel with every wait. Finding a descriptor in it is one look in a table, so entering and leaving cost
// the same for one socket and for ten thousand. Worst case: a wait costs as much as there are sockets,
// whoever has something to say. Never blocks but in the wait, and allocates only when the list grows.
#include "../base/alloc.h"
#include "poller_parts.h"
#include <errno.h>

namespace wx {

constexpr size_t first_capacity = 16; // doubles

static short events_for(bool read, bool write) {
    return static_cast<short>((read ? POLLIN | POLLRDHUP : 0) | (write ? POLLOUT : 0));
}

int poll_open(Poller *) { return 0; } // the list grows with what enters it

void poll_end(Poller *poller) {
    deallocate(poller->list.entries);
    deallocate(poller->list.tags);
    deallocate(poller->list.entry_of);
    poller->list = PollList();
}

template <class T> static bool grow(T **array, size_t count) {
    void *grown = reallocate(*array, count * sizeof(T));
    if (grown != nullptr) *array = static_cast<T *>(grown);
    return grown != nullptr;
}

static bool make_room(PollList *list, size_t fd) {
    if (list->count == list->capacity) {
        size_t wanted = list->capacity != 0 ? list->capacity * 2 : first_capacity;
        if (!grow(&list->entries, wanted) || !grow(&list->tags, wanted)) return false;
        list->capacity = wanted;
    }
    if (fd < list->entry_of_size) return true;
    size_t wanted = list->entry_of_size != 0 ? list->entry_of_size : first_capacity;
    while (wanted <= fd) wanted *= 2;
    if (!grow(&list->entry_of, wanted)) return false;
    memset(list->entry_of + list->entry_of_size, 0, (wanted - list->entry_of_size) * sizeof *list->entry_of);
    list->entry_of_size = wanted;
    return true;
}

// Its place in the list, or 0. The eventfd has place 0 and is asked for by nobody.
static size_t find(const PollList &list, int fd) {
    size_t at = static_cast<size_t>(fd);
    return fd >= 0 && at < list.entry_of_size ? list.entry_of[at] : 0;
}

int poll_enter(Poller *poller, int fd, uint64_t tag, bool read, bool write) {
    PollList *list = &poller->list;
    if (fd < 0) return EBADF;
    if (find(*list, fd) != 0) return EEXIST;
    if (!make_room(list, static_cast<size_t>(fd))) return ENOMEM;
    list->entries[list->count] = {fd, events_for(read, write), 0};
    list->tags[list->count] = tag;
    list->entry_of[fd] = static_cast<uint32_t>(list->count++);
    return 0;
}

void poll_leave(Poller *poller, int fd) {
    PollList *list = &poller->list;
    size_t at = find(*list, fd);
    if (at == 0) return;
    list->entry_of[fd] = 0;
    size_t last = --list->count;
    if (at == last) return;
    list->entries[at] = list->entries[last];
    list->tags[at] = list->tags[last];
    list->entry_of[list->entries[at].fd] = static_cast<uint32_t>(at);
}

int poll_alter(Poller *poller, int fd, uint64_t tag, bool read, bool write) {
    PollList *list = &poller->list;
    // Neither: poll, too, would report hang-ups over and over.
    if (!read && !write) {
        poll_leave(poller, fd);
        return 0;
    }
    size_t at = find(*list, fd);
    if (at == 0) return poll_enter(poller, fd, tag, read, write);
    list->entries[at].events = events_for(read, write);
    list->tags[at] = tag;
    return 0;
}

static void fill(PollerEvent *out, uint64_t tag, int bits) {
    out->tag = tag;
    out->readable = (bits & (POLLIN | POLLRDHUP)) != 0;
    out->writable = (bits & POLLOUT) != 0;
    out->broken = (bits & (POLLERR | POLLHUP | POLLNVAL)) != 0;
}

int poll_look(Poller *poller, PollerEvent *out, int cap, Nanos timeout_ns) {
    PollList *list = &poller->list;
    if (list->count == 0) return WSXDP_E_SYSTEM; // not open
    timespec limit = {timeout_ns / ns_per_s, timeout_ns % ns_per_s};
    int ready = ppoll(list->entries, list->count, timeout_ns < 0 ? nullptr : &limit, nullptr);
    if (ready < 0) return errno == EINTR ? 0 : WSXDP_E_SYSTEM;
    if (ready != 0 && list->entries[0].revents != 0) ready--; // the eventfd: waking was all it was for
    int filled = 0;
    size_t at = list->next;
    for (size_t seen = 1; seen < list->count && filled < ready && filled < cap; seen++, at++) {
        if (at >= list->count) at = 1;
        if (list->entries[at].revents == 0) continue;
        if (poller_own(poller, list->tags[at])) {
            ready--;
            continue;
        }
        fill(&out[filled++], list->tags[at], list->entries[at].revents);
    }
    list->next = at;
    return filled;
}

} // namespace wx
